//! Opening: a published file, its bytes where they lie.
//!
//! What decides where something lies (the first bytes, footers, headers) is copied out of the
//! memory, with its faults noticed. Values are handed out in place. Two checks touch values: a
//! column's offsets, indices and bitmaps when it is first handed out, and [`File::verify`]. They
//! read in place as well, after a probe of every page that they will read: memory that is lost is
//! [`famfs::Error::MemoryFault`] there, unless it is lost in that very moment. Whoever reads the
//! values afterwards reads memory, and what is lost then ends the process, as in every mapping.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arrow_array::{ArrayRef, RecordBatch};
use bytes::Bytes;
use famfs::core::path::RelPath;
use famfs::mem::{Fault, View};
use famfs::mounts::Mount;
use famfs::{Error, Stat, Volume};

use crate::arrow::ArrowFile;
use crate::content::Content;
use crate::error::{DataError, PeekError};
use crate::kind::Kind;
use crate::place::Peek;
use crate::reference::Ref;
use crate::safetensors::Safetensors;

impl Peek for View {
    fn len(&self) -> u64 {
        self.as_ref().len() as u64
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), PeekError> {
        let len = into.len() as u64;
        View::read(self, at, into).map_err(|fault| PeekError::new(at, len, fault))
    }
}

/// A published file, open. Holds its memory; threads may share it.
#[derive(Debug)]
pub struct File {
    reference: Ref,
    mountpoint: PathBuf,
    device: PathBuf,
    stat: Stat,
    view: View,
    kind: Kind,
    /// `None` where the file uses what can't be mapped.
    content: Option<Content>,
    /// What a safetensors file holds, once somebody asked.
    tensors: OnceLock<Safetensors>,
}

impl File {
    /// Opens a file that was looked up.
    ///
    /// What a well-formed file uses that can't be mapped is told when it is asked for: its bytes can
    /// be had all the same.
    ///
    /// # Errors
    /// Where its memory is lost, and where the file is not what its first bytes say.
    pub fn of(mount: &Mount, volume: &Volume, stat: Stat) -> Result<Self, DataError> {
        let in_file = |error: DataError| DataError::File {
            path: stat.display(),
            source: Box::new(error),
        };
        let view = volume.view(&stat)?;
        let device = volume.path().to_owned();
        check_there(&view, &device)?;
        let mut head = [0; Kind::PREFIX];
        let head = &mut head[..view.as_ref().len().min(Kind::PREFIX)];
        Peek::read(&view, 0, head).map_err(|error| in_file(error.into()))?;
        let kind = Kind::of(head, stat.size.0);
        let content = match judge(kind, &view) {
            Ok(content) => Some(content),
            // Well formed, and not to be mapped: its bytes are for whoever can read them.
            Err(error) if error.face().python == "Unsupported" => None,
            Err(error) => return Err(in_file(error)),
        };
        let path = RelPath::new(&stat.path).map_err(|reason| Error::InvalidPath {
            path: stat.display(),
            reason,
        })?;
        Ok(Self {
            reference: Ref::new(volume.uuid(), path, stat.slot),
            mountpoint: mount.mountpoint.clone(),
            device,
            stat,
            view,
            kind,
            content,
            tensors: OnceLock::new(),
        })
    }

    /// Names the file.
    #[must_use]
    pub fn reference(&self) -> &Ref {
        &self.reference
    }

    /// The mount point that it was opened under.
    #[must_use]
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// The file's entry.
    #[must_use]
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// The file's bytes, in place.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// What the file is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What the file holds.
    ///
    /// # Errors
    /// Where the file is not what its first bytes say, or uses what can't be mapped.
    pub fn content(&self) -> Result<&Content, DataError> {
        if let Some(content) = &self.content {
            return Ok(content);
        }
        // Judged again, for the error.
        Err(self.in_file(match judge(self.kind, &self.view) {
            Err(error) => error,
            Ok(_) => DataError::corrupt("file", "it was written to after it was published"),
        }))
    }

    /// Copies bytes out, and notices where their memory is lost.
    ///
    /// # Errors
    /// [`Error::MemoryFault`].
    pub fn read(&self, at: u64, into: &mut [u8]) -> Result<(), DataError> {
        self.view.read(at, into).map_err(|fault| self.fault(fault))
    }

