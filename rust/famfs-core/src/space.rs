//! The space of the primary device: which allocation units are taken, and where to find free ones.
//!
//! Owns the bitmap. What the log has allocated is entered once, entry by entry, and never rebuilt;
//! what is promised to reservations is kept beside it and forgotten with them.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

use fixedbitset::FixedBitSet;

use crate::extent::{Extent, Extents, Map, chunk_size_is_valid};
use crate::media::{MAX_BUCKETS, MAX_EXTENTS};
use crate::units::{ALLOC_UNIT, ByteLen};

/// Why no space was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpaceError {
    /// No free range is long enough.
    #[error("{wanted} bytes in one piece wanted; {free} are free, {largest} in the largest piece")]
    Full {
        /// Bytes wanted in one piece.
        wanted: u64,
        /// Bytes that are neither allocated nor reserved.
        free: u64,
        /// Bytes of the largest free piece.
        largest: u64,
    },
    /// The device has not enough buckets with room for a strip.
    #[error("{strips} strips of {wanted} bytes in different buckets wanted, {found} found")]
    NoBuckets {
        /// Strips wanted.
        strips: usize,
        /// Bytes of a strip.
        wanted: u64,
        /// Buckets with room for one.
        found: usize,
    },
    /// A file that has as many pieces as an entry can name can't grow where it ends.
    #[error(
        "{wanted} bytes more wanted; the file has {MAX_EXTENTS} pieces, the most that it can have, and what \
         follows the last one is taken"
    )]
    Pieces {
        /// Bytes wanted in one piece.
        wanted: u64,
    },
    /// A way of interleaving that the format doesn't have.
    #[error(
        "{strips} strips over {buckets} buckets in chunks of {chunk_size} bytes: 1 to 16 strips, \
         no more than there are buckets, 64 buckets at most, and chunks of a power of two and a \
         multiple of 2 MiB expected"
    )]
    Interleave {
        /// Strips wanted.
        strips: usize,
        /// Buckets wanted.
        buckets: u64,
        /// Bytes of a chunk.
        chunk_size: u64,
    },
}

/// How a file's bytes are to be laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// In one extent.
    #[default]
    Contiguous,
    /// In chunks over strips, each in another bucket of the device; a file smaller than one chunk
    /// is one extent.
    Interleaved {
        /// The number of strips.
        strips: usize,
        /// The number of equal buckets that the device is cut into.
        buckets: u64,
        /// Bytes of a chunk.
        chunk_size: ByteLen,
    },
}

/// The units of a device.
#[derive(Clone, Debug)]
pub struct Space {
    units: usize,
    /// Allocated by the log, or part of the superblock or the log.
    taken: FixedBitSet,
    taken_units: u64,
    /// Promised to reservations.
    held: FixedBitSet,
    holds: Vec<Range<usize>>,
    /// Where the last allocation ended: the next one is looked for from here.
    cursor: usize,
    /// The same within each bucket, by the number of buckets; and the bucket to begin with.
    buckets: BTreeMap<usize, Buckets>,
}

#[derive(Clone, Debug)]
struct Buckets {
    cursors: Vec<usize>,
    next: usize,
}

fn unit(offset: u64) -> usize {
    // Devices are bounded by MAX_DEVICE: 2^29 units.
    usize::try_from(offset / ALLOC_UNIT).unwrap_or(usize::MAX)
}

fn bytes(units: usize) -> u64 {
    units as u64 * ALLOC_UNIT
}

impl Space {
    /// A device of `size` bytes whose first `used` bytes hold superblock and log.
    pub(crate) fn new(size: ByteLen, used: u64) -> Self {
        let units = unit(size.0);
        let first = unit(used).min(units);
        let mut taken = FixedBitSet::with_capacity(units);
        taken.insert_range(..first);
        Self {
            units,
            taken,
            taken_units: first as u64,
            held: FixedBitSet::with_capacity(units),
            holds: Vec::new(),
            cursor: first,
            buckets: BTreeMap::new(),
        }
    }

    /// Bytes of the device, in whole units.
    #[must_use]
    pub fn capacity(&self) -> ByteLen {
        ByteLen(bytes(self.units))
    }

    /// Bytes that superblock, log and files have, dead files too.
    #[must_use]
    pub fn allocated(&self) -> ByteLen {
        ByteLen(self.taken_units * ALLOC_UNIT)
    }

    fn range(&self, extent: &Extent) -> Range<usize> {
        let start = unit(extent.offset.0).min(self.units);
        let end = start.saturating_add(unit(extent.len.0)).min(self.units);
        start..end
    }

    pub(crate) fn is_taken(&self, extent: &Extent) -> bool {
        let range = self.range(extent);
        self.taken.contains_any_in_range(range)
    }

