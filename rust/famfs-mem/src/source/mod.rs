//! Where a volume's bytes come from: a backing file, a dax device, a block device.
//!
//! Owns opening them, telling them apart, their size, alignment and identity, and access to them
//! without a lasting mapping. It must not map what a plain mapping would not reach: block devices
//! are read and written past the page cache only.

mod dax;
mod direct;
mod error;
mod parts;

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Seek, SeekFrom},
    os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FallocateFlags, fallocate};

pub use self::{error::SourceError, parts::Part};
use crate::{
    above_standard, guard,
    mapping::Mapping,
    memory::{Memory, RegionOff},
};

/// What may be done with a source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Reading alone.
    ReadOnly,
    /// Reading and writing.
    ReadWrite,
    /// Reading and writing, of a block device only where the kernel does not use it: neither
    /// mounted nor part of anything.
    Exclusive,
}

/// What a source is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// A backing file.
    File,
    /// A character device whose mapping is the memory itself.
    DevDax,
    /// A block device, which is never mapped: that would be page cache, not the device.
    Block,
    /// A device that files show in parts: one under a kernel mount.
    Parts,
}

/// Which file or device it is, whatever path leads to it.
///
/// Two device nodes for one device are one identity, as are two names of one file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Identity {
    /// The file system that holds a file; 0 for a device.
    pub dev: u64,
    /// The file's inode; 0 for a device.
    pub ino: u64,
    /// The device's number; 0 for a file.
    pub rdev: u64,
    /// Whether a device's number counts character devices.
    pub character: bool,
}

/// How bytes are moved without a lasting mapping.
#[derive(Clone, Copy, Debug)]
enum Transfer {
    /// `pread` and `pwrite`.
    Positional,
    /// The same past the page cache, in units of this many bytes.
    Direct(u64),
    /// Through a mapping made for it.
    Mapped,
    /// `pread` and `pwrite` of the file that shows the part.
    Parts,
}

/// An open backing file or device.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    file: File,
    kind: Kind,
    access: Access,
    transfer: Transfer,
    identity: Identity,
    size: u64,
    align: u64,
    parts: Vec<Part>,
}

/// What `statfs` says of a file on hugetlbfs, whose block size is its page size.
const HUGETLBFS_MAGIC: i64 = 0x9584_58F6;

impl Source {
    /// Opens a backing file or a device.
    ///
    /// # Errors
    /// [`SourceError::NotMemory`] for anything else, naming what it is.
    pub fn open(path: impl AsRef<Path>, access: Access) -> Result<Self, SourceError> {
        let path = path.as_ref();
        let open_error = |source| SourceError::Open {
            path: path.to_owned(),
            source,
        };
        // Asked first for a better message and for O_DIRECT; what was opened is asked again.
        let kind = kind_of(path, &fs::metadata(path).map_err(open_error)?)?;
        // A queue put in its place meanwhile must not make open() wait.
        let mut flags = libc::O_NONBLOCK;
        if kind == Kind::Block {
            flags |= libc::O_DIRECT;
            if access == Access::Exclusive {
                flags |= libc::O_EXCL;
            }
        }
        let file = OpenOptions::new()
            .read(true)
            .write(access != Access::ReadOnly)
            .custom_flags(flags)
            .open(path)
            .and_then(above_standard)
            .map_err(open_error)?;
        let metadata = file.metadata().map_err(open_error)?;
        if kind_of(path, &metadata)? != kind {
            return Err(open_error(io::Error::other(
                "it was replaced while it was opened",
            )));
        }
        Self::from_file(path.to_owned(), file, kind, access, &metadata)
    }

