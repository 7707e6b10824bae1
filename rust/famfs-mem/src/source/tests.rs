#![expect(unsafe_code, reason = "tests break memory on purpose")]
use std::os::unix::{ffi::OsStrExt, net::UnixListener};

use super::*;
use crate::{
    MapError, Region,
    testing::{pattern, shm_dir},
};

#[test]
fn a_file_is_read_and_written() {
    let dir = shm_dir();
    let path = dir.path().join("volume");
    let source = Source::create_file(&path, 100_000, false).unwrap();
    let bytes = pattern(5000, 1);
    source.write_at(95_000, &bytes).unwrap();
    source.sync().unwrap();
    let again = Source::open(&path, Access::ReadOnly).unwrap();
    let mut found = vec![0; 5000];
    again.read_at(95_000, &mut found).unwrap();
    assert!(found == bytes);
    assert_eq!((again.kind(), again.size()), (Kind::File, 100_000));
    assert_eq!((again.path(), again.access()), (&*path, Access::ReadOnly));
    assert!(again.align().is_power_of_two());

    let error = again.read_at(95_001, &mut found).unwrap_err();
    assert!(
        matches!(error, SourceError::OutOfRange { size: 100_000, .. }),
        "{error}"
    );
    assert!(source.write_at(u64::MAX, &bytes).is_err());
    let error = again.write_at(0, &bytes).unwrap_err();
    assert!(matches!(error, SourceError::ReadOnly { .. }), "{error}");
}

#[test]
fn names_and_opens_of_one_file_are_one_identity() {
    let dir = shm_dir();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let first = Source::create_file(&one, 4096, false).unwrap();
    fs::hard_link(&one, &two).unwrap();
    let second = Source::open(&two, Access::ReadOnly).unwrap();
    assert_eq!(first.identity(), second.identity());
    let other = Source::create_file(dir.path().join("three"), 4096, false).unwrap();
    assert_ne!(first.identity(), other.identity());
}

#[test]
fn what_is_no_memory_is_refused_by_its_name() {
    let dir = shm_dir();
    let fifo = dir.path().join("fifo");
    let name = std::ffi::CString::new(fifo.as_os_str().as_bytes()).unwrap();
    // SAFETY: the name is a C string.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let socket = dir.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    for (path, expected) in [
        (dir.path(), "a directory"),
        (&fifo, "a named pipe"),
        (&socket, "a socket"),
        (
            Path::new("/dev/null"),
            "a character device that is not a dax device",
        ),
    ] {
        match Source::open(path, Access::ReadOnly).unwrap_err() {
            SourceError::NotMemory { what, .. } => assert_eq!(what, expected),
            other => panic!("{}: {other}", path.display()),
        }
    }
    let error = Source::open(dir.path().join("nothing"), Access::ReadOnly).unwrap_err();
    assert!(matches!(error, SourceError::Open { .. }), "{error}");
}

#[test]
fn space_is_taken_when_a_file_is_made_unless_it_is_sparse() {
    let dir = shm_dir();
    let len = 1 << 20;
    let full = Source::create_file(dir.path().join("full"), len, false).unwrap();
    assert!(full.file().metadata().unwrap().blocks() * 512 >= len);
    let sparse = Source::create_file(dir.path().join("sparse"), len, true).unwrap();
    assert!(sparse.file().metadata().unwrap().blocks() * 512 < len);
    assert_eq!((full.size(), sparse.size()), (len, len));
    sparse.allocate(0, len).unwrap();
    assert!(sparse.file().metadata().unwrap().blocks() * 512 >= len);
}

#[test]
fn a_file_without_space_is_removed_again() {
    let dir = shm_dir();
    let path = dir.path().join("too large");
    match Source::create_file(&path, 1 << 50, false).unwrap_err() {
        SourceError::NoSpace { len, .. } => assert_eq!(len, 1 << 50),
        other => panic!("{other}"),
    }
    assert!(!path.exists());
}

