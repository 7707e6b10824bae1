//! The famfs metadata log: the on-media format, its replay, allocation and append planning.
//!
//! Bytes come in, decisions go out. Nothing here maps memory, opens files or knows a host: callers
//! copy bytes out of a volume, which others may write at any time, and have them judged here. The
//! same code serves mounts, fsck, fuzzers and simulations.
//!
//! The way through the modules: [`superblock`] and [`header`] say which volume it is and how far
//! its log goes; [`entry`] reads one entry; `judge` decides what it may do, given all before it;
//! [`replay`] applies it to the [`namespace`] and the [`space`]; [`append`] plans new entries by
//! the same rules; [`check`] does all of that for a whole image. docs/format.md is the normative
//! specification of the bytes.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod append;
pub mod check;
pub mod entry;
pub mod extent;
pub mod finding;
pub mod header;
mod judge;
pub mod media;
pub mod namespace;
pub mod path;
pub mod replay;
pub mod seeded;
pub mod space;
pub mod superblock;
pub mod units;
