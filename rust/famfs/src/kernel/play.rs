//! Playing the log: the kernel's names follow what the log says.
//!
//! Owns the order of the steps. Each is checked against what the kernel has, so that playing again
//! changes nothing, and a play that was interrupted is finished by the next one. An entry that
//! can't be followed does not keep the others from it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use famfs_core::entry::{Entry, Owner};
use famfs_core::namespace::NodeRef;
use famfs_core::path::{PathError, RelPath};
use famfs_core::superblock::Role;
use famfs_core::units::{DeviceIndex, Slot};
use famfs_mem::close_in_child;
use famfs_sys::ioctl::FileMap;
use std::os::fd::AsRawFd;

use super::{KernelFiles, Shown, VERSIONS, file_map};
use crate::error::{Error, Result};
use crate::files::display;
use crate::lock::HostLock;
use crate::volume::{Inner, State, Volume};

/// What a play did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// Directories that were made.
    pub directories: u64,
    /// Files that were placed.
    pub files: u64,
    /// Names that were taken away, or passed to another file.
    pub retired: u64,
    /// Entries that were there already.
    pub unchanged: u64,
    /// Files on devices that are not here.
    pub elsewhere: u64,
}

impl Volume {
    /// Whether the volume is under a kernel mount.
    #[must_use]
    pub fn is_kernel(&self) -> bool {
        self.inner.kernel.is_some()
    }

    /// Lets the kernel's names follow the log from slot `from` to its end; nothing on a volume that
    /// is not under a kernel mount.
    ///
    /// # Errors
    /// The first of those that an entry could not be followed for; the others were.
    /// [`Error::Permission`] for whoever may not place files; [`Error::Busy`] where something that
    /// the log doesn't know is in the way, or a process keeps the memory of a file that is gone.
    pub fn play(&self, from: Slot) -> Result<Played> {
        let Some(kernel) = &self.inner.kernel else {
            return Ok(Played::default());
        };
        let file = self.inner.file_to_lock()?;
        let closed = close_in_child(file.as_raw_fd()).map_err(|full| Error::Unsupported {
            what: self.path().display().to_string(),
            why: format!("{full}: too many volumes are open in this process"),
        })?;
        let lock = HostLock::new(file);
        // Another process may be publishing: its names come by themselves, in its own time.
        let held = lock.hold(self.inner.source.path())?;
        self.refresh()?;
        let state = self.inner.read();
        let played = Player::new(&self.inner, kernel, &state).play(from);
        drop(state);
        drop(held);
        drop(closed);
        played
    }
}

/// A play of a part of the log. The host lock is held, and the state follows the log to its end.
pub(crate) struct Player<'a> {
    inner: &'a Inner,
    kernel: &'a KernelFiles,
    state: &'a State,
    played: Played,
}

impl<'a> Player<'a> {
    pub(crate) fn new(inner: &'a Inner, kernel: &'a KernelFiles, state: &'a State) -> Self {
        Self {
            inner,
            kernel,
            state,
            played: Played::default(),
        }
    }

    /// Follows the log from `from` to its end, and what could not be followed before.
    pub(crate) fn play(mut self, from: Slot) -> Result<Played> {
        let end = self.state.replay.next();
        let again = std::mem::take(&mut *self.kernel.left_over());
        let again = again.into_iter().filter(|slot| *slot < from);
        let mut refused = None;
        for slot in again.chain((from.0..end.0).map(Slot)) {
            let followed = match self.state.replay.names().by_slot(slot) {
                Some(node) => self.place(node),
                // Deletes, devices, and what was skipped.
                None => self.follow_delete(slot),
            };
            if let Err(error) = followed {
                self.kernel.left_over().insert(slot);
                refused.get_or_insert(error);
            }
        }
        if from <= self.kernel.played() {
            self.kernel.set_played(end);
        }
        refused.map_or(Ok(self.played), Err)
    }