#[test]
fn a_file_that_exists_is_not_made_again_nor_removed() {
    let dir = shm_dir();
    let path = dir.path().join("volume");
    fs::write(&path, b"precious").unwrap();
    assert!(Source::create_file(&path, 4096, false).is_err());
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[test]
fn a_hole_reads_as_zeros_and_gives_its_space_back() {
    let dir = shm_dir();
    let len = 1 << 20;
    let mut source = Source::create_file(dir.path().join("volume"), len, false).unwrap();
    source.write_at(0, &vec![1; 1 << 20]).unwrap();
    source.punch(0, len / 2).unwrap();
    assert!(source.file().metadata().unwrap().blocks() * 512 <= len / 2 + 4096);
    let mut found = vec![9; 1 << 20];
    source.read_at(0, &mut found).unwrap();
    let (hole, rest) = found.split_at(1 << 19);
    assert!(hole.iter().all(|byte| *byte == 0) && rest.iter().all(|byte| *byte == 1));
    source.set_len(100).unwrap();
    assert_eq!(
        (source.size(), source.file().metadata().unwrap().len()),
        (100, 100)
    );
}

/// Dax devices are rare and hugetlbfs is not: bytes take the same way to both.
#[test]
fn bytes_go_through_a_mapping_where_there_is_no_other_way() {
    let dir = shm_dir();
    let mut source = Source::create_file(dir.path().join("volume"), 3 << 20, false).unwrap();
    source.transfer = Transfer::Mapped;
    source.align = 1 << 20;
    let bytes = pattern(100_000, 1);
    let at = (2 << 20) - 50_001;
    source.write_at(at, &bytes).unwrap();
    let mut found = vec![0; bytes.len()];
    source.read_at(at, &mut found).unwrap();
    assert!(found == bytes);
    assert!(fs::read(source.path()).unwrap()[at as usize..][..bytes.len()] == bytes);
    source.file().set_len(1 << 20).unwrap();
    let error = source.read_at(at, &mut found).unwrap_err();
    assert!(matches!(error, SourceError::Fault { .. }), "{error}");
}

/// A loop device over a file, where this host lets us have one.
struct Loop(String);

impl Loop {
    fn over(file: &Path) -> Result<Self, String> {
        let made = std::process::Command::new("losetup")
            .args(["--find", "--show"])
            .arg(file)
            .output()
            .map_err(|error| format!("losetup: {error}"))?;
        if !made.status.success() {
            return Err(String::from_utf8_lossy(&made.stderr).into_owned());
        }
        Ok(Self(
            String::from_utf8_lossy(&made.stdout).trim().to_owned(),
        ))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = std::process::Command::new("losetup")
            .args(["--detach", &self.0])
            .status();
    }
}

#[test]
fn a_block_device_is_read_and_written_but_never_mapped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    let size = 4 << 20;
    fs::write(&path, pattern(size, 1)).unwrap();
    let device = match Loop::over(&path) {
        Ok(device) => device,
        Err(why) => {
            println!("NOT TESTED: block devices need a loop device, and: {why}");
            return;
        }
    };
    let source = Source::open(&device.0, Access::ReadWrite).unwrap();
    assert_eq!((source.kind(), source.size()), (Kind::Block, size as u64));
    assert!(matches!(
        Region::map(&source),
        Err(MapError::BlockDevice { .. })
    ));
    let bytes = pattern(1_500_000, 2);
    source.write_at(12_345, &bytes).unwrap();
    source.sync().unwrap();
    let mut found = vec![0; bytes.len()];
    source.read_at(12_345, &mut found).unwrap();
    assert!(found == bytes);
    let mut all = pattern(size, 1);
    all[12_345..][..bytes.len()].copy_from_slice(&bytes);
    found.resize(size, 0);
    source.read_at(0, &mut found).unwrap();
    assert!(found == all, "only what was written changed");
    assert!(matches!(
        source.punch(0, 4096),
        Err(SourceError::Unsupported { .. })
    ));
    assert!(matches!(
        source.allocate(0, 4096),
        Err(SourceError::Unsupported { .. })
    ));
    let mut source = source;
    assert!(matches!(
        source.set_len(0),
        Err(SourceError::Unsupported { .. })
    ));
}
