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
//! | `lru` | | the migration core's, from isolation on; a link to the next page that is freed |
//! | `mapping` | | the movable operations, tagged |
//! | `index` | `next` | the next page of the chain; for a huge object its header |
//! | `private` | `zspage` | the zspage |
//! | `page_type` | `first_obj_offset` | page type (8 bits), place in the chain (8), offset (16) |
//! | `_refcount` | | ours is one, or frozen at 0; who isolates the page takes another |
//!
//! Nothing reaches `memcg_data`. Source: the zpdesc series by Alex Shi and Hyeonggon Yoo.

use crate::kapi::{
    bindings,
    conv::{addr_of, ptr_at},
    direct_map, memmap,
};
use crate::logic::{
    conv::{u32_to_usize, u64_to_usize, usize_to_u64},
    size_class::MAX_CHAIN,
};
use core::{
    mem::{offset_of, size_of},
    ptr::{null_mut, NonNull},
    sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};
use kernel::ffi::c_void;

/// Bytes in a page, as a shift.
pub(crate) const PAGE_SHIFT: u32 = memmap::PAGE_SHIFT;
/// Bytes in a page.
pub(crate) const PAGE_SIZE: usize = memmap::PAGE_SIZE;
/// Longest chain, in pages.
pub(crate) const MAX_PAGES: usize = u32_to_usize(MAX_CHAIN);

/// The descriptor of one page.
///
/// Fields are atomics because the memory-management core reads some of them at any time; all
/// accesses are relaxed, but those that hold a page. What makes them consistent is the owning
/// class's lock, or the word lock of an object that lies on the page
/// (`Documentation/locking.rst`).
#[repr(C)]
pub(crate) struct Zpdesc {
    /// Page flags.
    flags: AtomicUsize,
    /// Links of whoever isolated the page, or of pages on their way back to the page allocator.
    lru: [AtomicUsize; 2],
    /// The movable operations, tagged as `__SetPageMovable()` does it; written by who holds the
    /// page, or has it locked by the core.
    movable_ops: AtomicUsize,
    /// The next page of the chain, or a huge object's header.
    next: AtomicU64,
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

/// Set in `flags` of a page that is locked: `PG_locked`.
const LOCKED: usize = bindings::ZPDESC_LOCKED;
/// Set in `flags` of the first page of a chain: `PG_private`.
const FIRST: usize = bindings::ZPDESC_FIRST;

/// The 24 bits of `page_type` that belong to the page's owner.
///
/// ```text
/// 31      24 23      16 15                0
/// | type    | place    | first_obj_offset |
/// ```
struct PlaceBits;

/// `page_type` of a page without a type.
const NO_TYPE: u32 = u32::MAX;

impl PlaceBits {
    /// Bits of the offset: pages of up to 64 KiB.
    const OFFSET_BITS: u32 = 16;
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
    /// For `'a` the page must be ours (allocated by this module, not given back), or a new one that
    /// the migration core has locked for us.
    #[inline(always)]
    pub(crate) unsafe fn from_page<'a>(page: NonNull<bindings::page>) -> &'a Self {
        // SAFETY: Allocated, by this function's contract; the assertions above compare the layouts.
        unsafe { page.cast::<Self>().as_ref() }
    }

    /// The descriptor of the page that a physical address lies in (`pfn_zpdesc`).
    ///
    /// # Safety
    ///
    /// As for [`Zpdesc::from_page`].
    #[inline(always)]
    pub(crate) unsafe fn from_phys<'a>(phys: u64) -> &'a Self {
        // SAFETY: Allocated pages have a descriptor.
        let page = unsafe { memmap::page_at(u64_to_usize(phys)) };
        // SAFETY: A page that this function's contract allows; its descriptor is not null.
        unsafe { &*page.cast::<Self>() }
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
        u64_to_usize(self.phys()) >> PAGE_SHIFT
    }

    /// Physical address of the page's first byte.
    #[inline(always)]
    pub(crate) fn phys(&self) -> u64 {
        // SAFETY: `self` is the descriptor of a page.
        usize_to_u64(unsafe { memmap::phys_of(self.page()) })
    }

    /// How far the page is from `other` in physical memory, in bytes, modulo `1 << 64`.
    #[cfg(CONFIG_COMPACTION)]
    #[inline(always)]
    pub(crate) fn distance_from(&self, other: &Self) -> usize {
        // SAFETY: Both are descriptors of pages.
        unsafe { memmap::distance(other.page(), self.page()) }
    }

    /// Address of the page's first byte in the direct map.
    #[inline(always)]
    pub(crate) fn address(&self) -> NonNull<u8> {
        // SAFETY: Addresses of memory are not null.
        unsafe { NonNull::new_unchecked(direct_map::phys_to_virt(self.phys())) }
    }

