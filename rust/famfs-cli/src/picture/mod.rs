//! A picture of a device: what lies where, from the superblock to the last unit that is free.
//!
//! Owns what is drawn: a device's ranges, each with what it is used for, found in its log. The
//! terminal and SVG draw the same ranges in rows of the same length; the command, Python's
//! `plot_map` and what a notebook shows of a dataset are all drawn here.

mod rows;
mod svg;
mod text;

use std::path::Path;

use famfs::core::check::Check;
use famfs::core::media::{ENTRY_LEN, LOG_OFFSET, entry_offset};
use famfs::core::namespace::NodeRef;
use famfs::core::replay::Replay;
use famfs::core::superblock::Superblock;
use famfs::core::units::{DeviceIndex, Slot};
use famfs::{Error, mounts};
use serde::Serialize;
use uuid::Uuid;

use crate::output::{JsonPath, UsageReport};

pub use svg::strip;
pub(crate) use text::cut;

/// Files that have a colour of their own: the largest. All others share one.
const COLOURED: usize = 8;

/// What a range of a device is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// The superblock.
    Superblock,
    /// The log's header and entries.
    Log,
    /// Room for more entries.
    LogRoom,
    /// A file.
    File,
    /// A file that was replaced or removed: its space does not come back yet.
    Dead,
    /// Nothing.
    Free,
}

impl Use {
    const ALL: [Self; 6] = [
        Self::Superblock,
        Self::Log,
        Self::LogRoom,
        Self::File,
        Self::Dead,
        Self::Free,
    ];

    /// What a legend says.
    fn words(self) -> &'static str {
        match self {
            Self::Superblock => "superblock",
            Self::Log => "log",
            Self::LogRoom => "room in the log",
            Self::File => "files",
            Self::Dead => "dead",
            Self::Free => "free",
        }
    }
}

/// A range of the device.
#[derive(Clone, Debug, Serialize)]
struct Range {
    #[serde(rename = "use")]
    kind: Use,
    offset: u64,
    length: u64,
    /// Which of [`Picture::files`] it is a part of.
    #[serde(skip)]
    file: Option<usize>,
    #[serde(flatten)]
    part: Option<Part>,
}

impl Range {
    fn plain(kind: Use, offset: u64, length: u64) -> Self {
        Self {
            kind,
            offset,
            length,
            file: None,
            part: None,
        }
    }

    fn end(&self) -> u64 {
        self.offset + self.length
    }
}

/// Which extent of which file a range is.
#[derive(Clone, Debug, Serialize)]
struct Part {
    #[serde(flatten)]
    path: JsonPath,
    slot: u64,
    /// Counted from 1.
    extent: usize,
}

/// A file with extents on the device.
#[derive(Clone, Debug)]
struct File {
    path: Vec<u8>,
    slot: u64,
    size: u64,
    extents: usize,
    is_live: bool,
    /// Its colour, where it has one of its own.
    colour: Option<usize>,
}

/// A device, and what lies where on it.
#[derive(Clone, Debug, Serialize)]
pub struct Picture {
    device: String,
    /// Where it is mounted, if it was looked at there.
    mountpoint: Option<String>,
    uuid: Uuid,
    omf: [u32; 2],
    size: u64,
    entries: u64,
    log_capacity: u64,
    #[serde(flatten)]
    usage: UsageReport,
    findings: usize,
    /// In the device's order, without a gap.
    ranges: Vec<Range>,
    #[serde(skip)]
    files: Vec<File>,
    /// The file that is pointed out, if one is.
    #[serde(skip)]
    chosen: Option<usize>,
}

