// SPDX-License-Identifier: GPL-2.0

//! A slot of a zspage: room for one object, with its header.

use super::{copy::Pieces, handle::Handle};
use crate::kapi::{
    conv::{addr_of, ptr_at},
    direct_map::{phys_to_virt, virt_to_phys},
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

/// The header of a slot, while its class's lock is held.
#[derive(Clone, Copy)]
pub(crate) struct SlotHeader<'g>(&'g AtomicU64);

impl SlotHeader<'_> {
    /// The header at an address.
    ///
    /// # Safety
    ///
    /// The header of a slot lies there, as long as the result is used.
    #[inline(always)]
    pub(super) unsafe fn at(header: usize) -> Self {
        // SAFETY: It lies there, by this function's contract; headers are accessed as atomics only.
        Self(unsafe { AtomicU64::from_ptr(ptr_at(header)) })
    }

    /// The header of the slot at a physical address, which may be `huge`: a whole page.
    ///
    /// # Safety
    ///
    /// A slot of a zspage begins there, which lives as long as the result is used.
    #[inline(always)]
    pub(super) unsafe fn of(phys: u64, huge: bool) -> Self {
        let header = if huge {
            // SAFETY: It is a page of ours.
            addr_of(unsafe { Zpdesc::from_phys(phys) }.header())
        } else {
            addr_of(phys_to_virt::<u8>(phys))
        };
        // SAFETY: A slot's header is its first word, or, if it is a whole page, in the descriptor.
        unsafe { Self::at(header) }
    }

    /// Reads it; `None` if there is none that was ever written.
    #[inline(always)]
    pub(crate) fn get(self) -> Option<Header> {
        Header::from_raw(self.raw())
    }

    /// It is this one.
    #[inline(always)]
    pub(crate) fn is(self, header: Header) -> bool {
        self.raw() == header.to_raw()
    }

    /// The handle of the object in the slot, if there is one.
    ///
    /// Headers are written by this module only, and say whose slot it is until it is freed.
    #[inline(always)]
    pub(super) fn handle(self) -> Option<Handle> {
        let word = ptr_at(Header::handle_in(self.raw())?);
        // SAFETY: Handles are never null, and nothing else is written with an object's tag.
        let word = unsafe { NonNull::new_unchecked(word) };
        // SAFETY: The word of an allocated object lives.
        Some(unsafe { Handle::from_ptr(word) })
    }

    /// Reads what lies there.
    #[inline(always)]
    fn raw(self) -> u64 {
        // Relaxed: guarded by the class's lock.
        self.0.load(Ordering::Relaxed)
    }

    /// Writes it.
    #[inline(always)]
    pub(crate) fn set(self, header: Header) {
        // Relaxed: guarded by the class's lock.
        self.0.store(header.to_raw(), Ordering::Relaxed);
    }

    /// Address of the contents of the object in the slot, which is not huge.
    #[inline(always)]
    fn contents(self) -> usize {
        addr_of(self.0).wrapping_add(HEADER_SIZE)
    }
}

/// The place of one slot, while its class's lock or its object's LOCK is held.
///
/// # Invariants
///
/// The slot begins at the address in `place` and belongs to the zspage that the page there does;
/// headers never span pages (slot sizes are multiples of 16 bytes).
#[derive(Clone, Copy)]
pub(crate) struct Slot<'g> {
    /// Physical address of its first byte, with [`SPLIT`]: the value fits in two registers.
    place: u64,
    /// Its header: its first word, or, if it is a whole page, in the page's descriptor.
    header: SlotHeader<'g>,
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
        // SAFETY: A slot begins there, by this function's contract.
        let header = unsafe { SlotHeader::of(phys, huge) };
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

    /// Its header.
    #[inline(always)]
    pub(crate) fn header(self) -> SlotHeader<'g> {
        self.header
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

    /// The word of an object that is in this slot now; `word` says where it was.
    #[inline(always)]
    pub(crate) fn word(&self, word: Word) -> Word {
        word.moved(self.phys(), self.is_split())
    }

    /// The contents of the object in this slot of `size` bytes or more, not of a huge one: the
    /// first `size` bytes of the slot, with the header.
    #[inline(always)]
    pub(super) fn contents(self, size: usize) -> Option<Pieces> {
        let len = size.checked_sub(HEADER_SIZE)?;
        let start = NonNull::new(ptr_at::<u8>(self.header.contents()))?;
        if !self.is_split() {
            // SAFETY: The slot is one range of our pages, by the invariant.
            return Some(unsafe { Pieces::one(start, len) });
        }
        // Up to the end of the page, which no header is at: slots begin at multiples of 16 bytes.
        // What lies in a larger slot may end before.
        let first = len.min(self.header.contents().wrapping_neg() & (PAGE_SIZE - 1));
        // SAFETY: It begins on a page of ours, by the invariant.
        let zpdesc = unsafe { Zpdesc::from_phys(self.phys()) };
        // SAFETY: No huge object is in two pages.
        let second = unsafe { zpdesc.next() }?.address();
        // SAFETY: The slot goes on to the end of this page, by the invariant.
        let head = unsafe { Pieces::one(start, first) };
        // SAFETY: And from the start of the next page to its own end.
        Some(unsafe { head.and(second, len.wrapping_sub(first)) })
    }

    /// Copies an object into this slot of `room` bytes. `from` is the header of the slot that it is
    /// in, of `size` bytes, no more than `room`, and `split` or not. Neither slot is huge.
    ///
    /// The caller holds the object's LOCK, and the classes' locks.
    #[inline(always)]
    pub(super) fn fill_from(self, from: SlotHeader<'_>, split: bool, size: u32, room: u32) {
        let size = u32_to_usize(size.min(room));
        if (u64::from(split) | self.place) & SPLIT != 0 {
            return self.fill_in_pieces(from, split, size);
        }
        let len = size.wrapping_sub(HEADER_SIZE);
        let (from, to) = (
            ptr_at::<u8>(from.contents()),
            ptr_at::<u8>(self.header.contents()),
        );
        // SAFETY: Each slot is one range of our pages, by the invariant, and they are distinct.
        // Nobody else uses the object, and none has the other slot yet.
        unsafe { copy_nonoverlapping(from, to, len) };
    }

    /// [`Self::fill_from`] if one of the slots is not one range.
    #[inline(never)]
    fn fill_in_pieces(self, from: SlotHeader<'_>, split: bool, size: usize) {
        let phys = virt_to_phys(addr_of(from.0));
        // SAFETY: A slot that is not huge begins with its header.
        let from = unsafe { Self::at(phys, split, false) };
        if let (Some(from), Some(to)) = (from.contents(size), self.contents(size)) {
            from.copy_to(to);
        }
    }
}
