//! Does with a file what its users do: opens it, lists it, takes everything out, and reads that.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, UInt32Array, make_array};
use arrow_data::ArrayData;
use arrow_select::concat::concat;
use arrow_select::take::take;
use bytes::Bytes;
use famfs_data::arrow::{ArrowFile, settled};
use famfs_data::npy::Npy;
use famfs_data::safetensors::Safetensors;
use famfs_data::{ArrayLayout, Content, DataError, Kind, Rows, preview};

/// Columns and batches that are looked at one by one: a hostile file may have as many as it has
/// bytes.
const SOME: usize = 24;

/// Rows of an array that are read: columns of nulls have more than there is time for.
const READ: usize = 1 << 14;

/// Opens a file and reads all there is in it.
pub fn file(bytes: &Bytes) {
    let head = &bytes[..bytes.len().min(Kind::PREFIX)];
    let kind = Kind::of(head, bytes.len() as u64);
    if kind == Kind::Safetensors {
        told(safetensors(bytes));
    }
    let open = || Content::open(kind, Arc::new(bytes.clone()), bytes.clone());
    let Some(content) = told(open()) else { return };
    match &content {
        Content::Table(found) => {
            told(parts(found));
            told(table(found));
            // Once more, with all that is wrong found first.
            let Some(Content::Table(found)) = told(open()) else {
                panic!("it was opened before");
            };
            if told(found.verify()).is_some() {
                let read = verified(&found);
                assert!(read.is_ok(), "verified, and then {read:?}");
            }
        }
        Content::Array(found) => array(found, bytes),
        _ => {}
    }
    told(content.verify(bytes));
}

/// An error says what is wrong, as all errors do.
fn told<T>(result: Result<T, DataError>) -> Option<T> {
    let error = match result {
        Ok(found) => return Some(found),
        Err(error) => error,
    };
    let text = error.message();
    assert!(!text.is_empty() && !text.ends_with('.'), "{text}");
    let class = error.face().python;
    assert!(
        matches!(class, "Corrupt" | "Unsupported" | "FamfsError"),
        "{class}: {text}"
    );
    None
}

/// Single columns and ranges of rows, by the index where there is one.
fn parts(table: &ArrowFile) -> Result<(), DataError> {
    let metadata = table.metadata();
    let columns = metadata.num_columns()?;
    let batches = metadata.num_batches()?;
    for index in (0..columns.min(SOME)).chain(columns.checked_sub(1)) {
        let Some(field) = told(metadata.field(index)) else {
            continue;
        };
        told(metadata.find_columns(field.name()));
        for batch in (0..batches.min(SOME)).chain(batches.checked_sub(1)) {
            if let Some(column) = told(table.column(batch, index)) {
                assert_eq!(column.len(), metadata.batch_rows(batch)?);
                walk(&column);
            }
        }
    }
    assert!(table.column(batches, 0).is_err() && table.column(0, columns).is_err());
    let rows = metadata.num_rows()?;
    for range in [
        0..rows,
        rows / 3..rows / 3 * 2,
        rows / 2..rows / 2 + rows % 2,
    ] {
        let Some(found) = told(metadata.batches_of(&range)) else {
            continue;
        };
        let sum: u64 = found.iter().map(|(_, rows)| rows.len() as u64).sum();
        assert_eq!(sum, range.end - range.start);
        for (batch, rows) in found.into_iter().take(SOME) {
            if let Some(column) = told(table.column(batch, 0)) {
                walk(&column.slice(rows.start, rows.len()));
            }
        }
    }
    Ok(())
}

/// All of it, as whoever takes the table has it.
fn table(table: &ArrowFile) -> Result<(), DataError> {
    let metadata = table.metadata();
    let schema = table.schema()?.clone();
    metadata.key_values()?;
    let batches = metadata.num_batches()?;
    for batch in 0..batches.min(SOME) {
        let Some(found) = told(table.batch(batch)) else {
            continue;
        };
        assert_eq!(found.schema(), schema);
        assert_eq!(found.num_rows(), metadata.batch_rows(batch)?);
        found.columns().iter().for_each(walk);
        let rows = found.num_rows();
        let cut = found.slice(rows / 3, rows - rows / 3);
        cut.columns().iter().for_each(walk);
    }
    told(preview::rows_of(table, 5, SOME));
    told(preview::rows_of(table, usize::MAX.min(READ), SOME));
    told(metadata.check());
    told(metadata.check_sum());
    Ok(())
}

