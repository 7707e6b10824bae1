//! The log header: how long the log is, and the two counters that commit entries.
//!
//! Owns what makes a header valid and what its counters say. The counters are in no checksum: they
//! are the one thing that changes, and they are written as one 16-byte pair.

use zerocopy::{FromBytes, IntoBytes, byteorder::little_endian::U64};

use crate::finding::FindingKind;
use crate::media::{LOG_HEADER_LEN, LOG_MAGIC, RawLogHeader, crc, last_index};
use crate::units::{ByteLen, Slot};

/// Bytes of the header that its checksum covers.
const CHECKED: usize = 24;

/// Why a log header is refused; nothing in such a log can be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// There are fewer bytes than the log has.
    #[error("the volume ends inside the log: {len} bytes, {expected} expected")]
    Truncated {
        /// Bytes there are.
        len: u64,
        /// Bytes there should be.
        expected: u64,
    },
    /// This is not a log.
    #[error("wrong log magic {found:#x}, {LOG_MAGIC:#x} expected")]
    Magic {
        /// What stands there.
        found: u64,
    },
    /// The header's bytes do not match their checksum.
    #[error("log header checksum {found:#x}, {computed:#x} computed")]
    Crc {
        /// What stands there.
        found: u64,
        /// What its bytes give.
        computed: u64,
    },
    /// Superblock and log disagree on the log's length.
    #[error("log length {found} in the log's header, {expected} in the superblock")]
    LogLen {
        /// What stands in the header.
        found: u64,
        /// What the superblock says.
        expected: u64,
    },
    /// The last slot does not follow from the log's length.
    #[error("last slot {found}, {expected} follows from the log's length")]
    LastIndex {
        /// What stands there.
        found: u64,
        /// What the length gives.
        expected: u64,
    },
}

impl HeaderError {
    /// The finding's name in reports.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "log_truncated",
            Self::Magic { .. } => "log_magic",
            Self::Crc { .. } => "log_crc",
            Self::LogLen { .. } => "log_len",
            Self::LastIndex { .. } => "log_last_index",
        }
    }
}

/// The two counters of a log; what they count is committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sequence number of the next entry.
    pub next_seqnum: u64,
    /// Slot of the next entry.
    pub next_index: u64,
}

impl Counters {
    /// The counters of a log in which all slots before `next` are used.
    #[must_use]
    pub const fn at(next: Slot) -> Self {
        Self {
            next_seqnum: next.0,
            next_index: next.0,
        }
    }

    /// The counters from the pair on the media.
    #[must_use]
    pub const fn from_pair(pair: [u64; 2]) -> Self {
        Self {
            next_seqnum: pair[0],
            next_index: pair[1],
        }
    }

    /// The pair as it stands on the media.
    #[must_use]
    pub const fn to_pair(self) -> [u64; 2] {
        [self.next_seqnum, self.next_index]
    }

    /// Whether both counters say the same, as every commit leaves them.
    #[must_use]
    pub const fn agree(self) -> bool {
        self.next_seqnum == self.next_index
    }
}

/// A valid log header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogHeader {
    log_len: u64,
    last_index: u64,
    counters: Counters,
}

impl LogHeader {
    /// The header of an empty log of `log_len` bytes; `None` where not one entry fits.
    #[must_use]
    pub const fn new(log_len: ByteLen) -> Option<Self> {
        match last_index(log_len.0) {
            Some(last_index) => Some(Self {
                log_len: log_len.0,
                last_index,
                counters: Counters {
                    next_seqnum: 0,
                    next_index: 0,
                },
            }),
            None => None,
        }
    }

