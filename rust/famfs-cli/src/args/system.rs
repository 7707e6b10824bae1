//! The options of `kmod` and `dax`: what is done to the system and to no volume.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Options of listings that have no others.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Listing {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `kmod`.
#[derive(Debug, Args)]
pub(crate) struct Kmod {
    #[command(subcommand)]
    pub(crate) verb: KmodVerb,
}

/// What is done with the module.
#[derive(Debug, Subcommand)]
pub(crate) enum KmodVerb {
    /// Build it from the sources that come with this program, and put it where modprobe finds it
    Build(KmodBuild),
    /// Load it; one that is loaded already is fine
    Load(KmodLoad),
    /// Say what is loaded and what could be, and what mounts and devices there are
    Status(Listing),
    /// Unload it; nothing may be mounted
    Unload,
}

/// Options of `kmod build`.
#[derive(Debug, Args)]
pub(crate) struct KmodBuild {
    /// The kernel; by default that of the headers, or the running one
    #[arg(long, value_name = "RELEASE")]
    pub(crate) kernel: Option<String>,
    /// Its headers; by default /lib/modules/RELEASE/build
    #[arg(long, value_name = "DIR")]
    pub(crate) headers: Option<PathBuf>,
    /// Put famfs.ko into this folder, and nowhere else; takes no root
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Hand it to DKMS, which builds it again for each new kernel; with --output, write the
    /// sources as DKMS takes them, and build nothing
    #[arg(long)]
    pub(crate) dkms: bool,
    /// Show no progress
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Print what was made as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `kmod load`.
#[derive(Debug, Args)]
pub(crate) struct KmodLoad {
    /// This file, instead of the one that modprobe finds
    #[arg(long, value_name = "PATH")]
    pub(crate) module: Option<PathBuf>,
}

/// Options of `dax`.
#[derive(Debug, Args)]
pub(crate) struct Dax {
    #[command(subcommand)]
    pub(crate) verb: DaxVerb,
}

/// What is done with dax devices.
#[derive(Debug, Subcommand)]
pub(crate) enum DaxVerb {
    /// List them: who drives each, and whether its memory is the system's
    List(Listing),
    /// Let a driver have a device; what was is put back where that fails
    Bind(DaxBind),
    /// Let no driver have a device
    Unbind {
        /// Device, such as /dev/dax0.0 or dax0.0
        #[arg(value_name = "DEV")]
        device: PathBuf,
    },
}

/// Options of `dax bind`.
#[derive(Debug, Args)]
pub(crate) struct DaxBind {
    /// Device, such as /dev/dax0.0 or dax0.0
    #[arg(value_name = "DEV")]
    pub(crate) device: PathBuf,
    /// The driver
    #[arg(value_name = "DRIVER", default_value = "fsdev_dax")]
    pub(crate) driver: DaxDriver,
}

/// A driver that famfs can use.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum DaxDriver {
    /// For the kernel way, from Linux 7.0 on: file systems have the device, programs can't map it
    #[value(name = "fsdev_dax", alias = "fsdev")]
    FsdevDax,
    /// For mkfs and the library way: programs map the device
    #[value(name = "device_dax", alias = "devdax")]
    DeviceDax,
}
