//! Committed bytes as a slice: the one place where shared memory becomes a reference.
//!
//! Owns the lifetime of that slice. It must not be made for bytes that anybody still writes: the
//! promise is stated at [`Region::view`].
#![expect(unsafe_code, reason = "committed bytes become a slice here")]

use std::{
    fmt,
    ops::{Bound, Deref, RangeBounds},
    os::fd::BorrowedFd,
    sync::Arc,
};

use crate::{
    MapError, Region, RegionOff,
    guard::{self, Stopped},
    located::Listed,
    memory::{Fault, Memory, check},
    stitch::Stitched,
};

/// A stretch of a region.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Piece {
    /// Where it begins.
    pub at: RegionOff,
    /// How long it is.
    pub len: u64,
}

/// Committed bytes of a region, in order, that live as long as the view or a clone of it.
///
/// It derefs to a slice. Touching bytes of the slice whose memory is lost kills the process, as it
/// does for every mapping; [`read`](View::read) makes an error of it.
#[derive(Clone)]
pub struct View {
    shared: Arc<Shared>,
    start: usize,
    len: usize,
}

struct Shared {
    region: Arc<Region>,
    base: *const u8,
    len: usize,
    pieces: Box<[Piece]>,
    /// Holds the addresses, where the region's own do not serve; what lists them goes first.
    _stitched: Option<(Listed, Stitched)>,
}

// SAFETY: the bytes behind `base` are read only, and promised not to be written by anybody; the
// mapping they lie in is held by this value.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Region {
    /// Makes a slice of committed bytes: the first `len` of the pieces, one after the other.
    ///
    /// Pieces that follow each other in the region cost nothing. Where they do not, they are mapped
    /// into addresses of their own, which costs one kernel mapping each; or one in all, where
    /// `whole` is a file that shows just these pieces in this order.
    ///
    /// # Errors
    /// [`MapError::TooShort`] where the pieces hold fewer than `len` bytes;
    /// [`MapError::MisalignedPiece`] and [`MapError::TooManyMappings`] for pieces that do not follow
    /// each other; [`MapError::Range`] where a piece is not in the region.
    ///
    /// # Safety
    /// For as long as the view or a clone of it lives, nobody on any host writes to these bytes:
    /// the file is committed, and files are never rewritten in place. After its commit was seen,
    /// the range was invalidated on this host, unless the volume is local to it.
    pub unsafe fn view(
        self: &Arc<Self>,
        pieces: &[Piece],
        len: u64,
        whole: Option<BorrowedFd<'_>>,
    ) -> Result<View, MapError> {
        let pieces = joined(pieces, len, self.len())?;
        let (base, stitched) = match &pieces[..] {
            [] => (self.mapping().base().cast_const(), None),
            [one] => {
                self.check_attached(one.at, one.len)?;
                (self.mapping().range(one.at, one.len)?.0.cast_const(), None)
            }
            several => {
                let stitched = match whole {
                    Some(file) => Stitched::of_file(self, file, len, false)?,
                    None => Stitched::new(self, several, false)?,
                };
                (stitched.base(), Some(stitched))
            }
        };
        let len = usize::try_from(len).map_err(|_| Fault::OutOfRange {
            at: RegionOff(0),
            len,
            size: self.len(),
        })?;
        let stitched = stitched.map(|stitched| {
            let listed = Listed::new(base.addr(), len, self.identity(), &pieces);
            (listed, stitched)
        });
        let region = Arc::clone(self);
        let shared = Arc::new(Shared {
            region,
            base,
            len,
            pieces,
            _stitched: stitched,
        });
        Ok(View {
            shared,
            start: 0,
            len,
        })
    }
}

/// The pieces that hold the first `len` bytes, those that follow each other made one.
pub(crate) fn joined(pieces: &[Piece], len: u64, size: u64) -> Result<Box<[Piece]>, MapError> {
    let mut joined: Vec<Piece> = Vec::new();
    let mut left = len;
    for piece in pieces {
        check(piece.at, piece.len, size)?;
        let part = Piece {
            at: piece.at,
            len: piece.len.min(left),
        };
        left -= part.len;
        match joined.last_mut() {
            _ if part.len == 0 => {}
            Some(last) if last.at.0 + last.len == part.at.0 => last.len += part.len,
            _ => joined.push(part),
        }
    }
    if left > 0 {
        return Err(MapError::TooShort {
            expected: len,
            found: len - left,
        });
    }
    Ok(joined.into())
}

