// SPDX-License-Identifier: GPL-2.0

//! Copying objects: between slots, and between a slot and a bounce buffer.
//!
//! Objects are raw memory, uninitialised and shared with whoever mapped them. Nothing here makes a
//! Rust slice of them.

use core::{
    ops::Range,
    ptr::{copy_nonoverlapping, NonNull},
};

/// The bytes of an object's contents, or of a buffer for them: in one range, or in two if the
/// object lies in two separate pages.
///
/// # Invariants
///
/// The bytes before `cut` lie at `head`, the others, up to `len`, at `tail`: in memory of ours that
/// nobody else accesses meanwhile. The LOCK of the object's word is held, or no word leads there
/// yet, or the buffer's lock is held.
#[derive(Clone, Copy)]
pub(super) struct Pieces {
    /// Where the first byte lies.
    head: NonNull<u8>,
    /// Where the first byte would lie if those from `cut` on were not apart from it.
    tail: *mut u8,
    /// How many lie in the first range.
    cut: usize,
    /// How many there are.
    len: usize,
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
            head: start,
            tail: start.as_ptr(),
            cut: len,
            len,
        }
    }

    /// The bytes of `self`, which are in one range, and then `len` more from `start`.
    ///
    /// # Safety
    ///
    /// As for [`Pieces::one`].
    #[inline(always)]
    pub(super) unsafe fn and(self, start: NonNull<u8>, len: usize) -> Self {
        // INVARIANT: the caller's promise.
        Self {
            tail: start.as_ptr().wrapping_sub(self.len),
            len: self.len.wrapping_add(len),
            ..self
        }
    }

    /// Where a byte lies.
    #[inline(always)]
    fn at(self, offset: usize) -> *mut u8 {
        let range = if offset < self.cut {
            self.head.as_ptr()
        } else {
            self.tail
        };
        range.wrapping_add(offset)
    }

    /// Copies these bytes to `to`, as many as both have.
    #[inline(always)]
    pub(super) fn copy_to(self, to: Self) {
        let len = self.len.min(to.len);
        let (near, far) = (self.cut.min(to.cut), self.cut.max(to.cut).min(len));
        self.copy_range(to, 0..near);
        self.copy_range(to, near..far);
        self.copy_range(to, far..len);
    }

    /// Copies some of these bytes, which both have in one range, if there are any.
    #[inline(always)]
    fn copy_range(self, to: Self, bytes: Range<usize>) {
        let Range { start, end } = bytes;
        if start < end {
            // SAFETY: Both have these bytes, and by the invariant nobody else accesses them. They
            // do not overlap: slots and buffers are distinct.
            unsafe { copy_nonoverlapping(self.at(start), to.at(start), end.wrapping_sub(start)) };
        }
    }
}
