// SPDX-License-Identifier: GPL-2.0

//! `zpdesc`: the descriptor of a page of compressed memory, laid over `struct page`.
//!
//! The only file that names fields and flags of `struct page`. On the day a descriptor is allocated
//! on its own (Matthew Wilcox's plan: `struct page` shrinks to one word that points here), this
//! file changes and no other.
//!
//! | `struct page` | here | what it holds |
//! |---|---|---|
//! | `flags` | | `PG_private` marks the first page of a chain, `PG_locked` is the migration core's |
//! | `lru` | | the migration core's, from isolation on |
//! | `mapping` | | the movable operations, tagged |
//! | `index` | `next` | the next page of the chain; for a huge object its header |
//! | `private` | `zspage` | the zspage |
//! | `page_type` | `first_obj_offset` | page type (8 bits), place in the chain (8), offset (16) |
//! | `_refcount` | | ours is one; who isolates the page takes another |
//!
//! Nothing reaches `memcg_data`. Source: the zpdesc series by Alex Shi and Hyeonggon Yoo.

use crate::kapi::{
    bindings,
    conv::{addr_of, ptr_at},
    direct_map,
    gfp::Gfp,
};
use crate::logic::{
    conv::{u32_to_usize, u64_to_usize, usize_to_u64},
    size_class::MAX_CHAIN,
};
use core::{
    cell::Cell,
    mem::{offset_of, size_of},
    ptr::{null_mut, NonNull},
    sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicUsize, Ordering},
};
use kernel::ffi::c_void;

/// Bytes in a page, as a shift.
pub(crate) const PAGE_SHIFT: u32 = bindings::ZPDESC_PAGE_SHIFT;
/// Bytes in a page.
pub(crate) const PAGE_SIZE: usize = 1 << PAGE_SHIFT;

/// Longest chain, in pages.
const MAX_PAGES: usize = u32_to_usize(MAX_CHAIN);

/// The descriptor of one page.
///
/// Fields are atomics because the memory-management core reads some of them at any time; all
/// accesses are relaxed. What makes them consistent is the owning class's lock, or the word lock
/// of an object that lies on the page (`Documentation/locking.rst`).
#[repr(C)]
pub(crate) struct Zpdesc {
    /// Page flags.
    flags: AtomicUsize,
    /// Links of whoever isolated the page.
    lru: [AtomicUsize; 2],
    /// The movable operations, tagged; written by the migration core's own functions.
    movable_ops: AtomicUsize,
    /// The next page of the chain, or a huge object's header.
    next: AtomicUsize,
    /// The zspage.
    zspage: AtomicPtr<c_void>,
    /// Page type in the upper 8 bits; see [`PlaceBits`].
    first_obj_offset: AtomicU32,
    /// References.
    refcount: AtomicI32,
}

/// Asserts that a field lies where `struct page` has it.
macro_rules! zpdesc_match {
    ($field:ident, $offset:ident) => {
        const _: () = assert!(offset_of!(Zpdesc, $field) == bindings::$offset);
    };
}
zpdesc_match!(flags, ZPDESC_FLAGS);
zpdesc_match!(lru, ZPDESC_LRU);
zpdesc_match!(movable_ops, ZPDESC_MAPPING);
zpdesc_match!(next, ZPDESC_INDEX);
zpdesc_match!(zspage, ZPDESC_PRIVATE);
zpdesc_match!(first_obj_offset, ZPDESC_PAGE_TYPE);
zpdesc_match!(refcount, ZPDESC_REFCOUNT);
const _: () = assert!(size_of::<Zpdesc>() <= bindings::ZPDESC_END);
const _: () = assert!(size_of::<Zpdesc>() <= size_of::<bindings::page>());

/// The 24 bits of `page_type` that belong to the page's owner.
///
/// ```text
/// 31      24 23      16 15                0
/// | type    | place    | first_obj_offset |
/// ```
struct PlaceBits;

