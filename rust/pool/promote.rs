// SPDX-License-Identifier: GPL-2.0

//! Promotion: the objects on the last page of a class move into free slots of near larger classes,
//! if that saves the page.
//!
//! When all else has been done, half a page of each class is empty on average. In a small pool that
//! is what most of the waste is; slots that are a little too large for their objects are less.
//!
//! This is the only case in which an object changes its class, and in which two class locks are
//! held: that of the larger slots is taken first. Who reads the class from a word without its lock
//! has to read it again under the lock.

use super::{
    class::{ClassGuard, Emptied, SizeClass},
    Pool,
};
use crate::kapi::sched::cond_resched;
use crate::logic::conv::{u32_to_usize, usize_to_isize};
use crate::object::zspage::Zspage;
use crate::zpdesc_rs::{PAGE_SHIFT, PAGE_SIZE};
use core::sync::atomic::Ordering;

/// Most classes that are looked at for free slots.
const NEAR: usize = 6;
/// Most bytes that a slot may be larger.
const LARGER: usize = PAGE_SIZE / 16;
/// Most objects that are moved to save a page.
const MOST: usize = 32;

impl Pool {
    /// Moves objects of class `number` to larger classes, as long as that wins pages, and fewer
    /// than `target`. Returns the pages given back. May sleep.
    pub(super) fn promote(&'static self, number: usize, target: usize) -> usize {
        let mut pages: usize = 0;
        while pages < target {
            match self.promote_once(number) {
                Some(won) if won != 0 => pages = pages.saturating_add(won),
                _ => break,
            }
            cond_resched();
        }
        pages
    }

    /// Moves as many objects of a class to larger ones as have to go for a page. Returns the pages
    /// given back.
    fn promote_once(&'static self, number: usize) -> Option<usize> {
        let class = self.classes.get(number)?;
        let size = class.geometry().size;
        let near = || {
            let larger = self.classes.iter().take(number).rev().take(NEAR);
            larger.take_while(|larger| {
                u32_to_usize(larger.geometry().size.saturating_sub(size)) <= LARGER
            })
        };
        // 0: nothing has to leave. Shortening left the page because it was locked, or an object in
        // use.
        let objects = self.without_spares(class, |guard| guard.too_many());
        let mut objects = objects.filter(|objects| *objects != 0)?;
        // Without their locks: an estimate.
        let room = near().map(|larger| larger.count().free(larger.geometry()));
        if objects > MOST || objects > room.fold(0, usize::saturating_add) {
            return None;
        }
        for larger in near() {
            if objects == 0 {
                break;
            }
            let (words, (moved, emptied)) = {
                let to = larger.lock();
                let from = class.lock();
                (from.free_spares(), from.promote(&to, objects))
            };
            if let Some(words) = words {
                self.spares_freed(words);
            }
            objects = objects.saturating_sub(moved);
            // Relaxed: a statistic.
            self.objects_promoted.fetch_add(moved, Ordering::Relaxed);
            if let Some(emptied) = emptied {
                return Some(self.dispose(emptied));
            }
        }
        let step = self.without_spares(class, |guard| guard.shorten());
        self.take_step(step)
    }
}

impl ClassGuard<'_> {
    /// The zspage that may give up its last page, be it its only one.
    fn promotable(&self) -> Option<&Zspage<SizeClass>> {
        let geometry = self.class.geometry();
        let can = geometry.can_shorten() || geometry.nr_pages() == 1;
        self.lists.shrinkable().filter(|_| can)
    }

    /// How many objects have to leave that zspage for it to give up a page.
    fn too_many(&self) -> Option<usize> {
        let zspage = self.promotable()?;
        let kept = zspage.pages().checked_sub(1)?;
        let room = self.class.geometry().slots_on(PAGE_SHIFT, kept);
        Some(usize::from(zspage.slots().inuse().saturating_sub(room)))
    }

    /// Moves up to `most` objects from the last page to the class that `to` has locked. Returns how
    /// many, and the zspage if there are no others in it.
    fn promote(&self, to: &ClassGuard<'_>, most: usize) -> (usize, Option<Emptied>) {
        let geometry = self.class.geometry();
        let (Some(zspage), Some(mut fullest)) = (self.promotable(), to.lists.fullest()) else {
            return (0, None);
        };
        let kept = zspage.pages().saturating_sub(1);
        let mut moved: usize = 0;
        for object in Self::beyond(zspage, geometry, kept).take(most) {
            let others = || to.lists.fullest();
            let larger = to.class.geometry();
            if !to.move_object(larger, &object, geometry.size, &mut fullest, others) {
                break;
            }
            object.free_in(zspage);
            moved = moved.wrapping_add(1);
        }
        to.lists.relist(fullest, to.class.geometry());
        let count = usize_to_isize(moved);
        self.objects_changed(count.wrapping_neg());
        to.objects_changed(count);
        if zspage.slots().is_empty() {
            return (moved, Some(self.remove(zspage)));
        }
        self.lists.relist(zspage, geometry);
        (moved, None)
    }
}
