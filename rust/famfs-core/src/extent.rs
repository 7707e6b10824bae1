//! Where a file's bytes lie: extents, simple and interleaved maps, and their resolution.
//!
//! Owns the address arithmetic of the format. Whether an extent may be used (inside the device,
//! not taken) is judged in `judge`.

use core::ops::Deref;

use crate::media::MAX_EXTENTS;
use crate::units::{ALLOC_UNIT, ByteLen, DevOff, DeviceIndex, FileOff};

/// A contiguous range of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Extent {
    /// Which device.
    pub device: DeviceIndex,
    /// Where it begins.
    pub offset: DevOff,
    /// How long it is.
    pub len: ByteLen,
}

impl Extent {
    /// An extent of the primary device.
    #[must_use]
    pub const fn primary(offset: u64, len: u64) -> Self {
        Self {
            device: DeviceIndex::PRIMARY,
            offset: DevOff(offset),
            len: ByteLen(len),
        }
    }

    /// The offset after the last byte; `None` past 2^64.
    #[must_use]
    pub const fn end(&self) -> Option<u64> {
        self.offset.0.checked_add(self.len.0)
    }
}

/// Up to sixteen extents, as many as an entry can name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extents {
    items: [Extent; MAX_EXTENTS],
    len: u8,
}

impl Extents {
    /// Takes over `items`; `None` where there are more than sixteen.
    #[must_use]
    pub fn new(items: &[Extent]) -> Option<Self> {
        let mut extents = Self::default();
        items.iter().try_for_each(|&item| extents.push(item))?;
        Some(extents)
    }

    /// Adds an extent; `None` where there are sixteen already.
    #[must_use]
    pub fn push(&mut self, item: Extent) -> Option<()> {
        *self.items.get_mut(usize::from(self.len))? = item;
        self.len += 1;
        Some(())
    }
}

impl Deref for Extents {
    type Target = [Extent];

    fn deref(&self) -> &[Extent] {
        &self.items[..usize::from(self.len)]
    }
}

/// Where a file's bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Map {
    /// One extent after the other.
    Simple(Extents),
    /// Chunks dealt out to the strips in turn.
    Interleaved {
        /// Bytes of a chunk.
        chunk_size: ByteLen,
        /// The strips, in their order.
        strips: Extents,
    },
}

/// A contiguous part of a file and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Which device.
    pub device: DeviceIndex,
    /// Where it begins there.
    pub offset: DevOff,
    /// How long it is.
    pub len: ByteLen,
}

