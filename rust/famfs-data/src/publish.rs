//! Publishing: a dataset's bytes straight to where they stay, visible in one step.
//!
//! Owns the order size, reserve, fill, commit. A draft that is dropped before its commit was never
//! there.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crc32fast::Hasher;
use famfs::core::path::RelPath;
use famfs::core::space::Layout;
use famfs::core::units::{ByteLen, FileOff, Slot};
use famfs::mem::Window;
use famfs::{Publication, Reservation, Volume, host, mounts};

use crate::arrow::{ArrowPlan, Span};
use crate::checksum;
use crate::error::DataError;
use crate::fill;
use crate::kind::Kind;
use crate::npy::NpyPlan;
use crate::reference::Ref;
use crate::transaction::Transaction;

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
    pub fn put_spans<'a, I>(&self, spans: I, progress: &mut Progress) -> Result<(), DataError>
    where
        I: IntoIterator<Item = (u64, Span<'a>), IntoIter: Send>,
    {
        let total = self.reservation.size().0;
        let mut tell = |at| progress(at, total);
        let sums = fill::fill(
            &self.reservation,
            spans.into_iter(),
            self.sum.is_some(),
            &mut tell,
        )?;
        if let Some(sum) = &self.sum {
            let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
            for part in &sums {
                sum.combine(part);
            }
        }
        Ok(())
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
