// SPDX-License-Identifier: GPL-2.0

//! Where slots lie in a chain of pages.
//!
//! Slots follow each other without gaps from the start of the first page, so a slot may begin on
//! one page and end on the next. It never touches three: slots are at most a page long.
//!
//! A slot's start is in granules, as in [`Geometry`].

use super::conv::{low_u16, low_u32, u16_to_u32, u32_to_usize};
use super::size_class::Geometry;
use super::word::ADDR_SHIFT;

/// The place of one slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// Which page of the chain the slot begins on.
    pub page: usize,
    /// Where on that page, in bytes.
    pub offset: usize,
    /// The slot continues on the next page.
    pub crosses: bool,
}

impl Span {
    /// The place of the slot at `start`.
    #[inline(always)]
    pub const fn of(page_shift: u32, class: &Geometry, start: u16) -> Self {
        let page_size = 1u32.wrapping_shl(page_shift);
        let start = u16_to_u32(start).wrapping_shl(ADDR_SHIFT);
        let offset = start & page_size.wrapping_sub(1);
        let room = page_size.wrapping_sub(offset);
        let crosses = class.size > room;
        Self {
            page: u32_to_usize(start.wrapping_shr(page_shift)),
            offset: u32_to_usize(offset),
            crosses,
        }
    }
}

/// Where a slot starts that begins at byte `offset` of page `page` of the chain.
#[inline(always)]
pub const fn start_at(page_shift: u32, page: usize, offset: usize) -> u16 {
    let before = page.wrapping_shl(page_shift.wrapping_sub(ADDR_SHIFT));
    low_u16(low_start(before | offset.wrapping_shr(ADDR_SHIFT)))
}

/// Offset in bytes of the first slot that begins on page `page` of the chain; the page size or more
/// if none does.
pub fn first_offset(page_shift: u32, class: &Geometry, page: usize) -> usize {
    let start = low_start(page.wrapping_shl(page_shift));
    let over = start.checked_rem(class.size).unwrap_or(0);
    let offset = if over == 0 {
        0
    } else {
        class.size.wrapping_sub(over)
    };
    // Bytes up to the end of the last slot; what follows is waste.
    let end = u16_to_u32(class.objs).wrapping_mul(class.size);
    if start.wrapping_add(offset) < end {
        u32_to_usize(offset)
    } else {
        1usize.wrapping_shl(page_shift)
    }
}

/// The slots that have a byte on one page, those begun on the page before included. In granules
/// from the start of the chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Overlap {
    /// Where the first of them starts; the others follow up to `end`.
    pub first: u32,
    /// Where the page begins.
    pub begin: u32,
    /// Where the page ends.
    pub end: u32,
}

impl Overlap {
    /// The slots on page `page` of the chain. `first_offset` is what [`first_offset`] says of it;
    /// at most the offset of the page's last byte, which stands for all above.
    #[inline(always)]
    pub const fn of(page_shift: u32, class: &Geometry, page: usize, first_offset: usize) -> Self {
        let begin = low_start(page.wrapping_shl(page_shift.wrapping_sub(ADDR_SHIFT)));
        let last_byte = 1usize.wrapping_shl(page_shift).wrapping_sub(1);
        let first = if first_offset == 0 {
            begin
        } else if first_offset == last_byte {
            // The end of the last slot is all that there is.
            u16_to_u32(class.last)
        } else {
            let offset = low_start(first_offset).wrapping_shr(ADDR_SHIFT);
            begin
                .wrapping_add(offset)
                .wrapping_sub(u16_to_u32(class.step))
        };
        let granules = 1u32.wrapping_shl(page_shift.wrapping_sub(ADDR_SHIFT));
        Self {
            first,
            begin,
            end: begin.wrapping_add(granules),
        }
    }
}

/// Byte offsets in a zspage fit in 32 bits: at most 16 pages of 64K.
#[inline(always)]
const fn low_start(start: usize) -> u32 {
    low_u32(super::conv::usize_to_u64(start))
}
