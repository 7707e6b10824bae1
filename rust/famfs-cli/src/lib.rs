//! The famfs command line, as a library: the `famfs` program and the Python package's command are
//! this one code.
//!
//! Owns what is parsed, printed and returned to the shell. What is done to a volume is done by
//! [`famfs`]; nothing here knows the bytes of the format or maps memory.
#![forbid(unsafe_code)]

mod args;
mod cmd;
mod error;
mod output;
pub mod picture;
mod progress;
pub mod size;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;

use clap::Parser;

use crate::args::Cli;
use crate::output::Output;

/// Exit code of a wrong command line.
const USAGE: i32 = 2;

/// The same for fsck and dump, whose exit codes are those of fsck(8).
const FSCK_USAGE: i32 = 16;

/// Runs a command and returns the exit code for the shell. `args` begins with the program's name.
///
/// ```
/// let arguments = ["famfs", "completions", "no-such-shell"];
/// assert_eq!(famfs_cli::run(arguments.map(Into::into)), 2);
/// ```
pub fn run(args: impl IntoIterator<Item = OsString>) -> i32 {
    open_standard();
    let args = normalize(args.into_iter().collect());
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, &args),
    };
    let mut output = Output::new();
    let judges = cli.verb.is_judge();
    let result = cmd::run(cli.verb, &mut output).and_then(|code| {
        output.flush()?;
        Ok(code)
    });
    match result {
        Ok(code) => code,
        // Who reads the output has seen enough.
        Err(error) if output::is_broken_pipe(&error) => 0,
        Err(error) => {
            complain(&format!("famfs: {}", error::tell(&error)));
            error::exit(&error, judges)
        }
    }
}

/// The program's other name made the command that it stands for.
fn normalize(mut args: Vec<OsString>) -> Vec<OsString> {
    let is_mkfs = args
        .first()
        .and_then(|name| Path::new(name).file_name())
        .is_some_and(|name| name == OsStr::new("mkfs.famfs"));
    if is_mkfs {
        // Usage is told as that of the command, and a version is the program's.
        args[0] = "famfs".into();
        if !args
            .get(1)
            .is_some_and(|arg| arg == "--version" || arg == "-V")
        {
            args.insert(1, "mkfs".into());
        }
    }
    args
}

/// What clap has to say: help on standard output, or what is wrong with the command line.
fn refuse(error: &clap::Error, args: &[OsString]) -> i32 {
    // Where nobody reads it, the exit code still says it.
    let _ = error.print();
    if !error.use_stderr() {
        return 0;
    }
    let verb = args.iter().skip(1).find(|arg| !starts_with_dash(arg));
    let judges = verb.is_some_and(|verb| verb == "fsck" || verb == "dump");
    if judges { FSCK_USAGE } else { USAGE }
}

fn starts_with_dash(arg: &OsStr) -> bool {
    arg.as_encoded_bytes().first() == Some(&b'-')
}

/// Gives each standard stream that the caller has closed a place to go.
///
/// Otherwise the next file to be opened, a volume perhaps, gets its number, and what is printed is
/// written into it.
fn open_standard() {
    use std::fs::OpenOptions;
    use std::os::fd::{AsRawFd, IntoRawFd};
    while let Ok(file) = OpenOptions::new().read(true).write(true).open("/dev/null") {
        if file.as_raw_fd() > 2 {
            break;
        }
        // Kept open: it is the standard stream now.
        let _ = file.into_raw_fd();
    }
}

/// A line to standard error: what a terminal should not see, in the name of a file perhaps, is
/// escaped.
fn complain(line: &str) {
    let line = line.chars().fold(String::new(), |mut line, c| {
        if c.is_control() && c != '\n' {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
        line
    });
    // There is nowhere else to say that it can't be said.
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(args: &[&str]) -> Vec<OsString> {
        args.iter().map(Into::into).collect()
    }

    #[test]
    fn the_other_name_is_a_command() {
        let args = normalize(strings(&["/usr/sbin/mkfs.famfs", "/dev/dax0.0"]));
        assert_eq!(args, strings(&["famfs", "mkfs", "/dev/dax0.0"]));
        let args = normalize(strings(&["mkfs.famfs", "--version"]));
        assert_eq!(args, strings(&["famfs", "--version"]));
        assert_eq!(normalize(strings(&["famfs", "ls"])).len(), 2);
        assert!(normalize(Vec::new()).is_empty());
    }

    #[test]
    fn a_wrong_command_line_has_the_exit_code_of_its_command() {
        assert_eq!(run(strings(&["famfs", "ls", "--no-such-option"])), 2);
        assert_eq!(run(strings(&["famfs", "fsck", "--no-such-option"])), 16);
        assert_eq!(run(strings(&["famfs", "dump"])), 16);
        assert_eq!(run(strings(&["famfs"])), 2);
    }
}
