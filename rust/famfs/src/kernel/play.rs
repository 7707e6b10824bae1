//! Playing the log: the kernel's names follow what the log says.
//!
//! Owns the order of the steps. Each is checked against what the kernel has, so that playing again
//! changes nothing, and a play that was interrupted is finished by the next one.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use famfs_core::entry::Owner;
use famfs_core::superblock::Role;
use famfs_core::units::{DeviceIndex, Slot};
use famfs_sys::ioctl::FileMap;

use super::{KernelFiles, Shown, VERSIONS, file_map};
use crate::error::{Error, Result};
use crate::files::Stat;
use crate::lock;
use crate::volume::{Inner, Volume};

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

    /// Lets the kernel's names follow the log, from slot `from` on, as far as it was replayed;
    /// nothing on a volume that is not under a kernel mount.
    ///
    /// # Errors
    /// [`Error::Permission`] for whoever may not place files; [`Error::Busy`] where something that
    /// the log doesn't know is in the way, or a process keeps the memory of a file that is gone.
    pub fn play(&self, from: Slot) -> Result<Played> {
        let Some(kernel) = &self.inner.kernel else {
            return Ok(Played::default());
        };
        // Another process may be publishing: its names come by itself, in its own time.
        let held = self.inner.file_to_lock()?;
        lock::wait(&held, self.inner.source.path())?;
        let mut played = Played::default();
        for slot in from.0..self.entries() {
            // Slots without a file or directory: deletes, devices, and what was skipped.
            if let Ok(stat) = self.stat_slot(Slot(slot)) {
                self.inner.place(kernel, self, &stat, &mut played)?;
            } else {
                self.inner
                    .follow_delete(kernel, self, Slot(slot), &mut played)?;
            }
        }
        Ok(played)
    }
}

impl Inner {
    /// As the log has it on the master; nobody writes on a client.
    fn owner_here(&self, owner: Owner) -> Owner {
        let writable = self.superblock.role(self.host()) == Role::Master;
        Owner {
            mode: if writable {
                owner.mode
            } else {
                owner.mode & !0o222
            },
            ..owner
        }
    }

    fn place(
        &self,
        kernel: &KernelFiles,
        volume: &Volume,
        stat: &Stat,
        played: &mut Played,
    ) -> Result<()> {
        let Some(map) = &stat.map else {
            // A directory's mode stays: others may make files where the log says they may.
            if stat.is_live && kernel.make_directory(&stat.path, stat.owner)? {
                played.directories += 1;
            } else {
                played.unchanged += 1;
            }
            return Ok(());
        };
        if map
            .extents()
            .iter()
            .any(|e| e.device != DeviceIndex::PRIMARY)
        {
            played.elsewhere += 1;
            return Ok(());
        }
        let wanted = file_map(stat.size, map);
        let version = format!("{VERSIONS}/{}", stat.slot);
        let is = |shown: &Shown| matches!(shown, Shown::File(_, found) if *found == wanted);
        let at_name = kernel.shown(&stat.path)?;
        if is(&at_name) {
            if stat.is_live {
                played.unchanged += 1;
            } else if volume.stat(&stat.path).is_ok_and(|now| !now.is_dir()) {
                // Its successor takes its place in one step, when its slot comes.
                played.unchanged += 1;
            } else {
                kernel.retire(&stat.path, stat.slot)?;
                played.retired += 1;
            }
            return Ok(());
        }
        if !stat.is_live {
            if is(&kernel.shown(version.as_bytes())?) {
                played.unchanged += 1;
            } else {
                let file = kernel.make(stat.size, map)?;
                kernel.name(&file, version.as_bytes(), self.owner_here(stat.owner), None)?;
                played.files += 1;
            }
            return Ok(());
        }
        let before = match at_name {
            Shown::Nothing => None,
            Shown::File(_, found) => Some(version_shown(kernel, volume, stat, &found)?),
            // A plain cp left it: it has no bytes, and no place in the log.
            Shown::Bare => {
                kernel.remove_bare(&stat.path)?;
                None
            }
            Shown::Directory => return Err(in_the_way(kernel, &stat.path)),
        };
        let file = kernel.make(stat.size, map)?;
        kernel.name(&file, &stat.path, self.owner_here(stat.owner), before)?;
        played.files += 1;
        played.retired += u64::from(before.is_some());
        Ok(())
    }

    /// A slot that made nothing may have taken a name away.
    fn follow_delete(
        &self,
        kernel: &KernelFiles,
        volume: &Volume,
        slot: Slot,
        played: &mut Played,
    ) -> Result<()> {
        let Some(entry) = self.read_entry(slot)? else {
            return Ok(());
        };
        let famfs_core::entry::Entry::Delete(delete) = entry else {
            return Ok(());
        };
        let path = delete.path.as_bytes();
        let is_there = match kernel.shown(path)? {
            Shown::File(_, found) => {
                let gone = volume.stat_slot(delete.slot)?;
                let map = gone.map.filter(|_| !gone.is_live);
                map.is_some_and(|map| file_map(gone.size, &map) == found)
            }
            Shown::Directory => volume.stat(path).is_err(),
            Shown::Nothing | Shown::Bare => false,
        };
        if is_there {
            kernel.retire(path, delete.slot)?;
            played.retired += 1;
        }
        Ok(())
    }
}

/// The slot of the version that the kernel shows at a name.
fn version_shown(
    kernel: &KernelFiles,
    volume: &Volume,
    stat: &Stat,
    found: &FileMap,
) -> Result<Slot> {
    let versions = volume.versions(&stat.path)?;
    let known = versions.iter().find(|version| {
        version
            .map
            .as_ref()
            .is_some_and(|map| file_map(version.size, map) == *found)
    });
    known
        .map(|version| version.slot)
        .ok_or_else(|| in_the_way(kernel, &stat.path))
}

fn in_the_way(kernel: &KernelFiles, path: &[u8]) -> Error {
    Error::Busy {
        path: kernel.mountpoint.join(OsStr::from_bytes(path)),
        holders: "something that the log doesn't know has this name in the kernel; remove it, or \
                  unmount and mount again"
            .into(),
    }
}
