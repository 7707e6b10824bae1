//! `completions` and `man`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};

use crate::args::{Cli, Completions, Man};
use crate::output::Output;

/// Prints a completion script.
pub(super) fn completions(args: &Completions, output: &mut Output) -> Result<i32> {
    // Into memory first: the generator panics where it can't write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "famfs", &mut script);
    output.bytes(&script)?;
    Ok(0)
}

/// Prints the manual page, or writes those of all commands into a directory.
pub(super) fn man(args: &Man, output: &mut Output) -> Result<i32> {
    let mut command = Cli::command();
    command.build();
    if let Some(dir) = &args.dir {
        fs::create_dir_all(dir)
            .with_context(|| format!("{}: make the directory", dir.display()))?;
        write(dir, &command, "famfs", output)?;
        return Ok(0);
    }
    output.bytes(&page(&command, "famfs")?)?;
    Ok(0)
}

fn write(dir: &Path, command: &Command, name: &str, output: &mut Output) -> Result<()> {
    let path = dir.join(format!("{name}.1"));
    fs::write(&path, page(command, name)?)
        .with_context(|| format!("{}: write the page", path.display()))?;
    output.line(path.display())?;
    for below in command.get_subcommands() {
        if below.get_name() != "help" {
            write(dir, below, &format!("{name}-{}", below.get_name()), output)?;
        }
    }
    Ok(())
}

fn page(command: &Command, name: &str) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    let title = name.to_uppercase();
    clap_mangen::Man::new(command.clone())
        .title(title)
        // Pages have no date of their own; left out, the version would stand in its place.
        .date(" ")
        .source(concat!("famfs ", env!("CARGO_PKG_VERSION")))
        .render(&mut page)?;
    Ok(page)
}
