// SPDX-License-Identifier: GPL-2.0

//! Compaction: objects of the emptiest zspages of a class move into the fullest ones, and zspages
//! without objects go back to the kernel. What is left at last is [shortened](super::shorten), and
//! shared by [neighbouring classes](super::promote).
//!
//! It is done when it is asked for, when memory runs short, and in the background when frees have
//! left a class [sparse](crate::logic::stats::ClassCount::sparse_below).
//!
//! Class by class, with no lock for the pool, in steps: the class's lock is dropped after
//! [`OBJECTS`] objects, [`BYTES`] bytes, [`ZSPAGES`] zspages or [`SLOTS`] slots, so nobody waits
//! long for it. A zspage is passed over when an object in use is met; mappers are never waited for.

use super::{
    class::{ClassGuard, Emptied, SizeClass},
    Pool,
};
use crate::kapi::{
    sched::{cond_resched, MoverGuard},
    shrinker::Shrink,
};
use crate::logic::{
    conv::{u16_to_usize, u32_to_usize, usize_to_isize},
    header::Header,
    size_class::Geometry,
};
use crate::object::{
    objects::Found,
    slot::Slot,
    tail::Tail,
    zspage::{DoomedZspages, Zspage},
};
use crate::zpdesc_rs::PAGE_SHIFT;
use core::sync::atomic::Ordering;

/// Most objects that are moved before a class's lock is dropped.
const OBJECTS: usize = 64;
/// Most bytes that are moved before a class's lock is dropped, if there is more than one object.
const BYTES: usize = 64 << 10;

/// Most zspages that are emptied before a class's lock is dropped, and the most slots that they
/// have, if there is more than one: each slot's header is looked at.
const ZSPAGES: usize = 16;
/// See [`ZSPAGES`].
const SLOTS: usize = 1024;

/// Objects of a class that may be moved before its lock is dropped.
pub(super) fn budget(geometry: &Geometry) -> usize {
    let objects = BYTES.checked_div(u32_to_usize(geometry.size));
    objects.unwrap_or(0).clamp(1, OBJECTS)
}

/// How far compaction of one class has come.
pub(super) struct Progress {
    /// Zspages passed over because an object of theirs was in use; counted from the emptiest.
    ///
    /// Others change the lists while the lock is dropped, so it may come to mean other zspages:
    /// some are then left out of this call, or looked at again.
    passed: usize,
    /// The zspage that lacks pages cannot be emptied, because an object of it is in use.
    pub(super) short_stays: bool,
    /// A step was done.
    begun: bool,
    /// Zspages that were emptied since the class's lock was taken.
    pub(super) emptied: EmptiedZspages,
}

impl Progress {
    /// None yet.
    const fn new() -> Self {
        Self {
            passed: 0,
            short_stays: false,
            begun: false,
            emptied: EmptiedZspages {
                zspages: DoomedZspages::new(),
                locked: false,
            },
        }
    }
}

/// What one step of compaction came to.
pub(super) enum Step {
    /// There is nothing to win any more, or nothing that is not in use.
    Done,
    /// There may be more to move.
    More,
    /// A zspage has given up its last pages.
    Shortened(Tail),
}

/// What is left in a zspage whose objects were to move.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// No object.
    Nothing,
    /// Objects for another time: the budget is used up.
    Rest,
    /// Objects the next of which cannot be moved: it is in use, or there is no room for it.
    Stuck,
}

/// Zspages that were emptied while their class's lock was held, to be freed without it.
pub(super) struct EmptiedZspages {
    /// The zspages.
    zspages: DoomedZspages<SizeClass>,
    /// Another one stayed on its list, because somebody has a page of it locked.
    locked: bool,
}

impl EmptiedZspages {
    /// Adds a zspage.
    #[inline(always)]
    pub(super) fn add(&mut self, emptied: Emptied) {
        match emptied {
            Ok(zspage) => self.zspages.push(zspage),
            // Our reference to the page goes here, but not the last one: it still is the zspage's.
            Err(_) => self.locked = true,
        }
    }
}

impl Pool {
    /// Packs objects more tightly until nothing can be won, or `target` pages have been.
    ///
    /// Returns the pages given back. May sleep, and be called by several tasks at once.
    pub(crate) fn compact(&'static self, target: usize) -> usize {
        let mut pages: usize = 0;
        // Larger slots first: what they have left over takes objects of the next classes.
        for (number, class) in self.classes().iter().enumerate() {
            let left = |pages| target.saturating_sub(pages);
            pages = pages.saturating_add(self.reap_early(class));
            pages = pages.saturating_add(self.compact_class(class, left(pages)));
            pages = pages.saturating_add(self.promote(number, left(pages)));
            if pages >= target {
                break;
            }
        }
        // Relaxed: a statistic.
        self.pages_compacted.fetch_add(pages, Ordering::Relaxed);
        pages
    }

