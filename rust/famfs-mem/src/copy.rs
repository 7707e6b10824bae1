//! The streaming copy: how a range is cut into pieces for blocks, edges and threads.
//!
//! Owns the order within one call: edges through the cache and written back, blocks past it, a
//! fence in every thread that stored. It must not look at bounds: its callers did.
#![expect(unsafe_code, reason = "bytes go to memory that others may read")]

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{
    address::HUGE,
    cache,
    guard::{self, BLOCK, Stopped, arch},
    threads::helped,
};

/// How much is shown at a time of what is written: it fits a first-level cache with room to spare.
const SEEN: usize = 8 << 10;

/// How far ahead of the stores the source is fetched: a few hundred nanoseconds' worth.
const AHEAD: usize = 1 << 10;

/// What is written.
#[derive(Clone, Copy)]
pub(crate) enum Fill<'a> {
    Bytes(&'a [u8]),
    Zeros(usize),
}

impl Fill<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Zeros(len) => *len,
        }
    }

    fn part(&self, from: usize, len: usize) -> Self {
        match self {
            Self::Bytes(bytes) => Self::Bytes(&bytes[from..from + len]),
            Self::Zeros(_) => Self::Zeros(len),
        }
    }
}

/// Where a copy goes, for threads to share.
#[derive(Clone, Copy)]
struct Target(*mut u8);
// SAFETY: the threads of one copy write disjoint chunks of what the caller promised is writable.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

impl Target {
    fn at(self, offset: usize) -> *mut u8 {
        self.0.wrapping_add(offset)
    }
}

/// Writes past the cache with up to `threads` threads. All of it has left this processor's write
/// buffers when it returns.
///
/// # Safety
/// `to` is mapped and writable for the length of `what`, which it does not overlap, and no
/// reference to it exists. Memory behind it may be lost, the mapping may not.
pub(crate) unsafe fn stream(to: *mut u8, what: Fill<'_>, threads: usize) -> Result<(), Stopped> {
    let cuts = Cuts {
        at: to.addr(),
        len: what.len(),
    };
    let threads = threads.min(cuts.count());
    if threads <= 1 {
        // SAFETY: the caller's promise.
        return unsafe { piece(to, what) };
    }
    let next = AtomicUsize::new(0);
    let to = Target(to);
    let work = || -> Result<(), Stopped> {
        loop {
            let Some((from, len)) = cuts.get(next.fetch_add(1, Ordering::Relaxed)) else {
                return Ok(());
            };
            // SAFETY: the chunk lies in the range that the caller promised, and no other thread
            // gets the same.
            unsafe { piece(to.at(from), what.part(from, len)) }?;
        }
    };
    let found = helped(threads - 1, work, work);
    let stopped = found.into_iter().filter_map(Result::err);
    stopped
        .min_by_key(|stopped| stopped.address)
        .map_or(Ok(()), Err)
}

/// A range of addresses, cut where a large page ends.
struct Cuts {
    at: usize,
    len: usize,
}

impl Cuts {
    fn first(&self) -> usize {
        (HUGE - self.at % HUGE).min(self.len)
    }

    fn count(&self) -> usize {
        usize::from(self.len > 0) + (self.len - self.first()).div_ceil(HUGE)
    }

    /// The offset and length of a chunk.
    fn get(&self, chunk: usize) -> Option<(usize, usize)> {
        if chunk >= self.count() {
            return None;
        }
        let from = if chunk == 0 {
            0
        } else {
            self.first() + (chunk - 1) * HUGE
        };
        let end = self.first() + chunk * HUGE;
        Some((from, end.min(self.len) - from))
    }
}

