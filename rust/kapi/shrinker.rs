// SPDX-License-Identifier: GPL-2.0

//! Shrinkers: what the kernel asks for memory when it runs short (`<linux/shrinker.h>`).

use super::bindings;
use core::{marker::PhantomData, ptr::NonNull};
use kernel::{
    c_str,
    ffi::{c_ulong, c_void},
    prelude::*,
    str::CStr,
};

/// Something that can give back memory.
pub(crate) trait Shrink: Sync + 'static {
    /// How many pages it could give back, about. Takes no lock. May sleep.
    fn count(&'static self) -> usize;
    /// Gives back up to about `pages` pages; returns how many it did. May sleep.
    fn scan(&'static self, pages: usize) -> usize;
}

/// Keeps a shrinker registered.
///
/// # Invariants
///
/// `shrinker` is registered, with the callbacks of `T` and a `&'static T` as its private data.
pub(crate) struct Registration<T: Shrink> {
    /// The C object.
    shrinker: NonNull<bindings::shrinker>,
    /// Whose callbacks they are.
    _target: PhantomData<T>,
}

// SAFETY: The C side does its own locking; the pointer is used by `Drop` only.
unsafe impl<T: Shrink> Send for Registration<T> {}
// SAFETY: As for `Send`: nothing is reached through a shared reference without the C side.
unsafe impl<T: Shrink> Sync for Registration<T> {}

impl<T: Shrink> Registration<T> {
    /// Registers a shrinker for `target`, called `name` in debugfs. May sleep.
    pub(crate) fn new(name: &CStr, target: &'static T) -> Result<Self> {
        let format = c_str!("zsmalloc_rs-%s").as_char_ptr();
        // SAFETY: The format takes one string.
        let raw = unsafe { bindings::shrinker_alloc(0, format, name.as_char_ptr()) };
        let shrinker = NonNull::new(raw).ok_or(ENOMEM)?;
        let data: *const T = target;
        // SAFETY: Just allocated, and not shared before it is registered.
        let fields = unsafe { &mut *raw };
        fields.count_objects = Some(Self::count);
        fields.scan_objects = Some(Self::scan);
        fields.batch = 0;
        fields.private_data = data.cast_mut().cast::<c_void>();
        // SAFETY: `raw` is allocated, not registered yet, and its callbacks are set.
        unsafe { bindings::shrinker_register(raw) };
        // INVARIANT: just registered.
        Ok(Self {
            shrinker,
            _target: PhantomData,
        })
    }

    /// What a shrinker of ours is for.
    ///
    /// # Safety
    ///
    /// `shrinker` must be one of a `Registration<T>`.
    unsafe fn target(shrinker: *mut bindings::shrinker) -> &'static T {
        // SAFETY: The shrinker lives while it is called.
        let data = unsafe { (*shrinker).private_data };
        // SAFETY: A `&'static T`, by the invariant of `Registration`.
        unsafe { &*data.cast::<T>() }
    }

    /// `count_objects`.
    ///
    /// # Safety
    ///
    /// Called by the shrinker core for a registered shrinker.
    unsafe extern "C" fn count(
        shrinker: *mut bindings::shrinker,
        _: *mut bindings::shrink_control,
    ) -> c_ulong {
        // SAFETY: This callback belongs to shrinkers of `Registration<T>` only.
        unsafe { Self::target(shrinker) }.count()
    }

    /// `scan_objects`.
    ///
    /// # Safety
    ///
    /// Called by the shrinker core for a registered shrinker.
    unsafe extern "C" fn scan(
        shrinker: *mut bindings::shrinker,
        control: *mut bindings::shrink_control,
    ) -> c_ulong {
        // SAFETY: This callback belongs to shrinkers of `Registration<T>` only.
        let target = unsafe { Self::target(shrinker) };
        // SAFETY: The core passes its request.
        let pages = unsafe { (*control).nr_to_scan };
        match target.scan(pages) {
            // `SHRINK_STOP`: there is nothing to win at the moment.
            0 => c_ulong::MAX,
            pages => pages,
        }
    }
}

impl<T: Shrink> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: Registered by `new`. Waits for callbacks that run.
        unsafe { bindings::shrinker_free(self.shrinker.as_ptr()) };
    }
}
