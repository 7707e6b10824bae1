//! Volumes, mounts and names.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use famfs::core::header::LogHeader;
use famfs::core::media::{LOG_HEADER_LEN, LOG_OFFSET, MIN_LOG_LEN, SUPERBLOCK_LEN};
use famfs::core::path::{RelPath, name};
use famfs::core::superblock::{Role, Superblock};
use famfs::core::units::{ALLOC_UNIT, MAX_DEVICE};
use famfs::mem::{Access, Kind, Source};
use famfs::mounts::{self, Mount, Mounted, Resolved};
use famfs::{Error, Locality, MkfsOptions, Stat, Volume, embedded, host};
use famfs_cli::size;
use famfs_data::DataError;
use famfs_data::catalog::summary;
use pyo3::prelude::*;
use uuid::Uuid;

use crate::errors::{Failure, Result};
use crate::reference::Ref;

/// name, path, kind, size, rows, mode, uid, gid, index, reference.
type Entry = (
    OsString,
    PathBuf,
    &'static str,
    u64,
    Option<u64>,
    u32,
    u32,
    u32,
    u64,
    Option<Ref>,
);

fn describe(resolved: &Resolved, volume: &Volume, stat: Stat) -> Result<Entry, DataError> {
    let (kind, rows) = if stat.is_dir() {
        ("directory", None)
    } else {
        let found = summary(volume, &stat)?;
        (found.kind.name(), found.rows)
    };
    let reference = RelPath::new(&stat.path)
        .ok()
        .filter(|_| !stat.is_dir())
        .map(|path| Ref {
            inner: famfs_data::Ref::new(volume.uuid(), path, stat.slot),
        });
    let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let mut path = resolved.mount.mountpoint.clone();
    if !stat.path.is_empty() {
        path.push(text(&stat.path));
    }
    Ok((
        text(name(&stat.path)),
        path,
        kind,
        stat.size.0,
        rows,
        stat.owner.mode,
        stat.owner.uid,
        stat.owner.gid,
        stat.slot.0,
        reference,
    ))
}

/// Works on what a path names, without the interpreter; errors are about the path as written.
fn on<T: Send>(
    py: Python<'_>,
    path: &Path,
    work: impl FnOnce(Resolved, Volume) -> Result<T, DataError> + Send,
) -> Result<T> {
    let done = py.detach(|| {
        let resolved = mounts::resolve(path)?;
        let volume = resolved.volume()?;
        work(resolved, volume)
    });
    done.map_err(Failure::about(path))
}

/// What is in a directory; of a file, the file itself.
#[pyfunction]
pub(crate) fn ls(py: Python<'_>, path: PathBuf) -> Result<Vec<Entry>> {
    on(py, &path, |resolved, volume| {
        let found = volume.list(&resolved.path)?;
        found
            .into_iter()
            .map(|stat| describe(&resolved, &volume, stat))
            .collect()
    })
}

/// What is at a path.
#[pyfunction]
pub(crate) fn entry(py: Python<'_>, path: PathBuf) -> Result<Entry> {
    on(py, &path, |resolved, volume| {
        let stat = volume.stat(&resolved.path)?;
        describe(&resolved, &volume, stat)
    })
}

/// The versions of a file, the newest first.
#[pyfunction]
pub(crate) fn versions(py: Python<'_>, path: PathBuf) -> Result<Vec<Ref>> {
    on(py, &path, |resolved, volume| {
        let found = volume.versions(&resolved.path)?;
        let reference = |stat: Stat| {
            let path = RelPath::new(&stat.path).map_err(|reason| Error::InvalidPath {
                path: stat.display(),
                reason,
            })?;
            Ok(Ref {
                inner: famfs_data::Ref::new(volume.uuid(), path, stat.slot),
            })
        };
        found.into_iter().map(reference).collect()
    })
}

/// Takes a name away.
#[pyfunction]
pub(crate) fn remove(py: Python<'_>, path: PathBuf) -> Result<()> {
    on(py, &path, |resolved, volume| {
        volume.remove(resolved.name()?)?;
        Ok(())
    })
}

