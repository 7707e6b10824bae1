//! Views of committed files: the one place of this crate that hands out memory as a slice.
#![expect(
    unsafe_code,
    reason = "a view's promise can only be kept by who knows the log"
)]

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use famfs_core::units::{ByteLen, DevOff};
use famfs_mem::{MapError, Piece, Region, RegionOff, View};

/// A view of a file whose log entry was seen, over `runs` in the file's order.
///
/// `whole` is a file of the kernel's that shows just these runs, where they do not follow each
/// other. Only for runs that come from a replayed entry, after their range was acquired.
pub(crate) fn committed(
    region: &Arc<Region>,
    runs: &[(DevOff, u64)],
    size: ByteLen,
    whole: Option<BorrowedFd<'_>>,
) -> Result<View, MapError> {
    let pieces: Vec<_> = runs
        .iter()
        .map(|&(at, len)| Piece {
            at: RegionOff(at.0),
            len,
        })
        .collect();
    // SAFETY: the runs belong to a file that the log names, so it is committed. Extents that the
    // log has named are never handed out again, by any host: the allocator takes them for good,
    // and only the master allocates; and no call of this crate writes to a file after its commit.
    // So nobody of ours writes these bytes any more. Under a kernel mount, as with a device node or
    // a backing file, whoever the system lets write to them by other means is trusted not to. The caller has acquired the range on this host after
    // it saw the entry.
    unsafe { region.view(&pieces, size.0, whole) }
}

/// Lets go of the runs of a file that was never committed, for the reservation that holds them.
///
/// Only where it is known that it wasn't committed.
pub(crate) fn withdrawn(region: &Region, runs: &[(DevOff, u64)]) -> Result<(), MapError> {
    // SAFETY: the reservation held them, and whoever fills one borrows it, so nobody does by this
    // one while it is dropped; other handles of the same reservation hold them for themselves. No
    // log entry names these runs, so no view of them was made.
    unsafe { region.detach(&crate::kernel::pieces(runs)) }
}
