//! Transactions and windows: files that appear together, and bytes written where they stay.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use common::{MIB, OWNER, commit, name, open, read, volume};
use famfs::core::space::Layout;
use famfs::core::units::{ByteLen, FileOff};
use famfs::mem::Window;
use famfs::{Error, Publication, Reservation, Transaction, Volume};

/// Fills a file of a transaction.
fn put(transaction: &Transaction, path: &str, bytes: &[u8]) -> famfs::Result<()> {
    let size = ByteLen(bytes.len() as u64);
    let path = name(path);
    let reservation = transaction.reserve(size, Layout::Contiguous, path, OWNER, false)?;
    reservation.fill(FileOff(0), bytes)?;
    transaction.add(Publication {
        reservation,
        path,
        owner: OWNER,
        overwrite: false,
    })
}

fn space(volume: &Volume, size: u64) -> Reservation {
    volume.reserve(ByteLen(size), Layout::Contiguous).unwrap()
}

/// Writes through a window, as code of others does.
fn write(window: &Window, at: usize, byte: u8) {
    assert!(at < window.len());
    // SAFETY: the byte lies in the window, which is writable in these tests, sealed or not; nothing
    // refers to it.
    unsafe { window.address().add(at).write_volatile(byte) };
}

#[test]
fn parts_of_several_handles_appear_in_one_step() {
    let (disk, volume) = volume(64);
    let other = open(&disk);
    let owner = volume.transaction().unwrap();
    let part = other.join(owner.token().unwrap()).unwrap();
    put(&owner, "own", b"own").unwrap();
    put(&part, "part", b"part").unwrap();
    assert!(matches!(owner.commit(), Err(Error::Busy { .. })));
    assert!(part.commit().unwrap().is_empty());
    drop((part, other));

    let third = open(&disk);
    assert!(third.list(b"").unwrap().is_empty());
    let committed = owner.commit().unwrap();
    let names: Vec<_> = committed.iter().map(|(path, _)| path.to_string()).collect();
    assert_eq!(names, ["own", "part"]);
    assert_eq!(third.refresh().unwrap().new_entries, 2);
    assert_eq!(read(&third, "part"), b"part");
    assert!(matches!(owner.commit(), Err(Error::Usage(_))));
}

#[test]
fn what_a_part_has_begun_is_waited_for() {
    let (disk, volume) = volume(64);
    let other = open(&disk);
    let owner = volume.transaction().unwrap();
    let part = other.join(owner.token().unwrap()).unwrap();
    put(&part, "x", b"first").unwrap();
    drop(part);
    let error = owner.commit().unwrap_err();
    assert!(
        matches!(&error, Error::Unfinished { path, .. } if path == "x"),
        "{error}"
    );
    assert_eq!(error.face().python, "Busy");

    let again = other.join(owner.token().unwrap()).unwrap();
    put(&again, "x", b"second").unwrap();
    assert!(matches!(
        put(&again, "x", b"third"),
        Err(Error::Twice { .. })
    ));
    again.commit().unwrap();
    assert!(matches!(
        put(&owner, "x", b"fourth"),
        Err(Error::Twice { .. })
    ));
    owner.commit().unwrap();
    assert_eq!(read(&volume, "x"), b"second");
}

#[test]
fn a_commit_of_told_files_publishes_those_or_nothing() {
    let (disk, volume) = volume(64);
    let other = open(&disk);
    let owner = volume.transaction().unwrap();
    put(&owner, "own", b"own").unwrap();
    let part = other.join(owner.token().unwrap()).unwrap();
    put(&part, "part", b"part").unwrap();
    part.commit().unwrap();
    let told = |names: &[&str]| -> Vec<_> { names.iter().map(|each| name(each)).collect() };
    for (names, says) in [
        (&["own"][..], "part is filled, and not told of"),
        (&["part", "own", "lost"], "lost is not filled"),
        (&["part", "lost"], "lost is not filled, own is filled"),
        (&[], "own is filled"),
    ] {
        let error = owner.commit_only(&told(names)).unwrap_err();
        assert!(matches!(error, Error::OtherFiles { .. }), "{error}");
        assert!(error.to_string().contains(says), "{error}");
        volume.refresh().unwrap();
        assert!(volume.list(b"").unwrap().is_empty());
    }
    let committed = owner.commit_only(&told(&["part", "own"])).unwrap();
    assert_eq!(committed.len(), 2);
}

