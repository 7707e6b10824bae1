//! Bytes of a region that are written in place, by code that is not ours.
//!
//! Owns the addresses that are lent for it, and how they are taken back: whoever kept one of them
//! can't write to the region any more. It makes no reference to the bytes, and flushes nothing.
#![expect(
    unsafe_code,
    reason = "lent addresses are taken back by mapping over them"
)]

use std::{
    io,
    mem::ManuallyDrop,
    os::fd::BorrowedFd,
    sync::{Arc, Mutex, PoisonError},
};

use rustix::mm::{Advice, madvise};

use crate::{
    Fault, Kind, MapError, Memory, Piece, Region, address::Space, fork::generation,
    stitch::Stitched, view::joined,
};

/// What the addresses lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The region's bytes, to be written.
    Open,
    /// The region's bytes as they were; what is written to them is nobody else's.
    Sealed,
    /// Memory of nobody.
    Void,
}

/// Addresses through which pieces of a region are written.
///
/// They are a mapping of their own, not the region's: what is taken back is this one alone. A
/// forked child has no memory there.
#[derive(Debug)]
pub struct Window {
    stitched: ManuallyDrop<Stitched>,
    region: Arc<Region>,
    pieces: Box<[Piece]>,
    len: usize,
    state: Mutex<State>,
    generation: u64,
}

impl Region {
    /// Lends the first `len` bytes of the pieces to be written, one after the other.
    ///
    /// `whole` is a file that shows just these pieces in this order, where the region's own doesn't. It is
    /// in use until the window is [void](Window::void) or dropped.
    /// The memory may be lost: whoever touches it there gets SIGBUS, as with every mapping.
    ///
    /// # Errors
    /// [`Fault::ReadOnly`] in [`MapError::Range`]; as [`Region::view`].
    pub fn window(
        self: &Arc<Self>,
        pieces: &[Piece],
        len: u64,
        whole: Option<BorrowedFd<'_>>,
    ) -> Result<Window, MapError> {
        let pieces = joined(pieces, len, self.len())?;
        if !self.is_writable() {
            return Err(Fault::ReadOnly.into());
        }
        let system = |error| self.system("lend", len, error);
        let stitched = match whole {
            Some(file) => Stitched::of_file(self, file, len, true)?,
            None => Stitched::new(self, &pieces, true)?,
        };
        let len = usize::try_from(len).map_err(|_| system(io::ErrorKind::OutOfMemory.into()))?;
        let window = Window {
            stitched: ManuallyDrop::new(stitched),
            region: Arc::clone(self),
            pieces,
            len,
            state: Mutex::new(State::Open),
            generation: generation(),
        };
        // A child would keep the bytes to write to when they are taken back here.
        let all = window.space().len();
        window.advise(all, Advice::LinuxDontFork).map_err(system)?;
        Ok(window)
    }
}

impl Window {
    /// Where it begins in this process's addresses.
    #[must_use]
    pub fn address(&self) -> *mut u8 {
        self.space().base()
    }

