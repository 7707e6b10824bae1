//! `df`: how full volumes are.

use anyhow::Result;
use famfs::embedded::{self, Memory};
use famfs::mounts::{self, Mount};
use serde::Serialize;

use super::mount_at;
use crate::args::Df;
use crate::output::{Output, UsageReport, show_host};
use crate::size::show;

#[derive(Debug, Serialize)]
struct Fullness {
    source: String,
    mountpoint: String,
    #[serde(flatten)]
    usage: UsageReport,
    entries: u64,
    log_capacity: u64,
    /// What memory an embedded volume got, and how much of it is in huge pages.
    memory: Option<&'static str>,
    huge: Option<u64>,
}

pub(super) fn run(args: &Df, output: &mut Output) -> Result<i32> {
    let asked = !args.mountpoints.is_empty();
    let mounts: Vec<Mount> = if asked {
        let paths = args.mountpoints.iter();
        paths.map(|path| mount_at(path)).collect::<Result<_>>()?
    } else {
        mounts::list()?
    };
    let mut exit = 0;
    let mut all = Vec::with_capacity(mounts.len());
    for mount in &mounts {
        match fullness(mount) {
            Ok(fullness) => all.push(fullness),
            Err(error) if asked => return Err(error),
            // One that can't be opened does not hide the others.
            Err(error) => {
                super::complain(&error);
                exit = 1;
            }
        }
    }
    if args.json {
        output.json(&all)?;
        return Ok(exit);
    }
    let rows = all.iter().map(|one| {
        let usage = one.usage;
        // Of an empty device nothing is used.
        let percent = (usage.allocated * 100).div_ceil(usage.capacity.max(1));
        vec![
            one.source.clone(),
            show(usage.capacity),
            show(usage.allocated),
            show(usage.dead),
            show(usage.free),
            format!("{percent}%"),
            format!("{}/{}", one.entries, one.log_capacity),
            one.mountpoint.clone(),
        ]
    });
    let head = [
        "SOURCE",
        "SIZE",
        "USED",
        "DEAD",
        "FREE",
        "USE%",
        "ENTRIES",
        "MOUNTPOINT",
    ];
    output.table(&head, &[1, 2, 3, 4, 5, 6], rows.collect())?;
    for one in &all {
        if let (Some(memory), Some(huge)) = (one.memory, one.huge) {
            let mountpoint = &one.mountpoint;
            let (huge, size) = (show(huge), show(one.usage.capacity));
            output.line(format!(
                "{mountpoint} is embedded in {memory}: {huge} of {size} are in huge pages"
            ))?;
        }
    }
    Ok(exit)
}

fn fullness(mount: &Mount) -> Result<Fullness> {
    let volume = mount.volume()?;
    Ok(Fullness {
        source: show_host(&mount.source),
        mountpoint: show_host(&mount.mountpoint),
        usage: volume.usage().into(),
        entries: volume.entries(),
        log_capacity: volume.log_capacity(),
        memory: mount.embedded.map(Memory::words),
        huge: mount.embedded.map(|_| embedded::huge_bytes(&volume)),
    })
}
