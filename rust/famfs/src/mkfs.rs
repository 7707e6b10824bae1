//! Making a volume.
//!
//! Owns what is refused before anything is written, and which bytes make an empty volume. The order
//! in which they are written is the protocol's ([`crate::coherence`]); a block device, which is
//! never mapped, is written past the page cache in the same order.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use famfs_core::header::LogHeader;
use famfs_core::media::{LOG_OFFSET, MIN_LOG_LEN, OMF_MINOR, SUPERBLOCK_LEN};
use famfs_core::replay::DeviceError;
use famfs_core::superblock::{NewSuperblock, Superblock};
use famfs_core::units::{ALLOC_UNIT, ByteLen, MAX_DEVICE};
use famfs_mem::{Access, Kind, Region, Source, SourceError};
use uuid::Uuid;

use crate::coherence::{Coherence, FIRST_LINE, Locality};
use crate::error::{Error, Result};
use crate::host;
use crate::lock;
use crate::memory;

/// What a new volume is to be.
#[derive(Clone, Copy, Debug)]
pub struct MkfsOptions {
    /// Make the backing file, with this many bytes.
    pub size: Option<u64>,
    /// Length of the log in bytes.
    pub log_len: u64,
    /// Leave the backing file's space to be taken as it is used.
    pub sparse: bool,
    /// The format's minor version: 3, or 2 for the reference's own.
    pub omf_minor: u32,
    /// The host that may write, by default this one.
    pub host: Option<Uuid>,
    /// Make it over a volume that is there.
    pub force: bool,
}

impl Default for MkfsOptions {
    fn default() -> Self {
        Self {
            size: None,
            log_len: MIN_LOG_LEN,
            sparse: false,
            omf_minor: OMF_MINOR,
            host: None,
            force: false,
        }
    }
}

/// Makes a volume on a device or in a backing file.
///
/// # Errors
/// [`Error::VolumeExists`] unless forced; [`Error::HostFull`] where a backing file's space can't be
/// had; [`Error::Busy`] for a dax device whose memory is the system's; [`Error::Usage`] for sizes that
/// make no volume.
pub fn mkfs(path: &Path, options: &MkfsOptions) -> Result<Superblock> {
    let host = match options.host {
        Some(host) => host,
        None => host::establish()?,
    };
    check_sizes(path, options)?;
    famfs_sys::dax::mappable(path)?;
    let (source, is_new) = open(path, options)?;
    let size = source.size();
    let needed = LOG_OFFSET + options.log_len + ALLOC_UNIT;
    if size < needed || size > MAX_DEVICE {
        let reason = if size < needed {
            format!("a volume with this log needs {needed} at least")
        } else {
            DeviceError::TooLarge { size }.to_string()
        };
        return Err(Error::Usage(format!(
            "{}: {size} bytes: {reason}",
            path.display()
        )));
    }
    // Readers and writers of this host wait, or are told that the volume changed.
    lock::wait(source.file(), path)?;
    // Also where the file was made by this call: another may have been faster to lock it.
    if !options.force {
        refuse_data(&source, options.log_len)?;
    }
    let is_new = is_new && {
        let mut bytes = [0; SUPERBLOCK_LEN];
        source.read_at(0, &mut bytes).map_err(Error::source)?;
        bytes == [0; SUPERBLOCK_LEN]
    };
    let name = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let superblock = Superblock::new(&NewSuperblock {
        uuid: Uuid::new_v4(),
        device_uuid: Uuid::new_v4(),
        system_uuid: host,
        log_len: options.log_len,
        omf_minor: options.omf_minor,
        device_size: ByteLen(size),
        device_name: std::os::unix::ffi::OsStrExt::as_bytes(name.as_os_str()),
    })
    .map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
    write(&source, &superblock, is_new)?;
    Ok(superblock)
}

