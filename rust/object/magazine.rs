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
    /// The words, `len` of them.
    words: [Option<FreeWord>; BATCH],
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
        if let Some(slot) = self.words.get_mut(self.len) {
            *slot = Some(word);
            self.len = self.len.wrapping_add(1);
        }
    }

    /// Takes a word.
    pub(super) fn pop(&mut self) -> Option<FreeWord> {
        self.len = self.len.checked_sub(1)?;
        self.words.get_mut(self.len)?.take()
    }

    /// Takes all words but those before `keep`, a number of words that it has.
    fn drain(&mut self, keep: usize) -> impl Iterator<Item = FreeWord> + '_ {
        let len = core::mem::replace(&mut self.len, keep);
        let words = self.words.get_mut(keep..len).unwrap_or(&mut []);
        words.iter_mut().filter_map(Option::take)
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
        let keep = batch.len.saturating_sub(room.len());
        let mut pushed = len;
        for (slot, word) in room.iter().zip(batch.drain(keep)) {
            slot.store(word.0.as_ptr().as_ptr(), Ordering::Relaxed);
            pushed = pushed.wrapping_add(1);
        }
        self.len.store(pushed, Ordering::Relaxed);
    }
}
