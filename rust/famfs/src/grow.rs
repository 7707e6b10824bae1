//! A reservation that grows: for a file whose size nobody knows before it is written.
//!
//! Owns how much more is taken at a time, and the order of a change of its space: the table has it
//! first, then the kernel, where there is one. What was written stays where it is.

use std::sync::Arc;

use famfs_core::extent::Map;
use famfs_core::units::{ByteLen, FileOff};

use crate::error::{Error, Result};
use crate::reservation::Reservation;
use crate::table::{Promise, Table};
use crate::volume::{State, Volume};

/// How much a file that has `has` bytes in so many pieces takes at a time: little that isn't needed,
/// while it can go on where it ends; more where it can't, for it has sixteen pieces at most.
fn share(has: u64, pieces: usize) -> u64 {
    match pieces {
        0..4 => has / 4,
        4..8 => has,
        _ => has.saturating_mul(2),
    }
}

impl Volume {
    /// Whether this process's reservations can grow: those that a mount's follower makes for its
    /// users can't.
    ///
    /// # Errors
    /// As [`Self::reserve`].
    pub fn can_grow(&self) -> Result<bool> {
        Ok(self.inner.follower()?.is_none())
    }
}

impl Reservation {
    /// Reserves more, until the file has room for `size` bytes; its size is then what it has room
    /// for, until it is [cut](Self::cut).
    ///
    /// # Errors
    /// [`Error::NoSpace`], with what it had before; [`Error::Unsupported`] where it
    /// [can't](Volume::can_grow); those of [`Volume::reserve`].
    pub fn grow(&mut self, size: ByteLen) -> Result<()> {
        self.check_range(FileOff(0), 0)?;
        let has = self.size().0;
        let Some(need) = size.0.checked_sub(has).filter(|need| *need > 0) else {
            return Ok(());
        };
        let (volume, map) = (Arc::clone(self.volume()), *self.map());
        let want = need.max(share(has, map.extents().len()));
        self.put(|table, state| {
            let space = volume.free_space(table, state)?;
            let grown = space.extend(&map, ByteLen(need), ByteLen(want));
            let map = grown.map_err(|reason| volume.no_space(reason))?;
            Ok((map.allocated(), map))
        })
    }

    /// Gives back what lies behind the first `size` bytes, which are then the whole file.
    ///
    /// # Errors
    /// [`Error::Usage`] where it has fewer; as [`Self::grow`].
    pub fn cut(&mut self, size: ByteLen) -> Result<()> {
        self.check_range(FileOff(0), size.0)?;
        if size == self.size() {
            return Ok(());
        }
        let map = self.map().cut(size);
        self.put(|_, _| Ok((size, map)))
    }

    /// Puts another size and map in the place of this one's.
    fn put(
        &mut self,
        find: impl FnOnce(&Table, &mut State) -> Result<(ByteLen, Map)>,
    ) -> Result<()> {
        if self.follower().is_some() {
            return Err(Error::Unsupported {
                what: self.volume().path().display().to_string(),
                why: "the mount's follower reserves for this user, and a file's whole size at \
                      once"
                    .into(),
            });
        }
        let token = self.token();
        let promise = self.volume().locked(|table, state| {
            table.confirm(token)?;
            let (size, map) = find(table, state)?;
            let promise = Promise { token, size, map };
            table.replace(&promise)?;
            Ok(promise)
        })?;
        self.moved(&promise)
    }
}
