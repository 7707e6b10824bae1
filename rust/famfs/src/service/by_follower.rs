//! What a publisher does through the follower of a kernel mount.
//!
//! Owns what is believed when the follower's answer is lost: it may have published all the same.

use famfs_core::units::Slot;

use crate::error::{Error, Result};
use crate::publish::Publication;
use crate::service::{Client, Lost};
use crate::volume::Volume;

impl Volume {
    /// Has the follower commit what it keeps.
    pub(crate) fn commit_by(
        &self,
        client: &Client,
        files: &mut [Publication],
    ) -> Result<Vec<Slot>> {
        let asked: Vec<_> = files
            .iter()
            .map(|file| {
                let token = file.reservation.token();
                (token, file.path, file.owner, file.overwrite)
            })
            .collect();
        let told = client.commit(&asked);
        if !matches!(&told, Err(lost) if lost.is_refusal()) {
            // It may be in the log, whatever became of the answer.
            for file in files.iter_mut() {
                file.reservation.committed();
            }
        }
        self.refresh()?;
        let slots = match told {
            Ok(slots) => slots,
            Err(lost) => match self.slots_of(files) {
                // The follower ended after it had published, and before it could say so.
                Some(slots) if lost.is_silence() => slots,
                _ => return Err(lost.error),
            },
        };
        Ok(slots)
    }

    /// The slots of files, where the log has all of them.
    fn slots_of(&self, files: &[Publication]) -> Option<Vec<Slot>> {
        let slot = |file: &Publication| {
            let found = self.stat(file.path.as_bytes()).ok()?;
            let map = file.reservation.map();
            // Memory that the log has named is nobody else's; of an empty file nothing is known.
            let is_it = file.reservation.size().0 > 0 && found.map.as_ref() == Some(map);
            is_it.then_some(found.slot)
        };
        files.iter().map(slot).collect()
    }

    /// Follows what the follower has appended.
    pub(crate) fn told(&self, slots: Result<Vec<Slot>, Lost>) -> Result<Slot> {
        let slots = slots.map_err(|lost| lost.error)?;
        self.refresh()?;
        slots.first().copied().ok_or(Error::Forked)
    }
}
