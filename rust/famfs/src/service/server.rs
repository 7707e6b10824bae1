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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use famfs_core::path::RelPath;
use famfs_core::units::{ByteLen, Slot};
use uuid::Uuid;

use super::access::Peer;
use super::wire::{self, Filled, Refused, Reply, Request};
use super::{GROUP, socket};
use crate::error::{Error, Result};
use crate::kernel::KernelFiles;
use crate::publish::Publication;
use crate::reservation::Reservation;
use crate::volume::{State, Volume};

/// Connections at the same time: each is a thread.
const CONNECTIONS: usize = 512;

/// Connections of one user.
const CONNECTIONS_OF_USER: usize = 64;

/// Reservations at the same time: each is an open file.
const RESERVATIONS: usize = 8192;

/// Reservations of one user.
const RESERVATIONS_OF_USER: usize = 1024;

/// Open files that all of this may take, and the follower besides.
const OPEN_FILES: u64 = 16_384;

/// Files of one commit.
const FILES: usize = 4096;

/// How long a connection that holds nothing may be silent: whoever comes back connects again.
const SILENCE: Duration = Duration::from_mins(1);

/// Answers users until it is dropped.
#[derive(Debug)]
pub(crate) struct Service {
    /// Whether there is a group that may use it; root may in any case.
    has_group: bool,
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
    /// How many each user has.
    connections: Mutex<HashMap<u32, usize>>,
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
        // Made where nobody gets in before it is known who may.
        let folder = tempfile::Builder::new()
            .prefix(".new-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(super::PLACE)
            .map_err(io("make a place for"))?;
        let draft = folder.path().join("socket");
        let listener = UnixListener::bind(&draft).map_err(io("listen at"))?;
        let group = group(&fs::read_to_string("/etc/group").unwrap_or_default());
        let mode = if group.is_some() { 0o660 } else { 0o600 };
        std::os::unix::fs::chown(&draft, None, group).map_err(io("give a group to"))?;
        fs::set_permissions(&draft, Permissions::from_mode(mode)).map_err(io("set the mode of"))?;
        fs::rename(&draft, &path).map_err(io("put in its place"))?;
        raise_limit();
        let ended = Arc::new(AtomicBool::new(false));
        let server = Arc::new(Server {
            volume: volume.clone(),
            shared: Mutex::default(),
            connections: Mutex::default(),
        });
        let stop = Arc::clone(&ended);
        thread::spawn(move || server.listen(&listener, &stop));
        Ok(Self {
            has_group: group.is_some(),
            path,
            ended,
        })
    }

