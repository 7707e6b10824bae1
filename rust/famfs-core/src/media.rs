//! The bytes on the media: raw structures, their sizes and offsets, and the format's constants.
//!
//! Owns the layout of OMF 2.2 and 2.3, which docs/format.md specifies; a test compares the two.
//! Holds no judgement: the neighbouring modules turn these into checked types. All integers are
//! little endian and unaligned here, so that every host reads the same bytes.

use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Magic number of the superblock.
pub const SUPERBLOCK_MAGIC: u64 = 0x87b2_82ff;
/// The one superblock version there is.
pub const SUPERBLOCK_VERSION: u64 = 48;
/// Bytes that the superblock uses, at offset 0 of the device.
pub const SUPERBLOCK_LEN: usize = 200;
/// Where the log begins, in bytes from the start of the device.
pub const LOG_OFFSET: u64 = 0x20_0000;
/// The smallest log, and the one that mkfs makes unless told otherwise, in bytes.
pub const MIN_LOG_LEN: u64 = 8 << 20;
/// Magic number of the log header.
pub const LOG_MAGIC: u64 = 0xbad_cafe_f00d;
/// Bytes of the log header.
pub const LOG_HEADER_LEN: usize = 48;
/// Where the two counters stand in the log header: one aligned 16-byte pair.
pub const COUNTERS_OFFSET: usize = 32;
/// Bytes of a log entry.
pub const ENTRY_LEN: usize = 544;
/// The OMF major version.
pub const OMF_MAJOR: u32 = 2;
/// The OMF minor version of the reference implementation.
pub const OMF_MINOR_REFERENCE: u32 = 2;
/// The OMF minor version with REPLACE and DELETE.
pub const OMF_MINOR: u32 = 3;
/// Bytes of a path field; a path has at most one byte less.
pub const PATH_FIELD: usize = 80;
/// The most extents, or strips, that an entry can name.
pub const MAX_EXTENTS: usize = 16;
/// The most buckets that a device is cut into for interleaving.
pub const MAX_BUCKETS: u64 = 64;

/// Entry type of a file.
pub const TYPE_FILE: u32 = 0;
/// Entry type of a directory.
pub const TYPE_MKDIR: u32 = 1;
/// Entry type of a deletion (OMF 2.3).
pub const TYPE_DELETE: u32 = 2;
/// Entry type of a further device.
pub const TYPE_ADD_DAXDEV: u32 = 3;

/// Flag in a FILE entry that the reference implementation always writes.
pub const FLAG_REFERENCE: u32 = 2;
/// Flag in a FILE entry: it takes the place of the file that has its path (OMF 2.3).
pub const FLAG_REPLACE: u32 = 0x100;

