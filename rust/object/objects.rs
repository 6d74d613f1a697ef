// SPDX-License-Identifier: GPL-2.0

//! The objects of a zspage, found by the headers of its slots.

use super::{
    handle::Handle,
    slot::{Slot, SlotHeader},
    zspage::Zspage,
};
use crate::kapi::conv::addr_of;
use crate::logic::{
    conv::{low_u16, low_u32, u16_to_usize, u32_to_usize, usize_to_u64},
    header::Header,
    size_class::Geometry,
    span::Span,
    word::ADDR_SHIFT,
};
use crate::zpdesc_rs::{are_adjacent, Zpdesc, PAGE_SHIFT, PAGE_SIZE};
use core::ops::Range;

/// An object found by its slot.
pub(crate) struct Found<'g> {
    /// Where its slot starts in the zspage.
    pub(crate) start: u16,
    /// The slot's header.
    pub(crate) header: SlotHeader<'g>,
    /// The slot ends on the next page, and cannot be addressed as one range.
    split: bool,
    /// The handle that the header says.
    pub(crate) handle: Handle,
}

impl Found<'_> {
    /// Copies its contents, which are in a slot of `size` bytes, to a slot of `room` bytes, which
    /// are no fewer. Neither is huge.
    ///
    /// The caller holds the object's LOCK, and the classes' locks.
    #[inline(always)]
    pub(crate) fn copy_to(&self, to: Slot<'_>, size: u32, room: u32) {
        to.fill_from(self.header, self.split, size, room);
    }

    /// Frees its slot, which is one of `zspage`: the object is elsewhere.
    #[inline(always)]
    pub(crate) fn free_in<Owner: Sync>(&self, zspage: &Zspage<Owner>) {
        self.header.set(zspage.slots().release(self.start));
    }

    /// Its free was deferred by reclaim.
    pub(crate) fn is_deferred(&self) -> bool {
        self.header.is(Header::Deferred(self.handle.addr()))
    }
}

impl<Owner: Sync> Zspage<Owner> {
    /// The objects in the slots of `range`, in order. Slots that were never used are left out.
    #[inline(always)]
    pub(crate) fn objects(&self, class: &Geometry, range: Range<u16>) -> Objects<'_> {
        // Above the bump pointer lies what the page held before it was ours.
        let (start, end) = (
            bytes(range.start),
            bytes(range.end.min(self.slots().bump())),
        );
        let size = u32_to_usize(class.size);
        let (zpdesc, before, room) = if self.chain().range().is_some() {
            (self.chain().page(0), 0, usize::MAX)
        } else {
            let span = Span::of(PAGE_SHIFT, class, range.start);
            let page = self.chain().page(span.page);
            (page, span.page.wrapping_mul(PAGE_SIZE), PAGE_SIZE)
        };
        if class.is_huge() {
            let header = addr_of(zpdesc.header());
            // INVARIANT: there is only one slot.
            return Objects {
                size,
                huge: true,
                zpdesc,
                origin: header,
                next: header.wrapping_add(start),
                stop: header.wrapping_add(end),
                beyond: 0,
            };
        }
        let page = addr_of(zpdesc.address().as_ptr());
        let origin = page.wrapping_sub(before);
        // In bytes from the start of the page that the first slot begins on.
        let end = end.saturating_sub(before);
        // INVARIANT: slots follow each other from the start of the chain.
        Objects {
            size,
            huge: false,
            zpdesc,
            origin,
            next: origin.wrapping_add(start),
            stop: page.wrapping_add(end.min(room)),
            beyond: end.saturating_sub(room),
        }
    }
}

