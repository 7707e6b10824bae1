//! The two seams to a volume: where bytes go, and where they are copied from.
//!
//! Implementations live elsewhere; here are only those over plain memory.

use crate::error::{PeekError, PlaceError};
use bytes::Bytes;

/// Where a file's bytes go.
///
/// Offsets are file offsets; every byte of `0..size` is put exactly once, in ascending order.
pub trait Place {
    /// Puts `bytes` at offset `at`.
    ///
    /// # Errors
    /// If the bytes can't be written there.
    fn put(&mut self, at: u64, bytes: &[u8]) -> Result<(), PlaceError>;

    /// Puts `len` zero bytes at offset `at`.
    ///
    /// # Errors
    /// If the bytes can't be written there.
    fn zero(&mut self, at: u64, len: u64) -> Result<(), PlaceError>;
}

/// A file whose bytes can be copied out.
///
/// An implementation answers for what the memory does meanwhile: a fault comes back as an error.
pub trait Peek: Send + Sync {
    /// The file's size in bytes.
    fn len(&self) -> u64;

    /// Whether the file has no bytes at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies the bytes at offset `at` into `into`, all of it.
    ///
    /// # Errors
    /// If the range is outside the file or can't be read.
    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), PeekError>;

    /// Touches every page of a range that is about to be read in place.
    ///
    /// # Errors
    /// If the range is outside the file or can't be read.
    fn probe(&self, at: u64, len: u64) -> Result<(), PeekError> {
        let pages = (at..at.saturating_add(len)).step_by(PAGE);
        for at in pages.chain((len > 0).then(|| at.saturating_add(len - 1))) {
            self.read(at, &mut [0])?;
        }
        Ok(())
    }
}

/// The smallest unit of memory that is lost as a whole, on every host.
const PAGE: usize = 4096;

/// Grows as it is filled. Insists on the order that [`Place`] promises.
impl Place for Vec<u8> {
    fn put(&mut self, at: u64, bytes: &[u8]) -> Result<(), PlaceError> {
        let (end, len) = (self.len() as u64, bytes.len() as u64);
        if at != end {
            return Err(PlaceError::new(at, len, format!("expected offset {end}")));
        }
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn zero(&mut self, at: u64, len: u64) -> Result<(), PlaceError> {
        let end = self.len() as u64;
        if at != end {
            return Err(PlaceError::new(at, len, format!("expected offset {end}")));
        }
        let size = usize::try_from(end + len).map_err(|e| PlaceError::new(at, len, e))?;
        self.resize(size, 0);
        Ok(())
    }
}

fn copy_out(bytes: &[u8], at: u64, into: &mut [u8]) -> Result<(), PeekError> {
    let found = usize::try_from(at)
        .ok()
        .and_then(|start| bytes.get(start..start.checked_add(into.len())?))
        .ok_or_else(|| {
            let size = bytes.len();
            PeekError::new(at, into.len() as u64, format!("the file has {size} bytes"))
        })?;
    into.copy_from_slice(found);
    Ok(())
}

impl Peek for Vec<u8> {
    fn len(&self) -> u64 {
        self.as_slice().len() as u64
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), PeekError> {
        copy_out(self, at, into)
    }
}

impl Peek for Bytes {
    fn len(&self) -> u64 {
        self.as_ref().len() as u64
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), PeekError> {
        copy_out(self, at, into)
    }
}
