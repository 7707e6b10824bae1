//! Log entries: their bytes as checked types, and back.
//!
//! Owns what can be said of one entry alone: checksum, sequence number, type, path and counts.
//! What depends on the entries before it is judged in `judge`.

use uuid::Uuid;
use zerocopy::{
    FromZeros, IntoBytes,
    byteorder::little_endian::{U32, U64},
};

use crate::extent::{Extent, Extents, Map};
use crate::finding::FindingKind;
use crate::media::{
    ENTRY_LEN, EXTENT_INTERLEAVED, EXTENT_SIMPLE, FLAG_REFERENCE, FLAG_REPLACE, MAX_EXTENTS,
    RawAddDaxdev, RawDelete, RawEntry, RawExtent, RawFile, RawInterleavedMap, RawMkdir,
    RawSimpleMap, TYPE_ADD_DAXDEV, TYPE_DELETE, TYPE_FILE, TYPE_MKDIR, crc,
};
use crate::path::RelPath;
use crate::units::{ByteLen, DevOff, DeviceIndex, Slot};

/// Bytes of an entry that its checksum covers.
const CHECKED: usize = ENTRY_LEN - 8;

/// The permission bits of a mode.
const PERMISSIONS: u32 = 0o7777;

/// Who owns a name and who may use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// A file is made, or takes another's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Its path.
    pub path: RelPath,
    /// Its size in bytes.
    pub size: ByteLen,
    /// Its owner and mode.
    pub owner: Owner,
    /// Whether it may take the place of a file that has the path (OMF 2.3).
    pub replace: bool,
    /// Where its bytes lie.
    pub map: Map,
}

/// A directory is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MkdirEntry {
    /// Its path.
    pub path: RelPath,
    /// Its owner and mode.
    pub owner: Owner,
}

/// A name goes (OMF 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeleteEntry {
    /// The path.
    pub path: RelPath,
    /// The slot of the entry that made the name.
    pub slot: Slot,
}

/// A device joins the device table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceEntry {
    /// Its index in the table.
    pub index: DeviceIndex,
    /// Its size in bytes.
    pub size: ByteLen,
    /// Its identity.
    pub uuid: Uuid,
}

/// One entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "entries live on the stack, one at a time"
)]
pub enum Entry {
    /// A file.
    File(FileEntry),
    /// A directory.
    Mkdir(MkdirEntry),
    /// A deletion.
    Delete(DeleteEntry),
    /// A device.
    AddDevice(DeviceEntry),
}

impl Entry {
    /// Reads the entry of `slot`.
    ///
    /// # Errors
    /// The first thing that is wrong with the entry alone.
    pub fn decode(bytes: &[u8; ENTRY_LEN], slot: Slot) -> Result<Self, FindingKind> {
        let raw: &RawEntry = zerocopy::transmute_ref!(bytes);
        let (found, computed) = (raw.crc.get(), crc(&bytes[..CHECKED]));
        if found != computed {
            let blank = bytes.iter().all(|&b| b == 0);
            return Err(if blank {
                FindingKind::EntryMissing
            } else {
                FindingKind::EntryCrc { found, computed }
            });
        }
        let found = raw.seqnum.get();
        if found != slot.0 {
            return Err(FindingKind::EntrySeqnum { found });
        }
        match raw.kind.get() {
            TYPE_FILE => decode_file(zerocopy::transmute_ref!(&raw.payload)).map(Self::File),
            TYPE_MKDIR => decode_mkdir(zerocopy::transmute_ref!(&raw.payload)).map(Self::Mkdir),
            TYPE_DELETE => decode_delete(zerocopy::transmute_ref!(&raw.payload)).map(Self::Delete),
            TYPE_ADD_DAXDEV => Ok(Self::AddDevice(decode_device(zerocopy::transmute_ref!(
                &raw.payload
            )))),
            found => Err(FindingKind::EntryType { found }),
        }
    }

    /// The bytes of this entry in `slot`, all that is unused zero.
    #[must_use]
    pub fn encode(&self, slot: Slot) -> [u8; ENTRY_LEN] {
        let mut raw = RawEntry::new_zeroed();
        raw.seqnum = U64::new(slot.0);
        let (kind, payload) = match self {
            Self::File(file) => (TYPE_FILE, encode_file(file)),
            Self::Mkdir(dir) => (TYPE_MKDIR, encode_mkdir(dir)),
            Self::Delete(delete) => (TYPE_DELETE, encode_delete(delete)),
            Self::AddDevice(device) => (TYPE_ADD_DAXDEV, encode_device(device)),
        };
        raw.kind = U32::new(kind);
        raw.payload = payload;
        raw.crc = U64::new(crc(&raw.as_bytes()[..CHECKED]));
        zerocopy::transmute!(raw)
    }
}

