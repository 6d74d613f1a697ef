// SPDX-License-Identifier: GPL-2.0

//! A slot of a zspage: room for one object, with its header.

use crate::kapi::direct_map::phys_to_virt;
use crate::logic::{
    conv::usize_to_u64,
    header::{Header, HEADER_SIZE},
    word::Word,
};
use crate::zpdesc_rs::{are_adjacent, Zpdesc};

/// The place of one slot, while its class's lock is held.
///
/// # Invariants
///
/// The slot begins at `offset` on `zpdesc`'s page and belongs to the zspage that does; headers
/// never span pages (slot sizes are multiples of 16 bytes).
pub(crate) struct Slot<'g> {
    /// The page it begins on.
    pub(super) zpdesc: &'g Zpdesc,
    /// Where on that page, in bytes.
    pub(super) offset: usize,
    /// It ends on the next page.
    pub(super) crosses: bool,
    /// It is a whole page, whose header is in the descriptor.
    pub(super) huge: bool,
}

impl Slot<'_> {
    /// Physical address of its first byte.
    #[inline(always)]
    pub(crate) fn phys(&self) -> u64 {
        self.zpdesc.phys() | usize_to_u64(self.offset)
    }

    /// Reads its header.
    #[inline(always)]
    pub(crate) fn header(&self) -> Option<Header> {
        let raw = if self.huge {
            self.zpdesc.handle()
        } else {
            // SAFETY: By the invariant the header lies in a page of ours; the class's lock is held.
            unsafe { phys_to_virt::<u64>(self.phys()).read() }
        };
        Header::from_raw(raw)
    }

    /// Writes its header.
    #[inline(always)]
    pub(crate) fn set_header(&self, header: Header) {
        if self.huge {
            self.zpdesc.set_handle(header.to_raw());
        } else {
            // SAFETY: By the invariant the header lies in a page of ours; the class's lock is held.
            unsafe { phys_to_virt::<u64>(self.phys()).write(header.to_raw()) };
        }
    }

    /// The object cannot be addressed as one range.
    #[inline(always)]
    pub(crate) fn is_split(&self) -> bool {
        self.crosses
            && !self
                .zpdesc
                .next()
                .is_some_and(|next| are_adjacent(self.zpdesc, next))
    }

    /// The word for an object of class `class` in this slot.
    #[inline(always)]
    pub(crate) fn word(&self, class: u16) -> Word {
        Word::live(self.phys(), class, self.huge, self.is_split())
    }
}

/// Where an object's contents begin, counted from its slot's start, in bytes.
#[inline(always)]
pub(crate) fn payload_offset(word: Word) -> usize {
    if word.is_huge() {
        0
    } else {
        HEADER_SIZE
    }
}
