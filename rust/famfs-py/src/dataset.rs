//! `File`: a published file or a part of it, open, as the Python face asks for it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{ArrayRef, RecordBatch, StructArray};
use arrow_schema::ArrowError;
use arrow_schema::ffi::FFI_ArrowSchema;
use arrow_schema::{DataType, Field, FieldRef, SchemaRef};
use famfs_data::{ArrayLayout, Columns, DataError, Dataset, Kind, Part, Rows};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCapsule, PyTuple};
use pyo3_arrow::ffi::{
    ArrayIterator, to_array_pycapsules, to_schema_pycapsule, to_stream_pycapsule,
};

use crate::copy;
use crate::errors::{Failure, Result};
use crate::reference::Ref;
use crate::values::{self, Values};

/// Type, shape, strides, offset of the data in the file, and their length.
type Layout = (String, Vec<u64>, Vec<u64>, u64, u64);

/// A tensor's name, type as the format calls it, shape, and range of bytes in the file.
type Tensor = (String, String, Vec<u64>, u64, u64);

/// A published file, open, or rows and columns of it.
#[pyclass(frozen, module = "famfs._native")]
pub(crate) struct File {
    inner: Mutex<Option<Arc<Dataset>>>,
}

/// One record batch of a table, in place.
#[pyclass(frozen, module = "famfs._native")]
pub(crate) struct Batch {
    batch: RecordBatch,
}

/// Opens the file at a path.
#[pyfunction]
#[pyo3(signature = (path, *, verify=false))]
pub(crate) fn open(py: Python<'_>, path: PathBuf, verify: bool) -> Result<File> {
    let opened = py.detach(|| File::of(Dataset::open(&path)?, verify));
    opened.map_err(Failure::about(&path))
}

/// Opens what a reference names.
#[pyfunction]
#[pyo3(signature = (reference, *, verify=false))]
pub(crate) fn open_ref(py: Python<'_>, reference: &Bound<'_, Ref>, verify: bool) -> Result<File> {
    let reference = reference.get();
    Ok(py.detach(|| File::of(Dataset::open_ref(&reference.inner)?, verify))?)
}

impl File {
    fn of(dataset: Dataset, verify: bool) -> Result<Self, DataError> {
        if verify {
            dataset.file().verify()?;
        }
        Ok(Self {
            inner: Mutex::new(Some(Arc::new(dataset))),
        })
    }

    pub(crate) fn dataset(&self) -> Result<Arc<Dataset>> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.clone().ok_or_else(|| {
            famfs::Error::Usage("the dataset was closed; open it again".into()).into()
        })
    }

    /// Another dataset made of this one.
    fn part(
        &self,
        py: Python<'_>,
        make: impl FnOnce(&Dataset) -> Result<Dataset, DataError> + Send,
    ) -> Result<Self> {
        let dataset = self.dataset()?;
        Ok(py.detach(|| Self::of(make(&dataset)?, false))?)
    }
}

#[pymethods]
impl File {
    /// Holds the file no longer. What was handed out stays.
    fn close(&self) {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    /// What it is: table, column, array, parquet, safetensors or bytes.
    #[getter]
    fn kind(&self) -> Result<&'static str> {
        Ok(self.dataset()?.kind().name())
    }

    /// Its reference.
    #[getter(r#ref)]
    fn reference(&self) -> Result<Ref> {
        Ok(Ref {
            inner: self.dataset()?.reference(),
        })
    }

    /// The file's path, the mount point first.
    #[getter]
    fn path(&self) -> Result<PathBuf> {
        Ok(self.dataset()?.path())
    }

    /// Where the bytes that `buffer` lends lie in the file, first and one past the last.
    #[getter]
    fn range(&self) -> Result<(u64, u64)> {
        let range = self.dataset()?.range();
        Ok((range.start, range.end))
    }

    /// Whether it is all of its file.
    #[getter]
    fn is_whole(&self) -> Result<bool> {
        Ok(self.dataset()?.selection().is_all())
    }

    /// Bytes of the whole file.
    #[getter]
    fn file_size(&self) -> Result<u64> {
        Ok(self.dataset()?.file().stat().size.0)
    }

