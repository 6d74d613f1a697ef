// SPDX-License-Identifier: GPL-2.0

//! Zspages: chains of pages with the slots of one size class, and the lists they are on.
//!
//! A zspage is on exactly one list, or owned by whoever took it off. All fields are guarded by the
//! lock of the class, which is the zspage's `Owner`: they are cells, so `&Zspage` cannot leave the
//! task that holds the lock.

#[cfg(CONFIG_COMPACTION)]
use super::migrate::PinnedZspage;
use super::{
    chain::Chain,
    handle::Handle,
    migrate::{Migrate, Movable},
    slot::{handle_in, Slot},
};
use crate::kapi::{
    gfp::Gfp,
    kmem_cache::{KmemCache, SlabBox},
};
use crate::logic::{
    conv::{u32_to_usize, u64_to_usize},
    freelist::Slots,
    fullness::{Group, GroupSet, EMPTY, NR_GROUPS},
    header::Header,
    size_class::Geometry,
    span::{first_offset, index_at, Span},
    word::Word,
};
use crate::zpdesc_rs::{Zpdesc, ZpdescRef, PAGE_SHIFT, PAGE_SIZE};
use core::{
    cell::Cell,
    mem::{ManuallyDrop, MaybeUninit},
    ops::Range,
    ptr::NonNull,
};

/// A chain of pages with the slots of one size class.
///
/// # Invariants
///
/// `owner` outlives the zspage: it owns the lists that the zspage is on. The `zspage` field of
/// every page of `chain` points here.
pub(crate) struct Zspage<Owner> {
    /// Neighbours on its list, a ring.
    next: Cell<Option<NonNull<Self>>>,
    /// See `next`.
    prev: Cell<Option<NonNull<Self>>>,
    /// Its size class.
    owner: NonNull<Owner>,
    /// Its pages.
    chain: Chain,
    /// Which slots are free.
    slots: Cell<Slots>,
    /// The list it is on.
    group: Cell<Group>,
}

// SAFETY: It is reached under its owner's lock only.
unsafe impl<Owner: Sync> Send for Zspage<Owner> {}

/// Where zspages come from.
pub(crate) type ZspageCache<Owner> = KmemCache<Zspage<Owner>>;

/// A zspage that is on no list yet. Its pages are movable already.
#[must_use = "it belongs on a list of its owner"]
pub(crate) struct ZspageBox<Owner>(NonNull<Zspage<Owner>>);

// SAFETY: Nobody else has the zspage until it is on a list.
unsafe impl<Owner: Sync> Send for ZspageBox<Owner> {}

impl<Owner: Migrate> ZspageBox<Owner> {
    /// Allocates a zspage of class `class` for `owner`, all slots free. Sleeps only if `gfp`
    /// allows it.
    pub(crate) fn new(
        cache: &ZspageCache<Owner>,
        gfp: Gfp,
        owner: &Owner,
        class: &Geometry,
    ) -> Option<Self> {
        let chain = Chain::alloc(gfp, class.nr_pages(), class.is_huge(), |place| {
            first_offset(PAGE_SHIFT, class, place).min(PAGE_SIZE - 1)
        })?;
        let zspage = Zspage {
            next: Cell::new(None),
            prev: Cell::new(None),
            owner: NonNull::from(owner),
            chain,
            slots: Cell::new(Slots::new()),
            group: Cell::new(EMPTY),
        };
        // Where the slab has no memory, the chain goes back with the value.
        let zspage = cache.alloc(gfp, zspage)?;
        // INVARIANT: the pages point to it.
        zspage.chain.set_zspage(NonNull::from(&*zspage));
        zspage.chain.set_movable::<Movable<Owner>>();
        Some(Self(zspage.into_raw()))
    }
}

/// A zspage that is on no list any more, with all its pages locked: nobody isolates or replaces
/// them. Dropping it frees the pages: not under a class's lock.
#[must_use]
pub(crate) struct Doomed<Owner>(SlabBox<Zspage<Owner>>);

