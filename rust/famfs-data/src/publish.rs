//! Publishing: a dataset's bytes straight to where they stay, visible in one step.
//!
//! Owns the order size, reserve, fill, commit, and how the filling is spread over threads. A draft
//! that is dropped before its commit was never there.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crc32fast::Hasher;
use famfs::core::path::RelPath;
use famfs::core::space::Layout;
use famfs::core::units::{ByteLen, FileOff, Slot};
use famfs::mem::{Window, default_threads};
use famfs::{Publication, Reservation, Volume, host, mounts};

use crate::arrow::{ArrowPlan, Span};
use crate::checksum;
use crate::error::DataError;
use crate::kind::Kind;
use crate::npy::NpyPlan;
use crate::reference::Ref;
use crate::transaction::Transaction;

/// Bytes that are written between two reports of progress.
const WINDOW: u64 = 64 << 20;

/// From so many bytes on more than one thread writes.
const PARALLEL_FROM: u64 = 8 << 20;

/// Pieces smaller than this are gathered before they are written: a streaming store writes whole
/// lines.
const SMALL: usize = 16 << 10;

/// How much is gathered at most.
const GATHERED: usize = 256 << 10;

/// Where threads may share a piece between them: never within a page.
const PAGE: u64 = 4096;

static ZEROS: [u8; 4096] = [0; 4096];

/// How a dataset is published.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Put it in the place of a file that is there, as its new version.
    pub overwrite: bool,
    /// Permission bits; by default 0666 without the umask.
    pub mode: Option<u32>,
    /// Keep a checksum in the file, computed while it is copied. A plan has to have room for it:
    /// [`PlanOptions::checksum`](crate::arrow::PlanOptions::checksum), [`array_size`].
    pub checksum: bool,
}

/// What came of publishing.
#[derive(Clone, Debug)]
pub struct Published {
    /// Names the file from now on.
    pub reference: Ref,
    /// What it is.
    pub kind: Kind,
    /// Its size in bytes.
    pub size: u64,
}

/// Told of progress: bytes written so far, and bytes in all. An error stops the publishing.
pub type Progress<'a> = dyn FnMut(u64, u64) -> Result<(), DataError> + 'a;

/// A file while it is written. Nobody sees it before [`Draft::commit`].
#[derive(Debug)]
pub struct Draft {
    volume: Volume,
    path: RelPath,
    options: Options,
    reservation: Reservation,
    /// What it appears with.
    transaction: Option<Arc<famfs::Transaction>>,
    /// The checksum of what was put so far, in the order of the file.
    sum: Option<Mutex<Hasher>>,
}

impl Draft {
    /// Reserves space for a file of exactly `size` bytes at `path`.
    ///
    /// # Errors
    /// Those of [`Volume::reserve`], and early those of the commit that are seen already: the name
    /// is taken, or its directory is missing.
    pub fn begin(path: &Path, size: u64, options: Options) -> Result<Self, DataError> {
        Self::begin_in(None, path, size, options)
    }

    /// As [`Self::begin`], for a file that appears with the others of a transaction.
    ///
    /// # Errors
    /// Also those of [`famfs::Transaction::reserve`], and where the transaction is on another
    /// volume.
    pub fn begin_in(
        transaction: Option<&Transaction>,
        path: &Path,
        size: u64,
        options: Options,
    ) -> Result<Self, DataError> {
        let resolved = mounts::resolve(path)?;
        let name = resolved.name()?;
        let volume = resolved.volume()?;
        volume
            .check_name(&name, options.overwrite)
            .map_err(|error| error.about(path))?;
        let transaction = transaction.map(|files| files.on(&volume)).transpose()?;
        let (size, layout) = (ByteLen(size), Layout::Contiguous);
        let reservation = match &transaction {
            Some(files) => {
                let owner = host::owner(options.mode);
                files
                    .reserve(size, layout, name, owner, options.overwrite)
                    .map_err(|error| error.about(path))?
            }
            None => volume.reserve(size, layout)?,
        };
        Ok(Self {
            volume,
            path: name,
            options,
            reservation,
            transaction,
            sum: options.checksum.then(|| Mutex::new(Hasher::new())),
        })
    }

