//! The follower's side: it reserves and commits for users, and hands them the files to fill.
//!
//! Owns the reservations of users: each lives as long as a connection takes part in it. What is
//! handed over was cleared, since free space holds what others have written.

use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use famfs_core::path::RelPath;
use famfs_core::units::{ByteLen, Slot};
use uuid::Uuid;

use super::access::Peer;
use super::wire::{self, Filled, Refused, Reply, Request};
use super::{GROUP, socket};
use crate::error::{Error, Result};
use crate::kernel::KernelFiles;
use crate::reservation::Reservation;
use crate::volume::Volume;
use crate::writer::Publication;

/// Connections at the same time: each is a thread.
const CONNECTIONS: usize = 256;

/// Reservations of one connection at the same time.
const RESERVATIONS: usize = 1024;

/// Answers users until it is dropped.
#[derive(Debug)]
pub(crate) struct Service {
    path: PathBuf,
    ended: Arc<AtomicBool>,
}

/// Space that users fill.
#[derive(Debug)]
struct Shared {
    reservation: Reservation,
    /// Whose it is: nobody else takes part.
    uid: u32,
    /// Handles that do, of any connection.
    holders: usize,
}

#[derive(Debug)]
struct Server {
    volume: Volume,
    shared: Mutex<HashMap<Uuid, Shared>>,
    connections: AtomicUsize,
}

impl Service {
    /// Begins to answer users of the mount whose files have this device number.
    ///
    /// # Errors
    /// Where the socket can't be made, or there is no group that may use it.
    pub(crate) fn start(volume: &Volume, device: (u32, u32)) -> Result<Self> {
        let path = socket(device);
        let io = |what| Error::io(&path, what);
        // Nobody else listens: the follower's record is locked.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io("remove")(error));
            }
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(io("listen at"))?;
        let group = group(&fs::read_to_string("/etc/group").unwrap_or_default());
        // Nobody gets in before it is known who may.
        let mode = if group.is_some() { 0o660 } else { 0o600 };
        std::os::unix::fs::chown(&path, None, group).map_err(io("give a group to"))?;
        fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(io("set the mode of"))?;
        let ended = Arc::new(AtomicBool::new(false));
        let server = Arc::new(Server {
            volume: volume.clone(),
            shared: Mutex::default(),
            connections: AtomicUsize::new(0),
        });
        let stop = Arc::clone(&ended);
        thread::spawn(move || server.listen(&listener, &stop));
        Ok(Self { path, ended })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // Wakes whoever waits for connections, who then sees that it is over.
        let _ = UnixStream::connect(&self.path);
        let _ = fs::remove_file(&self.path);
    }
}

/// The number of the group that may publish, of lines such as `name:x:990:members`.
fn group(lines: &str) -> Option<u32> {
    lines.lines().find_map(|line| {
        let mut words = line.split(':');
        (words.next()? == GROUP).then_some(())?;
        words.nth(1)?.parse().ok()
    })
}

/// The handles of one connection, by the reservations that they take part in.
type Handles = HashMap<Uuid, usize>;