    /// Enters an extent that the log allocates.
    pub(crate) fn take(&mut self, extent: &Extent) {
        let range = self.range(extent);
        self.taken_units += range.len() as u64;
        self.cursor = range.end;
        self.taken.insert_range(range);
    }

    /// Keeps exactly `extents` from being handed out: what reservations hold now.
    pub fn hold<'a>(&mut self, extents: impl IntoIterator<Item = &'a Extent>) {
        for range in self.holds.drain(..) {
            self.held.remove_range(range);
        }
        for extent in extents {
            let range = self.range(extent);
            self.held.insert_range(range.clone());
            self.holds.push(range);
        }
    }

    /// Keeps one more extent from being handed out.
    fn hold_also(&mut self, range: Range<usize>) {
        self.held.insert_range(range.clone());
        self.holds.push(range);
    }

    /// Finds room for a file of `size` bytes, and holds it.
    ///
    /// # Errors
    /// [`SpaceError`], with nothing held.
    pub fn allocate(&mut self, size: ByteLen, layout: Layout) -> Result<Map, SpaceError> {
        if size.0 == 0 {
            return Ok(Map::empty());
        }
        match layout {
            Layout::Interleaved {
                strips,
                buckets,
                chunk_size,
            } => {
                let valid = (1..=MAX_EXTENTS).contains(&strips)
                    && (strips as u64..=MAX_BUCKETS).contains(&buckets)
                    && chunk_size_is_valid(chunk_size);
                if !valid {
                    let chunk_size = chunk_size.0;
                    return Err(SpaceError::Interleave {
                        strips,
                        buckets,
                        chunk_size,
                    });
                }
                if size < chunk_size {
                    self.extend(&Map::empty(), size, size)
                } else {
                    // Not more than MAX_BUCKETS.
                    let buckets = usize::try_from(buckets).unwrap_or(usize::MAX);
                    self.allocate_strips(size, strips, buckets, chunk_size)
                }
            }
            Layout::Contiguous => self.extend(&Map::empty(), size, size),
        }
    }

    /// Finds more room for a file that lies in `map`, and holds it: `want` bytes, or fewer where no
    /// piece has so many, but at least `need`. Right behind the file's last piece where that is
    /// free, else in a piece of its own.
    ///
    /// # Errors
    /// [`SpaceError`], with nothing more held; a file in strips has no end to grow at.
    pub fn extend(&mut self, map: &Map, need: ByteLen, want: ByteLen) -> Result<Map, SpaceError> {
        let pieces = SpaceError::Pieces { wanted: need.0 };
        let Map::Simple(extents) = map else {
            return Err(pieces);
        };
        let units = |len: ByteLen| usize::try_from(len.units()).unwrap_or(usize::MAX);
        let wanted = need.to_whole_units().map_or(u64::MAX, |len| len.0);
        let (need, want) = (units(need), units(want.max(need)));
        let (start, len, joins) = match extents.last().map(|last| self.range(last).end) {
            Some(end) if self.run_at(end, want) >= need => (end, self.run_at(end, want), true),
            _ if extents.len() == MAX_EXTENTS => return Err(pieces),
            _ => {
                let mut len = want;
                let mut found = self.find(len);
                if found.is_none() && want > need {
                    len = unit(self.largest_free().0).max(need);
                    found = self.find(len);
                }
                (found.ok_or_else(|| self.full(wanted))?, len, false)
            }
        };
        let mut items = extents.to_vec();
        match items.last_mut().filter(|_| joins) {
            Some(last) => last.len.0 += bytes(len),
            None => items.push(Extent::primary(bytes(start), bytes(len))),
        }
        let extents = Extents::new(&items).ok_or(pieces)?;
        self.cursor = start + len;
        self.hold_also(start..start + len);
        Ok(Map::Simple(extents))
    }

    /// How many units are free in a row from `start` on, up to `most`.
    fn run_at(&self, start: usize, most: usize) -> usize {
        let end = start.saturating_add(most).min(self.units);
        self.next_used(start, end)
            .unwrap_or(end)
            .saturating_sub(start)
    }

    fn full(&self, wanted: u64) -> SpaceError {
        SpaceError::Full {
            wanted,
            free: self.free().0,
            largest: self.largest_free().0,
        }
    }

    /// Where so many units are free in a row: from where the last allocation ended, or anywhere.
    fn find(&mut self, want: usize) -> Option<usize> {
        self.step_back();
        self.find_free(want, self.cursor..self.units)
            .or_else(|| self.find_free(want, 0..self.units))
    }

    /// Takes the cursor back over what is free right before it: space of a reservation that was given
    /// up. Otherwise a gap of its size would stay, and the next file cut what is free in two.
    fn step_back(&mut self) {
        const BITS: usize = usize::BITS as usize;
        let mut at = self.cursor.min(self.units);
        while at > 0 {
            // The units of this word that lie before `at`, the last one in the highest bit.
            let bits = (at - 1) % BITS + 1;
            let word = self.word((at - 1) / BITS) << (BITS - bits);
            let free = (word.leading_zeros() as usize).min(bits);
            at -= free;
            if free < bits {
                break;
            }
        }
        self.cursor = at;
    }

    /// One strip in each of `strips` buckets; the buckets are taken in turn, so that files spread
    /// over all of them.
    fn allocate_strips(
        &mut self,
        size: ByteLen,
        strips: usize,
        buckets: usize,
        chunk_size: ByteLen,
    ) -> Result<Map, SpaceError> {
        let rows = size.0.div_ceil(chunk_size.0).div_ceil(strips as u64);
        let wanted = rows.saturating_mul(chunk_size.0);
        let want = unit(wanted);
        let bucket_units = self.units / buckets;
        let state = self.buckets.entry(buckets).or_insert_with(|| Buckets {
            cursors: (0..buckets).map(|bucket| bucket * bucket_units).collect(),
            next: 0,
        });
        let (cursors, first) = (state.cursors.clone(), state.next);
        let mut found = Vec::with_capacity(strips);
        for bucket in (0..buckets).map(|k| (first + k) % buckets) {
            let range = bucket * bucket_units..(bucket + 1) * bucket_units;
            let room = self
                .find_free(want, cursors[bucket]..range.end)
                .or_else(|| self.find_free(want, range));
            found.extend(room.map(|start| (bucket, start)));
            if found.len() == strips {
                break;
            }
        }
        let no_buckets = SpaceError::NoBuckets {
            strips,
            wanted,
            found: found.len(),
        };
        let (true, Some(&(last, _))) = (found.len() == strips, found.last()) else {
            return Err(no_buckets);
        };
        let mut extents = Extents::default();
        for &(bucket, start) in &found {
            extents
                .push(Extent::primary(bytes(start), bytes(want)))
                .ok_or(no_buckets)?;
            self.hold_also(start..start + want);
            if let Some(state) = self.buckets.get_mut(&buckets) {
                state.cursors[bucket] = start + want;
                state.next = (last + 1) % buckets;
            }
        }
        Ok(Map::Interleaved {
            chunk_size,
            strips: extents,
        })
    }

    /// Where `want` units are free in a row within `range`, the first such place.
    fn find_free(&self, want: usize, range: Range<usize>) -> Option<usize> {
        let mut start = range.start;
        loop {
            start = self.next_free(start, range.end)?;
            let end = start.checked_add(want).filter(|&end| end <= range.end)?;
            match self.next_used(start, end) {
                None => return Some(start),
                Some(used) => start = used + 1,
            }
        }
    }

    fn word(&self, at: usize) -> usize {
        let word = |bits: &FixedBitSet| bits.as_slice().get(at).copied().unwrap_or(0);
        word(&self.taken) | word(&self.held)
    }

    /// The first unit from `from` on, before `end`, of those that `used` asks for.
    fn scan(&self, from: usize, end: usize, used: bool) -> Option<usize> {
        const BITS: usize = usize::BITS as usize;
        let mut at = from;
        while at < end {
            let word = if used {
                self.word(at / BITS)
            } else {
                !self.word(at / BITS)
            };
            let rest = word >> (at % BITS);
            if rest != 0 {
                let hit = at + rest.trailing_zeros() as usize;
                return (hit < end).then_some(hit);
            }
            at = (at / BITS + 1) * BITS;
        }
        None
    }

    fn next_free(&self, from: usize, end: usize) -> Option<usize> {
        self.scan(from, end, false)
    }

    fn next_used(&self, from: usize, end: usize) -> Option<usize> {
        self.scan(from, end, true)
    }

    /// Bytes that are neither allocated nor reserved. Counts all units: for reports and errors.
    #[must_use]
    pub fn free(&self) -> ByteLen {
        let free: usize = self.free_runs().map(|run| run.len()).sum();
        ByteLen(bytes(free))
    }

    /// Bytes of the longest free piece. Counts all units: for reports and errors.
    #[must_use]
    pub fn largest_free(&self) -> ByteLen {
        ByteLen(bytes(
            self.free_runs().map(|run| run.len()).max().unwrap_or(0),
        ))
    }

    fn free_runs(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut at = 0;
        core::iter::from_fn(move || {
            let start = self.next_free(at, self.units)?;
            at = self.next_used(start, self.units).unwrap_or(self.units);
            Some(start..at)
        })
    }
}

#[cfg(test)]
#[path = "space_tests.rs"]
mod tests;
