//! Descriptors that nothing else writes to.
//!
//! Owns one rule: what this crate and its users open is never standard input, output or error.

use std::{fs::File, io, os::fd::AsRawFd};

/// The file under a descriptor that is not 0, 1 or 2.
///
/// A process may run with those closed, and then the next file that is opened gets the number:
/// whatever prints would write over the volume.
///
/// # Errors
/// Where no descriptor is left.
pub fn above_standard(file: File) -> io::Result<File> {
    if file.as_raw_fd() > 2 {
        return Ok(file);
    }
    Ok(rustix::io::fcntl_dupfd_cloexec(&file, 3)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Ended, in_child};

    #[test]
    fn with_standard_output_closed_a_file_does_not_take_its_place() {
        let ended = in_child(|| {
            // SAFETY: a child of the test's own, which prints nothing.
            #[expect(unsafe_code, reason = "the test breaks its process on purpose")]
            unsafe {
                libc::close(1)
            };
            let opened = File::open("/dev/null").unwrap();
            assert_eq!(opened.as_raw_fd(), 1);
            assert!(above_standard(opened).unwrap().as_raw_fd() > 2);
        });
        assert_eq!(ended, Ended::Exited(0));
    }
}
