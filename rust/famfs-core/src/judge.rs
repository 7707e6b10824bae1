//! What an entry may do, given all that came before it.
//!
//! Owns the rules for names, extents and devices: one set, for a replay that reads the log and for
//! a writer that plans to append to it. Changes nothing.

use crate::entry::{DeleteEntry, DeviceEntry, Entry, FileEntry, MkdirEntry};
use crate::extent::{Extent, Map, chunk_size_is_valid};
use crate::finding::FindingKind;
use crate::path::{RelPath, parent};
use crate::units::{ALLOC_UNIT, ByteLen, DeviceIndex, Slot};

/// A name that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The slot of the entry that made it.
    pub(crate) slot: Slot,
    /// What it is.
    pub(crate) kind: FoundKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FoundKind {
    File,
    Dir { children: u64 },
}

/// A volume as far as it has come.
pub(crate) trait Before {
    /// The name at `path`, if it is there.
    fn find(&self, path: &[u8]) -> Option<Found>;
    /// Whether `extent`, which lies inside its device, covers what is allocated already.
    fn is_taken(&self, extent: &Extent) -> bool;
    /// A device of the table.
    fn device(&self, index: DeviceIndex) -> Option<DeviceRoom>;
    /// The index in the table of the device with `entry`'s identity.
    fn device_with_uuid(&self, entry: &DeviceEntry) -> Option<DeviceIndex>;
    /// The index of the next device.
    fn next_device(&self) -> DeviceIndex;
    /// Whether the format has REPLACE and DELETE.
    fn replaces(&self) -> bool;
}

/// The part of a device that files may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeviceRoom {
    /// The first byte of file data.
    pub(crate) start: u64,
    /// The device's size in bytes.
    pub(crate) size: ByteLen,
    /// Whether this host has it.
    pub(crate) here: bool,
}

/// What an entry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing changes: the directory is there already.
    Nothing,
    /// A name is made; the device that the file lies on and that is not here.
    Make { missing: Option<DeviceIndex> },
    /// A file takes the place of the one that has its name; the same.
    Replace { missing: Option<DeviceIndex> },
    /// A name goes.
    Delete,
    /// The device table grows.
    AddDevice,
}

/// Judges `entry` as the next one.
pub(crate) fn judge(entry: &Entry, before: &impl Before) -> Result<Effect, FindingKind> {
    match entry {
        Entry::File(file) => judge_file(file, before),
        Entry::Mkdir(dir) => judge_mkdir(dir, before),
        Entry::Delete(delete) => judge_delete(delete, before),
        Entry::AddDevice(device) => judge_device(device, before),
    }
}

fn judge_file(file: &FileEntry, before: &impl Before) -> Result<Effect, FindingKind> {
    if file.replace && !before.replaces() {
        return Err(FindingKind::ReplaceUnsupported);
    }
    judge_parent(&file.path, before)?;
    let replaced = match before.find(file.path.as_bytes()) {
        None => false,
        Some(Found {
            kind: FoundKind::File,
            ..
        }) if file.replace => true,
        Some(Found { slot, .. }) => return Err(FindingKind::NameTaken { slot }),
    };
    let missing = judge_map(file.size, &file.map, before)?;
    Ok(if replaced {
        Effect::Replace { missing }
    } else {
        Effect::Make { missing }
    })
}

fn judge_mkdir(dir: &MkdirEntry, before: &impl Before) -> Result<Effect, FindingKind> {
    judge_parent(&dir.path, before)?;
    match before.find(dir.path.as_bytes()) {
        None => Ok(Effect::Make { missing: None }),
        Some(Found {
            kind: FoundKind::Dir { .. },
            ..
        }) => Ok(Effect::Nothing),
        Some(Found {
            slot,
            kind: FoundKind::File,
        }) => Err(FindingKind::NameTaken { slot }),
    }
}

fn judge_delete(delete: &DeleteEntry, before: &impl Before) -> Result<Effect, FindingKind> {
    if !before.replaces() {
        return Err(FindingKind::EntryType {
            found: crate::media::TYPE_DELETE,
        });
    }
    match before.find(delete.path.as_bytes()) {
        Some(found) if found.slot == delete.slot => match found.kind {
            FoundKind::File | FoundKind::Dir { children: 0 } => Ok(Effect::Delete),
            FoundKind::Dir { .. } => Err(FindingKind::DirectoryNotEmpty),
        },
        _ => Err(FindingKind::DeleteMismatch { slot: delete.slot }),
    }
}

fn judge_device(device: &DeviceEntry, before: &impl Before) -> Result<Effect, FindingKind> {
    if let Some(DeviceIndex(index)) = before.device_with_uuid(device) {
        return Err(FindingKind::DeviceTaken { index });
    }
    let expected = before.next_device();
    if device.index != expected {
        return Err(FindingKind::DeviceIndex {
            found: device.index.0,
            expected: expected.0,
        });
    }
    Ok(Effect::AddDevice)
}

fn judge_parent(path: &RelPath, before: &impl Before) -> Result<(), FindingKind> {
    let Some(parent) = parent(path.as_bytes()) else {
        return Ok(());
    };
    match before.find(parent) {
        Some(Found {
            kind: FoundKind::Dir { .. },
            ..
        }) => Ok(()),
        Some(Found {
            slot,
            kind: FoundKind::File,
        }) => Err(FindingKind::ParentNotDirectory { slot }),
        None => Err(FindingKind::ParentMissing),
    }
}

/// Judges a file's map; the first device of it that is not here comes back.
fn judge_map(
    size: ByteLen,
    map: &Map,
    before: &impl Before,
) -> Result<Option<DeviceIndex>, FindingKind> {
    if let Map::Interleaved { chunk_size, .. } = map
        && !chunk_size_is_valid(*chunk_size)
    {
        return Err(FindingKind::ChunkSize {
            found: chunk_size.0,
        });
    }
    let mut missing = None;
    let extents = map.extents();
    for (at, extent) in extents.iter().enumerate() {
        let device = before
            .device(extent.device)
            .ok_or(FindingKind::DeviceUnknown {
                index: extent.device.0,
            })?;
        let end = judge_extent(extent, device)?;
        let meets = |other: &Extent| {
            // `other` was judged before: its end does not overflow.
            let other_end = other.offset.0.saturating_add(other.len.0);
            other.device == extent.device && other.offset.0 < end && extent.offset.0 < other_end
        };
        if extents[..at].iter().any(meets) || before.is_taken(extent) {
            return Err(FindingKind::ExtentOverlap { extent: *extent });
        }
        if !device.here {
            missing = missing.or(Some(extent.device));
        }
    }
    let covered = map.capacity();
    if covered < size.0 {
        return Err(FindingKind::SizeNotCovered {
            size: size.0,
            covered,
        });
    }
    Ok(missing)
}

/// Judges where an extent lies; its end comes back.
fn judge_extent(extent: &Extent, device: DeviceRoom) -> Result<u64, FindingKind> {
    let extent = *extent;
    if extent.len.0 == 0 {
        return Err(FindingKind::ExtentEmpty { extent });
    }
    if !extent.offset.0.is_multiple_of(ALLOC_UNIT) || !extent.len.0.is_multiple_of(ALLOC_UNIT) {
        return Err(FindingKind::ExtentUnaligned { extent });
    }
    if extent.offset.0 < device.start {
        return Err(FindingKind::ExtentInLog { extent });
    }
    extent
        .end()
        .filter(|&end| end <= device.size.0)
        .ok_or(FindingKind::ExtentOutside { extent })
}
