//! Copying one file: into a volume, out of one, or between two.
//!
//! Owns that a copy is there whole or not at all, that it takes a few pieces of memory however
//! large the file is, and that a source that changes meanwhile is noticed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use famfs::core::path::RelPath;
use famfs::core::space::Layout;
use famfs::core::units::{ByteLen, FileOff};
use famfs::mem::View;
use famfs::{Publication, Stat, Volume};
use rustix::fs::{AtFlags, CWD, OFlags, RenameFlags, linkat, renameat_with};
use uuid::Uuid;

use super::{Made, content, exists, not_made};
use crate::args::Ownership;
use crate::error::Error;
use crate::progress::Progress;

/// How files are copied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner<'a> {
    pub(super) threads: usize,
    pub(super) ownership: Ownership,
    pub(super) layout: Layout,
    pub(super) force: bool,
    pub(super) progress: &'a Progress,
}

/// Where bytes come from.
#[derive(Debug)]
pub(super) enum Source {
    /// A file of the host.
    Outside {
        file: File,
        path: PathBuf,
        size: u64,
    },
    /// A file of a volume.
    Inside { volume: Volume, view: View },
}

impl Source {
    /// Opens a file of the host.
    pub(super) fn outside(path: &Path) -> Result<Self> {
        let open = || -> io::Result<(File, u64)> {
            let file = File::open(path)?;
            let size = file.metadata()?.len();
            Ok((file, size))
        };
        let (file, size) = open().with_context(|| format!("{}: open", path.display()))?;
        Ok(Self::Outside {
            file,
            path: path.to_owned(),
            size,
        })
    }

    /// Opens a file of a volume.
    pub(super) fn inside(volume: &Volume, stat: &Stat) -> Result<Self> {
        Ok(Self::Inside {
            volume: volume.clone(),
            view: volume.view(stat)?,
        })
    }

