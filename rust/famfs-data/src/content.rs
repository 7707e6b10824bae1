//! What a file's bytes hold: judged when it is opened, verified when somebody asks.

use std::sync::Arc;

use bytes::Bytes;

use crate::arrow::ArrowFile;
use crate::checksum;
use crate::error::DataError;
use crate::kind::Kind;
use crate::npy::Npy;
use crate::place::Peek;

/// What a file holds, its structure judged.
#[derive(Debug)]
#[non_exhaustive]
pub enum Content {
    /// A table.
    Table(Box<ArrowFile>),
    /// An array.
    Array(Npy),
    /// Bytes, of whatever kind.
    Bytes,
}

impl Content {
    /// Judges the structure of a file whose first bytes say that it is of this kind: `peek` copies
    /// out what is judged, `body` is all of it, in place.
    ///
    /// # Errors
    /// Where the file is not what its first bytes say, or uses what can't be mapped.
    pub fn open(kind: Kind, peek: Arc<dyn Peek>, body: Bytes) -> Result<Self, DataError> {
        Ok(match kind {
            Kind::Table => Self::Table(Box::new(ArrowFile::open(peek, body)?)),
            Kind::Array => Self::Array(Npy::open(peek.as_ref())?),
            _ => Self::Bytes,
        })
    }

    /// Checks everything that can be told without knowing what was published: the checksum, if there
    /// is one, all structure, and the UTF-8 of all strings. Whether there is one comes back.
    ///
    /// # Errors
    /// What is wrong first.
    pub fn verify(&self, peek: &dyn Peek) -> Result<bool, DataError> {
        match self {
            // The structure first: what is wrong with it says more than a checksum.
            Self::Table(table) => table.verify().and_then(|()| table.metadata().check_sum()),
            Self::Array(array) => check_array(array, peek),
            Self::Bytes => Ok(false),
        }
    }
}

fn check_array(array: &Npy, peek: &dyn Peek) -> Result<bool, DataError> {
    let end = array.data_at().saturating_add(array.nbytes());
    let last = peek.len().saturating_sub(checksum::TRAILER);
    let Some(sum) = checksum::of_trailer(peek, last)? else {
        return Ok(false);
    };
    if last != end {
        let detail = format!("its data end at {end}, and its checksum stands at {last}");
        return Err(DataError::corrupt("npy header", detail));
    }
    checksum::check(peek, end, None, sum)?;
    Ok(true)
}
