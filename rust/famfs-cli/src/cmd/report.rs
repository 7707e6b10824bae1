//! What dump and fsck say of a volume, as one object.
//!
//! Owns the names and the order of the keys, which scripts rely on.

use std::path::Path;

use anyhow::Result;
use famfs::core::check::{Check, Verdict};
use famfs::core::entry::Owner;
use famfs::core::extent::{Extents, Map};
use famfs::core::finding::Finding;
use famfs::core::replay::{Device, Replay};
use famfs::core::superblock::{Role, Superblock};
use famfs::core::units::Slot;
use famfs::host;
use serde::Serialize;
use uuid::Uuid;

use crate::error::UNJUDGED;
use crate::output::{JsonPath, UsageReport};
use crate::size::show_mode;

/// Exit code where there are findings.
const FINDINGS: i32 = 4;

#[derive(Debug, Serialize)]
pub(super) struct SuperblockReport {
    pub(super) uuid: Uuid,
    pub(super) device_uuid: Uuid,
    pub(super) system_uuid: Uuid,
    pub(super) version: u64,
    pub(super) omf: [u32; 2],
    pub(super) log_offset: u64,
    pub(super) log_length: u64,
    pub(super) alloc_unit: u64,
    pub(super) device_size: u64,
    pub(super) role: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct LogReport {
    pub(super) length: u64,
    pub(super) entries: u64,
    pub(super) capacity: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct DirectoryReport {
    #[serde(flatten)]
    path: JsonPath,
    mode: String,
    uid: u32,
    gid: u32,
}

#[derive(Debug, Serialize)]
pub(super) struct FileReport {
    #[serde(flatten)]
    path: JsonPath,
    size: u64,
    mode: String,
    uid: u32,
    gid: u32,
    slot: u64,
    #[serde(flatten)]
    map: MapReport,
}

/// Where a file's bytes lie.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum MapReport {
    Extents(Vec<ExtentReport>),
    Interleaved {
        chunk_size: u64,
        strips: Vec<ExtentReport>,
    },
}

#[derive(Debug, Serialize)]
pub(super) struct ExtentReport {
    pub(super) device: u64,
    pub(super) offset: u64,
    pub(super) length: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct DeviceReport {
    index: usize,
    uuid: Uuid,
    size: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct FindingReport {
    pub(super) slot: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_slot: Option<u64>,
    pub(super) kind: &'static str,
    pub(super) detail: String,
}

/// A volume, as far as it can be judged.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) superblock: Option<SuperblockReport>,
    pub(super) log: Option<LogReport>,
    pub(super) directories: Vec<DirectoryReport>,
    pub(super) files: Vec<FileReport>,
    pub(super) devices: Vec<DeviceReport>,
    pub(super) usage: Option<UsageReport>,
    pub(super) findings: Vec<FindingReport>,
}

impl From<&Extents> for MapReport {
    fn from(extents: &Extents) -> Self {
        Self::Extents(extents_of(extents))
    }
}

impl From<&Map> for MapReport {
    fn from(map: &Map) -> Self {
        match map {
            Map::Simple(extents) => extents.into(),
            Map::Interleaved { chunk_size, strips } => Self::Interleaved {
                chunk_size: chunk_size.0,
                strips: extents_of(strips),
            },
        }
    }
}

fn extents_of(extents: &Extents) -> Vec<ExtentReport> {
    let report = |extent: &famfs::core::extent::Extent| ExtentReport {
        device: extent.device.0,
        offset: extent.offset.0,
        length: extent.len.0,
    };
    extents.iter().map(report).collect()
}

impl From<&Finding> for FindingReport {
    fn from(finding: &Finding) -> Self {
        let number = |slot: Slot| slot.0;
        Self {
            slot: finding.slot.map(number),
            last_slot: finding.last_slot.map(number),
            kind: finding.kind.code(),
            detail: finding.kind.to_string(),
        }
    }
}

/// A role's name.
pub(super) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Master => "master",
        Role::Client => "client",
    }
}

fn superblock_report(superblock: &Superblock) -> Result<SuperblockReport> {
    let (major, minor) = superblock.omf();
    Ok(SuperblockReport {
        uuid: superblock.uuid(),
        device_uuid: superblock.device_uuid(),
        system_uuid: superblock.system_uuid(),
        version: famfs::core::media::SUPERBLOCK_VERSION,
        omf: [major, minor],
        log_offset: famfs::core::media::LOG_OFFSET,
        log_length: superblock.log_len().0,
        alloc_unit: famfs::core::units::ALLOC_UNIT,
        device_size: superblock.device_size().0,
        role: role_name(superblock.role(host::identity()?)),
    })
}

impl Report {
    /// Judges what is on a device, and reports it with its verdict.
    pub(super) fn of(source: &Path) -> Result<(Self, Verdict)> {
        let check = famfs::inspect::inspect(source)?;
        let verdict = check.verdict();
        Ok((Self::new(&check)?, verdict))
    }

    fn new(check: &Check) -> Result<Self> {
        let mut findings: Vec<_> = check.findings().iter().map(FindingReport::from).collect();
        if let Some(fatal) = &check.fatal {
            findings.push(FindingReport {
                slot: None,
                last_slot: None,
                kind: fatal.code(),
                detail: fatal.to_string(),
            });
        }
        let superblock = check.superblock.as_ref().map(superblock_report);
        let mut report = Self {
            superblock: superblock.transpose()?,
            log: check.header.as_ref().map(|header| LogReport {
                length: check.superblock.as_ref().map_or(0, |s| s.log_len().0),
                entries: header.used(header.counters()),
                capacity: header.capacity(),
            }),
            directories: Vec::new(),
            files: Vec::new(),
            devices: Vec::new(),
            usage: None,
            findings,
        };
        if let Some(replay) = &check.replay {
            report.add_names(replay);
            report.devices = devices(replay.devices());
            report.usage = Some(replay.usage().into());
        }
        Ok(report)
    }

    fn add_names(&mut self, replay: &Replay) {
        for node in replay.names().iter() {
            let Owner { uid, gid, mode } = node.owner();
            let (path, mode) = (JsonPath::new(node.path()), show_mode(mode));
            match node.map() {
                None => self.directories.push(DirectoryReport {
                    path,
                    mode,
                    uid,
                    gid,
                }),
                Some(map) => self.files.push(FileReport {
                    path,
                    size: node.size().0,
                    mode,
                    uid,
                    gid,
                    slot: node.slot().0,
                    map: (&map).into(),
                }),
            }
        }
    }
}

fn devices(devices: &[Device]) -> Vec<DeviceReport> {
    let report = |(index, device): (usize, &Device)| DeviceReport {
        index,
        uuid: device.uuid,
        size: device.size.0,
    };
    devices.iter().enumerate().map(report).collect()
}

/// The exit code of a verdict, as fsck(8) has them.
pub(super) fn exit(verdict: Verdict) -> i32 {
    match verdict {
        Verdict::Clean => 0,
        Verdict::Findings => FINDINGS,
        Verdict::Unjudged => UNJUDGED,
    }
}
