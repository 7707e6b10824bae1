//! Publishing what Python has: borrowed, never copied but into the volume.
#![expect(
    unsafe_code,
    reason = "a buffer that Python lends is memory of its own, behind a pointer"
)]

use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use famfs_data::arrow::PlanOptions;
use famfs_data::npy::NpyPlan;
use famfs_data::publish::{Draft, array_size};
use famfs_data::stream::{self, Target};
use famfs_data::{self as data, DataError, Kind, Options};
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use std::sync::Arc;

use crate::errors::{Failure, Result, taken};
use crate::import::{self, Stream};
use crate::reference::Ref;
use crate::transaction::Transaction;

/// What is handed back: reference (of a transaction's file there is none yet), kind, size, bytes
/// taken as they were, bytes made anew.
pub(crate) type Done = (Option<Ref>, &'static str, u64, u64, u64);

pub(crate) fn done(
    reference: Option<data::Ref>,
    kind: Kind,
    size: u64,
    counted: (u64, u64),
) -> Done {
    let reference = reference.map(|inner| Ref { inner });
    (reference, kind.name(), size, counted.0, counted.1)
}

/// A caller's progress function, called between two parts of the work.
pub(crate) struct Watcher {
    call: Option<Py<PyAny>>,
    failed: Option<PyErr>,
    told: Option<(u64, u64)>,
}

impl Watcher {
    pub(crate) fn new(call: Option<Py<PyAny>>) -> Self {
        Self {
            call,
            failed: None,
            told: None,
        }
    }

    pub(crate) fn tell(&mut self, at: u64, total: u64) -> Result<(), DataError> {
        let failed = Python::attach(|py| {
            // Ctrl-C is noticed here: what was reserved is given back.
            py.check_signals()?;
            if let Some(call) = &self.call {
                call.call1(py, (at, total))?;
            }
            self.told = Some((at, total));
            Ok(())
        });
        failed.map_err(|error| {
            self.failed = Some(error);
            DataError::Stopped
        })
    }

    /// Tells that all is written, unless that was told.
    pub(crate) fn finish(&mut self, total: u64) -> Result<(), DataError> {
        if self.told == Some((total, total)) {
            return Ok(());
        }
        self.tell(total, total)
    }

    pub(crate) fn end<T>(self, path: &Path, result: Result<T, DataError>) -> Result<T> {
        match (self.failed, result) {
            (Some(error), Err(DataError::Stopped)) => Err(error.into()),
            (_, result) => result.map_err(Failure::about(path)),
        }
    }
}

/// A caller's contiguous bytes.
pub(crate) struct Lent {
    buffer: PyBuffer<u8>,
}

impl Lent {
    pub(crate) fn of(object: &Bound<'_, PyAny>) -> Result<Self> {
        let buffer = PyBuffer::<u8>::get(object)?;
        if !buffer.is_c_contiguous() {
            return Err(Failure::unsupported(
                "the buffer's bytes are not contiguous",
            ));
        }
        Ok(Self { buffer })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        let len = self.buffer.len_bytes();
        if len == 0 {
            return &[];
        }
        // SAFETY: the buffer is contiguous bytes, and Python keeps it where it is until it is
        // released, after `self`. Python code that writes to it meanwhile, from another thread,
        // publishes some mixture of the two: the copy reads each byte once, and nothing is decided
        // by what it reads.
        unsafe { std::slice::from_raw_parts(self.buffer.buf_ptr().cast(), len) }
    }
}

pub(crate) fn options(overwrite: bool, mode: Option<u32>, checksum: bool) -> Options {
    Options {
        overwrite,
        mode,
        checksum,
    }
}

/// The transaction that a file is for.
pub(crate) fn within(transaction: Option<&Bound<'_, Transaction>>) -> Option<data::Transaction> {
    transaction.map(|transaction| transaction.get().inner.clone())
}

/// Publishes bytes as they are.
#[pyfunction]
#[pyo3(signature = (path, data, *, overwrite=false, mode=None, progress=None, transaction=None))]
pub(crate) fn publish_bytes(
    py: Python<'_>,
    path: PathBuf,
    data: &Bound<'_, PyAny>,
    overwrite: bool,
    mode: Option<u32>,
    progress: Option<Py<PyAny>>,
    transaction: Option<&Bound<'_, Transaction>>,
) -> Result<Done> {
    let lent = Lent::of(data)?;
    let mut watcher = Watcher::new(progress);
    let options = options(overwrite, mode, false);
    let within = within(transaction);
    let bytes = lent.bytes();
    let size = bytes.len() as u64;
    let kind = Kind::of(&bytes[..bytes.len().min(Kind::PREFIX)], size);
    let ended = py.detach(|| {
        let draft = Draft::begin_in(within.as_ref(), &path, size, options)?;
        draft.put(0, bytes, &mut |at, total| watcher.tell(at, total))?;
        draft.end()
    });
    let reference = watcher.end(&path, ended)?;
    Ok(done(reference, kind, size, (size, 0)))
}

/// Publishes an array whose bytes come in `parts`, one after the other.
#[pyfunction]
#[pyo3(signature = (
    path, descr, fortran_order, shape, parts, *, overwrite=false, mode=None, progress=None,
    transaction=None, checksum=false
))]
#[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
pub(crate) fn publish_array(
    py: Python<'_>,
    path: PathBuf,
    descr: &str,
    fortran_order: bool,
    shape: Vec<u64>,
    parts: &Bound<'_, PyAny>,
    overwrite: bool,
    mode: Option<u32>,
    progress: Option<Py<PyAny>>,
    transaction: Option<&Bound<'_, Transaction>>,
    checksum: bool,
) -> Result<Done> {
    let plan = NpyPlan::new(descr, fortran_order, &shape)?;
    let options = options(overwrite, mode, checksum);
    let mut watcher = Watcher::new(progress);
    let within = within(transaction);
    let draft = py.detach(|| {
        let size = array_size(&plan, options);
        let draft = Draft::begin_in(within.as_ref(), &path, size, options)?;
        draft.put(0, plan.header(), &mut |_, _| Ok(()))?;
        Ok::<_, DataError>(draft)
    });
    let draft = draft.map_err(Failure::about(&path))?;
    let header = plan.header().len() as u64;
    let mut data = 0;
    let mut put = Ok(());
    for part in parts.try_iter()? {
        let lent = Lent::of(&part?)?;
        let len = lent.bytes().len() as u64;
        if data + len > plan.nbytes() {
            plan.check(data + len)?;
        }
        put = py.detach(|| {
            draft.put(header + data, lent.bytes(), &mut |at, total| {
                watcher.tell(at, total)
            })
        });
        if put.is_err() {
            break;
        }
        data += len;
    }
    if put.is_ok() {
        plan.check(data)?;
        // An array of nothing has no parts, and its trailer is told by nobody else.
        put = watcher.finish(draft.size());
    }
    let size = draft.size();
    let ended = put.and_then(|()| {
        py.detach(|| {
            draft.seal_array()?;
            draft.end()
        })
    });
    let reference = watcher.end(&path, ended)?;
    Ok(done(reference, Kind::Array, size, (data, size - data)))
}

