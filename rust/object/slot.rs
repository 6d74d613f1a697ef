// SPDX-License-Identifier: GPL-2.0

//! A slot of a zspage: room for one object, with its header.

use super::{copy::Pieces, handle::Handle};
use crate::kapi::{
    conv::{addr_of, ptr_at},
    direct_map::phys_to_virt,
};
use crate::logic::{
    conv::u32_to_usize,
    header::{Header, HEADER_SIZE},
    word::Word,
};
use crate::zpdesc_rs::{Zpdesc, PAGE_SIZE};
use core::{
    ptr::{copy_nonoverlapping, NonNull},
    sync::atomic::{AtomicU64, Ordering},
};

/// The place of one slot, while its class's lock or its object's LOCK is held.
///
/// # Invariants
///
/// The slot begins at the address in `place` and belongs to the zspage that the page there does; headers
/// never span pages (slot sizes are multiples of 16 bytes).
#[derive(Clone, Copy)]
pub(crate) struct Slot<'g> {
    /// Physical address of its first byte, with [`SPLIT`]: the value fits in two registers.
    place: u64,
    /// Its header: its first word, or, if it is a whole page, in the page's descriptor.
    header: &'g AtomicU64,
}

/// In the place of a slot: it ends on the next page, and cannot be addressed as one range.
const SPLIT: u64 = 1;

impl<'g> Slot<'g> {
    /// The slot at a physical address, split between two pages or `huge`: a whole page.
    ///
    /// # Safety
    ///
    /// A slot of a zspage begins there, which lives as long as the value is used.
    #[inline(always)]
    pub(super) unsafe fn at(phys: u64, split: bool, huge: bool) -> Self {
        let header = if huge {
            // SAFETY: It is a page of ours.
            addr_of(unsafe { Zpdesc::from_phys(phys) }.header())
        } else {
            addr_of(phys_to_virt::<u8>(phys))
        };
        // SAFETY: A slot's header is its first word, or, if it is a whole page, in the descriptor.
        unsafe { Self::with_header(phys, split, header) }
    }

    /// The slot at a physical address, split or not, whose header lies at the address `header`.
    ///
    /// # Safety
    ///
    /// As for [`Slot::at`].
    #[inline(always)]
    pub(super) unsafe fn with_header(phys: u64, split: bool, header: usize) -> Self {
        // SAFETY: The slot's header lies there, by this function's contract.
        let header = unsafe { header_at(header) };
        // INVARIANT: the caller's promise.
        Self {
            place: phys | if split { SPLIT } else { 0 },
            header,
        }
    }

    /// The slot of the object that `word`, which is split and whose LOCK the caller holds, leads
    /// to.
    pub(super) fn of_split(word: Word) -> Self {
        // SAFETY: The word is locked, so its slot is and stays the object's.
        unsafe { Self::at(word.phys(), true, false) }
    }
}

