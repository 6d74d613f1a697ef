// SPDX-License-Identifier: GPL-2.0

//! The pages of one zspage: allocated together, linked, and freed together.

use crate::kapi::{
    gfp::Gfp,
    movable,
    page_alloc::{self, Page},
};
use crate::logic::conv::u8_to_usize;
use crate::zpdesc_rs::{are_adjacent, Zpdesc, MAX_PAGES};
use core::{
    cell::Cell,
    ptr::{null_mut, NonNull},
    sync::atomic::{AtomicU32, Ordering},
};

/// The pages of one zspage, in order.
///
/// # Invariants
///
/// `first` is the first of a chain of 1 to [`MAX_PAGES`] pages that are allocated, typed zsmalloc,
/// counted in `NR_ZSPAGES`, and owned by this value.
pub(super) struct Chain {
    /// The first page. Changes only under the owning class's lock.
    first: Cell<First>,
    /// The page holds one huge object: there is no link, but a header in its place.
    huge: bool,
    /// How many pages were allocated physically adjacent to the one before.
    adjacent: u8,
}

// SAFETY: It owns its pages; `first` changes only under the owning class's lock.
unsafe impl Send for Chain {}

/// The first page of a chain: its physical address in bytes, and [`RANGE`](Self::RANGE).
#[derive(Clone, Copy)]
struct First(u64);

impl First {
    /// All pages of the chain can be addressed as one range.
    const RANGE: u64 = 1;

    /// The first page, of a chain that is one range or not.
    fn new(zpdesc: &Zpdesc, range: bool) -> Self {
        Self(zpdesc.phys() | if range { Self::RANGE } else { 0 })
    }

    /// Physical address of the page.
    #[inline(always)]
    fn phys(self) -> u64 {
        self.0 & !Self::RANGE
    }

    /// The same page of a chain that is no range any more.
    #[cfg(CONFIG_COMPACTION)]
    fn without_range(self) -> Self {
        Self(self.phys())
    }