fn check_sizes(path: &Path, options: &MkfsOptions) -> Result<()> {
    let log_len = options.log_len;
    if log_len < MIN_LOG_LEN || !log_len.is_power_of_two() || log_len > MAX_DEVICE {
        return Err(Error::Usage(format!(
            "{}: a log of {log_len} bytes: a power of two from {MIN_LOG_LEN} (8 MiB) on was \
             expected",
            path.display()
        )));
    }
    if let Some(size) = options.size
        && (size < LOG_OFFSET + log_len + ALLOC_UNIT || size > MAX_DEVICE)
    {
        return Err(Error::Usage(format!(
            "{}: --size {size}: from {} to {MAX_DEVICE} bytes were expected with this log",
            path.display(),
            LOG_OFFSET + log_len + ALLOC_UNIT
        )));
    }
    Ok(())
}

/// Opens what is there, or makes the backing file; whether it was made.
fn open(path: &Path, options: &MkfsOptions) -> Result<(Source, bool)> {
    match (Source::open(path, Access::Exclusive), options.size) {
        (Err(SourceError::Open { source, .. }), Some(size))
            if source.kind() == std::io::ErrorKind::NotFound =>
        {
            let size = size - size % ALLOC_UNIT;
            if !options.sparse {
                memory::check(path, size)?;
            }
            let made = Source::create_file(path, size, options.sparse);
            made.map(|source| (source, true)).map_err(Error::source)
        }
        (Err(SourceError::Open { path, source }), None)
            if source.kind() == std::io::ErrorKind::NotFound =>
        {
            Err(Error::Usage(format!(
                "{}: no such device or file; with --size a backing file is made",
                path.display()
            )))
        }
        (Err(SourceError::Open { path, source }), _)
            if source.kind() == std::io::ErrorKind::ResourceBusy =>
        {
            Err(Error::Busy {
                path,
                holders: "the kernel uses the device: it is mounted, or part of something; \
                          umount it first"
                    .into(),
            })
        }
        (Err(error), _) => Err(Error::source(error)),
        (Ok(source), Some(size)) if source.kind() == Kind::File => {
            lock::wait(source.file(), path)?;
            if !options.force {
                refuse_data(&source, options.log_len)?;
            }
            Ok((resized(source, size, options.sparse)?, false))
        }
        (Ok(source), Some(_)) => Err(Error::Usage(format!(
            "{}: --size is for backing files, a device has its own",
            source.path().display()
        ))),
        (Ok(source), None) if source.size() == 0 => Err(Error::Usage(format!(
            "{}: the file is empty; say its size with --size",
            source.path().display()
        ))),
        (Ok(source), None) if !source.is_memory() && !options.force => Err(Error::Usage(format!(
            "{}: a block device that is no memory, such as a disk: a volume there can't be \
             mounted; use a /dev/pmem or /dev/dax device or a backing file, or --force",
            source.path().display()
        ))),
        (Ok(source), None) => Ok((source, false)),
    }
}

/// A backing file given its new size, with its space taken; as it was where that can't be had.
fn resized(mut source: Source, size: u64, sparse: bool) -> Result<Source> {
    let (before, size) = (source.size(), size - size % ALLOC_UNIT);
    let path = source.path().to_owned();
    if !sparse {
        let taken = source.file().metadata().map_or(0, |m| m.blocks() * 512);
        memory::check(&path, size.saturating_sub(taken))?;
    }
    let resize = |source: &mut Source| -> Result<()> {
        if source.size() != size {
            source.set_len(size).map_err(Error::source)?;
        }
        if !sparse {
            source.allocate(0, size).map_err(Error::source)?;
        }
        Ok(())
    };
    if size < before && !sparse {
        // What is to be cut off is cut only when the rest is sure to be had.
        source.allocate(0, size).map_err(Error::source)?;
    }
    resize(&mut source).inspect_err(|_| {
        // A volume may be there, which is mounted at its old size.
        let _ = source.set_len(before);
    })?;
    Ok(source)
}

