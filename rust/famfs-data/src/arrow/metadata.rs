//! What an Arrow IPC file says of itself: footer, schema, and the headers of its batches.
//!
//! Owns all that is copied out before it is judged. It never touches a value, so that a listing
//! costs a few lines of the file, whatever its size. Where the file has an [`Index`], single columns
//! and batches are read by it; the footer is then read when something needs all of it.

use super::batch::{self, Batch, DictionaryBatch};
use super::index::Index;
use super::parse::{self, Block};
use super::schema::{FileSchema, Shape, Slots};
use crate::checksum;
use crate::error::DataError;
use crate::place::Peek;
use arrow_ipc::MetadataVersion;
use arrow_schema::{DataType, FieldRef, SchemaRef};
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// The metadata of an Arrow IPC file.
///
/// Opening judges both ends of the file, and its footer unless there is an index. A batch's header
/// is read and judged when it is first asked for, so that a file of a thousand batches opens as fast
/// as a file of one; [`ArrowMetadata::check`] judges everything. Threads may share it.
pub struct ArrowMetadata {
    peek: Arc<dyn Peek>,
    footer: Range<u64>,
    index: Option<Index>,
    whole: OnceLock<Whole>,
    batches: OnceLock<Vec<OnceLock<Box<Batch>>>>,
}

/// What the footer says.
struct Whole {
    version: MetadataVersion,
    schema: SchemaRef,
    shapes: Vec<Shape>,
    /// Where each column's slots start in a batch's message; one more for their end.
    starts: Vec<Slots>,
    dictionary_types: HashMap<i64, (DataType, Shape)>,
    key_values: HashMap<String, String>,
    checksum: Option<(u64, String)>,
    blocks: Vec<Block>,
    dictionary_blocks: Vec<Block>,
    dictionary_batches: OnceLock<Vec<DictionaryBatch>>,
}

/// A column's field, and where its part of a batch's message is.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) field: FieldRef,
    pub(super) shape: Shape,
    pub(super) start: Slots,
}

impl Whole {
    fn read(peek: &dyn Peek, footer: Range<u64>) -> Result<Self, DataError> {
        let footer = parse::footer(peek, footer)?;
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
            version: footer.version,
            schema: Arc::new(schema),
            shapes,
            starts,
            dictionary_types: dictionaries,
            key_values: footer.metadata,
            checksum: footer.checksum,
            blocks: footer.batches,
            dictionary_blocks: footer.dictionaries,
            dictionary_batches: OnceLock::new(),
        })
    }

    fn column(&self, column: usize) -> Result<Column, DataError> {
        let field = self.schema.fields().get(column);
        let (Some(field), Some(shape), Some(start)) =
            (field, self.shapes.get(column), self.starts.get(column))
        else {
            return Err(out_of_range("column", column, self.shapes.len()));
        };
        Ok(Column {
            field: field.clone(),
            shape: shape.clone(),
            start: *start,
        })
    }

    fn slots(&self) -> Slots {
        self.starts.last().copied().unwrap_or_default()
    }
}

impl ArrowMetadata {
    /// Reads what opening needs; `peek` copies it out of the file.
    ///
    /// # Errors
    /// If the file's structure is broken, or if it uses what can't be mapped: compression, or
    /// big-endian order.
    pub fn open(peek: Arc<dyn Peek>) -> Result<Self, DataError> {
        let footer = parse::ends(peek.as_ref())?;
        let index = Index::find(peek.as_ref(), footer.start)?;
        let found = Self {
            peek,
            footer,
            index,
            whole: OnceLock::new(),
            batches: OnceLock::new(),
        };
        if found.index.is_none() {
            found.whole()?;
        }
        Ok(found)
    }

    fn whole(&self) -> Result<&Whole, DataError> {
        if let Some(whole) = self.whole.get() {
            return Ok(whole);
        }
        let whole = Whole::read(self.peek(), self.footer.clone())?;
        Ok(self.whole.get_or_init(|| whole))
    }

    /// Whether the footer has been read.
    pub(super) fn has_footer(&self) -> bool {
        self.whole.get().is_some()
    }

    /// The index, unless the footer has been read, which then tells more for less.
    fn index(&self) -> Option<&Index> {
        self.index.as_ref().filter(|_| self.whole.get().is_none())
    }

    /// The table's schema.
    ///
    /// # Errors
    /// If the footer is broken.
    pub fn schema(&self) -> Result<&SchemaRef, DataError> {
        Ok(&self.whole()?.schema)
    }

