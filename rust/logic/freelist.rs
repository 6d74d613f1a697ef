// SPDX-License-Identifier: GPL-2.0

//! Which slots of a zspage are free.
//!
//! Freed slots form a list through their headers. Slots that were never used are not on it: they
//! start at the bump pointer or above, so that a new zspage needs no initialisation and no page of
//! it is touched before it is used.
//!
//! Slots are named by where they start, as [`Geometry`] has it.

use super::header::{Header, END};
use super::size_class::Geometry;
use core::cell::Cell;

/// The slots of a zspage: free list head, bump pointer and number allocated.
///
/// # Invariants
///
/// Slots at `bump` and above were never used; those below that are not among the `inuse` allocated
/// are on the list that starts at `head`. Unless [sealed](Self::seal): then `inuse` is too large.
/// `head` is [`END`] or not beyond the class's last slot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slots {
    /// First slot of the free list, or [`END`].
    head: Cell<u16>,
    /// The end of the last slot that was ever used.
    bump: Cell<u16>,
    /// Slots allocated.
    inuse: Cell<u16>,
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
    /// A zspage none of whose slots was ever used.
    pub const fn new() -> Self {
        Self {
            head: Cell::new(END),
            bump: Cell::new(0),
            inuse: Cell::new(0),
        }
    }

    /// Slots allocated.
    #[inline(always)]
    pub fn inuse(&self) -> u16 {
        self.inuse.get()
    }

    /// The end of the last slot that was ever used: headers below mean something.
    #[inline(always)]
    pub fn bump(&self) -> u16 {
        self.bump.get()
    }

    /// The slot to allocate next in a zspage of `class`; `None` if it is full.
    #[inline(always)]
    pub fn next(&self, class: &Geometry) -> Option<Slot> {
        let (head, bump) = (self.head.get(), self.bump.get());
        if head != END {
            Some(Slot::Recycled(head))
        } else if bump <= class.last {
            Some(Slot::Fresh(bump))
        } else {
            None
        }
    }

    /// Takes the recycled slot from [`Self::next`]; `link` is what its header said. False, with
    /// nothing changed, if that cannot be: the header was overwritten.
    #[inline(always)]
    #[must_use]
    pub fn take_recycled(&self, class: &Geometry, link: u16) -> bool {
        let sound = link <= class.last || link == END;
        if sound {
            // INVARIANT: one slot left the list and became allocated.
            self.head.set(link);
            self.inuse.set(self.inuse.get().wrapping_add(1));
        }
        sound
    }

    /// Takes the fresh slot from [`Self::next`].
    #[inline(always)]
    pub fn take_fresh(&self, class: &Geometry) {
        // INVARIANT: the slot at `bump` became used and allocated.
        self.bump.set(self.bump.get().wrapping_add(class.step));
        self.inuse.set(self.inuse.get().wrapping_add(1));
    }

    /// Gives up the free list of a zspage of `objs` slots, because it was overwritten. The zspage
    /// looks full until objects are freed, and never empty again, so what is left of it stays where
    /// it is.
    pub fn seal(&self, objs: u16) {
        self.head.set(END);
        self.inuse.set(objs);
    }

    /// Frees the allocated slot at `start`. Returns the header to write into it.
    #[inline(always)]
    pub fn release(&self, start: u16) -> Header {
        // INVARIANT: one slot is allocated no more and joined the list.
        self.inuse.set(self.inuse.get().wrapping_sub(1));
        Header::Free(self.head.replace(start))
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self::new()
    }
}
