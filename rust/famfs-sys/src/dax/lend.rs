//! Devices that a mount has borrowed from another driver, and that go back when it is gone.
//!
//! Owns the record of who drove each before: a file below /run, which goes when the host starts
//! anew, as bindings do.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::bind::{Control, System, change};
use super::{Binding, DaxError, Driver, Tree};
use crate::mount::{self, KernelMount};

/// What is written where nobody drove a device.
const NOBODY: &str = "none";

impl Tree {
    fn record(&self, name: &str) -> PathBuf {
        self.run.join("famfs/dax").join(name)
    }
}

impl Binding {
    /// Leaves the device as it is for as long as a mount needs it: [`give_back`] puts back what
    /// was, in whichever process.
    ///
    /// # Errors
    /// Where that can't be written down; then what was is put back at once.
    pub fn keep_for_mount(self) -> Result<(), DaxError> {
        if self.is_changed() {
            let record = self.tree().record(self.name());
            let folder = record.parent().unwrap_or(&record);
            let previous = self.previous().map_or(NOBODY, Driver::name);
            fs::create_dir_all(folder)
                .and_then(|()| fs::write(&record, previous))
                .map_err(DaxError::io(&record, "write down who drove the device"))?;
        }
        self.keep();
        Ok(())
    }
}

/// Puts back who drove a device before a mount borrowed it; whether there was anything to put back.
/// A device that is still mounted stays as it is, and so does one that somebody has bound to
/// another driver since.
///
/// # Errors
/// As [`bind`](super::bind()); what was is still written down then.
pub fn give_back(device: &Path) -> Result<bool, DaxError> {
    let mounts = mount::list().unwrap_or_default();
    put_back(&Tree::real(), Rc::new(System), device, &mounts)
}

pub(super) fn put_back(
    tree: &Tree,
    control: Rc<dyn Control>,
    device: &Path,
    mounts: &[KernelMount],
) -> Result<bool, DaxError> {
    let Ok(device) = tree.find(device, mounts) else {
        // What is no dax device, or went away, nobody borrowed.
        return Ok(false);
    };
    let record = tree.record(&device.name);
    let previous = match fs::read_to_string(&record) {
        Ok(previous) => previous,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(DaxError::io(&record, "read who drove the device")(error)),
    };
    if !device.mounted.is_empty() {
        return Ok(false);
    }
    let is_borrowed = device.driver == Some(Driver::FsdevDax);
    if is_borrowed {
        let previous = Some(previous.trim())
            .filter(|name| *name != NOBODY)
            .map(Driver::from);
        let name = Path::new(&device.name);
        change(tree.clone(), control, name, previous.as_ref(), mounts)?.keep();
    }
    fs::remove_file(&record).map_err(DaxError::io(&record, "remove"))?;
    Ok(is_borrowed)
}
