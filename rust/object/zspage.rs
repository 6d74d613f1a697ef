// SPDX-License-Identifier: GPL-2.0

//! Zspages: chains of pages with the slots of one size class.
//!
//! A zspage begins as a [`ZspageBox`], which nobody else knows. Then it is on a list of its class,
//! its `Owner`, whose lock guards all fields; they are cells, so `&Zspage` cannot leave the task
//! that holds the lock. While it is under reclaim it is on no list, but the lock still guards it.
//! It ends as [`Doomed`], with all its pages held.

use super::{
    chain::Chain,
    handle::Handle,
    list::{Listed, Place},
    migrate::{Migrate, Movable},
    ring::{Linked, Links},
    slot::{handle_in, Slot},
};
use crate::kapi::{
    gfp::Gfp,
    kmem_cache::{KmemCache, SlabBox},
};
use crate::logic::{
    conv::{u16_to_u32, u32_to_u64, u64_to_usize, usize_to_u64},
    freelist::Slots,
    fullness::{Group, EMPTY},
    header::Header,
    size_class::Geometry,
    span::{first_offset, start_at, Span},
    word::{Word, ADDR_SHIFT},
};
use crate::zpdesc_rs::{are_adjacent, Zpdesc, ZpdescRef, PAGE_SHIFT, PAGE_SIZE};
use core::{
    cell::Cell,
    mem::{ManuallyDrop, MaybeUninit},
    ops::Range,
    ptr::NonNull,
};

/// Size of a page in bytes.
const PAGE_BYTES: u64 = usize_to_u64(PAGE_SIZE);

/// A chain of pages with the slots of one size class.
///
/// # Invariants
///
/// `owner` outlives the zspage: it owns the lists that the zspage is on. The `zspage` field of
/// every page of `chain` points here.
pub(crate) struct Zspage<Owner> {
    /// Its place on the list of its group.
    by_fullness: Place<Self>,
    /// Its place in the order of use. Guarded by the lock of [`Lru`](super::lru::Lru).
    by_age: Links<Self>,
    /// Its size class.
    owner: NonNull<Owner>,
    /// Its pages.
    chain: Chain,
    /// Which slots are free.
    slots: Slots,
    /// The list it is on.
    group: Cell<Group>,
    /// Whether it is under reclaim.
    reclaim: Cell<Reclaim>,
}

/// Whether a zspage is under reclaim.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reclaim {
    /// It is not: it is on a list.
    Not,
    /// It is: it is on no list, and objects that are freed are only marked.
    Under,
    /// It is, and objects were marked that may not have been looked at yet.
    Freed,
}

impl<Owner> Listed for Zspage<Owner> {
    #[inline(always)]
    fn place(&self) -> &Place<Self> {
        &self.by_fullness
    }
}

impl<Owner> Linked for Zspage<Owner> {
    #[inline(always)]
    fn links(&self) -> &Links<Self> {
        &self.by_age
    }
}

// SAFETY: It is reached under its owner's lock only.
unsafe impl<Owner: Sync> Send for Zspage<Owner> {}

/// Where zspages come from.
pub(crate) type ZspageCache<Owner> = KmemCache<Zspage<Owner>>;

/// A zspage that is on no list yet. Its pages are movable already.
#[must_use = "it belongs on a list of its owner"]
pub(crate) struct ZspageBox<Owner> {
    /// The zspage.
    pub(super) zspage: NonNull<Zspage<Owner>>,
    /// How many of its pages are physically adjacent to the one before.
    adjacent: usize,
}

// SAFETY: Nobody else has the zspage until it is on a list.
unsafe impl<Owner: Sync> Send for ZspageBox<Owner> {}

/// Where on the page at `place` the first object of `class` begins, as descriptors have it.
pub(super) fn first_object(class: &Geometry, place: usize) -> usize {
    first_offset(PAGE_SHIFT, class, place).min(PAGE_SIZE - 1)
}

