//! `check` and `logplay`: whether what this host has of a volume is what its log says.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use famfs::core::check::Fatal;
use famfs::{Error, Stat, Volume};
use serde::Serialize;

use super::report::FindingReport;
use super::{content, mount_at};
use crate::args::{Check, Logplay};
use crate::output::{JsonPath, Output, show_host, show_path};
use crate::size::count;

/// Exit bit: files are not mapped as the log has them.
const UNMAPPED: i32 = 1;

/// Exit bit: the superblock is bad.
const SUPERBLOCK: i32 = 2;

/// Exit bit: the log is bad.
const LOG: i32 = 4;

/// A file that is not mapped as the log has it.
#[derive(Debug, Serialize)]
struct Unmapped {
    #[serde(flatten)]
    path: JsonPath,
    slot: u64,
    reason: String,
}

#[derive(Debug, Default, Serialize)]
struct Checked {
    files: usize,
    mapped: usize,
    unmapped: Vec<Unmapped>,
    superblock: Option<String>,
    log: Option<String>,
    findings: Vec<FindingReport>,
    exit: i32,
}

/// Checks every file's mapping.
pub(super) fn check(args: &Check, output: &mut Output) -> Result<i32> {
    let mount = mount_at(&args.mountpoint)?;
    let mut checked = match mount.volume() {
        Ok(volume) => look(&volume),
        Err(Error::Corrupt { fatal, .. }) => refused(&fatal),
        Err(error @ Error::VolumeChanged { .. }) => Checked {
            superblock: Some(error.to_string()),
            ..Checked::default()
        },
        Err(error) => return Err(error.into()),
    };
    checked.exit = [
        (!checked.unmapped.is_empty(), UNMAPPED),
        (checked.superblock.is_some(), SUPERBLOCK),
        (checked.log.is_some() || !checked.findings.is_empty(), LOG),
    ]
    .into_iter()
    .filter_map(|(is_set, bit)| is_set.then_some(bit))
    .sum();
    if args.json {
        output.json(&checked)?;
    } else {
        tell(&checked, output)?;
    }
    Ok(checked.exit)
}

fn refused(fatal: &Fatal) -> Checked {
    let why = Some(fatal.to_string());
    match fatal {
        Fatal::Header(_) => Checked {
            log: why,
            ..Checked::default()
        },
        _ => Checked {
            superblock: why,
            ..Checked::default()
        },
    }
}

fn look(volume: &Volume) -> Checked {
    let mut checked = Checked {
        findings: volume.findings().iter().map(FindingReport::from).collect(),
        ..Checked::default()
    };
    for file in volume.list_all() {
        if file.is_dir() {
            continue;
        }
        checked.files += 1;
        match touch(volume, &file) {
            Ok(()) => checked.mapped += 1,
            Err(error) => checked.unmapped.push(Unmapped {
                path: JsonPath::new(&file.path),
                slot: file.slot.0,
                reason: crate::error::tell(&error),
            }),
        }
    }
    checked
}

/// Reads the first and the last byte of each run: what is cut off or poisoned there shows.
fn touch(volume: &Volume, file: &Stat) -> Result<()> {
    let view = volume.view(file)?;
    let mut byte = [0; 1];
    let mut at = 0;
    for (_, len) in volume.runs(file)? {
        content::read(volume, &view, at, &mut byte)?;
        content::read(volume, &view, at + len.saturating_sub(1), &mut byte)?;
        at += len;
    }
    Ok(())
}

fn tell(checked: &Checked, output: &mut Output) -> Result<()> {
    for file in &checked.unmapped {
        output.line(format_args!(
            "{}: not mapped: {}",
            show_path(file.path.path.as_bytes()),
            file.reason
        ))?;
    }
    for (name, why) in [("superblock", &checked.superblock), ("log", &checked.log)] {
        if let Some(why) = why {
            output.line(format_args!("{name}: {why}"))?;
        }
    }
    if !checked.findings.is_empty() {
        output.line(format_args!(
            "log: {}; `famfs fsck` tells more",
            count(checked.findings.len(), "finding")
        ))?;
    }
    output.line(format_args!(
        "{} of {} files are mapped as the log has them",
        checked.mapped, checked.files
    ))
}

