//! Arbitrary bytes as superblock and log: judged, never a panic, and no byte handed out twice.
//!
//! The input is a superblock of 200 bytes, a log header of 48 and entries of 544. Where the first
//! byte is odd, all checksums are made right first, so that the judges behind them are reached.
#![no_main]

use std::convert::Infallible;

use famfs_core::check::Check;
use famfs_core::units::{ByteLen, Slot};
use libfuzzer_sys::fuzz_target;

fn seal(bytes: &mut [u8], at: usize) {
    if bytes.len() >= at + 8 {
        let sum = u64::from(crc32fast::hash(&bytes[..at]));
        bytes[at..at + 8].copy_from_slice(&sum.to_le_bytes());
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&first, rest)) = input.split_first() else {
        return;
    };
    let mut image = rest.to_vec();
    let split = image.len().min(200);
    let (superblock, log) = image.split_at_mut(split);
    if first & 1 == 1 {
        seal(superblock, 96);
        seal(log, 24);
        if log.len() > 48 {
            log[48..].chunks_mut(544).for_each(|entry| seal(entry, 536));
        }
    }
    let device = 1u64 << (first >> 1).min(63);
    let Ok(check) = Check::run::<Infallible>(superblock, ByteLen(device), 1, |at, buffer| {
        let there = usize::try_from(at)
            .ok()
            .and_then(|at| log.get(at..))
            .unwrap_or_default();
        let len = buffer.len().min(there.len());
        buffer[..len].copy_from_slice(&there[..len]);
        Ok(len)
    });
    let Some(replay) = check.replay else { return };
    let mut extents: Vec<_> = (0..replay.next().0)
        .filter_map(|slot| replay.names().by_slot(Slot(slot))?.map())
        .flat_map(|map| map.extents().to_vec())
        .filter(|extent| extent.device.0 == 0)
        .collect();
    extents.sort_by_key(|extent| extent.offset);
    for pair in extents.windows(2) {
        assert!(pair[0].end().expect("inside the device") <= pair[1].offset.0);
    }
});
