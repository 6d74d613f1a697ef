// SPDX-License-Identifier: GPL-2.0

//! Slab caches of one type (`<linux/slab.h>`).

use super::{bindings, gfp::Gfp};
use core::{marker::PhantomData, ops::Deref, ptr::NonNull};
use kernel::{ffi::c_void, prelude::*, str::CStr};

/// A slab cache for values of type `T`.
///
/// # Invariants
///
/// `ptr` is a cache whose objects have the size and alignment of `T`.
pub(crate) struct KmemCache<T> {
    /// The C object.
    ptr: NonNull<bindings::kmem_cache>,
    /// Hands out `T`.
    _type: PhantomData<T>,
}

// SAFETY: The slab allocator does its own locking.
unsafe impl<T: Send> Send for KmemCache<T> {}
// SAFETY: The slab allocator does its own locking, for all CPUs.
unsafe impl<T: Send> Sync for KmemCache<T> {}

impl<T> KmemCache<T> {
    /// Creates a cache. May sleep.
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        let size = u32::try_from(core::mem::size_of::<T>()).map_err(|_| EINVAL)?;
        let align = u32::try_from(core::mem::align_of::<T>()).map_err(|_| EINVAL)?;
        let mut args = bindings::kmem_cache_args {
            align,
            ..Default::default()
        };
        let name = name.as_char_ptr();
        // SAFETY: `name` lives for ever, `args` for the call.
        let raw = unsafe { bindings::__kmem_cache_create_args(name, size, &mut args, 0) };
        // INVARIANT: created with the layout of `T`.
        Ok(Self {
            ptr: NonNull::new(raw).ok_or(ENOMEM)?,
            _type: PhantomData,
        })
    }

    /// Allocates a value. Sleeps only if `gfp` allows it.
    pub(crate) fn alloc(&self, gfp: Gfp, value: T) -> Option<SlabBox<T>> {
        let gfp = gfp.for_metadata().as_raw();
        // SAFETY: The cache is live, by the invariant.
        let raw = unsafe { bindings::kmem_cache_alloc_noprof(self.ptr.as_ptr(), gfp) };
        let ptr = NonNull::new(raw.cast::<T>())?;
        // SAFETY: Fresh memory of `T`'s layout, by the invariant.
        unsafe { ptr.as_ptr().write(value) };
        // INVARIANT: just allocated and initialised.
        Some(SlabBox(ptr))
    }
}

impl<T> Drop for KmemCache<T> {
    fn drop(&mut self) {
        // SAFETY: Created by `new`, and not used after this.
        unsafe { bindings::kmem_cache_destroy(self.ptr.as_ptr()) };
    }
}

/// An owned value in a slab cache.
///
/// # Invariants
///
/// The pointer is an initialised object of a [`KmemCache`], and nobody else owns it.
pub(crate) struct SlabBox<T>(NonNull<T>);

impl<T> SlabBox<T> {
    /// Gives up ownership; [`SlabBox::from_raw`] takes it back.
    #[inline(always)]
    pub(crate) fn into_raw(self) -> NonNull<T> {
        core::mem::ManuallyDrop::new(self).0
    }

    /// Takes back ownership.
    ///
    /// # Safety
    ///
    /// `ptr` must come from [`SlabBox::into_raw`], once.
    #[inline(always)]
    pub(crate) unsafe fn from_raw(ptr: NonNull<T>) -> Self {
        // INVARIANT: the caller's promise.
        Self(ptr)
    }
}

impl<T> Deref for SlabBox<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: Initialised and ours, by the invariant.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Drop for SlabBox<T> {
    fn drop(&mut self) {
        // SAFETY: Initialised and ours, by the invariant, and not used after this.
        unsafe { core::ptr::drop_in_place(self.0.as_ptr()) };
        // SAFETY: An object of a slab cache; since 6.4 the C side finds the cache itself.
        unsafe { bindings::kfree(self.0.as_ptr().cast::<c_void>()) };
    }
}