    /// Pages that compaction could give back. Without locks: an estimate under load.
    pub(crate) fn compactable(&self) -> usize {
        let classes = self.classes().iter();
        classes
            .map(|class| class.count().can_compact(PAGE_SHIFT, class.geometry()))
            .fold(0, usize::saturating_add)
    }

    /// Compacts a class until nothing can be won, or `target` pages have been.
    fn compact_class(&'static self, class: &SizeClass, target: usize) -> usize {
        self.compact_while(class, |pages| {
            let can_compact = class.count().can_compact(PAGE_SHIFT, class.geometry());
            can_compact.min(target.saturating_sub(pages))
        })
    }

    /// Compacts a class until it is not sparse any more.
    pub(super) fn compact_sparse(&'static self, class: &SizeClass) {
        let pages = self.compact_while(class, |_| {
            // As many free slots less are as good as objects more.
            let slots = u16::try_from(class.objects_wanting()).unwrap_or(u16::MAX);
            class.geometry().pages_for(PAGE_SHIFT, slots)
        });
        // Relaxed: a statistic.
        self.pages_tidied.fetch_add(pages, Ordering::Relaxed);
    }

    /// Compacts a class, step by step, until `wanted` says 0 to the pages won so far, or there is
    /// nothing to win.
    fn compact_while(&'static self, class: &SizeClass, wanted: impl Fn(usize) -> usize) -> usize {
        let mut pages: usize = 0;
        let mut progress = Progress::new();
        loop {
            let target = wanted(pages);
            if target == 0 {
                break;
            }
            let step = self.without_spares(class, |guard| guard.compact(&mut progress, target));
            pages = pages.wrapping_add(self.free_emptied(&mut progress.emptied));
            let Some(won) = self.take_step(step) else {
                break;
            };
            pages = pages.wrapping_add(won);
            cond_resched();
        }
        pages
    }

    /// Frees zspages that were emptied. Returns their pages.
    fn free_emptied(&'static self, emptied: &mut EmptiedZspages) -> usize {
        if core::mem::take(&mut emptied.locked) {
            self.keeper.schedule(self);
        }
        self.close_zspages(&mut emptied.zspages)
    }

    /// Frees zspages that have left their classes' lists. Returns their pages.
    pub(super) fn close_zspages(&self, zspages: &mut DoomedZspages<SizeClass>) -> usize {
        let pages = zspages.pages();
        if pages != 0 {
            self.pages_gone(pages);
            zspages.free(&self.shared.zspages);
        }
        pages
    }

    /// Frees what a step has left over. Returns the pages, if there may be more to win.
    pub(super) fn take_step(&'static self, step: Step) -> Option<usize> {
        match step {
            Step::Done => None,
            Step::More => Some(0),
            Step::Shortened(tail) => {
                self.pages_gone(tail.pages());
                Some(tail.pages())
            }
        }
    }
}

impl Shrink for Pool {
    fn count(&'static self) -> usize {
        self.compactable()
    }

    fn scan(&'static self, pages: usize) -> usize {
        self.compact(pages)
    }
}