impl<Owner: Sync> Doomed<Owner> {
    /// Slots that are allocated.
    pub(crate) fn inuse(&self) -> u16 {
        self.0.inuse()
    }

    /// Takes the zspage out of our hands: its objects are still allocated, but their pool is
    /// destroyed. The pages are never used again.
    pub(crate) fn leak(self) {
        let doomed = ManuallyDrop::new(self);
        doomed.0.chain.make_private();
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
        self.0.chain.make_private();
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
        // SAFETY: Pages of ours point to their zspage; under its owner's lock it stays.
        let zspage = unsafe { zspage.as_ref() };
        (zspage.owner == NonNull::from(owner)).then_some((zspage, zpdesc))
    }

    /// Slots that are allocated.
    #[inline(always)]
    pub(crate) fn inuse(&self) -> u16 {
        self.slots.get().inuse()
    }

    /// Which slots are free.
    #[inline(always)]
    pub(crate) fn slots(&self) -> Slots {
        self.slots.get()
    }

    /// Records which slots are free.
    #[inline(always)]
    pub(crate) fn set_slots(&self, slots: Slots) {
        self.slots.set(slots);
    }

    /// The slot `index`, below the class's number of objects.
    #[inline(always)]
    pub(crate) fn slot(&self, class: &Geometry, index: u16) -> Slot<'_> {
        let span = Span::of(PAGE_SHIFT, class, index);
        // INVARIANT: the span lies in this chain.
        Slot {
            zpdesc: self.chain.page(span.page),
            offset: span.offset,
            crosses: span.crosses,
            huge: class.is_huge(),
        }
    }

    /// The objects in the slots of `range`, in order. Slots that were never used are left out.
    #[inline(always)]
    pub(crate) fn objects<'g>(&'g self, class: &'g Geometry, range: Range<u16>) -> Objects<'g> {
        // Above the bump index lies what the page held before it was ours.
        let end = range.end.min(self.slots().bump());
        let start = Span::of(PAGE_SHIFT, class, range.start);
        Objects {
            class,
            zpdesc: self.chain.page(start.page),
            offset: start.offset,
            indexes: range.start..end,
        }
    }

    /// Puts the page `new` in the place of `old`, with all that `old` holds. The LOCK of every object
    /// that overlaps the page is held.
    #[cfg(CONFIG_COMPACTION)]
    pub(crate) fn replace(&self, old: &Zpdesc, new: &Zpdesc)
    where
        Owner: Migrate,
    {
        self.chain.replace::<Movable<Owner>>(old, new);
    }

    /// The slot that the object of `word` is in, which lies on `zpdesc`; with its index.
    #[inline(always)]
    pub(crate) fn slot_of<'g>(
        &'g self,
        class: &Geometry,
        zpdesc: &'g Zpdesc,
        word: Word,
    ) -> (Slot<'g>, u16) {
        let offset = u64_to_usize(word.phys()) & (PAGE_SIZE - 1);
        let index = index_at(PAGE_SHIFT, class, zpdesc.place(), offset);
        // INVARIANT: an object's word leads to its slot.
        let slot = Slot {
            zpdesc,
            offset,
            crosses: false,
            huge: class.is_huge(),
        };
        (slot, index)
    }
}

/// An object found by its slot.
pub(crate) struct Found<'g> {
    /// Index of its slot.
    pub(crate) index: u16,
    /// Its slot.
    pub(crate) slot: Slot<'g>,
    /// What the slot's header says.
    pub(crate) header: Header,
    /// The handle that says.
    pub(crate) handle: Handle,
}

/// See [`Zspage::objects`].
///
/// # Invariants
///
/// If `indexes` is not empty, its first slot begins at `offset` on the page of `zpdesc`.
pub(crate) struct Objects<'g> {
    /// Shape of the zspage.
    class: &'g Geometry,
    /// The page that the next slot begins on.
    zpdesc: &'g Zpdesc,
    /// Where, in bytes.
    offset: usize,
    /// Indexes of the slots to come, all below the bump index.
    indexes: Range<u16>,
}

