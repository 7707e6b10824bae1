//! The hardware: a memory, and hosts whose caches do what real ones may.
//!
//! Decisions are made as late as they can be told apart. When a line of memory is about to be read
//! or overwritten, it is decided which pending stores of others have reached it by then; when a
//! host reads a line, which of the contents that the line has had since the host last dropped it.
//! That covers eviction and prefetch at any moment, and leaves few enough decisions to try all.
//!
//! Owns the state and these rules. It must not check bounds or count operations.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Counters,
    oracle::{Choice, Oracle},
};

/// The size of a simulated cache line in bytes.
pub const LINE: usize = 64;
const WORDS: usize = LINE / 8;

pub(super) type Line = [u8; LINE];

/// What a line of memory held from some time on.
#[derive(Clone, Copy)]
struct Version {
    since: u64,
    bytes: Line,
}

/// What a host wrote to a line and memory does not have yet.
#[derive(Clone)]
enum Pending {
    /// In its cache: the line after each store, in order, of which the first `due` are on their
    /// way and must have arrived at the next fence.
    Dirty { after: Vec<Line>, due: usize },
    /// In a write buffer: the line, and the words of it that have not arrived.
    Streamed { bytes: Line, words: u8 },
}

/// One host's part of the hardware.
#[derive(Clone, Default)]
pub(super) struct Host {
    pending: BTreeMap<u64, Pending>,
    /// For each line, the time from which on the host may have read it; else `cold_since`.
    seen: BTreeMap<u64, u64>,
    cold_since: u64,
    /// Lines that were invalidated, and when, which may still be read stale before the fence.
    dropping: BTreeMap<u64, u64>,
    pub(super) crashed: bool,
    pub(super) crash_at: Option<u64>,
    pub(super) operations: u64,
    pub(super) counters: Counters,
}

pub(super) struct Model {
    memory: BTreeMap<u64, Vec<Version>>,
    now: u64,
    pub(super) hosts: Vec<Host>,
    /// What crashed hosts had not written: which of it arrived is decided at the first look.
    ghosts: Vec<(usize, u64, Pending)>,
    pub(super) oracle: Box<dyn Oracle>,
    pub(super) tear_words: bool,
    pub(super) tear_pairs: bool,
}

impl Model {
    pub(super) fn new(hosts: usize, oracle: Box<dyn Oracle>) -> Self {
        Self {
            memory: BTreeMap::new(),
            now: 0,
            hosts: vec![Host::default(); hosts],
            ghosts: Vec::new(),
            oracle,
            tear_words: false,
            tear_pairs: false,
        }
    }

    /// Sets what a line holds before anything happens.
    pub(super) fn preset(&mut self, line: u64, bytes: Line) {
        self.memory.insert(line, vec![Version { since: 0, bytes }]);
    }

    fn choose(&mut self, options: usize, why: Choice) -> usize {
        if options < 2 {
            return 0;
        }
        let picked = self.oracle.choose(options, why);
        assert!(
            picked < options,
            "the oracle picked {picked} of {options} options"
        );
        picked
    }

    /// What memory holds.
    fn newest(&self, line: u64) -> Line {
        let versions = self.memory.get(&line).and_then(|versions| versions.last());
        versions.map_or([0; LINE], |version| version.bytes)
    }

    fn put(&mut self, line: u64, bytes: Line) {
        self.now += 1;
        let zeros = || {
            vec![Version {
                since: 0,
                bytes: [0; LINE],
            }]
        };
        let version = Version {
            since: self.now,
            bytes,
        };
        self.memory.entry(line).or_insert_with(zeros).push(version);
    }

    /// Decides what pending stores have reached a line that is about to be used by `except`.
    fn touch(&mut self, line: u64, except: Option<usize>) {
        for host in 0..self.hosts.len() {
            if Some(host) != except
                && let Some(pending) = self.hosts[host].pending.remove(&line)
            {
                let (landed, rest) = self.land_some(host, line, pending);
                if landed {
                    self.hosts[host].seen.insert(line, self.now);
                }
                if let Some(rest) = rest {
                    self.hosts[host].pending.insert(line, rest);
                }
            }
        }
        self.settle_ghosts(Some(line));
    }

