// SPDX-License-Identifier: GPL-2.0

//! An array of pinned values in one allocation, each initialised in place.
//!
//! For values that hold locks. Rust's `Box<[T]>` cannot be pin-initialised element by element in
//! the 6.12 kernel crate.

use super::page_alloc::PageRun;
use core::{
    alloc::Layout,
    ops::{Deref, Range},
    ptr::NonNull,
};
use kernel::{
    alloc::{allocator::Vmalloc, Allocator},
    init::PinInit,
    prelude::*,
};

/// `len` values of type `T`, one after another, that never move.
///
/// # Invariants
///
/// `ptr` is where `_memory` begins, which has room for at least `len` values, of which all `len`
/// are initialised.
pub(crate) struct PinnedSlice<T> {
    /// The values.
    ptr: NonNull<T>,
    /// Number of values.
    len: usize,
    /// Where they lie.
    _memory: Memory,
}

/// Some memory for values that are many bytes together.
enum Memory {
    /// Pages of the direct map, as many as it takes: kmalloc would round them up to a power of two.
    Pages(PageRun),
    /// Pages from here and there.
    Virtual(NonNull<u8>, Layout),
}

impl Memory {
    /// Allocates memory of this layout. May sleep.
    fn alloc(layout: Layout) -> Result<Self> {
        if let Some(pages) = PageRun::alloc(layout.size()) {
            return Ok(Self::Pages(pages));
        }
        let memory = Vmalloc::alloc(layout, GFP_KERNEL)?;
        Ok(Self::Virtual(memory.cast(), layout))
    }

    /// Its first byte.
    fn start(&self) -> NonNull<u8> {
        match self {
            Self::Pages(pages) => pages.start(),
            Self::Virtual(start, _) => *start,
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Self::Virtual(start, layout) = self {
            // SAFETY: Allocated by `alloc` with this allocator.
            unsafe { Vmalloc::free(*start, *layout) };
        }
    }
}

// SAFETY: It owns the values in `ptr`, and `T: Send`.
unsafe impl<T: Send> Send for PinnedSlice<T> {}
// SAFETY: It hands out shared references only.
unsafe impl<T: Sync> Sync for PinnedSlice<T> {}

impl<T> PinnedSlice<T> {
    /// Allocates room for `room` values and initialises one for each item. May sleep.
    pub(crate) fn new<I: PinInit<T>>(inits: impl Iterator<Item = I>, room: usize) -> Result<Self> {
        let layout = Layout::array::<T>(room).map_err(|_| ENOMEM)?;
        let memory = Memory::alloc(layout)?;
        // INVARIANT: no value is initialised yet, and `len` is 0.
        let mut this = Self {
            ptr: memory.start().cast(),
            len: 0,
            _memory: memory,
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
    }
}
