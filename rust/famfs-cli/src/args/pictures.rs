//! Options of the commands that draw: a device, and what goes on in volumes.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::size;

/// Options of `map`.
#[derive(Debug, Args)]
pub(crate) struct DeviceMap {
    /// Device, backing file or mount point; of a file in a volume, that file is pointed out
    #[arg(value_name = "DEV|MNT")]
    pub(crate) place: PathBuf,
    /// Draw it as SVG into this file; - is standard output
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub(crate) svg: Option<PathBuf>,
    /// Print all ranges of the device as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `top`.
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Mount points; by default all mounts
    #[arg(value_name = "MNT")]
    pub(crate) mountpoints: Vec<PathBuf>,
    /// Seconds between two looks
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = size::parse_seconds)]
    pub(crate) interval: Duration,
    /// Look twice, one interval apart, print what was seen and end
    #[arg(long)]
    pub(crate) once: bool,
    /// Print JSON, a line for each look, until interrupted
    #[arg(long)]
    pub(crate) json: bool,
}
