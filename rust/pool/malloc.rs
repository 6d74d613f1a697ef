// SPDX-License-Identifier: GPL-2.0

//! Allocating objects.

use super::{class::SizeClass, Pool};
use crate::kapi::gfp::Gfp;
use crate::logic::conv::u16_to_usize;
use crate::object::{handle::Handle, tail::Extension, words::FreeWord, zspage::ZspageBox};
use crate::zpdesc_rs::{PAGE_SHIFT, PAGE_SIZE};
use kernel::prelude::*;

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
}
