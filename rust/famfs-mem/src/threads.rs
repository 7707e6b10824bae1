//! Threads that share the work of one call: how many are worth it, and what comes of them.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::OnceLock;
use std::thread;

/// The number of threads that work which waits for memory is worth on this host.
///
/// A few processors saturate the memory; more of them only take turns.
#[must_use]
pub fn default_threads() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| {
        thread::available_parallelism()
            .map_or(1, NonZero::get)
            .min(8)
    })
}

/// Runs `own` on this thread, and meanwhile `help` on up to `helpers` more; what `own` came to is
/// first.
///
/// A thread that can not be had is not missed: each takes the piece of work that is next, so that
/// the others do what it would have done.
///
/// # Panics
/// Where one of them does.
pub fn helped<R: Send>(
    helpers: usize,
    help: impl Fn() -> R + Sync,
    own: impl FnOnce() -> R,
) -> Vec<R> {
    thread::scope(|scope| {
        let helpers: Vec<_> = (0..helpers)
            .map_while(|_| thread::Builder::new().spawn_scoped(scope, &help).ok())
            .collect();
        let mut found = vec![own()];
        for helper in helpers {
            found.push(helper.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        found
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn each_piece_is_taken_once_and_all_results_come_back() {
        for helpers in [0, 1, 5] {
            let next = AtomicUsize::new(0);
            let take = || -> Vec<usize> {
                let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
                numbers.take_while(|number| *number < 1000).collect()
            };
            let found = helped(helpers, take, || {
                let mut mine = take();
                mine.push(1000);
                mine
            });
            assert_eq!(found.len(), helpers + 1);
            assert_eq!(found[0].last(), Some(&1000), "its own is first");
            let mut all: Vec<_> = found.concat();
            all.sort_unstable();
            assert_eq!(all, (0..=1000).collect::<Vec<_>>());
        }
    }

    #[test]
    #[should_panic(expected = "a helper's")]
    fn a_panic_of_a_helper_is_the_callers() {
        helped(1, || panic!("a helper's"), || ());
    }
}
