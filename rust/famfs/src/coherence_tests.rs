//! The protocol on two simulated hosts with private caches: every crash, and every reader's moment.
//!
//! kill -9 and virtual machines on one host are cache-coherent and prove nothing about flushes. Here
//! what is not written back and fenced is lost or lands at any moment, what is not invalidated and
//! fenced stays stale, and an explorer tries all of it.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use famfs_core::append;
use famfs_core::entry::{Entry, FileEntry, MkdirEntry, Owner};
use famfs_core::header::LogHeader;
use famfs_core::media::{MIN_LOG_LEN, OMF_MINOR};
use famfs_core::path::RelPath;
use famfs_core::replay::Replay;
use famfs_core::space::Layout;
use famfs_core::superblock::{NewSuperblock, Superblock, SuperblockError};
use famfs_core::units::{ByteLen, FileOff};
use famfs_mem::sim::{Eager, Explored, Explorer, Oracle, Random, SimHost, SimMemory};
use uuid::Uuid;

use super::*;

pub(super) const DEVICE: u64 = 32 << 20;
pub(super) const OWNER: Owner = Owner {
    uid: 0,
    gid: 0,
    mode: 0o644,
};
pub(super) const CONTENT: [u8; 100] =
    *b"0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrst\
                              uvwxyz0123456789abcdefghijklmnopqr";

fn superblock(uuid: u128, device_size: u64) -> Superblock {
    Superblock::new(&NewSuperblock {
        uuid: Uuid::from_u128(uuid),
        device_uuid: Uuid::from_u128(2),
        system_uuid: Uuid::from_u128(3),
        log_len: MIN_LOG_LEN,
        omf_minor: OMF_MINOR,
        device_size: ByteLen(device_size),
        device_name: b"sim",
    })
    .unwrap()
}

fn format<M: Memory>(host: &Coherence<M>, uuid: u128, clear: bool) -> Result<(), Fault> {
    format_sized(host, uuid, clear, DEVICE)
}

pub(super) fn format_sized<M: Memory>(
    host: &Coherence<M>,
    uuid: u128,
    clear: bool,
    size: u64,
) -> Result<(), Fault> {
    let header = LogHeader::new(ByteLen(MIN_LOG_LEN)).unwrap().encode();
    // The whole log would be 8 MiB of lines: what this test writes to of it is enough.
    host.format(
        &superblock(uuid, size).encode(),
        &header,
        clear.then_some(4096),
    )
}

/// A host as it is used: its view of the memory, and what it has replayed.
pub(super) struct Host<M> {
    pub(super) coherence: Coherence<M>,
    pub(super) replay: Replay,
    header: LogHeader,
}

impl<M: Memory> Host<M> {
    pub(super) fn open(memory: M) -> Result<Self, String> {
        let coherence = Coherence::new(memory, Locality::Shared);
        let bytes = coherence.read_superblock().map_err(|e| e.to_string())?;
        let superblock = Superblock::decode(&bytes).map_err(|e| e.to_string())?;
        let mut bytes = [0; LOG_HEADER_LEN];
        coherence
            .read_log(0, &mut bytes)
            .map_err(|e| e.to_string())?;
        let header = LogHeader::decode(&bytes, superblock.log_len()).map_err(|e| e.to_string())?;
        let replay = Replay::new(&superblock, &header, superblock.device_size(), 1).unwrap();
        let mut host = Self {
            coherence,
            replay,
            header,
        };
        host.refresh().map_err(|e| e.to_string())?;
        Ok(host)
    }

    pub(super) fn refresh(&mut self) -> Result<(), Fault> {
        let pulse = self.coherence.pulse()?;
        let mut entry = [0; famfs_core::media::ENTRY_LEN];
        while self.replay.next().0 < self.header.used(pulse.counters) {
            let at = famfs_core::media::entry_offset(self.replay.next().0).unwrap();
            self.coherence.read_log(at, &mut entry)?;
            self.replay.judge_entries(&entry);
        }
        self.replay.judge_counters(&self.header, pulse.counters);
        Ok(())
    }

    pub(super) fn file(&mut self, name: &str) -> Entry {
        let size = ByteLen(CONTENT.len() as u64);
        let map = self
            .replay
            .space_mut()
            .allocate(size, Layout::Contiguous)
            .unwrap();
        let path = RelPath::new(name.as_bytes()).unwrap();
        Entry::File(FileEntry {
            path,
            size,
            owner: OWNER,
            replace: false,
            map,
        })
    }

