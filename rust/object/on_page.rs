// SPDX-License-Identifier: GPL-2.0

//! The objects that have a byte on one page: those that page migration has to hold, and to move.

use super::{handle::Handle, migrate::Migrate, slot::SlotHeader, zspage::Zspage};
use crate::kapi::conv::addr_of;
use crate::logic::{
    conv::{u16_to_u32, u32_to_usize, usize_to_u64},
    size_class::Geometry,
    span::Overlap,
    word::ADDR_SHIFT,
};
use crate::zpdesc_rs::{are_adjacent, Zpdesc, PAGE_SHIFT, PAGE_SIZE};

/// The objects that have a byte on a page. Their class's lock is held.
///
/// # Invariants
///
/// The headers of their slots, and of free slots between them, lie at the addresses `before`,
/// unless that is 0, and `first` and every `size` bytes from there, below `end`.
#[derive(Clone)]
pub(crate) struct ObjectsOn<'g> {
    /// Header of the slot that begins on the page before and ends on this one.
    before: usize,
    /// Header of the first slot that begins on the page.
    first: usize,
    /// The end of the page, or of the last slot.
    end: usize,
    /// Slots after this address go on on the next page.
    last: usize,
    /// Slot size in bytes.
    size: usize,
    /// The page before, in the chain.
    prev: Option<&'g Zpdesc>,
}

impl<'g> ObjectsOn<'g> {
    /// The objects of `zspage`, of `class`, that have a byte on `page`, one of its pages.
    #[inline(always)]
    pub(crate) fn new<Owner: Sync>(
        zspage: &'g Zspage<Owner>,
        class: &Geometry,
        page: &'g Zpdesc,
    ) -> Self {
        let size = u32_to_usize(class.size);
        if class.is_huge() {
            let first = addr_of(page.header());
            // INVARIANT: the only header is in the descriptor.
            return Self {
                before: 0,
                first,
                end: first.wrapping_add(1),
                last: first,
                size,
                prev: None,
            };
        }
        let on = Overlap::of(PAGE_SHIFT, class, page.place(), page.first_object());
        // Above the bump pointer lies what the page held before it was ours.
        let end = on.end.min(u16_to_u32(zspage.slots().bump()));
        let bytes = |granules: u32| u32_to_usize(granules) << ADDR_SHIFT;
        let address = addr_of(page.address().as_ptr());
        // Where the chain would begin if it was one range.
        let origin = address.wrapping_sub(bytes(on.begin));
        let at = |granule| origin.wrapping_add(bytes(granule));
        let prev = zspage.page_before(page);
        let (mut first, mut before) = (on.first, 0);
        if first < on.begin {
            if let Some(prev) = prev.filter(|_| first < end) {
                // The page before may be elsewhere than just before.
                let elsewhere = prev.distance_from(page).wrapping_add(PAGE_SIZE);
                before = at(first).wrapping_add(elsewhere);
            }
            first = first.wrapping_add(u16_to_u32(class.step));
        }
        // INVARIANT: slots begin with their header, and follow each other without gaps.
        Self {
            before,
            first: at(first),
            end: at(end),
            last: address.wrapping_add(PAGE_SIZE).wrapping_sub(size),
            size,
            prev,
        }
    }

    /// The object that begins on the page before.
    #[inline(always)]
    fn begun_before(&self) -> Option<Handle> {
        if self.before == 0 {
            return None;
        }
        Self::at(self.before)
    }

    /// Calls `visit` with each object whose header lies at `header`, and every `size` bytes from
    /// there below `end`, until that returns false. Returns the address after the last, if it never
    /// did.
    #[inline(always)]
    fn walk(
        &self,
        mut header: usize,
        end: usize,
        mut visit: impl FnMut(Handle) -> bool,
    ) -> Option<usize> {
        while header < end {
            if !Self::at(header).map_or(true, &mut visit) {
                return None;
            }
            header = header.wrapping_add(self.size);
        }
        Some(header)
    }

    /// Calls `visit` with each object, in order, until that returns false. Returns whether it never
    /// did.
    #[inline(always)]
    pub(crate) fn all(&self, mut visit: impl FnMut(Handle) -> bool) -> bool {
        self.begun_before().map_or(true, &mut visit)
            && self.walk(self.first, self.end, visit).is_some()
    }

    /// Puts `new` in the place of the page `old`, with all that it holds, writes the words that
    /// this changes, and releases their LOCK. The LOCK of all the objects is held.
    #[inline(always)]
    pub(crate) fn replace_page<Owner: Migrate>(
        &self,
        zspage: &Zspage<Owner>,
        old: &Zpdesc,
        new: &Zpdesc,
    ) {
        let next = zspage.replace(self.prev, old, new);
        if let Some(handle) = self.begun_before() {
            let split = !self.prev.is_some_and(|prev| are_adjacent(prev, new));
            handle.unlock(handle.load().unlocked().with_split(split));
        }
        let by = usize_to_u64(new.distance_from(old));
        // The old page still tells which objects there are.
        let within = self.end.min(self.last.wrapping_add(1));
        let rest = self.walk(self.first, within, |handle| {
            handle.unlock(handle.load().unlocked().moved_by(by));
            true
        });
        let crossing = rest.filter(|header| *header < self.end);
        if let Some(handle) = crossing.and_then(Self::at) {
            let split = !next.is_some_and(|next| are_adjacent(new, next));
            let word = handle.load().unlocked().moved_by(by);
            handle.unlock(word.with_split(split));
        }
    }

    /// The handle of the object whose header lies at an address, if there is one.
    #[inline(always)]
    fn at(header: usize) -> Option<Handle> {
        // SAFETY: A header lies there, by the invariant.
        unsafe { SlotHeader::at(header) }.handle()
    }
}
