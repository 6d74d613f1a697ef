// SPDX-License-Identifier: GPL-2.0

//! Handles: addresses of handle words, and the atomic operations on them.
//!
//! The rules (W1 to W6 in `Documentation/locking.rst`): a word's location changes only under its
//! class's lock together with its LOCK bit; LOCK is taken by mappers, who may wait for each other,
//! and by movers, who only try.

use crate::kapi::{conv::addr_of, sched};
use crate::logic::word::Word;
use core::{
    ptr::{self, NonNull},
    sync::atomic::{AtomicPtr, AtomicU64, Ordering},
};

/// The address of a handle word.
///
/// # Invariants
///
/// It points into a live page of words ([`WordCache`](super::words::WordCache)).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handle(NonNull<AtomicU64>);

/// A place for a handle. Whoever has it keeps readers and writers in order.
pub(super) struct HandleCell(AtomicPtr<AtomicU64>);

impl HandleCell {
    /// No handle.
    pub(super) const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// The handle, if there is one.
    #[inline(always)]
    pub(super) fn get(&self) -> Option<Handle> {
        // Relaxed: as in `set`.
        // INVARIANT: it is a handle that `set` was given.
        NonNull::new(self.0.load(Ordering::Relaxed)).map(Handle)
    }

    /// Puts a handle there.
    #[inline(always)]
    pub(super) fn set(&self, handle: Handle) {
        // Relaxed: nothing is inferred from it but under the lock of whoever has it.
        self.0.store(handle.0.as_ptr(), Ordering::Relaxed);
    }
}

impl Handle {
    /// The handle of a word.
    ///
    /// # Safety
    ///
    /// `word` must point into a page of words, which lives as long as the handle is used: until the
    /// object it belongs to is freed.
    #[inline(always)]
    pub(crate) unsafe fn from_ptr(word: NonNull<AtomicU64>) -> Self {
        // INVARIANT: the caller's promise.
        Self(word)
    }

    /// The number that stands for the handle outside: never 0, a multiple of 8.
    #[inline(always)]
    pub(crate) fn addr(self) -> usize {
        addr_of(self.0.as_ptr())
    }

    /// The pointer to the word.
    #[inline(always)]
    pub(super) fn as_ptr(self) -> NonNull<AtomicU64> {
        self.0
    }

    /// The word itself.
    #[inline(always)]
    fn word(&self) -> &AtomicU64 {
        // SAFETY: Live by the invariant; words are only ever accessed as atomics.
        unsafe { self.0.as_ref() }
    }

    /// Reads the word. All of it may be out of date at once.
    #[inline(always)]
    pub(crate) fn peek(self) -> Word {
        // Relaxed: all is checked again under a lock.
        Word::from_raw(self.word().load(Ordering::Relaxed))
    }

    /// Reads the word. Under its class's lock, or by who holds its LOCK.
    #[inline(always)]
    pub(crate) fn load(self) -> Word {
        // Acquire: pairs with the Release of `unlock`. Who frees the object writes into it after
        // the last mapper has.
        Word::from_raw(self.word().load(Ordering::Acquire))
    }

    /// Somebody has LOCK at this moment.
    #[inline(always)]
    pub(crate) fn is_locked(self) -> bool {
        self.peek().is_locked()
    }

    /// Takes the word's LOCK if nobody has it. For movers, under the class's lock.
    #[inline(always)]
    pub(crate) fn try_lock_to_move(self) -> bool {
        let lock = Word::from_raw(0).locked().to_raw();
        // Acquire: pairs with the Release of `unlock`, as in `try_lock`. If somebody has the LOCK,
        // nothing changes.
        let before = self.word().fetch_or(lock, Ordering::Acquire);
        !Word::from_raw(before).is_locked()
    }

    /// Writes the word. Under its class's lock, with LOCK held by the caller or by nobody: mappers
    /// who could take it meanwhile do not know the handle yet, or no more. One who maps an object
    /// while it is being freed is a bug that goes unnoticed here (F1 in
    /// `Documentation/locking.rst`).
    #[inline(always)]
    pub(crate) fn store(self, word: Word) {
        // Release: pairs with the Acquire of `lock`. A mapper sees the object this word leads to,
        // copied, with its links.
        self.word().store(word.to_raw(), Ordering::Release);
    }

    /// Takes the word's LOCK; waits for whoever has it. `None` if the word is dead.
    ///
    /// For mappers only, with preemption off (except on PREEMPT_RT). Two users who map one object
    /// at once wait for each other here; movers hold it for the time of one copy.
    #[inline(always)]
    pub(crate) fn lock(self) -> Option<Word> {
        loop {
            let word = self.peek().unlocked();
            if word.is_dead() {
                return None;
            }
            if self.try_lock(word) {
                return Some(word);
            }
            sched::cpu_relax();
        }
    }

    /// Takes the word's LOCK if that is all it takes to use the object: nobody has it, and the
    /// object can be addressed where it lies. For mappers, as [`Self::lock`].
    #[inline(always)]
    pub(crate) fn try_lock_direct(self) -> Option<Word> {
        let word = self.peek();
        (word.is_direct() && !word.is_locked() && self.try_lock(word)).then_some(word)
    }

    /// Takes the word's LOCK if the word still is `unlocked`.
    #[inline(always)]
    fn try_lock(self, unlocked: Word) -> bool {
        let (from, to) = (unlocked.to_raw(), unlocked.locked().to_raw());
        // Acquire: pairs with the Release of `unlock` (contents) and of `store` (a new location).
        let (success, failure) = (Ordering::Acquire, Ordering::Relaxed);
        self.word()
            .compare_exchange(from, to, success, failure)
            .is_ok()
    }

    /// Releases the LOCK that the caller took when the word was `unlocked`.
    #[inline(always)]
    pub(crate) fn unlock(self, unlocked: Word) {
        // Release: pairs with the Acquire of `try_lock`. Who takes the lock next, a mapper or a
        // mover about to copy, sees what was written to the object.
        self.word().store(unlocked.to_raw(), Ordering::Release);
    }
}
