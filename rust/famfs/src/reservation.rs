//! A reservation: space for one file, while it is filled.
//!
//! Owns what was written of it and what is cleared for the rest. It never touches the log, and takes
//! the host lock only to be given back.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};

use famfs_core::extent::Map;
use famfs_core::units::{ByteLen, DevOff, FileOff};
use famfs_mem::{Fault, Kind, Window, default_threads};
use famfs_sys::ioctl::FileMap;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::service::{Client, Handed};
use crate::table::{Place, Promise, Table};
use crate::volume::Inner;

/// Data from this size on is written by several threads.
const PARALLEL_FROM: u64 = 8 << 20;

/// A gap from this size on is punched where the backing is sparse, rather than filled.
const PUNCH_FROM: u64 = 2 << 20;

/// What bytes past a file's end are cleared up to: the largest page that a host may map.
const PAGE: u64 = 64 << 10;

/// Who holds the space.
#[derive(Debug)]
enum Keeper {
    /// The table's locks, whatever becomes of the volume's writer meanwhile.
    Table {
        _table: Arc<Mutex<Table>>,
        place: Place,
    },
    /// The follower of a kernel mount, for a user who may not place files.
    Follower(Arc<Client>),
}

/// Space for one file, filled by this process, not visible yet. Dropped, it was never there.
#[derive(Debug)]
pub struct Reservation {
    volume: Arc<Inner>,
    keeper: Keeper,
    promise: Promise,
    /// The ranges of the file that were written, or lent to be, by where they begin.
    written: Mutex<BTreeMap<u64, u64>>,
    /// What was lent of it, to be written in place.
    pub(crate) window: Mutex<Option<Arc<Window>>>,
    /// Whether its record is a transaction's, and stays when this is dropped.
    stays: bool,
    /// The kernel's file over its space, without a name yet, under a kernel mount.
    shown: Option<Arc<File>>,
    /// Whether that is attached to the region.
    attached: bool,
    /// Whether the table still has it: not committed.
    open: bool,
}

impl Reservation {
    pub(crate) fn new(volume: &Arc<Inner>, promise: &Promise, table: Arc<Mutex<Table>>) -> Self {
        let place = table.lock().unwrap_or_else(PoisonError::into_inner).place();
        let keeper = Keeper::Table {
            _table: table,
            place,
        };
        Self::kept(volume, promise, keeper)
    }

    fn kept(volume: &Arc<Inner>, promise: &Promise, keeper: Keeper) -> Self {
        Self {
            volume: Arc::clone(volume),
            keeper,
            promise: *promise,
            written: Mutex::new(BTreeMap::new()),
            window: Mutex::default(),
            stays: false,
            shown: None,
            attached: false,
            open: true,
        }
    }

    /// What the follower of the mount has reserved, and handed over cleared.
    pub(crate) fn handed(volume: &Arc<Inner>, client: Arc<Client>, handed: Handed) -> Result<Self> {
        let keeper = Keeper::Follower(client);
        let mut reservation = Self::kept(volume, &handed.promise, keeper);
        reservation.note_all();
        reservation.attach(handed.file)?;
        Ok(reservation)
    }

    /// Makes its bytes reachable, where the kernel has the device.
    ///
    /// # Errors
    /// [`Error::Permission`] for whoever may not place files; [`Error::Busy`] where a process still
    /// maps what had this space.
    pub(crate) fn show(&mut self) -> Result<()> {
        let volume = Arc::clone(&self.volume);
        match &volume.kernel {
            Some(kernel) => self.attach(kernel.make(&self.file_map())?),
            None => Ok(()),
        }
    }

    /// Makes the bytes of another process's reservation reachable: the kernel has its file.
    ///
    /// # Errors
    /// [`Error::NoReservation`] where no process that can be looked at has it open.
    pub(crate) fn show_adopted(&mut self) -> Result<()> {
        let volume = Arc::clone(&self.volume);
        let Some(kernel) = &volume.kernel else {
            return Ok(());
        };
        if self.promise.size.0 == 0 {
            // All empty files have the same map, and each is as good.
            return self.show();
        }
        let file = kernel.open_unnamed(&self.file_map())?;
        let token = self.promise.token;
        self.attach(file.ok_or(Error::NoReservation { token })?)
    }

    fn file_map(&self) -> FileMap {
        crate::kernel::file_map(self.promise.size, &self.promise.map)
    }

    fn attach(&mut self, file: File) -> Result<()> {
        let pieces = crate::kernel::pieces(&self.runs());
        // Said before it is done: what fails half-way is detached with the reservation.
        self.attached = true;
        let held = self.volume.region.hold(&file, &pieces);
        self.shown = Some(Arc::new(file));
        held.map_err(Error::map(self.volume.source.path()))
    }

    fn detach(&mut self) {
        if std::mem::take(&mut self.attached) {
            // What can't be let go of keeps its space busy until this process is gone.
            let _ = crate::view::withdrawn(&self.volume.region, &self.runs());
        }
    }