/// Publishes a table: whatever has `__arrow_c_stream__` or `__arrow_c_array__`. Where a window is
/// given, no more bytes of its batches than that wait in memory.
#[pyfunction]
#[pyo3(signature = (
    path, data, *, batch_rows=None, overwrite=false, mode=None, progress=None, transaction=None,
    checksum=false, window=None
))]
#[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
pub(crate) fn publish_table(
    py: Python<'_>,
    path: PathBuf,
    data: &Bound<'_, PyAny>,
    batch_rows: Option<usize>,
    overwrite: bool,
    mode: Option<u32>,
    progress: Option<Py<PyAny>>,
    transaction: Option<&Bound<'_, Transaction>>,
    checksum: bool,
    window: Option<u64>,
) -> Result<Done> {
    let source = Source::of(py, data)?;
    let schema = schema_of(source.field())?;
    let mut watcher = Watcher::new(progress);
    let within = within(transaction);
    // The producer's functions are called here, those that release its memory too, and may want the
    // interpreter.
    let ended = py.detach(|| {
        let target = Target {
            within: within.as_ref(),
            path: &path,
            options: options(overwrite, mode, checksum),
            plan: PlanOptions {
                batch_rows,
                checksum,
                ..PlanOptions::default()
            },
            window,
        };
        let batches = source.map(|array| match array {
            Ok(array) => batch_of(&schema, array.as_ref()).map_err(Stopped::Source),
            Err(error) => Err(Stopped::Source(Failure::unsupported(format!(
                "the table's producer failed: {error}"
            )))),
        });
        stream::publish(&target, &schema, batches, &mut |at, total| {
            watcher.tell(at, total)
        })
    });
    let ended = match ended {
        Ok(done) => Ok(done),
        Err(Stopped::Data(error)) => Err(error),
        Err(Stopped::Source(failure)) => return Err(failure),
    };
    let all = watcher.end(&path, ended)?;
    let counted = (all.borrowed, all.owned);
    Ok(done(all.reference, Kind::Table, all.size, counted))
}

