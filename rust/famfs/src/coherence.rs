//! The protocol: in which order stores, write-backs, fences and invalidations reach shared memory.
//!
//! This is the only place that orders them. It speaks to [`Memory`], so that the same calls run on
//! a real mapping and on simulated hosts with private caches, where every crash and every reader's
//! moment can be tried.
//!
//! Two localities: in a *local* volume one host's caches see all, so nothing is written back or
//! dropped; the fences stay, since they order stores for the other processes too. In a *shared*
//! one every line that another host shall see is written back, and every line that another host
//! may have written is dropped before it is read.

use famfs_core::append::Batch;
use famfs_core::header::Counters;
use famfs_core::media::{COUNTERS_OFFSET, LOG_HEADER_LEN, LOG_OFFSET, SUPERBLOCK_LEN};
use famfs_core::units::DevOff;
use famfs_mem::{Fault, Memory, RegionOff};

/// Bytes of the superblock, and of the log, that tell whether anything has changed: one line each.
pub(crate) const FIRST_LINE: usize = 64;

/// Fresh reads of counters that differ, before they are taken to be so.
const DOUBTS: usize = 64;

/// Shorter pieces go through the cache: a stream's alignment would cost more than it saves.
const STREAM_FROM: usize = 4096;

/// Whose caches see a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locality {
    /// One host's: nothing is flushed or invalidated.
    Local,
    /// Several hosts': lines are written back and dropped as the protocol says.
    Shared,
}

/// What two lines say of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pulse {
    /// The superblock's first line: which volume this is, and its geometry.
    pub(crate) identity: [u8; FIRST_LINE],
    /// The log header up to its counters, which never changes.
    pub(crate) header: [u8; COUNTERS_OFFSET],
    /// How far the log goes.
    pub(crate) counters: Counters,
}

/// The calls of the protocol on one volume's memory.
#[derive(Debug)]
pub(crate) struct Coherence<M> {
    memory: M,
    locality: Locality,
}

const LOG: RegionOff = RegionOff(LOG_OFFSET);
const COUNTERS: RegionOff = RegionOff(LOG_OFFSET + COUNTERS_OFFSET as u64);

impl<M: Memory> Coherence<M> {
    pub(crate) fn new(memory: M, locality: Locality) -> Self {
        Self { memory, locality }
    }

    pub(crate) fn locality(&self) -> Locality {
        self.locality
    }

    fn write_back(&self, at: RegionOff, len: u64) -> Result<(), Fault> {
        if self.locality == Locality::Shared {
            self.memory.write_back(at, len)?;
        }
        Ok(())
    }

    /// Drops ranges from this host's caches, so that the next loads come from memory.
    fn freshen(&self, ranges: &[(RegionOff, u64)]) -> Result<(), Fault> {
        if self.locality == Locality::Shared {
            for &(at, len) in ranges {
                self.memory.invalidate(at, len)?;
            }
        }
        // In a local volume too: counters are loaded before the entries that they count.
        self.memory.fence_invalidate();
        Ok(())
    }

    /// Reads the two lines that tell whether anything has changed.
    pub(crate) fn pulse(&self) -> Result<Pulse, Fault> {
        let mut identity = [0; FIRST_LINE];
        let mut header = [0; COUNTERS_OFFSET];
        self.freshen(&[
            (RegionOff(0), FIRST_LINE as u64),
            (LOG, LOG_HEADER_LEN as u64),
        ])?;
        self.memory.load(RegionOff(0), &mut identity)?;
        self.memory.load(LOG, &mut header)?;
        let mut counters = Counters::from_pair(self.memory.load_pair(COUNTERS)?);
        for _ in 0..DOUBTS {
            if counters.agree() {
                break;
            }
            // Perhaps the pair was read while it was written: only what stays so is a finding.
            self.freshen(&[(COUNTERS, 16)])?;
            counters = Counters::from_pair(self.memory.load_pair(COUNTERS)?);
        }
        // What the counters count is loaded after them.
        self.memory.fence_invalidate();
        Ok(Pulse {
            identity,
            header,
            counters,
        })
    }

    /// Reads bytes of the log afresh: entries that the counters were seen to count.
    pub(crate) fn read_log(&self, offset: u64, into: &mut [u8]) -> Result<(), Fault> {
        let at = RegionOff(LOG_OFFSET.saturating_add(offset));
        self.freshen(&[(at, into.len() as u64)])?;
        self.memory.load(at, into)
    }

    /// Reads the whole superblock afresh.
    pub(crate) fn read_superblock(&self) -> Result<[u8; SUPERBLOCK_LEN], Fault> {
        let mut bytes = [0; SUPERBLOCK_LEN];
        self.freshen(&[(RegionOff(0), SUPERBLOCK_LEN as u64)])?;
        self.memory.load(RegionOff(0), &mut bytes)?;
        Ok(bytes)
    }

    /// Writes file data that no log entry names yet. When it returns the data has left this
    /// thread: no other thread's fence can vouch for it.
    pub(crate) fn put_data(&self, at: DevOff, bytes: &[u8], threads: usize) -> Result<(), Fault> {
        let at = RegionOff(at.0);
        if bytes.len() >= STREAM_FROM {
            self.memory.stream(at, bytes, threads)
        } else {
            self.memory.store(at, bytes)?;
            self.write_back(at, bytes.len() as u64)?;
            self.memory.fence_stores();
            Ok(())
        }
    }

