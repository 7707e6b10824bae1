//! Every access to a mapping, and what happens when the memory behind it is gone.
//!
//! All accesses go through a handful of routines in assembly that lie side by side. The handler for
//! SIGBUS looks at the interrupted instruction: if it is in one of them, the routine returns early
//! and says where it was stopped; if not, the signal belongs to somebody else and goes there. No
//! page is ever replaced, so no other thread can be served zeros as data, and no thread-local state
//! is needed: where the processor was is the whole evidence.
//!
//! This module must not know what a region is: it deals in addresses. What it can not help with:
//! a thread that blocks SIGBUS is killed by the kernel when it touches lost memory, and references
//! handed out to others (a view's slice) are not accesses of ours.
#![expect(unsafe_code, reason = "routines that survive a fault take addresses")]

#[cfg(target_arch = "aarch64")]
pub(crate) mod aarch64;
mod signal;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86_64;

use std::sync::OnceLock;

#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64 as arch;
pub(crate) use signal::arm;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64 as arch;

use crate::memory::WHOLE_WORDS;

/// The routine that a signal interrupted: where it continues when it is stopped.
#[derive(Debug)]
struct Routine {
    stopped: u64,
}

/// What a routine returns, in two registers. A `code` of 0 is success.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// 0, or [`Outcome::STOPPED`] with the binary logarithm of what is lost above it.
    code: u64,
    /// The address that could not be reached.
    address: u64,
}

impl Outcome {
    const STOPPED: u64 = 1;
    const LOST_SHIFT: u32 = 8;

    fn stopped(address: u64, lost_log2: u64) -> Self {
        Self {
            code: Self::STOPPED | (lost_log2 << Self::LOST_SHIFT),
            address,
        }
    }

    /// The result of a call.
    pub(crate) fn result(self) -> Result<(), Stopped> {
        if self.code == 0 {
            return Ok(());
        }
        let lost = match self.code >> Self::LOST_SHIFT {
            0 => None,
            log2 => Some(1 << log2.min(62)),
        };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the crate refuses 32-bit hosts"
        )]
        let address = self.address as usize;
        Err(Stopped { address, lost })
    }
}

/// An access reached memory that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopped {
    /// The address that could not be reached.
    pub(crate) address: usize,
    /// The size of the unit that is lost with it, where the kernel knows.
    pub(crate) lost: Option<u64>,
}

/// The size of a page on this host.
pub(crate) fn page_size() -> u64 {
    rustix::param::page_size() as u64
}

/// Copies bytes, one side of which may vanish. `shared` is the side whose words must not be split.
///
/// # Safety
/// `from` is readable and `to` writable for `len` bytes, as far as their mappings go: memory behind
/// them may be lost, but they stay mapped. The ranges do not overlap. No reference to either side
/// exists that this write, or writes by others to `from`, would invalidate.
unsafe fn copy(to: *mut u8, from: *const u8, len: usize, shared: *const u8) -> Result<(), Stopped> {
    if len >= WHOLE_WORDS {
        // SAFETY: the caller's promise; the routine touches exactly these bytes.
        return unsafe { arch::famfs_mem_copy(to, from, len) }.result();
    }
    let before = (shared.addr().wrapping_neg() % 8).min(len);
    let words = (len - before) / 8;
    let after = len - before - words * 8;
    // SAFETY: the caller's promise; before + 8 * words + after is len.
    unsafe { arch::famfs_mem_copy_words(to, from, before, words, after) }.result()
}

/// Copies out of shared memory.
///
/// # Safety
/// `from` is mapped and readable for `into.len()` bytes, which do not overlap `into`.
pub(crate) unsafe fn load(from: *const u8, into: &mut [u8]) -> Result<(), Stopped> {
    // SAFETY: `into` is ours alone, `from` is promised by the caller.
    unsafe { copy(into.as_mut_ptr(), from, into.len(), from) }
}

/// Copies into shared memory with ordinary stores.
///
/// # Safety
/// `to` is mapped and writable for `bytes.len()` bytes, which do not overlap `bytes`, and to which
/// no reference exists.
pub(crate) unsafe fn store(to: *mut u8, bytes: &[u8]) -> Result<(), Stopped> {
    // SAFETY: `bytes` can be read, `to` is promised by the caller.
    unsafe { copy(to, bytes.as_ptr(), bytes.len(), to) }
}

/// Reads an aligned pair in memory order.
///
/// # Safety
/// `from` is aligned to 16, mapped and readable for 16 bytes.
pub(crate) unsafe fn load_pair(from: *const u8) -> Result<[u64; 2], Stopped> {
    let mut pair = [0; 2];
    // SAFETY: the caller promises `from`; `pair` is a local of 16 bytes.
    unsafe { arch::famfs_mem_load_pair(from, &raw mut pair) }.result()?;
    Ok(pair.map(u64::from_le))
}

/// Writes an aligned pair in memory order.
///
/// # Safety
/// `to` is aligned to 16, mapped and writable for 16 bytes, to which no reference exists.
pub(crate) unsafe fn store_pair(to: *mut u8, pair: [u64; 2]) -> Result<(), Stopped> {
    let [first, second] = pair.map(u64::to_le);
    // SAFETY: the caller promises `to`.
    unsafe { arch::famfs_mem_store_pair(to, first, second) }.result()
}