    /// Decides for good what crashed hosts had written to a line, or to all.
    fn settle_ghosts(&mut self, only: Option<u64>) {
        let wanted = |ghost: &mut (usize, u64, Pending)| only.is_none_or(|line| line == ghost.1);
        let ghosts: Vec<_> = self.ghosts.extract_if(.., wanted).collect();
        for (host, line, pending) in ghosts {
            // The rest is lost.
            let _ = self.land_some(host, line, pending);
        }
    }

    /// Lets as much land as is decided, and returns whether any did, and what did not.
    fn land_some(&mut self, host: usize, line: u64, pending: Pending) -> (bool, Option<Pending>) {
        match pending {
            Pending::Dirty { mut after, due } => {
                let count = self.choose(after.len() + 1, Choice::Landed { host, line });
                if count > 0 {
                    self.put(line, after[count - 1]);
                    after.drain(..count);
                }
                let due = due.saturating_sub(count);
                let rest = (!after.is_empty()).then_some(Pending::Dirty { after, due });
                (count > 0, rest)
            }
            Pending::Streamed { bytes, words } => {
                let why = Choice::Streamed { host, line };
                let landed = if self.tear_words {
                    let set = self.choose(1 << words.count_ones(), why);
                    spread(set, words)
                } else {
                    words * u8::from(self.choose(2, why) == 1)
                };
                self.put_words(line, &bytes, landed);
                let words = words & !landed;
                (
                    landed != 0,
                    (words != 0).then_some(Pending::Streamed { bytes, words }),
                )
            }
        }
    }

    fn put_words(&mut self, line: u64, bytes: &Line, words: u8) {
        if words != 0 {
            let mut merged = self.newest(line);
            for word in (0..WORDS).filter(|word| words & (1 << word) != 0) {
                merged[word * 8..][..8].copy_from_slice(&bytes[word * 8..][..8]);
            }
            self.put(line, merged);
        }
    }

    /// Lets everything of a line land that must: what is due, or all of it.
    fn land(&mut self, host: usize, line: u64, all: bool) {
        let Some(pending) = self.hosts[host].pending.remove(&line) else {
            return;
        };
        let rest = match pending {
            Pending::Dirty { mut after, due } => {
                let count = if all { after.len() } else { due };
                if count > 0 {
                    self.touch(line, Some(host));
                    self.put(line, after[count - 1]);
                    after.drain(..count);
                    self.hosts[host].seen.insert(line, self.now);
                }
                (!after.is_empty()).then_some(Pending::Dirty { after, due: 0 })
            }
            Pending::Streamed { bytes, words } => {
                self.touch(line, Some(host));
                self.put_words(line, &bytes, words);
                self.hosts[host].seen.insert(line, self.now);
                None
            }
        };
        if let Some(rest) = rest {
            self.hosts[host].pending.insert(line, rest);
        }
    }

    fn seen_since(&self, host: usize, line: u64) -> u64 {
        let host = &self.hosts[host];
        host.seen.get(&line).copied().unwrap_or(host.cold_since)
    }

    /// What a host reads in a line.
    pub(super) fn load(&mut self, host: usize, line: u64) -> Line {
        match self.hosts[host].pending.get(&line) {
            Some(Pending::Dirty { after, .. }) => {
                return *after.last().expect("a dirty line was stored to");
            }
            Some(Pending::Streamed { .. }) => self.land(host, line, true),
            None => {}
        }
        self.touch(line, None);
        let since = self.seen_since(host, line);
        let Some(versions) = self.memory.get(&line) else {
            return [0; LINE];
        };
        let oldest = versions
            .iter()
            .rposition(|version| version.since <= since)
            .unwrap_or(0);
        // Of equal contents the newest stands for all: it leaves the fewest older ones to see.
        let mut distinct = BTreeSet::new();
        let mut options: Vec<Version> = versions[oldest..]
            .iter()
            .rev()
            .filter(|version| distinct.insert(version.bytes))
            .copied()
            .collect();
        options.reverse();
        let picked = options[self.choose(options.len(), Choice::Seen { host, line })];
        self.hosts[host].seen.insert(line, picked.since.max(since));
        picked.bytes
    }

