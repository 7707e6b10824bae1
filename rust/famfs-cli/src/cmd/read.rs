//! `cat`, `verify` and `chkread`: what reads the bytes of files.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use famfs::{Portion, TwoWays};
use famfs_data::{Dataset, Kind};

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

/// Compares files with seeded content, and datasets with their checksums.
pub(super) fn verify(args: Verify, output: &mut Output) -> Result<i32> {
    let one = args.filename.into_iter().zip(args.seed);
    let mut wanted: Vec<(PathBuf, Option<u32>)> =
        one.map(|(path, seed)| (path, Some(seed))).collect();
    for text in &args.multi {
        let (path, seed) = parse_multi(text)?;
        wanted.push((path, Some(seed)));
    }
    wanted.extend(args.datasets.into_iter().map(|path| (path, None)));
    let mut failed = 0;
    for (path, seed) in &wanted {
        let verified = match seed {
            Some(seed) => verify_one(path, *seed),
            None => verify_dataset(path),
        };
        match verified {
            Ok(found) if !args.quiet => {
                output.line(format_args!("{}: {found}", path.display()))?;
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
            done: "as they should be",
        }
        .into());
    }
    Ok(0)
}

/// Checks a dataset by what it says of itself.
fn verify_dataset(path: &Path) -> Result<String> {
    let dataset = Dataset::open(path)?;
    let file = dataset.file();
    let sum = if file.verify()? {
        "its checksum is right"
    } else {
        "it has no checksum"
    };
    let (kind, size) = (file.kind(), file.stat().size);
    Ok(match file.kind() {
        Kind::Table | Kind::Array => format!("{kind}, {size} bytes, its structure is right, {sum}"),
        _ => format!("{kind}, {size} bytes, {sum}"),
    })
}

fn verify_one(path: &Path, seed: u32) -> Result<String> {
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
    Ok(format!("{} bytes of seed {seed}", file.size))
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
