//! What is said over the socket: a length of four bytes, little-endian, and as much JSON. A file
//! that is handed over comes with the length.
//!
//! Neither side believes the other: lengths are bounded, and what is read is judged as a copy.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use famfs_core::entry::Owner;
use famfs_core::extent::{Extent, Extents, Map};
use famfs_core::path::RelPath;
use famfs_core::space::Layout;
use famfs_core::units::{ByteLen, DevOff, DeviceIndex};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, Face};

/// The longest message: a commit of several thousand files.
pub(super) const LONGEST: usize = 4 << 20;

/// How space is to be laid out.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Lay {
    Contiguous,
    Interleaved {
        strips: usize,
        buckets: u64,
        chunk_size: u64,
    },
}

/// A path and who owns what it names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Named {
    pub(super) path: Vec<u8>,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
}

/// A file to be committed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Filled {
    pub(super) token: Uuid,
    pub(super) named: Named,
    pub(super) overwrite: bool,
}

/// What a user asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Request {
    Reserve { size: u64, layout: Lay },
    Adopt { token: Uuid },
    Release { token: Uuid },
    Commit { files: Vec<Filled> },
    Mkdir { named: Named },
    Remove { path: Vec<u8> },
}

/// What the follower answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// The file comes with it.
    Reserved {
        token: Uuid,
        size: u64,
        chunk_size: Option<u64>,
        extents: Vec<(u64, u64)>,
    },
    Slots(Vec<u64>),
    Done,
    Refused(Refused),
}

/// An error, as far as it can be told to another process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Refused {
    kind: Kind,
    /// What it is about, for the kinds that have a path alone.
    path: String,
    message: String,
    errno: i32,
    exit: i32,
    python: String,
    /// Whether the log has it all the same.
    pub(super) published: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    NotFound,
    ParentMissing,
    NotADirectory,
    IsADirectory,
    DirectoryNotEmpty,
    AlreadyExists,
    Other,
}

impl From<&Error> for Refused {
    fn from(error: &Error) -> Self {
        let (kind, path) = match error {
            Error::NotFound { path } => (Kind::NotFound, path.as_str()),
            Error::ParentMissing { path } => (Kind::ParentMissing, path.as_str()),
            Error::NotADirectory { path } => (Kind::NotADirectory, path.as_str()),
            Error::IsADirectory { path } => (Kind::IsADirectory, path.as_str()),
            Error::DirectoryNotEmpty { path } => (Kind::DirectoryNotEmpty, path.as_str()),
            Error::AlreadyExists { path } => (Kind::AlreadyExists, path.as_str()),
            _ => (Kind::Other, ""),
        };
        let face = error.face();
        Self {
            kind,
            path: path.to_owned(),
            message: error.to_string(),
            errno: face.errno,
            exit: face.exit,
            python: face.python.to_owned(),
            published: matches!(error, Error::NotShown { .. }),
        }
    }
}

impl Refused {
    /// The error, in this process.
    pub(super) fn into_error(self) -> Error {
        let path = self.path;
        match self.kind {
            Kind::NotFound => Error::NotFound { path },
            Kind::ParentMissing => Error::ParentMissing { path },
            Kind::NotADirectory => Error::NotADirectory { path },
            Kind::IsADirectory => Error::IsADirectory { path },
            Kind::DirectoryNotEmpty => Error::DirectoryNotEmpty { path },
            Kind::AlreadyExists => Error::AlreadyExists { path },
            Kind::Other => Error::Told {
                face: Face {
                    errno: self.errno,
                    exit: self.exit,
                    python: Face::known(&self.python),
                },
                message: self.message,
            },
        }
    }
}

impl From<Layout> for Lay {
    fn from(layout: Layout) -> Self {
        match layout {
            Layout::Interleaved {
                strips,
                buckets,
                chunk_size,
            } => Self::Interleaved {
                strips,
                buckets,
                chunk_size: chunk_size.0,
            },
            Layout::Contiguous => Self::Contiguous,
        }
    }
}

impl From<Lay> for Layout {
    fn from(lay: Lay) -> Self {
        match lay {
            Lay::Contiguous => Self::Contiguous,
            Lay::Interleaved {
                strips,
                buckets,
                chunk_size,
            } => Self::Interleaved {
                strips,
                buckets,
                chunk_size: ByteLen(chunk_size),
            },
        }
    }
}

impl Named {
    pub(super) fn new(path: &RelPath, owner: Owner) -> Self {
        Self {
            path: path.as_bytes().to_vec(),
            uid: owner.uid,
            gid: owner.gid,
            mode: owner.mode,
        }
    }
}

