//! Memory that simulated hosts share, each with a private cache: the only evidence about flushes.
//!
//! Processes on one machine, and virtual machines on one host, are cache-coherent: whatever they
//! forget to flush or to invalidate works there. Here it does not. A store stays in its host's
//! cache until it is written back and fenced, or lands at any moment before; a line that was read,
//! or prefetched without being asked for, stays stale until it is invalidated and fenced; a dirty
//! line goes to memory whole and takes its neighbours' old bytes along; and a crash keeps any part
//! of what was not fenced. An [`Oracle`] decides wherever hardware may, and an [`Explorer`] tries
//! all decisions.
//!
//! The contract of [`Memory`] is what is simulated, not one processor: a fence does what its
//! documentation says and no more, and what was streamed is pending until
//! [`fence_stores`](Memory::fence_stores), although real streams fence themselves.
//!
//! ```
//! use famfs_mem::{Memory, RegionOff, sim::SimMemory};
//!
//! let sim = SimMemory::new(4096, 2);
//! let (writer, reader) = (sim.host(0), sim.host(1));
//! writer.store(RegionOff(0), b"news").unwrap();
//! writer.write_back(RegionOff(0), 4).unwrap();
//! writer.fence_stores();
//!
//! let mut bytes = [0; 4];
//! reader.load(RegionOff(0), &mut bytes).unwrap();
//! assert_eq!(bytes, [0; 4], "prefetched before");
//! reader.invalidate(RegionOff(0), 4).unwrap();
//! reader.fence_invalidate();
//! reader.load(RegionOff(0), &mut bytes).unwrap();
//! assert_eq!(&bytes, b"news");
//! ```

mod model;
mod oracle;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use self::model::{Line, Model};
pub use self::{
    model::LINE,
    oracle::{Choice, Counterexample, Eager, Explored, Explorer, Lazy, Oracle, Random, Scripted},
};
use crate::memory::{Fault, Memory, RegionOff, check, check_pair};

/// What a simulated host did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Lines handed to write-backs.
    pub lines_written_back: u64,
    /// Lines handed to invalidations.
    pub lines_invalidated: u64,
    /// Fences after stores.
    pub store_fences: u64,
    /// Fences after invalidations.
    pub invalidate_fences: u64,
    /// Bytes streamed, zeros too.
    pub bytes_streamed: u64,
    /// Bytes stored otherwise.
    pub bytes_stored: u64,
}

/// A memory that simulated hosts share.
#[derive(Clone)]
pub struct SimMemory {
    model: Arc<Mutex<Model>>,
    len: u64,
}

/// The memory as one of the hosts has it.
#[derive(Clone)]
pub struct SimHost {
    memory: SimMemory,
    host: usize,
}

impl fmt::Debug for SimMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimMemory")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SimHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimHost")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl SimMemory {
    /// A memory of zeros, with [`Lazy`] hardware.
    #[must_use]
    pub fn new(len: u64, hosts: usize) -> Self {
        Self::with_oracle(len, hosts, Box::new(Lazy))
    }

    /// A memory of zeros.
    #[must_use]
    pub fn with_oracle(len: u64, hosts: usize, oracle: Box<dyn Oracle>) -> Self {
        Self {
            model: Arc::new(Mutex::new(Model::new(hosts, oracle))),
            len,
        }
    }

