//! Findings: what is wrong with a volume that can still be read.
//!
//! Owns the list of all that a replay can find and how it is named in reports. Runs of one kind of
//! finding are reported as one with a range, so that a ruined log stays readable as a report.

use alloc::vec::Vec;

use crate::extent::Extent;
use crate::media::{ENTRY_LEN, MAX_EXTENTS};
use crate::path::PathError;
use crate::units::Slot;

/// Findings of one kind in a row before they are told as one with a range.
const RUN: usize = 8;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FindingKind {
    /// The device is not as large as the superblock says; the smaller size bounds the extents.
    #[error("the superblock says the device has {claimed} bytes, it has {actual}")]
    DeviceSize {
        /// In the superblock.
        claimed: u64,
        /// Of the real device.
        actual: u64,
    },
    /// The log's two counters differ.
    #[error(
        "the log's counters differ: next sequence number {next_seqnum}, next slot {next_index}"
    )]
    CountersDiverge {
        /// Sequence number of the next entry.
        next_seqnum: u64,
        /// Slot of the next entry.
        next_index: u64,
    },
    /// The next slot lies past the log's end.
    #[error("next slot {next_index}, but the log ends after {capacity} entries")]
    NextIndexPastEnd {
        /// Slot of the next entry.
        next_index: u64,
        /// Entries that fit.
        capacity: u64,
    },
    /// The counters count an entry that is not there: its bytes are all zero.
    #[error("the log counts an entry that was never written")]
    EntryMissing,
    /// An entry's bytes do not match their checksum.
    #[error("entry checksum {found:#x}, {computed:#x} computed over its {ENTRY_LEN} bytes")]
    EntryCrc {
        /// What stands there.
        found: u64,
        /// What its bytes give.
        computed: u64,
    },
    /// An entry's sequence number is not its slot.
    #[error("sequence number {found}, the slot's own expected")]
    EntrySeqnum {
        /// What stands there.
        found: u64,
    },
    /// An entry's type is not known in this format.
    #[error("unknown entry type {found}")]
    EntryType {
        /// What stands there.
        found: u32,
    },
    /// REPLACE in a format that does not have it.
    #[error("the entry replaces a file, which this volume's format does not have")]
    ReplaceUnsupported,
    /// The path breaks a rule.
    #[error("{0}")]
    Path(PathError),
    /// The directory that the path lies in is not there.
    #[error("the parent directory does not exist")]
    ParentMissing,
    /// The path lies below a file.
    #[error("the parent, made in slot {slot}, is a file")]
    ParentNotDirectory {
        /// Where that file was made.
        slot: Slot,
    },
    /// The name is taken.
    #[error("the name is taken since slot {slot}")]
    NameTaken {
        /// Where the name was made.
        slot: Slot,
    },
    /// What is to be deleted is not there, or is not what the entry says.
    #[error("no name made in slot {slot} is there to be deleted")]
    DeleteMismatch {
        /// What the entry says.
        slot: Slot,
    },
    /// The directory to be deleted has something in it.
    #[error("the directory to be deleted is not empty")]
    DirectoryNotEmpty,
    /// The map is neither simple nor interleaved.
    #[error("unknown extent type {found}")]
    ExtentType {
        /// What stands there.
        found: u32,
    },
    /// More extents than an entry can hold, or not one map where interleaved.
    #[error("{found} extents, {MAX_EXTENTS} are the most (1 map where interleaved)")]
    ExtentCount {
        /// What stands there.
        found: u32,
    },
    /// No strips, or more than an entry can hold.
    #[error("{found} strips, 1 to {MAX_EXTENTS} expected")]
    StripCount {
        /// What stands there.
        found: u64,
    },
    /// A chunk size that is not a power of two or not a multiple of the allocation unit.
    #[error("chunk size {found}, a power of two and a multiple of the allocation unit expected")]
    ChunkSize {
        /// What stands there.
        found: u64,
    },
    /// An extent has no length.
    #[error("the extent at {:#x} is empty", .extent.offset.0)]
    ExtentEmpty {
        /// The extent.
        extent: Extent,
    },
    /// An extent does not begin or end on an allocation unit.
    #[error("the extent at {:#x}, {:#x} long, is not made of whole allocation units",
        .extent.offset.0, .extent.len.0)]
    ExtentUnaligned {
        /// The extent.
        extent: Extent,
    },
    /// An extent covers the superblock or the log.
    #[error("the extent at {:#x}, {:#x} long, covers the superblock or the log",
        .extent.offset.0, .extent.len.0)]
    ExtentInLog {
        /// The extent.
        extent: Extent,
    },
    /// An extent ends past its device.
    #[error("the extent at {:#x}, {:#x} long, ends past its device",
        .extent.offset.0, .extent.len.0)]
    ExtentOutside {
        /// The extent.
        extent: Extent,
    },
    /// An extent covers what is allocated already.
    #[error("the extent at {:#x}, {:#x} long, covers what is allocated already",
        .extent.offset.0, .extent.len.0)]
    ExtentOverlap {
        /// The extent.
        extent: Extent,
    },
    /// The extents are too short for the file.
    #[error("the extents cover {covered} of the file's {size} bytes")]
    SizeNotCovered {
        /// The file's size in bytes.
        size: u64,
        /// What the extents cover, in bytes.
        covered: u64,
    },
    /// An extent lies on a device that no entry before named.
    #[error("the extent lies on device {index}, which is not in the device table")]
    DeviceUnknown {
        /// Index in the device table.
        index: u64,
    },
    /// A file lies on a device that this host does not have; it is listed and refuses I/O.
    #[error("the file lies on device {index}, which is not here")]
    DeviceMissing {
        /// Index in the device table.
        index: u64,
    },
    /// A device is added out of its turn.
    #[error("device index {found}, {expected} is next")]
    DeviceIndex {
        /// What stands there.
        found: u64,
        /// The next index.
        expected: u64,
    },
    /// A device is added a second time.
    #[error("the device is in the table already, as device {index}")]
    DeviceTaken {
        /// Index in the device table.
        index: u64,
    },
}

