//! `mount`, `umount` and `mounts`.

use std::path::Path;

use anyhow::Result;
use famfs::embedded::{self, Memory};
use famfs::mounts::{self, Mounted};
use famfs::{Locality, Volume, kernel};
use serde::Serialize;
use uuid::Uuid;

use super::report::role_name;
use crate::args::{Mount, Mounts, Umount};
use crate::error::Error;
use crate::output::{Output, UsageReport, show_host};
use crate::size::show;

/// A mount, as it is listed.
#[derive(Debug, Serialize)]
struct MountReport {
    source: String,
    mountpoint: String,
    way: &'static str,
    uuid: Option<Uuid>,
    embedded: Option<Memory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume: Option<VolumeReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What is known of a volume once it is open.
#[derive(Debug, Serialize)]
struct VolumeReport {
    uuid: Uuid,
    role: &'static str,
    system_uuid: Uuid,
    host_uuid: Uuid,
    locality: &'static str,
    omf: [u32; 2],
    entries: u64,
    log_capacity: u64,
    findings: usize,
    usage: UsageReport,
}

impl VolumeReport {
    fn new(volume: &Volume) -> Self {
        let (major, minor) = volume.superblock().omf();
        Self {
            uuid: volume.uuid(),
            role: role_name(volume.role()),
            system_uuid: volume.superblock().system_uuid(),
            host_uuid: volume.host(),
            locality: locality_name(volume.locality()),
            omf: [major, minor],
            entries: volume.entries(),
            log_capacity: volume.log_capacity(),
            findings: volume.findings().len(),
            usage: volume.usage().into(),
        }
    }
}

fn locality_name(locality: Locality) -> &'static str {
    match locality {
        Locality::Local => "local",
        Locality::Shared => "shared",
    }
}

impl MountReport {
    fn new(mount: &mounts::Mount) -> Self {
        Self {
            source: show_host(&mount.source),
            mountpoint: show_host(&mount.mountpoint),
            way: if mount.kernel { "kernel" } else { "library" },
            uuid: mount.uuid,
            embedded: mount.embedded,
            volume: None,
            error: None,
        }
    }

    /// The same with what an open volume tells, or why it can't be opened.
    fn opened(mount: &mounts::Mount) -> Self {
        let mut report = Self::new(mount);
        match mount.volume() {
            Ok(volume) => report.volume = Some(VolumeReport::new(&volume)),
            Err(error) => report.error = Some(error.to_string()),
        }
        report
    }
}

/// Mounts a volume.
pub(super) fn mount(args: &Mount, output: &mut Output) -> Result<i32> {
    if args.fuse {
        return Err(famfs::Error::Unsupported {
            what: "mount --fuse".into(),
            why:
                "this version of famfs can't mount through FUSE yet; leave --fuse out to mount in \
                  the library way, which needs neither module nor daemon"
                    .into(),
        }
        .into());
    }
    match (&args.places[..], args.embedded) {
        ([mountpoint], true) => mount_embedded(mountpoint, args, output),
        ([device, mountpoint], false)
            if args.kernel
                || args.follow
                || args.range.is_some()
                || (!args.library && kernel::is_ready_for(device)) =>
        {
            mount_kernel(device, mountpoint, args, output)
        }
        ([device, mountpoint], false) => {
            let shared = (args.shared || args.local).then_some(args.shared);
            let mounted = mounts::mount(device, mountpoint, shared)?;
            tell(&mounted, args.json, output, |report| {
                format!("mounted {} on {}", report.source, report.mountpoint)
            })
        }
        (_, true) => {
            Err(Error::Usage("with --embedded the mount point alone is given".into()).into())
        }
        (_, false) => Err(Error::Usage(
            "a device or backing file and a mount point are needed (with --range any name for the \
             device, such as none); --embedded takes the mount point alone"
                .into(),
        )
        .into()),
    }
}

fn mount_kernel(
    device: &Path,
    mountpoint: &Path,
    args: &Mount,
    output: &mut Output,
) -> Result<i32> {
    if args.shared || args.local {
        let why = "a kernel mount is always seen by several hosts; leave --shared and --local out";
        return Err(Error::Usage(why.into()).into());
    }
    let (volume, played) = kernel::mount(device, mountpoint, args.range.as_deref())?;
    let findings = volume.findings().len();
    drop(volume);
    let played = played.unwrap_or_else(|error| {
        crate::complain(&format!(
            "famfs: warning: {error}; the rest of the volume is there"
        ));
        kernel::Played::default()
    });
    let real = std::fs::canonicalize(mountpoint).unwrap_or_else(|_| mountpoint.to_owned());
    let mount = mounts::list()?.into_iter().rev();
    let mount = mount
        .into_iter()
        .find(|mount| mount.kernel && mount.mountpoint == real);
    let Some(mount) = mount else {
        // Somebody unmounted it at once.
        return Ok(0);
    };
    let report = MountReport::opened(&mount);
    if args.json {
        output.json(&report)?;
        return followed(args, &real, output);
    }
    output.line(format_args!(
        "mounted {} on {}: {} files and {} directories placed",
        report.source, report.mountpoint, played.files, played.directories
    ))?;
    if let Some(volume) = &report.volume {
        output.line(format_args!(
            "volume {}, this host is its {}, seen by several hosts",
            volume.uuid, volume.role
        ))?;
    }
    warn_of(findings, &report.mountpoint);
    output.line("the way is kernel: every program sees the files, at memory speed")?;
    followed(args, &real, output)
}

