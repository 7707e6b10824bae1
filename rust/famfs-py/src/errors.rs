//! Errors: each becomes the Python class that the facade's table names.

use std::path::{Path, PathBuf};

use famfs::{Error, Face};
use famfs_data::DataError;
use pyo3::exceptions::{PyException, PyRuntimeError};
use pyo3::prelude::*;

/// An error on its way to Python.
pub(crate) enum Failure {
    /// Of famfs, with the path that it is about where that is known.
    Famfs(Face, String, Option<PathBuf>),
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
        Self::Famfs(face, message.into(), None)
    }

    /// What went wrong with a path, told of the path as the user wrote it.
    pub(crate) fn about(path: &Path) -> impl FnOnce(DataError) -> Self {
        move |error| {
            let error = as_written(path, error);
            let of_host = path_of(&error).map(Path::to_owned);
            let path = of_host.or_else(|| Some(path.to_owned()));
            Self::Famfs(error.face(), error.message(), path)
        }
    }
}

/// An error about a name in a volume, made one about the path that the user wrote.
fn as_written(path: &Path, error: DataError) -> DataError {
    let written = path.display().to_string();
    match error {
        DataError::File { source, .. } => DataError::File {
            path: written,
            source,
        },
        DataError::Volume(error) => DataError::Volume(error.about(path)),
        other => other,
    }
}

/// The device or file of the host that an error is about.
fn path_of(error: &DataError) -> Option<&Path> {
    let DataError::Volume(error) = error else {
        return None;
    };
    match error {
        Error::VolumeExists { path, .. }
        | Error::HostFull { path, .. }
        | Error::ReadOnlyVolume { path, .. }
        | Error::Permission { path, .. }
        | Error::MemoryFault { path, .. }
        | Error::Io { path, .. } => Some(path),
        _ => None,
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        let path = path_of(&error).map(Path::to_owned);
        Self::Famfs(error.face(), error.message(), path)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
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
            Failure::Famfs(face, message, path) => Python::attach(|py| {
                made(py, face, &message, path.as_deref())
                    .unwrap_or_else(|error| PyRuntimeError::new_err(format!("{message} ({error})")))
            }),
        }
    }
}

fn made(py: Python<'_>, face: Face, message: &str, path: Option<&Path>) -> PyResult<PyErr> {
    let class = py.import("famfs.errors")?.getattr(face.python)?;
    let path = path.map(Path::as_os_str);
    let error = class.call_method1("_of", (face.errno, message, path))?;
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
