// SPDX-License-Identifier: GPL-2.0

//! What the kernel itself keeps per CPU and the hot paths read (`<asm/preempt.h>`,
//! `<asm/percpu.h>`).
//!
//! On x86 in one instruction, as the C macros do; elsewhere through a helper function.

use super::bindings;

/// The preemption count of the current task, with the interrupt bits.
#[inline(always)]
pub(crate) fn preempt_count() -> u32 {
    #[cfg(CONFIG_X86_64)]
    {
        const { assert!(bindings::PCPU_HOT_PREEMPT_COUNT == 8) };
        let count: u32;
        // SAFETY: Reads this CPU's copy of a variable, at the offset just asserted.
        unsafe {
            core::arch::asm!(
                "mov {:e}, gs:[rip + pcpu_hot + 8]",
                out(reg) count,
                options(nostack, preserves_flags, readonly)
            );
        }
        count
    }
    #[cfg(not(CONFIG_X86_64))]
    // SAFETY: Reads a count of the current task.
    unsafe {
        bindings::zsrs_preempt_count()
    }
}

/// What turns a per-CPU pointer into the address of this CPU's copy, by addition. Good as long as
/// the task stays on its CPU.
#[inline(always)]
pub(crate) fn offset() -> usize {
    #[cfg(CONFIG_X86_64)]
    {
        let offset: usize;
        // SAFETY: Reads this CPU's copy of a variable.
        unsafe {
            core::arch::asm!(
                "mov {}, gs:[rip + this_cpu_off]",
                out(reg) offset,
                options(nostack, preserves_flags, readonly)
            );
        }
        offset
    }
    #[cfg(not(CONFIG_X86_64))]
    // SAFETY: Reads a constant of the current CPU.
    unsafe {
        bindings::my_cpu_offset()
    }
}
