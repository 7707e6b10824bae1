//! Errors: what failed, on what, why, and what to do next.
//!
//! Owns the one table that says how an error looks elsewhere: as an errno to the kernel, as an exit
//! code of the command line and as a class in Python.

use std::io;
use std::path::{Path, PathBuf};

use famfs_core::append::AppendError;
use famfs_core::check::Fatal;
use famfs_core::finding::FindingKind;
use famfs_core::path::PathError;
use famfs_core::replay::ReadOnlyReason;
use famfs_core::space::SpaceError;
use famfs_core::units::Slot;
use famfs_mem::{Fault, MapError, SourceError};
use uuid::Uuid;

/// The result of a call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing has that name.
    #[error("{path}: no such file or directory in this volume; `famfs ls` shows what there is")]
    NotFound {
        /// The path.
        path: String,
    },
    /// A directory on the way is missing.
    #[error("{path}: its directory does not exist; make it with `famfs mkdir -p`")]
    ParentMissing {
        /// The path.
        path: String,
    },
    /// A part of the path is a file.
    #[error(
        "{path}: not a directory: its parent is a file; choose another name, or make a directory"
    )]
    NotADirectory {
        /// The path.
        path: String,
    },
    /// A file was expected.
    #[error("{path}: is a directory, a file was expected; `famfs ls` shows what is in it")]
    IsADirectory {
        /// The path.
        path: String,
    },
    /// A name in a volume was expected.
    #[error("{path}: is the mount point itself; name a file or directory in it")]
    IsTheMountPoint {
        /// The path.
        path: String,
    },
    /// There is no such device or backing file.
    #[error(
        "{}: no such device or file; check the path (`famfs mounts` lists what is mounted, `famfs \
         dax list` the dax devices)",
        path.display()
    )]
    NoDevice {
        /// The path.
        path: PathBuf,
    },
    /// A directory to be removed has something in it.
    #[error("{path}: the directory is not empty; remove what is in it first, or use `famfs rm -r`")]
    DirectoryNotEmpty {
        /// The path.
        path: String,
    },
    /// The name is taken.
    #[error(
        "{path}: exists already; choose another name, or put a new version in its place \
         (overwrite=True in Python, --force on the command line)"
    )]
    AlreadyExists {
        /// The path.
        path: String,
    },
    /// The device holds a volume.
    #[error("{}: holds a famfs volume ({uuid}); --force makes a new one over it, and its files are \
             lost", path.display())]
    VolumeExists {
        /// The device.
        path: PathBuf,
        /// The volume's identity.
        uuid: Uuid,
    },
    /// The volume has no room.
    #[error("{path}: no space on the volume: {reason}; `famfs df` shows what there is")]
    NoSpace {
        /// What was to be made.
        path: String,
        /// What is missing.
        reason: SpaceError,
    },
    /// The log has no room.
    #[error(
        "{path}: the volume's log is full: {wanted} entries to append, {left} left; make the next \
         volume with a larger --log-size"
    )]
    LogFull {
        /// What was to be made.
        path: String,
        /// Entries to append.
        wanted: u64,
        /// Slots left.
        left: u64,
    },
    /// The host has no room.
    #[error(
        "{}: the host has no space{}; free some, or ask for a smaller --size",
        path.display(),
        len.map(|len| format!(" for {len} bytes")).unwrap_or_default()
    )]
    HostFull {
        /// The file.
        path: PathBuf,
        /// Bytes asked for, where that is known.
        len: Option<u64>,
    },
    /// The path lies under no mount point.
    #[error(
        "{path}: lies under no famfs mount; `famfs mounts` lists them, `famfs mount DEV MNT` adds \
         one, and `famfs mount --embedded MNT` makes a volume in this host's memory"
    )]
    NotMounted {
        /// The path.
        path: String,
    },
    /// No mount that this process knows is of the volume.
    #[error(
        "volume {uuid} is not mounted for this process: mount it here too, where the publisher has          it (`famfs mount DEV MNT`), or say where it is, FAMFS_MOUNTS=DEV=MNT in the environment;          `famfs mounts` lists what there is"
    )]
    VolumeNotMounted {
        /// The volume.
        uuid: Uuid,
    },
    /// Another host writes the log.
    #[error(
        "this host ({host}) is not the volume's master ({master}): only the master publishes; run \
         this on the host whose `famfs mounts -v` shows the role master"
    )]
    NotMaster {
        /// The host that may.
        master: Uuid,
        /// This host.
        host: Uuid,
    },
    /// The volume must not be appended to.
    #[error("{}: read-only: {reason}; `famfs fsck` tells more", path.display())]
    ReadOnlyVolume {
        /// The device.
        path: PathBuf,
        /// Why.
        reason: ReadOnlyReason,
    },
    /// The user may not.
    #[error("{}: {what}: permission denied; {next}", path.display())]
    Permission {
        /// The file or device.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What to do.
        next: &'static str,
    },
    /// Somebody else has it.
    #[error("{}: busy: {holders}", path.display())]
    Busy {
        /// What.
        path: PathBuf,
        /// Who, and what to do.
        holders: String,
    },
    /// The log has it, every host can open it with famfs, and this host's kernel has no name for it.
    #[error(
        "{}: published as #{slot}, but the kernel can't show it yet: {why}; then `famfs logplay` \
         the mount",
        path.display()
    )]
    NotShown {
        /// The mount point.
        path: PathBuf,
        /// The first slot of what was published.
        slot: Slot,
        /// What is in the way.
        why: String,
    },
    /// What another process of ours has told, that publishes for this user.
    #[error("{message}")]
    Told {
        /// How it looks elsewhere.
        face: Face,
        /// What it says.
        message: String,
    },
    /// The volume can't be judged.
    #[error("{}: not a volume that can be mounted: {fatal}; {}", path.display(), next_step(fatal))]
    Corrupt {
        /// The device.
        path: PathBuf,
        /// What is wrong.
        fatal: Fatal,
    },
    /// A file's content is not what it should be.
    #[error("{path}: {reason}")]
    BadContent {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A way of using something that it doesn't have.
    #[error("{what}: {why}")]
    Unsupported {
        /// What was to be used.
        what: String,
        /// Why it can't be, and what to do.
        why: String,
    },
    /// Another volume is there now.
    #[error(
        "{}: another volume was made here ({why}); umount and mount it again, and publish what is missing",
        path.display()
    )]
    VolumeChanged {
        /// The device.
        path: PathBuf,
        /// How that shows.
        why: String,
    },
    /// Memory was lost.
    #[error(
        "{}: {fault}; where a backing file was cut it is lost, where a device is bad `famfs check` \
         tells which files are",
        path.display()
    )]
    MemoryFault {
        /// The device.
        path: PathBuf,
        /// What happened.
        fault: Fault,
    },
    /// A path that can't be one.
    #[error("{path}: not a valid path in a volume: {reason}")]
    InvalidPath {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: PathError,
    },
    /// A handle of the parent process was used to write.
    #[error(
        "this handle belongs to the process that forked: what it reserved stays with the parent; \
         open the volume again in the child"
    )]
    Forked,
    /// A reservation is gone.
    #[error(
        "reservation {token} is not there: it was committed, given up, or its owner ended; publish \
             again"
    )]
    NoReservation {
        /// Its token.
        token: Uuid,
    },
    /// A path stands in a transaction already.
    #[error(
        "{path}: this transaction has a file for it already: give the other one another name, or \
             publish it in a transaction of its own"
    )]
    Twice {
        /// The path.
        path: String,
    },
    /// Who filled a part of a transaction ended, or failed, before all of it was there.
    #[error(
        "{path}: process {pid} began it for this transaction and did not finish: publish it again \
             in the transaction, or begin a new one; nothing was published"
    )]
    Unfinished {
        /// The path.
        path: String,
        /// The process.
        pid: u32,
    },
    /// A transaction has other files than those its owner was told of.
    #[error(
        "the transaction has other files than were told of: {differs}; nothing was published: fill \
             what is missing and commit again, or begin a new one"
    )]
    OtherFiles {
        /// Which there are beside them, and which are missing.
        differs: String,
    },
    /// A replay would not apply what was to be appended: a defect, caught before it was written.
    #[error(
        "refused to append an entry that no host would apply: {kind}; nothing was published, try \
             again, and report it"
    )]
    Refused {
        /// What a replay would find.
        kind: FindingKind,
    },
    /// A value that can't be used.
    #[error("{0}")]
    Usage(String),
    /// The system refused.
    #[error("{}: {what}: {source}; {}", path.display(), next_step_of(source))]
    Io {
        /// The file or device.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

fn next_step(fatal: &Fatal) -> &'static str {
    use famfs_core::superblock::SuperblockError as S;
    match fatal {
        Fatal::Superblock(S::Magic { .. } | S::Truncated { .. }) => {
            "check the path; `famfs mkfs` makes a new volume there"
        }
        Fatal::Superblock(S::OmfMajor { .. } | S::Version { .. }) => {
            "use the version of famfs that made it"
        }
        Fatal::Device(_) => "the device is not the one that the volume was made on, or was cut",
        _ => "`famfs fsck` tells more",
    }
}