    /// Why nobody but root can use it, where that is so.
    pub(crate) fn lack(&self) -> Option<Error> {
        (!self.has_group).then(|| Error::Unsupported {
            what: format!("publishing by users through {}", self.path.display()),
            why: format!(
                "there is no group {GROUP} in /etc/group: `groupadd -r {GROUP}`, add users to it, \
                 and start the follower anew; until then only root publishes"
            ),
        })
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

/// Lets the process have as many open files as users may ask for, as far as the system does.
fn raise_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let wanted = now.maximum.map_or(OPEN_FILES, |most| most.min(OPEN_FILES));
    if now.current.is_some_and(|current| current < wanted) {
        let limit = Rlimit {
            current: Some(wanted),
            maximum: now.maximum,
        };
        // Fewer reservations fit then: who asks for one more is told so.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

/// A user's connection, counted for as long as it is; what it held goes with it.
struct Connection {
    server: Arc<Server>,
    peer: Peer,
    held: Handles,
}

impl Drop for Connection {
    fn drop(&mut self) {
        for (token, handles) in std::mem::take(&mut self.held) {
            self.server.let_go(token, handles);
        }
        let mut connections = self.server.connections();
        if let Some(count) = connections.get_mut(&self.peer.uid) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&self.peer.uid);
            }
        }
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
            let Ok(peer) = Peer::of(&stream) else {
                continue;
            };
            // Closed at once where there are too many: the user is told that the follower gives up.
            let Some(connection) = self.connection(peer) else {
                continue;
            };
            // Where no thread can be had, the connection is closed likewise.
            let _ = thread::Builder::new().spawn(move || connection.converse(&stream));
        }
    }

    fn connection(self: &Arc<Self>, peer: Peer) -> Option<Connection> {
        let mut connections = self.connections();
        let all: usize = connections.values().sum();
        let of_user = connections.entry(peer.uid).or_default();
        if all >= CONNECTIONS || *of_user >= CONNECTIONS_OF_USER {
            return None;
        }
        *of_user += 1;
        Some(Connection {
            server: Arc::clone(self),
            peer,
            held: Handles::new(),
        })
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<u32, usize>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn shared(&self) -> MutexGuard<'_, HashMap<Uuid, Shared>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Refuses a user what would leave nothing to others.
    fn check_count(&self, uid: u32) -> Result<()> {
        let shared = self.shared();
        let of_user = shared.values().filter(|found| found.uid == uid).count();
        let (most, whose) = if of_user >= RESERVATIONS_OF_USER {
            (RESERVATIONS_OF_USER, "a user has")
        } else if shared.len() >= RESERVATIONS {
            (RESERVATIONS, "all users have")
        } else {
            return Ok(());
        };
        Err(Error::Busy {
            path: self.volume.path().to_owned(),
            holders: format!("{whose} at most {most} files under way: commit or drop some first"),
        })
    }

    /// Takes reservations out that a connection holds, and nobody else.
    fn take(&self, held: &mut Handles, tokens: &[Uuid]) -> Result<Vec<Reservation>> {
        let mut shared = self.shared();
        for token in tokens {
            let found = shared.get(token).filter(|_| held.contains_key(token));
            let found = found.ok_or(Error::NoReservation { token: *token })?;
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
        let taken = tokens.iter().map(|token| {
            held.remove(token);
            let found = shared.remove(token);
            found.ok_or(Error::NoReservation { token: *token })
        });
        let taken: Vec<_> = taken.collect();
        // Not under the lock: what is dropped of them waits for the host's.
        drop(shared);
        taken
            .into_iter()
            .map(|found| found.map(|found| found.reservation))
            .collect()
    }
}

impl Connection {
    fn converse(mut self, stream: &UnixStream) {
        loop {
            let patience = self.held.is_empty().then_some(SILENCE);
            let Ok(Some((request, _))) = stream
                .set_read_timeout(patience)
                .and_then(|()| wire::receive(stream))
            else {
                return;
            };
            let (reply, file) = match self.answer(request) {
                Ok(answer) => answer,
                Err(error) => (Reply::Refused(Refused::from(&error)), None),
            };
            if wire::send(stream, &reply, file.as_ref().map(AsFd::as_fd)).is_err() {
                return;
            }
        }
    }

    fn answer(&mut self, request: Request) -> Result<(Reply, Option<Arc<File>>)> {
        let slots = |slots: Vec<Slot>| {
            let numbers = slots.into_iter().map(|slot| slot.0).collect();
            (Reply::Slots(numbers), None)
        };
        let server = Arc::clone(&self.server);
        let volume = &server.volume;
        match request {
            Request::Reserve { size, layout } => {
                server.check_count(self.peer.uid)?;
                let reservation = volume.reserve_for_others(ByteLen(size), layout.into())?;
                let token = reservation.token();
                let handed = handed(&reservation);
                let shared = Shared {
                    reservation,
                    uid: self.peer.uid,
                    holders: 1,
                };
                server.shared().insert(token, shared);
                self.held.insert(token, 1);
                handed
            }
            Request::Adopt { token } => {
                let mut shared = server.shared();
                let uid = self.peer.uid;
                let found = shared.get_mut(&token).filter(|found| found.uid == uid);
                let found = found.ok_or(Error::NoReservation { token })?;
                found.holders += 1;
                *self.held.entry(token).or_default() += 1;
                handed(&found.reservation)
            }
            Request::Release { token } => {
                if let Some(handles) = self.held.get_mut(&token) {
                    *handles -= 1;
                    if *handles == 0 {
                        self.held.remove(&token);
                    }
                    server.let_go(token, 1);
                }
                Ok((Reply::Done, None))
            }
            Request::Commit { files } => self.commit(&files).map(slots),
            Request::Mkdir { named } => {
                let path = to_path(&named.path)?;
                let owner = self.peer.owner(&named);
                let slot =
                    volume.mkdir_if(path, owner, &|state| self.check(state, &path, false))?;
                Ok(slots(vec![slot]))
            }
            Request::Remove { path } => {
                let path = to_path(&path)?;
                let slot = volume.remove_if(path, &|state| self.check(state, &path, true))?;
                Ok(slots(vec![slot]))
            }
        }
    }

    fn check(&self, state: &State, path: &RelPath, removes: bool) -> Result<()> {
        self.peer.check(self.server.kernel()?, state, path, removes)
    }

    /// Commits files that this connection holds, and nobody else.
    fn commit(&mut self, files: &[Filled]) -> Result<Vec<Slot>> {
        if files.len() > FILES {
            return Err(Error::Usage(format!(
                "{} files for one commit, {FILES} is the most: commit them in several",
                files.len()
            )));
        }
        let mut named = Vec::with_capacity(files.len());
        for file in files {
            let path = to_path(&file.named.path)?;
            named.push((path, self.peer.owner(&file.named), file.overwrite));
        }
        let tokens: Vec<_> = files.iter().map(|file| file.token).collect();
        let server = Arc::clone(&self.server);
        let taken = server.take(&mut self.held, &tokens)?;
        let publication = |(reservation, (path, owner, overwrite))| Publication {
            reservation,
            path,
            owner,
            overwrite,
        };
        let asked: Vec<_> = named.iter().map(|(path, _, over)| (*path, *over)).collect();
        let publications = taken.into_iter().zip(named).map(publication).collect();
        server.volume.commit_if(publications, &|state| {
            asked
                .iter()
                .try_for_each(|(path, overwrite)| self.check(state, path, *overwrite))
        })
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
