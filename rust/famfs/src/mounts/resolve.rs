//! The way from a path to a volume and a path in it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use famfs_core::path::{PathError, RelPath};

use super::{Mount, known};
use crate::error::{Error, Result};
use crate::volume::Volume;

/// A path, and the volume that it lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The mount.
    pub mount: Mount,
    /// The path in the volume; empty for the mount point itself.
    pub path: Vec<u8>,
}

/// The volume and the path in it that `path` names.
///
/// The path is made real up to the mount point, the longest mount that fits is taken, of two equal
/// ones the later. Below it nothing is made real.
///
/// # Errors
/// [`Error::NotMounted`]; [`Error::InvalidPath`] for a path that no volume can have.
pub fn resolve(path: &Path) -> Result<Resolved> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.contains(&0) {
        let path = bytes.escape_ascii().to_string();
        return Err(Error::InvalidPath {
            path,
            reason: PathError::Nul,
        });
    }
    let absolute = if path.is_absolute() {
        path.to_owned()
    } else {
        // Joined as text: `..` is left to the system above the mount, and refused below it.
        let mut joined = std::env::current_dir()
            .map_err(Error::io(path, "find the directory that it starts from"))?
            .into_os_string();
        let mut inside = bytes;
        while let Some(rest) = inside.strip_prefix(b"./") {
            inside = rest;
        }
        if inside != b"." && !inside.is_empty() {
            joined.push("/");
            joined.push(OsStr::from_bytes(inside));
        }
        PathBuf::from(joined)
    };
    resolve_in(&known()?, absolute.as_os_str().as_bytes(), path)
}

fn resolve_in(mounts: &[Arc<[Mount]>], absolute: &[u8], asked: &Path) -> Result<Resolved> {
    let ends = (1..=absolute.len()).filter(|&end| {
        let at_slash = absolute.get(end).is_none_or(|&b| b == b'/');
        at_slash && absolute[end - 1] != b'/'
    });
    let mut found: Option<(usize, &Mount)> = None;
    let mut real = PathBuf::from("/");
    for end in ends {
        let part = absolute[..end]
            .rsplit(|&b| b == b'/')
            .next()
            .unwrap_or_default();
        if let Some((at, _)) = found
            && (part == b".." || absolute[at..end].windows(2).any(|pair| pair == b"//"))
        {
            // Below a mount point nothing leads out of it again, nor to the root of all.
            break;
        }
        let next = OsStr::from_bytes(part);
        real = match found {
            None => step(&real, next),
            // Below a mount point nothing is made real: a mount in it is found by its plain name.
            Some((at, mount)) => mount
                .mountpoint
                .join(OsStr::from_bytes(&absolute[at + 1..end])),
        };
        let mut latest_first = mounts.iter().rev().flat_map(|mounts| mounts.iter().rev());
        if let Some(mount) = latest_first
            .find(|mount| mount.mountpoint.as_os_str() == real.as_os_str() && mount.is_there())
        {
            found = Some((end, mount));
        }
    }
    let (end, mount) = found.ok_or_else(|| Error::NotMounted {
        path: asked.display().to_string(),
    })?;
    let rest = &absolute[end..];
    let inside = rest.strip_prefix(b"/").unwrap_or(rest);
    if !inside.is_empty() {
        let invalid = |reason| Error::InvalidPath {
            path: asked.display().to_string(),
            reason,
        };
        RelPath::new(inside).map_err(|reason| match reason {
            // Two slashes behind the mount point.
            PathError::Absolute => invalid(PathError::EmptyPart),
            reason => invalid(reason),
        })?;
    }
    Ok(Resolved {
        mount: mount.clone(),
        path: inside.to_vec(),
    })
}

/// The path of `name` in a directory whose path is real, made real.
fn step(directory: &Path, name: &OsStr) -> PathBuf {
    let next = directory.join(name);
    let is_plain = name != ".." && name != "." && fs::read_link(&next).is_err();
    if is_plain {
        return next;
    }
    fs::canonicalize(&next).unwrap_or(next)
}

impl Resolved {
    /// The path in the volume, of something that is or can be there: not the mount point itself.
    ///
    /// # Errors
    /// [`Error::IsTheMountPoint`].
    pub fn name(&self) -> Result<RelPath> {
        let path = self.mount.mountpoint.display().to_string();
        if self.path.is_empty() {
            return Err(Error::IsTheMountPoint { path });
        }
        RelPath::new(&self.path).map_err(|reason| Error::InvalidPath { path, reason })
    }

    /// The volume, opened in this process and refreshed.
    ///
    /// # Errors
    /// As [`Mount::volume`].
    pub fn volume(&self) -> Result<Volume> {
        self.mount.volume()
    }
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
