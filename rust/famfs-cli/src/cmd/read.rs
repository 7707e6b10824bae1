//! `cat`, `verify` and `chkread`: what reads the bytes of files.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use famfs::{Portion, TwoWays};

use super::content::{self, buffer, first_difference, pieces};
use super::creat::split_last;
use super::{mount_at, named};
use crate::args::{Cat, Chkread, Verify};
use crate::error::Error;
use crate::output::Output;
use crate::progress::Progress;

/// Prints files.
pub(super) fn cat(args: &Cat, output: &mut Output) -> Result<i32> {
    for path in &args.paths {
        let named = named(path)?;
        let file = named.file()?;
        let view = named.volume.view(&file)?;
        let mut buffer = buffer(file.size.0);
        for (at, len) in pieces(file.size.0) {
            let piece = &mut buffer[..len];
            content::read(&named.volume, &view, at, piece)?;
            output.bytes(piece)?;
        }
    }
    Ok(0)
}

/// Compares files with seeded content.
pub(super) fn verify(args: Verify, output: &mut Output) -> Result<i32> {
    let one = args.filename.into_iter().zip(args.seed);
    let mut wanted: Vec<(PathBuf, u32)> = one.collect();
    for text in &args.multi {
        wanted.push(parse_multi(text)?);
    }
    let mut failed = 0;
    for (path, seed) in &wanted {
        match verify_one(path, *seed) {
            Ok(bytes) if !args.quiet => {
                output.line(format_args!(
                    "{}: {bytes} bytes of seed {seed}",
                    path.display()
                ))?;
            }
            Ok(_) => {}
            Err(error) if wanted.len() == 1 => return Err(error),
            Err(error) => {
                super::complain(&error);
                failed += 1;
            }
        }
    }
    if failed > 0 {
        return Err(Error::Some {
            failed,
            total: wanted.len(),
            done: "as their seeds give them",
        }
        .into());
    }
    Ok(0)
}

fn verify_one(path: &Path, seed: u32) -> Result<u64> {
    if seed == 0 {
        return Err(Error::Usage(
            "seed 0 stands for content that was left alone, which can't be verified".into(),
        )
        .into());
    }
    let named = named(path)?;
    let file = named.file()?;
    let view = named.volume.view(&file)?;
    content::compare(&named.volume, &view, &path.display().to_string(), seed)?;
    Ok(file.size.0)
}

fn parse_multi(text: &OsStr) -> Result<(PathBuf, u32)> {
    split_last(text.as_bytes())
        .and_then(|(path, seed)| {
            let path = PathBuf::from(OsStr::from_bytes(path));
            Some((path, seed.parse().ok()?))
        })
        .ok_or_else(|| {
            Error::Usage(format!(
                "--multi {}: FILE,SEED was expected",
                text.display()
            ))
            .into()
        })
}

/// Compares what is read by the system with what is mapped.
pub(super) fn chkread(args: &Chkread, output: &mut Output) -> Result<i32> {
    if !args.superblock && !args.log {
        let named = named(&args.path)?;
        let file = named.file()?;
        let both = named.volume.two_ways(Portion::File(&file))?;
        compare_read(&both, &args.path.display().to_string())?;
        output.line(format_args!(
            "{}: {} bytes are the same",
            args.path.display(),
            file.size
        ))?;
        return Ok(0);
    }
    let mount = mount_at(&args.path)?;
    let volume = mount.volume()?;
    let mut parts = Vec::new();
    if args.superblock {
        parts.push(("superblock", Portion::Superblock));
    }
    if args.log {
        parts.push(("log", Portion::Log));
    }
    for (name, portion) in parts {
        let what = format!("{}: {name}", args.path.display());
        let both = volume.two_ways(portion)?;
        compare_read(&both, &what)?;
        output.line(format_args!("{what}: {} bytes are the same", both.size()))?;
    }
    Ok(0)
}

fn compare_read(both: &TwoWays, what: &str) -> Result<()> {
    let (mut mapped, mut read) = (buffer(both.size()), buffer(both.size()));
    let progress = Progress::new(both.size(), false);
    progress.name(what);
    for (at, len) in pieces(both.size()) {
        let (mapped, read) = (&mut mapped[..len], &mut read[..len]);
        both.read(at, mapped, read)?;
        if let Some((offset, mapped, read)) = first_difference(mapped, read) {
            return Err(Error::Incoherent {
                what: what.to_owned(),
                at: at + offset,
                mapped,
                read,
            }
            .into());
        }
        progress.add(len as u64);
    }
    Ok(())
}