    /// As [`Self::put_data`] with this thread, which shows the bytes on the way, in order.
    pub(crate) fn put_data_seen(
        &self,
        at: DevOff,
        bytes: &[u8],
        seen: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Fault> {
        if bytes.len() >= STREAM_FROM {
            return self.memory.stream_seen(RegionOff(at.0), bytes, seen);
        }
        seen(bytes);
        self.put_data(at, bytes, 1)
    }

    /// Writes zeros as [`Self::put_data`] writes bytes.
    pub(crate) fn zero_data(&self, at: DevOff, len: u64, threads: usize) -> Result<(), Fault> {
        self.memory.zero(RegionOff(at.0), len, threads)
    }

    /// Touches file data that is about to be written in place, where memory that was cut off shows.
    pub(crate) fn probe_data(&self, runs: &[(DevOff, u64)]) -> Result<(), Fault> {
        let last = |&(at, len): &(DevOff, u64)| Some(RegionOff(at.0 + len.checked_sub(1)?));
        let mut touched = runs.iter().filter_map(last);
        touched.try_for_each(|at| self.memory.load(at, &mut [0]))
    }

    /// Makes file data that others stored in place, and store no more, leave this host, before a
    /// log entry names it.
    pub(crate) fn settle_data(&self, runs: &[(DevOff, u64)]) -> Result<(), Fault> {
        for &(at, len) in runs {
            self.write_back(RegionOff(at.0), len)?;
        }
        self.memory.fence_stores();
        // In a local volume nothing else notices that the memory was lost meanwhile.
        self.probe_data(runs)
    }

    /// Makes file data, which a log entry seen before names, safe to be read through a mapping.
    pub(crate) fn acquire_data(
        &self,
        runs: impl Iterator<Item = (DevOff, u64)>,
    ) -> Result<(), Fault> {
        if self.locality == Locality::Shared {
            for (at, len) in runs {
                self.memory.invalidate(RegionOff(at.0), len)?;
            }
            self.memory.fence_invalidate();
        }
        Ok(())
    }

    /// Copies file data out afresh, which a log entry seen before names: only its lines.
    pub(crate) fn read_data(&self, at: DevOff, into: &mut [u8]) -> Result<(), Fault> {
        self.freshen(&[(RegionOff(at.0), into.len() as u64)])?;
        self.memory.load(RegionOff(at.0), into)
    }

    /// Writes back and drops lines on request, whatever the locality; how many there were.
    pub(crate) fn flush(&self, at: DevOff, len: u64) -> Result<u64, Fault> {
        let lines = self.memory.write_back(RegionOff(at.0), len)?;
        self.memory.fence_stores();
        self.memory.invalidate(RegionOff(at.0), len)?;
        self.memory.fence_invalidate();
        Ok(lines)
    }

    /// Appends entries: all or none, whenever this host or its caches stop.
    ///
    /// The data that the entries name was put before, by threads that fenced their own stores. The
    /// entries are durable before the counters count them; the counters' one store is the commit.
    pub(crate) fn append(&self, batch: &Batch) -> Result<(), Fault> {
        let at = RegionOff(LOG_OFFSET.saturating_add(batch.offset()));
        self.memory.fence_stores();
        self.memory.store(at, batch.bytes())?;
        self.write_back(at, batch.bytes().len() as u64)?;
        self.memory.fence_stores();
        self.memory
            .store_pair(COUNTERS, batch.counters().to_pair())?;
        self.write_back(COUNTERS, 16)?;
        self.memory.fence_stores();
        Ok(())
    }

    /// Makes a volume where another may be: whoever looks sees the old one, none, or the new one.
    ///
    /// `log` clears the log, header excepted, where that is not done yet.
    pub(crate) fn format(
        &self,
        superblock: &[u8; SUPERBLOCK_LEN],
        header: &[u8; LOG_HEADER_LEN],
        clear: Option<u64>,
    ) -> Result<(), Fault> {
        let first = RegionOff(0);
        // The old volume goes: without its first line a superblock is none.
        self.memory.store(first, &[0; FIRST_LINE])?;
        self.write_back(first, FIRST_LINE as u64)?;
        self.memory.fence_stores();
        if let Some(log_len) = clear {
            self.memory.zero(LOG, log_len, 1)?;
        }
        self.memory.store(LOG, header)?;
        self.write_back(LOG, LOG_HEADER_LEN as u64)?;
        self.memory.fence_stores();
        // The new one comes: its first line, with the magic number, last.
        let rest = RegionOff(FIRST_LINE as u64);
        self.memory.store(rest, &superblock[FIRST_LINE..])?;
        self.write_back(rest, (SUPERBLOCK_LEN - FIRST_LINE) as u64)?;
        self.memory.fence_stores();
        self.memory.store(first, &superblock[..FIRST_LINE])?;
        self.write_back(first, FIRST_LINE as u64)?;
        self.memory.fence_stores();
        Ok(())
    }
}

#[cfg(test)]
#[path = "coherence_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "coherence_sequence_tests.rs"]
mod sequence_tests;

#[cfg(test)]
#[path = "coherence_count_tests.rs"]
mod count_tests;
