//! The index of a file's columns and batches: what makes one of 10,000 columns cost what one of 10
//! costs.
//!
//! An Arrow footer can only be read as a whole, and so can a batch's header: a megabyte for 10,000
//! columns. The index holds each column's field as a schema of its own, found by a table of hashes,
//! and says where the lists of each batch's header lie. It stands between the end of the stream and
//! the footer, where no reader of the format looks; `docs/format.md` gives its bytes.
//!
//! It is a short cut, not trusted: what it leads to is judged as if the footer had led there, and
//! `ArrowMetadata::check` compares the two.

use super::batch::{BatchPlace, max_rows};
use super::message::{HEAD, schema_message};
use super::metadata::Column;
use super::parse::{read, root};
use super::schema::{self, Slots};
use crate::error::DataError;
use crate::place::Peek;
use arrow_ipc::MetadataVersion;
use arrow_schema::{Field, Schema};
use std::ops::Range;
use std::sync::Arc;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const PART: &str = "arrow index";
/// What an index ends with, right before the footer.
const MAGIC: [u8; 8] = *b"FAMFSIX1";

/// The end of an index.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Trailer {
    /// Where the table of hashes begins in the file; column and batch entries follow it, and the
    /// schemas of the columns lie before it.
    table: U64,
    rows: U64,
    /// Entries of the table of hashes, a power of two.
    slots: U32,
    columns: U32,
    batches: U32,
    /// CRC-32 of the trailer, this taken as 0.
    crc: U32,
    magic: [u8; 8],
}

/// One column.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct ColumnEntry {
    /// Where the flatbuffer of its schema begins in the file.
    at: U64,
    len: U32,
    /// CRC-32 of its name.
    hash: U32,
    /// Where its part of the lists begins.
    nodes: U32,
    buffers: U32,
    views: U32,
    zero: U32,
}

/// One record batch.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct BatchEntry {
    /// Where the lists of its header lie in the file, up to `body`.
    nodes: U64,
    nodes_len: U64,
    buffers: U64,
    buffers_len: U64,
    variadic: U64,
    variadic_len: U64,
    body: U64,
    body_len: U64,
    first_row: U64,
    rows: U64,
}

const TRAILER: u64 = size_of::<Trailer>() as u64;
const SLOT: u64 = 4;
const COLUMN: u64 = size_of::<ColumnEntry>() as u64;
const BATCH: u64 = size_of::<BatchEntry>() as u64;
const _: () = assert!(TRAILER == 40 && COLUMN == 32 && BATCH == 80);

impl Trailer {
    fn sum(mut self) -> u32 {
        self.crc = U32::ZERO;
        crc32fast::hash(self.as_bytes())
    }
}