impl<Owner: Migrate> ZspageBox<Owner> {
    /// Allocates a zspage of class `class` for `owner`, all slots free. Sleeps only if `gfp`
    /// allows it.
    pub(crate) fn new(
        cache: &ZspageCache<Owner>,
        gfp: Gfp,
        owner: &Owner,
        class: &Geometry,
    ) -> Option<Self> {
        let (chain, adjacent) = Chain::alloc(gfp, 0..class.nr_pages(), class.is_huge(), |place| {
            first_object(class, place)
        })?;
        let zspage = Zspage {
            by_fullness: Place::new(),
            by_age: Links::new(),
            owner: NonNull::from(owner),
            chain,
            slots: Slots::new(class),
            group: Cell::new(EMPTY),
            reclaim: Cell::new(Reclaim::Not),
        };
        // Where the slab has no memory, the chain goes back with the value.
        let zspage = cache.alloc(gfp, zspage)?;
        // INVARIANT: the pages point to it.
        zspage.chain.set_zspage(NonNull::from(&*zspage));
        zspage.chain.set_movable::<Movable<Owner>>(0);
        Some(Self {
            zspage: zspage.into_raw(),
            adjacent,
        })
    }

    /// How many of its pages are physically adjacent to the one before.
    pub(crate) fn adjacent_pages(&self) -> usize {
        self.adjacent
    }
}

/// A zspage that is on no list any more, with all its pages held: nobody isolates or replaces
/// them. Dropping it frees the pages: not under a class's lock.
#[must_use]
pub(crate) struct Doomed<Owner>(SlabBox<Zspage<Owner>>);

impl<Owner: Sync> Doomed<Owner> {
    /// Takes a zspage all pages of which can be held, or returns the page that somebody has locked.
    ///
    /// # Safety
    ///
    /// If it succeeds the zspage must be taken off its list, and be used no more.
    pub(super) unsafe fn try_new(zspage: &Zspage<Owner>) -> Result<Self, ZpdescRef> {
        zspage.chain.try_hold(0).map_err(Zpdesc::get)?;
        // SAFETY: It came from a `ZspageBox`, and goes off its list, by this function's contract.
        Ok(Self(unsafe { SlabBox::from_raw(NonNull::from(zspage)) }))
    }

    /// No slot is allocated.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.slots.is_empty()
    }

    /// Pages that it has.
    pub(crate) fn pages(&self) -> usize {
        self.0.pages()
    }

    /// Takes the zspage out of our hands: its objects are still allocated, but their pool is
    /// destroyed. The pages are never used again.
    pub(crate) fn leak(self) {
        let doomed = ManuallyDrop::new(self);
        doomed.0.chain.retire();
        let raw = NonNull::from(&*doomed.0);
        let chain: *const Chain = &doomed.0.chain;
        // SAFETY: Owned until now. Moves the chain out; the slab object is freed as plain memory.
        unsafe { chain.read() }.leak();
        // SAFETY: `raw` is a slab object whose value was moved out: only its memory is freed.
        drop(unsafe { SlabBox::from_raw(raw.cast::<MaybeUninit<Zspage<Owner>>>()) });
    }
}

impl<Owner> Drop for Doomed<Owner> {
    fn drop(&mut self) {
        self.0.chain.retire();
    }
}

impl<Owner> Zspage<Owner> {
    /// The chain of its pages.
    pub(super) fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Whose zspage it is. Never changes.
    #[inline(always)]
    pub(super) fn owner(&self) -> NonNull<Owner> {
        self.owner
    }

    /// It is among the zspages in the order of use. Under the lock of that.
    #[inline(always)]
    pub(super) fn has_age(&self) -> bool {
        self.by_age.are_set()
    }

    /// The list that it is on, unless it is under reclaim.
    #[inline(always)]
    pub(super) fn group(&self) -> &Cell<Group> {
        &self.group
    }

    /// Whether it is under reclaim.
    #[inline(always)]
    pub(crate) fn reclaim(&self) -> &Cell<Reclaim> {
        &self.reclaim
    }
}

impl<Owner: Sync> Zspage<Owner> {
    /// Whose zspage it is.
    ///
    /// # Safety
    ///
    /// The zspage must live.
    pub(super) unsafe fn owner_of<'a>(zspage: NonNull<Self>) -> &'a Owner {
        // SAFETY: It lives, and `owner` never changes.
        let owner = unsafe { zspage.as_ref() }.owner;
        // SAFETY: Owners outlive their zspages, by the invariant.
        unsafe { owner.as_ref() }
    }

