//! What the kernel's side refuses, in the words of the facade's table.

use std::io;
use std::path::PathBuf;

use famfs_sys::dax::DaxError;
use famfs_sys::kmod::KmodError;

use crate::error::Error;

impl From<DaxError> for Error {
    fn from(error: DaxError) -> Self {
        // Each begins with what it is about; where a variant says that itself, it is said once.
        let told = error.to_string();
        let why = |path: &PathBuf| {
            let about = format!("{}: ", path.display());
            told.strip_prefix(&about).unwrap_or(&told).to_owned()
        };
        match error {
            DaxError::NotThere { .. } => Self::Usage(format!(
                "{told}; `famfs dax list` shows what is known of them"
            )),
            DaxError::SystemRam { ref path, .. } => Self::Busy {
                holders: why(path),
                path: path.clone(),
            },
            DaxError::InUse { path, who } => Self::Busy { path, holders: who },
            DaxError::WrongDriver { path, why } => Self::Unsupported {
                what: path.display().to_string(),
                why,
            },
            DaxError::NoDriver { ref path, .. } => Self::Unsupported {
                what: path.display().to_string(),
                why: why(path),
            },
            DaxError::Io { path, what, source } => system(path, what, source),
            DaxError::NotRestored { name, .. } => Self::Io {
                path: PathBuf::from(name),
                what: "bind to another driver",
                source: io::Error::other(told),
            },
            other => Self::Usage(other.to_string()),
        }
    }
}

impl From<KmodError> for Error {
    fn from(error: KmodError) -> Self {
        match error {
            KmodError::Usage(_) => Self::Usage(error.to_string()),
            KmodError::InUse { who } => Self::Busy {
                path: "/sys/module/famfs".into(),
                holders: who,
            },
            KmodError::NotRoot { what, next } => Self::Permission {
                path: "/lib/modules".into(),
                what,
                next,
            },
            KmodError::Io { path, what, source } => system(path, what, source),
            other => Self::Unsupported {
                what: "the kernel module".into(),
                why: other.to_string(),
            },
        }
    }
}

/// An error of the system. The kernel's own files say EPERM and EACCES for the same thing.
fn system(path: PathBuf, what: &'static str, source: io::Error) -> Error {
    if source.kind() == io::ErrorKind::PermissionDenied {
        return Error::Permission {
            path,
            what,
            next: "run this as root",
        };
    }
    Error::Io { path, what, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use famfs_sys::dax::SystemRam;

    #[test]
    fn what_it_is_about_is_said_once() {
        let error = Error::from(DaxError::SystemRam {
            path: "/dev/dax0.0".into(),
            name: "dax0.0".into(),
            state: SystemRam::Online,
        });
        assert_eq!((error.face().errno, error.face().exit), (libc::EBUSY, 1));
        let told = error.to_string();
        assert_eq!(told.matches("/dev/dax0.0").count(), 1, "{told}");
        assert!(told.contains("daxctl reconfigure-device"), "{told}");
    }

    #[test]
    fn each_has_its_place_in_the_table() {
        let denied = || io::Error::from_raw_os_error(libc::EPERM);
        let io = |source| DaxError::Io {
            path: "/dev/dax0.0".into(),
            what: "bind to the driver",
            source,
        };
        assert_eq!(Error::from(io(denied())).face().errno, libc::EACCES);
        let other = io::Error::from_raw_os_error(libc::ENXIO);
        assert_eq!(Error::from(io(other)).face().errno, libc::ENXIO);
        let usage = Error::from(KmodError::Usage("x".into()));
        assert_eq!(usage.face().exit, 2);
        let busy = Error::from(KmodError::InUse { who: "x".into() });
        assert_eq!(busy.face().python, "Busy");
        let missing = Error::from(KmodError::NoModule {
            release: "6.1".into(),
        });
        assert!(
            missing.to_string().contains("famfs kmod build"),
            "{missing}"
        );
    }
}
