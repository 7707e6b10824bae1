//! How library mounts are made and taken away: the line in the table, and what is done to the
//! directory for it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use famfs_mem::Region;
use famfs_sys::{dax, holders};

use super::{Mount, VOLUMES, entered, list};
use crate::embedded;
use crate::error::{Error, Result};
use crate::kernel;
use crate::mount_origins::from_kernel;
use crate::mount_table::{Table, tables, writable_table};
use crate::volume::{Options, Volume};

/// What came of a mount.
#[derive(Clone, Debug)]
pub struct Mounted {
    /// The mount.
    pub mount: Mount,
    /// What the user should know.
    pub warnings: Vec<String>,
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
        uuid: Some(volume.uuid()),
        shared,
        ..Mount::new(real, directory.to_owned())
    })
}

/// Refuses a directory, whose path is real, for a mount by the kernel where a volume is mounted on
/// it already: our programs would go on seeing that one.
pub(crate) fn check_free(directory: &Path) -> Result<()> {
    let entered = entered()?;
    refuse_taken(directory, entered.iter().flat_map(|mounts| mounts.iter()))
}

fn refuse_taken<'a>(directory: &Path, mut mounts: impl Iterator<Item = &'a Mount>) -> Result<()> {
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
    refuse_taken(&real, from_kernel().iter())?;
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
        let Some(mount) = lines.iter().rev().find(|m| m.mountpoint == real).cloned() else {
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