    /// Publishes files and a directory in one commit.
    fn publish(&mut self, names: &[&str]) -> Result<(), Fault> {
        let dir = MkdirEntry {
            path: RelPath::new(names[0].as_bytes()).unwrap(),
            owner: OWNER,
        };
        let mut entries = vec![Entry::Mkdir(dir)];
        for name in &names[1..] {
            let entry = self.file(name);
            let Entry::File(file) = &entry else {
                unreachable!()
            };
            let run = file.map.resolve(FileOff(0)).unwrap();
            self.coherence.put_data(run.offset, &CONTENT, 1)?;
            entries.push(entry);
        }
        let batch = append::plan(&self.replay, &entries).unwrap();
        self.coherence.append(&batch)?;
        self.refresh()
    }

    /// Checks that what is named is whole, and says how many names there are.
    fn check(&self) -> Result<usize, String> {
        if let Some(finding) = self.replay.findings().first() {
            return Err(format!("slot {:?}: {}", finding.slot, finding.kind));
        }
        for node in self.replay.names().iter().filter(|node| !node.is_dir()) {
            let run = node.map().unwrap().resolve(FileOff(0)).unwrap();
            let runs = [(run.offset, CONTENT.len() as u64)];
            self.coherence
                .acquire_data(runs.into_iter())
                .map_err(|e| e.to_string())?;
            let mut bytes = [0; CONTENT.len()];
            let at = RegionOff(run.offset.0);
            self.coherence
                .memory
                .load(at, &mut bytes)
                .map_err(|e| e.to_string())?;
            if bytes != CONTENT {
                let path = node.path().escape_ascii();
                return Err(format!("{path} is named, and its content is not there"));
            }
        }
        Ok(self.replay.names().iter().count())
    }
}

/// A formatted volume with two names, all of it in memory, that both hosts have seen.
pub(super) fn volume(oracle: Box<dyn Oracle>) -> SimMemory {
    let sim = SimMemory::with_oracle(DEVICE, 2, Box::new(Eager));
    let writer = Coherence::new(sim.host(0), Locality::Shared);
    format(&writer, 1, true).unwrap();
    Host::open(sim.host(0))
        .unwrap()
        .publish(&["early", "early/file"])
        .unwrap();
    sim.set_oracle(oracle);
    sim
}

/// How many operations a host needs for `work`.
fn operations(work: impl Fn(&SimMemory)) -> u64 {
    let sim = volume(Box::new(Eager));
    let before = sim.ops(0);
    work(&sim);
    sim.ops(0) - before
}

fn explore(limit: usize, run: impl FnMut(Box<dyn Oracle>) -> Result<(), String>) -> Explored {
    Explorer::new(limit)
        .explore(run)
        .unwrap_or_else(|found| panic!("{found}"))
}

/// One commit that crashes at its `crash_at`-th operation, then what the others find.
fn crash_and_look<M: Memory>(
    sim: &SimMemory,
    crash_at: u64,
    writer: impl Fn(SimHost) -> M,
) -> Result<usize, String> {
    let before = sim.ops(0);
    sim.set_crash_after(0, before + crash_at);
    let outcome = Host::open(writer(sim.host(0))).and_then(|mut host| {
        host.publish(&["late", "late/file"])
            .map_err(|e| e.to_string())
    });
    if !sim.has_crashed(0) {
        sim.crash(0);
    }
    let reader = Host::open(sim.host(1))?;
    let names = reader.check()?;
    match (names, outcome) {
        // Before the commit, all that was there; after it, all that was committed.
        (4, _) | (2, Err(_)) => {}
        (names, outcome) => return Err(format!("{names} names after {outcome:?}")),
    }
    // The host comes back and goes on: the log is never left unusable.
    sim.restart(0);
    let mut again = Host::open(sim.host(0))?;
    again
        .publish(&["again", "again/file"])
        .map_err(|e| e.to_string())?;
    let mut reader = reader;
    reader.refresh().map_err(|e| e.to_string())?;
    if reader.check()? != names + 2 {
        return Err(format!("{names} names, and the next commit is not seen"));
    }
    Ok(names)
}

