//! Cache instructions of 64-bit Arm: every processor has them, only the line's size differs.
#![expect(unsafe_code, reason = "instructions of the processor")]

use std::arch::asm;

use super::{Kind, Set};
use crate::guard::arch::{famfs_mem_dc_civac, famfs_mem_dc_cvac};

/// The instructions, with the smallest line of all data caches (`CTR_EL0.DminLine`).
pub(super) fn detect() -> Set {
    let ctr: u64;
    // SAFETY: reading CTR_EL0 has no effect; where the processor traps it, Linux answers for it.
    unsafe { asm!("mrs {0}, ctr_el0", out(reg) ctr, options(nomem, nostack, preserves_flags)) };
    // The field is the binary logarithm of the line in words of 4 bytes.
    let line = 4_usize << ((ctr >> 16) & 0xF);
    Set {
        write_back: (Kind::DcCvac, famfs_mem_dc_cvac),
        invalidate: (Kind::DcCivac, famfs_mem_dc_civac),
        line,
    }
}

#[cfg(test)]
pub(super) fn all() -> Vec<Set> {
    vec![detect()]
}