impl Map {
    /// The map of a file without bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self::Simple(Extents::default())
    }

    /// All extents, or strips.
    #[must_use]
    pub fn extents(&self) -> &Extents {
        match self {
            Self::Simple(extents) => extents,
            Self::Interleaved { strips, .. } => strips,
        }
    }

    /// Bytes that the map takes from its devices.
    #[must_use]
    pub fn allocated(&self) -> ByteLen {
        ByteLen(
            self.extents()
                .iter()
                .fold(0, |sum, e| sum.saturating_add(e.len.0)),
        )
    }

    /// The number of bytes from the file's start that the map can hold.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        match self {
            Self::Simple(_) => self.allocated().0,
            Self::Interleaved { chunk_size, strips } => {
                // The first strip that is full ends the file: chunk `stripes * n + k` is the first
                // one that strip `k` can't hold, if it holds `stripes` whole chunks.
                let count = strips.len() as u64;
                (0..)
                    .zip(strips.iter())
                    .map(|(k, strip)| {
                        let stripes = strip.len.0 / chunk_size.0.max(1);
                        stripes.saturating_mul(count).saturating_add(k)
                    })
                    .min()
                    .map_or(0, |chunks| chunks.saturating_mul(chunk_size.0))
            }
        }
    }

    /// The map of the file's first `size` bytes: what lies behind them, in whole units, is cut off.
    /// Strips stay as they are.
    #[must_use]
    pub fn cut(&self, size: ByteLen) -> Self {
        let Self::Simple(extents) = self else {
            return *self;
        };
        let mut left = size.to_whole_units().unwrap_or(size).0;
        let mut cut = Extents::default();
        for extent in extents.iter() {
            let len = ByteLen(extent.len.0.min(left));
            left -= len.0;
            if len.0 > 0 {
                // Never more than there were.
                let _ = cut.push(Extent { len, ..*extent });
            }
        }
        Self::Simple(cut)
    }

    /// The contiguous run that begins at byte `at` of the file; `None` past the map's end.
    ///
    /// For an interleaved file: chunk = at / chunk size; strip = chunk % strips; stripe = chunk /
    /// strips; the offset in the strip is stripe * chunk size + at % chunk size.
    #[must_use]
    pub fn resolve(&self, at: FileOff) -> Option<Run> {
        match self {
            Self::Simple(extents) => {
                let mut skip = at.0;
                for extent in extents.iter() {
                    if skip < extent.len.0 {
                        return Some(run(extent, skip, extent.len.0 - skip));
                    }
                    skip -= extent.len.0;
                }
                None
            }
            Self::Interleaved { chunk_size, strips } => {
                let chunk = at.0.checked_div(chunk_size.0)?;
                let count = strips.len() as u64;
                let strip = strips.get(usize::try_from(chunk.checked_rem(count)?).ok()?)?;
                let within = at.0 % chunk_size.0;
                let skip = (chunk / count)
                    .checked_mul(chunk_size.0)?
                    .checked_add(within)?;
                let len = chunk_size.0 - within;
                (skip.checked_add(len)? <= strip.len.0).then(|| run(strip, skip, len))
            }
        }
    }

    /// Where in the file the byte at `at` of the device stands: [`Self::resolve`] the other way
    /// round. `None` where no extent has it, or it is past what the map can hold.
    #[must_use]
    pub fn position(&self, device: DeviceIndex, at: DevOff) -> Option<FileOff> {
        let mut before = 0;
        for (strip, extent) in (0..).zip(self.extents().iter()) {
            let skip = at.0.checked_sub(extent.offset.0);
            let Some(skip) = skip.filter(|&skip| extent.device == device && skip < extent.len.0)
            else {
                before += extent.len.0;
                continue;
            };
            let position = match self {
                Self::Simple(_) => before + skip,
                Self::Interleaved { chunk_size, strips } => {
                    let stripe = skip.checked_div(chunk_size.0)?;
                    let chunk = stripe
                        .checked_mul(strips.len() as u64)?
                        .checked_add(strip)?;
                    chunk.checked_mul(chunk_size.0)? + skip % chunk_size.0
                }
            };
            return (position < self.capacity()).then_some(FileOff(position));
        }
        None
    }

    /// The runs that make up `len` bytes from `at` on, in the file's order, neighbours joined.
    ///
    /// Ends early where the map does.
    pub fn runs(&self, at: FileOff, len: ByteLen) -> impl Iterator<Item = Run> + '_ {
        Runs {
            map: self,
            at: at.0,
            end: at.0.saturating_add(len.0),
        }
    }
}

fn run(extent: &Extent, skip: u64, len: u64) -> Run {
    // No overflow: an extent ends inside its device, which was judged, or planned, before.
    Run {
        device: extent.device,
        offset: DevOff(extent.offset.0.saturating_add(skip)),
        len: ByteLen(len),
    }
}

struct Runs<'a> {
    map: &'a Map,
    at: u64,
    end: u64,
}

impl Iterator for Runs<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let left = self.end.checked_sub(self.at).filter(|&left| left > 0)?;
        let mut joined = self.map.resolve(FileOff(self.at))?;
        while joined.len.0 < left {
            match self.map.resolve(FileOff(self.at + joined.len.0)) {
                Some(next)
                    if next.device == joined.device
                        && next.offset.0 == joined.offset.0 + joined.len.0 =>
                {
                    joined.len.0 += next.len.0;
                }
                _ => break,
            }
        }
        joined.len.0 = joined.len.0.min(left);
        self.at += joined.len.0;
        Some(joined)
    }
}

