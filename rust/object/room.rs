// SPDX-License-Identifier: GPL-2.0

//! Where objects move to.

use super::{slot::Slot, zspage::Zspage};
use crate::logic::{conv::usize_to_u64, size_class::Geometry, span::Span};
use crate::zpdesc_rs::{are_adjacent, Zpdesc, MAX_PAGES, PAGE_SHIFT};

/// A zspage that objects move to, of a class that is not huge. The class's lock is held.
///
/// Where its pages are is remembered as they are met, so that the chain is followed only once for all
/// objects.
///
/// # Invariants
///
/// The first `known` elements of `pages` are the first pages of the zspage, and `next` is the one after
/// them. As long as the class's lock is held, they stay.
pub(crate) struct Room<'g, Owner> {
    /// The zspage.
    zspage: &'g Zspage<Owner>,
    /// Physical addresses of its pages, with [`APART`].
    pages: [u64; MAX_PAGES],
    /// How many of them are known.
    known: usize,
    /// The first that is not; none after the last.
    next: Option<&'g Zpdesc>,
}

/// In the address of a page: it cannot be addressed as one range with the next page.
const APART: u64 = 1;

impl<'g, Owner: Sync> Room<'g, Owner> {
    /// In this zspage.
    #[inline(always)]
    pub(crate) fn new(zspage: &'g Zspage<Owner>) -> Self {
        Self {
            zspage,
            pages: [0; MAX_PAGES],
            known: 0,
            next: Some(zspage.chain().first()),
        }
    }

    /// From now on it is in this zspage.
    #[inline(always)]
    pub(crate) fn move_to(&mut self, zspage: &'g Zspage<Owner>) {
        if !core::ptr::eq(self.zspage, zspage) {
            self.zspage = zspage;
            // INVARIANT: none is known.
            self.known = 0;
            self.next = Some(zspage.chain().first());
        }
    }

    /// The zspage.
    #[inline(always)]
    pub(crate) fn zspage(&self) -> &'g Zspage<Owner> {
        self.zspage
    }

    /// The slot of `class` at `start`, which is not beyond the last.
    #[inline(always)]
    pub(crate) fn slot(&mut self, class: &Geometry, start: u16) -> Slot<'g> {
        let span = Span::of(PAGE_SHIFT, class, start);
        while self.known <= span.page {
            self.follow();
        }
        let page = self.pages.get(span.page).copied().unwrap_or(0);
        let phys = (page & !APART) | usize_to_u64(span.offset);
        // SAFETY: Slots follow each other from the start of the chain.
        unsafe { Slot::at(phys, span.crosses && page & APART != 0, false) }
    }

    /// Follows the chain to the next page.
    #[inline(always)]
    fn follow(&mut self) {
        if let (Some(zpdesc), Some(page)) = (self.next, self.pages.get_mut(self.known)) {
            // INVARIANT: one more is known.
            self.next = zpdesc.next();
            let adjacent = self.next.is_some_and(|next| are_adjacent(zpdesc, next));
            *page = zpdesc.phys() | if adjacent { 0 } else { APART };
        }
        self.known = self.known.wrapping_add(1);
    }
}
