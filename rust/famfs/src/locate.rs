//! Which published file the bytes at an address of this process are.
//!
//! Owns the way back from memory to the log: who was handed an array over a volume's memory learns
//! which file it is of, and can name that to others in place of sending the bytes. The log never
//! gives the same bytes to two files, so there is one answer at the most.

use std::collections::BTreeMap;

use famfs_core::units::{ByteLen, DevOff, DeviceIndex, FileOff, Slot};
use famfs_mem::{Identity, Located, Piece};

use crate::error::Result;
use crate::files::Stat;
use crate::kernel;
use crate::mounts::{self, VOLUMES, is_at, is_identity};
use crate::volume::{State, Volume};

/// Bytes of a file.
#[derive(Clone, Debug)]
pub struct InFile {
    /// The volume.
    pub volume: Volume,
    /// The file: maybe one that was replaced or removed since.
    pub file: Stat,
    /// Where the bytes begin in it.
    pub at: FileOff,
}

/// Where files begin on the primary device, and where they end: as far as the log was followed.
#[derive(Debug, Default)]
pub(crate) struct Places {
    by_start: BTreeMap<u64, (u64, Slot)>,
    /// The first slot that is not in it.
    next: Slot,
}

impl Places {
    fn follow(&mut self, state: &State) {
        let next = state.replay.next();
        if next == self.next {
            return;
        }
        for node in state.replay.names().made_since(self.next) {
            let Some(map) = node.map() else { continue };
            for extent in map.extents().iter() {
                if let Some(end) = extent.end()
                    && extent.device == DeviceIndex::PRIMARY
                {
                    self.by_start.insert(extent.offset.0, (end, node.slot()));
                }
            }
        }
        self.next = next;
    }

    fn slot_at(&self, at: u64) -> Option<Slot> {
        let (_, &(end, slot)) = self.by_start.range(..=at).next_back()?;
        (at < end).then_some(slot)
    }
}

/// The published file whose bytes, `len` of them, lie at `address` in this process, in a volume that
/// is mounted and that this process has mapped.
///
/// `None` for all other memory: also bytes of two files, of none yet, or behind a file's end; what is
/// written in place; what PyTorch was lent, which is a copy once it is written to; and no bytes. In
/// a forked child the first call may open the volume anew. It takes microseconds otherwise.
#[must_use]
pub fn locate(address: usize, len: usize) -> Option<InFile> {
    let found = famfs_mem::locate(address, len)?;
    mounted(found.identity).find_map(|volume| volume.file_at(&found))
}

/// The volumes on a device or backing file that are mounted: those that this process has open
/// first, then whichever is mounted there.
fn mounted(identity: Identity) -> impl Iterator<Item = Volume> {
    let mut open = Vec::new();
    for ((place, _), volume) in VOLUMES.lock().iter() {
        if volume.identity() == identity {
            open.push((place.clone(), volume.clone()));
        }
    }
    let open = open.into_iter().filter_map(|(place, volume)| {
        (is_at(&volume, &place) && volume.refresh().is_ok()).then_some(volume)
    });
    let mounts = std::iter::once_with(|| mounts::list().unwrap_or_default()).flatten();
    let others = mounts.filter_map(move |mount| {
        let is_it = if mount.kernel {
            is_identity(&mount.mountpoint.join(kernel::LOG), &identity)
        } else {
            is_identity(&mount.source, &identity)
        };
        is_it.then(|| mount.volume().ok()).flatten()
    });
    open.chain(others)
}

impl Volume {
    /// As [`locate`], of this volume alone, mounted or not.
    ///
    /// # Errors
    /// As [`Volume::refresh`].
    pub fn locate(&self, address: usize, len: usize) -> Result<Option<InFile>> {
        self.refresh()?;
        let found = famfs_mem::locate(address, len);
        let found = found.filter(|found| found.identity == self.identity());
        Ok(found.and_then(|found| self.file_at(&found)))
    }

    fn file_at(&self, found: &Located) -> Option<InFile> {
        let first = found.pieces.first()?;
        let len = found.pieces.iter().map(|piece| piece.len).sum();
        let slot = {
            // In this order everywhere: the state's lock is never held for this one.
            let state = self.inner.read();
            let mut places = self.inner.places();
            places.follow(&state);
            places.slot_at(first.at.0)?
        };
        let file = self.stat_slot(slot).ok()?;
        let map = file.map.as_ref()?;
        let at = map.position(DeviceIndex::PRIMARY, DevOff(first.at.0))?;
        if at.0.checked_add(len).is_none_or(|end| end > file.size.0) {
            return None;
        }
        // What follows each other in memory need not do so in the file.
        let runs = map.runs(at, ByteLen(len));
        let is_same = runs
            .map(|run| (run.device, run.offset.0, run.len.0))
            .eq(found
                .pieces
                .iter()
                .map(|&Piece { at, len }| (DeviceIndex::PRIMARY, at.0, len)));
        is_same.then(|| InFile {
            volume: self.clone(),
            file,
            at,
        })
    }
}
