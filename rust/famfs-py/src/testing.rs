//! What benchmarks measure against.

use std::path::PathBuf;

use famfs::{measure, mounts};
use pyo3::prelude::*;

use crate::errors::Result;
use crate::publish::Lent;

/// Seconds that the fastest copy of the data into a mounted volume takes.
#[pyfunction]
#[pyo3(signature = (mountpoint, data, *, rounds=3))]
pub(crate) fn copy_limit(
    py: Python<'_>,
    mountpoint: PathBuf,
    data: &Bound<'_, PyAny>,
    rounds: usize,
) -> Result<f64> {
    let lent = Lent::of(data)?;
    py.detach(|| {
        let volume = mounts::resolve(&mountpoint)?.volume()?;
        Ok(measure::copy_limit(&volume, lent.bytes(), rounds)?.as_secs_f64())
    })
}
