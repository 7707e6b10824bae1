//! What an Arrow IPC file says of itself: footer, schema, and the headers of its batches.
//!
//! Owns all that is copied out before it is judged. It never touches a value, so that a listing
//! costs a few lines of the file, whatever its size.

use super::parse::{self, Batch, Block, DictionaryBatch};
use super::schema::{FileSchema, Shape, Slots};
use crate::error::DataError;
use crate::place::Peek;
use arrow_ipc::MetadataVersion;
use arrow_schema::{DataType, SchemaRef};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The metadata of an Arrow IPC file.
///
/// Opening judges the footer, the schema, and that all blocks lie inside the file. A batch's header
/// is read and judged when it is first asked for, so that a file of a thousand batches opens as fast
/// as a file of one; [`ArrowMetadata::check`] judges them all. Threads may share it.
pub struct ArrowMetadata {
    peek: Arc<dyn Peek>,
    version: MetadataVersion,
    schema: SchemaRef,
    shapes: Vec<Shape>,
    /// Where each column's slots start in a batch's message; one more for their end.
    starts: Vec<Slots>,
    dictionary_types: HashMap<i64, (DataType, Shape)>,
    key_values: HashMap<String, String>,
    blocks: Vec<Block>,
    batches: Vec<OnceLock<Box<Batch>>>,
    dictionary_blocks: Vec<Block>,
    dictionary_batches: OnceLock<Vec<DictionaryBatch>>,
}

impl ArrowMetadata {
    /// Reads the footer; `peek` copies it out of the file.
    ///
    /// # Errors
    /// If the file's structure is broken, or if it uses what can't be mapped: compression, or
    /// big-endian order.
    pub fn open(peek: Arc<dyn Peek>) -> Result<Self, DataError> {
        let footer = parse::footer(peek.as_ref())?;
        let FileSchema {
            schema,
            shapes,
            dictionaries,
        } = footer.schema;
        let mut end = Slots::default();
        let mut starts = Vec::with_capacity(shapes.len() + 1);
        starts.push(end);
        for shape in &shapes {
            end = end.plus(shape.slots);
            starts.push(end);
        }
        Ok(Self {
            peek,
            version: footer.version,
            schema: Arc::new(schema),
            shapes,
            starts,
            dictionary_types: dictionaries,
            key_values: footer.metadata,
            batches: footer.batches.iter().map(|_| OnceLock::new()).collect(),
            blocks: footer.batches,
            dictionary_blocks: footer.dictionaries,
            dictionary_batches: OnceLock::new(),
        })
    }

    /// The table's schema.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The footer's key-value pairs.
    #[must_use]
    pub fn key_values(&self) -> &HashMap<String, String> {
        &self.key_values
    }

    /// The number of record batches.
    #[must_use]
    pub fn num_batches(&self) -> usize {
        self.blocks.len()
    }

    /// The number of columns.
    #[must_use]
    pub fn num_columns(&self) -> usize {
        self.shapes.len()
    }

    /// The number of rows of one batch.
    ///
    /// # Errors
    /// If there is no such batch or its header is broken.
    pub fn batch_rows(&self, batch: usize) -> Result<usize, DataError> {
        Ok(self.header(batch)?.rows())
    }

    /// The number of rows of all batches: reads all their headers.
    ///
    /// # Errors
    /// If a batch's header is broken.
    pub fn num_rows(&self) -> Result<u64, DataError> {
        let rows = (0..self.num_batches()).map(|batch| Ok(self.batch_rows(batch)? as u64));
        rows.sum()
    }

    /// Judges the headers of all batches and dictionaries.
    ///
    /// # Errors
    /// What is wrong with the first that is broken.
    pub fn check(&self) -> Result<(), DataError> {
        (0..self.num_batches()).try_for_each(|batch| self.header(batch).map(drop))?;
        self.dictionary_batches().map(drop)
    }

    pub(super) fn peek(&self) -> &dyn Peek {
        self.peek.as_ref()
    }

    pub(super) fn version(&self) -> MetadataVersion {
        self.version
    }

    /// A column's shape, and where its slots start in a batch's message.
    pub(super) fn shape(&self, column: usize) -> Option<(&Shape, Slots)> {
        Some((self.shapes.get(column)?, *self.starts.get(column)?))
    }

    /// The type of a dictionary's values, if the schema names the dictionary.
    pub(super) fn dictionary_type(&self, id: i64) -> Option<&(DataType, Shape)> {
        self.dictionary_types.get(&id)
    }

    pub(super) fn header(&self, index: usize) -> Result<&Batch, DataError> {
        let (Some(slot), Some(block)) = (self.batches.get(index), self.blocks.get(index)) else {
            let count = self.num_batches();
            return Err(DataError::OutOfRange {
                what: "batch",
                index,
                count,
            });
        };
        if let Some(batch) = slot.get() {
            return Ok(batch);
        }
        let batch = parse::batch(self.peek.as_ref(), block)?;
        batch.check_slots(self.starts.last().copied().unwrap_or_default())?;
        Ok(slot.get_or_init(|| Box::new(batch)))
    }

    pub(super) fn dictionary_batches(&self) -> Result<&[DictionaryBatch], DataError> {
        if let Some(batches) = self.dictionary_batches.get() {
            return Ok(batches);
        }
        let mut batches = Vec::with_capacity(self.dictionary_blocks.len());
        for block in &self.dictionary_blocks {
            let batch = parse::dictionary(self.peek.as_ref(), block)?;
            let Some((_, shape)) = self.dictionary_types.get(&batch.id) else {
                let detail = format!("dictionary {} is not in the schema", batch.id);
                return Err(DataError::corrupt("arrow message", detail));
            };
            batch.batch.check_slots(shape.slots)?;
            batches.push(batch);
        }
        Ok(self.dictionary_batches.get_or_init(|| batches))
    }
}

impl fmt::Debug for ArrowMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArrowMetadata")
            .field("schema", &self.schema)
            .field("batches", &self.blocks.len())
            .finish_non_exhaustive()
    }
}
