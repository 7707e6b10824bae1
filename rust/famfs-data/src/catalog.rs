//! What files are, for listings: kind, rows and columns, told by a few lines of the file.

use std::sync::Arc;

use famfs::{FileReader, Stat, Volume};

use crate::arrow::ArrowMetadata;
use crate::error::{DataError, PeekError};
use crate::kind::Kind;
use crate::npy::Npy;
use crate::place::Peek;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its kind.
    pub kind: Kind,
    /// Rows of a table, or the length of an array's first axis.
    pub rows: Option<u64>,
    /// Columns of a table.
    pub columns: Option<u64>,
}

impl Peek for FileReader {
    fn len(&self) -> u64 {
        self.size()
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), PeekError> {
        let len = into.len() as u64;
        FileReader::read(self, at, into).map_err(|error| PeekError::new(at, len, error))
    }
}

/// Tells what a file is, by its head, its footer and the headers of its batches.
///
/// The first bytes alone decide the kind, as they do when it is opened. Of a file that isn't what
/// they say, rows and columns can't be told.
///
/// # Errors
/// Those of [`Volume::reader`], and where its memory is lost.
pub fn summary(volume: &Volume, file: &Stat) -> Result<Summary, DataError> {
    let reader = volume.reader(file)?;
    let mut head = [0; Kind::PREFIX];
    let len = usize::try_from(reader.size()).map_or(Kind::PREFIX, |size| size.min(Kind::PREFIX));
    Peek::read(&reader, 0, &mut head[..len])?;
    let kind = Kind::of(&head[..len], reader.size());
    let (rows, columns) = match lengths(kind, reader) {
        Err(error) if error.is_about_content() => (None, None),
        lengths => lengths?,
    };
    Ok(Summary {
        kind,
        rows,
        columns,
    })
}

/// Rows of a table or array, and columns of a table.
fn lengths(kind: Kind, reader: FileReader) -> Result<(Option<u64>, Option<u64>), DataError> {
    Ok(match kind {
        Kind::Table => {
            let table = ArrowMetadata::open(Arc::new(reader))?;
            (Some(table.num_rows()?), Some(table.num_columns()? as u64))
        }
        Kind::Array => (Npy::open(&reader)?.shape().first().copied(), None),
        _ => (None, None),
    })
}
