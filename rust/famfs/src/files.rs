//! Files as readers see them: looked up, listed, and viewed where they lie.
//!
//! Owns what is told of a file and how its range becomes safe to read. All of it is as fresh as the
//! last refresh; nothing here follows the log or changes it.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use famfs_core::entry::Owner;
use famfs_core::extent::Map;
use famfs_core::namespace::NodeRef;
use famfs_core::path::RelPath;
use famfs_core::units::{ByteLen, DevOff, DeviceIndex, FileOff, Slot};
use famfs_mem::View;

use crate::error::{Error, Result};
use crate::view;
use crate::volume::{State, Volume};

/// A file or directory, as of the last refresh.
#[derive(Clone, Debug)]
pub struct Stat {
    /// Its path in the volume.
    pub path: Vec<u8>,
    /// The slot of the log entry that made it: its version.
    pub slot: Slot,
    /// Size in bytes; 0 for a directory.
    pub size: ByteLen,
    /// Owner and mode.
    pub owner: Owner,
    /// Where its bytes lie; `None` for a directory.
    pub map: Option<Map>,
    /// Whether its name still leads to it: not replaced, not removed.
    pub is_live: bool,
    /// When this process first saw it: the format keeps no times.
    pub seen: SystemTime,
}

impl Stat {
    /// Whether it is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.map.is_none()
    }

    /// The path, for people.
    #[must_use]
    pub fn display(&self) -> String {
        display(&self.path)
    }
}

pub(crate) fn display(path: &[u8]) -> String {
    RelPath::new(path).map_or_else(|_| path.escape_ascii().to_string(), |path| path.to_string())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these guard is whole between any two statements: a panic elsewhere left it so.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Volume {
    /// The file or directory at `path`; the empty path is the root.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn stat(&self, path: &[u8]) -> Result<Stat> {
        let state = self.inner.read();
        if path.is_empty() {
            return Ok(root(&state));
        }
        let node = state.lookup(path)?;
        Ok(state.stat(node))
    }

    /// The file that the entry in `slot` made, also where it was replaced or removed since.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn stat_slot(&self, slot: Slot) -> Result<Stat> {
        let state = self.inner.read();
        let node = state
            .replay
            .names()
            .by_slot(slot)
            .ok_or_else(|| Error::NotFound {
                path: format!("#{slot}"),
            })?;
        Ok(state.stat(node))
    }

    /// Refuses early what a commit of a file at `name` would refuse, as of the last refresh: told
    /// before anything is copied. The commit decides.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::IsADirectory`], [`Error::ParentMissing`],
    /// [`Error::NotADirectory`].
    pub fn check_name(&self, name: &RelPath, overwrite: bool) -> Result<()> {
        let path = || name.to_string();
        match self.stat(name.as_bytes()) {
            Ok(found) if found.is_dir() && overwrite => {
                return Err(Error::IsADirectory { path: path() });
            }
            Ok(_) if !overwrite => return Err(Error::AlreadyExists { path: path() }),
            Ok(_) => return Ok(()),
            Err(_) => {}
        }
        let Some(parent) = name.parent() else {
            return Ok(());
        };
        match self.stat(parent) {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(Error::NotADirectory { path: path() }),
            Err(_) => Err(Error::ParentMissing { path: path() }),
        }
    }

    /// What is in the directory at `path`, in the order of the log; of a file, the file itself.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn list(&self, path: &[u8]) -> Result<Vec<Stat>> {
        let state = self.inner.read();
        if let Some(children) = state.replay.names().children(path) {
            return Ok(children.map(|node| state.stat(node)).collect());
        }
        drop(state);
        Ok(vec![self.stat(path)?])
    }

    /// All names of the volume, in the order of the log.
    #[must_use]
    pub fn list_all(&self) -> Vec<Stat> {
        let state = self.inner.read();
        state
            .replay
            .names()
            .iter()
            .map(|node| state.stat(node))
            .collect()
    }

    /// The versions of the file at `path`, the newest first.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::IsADirectory`].
    pub fn versions(&self, path: &[u8]) -> Result<Vec<Stat>> {
        let state = self.inner.read();
        if path.is_empty() {
            return Err(Error::IsADirectory { path: ".".into() });
        }
        let node = state.lookup(path)?;
        if node.is_dir() {
            return Err(Error::IsADirectory {
                path: display(path),
            });
        }
        let versions = std::iter::successors(Some(node), NodeRef::before);
        Ok(versions.map(|node| state.stat(node)).collect())
    }

    /// The file's bytes, where they lie: zero copy, never rewritten, valid for as long as the view
    /// lives.
    ///
    /// # Errors
    /// [`Error::IsADirectory`]; [`Error::Unsupported`] for a file on a device that is not here, or
    /// with more chunks than the kernel lets a process map.
    pub fn view(&self, file: &Stat) -> Result<View> {
        let pieces = self.runs(file)?;
        let whole = self.reach(file.slot, &pieces, true)?;
        // Two threads may both do it: that costs time, and no lock is held over a large range.
        if !lock(&self.inner.acquired).contains(&file.slot) {
            self.inner
                .coherence
                .acquire_data(pieces.iter().copied())
                .map_err(self.fault())?;
            lock(&self.inner.acquired).insert(file.slot);
        }
        let size = pieces.iter().map(|piece| piece.1).sum();
        let whole = whole.as_ref().map(AsFd::as_fd);
        view::committed(&self.inner.region, &pieces, ByteLen(size), whole)
            .map_err(Error::map(self.inner.source.path()))
    }

    /// A reader that copies parts of the file out: only what it reads is made fresh on this host.
    ///
    /// # Errors
    /// [`Error::IsADirectory`]; [`Error::Unsupported`] for a file on a device that is not here.
    pub fn reader(&self, file: &Stat) -> Result<FileReader> {
        let runs = self.runs(file)?;
        self.reach(file.slot, &runs, false)?;
        Ok(FileReader {
            runs,
            volume: self.clone(),
        })
    }

    /// Makes a committed file's bytes reachable: under a kernel mount by the kernel's own file.
    fn reach(&self, slot: Slot, runs: &[(DevOff, u64)], for_a_view: bool) -> Result<Option<File>> {
        let Some(kernel) = &self.inner.kernel else {
            return Ok(None);
        };
        let known = self.stat_slot(slot)?;
        kernel.reach(&self.inner.region, &known, runs, for_a_view)
    }

    /// Where the file's bytes lie on the device: offset and length, in the file's order.
    ///
    /// # Errors
    /// As [`Self::view`].
    pub fn runs(&self, file: &Stat) -> Result<Vec<(DevOff, u64)>> {
        // Looked up by its slot, and not taken from what the caller holds: only what the log names
        // is never written again.
        let known = self.stat_slot(file.slot)?;
        if known.path != file.path {
            return Err(Error::NotFound {
                path: file.display(),
            });
        }
        let map = known.map.ok_or_else(|| Error::IsADirectory {
            path: file.display(),
        })?;
        map.runs(FileOff(0), known.size)
            .map(|run| {
                if run.device == DeviceIndex::PRIMARY {
                    return Ok((run.offset, run.len.0));
                }
                Err(Error::Unsupported {
                    what: file.display(),
                    why: format!("the file lies on device {}, which is not here", run.device),
                })
            })
            .collect()
    }

    /// Writes back and drops the lines of a file's range; how many there were.
    ///
    /// # Errors
    /// As [`Self::view`], and [`Error::MemoryFault`].
    pub fn flush(&self, file: &Stat) -> Result<u64> {
        let runs = self.runs(file)?;
        self.reach(file.slot, &runs, false)?;
        let flushed = runs
            .into_iter()
            .map(|(at, len)| self.inner.coherence.flush(at, len));
        flushed.sum::<Result<u64, _>>().map_err(self.fault())
    }

    fn fault(&self) -> impl FnOnce(famfs_mem::Fault) -> Error {
        Error::fault(self.inner.source.path())
    }
}

