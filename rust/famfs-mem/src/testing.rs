//! Helpers for the tests of this crate.
#![expect(unsafe_code, reason = "tests break memory on purpose")]

use std::{fs::File, os::unix::fs::FileExt};

use crate::{address::Space, guard};

/// A temporary file of this length with a pattern in it, and the pattern.
pub(crate) fn patterned(len: usize) -> (tempfile::NamedTempFile, Vec<u8>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let bytes = pattern(len, 1);
    file.as_file().write_all_at(&bytes, 0).unwrap();
    (file, bytes)
}

/// Bytes that differ with their place, and with the seed.
pub(crate) fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56).to_le_bytes()[0]
        })
        .collect()
}

/// Two mapped pages, the second of which has lost its memory.
pub(crate) struct LostPage {
    space: Space,
    page: usize,
    _file: File,
}

impl LostPage {
    pub(crate) fn new() -> Self {
        guard::arm().unwrap();
        let page = usize::try_from(guard::page_size()).unwrap();
        let file = tempfile::tempfile().unwrap();
        file.set_len(2 * page as u64).unwrap();
        let space = Space::reserve(2 * page, page).unwrap();
        // SAFETY: the space was just reserved and nothing points into it.
        unsafe { space.place(0, &file, 0, 2 * page, true) }.unwrap();
        file.set_len(page as u64).unwrap();
        Self {
            space,
            page,
            _file: file,
        }
    }

    /// The first address without memory.
    pub(crate) fn boundary(&self) -> *mut u8 {
        self.space.base().wrapping_add(self.page)
    }
}

/// How a forked child ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    Exited(i32),
    Killed(i32),
}

/// Runs something in a forked child, which is killed by SIGALRM if it takes half a minute.
///
/// It exits with 0, or with 101 after a panic.
pub(crate) fn in_child(run: impl FnOnce()) -> Ended {
    // SAFETY: the child goes on with one thread; the C library makes its allocator usable, and what
    // else it touches is what the tests are about. It never returns from here.
    unsafe {
        let child = libc::fork();
        assert!(
            child >= 0,
            "cannot fork: {}",
            std::io::Error::last_os_error()
        );
        if child == 0 {
            libc::alarm(30);
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
            libc::_exit(if result.is_ok() { 0 } else { 101 });
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        if libc::WIFSIGNALED(status) {
            Ended::Killed(libc::WTERMSIG(status))
        } else {
            Ended::Exited(libc::WEXITSTATUS(status))
        }
    }
}

/// A directory on tmpfs, where the tests of shared memory belong.
pub(crate) fn shm_dir() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("famfs-mem")
        .tempdir_in("/dev/shm")
        .unwrap()
}

/// Whether another processor pretends to be this one: `qemu-user` delivers faults of loads and
/// stores as the kernel does, but makes nothing of cache instructions, and answers for some of what
/// the kernel says about a process.
pub(crate) fn is_emulated() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/arch")
        .is_ok_and(|arch| arch.trim() != std::env::consts::ARCH)
}
