//! A volume as its users see it: what is published is there, and nothing else ever is.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use common::{
    MIB, OWNER, commit, disk, make, make_again, name, open, publish, read, reserve, volume,
};
use famfs::core::media::{COUNTERS_OFFSET, LOG_OFFSET};
use famfs::core::space::Layout;
use famfs::core::units::{ByteLen, FileOff};
use famfs::{Error, MkfsOptions, Options, Publication, Volume, mkfs};
use uuid::Uuid;

#[test]
fn what_is_published_is_there_for_all_handles() {
    let (disk, volume) = volume(64);
    let other = open(&disk);
    let bytes: Vec<u8> = (0..5 * MIB)
        .map(|n| u8::try_from(n % 251).unwrap())
        .collect();
    volume.mkdir(name("dir"), OWNER).unwrap();
    publish(&volume, "dir/five", &bytes).unwrap();
    publish(&volume, "empty", b"").unwrap();

    assert!(other.stat(b"dir/five").is_err(), "not before it refreshes");
    assert_eq!(other.refresh().unwrap().new_entries, 3);
    assert_eq!(other.refresh().unwrap().new_entries, 0);
    assert!(read(&other, "dir/five") == bytes);
    assert!(read(&other, "empty").is_empty());
    let view = other.view(&other.stat(b"dir/five").unwrap()).unwrap();
    let region = other.address();
    assert!(
        (region..region + 64 * (1 << 20)).contains(&view.address()),
        "in the mapping itself"
    );
    let names: Vec<_> = other
        .list(b"")
        .unwrap()
        .into_iter()
        .map(|s| s.display())
        .collect();
    assert_eq!(names, ["dir", "empty"]);
    assert_eq!(other.list(b"dir").unwrap()[0].display(), "dir/five");
    assert!(matches!(
        other.list(b"none").unwrap_err(),
        Error::NotFound { .. }
    ));
}

#[test]
fn an_interleaved_file_reads_as_one() {
    let (disk, volume) = volume(256);
    let layout = Layout::Interleaved {
        strips: 3,
        buckets: 5,
        chunk_size: ByteLen(2 * MIB),
    };
    let bytes: Vec<u8> = (0..13 * MIB + 77)
        .map(|n| u8::try_from(n % 253).unwrap())
        .collect();
    let reservation = volume.reserve(ByteLen(bytes.len() as u64), layout).unwrap();
    // In odd pieces, so that they cross chunks.
    let mut at = 0;
    for piece in bytes.chunks(1_000_003) {
        reservation.fill(FileOff(at), piece).unwrap();
        at += piece.len() as u64;
    }
    commit(&volume, reservation, "striped", false).unwrap();
    assert!(read(&volume, "striped") == bytes);
    let other = open(&disk);
    assert!(read(&other, "striped") == bytes);
    // By copying, across chunks.
    let reader = other.reader(&other.stat(b"striped").unwrap()).unwrap();
    assert_eq!(reader.size(), bytes.len() as u64);
    let mut copy = vec![0; 1_000_003];
    for at in [0, 2 * (1 << 20) - 5, 5_000_001, bytes.len() - copy.len()] {
        reader.read(at as u64, &mut copy).unwrap();
        assert!(copy == bytes[at..at + copy.len()], "at {at}");
    }
    assert!(reader.read(bytes.len() as u64, &mut []).is_ok());
    assert!(reader.read(bytes.len() as u64, &mut [0]).is_err());
    assert!(reader.read(u64::MAX, &mut [0]).is_err());
    let inspected = famfs::inspect::inspect(&disk.path).unwrap();
    assert!(inspected.findings().is_empty() && inspected.fatal.is_none());
}