    /// Lies elsewhere, or has another size, from now on: so the table has it already.
    ///
    /// # Errors
    /// As [`Self::show`].
    pub(crate) fn moved(&mut self, promise: &Promise) -> Result<()> {
        if self.window.get_mut().is_ok_and(|window| window.is_some()) {
            return Err(Error::Usage(
                "a reservation whose memory is lent keeps its place".into(),
            ));
        }
        // The kernel's file is of the space as it was, and keeps it from one that is of both.
        self.detach();
        self.shown = None;
        self.promise = *promise;
        self.show()
    }

    /// Clears all of it, for another process that fills it: free space holds what others wrote.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub(crate) fn clear_for_others(mut self) -> Result<Self> {
        self.clear_rest()?;
        self.note_all();
        self.detach();
        Ok(self)
    }

    /// Remembers that all was written, to the end of its last page.
    fn note_all(&self) {
        self.note(0, self.promise.map.capacity().max(self.promise.size.0));
    }

    pub(crate) fn shown(&self) -> Option<&Arc<File>> {
        self.shown.as_ref()
    }

    pub(crate) fn runs(&self) -> Vec<(DevOff, u64)> {
        let runs = self.promise.map.runs(FileOff(0), self.promise.size);
        runs.map(|run| (run.offset, run.len.0)).collect()
    }

    pub(crate) fn volume(&self) -> &Arc<Inner> {
        &self.volume
    }

    pub(crate) fn token(&self) -> Uuid {
        self.promise.token
    }

    /// The follower that keeps it, where it is not this process.
    pub(crate) fn follower(&self) -> Option<&Arc<Client>> {
        match &self.keeper {
            Keeper::Table { .. } => None,
            Keeper::Follower(client) => Some(client),
        }
    }

    /// Whether it was not committed yet, nor left to others.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Says that its record is of a transaction that others commit: whoever drops it has begun a
    /// file and not finished it, and the transaction is not whole without.
    pub(crate) fn stay(&mut self) {
        self.stays = true;
    }

    /// It was filled and left to whoever commits the transaction: dropping it gives nothing back.
    pub(crate) fn left(&mut self) {
        self.open = false;
        if self.shown.is_some() {
            // A mapping of the kernel's file would keep the space from who is to name it.
            let _ = self.void();
        }
        self.detach();
        self.shown = None;
    }

    /// The log names its space now: dropping it gives nothing back.
    pub(crate) fn committed(&mut self) {
        self.open = false;
        if std::mem::take(&mut self.attached) {
            // Others may view it from now on.
            self.volume
                .region
                .keep(&crate::kernel::pieces(&self.runs()));
        }
    }

    /// The token that other processes take part by, for as long as one holder lives.
    ///
    /// What was not written yet is cleared first: who fills and who commits may then be others. What
    /// was lent is taken back.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub fn hand_over(&self) -> Result<Uuid> {
        self.check_range(FileOff(0), 0)?;
        self.seal()?;
        self.clear_rest()?;
        self.note(0, self.promise.size.0);
        Ok(self.promise.token)
    }

    /// The file's size in bytes.
    #[must_use]
    pub fn size(&self) -> ByteLen {
        self.promise.size
    }

    /// Where its bytes will lie.
    #[must_use]
    pub fn map(&self) -> &Map {
        &self.promise.map
    }

    /// Writes bytes of the file, straight to where they stay. Threads may fill parts of it at the
    /// same time.
    ///
    /// # Errors
    /// [`Error::Usage`] past the file's end; [`Error::MemoryFault`]; [`Error::Forked`].
    pub fn fill(&self, at: FileOff, bytes: &[u8]) -> Result<()> {
        let threads = if bytes.len() as u64 >= PARALLEL_FROM {
            default_threads()
        } else {
            1
        };
        self.fill_with(at, bytes, threads)
    }

    /// Writes bytes of the file with up to `threads` threads.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub fn fill_with(&self, at: FileOff, bytes: &[u8], threads: usize) -> Result<()> {
        self.fill_by(at, bytes, |at, piece| {
            self.volume.coherence.put_data(at, piece, threads)
        })
    }

    /// Writes bytes of the file with this thread, and shows them to `seen` on the way: part by part,
    /// in order, while they are in the cache.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub fn fill_seen(&self, at: FileOff, bytes: &[u8], seen: &mut dyn FnMut(&[u8])) -> Result<()> {
        self.fill_by(at, bytes, |at, piece| {
            self.volume.coherence.put_data_seen(at, piece, seen)
        })
    }

    fn fill_by(
        &self,
        at: FileOff,
        bytes: &[u8],
        mut put: impl FnMut(DevOff, &[u8]) -> Result<(), Fault>,
    ) -> Result<()> {
        let len = bytes.len() as u64;
        self.check_range(at, len)?;
        let mut rest = bytes;
        for run in self.promise.map.runs(at, ByteLen(len)) {
            let (piece, after) = rest.split_at(usize::try_from(run.len.0).unwrap_or(usize::MAX));
            put(run.offset, piece)
                .map_err(|fault| self.volume.lost(fault, run.offset, run.len.0))?;
            rest = after;
        }
        self.note(at.0, len);
        Ok(())
    }

    /// Makes bytes of the file zero.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub fn zero(&self, at: FileOff, len: ByteLen) -> Result<()> {
        self.check_range(at, len.0)?;
        self.clear(at.0, len.0)?;
        self.note(at.0, len.0);
        Ok(())
    }

    pub(crate) fn check_range(&self, at: FileOff, len: u64) -> Result<()> {
        if self.volume.generation != famfs_mem::generation() {
            return Err(Error::Forked);
        }
        // In a volume that was made here since, the range may be somebody else's.
        self.volume.check_identity()?;
        match &self.keeper {
            // Where the table is gone, others may have been promised the range since.
            Keeper::Table { place, .. } => place.check()?,
            // Where it is gone the kernel's file is there still, and keeps others out.
            Keeper::Follower(_) => {}
        }
        let size = self.promise.size.0;
        if at.0.checked_add(len).is_none_or(|end| end > size) {
            return Err(Error::Usage(format!(
                "{len} bytes at {at} do not fit the {size} bytes that are reserved"
            )));
        }
        Ok(())
    }

    /// Remembers that a range was written, joined with its neighbours.
    pub(crate) fn note(&self, at: u64, len: u64) {
        if len == 0 {
            return;
        }
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut start, mut end) = (at, at + len);
        while let Some((&before, &before_end)) = written.range(..=end).next_back() {
            if before_end < start {
                break;
            }
            written.remove(&before);
            start = start.min(before);
            end = end.max(before_end);
        }
        written.insert(start, end);
    }

    /// Clears what was not written, up to the end of the last page: memory that a reader can see
    /// is never another file's leftovers.
    pub(crate) fn clear_rest(&self) -> Result<()> {
        let size = self.promise.size.0;
        // A kernel's file ends with this host's page: nobody can reach what is behind it.
        let page = match self.shown {
            Some(_) => rustix::param::page_size() as u64,
            None => PAGE,
        };
        let end = size.checked_next_multiple_of(page).unwrap_or(size);
        let end = end.min(self.promise.map.capacity());
        let mut gaps = Vec::new();
        let mut at = 0;
        for (&start, &stop) in self
            .written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            gaps.push((at, start - at));
            at = stop;
        }
        gaps.push((at, end.saturating_sub(at)));
        gaps.retain(|(_, len)| *len > 0);
        gaps.into_iter()
            .try_for_each(|(at, len)| self.clear(at, len))
    }

    fn clear(&self, at: u64, len: u64) -> Result<()> {
        let volume = &self.volume;
        let threads = if len >= PARALLEL_FROM {
            default_threads()
        } else {
            1
        };
        for run in self.promise.map.runs(FileOff(at), ByteLen(len)) {
            // A sparse backing stays sparse. Elsewhere zeros are streamed: giving pages back only
            // to take them again costs more, and the host could be full in between.
            let punched = run.len.0 >= PUNCH_FROM
                && volume.is_sparse()
                && volume.source.punch(run.offset.0, run.len.0).is_ok();
            if !punched {
                volume
                    .coherence
                    .zero_data(run.offset, run.len.0, threads)
                    .map_err(|fault| volume.lost(fault, run.offset, run.len.0))?;
            }
        }
        Ok(())
    }
}

