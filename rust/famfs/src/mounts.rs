//! Library mounts: which directory stands for which volume.
//!
//! Owns the mount table and the way from a path to a volume and a path in it. A library mount is a
//! line in a table: no file system is mounted, and other programs see a plain directory.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use famfs_core::path::{PathError, RelPath};
use famfs_mem::{Identity, PerProcess, Region};
use famfs_sys::{dax, holders};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::coherence::Locality;
use crate::embedded;
use crate::error::{Error, Result};
use crate::kernel;
use crate::mount_origins::{from_environment, from_kernel};
use crate::mount_table::{Table, tables, writable_table};
use crate::volume::{Options, Volume};

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

/// A path, and the volume that it lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The mount.
    pub mount: Mount,
    /// The path in the volume; empty for the mount point itself.
    pub path: Vec<u8>,
}

/// What came of a mount.
#[derive(Clone, Debug)]
pub struct Mounted {
    /// The mount.
    pub mount: Mount,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// All mounts, those of the system first, then the user's own, then those of the environment.
///
/// # Errors
/// Where a table can't be read, or `FAMFS_MOUNTS` can't be understood.
pub fn list() -> Result<Vec<Mount>> {
    let mut mounts = known()?;
    mounts.retain(Mount::is_there);
    Ok(mounts)
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

/// As [`list`], with those whose volumes are gone.
fn known() -> Result<Vec<Mount>> {
    let mut mounts = entered()?;
    mounts.extend(from_environment(
        std::env::var_os("FAMFS_MOUNTS").as_deref(),
    )?);
    Ok(mounts)
}

/// Those that somebody mounted: all but the environment's.
fn entered() -> Result<Vec<Mount>> {
    let mut mounts = from_kernel();
    for table in tables() {
        match table.read_all() {
            Ok(read) => mounts.extend(read),
            // Whoever put it there: a table that can't be believed or read has no mounts.
            Err(Error::Permission { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(mounts)
}

/// The volume and the path in it that `path` names.
///
/// The path is made real up to the mount point, the longest mount that fits is taken, of two equal
/// ones the later. Below it nothing is made real.
///
/// # Errors
/// [`Error::NotMounted`]; [`Error::InvalidPath`] for a path that no volume can have.
pub fn resolve(path: &Path) -> Result<Resolved> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.contains(&0) {
        let path = bytes.escape_ascii().to_string();
        return Err(Error::InvalidPath {
            path,
            reason: PathError::Nul,
        });
    }
    let absolute = if path.is_absolute() {
        path.to_owned()
    } else {
        // Joined as text: `..` is left to the system above the mount, and refused below it.
        let mut joined = std::env::current_dir()
            .map_err(Error::io(path, "find the directory that it starts from"))?
            .into_os_string();
        let mut inside = bytes;
        while let Some(rest) = inside.strip_prefix(b"./") {
            inside = rest;
        }
        if inside != b"." && !inside.is_empty() {
            joined.push("/");
            joined.push(OsStr::from_bytes(inside));
        }
        PathBuf::from(joined)
    };
    resolve_in(&known()?, absolute.as_os_str().as_bytes(), path)
}

fn resolve_in(mounts: &[Mount], absolute: &[u8], asked: &Path) -> Result<Resolved> {
    let ends = (1..=absolute.len()).filter(|&end| {
        let at_slash = absolute.get(end).is_none_or(|&b| b == b'/');
        at_slash && absolute[end - 1] != b'/'
    });
    let mut found: Option<(usize, &Mount)> = None;
    let mut real = PathBuf::from("/");
    for end in ends {
        let part = absolute[..end]
            .rsplit(|&b| b == b'/')
            .next()
            .unwrap_or_default();
        if let Some((at, _)) = found
            && (part == b".." || absolute[at..end].windows(2).any(|pair| pair == b"//"))
        {
            // Below a mount point nothing leads out of it again, nor to the root of all.
            break;
        }
        let next = OsStr::from_bytes(part);
        real = match found {
            None => step(&real, next),
            // Below a mount point nothing is made real: a mount in it is found by its plain name.
            Some((at, mount)) => mount
                .mountpoint
                .join(OsStr::from_bytes(&absolute[at + 1..end])),
        };
        if let Some(mount) = mounts
            .iter()
            .rev()
            .find(|mount| mount.mountpoint.as_os_str() == real.as_os_str() && mount.is_there())
        {
            found = Some((end, mount));
        }
    }
    let (end, mount) = found.ok_or_else(|| Error::NotMounted {
        path: asked.display().to_string(),
    })?;
    let rest = &absolute[end..];
    let inside = rest.strip_prefix(b"/").unwrap_or(rest);
    if !inside.is_empty() {
        let invalid = |reason| Error::InvalidPath {
            path: asked.display().to_string(),
            reason,
        };
        RelPath::new(inside).map_err(|reason| match reason {
            // Two slashes behind the mount point.
            PathError::Absolute => invalid(PathError::EmptyPart),
            reason => invalid(reason),
        })?;
    }
    Ok(Resolved {
        mount: mount.clone(),
        path: inside.to_vec(),
    })
}

/// The path of `name` in a directory whose path is real, made real.
fn step(directory: &Path, name: &OsStr) -> PathBuf {
    let next = directory.join(name);
    let is_plain = name != ".." && name != "." && fs::read_link(&next).is_err();
    if is_plain {
        return next;
    }
    fs::canonicalize(&next).unwrap_or(next)
}

impl Resolved {
    /// The path in the volume, of something that is or can be there: not the mount point itself.
    ///
    /// # Errors
    /// [`Error::IsTheMountPoint`].
    pub fn name(&self) -> Result<RelPath> {
        let path = self.mount.mountpoint.display().to_string();
        if self.path.is_empty() {
            return Err(Error::IsTheMountPoint { path });
        }
        RelPath::new(&self.path).map_err(|reason| Error::InvalidPath { path, reason })
    }

    /// The volume, opened in this process and refreshed.
    ///
    /// # Errors
    /// As [`Mount::volume`].
    pub fn volume(&self) -> Result<Volume> {
        self.mount.volume()
    }
}

/// The volumes that this process has open, by device and locality: one mapping each, kept.
pub(crate) static VOLUMES: PerProcess<HashMap<(PathBuf, Option<bool>), Volume>> = PerProcess::new();

impl Mount {
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
/// [`Error::NotMounted`]; where it is mounted and can't be opened, what [`Mount::volume`] says.
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
    Err(refused.unwrap_or_else(|| Error::NotMounted {
        path: format!("the volume {uuid}"),
    }))
}

/// Makes `directory` stand for the volume on `source`, in the library way.
///
/// # Errors
/// As [`Volume::open`]; [`Error::Busy`] where something is mounted there, or the device is the
/// system's RAM.
pub fn mount(source: &Path, directory: &Path, shared: Option<bool>) -> Result<Mounted> {
    dax::mappable(source)?;
    let real = fs::canonicalize(source).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::NoDevice {
            path: source.to_owned(),
        },
        _ => Error::io(source, "find")(error),
    })?;
    let locality = Mount::locality_of(shared);
    let volume = Volume::open(
        &real,
        Options {
            locality,
            read_only: false,
        },
    )?;
    crate::host::establish()?;
    add(Mount {
        source: real,
        mountpoint: directory.to_owned(),
        uuid: Some(volume.uuid()),
        shared,
        embedded: None,
        mode_before: None,
        made_directory: false,
        kernel: false,
    })
}

/// Refuses a directory, whose path is real, for a mount by the kernel where a volume is mounted on
/// it already: our programs would go on seeing that one.
pub(crate) fn check_free(directory: &Path) -> Result<()> {
    refuse_taken(directory, &entered()?)
}

fn refuse_taken(directory: &Path, mounts: &[Mount]) -> Result<()> {
    let mut mounts = mounts.iter();
    match mounts.find(|mount| mount.mountpoint == directory && mount.is_there()) {
        Some(mount) => Err(Error::Busy {
            path: directory.to_owned(),
            holders: format!(
                "the volume on {} is mounted there; `famfs umount` it first",
                mount.source.display()
            ),
        }),
        None => Ok(()),
    }
}

/// Enters a mount into the table; its directory is made real and unwritable on the way.
pub(crate) fn add(mut mount: Mount) -> Result<Mounted> {
    let directory = mount.mountpoint.clone();
    let real = fs::canonicalize(&directory).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::Usage(format!(
            "{}: the mount point does not exist; make the directory first",
            directory.display()
        )),
        _ => Error::io(&directory, "find")(error),
    })?;
    let metadata = fs::metadata(&real).map_err(Error::io(&real, "examine"))?;
    if !metadata.is_dir() {
        return Err(Error::NotADirectory {
            path: real.display().to_string(),
        });
    }
    refuse_taken(&real, &from_kernel())?;
    mount.mountpoint.clone_from(&real);
    let mut warnings = Vec::new();
    let is_empty = fs::read_dir(&real).is_ok_and(|mut dir| dir.next().is_none());
    if is_empty {
        let mode = metadata.permissions().mode();
        let own = metadata.uid() == rustix::process::geteuid().as_raw();
        if own && mode & 0o222 != 0 {
            let bare = fs::Permissions::from_mode(mode & 0o7555);
            if fs::set_permissions(&real, bare).is_ok() {
                mount.mode_before = Some(mode & 0o7777);
            }
        }
    } else {
        warnings.push(format!(
            "{} is not empty: other programs go on seeing what is in it, and not the volume",
            real.display()
        ));
    }
    let entered = writable_table()?.update(|mounts| {
        mounts.retain(|other| {
            let stale = other.mountpoint == real && !other.source.exists();
            if stale {
                // What was done to the directory for it is undone with this one.
                mount.mode_before = mount.mode_before.or(other.mode_before);
                mount.made_directory |= other.made_directory;
            }
            !stale
        });
        if mounts.iter().any(|other| other.mountpoint == real) {
            return Err(Error::Busy {
                path: real.clone(),
                holders: "a volume is mounted there; `famfs umount` it first".into(),
            });
        }
        mounts.push(mount.clone());
        Ok(())
    });
    if let Err(error) = entered {
        restore_mode(&mount);
        return Err(error);
    }
    Ok(Mounted { mount, warnings })
}

fn restore_mode(mount: &Mount) {
    if let Some(mode) = mount.mode_before {
        // The directory may be gone: then there is no mode to restore.
        let _ = fs::set_permissions(&mount.mountpoint, fs::Permissions::from_mode(mode));
    }
}

/// Takes a library mount away. With `discard` an embedded volume's memory is given back.
///
/// # Errors
/// [`Error::NotMounted`]; [`Error::Busy`], naming the processes that have the volume mapped, where
/// its memory would be given back.
pub fn umount(directory: &Path, discard: bool) -> Result<Mount> {
    take_away(directory, discard, false)
}

/// Takes an embedded volume away, also where others have it mapped: they keep its memory until
/// they end, and nobody else can get at it.
///
/// # Errors
/// [`Error::NotMounted`]; [`Error::Usage`] for a volume that is not embedded.
pub fn discard(directory: &Path) -> Result<Mount> {
    take_away(directory, true, true)
}

fn take_away(directory: &Path, discard: bool, even_if_used: bool) -> Result<Mount> {
    let real = match fs::canonicalize(directory) {
        Ok(real) => real,
        // Removed meanwhile: its name is what is left of it.
        Err(_) => std::path::absolute(directory).map_err(Error::io(directory, "find"))?,
    };
    let by_kernel = from_kernel().into_iter().rev();
    if let Some(mount) = by_kernel.into_iter().find(|m| m.mountpoint == real) {
        if discard {
            check_discard(&mount)?;
        }
        VOLUMES.lock().retain(|(place, _), _| *place != real);
        kernel::unmount(&real)?;
        return Ok(mount);
    }
    for table in tables().into_iter().rev() {
        // Lines whose volumes are gone too: their directories are to be as they were.
        let lines = match table.read_all() {
            Err(Error::Permission { .. }) => continue,
            lines => lines?,
        };
        let Some(mount) = lines.into_iter().rev().find(|m| m.mountpoint == real) else {
            continue;
        };
        let is_gone = !mount.source.exists();
        if discard {
            match check_discard(&mount) {
                Err(Error::Busy { .. }) if even_if_used => {}
                checked => checked?,
            }
        }
        remove(&table, &mount)?;
        VOLUMES.lock().retain(|(source, _), volume| {
            if *source == mount.source {
                // Views keep the memory; nothing else does any more.
                Region::forget(&volume.identity());
            }
            *source != mount.source
        });
        restore_mode(&mount);
        if is_gone {
            return Err(Error::NotMounted {
                path: format!(
                    "{} (its volume {} is gone; the mount was taken away)",
                    directory.display(),
                    mount.source.display()
                ),
            });
        }
        if discard && let Some(memory) = mount.embedded {
            embedded::discard(&mount, memory)?;
        }
        if discard && mount.made_directory {
            // What others put there is theirs: a directory that is not empty stays.
            let _ = fs::remove_dir(&mount.mountpoint);
        }
        return Ok(mount);
    }
    if list()?.iter().any(|mount| mount.mountpoint == real) {
        return Err(Error::Usage(format!(
            "{}: mounted by FAMFS_MOUNTS in the environment; unset that",
            real.display()
        )));
    }
    Err(Error::NotMounted {
        path: directory.display().to_string(),
    })
}

fn check_discard(mount: &Mount) -> Result<()> {
    if mount.embedded.is_none() {
        return Err(Error::Usage(format!(
            "{}: not an embedded volume: --discard is for those; `famfs umount` leaves the volume \
             as it is",
            mount.mountpoint.display()
        )));
    }
    let holders = fs::File::open(&mount.source)
        .ok()
        .and_then(|file| holders::named(&holders::of_mappings(&file)));
    match holders {
        Some(holders) => Err(Error::Busy {
            path: mount.mountpoint.clone(),
            holders: format!("{holders} uses the volume; end it, or umount without --discard"),
        }),
        None => Ok(()),
    }
}

fn remove(table: &Table, gone: &Mount) -> Result<()> {
    table.update(|mounts| {
        let Some(at) = mounts.iter().rposition(|mount| mount == gone) else {
            // Another process was first.
            let path = gone.mountpoint.display().to_string();
            return Err(Error::NotMounted { path });
        };
        mounts.remove(at);
        Ok(())
    })
}

#[cfg(test)]
#[path = "mounts_tests.rs"]
mod tests;
