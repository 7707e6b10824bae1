//! Arrays of another library whose structs begin somewhere within their children.
//!
//! Arrow's C data interface lets a struct, or a list of one size, have an offset that counts for its
//! children as well. Arrow's own conversion of array data cuts the children of a struct in a struct
//! twice, and panics. Here the offsets are taken down to where the values are, before it.

use crate::unchecked;
use arrow_buffer::NullBuffer;
use arrow_data::ArrayData;
use arrow_schema::{DataType, UnionMode};

/// The same array, none of whose nested parts but the ends of a branch has an offset. No value is
/// copied.
#[must_use]
pub fn settled(data: &ArrayData) -> ArrayData {
    let (offset, len) = (data.offset(), data.len());
    let children = data.child_data();
    match data.data_type() {
        DataType::Struct(_) => {
            let cut = children
                .iter()
                .map(|child| settled(&part(child, offset, len)));
            unchecked::moved(data, 0, len, data.nulls().cloned(), cut.collect())
        }
        DataType::FixedSizeList(_, size) => {
            let size = usize::try_from(*size).unwrap_or(0);
            let cut = children
                .iter()
                .map(|child| settled(&part(child, offset * size, len * size)));
            unchecked::moved(data, 0, len, data.nulls().cloned(), cut.collect())
        }
        DataType::Union(_, UnionMode::Sparse) => {
            let cut = children
                .iter()
                .map(|child| settled(&part(child, offset, len)));
            unchecked::cut_union(data, cut.collect())
        }
        // Its offset counts rows, and its children are runs.
        DataType::RunEndEncoded(_, _) => data.clone(),
        _ if children.is_empty() => data.clone(),
        _ => {
            let children = children.iter().map(settled).collect();
            unchecked::moved(data, offset, len, data.nulls().cloned(), children)
        }
    }
}

/// Rows of an array, its children left as they are: only its own offset moves.
fn part(data: &ArrayData, offset: usize, len: usize) -> ArrayData {
    if offset == 0 && len == data.len() {
        return data.clone();
    }
    let nulls: Option<NullBuffer> = data.nulls().map(|nulls| nulls.slice(offset, len));
    let children = data.child_data().to_vec();
    unchecked::moved(data, data.offset() + offset, len, nulls, children)
}
