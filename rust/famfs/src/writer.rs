//! Writing: reserve, fill, commit.
//!
//! Owns what a publisher may do and in which order: space is reserved under the host lock, filled
//! without it, and named by the log under it again. Nothing is visible before the commit, and what
//! is dropped before it was never there.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};

use famfs_core::append;
use famfs_core::entry::{DeleteEntry, Entry, FileEntry, MkdirEntry, Owner};
use famfs_core::extent::Map;
use famfs_core::path::RelPath;
use famfs_core::space::Layout;
use famfs_core::superblock::Role;
use famfs_core::units::{ByteLen, FileOff, Slot};
use famfs_mem::{Access, Kind, Registration, Source, close_in_child, default_threads};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::lock::{Held, HostLock};
use crate::table::{Promise, Table};
use crate::volume::{Inner, State, Volume};

/// Data from this size on is written by several threads.
const PARALLEL_FROM: u64 = 8 << 20;

/// A gap from this size on is punched where the backing is sparse, rather than filled.
const PUNCH_FROM: u64 = 2 << 20;

/// What bytes past a file's end are cleared up to: the largest page that a host may map.
const PAGE: u64 = 64 << 10;

/// What a process needs to write to a volume.
#[derive(Debug)]
pub(crate) struct Writer {
    lock: Arc<HostLock>,
    table: Arc<Mutex<Table>>,
    /// Keeps a forked child from holding its parent's lock.
    _closed_in_child: Option<Registration>,
}

/// The writer's parts, cloned out so that nothing is locked while another process is waited for.
struct Tools {
    lock: Arc<HostLock>,
    table: Arc<Mutex<Table>>,
}

/// Space for one file, filled by this process, not visible yet. Dropped, it was never there.
#[derive(Debug)]
pub struct Reservation {
    volume: Arc<Inner>,
    promise: Promise,
    /// The ranges of the file that were written, by where they begin.
    written: Mutex<BTreeMap<u64, u64>>,
    /// Whether the table still has it: not committed.
    open: bool,
}

/// A file to be published.
#[derive(Debug)]
pub struct Publication {
    /// Its space and bytes.
    pub reservation: Reservation,
    /// Its path.
    pub path: RelPath,
    /// Its owner and mode.
    pub owner: Owner,
    /// Whether it may take the place of a file that is there.
    pub overwrite: bool,
}

impl Inner {
    fn check_writer(&self) -> Result<()> {
        if self.generation != famfs_mem::generation() {
            return Err(Error::Forked);
        }
        if self.host().is_nil() {
            crate::host::identity()?;
        }
        if self.superblock.role(self.host()) != Role::Master {
            return Err(Error::NotMaster {
                master: self.superblock.system_uuid(),
                host: self.host(),
            });
        }
        if !self.region.is_writable() || self.source.access() == Access::ReadOnly {
            return Err(Error::Permission {
                path: self.path(),
                what: "publishing",
                next: "ask for write access to the device or backing file",
            });
        }
        Ok(())
    }

    fn tools(&self) -> Result<Tools> {
        self.check_writer()?;
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.is_none() {
            let file = self.file_to_lock()?;
            let closed =
                Some(
                    close_in_child(file.as_raw_fd()).map_err(|full| Error::Unsupported {
                        what: self.path().display().to_string(),
                        why: format!(
                            "{full}: too many volumes are open for writing in this process"
                        ),
                    })?,
                );
            let table = Table::open(&self.source, self.superblock.uuid())?;
            *writer = Some(Writer {
                lock: Arc::new(HostLock::new(file)),
                table: Arc::new(Mutex::new(table)),
                _closed_in_child: closed,
            });
        }
        let writer = writer.as_ref().ok_or(Error::Forked)?;
        Ok(Tools {
            lock: Arc::clone(&writer.lock),
            table: Arc::clone(&writer.table),
        })
    }

    /// An open file of its own: a lock belongs to the open file.
    fn file_to_lock(&self) -> Result<File> {
        let path = self.path();
        let gone = |why: &str| Error::VolumeChanged {
            path: path.clone(),
            why: why.into(),
        };
        let again = Source::open(&path, Access::ReadOnly)
            .map_err(|_| gone("its device or backing file can't be opened any more"))?;
        if again.identity() != self.source.identity() {
            return Err(gone("its path leads to another file"));
        }
        again
            .file()
            .try_clone()
            .map_err(Error::io(&path, "open to lock"))
    }

