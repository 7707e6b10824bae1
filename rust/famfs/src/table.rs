//! The reservation table: space that is promised to publishers and not yet named by the log.
//!
//! Owns one host-local file per volume, beside a backing file or under /run/famfs for a device:
//! fixed records, each with a token and its extents. A record lives as long as somebody holds a
//! lock on it, or as long as somebody holds the transaction that it is a part of; what nobody holds is
//! free again. Read and written only under the host lock.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use famfs_core::extent::Map;
use famfs_core::units::ByteLen;
use famfs_mem::{Kind, RecordRange, Registration, Source, close_in_child};
use uuid::Uuid;
use zerocopy::byteorder::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::{Error, Result};
use crate::record::{Part, RECORD, Record};

const MAGIC: u64 = 0x7674_7372_7366_6d66;

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

const _: () = assert!(size_of::<RawHead>() == RECORD);

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

/// A record, and whether somebody holds it, or only its transaction.
#[derive(Clone, Copy, Debug)]
struct Found {
    record: Record,
    held: bool,
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
        let records = self.records()?;
        let found = records.into_iter().filter_map(|(_, found)| found);
        Ok(found.map(|found| found.record.promise).collect())
    }

    /// Every record: its index, and what it says if somebody holds it or its transaction.
    fn records(&self) -> Result<Vec<(u64, Option<Found>)>> {
        let len = self.file.metadata().map_err(self.io("examine"))?.len();
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0).saturating_sub(RECORD)];
        self.file
            .read_exact_at(&mut bytes, RECORD as u64)
            .map_err(self.io("read"))?;
        let (records, _) = bytes.as_chunks::<RECORD>();
        let mut all = Vec::with_capacity(records.len());
        for (index, bytes) in (0..).zip(records) {
            let found = match Record::decode(bytes) {
                Some(record) => Some(Found {
                    record,
                    held: self.is_held(index, record.promise.token)?,
                }),
                None => None,
            };
            all.push((index, found));
        }
        let held = all.iter().filter_map(|(_, found)| found.as_ref());
        let held: BTreeSet<_> = held
            .filter(|found| found.held)
            .map(|found| found.record.promise.token)
            .collect();
        for (index, slot) in &mut all {
            let is_free = slot.as_ref().is_some_and(|found| {
                let part = found.record.part;
                !found.held && !part.is_some_and(|part| held.contains(&part.transaction))
            });
            if is_free {
                self.clear(*index)?;
                *slot = None;
            }
        }
        Ok(all)
    }

    fn is_held(&self, index: u64, token: Uuid) -> Result<bool> {
        let own = self.own.get(&token);
        Ok(own.is_some_and(|own| own.index == index)
            || range(index)
                .is_held_elsewhere(&self.file)
                .map_err(self.io("ask for locks in"))?)
    }

    pub(crate) fn clear(&self, index: u64) -> Result<()> {
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
            .filter(|(_, found)| found.is_none())
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
        let record = Record {
            promise: *promise,
            part: None,
            pid: std::process::id(),
        };
        let written = self.file.write_all_at(&record.encode(), range(index).start);
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
            .filter_map(|(index, found)| Some((index, found?.record)))
            .find(|(_, record)| record.promise.token == token);
        let (index, record) = found.ok_or(Error::NoReservation { token })?;
        if let Some(own) = self.own.get_mut(&token) {
            own.handles += 1;
        } else {
            range(index)
                .hold(&self.file)
                .map_err(self.io("lock a record of"))?;
            self.own.insert(token, Own { index, handles: 1 });
        }
        Ok(record.promise)
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
        Ok(Record::decode(&bytes).is_some_and(|record| record.promise.token == token))
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

    /// Lets go of a part of a transaction, whose record stays for as long as somebody holds the
    /// transaction: filled, to be committed by its owner, or begun and not finished.
    pub(crate) fn leave(&mut self, token: Uuid, filled: bool) -> Result<()> {
        let own = *self.own.get(&token).ok_or(Error::NoReservation { token })?;
        if filled {
            self.change(token, |part| {
                if let Some(part) = part {
                    part.filled = true;
                }
            })?;
        }
        self.own.remove(&token);
        range(own.index)
            .release(&self.file)
            .map_err(self.io("unlock a record of"))
    }

    /// Checks that somebody holds a reservation.
    ///
    /// # Errors
    /// [`Error::NoReservation`].
    pub(crate) fn check_held(&self, token: Uuid) -> Result<()> {
        let records = self.records()?;
        let mut found = records.iter().filter_map(|(_, found)| found.as_ref());
        if found.any(|found| found.held && found.record.promise.token == token) {
            return Ok(());
        }
        Err(Error::NoReservation { token })
    }

    /// Makes a reservation of this process a part of a transaction, which somebody holds, and in
    /// which nobody else has its path. A part at the path that was begun and never finished gives
    /// way.
    ///
    /// # Errors
    /// [`Error::NoReservation`] and [`Error::Twice`].
    pub(crate) fn assign(&self, token: Uuid, part: Part) -> Result<()> {
        self.check_held(part.transaction)?;
        for (index, found) in self.parts_of(part.transaction)? {
            let Some(other) = found.record.part.filter(|other| other.path == part.path) else {
                continue;
            };
            if found.held || other.filled {
                return Err(Error::Twice {
                    path: part.path.to_string(),
                });
            }
            self.clear(index)?;
        }
        self.change(token, |slot| *slot = Some(part))
    }

    /// Changes what a reservation of this process is a part of.
    fn change(&self, token: Uuid, change: impl FnOnce(&mut Option<Part>)) -> Result<()> {
        self.rewrite(token, |record| change(&mut record.part))
    }

    /// Puts another promise in the place of one of this process, with its token.
    pub(crate) fn replace(&self, promise: &Promise) -> Result<()> {
        self.rewrite(promise.token, |record| record.promise = *promise)
    }

    fn rewrite(&self, token: Uuid, change: impl FnOnce(&mut Record)) -> Result<()> {
        let own = *self.own.get(&token).ok_or(Error::NoReservation { token })?;
        let at = range(own.index).start;
        let mut bytes = [0; RECORD];
        self.file
            .read_exact_at(&mut bytes, at)
            .map_err(self.io("read"))?;
        let record = Record::decode(&bytes).filter(|record| record.promise.token == token);
        let mut record = record.ok_or(Error::NoReservation { token })?;
        change(&mut record);
        self.file
            .write_all_at(&record.encode(), at)
            .map_err(self.io("write"))
    }

    /// The parts of a transaction that others have filled, with the indices of their records.
    /// `own` are the tokens of those that are committed beside them.
    ///
    /// # Errors
    /// [`Error::Busy`] where a part is being filled, [`Error::Unfinished`] where one never will be.
    pub(crate) fn filled(
        &self,
        transaction: Uuid,
        own: &[Uuid],
    ) -> Result<Vec<(u64, Promise, Part)>> {
        let mut filled = Vec::new();
        for (index, found) in self.parts_of(transaction)? {
            let Record { promise, part, pid } = found.record;
            let Some(part) = part.filter(|_| !own.contains(&promise.token)) else {
                continue;
            };
            if found.held {
                return Err(Error::Busy {
                    path: PathBuf::from(part.path.to_string()),
                    holders: format!(
                        "process {pid} still writes it for this transaction; commit when it has \
                         left its block"
                    ),
                });
            }
            if !part.filled {
                return Err(Error::Unfinished {
                    path: part.path.to_string(),
                    pid,
                });
            }
            filled.push((index, promise, part));
        }
        Ok(filled)
    }

    fn parts_of(&self, transaction: Uuid) -> Result<Vec<(u64, Found)>> {
        let records = self.records()?.into_iter();
        let found = records.filter_map(|(index, found)| Some((index, found?)));
        Ok(found
            .filter(|(_, found)| {
                let part = found.record.part;
                part.is_some_and(|part| part.transaction == transaction)
            })
            .collect())
    }
}
