//! From an address back to the file: whose bytes lie there, and where in it.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test may"
)]

mod common;

use common::{MIB, OWNER, commit, disk, make, make_again, name, open, publish, reserve, volume};
use famfs::core::space::Layout;
use famfs::core::units::{ByteLen, FileOff, Slot};
use famfs::{Publication, Volume};

/// Slot and offset of what lies at an address.
fn located(volume: &Volume, address: usize, len: usize) -> Option<(Slot, u64)> {
    let found = volume.locate(address, len).unwrap()?;
    assert_eq!(found.volume.uuid(), volume.uuid());
    Some((found.file.slot, found.at.0))
}

#[test]
fn a_file_is_found_by_its_bytes_and_nothing_beside_them() {
    let (disk, volume) = volume(64);
    let size = 2 * MIB as usize + 100;
    let first = publish(&volume, "first", &vec![1; size]).unwrap();
    let second = publish(&volume, "second", b"0123456789").unwrap();
    let view = volume.view(&volume.stat(b"first").unwrap()).unwrap();
    let at = view.address();
    assert_eq!(located(&volume, at, 1), Some((first, 0)));
    assert_eq!(located(&volume, at + 7, size - 7), Some((first, 7)));
    assert_eq!(located(&volume, at, 0), None);
    assert_eq!(located(&volume, at, size + 1), None, "behind its end");
    assert_eq!(located(&volume, at + size, 1), None, "behind its end");
    assert_eq!(located(&volume, at - 1, 1), None, "the log");
    assert_eq!(located(&volume, at - 1, 2), None, "the log and a file");
    assert_eq!(located(&volume, volume.address(), 10), None, "superblock");
    // The next unit but one is the second file's.
    let next = at + 4 * MIB as usize;
    assert_eq!(located(&volume, next + 3, 7), Some((second, 3)));
    assert_eq!(located(&volume, at, 4 * MIB as usize + 1), None, "of two");
    assert_eq!(located(&volume, next + 2 * MIB as usize, 1), None, "free");
    let here = [0_u8; 10];
    assert_eq!(located(&volume, here.as_ptr().addr(), 10), None);
    // Another handle follows the log by itself.
    let other = open(&disk);
    let third = publish(&volume, "third", b"abc").unwrap();
    let view = volume.view(&volume.stat(b"third").unwrap()).unwrap();
    assert_eq!(located(&other, view.address(), 3), Some((third, 0)));
}

#[test]
fn two_files_beside_each_other_are_two() {
    let (_disk, volume) = volume(64);
    let first = publish(&volume, "first", &vec![1; 2 * MIB as usize]).unwrap();
    let second = publish(&volume, "second", &vec![2; 2 * MIB as usize]).unwrap();
    let view = volume.view(&volume.stat(b"first").unwrap()).unwrap();
    let end = view.address() + view.len();
    assert_eq!(located(&volume, end - 1, 1), Some((first, 2 * MIB - 1)));
    assert_eq!(located(&volume, end, 1), Some((second, 0)));
    assert_eq!(located(&volume, end - 1, 2), None);
}

#[test]
fn pieces_are_found_in_the_files_order() {
    let (_disk, volume) = volume(256);
    let layout = Layout::Interleaved {
        strips: 3,
        buckets: 5,
        chunk_size: ByteLen(2 * MIB),
    };
    let size = 13 * MIB + 77;
    let reservation = volume.reserve(ByteLen(size), layout).unwrap();
    reservation
        .fill(FileOff(0), &vec![1; size as usize])
        .unwrap();
    let slot = commit(&volume, reservation, "striped", false).unwrap();
    let file = volume.stat(b"striped").unwrap();
    let view = volume.view(&file).unwrap();
    let base = view.address();
    for (at, len) in [
        (0, size),
        (0, 1),
        (2 * MIB - 1, 2),
        (3 * MIB + 5, 7 * MIB),
        (size - 1, 1),
    ] {
        let found = located(&volume, base + at as usize, len as usize);
        assert_eq!(found, Some((slot, at)));
    }
    assert_eq!(located(&volume, base + size as usize - 1, 2), None);
    // In the region itself, where chunks of the file follow each other that don't in the file.
    let map = file.map.unwrap();
    let strip = map.extents()[1].offset.0 as usize + volume.address();
    let chunk = 2 * MIB as usize;
    assert_eq!(
        located(&volume, strip + 5, chunk - 5),
        Some((slot, 2 * MIB + 5))
    );
    assert_eq!(located(&volume, strip + chunk, 9), Some((slot, 8 * MIB)));
    assert_eq!(located(&volume, strip + 5, chunk), None);
}

#[test]
fn what_was_replaced_or_removed_is_found_as_what_it_was() {
    let (_disk, volume) = volume(64);
    let first = publish(&volume, "file", b"first").unwrap();
    let old = volume.view(&volume.stat(b"file").unwrap()).unwrap();
    let second = commit(&volume, reserve(&volume, b"second").unwrap(), "file", true).unwrap();
    let new = volume.view(&volume.stat(b"file").unwrap()).unwrap();
    assert_eq!(located(&volume, old.address(), 5), Some((first, 0)));
    assert_eq!(located(&volume, new.address(), 6), Some((second, 0)));
    volume.remove(name("file")).unwrap();
    for (view, slot) in [(&old, first), (&new, second)] {
        let found = volume.locate(view.address(), 5).unwrap().unwrap();
        assert!(!found.file.is_live);
        let again = volume.view(&volume.stat_slot(slot).unwrap()).unwrap();
        assert_eq!(again.address(), view.address());
    }
}

#[test]
fn what_is_not_published_yet_is_not_found() {
    let (_disk, volume) = volume(64);
    let reservation = reserve(&volume, b"not yet").unwrap();
    let lent = reservation.window(FileOff(0), ByteLen(7)).unwrap();
    let at = volume.address() + reservation.map().extents()[0].offset.0 as usize;
    assert_eq!(located(&volume, at, 7), None);
    assert_eq!(located(&volume, lent.address().addr(), 7), None);
    let publication = Publication {
        reservation,
        path: name("file"),
        owner: OWNER,
        overwrite: false,
    };
    let slot = volume.commit(vec![publication]).unwrap()[0];
    assert_eq!(located(&volume, at, 7), Some((slot, 0)));
    // A copy of this process's from now on, or memory that it can't write to.
    assert_eq!(located(&volume, lent.address().addr(), 7), None);
}

#[test]
fn a_volume_that_is_another_one_says_so() {
    let disk = disk();
    make(&disk.path, 64);
    let volume = open(&disk);
    publish(&volume, "file", b"old").unwrap();
    let view = volume.view(&volume.stat(b"file").unwrap()).unwrap();
    make_again(&disk.path);
    assert!(volume.locate(view.address(), 3).is_err());
    assert_eq!(located(&open(&disk), view.address(), 3), None);
}
