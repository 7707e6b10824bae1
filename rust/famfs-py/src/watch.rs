//! Watching a path, a look at a time: how long to rest between two is up to the caller.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use famfs::core::path::{RelPath, name};
use famfs::mounts;
use famfs::watch::{Event, Watch};
use pyo3::prelude::*;

use crate::errors::{Failure, Result};
use crate::reference::Ref;

/// What happened, name, path, size, reference.
type News = (&'static str, OsString, PathBuf, u64, Option<Ref>);

/// What follows a volume's log for the sake of one path.
#[pyclass(frozen, module = "famfs._native")]
pub(crate) struct Watcher {
    path: PathBuf,
    mountpoint: PathBuf,
    uuid: uuid::Uuid,
    watch: Mutex<Watch>,
}

#[pymethods]
impl Watcher {
    #[new]
    #[pyo3(signature = (path, *, existing=false))]
    fn new(py: Python<'_>, path: PathBuf, existing: bool) -> Result<Self> {
        let begun = py.detach(|| {
            let resolved = mounts::resolve(&path)?;
            let uuid = resolved.volume()?.uuid();
            let watch = Watch::begin(&path, existing)?;
            Ok((resolved.mount.mountpoint, uuid, watch))
        });
        let (mountpoint, uuid, watch) =
            begun.map_err(|error: famfs::Error| Failure::about(&path)(error.into()))?;
        Ok(Self {
            path,
            mountpoint,
            uuid,
            watch: Mutex::new(watch),
        })
    }

    /// Looks once: what is new.
    fn poll(&self, py: Python<'_>) -> Result<Vec<News>> {
        let found = py.detach(|| {
            let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
            watch.poll()
        });
        let found = found.map_err(|error| Failure::about(&self.path)(error.into()))?;
        Ok(found.into_iter().map(|event| self.news(event)).collect())
    }
}

impl Watcher {
    fn news(&self, Event { what, stat }: Event) -> News {
        let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        let reference = RelPath::new(&stat.path)
            .ok()
            .filter(|_| !stat.is_dir())
            .map(|path| Ref {
                inner: famfs_data::Ref::new(self.uuid, path, stat.slot),
            });
        let path = self.mountpoint.join(text(&stat.path));
        let called = text(name(&stat.path));
        (what.name(), called, path, stat.size.0, reference)
    }
}
