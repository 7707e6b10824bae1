//! Private copies: a file's bytes, copied out with lost memory noticed.
//!
//! Owns how the copy is cut: between two parts Ctrl-C is noticed, and other threads run meanwhile.
#![expect(
    unsafe_code,
    reason = "a buffer that Python lends is memory of its own, behind a pointer"
)]

use famfs_data::Dataset;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::{Failure, Result};

/// Bytes that are copied before Ctrl-C is looked for.
const PART: usize = 64 << 20;

/// All bytes of a dataset: of tables and arrays, those of the file.
pub(crate) fn bytes<'py>(py: Python<'py>, dataset: &Dataset) -> Result<Bound<'py, PyBytes>> {
    let range = dataset.range();
    let size = usize::try_from(range.end - range.start)
        .map_err(|_| PyOverflowError::new_err("larger than memory"))?;
    Ok(PyBytes::new_with(py, size, |into| {
        Ok(fill(py, dataset, range.start, into)?)
    })?)
}

/// The bytes from `start` on, as many as the buffer has.
pub(crate) fn into(
    py: Python<'_>,
    dataset: &Dataset,
    start: u64,
    into: &Bound<'_, PyAny>,
) -> Result<()> {
    let buffer = PyBuffer::<u8>::get(into)?;
    if buffer.readonly() || !buffer.is_c_contiguous() {
        return Err(Failure::unsupported(
            "the buffer to be filled is not writable bytes next to each other",
        ));
    }
    if buffer.len_bytes() == 0 {
        return Ok(());
    }
    // SAFETY: the buffer is contiguous bytes that may be written, and Python keeps it where it is
    // until it is released, after the copy. It was made for this copy: nobody else knows it.
    let into = unsafe {
        std::slice::from_raw_parts_mut(buffer.buf_ptr().cast::<u8>(), buffer.len_bytes())
    };
    fill(py, dataset, start, into)
}

fn fill(py: Python<'_>, dataset: &Dataset, start: u64, into: &mut [u8]) -> Result<()> {
    let mut at = start;
    for part in into.chunks_mut(PART) {
        py.check_signals()?;
        py.detach(|| dataset.file().read(at, part))?;
        at += part.len() as u64;
    }
    Ok(())
}
