// SPDX-License-Identifier: GPL-2.0

//! Shortening: when no zspage of a class can be emptied any more, the last pages of one may be. Its
//! objects move to where there is room before them, and the pages go back to the kernel. When the
//! class needs room again, the zspage gets its pages back one by one before another is opened.
//!
//! One zspage of a class at most lacks pages. It costs allocation and free nothing: slots whose
//! pages are missing look as if they were taken.

use super::{
    class::{overwritten, ClassGuard, SizeClass},
    compact::{budget, Left, Progress, Step},
};
use crate::logic::{
    conv::{count, u16_to_usize},
    size_class::Geometry,
};
use crate::object::{objects::Objects, tail::HeldTail, zspage::Zspage};
use crate::zpdesc_rs::PAGE_SHIFT;
use core::sync::atomic::{AtomicBool, Ordering};

/// Headers were found overwritten here. Only once reported: what is left of such a zspage is found
/// again.
static REPORTED: AtomicBool = AtomicBool::new(false);

impl ClassGuard<'_> {
    /// Frees the pages of a zspage that its class does not need.
    pub(super) fn shorten(&self) -> Step {
        let step = self.shorten_once();
        self.lists.set_leaving(matches!(step, Step::More));
        step
    }

    /// [`Self::shorten`], as far as the [`budget`] allows.
    fn shorten_once(&self) -> Step {
        let geometry = self.class.geometry();
        let Some(zspage) = self.shrinkable() else {
            return Step::Done;
        };
        let stay = self.staying(zspage);
        if stay == 0 {
            return Step::Done;
        }
        let kept = geometry.pages_for(PAGE_SHIFT, stay);
        self.shorten_to(zspage, kept)
    }

    /// Moves objects out of the zspage that lacks pages, if others have room for all of them.
    pub(super) fn empty_short(&self, progress: &mut Progress) -> Option<Step> {
        let may = !progress.short_stays && self.class.missing_pages() != 0;
        let short = self.shrinkable().filter(|_| may)?;
        let mut to = self.lists.fullest_but(short)?;
        let all = budget(self.class.geometry());
        let mut budget = all;
        let left = (self.staying(short) == 0)
            .then(|| self.empty(self.class.geometry(), short, &mut to, &mut budget))?;
        self.lists.relist(to, self.class.geometry());
        self.lists.set_leaving(left == Left::Rest);
        match left {
            Left::Nothing => progress.emptied.add(self.remove(short)),
            Left::Rest => (),
            Left::Stuck => {
                progress.short_stays = true;
                if budget == all {
                    return None;
                }
            }
        }
        Some(Step::More)
    }

    /// The zspage that may give up its last pages.
    pub(super) fn shrinkable(&self) -> Option<&Zspage<SizeClass>> {
        let can = self.class.geometry().can_shorten();
        self.lists.shrinkable().filter(|_| can)
    }

    /// How many objects of a zspage have no room in others.
    fn staying(&self, zspage: &Zspage<SizeClass>) -> u16 {
        let geometry = self.class.geometry();
        let slots = zspage.slots();
        let free = u16_to_usize(geometry.objs.saturating_sub(slots.taken()));
        // Too many, if there are free slots in a zspage under reclaim.
        let elsewhere = self.class.count().free(geometry).saturating_sub(free);
        let elsewhere = u16::try_from(elsewhere).unwrap_or(u16::MAX);
        slots.inuse().saturating_sub(elsewhere)
    }

    /// Frees all pages of a zspage but the first `kept`, if there are more; or moves objects from
    /// there, as many as the [`budget`] allows, if that is not all.
    fn shorten_to(&self, zspage: &Zspage<SizeClass>, kept: usize) -> Step {
        let geometry = self.class.geometry();
        let Some(tail) = HeldTail::new(zspage, kept) else {
            return Step::Done;
        };
        // From now on slots that stay are handed out, as long as there are any.
        let end = geometry.start_of(geometry.slots_on(PAGE_SHIFT, kept));
        let staying = usize::from(zspage.link_free_slots(geometry, end));
        let going = Self::beyond(zspage, geometry, kept);
        let found = staying.saturating_add(count(going.clone()));
        let mut left = budget(geometry);
        // Otherwise memory was written to that is no object's.
        if found == usize::from(zspage.slots().inuse()) && self.clear(going, zspage, end, &mut left)
        {
            if let Some(tail) = self.cut(tail) {
                return Step::Shortened(tail);
            }
        }
        let found = zspage.link_free_slots(geometry, geometry.end());
        if found != zspage.slots().inuse() {
            zspage.slots().seal(geometry);
            if !REPORTED.swap(true, Ordering::Relaxed) {
                overwritten();
            }
        }
        self.lists.relist(zspage, geometry);
        if left == 0 {
            Step::More
        } else {
            Step::Done
        }
    }

    /// Moves these objects of a zspage, in slots from `end` on, to other slots, `left` at most,
    /// until one is in use, or there is no room before. Returns whether all were moved.
    fn clear(
        &self,
        mut objects: Objects<'_>,
        zspage: &Zspage<SizeClass>,
        end: u16,
        left: &mut usize,
    ) -> bool {
        let geometry = self.class.geometry();
        let itself = || {
            let free = zspage.slots().next()?;
            (free.start() < end).then_some(zspage)
        };
        let others = || self.lists.fullest_but(zspage).or_else(itself);
        let mut to = others().unwrap_or(zspage);
        let moved = objects.all(|object| {
            let Some(less) = left.checked_sub(1) else {
                return false;
            };
            // Its other free slots are on no list now, so it is not to be asked for one: it would
            // look as if its memory was overwritten.
            if core::ptr::eq(to, zspage) && itself().is_none() {
                return false;
            }
            let moved = self.move_object(geometry, &object, geometry.size, &mut to, others);
            if moved {
                object.header.set(zspage.slots().release_unlinked());
                *left = less;
            }
            moved
        });
        self.lists.relist(to, geometry);
        moved
    }

    /// The objects of a zspage that have a byte beyond its first `kept` pages.
    pub(super) fn beyond<'g>(
        zspage: &'g Zspage<SizeClass>,
        geometry: &Geometry,
        kept: usize,
    ) -> Objects<'g> {
        let start = geometry.start_of(geometry.slots_on(PAGE_SHIFT, kept));
        zspage.objects(geometry, start..geometry.end())
    }
}
