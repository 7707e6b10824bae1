//! Locks on ranges of a file that live as long as their owner holds the file open.
//!
//! Owns the three calls for open-file-description locks (fcntl(2), `F_OFD_*`), which the safe
//! wrappers of other crates lack: shared, so that several owners can keep one record alive, and
//! asked about without being taken, so that a record nobody holds is known for what it is.
#![expect(
    unsafe_code,
    reason = "record locks are made by a system call that no library wraps"
)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// A range of a file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRange {
    /// Where it begins.
    pub start: u64,
    /// How long it is; not 0.
    pub len: u64,
}

impl RecordRange {
    fn request(self, kind: libc::c_int) -> io::Result<libc::flock> {
        let overflow = |_| io::Error::from(io::ErrorKind::InvalidInput);
        // SAFETY: `flock` is a plain C structure of integers, for which zeros are a value.
        let mut request: libc::flock = unsafe { std::mem::zeroed() };
        request.l_type = libc::c_short::try_from(kind).map_err(overflow)?;
        request.l_whence = libc::c_short::try_from(libc::SEEK_SET).map_err(overflow)?;
        request.l_start = self.start.try_into().map_err(overflow)?;
        request.l_len = self.len.try_into().map_err(overflow)?;
        Ok(request)
    }

    fn call(self, file: &File, command: libc::c_int, kind: libc::c_int) -> io::Result<libc::flock> {
        let mut request = self.request(kind)?;
        // SAFETY: the descriptor is open for as long as `file` is borrowed, and the commands of
        // this module take a pointer to a `flock`, which they may write to.
        if unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut request) } == -1 {
            return Err(io::Error::last_os_error());
        }
        Ok(request)
    }

    /// Holds the range together with whoever else does, through this open file.
    ///
    /// # Errors
    /// Where the range is held by somebody who shares it with nobody, or can't be locked.
    pub fn hold(self, file: &File) -> io::Result<()> {
        self.call(file, libc::F_OFD_SETLK, libc::F_RDLCK).map(drop)
    }

    /// Lets go of what this open file holds of the range.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn release(self, file: &File) -> io::Result<()> {
        self.call(file, libc::F_OFD_SETLK, libc::F_UNLCK).map(drop)
    }

    /// Whether any other open file holds some of the range.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn is_held_elsewhere(self, file: &File) -> io::Result<bool> {
        let found = self.call(file, libc::F_OFD_GETLK, libc::F_WRLCK)?;
        Ok(libc::c_int::from(found.l_type) != libc::F_UNLCK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_held_until_its_last_holder_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let open = || {
            File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(dir.path().join("table"))
                .unwrap()
        };
        let range = RecordRange {
            start: 512,
            len: 512,
        };
        let beside = RecordRange {
            start: 1024,
            len: 512,
        };
        let (owner, heir, reaper) = (open(), open(), open());
        range.hold(&owner).unwrap();
        range.hold(&heir).unwrap();
        assert!(range.is_held_elsewhere(&reaper).unwrap());
        assert!(!beside.is_held_elsewhere(&reaper).unwrap());
        drop(owner);
        assert!(range.is_held_elsewhere(&reaper).unwrap());
        range.release(&heir).unwrap();
        assert!(!range.is_held_elsewhere(&reaper).unwrap());
    }

    #[test]
    fn ones_own_hold_is_not_elsewhere() {
        let file = tempfile::tempfile().unwrap();
        let range = RecordRange { start: 0, len: 1 };
        range.hold(&file).unwrap();
        assert!(!range.is_held_elsewhere(&file).unwrap());
        assert!(
            RecordRange {
                start: u64::MAX,
                len: 1
            }
            .hold(&file)
            .is_err()
        );
    }
}
