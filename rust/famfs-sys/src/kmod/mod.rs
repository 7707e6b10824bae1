//! The kernel module: whether it is there, loading it, and building it.
//!
//! Owns where modules and headers are looked for. Building is in `build`; whether the module that
//! runs speaks our version of the interface is judged here.

mod build;
mod sources;

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::io::Errno;

pub use build::{Built, Request, Target, build};

use crate::abi::KABI_VERSION;
use crate::mount::{self, KernelMount};
use crate::tool;

/// The version of the module that this program has the sources of.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

const NAME: &str = "famfs";

/// Where modules of a kernel may be, below its folder, as modprobe looks for them.
const PLACES: [&str; 4] = ["updates/dkms", "updates", "extra", "kernel/fs/famfs"];

/// How they may be packed.
const ENDS: [&str; 4] = ["", ".xz", ".zst", ".gz"];

/// Why the module can't be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KmodError {
    /// The kernel's headers are not there.
    #[error(
        "the headers of kernel {release} are not in {}: install them (on Debian and Ubuntu: \
         `apt install linux-headers-{release}`), or name their folder with --headers",
        place.display()
    )]
    NoHeaders {
        /// Which kernel's.
        release: String,
        /// Where they were looked for.
        place: PathBuf,
    },
    /// A program is missing.
    #[error(
        "{tool} is not on this host, and {needs}: install it (on Debian and Ubuntu: `apt install {package}`)"
    )]
    NoTool {
        /// The program.
        tool: String,
        /// What it is for.
        needs: &'static str,
        /// The package that has it.
        package: String,
    },
    /// A program failed.
    #[error("`{command}` exits with {status}; its last lines:\n{last}\n{next}")]
    Failed {
        /// The command.
        command: String,
        /// How it ended.
        status: String,
        /// What it said last.
        last: String,
        /// What to do.
        next: String,
    },
    /// There is no module to load.
    #[error(
        "there is no module famfs for kernel {release}: `famfs kmod build` makes one, or name one \
         with --module"
    )]
    NoModule {
        /// The running kernel.
        release: String,
    },
    /// A module that the kernel does not take.
    #[error("{}: the kernel does not take it: {why}", path.display())]
    Refused {
        /// The module.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// The module that runs speaks another version of the interface.
    #[error(
        "the module that is loaded speaks version {found} of the kernel interface, this program \
         {KABI_VERSION}: `famfs kmod unload`, then `famfs kmod build` and `famfs kmod load`",
        found = found.map_or_else(|| "no".to_owned(), |found| found.to_string())
    )]
    Interface {
        /// Its version, where it tells.
        found: Option<u32>,
    },
    /// It can't be unloaded.
    #[error("the module is in use: {who}")]
    InUse {
        /// By whom, and what to do.
        who: String,
    },
    /// A value that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Root alone may do this.
    #[error("{what} takes root: {next}")]
    NotRoot {
        /// What was to be done.
        what: &'static str,
        /// What to do.
        next: &'static str,
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
}

impl KmodError {
    fn io(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, what, source }
    }
}

/// A module that stands where modprobe looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Where it is.
    pub path: PathBuf,
    /// What it was built for: a kernel's release and some of its settings.
    pub vermagic: Option<String>,
    /// Whether that is the running kernel.
    pub is_for_this_kernel: Option<bool>,
}

/// The module that is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Its version.
    pub version: Option<String>,
    /// Its version of the interface.
    pub kabi: Option<u32>,
}

impl Loaded {
    /// Whether this program and the module understand each other.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.kabi == Some(KABI_VERSION)
    }
}

/// How things stand with the module.
#[derive(Clone, Debug)]
pub struct Status {
    /// The running kernel.
    pub release: String,
    /// What is loaded.
    pub loaded: Option<Loaded>,
    /// Where modules are built for this kernel, if its headers are there.
    pub headers: Option<PathBuf>,
    /// Where its headers belong.
    pub headers_place: PathBuf,
    /// Modules on disk, that which modprobe takes first.
    pub modules: Vec<Module>,
    /// What famfs has mounted by the kernel.
    pub mounts: Vec<KernelMount>,
}