    /// A memory that holds these bytes before anybody looked at it.
    #[must_use]
    pub fn with_image(image: &[u8], hosts: usize, oracle: Box<dyn Oracle>) -> Self {
        let memory = Self::with_oracle(image.len() as u64, hosts, oracle);
        let mut model = memory.model();
        for (number, bytes) in (0..).zip(image.chunks(LINE)) {
            let mut line = [0; LINE];
            line[..bytes.len()].copy_from_slice(bytes);
            if line != [0; LINE] {
                model.preset(number, line);
            }
        }
        drop(model);
        memory
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        // A panicking test must not hide its reason behind a second panic.
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of the hosts.
    ///
    /// # Panics
    /// Where there are not that many.
    #[must_use]
    pub fn host(&self, host: usize) -> SimHost {
        assert!(host < self.model().hosts.len(), "there is no host {host}");
        SimHost {
            memory: self.clone(),
            host,
        }
    }

    /// Lets another oracle decide from now on.
    pub fn set_oracle(&self, oracle: Box<dyn Oracle>) {
        self.model().oracle = oracle;
    }

    /// Whether a line may go to memory between the words of one store, and a streamed one word by
    /// word. Otherwise it goes between calls, and whole.
    pub fn tear_words(&self, tear: bool) {
        self.model().tear_words = tear;
    }

    /// Whether a line may go to memory between the halves of a pair.
    pub fn tear_pairs(&self, tear: bool) {
        self.model().tear_pairs = tear;
    }

    /// How many operations a host has done, fences among them.
    #[must_use]
    pub fn ops(&self, host: usize) -> u64 {
        self.model().hosts[host].operations
    }

    /// Lets a host do `operations` in all, and crash at the next: that one and all after it fail
    /// with [`Fault::Crashed`].
    pub fn set_crash_after(&self, host: usize, operations: u64) {
        self.model().hosts[host].crash_at = Some(operations);
    }

    /// Crashes a host. Each line that it had not fenced is lost or has landed.
    pub fn crash(&self, host: usize) {
        self.model().crash(host);
    }

    /// Whether a host has crashed.
    #[must_use]
    pub fn has_crashed(&self, host: usize) -> bool {
        self.model().hosts[host].crashed
    }

    /// Starts a crashed host again, with cold caches.
    pub fn restart(&self, host: usize) {
        self.model().restart(host);
    }

    /// What a host did so far.
    #[must_use]
    pub fn counters(&self, host: usize) -> Counters {
        self.model().hosts[host].counters
    }

    /// What memory holds, apart from what is pending in the caches of hosts that live.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        let mut model = self.model();
        let lines = self.len.div_ceil(LINE as u64);
        let mut bytes: Vec<u8> = (0..lines).flat_map(|line| model.persisted(line)).collect();
        bytes.truncate(usize::try_from(self.len).unwrap_or(usize::MAX));
        bytes
    }
}

/// A part of one line.
struct Part {
    line: u64,
    within: usize,
    from: usize,
    len: usize,
}

/// Cuts a range at multiples of `unit`, which divides a line.
fn parts(at: RegionOff, len: usize, unit: usize) -> impl Iterator<Item = Part> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let here = at.0 + done as u64;
        #[expect(clippy::cast_possible_truncation, reason = "less than a line")]
        let within = (here % LINE as u64) as usize;
        let part = (unit - within % unit).min(len - done);
        let from = done;
        done += part;
        (part > 0).then_some(Part {
            line: here / LINE as u64,
            within,
            from,
            len: part,
        })
    })
}

fn lines(at: RegionOff, len: u64) -> std::ops::Range<u64> {
    let line = LINE as u64;
    at.0 / line..if len == 0 {
        at.0 / line
    } else {
        (at.0 + len).div_ceil(line)
    }
}

impl SimHost {
    /// Which host it is.
    #[must_use]
    pub fn index(&self) -> usize {
        self.host
    }

    /// The hardware, ready for this host's next operation, unless it crashes at it.
    fn begin(&self) -> Result<MutexGuard<'_, Model>, Fault> {
        let mut model = self.memory.model();
        let host = &mut model.hosts[self.host];
        if !host.crashed && host.crash_at.is_some_and(|at| host.operations >= at) {
            model.crash(self.host);
        }
        let host = &mut model.hosts[self.host];
        if host.crashed {
            return Err(Fault::Crashed);
        }
        host.operations += 1;
        Ok(model)
    }

    fn stream_from(
        &self,
        at: RegionOff,
        len: usize,
        bytes: impl Fn(&Part) -> Line,
    ) -> Result<(), Fault> {
        let mut model = self.begin()?;
        check(at, len as u64, self.memory.len)?;
        model.hosts[self.host].counters.bytes_streamed += len as u64;
        for part in parts(at, len, LINE) {
            let contents = bytes(&part);
            if part.len == LINE {
                model.stream(self.host, part.line, contents);
            } else {
                // As real streams do with lines they write a part of.
                model.store(self.host, part.line, part.within, &contents[..part.len]);
                model.write_back(self.host, part.line);
            }
        }
        Ok(())
    }
}

