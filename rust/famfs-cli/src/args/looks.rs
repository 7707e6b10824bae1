//! Options of the commands that look at names: what is there, and what comes.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::size;

/// Options of `ls`.
#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Directory, or a file; by default the current directory
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
    /// Show mode, owner, kind, rows, columns, size and the slot of the log
    #[arg(short)]
    pub(crate) long: bool,
    /// List directories below too
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `stat`.
#[derive(Debug, Args)]
pub(crate) struct Stat {
    /// File or directory
    pub(crate) path: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `show`.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// File
    pub(crate) path: PathBuf,
    /// Rows of a table, or items of an array, to print
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    pub(crate) rows: u64,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `wait`.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// The name
    pub(crate) path: PathBuf,
    /// Give up after so many seconds, with exit code 1
    #[arg(short, long, value_name = "SECONDS", value_parser = size::parse_seconds)]
    pub(crate) timeout: Option<Duration>,
    /// Print what came as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `watch`.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// A directory, or a name; it need not be there yet
    pub(crate) path: PathBuf,
    /// End when nothing happened for so many seconds
    #[arg(short, long, value_name = "SECONDS", value_parser = size::parse_seconds)]
    pub(crate) timeout: Option<Duration>,
    /// Print first what is there already, as published
    #[arg(long)]
    pub(crate) existing: bool,
    /// Print JSON, a line for each event
    #[arg(long)]
    pub(crate) json: bool,
}
