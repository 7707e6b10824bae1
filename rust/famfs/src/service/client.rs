//! A user's side: reservations that the follower keeps, and what it does for them.

use std::fs::File;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use famfs_core::entry::Owner;
use famfs_core::path::RelPath;
use famfs_core::space::Layout;
use famfs_core::units::{ByteLen, Slot};
use famfs_mem::{Registration, above_standard, close_in_child};
use uuid::Uuid;

use super::wire::{self, Filled, Named, Refused, Reply, Request};
use crate::error::{Error, Result};
use crate::table::Promise;

/// A connection to the follower of a mount. What is reserved over it lives as long as it does.
#[derive(Debug)]
pub(crate) struct Client {
    /// A forked child keeps nothing of its parent's alive. Dropped before the stream is.
    _closed_in_child: Registration,
    stream: Mutex<UnixStream>,
    mountpoint: PathBuf,
}

/// A request that was not answered as it should be.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) error: Error,
    how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// Nothing was done.
    Refused,
    /// It was done, and something has to be done about it.
    Published,
    /// Nobody knows.
    Silence,
}

impl Lost {
    fn silence(error: Error) -> Self {
        let how = How::Silence;
        Self { error, how }
    }

    fn refusal(error: Error) -> Self {
        let how = How::Refused;
        Self { error, how }
    }

    fn told(refused: Refused) -> Self {
        let how = if refused.published {
            How::Published
        } else {
            How::Refused
        };
        let error = refused.into_error();
        Self { error, how }
    }

    /// Whether it is certain that nothing was done.
    pub(crate) fn is_refusal(&self) -> bool {
        self.how == How::Refused
    }

    /// Whether it is not known what was done.
    pub(crate) fn is_silence(&self) -> bool {
        self.how == How::Silence
    }
}

/// A reservation with the file to fill.
#[derive(Debug)]
pub(crate) struct Handed {
    pub(crate) promise: Promise,
    pub(crate) file: File,
}

impl Client {
    /// Connects to the follower of the mount whose files have this device number.
    ///
    /// # Errors
    /// [`Error::Permission`] where there is none, or the user is not of its group.
    pub(crate) fn connect(mountpoint: &Path, device: (u32, u32)) -> Result<Self> {
        let refused = |next| Error::Permission {
            path: mountpoint.to_owned(),
            what: "publishing",
            next,
        };
        let stream =
            UnixStream::connect(super::socket(device)).map_err(|error| match error.kind() {
                io::ErrorKind::PermissionDenied => refused(
                    "the mount's follower publishes for members of the group famfs: become one, \
                     or run this as root",
                ),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => refused(
                    "placing files takes root: run this as root, or have root run `famfs logplay \
                     --follow` on the mount, which publishes for members of the group famfs",
                ),
                _ => Error::io(mountpoint, "connect to the follower of")(error),
            })?;
        let stream: OwnedFd = stream.into();
        let stream = above_standard(File::from(stream))
            .map(|file| UnixStream::from(OwnedFd::from(file)))
            .map_err(Error::io(mountpoint, "connect to the follower of"))?;
        let closed = close_in_child(stream.as_raw_fd()).map_err(|full| Error::Unsupported {
            what: mountpoint.display().to_string(),
            why: format!("{full}: too many volumes are open in this process"),
        })?;
        Ok(Self {
            stream: Mutex::new(stream),
            mountpoint: mountpoint.to_owned(),
            _closed_in_child: closed,
        })
    }

    /// Whether the follower is still there.
    pub(crate) fn is_alive(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        // Whoever has it locked is talking to the follower.
        let Ok(stream) = self.stream.try_lock() else {
            return true;
        };
        let mut ended = [PollFd::new(&*stream, PollFlags::RDHUP)];
        poll(&mut ended, Some(&Timespec::default())) == Ok(0)
    }

    fn ask(&self, request: &Request) -> Result<(Reply, Option<OwnedFd>), Lost> {
        let stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = |error: io::Error| {
            // What comes after this can't be told from what belongs to it.
            let _ = stream.shutdown(Shutdown::Both);
            Lost::silence(Error::VolumeChanged {
                path: self.mountpoint.clone(),
                why: format!(
                    "its follower, which publishes for this user, has ended or gives up ({error}); \
                     look with `famfs ls` whether it is there, and publish again if not, when \
                     `famfs logplay --follow` runs again"
                ),
            })
        };
        match wire::send(&stream, request, None) {
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                return Err(Lost::refusal(Error::Usage(
                    "too many files for one commit: commit them in several".into(),
                )));
            }
            sent => sent.map_err(gone)?,
        }
        let answer = wire::receive(&stream).map_err(gone)?;
        let (reply, file) = answer.ok_or_else(|| gone(io::ErrorKind::UnexpectedEof.into()))?;
        match reply {
            Reply::Refused(refused) => Err(Lost::told(refused)),
            reply => Ok((reply, file)),
        }
    }

    fn unexpected(&self) -> Error {
        Error::Unsupported {
            what: self.mountpoint.display().to_string(),
            why: "its follower answers in another way than this version of famfs expects: run the \
                  same version for both"
                .into(),
        }
    }

    fn handed(&self, request: &Request) -> Result<Handed> {
        let (
            Reply::Reserved {
                token,
                size,
                chunk_size,
                extents,
            },
            Some(file),
        ) = self.ask(request).map_err(|lost| lost.error)?
        else {
            return Err(self.unexpected());
        };
        let map = wire::map(chunk_size, &extents).ok_or_else(|| self.unexpected())?;
        let file = above_standard(File::from(file))
            .map_err(Error::io(&self.mountpoint, "take a file of"))?;
        let promise = Promise {
            token,
            size: ByteLen(size),
            map,
        };
        Ok(Handed { promise, file })
    }

    pub(crate) fn reserve(&self, size: ByteLen, layout: Layout) -> Result<Handed> {
        self.handed(&Request::Reserve {
            size: size.0,
            layout: layout.into(),
        })
    }

    pub(crate) fn adopt(&self, token: Uuid) -> Result<Handed> {
        self.handed(&Request::Adopt { token })
    }

    pub(crate) fn release(&self, token: Uuid) -> Result<()> {
        match self.ask(&Request::Release { token }) {
            Ok(_) => Ok(()),
            Err(lost) => Err(lost.error),
        }
    }

    /// Commits files, given as token, path, owner and whether each may replace another.
    pub(crate) fn commit(&self, files: &[(Uuid, RelPath, Owner, bool)]) -> Result<Vec<Slot>, Lost> {
        let files = files.iter().map(|(token, path, owner, overwrite)| Filled {
            token: *token,
            named: Named::new(path, *owner),
            overwrite: *overwrite,
        });
        self.slots(&Request::Commit {
            files: files.collect(),
        })
    }

    pub(crate) fn mkdir(&self, path: &RelPath, owner: Owner) -> Result<Vec<Slot>, Lost> {
        self.slots(&Request::Mkdir {
            named: Named::new(path, owner),
        })
    }

    pub(crate) fn remove(&self, path: &RelPath) -> Result<Vec<Slot>, Lost> {
        self.slots(&Request::Remove {
            path: path.as_bytes().to_vec(),
        })
    }

    fn slots(&self, request: &Request) -> Result<Vec<Slot>, Lost> {
        match self.ask(request)? {
            (Reply::Slots(slots), _) => Ok(slots.into_iter().map(Slot).collect()),
            _ => Err(Lost::silence(self.unexpected())),
        }
    }
}
