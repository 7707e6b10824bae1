//! Replay: the log's entries, one after the other, become a namespace and a map of the space.
//!
//! Owns the state of a volume as far as its log was judged. Goes on from where it stopped when the
//! log grows, and never over again. Bytes come in, decisions go out; nothing is read from here.

use alloc::collections::BTreeMap;
use alloc::{vec, vec::Vec};

use uuid::Uuid;

use crate::entry::{self, DeviceEntry, Entry};
use crate::extent::Extent;
use crate::finding::{FindingKind, Findings};
use crate::header::{Counters, LogHeader};
use crate::judge::{Before, DeviceRoom, Effect, Found, judge};
use crate::media::{ENTRY_LEN, TYPE_DELETE, entry_offset};
use crate::namespace::{Namespace, NewFile};
use crate::space::Space;
use crate::superblock::Superblock;
use crate::units::{ByteLen, DevOff, DeviceIndex, MAX_DEVICE, Slot};

/// Entries that are read at once: a few pages of cache, not the whole log.
const READ_ENTRIES: u64 = 512;

/// Entries that room is made for ahead of judging them.
const MOST_HINTED: u64 = 1 << 16;

/// Why a volume with a valid superblock can't be replayed on this device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The device ends before the file data begins.
    #[error("the device has {size} bytes, superblock and log alone take {needed}")]
    TooSmall {
        /// Bytes there are.
        size: u64,
        /// Bytes needed.
        needed: u64,
    },
    /// The device is larger than this code takes.
    #[error("the device has {size} bytes, {MAX_DEVICE} are the most")]
    TooLarge {
        /// Bytes there are.
        size: u64,
    },
}

impl DeviceError {
    /// The finding's name in reports.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooSmall { .. } => "device_too_small",
            Self::TooLarge { .. } => "device_too_large",
        }
    }
}

/// Why nothing may be appended to a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadOnlyReason {
    /// Another host may judge the volume otherwise, until it is repaired.
    #[error("the volume has {count} findings, the first: {first}")]
    Findings {
        /// How many.
        count: usize,
        /// The first.
        first: FindingKind,
    },
    /// The format is newer than this code.
    #[error("the volume's format is {major}.{minor}, newer than this version of famfs knows")]
    NewerFormat {
        /// Major version.
        major: u32,
        /// Minor version.
        minor: u32,
    },
}

/// A device of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its identity.
    pub uuid: Uuid,
    /// Its size in bytes; of the primary, the one that bounds extents.
    pub size: ByteLen,
}

/// What space is used for, in bytes; `allocated + free = capacity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Whole allocation units of the device.
    pub capacity: u64,
    /// Superblock, log and files, dead files too.
    pub allocated: u64,
    /// Files that were replaced or removed.
    pub dead: u64,
    /// Not allocated.
    pub free: u64,
}

/// A volume as far as its log was judged.
#[derive(Clone, Debug)]
pub struct Replay {
    superblock: Superblock,
    capacity: u64,
    devices: Vec<Device>,
    names: Namespace,
    space: Space,
    /// Extents on devices other than the primary: their ends by where they begin. They never
    /// overlap, so the last one that begins before an offset is the only one that can reach it.
    elsewhere: BTreeMap<(DeviceIndex, DevOff), u64>,
    dead: u64,
    findings: Findings,
    next: Slot,
}