    /// Has room for `size` bytes from now on.
    ///
    /// # Errors
    /// Those of [`Reservation::grow`].
    pub fn reach(&mut self, size: u64) -> Result<(), DataError> {
        Ok(self.reservation.grow(ByteLen(size))?)
    }

    /// Ends at `size` bytes: what it has behind them is given back.
    ///
    /// # Errors
    /// Those of [`Reservation::cut`].
    pub fn settle(&mut self, size: u64) -> Result<(), DataError> {
        Ok(self.reservation.cut(ByteLen(size))?)
    }

    /// Writes a planned table, and its checksum.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub fn put_table(&self, plan: &ArrowPlan, progress: &mut Progress) -> Result<(), DataError> {
        self.put_spans(plan.spans(), progress)?;
        self.seal_table(plan.checksum_at())
    }

    /// Writes the checksum of a table all of which was put, where its plan says that it goes.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub fn seal_table(&self, checksum_at: Option<u64>) -> Result<(), DataError> {
        if let (Some(at), Some(sum)) = (checksum_at, self.checksum()) {
            self.put_beside(at, checksum::digits(sum).as_bytes())?;
        }
        Ok(())
    }

    /// Writes the trailer of an array all of which was put, with its checksum.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub fn seal_array(&self) -> Result<(), DataError> {
        let Some(sum) = self.checksum() else {
            return Ok(());
        };
        let at = self.size().saturating_sub(checksum::TRAILER);
        self.put_beside(at, &checksum::trailer(sum))
    }

    /// The checksum of what was put so far, in order; `None` where none is computed.
    fn checksum(&self) -> Option<u32> {
        let sum = self.sum.as_ref()?;
        let sum = sum.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Some(sum.finalize())
    }

    /// Writes bytes that the checksum is not of.
    fn put_beside(&self, at: u64, bytes: &[u8]) -> Result<(), DataError> {
        Ok(self.reservation.fill_with(FileOff(at), bytes, 1)?)
    }

    /// Lends bytes of the file to be written in place; they are taken back at the end.
    ///
    /// # Errors
    /// Those of [`Reservation::window`].
    pub fn lend(&self, at: u64, len: u64) -> Result<Arc<Window>, DataError> {
        Ok(self.reservation.window(FileOff(at), ByteLen(len))?)
    }

    /// Makes bytes of the file zero.
    ///
    /// # Errors
    /// Those of [`Reservation::zero`].
    pub fn zero(&self, at: u64, len: u64) -> Result<(), DataError> {
        Ok(self.reservation.zero(FileOff(at), ByteLen(len))?)
    }

    /// The file's size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.reservation.size().0
    }

    /// Writes `bytes` at offset `at`.
    ///
    /// # Errors
    /// Those of [`Reservation::fill`], and what `progress` returns.
    pub fn put(&self, at: u64, bytes: &[u8], progress: &mut Progress) -> Result<(), DataError> {
        self.put_spans([(at, Span::Bytes(bytes))], progress)
    }

    /// Writes parts of the file, given in ascending order, with several threads where that helps.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub fn put_spans<'a>(
        &self,
        spans: impl IntoIterator<Item = (u64, Span<'a>)>,
        progress: &mut Progress,
    ) -> Result<(), DataError> {
        let mut window: Vec<(u64, &[u8])> = Vec::new();
        let mut waiting = 0;
        let total = self.reservation.size().0;
        let mut done = 0;
        for (mut at, span) in spans {
            let mut rest = match span {
                Span::Bytes(bytes) => bytes,
                Span::Zero(len) if len <= ZEROS.len() as u64 => ZEROS.split_at(usize_of(len)).0,
                Span::Zero(len) => {
                    if let Some(sum) = &self.sum {
                        self.fill(&window, waiting)?;
                        window.clear();
                        waiting = 0;
                        add_zeros(sum, len);
                    }
                    self.reservation.zero(FileOff(at), ByteLen(len))?;
                    done = at + len;
                    continue;
                }
            };
            while !rest.is_empty() {
                let room = usize_of((WINDOW - waiting).min(rest.len() as u64));
                let (piece, after) = rest.split_at(room);
                window.push((at, piece));
                waiting += room as u64;
                at += room as u64;
                done = at;
                rest = after;
                if waiting == WINDOW {
                    self.fill(&window, waiting)?;
                    window.clear();
                    waiting = 0;
                    progress(at, total)?;
                }
            }
        }
        self.fill(&window, waiting)?;
        progress(done, total)
    }

    /// Writes pieces of `total` bytes, shared evenly between threads.
    fn fill(&self, pieces: &[(u64, &[u8])], total: u64) -> Result<(), DataError> {
        let threads = if total < PARALLEL_FROM {
            1
        } else {
            default_threads().max(1)
        };
        if threads == 1 {
            let part = self.fill_share(pieces)?;
            self.add(&[part]);
            return Ok(());
        }
        let shares = shares(pieces, total.div_ceil(threads as u64));
        let parts = std::thread::scope(|scope| {
            let Some((first, others)) = shares.split_first() else {
                return Ok(Vec::new());
            };
            let others: Vec<_> = others
                .iter()
                .map(|share| scope.spawn(|| self.fill_share(share)))
                .collect();
            let mut parts = vec![self.fill_share(first)];
            for other in others {
                parts.push(other.join().unwrap_or_else(|panic| {
                    std::panic::resume_unwind(panic);
                }));
            }
            parts.into_iter().collect::<Result<Vec<_>, DataError>>()
        })?;
        self.add(&parts);
        Ok(())
    }

    /// Adds the sums of what was put, in order.
    fn add(&self, parts: &[Option<Hasher>]) {
        if let Some(sum) = &self.sum {
            let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
            parts.iter().flatten().for_each(|part| sum.combine(part));
        }
    }

    /// Writes pieces with this thread; their checksum, if one is computed, comes back.
    fn fill_share(&self, pieces: &[(u64, &[u8])]) -> Result<Option<Hasher>, DataError> {
        let mut sum = self.sum.is_some().then(Hasher::new);
        let mut write = |at: u64, bytes: &[u8]| match &mut sum {
            Some(sum) => {
                let mut add = |part: &[u8]| sum.update(part);
                self.reservation.fill_seen(FileOff(at), bytes, &mut add)
            }
            None => self.reservation.fill_with(FileOff(at), bytes, 1),
        };
        let mut gathered: Vec<u8> = Vec::new();
        let mut from = 0;
        for &(at, bytes) in pieces {
            let end = from + gathered.len() as u64;
            let joins = at == end && gathered.len() + bytes.len() <= GATHERED;
            if !gathered.is_empty() && (!joins || bytes.len() >= SMALL) {
                write(from, &gathered)?;
                gathered.clear();
            }
            if bytes.len() >= SMALL {
                write(at, bytes)?;
            } else {
                if gathered.is_empty() {
                    from = at;
                }
                gathered.extend_from_slice(bytes);
            }
        }
        if !gathered.is_empty() {
            write(from, &gathered)?;
        }
        Ok(sum)
    }

    /// Makes the file visible, whole, under its name; its reference comes back. A file of a
    /// transaction waits for the others, and has no reference yet.
    ///
    /// # Errors
    /// Those of [`Volume::commit`] and [`famfs::Transaction::add`]; then it was never there.
    pub fn end(self) -> Result<Option<Ref>, DataError> {
        let file = Publication {
            reservation: self.reservation,
            path: self.path,
            owner: host::owner(self.options.mode),
            overwrite: self.options.overwrite,
        };
        if let Some(transaction) = &self.transaction {
            transaction.add(file)?;
            return Ok(None);
        }
        let slots = self.volume.commit(vec![file])?;
        let index = slots.first().copied().unwrap_or(Slot(0));
        Ok(Some(Ref::new(self.volume.uuid(), self.path, index)))
    }

    /// Makes a file of no transaction visible.
    ///
    /// # Errors
    /// As [`Self::end`]; for a file of a transaction, which is committed with the others.
    pub fn commit(self, kind: Kind) -> Result<Published, DataError> {
        let size = self.size();
        let reference = self.end()?.ok_or_else(|| {
            DataError::unsupported("one file of a transaction", "commit the transaction")
        })?;
        Ok(Published {
            reference,
            kind,
            size,
        })
    }
}

