// SPDX-License-Identifier: GPL-2.0

//! A size class: zspages of one shape, and their lock.
//!
//! What needs the lock is a method of [`ClassGuard`]. Nothing is allocated, freed or slept on
//! under it: zspages come in from outside, and go out as values that are freed outside.

use crate::kapi::{
    spinlock::{OrderedLocks, SpinLock, SpinLockGuard},
    warn::warn,
};
use crate::logic::{
    conv::u16_to_usize,
    freelist::Slot as FreeSlot,
    fullness::{Group, FULL, NR_GROUPS},
    header::Header,
    size_class::{Geometry, MAX_INDEXES},
    stats::{ClassCount, Missing},
    word::Word,
};
use crate::object::{
    handle::Handle,
    lists::ZspageLists,
    lru::Lru,
    slot::{Slot, SlotHeader},
    spares::Spares,
    tail::{Extension, HeldTail, Tail},
    words::FreeWord,
    zspage::{Doomed, Zspage, ZspageBox},
};
use crate::zpdesc_rs::{ZpdescRef, PAGE_SHIFT};
use core::sync::atomic::{AtomicU16, AtomicU8, AtomicUsize, Ordering};
use kernel::{c_str, prelude::*, sync::Arc};

/// Most zspages that are counted while a class's lock is held.
const COUNTED: usize = 4096;

/// The order of the classes' locks: by class number, larger slots first.
static LOCKS: OrderedLocks<MAX_INDEXES> = OrderedLocks::new();

/// A size class of one pool.
///
/// The lock comes first, so that the class and its lock are one address: with both at hand in free,
/// one of them would not fit in registers.
#[pin_data]
#[repr(C)]
pub(crate) struct SizeClass {
    /// Its zspages, by fullness.
    #[pin]
    lists: SpinLock<ZspageLists<SizeClass>>,
    /// Shape of its zspages.
    geometry: Geometry,
    /// Slots that its zspages lack. Written under the lock, read without.
    missing_slots: AtomicU16,
    /// Pages that its zspages lack. Written under the lock, read without.
    missing_pages: AtomicU8,
    /// The word of an object of this class that is nowhere.
    pub(super) blank: Word,
    /// Objects that were freed, and stay where they are for the next malloc.
    pub(super) spares: Spares,
    /// Objects allocated. Written under the lock, read without.
    inuse: AtomicUsize,
    /// Zspages. Written under the lock, read without.
    zspages: AtomicUsize,
    /// Objects below which it is [sparse](ClassCount::sparse_below). Written under the lock.
    sparse_below: AtomicUsize,
    /// Pages of its zspages that were replaced. Written under the lock.
    pub(super) migrated: AtomicUsize,
    /// Pages that were not, because an object was in use. Written under the lock.
    pub(super) refused: AtomicUsize,
    /// The pool's zspages in the order of use, if it keeps that.
    pub(super) lru: Option<Arc<Lru<SizeClass>>>,
}

/// A zspage without objects that has left its class's lists; or the page of it that somebody has
/// locked, if it could not.
pub(super) type Emptied = Result<Doomed<SizeClass>, ZpdescRef>;

impl SizeClass {
    /// An empty class, which is `number` in the class table.
    pub(super) fn new(
        geometry: Geometry,
        number: u16,
        lru: Option<Arc<Lru<Self>>>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            geometry,
            blank: Word::live(0, number, geometry.is_huge(), false),
            spares: Spares::new(lru.is_none()),
            lru,
            inuse: AtomicUsize::new(0),
            zspages: AtomicUsize::new(0),
            missing_slots: AtomicU16::new(0),
            missing_pages: AtomicU8::new(0),
            sparse_below: AtomicUsize::new(0),
            migrated: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            lists <- SpinLock::new(
                ZspageLists::new(),
                c_str!("zsmalloc_rs::class"),
                LOCKS.get(u16_to_usize(number)),
            ),
        })
    }

    /// Shape of its zspages.
    #[inline(always)]
    pub(crate) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Takes the class's lock.
    #[inline(always)]
    pub(crate) fn lock(&self) -> ClassGuard<'_> {
        ClassGuard {
            class: self,
            lists: self.lists.lock(),
        }
    }

    /// Pages of its zspages that were replaced so far.
    pub(crate) fn migrated(&self) -> usize {
        self.migrated.load(Ordering::Relaxed)
    }

    /// Pages that were not, because an object on them was in use.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// Compacting it is worth while at once. Without the lock: true a moment ago.
    #[inline(always)]
    pub(super) fn is_sparse(&self) -> bool {
        self.objects_wanting() != 0
    }

    /// How many objects more it would take for the class not to be sparse. Without the lock, as
    /// [`Self::is_sparse`].
    #[inline(always)]
    pub(super) fn objects_wanting(&self) -> usize {
        let sparse_below = self.sparse_below.load(Ordering::Relaxed);
        sparse_below.saturating_sub(self.inuse.load(Ordering::Relaxed))
    }

    /// Its objects. Without the lock: a moment ago.
    pub(super) fn objects(&self) -> usize {
        self.inuse.load(Ordering::Relaxed)
    }

    /// Its zspages and objects. Without the lock: they may be from different moments.
    pub(crate) fn count(&self) -> ClassCount {
        ClassCount {
            zspages: self.zspages.load(Ordering::Relaxed),
            inuse: self.inuse.load(Ordering::Relaxed),
            missing: Missing {
                pages: self.missing_pages(),
                slots: usize::from(self.missing_slots.load(Ordering::Relaxed)),
            },
        }
    }

    /// Its objects are being freed, and next to none allocated: it has no spares, and zspages that
    /// frees have emptied are left to the worker. Written under the lock.
    ///
    /// Never if it has an order of use, in which no zspage must be found empty.
    pub(super) fn is_draining(&self) -> bool {
        self.lru.is_none() && self.spares.are_closed()
    }

    /// Pages that its zspages lack: one zspage does, if any. Without the lock: true a moment ago.
    pub(super) fn missing_pages(&self) -> usize {
        usize::from(self.missing_pages.load(Ordering::Relaxed))
    }
}

