//! Volumes in temporary directories, for the tests of this crate.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses a part; a test may"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use famfs::core::entry::Owner;
use famfs::core::path::RelPath;
use famfs::core::space::Layout;
use famfs::core::units::{ByteLen, FileOff, Slot};
use famfs::{MkfsOptions, Options, Publication, Reservation, Result, Volume, mkfs};
use tempfile::TempDir;

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const OWNER: Owner = Owner {
    uid: 0,
    gid: 0,
    mode: 0o644,
};

/// A directory in memory, and a backing file in it.
pub(crate) struct Disk {
    pub(crate) dir: TempDir,
    pub(crate) path: PathBuf,
}

pub(crate) fn disk() -> Disk {
    let dir = tempfile::Builder::new()
        .prefix("famfs-test")
        .tempdir_in("/dev/shm")
        .unwrap();
    let path = dir.path().join("volume");
    Disk { dir, path }
}

/// Makes a volume of this size in MiB in a backing file, which is made.
pub(crate) fn make(path: &Path, mib: u64) {
    let size = Some(mib * MIB);
    mkfs(
        path,
        &MkfsOptions {
            size,
            ..MkfsOptions::default()
        },
    )
    .unwrap();
}

/// Makes another volume where one is.
pub(crate) fn make_again(path: &Path) {
    mkfs(
        path,
        &MkfsOptions {
            force: true,
            ..MkfsOptions::default()
        },
    )
    .unwrap();
}

/// A new volume of this size in MiB.
pub(crate) fn volume(mib: u64) -> (Disk, Volume) {
    let disk = disk();
    make(&disk.path, mib);
    let volume = open(&disk);
    (disk, volume)
}

pub(crate) fn open(disk: &Disk) -> Volume {
    Volume::open(&disk.path, Options::default()).unwrap()
}

pub(crate) fn name(path: &str) -> RelPath {
    RelPath::new(path.as_bytes()).unwrap()
}

pub(crate) fn reserve(volume: &Volume, bytes: &[u8]) -> Result<Reservation> {
    let reservation = volume.reserve(ByteLen(bytes.len() as u64), Layout::Contiguous)?;
    reservation.fill(FileOff(0), bytes)?;
    Ok(reservation)
}

pub(crate) fn commit(
    volume: &Volume,
    reservation: Reservation,
    path: &str,
    overwrite: bool,
) -> Result<Slot> {
    let publication = Publication {
        reservation,
        path: name(path),
        owner: OWNER,
        overwrite,
    };
    volume.commit(vec![publication]).map(|slots| slots[0])
}

pub(crate) fn publish(volume: &Volume, path: &str, bytes: &[u8]) -> Result<Slot> {
    commit(volume, reserve(volume, bytes)?, path, false)
}

pub(crate) fn read(volume: &Volume, path: &str) -> Vec<u8> {
    let file = volume.stat(path.as_bytes()).unwrap();
    volume.view(&file).unwrap().to_vec()
}

/// Runs the test `entry` of this test binary in a process of its own, as a child with a role.
pub(crate) fn child(entry: &str, role: &str, disk: &Disk) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", entry, "--nocapture", "--test-threads=1"])
        .env("FAMFS_TEST_ROLE", role)
        .env("FAMFS_TEST_VOLUME", &disk.path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The role of this process and the volume it is to use, where it is a child.
pub(crate) fn role() -> Option<(String, PathBuf)> {
    let role = std::env::var("FAMFS_TEST_ROLE").ok()?;
    Some((role, std::env::var_os("FAMFS_TEST_VOLUME")?.into()))
}
