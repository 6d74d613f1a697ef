// SPDX-License-Identifier: GPL-2.0

//! Pages from the page allocator (`<linux/gfp.h>`).

use super::{
    bindings,
    conv::{addr_of, ptr_at},
    gfp::Gfp,
    task,
};
use core::ptr::{null_mut, NonNull};

/// A page.
pub(crate) type Page = bindings::page;

/// Fills `pages`, or leaves nothing allocated and returns false.
///
/// The bulk allocator hands out fewer pages than asked for whenever that is easier, at least one
/// unless there is no memory; what it hands out at once is often physically adjacent. It does not
/// know of the memory policy of a task that has one. Sleeps only if `gfp` allows it.
pub(crate) fn fill(gfp: Gfp, pages: &mut [*mut Page]) -> bool {
    let gfp = gfp.as_raw();
    // The bulk allocator takes what is there already for pages that it need not allocate.
    pages.fill(null_mut());
    let filled = if task::has_memory_policy() {
        fill_singly(gfp, pages)
    } else {
        fill_in_bulk(gfp, pages)
    };
    if filled {
        return true;
    }
    for page in pages.iter_mut().filter(|page| !page.is_null()) {
        // SAFETY: Just allocated by the call above, and not used yet.
        unsafe { bindings::__free_pages(*page, 0) };
        *page = null_mut();
    }
    false
}

/// [`fill`] by the bulk allocator; all entries are null before. If it returns false, some of the
/// pages may be allocated.
fn fill_in_bulk(gfp: bindings::gfp_t, pages: &mut [*mut Page]) -> bool {
    let mut have = 0;
    loop {
        let (nr, array) = (pages.len(), pages.as_mut_ptr());
        // SAFETY: `array` has `nr` entries, null or pages from an earlier round.
        let got = unsafe { bindings::alloc_pages_bulk_array(gfp, nr, array) };
        if got >= pages.len() {
            return true;
        }
        if got <= have {
            return false;
        }
        have = got;
    }
}

/// [`fill`] page by page, where the task's memory policy says; all entries are null before. If it
/// returns false, some of the pages may be allocated.
#[cold]
fn fill_singly(gfp: bindings::gfp_t, pages: &mut [*mut Page]) -> bool {
    pages.iter_mut().all(|page| {
        // SAFETY: Any flags may be passed.
        *page = unsafe { bindings::alloc_pages(gfp, 0) };
        !page.is_null()
    })
}

/// Fills `pages` with pages that are physically adjacent, if there are such without any effort;
/// else leaves nothing allocated and returns false. The pages are as those of [`fill`].
pub(crate) fn fill_adjacent(gfp: Gfp, pages: &mut [*mut Page]) -> bool {
    let block = pages.len().next_power_of_two();
    let order = block.trailing_zeros();
    // SAFETY: Any flags may be passed.
    let first = unsafe { bindings::alloc_pages(gfp.if_free().as_raw(), order) };
    if first.is_null() {
        return false;
    }
    // SAFETY: Just allocated, not compound, which `if_free` sees to, and not used yet.
    unsafe { bindings::split_page(first, order) };
    for (place, page) in pages.iter_mut().enumerate() {
        // Descriptors of one block follow each other.
        *page = first.wrapping_add(place);
    }
    for place in pages.len()..block {
        // SAFETY: A page of the block, which is not needed.
        unsafe { bindings::__free_pages(first.wrapping_add(place), 0) };
    }
    true
}

/// Allocates one page that is addressed all the time, `PAGE_SIZE` bytes long and aligned. Contents
/// are undefined.
///
/// Sleeps only if `gfp` allows it.
pub(crate) fn get(gfp: Gfp) -> Option<NonNull<u8>> {
    // SAFETY: Any flags but highmem may be passed, which `for_metadata` removes.
    let addr = unsafe { bindings::__get_free_pages(gfp.for_metadata().as_raw(), 0) };
    NonNull::new(ptr_at(addr))
}

/// Frees a page.
///
/// # Safety
///
/// `page` must come from [`get`] and not be used any more.
pub(crate) unsafe fn put(page: NonNull<u8>) {
    // SAFETY: From `get`, by this function's contract, so it is one page.
    unsafe { bindings::free_pages(addr_of(page.as_ptr()), 0) };
}

/// Pages in a row that are addressed all the time, as many as some bytes need.
///
/// # Invariants
///
/// `start` is an allocation of `bytes` by `alloc_pages_exact()` that nobody else owns.
pub(crate) struct PageRun {
    /// The first byte; page-aligned.
    start: NonNull<u8>,
    /// How many.
    bytes: usize,
}

impl PageRun {
    /// Allocates pages for `bytes`, if there are such without much effort. Contents are undefined.
    /// May sleep.
    pub(crate) fn alloc(bytes: usize) -> Option<Self> {
        let gfp = Gfp::KERNEL.without_effort().as_raw();
        // SAFETY: Any size and flags may be passed, `__GFP_COMP` excepted.
        let start = unsafe { bindings::alloc_pages_exact(bytes, gfp) };
        let start = NonNull::new(start.cast())?;
        // INVARIANT: just allocated.
        Some(Self { start, bytes })
    }

    /// The first byte.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }
}

impl Drop for PageRun {
    fn drop(&mut self) {
        // SAFETY: Ours, by the invariant, and not used after this.
        unsafe { bindings::free_pages_exact(self.start.as_ptr().cast(), self.bytes) };
    }
}
