// SPDX-License-Identifier: GPL-2.0

//! Shortening: when no zspage of a class can be emptied any more, the last pages of one may be. Its
//! objects move to where there is room before them, and the pages go back to the kernel. When the
//! class needs room again, the zspage gets its pages back one by one before another is opened.
//!
//! One zspage of a class at most lacks pages. It costs allocation and free nothing: slots whose pages
//! are missing look as if they were taken.

use super::{
    class::{ClassGuard, SizeClass},
    compact::{Progress, Step, BUDGET},
};
use crate::logic::{conv::u16_to_usize, size_class::Geometry};
use crate::object::zspage::{LockedTail, Zspage};
use crate::zpdesc_rs::PAGE_SHIFT;

/// Zspages of more slots are left alone: all headers are looked at under the class's lock.
const MOST_SLOTS: u16 = 1024;

impl ClassGuard<'_> {
    /// Frees the pages of a zspage that its class does not need.
    pub(super) fn shorten(&self) -> Step {
        let geometry = self.class.geometry();
        let Some(zspage) = self.lists.shrinkable() else {
            return Step::Done;
        };
        if geometry.objs > MOST_SLOTS || !Self::is_sound(zspage, geometry) {
            return Step::Done;
        }
        let stay = self.staying(zspage);
        if stay == 0 {
            return match self.lists.fullest_but(zspage) {
                Some(to) => self.empty(zspage, to, &mut Progress::default()),
                None => Step::Done,
            };
        }
        let mut kept = geometry.pages_for(PAGE_SHIFT, stay);
        while Self::beyond(zspage, geometry, kept) > BUDGET {
            kept = kept.wrapping_add(1);
        }
        self.shorten_to(zspage, kept)
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

    /// Frees all pages of a zspage but the first `kept`, if there are more and it can be done.
    fn shorten_to(&self, zspage: &Zspage<SizeClass>, kept: usize) -> Step {
        let geometry = self.class.geometry();
        let Some(tail) = LockedTail::new(zspage, kept) else {
            return Step::Done;
        };
        let end = geometry.start_of(geometry.slots_on(PAGE_SHIFT, kept));
        // From now on only slots that stay are handed out.
        zspage.link_free_slots(geometry, end);
        self.clear_from(zspage, end);
        if let Some(tail) = self.cut(tail) {
            return Step::Shortened(tail);
        }
        zspage.link_free_slots(geometry, geometry.end());
        self.lists.relist(zspage, geometry);
        Step::Done
    }

    /// Moves the objects from the slot at `end` on to other slots, until one is in use.
    fn clear_from(&self, zspage: &Zspage<SizeClass>, end: u16) {
        let geometry = self.class.geometry();
        for object in zspage.objects(geometry, end..geometry.end()) {
            let to = self.lists.fullest_but(zspage).unwrap_or(zspage);
            let release = || zspage.slots().release_unlinked();
            if !self.move_object(&object, to, release) {
                return;
            }
            self.lists.relist(to, geometry);
        }
    }

    /// How many objects of a zspage have a byte beyond its first `kept` pages.
    fn beyond(zspage: &Zspage<SizeClass>, geometry: &Geometry, kept: usize) -> usize {
        let start = geometry.start_of(geometry.slots_on(PAGE_SHIFT, kept));
        zspage.objects(geometry, start..geometry.end()).count()
    }

    /// As many headers say that they are an object's as there are objects. Otherwise some were
    /// overwritten, and what they say cannot be trusted.
    fn is_sound(zspage: &Zspage<SizeClass>, geometry: &Geometry) -> bool {
        let objects = zspage.objects(geometry, 0..geometry.end());
        objects.count() == u16_to_usize(zspage.slots().inuse())
    }
}
