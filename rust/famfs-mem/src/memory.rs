//! The seam: what the rest of famfs may do with shared memory, and how that fails.
//!
//! Owns [`RegionOff`], [`Memory`] and [`Fault`]. It must not decide when lines are flushed, fenced
//! or invalidated: it only offers the calls, and whoever speaks the protocol orders them.

use std::{fmt, io, sync::Arc};

use thiserror::Error;

/// Offset in a region (device or backing file), in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RegionOff(pub u64);

impl fmt::Display for RegionOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Why an access to shared memory did not happen, or not wholly.
///
/// After an error the bytes that were to be written, in memory or in the caller's buffer, are
/// undefined: any part of them may have been written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// The range does not lie in the region.
    #[error("range of {len} bytes at {at} is outside of a region of {size} bytes")]
    OutOfRange {
        /// Where the range begins.
        at: RegionOff,
        /// How long it is.
        len: u64,
        /// The length of the region.
        size: u64,
    },
    /// The memory could not be reached: poisoned, or its backing file was truncated.
    #[error("memory error at {at}: {len} bytes are lost there (poison, or a truncated file)")]
    Bus {
        /// The first address that could not be reached.
        at: RegionOff,
        /// The size of the unit that is lost: a page of the file or device, or what the kernel
        /// reports for poison.
        len: u64,
    },
    /// The memory that could not be reached belongs to the caller's own buffer, not to the region.
    #[error("memory error in the caller's buffer, which is a mapping that lost its backing")]
    SourceBus,
    /// No file that shows this part of the device is attached.
    #[error("{len} bytes at {at} belong to no file that is open here")]
    Detached {
        /// Where the range begins.
        at: RegionOff,
        /// How long it is.
        len: u64,
    },
    /// The kernel has no room for a mapping to write through.
    #[error("region cannot be mapped to be written: {why}")]
    Unmapped {
        /// What the kernel says.
        why: io::ErrorKind,
    },
    /// The region was mapped without permission to write.
    #[error("region is mapped read-only")]
    ReadOnly,
    /// A pair must lie in an aligned 16 bytes.
    #[error("pair at {at} is not aligned to 16 bytes")]
    Misaligned {
        /// Where the pair would begin.
        at: RegionOff,
    },
    /// The simulated host has crashed.
    #[cfg(feature = "sim")]
    #[error("simulated host has crashed")]
    Crashed,
}

/// Memory that other processes, and other hosts, may read and write at the same time.
///
/// Nothing here hands out references: bytes are copied out and in. Every access is checked against
/// [`len`](Memory::len), and an empty range inside of it is fine. Offsets are in bytes from the
/// start of the region.
///
/// A naturally aligned 8-byte word is loaded and stored whole in ranges shorter than
/// [`WHOLE_WORDS`]; longer ones are for data that nobody reads before it was published.
#[expect(
    clippy::len_without_is_empty,
    reason = "a region is never empty: it is refused at open"
)]
pub trait Memory: Send + Sync {
    /// The length in bytes.
    fn len(&self) -> u64;

    /// Copies bytes out.
    ///
    /// # Errors
    /// [`Fault`], with `into` partly overwritten.
    fn load(&self, at: RegionOff, into: &mut [u8]) -> Result<(), Fault>;

    /// Reads two little-endian words of an aligned 16 bytes, in one access where the processor
    /// makes that atomic.
    ///
    /// # Errors
    /// [`Fault`]; [`Fault::Misaligned`] where `at` is not a multiple of 16.
    fn load_pair(&self, at: RegionOff) -> Result<[u64; 2], Fault>;

    /// Writes with ordinary stores: they stay in this host's cache until written back.
    ///
    /// # Errors
    /// [`Fault`], with the range partly written.
    fn store(&self, at: RegionOff, bytes: &[u8]) -> Result<(), Fault>;

    /// Writes two words as little-endian into an aligned 16 bytes, in one store where the processor
    /// makes that atomic.
    ///
    /// # Errors
    /// [`Fault`]; [`Fault::Misaligned`] where `at` is not a multiple of 16.
    fn store_pair(&self, at: RegionOff, pair: [u64; 2]) -> Result<(), Fault>;

    /// Writes past the cache with up to `threads` threads, each of which fences its own stores.
    ///
    /// Lines at the edges that are written in part go through the cache and are written back.
    ///
    /// # Errors
    /// [`Fault`], with the range partly written.
    fn stream(&self, at: RegionOff, bytes: &[u8], threads: usize) -> Result<(), Fault>;