/// The type that an entry says it has.
pub(crate) fn kind(bytes: &[u8; ENTRY_LEN]) -> u32 {
    let raw: &RawEntry = zerocopy::transmute_ref!(bytes);
    raw.kind.get()
}

fn owner(uid: U32, gid: U32, mode: U32) -> Owner {
    Owner {
        uid: uid.get(),
        gid: gid.get(),
        mode: mode.get() & PERMISSIONS,
    }
}

// An entry is large: it is built where it goes, and not moved from call to call.
#[inline]
fn decode_file(raw: &RawFile) -> Result<FileEntry, FindingKind> {
    Ok(FileEntry {
        path: RelPath::from_field(&raw.path).map_err(FindingKind::Path)?,
        size: ByteLen(raw.size.get()),
        owner: owner(raw.uid, raw.gid, raw.mode),
        replace: raw.flags.get() & FLAG_REPLACE != 0,
        map: decode_map(raw)?,
    })
}

#[inline]
fn decode_map(raw: &RawFile) -> Result<Map, FindingKind> {
    let count = raw.count.get();
    match raw.extent_type.get() {
        EXTENT_SIMPLE => {
            let map: &RawSimpleMap = zerocopy::transmute_ref!(&raw.map);
            let extents = decode_extents(&map.extents, u64::from(count))
                .ok_or(FindingKind::ExtentCount { found: count })?;
            Ok(Map::Simple(extents))
        }
        EXTENT_INTERLEAVED if count == 1 => {
            let map: &RawInterleavedMap = zerocopy::transmute_ref!(&raw.map);
            let found = map.nstrips.get();
            let strips = decode_extents(&map.strips, found)
                .filter(|strips| !strips.is_empty())
                .ok_or(FindingKind::StripCount { found })?;
            Ok(Map::Interleaved {
                chunk_size: ByteLen(map.chunk_size.get()),
                strips,
            })
        }
        EXTENT_INTERLEAVED => Err(FindingKind::ExtentCount { found: count }),
        found => Err(FindingKind::ExtentType { found }),
    }
}

#[inline]
fn decode_extents(raw: &[RawExtent; MAX_EXTENTS], count: u64) -> Option<Extents> {
    let used = raw.get(..usize::try_from(count).ok()?)?;
    let mut extents = Extents::default();
    for raw in used {
        extents.push(Extent {
            device: DeviceIndex(raw.device.get()),
            offset: DevOff(raw.offset.get()),
            len: ByteLen(raw.len.get()),
        })?;
    }
    Some(extents)
}

fn decode_mkdir(raw: &RawMkdir) -> Result<MkdirEntry, FindingKind> {
    Ok(MkdirEntry {
        path: RelPath::from_field(&raw.path).map_err(FindingKind::Path)?,
        owner: owner(raw.uid, raw.gid, raw.mode),
    })
}

fn decode_delete(raw: &RawDelete) -> Result<DeleteEntry, FindingKind> {
    Ok(DeleteEntry {
        path: RelPath::from_field(&raw.path).map_err(FindingKind::Path)?,
        slot: Slot(raw.slot.get()),
    })
}

fn decode_device(raw: &RawAddDaxdev) -> DeviceEntry {
    DeviceEntry {
        index: DeviceIndex(u64::from(raw.index.get())),
        size: ByteLen(raw.size.get()),
        uuid: Uuid::from_bytes(raw.uuid),
    }
}

fn encode_file(file: &FileEntry) -> [u8; 520] {
    let mut raw = RawFile::new_zeroed();
    raw.size = U64::new(file.size.0);
    raw.flags = U32::new(FLAG_REFERENCE | if file.replace { FLAG_REPLACE } else { 0 });
    raw.uid = U32::new(file.owner.uid);
    raw.gid = U32::new(file.owner.gid);
    raw.mode = U32::new(file.owner.mode & PERMISSIONS);
    raw.path = *file.path.field();
    match &file.map {
        Map::Simple(extents) => {
            let mut map = RawSimpleMap::new_zeroed();
            encode_extents(&mut map.extents, extents);
            raw.extent_type = U32::new(EXTENT_SIMPLE);
            raw.count = U32::new(u32::try_from(extents.len()).unwrap_or(u32::MAX));
            raw.map = zerocopy::transmute!(map);
        }
        Map::Interleaved { chunk_size, strips } => {
            let mut map = RawInterleavedMap::new_zeroed();
            map.nstrips = U64::new(strips.len() as u64);
            map.chunk_size = U64::new(chunk_size.0);
            encode_extents(&mut map.strips, strips);
            raw.extent_type = U32::new(EXTENT_INTERLEAVED);
            raw.count = U32::new(1);
            raw.map = zerocopy::transmute!(map);
        }
    }
    zerocopy::transmute!(raw)
}

