//! The superblock: which volume this is, its geometry, and whose it is.
//!
//! Owns what makes a superblock valid. What it claims of the device's size is checked against the
//! real device elsewhere ([`crate::replay`]).

use alloc::{borrow::ToOwned, vec::Vec};

use uuid::Uuid;
use zerocopy::{
    FromBytes, IntoBytes,
    byteorder::little_endian::{U32, U64},
};

use crate::media::{
    LOG_OFFSET, MIN_LOG_LEN, OMF_MAJOR, OMF_MINOR, OMF_MINOR_REFERENCE, RawSuperblock,
    SUPERBLOCK_LEN, SUPERBLOCK_MAGIC, SUPERBLOCK_VERSION, crc,
};
use crate::units::{ALLOC_UNIT, ByteLen};

/// Bytes of the superblock that its checksum covers.
const CHECKED: usize = 96;

/// Why a superblock is refused; nothing of such a volume can be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SuperblockError {
    /// There are fewer bytes than a superblock has.
    #[error("the volume ends inside the superblock: {len} bytes, {SUPERBLOCK_LEN} expected")]
    Truncated {
        /// Bytes there are.
        len: usize,
    },
    /// This is not a famfs volume.
    #[error("wrong superblock magic {found:#x}, {SUPERBLOCK_MAGIC:#x} expected")]
    Magic {
        /// What stands there.
        found: u64,
    },
    /// Another version of the superblock.
    #[error("superblock version {found}, {SUPERBLOCK_VERSION} expected")]
    Version {
        /// What stands there.
        found: u64,
    },
    /// The superblock's bytes do not match their checksum.
    #[error("superblock checksum {found:#x}, {computed:#x} computed")]
    Crc {
        /// What stands there.
        found: u64,
        /// What its bytes give.
        computed: u64,
    },
    /// The log is not where every log is.
    #[error("log offset {found:#x}, {LOG_OFFSET:#x} expected")]
    LogOffset {
        /// What stands there.
        found: u64,
    },
    /// The log's length is not a power of two of 8 MiB or more.
    #[error("log length {found}, a power of two from {MIN_LOG_LEN} on expected")]
    LogLen {
        /// What stands there.
        found: u64,
    },
    /// Another allocation unit than 2 MiB.
    #[error("allocation unit {found:#x}, {ALLOC_UNIT:#x} expected")]
    AllocUnit {
        /// What stands there.
        found: u64,
    },
    /// A format with another major version.
    #[error("format {major}.{minor}, {OMF_MAJOR}.x expected")]
    OmfMajor {
        /// Major version found.
        major: u32,
        /// Minor version found.
        minor: u32,
    },
}

impl SuperblockError {
    /// The finding's name in reports.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "superblock_truncated",
            Self::Magic { .. } => "superblock_magic",
            Self::Version { .. } => "superblock_version",
            Self::Crc { .. } => "superblock_crc",
            Self::LogOffset { .. } => "superblock_log_offset",
            Self::LogLen { .. } => "superblock_log_len",
            Self::AllocUnit { .. } => "superblock_alloc_unit",
            Self::OmfMajor { .. } => "superblock_omf",
        }
    }
}

/// What this host may do with a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The host that made the volume, which alone appends to its log.
    Master,
    /// Any other host: it reads.
    Client,
}

/// A valid superblock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    uuid: Uuid,
    device_uuid: Uuid,
    system_uuid: Uuid,
    log_len: u64,
    omf_minor: u32,
    flags: u32,
    device_size: u64,
    device_name: Vec<u8>,
}

/// What mkfs decides about a new volume.
#[derive(Clone, Debug)]
pub struct NewSuperblock<'a> {
    /// The file system's identity.
    pub uuid: Uuid,
    /// The primary device's identity.
    pub device_uuid: Uuid,
    /// The host that will write the log.
    pub system_uuid: Uuid,
    /// Length of the log in bytes.
    pub log_len: u64,
    /// 2 for the reference's format, 3 for ours.
    pub omf_minor: u32,
    /// Size of the device in bytes.
    pub device_size: ByteLen,
    /// The device's path, for people; cut to 64 bytes.
    pub device_name: &'a [u8],
}

