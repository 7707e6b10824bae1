//! `dump`: all that a volume's log says, for programs.

use anyhow::Result;

use super::report::{Report, exit};
use super::source_of;
use crate::args::Dump;
use crate::output::Output;

pub(super) fn run(args: &Dump, output: &mut Output) -> Result<i32> {
    let (report, verdict) = Report::of(&source_of(&args.place)?)?;
    output.json(&report)?;
    Ok(exit(verdict))
}