    /// Whether an entry that gives `path` a new meaning could be followed: what the kernel has
    /// there is what the log says, and so is the directory.
    pub(crate) fn check(&self, path: &RelPath) -> Result<()> {
        let node = self.state.replay.names().lookup(path.as_bytes());
        if let Some(parent) = path.parent() {
            match self.kernel.shown(parent)? {
                Shown::Directory => {}
                _ => return Err(self.in_the_way(parent)),
            }
        }
        let is_as_told = match (node, self.kernel.shown(path.as_bytes())?) {
            (_, Shown::Nothing | Shown::Bare) => true,
            (None, _) => false,
            (Some(node), Shown::Directory) => node.is_dir(),
            (Some(node), Shown::File(_, found)) => self.whose(node, &found)?.is_some(),
        };
        if is_as_told {
            Ok(())
        } else {
            Err(self.in_the_way(path.as_bytes()))
        }
    }

    /// As the log has it on the master; nobody writes on a client.
    fn owner_here(&self, owner: Owner) -> Owner {
        let writable = self.inner.superblock.role(self.inner.host()) == Role::Master;
        Owner {
            mode: if writable {
                owner.mode
            } else {
                owner.mode & !0o222
            },
            ..owner
        }
    }

    /// Follows an entry that made a directory or a file.
    fn place(&mut self, node: NodeRef<'a>) -> Result<()> {
        let path = node.path();
        if RelPath::new(path).is_ok_and(|path| path.is_reserved()) {
            return Err(Error::InvalidPath {
                path: display(path),
                reason: PathError::Reserved,
            });
        }
        let Some(map) = node.map() else {
            return self.place_directory(node);
        };
        let mut extents = map.extents().iter();
        if extents.any(|extent| extent.device != DeviceIndex::PRIMARY) {
            self.played.elsewhere += 1;
            return self.hide_predecessor(node);
        }
        if node.is_live() {
            self.place_live(node, &file_map(node.size(), &map))
        } else {
            self.place_old(node, &file_map(node.size(), &map))
        }
    }

    fn place_directory(&mut self, node: NodeRef<'a>) -> Result<()> {
        // A directory's mode stays on a client too: it says who may look, and only root may make.
        let made = node.is_live() && self.clear_for_directory(node)?;
        if made {
            self.played.directories += 1;
        } else {
            self.played.unchanged += 1;
        }
        Ok(())
    }

    fn clear_for_directory(&mut self, node: NodeRef<'a>) -> Result<bool> {
        let path = node.path();
        match self.kernel.shown(path)? {
            Shown::File(..) => return Err(self.in_the_way(path)),
            Shown::Bare => self.kernel.remove_bare(path)?,
            Shown::Nothing | Shown::Directory => {}
        }
        self.kernel.make_directory(path, node.owner())
    }

    /// A file that its name leads to.
    fn place_live(&mut self, node: NodeRef<'a>, wanted: &FileMap) -> Result<()> {
        let path = node.path();
        let before = match self.kernel.shown(path)? {
            Shown::Nothing => None,
            Shown::File(_, found) => match self.whose(node, &found)? {
                Some(slot) if slot == node.slot() => {
                    self.played.unchanged += 1;
                    return Ok(());
                }
                Some(slot) => Some(slot),
                None => return Err(self.in_the_way(path)),
            },
            // A plain cp left it: it has no bytes, and no place in the log.
            Shown::Bare => {
                self.kernel.remove_bare(path)?;
                None
            }
            Shown::Directory => {
                // The log has none there any more: it goes, unless somebody keeps something in it.
                self.kernel
                    .retire(path, node.slot())
                    .map_err(|_| self.in_the_way(path))?;
                None
            }
        };
        self.give_name(node, wanted, path, before)?;
        self.played.files += 1;
        self.played.retired += u64::from(before.is_some());
        Ok(())
    }

    /// A file that was replaced or removed: references to it find it by its slot.
    fn place_old(&mut self, node: NodeRef<'a>, wanted: &FileMap) -> Result<()> {
        let path = node.path();
        if self.has_version(node.slot(), wanted)? {
            self.played.unchanged += 1;
            return Ok(());
        }
        if let Shown::File(_, found) = self.kernel.shown(path)?
            && self.whose(node, &found)? == Some(node.slot())
        {
            let now = self.state.replay.names().lookup(path);
            if now.is_some_and(|now| !now.is_dir()) {
                // Its successor takes its place in one step, when its slot comes.
                self.played.unchanged += 1;
            } else {
                self.kernel.retire(path, node.slot())?;
                self.played.retired += 1;
            }
            return Ok(());
        }
        self.give_name(node, wanted, version(node.slot()).as_bytes(), None)?;
        self.played.files += 1;
        Ok(())
    }

