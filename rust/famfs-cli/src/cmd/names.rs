//! `mkdir` and `rm`: what makes and takes names.

use std::path::Path;

use anyhow::Result;
use famfs::core::path::RelPath;
use famfs::{Error, Volume};

use super::{Made, Named, named};
use crate::args::{Mkdir, Rm};
use crate::error;

/// Makes directories.
pub(super) fn mkdir(args: &Mkdir) -> Result<i32> {
    for asked in &args.paths {
        let named = named(asked)?;
        if args.parents {
            if !named.path().is_empty() {
                make_all(&named.volume, named.path(), asked, args)?;
            }
            continue;
        }
        let path = named.resolved.name()?;
        // The format takes a second MKDIR of a directory; a user asks for a new one.
        if named.volume.stat(path.as_bytes()).is_ok() {
            return Err(error::Error::Exists {
                path: asked.display().to_string(),
                next: "with -p a directory that is there is fine",
            }
            .into());
        }
        let owner = args.ownership.owner(Made::Directory);
        let made = named.volume.mkdir(path, owner);
        made.map_err(|error| error.about(asked))?;
    }
    Ok(0)
}

/// Makes a directory and those that are missing on the way to it.
fn make_all(volume: &Volume, path: &[u8], asked: &Path, args: &Mkdir) -> Result<()> {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    let ends: Vec<_> = ends.map(|(at, _)| at).chain([path.len()]).collect();
    for end in ends {
        let part = &path[..end];
        match volume.stat(part) {
            Ok(found) if found.is_dir() => continue,
            Ok(_) => {
                let path = asked.display().to_string();
                return Err(Error::NotADirectory { path }.into());
            }
            Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        // What lies on the way gets the default mode, as everywhere.
        let mut ownership = args.ownership;
        if end < path.len() {
            ownership.mode = None;
        }
        let name = rel_path(part, asked)?;
        match volume.mkdir(name, ownership.owner(Made::Directory)) {
            Ok(_) => {}
            // Another process made it just now.
            Err(Error::AlreadyExists { .. })
                if volume.stat(part).is_ok_and(|found| found.is_dir()) => {}
            Err(error) => return Err(error.about(asked).into()),
        }
    }
    Ok(())
}

pub(super) fn rel_path(path: &[u8], asked: &Path) -> Result<RelPath> {
    Ok(RelPath::new(path).map_err(|reason| Error::InvalidPath {
        path: asked.display().to_string(),
        reason,
    })?)
}

/// Takes names away.
pub(super) fn rm(args: &Rm) -> Result<i32> {
    let mut failed = 0;
    for asked in &args.paths {
        match rm_one(asked, args) {
            Ok(()) => {}
            Err(error) if args.paths.len() == 1 => return Err(error),
            Err(error) => {
                super::complain(&error);
                failed += 1;
            }
        }
    }
    if failed > 0 {
        return Err(error::Error::Some {
            failed,
            total: args.paths.len(),
            done: "removed",
        }
        .into());
    }
    Ok(0)
}

fn rm_one(asked: &Path, args: &Rm) -> Result<()> {
    let named = named(asked)?;
    let path = named.resolved.name()?;
    if args.recursive {
        rm_below(&named)?;
    }
    match named.volume.remove(path) {
        Ok(_) => Ok(()),
        Err(Error::NotFound { .. }) if args.force => Ok(()),
        Err(error) => Err(error.about(asked).into()),
    }
}

/// Removes all that is below a directory, what lies deepest first.
fn rm_below(named: &Named) -> Result<()> {
    let mut prefix = named.path().to_vec();
    prefix.push(b'/');
    let mut below = named.volume.list_all();
    below.retain(|stat| stat.path.starts_with(&prefix));
    below.sort_by_key(|stat| {
        let depth = stat.path.split(|&byte| byte == b'/').count();
        std::cmp::Reverse(depth)
    });
    for stat in below {
        let path = rel_path(&stat.path, &named.asked)?;
        match named.volume.remove(path) {
            // Another process was first.
            Ok(_) | Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
