//! The kernel's side of famfs: the module and its ioctls, mounts, and dax devices.
//!
//! Owns what is said to the kernel and in which words. It knows nothing of volumes, logs or names:
//! which file gets which map is for those who replay the log.
//!
//! # Safety
//! All unsafe code is in [`ioctl`] and [`peer`]: each call hands the kernel a structure of the layout
//! that `kmod/famfs_ioctl.h` gives its number, and [`abi`] checks sizes and numbers at compile time;
//! or room for what it tells of a socket.
#![deny(unsafe_code)]

#[cfg(not(target_pointer_width = "64"))]
compile_error!("the kernel interface has 64-bit pointers: famfs needs a 64-bit host");

pub mod abi;
pub mod dax;
pub mod holders;
pub mod ioctl;
pub mod kmod;
pub mod mount;
pub mod peer;
mod signals;
mod tool;
