//! Library mounts and embedded volumes, in the real table of this user.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::{Disk, MIB, commit, disk, make, make_again, publish, read, reserve};
use famfs::embedded::{self, Memory};
use famfs::{Error, mounts};

/// Takes the mount away, whatever becomes of the test.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let discarded = mounts::umount(&self.0, true);
        if discarded.is_err() {
            let _ = mounts::umount(&self.0, false);
        }
    }
}

/// A volume, mounted on a directory beside it.
fn mounted() -> (Disk, PathBuf, Mounted) {
    let disk = disk();
    make(&disk.path, 32);
    let directory = disk.dir.path().join("mnt");
    fs::create_dir(&directory).unwrap();
    mounts::mount(&disk.path, &directory, None).unwrap();
    let guard = Mounted(directory.clone());
    (disk, directory, guard)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_mount_leads_to_its_volume_until_it_is_taken_away() {
    let disk = disk();
    make(&disk.path, 32);
    let directory = disk.dir.path().join("mnt");
    assert!(
        mounts::mount(&disk.path, &directory, None).is_err(),
        "the directory is missing"
    );
    fs::create_dir(&directory).unwrap();
    let before = mode(&directory);
    let mounted = mounts::mount(&disk.path, &directory, None).unwrap();
    let _guard = Mounted(directory.clone());
    assert!(mounted.warnings.is_empty(), "{:?}", mounted.warnings);
    assert_eq!(
        mode(&directory) & 0o222,
        0,
        "other programs should not write there"
    );
    assert!(matches!(
        mounts::mount(&disk.path, &directory, None),
        Err(Error::Busy { .. })
    ));

    let resolved = mounts::resolve(&directory.join("a")).unwrap();
    let volume = resolved.volume().unwrap();
    publish(&volume, "a", b"content").unwrap();
    let again = mounts::resolve(&directory.join("a"))
        .unwrap()
        .volume()
        .unwrap();
    assert_eq!(read(&again, "a"), b"content");
    assert_eq!(again.address(), volume.address(), "one mapping, kept");
    assert_eq!(
        mounts::find(volume.uuid()).unwrap().0.mountpoint,
        mounted.mount.mountpoint
    );
    assert!(resolved.name().is_ok());
    assert!(mounts::resolve(&directory).unwrap().name().is_err());

    mounts::umount(&directory, false).unwrap();
    assert_eq!(mode(&directory), before);
    assert!(matches!(
        mounts::resolve(&directory.join("a")),
        Err(Error::NotMounted { .. })
    ));
    assert!(matches!(
        mounts::umount(&directory, false),
        Err(Error::NotMounted { .. })
    ));
    assert!(matches!(
        mounts::find(volume.uuid()),
        Err(Error::VolumeNotMounted { uuid }) if uuid == volume.uuid()
    ));
}

#[test]
fn a_directory_that_is_not_empty_is_mounted_with_a_warning() {
    let disk = disk();
    make(&disk.path, 32);
    let directory = disk.dir.path().join("mnt");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("theirs"), "x").unwrap();
    let before = mode(&directory);
    let mounted = mounts::mount(&disk.path, &directory, None).unwrap();
    let _guard = Mounted(directory.clone());
    assert_eq!(mounted.warnings.len(), 1);
    assert_eq!(mode(&directory), before);
}

#[test]
fn a_volume_that_was_remade_or_is_gone_is_noticed() {
    let (disk, directory, _guard) = mounted();
    let resolved = mounts::resolve(&directory.join("a")).unwrap();
    publish(&resolved.volume().unwrap(), "a", b"1").unwrap();
    make_again(&disk.path);
    assert!(matches!(
        resolved.volume(),
        Err(Error::VolumeChanged { .. })
    ));
    fs::remove_file(&disk.path).unwrap();
    let gone = mounts::resolve(&directory.join("a"));
    assert!(
        matches!(gone, Err(Error::NotMounted { .. })),
        "a mount without its volume is none"
    );
}

