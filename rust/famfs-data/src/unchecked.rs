//! The one place where arrow's own full validation is switched off.
//!
//! Arrow's validation reads all values of every array, strings included: opening a table would
//! cost as much as reading it. What is checked instead, in [`crate::arrow::check`], before anything
//! comes here and when a column is first handed out:
//! * the number of buffers and children is the type's, children are of the types it names and long
//!   enough;
//! * every buffer lies inside the file, is aligned for its type and long enough for the values;
//! * the validity bitmap has a bit for each value, and as many nulls as the file says (counted);
//! * offsets begin at 0 or more, never fall and end inside the values; list views, string views,
//!   union type ids and offsets, run ends and the dictionary indices of valid rows are in range;
//! * children have no nulls where their fields are declared to have none, but below a null.
//!
//! What is not checked unless the caller asks for it (`ArrowFile::verify`) is that strings are
//! UTF-8. Nothing in this crate looks at a string as `str`. Whoever hands columns on to code that
//! does, in Rust, verifies first; consumers of the C data interface take strings as bytes.
//!
//! The checks hold as long as the bytes stay: the file is committed, and committed files are never
//! rewritten. That promise is the mapping's, made where the mapping is made.
#![expect(
    unsafe_code,
    reason = "validation is switched off here, after checks of our own"
)]

use crate::arrow::check::{Checked, Parts};
use arrow_buffer::NullBuffer;
use arrow_data::{ArrayData, ArrayDataBuilder};

/// Makes an array of parts that were checked.
pub(crate) fn array(parts: Checked) -> ArrayData {
    let Parts {
        data_type,
        len,
        nulls,
        buffers,
        children,
    } = parts.into_parts();
    let builder = ArrayDataBuilder::new(data_type)
        .len(len)
        .nulls(nulls)
        .buffers(buffers)
        .child_data(children);
    // SAFETY: only `Parts::check` makes a `Checked`; what it has checked is listed above.
    unsafe { builder.build_unchecked() }
}

/// The same array with another offset, length, bitmap and children: rows of what it was, or the same
/// rows with an offset that its children have taken over.
///
/// # Panics
/// Where more rows are asked for than there are: those of the caller are counted before.
pub(crate) fn moved(
    data: &ArrayData,
    offset: usize,
    len: usize,
    nulls: Option<NullBuffer>,
    children: Vec<ArrayData>,
) -> ArrayData {
    assert!(
        nulls.as_ref().is_none_or(|nulls| nulls.len() == len),
        "a bitmap of the rows"
    );
    let builder = data
        .clone()
        .into_builder()
        .offset(offset)
        .len(len)
        .nulls(nulls)
        .child_data(children);
    // SAFETY: only `arrow::settle` comes here, with an array that its producer vouches for, as of all
    // that comes by the C data interface. Rows `offset..offset + len` are among those it had, or
    // their offset has gone into the children, cut to just these rows.
    unsafe { builder.build_unchecked() }
}

/// A sparse union whose children were cut to its rows: its type ids are cut too.
pub(crate) fn cut_union(data: &ArrayData, children: Vec<ArrayData>) -> ArrayData {
    let (offset, len) = (data.offset(), data.len());
    let ids = data
        .buffers()
        .iter()
        .map(|ids| ids.slice_with_length(offset, len));
    let builder = data
        .clone()
        .into_builder()
        .offset(0)
        .buffers(ids.collect())
        .child_data(children);
    // SAFETY: as in `moved`: a type id is a byte, so that those of the rows are bytes `offset` to
    // `offset + len`, and the children have these rows alone.
    unsafe { builder.build_unchecked() }
}
