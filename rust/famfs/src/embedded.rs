//! Embedded volumes: a volume in this host's own memory, without root, module or daemon.
//!
//! Owns which memory they get and how it is given back. Huge pages are had wherever they can be;
//! the space is taken, and touched, when the volume is made, so that publishing never runs into a
//! full host.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use famfs_core::check::Fatal;
use famfs_core::superblock::SuperblockError;
use famfs_core::units::ALLOC_UNIT;
use famfs_mem::{Access, Populate, Region, RegionOff, Source};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::memory;
use crate::mkfs::{MkfsOptions, mkfs};
use crate::mount_table::{user_dir, writable_table};
use crate::mounts::{self, Mount, Mounted};
use crate::table::path_of;
use crate::volume::Volume;

/// The largest volume that is made where no size is asked for.
const DEFAULT_MOST: u64 = 4 << 30;

/// The smallest volume that is worth making: log and some data.
const LEAST: u64 = 32 << 20;

/// The pages that are counted as huge, on all hosts that famfs is for.
const HUGE_PAGE: usize = 2 << 20;

/// What memory an embedded volume got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Memory {
    /// A private tmpfs that gives huge pages.
    HugeTmpfs,
    /// A file in /dev/shm.
    Shm,
    /// A file in the user's runtime directory, which is memory too.
    RuntimeDirectory,
    /// A file in the user's cache directory: on disk, cached in memory.
    CacheDirectory,
}

impl Memory {
    /// What it is, in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::HugeTmpfs => "a private tmpfs with huge pages",
            Self::Shm => "a file in /dev/shm",
            Self::RuntimeDirectory => "a file in the runtime directory",
            Self::CacheDirectory => "a file in the cache directory, on disk",
        }
    }
}

/// What came of making an embedded volume.
#[derive(Clone, Debug)]
pub struct Made {
    /// The mount.
    pub mounted: Mounted,
    /// Whether the volume was made now; otherwise it was there.
    pub is_new: bool,
    /// Bytes of the volume.
    pub size: u64,
    /// Bytes of it that huge pages hold.
    pub huge: u64,
}

/// Names embedded volumes after their mount points (`UUIDv5`).
const NAMESPACE: Uuid = Uuid::from_u128(0x52c1_9e0a_77a4_4a8e_8f7d_1d0a_8b6e_3f21);

/// Makes an embedded volume, once, and mounts it on `directory`, which is made if it is missing.
///
/// # Errors
/// [`Error::HostFull`] where the memory can't be had; [`Error::Busy`] where something else is
/// mounted there.
pub fn mount(directory: &Path, size: Option<u64>) -> Result<Made> {
    let made_directory = !directory.exists();
    if made_directory {
        fs::create_dir_all(directory).map_err(Error::io(directory, "make the mount point"))?;
    }
    let made = fs::canonicalize(directory)
        .map_err(Error::io(directory, "find"))
        .and_then(|real| mount_real(&real, size, made_directory));
    if made.is_err() && made_directory {
        let _ = fs::remove_dir(directory);
    }
    made
}

