//! Dax devices: what there is, who drives it, and who may have it.
//!
//! Owns how `/sys/bus/dax` is read. Who drives a device is changed in [`bind`] alone; what a mount
//! has borrowed is written down by `lend`; whether memory is the system's is judged in `ram`.

mod bind;
mod lend;
mod ram;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

pub use bind::{Binding, bind, unbind};
pub use lend::give_back;

use crate::mount;

/// Who drives a device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Driver {
    /// The one that lets programs map it: the library way.
    DeviceDax,
    /// The one that lets file systems have it: the kernel way, from Linux 7.0 on.
    FsdevDax,
    /// The one that makes its memory the system's.
    Kmem,
    /// Another.
    Other(String),
}

impl Driver {
    /// Its name, below `/sys/bus/dax/drivers`.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::DeviceDax => "device_dax",
            Self::FsdevDax => "fsdev_dax",
            Self::Kmem => "kmem",
            Self::Other(name) => name,
        }
    }
}

impl From<&str> for Driver {
    fn from(name: &str) -> Self {
        match name {
            "device_dax" => Self::DeviceDax,
            "fsdev_dax" => Self::FsdevDax,
            "kmem" => Self::Kmem,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a device's memory is the system's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemRam {
    /// It is not.
    No,
    /// The driver kmem has it, and none of it is in use.
    Offline,
    /// The system uses it as RAM.
    Online,
}

impl SystemRam {
    /// As it is listed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Offline => "offline",
            Self::Online => "online",
        }
    }
}

/// A dax device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name, such as `dax0.0`.
    pub name: String,
    /// Its node.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Where it begins in physical memory, where this user may know that.
    pub start: Option<u64>,
    /// The node of the processors that are near.
    pub numa_node: Option<i32>,
    /// The node that it would be, as RAM.
    pub target_node: Option<i32>,
    /// The node's number: major and minor.
    pub number: Option<(u32, u32)>,
    /// Who drives it.
    pub driver: Option<Driver>,
    /// Whether its memory is the system's.
    pub system_ram: SystemRam,
    /// Where famfs has it mounted by the kernel.
    pub mounted: Vec<PathBuf>,
}

/// Why a device can't be had, or who drives it can't be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaxError {
    /// There is no such device.
    #[error(
        "{}: no such dax device; {}",
        path.display(),
        if there.is_empty() { "this host has none".into() } else { format!("there are: {}", there.join(", ")) }
    )]
    NotThere {
        /// What was asked for.
        path: PathBuf,
        /// What there is.
        there: Vec<String>,
    },
    /// Its memory is the system's.
    #[error(
        "{}: {}, and whatever is written to it would be lost, or end programs; as root: \
         `daxctl offline-memory {name}`, then `daxctl reconfigure-device --mode=devdax --force \
         {name}` (where the system can't let go of it, after a reboot); a line `blacklist kmem` in \
         a file of /etc/modprobe.d keeps the driver kmem away from it at the next boot",
        path.display(),
        match state {
            SystemRam::Online => "the system uses it as its RAM (driver kmem)",
            _ => "it was handed to the system as RAM (driver kmem)",
        }
    )]
    SystemRam {
        /// Its node.
        path: PathBuf,
        /// Its name.
        name: String,
        /// Whether it is used.
        state: SystemRam,
    },
    /// Somebody uses it.
    #[error("{}: busy: {who}", path.display())]
    InUse {
        /// Its node.
        path: PathBuf,
        /// Who, and what to do.
        who: String,
    },
    /// It is driven in a way that what was asked for can't use.
    #[error("{}: {why}", path.display())]
    WrongDriver {
        /// Its node.
        path: PathBuf,
        /// How it is driven, and what to do.
        why: String,
    },
    /// There is no such driver.
    #[error("{}: this kernel has no driver {driver}: {why}", path.display())]
    NoDriver {
        /// The device's node.
        path: PathBuf,
        /// The driver that was asked for.
        driver: Driver,
        /// What that means, and what to do.
        why: String,
    },
    /// The system refused.
    #[error("{}: {what}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A change failed, and so did putting back what was.
    #[error(
        "{first}; and the device is no longer bound as it was: {second}; `famfs dax bind {name} \
         {}` binds it again",
        previous.name()
    )]
    NotRestored {
        /// The device.
        name: String,
        /// Who drove it.
        previous: Driver,
        /// What failed first.
        first: Box<DaxError>,
        /// What failed when that was put back.
        second: Box<DaxError>,
    },
}

impl DaxError {
    fn io(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, what, source }
    }
}

/// Where the kernel shows its devices, and where they are written of: `/sys`, `/dev` and `/run`, but
/// for tests.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    sys: PathBuf,
    dev: PathBuf,
    run: PathBuf,
}

impl Tree {
    fn real() -> Self {
        Self {
            sys: "/sys".into(),
            dev: "/dev".into(),
            run: "/run".into(),
        }
    }

    fn devices(&self) -> PathBuf {
        self.sys.join("bus/dax/devices")
    }

    fn drivers(&self) -> PathBuf {
        self.sys.join("bus/dax/drivers")
    }

    fn driver(&self, name: &str) -> Option<Driver> {
        let link = fs::read_link(self.devices().join(name).join("driver")).ok()?;
        link.file_name()?.to_str().map(Driver::from)
    }

