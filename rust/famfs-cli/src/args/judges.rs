//! Options of the commands that compare, judge and follow what is there.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

/// Options of `verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Datasets to check: their checksums, where they have one, and their structure
    #[arg(value_name = "FILE", required_unless_present_any = ["seed", "multi"])]
    pub(crate) datasets: Vec<PathBuf>,
    /// The seed that the content was made with
    #[arg(short = 'S', long, requires = "filename")]
    pub(crate) seed: Option<u32>,
    /// The file
    #[arg(short, long, value_name = "FILE", requires = "seed")]
    pub(crate) filename: Option<PathBuf>,
    /// A file and its seed, as often as there are files
    #[arg(long, value_name = "FILE,SEED")]
    pub(crate) multi: Vec<OsString>,
    /// Print nothing where all is well
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Options of `flush`.
#[derive(Debug, Args)]
pub(crate) struct Flush {
    /// Files to flush
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

/// Options of `getmap`.
#[derive(Debug, Args)]
pub(crate) struct Getmap {
    /// File
    pub(crate) file: PathBuf,
    /// Print nothing; exit code 0: mapped; 1: no file of a volume; 2: not mapped
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `chkread`.
#[derive(Debug, Args)]
pub(crate) struct Chkread {
    /// File; with -s or -l the mount point
    #[arg(value_name = "FILE|MNT")]
    pub(crate) path: PathBuf,
    /// Compare the superblock
    #[arg(short, long)]
    pub(crate) superblock: bool,
    /// Compare the log
    #[arg(short, long)]
    pub(crate) log: bool,
}

/// Options of `logplay`.
#[derive(Debug, Args)]
pub(crate) struct Logplay {
    /// Mount point
    #[arg(value_name = "MNT")]
    pub(crate) mountpoint: PathBuf,
    /// Go on: play what any host appends, until the mount is gone (under a kernel mount)
    #[arg(long)]
    pub(crate) follow: bool,
    /// With --follow: milliseconds between two looks at the log
    #[arg(long, value_name = "MS", default_value_t = 100, requires = "follow")]
    pub(crate) interval: u64,
    /// Print JSON; with --follow, a line for each play
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `fsck`.
#[derive(Debug, Args)]
pub(crate) struct Fsck {
    /// Device, backing file or mount point
    #[arg(value_name = "DEV|MNT")]
    pub(crate) place: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Mend what can be mended
    #[arg(long)]
    pub(crate) repair: bool,
}

/// Options of `check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Mount point
    #[arg(value_name = "MNT")]
    pub(crate) mountpoint: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `dump`.
#[derive(Debug, Args)]
pub(crate) struct Dump {
    /// Device, backing file or mount point
    #[arg(value_name = "DEV|MNT")]
    pub(crate) place: PathBuf,
    /// Print JSON, as it does anyway
    #[arg(long)]
    pub(crate) json: bool,
}