    /// Where the file's extents lie on the device, as offset and length, and the device's bytes.
    #[getter]
    fn places(&self) -> Result<(Vec<(u64, u64)>, u64)> {
        let dataset = self.dataset()?;
        let view = dataset.file().view();
        let pieces = view.pieces();
        let places = pieces.iter().map(|piece| (piece.at.0, piece.len));
        Ok((places.collect(), famfs::mem::Memory::len(&**view.region())))
    }

    /// Where the file's bytes begin in this process.
    #[getter]
    fn address(&self) -> Result<usize> {
        Ok(self.dataset()?.file().view().address())
    }

    /// The addresses of the mapping that the file lies in, first and one past the last; of a
    /// striped file, those of its own mapping.
    #[getter]
    fn mapping(&self) -> Result<(usize, usize)> {
        let dataset = self.dataset()?;
        let view = dataset.file().view();
        let region = view.region();
        let (start, len) = (region.address(), famfs::mem::Memory::len(&**region));
        let end = start.saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
        if (start..end).contains(&view.address()) {
            return Ok((start, end));
        }
        Ok((view.address(), view.address() + view.len()))
    }

    /// Rows of a table or column, or the length of an array's first axis.
    #[getter]
    fn num_rows(&self, py: Python<'_>) -> Result<Option<u64>> {
        let dataset = self.dataset()?;
        py.detach(|| Ok(dataset.num_rows()?))
    }

    /// Columns of a table, tensors of a safetensors file.
    #[getter]
    fn num_columns(&self) -> Result<u64> {
        Ok(self.dataset()?.num_columns()?)
    }

    /// The number of record batches that a table's rows lie in.
    #[getter]
    fn num_batches(&self, py: Python<'_>) -> Result<usize> {
        let dataset = self.dataset()?;
        py.detach(|| Ok(dataset.parts()?.len()))
    }

    /// How many of its rows lie in each of those batches.
    #[getter]
    fn batch_rows(&self, py: Python<'_>) -> Result<Vec<usize>> {
        let dataset = self.dataset()?;
        let parts = py.detach(|| dataset.parts())?;
        Ok(parts.iter().map(|(_, rows)| rows.len()).collect())
    }

    /// The names of a table's columns; of a column, its own; of tensors.
    #[getter]
    fn names(&self) -> Result<Vec<String>> {
        Ok(self.dataset()?.names()?)
    }

    /// The tensors of a safetensors file.
    #[getter]
    fn tensors(&self) -> Result<Vec<Tensor>> {
        let dataset = self.dataset()?;
        let tensors = dataset.file().tensors()?.tensors().iter();
        let told = tensors.map(|tensor| {
            let (name, dtype) = (tensor.name.clone(), tensor.dtype.to_string());
            let (start, end) = (tensor.range.start, tensor.range.end);
            (name, dtype, tensor.shape.clone(), start, end)
        });
        Ok(told.collect())
    }

    /// How many bytes were copied on the way out, as they are not aligned for their type.
    #[getter]
    fn bytes_copied(&self) -> Result<u64> {
        let dataset = self.dataset()?;
        if dataset.file().kind() != Kind::Table {
            return Ok(0);
        }
        Ok(dataset.table()?.bytes_copied())
    }

    /// An array's type, shape, strides, and where its data begin and how long they are; None for
    /// other kinds.
    #[getter]
    fn array(&self) -> Result<Option<Layout>> {
        let layout = self.dataset()?.array()?;
        Ok(layout.map(|found| {
            let ArrayLayout {
                descr,
                shape,
                strides,
                start,
                nbytes,
                ..
            } = found;
            (descr, shape, strides, start, nbytes)
        }))
    }

    /// Some of its rows, items or bytes.
    fn rows(&self, py: Python<'_>, start: u64, end: u64) -> Result<Self> {
        self.part(py, |dataset| dataset.select_rows(Rows::Range(start..end)))
    }

    /// One item along an array's first axis.
    fn item(&self, py: Python<'_>, index: u64) -> Result<Self> {
        self.part(py, |dataset| dataset.select_rows(Rows::One(index)))
    }

    /// One column of a table, by itself.
    fn column(&self, py: Python<'_>, index: u64) -> Result<Self> {
        self.part(py, |dataset| dataset.select_columns(Columns::One(index)))
    }

