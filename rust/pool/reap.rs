// SPDX-License-Identifier: GPL-2.0

//! Deferred free: zspages without objects that were not freed at once, because somebody had one of
//! their pages locked, or because the pool is being drained. They wait on the list of empty
//! zspages, where malloc may use them again.
//!
//! The worker that sees to them also compacts classes that have become sparse; but not while the
//! pool is being drained: objects would be moved only to be freed next. Then whoever frees objects
//! leaves the zspages to it, too. Rules: D1 to D3 in `Documentation/locking.rst`.

use super::{
    class::{ClassGuard, Emptied, SizeClass},
    Pool,
};
use crate::kapi::{module, sched::cond_resched, workqueue::Run};
use crate::logic::{
    conv::{low_u32, u32_to_usize, usize_to_isize, usize_to_u64},
    fullness::EMPTY,
};
use crate::object::zspage::{Doomed, DoomedZspages};
use crate::zpdesc_rs::ZpdescRef;
use core::{num::NonZeroU32, sync::atomic::Ordering};

/// Most zspages that are taken off their list before a class's lock is dropped.
const ZSPAGES: usize = 16;

/// A pool is being drained if in a tick, or sooner, it has lost one in so many of its objects, and
/// [`FEW`] more. That is the whole pool within a second or so: it cannot go on for long.
const PART: usize = 256;
/// See [`PART`].
const FEW: usize = 32;

/// After so many frees in sparse classes the worker does not wait for its tick. It is a part of the
/// pool's pages, each of which has about two objects and a half, so that what the worker costs does
/// not depend on the size of the pool.
fn many_frees(pages: usize) -> NonZeroU32 {
    NonZeroU32::new(low_u32(usize_to_u64(pages.max(64)))).unwrap_or(NonZeroU32::MIN)
}

impl Pool {
    /// Frees a zspage that has left its class's lists.
    pub(super) fn close_zspage(&self, zspage: Doomed<SizeClass>) {
        self.pages_gone(zspage.pages());
        zspage.free(&self.shared.zspages);
    }

    /// Frees a zspage without objects; or the worker will, unless it is used again, once the page
    /// of it is unlocked that somebody has locked. Returns the pages given back.
    #[cold]
    #[inline(never)]
    pub(super) fn dispose(&'static self, emptied: Emptied) -> usize {
        let pages = emptied.as_ref().map_or(0, Doomed::pages);
        match emptied {
            Ok(zspage) => self.close_zspage(zspage),
            Err(_) => self.keeper.schedule(self),
        }
        pages
    }

    /// Frees all empty zspages of a class, up to the first that has a page somebody has locked.
    /// Returns the pages given back, and that page. May sleep.
    fn reap(&self, class: &SizeClass) -> (usize, Option<ZpdescRef>) {
        let mut pages: usize = 0;
        let mut doomed = DoomedZspages::new();
        loop {
            let locked = class.lock().reap(&mut doomed);
            let more = doomed.len() == ZSPAGES;
            pages = pages.wrapping_add(self.close_zspages(&mut doomed));
            if locked.is_some() || !more {
                return (pages, locked);
            }
            cond_resched();
        }
    }

    /// Frees all empty zspages of a class. Waits for those who have their pages locked. May sleep.
    fn reap_all(&self, class: &SizeClass) {
        while let (_, Some(page)) = self.reap(class) {
            page.wait_unlocked();
        }
    }

    /// Frees the zspages of a class that frees have left to the worker, as far as nobody has a page
    /// of them locked. Returns the pages given back. May sleep.
    pub(super) fn reap_early(&'static self, class: &SizeClass) -> usize {
        if !class.is_draining() {
            return 0;
        }
        let (pages, locked) = self.reap(class);
        if locked.is_some() {
            self.keeper.schedule(self);
        }
        pages
    }

    /// Notes whether a class is [draining](SizeClass::is_draining).
    fn set_draining(&self, class: &SizeClass, draining: bool) {
        // Nobody else writes it.
        if class.lru.is_none() && class.is_draining() != draining {
            self.without_spares(class, |guard| guard.class.spares.set_open(!draining));
        }
    }

    /// Suggests that the worker should look at classes that are sparse, after a free.
    #[inline(always)]
    pub(super) fn suggest_tidying(&'static self) {
        if self
            .keeper
            .suggest(self, || many_frees(self.total_pages() / 16))
        {
            self.count_objects();
        }
    }

    /// Counts the objects. Returns how many there are, and were when they were counted last. An
    /// estimate under load.
    #[cold]
    #[inline(never)]
    fn count_objects(&self) -> (usize, usize) {
        let classes = self.classes().iter();
        let objects = classes.map(SizeClass::objects).fold(0, usize::wrapping_add);
        // Relaxed: an estimate.
        let before = self.objects_before.swap(objects, Ordering::Relaxed);
        (objects, before)
    }

    /// Whether the pool is being drained, after so many frees in sparse classes.
    fn is_drained_by(&self, frees: u32) -> bool {
        let (objects, before) = self.count_objects();
        let lost = before.saturating_sub(objects);
        lost > FEW.saturating_add(objects / PART) && lost > u32_to_usize(frees) / 2
    }
}

impl Run for Pool {
    fn run(&'static self, frees: u32) {
        let tidies = module::background_compaction();
        let draining = tidies && self.is_drained_by(frees);
        for class in self.classes() {
            self.set_draining(class, draining);
            self.reap_all(class);
            if tidies && !draining {
                self.compact_sparse(class);
            }
        }
        if draining {
            // Rarely before its tick. But a bound: a suggestion may outlive the draining.
            self.keeper
                .run_in_a_tick(self, many_frees(self.total_pages()));
        }
    }
}

impl ClassGuard<'_> {
    /// Takes empty zspages off their list, at most [`ZSPAGES`] of them and up to the first that has
    /// a page somebody has locked: that is returned.
    fn reap(&self, doomed: &mut DoomedZspages<SizeClass>) -> Option<ZpdescRef> {
        let mut locked = None;
        while doomed.len() < ZSPAGES {
            let Some(zspage) = self.lists.first(EMPTY) else {
                break;
            };
            match Self::remove_uncounted(self.class, &self.lists, zspage) {
                Ok(zspage) => doomed.push(zspage),
                Err(page) => {
                    locked = Some(page);
                    break;
                }
            }
        }
        let gone = usize_to_isize(doomed.len());
        if gone != 0 {
            Self::zspages_changed(self.class, &self.lists, gone.wrapping_neg());
        }
        locked
    }
}