    /// Names the file of an entry: the one that was filled here, or one made now.
    fn give_name(
        &self,
        node: NodeRef<'a>,
        wanted: &FileMap,
        path: &[u8],
        before: Option<Slot>,
    ) -> Result<()> {
        let filled = self.kernel.filled(node.slot());
        let file = match &filled {
            Some(file) => Arc::clone(file),
            None => Arc::new(self.kernel.make(wanted)?),
        };
        let owner = self.owner_here(node.owner());
        self.kernel.name(&file, path, owner, before)?;
        self.kernel.forget_filled(node.slot());
        Ok(())
    }

    /// A file that can't be shown has taken a name that is shown still.
    fn hide_predecessor(&mut self, node: NodeRef<'a>) -> Result<()> {
        let Some(before) = node.before().filter(|_| node.is_live()) else {
            return Ok(());
        };
        if let Shown::File(_, found) = self.kernel.shown(node.path())?
            && let Some(slot) = self.whose(before, &found)?
        {
            self.kernel.retire(node.path(), slot)?;
            self.played.retired += 1;
        }
        Ok(())
    }

    /// A slot that made nothing may have taken a name away.
    fn follow_delete(&mut self, slot: Slot) -> Result<()> {
        let Some(Entry::Delete(delete)) = self.inner.read_entry(slot)? else {
            return Ok(());
        };
        let path = delete.path.as_bytes();
        if delete.path.is_reserved() {
            return Ok(());
        }
        let names = self.state.replay.names();
        let gone = names.by_slot(delete.slot).filter(|node| !node.is_live());
        let Some(gone) = gone.filter(|node| node.path() == path) else {
            return Ok(());
        };
        let retired = match self.kernel.shown(path)? {
            // Not only the last version: others may have come and gone since the kernel was told.
            Shown::File(_, found) => self.whose(gone, &found)?,
            Shown::Directory if gone.is_dir() => {
                let is_there = names.lookup(path).is_some_and(|now| now.is_dir());
                (!is_there).then_some(delete.slot)
            }
            _ => None,
        };
        if let Some(slot) = retired {
            self.kernel.retire(path, slot)?;
            self.played.retired += 1;
        }
        Ok(())
    }

    /// Which of `node` and the versions before it has the map that the kernel shows at their name.
    ///
    /// Maps tell files apart, since memory that the log has named is nobody else's ever after; all
    /// but those of empty files. Of these, versions that were put aside are not meant, and of the
    /// others the oldest is: each waits for the one before it to be replaced.
    fn whose(&self, node: NodeRef<'a>, found: &FileMap) -> Result<Option<Slot>> {
        let versions = std::iter::successors(Some(node), NodeRef::before);
        let mut matching = versions
            .filter(|node| (node.map()).is_some_and(|map| file_map(node.size(), &map) == *found))
            .map(|node| node.slot());
        if !found.extents.is_empty() {
            return Ok(matching.next());
        }
        let mut oldest = None;
        for slot in matching {
            if !self.has_version(slot, found)? {
                oldest = Some(slot);
            }
        }
        Ok(oldest)
    }

    /// Whether the file of a slot was put aside.
    fn has_version(&self, slot: Slot, wanted: &FileMap) -> Result<bool> {
        let shown = self.kernel.shown(version(slot).as_bytes())?;
        Ok(matches!(shown, Shown::File(_, found) if found == *wanted))
    }

    fn in_the_way(&self, path: &[u8]) -> Error {
        Error::Busy {
            path: self.kernel.mountpoint.join(OsStr::from_bytes(path)),
            holders: "what the kernel has there is not what the log says; remove it, or unmount \
                      and mount again"
                .into(),
        }
    }
}

/// Where a version that was put aside is.
pub(super) fn version(slot: Slot) -> String {
    format!("{VERSIONS}/{slot}")
}
