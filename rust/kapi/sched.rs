// SPDX-License-Identifier: GPL-2.0

//! The scheduler (`<linux/sched.h>`).

use super::bindings;

/// Sleeps for about `micros` microseconds.
pub(crate) fn usleep(micros: usize) {
    let longest = micros.saturating_mul(2);
    // SAFETY: Callers may sleep: they hold no spinlock, by the types of what they hold.
    unsafe { bindings::usleep_range_state(micros, longest, bindings::TASK_UNINTERRUPTIBLE) };
}

/// Lets others run, if they have waited long enough. May sleep.
pub(crate) fn cond_resched() {
    // SAFETY: Callers may sleep: they hold no spinlock, by the types of what they hold.
    unsafe { bindings::cond_resched() };
}
