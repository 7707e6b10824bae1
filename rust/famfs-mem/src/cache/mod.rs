//! Cache lines: writing them back and dropping them, with the instructions this processor has.
//!
//! Owns the choice of instruction, made once per process, and the lines a range touches. It must
//! not decide when lines are written back or dropped, and it does not fence: the caller does.
#![expect(unsafe_code, reason = "instructions of the processor")]

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod lines;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use std::{fmt, sync::OnceLock};

#[cfg(target_arch = "aarch64")]
use aarch64 as arch;
pub(crate) use lines::lines;
#[cfg(target_arch = "x86_64")]
use x86_64 as arch;

use crate::guard::{Outcome, Stopped};

/// An instruction that works on one cache line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// x86-64: writes the line back and may keep it.
    Clwb,
    /// x86-64: writes the line back and drops it.
    Clflushopt,
    /// x86-64: writes the line back and drops it, one after the other.
    Clflush,
    /// 64-bit Arm: cleans the line to the point of coherency.
    DcCvac,
    /// 64-bit Arm: cleans the line to the point of coherency and drops it.
    DcCivac,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Clwb => "clwb",
            Self::Clflushopt => "clflushopt",
            Self::Clflush => "clflush",
            Self::DcCvac => "dc cvac",
            Self::DcCivac => "dc civac",
        })
    }
}

/// What this host's processor does with cache lines, for reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Instructions {
    /// What writes lines back.
    pub write_back: Kind,
    /// What drops lines.
    pub invalidate: Kind,
    /// The size of a line in bytes.
    pub line_size: usize,
}

/// The cache instructions in use on this host.
///
/// ```
/// let used = famfs_mem::cache_instructions();
/// assert!(used.line_size.is_power_of_two());
/// assert!(!used.invalidate.to_string().is_empty());
/// ```
#[must_use]
pub fn cache_instructions() -> Instructions {
    let set = set();
    Instructions {
        write_back: set.write_back.0,
        invalidate: set.invalidate.0,
        line_size: set.line,
    }
}

/// Works on `lines` (at least one) lines from `first`, each `step` bytes after the other.
type Routine = unsafe extern "C" fn(first: *const u8, lines: usize, step: usize) -> Outcome;

/// The routines of one processor.
#[derive(Clone, Copy, Debug)]
struct Set {
    write_back: (Kind, Routine),
    invalidate: (Kind, Routine),
    line: usize,
}

fn set() -> Set {
    static CHOSEN: OnceLock<Set> = OnceLock::new();
    *CHOSEN.get_or_init(arch::detect)
}

/// Writes back the lines that `len` bytes at `at` touch.
///
/// # Safety
/// The range is mapped: memory behind it may be lost, the mapping may not.
pub(crate) unsafe fn write_back(at: *const u8, len: usize) -> Result<u64, Stopped> {
    let set = set();
    // SAFETY: the caller's promise.
    unsafe { each_line(set.write_back, at, len, set.line) }
}

/// Writes back and drops the lines that `len` bytes at `at` touch.
///
/// # Safety
/// As for [`write_back`]. No line of the range is dirty with bytes older than what another host
/// wrote there: that is the protocol's business, not memory safety's.
pub(crate) unsafe fn invalidate(at: *const u8, len: usize) -> Result<u64, Stopped> {
    let set = set();
    // SAFETY: the caller's promise.
    unsafe { each_line(set.invalidate, at, len, set.line) }
}

/// # Safety
/// The range is mapped.
unsafe fn each_line(
    (kind, routine): (Kind, Routine),
    at: *const u8,
    len: usize,
    line: usize,
) -> Result<u64, Stopped> {
    let lines = lines(at.addr(), len, line);
    #[cfg(test)]
    trace::record(kind, lines);
    let _ = kind;
    if lines.count > 0 {
        // A line never crosses a page, so whole lines of a mapped range are mapped.
        // SAFETY: the caller's promise; the count is not 0, as the routines need.
        unsafe { routine(at.with_addr(lines.first), lines.count, lines.size) }.result()?;
    }
    Ok(lines.count as u64)
}

/// Which lines were handed to which instruction, for tests.
#[cfg(test)]
pub(crate) mod trace {
    use std::cell::RefCell;

    use super::{Kind, lines::Lines};

    thread_local! {
        static SEEN: RefCell<Option<Vec<(Kind, usize)>>> = const { RefCell::new(None) };
    }

    pub(super) fn record(kind: Kind, lines: Lines) {
        SEEN.with_borrow_mut(|seen| {
            if let Some(seen) = seen {
                seen.extend(lines.iter().map(|line| (kind, line)));
            }
        });
    }

    /// The lines that `run` hands to instructions on this thread.
    pub(crate) fn of(run: impl FnOnce()) -> Vec<(Kind, usize)> {
        SEEN.set(Some(Vec::new()));
        run();
        SEEN.take().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_handed_to_the_chosen_instruction() {
        let buffer = vec![1_u8; 1024];
        let used = cache_instructions();
        let size = used.line_size;
        let at = buffer.as_ptr().wrapping_add(100);
        let expected = lines(at.addr(), 300, size).iter().collect::<Vec<_>>();
        assert!(expected.len() > 1);
        // SAFETY: the range lies in the buffer.
        let seen = trace::of(|| unsafe {
            assert_eq!(write_back(at, 300), Ok(expected.len() as u64));
        });
        let with = |kind| {
            expected
                .iter()
                .map(|line| (kind, *line))
                .collect::<Vec<_>>()
        };
        assert_eq!(seen, with(used.write_back));
        // SAFETY: the range lies in the buffer.
        let seen = trace::of(|| unsafe {
            assert_eq!(invalidate(at, 300), Ok(expected.len() as u64));
        });
        assert_eq!(seen, with(used.invalidate));
    }

    #[test]
    fn an_empty_range_reaches_no_instruction() {
        // SAFETY: nothing is touched.
        let seen = trace::of(|| unsafe {
            assert_eq!(write_back(std::ptr::null(), 0), Ok(0));
            assert_eq!(invalidate(std::ptr::null(), 0), Ok(0));
        });
        assert_eq!(seen, []);
    }

    /// The instructions themselves say which lines they reach: the first that has no memory behind
    /// it stops them.
    #[test]
    fn every_instruction_steps_line_by_line_and_stops_at_the_last() {
        if crate::testing::is_emulated() {
            println!("NOT TESTED: the emulator makes nothing of cache instructions");
            return;
        }
        let lost = crate::testing::LostPage::new();
        for set in arch::all() {
            for (kind, routine) in [set.write_back, set.invalidate] {
                for before in 1..4 {
                    let at = lost.boundary().wrapping_sub(before * set.line);
                    // SAFETY: both pages stay mapped.
                    unsafe {
                        assert_eq!(routine(at, before, set.line).result(), Ok(()), "{kind}");
                        let stopped = routine(at, before + 1, set.line).result().unwrap_err();
                        assert_eq!(stopped.address, lost.boundary().addr(), "{kind}");
                        assert_eq!(stopped.lost, None, "{kind}");
                    }
                }
            }
        }
    }
}
