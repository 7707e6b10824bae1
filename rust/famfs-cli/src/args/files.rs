//! Options of the commands that make, copy, print and take away files and directories.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use crate::size;

/// Who owns what is made.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Ownership {
    /// Permission bits in octal; by default 0666 (0777 for directories) without the umask
    #[arg(short, long, value_parser = size::parse_mode)]
    pub(crate) mode: Option<u32>,
    /// Owner; by default the caller
    #[arg(short, long)]
    pub(crate) uid: Option<u32>,
    /// Group; by default the caller's
    #[arg(short, long)]
    pub(crate) gid: Option<u32>,
}

/// How files are laid out.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Interleave {
    /// Stripe over this many strips, each in another bucket of the device
    #[arg(short = 'N', long, requires = "nbuckets", requires = "chunksize")]
    pub(crate) nstrips: Option<usize>,
    /// Equal buckets that the device is cut into, 64 at most
    #[arg(short = 'B', long, requires = "nstrips")]
    pub(crate) nbuckets: Option<u64>,
    /// Bytes of a chunk: a power of two and a multiple of 2M
    #[arg(short = 'C', long, value_name = "SIZE", requires = "nstrips", value_parser = size::parse)]
    pub(crate) chunksize: Option<u64>,
}

/// Options of `creat`.
#[derive(Debug, Args)]
pub(crate) struct Creat {
    /// File to make
    #[arg(required_unless_present = "multi", conflicts_with = "multi")]
    pub(crate) file: Option<PathBuf>,
    /// Its size
    #[arg(short, long, required_unless_present = "multi", conflicts_with = "multi",
          value_parser = size::parse)]
    pub(crate) size: Option<u64>,
    /// Fill it with seeded content; without --seed the seed is chosen and printed
    #[arg(short, long, conflicts_with = "multi")]
    pub(crate) randomize: bool,
    /// Fill it with the content of this seed; 0 means zeros
    #[arg(short = 'S', long, conflicts_with = "multi")]
    pub(crate) seed: Option<u32>,
    /// Make several files in one step, all or none: NAME,SIZE or NAME,SIZE,SEED
    #[arg(long, value_name = "NAME,SIZE[,SEED]")]
    pub(crate) multi: Vec<OsString>,
    #[command(flatten)]
    pub(crate) ownership: Ownership,
    #[command(flatten)]
    pub(crate) interleave: Interleave,
    /// Take the place of a file that is there; its readers keep it
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// Options of `cp`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "options are on or off")]
pub(crate) struct Cp {
    /// Files to copy
    #[arg(value_name = "SRC", required = true)]
    pub(crate) sources: Vec<PathBuf>,
    /// Where to: a name, or a directory that is there
    #[arg(value_name = "DST")]
    pub(crate) target: PathBuf,
    /// Copy directories and what is in them
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// Threads that read and write a large file; by default one per processor, 8 at most
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) threads: Option<u16>,
    #[command(flatten)]
    pub(crate) ownership: Ownership,
    #[command(flatten)]
    pub(crate) interleave: Interleave,
    /// Take the place of files that are there; in a volume their readers keep them
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Show no progress bar
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Print what was copied as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `mkdir`.
#[derive(Debug, Args)]
pub(crate) struct Mkdir {
    /// Directories to make
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Make what is missing on the way too; a directory that is there is fine
    #[arg(short, long)]
    pub(crate) parents: bool,
    #[command(flatten)]
    pub(crate) ownership: Ownership,
}

/// Options of `rm`.
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Files and empty directories to remove
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Remove directories with all that is in them
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// What isn't there is fine
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// Options of `cat`.
#[derive(Debug, Args)]
pub(crate) struct Cat {
    /// Files to print
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
}

/// Options of `versions`.
#[derive(Debug, Args)]
pub(crate) struct Versions {
    /// File
    pub(crate) path: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
