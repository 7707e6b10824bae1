//! The guarded routines for x86-64.
//!
//! Rules that make recovery sound, and that every routine here keeps: it is a leaf, it never moves
//! the stack pointer, and it uses only registers that the calling convention lets it lose. So at
//! any instruction between `begin` and `end` the handler may continue at `stopped`, which returns
//! to the caller as the routine itself would. Routines that dirty the upper halves of vector
//! registers lie after `wide`, and continue at `wide_stopped`, which cleans them.
#![expect(
    unsafe_code,
    reason = "routines that survive a fault are written in assembly"
)]

use std::arch::{asm, global_asm};

use super::Routine;

global_asm!(
    r#"
    .pushsection .text.famfs_mem_guarded, "ax", @progbits

    .macro famfs_mem_routine name
    .p2align 5
    .globl \name
    .hidden \name
    .type \name, @function
\name:
    .cfi_startproc
    .endm

    .macro famfs_mem_done name
    xor eax, eax
    ret
    .cfi_endproc
    .size \name, . - \name
    .endm

    .globl famfs_mem_begin
    .hidden famfs_mem_begin
famfs_mem_begin:

    # (rdi to, rsi from, rdx bytes)
    famfs_mem_routine famfs_mem_copy
    mov rcx, rdx
    rep movsb
    famfs_mem_done famfs_mem_copy

    # (rdi to, rsi from, rdx bytes before, rcx words, r8 bytes after): no word is split
    famfs_mem_routine famfs_mem_copy_words
2:  test rdx, rdx
    jz 3f
    movzx eax, byte ptr [rsi]
    mov byte ptr [rdi], al
    inc rsi
    inc rdi
    dec rdx
    jmp 2b
3:  cmp rcx, 4
    jb 4f
    mov rax, qword ptr [rsi]
    mov r9, qword ptr [rsi + 8]
    mov r10, qword ptr [rsi + 16]
    mov r11, qword ptr [rsi + 24]
    mov qword ptr [rdi], rax
    mov qword ptr [rdi + 8], r9
    mov qword ptr [rdi + 16], r10
    mov qword ptr [rdi + 24], r11
    add rsi, 32
    add rdi, 32
    sub rcx, 4
    jmp 3b
4:  test rcx, rcx
    jz 5f
    mov rax, qword ptr [rsi]
    mov qword ptr [rdi], rax
    add rsi, 8
    add rdi, 8
    dec rcx
    jmp 4b
5:  test r8, r8
    jz 6f
    movzx eax, byte ptr [rsi]
    mov byte ptr [rdi], al
    inc rsi
    inc rdi
    dec r8
    jmp 5b
6:
    famfs_mem_done famfs_mem_copy_words

    # (rdi from, rsi to)
    famfs_mem_routine famfs_mem_load_pair
    movdqa xmm0, xmmword ptr [rdi]
    movdqu xmmword ptr [rsi], xmm0
    famfs_mem_done famfs_mem_load_pair

    # (rdi to, rsi first, rdx second)
    famfs_mem_routine famfs_mem_store_pair
    movq xmm0, rsi
    movq xmm1, rdx
    punpcklqdq xmm0, xmm1
    movdqa xmmword ptr [rdi], xmm0
    famfs_mem_done famfs_mem_store_pair

    # (rdi to, rsi from, rdx blocks of 64 bytes, at least 1, rcx how far ahead is prefetched)
    famfs_mem_routine famfs_mem_stream_sse2
2:  prefetcht0 byte ptr [rsi + rcx]
    movdqu xmm0, xmmword ptr [rsi]
    movdqu xmm1, xmmword ptr [rsi + 16]
    movdqu xmm2, xmmword ptr [rsi + 32]
    movdqu xmm3, xmmword ptr [rsi + 48]
    movntdq xmmword ptr [rdi], xmm0
    movntdq xmmword ptr [rdi + 16], xmm1
    movntdq xmmword ptr [rdi + 32], xmm2
    movntdq xmmword ptr [rdi + 48], xmm3
    add rsi, 64
    add rdi, 64
    dec rdx
    jnz 2b
    famfs_mem_done famfs_mem_stream_sse2

    # (rdi to, rsi blocks of 64 bytes, at least 1)
    famfs_mem_routine famfs_mem_zero_sse2
    pxor xmm0, xmm0
2:  movntdq xmmword ptr [rdi], xmm0
    movntdq xmmword ptr [rdi + 16], xmm0
    movntdq xmmword ptr [rdi + 32], xmm0
    movntdq xmmword ptr [rdi + 48], xmm0
    add rdi, 64
    dec rsi
    jnz 2b
    famfs_mem_done famfs_mem_zero_sse2

    # (rdi first line, rsi lines, at least 1, rdx bytes from one line to the next)
    famfs_mem_routine famfs_mem_clwb
2:  clwb byte ptr [rdi]
    add rdi, rdx
    dec rsi
    jnz 2b
    famfs_mem_done famfs_mem_clwb

    famfs_mem_routine famfs_mem_clflushopt
2:  clflushopt byte ptr [rdi]
    add rdi, rdx
    dec rsi
    jnz 2b
    famfs_mem_done famfs_mem_clflushopt

    famfs_mem_routine famfs_mem_clflush
2:  clflush byte ptr [rdi]
    add rdi, rdx
    dec rsi
    jnz 2b
    famfs_mem_done famfs_mem_clflush

    .globl famfs_mem_wide
    .hidden famfs_mem_wide
famfs_mem_wide:

    famfs_mem_routine famfs_mem_stream_avx
2:  prefetcht0 byte ptr [rsi + rcx]
    vmovdqu ymm0, ymmword ptr [rsi]
    vmovdqu ymm1, ymmword ptr [rsi + 32]
    vmovntdq ymmword ptr [rdi], ymm0
    vmovntdq ymmword ptr [rdi + 32], ymm1
    add rsi, 64
    add rdi, 64
    dec rdx
    jnz 2b
    vzeroupper
    famfs_mem_done famfs_mem_stream_avx

    famfs_mem_routine famfs_mem_zero_avx
    vpxor xmm0, xmm0, xmm0
2:  vmovntdq ymmword ptr [rdi], ymm0
    vmovntdq ymmword ptr [rdi + 32], ymm0
    add rdi, 64
    dec rsi
    jnz 2b
    vzeroupper
    famfs_mem_done famfs_mem_zero_avx

    famfs_mem_routine famfs_mem_stream_avx512
2:  prefetcht0 byte ptr [rsi + rcx]
    vmovdqu64 zmm0, zmmword ptr [rsi]
    vmovntdq zmmword ptr [rdi], zmm0
    add rsi, 64
    add rdi, 64
    dec rdx
    jnz 2b
    vzeroupper
    famfs_mem_done famfs_mem_stream_avx512

    famfs_mem_routine famfs_mem_zero_avx512
    vpxor xmm0, xmm0, xmm0
2:  vmovntdq zmmword ptr [rdi], zmm0
    add rdi, 64
    dec rsi
    jnz 2b
    vzeroupper
    famfs_mem_done famfs_mem_zero_avx512

    .globl famfs_mem_end
    .hidden famfs_mem_end
famfs_mem_end:

    # the handler has put what happened into rax and rdx
    .globl famfs_mem_wide_stopped
    .hidden famfs_mem_wide_stopped
famfs_mem_wide_stopped:
    vzeroupper
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
    static famfs_mem_wide: u8;
    static famfs_mem_end: u8;
    static famfs_mem_stopped: u8;
    static famfs_mem_wide_stopped: u8;

    pub(super) fn famfs_mem_copy(to: *mut u8, from: *const u8, len: usize) -> super::Outcome;
    pub(super) fn famfs_mem_copy_words(
        to: *mut u8,
        from: *const u8,
        before: usize,
        words: usize,
        after: usize,
    ) -> super::Outcome;
    pub(super) fn famfs_mem_load_pair(from: *const u8, to: *mut [u64; 2]) -> super::Outcome;
    pub(super) fn famfs_mem_store_pair(to: *mut u8, first: u64, second: u64) -> super::Outcome;
    fn famfs_mem_stream_sse2(
        to: *mut u8,
        from: *const u8,
        blocks: usize,
        ahead: usize,
    ) -> super::Outcome;
    fn famfs_mem_stream_avx(
        to: *mut u8,
        from: *const u8,
        blocks: usize,
        ahead: usize,
    ) -> super::Outcome;
    fn famfs_mem_stream_avx512(
        to: *mut u8,
        from: *const u8,
        blocks: usize,
        ahead: usize,
    ) -> super::Outcome;
    fn famfs_mem_zero_sse2(to: *mut u8, blocks: usize) -> super::Outcome;
    fn famfs_mem_zero_avx(to: *mut u8, blocks: usize) -> super::Outcome;
    fn famfs_mem_zero_avx512(to: *mut u8, blocks: usize) -> super::Outcome;
    pub(crate) fn famfs_mem_clwb(first: *const u8, lines: usize, step: usize) -> super::Outcome;
    pub(crate) fn famfs_mem_clflushopt(
        first: *const u8,
        lines: usize,
        step: usize,
    ) -> super::Outcome;
    pub(crate) fn famfs_mem_clflush(first: *const u8, lines: usize, step: usize) -> super::Outcome;
}

