//! The module's ioctls as functions.
//!
//! Each opens with the number's line in `kmod/famfs_ioctl.h`; the kernel judges what it is given.
#![expect(unsafe_code, reason = "the kernel reads and writes through pointers")]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::ioctl::{NoArg, Setter, Updater};

use crate::abi::{
    BAD_RANGES, MAP_CREATE_V2, MAP_EXTENTS, MAP_GET, MAX_EXTENTS, NOP, RETIRE, RawBadRanges,
    RawExtent, RawInterleave, RawMap, RawMapExtents, RawMapV1, RawRetire,
};

/// A range of the mounted device, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Range {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub len: u64,
}

/// What a file is to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A published file.
    Regular,
    /// The superblock.
    Superblock,
    /// The log.
    Log,
}

impl FileKind {
    fn number(self) -> u32 {
        match self {
            Self::Regular => 0,
            Self::Superblock => 1,
            Self::Log => 2,
        }
    }
}

/// Where a file's bytes lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMap {
    /// What it is.
    pub kind: FileKind,
    /// Bytes of the file.
    pub size: u64,
    /// Bytes of a chunk, where it is interleaved.
    pub chunk_size: Option<u64>,
    /// Its extents, or strips, in order.
    pub extents: Vec<Range>,
}

/// What the kernel answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IoctlError {
    /// No map may be installed by this process.
    #[error("it takes CAP_SYS_ADMIN")]
    NotPermitted,
    /// The file has a map.
    #[error("the file has a map, or the name's version is there")]
    Exists,
    /// Another file has some of the memory.
    #[error("another file has some of that memory, maybe one that a process still maps")]
    Overlaps,
    /// The map makes no sense to the kernel.
    #[error("the kernel refuses the map: {0}")]
    BadMap(Errno),
    /// The device went away.
    #[error("the device is gone")]
    Gone,
    /// Something else.
    #[error("{0}")]
    Other(Errno),
}

impl From<Errno> for IoctlError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::PERM | Errno::ACCESS => Self::NotPermitted,
            Errno::EXIST => Self::Exists,
            Errno::BUSY => Self::Overlaps,
            Errno::INVAL | Errno::RANGE | Errno::TOOBIG | Errno::NODEV => Self::BadMap(errno),
            Errno::IO => Self::Gone,
            other => Self::Other(other),
        }
    }
}

/// Whether an open file or directory is on a famfs mount.
#[must_use]
pub fn is_famfs(file: impl AsFd) -> bool {
    // SAFETY: FAMFSIOC_NOP has no argument, and other file systems' drivers have no such number
    // that does harm without one.
    unsafe { rustix::ioctl::ioctl(file, NoArg::<NOP>::new()) }.is_ok()
}

/// Gives a file its map, once.
///
/// # Errors
/// [`IoctlError`]; nothing is installed then.
pub fn install(file: impl AsFd, map: &FileMap) -> Result<(), IoctlError> {
    let raw: Vec<_> = map
        .extents
        .iter()
        .map(|range| RawExtent {
            devindex: 0,
            offset: range.offset,
            len: range.len,
        })
        .collect();
    if raw.len() > MAX_EXTENTS {
        return Err(IoctlError::BadMap(Errno::TOOBIG));
    }
    let interleave = RawInterleave {
        nstrips: raw.len() as u64,
        chunk_size: map.chunk_size.unwrap_or(0),
        nbytes: map.size,
        strips: raw.as_ptr().expose_provenance() as u64,
    };
    let (ext_type, count, extents) = match map.chunk_size {
        Some(_) => (1, 1, (&raw const interleave).expose_provenance()),
        None => (
            0,
            u32::try_from(raw.len()).unwrap_or(u32::MAX),
            raw.as_ptr().expose_provenance(),
        ),
    };
    let argument = RawMap {
        size: map.size,
        file_type: map.kind.number(),
        ext_type,
        count,
        pad: 0,
        extents: extents as u64,
    };
    // SAFETY: FAMFSIOC_MAP_CREATE_V2 reads a famfs_map_v2, and through its pointer `count` extents,
    // or one interleave and its strips: all of them live until the call returns.
    unsafe { rustix::ioctl::ioctl(file, Setter::<MAP_CREATE_V2, RawMap>::new(argument)) }?;
    Ok(())
}

