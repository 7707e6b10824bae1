//! What writing takes: the right to, the host lock, the table of reservations, and the log's end.
//!
//! Owns who may write, and that it is done under the lock with the log followed to its end. What is
//! written, and in which order, is [`crate::publish`]'s.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};

use famfs_core::append;
use famfs_core::entry::Entry;
use famfs_core::superblock::Role;
use famfs_core::units::Slot;
use famfs_mem::{Access, Kind, Registration, Source, close_in_child};

use crate::error::{Error, Result};
use crate::kernel::KernelFiles;
use crate::lock::{Held, HostLock};
use crate::service::Client;
use crate::table::Table;
use crate::volume::{Inner, State};

/// What a process needs to write to a volume.
#[derive(Debug)]
pub(crate) struct Writer {
    /// Keeps a forked child from holding its parent's lock. Dropped before the lock is, whose
    /// descriptor's number may be another file's then.
    _closed_in_child: Option<Registration>,
    lock: Arc<HostLock>,
    table: Arc<Mutex<Table>>,
}

/// The writer's parts, cloned out so that nothing is locked while another process is waited for.
struct Tools {
    lock: Arc<HostLock>,
    table: Arc<Mutex<Table>>,
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
    pub(crate) fn follower(&self) -> Result<Option<Arc<Client>>> {
        match (self.check_writer(), &self.kernel) {
            // Not for who gave the permission away.
            (Err(Error::Permission { .. }), Some(kernel)) if !kernel.is_read_only() => {
                kernel.client().map(Some)
            }
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
        let again = again.map_err(|error| match error.face().errno {
            libc::ENOENT | libc::ENOTDIR | libc::ENODEV | libc::ENXIO => {
                gone("its device or backing file can't be opened any more")
            }
            // Too many open files, or no right to: the volume is what it was.
            _ => error,
        })?;
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
    pub(crate) fn locked_in<T>(
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
    pub(crate) fn append(
        &self,
        state: &mut State,
        entries: &[Entry],
        names: &[String],
    ) -> Result<Vec<Slot>> {
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
