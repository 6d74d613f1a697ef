// SPDX-License-Identifier: GPL-2.0

//! Work for later, in process context (`<linux/workqueue.h>`).
//!
//! The kernel crate's `Work` takes its target along in an `Arc` and cannot be waited for; a pool
//! that is destroyed must know that none of its work is left.

use super::bindings;
use core::{
    ptr::{null_mut, NonNull},
    sync::atomic::{AtomicBool, AtomicPtr, Ordering},
};
use kernel::{ffi::c_int, prelude::*, types::Opaque};

/// Something that is done later.
pub(crate) trait Run: Sync + 'static {
    /// Does it. May sleep.
    fn run(&'static self);
}

/// A piece of work: to run its target.
///
/// # Invariants
///
/// `raw` is an initialised work item whose function is [`Work::entry`]. `target` is null, or was
/// passed to [`Work::schedule`].
#[pin_data(PinnedDrop)]
pub(crate) struct Work<T: Run> {
    /// The C object.
    #[pin]
    raw: Opaque<bindings::work_struct>,
    /// What to run.
    target: AtomicPtr<T>,
    /// It is scheduled and has not begun.
    pending: AtomicBool,
}

// SAFETY: The workqueue does its own locking; the target is `Sync`.
unsafe impl<T: Run> Send for Work<T> {}
// SAFETY: As for `Send`: nothing is reached through a shared reference without the C side.
unsafe impl<T: Run> Sync for Work<T> {}

impl<T: Run> Work<T> {
    /// Work that is not scheduled yet.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: The slot is pinned, and stopped before it is freed (`drop`).
            raw <- Opaque::ffi_init(|slot| unsafe { bindings::INIT_WORK(slot, Some(Self::entry)) }),
            target: AtomicPtr::new(null_mut()),
            pending: AtomicBool::new(false),
        })
    }

    /// Suggests that `target` should run, at next to no cost if it is going to. Any context. A
    /// suggestion that is made while it begins to run may be missed.
    #[inline(always)]
    pub(crate) fn suggest(&'static self, target: &'static T) {
        if !self.pending.load(Ordering::Relaxed) {
            self.schedule(target);
        }
    }

    /// Has `target` run soon, once. Any context.
    #[cold]
    #[inline(never)]
    pub(crate) fn schedule(&'static self, target: &'static T) {
        // Relaxed: a hint, for `suggest`.
        self.pending.store(true, Ordering::Relaxed);
        let raw: *const T = target;
        // Pairs with the Acquire in `entry`.
        self.target.store(raw.cast_mut(), Ordering::Release);
        let cpu = c_int::try_from(bindings::wq_misc_consts_WORK_CPU_UNBOUND).unwrap_or(0);
        // SAFETY: Reads a variable that does not change after boot.
        let queue = unsafe { bindings::system_unbound_wq };
        // SAFETY: Initialised by the type's invariant, and it lives until it is stopped.
        unsafe { bindings::queue_work_on(cpu, queue, self.raw.get()) };
    }

    /// Waits until the work is done, and keeps it from ever running again. May sleep.
    pub(crate) fn stop(&self) {
        // SAFETY: Initialised by the type's invariant.
        unsafe { bindings::disable_work_sync(self.raw.get()) };
    }

    /// The C callback.
    ///
    /// # Safety
    ///
    /// Called by the workqueue with the work item of a `Work<T>`.
    unsafe extern "C" fn entry(raw: *mut bindings::work_struct) {
        let opaque: *const Opaque<bindings::work_struct> = raw.cast();
        // SAFETY: By the invariant, this function is called for work items of a `Work<T>` only.
        let this = unsafe { kernel::container_of!(opaque, Self, raw) };
        // SAFETY: It lives: dropping it waits for this function. The load pairs with the Release in
        // `schedule`.
        let this = unsafe { &*this };
        // Relaxed: a hint, for `suggest`.
        this.pending.store(false, Ordering::Relaxed);
        let target = this.target.load(Ordering::Acquire);
        if let Some(target) = NonNull::new(target) {
            // SAFETY: It came from a `&'static T`.
            unsafe { target.as_ref() }.run();
        }
    }
}

#[pinned_drop]
impl<T: Run> PinnedDrop for Work<T> {
    fn drop(self: Pin<&mut Self>) {
        self.stop();
    }
}