impl Replay {
    /// A volume none of whose entries was judged yet. `device` is the real size of the device;
    /// `seed` makes hashes of names unpredictable; room is made for as many entries as `header`
    /// counts.
    ///
    /// # Errors
    /// [`DeviceError`] where the device can't hold the volume.
    pub fn new(
        superblock: &Superblock,
        header: &LogHeader,
        device: ByteLen,
        seed: u64,
    ) -> Result<Self, DeviceError> {
        let needed = superblock.data_offset();
        if device.0 < needed {
            return Err(DeviceError::TooSmall {
                size: device.0,
                needed,
            });
        }
        let claimed = superblock.device_size();
        let size = ByteLen(device.0.min(claimed.0).max(needed));
        if size.0 > MAX_DEVICE {
            return Err(DeviceError::TooLarge { size: size.0 });
        }
        let mut findings = Findings::default();
        if claimed != device {
            findings.add(FindingKind::DeviceSize {
                claimed: claimed.0,
                actual: device.0,
            });
        }
        // Only a hint: what a hostile header counts must not be taken from memory at once.
        let entries = usize::try_from(header.used(header.counters()).min(MOST_HINTED)).unwrap_or(0);
        Ok(Self {
            superblock: superblock.clone(),
            capacity: header.capacity(),
            devices: vec![Device {
                uuid: superblock.device_uuid(),
                size,
            }],
            names: Namespace::new(seed, entries),
            space: Space::new(size, needed),
            elsewhere: BTreeMap::new(),
            dead: 0,
            findings,
            next: Slot(0),
        })
    }

    /// Judges the entries from [`Self::next`] on, as many whole ones as `bytes` holds.
    pub fn judge_entries(&mut self, bytes: &[u8]) {
        let (entries, _) = bytes.as_chunks::<ENTRY_LEN>();
        for entry in entries {
            self.judge_entry(entry);
        }
    }

    /// Judges what the counters say, in place of what they said before.
    pub fn judge_counters(&mut self, header: &LogHeader, counters: Counters) {
        self.findings.retract(|kind| {
            matches!(
                kind,
                FindingKind::CountersDiverge { .. } | FindingKind::NextIndexPastEnd { .. }
            )
        });
        for kind in header.findings(counters) {
            self.findings.add(kind);
        }
    }

    /// Judges all entries that `header` counts and that were not judged yet. `read_log` fills a
    /// buffer from an offset in the log as far as there are bytes, and says how many there were.
    ///
    /// # Errors
    /// What `read_log` returns; entries judged before that stay judged.
    pub fn judge_log<E>(
        &mut self,
        header: &LogHeader,
        mut read_log: impl FnMut(u64, &mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        let end = header.used(header.counters());
        let mut buffer = Vec::new();
        while self.next.0 < end {
            let entries = (end - self.next.0).min(READ_ENTRIES);
            // A piece of at most READ_ENTRIES entries fits memory, on any host.
            buffer.resize(usize::try_from(entries).unwrap_or(0) * ENTRY_LEN, 0);
            let offset = entry_offset(self.next.0).unwrap_or(u64::MAX);
            let len = read_log(offset, &mut buffer)?;
            if len < ENTRY_LEN {
                break;
            }
            self.judge_entries(&buffer[..len]);
        }
        Ok(())
    }

    fn judge_entry(&mut self, bytes: &[u8; ENTRY_LEN]) {
        let slot = self.next;
        self.next = slot.next();
        let decoded = Entry::decode(bytes, slot);
        // Never moved: an entry is half a KiB.
        let judged = match &decoded {
            Ok(entry) => judge(entry, self).map(|effect| (effect, entry)),
            Err(kind) => Err(*kind),
        };
        match judged {
            Ok((effect, entry)) => self.apply(slot, effect, entry),
            // A type that this version of the format lacks has no payload to be wrong.
            Err(FindingKind::Path(_)) if self.is_unknown(bytes) => {
                self.findings
                    .add_at(slot, FindingKind::EntryType { found: TYPE_DELETE });
            }
            Err(kind) => self.findings.add_at(slot, kind),
        }
    }

    fn is_unknown(&self, bytes: &[u8; ENTRY_LEN]) -> bool {
        !self.superblock.replaces() && entry::kind(bytes) == TYPE_DELETE
    }

    fn apply(&mut self, slot: Slot, effect: Effect, entry: &Entry) {
        match entry {
            Entry::File(file) => {
                let new = NewFile {
                    path: file.path.as_bytes(),
                    slot,
                    owner: file.owner,
                    size: file.size,
                    map: &file.map,
                };
                if let Effect::Replace { .. } = effect {
                    self.dead += self.names.replace_file(&new).0;
                } else {
                    self.names.make_file(&new);
                }
                for extent in file.map.extents().iter() {
                    if extent.device == DeviceIndex::PRIMARY {
                        self.space.take(extent);
                    } else {
                        let end = extent.offset.0.saturating_add(extent.len.0);
                        self.elsewhere.insert((extent.device, extent.offset), end);
                    }
                }
                if let Effect::Make {
                    missing: Some(device),
                }
                | Effect::Replace {
                    missing: Some(device),
                } = effect
                {
                    self.findings
                        .add_at(slot, FindingKind::DeviceMissing { index: device.0 });
                }
            }
            Entry::Mkdir(dir) => {
                if effect != Effect::Nothing {
                    self.names.make_dir(dir.path.as_bytes(), slot, dir.owner);
                }
            }
            Entry::Delete(delete) => self.dead += self.names.delete(delete.path.as_bytes()).0,
            Entry::AddDevice(device) => {
                self.devices.push(Device {
                    uuid: device.uuid,
                    size: device.size,
                });
            }
        }
    }

    /// The superblock.
    #[must_use]
    pub const fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// The first slot that was not judged yet.
    #[must_use]
    pub const fn next(&self) -> Slot {
        self.next
    }

    /// The number of entries that the log has room for.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The names.
    #[must_use]
    pub const fn names(&self) -> &Namespace {
        &self.names
    }

    /// The primary device's space.
    #[must_use]
    pub const fn space(&self) -> &Space {
        &self.space
    }

    /// The primary device's space, to hold some of it for reservations.
    #[must_use]
    pub const fn space_mut(&mut self) -> &mut Space {
        &mut self.space
    }

    /// The device table, the primary first.
    #[must_use]
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// What is wrong with the volume.
    #[must_use]
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// What the space is used for.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let (capacity, allocated) = (self.space.capacity().0, self.space.allocated().0);
        Usage {
            capacity,
            allocated,
            dead: self.dead,
            free: capacity.saturating_sub(allocated),
        }
    }

