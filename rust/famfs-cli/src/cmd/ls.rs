//! `ls`, `stat` and `versions`: what shows names.

use std::time::UNIX_EPOCH;

use anyhow::Result;
use famfs::{Stat, Volume};
use famfs_data::catalog;
use serde::Serialize;

use super::named;
use super::report::MapReport;
use crate::args;
use crate::output::{JsonPath, Output, show_path};
use crate::size::show_mode;

/// A name, as it is listed.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    #[serde(flatten)]
    path: JsonPath,
    kind: &'static str,
    /// Of a table, and the length of an array's first axis.
    rows: Option<u64>,
    /// Of a table.
    columns: Option<u64>,
    size: u64,
    mode: String,
    uid: u32,
    gid: u32,
    slot: u64,
}

/// All that is known of a name.
#[derive(Debug, Serialize)]
struct Detail {
    #[serde(flatten)]
    entry: Entry,
    volume: uuid::Uuid,
    /// Seconds since 1970 at which this process first saw it: the format keeps no times.
    first_seen: u64,
    #[serde(flatten)]
    map: Option<MapReport>,
}

/// A version of a file.
#[derive(Debug, Serialize)]
struct Version {
    slot: u64,
    size: u64,
    mode: String,
    uid: u32,
    gid: u32,
    current: bool,
}

impl Entry {
    /// What is told of a name: of a file also what it holds.
    pub(super) fn of(volume: &Volume, stat: &Stat) -> Self {
        let (kind, rows, columns) = content(volume, stat);
        Self {
            path: JsonPath::new(&stat.path),
            kind,
            rows,
            columns,
            size: stat.size.0,
            mode: show_mode(stat.owner.mode),
            uid: stat.owner.uid,
            gid: stat.owner.gid,
            slot: stat.slot.0,
        }
    }
}

/// Kind, rows and columns. One file whose memory is lost doesn't keep the others from being listed.
fn content(volume: &Volume, stat: &Stat) -> (&'static str, Option<u64>, Option<u64>) {
    if stat.is_dir() {
        return ("directory", None, None);
    }
    match catalog::summary(volume, stat) {
        Ok(found) => (found.kind.name(), found.rows, found.columns),
        Err(_) => ("unreadable", None, None),
    }
}

/// Lists a directory, or a file.
pub(super) fn ls(args: &args::Ls, output: &mut Output) -> Result<i32> {
    let named = named(&args.path)?;
    let top = named.stat()?;
    let mut found = if !args.recursive || !top.is_dir() {
        named.volume.list(named.path())?
    } else if named.path().is_empty() {
        named.volume.list_all()
    } else {
        let mut prefix = named.path().to_vec();
        prefix.push(b'/');
        let mut found = named.volume.list_all();
        found.retain(|stat| stat.path.starts_with(&prefix));
        found
    };
    found.sort_by(|one, other| one.path.cmp(&other.path));
    if args.json {
        let entries: Vec<_> = found
            .iter()
            .map(|stat| Entry::of(&named.volume, stat))
            .collect();
        output.json(&entries)?;
        return Ok(0);
    }
    // As the reader asked: names in the directory, or the file's own.
    let skip = match named.path().len() {
        0 => 0,
        len if top.is_dir() => len + 1,
        len => len - famfs::core::path::name(named.path()).len(),
    };
    let name = |stat: &Stat| show_path(stat.path.get(skip..).unwrap_or_default());
    if !args.long {
        for stat in &found {
            output.line(name(stat))?;
        }
        return Ok(0);
    }
    let count = |count: Option<u64>| count.map_or_else(String::new, |count| count.to_string());
    let rows = found.iter().map(|stat| {
        let (kind, rows, columns) = content(&named.volume, stat);
        vec![
            format!(
                "{}{}",
                if stat.is_dir() { "d" } else { "-" },
                show_mode(stat.owner.mode)
            ),
            stat.owner.uid.to_string(),
            stat.owner.gid.to_string(),
            kind.to_owned(),
            count(rows),
            count(columns),
            stat.size.to_string(),
            stat.slot.to_string(),
            name(stat),
        ]
    });
    let head = [
        "MODE", "UID", "GID", "KIND", "ROWS", "COLUMNS", "SIZE", "SLOT", "NAME",
    ];
    output.table(&head, &[1, 2, 4, 5, 6, 7], rows.collect())?;
    Ok(0)
}

/// Shows all that is known of a name.
pub(super) fn stat(args: &args::Stat, output: &mut Output) -> Result<i32> {
    let named = named(&args.path)?;
    let stat = named.stat()?;
    let seen = stat.seen.duration_since(UNIX_EPOCH).unwrap_or_default();
    if args.json {
        output.json(&Detail {
            entry: Entry::of(&named.volume, &stat),
            volume: named.volume.uuid(),
            first_seen: seen.as_secs(),
            map: stat.map.as_ref().map(MapReport::from),
        })?;
        return Ok(0);
    }
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    row("path", show_path(&stat.path));
    let (kind, lines, columns) = content(&named.volume, &stat);
    row("kind", kind.into());
    if let Some(lines) = lines {
        row("rows", lines.to_string());
    }
    if let Some(columns) = columns {
        row("columns", columns.to_string());
    }
    row("size", format!("{} bytes", stat.size));
    row("mode", show_mode(stat.owner.mode));
    row("uid", stat.owner.uid.to_string());
    row("gid", stat.owner.gid.to_string());
    row("slot", stat.slot.to_string());
    row("volume", named.volume.uuid().to_string());
    if let Some(map) = &stat.map {
        row("extents", map.extents().len().to_string());
        row("allocated", format!("{} bytes", map.allocated()));
    }
    output.table(&[], &[], rows)?;
    Ok(0)
}

/// Lists the versions of a file.
pub(super) fn versions(args: &args::Versions, output: &mut Output) -> Result<i32> {
    let named = named(&args.path)?;
    let versions = named
        .volume
        .versions(named.path())
        .map_err(|error| named.as_asked(error))?;
    let versions: Vec<_> = versions
        .iter()
        .map(|stat| Version {
            slot: stat.slot.0,
            size: stat.size.0,
            mode: show_mode(stat.owner.mode),
            uid: stat.owner.uid,
            gid: stat.owner.gid,
            current: stat.is_live,
        })
        .collect();
    if args.json {
        output.json(&versions)?;
        return Ok(0);
    }
    let rows = versions.iter().map(|version| {
        vec![
            version.slot.to_string(),
            version.size.to_string(),
            version.mode.clone(),
            if version.current {
                "current"
            } else {
                "replaced"
            }
            .to_owned(),
        ]
    });
    output.table(&["SLOT", "SIZE", "MODE", ""], &[0, 1], rows.collect())?;
    Ok(0)
}