    /// The zspage that the page at a physical address belongs to, if that is a zspage of `owner`.
    ///
    /// The caller holds `owner`'s lock, and has the address from the word of a live object.
    #[inline(always)]
    pub(crate) fn at<'g>(owner: &'g Owner, phys: u64) -> Option<(&'g Self, &'g Zpdesc)> {
        // SAFETY: Words of live objects lead to pages of ours.
        let zpdesc: &'g Zpdesc = unsafe { Zpdesc::from_phys(phys) };
        let zspage = NonNull::new(zpdesc.zspage().cast::<Self>())?;
        // SAFETY: Pages of ours point to their zspage; under its owner's lock it stays. A handle of
        // another pool is a caller's bug: that zspage may be freed at this very moment, which the
        // comparison of its former owner will most likely tell.
        let zspage = unsafe { zspage.as_ref() };
        (zspage.owner == NonNull::from(owner)).then_some((zspage, zpdesc))
    }

    /// Its pages.
    pub(crate) fn pages(&self) -> usize {
        self.chain.pages()
    }

    /// Which slots are free.
    #[inline(always)]
    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// The slot of `class` at `start`, which is not beyond the last.
    #[inline(always)]
    pub(crate) fn slot(&self, class: &Geometry, start: u16) -> Slot<'_> {
        let (phys, split) = match self.chain.range() {
            Some(range) => (range.wrapping_add(bytes(start)), false),
            None => self.find_in_pages(class, start),
        };
        // SAFETY: Slots follow each other from the start of the chain.
        unsafe { Slot::at(phys, split, class.is_huge()) }
    }

    /// Where the slot at `start` is, in pages that are not one range, and whether it is split.
    #[inline(never)]
    fn find_in_pages(&self, class: &Geometry, start: u16) -> (u64, bool) {
        let span = Span::of(PAGE_SHIFT, class, start);
        let zpdesc = self.chain.page(span.page);
        let phys = zpdesc.phys() | usize_to_u64(span.offset);
        (phys, span.crosses && !goes_on(zpdesc))
    }

    /// The objects in the slots of `range`, in order. Slots that were never used are left out.
    #[inline(always)]
    pub(crate) fn objects(&self, class: &Geometry, range: Range<u16>) -> Objects<'_> {
        // Above the bump pointer lies what the page held before it was ours.
        let (start, end) = (range.start, range.end.min(self.slots.bump()));
        let size = u32_to_u64(class.size);
        let huge = class.is_huge();
        if let Some(all) = self.chain.range() {
            // INVARIANT: the range is as good as one page.
            return Objects {
                size,
                huge,
                zpdesc: self.chain.page(0),
                next: all.wrapping_add(bytes(start)),
                stop: all.wrapping_add(bytes(end)),
                beyond: 0,
                step: class.step,
                start,
            };
        }
        let span = Span::of(PAGE_SHIFT, class, start);
        let zpdesc = self.chain.page(span.page);
        let page = zpdesc.phys();
        // In bytes from the start of the page that the first slot begins on.
        let before = usize_to_u64(span.page.wrapping_mul(PAGE_SIZE));
        let end = bytes(end).saturating_sub(before);
        // INVARIANT: `span` is where the first slot is.
        Objects {
            size,
            huge,
            zpdesc,
            next: page.wrapping_add(usize_to_u64(span.offset)),
            stop: page.wrapping_add(end.min(PAGE_BYTES)),
            beyond: end.saturating_sub(PAGE_BYTES),
            step: class.step,
            start,
        }
    }

    /// The page before `page`, one of its own.
    #[cfg(CONFIG_COMPACTION)]
    pub(super) fn page_before(&self, page: &Zpdesc) -> Option<&Zpdesc> {
        self.chain.before(page)
    }

    /// Puts the page `new` in the place of `old`, which comes after `prev`, with all that `old` holds.
    /// The LOCK of every object that has a byte on the page is held. Returns the page after.
    #[cfg(CONFIG_COMPACTION)]
    #[inline(always)]
    pub(super) fn replace<'g>(
        &'g self,
        prev: Option<&Zpdesc>,
        old: &Zpdesc,
        new: &'g Zpdesc,
    ) -> Option<&'g Zpdesc>
    where
        Owner: Migrate,
    {
        self.chain.replace::<Movable<Owner>>(prev, old, new)
    }

    /// The slot that the object of `word` is in, which begins on `zpdesc`, for access to its header;
    /// and where it starts.
    #[inline(always)]
    pub(crate) fn slot_of<'g>(&'g self, zpdesc: &'g Zpdesc, word: Word) -> (Slot<'g>, u16) {
        let offset = u64_to_usize(word.phys()) & (PAGE_SIZE - 1);
        // SAFETY: An object's word leads to its slot.
        let slot = unsafe { Slot::at(word.phys(), word.is_split(), word.is_huge()) };
        (slot, start_at(PAGE_SHIFT, zpdesc.place(), offset))
    }
}

