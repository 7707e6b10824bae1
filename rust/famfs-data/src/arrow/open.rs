//! Opens an Arrow IPC file in place.
//!
//! Opening judges structure only: the footer, the schema, and that all blocks lie inside the file.
//! A batch's header is read and judged when it is first asked for, so that a file of a thousand
//! batches opens as fast as a file of one; [`ArrowFile::check`] judges them all. A column's offsets,
//! indices and bitmaps are checked when it is first handed out, once; then it is kept. Buffers point
//! into the file, except where it was written with too little alignment for its type: those are
//! copied, and counted.
//!
//! UTF-8 is checked by [`ArrowFile::verify`] only.

use super::build::Builder;
use super::check::check_utf8;
use super::parse::{self, Batch, Block, DictionaryBatch};
use super::schema::{FileSchema, Shape, Slots};
use crate::error::DataError;
use crate::place::Peek;
use arrow::array::{Array, ArrayData, ArrayRef, RecordBatch, RecordBatchOptions, make_array};
use arrow::buffer::Buffer;
use arrow::compute::concat;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::ipc::MetadataVersion;
use bytes::Bytes;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// An Arrow IPC file, open.
///
/// Threads may share it.
pub struct ArrowFile {
    peek: Arc<dyn Peek>,
    body: Buffer,
    version: MetadataVersion,
    schema: SchemaRef,
    shapes: Vec<Shape>,
    /// Where each column's slots start in a batch's message; one more for their end.
    starts: Vec<Slots>,
    dictionary_types: HashMap<i64, (DataType, Shape)>,
    metadata: HashMap<String, String>,
    blocks: Vec<Block>,
    batches: Vec<OnceLock<Box<Batch>>>,
    dictionary_blocks: Vec<Block>,
    dictionary_batches: OnceLock<Vec<DictionaryBatch>>,
    dictionaries: Mutex<HashMap<i64, ArrayData>>,
    columns: Mutex<HashMap<(usize, usize), ArrayRef>>,
    copied: AtomicU64,
}

