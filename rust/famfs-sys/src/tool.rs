//! Other programs: where they are, and what they said last.

use std::env;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where root's programs are, which are on few users' paths.
const ROOTS_OWN: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// The program of a name, or at a path.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let is_program = |path: &Path| {
        path.metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| is_program(path));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(ROOTS_OWN.map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|path| is_program(path))
}

/// The last lines of what a program printed, but for empty ones.
pub(crate) fn last_lines(printed: &[u8], count: usize) -> String {
    let text = String::from_utf8_lossy(printed);
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_and_other_files_are_not() {
        assert!(find("sh").is_some());
        assert!(find("/bin/sh").is_some());
        assert!(find("/etc/passwd").is_none());
        assert!(find("no-such-program").is_none());
    }

    #[test]
    fn the_last_lines_tell_most() {
        assert_eq!(last_lines(b"a\nb\n\nc\n\n", 2), "b\nc");
        assert_eq!(last_lines(b"", 2), "");
    }
}
