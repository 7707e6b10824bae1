//! Mounting by the kernel, and bringing up what every mount has.
//!
//! Owns the order: the superblock's file first, for it says how long the log is; then the log's
//! file; then the log is played. A mount that can't be brought up is taken away again.

use std::fs;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use famfs_core::check::Fatal;
use famfs_core::superblock::{Role, Superblock};
use famfs_core::units::{ALLOC_UNIT, Slot};
use famfs_mem::Region;
use famfs_sys::dax::{self, Binding, Driver};
use famfs_sys::holders;
use famfs_sys::ioctl::{self, FileKind, FileMap, Range};

use super::{KernelFiles, LOG, META, Played, SUPERBLOCK, VERSIONS};
use crate::error::{Error, Result};
use crate::volume::{Options, Volume};

/// Whether the kernel can mount this device as things are: the module is there, and it is a block
/// device, or a dax device that is bound to the driver for file systems.
#[must_use]
pub fn is_ready_for(device: &Path) -> bool {
    let is_bound = || dax::find(device).is_ok_and(|found| found.driver == Some(Driver::FsdevDax));
    famfs_sys::mount::is_available() && (is_block(device) || is_bound())
}

/// Mounts the volume on a device by the kernel module, and plays its log.
///
/// `range` names physical memory that nobody else owns, as `START+SIZE`, where the kernel has no
/// device that it can hand out. A dax device that is driven for programs is borrowed: its driver
/// has it again when the mount fails, or is taken away.
///
/// # Errors
/// Of the play: what could not be followed, while all else is there. Of the mount:
/// [`Error::Unsupported`] without the module, or the driver that it takes; [`Error::Corrupt`] for a
/// device without a volume; [`Error::Busy`] for one that is in use, or is the system's RAM;
/// [`Error::Permission`].
pub fn mount(
    device: &Path,
    directory: &Path,
    range: Option<&str>,
) -> Result<(Volume, Result<Played>)> {
    if !famfs_sys::mount::is_available() {
        return Err(Error::Unsupported {
            what: directory.display().to_string(),
            why:
                "the kernel module is not loaded: `famfs kmod load` loads it (`famfs kmod status` \
                  says what is missing), or mount with --library"
                    .into(),
        });
    }
    let data = range
        .map(|range| format!("range={range}"))
        .unwrap_or_default();
    // Before anything else is asked of it: the node of one that is the system's RAM may be missing.
    let binding = match range {
        Some(_) => None,
        None => borrow(device)?,
    };
    let device = match range {
        Some(_) => device.to_owned(),
        None => fs::canonicalize(device).map_err(Error::io(device, "find"))?,
    };
    // A link would be followed now, and refused when it is unmounted.
    let directory = &fs::canonicalize(directory).map_err(Error::io(directory, "find"))?;
    crate::mounts::check_free(directory)?;
    let mounted = famfs_sys::mount::mount(&device, directory, &data);
    mounted.map_err(|error| match range {
        Some(range) => range_refused(range, error),
        None => refused(&device)(error),
    })?;
    let brought = crate::host::establish()
        .and_then(|_| bring_up(directory))
        .and_then(|brought| refuse_interrupted(binding.as_ref()).map(|()| brought));
    if brought.is_err() {
        // What was done is undone; the error that is told is the first one. The device goes back
        // after that, when the binding is dropped.
        let _ = unmount(directory);
        return brought;
    }
    if let Some(Err(error)) = binding.map(Binding::keep_for_mount) {
        let _ = unmount(directory);
        return Err(error.into());
    }
    brought
}

/// Has the driver for file systems drive a dax device, until the mount fails.
fn borrow(device: &Path) -> Result<Option<Binding>> {
    dax::usable(device)?;
    match dax::find(device) {
        Ok(_) => crate::dax::bind(device, Some(&Driver::FsdevDax)).map(Some),
        // It is none.
        Err(_) => Ok(None),
    }
}

/// Signals wait while a device is borrowed: the user may want an end.
fn refuse_interrupted(binding: Option<&Binding>) -> Result<()> {
    match binding {
        Some(binding) if binding.is_interrupted() => {
            let interrupted = std::io::ErrorKind::Interrupted.into();
            Err(Error::io(binding.path(), "mount")(interrupted))
        }
        _ => Ok(()),
    }
}

fn refused(device: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let device = device.to_owned();
    move |error| match error.raw_os_error() {
        Some(libc::EBUSY) => Error::Busy {
            path: device,
            holders: "it is mounted, or something else has it open for itself".into(),
        },
        Some(libc::EOPNOTSUPP) if is_block(&device) => Error::Unsupported {
            what: device.display().to_string(),
            why: "the kernel has no page structures for it, which memory for files needs: a \
                  /dev/pmem device in fsdax mode has (`ndctl list` shows the mode, `ndctl \
                  create-namespace -f -e NAMESPACE -m fsdax` sets it, and its data is lost)"
                .into(),
        },
        Some(libc::EOPNOTSUPP) => Error::Unsupported {
            what: device.display().to_string(),
            why: "this kernel can't use it as memory for files: a /dev/pmem device works on every \
                  kernel, a /dev/dax device from Linux 7.0 on; before, --range takes memory that \
                  was set aside"
                .into(),
        },
        Some(libc::ENODEV) => Error::Unsupported {
            what: device.display().to_string(),
            why: format!(
                "it is not bound to the driver fsdev_dax: `famfs dax bind {}` first",
                device.display()
            ),
        },
        _ => Error::io(&device, "mount")(error),
    }
}