/// The routines that stream bytes and zeros.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streams {
    /// What they use, for people.
    pub(crate) name: &'static str,
    pub(super) bytes: unsafe extern "C" fn(*mut u8, *const u8, usize, usize) -> super::Outcome,
    pub(super) zeros: unsafe extern "C" fn(*mut u8, usize) -> super::Outcome,
}

/// Streaming stores leave nothing in the cache that would have to be written back.
pub(crate) const STREAMS_BYPASS_CACHE: bool = true;

impl Streams {
    /// The widest that this processor has.
    pub(super) fn detect() -> Self {
        Self::all()[0]
    }

    /// All that this processor has, widest first.
    pub(crate) fn all() -> Vec<Self> {
        let mut found = Vec::new();
        if std::arch::is_x86_feature_detected!("avx512f") {
            found.push(Self {
                name: "avx512",
                bytes: famfs_mem_stream_avx512,
                zeros: famfs_mem_zero_avx512,
            });
        }
        if std::arch::is_x86_feature_detected!("avx") {
            found.push(Self {
                name: "avx",
                bytes: famfs_mem_stream_avx,
                zeros: famfs_mem_zero_avx,
            });
        }
        found.push(Self {
            name: "sse2",
            bytes: famfs_mem_stream_sse2,
            zeros: famfs_mem_zero_sse2,
        });
        found
    }
}

