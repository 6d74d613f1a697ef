// SPDX-License-Identifier: GPL-2.0

//! The last pages of a zspage: they may leave it, and come back.

#[cfg(CONFIG_COMPACTION)]
use super::migrate::Movable;
use super::{
    chain::Chain,
    migrate::Migrate,
    slot::SlotHeader,
    zspage::{first_object, Zspage},
};
use crate::kapi::gfp::Gfp;
use crate::logic::{
    header::{Header, END},
    size_class::Geometry,
};
use crate::zpdesc_rs::PAGE_SHIFT;
use core::ptr::NonNull;

/// Pages for a zspage that lacks some. Not movable yet.
pub(crate) struct Extension(Chain);

impl Extension {
    /// Allocates the page for `place` in a zspage of class `class`. Sleeps only if `gfp` allows it.
    pub(crate) fn alloc(gfp: Gfp, class: &Geometry, place: usize) -> Option<Self> {
        let places = place..place.checked_add(1)?;
        let (chain, _) = Chain::alloc(gfp, places, false, |place| first_object(class, place))?;
        Some(Self(chain))
    }

    /// Pages that it has.
    pub(crate) fn pages(&self) -> usize {
        self.0.pages()
    }
}

/// The last pages of a zspage, held: nobody isolates or replaces them. Its class's lock is held,
/// too. Dropping it lets go of the pages.
pub(crate) struct HeldTail<'g, Owner> {
    /// The zspage.
    zspage: &'g Zspage<Owner>,
    /// Where its last pages begin, not with its first.
    from: usize,
}

impl<'g, Owner: Sync> HeldTail<'g, Owner> {
    /// Holds the pages of `zspage` after the first `kept`, of which there is one at least. `None`
    /// if there are no such pages, or somebody has one of them locked.
    pub(crate) fn new(zspage: &'g Zspage<Owner>, kept: usize) -> Option<Self> {
        let some = (1..zspage.pages()).contains(&kept);
        let held = some && zspage.chain().try_hold(kept).is_ok();
        // Not a value that is dropped where it did not work: that would release others' locks.
        held.then(|| Self { zspage, from: kept })
    }

    /// The zspage.
    pub(super) fn zspage(&self) -> &'g Zspage<Owner> {
        self.zspage
    }

    /// Takes the pages from the zspage, unless there is an object on them. No free slot there is on
    /// the free list.
    pub(super) fn cut(self, class: &Geometry) -> Option<Tail> {
        let zspage = self.zspage;
        let kept = class.slots_on(PAGE_SHIFT, self.from);
        let gone = class.start_of(kept)..class.end();
        if zspage.objects(class, gone).next().is_some() {
            return None;
        }
        let tail = zspage.chain().split_off(self.from)?;
        zspage.slots().resize(class, kept);
        // They stay held.
        core::mem::forget(self);
        Some(Tail(tail))
    }
}

impl<Owner> Drop for HeldTail<'_, Owner> {
    fn drop(&mut self) {
        self.zspage.chain().let_go(self.from);
    }
}

/// Pages that were the last of a zspage, and are held. Dropping it frees them: not under a class's
/// lock.
#[must_use]
pub(crate) struct Tail(Chain);

impl Tail {
    /// Pages that it has.
    pub(crate) fn pages(&self) -> usize {
        self.0.pages()
    }
}

impl<Owner: Sync> Zspage<Owner> {
    /// Adds pages at its end, where it lacks those for the slots there. They are movable then.
    ///
    /// # Errors
    ///
    /// The pages, if they are for another place.
    pub(super) fn extend(&self, class: &Geometry, more: Extension) -> Result<(), Extension>
    where
        Owner: Migrate,
    {
        let pages = self.pages();
        let longer = pages.wrapping_add(more.pages());
        if more.0.first().place() != pages || longer > class.nr_pages() {
            return Err(more);
        }
        let Extension(more) = more;
        // INVARIANT: the pages point to it.
        more.set_zspage(NonNull::from(self));
        self.chain().append(more);
        #[cfg(CONFIG_COMPACTION)]
        self.chain().set_movable::<Movable<Owner>>(pages);
        self.slots()
            .resize(class, class.slots_on(PAGE_SHIFT, longer));
        Ok(())
    }

    /// Puts the free slots that start before `end` on the free list, the first of them first, and
    /// leaves out the others. Returns how many headers there say that they are an object's.
    pub(crate) fn link_free_slots(&self, class: &Geometry, end: u16) -> u16 {
        let mut objects: u16 = 0;
        let mut last: Option<SlotHeader<'_>> = None;
        let mut walk = self.objects(class, 0..end);
        self.slots().unlink_all();
        while let Some((start, header)) = walk.next_slot() {
            if !matches!(header.get(), Some(Header::Free(_))) {
                objects = objects.wrapping_add(1);
                continue;
            }
            match last {
                None => header.set(self.slots().link(start)),
                Some(last) => {
                    last.set(Header::Free(start));
                    header.set(Header::Free(END));
                }
            }
            last = Some(header);
        }
        objects
    }
}
