//! Standard output: lines, tables and JSON.
//!
//! Owns that a reader who goes away ends a command quietly, and how paths that are no text are
//! shown.

use std::fmt::{self, Write as _};
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use famfs::core::replay::Usage;
use serde::Serialize;

/// Standard output, buffered.
#[derive(Debug)]
pub(crate) struct Output {
    writer: BufWriter<StdoutLock<'static>>,
}

/// Standard output could not be written to.
#[derive(Debug, thiserror::Error)]
#[error("standard output: {0}")]
struct OutputError(#[source] io::Error);

/// Whether a command ended because nobody reads its output any more.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<OutputError>()
        .is_some_and(|error| error.0.kind() == io::ErrorKind::BrokenPipe)
}

impl Output {
    pub(crate) fn new() -> Self {
        Self {
            writer: BufWriter::with_capacity(64 << 10, io::stdout().lock()),
        }
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.writer.write_all(bytes).map_err(OutputError)?)
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, line: impl fmt::Display) -> Result<()> {
        Ok(writeln!(self.writer, "{line}").map_err(OutputError)?)
    }

    /// Writes a value as JSON, and a line's end.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<()> {
        let written = serde_json::to_writer_pretty(&mut self.writer, value);
        written.map_err(|error| OutputError(error.into()))?;
        self.line("")
    }

    /// Writes columns without lines between them. Those numbered in `right` are numbers.
    pub(crate) fn table(
        &mut self,
        head: &[&str],
        right: &[usize],
        rows: Vec<Vec<String>>,
    ) -> Result<()> {
        let lines = in_columns(head, right, rows);
        lines.iter().try_for_each(|line| self.line(line))
    }

    /// Hands everything to the reader.
    pub(crate) fn flush(&mut self) -> Result<()> {
        Ok(self.writer.flush().map_err(OutputError)?)
    }
}

/// Lines of a table: columns without lines between them. Those numbered in `right` are numbers.
pub(crate) fn in_columns(head: &[&str], right: &[usize], rows: Vec<Vec<String>>) -> Vec<String> {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    if !head.is_empty() {
        table.set_header(head);
    }
    table.add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect()
}

/// What space is used for, in JSON.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct UsageReport {
    pub(crate) capacity: u64,
    pub(crate) allocated: u64,
    pub(crate) dead: u64,
    pub(crate) free: u64,
}

impl From<Usage> for UsageReport {
    fn from(usage: Usage) -> Self {
        Self {
            capacity: usage.capacity,
            allocated: usage.allocated,
            dead: usage.dead,
            free: usage.free,
        }
    }
}

/// A path of a volume in JSON: text, and where it is none also its bytes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct JsonPath {
    pub(crate) path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path_hex: Option<String>,
}

impl JsonPath {
    pub(crate) fn new(path: &[u8]) -> Self {
        match std::str::from_utf8(path) {
            Ok(text) => Self {
                path: text.to_owned(),
                path_hex: None,
            },
            Err(_) => Self {
                path: path.escape_ascii().to_string(),
                path_hex: Some(hex(path)),
            },
        }
    }
}

/// How wide what is drawn may be: the terminal's width, or what COLUMNS says, or 80.
pub(crate) fn columns() -> usize {
    let said = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok());
    let found = || {
        let (columns, _) = crossterm::terminal::size().ok()?;
        io::stdout().is_terminal().then_some(usize::from(columns))
    };
    said.or_else(found)
        .filter(|columns| *columns > 0)
        .unwrap_or(80)
}

/// Bytes as digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string can't fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A path of a volume for people: bytes that a terminal should not see are escaped.
pub(crate) fn show_path(path: &[u8]) -> String {
    match std::str::from_utf8(path) {
        Ok(text) if !text.contains(char::is_control) => text.to_owned(),
        _ => path.escape_ascii().to_string(),
    }
}

/// A path of the host, as [`show_path`] shows one of a volume.
pub(crate) fn show_host(path: &Path) -> String {
    show_path(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_are_no_text_keep_their_bytes() {
        let json = |path: &[u8]| serde_json::to_string(&JsonPath::new(path)).unwrap();
        assert_eq!(json(b"a/b"), r#"{"path":"a/b"}"#);
        assert_eq!(json(b"a\xff"), r#"{"path":"a\\xff","path_hex":"61ff"}"#);
        assert_eq!(json(b"a\n"), r#"{"path":"a\n"}"#);
        assert_eq!(show_path(b"a\n\xc3\xa4"), "a\\n\\xc3\\xa4");
        assert_eq!(show_path("\u{e4}".as_bytes()), "\u{e4}");
    }
}