/// Whether `chunk_size` may stripe a file: a power of two and a multiple of the allocation unit.
#[must_use]
pub const fn chunk_size_is_valid(chunk_size: ByteLen) -> bool {
    chunk_size.0.is_power_of_two() && chunk_size.0 >= ALLOC_UNIT
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const MIB: u64 = 1 << 20;

    fn striped() -> Map {
        let strips: Vec<_> = [100, 300, 200]
            .map(|o| Extent::primary(o * MIB, 6 * MIB))
            .into();
        Map::Interleaved {
            chunk_size: ByteLen(2 * MIB),
            strips: Extents::new(&strips).unwrap(),
        }
    }

    #[test]
    fn chunks_go_to_the_strips_in_turn() {
        let map = striped();
        assert_eq!(map.capacity(), 18 * MIB);
        let at = |off| map.resolve(FileOff(off)).map(|r| (r.offset.0, r.len.0));
        assert_eq!(at(0), Some((100 * MIB, 2 * MIB)));
        assert_eq!(at(2 * MIB + 5), Some((300 * MIB + 5, 2 * MIB - 5)));
        assert_eq!(at(6 * MIB), Some((102 * MIB, 2 * MIB)));
        assert_eq!(at(17 * MIB), Some((205 * MIB, MIB)));
        assert_eq!(at(18 * MIB), None);
        assert_eq!(at(u64::MAX), None);
    }

    #[test]
    fn runs_cover_the_range_and_join_neighbours() {
        let map = Map::Simple(
            Extents::new(&[
                Extent::primary(10 * MIB, 2 * MIB),
                Extent::primary(12 * MIB, 2 * MIB),
                Extent::primary(20 * MIB, 4 * MIB),
            ])
            .unwrap(),
        );
        let runs = |at, len| -> Vec<_> {
            map.runs(FileOff(at), ByteLen(len))
                .map(|r| (r.offset.0, r.len.0))
                .collect()
        };
        assert_eq!(runs(0, 8 * MIB), [(10 * MIB, 4 * MIB), (20 * MIB, 4 * MIB)]);
        assert_eq!(runs(MIB, 4 * MIB), [(11 * MIB, 3 * MIB), (20 * MIB, MIB)]);
        assert_eq!(runs(7 * MIB, 9 * MIB), [(23 * MIB, MIB)]);
        assert_eq!(runs(3, 0), []);
        let total: u64 = striped()
            .runs(FileOff(MIB), ByteLen(10 * MIB))
            .map(|r| r.len.0)
            .sum();
        assert_eq!(total, 10 * MIB);
    }

    #[test]
    fn positions_are_the_inverse_of_runs() {
        let simple = [30, 10, 20].map(|at| Extent::primary(at * MIB, 4 * MIB));
        let maps = [striped(), Map::Simple(Extents::new(&simple).unwrap())];
        for map in maps {
            for at in (0..map.capacity()).step_by(500_009) {
                let run = map.resolve(FileOff(at)).unwrap();
                assert_eq!(map.position(run.device, run.offset), Some(FileOff(at)));
                assert_eq!(map.position(DeviceIndex(1), run.offset), None);
            }
        }
        let at = |map: &Map, at| map.position(DeviceIndex::PRIMARY, DevOff(at));
        assert_eq!(at(&striped(), 99 * MIB), None);
        assert_eq!(at(&striped(), 106 * MIB), None);
        assert_eq!(at(&Map::empty(), 0), None);
        let mut strips = *striped().extents();
        strips.items[2].len = ByteLen(4 * MIB);
        let short = Map::Interleaved {
            chunk_size: ByteLen(2 * MIB),
            strips,
        };
        // Behind the chunk that the short strip can't hold, though the strip itself has room.
        assert_eq!(at(&short, 104 * MIB), Some(FileOff(12 * MIB)));
        assert_eq!(at(&short, 304 * MIB), Some(FileOff(14 * MIB)));
        assert_eq!(at(&short, 204 * MIB), None);
    }

    #[test]
    fn a_short_strip_ends_the_file() {
        let strips = [
            Extent::primary(0, 4 * MIB),
            Extent::primary(8 * MIB, 2 * MIB),
        ];
        let map = Map::Interleaved {
            chunk_size: ByteLen(2 * MIB),
            strips: Extents::new(&strips).unwrap(),
        };
        assert_eq!(map.capacity(), 6 * MIB);
        assert!(map.resolve(FileOff(6 * MIB - 1)).is_some());
        assert!(map.resolve(FileOff(6 * MIB)).is_none());
    }

    #[test]
    fn sixteen_extents_are_the_most() {
        let extents = [Extent::primary(0, 0); 17];
        assert!(Extents::new(&extents[..16]).is_some());
        assert!(Extents::new(&extents).is_none());
    }
}
