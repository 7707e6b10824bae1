//! Rows of any choice and in any order: gathered, which copies them.
//!
//! Owns how rows are found in the record batches of one or several datasets. Each column is gathered
//! by itself, so that no more of the table than the result is in memory.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, FixedSizeBinaryArray, FixedSizeListArray, RecordBatch, RecordBatchOptions,
    UInt64Array,
};
use arrow_buffer::Buffer;
use arrow_schema::{ArrowError, DataType, SchemaRef};
use arrow_select::concat::concat;
use arrow_select::take::take;

use crate::dataset::{Dataset, Part};
use crate::error::DataError;

const ALL_ROWS: &str = "to_arrow() has all rows, in place";

/// Copies rows of tables, or columns, that have one schema and come one after the other. What is
/// too much for one record batch comes in several.
///
/// # Errors
/// [`DataError::OutOfRange`] where there is no such row; [`DataError::Unsupported`] where arrow can't
/// gather a type; as [`Dataset::column`].
pub fn rows(
    schema: &SchemaRef,
    datasets: &[Arc<Dataset>],
    wanted: &[u64],
) -> Result<Vec<RecordBatch>, DataError> {
    let places = Places::of(datasets)?;
    if let Some(row) = wanted.iter().find(|row| **row >= places.rows) {
        return Err(DataError::OutOfRange {
            what: "row",
            index: usize::try_from(*row).unwrap_or(usize::MAX),
            count: usize::try_from(places.rows).unwrap_or(usize::MAX),
        });
    }
    let mut made = Vec::new();
    let mut left = vec![wanted];
    while let Some(rows) = left.pop() {
        match places.gather(schema, rows) {
            Ok(batch) => made.push(batch),
            // More bytes than offsets of 32 bits count, or more values of several files than a
            // dictionary's indices: in halves, the first one next.
            Err(DataError::Arrow(
                ArrowError::OffsetOverflowError(_) | ArrowError::DictionaryKeyOverflowError,
            )) if rows.len() > 1 => {
                let (first, second) = rows.split_at(rows.len() / 2);
                left.extend([second, first]);
            }
            Err(DataError::Arrow(error)) => return Err(refused(error)),
            Err(error) => return Err(error),
        }
    }
    Ok(made)
}

/// The columns are sound, so that arrow's refusal says what it can't do.
fn refused(error: ArrowError) -> DataError {
    DataError::Refused {
        error,
        hint: ALL_ROWS,
    }
}

/// The record batches of all datasets, and the first row of each.
struct Places<'a> {
    parts: Vec<(&'a Dataset, &'a Part)>,
    firsts: Vec<u64>,
    rows: u64,
}

impl<'a> Places<'a> {
    fn of(datasets: &'a [Arc<Dataset>]) -> Result<Self, DataError> {
        let (mut parts, mut firsts, mut rows) = (Vec::new(), Vec::new(), 0);
        for dataset in datasets {
            let parts_of = dataset.parts()?;
            let found: u64 = parts_of.iter().map(|part| part.1.len() as u64).sum();
            if let Some(claimed) = dataset.num_rows()?.filter(|rows| *rows != found) {
                let detail = format!("{claimed} rows, and {found} in its batches");
                let error = DataError::corrupt("arrow index", detail);
                return Err(dataset.file().in_file(error));
            }
            for part in parts_of {
                let Range { start, end } = part.1;
                if start < end {
                    parts.push((dataset.as_ref(), part));
                    firsts.push(rows);
                    rows += (end - start) as u64;
                }
            }
        }
        Ok(Self {
            parts,
            firsts,
            rows,
        })
    }