/// A committed file, read by copying: for a few bytes of one that nobody views.
#[derive(Clone, Debug)]
pub struct FileReader {
    volume: Volume,
    runs: Vec<(DevOff, u64)>,
}

impl FileReader {
    /// The file's size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.runs.iter().map(|run| run.1).sum()
    }

    /// Copies the bytes at `off` into `into`, all of it.
    ///
    /// # Errors
    /// [`Error::MemoryFault`], also for bytes past the file's end.
    pub fn read(&self, off: u64, into: &mut [u8]) -> Result<()> {
        let size = self.size();
        let len = into.len() as u64;
        if off.checked_add(len).is_none_or(|end| end > size) {
            let at = famfs_mem::RegionOff(off);
            return Err(self.volume.fault()(famfs_mem::Fault::OutOfRange {
                at,
                len,
                size,
            }));
        }
        let (mut skip, mut rest) = (off, into);
        for &(at, len) in &self.runs {
            let before = skip.min(len);
            let part = usize::try_from(len - before).unwrap_or(usize::MAX);
            let (part, left) = rest.split_at_mut(part.min(rest.len()));
            if !part.is_empty() {
                let at = DevOff(at.0 + before);
                let read = self.volume.inner.coherence.read_data(at, part);
                read.map_err(self.volume.fault())?;
            }
            skip -= before;
            rest = left;
        }
        Ok(())
    }
}

fn root(state: &State) -> Stat {
    Stat {
        path: Vec::new(),
        slot: Slot(0),
        size: ByteLen(0),
        owner: Owner {
            uid: 0,
            gid: 0,
            mode: 0o755,
        },
        map: None,
        is_live: true,
        seen: state
            .seen
            .first()
            .map_or(SystemTime::UNIX_EPOCH, |seen| seen.1),
    }
}

impl State {
    fn lookup(&self, path: &[u8]) -> Result<NodeRef<'_>> {
        let found = self.replay.names().lookup(path);
        found.ok_or_else(|| Error::NotFound {
            path: display(path),
        })
    }

    fn stat(&self, node: NodeRef<'_>) -> Stat {
        let slot = node.slot();
        let at = self.seen.partition_point(|(next, _)| *next <= slot);
        Stat {
            path: node.path().to_vec(),
            slot,
            size: node.size(),
            owner: node.owner(),
            map: node.map(),
            is_live: node.is_live(),
            seen: self
                .seen
                .get(at)
                .map_or(SystemTime::UNIX_EPOCH, |seen| seen.1),
        }
    }
}