impl PlaceBits {
    /// Bits of the offset: pages of up to 64 KiB.
    const OFFSET_BITS: u32 = 16;
    /// The offset.
    const OFFSET_MASK: u32 = (1 << Self::OFFSET_BITS) - 1;
    /// All that is not the page's type.
    const MASK: u32 = (1 << 24) - 1;
}
const _: () = assert!(PAGE_SHIFT <= PlaceBits::OFFSET_BITS);
const _: () = assert!(MAX_PAGES <= 1 << (24 - PlaceBits::OFFSET_BITS));

impl Zpdesc {
    /// The descriptor of a page (`page_zpdesc`).
    ///
    /// # Safety
    ///
    /// The page must be typed zsmalloc by this module, and stay so for `'a`.
    #[inline(always)]
    unsafe fn from_page<'a>(page: NonNull<bindings::page>) -> &'a Self {
        // SAFETY: The caller's promise; the layout matches by the assertions above.
        unsafe { page.cast::<Self>().as_ref() }
    }

    /// The descriptor of the page that a physical address lies in (`pfn_zpdesc`).
    ///
    /// # Safety
    ///
    /// As for [`Zpdesc::from_page`].
    #[inline(always)]
    pub(crate) unsafe fn from_phys<'a>(phys: u64) -> &'a Self {
        // SAFETY: The page is one of ours, so it has a descriptor.
        unsafe { &*memmap::page_of(u64_to_usize(phys) >> PAGE_SHIFT).cast::<Self>() }
    }

    /// The page behind the descriptor (`zpdesc_page`).
    #[inline(always)]
    fn page(&self) -> *mut bindings::page {
        let this: *const Self = self;
        this.cast_mut().cast()
    }

    /// Page frame number (`zpdesc_pfn`).
    #[inline(always)]
    pub(crate) fn pfn(&self) -> usize {
        memmap::pfn_of(self.page())
    }

    /// Physical address of the page's first byte.
    #[inline(always)]
    pub(crate) fn phys(&self) -> u64 {
        usize_to_u64(self.pfn()) << PAGE_SHIFT
    }

    /// Address of the page's first byte in the direct map.
    #[inline(always)]
    pub(crate) fn address(&self) -> NonNull<u8> {
        // SAFETY: Addresses of memory are not null.
        unsafe { NonNull::new_unchecked(direct_map::phys_to_virt(self.phys())) }
    }

    /// The zspage that the page belongs to; null if it belongs to none.
    #[inline(always)]
    pub(crate) fn zspage(&self) -> *mut c_void {
        self.zspage.load(Ordering::Relaxed)
    }

    /// Is the page typed zsmalloc?
    #[inline(always)]
    pub(crate) fn is_zsmalloc(&self) -> bool {
        // SAFETY: Reads the page's type.
        unsafe { bindings::PageZsmalloc(self.page()) }
    }

    /// The next page of the chain. Not for the page of a huge object.
    #[inline(always)]
    pub(crate) fn next(&self) -> Option<&Self> {
        let next = ptr_at::<bindings::page>(self.next.load(Ordering::Relaxed));
        // SAFETY: Pages of a chain are typed, and freed together.
        NonNull::new(next).map(|next| unsafe { Self::from_page(next) })
    }

    /// Links the next page of the chain.
    fn set_next(&self, next: Option<&Self>) {
        let next = next.map_or(0, |next| addr_of(next.page()));
        self.next.store(next, Ordering::Relaxed);
    }

    /// The header of a huge object.
    #[inline(always)]
    pub(crate) fn handle(&self) -> u64 {
        usize_to_u64(self.next.load(Ordering::Relaxed))
    }

    /// Writes the header of a huge object.
    #[inline(always)]
    pub(crate) fn set_handle(&self, header: u64) {
        self.next.store(u64_to_usize(header), Ordering::Relaxed);
    }