/// Writes past the cache on this thread, and shows each part to `seen` right before: the part is in
/// the first-level cache, where it was fetched while the one before it was stored.
///
/// # Safety
/// As for [`stream`].
pub(crate) unsafe fn stream_seen(
    to: *mut u8,
    bytes: &[u8],
    seen: &mut dyn FnMut(&[u8]),
) -> Result<(), Stopped> {
    let mut result = Ok(());
    let (mut at, mut rest) = (to, bytes);
    while !rest.is_empty() && result.is_ok() {
        // Parts meet between blocks: a block that is written at once goes past the cache.
        let len = (SEEN - at.addr() % SEEN).min(rest.len());
        let (part, after) = rest.split_at(len);
        seen(part);
        // SAFETY: the part lies in the range that the caller promised.
        result = unsafe { unfenced_piece(at, Fill::Bytes(part), SEEN) };
        at = at.wrapping_add(len);
        rest = after;
    }
    arch::fence_stores();
    result
}

/// Streams one piece on this thread, and fences it.
///
/// # Safety
/// As for [`stream`].
unsafe fn piece(to: *mut u8, what: Fill<'_>) -> Result<(), Stopped> {
    // SAFETY: the caller's promise.
    let result = unsafe { unfenced_piece(to, what, AHEAD) };
    // Also after an error: what was stored must not trail behind it.
    arch::fence_stores();
    result
}

/// Streams one piece, while what is `ahead` of it in the source is fetched.
///
/// # Safety
/// As for [`stream`].
unsafe fn unfenced_piece(to: *mut u8, what: Fill<'_>, ahead: usize) -> Result<(), Stopped> {
    let len = what.len();
    let before = (to.addr().wrapping_neg() % BLOCK).min(len);
    let blocks = (len - before) / BLOCK;
    let after = len - before - blocks * BLOCK;
    // In the order of addresses, so that an error names the first byte that is lost.
    // SAFETY: the edges and the blocks between them lie in the range that the caller promised, and
    // the first block is aligned.
    unsafe {
        edge(to, what.part(0, before))?;
        let middle = to.add(before);
        match what {
            Fill::Bytes(bytes) => {
                let from = bytes.as_ptr().add(before);
                guard::stream_blocks(guard::streams(), middle, from, blocks, ahead)?;
            }
            Fill::Zeros(_) => guard::zero_blocks(guard::streams(), middle, blocks)?,
        }
        if !arch::STREAMS_BYPASS_CACHE {
            cache::write_back(middle, blocks * BLOCK)?;
        }
        edge(to.add(len - after), what.part(len - after, after))
    }
}