/// The bytes of an index that stands at `at` in the file.
pub(super) fn encode(
    at: u64,
    schema: &Schema,
    batches: &[BatchPlace],
) -> Result<Vec<u8>, DataError> {
    let number = |what, found: usize| {
        u32::try_from(found).map_err(|_| DataError::TooLarge {
            what,
            found: found as u64,
            limit: u32::MAX.into(),
        })
    };
    let mut bytes = Vec::new();
    let mut entries = Vec::with_capacity(schema.fields().len());
    let mut start = Slots::default();
    for field in schema.fields() {
        let message = schema_message(&Schema::new(vec![field.clone()]));
        let (_, _, slots) = decode(&message)?;
        entries.push(ColumnEntry {
            at: U64::new(at + bytes.len() as u64),
            len: U32::new(number("a column's schema", message.len())?),
            hash: U32::new(crc32fast::hash(field.name().as_bytes())),
            nodes: U32::new(number("the table's field nodes", start.nodes)?),
            buffers: U32::new(number("the table's buffers", start.buffers)?),
            views: U32::new(number("the table's views", start.views)?),
            zero: U32::ZERO,
        });
        start = start.plus(slots);
        bytes.extend_from_slice(&message);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    let table = at + bytes.len() as u64;
    let slots = (entries.len() * 2).next_power_of_two();
    let mut hashed = vec![U32::ZERO; slots];
    for (i, entry) in entries.iter().enumerate() {
        let mut slot = entry.hash.get() as usize & (slots - 1);
        while hashed[slot].get() != 0 {
            slot = (slot + 1) & (slots - 1);
        }
        hashed[slot] = U32::new(number("the table's columns", i + 1)?);
    }
    bytes.extend_from_slice(hashed.as_bytes());
    bytes.extend_from_slice(entries.as_bytes());
    let mut rows = 0_u64;
    for batch in batches {
        let entry = BatchEntry {
            nodes: U64::new(batch.nodes.start),
            nodes_len: U64::new(batch.nodes.end - batch.nodes.start),
            buffers: U64::new(batch.buffers.start),
            buffers_len: U64::new(batch.buffers.end - batch.buffers.start),
            variadic: U64::new(batch.variadic.start),
            variadic_len: U64::new(batch.variadic.end - batch.variadic.start),
            body: U64::new(batch.body.start),
            body_len: U64::new(batch.body.end - batch.body.start),
            first_row: U64::new(rows),
            rows: U64::new(batch.rows),
        };
        rows += batch.rows;
        bytes.extend_from_slice(entry.as_bytes());
    }
    let mut trailer = Trailer {
        table: U64::new(table),
        rows: U64::new(rows),
        slots: U32::new(number("the index's table", slots)?),
        columns: U32::new(number("the table's columns", entries.len())?),
        batches: U32::new(number("the table's batches", batches.len())?),
        crc: U32::ZERO,
        magic: MAGIC,
    };
    trailer.crc = U32::new(trailer.sum());
    bytes.extend_from_slice(trailer.as_bytes());
    Ok(bytes)
}

/// A column's field out of the schema that holds it alone.
fn decode(message: &[u8]) -> Result<(Arc<Field>, schema::Shape, Slots), DataError> {
    let found = root(message)?;
    let schema = found
        .header_as_schema()
        .ok_or_else(|| DataError::corrupt(PART, "a column's schema is none"))?;
    let found = schema::decode(schema, MetadataVersion::V5)?;
    let (Some(field), Some(shape)) = (found.schema.fields().first(), found.shapes.first()) else {
        return Err(DataError::corrupt(PART, "a column's schema has no field"));
    };
    Ok((field.clone(), shape.clone(), shape.slots))
}

/// A file's index, as far as its trailer tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Index {
    table: u64,
    rows: u64,
    slots: u32,
    columns: u32,
    batches: u32,
    /// Where the trailer begins.
    end: u64,
}

impl Index {
    /// Finds the index before the footer at `footer`; `None` where there is none.
    pub(super) fn find(peek: &dyn Peek, footer: u64) -> Result<Option<Self>, DataError> {
        let Some(end) = footer.checked_sub(TRAILER).filter(|end| *end >= HEAD) else {
            return Ok(None);
        };
        let bytes = read(peek, end..footer)?;
        let Ok(trailer) = Trailer::read_from_bytes(&bytes) else {
            return Ok(None);
        };
        if trailer.magic != MAGIC {
            return Ok(None);
        }
        if trailer.sum() != trailer.crc.get() {
            return Err(DataError::corrupt(PART, "its checksum is wrong"));
        }
        let found = Self {
            table: trailer.table.get(),
            rows: trailer.rows.get(),
            slots: trailer.slots.get(),
            columns: trailer.columns.get(),
            batches: trailer.batches.get(),
            end,
        };
        let fits = found.slots.is_power_of_two()
            && found.slots > found.columns
            && found.table >= HEAD
            && found
                .batches_at()
                .checked_add(u64::from(found.batches) * BATCH)
                == Some(end);
        if !fits {
            return Err(DataError::corrupt(PART, "its parts don't fill it"));
        }
        // Whoever counts rows counts with 63 bits, and each batch is judged by this as well.
        let limit = max_rows(&(0..end)).unsigned_abs();
        let limit = limit.saturating_mul(found.batches.into());
        if found.rows > limit.min(i64::MAX.unsigned_abs()) {
            let detail = format!("{} rows in {} batches", found.rows, found.batches);
            return Err(DataError::corrupt(PART, detail));
        }
        Ok(Some(found))
    }

    fn columns_at(&self) -> u64 {
        self.table.saturating_add(u64::from(self.slots) * SLOT)
    }

    fn batches_at(&self) -> u64 {
        self.columns_at()
            .saturating_add(u64::from(self.columns) * COLUMN)
    }

    pub(super) fn num_columns(&self) -> usize {
        self.columns as usize
    }

    pub(super) fn num_batches(&self) -> usize {
        self.batches as usize
    }

    pub(super) fn num_rows(&self) -> u64 {
        self.rows
    }

    fn entry(&self, peek: &dyn Peek, column: u32) -> Result<ColumnEntry, DataError> {
        let at = self.columns_at() + u64::from(column) * COLUMN;
        let bytes = read(peek, at..at + COLUMN)?;
        ColumnEntry::read_from_bytes(&bytes).map_err(|_| DataError::corrupt(PART, "it ends early"))
    }