    /// A table of some of its columns.
    fn columns(&self, py: Python<'_>, indices: Vec<u64>) -> Result<Self> {
        self.part(py, |dataset| {
            dataset.select_columns(Columns::table(indices))
        })
    }

    /// The columns of a name: none, one or several.
    fn find_columns(&self, py: Python<'_>, name: &str) -> Result<Vec<u64>> {
        let dataset = self.dataset()?;
        py.detach(|| Ok(dataset.find_columns(name)?))
    }

    /// The column of a whole table whose data lies at a place of its file, if one's does.
    fn column_at(&self, py: Python<'_>, at: u64) -> Result<Option<usize>> {
        let dataset = self.dataset()?;
        py.detach(|| Ok(dataset.table()?.column_at(at)?))
    }

    /// One of several parts that are about as large.
    fn partition(&self, py: Python<'_>, index: u64, count: u64) -> Result<Self> {
        self.part(py, |dataset| dataset.partition(index, count))
    }

    /// A column's values as an array: its type, length, items to a row, and what holds its bytes;
    /// or why they are none that NumPy can use in place.
    fn values(&self, py: Python<'_>) -> Result<Values> {
        let dataset = self.dataset()?;
        values::of(py, &dataset)
    }

    /// Checks all its columns, so that what is wrong is told as an error of this package.
    fn check(&self, py: Python<'_>) -> Result<()> {
        let dataset = self.dataset()?;
        py.detach(|| check(&dataset))
    }

    /// Touches every page, so that memory that is lost is told as an error of this package.
    fn probe(&self, py: Python<'_>) -> Result<()> {
        let dataset = self.dataset()?;
        py.detach(|| Ok(dataset.file().probe()?))
    }

    /// A private copy of the bytes that `range` says.
    fn copy_bytes<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyBytes>> {
        copy::bytes(py, &*self.dataset()?)
    }

    /// Fills a writable buffer with the file's bytes from `start` on.
    fn copy_into(&self, py: Python<'_>, start: u64, into: &Bound<'_, PyAny>) -> Result<()> {
        copy::into(py, &*self.dataset()?, start, into)
    }

    /// Checks everything in the file, strings too; whether it has a checksum.
    fn verify(&self, py: Python<'_>) -> Result<bool> {
        let dataset = self.dataset()?;
        py.detach(|| Ok(dataset.file().verify()?))
    }

    /// One record batch of those its rows lie in.
    fn batch(&self, py: Python<'_>, index: usize) -> Result<Batch> {
        let dataset = self.dataset()?;
        let batch = py.detach(|| {
            let parts = dataset.parts()?;
            parts.get(index).map(|part| dataset.batch(part)).transpose()
        })?;
        match batch {
            Some(batch) => Ok(Batch { batch }),
            None => Err(python(PyIndexError::new_err(format!("batch {index}")))),
        }
    }

    /// Copies rows of a table or column, which are named one by one.
    fn take(&self, py: Python<'_>, rows: PyBuffer<i64>) -> Result<Taken> {
        Taken::of(py, vec![self.dataset()?], &rows)
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyCapsule>> {
        let dataset = self.dataset()?;
        let schema = dataset.schema()?;
        check_names(&schema)?;
        match (dataset.kind(), schema.fields().first()) {
            (Kind::Column, Some(field)) => to_schema_pycapsule(py, field.as_ref()),
            _ => to_schema_pycapsule(py, schema.as_ref()),
        }
        .map_err(python)
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> Result<Bound<'py, PyCapsule>> {
        let dataset = self.dataset()?;
        // What is wrong is told here, not by whoever reads the stream.
        py.detach(|| check(&dataset))?;
        let schema = dataset.schema()?;
        check_names(&schema)?;
        let field = match (dataset.kind(), schema.fields().first()) {
            (Kind::Column, Some(field)) => field.clone(),
            _ => struct_field(&schema),
        };
        let parts = dataset.parts()?.to_vec();
        let data_type = field.data_type().clone();
        let arrays = parts.into_iter().map(move |part| {
            let rows = rows_of(&dataset, &part)
                .map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
            // Who reads the stream takes the array for what the field says.
            if *rows.data_type() == data_type {
                return Ok(rows);
            }
            let (found, expected) = (rows.data_type(), &data_type);
            Err(ArrowError::SchemaError(format!(
                "{found}, expected {expected}"
            )))
        });
        let reader = Box::new(ArrayIterator::new(arrays, field));
        to_stream_pycapsule(py, reader, requested_schema).map_err(python)
    }
}

/// Rows of one record batch as one array: a struct of the columns, or the one that it is.
fn rows_of(dataset: &Dataset, part: &Part) -> Result<ArrayRef, DataError> {
    if dataset.kind() == Kind::Column {
        return dataset.column(part, 0);
    }
    Ok(Arc::new(StructArray::from(dataset.batch(part)?)))
}

#[pymethods]
impl Batch {
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> Result<Bound<'py, PyTuple>> {
        let schema = self.batch.schema();
        check_names(&schema)?;
        let field = struct_field(&schema);
        let rows = StructArray::from(self.batch.clone());
        to_array_pycapsules(py, field, &rows, requested_schema).map_err(python)
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyCapsule>> {
        let schema = self.batch.schema();
        check_names(&schema)?;
        to_schema_pycapsule(py, schema.as_ref()).map_err(python)
    }

