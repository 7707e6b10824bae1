//! A volume, opened: its state as far as the log was replayed.
//!
//! Owns the state that a process keeps of a volume and how it follows the log. What is looked up is
//! as fresh as the last [`Volume::refresh`]; no reader ever waits for a writer of another process.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};
use std::time::SystemTime;

use famfs_core::check::Fatal;
use famfs_core::entry::Entry;
use famfs_core::finding::{Finding, FindingKind};
use famfs_core::header::LogHeader;
use famfs_core::media::{COUNTERS_OFFSET, ENTRY_LEN, entry_offset};
use famfs_core::replay::{Device, Replay, Usage};
use famfs_core::superblock::{Role, Superblock};
use famfs_core::units::{ByteLen, Slot};
use famfs_mem::{Access, Identity, Kind, Region, Source};
use uuid::Uuid;

use crate::coherence::{Coherence, FIRST_LINE, Locality, Pulse};
use crate::error::{Error, Result};
use crate::host;
use crate::kernel::{self, KernelFiles};
use crate::locate::Places;
use crate::writer::Writer;

/// Entries that are read at once.
const READ_ENTRIES: u64 = 512;

/// Fresh reads of entries that do not match their checksum, before they are taken to be so.
const DOUBTS: usize = 3;

/// How a volume is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whose caches see it; by default a backing file is local and a device is shared.
    pub locality: Option<Locality>,
    /// Take no permission to write, even where it is there.
    pub read_only: bool,
}

/// A volume, opened. Clones are the same volume; threads may share it.
///
/// A forked child reads with it, unless another thread of the parent followed the log just then:
/// what opens by path ([`crate::mounts`]) opens the child's own, and so does whoever is to write.
#[derive(Clone, Debug)]
pub struct Volume {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) source: Source,
    /// The mount's files, where the volume is under a kernel mount.
    pub(crate) kernel: Option<KernelFiles>,
    pub(crate) region: Arc<Region>,
    pub(crate) coherence: Coherence<Arc<Region>>,
    pub(crate) superblock: Superblock,
    header: LogHeader,
    /// The lines that never change while this is the same volume.
    first: Pulse,
    /// Found when it is first asked for: who only reads never does.
    host: OnceLock<Uuid>,
    /// The first slot that was not judged, if both counters said so: nothing is new while the
    /// log's counters are the same.
    judged: AtomicU64,
    state: RwLock<State>,
    /// Which file's bytes lie where, as far as somebody asked.
    places: Mutex<Places>,
    /// Files whose range was made safe to be read in this process.
    pub(crate) acquired: Mutex<HashSet<Slot>>,
    /// What writing takes; made when it is first needed.
    pub(crate) writer: Mutex<Option<Writer>>,
    /// Of this process: a child that is forked must not write with what its parent opened.
    pub(crate) generation: u64,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) replay: Replay,
    /// When slots were first seen: all before the slot, at the time.
    pub(crate) seen: Vec<(Slot, SystemTime)>,
}

/// What a refresh found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refreshed {
    /// Entries that were new.
    pub new_entries: u64,
    /// Entries in the log now.
    pub entries: u64,
}

impl Volume {
    /// Opens the volume on a device, in a backing file or under a kernel mount's root, and replays
    /// its log.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where there is no volume that can be mounted; [`Error::Unsupported`] for
    /// a block device, whose mapping is not its memory; [`Error::Permission`].
    pub fn open(path: &Path, options: Options) -> Result<Self> {
        let generation = famfs_mem::generation();
        // The directory that a process works in may change.
        let path = &std::path::absolute(path).map_err(Error::io(path, "find"))?;
        let (kernel, source) = if kernel::is_root(path) {
            let (kernel, source) = KernelFiles::open(path, options.read_only)?;
            (Some(kernel), source)
        } else {
            (None, open_source(path, options.read_only)?)
        };
        if source.kind() == Kind::Block {
            return Err(Error::Unsupported {
                what: path.display().to_string(),
                why: "a block device can't be mapped without the kernel's page cache: mount it \
                      with the kernel module (--kernel), or put the device into devdax mode"
                    .into(),
            });
        }
        let corrupt = |fatal: Fatal| Error::Corrupt {
            path: path.to_owned(),
            fatal,
        };
        if source.size() == 0 {
            let empty = famfs_core::superblock::SuperblockError::Truncated { len: 0 };
            return Err(corrupt(empty.into()));
        }
        let region = Region::map(&source).map_err(Error::map(path))?;
        let locality = options.locality.unwrap_or(match source.kind() {
            Kind::File => Locality::Local,
            _ => Locality::Shared,
        });
        let coherence = Coherence::new(Arc::clone(&region), locality);
        let truncated = famfs_core::superblock::SuperblockError::Truncated {
            len: usize::try_from(source.size()).unwrap_or(usize::MAX),
        };
        if source.size() < famfs_core::media::SUPERBLOCK_LEN as u64 {
            return Err(corrupt(truncated.into()));
        }
        let (superblock, header, first) = read_identity(path, &coherence, source.size())?;
        let device = ByteLen(source.size());
        let seed = seed();
        let replay = Replay::new(&superblock, &header, device, seed)
            .map_err(|error| corrupt(error.into()))?;
        let volume = Self {
            inner: Arc::new(Inner {
                source,
                kernel,
                region,
                coherence,
                superblock,
                header,
                first,
                host: OnceLock::new(),
                judged: AtomicU64::new(0),
                state: RwLock::new(State {
                    replay,
                    seen: Vec::new(),
                }),
                places: Mutex::default(),
                acquired: Mutex::new(HashSet::new()),
                writer: Mutex::new(None),
                generation,
            }),
        };
        volume.inner.judge(first)?;
        Ok(volume)
    }