fn encode_extents(raw: &mut [RawExtent; MAX_EXTENTS], extents: &Extents) {
    for (raw, extent) in raw.iter_mut().zip(extents.iter()) {
        raw.device = U64::new(extent.device.0);
        raw.offset = U64::new(extent.offset.0);
        raw.len = U64::new(extent.len.0);
    }
}

fn encode_mkdir(dir: &MkdirEntry) -> [u8; 520] {
    let mut raw = RawMkdir::new_zeroed();
    raw.uid = U32::new(dir.owner.uid);
    raw.gid = U32::new(dir.owner.gid);
    raw.mode = U32::new(dir.owner.mode & PERMISSIONS);
    raw.path = *dir.path.field();
    zerocopy::transmute!(raw)
}

fn encode_delete(delete: &DeleteEntry) -> [u8; 520] {
    let mut raw = RawDelete::new_zeroed();
    raw.slot = U64::new(delete.slot.0);
    raw.path = *delete.path.field();
    zerocopy::transmute!(raw)
}

fn encode_device(device: &DeviceEntry) -> [u8; 520] {
    let mut raw = RawAddDaxdev::new_zeroed();
    raw.size = U64::new(device.size.0);
    raw.uuid = *device.uuid.as_bytes();
    // A table of 2^32 devices can't come about: each takes an entry of the log.
    raw.index = U32::new(u32::try_from(device.index.0).unwrap_or(u32::MAX));
    zerocopy::transmute!(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Owner = Owner {
        uid: 1000,
        gid: 100,
        mode: 0o640,
    };

    fn file(map: &Map) -> Entry {
        Entry::File(FileEntry {
            path: RelPath::new(b"a/b").unwrap(),
            size: ByteLen(77),
            owner: OWNER,
            replace: true,
            map: *map,
        })
    }

    fn resum(image: &mut [u8; ENTRY_LEN]) {
        let sum = crc(&image[..CHECKED]);
        image[CHECKED..].copy_from_slice(&sum.to_le_bytes());
    }

    #[test]
    fn every_type_decodes_to_what_was_encoded() {
        let extents = Extents::new(&[Extent::primary(1, 2), Extent::primary(3, 4)]).unwrap();
        let path = RelPath::new(b"x").unwrap();
        let entries = [
            file(&Map::Simple(extents)),
            file(&Map::empty()),
            file(&Map::Interleaved {
                chunk_size: ByteLen(1 << 21),
                strips: extents,
            }),
            Entry::Mkdir(MkdirEntry { path, owner: OWNER }),
            Entry::Delete(DeleteEntry {
                path,
                slot: Slot(3),
            }),
            Entry::AddDevice(DeviceEntry {
                index: DeviceIndex(1),
                size: ByteLen(1 << 30),
                uuid: Uuid::from_u128(9),
            }),
        ];
        for entry in entries {
            let image = entry.encode(Slot(5));
            assert_eq!(Entry::decode(&image, Slot(5)).unwrap(), entry);
            assert_eq!(
                Entry::decode(&image, Slot(6)).unwrap_err(),
                FindingKind::EntrySeqnum { found: 5 }
            );
        }
    }

    #[test]
    fn counts_are_bounded_before_they_are_used() {
        let mut image = file(&Map::empty()).encode(Slot(0));
        image[128..132].copy_from_slice(&17u32.to_le_bytes());
        resum(&mut image);
        assert_eq!(
            Entry::decode(&image, Slot(0)).unwrap_err(),
            FindingKind::ExtentCount { found: 17 }
        );
        // Interleaved, with no strip, with 17, and with two maps.
        image[120] = 1;
        image[128..132].copy_from_slice(&1u32.to_le_bytes());
        for found in [0u64, 17, u64::MAX] {
            image[136..144].copy_from_slice(&found.to_le_bytes());
            resum(&mut image);
            assert_eq!(
                Entry::decode(&image, Slot(0)).unwrap_err(),
                FindingKind::StripCount { found }
            );
        }
        image[128] = 2;
        resum(&mut image);
        assert_eq!(
            Entry::decode(&image, Slot(0)).unwrap_err(),
            FindingKind::ExtentCount { found: 2 }
        );
        image[120] = 2;
        resum(&mut image);
        assert_eq!(
            Entry::decode(&image, Slot(0)).unwrap_err(),
            FindingKind::ExtentType { found: 2 }
        );
    }

    #[test]
    fn blank_and_damaged_entries_differ() {
        let blank = [0; ENTRY_LEN];
        assert_eq!(
            Entry::decode(&blank, Slot(0)).unwrap_err(),
            FindingKind::EntryMissing
        );
        let mut image = file(&Map::empty()).encode(Slot(0));
        // The upper half of the checksum's 64 bits counts too.
        image[543] = 1;
        assert!(matches!(
            Entry::decode(&image, Slot(0)).unwrap_err(),
            FindingKind::EntryCrc { .. }
        ));
    }
}
