//! Publishing: reserve, fill, commit.
//!
//! Owns what a publisher does and in which order: space is reserved under the host lock, filled
//! without it ([`crate::reservation`]), and named by the log under it again. Nothing is visible
//! before the commit, and what is dropped before it was never there.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use famfs_core::entry::{DeleteEntry, Entry, FileEntry, MkdirEntry, Owner};
use famfs_core::path::{PathError, RelPath};
use famfs_core::space::{Layout, Space, SpaceError};
use famfs_core::units::{ByteLen, Slot};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::kernel::Player;
use crate::reservation::Reservation;
use crate::table::{Promise, Table};
use crate::volume::{Inner, State, Volume};

/// Ranges that are passed over because the kernel holds them, before that is told.
const MOST_PASSED_OVER: usize = 64;

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

/// Whether what is to be appended may be, by the state as it is then.
pub(crate) type May<'a> = &'a dyn Fn(&State) -> Result<()>;

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
    /// `filled` are the kernel's files that belong to the entries, in their order, as far as this
    /// process has them; the log is played for the others.
    fn publish(
        &self,
        state: &mut State,
        entries: &[Entry],
        paths: &[RelPath],
        filled: &[Option<Arc<File>>],
        may: May<'_>,
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
            may(state)?;
            let slots = self.append(state, entries, &names)?;
            return Ok(Appended {
                slots,
                not_shown: None,
            });
        };
        // What another process has published, and had no time to name, comes first. An entry that
        // can't be followed is of no concern here, unless one of these paths depends on it.
        let followed = Player::new(self, kernel, state).play(kernel.played());
        may(state)?;
        for path in paths {
            if let Err(error) = Player::new(self, kernel, state).check(path) {
                return Err(followed.err().unwrap_or(error));
            }
        }
        let slots = self.append(state, entries, &names)?;
        for (slot, file) in slots.iter().zip(filled) {
            if let Some(file) = file {
                kernel.keep_filled(*slot, Arc::clone(file));
            }
        }
        let shown = self.refresh_in(state).and_then(|_| {
            let played = Player::new(self, kernel, state).play(kernel.played());
            // Others that can't be followed are told to who plays the log.
            let is_shown = slots.iter().all(|slot| !kernel.left_over().contains(slot));
            if is_shown { Ok(()) } else { played.map(|_| ()) }
        });
        Ok(Appended {
            slots,
            not_shown: shown.err(),
        })
    }
}

impl Inner {
    /// The space, of which free is what neither the log nor any publisher has.
    pub(crate) fn free_space<'a>(
        &self,
        table: &Table,
        state: &'a mut State,
    ) -> Result<&'a mut Space> {
        let reason = |reason| Error::ReadOnlyVolume {
            path: self.path(),
            reason,
        };
        state.replay.writable().map_err(reason)?;
        let live = table.live()?;
        let space = state.replay.space_mut();
        space.hold(live.iter().flat_map(|promise| promise.map.extents().iter()));
        Ok(space)
    }

    /// Why no space was found.
    pub(crate) fn no_space(&self, reason: SpaceError) -> Error {
        match reason {
            SpaceError::Interleave { .. } => Error::Usage(reason.to_string()),
            reason => Error::NoSpace {
                path: self.path().display().to_string(),
                reason,
            },
        }
    }
}

/// Checks that there are the files that were told of, and no others.
fn check_told<'a>(
    told: Option<&[RelPath]>,
    found: impl Iterator<Item = &'a RelPath>,
) -> Result<()> {
    let Some(told) = told else { return Ok(()) };
    let found: BTreeSet<_> = found.map(RelPath::as_bytes).collect();
    let told: BTreeSet<_> = told.iter().map(RelPath::as_bytes).collect();
    let missing = (told.difference(&found).next(), "is not filled");
    let beside = (found.difference(&told).next(), "is filled, and not told of");
    let differs: Vec<_> = [missing, beside]
        .into_iter()
        .filter_map(|(path, what)| Some(format!("{} {what}", path?.escape_ascii())))
        .collect();
    if differs.is_empty() {
        return Ok(());
    }
    Err(Error::OtherFiles {
        differs: differs.join(", "),
    })
}