    /// How many bytes are lent.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is lent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether what is written there still is written to the region.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.generation == generation() && *self.state() == State::Open
    }

    /// Fills the page tables, so that whoever writes does not pay for it.
    ///
    /// # Errors
    /// Where the kernel is older than 5.14, or the memory is lost.
    pub fn populate(&self) -> io::Result<()> {
        self.advise(self.len, Advice::LinuxPopulateWrite)
    }

    /// Takes the bytes back: they stay to be read, and nothing that is written there reaches the
    /// region any more. Where the memory allows it that is written to a copy, else it is refused as
    /// memory is: by a signal.
    ///
    /// # Errors
    /// Where the kernel refuses: they are writable still.
    pub fn seal(&self) -> io::Result<()> {
        let mut state = self.state();
        if *state != State::Open || self.generation != generation() {
            return Ok(());
        }
        // Other sources can't be mapped so: a dax device is shared or not mapped at all.
        let private = self.region.kind() == Kind::File && self.region.patches().is_none();
        // In one step: a thread that writes there meanwhile is in the one or in the other mapping,
        // and meets no signal.
        if !(private && self.copy_on_write()) {
            self.space().protect()?;
        }
        *state = State::Sealed;
        Ok(())
    }

    /// Whether all of it is a copy of this process's from now on.
    fn copy_on_write(&self) -> bool {
        let mut at = 0;
        for piece in &self.pieces {
            let align = usize::try_from(self.region.align()).unwrap_or(usize::MAX);
            let len = usize::try_from(piece.len)
                .ok()
                .and_then(|len| len.checked_next_multiple_of(align));
            let Some(len) = len else { return false };
            // SAFETY: only addresses of this window are mapped over, with the same bytes. They are
            // reached through pointers that were lent as ones that may be taken back.
            let placed = unsafe {
                self.space()
                    .place_private(at, self.region.file(), piece.at.0, len)
            };
            if placed.is_err() {
                // The kernel may have taken the old mapping away: the addresses stay ours.
                // SAFETY: as above; reading them is refused from now on.
                let _ = unsafe { self.space().clear(at, len) };
            }
            at += len;
        }
        true
    }

    /// Takes the bytes away, for what was never committed: the addresses lead to memory of nobody,
    /// which is zero.
    ///
    /// # Errors
    /// Where the kernel refuses: they may lead to the region still.
    pub fn void(&self) -> io::Result<()> {
        let mut state = self.state();
        if *state == State::Void || self.generation != generation() {
            return Ok(());
        }
        // SAFETY: only addresses of this window are mapped over. They are reached through pointers
        // that were lent as ones that may be taken back.
        unsafe { self.space().forget()? };
        *state = State::Void;
        Ok(())
    }

    fn space(&self) -> &Space {
        self.stitched.space()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn advise(&self, len: usize, advice: Advice) -> io::Result<()> {
        // SAFETY: the range begins with this window's and is no longer, and neither advice changes
        // a byte of it.
        unsafe { madvise(self.space().base().cast(), len, advice) }?;
        Ok(())
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // In a child others may have these addresses.
        if self.generation == generation() {
            // SAFETY: dropped once, here, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.stitched) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        RegionOff, Source,
        testing::{Ended, in_child, pattern, shm_dir},
    };
    use std::path::Path;

    const LEN: u64 = 1 << 20;
    const PIECE: Piece = Piece {
        at: RegionOff(64 << 10),
        len: 128 << 10,
    };

    fn volume(dir: &Path) -> (Source, Arc<Region>) {
        let source = Source::create_file(dir.join("volume"), LEN, false).unwrap();
        let region = Region::map(&source).unwrap();
        (source, region)
    }

    /// Writes through the window, as code of others does.
    fn write(window: &Window, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= window.len());
        // SAFETY: the range was just checked to lie in the window, whose addresses are writable in
        // these tests; nothing refers to them.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), window.address().add(at), bytes.len());
        }
    }

    fn read(window: &Window, at: usize) -> u8 {
        assert!(at < window.len());
        // SAFETY: as above.
        unsafe { window.address().add(at).read_volatile() }
    }

    fn in_region(region: &Region, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        region.load(RegionOff(at), &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_is_written_is_the_regions_until_it_is_sealed() {
        let dir = shm_dir();
        let (source, region) = volume(dir.path());
        let window = region.window(&[PIECE], PIECE.len - 100, None).unwrap();
        window.populate().unwrap();
        let bytes = pattern(window.len(), 3);
        write(&window, 0, &bytes);
        assert!(in_region(&region, PIECE.at.0, bytes.len()) == bytes);

        window.seal().unwrap();
        assert!(!window.is_open());
        assert_eq!(read(&window, 70_000), bytes[70_000]);
        write(&window, 70_000, &[!bytes[70_000]]);
        assert_eq!(read(&window, 70_000), !bytes[70_000]);
        assert!(in_region(&region, PIECE.at.0, bytes.len()) == bytes);
        Region::forget(&source.identity());
    }

    #[test]
    fn several_pieces_are_one_window() {
        let dir = shm_dir();
        let (source, region) = volume(dir.path());
        let second = Piece {
            at: RegionOff(512 << 10),
            len: PIECE.len,
        };
        let window = region
            .window(&[second, PIECE], 2 * PIECE.len, None)
            .unwrap();
        let bytes = pattern(window.len(), 4);
        write(&window, 0, &bytes);
        window.seal().unwrap();
        write(&window, 0, &[!bytes[0]]);
        let (first, last) = bytes.split_at(bytes.len() / 2);
        assert!(in_region(&region, second.at.0, first.len()) == first);
        assert!(in_region(&region, PIECE.at.0, last.len()) == last);
        Region::forget(&source.identity());
    }

    #[test]
    fn what_is_given_up_is_nobodys() {
        let dir = shm_dir();
        let (source, region) = volume(dir.path());
        let window = region.window(&[PIECE], PIECE.len, None).unwrap();
        write(&window, 0, &[7; 100]);
        window.void().unwrap();
        assert_eq!(read(&window, 0), 0);
        write(&window, 0, &[9; 100]);
        assert_eq!(in_region(&region, PIECE.at.0, 100), [7; 100]);
        // What was given up can't be sealed any more.
        window.seal().unwrap();
        assert_eq!(read(&window, 0), 9);
        Region::forget(&source.identity());
    }

    #[test]
    fn a_child_has_no_part_in_it() {
        let dir = shm_dir();
        let (source, region) = volume(dir.path());
        let window = region.window(&[PIECE], PIECE.len, None).unwrap();
        write(&window, 0, &[7]);
        if crate::testing::is_emulated() {
            println!("NOT TESTED: the emulator makes nothing of MADV_DONTFORK");
        } else {
            let ended = in_child(|| write(&window, 0, &[8]));
            assert_ne!(ended, Ended::Exited(0));
            assert_eq!(in_region(&region, PIECE.at.0, 1), [7]);
        }
        let ended = in_child(|| {
            assert!(!window.is_open());
            drop(window);
        });
        assert_eq!(ended, Ended::Exited(0));
        Region::forget(&source.identity());
    }

    #[test]
    fn what_may_only_be_read_is_not_lent() {
        let dir = shm_dir();
        let (source, region) = volume(dir.path());
        Region::forget(&source.identity());
        drop(region);
        let source = Source::open(dir.path().join("volume"), crate::Access::ReadOnly).unwrap();
        let region = Region::map(&source).unwrap();
        let refused = region.window(&[PIECE], PIECE.len, None).unwrap_err();
        assert!(matches!(refused, MapError::Range(Fault::ReadOnly)));
        Region::forget(&source.identity());
    }
}
