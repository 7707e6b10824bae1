//! Who drives a dax device, with regard to what is mounted in any way.

use std::path::Path;

use famfs_sys::dax::{self, Binding, Driver};

use crate::error::{Error, Result};
use crate::mounts;

/// Lets `driver` drive a device (nobody, where it is `None`): see [`famfs_sys::dax::bind`].
///
/// # Errors
/// [`Error::Busy`] for a device that is mounted in any way, that a process has open, or whose
/// memory is the system's RAM; [`Error::Unsupported`] for a driver that the kernel lacks.
pub fn bind(device: &Path, driver: Option<&Driver>) -> Result<Binding> {
    let found = dax::find(device)?;
    if found.driver.as_ref() != driver {
        refuse_library_mounts(&found.path)?;
    }
    Ok(match driver {
        Some(driver) => dax::bind(&found.path, driver)?,
        None => dax::unbind(&found.path)?,
    })
}

/// A library mount is a line in a table, which nobody has open.
fn refuse_library_mounts(device: &Path) -> Result<()> {
    // Where the table can't be read, no volume of it can be opened either.
    let mounts = mounts::list().unwrap_or_default();
    let Some(mount) = mounts
        .into_iter()
        .find(|mount| !mount.kernel && mount.source == device)
    else {
        return Ok(());
    };
    Err(Error::Busy {
        path: device.to_owned(),
        holders: format!(
            "it is mounted on {0} in the library way; `famfs umount {0}` first",
            mount.mountpoint.display()
        ),
    })
}