    /// Records the zspage that the page belongs to.
    pub(crate) fn set_zspage<T>(&self, zspage: *mut T) {
        self.zspage.store(zspage.cast(), Ordering::Relaxed);
    }

    /// The zspage that the page belongs to; null if it belongs to none.
    #[inline(always)]
    pub(crate) fn zspage(&self) -> *mut c_void {
        self.zspage.load(Ordering::Relaxed)
    }

    /// The next page of the chain.
    ///
    /// # Safety
    ///
    /// Not for the page of a huge object: where others have the link, that has its header.
    #[inline(always)]
    pub(crate) unsafe fn next(&self) -> Option<&Self> {
        let next = ptr_at::<bindings::page>(u64_to_usize(self.next.load(Ordering::Relaxed)));
        // SAFETY: Pages of a chain are typed, and leave it only once no link leads to them.
        NonNull::new(next).map(|next| unsafe { Self::from_page(next) })
    }

    /// Links the next page of the chain.
    pub(crate) fn set_next(&self, next: Option<&Self>) {
        let next = next.map_or(0, |next| usize_to_u64(addr_of(next.page())));
        self.next.store(next, Ordering::Relaxed);
    }

    /// The header of a huge object (`zpdesc.handle`).
    #[inline(always)]
    pub(crate) fn header(&self) -> &AtomicU64 {
        &self.next
    }

    /// The page's place in its chain, counted from 0.
    #[inline(always)]
    pub(crate) fn place(&self) -> usize {
        let bits = self.first_obj_offset.load(Ordering::Relaxed) & PlaceBits::MASK;
        u32_to_usize(bits >> PlaceBits::OFFSET_BITS)
    }

    /// Where the first object that begins on the page does, in bytes; its last byte if none does.
    #[cfg(CONFIG_COMPACTION)]
    #[inline(always)]
    pub(crate) fn first_object(&self) -> usize {
        let bits = self.first_obj_offset.load(Ordering::Relaxed);
        u32_to_usize(bits) & ((1 << PlaceBits::OFFSET_BITS) - 1)
    }

    /// Types the page (`__zpdesc_set_zsmalloc`), and writes its place in its chain and where the
    /// first object that begins on it does, in bytes.
    pub(crate) fn set_zsmalloc(&self, place: usize, first_obj_offset: usize) {
        let bits = (place << PlaceBits::OFFSET_BITS) | (first_obj_offset & (PAGE_SIZE - 1));
        // It always fits, by the assertions on `PlaceBits`.
        self.set_place_bits(u32::try_from(bits).unwrap_or(0));
    }

    /// Types the page and writes the owner's bits.
    fn set_place_bits(&self, bits: u32) {
        let typed = bindings::ZPDESC_TYPE | (bits & PlaceBits::MASK);
        self.first_obj_offset.store(typed, Ordering::Relaxed);
    }

    /// Clears type and owner's bits (`__zpdesc_clear_zsmalloc`).
    fn clear_zsmalloc(&self) {
        self.first_obj_offset.store(NO_TYPE, Ordering::Relaxed);
    }

    /// Marks the first page of a chain (`zpdesc_set_first`).
    pub(crate) fn set_first(&self) {
        // Relaxed: the flag is the owner's, and guards nothing.
        self.flags.fetch_or(FIRST, Ordering::Relaxed);
    }

    /// Clears the mark of [`Self::set_first`] (`zpdesc_clear_first`).
    fn clear_first(&self) {
        if self.place() == 0 {
            // Relaxed: as in `set_first`.
            self.flags.fetch_and(!FIRST, Ordering::Relaxed);
        }
    }

    /// Leaves nothing of ours behind (`reset_zpdesc`).
    pub(crate) fn reset(&self) {
        self.clear_first();
        self.zspage.store(null_mut(), Ordering::Relaxed);
        self.next.store(0, Ordering::Relaxed);
        self.clear_zsmalloc();
    }

    /// The zone that the page lies in (`zpdesc_zone`).
    pub(crate) fn zone(&self) -> Zone {
        // SAFETY: The page is ours, and its zone bits never change.
        Zone(unsafe { bindings::page_zone(self.page()) })
    }

    /// The page is in the same zone as `other`. False also for some that are: in other sections of
    /// it.
    #[inline(always)]
    pub(crate) fn is_in_zone_of(&self, other: &Self) -> bool {
        // Relaxed: a page's zone never changes.
        let bits =
            |zpdesc: &Self| zpdesc.flags.load(Ordering::Relaxed) >> bindings::ZPDESC_ZONE_SHIFT;
        (bits(self) ^ bits(other)) & bindings::ZPDESC_ZONE_MASK == 0
    }

