//! One stretch of a file or device in our addresses, and checked access to it.
//!
//! Owns the proof that an access lies in the mapping. It must not hand out references or pointers
//! to what it maps, except to [`crate::view`].
#![expect(unsafe_code, reason = "a mapping is an address")]

use std::{fs::File, io};

use crate::{
    address::{HUGE, Space},
    cache,
    copy::{self, Fill},
    guard::{self, Stopped, arch},
    memory::{Fault, Memory, RegionOff, check, check_pair},
};

/// A shared mapping; offsets are relative to its start.
#[derive(Debug)]
pub(crate) struct Mapping {
    space: Space,
    len: usize,
    /// What is lost at once where the kernel does not say: a page of the file.
    unit: u64,
    writable: bool,
}

impl Mapping {
    /// Maps `len` bytes of a file at `offset`, a multiple of `align`.
    pub(crate) fn new(
        file: &File,
        offset: u64,
        len: u64,
        align: u64,
        writable: bool,
    ) -> io::Result<Self> {
        guard::arm()?;
        // Chosen now: a child of fork could otherwise find another thread's choice half made.
        crate::prepare();
        let too_large = |_| io::Error::from(io::ErrorKind::OutOfMemory);
        let len = usize::try_from(len).map_err(too_large)?;
        let align = usize::try_from(align).map_err(too_large)?;
        let whole = len
            .checked_next_multiple_of(align)
            .ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let space = Space::reserve(whole, align.max(HUGE))?;
        // SAFETY: the space is new, nothing refers to it.
        unsafe { space.place(0, file, offset, whole, writable)? };
        Ok(Self {
            space,
            len,
            unit: align as u64,
            writable,
        })
    }

    /// Addresses for `len` bytes, to which files are attached later; until then whoever calls keeps
    /// accesses away.
    pub(crate) fn reserved(len: u64, align: u64, writable: bool) -> io::Result<Self> {
        guard::arm()?;
        crate::prepare();
        let too_large = |_| io::Error::from(io::ErrorKind::OutOfMemory);
        let len = usize::try_from(len).map_err(too_large)?;
        let unit = usize::try_from(align).map_err(too_large)?;
        Ok(Self {
            space: Space::reserve(len, unit.max(HUGE))?,
            len,
            unit: guard::page_size(),
            writable,
        })
    }

    /// The addresses, to place files over.
    pub(crate) fn space(&self) -> &Space {
        &self.space
    }

    /// Where it begins.
    pub(crate) fn base(&self) -> *mut u8 {
        self.space.base()
    }

    /// The address of a checked range and its length.
    pub(crate) fn range(&self, at: RegionOff, len: u64) -> Result<(*mut u8, usize), Fault> {
        check(at, len, self.len())?;
        let within = |bytes: u64| {
            usize::try_from(bytes).map_err(|_| Fault::OutOfRange {
                at,
                len,
                size: self.len(),
            })
        };
        Ok((self.base().wrapping_add(within(at.0)?), within(len)?))
    }

    fn writable_range(&self, at: RegionOff, len: u64) -> Result<(*mut u8, usize), Fault> {
        let range = self.range(at, len)?;
        if self.writable {
            Ok(range)
        } else {
            Err(Fault::ReadOnly)
        }
    }

    fn fault(&self, stopped: Stopped) -> Fault {
        match stopped.address.checked_sub(self.base().addr()) {
            Some(at) if at < self.len => Fault::Bus {
                at: RegionOff(at as u64),
                len: stopped.lost.unwrap_or(self.unit),
            },
            _ => Fault::SourceBus,
        }
    }
}

// In all of the following: the range was checked to lie in the mapping, which lives as long as
// `self`; no reference into it exists, except slices of views, whose makers promised that nobody
// writes there; and the caller's buffer is ordinary memory or a mapping that does not overlap,
// because a reference to it exists.
impl Memory for Mapping {
    fn len(&self) -> u64 {
        self.len as u64
    }

    fn load(&self, at: RegionOff, into: &mut [u8]) -> Result<(), Fault> {
        let (from, _) = self.range(at, into.len() as u64)?;
        // SAFETY: see above; every mapping is readable.
        unsafe { guard::load(from, into) }.map_err(|stopped| self.fault(stopped))
    }

    fn load_pair(&self, at: RegionOff) -> Result<[u64; 2], Fault> {
        check_pair(at, self.len())?;
        let (from, _) = self.range(at, 16)?;
        // SAFETY: see above; the base is page-aligned, so a multiple of 16 from it is aligned.
        unsafe { guard::load_pair(from) }.map_err(|stopped| self.fault(stopped))
    }

    fn store(&self, at: RegionOff, bytes: &[u8]) -> Result<(), Fault> {
        let (to, _) = self.writable_range(at, bytes.len() as u64)?;
        // SAFETY: see above; the mapping is writable.
        unsafe { guard::store(to, bytes) }.map_err(|stopped| self.fault(stopped))
    }

    fn store_pair(&self, at: RegionOff, pair: [u64; 2]) -> Result<(), Fault> {
        check_pair(at, self.len())?;
        let (to, _) = self.writable_range(at, 16)?;
        // SAFETY: see above; aligned as in load_pair, and the mapping is writable.
        unsafe { guard::store_pair(to, pair) }.map_err(|stopped| self.fault(stopped))
    }

    fn stream(&self, at: RegionOff, bytes: &[u8], threads: usize) -> Result<(), Fault> {
        let (to, _) = self.writable_range(at, bytes.len() as u64)?;
        // SAFETY: see above; the mapping is writable.
        unsafe { copy::stream(to, Fill::Bytes(bytes), threads) }
            .map_err(|stopped| self.fault(stopped))
    }

    fn stream_seen(
        &self,
        at: RegionOff,
        bytes: &[u8],
        seen: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Fault> {
        let (to, _) = self.writable_range(at, bytes.len() as u64)?;
        // SAFETY: see above; the mapping is writable.
        unsafe { copy::stream_seen(to, bytes, seen) }.map_err(|stopped| self.fault(stopped))
    }

    fn zero(&self, at: RegionOff, len: u64, threads: usize) -> Result<(), Fault> {
        let (to, len) = self.writable_range(at, len)?;
        // SAFETY: see above; the mapping is writable.
        unsafe { copy::stream(to, Fill::Zeros(len), threads) }
            .map_err(|stopped| self.fault(stopped))
    }

    fn write_back(&self, at: RegionOff, len: u64) -> Result<u64, Fault> {
        let (first, len) = self.range(at, len)?;
        // SAFETY: see above.
        unsafe { cache::write_back(first, len) }.map_err(|stopped| self.fault(stopped))
    }

    fn invalidate(&self, at: RegionOff, len: u64) -> Result<u64, Fault> {
        let (first, len) = self.range(at, len)?;
        // SAFETY: see above.
        unsafe { cache::invalidate(first, len) }.map_err(|stopped| self.fault(stopped))
    }

    fn fence_stores(&self) {
        arch::fence_stores();
    }

    fn fence_invalidate(&self) {
        arch::fence_invalidate();
    }

    fn pair_is_atomic(&self) -> bool {
        guard::pair_is_atomic()
    }
}