/// What was verified keeps arrow's own rules, strings as well.
fn verified(table: &ArrowFile) -> Result<(), DataError> {
    let batches = table.metadata().num_batches()?;
    for batch in 0..batches.min(SOME) {
        for column in table.batch(batch)?.columns() {
            if column.len() <= READ {
                let found = column.to_data().validate_full();
                found.map_err(DataError::Arrow)?;
            }
        }
    }
    preview::rows_of(table, 100, SOME).map(drop)
}

/// Reads an array as arrow's own functions do, and byte by byte.
fn walk(array: &ArrayRef) {
    let array = &array.slice(0, array.len().min(READ));
    let data = array.to_data();
    let mut sum = 0;
    bytes_of(&data, &mut sum);
    std::hint::black_box(sum);
    std::hint::black_box(array.logical_null_count());
    assert_eq!(make_array(settled(&data)).len(), array.len());
    let len = u32::try_from(array.len()).expect("cut");
    if len > 0 {
        let indices = UInt32Array::from(vec![len - 1, 0, len / 2]);
        std::hint::black_box(take(array.as_ref(), &indices, None).ok());
        let all = UInt32Array::from_iter_values((0..len).rev());
        std::hint::black_box(take(array.as_ref(), &all, None).ok());
    }
    let (first, second): (Range<usize>, Range<usize>) =
        (0..array.len() / 2, array.len() / 2..array.len());
    let halves = [first, second].map(|rows| array.slice(rows.start, rows.len()));
    let halves: Vec<&dyn Array> = halves.iter().map(AsRef::as_ref).collect();
    std::hint::black_box(concat(&halves).ok());
    std::hint::black_box(array == &make_array(data.clone()));
}

fn bytes_of(data: &ArrayData, sum: &mut u64) {
    let nulls = data.nulls().map(|nulls| nulls.buffer());
    for buffer in data.buffers().iter().chain(nulls) {
        *sum = buffer
            .iter()
            .fold(*sum, |sum, byte| sum.wrapping_add(u64::from(*byte)));
    }
    data.child_data()
        .iter()
        .for_each(|child| bytes_of(child, sum));
}

/// An array, and parts of it, lie within the file.
fn array(array: &Npy, bytes: &Bytes) {
    let size = bytes.len() as u64;
    let whole = ArrayLayout::of(array);
    let within = |layout: &ArrayLayout| {
        let end = layout.start.checked_add(layout.nbytes).expect("an end");
        assert!(end <= size, "{layout:?} of {size}");
        // The last item of those there are, as far as the strides lead.
        if !layout.shape.contains(&0) {
            let axes = layout.shape.iter().zip(&layout.strides);
            let last: u64 = axes.map(|(axis, stride)| (axis - 1) * stride).sum();
            let end = layout.start + last + layout.item_size;
            assert!(end <= size, "{layout:?} of {size}");
        }
        std::hint::black_box(layout.is_contiguous(false) | layout.is_contiguous(true));
    };
    within(&whole);
    if let Some(len) = whole.shape.first().copied() {
        let mut chosen = vec![Rows::Range(len / 3..len), Rows::Range(len..len)];
        chosen.extend(len.checked_sub(1).map(Rows::One));
        for rows in chosen {
            within(&whole.clone().select(&rows).expect("it has an axis"));
        }
    }
    told(preview::items(bytes, array, 5, 5));
}

/// Tensors lie within the file, behind its header.
fn safetensors(bytes: &Bytes) -> Result<(), DataError> {
    let found = Safetensors::open(bytes)?;
    for tensor in found.tensors() {
        let range = &tensor.range;
        assert!(range.start <= range.end && range.end <= bytes.len() as u64);
        std::hint::black_box((tensor.descr(), found.tensor(&tensor.name).is_some()));
    }
    Ok(())
}
