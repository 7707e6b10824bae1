//! The files that library mounts are kept in: one for the system, one for each user.
//!
//! Owns where they are, who may be believed, and that a reboot empties them. A table is replaced
//! whole, under a lock of its own, so that no reader ever sees half of it.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use famfs_mem::PerProcess;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::lock;
use crate::mounts::Mount;

/// One file of mounts.
#[derive(Debug)]
pub(crate) struct Table {
    dir: PathBuf,
    /// The user who must own the table for it to be believed.
    owner: u32,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    /// The boot during which the mounts were made.
    boot: String,
    mounts: Vec<Mount>,
}

/// The tables that this process reads: the system's, then its user's own.
pub(crate) fn tables() -> Vec<Table> {
    let mut tables = vec![Table {
        dir: PathBuf::from("/run/famfs"),
        owner: 0,
    }];
    let user = rustix::process::geteuid().as_raw();
    if user != 0 {
        tables.push(Table {
            dir: user_dir(user),
            owner: user,
        });
    }
    tables
}

/// The table that this process adds its mounts to.
pub(crate) fn writable_table() -> Result<Table> {
    tables()
        .pop()
        .ok_or_else(|| Error::Usage("no table of mounts".into()))
}

/// A directory of the user's own that lives until the next boot.
pub(crate) fn user_dir(user: u32) -> PathBuf {
    std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute() && dir.is_dir())
        .map_or_else(
            || PathBuf::from(format!("/tmp/famfs-{user}")),
            |dir| dir.join("famfs"),
        )
}

fn boot() -> String {
    let mut id = [0; 64];
    // Whole in one read, as procfs hands it out.
    let read =
        File::open("/proc/sys/kernel/random/boot_id").and_then(|mut file| file.read(&mut id));
    let id = &id[..read.unwrap_or(0)];
    String::from_utf8_lossy(id).trim().to_owned()
}

/// What tells one table from the one that replaces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// The tables as this process read them last.
static READ: PerProcess<HashMap<PathBuf, Kept>> = PerProcess::new();

type Kept = (Stamp, Arc<[Mount]>);

fn read_file(path: &Path) -> Result<Arc<[Mount]>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Arc::default()),
        Err(error) => return Err(Error::io(path, "read the table of mounts")(error)),
    };
    let content: Content = serde_json::from_slice(&text).map_err(|error| Error::BadContent {
        path: path.display().to_string(),
        reason: format!("not a table of mounts ({error}); remove the file and mount again"),
    })?;
    if content.boot != boot() {
        return Ok(Arc::default());
    }
    Ok(content.mounts.into())
}

impl Table {
    fn path(&self) -> PathBuf {
        self.dir.join("mounts")
    }

    /// Whether the directory and the table are their owner's alone to write.
    fn check_owner(&self, metadata: &fs::Metadata) -> Result<()> {
        if metadata.uid() == self.owner && metadata.mode() & 0o022 == 0 {
            return Ok(());
        }
        Err(Error::Permission {
            path: self.path(),
            what: "believing the table of mounts, which others may write",
            next: "remove it, or give it back to its owner with mode 0644",
        })
    }

    /// Holds a lock of this table's user until it is dropped: for what must not be done twice at
    /// the same time.
    pub(crate) fn hold(&self, name: &str) -> Result<File> {
        let io = |what| Error::io(&self.dir, what);
        match fs::DirBuilder::new()
            .recursive(true)
            .mode(self.mode())
            .create(&self.dir)
        {
            Ok(()) => {}
            Err(error) => return Err(io("make the directory for the table of mounts")(error)),
        }
        let metadata = fs::symlink_metadata(&self.dir).map_err(io("examine"))?;
        self.check_owner(&metadata)?;
        if metadata.mode() & 0o777 != self.mode() {
            // A umask is for files of the user's own; who may look at mounts is said here.
            let mode = fs::Permissions::from_mode(self.mode());
            fs::set_permissions(&self.dir, mode).map_err(io("set the mode of"))?;
        }
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.dir.join(name))
            .map_err(io("lock the table of mounts in"))?;
        lock::wait(&lock, &self.dir.join(name))?;
        Ok(lock)
    }

    fn mode(&self) -> u32 {
        if self.owner == 0 { 0o755 } else { 0o700 }
    }

    /// All mounts of this boot, also those whose volumes are gone.
    ///
    /// Every path that is opened asks for them, so what was read is kept while the table is the
    /// same.
    pub(crate) fn read_all(&self) -> Result<Arc<[Mount]>> {
        let path = self.path();
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Arc::default()),
            Err(error) => return Err(Error::io(&path, "read the table of mounts")(error)),
        };
        let dir = fs::symlink_metadata(&self.dir).map_err(Error::io(&self.dir, "examine"))?;
        self.check_owner(&dir)?;
        self.check_owner(&metadata)?;
        let stamp = Stamp::of(&metadata);
        if let Some((kept, mounts)) = READ.lock().get(&path)
            && *kept == stamp
        {
            return Ok(Arc::clone(mounts));
        }
        let mounts = read_file(&path)?;
        READ.lock().insert(path, (stamp, Arc::clone(&mounts)));
        Ok(mounts)
    }

    /// Changes the table.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Vec<Mount>) -> Result<()>) -> Result<()> {
        let io = |what| Error::io(&self.dir, what);
        let _lock = self.hold("mounts.lock")?;
        let mut mounts = self.read_all()?.to_vec();
        change(&mut mounts)?;
        let content = Content {
            boot: boot(),
            mounts,
        };
        let text = serde_json::to_vec_pretty(&content).map_err(|error| Error::BadContent {
            path: self.path().display().to_string(),
            reason: error.to_string(),
        })?;
        let draft = self.dir.join("mounts.new");
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            .open(&draft)
            .and_then(|mut file: File| {
                file.set_permissions(fs::Permissions::from_mode(0o644))?;
                file.write_all(&text)?;
                // Finer than the clock of file systems: no two tables have the same.
                file.set_modified(SystemTime::now())
            });
        written
            .and_then(|()| fs::rename(&draft, self.path()))
            .map_err(io("write the table in"))
    }
}

/// How a path is kept in a table: text, or its bytes where it is none.
pub(crate) mod path {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Kept<T, B> {
        Text(T),
        Bytes(B),
    }

    pub(crate) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        match path.to_str() {
            Some(text) => Kept::<_, &[u8]>::Text(text),
            None => Kept::Bytes(path.as_os_str().as_bytes()),
        }
        .serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Ok(match Kept::<String, Vec<u8>>::deserialize(from)? {
            Kept::Text(text) => text.into(),
            Kept::Bytes(bytes) => OsString::from_vec(bytes).into(),
        })
    }
}
