// SPDX-License-Identifier: GPL-2.0

//! Zspages: chains of pages with the slots of one size class.
//!
//! A zspage begins as a [`ZspageBox`], which nobody else knows. Then it is its class's, its `Owner`,
//! whose lock guards all fields; they are cells, so `&Zspage` cannot leave the task that holds the
//! lock. It is on a list of the class, unless it is full or under reclaim. It ends as [`Doomed`],
//! with all its pages held.

use super::{
    chain::Chain,
    counted::Gone,
    handle::Handle,
    list::{Listed, Place},
    migrate::{Migrate, Movable},
    ring::{Linked, Links},
    slot::{handle_at, Slot},
};
use crate::kapi::{
    conv::addr_of,
    direct_map::virt_to_phys,
    gfp::Gfp,
    kmem_cache::{KmemCache, SlabBox},
};
use crate::logic::{
    conv::{low_u16, low_u32, u16_to_usize, u32_to_usize, u64_to_usize, usize_to_u64},
    freelist::Slots,
    fullness::{Group, EMPTY},
    header::Header,
    size_class::Geometry,
    span::{first_offset, start_at, Span},
    word::{Word, ADDR_SHIFT},
};
use crate::zpdesc_rs::{are_adjacent, Zpdesc, ZpdescRef, PAGE_SHIFT, PAGE_SIZE};
use core::{cell::Cell, ops::Range, ptr::NonNull};

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
    /// The group it is in, and so on which list.
    group: Cell<Group>,
    /// Whether it is under reclaim.
    reclaim: Cell<Reclaim>,
}

/// Whether a zspage is under reclaim.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reclaim {
    /// It is not.
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
        zspage.chain.keep_held();
        // SAFETY: It came from a `ZspageBox`, and goes off its list, by this function's contract.
        Ok(Self(unsafe { SlabBox::from_raw(NonNull::from(zspage)) }))
    }

    /// Pages that it has.
    pub(crate) fn pages(&self) -> usize {
        self.0.pages()
    }

    /// Frees several, whose pages are counted together. As dropping each.
    pub(crate) fn free_all(zspages: impl Iterator<Item = Self>) {
        let mut gone = Gone::new();
        // SAFETY: The pages are held for good, and nobody else knows the zspage any more.
        zspages.for_each(|zspage| unsafe { zspage.0.chain.free(&mut gone) });
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
        self.slot_found(class, start, || self.find_in_pages(class, start))
    }

    /// [`Self::slot`] of a class that is not huge, without a call: for loops.
    #[inline(always)]
    pub(crate) fn slot_inlined(&self, class: &Geometry, start: u16) -> Slot<'_> {
        self.slot_found(class, start, || self.find_inlined(class, start))
    }

    /// The slot of `class` at `start`, which `find` finds in pages that are not one range.
    #[inline(always)]
    fn slot_found(
        &self,
        class: &Geometry,
        start: u16,
        find: impl FnOnce() -> (u64, bool),
    ) -> Slot<'_> {
        let (phys, split) = match self.chain.range() {
            Some(range) => (range.wrapping_add(usize_to_u64(bytes(start))), false),
            None => find(),
        };
        // SAFETY: Slots follow each other from the start of the chain.
        unsafe { Slot::at(phys, split, class.is_huge()) }
    }

    /// Where the slot at `start` is, in pages that are not one range, and whether it is split.
    #[inline(never)]
    fn find_in_pages(&self, class: &Geometry, start: u16) -> (u64, bool) {
        self.find_inlined(class, start)
    }

    /// [`Self::find_in_pages`].
    #[inline(always)]
    fn find_inlined(&self, class: &Geometry, start: u16) -> (u64, bool) {
        let span = Span::of(PAGE_SHIFT, class, start);
        let zpdesc = self.chain.page(span.page);
        let phys = zpdesc.phys() | usize_to_u64(span.offset);
        (phys, span.crosses && !goes_on(zpdesc))
    }

    /// The objects in the slots of `range`, in order. Slots that were never used are left out.
    #[inline(always)]
    pub(crate) fn objects(&self, class: &Geometry, range: Range<u16>) -> Objects<'_> {
        // Above the bump pointer lies what the page held before it was ours.
        let (start, end) = (bytes(range.start), bytes(range.end.min(self.slots.bump())));
        let size = u32_to_usize(class.size);
        let (zpdesc, before, room) = if self.chain.range().is_some() {
            (self.chain.page(0), 0, usize::MAX)
        } else {
            let span = Span::of(PAGE_SHIFT, class, range.start);
            let page = self.chain.page(span.page);
            (page, span.page.wrapping_mul(PAGE_SIZE), PAGE_SIZE)
        };
        if class.is_huge() {
            let header = addr_of(zpdesc.header());
            // INVARIANT: there is only one slot.
            return Objects {
                size,
                huge: true,
                zpdesc,
                origin: header,
                next: header.wrapping_add(start),
                stop: header.wrapping_add(end),
                beyond: 0,
            };
        }
        let page = addr_of(zpdesc.address().as_ptr());
        let origin = page.wrapping_sub(before);
        // In bytes from the start of the page that the first slot begins on.
        let end = end.saturating_sub(before);
        // INVARIANT: slots follow each other from the start of the chain.
        Objects {
            size,
            huge: false,
            zpdesc,
            origin,
            next: origin.wrapping_add(start),
            stop: page.wrapping_add(end.min(room)),
            beyond: end.saturating_sub(room),
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
fn bytes(start: u16) -> usize {
    u16_to_usize(start) << ADDR_SHIFT
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
    /// Frees its slot, which is one of `zspage`: the object is elsewhere.
    #[inline(always)]
    pub(crate) fn free_in<Owner: Sync>(&self, zspage: &Zspage<Owner>) {
        self.slot.set_header(zspage.slots().release(self.start));
    }

    /// Its free was deferred by reclaim.
    pub(crate) fn is_deferred(&self) -> bool {
        self.slot.has_header(Header::Deferred(self.handle.addr()))
    }
}

/// See [`Zspage::objects`].
///
/// # Invariants
///
/// The header of the next slot lies at the address `next`, on the page of `zpdesc`, if that is below
/// `stop`. Otherwise the slot begins on the next page, if `next` is below the end there. A zspage whose
/// pages are one range is seen as one page. A huge object's header is in the page's descriptor.
#[derive(Clone)]
pub(crate) struct Objects<'g> {
    /// Slot size in bytes.
    size: usize,
    /// The only slot is a whole page.
    huge: bool,
    /// The page that slots begin on.
    zpdesc: &'g Zpdesc,
    /// Where the chain would begin if all of it was one range with this page.
    origin: usize,
    /// Address of the next header.
    next: usize,
    /// Where the slots that begin on the page end, but not beyond the page: an address.
    stop: usize,
    /// Bytes of slots on the pages after it.
    beyond: usize,
}