    /// Makes the page movable with `ops` (`__zpdesc_set_movable`); it is held, nobody else knows
    /// it, or the migration core has it locked for us.
    #[cfg(CONFIG_COMPACTION)]
    pub(crate) fn set_movable(&self, ops: &'static bindings::movable_operations) {
        let ops: *const bindings::movable_operations = ops;
        let mapping = addr_of(ops) | MAPPING_MOVABLE;
        // Relaxed: who holds the page lets go of it with Release, as with `__SetPageMovable()`.
        self.movable_ops.store(mapping, Ordering::Relaxed);
    }

    /// Makes the page unmovable; it is locked. It keeps the mark of a page that was movable, which
    /// the core looks for when it puts back an isolated page.
    pub(crate) fn clear_movable(&self) {
        #[cfg(CONFIG_COMPACTION)]
        if self.movable_ops.load(Ordering::Relaxed) & MAPPING_MOVABLE != 0 {
            // Relaxed: guarded by the page's lock, as in `__ClearPageMovable()`.
            self.movable_ops.store(MAPPING_MOVABLE, Ordering::Relaxed);
        }
    }

    /// Makes the page, which is held, unmovable for good, resets it and lets go of it. False if
    /// somebody else has a reference to it, and may have isolated it.
    #[inline(always)]
    #[must_use]
    pub(crate) fn retire(&self) -> bool {
        if self.is_frozen() {
            #[cfg(CONFIG_COMPACTION)]
            self.movable_ops.store(0, Ordering::Relaxed);
            self.reset();
            self.unfreeze();
            true
        } else {
            self.clear_movable();
            self.reset();
            self.unlock();
            false
        }
    }

    /// Holds the page, so that nobody isolates or replaces it: freezes its references
    /// (`page_ref_freeze()`), or takes the page lock (`zpdesc_trylock`) if there are more than
    /// ours. False if somebody has that. Any context.
    ///
    /// One at a time holds a page: under its class's lock, or because nobody else of ours knows it.
    #[must_use]
    pub(crate) fn try_hold(&self) -> bool {
        let references = &self.refcount;
        // Acquire: pairs with the Release of whoever gave up the reference before.
        let frozen = references.compare_exchange(1, 0, Ordering::Acquire, Ordering::Relaxed);
        // Acquire: pairs with the Release of `folio_unlock()`.
        frozen.is_ok() || self.flags.fetch_or(LOCKED, Ordering::Acquire) & LOCKED == 0
    }

    /// Lets go of the page, which is held.
    pub(crate) fn let_go(&self) {
        if self.is_frozen() {
            self.unfreeze();
        } else {
            self.unlock();
        }
    }

    /// The page is held without its lock: there are no references.
    #[inline(always)]
    fn is_frozen(&self) -> bool {
        // Relaxed: nobody but who holds the page changes that.
        self.refcount.load(Ordering::Relaxed) == 0
    }

    /// Makes our reference to the page, which is frozen, one again (`page_ref_unfreeze()`).
    fn unfreeze(&self) {
        // Release: pairs with the Acquire of whoever gets a reference next, who sees what was done.
        self.refcount.store(1, Ordering::Release);
    }

    /// Releases the page lock (`zpdesc_unlock`), which the caller holds.
    fn unlock(&self) {
        // SAFETY: The page is ours and locked; it is a folio of its own.
        unsafe { bindings::folio_unlock(self.page().cast()) };
    }

    /// Takes a reference (`zpdesc_get`). The page is not frozen.
    pub(crate) fn get(&self) -> ZpdescRef {
        // SAFETY: The page has a reference already, ours or the core's, and is no tail page.
        unsafe { bindings::page_ref_inc(self.page()) };
        // INVARIANT: just taken.
        ZpdescRef(self.page())
    }

    /// Takes over all that `old` is and holds: the contents, the place in the chain, the zspage.
    ///
    /// Both pages are locked by the migration core; `old` is movable with `ops`, and no object on
    /// it is in use.
    #[cfg(CONFIG_COMPACTION)]
    pub(crate) fn take_over(&self, old: &Self, ops: &'static bindings::movable_operations) {
        let place_bits = old.first_obj_offset.load(Ordering::Relaxed);
        self.first_obj_offset.store(place_bits, Ordering::Relaxed);
        self.zspage.store(old.zspage(), Ordering::Relaxed);
        let next = old.next.load(Ordering::Relaxed);
        self.next.store(next, Ordering::Relaxed);
        if old.place() == 0 {
            self.set_first();
        }
        let from = old.address().as_ptr();
        let to = from.wrapping_byte_add(self.distance_from(old));
        // SAFETY: Both are whole pages of ours, and nobody else accesses them.
        unsafe { bindings::zsrs_copy_page(to.cast(), from.cast()) };
        if cfg!(CONFIG_KMSAN) {
            // SAFETY: KMSAN's knowledge of the contents goes with them.
            unsafe { bindings::kmsan_copy_page_meta(self.page(), old.page()) };
        }
        self.set_movable(ops);
    }