/// Makes a directory.
#[pyfunction]
#[pyo3(signature = (path, *, mode=None))]
pub(crate) fn mkdir(py: Python<'_>, path: PathBuf, mode: Option<u32>) -> Result<()> {
    on(py, &path, |resolved, volume| {
        let mut owner = host::owner(mode);
        if mode.is_none() {
            owner.mode = 0o777 & !host::umask();
        }
        volume.mkdir(resolved.name()?, owner)?;
        Ok(())
    })
}

/// Capacity, allocated, dead and free bytes, entries used and entries that fit the log; of an
/// embedded volume what memory it got, and how much of it is in huge pages.
type Fullness = (
    u64,
    u64,
    u64,
    u64,
    u64,
    u64,
    Option<&'static str>,
    Option<u64>,
);

/// Space, and what memory an embedded volume has.
#[pyfunction]
pub(crate) fn df(py: Python<'_>, path: PathBuf) -> Result<Fullness> {
    on(py, &path, |at, volume| {
        let usage = volume.usage();
        let memory = at.mount.embedded;
        Ok((
            usage.capacity,
            usage.allocated,
            usage.dead,
            usage.free,
            volume.entries(),
            volume.log_capacity(),
            memory.map(embedded::Memory::words),
            memory.map(|_| embedded::huge_bytes(&volume)),
        ))
    })
}

/// Makes a volume; its identity comes back.
#[pyfunction]
#[pyo3(signature = (
    device, *, size=None, log_size=None, sparse=false, omf_minor=None, host_uuid=None, force=false
))]
#[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
pub(crate) fn mkfs(
    py: Python<'_>,
    device: PathBuf,
    size: Option<u64>,
    log_size: Option<u64>,
    sparse: bool,
    omf_minor: Option<u32>,
    host_uuid: Option<&str>,
    force: bool,
) -> Result<String> {
    let host = host_uuid
        .map(|text| {
            Uuid::try_parse(text)
                .map_err(|_| Error::Usage(format!("{text:?} is not a uuid of a host")))
        })
        .transpose()?;
    let default = MkfsOptions::default();
    check_sizes(size, log_size.unwrap_or(default.log_len))?;
    let options = MkfsOptions {
        size,
        log_len: log_size.unwrap_or(default.log_len),
        sparse,
        omf_minor: omf_minor.unwrap_or(default.omf_minor),
        host,
        force,
    };
    py.detach(|| Ok(famfs::mkfs(&device, &options)?.uuid().to_string()))
}

/// Reads a size as the command line does.
#[pyfunction]
pub(crate) fn parse_size(text: &str) -> Result<u64> {
    size::parse(text).map_err(|why| Error::Usage(format!("size: {why}")).into())
}

/// Refuses a size that makes no volume with the usual log.
#[pyfunction]
#[pyo3(signature = (size))]
pub(crate) fn check_size(size: Option<u64>) -> Result<()> {
    Ok(check_sizes(size, MIN_LOG_LEN)?)
}

/// Refuses a size that makes no volume, in the words of an argument; what a log may be is told
/// where it is made.
fn check_sizes(size: Option<u64>, log_len: u64) -> Result<(), Error> {
    let Some(size) = size else {
        return Ok(());
    };
    let least = LOG_OFFSET
        .saturating_add(log_len)
        .saturating_add(ALLOC_UNIT);
    if log_len < MIN_LOG_LEN || least > MAX_DEVICE || (least..=MAX_DEVICE).contains(&size) {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "size: {size} bytes: a volume with a log of {} MiB has {} MiB at least, and 1 PiB at most",
        log_len >> 20,
        least.div_ceil(1 << 20)
    )))
}

/// source, mountpoint, uuid, embedded, role, locality, memory; role and locality are None where the
/// volume can't be opened, memory where it is not embedded.
type Mounting = (
    PathBuf,
    PathBuf,
    Option<String>,
    bool,
    Option<&'static str>,
    Option<&'static str>,
    Option<&'static str>,
);