/// The block that streaming routines work in: their destination is aligned to it.
pub(crate) const BLOCK: usize = 64;

/// The streaming routines of this processor.
pub(crate) fn streams() -> arch::Streams {
    static CHOSEN: OnceLock<arch::Streams> = OnceLock::new();
    *CHOSEN.get_or_init(arch::Streams::detect)
}

/// Writes whole blocks past the cache, while what lies `ahead` bytes further on in the source is
/// fetched into it. The caller fences.
///
/// # Safety
/// `to` is aligned to [`BLOCK`], mapped and writable for `blocks` of them, `from` readable for as
/// much; they do not overlap, and no reference to the destination exists. What lies ahead need not
/// be there: fetching it is a hint, which never faults.
pub(crate) unsafe fn stream_blocks(
    streams: arch::Streams,
    to: *mut u8,
    from: *const u8,
    blocks: usize,
    ahead: usize,
) -> Result<(), Stopped> {
    if blocks == 0 {
        return Ok(());
    }
    // SAFETY: the caller's promise; blocks is not 0, as the routines need.
    unsafe { (streams.bytes)(to, from, blocks, ahead) }.result()
}

/// Writes whole blocks of zeros past the cache. The caller fences.
///
/// # Safety
/// As for [`stream_blocks`], without a source.
pub(crate) unsafe fn zero_blocks(
    streams: arch::Streams,
    to: *mut u8,
    blocks: usize,
) -> Result<(), Stopped> {
    if blocks == 0 {
        return Ok(());
    }
    // SAFETY: the caller's promise; blocks is not 0, as the routines need.
    unsafe { (streams.zeros)(to, blocks) }.result()
}

/// Whether an aligned pair is loaded and stored in one access.
pub(crate) fn pair_is_atomic() -> bool {
    static ATOMIC: OnceLock<bool> = OnceLock::new();
    *ATOMIC.get_or_init(arch::pair_is_atomic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_every_alignment_and_length_are_exact() {
        let from: Vec<u8> = (0..=255).cycle().take(9000).collect();
        let lengths = (0..70).chain([255, 1000, WHOLE_WORDS - 1, WHOLE_WORDS, 8000]);
        for len in lengths {
            for offset in 0..9 {
                let mut to = vec![0xEE; len + 32];
                // SAFETY: both buffers are ours and long enough.
                unsafe { load(from.as_ptr().add(offset), &mut to[offset..offset + len]) }.unwrap();
                assert_eq!(to[offset..offset + len], from[offset..offset + len]);
                assert!(
                    to[..offset]
                        .iter()
                        .chain(&to[offset + len..])
                        .all(|b| *b == 0xEE)
                );

                let mut to = vec![0xEE; len + 32];
                // SAFETY: both buffers are ours and long enough.
                unsafe { store(to.as_mut_ptr().add(offset), &from[3..3 + len]) }.unwrap();
                assert_eq!(to[offset..offset + len], from[3..3 + len]);
                assert!(
                    to[..offset]
                        .iter()
                        .chain(&to[offset + len..])
                        .all(|b| *b == 0xEE)
                );
            }
        }
    }

    #[repr(align(64))]
    struct Aligned([u8; 1024]);

    #[test]
    fn every_streaming_routine_writes_its_blocks_and_no_more() {
        let from: Vec<u8> = (0..=255).cycle().take(1025).collect();
        for streams in arch::Streams::all() {
            for blocks in [0, 1, 2, 3, 7, 14] {
                let mut to = Aligned([0xEE; 1024]);
                // SAFETY: `to` is aligned and holds 16 blocks, `from` as many at offset 1.
                unsafe {
                    let at = to.0.as_mut_ptr().add(BLOCK);
                    stream_blocks(streams, at, from.as_ptr().add(1), blocks, 100).unwrap();
                }
                arch::fence_stores();
                let end = (1 + blocks) * BLOCK;
                assert_eq!(
                    to.0[BLOCK..end],
                    from[1..=blocks * BLOCK],
                    "{}",
                    streams.name
                );
                assert!(to.0[..BLOCK].iter().chain(&to.0[end..]).all(|b| *b == 0xEE));

                // SAFETY: as above.
                unsafe { zero_blocks(streams, to.0.as_mut_ptr().add(BLOCK), blocks) }.unwrap();
                arch::fence_stores();
                assert!(to.0[BLOCK..end].iter().all(|b| *b == 0), "{}", streams.name);
                assert!(to.0[..BLOCK].iter().chain(&to.0[end..]).all(|b| *b == 0xEE));
            }
        }
    }

    #[test]
    fn pairs_are_little_endian() {
        let mut at = Aligned([0; 1024]);
        // SAFETY: the buffer is aligned and long enough.
        unsafe { store_pair(at.0.as_mut_ptr().add(16), [1, 0x0203]) }.unwrap();
        let mut expected = [0; 48];
        (expected[16], expected[24], expected[25]) = (1, 3, 2);
        assert_eq!(at.0[..48], expected);
        // SAFETY: as above.
        assert_eq!(unsafe { load_pair(at.0.as_ptr().add(16)) }, Ok([1, 0x0203]));
    }
}
