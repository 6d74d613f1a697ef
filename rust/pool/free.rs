// SPDX-License-Identifier: GPL-2.0

//! Freeing objects. Rules: F1 to F4 in `Documentation/locking.rst`.

use super::{
    class::{ClassGuard, Emptied, SizeClass},
    Pool,
};
use crate::kapi::{module, warn::warn};
use crate::logic::{
    conv::{u16_to_usize, u32_to_usize},
    fullness::Group,
    word::Word,
};
use crate::object::{
    handle::Handle, lists::ZspageLists, spares::FreedSpares, words::FreeWord, zspage::Zspage,
};
use crate::zpdesc_rs::Zpdesc;
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
    /// The same, with the words of spares that were freed, too; and its zspage, if nothing is left
    /// in that.
    More(FreeWord, FreedSpares, Option<Emptied>),
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
    fn free(&self, object: &Found<'_>) -> Freed {
        let Found { handle, zspage, .. } = *object;
        let (header, start) = zspage.header_of(object.zpdesc, object.word);
        if zspage.is_under_reclaim() {
            Self::defer_free(zspage, header, handle, object.word);
            return Freed::Deferred;
        }
        let mut word = self.release(zspage, header, start, handle);
        let slots = zspage.slots();
        // Seldom: it may have nothing but spares.
        if slots.inuse() <= self.class.spares.len() {
            match Self::freed_last(self.class, &self.lists, zspage, word) {
                Ok(freed) => return freed,
                Err(back) => word = back,
            }
        }
        let group = Group::of_partial(slots.taken(), self.class.geometry());
        self.lists.move_to(group, zspage);
        Freed::Object(word)
    }

    /// What is left over if the object freed was the last of its zspage that is no spare; else
    /// gives the word back: then the zspage's list may have to change.
    #[cold]
    #[inline(never)]
    fn freed_last(
        class: &SizeClass,
        lists: &ZspageLists<SizeClass>,
        zspage: &Zspage<SizeClass>,
        word: FreeWord,
    ) -> Result<Freed, FreeWord> {
        let slots = zspage.slots();
        let spares = if slots.is_empty() {
            None
        } else if u16_to_usize(slots.inuse()) == Self::spares_in(class, zspage) {
            Some(Self::free_spares_of(class, lists))
        } else {
            return Err(word);
        };
        let emptied = if class.is_draining() {
            lists.relist(zspage, class.geometry());
            None
        } else {
            Some(Self::remove_from(class, lists, zspage))
        };
        Ok(if spares.is_some() || emptied.is_some() {
            Freed::More(word, spares.unwrap_or_default(), emptied)
        } else {
            Freed::Object(word)
        })
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
                Freed::More(word, spares, emptied) => {
                    drop(guard);
                    self.freed_more(word, spares, emptied);
                }
                Freed::Deferred => return Ok(()),
            }
        }
        if class.is_sparse() && module::background_compaction() {
            self.suggest_tidying();
        }
        Ok(())
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

    /// Gives back the words of an object and of spares, and what was left of the zspage.
    #[cold]
    #[inline(never)]
    fn freed_more(&'static self, word: FreeWord, spares: FreedSpares, emptied: Option<Emptied>) {
        self.shared.words.free(word);
        self.spares_freed(spares);
        if let Some(emptied) = emptied {
            self.dispose(emptied);
        }
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
