// SPDX-License-Identifier: GPL-2.0

//! The module itself (`<linux/module.h>`): the object that there is once while it is loaded, and
//! that C callbacks without an argument can find; its parameters; whether it can be unloaded.

use super::bindings;
use core::{
    ptr::{null_mut, NonNull},
    sync::atomic::{AtomicPtr, Ordering},
};
use kernel::{alloc::KBox, prelude::*, ThisModule};

/// A place for one pinned `T` while a module is loaded.
///
/// # Invariants
///
/// The pointer is null, or comes from `Pin<KBox<T>>` and belongs to the [`Published`] that
/// [`Global::publish`] returned.
pub(crate) struct Global<T: Sync + 'static>(AtomicPtr<T>);

impl<T: Sync + 'static> Global<T> {
    /// An empty place.
    pub(crate) const fn new() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }

    /// Puts `value` in the place until the returned value is dropped.
    ///
    /// # Errors
    ///
    /// `EBUSY` if there is a value already.
    pub(crate) fn publish(&'static self, value: Pin<KBox<T>>) -> Result<Published<T>> {
        // SAFETY: It is pinned again, in effect, by never being moved out of the allocation.
        let raw = KBox::into_raw(unsafe { Pin::into_inner_unchecked(value) });
        // INVARIANT: from a box, for the `Published` below.
        // Pairs with the Acquire load in `get`: who sees the pointer sees the value.
        let empty = self
            .0
            .compare_exchange(null_mut(), raw, Ordering::Release, Ordering::Relaxed);
        if empty.is_err() {
            // SAFETY: From `into_raw` above, and nobody has seen it.
            drop(unsafe { KBox::from_raw(raw) });
            return Err(EBUSY);
        }
        Ok(Published { place: self })
    }

    /// The object, `None` outside of its publication.
    ///
    /// The reference is good for as long as the module is in use.
    #[inline(always)]
    pub(crate) fn get(&'static self) -> Option<&'static T> {
        // Pairs with the Release store in `publish`.
        let ptr = NonNull::new(self.0.load(Ordering::Acquire))?;
        // SAFETY: By the type invariant it points to a live `T`, shared only (`T: Sync`). Whoever
        // can call into the module (through an exported symbol, a registered driver or a live pool)
        // holds a reference to the module, and the publication ends in the module's exit, after
        // the last of them is gone.
        Some(unsafe { ptr.as_ref() })
    }
}

/// Keeps a [`Global`]'s object published.
pub(crate) struct Published<T: Sync + 'static> {
    /// Where it is.
    place: &'static Global<T>,
}

impl<T: Sync + 'static> Drop for Published<T> {
    fn drop(&mut self) {
        // Pairs with nothing: module exit runs alone.
        let raw = self.place.0.swap(null_mut(), Ordering::AcqRel);
        // SAFETY: By the type invariant of `Global` the pointer came from a `KBox`.
        drop(unsafe { KBox::from_raw(raw) });
    }
}

/// Keeps the module loaded for good, because what cannot be freed refers to it. By who may call
/// into it.
#[cold]
pub(crate) fn keep_loaded(module: &ThisModule) {
    // SAFETY: The module lives: it is called into.
    unsafe { bindings::zsrs_module_get(module.as_ptr()) };
}

/// Module parameter `chain`: longest chain of pages in a zspage.
///
/// Parameters are defined in `rust/front/module.c`: a Rust module of 6.12 cannot.
pub(crate) fn chain() -> u32 {
    // SAFETY: A C variable that is written before the module's init runs, and never after.
    unsafe { bindings::zsrs_chain }
}

/// Module parameter `background_compaction`: size classes that have become sparse are compacted at
/// once.
pub(crate) fn background_compaction() -> bool {
    let parameter = core::ptr::addr_of!(bindings::zsrs_background_compaction);
    // SAFETY: A C variable that is always `true` or `false`. Volatile, since it may be written
    // meanwhile.
    unsafe { parameter.read_volatile() }
}