#[test]
fn a_crash_at_any_step_leaves_all_or_none() {
    let steps = operations(|sim| {
        Host::open(sim.host(0))
            .unwrap()
            .publish(&["late", "late/file"])
            .unwrap();
    });
    assert!(steps > 12, "{steps}");
    let mut runs = 0;
    let mut seen = [0; 5];
    for crash_at in 0..=steps {
        let explored = explore(20_000, |oracle| {
            let names = crash_and_look(&volume(oracle), crash_at, |host| host)?;
            seen[names] += 1;
            Ok(())
        });
        runs += explored.runs;
        if !explored.complete {
            // Too many ways for all of them: as many again, drawn.
            for draw in 0..2000 {
                let oracle = Box::new(Random::new(draw));
                crash_and_look(&volume(oracle), crash_at, |host| host).unwrap();
            }
            runs += 2000;
        }
    }
    println!("{steps} steps, {runs} runs, names seen: {seen:?}");
    assert!(
        seen[2] > 0 && seen[4] > 0,
        "both outcomes are reached: {seen:?}"
    );
}

/// A host's memory, with something done before one of its operations, or left out of all.
struct Bent<'a, M> {
    memory: M,
    done: AtomicU64,
    at: u64,
    what: &'a (dyn Fn() + Sync),
    omitted: Omission,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Omission {
    WriteBack,
    StoreFence,
    Nothing,
}

impl<M: Memory> Bent<'_, M> {
    fn without(memory: M, omitted: Omission) -> Self {
        Self {
            memory,
            done: AtomicU64::new(0),
            at: u64::MAX,
            what: &|| (),
            omitted,
        }
    }

    fn step(&self) -> &M {
        if self.done.fetch_add(1, Ordering::Relaxed) == self.at {
            (self.what)();
        }
        &self.memory
    }
}

macro_rules! forward {
    ($(fn $name:ident(&self $(, $arg:ident: $type:ty)*) $(-> $result:ty)?;)*) => {
        $(fn $name(&self $(, $arg: $type)*) $(-> $result)? { self.step().$name($($arg),*) })*
    };
}

impl<M: Memory> Memory for Bent<'_, M> {
    fn len(&self) -> u64 {
        self.memory.len()
    }

    fn pair_is_atomic(&self) -> bool {
        self.memory.pair_is_atomic()
    }

    fn write_back(&self, at: RegionOff, len: u64) -> Result<u64, Fault> {
        let memory = self.step();
        if self.omitted == Omission::WriteBack {
            Ok(0)
        } else {
            memory.write_back(at, len)
        }
    }

    fn fence_stores(&self) {
        let memory = self.step();
        if self.omitted != Omission::StoreFence {
            memory.fence_stores();
        }
    }

    forward! {
        fn load(&self, at: RegionOff, into: &mut [u8]) -> Result<(), Fault>;
        fn load_pair(&self, at: RegionOff) -> Result<[u64; 2], Fault>;
        fn store(&self, at: RegionOff, bytes: &[u8]) -> Result<(), Fault>;
        fn store_pair(&self, at: RegionOff, pair: [u64; 2]) -> Result<(), Fault>;
        fn stream(&self, at: RegionOff, bytes: &[u8], threads: usize) -> Result<(), Fault>;
        fn zero(&self, at: RegionOff, len: u64, threads: usize) -> Result<(), Fault>;
        fn invalidate(&self, at: RegionOff, len: u64) -> Result<u64, Fault>;
        fn fence_invalidate(&self);
    }
}

/// A reader who follows the log looks once, at `moment` of a writer's commit, and once after it.
fn look_at_moment(sim: &SimMemory, moment: u64) -> Result<(), String> {
    let reader = std::sync::Mutex::new(Host::open(sim.host(1))?);
    reader.lock().unwrap().check()?;
    let found = std::sync::Mutex::new(Ok(2));
    let look = || {
        let mut reader = reader.lock().unwrap();
        *found.lock().unwrap() = reader
            .refresh()
            .map_err(|e| e.to_string())
            .and_then(|()| reader.check());
    };
    let writer = Bent {
        at: moment,
        what: &look,
        ..Bent::without(sim.host(0), Omission::Nothing)
    };
    let mut writer = Host::open(writer)?;
    writer
        .publish(&["late", "late/file"])
        .map_err(|e| e.to_string())?;
    match *found.lock().unwrap() {
        Ok(2 | 4) => {}
        ref other => return Err(format!("in between: {other:?}")),
    }
    let mut reader = reader.into_inner().unwrap();
    reader.refresh().map_err(|e| e.to_string())?;
    match reader.check()? {
        4 => Ok(()),
        names => Err(format!("{names} names after the commit")),
    }
}

