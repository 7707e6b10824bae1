//! The regions of this process: one mapping per volume, kept until it is forgotten.
//!
//! Owns who shares a mapping with whom. Lookups take a lock, so nothing on a hot path comes here.

use std::{
    collections::HashMap,
    ptr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicPtr, Ordering},
    },
};

use crate::{Identity, fork, region::Region};

pub(crate) type Regions = HashMap<Identity, Arc<Region>>;

struct Registry {
    generation: u64,
    regions: Mutex<Regions>,
}

static CURRENT: AtomicPtr<Registry> = AtomicPtr::new(ptr::null_mut());

/// The regions, locked.
///
/// A forked child starts without any: another thread of its parent may have held the lock. What it
/// inherited stays mapped, and views of it stay valid.
pub(crate) fn regions() -> MutexGuard<'static, Regions> {
    let generation = fork::generation();
    loop {
        let found = CURRENT.load(Ordering::Acquire);
        // SAFETY: what was published is never freed.
        if let Some(registry) = unsafe { found.as_ref() }
            && registry.generation == generation
        {
            return registry
                .regions
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
        }
        // Leaked on purpose, once per process: see above for the one that is replaced.
        let fresh = Box::into_raw(Box::new(Registry {
            generation,
            regions: Mutex::default(),
        }));
        let raced = CURRENT.compare_exchange(found, fresh, Ordering::AcqRel, Ordering::Acquire);
        if raced.is_err() {
            // SAFETY: it was not published, so it is ours alone.
            drop(unsafe { Box::from_raw(fresh) });
        }
    }
}