    /// Makes a backing file of `len` bytes, which must not exist, and opens it to be written.
    ///
    /// Its space is taken at once, unless it is to be `sparse`: memory that turns out to be missing
    /// later is a memory fault, not an error of a write. A file whose space cannot be had is
    /// removed again.
    ///
    /// # Errors
    /// [`SourceError::NoSpace`] where there is not enough of it.
    pub fn create_file(
        path: impl AsRef<Path>,
        len: u64,
        sparse: bool,
    ) -> Result<Self, SourceError> {
        let path = path.as_ref();
        let open_error = |source| SourceError::Open {
            path: path.to_owned(),
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
            .and_then(above_standard)
            .map_err(open_error)?;
        let filled = (|| {
            let metadata = file.metadata().map_err(open_error)?;
            let mut source = Self::from_file(
                path.to_owned(),
                file,
                Kind::File,
                Access::ReadWrite,
                &metadata,
            )?;
            source.set_len(len)?;
            if !sparse && len > 0 {
                source.allocate(0, len)?;
            }
            Ok(source)
        })();
        if filled.is_err() {
            // It was made by us a moment ago. The error that is reported is the first one.
            let _ = fs::remove_file(path);
        }
        filled
    }

    fn from_file(
        path: PathBuf,
        mut file: File,
        kind: Kind,
        access: Access,
        metadata: &Metadata,
    ) -> Result<Self, SourceError> {
        let is_device = kind != Kind::File;
        let identity = Identity {
            dev: if is_device { 0 } else { metadata.dev() },
            ino: if is_device { 0 } else { metadata.ino() },
            rdev: if is_device { metadata.rdev() } else { 0 },
            character: kind == Kind::DevDax,
        };
        let io_error = |action| {
            let path = path.clone();
            move |source| SourceError::Io {
                path,
                action,
                source,
            }
        };
        let (size, align, transfer) = match kind {
            Kind::File => {
                let facts = rustix::fs::fstatfs(&file)
                    .map_err(|error| io_error("examine")(error.into()))?;
                #[allow(
                    clippy::unnecessary_cast,
                    reason = "the types differ between C libraries"
                )]
                let (is_hugetlb, page) = (facts.f_type as i64 == HUGETLBFS_MAGIC, facts.f_bsize);
                if is_hugetlb {
                    let page = u64::try_from(page).unwrap_or(2 << 20);
                    (metadata.len(), page, Transfer::Mapped)
                } else {
                    (metadata.len(), guard::page_size(), Transfer::Positional)
                }
            }
            Kind::DevDax => {
                let facts = dax::facts(Path::new("/sys/dev/char"), metadata.rdev())
                    .map_err(io_error("find the size of"))?;
                (facts.size, facts.align, Transfer::Mapped)
            }
            Kind::Block => {
                let size = file
                    .seek(SeekFrom::End(0))
                    .map_err(io_error("find the size of"))?;
                let unit = rustix::fs::ioctl_blksszget(&file)
                    .map_err(|error| io_error("find the sector size of")(error.into()))?;
                (size, guard::page_size(), Transfer::Direct(u64::from(unit)))
            }
            Kind::Parts => {
                return Err(SourceError::Unsupported {
                    path,
                    action: "open as one file",
                });
            }
        };
        Ok(Self {
            path,
            file,
            kind,
            access,
            transfer,
            identity,
            size,
            align,
            parts: Vec::new(),
        })
    }

    /// The path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file, to lock.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What may be done with it.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    /// Whether memory is behind it: a block device may as well be a disk.
    #[must_use]
    pub fn is_memory(&self) -> bool {
        self.kind != Kind::Block
            || dax::is_block_dax(Path::new("/sys/dev/block"), self.identity.rdev)
    }

    /// Which file or device it is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Its size in bytes, when it was opened or last set.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What offsets and lengths of its mappings are multiples of.
    #[must_use]
    pub fn align(&self) -> u64 {
        self.align
    }

    /// Reads exactly `into.len()` bytes.
    ///
    /// From a device come the bytes in its memory, not those in this host's caches.
    ///
    /// # Errors
    /// [`SourceError::OutOfRange`] for bytes past the end.
    pub fn read_at(&self, off: u64, into: &mut [u8]) -> Result<(), SourceError> {
        self.check(off, into.len() as u64)?;
        match self.transfer {
            Transfer::Positional => self
                .file
                .read_exact_at(into, off)
                .map_err(self.io_error("read")),
            Transfer::Direct(unit) => {
                direct::read(&self.file, self.size, unit, off, into).map_err(self.io_error("read"))
            }
            Transfer::Parts => self.read_part(off, into).map_err(self.io_error("read")),
            Transfer::Mapped => {
                let (window, at) = self.window(off, into.len(), false)?;
                let len = into.len() as u64;
                window
                    .invalidate(at, len)
                    .map(|_| window.fence_invalidate())
                    .and_then(|()| window.load(at, into))
                    .map_err(|source| SourceError::Fault {
                        path: self.path.clone(),
                        source,
                    })
            }
        }
    }

    /// Writes all of `bytes`; to a device they have arrived when it returns.
    ///
    /// # Errors
    /// [`SourceError::OutOfRange`] for bytes past the end.
    pub fn write_at(&self, off: u64, bytes: &[u8]) -> Result<(), SourceError> {
        self.check(off, bytes.len() as u64)?;
        if self.access == Access::ReadOnly {
            return Err(SourceError::ReadOnly {
                path: self.path.clone(),
            });
        }
        match self.transfer {
            Transfer::Positional => self
                .file
                .write_all_at(bytes, off)
                .map_err(self.io_error("write")),
            Transfer::Direct(unit) => direct::write(&self.file, self.size, unit, off, bytes)
                .map_err(self.io_error("write")),
            Transfer::Parts => self.write_part(off, bytes).map_err(self.io_error("write")),
            Transfer::Mapped => {
                let (window, at) = self.window(off, bytes.len(), true)?;
                window
                    .stream(at, bytes, 1)
                    .map_err(|source| SourceError::Fault {
                        path: self.path.clone(),
                        source,
                    })
            }
        }
    }

    /// Makes sure that what was written to a file or block device survives a power failure.
    ///
    /// # Errors
    /// [`SourceError::Io`].
    pub fn sync(&self) -> Result<(), SourceError> {
        match self.transfer {
            Transfer::Mapped => Ok(()),
            Transfer::Parts => self.sync_parts(),
            _ => self.file.sync_data().map_err(self.io_error("sync")),
        }
    }

    /// Takes the space for a range of a file, so that it cannot be missing later.
    ///
    /// # Errors
    /// [`SourceError::NoSpace`] where there is not enough; [`SourceError::Unsupported`] for a device
    /// or a file system that cannot.
    pub fn allocate(&self, off: u64, len: u64) -> Result<(), SourceError> {
        self.fallocate(FallocateFlags::empty(), "allocate space in", off, len)
    }

    /// Gives the space of a range of a file back; it then reads as zeros.
    ///
    /// # Errors
    /// [`SourceError::Unsupported`] for a device or a file system that cannot.
    pub fn punch(&self, off: u64, len: u64) -> Result<(), SourceError> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        self.fallocate(flags, "punch a hole into", off, len)
    }

    fn fallocate(
        &self,
        flags: FallocateFlags,
        action: &'static str,
        off: u64,
        len: u64,
    ) -> Result<(), SourceError> {
        let unsupported = || SourceError::Unsupported {
            path: self.path.clone(),
            action,
        };
        if self.kind != Kind::File {
            return Err(unsupported());
        }
        loop {
            return match fallocate(&self.file, flags, off, len) {
                Err(rustix::io::Errno::INTR) => continue,
                Err(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT) => {
                    Err(SourceError::NoSpace {
                        path: self.path.clone(),
                        len,
                    })
                }
                Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Err(unsupported()),
                other => other.map_err(|error| self.io_error(action)(error.into())),
            };
        }
    }

    /// Changes the length of a file.
    ///
    /// Mappings do not follow: what they lose is a memory fault, what is new needs a new region.
    ///
    /// # Errors
    /// [`SourceError::Unsupported`] for a device.
    pub fn set_len(&mut self, len: u64) -> Result<(), SourceError> {
        let action = "change the length of";
        if self.kind != Kind::File {
            return Err(SourceError::Unsupported {
                path: self.path.clone(),
                action,
            });
        }
        self.file.set_len(len).map_err(self.io_error(action))?;
        self.size = len;
        Ok(())
    }

    fn check(&self, at: u64, len: u64) -> Result<(), SourceError> {
        match at.checked_add(len) {
            Some(end) if end <= self.size => Ok(()),
            _ => Err(SourceError::OutOfRange {
                path: self.path.clone(),
                at,
                len,
                size: self.size,
            }),
        }
    }

    fn io_error(&self, action: &'static str) -> impl FnOnce(io::Error) -> SourceError {
        let path = self.path.clone();
        move |source| SourceError::Io {
            path,
            action,
            source,
        }
    }

    /// A mapping of the aligned range around `len` bytes at `off`, and where they are in it.
    fn window(
        &self,
        off: u64,
        len: usize,
        writable: bool,
    ) -> Result<(Mapping, RegionOff), SourceError> {
        let start = off - off % self.align;
        let within = off - start;
        let mapping = Mapping::new(&self.file, start, within + len as u64, self.align, writable)
            .map_err(self.io_error("map"))?;
        Ok((mapping, RegionOff(within)))
    }
}

/// What a file of these metadata is to us, if anything.
fn kind_of(path: &Path, metadata: &Metadata) -> Result<Kind, SourceError> {
    let file_type = metadata.file_type();
    let what = if file_type.is_file() {
        return Ok(Kind::File);
    } else if file_type.is_block_device() {
        return Ok(Kind::Block);
    } else if file_type.is_char_device() {
        if dax::is_dax(Path::new("/sys/dev/char"), metadata.rdev()) {
            return Ok(Kind::DevDax);
        }
        "a character device that is not a dax device"
    } else if file_type.is_dir() {
        "a directory"
    } else if file_type.is_fifo() {
        "a named pipe"
    } else if file_type.is_socket() {
        "a socket"
    } else {
        "of an unknown kind"
    };
    Err(SourceError::NotMemory {
        path: path.to_owned(),
        what,
    })
}

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the crate refuses 32-bit hosts"
)]
mod tests;
