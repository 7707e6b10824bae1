//! Writing: reserve, fill, commit.
//!
//! Owns what a publisher may do and in which order: space is reserved under the host lock, filled
//! without it ([`crate::reservation`]), and named by the log under it again. Nothing is visible
//! before the commit, and what is dropped before it was never there.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use famfs_core::append;
use famfs_core::entry::{DeleteEntry, Entry, FileEntry, MkdirEntry, Owner};
use famfs_core::path::{PathError, RelPath};
use famfs_core::space::{Layout, SpaceError};
use famfs_core::superblock::Role;
use famfs_core::units::{ByteLen, Slot};
use famfs_mem::{Access, Kind, Registration, Source, close_in_child};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::kernel::{KernelFiles, Player};
use crate::lock::{Held, HostLock};
use crate::reservation::Reservation;
use crate::service::Client;
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

    /// Who publishes for this process: itself, or the follower of a kernel mount whose log it may
    /// not write.
    fn follower(&self) -> Result<Option<Arc<Client>>> {
        match (self.check_writer(), &self.kernel) {
            (Err(Error::Permission { .. }), Some(kernel)) => kernel.client().map(Some),
            (checked, _) => checked.map(|()| None),
        }
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

/// What an append did.
struct Appended {
    slots: Vec<Slot>,
    /// Why the kernel doesn't show it, although the log has it.
    not_shown: Option<Error>,
}

impl Appended {
    /// The slots; an error where somebody has to do something about the kernel's names.
    fn told(self, at: &Path) -> Result<Vec<Slot>> {
        match (self.not_shown, self.slots.first()) {
            (Some(error), Some(slot)) => Err(Error::NotShown {
                path: at.to_owned(),
                slot: *slot,
                why: error.to_string(),
            }),
            _ => Ok(self.slots),
        }
    }
}

impl Inner {
    /// Appends entries for `paths`, and gives the kernel's files their names where there are any.
    /// Called under the host lock: nobody plays the log in between.
    ///
    /// `filled` are the kernel's files that belong to the entries, in their order.
    fn publish(
        &self,
        state: &mut State,
        entries: &[Entry],
        paths: &[RelPath],
        filled: &[Arc<File>],
    ) -> Result<Appended> {
        for path in paths {
            if path.is_reserved() {
                return Err(Error::InvalidPath {
                    path: path.to_string(),
                    reason: PathError::Reserved,
                });
            }
        }
        let names: Vec<_> = paths.iter().map(ToString::to_string).collect();
        let Some(kernel) = &self.kernel else {
            let slots = self.append(state, entries, &names)?;
            return Ok(Appended {
                slots,
                not_shown: None,
            });
        };
        // What another process has published, and had no time to name, comes first. An entry that
        // can't be followed is of no concern here, unless one of these paths depends on it.
        let followed = Player::new(self, kernel, state).play(kernel.played());
        for path in paths {
            if let Err(error) = Player::new(self, kernel, state).check(path) {
                return Err(followed.err().unwrap_or(error));
            }
        }
        let slots = self.append(state, entries, &names)?;
        for (slot, file) in slots.iter().zip(filled) {
            kernel.keep_filled(*slot, Arc::clone(file));
        }
        let shown = self.refresh_in(state).and_then(|_| {
            let first = slots.first().copied().unwrap_or_default();
            Player::new(self, kernel, state).play(first)
        });
        Ok(Appended {
            slots,
            not_shown: shown.err(),
        })
    }
}

impl Volume {
    /// Reserves space for a file of `size` bytes. Nothing is visible, and dropping it forgets it.
    ///
    /// # Errors
    /// [`Error::NotMaster`], [`Error::ReadOnlyVolume`], [`Error::NoSpace`], [`Error::Permission`].
    pub fn reserve(&self, size: ByteLen, layout: Layout) -> Result<Reservation> {
        match self.inner.follower()? {
            Some(client) => {
                let handed = client.reserve(size, layout)?;
                Reservation::handed(&self.inner, client, handed)
            }
            None => self.reserve_here(size, layout),
        }
    }

    /// Reserves space that another process fills, which is handed the kernel's file: cleared.
    pub(crate) fn reserve_for_others(&self, size: ByteLen, layout: Layout) -> Result<Reservation> {
        self.reserve_here(size, layout)?.clear_for_others()
    }

    fn reserve_here(&self, size: ByteLen, layout: Layout) -> Result<Reservation> {
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
        if let Some(client) = self.inner.follower()? {
            let handed = client.adopt(token)?;
            return Reservation::handed(&self.inner, client, handed);
        }
        let (promise, table) = self.inner.locked_in(|table, _| table.adopt(token))?;
        let reservation = Reservation::new(&self.inner, &promise, table).show_adopted()?;
        reservation.note(0, promise.size.0);
        Ok(reservation)
    }

    /// Publishes files: all of them or none, in one step. The slots of their entries come back.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::ParentMissing`], [`Error::LogFull`] and what
    /// [`Self::reserve`] returns; then none is visible, and their space is free again.
    /// [`Error::NotShown`] where all are published, and this host's kernel can't name them yet.
    pub fn commit(&self, mut files: Vec<Publication>) -> Result<Vec<Slot>> {
        for file in &files {
            file.reservation.clear_rest()?;
        }
        if let Some(client) = files.iter().find_map(|file| file.reservation.follower()) {
            let client = Arc::clone(client);
            return self.commit_by(&client, &mut files);
        }
        let appended = self.inner.locked(|table, state| {
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
            let filled = files.iter().filter_map(|file| file.reservation.shown());
            let filled: Vec<_> = filled.cloned().collect();
            let appended = self.inner.publish(state, &entries, &here, &filled)?;
            for file in &mut files {
                file.reservation.committed();
                // The log names the space now: a record that stays is reaped with its holder.
                let _ = table.fulfil(file.reservation.token());
            }
            Ok(appended)
        })?;
        self.refresh()?;
        appended.told(self.path())
    }

    /// Has the follower commit what it keeps.
    fn commit_by(&self, client: &Client, files: &mut [Publication]) -> Result<Vec<Slot>> {
        let asked: Vec<_> = files
            .iter()
            .map(|file| {
                let token = file.reservation.token();
                (token, file.path, file.owner, file.overwrite)
            })
            .collect();
        let slots = client.commit(&asked)?;
        for file in files {
            file.reservation.committed();
        }
        self.refresh()?;
        Ok(slots)
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::ParentMissing`] and what [`Self::reserve`] returns.
    pub fn mkdir(&self, path: RelPath, owner: Owner) -> Result<Slot> {
        if let Some(client) = self.inner.follower()? {
            return self.told(client.mkdir(&path, owner));
        }
        self.append_one(path, |_| Ok(Entry::Mkdir(MkdirEntry { path, owner })))
    }

    /// Takes a name away. Who has the file open keeps it; its space does not come back yet.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::DirectoryNotEmpty`], [`Error::Unsupported`] on an OMF 2.2
    /// volume, and what [`Self::reserve`] returns.
    pub fn remove(&self, path: RelPath) -> Result<Slot> {
        if let Some(client) = self.inner.follower()? {
            return self.told(client.remove(&path));
        }
        self.append_one(path, |state| {
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

    /// Follows what the follower has appended.
    fn told(&self, slots: Result<Vec<Slot>>) -> Result<Slot> {
        let slots = slots?;
        self.refresh()?;
        slots.first().copied().ok_or(Error::Forked)
    }

    fn append_one(
        &self,
        path: RelPath,
        entry: impl FnOnce(&State) -> Result<Entry>,
    ) -> Result<Slot> {
        let appended = self.inner.locked(|_, state| {
            let entry = entry(state)?;
            self.inner.publish(state, &[entry], &[path], &[])
        })?;
        self.refresh()?;
        let slots = appended.told(self.path())?;
        slots.first().copied().ok_or(Error::Forked)
    }
}
