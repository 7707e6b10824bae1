//! The log's hot paths side by side with their limit: one pass of zlib's `crc32` over the same bytes.
//! Prints the figures that docs/performance.md names.
#![allow(clippy::print_stdout, reason = "a benchmark reports")]

// What the core's tests make volumes of. The benchmark is here because its framework takes minutes
// to build, which the core's tests on other processors need not wait for.
#[path = "../../famfs-core/tests/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::time::{Duration, Instant};

use common::{MIB, check, image};
use criterion::{Criterion, criterion_group, criterion_main};
use famfs_core::append;
use famfs_core::entry::{Entry, FileEntry, Owner};
use famfs_core::header::LogHeader;
use famfs_core::media::LOG_OFFSET;
use famfs_core::path::RelPath;
use famfs_core::replay::Replay;
use famfs_core::space::Layout;
use famfs_core::superblock::{NewSuperblock, Superblock};
use famfs_core::units::ByteLen;
use uuid::Uuid;

/// The fastest of many turns, the two taken in turn, so that both see the same machine.
fn side_by_side(mut ours: impl FnMut(), mut theirs: impl FnMut()) -> (Duration, Duration) {
    let once = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..200).fold((Duration::MAX, Duration::MAX), |best, _| {
        (best.0.min(once(&mut ours)), best.1.min(once(&mut theirs)))
    })
}

/// What everybody has: the bar is its speed, and not that of the instructions that we use.
fn zlib_crc32(bytes: &[u8]) -> u64 {
    let len = bytes.len().try_into().expect("less than 4 GiB");
    // SAFETY: the pointer and the length are those of a slice, which is only read.
    unsafe { libz_sys::crc32(0, bytes.as_ptr(), len) }
}

fn full_log(c: &mut Criterion) {
    let image = image("vfull");
    let log = &image[usize::try_from(LOG_OFFSET).expect("small")..];
    let judge = || check(black_box(&image), 137_438_953_472);
    c.bench_function("judge and replay a full 8 MiB log", |b| b.iter(judge));
    c.bench_function("zlib's crc32 of 8 MiB", |b| {
        b.iter(|| zlib_crc32(black_box(log)));
    });
    let (ours, crc) = side_by_side(
        || drop(black_box(judge())),
        || {
            black_box(zlib_crc32(black_box(log)));
        },
    );
    let ratio = ours.as_secs_f64() / crc.as_secs_f64();
    println!(
        "goal | P10 full 8 MiB log judged and replayed, of one zlib crc32() pass | {ratio:.3} | <= 1.5 | \
         {ours:?}, {crc:?}"
    );
}

fn create(replay: &mut Replay, number: usize) {
    let size = ByteLen(1);
    let map = replay
        .space_mut()
        .allocate(size, Layout::Contiguous)
        .expect("room");
    let entry = Entry::File(FileEntry {
        path: RelPath::new(format!("file-{number:08}").as_bytes()).expect("valid"),
        size,
        owner: Owner {
            uid: 0,
            gid: 0,
            mode: 0o644,
        },
        replace: false,
        map,
    });
    let batch = append::plan(replay, &[entry]).expect("room");
    replay.judge_entries(batch.bytes());
    replay.space_mut().hold([]);
}

/// Files of one byte, as many as the second log of the two allows: a gigabyte of log.
fn create_first_and_last(_: &mut Criterion) {
    const BATCH: usize = 400;
    const FILES: usize = 500_000;
    const LOG: u64 = 512 * MIB;
    const DEVICE: u64 = 2 << 40;
    let superblock = Superblock::new(&NewSuperblock {
        uuid: Uuid::from_u128(1),
        device_uuid: Uuid::from_u128(2),
        system_uuid: Uuid::from_u128(3),
        log_len: LOG,
        omf_minor: 3,
        device_size: ByteLen(DEVICE),
        device_name: b"bench",
    });
    let header = LogHeader::new(ByteLen(LOG)).expect("room");
    let empty = Replay::new(&superblock.expect("valid"), &header, ByteLen(DEVICE), 1);
    let empty = empty.expect("room");
    let mut nearly_full = empty.clone();
    (0..FILES - BATCH - 1).for_each(|n| create(&mut nearly_full, n));
    let run = |from: &Replay, first: usize| {
        let mut best = Duration::MAX;
        for _ in 0..30 {
            let mut replay = from.clone();
            // A copy has no room to spare: its tables are moved once, by whoever adds the next file.
            create(&mut replay, first);
            let start = Instant::now();
            (first + 1..=first + BATCH).for_each(|n| create(&mut replay, n));
            best = best.min(start.elapsed());
        }
        best / u32::try_from(BATCH).expect("small")
    };
    let (first, last) = (run(&empty, 0), run(&nearly_full, FILES - BATCH - 1));
    let ratio = last.as_secs_f64() / first.as_secs_f64();
    println!(
        "goal | P11 create file number 500,000, of number 1 | {ratio:.3} | <= 1.2 | \
         {last:?}, {first:?}"
    );
}

criterion_group!(log, full_log, create_first_and_last);
criterion_main!(log);
