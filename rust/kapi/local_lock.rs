// SPDX-License-Identifier: GPL-2.0

//! The per-CPU lock of the bounce buffers (`<linux/local_lock.h>`).
//!
//! Without PREEMPT_RT it disables preemption; with it, it is a sleeping lock that keeps the task on
//! its CPU. The lock itself lives in `rust/helpers/local_lock.c`: its type is a C macro's business.

use super::bindings;

/// Takes the current CPU's bounce-buffer lock. The task stays on this CPU until [`unlock`].
#[inline]
pub(crate) fn lock() {
    // SAFETY: A statically initialised lock; callers do not nest it (`Bounce::claim`).
    unsafe { bindings::local_lock_bounce() };
}

/// Releases the lock taken by [`lock`] on this CPU.
#[inline]
pub(crate) fn unlock() {
    // SAFETY: Every caller holds the lock, so the task has not changed CPUs since.
    unsafe { bindings::local_unlock_bounce() };
}
