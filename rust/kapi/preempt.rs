// SPDX-License-Identifier: GPL-2.0

//! Preemption and execution context (`<linux/preempt.h>`).

use super::bindings;
use core::marker::PhantomData;

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
pub(crate) fn disable() {
    if cfg!(CONFIG_PREEMPT_COUNT) {
        // SAFETY: Takes no arguments; the count nests.
        unsafe { bindings::preempt_disable() };
    } else {
        // What the C macro is without a count: a compiler barrier.
        core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::SeqCst); // Pairs with nothing: it only keeps the compiler from moving code.
    }
}

/// Ends one [`disable`].
#[inline(always)]
pub(crate) fn enable() {
    if cfg!(CONFIG_PREEMPT_COUNT) {
        // SAFETY: Takes no arguments; every caller pairs it with `disable`.
        unsafe { bindings::preempt_enable() };
    } else {
        core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::SeqCst); // Pairs with nothing, as above.
    }
}

/// In a hard interrupt, a soft interrupt or an NMI, or with soft interrupts disabled.
#[inline(always)]
pub(crate) fn in_interrupt() -> bool {
    // SAFETY: Reads the preemption count of the current task.
    unsafe { bindings::in_interrupt() }
}

/// Tells the CPU that this is a busy-wait loop.
#[inline(always)]
pub(crate) fn cpu_relax() {
    core::hint::spin_loop();
}
