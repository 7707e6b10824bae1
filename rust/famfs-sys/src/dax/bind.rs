//! Changing who drives a device, so that what was is put back where the change fails.
//!
//! Owns the order of the writes to `/sys/bus/dax/drivers`. All of them, and what they wait for, go
//! through [`Control`]: a test plays the kernel.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;

use super::{DaxError, Device, Driver, Tree, refuse_ram};
use crate::holders;
use crate::mount;
use crate::signals::{self, Held};
use crate::tool;

/// How often is looked whether the kernel has done what it was told.
const LOOK: Duration = Duration::from_millis(10);

/// How many looks there are: five seconds.
const LOOKS: u32 = 500;

/// What is done to the system.
pub(super) trait Control: fmt::Debug {
    /// Writes a word into a file of the kernel's.
    fn write(&self, path: &Path, word: &str) -> io::Result<()>;

    /// Loads a driver's module.
    ///
    /// # Errors
    /// What is told of it.
    fn load(&self, module: &str) -> Result<(), String>;

    /// Who else has a device open or mapped, where that can be told.
    fn holders(&self, device: &Device) -> Option<String>;

    /// Waits until it is time to look again; whether the user wants an end.
    fn wait(&self) -> bool;
}

/// The running system.
#[derive(Debug)]
pub(super) struct System;

impl Control for System {
    fn write(&self, path: &Path, word: &str) -> io::Result<()> {
        fs::write(path, word)
    }

    fn load(&self, module: &str) -> Result<(), String> {
        let modprobe = tool::find("modprobe").ok_or("there is no modprobe (package kmod)")?;
        let output = Command::new(modprobe).arg(module).output();
        match output {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(tool::last_lines(&output.stderr, 1)),
            Err(error) => Err(format!("modprobe: {error}")),
        }
    }

    fn holders(&self, device: &Device) -> Option<String> {
        holders::named(&holders::of_device(&device.path))
    }

    fn wait(&self) -> bool {
        std::thread::sleep(LOOK);
        signals::is_one_waiting()
    }
}

/// A device that is driven as was asked, and who drove it before.
///
/// Dropped, it puts that back; [`Binding::keep`] leaves the device as it is now. Signals that would
/// end the program wait in this thread as long as this lives, so that they end it after either.
#[derive(Debug)]
pub struct Binding {
    switch: Switch,
    /// Whether there is anything to put back.
    changed: bool,
    _held: Held,
}

impl Binding {
    /// The device's node.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.switch.device.path
    }

    /// Who drove it before.
    #[must_use]
    pub fn previous(&self) -> Option<&Driver> {
        self.switch.device.driver.as_ref()
    }

    /// Whether it was driven otherwise before.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    pub(super) fn name(&self) -> &str {
        &self.switch.device.name
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.switch.tree
    }

    /// Whether a signal that would end the program waits: who works long between binding and
    /// [`keep`](Self::keep) asks, gives up, and drops this.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        signals::is_one_waiting()
    }

    /// Leaves the device as it is now.
    pub fn keep(mut self) {
        self.changed = false;
    }

    /// Puts back who drove it before.
    ///
    /// # Errors
    /// Where that fails; the device is then driven by whoever the kernel left it to.
    pub fn restore(mut self) -> Result<(), DaxError> {
        self.put_back()
    }

    fn put_back(&mut self) -> Result<(), DaxError> {
        if std::mem::take(&mut self.changed) {
            self.switch.back()?;
        }
        Ok(())
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        // Who wants to know calls `restore`.
        let _ = self.put_back();
    }
}

/// Lets `driver` drive a device, its node or its name. Its module is loaded where the kernel has
/// it and it isn't loaded yet.
///
/// # Errors
/// [`DaxError::SystemRam`] and [`DaxError::InUse`] before anything is changed, also
/// [`DaxError::NoDriver`]. Where the change itself fails, who drove it before does so again, or the
/// error is [`DaxError::NotRestored`].
pub fn bind(device: &Path, driver: &Driver) -> Result<Binding, DaxError> {
    let mounts = mount::list().unwrap_or_default();
    change(Tree::real(), Rc::new(System), device, Some(driver), &mounts)
}

/// Lets nobody drive a device.
///
/// # Errors
/// As [`bind`].
pub fn unbind(device: &Path) -> Result<Binding, DaxError> {
    let mounts = mount::list().unwrap_or_default();
    change(Tree::real(), Rc::new(System), device, None, &mounts)
}

pub(super) fn change(
    tree: Tree,
    control: Rc<dyn Control>,
    device: &Path,
    driver: Option<&Driver>,
    mounts: &[mount::KernelMount],
) -> Result<Binding, DaxError> {
    let device = tree.find(device, mounts)?;
    refuse_ram(&device)?;
    let is_so = device.driver.as_ref() == driver;
    let mut switch = Switch {
        tree,
        control,
        device,
        to: driver.cloned(),
        listed: false,
    };
    if !is_so {
        switch.refuse_use()?;
        switch.need_driver()?;
    }
    // From here on until the end, or until all is as it was.
    let held = Held::new();
    if !is_so && let Err(first) = switch.forth() {
        let Err(second) = switch.back() else {
            return Err(first);
        };
        return Err(match switch.device.driver {
            None => first,
            Some(previous) => DaxError::NotRestored {
                name: switch.device.name,
                previous,
                first: Box::new(first),
                second: Box::new(second),
            },
        });
    }
    Ok(Binding {
        switch,
        changed: !is_so,
        _held: held,
    })
}

