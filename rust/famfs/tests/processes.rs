//! Several processes on one volume: reservations live as long as their holders, names are taken
//! once, and a process that is killed leaves nothing.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Child;

use common::{
    MIB, child, commit, disk, make, make_again, open, publish, read, reserve, role, volume,
};
use famfs::core::space::Layout;
use famfs::core::units::{ByteLen, FileOff};
use famfs::{Error, MkfsOptions, Options, Volume, mkfs, mounts};

/// Not a test of its own: what the children of the tests below do.
#[test]
fn in_a_process_of_its_own() {
    let Some((role, path)) = role() else { return };
    let volume = Volume::open(&path, Options::default()).unwrap();
    match role.as_str() {
        "reserve and hang" => {
            let reservation = volume
                .reserve(ByteLen(8 * MIB), Layout::Contiguous)
                .unwrap();
            reservation.fill(FileOff(0), &[1; 4096]).unwrap();
            println!("ready");
            std::thread::sleep(std::time::Duration::from_mins(10));
            drop(reservation);
        }
        "fill and hand over" => {
            let reservation = reserve(&volume, b"from another process").unwrap();
            println!("ready {}", reservation.hand_over().unwrap());
            // Until the parent has taken part, or is gone.
            let _ = std::io::stdin().read(&mut [0]);
        }
        "publish the same name" => {
            println!("ready");
            let _ = std::io::stdin().read(&mut [0]);
            let outcome = publish(&volume, "prize", b"mine");
            println!("outcome {}", if outcome.is_ok() { "won" } else { "lost" });
            if let Err(error) = outcome {
                assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
            }
        }
        "reserve and leave a child" => {
            let reservation = volume
                .reserve(ByteLen(10 * MIB), Layout::Contiguous)
                .unwrap();
            // SAFETY: the child only waits to be told to end.
            if unsafe { libc::fork() } == 0 {
                // It says so itself: by then it has let go of what it inherited.
                println!("ready");
                let _ = std::io::stdin().read(&mut [0]);
                // SAFETY: ends this process without running what belongs to the parent.
                unsafe { libc::_exit(0) }
            }
            std::thread::sleep(std::time::Duration::from_mins(10));
            drop(reservation);
        }
        "publish many" => {
            let id = std::process::id();
            println!("ready");
            for n in 0..MANY {
                publish(&volume, &format!("{id}-{n}"), &[7; 100]).unwrap();
            }
        }
        other => panic!("no role {other}"),
    }
}

/// Files that each process publishes: enough for them to meet.
const MANY: usize = 300;

const ENTRY: &str = "in_a_process_of_its_own";

/// The next word that a child says after `what`.
fn said(output: &mut impl BufRead, what: &str) -> String {
    let mut line = String::new();
    loop {
        line.clear();
        assert!(
            output.read_line(&mut line).unwrap() > 0,
            "the child ended before {what:?}"
        );
        // The test harness writes on the same line before the child does.
        if let Some(at) = line.find(what) {
            return line[at + what.len()..].trim().to_owned();
        }
    }
}

fn output(child: &mut Child) -> impl BufRead + use<> {
    BufReader::new(child.stdout.take().unwrap())
}

#[test]
fn a_killed_publisher_leaves_nothing() {
    let (disk, volume) = volume(20);
    let mut holder = child(ENTRY, "reserve and hang", &disk);
    let mut output = output(&mut holder);
    said(&mut output, "ready");
    // Its space is held while it lives: 10 MiB of files fit, 8 of them are its.
    let error = volume
        .reserve(ByteLen(4 * MIB), Layout::Contiguous)
        .unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    let all = volume
        .reserve(ByteLen(10 * MIB), Layout::Contiguous)
        .unwrap();
    commit(&volume, all, "all", false).unwrap();
    assert!(
        read(&volume, "all").iter().all(|&b| b == 0),
        "its bytes are not shown"
    );
    assert_eq!(volume.list_all().len(), 1);
}

#[test]
fn a_reservation_goes_from_process_to_process() {
    let (disk, volume) = volume(20);
    let mut filler = child(ENTRY, "fill and hand over", &disk);
    let mut output = output(&mut filler);
    let token = said(&mut output, "ready").parse().unwrap();
    let reservation = volume.adopt(token).unwrap();
    // The first holder may go now.
    filler.stdin.take().unwrap().write_all(b".").unwrap();
    output.read_to_end(&mut Vec::new()).unwrap();
    assert!(filler.wait().unwrap().success());
    publish(&volume, "beside", &[9; 4096]).unwrap();
    commit(&volume, reservation, "handed", false).unwrap();
    assert_eq!(read(&volume, "handed"), b"from another process");
    assert!(matches!(
        volume.adopt(token).unwrap_err(),
        Error::NoReservation { .. }
    ));
}

