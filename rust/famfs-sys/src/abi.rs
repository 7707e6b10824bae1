//! KABI 43: numbers and layouts, as `kmod/famfs_ioctl.h` has them.
//!
//! Nothing here is checked: it is what goes over the border, byte by byte.

use std::ffi::c_uint;

use rustix::ioctl::{Opcode, opcode};

/// The version of this interface.
pub const KABI_VERSION: u32 = 43;

/// What `statfs` says of a famfs mount.
pub const SUPER_MAGIC: u64 = 0x87b2_82fe;

/// Extents, or strips, that a map has at most.
pub const MAX_EXTENTS: usize = 16;

/// The group of the numbers.
pub(crate) const GROUP: u8 = b'u';

/// An extent or a strip.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RawExtent {
    pub(crate) devindex: u64,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// Strips and how they take turns.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RawInterleave {
    pub(crate) nstrips: u64,
    pub(crate) chunk_size: u64,
    pub(crate) nbytes: u64,
    pub(crate) strips: u64,
}

/// A map to install.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RawMap {
    pub(crate) size: u64,
    pub(crate) file_type: u32,
    pub(crate) ext_type: u32,
    pub(crate) count: u32,
    pub(crate) pad: u32,
    pub(crate) extents: u64,
}

/// A map read back, without its extents.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RawMapV1 {
    pub(crate) ext_type: u32,
    pub(crate) file_type: u32,
    pub(crate) size: u64,
    pub(crate) count: u64,
    pub(crate) ext: [[u64; 2]; 2],
}

/// Where all extents are to be put.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RawMapExtents {
    pub(crate) capacity: u32,
    pub(crate) count: u32,
    pub(crate) chunk_size: u64,
    pub(crate) extents: u64,
}

/// Where ranges of bad pages are to be put.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RawBadRanges {
    pub(crate) capacity: u32,
    pub(crate) count: u32,
    pub(crate) ranges: u64,
}

/// A name that passes to another file, or goes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RawRetire {
    pub(crate) slot: u64,
    pub(crate) successor: i32,
    pub(crate) name_len: u32,
    pub(crate) name: u64,
}

pub(crate) const MAP_GET: Opcode = opcode::read::<RawMapV1>(GROUP, 0x51);
pub(crate) const NOP: Opcode = opcode::none(GROUP, 0x53);
pub(crate) const MAP_CREATE_V2: Opcode = opcode::write::<RawMap>(GROUP, 0x54);
pub(crate) const MAP_EXTENTS: Opcode = opcode::read_write::<RawMapExtents>(GROUP, 0x60);
pub(crate) const BAD_RANGES: Opcode = opcode::read_write::<RawBadRanges>(GROUP, 0x61);
pub(crate) const RETIRE: Opcode = opcode::write::<RawRetire>(GROUP, 0x62);

const fn is(number: Opcode, expected: c_uint) -> bool {
    number == expected as Opcode
}

const _: () = assert!(size_of::<RawExtent>() == 24);
const _: () = assert!(size_of::<RawInterleave>() == 32);
const _: () = assert!(size_of::<RawMap>() == 32);
const _: () = assert!(size_of::<RawMapV1>() == 56);
// The groups of bits that make a number differ between processors; these are the common ones'.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const _: () = assert!(
    is(MAP_GET, 0x8038_7551)
        && is(NOP, 0x0000_7553)
        && is(MAP_CREATE_V2, 0x4020_7554)
        && is(MAP_EXTENTS, 0xc018_7560)
        && is(BAD_RANGES, 0xc010_7561)
        && is(RETIRE, 0x4018_7562)
);