    /// Touches every page of the file, so that what is lost is told before it is read in place.
    ///
    /// # Errors
    /// [`Error::MemoryFault`].
    pub fn probe(&self) -> Result<(), DataError> {
        let size = self.view.as_ref().len() as u64;
        Peek::probe(&self.view, 0, size).map_err(|error| self.in_file(error.into()))
    }

    /// The table.
    ///
    /// # Errors
    /// [`DataError::Unsupported`] for any other kind; those of [`Self::content`].
    pub fn table(&self) -> Result<&ArrowFile, DataError> {
        match self.content()? {
            Content::Table(table) => Ok(table),
            _ => Err(DataError::unsupported(
                format!("{}: taking {} for a table", self.stat.display(), self.kind),
                "only Arrow IPC files are tables",
            )),
        }
    }

    /// The tensors of a safetensors file, whose header is judged when they are first asked for: until
    /// then it is bytes.
    ///
    /// # Errors
    /// [`DataError::Unsupported`] for any other kind; where the header is broken.
    pub fn tensors(&self) -> Result<&Safetensors, DataError> {
        if self.kind != Kind::Safetensors {
            return Err(DataError::unsupported(
                format!("{}: taking {} for tensors", self.stat.display(), self.kind),
                "only safetensors files have them",
            ));
        }
        if let Some(tensors) = self.tensors.get() {
            return Ok(tensors);
        }
        let tensors = Safetensors::open(&self.view).map_err(|error| self.in_file(error))?;
        Ok(self.tensors.get_or_init(|| tensors))
    }

    /// The rows of a table, or the length of an array's first axis; `None` where there is no such
    /// thing.
    ///
    /// # Errors
    /// Those of [`Self::content`], and if a batch's header is broken.
    pub fn num_rows(&self) -> Result<Option<u64>, DataError> {
        match self.content()? {
            Content::Table(table) => table
                .metadata()
                .num_rows()
                .map(Some)
                .map_err(|e| self.in_file(e)),
            Content::Array(array) => Ok(array.shape().first().copied()),
            Content::Bytes => Ok(None),
        }
    }

    /// One batch of a table, in place.
    ///
    /// # Errors
    /// Those of [`ArrowFile::batch`], and [`Error::MemoryFault`] where the file's memory is gone.
    pub fn batch(&self, batch: usize) -> Result<RecordBatch, DataError> {
        self.check_there()?;
        self.table()?.batch(batch).map_err(|e| self.in_file(e))
    }

    /// One column of one batch of a table, in place.
    ///
    /// # Errors
    /// As [`Self::batch`].
    pub fn column(&self, batch: usize, index: usize) -> Result<ArrayRef, DataError> {
        self.check_there()?;
        let column = self.table()?.column(batch, index);
        column.map_err(|e| self.in_file(e))
    }

    /// Checks everything that can be told without knowing what was published: its checksum, if it
    /// has one, all structure, and the UTF-8 of all strings. Whether it has one comes back.
    ///
    /// # Errors
    /// What is wrong first.
    pub fn verify(&self) -> Result<bool, DataError> {
        self.check_there()?;
        let verified = self.content()?.verify(&self.view);
        verified.map_err(|error| self.in_file(error))
    }

    /// Whether the file's memory is there up to its end.
    pub(crate) fn check_there(&self) -> Result<(), DataError> {
        check_there(&self.view, &self.device)
    }

    fn fault(&self, fault: Fault) -> DataError {
        DataError::Volume(Error::MemoryFault {
            path: self.device.clone(),
            fault,
        })
    }

    pub(crate) fn in_file(&self, error: DataError) -> DataError {
        DataError::File {
            path: self.stat.display(),
            source: Box::new(error),
        }
    }
}

fn judge(kind: Kind, view: &View) -> Result<Content, DataError> {
    Content::open(
        kind,
        Arc::new(view.clone()),
        Bytes::from_owner(view.clone()),
    )
}

/// Whether the file's memory is there up to its end: a backing file that was cut lost that first.
fn check_there(view: &View, device: &Path) -> Result<(), DataError> {
    let mut last: Option<(u64, u64)> = None;
    let mut at = 0;
    for piece in view.pieces() {
        let end = (piece.at.0 + piece.len, at + piece.len - 1);
        last = last.max(Some(end));
        at += piece.len;
    }
    let Some((_, at)) = last else {
        return Ok(());
    };
    view.read(at, &mut [0]).map_err(|fault| {
        DataError::Volume(Error::MemoryFault {
            path: device.to_owned(),
            fault,
        })
    })
}
