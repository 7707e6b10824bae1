//! Errors: each becomes the Python class that the facade's table names.

use famfs::Face;
use famfs_data::DataError;
use pyo3::exceptions::{PyException, PyRuntimeError};
use pyo3::prelude::*;

/// An error on its way to Python.
pub(crate) enum Failure {
    /// Of famfs.
    Famfs(Face, String),
    /// Of Python, to be passed on.
    Python(PyErr),
}

/// What a call that Python makes returns.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A thing that can't be published or taken for another.
    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        let face = DataError::Unsupported {
            what: String::new(),
            hint: "",
        }
        .face();
        Self::Famfs(face, message.into())
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        Self::Famfs(error.face(), error.message())
    }
}

impl From<famfs::Error> for Failure {
    fn from(error: famfs::Error) -> Self {
        Self::from(DataError::from(error))
    }
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Python(error) => error,
            Failure::Famfs(face, message) => Python::attach(|py| {
                raise(py, face, &message)
                    .unwrap_or_else(|error| PyRuntimeError::new_err(format!("{message} ({error})")))
            }),
        }
    }
}

fn raise(py: Python<'_>, face: Face, message: &str) -> PyResult<PyErr> {
    let class = py.import("famfs.errors")?.getattr(face.python)?;
    let error = class.call_method1("_of", (face.errno, message))?;
    Ok(PyErr::from_value(error))
}

/// What another library made of a caller's object, its errors made those of an object that can't be
/// published.
pub(crate) fn taken<T>(py: Python<'_>, what: &str, result: PyResult<T>) -> Result<T> {
    result.map_err(|error| {
        let ours = py
            .import("famfs.errors")
            .and_then(|errors| errors.getattr("FamfsError"))
            .is_ok_and(|class| error.is_instance(py, &class));
        // Ctrl-C is not an `Exception`.
        if ours || !error.is_instance_of::<PyException>(py) {
            return Failure::Python(error);
        }
        let refused = PyErr::from(Failure::unsupported(format!("{what}: {}", error.value(py))));
        refused.set_cause(py, Some(error));
        Failure::Python(refused)
    })
}