impl<'g> Objects<'g> {
    /// The address of the next header.
    #[inline(always)]
    fn next_header(&mut self) -> Option<usize> {
        if self.next >= self.stop {
            self.next_page()?;
        }
        let header = self.next;
        // INVARIANT: the slot after this one.
        self.next = header.wrapping_add(self.size);
        Some(header)
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
        let page = addr_of(self.zpdesc.address().as_ptr());
        // The page before ended at `stop`.
        self.origin = page.wrapping_sub(self.stop.wrapping_sub(self.origin));
        // INVARIANT: slots follow each other without gaps.
        self.next = page.wrapping_add(over);
        self.stop = page.wrapping_add(self.beyond.min(PAGE_SIZE));
        self.beyond = self.beyond.saturating_sub(PAGE_SIZE);
        Some(())
    }

    /// The slot of the header that [`Self::next_header`] has just returned, and where it starts.
    #[inline(always)]
    fn slot_of(&self, header: usize) -> (u16, Slot<'g>) {
        let (phys, split) = if self.huge {
            (self.zpdesc.phys(), false)
        } else {
            // If the slots end on this page, none crosses its end.
            let split = self.next > self.stop && !goes_on(self.zpdesc);
            (virt_to_phys(header), split)
        };
        let start = header.wrapping_sub(self.origin) >> ADDR_SHIFT;
        // SAFETY: A slot begins there, by the invariant.
        let slot = unsafe { Slot::with_header(phys, split, header) };
        (low_u16(low_u32(usize_to_u64(start))), slot)
    }

    /// The next slot, and where it starts, whatever is in it.
    #[inline(always)]
    pub(super) fn next_slot(&mut self) -> Option<(u16, Slot<'g>)> {
        let header = self.next_header()?;
        Some(self.slot_of(header))
    }
}

impl<'g> Iterator for Objects<'g> {
    type Item = Found<'g>;

    #[inline(always)]
    fn next(&mut self) -> Option<Found<'g>> {
        // Of a slot that is free, nothing is worked out but where its header lies.
        loop {
            let header = self.next_header()?;
            // SAFETY: A header lies there, by the invariant.
            if let Some(handle) = unsafe { handle_at(header) } {
                let (start, slot) = self.slot_of(header);
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