    /// Gives up our reference (`zpdesc_put`). Others may have one, too; the last one frees the
    /// page.
    ///
    /// Not with `put_page()`, which reads `lru` to see whether it is a tail page: whoever has
    /// isolated the page has it on a list by that.
    ///
    /// # Safety
    ///
    /// The page must have been reset, and nobody of ours may use it any more.
    pub(crate) unsafe fn put(&self) {
        // SAFETY: One reference is ours, and nobody of ours uses the page after this. It is a folio
        // of its own.
        unsafe { bindings::folio_put(self.page().cast()) };
    }

    /// Links the page, which was frozen when it was retired, to another such page, for
    /// [`Self::free_to`].
    #[inline(always)]
    pub(crate) fn link_to(&self, next: &Self) {
        let [link, _] = &self.lru;
        link.store(addr_of(&next.lru), Ordering::Relaxed);
    }

    /// Gives pages back to the page allocator: this one and those that it is linked to, up to
    /// `last`.
    ///
    /// Neither with `put_page()` nor with `release_pages()`, which look for memory cgroups and the
    /// LRU.
    ///
    /// # Safety
    ///
    /// As for [`Self::put`], for all of them.
    pub(crate) unsafe fn free_to(&self, last: &Self) {
        let mut list = bindings::list_head {
            next: ptr_at(addr_of(&self.lru)),
            prev: ptr_at(addr_of(&last.lru)),
        };
        let [link, _] = &last.lru;
        link.store(addr_of(&list), Ordering::Relaxed);
        // SAFETY: The pages are linked from the list's head to itself, by what comes next, which is
        // all that is followed. One reference to each is ours, and nobody of ours uses them after
        // this.
        unsafe { bindings::put_pages_list(&mut list) };
    }
}

/// Set in `mapping` of pages that are movable, or were: `PAGE_MAPPING_MOVABLE`.
#[cfg(CONFIG_COMPACTION)]
const MAPPING_MOVABLE: usize = bindings::ZPDESC_MAPPING_MOVABLE;
#[cfg(CONFIG_COMPACTION)]
const _: () = assert!(core::mem::align_of::<bindings::movable_operations>() > MAPPING_MOVABLE);

/// A reference to a page, which may cease to be ours meanwhile.
///
/// # Invariants
///
/// The page has a reference that belongs to this value.
pub(crate) struct ZpdescRef(*mut bindings::page);

impl ZpdescRef {
    /// Waits until the page is unlocked. May sleep.
    pub(crate) fn wait_unlocked(&self) {
        // SAFETY: The page lives, by the invariant, and is a folio of its own.
        unsafe { bindings::folio_wait_locked(self.0.cast()) };
    }

    /// Leaves the reference to whom the page now belongs.
    #[cfg(CONFIG_COMPACTION)]
    pub(crate) fn keep(self) {
        core::mem::forget(self);
    }
}

impl Drop for ZpdescRef {
    fn drop(&mut self) {
        // SAFETY: The reference is ours, by the invariant. The page is a folio of its own.
        unsafe { bindings::folio_put(self.0.cast()) };
    }
}

/// A memory zone.
#[derive(Clone, Copy)]
pub(crate) struct Zone(*mut bindings::zone);

impl Zone {
    /// Adds to the zone's count of our pages, `NR_ZSPAGES`.
    pub(crate) fn add_zspages(self, pages: isize) {
        // SAFETY: It is the zone of a page, and lives for ever.
        unsafe {
            bindings::zsrs_mod_zone_page_state(self.0, bindings::zone_stat_item_NR_ZSPAGES, pages)
        };
    }
}

/// Can one range of addresses cover the end of `first` and the start of `second`?
///
/// False where addresses are continuous but something beside them is not: KMSAN's shadow, KASAN's
/// tags, of which each page has its own and scatterlists restore that of the first, or the array of
/// descriptors, which scatterlists walk. Without VMEMMAP that ends with each section.
#[inline(always)]
pub(crate) fn are_adjacent(first: &Zpdesc, second: &Zpdesc) -> bool {
    let size = size_of::<bindings::page>();
    !cfg!(any(
        CONFIG_KMSAN,
        CONFIG_KASAN_HW_TAGS,
        CONFIG_KASAN_SW_TAGS
    )) && addr_of(first.page()).wrapping_add(size) == addr_of(second.page())
        && (cfg!(CONFIG_SPARSEMEM_VMEMMAP) || first.pfn().wrapping_add(1) == second.pfn())
}