/// The entries of files, whose `replace` says whether they may, with their paths.
fn entries(
    state: &State,
    files: impl Iterator<Item = FileEntry>,
) -> Result<(Vec<RelPath>, Vec<Entry>)> {
    let (mut paths, mut entries) = (Vec::new(), Vec::new());
    for mut file in files {
        let found = state.replay.names().lookup(file.path.as_bytes());
        if file.replace && found.is_some_and(|node| node.is_dir()) {
            return Err(Error::IsADirectory {
                path: file.path.to_string(),
            });
        }
        let is_file = found.is_some_and(|node| !node.is_dir());
        // Only where there is something: what replaces nothing is read by all alike.
        file.replace &= is_file || paths.contains(&file.path);
        paths.push(file.path);
        entries.push(Entry::File(file));
    }
    Ok((paths, entries))
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

    pub(crate) fn reserve_here(&self, size: ByteLen, layout: Layout) -> Result<Reservation> {
        // Space that is free by the log and the table may be held by the kernel still: somebody
        // keeps a file open that was never committed. It is passed over, and held meanwhile so that
        // it isn't found again.
        let mut passed_over = Vec::new();
        let mut why = None;
        loop {
            let promised = self.promise(size, layout);
            let mut reservation = match (promised, why) {
                // What is free is held: that says more than that nothing else is.
                (Err(Error::NoSpace { .. }), Some(why)) => return Err(why),
                (promised, _) => promised?,
            };
            match reservation.show() {
                Ok(()) => return Ok(reservation),
                Err(error @ Error::Busy { .. }) if passed_over.len() < MOST_PASSED_OVER => {
                    passed_over.push(reservation);
                    why = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn promise(&self, size: ByteLen, layout: Layout) -> Result<Reservation> {
        let (promise, table) = self.inner.locked_in(|table, state| {
            let space = self.inner.free_space(table, state)?;
            let map = space
                .allocate(size, layout)
                .map_err(|reason| self.inner.no_space(reason))?;
            let promise = Promise {
                token: Uuid::new_v4(),
                size,
                map,
            };
            table.add(&promise)?;
            Ok(promise)
        })?;
        Ok(Reservation::new(&self.inner, &promise, table))
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
        let mut reservation = Reservation::new(&self.inner, &promise, table);
        reservation.show_adopted()?;
        reservation.note(0, promise.size.0);
        Ok(reservation)
    }

    /// Publishes files: all of them or none, in one step. The slots of their entries come back.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::ParentMissing`], [`Error::LogFull`] and what
    /// [`Self::reserve`] returns; then none is visible, and their space is free again.
    /// [`Error::NotShown`] where all are published, and this host's kernel can't name them yet.
    pub fn commit(&self, files: Vec<Publication>) -> Result<Vec<Slot>> {
        self.commit_if(files, &|_| Ok(()))
    }

    pub(crate) fn commit_if(&self, mut files: Vec<Publication>, may: May<'_>) -> Result<Vec<Slot>> {
        let committed = self.commit_files(&mut files, None, None, may)?;
        Ok(committed.into_iter().map(|(_, slot)| slot).collect())
    }

    /// Publishes files, and with them the parts of a transaction that other processes have filled.
    /// Those that were committed are not open any more; where none was, all are as they were.
    /// `told` are the paths that all of it must have together, where that is asked.
    pub(crate) fn commit_files(
        &self,
        files: &mut [Publication],
        transaction: Option<Uuid>,
        told: Option<&[RelPath]>,
        may: May<'_>,
    ) -> Result<Vec<(RelPath, Slot)>> {
        if transaction.is_none() {
            check_told(told, files.iter().map(|file| &file.path))?;
            if files.is_empty() {
                return Ok(Vec::new());
            }
        }
        for file in files.iter() {
            file.reservation.seal()?;
            file.reservation.clear_rest()?;
        }
        if let Some(client) = files.iter().find_map(|file| file.reservation.follower()) {
            let client = Arc::clone(client);
            let slots = self.commit_by(&client, files)?;
            return Ok(files.iter().map(|file| file.path).zip(slots).collect());
        }
        let (paths, appended) = self.inner.locked(|table, state| {
            let own: Vec<_> = files.iter().map(|file| file.reservation.token()).collect();
            own.iter().try_for_each(|token| table.confirm(*token))?;
            let others = match transaction {
                Some(token) => {
                    table.check_held(token)?;
                    table.filled(token, &own)?
                }
                None => Vec::new(),
            };
            let own = files.iter().map(|file| FileEntry {
                path: file.path,
                size: file.reservation.size(),
                owner: file.owner,
                replace: file.overwrite,
                map: *file.reservation.map(),
            });
            let filled = others.iter().map(|(_, promise, part)| FileEntry {
                path: part.path,
                size: promise.size,
                owner: part.owner,
                replace: part.overwrite,
                map: promise.map,
            });
            let (paths, entries) = entries(state, own.chain(filled))?;
            check_told(told, paths.iter())?;
            if entries.is_empty() {
                return Ok((paths, None));
            }
            let shown: Vec<_> = files
                .iter()
                .map(|file| file.reservation.shown().cloned())
                .collect();
            let appended = self.inner.publish(state, &entries, &paths, &shown, may)?;
            for file in files.iter_mut() {
                file.reservation.committed();
                // The log names the space now: a record that stays is reaped with its holder.
                let _ = table.fulfil(file.reservation.token());
            }
            for (index, _, _) in others {
                let _ = table.clear(index);
            }
            Ok((paths, Some(appended)))
        })?;
        self.refresh()?;
        let slots = match appended {
            Some(appended) => appended.told(self.path())?,
            None => Vec::new(),
        };
        Ok(paths.into_iter().zip(slots).collect())
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::ParentMissing`] and what [`Self::reserve`] returns.
    pub fn mkdir(&self, path: RelPath, owner: Owner) -> Result<Slot> {
        if let Some(client) = self.inner.follower()? {
            return self.told(client.mkdir(&path, owner));
        }
        self.mkdir_if(path, owner, &|_| Ok(()))
    }

    pub(crate) fn mkdir_if(&self, path: RelPath, owner: Owner, may: May<'_>) -> Result<Slot> {
        self.append_one(path, may, |_| Ok(Entry::Mkdir(MkdirEntry { path, owner })))
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
        self.remove_if(path, &|_| Ok(()))
    }

    pub(crate) fn remove_if(&self, path: RelPath, may: May<'_>) -> Result<Slot> {
        self.append_one(path, may, |state| {
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
        path: RelPath,
        may: May<'_>,
        entry: impl FnOnce(&State) -> Result<Entry>,
    ) -> Result<Slot> {
        let appended = self.inner.locked(|_, state| {
            let entry = entry(state)?;
            self.inner.publish(state, &[entry], &[path], &[], may)
        })?;
        self.refresh()?;
        let slots = appended.told(self.path())?;
        slots.first().copied().ok_or(Error::Forked)
    }
}