/// The map of a file; `None` before it has one.
///
/// # Errors
/// [`IoctlError`], also for a file that isn't on a famfs mount.
pub fn installed(file: impl AsFd) -> Result<Option<FileMap>, IoctlError> {
    let file = file.as_fd();
    let mut first = RawMapV1::default();
    // SAFETY: FAMFSIOC_MAP_GET writes a famfs_map_v1.
    let got = unsafe { rustix::ioctl::ioctl(file, Updater::<MAP_GET, RawMapV1>::new(&mut first)) };
    match got {
        Err(Errno::NODATA) => return Ok(None),
        other => other?,
    }
    let mut room = [RawExtent::default(); MAX_EXTENTS];
    let mut ask = RawMapExtents {
        capacity: u32::try_from(room.len()).unwrap_or(0),
        extents: room.as_mut_ptr().expose_provenance() as u64,
        ..RawMapExtents::default()
    };
    // SAFETY: FAMFSIOC_MAP_EXTENTS reads and writes a famfs_map_extents, and writes at most
    // `capacity` extents through its pointer: `room` has that many, and lives until it returns.
    unsafe { rustix::ioctl::ioctl(file, Updater::<MAP_EXTENTS, RawMapExtents>::new(&mut ask)) }?;
    Ok(Some(FileMap {
        kind: match first.file_type {
            1 => FileKind::Superblock,
            2 => FileKind::Log,
            _ => FileKind::Regular,
        },
        size: first.size,
        chunk_size: (ask.chunk_size != 0).then_some(ask.chunk_size),
        extents: room
            .iter()
            .take(ask.count as usize)
            .map(|raw| Range {
                offset: raw.offset,
                len: raw.len,
            })
            .collect(),
    }))
}

/// Takes the name of a file in `directory` away, or gives it to `successor`, in one step. The file
/// that had it stays reachable as `.meta/versions/<slot>`.
///
/// # Errors
/// [`IoctlError::Other`] with `NOENT` where there is no such name, or no `.meta/versions`.
pub fn retire(
    directory: impl AsFd,
    name: &[u8],
    slot: u64,
    successor: Option<BorrowedFd<'_>>,
) -> Result<(), IoctlError> {
    let argument = RawRetire {
        slot,
        successor: successor.map_or(-1, |file| file.as_raw_fd()),
        name_len: u32::try_from(name.len()).unwrap_or(u32::MAX),
        name: name.as_ptr().expose_provenance() as u64,
    };
    // SAFETY: FAMFSIOC_RETIRE reads a famfs_retire, and `name_len` bytes through its pointer: both
    // live until the call returns.
    unsafe { rustix::ioctl::ioctl(directory, Setter::<RETIRE, RawRetire>::new(argument)) }?;
    Ok(())
}

/// The ranges of the device with memory errors, as many as `most`, and how many there are.
///
/// # Errors
/// [`IoctlError::NotPermitted`].
pub fn bad_ranges(file: impl AsFd, most: u32) -> Result<(Vec<Range>, u32), IoctlError> {
    let mut room = vec![Range::default(); most as usize];
    let mut ask = RawBadRanges {
        capacity: most,
        ranges: room.as_mut_ptr().expose_provenance() as u64,
        ..RawBadRanges::default()
    };
    // SAFETY: FAMFSIOC_BAD_RANGES reads and writes a famfs_bad_ranges, and writes at most
    // `capacity` ranges through its pointer: `room` has that many, and lives until it returns.
    unsafe { rustix::ioctl::ioctl(file, Updater::<BAD_RANGES, RawBadRanges>::new(&mut ask)) }?;
    room.truncate(ask.count as usize);
    Ok((room, ask.count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_file_systems_are_told_apart() {
        let file = tempfile::tempfile().unwrap();
        assert!(!is_famfs(&file));
        let map = FileMap {
            kind: FileKind::Regular,
            size: 0,
            chunk_size: None,
            extents: Vec::new(),
        };
        assert!(matches!(
            install(&file, &map),
            Err(IoctlError::Other(Errno::NOTTY))
        ));
        assert!(installed(&file).is_err());
    }

    #[test]
    fn too_many_extents_are_not_even_asked_for() {
        let map = FileMap {
            kind: FileKind::Regular,
            size: 1,
            chunk_size: None,
            extents: vec![Range::default(); MAX_EXTENTS + 1],
        };
        let file = tempfile::tempfile().unwrap();
        assert_eq!(install(&file, &map), Err(IoctlError::BadMap(Errno::TOOBIG)));
    }
}