/// The running kernel's release.
#[must_use]
pub fn release() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

fn modules_of(release: &str) -> PathBuf {
    Path::new("/lib/modules").join(release)
}

fn headers_of(release: &str) -> PathBuf {
    modules_of(release).join("build")
}

/// How things stand.
#[must_use]
pub fn status() -> Status {
    let release = release();
    let headers_place = headers_of(&release);
    Status {
        loaded: loaded(),
        headers: Some(headers_place.clone()).filter(|place| build::has_headers(place)),
        headers_place,
        modules: on_disk(&release),
        mounts: mount::list().unwrap_or_default(),
        release,
    }
}

/// What is loaded, if it is.
#[must_use]
pub fn loaded() -> Option<Loaded> {
    let place = Path::new("/sys/module").join(NAME);
    let text = |file: &str| {
        let text = fs::read_to_string(place.join(file)).ok()?;
        Some(text.trim().to_owned())
    };
    place.exists().then(|| Loaded {
        version: text("version"),
        kabi: text("parameters/famfs_kabi_version").and_then(|text| text.parse().ok()),
    })
}

fn on_disk(release: &str) -> Vec<Module> {
    let top = modules_of(release);
    let files = PLACES.iter().flat_map(|place| {
        let folder = top.join(place);
        ENDS.map(|end| folder.join(format!("{NAME}.ko{end}")))
    });
    files
        .filter(|path| path.exists())
        .map(|path| {
            let vermagic = vermagic(&path);
            Module {
                is_for_this_kernel: vermagic.as_ref().map(|found| is_for(found, release)),
                vermagic,
                path,
            }
        })
        .collect()
}

