//! A device that shows itself in parts: files that stand for ranges of it.
//!
//! So is a device under a kernel mount, which can't be mapped as a whole then: the superblock and
//! the log are files, and so is each published file. What is not shown can't be reached.

use std::{fs::File, io, os::unix::fs::FileExt, path::PathBuf};

use super::{Access, Identity, Kind, Source, SourceError, Transfer};

/// A file that shows a range of a device from its start on.
#[derive(Debug)]
pub struct Part {
    /// Where the range begins on the device, bytes.
    pub at: u64,
    /// How long it is, bytes.
    pub len: u64,
    /// The file.
    pub file: File,
    /// Whether it is open to be written.
    pub writable: bool,
}

impl Source {
    /// A device of `size` bytes that `parts` show, in the order of their offsets, and whose
    /// writers agree by locks on `lock`.
    ///
    /// `align` is what offsets and lengths on the device are multiples of. It is the caller's to
    /// say which device it is and that the files stay what they are.
    #[must_use]
    pub fn from_parts(
        path: PathBuf,
        lock: File,
        parts: Vec<Part>,
        (size, align): (u64, u64),
        access: Access,
        identity: Identity,
    ) -> Self {
        Self {
            path,
            file: lock,
            kind: Kind::Parts,
            access,
            transfer: Transfer::Parts,
            identity,
            size,
            align,
            parts,
        }
    }

    /// The files that show it; none where it is mapped as a whole.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn part(&self, off: u64, len: usize) -> io::Result<(&Part, u64)> {
        let within = |part: &&Part| {
            off.checked_sub(part.at)
                .and_then(|skip| skip.checked_add(len as u64))
                .is_some_and(|end| end <= part.len)
        };
        let part = self.parts.iter().find(within).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotSeekable,
                "no file of the mount shows this part of the device",
            )
        })?;
        Ok((part, off - part.at))
    }

    pub(super) fn read_part(&self, off: u64, into: &mut [u8]) -> io::Result<()> {
        let (part, at) = self.part(off, into.len())?;
        part.file.read_exact_at(into, at)
    }

    pub(super) fn write_part(&self, off: u64, bytes: &[u8]) -> io::Result<()> {
        let (part, at) = self.part(off, bytes.len())?;
        part.file.write_all_at(bytes, at)
    }

    pub(super) fn sync_parts(&self) -> Result<(), SourceError> {
        for part in &self.parts {
            part.file.sync_data().map_err(self.io_error("sync"))?;
        }
        Ok(())
    }
}
