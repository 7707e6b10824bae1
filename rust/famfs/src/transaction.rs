//! A transaction: files that appear together, from several threads and processes.
//!
//! Owns who has a part in it. The owner holds a record of its own in the reservation table, whose
//! token is the transaction's; each file is a reservation that names it. What another process has
//! filled stays there when that process ends, for as long as the owner holds its record, and the
//! owner's commit appends all entries at once. Where the owner ends first nothing was ever there.

use std::sync::{Mutex, MutexGuard, PoisonError};

use famfs_core::entry::Owner;
use famfs_core::path::RelPath;
use famfs_core::space::Layout;
use famfs_core::units::{ByteLen, Slot};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::publish::Publication;
use crate::record::Part;
use crate::reservation::Reservation;
use crate::volume::Volume;

/// Files of one volume that appear together or never.
///
/// Threads may share it. A forked child takes part by the token, as any other process.
#[derive(Debug)]
pub struct Transaction {
    volume: Volume,
    /// `None` where there can be no others: under a mount whose follower publishes for its users.
    token: Option<Uuid>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    role: Role,
    /// The owner's record, which keeps what others have filled.
    own: Option<Reservation>,
    files: Vec<Publication>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// The one who commits.
    Owner,
    /// One of those who fill.
    Part,
    /// It was committed or given up.
    Ended,
}

impl Volume {
    /// Begins a transaction.
    ///
    /// # Errors
    /// As [`Self::reserve`].
    pub fn transaction(&self) -> Result<Transaction> {
        let own = match self.inner.follower()? {
            Some(_) => None,
            None => Some(self.promise(ByteLen(0), Layout::Contiguous)?),
        };
        Ok(Transaction {
            volume: self.clone(),
            token: own.as_ref().map(Reservation::token),
            state: Mutex::new(State {
                role: Role::Owner,
                own,
                files: Vec::new(),
            }),
        })
    }

    /// Takes part in a transaction of another process of this host.
    ///
    /// # Errors
    /// [`Error::NoReservation`] where it has ended; [`Error::Unsupported`] under a mount whose
    /// follower publishes for its users.
    pub fn join(&self, token: Uuid) -> Result<Transaction> {
        if self.inner.follower()?.is_some() {
            return Err(self.one_process());
        }
        self.inner.locked(|table, _| table.check_held(token))?;
        Ok(Transaction {
            volume: self.clone(),
            token: Some(token),
            state: Mutex::new(State {
                role: Role::Part,
                own: None,
                files: Vec::new(),
            }),
        })
    }

    fn one_process(&self) -> Error {
        Error::Unsupported {
            what: self.path().display().to_string(),
            why: "the mount's follower publishes for this user, and knows transactions of one \
                  process alone: publish all files from it, or run this as root"
                .into(),
        }
    }
}

impl Transaction {
    /// The volume that its files are in.
    #[must_use]
    pub fn volume(&self) -> &Volume {
        &self.volume
    }

    /// What other processes of this host take part by.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where no others can.
    pub fn token(&self) -> Result<Uuid> {
        self.token.ok_or_else(|| self.volume.one_process())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.state();
        if state.role == Role::Ended {
            return Err(Error::Usage(
                "the transaction has ended: begin a new one".into(),
            ));
        }
        Ok(state)
    }

    /// Reserves space for a file of the transaction. Dropped before it is [added](Self::add), it
    /// was never there; but for who only takes part: others wait for what was begun, and the commit
    /// is refused until somebody has published it in the transaction.
    ///
    /// # Errors
    /// [`Error::Twice`] where the transaction has a file at that path; as [`Volume::reserve`].
    pub fn reserve(
        &self,
        size: ByteLen,
        layout: Layout,
        path: RelPath,
        owner: Owner,
        overwrite: bool,
    ) -> Result<Reservation> {
        let is_part = self.open()?.role == Role::Part;
        let Some(transaction) = self.token else {
            return self.volume.reserve(size, layout);
        };
        let part = Part {
            transaction,
            path,
            owner,
            overwrite,
            filled: false,
        };
        let mut reservation = self.volume.reserve_here(size, layout)?;
        let file = reservation.token();
        let inner = &self.volume.inner;
        inner.locked(|table, _| table.assign(file, part))?;
        if is_part {
            reservation.stay();
        }
        Ok(reservation)
    }

    /// Adds a file that is filled, of a reservation of this transaction.
    ///
    /// # Errors
    /// [`Error::Twice`]; [`Error::Usage`] where the transaction has ended; what the memory that was
    /// lent of it says when it is taken back.
    pub fn add(&self, file: Publication) -> Result<()> {
        file.reservation.seal()?;
        let mut state = self.open()?;
        if state.files.iter().any(|other| other.path == file.path) {
            return Err(Error::Twice {
                path: file.path.to_string(),
            });
        }
        state.files.push(file);
        Ok(())
    }

    /// Publishes all files: those that were added here, and those that others have added and
    /// committed. All or none, in one step; their paths and slots come back.
    ///
    /// For who only takes part: leaves what was added here to the owner's commit.
    ///
    /// # Errors
    /// [`Error::Busy`] while another process fills a file, and [`Error::Unfinished`] where one has
    /// ended before it had: then the transaction goes on, and may be committed later. As
    /// [`Volume::commit`] otherwise.
    pub fn commit(&self) -> Result<Vec<(RelPath, Slot)>> {
        self.commit_told(None)
    }

    /// As [`Self::commit`], where the files are those that were told of and no others: whose work
    /// was lost, or done by nobody who told of it, is found before anything is published.
    ///
    /// # Errors
    /// [`Error::OtherFiles`]; then the transaction goes on. As [`Self::commit`] otherwise.
    pub fn commit_only(&self, told: &[RelPath]) -> Result<Vec<(RelPath, Slot)>> {
        self.commit_told(Some(told))
    }

    fn commit_told(&self, told: Option<&[RelPath]>) -> Result<Vec<(RelPath, Slot)>> {
        let mut state = self.open()?;
        let State { role, own, files } = &mut *state;
        if *role == Role::Part {
            self.leave(files)?;
            *role = Role::Ended;
            return Ok(Vec::new());
        }
        let had = files.len();
        let committed = self
            .volume
            .commit_files(files, self.token, told, &|_| Ok(()));
        // An error after the log had them is told, and does not undo it.
        files.retain(|file| file.reservation.is_open());
        let ended = committed.is_ok() || files.len() < had;
        let own = if ended {
            *role = Role::Ended;
            own.take()
        } else {
            None
        };
        // Giving its record back takes the host's lock: not with ours held.
        drop(state);
        drop(own);
        committed
    }

    /// Marks files as filled, and lets go of them.
    fn leave(&self, files: &mut Vec<Publication>) -> Result<()> {
        let token = self.token()?;
        for file in files.iter() {
            file.reservation.clear_rest()?;
        }
        self.volume.inner.locked(|table, _| {
            table.check_held(token)?;
            for file in files.iter_mut() {
                table.leave(file.reservation.token(), true)?;
                file.reservation.left();
            }
            Ok(())
        })?;
        files.clear();
        Ok(())
    }

    /// Gives up what was not committed: nothing of it was ever there.
    pub fn abandon(&self) {
        let mut state = self.state();
        state.role = Role::Ended;
        let files = std::mem::take(&mut state.files);
        let own = state.own.take();
        drop(state);
        drop(files);
        drop(own);
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.abandon();
    }
}
