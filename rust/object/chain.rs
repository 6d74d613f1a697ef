// SPDX-License-Identifier: GPL-2.0

//! The pages of one zspage: linked, allocated together and freed together, except for the last
//! ones.

use super::counted::{Come, Gone};
#[cfg(CONFIG_COMPACTION)]
use crate::kapi::movable;
use crate::kapi::{
    gfp::Gfp,
    page_alloc::{self, Page},
};
use crate::logic::conv::{u64_to_usize, usize_to_u64};
use crate::zpdesc_rs::{are_adjacent, Zpdesc, MAX_PAGES, PAGE_SHIFT};
use core::{
    cell::Cell,
    mem::ManuallyDrop,
    ops::Range,
    ptr::{null_mut, NonNull},
    sync::atomic::{AtomicU32, Ordering},
};

/// The pages of one zspage, in order; or some that leave one, or are to come to it.
///
/// # Invariants
///
/// `first` is the first of a chain of 1 to [`MAX_PAGES`] pages that are allocated, typed zsmalloc,
/// counted in `NR_ZSPAGES`, and owned by this value; or, once they were freed, says that there are
/// none.
pub(super) struct Chain {
    /// The first page, and what the chain is like. Changes only under the owning class's lock, or
    /// by who frees it and is the only one to know it.
    first: Cell<First>,
}

// SAFETY: It owns its pages; `first` changes only as said there.
unsafe impl Send for Chain {}

/// The first page of a chain: its physical address in bytes. The bits below a page's size hold the
/// number of pages, [`RANGE`](Self::RANGE), [`HUGE`](Self::HUGE) and [`HELD`](Self::HELD).
#[derive(Clone, Copy)]
struct First(u64);

impl First {
    /// All pages of the chain can be addressed as one range.
    const RANGE: u64 = 1;
    /// The page holds one huge object: there is no link, but a header in its place.
    const HUGE: u64 = 2;
    /// The pages are held for good.
    const HELD: u64 = 4;
    /// There are no pages any more.
    const NONE: Self = Self(0);
    /// Where the number of pages lies.
    const PAGES_SHIFT: u32 = 4;
    /// All that is not the address.
    const MASK: u64 = (1 << PAGE_SHIFT) - 1;

    /// The first page of a chain of `pages` pages that is one range or not, huge or not.
    fn new(zpdesc: &Zpdesc, pages: usize, range: bool, huge: bool) -> Self {
        let range = if range { Self::RANGE } else { 0 };
        let huge = if huge { Self::HUGE } else { 0 };
        let pages = usize_to_u64(pages) << Self::PAGES_SHIFT;
        Self(zpdesc.phys() | pages | range | huge)
    }

    /// Physical address of the page.
    #[inline(always)]
    fn phys(self) -> u64 {
        self.0 & !Self::MASK
    }

    /// Pages of the chain.
    #[inline(always)]
    fn pages(self) -> usize {
        u64_to_usize((self.0 & Self::MASK) >> Self::PAGES_SHIFT)
    }

    /// It is a page of a huge object.
    #[inline(always)]
    fn is_huge(self) -> bool {
        self.0 & Self::HUGE != 0
    }

    /// The pages are held for good.
    #[inline(always)]
    fn is_held(self) -> bool {
        self.0 & Self::HELD != 0
    }

    /// The page after `zpdesc`, one of the chain. There is no link in the page of a huge object.
    #[inline(always)]
    fn after(self, zpdesc: &Zpdesc) -> Option<&Zpdesc> {
        if self.is_huge() {
            None
        } else {
            // SAFETY: Not that of a huge object.
            unsafe { zpdesc.next() }
        }
    }

    /// The same chain, its pages held for good.
    #[inline(always)]
    fn held(self) -> Self {
        Self(self.0 | Self::HELD)
    }

    /// The same page of a chain that is no range any more.
    #[cfg(CONFIG_COMPACTION)]
    fn without_range(self) -> Self {
        Self(self.0 & !Self::RANGE)
    }

