// SPDX-License-Identifier: GPL-2.0

//! Where slots lie in a chain of pages.
//!
//! Slots follow each other without gaps from the start of the first page, so a slot may begin on
//! one page and end on the next. It never touches three: slots are at most a page long.

use super::conv::{low_u16, low_u32, u16_to_u32, u32_to_usize};
use super::size_class::Geometry;
use core::ops::Range;

/// The place of one slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// Which page of the chain the slot begins on.
    pub page: usize,
    /// Where on that page, in bytes.
    pub offset: usize,
    /// Bytes of the slot on that page; the rest lies at the start of the next one.
    pub head: usize,
    /// The slot continues on the next page.
    pub crosses: bool,
}

impl Span {
    /// The place of slot `index`.
    #[inline(always)]
    pub const fn of(page_shift: u32, class: &Geometry, index: u16) -> Self {
        let page_size = 1u32.wrapping_shl(page_shift);
        // Below 16 pages of 64K: fits in 32 bits.
        let start = u16_to_u32(index).wrapping_mul(class.size);
        let offset = start & page_size.wrapping_sub(1);
        let room = page_size.wrapping_sub(offset);
        let crosses = class.size > room;
        Self {
            page: u32_to_usize(start.wrapping_shr(page_shift)),
            offset: u32_to_usize(offset),
            head: u32_to_usize(if crosses { room } else { class.size }),
            crosses,
        }
    }
}

/// The slot that begins at byte `offset` of page `page` of the chain.
#[inline(always)]
pub fn index_at(page_shift: u32, class: &Geometry, page: usize, offset: usize) -> u16 {
    let start = low_start(page.wrapping_shl(page_shift).wrapping_add(offset));
    low_u16(start.checked_div(class.size).unwrap_or(0))
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

/// All slots that have a byte on page `page` of the chain, those begun on the page before included.
pub fn overlapping(page_shift: u32, class: &Geometry, page: usize) -> Range<u16> {
    let start = low_start(page.wrapping_shl(page_shift));
    let end = start.wrapping_add(1u32.wrapping_shl(page_shift));
    let first = start.checked_div(class.size).unwrap_or(0);
    let last = end
        .wrapping_sub(1)
        .checked_div(class.size)
        .unwrap_or(0)
        .wrapping_add(1);
    low_u16(first)..low_u16(last.min(u16_to_u32(class.objs)))
}

/// Byte offsets in a zspage fit in 32 bits: at most 16 pages of 64K.
#[inline(always)]
const fn low_start(start: usize) -> u32 {
    low_u32(super::conv::usize_to_u64(start))
}
