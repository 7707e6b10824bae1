//! `getmap` and `flush`: where the bytes of files lie, and their cache lines.

use anyhow::Result;
use famfs::Error;
use serde::Serialize;

use super::report::MapReport;
use super::{content, named};
use crate::args::{Flush, Getmap};
use crate::output::{JsonPath, Output};

/// Exit code of `getmap -q` for what is no file of a volume.
const NOT_FAMFS: i32 = 1;

/// Exit code of `getmap -q` for a file that can't be mapped.
const UNMAPPED: i32 = 2;

#[derive(Debug, Serialize)]
struct Mapping {
    #[serde(flatten)]
    path: JsonPath,
    size: u64,
    #[serde(flatten)]
    map: MapReport,
}

/// Prints where the bytes of a file lie.
pub(super) fn getmap(args: &Getmap, output: &mut Output) -> Result<i32> {
    if args.quiet {
        return Ok(probe(args));
    }
    let named = named(&args.file)?;
    let file = named.file()?;
    let map = file.map.ok_or_else(|| Error::IsADirectory {
        path: file.display(),
    })?;
    let mapping = Mapping {
        path: JsonPath::new(&file.path),
        size: file.size.0,
        map: (&map).into(),
    };
    if args.json {
        output.json(&mapping)?;
        return Ok(0);
    }
    let extents = match &mapping.map {
        MapReport::Extents(extents) => {
            output.line(format_args!("size {}, simple", mapping.size))?;
            extents
        }
        MapReport::Interleaved { chunk_size, strips } => {
            output.line(format_args!(
                "size {}, interleaved: {} strips in chunks of {chunk_size}",
                mapping.size,
                strips.len()
            ))?;
            strips
        }
    };
    let rows = (0..).zip(extents).map(|(index, extent): (usize, _)| {
        vec![
            index.to_string(),
            extent.device.to_string(),
            format!("{:#x}", extent.offset),
            extent.length.to_string(),
        ]
    });
    let head = ["EXTENT", "DEVICE", "OFFSET", "LENGTH"];
    output.table(&head, &[0, 1, 2, 3], rows.collect())?;
    Ok(0)
}

/// Whether a file is mapped, as an exit code.
fn probe(args: &Getmap) -> i32 {
    let Ok(named) = named(&args.file) else {
        return NOT_FAMFS;
    };
    let Ok(file) = named.file() else {
        return NOT_FAMFS;
    };
    let touched = named
        .volume
        .view(&file)
        .map_err(Into::into)
        .and_then(|view| {
            let mut byte = [0; 1];
            match file.size.0.checked_sub(1) {
                Some(last) => content::read(&named.volume, &view, last, &mut byte),
                None => Ok(()),
            }
        });
    if touched.is_ok() { 0 } else { UNMAPPED }
}

/// Writes back and drops the cache lines of files.
pub(super) fn flush(args: &Flush, output: &mut Output) -> Result<i32> {
    for path in &args.files {
        let named = named(path)?;
        let file = named.file()?;
        let lines = named.volume.flush(&file)?;
        output.line(format_args!("{}: {lines} cache lines", path.display()))?;
    }
    Ok(0)
}