    /// Where the range begins, if it is one.
    #[inline(always)]
    fn range(self) -> Option<u64> {
        (self.0 & Self::RANGE != 0).then(|| self.phys())
    }
}
const _: () = assert!(MAX_PAGES << First::PAGES_SHIFT < 1 << PAGE_SHIFT);

/// How scattered free memory is, to judge by the latest chains. A guess: it is changed without a
/// lock, and all pools share it.
struct Scatter(AtomicU32);

/// See [`Scatter`].
static SCATTER: Scatter = Scatter(AtomicU32::new(0));

impl Scatter {
    /// What a chain with pages apart adds.
    const STEP: u32 = 8;
    /// From here on blocks are tried.
    const BLOCKS: u32 = 2 * Self::STEP;
    /// The most; so often blocks are tried before other ways are again.
    const MOST: u32 = 8 * Self::STEP;

    /// Pages are better taken in blocks.
    fn is_worth_a_block(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= Self::BLOCKS
    }

    /// Records a chain of more than one page.
    fn chain_allocated(&self, all_adjacent: bool) {
        let before = self.0.load(Ordering::Relaxed);
        let after = if all_adjacent {
            before.saturating_sub(1)
        } else {
            before.wrapping_add(Self::STEP).min(Self::MOST)
        };
        if after != before {
            self.0.store(after, Ordering::Relaxed);
        }
    }
}

impl Chain {
    /// Allocates pages for these places (1 to [`MAX_PAGES`] of them) in a zspage, of a huge object
    /// or not. Sleeps only if `gfp` allows it. Returns how many are physically adjacent to the one
    /// before, too.
    ///
    /// `first_offset` tells where on each page the first object begins, in bytes.
    pub(super) fn alloc(
        gfp: Gfp,
        places: Range<usize>,
        huge: bool,
        first_offset: impl Fn(usize) -> usize,
    ) -> Option<(Self, usize)> {
        let mut pages = [null_mut(); MAX_PAGES];
        let pages = pages.get_mut(..places.len())?;
        if !Self::fill(gfp.for_objects(), pages) {
            return None;
        }
        let nr = pages.len();
        let mut prev: Option<&Zpdesc> = None;
        let mut first = None;
        let mut adjacent: usize = 0;
        for (page, place) in pages.iter().zip(places) {
            // SAFETY: `fill` has filled the array with pages, which are ours until they are freed.
            let zpdesc: &Zpdesc = unsafe { Zpdesc::from_page(NonNull::new(*page)?) };
            zpdesc.set_zsmalloc(place, first_offset(place));
            zpdesc.set_next(None);
            if place == 0 {
                zpdesc.set_first();
            }
            match prev {
                Some(prev) => {
                    prev.set_next(Some(zpdesc));
                    adjacent = adjacent.wrapping_add(usize::from(are_adjacent(prev, zpdesc)));
                }
                None => first = Some(zpdesc),
            }
            prev = Some(zpdesc);
        }
        let contiguous = adjacent.wrapping_add(1) == nr;
        // INVARIANT: all pages are ours, typed and linked; they are counted below.
        let chain = Self {
            first: Cell::new(First::new(first?, nr, contiguous, huge)),
        };
        if nr > 1 {
            SCATTER.chain_allocated(contiguous);
        }
        let mut come = Come::new();
        chain.iter().for_each(|zpdesc| come.add(zpdesc));
        drop(come);
        Some((chain, adjacent))
    }

    /// Allocates pages, adjacent ones if that takes little effort.
    ///
    /// As long as memory is in order, pages that are allocated together are adjacent. Once they are
    /// not, a block is worth its price: what is left of it goes back.
    fn fill(gfp: Gfp, pages: &mut [*mut Page]) -> bool {
        let block = pages.len() > 1 && SCATTER.is_worth_a_block();
        (block && page_alloc::fill_adjacent(gfp, pages)) || page_alloc::fill(gfp, pages)
    }

