//! Which processes have a device's node open or mapped.
//!
//! What can't be read of others is left out: nobody is named then who can't be told.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The other processes that have it, as `process 12 (name)`; `None` where none is found.
pub(crate) fn of_device(device: &Path) -> Option<String> {
    let metadata = fs::metadata(device).ok()?;
    let own = std::process::id();
    let names: Vec<String> = fs::read_dir("/proc")
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| *pid != own)
        .filter(|pid| {
            let process = PathBuf::from(format!("/proc/{pid}"));
            has_open(&process, &metadata) || has_mapped(&process, device)
        })
        .map(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("process {pid} ({})", name.trim())
        })
        .collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn has_open(process: &Path, device: &fs::Metadata) -> bool {
    let open = fs::read_dir(process.join("fd")).into_iter().flatten();
    open.flatten().any(|fd| {
        fs::metadata(fd.path()).is_ok_and(|found| {
            (found.rdev(), found.dev(), found.ino()) == (device.rdev(), device.dev(), device.ino())
        })
    })
}

/// A mapping outlives the file that it was made of; its line still ends in the path.
fn has_mapped(process: &Path, device: &Path) -> bool {
    let Some(path) = device.to_str() else {
        return false;
    };
    let maps = fs::read_to_string(process.join("maps")).unwrap_or_default();
    maps.lines().any(|line| {
        line.strip_suffix(path)
            .is_some_and(|before| before.ends_with(' '))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn who_has_it_open_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("device");
        fs::write(&path, "x").unwrap();
        assert_eq!(of_device(&path), None);
        let mut child = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::from(fs::File::open(&path).unwrap()))
            .spawn()
            .unwrap();
        let found = of_device(&path);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found, Some(format!("process {} (sleep)", child.id())));
    }
}
