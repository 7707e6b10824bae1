//! What can go wrong with a dataset, in one type.

use arrow_schema::ArrowError;
use famfs::{Face, mem};
use std::error::Error;

/// Why bytes could not be put where they belong.
#[derive(Debug, thiserror::Error)]
#[error("{len} bytes at offset {at} could not be written")]
pub struct PlaceError {
    at: u64,
    len: u64,
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

impl PlaceError {
    /// Says that `len` bytes at offset `at` of the file could not be written, and why.
    pub fn new(at: u64, len: u64, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            at,
            len,
            source: source.into(),
        }
    }
}

/// Why bytes could not be copied out of a file.
#[derive(Debug, thiserror::Error)]
#[error("{len} bytes at offset {at} could not be read")]
pub struct PeekError {
    at: u64,
    len: u64,
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

impl PeekError {
    /// Says that `len` bytes at offset `at` of the file could not be read, and why.
    pub fn new(at: u64, len: u64, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            at,
            len,
            source: source.into(),
        }
    }
}

/// Everything that can go wrong with a dataset.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file's bytes are not what its format says they are.
    #[error("{part}: {detail}")]
    Corrupt {
        /// The part of the file that was judged.
        part: &'static str,
        /// What was expected, and what was found.
        detail: String,
    },
    /// The file or the object is well formed, but uses something that can't be mapped or written.
    #[error("{what} is not supported{}{hint}", if hint.is_empty() { "" } else { ": " })]
    Unsupported {
        /// What was met.
        what: String,
        /// What to do instead; may be empty.
        hint: &'static str,
    },
    /// A column of a table is at fault.
    #[error("column {index} of batch {batch}")]
    Column {
        /// Which record batch, from 0.
        batch: usize,
        /// Which column, from 0.
        index: usize,
        /// What is wrong with it.
        #[source]
        source: Box<DataError>,
    },
    /// There is no such batch, column or row.
    #[error("{what} {index} is out of range, there are {count}")]
    OutOfRange {
        /// What was asked for.
        what: &'static str,
        /// Its index.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A batch's columns are not those of the schema.
    #[error("batch {batch} has schema {found}, expected {expected}")]
    SchemaMismatch {
        /// Which of the batches, from 0.
        batch: usize,
        /// The table's schema.
        expected: String,
        /// The batch's schema.
        found: String,
    },
    /// A dictionary has more values than its index type can count.
    #[error(
        "field {field} has {values} dictionary values over all batches, more than its index type \
         {index_type} can hold: cast it to a wider one"
    )]
    DictionaryTooLarge {
        /// The field's name.
        field: String,
        /// How many distinct values there are.
        values: usize,
        /// The type of its indices.
        index_type: String,
    },
    /// Something is larger than the format can say.
    #[error("{what} takes {found}, the format allows {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        found: u64,
        /// The largest size allowed.
        limit: u64,
    },
    /// The arrow library refused what a file says.
    #[error("arrow refused: {0}")]
    Arrow(#[source] ArrowError),
    /// The arrow library refused what was to be published.
    #[error("no table can be made of it: {error}{}{hint}", if hint.is_empty() { "" } else { ": " })]
    Refused {
        /// What it says.
        error: ArrowError,
        /// What to do; may be empty.
        hint: &'static str,
    },
    /// A file is at fault.
    #[error("{path}{}", advice(source))]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        #[source]
        source: Box<DataError>,
    },
    /// Text that is no reference.
    #[error("{text}: not a reference to a dataset: {why}")]
    Reference {
        /// The text.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// Who was told of the progress stopped it.
    #[error("stopped while it was written; nothing was published")]
    Stopped,
    /// The volume is at fault.
    #[error(transparent)]
    Volume(#[from] famfs::Error),
    /// Bytes could not be written.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// Bytes could not be read.
    #[error(transparent)]
    Peek(#[from] PeekError),
}

/// What to do about a file that is not what it says.
fn advice(error: &DataError) -> &'static str {
    match error {
        DataError::Corrupt { .. } => " (`famfs cat` gives its bytes as they are)",
        _ => "",
    }
}

impl DataError {
    pub(crate) fn corrupt(part: &'static str, detail: impl Into<String>) -> Self {
        Self::Corrupt {
            part,
            detail: detail.into(),
        }
    }

    pub(crate) fn refused(error: ArrowError) -> Self {
        Self::Refused { error, hint: "" }
    }

    pub(crate) fn unsupported(what: impl Into<String>, hint: &'static str) -> Self {
        Self::Unsupported {
            what: what.into(),
            hint,
        }
    }

    /// How it looks elsewhere: errno, exit code, Python class.
    #[must_use]
    pub fn face(&self) -> Face {
        let face = |errno, python| Face {
            errno,
            exit: 1,
            python,
        };
        match self {
            Self::Corrupt { .. } | Self::Arrow(_) => face(libc::EUCLEAN, "Corrupt"),
            Self::Unsupported { .. }
            | Self::Refused { .. }
            | Self::SchemaMismatch { .. }
            | Self::DictionaryTooLarge { .. }
            | Self::TooLarge { .. } => face(libc::EOPNOTSUPP, "Unsupported"),
            Self::Column { source, .. } | Self::File { source, .. } => source.face(),
            Self::OutOfRange { .. } | Self::Stopped => face(libc::EINVAL, "FamfsError"),
            Self::Reference { .. } => face(libc::EINVAL, "InvalidPath"),
            Self::Volume(error) => error.face(),
            Self::Place(PlaceError { source, .. }) => match source.downcast_ref() {
                Some(error) => famfs::Error::face(error),
                None => face(libc::EIO, "FamfsError"),
            },
            Self::Peek(PeekError { source, .. }) => {
                if let Some(error) = source.downcast_ref::<famfs::Error>() {
                    error.face()
                } else if source.is::<mem::Fault>() {
                    face(libc::EIO, "MemoryFault")
                } else {
                    face(libc::EUCLEAN, "Corrupt")
                }
            }
        }
    }

    /// The message with those of all causes, each once.
    #[must_use]
    pub fn message(&self) -> String {
        let mut message = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = error.source();
        }
        // Other libraries' words may end in a full stop; ours, which may follow, don't.
        message.truncate(message.trim_end_matches('.').len());
        message
    }

    /// Whether a file's content is at fault, rather than its memory or volume.
    pub(crate) fn is_about_content(&self) -> bool {
        matches!(self.face().python, "Corrupt" | "Unsupported") && !matches!(self, Self::Volume(_))
    }

    /// Says which column of a caller's table can't be taken.
    pub(crate) fn of_column(self, name: &str) -> Self {
        match self {
            Self::Unsupported { what, hint } => Self::Unsupported {
                what: format!("column {name:?}: {what}"),
                hint,
            },
            other => other,
        }
    }

    pub(crate) fn in_column(self, batch: usize, index: usize) -> Self {
        Self::Column {
            batch,
            index,
            source: Box::new(self),
        }
    }
}
