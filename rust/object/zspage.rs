// SPDX-License-Identifier: GPL-2.0

//! Zspages: chains of pages with the slots of one size class.
//!
//! A zspage begins as a [`ZspageBox`], which nobody else knows. Then it is its class's, its
//! `Owner`, whose lock guards all fields but two: the one that says who owns it never changes, and
//! its place in the order of use is under the lock of that. They are cells, so `&Zspage` cannot
//! leave the task that holds the lock. It is on a list of the class, unless it is full or under
//! reclaim. It ends as [`Doomed`], with all its pages held.

#[cfg(CONFIG_COMPACTION)]
use super::migrate::Movable;
use super::{
    chain::Chain,
    counted::Gone,
    list::{Listed, Place, Stack},
    magazine::Batch,
    migrate::Migrate,
    objects::{bytes, goes_on},
    ring::{Linked, Links},
    slot::{Slot, SlotHeader},
    units::{FreeUnit, UnitCache},
};
use crate::kapi::gfp::Gfp;
use crate::logic::{
    conv::{u64_to_usize, usize_to_u64},
    freelist::Slots,
    fullness::{Group, EMPTY},
    size_class::Geometry,
    span::{first_offset, start_at, Span},
    word::Word,
};
use crate::zpdesc_rs::{Zpdesc, ZpdescRef, PAGE_SHIFT, PAGE_SIZE};
use core::{
    cell::Cell,
    mem::{align_of, size_of},
    ptr::NonNull,
};

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
    /// The group whose list it is on; that of the full ones if it is on none.
    group: Cell<Group>,
    /// Whether it is under reclaim.
    reclaim: Cell<Reclaim>,
}

/// Whether a zspage is under reclaim.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reclaim {
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

// SAFETY: All fields are guarded by the owner's lock, `by_age` by that of the order of use; `owner`
// never changes.
unsafe impl<Owner: Sync> Send for Zspage<Owner> {}

/// Words of a zspage.
const WORDS: usize = size_of::<Zspage<()>>() / size_of::<u64>();

/// Where descriptors of zspages live.
pub(crate) type ZspageCache = UnitCache<WORDS>;

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
        cache: &ZspageCache,
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
        const { assert!(size_of::<Zspage<Owner>>() == WORDS * size_of::<u64>()) };
        const { assert!(align_of::<Zspage<Owner>>() <= align_of::<u64>()) };
        // If there is no memory for it, the chain goes back with the value.
        let place = cache.alloc(gfp)?.into_raw().cast::<Zspage<Owner>>();
        // SAFETY: A unit that is ours, of that size and alignment.
        unsafe { place.as_ptr().write(zspage) };
        // SAFETY: Just written; nobody else knows it.
        let zspage = unsafe { place.as_ref() };
        // INVARIANT: the pages point to it.
        zspage.chain.set_zspage(place);
        #[cfg(CONFIG_COMPACTION)]
        zspage.chain.set_movable::<Movable<Owner>>(0);
        Some(Self {
            zspage: place,
            adjacent,
        })
    }

    /// How many of its pages are physically adjacent to the one before.
    pub(crate) fn adjacent_pages(&self) -> usize {
        self.adjacent
    }
}

/// A zspage that is on no list any more, with all its pages held: nobody isolates or replaces
/// them. It must be freed; dropping it would leak it.
///
/// # Invariants
///
/// The zspage lives, and nobody else has it.
#[must_use]
pub(crate) struct Doomed<Owner>(NonNull<Zspage<Owner>>);

impl<Owner: Sync> Doomed<Owner> {
    /// Takes a zspage all pages of which can be held, or returns the page that somebody has locked.
    ///
    /// # Safety
    ///
    /// If it succeeds the zspage must be taken off its list, and be used no more.
    pub(super) unsafe fn try_new(zspage: &Zspage<Owner>) -> Result<Self, ZpdescRef> {
        zspage.chain.try_hold(0).map_err(Zpdesc::get)?;
        zspage.chain.keep_held();
        // INVARIANT: it goes off its list, by this function's contract.
        Ok(Self(NonNull::from(zspage)))
    }

    /// Pages that it has.
    #[inline(always)]
    pub(crate) fn pages(&self) -> usize {
        // SAFETY: It lives, by the invariant.
        unsafe { self.0.as_ref() }.pages()
    }

    /// Frees it, and its pages: not under a class's lock.
    pub(crate) fn free(self, cache: &ZspageCache) {
        cache.free(self.empty(&mut Gone::new()));
    }