impl<'g> Objects<'g> {
    /// The next slot.
    #[inline(always)]
    fn next_slot(&mut self) -> Option<(u16, Slot<'g>)> {
        let index = self.indexes.next()?;
        let end = self.offset.wrapping_add(u32_to_usize(self.class.size));
        // INVARIANT: the first of `indexes` until now.
        let slot = Slot {
            zpdesc: self.zpdesc,
            offset: self.offset,
            crosses: end > PAGE_SIZE,
            huge: self.class.is_huge(),
        };
        // INVARIANT: slots follow each other without gaps.
        self.offset = end & (PAGE_SIZE - 1);
        if end >= PAGE_SIZE && !self.indexes.is_empty() {
            self.zpdesc = self.zpdesc.next()?;
        }
        Some((index, slot))
    }
}

impl<'g> Iterator for Objects<'g> {
    type Item = Found<'g>;

    #[inline(always)]
    fn next(&mut self) -> Option<Found<'g>> {
        loop {
            let (index, slot) = self.next_slot()?;
            let Some(header) = slot.header() else {
                continue;
            };
            if let Some(handle) = handle_in(header) {
                return Some(Found {
                    index,
                    slot,
                    header,
                    handle,
                });
            }
        }
    }
}

/// A list of zspages: a ring, reached through its first. Owns what is on it.
struct List<Owner>(Cell<Option<NonNull<Zspage<Owner>>>>);

impl<Owner> List<Owner> {
    /// An empty list.
    const fn new() -> Self {
        Self(Cell::new(None))
    }

    /// The first zspage.
    #[inline(always)]
    fn first(&self) -> Option<&Zspage<Owner>> {
        self.0.get().map(Self::follow)
    }

    /// A zspage on a list of this owner.
    #[inline(always)]
    fn follow<'g>(zspage: NonNull<Zspage<Owner>>) -> &'g Zspage<Owner> {
        // SAFETY: Zspages on a list live until they are taken off, under the owner's lock.
        unsafe { zspage.as_ref() }
    }

    /// Puts a zspage at the front.
    #[inline(always)]
    fn push_front(&self, zspage: NonNull<Zspage<Owner>>) {
        let new = Self::follow(zspage);
        let (next, prev) = match self.first() {
            Some(first) => (NonNull::from(first), first.prev.get().unwrap_or(zspage)),
            None => (zspage, zspage),
        };
        new.next.set(Some(next));
        new.prev.set(Some(prev));
        Self::follow(next).prev.set(Some(zspage));
        Self::follow(prev).next.set(Some(zspage));
        self.0.set(Some(zspage));
    }

    /// Takes a zspage of this list off.
    #[inline(always)]
    fn remove(&self, zspage: &Zspage<Owner>) {
        let this = NonNull::from(zspage);
        let next = zspage.next.take().unwrap_or(this);
        let prev = zspage.prev.take().unwrap_or(this);
        Self::follow(prev).next.set(Some(next));
        Self::follow(next).prev.set(Some(prev));
        if self.0.get() == Some(this) {
            self.0.set((next != this).then_some(next));
        }
        if next == this {
            zspage.next.set(None);
            zspage.prev.set(None);
        }
    }
}

/// All zspages of a size class, by fullness.
///
/// # Invariants
///
/// Every zspage is on the list of its `group`; `filled` has the groups whose lists are not empty,
/// `counts` their lengths.
pub(crate) struct ZspageLists<Owner> {
    /// A list for each group.
    lists: [List<Owner>; NR_GROUPS],
    /// Zspages in each group.
    counts: [Cell<u32>; NR_GROUPS],
    /// Groups whose lists are not empty.
    filled: Cell<GroupSet>,
}

// SAFETY: It owns the zspages on it, and is reached under the owner's lock.
unsafe impl<Owner: Sync> Send for ZspageLists<Owner> {}

impl<Owner: Sync> ZspageLists<Owner> {
    /// No zspages.
    pub(crate) fn new() -> Self {
        Self {
            lists: [const { List::new() }; NR_GROUPS],
            counts: [const { Cell::new(0) }; NR_GROUPS],
            filled: Cell::new(GroupSet::new()),
        }
    }