    /// Under the host lock, with the log followed to its end.
    fn locked<T>(&self, work: impl FnOnce(&mut Table, &mut State) -> Result<T>) -> Result<T> {
        let tools = self.tools()?;
        let held: Held<'_> = tools.lock.hold(self.source.path())?;
        let mut table = tools.table.lock().unwrap_or_else(PoisonError::into_inner);
        let ready = self
            .check_path()
            .and_then(|()| self.refresh())
            .and_then(|_| table.check());
        if let Err(error) = ready {
            // Another volume, or another table: what is held here is let go of, and the next call
            // begins anew.
            *self.writer.lock().unwrap_or_else(PoisonError::into_inner) = None;
            return Err(error);
        }
        let mut state = self.write();
        let result = work(&mut table, &mut state);
        drop(state);
        drop(held);
        result
    }

    /// Checks that the path still leads to the volume, by one name: the reservations lie beside it,
    /// and everybody must find the same ones.
    fn check_path(&self) -> Result<()> {
        let path = self.source.path();
        if self.source.kind() != Kind::File {
            return Ok(());
        }
        let (dev, ino) = (self.source.identity().dev, self.source.identity().ino);
        match std::fs::metadata(path) {
            Ok(found) if (found.dev(), found.ino()) != (dev, ino) => Err(Error::VolumeChanged {
                path: path.to_owned(),
                why: "its path leads to another file".into(),
            }),
            Ok(found) if found.nlink() > 1 => Err(Error::Unsupported {
                what: path.display().to_string(),
                why: "the backing file has several names (hard links), and reservations would be \
                      kept beside each; publish when it has one"
                    .into(),
            }),
            Ok(_) => Ok(()),
            Err(error) => Err(Error::VolumeChanged {
                path: path.to_owned(),
                why: format!("its backing file can't be found any more: {error}"),
            }),
        }
    }

    /// Appends entries and applies them here. Called under the host lock.
    fn append(&self, state: &mut State, entries: &[Entry], names: &[String]) -> Result<Vec<Slot>> {
        let batch = append::plan(&state.replay, entries)
            .map_err(Error::append(self.source.path(), names))?;
        self.coherence
            .append(&batch)
            .map_err(Error::fault(self.source.path()))?;
        // Not applied from here: the next refresh reads it like any other entry, so that what is
        // believed is what is there.
        Ok(batch.slots().collect())
    }
}

impl Volume {
    /// Reserves space for a file of `size` bytes. Nothing is visible, and dropping it forgets it.
    ///
    /// # Errors
    /// [`Error::NotMaster`], [`Error::ReadOnlyVolume`], [`Error::NoSpace`], [`Error::Permission`].
    pub fn reserve(&self, size: ByteLen, layout: Layout) -> Result<Reservation> {
        let promise = self.inner.locked(|table, state| {
            let reason = |reason| Error::ReadOnlyVolume {
                path: self.inner.path(),
                reason,
            };
            state.replay.writable().map_err(reason)?;
            let live = table.live()?;
            let space = state.replay.space_mut();
            space.hold(live.iter().flat_map(|promise| promise.map.extents().iter()));
            let map = space
                .allocate(size, layout)
                .map_err(|reason| Error::NoSpace {
                    path: self.inner.path().display().to_string(),
                    reason,
                })?;
            let promise = Promise {
                token: Uuid::new_v4(),
                size,
                map,
            };
            table.add(&promise)?;
            Ok(promise)
        })?;
        Ok(self.reservation(&promise))
    }

    /// Takes part in a reservation of another process, by its token.
    ///
    /// It lives until its last holder is gone. What this process does not write is taken to have
    /// been written by the others.
    ///
    /// # Errors
    /// [`Error::NoReservation`] where nobody holds it any more.
    pub fn adopt(&self, token: Uuid) -> Result<Reservation> {
        let promise = self.inner.locked(|table, _| table.adopt(token))?;
        let reservation = self.reservation(&promise);
        reservation.note(0, promise.size.0);
        Ok(reservation)
    }