    /// Reads the header from the first bytes of the log.
    ///
    /// # Errors
    /// The first check that fails, in the order of [`HeaderError`]'s variants.
    pub fn decode(bytes: &[u8], log_len: ByteLen) -> Result<Self, HeaderError> {
        let (raw, _) =
            RawLogHeader::ref_from_prefix(bytes).map_err(|_| HeaderError::Truncated {
                len: bytes.len() as u64,
                expected: log_len.0,
            })?;
        let found = raw.magic.get();
        if found != LOG_MAGIC {
            return Err(HeaderError::Magic { found });
        }
        let (found, computed) = (raw.crc.get(), crc(&bytes[..CHECKED]));
        if found != computed {
            return Err(HeaderError::Crc { found, computed });
        }
        let found = raw.log_len.get();
        if found != log_len.0 {
            return Err(HeaderError::LogLen {
                found,
                expected: log_len.0,
            });
        }
        let (found, expected) = (
            raw.last_index.get(),
            last_index(log_len.0).unwrap_or_default(),
        );
        if found != expected {
            return Err(HeaderError::LastIndex { found, expected });
        }
        let counters = Counters {
            next_seqnum: raw.next_seqnum.get(),
            next_index: raw.next_index.get(),
        };
        Ok(Self {
            log_len: log_len.0,
            last_index: found,
            counters,
        })
    }

    /// The bytes of this header.
    #[must_use]
    pub fn encode(&self) -> [u8; LOG_HEADER_LEN] {
        let mut raw = RawLogHeader {
            magic: U64::new(LOG_MAGIC),
            log_len: U64::new(self.log_len),
            last_index: U64::new(self.last_index),
            crc: U64::new(0),
            next_seqnum: U64::new(self.counters.next_seqnum),
            next_index: U64::new(self.counters.next_index),
        };
        raw.crc = U64::new(crc(&raw.as_bytes()[..CHECKED]));
        zerocopy::transmute!(raw)
    }

    /// The counters.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// The number of entries that the log has room for.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.last_index + 1
    }

    /// The number of slots that `counters` say are used, as far as the log goes.
    #[must_use]
    pub fn used(&self, counters: Counters) -> u64 {
        counters.next_index.min(self.capacity())
    }

    /// What is wrong with `counters`, if anything.
    pub fn findings(&self, counters: Counters) -> impl Iterator<Item = FindingKind> + use<> {
        let Counters {
            next_seqnum,
            next_index,
        } = counters;
        let capacity = self.capacity();
        let past_end = (next_index > capacity).then_some(FindingKind::NextIndexPastEnd {
            next_index,
            capacity,
        });
        let diverge = (!counters.agree()).then_some(FindingKind::CountersDiverge {
            next_seqnum,
            next_index,
        });
        past_end.into_iter().chain(diverge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::MIN_LOG_LEN;

    const LEN: ByteLen = ByteLen(MIN_LOG_LEN);

    #[test]
    fn capacities_are_those_of_the_format() {
        assert_eq!(LogHeader::new(LEN).unwrap().capacity(), 15_420);
        assert_eq!(
            LogHeader::new(ByteLen(256 << 20)).unwrap().capacity(),
            493_447
        );
        assert_eq!(LogHeader::new(ByteLen(100)), None);
    }

    #[test]
    fn each_field_is_checked() {
        let header = LogHeader::new(LEN).unwrap();
        let image = header.encode();
        assert_eq!(LogHeader::decode(&image, LEN).unwrap(), header);

        let patched = |at: usize, value: u64| {
            let mut image = image;
            image[at..at + 8].copy_from_slice(&value.to_le_bytes());
            let sum = crc(&image[..CHECKED]);
            image[24..32].copy_from_slice(&sum.to_le_bytes());
            LogHeader::decode(&image, LEN).unwrap_err()
        };
        assert_eq!(patched(0, 7), HeaderError::Magic { found: 7 });
        assert_eq!(
            patched(8, 7),
            HeaderError::LogLen {
                found: 7,
                expected: LEN.0
            }
        );
        assert_eq!(
            patched(16, 7),
            HeaderError::LastIndex {
                found: 7,
                expected: 15_419
            }
        );
        let mut bad = image;
        bad[24] ^= 1;
        assert!(matches!(
            LogHeader::decode(&bad, LEN).unwrap_err(),
            HeaderError::Crc { .. }
        ));
        assert!(matches!(
            LogHeader::decode(&image[..47], LEN).unwrap_err(),
            HeaderError::Truncated { len: 47, .. }
        ));
    }

    #[test]
    fn used_slots_are_bounded_by_the_log() {
        let header = LogHeader::new(LEN).unwrap();
        assert_eq!(
            header.used(Counters {
                next_seqnum: 7,
                next_index: 15_421
            }),
            15_420
        );
        assert_eq!(
            header.used(Counters {
                next_seqnum: 10,
                next_index: 9
            }),
            9
        );
    }
}
