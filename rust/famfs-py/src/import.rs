//! Arrow data of another library, by the C data interface: taken as they are, offsets and all.
#![expect(
    unsafe_code,
    reason = "Arrow's C data interface is structs of pointers and functions"
)]

use std::ffi::CStr;
use std::sync::Arc;

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi_and_data_type};
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{ArrayRef, make_array};
use arrow_schema::{ArrowError, Field, FieldRef};
use famfs_data::arrow::settled;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

const STREAM: &CStr = c"arrow_array_stream";
const ARRAY: &CStr = c"arrow_array";
const SCHEMA: &CStr = c"arrow_schema";

/// A stream of arrays.
pub(crate) struct Stream {
    stream: FFI_ArrowArrayStream,
    field: FieldRef,
}

impl Stream {
    /// Takes what a capsule holds.
    pub(crate) fn of(capsule: &Bound<'_, PyCapsule>) -> PyResult<Self> {
        let pointer = capsule.pointer_checked(Some(STREAM))?.cast();
        // SAFETY: a capsule of this name holds a stream, by the protocol; it is moved out once, and
        // an empty one is left in its place.
        let mut stream = unsafe { FFI_ArrowArrayStream::from_raw(pointer.as_ptr()) };
        let Some(get_schema) = stream.get_schema else {
            return Err(PyValueError::new_err("the stream was taken already"));
        };
        let mut schema = FFI_ArrowSchema::empty();
        // SAFETY: the producer's function, called with its own stream and a schema to be filled in.
        let code = unsafe { get_schema(&raw mut stream, &raw mut schema) };
        if code != 0 {
            return Err(PyValueError::new_err(said(&mut stream, code)));
        }
        let field =
            Field::try_from(&schema).map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Self {
            stream,
            field: Arc::new(field),
        })
    }

    /// What the arrays are.
    pub(crate) fn field(&self) -> &FieldRef {
        &self.field
    }
}

impl Iterator for Stream {
    type Item = Result<ArrayRef, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let get_next = self.stream.get_next?;
        let mut array = FFI_ArrowArray::empty();
        // SAFETY: the producer's function, called with its own stream and an array to be filled in.
        let code = unsafe { get_next(&raw mut self.stream, &raw mut array) };
        if code != 0 {
            return Some(Err(ArrowError::CDataInterface(said(
                &mut self.stream,
                code,
            ))));
        }
        if array.is_released() {
            return None;
        }
        // SAFETY: the array is of the stream's type, as the protocol has it, and its producer keeps
        // its memory until it is released, with the last buffer.
        let data = unsafe { from_ffi_and_data_type(array, self.field.data_type().clone()) };
        Some(data.map(|data| make_array(settled(&data))))
    }
}

/// An array and what it is, of a pair of capsules.
pub(crate) fn array(
    schema: &Bound<'_, PyCapsule>,
    array: &Bound<'_, PyCapsule>,
) -> PyResult<(ArrayRef, Field)> {
    let schema = schema
        .pointer_checked(Some(SCHEMA))?
        .cast::<FFI_ArrowSchema>();
    let array = array.pointer_checked(Some(ARRAY))?.cast::<FFI_ArrowArray>();
    // SAFETY: capsules of these names hold a schema and an array, by the protocol; the array is
    // moved out once, and an empty one is left in its place.
    let (schema, array) = unsafe { (schema.as_ref(), FFI_ArrowArray::from_raw(array.as_ptr())) };
    let told = |error: ArrowError| PyValueError::new_err(error.to_string());
    let field = Field::try_from(schema).map_err(told)?;
    // SAFETY: as for a stream's arrays.
    let data = unsafe { from_ffi_and_data_type(array, field.data_type().clone()) }.map_err(told)?;
    Ok((make_array(settled(&data)), field))
}

/// What the producer says of its failure.
fn said(stream: &mut FFI_ArrowArrayStream, code: i32) -> String {
    let Some(get_last_error) = stream.get_last_error else {
        return format!("its producer failed with code {code}");
    };
    // SAFETY: the producer's function, called with its own stream; the text stays until the next
    // call.
    let text = unsafe { get_last_error(stream) };
    if text.is_null() {
        return format!("its producer failed with code {code}");
    }
    // SAFETY: it is not null, and a C string by the protocol.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}
