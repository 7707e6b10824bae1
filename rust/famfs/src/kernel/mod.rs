//! A volume under a kernel mount: everything goes through the mount's own files.
//!
//! Owns how a file of the log becomes a file of the kernel's, and how its bytes are reached. What
//! the log says is replayed elsewhere; what the kernel shows follows it, never the other way round.
//!
//! A device that the kernel has mounted can't be mapped as a whole. Its superblock and log are
//! files (`.meta/.superblock`, `.meta/.log`), and so is each published file: they are attached to
//! the region where their bytes lie on the device, and the rest of the crate need not know.

mod follow;
mod mount;
mod play;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use famfs_core::entry::Owner;
use famfs_core::extent::Map;
use famfs_core::units::{ALLOC_UNIT, ByteLen, DevOff, Slot};
use famfs_mem::{Access, Identity, Part, Piece, Region, RegionOff, Source, above_standard};
use famfs_sys::abi::SUPER_MAGIC;
use famfs_sys::holders;
use famfs_sys::ioctl::{self, FileKind, FileMap, IoctlError, Range};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

pub use self::follow::follow;
pub use self::mount::{is_ready_for, mount, unmount};
pub use self::play::Played;
pub(crate) use self::play::Player;
use crate::error::{Error, Result};
use crate::files::Stat;
use crate::service::Client;

/// Where the mount keeps what is not a published file.
const META: &str = ".meta";
pub(crate) const SUPERBLOCK: &str = ".meta/.superblock";
pub(crate) const LOG: &str = ".meta/.log";
const VERSIONS: &str = ".meta/versions";

/// The mount's root, opened.
#[derive(Debug)]
pub(crate) struct KernelFiles {
    root: File,
    mountpoint: PathBuf,
    /// Whether it was opened for reading alone.
    read_only: bool,
    /// All slots before it were followed by this process, but for those that are left over.
    played: AtomicU64,
    left_over: Mutex<BTreeSet<Slot>>,
    /// Files that this process has filled and committed, until they have their names: their memory
    /// is theirs, and no other file could be made over it.
    filled: Mutex<BTreeMap<Slot, Arc<File>>>,
    client: Mutex<Option<Arc<Client>>>,
}

/// Whether a path is the root of a kernel mount.
pub(crate) fn is_root(path: &Path) -> bool {
    let Ok(facts) = rustix::fs::statfs(path) else {
        return false;
    };
    #[allow(
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        reason = "the type differs between C libraries; a magic number has 32 bits"
    )]
    let magic = u64::from(facts.f_type as u32);
    magic == SUPER_MAGIC && path.join(LOG).exists()
}

impl KernelFiles {
    /// Opens the root of a mount, and the device under it as its files show it.
    pub(crate) fn open(mountpoint: &Path, read_only: bool) -> Result<(Self, Source)> {
        let root = File::open(mountpoint)
            .and_then(above_standard)
            .map_err(Error::io(mountpoint, "open"))?;
        let files = Self {
            root,
            mountpoint: mountpoint.to_owned(),
            read_only,
            played: AtomicU64::new(0),
            left_over: Mutex::default(),
            filled: Mutex::default(),
            client: Mutex::default(),
        };
        let source = files.source(read_only)?;
        Ok((files, source))
    }