impl Superblock {
    /// The superblock of a new volume.
    ///
    /// # Errors
    /// [`SuperblockError::LogLen`] or [`SuperblockError::OmfMajor`] where the volume asked for
    /// would be refused.
    pub fn new(new: &NewSuperblock<'_>) -> Result<Self, SuperblockError> {
        check_log_len(new.log_len)?;
        if !(OMF_MINOR_REFERENCE..=OMF_MINOR).contains(&new.omf_minor) {
            return Err(SuperblockError::OmfMajor {
                major: OMF_MAJOR,
                minor: new.omf_minor,
            });
        }
        let name = &new.device_name[..new.device_name.len().min(64)];
        Ok(Self {
            uuid: new.uuid,
            device_uuid: new.device_uuid,
            system_uuid: new.system_uuid,
            log_len: new.log_len,
            omf_minor: new.omf_minor,
            flags: 0,
            device_size: new.device_size.0,
            device_name: name.to_owned(),
        })
    }

    /// Reads the superblock from the first bytes of a device.
    ///
    /// # Errors
    /// The first check that fails, in the order of [`SuperblockError`]'s variants.
    pub fn decode(bytes: &[u8]) -> Result<Self, SuperblockError> {
        let (raw, _) = RawSuperblock::ref_from_prefix(bytes)
            .map_err(|_| SuperblockError::Truncated { len: bytes.len() })?;
        let found = raw.magic.get();
        if found != SUPERBLOCK_MAGIC {
            return Err(SuperblockError::Magic { found });
        }
        let found = raw.version.get();
        if found != SUPERBLOCK_VERSION {
            return Err(SuperblockError::Version { found });
        }
        let (found, computed) = (raw.crc.get(), crc(&bytes[..CHECKED]));
        if found != computed {
            return Err(SuperblockError::Crc { found, computed });
        }
        let found = raw.log_offset.get();
        if found != LOG_OFFSET {
            return Err(SuperblockError::LogOffset { found });
        }
        check_log_len(raw.log_len.get())?;
        let found = raw.alloc_unit.get();
        if found != ALLOC_UNIT {
            return Err(SuperblockError::AllocUnit { found });
        }
        let (major, minor) = (raw.omf_major.get(), raw.omf_minor.get());
        if major != OMF_MAJOR {
            return Err(SuperblockError::OmfMajor { major, minor });
        }
        let name = raw
            .device_name
            .split(|&b| b == 0)
            .next()
            .unwrap_or_default();
        Ok(Self {
            uuid: Uuid::from_bytes(raw.uuid),
            device_uuid: Uuid::from_bytes(raw.device_uuid),
            system_uuid: Uuid::from_bytes(raw.system_uuid),
            log_len: raw.log_len.get(),
            omf_minor: minor,
            flags: raw.flags.get(),
            device_size: raw.device_size.get(),
            device_name: name.to_owned(),
        })
    }

    /// The bytes of this superblock, padding zero.
    #[must_use]
    pub fn encode(&self) -> [u8; SUPERBLOCK_LEN] {
        let mut device_name = [0; 64];
        device_name[..self.device_name.len()].copy_from_slice(&self.device_name);
        let mut raw = RawSuperblock {
            magic: U64::new(SUPERBLOCK_MAGIC),
            version: U64::new(SUPERBLOCK_VERSION),
            log_offset: U64::new(LOG_OFFSET),
            log_len: U64::new(self.log_len),
            alloc_unit: U64::new(ALLOC_UNIT),
            omf_major: U32::new(OMF_MAJOR),
            omf_minor: U32::new(self.omf_minor),
            uuid: *self.uuid.as_bytes(),
            device_uuid: *self.device_uuid.as_bytes(),
            system_uuid: *self.system_uuid.as_bytes(),
            crc: U64::new(0),
            flags: U32::new(self.flags),
            pad: [0; 4],
            device_size: U64::new(self.device_size),
            device_uuid_copy: *self.device_uuid.as_bytes(),
            device_name,
        };
        raw.crc = U64::new(crc(&raw.as_bytes()[..CHECKED]));
        zerocopy::transmute!(raw)
    }

    /// The file system's identity.
    #[must_use]
    pub const fn uuid(&self) -> Uuid {
        self.uuid
    }

    /// The primary device's identity.
    #[must_use]
    pub const fn device_uuid(&self) -> Uuid {
        self.device_uuid
    }

    /// The host that made the volume and alone appends to its log.
    #[must_use]
    pub const fn system_uuid(&self) -> Uuid {
        self.system_uuid
    }

    /// Length of the log in bytes, header included.
    #[must_use]
    pub const fn log_len(&self) -> ByteLen {
        ByteLen(self.log_len)
    }

