// SPDX-License-Identifier: GPL-2.0

//! Free handle words on their way: each CPU's magazine, and batches between it and the depot.

use super::{handle::Handle, words::FreeWord};
use core::{
    ptr::NonNull,
    sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering},
};

/// Words in a magazine.
const MAGAZINE: usize = 64;
/// Words moved between a magazine and the depot at a time.
const BATCH: usize = MAGAZINE / 2;

/// A few free words on their way to a magazine or the depot.
pub(crate) struct Batch {
    /// The words' handles, `len` of them; the rest means nothing.
    words: [Option<Handle>; BATCH],
    /// How many.
    len: usize,
}

impl Batch {
    /// None.
    pub(crate) fn new() -> Self {
        Self {
            words: [const { None }; BATCH],
            len: 0,
        }
    }

    /// How many words there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// There is none.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// There is no room for more.
    pub(crate) fn is_full(&self) -> bool {
        self.len == BATCH
    }

    /// Adds a word. The batch is not full.
    pub(crate) fn push(&mut self, word: FreeWord) {
        self.extend(core::iter::once(word));
    }

    /// Adds words while there is room. Returns how many.
    #[inline(always)]
    pub(super) fn extend(&mut self, words: impl Iterator<Item = FreeWord>) -> usize {
        let room = self.words.get_mut(self.len..).unwrap_or(&mut []);
        let before = self.len;
        // The slots first: no word is taken for which there is none.
        for (slot, word) in room.iter_mut().zip(words) {
            *slot = Some(word.0);
            self.len = self.len.wrapping_add(1);
        }
        self.len.wrapping_sub(before)
    }

    /// Takes a word.
    pub(super) fn pop(&mut self) -> Option<FreeWord> {
        self.len = self.len.checked_sub(1)?;
        self.words.get(self.len)?.map(FreeWord)
    }

    /// Takes the last words, at most `count`.
    #[inline(always)]
    fn take(&mut self, count: usize) -> &[Option<Handle>] {
        let len = self.len;
        self.len = len.saturating_sub(count);
        self.words.get(self.len..len).unwrap_or(&[])
    }
}

/// A CPU's free words. Changed only by that CPU, with preemption off; interrupts do not come here.
pub(super) struct Magazine {
    /// How many words there are.
    len: AtomicUsize,
    /// The words, `len` of them.
    words: [AtomicPtr<AtomicU64>; MAGAZINE],
}

impl Magazine {
    /// An empty magazine.
    pub(super) fn new() -> Self {
        Self {
            len: AtomicUsize::new(0),
            words: [const { AtomicPtr::new(core::ptr::null_mut()) }; MAGAZINE],
        }
    }

    /// How many words there are.
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Takes the word that came last: its line is likely in the cache.
    #[inline(always)]
    pub(super) fn pop(&self) -> Option<FreeWord> {
        // Beyond all words if there was none.
        let len = self.len.load(Ordering::Relaxed).wrapping_sub(1);
        let word = NonNull::new(self.words.get(len)?.load(Ordering::Relaxed))?;
        self.len.store(len, Ordering::Relaxed);
        // SAFETY: Free words are put here by `push` only, out of live pages.
        Some(FreeWord(unsafe { Handle::from_ptr(word) }))
    }

    /// Puts a word in; gives it back if there is no room.
    #[inline(always)]
    pub(super) fn push(&self, word: FreeWord) -> Result<(), FreeWord> {
        let len = self.len.load(Ordering::Relaxed);
        let Some(slot) = self.words.get(len) else {
            return Err(word);
        };
        slot.store(word.0.as_ptr().as_ptr(), Ordering::Relaxed);
        self.len.store(len.wrapping_add(1), Ordering::Relaxed);
        Ok(())
    }

    /// Puts in as many words of a batch as there is room for.
    pub(super) fn push_from(&self, batch: &mut Batch) {
        let len = self.len.load(Ordering::Relaxed);
        let room = self.words.get(len..).unwrap_or(&[]);
        let words = batch.take(room.len());
        for (slot, word) in room.iter().zip(words) {
            let word = word.map_or(core::ptr::null_mut(), |word| word.as_ptr().as_ptr());
            slot.store(word, Ordering::Relaxed);
        }
        let len = len.wrapping_add(words.len());
        self.len.store(len, Ordering::Relaxed);
    }
}
