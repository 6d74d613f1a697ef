// SPDX-License-Identifier: GPL-2.0

//! The direct map: the kernel addresses of physical memory (`<asm/page.h>`).
//!
//! `__va()` is an addition on the 64-bit architectures this module supports. The constant is
//! worked out once, so that the hot paths need no call.

use super::{
    bindings,
    conv::{addr_of, ptr_at},
    gfp::Gfp,
    page_alloc,
};
use crate::logic::conv::{u64_to_usize, usize_to_u64};
use core::sync::atomic::{AtomicUsize, Ordering};
use kernel::prelude::*;

/// Kernel address minus physical address of every byte of the direct map, modulo 2^64. Addresses
/// have no KASAN tag, or the one that matches all.
static OFFSET: AtomicUsize = AtomicUsize::new(0);

/// Works out the offset of the direct map. Once, before anything else here is used. May sleep.
///
/// # Errors
///
/// `ENOMEM`.
pub(crate) fn init() -> Result {
    // Memory that there is: arm64's need not begin at 0, and its `__va()` is wrong for what is
    // below.
    let page = page_alloc::get(Gfp::KERNEL).ok_or(ENOMEM)?;
    // SAFETY: An address in the direct map.
    let phys = unsafe { bindings::virt_to_phys(page.as_ptr().cast()) };
    // SAFETY: The page was just allocated, and is not used.
    unsafe { page_alloc::put(page) };
    // SAFETY: Address arithmetic; nothing is accessed. The address has no KASAN tag.
    let virt = unsafe { bindings::phys_to_virt(phys) };
    let offset = addr_of(virt).wrapping_sub(u64_to_usize(phys));
    // Relaxed: only this module's callers read it, and module init is ordered before them.
    OFFSET.store(offset, Ordering::Relaxed);
    Ok(())
}

/// The physical address of a kernel address in the direct map, `__pa()`.
#[inline(always)]
pub(crate) fn virt_to_phys(virt: usize) -> u64 {
    usize_to_u64(virt.wrapping_sub(OFFSET.load(Ordering::Relaxed)))
}

/// The kernel address of a physical address, `__va()`.
#[inline(always)]
pub(crate) fn phys_to_virt<T>(phys: u64) -> *mut T {
    ptr_at(u64_to_usize(phys).wrapping_add(OFFSET.load(Ordering::Relaxed)))
}