impl View {
    /// Where it begins in this process's addresses.
    #[must_use]
    pub fn address(&self) -> usize {
        self.shared.base.addr() + self.start
    }

    /// The region that holds the bytes.
    #[must_use]
    pub fn region(&self) -> &Arc<Region> {
        &self.shared.region
    }

    /// Where in the region the bytes are, in order.
    #[must_use]
    pub fn pieces(&self) -> Vec<Piece> {
        let (mut skip, mut left) = (self.start as u64, self.len as u64);
        let mut found = Vec::new();
        for piece in &self.shared.pieces {
            let before = skip.min(piece.len);
            let len = (piece.len - before).min(left);
            if len > 0 {
                found.push(Piece {
                    at: RegionOff(piece.at.0 + before),
                    len,
                });
            }
            skip -= before;
            left -= len;
        }
        found
    }

    /// A part of it, which holds the same memory.
    ///
    /// # Panics
    /// Where the range is not in the view, as slices do.
    #[must_use]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before
                .checked_add(1)
                .expect("range begins after usize::MAX"),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.checked_add(1).expect("range ends after usize::MAX"),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => self.len,
        };
        assert!(
            start <= end && end <= self.len,
            "range {start}..{end} is outside of a view of {} bytes",
            self.len
        );
        Self {
            shared: Arc::clone(&self.shared),
            start: self.start + start,
            len: end - start,
        }
    }

    /// Copies bytes out, and notices where their memory is lost.
    ///
    /// # Errors
    /// [`Fault::Bus`] with the place in the region; [`Fault::OutOfRange`] for bytes past the end,
    /// counted from the start of the view.
    pub fn read(&self, off: u64, into: &mut [u8]) -> Result<(), Fault> {
        check(RegionOff(off), into.len() as u64, self.len as u64)?;
        // SAFETY: the range was just checked to lie in the view, so the offset fits and the bytes
        // are mapped; `into` is a mutable reference, so it does not overlap what is read-only.
        unsafe {
            #[expect(clippy::cast_possible_truncation, reason = "checked against a usize")]
            let from = self.shared.base.add(self.start).add(off as usize);
            guard::load(from, into).map_err(|stopped| self.shared.fault(stopped))
        }
    }
}

impl Shared {
    fn fault(&self, stopped: Stopped) -> Fault {
        let mut left = match stopped.address.checked_sub(self.base.addr()) {
            Some(at) if at < self.len => at as u64,
            _ => return Fault::SourceBus,
        };
        for piece in &self.pieces {
            if left < piece.len {
                let len = stopped.lost.unwrap_or(self.region.align());
                return Fault::Bus {
                    at: RegionOff(piece.at.0 + left),
                    len,
                };
            }
            left -= piece.len;
        }
        Fault::SourceBus
    }
}

impl Deref for View {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the range lies in a mapping that `shared` holds, and whoever made the view
        // promised that nobody writes to it.
        unsafe { std::slice::from_raw_parts(self.shared.base.add(self.start), self.len) }
    }
}

impl AsRef<[u8]> for View {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("address", &format_args!("{:#x}", self.address()))
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the crate refuses 32-bit hosts"
)]
mod tests {
    use super::*;
    use crate::{
        Source,
        testing::{Ended, in_child, pattern, shm_dir},
    };

    /// The pieces of the tests are of this size: a multiple of every page size.
    const CHUNK: u64 = 64 << 10;

    fn volume(dir: &std::path::Path) -> (Source, Arc<Region>, Vec<u8>) {
        let bytes = pattern(16 * CHUNK as usize, 9);
        let source = Source::create_file(dir.join("volume"), bytes.len() as u64, false).unwrap();
        source.write_at(0, &bytes).unwrap();
        let region = Region::map(&source).unwrap();
        (source, region, bytes)
    }