    fn source(&self, read_only: bool) -> Result<Source> {
        let open = |name: &str, write: bool| {
            let path = self.mountpoint.join(name);
            File::options()
                .read(true)
                .write(write)
                .open(&path)
                .and_then(above_standard)
                .map_err(Error::io(&path, "open"))
        };
        let (log, access) = match open(LOG, !read_only) {
            // A client's log is read-only, and so is everybody's who isn't its owner.
            Err(Error::Permission { .. }) => (open(LOG, false)?, Access::ReadOnly),
            log if read_only => (log?, Access::ReadOnly),
            log => (log?, Access::ReadWrite),
        };
        let superblock = open(SUPERBLOCK, false)?;
        let examine = |file: &File| {
            file.metadata()
                .map_err(Error::io(&self.mountpoint, "examine"))
        };
        let (log_facts, superblock_facts) = (examine(&log)?, examine(&superblock)?);
        let facts = rustix::fs::fstatfs(&self.root)
            .map_err(|error| Error::io(&self.mountpoint, "examine")(error.into()))?;
        #[allow(
            clippy::cast_sign_loss,
            clippy::unnecessary_cast,
            reason = "the types differ between C libraries; sizes are not negative"
        )]
        let size = facts.f_blocks as u64 * facts.f_bsize as u64;
        let lock = log
            .try_clone()
            .map_err(Error::io(&self.mountpoint, "open to lock"))?;
        let identity = Identity {
            dev: log_facts.dev(),
            ino: log_facts.ino(),
            rdev: 0,
            character: false,
        };
        let parts = vec![
            Part {
                at: 0,
                len: superblock_facts.len(),
                file: superblock,
                writable: false,
            },
            Part {
                at: ALLOC_UNIT,
                len: log_facts.len(),
                file: log,
                writable: access != Access::ReadOnly,
            },
        ];
        let path = self.mountpoint.clone();
        Ok(Source::from_parts(
            path,
            lock,
            parts,
            (size, ALLOC_UNIT),
            access,
            identity,
        ))
    }

    /// Opens a name below the root, and never what a link or another mount leads to.
    fn at(&self, path: &[u8], flags: OFlags, mode: u32) -> Result<OwnedFd, Errno> {
        rustix::fs::openat2(
            &self.root,
            if path.is_empty() { b"." } else { path },
            flags | OFlags::CLOEXEC,
            Mode::from_raw_mode(mode),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV,
        )
    }

    fn error(&self, path: &[u8], what: &'static str) -> impl FnOnce(Errno) -> Error {
        let path = self.mountpoint.join(OsStr::from_bytes(path));
        move |errno| Error::io(&path, what)(errno.into())
    }

    fn refused(&self, path: &[u8], what: &'static str) -> impl FnOnce(IoctlError) -> Error {
        let path = self.mountpoint.join(OsStr::from_bytes(path));
        move |error| match error {
            IoctlError::NotPermitted => Error::Permission {
                path,
                what,
                next: "whoever can place a file can reach all of the device: do this as root",
            },
            IoctlError::Overlaps => Error::Busy {
                path,
                holders: "a process still maps a file that had this space; end it, or try again \
                          when it is gone"
                    .into(),
            },
            IoctlError::Other(errno) => Error::io(&path, what)(errno.into()),
            other => Error::io(&path, what)(io::Error::other(other)),
        }
    }

    pub(crate) fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// A path in the volume, as the kernel has it.
    pub(crate) fn path_of(&self, path: &[u8]) -> PathBuf {
        self.mountpoint.join(OsStr::from_bytes(path))
    }

    /// The device number that all files of the mount have.
    pub(crate) fn device(&self) -> Result<(u32, u32)> {
        let facts = self.root.metadata();
        let dev = facts.map_err(Error::io(&self.mountpoint, "examine"))?.dev();
        Ok((rustix::fs::major(dev), rustix::fs::minor(dev)))
    }

    /// The mount's follower, which publishes for users who may not place files.
    pub(crate) fn client(&self) -> Result<Arc<Client>> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = client.as_ref().filter(|client| client.is_alive()) {
            return Ok(Arc::clone(client));
        }
        let new = Arc::new(Client::connect(&self.mountpoint, self.device()?)?);
        *client = Some(Arc::clone(&new));
        Ok(new)
    }

    /// Slots before [`Self::played`] that could not be followed: they are tried again.
    pub(crate) fn left_over(&self) -> MutexGuard<'_, BTreeSet<Slot>> {
        self.left_over
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The first slot that this process has not tried to follow yet.
    pub(crate) fn played(&self) -> Slot {
        Slot(self.played.load(Ordering::Acquire))
    }

    fn set_played(&self, next: Slot) {
        self.played.fetch_max(next.0, Ordering::AcqRel);
    }

    fn filled_files(&self) -> MutexGuard<'_, BTreeMap<Slot, Arc<File>>> {
        self.filled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a file that the log has just committed for the play that names it.
    pub(crate) fn keep_filled(&self, slot: Slot, file: Arc<File>) {
        self.filled_files().insert(slot, file);
    }

    fn filled(&self, slot: Slot) -> Option<Arc<File>> {
        self.filled_files().get(&slot).cloned()
    }

    fn forget_filled(&self, slot: Slot) {
        self.filled_files().remove(&slot);
    }

    /// A file without a name yet, over the space of `map`.
    pub(crate) fn make(&self, map: &FileMap) -> Result<File> {
        let flags = OFlags::TMPFILE | OFlags::RDWR;
        let file = self.at(b"", flags, 0o600).map_err(|errno| match errno {
            Errno::OPNOTSUPP | Errno::PERM => {
                self.refused(b"", "publishing under a kernel mount")(IoctlError::NotPermitted)
            }
            other => self.error(b"", "make a file in")(other),
        })?;
        let file = above_standard(File::from(file))
            .map_err(Error::io(&self.mountpoint, "make a file in"))?;
        ioctl::install(&file, map).map_err(self.refused(b"", "place a file in"))?;
        Ok(file)
    }

    /// Gives a file its owner and mode, and its name: a new one, or that of the file in `slot`.
    pub(crate) fn name(
        &self,
        file: &File,
        path: &[u8],
        owner: Owner,
        instead_of: Option<Slot>,
    ) -> Result<()> {
        self.own(file, path, owner)?;
        let (directory, name) = split(path);
        let directory = self
            .at(directory, OFlags::DIRECTORY | OFlags::RDONLY, 0)
            .map_err(self.error(directory, "open"))?;
        if let Some(slot) = instead_of {
            return ioctl::retire(&directory, name, slot.0, Some(file.as_fd()))
                .map_err(self.refused(path, "put a new version in the place of"));
        }
        let from = format!("/proc/self/fd/{}", file.as_raw_fd());
        rustix::fs::linkat(CWD, from, &directory, name, AtFlags::SYMLINK_FOLLOW)
            .map_err(self.error(path, "name"))
    }

    /// Gives a file or directory its owner and mode, where they are others; whether they were.
    fn own(&self, file: impl AsFd, path: &[u8], owner: Owner) -> Result<bool> {
        let mode = owner.mode & 0o7777;
        let error = |errno| self.error(path, "give an owner to")(errno);
        let now = rustix::fs::fstat(&file).map_err(error)?;
        if (now.st_uid, now.st_gid, now.st_mode & 0o7777) == (owner.uid, owner.gid, mode) {
            return Ok(false);
        }
        let (uid, gid) = (
            rustix::fs::Uid::from_raw(owner.uid),
            rustix::fs::Gid::from_raw(owner.gid),
        );
        rustix::fs::fchown(&file, Some(uid), Some(gid))
            .and_then(|()| rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)))
            .map_err(error)?;
        Ok(true)
    }

    /// Makes a directory; one that is there gets its owner and mode. Whether it was made.
    pub(crate) fn make_directory(&self, path: &[u8], owner: Owner) -> Result<bool> {
        let (parent, name) = split(path);
        let parent = self
            .at(parent, OFlags::DIRECTORY | OFlags::RDONLY, 0)
            .map_err(self.error(parent, "open"))?;
        let is_new = match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o700)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(self.error(path, "make")(errno)),
        };
        let made = self
            .at(path, OFlags::DIRECTORY | OFlags::RDONLY, 0)
            .map_err(self.error(path, "open"))?;
        self.own(&made, path, owner)?;
        Ok(is_new)
    }

    /// Takes a name away that the log has taken away.
    pub(crate) fn retire(&self, path: &[u8], slot: Slot) -> Result<()> {
        let (directory, name) = split(path);
        let directory = self
            .at(directory, OFlags::DIRECTORY | OFlags::RDONLY, 0)
            .map_err(self.error(directory, "open"))?;
        ioctl::retire(&directory, name, slot.0, None)
            .map_err(self.refused(path, "take away the name"))
    }

    /// Removes a file that never got a map.
    fn remove_bare(&self, path: &[u8]) -> Result<()> {
        let (directory, name) = split(path);
        let directory = self
            .at(directory, OFlags::DIRECTORY | OFlags::RDONLY, 0)
            .map_err(self.error(directory, "open"))?;
        rustix::fs::unlinkat(&directory, name, AtFlags::empty()).map_err(self.error(path, "remove"))
    }

    /// What the kernel has at a path: nothing, a file without a map, or one with it.
    fn shown(&self, path: &[u8]) -> Result<Shown> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
        let file = match self.at(path, flags, 0) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Shown::Nothing),
            Err(errno) => return Err(self.error(path, "open")(errno)),
        };
        match ioctl::installed(&file) {
            Ok(Some(map)) => Ok(Shown::File(file.into(), map)),
            Ok(None) => Ok(Shown::Bare),
            Err(IoctlError::Other(Errno::NOTTY)) => Ok(Shown::Directory),
            Err(error) => Err(self.refused(path, "read the map of")(error)),
        }
    }

    /// Attaches a committed file's bytes to the region, and returns the file where it was opened.
    ///
    /// `stat` comes from the replayed log, and not from a caller: what it says is attached.
    pub(crate) fn reach(
        &self,
        region: &Region,
        stat: &Stat,
        runs: &[(DevOff, u64)],
        for_a_view: bool,
    ) -> Result<Option<File>> {
        let pieces = pieces(runs);
        let there = pieces
            .iter()
            .all(|piece| region.is_attached(piece.at, piece.len));
        if there && !(for_a_view && pieces.len() > 1) {
            return Ok(None);
        }
        let file = self.open_committed(stat)?;
        region
            .attach(&file, &pieces, false)
            .map_err(Error::map(&self.mountpoint))?;
        Ok(Some(file))
    }

    /// Opens the kernel's file of a log entry, by its name or where it was put aside.
    ///
    /// # Errors
    /// [`Error::Busy`] where the kernel doesn't show it yet.
    pub(crate) fn open_committed(&self, stat: &Stat) -> Result<File> {
        let wanted = stat.map.as_ref().map(|map| file_map(stat.size, map));
        let version = play::version(stat.slot);
        for path in [&stat.path[..], version.as_bytes()] {
            if let Shown::File(file, found) = self.shown(path)?
                && Some(&found) == wanted.as_ref()
            {
                return Ok(file);
            }
        }
        Err(Error::Busy {
            path: self.mountpoint.join(OsStr::from_bytes(&stat.path)),
            holders: format!(
                "the log has this file, and the kernel doesn't show it yet: run `famfs logplay \
                 {}` as root, or let `famfs logplay --follow` do it",
                self.mountpoint.display()
            ),
        })
    }

    pub(crate) fn open_root(&self) -> io::Result<File> {
        self.root.try_clone()
    }

    /// Opens a directory; `None` where there is none.
    pub(crate) fn open_directory(&self, path: &[u8]) -> Result<Option<File>> {
        match self.at(path, OFlags::DIRECTORY | OFlags::RDONLY, 0) {
            Ok(directory) => Ok(Some(directory.into())),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(self.error(path, "open")(errno)),
        }
    }

    /// The file without a name that another process of this host fills, by its map.
    ///
    /// It has no path of its own: it is found among the files that processes have open.
    pub(crate) fn open_unnamed(&self, wanted: &FileMap) -> Result<Option<File>> {
        let facts = self.root.metadata();
        let dev = facts.map_err(Error::io(&self.mountpoint, "examine"))?.dev();
        for path in holders::nameless_on(dev) {
            // Whoever may not open it is not meant to take part.
            let opened = File::options().read(true).write(true).open(path);
            if let Ok(file) = opened.and_then(above_standard)
                && ioctl::installed(&file).is_ok_and(|found| found.as_ref() == Some(wanted))
            {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    /// Opens one of the mount's own files.
    pub(crate) fn open_own(&self, name: &str) -> Result<File> {
        let file = self.at(name.as_bytes(), OFlags::RDONLY, 0);
        file.map(File::from)
            .map_err(self.error(name.as_bytes(), "open"))
    }
}

/// What the kernel has at a path.
enum Shown {
    Nothing,
    Directory,
    /// A file without a map: none of ours.
    Bare,
    File(File, FileMap),
}

/// Where runs lie in the region.
pub(crate) fn pieces(runs: &[(DevOff, u64)]) -> Vec<Piece> {
    let piece = |&(at, len): &(DevOff, u64)| Piece {
        at: RegionOff(at.0),
        len,
    };
    runs.iter().map(piece).collect()
}

pub(crate) fn file_map(size: ByteLen, map: &Map) -> FileMap {
    let extents = map.extents().iter().map(|extent| Range {
        offset: extent.offset.0,
        len: extent.len.0,
    });
    FileMap {
        kind: FileKind::Regular,
        size: size.0,
        chunk_size: match map {
            Map::Interleaved { chunk_size, .. } => Some(chunk_size.0),
            Map::Simple(_) => None,
        },
        extents: extents.collect(),
    }
}

/// The directory and the last part of a path.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}
