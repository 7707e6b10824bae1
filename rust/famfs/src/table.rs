//! The reservation table: space that is promised to publishers and not yet named by the log.
//!
//! Owns one host-local file per volume, beside a backing file or under /run/famfs for a device:
//! fixed records, each with a token and its extents. A record lives as long as somebody holds a
//! lock on it; what nobody holds is free again. Read and written only under the host lock.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use famfs_core::extent::{Extent, Extents, Map};
use famfs_core::media::MAX_EXTENTS;
use famfs_core::units::ByteLen;
use famfs_mem::{Kind, RecordRange, Registration, Source, close_in_child};
use uuid::Uuid;
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::{Error, Result};

const MAGIC: u64 = 0x7674_7372_7366_6d66;
const RECORD: usize = 512;

/// Free records in a row that may be locked by publishers of a volume that was here before.
const MOST_HELD: u64 = 4096;

/// The first record: which volume the table is for.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHead {
    magic: U64,
    uuid: [u8; 16],
    unused: [u8; 488],
}

/// A reservation, or a free record if its count is 0.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawRecord {
    token: [u8; 16],
    size: U64,       // of the file, in bytes
    chunk_size: U64, // 0 where it is not interleaved
    pid: U32,        // of who made it, for messages
    count: U32,      // of extents
    extents: [[U64; 2]; MAX_EXTENTS],
    unused: [u8; 212],
    crc: U32, // of all bytes before: a record that was torn by a crash is free
}

const _: () = assert!(size_of::<RawHead>() == RECORD && size_of::<RawRecord>() == RECORD);

/// What a reservation holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Promise {
    pub(crate) token: Uuid,
    pub(crate) size: ByteLen,
    pub(crate) map: Map,
}

/// The table of one volume, as this process has it open.
#[derive(Debug)]
pub(crate) struct Table {
    path: PathBuf,
    uuid: Uuid,
    /// Keeps a forked child from holding what its parent holds. Dropped before `file` is, whose
    /// number may be another file's then.
    _closed_in_child: Option<Registration>,
    file: File,
    /// Device and inode of the file.
    identity: (u64, u64),
    /// The records that this process holds, by token, and how many of its handles do.
    own: BTreeMap<Uuid, Own>,
}

/// A table's file, by its name and by what it is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    path: PathBuf,
    file: (u64, u64),
}

