// SPDX-License-Identifier: GPL-2.0

//! Staying on a CPU and leaving it (`<linux/preempt.h>`, `<linux/local_lock.h>`,
//! `<linux/sched.h>`).

use super::bindings;
use core::{
    marker::PhantomData,
    sync::atomic::{compiler_fence, Ordering},
};

/// Keeps the current task on its CPU while it lives.
///
/// # Invariants
///
/// Preemption is disabled once for each value.
pub(crate) struct PreemptGuard {
    /// Belongs to the task that created it.
    _not_send: PhantomData<*mut ()>,
}

impl PreemptGuard {
    /// Disables preemption.
    #[inline(always)]
    pub(crate) fn new() -> Self {
        disable();
        // INVARIANT: just disabled.
        Self {
            _not_send: PhantomData,
        }
    }

    /// Keeps preemption disabled until [`Self::kept`].
    #[inline(always)]
    pub(crate) fn keep(self) {
        core::mem::forget(self);
    }

    /// What [`Self::keep`] was called on.
    ///
    /// # Safety
    ///
    /// This task must have called that, and not this for it yet.
    #[inline(always)]
    pub(crate) unsafe fn kept() -> Self {
        // INVARIANT: still disabled, by this function's contract.
        Self {
            _not_send: PhantomData,
        }
    }
}

impl Drop for PreemptGuard {
    #[inline(always)]
    fn drop(&mut self) {
        enable();
    }
}

/// Keeps a mover on its CPU while it holds a word's LOCK, under a class's lock: mappers spin.
///
/// Only on PREEMPT_RT is there anything to do. Elsewhere the class's spinlock disables preemption.
pub(crate) struct MoverGuard {
    /// Held until the end.
    _guard: Option<PreemptGuard>,
}

impl MoverGuard {
    /// Disables preemption, where a spinlock does not.
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self {
            _guard: cfg!(CONFIG_PREEMPT_RT).then(PreemptGuard::new),
        }
    }
}

/// Disables preemption until the matching [`enable`].
#[inline(always)]
fn disable() {
    if cfg!(CONFIG_PREEMPT_COUNT) {
        // SAFETY: Any context may; the count nests, and callers pair it with `enable`.
        unsafe { bindings::preempt_disable() };
    } else {
        // What the C macro is without a count: a compiler barrier. Pairs with nothing.
        compiler_fence(Ordering::SeqCst);
    }
}

/// Ends one [`disable`].
#[inline(always)]
fn enable() {
    if cfg!(CONFIG_PREEMPT_COUNT) {
        // SAFETY: Only `PreemptGuard` calls it, once for each `disable`.
        unsafe { bindings::preempt_enable() };
    } else {
        // As in `disable`. Pairs with nothing.
        compiler_fence(Ordering::SeqCst);
    }
}

/// The bits of the preemption count that `in_interrupt()` looks at. On PREEMPT_RT the count of
/// disabled soft interrupts is elsewhere.
#[cfg(not(CONFIG_PREEMPT_RT))]
const INTERRUPTS: u32 = bindings::INTERRUPT_BITS;

/// In a hard interrupt, a soft interrupt or an NMI, or with soft interrupts disabled.
#[inline(always)]
pub(crate) fn in_interrupt() -> bool {
    #[cfg(not(CONFIG_PREEMPT_RT))]
    {
        preempt_count() & INTERRUPTS != 0
    }
    #[cfg(CONFIG_PREEMPT_RT)]
    {
        // SAFETY: Reads counts of the current task.
        unsafe { bindings::zsrs_in_interrupt() }
    }
}

/// Reads this CPU's copy of a variable of the kernel's, as the C macros do: in one instruction.
/// Where there is only one CPU it has no copies.
#[cfg(all(CONFIG_X86_64, CONFIG_SMP, not(CONFIG_UML)))]
macro_rules! read_this_cpu {
    ($operand:literal, $variable:literal) => {{
        let value;
        // SAFETY: A variable that every CPU has a copy of. Nothing is written.
        unsafe {
            core::arch::asm!(
                concat!("mov ", $operand, ", gs:[rip + ", $variable, "]"),
                out(reg) value,
                options(nostack, preserves_flags, readonly),
            )
        };
        value
    }};
}

/// The preemption count of the current task, with the interrupt bits.
#[cfg(not(CONFIG_PREEMPT_RT))]
#[inline(always)]
fn preempt_count() -> u32 {
    #[cfg(all(CONFIG_X86_64, CONFIG_SMP, not(CONFIG_UML)))]
    {
        const { assert!(bindings::PCPU_HOT_PREEMPT_COUNT == 8) };
        read_this_cpu!("{:e}", "pcpu_hot + 8")
    }
    #[cfg(not(all(CONFIG_X86_64, CONFIG_SMP, not(CONFIG_UML))))]
    {
        // SAFETY: Reads a count of the current task.
        unsafe { bindings::zsrs_preempt_count() }
    }
}

/// What turns a per-CPU pointer into the address of this CPU's copy, by addition. Good as long as
/// the task stays on its CPU.
#[inline(always)]
pub(super) fn cpu_offset() -> usize {
    #[cfg(all(CONFIG_X86_64, CONFIG_SMP, not(CONFIG_UML)))]
    {
        read_this_cpu!("{}", "this_cpu_off")
    }
    #[cfg(not(all(CONFIG_X86_64, CONFIG_SMP, not(CONFIG_UML))))]
    {
        // SAFETY: Reads a constant of the current CPU.
        unsafe { bindings::my_cpu_offset() }
    }
}

/// Tells the CPU that this is a busy-wait loop.
#[inline(always)]
pub(crate) fn cpu_relax() {
    core::hint::spin_loop();
}

/// Takes the lock of this CPU's bounce buffer. The task stays on this CPU until
/// [`unlock_bounce`].
///
/// Without PREEMPT_RT it disables preemption; with it, it is a sleeping lock. The lock itself lives
/// in `rust/helpers/local_lock.c`: its type is a C macro's business.
pub(crate) fn lock_bounce() {
    // SAFETY: Statically initialised; callers do not nest it, by `BounceBuffers::is_busy`.
    unsafe { bindings::local_lock_bounce() };
}

/// Releases the lock of this CPU's bounce buffer.
///
/// # Safety
///
/// The task must have taken it by [`lock_bounce`].
pub(crate) unsafe fn unlock_bounce() {
    // SAFETY: It is held, by this function's contract, so the task has not changed CPUs since.
    unsafe { bindings::local_unlock_bounce() };
}

/// Sleeps for about `micros` microseconds: not with a spinlock held.
#[cfg(CONFIG_COMPACTION)]
pub(crate) fn usleep(micros: usize) {
    let longest = micros.saturating_mul(2);
    // SAFETY: Callers may sleep, as said above them; the debug kernel checks it.
    unsafe { bindings::usleep_range_state(micros, longest, bindings::TASK_UNINTERRUPTIBLE) };
}

/// Lets others run, if they have waited long enough. May sleep.
pub(crate) fn cond_resched() {
    // SAFETY: Callers may sleep, as said above them; the debug kernel checks it.
    unsafe { bindings::cond_resched() };
}
