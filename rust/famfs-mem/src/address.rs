//! Reserved address space, into which files are mapped.
//!
//! Owns the lifetime of addresses: whatever is placed in a [`Space`] goes when it is dropped. It
//! must not touch the bytes.
#![expect(unsafe_code, reason = "addresses are reserved with system calls")]

use std::{ffi::c_void, io, os::fd::AsFd, ptr::NonNull};

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mmap_anonymous, mprotect, munmap};

/// The largest page that is used for shared memory by default: addresses and file offsets must
/// agree modulo this for the kernel to use such pages.
pub(crate) const HUGE: usize = 2 << 20;

/// A range of addresses that is ours until it is dropped.
#[derive(Debug)]
pub(crate) struct Space {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: a Space is an address and a length; it hands out no references. What is done through the
// addresses is for the callers of unsafe functions to prove.
unsafe impl Send for Space {}
// SAFETY: as above.
unsafe impl Sync for Space {}

impl Space {
    /// Reserves `len` bytes, rounded up to pages, at a multiple of `align` (a power of two).
    pub(crate) fn reserve(len: usize, align: usize) -> io::Result<Self> {
        let too_large = || io::Error::from(io::ErrorKind::OutOfMemory);
        let page = rustix::param::page_size();
        let align = align.max(page);
        let len = len
            .max(1)
            .checked_next_multiple_of(align.min(HUGE))
            .ok_or_else(too_large)?;
        let slack = len.checked_add(align - page).ok_or_else(too_large)?;
        // SAFETY: a new mapping at an address of the kernel's choice disturbs nothing.
        let start = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                slack,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )?
        };
        let before = start.addr().wrapping_neg() & (align - 1);
        let base = start.wrapping_byte_add(before);
        let after = slack - before - len;
        // SAFETY: both ranges lie in the reservation above and outside of what is kept. That they
        // can not be given back would only cost address space.
        unsafe {
            if before > 0 {
                let _ = munmap(start, before);
            }
            if after > 0 {
                let _ = munmap(base.wrapping_byte_add(len), after);
            }
        }
        let base = NonNull::new(base.cast::<u8>()).ok_or_else(too_large)?;
        Ok(Self { base, len })
    }

    /// Where it begins.
    pub(crate) fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Maps a part of a file, shared, over the reserved addresses.
    ///
    /// # Errors
    /// What `mmap` says; `InvalidInput` where the range is not in the space.
    ///
    /// # Safety
    /// Nothing refers to these addresses yet.
    pub(crate) unsafe fn place(
        &self,
        at: usize,
        file: impl AsFd,
        offset: u64,
        len: usize,
        writable: bool,
    ) -> io::Result<()> {
        if at.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut protection = ProtFlags::READ;
        if writable {
            protection |= ProtFlags::WRITE;
        }
        let address = self.base().wrapping_add(at).cast::<c_void>();
        // SAFETY: MAP_FIXED replaces only addresses of this space, to which nothing refers by the
        // caller's promise.
        unsafe {
            mmap(
                address,
                len,
                protection,
                MapFlags::SHARED | MapFlags::FIXED,
                file,
                offset,
            )?;
        }
        Ok(())
    }

    /// How many addresses there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Lets all of it be read and not written from now on.
    ///
    /// # Errors
    /// What `mprotect` says.
    pub(crate) fn protect(&self) -> io::Result<()> {
        // SAFETY: the addresses are this space's; what may be read stays so, and no reference to
        // them exists that could be written through.
        unsafe { mprotect(self.base().cast(), self.len, MprotectFlags::READ)? };
        Ok(())
    }

    /// Maps a part of a file over the reserved addresses so that what is written is a copy, which
    /// nobody else sees.
    ///
    /// # Errors
    /// What `mmap` says; `InvalidInput` where the range is not in the space.
    ///
    /// # Safety
    /// Nothing refers to these addresses but pointers whose bytes may change.
    pub(crate) unsafe fn place_private(
        &self,
        at: usize,
        file: impl AsFd,
        offset: u64,
        len: usize,
    ) -> io::Result<()> {
        if at.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let address = self.base().wrapping_add(at).cast::<c_void>();
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: MAP_FIXED replaces only addresses of this space, by the caller's promise.
        unsafe {
            mmap(
                address,
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                flags,
                file,
                offset,
            )?;
        }
        Ok(())
    }

    /// Puts memory of this process alone, which is zero, over all of it.
    ///
    /// # Errors
    /// What `mmap` says.
    ///
    /// # Safety
    /// Nothing refers to these addresses but pointers whose bytes may change.
    pub(crate) unsafe fn forget(&self) -> io::Result<()> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: MAP_FIXED replaces only addresses of this space, by the caller's promise.
        unsafe {
            mmap_anonymous(
                self.base().cast(),
                self.len,
                ProtFlags::READ | ProtFlags::WRITE,
                flags,
            )?;
        }
        Ok(())
    }

    /// Reserves addresses again that something was placed over.
    ///
    /// # Errors
    /// What `mmap` says; `InvalidInput` where the range is not in the space.
    ///
    /// # Safety
    /// Nothing refers to these addresses any more.
    pub(crate) unsafe fn clear(&self, at: usize, len: usize) -> io::Result<()> {
        if at.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let address = self.base().wrapping_add(at).cast::<c_void>();
        // SAFETY: MAP_FIXED replaces only addresses of this space, to which nothing refers by the
        // caller's promise.
        unsafe {
            mmap_anonymous(
                address,
                len,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED,
            )?;
        }
        Ok(())
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // SAFETY: the range was reserved by this value and is unmapped once. It can only fail for
        // want of kernel memory, and then the addresses stay reserved.
        let _ = unsafe { munmap(self.base().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_is_aligned_as_asked() {
        for align in [1, 4096, HUGE, 1 << 30] {
            for len in [1, 4096, 5000, HUGE + 1] {
                let space = Space::reserve(len, align).unwrap();
                assert!(space.base().addr().is_multiple_of(align));
            }
        }
    }

    #[test]
    fn nothing_is_placed_outside() {
        let (file, _) = crate::testing::patterned(3 * 4096);
        let space = Space::reserve(8192, 4096).unwrap();
        // SAFETY: nothing refers to the space.
        unsafe {
            space.place(4096, &file, 0, 4096, false).unwrap();
            assert!(space.place(4096, &file, 0, 8192, false).is_err());
            assert!(space.place(usize::MAX, &file, 0, 8192, false).is_err());
        }
    }

    #[test]
    fn more_than_there_are_addresses_is_an_error() {
        assert!(Space::reserve(usize::MAX, HUGE).is_err());
        assert!(Space::reserve(1 << 60, HUGE).is_err());
    }
}
