// SPDX-License-Identifier: GPL-2.0

//! CPU numbers (`<linux/cpumask.h>`).

use super::bindings;
use kernel::ffi::{c_int, c_uint};

/// A CPU that may come online on this machine.
///
/// # Invariants
///
/// Set in `cpu_possible_mask`.
#[derive(Clone, Copy)]
pub(crate) struct Cpu(c_uint);

impl Cpu {
    /// The CPU a hotplug callback was called for.
    ///
    /// # Safety
    ///
    /// `cpu` must be set in `cpu_possible_mask`.
    pub(crate) unsafe fn from_raw(cpu: c_uint) -> Self {
        // INVARIANT: the caller's promise.
        Self(cpu)
    }

    /// The number for a C callee.
    pub(crate) fn as_raw(self) -> c_int {
        // Numbers of possible CPUs are far below `c_int::MAX`; -1 is what C uses for none.
        c_int::try_from(self.0).unwrap_or(-1)
    }
}

/// All CPUs that may come online, in ascending order.
pub(crate) fn possible_cpus() -> impl Iterator<Item = Cpu> {
    let mut last: c_int = -1;
    core::iter::from_fn(move || {
        // SAFETY: Reads `cpu_possible_mask`, which does not change after boot.
        let next = unsafe { bindings::next_possible_cpu(last) };
        // SAFETY: Reads a variable that does not change after boot.
        let end = unsafe { bindings::zsrs_nr_cpu_ids() };
        if next >= end {
            return None;
        }
        // INVARIANT: `cpumask_next` returned a CPU of the mask.
        let cpu = Cpu(next);
        last = cpu.as_raw();
        Some(cpu)
    })
}