/// A map as it is told.
pub(super) fn told(token: Uuid, size: ByteLen, map: &Map) -> Reply {
    Reply::Reserved {
        token,
        size: size.0,
        chunk_size: match map {
            Map::Interleaved { chunk_size, .. } => Some(chunk_size.0),
            Map::Simple(_) => None,
        },
        extents: map
            .extents()
            .iter()
            .map(|e| (e.offset.0, e.len.0))
            .collect(),
    }
}

/// A map as it was told; `None` where it is none.
pub(super) fn map(chunk_size: Option<u64>, extents: &[(u64, u64)]) -> Option<Map> {
    let extents: Vec<_> = extents
        .iter()
        .map(|&(offset, len)| Extent {
            device: DeviceIndex::PRIMARY,
            offset: DevOff(offset),
            len: ByteLen(len),
        })
        .collect();
    let extents = Extents::new(&extents)?;
    Some(match chunk_size {
        Some(chunk_size) => Map::Interleaved {
            chunk_size: ByteLen(chunk_size),
            strips: extents,
        },
        None => Map::Simple(extents),
    })
}

/// Sends a message, with a file where one is handed over.
pub(super) fn send(
    mut stream: &UnixStream,
    message: &impl Serialize,
    file: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let len = u32::try_from(body.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    if body.len() > LONGEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let files: Vec<_> = file.into_iter().collect();
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut room);
    if !files.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&files));
    }
    let head = len.to_le_bytes();
    let sent = rustix::io::retry_on_intr(|| {
        sendmsg(
            stream,
            &[IoSlice::new(&head)],
            &mut control,
            SendFlags::NOSIGNAL,
        )
    })?;
    stream.write_all(&head[sent..])?;
    stream.write_all(&body)
}

/// Receives a message and the file that came with it; `None` where the other side has ended.
pub(super) fn receive<T: DeserializeOwned>(
    mut stream: &UnixStream,
) -> io::Result<Option<(T, Option<OwnedFd>)>> {
    let mut head = [0; 4];
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let received = rustix::io::retry_on_intr(|| {
        recvmsg(
            stream.as_fd(),
            &mut [IoSliceMut::new(&mut head)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )
    })?;
    let mut file = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = message {
            file = files.last().or(file);
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut head[received.bytes..])?;
    let len = u32::from_le_bytes(head) as usize;
    if len > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = Vec::new();
    stream.take(len as u64).read_to_end(&mut body)?;
    if body.len() < len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some((serde_json::from_slice(&body)?, file)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_message_arrives_whole_with_its_file() {
        let (one, other) = UnixStream::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        (&file).write_all(b"content").unwrap();
        let files = vec![
            Filled {
                token: Uuid::nil(),
                named: Named {
                    path: vec![b'x'; 79],
                    uid: 1,
                    gid: 2,
                    mode: 0o644,
                },
                overwrite: true,
            };
            3000
        ];
        let request = Request::Commit { files };
        let sent = std::thread::spawn(move || {
            send(&one, &request, Some(file.as_fd())).unwrap();
            send(&one, &Request::Release { token: Uuid::max() }, None).unwrap();
        });
        let (first, handed) = receive::<Request>(&other).unwrap().unwrap();
        let Request::Commit { files } = first else {
            panic!("{first:?}");
        };
        assert_eq!((files.len(), files[2999].named.gid), (3000, 2));
        let handed = File::from(handed.unwrap());
        assert_eq!(handed.metadata().unwrap().len(), 7);
        let (second, none) = receive::<Request>(&other).unwrap().unwrap();
        assert!(matches!(second, Request::Release { token } if token == Uuid::max()));
        assert!(none.is_none());
        sent.join().unwrap();
        assert!(receive::<Request>(&other).unwrap().is_none());
    }

    #[test]
    fn what_makes_no_sense_is_an_error() {
        for bytes in [
            &b"\xff\xff\xff\xff"[..],
            b"\x02\0\0\0{",
            b"\x02\0\0\0{}",
            b"\x02\0",
        ] {
            let (mut one, other) = UnixStream::pair().unwrap();
            one.write_all(bytes).unwrap();
            drop(one);
            receive::<Request>(&other).unwrap_err();
        }
    }

    #[test]
    fn errors_keep_their_kind_and_their_face() {
        let told = |error: &Error| -> Error {
            let text = serde_json::to_string(&Refused::from(error)).unwrap();
            serde_json::from_str::<Refused>(&text).unwrap().into_error()
        };
        let exists = Error::AlreadyExists { path: "a/b".into() };
        assert!(matches!(told(&exists), Error::AlreadyExists { path } if path == "a/b"));
        let busy = Error::Busy {
            path: "/mnt".into(),
            holders: "somebody".into(),
        };
        let again = told(&busy);
        assert_eq!(again.face(), busy.face());
        assert_eq!(again.to_string(), busy.to_string());
    }
}