    fn gather(&self, schema: &SchemaRef, wanted: &[u64]) -> Result<RecordBatch, DataError> {
        let picks = self.picks(wanted);
        let columns = (0..schema.fields().len() as u64).map(|i| {
            let one = |(part, rows): &(usize, UInt64Array)| {
                let (dataset, part) = self.parts[*part];
                let column = dataset.column(part, i)?;
                pick(&column, rows)
            };
            let taken: Vec<ArrayRef> = picks.parts.iter().map(one).collect::<Result<_, _>>()?;
            picks.join(schema.field(usize_of(i)).data_type(), &taken)
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(wanted.len()));
        RecordBatch::try_new_with_options(schema.clone(), columns, &options)
            .map_err(DataError::Arrow)
    }

    /// Which rows of which batches are wanted, and in which order.
    fn picks(&self, wanted: &[u64]) -> Picks {
        // Each batch's rows in the order that they are wanted in, and where each row goes.
        let mut chosen: Vec<Vec<(u64, u64)>> = vec![Vec::new(); self.parts.len()];
        for (to, row) in (0..).zip(wanted) {
            let part = self.firsts.partition_point(|first| first <= row) - 1;
            chosen[part].push((row - self.firsts[part], to));
        }
        let mut parts = Vec::new();
        let mut order = vec![0; wanted.len()];
        let mut from = 0;
        for (part, rows) in chosen.into_iter().enumerate() {
            for (_, to) in &rows {
                order[usize_of(*to)] = from;
                from += 1;
            }
            if !rows.is_empty() {
                let rows = rows.into_iter().map(|(row, _)| row);
                parts.push((part, UInt64Array::from_iter_values(rows)));
            }
        }
        let in_order = order.iter().zip(0..).all(|(from, to)| *from == to);
        Picks {
            parts,
            order: (!in_order).then(|| order.into()),
        }
    }
}

struct Picks {
    /// Batches, and rows of each.
    parts: Vec<(usize, UInt64Array)>,
    /// Where each row is among those of all batches, unless they are in order already.
    order: Option<UInt64Array>,
}

impl Picks {
    fn join(&self, data_type: &DataType, taken: &[ArrayRef]) -> Result<ArrayRef, DataError> {
        let joined = match taken {
            [] => return Ok(arrow_array::new_empty_array(data_type)),
            [one] => one.clone(),
            several => {
                let several: Vec<&dyn Array> = several.iter().map(AsRef::as_ref).collect();
                concat(&several).map_err(DataError::Arrow)?
            }
        };
        let ordered = match &self.order {
            None => joined,
            Some(order) => pick(&joined, order)?,
        };
        Ok(compact(ordered))
    }
}

/// Arrow's own gathering, and what it can't do: it counts the rows of a list, and of bytes of one
/// width, by its values, and where there are none they have none.
fn pick(column: &ArrayRef, rows: &UInt64Array) -> Result<ArrayRef, DataError> {
    let nulls = || {
        column.nulls().map(|nulls| {
            let valid = |row: &u64| nulls.is_valid(usize_of(*row));
            rows.values().iter().map(valid).collect()
        })
    };
    if let DataType::FixedSizeBinary(0) = column.data_type() {
        let none = Buffer::default();
        let made = FixedSizeBinaryArray::try_new_with_len(0, none, nulls(), rows.len());
        return Ok(Arc::new(made.map_err(DataError::Arrow)?));
    }
    if let DataType::FixedSizeList(item, 0) = column.data_type() {
        let values = column.as_fixed_size_list().values().slice(0, 0);
        let list =
            FixedSizeListArray::try_new_with_length(item.clone(), 0, values, nulls(), rows.len());
        return Ok(Arc::new(list.map_err(DataError::Arrow)?));
    }
    if has_lists_of_nothing(column.data_type()) {
        let what = format!("taking rows of {}", column.data_type());
        return Err(DataError::unsupported(what, ALL_ROWS));
    }
    take(column.as_ref(), rows, None).map_err(DataError::Arrow)
}

fn has_lists_of_nothing(data_type: &DataType) -> bool {
    match data_type {
        DataType::FixedSizeList(_, 0) => true,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _)
        | DataType::RunEndEncoded(_, item) => has_lists_of_nothing(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|f| has_lists_of_nothing(f.data_type())),
        DataType::Union(fields, _) => fields
            .iter()
            .any(|(_, field)| has_lists_of_nothing(field.data_type())),
        DataType::Dictionary(_, values) => has_lists_of_nothing(values),
        _ => false,
    }
}

/// Views still lead into all of the data that they were chosen from: a few rows would hold, and be
/// pickled with, all of it.
fn compact(array: ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        _ => array,
    }
}

/// Rows and columns are counted by a usize where they are in memory.
fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