    fn column_of(&self, peek: &dyn Peek, entry: &ColumnEntry) -> Result<Column, DataError> {
        let (at, len) = (entry.at.get(), u64::from(entry.len.get()));
        let place = at..at.saturating_add(len);
        if at < HEAD || place.end > self.table {
            let detail = format!("a column's schema lies at {at}, {len} bytes of it");
            return Err(DataError::corrupt(PART, detail));
        }
        let (field, shape, _) = decode(&read(peek, place)?)?;
        Ok(Column {
            field,
            shape,
            start: Slots {
                nodes: entry.nodes.get() as usize,
                buffers: entry.buffers.get() as usize,
                views: entry.views.get() as usize,
            },
        })
    }

    /// A column by its place, which is less than [`Self::num_columns`].
    pub(super) fn column(&self, peek: &dyn Peek, column: usize) -> Result<Column, DataError> {
        let column = u32::try_from(column).unwrap_or(u32::MAX);
        self.column_of(peek, &self.entry(peek, column)?)
    }

    /// The columns that have a name: none, one, or, as the format allows, several.
    pub(super) fn find_columns(
        &self,
        peek: &dyn Peek,
        name: &str,
    ) -> Result<Vec<usize>, DataError> {
        let hash = crc32fast::hash(name.as_bytes());
        let mut found = Vec::new();
        let mut slot = hash & (self.slots - 1);
        // There is an empty one, in a sound table.
        for _ in 0..self.slots {
            let at = self.table + u64::from(slot) * SLOT;
            let bytes = read(peek, at..at + SLOT)?;
            let number = U32::read_from_bytes(&bytes).unwrap_or(U32::ZERO).get();
            let Some(column) = number
                .checked_sub(1)
                .filter(|column| *column < self.columns)
            else {
                break;
            };
            let entry = self.entry(peek, column)?;
            if entry.hash.get() == hash && self.column_of(peek, &entry)?.field.name() == name {
                found.push(column as usize);
            }
            slot = (slot + 1) & (self.slots - 1);
        }
        found.sort_unstable();
        Ok(found)
    }

    fn batch_entry(&self, peek: &dyn Peek, batch: usize) -> Result<BatchEntry, DataError> {
        let at = self.batches_at() + batch as u64 * BATCH;
        let bytes = read(peek, at..at + BATCH)?;
        BatchEntry::read_from_bytes(&bytes).map_err(|_| DataError::corrupt(PART, "it ends early"))
    }

    /// The rows of a batch, which is less than [`Self::num_batches`].
    pub(super) fn rows(&self, peek: &dyn Peek, batch: usize) -> Result<Range<u64>, DataError> {
        let entry = self.batch_entry(peek, batch)?;
        let (first, rows) = (entry.first_row.get(), entry.rows.get());
        match first.checked_add(rows).filter(|end| *end <= self.rows) {
            Some(end) => Ok(first..end),
            None => Err(DataError::corrupt(
                PART,
                format!(
                    "batch {batch} has rows from {first} on, {rows} of {}",
                    self.rows
                ),
            )),
        }
    }

    /// The first batch that ends behind a row; the number of batches where there is none.
    pub(super) fn batch_at(&self, peek: &dyn Peek, row: u64) -> Result<usize, DataError> {
        let (mut low, mut high) = (0, self.num_batches());
        while low < high {
            let middle = low.midpoint(high);
            if self.rows(peek, middle)?.end <= row {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// Where a batch's header and body lie.
    pub(super) fn batch(&self, peek: &dyn Peek, batch: usize) -> Result<BatchPlace, DataError> {
        let entry = self.batch_entry(peek, batch)?;
        let place = |at: U64, len: U64| -> Result<Range<u64>, DataError> {
            let (at, len) = (at.get(), len.get());
            let end = at.checked_add(len).filter(|end| *end <= self.end);
            match end.filter(|_| at >= HEAD || len == 0) {
                Some(end) => Ok(at..end),
                None => Err(DataError::corrupt(
                    PART,
                    format!("batch {batch} has {len} bytes at {at}"),
                )),
            }
        };
        Ok(BatchPlace {
            nodes: place(entry.nodes, entry.nodes_len)?,
            buffers: place(entry.buffers, entry.buffers_len)?,
            variadic: place(entry.variadic, entry.variadic_len)?,
            body: place(entry.body, entry.body_len)?,
            rows: entry.rows.get(),
        })
    }
}