/// Adds as many zeros to a checksum.
fn add_zeros(sum: &Mutex<Hasher>, len: u64) {
    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
    let mut left = len;
    while left > 0 {
        let part = left.min(ZEROS.len() as u64);
        sum.update(ZEROS.split_at(usize_of(part)).0);
        left -= part;
    }
}

/// Deals pieces out in shares of about `share` bytes, in order.
fn shares<'a>(pieces: &[(u64, &'a [u8])], share: u64) -> Vec<Vec<(u64, &'a [u8])>> {
    let mut shares = Vec::new();
    let mut current = Vec::new();
    let mut left = share;
    for &(mut at, mut bytes) in pieces {
        while bytes.len() as u64 > left {
            // Up to the end of the page that the share ends in.
            let cut = (at + left).next_multiple_of(PAGE) - at;
            let (piece, after) = bytes.split_at(usize_of(cut).min(bytes.len()));
            current.push((at, piece));
            shares.push(std::mem::take(&mut current));
            at += piece.len() as u64;
            bytes = after;
            left = share;
        }
        if !bytes.is_empty() {
            current.push((at, bytes));
            left -= bytes.len() as u64;
        }
    }
    if !current.is_empty() {
        shares.push(current);
    }
    shares
}

fn usize_of(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

/// Publishes a planned table.
///
/// # Errors
/// Those of [`Draft::begin`], [`Draft::put_spans`] and [`Draft::commit`].
pub fn table(
    path: &Path,
    plan: &ArrowPlan,
    options: Options,
    progress: &mut Progress,
) -> Result<Published, DataError> {
    let draft = Draft::begin(path, plan.size(), options)?;
    draft.put_table(plan, progress)?;
    draft.commit(Kind::Table)
}

/// The size of an array's file, with its checksum or without.
#[must_use]
pub fn array_size(plan: &NpyPlan, options: Options) -> u64 {
    let trailer = if options.checksum {
        checksum::TRAILER
    } else {
        0
    };
    plan.size() + trailer
}

/// Publishes an array, whose bytes are `data` in the planned order.
///
/// # Errors
/// As [`table`], and where `data` is not of the planned size.
pub fn array(
    path: &Path,
    plan: &NpyPlan,
    data: &[u8],
    options: Options,
    progress: &mut Progress,
) -> Result<Published, DataError> {
    plan.check(data.len() as u64)?;
    let draft = Draft::begin(path, array_size(plan, options), options)?;
    draft.put(0, plan.header(), progress)?;
    draft.put(plan.header().len() as u64, data, progress)?;
    draft.seal_array()?;
    draft.commit(Kind::Array)
}

/// Publishes bytes as they are; none make an empty file.
///
/// # Errors
/// As [`table`].
pub fn bytes(
    path: &Path,
    data: &[u8],
    options: Options,
    progress: &mut Progress,
) -> Result<Published, DataError> {
    let draft = Draft::begin(path, data.len() as u64, options)?;
    draft.put(0, data, progress)?;
    let head = &data[..data.len().min(Kind::PREFIX)];
    draft.commit(Kind::of(head, data.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_even_and_hold_every_byte_once() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|i| i.to_le_bytes()[0]).collect();
        let pieces = [
            (0, &bytes[..10]),
            (10, &bytes[10..70_000]),
            (70_000, &bytes[70_000..70_001]),
            (70_001, &bytes[70_001..]),
        ];
        for count in 1..9 {
            let shares = shares(&pieces, 100_000_u64.div_ceil(count));
            assert!(shares.len() <= usize_of(count), "{count}: {}", shares.len());
            let mut at = 0;
            for (start, piece) in shares.into_iter().flatten() {
                assert_eq!(start, at);
                assert_eq!(piece, &bytes[usize_of(at)..][..piece.len()]);
                at += piece.len() as u64;
            }
            assert_eq!(at, 100_000);
        }
    }
}