/// Whether an aligned 16-byte load or store is one access: both makers promise it with AVX.
pub(super) fn pair_is_atomic() -> bool {
    std::arch::is_x86_feature_detected!("avx")
}

/// Orders stores and write-backs before later stores.
pub(crate) fn fence_stores() {
    // SAFETY: sfence touches no register, flag or memory operand. Without `nomem` the compiler
    // keeps memory accesses on their side of it.
    unsafe { asm!("sfence", options(nostack, preserves_flags)) }
}

/// Orders invalidations before later loads: sfence does not, mfence does.
pub(crate) fn fence_invalidate() {
    // SAFETY: as for sfence above.
    unsafe { asm!("mfence", options(nostack, preserves_flags)) }
}

/// Which routine, if any, was executing at the interrupted instruction.
///
/// # Safety
/// `context` is the third argument of a signal handler that is running.
pub(super) unsafe fn interrupted(context: *const libc::c_void) -> Option<Routine> {
    // SAFETY: the kernel passes a ucontext_t to a handler installed with SA_SIGINFO.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    let at = context.uc_mcontext.gregs[libc::REG_RIP as usize].cast_unsigned();
    let (begin, wide) = (
        &raw const famfs_mem_begin as u64,
        &raw const famfs_mem_wide as u64,
    );
    let end = &raw const famfs_mem_end as u64;
    if (begin..wide).contains(&at) {
        Some(Routine {
            stopped: &raw const famfs_mem_stopped as u64,
        })
    } else if (wide..end).contains(&at) {
        Some(Routine {
            stopped: &raw const famfs_mem_wide_stopped as u64,
        })
    } else {
        None
    }
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
    let registers = &mut context.uc_mcontext.gregs;
    registers[libc::REG_RAX as usize] = outcome.code.cast_signed();
    registers[libc::REG_RDX as usize] = outcome.address.cast_signed();
    registers[libc::REG_RIP as usize] = routine.stopped.cast_signed();
}
