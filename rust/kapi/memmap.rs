// SPDX-License-Identifier: GPL-2.0

//! Page descriptors and the memory that they stand for (`<asm-generic/memory_model.h>`).
//!
//! With VMEMMAP or FLATMEM the descriptors are an array, and all of this is arithmetic on its
//! start. Else the C side knows.

use super::bindings;
use crate::logic::word::PHYS_BITS;

/// Bytes in a page, as a shift.
pub(crate) const PAGE_SHIFT: u32 = bindings::ZPDESC_PAGE_SHIFT;
/// Bytes in a page.
pub(crate) const PAGE_SIZE: usize = 1 << PAGE_SHIFT;
const _: () = assert!(
    bindings::ZPDESC_PHYS_BITS <= PHYS_BITS,
    "handles hold physical addresses of up to 55 bits; this architecture has more"
);

/// The array.
#[cfg(any(CONFIG_SPARSEMEM_VMEMMAP, CONFIG_FLATMEM))]
mod model {
    use super::{bindings, PAGE_SHIFT, PAGE_SIZE};
    use crate::kapi::conv::{addr_of, ptr_at};
    use core::{
        mem::size_of,
        sync::atomic::{AtomicUsize, Ordering},
    };

    /// Where the descriptor of page frame 0 is, or would be.
    static BASE: AtomicUsize = AtomicUsize::new(0);

    /// Works out where the array of descriptors begins. Once, before anything else here is used.
    pub(crate) fn init() {
        // SAFETY: With either model this is address arithmetic.
        let first = unsafe { bindings::pfn_to_page(0) };
        // Relaxed: only this module's callers read it, and module init is ordered before them.
        BASE.store(addr_of(first), Ordering::Relaxed);
    }

    /// The descriptor of the page at a physical address.
    ///
    /// # Safety
    ///
    /// The page must have one.
    #[inline(always)]
    pub(crate) unsafe fn page_at(phys: usize) -> *mut bindings::page {
        let offset = (phys >> PAGE_SHIFT).wrapping_mul(size_of::<bindings::page>());
        ptr_at(BASE.load(Ordering::Relaxed).wrapping_add(offset))
    }

    /// `page_to_phys()`.
    ///
    /// # Safety
    ///
    /// `page` must be the descriptor of a page.
    #[inline(always)]
    pub(crate) unsafe fn phys_of(page: *mut bindings::page) -> usize {
        bytes_between(BASE.load(Ordering::Relaxed), addr_of(page))
    }

    /// How far one page is from another in physical memory, in bytes, modulo `1 << 64`.
    ///
    /// # Safety
    ///
    /// As for [`phys_of`].
    #[cfg(CONFIG_COMPACTION)]
    #[inline(always)]
    pub(crate) unsafe fn distance(from: *mut bindings::page, to: *mut bindings::page) -> usize {
        bytes_between(addr_of(from), addr_of(to))
    }

    /// Bytes of memory between those that two descriptors, given by their addresses, stand for.
    #[inline(always)]
    fn bytes_between(from: usize, to: usize) -> usize {
        let offset = to.wrapping_sub(from);
        if PAGE_SIZE % size_of::<bindings::page>() == 0 {
            // The usual case, and one operation less.
            offset.wrapping_mul(PAGE_SIZE / size_of::<bindings::page>())
        } else if to >= from {
            (offset / size_of::<bindings::page>()) << PAGE_SHIFT
        } else {
            let pages = offset.wrapping_neg() / size_of::<bindings::page>();
            (pages << PAGE_SHIFT).wrapping_neg()
        }
    }
}

/// The C side.
#[cfg(not(any(CONFIG_SPARSEMEM_VMEMMAP, CONFIG_FLATMEM)))]
mod model {
    use super::{bindings, PAGE_SHIFT};

    /// Nothing to work out.
    pub(crate) fn init() {}

    /// The descriptor of the page at a physical address.
    ///
    /// # Safety
    ///
    /// The page must have one.
    pub(crate) unsafe fn page_at(phys: usize) -> *mut bindings::page {
        // SAFETY: It has a descriptor, by this function's contract.
        unsafe { bindings::pfn_to_page(phys >> PAGE_SHIFT) }
    }

    /// `page_to_phys()`.
    ///
    /// # Safety
    ///
    /// `page` must be the descriptor of a page.
    pub(crate) unsafe fn phys_of(page: *mut bindings::page) -> usize {
        // SAFETY: A page's descriptor, by this function's contract.
        unsafe { bindings::page_to_pfn(page) << PAGE_SHIFT }
    }

    /// How far one page is from another in physical memory, in bytes, modulo `1 << 64`.
    ///
    /// # Safety
    ///
    /// As for [`phys_of`].
    #[cfg(CONFIG_COMPACTION)]
    pub(crate) unsafe fn distance(from: *mut bindings::page, to: *mut bindings::page) -> usize {
        // SAFETY: A page's descriptor, by this function's contract.
        let from = unsafe { phys_of(from) };
        // SAFETY: This one, too, is a page's descriptor.
        unsafe { phys_of(to) }.wrapping_sub(from)
    }
}

#[cfg(CONFIG_COMPACTION)]
pub(crate) use model::distance;
pub(crate) use model::{init, page_at, phys_of};
