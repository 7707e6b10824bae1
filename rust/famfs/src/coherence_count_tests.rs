//! What the protocol costs, counted in lines and fences.

use std::sync::Arc;

use famfs_core::append;
use famfs_core::entry::{Entry, MkdirEntry};
use famfs_core::media::MIN_LOG_LEN;
use famfs_core::path::RelPath;
use famfs_core::units::{ALLOC_UNIT, ByteLen, Slot};
use famfs_mem::sim::{Eager, SimMemory};

use super::tests::{CONTENT, DEVICE, Host, OWNER, format_sized, volume};
use super::*;

#[test]
fn an_append_flushes_at_most_twelve_lines_wherever_its_slot_lies() {
    let sim = SimMemory::new(DEVICE, 1);
    let coherence = Coherence::new(sim.host(0), Locality::Shared);
    format_sized(&coherence, 1, true, DEVICE).unwrap();
    let mut host = Host::open(sim.host(0)).unwrap();
    let mut most = 0;
    for n in 0..64 {
        let path = RelPath::new(format!("dir{n}").as_bytes()).unwrap();
        let entry = Entry::Mkdir(MkdirEntry { path, owner: OWNER });
        let batch = append::plan(&host.replay, &[entry]).unwrap();
        let before = sim.counters(0);
        host.coherence.append(&batch).unwrap();
        let after = sim.counters(0);
        most = most.max(after.lines_written_back - before.lines_written_back);
        assert_eq!(after.store_fences - before.store_fences, 3);
        host.refresh().unwrap();
    }
    println!("an append writes {most} lines back");
    assert!((9..=12).contains(&most), "{most}");
    assert_eq!(host.replay.next(), Slot(64));
}

/// What a create touches doesn't grow with the log: nothing is read again to find free space.
#[test]
fn a_create_reads_and_writes_as_much_on_a_full_volume_as_on_an_empty_one() {
    const FILES: usize = 200;
    /// An entry is 8.5 lines long: every second one begins a line.
    const PERIOD: usize = 2;
    let size = MIN_LOG_LEN + (FILES as u64 + 1) * ALLOC_UNIT;
    let sim = SimMemory::new(size, 1);
    format_sized(
        &Coherence::new(sim.host(0), Locality::Shared),
        1,
        true,
        size,
    )
    .unwrap();
    let mut host = Host::open(sim.host(0)).unwrap();
    let mut costs = Vec::new();
    for n in 0..FILES {
        let before = sim.counters(0);
        host.refresh().unwrap();
        let entry = host.file(&format!("file{n}"));
        let batch = append::plan(&host.replay, &[entry]).unwrap();
        host.coherence.append(&batch).unwrap();
        host.refresh().unwrap();
        let after = sim.counters(0);
        costs.push((
            after.lines_invalidated - before.lines_invalidated,
            after.lines_written_back - before.lines_written_back,
            after.bytes_stored - before.bytes_stored,
        ));
    }
    assert_eq!(host.replay.next(), Slot(FILES as u64));
    assert_eq!(host.replay.space_mut().free(), ByteLen(0));
    // Entry 0 shares its first line with the header.
    for (n, cost) in costs.iter().enumerate().skip(1 + PERIOD) {
        assert_eq!(*cost, costs[n - PERIOD], "file {n}");
    }
}

#[test]
fn a_refresh_with_nothing_new_reads_two_lines() {
    let sim = volume(Box::new(Eager));
    let before = sim.counters(1);
    Coherence::new(sim.host(1), Locality::Shared)
        .pulse()
        .unwrap();
    let after = sim.counters(1);
    assert_eq!(after.lines_invalidated - before.lines_invalidated, 2);
    assert_eq!(after.bytes_stored + after.lines_written_back, 0);
    Coherence::new(sim.host(1), Locality::Local)
        .pulse()
        .unwrap();
    assert_eq!(sim.counters(1).lines_invalidated, after.lines_invalidated);
}

#[test]
fn a_local_volume_flushes_nothing() {
    let sim = Arc::new(volume(Box::new(Eager)));
    let before = sim.counters(0);
    let local = Coherence::new(sim.host(0), Locality::Local);
    let host = Host::open(sim.host(0)).unwrap();
    let dir = MkdirEntry {
        path: RelPath::new(b"d").unwrap(),
        owner: OWNER,
    };
    let batch = append::plan(&host.replay, &[Entry::Mkdir(dir)]).unwrap();
    local.append(&batch).unwrap();
    local.put_data(DevOff(20 << 20), &CONTENT, 1).unwrap();
    local
        .acquire_data([(DevOff(20 << 20), 100)].into_iter())
        .unwrap();
    assert_eq!(
        sim.counters(0).lines_written_back,
        before.lines_written_back
    );
}

#[test]
fn what_was_written_in_place_leaves_the_host_where_others_see_it() {
    let sim = Arc::new(volume(Box::new(Eager)));
    let runs = [
        (DevOff(20 << 20), 6400),
        (DevOff(22 << 20), 1),
        (DevOff(0), 0),
    ];
    for (locality, lines) in [(Locality::Shared, 101), (Locality::Local, 0)] {
        let before = sim.counters(0);
        let coherence = Coherence::new(sim.host(0), locality);
        coherence.settle_data(&runs).unwrap();
        let after = sim.counters(0);
        assert_eq!(after.lines_written_back - before.lines_written_back, lines);
        assert_eq!(after.store_fences - before.store_fences, 1);
    }
}
