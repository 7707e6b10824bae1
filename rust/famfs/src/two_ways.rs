//! The same bytes by two ways: through this process's mapping, and by the system's read.
//!
//! Owns nothing but the comparison's two sides. Where they differ somebody's caches are stale, or
//! the mapping is not of what it should be.

use std::fs::File;
use std::os::unix::fs::FileExt;

use famfs_core::media::{LOG_OFFSET, SUPERBLOCK_LEN};
use famfs_core::units::DevOff;
use famfs_mem::{Access, Memory, RegionOff, Source};

use crate::error::{Error, Result};
use crate::files::Stat;
use crate::kernel::{LOG, SUPERBLOCK};
use crate::volume::Volume;

/// What of a volume is read twice.
#[derive(Clone, Copy, Debug)]
pub enum Portion<'a> {
    /// The superblock.
    Superblock,
    /// The whole log.
    Log,
    /// A file.
    File(&'a Stat),
}

#[derive(Debug)]
enum System {
    /// The device or backing file, read where the bytes lie on it.
    Device(Source),
    /// The kernel's own file, read from its start.
    File(File),
}

/// A part of a volume that can be read by two ways.
#[derive(Debug)]
pub struct TwoWays {
    volume: Volume,
    runs: Vec<(DevOff, u64)>,
    system: System,
}

impl Volume {
    /// Opens a part of the volume by both ways.
    ///
    /// # Errors
    /// As [`Volume::reader`] for a file; [`Error::Unsupported`] where the device can't be read.
    pub fn two_ways(&self, portion: Portion<'_>) -> Result<TwoWays> {
        let runs = match portion {
            Portion::Superblock => vec![(DevOff(0), SUPERBLOCK_LEN as u64)],
            Portion::Log => vec![(DevOff(LOG_OFFSET), self.superblock().log_len().0)],
            Portion::File(stat) => {
                // Also makes the mapping's side reachable.
                self.reader(stat)?;
                self.runs(stat)?
            }
        };
        let system = match &self.inner.kernel {
            None => System::Device(Source::open(self.path(), Access::ReadOnly).map_err(
                |error| Error::Unsupported {
                    what: self.path().display().to_string(),
                    why: format!("it can't be read beside the mapping: {error}"),
                },
            )?),
            Some(kernel) => System::File(match portion {
                Portion::Superblock => kernel.open_own(SUPERBLOCK)?,
                Portion::Log => kernel.open_own(LOG)?,
                Portion::File(stat) => kernel.open_committed(&self.stat_slot(stat.slot)?)?,
            }),
        };
        Ok(TwoWays {
            volume: self.clone(),
            runs,
            system,
        })
    }
}

impl TwoWays {
    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.runs.iter().map(|run| run.1).sum()
    }

    /// Reads the bytes from `at` on by both ways, as many as the buffers are long.
    ///
    /// # Errors
    /// [`Error::MemoryFault`] from the mapping; [`Error::BadContent`] from the system's read, also
    /// where the device is shorter by now. [`Error::Usage`] past the end.
    pub fn read(&self, at: u64, mapped: &mut [u8], read: &mut [u8]) -> Result<()> {
        let end = at.checked_add(mapped.len() as u64);
        if mapped.len() != read.len() || end.is_none_or(|end| end > self.size()) {
            return Err(Error::Usage(format!(
                "{} bytes at {at}: past the end of {}",
                mapped.len(),
                self.size()
            )));
        }
        let path = self.volume.path();
        let (mut from, mut done) = (at, 0);
        for &(start, len) in &self.runs {
            let skipped = from.min(len);
            from -= skipped;
            let left = usize::try_from(len - skipped).unwrap_or(usize::MAX);
            let part = done..done + left.min(mapped.len() - done);
            if part.is_empty() {
                continue;
            }
            let on_device = start.0 + skipped;
            self.volume
                .region()
                .load(RegionOff(on_device), &mut mapped[part.clone()])
                .map_err(Error::fault(path))?;
            let in_file = at + done as u64;
            done = part.end;
            let told = match &self.system {
                System::Device(source) => source
                    .read_at(on_device, &mut read[part])
                    .map_err(|error| format!("{error}; it has {} bytes now", source.size())),
                System::File(file) => file
                    .read_exact_at(&mut read[part], in_file)
                    .map_err(|error| error.to_string()),
            };
            told.map_err(|why| Error::BadContent {
                path: path.display().to_string(),
                reason: format!("{why}: `famfs fsck` tells more"),
            })?;
        }
        Ok(())
    }
}
