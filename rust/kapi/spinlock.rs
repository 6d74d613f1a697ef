// SPDX-License-Identifier: GPL-2.0

//! Spinlocks that are taken on hot paths (`<linux/spinlock.h>`).
//!
//! The kernel crate's [`Lock`] with a backend whose functions are inlined: those of the crate's own
//! `SpinLock` are two calls deep in 6.12. Lockdep sees no difference.

use super::bindings;
use kernel::{
    ffi::c_char,
    sync::lock::{Backend, Guard, Lock},
};

/// A spinlock around a value.
pub(crate) type SpinLock<T> = Lock<T, Spin>;
/// A spinlock that is held.
pub(crate) type SpinLockGuard<'l, T> = Guard<'l, T, Spin>;

/// The backend: `spinlock_t`.
pub(crate) struct Spin;

// SAFETY: `spin_lock()` returns when no other task is between it and `spin_unlock()`.
unsafe impl Backend for Spin {
    type State = bindings::spinlock_t;
    type GuardState = ();

    unsafe fn init(ptr: *mut Self::State, name: *const c_char, key: *mut bindings::lock_class_key) {
        // SAFETY: `ptr` is valid for initialisation; name and key are static: the trait's contract.
        unsafe { bindings::__spin_lock_init(ptr, name, key) }
    }

    #[inline(always)]
    unsafe fn lock(ptr: *mut Self::State) {
        // SAFETY: `ptr` is an initialised lock, by the trait's contract.
        unsafe { bindings::spin_lock(ptr) }
    }

    #[inline(always)]
    unsafe fn unlock(ptr: *mut Self::State, _guard_state: &()) {
        // SAFETY: The caller holds the lock at `ptr`, by the trait's contract.
        unsafe { bindings::spin_unlock(ptr) }
    }
}

/// Initialises a [`SpinLock`] with a lock class of its own.
macro_rules! new_spinlock {
    ($inner:expr, $name:literal) => {
        $crate::kapi::spinlock::SpinLock::new(
            $inner,
            kernel::c_str!($name),
            kernel::static_lock_class!(),
        )
    };
}
pub(crate) use new_spinlock;
