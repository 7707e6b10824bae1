//! Whether a device's memory is the system's RAM.
//!
//! The driver kmem hands a device to the system in whole memory blocks, those that lie within it.
//! Blocks that could not be taken back when kmem was unbound stay: then nothing drives the device,
//! and its memory is still in use.

use std::fs;
use std::path::Path;

use super::{Driver, SystemRam, hexadecimal};

/// How it stands with a device of `size` bytes at `start`, as the tree at `sys` shows it.
pub(super) fn state(
    sys: &Path,
    driver: Option<&Driver>,
    start: Option<u64>,
    size: u64,
) -> SystemRam {
    let is_kmem = driver == Some(&Driver::Kmem);
    let online = start
        .filter(|start| *start != 0)
        .map(|start| has_blocks(sys, start, size));
    match (is_kmem, online) {
        (true, Some(false)) => SystemRam::Offline,
        // Where it isn't known where the device lies, the worse is taken for true.
        (_, Some(true)) | (true, None) => SystemRam::Online,
        (false, _) => SystemRam::No,
    }
}

/// Whether one of the memory blocks within a range is online.
fn has_blocks(sys: &Path, start: u64, size: u64) -> bool {
    let memory = sys.join("devices/system/memory");
    let block = fs::read_to_string(memory.join("block_size_bytes"))
        .ok()
        .and_then(|text| hexadecimal(text.trim()))
        .unwrap_or(0);
    if block == 0 {
        return false;
    }
    let (first, end) = (start.div_ceil(block), start.saturating_add(size) / block);
    (first..end).any(|index| {
        fs::read_to_string(memory.join(format!("memory{index}/state")))
            .is_ok_and(|state| state.trim() != "offline")
    })
}