    /// Follows the log: reads two lines, and what they say is new.
    ///
    /// # Errors
    /// [`Error::VolumeChanged`] where another volume is there now; [`Error::MemoryFault`].
    pub fn refresh(&self) -> Result<Refreshed> {
        self.inner.refresh()
    }

    /// The file system's identity.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        self.inner.superblock.uuid()
    }

    /// The superblock.
    #[must_use]
    pub fn superblock(&self) -> &Superblock {
        &self.inner.superblock
    }

    /// Entries that fit the log.
    #[must_use]
    pub fn log_capacity(&self) -> u64 {
        self.inner.header.capacity()
    }

    /// What this host may do.
    #[must_use]
    pub fn role(&self) -> Role {
        self.inner.superblock.role(self.inner.host())
    }

    /// This host's identity.
    #[must_use]
    pub fn host(&self) -> Uuid {
        self.inner.host()
    }

    /// Whose caches see the volume.
    #[must_use]
    pub fn locality(&self) -> Locality {
        self.inner.coherence.locality()
    }

    /// The device or backing file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.inner.source.path()
    }

    /// Which device or file it is, whatever path leads to it.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.inner.source.identity()
    }

    /// The volume's memory in this process.
    ///
    /// Not for others: under a kernel mount a part of it that nobody views may go at any time.
    pub(crate) fn region(&self) -> &Arc<Region> {
        &self.inner.region
    }

    /// Where its memory begins in this process's addresses, to compare with others.
    #[must_use]
    pub fn address(&self) -> usize {
        self.inner.region.address()
    }

    /// The file whose identity is the volume's, where `path` leads to the volume.
    pub(crate) fn shown_by(&self, path: &Path) -> PathBuf {
        match self.inner.kernel {
            Some(_) => path.join(kernel::LOG),
            None => path.to_owned(),
        }
    }

    /// What the space is used for.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.inner.read().replay.usage()
    }

    /// The device table, the primary first.
    #[must_use]
    pub fn devices(&self) -> Vec<Device> {
        self.inner.read().replay.devices().to_vec()
    }

    /// What is wrong with the volume.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.inner.read().replay.findings().to_vec()
    }

    /// Entries in the log, as of the last refresh.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.inner.read().replay.next().0
    }
}

/// Reads superblock and log header, of one and the same volume.
fn read_identity(
    path: &Path,
    coherence: &Coherence<Arc<Region>>,
    size: u64,
) -> Result<(Superblock, LogHeader, Pulse)> {
    let fault = |fault| Error::fault(path)(fault);
    let corrupt = |fatal: Fatal| Error::Corrupt {
        path: path.to_owned(),
        fatal,
    };
    for _ in 0..DOUBTS {
        let bytes = coherence.read_superblock().map_err(fault)?;
        let superblock = Superblock::decode(&bytes).map_err(|error| corrupt(error.into()))?;
        let needed = superblock.data_offset();
        if size < needed {
            let small = famfs_core::replay::DeviceError::TooSmall { size, needed };
            return Err(corrupt(small.into()));
        }
        let first = coherence.pulse().map_err(fault)?;
        let mut log = [0; famfs_core::media::LOG_HEADER_LEN];
        coherence.read_log(0, &mut log).map_err(fault)?;
        // Another volume may be made here at this moment: what was read must be of one.
        let again = coherence.pulse().map_err(fault)?;
        if bytes[..FIRST_LINE] != first.identity
            || log[..COUNTERS_OFFSET] != first.header
            || (again.identity, again.header) != (first.identity, first.header)
        {
            continue;
        }
        let header =
            LogHeader::decode(&log, superblock.log_len()).map_err(|error| corrupt(error.into()))?;
        return Ok((superblock, header, first));
    }
    Err(Error::VolumeChanged {
        path: path.to_owned(),
        why: "it is being made at this moment".into(),
    })
}

fn open_source(path: &Path, read_only: bool) -> Result<Source> {
    let open = |access| Source::open(path, access);
    if read_only {
        return open(Access::ReadOnly).map_err(Error::source);
    }
    match open(Access::ReadWrite) {
        // Who may only read, reads.
        Err(famfs_mem::SourceError::Open { source, .. })
            if matches!(
                source.kind(),
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            open(Access::ReadOnly).map_err(Error::source)
        }
        other => other.map_err(Error::source),
    }
}