impl FindingKind {
    /// The finding's name in reports.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::DeviceSize { .. } => "device_size",
            Self::CountersDiverge { .. } => "counters_diverge",
            Self::NextIndexPastEnd { .. } => "next_index_past_end",
            Self::EntryMissing => "entry_missing",
            Self::EntryCrc { .. } => "entry_crc",
            Self::EntrySeqnum { .. } => "entry_seqnum",
            Self::EntryType { .. } => "entry_type",
            Self::ReplaceUnsupported => "replace_unsupported",
            Self::Path(_) => "path_invalid",
            Self::ParentMissing => "parent_missing",
            Self::ParentNotDirectory { .. } => "parent_not_directory",
            Self::NameTaken { .. } => "name_taken",
            Self::DeleteMismatch { .. } => "delete_mismatch",
            Self::DirectoryNotEmpty => "directory_not_empty",
            Self::ExtentType { .. } => "extent_type",
            Self::ExtentCount { .. } => "extent_count",
            Self::StripCount { .. } => "strip_count",
            Self::ChunkSize { .. } => "chunk_size",
            Self::ExtentEmpty { .. } => "extent_empty",
            Self::ExtentUnaligned { .. } => "extent_unaligned",
            Self::ExtentInLog { .. } => "extent_in_log",
            Self::ExtentOutside { .. } => "extent_outside",
            Self::ExtentOverlap { .. } => "extent_overlap",
            Self::SizeNotCovered { .. } => "size_not_covered",
            Self::DeviceUnknown { .. } => "device_unknown",
            Self::DeviceMissing { .. } => "device_missing",
            Self::DeviceIndex { .. } => "device_index",
            Self::DeviceTaken { .. } => "device_taken",
        }
    }
}

/// Something wrong, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The slot of the entry; `None` where it is about the volume as a whole.
    pub slot: Option<Slot>,
    /// The last slot of a range of which this is the first, where there is a range.
    pub last_slot: Option<Slot>,
    /// What is wrong; of a range, with its first slot.
    pub kind: FindingKind,
}

/// All findings of a volume, in the order of their slots.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    all: Vec<Finding>,
}

impl Findings {
    /// Adds one about the volume as a whole.
    pub(crate) fn add(&mut self, kind: FindingKind) {
        self.all.push(Finding {
            slot: None,
            last_slot: None,
            kind,
        });
    }

    /// Adds one about an entry. Slots only ever grow.
    pub(crate) fn add_at(&mut self, slot: Slot, kind: FindingKind) {
        if let Some(last) = self.all.last_mut()
            && last.kind.code() == kind.code()
            && let Some(end) = last.last_slot
            && end.next() == slot
        {
            last.last_slot = Some(slot);
            return;
        }
        self.all.push(Finding {
            slot: Some(slot),
            last_slot: None,
            kind,
        });
        self.fold_run(kind.code());
    }

    /// Tells the last `RUN` findings as one, if they are of one kind and in a row.
    fn fold_run(&mut self, code: &str) {
        let Some(start) = self.all.len().checked_sub(RUN) else {
            return;
        };
        let tail = &self.all[start..];
        let in_a_row = tail
            .iter()
            .all(|f| f.kind.code() == code && f.last_slot.is_none())
            && tail
                .windows(2)
                .all(|w| w[0].slot.map(Slot::next) == w[1].slot);
        if in_a_row {
            let last_slot = self.all.last().and_then(|f| f.slot);
            self.all.truncate(start + 1);
            self.all[start].last_slot = last_slot;
        }
    }

    /// Puts aside those about the volume as a whole that `stale` names: they were judged afresh.
    pub(crate) fn retract(&mut self, stale: impl Fn(&FindingKind) -> bool) {
        self.all.retain(|f| f.slot.is_some() || !stale(&f.kind));
    }
}

impl core::ops::Deref for Findings {
    type Target = [Finding];

    fn deref(&self) -> &[Finding] {
        &self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_become_ranges() {
        let mut findings = Findings::default();
        for slot in 0..7 {
            findings.add_at(Slot(slot), FindingKind::EntryMissing);
        }
        assert_eq!(findings.len(), 7);
        for slot in 7..1000 {
            findings.add_at(Slot(slot), FindingKind::EntryMissing);
        }
        findings.add_at(Slot(1000), FindingKind::ParentMissing);
        findings.add_at(Slot(1002), FindingKind::EntryMissing);
        let ranges: Vec<_> = findings
            .iter()
            .map(|f| (f.slot.map(|s| s.0), f.last_slot.map(|s| s.0)))
            .collect();
        assert_eq!(
            ranges,
            [(Some(0), Some(999)), (Some(1000), None), (Some(1002), None)]
        );
    }
}