impl Place {
    /// Whether others still find what this process has reserved.
    ///
    /// # Errors
    /// [`Error::Busy`] where the file was removed.
    pub(crate) fn check(&self) -> Result<()> {
        match fs::metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == self.file => Ok(()),
            _ => Err(Error::Busy {
                path: self.path.clone(),
                holders: "the reservations were removed while they were in use; publish again"
                    .into(),
            }),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Own {
    index: u64,
    handles: u32,
}

/// For those who may write the volume, and nobody else: who can read the table can lock its records,
/// and by that keep everybody from reserving.
fn mode_for(source: &Source, volume: u32) -> u32 {
    if source.kind() == Kind::Parts {
        // A kernel mount's follower reserves for all others.
        return 0o600;
    }
    let classes = [0o600, 0o060, 0o006];
    let writes = classes
        .into_iter()
        .filter(|class| volume & class & 0o222 != 0);
    writes.fold(0o600, |mode, class| mode | class)
}

fn not_a_table(path: &Path) -> Error {
    Error::BadContent {
        path: path.display().to_string(),
        reason: "is not a table of reservations; move it away, and publish again".into(),
    }
}

fn range(index: u64) -> RecordRange {
    // Index 0 is the first record after the head.
    RecordRange {
        start: (index + 1) * RECORD as u64,
        len: RECORD as u64,
    }
}

/// Where the table of a volume is.
pub(crate) fn path_of(source: &Source, uuid: Uuid) -> PathBuf {
    if source.kind() == Kind::File {
        let real = fs::canonicalize(source.path()).unwrap_or_else(|_| source.path().to_owned());
        let mut name = OsString::from(".");
        name.push(real.file_name().unwrap_or_default());
        name.push(".famfs-reservations");
        real.with_file_name(name)
    } else {
        PathBuf::from(format!("/run/famfs/{uuid}/reservations"))
    }
}

impl Table {
    /// Opens the table, which is made if it is missing.
    pub(crate) fn open(source: &Source, uuid: Uuid) -> Result<Self> {
        let path = path_of(source, uuid);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(Error::io(&path, "make the directory of"))?;
        }
        let volume = source
            .file()
            .metadata()
            .map_err(Error::io(source.path(), "examine"))?;
        let open = |create: bool| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(create)
                .mode(0o600)
                // A link could lead to somebody's file, which would be taken for a table.
                .custom_flags(libc::O_NOFOLLOW)
                .open(&path)
        };
        let file = match open(false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => match open(true) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open(false),
                made => made,
            },
            opened => opened,
        }
        .and_then(famfs_mem::above_standard)
        .map_err(Error::io(&path, "open the reservations in"))?;
        let metadata = file.metadata().map_err(Error::io(&path, "examine"))?;
        if !metadata.is_file() || metadata.nlink() != 1 {
            return Err(not_a_table(&path));
        }
        // Whoever may write the volume may reserve in it, as far as we may say so: also where the
        // volume's mode was changed since.
        let mode = mode_for(source, volume.mode());
        if metadata.gid() != volume.gid() {
            let group = rustix::fs::Gid::from_raw(volume.gid());
            let _ = rustix::fs::fchown(&file, None, Some(group));
        }
        if metadata.mode() & 0o777 != mode {
            let _ = file.set_permissions(Permissions::from_mode(mode));
        }
        let closed = Some(
            close_in_child(file.as_raw_fd()).map_err(|full| Error::Unsupported {
                what: path.display().to_string(),
                why: format!("{full}: too many volumes are open for writing in this process"),
            })?,
        );
        Ok(Self {
            path,
            uuid,
            identity: (metadata.dev(), metadata.ino()),
            file,
            own: BTreeMap::new(),
            _closed_in_child: closed,
        })
    }

    fn io(&self, what: &'static str) -> impl FnOnce(io::Error) -> Error {
        Error::io(&self.path, what)
    }

    /// Makes the table this volume's, and emptied, if it is new or another volume's. The first
    /// thing to call under the host lock.
    ///
    /// # Errors
    /// [`Error::Busy`] where the file was removed: who did that made the others forget what is
    /// reserved.
    pub(crate) fn check(&self) -> Result<()> {
        self.check_place()?;
        let mut bytes = [0; RECORD];
        let read = self.file.read_exact_at(&mut bytes, 0);
        let head: &RawHead = zerocopy::transmute_ref!(&bytes);
        if read.is_ok() && head.magic.get() == MAGIC && head.uuid == *self.uuid.as_bytes() {
            return Ok(());
        }
        if read.is_ok() && head.magic.get() != MAGIC {
            return Err(not_a_table(&self.path));
        }
        let head = RawHead {
            magic: U64::new(MAGIC),
            uuid: *self.uuid.as_bytes(),
            unused: [0; 488],
        };
        self.file.set_len(0).map_err(self.io("empty"))?;
        self.file
            .write_all_at(head.as_bytes(), 0)
            .map_err(self.io("write"))
    }

    fn check_place(&self) -> Result<()> {
        self.place().check()
    }

    /// Where the table is, to ask later whether it is there still.
    pub(crate) fn place(&self) -> Place {
        Place {
            path: self.path.clone(),
            file: self.identity,
        }
    }

    /// All reservations that somebody holds; records that nobody holds are freed on the way.
    pub(crate) fn live(&self) -> Result<Vec<Promise>> {
        Ok(self
            .records()?
            .into_iter()
            .filter_map(|(_, promise)| promise)
            .collect())
    }

    /// Every record: its index, and what it promises if somebody holds it.
    fn records(&self) -> Result<Vec<(u64, Option<Promise>)>> {
        let len = self.file.metadata().map_err(self.io("examine"))?.len();
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0).saturating_sub(RECORD)];
        self.file
            .read_exact_at(&mut bytes, RECORD as u64)
            .map_err(self.io("read"))?;
        let (records, _) = bytes.as_chunks::<RECORD>();
        (0..)
            .zip(records)
            .map(|(index, bytes)| Ok((index, self.judge(index, bytes)?)))
            .collect()
    }

    fn judge(&self, index: u64, bytes: &[u8; RECORD]) -> Result<Option<Promise>> {
        let Some(promise) = decode(bytes) else {
            return Ok(None);
        };
        let held = self
            .own
            .get(&promise.token)
            .is_some_and(|own| own.index == index)
            || range(index)
                .is_held_elsewhere(&self.file)
                .map_err(self.io("ask for locks in"))?;
        if held {
            return Ok(Some(promise));
        }
        self.clear(index)?;
        Ok(None)
    }

    fn clear(&self, index: u64) -> Result<()> {
        let at = range(index).start;
        self.file
            .write_all_at(&[0; RECORD], at)
            .map_err(self.io("write"))
    }

    /// Enters a promise, held by this process.
    pub(crate) fn add(&mut self, promise: &Promise) -> Result<()> {
        let records = self.records()?;
        // A record whose range somebody holds is not free, even where nothing stands in it: that
        // may be a publisher of the volume that was here before.
        let free = records
            .iter()
            .filter(|(_, promise)| promise.is_none())
            .map(|(index, _)| *index);
        let mut index = None;
        let next = records.len() as u64;
        for candidate in free.chain(next..next + MOST_HELD) {
            let held = range(candidate).is_held_elsewhere(&self.file);
            if !held.map_err(self.io("ask for locks in"))? {
                index = Some(candidate);
                break;
            }
        }
        let index = index.ok_or_else(|| Error::Busy {
            path: self.path.clone(),
            holders:
                "a process has locked all of the reservation table, which no version of famfs \
                      does: `lslocks` may name it; end it"
                    .into(),
        })?;
        // Held before it is there: nobody ever sees it without a holder.
        range(index)
            .hold(&self.file)
            .map_err(self.io("lock a record of"))?;
        let written = self.file.write_all_at(&encode(promise), range(index).start);
        if let Err(error) = written {
            let _ = range(index).release(&self.file);
            return Err(self.io("write")(error));
        }
        self.own.insert(promise.token, Own { index, handles: 1 });
        Ok(())
    }

    /// Holds a promise that another process, or another handle of this one, holds too.
    pub(crate) fn adopt(&mut self, token: Uuid) -> Result<Promise> {
        let found = self
            .records()?
            .into_iter()
            .find_map(|(index, promise)| Some((index, promise.filter(|p| p.token == token)?)));
        let (index, promise) = found.ok_or(Error::NoReservation { token })?;
        if let Some(own) = self.own.get_mut(&token) {
            own.handles += 1;
        } else {
            range(index)
                .hold(&self.file)
                .map_err(self.io("lock a record of"))?;
            self.own.insert(token, Own { index, handles: 1 });
        }
        Ok(promise)
    }

    /// Checks that a promise of this process is still there, to be committed.
    pub(crate) fn confirm(&self, token: Uuid) -> Result<()> {
        let own = *self.own.get(&token).ok_or(Error::NoReservation { token })?;
        if !self.has(own.index, token)? {
            return Err(Error::NoReservation { token });
        }
        // Who takes part may still be writing: what is committed is never written again.
        let others = range(own.index).is_held_elsewhere(&self.file);
        if own.handles > 1 || others.map_err(self.io("ask for locks in"))? {
            return Err(Error::Busy {
                path: self.path.clone(),
                holders: format!(
                    "others still take part in reservation {token}; commit it when they have \
                     let go of it"
                ),
            });
        }
        Ok(())
    }

    /// Whether a record still is the one of `token`: it was committed otherwise, by another holder.
    fn has(&self, index: u64, token: Uuid) -> Result<bool> {
        let mut bytes = [0; RECORD];
        self.file
            .read_exact_at(&mut bytes, range(index).start)
            .map_err(self.io("read"))?;
        Ok(decode(&bytes).is_some_and(|promise| promise.token == token))
    }

    /// One handle of this process lets go. With the last one the record is freed, unless another
    /// process holds it too.
    pub(crate) fn release(&mut self, token: Uuid) -> Result<()> {
        let Some(own) = self.own.get_mut(&token) else {
            return Ok(());
        };
        own.handles -= 1;
        if own.handles > 0 {
            return Ok(());
        }
        let range = range(own.index);
        let index = own.index;
        self.own.remove(&token);
        let held = range
            .is_held_elsewhere(&self.file)
            .map_err(self.io("ask for locks in"))?;
        if !held && self.has(index, token)? {
            self.clear(index)?;
        }
        range
            .release(&self.file)
            .map_err(self.io("unlock a record of"))
    }

    /// A promise was kept: the log names its extents now. Whoever else holds it finds it gone.
    pub(crate) fn fulfil(&mut self, token: Uuid) -> Result<()> {
        let Some(own) = self.own.remove(&token) else {
            return Ok(());
        };
        self.clear(own.index)?;
        range(own.index)
            .release(&self.file)
            .map_err(self.io("unlock a record of"))
    }
}

