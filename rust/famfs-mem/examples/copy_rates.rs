//! Prints what streaming into a mapped volume reaches, against `memcpy` into the same memory.
//!
//! `cargo run --release -p famfs-mem --example copy_rates [MiB] [directory]`

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::{error::Error, hint::black_box, path::PathBuf, time::Instant};

use famfs_mem::{
    Memory, Populate, Region, RegionOff, Source, cache_instructions, default_threads,
    streaming_instructions,
};

const ROUNDS: usize = 9;

/// The median time of a run, in seconds.
fn median(mut run: impl FnMut()) -> f64 {
    run();
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mebibytes: u64 = arguments.next().map_or(Ok(512), |text| text.parse())?;
    let directory = arguments
        .next()
        .map_or_else(|| PathBuf::from("/dev/shm"), PathBuf::from);
    let len = mebibytes << 20;

    let path = directory.join(format!("famfs-copy-rates-{}", std::process::id()));
    let source = Source::create_file(&path, len, false)?;
    // It stays usable through its descriptor, and goes with this process whatever happens.
    std::fs::remove_file(&path)?;
    let region = Region::map(&source)?;
    let all = RegionOff(0)..RegionOff(len);
    let collapsed = region.collapse(all.clone())?;
    region.populate(all, Populate::Write)?;
    let bytes: Vec<u8> = (0..=250).cycle().take(usize::try_from(len)?).collect();

    let used = cache_instructions();
    println!(
        "{mebibytes} MiB, {} of {} pieces huge, {} stores, {} and {}, {} threads by default",
        collapsed.huge,
        collapsed.of,
        streaming_instructions(),
        used.write_back,
        used.invalidate,
        default_threads(),
    );
    // A private buffer that is mapped and touched: what copying costs without any of us.
    let mut private = vec![1_u8; bytes.len()];
    let memcpy = median(|| black_box(&mut private).copy_from_slice(black_box(&bytes)));
    drop(private);
    let at = RegionOff(0);
    let report = |what: &str, seconds: f64| {
        #[expect(clippy::cast_precision_loss, reason = "only printed")]
        let rate = len as f64 / seconds / 1e9;
        println!(
            "{what:32} {rate:7.2} GB/s  {:5.2} x memcpy",
            memcpy / seconds
        );
    };
    report("memcpy, private memory", memcpy);
    let mut faults = Vec::new();
    let mut measure = |what: &str, run: &dyn Fn() -> Result<(), famfs_mem::Fault>| {
        let seconds = median(|| faults.extend(run().err()));
        report(what, seconds);
        seconds
    };
    measure("store", &|| region.store(at, &bytes));
    measure("store, then write back", &|| {
        region.store(at, &bytes)?;
        region.write_back(at, len)?;
        region.fence_stores();
        Ok(())
    });
    for threads in [1, 2, 4] {
        measure(&format!("stream, threads: {threads}"), &|| {
            region.stream(at, &bytes, threads)
        });
    }
    measure("zero, threads: 1", &|| region.zero(at, len, 1));
    measure("write back what is clean", &|| {
        region.write_back(at, len)?;
        region.fence_stores();
        Ok(())
    });
    measure("invalidate", &|| {
        region.invalidate(at, len)?;
        region.fence_invalidate();
        Ok(())
    });
    let pairs = 1_000_000;
    let pair = median(|| {
        for _ in 0..pairs {
            let _ = black_box(region.load_pair(RegionOff(64)));
        }
    });
    println!(
        "{:32} {:7.2} ns",
        "load_pair",
        pair / f64::from(pairs) * 1e9
    );
    faults
        .into_iter()
        .next()
        .map_or(Ok(()), |fault| Err(fault.into()))
}
