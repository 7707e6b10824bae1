//! State of a process that a forked child does not inherit.
//!
//! Owns the one way in which such state is kept: another thread of the parent may have held its
//! lock when the child was forked, so the child never touches it, and starts with its own.
#![expect(unsafe_code, reason = "what is published is shared by its address")]

use std::{
    marker::PhantomData,
    ptr,
    sync::{
        Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicPtr, Ordering},
    },
};

use crate::fork;

/// A value of this process alone, behind a lock: a forked child finds the default.
///
/// What the parent had is never dropped in the child, so mappings that it holds stay.
///
/// ```
/// use famfs_mem::PerProcess;
///
/// static NAMES: PerProcess<Vec<&str>> = PerProcess::new();
/// NAMES.lock().push("a");
/// assert_eq!(*NAMES.lock(), ["a"]);
/// ```
#[derive(Debug)]
pub struct PerProcess<T> {
    current: AtomicPtr<Held<T>>,
    _owned: PhantomData<T>,
}

#[derive(Debug)]
struct Held<T> {
    generation: u64,
    value: Mutex<T>,
}

impl<T: Default + Send> PerProcess<T> {
    /// For a `static`: nothing is made before the first use.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            current: AtomicPtr::new(ptr::null_mut()),
            _owned: PhantomData,
        }
    }

    /// The value, locked.
    ///
    /// A thread that panicked while it held the lock does not poison it: keep only what is whole
    /// between any two statements.
    pub fn lock(&'static self) -> MutexGuard<'static, T> {
        self.lock_from(|_| T::default())
    }

    /// The value, locked; a forked child begins with a copy of its parent's.
    ///
    /// For what is true of both, such as where memory is mapped. Where another thread of the parent
    /// held the lock when the child was forked, the child finds the default all the same.
    pub fn lock_inherited(&'static self) -> MutexGuard<'static, T>
    where
        T: Clone,
    {
        self.lock_from(|parent| match parent.try_lock() {
            Ok(value) => value.clone(),
            Err(TryLockError::Poisoned(value)) => value.into_inner().clone(),
            Err(TryLockError::WouldBlock) => T::default(),
        })
    }

    fn lock_from(&'static self, inherit: impl Fn(&Mutex<T>) -> T) -> MutexGuard<'static, T> {
        let generation = fork::generation();
        loop {
            let found = self.current.load(Ordering::Acquire);
            // SAFETY: what was published is never freed, and only shared from then on.
            if let Some(held) = unsafe { found.as_ref() }
                && held.generation == generation
            {
                return held.value.lock().unwrap_or_else(PoisonError::into_inner);
            }
            // SAFETY: as above.
            let parent = unsafe { found.as_ref() };
            let value = parent.map_or_else(T::default, |parent| inherit(&parent.value));
            // Leaked on purpose, once per process: the one that it replaces may be locked by a
            // thread that is not here.
            let fresh = Box::into_raw(Box::new(Held {
                generation,
                value: Mutex::new(value),
            }));
            let raced =
                self.current
                    .compare_exchange(found, fresh, Ordering::AcqRel, Ordering::Acquire);
            if raced.is_err() {
                // SAFETY: it was not published, so it is ours alone.
                drop(unsafe { Box::from_raw(fresh) });
            }
        }
    }
}

impl<T: Default + Send> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Ended, in_child};

    static LIST: PerProcess<Vec<u32>> = PerProcess::new();

    #[test]
    fn a_child_starts_anew_whoever_held_the_lock() {
        let mut held = LIST.lock();
        held.push(1);
        let ended = in_child(|| {
            let mut list = LIST.lock();
            assert!(list.is_empty());
            list.push(2);
        });
        assert_eq!(ended, Ended::Exited(0));
        assert_eq!(*held, [1]);
    }

    static INHERITED: PerProcess<Vec<u32>> = PerProcess::new();

    #[test]
    fn a_child_inherits_what_nobody_held() {
        INHERITED.lock_inherited().push(1);
        let ended = in_child(|| {
            INHERITED.lock_inherited().push(2);
            assert_eq!(*INHERITED.lock_inherited(), [1, 2]);
        });
        assert_eq!(ended, Ended::Exited(0));
        let held = INHERITED.lock_inherited();
        assert_eq!(*held, [1]);
        let ended = in_child(|| assert!(INHERITED.lock_inherited().is_empty()));
        assert_eq!(ended, Ended::Exited(0));
        drop(held);
    }
}