/// What a module was built for, where that can be told.
#[must_use]
pub fn vermagic(module: &Path) -> Option<String> {
    let modinfo = tool::find("modinfo")?;
    let output = Command::new(modinfo)
        .args(["-F", "vermagic"])
        .arg(module)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn is_for(vermagic: &str, release: &str) -> bool {
    vermagic.split(' ').next() == Some(release)
}

/// Loads the module, this one or the one that modprobe finds; whether it wasn't loaded yet.
///
/// # Errors
/// [`KmodError::NoModule`], [`KmodError::Refused`], and [`KmodError::Interface`] where the module
/// that is loaded, now or already, speaks another version of the interface.
pub fn load(module: Option<&Path>) -> Result<bool, KmodError> {
    let is_new = loaded().is_none();
    if is_new {
        let found = match module {
            Some(path) => Some(path.to_owned()),
            None if probe()? => None,
            // It was built and no depmod told modprobe of it.
            None => Some(
                on_disk(&release())
                    .into_iter()
                    .map(|module| module.path)
                    .find(|path| path.extension().is_some_and(|end| end == "ko"))
                    .ok_or_else(|| KmodError::NoModule { release: release() })?,
            ),
        };
        if let Some(path) = found {
            insert(&path)?;
        }
    }
    let now = loaded();
    match now {
        Some(now) if now.is_ours() => Ok(is_new),
        now => {
            if is_new {
                // What was loaded just now is of no use to anybody.
                let _ = rustix::system::delete_module(&name(), NOT_WAITING);
            }
            Err(KmodError::Interface {
                found: now.and_then(|now| now.kabi),
            })
        }
    }
}

/// Has modprobe load it; whether it knows such a module.
fn probe() -> Result<bool, KmodError> {
    let Some(modprobe) = tool::find("modprobe") else {
        return Ok(false);
    };
    let known = Command::new(&modprobe)
        .args(["--dry-run", "--quiet", NAME])
        .output()
        .is_ok_and(|output| output.status.success());
    if !known {
        return Ok(false);
    }
    root("loading a module", "run it as root")?;
    let output = Command::new(&modprobe)
        .arg(NAME)
        .output()
        .map_err(KmodError::io(&modprobe, "run"))?;
    if output.status.success() {
        return Ok(true);
    }
    Err(KmodError::Failed {
        command: format!("modprobe {NAME}"),
        status: status_of(output.status),
        last: tool::last_lines(&output.stderr, 5),
        next: "`dmesg` may say why; `famfs kmod build` builds it for this kernel".into(),
    })
}

fn insert(path: &Path) -> Result<(), KmodError> {
    let file = File::open(path).map_err(KmodError::io(path, "open"))?;
    root("loading a module", "run it as root")?;
    rustix::system::finit_module(file, c"", 0).map_err(|errno| {
        let why = match errno {
            Errno::NOEXEC => match vermagic(path) {
                Some(found) if !is_for(&found, &release()) => format!(
                    "it was built for `{found}`, this kernel is {}; `famfs kmod build` builds it \
                     for this one",
                    release()
                ),
                _ => "it is no module for this kernel; `famfs kmod build` builds one, `dmesg` may \
                      say more"
                    .into(),
            },
            Errno::KEYREJECTED | Errno::NOKEY => "it is not signed with a key that the kernel \
                 trusts (secure boot): sign it with one that is enrolled (`mokutil --import`)"
                .into(),
            Errno::PERM | Errno::ACCESS => "this process may not load modules (CAP_SYS_MODULE), \
                 or the kernel is locked down: run it as root on the host itself"
                .into(),
            Errno::NOSYS => "this kernel loads no modules at all: boot one that does, or use the \
                 library way"
                .into(),
            Errno::EXIST => return KmodError::Usage("the module was loaded meanwhile".into()),
            errno => format!("{errno}; `dmesg` may say why"),
        };
        KmodError::Refused {
            path: path.to_owned(),
            why,
        }
    })
}

/// The kernel answers at once where the module is in use.
const NOT_WAITING: i32 = 0o4000;

fn name() -> CString {
    CString::from(c"famfs")
}

/// Unloads the module; whether it was loaded.
///
/// # Errors
/// [`KmodError::InUse`] while something is mounted; [`KmodError::NotRoot`].
pub fn unload() -> Result<bool, KmodError> {
    if loaded().is_none() {
        return Ok(false);
    }
    let mounts = mount::list().unwrap_or_default();
    if !mounts.is_empty() {
        let names = mounts.iter().map(|mount| {
            let (source, at) = (mount.source.display(), mount.mountpoint.display());
            format!("{source} is mounted on {at} (`famfs umount {at}`)")
        });
        return Err(KmodError::InUse {
            who: names.collect::<Vec<_>>().join(", "),
        });
    }
    match rustix::system::delete_module(&name(), NOT_WAITING) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(Errno::PERM | Errno::ACCESS) => Err(KmodError::NotRoot {
            what: "unloading a module",
            next: "run it as root",
        }),
        Err(Errno::AGAIN | Errno::BUSY) => Err(KmodError::InUse {
            who: "by a mount in another mount namespace, a container perhaps, or by a process \
                  that still has a file of it open; umount it there"
                .into(),
        }),
        Err(errno) => Err(KmodError::io(
            Path::new("/sys/module/famfs"),
            "unload the module",
        )(errno.into())),
    }
}

fn root(what: &'static str, next: &'static str) -> Result<(), KmodError> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(KmodError::NotRoot { what, next })
}

fn status_of(status: std::process::ExitStatus) -> String {
    status
        .code()
        .map_or_else(|| "a signal".into(), |code| code.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_for_one_kernel() {
        let magic = "6.12.95+deb12-amd64 SMP preempt mod_unload modversions ";
        assert!(is_for(magic, "6.12.95+deb12-amd64"));
        assert!(!is_for(magic, "6.12.95"));
        assert!(!is_for("", "6.12.95"));
    }

    #[test]
    fn what_is_no_module_has_no_magic() {
        assert_eq!(vermagic(Path::new("/etc/passwd")), None);
        assert_eq!(vermagic(Path::new("/no/such/file.ko")), None);
    }

    #[test]
    fn how_things_stand_can_always_be_told() {
        let status = status();
        assert!(!status.release.is_empty());
        assert!(status.headers_place.ends_with("build"));
        assert!(on_disk("no-such-release").is_empty());
    }
}