/// Refuses a device that holds anything like a volume, in any state, or other data.
fn refuse_data(source: &Source, log_len: u64) -> Result<()> {
    use famfs_core::superblock::SuperblockError as E;
    let mut bytes = [0; SUPERBLOCK_LEN];
    let there = usize::try_from(source.size()).map_or(bytes.len(), |size| size.min(bytes.len()));
    source
        .read_at(0, &mut bytes[..there])
        .map_err(Error::source)?;
    let path = source.path().to_owned();
    match Superblock::decode(&bytes[..there]) {
        Ok(superblock) => Err(Error::VolumeExists {
            path,
            uuid: superblock.uuid(),
        }),
        // Memory that was never formatted may hold anything: a dax device has no file systems.
        Err(E::Magic { .. } | E::Truncated { .. }) if source.kind() == Kind::DevDax => Ok(()),
        Err(E::Magic { .. } | E::Truncated { .. }) => match first_data(source, log_len)? {
            None => Ok(()),
            Some(at) => Err(Error::Usage(format!(
                "{}: holds data that is no volume (byte {at} is not zero); --force makes one over \
                 it, and the data is lost",
                path.display()
            ))),
        },
        // A volume of another version, or a damaged one, is not ours to lose either.
        Err(_) => {
            let uuid = Uuid::from_slice(&bytes[48..64]).unwrap_or_default();
            Err(Error::VolumeExists { path, uuid })
        }
    }
}

/// The first byte that is not zero: of all that a file holds, and of what a device would lose to
/// superblock and log, where file systems and partition tables have what tells of them.
fn first_data(source: &Source, log_len: u64) -> Result<Option<u64>> {
    let end = match source.kind() {
        Kind::File => source.size(),
        _ => source.size().min(LOG_OFFSET + log_len),
    };
    let mut piece = vec![0; 1 << 20];
    let mut at = 0;
    while at < end {
        if source.kind() == Kind::File {
            // Holes hold nothing; a file system without them has one piece of data.
            match rustix::fs::seek(source.file(), rustix::fs::SeekFrom::Data(at)) {
                Ok(data) => at = data,
                Err(rustix::io::Errno::NXIO) => return Ok(None),
                Err(_) => {}
            }
        }
        let len = usize::try_from(end.saturating_sub(at))
            .map_or(piece.len(), |left| left.min(piece.len()));
        let piece = &mut piece[..len];
        source.read_at(at, piece).map_err(Error::source)?;
        if let Some(found) = piece.iter().position(|byte| *byte != 0) {
            return Ok(Some(at + found as u64));
        }
        at += len as u64;
    }
    Ok(None)
}

fn write(source: &Source, superblock: &Superblock, is_new: bool) -> Result<()> {
    let path = source.path();
    let log_len = superblock.log_len();
    let header = LogHeader::new(log_len)
        .ok_or_else(|| Error::Usage(format!("a log of {log_len} bytes holds no entry")))?
        .encode();
    let superblock = superblock.encode();
    // A new file reads as zeros.
    let clear = (!is_new).then_some(log_len.0);
    if source.kind() != Kind::Block {
        // Its own mapping, not kept: the old volume's may still have readers.
        Region::forget(&source.identity());
        let region = Region::map(source).map_err(Error::map(path))?;
        let coherence = Coherence::new(region, Locality::Shared);
        let formatted = coherence.format(&superblock, &header, clear);
        return formatted.map_err(Error::fault(path));
    }
    let put = |at: u64, bytes: &[u8]| source.write_at(at, bytes).map_err(Error::source);
    put(0, &[0; FIRST_LINE])?;
    source.sync().map_err(Error::source)?;
    let blank = vec![0; 1 << 20];
    for at in (0..log_len.0).step_by(blank.len()) {
        put(LOG_OFFSET + at, &blank)?;
    }
    put(LOG_OFFSET, &header)?;
    source.sync().map_err(Error::source)?;
    put(FIRST_LINE as u64, &superblock[FIRST_LINE..])?;
    source.sync().map_err(Error::source)?;
    put(0, &superblock[..FIRST_LINE])?;
    source.sync().map_err(Error::source)
}