    /// Writes past the cache with this thread, and shows the bytes on the way: part by part, in
    /// order, each right before it is written, when it is about to be in the cache.
    ///
    /// # Errors
    /// [`Fault`], with the range partly written.
    fn stream_seen(
        &self,
        at: RegionOff,
        bytes: &[u8],
        seen: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Fault> {
        seen(bytes);
        self.stream(at, bytes, 1)
    }

    /// Writes zeros as [`stream`](Memory::stream) writes bytes.
    ///
    /// # Errors
    /// [`Fault`], with the range partly written.
    fn zero(&self, at: RegionOff, len: u64, threads: usize) -> Result<(), Fault>;

    /// Writes the range's lines back to memory and returns how many they are.
    ///
    /// They have arrived only after [`fence_stores`](Memory::fence_stores).
    ///
    /// # Errors
    /// [`Fault`], with part of the lines written back.
    fn write_back(&self, at: RegionOff, len: u64) -> Result<u64, Fault>;

    /// Drops the range's lines from this host's caches and returns how many they are.
    ///
    /// A dirty line is written back first, whole: a stale one overwrites what a neighbour wrote, so
    /// no host may dirty a line that another writes. Loads are fresh only after
    /// [`fence_invalidate`](Memory::fence_invalidate).
    ///
    /// # Errors
    /// [`Fault`], with part of the lines dropped.
    fn invalidate(&self, at: RegionOff, len: u64) -> Result<u64, Fault>;

    /// Orders earlier stores and write-backs before later stores.
    fn fence_stores(&self);

    /// Orders earlier invalidations before later loads.
    fn fence_invalidate(&self);

    /// Whether a pair is both read and written in one access that cannot be torn.
    fn pair_is_atomic(&self) -> bool;
}

/// Ranges shorter than this are loaded and stored in whole 8-byte words where those are aligned.
pub const WHOLE_WORDS: usize = 4096;

impl<M: Memory + ?Sized> Memory for Arc<M> {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn load(&self, at: RegionOff, into: &mut [u8]) -> Result<(), Fault> {
        (**self).load(at, into)
    }

    fn load_pair(&self, at: RegionOff) -> Result<[u64; 2], Fault> {
        (**self).load_pair(at)
    }

    fn store(&self, at: RegionOff, bytes: &[u8]) -> Result<(), Fault> {
        (**self).store(at, bytes)
    }

    fn store_pair(&self, at: RegionOff, pair: [u64; 2]) -> Result<(), Fault> {
        (**self).store_pair(at, pair)
    }

    fn stream(&self, at: RegionOff, bytes: &[u8], threads: usize) -> Result<(), Fault> {
        (**self).stream(at, bytes, threads)
    }

    fn stream_seen(
        &self,
        at: RegionOff,
        bytes: &[u8],
        seen: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Fault> {
        (**self).stream_seen(at, bytes, seen)
    }

    fn zero(&self, at: RegionOff, len: u64, threads: usize) -> Result<(), Fault> {
        (**self).zero(at, len, threads)
    }

    fn write_back(&self, at: RegionOff, len: u64) -> Result<u64, Fault> {
        (**self).write_back(at, len)
    }

    fn invalidate(&self, at: RegionOff, len: u64) -> Result<u64, Fault> {
        (**self).invalidate(at, len)
    }

    fn fence_stores(&self) {
        (**self).fence_stores();
    }

    fn fence_invalidate(&self) {
        (**self).fence_invalidate();
    }

    fn pair_is_atomic(&self) -> bool {
        (**self).pair_is_atomic()
    }
}

/// Checks that `len` bytes at `at` lie in a region of `size` bytes.
pub(crate) fn check(at: RegionOff, len: u64, size: u64) -> Result<(), Fault> {
    match at.0.checked_add(len) {
        Some(end) if end <= size => Ok(()),
        _ => Err(Fault::OutOfRange { at, len, size }),
    }
}

/// Checks a pair's place: in the region, and aligned.
pub(crate) fn check_pair(at: RegionOff, size: u64) -> Result<(), Fault> {
    if !at.0.is_multiple_of(16) {
        return Err(Fault::Misaligned { at });
    }
    check(at, 16, size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_checked_without_overflow() {
        assert_eq!(check(RegionOff(0), 0, 0), Ok(()));
        assert_eq!(check(RegionOff(10), 0, 10), Ok(()));
        assert_eq!(check(RegionOff(4), 6, 10), Ok(()));
        for (at, len) in [(5, 6), (11, 0), (u64::MAX, 1), (1, u64::MAX)] {
            let at = RegionOff(at);
            assert_eq!(
                check(at, len, 10),
                Err(Fault::OutOfRange { at, len, size: 10 })
            );
        }
    }

    #[test]
    fn pairs_are_aligned_and_inside() {
        assert_eq!(check_pair(RegionOff(16), 32), Ok(()));
        assert_eq!(
            check_pair(RegionOff(8), 32),
            Err(Fault::Misaligned { at: RegionOff(8) })
        );
        assert!(matches!(
            check_pair(RegionOff(32), 40),
            Err(Fault::OutOfRange { .. })
        ));
    }
}
