//! The small hot paths, for whoever counts their instructions.
//!
//! ```sh
//! instructions list           # the names of the paths
//! instructions open           # one of them, so many times as it prints
//! ```
//!
//! `scripts/instructions.py` runs this under callgrind, which counts within [`measured`] alone: what
//! a path needs is made before, and it has run once, so that nothing is counted that happens once.
#![allow(clippy::print_stdout, reason = "an example tells")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use famfs::{MkfsOptions, mounts};
use famfs_data::arrow::{ArrowPlan, PlanOptions};
use famfs_data::{Columns, Dataset, Options, Ref, publish};

type Failed = Box<dyn std::error::Error>;
type Work<'a> = &'a mut dyn FnMut(u32) -> Result<(), Failed>;

const NAMES: [&str; 6] = [
    "open",
    "refresh",
    "reference",
    "append",
    "lookup",
    "publish",
];
const TIMES: u32 = 50;
/// Files among which one is looked up.
const FILES: u32 = 2000;

/// What is counted. Callgrind finds it by its name, so it must stay a function.
#[inline(never)]
fn measured(work: Work<'_>) -> Result<(), Failed> {
    (0..TIMES).try_for_each(work)
}

fn counted(work: Work<'_>) -> Result<(), Failed> {
    work(TIMES)?;
    measured(work)
}

fn put(path: &Path, bytes: &[u8]) -> Result<Ref, Failed> {
    Ok(publish::bytes(path, bytes, Options::default(), &mut |_, _| Ok(()))?.reference)
}

fn put_table(path: &Path) -> Result<(), Failed> {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1000));
    let names = (0..10).map(|i| (format!("c{i}"), Arc::clone(&column)));
    let batch = RecordBatch::try_from_iter(names)?;
    let batches = std::slice::from_ref(&batch);
    let plan = ArrowPlan::new(&batch.schema(), batches, &PlanOptions::default())?;
    publish::table(path, &plan, Options::default(), &mut |_, _| Ok(()))?;
    Ok(())
}

/// From a path to the first value of a column of ten.
fn first_value(path: &Path) -> Result<i64, Failed> {
    let dataset = Dataset::open(path)?;
    let column = dataset.find_columns("c5")?[0];
    let dataset = dataset.select_columns(Columns::One(column))?;
    let part = dataset.parts()?.first().ok_or("no rows")?.clone();
    Ok(dataset
        .column(&part, 0)?
        .as_primitive::<Int64Type>()
        .value(0))
}

fn run(name: &str, mnt: &Path) -> Result<(), Failed> {
    match name {
        "open" => {
            let path = mnt.join("table");
            put_table(&path)?;
            counted(&mut |_| {
                black_box(first_value(&path)?);
                Ok(())
            })
        }
        "refresh" => {
            let volume = mounts::resolve(mnt)?.volume()?;
            counted(&mut |_| {
                black_box(volume.refresh()?);
                Ok(())
            })
        }
        "reference" => {
            let reference = put(&mnt.join("file"), b"x")?;
            counted(&mut |_| {
                let read: Ref = black_box(reference.to_string()).parse()?;
                black_box(read);
                Ok(())
            })
        }
        "append" => counted(&mut |n| put(&mnt.join(format!("file{n}")), b"").map(drop)),
        "lookup" => {
            for n in 0..FILES {
                put(&mnt.join(format!("file{n}")), b"")?;
            }
            let volume = mounts::resolve(mnt)?.volume()?;
            counted(&mut |n| {
                black_box(volume.stat(format!("file{}", n * 37).as_bytes())?);
                Ok(())
            })
        }
        "publish" => {
            let bytes = vec![0x5a; 4096];
            counted(&mut |n| put(&mnt.join(format!("file{n}")), &bytes).map(drop))
        }
        _ => Err(format!("no path {name}; there are: {}", NAMES.join(", ")).into()),
    }
}

fn main() -> Result<(), Failed> {
    let name = std::env::args().nth(1).unwrap_or_default();
    if name == "list" {
        println!("{}", NAMES.join("\n"));
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let (device, mnt) = (dir.path().join("volume"), dir.path().join("mnt"));
    let options = MkfsOptions {
        size: Some(8 << 30),
        sparse: true,
        ..MkfsOptions::default()
    };
    famfs::mkfs(&device, &options)?;
    std::fs::create_dir(&mnt)?;
    mounts::mount(&device, &mnt, None)?;
    let done = run(&name, &mnt);
    mounts::umount(&mnt, false)?;
    done?;
    println!("{TIMES}");
    Ok(())
}
