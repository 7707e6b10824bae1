//! Following: the kernel's names come by themselves when another host appends.
//!
//! Owns the loop, and the record by which an unmount finds and ends it: whoever follows has the log
//! mapped, and so keeps the mount busy.

use std::fs::{self, DirBuilder, File};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use famfs_core::units::Slot;
use rustix::process::{Pid, Signal, kill_process};

use super::{Played, is_root};
use crate::error::{Error, Result};
use crate::volume::{Options, Volume};

/// Where followers are known.
const RECORDS: &str = "/run/famfs/follow";

/// How long a follower may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// The record of a mount's follower.
fn record(mountpoint: &Path) -> Result<PathBuf> {
    let dev = fs::metadata(mountpoint)
        .map_err(Error::io(mountpoint, "examine"))?
        .dev();
    let (major, minor) = (rustix::fs::major(dev), rustix::fs::minor(dev));
    Ok(Path::new(RECORDS).join(format!("{major}-{minor}")))
}

/// Lets the kernel's names follow the log of the volume on `mountpoint`, looking every `interval`,
/// until the mount is gone. `tell` is called with what each play did, and with what it could not
/// do, which is tried again.
///
/// # Errors
/// [`Error::Busy`] where another process follows it; [`Error::Usage`] where it is no kernel mount.
pub fn follow(
    mountpoint: &Path,
    interval: Duration,
    mut tell: impl FnMut(Result<Played>),
) -> Result<()> {
    if !is_root(mountpoint) {
        return Err(Error::Usage(format!(
            "{}: not a kernel mount: only those need somebody to follow the log",
            mountpoint.display()
        )));
    }
    let _held = claim(mountpoint)?;
    let volume = Volume::open(mountpoint, Options::default())?;
    let dev = fs::metadata(mountpoint).map(|found| found.dev()).ok();
    let mut next = Slot(0);
    loop {
        let same = fs::metadata(mountpoint).map(|found| found.dev()).ok() == dev;
        if !same || !is_root(mountpoint) {
            return Ok(());
        }
        let refreshed = volume.refresh()?;
        if refreshed.entries > next.0 {
            match volume.play(next) {
                Ok(played) => {
                    next = Slot(refreshed.entries);
                    tell(Ok(played));
                }
                Err(error) => tell(Err(error)),
            }
        }
        thread::sleep(interval);
    }
}

/// Says that this process follows the mount, for as long as the file is open.
fn claim(mountpoint: &Path) -> Result<File> {
    let path = record(mountpoint)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(RECORDS)
        .map_err(Error::io(Path::new(RECORDS), "make"))?;
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .open(&path)
        .map_err(Error::io(&path, "open"))?;
    if file.try_lock().is_err() {
        return Err(Error::Busy {
            path: mountpoint.to_owned(),
            holders: format!("process {} follows its log already", holder(&mut file)),
        });
    }
    let write = file
        .set_len(0)
        .and_then(|()| write!(file, "{}", std::process::id()));
    write.map_err(Error::io(&path, "write"))?;
    Ok(file)
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    read.map_or_else(|_| "another".into(), |_| text)
}

/// Ends the mount's follower, if there is one, and waits until it is gone.
pub(super) fn end(mountpoint: &Path) -> Result<()> {
    let path = record(mountpoint)?;
    let Ok(mut file) = File::options().read(true).open(&path) else {
        return Ok(());
    };
    let start = Instant::now();
    let mut asked = false;
    while file.try_lock().is_err() {
        let pid = holder(&mut file).parse().ok().and_then(Pid::from_raw);
        if !asked && let Some(pid) = pid {
            // Who may not end it is told that the mount is busy, and by whom.
            let _ = kill_process(pid, Signal::TERM);
            asked = true;
        }
        if start.elapsed() > PATIENCE {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    // Removed while it is locked: nobody else has written himself into it.
    let _ = fs::remove_file(&path);
    Ok(())
}
