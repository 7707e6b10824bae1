//! Who decides what the simulated hardware does where it is free to choose.
//!
//! Owns the search through all decisions. It must not know the model: it sees a number of options
//! and returns one of them.

use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What is to be decided. Lines are counted from the start of memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Choice {
    /// How many of the stores to a line, in their order, have reached memory by now. 0 is none.
    Landed {
        /// Whose stores.
        host: usize,
        /// To which line.
        line: u64,
    },
    /// Which words of a streamed line have reached memory by now, as a set. 0 is none.
    Streamed {
        /// Whose stores.
        host: usize,
        /// To which line.
        line: u64,
    },
    /// Which contents of a line a host sees. 0 is the stalest.
    Seen {
        /// Who looks.
        host: usize,
        /// At which line.
        line: u64,
    },
}

/// Decides what the hardware does.
pub trait Oracle: Send {
    /// Picks one of `options`, which are at least 2: a number below that.
    ///
    /// The first option is always the lazy one, where nothing happens until it must, and the last
    /// the eager one.
    fn choose(&mut self, options: usize, why: Choice) -> usize;
}

/// Nothing lands unless it is forced to, and everything is as stale as it may be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lazy;

impl Oracle for Lazy {
    fn choose(&mut self, _: usize, _: Choice) -> usize {
        0
    }
}

/// Everything lands at once, and nothing is stale.
#[derive(Clone, Copy, Debug, Default)]
pub struct Eager;

impl Oracle for Eager {
    fn choose(&mut self, options: usize, _: Choice) -> usize {
        options - 1
    }
}

/// Decisions that a seed determines.
#[derive(Clone, Copy, Debug)]
pub struct Random(u64);

impl Random {
    /// The decisions of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
}

impl Oracle for Random {
    fn choose(&mut self, options: usize, _: Choice) -> usize {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "less than a usize after the modulo"
        )]
        let picked = (mixed % options as u64) as usize;
        picked
    }
}

/// Given decisions, to repeat what an [`Explorer`] found; lazy when they are used up.
#[derive(Clone, Debug)]
pub struct Scripted(std::vec::IntoIter<usize>);

impl Scripted {
    /// These decisions, in order.
    #[must_use]
    pub fn new(picks: Vec<usize>) -> Self {
        Self(picks.into_iter())
    }
}

impl Oracle for Scripted {
    fn choose(&mut self, options: usize, _: Choice) -> usize {
        self.0.next().unwrap_or(0).min(options - 1)
    }
}

/// One decision on a path.
#[derive(Clone, Copy, Debug)]
struct Step {
    options: usize,
    picked: usize,
    why: Choice,
}

#[derive(Debug, Default)]
struct Path {
    steps: Vec<Step>,
    next: usize,
}

/// Follows a path as far as it goes, and is lazy from there on.
struct Follow(Arc<Mutex<Path>>);

fn lock(path: &Mutex<Path>) -> MutexGuard<'_, Path> {
    path.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Oracle for Follow {
    fn choose(&mut self, options: usize, why: Choice) -> usize {
        let mut path = lock(&self.0);
        let at = path.next;
        path.next += 1;
        if let Some(step) = path.steps.get(at) {
            assert!(
                (step.options, step.why) == (options, why),
                "the run is not deterministic: choice {at} was {:?} with {} options, is now \
                 {why:?} with {options}",
                step.why,
                step.options,
            );
            return step.picked;
        }
        path.steps.push(Step {
            options,
            picked: 0,
            why,
        });
        0
    }
}

/// Runs something once for every sequence of decisions.
#[derive(Clone, Copy, Debug)]
pub struct Explorer {
    limit: usize,
}

/// How far an exploration came without finding a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Explored {
    /// How many sequences of decisions there were.
    pub runs: usize,
    /// Whether those were all.
    pub complete: bool,
}

