//! `cp`: what is copied where.
//!
//! Owns the walk over directories and what one failure of several means. Each file is copied whole
//! or not at all ([`super::copy`]).

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use famfs::{Error, Stat, Volume, mounts};
use serde::Serialize;

use super::Made;
use super::copy::{Manner, Source, extract, publish};
use super::names::rel_path;
use crate::args::Cp;
use crate::error;
use crate::output::Output;
use crate::progress::Progress;

/// Threads that help a copy by default.
const THREADS: usize = 8;

/// Where something is, or is to be.
#[derive(Clone, Debug)]
enum Place {
    /// In a volume, at this path of it.
    Inside { volume: Volume, path: Vec<u8> },
    /// Anywhere else.
    Outside,
}

/// A place with the path that a user would write.
#[derive(Clone, Debug)]
struct Spot {
    place: Place,
    shown: PathBuf,
}

impl Spot {
    fn new(path: &Path) -> Result<Self> {
        let place = match mounts::resolve(path) {
            Ok(resolved) => Place::Inside {
                volume: resolved.volume()?,
                path: resolved.path,
            },
            Err(Error::NotMounted { .. }) => Place::Outside,
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            place,
            shown: path.to_owned(),
        })
    }

    fn is_inside(&self) -> bool {
        matches!(self.place, Place::Inside { .. })
    }

    fn is_dir(&self) -> bool {
        match &self.place {
            Place::Inside { volume, path } => volume.stat(path).is_ok_and(|stat| stat.is_dir()),
            Place::Outside => self.shown.is_dir(),
        }
    }

    fn join(&self, name: &OsStr) -> Self {
        let place = match &self.place {
            Place::Inside { volume, path } => {
                let mut path = path.clone();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(name.as_bytes());
                Place::Inside {
                    volume: volume.clone(),
                    path,
                }
            }
            Place::Outside => Place::Outside,
        };
        Self {
            place,
            shown: self.shown.join(name),
        }
    }

    /// The last part of its path; of `..` or a mount point, that of the real directory.
    fn name(&self) -> Result<std::ffi::OsString> {
        let real = || fs::canonicalize(&self.shown).ok();
        self.shown
            .file_name()
            .map(OsStr::to_owned)
            .or_else(|| Some(real()?.file_name()?.to_owned()))
            .ok_or_else(|| {
                error::Error::Usage(format!("{}: has no name to copy to", self.shown.display()))
                    .into()
            })
    }
}

/// One thing to do.
#[derive(Debug)]
enum Step {
    MakeDirectory(Spot),
    Copy {
        from: Spot,
        /// Of a file in a volume.
        stat: Option<Box<Stat>>,
        to: Spot,
    },
}

#[derive(Debug, Default)]
struct Plan {
    steps: Vec<Step>,
    bytes: u64,
    /// What can't be copied: told, and counted.
    refused: usize,
}

#[derive(Debug, Default, Serialize)]
struct Copied {
    files: usize,
    directories: usize,
    bytes: u64,
    failed: usize,
}

pub(super) fn run(args: &Cp, output: &mut Output) -> Result<i32> {
    let target = Spot::new(&args.target)?;
    let target_is_dir = target.is_dir();
    if args.sources.len() > 1 && !target_is_dir {
        return Err(error::Error::Usage(format!(
            "{}: several sources are copied into a directory, which must be there; make it with \
             `famfs mkdir`",
            args.target.display()
        ))
        .into());
    }
    let mut plan = Plan::default();
    for path in &args.sources {
        let from = Spot::new(path)?;
        if !from.is_inside() && !target.is_inside() {
            let path = args.target.display().to_string();
            return Err(Error::NotMounted { path }.into());
        }
        let to = if target_is_dir {
            target.join(&from.name()?)
        } else {
            target.clone()
        };
        match plan.add(&from, to, args.recursive) {
            Err(error) if args.sources.len() == 1 => return Err(error),
            Err(error) => {
                super::complain(&error);
                plan.refused += 1;
            }
            Ok(()) => {}
        }
    }
    carry_out(&plan, args, output)
}

impl Plan {
    fn add(&mut self, from: &Spot, to: Spot, recursive: bool) -> Result<()> {
        match &from.place {
            Place::Inside { volume, path } => {
                let stat = volume
                    .stat(path)
                    .map_err(|error| error.about(&from.shown))?;
                if !stat.is_dir() {
                    self.copy_inside(from, stat, to);
                    return Ok(());
                }
                check_recursive(from, recursive)?;
                self.add_tree(from, volume, path, &to);
                Ok(())
            }
            Place::Outside => {
                let metadata = fs::metadata(&from.shown)
                    .with_context(|| format!("{}: examine", from.shown.display()))?;
                if metadata.is_dir() {
                    check_recursive(from, recursive)?;
                    return self.add_directory(from, &to);
                }
                if !metadata.is_file() {
                    return Err(Error::Unsupported {
                        what: from.shown.display().to_string(),
                        why: "is neither a file nor a directory, so it has no size to reserve; \
                              write it to a file first"
                            .into(),
                    }
                    .into());
                }
                self.bytes += metadata.len();
                self.steps.push(Step::Copy {
                    from: from.clone(),
                    stat: None,
                    to,
                });
                Ok(())
            }
        }
    }

