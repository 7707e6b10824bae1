//! Files attached to a region, each where its bytes lie on the device.
//!
//! A device under a kernel mount is reached through files alone. Mapped at its own place in the
//! region each of them makes the part that it shows look as if all of the device were mapped: the
//! protocol, fills and views need not know. What is attached stays so, and is not asked for again.
#![expect(unsafe_code, reason = "files are mapped over reserved addresses")]

use std::{io, os::fd::AsFd, sync::PoisonError};

use crate::{
    memory::{Fault, Memory, RegionOff, check},
    region::{MapError, Region},
    stitch,
    view::Piece,
};

impl Region {
    /// Maps the pieces of a file, one after the other from its start on, each where it lies.
    ///
    /// What was attached before, with at least these rights, stays as it is. A last piece may end
    /// inside of a page: all of the page is there then.
    ///
    /// # Errors
    /// [`MapError::Range`] for a piece that is not in the region or not aligned to it;
    /// [`MapError::TooManyMappings`]; [`MapError::System`]: then some pieces may be there.
    pub fn attach(
        &self,
        file: impl AsFd,
        pieces: &[Piece],
        writable: bool,
    ) -> Result<(), MapError> {
        let Some(patches) = self.patches() else {
            return Ok(());
        };
        let page = crate::guard::page_size();
        stitch::check_room(patches.mappings(), pieces.len() as u64)?;
        let mut offset = 0;
        for piece in pieces {
            let Piece { at, len } = *piece;
            check(at, len, self.mapping().len())?;
            let whole = len.next_multiple_of(page);
            let system = |error| self.system("attach a file to", len, error);
            let at_byte = usize::try_from(at.0).map_err(|_| system(too_large()))?;
            let bytes = usize::try_from(whole).map_err(|_| system(too_large()))?;
            let space = self.mapping().space();
            let place = || {
                // SAFETY: where nothing is attached nothing refers to the addresses, as every
                // access is checked against the patches. Where a file is attached already it shows
                // the same memory, since each part of the device belongs to one file: the mapping
                // changes its rights in one step, and to no less than readers need.
                let placed = unsafe { space.place(at_byte, file.as_fd(), offset, bytes, writable) };
                if placed.is_err() {
                    // The kernel may have taken the old mapping away before it failed: the
                    // addresses stay reserved, or they would be given to somebody else.
                    // SAFETY: as above; the patches no longer have the range.
                    let _ = unsafe { space.clear(at_byte, bytes) };
                }
                placed
            };
            if len > 0 {
                patches
                    .add((at.0, at.0 + whole), writable, place)
                    .map_err(system)?;
            }
            offset += len;
        }
        Ok(())
    }

    /// Attaches the pieces of a file to be written, until each who holds them lets go of them.
    ///
    /// # Errors
    /// As [`attach`](Self::attach); they are held then too.
    pub fn hold(&self, file: impl AsFd, pieces: &[Piece]) -> Result<(), MapError> {
        let (Some(patches), Some(first)) = (self.patches(), pieces.first()) else {
            return Ok(());
        };
        // Locked throughout: who lets go at this moment must not take away what is held by now.
        let mut holds = patches.holds.lock().unwrap_or_else(PoisonError::into_inner);
        *holds.entry(first.at.0).or_default() += 1;
        self.attach(file, pieces, true)
    }

    /// Leaves what is held where it is, for good: it was committed.
    pub fn keep(&self, pieces: &[Piece]) {
        if let (Some(patches), Some(first)) = (self.patches(), pieces.first()) {
            let mut holds = patches.holds.lock().unwrap_or_else(PoisonError::into_inner);
            holds.remove(&first.at.0);
        }
    }