    fn __len__(&self) -> usize {
        self.batch.num_rows()
    }
}

/// Rows that were copied out of a table or column.
#[pyclass(frozen, module = "famfs._native")]
pub(crate) struct Taken {
    field: FieldRef,
    /// Whether it is a column's values, and not a table's rows.
    column: bool,
    batches: Vec<RecordBatch>,
}

/// Copies rows of several tables, or columns, of one schema.
#[pyfunction]
pub(crate) fn take(
    py: Python<'_>,
    files: Vec<Bound<'_, File>>,
    rows: PyBuffer<i64>,
) -> Result<Taken> {
    let datasets = files.iter().map(|file| file.get().dataset());
    Taken::of(py, datasets.collect::<Result<_>>()?, &rows)
}

impl Taken {
    fn of(py: Python<'_>, datasets: Vec<Arc<Dataset>>, rows: &PyBuffer<i64>) -> Result<Self> {
        let rows = rows.to_vec(py)?;
        let Some(first) = datasets.first() else {
            return Err(Failure::unsupported("taking rows of no table"));
        };
        let (schema, column) = (first.schema()?, first.kind() == Kind::Column);
        check_names(&schema)?;
        let field = match schema.fields().first() {
            Some(field) if column => field.clone(),
            _ => struct_field(&schema),
        };
        let batches = py.detach(|| {
            // What is less than 0 is past the end of everything.
            let rows = rows
                .into_iter()
                .map(|row| u64::try_from(row).unwrap_or(u64::MAX));
            famfs_data::take::rows(&schema, &datasets, &rows.collect::<Vec<_>>())
        })?;
        Ok(Self {
            field,
            column,
            batches,
        })
    }
}

#[pymethods]
impl Taken {
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> Result<Bound<'py, PyCapsule>> {
        let column = self.column;
        let arrays = self.batches.clone().into_iter().map(move |batch| {
            Ok(if column {
                batch.column(0).clone()
            } else {
                Arc::new(StructArray::from(batch))
            })
        });
        let reader = Box::new(ArrayIterator::new(arrays, self.field.clone()));
        to_stream_pycapsule(py, reader, requested_schema).map_err(python)
    }
}

fn python(error: impl Into<PyErr>) -> Failure {
    Failure::Python(error.into())
}

fn check(dataset: &Dataset) -> Result<()> {
    for part in dataset.parts()? {
        rows_of(dataset, part)?;
    }
    Ok(())
}

/// Refuses what a file can say and the C data interface can't, such as a name with a NUL.
fn check_names(schema: &SchemaRef) -> Result<()> {
    match FFI_ArrowSchema::try_from(schema.as_ref()) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::unsupported(format!(
            "a table whose schema can't be handed to another library: {error}; buffer() lends the \
             file's bytes"
        ))),
    }
}

fn struct_field(schema: &SchemaRef) -> FieldRef {
    let data_type = DataType::Struct(schema.fields().clone());
    let field = Field::new("", data_type, false).with_metadata(schema.metadata().clone());
    Arc::new(field)
}
