// SPDX-License-Identifier: GPL-2.0

//! The object header: eight bytes that say whose object lies here.
//!
//! It is the first word of every slot (for a huge object, the handle field of the page's
//! descriptor). Handles are 8-byte aligned, so the low bits carry the state:
//!
//! | tag | state | the other bits |
//! |-----|-------|----------------|
//! | `00` | free | where the next free slot starts, or [`END`] |
//! | `01` | allocated | handle |
//! | `11` | free deferred by reclaim | handle |
//!
//! A header means something only for slots below the zspage's bump pointer: pages come recycled.

use super::conv::{
    low_u16, low_u32, u16_to_u32, u32_to_u64, u32_to_usize, u64_to_usize, usize_to_u64,
};

/// Bits of a header that hold its tag.
const TAG_MASK: u64 = 0b11;
/// Tag of an object's header.
const TAG_ALLOCATED: u64 = 0b01;
/// Tag of the header of an object whose free is deferred.
const TAG_DEFERRED: u64 = 0b11;
/// Where the link lies in the header of a free slot.
const LINK_SHIFT: u32 = 2;
/// The largest link.
const LINK_MAX: u64 = u32_to_u64(u16_to_u32(END));

/// The end of a free list. No slot starts there: the largest zspage, of 1 MiB, has 65536 granules,
/// and the smallest slot two.
pub const END: u16 = u16::MAX;

/// Size of a header in bytes.
pub const HEADER_BYTES: u32 = 8;
/// [`HEADER_BYTES`] as a `usize`.
pub const HEADER_SIZE: usize = u32_to_usize(HEADER_BYTES);

/// What a header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Header {
    /// Nobody's; where the next free slot starts, in granules, or [`END`].
    Free(u16),
    /// An object; its handle.
    Allocated(usize),
    /// An object whose free arrived while its zspage was under reclaim; its handle.
    Deferred(usize),
}

impl Header {
    /// Packs a header. Handles are multiples of 8; lower bits are dropped.
    #[inline(always)]
    pub const fn to_raw(self) -> u64 {
        match self {
            Self::Free(next) => u32_to_u64(u16_to_u32(next)) << LINK_SHIFT,
            Self::Allocated(handle) => (usize_to_u64(handle) & !TAG_MASK) | TAG_ALLOCATED,
            Self::Deferred(handle) => (usize_to_u64(handle) & !TAG_MASK) | TAG_DEFERRED,
        }
    }

    /// Unpacks a header; `None` if it is one that is never written.
    #[inline(always)]
    pub const fn from_raw(raw: u64) -> Option<Self> {
        match raw & TAG_MASK {
            0 if raw >> LINK_SHIFT <= LINK_MAX => {
                Some(Self::Free(low_u16(low_u32(raw >> LINK_SHIFT))))
            }
            TAG_ALLOCATED => Some(Self::Allocated(u64_to_usize(raw & !TAG_MASK))),
            TAG_DEFERRED => Some(Self::Deferred(u64_to_usize(raw & !TAG_MASK))),
            _ => None,
        }
    }

    /// The handle in a header of an object, allocated or deferred, as it lies in memory.
    #[inline(always)]
    pub const fn handle_in(raw: u64) -> Option<usize> {
        // The tags of objects, and no other that is written, have this bit.
        if raw & TAG_ALLOCATED != 0 {
            Some(u64_to_usize(raw & !TAG_MASK))
        } else {
            None
        }
    }

    /// The handle of an object, also of one whose free is deferred. For tests.
    #[allow(dead_code)] // The module has no use for it.
    pub const fn handle(self) -> Option<usize> {
        Self::handle_in(self.to_raw())
    }
}