    fn chunks(numbers: &[u64]) -> Vec<Piece> {
        numbers
            .iter()
            .map(|n| Piece {
                at: RegionOff(n * CHUNK),
                len: CHUNK,
            })
            .collect()
    }

    fn view(region: &Arc<Region>, pieces: &[Piece], len: u64) -> Result<View, MapError> {
        // SAFETY: the tests do not write to what they view.
        unsafe { region.view(pieces, len, None) }
    }

    fn expected(bytes: &[u8], pieces: &[Piece], len: u64) -> Vec<u8> {
        let mut all = Vec::new();
        for piece in pieces {
            all.extend_from_slice(&bytes[piece.at.0 as usize..][..piece.len as usize]);
        }
        all.truncate(len as usize);
        all
    }

    #[test]
    fn one_piece_is_a_slice_of_the_region() {
        let dir = shm_dir();
        let (source, region, bytes) = volume(dir.path());
        let piece = Piece {
            at: RegionOff(1001),
            len: 5000,
        };
        let found = view(&region, &[piece], 4000).unwrap();
        assert!(*found == bytes[1001..5001]);
        assert_eq!(found.address(), region.address() + 1001);
        assert_eq!(found.pieces(), [Piece { len: 4000, ..piece }]);
        assert!(Arc::ptr_eq(found.region(), &region));
        Region::forget(&source.identity());
    }

    #[test]
    fn pieces_that_follow_each_other_are_one() {
        let dir = shm_dir();
        let (source, region, bytes) = volume(dir.path());
        let pieces = [(100, 50), (150, 0), (150, 1000), (1150, 7)].map(|(at, len)| Piece {
            at: RegionOff(at),
            len,
        });
        let found = view(&region, &pieces, 1055).unwrap();
        assert_eq!(found.address(), region.address() + 100);
        assert!(*found == bytes[100..1155]);
        assert_eq!(
            found.pieces(),
            [Piece {
                at: RegionOff(100),
                len: 1055
            }]
        );
        Region::forget(&source.identity());
    }

    #[test]
    fn other_pieces_are_stitched_in_their_order() {
        let dir = shm_dir();
        let (source, region, bytes) = volume(dir.path());
        for numbers in [&[5, 2][..], &[0, 2, 4, 6], &[3, 4, 1], &[7, 0, 1, 2, 7]] {
            let pieces = chunks(numbers);
            let all = numbers.len() as u64 * CHUNK;
            for len in [all, all - CHUNK + 1, all - 77] {
                let found = view(&region, &pieces, len).unwrap();
                assert!(*found == expected(&bytes, &pieces, len), "{numbers:?}");
                let mut copy = vec![0; found.len()];
                found.read(0, &mut copy).unwrap();
                assert!(copy == *found);
            }
        }
        Region::forget(&source.identity());
    }

    #[test]
    fn a_slice_holds_the_memory_and_knows_its_pieces() {
        let dir = shm_dir();
        let (source, region, bytes) = volume(dir.path());
        let pieces = chunks(&[5, 2, 9]);
        let whole = view(&region, &pieces, 3 * CHUNK).unwrap();
        let len = CHUNK as usize;
        let part = whole.slice(len - 10..2 * len + 10).slice(5..);
        let address = whole.address();
        drop(whole);
        drop(region);
        Region::forget(&source.identity());
        assert_eq!(part.address(), address + len - 5);
        assert!(*part == expected(&bytes, &pieces, 3 * CHUNK)[len - 5..2 * len + 10]);
        let expected =
            [(6 * CHUNK - 5, 5), (2 * CHUNK, CHUNK), (9 * CHUNK, 10)].map(|(at, len)| Piece {
                at: RegionOff(at),
                len,
            });
        assert_eq!(part.pieces(), expected);
        assert!(part.slice(3..3).is_empty());
        assert!(part.slice(3..3).pieces().is_empty());
    }

    #[test]
    #[should_panic(expected = "range 3..6 is outside of a view of 5 bytes")]
    fn a_slice_outside_panics() {
        let dir = shm_dir();
        let (source, region, _) = volume(dir.path());
        Region::forget(&source.identity());
        let _ = view(&region, &chunks(&[0]), 5).unwrap().slice(3..=5);
    }

