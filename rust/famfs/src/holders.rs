//! Who holds something: processes by name, for messages about what is busy.
//!
//! Owns what is read from /proc about others. What can't be read is left out: these are messages,
//! nothing is decided by them.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The processes that hold a lock on `file`, as `process 12 (name)`.
pub(crate) fn of_lock(file: &File) -> String {
    named(pids_of_lock(file).into_iter())
}

/// The processes that hold a lock on `file`.
pub(crate) fn pids_of_lock(file: &File) -> Vec<u32> {
    let Ok(metadata) = file.metadata() else {
        return Vec::new();
    };
    let inode = format!(":{}", metadata.ino());
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let pid = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let at = words.iter().position(|word| *word == "FLOCK")?;
        words.get(at + 4).filter(|id| id.ends_with(&inode))?;
        words.get(at + 3)?.parse().ok()
    };
    locks.lines().filter_map(pid).collect()
}

/// The other processes that have `file` mapped or open; `None` where there is none.
pub(crate) fn of_file(file: &File) -> Option<String> {
    let metadata = file.metadata().ok()?;
    let (dev, ino) = (metadata.dev(), metadata.ino());
    let (major, minor) = (rustix::fs::major(dev), rustix::fs::minor(dev));
    let mapped = format!(" {major:02x}:{minor:02x} {ino} ");
    let own = std::process::id();
    let pids: Vec<u32> = fs::read_dir("/proc")
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| {
            let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
            maps.contains(&mapped)
        })
        .collect();
    (!pids.is_empty()).then(|| named(pids.into_iter()))
}

/// The other processes that use a mount: work in it, or have a file of it open or mapped.
pub(crate) fn pids_of_mount(root: &Path) -> Vec<u32> {
    let Ok(metadata) = fs::metadata(root) else {
        return Vec::new();
    };
    let dev = metadata.dev();
    let (major, minor) = (rustix::fs::major(dev), rustix::fs::minor(dev));
    let mapped = format!(" {major:02x}:{minor:02x} ");
    let is_on = |path: &Path| fs::metadata(path).is_ok_and(|found| found.dev() == dev);
    let own = std::process::id();
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| {
            let process = PathBuf::from(format!("/proc/{pid}"));
            let maps = fs::read_to_string(process.join("maps")).unwrap_or_default();
            let open = fs::read_dir(process.join("fd")).into_iter().flatten();
            maps.contains(&mapped)
                || is_on(&process.join("cwd"))
                || open.flatten().any(|fd| is_on(&fd.path()))
        })
        .collect()
}

/// The descriptors of processes for files without a name on a device, as paths that open them again.
pub(crate) fn descriptors_on(dev: u64) -> impl Iterator<Item = PathBuf> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let of_process = |process: fs::DirEntry| {
        let is_one = process.file_name().to_str()?.parse::<u32>().is_ok();
        is_one.then(|| fs::read_dir(process.path().join("fd")).ok())?
    };
    let is_meant = move |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|found| found.dev() == dev && found.nlink() == 0)
    };
    let descriptors = processes.filter_map(of_process).flatten().flatten();
    descriptors.map(|entry| entry.path()).filter(is_meant)
}

/// Says that processes use a mount, and what to do.
pub(crate) fn using(pids: &[u32]) -> String {
    format!(
        "{} uses it; end it, or let it go elsewhere",
        named(pids.iter().copied())
    )
}

fn named(pids: impl Iterator<Item = u32>) -> String {
    let names: Vec<_> = pids
        .map(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("process {pid} ({})", name.trim())
        })
        .collect();
    if names.is_empty() {
        "another process".into()
    } else {
        names.join(", ")
    }
}
