//! Options of the commands on whole volumes: making, mounting, and how full they are.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use uuid::Uuid;

use crate::size;

/// Options of `demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Size of the private volume
    #[arg(long, default_value = "256MiB")]
    pub(crate) size: String,
}

/// Options of `mkfs`.
#[derive(Debug, Args)]
pub(crate) struct Mkfs {
    /// Device or backing file
    #[arg(value_name = "DEV")]
    pub(crate) device: PathBuf,
    /// Make the backing file, with this size; its space is taken at once
    #[arg(long, value_parser = size::parse)]
    pub(crate) size: Option<u64>,
    /// Size of the log: a power of two from 8M on; 8M holds 15420 entries
    #[arg(long, value_name = "SIZE", value_parser = size::parse, default_value = "8M")]
    pub(crate) log_size: u64,
    /// Leave the backing file's space to be taken as it is used
    #[arg(long)]
    pub(crate) sparse: bool,
    /// Version of the format: 2.2 is the reference's, 2.3 can replace and remove
    #[arg(long, value_name = "VERSION", default_value = "2.3")]
    pub(crate) omf: Omf,
    /// Identity of the host that may publish; by default this one
    #[arg(long, value_name = "UUID")]
    pub(crate) host_uuid: Option<Uuid>,
    /// Make it over a volume that is there; its files are lost
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Print what was made as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A version of the format.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Omf {
    /// The reference's.
    #[value(name = "2.2")]
    V2_2,
    /// With REPLACE and DELETE.
    #[value(name = "2.3")]
    V2_3,
}

/// Options of `mount`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "options are on or off")]
pub(crate) struct Mount {
    /// Device or backing file, and the directory that stands for it; with --embedded the
    /// directory alone
    #[arg(value_names = ["DEV", "MNT"], num_args = 1..=2, required = true)]
    pub(crate) places: Vec<PathBuf>,
    /// Make (once) and mount a volume in this host's memory; MNT is made if it is missing
    #[arg(long, conflicts_with_all = ["library", "kernel", "fuse", "shared", "local"])]
    pub(crate) embedded: bool,
    /// Size of an embedded volume; by default a quarter of the available memory, 4G at most
    #[arg(long, requires = "embedded", value_parser = size::parse)]
    pub(crate) size: Option<u64>,
    /// Mount in the library way: famfs and Python see the files, other programs don't
    #[arg(long, group = "way")]
    pub(crate) library: bool,
    /// Mount with the kernel module
    #[arg(long, group = "way")]
    pub(crate) kernel: bool,
    /// With --kernel: physical memory that nobody else owns, START+SIZE in bytes, where the kernel
    /// has no device that it can hand out; DEV is only a name then, such as `none`
    #[arg(long, value_name = "START+SIZE", conflicts_with_all = ["library", "fuse", "embedded"])]
    pub(crate) range: Option<String>,
    /// With --kernel: stay, and play what any host appends, until the mount is gone
    #[arg(long, conflicts_with_all = ["library", "fuse", "embedded"])]
    pub(crate) follow: bool,
    /// Mount through FUSE
    #[arg(long, group = "way")]
    pub(crate) fuse: bool,
    /// Several hosts see the volume: the default for devices
    #[arg(long, conflicts_with = "local")]
    pub(crate) shared: bool,
    /// This host alone sees the volume: the default for backing files
    #[arg(long)]
    pub(crate) local: bool,
    /// Print the mount as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `umount`.
#[derive(Debug, Args)]
pub(crate) struct Umount {
    /// Mount point
    #[arg(value_name = "MNT")]
    pub(crate) mountpoint: PathBuf,
    /// Give an embedded volume's memory back; its files are lost
    #[arg(long)]
    pub(crate) discard: bool,
}

/// Options of `mounts`.
#[derive(Debug, Args)]
pub(crate) struct Mounts {
    /// Open each, and show role, whose caches see it, and how full it is
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `df`.
#[derive(Debug, Args)]
pub(crate) struct Df {
    /// Mount points; by default all
    #[arg(value_name = "MNT")]
    pub(crate) mountpoints: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