    /// The footer's key-value pairs.
    ///
    /// # Errors
    /// If the footer is broken.
    pub fn key_values(&self) -> Result<&HashMap<String, String>, DataError> {
        Ok(&self.whole()?.key_values)
    }

    /// Compares the file with its checksum; whether it has one.
    ///
    /// # Errors
    /// If it has another, or the footer is broken.
    pub fn check_sum(&self) -> Result<bool, DataError> {
        let Some((at, digits)) = &self.whole()?.checksum else {
            return Ok(false);
        };
        let sum = checksum::read(digits)?;
        checksum::check(self.peek(), self.peek().len(), Some(*at), sum)?;
        Ok(true)
    }

    /// The number of record batches.
    ///
    /// # Errors
    /// If the footer is broken.
    pub fn num_batches(&self) -> Result<usize, DataError> {
        match self.index() {
            Some(index) => Ok(index.num_batches()),
            None => Ok(self.whole()?.blocks.len()),
        }
    }

    /// The number of columns.
    ///
    /// # Errors
    /// If the footer is broken.
    pub fn num_columns(&self) -> Result<usize, DataError> {
        match self.index() {
            Some(index) => Ok(index.num_columns()),
            None => Ok(self.whole()?.shapes.len()),
        }
    }

    /// The field of one column.
    ///
    /// # Errors
    /// If there is no such column.
    pub fn field(&self, column: usize) -> Result<FieldRef, DataError> {
        Ok(self.column(column)?.field)
    }

    /// The columns that have a name, in order: none, one, or, as the format allows, several.
    ///
    /// # Errors
    /// If the footer or the index is broken.
    pub fn find_columns(&self, name: &str) -> Result<Vec<usize>, DataError> {
        if let Some(index) = self.index() {
            return index.find_columns(self.peek(), name);
        }
        let fields = self.whole()?.schema.fields().iter().enumerate();
        let found = fields.filter(|(_, field)| field.name() == name);
        Ok(found.map(|(i, _)| i).collect())
    }

    /// The number of rows of one batch.
    ///
    /// # Errors
    /// If there is no such batch or its header is broken.
    pub fn batch_rows(&self, batch: usize) -> Result<usize, DataError> {
        Ok(self.header(batch)?.rows())
    }

    /// The number of rows of all batches: reads all their headers, unless there is an index.
    ///
    /// # Errors
    /// If a batch's header is broken.
    pub fn num_rows(&self) -> Result<u64, DataError> {
        if let Some(index) = &self.index {
            return Ok(index.num_rows());
        }
        let mut rows = 0_u64;
        for batch in 0..self.num_batches()? {
            rows = rows
                .checked_add(self.batch_rows(batch)? as u64)
                .filter(|rows| i64::try_from(*rows).is_ok())
                .ok_or_else(|| DataError::corrupt("arrow file", "more rows than 63 bits count"))?;
        }
        Ok(rows)
    }

    /// The batches that hold rows of a range, each with its own part of them; none that has none.
    ///
    /// # Errors
    /// If a batch's header is broken.
    pub fn batches_of(&self, rows: &Range<u64>) -> Result<Vec<(usize, Range<usize>)>, DataError> {
        let count = self.num_batches()?;
        let mut found = Vec::new();
        let mut first = 0;
        let mut batch = match &self.index {
            Some(index) => {
                let batch = index.batch_at(self.peek(), rows.start)?;
                if batch < count {
                    first = index.rows(self.peek(), batch)?.start;
                }
                batch
            }
            None => 0,
        };
        while batch < count && first < rows.end {
            let len = self.batch_rows(batch)?;
            let end = first + len as u64;
            if let Some(index) = &self.index
                && index.rows(self.peek(), batch)? != (first..end)
            {
                let detail = format!("batch {batch} has rows from {first} on, and not as it says");
                return Err(DataError::corrupt("arrow index", detail));
            }
            let part = rows.start.max(first)..rows.end.min(end);
            if part.start < part.end {
                // Both are inside the batch, whose rows are counted by a usize.
                let inside = |row: u64| usize::try_from(row - first).unwrap_or(len);
                found.push((batch, inside(part.start)..inside(part.end)));
            }
            first = end;
            batch += 1;
        }
        let len: u64 = found.iter().map(|(_, part)| part.len() as u64).sum();
        if len != rows.end - rows.start {
            let detail = format!(
                "rows {} to {} are {len} in its batches",
                rows.start, rows.end
            );
            return Err(DataError::corrupt("arrow index", detail));
        }
        Ok(found)
    }

