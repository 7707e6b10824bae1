//! A volume's hot paths side by side with their limits, in one run. Prints the ratios.
//!
//! The volume is embedded, so that it has the memory that users get; it is gone at the end.
#![allow(clippy::print_stdout, reason = "a benchmark reports")]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use famfs::core::entry::Owner;
use famfs::core::path::RelPath;
use famfs::core::space::Layout;
use famfs::core::units::{ByteLen, FileOff};
use famfs::mem::{cache_instructions, streaming_instructions};
use famfs::{Locality, MkfsOptions, Options, Publication, Volume, embedded, measure, mkfs, mounts};

const GIB: usize = 1 << 30;
const OWNER: Owner = Owner {
    uid: 0,
    gid: 0,
    mode: 0o644,
};

type Failed = Box<dyn std::error::Error>;

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}

fn rate(bytes: usize, time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let bytes = bytes as f64;
    bytes / time.as_secs_f64() / f64::from(1 << 30)
}

fn publish(volume: &Volume, name: &str, bytes: &[u8]) -> Result<(), Failed> {
    volume.commit(vec![publication(volume, name, bytes)?])?;
    Ok(())
}

/// A file that is filled, and has no name yet.
fn publication(volume: &Volume, name: &str, bytes: &[u8]) -> Result<Publication, Failed> {
    let reservation = volume.reserve(ByteLen(bytes.len() as u64), Layout::Contiguous)?;
    reservation.fill(FileOff(0), bytes)?;
    Ok(Publication {
        reservation,
        path: RelPath::new(name.as_bytes())?,
        owner: OWNER,
        overwrite: false,
    })
}

/// A figure and its goal, in the line that `make bench` judges.
fn goal(name: &str, found: f64, bound: &str, detail: &str) {
    println!("goal | {name} | {found:.3} | {bound} | {detail}");
}

fn large(mount: &Path) -> Result<(), Failed> {
    let made = embedded::mount(mount, Some(5 << 30))?;
    println!(
        "memory: {:?}, {:.2} of it huge pages; streaming with {}, write-back with {}",
        made.mounted.mount.embedded,
        rate(usize::try_from(made.huge)?, Duration::from_secs(1))
            / rate(usize::try_from(made.size)?, Duration::from_secs(1)),
        streaming_instructions(),
        cache_instructions().write_back,
    );
    let volume = made.mounted.mount.volume()?;
    let bytes = vec![0x5a; GIB];
    let limit = measure::copy_limit(&volume, &bytes, 3)?;
    let mut published = Vec::new();
    for n in 0..3 {
        let (time, done) = timed(|| publish(&volume, &format!("large{n}"), &bytes));
        done?;
        published.push(time);
    }
    let best = published.iter().min().copied().unwrap_or(Duration::MAX);
    goal(
        "P2 publish 1 GiB from Rust, share of the copy limit",
        limit.as_secs_f64() / best.as_secs_f64(),
        ">= 0.95",
        &format!(
            "{:.1} GiB/s of {:.1}; first publish {:.2} of the best",
            rate(GIB, best),
            rate(GIB, limit),
            published[0].as_secs_f64() / best.as_secs_f64()
        ),
    );
    Ok(())
}

/// Makes a volume that takes space only as it is used.
fn sparse(dir: &Path, name: &str, size: u64) -> Result<PathBuf, Failed> {
    let path = dir.join(name);
    let options = MkfsOptions {
        size: Some(size),
        sparse: true,
        ..MkfsOptions::default()
    };
    mkfs(&path, &options)?;
    Ok(path)
}

fn small(dir: &Path) -> Result<(), Failed> {
    let path = sparse(dir, "small", 40 << 30)?;
    for locality in [Locality::Local, Locality::Shared] {
        let options = Options {
            locality: Some(locality),
            read_only: false,
        };
        let volume = Volume::open(&path, options)?;
        let rounds = 100_000;
        let (time, ()) = timed(|| {
            for _ in 0..rounds {
                black_box(volume.refresh().is_ok());
            }
        });
        goal(
            &format!("P10 refresh with nothing new, {locality:?}, us"),
            (time / rounds).as_secs_f64() * 1e6,
            "<= 1",
            "",
        );
    }
    let volume = Volume::open(&path, Options::default())?;
    let batch = |first: u32, count: u32| -> Result<Duration, Failed> {
        let (time, done) = timed(|| {
            (first..first + count).try_for_each(|n| publish(&volume, &format!("f{n}"), b"x"))
        });
        done?;
        Ok(time / count)
    };
    let first = batch(0, 400)?;
    batch(400, 14_600)?;
    let last = batch(15_000, 400)?;
    goal(
        "publish file number 15,000, of number 1",
        last.as_secs_f64() / first.as_secs_f64(),
        "<= 1.2",
        &format!("{last:?}, {first:?}"),
    );
    Ok(())
}

/// An append, beside what the reference does for each: it computes the entry's checksum and flushes
/// the whole log.
fn append(dir: &Path) -> Result<(), Failed> {
    const LOG: usize = 8 << 20;
    const ENTRY: usize = 544;
    let path = sparse(dir, "append", 4 << 30)?;
    let options = Options {
        locality: Some(Locality::Shared),
        read_only: false,
    };
    let volume = Volume::open(&path, options)?;
    publish(&volume, "log", &vec![1; LOG])?;
    let log = volume.stat(b"log")?;
    let (mut whole, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..400 {
        let (time, done) = timed(|| publish(&volume, &format!("f{n}"), b""));
        done?;
        whole.push(time);
        // What is appended, and not what a reservation takes, which the reference hasn't.
        let reserved = publication(&volume, &format!("g{n}"), b"")?;
        let (time, done) = timed(|| volume.commit(vec![reserved]));
        done?;
        ours.push(time);
        let (time, flushed) = timed(|| {
            black_box(crc32fast::hash(black_box(&[1; ENTRY])));
            volume.flush(&log)
        });
        flushed?;
        theirs.push(time);
    }
    let middle = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    let (whole, ours, theirs) = (middle(whole), middle(ours), middle(theirs));
    goal(
        "P11 append an entry, of flushing 8 MiB and the entry's CRC",
        ours.as_secs_f64() / theirs.as_secs_f64(),
        "<= 0.05",
        &format!("{ours:?}, with lock and refresh; reserved too {whole:?}; {theirs:?}"),
    );
    Ok(())
}

fn main() -> Result<(), Failed> {
    // Cargo passes this to benchmarks, and tests of all targets do not.
    if !std::env::args().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let dir = tempfile::tempdir_in("/dev/shm")?;
    let mount = dir.path().join("mnt");
    let done = large(&mount);
    mounts::umount(&mount, true)?;
    done?;
    small(dir.path())?;
    append(dir.path())
}
