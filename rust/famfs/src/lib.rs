//! Files in memory that several hosts share: one volume, opened.
//!
//! The facade over the log ([`famfs_core`]) and the memory ([`famfs_mem`]). [`mkfs()`] makes a
//! volume, [`Volume`] opens one and follows its log, [`Volume::reserve`] and [`Volume::commit`]
//! publish files, [`Volume::view`] reads them in place, and [`mounts`] says which path lies in
//! which volume.
//!
//! ```
//! use famfs::{MkfsOptions, Options, Publication, Volume, mkfs};
//! use famfs::core::{entry::Owner, path::RelPath, space::Layout, units::{ByteLen, FileOff}};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let device = dir.path().join("volume");
//! mkfs(&device, &MkfsOptions { size: Some(32 << 20), ..MkfsOptions::default() })?;
//! let volume = Volume::open(&device, Options::default())?;
//!
//! let reservation = volume.reserve(ByteLen(5), Layout::Contiguous)?;
//! reservation.fill(FileOff(0), b"hello")?;
//! let path = RelPath::new(b"greeting")?;
//! let owner = Owner { uid: 0, gid: 0, mode: 0o644 };
//! volume.commit(vec![Publication { reservation, path, owner, overwrite: false }])?;
//!
//! let file = volume.stat(b"greeting")?;
//! assert_eq!(&volume.view(&file)?[..], b"hello");
//! # Ok(())
//! # }
//! ```
#![deny(unsafe_code)]

mod coherence;
pub mod dax;
pub mod embedded;
pub mod error;
mod error_sys;
mod files;
mod grow;
pub mod host;
pub mod inspect;
pub mod kernel;
mod lend;
mod locate;
mod lock;
pub mod measure;
mod memory;
mod mkfs;
mod mount_origins;
mod mount_table;
pub mod mounts;
mod publish;
mod record;
mod reservation;
mod service;
mod table;
mod transaction;
mod two_ways;
mod view;
mod volume;
pub mod watch;
mod writer;

pub use coherence::Locality;
pub use error::{Error, Face, Result};
pub use famfs_core as core;
pub use famfs_mem as mem;
pub use famfs_sys as sys;
pub use files::{FileReader, Stat};
pub use locate::{InFile, locate};
pub use mkfs::{MkfsOptions, mkfs};
pub use publish::Publication;
pub use reservation::Reservation;
pub use transaction::Transaction;
pub use two_ways::{Portion, TwoWays};
pub use volume::{Options, Refreshed, Volume};