#[test]
fn names_obey_the_rules() {
    let (_disk, volume) = volume(64);
    publish(&volume, "file", b"1").unwrap();
    assert!(matches!(
        publish(&volume, "file", b"2").unwrap_err(),
        Error::AlreadyExists { .. }
    ));
    assert!(matches!(
        publish(&volume, "none/x", b"2").unwrap_err(),
        Error::ParentMissing { .. }
    ));
    assert!(matches!(
        publish(&volume, "file/x", b"2").unwrap_err(),
        Error::NotADirectory { .. }
    ));
    volume.mkdir(name("dir"), OWNER).unwrap();
    let again = volume.mkdir(name("dir"), OWNER).unwrap_err();
    assert!(matches!(again, Error::AlreadyExists { .. }));
    let over_dir = commit(&volume, reserve(&volume, b"3").unwrap(), "dir", true).unwrap_err();
    assert!(matches!(over_dir, Error::IsADirectory { .. }));
    publish(&volume, "dir/inner", b"4").unwrap();
    let full = volume.remove(name("dir")).unwrap_err();
    assert!(matches!(full, Error::DirectoryNotEmpty { .. }));
    volume.remove(name("dir/inner")).unwrap();
    volume.remove(name("dir")).unwrap();
    assert!(matches!(
        volume.remove(name("dir")).unwrap_err(),
        Error::NotFound { .. }
    ));
    assert_eq!(read(&volume, "file"), b"1");
    assert!(volume.findings().is_empty());
}

#[test]
fn what_was_replaced_or_removed_stays_readable_by_its_slot() {
    let (_disk, volume) = volume(64);
    let first = publish(&volume, "file", b"first").unwrap();
    let view = volume.view(&volume.stat(b"file").unwrap()).unwrap();
    let second = commit(&volume, reserve(&volume, b"second").unwrap(), "file", true).unwrap();
    assert_eq!(read(&volume, "file"), b"second");
    assert_eq!(&view[..], b"first", "who has it open keeps it");
    let versions: Vec<_> = volume
        .versions(b"file")
        .unwrap()
        .iter()
        .map(|v| v.slot)
        .collect();
    assert_eq!(versions, [second, first]);
    volume.remove(name("file")).unwrap();
    assert!(volume.versions(b"file").is_err());
    for (slot, content) in [(first, &b"first"[..]), (second, b"second")] {
        let file = volume.stat_slot(slot).unwrap();
        assert!(!file.is_live);
        assert_eq!(&volume.view(&file).unwrap()[..], content);
    }
    let usage = volume.usage();
    assert_eq!(
        (usage.dead, usage.allocated + usage.free),
        (4 * MIB, usage.capacity)
    );
}

#[test]
fn a_commit_is_all_or_none() {
    let (_disk, volume) = volume(64);
    publish(&volume, "taken", b"0").unwrap();
    let publication = |path: &str| Publication {
        reservation: reserve(&volume, path.as_bytes()).unwrap(),
        path: name(path),
        owner: OWNER,
        overwrite: false,
    };
    let before = (volume.entries(), volume.usage());
    let error = volume
        .commit(vec![publication("a"), publication("taken")])
        .unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }));
    assert_eq!((volume.entries(), volume.usage()), before);
    let slots = volume
        .commit(vec![publication("a"), publication("b")])
        .unwrap();
    assert_eq!(slots.len(), 2);
    assert_eq!(
        (read(&volume, "a"), read(&volume, "b")),
        (b"a".to_vec(), b"b".to_vec())
    );
}

#[test]
fn leftovers_are_never_shown() {
    for sparse in [false, true] {
        let disk = disk();
        let options = MkfsOptions {
            size: Some(64 * MIB),
            sparse,
            ..MkfsOptions::default()
        };
        mkfs(&disk.path, &options).unwrap();
        let volume = open(&disk);
        // A fill that is never committed leaves its bytes in units that are free again.
        let secret = vec![0x5e; usize::try_from(12 * MIB).unwrap()];
        drop(reserve(&volume, &secret).unwrap());
        let reservation = volume
            .reserve(ByteLen(12 * MIB - 5000), Layout::Contiguous)
            .unwrap();
        reservation
            .fill(FileOff(5 * MIB), b"a few bytes of its own")
            .unwrap();
        let offset = reservation.map().extents()[0].offset.0;
        assert_eq!(offset, 10 * MIB, "where the secret was");
        commit(&volume, reservation, "clean", false).unwrap();

        let bytes = read(&volume, "clean");
        assert!(!bytes.contains(&0x5e), "sparse: {sparse}");
        assert_eq!(&bytes[usize::try_from(5 * MIB).unwrap()..][..5], b"a few");
        // Up to the end of the last page, which a mapping would show.
        let mut page = vec![0; 4096];
        let file = OpenOptions::new().read(true).open(&disk.path).unwrap();
        let end = offset + 12 * MIB - 5000;
        file.read_exact_at(&mut page, end - end % 4096).unwrap();
        assert!(!page.contains(&0x5e), "sparse: {sparse}");
    }
}

