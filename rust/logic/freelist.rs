// SPDX-License-Identifier: GPL-2.0

//! Which slots of a zspage are free.
//!
//! Freed slots form a list through their headers. Slots that were never used are not on it: they
//! start at the bump pointer or above, so that a new zspage needs no initialisation and no page of
//! it is touched before it is used.
//!
//! Slots are named by where they start, as [`Geometry`] has it.

use super::fullness::Group;
use super::header::{Header, END};
use super::size_class::Geometry;
use core::cell::Cell;

/// The slots of a zspage: free list head, bump pointer and how many there are.
///
/// The pages at the end of a zspage may be missing, and the slots there with them.
///
/// # Invariants
///
/// Slots at `bump` and above were never used; those below that are not allocated are on the list
/// that starts at `head`. Unless [sealed](Self::seal): then `taken` is too large. `last` is the
/// last slot whose pages are there, or, as long as none is, where the first would start. `head` is
/// [`END`] or not beyond `last`, and `bump` not beyond the end of that slot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slots {
    /// First slot of the free list, or [`END`].
    head: Cell<u16>,
    /// The end of the last slot that was ever used.
    bump: Cell<u16>,
    /// The last slot whose pages are there.
    last: Cell<u16>,
    /// Slots that are not free: allocated, or missing.
    taken: Cell<u16>,
    /// Slots whose pages are missing.
    missing: Cell<u16>,
}

/// A slot that may be allocated next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slot {
    /// The head of the free list. Its header holds the next free slot.
    Recycled(u16),
    /// Never used before. Its header means nothing yet.
    Fresh(u16),
}

impl Slot {
    /// Where it starts in its zspage.
    #[inline(always)]
    pub const fn start(self) -> u16 {
        match self {
            Self::Recycled(start) | Self::Fresh(start) => start,
        }
    }
}

impl Slots {
    /// A zspage of `class` none of whose slots was ever used.
    pub const fn new(class: &Geometry) -> Self {
        Self {
            head: Cell::new(END),
            bump: Cell::new(0),
            last: Cell::new(class.last),
            taken: Cell::new(0),
            missing: Cell::new(0),
        }
    }

    /// Slots allocated.
    #[inline(always)]
    pub fn inuse(&self) -> u16 {
        self.taken.get().wrapping_sub(self.missing.get())
    }

    /// No slot is allocated.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.taken.get() == self.missing.get()
    }

    /// Slots that are not free, because they are allocated or missing: what counts for how full a
    /// zspage is.
    #[inline(always)]
    pub fn taken(&self) -> u16 {
        self.taken.get()
    }

    /// The fullness group: by how many slots are taken, unless none is allocated.
    pub fn group(&self, class: &Geometry) -> Group {
        let counted = if self.is_empty() { 0 } else { self.taken() };
        Group::of(counted, class)
    }

    /// Slots whose pages are missing.
    pub fn missing(&self) -> u16 {
        self.missing.get()
    }

    /// The end of the last slot that was ever used: headers below mean something.
    #[inline(always)]
    pub fn bump(&self) -> u16 {
        self.bump.get()
    }

    /// The slot to allocate next; `None` if there is none.
    #[inline(always)]
    pub fn next(&self) -> Option<Slot> {
        let (head, bump) = (self.head.get(), self.bump.get());
        if head != END {
            Some(Slot::Recycled(head))
        } else if bump <= self.last.get() {
            Some(Slot::Fresh(bump))
        } else {
            None
        }
    }

    /// Takes the recycled slot from [`Self::next`]; `link` is what its header said. False, with
    /// nothing changed, if that cannot be: the header was overwritten.
    #[inline(always)]
    #[must_use]
    pub fn take_recycled(&self, link: u16) -> bool {
        let sound = link == END || link <= self.last.get();
        if sound {
            // INVARIANT: one slot left the list and became allocated.
            self.head.set(link);
            self.taken.set(self.taken.get().wrapping_add(1));
        }
        sound
    }

    /// Takes the fresh slot from [`Self::next`].
    #[inline(always)]
    pub fn take_fresh(&self, class: &Geometry) {
        // INVARIANT: the slot at `bump` became used and allocated.
        self.bump.set(self.bump.get().wrapping_add(class.step));
        self.taken.set(self.taken.get().wrapping_add(1));
    }

    /// Gives up the free list of a zspage of `class`, because it was overwritten. The zspage looks
    /// full until objects are freed, and never empty again, so what is left of it stays where it
    /// is.
    pub fn seal(&self, class: &Geometry) {
        self.head.set(END);
        self.taken.set(class.objs);
    }

    /// Frees all slots: they are as if they had never been used.
    #[inline(always)]
    pub fn release_all(&self) {
        // INVARIANT: what is missing is taken, as before.
        self.head.set(END);
        self.bump.set(0);
        self.taken.set(self.missing.get());
    }

    /// Frees the allocated slot at `start`. Returns the header to write into it.
    #[inline(always)]
    pub fn release(&self, start: u16) -> Header {
        // INVARIANT: one slot is allocated no more and joined the list.
        self.taken.set(self.taken.get().wrapping_sub(1));
        self.link(start)
    }

    /// Frees an allocated slot that is about to go, or to be [linked](Self::link). Returns the
    /// header to write into it.
    pub fn release_unlinked(&self) -> Header {
        self.taken.set(self.taken.get().wrapping_sub(1));
        Header::Free(END)
    }

    /// Empties the list: all free slots that are to stay are [linked](Self::link) again.
    pub fn unlink_all(&self) {
        self.head.set(END);
    }

    /// Puts the free slot at `start`, which is not on the list, there. Returns the header to write
    /// into it.
    #[inline(always)]
    pub fn link(&self, start: u16) -> Header {
        Header::Free(self.head.replace(start))
    }

    /// Gives up all slots but the first `kept`, because their pages go, or gets slots back, because
    /// pages came. Those that go are free and on no list.
    pub fn resize(&self, class: &Geometry, kept: u16) {
        let missing = class.objs.saturating_sub(kept);
        let more = missing.wrapping_sub(self.missing.get());
        // INVARIANT: what is missing is taken; all that is left ends with the last slot kept.
        self.taken.set(self.taken.get().wrapping_add(more));
        self.missing.set(missing);
        let end = class.start_of(kept);
        self.last.set(end.saturating_sub(class.step));
        self.bump.set(self.bump.get().min(end));
    }
}
