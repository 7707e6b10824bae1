//! `fsck`: judges a volume, for people and programs.

use anyhow::Result;
use famfs::core::check::Verdict;
use serde::Serialize;

use super::report::{DeviceReport, FindingReport, LogReport, Report, SuperblockReport, exit};
use super::source_of;
use crate::args::Fsck;
use crate::output::{Output, UsageReport};
use crate::size::{count, show};

/// What dump says, without the listings, and what came of it.
#[derive(Debug, Serialize)]
struct Judgement {
    superblock: Option<SuperblockReport>,
    log: Option<LogReport>,
    files: Option<usize>,
    directories: Option<usize>,
    devices: Vec<DeviceReport>,
    usage: Option<UsageReport>,
    findings: Vec<FindingReport>,
    verdict: &'static str,
    exit: i32,
}

pub(super) fn run(args: &Fsck, output: &mut Output) -> Result<i32> {
    let source = source_of(&args.place)?;
    if args.repair {
        return Err(famfs::Error::Unsupported {
            what: format!("{}: --repair", source.display()),
            why: "this version of famfs judges a volume and does not mend it yet; `famfs fsck` \
                  without it tells what is wrong, and what was good stays readable"
                .into(),
        }
        .into());
    }
    let (report, verdict) = Report::of(&source)?;
    let judged = verdict != Verdict::Unjudged;
    let judgement = Judgement {
        files: judged.then_some(report.files.len()),
        directories: judged.then_some(report.directories.len()),
        superblock: report.superblock,
        log: report.log,
        devices: report.devices,
        usage: report.usage,
        findings: report.findings,
        verdict: match verdict {
            Verdict::Clean => "clean",
            Verdict::Findings => "findings",
            Verdict::Unjudged => "unjudged",
        },
        exit: exit(verdict),
    };
    if args.json {
        output.json(&judgement)?;
    } else {
        output.line(source.display())?;
        tell(&judgement, output)?;
    }
    Ok(judgement.exit)
}

fn tell(judgement: &Judgement, output: &mut Output) -> Result<()> {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    if let Some(superblock) = &judgement.superblock {
        let [major, minor] = superblock.omf;
        row("volume", superblock.uuid.to_string());
        row("format", format!("OMF {major}.{minor}"));
        row(
            "master",
            format!(
                "{} (this host: {})",
                superblock.system_uuid, superblock.role
            ),
        );
        row("device size", show(superblock.device_size));
    }
    if let Some(log) = &judgement.log {
        let (entries, capacity, length) = (log.entries, log.capacity, show(log.length));
        row("log", format!("{entries} of {capacity} entries, {length}"));
    }
    if let (Some(files), Some(directories)) = (judgement.files, judgement.directories) {
        row("files", files.to_string());
        row("directories", directories.to_string());
    }
    if judgement.devices.len() > 1 {
        row("devices", judgement.devices.len().to_string());
    }
    if let Some(usage) = &judgement.usage {
        row("capacity", show(usage.capacity));
        row("allocated", show(usage.allocated));
        row("of it dead", show(usage.dead));
        row("free", show(usage.free));
    }
    output.table(&[], &[], rows)?;
    for finding in &judgement.findings {
        let FindingReport { kind, detail, .. } = finding;
        let place = match (finding.slot, finding.last_slot) {
            (Some(first), Some(last)) => format!("entries {first} to {last}"),
            (Some(slot), None) => format!("entry {slot}"),
            (None, _) => "volume".into(),
        };
        output.line(format_args!("{place}: {kind}: {detail}"))?;
    }
    match judgement.verdict {
        "clean" => output.line("clean"),
        "findings" => output.line(format_args!(
            "{}: until mended, the volume is mounted read-only; what was good stays readable",
            count(judgement.findings.len(), "finding")
        )),
        _ => output.line("could not be judged: the volume can't be mounted"),
    }
}
