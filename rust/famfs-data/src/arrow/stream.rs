//! Lays a table out while its batches come: what was laid out is written and let go of before there
//! is more.
//!
//! Batches are joined as far as they are waiting together. A dictionary is kept until the end: it
//! grows by what each batch adds, what was written with it stays true, and it stands in the file
//! behind all batches. The format allows that ("there is no requirement that dictionary keys should
//! be defined in a `DictionaryBatch` before they are used", Arrow columnar format, IPC file format);
//! readers find it by the footer. A delta for each growth would be allowed too, and would make
//! readers copy.

use super::body::Segment;
use super::dictionary::{self, Dictionary};
use super::layout::{PlanOptions, Span, check_schemas, spans};
use super::writer::{End, Writer};
use crate::error::DataError;
use arrow_array::RecordBatch;
use arrow_schema::Schema;

/// A table that is laid out while its batches come.
#[derive(Debug)]
pub struct ArrowStream<'a> {
    options: PlanOptions,
    schema: &'a Schema,
    file: Writer<'a>,
    /// None after an error: what the file's dictionaries were to hold isn't known then.
    dictionaries: Option<Vec<Dictionary>>,
    end: Option<End>,
}

/// What was laid out, to be written.
#[derive(Debug)]
pub struct LaidOut {
    at: u64,
    segments: Vec<Segment>,
}

impl LaidOut {
    /// All of it in ascending order, each part with its offset in the file.
    pub fn spans(&self) -> impl Iterator<Item = (u64, Span<'_>)> {
        spans(self.at, &self.segments)
    }
}

impl<'a> ArrowStream<'a> {
    /// A table of that schema, without batches yet.
    ///
    /// # Errors
    /// As [`ArrowPlan::new`](super::ArrowPlan::new).
    pub fn new(schema: &'a Schema, options: PlanOptions) -> Result<Self, DataError> {
        options.check()?;
        Ok(Self {
            file: Writer::new(schema, &options)?,
            schema,
            dictionaries: Some(dictionary::of_batches(schema, &[], &mut [])?.1),
            options,
            end: None,
        })
    }

    /// Lays out batches, as the table's next rows.
    ///
    /// # Errors
    /// As [`ArrowPlan::new`](super::ArrowPlan::new). The table can't be gone on with then.
    pub fn add(&mut self, batches: &[RecordBatch]) -> Result<(), DataError> {
        let mut earlier = self.dictionaries.take().ok_or_else(refused_before)?;
        check_schemas(self.schema, batches)?;
        let (trees, dictionaries) = dictionary::of_batches(self.schema, batches, &mut earlier)?;
        self.file.batches(batches, &trees, &dictionaries)?;
        self.dictionaries = Some(dictionaries);
        Ok(())
    }

    /// Lays out the end of the file.
    ///
    /// # Errors
    /// If its footer is larger than the format allows, and where a batch was refused.
    pub fn finish(&mut self) -> Result<(), DataError> {
        let dictionaries = self.dictionaries.as_ref().ok_or_else(refused_before)?;
        self.file.dictionaries(dictionaries)?;
        self.end = Some(self.file.finish(&self.options)?);
        Ok(())
    }

    /// What was laid out since the last time.
    pub fn take(&mut self) -> LaidOut {
        let segments = self.file.take();
        let len: u64 = segments.iter().map(Segment::len).sum();
        LaidOut {
            at: self.file.len() - len,
            segments,
        }
    }

    /// The file's length so far; once it is finished, its size.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.file.len()
    }

    /// Whether nothing was laid out: never, for a file has a schema.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the digits of the checksum go: see [`ArrowPlan`](super::ArrowPlan::checksum_at). Known
    /// once it is finished.
    #[must_use]
    pub fn checksum_at(&self) -> Option<u64> {
        self.end.and_then(|end| end.checksum_at)
    }

    /// Bytes of the file that are the caller's own, and bytes of data that were made for it.
    #[must_use]
    pub fn counted(&self) -> (u64, u64) {
        self.file.counted()
    }
}

fn refused_before() -> DataError {
    DataError::unsupported(
        "a table one of whose batches was refused",
        "begin it again, without that batch",
    )
}
