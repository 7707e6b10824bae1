//! Who asks, and what they may do: judged as the kernel would, by what it shows.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;

use famfs_core::entry::Owner;
use famfs_core::path::RelPath;

use super::wire::Named;
use crate::error::{Error, Result};
use crate::kernel::KernelFiles;
use crate::volume::State;

/// Whoever is at the other end of a connection, as the kernel has told.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) uid: u32,
    groups: Vec<u32>,
}

const SEARCH: u32 = 1;
const WRITE: u32 = 2;
const STICKY: u32 = 0o1000;

impl Peer {
    /// Asks the kernel who connected.
    pub(super) fn of(stream: &UnixStream) -> std::io::Result<Self> {
        let credentials = rustix::net::sockopt::socket_peercred(stream)?;
        let mut groups = famfs_sys::peer::groups(stream)?;
        groups.push(credentials.gid.as_raw());
        Ok(Self {
            uid: credentials.uid.as_raw(),
            groups,
        })
    }

    fn is_root(&self) -> bool {
        self.uid == 0
    }

    fn may(&self, directory: &File, wanted: u32) -> std::io::Result<bool> {
        let facts = directory.metadata()?;
        let shift = if facts.uid() == self.uid {
            6
        } else if self.groups.contains(&facts.gid()) {
            3
        } else {
            0
        };
        Ok(self.is_root() || (facts.mode() >> shift) & wanted == wanted)
    }

    /// Checks that this user may give or take names in the directory of `path`; with `removes` also
    /// the name that is there. Under the host lock, when the kernel's directories follow the log.
    ///
    /// # Errors
    /// [`Error::Permission`]; [`Error::ParentMissing`] where there is no such directory.
    pub(super) fn check(
        &self,
        kernel: &KernelFiles,
        state: &State,
        path: &RelPath,
        removes: bool,
    ) -> Result<()> {
        let refused = |what| Error::Permission {
            path: kernel.path_of(path.as_bytes()),
            what,
            next: "ask the owner of its directory, or choose another one",
        };
        let io = |error| Error::io(kernel.mountpoint(), "examine")(error);
        let slashes = path.as_bytes().iter().enumerate();
        let slashes = slashes.filter_map(|(at, &byte)| (byte == b'/').then_some(at));
        let mut last = kernel.open_root().map_err(io)?;
        for at in slashes {
            if !self.may(&last, SEARCH).map_err(io)? {
                return Err(refused("looking into a directory on the way"));
            }
            let on_the_way = &path.as_bytes()[..at];
            let Some(next) = kernel.open_directory(on_the_way)? else {
                let path = path.to_string();
                let is_file = state.replay.names().lookup(on_the_way).is_some();
                return Err(if is_file {
                    Error::NotADirectory { path }
                } else {
                    Error::ParentMissing { path }
                });
            };
            last = next;
        }
        if !self.may(&last, WRITE | SEARCH).map_err(io)? {
            return Err(refused("changing names in its directory"));
        }
        let facts = last.metadata().map_err(io)?;
        if !removes || facts.mode() & STICKY == 0 || facts.uid() == self.uid || self.is_root() {
            return Ok(());
        }
        // By the log: the kernel may not show it.
        match state.replay.names().lookup(path.as_bytes()) {
            Some(node) if node.owner().uid != self.uid => {
                Err(refused("taking another user's name away"))
            }
            _ => Ok(()),
        }
    }

    /// The owner of what this user makes: itself, and a group of its own.
    pub(super) fn owner(&self, named: &Named) -> Owner {
        if self.is_root() {
            return Owner {
                uid: named.uid,
                gid: named.gid,
                mode: named.mode & 0o7777,
            };
        }
        let own = self.groups.last().copied().unwrap_or(u32::MAX);
        Owner {
            uid: self.uid,
            gid: if self.groups.contains(&named.gid) {
                named.gid
            } else {
                own
            },
            // Who may not become others makes nothing that others become.
            mode: named.mode & 0o1777,
        }
    }
}