    /// Lets go of the pieces of a file; whoever is the last takes them away: a reservation that was
    /// given up, whose memory another file may get.
    ///
    /// # Errors
    /// [`MapError::System`]; the pieces can't be accessed any more all the same.
    ///
    /// # Safety
    /// The caller holds them ([`hold`](Self::hold)), and accesses them no more. No view has bytes of
    /// them.
    pub unsafe fn detach(&self, pieces: &[Piece]) -> Result<(), MapError> {
        let (Some(patches), Some(first)) = (self.patches(), pieces.first()) else {
            return Ok(());
        };
        let mut holds = patches.holds.lock().unwrap_or_else(PoisonError::into_inner);
        match holds.get_mut(&first.at.0) {
            Some(count) if *count > 1 => {
                *count -= 1;
                return Ok(());
            }
            Some(_) => {
                holds.remove(&first.at.0);
            }
            // They were kept.
            None => return Ok(()),
        }
        let page = crate::guard::page_size();
        for piece in pieces {
            let whole = piece.len.next_multiple_of(page);
            check(piece.at, piece.len, self.mapping().len())?;
            let system = |error| self.system("detach a file from", piece.len, error);
            let at = usize::try_from(piece.at.0).map_err(|_| system(too_large()))?;
            let len = usize::try_from(whole).map_err(|_| system(too_large()))?;
            if len > 0 {
                let clear = || {
                    // SAFETY: nobody holds the pieces, so that no thread accesses them, and no
                    // view refers to them, by the promise of all who did.
                    unsafe { self.mapping().space().clear(at, len) }
                };
                patches
                    .remove(piece.at.0, piece.at.0 + whole, clear)
                    .map_err(system)?;
            }
        }
        Ok(())
    }

    /// Whether a range can be accessed: always, but for a device that files show in parts.
    #[must_use]
    pub fn is_attached(&self, at: RegionOff, len: u64) -> bool {
        let end = at.0.saturating_add(len);
        self.patches()
            .is_none_or(|patches| patches.has(at.0, end, false))
    }

    /// Refuses a range of which some is not attached.
    pub(crate) fn check_attached(&self, at: RegionOff, len: u64) -> Result<(), Fault> {
        match self.patches() {
            Some(patches) => patches.check(at, len, false),
            None => Ok(()),
        }
    }
}