/// Bytes before the slot at `start`, in its zspage.
#[inline(always)]
fn bytes(start: u16) -> u64 {
    u32_to_u64(u16_to_u32(start)) << ADDR_SHIFT
}

/// An object found by its slot.
pub(crate) struct Found<'g> {
    /// Where its slot starts in the zspage.
    pub(crate) start: u16,
    /// Its slot.
    pub(crate) slot: Slot<'g>,
    /// The handle that the slot's header says.
    pub(crate) handle: Handle,
}

impl Found<'_> {
    /// Its free was deferred by reclaim.
    pub(crate) fn is_deferred(&self) -> bool {
        self.slot.has_header(Header::Deferred(self.handle.addr()))
    }
}

/// See [`Zspage::objects`].
///
/// # Invariants
///
/// The next slot starts at `start` in the zspage, and begins at the address `next`, on the page of
/// `zpdesc`, if that is below `stop`. Otherwise it begins on the next page, if `next` is below the end
/// there. A zspage whose pages are one range is seen as one page.
#[derive(Clone)]
pub(crate) struct Objects<'g> {
    /// Slot size in bytes.
    size: u64,
    /// The only slot is a whole page.
    huge: bool,
    /// The page that slots begin on.
    zpdesc: &'g Zpdesc,
    /// Physical address of the next slot.
    next: u64,
    /// Where the slots that begin on the page end, but not beyond the page: a physical address.
    stop: u64,
    /// Bytes of slots on the pages after it.
    beyond: u64,
    /// Slot size in granules.
    step: u16,
    /// Where the next slot starts.
    start: u16,
}

impl<'g> Objects<'g> {
    /// The next slot, and where it starts, whatever is in it.
    #[inline(always)]
    pub(super) fn next_slot(&mut self) -> Option<(u16, Slot<'g>)> {
        if self.next >= self.stop {
            self.next_page()?;
        }
        let (phys, start) = (self.next, self.start);
        // INVARIANT: the slot after this one.
        self.next = phys.wrapping_add(self.size);
        self.start = start.wrapping_add(self.step);
        // If the slots end on this page, none crosses its end.
        let split = self.next > self.stop && !goes_on(self.zpdesc);
        // SAFETY: Slots follow each other, and `next` was where one begins.
        let slot = unsafe { Slot::at(phys, split, self.huge) };
        Some((start, slot))
    }

    /// Goes on to the next page, if slots begin there.
    #[inline(always)]
    fn next_page(&mut self) -> Option<()> {
        // How far the last slot reaches into it.
        let over = self.next.wrapping_sub(self.stop);
        if over >= self.beyond {
            return None;
        }
        self.zpdesc = self.zpdesc.next()?;
        let page = self.zpdesc.phys();
        // INVARIANT: slots follow each other without gaps.
        self.next = page.wrapping_add(over);
        self.stop = page.wrapping_add(self.beyond.min(PAGE_BYTES));
        self.beyond = self.beyond.saturating_sub(PAGE_BYTES);
        Some(())
    }
}

impl<'g> Iterator for Objects<'g> {
    type Item = Found<'g>;

    #[inline(always)]
    fn next(&mut self) -> Option<Found<'g>> {
        loop {
            let (start, slot) = self.next_slot()?;
            if let Some(handle) = handle_in(slot.raw_header()) {
                return Some(Found {
                    start,
                    slot,
                    handle,
                });
            }
        }
    }
}

/// The page after `zpdesc` in its chain, which there is, can be addressed with it as one range.
#[inline(always)]
fn goes_on(zpdesc: &Zpdesc) -> bool {
    zpdesc.next().is_some_and(|next| are_adjacent(zpdesc, next))
}