    /// The page's place in its chain, counted from 0.
    #[inline(always)]
    pub(crate) fn place(&self) -> usize {
        let bits = self.first_obj_offset.load(Ordering::Relaxed) & PlaceBits::MASK;
        u32_to_usize(bits >> PlaceBits::OFFSET_BITS)
    }

    /// Where the first object that begins on the page does, in bytes.
    pub(crate) fn first_obj_offset(&self) -> usize {
        let bits = self.first_obj_offset.load(Ordering::Relaxed);
        u32_to_usize(bits & PlaceBits::OFFSET_MASK)
    }

    /// Writes [`Self::place`] and [`Self::first_obj_offset`], keeping the page's type.
    fn set_first_obj_offset(&self, place: usize, offset: usize) {
        let bits = (place << PlaceBits::OFFSET_BITS) | (offset & (PAGE_SIZE - 1));
        let owned = u32::try_from(bits).unwrap_or(0) & PlaceBits::MASK;
        let type_bits = self.first_obj_offset.load(Ordering::Relaxed) & !PlaceBits::MASK;
        self.first_obj_offset
            .store(type_bits | owned, Ordering::Relaxed);
    }

    /// Types the page (`__zpdesc_set_zsmalloc`).
    fn set_zsmalloc(&self) {
        // SAFETY: The page is ours and has no type yet.
        unsafe { bindings::__SetPageZsmalloc(self.page()) };
    }

    /// Clears type and owner's bits (`__zpdesc_clear_zsmalloc`).
    fn clear_zsmalloc(&self) {
        // SAFETY: The page is ours and typed.
        unsafe { bindings::__ClearPageZsmalloc(self.page()) };
    }

    /// Marks the first page of a chain (`zpdesc_set_first`).
    fn set_first(&self) {
        // SAFETY: The page is ours; the flag is the owner's.
        unsafe { bindings::SetPagePrivate(self.page()) };
    }

    /// Clears the mark of [`Self::set_first`] (`zpdesc_clear_first`).
    fn clear_first(&self) {
        // SAFETY: The page is ours; the flag is the owner's.
        unsafe { bindings::ClearPagePrivate(self.page()) };
    }

    /// Leaves nothing of ours behind (`reset_zpdesc`).
    fn reset(&self) {
        self.clear_first();
        self.zspage.store(null_mut(), Ordering::Relaxed);
        self.next.store(0, Ordering::Relaxed);
        self.clear_zsmalloc();
    }

    /// The zone that the page lies in (`zpdesc_zone`).
    fn zone(&self) -> *mut bindings::zone {
        // SAFETY: Reads the page's flags.
        unsafe { bindings::page_zone(self.page()) }
    }

    /// Gives the page back to the page allocator, or to whoever holds a reference.
    ///
    /// # Safety
    ///
    /// The page must have been reset, and nobody of ours may use it any more.
    unsafe fn free(&self) {
        // SAFETY: The caller's promise.
        unsafe { bindings::__free_pages(self.page(), 0) };
    }
}

/// `struct page` to page frame number and back.
#[cfg(CONFIG_SPARSEMEM_VMEMMAP)]
mod memmap {
    use super::*;

    /// Where the descriptor of page frame 0 is, or would be.
    static BASE: AtomicUsize = AtomicUsize::new(0);

    /// Works out where the array of descriptors begins.
    pub(super) fn init() {
        // SAFETY: With VMEMMAP this is address arithmetic.
        let first = unsafe { bindings::pfn_to_page(0) };
        BASE.store(addr_of(first), Ordering::Relaxed);
    }

    /// `pfn_to_page()`.
    #[inline(always)]
    pub(super) fn page_of(pfn: usize) -> *mut bindings::page {
        let offset = pfn.wrapping_mul(size_of::<bindings::page>());
        ptr_at(BASE.load(Ordering::Relaxed).wrapping_add(offset))
    }

