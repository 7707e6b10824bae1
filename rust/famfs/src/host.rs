//! Which host this is.
//!
//! Owns the host's identity, the one that decides whether it is a volume's master. It agrees with
//! the C reference implementation through the file that both read; where that is missing it is
//! derived, always to the same value, so that a volume made before the file appeared keeps its
//! master.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use famfs_core::entry::Owner;
use uuid::Uuid;

use crate::error::{Error, Result};

/// The file that the reference implementation keeps the identity in: text and a NUL.
const SHARED_FILE: &str = "/opt/famfs/system_uuid";

/// The name space of identities that are derived from a machine id (`UUIDv5`).
const NAMESPACE: Uuid = Uuid::from_u128(0x7e0c_95d2_3d1a_4f0b_9f57_6c2b_8f1e_a0d4);

/// The identity of this host.
///
/// In this order: the file shared with the reference implementation; derived from the machine id;
/// kept in the user's state directory.
///
/// # Errors
/// Where none of them can be had.
pub fn identity() -> Result<Uuid> {
    find(
        Path::new(SHARED_FILE),
        &[
            Path::new("/etc/machine-id"),
            Path::new("/var/lib/dbus/machine-id"),
        ],
        state_file().as_deref(),
    )
}

/// The identity of this host, in the file shared with the reference implementation from now on, if
/// this user may make that: what mkfs and mount see to, so that both tools agree.
///
/// # Errors
/// As [`identity`].
pub fn establish() -> Result<Uuid> {
    let identity = identity()?;
    if rustix::process::geteuid().is_root() {
        // Without it both still agree with themselves; and another may have made it just now.
        let _ = write_new(Path::new(SHARED_FILE), &format!("{identity}\0"), 0o444);
    }
    Ok(identity)
}

/// Who owns what this process makes: its effective user and group, and `mode`, or what is left of
/// 0666 after the umask.
#[must_use]
pub fn owner(mode: Option<u32>) -> Owner {
    Owner {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mode: mode.map_or_else(|| 0o666 & !umask(), |mode| mode & 0o7777),
    }
}

/// The process's umask, read without changing it: other threads make files meanwhile.
#[must_use]
pub fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|value| u32::from_str_radix(value.trim(), 8).ok())
        .unwrap_or(0o022)
}

fn find(shared: &Path, machine_ids: &[&Path], state: Option<&Path>) -> Result<Uuid> {
    if let Ok(bytes) = fs::read(shared) {
        let text = String::from_utf8_lossy(&bytes);
        return text.trim_matches(['\0', '\n', ' ']).parse().map_err(|_| Error::BadContent {
            path: shared.display().to_string(),
            reason: format!(
                "holds {text:?}, a uuid was expected; remove the file, and this host's identity \
                 is derived again"
            ),
        });
    }
    for path in machine_ids {
        if let Ok(id) = fs::read_to_string(path)
            && let id = id.trim()
            && id.len() == 32
        {
            return Ok(Uuid::new_v5(&NAMESPACE, id.as_bytes()));
        }
    }
    let state = state.ok_or_else(|| {
        Error::Usage(format!(
            "this host has no identity: no {}, no /etc/machine-id, and no home directory to keep \
             one in; run `systemd-machine-id-setup`",
            shared.display()
        ))
    })?;
    let read = || {
        fs::read_to_string(state)
            .ok()
            .and_then(|text| text.trim().parse().ok())
    };
    if let Some(identity) = read() {
        return Ok(identity);
    }
    let made = Uuid::new_v4();
    match write_new(state, &format!("{made}\n"), 0o644) {
        Ok(()) => Ok(made),
        // Another process was first: its identity is the host's.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read().ok_or_else(|| Error::BadContent {
                path: state.display().to_string(),
                reason: "a uuid was expected; remove the file".into(),
            })
        }
        Err(error) => Err(Error::io(state, "keep this host's identity")(error)),
    }
}

fn state_file() -> Option<PathBuf> {
    let dir = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute())
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    Some(dir.join("famfs/host_uuid"))
}

/// Makes a file with all its text at once: whoever sees the name sees the whole text.
fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(dir)?;
    let draft = dir.join(format!(".{}", Uuid::new_v4()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&draft)?;
    let linked = file
        .write_all(text.as_bytes())
        .and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    linked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shared_file_comes_first_and_has_a_nul() {
        let dir = tempfile::tempdir().unwrap();
        let shared = dir.path().join("opt/system_uuid");
        let machine = dir.path().join("machine-id");
        fs::write(&machine, "3d1219c7c4c5404aaa1f6d2a48adfda4\n").unwrap();
        let derived = find(&shared, &[&machine], None).unwrap();
        assert_eq!(derived, find(&shared, &[&machine], None).unwrap());
        assert_eq!(derived.get_version_num(), 5);

        let text = "11111111-2222-3333-4444-555555555555";
        write_new(&shared, &format!("{text}\0"), 0o444).unwrap();
        assert_eq!(fs::read(&shared).unwrap().len(), 37);
        assert_eq!(find(&shared, &[&machine], None).unwrap().to_string(), text);
        // It is never overwritten.
        assert!(write_new(&shared, "x", 0o444).is_err());
    }

    #[test]
    fn a_host_without_a_machine_id_keeps_one_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        let state = dir.path().join("state/host_uuid");
        let made = find(&missing, &[&missing], Some(&state)).unwrap();
        assert_eq!(find(&missing, &[&missing], Some(&state)).unwrap(), made);
        assert!(find(&missing, &[&missing], None).is_err());
        fs::write(&missing, "nonsense").unwrap();
        assert!(matches!(
            find(&missing, &[], Some(&state)),
            Err(Error::BadContent { .. })
        ));
    }
}