    /// Stores to a part of a line, at once.
    pub(super) fn store(&mut self, host: usize, line: u64, at: usize, bytes: &[u8]) {
        let mut contents = if bytes.len() == LINE && !self.is_pending(host, line) {
            [0; LINE]
        } else {
            self.load(host, line)
        };
        contents[at..at + bytes.len()].copy_from_slice(bytes);
        let fresh = || Pending::Dirty {
            after: Vec::new(),
            due: 0,
        };
        match self.hosts[host].pending.entry(line).or_insert_with(fresh) {
            Pending::Dirty { after, .. } => after.push(contents),
            Pending::Streamed { .. } => unreachable!("loading the line let it land"),
        }
    }

    fn is_pending(&self, host: usize, line: u64) -> bool {
        self.hosts[host].pending.contains_key(&line)
    }

    /// Streams a whole line.
    pub(super) fn stream(&mut self, host: usize, line: u64, bytes: Line) {
        match self.hosts[host].pending.remove(&line) {
            // A streaming store drops the line from its own cache first.
            Some(dirty @ Pending::Dirty { .. }) => {
                self.hosts[host].pending.insert(line, dirty);
                self.land(host, line, true);
            }
            // Whether what it replaces in the buffer had left is decided now.
            Some(earlier @ Pending::Streamed { .. }) => {
                let _ = self.land_some(host, line, earlier);
            }
            None => {}
        }
        let streamed = Pending::Streamed {
            bytes,
            words: u8::MAX,
        };
        self.hosts[host].pending.insert(line, streamed);
    }

    /// Sends a line on its way, if it is dirty.
    pub(super) fn write_back(&mut self, host: usize, line: u64) {
        if let Some(Pending::Dirty { after, due }) = self.hosts[host].pending.get_mut(&line) {
            *due = after.len();
        }
    }

    /// Drops a line, after it was written back if it is dirty. Done at the fence.
    pub(super) fn invalidate(&mut self, host: usize, line: u64) {
        self.touch(line, Some(host));
        self.write_back(host, line);
        let now = self.now;
        self.hosts[host].dropping.insert(line, now);
    }

    pub(super) fn fence_stores(&mut self, host: usize) {
        for line in self.pending_lines(host) {
            self.land(host, line, false);
        }
    }

    pub(super) fn fence_invalidate(&mut self, host: usize) {
        for (line, dropped) in std::mem::take(&mut self.hosts[host].dropping) {
            self.land(host, line, false);
            // It may have been fetched again right after it was dropped.
            let since = self.seen_since(host, line).max(dropped);
            self.hosts[host].seen.insert(line, since);
        }
    }

    fn pending_lines(&self, host: usize) -> Vec<u64> {
        self.hosts[host].pending.keys().copied().collect()
    }

    pub(super) fn crash(&mut self, host: usize) {
        let state = &mut self.hosts[host];
        state.crashed = true;
        let lost = std::mem::take(&mut state.pending);
        self.ghosts.extend(
            lost.into_iter()
                .map(|(line, pending)| (host, line, pending)),
        );
    }

    /// Starts a crashed host again, with cold caches.
    pub(super) fn restart(&mut self, host: usize) {
        self.settle_ghosts(None);
        let now = self.now;
        let state = &mut self.hosts[host];
        state.seen.clear();
        state.dropping.clear();
        (state.cold_since, state.crashed, state.crash_at) = (now, false, None);
    }

    /// What memory holds of a line once it is decided what crashed hosts had written.
    pub(super) fn persisted(&mut self, line: u64) -> Line {
        self.settle_ghosts(Some(line));
        self.newest(line)
    }
}

/// The bits of `within` that a number counting their subsets stands for.
fn spread(subset: usize, within: u8) -> u8 {
    let bits = (0..8).filter(|bit| within & (1 << bit) != 0);
    bits.enumerate().fold(0, |set, (place, bit)| {
        if subset & (1 << place) == 0 {
            set
        } else {
            set | (1 << bit)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsets_are_spread_over_the_bits() {
        assert_eq!(spread(0, 0xFF), 0);
        assert_eq!(spread(0xFF, 0xFF), 0xFF);
        assert_eq!(spread(0b11, 0b1010_0000), 0b1010_0000);
        assert_eq!(spread(0b10, 0b1010_0000), 0b1000_0000);
    }
}
