//! Opens an Arrow IPC file in place.
//!
//! A column's offsets, indices and bitmaps are checked when it is first handed out, once; then it is
//! kept. Buffers point into the file, except where it was written with too little alignment for its
//! type: those are copied, and counted. What is read in place is probed before, page by page, so
//! that lost memory is an error and not a signal.
//!
//! UTF-8 is checked by [`ArrowFile::verify`] only.

use super::build::Builder;
use super::check::check_utf8;
use super::metadata::{ArrowMetadata, Column};
use super::schema::Slots;
use crate::error::DataError;
use crate::place::Peek;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, make_array};
use arrow_buffer::{Buffer, MutableBuffer};
use arrow_data::ArrayData;
use arrow_schema::{DataType, SchemaRef};
use arrow_select::concat::concat;
use bytes::Bytes;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// An Arrow IPC file, open.
///
/// Threads may share it.
pub struct ArrowFile {
    metadata: ArrowMetadata,
    body: Buffer,
    dictionaries: Mutex<HashMap<i64, ArrayData>>,
    /// By batch, column, and whether the footer said what it is, or the index: where a file's two
    /// differ, each is taken at its own word.
    columns: Mutex<HashMap<(usize, usize, bool), ArrayRef>>,
    copied: AtomicU64,
    /// Of the process that opened it.
    generation: u64,
}

impl ArrowFile {
    /// Opens a file: `peek` copies its metadata out, `body` is all of it, in place.
    ///
    /// # Errors
    /// Those of [`ArrowMetadata::open`].
    pub fn open(peek: Arc<dyn Peek>, body: Bytes) -> Result<Self, DataError> {
        if peek.len() != body.len() as u64 {
            let (size, found) = (peek.len(), body.len());
            let detail = format!("{found} bytes are mapped, expected {size}");
            return Err(DataError::corrupt("arrow file", detail));
        }
        Ok(Self {
            metadata: ArrowMetadata::open(peek)?,
            body: Buffer::from(body),
            dictionaries: Mutex::default(),
            columns: Mutex::default(),
            copied: AtomicU64::new(0),
            generation: famfs::mem::generation(),
        })
    }

    /// What the file says of itself.
    #[must_use]
    pub fn metadata(&self) -> &ArrowMetadata {
        &self.metadata
    }

