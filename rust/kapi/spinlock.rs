// SPDX-License-Identifier: GPL-2.0

//! Spinlocks that are taken on hot paths (`<linux/spinlock.h>`).
//!
//! The kernel crate's [`Lock`] with a backend that calls what the C macros do, where that is a
//! function: those of the crate's own `SpinLock` are two calls farther away in 6.12. Lockdep sees
//! no difference.

use super::bindings;
#[cfg(all(CONFIG_SMP, not(CONFIG_INLINE_SPIN_LOCK), not(CONFIG_PREEMPT_RT)))]
use super::bindings::_raw_spin_lock as spin_lock;
#[cfg(all(CONFIG_SMP, CONFIG_UNINLINE_SPIN_UNLOCK, not(CONFIG_PREEMPT_RT)))]
use super::bindings::_raw_spin_unlock as spin_unlock;
#[cfg(not(all(CONFIG_SMP, not(CONFIG_INLINE_SPIN_LOCK), not(CONFIG_PREEMPT_RT))))]
use super::bindings::spin_lock;
#[cfg(not(all(CONFIG_SMP, CONFIG_UNINLINE_SPIN_UNLOCK, not(CONFIG_PREEMPT_RT))))]
use super::bindings::spin_unlock;
use core::mem::MaybeUninit;
use kernel::{
    ffi::c_char,
    sync::{
        lock::{Backend, Guard, Lock},
        LockClassKey,
    },
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
        // SAFETY: `ptr` is an initialised lock, by the trait's contract; it begins with the raw
        // one.
        unsafe { spin_lock(ptr.cast()) }
    }

    #[inline(always)]
    unsafe fn unlock(ptr: *mut Self::State, _guard_state: &()) {
        // SAFETY: The caller holds the lock at `ptr`, by the trait's contract.
        unsafe { spin_unlock(ptr.cast()) }
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

/// Lock classes for locks that are taken one within another in the order of their numbers; and one
/// for all numbers above these.
pub(crate) struct OrderedLocks<const N: usize>([LockClassKey; N], LockClassKey);

impl<const N: usize> OrderedLocks<N> {
    /// `N` lock classes and another, for a static.
    pub(crate) const fn new() -> Self {
        // SAFETY: lockdep uses the addresses of static keys, and never what they hold.
        unsafe { MaybeUninit::zeroed().assume_init() }
    }

    /// The lock class of number `number`.
    pub(crate) fn get(&'static self, number: usize) -> &'static LockClassKey {
        self.0.get(number).unwrap_or(&self.1)
    }
}