/// A sequence of decisions that leads to a failure.
#[derive(Debug)]
pub struct Counterexample<E> {
    /// What was decided, and why it was to be: [`Scripted`] repeats it.
    pub picks: Vec<(Choice, usize)>,
    /// What came of it.
    pub failure: E,
}

impl<E: fmt::Display> fmt::Display for Counterexample<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after the choices", self.failure)?;
        for (why, picked) in &self.picks {
            write!(f, " {why:?} = {picked};")?;
        }
        Ok(())
    }
}

impl<E: fmt::Display + fmt::Debug> Error for Counterexample<E> {}

impl Explorer {
    /// An exploration of at most `limit` sequences.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit }
    }

    /// Calls `run` for one sequence of decisions after the other, depth first. It must make a new
    /// memory each time, and do the same for the same decisions.
    ///
    /// # Errors
    /// The first failure that `run` returns, with the decisions that led to it.
    pub fn explore<E>(
        &self,
        mut run: impl FnMut(Box<dyn Oracle>) -> Result<(), E>,
    ) -> Result<Explored, Counterexample<E>> {
        let path = Arc::new(Mutex::new(Path::default()));
        for runs in 1..=self.limit {
            lock(&path).next = 0;
            let result = run(Box::new(Follow(Arc::clone(&path))));
            let mut path = lock(&path);
            let taken = path.next;
            path.steps.truncate(taken);
            if let Err(failure) = result {
                let picks = path
                    .steps
                    .iter()
                    .map(|step| (step.why, step.picked))
                    .collect();
                return Err(Counterexample { picks, failure });
            }
            while path
                .steps
                .pop_if(|step| step.picked + 1 == step.options)
                .is_some()
            {}
            match path.steps.last_mut() {
                Some(step) => step.picked += 1,
                None => {
                    return Ok(Explored {
                        runs,
                        complete: true,
                    });
                }
            }
        }
        Ok(Explored {
            runs: self.limit,
            complete: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHY: Choice = Choice::Seen { host: 0, line: 0 };

    #[test]
    fn every_sequence_is_run_once() {
        let mut seen = Vec::new();
        let explored = Explorer::new(100)
            .explore(|mut oracle| {
                let first = oracle.choose(2, WHY);
                let second = if first == 0 { 7 } else { oracle.choose(3, WHY) };
                seen.push((first, second));
                Ok::<_, String>(())
            })
            .unwrap();
        assert_eq!(
            explored,
            Explored {
                runs: 4,
                complete: true
            }
        );
        assert_eq!(seen, [(0, 7), (1, 0), (1, 1), (1, 2)]);
    }

    #[test]
    fn a_failure_comes_with_decisions_that_repeat_it() {
        let run = |mut oracle: Box<dyn Oracle>| {
            let sum: usize = (0..3).map(|_| oracle.choose(3, WHY)).sum();
            if sum == 5 { Err("five") } else { Ok(()) }
        };
        let found = Explorer::new(100).explore(run).unwrap_err();
        let picks: Vec<_> = found.picks.iter().map(|(_, picked)| *picked).collect();
        assert_eq!(picks.iter().sum::<usize>(), 5);
        assert_eq!(run(Box::new(Scripted::new(picks))), Err("five"));
    }

    #[test]
    fn the_limit_is_said_to_have_been_reached() {
        let explored = Explorer::new(5)
            .explore(|mut oracle| {
                let _: usize = (0..10).map(|_| oracle.choose(2, WHY)).sum();
                Ok::<_, String>(())
            })
            .unwrap();
        assert_eq!(
            explored,
            Explored {
                runs: 5,
                complete: false
            }
        );
    }

    #[test]
    fn random_decisions_repeat_and_reach_every_option() {
        let picks = |seed| {
            let mut oracle = Random::new(seed);
            (0..100).map(|_| oracle.choose(3, WHY)).collect::<Vec<_>>()
        };
        assert_eq!(picks(1), picks(1));
        assert_ne!(picks(1), picks(2));
        assert!((0..3).all(|option| picks(1).contains(&option)));
    }
}
