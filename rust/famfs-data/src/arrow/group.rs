//! Which rows of which of the caller's batches make one record batch of the file.
//!
//! As few as the format allows: a column's 32-bit offsets (16-bit run ends) can count only so far,
//! and a batch that would exceed that is split where the caller's batches meet.

use super::encode::range;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::ArrowNativeType;
use arrow_schema::DataType;

/// Rows of one of the caller's batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) source: usize,
    pub(super) start: usize,
    pub(super) len: usize,
}

impl Part {
    pub(super) fn of(self, array: &ArrayRef) -> ArrayRef {
        if self.start == 0 && self.len == array.len() {
            array.clone()
        } else {
            array.slice(self.start, self.len)
        }
    }
}

/// The record batches of the file; those of no more than `rows` rows each if that is given.
pub(super) fn group(batches: &[RecordBatch], rows: Option<usize>) -> Vec<Vec<Part>> {
    let mut groups: Vec<Vec<Part>> = Vec::new();
    for mut parts in by_rows(batches, rows) {
        if parts.len() < 2 {
            groups.push(parts);
            continue;
        }
        let mut totals: Vec<Count> = Vec::new();
        let mut current = Vec::new();
        for part in parts.drain(..) {
            let mut counts = Vec::new();
            for column in batches[part.source].columns() {
                count(&part.of(column), &mut counts);
            }
            let sums = totals.iter().zip(&counts);
            let fits = totals.is_empty()
                || sums
                    .clone()
                    .all(|(a, b)| a.used.saturating_add(b.used) <= a.limit);
            if fits && !current.is_empty() {
                totals
                    .iter_mut()
                    .zip(&counts)
                    .for_each(|(a, b)| a.used += b.used);
            } else if fits {
                totals = counts;
            } else {
                groups.push(std::mem::take(&mut current));
                totals = counts;
            }
            current.push(part);
        }
        groups.push(current);
    }
    groups
}

fn by_rows(batches: &[RecordBatch], rows: Option<usize>) -> Vec<Vec<Part>> {
    if batches.is_empty() {
        return Vec::new();
    }
    let limit = rows.unwrap_or(usize::MAX).max(1);
    let mut groups = Vec::new();
    let (mut current, mut room) = (Vec::new(), limit);
    for (source, batch) in batches.iter().enumerate() {
        let mut start = 0;
        while start < batch.num_rows() {
            let len = (batch.num_rows() - start).min(room);
            current.push(Part { source, start, len });
            start += len;
            room -= len;
            if room == 0 {
                groups.push(std::mem::take(&mut current));
                room = limit;
            }
        }
    }
    if current.is_empty() && groups.is_empty() {
        current.push(Part {
            source: 0,
            start: 0,
            len: 0,
        });
    }
    if !current.is_empty() {
        groups.push(current);
    }
    groups
}

/// What one array takes of something that can be counted only so far.
#[derive(Clone, Copy, Debug)]
struct Count {
    used: u64,
    limit: u64,
}

impl Count {
    fn new(used: usize, limit: u64) -> Self {
        Self {
            used: used as u64,
            limit,
        }
    }
}

/// Appends the counts of `array` and what is below it: always as many for the same type.
fn count(array: &ArrayRef, counts: &mut Vec<Count>) {
    const OFFSETS: u64 = i32::MAX as u64;
    match array.data_type() {
        DataType::Utf8 => counts.push(Count::new(
            range(array.as_string::<i32>().offsets()).1,
            OFFSETS,
        )),
        DataType::Binary => counts.push(Count::new(
            range(array.as_binary::<i32>().offsets()).1,
            OFFSETS,
        )),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let (start, len) = range(list.offsets());
            counts.push(Count::new(len, OFFSETS));
            count(&list.values().slice(start, len), counts);
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            let (start, len) = range(list.offsets());
            count(&list.values().slice(start, len), counts);
        }
        DataType::Map(_, _) => {
            let map = array.as_map();
            let (start, len) = range(map.offsets());
            counts.push(Count::new(len, OFFSETS));
            for column in map.entries().slice(start, len).columns() {
                count(column, counts);
            }
        }
        DataType::ListView(_) => {
            let list = array.as_list_view::<i32>();
            counts.push(Count::new(list.values().len(), OFFSETS));
            count(list.values(), counts);
        }
        DataType::LargeListView(_) => count(array.as_list_view::<i64>().values(), counts),
        DataType::FixedSizeList(_, _) => count(array.as_fixed_size_list().values(), counts),
        DataType::Struct(_) => {
            array
                .as_struct()
                .columns()
                .iter()
                .for_each(|column| count(column, counts));
        }
        DataType::Union(fields, _) => {
            for (id, _) in fields.iter() {
                let child = array.as_union().child(id);
                counts.push(Count::new(child.len(), OFFSETS));
                count(child, counts);
            }
        }
        DataType::RunEndEncoded(ends, _) => {
            let limit = match ends.data_type() {
                DataType::Int16 => i16::MAX.as_usize() as u64,
                DataType::Int32 => OFFSETS,
                _ => u64::MAX,
            };
            counts.push(Count::new(array.len(), limit));
            if let Some(values) = array.to_data().child_data().get(1) {
                count(&arrow_array::make_array(values.clone()), counts);
            }
        }
        _ => {}
    }
}
