//! `kmod`: the kernel module.

use anyhow::Result;
use famfs::Error;
use famfs::sys::abi::KABI_VERSION;
use famfs::sys::kmod::{self, Request, Target};
use serde::Serialize;

use super::dax::{self, DeviceReport};
use crate::args::{Kmod, KmodBuild, KmodLoad, KmodVerb, Listing};
use crate::output::{Output, show_host};
use crate::progress::Spinner;

/// Builds, loads or unloads the module, or says how things stand with it.
pub(super) fn run(args: Kmod, output: &mut Output) -> Result<i32> {
    match args.verb {
        KmodVerb::Build(args) => build(args, output),
        KmodVerb::Load(args) => load(&args, output),
        KmodVerb::Status(args) => status(args, output),
        KmodVerb::Unload => unload(output),
    }
}

#[derive(Debug, Serialize)]
struct BuiltReport {
    path: String,
    kernel: String,
    version: &'static str,
    installed: bool,
    dkms: bool,
}

fn build(args: KmodBuild, output: &mut Output) -> Result<i32> {
    let target = match (args.output, args.dkms) {
        (None, false) => Target::System,
        (None, true) => Target::Dkms,
        (Some(folder), false) => Target::Folder(folder),
        (Some(folder), true) => Target::DkmsTree(folder),
    };
    let request = Request {
        release: args.kernel,
        headers: args.headers,
        target,
    };
    let spinner = Spinner::new("building famfs.ko", args.quiet || args.json);
    let built = kmod::build(&request, &mut |line| spinner.say(line)).map_err(Error::from)?;
    drop(spinner);
    let report = BuiltReport {
        path: show_host(&built.path),
        kernel: built.release,
        version: kmod::VERSION,
        installed: built.installed,
        dkms: args.dkms,
    };
    if args.json {
        output.json(&report)?;
        return Ok(0);
    }
    let (path, kernel) = (&report.path, &report.kernel);
    output.line(match (report.installed, report.dkms) {
        (true, false) => format!("{path}: built and installed for kernel {kernel}"),
        (true, true) => {
            format!("{path}: handed to DKMS, built and installed for kernel {kernel}")
        }
        (false, false) => format!("{path}: built for kernel {kernel}"),
        (false, true) => format!("{path}: the sources, as DKMS takes them"),
    })?;
    output.line(match (report.installed, report.dkms) {
        (true, _) => "load it with `famfs kmod load`".to_owned(),
        (false, false) => format!("load it with `famfs kmod load --module {path}`"),
        (false, true) => format!(
            "put it into /usr/src, then `dkms install famfs/{}`",
            kmod::VERSION
        ),
    })?;
    Ok(0)
}

fn load(args: &KmodLoad, output: &mut Output) -> Result<i32> {
    let is_new = kmod::load(args.module.as_deref()).map_err(Error::from)?;
    let version = kmod::loaded()
        .and_then(|loaded| loaded.version)
        .unwrap_or_default();
    output.line(format_args!(
        "famfs {version} {}, interface {KABI_VERSION}",
        if is_new {
            "loaded"
        } else {
            "was loaded already"
        }
    ))?;
    Ok(0)
}

fn unload(output: &mut Output) -> Result<i32> {
    let was_loaded = kmod::unload().map_err(Error::from)?;
    output.line(if was_loaded {
        "famfs unloaded"
    } else {
        "famfs was not loaded"
    })?;
    Ok(0)
}

#[derive(Debug, Serialize)]
struct StatusReport {
    kernel: String,
    loaded: bool,
    /// Of the module that is loaded.
    version: Option<String>,
    /// Its version of the interface, and ours.
    kabi: Option<u32>,
    kabi_expected: u32,
    headers: HeadersReport,
    modules: Vec<ModuleReport>,
    mounts: Vec<KernelMountReport>,
    dax: Vec<DeviceReport>,
    next: &'static str,
}

#[derive(Debug, Serialize)]
struct HeadersReport {
    path: String,
    present: bool,
}

#[derive(Debug, Serialize)]
struct ModuleReport {
    path: String,
    vermagic: Option<String>,
    for_this_kernel: Option<bool>,
}

#[derive(Debug, Serialize)]
struct KernelMountReport {
    source: String,
    mountpoint: String,
}

impl StatusReport {
    fn new(status: &kmod::Status) -> Result<Self> {
        let modules = status.modules.iter().map(|module| ModuleReport {
            path: show_host(&module.path),
            vermagic: module.vermagic.clone(),
            for_this_kernel: module.is_for_this_kernel,
        });
        let mounts = status.mounts.iter().map(|mount| KernelMountReport {
            source: show_host(&mount.source),
            mountpoint: show_host(&mount.mountpoint),
        });
        Ok(Self {
            kernel: status.release.clone(),
            loaded: status.loaded.is_some(),
            version: status
                .loaded
                .as_ref()
                .and_then(|loaded| loaded.version.clone()),
            kabi: status.loaded.as_ref().and_then(|loaded| loaded.kabi),
            kabi_expected: KABI_VERSION,
            headers: HeadersReport {
                path: show_host(&status.headers_place),
                present: status.headers.is_some(),
            },
            modules: modules.collect(),
            mounts: mounts.collect(),
            dax: dax::reports()?,
            next: next(status),
        })
    }

    fn lines(&self) -> Vec<String> {
        let interface = self
            .kabi
            .map_or_else(|| "none".to_owned(), |kabi| kabi.to_string());
        let state = if self.loaded {
            let version = self.version.as_deref().unwrap_or("of unknown version");
            format!("famfs {version} is loaded, interface {interface} of {KABI_VERSION}")
        } else {
            "famfs is not loaded".into()
        };
        let mut lines = vec![
            format!("kernel     {}", self.kernel),
            format!("module     {state}"),
            format!(
                "headers    {}: {}",
                self.headers.path,
                if self.headers.present {
                    "there"
                } else {
                    "not there"
                }
            ),
        ];
        for module in &self.modules {
            let made_for = module.vermagic.as_deref().unwrap_or("an unknown kernel");
            lines.push(format!("on disk    {}: for {made_for}", module.path));
        }
        for mount in &self.mounts {
            lines.push(format!(
                "mounted    {} on {}",
                mount.source, mount.mountpoint
            ));
        }
        lines
    }
}

/// What to do for a kernel mount, as things are.
fn next(status: &kmod::Status) -> &'static str {
    let fits = |module: &kmod::Module| module.is_for_this_kernel != Some(false);
    match &status.loaded {
        Some(loaded) if loaded.is_ours() => "`famfs mount --kernel DEV MNT` mounts",
        Some(_) => "`famfs kmod unload`, then `famfs kmod build` and `famfs kmod load`",
        None if status.modules.iter().any(fits) => "`famfs kmod load` loads it",
        None if status.headers.is_some() => "`famfs kmod build` builds it",
        None => "install the headers of this kernel, then `famfs kmod build`",
    }
}

fn status(args: Listing, output: &mut Output) -> Result<i32> {
    let report = StatusReport::new(&kmod::status())?;
    if args.json {
        output.json(&report)?;
        return Ok(0);
    }
    for line in report.lines() {
        output.line(line)?;
    }
    output.line(format_args!("next       {}", report.next))?;
    if !report.dax.is_empty() {
        output.line("")?;
        dax::table(&report.dax, output)?;
    }
    Ok(0)
}