impl Inner {
    /// Why memory can't be written to: where a sparse file has no page there, the host may be full.
    fn lost(&self, fault: Fault, at: DevOff, len: u64) -> Error {
        let is_bus = matches!(fault, Fault::Bus { .. });
        if is_bus && self.is_sparse() && self.source.allocate(at.0, len).is_err() {
            return Error::HostFull {
                path: self.path(),
                len: Some(len),
            };
        }
        Error::fault(self.source.path())(fault)
    }

    pub(crate) fn is_sparse(&self) -> bool {
        self.source.kind() == Kind::File
            && self
                .source
                .file()
                .metadata()
                .is_ok_and(|m| m.blocks() * 512 < m.len())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.open || self.volume.generation != famfs_mem::generation() {
            return;
        }
        if !self.void() {
            // Somebody may write to it still: the space stays taken until this process is gone.
            return;
        }
        self.detach();
        // Before the space is given back: the kernel lets nobody have it while this file is there.
        self.shown = None;
        let token = self.promise.token;
        // What can't be given back now is reaped when this process is gone.
        let _ = match &self.keeper {
            Keeper::Table { .. } => self.volume.locked(|table, _| {
                if self.stays {
                    table.leave(token, false)
                } else {
                    table.release(token)
                }
            }),
            Keeper::Follower(client) => client.release(token),
        };
    }
}