fn mount_real(directory: &Path, size: Option<u64>, made_directory: bool) -> Result<Made> {
    // One at a time: two who want the same volume get the same, and nobody undoes what another did.
    let _lock = writable_table()?.hold("embedded.lock")?;
    let there = mounts::list()?
        .into_iter()
        .rev()
        .find(|mount| mount.mountpoint == directory);
    if let Some(mount) = there {
        if mount.embedded.is_none() {
            return Err(Error::Busy {
                path: directory.to_owned(),
                holders: "another volume is mounted there; `famfs umount` it first".into(),
            });
        }
        return report(
            Mounted {
                mount,
                warnings: Vec::new(),
            },
            false,
        );
    }
    let name = directory.as_os_str().as_encoded_bytes();
    let name = Uuid::new_v5(&NAMESPACE, name).simple().to_string();
    for place in places(&name) {
        // Left by an umount without --discard: the volume is as it was.
        if place.file.exists() && place.check_owner().is_ok() {
            if place.is_half_made() {
                // Whoever made it was killed on the way.
                place.give_back();
                continue;
            }
            let made_directory = made_directory || place.made_directory().exists();
            return finish(&place, directory, made_directory, false);
        }
    }
    let wanted = size.unwrap_or_else(default_size);
    let mut last = Error::HostFull {
        path: directory.to_owned(),
        len: Some(wanted),
    };
    let mut full = false;
    for place in places(&name) {
        let error = match place.make(wanted) {
            Ok(()) => {
                if made_directory {
                    // Whoever discards the volume takes the directory too, also another mount's.
                    let mark = place.made_directory();
                    fs::File::create(&mark).map_err(Error::io(&mark, "make"))?;
                }
                return finish(&place, directory, made_directory, true);
            }
            Err(error) => error,
        };
        place.give_back();
        match error {
            Error::Usage(_) => return Err(error),
            // A full place is what to tell of, rather than one that may not be used.
            Error::HostFull { .. } => {
                full = true;
                last = Error::HostFull {
                    path: place.file.clone(),
                    len: Some(wanted),
                };
            }
            error if !full => last = error,
            _ => {}
        }
    }
    Err(last)
}

fn finish(place: &Place, directory: &Path, made_directory: bool, is_new: bool) -> Result<Made> {
    let volume = Volume::open(&place.file, crate::Options::default())?;
    let mount = Mount {
        uuid: Some(volume.uuid()),
        shared: Some(false),
        embedded: Some(place.memory),
        made_directory,
        ..Mount::new(place.file.clone(), directory.to_owned())
    };
    match mounts::add(mount) {
        Ok(mounted) => report(mounted, is_new),
        Err(error) => {
            if is_new {
                place.give_back();
            }
            Err(error)
        }
    }
}

/// Bytes of a volume that huge pages hold, by the kernel's own account.
#[must_use]
pub fn huge_bytes(volume: &Volume) -> u64 {
    let region = volume.region();
    // Only pages that this process has touched are counted: a byte of each makes them known, and the
    // memory was all taken when the volume was made. What is lost is in no page.
    for at in (0..famfs_mem::Memory::len(&**region)).step_by(HUGE_PAGE) {
        let _ = famfs_mem::Memory::load(&**region, RegionOff(at), &mut [0]);
    }
    region.huge_bytes().unwrap_or(0)
}

fn report(mounted: Mounted, is_new: bool) -> Result<Made> {
    let volume = mounted.mount.volume()?;
    let huge = huge_bytes(&volume);
    let size = famfs_mem::Memory::len(&**volume.region());
    Ok(Made {
        mounted,
        is_new,
        size,
        huge,
    })
}

/// Gives an embedded volume's memory back.
pub(crate) fn discard(mount: &Mount, memory: Memory) -> Result<()> {
    if let Ok(source) = Source::open(&mount.source, Access::ReadOnly) {
        Region::forget(&source.identity());
    }
    let place = Place {
        file: mount.source.clone(),
        memory,
    };
    place.give_back();
    if mount.source.exists() {
        return Err(Error::Permission {
            path: mount.source.clone(),
            what: "giving its memory back",
            next: "run this as the user who made the volume",
        });
    }
    Ok(())
}

/// A quarter of the memory that is available, 4 GiB at most, in whole units.
fn default_size() -> u64 {
    let size = (memory::available() / 4).clamp(LEAST, DEFAULT_MOST);
    size - size % ALLOC_UNIT
}

/// A place for the backing file.
#[derive(Debug)]
struct Place {
    file: PathBuf,
    memory: Memory,
}

