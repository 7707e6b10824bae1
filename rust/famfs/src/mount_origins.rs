//! Mounts that stand in no table of ours: what the environment names, and what the kernel has.
//!
//! Owns how both are read; nothing of it is kept.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::mounts::Mount;

/// `FAMFS_MOUNTS`: `DEV=MNT`, several of them with colons between.
pub(crate) fn from_environment(value: Option<&OsStr>) -> Result<Vec<Mount>> {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Ok(Vec::new());
    };
    value
        .as_bytes()
        .split(|&b| b == b':')
        .map(|pair| {
            let at = pair
                .iter()
                .position(|&b| b == b'=')
                .filter(|&at| at > 0 && at + 1 < pair.len())
                .ok_or_else(|| {
                    Error::Usage(format!(
                        "FAMFS_MOUNTS has {:?}, DEV=MNT was expected",
                        pair.escape_ascii().to_string()
                    ))
                })?;
            let mountpoint = PathBuf::from(OsStr::from_bytes(&pair[at + 1..]));
            Ok(Mount::new(
                PathBuf::from(OsStr::from_bytes(&pair[..at])),
                fs::canonicalize(&mountpoint).unwrap_or(mountpoint),
            ))
        })
        .collect()
}

/// What the kernel has mounted, as this process sees it.
pub(crate) fn from_kernel() -> Vec<Mount> {
    // Asked first, as every path that is resolved asks: most hosts have no module.
    if !famfs_sys::mount::is_available() {
        return Vec::new();
    }
    // Without /proc nothing is known of them, and nothing else would work either.
    let mounted = famfs_sys::mount::list().unwrap_or_default();
    let mount = |found: famfs_sys::mount::KernelMount| Mount {
        kernel: true,
        ..Mount::new(found.source, found.mountpoint)
    };
    mounted.into_iter().map(mount).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_environment_names_pairs() {
        let mounts = from_environment(Some(OsStr::new("/dev/dax0.0=/nowhere/a:/img=/nowhere/b")));
        let mounts = mounts.unwrap();
        assert_eq!(mounts[1].source, Path::new("/img"));
        assert_eq!(mounts[0].mountpoint, Path::new("/nowhere/a"));
        for wrong in ["/dev/dax0.0", "/dev/dax0.0=", "=/mnt"] {
            assert!(
                from_environment(Some(OsStr::new(wrong))).is_err(),
                "{wrong}"
            );
        }
        assert!(from_environment(Some(OsStr::new(""))).unwrap().is_empty());
    }
}
