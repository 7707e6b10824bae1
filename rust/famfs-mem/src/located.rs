//! Which memory of which volume lies at an address of this process.
//!
//! Owns the list of the addresses at which committed bytes can be read: regions, and views that were
//! stitched. Windows and mappings to write through are not among them: what is read there need not
//! be what was published.

use std::{collections::BTreeMap, sync::Arc};

use crate::{Identity, PerProcess, Piece, RegionOff};

/// By where they begin; no two overlap, as an entry goes before its addresses are given back.
static PLACES: PerProcess<BTreeMap<usize, Place>> = PerProcess::new();

#[derive(Clone, Debug)]
struct Place {
    end: usize,
    identity: Identity,
    pieces: Arc<[Piece]>,
}

/// Where bytes of this process's memory lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The device or backing file.
    pub identity: Identity,
    /// Where on it the bytes are, in order. Pieces that follow each other are one.
    pub pieces: Vec<Piece>,
}

/// An entry of the list, for as long as this lives: dropped before the addresses are given back.
#[derive(Debug)]
pub(crate) struct Listed {
    base: usize,
}

impl Listed {
    /// Lists the first `len` bytes at `base`, which show these pieces one after the other.
    pub(crate) fn new(base: usize, len: usize, identity: Identity, pieces: &[Piece]) -> Self {
        let place = Place {
            end: base + len,
            identity,
            pieces: pieces.into(),
        };
        PLACES.lock_inherited().insert(base, place);
        Self { base }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let gone = PLACES.lock_inherited().remove(&self.base);
        drop(gone);
    }
}

/// Which memory the `len` bytes at `address` are, where they lie in a region or a view of this
/// process; `None` for all other memory, and for no bytes.
///
/// A forked child finds what it inherited. A region stands for all of its device: whether somebody
/// has published these bytes is for who knows the log.
#[must_use]
pub fn locate(address: usize, len: usize) -> Option<Located> {
    let end = address.checked_add(len).filter(|_| len > 0)?;
    let places = PLACES.lock_inherited();
    let (base, place) = places.range(..=address).next_back()?;
    if end > place.end {
        return None;
    }
    let (identity, pieces) = (place.identity, Arc::clone(&place.pieces));
    let (mut skip, mut left) = ((address - base) as u64, len as u64);
    drop(places);
    let mut found = Vec::with_capacity(1);
    for piece in pieces.iter() {
        let before = skip.min(piece.len);
        let len = (piece.len - before).min(left);
        if len > 0 {
            let at = RegionOff(piece.at.0 + before);
            found.push(Piece { at, len });
        }
        skip -= before;
        left -= len;
        if left == 0 {
            break;
        }
    }
    Some(Located {
        identity,
        pieces: found,
    })
}

#[cfg(test)]
mod tests {
    #![expect(unsafe_code, reason = "views are made of committed bytes")]
    #![expect(
        clippy::cast_possible_truncation,
        reason = "the crate refuses 32-bit hosts"
    )]

    use super::*;
    use crate::{
        Memory, Region, Source,
        testing::{Ended, in_child, shm_dir},
    };

    const UNIT: u64 = 64 << 10;

    fn region(dir: &std::path::Path) -> (Source, Arc<Region>) {
        let source = Source::create_file(dir.join("volume"), 8 * UNIT, false).unwrap();
        let region = Region::map(&source).unwrap();
        (source, region)
    }

    fn piece(at: u64, len: u64) -> Piece {
        let at = RegionOff(at);
        Piece { at, len }
    }

    #[test]
    fn a_region_is_found_for_as_long_as_somebody_holds_it() {
        let dir = shm_dir();
        let (source, region) = region(dir.path());
        let base = region.address();
        let found = |at: usize, len: usize| locate(base + at, len);
        let identity = source.identity();
        let is = |at, len| {
            Some(Located {
                identity,
                pieces: vec![piece(at, len)],
            })
        };
        assert_eq!(found(0, 1), is(0, 1));
        assert_eq!(found(77, 1000), is(77, 1000));
        let all = 8 * UNIT as usize;
        assert_eq!(found(0, all), is(0, 8 * UNIT));
        assert_eq!(found(0, all + 1), None);
        assert_eq!(found(all, 1), None);
        assert_eq!(locate(base - 1, 1), None);
        assert_eq!(found(5, 0), None);
        assert_eq!(found(5, usize::MAX), None);
        assert_eq!(locate(0, 1), None);
        let here = [0_u8; 8];
        assert_eq!(locate(here.as_ptr().addr(), 8), None);

        Region::forget(&identity);
        assert_eq!(found(0, 1), is(0, 1));
        drop(region);
        assert_eq!(found(0, 1), None);
    }

    #[test]
    fn what_is_written_through_is_not_found() {
        let dir = shm_dir();
        let (source, region) = region(dir.path());
        region.store(RegionOff(0), b"x").unwrap();
        let stores = region.to_write().unwrap().base().addr();
        assert_eq!(locate(stores, 1), None);
        let window = region.window(&[piece(0, UNIT)], UNIT, None).unwrap();
        assert_eq!(locate(window.address().addr(), 1), None);
        Region::forget(&source.identity());
    }

    #[test]
    fn a_stitched_view_is_found_in_its_pieces_and_by_a_child() {
        let dir = shm_dir();
        let (source, region) = region(dir.path());
        let pieces = [piece(4 * UNIT, UNIT), piece(0, UNIT), piece(6 * UNIT, UNIT)];
        // SAFETY: nobody writes to these bytes.
        let view = unsafe { region.view(&pieces, 2 * UNIT + 10, None) }.unwrap();
        let (base, unit) = (view.address(), UNIT as usize);
        let found = |at: usize, len: usize| locate(base + at, len).map(|found| found.pieces);
        let check = || {
            let across = vec![piece(5 * UNIT - 1, 1), piece(0, UNIT), piece(6 * UNIT, 10)];
            assert_eq!(found(unit - 1, unit + 11), Some(across));
            assert_eq!(found(unit + 5, 7), Some(vec![piece(5, 7)]));
            assert_eq!(found(unit - 1, unit + 12), None, "past the file's end");
        };
        check();
        let ended = in_child(check);
        assert_eq!(ended, Ended::Exited(0));
        let part = view.slice(3..5);
        drop(view);
        assert_eq!(found(3, 2), Some(vec![piece(4 * UNIT + 3, 2)]));
        drop(part);
        assert_eq!(found(3, 2), None);
        Region::forget(&source.identity());
    }
}
