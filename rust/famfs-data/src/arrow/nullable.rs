//! Children whose fields are declared to have no nulls.
//!
//! A struct's, or a list's of one size, may have them where the parent is null itself. The rule is
//! that of arrow's `StructArray::try_new` and `ArrayData::validate_nulls`, as some of its functions
//! panic at a struct that breaks it: in a struct's children nulls count as a reader meets them, those
//! of a dictionary's values and of a union's children too.
//!
//! Arrow counts such nulls by a bitmap of all rows, and a hostile file has more rows than there is
//! memory for. Here nothing is allocated for them, and time is that of the bytes that the file has.

use crate::error::DataError;
use arrow_array::types::ArrowPrimitiveType;
use arrow_array::{downcast_integer, downcast_run_end_index};
use arrow_buffer::{ArrowNativeType, NullBuffer};
use arrow_data::ArrayData;
use arrow_schema::{DataType, Field, UnionMode};

/// The first field of `parent` whose child has a null that it may not have.
///
/// `child` gives the children of an array with the bitmap `nulls`, cut to what its rows use; their
/// own parts were checked.
pub(super) fn broken<'a>(
    parent: &'a DataType,
    nulls: Option<&NullBuffer>,
    child: impl Fn(usize) -> ArrayData,
) -> Option<&'a Field> {
    match parent {
        // Values of list views may be no row's.
        DataType::List(field) | DataType::LargeList(field) | DataType::Map(field, _) => {
            let has = !field.is_nullable() && beyond(&child(0), None);
            has.then_some(field.as_ref())
        }
        DataType::FixedSizeList(field, size) => {
            let size = usize::try_from(*size).unwrap_or(0);
            let has = !field.is_nullable() && {
                let child = child(0);
                child.null_count() > 0
                    && beyond(&child, nulls.map(|mask| mask.expand(size)).as_ref())
            };
            has.then_some(field.as_ref())
        }
        DataType::Struct(fields) => fields
            .iter()
            .enumerate()
            .find(|(i, field)| !field.is_nullable() && bare(&child(*i), nulls))
            .map(|(_, field)| field.as_ref()),
        _ => None,
    }
}

/// A part of such arrays that is declared to be nullable, and by the format never is.
pub(super) fn misdeclared(data_type: &DataType) -> Option<&'static str> {
    match data_type {
        DataType::Map(entries, _) if entries.is_nullable() => Some("entries of a map"),
        DataType::RunEndEncoded(ends, _) if ends.is_nullable() => Some("ends of runs"),
        _ => None,
    }
}

/// Refuses a type of a caller's that is [`misdeclared`]: a file of it could be read by no one.
pub(super) fn check_type(data_type: &DataType) -> Result<(), DataError> {
    match misdeclared(data_type) {
        Some(part) => Err(DataError::unsupported(
            format!("nullable {part}"),
            "declare their field not nullable",
        )),
        None => Ok(()),
    }
}

/// Refuses an array of a caller's that is [`broken`], for the same reason.
pub(super) fn check(
    parent: &DataType,
    nulls: Option<&NullBuffer>,
    child: impl Fn(usize) -> ArrayData,
) -> Result<(), DataError> {
    match broken(parent, nulls, child) {
        Some(field) => Err(DataError::unsupported(
            format!("a null in field {:?}, declared not nullable,", field.name()),
            "declare the field nullable, or fill its nulls",
        )),
        None => Ok(()),
    }
}

/// Whether the bitmap of an array has a null that the mask has not.
fn beyond(data: &ArrayData, mask: Option<&NullBuffer>) -> bool {
    data.nulls().is_some_and(|nulls| {
        nulls.null_count() > 0 && mask.is_none_or(|mask| !mask.contains(nulls))
    })
}

/// Whether a reader meets a null in a row that the mask has as valid.
fn bare(data: &ArrayData, mask: Option<&NullBuffer>) -> bool {
    let nested = matches!(
        data.data_type(),
        DataType::Null
            | DataType::Dictionary(_, _)
            | DataType::RunEndEncoded(_, _)
            | DataType::Union(_, _)
    );
    if !nested {
        return beyond(data, mask);
    }
    if !may_have(data) {
        return false;
    }
    match (data.data_type(), mask) {
        // The mask has a bit for each row, so that there are no more rows than the file has bits.
        (_, Some(mask)) => mask.valid_indices().any(|row| is_null(data, row)),
        (DataType::RunEndEncoded(_, _), None) => {
            let last = data.len() - 1;
            (run_of(data, 0)..=run_of(data, last)).any(|run| is_null(&data.child_data()[1], run))
        }
        // These have no more rows than bytes, or end at the first.
        (_, None) => (0..data.len()).any(|row| is_null(data, row)),
    }
}

/// Whether there is a null anywhere, be it in no row.
fn may_have(data: &ArrayData) -> bool {
    let children = data.child_data();
    !data.is_empty()
        && match data.data_type() {
            DataType::Null => true,
            DataType::Dictionary(_, _) => data.null_count() > 0 || may_have(&children[0]),
            DataType::RunEndEncoded(_, _) => may_have(&children[1]),
            DataType::Union(_, _) => children.iter().any(may_have),
            _ => data.null_count() > 0,
        }
}

/// Whether a reader of a row meets a null. An index that a caller has out of range leads to none.
fn is_null(data: &ArrayData, row: usize) -> bool {
    if row >= data.len() {
        return false;
    }
    let children = data.child_data();
    match data.data_type() {
        DataType::Null => true,
        DataType::Dictionary(keys, _) => {
            data.is_null(row) || is_null(&children[0], key(data, keys, row))
        }
        DataType::RunEndEncoded(_, _) => is_null(&children[1], run_of(data, row)),
        DataType::Union(fields, mode) => {
            let id = data.buffer::<i8>(0)[row];
            let child = fields.iter().position(|(found, _)| found == id);
            let row = match mode {
                UnionMode::Sparse => data.offset() + row,
                UnionMode::Dense => data.buffer::<i32>(1)[row].as_usize(),
            };
            child.is_some_and(|child| is_null(&children[child], row))
        }
        _ => data.is_null(row),
    }
}

/// The index that a row of a dictionary array has; one below 0 is out of range.
fn key(data: &ArrayData, keys: &DataType, row: usize) -> usize {
    macro_rules! key {
        ($t:ty) => {
            data.buffer::<<$t as ArrowPrimitiveType>::Native>(0)[row].as_usize()
        };
    }
    downcast_integer! {
        keys => (key),
        _ => usize::MAX
    }
}

/// The run that a row is of.
fn run_of(data: &ArrayData, row: usize) -> usize {
    let (ends, row) = (&data.child_data()[0], data.offset() + row);
    macro_rules! runs_before {
        ($t:ty) => {
            ends.buffer::<<$t as ArrowPrimitiveType>::Native>(0)[..ends.len()]
                .partition_point(|end| end.as_usize() <= row)
        };
    }
    downcast_run_end_index! {
        ends.data_type() => (runs_before),
        _ => usize::MAX
    }
}
