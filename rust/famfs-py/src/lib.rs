//! `famfs._native`: the native half of the Python package.
//!
//! Owns the border: Python objects are borrowed on the way in, errors become the classes of
//! `famfs.errors`, and memory is lent out read-only. It decides nothing, and holds the interpreter
//! while no real work is done.
#![deny(unsafe_code)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "what Python passes is made into values, which the functions own"
)]

mod buffer;
mod build;
mod copy;
mod dataset;
mod errors;
mod import;
mod publish;
mod reference;
mod tensors;
mod testing;
mod transaction;
mod values;
mod volume;
mod watch;

use pyo3::prelude::pymodule;

/// The native half of famfs. Internal: use the names in `famfs`.
#[pymodule(gil_used = false)]
mod _native {
    #[pymodule_export]
    use super::buffer::Buffer;
    #[pymodule_export]
    use super::build::{Building, Memory, create_array, create_table};
    #[pymodule_export]
    use super::dataset::{Batch, File, Taken, open, open_ref, take};
    #[pymodule_export]
    use super::publish::{publish_array, publish_bytes, publish_table};
    #[pymodule_export]
    use super::reference::{Ref, locate, restore_ref};
    #[pymodule_export]
    use super::tensors::publish_tensors;
    #[pymodule_export]
    use super::testing::copy_limit;
    #[pymodule_export]
    use super::transaction::Transaction;
    #[pymodule_export]
    use super::values::ColumnBytes;
    #[pymodule_export]
    use super::volume::{
        check_size, df, embedded_mount, entry, find_mount, ls, mkdir, mkfs, mount, mounts_list,
        parse_size, remove, umount, versions,
    };
    #[pymodule_export]
    use super::watch::Watcher;

    use pyo3::prelude::*;
    use std::ffi::OsString;

    /// Runs the command line; arguments begin with the program's name. The exit code comes back.
    #[pyfunction]
    fn run_cli(py: Python<'_>, args: Vec<OsString>) -> i32 {
        py.detach(|| famfs_cli::run(args))
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        famfs::mem::prepare();
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
