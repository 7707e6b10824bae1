//! What sysfs says about a character device: whether it is a dax device, its size and alignment.
//!
//! The device itself reports a length of 0, so this is the only place to ask.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The alignment of dax devices that do not tell theirs.
const DEFAULT_ALIGN: u64 = 2 << 20;

/// What is to be known of a dax device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Facts {
    pub(super) size: u64,
    pub(super) align: u64,
}

fn folder(devices: &Path, rdev: u64) -> PathBuf {
    devices.join(format!("{}:{}", libc::major(rdev), libc::minor(rdev)))
}

/// Whether the device with this number belongs to the dax subsystem.
pub(super) fn is_dax(devices: &Path, rdev: u64) -> bool {
    fs::read_link(folder(devices, rdev).join("subsystem"))
        .is_ok_and(|subsystem| subsystem.file_name().is_some_and(|name| name == "dax"))
}

/// Whether the block device with this number is memory: of a partition, the whole device tells.
pub(super) fn is_block_dax(devices: &Path, rdev: u64) -> bool {
    let folder = folder(devices, rdev);
    ["queue/dax", "../queue/dax"]
        .iter()
        .find_map(|name| number(&folder.join(name)).ok())
        == Some(1)
}

/// The size and alignment of a dax device.
pub(super) fn facts(devices: &Path, rdev: u64) -> io::Result<Facts> {
    let folder = folder(devices, rdev);
    let size = number(&folder.join("size"))?;
    let mut align = DEFAULT_ALIGN;
    for name in ["align", "device/align"] {
        match number(&folder.join(name)) {
            Ok(found) if found.is_power_of_two() => {
                align = found;
                break;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(found) => return Err(io::Error::other(format!("its alignment is {found}"))),
            Err(error) => return Err(error),
        }
    }
    Ok(Facts { size, align })
}

fn number(path: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(path)?;
    text.trim().parse().map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "{} holds {:?}; expected a number",
                path.display(),
                text.trim()
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn device(subsystem: &str, files: &[(&str, &str)]) -> (tempfile::TempDir, u64) {
        let sys = tempfile::tempdir().unwrap();
        let rdev = libc::makedev(252, 7);
        let folder = folder(sys.path(), rdev);
        fs::create_dir_all(folder.join("device")).unwrap();
        symlink(
            format!("../../../bus/{subsystem}"),
            folder.join("subsystem"),
        )
        .unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        (sys, rdev)
    }

    #[test]
    fn the_subsystem_decides() {
        let (sys, rdev) = device("dax", &[]);
        assert!(is_dax(sys.path(), rdev));
        assert!(!is_dax(sys.path(), rdev + 1));
        let (sys, rdev) = device("mem", &[]);
        assert!(!is_dax(sys.path(), rdev));
    }

    #[test]
    fn size_and_alignment_are_read() {
        let files = [("size", "1073741824\n"), ("align", "1073741824\n")];
        let (sys, rdev) = device("dax", &files);
        let expected = Facts {
            size: 1 << 30,
            align: 1 << 30,
        };
        assert_eq!(facts(sys.path(), rdev).unwrap(), expected);

        let (sys, rdev) = device("dax", &[("size", "4096\n"), ("device/align", "4096\n")]);
        assert_eq!(
            facts(sys.path(), rdev).unwrap(),
            Facts {
                size: 4096,
                align: 4096
            }
        );

        let (sys, rdev) = device("dax", &[("size", "8388608\n")]);
        let expected = Facts {
            size: 8 << 20,
            align: DEFAULT_ALIGN,
        };
        assert_eq!(facts(sys.path(), rdev).unwrap(), expected);
    }

    #[test]
    fn nonsense_is_refused() {
        for files in [
            &[("size", "lots")][..],
            &[("align", "4096")],
            &[("size", "4096"), ("align", "3000")],
            &[("size", "4096"), ("align", "0")],
        ] {
            let (sys, rdev) = device("dax", files);
            assert!(facts(sys.path(), rdev).is_err(), "{files:?}");
        }
    }

    #[test]
    fn a_block_device_is_memory_where_its_queue_says_so() {
        let (sys, rdev) = device("block", &[]);
        let folder = folder(sys.path(), rdev);
        assert!(!is_block_dax(sys.path(), rdev));
        for (text, expected) in [("0\n", false), ("1\n", true)] {
            fs::create_dir_all(folder.join("queue")).unwrap();
            fs::write(folder.join("queue/dax"), text).unwrap();
            assert_eq!(is_block_dax(sys.path(), rdev), expected);
        }
    }
}
