//! Inspection: a device judged from its bytes, without mounting it (fsck and dump).
//!
//! Owns how the bytes are got: read from the file or past the page cache, never through a lasting
//! mapping, so that a damaged, truncated or foreign volume can be looked at.

use std::path::Path;

use famfs_core::check::Check;
use famfs_core::media::{LOG_OFFSET, SUPERBLOCK_LEN};
use famfs_core::units::ByteLen;
use famfs_mem::{Access, Source};

use crate::error::{Error, Result};
use crate::kernel::{self, KernelFiles};

/// Judges the volume on a device, in a backing file or under a kernel mount's root.
///
/// # Errors
/// Only where the bytes can't be read; what is wrong with them is in the result.
pub fn inspect(path: &Path) -> Result<Check> {
    let source = if kernel::is_root(path) {
        KernelFiles::open(path, true)?.1
    } else {
        Source::open(path, Access::ReadOnly).map_err(Error::source)?
    };
    let size = source.size();
    let mut superblock = [0; SUPERBLOCK_LEN];
    let len = superblock
        .len()
        .min(usize::try_from(size).unwrap_or(usize::MAX));
    source
        .read_at(0, &mut superblock[..len])
        .map_err(Error::source)?;
    Check::run(
        &superblock[..len],
        ByteLen(size),
        crate::volume::seed(),
        |at, buffer| {
            let from = LOG_OFFSET.saturating_add(at);
            let there = usize::try_from(size.saturating_sub(from)).unwrap_or(usize::MAX);
            let len = buffer.len().min(there);
            source
                .read_at(from, &mut buffer[..len])
                .map_err(Error::source)?;
            Ok(len)
        },
    )
}
