//! `mkfs`: makes a volume.

use anyhow::Result;
use famfs::MkfsOptions;
use famfs::core::header::LogHeader;
use serde::Serialize;
use uuid::Uuid;

use crate::args::{Mkfs, Omf};
use crate::output::{Output, show_host};
use crate::size::show;

#[derive(Debug, Serialize)]
struct Made {
    device: String,
    uuid: Uuid,
    system_uuid: Uuid,
    size: u64,
    log_length: u64,
    log_capacity: u64,
    omf: [u32; 2],
}

pub(super) fn run(args: &Mkfs, output: &mut Output) -> Result<i32> {
    let superblock = famfs::mkfs(
        &args.device,
        &MkfsOptions {
            size: args.size,
            log_len: args.log_size,
            sparse: args.sparse,
            omf_minor: match args.omf {
                Omf::V2_2 => 2,
                Omf::V2_3 => 3,
            },
            host: args.host_uuid,
            force: args.force,
        },
    )?;
    let (major, minor) = superblock.omf();
    let made = Made {
        device: show_host(&args.device),
        uuid: superblock.uuid(),
        system_uuid: superblock.system_uuid(),
        size: superblock.device_size().0,
        log_length: superblock.log_len().0,
        log_capacity: LogHeader::new(superblock.log_len()).map_or(0, |header| header.capacity()),
        omf: [major, minor],
    };
    if args.json {
        output.json(&made)?;
        return Ok(0);
    }
    output.line(format_args!(
        "{}: made volume {}: {}, log of {} for {} entries, OMF {major}.{minor}",
        made.device,
        made.uuid,
        show(made.size),
        show(made.log_length),
        made.log_capacity,
    ))?;
    output.line(format_args!(
        "mount it with `famfs mount {} MNT`",
        made.device
    ))?;
    Ok(0)
}
