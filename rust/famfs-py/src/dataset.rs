//! `File`: a published file, open, as the Python face asks for it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{ArrayRef, RecordBatch, StructArray};
use arrow_schema::ArrowError;
use arrow_schema::ffi::FFI_ArrowSchema;
use arrow_schema::{DataType, Field, FieldRef, SchemaRef};
use famfs_data::open::Content;
use famfs_data::{DataError, Dataset};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCapsule, PyTuple};
use pyo3_arrow::ffi::{
    ArrayIterator, to_array_pycapsules, to_schema_pycapsule, to_stream_pycapsule,
};

use crate::copy;
use crate::errors::{Failure, Result};
use crate::reference::Ref;

/// Type, Fortran order, shape, offset of the data, and their length.
type Layout = (String, bool, Vec<u64>, u64, u64);

/// A published file, open.
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
            dataset.verify()?;
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

    /// What the file is: table, array, parquet, safetensors or bytes.
    #[getter]
    fn kind(&self) -> Result<&'static str> {
        Ok(self.dataset()?.kind().name())
    }

    /// Its reference.
    #[getter(r#ref)]
    fn reference(&self) -> Result<Ref> {
        Ok(Ref {
            inner: self.dataset()?.reference().clone(),
        })
    }

    /// Its path, the mount point first.
    #[getter]
    fn path(&self) -> Result<PathBuf> {
        let dataset = self.dataset()?;
        let path = OsString::from_vec(dataset.stat().path.clone());
        Ok(dataset.mountpoint().join(path))
    }

    /// The file's size in bytes.
    #[getter]
    fn size(&self) -> Result<u64> {
        Ok(self.dataset()?.stat().size.0)
    }

    /// Where the file's bytes begin in this process.
    #[getter]
    fn address(&self) -> Result<usize> {
        Ok(self.dataset()?.view().address())
    }

    /// The addresses of the mapping that the file lies in, first and one past the last; of a
    /// striped file, those of its own mapping.
    #[getter]
    fn mapping(&self) -> Result<(usize, usize)> {
        let dataset = self.dataset()?;
        let (view, region) = (dataset.view(), dataset.view().region());
        let (start, len) = (region.address(), famfs::mem::Memory::len(&**region));
        let end = start.saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
        if (start..end).contains(&view.address()) {
            return Ok((start, end));
        }
        Ok((view.address(), view.address() + view.len()))
    }

    /// Rows of a table, or the length of an array's first axis.
    #[getter]
    fn num_rows(&self, py: Python<'_>) -> Result<Option<u64>> {
        let dataset = self.dataset()?;
        py.detach(|| Ok(dataset.num_rows()?))
    }

    /// The number of record batches of a table.
    #[getter]
    fn num_batches(&self) -> Result<usize> {
        Ok(self.dataset()?.table()?.num_batches())
    }

    /// The names of a table's columns.
    #[getter]
    fn names(&self) -> Result<Vec<String>> {
        let dataset = self.dataset()?;
        let fields = dataset.table()?.schema().fields();
        Ok(fields.iter().map(|field| field.name().clone()).collect())
    }

    /// How many bytes were copied on the way out, as they are not aligned for their type.
    #[getter]
    fn bytes_copied(&self) -> Result<u64> {
        let dataset = self.dataset()?;
        Ok(match dataset.content()? {
            Content::Table(table) => table.bytes_copied(),
            _ => 0,
        })
    }

    /// An array's type, order, shape, and where its data begin and how long they are; None for
    /// other kinds.
    #[getter]
    fn array(&self) -> Result<Option<Layout>> {
        Ok(match self.dataset()?.content()? {
            Content::Array(array) => Some((
                array.descr().to_owned(),
                array.fortran_order(),
                array.shape().to_vec(),
                array.data_at(),
                array.nbytes(),
            )),
            _ => None,
        })
    }

    /// Checks all columns, so that what is wrong is told as an error of this package.
    fn check(&self, py: Python<'_>) -> Result<()> {
        let dataset = self.dataset()?;
        py.detach(|| check(&dataset))
    }

    /// Touches every page, so that memory that is lost is told as an error of this package.
    fn probe(&self, py: Python<'_>) -> Result<()> {
        let dataset = self.dataset()?;
        py.detach(|| Ok(dataset.probe()?))
    }

    /// A private copy of all of the file's bytes.
    fn copy_bytes<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyBytes>> {
        copy::bytes(py, &*self.dataset()?)
    }

    /// Fills a writable buffer with the file's bytes from `start` on.
    fn copy_into(&self, py: Python<'_>, start: u64, into: &Bound<'_, PyAny>) -> Result<()> {
        copy::into(py, &*self.dataset()?, start, into)
    }

    /// Checks everything, strings too.
    fn verify(&self, py: Python<'_>) -> Result<()> {
        let dataset = self.dataset()?;
        py.detach(|| Ok(dataset.verify()?))
    }

    /// One record batch.
    fn batch(&self, py: Python<'_>, index: usize) -> Result<Batch> {
        let dataset = self.dataset()?;
        let batch = py.detach(|| dataset.batch(index))?;
        Ok(Batch { batch })
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyCapsule>> {
        let dataset = self.dataset()?;
        let schema = dataset.table()?.schema();
        check_names(schema)?;
        to_schema_pycapsule(py, schema.as_ref()).map_err(python)
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
        let table = dataset.table()?;
        check_names(table.schema())?;
        let field = struct_field(table.schema());
        let batches = 0..table.num_batches();
        let arrays = batches.map(move |i| -> Result<ArrayRef, ArrowError> {
            let batch = dataset
                .batch(i)
                .map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
            Ok(Arc::new(StructArray::from(batch)))
        });
        let reader = Box::new(ArrayIterator::new(arrays, field));
        to_stream_pycapsule(py, reader, requested_schema).map_err(python)
    }
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

fn python(error: impl Into<PyErr>) -> Failure {
    Failure::Python(error.into())
}

fn check(dataset: &Dataset) -> Result<()> {
    let table = dataset.table()?;
    for batch in 0..table.num_batches() {
        dataset.batch(batch)?;
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
