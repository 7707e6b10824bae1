//! Append planning: which bytes go where so that new entries are committed, all or none.
//!
//! Owns the choice of slots and the check, by the rules of the replay, that every entry will be
//! applied by whoever replays it. Writes nothing: the order of stores and flushes is the facade's.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::entry::{DeviceEntry, Entry};
use crate::extent::Extent;
use crate::finding::FindingKind;
use crate::header::Counters;
use crate::judge::{Before, DeviceRoom, Effect, Found, FoundKind, judge};
use crate::media::{ENTRY_LEN, entry_offset};
use crate::path::{RelPath, parent};
use crate::replay::{ReadOnlyReason, Replay};
use crate::units::{DeviceIndex, Slot};

/// Why entries can't be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Nothing may be appended to the volume.
    #[error(transparent)]
    ReadOnly(#[from] ReadOnlyReason),
    /// The log has not enough slots left.
    #[error("{wanted} entries are to be appended, the log has room for {left}")]
    LogFull {
        /// Entries to append.
        wanted: u64,
        /// Slots left.
        left: u64,
    },
    /// A replay would not apply an entry.
    #[error("{kind}")]
    Refused {
        /// Which of the entries, counted from 0.
        index: usize,
        /// What the replay would find.
        kind: FindingKind,
    },
}

/// Entries ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    first: Slot,
    bytes: Vec<u8>,
    counters: Counters,
}

impl Batch {
    /// The slot of the first entry.
    #[must_use]
    pub const fn first(&self) -> Slot {
        self.first
    }

    /// The slots, in the order of the entries.
    pub fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        (self.first.0..self.counters.next_index).map(Slot)
    }

    /// Where the entries go, in bytes from the start of the log.
    #[must_use]
    pub fn offset(&self) -> u64 {
        // A slot of a log that fits a device: no overflow.
        entry_offset(self.first.0).unwrap_or(u64::MAX)
    }

    /// The entries' bytes, one after the other.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The counters that commit the entries once they are durable.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }
}

/// Plans to append `entries`, each judged as the ones before it will leave the volume.
///
/// # Errors
/// [`AppendError`]; then none of them may be appended.
pub fn plan(replay: &Replay, entries: &[Entry]) -> Result<Batch, AppendError> {
    replay.writable()?;
    let first = replay.next();
    let (wanted, left) = (
        entries.len() as u64,
        replay.capacity().saturating_sub(first.0),
    );
    if wanted > left {
        return Err(AppendError::LogFull { wanted, left });
    }
    let mut pending = Pending {
        replay,
        names: BTreeMap::new(),
        extents: Vec::new(),
    };
    let mut bytes = Vec::with_capacity(entries.len() * ENTRY_LEN);
    for (index, entry) in entries.iter().enumerate() {
        let slot = Slot(first.0 + index as u64);
        let effect = judge(entry, &pending).map_err(|kind| AppendError::Refused { index, kind })?;
        // No entry for what changes nothing: a directory that is there is an error to its maker.
        if effect == Effect::Nothing
            && let Entry::Mkdir(dir) = entry
            && let Some(found) = pending.find(dir.path.as_bytes())
        {
            let kind = FindingKind::NameTaken { slot: found.slot };
            return Err(AppendError::Refused { index, kind });
        }
        pending.apply(slot, entry);
        bytes.extend_from_slice(&entry.encode(slot));
    }
    Ok(Batch {
        first,
        bytes,
        counters: Counters::at(Slot(first.0 + wanted)),
    })
}

/// A volume with the entries of a batch on top, not applied to it yet.
struct Pending<'a> {
    replay: &'a Replay,
    /// What the batch has made of the names that it touched; `None` where a name went.
    names: BTreeMap<RelPath, Option<Found>>,
    /// What it has allocated.
    extents: Vec<Extent>,
}

impl Pending<'_> {
    fn apply(&mut self, slot: Slot, entry: &Entry) {
        match entry {
            Entry::File(file) => {
                let is_new = self.find(file.path.as_bytes()).is_none();
                self.set(
                    &file.path,
                    Some(Found {
                        slot,
                        kind: FoundKind::File,
                    }),
                );
                self.extents.extend_from_slice(file.map.extents());
                if is_new {
                    self.count_child(&file.path, 1);
                }
            }
            Entry::Mkdir(dir) => {
                self.set(
                    &dir.path,
                    Some(Found {
                        slot,
                        kind: FoundKind::Dir { children: 0 },
                    }),
                );
                self.count_child(&dir.path, 1);
            }
            Entry::Delete(delete) => {
                self.set(&delete.path, None);
                self.count_child(&delete.path, -1);
            }
            Entry::AddDevice(_) => {}
        }
    }

    fn set(&mut self, path: &RelPath, found: Option<Found>) {
        self.names.insert(*path, found);
    }

    /// One child more or less in the directory that `path` lies in.
    fn count_child(&mut self, path: &RelPath, change: i64) {
        let Some(parent) = parent(path.as_bytes()).and_then(|p| RelPath::new(p).ok()) else {
            return;
        };
        if let Some(Found {
            slot,
            kind: FoundKind::Dir { children },
        }) = self.find(parent.as_bytes())
        {
            let children = children.saturating_add_signed(change);
            self.set(
                &parent,
                Some(Found {
                    slot,
                    kind: FoundKind::Dir { children },
                }),
            );
        }
    }
}

impl Before for Pending<'_> {
    fn find(&self, path: &[u8]) -> Option<Found> {
        if self.names.is_empty() {
            return self.replay.find(path);
        }
        match RelPath::new(path)
            .ok()
            .and_then(|path| self.names.get(&path))
        {
            Some(touched) => *touched,
            None => self.replay.find(path),
        }
    }

    fn is_taken(&self, extent: &Extent) -> bool {
        let meets = |other: &Extent| {
            other.device == extent.device
                && other.offset.0 < extent.offset.0.saturating_add(extent.len.0)
                && extent.offset.0 < other.offset.0.saturating_add(other.len.0)
        };
        self.replay.is_taken(extent) || self.extents.iter().any(meets)
    }

    fn device(&self, index: DeviceIndex) -> Option<DeviceRoom> {
        // Files are never made on a device that is not here.
        self.replay.device(index).filter(|device| device.here)
    }

    fn device_with_uuid(&self, entry: &DeviceEntry) -> Option<DeviceIndex> {
        self.replay.device_with_uuid(entry)
    }

    fn next_device(&self) -> DeviceIndex {
        self.replay.next_device()
    }

    fn replaces(&self) -> bool {
        self.replay.replaces()
    }
}