fn too_large() -> io::Error {
    io::ErrorKind::OutOfMemory.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, Identity, Part, Source, testing::shm_dir};
    use std::{fs::File, sync::Arc};

    const UNIT: u64 = 64 << 10;

    fn file(dir: &std::path::Path, name: &str, byte: u8, len: u64) -> File {
        let path = dir.join(name);
        let len = usize::try_from(len).unwrap();
        std::fs::write(&path, vec![byte; len]).unwrap();
        File::options().read(true).write(true).open(path).unwrap()
    }

    fn device(dir: &std::path::Path, ino: u64) -> (Source, Arc<Region>) {
        let parts = vec![Part {
            at: 0,
            len: UNIT,
            file: file(dir, "superblock", 1, UNIT),
            writable: false,
        }];
        let identity = Identity {
            dev: u64::MAX,
            ino,
            rdev: 0,
            character: false,
        };
        let lock = file(dir, "lock", 0, 1);
        let source = Source::from_parts(
            dir.to_owned(),
            lock,
            parts,
            (16 * UNIT, UNIT),
            Access::ReadWrite,
            identity,
        );
        let region = Region::map(&source).unwrap();
        (source, region)
    }

    fn piece(unit: u64, units: u64) -> Piece {
        Piece {
            at: RegionOff(unit * UNIT),
            len: units * UNIT,
        }
    }

    #[test]
    fn parts_are_reached_where_they_lie_and_nothing_else_is() {
        let dir = shm_dir();
        let (source, region) = device(dir.path(), 1);
        let mut byte = [0];
        region.load(RegionOff(5), &mut byte).unwrap();
        source.read_at(5, &mut byte).unwrap();
        assert_eq!(byte, [1]);
        let at = RegionOff(UNIT);
        let nowhere = Fault::Detached { at, len: 1 };
        assert_eq!(region.load(at, &mut byte), Err(nowhere.clone()));
        assert_eq!(region.store(at, &byte), Err(nowhere.clone()));
        assert_eq!(region.invalidate(at, 1), Err(nowhere));
        assert!(region.load_pair(at).is_err());
        assert!(source.read_at(UNIT, &mut byte).is_err());
        // Outside of the device is told as ever.
        assert!(matches!(
            region.load(RegionOff(16 * UNIT), &mut byte),
            Err(Fault::OutOfRange { .. })
        ));

        let data = file(dir.path(), "data", 7, 3 * UNIT);
        let pieces = [piece(4, 1), piece(2, 2)];
        region.attach(&data, &pieces, true).unwrap();
        region.store(RegionOff(4 * UNIT), b"first").unwrap();
        region.store(RegionOff(2 * UNIT), b"second").unwrap();
        let content = std::fs::read(dir.path().join("data")).unwrap();
        assert_eq!(content[..5], *b"first");
        let second = usize::try_from(UNIT).unwrap();
        assert_eq!(content[second..second + 6], *b"second");
        Region::forget(&source.identity());
    }

    #[test]
    fn a_view_of_several_pieces_is_one_mapping_of_their_file() {
        let dir = shm_dir();
        let (source, region) = device(dir.path(), 2);
        let data = file(dir.path(), "data", 7, 2 * UNIT);
        let pieces = [piece(9, 1), piece(5, 1)];
        // SAFETY: nobody writes to the file while it is viewed.
        assert!(unsafe { region.view(&pieces[..1], 10, None) }.is_err());
        region.attach(&data, &pieces, false).unwrap();
        let at = RegionOff(9 * UNIT);
        assert_eq!(region.store(at, b"x"), Err(Fault::ReadOnly));
        // SAFETY: as above.
        let view = unsafe { region.view(&pieces, UNIT + 5, Some(data.as_fd())) }.unwrap();
        assert!(view.iter().all(|byte| *byte == 7));
        assert_eq!(view.len() as u64, UNIT + 5);
        // SAFETY: as above.
        let one = unsafe { region.view(&pieces[..1], 10, None) }.unwrap();
        assert_eq!(one.address() as u64, region.address() as u64 + 9 * UNIT);
        Region::forget(&source.identity());
    }

    #[test]
    fn what_is_detached_is_gone_and_may_be_anothers() {
        let dir = shm_dir();
        let (source, region) = device(dir.path(), 3);
        let first = file(dir.path(), "first", 1, 2 * UNIT);
        region.hold(&first, &[piece(3, 2)]).unwrap();
        region.hold(&first, &[piece(3, 2)]).unwrap();
        // SAFETY: they are held, and no view has these bytes.
        unsafe { region.detach(&[piece(3, 2)]) }.unwrap();
        assert!(region.is_attached(RegionOff(3 * UNIT), 2 * UNIT));
        // SAFETY: as above; who lets go of less takes less away.
        unsafe { region.detach(&[piece(3, 1)]) }.unwrap();
        assert!(!region.is_attached(RegionOff(3 * UNIT), 1));
        assert!(region.is_attached(RegionOff(4 * UNIT), UNIT));
        let second = file(dir.path(), "second", 2, UNIT);
        region.attach(&second, &[piece(3, 1)], false).unwrap();
        let mut bytes = [0; 2];
        region.load(RegionOff(4 * UNIT - 1), &mut bytes).unwrap();
        assert_eq!(bytes, [2, 1]);
        assert!(region.attach(&second, &[piece(16, 1)], false).is_err());
        // What was kept stays, whoever lets go of it.
        region.hold(&first, &[piece(8, 1)]).unwrap();
        region.keep(&[piece(8, 1)]);
        // SAFETY: as above.
        unsafe { region.detach(&[piece(8, 1)]) }.unwrap();
        assert!(region.is_attached(RegionOff(8 * UNIT), UNIT));
        Region::forget(&source.identity());
    }
}
