//! What goes on in volumes: looks at their logs, and what changed between two of them.
//!
//! Owns what is counted. Everything comes from the log, which any host can follow, but for the
//! processes that have a volume mapped: those are this host's.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use famfs::core::units::Slot;
use famfs::mounts::{self, Mount};
use famfs::sys::holders;
use famfs::{Error, Volume};
use serde::Serialize;
use uuid::Uuid;

use super::mount_at;
use super::report::role_name;
use crate::output::{JsonPath, UsageReport};

/// Files that are told of each volume, the youngest first.
const LATEST: usize = 8;

/// Looks that are remembered.
pub(super) const REMEMBERED: usize = 60;

/// How long a list of processes is good: finding them reads the mappings of all.
const PROCESSES_FOR: Duration = Duration::from_secs(3);

/// A volume, as of one look.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Look {
    pub(super) mountpoint: String,
    pub(super) source: String,
    pub(super) uuid: Uuid,
    pub(super) role: &'static str,
    pub(super) entries: u64,
    pub(super) log_capacity: u64,
    #[serde(flatten)]
    pub(super) usage: UsageReport,
    /// Files since the look before, and their bytes.
    pub(super) published: u64,
    pub(super) published_bytes: u64,
    pub(super) per_second: f64,
    pub(super) bytes_per_second: f64,
    /// Other processes of this host that have it mapped, as far as they can be seen.
    pub(super) processes: Vec<u32>,
    pub(super) latest: Vec<Latest>,
}

/// A file that came lately.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Latest {
    #[serde(flatten)]
    pub(super) path: JsonPath,
    pub(super) size: u64,
    pub(super) slot: u64,
    /// Seconds since this process first saw it, where that was not at the first look.
    pub(super) age: Option<f64>,
}

/// What is remembered of a volume between two looks.
#[derive(Debug)]
struct Memory {
    uuid: Uuid,
    at: Instant,
    /// Entries at the first look.
    first: u64,
    entries: u64,
    processes: (Instant, Vec<u32>),
    /// Files per second, the oldest look first.
    history: Vec<f64>,
}

/// Looks at volumes again and again.
#[derive(Debug)]
pub(super) struct Activity {
    asked: Vec<PathBuf>,
    known: BTreeMap<PathBuf, Memory>,
}

impl Activity {
    /// Of the volumes mounted at these paths, or of all.
    pub(super) fn of(asked: &[PathBuf]) -> Self {
        Self {
            asked: asked.to_owned(),
            known: BTreeMap::new(),
        }
    }

    /// Looks at each volume once. Those that can't be opened are told beside the others.
    ///
    /// # Errors
    /// Where a volume that was asked for isn't mounted, and where mounts can't be listed.
    pub(super) fn look(&mut self) -> Result<(Vec<Look>, Vec<Error>)> {
        let mounts = if self.asked.is_empty() {
            mounts::list()?
        } else {
            let asked = self.asked.iter();
            asked.map(|path| mount_at(path)).collect::<Result<_>>()?
        };
        let (mut looks, mut failed) = (Vec::new(), Vec::new());
        self.known
            .retain(|path, _| mounts.iter().any(|mount| mount.mountpoint == *path));
        for mount in &mounts {
            match self.look_at(mount) {
                Ok(look) => looks.push(look),
                Err(error) => failed.push(error),
            }
        }
        Ok((looks, failed))
    }

    /// Files per second of the last looks at a volume, the oldest first.
    pub(super) fn history(&self, mountpoint: &str) -> &[f64] {
        let memory = self.known.get(std::path::Path::new(mountpoint));
        memory.map_or(&[], |memory| &memory.history)
    }

    fn look_at(&mut self, mount: &Mount) -> Result<Look, Error> {
        let volume = mount.volume()?;
        let (uuid, entries, at) = (volume.uuid(), volume.entries(), Instant::now());
        let before = self.known.remove(&mount.mountpoint);
        let is_new = before.is_none();
        let before = before.filter(|before| before.uuid == uuid && before.entries <= entries);
        let mut memory = before.unwrap_or_else(|| Memory {
            uuid,
            at,
            first: entries,
            entries,
            processes: (at, processes(mount)),
            history: Vec::new(),
        });
        let (published, bytes) = since(&volume, memory.entries, entries);
        let seconds = at.duration_since(memory.at).as_secs_f64();
        #[allow(clippy::cast_precision_loss, reason = "a rate is no exact number")]
        let rate = |count: u64| {
            if seconds > 0.0 {
                count as f64 / seconds
            } else {
                0.0
            }
        };
        if at.duration_since(memory.processes.0) > PROCESSES_FOR {
            memory.processes = (at, processes(mount));
        }
        (memory.at, memory.entries) = (at, entries);
        if !is_new {
            memory.history.push(rate(published));
            let over = memory.history.len().saturating_sub(REMEMBERED);
            memory.history.drain(..over);
        }
        let look = Look {
            mountpoint: mount.mountpoint.display().to_string(),
            source: crate::output::show_host(&mount.source),
            uuid,
            role: role_name(volume.role()),
            entries,
            log_capacity: volume.log_capacity(),
            usage: volume.usage().into(),
            published,
            published_bytes: bytes,
            per_second: rate(published),
            bytes_per_second: rate(bytes),
            processes: memory.processes.1.clone(),
            latest: latest(&volume, memory.first, entries),
        };
        self.known.insert(mount.mountpoint.clone(), memory);
        Ok(look)
    }
}

/// Files that entries between two slots made, and their bytes.
fn since(volume: &Volume, from: u64, to: u64) -> (u64, u64) {
    let made = (from..to).filter_map(|slot| volume.stat_slot(Slot(slot)).ok());
    made.filter(|stat| !stat.is_dir())
        .fold((0, 0), |(files, bytes), stat| {
            (files + 1, bytes + stat.size.0)
        })
}

fn latest(volume: &Volume, first: u64, entries: u64) -> Vec<Latest> {
    let made = (0..entries).rev().take(4 * LATEST);
    let files = made.filter_map(|slot| volume.stat_slot(Slot(slot)).ok());
    let told = files.filter(|stat| stat.is_live && !stat.is_dir());
    told.take(LATEST)
        .map(|stat| Latest {
            path: JsonPath::new(&stat.path),
            size: stat.size.0,
            slot: stat.slot.0,
            age: (stat.slot.0 >= first)
                .then(|| stat.seen.elapsed().unwrap_or_default().as_secs_f64()),
        })
        .collect()
}

fn processes(mount: &Mount) -> Vec<u32> {
    if mount.kernel {
        return holders::of_mount(&mount.mountpoint);
    }
    let file = File::open(&mount.source);
    file.map(|file| holders::of_mappings(&file))
        .unwrap_or_default()
}
