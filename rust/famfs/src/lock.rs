//! The host lock: one writer at a time among the processes of a host.
//!
//! Owns the flock on the device node or backing file itself, so that every user and every container
//! that shares it takes the same lock. Held inside reserve and commit only, never while data is
//! filled.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use famfs_sys::holders;

use crate::error::{Error, Result};

/// How long another process may hold the lock: reserve and commit take microseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// The lock of one volume in this process.
#[derive(Debug)]
pub(crate) struct HostLock {
    /// An open file of our own: a lock belongs to the open file, and so do its holders.
    file: File,
    threads: Mutex<()>,
}

/// Held until it is dropped.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    file: &'a File,
    _threads: MutexGuard<'a, ()>,
}

impl HostLock {
    pub(crate) fn new(file: File) -> Self {
        Self {
            file,
            threads: Mutex::new(()),
        }
    }

    /// Waits for the lock.
    ///
    /// # Errors
    /// [`Error::Busy`], naming the holder, where another process keeps it for half a minute.
    pub(crate) fn hold(&self, device: &Path) -> Result<Held<'_>> {
        // A thread that panicked while it held the lock left the media whole: every step of the
        // protocol does.
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        wait(&self.file, device)?;
        Ok(Held {
            file: &self.file,
            _threads: threads,
        })
    }
}

/// Waits for the lock of a device or backing file, which belongs to the open file then.
///
/// # Errors
/// As [`HostLock::hold`].
pub(crate) fn wait(file: &File, device: &Path) -> Result<()> {
    let start = Instant::now();
    let mut pause = Duration::from_micros(20);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(Error::io(device, "lock")(error)),
            Err(TryLockError::WouldBlock) if start.elapsed() > PATIENCE => {
                let holders = format!(
                    "{} held its lock for {} s; wait for it, or end it if it hangs",
                    holder(file),
                    PATIENCE.as_secs()
                );
                return Err(Error::Busy {
                    path: device.to_owned(),
                    holders,
                });
            }
            Err(TryLockError::WouldBlock) => {
                thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(5));
            }
        }
    }
}

/// Whoever has a file locked, for a message.
pub(crate) fn holder(file: &File) -> String {
    holders::named(&holders::of_lock(file)).unwrap_or_else(|| "another process".into())
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Unlocking what is locked can't fail; and if it did, closing the file would unlock it.
        let _ = self.file.unlock();
    }
}
