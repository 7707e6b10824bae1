//! `Ref`: the reference, as Python sees it.

use std::ffi::OsString;
use std::hash::{Hash, Hasher};
use std::os::unix::ffi::OsStringExt;

use famfs::core::path::RelPath;
use famfs::core::units::Slot;
use famfs_data::Selection;
use pyo3::prelude::*;
use uuid::Uuid;

use crate::errors::Result;

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
    fn new(text: &str) -> Result<Self> {
        Ok(Self {
            inner: text.parse()?,
        })
    }

    /// Makes a reference of its parts; for pickle.
    #[staticmethod]
    fn _of(uuid: [u8; 16], path: &[u8], index: u64, selection: &str) -> Result<Self> {
        let path = RelPath::new(path).map_err(|reason| famfs::Error::InvalidPath {
            path: path.escape_ascii().to_string(),
            reason,
        })?;
        let inner = famfs_data::Ref::new(Uuid::from_bytes(uuid), path, Slot(index));
        Ok(Self {
            inner: inner.select(parse_selection(selection)?),
        })
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Parts)> {
        let inner = &slf.get().inner;
        let text = inner.to_string();
        let selection = match (text.find('?'), text.rfind('#')) {
            (Some(from), Some(to)) => text[from + 1..to].to_owned(),
            _ => String::new(),
        };
        let parts = (
            inner.uuid().as_bytes().to_vec(),
            inner.path().as_bytes().to_vec(),
            inner.index().0,
            selection,
        );
        Ok((slf.get_type().getattr("_of")?, parts))
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

    /// The rows that are meant, as first and one past the last; None for all.
    #[getter]
    fn rows(&self) -> Option<(u64, u64)> {
        let rows = self.inner.selection().rows.as_ref()?;
        Some((rows.start, rows.end))
    }

    /// The columns that are meant, as ranges of indices; None for all.
    #[getter]
    fn columns(&self) -> Option<Vec<(u64, u64)>> {
        let columns = self.inner.selection().columns.as_ref()?;
        Some(columns.iter().map(|range| (range.start, range.end)).collect())
    }

    fn __str__(&self) -> String {
        self.inner.to_string()
    }

    fn __repr__(&self) -> String {
        format!("Ref('{}')", self.inner)
    }
}

type Parts = (Vec<u8>, Vec<u8>, u64, String);

fn parse_selection(text: &str) -> Result<Selection> {
    if text.is_empty() {
        return Ok(Selection::default());
    }
    // The text form has the one parser.
    let whole: famfs_data::Ref = format!("famfs://{}/x?{text}#0", Uuid::nil()).parse()?;
    Ok(whole.selection().clone())
}