/// Where an embedded volume may be, the best first.
fn places(name: &str) -> Vec<Place> {
    let user = rustix::process::geteuid();
    let place = |dir: PathBuf, memory| Place {
        file: dir.join("volume"),
        memory,
    };
    let mut places = Vec::new();
    if user.is_root() {
        let dir = PathBuf::from("/run/famfs/embedded").join(name);
        places.push(place(dir, Memory::HugeTmpfs));
    }
    let raw = user.as_raw();
    places.push(place(
        format!("/dev/shm/famfs-{raw}-{name}").into(),
        Memory::Shm,
    ));
    let runtime = user_dir(raw).join("embedded").join(name);
    if !runtime.starts_with("/tmp") {
        places.push(place(runtime, Memory::RuntimeDirectory));
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    if let Some(cache) = cache {
        places.push(place(
            cache.join("famfs").join(name),
            Memory::CacheDirectory,
        ));
    }
    places
}

impl Place {
    fn dir(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new("/"))
    }

    /// A mark beside the volume: the mount point was made for it.
    fn made_directory(&self) -> PathBuf {
        self.dir().join("made-directory")
    }

    /// Whether there is a file and no volume in it.
    fn is_half_made(&self) -> bool {
        matches!(
            crate::inspect::inspect(&self.file),
            Ok(check) if matches!(
                check.fatal,
                Some(Fatal::Superblock(
                    SuperblockError::Magic { .. } | SuperblockError::Truncated { .. }
                ))
            )
        )
    }

    /// Refuses a directory that another user has put there: the volume would be theirs to change.
    fn check_owner(&self) -> Result<()> {
        let dir = self.dir();
        let found = fs::symlink_metadata(dir).map_err(Error::io(dir, "examine"))?;
        if found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() {
            return Ok(());
        }
        Err(Error::Permission {
            path: dir.to_owned(),
            what: "using a directory that belongs to another user",
            next: "remove it, or choose another mount point",
        })
    }

    /// Makes the volume, with all its memory taken and touched.
    fn make(&self, size: u64) -> Result<()> {
        let dir = self.dir();
        let made = Error::io(dir, "make the directory for the volume");
        if let Some(parent) = dir.parent() {
            // Others find their way through it; the volume's own directory is the user's alone.
            fs::create_dir_all(parent).map_err(Error::io(dir, "make the directory above"))?;
        }
        match fs::DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(made(error));
            }
            _ => {}
        }
        self.check_owner()?;
        if self.memory == Memory::HugeTmpfs {
            mount_huge(dir, size)?;
        }
        mkfs(
            &self.file,
            &MkfsOptions {
                size: Some(size),
                ..MkfsOptions::default()
            },
        )?;
        let source = Source::open(&self.file, Access::ReadWrite).map_err(Error::source)?;
        let region = Region::map(&source).map_err(Error::map(&self.file))?;
        let all = RegionOff(0)..RegionOff(source.size());
        if self.memory == Memory::Shm {
            // As many huge pages as the host can make now; what stays small works all the same.
            let _ = region.collapse(all.clone());
        }
        region
            .populate(all, Populate::Write)
            .map_err(Error::map(&self.file))
    }

    /// Removes what [`Self::make`] made, as far as it came.
    ///
    /// Only in a directory of this user's own: what a link leads to is not ours.
    fn give_back(&self) {
        if self.check_owner().is_err() {
            return;
        }
        let dir = self.dir();
        // Each of these may not be there: that is what is wanted.
        if let Ok(source) = Source::open(&self.file, Access::ReadOnly) {
            let _ = fs::remove_file(path_of(&source, Uuid::nil()));
        }
        let _ = fs::remove_file(&self.file);
        let _ = fs::remove_file(self.made_directory());
        if self.memory == Memory::HugeTmpfs {
            let _ = rustix::mount::unmount(dir, rustix::mount::UnmountFlags::DETACH);
        }
        let _ = fs::remove_dir(dir);
    }
}

/// Mounts a private tmpfs that gives huge pages, with room for the volume and its reservations.
fn mount_huge(dir: &Path, size: u64) -> Result<()> {
    let options = format!(
        "huge=always,mode=0700,size={}",
        size.saturating_add(4 << 20)
    );
    let options = std::ffi::CString::new(options)
        .map_err(|_| Error::Usage("the options of a tmpfs have a NUL".into()))?;
    let flags = rustix::mount::MountFlags::NOSUID
        | rustix::mount::MountFlags::NODEV
        | rustix::mount::MountFlags::NOEXEC;
    rustix::mount::mount("famfs", dir, "tmpfs", flags, Some(options.as_c_str()))
        .map_err(|errno| Error::io(dir, "mount a tmpfs with huge pages on")(errno.into()))
}
