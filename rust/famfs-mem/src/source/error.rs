//! How opening and using a source fails.

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::memory::Fault;

/// Why a backing file or device cannot be used as asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SourceError {
    /// It cannot be opened, or made.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is neither a file nor a device that holds memory.
    #[error("{} is {what}; expected a file, a dax device or a block device", path.display())]
    NotMemory {
        /// Its path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// There is not enough space for a file.
    #[error("no space for {len} bytes in {}", path.display())]
    NoSpace {
        /// Its path.
        path: PathBuf,
        /// How much was asked for.
        len: u64,
    },
    /// This kind of source, or the file system it is on, cannot do that.
    #[error("cannot {action} {}: not supported there", path.display())]
    Unsupported {
        /// Its path.
        path: PathBuf,
        /// What was asked for.
        action: &'static str,
    },
    /// It was opened to be read only.
    #[error("{} was opened read-only", path.display())]
    ReadOnly {
        /// Its path.
        path: PathBuf,
    },
    /// The range does not lie in it.
    #[error("range of {len} bytes at {at:#x} is outside of {}, which has {size} bytes", path.display())]
    OutOfRange {
        /// Its path.
        path: PathBuf,
        /// Where the range begins.
        at: u64,
        /// How long it is.
        len: u64,
        /// The size of the source.
        size: u64,
    },
    /// The system failed to do that.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// Its path.
        path: PathBuf,
        /// What was asked for.
        action: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Its memory failed.
    #[error("cannot access {}: {source}", path.display())]
    Fault {
        /// Its path.
        path: PathBuf,
        /// How it failed.
        source: Fault,
    },
}
