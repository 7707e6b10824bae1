//! The process's SIGBUS handler: ours when it hit a guarded routine, everybody else's otherwise.
//!
//! Owns the signal's disposition and what it was before. It must do nothing in the handler that is
//! not async-signal-safe: no allocation, no lock, no thread-local.
//!
//! Others install handlers too (Python's faulthandler, a JVM). Whatever was there when ours came is
//! chained to. If somebody replaces ours later, [`arm`] puts ours on top again, and it runs each
//! time a region is mapped: until then, lost memory ends in their handler. Theirs may believe that
//! ours is what to fall back on, so on a signal that is not ours we put them back before we pass
//! it on; what they then hand down to us goes to whoever was there first. Nothing goes in circles.
#![expect(unsafe_code, reason = "signal handlers are the system's")]

use std::{
    io, mem, ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

use libc::{c_int, c_void, siginfo_t};

use super::{Outcome, arch};

/// What was installed before us, for as long as the process lives.
static FIRST: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());
/// What somebody installed over us, and we over them; null most of the time.
static LATER: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());

/// Installs the handler, or puts it back on top.
///
/// Without a lock, which a child of fork could find taken for ever: two threads that install at
/// once may both remember the same predecessor, which costs a second look at the next signal.
pub(crate) fn arm() -> io::Result<()> {
    let previous = current()?;
    if previous.sa_sigaction == handler_address() {
        return Ok(());
    }
    // Saved before ours can run. Never freed: a handler may be reading it.
    let saved = Box::into_raw(Box::new(previous));
    if FIRST
        .compare_exchange(ptr::null_mut(), saved, Ordering::AcqRel, Ordering::Acquire)
        .is_err()
    {
        LATER.store(saved, Ordering::Release);
    }
    // SAFETY: a sigaction of zeros is a valid value of a plain C struct.
    let mut ours: libc::sigaction = unsafe { mem::zeroed() };
    ours.sa_sigaction = handler_address();
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the mask is ours to initialise, the handler has the signature that SA_SIGINFO asks
    // for and is async-signal-safe.
    unsafe {
        libc::sigemptyset(&raw mut ours.sa_mask);
        if libc::sigaction(libc::SIGBUS, &raw const ours, ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn handler_address() -> usize {
    handler as *const () as usize
}

fn current() -> io::Result<libc::sigaction> {
    // SAFETY: a sigaction of zeros is a valid value of a plain C struct.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: a null new action only reads the present one into ours.
    if unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut action) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(action)
}

extern "C" fn handler(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a valid siginfo_t to a handler installed with SA_SIGINFO.
    let code = unsafe { (*info).si_code };
    // An access of this thread failed. Poison that was only noticed in passing (BUS_MCEERR_AO),
    // and signals that somebody sent, can arrive at any instruction.
    if matches!(
        code,
        libc::BUS_ADRERR | libc::BUS_OBJERR | libc::BUS_MCEERR_AR
    ) {
        // SAFETY: this is the third argument of a running handler.
        if let Some(routine) = unsafe { arch::interrupted(context) } {
            // SAFETY: for these codes the kernel filled in the address, and for poison the size.
            let outcome = unsafe { outcome_of(info, code) };
            // SAFETY: the routine was interrupted in this very context.
            unsafe { arch::resume(context, &routine, &outcome) };
            return;
        }
    }
    pass_on(signal, info, context);
}

/// # Safety
/// `info` is that of a SIGBUS raised by an access, with this code.
unsafe fn outcome_of(info: *const siginfo_t, code: c_int) -> Outcome {
    // SAFETY: the address is set for every SIGBUS raised by an access.
    let address = unsafe { (*info).si_addr() } as u64;
    let lost_log2 = if code == libc::BUS_MCEERR_AR {
        // The libc crate has no accessor for si_addr_lsb, which follows the address: 16 bytes of
        // header, 8 of address.
        // SAFETY: siginfo_t has 128 bytes, and the field is a short at 24 on 64-bit Linux.
        let log2 = unsafe { info.cast::<u8>().add(24).cast::<i16>().read_unaligned() };
        u64::from(log2.clamp(0, 62).unsigned_abs())
    } else {
        0
    };
    Outcome::stopped(address, lost_log2)
}

/// Hands a signal that is not ours to whoever would have had it without us.
fn pass_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let later = LATER.swap(ptr::null_mut(), Ordering::AcqRel);
    let action = if later.is_null() {
        FIRST.load(Ordering::Acquire)
    } else {
        // They came after us: step aside, so that falling back on us ends at FIRST.
        // SAFETY: `later` points to an action that was installed once and is never freed.
        unsafe { libc::sigaction(signal, later, ptr::null_mut()) };
        later
    };
    if action.is_null() {
        return to_default(signal, info);
    }
    // SAFETY: actions are never freed or changed after they were published.
    let action = unsafe { &*action };
    match action.sa_sigaction {
        // SAFETY: `info` is the running handler's. The kernel ignores a sent signal, but not a
        // failed access: that one kills.
        libc::SIG_IGN if unsafe { (*info).si_code } <= 0 => {}
        libc::SIG_DFL | libc::SIG_IGN => to_default(signal, info),
        address => {
            if action.sa_flags & libc::SA_RESETHAND != 0 {
                set_default(signal);
            }
            with_mask_of(signal, action, || {
                if action.sa_flags & libc::SA_SIGINFO != 0 {
                    // SAFETY: whoever installed it promised this signature with SA_SIGINFO.
                    let theirs: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
                        unsafe { mem::transmute(address) };
                    theirs(signal, info, context);
                } else {
                    // SAFETY: without SA_SIGINFO a handler takes the number alone.
                    let theirs: extern "C" fn(c_int) = unsafe { mem::transmute(address) };
                    theirs(signal);
                }
            });
        }
    }
}

/// Runs a chained handler under the mask that its action asks for.
fn with_mask_of(signal: c_int, action: &libc::sigaction, run: impl FnOnce()) {
    // SAFETY: signal sets are plain values, and pthread_sigmask is async-signal-safe.
    unsafe {
        let mut before: libc::sigset_t = mem::zeroed();
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const action.sa_mask, &raw mut before);
        if action.sa_flags & libc::SA_NODEFER != 0 {
            let mut own: libc::sigset_t = mem::zeroed();
            libc::sigemptyset(&raw mut own);
            libc::sigaddset(&raw mut own, signal);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const own, ptr::null_mut());
        }
        run();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
    }
}

