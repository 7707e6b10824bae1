//! A column's values as memory that NumPy can use: which types can, and the bytes.
#![expect(
    unsafe_code,
    reason = "Python's buffer protocol is a struct of pointers that is filled in"
)]

use std::ffi::{c_int, c_void};

use arrow_array::{Array, ArrayRef, new_empty_array};
use arrow_buffer::Buffer;
use arrow_schema::{DataType, TimeUnit};
use famfs_data::{DataError, Dataset};
use pyo3::exceptions::{PyBufferError, PyOverflowError};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::errors::{Failure, Result};

/// NumPy's type of an item, rows, items to a row where a row is a list, and the bytes.
pub(crate) type Values = (String, usize, Option<usize>, ColumnBytes);

/// Bytes of a volume, lent read-only.
#[pyclass(frozen, module = "famfs._native")]
pub(crate) struct ColumnBytes {
    bytes: Buffer,
}

#[pymethods]
impl ColumnBytes {
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no buffer to fill in"));
        }
        let bytes = &slf.get().bytes;
        let len = ffi::Py_ssize_t::try_from(bytes.len())
            .map_err(|_| PyOverflowError::new_err("larger than memory"))?;
        let start = bytes.as_ptr().cast_mut().cast::<c_void>();
        // SAFETY: `view` is Python's, to be filled in. The bytes are those of a buffer that this
        // object holds; the view takes a reference to it, and nothing is written: it is read-only.
        let filled = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, len, 1, flags) };
        if filled == 0 {
            return Ok(());
        }
        Err(PyErr::take(slf.py())
            .unwrap_or_else(|| PyBufferError::new_err("the buffer can't be lent")))
    }
}

/// The values of the column that a dataset is.
pub(crate) fn of(py: Python<'_>, dataset: &Dataset) -> Result<Values> {
    let column = py.detach(|| {
        let parts = dataset.parts()?;
        match parts {
            [] => {
                let schema = dataset.schema()?;
                Ok(Ok(new_empty_array(schema.field(0).data_type())))
            }
            [part] => Ok(Ok(dataset.column(part, 0)?)),
            _ => Ok::<_, DataError>(Err(parts.len())),
        }
    })?;
    let column = column.map_err(|batches| {
        Failure::unsupported(format!(
            "its rows lie in {batches} record batches, so that they are not one array: \
             to_arrow().to_numpy() joins them in a copy, batches and partition(i, n) have them in \
             place"
        ))
    })?;
    in_place(&column)
}

fn in_place(column: &ArrayRef) -> Result<Values> {
    if column.null_count() > 0 {
        return Err(Failure::unsupported(format!(
            "{} of its values are null, which NumPy hasn't: to_arrow() and to_pandas() have them",
            column.null_count()
        )));
    }
    let data = column.to_data();
    let (data, width) = match column.data_type() {
        DataType::FixedSizeList(_, width) => {
            let width = usize::try_from(*width).unwrap_or(0);
            let Some(items) = data.child_data().first() else {
                return Err(not_numpy(column.data_type()));
            };
            if items.nulls().is_some_and(|nulls| nulls.null_count() > 0) {
                return Err(Failure::unsupported(
                    "some items of its lists are null, which NumPy hasn't: to_arrow() has them",
                ));
            }
            let items = items.slice(data.offset() * width, data.len() * width);
            (items, Some(width))
        }
        _ => (data, None),
    };
    let Some((descr, size)) = dtype(data.data_type()) else {
        return Err(not_numpy(column.data_type()));
    };
    let Some(buffer) = data.buffers().first() else {
        return Err(not_numpy(column.data_type()));
    };
    let bytes = buffer.slice_with_length(data.offset() * size, data.len() * size);
    Ok((descr, column.len(), width, ColumnBytes { bytes }))
}

fn not_numpy(data_type: &DataType) -> Failure {
    Failure::unsupported(format!(
        "{data_type} does not lie in memory as NumPy's values do: to_arrow() and to_pandas() have \
         it, to_arrow().to_numpy(zero_copy_only=False) copies it"
    ))
}

/// NumPy's type whose values lie in memory as Arrow's do, and the bytes of one.
fn dtype(data_type: &DataType) -> Option<(String, usize)> {
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    };
    let descr = match data_type {
        DataType::Int8 => "|i1",
        DataType::UInt8 => "|u1",
        DataType::Int16 => "<i2",
        DataType::UInt16 => "<u2",
        DataType::Int32 => "<i4",
        DataType::UInt32 => "<u4",
        DataType::Int64 => "<i8",
        DataType::UInt64 => "<u8",
        DataType::Float16 => "<f2",
        DataType::Float32 => "<f4",
        DataType::Float64 => "<f8",
        DataType::Date64 => "<M8[ms]",
        DataType::Timestamp(found, _) => return Some((format!("<M8[{}]", unit(found)), 8)),
        DataType::Duration(found) => return Some((format!("<m8[{}]", unit(found)), 8)),
        // NumPy has no items of no bytes.
        DataType::FixedSizeBinary(width) if *width > 0 => {
            return Some((format!("|V{width}"), usize::try_from(*width).ok()?));
        }
        _ => return None,
    };
    Some((descr.to_owned(), data_type.primitive_width()?))
}
