//! `creat`: files of a size, with zeros or seeded content.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use famfs::core::units::ByteLen;
use famfs::{Publication, Volume};

use super::{Made, content, named, not_made};
use crate::args::Creat;
use crate::error::Error;
use crate::output::Output;
use crate::size;

/// A file to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    path: PathBuf,
    size: u64,
    seed: u32,
}

pub(super) fn run(args: &Creat, output: &mut Output) -> Result<i32> {
    let wanted = wanted(args, output)?;
    let mut files = Vec::with_capacity(wanted.len());
    let mut volume: Option<Volume> = None;
    let mut as_asked = HashMap::new();
    let owner = args.ownership.owner(Made::File);
    for file in &wanted {
        let named = named(&file.path)?;
        let path = named.resolved.name()?;
        let volume = volume.get_or_insert_with(|| named.volume.clone());
        if volume.identity() != named.volume.identity() {
            return Err(Error::Usage(format!(
                "{}: lies in another volume than {}: what is made in one step lies in one volume",
                file.path.display(),
                wanted[0].path.display()
            ))
            .into());
        }
        volume
            .check_name(&path, args.force)
            .map_err(|error| not_made(&file.path, error))?;
        let reservation = volume
            .reserve(ByteLen(file.size), args.interleave.layout())
            .map_err(|error| error.about(&file.path))?;
        content::fill(&reservation, &file.path.display().to_string(), file.seed)?;
        as_asked.insert(path.to_string(), file.path.display().to_string());
        files.push(Publication {
            reservation,
            path,
            owner,
            overwrite: args.force,
        });
    }
    if let Some(volume) = volume {
        let committed = volume.commit(files);
        committed.map_err(|error| match &wanted[..] {
            [one] => not_made(&one.path, error),
            // The error names the one that it is about.
            _ => error.renamed(|name| as_asked.remove(name)).into(),
        })?;
    }
    Ok(0)
}

fn wanted(args: &Creat, output: &mut Output) -> Result<Vec<Wanted>> {
    let (Some(path), Some(size)) = (&args.file, args.size) else {
        let multi = args.multi.iter();
        return multi.map(|text| parse_multi(text)).collect();
    };
    let seed = match args.seed {
        Some(seed) => seed,
        None if args.randomize => {
            let seed = random_seed();
            output.line(format_args!("seed {seed}"))?;
            seed
        }
        None => 0,
    };
    Ok(vec![Wanted {
        path: path.clone(),
        size,
        seed,
    }])
}

/// Any seed but 0, which has a meaning of its own.
fn random_seed() -> u32 {
    let random = RandomState::new().hash_one(0);
    u32::try_from(random >> 32).unwrap_or(1).max(1)
}

/// `NAME,SIZE` or `NAME,SIZE,SEED`; the name may have commas.
fn parse_multi(text: &OsStr) -> Result<Wanted> {
    let wrong = || {
        Error::Usage(format!(
            "--multi {}: NAME,SIZE or NAME,SIZE,SEED was expected",
            text.display()
        ))
    };
    let (rest, last) = split_last(text.as_bytes()).ok_or_else(wrong)?;
    if let Some((name, middle)) = split_last(rest)
        && let (Ok(size), Ok(seed)) = (size::parse(middle), last.parse())
    {
        return Ok(Wanted {
            path: path(name),
            size,
            seed,
        });
    }
    Ok(Wanted {
        path: path(rest),
        size: size::parse(last).map_err(|_| wrong())?,
        seed: 0,
    })
}

fn path(bytes: &[u8]) -> PathBuf {
    Path::new(OsStr::from_bytes(bytes)).to_owned()
}

/// What stands before the last comma, and the text after it.
pub(super) fn split_last(bytes: &[u8]) -> Option<(&[u8], &str)> {
    let at = bytes.iter().rposition(|&byte| byte == b',')?;
    let after = std::str::from_utf8(&bytes[at + 1..]).ok()?;
    (at > 0).then(|| (&bytes[..at], after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_files_are_named_with_size_and_seed() {
        let parse = |text: &str| {
            let wanted = parse_multi(OsStr::new(text)).ok()?;
            let path = wanted.path.to_str()?.to_owned();
            Some((path, wanted.size, wanted.seed))
        };
        assert_eq!(parse("/m/a,1M"), Some(("/m/a".into(), 1 << 20, 0)));
        assert_eq!(parse("/m/a,1M,42"), Some(("/m/a".into(), 1 << 20, 42)));
        assert_eq!(parse("/m/a,b,1M"), Some(("/m/a,b".into(), 1 << 20, 0)));
        assert_eq!(parse("/m/a,8,5"), Some(("/m/a".into(), 8, 5)));
        for text in ["", "a", "a,", ",8", "a,x", "a,8,-1", "a,8,4294967296,x"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_random_seed_is_never_the_one_that_means_zeros() {
        assert!((0..100).all(|_| random_seed() != 0));
    }
}
