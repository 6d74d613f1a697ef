// SPDX-License-Identifier: GPL-2.0

//! Compaction: objects of the emptiest zspages of a class move into the fullest ones, and zspages
//! without objects go back to the kernel. What is left at last is [shortened](super::shorten), and
//! shared by [neighbouring classes](super::promote).
//!
//! It is done when it is asked for, when memory runs short, and in the background when frees have
//! left a class [sparse](crate::logic::stats::ClassCount::sparse_below).
//!
//! Class by class, with no lock for the pool, in steps: the class's lock is dropped after each
//! emptied zspage and after [`BUDGET`] objects, so nobody waits long for it. A zspage is passed over
//! when an object in use is met; mappers are never waited for.

use super::{
    class::{ClassGuard, Emptied, SizeClass},
    Pool,
};
use crate::kapi::{
    sched::{cond_resched, MoverGuard},
    shrinker::Shrink,
};
use crate::logic::{conv::u32_to_usize, header::Header};
use crate::object::{
    tail::Tail,
    zspage::{Doomed, Found, Zspage},
};
use crate::zpdesc_rs::PAGE_SHIFT;
use core::sync::atomic::Ordering;

/// Most objects that are moved before the class's lock is dropped.
pub(super) const BUDGET: usize = 64;

/// How far compaction of one class has come.
#[derive(Default)]
pub(super) struct Progress {
    /// Zspages passed over because an object of theirs was in use; counted from the emptiest.
    ///
    /// Others change the lists while the lock is dropped, so it may come to mean other zspages:
    /// some are then left out of this call, or looked at again.
    passed: usize,
    /// What is done about the zspage that lacks pages.
    pub(super) short: Short,
}

/// See [`Progress::short`].
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Short {
    /// It is like others: it counts as fuller than it is, so objects move there.
    #[default]
    Filled,
    /// Its objects move to others, until it is gone.
    Emptied,
    /// It cannot be emptied, because an object of it is in use.
    Stays,
}

/// What one step of compaction came to.
pub(super) enum Step {
    /// There is nothing to win any more, or nothing that is not in use.
    Done,
    /// There may be more to move.
    More,
    /// A zspage has no objects any more.
    Emptied(Emptied),
    /// A zspage has given up its last pages.
    Shortened(Tail),
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
        let can_compact = || class.count().can_compact(PAGE_SHIFT, class.geometry()) != 0;
        self.compact_while(class, |pages| pages < target && can_compact())
    }

    /// Compacts a class until it is not sparse any more.
    pub(super) fn compact_sparse(&'static self, class: &SizeClass) {
        let pages = self.compact_while(class, |_| class.is_sparse());
        // Relaxed: a statistic.
        self.pages_tidied.fetch_add(pages, Ordering::Relaxed);
    }

    /// Compacts a class as long as `more` says so, given the pages won, and as it can be.
    fn compact_while(&'static self, class: &SizeClass, more: impl Fn(usize) -> bool) -> usize {
        let mut pages: usize = 0;
        let mut progress = Progress::default();
        while more(pages) {
            let step = class.lock().compact(&mut progress);
            let Some(won) = self.take_step(step) else {
                break;
            };
            pages = pages.wrapping_add(won);
            cond_resched();
        }
        pages
    }

    /// Frees what a step has left over. Returns the pages, if there may be more to win.
    pub(super) fn take_step(&'static self, step: Step) -> Option<usize> {
        match step {
            Step::Done => None,
            Step::More => Some(0),
            Step::Emptied(emptied) => {
                let won = emptied.as_ref().map_or(0, Doomed::pages);
                self.dispose(emptied);
                Some(won)
            }
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
    /// Moves objects out of the emptiest zspage, at most [`BUDGET`], until one is in use.
    fn compact(&self, progress: &mut Progress) -> Step {
        if progress.short == Short::Emptied {
            if let Some(step) = self.empty_short(progress) {
                return step;
            }
        }
        // Before the source: where all are in one group, the one used last is to be filled.
        let to = self.lists.fullest();
        let from = to.and_then(|to| self.lists.emptiest_but(to, progress.passed));
        match (from, to) {
            (Some(from), Some(to)) => self.empty(from, to, progress),
            _ => self.empty_short(progress).unwrap_or_else(|| self.shorten()),
        }
    }

    /// Moves objects out of `from`, at most [`BUDGET`], until one is in use; to `to` and others.
    pub(super) fn empty<'g>(
        &'g self,
        from: &Zspage<SizeClass>,
        mut to: &'g Zspage<SizeClass>,
        progress: &mut Progress,
    ) -> Step {
        let geometry = self.class.geometry();
        let mut stuck = true;
        for object in from.objects(geometry, 0..geometry.end()).take(BUDGET) {
            if to.slots().taken() == geometry.objs {
                self.lists.relist(to, geometry);
                let Some(next) = self.lists.fullest_but(from) else {
                    break;
                };
                to = next;
            }
            stuck = !self.move_object(&object, to, || from.slots().release(object.start));
            if stuck {
                break;
            }
        }
        self.lists.relist(to, geometry);
        if from.slots().is_empty() {
            return Step::Emptied(self.remove(from));
        }
        if stuck {
            progress.passed = progress.passed.wrapping_add(1);
        }
        self.lists.relist(from, geometry);
        Step::More
    }

    /// Moves one object to another zspage; false, with nothing changed, if it is in use. `release` frees
    /// its slot and returns the header for that.
    #[inline(always)]
    pub(super) fn move_object(
        &self,
        object: &Found<'_>,
        to: &Zspage<SizeClass>,
        release: impl FnOnce() -> Header,
    ) -> bool {
        self.move_here(
            object,
            u32_to_usize(self.class.geometry().size),
            to,
            release,
        )
    }

    /// [`Self::move_object`] for an object of a class with slots of `size` bytes, this one or a smaller
    /// one, whose lock is held.
    #[inline(always)]
    pub(super) fn move_here(
        &self,
        object: &Found<'_>,
        size: usize,
        to: &Zspage<SizeClass>,
        release: impl FnOnce() -> Header,
    ) -> bool {
        // From the LOCK to its release: mappers spin on it.
        let _guard = MoverGuard::new();
        if !object.handle.try_lock_to_move() {
            return false;
        }
        let Some(slot) = self.take_slot(to) else {
            object.handle.unlock(object.handle.load().unlocked());
            return false;
        };
        object
            .slot
            .copy_to(&slot, size, u32_to_usize(self.class.geometry().size));
        slot.set_header(Header::Allocated(object.handle.addr()));
        object.slot.set_header(release());
        object.handle.unlock(slot.word(self.class.blank));
        true
    }
}
