//! What a fork does to us: a count of forks, and descriptors that a child must not keep.
//!
//! Owns the handler that runs in the child of a fork. Everything in it is async-signal-safe: other
//! threads of the parent may have held any lock.
#![expect(
    unsafe_code,
    reason = "handlers and descriptors of a fork are the system's"
)]

use std::{
    marker::PhantomData,
    os::fd::RawFd,
    sync::{
        Once,
        atomic::{AtomicI32, AtomicU64, Ordering},
    },
};

use libc::c_int;

/// How often this process's line of ancestors forked since they first asked.
static GENERATION: AtomicU64 = AtomicU64::new(1);

const FREE: c_int = -1;
static TO_CLOSE: [AtomicI32; 256] = [const { AtomicI32::new(FREE) }; 256];

/// A number that differs between a process and the children it forks.
///
/// The first call installs the handler that tells them apart, so whoever keeps state that a child
/// must not use calls it before there is a child.
///
/// ```
/// let mine = famfs_mem::generation();
/// assert_eq!(famfs_mem::generation(), mine);
/// ```
#[must_use]
pub fn generation() -> u64 {
    install();
    GENERATION.load(Ordering::Acquire)
}

fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // Without memory for the handler nothing works; the count then stays as it is.
        // SAFETY: the handler is a plain function that lives as long as the process.
        let _ = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::AcqRel);
    for slot in &TO_CLOSE {
        let fd = slot.swap(FREE, Ordering::AcqRel);
        if fd != FREE {
            replace(fd);
        }
    }
}

/// Lets go of what `fd` refers to, but keeps the number taken: whoever owns it will close it.
fn replace(fd: c_int) {
    // SAFETY: these calls are async-signal-safe and touch no memory of ours. `fd` was registered by
    // its owner, who is still to close it.
    unsafe {
        let mut inert = libc::eventfd(0, libc::EFD_CLOEXEC);
        if inert < 0 {
            // All numbers are taken: make room.
            libc::close(fd);
            inert = libc::eventfd(0, libc::EFD_CLOEXEC);
        }
        if inert >= 0 && inert != fd {
            libc::dup3(inert, fd, libc::O_CLOEXEC);
            libc::close(inert);
        }
    }
}

/// More than 256 descriptors are to be closed in children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot register descriptor: {} are registered already", TO_CLOSE.len())]
pub struct TableFull;

/// A descriptor that children do not keep, for as long as this lives.
///
/// Drop it before the descriptor is closed: its number may be somebody else's afterwards.
#[derive(Debug)]
#[must_use = "dropping it ends the registration"]
pub struct Registration {
    slot: usize,
    fd: RawFd,
    generation: u64,
    _private: PhantomData<()>,
}

/// Makes every child let go of `fd` as soon as it is forked.
///
/// A lock on an open file description lasts until the last descriptor for it is closed, so a child
/// that outlives its parent would keep the parent's locks. In the child the number stays valid and
/// refers to something inert: whoever owns it closes it as always.
///
/// # Errors
/// [`TableFull`] when 256 descriptors are registered.
pub fn close_in_child(fd: RawFd) -> Result<Registration, TableFull> {
    install();
    let generation = generation();
    for (slot, entry) in TO_CLOSE.iter().enumerate() {
        let free = entry.compare_exchange(FREE, fd, Ordering::AcqRel, Ordering::Relaxed);
        if free.is_ok() {
            return Ok(Registration {
                slot,
                fd,
                generation,
                _private: PhantomData,
            });
        }
    }
    Err(TableFull)
}

impl Drop for Registration {
    fn drop(&mut self) {
        // In a child the slot was emptied, and may hold a descriptor of the child's own.
        if self.generation == generation() {
            let entry = &TO_CLOSE[self.slot];
            let _ = entry.compare_exchange(self.fd, FREE, Ordering::AcqRel, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{File, TryLockError},
        os::fd::AsRawFd,
    };

    use super::*;
    use crate::testing::{Ended, in_child};

    #[test]
    fn a_child_is_another_generation() {
        let mine = generation();
        let ended = in_child(|| assert_ne!(generation(), mine));
        assert_eq!(ended, Ended::Exited(0));
        assert_eq!(generation(), mine);
    }

    /// Whether a lock is free again after its owner let go of it while a child lives.
    fn lock_is_free_beside_a_child(registered: bool) -> bool {
        let file = tempfile::NamedTempFile::new().unwrap();
        let owner = File::open(file.path()).unwrap();
        owner.lock().unwrap();
        let registration = registered.then(|| close_in_child(owner.as_raw_fd()).unwrap());
        let mut pipe = [0; 2];
        // SAFETY: pipe fills both; the child only waits for its end to be closed and exits.
        let child = unsafe {
            assert_eq!(libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC), 0);
            let child = libc::fork();
            if child == 0 {
                libc::alarm(30);
                libc::close(pipe[1]);
                libc::read(pipe[0], (&raw mut pipe).cast(), 1);
                libc::_exit(0);
            }
            child
        };
        drop(registration);
        drop(owner);
        let other = File::open(file.path()).unwrap();
        // The child was forked before fork() returned to us, its handler may still be running.
        let mut free = false;
        for _ in 0..1000 {
            match other.try_lock() {
                Ok(()) => {
                    free = true;
                    break;
                }
                Err(TryLockError::WouldBlock) if registered => {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                Err(TryLockError::WouldBlock) => break,
                Err(TryLockError::Error(error)) => panic!("{error}"),
            }
        }
        let mut status = 0;
        // SAFETY: closes our ends and waits for our own child.
        unsafe {
            libc::close(pipe[0]);
            libc::close(pipe[1]);
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        }
        free
    }

    #[test]
    fn a_child_keeps_no_lock_of_a_registered_descriptor() {
        assert!(lock_is_free_beside_a_child(true));
        assert!(
            !lock_is_free_beside_a_child(false),
            "the child keeps it otherwise"
        );
    }

    #[test]
    fn in_the_child_the_number_stays_taken_and_can_be_closed() {
        let file = tempfile::tempfile().unwrap();
        let registration = close_in_child(file.as_raw_fd()).unwrap();
        let ended = in_child(|| {
            // Reading from an eventfd takes 8 bytes: what was a file of none is something else.
            assert!(file.metadata().is_ok_and(|metadata| !metadata.is_file()));
            drop(registration);
            drop(file);
        });
        assert_eq!(ended, Ended::Exited(0));
    }

    #[test]
    fn a_registration_ends_when_it_is_dropped() {
        let file = tempfile::tempfile().unwrap();
        drop(close_in_child(file.as_raw_fd()).unwrap());
        let ended = in_child(|| assert!(file.metadata().unwrap().is_file()));
        assert_eq!(ended, Ended::Exited(0));
    }

    #[test]
    fn a_full_table_is_an_error() {
        // In a child, so that other tests find room.
        let ended = in_child(|| {
            let all: Vec<_> = (0..TO_CLOSE.len())
                .map(|_| close_in_child(-2).unwrap())
                .collect();
            assert_eq!(close_in_child(0).unwrap_err(), TableFull);
            assert!(TableFull.to_string().contains("256"));
            drop(all);
            drop(close_in_child(-2).unwrap());
        });
        assert_eq!(ended, Ended::Exited(0));
    }
}