    fn reservation(&self, promise: &Promise) -> Reservation {
        Reservation {
            volume: Arc::clone(&self.inner),
            promise: *promise,
            written: Mutex::new(BTreeMap::new()),
            open: true,
        }
    }

    /// Publishes files: all of them or none, in one step. The slots of their entries come back.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::ParentMissing`], [`Error::LogFull`] and what
    /// [`Self::reserve`] returns; then none is visible, and their space is free again.
    pub fn commit(&self, mut files: Vec<Publication>) -> Result<Vec<Slot>> {
        for file in &files {
            file.reservation.clear_rest()?;
        }
        let names: Vec<_> = files.iter().map(|file| file.path.to_string()).collect();
        let slots = self.inner.locked(|table, state| {
            let mut here = Vec::with_capacity(files.len());
            let mut entries = Vec::with_capacity(files.len());
            for file in &files {
                table.confirm(file.reservation.promise.token)?;
                let found = state.replay.names().lookup(file.path.as_bytes());
                if file.overwrite && found.is_some_and(|node| node.is_dir()) {
                    return Err(Error::IsADirectory {
                        path: file.path.to_string(),
                    });
                }
                let is_file = found.is_some_and(|node| !node.is_dir());
                let twice = here.contains(&file.path);
                here.push(file.path);
                entries.push(Entry::File(FileEntry {
                    path: file.path,
                    size: file.reservation.promise.size,
                    owner: file.owner,
                    // Only where there is something: what replaces nothing is read by all alike.
                    replace: file.overwrite && (is_file || twice),
                    map: file.reservation.promise.map,
                }));
            }
            let slots = self.inner.append(state, &entries, &names)?;
            for file in &mut files {
                file.reservation.open = false;
                // The log names the space now: a record that stays is reaped with its holder.
                let _ = table.fulfil(file.reservation.promise.token);
            }
            Ok(slots)
        })?;
        self.refresh()?;
        Ok(slots)
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::ParentMissing`] and what [`Self::reserve`] returns.
    pub fn mkdir(&self, path: RelPath, owner: Owner) -> Result<Slot> {
        self.append_one(&path, |_| Ok(Entry::Mkdir(MkdirEntry { path, owner })))
    }

    /// Takes a name away. Who has the file open keeps it; its space does not come back yet.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::DirectoryNotEmpty`], [`Error::Unsupported`] on an OMF 2.2
    /// volume, and what [`Self::reserve`] returns.
    pub fn remove(&self, path: RelPath) -> Result<Slot> {
        self.append_one(&path, |state| {
            let node = state
                .replay
                .names()
                .lookup(path.as_bytes())
                .ok_or_else(|| Error::NotFound {
                    path: path.to_string(),
                })?;
            Ok(Entry::Delete(DeleteEntry {
                path,
                slot: node.slot(),
            }))
        })
    }

    fn append_one(
        &self,
        path: &RelPath,
        entry: impl FnOnce(&State) -> Result<Entry>,
    ) -> Result<Slot> {
        let slots = self.inner.locked(|_, state| {
            let entry = entry(state)?;
            self.inner.append(state, &[entry], &[path.to_string()])
        })?;
        self.refresh()?;
        slots.first().copied().ok_or(Error::Forked)
    }
}

