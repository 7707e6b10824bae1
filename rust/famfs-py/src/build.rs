//! Files that are built in place: their memory, lent to Python to be written.
#![expect(
    unsafe_code,
    reason = "Python's buffer protocol is a struct of pointers that is filled in"
)]

use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_schema::Schema;
use famfs::mem::Window;
use famfs_data::arrow::{Blank, Filled, Values};
use famfs_data::npy::NpyPlan;
use famfs_data::publish::Draft;
use famfs_data::{DataError, Options};
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use pyo3_arrow::PySchema;

use crate::errors::{Failure, Result, taken};
use crate::publish::Lent;
use crate::reference::Ref;
use crate::transaction::Transaction;

/// A column: name, what its values are, width, and where validity, values and bytes lie.
type Column = (
    String,
    &'static str,
    u64,
    Option<(u64, u64)>,
    (u64, u64),
    (u64, u64),
);

/// A file that is being built. Dropped, it was never there.
#[pyclass(frozen, module = "famfs._native")]
pub(crate) struct Building {
    /// Shared by the threads that write to it at a time.
    draft: Mutex<Option<Arc<Draft>>>,
    table: Option<Blank>,
    path: PathBuf,
    /// Where an array's values begin.
    data_at: u64,
}

impl Building {
    fn new(path: PathBuf, draft: Draft, data_at: u64, table: Option<Blank>) -> Self {
        Self {
            draft: Mutex::new(Some(Arc::new(draft))),
            table,
            path,
            data_at,
        }
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Draft>>> {
        self.draft.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, work: impl FnOnce(&Draft) -> Result<T, DataError>) -> Result<T> {
        let draft = self.slot().clone().ok_or_else(|| self.ended())?;
        work(&draft).map_err(Failure::about(&self.path))
    }

    fn ended(&self) -> Failure {
        Failure::unsupported(format!(
            "{}: its block has ended: what is written now is nobody's",
            self.path.display()
        ))
    }
}

fn begin(
    py: Python<'_>,
    path: &Path,
    size: u64,
    options: Options,
    transaction: Option<&Transaction>,
) -> Result<Draft> {
    let transaction = transaction.map(|transaction| transaction.inner.clone());
    py.detach(|| Draft::begin_in(transaction.as_ref(), path, size, options))
        .map_err(Failure::about(path))
}

/// Reserves the file of an array, to be filled in place.
#[pyfunction]
#[pyo3(signature = (
    path, descr, fortran_order, shape, *, zero=false, overwrite=false, mode=None, transaction=None
))]
#[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
pub(crate) fn create_array(
    py: Python<'_>,
    path: PathBuf,
    descr: &str,
    fortran_order: bool,
    shape: Vec<u64>,
    zero: bool,
    overwrite: bool,
    mode: Option<u32>,
    transaction: Option<&Bound<'_, Transaction>>,
) -> Result<Building> {
    let plan = NpyPlan::new(descr, fortran_order, &shape)?;
    let options = Options {
        overwrite,
        mode,
        checksum: false,
    };
    let transaction = transaction.map(Bound::get);
    let draft = begin(py, &path, plan.size(), options, transaction)?;
    let data_at = plan.header().len() as u64;
    py.detach(|| {
        draft.put(0, plan.header(), &mut |_, _| Ok(()))?;
        if zero {
            draft.zero(data_at, plan.nbytes())?;
        }
        Ok(())
    })
    .map_err(Failure::about(&path))?;
    Ok(Building::new(path, draft, data_at, None))
}

/// Reserves the file of a table, to be filled in place.
#[pyfunction]
#[pyo3(signature = (
    path, schema, rows, sizes, *, overwrite=false, mode=None, transaction=None
))]
#[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
pub(crate) fn create_table(
    py: Python<'_>,
    path: PathBuf,
    schema: &Bound<'_, PyAny>,
    rows: u64,
    sizes: HashMap<String, u64>,
    overwrite: bool,
    mode: Option<u32>,
    transaction: Option<&Bound<'_, Transaction>>,
) -> Result<Building> {
    let schema = taken(py, "a schema that can't be taken as Arrow's", read(schema))?;
    let blank = Blank::new(&schema, rows, &sizes)?;
    let options = Options {
        overwrite,
        mode,
        checksum: false,
    };
    let transaction = transaction.map(Bound::get);
    let draft = begin(py, &path, blank.size(), options, transaction)?;
    Ok(Building::new(path, draft, 0, Some(blank)))
}