fn encode(promise: &Promise) -> [u8; RECORD] {
    let mut raw = RawRecord::new_zeroed();
    raw.token = *promise.token.as_bytes();
    raw.size = U64::new(promise.size.0);
    raw.pid = U32::new(std::process::id());
    if let Map::Interleaved { chunk_size, .. } = &promise.map {
        raw.chunk_size = U64::new(chunk_size.0);
    }
    let extents = promise.map.extents();
    // One more than there are, so that a reservation without extents is no free record.
    raw.count = U32::new(u32::try_from(extents.len() + 1).unwrap_or(u32::MAX));
    for (raw, extent) in raw.extents.iter_mut().zip(extents.iter()) {
        *raw = [U64::new(extent.offset.0), U64::new(extent.len.0)];
    }
    raw.crc = U32::new(crc32fast::hash(&raw.as_bytes()[..RECORD - 4]));
    zerocopy::transmute!(raw)
}

fn decode(bytes: &[u8; RECORD]) -> Option<Promise> {
    let raw: &RawRecord = zerocopy::transmute_ref!(bytes);
    if raw.crc.get() != crc32fast::hash(&bytes[..RECORD - 4]) {
        return None;
    }
    let count = usize::try_from(raw.count.get()).ok()?.checked_sub(1)?;
    let extents: Vec<_> = raw
        .extents
        .get(..count)?
        .iter()
        .map(|[offset, len]| Extent::primary(offset.get(), len.get()))
        .collect();
    let extents = Extents::new(&extents)?;
    let map = match raw.chunk_size.get() {
        0 => Map::Simple(extents),
        chunk_size => Map::Interleaved {
            chunk_size: ByteLen(chunk_size),
            strips: extents,
        },
    };
    Some(Promise {
        token: Uuid::from_bytes(raw.token),
        size: ByteLen(raw.size.get()),
        map,
    })
}