    /// Judges the footer, the headers of all batches and dictionaries, and whether the index says
    /// the same.
    ///
    /// # Errors
    /// What is wrong with the first that is broken.
    pub fn check(&self) -> Result<(), DataError> {
        let whole = self.whole()?;
        (0..whole.blocks.len()).try_for_each(|batch| self.header(batch).map(drop))?;
        self.dictionary_batches()?;
        let Some(index) = &self.index else {
            return Ok(());
        };
        let differs = |what: &str| {
            let detail = format!("{what} differ from the footer's");
            Err(DataError::corrupt("arrow index", detail))
        };
        let counts = (index.num_columns(), index.num_batches());
        if counts != (whole.shapes.len(), whole.blocks.len()) {
            return differs("its counts");
        }
        for (i, field) in whole.schema.fields().iter().enumerate() {
            let (found, expected) = (index.column(self.peek(), i)?, whole.column(i)?);
            // The ids of dictionaries are not kept there.
            let same = found.field == expected.field && found.start == expected.start;
            if !same || !index.find_columns(self.peek(), field.name())?.contains(&i) {
                return differs("its columns");
            }
        }
        let mut rows = 0;
        for (i, block) in whole.blocks.iter().enumerate() {
            let expected = batch::locate_in_file(self.peek(), block)?;
            let end = rows + expected.rows;
            if index.batch(self.peek(), i)? != expected
                || index.rows(self.peek(), i)? != (rows..end)
            {
                return differs("its batches");
            }
            rows = end;
        }
        if rows == index.num_rows() {
            Ok(())
        } else {
            differs("its rows")
        }
    }

    pub(super) fn peek(&self) -> &dyn Peek {
        self.peek.as_ref()
    }

    pub(super) fn version(&self) -> MetadataVersion {
        match self.index() {
            // An index is written with this version alone.
            Some(_) => MetadataVersion::V5,
            None => self
                .whole
                .get()
                .map_or(MetadataVersion::V5, |whole| whole.version),
        }
    }

    /// One column.
    pub(super) fn column(&self, column: usize) -> Result<Column, DataError> {
        if let Some(index) = self.index() {
            if column >= index.num_columns() {
                return Err(out_of_range("column", column, index.num_columns()));
            }
            let found = index.column(self.peek(), column)?;
            // Which dictionary it is, only the footer tells.
            if !found.shape.has_dictionary() {
                return Ok(found);
            }
        }
        self.whole()?.column(column)
    }

    /// The type of a dictionary's values, if the schema names the dictionary.
    pub(super) fn dictionary_type(&self, id: i64) -> Result<Option<&(DataType, Shape)>, DataError> {
        Ok(self.whole()?.dictionary_types.get(&id))
    }

    pub(super) fn header(&self, index: usize) -> Result<&Batch, DataError> {
        let count = self.num_batches()?;
        let batches = self
            .batches
            .get_or_init(|| (0..count).map(|_| OnceLock::new()).collect());
        let Some(slot) = batches.get(index) else {
            return Err(out_of_range("batch", index, batches.len()));
        };
        if let Some(batch) = slot.get() {
            return Ok(batch);
        }
        let batch = if let Some(found) = self.index() {
            Batch::in_file(self.peek.clone(), found.batch(self.peek(), index)?)?
        } else {
            let whole = self.whole()?;
            let Some(block) = whole.blocks.get(index) else {
                return Err(out_of_range("batch", index, whole.blocks.len()));
            };
            let batch = batch::batch(self.peek(), block)?;
            batch.check_slots(whole.slots())?;
            batch
        };
        Ok(slot.get_or_init(|| Box::new(batch)))
    }

    pub(super) fn dictionary_batches(&self) -> Result<&[DictionaryBatch], DataError> {
        let whole = self.whole()?;
        if let Some(batches) = whole.dictionary_batches.get() {
            return Ok(batches);
        }
        let mut batches = Vec::with_capacity(whole.dictionary_blocks.len());
        for block in &whole.dictionary_blocks {
            let batch = batch::dictionary(self.peek(), block)?;
            let Some((_, shape)) = whole.dictionary_types.get(&batch.id) else {
                let detail = format!("dictionary {} is not in the schema", batch.id);
                return Err(DataError::corrupt("arrow message", detail));
            };
            batch.batch.check_slots(shape.slots)?;
            batches.push(batch);
        }
        Ok(whole.dictionary_batches.get_or_init(|| batches))
    }
}

fn out_of_range(what: &'static str, index: usize, count: usize) -> DataError {
    DataError::OutOfRange { what, index, count }
}

impl fmt::Debug for ArrowMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArrowMetadata")
            .field("index", &self.index)
            .field("schema", &self.whole.get().map(|whole| &whole.schema))
            .finish_non_exhaustive()
    }
}
