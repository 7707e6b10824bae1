//! `Ref`: the reference, as Python sees it.

use std::ffi::OsString;
use std::hash::{Hash, Hasher};
use std::os::unix::ffi::OsStringExt;

use famfs::Error;
use famfs::core::path::{PathError, RelPath};
use famfs::core::units::Slot;
use famfs_data::{Columns, DataError, Rows, Selection};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use uuid::Uuid;

use crate::errors::{Failure, Result};

/// A reference to a published dataset: small, hashable, picklable.
///
/// Two are equal where volume, log entry and selection are. It opens on any host that mounts the
/// volume, also after the path was replaced or removed.
#[pyclass(frozen, eq, hash, module = "famfs", name = "Ref")]
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Ref {
    pub(crate) inner: famfs_data::Ref,
}

impl Hash for Ref {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

#[pymethods]
impl Ref {
    #[new]
    fn new(text: &Bound<'_, PyAny>) -> Result<Self> {
        let text = text.cast::<PyString>().map_err(|_| {
            Failure::unsupported(format!(
                "{}: a reference is made of its text, famfs://uuid/path#index, which str(ref) gives",
                text.get_type()
            ))
        })?;
        // Text of surrogates is none, and Python itself would tell of its codec.
        let text = text.to_str().map_err(|_| Error::InvalidPath {
            path: text.to_string_lossy().into_owned(),
            reason: PathError::NotText,
        })?;
        Ok(Self {
            inner: text.parse()?,
        })
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<(Py<PyAny>, Parts)> {
        let py = slf.py();
        let inner = &slf.get().inner;
        let selection = inner.selection();
        let selection = (!selection.is_all()).then(|| selection.to_string());
        let parts = (
            PyBytes::new(py, inner.uuid().as_bytes()).unbind(),
            PyBytes::new(py, inner.path().as_bytes()).unbind(),
            inner.index().0,
            selection,
        );
        let restore = py.import("famfs._native")?.getattr("restore_ref")?;
        Ok((restore.unbind(), parts))
    }

    /// The volume's identity.
    #[getter]
    fn uuid(&self) -> String {
        self.inner.uuid().to_string()
    }

    /// What the file was called in its volume when it was published.
    #[getter]
    fn path(&self) -> OsString {
        OsString::from_vec(self.inner.path().as_bytes().to_vec())
    }

    /// The log entry that made the file.
    #[getter]
    fn index(&self) -> u64 {
        self.inner.index().0
    }

    /// The rows that are meant, as first and one past the last, or one as a number; None for all.
    #[getter]
    fn rows(&self) -> Option<SomeRows> {
        Some(match self.inner.selection().rows.as_ref()? {
            Rows::Range(rows) => SomeRows::Range((rows.start, rows.end)),
            Rows::One(row) => SomeRows::One(*row),
        })
    }

    /// The columns that are meant, as ranges of indices, or one by itself as a number; None for all.
    #[getter]
    fn columns(&self) -> Option<SomeColumns> {
        Some(match self.inner.selection().columns.as_ref()? {
            Columns::Ranges(ranges) => SomeColumns::Ranges(
                ranges
                    .iter()
                    .map(|range| (range.start, range.end))
                    .collect(),
            ),
            Columns::One(column) => SomeColumns::One(*column),
        })
    }

    fn __str__(&self) -> String {
        self.inner.to_string()
    }

    fn __repr__(&self) -> String {
        format!("Ref('{}')", self.inner)
    }
}

/// Rows as Python has them.
#[derive(IntoPyObject)]
pub(crate) enum SomeRows {
    Range((u64, u64)),
    One(u64),
}

/// Columns as Python has them.
#[derive(IntoPyObject)]
pub(crate) enum SomeColumns {
    Ranges(Vec<(u64, u64)>),
    One(u64),
}

/// The published file that holds `length` bytes at an address of this process, and where in it they
/// begin; None for all other memory.
#[pyfunction]
pub(crate) fn locate(py: Python<'_>, address: usize, length: usize) -> Option<(Ref, u64)> {
    // Asked of every array that is pickled: most are nobody's, which is told at once.
    famfs::mem::locate(address, length)?;
    let found = py.detach(|| famfs::locate(address, length))?;
    let path = RelPath::new(&found.file.path).ok()?;
    let inner = famfs_data::Ref::new(found.volume.uuid(), path, found.file.slot);
    Some((Ref { inner }, found.at.0))
}

type Parts = (Py<PyBytes>, Py<PyBytes>, u64, Option<String>);

/// Makes a reference of its parts; for pickle.
#[pyfunction]
pub(crate) fn restore_ref(
    uuid: &[u8],
    path: &[u8],
    index: u64,
    selection: Option<&str>,
) -> Result<Ref> {
    let uuid = Uuid::from_slice(uuid)
        .map_err(|_| famfs::Error::Usage("a reference whose uuid has not 16 bytes".into()))?;
    let path = RelPath::new(path).map_err(|reason| famfs::Error::InvalidPath {
        path: path.escape_ascii().to_string(),
        reason,
    })?;
    let inner = famfs_data::Ref::new(uuid, path, Slot(index));
    Ok(Ref {
        inner: inner.select(parse_selection(selection)?),
    })
}

fn parse_selection(text: Option<&str>) -> Result<Selection> {
    let Some(text) = text else {
        return Ok(Selection::default());
    };
    text.parse().map_err(|why: &str| {
        let (text, why) = (text.to_owned(), why.to_owned());
        DataError::Reference { text, why }.into()
    })
}