#[test]
fn a_full_volume_says_so_and_stays_whole() {
    let (disk, volume) = volume(16);
    publish(&volume, "a", b"a").unwrap();
    let error = volume
        .reserve(ByteLen(5 * MIB), Layout::Contiguous)
        .unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    assert!(error.to_string().contains("famfs df"), "{error}");
    publish(&volume, "b", b"b").unwrap();
    publish(&volume, "c", b"c").unwrap();
    assert!(matches!(
        publish(&volume, "d", b"d").unwrap_err(),
        Error::NoSpace { .. }
    ));
    assert_eq!(volume.usage().free, 0);
    assert_eq!(read(&open(&disk), "c"), b"c");
}

#[test]
fn only_the_master_publishes() {
    let disk = disk();
    let other = Uuid::from_u128(7);
    let host = Some(other);
    mkfs(
        &disk.path,
        &MkfsOptions {
            size: Some(16 * MIB),
            host,
            ..MkfsOptions::default()
        },
    )
    .unwrap();
    let volume = open(&disk);
    let error = publish(&volume, "a", b"a").unwrap_err();
    assert!(
        matches!(error, Error::NotMaster { master, .. } if master == other),
        "{error}"
    );
    assert_eq!(error.face().python, "NotMaster");
    assert!(matches!(
        volume.mkdir(name("d"), OWNER).unwrap_err(),
        Error::NotMaster { .. }
    ));
}

#[test]
fn the_references_format_can_neither_replace_nor_remove() {
    let disk = disk();
    let options = MkfsOptions {
        size: Some(16 * MIB),
        omf_minor: 2,
        ..MkfsOptions::default()
    };
    mkfs(&disk.path, &options).unwrap();
    let volume = open(&disk);
    publish(&volume, "a", b"1").unwrap();
    let replaced = commit(&volume, reserve(&volume, b"2").unwrap(), "a", true).unwrap_err();
    assert!(matches!(replaced, Error::Unsupported { .. }), "{replaced}");
    assert!(matches!(
        volume.remove(name("a")).unwrap_err(),
        Error::Unsupported { .. }
    ));
    // Where there is nothing to replace, the entry is one that every reader knows.
    commit(&volume, reserve(&volume, b"3").unwrap(), "b", true).unwrap();
    assert_eq!(read(&volume, "b"), b"3");
}

#[test]
fn a_volume_with_findings_is_read_and_not_written() {
    let (disk, volume) = volume(16);
    publish(&volume, "a", b"1").unwrap();
    let file = OpenOptions::new().write(true).open(&disk.path).unwrap();
    let counters: Vec<u8> = [2u64, 2].iter().flat_map(|n| n.to_le_bytes()).collect();
    file.write_all_at(&counters, LOG_OFFSET + COUNTERS_OFFSET as u64)
        .unwrap();
    volume.refresh().unwrap();
    assert_eq!(volume.findings().len(), 1);
    assert_eq!(read(&volume, "a"), b"1");
    let error = publish(&volume, "b", b"2").unwrap_err();
    assert!(matches!(error, Error::ReadOnlyVolume { .. }), "{error}");
    assert!(error.to_string().contains("fsck"), "{error}");
}