    /// The format's major and minor version.
    #[must_use]
    pub const fn omf(&self) -> (u32, u32) {
        (OMF_MAJOR, self.omf_minor)
    }

    /// Whether the format has REPLACE and DELETE.
    #[must_use]
    pub const fn replaces(&self) -> bool {
        self.omf_minor >= OMF_MINOR
    }

    /// Whether this code knows all that the format may hold, and so may append to it.
    #[must_use]
    pub const fn minor_is_known(&self) -> bool {
        self.omf_minor <= OMF_MINOR
    }

    /// What mkfs found as the device's size: a claim.
    #[must_use]
    pub const fn device_size(&self) -> ByteLen {
        ByteLen(self.device_size)
    }

    /// The device's path as given to mkfs, up to its NUL.
    #[must_use]
    pub fn device_name(&self) -> &[u8] {
        &self.device_name
    }

    /// Where file data begins, in bytes.
    #[must_use]
    pub const fn data_offset(&self) -> u64 {
        // No overflow: a log longer than any device is refused before it is asked for this.
        LOG_OFFSET.saturating_add(self.log_len)
    }

    /// What the host with `system_uuid` may do.
    #[must_use]
    pub fn role(&self, system_uuid: Uuid) -> Role {
        if self.system_uuid == system_uuid {
            Role::Master
        } else {
            Role::Client
        }
    }
}

fn check_log_len(found: u64) -> Result<(), SuperblockError> {
    if found < MIN_LOG_LEN || !found.is_power_of_two() {
        return Err(SuperblockError::LogLen { found });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid() -> Superblock {
        Superblock::new(&NewSuperblock {
            uuid: Uuid::from_u128(1),
            device_uuid: Uuid::from_u128(2),
            system_uuid: Uuid::from_u128(3),
            log_len: MIN_LOG_LEN,
            omf_minor: OMF_MINOR,
            device_size: ByteLen(1 << 32),
            device_name: b"/dev/dax0.0",
        })
        .unwrap()
    }

    /// The valid superblock with `bytes` at `at` and its checksum made right again.
    fn patched(at: usize, bytes: &[u8]) -> [u8; SUPERBLOCK_LEN] {
        let mut image = valid().encode();
        image[at..at + bytes.len()].copy_from_slice(bytes);
        let sum = crc(&image[..CHECKED]);
        image[96..104].copy_from_slice(&sum.to_le_bytes());
        image
    }

    #[test]
    fn decodes_what_it_encodes() {
        assert_eq!(Superblock::decode(&valid().encode()).unwrap(), valid());
    }

    #[test]
    fn each_field_is_checked() {
        use SuperblockError as E;
        let cases: &[(usize, &[u8], E)] = &[
            (0, &[1], E::Magic { found: 0x87b2_8201 }),
            (8, &[47], E::Version { found: 47 }),
            (16, &[1], E::LogOffset { found: 0x20_0001 }),
            (
                24,
                &[1],
                E::LogLen {
                    found: MIN_LOG_LEN + 1,
                },
            ),
            (
                24,
                &(4u64 << 20).to_le_bytes(),
                E::LogLen { found: 4 << 20 },
            ),
            (32, &0x1000u64.to_le_bytes(), E::AllocUnit { found: 0x1000 }),
            (
                40,
                &[3],
                E::OmfMajor {
                    major: 3,
                    minor: OMF_MINOR,
                },
            ),
        ];
        for (at, bytes, want) in cases {
            assert_eq!(Superblock::decode(&patched(*at, bytes)).unwrap_err(), *want);
        }
        // All 64 bits of the checksum count.
        let mut image = valid().encode();
        image[103] = 1;
        assert!(matches!(
            Superblock::decode(&image).unwrap_err(),
            E::Crc { .. }
        ));
        assert_eq!(
            Superblock::decode(&image[..199]).unwrap_err(),
            E::Truncated { len: 199 }
        );
    }

    #[test]
    fn a_newer_minor_is_known_as_such() {
        let newer = Superblock::decode(&patched(44, &[9])).unwrap();
        assert_eq!(newer.omf(), (2, 9));
        assert!(!newer.minor_is_known() && newer.replaces());
        assert!(valid().minor_is_known());
    }

    #[test]
    fn a_device_name_may_lack_its_nul() {
        let superblock = Superblock::decode(&patched(136, &[b'x'; 64])).unwrap();
        assert_eq!(superblock.device_name(), [b'x'; 64]);
        assert_eq!(
            Superblock::decode(&superblock.encode()).unwrap(),
            superblock
        );
    }
}