/// A size class, locked.
///
/// Functions that malloc and free call out of line take class and lists instead of it, so that both
/// stay in registers.
pub(crate) struct ClassGuard<'c> {
    /// The class.
    pub(super) class: &'c SizeClass,
    /// Its zspages.
    pub(super) lists: SpinLockGuard<'c, ZspageLists<SizeClass>>,
}

/// Adds to a counter that is written under the class's lock only.
#[inline(always)]
pub(super) fn add_locked(counter: &AtomicUsize, by: isize) {
    let value = counter.load(Ordering::Relaxed).wrapping_add_signed(by);
    counter.store(value, Ordering::Relaxed);
}

impl ClassGuard<'_> {
    /// Allocates an object in the fullest zspage with room; gives the word back if there is none.
    #[inline(always)]
    pub(super) fn alloc(&self, mut word: FreeWord) -> Result<Handle, FreeWord> {
        loop {
            let group = self.lists.filled().fullest();
            let Some(zspage) = group.and_then(|group| self.lists.first(group)) else {
                return Err(word);
            };
            match self.alloc_in(zspage, word) {
                Ok(handle) => return Ok(handle),
                // It has become a full one.
                Err(back) => word = back,
            }
        }
    }

    /// Adds a zspage and allocates an object in it.
    pub(super) fn alloc_in_new(
        &self,
        zspage: ZspageBox<SizeClass>,
        word: FreeWord,
    ) -> Result<Handle, FreeWord> {
        let zspage = self.lists.insert(zspage);
        Self::zspages_changed(self.class, &self.lists, 1);
        self.alloc_in(zspage, word)
    }

    /// Adds pages to the zspage that lacks them, and allocates an object in it.
    ///
    /// # Errors
    ///
    /// The word and the pages, if no zspage lacks just these; else what [`Self::alloc_in`] says.
    pub(super) fn alloc_in_longer(
        &self,
        more: Extension,
        word: FreeWord,
    ) -> Result<Result<Handle, FreeWord>, (FreeWord, Extension)> {
        match self.lists.extend(more, &self.class.geometry) {
            Ok(zspage) => {
                Self::zspages_changed(self.class, &self.lists, 0);
                Ok(self.alloc_in(zspage, word))
            }
            Err(more) => Err((word, more)),
        }
    }

    /// Takes its last pages from a zspage, unless there is an object on them.
    pub(super) fn cut(&self, tail: HeldTail<'_, SizeClass>) -> Option<Tail> {
        let tail = self.lists.cut(tail, &self.class.geometry)?;
        Self::zspages_changed(self.class, &self.lists, 0);
        Some(tail)
    }

    /// Allocates an object in a zspage with room.
    #[inline(always)]
    fn alloc_in(&self, zspage: &Zspage<SizeClass>, word: FreeWord) -> Result<Handle, FreeWord> {
        let geometry = &self.class.geometry;
        let Some(slot) = self.take_slot(zspage) else {
            Self::no_slot(self.class, &self.lists, zspage);
            return Err(word);
        };
        slot.header().set(Header::Allocated(word.handle().addr()));
        let handle = word.publish(slot.word(self.class.blank));
        let taken = zspage.slots().taken();
        if taken < geometry.objs {
            self.lists
                .move_to(Group::of_partial(taken, geometry), zspage);
        } else {
            self.lists.unlist(zspage);
        }
        add_locked(&self.class.inuse, 1);
        if let Some(lru) = &self.class.lru {
            lru.touch(zspage);
        }
        Ok(handle)
    }

    /// Takes a zspage that has no free slot off its list, and gives up those that it should have
    /// had.
    #[cold]
    #[inline(never)]
    pub(super) fn no_slot(
        class: &SizeClass,
        lists: &ZspageLists<SizeClass>,
        zspage: &Zspage<SizeClass>,
    ) {
        let geometry = &class.geometry;
        if zspage.slots().taken() < geometry.objs {
            zspage.slots().seal(geometry);
            overwritten();
        }
        lists.unlist(zspage);
    }

    /// Takes a free slot of a zspage; its header is not written yet.
    #[inline(always)]
    pub(super) fn take_slot<'g>(&self, zspage: &'g Zspage<SizeClass>) -> Option<Slot<'g>> {
        let geometry = &self.class.geometry;
        self.take_slot_at(geometry, zspage, |start| zspage.slot(geometry, start))
    }

    /// [`Self::take_slot`], where `slot` finds the one at a start. `geometry` is the class's.
    #[inline(always)]
    pub(super) fn take_slot_at<'g>(
        &self,
        geometry: &Geometry,
        zspage: &'g Zspage<SizeClass>,
        slot: impl FnOnce(u16) -> Slot<'g>,
    ) -> Option<Slot<'g>> {
        let slots = zspage.slots();
        let free = slots.next()?;
        let slot = slot(free.start());
        let sound = match free {
            FreeSlot::Fresh(_) => {
                slots.take_fresh(geometry);
                true
            }
            FreeSlot::Recycled(_) => match slot.header().get() {
                Some(Header::Free(next)) => slots.take_recycled(next),
                _ => false,
            },
        };
        if !sound {
            slots.seal(geometry);
            overwritten();
            return None;
        }
        Some(slot)
    }

    /// Frees an object, and leaves its zspage where it is. Returns its word.
    #[inline(always)]
    pub(super) fn release(
        &self,
        zspage: &Zspage<SizeClass>,
        header: SlotHeader<'_>,
        start: u16,
        handle: Handle,
    ) -> FreeWord {
        header.set(zspage.slots().release(start));
        add_locked(&self.class.inuse, -1);
        FreeWord::retire(handle)
    }

    /// Takes a zspage off the lists, or finds out which page of it somebody has locked: then it
    /// stays, on the list of its group.
    pub(super) fn remove(&self, zspage: &Zspage<SizeClass>) -> Emptied {
        Self::remove_from(self.class, &self.lists, zspage)
    }

    /// [`Self::remove`] from the lists of `class`, which is locked.
    #[cold]
    #[inline(never)]
    pub(super) fn remove_from(
        class: &SizeClass,
        lists: &ZspageLists<SizeClass>,
        zspage: &Zspage<SizeClass>,
    ) -> Emptied {
        let removed = Self::remove_uncounted(class, lists, zspage);
        if removed.is_ok() {
            Self::zspages_changed(class, lists, -1);
        }
        removed
    }

    /// [`Self::remove`] for one of several zspages: the caller counts them.
    #[inline(always)]
    pub(super) fn remove_uncounted(
        class: &SizeClass,
        lists: &ZspageLists<SizeClass>,
        zspage: &Zspage<SizeClass>,
    ) -> Emptied {
        if let Some(lru) = &class.lru {
            lru.forget(zspage);
        }
        let removed = lists.remove(zspage);
        if removed.is_err() {
            lists.relist(zspage, &class.geometry);
        }
        removed
    }

    /// Adds to the number of objects.
    #[inline(always)]
    pub(super) fn objects_changed(&self, by: isize) {
        add_locked(&self.class.inuse, by);
    }

    /// Adds to the number of zspages, and notes what they lack.
    pub(super) fn zspages_changed(class: &SizeClass, lists: &ZspageLists<SizeClass>, by: isize) {
        add_locked(&class.zspages, by);
        let (pages, slots) = lists.missing(&class.geometry);
        class.missing_pages.store(pages, Ordering::Relaxed);
        class.missing_slots.store(slots, Ordering::Relaxed);
        let sparse_below = class.count().sparse_below(PAGE_SHIFT, &class.geometry);
        class.sparse_below.store(sparse_below, Ordering::Relaxed);
    }

    /// Takes any zspage off the lists; for a class without objects. One may be left that looks
    /// full, because memory of it was overwritten.
    pub(super) fn take_any(&self) -> Option<Emptied> {
        let zspage = Group::all().find_map(|group| self.lists.first(group))?;
        Some(self.remove(zspage))
    }

    /// Zspages in each fullness group; `None` if there are too many that are not full, since each
    /// of those is looked at. Those under reclaim, which are in none, count as full.
    pub(crate) fn zspages_by_group(&self) -> Option<[usize; NR_GROUPS]> {
        let mut counts = [0; NR_GROUPS];
        let mut all = self.class.count().zspages;
        let mut most = COUNTED;
        // The full ones come last.
        for (count, group) in counts.iter_mut().zip(Group::all()) {
            if group == FULL {
                *count = all;
                break;
            }
            *count = self.lists.count(group, most)?;
            most = most.saturating_sub(*count);
            all = all.saturating_sub(*count);
        }
        Some(counts)
    }
}

/// Reports a free slot whose header is not one.
#[cold]
#[inline(never)]
pub(super) fn overwritten() {
    warn(c_str!(
        "zsmalloc_rs: memory of a free object was written to, or beyond an object's end"
    ));
}
