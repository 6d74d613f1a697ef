// SPDX-License-Identifier: GPL-2.0

//! Freeing objects. Rules: F1 to F4 in `Documentation/locking.rst`.

use super::{
    class::{ClassGuard, Emptied, SizeClass},
    Pool,
};
use crate::kapi::{module, warn::warn};
use crate::logic::{
    conv::{low_u32, u16_to_usize, u32_to_usize, usize_to_u64},
    fullness::Group,
    word::Word,
};
use crate::object::{
    handle::Handle, lists::ZspageLists, spares::FreedSpares, words::FreeWord, zspage::Zspage,
};
use crate::zpdesc_rs::Zpdesc;
use core::num::NonZeroU32;
use kernel::{c_str, prelude::*};

/// Why an object was not freed. Nothing was changed. All but the last are a caller's misuse of a
/// handle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kept {
    /// It belongs to no object: freed twice, or never allocated.
    Dead,
    /// The object is mapped.
    Mapped,
    /// It is not an object of this pool.
    Foreign,
    /// It has moved to another class since its class was read.
    Moved,
}

/// What is left over when an object is freed: the caller disposes of it without the class's lock.
#[must_use]
pub(super) enum Freed {
    /// The word that was its handle.
    Object(FreeWord),
    /// The same, and its zspage: it was the last object. With the words of spares, if there were
    /// some in it.
    Last(FreeWord, FreedSpares, Emptied),
    /// Nothing: reclaim will see to it.
    Deferred,
}

/// An object that may be freed, under its class's lock.
pub(super) struct Found<'g> {
    /// Its handle.
    pub(super) handle: Handle,
    /// Its word.
    pub(super) word: Word,
    /// Its zspage.
    pub(super) zspage: &'g Zspage<SizeClass>,
    /// The page that it begins on.
    zpdesc: &'g Zpdesc,
}

impl ClassGuard<'_> {
    /// The object of a handle, if it may be freed. `number` is that of the class.
    #[inline(always)]
    pub(super) fn find(&self, handle: Handle, number: u32) -> Result<Found<'_>, Kept> {
        let word = handle.load();
        if !word.is_idle_in(number) {
            return Err(Self::why_kept(word, number));
        }
        let (zspage, zpdesc) = Zspage::at(self.class, word.phys()).ok_or(Kept::Foreign)?;
        Ok(Found {
            handle,
            word,
            zspage,
            zpdesc,
        })
    }

    /// Frees an object.
    #[inline(always)]
    pub(super) fn free(&self, object: &Found<'_>) -> Freed {
        let Found { handle, zspage, .. } = *object;
        let (header, start) = zspage.header_of(object.zpdesc, object.word);
        if zspage.is_under_reclaim() {
            Self::defer_free(zspage, header, handle, object.word);
            return Freed::Deferred;
        }
        let word = self.release(zspage, header, start, handle);
        let slots = zspage.slots();
        // Seldom: it may have nothing but spares.
        if slots.inuse() <= self.class.spares.len() {
            let removed = Self::remove_emptied(self.class, &self.lists, zspage);
            if let Some((spares, emptied)) = removed {
                return Freed::Last(word, spares, emptied);
            }
        }
        let group = Group::of_partial(slots.taken(), self.class.geometry());
        self.lists.move_to(group, zspage);
        Freed::Object(word)
    }

    /// Takes a zspage off the lists if it has no objects. If it has spares, all of the class are
    /// freed: then these are their words.
    #[cold]
    #[inline(never)]
    fn remove_emptied(
        class: &SizeClass,
        lists: &ZspageLists<SizeClass>,
        zspage: &Zspage<SizeClass>,
    ) -> Option<(FreedSpares, Emptied)> {
        let slots = zspage.slots();
        if u16_to_usize(slots.inuse()) != Self::spares_in(class, zspage) {
            return None;
        }
        let spares = if slots.is_empty() {
            FreedSpares::default()
        } else {
            Self::free_spares_of(class, lists)
        };
        Some((spares, Self::remove_from(class, lists, zspage)))
    }

    /// Why an object with this word cannot be freed.
    #[cold]
    fn why_kept(word: Word, number: u32) -> Kept {
        if word.is_dead() {
            Kept::Dead
        } else if word.class() != number {
            Kept::Moved
        } else {
            // Movers hold LOCK of an object of this class under this lock only: it is a mapper's.
            Kept::Mapped
        }
    }
}

impl Pool {
    /// Frees an object. Any context but interrupts; does not sleep.
    ///
    /// A handle that is no live object's, or whose object is mapped, is warned about; nothing is
    /// changed.
    #[inline(always)]
    pub(crate) fn free(&'static self, handle: Handle) {
        if let Err(kept) = self.try_free(handle) {
            self.free_again(handle, kept);
        }
    }

    /// Frees an object, unless it moves to another class at this moment.
    #[inline(always)]
    fn try_free(&'static self, handle: Handle) -> Result<(), Kept> {
        let number = handle.peek().class();
        let class = self.classes.get(u32_to_usize(number));
        let class = class.ok_or(Kept::Foreign)?;
        let guard = class.lock();
        let object = guard.find(handle, number)?;
        // Each case drops the lock itself, so that nothing is asked again after it.
        if guard.keep(&object) {
            drop(guard);
        } else {
            match guard.free(&object) {
                Freed::Object(word) => {
                    drop(guard);
                    self.shared.words.free(word);
                }
                Freed::Last(word, spares, emptied) => {
                    drop(guard);
                    self.freed_last(word, spares, emptied);
                }
                Freed::Deferred => return Ok(()),
            }
        }
        if class.is_sparse() && module::background_compaction() {
            self.keeper.suggest(self, || self.many_frees());
        }
        Ok(())
    }

    /// After so many frees in sparse classes the worker does not wait for its tick: one for sixteen
    /// pages, about forty objects, so that what compaction costs does not depend on the size of the
    /// pool.
    fn many_frees(&self) -> NonZeroU32 {
        let part = self.total_pages().wrapping_shr(4).max(64);
        NonZeroU32::new(low_u32(usize_to_u64(part))).unwrap_or(NonZeroU32::MIN)
    }

    /// Frees an object that has moved to another class, or reports a caller's bug.
    #[cold]
    #[inline(never)]
    fn free_again(&'static self, handle: Handle, mut kept: Kept) {
        // Not for ever: objects move to larger classes only.
        while kept == Kept::Moved {
            match self.try_free(handle) {
                Ok(()) => return,
                Err(why) => kept = why,
            }
        }
        Self::misused(kept);
    }

    /// Gives back the word of a zspage's last object, and what was left of the zspage.
    #[cold]
    #[inline(never)]
    fn freed_last(&'static self, word: FreeWord, spares: FreedSpares, emptied: Emptied) {
        self.shared.words.free(word);
        self.spares_freed(spares);
        self.dispose(emptied);
    }

    /// Reports a caller's bug.
    fn misused(kept: Kept) {
        warn(match kept {
            Kept::Dead => c_str!("zsmalloc_rs: free of a handle that is not allocated"),
            Kept::Mapped => c_str!("zsmalloc_rs: free of an object that is mapped: leaked"),
            Kept::Foreign | Kept::Moved => {
                c_str!("zsmalloc_rs: free of a handle of another pool")
            }
        });
    }
}
