// SPDX-License-Identifier: GPL-2.0

//! The current task (`<linux/sched.h>`).

use super::{bindings, conv::addr_of};

/// The current task.
#[inline(always)]
fn current() -> *const bindings::task_struct {
    // SAFETY: Reads which task this is.
    unsafe { bindings::get_current() }
}

/// The address of the current task, for comparison with that of another one.
#[inline(always)]
pub(crate) fn current_task() -> usize {
    addr_of(current())
}

/// The current task has a memory policy of its own, by which its pages are to be placed.
pub(super) fn has_memory_policy() -> bool {
    #[cfg(CONFIG_NUMA)]
    {
        // SAFETY: The current task lives, and nobody else changes this field of it.
        let policy = unsafe { (*current()).mempolicy };
        !policy.is_null()
    }
    #[cfg(not(CONFIG_NUMA))]
    false
}
