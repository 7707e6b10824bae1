//! Who is at the other end of a local socket, beyond what the standard interfaces tell.
#![expect(unsafe_code, reason = "the kernel writes through a pointer")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// The kernel's limit of groups that a process may have, `NGROUPS_MAX`.
const MOST: usize = 65_536;

/// The supplementary groups of whoever connected, as they were then.
///
/// # Errors
/// What `getsockopt` says.
pub fn groups(socket: impl AsFd) -> io::Result<Vec<u32>> {
    let socket = socket.as_fd();
    let mut room = vec![0_u32; 64];
    loop {
        let mut len = libc::socklen_t::try_from(room.len() * size_of::<u32>())
            .map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: SO_PEERGROUPS writes at most `len` bytes, which `room` has, and the length that it
        // has or needs; both live until the call returns.
        let told = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                room.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        let count = len as usize / size_of::<u32>();
        if told == 0 {
            room.truncate(count);
            return Ok(room);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ERANGE) || count <= room.len() || count > MOST {
            return Err(error);
        }
        room.resize(count, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_processes_own_groups_are_those_the_system_tells() {
        let (one, _other) = UnixStream::pair().unwrap();
        let mut found = groups(&one).unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("Groups:"));
        let mut told: Vec<u32> = line
            .unwrap()
            .split_whitespace()
            .map(|group| group.parse().unwrap())
            .collect();
        found.sort_unstable();
        told.sort_unstable();
        assert_eq!(found, told);
    }

    #[test]
    fn other_files_are_an_error() {
        groups(tempfile::tempfile().unwrap()).unwrap_err();
    }
}
