// SPDX-License-Identifier: GPL-2.0

//! The direct map: the kernel addresses of physical memory (`<asm/page.h>`).
//!
//! `__va()` is an addition on the 64-bit architectures this module supports. The constant is
//! worked out once, so that the hot paths need no call.

use super::{
    bindings,
    conv::{addr_of, ptr_at},
};
use crate::logic::conv::u64_to_usize;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Kernel address minus physical address of every byte of the direct map, modulo 2^64. Addresses
/// have no KASAN tag, or the one that matches all.
static OFFSET: AtomicUsize = AtomicUsize::new(0);

/// Works out the offset of the direct map. Once, before anything else here is used.
pub(crate) fn init() {
    // SAFETY: Address arithmetic; nothing is accessed.
    let start = unsafe { bindings::phys_to_virt(0) };
    // Relaxed: only this module's callers read it, and module init is ordered before them.
    OFFSET.store(addr_of(start), Ordering::Relaxed);
}

/// The kernel address of a physical address, `__va()`.
#[inline(always)]
pub(crate) fn phys_to_virt<T>(phys: u64) -> *mut T {
    ptr_at(u64_to_usize(phys).wrapping_add(OFFSET.load(Ordering::Relaxed)))
}