    /// The table's schema.
    ///
    /// # Errors
    /// If the footer is broken.
    pub fn schema(&self) -> Result<&SchemaRef, DataError> {
        self.metadata.schema()
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
        let key = (batch, index, self.metadata.has_footer());
        if let Some(columns) = self.lock(&self.columns)
            && let Some(array) = columns.get(&key)
        {
            return Ok(array.clone());
        }
        let header = self.metadata.header(batch)?;
        let Column {
            field,
            shape,
            start,
        } = self.metadata.column(index)?;
        let build = || {
            let data = Builder::new(self, header, start)?.array(field.data_type(), &shape)?;
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
        // The footer may have been read meanwhile: then it is made anew, and kept, the next time.
        if key.2 != self.metadata.has_footer() {
            return Ok(array);
        }
        Ok(match self.lock(&self.columns) {
            Some(mut columns) => columns.entry(key).or_insert(array).clone(),
            None => array,
        })
    }

    /// The column whose data a byte of the file is, by what the batches say; no data is looked at.
    /// `None` where it is no batch's, such as a dictionary's.
    ///
    /// # Errors
    /// If what the batches say can't be.
    pub fn column_at(&self, at: u64) -> Result<Option<usize>, DataError> {
        let Ok(at) = usize::try_from(at) else {
            return Ok(None);
        };
        for batch in 0..self.metadata.num_batches()? {
            let header = self.metadata.header(batch)?;
            if !header.body()?.contains(&at) {
                continue;
            }
            let Some(buffer) = header.buffer_at(at)? else {
                return Ok(None);
            };
            // The last column whose buffers begin there or before: those without any are passed.
            let (mut low, mut high) = (0, self.metadata.num_columns()?);
            while low < high {
                let middle = usize::midpoint(low, high);
                let start = self.metadata.column(middle)?.start;
                if start.buffers + header.data_buffers(0..start.views)? <= buffer {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            return Ok(low.checked_sub(1));
        }
        Ok(None)
    }

    /// One batch, in place.
    ///
    /// # Errors
    /// As [`ArrowFile::column`].
    pub fn batch(&self, batch: usize) -> Result<RecordBatch, DataError> {
        let rows = self.metadata.batch_rows(batch)?;
        // The schema first: then all columns come by the footer.
        let schema = self.schema()?.clone();
        let columns = (0..schema.fields().len()).map(|i| self.column(batch, i));
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let columns = columns.collect::<Result<_, _>>()?;
        let batch = RecordBatch::try_new_with_options(schema, columns, &options);
        batch.map_err(DataError::Arrow)
    }

    /// Checks everything: all structure, all columns, and the UTF-8 of all strings.
    ///
    /// # Errors
    /// What is wrong with the first column that is.
    pub fn verify(&self) -> Result<(), DataError> {
        self.metadata.check()?;
        self.probe(0..self.body.len())?;
        for batch in 0..self.metadata.num_batches()? {
            for index in 0..self.metadata.num_columns()? {
                let column = self.column(batch, index)?;
                check_utf8(&column.to_data()).map_err(|error| error.in_column(batch, index))?;
            }
        }
        Ok(())
    }

    /// Bytes of the file, in place. Ranges come from [`Batch::buffer`] and are inside.
    pub(super) fn bytes(&self, range: Range<usize>) -> Buffer {
        self.body.slice_with_length(range.start, range.len())
    }

    fn count_copy(&self, bytes: usize) {
        self.copied.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Touches the pages of a range that is about to be read in place: what is lost is an error.
    pub(super) fn probe(&self, range: Range<usize>) -> Result<(), DataError> {
        let (at, len) = (range.start as u64, range.len() as u64);
        Ok(self.metadata.peek().probe(at, len)?)
    }

    /// A copy of a range, its faults noticed; it is counted.
    pub(super) fn copy(&self, range: Range<usize>) -> Result<Buffer, DataError> {
        let mut copy = MutableBuffer::from_len_zeroed(range.len());
        self.metadata.peek().read(range.start as u64, &mut copy)?;
        self.count_copy(copy.len());
        Ok(copy.into())
    }

    /// The values of a dictionary, whose type is `values`.
    ///
    /// A dictionary's values may hold other dictionaries, but never itself: its type would be part
    /// of itself.
    pub(super) fn dictionary(&self, id: i64, values: &DataType) -> Result<ArrayData, DataError> {
        if let Some(known) = self.lock(&self.dictionaries)
            && let Some(data) = known.get(&id)
        {
            return Ok(data.clone());
        }
        let mut parts: Vec<ArrayRef> = Vec::new();
        let (data_type, shape) = match self.metadata.dictionary_type(id)? {
            Some((data_type, shape)) if data_type == values => (data_type, shape),
            _ => {
                return Err(DataError::corrupt(
                    "arrow schema",
                    "a dictionary has two types",
                ));
            }
        };
        let batches = self.metadata.dictionary_batches()?;
        for found in batches.iter().filter(|batch| batch.id == id) {
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
                // Joining reads all of them in place.
                for batch in batches.iter().filter(|batch| batch.id == id) {
                    self.probe(batch.batch.body()?)?;
                }
                let arrays: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
                let joined = concat(&arrays).map_err(DataError::Arrow)?;
                self.count_copy(joined.get_buffer_memory_size());
                joined.to_data()
            }
        };
        Ok(match self.lock(&self.dictionaries) {
            Some(mut known) => known.entry(id).or_insert(data).clone(),
            None => data,
        })
    }

    /// What is kept for the next time; `None` where a forked child can't have it at once: a thread
    /// that is not here may hold it for ever.
    fn lock<'a, T>(&self, kept: &'a Mutex<T>) -> Option<MutexGuard<'a, T>> {
        // What is behind the lock is only ever added to, whole: a panic elsewhere leaves it sound.
        if self.generation == famfs::mem::generation() {
            return Some(kept.lock().unwrap_or_else(PoisonError::into_inner));
        }
        match kept.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl fmt::Debug for ArrowFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArrowFile")
            .field("size", &self.body.len())
            .field("metadata", &self.metadata)
            .finish_non_exhaustive()
    }
}
