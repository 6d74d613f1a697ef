// SPDX-License-Identifier: GPL-2.0

//! Handle words. A word that belongs to no object is DEAD and stays a word, so a stale handle is
//! recognised.

use super::{
    handle::Handle,
    units::{FreeUnit, UnitCache},
};
use crate::logic::word::Word;

/// A word that belongs to no object: its owner may make it an object's handle.
///
/// It must be given back to [`UnitCache::free`]; dropping it would leak the word.
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
pub(crate) type WordCache = UnitCache<1>;
