//! A dataset: a published file, or rows and columns of it, in place.
//!
//! Owns what a selection means for each kind of file: which batches its rows lie in, which columns
//! of the file are its own, where an array's part begins. A selection never copies.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{FieldRef, Schema, SchemaRef};
use famfs::mounts;
use famfs::{Error, Volume};

use crate::array_layout::ArrayLayout;
use crate::arrow::ArrowFile;
use crate::content::Content;
use crate::error::DataError;
use crate::file::File;
use crate::kind::Kind;
use crate::reference::Ref;
use crate::selection::{Columns, Rows, Selection};

/// A published file, open, or a part of it. Holds its memory; threads may share it.
#[derive(Debug)]
pub struct Dataset {
    file: Arc<File>,
    selection: Selection,
    /// What [`Self::parts`] found: who goes through the batches asks for each.
    parts: OnceLock<Vec<Part>>,
}

/// A record batch of the file, and those of its rows that are meant.
pub type Part = (usize, Range<usize>);

/// The size of an item that a type such as "<f8" says.
fn size_in(descr: &str) -> u64 {
    descr
        .get(2..)
        .and_then(|size| size.parse().ok())
        .unwrap_or(1)
}

impl Dataset {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// [`Error::NotMounted`], [`Error::NotFound`], [`Error::IsADirectory`], and those of
    /// [`File::of`].
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let resolved = mounts::resolve(path)?;
        let volume = resolved.volume()?;
        let path = || path.display().to_string();
        let stat = volume.stat(&resolved.path).map_err(|error| match error {
            Error::NotFound { .. } => Error::NotFound { path: path() },
            error => error,
        })?;
        if stat.is_dir() {
            return Err(Error::IsADirectory { path: path() }.into());
        }
        Ok(File::of(&resolved.mount, &volume, stat)?.into())
    }

    /// Opens what a reference names, also where its path was replaced or removed.
    ///
    /// # Errors
    /// As [`Self::open`], and where the file hasn't the rows and columns that are meant.
    pub fn open_ref(reference: &Ref) -> Result<Self, DataError> {
        let (mount, volume) = mounts::find(reference.uuid())?;
        let stat = Volume::stat_slot(&volume, reference.index())?;
        let whole = Self::from(File::of(&mount, &volume, stat)?);
        let Selection { rows, columns } = reference.selection().clone();
        let columns = match columns {
            Some(columns) => whole.select_columns(columns)?,
            None => whole,
        };
        match rows {
            Some(rows) => columns.select_rows(rows),
            None => Ok(columns),
        }
    }

    /// The file that it is, or is a part of.
    #[must_use]
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// The mount point that it was opened under.
    #[must_use]
    pub fn mountpoint(&self) -> &Path {
        self.file.mountpoint()
    }

    /// The file's path, the mount point first.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        let path = std::ffi::OsStr::from_bytes(&self.file.stat().path);
        self.mountpoint().join(path)
    }

    /// Names it.
    #[must_use]
    pub fn reference(&self) -> Ref {
        self.file.reference().clone().select(self.selection.clone())
    }

    /// What of its file it is.
    #[must_use]
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// What it is: its file's kind, a column by itself, or bytes where it is a range of them.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match (self.file.kind(), &self.selection) {
            (Kind::Safetensors, selection) if selection.columns.is_some() => Kind::Array,
            (Kind::Table, selection) => match selection.columns {
                Some(Columns::One(_)) => Kind::Column,
                _ => Kind::Table,
            },
            (Kind::Array, _) => Kind::Array,
            (kind, selection) if selection.is_all() => kind,
            _ => Kind::Bytes,
        }
    }

    /// The table that it is, or is a column of.
    ///
    /// # Errors
    /// As [`File::table`].
    pub fn table(&self) -> Result<&ArrowFile, DataError> {
        self.file.table()
    }

    /// Another part of the same file.
    fn with(&self, selection: Selection) -> Self {
        Self {
            file: Arc::clone(&self.file),
            selection,
            parts: OnceLock::new(),
        }
    }

    /// Some of its rows, items or bytes; a range counts from its own first.
    ///
    /// # Errors
    /// [`DataError::OutOfRange`]; [`DataError::Unsupported`] where it has no first axis, or for one
    /// item of what is no array.
    pub fn select_rows(&self, rows: Rows) -> Result<Self, DataError> {
        let (wanted, end) = match &rows {
            Rows::Range(range) => (range.end, range.end),
            Rows::One(row) => (*row, row.saturating_add(1)),
        };
        let count = self.first_axis()?;
        if end > count {
            return Err(self.out_of_range("row", wanted, count));
        }
        if matches!(rows, Rows::One(_)) && self.kind() != Kind::Array {
            return Err(self.unsupported(
                format!("one row of {}", self.kind()),
                "take a range, d[i:i+1]",
            ));
        }
        let first = match &self.selection.rows {
            Some(Rows::Range(range)) => range.start,
            None => 0,
            Some(Rows::One(_)) => {
                return Err(self.unsupported(
                    "a selection within one item of an array".into(),
                    "to_numpy() gives the item, whose items and slices are in place too",
                ));
            }
        };
        let rows = match rows {
            Rows::Range(range) => Rows::Range(first + range.start..first + range.end),
            Rows::One(row) => Rows::One(first + row),
        };
        let mut selection = self.selection.clone();
        selection.rows = Some(rows);
        Ok(self.with(selection))
    }

    /// Some of its columns, counted among its own; of a safetensors file, one tensor, an array.
    ///
    /// # Errors
    /// [`DataError::OutOfRange`]; [`DataError::Unsupported`] for anything but a table, and for
    /// several tensors.
    pub fn select_columns(&self, columns: Columns) -> Result<Self, DataError> {
        let count = self.num_columns()?;
        if self.kind() == Kind::Safetensors && matches!(columns, Columns::Ranges(_)) {
            return Err(self.unsupported("several tensors at once".into(), "take one by one"));
        }
        if let Some(index) = columns.outside(count) {
            return Err(self.out_of_range("column", index, count));
        }
        let mut selection = self.selection.clone();
        selection.columns = Some(match &self.selection.columns {
            None => columns,
            Some(own) => match columns {
                Columns::One(i) => Columns::One(own.nth(i).unwrap_or(i)),
                columns @ Columns::Ranges(_) => {
                    let own: Vec<u64> = own.iter().collect();
                    let indices = columns.iter();
                    Columns::table(indices.filter_map(|i| own.get(usize_of(i)).copied()))
                }
            },
        });
        Ok(self.with(selection))
    }

    /// The columns that have a name, counted among its own.
    ///
    /// # Errors
    /// As [`Self::num_columns`], and where the file's index or footer is broken.
    pub fn find_columns(&self, name: &str) -> Result<Vec<u64>, DataError> {
        self.num_columns()?;
        if self.kind() == Kind::Safetensors {
            let names = self.file.tensors()?.tensors().iter().zip(0..);
            let found = names.filter(|(tensor, _)| tensor.name == name);
            return Ok(found.map(|(_, i)| i).collect());
        }
        let found = self.table()?.metadata().find_columns(name);
        let found = found.map_err(|error| self.file.in_file(error))?;
        let found = found.into_iter().map(|i| i as u64);
        Ok(match &self.selection.columns {
            None => found.collect(),
            Some(own) => {
                let found: Vec<u64> = found.collect();
                let own = own.iter().zip(0..);
                own.filter(|(index, _)| found.contains(index))
                    .map(|(_, i)| i)
                    .collect()
            }
        })
    }

    /// The columns of a table; the tensors of a safetensors file.
    ///
    /// # Errors
    /// [`DataError::Unsupported`] for anything else; as [`File::table`].
    pub fn num_columns(&self) -> Result<u64, DataError> {
        if self.kind() == Kind::Column {
            return Err(self.unsupported("a column of a column".into(), "it is one already"));
        }
        if self.kind() == Kind::Safetensors {
            return Ok(self.file.tensors()?.tensors().len() as u64);
        }
        let table = self.table()?;
        if let Some(columns) = &self.selection.columns {
            return Ok(columns.count());
        }
        let count = table.metadata().num_columns();
        Ok(count.map_err(|error| self.file.in_file(error))? as u64)
    }

    /// The names of a table's columns, of the one that it is, or of a safetensors file's tensors.
    ///
    /// # Errors
    /// As [`Self::schema`] and [`File::tensors`].
    pub fn names(&self) -> Result<Vec<String>, DataError> {
        if self.kind() == Kind::Safetensors {
            let tensors = self.file.tensors()?.tensors().iter();
            return Ok(tensors.map(|tensor| tensor.name.clone()).collect());
        }
        let schema = self.schema()?;
        let names = schema.fields().iter().map(|field| field.name().clone());
        Ok(names.collect())
    }

    /// The rows of a table, or the length of an array's first axis; `None` where there is no such
    /// thing.
    ///
    /// # Errors
    /// As [`File::num_rows`].
    pub fn num_rows(&self) -> Result<Option<u64>, DataError> {
        match (&self.selection.rows, self.kind()) {
            (_, Kind::Array) => Ok(self.array()?.and_then(|a| a.shape.first().copied())),
            (Some(Rows::Range(rows)), Kind::Table | Kind::Column) => {
                Ok(Some(rows.end - rows.start))
            }
            _ => self.file.num_rows(),
        }
    }

    /// What ranges of rows count along: also bytes, where it is nothing else.
    fn first_axis(&self) -> Result<u64, DataError> {
        match self.kind() {
            Kind::Table | Kind::Column => Ok(self.num_rows()?.unwrap_or(0)),
            Kind::Array => self.num_rows()?.ok_or_else(|| {
                self.unsupported(
                    "a part of an array of no axes".into(),
                    "to_numpy() gives it",
                )
            }),
            _ => Ok(self.range().end - self.range().start),
        }
    }

    /// Where its bytes lie in the file, of anything but tables and arrays.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        match (&self.selection.rows, self.file.kind()) {
            (Some(Rows::Range(range)), kind)
                if !matches!(kind, Kind::Table | Kind::Array)
                    && self.selection.columns.is_none() =>
            {
                range.clone()
            }
            _ => 0..self.file.stat().size.0,
        }
    }

    /// How an array lies in the file; `None` for other kinds.
    ///
    /// # Errors
    /// As [`File::content`].
    pub fn array(&self) -> Result<Option<ArrayLayout>, DataError> {
        let layout = match (self.file.content()?, &self.selection.columns) {
            (Content::Array(array), _) => ArrayLayout::of(array),
            (Content::Bytes, Some(Columns::One(index)))
                if self.file.kind() == Kind::Safetensors =>
            {
                self.tensor(usize_of(*index))?
            }
            _ => return Ok(None),
        };
        Ok(match &self.selection.rows {
            None => Some(layout),
            Some(rows) => layout.select(rows),
        })
    }

    /// How a tensor lies in a safetensors file.
    fn tensor(&self, index: usize) -> Result<ArrayLayout, DataError> {
        let tensors = self.file.tensors()?.tensors();
        let Some(tensor) = tensors.get(index) else {
            return Err(self.out_of_range("tensor", index as u64, tensors.len() as u64));
        };
        let Some(descr) = tensor.descr() else {
            return Err(self.unsupported(
                format!("{:?} of type {:?} as an array", tensor.name, tensor.dtype),
                "NumPy hasn't it; PyTorch has: to_torch() of the file gives all its tensors in place",
            ));
        };
        let nbytes = tensor.range.end - tensor.range.start;
        let items = tensor.shape.iter().product::<u64>();
        let item_size = nbytes.checked_div(items).unwrap_or_else(|| size_in(descr));
        let place = tensor.range.clone();
        Ok(ArrayLayout::new(
            descr,
            item_size,
            &tensor.shape,
            false,
            place,
        ))
    }

    /// The fields of a table's columns; one, of a column.
    ///
    /// # Errors
    /// As [`File::table`].
    pub fn schema(&self) -> Result<SchemaRef, DataError> {
        let metadata = self.table()?.metadata();
        let in_file = |error| self.file.in_file(error);
        match &self.selection.columns {
            None => Ok(metadata.schema().map_err(in_file)?.clone()),
            // A field by itself doesn't need all the others.
            Some(Columns::One(index)) => {
                let field = metadata.field(usize_of(*index)).map_err(in_file)?;
                Ok(Arc::new(Schema::new(vec![field])))
            }
            Some(columns) => {
                let whole = metadata.schema().map_err(in_file)?;
                let mut fields: Vec<FieldRef> = Vec::new();
                for index in columns.iter() {
                    fields.push(metadata.field(usize_of(index)).map_err(in_file)?);
                }
                let pairs = whole.metadata().clone();
                Ok(Arc::new(Schema::new_with_metadata(fields, pairs)))
            }
        }
    }

    /// The record batches that its rows lie in, each with those of its rows.
    ///
    /// # Errors
    /// As [`File::table`], and where a batch's header is broken.
    pub fn parts(&self) -> Result<&[Part], DataError> {
        if let Some(parts) = self.parts.get() {
            return Ok(parts);
        }
        let metadata = self.table()?.metadata();
        let parts = match &self.selection.rows {
            Some(Rows::Range(rows)) => metadata.batches_of(rows),
            _ => metadata.num_batches().and_then(|count| {
                let whole = |i| Ok((i, 0..metadata.batch_rows(i)?));
                (0..count).map(whole).collect()
            }),
        };
        let parts = parts.map_err(|error| self.file.in_file(error))?;
        Ok(self.parts.get_or_init(|| parts))
    }

    /// Those rows of one record batch, with its own columns alone, in place.
    ///
    /// # Errors
    /// As [`File::batch`].
    pub fn batch(&self, part: &Part) -> Result<RecordBatch, DataError> {
        let (batch, rows) = part;
        let Some(columns) = &self.selection.columns else {
            let whole = self.file.batch(*batch)?;
            return Ok(whole.slice(rows.start, rows.len()));
        };
        let schema = self.schema()?;
        let indices = columns.iter();
        let arrays = indices.map(|i| Ok(slice(&self.file.column(*batch, usize_of(i))?, rows)));
        let arrays = arrays.collect::<Result<_, DataError>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        RecordBatch::try_new_with_options(schema, arrays, &options)
            .map_err(|error| self.file.in_file(DataError::Arrow(error)))
    }

    /// Those rows of one column in one record batch, in place: of the column that it is, or column
    /// `i` of its own.
    ///
    /// # Errors
    /// As [`File::column`], and [`DataError::OutOfRange`].
    pub fn column(&self, part: &Part, i: u64) -> Result<ArrayRef, DataError> {
        let (batch, rows) = part;
        let index = match &self.selection.columns {
            None => Some(i),
            Some(columns) => columns.nth(i),
        };
        let Some(index) = index else {
            return Err(self.out_of_range("column", i, self.num_columns()?));
        };
        Ok(slice(&self.file.column(*batch, usize_of(index))?, rows))
    }

    /// One of `count` parts that are about as large, together all of it: tables are cut where their
    /// record batches meet, while there are as many.
    ///
    /// # Errors
    /// As [`Self::parts`] and [`Self::select_rows`].
    pub fn partition(&self, index: u64, count: u64) -> Result<Self, DataError> {
        let total = self.first_axis()?;
        let mut cuts: Vec<u64> = Vec::new();
        if matches!(self.kind(), Kind::Table | Kind::Column) {
            let parts = self.parts()?;
            if parts.len() as u64 >= count {
                let mut end = 0;
                cuts.push(0);
                for (_, rows) in parts {
                    end += rows.len() as u64;
                    cuts.push(end);
                }
            }
        }
        let cut = |i: u64| -> u64 {
            if cuts.is_empty() {
                // 128 bits: the product of two counts.
                let at = u128::from(total) * u128::from(i) / u128::from(count.max(1));
                return u64::try_from(at).unwrap_or(total);
            }
            let batches = cuts.len() as u64 - 1;
            let at = u128::from(batches) * u128::from(i) / u128::from(count.max(1));
            cuts[usize::try_from(at).unwrap_or(0).min(cuts.len() - 1)]
        };
        self.select_rows(Rows::Range(cut(index)..cut(index + 1)))
    }

    fn out_of_range(&self, what: &'static str, index: u64, count: u64) -> DataError {
        let (index, count) = (usize_of(index), usize_of(count));
        self.file
            .in_file(DataError::OutOfRange { what, index, count })
    }

    fn unsupported(&self, what: String, hint: &'static str) -> DataError {
        self.file.in_file(DataError::unsupported(what, hint))
    }
}

impl From<File> for Dataset {
    fn from(file: File) -> Self {
        Self {
            file: Arc::new(file),
            selection: Selection::default(),
            parts: OnceLock::new(),
        }
    }
}

fn slice(array: &ArrayRef, rows: &Range<usize>) -> ArrayRef {
    if rows.start == 0 && rows.len() == array.len() {
        array.clone()
    } else {
        array.slice(rows.start, rows.len())
    }
}

/// What no memory has is past the end of everything.
fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
