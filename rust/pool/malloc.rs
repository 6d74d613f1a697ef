// SPDX-License-Identifier: GPL-2.0

//! Allocating and freeing objects.

use super::{
    class::{Emptied, Freed, Kept, SizeClass},
    Pool,
};
use crate::kapi::{gfp::Gfp, module, warn::warn};
use crate::logic::conv::{low_u32, u16_to_usize, u32_to_usize, usize_to_u64};
use crate::object::{handle::Handle, tail::Extension, words::FreeWord, zspage::ZspageBox};
use crate::zpdesc_rs::{PAGE_SHIFT, PAGE_SIZE};
use core::num::NonZeroU32;
use kernel::{c_str, prelude::*};

impl Pool {
    /// Allocates an object of `size` bytes. Any context but interrupts; sleeps only if `gfp`
    /// allows it. `size` may be up to `PAGE_SIZE`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `size` is 0, `ENOSPC` if it is above `PAGE_SIZE`, `ENOMEM`.
    #[inline(always)]
    pub(crate) fn malloc(&self, size: usize, gfp: Gfp) -> Result<Handle> {
        if !(1..=PAGE_SIZE).contains(&size) {
            return Err(if size == 0 { EINVAL } else { ENOSPC });
        }
        let number = u16_to_usize(self.shared.classes().lookup(PAGE_SHIFT, size));
        let class = self.classes.get(number).ok_or(EINVAL)?;
        if let Some(handle) = class.take_spare() {
            return Ok(handle);
        }
        let word = self.shared.words.alloc(gfp).ok_or(ENOMEM)?.into();
        let allocated = class.lock().alloc(word);
        allocated.or_else(|word| self.malloc_slow(class, word, gfp))
    }

    /// Allocates the object in a zspage that gets a page more, or in a new one.
    #[cold]
    #[inline(never)]
    fn malloc_slow(&self, class: &SizeClass, mut word: FreeWord, gfp: Gfp) -> Result<Handle> {
        match self.malloc_longer(class, word, gfp) {
            Ok(handle) => return Ok(handle),
            Err(back) => word = back,
        }
        let zspage = ZspageBox::new(&self.shared.zspages, gfp, class, class.geometry());
        let Some(zspage) = zspage else {
            self.shared.words.free(word);
            return Err(ENOMEM);
        };
        self.zspage_opened(class, &zspage);
        let allocated = class.lock().alloc_in_new(zspage, word);
        allocated.map_err(|word| {
            self.shared.words.free(word);
            ENOMEM
        })
    }

    /// Allocates the object in a zspage that lacked pages, and gets one; gives the word back if
    /// there is no such zspage, or no page.
    fn malloc_longer(
        &self,
        class: &SizeClass,
        word: FreeWord,
        gfp: Gfp,
    ) -> Result<Handle, FreeWord> {
        let geometry = class.geometry();
        let missing = class.missing_pages();
        if missing == 0 {
            return Err(word);
        }
        let place = geometry.nr_pages().saturating_sub(missing);
        let Some(more) = Extension::alloc(gfp, geometry, place) else {
            return Err(word);
        };
        // Before others can give them back.
        let pages = more.pages();
        self.pages_came(pages);
        let allocated = class.lock().alloc_in_longer(more, word);
        match allocated {
            Ok(allocated) => allocated,
            // Somebody else was quicker, so there may be room. The page goes back without the lock.
            Err((word, more)) => {
                self.pages_gone(pages);
                drop(more);
                class.lock().alloc(word)
            }
        }
    }

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
        match guard.free(handle, number) {
            // The usual case by itself, so that after the lock is dropped nothing is asked again.
            Ok(Freed::Object(word)) => {
                drop(guard);
                self.shared.words.free(word);
            }
            Ok(Freed::Spare) => drop(guard),
            Ok(Freed::Last(word, emptied)) => {
                drop(guard);
                self.freed_last(word, emptied);
            }
            Ok(Freed::LastButSpares(word, words, emptied)) => {
                drop(guard);
                self.spares_freed(words);
                self.freed_last(word, emptied);
            }
            Ok(Freed::Deferred) => return Ok(()),
            Err(kept) => return Err(kept),
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

    /// Gives back the word of a zspage's last object, and the zspage.
    #[cold]
    #[inline(never)]
    fn freed_last(&'static self, word: FreeWord, emptied: Emptied) {
        self.shared.words.free(word);
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
