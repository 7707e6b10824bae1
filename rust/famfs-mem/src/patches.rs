//! Which parts of a region files were attached to.
//!
//! Owns the answer to whether an access may be made at all: addresses that nothing is attached to
//! are reserved, and touching them is not a memory error but the end of the process.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use crate::memory::{Fault, RegionOff};

/// Ranges by where they begin, with their ends; none touches another of the same kind.
#[derive(Debug, Default)]
struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    fn covers(&self, from: u64, to: u64) -> bool {
        self.0
            .range(..=from)
            .next_back()
            .is_some_and(|(_, end)| *end >= to)
    }

    fn remove(&mut self, from: u64, to: u64) {
        let touched: Vec<_> = self
            .0
            .range(..to)
            .filter(|(_, end)| **end > from)
            .map(|(start, end)| (*start, *end))
            .collect();
        for (start, end) in touched {
            self.0.remove(&start);
            if start < from {
                self.0.insert(start, from);
            }
            if end > to {
                self.0.insert(to, end);
            }
        }
    }

    fn insert(&mut self, from: u64, to: u64) {
        self.remove(from, to);
        let (mut from, mut to) = (from, to);
        if let Some((&start, _)) = self.0.range(..from).next_back().filter(|r| *r.1 == from) {
            self.0.remove(&start);
            from = start;
        }
        if let Some(end) = self.0.remove(&to) {
            to = end;
        }
        self.0.insert(from, to);
    }
}

/// What may be read, and what may be written.
#[derive(Debug, Default)]
struct There {
    readable: Ranges,
    writable: Ranges,
    /// Kernel mappings that were made for them: files' pieces, each one.
    mappings: u64,
}

impl There {
    fn has(&self, from: u64, to: u64, writable: bool) -> bool {
        let ranges = if writable {
            &self.writable
        } else {
            &self.readable
        };
        from == to || ranges.covers(from, to)
    }

    fn remove(&mut self, from: u64, to: u64) {
        self.readable.remove(from, to);
        self.writable.remove(from, to);
    }
}

/// The parts of a region that files were attached to.
#[derive(Debug, Default)]
pub(crate) struct Patches {
    there: RwLock<There>,
    /// How many hold what begins at an offset, for as long as they do: see [`Region::hold`].
    ///
    /// [`Region::hold`]: crate::Region::hold
    pub(crate) holds: Mutex<BTreeMap<u64, usize>>,
}

impl Patches {
    fn read(&self) -> RwLockReadGuard<'_, There> {
        self.there.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, There> {
        self.there.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `place` map a range that is not there yet with these rights, while nobody else changes
    /// what is there. Where it fails the range is gone.
    pub(crate) fn add<E>(
        &self,
        (from, to): (u64, u64),
        writable: bool,
        place: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut there = self.write();
        if there.has(from, to, writable) {
            return Ok(());
        }
        // Two threads may attach the same file: what one may write, the other leaves writable.
        there.remove(from, to);
        place()?;
        there.readable.insert(from, to);
        if writable {
            there.writable.insert(from, to);
        }
        there.mappings += 1;
        Ok(())
    }

    /// Has `clear` take a range away, which nobody accesses from now on.
    pub(crate) fn remove<T>(&self, from: u64, to: u64, clear: impl FnOnce() -> T) -> T {
        let mut there = self.write();
        if there.has(from, to, false) {
            there.mappings = there.mappings.saturating_sub(1);
        }
        there.remove(from, to);
        clear()
    }

    /// Whether a range is there, to be read, or to be written too.
    pub(crate) fn has(&self, from: u64, to: u64, writable: bool) -> bool {
        self.read().has(from, to, writable)
    }

    /// Kernel mappings that what is there may have cost.
    pub(crate) fn mappings(&self) -> u64 {
        self.read().mappings
    }

    /// Refuses an access to what is not there.
    pub(crate) fn check(&self, at: RegionOff, len: u64, writable: bool) -> Result<(), Fault> {
        let to = at.0.saturating_add(len);
        if self.has(at.0, to, writable) {
            return Ok(());
        }
        if writable && self.has(at.0, to, false) {
            return Err(Fault::ReadOnly);
        }
        Err(Fault::Detached { at, len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_equal_a_model() {
        let mut state = 7_u64;
        let mut random = |most: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % most
        };
        let patches = Patches::default();
        let mut model = [(false, false); 64];
        for _ in 0..3000 {
            let from = random(64);
            let to = from + random(64 - from) + 1;
            let (action, writable) = (random(3), random(2) == 0);
            let cells = &mut model[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()];
            match action {
                0 => {
                    patches.remove(from, to, || ());
                    cells.fill((false, false));
                }
                1 => {
                    let had = cells.iter().all(|cell| cell.0 && (cell.1 || !writable));
                    let place = || -> Result<(), ()> {
                        assert!(!had);
                        Ok(())
                    };
                    patches.add((from, to), writable, place).unwrap();
                    if !had {
                        cells.fill((true, writable));
                    }
                }
                _ => {
                    let all = |writable: bool| {
                        cells
                            .iter()
                            .all(|cell| if writable { cell.1 } else { cell.0 })
                    };
                    assert_eq!(patches.has(from, to, false), all(false));
                    assert_eq!(patches.has(from, to, true), all(true));
                }
            }
        }
    }

    #[test]
    fn what_could_not_be_placed_is_not_there() {
        let patches = Patches::default();
        patches.add((0, 10), false, || Ok::<(), ()>(())).unwrap();
        patches.add((0, 10), true, || Err(())).unwrap_err();
        assert!(!patches.has(0, 1, false));
        assert_eq!(patches.mappings(), 1);
    }

    #[test]
    fn what_is_refused_says_why() {
        let patches = Patches::default();
        patches.add((0, 10), false, || Ok::<(), ()>(())).unwrap();
        let check = |at, len, writable| patches.check(RegionOff(at), len, writable);
        assert_eq!(check(0, 10, false), Ok(()));
        assert_eq!(check(3, 0, true), Ok(()));
        assert_eq!(check(0, 10, true), Err(Fault::ReadOnly));
        let at = RegionOff(5);
        assert_eq!(check(5, 6, false), Err(Fault::Detached { at, len: 6 }));
    }
}