    fn size(&self) -> u64 {
        match self {
            Self::Outside { size, .. } => *size,
            Self::Inside { view, .. } => content::view_len(view),
        }
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<()> {
        match self {
            Self::Inside { volume, view } => content::read(volume, view, at, into),
            Self::Outside { file, path, .. } => match file.read_exact_at(into, at) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.check_size()?;
                    // It has fewer bytes than it says, as files of /sys do, or was cut for a while.
                    Err(self.not_plain().into())
                }
                other => other.with_context(|| format!("{}: read", path.display())),
            },
        }
    }

    /// Refuses a source that has another size now than when it was opened.
    fn check_size(&self) -> Result<()> {
        let Self::Outside { file, path, size } = self else {
            // Files of a volume never change.
            return Ok(());
        };
        let after = file
            .metadata()
            .with_context(|| format!("{}: examine", path.display()))?
            .len();
        let (path, size) = (path.clone(), *size);
        if after != size {
            return Err(Error::SourceChanged {
                path,
                before: size,
                after,
            }
            .into());
        }
        // Files of /proc, devices and the like say that they are empty.
        if file.read_at(&mut [0], size).is_ok_and(|read| read > 0) {
            return Err(self.not_plain().into());
        }
        Ok(())
    }

    fn not_plain(&self) -> Error {
        let path = match self {
            Self::Outside { path, .. } => path.clone(),
            Self::Inside { volume, .. } => volume.path().to_owned(),
        };
        Error::NotPlain {
            path,
            size: self.size(),
        }
    }

    /// Hands all bytes to `put`, piece by piece, from several threads.
    fn transfer(
        &self,
        manner: &Manner<'_>,
        put: impl Fn(u64, &[u8]) -> Result<()> + Sync,
    ) -> Result<()> {
        let size = self.size();
        let next = AtomicU64::new(0);
        let stopped = AtomicBool::new(false);
        let failure = Mutex::new(None);
        let step = content::PIECE as u64;
        let work = || {
            let mut buffer = content::buffer(size);
            while !stopped.load(Ordering::Relaxed) {
                let at = next.fetch_add(step, Ordering::Relaxed);
                if at >= size {
                    break;
                }
                let len = usize::try_from(size - at).unwrap_or(usize::MAX);
                let piece = &mut buffer[..len.min(content::PIECE)];
                if let Err(error) = self.read(at, piece).and_then(|()| put(at, piece)) {
                    stopped.store(true, Ordering::Relaxed);
                    let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                    failure.get_or_insert(error);
                    break;
                }
                manner.progress.add(piece.len() as u64);
            }
        };
        let pieces = usize::try_from(size.div_ceil(step)).unwrap_or(usize::MAX);
        thread::scope(|scope| {
            for _ in 1..manner.threads.min(pieces) {
                // Where no more threads can be had, those that there are do it.
                let _ = thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => self.check_size(),
        }
    }
}

/// Publishes a copy in a volume. `asked` is where the user wants it.
pub(super) fn publish(
    source: &Source,
    volume: &Volume,
    path: RelPath,
    asked: &Path,
    manner: &Manner<'_>,
) -> Result<()> {
    volume
        .check_name(&path, manner.force)
        .map_err(|error| not_made(asked, error))?;
    let reservation = volume
        .reserve(ByteLen(source.size()), manner.layout)
        .map_err(|error| error.about(asked))?;
    source.transfer(manner, |at, piece| {
        Ok(reservation.fill_with(FileOff(at), piece, 1)?)
    })?;
    let published = volume.commit(vec![Publication {
        reservation,
        path,
        owner: manner.ownership.owner(Made::File),
        overwrite: manner.force,
    }]);
    published.map_err(|error| not_made(asked, error))?;
    Ok(())
}

/// Writes a copy outside of all volumes: under another name first, which goes where it fails.
pub(super) fn extract(source: &Source, target: &Path, manner: &Manner<'_>) -> Result<()> {
    match target.symlink_metadata() {
        Ok(_) if !manner.force => return Err(exists(target)),
        Ok(there) if !there.is_file() => {
            return Err(Error::NotReplaced {
                path: target.to_owned(),
            }
            .into());
        }
        _ => {}
    }
    let draft = Draft::new(target)?;
    source.transfer(manner, |at, piece| {
        let written = draft.file.write_all_at(piece, at);
        written.with_context(|| format!("{}: write", target.display()))
    })?;
    draft.finish(target, manner)
}

/// A file that has not got its name yet.
#[derive(Debug)]
struct Draft {
    file: File,
    /// Its name for now; `None` while it has none at all, so that nothing is left of it whatever
    /// ends this process.
    path: Option<PathBuf>,
    /// A name beside its target that nobody else has.
    own: PathBuf,
}

impl Draft {
    fn new(target: &Path) -> Result<Self> {
        if target.file_name().is_none() {
            return Err(Error::Usage(format!("{}: not a file name", target.display())).into());
        }
        // Of nobody else's, also where process ids mean nothing, and short, whatever the name is.
        let own = target.with_file_name(format!(".famfs-{}", Uuid::new_v4().simple()));
        let folder = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let nameless = OpenOptions::new()
            .write(true)
            .custom_flags(OFlags::TMPFILE.bits().cast_signed())
            .open(folder);
        if let Ok(file) = nameless {
            return Ok(Self {
                file,
                path: None,
                own,
            });
        }
        // Not on this file system, or not to be made at all, which is told now.
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&own)
            .with_context(|| format!("{}: make", target.display()))?;
        Ok(Self {
            file,
            path: Some(own.clone()),
            own,
        })
    }

    /// Gives it a name, never that of a file that is there.
    fn name(&self, target: &Path) -> io::Result<()> {
        if let Some(path) = &self.path {
            return rename_new(path, target);
        }
        let file = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        Ok(linkat(CWD, file, CWD, target, AtFlags::SYMLINK_FOLLOW)?)
    }

    fn finish(mut self, target: &Path, manner: &Manner<'_>) -> Result<()> {
        let Ownership { mode, uid, gid } = manner.ownership;
        let owned = || -> io::Result<()> {
            if uid.is_some() || gid.is_some() {
                std::os::unix::fs::fchown(&self.file, uid, gid)?;
            }
            if let Some(mode) = mode {
                self.file
                    .set_permissions(fs::Permissions::from_mode(mode))?;
            }
            Ok(())
        };
        owned().with_context(|| format!("{}: set owner and mode", target.display()))?;
        let named = if manner.force {
            let own = self.own.clone();
            let named = match self.path {
                Some(_) => Ok(()),
                None => self.name(&own),
            };
            named.and_then(|()| {
                self.path = Some(own.clone());
                fs::rename(own, target)
            })
        } else {
            self.name(target)
        };
        match named {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(exists(target)),
            other => other.with_context(|| format!("{}: name", target.display())),
        }
    }
}

/// Renames, never over what is there.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not on this file system: a link does the same, and the draft goes with its owner.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => fs::hard_link(from, to),
        other => Ok(other?),
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // It has got its name, and then it is not there.
            let _ = fs::remove_file(path);
        }
    }
}