/// What to do about an error of the system.
#[must_use]
pub fn next_step_of(error: &io::Error) -> &'static str {
    use io::ErrorKind as E;
    match error.kind() {
        E::NotFound | E::NotADirectory | E::IsADirectory => "check the path",
        E::ReadOnlyFilesystem => "choose a place that can be written to",
        E::AlreadyExists => "choose another name, or remove what is there",
        E::FileTooLarge => "the file system can't hold it: choose a smaller size",
        E::StorageFull => "free some space",
        E::PermissionDenied => "ask its owner for access, or run this as root",
        E::OutOfMemory => "free some memory",
        _ if error.raw_os_error() == Some(libc::EMFILE) => "raise the limit: `ulimit -n`",
        _ => "the system's log may tell more",
    }
}

/// How an error looks elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Face {
    /// To the kernel.
    pub errno: i32,
    /// Of the command line.
    pub exit: i32,
    /// In Python.
    pub python: &'static str,
}

const fn face(errno: i32, exit: i32, python: &'static str) -> Face {
    Face {
        errno,
        exit,
        python,
    }
}

impl Face {
    /// The class of this name, where it is one of ours.
    pub(crate) fn known(name: &str) -> &'static str {
        const CLASSES: [&str; 15] = [
            "NotFound",
            "InvalidPath",
            "Busy",
            "AlreadyExists",
            "NoSpace",
            "NotMounted",
            "NotMaster",
            "ReadOnlyVolume",
            "PermissionDenied",
            "Corrupt",
            "Unsupported",
            "VolumeChanged",
            "MemoryFault",
            "HostError",
            "FamfsError",
        ];
        let found = CLASSES.into_iter().find(|class| *class == name);
        found.unwrap_or("FamfsError")
    }
}