impl ArrowFile {
    /// Opens a file: `peek` copies its metadata out, `body` is all of it, in place.
    ///
    /// # Errors
    /// If the file's structure is broken, or if it uses what can't be mapped: compression, or
    /// big-endian order.
    pub fn open(peek: Arc<dyn Peek>, body: Bytes) -> Result<Self, DataError> {
        if peek.len() != body.len() as u64 {
            let (size, found) = (peek.len(), body.len());
            let detail = format!("{found} bytes are mapped, expected {size}");
            return Err(DataError::corrupt("arrow file", detail));
        }
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
            body: Buffer::from(body),
            version: footer.version,
            schema: Arc::new(schema),
            shapes,
            starts,
            dictionary_types: dictionaries,
            metadata: footer.metadata,
            batches: footer.batches.iter().map(|_| OnceLock::new()).collect(),
            blocks: footer.batches,
            dictionary_blocks: footer.dictionaries,
            dictionary_batches: OnceLock::new(),
            dictionaries: Mutex::default(),
            columns: Mutex::default(),
            copied: AtomicU64::new(0),
        })
    }

    /// The table's schema.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The footer's key-value pairs.
    #[must_use]
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.metadata
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

    /// How many bytes had to be copied because the file's alignment is too small for their type.
    #[must_use]
    pub fn bytes_copied(&self) -> u64 {
        self.copied.load(Ordering::Relaxed)
    }

    /// One column of one batch, in place.
    ///
    /// # Errors
    /// If there is no such column or batch, or if the column's data is not what its type needs.
    pub fn column(&self, batch: usize, index: usize) -> Result<ArrayRef, DataError> {
        if let Some(array) = lock(&self.columns).get(&(batch, index)) {
            return Ok(array.clone());
        }
        let header = self.header(batch)?;
        let (Some(field), Some(shape)) = (self.schema.fields().get(index), self.shapes.get(index))
        else {
            let count = self.num_columns();
            return Err(DataError::OutOfRange {
                what: "column",
                index,
                count,
            });
        };
        let build = || {
            let data =
                Builder::new(self, header, self.starts[index])?.array(field.data_type(), shape)?;
            if data.len() != header.rows() {
                let (found, rows) = (data.len(), header.rows());
                let detail = format!("{found} values, expected {rows} as the batch has rows");
                return Err(DataError::corrupt("arrow data", detail));
            }
            if !field.is_nullable() && data.null_count() > 0 {
                let detail = format!("{} nulls, expected none", data.null_count());
                return Err(DataError::corrupt("arrow data", detail));
            }
            Ok(make_array(data))
        };
        let array = build().map_err(|error| error.in_column(batch, index))?;
        Ok(lock(&self.columns)
            .entry((batch, index))
            .or_insert(array)
            .clone())
    }

    /// One batch, in place.
    ///
    /// # Errors
    /// As [`ArrowFile::column`].
    pub fn batch(&self, batch: usize) -> Result<RecordBatch, DataError> {
        let rows = self.batch_rows(batch)?;
        let columns = (0..self.num_columns()).map(|i| self.column(batch, i));
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let columns = columns.collect::<Result<_, _>>()?;
        Ok(RecordBatch::try_new_with_options(
            self.schema.clone(),
            columns,
            &options,
        )?)
    }

    /// Judges the headers of all batches and dictionaries.
    ///
    /// # Errors
    /// What is wrong with the first that is broken.
    pub fn check(&self) -> Result<(), DataError> {
        (0..self.num_batches()).try_for_each(|batch| self.header(batch).map(drop))?;
        self.dictionary_batches().map(drop)
    }

    /// Checks everything: all structure, all columns, and the UTF-8 of all strings.
    ///
    /// # Errors
    /// What is wrong with the first column that is.
    pub fn verify(&self) -> Result<(), DataError> {
        self.check()?;
        for batch in 0..self.num_batches() {
            for index in 0..self.num_columns() {
                let column = self.column(batch, index)?;
                check_utf8(&column.to_data()).map_err(|error| error.in_column(batch, index))?;
            }
        }
        Ok(())
    }

    pub(super) fn version(&self) -> MetadataVersion {
        self.version
    }

    /// Bytes of the file, in place. Ranges come from [`Batch::buffer`] and are inside.
    pub(super) fn bytes(&self, range: Range<usize>) -> Buffer {
        self.body.slice_with_length(range.start, range.len())
    }

    pub(super) fn count_copy(&self, bytes: usize) {
        self.copied.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn header(&self, index: usize) -> Result<&Batch, DataError> {
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

    fn dictionary_batches(&self) -> Result<&[DictionaryBatch], DataError> {
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

    /// The values of a dictionary, whose type is `values`.
    ///
    /// A dictionary's values may hold other dictionaries, but never itself: its type would be part
    /// of itself.
    pub(super) fn dictionary(&self, id: i64, values: &DataType) -> Result<ArrayData, DataError> {
        if let Some(data) = lock(&self.dictionaries).get(&id) {
            return Ok(data.clone());
        }
        let mut parts: Vec<ArrayRef> = Vec::new();
        let (data_type, shape) = match self.dictionary_types.get(&id) {
            Some((data_type, shape)) if data_type == values => (data_type, shape),
            _ => {
                return Err(DataError::corrupt(
                    "arrow schema",
                    "a dictionary has two types",
                ));
            }
        };
        for found in self
            .dictionary_batches()?
            .iter()
            .filter(|batch| batch.id == id)
        {
            if found.delta == parts.is_empty() {
                let what = if found.delta {
                    "continued before it began"
                } else {
                    "replaced"
                };
                let detail = format!("dictionary {id} is {what}, which a file can't do");
                return Err(DataError::corrupt("arrow message", detail));
            }
            let batch = &found.batch;
            let data = Builder::new(self, batch, Slots::default())?.array(data_type, shape)?;
            if data.len() != batch.rows() {
                let (len, rows) = (data.len(), batch.rows());
                let detail = format!("dictionary {id} has {len} values, expected {rows}");
                return Err(DataError::corrupt("arrow message", detail));
            }
            parts.push(make_array(data));
        }
        let data = match parts.as_slice() {
            // A column of nothing but nulls needs none.
            [] => ArrayData::new_empty(values),
            [whole] => whole.to_data(),
            parts => {
                // Joined in memory: values that take no bytes of the file could be endless.
                let len: usize = parts.iter().map(Array::len).sum();
                if len / 8 > self.body.len() {
                    let detail = format!("dictionary {id} has {len} values, more than the file");
                    return Err(DataError::corrupt("arrow message", detail));
                }
                let joined = concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>())?;
                self.count_copy(joined.get_buffer_memory_size());
                joined.to_data()
            }
        };
        Ok(lock(&self.dictionaries).entry(id).or_insert(data).clone())
    }
}

/// What is behind these locks is only ever added to, whole: a panic elsewhere leaves it sound.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for ArrowFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArrowFile")
            .field("size", &self.body.len())
            .field("schema", &self.schema)
            .field("batches", &self.blocks.len())
            .finish_non_exhaustive()
    }
}