/// Not to be guessed by who writes a log: names that collide would make its replay slow.
pub(crate) fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

impl Inner {
    pub(crate) fn path(&self) -> PathBuf {
        self.source.path().to_owned()
    }

    /// This host's identity; nil where it has none, which is told to who wants to write.
    pub(crate) fn host(&self) -> Uuid {
        if let Some(host) = self.host.get() {
            return *host;
        }
        // Looked for outside of the cell: a child that is forked meanwhile must not wait for it.
        let found = host::identity().unwrap_or(Uuid::nil());
        *self.host.get_or_init(|| found)
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn refresh(&self) -> Result<Refreshed> {
        let pulse = self
            .coherence
            .pulse()
            .map_err(Error::fault(self.source.path()))?;
        self.check_same(&pulse)?;
        let judged = self.judged.load(Ordering::Acquire);
        if pulse.counters.agree() && pulse.counters.next_index == judged {
            return Ok(Refreshed {
                new_entries: 0,
                entries: judged,
            });
        }
        self.judge(pulse)
    }

    /// Checks that this is still the volume that was opened, with one look at the memory.
    pub(crate) fn check_identity(&self) -> Result<()> {
        let pulse = self
            .coherence
            .pulse()
            .map_err(Error::fault(self.source.path()))?;
        self.check_same(&pulse)
    }

    fn check_same(&self, pulse: &Pulse) -> Result<()> {
        let changed = |why: &str| {
            Err(Error::VolumeChanged {
                path: self.path(),
                why: why.into(),
            })
        };
        if pulse.identity != self.first.identity {
            return changed("its superblock is another one");
        }
        if pulse.header != self.first.header {
            return changed("its log is another one");
        }
        Ok(())
    }

    /// Judges what `pulse` counts and was not judged yet.
    fn judge(&self, pulse: Pulse) -> Result<Refreshed> {
        self.judge_in(&mut self.write(), pulse)
    }

    /// Follows the log to its end, for whoever has the state locked.
    pub(crate) fn refresh_in(&self, state: &mut State) -> Result<Refreshed> {
        let pulse = self
            .coherence
            .pulse()
            .map_err(Error::fault(self.source.path()))?;
        self.check_same(&pulse)?;
        self.judge_in(state, pulse)
    }

    fn judge_in(&self, state: &mut State, pulse: Pulse) -> Result<Refreshed> {
        let before = state.replay.next();
        let mut pulse = pulse;
        if self.header.used(pulse.counters) < before.0 {
            // Another thread has judged what was appended since this pulse was taken: only one
            // taken under the lock can say that the log went back.
            pulse = self
                .coherence
                .pulse()
                .map_err(Error::fault(self.source.path()))?;
            self.check_same(&pulse)?;
        }
        let end = self.header.used(pulse.counters);
        if end < before.0 {
            return Err(Error::VolumeChanged {
                path: self.path(),
                why: format!("its log had {before} entries and has {end}"),
            });
        }
        let mut buffer = Vec::new();
        while state.replay.next().0 < end {
            let first = state.replay.next();
            let entries = (end - first.0).min(READ_ENTRIES);
            buffer.resize(usize::try_from(entries).unwrap_or(0) * ENTRY_LEN, 0);
            self.read_entries(first, &mut buffer)?;
            state.replay.judge_entries(&buffer);
        }
        state.replay.judge_counters(&self.header, pulse.counters);
        let next = state.replay.next();
        if next > before || state.seen.is_empty() {
            state.seen.push((next, SystemTime::now()));
        }
        if pulse.counters.agree() && pulse.counters.next_index == next.0 {
            self.judged.store(next.0, Ordering::Release);
        }
        Ok(Refreshed {
            new_entries: next.0 - before.0,
            entries: next.0,
        })
    }

    /// Reads the entry in a slot again; `None` where it is damaged.
    pub(crate) fn read_entry(&self, slot: Slot) -> Result<Option<Entry>> {
        let mut bytes = [0; ENTRY_LEN];
        self.read_entries(slot, &mut bytes)?;
        Ok(Entry::decode(&bytes, slot).ok())
    }

    /// Reads entries; those that look damaged are read afresh before that is believed.
    fn read_entries(&self, first: Slot, buffer: &mut [u8]) -> Result<()> {
        let offset = entry_offset(first.0).unwrap_or(u64::MAX);
        for _ in 0..DOUBTS {
            self.coherence
                .read_log(offset, buffer)
                .map_err(Error::fault(self.source.path()))?;
            let (entries, _) = buffer.as_chunks::<ENTRY_LEN>();
            let damaged = (first.0..).zip(entries).any(|(slot, bytes)| {
                matches!(
                    Entry::decode(bytes, Slot(slot)),
                    Err(FindingKind::EntryCrc { .. } | FindingKind::EntryMissing)
                )
            });
            if !damaged {
                break;
            }
        }
        Ok(())
    }
}