#[test]
fn another_volume_in_its_place_is_noticed() {
    let (disk, volume) = volume(16);
    publish(&volume, "a", b"1").unwrap();
    let file = volume.stat(b"a").unwrap();
    let refused = mkfs(&disk.path, &MkfsOptions::default()).unwrap_err();
    assert!(matches!(refused, Error::VolumeExists { .. }), "{refused}");
    make_again(&disk.path);
    // As many entries as the old one had: not the counters tell, but who the volume is.
    publish(&open(&disk), "other", b"2").unwrap();
    assert!(matches!(
        volume.refresh().unwrap_err(),
        Error::VolumeChanged { .. }
    ));
    assert!(matches!(
        publish(&volume, "b", b"2").unwrap_err(),
        Error::VolumeChanged { .. }
    ));
    assert_eq!(file.display(), "a");
    assert_eq!(open(&disk).list_all().len(), 1);
    // A new file at the same path is another volume too.
    std::fs::remove_file(&disk.path).unwrap();
    let volume = {
        make(&disk.path, 16);
        open(&disk)
    };
    std::fs::remove_file(&disk.path).unwrap();
    let error = publish(&volume, "b", b"2").unwrap_err();
    assert!(matches!(error, Error::VolumeChanged { .. }), "{error}");
}

#[test]
fn a_backing_file_cut_under_the_mount_is_an_error() {
    let (disk, volume) = volume(32);
    let bytes = vec![7; usize::try_from(4 * MIB).unwrap()];
    publish(&volume, "a", &bytes).unwrap();
    let view = volume.view(&volume.stat(b"a").unwrap()).unwrap();
    OpenOptions::new()
        .write(true)
        .open(&disk.path)
        .unwrap()
        .set_len(11 * MIB)
        .unwrap();
    let mut into = vec![0; 4096];
    view.read(0, &mut into).unwrap();
    assert!(view.read(2 * MIB, &mut into).is_err());
    let error = publish(&volume, "b", &bytes).unwrap_err();
    assert!(matches!(error, Error::MemoryFault { .. }), "{error}");
    OpenOptions::new()
        .write(true)
        .open(&disk.path)
        .unwrap()
        .set_len(MIB)
        .unwrap();
    assert!(matches!(
        volume.refresh().unwrap_err(),
        Error::MemoryFault { .. }
    ));
    assert!(matches!(
        Volume::open(&disk.path, Options::default()).unwrap_err(),
        Error::Corrupt { .. }
    ));
}

#[test]
fn threads_share_a_volume() {
    let (_disk, volume) = volume(128);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let volume = volume.clone();
            scope.spawn(move || {
                for n in 0..5 {
                    let path = format!("{thread}-{n}");
                    publish(&volume, &path, path.as_bytes()).unwrap();
                    assert_eq!(read(&volume, &path), path.as_bytes());
                }
            });
        }
    });
    assert_eq!(volume.list_all().len(), 40);
    assert!(volume.findings().is_empty());
}

#[test]
fn threads_that_refresh_never_see_the_log_go_back() {
    let (_disk, volume) = volume(512);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let volume = volume.clone();
                scope.spawn(move || while volume.refresh().unwrap().entries < 200 {})
            })
            .collect();
        for n in 0..200 {
            publish(&volume, &format!("f{n}"), b"x").unwrap();
        }
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

#[test]
fn what_is_published_is_never_written_again() {
    let (disk, volume) = volume(32);
    let other = open(&disk);
    let first = reserve(&volume, &[1; 100]).unwrap();
    let second = other.adopt(first.hand_over().unwrap()).unwrap();
    // While another may still write, it is not published.
    let error = commit(&other, second, "early", false).unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error}");
    commit(&volume, first, "whole", false).unwrap();

    // Nor is what is published on a volume that was made here since.
    let old = reserve(&volume, &[2; 100]).unwrap();
    make_again(&disk.path);
    publish(&open(&disk), "new", &[3; 100]).unwrap();
    let error = old.fill(FileOff(0), &[4; 100]).unwrap_err();
    assert!(matches!(error, Error::VolumeChanged { .. }), "{error}");
    assert_eq!(read(&open(&disk), "new"), [3; 100]);
}

#[test]
fn a_view_is_of_what_the_log_names_whatever_the_caller_holds() {
    let (_disk, volume) = volume(32);
    publish(&volume, "a", b"content").unwrap();
    let mut file = volume.stat(b"a").unwrap();
    file.size = ByteLen(4 * MIB);
    file.map = volume
        .reserve(ByteLen(4 * MIB), Layout::Contiguous)
        .unwrap()
        .map()
        .to_owned()
        .into();
    assert_eq!(&volume.view(&file).unwrap()[..], b"content");
    file.path = b"b".to_vec();
    assert!(matches!(
        volume.view(&file).unwrap_err(),
        Error::NotFound { .. }
    ));
}