/// Why a table was not published.
enum Stopped {
    /// What it comes from failed.
    Source(Failure),
    /// It could not be written.
    Data(DataError),
}

impl From<DataError> for Stopped {
    fn from(error: DataError) -> Self {
        Self::Data(error)
    }
}

/// Why a table was not taken, before what the library that took it says.
const CANNOT_BE_TAKEN: &str = "a table that can't be taken as Arrow data; convert the column that \
                               this is about, for example to strings";

/// What a table's batches come from.
enum Source {
    Stream(Stream),
    /// One array, and what it is.
    Array(Field, Option<ArrayRef>),
}

impl Source {
    /// Takes what Python has; values stay where they are.
    fn of(py: Python<'_>, data: &Bound<'_, PyAny>) -> Result<Self> {
        let source = if data.hasattr("__arrow_c_stream__")? {
            data.call_method0("__arrow_c_stream__").and_then(|capsule| {
                let capsule = capsule.cast_into::<PyCapsule>()?;
                Stream::of(&capsule).map(Self::Stream)
            })
        } else {
            data.call_method0("__arrow_c_array__").and_then(|pair| {
                let (schema, array): (Bound<'_, PyCapsule>, Bound<'_, PyCapsule>) =
                    pair.extract()?;
                let (array, field) = import::array(&schema, &array)?;
                Ok(Self::Array(field, Some(array)))
            })
        };
        taken(py, CANNOT_BE_TAKEN, source)
    }

    fn field(&self) -> &Field {
        match self {
            Self::Stream(stream) => stream.field(),
            Self::Array(field, _) => field,
        }
    }
}

impl Iterator for Source {
    type Item = Result<ArrayRef, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Stream(stream) => stream.next(),
            Self::Array(_, array) => array.take().map(Ok),
        }
    }
}

fn schema_of(field: &Field) -> Result<SchemaRef> {
    match field.data_type() {
        DataType::Struct(fields) => Ok(Arc::new(Schema::new_with_metadata(
            fields.clone(),
            field.metadata().clone(),
        ))),
        other => Err(Failure::unsupported(format!(
            "a single Arrow array of type {other} is not a table: publish a table with it as a \
             column, pyarrow.table({{\"name\": array}}), or its values, array.to_numpy()"
        ))),
    }
}

fn batch_of(schema: &SchemaRef, array: &dyn Array) -> Result<RecordBatch> {
    let Some(rows) = array.as_struct_opt() else {
        return Err(Failure::unsupported(format!(
            "a batch of type {}, expected a struct",
            array.data_type()
        )));
    };
    if rows.null_count() > 0 {
        return Err(Failure::unsupported(
            "rows that are null as a whole can't be said in a table: put the structs into a \
             column, pyarrow.table({\"name\": array})",
        ));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(Arc::clone(schema), rows.columns().to_vec(), &options)
        .map_err(|error| {
            let hint = "a field that holds nulls is to be nullable, and columns are as long and of \
                        the types that the schema says: table.cast(schema) mends it";
            DataError::Refused { error, hint }.into()
        })
}
