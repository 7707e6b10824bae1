//! Following: the kernel's names come by themselves when another host appends.
//!
//! On the master it also publishes for users who may not place files ([`crate::service`]).
//!
//! Owns the loop, and the record by which an unmount finds and ends it: whoever follows has the log
//! mapped, and so keeps the mount busy.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use famfs_core::superblock::Role;
use famfs_core::units::Slot;
use famfs_sys::holders;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{Played, is_root};
use crate::error::{Error, Result};
use crate::lock;
use crate::service::Service;
use crate::volume::{Options, Volume};

/// Where followers are known.
const RECORDS: &str = crate::service::PLACE;

/// How long a follower may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest time between two plays that fail.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

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
/// do, which is tried again, ever less often while nothing is new.
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
    let Some(kernel) = &volume.inner.kernel else {
        return Ok(());
    };
    // Only the master appends to the log.
    let is_master = volume.role() == Role::Master;
    let service = is_master
        .then(|| Service::start(&volume, kernel.device()?))
        .transpose()?;
    if let Some(lack) = service.as_ref().and_then(Service::lack) {
        tell(Err(lack));
    }
    let mut next = Slot(0);
    let mut seen = 0;
    let mut pause = interval;
    loop {
        let same = fs::metadata(mountpoint).map(|found| found.dev()).ok() == dev;
        if !same || !is_root(mountpoint) {
            return Ok(());
        }
        let refreshed = volume.refresh()?;
        if refreshed.entries > seen {
            pause = interval;
        }
        if refreshed.entries > next.0 {
            match volume.play(next) {
                Ok(played) => {
                    next = Slot(refreshed.entries);
                    pause = interval;
                    tell(Ok(played));
                }
                Err(error) => {
                    if refreshed.entries > seen {
                        tell(Err(error));
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE.max(interval));
                }
            }
        }
        seen = refreshed.entries;
        thread::sleep(pause);
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
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(Error::io(&path, "open"))?;
    if file.try_lock().is_err() {
        return Err(Error::Busy {
            path: mountpoint.to_owned(),
            holders: format!("{} follows its log already", lock::holder(&file)),
        });
    }
    Ok(file)
}

/// The mount's follower: found by the lock that it holds, for as long as it lives.
pub(super) fn pids(mountpoint: &Path) -> Vec<u32> {
    let file = record(mountpoint)
        .ok()
        .and_then(|path| File::open(path).ok());
    file.map_or_else(Vec::new, |file| holders::of_lock(&file))
}

/// Ends the mount's follower, if there is one, and waits until it is gone.
///
/// # Errors
/// [`Error::Permission`] for whoever may not end it; [`Error::Busy`] where it doesn't end.
pub(super) fn end(mountpoint: &Path) -> Result<()> {
    let start = Instant::now();
    for pid in pids(mountpoint) {
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
            continue;
        };
        // By a descriptor: a number may be another process's by the time it is used.
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
            continue;
        };
        if !self::pids(mountpoint).contains(&pid.as_raw_pid().unsigned_abs()) {
            continue;
        }
        pidfd_send_signal(&process, Signal::TERM)
            .map_err(|errno| Error::io(mountpoint, "end the follower of")(errno.into()))?;
        let mut ended = [PollFd::new(&process, PollFlags::IN)];
        let left = PATIENCE.saturating_sub(start.elapsed());
        let left = Timespec::try_from(left).ok();
        if poll(&mut ended, left.as_ref()) != Ok(1) {
            return Err(Error::Busy {
                path: mountpoint.to_owned(),
                holders: format!("its follower, process {pid:?}, was told to end and has not"),
            });
        }
    }
    Ok(())
}
