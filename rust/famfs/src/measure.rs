//! What a volume's memory can do: the limit that publishing is measured against.

use std::time::{Duration, Instant};

use famfs_core::space::Layout;
use famfs_core::units::ByteLen;
use famfs_mem::{Memory, RegionOff, default_threads};

use crate::error::{Error, Result};
use crate::volume::Volume;

/// How long the fastest copy of `bytes` into the volume takes: the best of `rounds` of memcpy and of
/// streaming stores, with one thread and with several, into memory that is mapped already.
///
/// The memory is reserved for it, and given back: nothing is published.
///
/// # Errors
/// Those of [`Volume::reserve`]; [`Error::MemoryFault`].
pub fn copy_limit(volume: &Volume, bytes: &[u8], rounds: usize) -> Result<Duration> {
    let reservation = volume.reserve(ByteLen(bytes.len() as u64), Layout::Contiguous)?;
    let at = reservation.map().extents().iter().next();
    let at = at.map_or(RegionOff(0), |extent| RegionOff(extent.offset.0));
    let region = volume.region();
    let fault = |fault| Error::fault(volume.path())(fault);
    let timed = |copy: &dyn Fn() -> Result<(), famfs_mem::Fault>| {
        let start = Instant::now();
        copy().map_err(fault)?;
        Ok::<_, Error>(start.elapsed())
    };
    let mut best = Duration::MAX;
    for _ in 0..rounds.max(1) {
        for threads in [1, default_threads()] {
            best = best.min(timed(&|| region.stream(at, bytes, threads))?);
        }
        best = best.min(timed(&|| region.store(at, bytes))?);
    }
    Ok(best)
}
