// SPDX-License-Identifier: GPL-2.0

//! Handle words. A word that belongs to no object is DEAD and stays a word, so a stale handle is
//! recognised.

use super::{
    handle::Handle,
    units::{FreeUnit, UnitCache},
};
use crate::kapi::gfp::Gfp;
use crate::logic::word::Word;
use kernel::prelude::*;

/// A word that belongs to no object: its owner may make it an object's handle.
///
/// It must be given back to [`WordCache::free`]; dropping it would leak the word.
#[must_use]
pub(crate) struct FreeWord(Handle);

impl FreeWord {
    /// Takes a word back from an object that is no more. The caller was the object's only user.
    #[inline(always)]
    pub(crate) fn retire(handle: Handle) -> Self {
        handle.store(Word::dead(0));
        Self(handle)
    }

    /// The handle that the word will be.
    #[inline(always)]
    pub(crate) fn handle(&self) -> Handle {
        self.0
    }

    /// Makes the word an object's, at the place that `word` says.
    #[inline(always)]
    pub(crate) fn publish(self, word: Word) -> Handle {
        self.0.store(word);
        self.0
    }
}

impl From<FreeUnit<1>> for FreeWord {
    #[inline(always)]
    fn from(unit: FreeUnit<1>) -> Self {
        // SAFETY: It lies in a page of words, which lives while the word is out.
        Self(unsafe { Handle::from_ptr(unit.into_raw()) })
    }
}

impl From<FreeWord> for FreeUnit<1> {
    #[inline(always)]
    fn from(word: FreeWord) -> Self {
        // SAFETY: Handles are of words that come from units of one word, and this one is free.
        unsafe { Self::from_raw(word.0.as_ptr()) }
    }
}

/// All handle words of the module.
#[pin_data(PinnedDrop)]
pub(crate) struct WordCache {
    /// Units of one word.
    #[pin]
    units: UnitCache<1>,
}

impl WordCache {
    /// No words yet. May sleep.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self { units <- UnitCache::new() })
    }

    /// Allocates a word. Sleeps only if `gfp` allows it.
    #[inline(always)]
    pub(crate) fn alloc(&self, gfp: Gfp) -> Option<FreeWord> {
        self.units.alloc(gfp).map(FreeWord::from)
    }

    /// Frees a word. Does not sleep.
    #[inline(always)]
    pub(crate) fn free(&self, word: FreeWord) {
        self.units.free(word.into());
    }

    /// The units that the words are.
    pub(crate) fn units(&self) -> &UnitCache<1> {
        &self.units
    }
}

#[pinned_drop]
impl PinnedDrop for WordCache {
    fn drop(self: Pin<&mut Self>) {
        let usage = self.units.usage();
        if usage.live != 0 {
            pr_err!(
                "{} objects were never freed; {} pages of handle words are leaked\n",
                usage.live,
                usage.pages
            );
        }
    }
}
