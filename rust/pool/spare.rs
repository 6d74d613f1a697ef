// SPDX-License-Identifier: GPL-2.0

//! Spares: up to four objects of a class that were freed stay where they are, for the next malloc.
//!
//! Free then writes nothing but the word, and so does malloc: neither waits for the header, nor for
//! the zspage's slots and lists. A spare is an object whose word is DEAD: nobody can use it, and
//! page migration takes it along. For its zspage the slot is taken; in the numbers of objects it
//! does not count.
//!
//! Malloc would come to the zspage of a spare next without this, too, or to one as full, so pools
//! do not have more pages. Rules: N1 to N4 in `Documentation/locking.rst`.

use super::{
    class::{overwritten, ClassGuard, SizeClass},
    free::Found,
    Pool,
};
use crate::logic::{
    conv::{count, u16_to_usize},
    word::Word,
};
use crate::object::{
    handle::Handle,
    lists::ZspageLists,
    spares::{FreedSpares, Spares},
    words::FreeWord,
    zspage::Zspage,
};
use crate::zpdesc_rs::Zpdesc;
use core::ptr;

impl SizeClass {
    /// How many spares there are. Without the lock: a moment ago.
    pub(crate) fn spares(&self) -> usize {
        u16_to_usize(self.spares.len())
    }

    /// There are spares. Without the lock: true a moment ago.
    #[inline(always)]
    pub(super) fn has_spares(&self) -> bool {
        self.spares.len() != 0
    }

    /// Makes a spare an object again, if there is one.
    #[inline(always)]
    pub(super) fn take_spare(&self) -> Option<Handle> {
        if !self.has_spares() {
            return None;
        }
        let guard = self.lock();
        let handle = self.spares.pop()?;
        handle.store(handle.load().revived());
        guard.objects_changed(1);
        Some(handle)
    }
}

impl ClassGuard<'_> {
    /// Makes an object that is freed a spare: unless there is no room for it, because there are
    /// enough, or the class is [draining](SizeClass::is_draining) or has an order of use; or other
    /// zspages are to be filled first, or nothing but spares would be left in this one.
    #[inline(always)]
    pub(super) fn keep(&self, object: &Found<'_>) -> bool {
        let Found { handle, zspage, .. } = *object;
        let spares = &self.class.spares;
        let keeps = zspage.slots().inuse() > spares.len().wrapping_add(1)
            && self.lists.is_fullest(zspage)
            && spares.push(handle);
        if keeps {
            handle.store(object.word.with_dead());
            self.objects_changed(-1);
        }
        keeps
    }

    /// Where a spare of `class` is, which is locked. `None` if its header was overwritten: page
    /// migration does not know it, and the page that its word leads to may be somebody else's.
    fn find_spare(
        class: &SizeClass,
        handle: Handle,
    ) -> Option<(&Zspage<SizeClass>, &Zpdesc, Word)> {
        let word = handle.load();
        if !Spares::is_intact(handle, word) {
            return None;
        }
        let (zspage, zpdesc) = Zspage::at(class, word.phys())?;
        Some((zspage, zpdesc, word))
    }

    /// How many spares of `class`, which is locked, are in `zspage`.
    pub(super) fn spares_in(class: &SizeClass, zspage: &Zspage<SizeClass>) -> usize {
        let found = class.spares.iter();
        let found = found.filter_map(|handle| Self::find_spare(class, handle));
        count(found.filter(|&(other, ..)| ptr::eq(other, zspage)))
    }

    /// Frees the slots of all spares. Their words are to be given back without the lock.
    #[inline(always)]
    pub(super) fn free_spares(&self) -> Option<FreedSpares> {
        let some = self.class.has_spares();
        some.then(|| Self::free_spares_of(self.class, &self.lists))
    }

    /// [`Self::free_spares`] of a class that has some.
    #[cold]
    #[inline(never)]
    pub(super) fn free_spares_of(class: &SizeClass, lists: &ZspageLists<SizeClass>) -> FreedSpares {
        class.spares.take().map(|handle| {
            let handle = handle?;
            match Self::find_spare(class, handle) {
                Some((zspage, zpdesc, word)) => {
                    let (header, start) = zspage.header_of(zpdesc, word);
                    header.set(zspage.slots().release(start));
                    lists.relist(zspage, class.geometry());
                }
                // The slot is left as it is.
                None => overwritten(),
            }
            Some(FreeWord::retire(handle))
        })
    }
}

impl Pool {
    /// Does something to a class, under its lock, while it has no spares.
    #[inline(always)]
    pub(super) fn without_spares<T>(
        &self,
        class: &SizeClass,
        act: impl FnOnce(&ClassGuard<'_>) -> T,
    ) -> T {
        let guard = class.lock();
        let words = guard.free_spares();
        let done = act(&guard);
        drop(guard);
        if let Some(words) = words {
            self.spares_freed(words);
        }
        done
    }

    /// Gives back the words of spares.
    #[cold]
    #[inline(never)]
    pub(super) fn spares_freed(&self, words: FreedSpares) {
        for word in words.into_iter().flatten() {
            self.shared.words.free(word);
        }
    }
}
