//! Library mounts: which directory stands for which volume.
//!
//! Owns which mounts there are, and the volumes that this process has opened by them; its parts find
//! the mount of a path, and change the mount table. A library mount is a line in a table: no file
//! system is mounted, and other programs see a plain directory.

mod change;
mod resolve;

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use famfs_mem::{Identity, PerProcess};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::coherence::Locality;
use crate::embedded;
use crate::error::{Error, Result};
use crate::mount_origins::{from_environment, from_kernel};
use crate::mount_table::{Table, tables};
use crate::volume::{Options, Volume};

pub use change::{Mounted, discard, mount, umount};
pub(crate) use change::{add, check_free};
pub use resolve::{Resolved, resolve};

/// A mount: a directory that stands for a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The device or backing file.
    #[serde(with = "crate::mount_table::path")]
    pub source: PathBuf,
    /// The directory, made real.
    #[serde(with = "crate::mount_table::path")]
    pub mountpoint: PathBuf,
    /// The volume, where it is known: not for mounts from the environment.
    pub uuid: Option<Uuid>,
    /// Whether the volume is declared to be seen by several hosts' caches.
    #[serde(default)]
    pub shared: Option<bool>,
    /// Whether it is an embedded volume, whose memory goes with it.
    #[serde(default)]
    pub embedded: Option<embedded::Memory>,
    /// The directory's mode before it was made unwritable; `None` where it was left alone.
    #[serde(default)]
    pub(crate) mode_before: Option<u32>,
    /// Whether the directory was made for the mount.
    #[serde(default)]
    pub(crate) made_directory: bool,
    /// Whether the kernel has mounted it: any program sees its files there.
    #[serde(skip)]
    pub kernel: bool,
}

/// All mounts, those of the system first, then the user's own, then those of the environment.
///
/// # Errors
/// Where a table can't be read, or `FAMFS_MOUNTS` can't be understood.
pub fn list() -> Result<Vec<Mount>> {
    let known = known()?;
    let there = known.iter().flat_map(|mounts| mounts.iter());
    Ok(there.filter(|mount| mount.is_there()).cloned().collect())
}

/// Why tables of mounts are passed over, where some are: others could have written them.
#[must_use]
pub fn passed_over() -> Vec<Error> {
    let denied = |table: &Table| match table.read_all() {
        Err(error @ Error::Permission { .. }) => Some(error),
        _ => None,
    };
    tables().iter().filter_map(denied).collect()
}

/// As [`list`], with those whose volumes are gone, by where they stand. Every path that is opened asks
/// for them: no table is copied.
fn known() -> Result<Vec<Arc<[Mount]>>> {
    let mut mounts = entered()?;
    mounts.push(from_environment(std::env::var_os("FAMFS_MOUNTS").as_deref())?.into());
    Ok(mounts)
}

/// Those that somebody mounted: all but the environment's.
fn entered() -> Result<Vec<Arc<[Mount]>>> {
    let mut mounts = vec![from_kernel().into()];
    for table in tables() {
        match table.read_all() {
            Ok(read) => mounts.push(read),
            // Whoever put it there: a table that can't be believed or read has no mounts.
            Err(Error::Permission { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(mounts)
}

/// The volumes that this process has open, by device and locality: one mapping each, kept.
pub(crate) static VOLUMES: PerProcess<HashMap<(PathBuf, Option<bool>), Volume>> = PerProcess::new();

impl Mount {
    /// A mount of which no more is known than where it is.
    pub(crate) fn new(source: PathBuf, mountpoint: PathBuf) -> Self {
        Self {
            source,
            mountpoint,
            uuid: None,
            shared: None,
            embedded: None,
            mode_before: None,
            made_directory: false,
            kernel: false,
        }
    }

    /// Whether its device or backing file is there; what the environment names is taken to be.
    fn is_there(&self) -> bool {
        self.uuid.is_none() || self.source.exists()
    }

    /// Whose caches see the volume, where the mount says so.
    #[must_use]
    pub fn locality(&self) -> Option<Locality> {
        Self::locality_of(self.shared)
    }

    fn locality_of(shared: Option<bool>) -> Option<Locality> {
        shared.map(|shared| {
            if shared {
                Locality::Shared
            } else {
                Locality::Local
            }
        })
    }

    /// The volume, opened once in this process, with the log followed to its end.
    ///
    /// # Errors
    /// As [`Volume::open`]; [`Error::VolumeChanged`] where another volume is there than was
    /// mounted.
    pub fn volume(&self) -> Result<Volume> {
        let place = self.place();
        let key = (place.clone(), self.shared);
        let known = VOLUMES.lock().get(&key).cloned();
        if let Some(volume) = known
            && is_at(&volume, place)
        {
            match volume.refresh() {
                Ok(_) => return self.check(volume),
                // From the environment whatever volume is there is meant; and who mounted again
                // means the volume that is there now.
                Err(Error::VolumeChanged { .. }) if self.uuid != Some(volume.uuid()) => {}
                Err(error) => return Err(error),
            }
        }
        let options = Options {
            locality: self.locality(),
            read_only: false,
        };
        let volume = self.check(Volume::open(place, options)?)?;
        VOLUMES.lock().insert(key, volume.clone());
        Ok(volume)
    }

    /// What is opened: the device or backing file, or the mount itself where the kernel has it.
    #[must_use]
    pub fn place(&self) -> &PathBuf {
        if self.kernel {
            &self.mountpoint
        } else {
            &self.source
        }
    }

    fn check(&self, volume: Volume) -> Result<Volume> {
        match self.uuid {
            Some(uuid) if uuid != volume.uuid() => Err(Error::VolumeChanged {
                path: self.source.clone(),
                why: format!("{uuid} was mounted, {} is there", volume.uuid()),
            }),
            _ => Ok(volume),
        }
    }
}

/// Whether the path still leads to what the volume has open.
pub(crate) fn is_at(volume: &Volume, path: &Path) -> bool {
    is_identity(&volume.shown_by(path), &volume.identity())
}

pub(crate) fn is_identity(path: &Path, identity: &Identity) -> bool {
    fs::metadata(path).is_ok_and(|found| {
        if identity.rdev != 0 {
            return found.rdev() == identity.rdev;
        }
        (found.dev(), found.ino()) == (identity.dev, identity.ino)
    })
}

/// The volume with this identity, wherever it is mounted.
///
/// # Errors
/// [`Error::VolumeNotMounted`]; where it is mounted and can't be opened, what [`Mount::volume`] says.
pub fn find(uuid: Uuid) -> Result<(Mount, Volume)> {
    let mounts = list()?;
    let likely = mounts.iter().filter(|mount| mount.uuid == Some(uuid));
    let unknown = mounts.iter().filter(|mount| mount.uuid.is_none());
    let mut refused = None;
    for mount in likely.chain(unknown) {
        match mount.volume() {
            Ok(volume) if volume.uuid() == uuid => return Ok((mount.clone(), volume)),
            // It is mounted, and can't be had: why is what helps.
            Err(error) if mount.uuid == Some(uuid) => refused = Some(error),
            _ => {}
        }
    }
    Err(refused.unwrap_or(Error::VolumeNotMounted { uuid }))
}
