//! Watching: what is published, replaced and removed, in the order of the log.
//!
//! Owns which entries of the log are news of a path, and how long to rest between two looks. The
//! log is read, never slept on: whoever waits polls, under mounts of any kind.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use famfs_core::path::parent;
use famfs_core::units::Slot;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::files::Stat;
use crate::mounts::{self, Resolved};
use crate::volume::Volume;

/// What happened to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// A file or directory is there that was not.
    Published,
    /// A file took the place of the one that was there.
    Replaced,
    /// The name is gone.
    Removed,
}

impl What {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Replaced => "replaced",
            Self::Removed => "removed",
        }
    }
}

/// News of a name.
#[derive(Clone, Debug)]
pub struct Event {
    /// What happened.
    pub what: What,
    /// The file or directory: of a name that is gone, what stood there.
    pub stat: Stat,
}

/// What follows the log for the sake of one path: the name itself, and what lies in it where it is
/// a directory.
#[derive(Debug)]
pub struct Watch {
    resolved: Resolved,
    uuid: Uuid,
    /// The first slot that was not looked at yet.
    next: u64,
    /// What is there, by path, as far as it was told.
    seen: BTreeMap<Vec<u8>, Slot>,
    /// What is to be told first.
    first: Vec<Event>,
}

impl Watch {
    /// Starts at the log's end: what is there already is told only where `existing` is set, before
    /// anything else. The path need not be there yet.
    ///
    /// # Errors
    /// [`Error::NotMounted`], [`Error::InvalidPath`], and where the volume can't be opened.
    pub fn begin(path: &Path, existing: bool) -> Result<Self> {
        let resolved = mounts::resolve(path)?;
        let volume = resolved.volume()?;
        let mut watch = Self {
            uuid: volume.uuid(),
            next: volume.entries(),
            seen: BTreeMap::new(),
            first: Vec::new(),
            resolved,
        };
        let mut found = match volume.list(&watch.resolved.path) {
            Ok(found) => found,
            // It may come.
            Err(Error::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        // Another thread may have followed the log in between: that is told by `poll`.
        found.retain(|stat| stat.slot.0 < watch.next);
        for stat in &found {
            watch.seen.insert(stat.path.clone(), stat.slot);
        }
        if let Ok(itself) = volume.stat(&watch.resolved.path)
            && itself.is_dir()
            && !itself.path.is_empty()
        {
            watch.seen.insert(itself.path.clone(), itself.slot);
        }
        if existing {
            let what = What::Published;
            watch.first = found.into_iter().map(|stat| Event { what, stat }).collect();
        }
        Ok(watch)
    }

    /// Looks once: what is new since the last look, in the order of the log. Of a name that is gone
    /// it is told after what came in the meantime.
    ///
    /// # Errors
    /// [`Error::VolumeChanged`] where another volume is there now, and where it can't be read.
    pub fn poll(&mut self) -> Result<Vec<Event>> {
        let mut events = std::mem::take(&mut self.first);
        let volume = self.resolved.volume()?;
        let end = volume.entries();
        if volume.uuid() != self.uuid || end < self.next {
            return Err(Error::VolumeChanged {
                path: volume.path().to_owned(),
                why: "its log is not the one that was followed".into(),
            });
        }
        let mut gone = false;
        for slot in std::mem::replace(&mut self.next, end)..end {
            match volume.stat_slot(Slot(slot)) {
                Ok(stat) if self.is_meant(&stat.path) => self.came(&volume, stat, &mut events)?,
                Ok(_) => {}
                // An entry that makes nothing takes something away, or was passed over.
                Err(Error::NotFound { .. }) => gone = true,
                Err(error) => return Err(error),
            }
        }
        if gone {
            self.went(&volume, &mut events)?;
        }
        Ok(events)
    }

    /// Whether a path is the one that is watched, or lies in it.
    fn is_meant(&self, path: &[u8]) -> bool {
        let watched = self.resolved.path.as_slice();
        path == watched || parent(path).unwrap_or_default() == watched
    }

    fn came(&mut self, volume: &Volume, stat: Stat, events: &mut Vec<Event>) -> Result<()> {
        let mut what = What::Published;
        if let Some(old) = self.seen.insert(stat.path.clone(), stat.slot) {
            if volume.before(stat.slot) == Some(old) {
                what = What::Replaced;
            } else {
                // The name was taken away in between.
                events.push(Event {
                    what: What::Removed,
                    stat: volume.stat_slot(old)?,
                });
            }
        }
        events.push(Event { what, stat });
        Ok(())
    }

    fn went(&mut self, volume: &Volume, events: &mut Vec<Event>) -> Result<()> {
        let mut gone = Vec::new();
        for &slot in self.seen.values() {
            let stat = volume.stat_slot(slot)?;
            // One that was replaced is told by the entry that did it.
            let is_there = stat.is_live || volume.stat(&stat.path).is_ok_and(|now| now.slot > slot);
            if !is_there {
                gone.push(stat);
            }
        }
        gone.sort_by_key(|stat| stat.slot);
        for stat in gone {
            self.seen.remove(&stat.path);
            let what = What::Removed;
            events.push(Event { what, stat });
        }
        Ok(())
    }
}

impl Volume {
    /// The version that a file took the place of.
    fn before(&self, slot: Slot) -> Option<Slot> {
        let state = self.inner.read();
        let node = state.replay.names().by_slot(slot)?;
        node.before().map(|before| before.slot())
    }
}

/// How long to rest between two looks: short at first, and longer while nothing is new.
#[derive(Clone, Copy, Debug)]
pub struct Pause(Duration);

impl Pause {
    const SHORTEST: Duration = Duration::from_micros(500);
    const LONGEST: Duration = Duration::from_millis(50);

    /// The shortest.
    #[must_use]
    pub fn new() -> Self {
        Self(Self::SHORTEST)
    }

    /// How long to rest now; it will be twice as long the next time.
    pub fn grow(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(Self::LONGEST);
        now
    }
}

impl Default for Pause {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit() {
        let mut pause = Pause::new();
        let pauses: Vec<_> = (0..20).map(|_| pause.grow()).collect();
        assert!(pauses.is_sorted());
        assert_eq!(pauses[0], Pause::SHORTEST);
        assert_eq!(pauses[19], Pause::LONGEST);
    }
}
