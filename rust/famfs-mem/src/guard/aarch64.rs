//! The guarded routines for 64-bit Arm.
//!
//! Rules that make recovery sound, and that every routine here keeps: it is a leaf, it never moves
//! the stack pointer, it does not touch the link register, and it uses only registers that the
//! calling convention lets it lose. So at any instruction between `begin` and `end` the handler may
//! continue at `stopped`, which returns to the caller as the routine itself would.
//!
//! Under `qemu-user` all of this works, except that cache instructions are emulated as nothing: they
//! reach no memory there and so never fault. The tests of that say so and need a real processor.
#![expect(
    unsafe_code,
    reason = "routines that survive a fault are written in assembly"
)]

use std::arch::{asm, global_asm};

use super::Routine;

global_asm!(
    r#"
    .pushsection .text.famfs_mem_guarded, "ax", %progbits

    .macro famfs_mem_routine name
    .p2align 5
    .globl \name
    .hidden \name
    .type \name, %function
\name:
    .cfi_startproc
    .endm

    .macro famfs_mem_done name
    mov x0, xzr
    ret
    .cfi_endproc
    .size \name, . - \name
    .endm

    .globl famfs_mem_begin
    .hidden famfs_mem_begin
famfs_mem_begin:

    // (x0 to, x1 from, x2 bytes)
    famfs_mem_routine famfs_mem_copy
2:  cmp x2, #64
    b.lo 3f
    ldp q0, q1, [x1]
    ldp q2, q3, [x1, #32]
    stp q0, q1, [x0]
    stp q2, q3, [x0, #32]
    add x1, x1, #64
    add x0, x0, #64
    sub x2, x2, #64
    b 2b
3:  cbz x2, 4f
    ldrb w3, [x1], #1
    strb w3, [x0], #1
    sub x2, x2, #1
    b 3b
4:
    famfs_mem_done famfs_mem_copy

    // (x0 to, x1 from, x2 bytes before, x3 words, x4 bytes after): no word is split
    famfs_mem_routine famfs_mem_copy_words
2:  cbz x2, 3f
    ldrb w5, [x1], #1
    strb w5, [x0], #1
    sub x2, x2, #1
    b 2b
3:  cbz x3, 4f
    ldr x5, [x1], #8
    str x5, [x0], #8
    sub x3, x3, #1
    b 3b
4:  cbz x4, 5f
    ldrb w5, [x1], #1
    strb w5, [x0], #1
    sub x4, x4, #1
    b 4b
5:
    famfs_mem_done famfs_mem_copy_words

    // (x0 from, x1 to): one access with FEAT_LSE2, otherwise two
    famfs_mem_routine famfs_mem_load_pair
    ldp x2, x3, [x0]
    stp x2, x3, [x1]
    famfs_mem_done famfs_mem_load_pair

    // (x0 to, x1 first, x2 second): one access with FEAT_LSE2
    famfs_mem_routine famfs_mem_store_pair_lse2
    stp x1, x2, [x0]
    famfs_mem_done famfs_mem_store_pair_lse2

    // (x0 to, x1 first, x2 second): one access on every processor
    famfs_mem_routine famfs_mem_store_pair_exclusive
2:  ldxp x3, x4, [x0]
    stxp w5, x1, x2, [x0]
    cbnz w5, 2b
    famfs_mem_done famfs_mem_store_pair_exclusive

    // (x0 to, x1 from, x2 blocks of 64 bytes, at least 1, x3 how far ahead is prefetched)
    famfs_mem_routine famfs_mem_stream
2:  prfm pldl1keep, [x1, x3]
    ldp q0, q1, [x1]
    ldp q2, q3, [x1, #32]
    stnp q0, q1, [x0]
    stnp q2, q3, [x0, #32]
    add x1, x1, #64
    add x0, x0, #64
    subs x2, x2, #1
    b.ne 2b
    famfs_mem_done famfs_mem_stream

    // (x0 to, x1 blocks of 64 bytes, at least 1)
    famfs_mem_routine famfs_mem_zero
    movi v0.2d, #0
2:  stnp q0, q0, [x0]
    stnp q0, q0, [x0, #32]
    add x0, x0, #64
    subs x1, x1, #1
    b.ne 2b
    famfs_mem_done famfs_mem_zero

    // (x0 first line, x1 lines, at least 1, x2 bytes from one line to the next)
    famfs_mem_routine famfs_mem_dc_cvac
2:  dc cvac, x0
    add x0, x0, x2
    subs x1, x1, #1
    b.ne 2b
    famfs_mem_done famfs_mem_dc_cvac

    famfs_mem_routine famfs_mem_dc_civac
2:  dc civac, x0
    add x0, x0, x2
    subs x1, x1, #1
    b.ne 2b
    famfs_mem_done famfs_mem_dc_civac

    .globl famfs_mem_end
    .hidden famfs_mem_end
famfs_mem_end:

    // the handler has put what happened into x0 and x1
    .globl famfs_mem_stopped
    .hidden famfs_mem_stopped
famfs_mem_stopped:
    ret

    .purgem famfs_mem_routine
    .purgem famfs_mem_done
    .popsection
    "#
);

unsafe extern "C" {
    static famfs_mem_begin: u8;
    static famfs_mem_end: u8;
    static famfs_mem_stopped: u8;

    pub(super) fn famfs_mem_copy(to: *mut u8, from: *const u8, len: usize) -> super::Outcome;
    pub(super) fn famfs_mem_copy_words(
        to: *mut u8,
        from: *const u8,
        before: usize,
        words: usize,
        after: usize,
    ) -> super::Outcome;
    pub(super) fn famfs_mem_load_pair(from: *const u8, to: *mut [u64; 2]) -> super::Outcome;
    fn famfs_mem_store_pair_lse2(to: *mut u8, first: u64, second: u64) -> super::Outcome;
    fn famfs_mem_store_pair_exclusive(to: *mut u8, first: u64, second: u64) -> super::Outcome;
    fn famfs_mem_stream(
        to: *mut u8,
        from: *const u8,
        blocks: usize,
        ahead: usize,
    ) -> super::Outcome;
    fn famfs_mem_zero(to: *mut u8, blocks: usize) -> super::Outcome;
    pub(crate) fn famfs_mem_dc_cvac(first: *const u8, lines: usize, step: usize) -> super::Outcome;
    pub(crate) fn famfs_mem_dc_civac(first: *const u8, lines: usize, step: usize)
    -> super::Outcome;
}

/// Stores a pair in one access: `stp` where that is atomic, an exclusive pair elsewhere.
///
/// # Safety
/// `to` is aligned to 16, mapped and writable for 16 bytes.
pub(super) unsafe fn famfs_mem_store_pair(to: *mut u8, first: u64, second: u64) -> super::Outcome {
    if super::pair_is_atomic() {
        // SAFETY: the caller's promise.
        unsafe { famfs_mem_store_pair_lse2(to, first, second) }
    } else {
        // SAFETY: the caller's promise; mappings of memory are Normal memory, where exclusives
        // work.
        unsafe { famfs_mem_store_pair_exclusive(to, first, second) }
    }
}

/// The routines that stream bytes and zeros.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streams {
    /// What they use, for people.
    pub(crate) name: &'static str,
    pub(super) bytes: unsafe extern "C" fn(*mut u8, *const u8, usize, usize) -> super::Outcome,
    pub(super) zeros: unsafe extern "C" fn(*mut u8, usize) -> super::Outcome,
}

/// `stnp` is a hint that a processor may ignore: what was streamed still has to be written back.
pub(crate) const STREAMS_BYPASS_CACHE: bool = false;

impl Streams {
    /// The one there is.
    pub(super) fn detect() -> Self {
        Self {
            name: "stnp",
            bytes: famfs_mem_stream,
            zeros: famfs_mem_zero,
        }
    }

    /// The one there is.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        vec![Self::detect()]
    }
}

/// Whether an aligned 16-byte load or store is one access: `FEAT_LSE2` promises it.
pub(super) fn pair_is_atomic() -> bool {
    const HWCAP_USCAT: libc::c_ulong = 1 << 25;
    // SAFETY: getauxval only looks up a value that the kernel passed at exec.
    unsafe { libc::getauxval(libc::AT_HWCAP) & HWCAP_USCAT != 0 }
}

/// Orders stores and write-backs before later stores, for every observer and not only this cluster.
pub(crate) fn fence_stores() {
    // SAFETY: dsb touches no register, flag or memory operand. Without `nomem` the compiler keeps
    // memory accesses on their side of it.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) }
}

/// Orders invalidations before later loads.
pub(crate) fn fence_invalidate() {
    fence_stores();
}

/// Which routine, if any, was executing at the interrupted instruction.
///
/// # Safety
/// `context` is the third argument of a signal handler that is running.
pub(super) unsafe fn interrupted(context: *const libc::c_void) -> Option<Routine> {
    // SAFETY: the kernel passes a ucontext_t to a handler installed with SA_SIGINFO.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    let (begin, end) = (
        &raw const famfs_mem_begin as u64,
        &raw const famfs_mem_end as u64,
    );
    (begin..end)
        .contains(&context.uc_mcontext.pc)
        .then_some(Routine {
            stopped: &raw const famfs_mem_stopped as u64,
        })
}

/// Makes the interrupted routine return `outcome`.
///
/// # Safety
/// `context` is the third argument of a signal handler that is running, and `routine` came from
/// [`interrupted`] on it.
pub(super) unsafe fn resume(
    context: *mut libc::c_void,
    routine: &Routine,
    outcome: &super::Outcome,
) {
    // SAFETY: the kernel passes a ucontext_t that the handler may write, and loads it on return.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    context.uc_mcontext.regs[0] = outcome.code;
    context.uc_mcontext.regs[1] = outcome.address;
    context.uc_mcontext.pc = routine.stopped;
}
