//! Committed bytes as a slice: the one place where shared memory becomes a reference.
//!
//! Owns the lifetime of that slice. It must not be made for bytes that anybody still writes: the
//! promise is stated at [`Region::view`].

use std::{
    fmt,
    ops::{Bound, Deref, RangeBounds},
    sync::Arc,
};

use crate::{
    MapError, Region, RegionOff,
    guard::{self, Stopped},
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
    /// Holds the addresses, where the region's own do not serve.
    _stitched: Option<Stitched>,
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
    /// into addresses of their own, which costs one kernel mapping each.
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
    pub unsafe fn view(self: &Arc<Self>, pieces: &[Piece], len: u64) -> Result<View, MapError> {
        let pieces = joined(pieces, len, self.len())?;
        let (base, stitched) = match &pieces[..] {
            [] => (self.mapping().base().cast_const(), None),
            [one] => (self.mapping().range(one.at, one.len)?.0.cast_const(), None),
            several => {
                let stitched = Stitched::new(self, several)?;
                (stitched.base(), Some(stitched))
            }
        };
        let len = usize::try_from(len).map_err(|_| Fault::OutOfRange {
            at: RegionOff(0),
            len,
            size: self.len(),
        })?;
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
fn joined(pieces: &[Piece], len: u64, size: u64) -> Result<Box<[Piece]>, MapError> {
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
                return Fault::Bus {
                    at: RegionOff(piece.at.0 + left),
                    len: stopped.lost,
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