    #[test]
    fn a_view_of_nothing_is_empty() {
        let dir = shm_dir();
        let (source, region, _) = volume(dir.path());
        let found = view(&region, &[], 0).unwrap();
        assert!(found.is_empty() && found.pieces().is_empty());
        assert!(found.read(0, &mut []).is_ok());
        Region::forget(&source.identity());
    }

    #[test]
    fn what_cannot_be_viewed_says_why() {
        let dir = shm_dir();
        let (source, region, _) = volume(dir.path());
        let error = view(&region, &chunks(&[1, 3]), 3 * CHUNK).unwrap_err();
        assert!(matches!(error, MapError::TooShort { found, .. } if found == 2 * CHUNK));
        let error = view(&region, &chunks(&[1, 16]), CHUNK).unwrap_err();
        assert!(matches!(error, MapError::Range(Fault::OutOfRange { .. })));
        let mut pieces = chunks(&[1, 3]);
        pieces[0].len = 100;
        let error = view(&region, &pieces, 200).unwrap_err();
        assert!(
            matches!(
                error,
                MapError::MisalignedPiece {
                    index: 0,
                    len: 100,
                    ..
                }
            ),
            "{error}"
        );
        pieces = chunks(&[1, 3]);
        pieces[1].at.0 += 100;
        let error = view(&region, &pieces, CHUNK + 1).unwrap_err();
        assert!(
            matches!(error, MapError::MisalignedPiece { index: 1, .. }),
            "{error}"
        );
        let far = Piece {
            at: RegionOff(u64::MAX),
            len: 2,
        };
        assert!(view(&region, &[far], 1).is_err());
        Region::forget(&source.identity());
    }

    #[test]
    fn a_lost_piece_is_an_error_that_names_its_place_in_the_region() {
        let dir = shm_dir();
        let (source, region, _) = volume(dir.path());
        let stitched = view(&region, &chunks(&[1, 9, 3]), 3 * CHUNK)
            .unwrap()
            .slice(10..);
        let plain = view(&region, &chunks(&[9]), CHUNK).unwrap();
        source.file().set_len(8 * CHUNK).unwrap();
        let len = crate::guard::page_size();
        let lost = Err(Fault::Bus {
            at: RegionOff(9 * CHUNK),
            len,
        });
        let mut into = vec![0; CHUNK as usize];
        assert_eq!(stitched.read(100, &mut into), lost);
        assert_eq!(plain.read(0, &mut into), lost);
        assert_eq!(stitched.read(2 * CHUNK - 10, &mut into), Ok(()));
        assert!(matches!(
            stitched.read(3 * CHUNK, &mut into),
            Err(Fault::OutOfRange { .. })
        ));
        Region::forget(&source.identity());
    }

    #[test]
    fn the_last_clone_gives_the_addresses_back() {
        let dir = shm_dir();
        let (source, region, _) = volume(dir.path());
        let is_mapped = |address: usize| {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            maps.lines().any(|line| {
                let (start, rest) = line.split_once('-').unwrap();
                let (end, _) = rest.split_once(' ').unwrap();
                let number = |text| usize::from_str_radix(text, 16).unwrap();
                (number(start)..number(end)).contains(&address)
            })
        };
        // Alone in a child, where nobody else takes the addresses.
        let ended = in_child(|| {
            let first = view(&region, &chunks(&[1, 9, 3]), 3 * CHUNK).unwrap();
            let (address, second) = (first.address(), first.clone());
            drop(first);
            assert!(is_mapped(address));
            assert!(!second.is_empty());
            drop(second);
            assert!(!is_mapped(address));
        });
        assert_eq!(ended, Ended::Exited(0));
        Region::forget(&source.identity());
    }

    #[test]
    fn debug_shows_no_content() {
        let dir = shm_dir();
        let (source, region, _) = volume(dir.path());
        let found = view(&region, &chunks(&[1]), 5).unwrap();
        let expected = format!("View {{ address: {:#x}, len: 5, .. }}", found.address());
        assert_eq!(format!("{found:?}"), expected);
        Region::forget(&source.identity());
    }
}