fn range_refused(range: &str, error: std::io::Error) -> Error {
    let path = Path::new(range);
    match error.raw_os_error() {
        Some(libc::EBUSY) => Error::Busy {
            path: path.to_owned(),
            holders:
                "a driver or a mount has some of that memory; `famfs dax list` shows devices, \
                      `famfs dax unbind` lets go of one, and `famfs mounts` shows mounts"
                    .into(),
        },
        Some(libc::EINVAL | libc::ERANGE) => Error::Usage(format!(
            "--range {range}: START+SIZE in bytes, whole units of 2 MiB, of memory that was set \
             aside was expected (/proc/iomem shows it, as reserved, soft-reserved or persistent); \
             `dmesg` tells what is wrong with it"
        )),
        _ => Error::io(path, "mount")(error),
    }
}

fn is_block(device: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    fs::metadata(device).is_ok_and(|found| found.file_type().is_block_device())
}

fn bring_up(directory: &Path) -> Result<(Volume, Result<Played>)> {
    let make = |name: &str| {
        let path = directory.join(name);
        // Whatever the umask: all may look what is published.
        fs::create_dir(&path)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
            .map_err(Error::io(&path, "make"))
    };
    make(META)?;
    make(VERSIONS)?;
    place(
        &directory.join(SUPERBLOCK),
        FileKind::Superblock,
        Range {
            offset: 0,
            len: ALLOC_UNIT,
        },
        0o444,
    )?;
    let superblock = judge_superblock(directory)?;
    let master = superblock.role(crate::host::identity()?) == Role::Master;
    place(
        &directory.join(LOG),
        FileKind::Log,
        Range {
            offset: ALLOC_UNIT,
            len: superblock.log_len().0,
        },
        if master { 0o644 } else { 0o444 },
    )?;
    let volume = Volume::open(directory, Options::default())?;
    // What can't be followed keeps nobody from the rest.
    let played = volume.play(Slot(0));
    Ok((volume, played))
}

/// Reads enough of the superblock to know how long the log is; the volume is judged when opened.
fn judge_superblock(directory: &Path) -> Result<Superblock> {
    use std::os::unix::fs::FileExt;
    let path = directory.join(SUPERBLOCK);
    let file = File::open(&path).map_err(Error::io(&path, "open"))?;
    let mut bytes = [0; famfs_core::media::SUPERBLOCK_LEN];
    file.read_exact_at(&mut bytes, 0)
        .map_err(Error::io(&path, "read"))?;
    Superblock::decode(&bytes).map_err(|error| Error::Corrupt {
        path: directory.to_owned(),
        fatal: Fatal::from(error),
    })
}

fn place(path: &Path, kind: FileKind, range: Range, mode: u32) -> Result<()> {
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(Error::io(path, "make"))?;
    let map = FileMap {
        kind,
        size: range.len,
        chunk_size: None,
        extents: vec![range],
    };
    ioctl::install(&file, &map)
        .map_err(|error| Error::io(path, "place")(std::io::Error::other(error)))?;
    file.set_permissions(fs::Permissions::from_mode(mode))
        .map_err(Error::io(path, "set the mode of"))
}

/// Unmounts.
///
/// # Errors
/// [`Error::Busy`], naming who uses it; [`Error::Permission`].
pub fn unmount(directory: &Path) -> Result<()> {
    // Whoever follows the log has it mapped, and is not ended for nothing.
    let followers = super::follow::pids(directory);
    let mut others = holders::of_mount(directory);
    others.retain(|pid| !followers.contains(pid));
    if !others.is_empty() {
        return Err(busy(directory, &others));
    }
    super::follow::end(directory)?;
    let mounts = famfs_sys::mount::list().unwrap_or_default();
    let of_this = mounts
        .into_iter()
        .rfind(|mount| mount.mountpoint == directory);
    if let Ok((files, source)) = KernelFiles::open(directory, true) {
        Region::forget(&source.identity());
        drop((files, source));
    }
    famfs_sys::mount::unmount(directory).map_err(|error| {
        if error.raw_os_error() != Some(libc::EBUSY) {
            return Error::io(directory, "unmount")(error);
        }
        busy(directory, &holders::of_mount(directory))
    })?;
    if let Some(mount) = of_this {
        // Whoever drove the device before it was borrowed has it again.
        dax::give_back(&mount.source)?;
    }
    Ok(())
}

fn busy(directory: &Path, pids: &[u32]) -> Error {
    Error::Busy {
        path: directory.to_owned(),
        holders: format!(
            "{} uses it; end it, or let it go elsewhere",
            holders::named(pids).unwrap_or_else(|| "another process".into())
        ),
    }
}