impl Slot<'_> {
    /// Physical address of its first byte.
    #[inline(always)]
    fn phys(self) -> u64 {
        self.place & !SPLIT
    }

    /// It ends on the next page, and cannot be addressed as one range.
    #[inline(always)]
    fn is_split(self) -> bool {
        self.place & SPLIT != 0
    }

    /// Reads its header; `None` if there is none that was ever written.
    #[inline(always)]
    pub(crate) fn header(&self) -> Option<Header> {
        Header::from_raw(self.raw_header())
    }

    /// Its header is this one.
    #[inline(always)]
    pub(crate) fn has_header(&self, header: Header) -> bool {
        self.raw_header() == header.to_raw()
    }

    /// Reads what lies in the header's place.
    #[inline(always)]
    fn raw_header(&self) -> u64 {
        // Relaxed: guarded by the class's lock.
        self.header.load(Ordering::Relaxed)
    }

    /// Writes its header.
    #[inline(always)]
    pub(crate) fn set_header(&self, header: Header) {
        // Relaxed: guarded by the class's lock.
        self.header.store(header.to_raw(), Ordering::Relaxed);
    }

    /// The word of an object that is in this slot now; `word` says where it was.
    #[inline(always)]
    pub(crate) fn word(&self, word: Word) -> Word {
        word.moved(self.phys(), self.is_split())
    }

    /// Address of the contents of the object in this slot, not of a huge one.
    #[inline(always)]
    fn contents_at(self) -> usize {
        addr_of(self.header).wrapping_add(HEADER_SIZE)
    }

    /// The contents of the object in this slot of `size` bytes or more, not of a huge one: the first
    /// `size` bytes of the slot, with the header.
    #[inline(always)]
    pub(super) fn contents(self, size: usize) -> Option<Pieces> {
        let len = size.checked_sub(HEADER_SIZE)?;
        let start = NonNull::new(ptr_at::<u8>(self.contents_at()))?;
        if !self.is_split() {
            // SAFETY: The slot is one range of our pages, by the invariant.
            return Some(unsafe { Pieces::one(start, len) });
        }
        // Up to the end of the page, which no header is at: slots begin at multiples of 16 bytes. What
        // lies in a larger slot may end before.
        let first = len.min(self.contents_at().wrapping_neg() & (PAGE_SIZE - 1));
        // SAFETY: It begins on a page of ours, by the invariant.
        let second = unsafe { Zpdesc::from_phys(self.phys()) }.next()?.address();
        // SAFETY: The slot goes on to the end of this page, by the invariant.
        let head = unsafe { Pieces::one(start, first) };
        // SAFETY: And from the start of the next page to its own end.
        Some(unsafe { head.and(second, len.wrapping_sub(first)) })
    }

    /// Copies the contents of an object of a class with slots of `size` bytes to another slot, of
    /// `room` bytes, which are no fewer. Neither is huge.
    ///
    /// The caller holds the object's LOCK, and the classes' locks.
    #[inline(always)]
    pub(crate) fn copy_to(self, to: Slot<'_>, size: u32, room: u32) {
        let size = u32_to_usize(size.min(room));
        if (self.place | to.place) & SPLIT != 0 {
            return self.copy_pieces_to(to, size);
        }
        let len = size.wrapping_sub(HEADER_SIZE);
        let (from, to) = (
            ptr_at::<u8>(self.contents_at()),
            ptr_at::<u8>(to.contents_at()),
        );
        // SAFETY: Each slot is one range of our pages, by the invariant, and they are distinct. Nobody
        // else uses the object, and none has the other slot yet.
        unsafe { copy_nonoverlapping(from, to, len) };
    }

    /// [`Self::copy_to`] if one of the slots is not one range.
    #[inline(never)]
    fn copy_pieces_to(self, to: Slot<'_>, size: usize) {
        if let (Some(from), Some(to)) = (self.contents(size), to.contents(size)) {
            from.copy_to(to);
        }
    }
}

/// The header at an address.
///
/// # Safety
///
/// The header of a slot lies there, as long as the result is used.
#[inline(always)]
unsafe fn header_at<'g>(header: usize) -> &'g AtomicU64 {
    // SAFETY: Headers are accessed as atomics only.
    unsafe { AtomicU64::from_ptr(ptr_at(header)) }
}

/// The handle of the object whose header lies at an address, if there is one. Under its class's lock.
///
/// Headers are written by this module only, and say whose slot it is until it is freed.
///
/// # Safety
///
/// The header of a slot lies there.
#[inline(always)]
pub(super) unsafe fn handle_at(header: usize) -> Option<Handle> {
    // SAFETY: The slot's header lies there, by this function's contract.
    let header = unsafe { header_at(header) };
    // Relaxed: guarded by the class's lock.
    let word = ptr_at(Header::handle_in(header.load(Ordering::Relaxed))?);
    // SAFETY: Handles are never null, and nothing else is written with an object's tag.
    let word = unsafe { NonNull::new_unchecked(word) };
    // SAFETY: The word of an allocated object lives.
    Some(unsafe { Handle::from_ptr(word) })
}
