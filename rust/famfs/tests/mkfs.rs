//! Making volumes: what is refused, and that nothing is lost by it.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use common::{MIB, disk, make_again, open};
use famfs::{Error, MkfsOptions, Options, Volume, mkfs};

#[test]
fn what_is_no_volume_is_refused_with_a_reason() {
    let disk = disk();
    let refused = |bytes: &[u8]| {
        std::fs::write(&disk.path, bytes).unwrap();
        let error = Volume::open(&disk.path, Options::default()).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        error.to_string()
    };
    assert!(refused(b"").contains("mkfs"));
    assert!(refused(b"short").contains("ends inside the superblock"));
    assert!(refused(&[1; 8192]).contains("magic"));
    let error = Volume::open(disk.dir.path(), Options::default()).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    let missing = disk.dir.path().join("none");
    assert!(Volume::open(&missing, Options::default()).is_err());
}

#[test]
fn mkfs_refuses_what_makes_no_volume() {
    let disk = disk();
    let tries = [
        MkfsOptions {
            size: Some(4 * MIB),
            ..MkfsOptions::default()
        },
        MkfsOptions {
            size: Some(64 * MIB),
            log_len: 9 * MIB,
            ..MkfsOptions::default()
        },
        MkfsOptions {
            size: Some(64 * MIB),
            log_len: 64 * MIB,
            ..MkfsOptions::default()
        },
        MkfsOptions {
            size: Some(u64::MAX),
            ..MkfsOptions::default()
        },
        MkfsOptions::default(),
    ];
    for options in tries {
        let error = mkfs(&disk.path, &options).unwrap_err();
        assert_eq!(error.face().exit, 2, "{error}");
        assert!(!disk.path.exists(), "{error}");
    }
    // More than the host has: told at mkfs, and nothing is left behind.
    let huge = MkfsOptions {
        size: Some(1 << 49),
        ..MkfsOptions::default()
    };
    let error = mkfs(&disk.path, &huge).unwrap_err();
    assert!(
        matches!(error, Error::HostFull { .. } | Error::Io { .. }),
        "{error}"
    );
    assert!(!disk.path.exists());
}

#[test]
fn data_far_behind_the_start_is_data_too() {
    let disk = disk();
    let mut bytes = vec![0; 20 << 20];
    // Where ext4 has its superblock.
    bytes[1080] = 0x53;
    std::fs::write(&disk.path, &bytes).unwrap();
    let error = mkfs(&disk.path, &MkfsOptions::default()).unwrap_err();
    assert!(error.to_string().contains("byte 1080 is"), "{error}");
    assert_eq!(std::fs::read(&disk.path).unwrap(), bytes);
    std::fs::write(&disk.path, vec![0; 20 << 20]).unwrap();
    mkfs(&disk.path, &MkfsOptions::default()).unwrap();
}

#[test]
fn no_data_of_a_file_is_cut_off_or_added_to() {
    let disk = disk();
    let size = Some(16 * MIB);
    let options = MkfsOptions {
        size,
        ..MkfsOptions::default()
    };
    let mut late = vec![0; 20 << 20];
    late[18_000_000] = 1;
    for bytes in [b"k=1\n".to_vec(), late] {
        std::fs::write(&disk.path, &bytes).unwrap();
        let error = mkfs(&disk.path, &options).unwrap_err();
        assert!(error.to_string().contains("--force"), "{error}");
        assert!(std::fs::read(&disk.path).unwrap() == bytes);
    }
    std::fs::write(&disk.path, b"").unwrap();
    mkfs(&disk.path, &options).unwrap();
}

#[test]
fn a_forced_mkfs_that_finds_no_room_leaves_the_volume() {
    let disk = disk();
    let options = |size: u64| MkfsOptions {
        size: Some(size),
        force: true,
        ..MkfsOptions::default()
    };
    mkfs(&disk.path, &options(16 * MIB)).unwrap();
    let uuid = open(&disk).uuid();
    let before = std::fs::read(&disk.path).unwrap();
    let error = mkfs(&disk.path, &options(1 << 49)).unwrap_err();
    assert!(
        matches!(error, Error::HostFull { .. } | Error::Io { .. }),
        "{error}"
    );
    assert!(std::fs::read(&disk.path).unwrap() == before);
    assert_eq!(open(&disk).uuid(), uuid);
    mkfs(&disk.path, &options(12 * MIB)).unwrap();
    assert_eq!(std::fs::metadata(&disk.path).unwrap().len(), 12 * MIB);
}

#[test]
fn of_two_who_make_a_volume_at_once_one_does() {
    for _ in 0..20 {
        let disk = disk();
        let options = MkfsOptions {
            size: Some(16 * MIB),
            ..MkfsOptions::default()
        };
        let made = std::thread::scope(|scope| {
            let make = || scope.spawn(|| mkfs(&disk.path, &options).is_ok());
            let both = [make(), make()];
            both.map(|thread| thread.join().unwrap())
        });
        assert_eq!(made.into_iter().filter(|made| *made).count(), 1);
        open(&disk);
    }
}

#[test]
fn somebodys_file_is_not_made_a_volume() {
    let disk = disk();
    std::fs::write(&disk.path, vec![7; 20 << 20]).unwrap();
    for size in [None, Some(16 * MIB)] {
        let error = mkfs(
            &disk.path,
            &MkfsOptions {
                size,
                ..MkfsOptions::default()
            },
        )
        .unwrap_err();
        assert!(error.to_string().contains("--force"), "{error}");
    }
    assert_eq!(std::fs::read(&disk.path).unwrap(), vec![7; 20 << 20]);
    make_again(&disk.path);
}