#[derive(Debug, Serialize)]
struct Played {
    mountpoint: String,
    uuid: uuid::Uuid,
    entries: u64,
    new_entries: u64,
    files: usize,
    directories: usize,
    /// What the kernel was told, under a kernel mount.
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel: Option<Placed>,
    findings: Vec<FindingReport>,
}

/// What the kernel was told.
#[derive(Debug, Serialize)]
struct Placed {
    files: u64,
    directories: u64,
    retired: u64,
    unchanged: u64,
    elsewhere: u64,
}

impl From<famfs::kernel::Played> for Placed {
    fn from(played: famfs::kernel::Played) -> Self {
        Self {
            files: played.files,
            directories: played.directories,
            retired: played.retired,
            unchanged: played.unchanged,
            elsewhere: played.elsewhere,
        }
    }
}

impl Placed {
    fn line(&self) -> String {
        format!(
            "the kernel: {} files and {} directories placed, {} names retired, {} entries as they \
             were",
            self.files, self.directories, self.retired, self.unchanged
        )
    }
}

/// Between two looks at the log, where nobody says otherwise.
pub(super) const INTERVAL: Duration = Duration::from_millis(100);

/// Plays what any host appends, until the mount is gone.
pub(super) fn follow(
    mountpoint: &Path,
    interval: Duration,
    json: bool,
    output: &mut Output,
) -> Result<i32> {
    let mut written = Ok(());
    famfs::kernel::follow(mountpoint, interval, |played| match played {
        Err(error) => crate::complain(&format!("famfs: {error}")),
        Ok(played) => {
            let report = Placed::from(played);
            // A line for each: who reads them needn't wait for an end.
            let said = if json {
                serde_json::to_string(&report)
                    .map_err(anyhow::Error::from)
                    .and_then(|line| output.line(line))
            } else {
                output.line(report.line())
            };
            if written.is_ok() {
                written = said.and_then(|()| output.flush());
            }
        }
    })?;
    written?;
    Ok(0)
}

/// Follows the log, and says what it holds.
pub(super) fn logplay(args: &Logplay, output: &mut Output) -> Result<i32> {
    let mount = mount_at(&args.mountpoint)?;
    if args.follow {
        let interval = Duration::from_millis(args.interval);
        return follow(mount.place(), interval, args.json, output);
    }
    // This process has seen nothing before: all entries are new to it.
    let volume = mount.volume()?;
    let refreshed = volume.refresh()?;
    let done = volume.play(famfs::core::units::Slot(0))?;
    let names = volume.list_all();
    let directories = names.iter().filter(|stat| stat.is_dir()).count();
    let report = Played {
        mountpoint: show_host(&mount.mountpoint),
        uuid: volume.uuid(),
        entries: refreshed.entries,
        new_entries: refreshed.entries,
        files: names.len() - directories,
        directories,
        kernel: volume.is_kernel().then(|| done.into()),
        findings: volume.findings().iter().map(FindingReport::from).collect(),
    };
    if args.json {
        output.json(&report)?;
        return Ok(0);
    }
    output.line(format_args!(
        "{}: {} entries replayed, {} files, {} directories",
        report.mountpoint, report.entries, report.files, report.directories
    ))?;
    if let Some(placed) = &report.kernel {
        output.line(placed.line())?;
        if placed.elsewhere > 0 {
            crate::complain(&format!(
                "famfs: warning: {} files lie on devices that are not here",
                placed.elsewhere
            ));
        }
    }
    if !report.findings.is_empty() {
        crate::complain(&format!(
            "famfs: warning: {}; `famfs fsck {}` tells more",
            count(report.findings.len(), "finding"),
            report.mountpoint
        ));
    }
    Ok(0)
}