    /// `page_to_pfn()`.
    #[inline(always)]
    pub(super) fn pfn_of(page: *mut bindings::page) -> usize {
        let offset = addr_of(page).wrapping_sub(BASE.load(Ordering::Relaxed));
        offset / size_of::<bindings::page>()
    }
}

/// `struct page` to page frame number and back.
#[cfg(not(CONFIG_SPARSEMEM_VMEMMAP))]
mod memmap {
    use super::*;

    /// Nothing to work out: the C side knows.
    pub(super) fn init() {}

    /// `pfn_to_page()`.
    pub(super) fn page_of(pfn: usize) -> *mut bindings::page {
        // SAFETY: Callers pass frames of pages of ours.
        unsafe { bindings::pfn_to_page(pfn) }
    }

    /// `page_to_pfn()`.
    pub(super) fn pfn_of(page: *mut bindings::page) -> usize {
        // SAFETY: Callers pass pages of ours.
        unsafe { bindings::page_to_pfn(page) }
    }
}

/// Reads what conversions need. Once, before anything else here is used.
pub(crate) fn init() {
    memmap::init();
}

/// Can one range of addresses cover the end of `first` and the start of `second`?
///
/// False where addresses are continuous but something beside them is not: KMSAN's shadow, or
/// descriptors of different memory sections.
#[inline(always)]
pub(crate) fn are_adjacent(first: &Zpdesc, second: &Zpdesc) -> bool {
    cfg!(CONFIG_SPARSEMEM_VMEMMAP)
        && !cfg!(CONFIG_KMSAN)
        && first.pfn().wrapping_add(1) == second.pfn()
}

/// The pages of one zspage, in order.
///
/// # Invariants
///
/// `first` is the first of a chain of 1 to [`MAX_PAGES`] pages that are allocated, typed zsmalloc,
/// counted in `NR_ZSPAGES`, and owned by this value.
pub(crate) struct Chain {
    /// The first page.
    first: Cell<NonNull<Zpdesc>>,
    /// The page holds one huge object: there is no link, but a header in its place.
    huge: bool,
}

// SAFETY: It owns its pages; `first` changes only under the owning class's lock.
unsafe impl Send for Chain {}

impl Chain {
    /// Allocates a chain of `nr` pages (1 to [`MAX_PAGES`]). Sleeps only if `gfp` allows it.
    ///
    /// `first_offset` tells where on each page the first object begins, in bytes.
    pub(crate) fn alloc(
        gfp: Gfp,
        nr: usize,
        huge: bool,
        first_offset: impl Fn(usize) -> usize,
    ) -> Option<Self> {
        let mut pages = [null_mut(); MAX_PAGES];
        let pages = pages.get_mut(..nr)?;
        if !alloc_pages(gfp, pages) {
            return None;
        }
        let mut prev: Option<&Zpdesc> = None;
        let mut first = None;
        for (place, page) in pages.iter().enumerate() {
            // SAFETY: `alloc_pages` has filled the array with pages, which nobody else uses.
            let zpdesc = unsafe { &*page.cast::<Zpdesc>() };
            zpdesc.set_zsmalloc();
            zpdesc.set_first_obj_offset(place, first_offset(place));
            zpdesc.set_next(None);
            match prev {
                Some(prev) => prev.set_next(Some(zpdesc)),
                None => {
                    zpdesc.set_first();
                    first = Some(NonNull::from(zpdesc));
                }
            }
            prev = Some(zpdesc);
        }
        // INVARIANT: all pages are ours, typed and linked; they are counted below.
        let chain = Self {
            first: Cell::new(first?),
            huge,
        };
        chain.count(1);
        Some(chain)
    }

    /// The first page.
    #[inline(always)]
    pub(crate) fn first(&self) -> &Zpdesc {
        // SAFETY: Ours, by the invariant.
        unsafe { self.first.get().as_ref() }
    }

