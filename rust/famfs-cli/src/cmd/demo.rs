//! `demo`: handed to the Python package, which has the frames that it is about.
//!
//! Owns how the package is found. In the wheel's own command the demonstration runs at once, and
//! nothing comes here.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::args::Demo;
use crate::error::Error;

const PYTHON: &str = "python3";

pub(super) fn run(args: &Demo) -> Result<i32> {
    let found = Command::new(PYTHON)
        .args(["-c", "import famfs.demo"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !found.is_ok_and(|status| status.success()) {
        return Err(Error::NoPackage { python: PYTHON }.into());
    }
    // In its place: signals and the exit code are the demonstration's.
    let failed = Command::new(PYTHON)
        .args(["-m", "famfs.demo", "--size", &args.size])
        .exec();
    Err(failed.into())
}