impl Reservation {
    /// The token that other processes take part by, for as long as one holder lives.
    ///
    /// What was not written yet is cleared first: who fills and who commits may then be others.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub fn hand_over(&self) -> Result<Uuid> {
        self.check_range(FileOff(0), 0)?;
        self.clear_rest()?;
        self.note(0, self.promise.size.0);
        Ok(self.promise.token)
    }

    /// The file's size in bytes.
    #[must_use]
    pub fn size(&self) -> ByteLen {
        self.promise.size
    }

    /// Where its bytes will lie.
    #[must_use]
    pub fn map(&self) -> &Map {
        &self.promise.map
    }

    /// Writes bytes of the file, straight to where they stay. Threads may fill parts of it at the
    /// same time.
    ///
    /// # Errors
    /// [`Error::Usage`] past the file's end; [`Error::MemoryFault`]; [`Error::Forked`].
    pub fn fill(&self, at: FileOff, bytes: &[u8]) -> Result<()> {
        let threads = if bytes.len() as u64 >= PARALLEL_FROM {
            default_threads()
        } else {
            1
        };
        self.fill_with(at, bytes, threads)
    }

    /// Writes bytes of the file with up to `threads` threads.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub fn fill_with(&self, at: FileOff, bytes: &[u8], threads: usize) -> Result<()> {
        let len = bytes.len() as u64;
        self.check_range(at, len)?;
        let mut rest = bytes;
        for run in self.promise.map.runs(at, ByteLen(len)) {
            let (piece, after) = rest.split_at(usize::try_from(run.len.0).unwrap_or(usize::MAX));
            self.volume
                .coherence
                .put_data(run.offset, piece, threads)
                .map_err(Error::fault(self.volume.source.path()))?;
            rest = after;
        }
        self.note(at.0, len);
        Ok(())
    }

    /// Makes bytes of the file zero.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub fn zero(&self, at: FileOff, len: ByteLen) -> Result<()> {
        self.check_range(at, len.0)?;
        self.clear(at.0, len.0)?;
        self.note(at.0, len.0);
        Ok(())
    }

    fn check_range(&self, at: FileOff, len: u64) -> Result<()> {
        if self.volume.generation != famfs_mem::generation() {
            return Err(Error::Forked);
        }
        // In a volume that was made here since, the range may be somebody else's.
        self.volume.check_identity()?;
        let size = self.promise.size.0;
        if at.0.checked_add(len).is_none_or(|end| end > size) {
            return Err(Error::Usage(format!(
                "{len} bytes at {at} do not fit the {size} bytes that are reserved"
            )));
        }
        Ok(())
    }

    /// Remembers that a range was written, joined with its neighbours.
    fn note(&self, at: u64, len: u64) {
        if len == 0 {
            return;
        }
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut start, mut end) = (at, at + len);
        while let Some((&before, &before_end)) = written.range(..=end).next_back() {
            if before_end < start {
                break;
            }
            written.remove(&before);
            start = start.min(before);
            end = end.max(before_end);
        }
        written.insert(start, end);
    }

    /// Clears what was not written, up to the end of the last page: memory that a reader can see
    /// is never another file's leftovers.
    fn clear_rest(&self) -> Result<()> {
        let size = self.promise.size.0;
        let end = size.checked_next_multiple_of(PAGE).unwrap_or(size);
        let end = end.min(self.promise.map.capacity());
        let mut gaps = Vec::new();
        let mut at = 0;
        for (&start, &stop) in self
            .written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            gaps.push((at, start - at));
            at = stop;
        }
        gaps.push((at, end.saturating_sub(at)));
        gaps.retain(|(_, len)| *len > 0);
        gaps.into_iter()
            .try_for_each(|(at, len)| self.clear(at, len))
    }

    fn clear(&self, at: u64, len: u64) -> Result<()> {
        let volume = &self.volume;
        let threads = if len >= PARALLEL_FROM {
            default_threads()
        } else {
            1
        };
        for run in self.promise.map.runs(FileOff(at), ByteLen(len)) {
            // A sparse backing stays sparse. Elsewhere zeros are streamed: giving pages back only
            // to take them again costs more, and the host could be full in between.
            let punched = run.len.0 >= PUNCH_FROM
                && volume.is_sparse()
                && volume.source.punch(run.offset.0, run.len.0).is_ok();
            if !punched {
                volume
                    .coherence
                    .zero_data(run.offset, run.len.0, threads)
                    .map_err(Error::fault(volume.source.path()))?;
            }
        }
        Ok(())
    }
}

impl Inner {
    fn is_sparse(&self) -> bool {
        self.source.kind() == Kind::File
            && self
                .source
                .file()
                .metadata()
                .is_ok_and(|m| m.blocks() * 512 < m.len())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.open || self.volume.generation != famfs_mem::generation() {
            return;
        }
        let token = self.promise.token;
        // What can't be given back now is reaped when this process is gone.
        let _ = self.volume.locked(|table, _| table.release(token));
    }
}
