//! What files are, for listings: kind, rows and columns, without opening their values.

use famfs::mounts::Mount;
use famfs::{Stat, Volume};

use crate::error::DataError;
use crate::kind::Kind;
use crate::open::{Content, Dataset};

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

/// Tells what a file is. One that is broken is bytes.
///
/// # Errors
/// Those of [`Volume::view`], and where its memory is lost.
pub fn summary(mount: &Mount, volume: &Volume, file: Stat) -> Result<Summary, DataError> {
    let bytes = Summary {
        kind: Kind::Bytes,
        rows: None,
        columns: None,
    };
    let dataset = match Dataset::of(mount, volume, file) {
        Ok(dataset) => dataset,
        Err(error) if error.is_about_content() => return Ok(bytes),
        Err(error) => return Err(error),
    };
    let columns = match dataset.content() {
        Content::Table(table) => Some(table.num_columns() as u64),
        _ => None,
    };
    match dataset.num_rows() {
        Ok(rows) => Ok(Summary {
            kind: dataset.kind(),
            rows,
            columns,
        }),
        Err(error) if error.is_about_content() => Ok(bytes),
        Err(error) => Err(error),
    }
}