impl Picture {
    /// The picture of a device, a backing file, or the volume that is mounted at a path; of a path
    /// in a volume, with that file pointed out.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where no volume can be made out; where it can't be read; of a path in a
    /// volume, [`Error::NotFound`].
    pub fn of(path: &Path) -> Result<Self, Error> {
        let resolved = match mounts::resolve(path) {
            Ok(resolved) => resolved,
            // A directory can only be meant as a mount point.
            Err(error @ Error::NotMounted { .. }) if path.is_dir() => return Err(error),
            Err(Error::NotMounted { .. }) => return Self::inspect(path, path),
            Err(error) => return Err(error),
        };
        let mut picture = Self::inspect(&resolved.mount.source, resolved.mount.place())?;
        picture.mountpoint = Some(crate::output::show_host(&resolved.mount.mountpoint));
        if !resolved.path.is_empty() {
            let mut files = (0..).zip(&picture.files);
            let found = files.find(|(_, file)| file.is_live && file.path == resolved.path);
            picture.chosen = found.map(|(at, _)| at);
            if picture.chosen.is_none() {
                let stat = resolved.volume()?.stat(&resolved.path);
                stat.map_err(|error| error.about(path))?;
            }
        }
        Ok(picture)
    }

    fn inspect(device: &Path, place: &Path) -> Result<Self, Error> {
        let check = famfs::inspect::inspect(place)?;
        match &check {
            Check {
                superblock: Some(superblock),
                replay: Some(replay),
                ..
            } => Ok(Self::new(device, superblock, replay)),
            Check {
                fatal: Some(fatal), ..
            } => Err(Error::Corrupt {
                path: place.to_owned(),
                fatal: *fatal,
            }),
            // What was not judged has a reason.
            Check { .. } => Err(Error::NotFound {
                path: place.display().to_string(),
            }),
        }
    }

    fn new(device: &Path, superblock: &Superblock, replay: &Replay) -> Self {
        let usage = replay.usage();
        let (major, minor) = superblock.omf();
        let mut picture = Self {
            device: crate::output::show_host(device),
            mountpoint: None,
            uuid: superblock.uuid(),
            omf: [major, minor],
            size: replay.devices().first().map_or(0, |device| device.size.0),
            entries: replay.next().0,
            log_capacity: replay.capacity(),
            usage: usage.into(),
            findings: replay.findings().len(),
            ranges: Vec::new(),
            files: Vec::new(),
            chosen: None,
        };
        let log_end = superblock.data_offset();
        let used = entry_offset(replay.next().0).unwrap_or(ENTRY_LEN as u64);
        let used = (LOG_OFFSET + used).min(log_end);
        picture.ranges.extend([
            Range::plain(Use::Superblock, 0, LOG_OFFSET),
            Range::plain(Use::Log, LOG_OFFSET, used - LOG_OFFSET),
            Range::plain(Use::LogRoom, used, log_end - used),
        ]);
        for node in replay.names().made_since(Slot(0)) {
            picture.add(node);
        }
        picture.ranges.sort_by_key(|range| range.offset);
        picture.fill_gaps(usage.capacity.max(log_end));
        picture.colour();
        picture
    }

    fn add(&mut self, node: NodeRef<'_>) {
        let Some(map) = node.map() else { return };
        let here = |extent: &&famfs::core::extent::Extent| extent.device == DeviceIndex::PRIMARY;
        let (index, slot) = (self.files.len(), node.slot().0);
        let kind = if node.is_live() { Use::File } else { Use::Dead };
        for (extent, at) in (1..).zip(map.extents().iter().filter(here)) {
            self.ranges.push(Range {
                kind,
                offset: at.offset.0,
                length: at.len.0,
                file: Some(index),
                part: Some(Part {
                    path: JsonPath::new(node.path()),
                    slot,
                    extent,
                }),
            });
        }
        self.files.push(File {
            path: node.path().to_vec(),
            slot,
            size: node.size().0,
            extents: map.extents().iter().filter(here).count(),
            is_live: node.is_live(),
            colour: None,
        });
    }

    fn fill_gaps(&mut self, end: u64) {
        let mut whole = Vec::with_capacity(self.ranges.len() * 2);
        let mut at = 0;
        for range in self.ranges.drain(..).filter(|range| range.length > 0) {
            if range.offset > at {
                whole.push(Range::plain(Use::Free, at, range.offset - at));
            }
            at = range.end();
            whole.push(range);
        }
        if end > at {
            whole.push(Range::plain(Use::Free, at, end - at));
        }
        self.ranges = whole;
    }

    /// Gives the largest files their colours.
    fn colour(&mut self) {
        for (colour, index) in self.largest().into_iter().enumerate() {
            self.files[index].colour = Some(colour);
        }
    }