    fn copy_inside(&mut self, from: &Spot, stat: Stat, to: Spot) {
        self.bytes += stat.size.0;
        self.steps.push(Step::Copy {
            from: from.clone(),
            stat: Some(Box::new(stat)),
            to,
        });
    }

    /// A directory of the host. What in it can't be copied is told, and does not end it.
    fn add_directory(&mut self, from: &Spot, to: &Spot) -> Result<()> {
        let read =
            || -> std::io::Result<Vec<fs::DirEntry>> { fs::read_dir(&from.shown)?.collect() };
        let mut entries = read().with_context(|| format!("{}: list", from.shown.display()))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        self.steps.push(Step::MakeDirectory(to.clone()));
        for entry in entries {
            let name = entry.file_name();
            let (from, to) = (from.join(&name), to.join(&name));
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            let added = if is_link && from.shown.is_dir() {
                Err(Error::Unsupported {
                    what: from.shown.display().to_string(),
                    why: "is a symbolic link to a directory, which is not followed; name the \
                          directory itself"
                        .into(),
                }
                .into())
            } else {
                self.add(&from, to, true)
            };
            if let Err(error) = added {
                super::complain(&error);
                self.refused += 1;
            }
        }
        Ok(())
    }

    /// A directory of a volume, as it is now.
    fn add_tree(&mut self, from: &Spot, volume: &Volume, path: &[u8], to: &Spot) {
        self.steps.push(Step::MakeDirectory(to.clone()));
        let mut prefix = path.to_vec();
        if !prefix.is_empty() {
            prefix.push(b'/');
        }
        // In the order of the log a directory comes before what is in it.
        for stat in volume.list_all() {
            let Some(rest) = stat.path.strip_prefix(&prefix[..]) else {
                continue;
            };
            let rest = OsStr::from_bytes(rest);
            let (from, to) = (from.join(rest), to.join(rest));
            if stat.is_dir() {
                self.steps.push(Step::MakeDirectory(to));
            } else {
                self.copy_inside(&from, stat, to);
            }
        }
    }
}

fn check_recursive(from: &Spot, recursive: bool) -> Result<()> {
    if recursive {
        return Ok(());
    }
    let path = from.shown.display().to_string();
    let is_dir = anyhow::Error::from(Error::IsADirectory { path });
    Err(is_dir.context("with -r directories are copied"))
}

fn carry_out(plan: &Plan, args: &Cp, output: &mut Output) -> Result<i32> {
    let progress = Progress::new(plan.bytes, args.quiet || args.json);
    let manner = Manner {
        threads: args.threads.map_or_else(default_threads, usize::from),
        ownership: args.ownership,
        layout: args.interleave.layout(),
        force: args.force,
        progress: &progress,
    };
    let mut copied = Copied {
        failed: plan.refused,
        ..Copied::default()
    };
    let total = plan.steps.len() + plan.refused;
    for step in &plan.steps {
        match step.carry_out(&manner) {
            Ok(()) => copied.count(step),
            Err(error) if total == 1 => return Err(error),
            Err(error) => {
                progress.complain(&format!("famfs: {}", error::tell(&error)));
                copied.failed += 1;
            }
        }
    }
    drop(progress);
    if args.json {
        output.json(&copied)?;
    }
    if copied.failed > 0 {
        return Err(error::Error::Some {
            failed: copied.failed,
            total,
            done: "copied",
        }
        .into());
    }
    Ok(0)
}

fn default_threads() -> usize {
    famfs::mem::default_threads().clamp(1, THREADS)
}

impl Copied {
    fn count(&mut self, step: &Step) {
        match step {
            Step::MakeDirectory(_) => self.directories += 1,
            Step::Copy { from, stat, .. } => {
                self.files += 1;
                self.bytes += match stat {
                    Some(stat) => stat.size.0,
                    // It had this size when it was copied, or it would not have been.
                    None => fs::metadata(&from.shown).map_or(0, |metadata| metadata.len()),
                };
            }
        }
    }
}

impl Step {
    fn carry_out(&self, manner: &Manner<'_>) -> Result<()> {
        match self {
            Self::MakeDirectory(spot) => make_directory(spot, manner),
            Self::Copy { from, stat, to } => {
                manner.progress.name(&from.shown.display().to_string());
                let source = match (&from.place, stat) {
                    (Place::Inside { volume, .. }, Some(stat)) => Source::inside(volume, stat)?,
                    _ => Source::outside(&from.shown)?,
                };
                match &to.place {
                    Place::Inside { volume, path } => {
                        let path = rel_path(path, &to.shown)?;
                        publish(&source, volume, path, &to.shown, manner)
                    }
                    Place::Outside => extract(&source, &to.shown, manner),
                }
            }
        }
    }
}

/// Makes a directory, unless it is there.
fn make_directory(spot: &Spot, manner: &Manner<'_>) -> Result<()> {
    if spot.is_dir() {
        return Ok(());
    }
    match &spot.place {
        Place::Inside { volume, path } => {
            let path = rel_path(path, &spot.shown)?;
            let mut ownership = manner.ownership;
            // A file's mode would make a directory that can't be entered.
            ownership.mode = None;
            let made = volume.mkdir(path, ownership.owner(Made::Directory));
            made.map_err(|error| error.about(&spot.shown))?;
            Ok(())
        }
        Place::Outside => fs::create_dir(&spot.shown)
            .with_context(|| format!("{}: make the directory", spot.shown.display())),
    }
}