/// A volume's identity, this host's role and whose caches see it, read from its superblock and log
/// header: a volume that is merely listed is neither mapped nor kept, which would make it busy.
fn glance(mount: &Mount) -> Option<(Uuid, Role, Locality)> {
    let source = Source::open(&mount.source, Access::ReadOnly).ok()?;
    let mut superblock = [0; SUPERBLOCK_LEN];
    source.read_at(0, &mut superblock).ok()?;
    let superblock = Superblock::decode(&superblock).ok()?;
    let mut header = [0; LOG_HEADER_LEN];
    source.read_at(LOG_OFFSET, &mut header).ok()?;
    LogHeader::decode(&header, superblock.log_len()).ok()?;
    let is_there = source.size() >= superblock.data_offset()
        && source.kind() != Kind::Block
        && mount.uuid.is_none_or(|uuid| uuid == superblock.uuid());
    let locality = mount.locality().unwrap_or(match source.kind() {
        Kind::File => Locality::Local,
        _ => Locality::Shared,
    });
    let host = host::identity().unwrap_or(Uuid::nil());
    is_there.then(|| (superblock.uuid(), superblock.role(host), locality))
}

fn mounting(mount: &Mount) -> Mounting {
    let found = glance(mount);
    let role = found.map(|(_, role, _)| match role {
        Role::Master => "master",
        Role::Client => "client",
    });
    let locality = found.map(|(_, _, locality)| match locality {
        Locality::Local => "local",
        Locality::Shared => "shared",
    });
    let uuid = mount.uuid.or(found.map(|(uuid, _, _)| uuid));
    (
        mount.source.clone(),
        mount.mountpoint.clone(),
        uuid.map(|uuid| uuid.to_string()),
        mount.embedded.is_some(),
        role,
        locality,
        mount.embedded.map(embedded::Memory::words),
    )
}

/// Makes a directory stand for the volume on a device, in the library way.
#[pyfunction]
#[pyo3(signature = (device, mountpoint, *, shared=None))]
pub(crate) fn mount(
    py: Python<'_>,
    device: PathBuf,
    mountpoint: PathBuf,
    shared: Option<bool>,
) -> Result<(Mounting, Vec<String>)> {
    py.detach(|| {
        let Mounted { mount, warnings } = mounts::mount(&device, &mountpoint, shared)?;
        Ok((mounting(&mount), warnings))
    })
}

/// Takes a mount away; with `discard` an embedded volume's memory is given back, with `force` also
/// where others use it.
#[pyfunction]
#[pyo3(signature = (mountpoint, *, discard=false, force=false))]
pub(crate) fn umount(
    py: Python<'_>,
    mountpoint: PathBuf,
    discard: bool,
    force: bool,
) -> Result<()> {
    py.detach(|| {
        if discard && force {
            mounts::discard(&mountpoint)?;
        } else {
            mounts::umount(&mountpoint, discard)?;
        }
        Ok(())
    })
}

/// All mounts.
#[pyfunction]
pub(crate) fn mounts_list(py: Python<'_>) -> Result<Vec<Mounting>> {
    py.detach(|| Ok(mounts::list()?.iter().map(mounting).collect()))
}

/// The mount that a path lies under, and the path in its volume.
#[pyfunction]
pub(crate) fn find_mount(py: Python<'_>, path: PathBuf) -> Result<(Mounting, OsString)> {
    py.detach(|| {
        let resolved = mounts::resolve(&path)?;
        Ok((mounting(&resolved.mount), OsString::from_vec(resolved.path)))
    })
}

/// Makes and mounts an embedded volume: size, bytes in huge pages, what memory it got, backing file.
#[pyfunction]
#[pyo3(signature = (mountpoint, *, size=None))]
pub(crate) fn embedded_mount(
    py: Python<'_>,
    mountpoint: PathBuf,
    size: Option<u64>,
) -> Result<(Mounting, u64, u64)> {
    check_sizes(size, MIN_LOG_LEN)?;
    py.detach(|| {
        let made = embedded::mount(&mountpoint, size)?;
        Ok((mounting(&made.mounted.mount), made.size, made.huge))
    })
}