/// Writes part of a line through the cache, and the line back.
///
/// # Safety
/// As for [`stream`]; less than a block.
unsafe fn edge(to: *mut u8, what: Fill<'_>) -> Result<(), Stopped> {
    if what.len() == 0 {
        return Ok(());
    }
    // SAFETY: the caller's promise.
    unsafe {
        match what {
            Fill::Bytes(bytes) => guard::store(to, bytes)?,
            Fill::Zeros(len) => guard::store(to, &[0; BLOCK][..len])?,
        }
        cache::write_back(to, what.len())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{LostPage, pattern};

    #[test]
    fn cuts_cover_the_range_without_overlap() {
        for at in [0, 1, 64, HUGE - 1, HUGE, 5 * HUGE / 2] {
            for len in [0, 1, 100, HUGE - 1, HUGE, HUGE + 1, 3 * HUGE + 5] {
                let cuts = Cuts { at, len };
                let mut expected = 0;
                for chunk in 0..cuts.count() {
                    let (from, len) = cuts.get(chunk).unwrap();
                    assert_eq!(from, expected);
                    assert!(len > 0 && len <= HUGE);
                    assert!(chunk == 0 || (at + from).is_multiple_of(HUGE));
                    expected += len;
                }
                assert_eq!(expected, len);
                assert_eq!(cuts.get(cuts.count()), None);
            }
        }
    }

    #[test]
    fn every_length_and_alignment_is_copied_exactly() {
        let from = pattern(1200, 7);
        for offset in [0, 1, 63, 64, 65, 100] {
            for len in (0..200).chain([255, 256, 257, 1000]) {
                for what in [Fill::Bytes(&from[5..5 + len]), Fill::Zeros(len)] {
                    let mut to = vec![0xEE; 1400];
                    // SAFETY: the buffer is ours and long enough.
                    unsafe { stream(to.as_mut_ptr().add(offset), what, 1) }.unwrap();
                    let expected = match what {
                        Fill::Bytes(bytes) => bytes.to_vec(),
                        Fill::Zeros(len) => vec![0; len],
                    };
                    assert_eq!(to[offset..offset + len], expected);
                    let rest = to[..offset].iter().chain(&to[offset + len..]);
                    assert!(rest.copied().all(|byte| byte == 0xEE));
                }
            }
        }
    }

    #[test]
    fn what_is_shown_is_what_is_written_in_order() {
        let from = pattern(3 * SEEN + 1000, 11);
        for offset in [0, 1, 64, 100, SEEN - 1] {
            for len in [0, 1, 100, SEEN, SEEN + 1, from.len() - 5] {
                let mut to = vec![0xEE; from.len() + SEEN + 64];
                let mut shown = Vec::new();
                let mut seen = |part: &[u8]| shown.extend_from_slice(part);
                // SAFETY: the buffer is ours and long enough.
                unsafe { stream_seen(to.as_mut_ptr().add(offset), &from[5..5 + len], &mut seen) }
                    .unwrap();
                assert_eq!(shown, from[5..5 + len]);
                assert_eq!(to[offset..offset + len], from[5..5 + len]);
                let rest = to[..offset].iter().chain(&to[offset + len..]);
                assert!(rest.copied().all(|byte| byte == 0xEE));
            }
        }
    }

    #[test]
    fn threads_share_the_work_and_all_of_it_arrives() {
        let len = 5 * HUGE + 12345;
        let from = pattern(len, 3);
        for threads in [0, 1, 2, 3, 100] {
            let mut to = vec![0; len + 200];
            // SAFETY: the buffer is ours and long enough.
            unsafe { stream(to.as_mut_ptr().add(77), Fill::Bytes(&from), threads) }.unwrap();
            assert!(to[77..77 + len] == from, "{threads} threads");
            // SAFETY: as above.
            unsafe { stream(to.as_mut_ptr().add(77), Fill::Zeros(len), threads) }.unwrap();
            assert!(
                to[77..77 + len].iter().all(|byte| *byte == 0),
                "{threads} threads"
            );
        }
    }

    #[test]
    fn lines_that_went_through_the_cache_are_written_back() {
        let mut to = vec![0_u8; 4096];
        let at = to
            .as_mut_ptr()
            .wrapping_add(to.as_ptr().align_offset(BLOCK) + 10);
        let from = pattern(1000, 1);
        // SAFETY: the buffer is ours and long enough.
        let seen = cache::trace::of(|| unsafe {
            stream(at, Fill::Bytes(&from), 1).unwrap();
        });
        let lines: Vec<_> = seen
            .iter()
            .map(|(_, line)| line - (at.addr() - 10))
            .collect();
        let size = cache::cache_instructions().line_size;
        let starts = |range: std::ops::Range<usize>| range.step_by(size);
        // 1000 bytes from 10: both edges are parts of a block. How much of the first block's lines
        // the head is in depends on their size.
        let mut expected: Vec<_> = starts(0..BLOCK).collect();
        if !arch::STREAMS_BYPASS_CACHE {
            expected.extend(starts(BLOCK..960));
        }
        expected.extend(starts(960..1010));
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_lost_page_stops_the_copy_and_says_where() {
        let lost = LostPage::new();
        let from = pattern(1000, 1);
        for what in [Fill::Bytes(&from), Fill::Zeros(1000)] {
            // SAFETY: both pages stay mapped.
            let stopped = unsafe { stream(lost.boundary().sub(500), what, 2) }.unwrap_err();
            let within = stopped.address.wrapping_sub(lost.boundary().addr());
            assert!(within < 500, "stopped at {within} past the boundary");
        }
    }
}