    fn names(&self) -> Result<Vec<String>, DaxError> {
        let place = self.devices();
        let entries = match fs::read_dir(&place) {
            Ok(entries) => entries,
            // Without the bus there are no devices.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(DaxError::io(&place, "list")(error)),
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort_by_key(|name| {
            let numbers = name.strip_prefix("dax").unwrap_or_default().split('.');
            let numbers: Vec<u64> = numbers.filter_map(|number| number.parse().ok()).collect();
            (numbers, name.clone())
        });
        Ok(names)
    }

    /// All devices. `mounts` are famfs's.
    fn list(&self, mounts: &[mount::KernelMount]) -> Result<Vec<Device>, DaxError> {
        let names = self.names()?;
        Ok(names
            .into_iter()
            .filter_map(|name| self.read(name, mounts))
            .collect())
    }

    /// A device; `None` for one that went away meanwhile.
    fn read(&self, name: String, mounts: &[mount::KernelMount]) -> Option<Device> {
        let place = self.devices().join(&name);
        let text = |file: &str| {
            let text = fs::read_to_string(place.join(file)).ok()?;
            Some(text.trim().to_owned())
        };
        let size = text("size")?.parse().ok()?;
        let start = text("resource").and_then(|text| hexadecimal(&text));
        let driver = self.driver(&name);
        let number = text("dev").and_then(|text| {
            let (major, minor) = text.split_once(':')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        });
        let path = self.dev.join(&name);
        let mounted = mounts.iter().filter(|mount| mount.source == path);
        Some(Device {
            system_ram: ram::state(&self.sys, driver.as_ref(), start, size),
            size,
            // Without the right to know it, some kernels say 0 and some nothing.
            start: start.filter(|start| *start != 0),
            numa_node: text("numa_node").and_then(|text| text.parse().ok()),
            target_node: text("target_node").and_then(|text| text.parse().ok()),
            number,
            driver,
            mounted: mounted.map(|mount| mount.mountpoint.clone()).collect(),
            path,
            name,
        })
    }

    /// The device that a path or a bare name names.
    fn find(&self, asked: &Path, mounts: &[mount::KernelMount]) -> Result<Device, DaxError> {
        let name = self.name_of(asked).or_else(|| {
            let bare = asked.to_str().filter(|name| !name.contains('/'))?;
            Some(bare.to_owned())
        });
        let names = self.names()?;
        name.filter(|name| names.contains(name))
            .and_then(|name| self.read(name, mounts))
            .ok_or(DaxError::NotThere {
                path: asked.to_owned(),
                there: names,
            })
    }

    /// The name of the dax device whose node a path is, or would be: one that is the system's RAM
    /// may have none.
    fn name_of(&self, path: &Path) -> Option<String> {
        if let Ok(metadata) = fs::metadata(path) {
            if !metadata.file_type().is_char_device() {
                return None;
            }
            let number = metadata.rdev();
            let number = format!(
                "{}:{}",
                rustix::fs::major(number),
                rustix::fs::minor(number)
            );
            let devices = self.names().ok()?.into_iter();
            let found = devices.into_iter().find(|name| {
                fs::read_to_string(self.devices().join(name).join("dev"))
                    .is_ok_and(|text| text.trim() == number)
            });
            if found.is_some() {
                return found;
            }
        }
        let name = path.file_name()?.to_str()?;
        let is_ours = path.parent() == Some(&self.dev) && self.devices().join(name).exists();
        is_ours.then(|| name.to_owned())
    }

    fn check(&self, path: &Path, mapped: bool) -> Result<(), DaxError> {
        let Some(device) = self.name_of(path).and_then(|name| self.read(name, &[])) else {
            return Ok(());
        };
        refuse_ram(&device)?;
        let why = match &device.driver {
            _ if !mapped => return Ok(()),
            Some(Driver::FsdevDax) => format!(
                "it is bound to fsdev_dax, for the kernel way, and no program can map it: \
                 `famfs dax bind {} device_dax` first",
                device.name
            ),
            None => format!(
                "it is bound to no driver: `famfs dax bind {} device_dax` first",
                device.name
            ),
            _ => return Ok(()),
        };
        Err(DaxError::WrongDriver {
            path: path.to_owned(),
            why,
        })
    }
}

fn refuse_ram(device: &Device) -> Result<(), DaxError> {
    if device.system_ram == SystemRam::No {
        return Ok(());
    }
    Err(DaxError::SystemRam {
        path: device.path.clone(),
        name: device.name.clone(),
        state: device.system_ram,
    })
}

fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()
}

/// The dax devices of this host, in order.
///
/// # Errors
/// Where the kernel's list can't be read.
pub fn list() -> Result<Vec<Device>, DaxError> {
    // Where mounts can't be told, the devices still can.
    Tree::real().list(&mount::list().unwrap_or_default())
}

/// The dax device that `asked` names: its node, or its name alone.
///
/// # Errors
/// [`DaxError::NotThere`], with what there is.
pub fn find(asked: &Path) -> Result<Device, DaxError> {
    Tree::real().find(asked, &mount::list().unwrap_or_default())
}

/// Whether `path` may hold a volume: it is no dax device, or one whose memory is not the system's.
/// Whoever writes to a device, or mounts it in any way, asks this first.
///
/// # Errors
/// [`DaxError::SystemRam`], with what to do.
pub fn usable(path: &Path) -> Result<(), DaxError> {
    Tree::real().check(path, false)
}

/// Whether `path` is [`usable`] and, where it is a dax device, driven so that programs can map it:
/// what mkfs and the library way need.
///
/// # Errors
/// As [`usable`]; [`DaxError::WrongDriver`], with what to do.
pub fn mappable(path: &Path) -> Result<(), DaxError> {
    Tree::real().check(path, true)
}
