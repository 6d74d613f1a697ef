// SPDX-License-Identifier: GPL-2.0

//! Copying objects: between slots, and between a slot and a bounce buffer.
//!
//! Objects are raw memory, uninitialised and shared with whoever mapped them. Nothing here makes a
//! Rust slice of them.

use core::ptr::{copy_nonoverlapping, NonNull};

/// Some bytes that follow each other.
#[derive(Clone, Copy)]
struct Run {
    /// The first.
    start: NonNull<u8>,
    /// How many.
    len: usize,
}

impl Run {
    /// Copies these bytes to `to`, as many as both have. Returns how many.
    #[inline(always)]
    fn copy_to(self, to: Self) -> usize {
        let len = self.len.min(to.len);
        // SAFETY: Both have `len` bytes, and by the invariant of `Pieces` nobody else accesses
        // them. They do not overlap: slots and buffers are distinct.
        unsafe { copy_nonoverlapping(self.start.as_ptr(), to.start.as_ptr(), len) };
        len
    }

    /// The run without its first `len` bytes, which it has.
    #[inline(always)]
    fn skip(self, len: usize) -> Self {
        Self {
            // SAFETY: By the invariant of `Pieces`, the run lies in memory, none of which is at 0.
            start: unsafe { NonNull::new_unchecked(self.start.as_ptr().wrapping_add(len)) },
            len: self.len.wrapping_sub(len),
        }
    }
}

/// The bytes of an object's contents, or of a buffer for them: one run, or two if the object lies in
/// two separate pages.
///
/// # Invariants
///
/// The runs lie in memory of ours that nobody else accesses meanwhile: the LOCK of the object's
/// word is held, or no word leads there yet, or the buffer's lock is held.
#[derive(Clone, Copy)]
pub(super) struct Pieces {
    /// Where they begin.
    head: Run,
    /// Where they go on; empty if they do not.
    tail: Run,
}

impl Pieces {
    /// `len` bytes from `start`.
    ///
    /// # Safety
    ///
    /// As the type's invariant says, for as long as the value is used.
    #[inline(always)]
    pub(super) unsafe fn one(start: NonNull<u8>, len: usize) -> Self {
        // INVARIANT: the caller's promise.
        Self {
            head: Run { start, len },
            tail: Run { start, len: 0 },
        }
    }

    /// The bytes of `self`, and then `len` more from `start`.
    ///
    /// # Safety
    ///
    /// As for [`Pieces::one`].
    #[inline(always)]
    pub(super) unsafe fn and(self, start: NonNull<u8>, len: usize) -> Self {
        // INVARIANT: the caller's promise.
        Self {
            head: self.head,
            tail: Run { start, len },
        }
    }

    /// Drops the first `len` bytes, of the head.
    #[inline(always)]
    fn skip(self, len: usize) -> Self {
        if len < self.head.len {
            let head = self.head.skip(len);
            return Self { head, ..self };
        }
        Self {
            head: self.tail,
            tail: self.tail.skip(self.tail.len),
        }
    }

    /// Copies these bytes to `to`, as many as both have.
    #[inline(always)]
    pub(super) fn copy_to(self, to: Self) {
        let (mut from, mut to) = (self, to);
        // Each run ends where the one or the other of them does: at most three.
        loop {
            let len = from.head.copy_to(to.head);
            (from, to) = (from.skip(len), to.skip(len));
            if from.head.len == 0 || to.head.len == 0 {
                return;
            }
        }
    }
}