    /// Its pages.
    #[inline(always)]
    pub(super) fn pages(&self) -> usize {
        self.first.get().pages()
    }

    /// The first page. There are pages, as long as nobody has freed them.
    #[inline(always)]
    pub(super) fn first(&self) -> &Zpdesc {
        // SAFETY: The first page of a chain that has pages is ours, by the invariant.
        unsafe { Zpdesc::from_phys(self.first.get().phys()) }
    }

    /// Physical address of the first page's first byte, if all pages can be addressed as one range.
    #[inline(always)]
    pub(super) fn range(&self) -> Option<u64> {
        self.first.get().range()
    }

    /// All pages, in order.
    fn iter(&self) -> impl Iterator<Item = &Zpdesc> {
        core::iter::successors(Some(self.first()), |zpdesc| self.after(zpdesc))
    }

    /// The page after `zpdesc`.
    #[inline(always)]
    fn after<'a>(&self, zpdesc: &'a Zpdesc) -> Option<&'a Zpdesc> {
        self.first.get().after(zpdesc)
    }

    /// The page at `place`, counted from 0; the last one if the chain is shorter.
    #[inline(always)]
    pub(super) fn page(&self, place: usize) -> &Zpdesc {
        let mut zpdesc = self.first();
        // There is no link in the page of a huge object, which is the last too.
        let steps = if self.first.get().is_huge() { 0 } else { place };
        for _ in 0..steps {
            // SAFETY: Not that of a huge object, for which there are no steps.
            let Some(next) = (unsafe { zpdesc.next() }) else {
                break;
            };
            zpdesc = next;
        }
        zpdesc
    }

    /// Makes every page point to its zspage.
    pub(super) fn set_zspage<T>(&self, zspage: NonNull<T>) {
        for zpdesc in self.iter() {
            zpdesc.set_zspage(zspage.as_ptr());
        }
    }

    /// Makes the pages from place `from` on movable with the operations of `T`. From then on they
    /// may be replaced at any time that their class's lock is not held.
    ///
    /// A page whose lock somebody has (memory failure may) stays unmovable.
    #[cfg(CONFIG_COMPACTION)]
    pub(super) fn set_movable<T: movable::Operations>(&self, from: usize) {
        // Not looked at again: once the first page is movable, it may change.
        let chain = self.first.get();
        let mut next = self.iter().nth(from);
        while let Some(zpdesc) = next {
            // Before it is movable: a page that was replaced links to nothing.
            next = chain.after(zpdesc);
            if zpdesc.try_hold() {
                zpdesc.set_movable(movable::Table::<T>::OPS);
                zpdesc.let_go();
            }
        }
    }

    /// The page before `zpdesc`, which is one of these.
    #[cfg(CONFIG_COMPACTION)]
    #[inline(always)]
    pub(super) fn before(&self, zpdesc: &Zpdesc) -> Option<&Zpdesc> {
        zpdesc.place().checked_sub(1).map(|place| self.page(place))
    }

    /// Puts `new` in the place of `old`, which is one of these pages and comes after `prev`, with
    /// all that `old` holds. The class's lock is held, and the LOCK of every object that has a byte
    /// on the page. Returns the page after.
    #[cfg(CONFIG_COMPACTION)]
    #[inline(always)]
    pub(super) fn replace<'c, T: movable::Operations>(
        &'c self,
        prev: Option<&Zpdesc>,
        old: &Zpdesc,
        new: &'c Zpdesc,
    ) -> Option<&'c Zpdesc> {
        new.take_over(old, movable::Table::<T>::OPS);
        let next = self.after(new);
        // INVARIANT: `new` may have become the first page of the chain. It is no range any more,
        // unless it was the only page.
        let was = self.first.get();
        let first = match prev {
            None => First::new(new, was.pages(), next.is_none(), was.is_huge()),
            Some(prev) => {
                prev.set_next(Some(new));
                was.without_range()
            }
        };
        self.first.set(first);
        next
    }

    /// Cuts the chain after its first `kept` pages; there is at least one on either side. Those cut
    /// off are held, for good. The class's lock is held, too.
    pub(super) fn split_off(&self, kept: usize) -> Option<Self> {
        let last = self.page(kept.checked_sub(1)?);
        let tail = self.after(last)?;
        let was = self.first.get();
        let gone = was.pages().wrapping_sub(kept);
        last.set_next(None);
        // INVARIANT: each has the pages that are linked. One page is always a range.
        let range = kept == 1 || was.range().is_some();
        self.first.set(First::new(self.first(), kept, range, false));
        Some(Self {
            first: Cell::new(First::new(tail, gone, false, false).held()),
        })
    }

    /// Appends pages, which were allocated for the places after its own. The class's lock is held.
    pub(super) fn append(&self, more: Self) {
        let more = ManuallyDrop::new(more);
        let (was, added) = (self.first.get(), more.first.get());
        let last = self.page(was.pages().wrapping_sub(1));
        let range =
            was.range().is_some() && added.range().is_some() && are_adjacent(last, more.first());
        last.set_next(Some(more.first()));
        let pages = was.pages().wrapping_add(added.pages());
        // INVARIANT: the pages of `more` are this chain's now.
        self.first
            .set(First::new(self.first(), pages, range, false));
    }

    /// Holds all pages from place `from` on, or none: then the first whose lock somebody has is
    /// returned.
    #[inline(always)]
    pub(super) fn try_hold(&self, from: usize) -> Result<(), &Zpdesc> {
        let chain = self.first.get();
        let mut next = Some(self.page(from));
        while let Some(zpdesc) = next {
            if !zpdesc.try_hold() {
                let held = self.iter().skip(from);
                held.take_while(|other| !core::ptr::eq(*other, zpdesc))
                    .for_each(Zpdesc::let_go);
                return Err(zpdesc);
            }
            next = chain.after(zpdesc);
        }
        Ok(())
    }

    /// Lets go of the pages from place `from` on, all held by [`Self::try_hold`].
    pub(super) fn let_go(&self, from: usize) {
        self.iter().skip(from).for_each(Zpdesc::let_go);
    }

    /// From now on the pages, all held by [`Self::try_hold`], are never let go of: they are only
    /// freed.
    #[inline(always)]
    pub(super) fn keep_held(&self) {
        self.first.set(self.first.get().held());
    }

    /// Gives the pages back. None are left.
    ///
    /// Any context that may free pages, not under a class's lock.
    ///
    /// # Safety
    ///
    /// The pages are held for good, or were never movable, and nobody else uses the chain.
    #[inline(always)]
    pub(super) unsafe fn free(&self, gone: &mut Gone<'_>) {
        let chain = self.first.replace(First::NONE);
        // SAFETY: The first page of a chain that has pages is ours, by the invariant.
        let mut next: Option<&Zpdesc> =
            (chain.pages() != 0).then(|| unsafe { Zpdesc::from_phys(chain.phys()) });
        while let Some(zpdesc) = next {
            next = chain.after(zpdesc);
            let was_frozen = if chain.is_held() {
                zpdesc.retire()
            } else {
                zpdesc.reset();
                false
            };
            if was_frozen {
                // SAFETY: The chain was the only owner, by the invariant, and forgets the page.
                unsafe { gone.add(zpdesc) };
            } else {
                // SAFETY: The chain was the only owner of ours, by the invariant, and forgets the
                // page.
                unsafe { Gone::put(zpdesc) };
            }
        }
    }

    /// [`Self::free`] for one that is dropped.
    #[cold]
    #[inline(never)]
    fn free_alone(&self) {
        // SAFETY: It is the owner's, who drops pages that are held or were never movable.
        unsafe { self.free(&mut Gone::new()) };
    }
}

impl Drop for Chain {
    /// As [`Chain::free`], if there are pages left.
    #[inline(always)]
    fn drop(&mut self) {
        if self.pages() != 0 {
            self.free_alone();
        }
    }
}
