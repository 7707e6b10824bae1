//! Who holds something: the processes that have it locked, open, mapped, or work in it.
//!
//! Owns what is read from /proc about others. What can't be read of a process is left out, so that
//! it isn't named: that nobody is found does not say that nobody is there.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A process, as it is shown below /proc.
struct Process {
    pid: u32,
    place: PathBuf,
}

impl Process {
    /// All but this one.
    fn others() -> impl Iterator<Item = Self> {
        let own = std::process::id();
        Self::all().filter(move |process| process.pid != own)
    }

    fn all() -> impl Iterator<Item = Self> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let place = entry.path();
            Some(Self { pid, place })
        })
    }

    /// Its descriptors, as paths that lead to what it has open.
    fn descriptors(&self) -> impl Iterator<Item = PathBuf> + use<> {
        let entries = fs::read_dir(self.place.join("fd")).into_iter().flatten();
        entries.flatten().map(|entry| entry.path())
    }

    fn has_open(&self, is_it: impl Fn(&Metadata) -> bool) -> bool {
        self.descriptors()
            .any(|path| fs::metadata(path).is_ok_and(|found| is_it(&found)))
    }

    /// Whether a line of its mappings is meant.
    fn has_mapped(&self, is_it: impl Fn(&str) -> bool) -> bool {
        let maps = fs::read_to_string(self.place.join("maps")).unwrap_or_default();
        maps.lines().any(is_it)
    }

    fn works_in(&self, dev: u64) -> bool {
        fs::metadata(self.place.join("cwd")).is_ok_and(|found| found.dev() == dev)
    }
}

/// A device number as lines of /proc have it.
fn in_hexadecimal(dev: u64) -> String {
    let (major, minor) = (rustix::fs::major(dev), rustix::fs::minor(dev));
    format!("{major:02x}:{minor:02x}")
}

/// The processes, as `process 12 (name)`; `None` where there is none.
#[must_use]
pub fn named(pids: &[u32]) -> Option<String> {
    let name = |pid: &u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        format!("process {pid} ({})", name.trim())
    };
    (!pids.is_empty()).then(|| pids.iter().map(name).collect::<Vec<_>>().join(", "))
}

/// The processes that hold a lock on a file.
#[must_use]
pub fn of_lock(file: &File) -> Vec<u32> {
    let Ok(metadata) = file.metadata() else {
        return Vec::new();
    };
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let id = format!("{}:{}", in_hexadecimal(metadata.dev()), metadata.ino());
    locks_on(&locks, &id)
}

/// Lines such as `1: FLOCK  ADVISORY  WRITE 1234 00:1a:567 0 EOF`; with an arrow before `FLOCK`,
/// those who wait for it.
fn locks_on(locks: &str, id: &str) -> Vec<u32> {
    let pid = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let at = words.iter().position(|word| *word == "FLOCK")?;
        (at == 1).then_some(())?;
        words.get(at + 4).filter(|found| **found == id)?;
        words.get(at + 3)?.parse().ok()
    };
    locks.lines().filter_map(pid).collect()
}

/// The other processes that have a file mapped.
#[must_use]
pub fn of_mappings(file: &File) -> Vec<u32> {
    let Ok(metadata) = file.metadata() else {
        return Vec::new();
    };
    let dev = in_hexadecimal(metadata.dev());
    let mapped = format!(" {dev} {} ", metadata.ino());
    let others = Process::others();
    let found = others.filter(|process| process.has_mapped(|line| line.contains(&mapped)));
    found.map(|process| process.pid).collect()
}

/// The other processes that use a mount: work in it, or have a file of it open or mapped.
#[must_use]
pub fn of_mount(root: &Path) -> Vec<u32> {
    let Ok(metadata) = fs::metadata(root) else {
        return Vec::new();
    };
    let dev = metadata.dev();
    let mapped = format!(" {} ", in_hexadecimal(dev));
    let uses = |process: &Process| {
        process.has_mapped(|line| line.contains(&mapped))
            || process.works_in(dev)
            || process.has_open(|found| found.dev() == dev)
    };
    let found = Process::others().filter(uses);
    found.map(|process| process.pid).collect()
}

/// The other processes that have a device's node open or mapped.
#[must_use]
pub fn of_device(device: &Path) -> Vec<u32> {
    let Ok(metadata) = fs::metadata(device) else {
        return Vec::new();
    };
    let is_it = |found: &Metadata| {
        (found.rdev(), found.dev(), found.ino())
            == (metadata.rdev(), metadata.dev(), metadata.ino())
    };
    // A mapping outlives the file that it was made of; its line still ends in the path.
    let end = format!(" {}", device.display());
    let uses = |process: &Process| {
        process.has_open(is_it) || process.has_mapped(|line| line.ends_with(&end))
    };
    let found = Process::others().filter(uses);
    found.map(|process| process.pid).collect()
}

/// The descriptors of processes for files without a name on a device, as paths that open them again.
pub fn nameless_on(dev: u64) -> impl Iterator<Item = PathBuf> {
    let is_meant = move |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|found| found.dev() == dev && found.nlink() == 0)
    };
    Process::all()
        .flat_map(|process| process.descriptors())
        .filter(is_meant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};

    /// A process that has a file open.
    fn holder(file: &File) -> Child {
        Command::new("sleep")
            .arg("60")
            .stdin(Stdio::from(file.try_clone().unwrap()))
            .spawn()
            .unwrap()
    }

    #[test]
    fn who_has_it_open_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("device");
        let file = File::create(&path).unwrap();
        assert_eq!(named(&of_device(&path)), None);
        let mut child = holder(&file);
        let found = named(&of_device(&path));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found, Some(format!("process {} (sleep)", child.id())));
    }

    #[test]
    fn a_file_without_a_name_is_found_where_it_is_open() {
        let file = tempfile::tempfile().unwrap();
        let metadata = file.metadata().unwrap();
        let ino = |path: &PathBuf| fs::metadata(path).map(|found| found.ino()).ok();
        let found = nameless_on(metadata.dev()).any(|path| ino(&path) == Some(metadata.ino()));
        assert!(found);
    }

    #[test]
    fn who_waits_or_locks_another_file_is_not_meant() {
        let locks = "1: FLOCK  ADVISORY  WRITE 12 00:1a:567 0 EOF\n\
            1: -> FLOCK  ADVISORY  WRITE 13 00:1a:567 0 EOF\n\
            2: FLOCK  ADVISORY  WRITE 14 00:1b:567 0 EOF\n\
            3: POSIX  ADVISORY  WRITE 15 00:1a:567 0 EOF\n\
            4: FLOCK  ADVISORY  WRITE 16 00:1a:1567 0 EOF\n";
        assert_eq!(locks_on(locks, "00:1a:567"), [12]);
    }
}
