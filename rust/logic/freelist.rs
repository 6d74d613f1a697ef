// SPDX-License-Identifier: GPL-2.0

//! Which slots of a zspage are free.
//!
//! Freed slots form a list through their headers. Slots that were never used are not on it: they
//! lie above the bump index, so that a new zspage needs no initialisation and no page of it is
//! touched before it is used.

use super::header::{Header, END};

/// The slots of a zspage: free list head, bump index and number allocated.
///
/// # Invariants
///
/// `inuse <= bump`; slots at `bump` and above were never used, and exactly `bump - inuse` slots
/// are on the list that starts at `head`. Unless [sealed](Self::sealed): then `inuse` is too large.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slots {
    /// First slot of the free list, or [`END`].
    head: u16,
    /// One past the last slot that was ever used.
    bump: u16,
    /// Slots allocated.
    inuse: u16,
}

/// A slot that may be allocated next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slot {
    /// The head of the free list. Its header holds the next free slot.
    Recycled(u16),
    /// Never used before. Its header means nothing yet.
    Fresh(u16),
}

impl Slots {
    /// A zspage none of whose slots was ever used.
    pub const fn new() -> Self {
        Self {
            head: END,
            bump: 0,
            inuse: 0,
        }
    }

    /// Slots allocated.
    #[inline(always)]
    pub const fn inuse(self) -> u16 {
        self.inuse
    }

    /// One past the last slot that was ever used: headers below mean something.
    #[inline(always)]
    pub const fn bump(self) -> u16 {
        self.bump
    }

    /// The slot to allocate next in a zspage of `objs` slots; `None` if it is full.
    #[inline(always)]
    pub const fn next(self, objs: u16) -> Option<Slot> {
        if self.head != END {
            Some(Slot::Recycled(self.head))
        } else if self.bump < objs {
            Some(Slot::Fresh(self.bump))
        } else {
            None
        }
    }

    /// Takes a recycled slot from [`Self::next`]; `link` is what its header said.
    #[inline(always)]
    pub const fn take_recycled(self, link: u16) -> Self {
        // INVARIANT: one slot left the list and became allocated.
        Self {
            head: link,
            bump: self.bump,
            inuse: self.inuse.wrapping_add(1),
        }
    }

    /// Takes a fresh slot from [`Self::next`].
    #[inline(always)]
    pub const fn take_fresh(self) -> Self {
        // INVARIANT: the slot at `bump` became used and allocated.
        Self {
            head: self.head,
            bump: self.bump.wrapping_add(1),
            inuse: self.inuse.wrapping_add(1),
        }
    }

    /// A zspage of `objs` slots whose free list was overwritten: it looks full until objects are
    /// freed, and never empty again, so what is left of it stays where it is.
    #[inline(always)]
    pub const fn sealed(self, objs: u16) -> Self {
        Self {
            head: END,
            bump: self.bump,
            inuse: objs,
        }
    }

    /// Frees the allocated slot `index`. Returns the header to write into it.
    #[inline(always)]
    pub const fn release(self, index: u16) -> (Self, Header) {
        // INVARIANT: one slot is allocated no more and joined the list.
        let slots = Self {
            head: index,
            bump: self.bump,
            inuse: self.inuse.saturating_sub(1),
        };
        (slots, Header::Free(self.head))
    }
}

impl Default for Slots {
    fn default() -> Self {
        Self::new()
    }
}