/// See [`Zspage::objects`].
///
/// # Invariants
///
/// The header of the next slot lies at the address `next`, on the page of `zpdesc`, if that is
/// below `stop`. Otherwise the slot begins on the next page, if `next` is below the end there. A
/// zspage whose pages are one range is seen as one page. A huge object's header is in the page's
/// descriptor.
#[derive(Clone)]
pub(crate) struct Objects<'g> {
    /// Slot size in bytes.
    size: usize,
    /// The only slot is a whole page.
    huge: bool,
    /// The page that slots begin on.
    zpdesc: &'g Zpdesc,
    /// Where the chain would begin if all of it was one range with this page.
    origin: usize,
    /// Address of the next header.
    next: usize,
    /// Where the slots that begin on the page end, but not beyond the page: an address.
    stop: usize,
    /// Bytes of slots on the pages after it.
    beyond: usize,
}

impl<'g> Objects<'g> {
    /// The address of the next header.
    #[inline(always)]
    fn next_header(&mut self) -> Option<usize> {
        if self.next >= self.stop {
            self.next_page()?;
        }
        let header = self.next;
        // INVARIANT: the slot after this one.
        self.next = header.wrapping_add(self.size);
        Some(header)
    }

    /// Goes on to the next page, if slots begin there.
    #[inline(always)]
    fn next_page(&mut self) -> Option<()> {
        // How far the last slot reaches into it.
        let over = self.next.wrapping_sub(self.stop);
        if over >= self.beyond {
            return None;
        }
        // SAFETY: Slots begin on the next page, so they are not a huge object.
        self.zpdesc = unsafe { self.zpdesc.next() }?;
        let page = addr_of(self.zpdesc.address().as_ptr());
        // The page before ended at `stop`.
        self.origin = page.wrapping_sub(self.stop.wrapping_sub(self.origin));
        // INVARIANT: slots follow each other without gaps.
        self.next = page.wrapping_add(over);
        self.stop = page.wrapping_add(self.beyond.min(PAGE_SIZE));
        self.beyond = self.beyond.saturating_sub(PAGE_SIZE);
        Some(())
    }

    /// Where the slot starts whose header [`Self::next_header`] has just returned.
    #[inline(always)]
    fn start_of(&self, header: usize) -> u16 {
        let start = header.wrapping_sub(self.origin) >> ADDR_SHIFT;
        low_u16(low_u32(usize_to_u64(start)))
    }

    /// The header of the next slot, whatever is in it, and where the slot starts.
    #[inline(always)]
    pub(super) fn next_slot(&mut self) -> Option<(u16, SlotHeader<'g>)> {
        let header = self.next_header()?;
        // SAFETY: A header lies there, by the invariant.
        Some((self.start_of(header), unsafe { SlotHeader::at(header) }))
    }
}

impl<'g> Iterator for Objects<'g> {
    type Item = Found<'g>;

    #[inline(always)]
    fn next(&mut self) -> Option<Found<'g>> {
        // Of a slot that is free, nothing is worked out but where its header lies.
        loop {
            let at = self.next_header()?;
            // SAFETY: A header lies there, by the invariant.
            let header = unsafe { SlotHeader::at(at) };
            if let Some(handle) = header.handle() {
                // If the slots end on this page, none crosses its end. Nor does a huge one.
                let crosses = self.next > self.stop && !self.huge;
                return Some(Found {
                    start: self.start_of(at),
                    header,
                    // SAFETY: The page is not that of a huge object if one crosses its end.
                    split: crosses && !unsafe { goes_on(self.zpdesc) },
                    handle,
                });
            }
        }
    }
}

/// The page after `zpdesc` in its chain, which there is, can be addressed with it as one range.
///
/// # Safety
///
/// Not for the page of a huge object.
#[inline(always)]
pub(super) unsafe fn goes_on(zpdesc: &Zpdesc) -> bool {
    // SAFETY: Not the page of a huge object, by this function's contract.
    let next = unsafe { zpdesc.next() };
    next.is_some_and(|next| are_adjacent(zpdesc, next))
}

/// Bytes before the slot at `start`, in its zspage.
#[inline(always)]
pub(super) fn bytes(start: u16) -> usize {
    u16_to_usize(start) << ADDR_SHIFT
}