    /// Where the range begins, if it is one.
    #[inline(always)]
    fn range(self) -> Option<u64> {
        (self.0 & Self::RANGE != 0).then(|| self.0.wrapping_sub(Self::RANGE))
    }
}

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
    /// Allocates a chain of `nr` pages (1 to [`MAX_PAGES`]). Sleeps only if `gfp` allows it.
    ///
    /// `first_offset` tells where on each page the first object begins, in bytes.
    pub(super) fn alloc(
        gfp: Gfp,
        nr: usize,
        huge: bool,
        first_offset: impl Fn(usize) -> usize,
    ) -> Option<Self> {
        let mut pages = [null_mut(); MAX_PAGES];
        let pages = pages.get_mut(..nr)?;
        if !Self::fill(gfp.for_objects(), pages) {
            return None;
        }
        let mut prev: Option<&Zpdesc> = None;
        let mut first = None;
        let mut adjacent = 0u8;
        for (place, page) in pages.iter().enumerate() {
            // SAFETY: `fill` has filled the array with pages, which are ours until they are freed.
            let zpdesc: &Zpdesc = unsafe { Zpdesc::from_page(NonNull::new(*page)?) };
            zpdesc.set_zsmalloc(place, first_offset(place));
            zpdesc.set_next(None);
            match prev {
                Some(prev) => {
                    prev.set_next(Some(zpdesc));
                    adjacent = adjacent.wrapping_add(u8::from(are_adjacent(prev, zpdesc)));
                }
                None => {
                    zpdesc.set_first();
                    first = Some(zpdesc);
                }
            }
            prev = Some(zpdesc);
        }
        let contiguous = u8_to_usize(adjacent).wrapping_add(1) == nr;
        // INVARIANT: all pages are ours, typed and linked; they are counted below.
        let chain = Self {
            first: Cell::new(First::new(first?, contiguous)),
            huge,
            adjacent,
        };
        if nr > 1 {
            SCATTER.chain_allocated(contiguous);
        }
        chain.count(1);
        Some(chain)
    }

    /// Allocates pages, adjacent ones if that takes little effort.
    ///
    /// As long as memory is in order, pages that are allocated together are adjacent. Once they are
    /// not, a block is worth its price: what is left of it goes back.
    fn fill(gfp: Gfp, pages: &mut [*mut Page]) -> bool {
        let block = pages.len() > 1 && SCATTER.is_worth_a_block();
        (block && page_alloc::fill_adjacent(gfp, pages)) || page_alloc::fill(gfp, pages)
    }

    /// How many pages were allocated physically adjacent to the one before.
    pub(super) fn adjacent(&self) -> u8 {
        self.adjacent
    }

    /// The first page.
    #[inline(always)]
    fn first(&self) -> &Zpdesc {
        // SAFETY: The first page of the chain is ours, by the invariant.
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
        if self.huge {
            None
        } else {
            zpdesc.next()
        }
    }

    /// The page at `place`, counted from 0; the last one if the chain is shorter.
    #[inline(always)]
    pub(super) fn page(&self, place: usize) -> &Zpdesc {
        let mut zpdesc = self.first();
        // There is no link in the page of a huge object, which is the last too.
        let steps = if self.huge { 0 } else { place };
        for _ in 0..steps {
            let Some(next) = zpdesc.next() else {
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

    /// Makes every page movable with the operations of `T`. From then on the pages may be replaced
    /// at any time that their class's lock is not held.
    ///
    /// A page whose lock somebody has (memory failure may) stays unmovable.
    pub(super) fn set_movable<T: movable::Operations>(&self) {
        #[cfg(CONFIG_COMPACTION)]
        {
            let mut next = Some(self.first());
            while let Some(zpdesc) = next {
                // Before it is movable: a page that was replaced links to nothing.
                next = self.after(zpdesc);
                if zpdesc.try_lock() {
                    zpdesc.set_movable(movable::Table::<T>::OPS);
                    zpdesc.unlock();
                }
            }
        }
    }

    /// The page before `zpdesc`, which is one of these.
    #[cfg(CONFIG_COMPACTION)]
    #[inline(always)]
    pub(super) fn before(&self, zpdesc: &Zpdesc) -> Option<&Zpdesc> {
        zpdesc.place().checked_sub(1).map(|place| self.page(place))
    }

    /// Puts `new` in the place of `old`, which is one of these pages and comes after `prev`, with all
    /// that `old` holds. The class's lock is held, and the LOCK of every object that has a byte on the
    /// page. Returns the page after.
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
        // INVARIANT: `new` may have become the first page of the chain. It is no range any more, unless
        // it was the only page.
        let first = match prev {
            None => First::new(new, next.is_none()),
            Some(prev) => {
                prev.set_next(Some(new));
                self.first.get().without_range()
            }
        };
        self.first.set(first);
        next
    }

    /// Locks all pages, or none: then the first whose lock somebody has is returned.
    pub(super) fn try_lock(&self) -> Result<(), &Zpdesc> {
        for (locked, zpdesc) in self.iter().enumerate() {
            if !zpdesc.try_lock() {
                self.iter().take(locked).for_each(Zpdesc::unlock);
                return Err(zpdesc);
            }
        }
        Ok(())
    }

    /// Makes the pages, all locked by [`Self::try_lock`], unmovable, and releases the locks.
    pub(super) fn unlock_unmovable(&self) {
        for zpdesc in self.iter() {
            zpdesc.clear_movable();
            zpdesc.unlock();
        }
    }

    /// Adds `sign` for each page to the zones' `NR_ZSPAGES`: one call for pages of one zone.
    fn count(&self, sign: isize) {
        let mut run: isize = 0;
        let mut first = self.first();
        for zpdesc in self.iter() {
            if !zpdesc.shares_zone(first) {
                first.zone().add_zspages(run);
                first = zpdesc;
                run = 0;
            }
            run = run.wrapping_add(sign);
        }
        first.zone().add_zspages(run);
    }

    /// Takes the pages out of our hands without freeing them: nothing in them refers to us any
    /// more, and nobody will use them again. They are unmovable.
    ///
    /// For objects that are still allocated when their pool is destroyed.
    pub(super) fn leak(self) {
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
    /// Gives the pages back; they are unmovable. Any context that may free pages, not under a class's
    /// lock.
    fn drop(&mut self) {
        // Before the pages are freed: their zones must not change in between.
        self.count(-1);
        // SAFETY: The chain was the only owner, by the invariant, and the page is reset.
        self.release(|zpdesc| unsafe { zpdesc.free() });
    }
}
