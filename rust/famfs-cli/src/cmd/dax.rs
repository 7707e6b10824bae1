//! `dax`: who drives dax devices.

use std::path::Path;

use anyhow::Result;
use famfs::sys::dax::{self, Binding, Device, Driver};
use serde::Serialize;

use crate::args::{Dax, DaxBind, DaxDriver, DaxVerb, Listing};
use crate::output::{Output, show_host};
use crate::size::show;

/// A device, as it is listed.
#[derive(Debug, Serialize)]
pub(super) struct DeviceReport {
    name: String,
    path: String,
    size: u64,
    /// Where it begins in physical memory; not everybody may know.
    start: Option<u64>,
    numa_node: Option<i32>,
    target_node: Option<i32>,
    /// Major and minor of its node.
    device: Option<[u32; 2]>,
    driver: Option<String>,
    /// `no`, `offline` (the system was given it) or `online` (the system uses it).
    system_ram: &'static str,
    mountpoints: Vec<String>,
    /// Why no volume can be there, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl DeviceReport {
    fn new(device: &Device) -> Self {
        let refused = dax::usable(&device.path).map_err(famfs::Error::from).err();
        Self {
            name: device.name.clone(),
            path: show_host(&device.path),
            size: device.size,
            start: device.start,
            numa_node: device.numa_node,
            target_node: device.target_node,
            device: device.number.map(|(major, minor)| [major, minor]),
            driver: device
                .driver
                .as_ref()
                .map(|driver| driver.name().to_owned()),
            system_ram: device.system_ram.name(),
            mountpoints: device.mounted.iter().map(|at| show_host(at)).collect(),
            error: refused.map(|error| error.to_string()),
        }
    }

    /// What a line of a table says.
    fn row(&self) -> Vec<String> {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        vec![
            self.path.clone(),
            show(self.size),
            or_none(self.driver.clone()),
            self.system_ram.to_owned(),
            or_none(self.target_node.map(|node| node.to_string())),
            or_none(self.start.map(|start| format!("{start:#x}"))),
            or_none(Some(self.mountpoints.join(" ")).filter(|all| !all.is_empty())),
        ]
    }
}

/// All devices.
pub(super) fn reports() -> Result<Vec<DeviceReport>> {
    let devices = dax::list().map_err(famfs::Error::from)?;
    Ok(devices.iter().map(DeviceReport::new).collect())
}

/// Prints devices as a table, and tells of those that can't be used.
pub(super) fn table(reports: &[DeviceReport], output: &mut Output) -> Result<()> {
    let head = [
        "DEVICE",
        "SIZE",
        "DRIVER",
        "SYSTEM RAM",
        "NODE",
        "START",
        "MOUNTPOINT",
    ];
    output.table(
        &head,
        &[1, 4],
        reports.iter().map(DeviceReport::row).collect(),
    )?;
    for error in reports.iter().filter_map(|report| report.error.as_ref()) {
        crate::complain(&format!("famfs: warning: {error}"));
    }
    Ok(())
}

/// Lists devices, or lets a driver have one.
pub(super) fn run(args: Dax, output: &mut Output) -> Result<i32> {
    match args.verb {
        DaxVerb::List(args) => list(args, output),
        DaxVerb::Bind(args) => bind(&args, output),
        DaxVerb::Unbind { device } => unbind(&device, output),
    }
}

fn list(args: Listing, output: &mut Output) -> Result<i32> {
    let reports = reports()?;
    if args.json {
        output.json(&reports)?;
        return Ok(0);
    }
    if reports.is_empty() {
        crate::complain(
            "famfs: no dax devices on this host; `famfs mount --embedded MNT` makes a volume in its \
             memory",
        );
        return Ok(0);
    }
    table(&reports, output)?;
    Ok(0)
}

fn bind(args: &DaxBind, output: &mut Output) -> Result<i32> {
    let driver = match args.driver {
        DaxDriver::FsdevDax => Driver::FsdevDax,
        DaxDriver::DeviceDax => Driver::DeviceDax,
    };
    let binding = famfs::dax::bind(&args.device, Some(&driver))?;
    tell(binding, &format!("bound to {driver}"), output)
}

fn unbind(device: &Path, output: &mut Output) -> Result<i32> {
    let binding = famfs::dax::bind(device, None)?;
    tell(binding, "bound to no driver", output)
}

fn tell(binding: Binding, now: &str, output: &mut Output) -> Result<i32> {
    let path = show_host(binding.path());
    let is_changed = binding.is_changed();
    let before = binding.previous().cloned();
    binding.keep();
    output.line(if is_changed {
        let before = before.map_or_else(|| "no driver".to_owned(), |driver| driver.to_string());
        format!("{path}: {now}; it was bound to {before}")
    } else {
        format!("{path}: {now} already")
    })?;
    Ok(0)
}
