// SPDX-License-Identifier: GPL-2.0

//! Shortening: when no zspage of a class can be emptied any more, the last pages of one may be. Its
//! objects move to where there is room before them, and the pages go back to the kernel. When the
//! class needs room again, the zspage gets its pages back one by one before another is opened.
//!
//! One zspage of a class at most lacks pages. It costs allocation and free nothing: slots whose pages
//! are missing look as if they were taken.

use super::{
    class::{overwritten, ClassGuard, SizeClass},
    compact::{Progress, Step, BUDGET},
};
use crate::logic::{conv::u16_to_usize, size_class::Geometry};
use crate::object::zspage::{Found, LockedTail, Objects, Zspage};
use crate::zpdesc_rs::PAGE_SHIFT;

/// Zspages of more slots are left alone: all headers are looked at under the class's lock.
const MOST_SLOTS: u16 = 1024;

impl ClassGuard<'_> {
    /// Frees the pages of a zspage that its class does not need.
    pub(super) fn shorten(&self) -> Step {
        let geometry = self.class.geometry();
        let Some(zspage) = self.shrinkable() else {
            return Step::Done;
        };
        let stay = self.staying(zspage);
        if stay == 0 {
            return self.empty_into_others(zspage);
        }
        let mut kept = geometry.pages_for(PAGE_SHIFT, stay);
        if usize::from(zspage.slots().inuse()) > BUDGET {
            while Self::beyond(zspage, geometry, kept).count() > BUDGET {
                kept = kept.wrapping_add(1);
            }
        }
        self.shorten_to(zspage, kept, |object| {
            let to = self.lists.fullest_but(zspage).unwrap_or(zspage);
            let moved = self.move_object(object, to, || zspage.slots().release_unlinked());
            self.lists.relist(to, geometry);
            moved
        })
    }

    /// Moves all objects of a zspage to others, as long as none is in use.
    fn empty_into_others(&self, zspage: &Zspage<SizeClass>) -> Step {
        let Some(to) = self.lists.fullest_but(zspage) else {
            return Step::Done;
        };
        let before = zspage.slots().inuse();
        match self.empty(zspage, to, &mut Progress::default()) {
            // Not again and again, with an object in use.
            Step::More if zspage.slots().inuse() == before => Step::Done,
            step => step,
        }
    }

    /// The zspage that may give up its last pages.
    pub(super) fn shrinkable(&self) -> Option<&Zspage<SizeClass>> {
        let few = self.class.geometry().objs <= MOST_SLOTS;
        self.lists.shrinkable().filter(|_| few)
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

    /// Frees all pages of a zspage but the first `kept`, if there are more. `place` is called for each
    /// object there, moves it, and returns whether it could.
    fn shorten_to(
        &self,
        zspage: &Zspage<SizeClass>,
        kept: usize,
        mut place: impl FnMut(&Found<'_>) -> bool,
    ) -> Step {
        let geometry = self.class.geometry();
        let Some(tail) = LockedTail::new(zspage, kept) else {
            return Step::Done;
        };
        // From now on only slots that stay are handed out.
        let end = geometry.start_of(geometry.slots_on(PAGE_SHIFT, kept));
        let staying = usize::from(zspage.link_free_slots(geometry, end));
        let mut going = Self::beyond(zspage, geometry, kept);
        let found = staying.saturating_add(going.clone().count());
        let sound = found == usize::from(zspage.slots().inuse());
        if sound && going.all(|object| place(&object)) {
            if let Some(tail) = self.cut(tail) {
                return Step::Shortened(tail);
            }
        }
        zspage.link_free_slots(geometry, geometry.end());
        if !sound {
            // What headers say cannot be trusted.
            zspage.slots().seal(geometry);
            overwritten();
        }
        self.lists.relist(zspage, geometry);
        Step::Done
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
