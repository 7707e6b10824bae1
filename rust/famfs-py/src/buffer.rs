//! `Buffer`: published memory, lent to Python read-only.
#![expect(
    unsafe_code,
    reason = "Python's buffer protocol is a struct of pointers that is filled in"
)]

use std::ffi::{CString, c_int, c_void};
use std::sync::{Arc, Mutex, PoisonError};

use famfs_data::{ArrayLayout, Dataset, Kind};
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::dataset::File;
use crate::errors::Failure;

/// A file's memory: an array's values in their shape, or all of its bytes. Read-only.
///
/// What was lent holds the memory, also when this is closed.
#[pyclass(frozen, subclass, module = "famfs._native")]
pub(crate) struct Buffer {
    file: Mutex<Option<Arc<Dataset>>>,
    whole: bool,
}

/// What a lent buffer points to, given back with it.
struct Lease {
    _file: Arc<Dataset>,
    format: CString,
    shape: Vec<isize>,
    strides: Vec<isize>,
    in_c_order: bool,
    in_fortran_order: bool,
}

#[pymethods]
impl Buffer {
    #[new]
    #[pyo3(signature = (file, *, whole=false))]
    fn new(file: &Bound<'_, File>, whole: bool) -> crate::errors::Result<Self> {
        let file = file.get().dataset()?;
        Ok(Self {
            whole: whole || file.kind() != Kind::Array,
            file: Mutex::new(Some(file)),
        })
    }

    /// Lends nothing any more. What was lent stays.
    fn _release(&self) {
        self.file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
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
        if flags & ffi::PyBUF_WRITABLE == ffi::PyBUF_WRITABLE {
            return Err(PyBufferError::new_err(
                "published data are read-only; copy() makes a private copy",
            ));
        }
        let this = slf.get();
        let file = this.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = file.clone() else {
            return Err(PyBufferError::new_err("the dataset was closed"));
        };
        let bytes: &[u8] = file.file().view();
        let array = if this.whole {
            None
        } else {
            file.array().map_err(Failure::from)?
        };
        let (start, len, item, lease) = if let Some(array) = array {
            let format = format_of(&array.descr).ok_or_else(|| {
                PyBufferError::new_err(format!(
                    "items of type {} can't be lent as a buffer: use to_numpy()",
                    array.descr
                ))
            })?;
            let lease = Lease::array(&file, &array, format)?;
            let item = signed(array.item_size)?;
            (index(array.start)?, index(array.nbytes)?, item, lease)
        } else {
            let range = file.range();
            let (start, len) = (index(range.start)?, index(range.end - range.start)?);
            (start, len, 1, Lease::bytes(&file, len)?)
        };
        let asked = |flag: c_int| flags & flag == flag;
        let wrong_order = asked(ffi::PyBUF_C_CONTIGUOUS) && !lease.in_c_order
            || asked(ffi::PyBUF_F_CONTIGUOUS) && !lease.in_fortran_order
            // Without strides, C order is taken for granted.
            || !asked(ffi::PyBUF_STRIDES) && !lease.in_c_order;
        if wrong_order {
            return Err(PyBufferError::new_err(
                "the array's items are in the other order: ask for strides",
            ));
        }
        let lease = Box::new(lease);
        // SAFETY: `view` is Python's, to be filled in. The pointers lead into the mapping and the
        // lease, which the lease holds until Python gives the buffer back; `start + len` was
        // checked against the file when it was opened.
        unsafe {
            let view = &mut *view;
            view.buf = bytes.as_ptr().add(start).cast_mut().cast::<c_void>();
            view.len = signed(len as u64)?;
            view.readonly = 1;
            view.itemsize = item;
            view.format = std::ptr::null_mut();
            if asked(ffi::PyBUF_FORMAT) {
                view.format = lease.format.as_ptr().cast_mut();
            }
            view.ndim = c_int::try_from(lease.shape.len()).unwrap_or(0);
            view.shape = std::ptr::null_mut();
            view.strides = std::ptr::null_mut();
            if asked(ffi::PyBUF_ND) && !lease.shape.is_empty() {
                view.shape = lease.shape.as_ptr().cast_mut();
                if asked(ffi::PyBUF_STRIDES) {
                    view.strides = lease.strides.as_ptr().cast_mut();
                }
            }
            if !asked(ffi::PyBUF_ND) {
                view.ndim = 1;
            }
            view.suboffsets = std::ptr::null_mut();
            view.internal = Box::into_raw(lease).cast::<c_void>();
            view.obj = slf.clone().into_any().into_ptr();
        }
        Ok(())
    }

    #[expect(clippy::unused_self, reason = "the protocol's signature")]
    unsafe fn __releasebuffer__(&self, view: *mut ffi::Py_buffer) {
        // SAFETY: what `__getbuffer__` filled in comes back once.
        unsafe {
            let lease = (*view).internal.cast::<Lease>();
            if !lease.is_null() {
                drop(Box::from_raw(lease));
                (*view).internal = std::ptr::null_mut();
            }
        }
    }
}

impl Lease {
    fn bytes(file: &Arc<Dataset>, len: usize) -> PyResult<Self> {
        Ok(Self {
            _file: Arc::clone(file),
            format: CString::from(c"B"),
            shape: vec![signed(len as u64)?],
            strides: vec![1],
            in_c_order: true,
            in_fortran_order: true,
        })
    }

    fn array(file: &Arc<Dataset>, array: &ArrayLayout, format: CString) -> PyResult<Self> {
        if array.shape.len() > 64 {
            return Err(PyBufferError::new_err("more than 64 axes"));
        }
        let all = |lengths: &[u64]| -> PyResult<Vec<isize>> {
            lengths.iter().map(|len| signed(*len)).collect()
        };
        Ok(Self {
            _file: Arc::clone(file),
            format,
            shape: all(&array.shape)?,
            strides: all(&array.strides)?,
            in_c_order: array.is_contiguous(false),
            in_fortran_order: array.is_contiguous(true),
        })
    }
}

/// The struct-module format of a plain NumPy type; `None` where there is none.
fn format_of(descr: &str) -> Option<CString> {
    let (order, rest) = descr.split_at_checked(1)?;
    let (kind, size) = rest.split_at_checked(1)?;
    let size: usize = size.parse().ok()?;
    let format = match (kind, size) {
        ("b", 1) => "?",
        ("i", 1) => "b",
        ("i", 2) => "h",
        ("i", 4) => "i",
        ("i", 8) => "q",
        ("u", 1) => "B",
        ("u", 2) => "H",
        ("u", 4) => "I",
        ("u", 8) => "Q",
        ("f", 2) => "e",
        ("f", 4) => "f",
        ("f", 8) => "d",
        ("c", 8) => "Zf",
        ("c", 16) => "Zd",
        _ => return None,
    };
    let own = cfg!(target_endian = "little");
    let text = match order {
        "|" | "=" => format.to_owned(),
        "<" if own => format.to_owned(),
        ">" if !own => format.to_owned(),
        "<" | ">" => format!("{order}{format}"),
        _ => return None,
    };
    CString::new(text).ok()
}

fn signed(len: u64) -> PyResult<isize> {
    isize::try_from(len).map_err(|_| PyBufferError::new_err("larger than memory"))
}

fn index(len: u64) -> PyResult<usize> {
    usize::try_from(len).map_err(|_| PyBufferError::new_err("larger than memory"))
}
