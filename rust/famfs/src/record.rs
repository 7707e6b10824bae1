//! A record of the reservation table, as it stands in the file.
//!
//! Owns its layout. The table is one host's, and made anew for each volume: no other version of
//! famfs reads what this one wrote.

use famfs_core::entry::Owner;
use famfs_core::extent::{Extent, Extents, Map};
use famfs_core::media::{MAX_EXTENTS, PATH_FIELD};
use famfs_core::path::{PathError, RelPath};
use famfs_core::units::ByteLen;
use uuid::Uuid;
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::table::Promise;

/// The size of a record.
pub(crate) const RECORD: usize = 512;

/// Flags of a part of a transaction.
const OVERWRITE: u32 = 1;
const FILLED: u32 = 2;

/// A reservation, or a free record if its count is 0.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawRecord {
    token: [u8; 16],
    size: U64,       // of the file, in bytes
    chunk_size: U64, // 0 where it is not interleaved
    pid: U32,        // of who made it, for messages
    count: U32,      // of extents
    extents: [[U64; 2]; MAX_EXTENTS],
    transaction: [u8; 16], // zeros where it is a part of none
    uid: U32,
    gid: U32,
    mode: U32,
    flags: U32,
    path_len: U32,
    path: [u8; PATH_FIELD],
    unused: [u8; 96],
    crc: U32, // of all bytes before: a record that was torn by a crash is free
}

const _: () = assert!(size_of::<RawRecord>() == RECORD);

/// What a reservation is for, where it is a part of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The transaction's token.
    pub(crate) transaction: Uuid,
    pub(crate) path: RelPath,
    pub(crate) owner: Owner,
    pub(crate) overwrite: bool,
    /// Whether it is filled, and left to whoever commits the transaction.
    pub(crate) filled: bool,
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) promise: Promise,
    pub(crate) part: Option<Part>,
    /// Who made it, for messages.
    pub(crate) pid: u32,
}

impl Record {
    pub(crate) fn encode(&self) -> [u8; RECORD] {
        let promise = &self.promise;
        let mut raw = RawRecord::new_zeroed();
        raw.token = *promise.token.as_bytes();
        raw.size = U64::new(promise.size.0);
        raw.pid = U32::new(self.pid);
        if let Map::Interleaved { chunk_size, .. } = &promise.map {
            raw.chunk_size = U64::new(chunk_size.0);
        }
        let extents = promise.map.extents();
        // One more than there are, so that a reservation without extents is no free record.
        raw.count = U32::new(u32::try_from(extents.len() + 1).unwrap_or(u32::MAX));
        for (raw, extent) in raw.extents.iter_mut().zip(extents.iter()) {
            *raw = [U64::new(extent.offset.0), U64::new(extent.len.0)];
        }
        if let Some(part) = &self.part {
            let path = part.path.as_bytes();
            raw.transaction = *part.transaction.as_bytes();
            raw.uid = U32::new(part.owner.uid);
            raw.gid = U32::new(part.owner.gid);
            raw.mode = U32::new(part.owner.mode);
            let flag = |set, flag| if set { flag } else { 0 };
            raw.flags = U32::new(flag(part.overwrite, OVERWRITE) | flag(part.filled, FILLED));
            raw.path_len = U32::new(u32::try_from(path.len()).unwrap_or(u32::MAX));
            raw.path[..path.len()].copy_from_slice(path);
        }
        raw.crc = U32::new(crc32fast::hash(&raw.as_bytes()[..RECORD - 4]));
        zerocopy::transmute!(raw)
    }

    pub(crate) fn decode(bytes: &[u8; RECORD]) -> Option<Self> {
        let raw: &RawRecord = zerocopy::transmute_ref!(bytes);
        if raw.crc.get() != crc32fast::hash(&bytes[..RECORD - 4]) {
            return None;
        }
        let count = usize::try_from(raw.count.get()).ok()?.checked_sub(1)?;
        let extents: Vec<_> = raw
            .extents
            .get(..count)?
            .iter()
            .map(|[offset, len]| Extent::primary(offset.get(), len.get()))
            .collect();
        let extents = Extents::new(&extents)?;
        let map = match raw.chunk_size.get() {
            0 => Map::Simple(extents),
            chunk_size => Map::Interleaved {
                chunk_size: ByteLen(chunk_size),
                strips: extents,
            },
        };
        Some(Self {
            promise: Promise {
                token: Uuid::from_bytes(raw.token),
                size: ByteLen(raw.size.get()),
                map,
            },
            part: raw.part().ok()?,
            pid: raw.pid.get(),
        })
    }
}

impl RawRecord {
    /// What it is a part of, if anything; an error where that can't be.
    fn part(&self) -> Result<Option<Part>, PathError> {
        let transaction = Uuid::from_bytes(self.transaction);
        if transaction.is_nil() {
            return Ok(None);
        }
        let len = usize::try_from(self.path_len.get()).unwrap_or(usize::MAX);
        let path = self.path.get(..len).ok_or(PathError::TooLong { len })?;
        let flags = self.flags.get();
        Ok(Some(Part {
            transaction,
            path: RelPath::new(path)?,
            owner: Owner {
                uid: self.uid.get(),
                gid: self.gid.get(),
                mode: self.mode.get(),
            },
            overwrite: flags & OVERWRITE != 0,
            filled: flags & FILLED != 0,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(part: Option<Part>) -> Record {
        let extents = [Extent::primary(4 << 20, 2 << 20)];
        Record {
            promise: Promise {
                token: Uuid::from_u128(7),
                size: ByteLen(5),
                map: Map::Simple(Extents::new(&extents).unwrap()),
            },
            part,
            pid: 3,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let part = Part {
            transaction: Uuid::from_u128(9),
            path: RelPath::new(&[b'x'; 79]).unwrap(),
            owner: Owner {
                uid: 1,
                gid: 2,
                mode: 0o640,
            },
            overwrite: true,
            filled: false,
        };
        let filled = Part {
            filled: true,
            overwrite: false,
            ..part
        };
        for part in [None, Some(part), Some(filled)] {
            let record = record(part);
            assert_eq!(Record::decode(&record.encode()), Some(record));
        }
    }

    #[test]
    fn what_is_torn_is_free() {
        let whole = record(None).encode();
        assert_eq!(Record::decode(&[0; RECORD]), None);
        for at in [0, 16, 40, 300, 511] {
            let mut torn = whole;
            torn[at] ^= 1;
            assert_eq!(Record::decode(&torn), None, "{at}");
        }
    }
}
