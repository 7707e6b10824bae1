//! Writing: reserve, fill, commit.
//!
//! Owns what a publisher may do and in which order: space is reserved under the host lock, filled
//! without it ([`crate::reservation`]), and named by the log under it again. Nothing is visible
//! before the commit, and what is dropped before it was never there.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};

use famfs_core::append;
use famfs_core::entry::{DeleteEntry, Entry, FileEntry, MkdirEntry, Owner};
use famfs_core::path::RelPath;
use famfs_core::space::{Layout, SpaceError};
use famfs_core::superblock::Role;
use famfs_core::units::{ByteLen, Slot};
use famfs_mem::{Access, Kind, Registration, Source, close_in_child};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::kernel::KernelFiles;
use crate::lock::{Held, HostLock};
use crate::reservation::Reservation;
use crate::table::{Promise, Table};
use crate::volume::{Inner, State, Volume};

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
    pub(crate) fn file_to_lock(&self) -> Result<File> {
        let path = self.path();
        let gone = |why: &str| Error::VolumeChanged {
            path: path.clone(),
            why: why.into(),
        };
        let again = match &self.kernel {
            Some(_) => KernelFiles::open(&path, true).map(|(_, source)| source),
            None => Source::open(&path, Access::ReadOnly).map_err(Error::source),
        };
        let again =
            again.map_err(|_| gone("its device or backing file can't be opened any more"))?;
        if again.identity() != self.source.identity() {
            return Err(gone("its path leads to another file"));
        }
        again
            .file()
            .try_clone()
            .map_err(Error::io(&path, "open to lock"))
    }

    /// Under the host lock, with the log followed to its end.
    pub(crate) fn locked<T>(
        &self,
        work: impl FnOnce(&mut Table, &mut State) -> Result<T>,
    ) -> Result<T> {
        Ok(self.locked_in(work)?.0)
    }

    /// As [`Self::locked`], with the table that it was done in: whoever reserves keeps it open, for
    /// its locks are what holds the reservation.
    fn locked_in<T>(
        &self,
        work: impl FnOnce(&mut Table, &mut State) -> Result<T>,
    ) -> Result<(T, Arc<Mutex<Table>>)> {
        let tools = self.tools()?;
        let held: Held<'_> = tools.lock.hold(self.source.path())?;
        let mut table = tools.table.lock().unwrap_or_else(PoisonError::into_inner);
        let forget = || *self.writer.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let same = self.check_path().and_then(|()| self.refresh());
        if let Err(error) = same {
            // Another volume is there: the next call begins anew. Anything else may pass.
            if matches!(error, Error::VolumeChanged { .. }) {
                forget();
            }
            return Err(error);
        }
        // Another table, likewise: what others are promised stands there.
        table.check().inspect_err(|_| forget())?;
        let mut state = self.write();
        let result = work(&mut table, &mut state);
        drop(state);
        drop(held);
        drop(table);
        Ok((result?, tools.table))
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

/// For each file, the slot of the one whose name it takes: in the log, or earlier in the batch.
enum Before {
    Nothing,
    Slot(Slot),
    InBatch(usize),
}

fn replaced(state: &State, entries: &[Entry]) -> Vec<Before> {
    let path = |entry: &Entry| match entry {
        Entry::File(file) => Some(file.path),
        _ => None,
    };
    let before = |(n, entry): (usize, &Entry)| {
        let Some(own) = path(entry) else {
            return Before::Nothing;
        };
        if let Some(earlier) = entries[..n].iter().rposition(|e| path(e) == Some(own)) {
            return Before::InBatch(earlier);
        }
        let found = state.replay.names().lookup(own.as_bytes());
        found.map_or(Before::Nothing, |node| Before::Slot(node.slot()))
    };
    entries.iter().enumerate().map(before).collect()
}

impl Inner {
    /// Gives the kernel's files the names that the log has just given them.
    fn show_names(&self, files: &[Publication], before: &[Before], slots: &[Slot]) -> Result<()> {
        let Some(kernel) = &self.kernel else {
            return Ok(());
        };
        for (file, before) in files.iter().zip(before) {
            let before = match before {
                Before::Nothing => None,
                Before::Slot(slot) => Some(*slot),
                Before::InBatch(n) => slots.get(*n).copied(),
            };
            if let Some(shown) = file.reservation.shown() {
                kernel.name(shown, file.path.as_bytes(), file.owner, before)?;
            }
        }
        Ok(())
    }
}

impl Volume {
    /// Reserves space for a file of `size` bytes. Nothing is visible, and dropping it forgets it.
    ///
    /// # Errors
    /// [`Error::NotMaster`], [`Error::ReadOnlyVolume`], [`Error::NoSpace`], [`Error::Permission`].
    pub fn reserve(&self, size: ByteLen, layout: Layout) -> Result<Reservation> {
        let (promise, table) = self.inner.locked_in(|table, state| {
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
                .map_err(|reason| match reason {
                    SpaceError::Interleave { .. } => Error::Usage(reason.to_string()),
                    reason => Error::NoSpace {
                        path: self.inner.path().display().to_string(),
                        reason,
                    },
                })?;
            let promise = Promise {
                token: Uuid::new_v4(),
                size,
                map,
            };
            table.add(&promise)?;
            Ok(promise)
        })?;
        Reservation::new(&self.inner, &promise, table).show()
    }

    /// Takes part in a reservation of another process, by its token.
    ///
    /// It lives until its last holder is gone. What this process does not write is taken to have
    /// been written by the others.
    ///
    /// # Errors
    /// [`Error::NoReservation`] where nobody holds it any more.
    pub fn adopt(&self, token: Uuid) -> Result<Reservation> {
        if self.inner.kernel.is_some() {
            return Err(Error::Unsupported {
                what: self.path().display().to_string(),
                why: "under a kernel mount a reservation can't be handed to another process yet: \
                      fill it where it was made"
                    .into(),
            });
        }
        let (promise, table) = self.inner.locked_in(|table, _| table.adopt(token))?;
        let reservation = Reservation::new(&self.inner, &promise, table);
        reservation.note(0, promise.size.0);
        Ok(reservation)
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
                table.confirm(file.reservation.token())?;
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
                    size: file.reservation.size(),
                    owner: file.owner,
                    // Only where there is something: what replaces nothing is read by all alike.
                    replace: file.overwrite && (is_file || twice),
                    map: *file.reservation.map(),
                }));
            }
            let before: Vec<_> = replaced(state, &entries);
            let slots = self.inner.append(state, &entries, &names)?;
            for file in &mut files {
                file.reservation.committed();
                // The log names the space now: a record that stays is reaped with its holder.
                let _ = table.fulfil(file.reservation.token());
            }
            // Under the lock: nobody plays the log before these files have their names.
            let shown = self.inner.show_names(&files, &before, &slots);
            Ok((slots, shown))
        })?;
        let (slots, shown) = slots;
        self.refresh()?;
        if shown.is_err() {
            // They are published: what the kernel shows can be made up for, and an error of that
            // says so.
            drop(files);
            self.play(slots.first().copied().unwrap_or_default())?;
        }
        Ok(slots)
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::ParentMissing`] and what [`Self::reserve`] returns.
    pub fn mkdir(&self, path: RelPath, owner: Owner) -> Result<Slot> {
        let slot = self.append_one(&path, |_| Ok(Entry::Mkdir(MkdirEntry { path, owner })))?;
        self.play_one(slot)
    }

    /// Takes a name away. Who has the file open keeps it; its space does not come back yet.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::DirectoryNotEmpty`], [`Error::Unsupported`] on an OMF 2.2
    /// volume, and what [`Self::reserve`] returns.
    pub fn remove(&self, path: RelPath) -> Result<Slot> {
        let slot = self.append_one(&path, |state| {
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
        })?;
        self.play_one(slot)
    }

    /// Lets the kernel follow an entry that was just appended.
    fn play_one(&self, slot: Slot) -> Result<Slot> {
        self.play(slot).map(|_| slot)
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
