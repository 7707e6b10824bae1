//! Pictures of devices, as the command draws them.

use std::path::PathBuf;

use famfs_cli::picture::{self, Picture};
use pyo3::prelude::*;

use crate::errors::{Failure, Result};

/// What lies where on a device, as of when it was looked at.
#[pyclass(frozen, module = "famfs._native")]
pub(crate) struct DeviceMap {
    picture: Picture,
}

/// Looks at a device, a backing file, or the volume that a path lies in.
#[pyfunction]
pub(crate) fn device_map(py: Python<'_>, path: PathBuf) -> Result<DeviceMap> {
    let picture = py.detach(|| Picture::of(&path));
    let picture = picture.map_err(|error| Failure::about(&path)(error.into()))?;
    Ok(DeviceMap { picture })
}

#[pymethods]
impl DeviceMap {
    fn svg(&self) -> String {
        self.picture.svg()
    }

    fn json(&self) -> String {
        self.picture.json()
    }

    #[pyo3(signature = (columns, *, colour=false))]
    fn text(&self, columns: usize, colour: bool) -> String {
        self.picture.text(columns, colour)
    }
}

/// A device as one thin bar, with extents in it.
#[pyfunction]
pub(crate) fn strip(places: Vec<(u64, u64)>, device: u64) -> String {
    picture::strip(&places, device)
}
