//! A volume's memory, mapped once per process to be read, and once more by who writes.
//!
//! Owns the mappings, the descriptor for further mappings of the same memory, and who may map what.
//! It must not know what the bytes mean. What is handed out as a view lies where nothing can be
//! written, by whatever code is handed its address: what is published stays as it is.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use thiserror::Error;

use crate::{
    PerProcess, Piece, above_standard, guard,
    located::Listed,
    mapping::Mapping,
    memory::{Fault, Memory, RegionOff, check},
    patches::Patches,
    source::{Access, Identity, Kind, Source},
};

/// The regions of this process: one mapping per volume, kept until it is forgotten.
///
/// Lookups take a lock, so nothing on a hot path comes here. What a forked child inherited stays
/// mapped, and views of it stay valid.
static REGIONS: PerProcess<HashMap<Identity, Arc<Region>>> = PerProcess::new();

/// Why memory cannot be mapped, or a mapping not be changed, as asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MapError {
    /// A mapping of a block device does not reach the device.
    #[error(
        "cannot map {}: a plain mapping of a block device is page cache, not device memory; \
         use the device in devdax mode, or the kernel module", path.display()
    )]
    BlockDevice {
        /// Its path.
        path: PathBuf,
    },
    /// There is nothing to map.
    #[error("cannot map {}: it is empty", path.display())]
    Empty {
        /// Its path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {action} {len} bytes of {}: {source}", path.display())]
    System {
        /// The path of the source.
        path: PathBuf,
        /// What was asked for.
        action: &'static str,
        /// How much of it.
        len: u64,
        /// What the system says.
        source: io::Error,
    },
    /// The range does not lie in the region.
    #[error(transparent)]
    Range(#[from] Fault),
    /// A piece of a view cannot be mapped on its own.
    #[error(
        "piece {index} ({len} bytes at {at}) cannot be mapped after the others: where pieces do \
         not follow each other on the device, each begins and ends at a multiple of {align}"
    )]
    MisalignedPiece {
        /// Which piece.
        index: usize,
        /// Where it begins.
        at: RegionOff,
        /// How long it is.
        len: u64,
        /// What it must be a multiple of.
        align: u64,
    },
    /// The pieces are shorter than the view that is to be made of them.
    #[error("pieces hold {found} bytes, expected at least {expected}")]
    TooShort {
        /// The length of the view.
        expected: u64,
        /// The length of all pieces.
        found: u64,
    },
    /// The kernel limits how many mappings a process may have.
    #[error(
        "view needs {needed} kernel mappings, views of this process already use {used}, and \
         vm.max_map_count is {limit}: make files of fewer, larger chunks, drop views, or raise \
         vm.max_map_count"
    )]
    TooManyMappings {
        /// How many more are needed.
        needed: u64,
        /// How many are used for views.
        used: u64,
        /// The limit of the kernel.
        limit: u64,
    },
}

/// A volume's memory in this process.
#[derive(Debug)]
pub struct Region {
    /// First, so that it goes before the addresses do.
    _listed: Listed,
    /// To be read; where files are attached, also to be written, as each of them allows.
    mapping: Mapping,
    /// To be written, from the first store on.
    stores: OnceLock<Mapping>,
    writable: bool,
    file: File,
    path: PathBuf,
    identity: Identity,
    kind: Kind,
    align: u64,
    /// Where files are attached to it, and not all of it is one mapping.
    patches: Option<Patches>,
}

impl Region {
    /// The region of a source: mapped at the first call, shared from then on.
    ///
    /// One that is read-only, or shorter than the source is now, is replaced when a source asks for
    /// more; whoever has the old one keeps it.
    ///
    /// # Errors
    /// [`MapError::BlockDevice`] for a block device.
    pub fn map(source: &Source) -> Result<Arc<Self>, MapError> {
        let path = || source.path().to_owned();
        if source.kind() == Kind::Block {
            return Err(MapError::BlockDevice { path: path() });
        }
        if source.size() == 0 {
            return Err(MapError::Empty { path: path() });
        }
        let system = |action| {
            move |error| MapError::System {
                path: source.path().to_owned(),
                action,
                len: source.size(),
                source: error,
            }
        };
        let mut regions = REGIONS.lock();
        let existing = regions.get(&source.identity());
        if let Some(region) = existing
            && region.mapping.len() >= source.size()
            && (source.access() == Access::ReadOnly || region.writable)
        {
            guard::arm().map_err(system("guard"))?;
            let region = Arc::clone(region);
            region.attach_parts(source)?;
            return Ok(region);
        }
        // Longer, but not writable, must not lose the permission that others count on.
        let kept = existing.filter(|region| region.writable);
        let writable = source.access() != Access::ReadOnly || kept.is_some();
        let file = match kept {
            Some(region) if source.access() == Access::ReadOnly => &region.file,
            _ => source.file(),
        };
        let file = another(file, writable).map_err(system("open again"))?;
        let (mapping, patches) = if source.kind() == Kind::Parts {
            // Each part has rights of its own: a reader's region may get parts to write.
            let mapping = Mapping::reserved(source.size(), source.align(), true);
            (mapping, Some(Patches::default()))
        } else {
            let mapping = Mapping::new(&file, 0, source.size(), source.align(), false);
            (mapping, None)
        };
        let mapping = mapping.map_err(system("map"))?;
        let all = Piece {
            at: RegionOff(0),
            len: mapping.len(),
        };
        // It was mapped, so its length is one of addresses.
        let len = usize::try_from(all.len).unwrap_or(0);
        let base = mapping.base().addr();
        let region = Arc::new(Self {
            _listed: Listed::new(base, len, source.identity(), &[all]),
            mapping,
            stores: OnceLock::new(),
            // Parts have rights of their own.
            writable: writable || source.kind() == Kind::Parts,
            file,
            path: path(),
            identity: source.identity(),
            kind: source.kind(),
            align: source.align(),
            patches,
        });
        region.attach_parts(source)?;
        regions.insert(source.identity(), Arc::clone(&region));
        Ok(region)
    }