/// Extent type of a list of extents.
pub const EXTENT_SIMPLE: u32 = 0;
/// Extent type of a file that is striped over several extents.
pub const EXTENT_INTERLEAVED: u32 = 1;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct RawSuperblock {
    pub(crate) magic: U64,                 // 0x87b282ff
    pub(crate) version: U64,               // 48
    pub(crate) log_offset: U64,            // 0x200000
    pub(crate) log_len: U64,               // a power of two, 8 MiB at least
    pub(crate) alloc_unit: U64,            // 0x200000
    pub(crate) omf_major: U32,             // 2
    pub(crate) omf_minor: U32,             // 2 or 3
    pub(crate) uuid: [u8; 16],             // of the file system
    pub(crate) device_uuid: [u8; 16],      // of the primary device
    pub(crate) system_uuid: [u8; 16],      // of the host that made it: the master
    pub(crate) crc: U64,                   // CRC-32 of the 96 bytes before
    pub(crate) flags: U32,                 // unused so far
    pub(crate) pad: [u8; 4],               // zero
    pub(crate) device_size: U64,           // in bytes, as mkfs found it
    pub(crate) device_uuid_copy: [u8; 16], // the reference leaves it unwritten
    pub(crate) device_name: [u8; 64],      // as given to mkfs, may lack a NUL
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct RawLogHeader {
    pub(crate) magic: U64,       // 0xbadcafef00d
    pub(crate) log_len: U64,     // header included
    pub(crate) last_index: U64,  // the last usable slot
    pub(crate) crc: U64,         // CRC-32 of the 24 bytes before
    pub(crate) next_seqnum: U64, // in no checksum
    pub(crate) next_index: U64,  // in no checksum
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct RawEntry {
    pub(crate) seqnum: U64,        // equal to the slot
    pub(crate) kind: U32,          // FILE, MKDIR, DELETE, ADD_DAXDEV
    pub(crate) pad: [u8; 4],       // zero
    pub(crate) payload: [u8; 520], // one of the four below, then zeros
    pub(crate) crc: U64,           // CRC-32 of the 536 bytes before
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct RawExtent {
    pub(crate) device: U64, // index in the device table
    pub(crate) offset: U64, // in bytes
    pub(crate) len: U64,    // in bytes
}

/// Payload of a FILE entry, up to its map.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct RawFile {
    pub(crate) size: U64,  // in bytes
    pub(crate) flags: U32, // bit 1 as the reference writes it, bit 8 REPLACE
    pub(crate) uid: U32,
    pub(crate) gid: U32,
    pub(crate) mode: U32,              // permission bits
    pub(crate) path: [u8; PATH_FIELD], // NUL padded
    pub(crate) extent_type: U32,       // simple or interleaved
    pub(crate) pad1: [u8; 4],          // zero
    pub(crate) count: U32,             // of extents; 1 where interleaved
    pub(crate) pad2: [u8; 4],          // zero
    pub(crate) map: [u8; 400],         // RawSimpleMap or RawInterleavedMap
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct RawSimpleMap {
    pub(crate) extents: [RawExtent; MAX_EXTENTS], // the first `count` are used
    pub(crate) unused: [u8; 16],                  // zero
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct RawInterleavedMap {
    pub(crate) nstrips: U64,
    pub(crate) chunk_size: U64,                  // in bytes
    pub(crate) strips: [RawExtent; MAX_EXTENTS], // the first `nstrips` are used
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct RawMkdir {
    pub(crate) uid: U32,
    pub(crate) gid: U32,
    pub(crate) mode: U32,              // permission bits
    pub(crate) path: [u8; PATH_FIELD], // NUL padded
    pub(crate) unused: [u8; 428],      // zero
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct RawDelete {
    pub(crate) slot: U64,              // of the entry that made the name
    pub(crate) unused1: [u8; 16],      // zero
    pub(crate) path: [u8; PATH_FIELD], // NUL padded
    pub(crate) unused2: [u8; 416],     // zero
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct RawAddDaxdev {
    pub(crate) size: U64,         // in bytes
    pub(crate) uuid: [u8; 16],    // of the device
    pub(crate) index: U32,        // in the device table
    pub(crate) unused: [u8; 492], // zero
}

const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<RawSuperblock>() == SUPERBLOCK_LEN);
    assert!(offset_of!(RawSuperblock, crc) == 96);
    assert!(offset_of!(RawSuperblock, device_size) == 112);
    assert!(offset_of!(RawSuperblock, device_name) == 136);
    assert!(size_of::<RawLogHeader>() == LOG_HEADER_LEN);
    assert!(offset_of!(RawLogHeader, next_seqnum) == COUNTERS_OFFSET);
    assert!(COUNTERS_OFFSET.is_multiple_of(16));
    assert!(size_of::<RawEntry>() == ENTRY_LEN);
    assert!(offset_of!(RawEntry, payload) == 16);
    assert!(offset_of!(RawEntry, crc) == 536);
    assert!(size_of::<RawExtent>() == 24);
    assert!(size_of::<RawFile>() == 520);
    assert!(size_of::<RawMkdir>() == 520);
    assert!(size_of::<RawDelete>() == 520);
    assert!(size_of::<RawAddDaxdev>() == 520);
    assert!(size_of::<RawSimpleMap>() == 400);
    assert!(size_of::<RawInterleavedMap>() == 400);
    assert!(offset_of!(RawFile, map) == 120);
    assert!(LOG_OFFSET.is_multiple_of(crate::units::ALLOC_UNIT));
};

/// The last usable slot of a log of `log_len` bytes; `None` where not one entry fits.
#[must_use]
pub const fn last_index(log_len: u64) -> Option<u64> {
    match log_len.checked_sub(LOG_HEADER_LEN as u64) {
        Some(room) => (room / ENTRY_LEN as u64).checked_sub(1),
        None => None,
    }
}

/// Where entry `slot` begins, in bytes from the start of the log; `None` past 2^64.
#[must_use]
pub const fn entry_offset(slot: u64) -> Option<u64> {
    match slot.checked_mul(ENTRY_LEN as u64) {
        Some(offset) => offset.checked_add(LOG_HEADER_LEN as u64),
        None => None,
    }
}

/// zlib CRC-32, zero-extended as on the media.
pub(crate) fn crc(bytes: &[u8]) -> u64 {
    u64::from(crc32fast::hash(bytes))
}

#[cfg(test)]
#[path = "media_spec.rs"]
mod tests;