    /// Whether entries may be appended.
    ///
    /// # Errors
    /// The reason why not.
    pub fn writable(&self) -> Result<(), ReadOnlyReason> {
        if !self.superblock.minor_is_known() {
            let (major, minor) = self.superblock.omf();
            return Err(ReadOnlyReason::NewerFormat { major, minor });
        }
        match self.findings.first() {
            None => Ok(()),
            Some(first) => Err(ReadOnlyReason::Findings {
                count: self.findings.len(),
                first: first.kind,
            }),
        }
    }
}

impl Before for Replay {
    fn find(&self, path: &[u8]) -> Option<Found> {
        self.names.find(path)
    }

    fn is_taken(&self, extent: &Extent) -> bool {
        if extent.device == DeviceIndex::PRIMARY {
            return self.space.is_taken(extent);
        }
        let end = DevOff(extent.offset.0.saturating_add(extent.len.0));
        let first = (extent.device, DevOff(0));
        let last = self
            .elsewhere
            .range(first..(extent.device, end))
            .next_back();
        last.is_some_and(|(_, &other_end)| extent.offset.0 < other_end)
    }

    fn device(&self, index: DeviceIndex) -> Option<DeviceRoom> {
        let device = self.devices.get(usize::try_from(index.0).ok()?)?;
        let here = index == DeviceIndex::PRIMARY;
        let start = if here {
            self.superblock.data_offset()
        } else {
            0
        };
        Some(DeviceRoom {
            start,
            size: device.size,
            here,
        })
    }

    fn device_with_uuid(&self, entry: &DeviceEntry) -> Option<DeviceIndex> {
        let at = self
            .devices
            .iter()
            .position(|device| device.uuid == entry.uuid)?;
        Some(DeviceIndex(at as u64))
    }

    fn next_device(&self) -> DeviceIndex {
        DeviceIndex(self.devices.len() as u64)
    }

    fn replaces(&self) -> bool {
        self.superblock.replaces()
    }
}
