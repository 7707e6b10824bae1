//! Lending a reservation's memory: others write where the file's bytes stay.
//!
//! Owns when a window is taken back: before the file is committed, so that what is published is
//! never written again, and before the space is given back, so that it can be somebody else's.

use std::os::fd::AsFd;
use std::sync::{Arc, PoisonError};

use famfs_core::units::{ByteLen, DevOff, FileOff};
use famfs_mem::Window;

use crate::error::{Error, Result};
use crate::reservation::Reservation;
use crate::volume::Inner;

impl Reservation {
    /// Lends bytes of the file to be written in place, through a window on all of it.
    ///
    /// They hold what was there before: whoever takes them writes all of them, or has them zeroed
    /// first ([`Self::zero`]). At the commit the window is taken back, and what was written reaches
    /// other hosts: see [`Window::seal`]. It is the same window at each call.
    ///
    /// # Errors
    /// [`Error::Usage`] past the file's end; [`Error::Permission`] where the memory can't be written;
    /// [`Error::HostFull`] where the backing file is sparse and the host has no memory for it;
    /// [`Error::MemoryFault`] where memory is lost; [`Error::Forked`].
    pub fn window(&self, at: FileOff, len: ByteLen) -> Result<Arc<Window>> {
        self.check_range(at, len.0)?;
        let mut slot = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let window = if let Some(window) = &*slot {
            Arc::clone(window)
        } else {
            Arc::clone(slot.insert(Arc::new(self.make_window()?)))
        };
        drop(slot);
        self.note(at.0, len.0);
        Ok(window)
    }

    fn make_window(&self) -> Result<Window> {
        let volume = self.volume();
        let runs = self.runs();
        // Whoever writes to memory that the host doesn't have gets a signal: it is asked for first.
        volume.back(&runs)?;
        let pieces = crate::kernel::pieces(&runs);
        let whole = self.shown().map(|file| file.as_fd());
        let window = volume
            .region
            .window(&pieces, self.size().0, whole)
            .map_err(Error::map(volume.source.path()))?;
        // Only for speed; where the memory is lost that is told next.
        let _ = window.populate();
        volume
            .coherence
            .probe_data(&runs)
            .map_err(Error::fault(volume.source.path()))?;
        Ok(window)
    }

    /// Takes back what was lent: nobody writes to it any more, and what was written leaves this
    /// host's caches.
    ///
    /// # Errors
    /// [`Error::MemoryFault`] where memory was lost meanwhile; [`Error::Io`] where the kernel does
    /// not take it back.
    pub(crate) fn seal(&self) -> Result<()> {
        let slot = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(window) = &*slot else {
            return Ok(());
        };
        let volume = self.volume();
        window
            .seal()
            .map_err(Error::io(volume.source.path(), "take back memory of"))?;
        volume
            .coherence
            .settle_data(&self.runs())
            .map_err(Error::fault(volume.source.path()))
    }

    /// Takes away what was lent of a file that is given up; whether that was done.
    pub(crate) fn void(&self) -> bool {
        let slot = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        slot.as_ref().is_none_or(|window| window.void().is_ok())
    }
}

impl Inner {
    /// Has the host give memory to ranges of a sparse backing file.
    fn back(&self, runs: &[(DevOff, u64)]) -> Result<()> {
        if !self.is_sparse() {
            return Ok(());
        }
        for &(at, len) in runs {
            self.source.allocate(at.0, len).map_err(Error::source)?;
        }
        Ok(())
    }
}
