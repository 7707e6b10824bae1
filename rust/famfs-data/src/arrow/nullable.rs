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
            let has = !field.is_nullable() && child(0).null_count() > 0;
            has.then_some(field.as_ref())
        }
        DataType::FixedSizeList(field, size) => {
            let has = !field.is_nullable() && {
                let (child, size) = (child(0), usize::try_from(*size).unwrap_or(0));
                let bare = |found: &NullBuffer| match nulls {
                    Some(mask) => !mask.expand(size).contains(found),
                    None => true,
                };
                child
                    .nulls()
                    .is_some_and(|found| found.null_count() > 0 && bare(found))
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

/// Whether a row is null that the mask has as valid.
fn bare(data: &ArrayData, mask: Option<&NullBuffer>) -> bool {
    if !may_have(data) {
        return false;
    }
    match (data.data_type(), mask) {
        // The mask has a bit for each row, so that there are no more rows than the file has bits.
        (_, Some(mask)) => (0..data.len()).any(|row| mask.is_valid(row) && is_null(data, row)),
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
                UnionMode::Dense => at(data.buffer::<i32>(1)[row]),
            };
            child.is_some_and(|child| is_null(&children[child], row))
        }
        _ => data.is_null(row),
    }
}

/// The index that a row of a dictionary array has.
fn key(data: &ArrayData, keys: &DataType, row: usize) -> usize {
    match keys {
        DataType::Int8 => at(data.buffer::<i8>(0)[row]),
        DataType::Int16 => at(data.buffer::<i16>(0)[row]),
        DataType::Int32 => at(data.buffer::<i32>(0)[row]),
        DataType::Int64 => at(data.buffer::<i64>(0)[row]),
        DataType::UInt8 => at(data.buffer::<u8>(0)[row]),
        DataType::UInt16 => at(data.buffer::<u16>(0)[row]),
        DataType::UInt32 => at(data.buffer::<u32>(0)[row]),
        _ => at(data.buffer::<u64>(0)[row]),
    }
}

/// The run that a row is of.
fn run_of(data: &ArrayData, row: usize) -> usize {
    let (ends, row) = (&data.child_data()[0], data.offset() + row);
    match ends.data_type() {
        DataType::Int16 => runs_before::<i16>(ends, row),
        DataType::Int32 => runs_before::<i32>(ends, row),
        _ => runs_before::<i64>(ends, row),
    }
}

fn runs_before<T: ArrowNativeType>(ends: &ArrayData, row: usize) -> usize {
    let values = &ends.buffer::<T>(0)[..ends.len()];
    values.partition_point(|end| end.as_usize() <= row)
}

/// An index; one below 0 is out of range.
fn at(index: impl ArrowNativeType) -> usize {
    index.as_usize()
}
