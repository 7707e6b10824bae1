//! Signals that wait while something is half done.
//!
//! Owns which signals those are. They are kept waiting in this thread alone: a program with others
//! that take the same signals ends as it did before.

use std::fs;
use std::marker::PhantomData;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// Those that a user or a shutdown ends a program with.
const ENDING: [Signal; 4] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
];

/// Signals that would end the program wait as long as this lives, and do their work after it.
#[derive(Debug)]
pub(crate) struct Held {
    before: Option<SigSet>,
    /// What waits, waits in the thread that asked for it.
    of_this_thread: PhantomData<*const ()>,
}

impl Held {
    pub(crate) fn new() -> Self {
        let ending: SigSet = ENDING.into_iter().collect();
        Self {
            // Where that can't be had, what is done is done without it.
            before: ending.thread_swap_mask(SigmaskHow::SIG_BLOCK).ok(),
            of_this_thread: PhantomData,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            // It was accepted once.
            let _ = before.thread_set_mask();
        }
    }
}

/// Whether one of them waits, and is not ignored.
pub(crate) fn is_one_waiting() -> bool {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    is_waiting_in(&status)
}

/// `SigPnd` is the thread's, `ShdPnd` the process's: bit N - 1 stands for signal N.
fn is_waiting_in(status: &str) -> bool {
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| u64::from_str_radix(value.trim(), 16).ok())
            .unwrap_or(0)
    };
    let waiting = (mask("SigPnd:") | mask("ShdPnd:")) & !mask("SigIgn:");
    ENDING
        .iter()
        .any(|signal| waiting & (1 << (*signal as u32 - 1)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_seen_unless_it_is_ignored() {
        let status = |pending: u64, shared: u64, ignored: u64| {
            format!(
                "Name:\tx\nSigPnd:\t{pending:016x}\nShdPnd:\t{shared:016x}\nSigIgn:\t{ignored:016x}\n"
            )
        };
        assert!(!is_waiting_in(""));
        assert!(!is_waiting_in(&status(0, 0, 0)));
        assert!(is_waiting_in(&status(0, 1 << 1, 0)));
        assert!(is_waiting_in(&status(1 << 14, 0, 0)));
        assert!(!is_waiting_in(&status(1 << 16, 0, 0)));
        assert!(!is_waiting_in(&status(0, 1, 1)));
    }

    #[test]
    fn they_wait_while_it_lives() {
        let before = SigSet::thread_get_mask().unwrap();
        let held = Held::new();
        let during = SigSet::thread_get_mask().unwrap();
        assert!(ENDING.iter().all(|signal| during.contains(*signal)));
        assert!(!is_one_waiting());
        drop(held);
        assert_eq!(SigSet::thread_get_mask().unwrap(), before);
    }
}
