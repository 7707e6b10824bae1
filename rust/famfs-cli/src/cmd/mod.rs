//! The commands, and what several of them need.
//!
//! One function a command: it gets its options and the output, and returns the exit code.

mod activity;
mod check;
mod content;
mod copy;
mod cp;
mod creat;
mod dax;
mod demo;
mod df;
mod draw;
mod dump;
mod fsck;
mod help;
mod kmod;
mod ls;
mod map;
mod mkfs;
mod mount;
mod names;
mod read;
mod report;
mod show;
mod top;
mod watch;

use std::path::{Path, PathBuf};

use anyhow::Result;
use famfs::core::entry::Owner;
use famfs::core::space::Layout;
use famfs::core::units::ByteLen;
use famfs::mounts::{self, Mount, Resolved};
use famfs::{Error, Stat, Volume, host};

use crate::args::{Interleave, Ownership, Verb};
use crate::output::Output;

/// Runs one command.
pub(crate) fn run(verb: Verb, output: &mut Output) -> Result<i32> {
    match verb {
        Verb::Mkfs(args) => mkfs::run(&args, output),
        Verb::Mount(args) => mount::mount(&args, output),
        Verb::Umount(args) => mount::umount(&args, output),
        Verb::Mounts(args) => mount::list(&args, output),
        Verb::Demo(args) => demo::run(&args),
        Verb::Creat(args) => creat::run(&args, output),
        Verb::Cp(args) => cp::run(&args, output),
        Verb::Mkdir(args) => names::mkdir(&args),
        Verb::Rm(args) => names::rm(&args),
        Verb::Ls(args) => ls::ls(&args, output),
        Verb::Stat(args) => ls::stat(&args, output),
        Verb::Show(args) => show::run(&args, output),
        Verb::Wait(args) => watch::wait(&args, output),
        Verb::Watch(args) => watch::watch(&args, output),
        Verb::Versions(args) => ls::versions(&args, output),
        Verb::Df(args) => df::run(&args, output),
        Verb::Map(args) => draw::run(&args, output),
        Verb::Top(args) => top::run(&args, output),
        Verb::Cat(args) => read::cat(&args, output),
        Verb::Verify(args) => read::verify(args, output),
        Verb::Chkread(args) => read::chkread(&args, output),
        Verb::Flush(args) => map::flush(&args, output),
        Verb::Getmap(args) => map::getmap(&args, output),
        Verb::Logplay(args) => check::logplay(&args, output),
        Verb::Check(args) => check::check(&args, output),
        Verb::Fsck(args) => fsck::run(&args, output),
        Verb::Dump(args) => dump::run(&args, output),
        Verb::Kmod(args) => kmod::run(args, output),
        Verb::Dax(args) => dax::run(args, output),
        Verb::Completions(args) => help::completions(&args, output),
        Verb::Man(args) => help::man(&args, output),
    }
}

/// A path under a mount, with the volume opened and its log followed to the end.
struct Named {
    asked: PathBuf,
    resolved: Resolved,
    volume: Volume,
}

/// The volume that a path lies in, and the path in it.
fn named(path: &Path) -> Result<Named> {
    let resolved = mounts::resolve(path)?;
    let volume = resolved.volume()?;
    Ok(Named {
        asked: path.to_owned(),
        resolved,
        volume,
    })
}

impl Named {
    /// The path in the volume; empty for the mount point.
    fn path(&self) -> &[u8] {
        &self.resolved.path
    }

    fn stat(&self) -> Result<Stat> {
        Ok(self
            .volume
            .stat(self.path())
            .map_err(|error| self.as_asked(error))?)
    }

    /// What is at the path, which must be a file.
    fn file(&self) -> Result<Stat> {
        let stat = self.stat()?;
        if stat.is_dir() {
            return Err(Error::IsADirectory {
                path: self.asked.display().to_string(),
            }
            .into());
        }
        Ok(stat)
    }

    /// An error about the path as the user wrote it.
    fn as_asked(&self, error: Error) -> Error {
        error.about(&self.asked)
    }
}

/// The error of making a file, about the path that the user wrote.
fn not_made(asked: &Path, error: Error) -> anyhow::Error {
    match error {
        Error::AlreadyExists { .. } => exists(asked),
        other => other.about(asked).into(),
    }
}

/// A file's name is taken.
fn exists(asked: &Path) -> anyhow::Error {
    crate::error::Error::Exists {
        path: asked.display().to_string(),
        next: "--force puts a new file in its place, or choose another name",
    }
    .into()
}

/// The mount whose mount point is `path`.
fn mount_at(path: &Path) -> Result<Mount> {
    let resolved = mounts::resolve(path)?;
    if resolved.path.is_empty() {
        return Ok(resolved.mount);
    }
    Err(crate::error::Error::Usage(format!(
        "{}: a mount point was expected, such as {}",
        path.display(),
        resolved.mount.mountpoint.display()
    ))
    .into())
}

/// The device or backing file that `place` names: itself, or through its mount point.
fn source_of(place: &Path) -> Result<PathBuf> {
    if place.is_dir() {
        return Ok(mount_at(place)?.place().clone());
    }
    Ok(place.to_owned())
}

/// The kind of what is made, which decides its default mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    File,
    Directory,
}

impl Ownership {
    /// The owner of what is made: the caller, unless told otherwise.
    fn owner(&self, made: Made) -> Owner {
        let all = match made {
            Made::File => 0o666,
            Made::Directory => 0o777,
        };
        Owner {
            uid: self
                .uid
                .unwrap_or_else(|| rustix::process::geteuid().as_raw()),
            gid: self
                .gid
                .unwrap_or_else(|| rustix::process::getegid().as_raw()),
            mode: self.mode.unwrap_or_else(|| all & !host::umask()),
        }
    }
}

impl Interleave {
    fn layout(&self) -> Layout {
        match (self.nstrips, self.nbuckets, self.chunksize) {
            (Some(strips), Some(buckets), Some(chunk_size)) => Layout::Interleaved {
                strips,
                buckets,
                chunk_size: ByteLen(chunk_size),
            },
            _ => Layout::Contiguous,
        }
    }
}

/// Reports one failure of several, which goes on with the others.
fn complain(error: &anyhow::Error) {
    crate::complain(&format!("famfs: {}", crate::error::tell(error)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_the_callers_and_follows_the_umask() {
        let nothing = Ownership {
            mode: None,
            uid: None,
            gid: None,
        };
        let owner = nothing.owner(Made::File);
        assert_eq!(owner.uid, rustix::process::geteuid().as_raw());
        assert_eq!(owner.mode, 0o666 & !host::umask());
        assert_eq!(nothing.owner(Made::Directory).mode, 0o777 & !host::umask());
        let all = Ownership {
            mode: Some(0o4711),
            uid: Some(7),
            gid: Some(8),
        };
        let owner = all.owner(Made::File);
        assert_eq!((owner.uid, owner.gid, owner.mode), (7, 8, 0o4711));
    }
}
