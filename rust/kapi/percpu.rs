// SPDX-License-Identifier: GPL-2.0

//! One value per CPU (`<linux/percpu.h>`).

use super::{
    bindings,
    cpumask::{possible_cpus, Cpu},
    gfp::Gfp,
    sched::{self, PreemptGuard},
};
use core::ptr::NonNull;
use kernel::{error::code::ENOMEM, ffi::c_void, prelude::*};

/// A value of type `T` for every possible CPU.
///
/// Any task may look at any CPU's value, so `T` is `Sync`; that a value is changed only by its own
/// CPU is up to `T`'s users, who get it from [`PerCpu::this_cpu`], or from [`PerCpu::current_cpu`]
/// if something else keeps them on the CPU.
///
/// # Invariants
///
/// `ptr` is a per-CPU allocation in which the value of every possible CPU is initialised.
pub(crate) struct PerCpu<T: Sync> {
    /// The per-CPU pointer: an offset, not an address.
    ptr: NonNull<T>,
}

// SAFETY: It owns the values, and hands out shared references only, which `T: Sync` allows.
unsafe impl<T: Sync + Send> Send for PerCpu<T> {}
// SAFETY: Shared references only are handed out, which `T: Sync` allows.
unsafe impl<T: Sync + Send> Sync for PerCpu<T> {}

impl<T: Sync> PerCpu<T> {
    /// Allocates a value for every possible CPU. May sleep.
    pub(crate) fn new(init: impl Fn() -> T) -> Result<Self> {
        const { assert!(!core::mem::needs_drop::<T>(), "values are not dropped") };
        let (size, align) = (core::mem::size_of::<T>(), core::mem::align_of::<T>());
        let gfp = Gfp::KERNEL.as_raw();
        // SAFETY: Size and alignment are those of a type; the result is checked.
        let raw = unsafe { bindings::__alloc_percpu_gfp(size, align, gfp) };
        let ptr = NonNull::new(raw.cast::<T>()).ok_or(ENOMEM)?;
        for cpu in possible_cpus() {
            let slot = Self::slot(ptr, cpu);
            // SAFETY: `slot` is this allocation's memory for `cpu`, which nobody uses yet.
            unsafe { slot.write(init()) };
        }
        // INVARIANT: every possible CPU's value was just written.
        Ok(Self { ptr })
    }

    /// The address of `cpu`'s value.
    fn slot(ptr: NonNull<T>, cpu: Cpu) -> *mut T {
        // SAFETY: `ptr` is a per-CPU pointer and `cpu` possible, by its invariant.
        unsafe { bindings::per_cpu_ptr(ptr.as_ptr().cast::<c_void>(), cpu.as_raw()) }.cast::<T>()
    }

    /// The value of the CPU that the task is bound to by the guard.
    #[inline(always)]
    pub(crate) fn this_cpu<'a>(&'a self, _guard: &'a PreemptGuard) -> &'a T {
        self.current_cpu()
    }

    /// The value of the CPU that the task happens to run on; it may run elsewhere a moment later.
    #[inline(always)]
    pub(crate) fn current_cpu(&self) -> &T {
        let slot = self.ptr.as_ptr().wrapping_byte_add(sched::cpu_offset());
        // SAFETY: A per-CPU pointer and the CPU's offset give the CPU's value, which is
        // initialised by the invariant and lives as long as `self`.
        unsafe { &*slot }
    }

    /// The value of any CPU.
    pub(crate) fn of_cpu(&self, cpu: Cpu) -> &T {
        // SAFETY: Initialised by the invariant, and lives as long as `self`.
        unsafe { &*Self::slot(self.ptr, cpu) }
    }

    /// The values of all possible CPUs.
    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        possible_cpus().map(|cpu| self.of_cpu(cpu))
    }
}

impl<T: Sync> Drop for PerCpu<T> {
    fn drop(&mut self) {
        // SAFETY: Allocated by `new`, and not used after this.
        unsafe { bindings::free_percpu(self.ptr.as_ptr().cast::<c_void>()) };
    }
}