fn set_default(signal: c_int) {
    // SAFETY: a zeroed action is SIG_DFL with no flags, and sigaction is async-signal-safe.
    unsafe {
        let action: libc::sigaction = mem::zeroed();
        libc::sigaction(signal, &raw const action, ptr::null_mut());
    }
}

/// Lets the kernel do what it does by default: the access is repeated, or the signal sent again.
fn to_default(signal: c_int, info: *const siginfo_t) {
    set_default(signal);
    // SAFETY: `info` is the running handler's; raise is async-signal-safe. The signal is blocked
    // while we run and delivered when we return.
    unsafe {
        if (*info).si_code <= 0 {
            libc::raise(signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicI32;

    use super::*;
    use crate::{
        guard,
        testing::{Ended, LostPage, in_child},
    };

    /// Touches lost memory as anybody's code may.
    fn foreign_fault(lost: &LostPage) {
        // SAFETY: the page is mapped; that its memory is lost is what is tested.
        unsafe { lost.boundary().read_volatile() };
    }

    fn guarded_access_fails(lost: &LostPage) {
        // SAFETY: the page stays mapped.
        let stopped = unsafe { guard::load(lost.boundary(), &mut [0; 8]) }.unwrap_err();
        assert_eq!(stopped.address, lost.boundary().addr());
    }

    fn set(address: usize, flags: c_int) -> libc::sigaction {
        // SAFETY: plain C structs of zeros; tests do this in a child of their own.
        unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            let mut previous: libc::sigaction = mem::zeroed();
            action.sa_sigaction = address;
            action.sa_flags = flags;
            assert_eq!(
                libc::sigaction(libc::SIGBUS, &raw const action, &raw mut previous),
                0
            );
            previous
        }
    }

    /// As if nobody had called [`arm`] yet, with this disposition.
    fn before_us(address: usize, flags: c_int) {
        set(address, flags);
        FIRST.store(ptr::null_mut(), Ordering::Relaxed);
        LATER.store(ptr::null_mut(), Ordering::Relaxed);
        arm().unwrap();
    }

    extern "C" fn exits_with_42(_: c_int) {
        // SAFETY: _exit is async-signal-safe.
        unsafe { libc::_exit(42) }
    }

    extern "C" fn exits_with_address(_: c_int, info: *mut siginfo_t, context: *mut c_void) {
        // SAFETY: the arguments are those of a handler with SA_SIGINFO.
        let page = unsafe { (*info).si_addr() }.addr() / rustix::param::page_size();
        let low = c_int::try_from(page % 100).unwrap_or(0);
        // SAFETY: _exit is async-signal-safe.
        unsafe { libc::_exit(if context.is_null() { 120 } else { low }) }
    }

    #[test]
    fn an_access_of_ours_fails_and_one_of_others_kills() {
        let lost = LostPage::new();
        guarded_access_fails(&lost);
        let ended = in_child(|| {
            before_us(libc::SIG_DFL, 0);
            guarded_access_fails(&lost);
            foreign_fault(&lost);
        });
        assert_eq!(ended, Ended::Killed(libc::SIGBUS));
    }

    #[test]
    fn ignoring_works_for_sent_signals_and_not_for_faults() {
        let lost = LostPage::new();
        let ended = in_child(|| {
            before_us(libc::SIG_IGN, 0);
            // SAFETY: the signal is ignored.
            unsafe { libc::raise(libc::SIGBUS) };
            guarded_access_fails(&lost);
        });
        assert_eq!(ended, Ended::Exited(0));
        let ended = in_child(|| {
            before_us(libc::SIG_IGN, 0);
            foreign_fault(&lost);
        });
        assert_eq!(ended, Ended::Killed(libc::SIGBUS));
    }

    #[test]
    fn a_sent_signal_kills_by_default() {
        let ended = in_child(|| {
            before_us(libc::SIG_DFL, 0);
            // SAFETY: only this child is killed.
            unsafe { libc::raise(libc::SIGBUS) };
        });
        assert_eq!(ended, Ended::Killed(libc::SIGBUS));
    }

    #[test]
    fn earlier_handlers_get_what_is_theirs_with_what_they_asked_for() {
        let lost = LostPage::new();
        let ended = in_child(|| {
            before_us(exits_with_42 as *const () as usize, 0);
            guarded_access_fails(&lost);
            foreign_fault(&lost);
        });
        assert_eq!(ended, Ended::Exited(42));
        let ended = in_child(|| {
            before_us(exits_with_address as *const () as usize, libc::SA_SIGINFO);
            guarded_access_fails(&lost);
            foreign_fault(&lost);
        });
        let page = lost.boundary().addr() / rustix::param::page_size();
        assert_eq!(ended, Ended::Exited(i32::try_from(page % 100).unwrap()));
    }

    #[test]
    fn a_handler_that_came_later_is_chained_to_once_we_are_back() {
        let lost = LostPage::new();
        let ended = in_child(|| {
            before_us(libc::SIG_DFL, 0);
            set(exits_with_42 as *const () as usize, 0);
            arm().unwrap();
            guarded_access_fails(&lost);
            foreign_fault(&lost);
        });
        assert_eq!(ended, Ended::Exited(42));
    }

    static CALLS: AtomicI32 = AtomicI32::new(0);
    static BEFORE_THEM: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());

    /// What Python's faulthandler does: restores what it found, and sends the signal again.
    extern "C" fn falls_back(signal: c_int) {
        if CALLS.fetch_add(1, Ordering::Relaxed) > 0 {
            // SAFETY: _exit is async-signal-safe.
            unsafe { libc::_exit(99) }
        }
        // SAFETY: the action was saved when this handler was installed.
        unsafe {
            libc::sigaction(signal, BEFORE_THEM.load(Ordering::Relaxed), ptr::null_mut());
            libc::raise(signal);
        }
    }

    #[test]
    fn a_handler_that_falls_back_on_us_does_not_make_a_circle() {
        let lost = LostPage::new();
        for flags in [0, libc::SA_NODEFER] {
            let ended = in_child(|| {
                before_us(libc::SIG_DFL, 0);
                let previous = set(falls_back as *const () as usize, flags);
                BEFORE_THEM.store(Box::into_raw(Box::new(previous)), Ordering::Relaxed);
                arm().unwrap();
                guarded_access_fails(&lost);
                foreign_fault(&lost);
            });
            assert_eq!(ended, Ended::Killed(libc::SIGBUS));
        }
    }

    extern "C" fn counts(_: c_int) {
        CALLS.fetch_add(1, Ordering::Relaxed);
    }

    #[test]
    fn a_handler_that_came_later_gets_every_signal_and_we_come_back() {
        let lost = LostPage::new();
        let ended = in_child(|| {
            before_us(libc::SIG_DFL, 0);
            set(counts as *const () as usize, 0);
            for _ in 0..2 {
                arm().unwrap();
                guarded_access_fails(&lost);
                for _ in 0..2 {
                    // SAFETY: the handler returns.
                    unsafe { libc::raise(libc::SIGBUS) };
                }
            }
            assert_eq!(CALLS.load(Ordering::Relaxed), 4);
        });
        assert_eq!(ended, Ended::Exited(0));
    }

    #[test]
    fn poison_says_how_much_is_lost() {
        let stopped = Outcome::stopped(0x1234, 21).result().unwrap_err();
        assert_eq!((stopped.address, stopped.lost), (0x1234, Some(2 << 20)));
        let stopped = Outcome::stopped(0, 0).result().unwrap_err();
        assert_eq!((stopped.address, stopped.lost), (0, None));

        let mut info = [0_u64; 16];
        (info[2], info[3]) = (0xABC0, 12);
        // SAFETY: as large as a siginfo_t, with the address and the size where the kernel has them.
        let outcome = unsafe { outcome_of(info.as_ptr().cast(), libc::BUS_MCEERR_AR) };
        let stopped = outcome.result().unwrap_err();
        assert_eq!((stopped.address, stopped.lost), (0xABC0, Some(4096)));
    }

    #[test]
    fn every_thread_recovers_on_its_own() {
        let lost = LostPage::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| guarded_access_fails(&lost)));
            }
        });
    }
}