#[test]
fn a_transaction_that_ends_gives_everything_back() {
    let (disk, volume) = volume(64);
    let free = volume.usage().free;
    let other = open(&disk);
    let owner = volume.transaction().unwrap();
    let token = owner.token().unwrap();
    let part = other.join(token).unwrap();
    put(&part, "part", &[1; 100]).unwrap();
    part.commit().unwrap();
    put(&owner, "own", &[2; 100]).unwrap();
    // What a part has filled is nobody else's while the owner lives.
    let whole = ByteLen(free - 4 * MIB);
    assert!(
        volume
            .reserve(ByteLen(free - 2 * MIB), Layout::Contiguous)
            .is_err()
    );
    drop(volume.reserve(whole, Layout::Contiguous).unwrap());
    drop(owner);
    drop(volume.reserve(ByteLen(free), Layout::Contiguous).unwrap());
    assert!(matches!(
        other.join(token),
        Err(Error::NoReservation { .. })
    ));
    assert!(volume.list(b"").unwrap().is_empty());
}

#[test]
fn a_part_whose_owner_is_gone_is_told() {
    let (disk, volume) = volume(64);
    let other = open(&disk);
    let owner = volume.transaction().unwrap();
    let part = other.join(owner.token().unwrap()).unwrap();
    put(&part, "x", b"x").unwrap();
    owner.abandon();
    assert!(matches!(
        put(&part, "y", b"y"),
        Err(Error::NoReservation { .. })
    ));
    assert!(matches!(part.commit(), Err(Error::NoReservation { .. })));
    assert!(matches!(put(&owner, "z", b"z"), Err(Error::Usage(_))));
    drop(part);
    let free = volume.usage().free;
    drop(volume.reserve(ByteLen(free), Layout::Contiguous).unwrap());
}

#[test]
fn what_is_written_through_a_window_is_published_and_no_more() {
    let (_disk, volume) = volume(64);
    let reservation = space(&volume, 3 * MIB);
    let half = ByteLen(MIB);
    reservation.zero(FileOff(0), half).unwrap();
    let window = reservation.window(FileOff(0), half).unwrap();
    assert_eq!(window.len() as u64, 3 * MIB);
    write(&window, 5, 7);
    commit(&volume, reservation, "x", false).unwrap();
    assert!(!window.is_open());
    write(&window, 5, 8);
    write(&window, 6, 9);
    let found = read(&volume, "x");
    assert_eq!(found[..8], [0, 0, 0, 0, 0, 7, 0, 0]);
    // What was not lent is cleared, as ever.
    assert!(found[8..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_window_of_what_was_given_up_is_nobodys() {
    let (_disk, volume) = volume(64);
    let reservation = space(&volume, MIB);
    let window = reservation.window(FileOff(0), ByteLen(MIB)).unwrap();
    write(&window, 0, 7);
    drop(reservation);
    let next = space(&volume, MIB);
    next.fill(FileOff(0), &[1; 100]).unwrap();
    write(&window, 0, 9);
    commit(&volume, next, "x", false).unwrap();
    assert_eq!(read(&volume, "x")[0], 1);
}

#[test]
fn more_than_was_reserved_is_not_lent() {
    let (_disk, volume) = volume(64);
    let reservation = space(&volume, 100);
    for (at, len) in [(0, 101), (100, 1), (u64::MAX, 2)] {
        let refused = reservation.window(FileOff(at), ByteLen(len)).unwrap_err();
        assert!(matches!(refused, Error::Usage(_)));
    }
}
