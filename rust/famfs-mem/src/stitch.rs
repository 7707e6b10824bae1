//! Pieces of a region, mapped one after the other into addresses of their own.
//!
//! Owns those addresses and the count of kernel mappings they cost. It must not know what the
//! pieces are for, and it takes whole pages only.
#![expect(unsafe_code, reason = "pieces are mapped over reserved addresses")]

use std::{
    fs, io,
    os::fd::BorrowedFd,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{
    Fault, MapError, Piece, Region,
    address::{HUGE, Space},
    guard,
};

/// Kernel mappings in use for stitched views of this process.
static USED: AtomicU64 = AtomicU64::new(0);

/// Kernel mappings that are left to the rest of the process.
const LEFT_TO_OTHERS: u64 = 1024;

/// Some of the kernel mappings that a process may have.
#[derive(Debug)]
struct Share<'a> {
    count: &'a AtomicU64,
    taken: u64,
}

impl<'a> Share<'a> {
    /// Takes `needed` of `limit`, or says what is in the way.
    fn take(count: &'a AtomicU64, needed: u64, limit: u64) -> Result<Self, MapError> {
        let available = limit.saturating_sub(LEFT_TO_OTHERS.min(limit / 8));
        count
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                used.checked_add(needed).filter(|sum| *sum <= available)
            })
            .map(|_| Self {
                count,
                taken: needed,
            })
            .map_err(|used| MapError::TooManyMappings {
                needed,
                used,
                limit,
            })
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(self.taken, Ordering::AcqRel);
    }
}

/// Whether `needed` more mappings leave enough to the rest of the process, where `attached` ones are
/// in use besides those of views.
pub(crate) fn check_room(attached: u64, needed: u64) -> Result<(), MapError> {
    // One is what any mmap may cost: asking the kernel for its limit each time would cost more.
    if needed <= 1 {
        return Ok(());
    }
    let limit = limit();
    let used = attached.saturating_add(USED.load(Ordering::Acquire));
    let count = AtomicU64::new(used);
    Share::take(&count, needed, limit).map(|_| ())
}

/// The limit of the kernel; its default where that cannot be read.
fn limit() -> u64 {
    fs::read_to_string("/proc/sys/vm/max_map_count")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(65_530)
}

/// Addresses of their own for pieces of a region.
#[derive(Debug)]
pub(crate) struct Stitched {
    // In this order: mappings count until they are gone.
    space: Space,
    _share: Share<'static>,
}

impl Stitched {
    /// Maps the pieces in order. All begin at a multiple of the region's alignment, and all but the
    /// last end at one.
    pub(crate) fn new(region: &Region, pieces: &[Piece], writable: bool) -> Result<Self, MapError> {
        if let (Some(_), Some(first)) = (region.patches(), pieces.first()) {
            // The region's file shows one part of the device alone: these offsets aren't its own.
            let Piece { at, len } = *first;
            return Err(Fault::Detached { at, len }.into());
        }
        let align = region.align();
        let last = pieces.len().saturating_sub(1);
        let mut total = 0_u64;
        for (index, piece) in pieces.iter().enumerate() {
            let fits = piece.at.0.is_multiple_of(align)
                && (index == last || piece.len.is_multiple_of(align));
            if !fits {
                let Piece { at, len } = *piece;
                return Err(MapError::MisalignedPiece {
                    index,
                    at,
                    len,
                    align,
                });
            }
            region.mapping().range(piece.at, piece.len)?;
            total += piece.len;
        }
        let limit = limit();
        let system = |error: io::Error| {
            // The kernel says so when there are too many mappings, ours and others'.
            if error.raw_os_error() == Some(libc::ENOMEM) {
                let used = USED.load(Ordering::Acquire);
                return MapError::TooManyMappings {
                    needed: pieces.len() as u64,
                    used,
                    limit,
                };
            }
            region.system("stitch", total, error)
        };
        let too_large = |_| system(io::ErrorKind::OutOfMemory.into());
        let whole = usize::try_from(total.next_multiple_of(align)).map_err(too_large)?;
        let align = usize::try_from(align).map_err(too_large)?;
        let share = Share::take(&USED, pieces.len() as u64, limit)?;
        // Owns its share before the first piece is placed, so that an error gives it back.
        let stitched = Self {
            space: Space::reserve(whole, align.max(HUGE)).map_err(system)?,
            _share: share,
        };
        let mut placed = 0;
        for piece in pieces {
            let len = usize::try_from(piece.len)
                .map_err(too_large)?
                .next_multiple_of(align);
            // SAFETY: the space is new, nothing refers to it.
            unsafe {
                stitched
                    .space
                    .place(placed, region.file(), piece.at.0, len, writable)
            }
            .map_err(system)?;
            placed += len;
        }
        Ok(stitched)
    }

    /// Maps the first `len` bytes of a file that shows the pieces in their order.
    pub(crate) fn of_file(
        region: &Region,
        file: BorrowedFd<'_>,
        len: u64,
        writable: bool,
    ) -> Result<Self, MapError> {
        let system = |error| region.system("map a file of", len, error);
        let too_large = |_| system(io::ErrorKind::OutOfMemory.into());
        let bytes = usize::try_from(len.next_multiple_of(guard::page_size())).map_err(too_large)?;
        let stitched = Self {
            space: Space::reserve(bytes, HUGE).map_err(system)?,
            _share: Share::take(&USED, 1, limit())?,
        };
        // SAFETY: the space is new, nothing refers to it.
        unsafe { stitched.space.place(0, file, 0, bytes, writable) }.map_err(system)?;
        Ok(stitched)
    }

    /// The addresses.
    pub(crate) fn space(&self) -> &Space {
        &self.space
    }

    /// Where the first piece begins.
    pub(crate) fn base(&self) -> *const u8 {
        self.space.base()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_kept_and_what_is_given_back_counts_again() {
        let count = AtomicU64::new(0);
        let first = Share::take(&count, 60_000, 65_530).unwrap();
        let error = Share::take(&count, 5_000, 65_530).unwrap_err();
        let expected = MapError::TooManyMappings {
            needed: 5_000,
            used: 60_000,
            limit: 65_530,
        };
        assert_eq!(error.to_string(), expected.to_string());
        assert!(error.to_string().contains("raise vm.max_map_count"));
        assert_eq!(count.load(Ordering::Relaxed), 60_000);
        drop(first);
        assert_eq!(count.load(Ordering::Relaxed), 0);

        Share::take(&count, 5_000, 65_530).unwrap();
    }

    #[test]
    fn no_number_overflows() {
        let count = AtomicU64::new(5);
        assert!(Share::take(&count, u64::MAX, u64::MAX).is_err());
        assert!(Share::take(&count, 1, 0).is_err());
    }
}