    /// All pages, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Zpdesc> {
        core::iter::successors(Some(self.first()), |zpdesc| self.after(zpdesc))
    }

    /// The page after `zpdesc`.
    #[inline(always)]
    fn after<'a>(&self, zpdesc: &'a Zpdesc) -> Option<&'a Zpdesc> {
        if self.huge {
            None
        } else {
            zpdesc.next()
        }
    }

    /// The page at `place`, counted from 0; the last one if the chain is shorter.
    #[inline(always)]
    pub(crate) fn page(&self, place: usize) -> &Zpdesc {
        let mut zpdesc = self.first();
        for _ in 0..place {
            let Some(next) = self.after(zpdesc) else {
                break;
            };
            zpdesc = next;
        }
        zpdesc
    }

    /// Makes every page point to its zspage.
    pub(crate) fn set_zspage<T>(&self, zspage: NonNull<T>) {
        for zpdesc in self.iter() {
            let zspage = zspage.as_ptr().cast::<c_void>();
            zpdesc.zspage.store(zspage, Ordering::Relaxed);
        }
    }

    /// Adds `sign` for each page to the zones' `NR_ZSPAGES`: one call for pages of one zone.
    fn count(&self, sign: isize) {
        let mut run: isize = 0;
        let mut zone = self.first().zone();
        for zpdesc in self.iter() {
            if zpdesc.zone() != zone {
                add_zspages(zone, run);
                zone = zpdesc.zone();
                run = 0;
            }
            run = run.wrapping_add(sign);
        }
        add_zspages(zone, run);
    }

    /// Takes the pages out of our hands without freeing them: nothing in them refers to us any
    /// more, and nobody will use them again.
    ///
    /// For objects that are still allocated when their pool is destroyed.
    pub(crate) fn leak(self) {
        self.count(-1);
        let chain = core::mem::ManuallyDrop::new(self);
        chain.release(|_| ());
    }

    /// Resets every page and hands it to `then`.
    fn release(&self, then: impl Fn(&Zpdesc)) {
        let mut next = Some(self.first());
        while let Some(zpdesc) = next {
            next = self.after(zpdesc);
            zpdesc.reset();
            then(zpdesc);
        }
    }
}

impl Drop for Chain {
    /// Gives the pages back. Any context that may free pages, not under a class's lock.
    fn drop(&mut self) {
        // Before the pages are: their zones must not change in between.
        self.count(-1);
        // SAFETY: The chain was the only owner, by the invariant, and the page is reset.
        self.release(|zpdesc| unsafe { zpdesc.free() });
    }
}

/// Adds to a zone's count of our pages.
fn add_zspages(zone: *mut bindings::zone, pages: isize) {
    // SAFETY: `zone` is the zone of a page, and lives for ever.
    unsafe { bindings::mod_zone_page_state(zone, bindings::zone_stat_item_NR_ZSPAGES, pages) };
}

/// Fills `pages`, or leaves nothing allocated and returns false.
///
/// The bulk allocator hands out fewer pages than asked for whenever that is easier, at least one
/// unless there is no memory; what it hands out at once is often physically adjacent.
fn alloc_pages(gfp: Gfp, pages: &mut [*mut bindings::page]) -> bool {
    let nr = i32::try_from(pages.len()).unwrap_or(0);
    let gfp = gfp.for_objects().as_raw();
    let mut have = 0;
    loop {
        // SAFETY: Takes no arguments.
        let node = unsafe { bindings::numa_mem_id() };
        let (array, none) = (pages.as_mut_ptr(), null_mut());
        // SAFETY: `array` has `nr` entries, null or pages from an earlier round.
        let got = unsafe {
            bindings::alloc_pages_bulk_noprof(gfp, node, none, nr, null_mut(), array)
        };
        if got >= pages.len() {
            return true;
        }
        if got <= have {
            break;
        }
        have = got;
    }
    for page in pages.iter().filter(|page| !page.is_null()) {
        // SAFETY: Just allocated, and not used yet.
        unsafe { bindings::__free_pages(*page, 0) };
    }
    false
}
