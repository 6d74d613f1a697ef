// SPDX-License-Identifier: GPL-2.0

//! An array of pinned values in one allocation, each initialised in place.
//!
//! For values that hold locks. Rust's `Box<[T]>` cannot be pin-initialised element by element in
//! the 6.12 kernel crate.

use core::{
    alloc::Layout,
    ops::{Deref, Range},
    ptr::NonNull,
};
use kernel::{
    alloc::{allocator::KVmalloc, Allocator},
    init::PinInit,
    prelude::*,
};

/// `len` values of type `T`, one after another, that never move.
///
/// # Invariants
///
/// `ptr` is an allocation of `layout` for at least `len` values, of which all `len` are initialised.
pub(crate) struct PinnedSlice<T> {
    /// The allocation; dangling if nothing is in it.
    ptr: NonNull<T>,
    /// Number of values.
    len: usize,
    /// Of the allocation.
    layout: Layout,
}

// SAFETY: It owns the values in `ptr`, and `T: Send`.
unsafe impl<T: Send> Send for PinnedSlice<T> {}
// SAFETY: It hands out shared references only.
unsafe impl<T: Sync> Sync for PinnedSlice<T> {}

impl<T> PinnedSlice<T> {
    /// Allocates room for `room` values and initialises one for each item. May sleep.
    pub(crate) fn new<I: PinInit<T>>(inits: impl Iterator<Item = I>, room: usize) -> Result<Self> {
        let layout = Layout::array::<T>(room).map_err(|_| ENOMEM)?;
        let memory = KVmalloc::alloc(layout, GFP_KERNEL)?;
        // INVARIANT: no value is initialised yet, and `len` is 0.
        let mut this = Self {
            ptr: memory.cast(),
            len: 0,
            layout,
        };
        for init in inits.take(room) {
            let slot = this.slot(this.len);
            // SAFETY: `slot` lies in the allocation, is uninitialised, and its value never moves.
            unsafe { init.__pinned_init(slot) }.map_err(|_| ENOMEM)?;
            // INVARIANT: one more value is initialised.
            this.len = this.len.wrapping_add(1);
        }
        Ok(this)
    }

    /// Where value `index` is, or would be.
    fn slot(&self, index: usize) -> *mut T {
        self.ptr.as_ptr().wrapping_add(index)
    }

    /// The indexes of the values.
    fn indexes(&self) -> Range<usize> {
        0..self.len
    }
}

impl<T> Deref for PinnedSlice<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: `len` values at `ptr` are initialised, by the invariant.
        unsafe { core::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl<T> Drop for PinnedSlice<T> {
    fn drop(&mut self) {
        for index in self.indexes() {
            // SAFETY: Initialised by the invariant, and not used after this.
            unsafe { core::ptr::drop_in_place(self.slot(index)) };
        }
        // SAFETY: Allocated by `new` with this allocator.
        unsafe { KVmalloc::free(self.ptr.cast(), self.layout) };
    }
}