impl Error {
    /// The table: variant, errno, exit code, Python class.
    #[must_use]
    pub fn face(&self) -> Face {
        match self {
            Self::NotFound { .. } | Self::ParentMissing { .. } | Self::NoDevice { .. } => {
                face(libc::ENOENT, 1, "NotFound")
            }
            Self::NotADirectory { .. } => face(libc::ENOTDIR, 1, "InvalidPath"),
            Self::IsADirectory { .. } => face(libc::EISDIR, 1, "InvalidPath"),
            Self::DirectoryNotEmpty { .. } => face(libc::ENOTEMPTY, 1, "Busy"),
            Self::AlreadyExists { .. } | Self::VolumeExists { .. } | Self::Twice { .. } => {
                face(libc::EEXIST, 1, "AlreadyExists")
            }
            Self::NoSpace { .. } | Self::LogFull { .. } | Self::HostFull { .. } => {
                face(libc::ENOSPC, 1, "NoSpace")
            }
            Self::NotMounted { .. } | Self::VolumeNotMounted { .. } => {
                face(libc::ENODEV, 1, "NotMounted")
            }
            Self::NotMaster { .. } => face(libc::EPERM, 1, "NotMaster"),
            Self::ReadOnlyVolume { .. } => face(libc::EROFS, 1, "ReadOnlyVolume"),
            Self::Permission { .. } => face(libc::EACCES, 1, "PermissionDenied"),
            Self::Busy { .. } | Self::Unfinished { .. } | Self::OtherFiles { .. } => {
                face(libc::EBUSY, 1, "Busy")
            }
            Self::Corrupt { .. } | Self::BadContent { .. } | Self::Refused { .. } => {
                face(libc::EUCLEAN, 1, "Corrupt")
            }
            Self::Unsupported { .. } => face(libc::EOPNOTSUPP, 1, "Unsupported"),
            Self::VolumeChanged { .. } => face(libc::ESTALE, 1, "VolumeChanged"),
            Self::MemoryFault { .. } => face(libc::EIO, 1, "MemoryFault"),
            Self::InvalidPath {
                reason: PathError::TooLong { .. },
                ..
            } => face(libc::ENAMETOOLONG, 1, "InvalidPath"),
            Self::InvalidPath { .. } | Self::IsTheMountPoint { .. } => {
                face(libc::EINVAL, 1, "InvalidPath")
            }
            Self::Told { face, .. } => *face,
            Self::NotShown { .. } => face(libc::EIO, 1, "FamfsError"),
            Self::Forked | Self::NoReservation { .. } => face(libc::ESTALE, 1, "FamfsError"),
            Self::Usage(_) => face(libc::EINVAL, 2, "FamfsError"),
            Self::Io { source, .. } => {
                face(source.raw_os_error().unwrap_or(libc::EIO), 1, "HostError")
            }
        }
    }

