//! Cache instructions of x86-64: which ones this processor has.

use std::arch::x86_64::{__cpuid, __cpuid_count};

use super::{Kind, Set};
use crate::guard::arch::{famfs_mem_clflush, famfs_mem_clflushopt, famfs_mem_clwb};

/// Picks the instructions: `clwb` keeps what it writes back, `clflushopt` does not wait for its
/// neighbours, `clflush` is what every processor has.
pub(super) fn detect() -> Set {
    let (has_clwb, has_clflushopt) = if __cpuid(0).eax >= 7 {
        let extended = __cpuid_count(7, 0).ebx;
        (extended & (1 << 24) != 0, extended & (1 << 23) != 0)
    } else {
        (false, false)
    };
    // CPUID gives the line that clflush works on in units of 8 bytes.
    let line = ((__cpuid(1).ebx >> 8) & 0xFF) as usize * 8;
    choose(
        has_clwb,
        has_clflushopt,
        if line.is_power_of_two() { line } else { 64 },
    )
}

fn choose(has_clwb: bool, has_clflushopt: bool, line: usize) -> Set {
    let drop = if has_clflushopt {
        (Kind::Clflushopt, famfs_mem_clflushopt as super::Routine)
    } else {
        (Kind::Clflush, famfs_mem_clflush as super::Routine)
    };
    let keep = if has_clwb {
        (Kind::Clwb, famfs_mem_clwb as super::Routine)
    } else {
        drop
    };
    Set {
        write_back: keep,
        invalidate: drop,
        line,
    }
}

#[cfg(test)]
pub(super) fn all() -> Vec<Set> {
    let here = detect();
    let mut found = vec![here, choose(false, false, here.line)];
    if here.invalidate.0 == Kind::Clflushopt {
        found.push(choose(false, true, here.line));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_instruction_there_is_gets_chosen() {
        let kinds = |clwb, clflushopt| {
            let set = choose(clwb, clflushopt, 64);
            (set.write_back.0, set.invalidate.0)
        };
        assert_eq!(kinds(true, true), (Kind::Clwb, Kind::Clflushopt));
        assert_eq!(kinds(false, true), (Kind::Clflushopt, Kind::Clflushopt));
        assert_eq!(kinds(true, false), (Kind::Clwb, Kind::Clflush));
        assert_eq!(kinds(false, false), (Kind::Clflush, Kind::Clflush));
    }
}