    /// Gives its pages back. What is left is where it was.
    #[inline(always)]
    fn empty(self, gone: &mut Gone<'_>) -> FreeUnit<WORDS> {
        // SAFETY: It lives, by the invariant.
        let zspage = unsafe { self.0.as_ref() };
        // SAFETY: The pages are held for good, and nobody else has the zspage, by the invariant.
        unsafe { zspage.chain.free(gone) };
        // SAFETY: It was written into a unit by `ZspageBox::new`, and is used no more. Nothing in
        // it is to be dropped: its chain has no pages.
        let unit = unsafe { FreeUnit::from_raw(self.0.cast()) };
        if cfg!(CONFIG_KASAN) {
            // It cannot tell who uses it after this; what they find there shall not look like a
            // zspage.
            unit.poison();
        }
        unit
    }
}

/// Several [`Doomed`] zspages.
#[must_use]
pub(crate) struct DoomedZspages<Owner> {
    /// Themselves.
    zspages: Stack<Zspage<Owner>>,
    /// How many.
    len: usize,
    /// Pages that they have.
    pages: usize,
}

impl<Owner: Sync> DoomedZspages<Owner> {
    /// None.
    pub(crate) const fn new() -> Self {
        Self {
            zspages: Stack::new(),
            len: 0,
            pages: 0,
        }
    }

    /// How many zspages there are.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Pages that they have.
    #[inline(always)]
    pub(crate) fn pages(&self) -> usize {
        self.pages
    }

    /// Adds a zspage.
    #[inline(always)]
    pub(crate) fn push(&mut self, zspage: Doomed<Owner>) {
        self.len = self.len.wrapping_add(1);
        self.pages = self.pages.wrapping_add(zspage.pages());
        // SAFETY: The zspage lives, and nobody else has it, by the invariant of `Doomed`.
        unsafe { self.zspages.push(zspage.0) };
    }

    /// Frees all, and their pages: not under a class's lock.
    pub(crate) fn free(&mut self, cache: &ZspageCache) {
        let mut gone = Gone::new();
        let mut units = Batch::new();
        // INVARIANT: nobody else has what comes from the stack.
        while let Some(zspage) = self.zspages.pop().map(Doomed) {
            units.push(zspage.empty(&mut gone));
            if units.is_full() {
                cache.take_back(&mut units);
            }
        }
        cache.take_back(&mut units);
        (self.len, self.pages) = (0, 0);
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

    /// The group whose list it is on; [`FULL`](crate::logic::fullness::FULL) if it is on none.
    #[inline(always)]
    pub(super) fn group(&self) -> &Cell<Group> {
        &self.group
    }

    /// It is under reclaim: on no list, and objects that are freed are only marked.
    #[inline(always)]
    pub(crate) fn is_under_reclaim(&self) -> bool {
        self.reclaim.get() != Reclaim::Not
    }

    /// Begins or ends reclaim.
    pub(super) fn set_under_reclaim(&self, under: bool) {
        self.reclaim
            .set(if under { Reclaim::Under } else { Reclaim::Not });
    }

    /// Notes that an object of it, under reclaim, was marked as freed.
    pub(crate) fn note_freed(&self) {
        self.reclaim.set(Reclaim::Freed);
    }

    /// Whether an object was marked since the last call.
    pub(crate) fn take_freed(&self) -> bool {
        self.reclaim.replace(Reclaim::Under) == Reclaim::Freed
    }
}

impl<Owner: Sync> Zspage<Owner> {
    /// Whose zspage it is.
    ///
    /// # Safety
    ///
    /// The zspage must live.
    #[cfg(CONFIG_COMPACTION)]
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
        // SAFETY: Pages of ours point to their zspage; under its owner's lock it stays. The
        // comparison below only diagnoses a caller's bug, a handle of another pool, whose zspage
        // may be freed at this very moment: nothing rests on it.
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
        // SAFETY: No huge object crosses into another page.
        (phys, span.crosses && !unsafe { goes_on(zpdesc) })
    }

    /// The page before `page`, one of its own.
    #[cfg(CONFIG_COMPACTION)]
    pub(super) fn page_before(&self, page: &Zpdesc) -> Option<&Zpdesc> {
        self.chain.before(page)
    }

    /// Puts the page `new` in the place of `old`, which comes after `prev`, with all that `old`
    /// holds. The LOCK of every object that has a byte on the page is held. Returns the page after.
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

    /// The header of the slot that the object of `word` is in, which begins on `zpdesc`; and where
    /// it starts.
    #[inline(always)]
    pub(crate) fn header_of<'g>(&'g self, zpdesc: &'g Zpdesc, word: Word) -> (SlotHeader<'g>, u16) {
        let offset = u64_to_usize(word.phys()) & (PAGE_SIZE - 1);
        // SAFETY: An object's word leads to its slot.
        let header = unsafe { SlotHeader::of(word.phys(), word.is_huge()) };
        (header, start_at(PAGE_SHIFT, zpdesc.place(), offset))
    }
}
