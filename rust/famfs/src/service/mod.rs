//! Publishing by users who may not place files: the follower of a kernel mount does it for them.
//!
//! Owns what is said over its socket, and who is believed. A map gives access to any byte of the
//! device, so only the follower installs them, for space that it has reserved itself. A user's own
//! process fills the file that it is handed, and asks for its commit.

mod access;
mod by_follower;
mod client;
mod server;
mod wire;

use std::path::PathBuf;

pub(crate) use self::client::{Client, Handed, Lost};
pub(crate) use self::server::Service;

/// Users of this group may publish, where directories let them.
const GROUP: &str = "famfs";

/// Where the followers' sockets and records are.
pub(crate) const PLACE: &str = "/run/famfs/follow";

/// The socket of the follower of a mount, by the device number of its files.
fn socket((major, minor): (u32, u32)) -> PathBuf {
    PathBuf::from(format!("{PLACE}/{major}-{minor}.socket"))
}