    /// The same error, about a path as the user wrote it.
    #[must_use]
    pub fn about(self, asked: &Path) -> Self {
        self.renamed(|_| Some(asked.display().to_string()))
    }

    /// The same error, with another name for what it is about in the volume, where `rename` has one.
    #[must_use]
    pub fn renamed(mut self, rename: impl FnOnce(&str) -> Option<String>) -> Self {
        if let Self::NotFound { path }
        | Self::ParentMissing { path }
        | Self::NotADirectory { path }
        | Self::IsADirectory { path }
        | Self::IsTheMountPoint { path }
        | Self::DirectoryNotEmpty { path }
        | Self::AlreadyExists { path }
        | Self::NoSpace { path, .. }
        | Self::LogFull { path, .. }
        | Self::Twice { path }
        | Self::Unfinished { path, .. }
        | Self::InvalidPath { path, .. } = &mut self
            && let Some(name) = rename(path)
        {
            *path = name;
        }
        self
    }

    /// The error of a call of the system on `path`.
    pub(crate) fn io(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Permission {
                path,
                what,
                next: "ask its owner for access, or run this as root",
            },
            io::ErrorKind::StorageFull => Self::HostFull { path, len: None },
            _ => Self::Io { path, what, source },
        }
    }

    pub(crate) fn fault(path: &Path) -> impl FnOnce(Fault) -> Self {
        let path = path.to_owned();
        move |fault| match fault {
            Fault::ReadOnly => Self::Permission {
                path,
                what: "writing to the volume",
                next: "ask for write access to the device or backing file",
            },
            Fault::Unmapped { why } => Self::Io {
                path,
                what: "map the memory to write to of",
                source: why.into(),
            },
            fault => Self::MemoryFault { path, fault },
        }
    }

    pub(crate) fn source(error: SourceError) -> Self {
        match error {
            SourceError::Open { path, source } => match source.kind() {
                io::ErrorKind::NotFound => Self::NoDevice { path },
                io::ErrorKind::AlreadyExists => Self::Busy {
                    path,
                    holders: "another process made it at the same time; try again".into(),
                },
                _ => Self::io(&path, "open")(source),
            },
            SourceError::NoSpace { path, len } => Self::HostFull {
                path,
                len: Some(len),
            },
            SourceError::Fault { path, source } => Self::fault(&path)(source),
            SourceError::Io {
                path,
                action,
                source,
            } => Self::io(&path, action)(source),
            other => Self::Unsupported {
                what: other.to_string(),
                why: "use a /dev/dax device, a /dev/pmem device, or a backing file".into(),
            },
        }
    }

    pub(crate) fn map(path: &Path) -> impl FnOnce(MapError) -> Self {
        let path = path.to_owned();
        move |error| match error {
            MapError::Range(fault) => Self::MemoryFault { path, fault },
            MapError::System { action, source, .. } => Self::io(&path, action)(source),
            other => Self::Unsupported {
                what: path.display().to_string(),
                why: other.to_string(),
            },
        }
    }

    pub(crate) fn append(device: &Path, names: &[String]) -> impl FnOnce(AppendError) -> Self {
        let (device, names) = (device.to_owned(), names.to_vec());
        move |error| match error {
            AppendError::ReadOnly(reason) => Self::ReadOnlyVolume {
                path: device,
                reason,
            },
            AppendError::LogFull { wanted, left } => Self::LogFull {
                path: names.into_iter().next().unwrap_or_default(),
                wanted,
                left,
            },
            AppendError::Refused { index, kind } => {
                let path = names.into_iter().nth(index).unwrap_or_default();
                match kind {
                    FindingKind::NameTaken { .. } => Self::AlreadyExists { path },
                    FindingKind::ParentMissing => Self::ParentMissing { path },
                    FindingKind::ParentNotDirectory { .. } => Self::NotADirectory { path },
                    FindingKind::DirectoryNotEmpty => Self::DirectoryNotEmpty { path },
                    FindingKind::DeleteMismatch { .. } => Self::NotFound { path },
                    FindingKind::Path(reason) => Self::InvalidPath { path, reason },
                    FindingKind::ReplaceUnsupported | FindingKind::EntryType { .. } => {
                        Self::Unsupported {
                            what: path,
                            why: "the volume's format is OMF 2.2, which can neither replace nor \
                                  remove; make a volume without --omf 2.2"
                                .into(),
                        }
                    }
                    kind => Self::Refused { kind },
                }
            }
            other => Self::Usage(other.to_string()),
        }
    }
}