#[test]
fn a_file_with_two_names_or_another_ones_table_is_refused() {
    let (disk, volume) = volume(32);
    let second = disk.dir.path().join("second");
    std::fs::hard_link(&disk.path, &second).unwrap();
    let error = publish(&volume, "a", b"1").unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    std::fs::remove_file(&second).unwrap();
    publish(&volume, "a", b"1").unwrap();

    // A link in the table's place leads to somebody's file, which stays as it is.
    let (disk, volume) = common::volume(32);
    let precious = disk.dir.path().join("precious");
    std::fs::write(&precious, [9; 5000]).unwrap();
    let table = disk.dir.path().join(".volume.famfs-reservations");
    std::os::unix::fs::symlink(&precious, &table).unwrap();
    assert!(publish(&volume, "a", b"1").is_err());
    std::fs::remove_file(&table).unwrap();
    std::fs::rename(&precious, &table).unwrap();
    assert!(matches!(
        publish(&volume, "a", b"1").unwrap_err(),
        Error::BadContent { .. }
    ));
    assert_eq!(std::fs::read(&table).unwrap(), [9; 5000]);
}

#[test]
fn a_lost_table_of_reservations_is_made_again() {
    let (disk, volume) = volume(32);
    publish(&volume, "a", b"1").unwrap();
    let held = reserve(&volume, b"held").unwrap();
    std::fs::remove_file(disk.dir.path().join(".volume.famfs-reservations")).unwrap();
    assert!(matches!(
        publish(&volume, "b", b"2").unwrap_err(),
        Error::Busy { .. }
    ));
    publish(&volume, "b", b"2").unwrap();
    let error = held.fill(FileOff(0), b"late").unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error}");
    let error = commit(&volume, held, "held", false).unwrap_err();
    assert!(matches!(error, Error::NoReservation { .. }), "{error}");
}

#[test]
fn a_file_is_flushed_to_its_end_however_large() {
    // The reference's flush stops at 128 MiB.
    let (_disk, volume) = volume(256);
    let size = 160 * MIB + 100;
    let reservation = volume.reserve(ByteLen(size), Layout::Contiguous).unwrap();
    commit(&volume, reservation, "large", false).unwrap();
    let lines = volume.flush(&volume.stat(b"large").unwrap()).unwrap();
    let line = famfs::mem::cache_instructions().line_size as u64;
    assert_eq!(lines, size.div_ceil(line));
}

#[test]
fn what_one_thread_fills_stays_its_own_whatever_fails_beside_it() {
    let (disk, volume) = volume(64);
    let mine = volume
        .reserve(ByteLen(20 * MIB), Layout::Contiguous)
        .unwrap();
    mine.fill(FileOff(0), &[9; 100]).unwrap();
    // Something that passes makes another call fail.
    let link = disk.dir.path().join("link");
    std::fs::hard_link(&disk.path, &link).unwrap();
    let error = publish(&volume, "other", b"1").unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    std::fs::remove_file(&link).unwrap();
    // A process of its own, by its handles: nobody is given what is reserved.
    let other = open(&disk);
    let error = other
        .reserve(ByteLen(40 * MIB), Layout::Contiguous)
        .unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    publish(&other, "theirs", &vec![7; 10 << 20]).unwrap();
    mine.fill(FileOff(0), &vec![9; 20 << 20]).unwrap();
    commit(&volume, mine, "mine", false).unwrap();
    assert!(read(&other, "theirs").iter().all(|byte| *byte == 7));
    volume.refresh().unwrap();
    assert!(read(&volume, "mine").iter().all(|byte| *byte == 9));
}

#[test]
fn who_opens_to_read_only_reads() {
    let (disk, volume) = volume(32);
    publish(&volume, "a", b"1").unwrap();
    let options = Options {
        read_only: true,
        ..Options::default()
    };
    let reader = Volume::open(&disk.path, options).unwrap();
    assert_eq!(read(&reader, "a"), b"1");
    assert!(matches!(
        publish(&reader, "b", b"2").unwrap_err(),
        Error::Permission { .. }
    ));
}
