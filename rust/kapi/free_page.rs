// SPDX-License-Identifier: GPL-2.0

//! Single kernel pages by address (`__get_free_page()`, `<linux/gfp.h>`).

use super::{
    bindings,
    conv::{addr_of, ptr_at},
    gfp::Gfp,
};
use core::ptr::NonNull;

/// Allocates one page, `PAGE_SIZE` bytes long and aligned. Contents are undefined.
///
/// Sleeps only if `gfp` allows it.
pub(crate) fn alloc(gfp: Gfp) -> Option<NonNull<u8>> {
    // SAFETY: Any flags but highmem may be passed, which `for_metadata` removes.
    let addr = unsafe { bindings::get_free_pages_noprof(gfp.for_metadata().as_raw(), 0) };
    NonNull::new(ptr_at(addr))
}

/// Frees a page.
///
/// # Safety
///
/// `page` must come from [`alloc`] and not be used any more.
pub(crate) unsafe fn free(page: NonNull<u8>) {
    // SAFETY: The caller's promise.
    unsafe { bindings::free_pages(addr_of(page.as_ptr()), 0) };
}
