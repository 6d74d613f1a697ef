// SPDX-License-Identifier: GPL-2.0

//! Spares: objects of a class that were freed, and stay where they are for the next malloc.
//! Which ones is up to `rust/pool/spare.rs`.

use super::{
    handle::{Handle, HandleCell},
    slot::SlotHeader,
    words::FreeWord,
};
use crate::logic::{conv::u16_to_usize, header::Header, word::Word};
use core::sync::atomic::{AtomicU16, Ordering};

/// Most spares of a class.
const MOST: u16 = 4;
/// The same, as a length.
const PLACES: usize = u16_to_usize(MOST);

/// The words of spares whose slots were freed.
pub(crate) type FreedSpares = [Option<FreeWord>; PLACES];

/// The spares of a class. Written under the class's lock, read without: so all accesses are
/// Relaxed.
pub(crate) struct Spares {
    /// How many there are.
    len: AtomicU16,
    /// How many there may be: [`MOST`], or none.
    most: AtomicU16,
    /// Their handles, the last freed last.
    handles: [HandleCell; PLACES],
}

impl Spares {
    /// None yet. There can only be some if they are `open`.
    pub(crate) const fn new(open: bool) -> Self {
        Self {
            len: AtomicU16::new(0),
            most: AtomicU16::new(Self::most(open)),
            handles: [const { HandleCell::new() }; PLACES],
        }
    }

    /// How many there are. Without the lock: a moment ago.
    #[inline(always)]
    pub(crate) fn len(&self) -> u16 {
        self.len.load(Ordering::Relaxed)
    }

    /// There can be none.
    #[inline(always)]
    pub(crate) fn are_closed(&self) -> bool {
        self.most.load(Ordering::Relaxed) == 0
    }

    /// From now on there can be some, or none. There are none now.
    pub(crate) fn set_open(&self, open: bool) {
        self.most.store(Self::most(open), Ordering::Relaxed);
    }

    /// How many there may be.
    const fn most(open: bool) -> u16 {
        if open {
            MOST
        } else {
            0
        }
    }

    /// Adds an object; false if there is no room.
    #[inline(always)]
    pub(crate) fn push(&self, handle: Handle) -> bool {
        let len = self.len();
        if len >= self.most.load(Ordering::Relaxed) {
            return false;
        }
        // It is below: so nothing is asked.
        let Some(place) = self.handles.get(u16_to_usize(len) % PLACES) else {
            return false;
        };
        place.set(handle);
        self.len.store(len.wrapping_add(1), Ordering::Relaxed);
        true
    }

    /// Takes the one that was freed last.
    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<Handle> {
        let len = self.len().checked_sub(1)?;
        let place = self.handles.get(u16_to_usize(len))?;
        self.len.store(len, Ordering::Relaxed);
        place.get()
    }

    /// The slot that the word of a spare leads to has its header. If not, that was overwritten.
    #[inline(always)]
    pub(crate) fn is_intact(handle: Handle, word: Word) -> bool {
        // SAFETY: A spare's word leads to its slot; or, if page migration did not know it by its
        // header, where that was, which can be read as well.
        let header = unsafe { SlotHeader::of(word.phys(), false) };
        header.is(Header::Allocated(handle.addr()))
    }

    /// Takes all of them.
    pub(crate) fn take(&self) -> [Option<Handle>; PLACES] {
        [(); PLACES].map(|()| self.pop())
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Handle> + '_ {
        let handles = self.handles.iter().take(u16_to_usize(self.len()));
        handles.filter_map(HandleCell::get)
    }
}