#[test]
fn an_embedded_volume_is_made_once_and_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("made/for/it");
    let made = embedded::mount(&directory, Some(64 * MIB)).unwrap();
    let _guard = Mounted(directory.clone());
    assert!(made.is_new);
    assert_eq!(made.size, 64 * MIB);
    let backing = made.mounted.mount.source.clone();
    if made.mounted.mount.embedded == Some(Memory::HugeTmpfs) {
        assert_eq!(made.huge, made.size, "a tmpfs of its own gives huge pages");
    }
    let volume = made.mounted.mount.volume().unwrap();
    publish(&volume, "a", b"1").unwrap();

    let again = embedded::mount(&directory, Some(64 * MIB)).unwrap();
    assert!(!again.is_new);
    assert_eq!(again.huge, made.huge, "whoever asks, and however often");
    assert_eq!(again.mounted.mount.uuid, Some(volume.uuid()));
    // Taken away and mounted again it is as it was.
    mounts::umount(&directory, false).unwrap();
    assert!(backing.exists());
    let kept = embedded::mount(&directory, None).unwrap();
    assert!(!kept.is_new);
    let volume = kept.mounted.mount.volume().unwrap();
    assert_eq!(read(&volume, "a"), b"1");
    commit(&volume, reserve(&volume, b"2").unwrap(), "a", true).unwrap();

    mounts::umount(&directory, true).unwrap();
    assert!(
        !backing.exists() && !backing.parent().unwrap().exists(),
        "nothing is left behind"
    );
    assert!(!directory.exists(), "it was made for the volume");
    assert!(matches!(
        mounts::resolve(&directory),
        Err(Error::NotMounted { .. })
    ));
}

#[test]
fn a_host_without_the_memory_says_so_and_is_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("mnt");
    for size in [1 << 48, MIB] {
        let error = embedded::mount(&directory, Some(size)).unwrap_err();
        assert_eq!(
            matches!(error, Error::HostFull { .. }),
            size > MIB,
            "{error}"
        );
        assert!(!directory.exists());
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let small = format!("size={}k", (size + (4 << 20)) / 1024);
        assert!(!table.contains(&small), "nothing stays mounted");
    }
    assert!(
        mounts::list()
            .unwrap()
            .iter()
            .all(|mount| mount.mountpoint != directory)
    );
}

#[test]
fn many_who_embed_at_once_get_one_volume() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("mnt");
    let _guard = Mounted(directory.clone());
    let made: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| embedded::mount(&directory, Some(64 * MIB)).unwrap()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(made.iter().filter(|made| made.is_new).count(), 1);
    assert!(
        made.iter()
            .all(|one| one.mounted.mount.uuid == made[0].mounted.mount.uuid)
    );
}

#[test]
fn a_volume_that_was_made_again_at_its_path_is_the_one_that_is_read() {
    let (disk, directory, _guard) = mounted();
    let resolved = mounts::resolve(&directory.join("a")).unwrap();
    publish(&resolved.volume().unwrap(), "a", b"1").unwrap();
    fs::remove_file(&disk.path).unwrap();
    make(&disk.path, 32);
    assert!(matches!(
        resolved.volume(),
        Err(Error::VolumeChanged { .. })
    ));
    // Its directory becomes what it was.
    fs::remove_file(&disk.path).unwrap();
    let before = mode(disk.dir.path()) & 0o200;
    assert!(mounts::umount(&directory, false).is_err());
    assert_eq!(mode(&directory) & 0o200, before);
}

#[test]
fn paths_that_are_no_text_are_mounted_like_others() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let disk = disk();
    let odd = |name: &[u8]| disk.dir.path().join(OsStr::from_bytes(name));
    let (source, directory) = (odd(b"v\xff"), odd(b"m\xfe"));
    make(&source, 32);
    fs::create_dir(&directory).unwrap();
    mounts::mount(&source, &directory, None).unwrap();
    let _guard = Mounted(directory.clone());
    let resolved = mounts::resolve(&directory.join("a")).unwrap();
    assert_eq!(resolved.mount.source, source);
    publish(&resolved.volume().unwrap(), "a", b"1").unwrap();
}

#[test]
fn a_mount_whose_directory_is_gone_is_taken_away_by_its_name() {
    let (_disk, directory, _guard) = mounted();
    fs::remove_dir(&directory).unwrap();
    mounts::umount(&directory, false).unwrap();
}

#[test]
fn a_mount_over_one_whose_volume_is_gone_gives_the_directory_back_as_it_was() {
    let (disk, directory, _guard) = mounted();
    fs::remove_file(&disk.path).unwrap();
    let other = disk.dir.path().join("other");
    make(&other, 32);
    mounts::mount(&other, &directory, None).unwrap();
    assert_eq!(mode(&directory) & 0o222, 0);
    mounts::umount(&directory, false).unwrap();
    assert_ne!(mode(&directory) & 0o222, 0);
}
