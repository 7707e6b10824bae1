//! Mounting by the kernel, and what is mounted.
//!
//! Owns the mount flags, and the way `/proc/self/mountinfo` is read.

use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags};

/// The file system's name.
pub const TYPE: &str = "famfs";

/// A mount of the kernel's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelMount {
    /// The device's path, as it was given.
    pub source: PathBuf,
    /// Where it is.
    pub mountpoint: PathBuf,
    /// Which device number its files have: major and minor.
    pub device: (u32, u32),
}

/// Whether the running kernel has the module.
#[must_use]
pub fn is_available() -> bool {
    rustix::fs::access("/sys/module/famfs", rustix::fs::Access::EXISTS).is_ok()
}

/// Mounts a device, with the flags that the reference uses.
///
/// # Errors
/// As mount(2).
pub fn mount(device: &Path, directory: &Path, data: &str) -> io::Result<()> {
    let flags = MountFlags::NOATIME | MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
    let data = CString::new(data)?;
    rustix::mount::mount(device, directory, TYPE, flags, data.as_c_str())?;
    Ok(())
}

/// Unmounts.
///
/// # Errors
/// As umount(2); `EBUSY` where a process uses it.
pub fn unmount(directory: &Path) -> io::Result<()> {
    rustix::mount::unmount(directory, UnmountFlags::NOFOLLOW)?;
    Ok(())
}

/// The mounts of famfs that this process sees, the latest last.
///
/// # Errors
/// Where /proc can't be read.
pub fn list() -> io::Result<Vec<KernelMount>> {
    Ok(parse(&std::fs::read("/proc/self/mountinfo")?))
}

/// Lines of `proc_pid_mountinfo(5)`: id, parent, major:minor, root, mount point, options, optional
/// fields, a dash, type, source, options of the file system.
fn parse(text: &[u8]) -> Vec<KernelMount> {
    let line = |line: &[u8]| -> Option<KernelMount> {
        let mut words = line.split(|&byte| byte == b' ');
        let number = std::str::from_utf8(words.nth(2)?).ok()?;
        let (major, minor) = number.split_once(':')?;
        // A bind mount of a part of it has another root: paths in it would mean something else.
        if words.next()? != b"/" {
            return None;
        }
        let mountpoint = unescape(words.next()?);
        let mut rest = words.skip_while(|word| *word != b"-").skip(1);
        (rest.next()? == TYPE.as_bytes()).then_some(())?;
        Some(KernelMount {
            source: unescape(rest.next()?),
            mountpoint,
            device: (major.parse().ok()?, minor.parse().ok()?),
        })
    };
    text.split(|&byte| byte == b'\n').filter_map(line).collect()
}

/// Spaces, tabs, line ends and backslashes are written as three octal digits.
fn unescape(word: &[u8]) -> PathBuf {
    let mut plain = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after
            .get(..3)
            .filter(|digits| byte == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let Some(escaped) = digits {
            plain.push(escaped);
            rest = &after[3..];
        } else {
            plain.push(byte);
            rest = after;
        }
    }
    PathBuf::from(OsString::from_vec(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_among_others() {
        let text = b"22 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n\
            60 22 0:41 / /mnt/famfs rw,noatime shared:3 master:7 - famfs /dev/dax0.0 rw\n\
            61 22 0:42 /part /mnt/bind rw - famfs /dev/dax0.0 rw\n\
            62 22 0:43 / /mnt/with\\040space\\134 rw - famfs /dev/p\\011mem rw\n\
            63 22 0:44 / /mnt/other rw - fuse.famfs famfs rw\n\
            short line\n";
        let found = parse(text);
        assert_eq!(
            found,
            [
                KernelMount {
                    source: "/dev/dax0.0".into(),
                    mountpoint: "/mnt/famfs".into(),
                    device: (0, 41),
                },
                KernelMount {
                    source: "/dev/p\tmem".into(),
                    mountpoint: "/mnt/with space\\".into(),
                    device: (0, 43),
                },
            ]
        );
        list().unwrap();
    }
}