    /// The groups whose lists are not empty.
    #[inline(always)]
    pub(crate) fn filled(&self) -> GroupSet {
        self.filled.get()
    }

    /// Zspages in a group.
    pub(crate) fn count(&self, group: Group) -> usize {
        let count = self.counts.get(group.index()).map_or(0, Cell::get);
        u32_to_usize(count)
    }

    /// All zspages that compaction may empty, the emptiest first.
    pub(crate) fn emptiest_first(&self) -> impl Iterator<Item = &Zspage<Owner>> {
        Group::all()
            .filter(|group| group.is_partial())
            .flat_map(|group| self.group(group))
    }

    /// The zspages of a group, as often as they are counted.
    fn group(&self, group: Group) -> impl Iterator<Item = &Zspage<Owner>> {
        let after = |zspage: &&Zspage<Owner>| zspage.next.get().map(List::follow);
        core::iter::successors(self.first(group), after).take(self.count(group))
    }

    /// The fullest zspage with objects and room that is not `other`: where compaction moves to.
    pub(crate) fn fullest_but(&self, other: &Zspage<Owner>) -> Option<&Zspage<Owner>> {
        let group = self.filled.get().fullest_partial()?;
        let mut zspages = self.group(group).take(2);
        zspages.find(|zspage| !core::ptr::eq(*zspage, other))
    }

    /// The first zspage of a group.
    #[inline(always)]
    pub(crate) fn first(&self, group: Group) -> Option<&Zspage<Owner>> {
        self.lists.get(group.index())?.first()
    }

    /// Puts a zspage on the list of its group.
    pub(crate) fn insert(&self, zspage: ZspageBox<Owner>, class: &Geometry) -> &Zspage<Owner> {
        let zspage = List::follow(zspage.0);
        self.add(zspage, Group::of(zspage.inuse(), class.objs));
        zspage
    }

    /// Moves a zspage to the list that its number of objects now belongs to.
    #[inline(always)]
    pub(crate) fn relist(&self, zspage: &Zspage<Owner>, class: &Geometry) {
        let group = Group::of(zspage.inuse(), class.objs);
        if group != zspage.group.get() {
            self.del(zspage);
            self.add(zspage, group);
        }
    }

    /// Takes a zspage off, if all its pages can be locked; else it stays where it is, and the page
    /// that somebody has locked is returned.
    pub(crate) fn remove(&self, zspage: &Zspage<Owner>) -> Result<Doomed<Owner>, ZpdescRef> {
        zspage.chain.try_lock().map_err(Zpdesc::get)?;
        self.del(zspage);
        // SAFETY: It came from `insert`, is on no list now, and its pages are locked.
        Ok(Doomed(unsafe { SlabBox::from_raw(NonNull::from(zspage)) }))
    }

    /// The zspage that one of its pages was asked to move for.
    #[cfg(CONFIG_COMPACTION)]
    pub(crate) fn pinned<'g>(&'g self, zspage: &PinnedZspage<'g, Owner>) -> &'g Zspage<Owner> {
        List::follow(zspage.as_ptr())
    }

    /// Links a zspage.
    #[inline(always)]
    fn add(&self, zspage: &Zspage<Owner>, group: Group) {
        let index = group.index();
        let (Some(list), Some(count)) = (self.lists.get(index), self.counts.get(index)) else {
            return;
        };
        list.push_front(NonNull::from(zspage));
        // INVARIANT: list, group, count and set change together.
        zspage.group.set(group);
        count.set(count.get().wrapping_add(1));
        self.filled.set(self.filled.get().with(group));
    }

    /// Unlinks a zspage.
    #[inline(always)]
    fn del(&self, zspage: &Zspage<Owner>) {
        let group = zspage.group.get();
        let index = group.index();
        let (Some(list), Some(count)) = (self.lists.get(index), self.counts.get(index)) else {
            return;
        };
        list.remove(zspage);
        // INVARIANT: list, count and set change together.
        count.set(count.get().wrapping_sub(1));
        if list.first().is_none() {
            self.filled.set(self.filled.get().without(group));
        }
    }
}