#[test]
fn of_two_who_publish_one_name_one_wins() {
    let (disk, volume) = volume(64);
    let mut children: Vec<_> = (0..4)
        .map(|_| child(ENTRY, "publish the same name", &disk))
        .collect();
    let mut outputs: Vec<_> = children.iter_mut().map(output).collect();
    for output in &mut outputs {
        said(output, "ready");
    }
    for child in &mut children {
        child.stdin.take().unwrap().write_all(b".").unwrap();
    }
    let outcomes: Vec<_> = outputs
        .iter_mut()
        .map(|output| said(output, "outcome"))
        .collect();
    assert!(
        children
            .into_iter()
            .all(|mut child| child.wait().unwrap().success())
    );
    assert_eq!(
        outcomes.iter().filter(|outcome| *outcome == "won").count(),
        1,
        "{outcomes:?}"
    );
    volume.refresh().unwrap();
    assert_eq!(read(&volume, "prize"), b"mine");
    assert_eq!(
        volume.usage().allocated,
        10 * MIB + 2 * MIB,
        "the losers gave theirs back"
    );
}

#[test]
fn processes_publish_side_by_side() {
    let disk = disk();
    let options = MkfsOptions {
        size: Some(4096 * MIB),
        sparse: true,
        ..MkfsOptions::default()
    };
    mkfs(&disk.path, &options).unwrap();
    let volume = open(&disk);
    let children: Vec<_> = (0..3)
        .map(|_| child(ENTRY, "publish many", &disk))
        .collect();
    for n in 0..MANY {
        publish(&volume, &format!("own-{n}"), &[8; 100]).unwrap();
    }
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
    volume.refresh().unwrap();
    assert_eq!(volume.list_all().len(), 4 * MANY);
    assert!(volume.findings().is_empty());
}

/// Runs `work` in a forked child; whether it came to its end without a panic.
fn in_fork(work: impl FnOnce()) -> bool {
    // SAFETY: the child runs `work` on this thread alone and ends without returning; no other
    // thread of this test holds a lock that `work` takes: they use other volumes.
    match unsafe { libc::fork() } {
        0 => {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            // SAFETY: ends this process without running what belongs to the parent.
            unsafe { libc::_exit(i32::from(outcome.is_err())) }
        }
        pid => {
            let mut status = 0;
            // SAFETY: waits for the child that was just made.
            assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
            status == 0
        }
    }
}

#[test]
fn a_forked_child_reads_and_opens_its_own_to_write() {
    let (disk, volume) = volume(64);
    publish(&volume, "before", b"before").unwrap();
    let file = volume.stat(b"before").unwrap();
    let view = volume.view(&file).unwrap();
    let reservation = reserve(&volume, b"the parent's").unwrap();
    assert!(in_fork(|| {
        assert_eq!(&view[..], b"before");
        assert!(matches!(
            publish(&volume, "x", b"x").unwrap_err(),
            Error::Forked
        ));
        assert!(matches!(
            reservation.fill(FileOff(0), b"x").unwrap_err(),
            Error::Forked
        ));
        let own = Volume::open(&disk.path, Options::default()).unwrap();
        publish(&own, "child", b"child").unwrap();
        assert_eq!(read(&own, "child"), b"child");
    }));
    // What the parent reserved is still its own, and its lock is not held by anybody else.
    commit(&volume, reservation, "parent", false).unwrap();
    assert_eq!(read(&volume, "parent"), b"the parent's");
    assert_eq!(read(&volume, "child"), b"child");
}

#[test]
fn a_child_that_lives_on_keeps_no_reservation_of_its_parent_alive() {
    let (disk, volume) = volume(20);
    let mut holder = child(ENTRY, "reserve and leave a child", &disk);
    let mut output = output(&mut holder);
    said(&mut output, "ready");
    assert!(
        volume
            .reserve(ByteLen(2 * MIB), Layout::Contiguous)
            .is_err()
    );
    holder.kill().unwrap();
    // The grandchild lives on: it ends when its input is closed, which is after this.
    let input = holder.stdin.take();
    holder.wait().unwrap();
    let all = volume
        .reserve(ByteLen(10 * MIB), Layout::Contiguous)
        .unwrap();
    commit(&volume, all, "all", false).unwrap();
    drop(input);
}

#[test]
fn a_volume_that_others_made_and_mounted_again_is_opened_anew() {
    let disk = disk();
    make(&disk.path, 32);
    let directory = disk.dir.path().join("mnt");
    std::fs::create_dir(&directory).unwrap();
    mounts::mount(&disk.path, &directory, None).unwrap();
    let volume = mounts::resolve(&directory).unwrap().volume().unwrap();
    publish(&volume, "a", b"1").unwrap();
    assert!(in_fork(|| {
        mounts::umount(&directory, false).unwrap();
        make_again(&disk.path);
        mounts::mount(&disk.path, &directory, None).unwrap();
    }));
    let again = mounts::resolve(&directory).unwrap().volume();
    mounts::umount(&directory, false).unwrap();
    let again = again.unwrap();
    assert_ne!(again.uuid(), volume.uuid());
    publish(&again, "b", b"2").unwrap();
}