fn read(schema: &Bound<'_, PyAny>) -> PyResult<Arc<Schema>> {
    let capsule = schema.call_method0("__arrow_c_schema__")?;
    let capsule = capsule.cast_into::<PyCapsule>()?;
    Ok(PySchema::from_arrow_pycapsule(&capsule)?.into_inner())
}

#[pymethods]
impl Building {
    /// Where an array's values begin in the file.
    #[getter]
    fn data_at(&self) -> u64 {
        self.data_at
    }

    /// A table's columns: see the type.
    #[getter]
    fn columns(&self) -> Vec<Column> {
        let Some(table) = &self.table else {
            return Vec::new();
        };
        let columns = table.columns().iter().map(|column| {
            let (kind, width) = match column.values {
                Values::Fixed(width) => ("fixed", width),
                Values::Bits => ("bits", 0),
                Values::Bytes(width) => ("bytes", width),
            };
            (
                column.name.clone(),
                kind,
                width,
                column.validity.map(|room| (room.at, room.len)),
                (column.data.at, column.data.len),
                (column.bytes.at, column.bytes.len),
            )
        });
        columns.collect()
    }

    /// Lends bytes of the file to be written.
    fn lend(&self, py: Python<'_>, at: u64, length: u64) -> Result<Memory> {
        let window = py.detach(|| self.with(|draft| draft.lend(at, length)))?;
        // Both fit: the window has as many bytes as the file.
        let range = usize::try_from(at).ok().zip(usize::try_from(length).ok());
        let (at, len) = range.ok_or_else(|| self.ended())?;
        Ok(Memory { window, at, len })
    }

    /// Copies bytes to where they stay.
    fn put(&self, py: Python<'_>, at: u64, data: &Bound<'_, PyAny>) -> Result<()> {
        let lent = Lent::of(data)?;
        py.detach(|| self.with(|draft| draft.put(at, lent.bytes(), &mut |_, _| Ok(()))))
    }

    /// Publishes it; for a table, what was filled of each column: nulls, and bytes. Its reference
    /// comes back, unless it is a transaction's.
    fn commit(&self, py: Python<'_>, filled: Vec<(u64, u64)>) -> Result<Option<Ref>> {
        let slot = || self.slot().take();
        let draft = py.detach(slot).ok_or_else(|| self.ended())?;
        let draft = Arc::try_unwrap(draft).map_err(|_| {
            Failure::unsupported(format!(
                "{}: another thread still writes to it: wait for it in the block",
                self.path.display()
            ))
        })?;
        let filled: Vec<_> = filled
            .into_iter()
            .map(|(nulls, used)| Filled { nulls, used })
            .collect();
        let ended = py.detach(|| {
            if let Some(table) = &self.table {
                for (at, bytes) in table.finish(&filled)? {
                    draft.put(at, &bytes, &mut |_, _| Ok(()))?;
                }
            }
            draft.end()
        });
        let reference = ended.map_err(Failure::about(&self.path))?;
        Ok(reference.map(|inner| Ref { inner }))
    }

    /// Gives it up: it was never there.
    fn abandon(&self, py: Python<'_>) {
        py.detach(|| drop(self.slot().take()));
    }
}

/// Memory of a file that is being built, lent to be written until its block ends.
#[pyclass(frozen, module = "famfs._native")]
pub(crate) struct Memory {
    window: Arc<Window>,
    at: usize,
    len: usize,
}

#[pymethods]
impl Memory {
    /// Where it lies in this process's addresses.
    #[getter]
    fn address(&self) -> usize {
        self.window.address().addr() + self.at
    }

    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no buffer to fill in"));
        }
        // SAFETY: Python hands over a struct to be filled in; where it isn't, its owner is null.
        unsafe { (*view).obj = std::ptr::null_mut() };
        let this = slf.get();
        if !this.window.is_open() {
            return Err(PyBufferError::new_err(
                "the block that built it has ended: open what was published",
            ));
        }
        let len = ffi::Py_ssize_t::try_from(this.len)
            .map_err(|_| PyBufferError::new_err("larger than memory"))?;
        // SAFETY: `at + len` was checked against the file when the window was made, so the pointer
        // lies in it. The addresses are the window's until it is dropped, after this object, which
        // Python holds as the buffer's owner; no reference to the bytes is ever made. The file's
        // bytes stay what they were when the window is taken back, as its addresses then lead to
        // other memory.
        let filled = unsafe {
            let start = this.window.address().add(this.at).cast::<c_void>();
            ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, len, 0, flags)
        };
        if filled == 0 {
            Ok(())
        } else {
            Err(PyErr::fetch(slf.py()))
        }
    }
}