#[test]
fn a_reader_at_any_moment_sees_all_or_none() {
    let steps = operations(|sim| {
        Host::open(sim.host(0))
            .unwrap()
            .publish(&["late", "late/file"])
            .unwrap();
    });
    let mut runs = 0;
    for moment in 0..=steps {
        let explored = explore(4000, |oracle| look_at_moment(&volume(oracle), moment));
        runs += explored.runs;
        if !explored.complete {
            for draw in 0..1000 {
                look_at_moment(&volume(Box::new(Random::new(draw))), moment).unwrap();
            }
            runs += 1000;
        }
    }
    println!("{steps} moments, {runs} runs");
}

#[test]
fn a_crash_of_mkfs_leaves_the_old_volume_none_or_the_new_one() {
    let steps = operations(|sim| {
        format(&Coherence::new(sim.host(0), Locality::Shared), 9, true).unwrap();
    });
    let seen = Cell::new([0; 3]);
    for crash_at in 0..=steps {
        let _ = explore(3000, |oracle| {
            let sim = volume(oracle);
            sim.set_crash_after(0, sim.ops(0) + crash_at);
            let _ = format(&Coherence::new(sim.host(0), Locality::Shared), 9, true);
            if !sim.has_crashed(0) {
                sim.crash(0);
            }
            let reader = Coherence::new(sim.host(1), Locality::Shared);
            let superblock = reader.read_superblock().map_err(|e| e.to_string())?;
            let mut counts = seen.get();
            match Superblock::decode(&superblock) {
                Err(SuperblockError::Magic { .. }) => counts[0] += 1,
                Err(other) => return Err(format!("half a superblock: {other}")),
                Ok(superblock) => {
                    let names = Host::open(sim.host(1))?.check()?;
                    match (superblock.uuid().as_u128(), names) {
                        (1, 2) => counts[1] += 1,
                        (9, 0) => counts[2] += 1,
                        other => return Err(format!("a mix of two volumes: {other:?}")),
                    }
                }
            }
            seen.set(counts);
            Ok(())
        });
    }
    println!("{steps} steps; none, old, new: {:?}", seen.get());
    assert!(
        seen.get().iter().all(|count| *count > 0),
        "{:?}",
        seen.get()
    );
}

/// Where a pair can be torn, the worst is one finding that says so, never a wrong file.
#[test]
fn torn_counters_are_told_and_nothing_else_is_lost() {
    let mut told = 0;
    for crash_at in 0..40 {
        let _ = explore(3000, |oracle| {
            let sim = volume(oracle);
            sim.tear_pairs(true);
            sim.set_crash_after(0, sim.ops(0) + crash_at);
            let _ = Host::open(sim.host(0))
                .and_then(|mut h| h.publish(&["late", "late/file"]).map_err(|e| e.to_string()));
            if !sim.has_crashed(0) {
                sim.crash(0);
            }
            let reader = Host::open(sim.host(1))?;
            let codes: Vec<_> = reader
                .replay
                .findings()
                .iter()
                .map(|f| (f.slot, f.kind.code()))
                .collect();
            match codes[..] {
                [] => {}
                [(None, "counters_diverge")] => told += 1,
                ref other => return Err(format!("{other:?}")),
            }
            Ok(())
        });
    }
    assert!(told > 0, "the halves of a pair were never apart");
}

/// The tests above can fail: without a part of the protocol, a crash is found that tears a commit.
#[test]
fn a_protocol_without_write_backs_or_fences_is_found_out() {
    let fails = |what| {
        (0..60).any(|crash_at| {
            (0..400).any(|draw| {
                let sim = volume(Box::new(Random::new(draw)));
                crash_and_look(&sim, crash_at, |memory| Bent::without(memory, what)).is_err()
            })
        })
    };
    assert!(!fails(Omission::Nothing));
    assert!(fails(Omission::WriteBack));
    assert!(fails(Omission::StoreFence));
}

/// A reader who does not invalidate is stale: the simulation shows it.
#[test]
fn a_reader_that_takes_a_shared_volume_for_local_is_found_out() {
    let sim = volume(Box::new(Eager));
    let local = Coherence::new(sim.host(1), Locality::Local);
    let before = local.pulse().unwrap().counters;
    // From here on no line lands or is dropped unless it must be.
    sim.set_oracle(Box::new(famfs_mem::sim::Lazy));
    Host::open(sim.host(0))
        .unwrap()
        .publish(&["late", "late/file"])
        .unwrap();
    assert_eq!(
        local.pulse().unwrap().counters,
        before,
        "its caches hold the old line"
    );
    let shared = Coherence::new(sim.host(1), Locality::Shared);
    assert_eq!(
        shared.pulse().unwrap().counters.next_index,
        before.next_index + 2
    );
}