/// Counts a connection for as long as it is.
struct Counted(Arc<Server>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Server {
    fn listen(self: &Arc<Self>, listener: &UnixListener, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            let Ok((stream, _)) = listener.accept() else {
                // No descriptors are left: others have to end first.
                thread::sleep(std::time::Duration::from_millis(100));
                continue;
            };
            self.connections.fetch_add(1, Ordering::AcqRel);
            let counted = Counted(Arc::clone(self));
            if self.connections.load(Ordering::Acquire) > CONNECTIONS {
                // Closed at once: the user is told that the follower has ended.
                continue;
            }
            let serve = move || {
                if let Ok(peer) = Peer::of(&stream) {
                    counted.0.converse(&peer, &stream);
                }
            };
            // Where no thread can be had, the connection is closed likewise.
            let _ = thread::Builder::new().spawn(serve);
        }
    }

    fn shared(&self) -> MutexGuard<'_, HashMap<Uuid, Shared>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn converse(&self, peer: &Peer, stream: &UnixStream) {
        let mut held = Handles::new();
        while let Ok(Some((request, _))) = wire::receive(stream) {
            let (reply, file) = match self.answer(peer, &mut held, request) {
                Ok(answer) => answer,
                Err(error) => (Reply::Refused(Refused::from(&error)), None),
            };
            if wire::send(stream, &reply, file.as_ref().map(AsFd::as_fd)).is_err() {
                break;
            }
        }
        for (token, handles) in held {
            self.let_go(token, handles);
        }
    }

    fn let_go(&self, token: Uuid, handles: usize) {
        let mut shared = self.shared();
        let Some(found) = shared.get_mut(&token) else {
            return;
        };
        found.holders = found.holders.saturating_sub(handles);
        let last = if found.holders == 0 {
            shared.remove(&token)
        } else {
            None
        };
        // Not under the lock: it waits for the host's.
        drop(shared);
        drop(last);
    }

    fn kernel(&self) -> Result<&KernelFiles> {
        self.volume.inner.kernel.as_ref().ok_or(Error::Forked)
    }

    fn answer(
        &self,
        peer: &Peer,
        held: &mut Handles,
        request: Request,
    ) -> Result<(Reply, Option<Arc<File>>)> {
        let slots = |slots: Vec<Slot>| {
            let numbers = slots.into_iter().map(|slot| slot.0).collect();
            (Reply::Slots(numbers), None)
        };
        match request {
            Request::Reserve { size, layout } => {
                if held.len() >= RESERVATIONS {
                    return Err(Error::Usage(format!(
                        "a process has at most {RESERVATIONS} files under way: commit some first"
                    )));
                }
                let reservation = self
                    .volume
                    .reserve_for_others(ByteLen(size), layout.into())?;
                let token = reservation.token();
                let handed = handed(&reservation);
                let shared = Shared {
                    reservation,
                    uid: peer.uid,
                    holders: 1,
                };
                self.shared().insert(token, shared);
                held.insert(token, 1);
                handed
            }
            Request::Adopt { token } => {
                let mut shared = self.shared();
                let found = shared.get_mut(&token).filter(|found| found.uid == peer.uid);
                let found = found.ok_or(Error::NoReservation { token })?;
                found.holders += 1;
                *held.entry(token).or_default() += 1;
                handed(&found.reservation)
            }
            Request::Release { token } => {
                if let Some(handles) = held.get_mut(&token) {
                    *handles -= 1;
                    if *handles == 0 {
                        held.remove(&token);
                    }
                    self.let_go(token, 1);
                }
                Ok((Reply::Done, None))
            }
            Request::Commit { files } => self.commit(peer, held, &files).map(slots),
            Request::Mkdir { named } => {
                let path = to_path(&named.path)?;
                peer.check(self.kernel()?, &path, false)?;
                let slot = self.volume.mkdir(path, peer.owner(&named))?;
                Ok(slots(vec![slot]))
            }
            Request::Remove { path } => {
                let path = to_path(&path)?;
                peer.check(self.kernel()?, &path, true)?;
                let slot = self.volume.remove(path)?;
                Ok(slots(vec![slot]))
            }
        }
    }

    /// Commits files that this connection holds, and nobody else.
    fn commit(&self, peer: &Peer, held: &mut Handles, files: &[Filled]) -> Result<Vec<Slot>> {
        let mut named = Vec::with_capacity(files.len());
        for file in files {
            let Filled {
                named: name,
                overwrite,
                ..
            } = file;
            let path = to_path(&name.path)?;
            peer.check(self.kernel()?, &path, *overwrite)?;
            named.push((path, peer.owner(name), *overwrite));
        }
        let mut publications = Vec::with_capacity(files.len());
        let mut shared = self.shared();
        for file in files {
            let token = file.token;
            let found = shared.get(&token).filter(|_| held.contains_key(&token));
            let found = found.ok_or(Error::NoReservation { token })?;
            if found.holders > 1 {
                return Err(Error::Busy {
                    path: self.volume.path().to_owned(),
                    holders: format!(
                        "others still take part in reservation {token}; commit it when they have \
                         let go of it"
                    ),
                });
            }
        }
        for (file, (path, owner, overwrite)) in files.iter().zip(named) {
            let token = file.token;
            held.remove(&token);
            let found = shared
                .remove(&token)
                .ok_or(Error::NoReservation { token })?;
            publications.push(Publication {
                reservation: found.reservation,
                path,
                owner,
                overwrite,
            });
        }
        drop(shared);
        self.volume.commit(publications)
    }
}

fn to_path(bytes: &[u8]) -> Result<RelPath> {
    RelPath::new(bytes).map_err(|reason| Error::InvalidPath {
        path: crate::files::display(bytes),
        reason,
    })
}

fn handed(reservation: &Reservation) -> Result<(Reply, Option<Arc<File>>)> {
    let file = reservation.shown().cloned().ok_or(Error::Forked)?;
    let told = wire::told(reservation.token(), reservation.size(), reservation.map());
    Ok((told, Some(file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_is_found_by_its_name() {
        let lines = "root:x:0:\nnotfamfs:x:7:famfs\nfamfs:x:990:user,other\n";
        assert_eq!(group(lines), Some(990));
        assert_eq!(group("famfs:x"), None);
        assert_eq!(group(""), None);
    }
}