impl ClassGuard<'_> {
    /// Moves objects out of the emptiest zspages, as many as the [`budget`] allows, to win `target`
    /// pages; if there are no zspages to move between, one is shortened.
    fn compact(&self, progress: &mut Progress, target: usize) -> Step {
        if !core::mem::replace(&mut progress.begun, true) {
            // Whoever said so may have stopped half-way.
            self.lists.set_leaving(false);
        }
        // Before the source: where all are in one group, the one used last is to be filled.
        let to = self.lists.fullest();
        let from = to.and_then(|to| self.lists.emptiest_but(to, progress.passed));
        let (Some(mut to), Some(mut from)) = (to, from) else {
            let step = self.empty_short(progress);
            return step.unwrap_or_else(|| self.shorten());
        };
        // A copy, of which the compiler knows that it stays the same: nobody gets a reference to
        // it.
        let geometry = *self.class.geometry();
        let geometry = &geometry;
        let objs = u16_to_usize(geometry.objs);
        let mut free = self.class.count().free(geometry);
        let mut budget = budget(geometry);
        let emptied = &mut progress.emptied;
        let sources = SLOTS.checked_div(objs).unwrap_or(1).clamp(1, ZSPAGES);
        for _ in 0..sources {
            match self.empty(geometry, from, &mut to, &mut budget) {
                Left::Nothing => emptied.add(Self::remove_uncounted(self.class, &self.lists, from)),
                Left::Rest => break,
                Left::Stuck => {
                    progress.passed = progress.passed.wrapping_add(1);
                    break;
                }
            }
            free = free.saturating_sub(objs);
            // Another zspage cannot be emptied if there are not as many slots free.
            if free < objs || emptied.zspages.pages() >= target || budget == 0 {
                break;
            }
            let Some(next) = self.lists.emptiest_but(to, progress.passed) else {
                break;
            };
            from = next;
        }
        self.lists.relist(to, self.class.geometry());
        let gone = usize_to_isize(emptied.zspages.len());
        Self::zspages_changed(self.class, &self.lists, gone.wrapping_neg());
        Step::More
    }

    /// Moves objects out of `from`, at most `budget`, until one is in use; to the zspage `to`, and
    /// to others when that is full. The one that `to` then is may belong on another list.
    #[inline(always)]
    pub(super) fn empty<'g>(
        &'g self,
        geometry: &Geometry,
        from: &Zspage<SizeClass>,
        to: &mut &'g Zspage<SizeClass>,
        budget: &mut usize,
    ) -> Left {
        if geometry.is_huge() {
            // The one that there may be cannot be moved: no zspage of the class has room.
            return Left::Stuck;
        }
        let all = u16_to_usize(from.slots().inuse());
        let most = all.min(*budget);
        let mut moved: usize = 0;
        let mut objects = from.objects(geometry, 0..geometry.end());
        while moved < most {
            // If there are fewer, headers were overwritten: what they are of cannot be moved
            // either.
            let Some(object) = objects.next() else {
                break;
            };
            let others = || self.lists.fullest_but(from);
            if !self.move_object(geometry, &object, geometry.size, to, others) {
                break;
            }
            moved = moved.wrapping_add(1);
        }
        *budget = budget.wrapping_sub(moved);
        if moved == all {
            // All at once, which takes no link for each.
            from.slots().release_all();
            return Left::Nothing;
        }
        for object in from.objects(geometry, 0..geometry.end()).take(moved) {
            object.free_in(from);
        }
        self.lists.relist(from, self.class.geometry());
        if moved == most {
            Left::Rest
        } else {
            Left::Stuck
        }
    }

    /// Moves one object into this class, whose `geometry` is given: to the zspage `to`, or, when
    /// that is full, to what `others` says. It comes from a slot of `size` bytes, of this class or,
    /// promoted, of a smaller one that is locked too. That slot is the caller's to free. False
    /// if the object stays: it is in use, or there is no room, and then `to` is full.
    #[inline(always)]
    pub(super) fn move_object<'g>(
        &'g self,
        geometry: &Geometry,
        object: &Found<'_>,
        size: u32,
        to: &mut &'g Zspage<SizeClass>,
        others: impl Fn() -> Option<&'g Zspage<SizeClass>>,
    ) -> bool {
        // From the LOCK to its release: mappers spin on it.
        let _guard = MoverGuard::new();
        if !object.handle.try_lock_to_move() {
            return false;
        }
        let Some(slot) = self.take_room(geometry, to, others) else {
            object.handle.unlock(object.handle.load().unlocked());
            return false;
        };
        object.copy_to(slot, size, geometry.size);
        slot.header().set(Header::Allocated(object.handle.addr()));
        object.handle.unlock(slot.word(self.class.blank));
        true
    }

    /// Takes a free slot of the zspage `to`, or, when that is full, of what `others` says.
    #[inline(always)]
    fn take_room<'g>(
        &'g self,
        geometry: &Geometry,
        to: &mut &'g Zspage<SizeClass>,
        others: impl Fn() -> Option<&'g Zspage<SizeClass>>,
    ) -> Option<Slot<'g>> {
        loop {
            let zspage = *to;
            let slot = |start| zspage.slot_inlined(geometry, start);
            if let Some(slot) = self.take_slot_at(geometry, zspage, slot) {
                return Some(slot);
            }
            Self::no_slot(self.class, &self.lists, zspage);
            *to = others()?;
        }
    }
}
