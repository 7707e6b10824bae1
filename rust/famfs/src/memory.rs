//! How much memory this host can give.
//!
//! Owns the answer to whether a backing file in memory can be had: taking it and finding out would
//! be too late, since the kernel ends processes when memory runs out, and not the request.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};

/// What `statfs` says of file systems whose files are memory.
const TMPFS_MAGIC: i64 = 0x0102_1994;
const RAMFS_MAGIC: i64 = 0x8584_58f6;

/// Bytes that stay free, for the processes that use the volume: a sixteenth of what there is.
const RESERVE: u64 = 16;

/// Bytes that can be taken now, with a container's limit where that is lower.
pub(crate) fn available() -> u64 {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let host = info.lines().find_map(|line| {
        let kib: u64 = line
            .strip_prefix("MemAvailable:")?
            .split_whitespace()
            .next()?
            .parse()
            .ok()?;
        Some(kib * 1024)
    });
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(format!("/sys/fs/cgroup/{name}"))
            .ok()?
            .trim()
            .parse()
            .ok()
    };
    let limit = number("memory.max").map(|most| {
        let used = number("memory.current").unwrap_or(0);
        most.saturating_sub(used)
    });
    host.unwrap_or(u64::MAX).min(limit.unwrap_or(u64::MAX))
}

/// Refuses to take `len` bytes for a file at `path` where its files are memory and there is less.
///
/// # Errors
/// [`Error::HostFull`].
pub(crate) fn check(path: &Path, len: u64) -> Result<()> {
    let dir = if path.exists() {
        Some(path)
    } else {
        path.parent()
    };
    let dir = dir
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let Ok(facts) = rustix::fs::statfs(dir) else {
        return Ok(());
    };
    #[allow(
        clippy::unnecessary_cast,
        reason = "the type differs between C libraries"
    )]
    let kind = facts.f_type as i64;
    if kind != TMPFS_MAGIC && kind != RAMFS_MAGIC {
        return Ok(());
    }
    let available = available();
    if len > available - available / RESERVE {
        return Err(Error::HostFull {
            path: path.to_owned(),
            len: Some(len),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_memory_than_there_is_is_refused_before_it_is_taken() {
        assert!(available() > 1 << 20);
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = dir.path().join("volume");
        check(&path, 4096).unwrap();
        assert!(matches!(check(&path, 1 << 48), Err(Error::HostFull { .. })));
        assert!(matches!(
            check(dir.path(), 1 << 48),
            Err(Error::HostFull { .. })
        ));
        // Where files are on disk, the file system itself says whether there is room.
        check(Path::new("/proc/self/none"), 1 << 48).unwrap();
    }
}