    /// Attaches what a source shows of its device, where it does so in parts.
    fn attach_parts(&self, source: &Source) -> Result<(), MapError> {
        source.parts().iter().try_for_each(|part| {
            let piece = Piece {
                at: RegionOff(part.at),
                len: part.len,
            };
            let writable = part.writable && source.access() != Access::ReadOnly;
            self.attach(&part.file, &[piece], writable)
        })
    }

    /// Lets go of a volume's region: the next [`map`](Region::map) makes a new one.
    ///
    /// It stays mapped for as long as somebody, or a view, holds it.
    pub fn forget(identity: &Identity) {
        let forgotten = REGIONS.lock().remove(identity);
        // Unmapping may take long: not under the lock.
        drop(forgotten);
    }

    /// The path of the source it was mapped from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which file or device it is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// What the source is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What offsets and lengths of mappings are multiples of.
    #[must_use]
    pub fn align(&self) -> u64 {
        self.align
    }

    /// Whether stores are allowed.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Where it begins in this process's addresses, to compare with others; not to be read through.
    #[must_use]
    pub fn address(&self) -> usize {
        self.mapping.base().addr()
    }

    pub(crate) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    pub(crate) fn patches(&self) -> Option<&Patches> {
        self.patches.as_ref()
    }

    /// The mapping to read or write a range through, after that was found to be there.
    fn at(&self, at: RegionOff, len: u64, writable: bool) -> Result<&Mapping, Fault> {
        match &self.patches {
            Some(patches) if len > 0 => {
                // Outside of the region is told as ever.
                check(at, len, self.mapping.len())?;
                patches.check(at, len, writable)?;
            }
            _ => {}
        }
        if writable {
            self.to_write()
        } else {
            Ok(&self.mapping)
        }
    }

    /// The mapping to write through, made when it is first asked for: readers never have one.
    pub(crate) fn to_write(&self) -> Result<&Mapping, Fault> {
        if !self.writable {
            return Err(Fault::ReadOnly);
        }
        if self.patches.is_some() {
            return Ok(&self.mapping);
        }
        if let Some(stores) = self.stores.get() {
            return Ok(stores);
        }
        let made = Mapping::new(&self.file, 0, self.mapping.len(), self.align, true);
        let made = made.map_err(|error| Fault::Unmapped { why: error.kind() })?;
        // Another thread may have been first: its mapping is as good.
        Ok(self.stores.get_or_init(|| made))
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn system(&self, action: &'static str, len: u64, source: io::Error) -> MapError {
        MapError::System {
            path: self.path.clone(),
            action,
            len,
            source,
        }
    }
}

/// Another descriptor for an open file, which does not share its locks where that can be had.
///
/// A lock belongs to the open file description: with a mere duplicate, the region would keep what
/// the source's owner locked and believes to have let go by closing it.
fn another(file: &File, writable: bool) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // Without /proc, or without permission to open what somebody handed us, a duplicate must do.
    OpenOptions::new()
        .read(true)
        .write(writable)
        .open(path)
        .or_else(|_| file.try_clone())
        .and_then(above_standard)
}

impl Memory for Region {
    fn len(&self) -> u64 {
        self.mapping.len()
    }

    fn load(&self, at: RegionOff, into: &mut [u8]) -> Result<(), Fault> {
        self.at(at, into.len() as u64, false)?.load(at, into)
    }

    fn load_pair(&self, at: RegionOff) -> Result<[u64; 2], Fault> {
        self.at(at, 16, false)?.load_pair(at)
    }

    fn store(&self, at: RegionOff, bytes: &[u8]) -> Result<(), Fault> {
        self.at(at, bytes.len() as u64, true)?.store(at, bytes)
    }

    fn store_pair(&self, at: RegionOff, pair: [u64; 2]) -> Result<(), Fault> {
        self.at(at, 16, true)?.store_pair(at, pair)
    }

    fn stream(&self, at: RegionOff, bytes: &[u8], threads: usize) -> Result<(), Fault> {
        let mapping = self.at(at, bytes.len() as u64, true)?;
        mapping.stream(at, bytes, threads)
    }

    fn stream_seen(
        &self,
        at: RegionOff,
        bytes: &[u8],
        seen: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Fault> {
        let mapping = self.at(at, bytes.len() as u64, true)?;
        mapping.stream_seen(at, bytes, seen)
    }

    fn zero(&self, at: RegionOff, len: u64, threads: usize) -> Result<(), Fault> {
        self.at(at, len, true)?.zero(at, len, threads)
    }

    fn write_back(&self, at: RegionOff, len: u64) -> Result<u64, Fault> {
        self.at(at, len, false)?.write_back(at, len)
    }

    fn invalidate(&self, at: RegionOff, len: u64) -> Result<u64, Fault> {
        self.at(at, len, false)?.invalidate(at, len)
    }

    fn fence_stores(&self) {
        self.mapping.fence_stores();
    }

    fn fence_invalidate(&self) {
        self.mapping.fence_invalidate();
    }

    fn pair_is_atomic(&self) -> bool {
        self.mapping.pair_is_atomic()
    }
}

#[cfg(test)]
#[path = "region_tests.rs"]
mod tests;
