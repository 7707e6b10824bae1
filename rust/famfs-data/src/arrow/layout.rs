//! Lays a table out as an Arrow IPC file: its exact size, and every byte's place, before any is
//! written.
//!
//! Batches are joined, so that a column is one array, unless the caller wants partitions. The
//! file has more than one record batch then, and also where one column would outgrow its type:
//! 32-bit offsets count 2 GiB of strings, 16-bit run ends 32,767 rows. Values are not copied on the
//! way: the plan holds references to the caller's buffers, and the metadata it made.

use super::body::{Alignment, PAGES_FROM, Segment};
use super::dictionary;
use super::writer::Writer;
use crate::error::DataError;
use crate::place::Place;
use arrow_array::RecordBatch;
use arrow_schema::Schema;
use std::collections::HashMap;

/// Below this a footer is read as fast as an index.
const INDEX_FROM: usize = 64;

/// How a table is laid out.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    /// Keep partitions of this many rows; without it, as few record batches as possible.
    pub batch_rows: Option<usize>,
    /// Every buffer starts at a multiple of this in the file: a power of two, at least 64.
    pub alignment: u64,
    /// Buffers of so many bytes and more start on a page of 4 KiB: from 256 KiB on, that is at most
    /// 5 % over the data.
    pub pages_from: u64,
    /// Key-value pairs for the footer.
    pub footer: HashMap<String, String>,
    /// Keep room for a checksum of the file, see [`ArrowPlan::checksum_at`].
    pub checksum: bool,
    /// From so many columns and batches on, together, the file gets an index of them.
    pub index_from: usize,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            batch_rows: None,
            alignment: 64,
            pages_from: PAGES_FROM,
            footer: HashMap::new(),
            checksum: false,
            index_from: INDEX_FROM,
        }
    }
}

impl PlanOptions {
    /// Refuses what makes no sense.
    pub(super) fn check(&self) -> Result<(), DataError> {
        if !self.alignment.is_power_of_two() || self.alignment < 64 {
            return Err(DataError::unsupported(
                format!("an alignment of {}", self.alignment),
                "it is a power of two and at least 64",
            ));
        }
        if self.batch_rows == Some(0) {
            return Err(DataError::unsupported(
                "partitions of 0 rows",
                "ask for 1 or more",
            ));
        }
        Ok(())
    }

    pub(super) fn aligned(&self) -> Alignment {
        Alignment {
            base: self.alignment,
            pages_from: self.pages_from,
        }
    }
}

/// Bytes of a planned file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// This many zeros.
    Zero(u64),
}

impl Span<'_> {
    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Zero(len) => *len,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its first `len` bytes, all of them if it has no more, and the rest.
    #[must_use]
    pub fn split_at(self, len: u64) -> (Self, Self) {
        let len = len.min(self.len());
        match self {
            Self::Bytes(bytes) => {
                let (first, rest) = bytes.split_at(usize::try_from(len).unwrap_or(usize::MAX));
                (Self::Bytes(first), Self::Bytes(rest))
            }
            Self::Zero(all) => (Self::Zero(len), Self::Zero(all - len)),
        }
    }
}

/// A table laid out as an Arrow IPC file, ready to be written.
#[derive(Debug)]
pub struct ArrowPlan {
    segments: Vec<Segment>,
    size: u64,
    footer_at: u64,
    checksum_at: Option<u64>,
    rows: u64,
    batches: usize,
    borrowed: u64,
    owned: u64,
}

impl ArrowPlan {
    /// Lays out `batches` as one table with the given schema.
    ///
    /// # Errors
    /// If a batch's columns are not of the schema's types, if the options make no sense, or if
    /// the table can't be said in the format: dictionaries that are too large once they are one.
    pub fn new(
        schema: &Schema,
        batches: &[RecordBatch],
        options: &PlanOptions,
    ) -> Result<Self, DataError> {
        options.check()?;
        check_schemas(schema, batches)?;
        let (trees, dictionaries) = dictionary::of_batches(schema, batches, &mut [])?;
        let mut file = Writer::new(schema, options)?;
        file.dictionaries(&dictionaries)?;
        file.batches(batches, &trees, &dictionaries)?;
        let end = file.finish(options)?;
        Ok(Self {
            segments: file.take(),
            size: file.len(),
            footer_at: end.footer_at,
            checksum_at: end.checksum_at,
            rows: file.rows(),
            batches: file.num_batches(),
            borrowed: file.counted().0,
            owned: file.counted().1,
        })
    }

    /// The file's exact size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Where the footer starts: all data lies before it.
    #[must_use]
    pub fn footer_at(&self) -> u64 {
        self.footer_at
    }

    /// Where the eight digits of the checksum go, zeros as planned: it is that of the file with
    /// them.
    #[must_use]
    pub fn checksum_at(&self) -> Option<u64> {
        self.checksum_at
    }

    /// The number of rows.
    #[must_use]
    pub fn num_rows(&self) -> u64 {
        self.rows
    }

    /// The number of record batches in the file.
    #[must_use]
    pub fn num_batches(&self) -> usize {
        self.batches
    }

    /// How many bytes of the file are the caller's own, written from where they are.
    #[must_use]
    pub fn bytes_borrowed(&self) -> u64 {
        self.borrowed
    }

    /// How many bytes of the file's data were made for it: offsets, bitmaps and indices moved.
    #[must_use]
    pub fn bytes_owned(&self) -> u64 {
        self.owned
    }

    /// All of the file in ascending order, each part with its offset.
    pub fn spans(&self) -> impl Iterator<Item = (u64, Span<'_>)> {
        spans(0, &self.segments)
    }

    /// Writes the file.
    ///
    /// # Errors
    /// What the place says.
    pub fn write(&self, place: &mut dyn Place) -> Result<(), DataError> {
        for (at, span) in self.spans() {
            match span {
                Span::Bytes(bytes) => place.put(at, bytes)?,
                Span::Zero(len) => place.zero(at, len)?,
            }
        }
        Ok(())
    }
}

/// Segments that follow one another from `at` on, each with its offset.
pub(super) fn spans(at: u64, segments: &[Segment]) -> impl Iterator<Item = (u64, Span<'_>)> {
    segments.iter().scan(at, |at, segment| {
        let start = *at;
        *at += segment.len();
        let span = match segment {
            Segment::Bytes(bytes) => Span::Bytes(bytes.as_slice()),
            Segment::Zero(len) => Span::Zero(*len),
        };
        Some((start, span))
    })
}

pub(super) fn check_schemas(schema: &Schema, batches: &[RecordBatch]) -> Result<(), DataError> {
    for (i, batch) in batches.iter().enumerate() {
        let same = batch.num_columns() == schema.fields().len()
            && schema
                .fields()
                .iter()
                .zip(batch.columns())
                .all(|(field, column)| column.data_type() == field.data_type());
        if !same {
            return Err(DataError::SchemaMismatch {
                batch: i,
                expected: schema.to_string(),
                found: batch.schema().to_string(),
            });
        }
    }
    Ok(())
}