fn followed(args: &Mount, mountpoint: &Path, output: &mut Output) -> Result<i32> {
    if !args.follow {
        return Ok(0);
    }
    output.flush()?;
    super::check::follow(mountpoint, super::check::INTERVAL, args.json, output)
}

fn warn_of(findings: usize, mountpoint: &str) {
    if findings > 0 {
        crate::complain(&format!(
            "famfs: warning: the volume has findings and is read-only; `famfs fsck {mountpoint}` \
             tells more"
        ));
    }
}

fn mount_embedded(mountpoint: &Path, args: &Mount, output: &mut Output) -> Result<i32> {
    let made = embedded::mount(mountpoint, args.size)?;
    let memory = made.mounted.mount.embedded.map_or("memory", Memory::words);
    if let Some(asked) = args.size
        && !made.is_new
        && asked != made.size
    {
        crate::complain(&format!(
            "famfs: {}: the volume was there already, with {}; `famfs umount --discard` gives it \
             up",
            mountpoint.display(),
            show(made.size)
        ));
    }
    tell(&made.mounted, args.json, output, |report| {
        let verb = if made.is_new {
            "made and mounted"
        } else {
            "mounted"
        };
        format!(
            "{verb} an embedded volume of {} on {}: {memory} ({}), {} of it in huge pages",
            show(made.size),
            report.mountpoint,
            report.source,
            show(made.huge)
        )
    })
}

fn tell(
    mounted: &Mounted,
    json: bool,
    output: &mut Output,
    line: impl FnOnce(&MountReport) -> String,
) -> Result<i32> {
    for warning in &mounted.warnings {
        crate::complain(&format!("famfs: warning: {warning}"));
    }
    let report = MountReport::opened(&mounted.mount);
    if json {
        output.json(&report)?;
        return Ok(0);
    }
    output.line(line(&report))?;
    if let Some(volume) = &report.volume {
        output.line(format_args!(
            "volume {}, this host is its {}, seen by {}",
            volume.uuid,
            volume.role,
            if volume.locality == "local" {
                "this host alone"
            } else {
                "several hosts"
            }
        ))?;
        warn_of(volume.findings, &report.mountpoint);
    }
    output.line(
        "the way is library: famfs and Python see the files, other programs an empty directory",
    )?;
    Ok(0)
}

/// Takes a mount away.
pub(super) fn umount(args: &Umount, output: &mut Output) -> Result<i32> {
    let gone = mounts::umount(&args.mountpoint, args.discard)?;
    // Nothing else lists a volume that isn't mounted, and its memory would be forgotten.
    if gone.embedded.is_some()
        && !args.discard
        && let Ok(volume) = std::fs::metadata(&gone.source)
    {
        let mountpoint = gone.mountpoint.display();
        output.line(format_args!(
            "the volume stays, in {} of this host's memory; `famfs mount --embedded {mountpoint}` \
             has it again, and then `famfs umount --discard {mountpoint}` gives the memory back",
            show(volume.len())
        ))?;
    }
    Ok(0)
}

/// Lists the mounts.
pub(super) fn list(args: &Mounts, output: &mut Output) -> Result<i32> {
    let report = if args.verbose {
        MountReport::opened
    } else {
        MountReport::new
    };
    for error in mounts::passed_over() {
        crate::complain(&format!("famfs: warning: {error}"));
    }
    let reports: Vec<_> = mounts::list()?.iter().map(report).collect();
    if args.json {
        output.json(&reports)?;
        return Ok(0);
    }
    if reports.is_empty() {
        crate::complain(
            "famfs: no mounts; `famfs mount DEV MNT` adds one, and `famfs mount --embedded MNT` \
             makes a volume in this host's memory",
        );
        return Ok(0);
    }
    let mut head = vec!["SOURCE", "MOUNTPOINT", "WAY"];
    if args.verbose {
        head.extend([
            "ROLE", "CACHES", "FORMAT", "ENTRIES", "USED", "SIZE", "FINDINGS", "VOLUME",
        ]);
        for report in &reports {
            if let Some(error) = &report.error {
                crate::complain(&format!(
                    "famfs: warning: {}: can't be opened: {error}",
                    report.mountpoint
                ));
            }
        }
    }
    let rows = reports.iter().map(|report| row(report, args.verbose));
    output.table(&head, &[6, 7, 8, 9], rows.collect())?;
    Ok(0)
}

fn row(report: &MountReport, verbose: bool) -> Vec<String> {
    let mut way = report.way.to_owned();
    if let Some(memory) = report.embedded {
        way.push_str(", embedded in ");
        way.push_str(memory.words());
    }
    let mut row = vec![report.source.clone(), report.mountpoint.clone(), way];
    if !verbose {
        return row;
    }
    if let Some(volume) = &report.volume {
        let [major, minor] = volume.omf;
        row.extend([
            volume.role.to_owned(),
            volume.locality.to_owned(),
            format!("OMF {major}.{minor}"),
            format!("{}/{}", volume.entries, volume.log_capacity),
            show(volume.usage.allocated),
            show(volume.usage.capacity),
            volume.findings.to_string(),
            volume.uuid.to_string(),
        ]);
    }
    row
}