    /// The largest files, the largest first.
    fn largest(&self) -> Vec<usize> {
        let mut live: Vec<_> = (0..self.files.len())
            .filter(|&at| self.files[at].is_live && self.files[at].extents > 0)
            .collect();
        live.sort_by_key(|&at| (std::cmp::Reverse(self.files[at].size), self.files[at].slot));
        live.truncate(COLOURED);
        live
    }

    /// Bytes that are used so.
    fn bytes(&self, kind: Use) -> u64 {
        let ranges = self.ranges.iter().filter(|range| range.kind == kind);
        ranges.map(|range| range.length).sum()
    }

    /// Where the device ends, as far as it is drawn: what is behind the last whole unit is not.
    fn end(&self) -> u64 {
        self.ranges.last().map_or(0, Range::end)
    }

    fn live(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_live)
    }

    /// The line under the device's name.
    fn summary(&self) -> String {
        use crate::size::count;
        let extents = self.live().map(|file| file.extents).sum();
        let mut summary = format!(
            "{}, {} in {}, {} of {} entries, format {}.{}",
            crate::size::show(self.size),
            count(self.live().count(), "file"),
            count(extents, "extent"),
            self.entries,
            self.log_capacity,
            self.omf[0],
            self.omf[1],
        );
        if self.findings > 0 {
            summary.push_str(", ");
            summary.push_str(&count(self.findings, "finding"));
        }
        summary
    }

    /// As SVG: readable on light and on dark.
    #[must_use]
    pub fn svg(&self) -> String {
        svg::draw(self)
    }

    /// For a terminal of so many columns.
    #[must_use]
    pub fn text(&self, columns: usize, colour: bool) -> String {
        text::draw(self, columns, colour)
    }

    /// For programs: all ranges, in the device's order.
    #[must_use]
    pub fn json(&self) -> String {
        // Nothing in it can fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device of 64 MiB with a file in two extents, a small one, and a dead one.
    pub(super) fn picture() -> Picture {
        const MIB: u64 = 1 << 20;
        let file = |path: &str, size, extents, is_live| File {
            path: path.into(),
            slot: 0,
            size,
            extents,
            is_live,
            colour: None,
        };
        let range = |kind, offset, length, file| Range {
            file,
            ..Range::plain(kind, offset * MIB, length * MIB)
        };
        let mut picture = Picture {
            device: "/dev/dax<0>".into(),
            mountpoint: None,
            uuid: Uuid::nil(),
            omf: [2, 3],
            size: 65 * MIB,
            entries: 3,
            log_capacity: 15_420,
            usage: UsageReport {
                capacity: 64 * MIB,
                allocated: 38 * MIB,
                dead: 4 * MIB,
                free: 26 * MIB,
            },
            findings: 0,
            ranges: vec![
                range(Use::Superblock, 0, 2, None),
                range(Use::Log, 2, 1, None),
                range(Use::LogRoom, 3, 7, None),
                range(Use::File, 10, 8, Some(0)),
                range(Use::Dead, 18, 4, Some(2)),
                range(Use::File, 22, 2, Some(1)),
                range(Use::File, 32, 14, Some(0)),
            ],
            files: vec![
                file("a&b/large", 21 * MIB, 2, true),
                file("small", 5, 1, true),
                file("gone", 4 * MIB, 1, false),
            ],
            chosen: None,
        };
        picture.fill_gaps(64 * MIB);
        picture.colour();
        picture
    }

    #[test]
    fn ranges_cover_the_device() {
        let picture = picture();
        let mut at = 0;
        for range in &picture.ranges {
            assert_eq!(range.offset, at);
            at = range.end();
        }
        assert_eq!(at, picture.end());
        let all: u64 = Use::ALL.iter().map(|kind| picture.bytes(*kind)).sum();
        assert_eq!(all, picture.usage.capacity);
        assert_eq!(picture.bytes(Use::Free), picture.usage.free);
        assert_eq!(picture.largest(), [0, 1]);
        assert!(picture.summary().contains("2 files in 3 extents"));
    }
}