impl Memory for SimHost {
    fn len(&self) -> u64 {
        self.memory.len
    }

    fn load(&self, at: RegionOff, into: &mut [u8]) -> Result<(), Fault> {
        let mut model = self.begin()?;
        check(at, into.len() as u64, self.memory.len)?;
        for part in parts(at, into.len(), LINE) {
            let line = model.load(self.host, part.line);
            into[part.from..][..part.len].copy_from_slice(&line[part.within..][..part.len]);
        }
        Ok(())
    }

    fn load_pair(&self, at: RegionOff) -> Result<[u64; 2], Fault> {
        check_pair(at, self.memory.len)?;
        let mut bytes = [0; 16];
        self.load(at, &mut bytes)?;
        let (first, second) = bytes.split_at(8);
        Ok([first, second].map(|half| {
            half.iter()
                .rev()
                .fold(0, |number, byte| (number << 8) | u64::from(*byte))
        }))
    }

    fn store(&self, at: RegionOff, bytes: &[u8]) -> Result<(), Fault> {
        let mut model = self.begin()?;
        check(at, bytes.len() as u64, self.memory.len)?;
        model.hosts[self.host].counters.bytes_stored += bytes.len() as u64;
        let unit = if model.tear_words { 8 } else { LINE };
        for part in parts(at, bytes.len(), unit) {
            model.store(
                self.host,
                part.line,
                part.within,
                &bytes[part.from..][..part.len],
            );
        }
        Ok(())
    }

    fn store_pair(&self, at: RegionOff, pair: [u64; 2]) -> Result<(), Fault> {
        let mut model = self.begin()?;
        check_pair(at, self.memory.len)?;
        model.hosts[self.host].counters.bytes_stored += 16;
        let [first, second] = pair.map(u64::to_le_bytes);
        let bytes = [first, second].concat();
        let unit = if model.tear_pairs { 8 } else { LINE };
        for part in parts(at, bytes.len(), unit) {
            model.store(
                self.host,
                part.line,
                part.within,
                &bytes[part.from..][..part.len],
            );
        }
        Ok(())
    }

    fn stream(&self, at: RegionOff, bytes: &[u8], _: usize) -> Result<(), Fault> {
        self.stream_from(at, bytes.len(), |part| {
            let mut line = [0; LINE];
            line[..part.len].copy_from_slice(&bytes[part.from..][..part.len]);
            line
        })
    }

    fn zero(&self, at: RegionOff, len: u64, _: usize) -> Result<(), Fault> {
        let size = self.memory.len;
        let len = usize::try_from(len).map_err(|_| Fault::OutOfRange { at, len, size })?;
        self.stream_from(at, len, |_| [0; LINE])
    }

    fn write_back(&self, at: RegionOff, len: u64) -> Result<u64, Fault> {
        let mut model = self.begin()?;
        check(at, len, self.memory.len)?;
        let lines = lines(at, len);
        let count = lines.end - lines.start;
        model.hosts[self.host].counters.lines_written_back += count;
        lines.for_each(|line| model.write_back(self.host, line));
        Ok(count)
    }

    fn invalidate(&self, at: RegionOff, len: u64) -> Result<u64, Fault> {
        let mut model = self.begin()?;
        check(at, len, self.memory.len)?;
        let lines = lines(at, len);
        let count = lines.end - lines.start;
        model.hosts[self.host].counters.lines_invalidated += count;
        lines.for_each(|line| model.invalidate(self.host, line));
        Ok(count)
    }

    fn fence_stores(&self) {
        // A crashed host fences nothing; its next access says that it has crashed.
        if let Ok(mut model) = self.begin() {
            model.hosts[self.host].counters.store_fences += 1;
            model.fence_stores(self.host);
        }
    }

    fn fence_invalidate(&self) {
        if let Ok(mut model) = self.begin() {
            model.hosts[self.host].counters.invalidate_fences += 1;
            model.fence_invalidate(self.host);
        }
    }

    fn pair_is_atomic(&self) -> bool {
        !self.memory.model().tear_pairs
    }
}

#[cfg(test)]
mod tests;