/// A change of who drives a device, to be done or undone.
#[derive(Debug)]
struct Switch {
    tree: Tree,
    control: Rc<dyn Control>,
    /// As it was before.
    device: Device,
    to: Option<Driver>,
    /// Whether the new driver was told that the device is for it.
    listed: bool,
}

impl Switch {
    fn refuse_use(&self) -> Result<(), DaxError> {
        let device = &self.device;
        let who = if let Some(mountpoint) = device.mounted.first() {
            format!(
                "famfs has it mounted on {0}; `famfs umount {0}` first",
                mountpoint.display()
            )
        } else if self.tree.sys.join("fs/famfs").join(&device.name).exists() {
            "famfs has it mounted in another mount namespace, a container perhaps; umount it there"
                .into()
        } else if let Some(holders) = self.control.holders(device) {
            format!("{holders} has it open or mapped; end it first")
        } else {
            return Ok(());
        };
        Err(DaxError::InUse {
            path: device.path.clone(),
            who,
        })
    }

    fn need_driver(&self) -> Result<(), DaxError> {
        let Some(driver) = &self.to else {
            return Ok(());
        };
        if *driver == Driver::Kmem {
            return Err(DaxError::WrongDriver {
                path: self.device.path.clone(),
                why: "kmem makes its memory the system's RAM, and famfs could never use it again \
                      before that is undone; `daxctl reconfigure-device --mode=system-ram` does it"
                    .into(),
            });
        }
        let place = self.place(driver);
        if place.exists() {
            return Ok(());
        }
        let why = match self.control.load(driver.name()) {
            Ok(()) if place.exists() => return Ok(()),
            Ok(()) => "its module is loaded, and there is no driver of that name".into(),
            Err(why) => why,
        };
        let next = if *driver == Driver::FsdevDax {
            "it is there from Linux 7.0 on; before, use the library way, or `famfs mount \
             --kernel --range START+SIZE`"
        } else {
            "the kernel's module of that name is needed"
        };
        Err(DaxError::NoDriver {
            path: self.device.path.clone(),
            driver: driver.clone(),
            why: format!("{why}; {next}"),
        })
    }

    fn place(&self, driver: &Driver) -> PathBuf {
        self.tree.drivers().join(driver.name())
    }

    /// Does it.
    fn forth(&mut self) -> Result<(), DaxError> {
        if let Some(from) = &self.device.driver {
            self.leave(from)?;
        }
        if let Some(to) = self.to.clone() {
            self.listed = self.enter(&to)?;
            self.wait_for(&to)?;
        }
        Ok(())
    }

    /// Undoes it, from wherever it got to.
    fn back(&mut self) -> Result<(), DaxError> {
        let previous = self.device.driver.clone();
        let now = self.tree.driver(&self.device.name);
        if let Some(now) = &now
            && now_is_other(now, previous.as_ref())
        {
            self.leave(now)?;
        }
        if self.listed
            && let Some(to) = &self.to
        {
            // A driver that keeps the name on its list takes the device when it next appears.
            let _ = self.write(to, "remove_id");
            self.listed = false;
        }
        if let Some(previous) = previous {
            if now.as_ref() != Some(&previous) {
                self.enter(&previous)?;
            }
            // The kernel has bound it when it answers; its node comes by itself.
            if !self.is_with(&previous) {
                return Err(self.failed(ErrorKind::Other, "it was accepted, and had no effect"));
            }
        }
        Ok(())
    }

    fn leave(&self, driver: &Driver) -> Result<(), DaxError> {
        self.write(driver, "unbind")
            .map_err(DaxError::io(&self.device.path, "unbind from its driver"))
    }

    /// Lets a driver have the device; whether it had to be told that the device is for it.
    fn enter(&self, driver: &Driver) -> Result<bool, DaxError> {
        // A driver that was loaded just now may have taken it by itself.
        if self.is_with(driver) {
            return Ok(false);
        }
        match self.write(driver, "bind") {
            Ok(()) => Ok(false),
            // A driver takes what is on its list. Being put there, the device is also taken.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NODEV) => {
                self.write(driver, "new_id")
                    .map_err(DaxError::io(&self.device.path, "bind to the driver"))?;
                Ok(true)
            }
            Err(error) => Err(DaxError::io(&self.device.path, "bind to the driver")(error)),
        }
    }

    fn write(&self, driver: &Driver, file: &str) -> io::Result<()> {
        self.control
            .write(&self.place(driver).join(file), &self.device.name)
    }

    /// Waits until the driver has the device and the node is there; an end that the user wants comes
    /// before that.
    fn wait_for(&self, driver: &Driver) -> Result<(), DaxError> {
        for _ in 0..LOOKS {
            let is_there = self.is_with(driver) && fs::metadata(&self.device.path).is_ok();
            // Looked at last: what was asked for is undone also where it had just been done.
            if self.control.wait() {
                return Err(self.failed(ErrorKind::Interrupted, "a signal asked for an end"));
            }
            if is_there {
                return Ok(());
            }
        }
        Err(self.failed(
            ErrorKind::TimedOut,
            "the driver did not make its node in five seconds (`dmesg` may say why)",
        ))
    }

    fn is_with(&self, driver: &Driver) -> bool {
        self.tree.driver(&self.device.name).as_ref() == Some(driver)
    }

    fn failed(&self, kind: ErrorKind, why: &str) -> DaxError {
        let error = io::Error::new(kind, why.to_owned());
        DaxError::io(&self.device.path, "bind to the driver")(error)
    }
}

fn now_is_other(now: &Driver, previous: Option<&Driver>) -> bool {
    Some(now) != previous
}
