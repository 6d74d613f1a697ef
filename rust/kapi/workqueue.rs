// SPDX-License-Identifier: GPL-2.0

//! Work for later, in process context (`<linux/workqueue.h>`).
//!
//! The kernel crate's `Work` takes its target along in an `Arc` and cannot be waited for; a pool
//! that is destroyed must know that none of its work is left.

use super::bindings;
use core::{
    num::NonZeroU32,
    ptr::{null_mut, NonNull},
    sync::atomic::{AtomicPtr, AtomicU32, Ordering},
};
use kernel::{
    ffi::{c_int, c_ulong},
    prelude::*,
    types::Opaque,
};

/// Something that is done later.
pub(crate) trait Run: Sync + 'static {
    /// Does it. May sleep. `suggested` is about how often that was suggested since it last began.
    fn run(&'static self, suggested: u32);
}

/// A piece of work: to run its target.
///
/// # Invariants
///
/// `raw` is an initialised work item whose function is [`Work::entry`]. `target` is null, or was
/// passed to [`Work::schedule`] or [`Work::suggest`].
#[pin_data(PinnedDrop)]
pub(crate) struct Work<T: Run> {
    /// The C object.
    #[pin]
    raw: Opaque<bindings::delayed_work>,
    /// What to run.
    target: AtomicPtr<T>,
    /// How many suggestions are left until it is done at once; 0 if none came since it last began.
    left: AtomicU32,
    /// How many there will have been when none is left.
    due: AtomicU32,
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
            raw <- Opaque::ffi_init(|slot| unsafe {
                bindings::INIT_DELAYED_WORK(slot, Some(Self::entry))
            }),
            target: AtomicPtr::new(null_mut()),
            left: AtomicU32::new(0),
            due: AtomicU32::new(0),
        })
    }

    /// Suggests that `target` should run, at next to no cost if it is going to. Any context. It
    /// does in the next tick, or after `many` suggestions; some that are made while it begins to
    /// run may be missed. Returns whether this is the first one since it last began.
    #[inline(always)]
    pub(crate) fn suggest(
        &'static self,
        target: &'static T,
        many: impl FnOnce() -> NonZeroU32,
    ) -> bool {
        // Relaxed, and not one operation: some that come at the same time may not count. If it
        // begins to run in between, this undoes its 0: then it runs again when enough have come.
        let left = self.left.load(Ordering::Relaxed);
        if left > 1 {
            self.left.store(left.wrapping_sub(1), Ordering::Relaxed);
            return false;
        }
        self.await_more(target, many().get(), c_ulong::from(left == 0));
        left == 0
    }

    /// Has `target` run in the next tick, or after `many` suggestions.
    pub(crate) fn run_in_a_tick(&'static self, target: &'static T, many: NonZeroU32) {
        self.await_more(target, many.get(), 1);
    }

    /// Has `target` run in `ticks` ticks, or after `many` suggestions.
    fn await_more(&'static self, target: &'static T, many: u32, ticks: c_ulong) {
        let due = self.due.load(Ordering::Relaxed).saturating_add(many);
        self.due.store(due, Ordering::Relaxed);
        self.left.store(many, Ordering::Relaxed);
        self.schedule_in(target, ticks);
    }

    /// Has `target` run soon, once. Any context.
    pub(crate) fn schedule(&'static self, target: &'static T) {
        self.schedule_in(target, 0);
    }

    /// Has `target` run in `ticks` ticks.
    #[cold]
    #[inline(never)]
    fn schedule_in(&'static self, target: &'static T, ticks: c_ulong) {
        let raw: *const T = target;
        // Pairs with the Acquire in `entry`.
        self.target.store(raw.cast_mut(), Ordering::Release);
        let cpu = c_int::try_from(bindings::wq_misc_consts_WORK_CPU_UNBOUND).unwrap_or(0);
        // SAFETY: Reads a variable that does not change after boot.
        let queue = unsafe { bindings::system_unbound_wq };
        // SAFETY: Initialised by the type's invariant, and it lives until it is stopped.
        unsafe { bindings::mod_delayed_work_on(cpu, queue, self.raw.get(), ticks) };
    }

    /// Waits until the work is done, and keeps it from ever running again. May sleep.
    pub(crate) fn stop(&self) {
        // SAFETY: Initialised by the type's invariant.
        unsafe { bindings::disable_delayed_work_sync(self.raw.get()) };
    }

    /// The C callback.
    ///
    /// # Safety
    ///
    /// Called by the workqueue with the work item of a `Work<T>`.
    unsafe extern "C" fn entry(raw: *mut bindings::work_struct) {
        // A delayed work item begins with the work item.
        let opaque: *const Opaque<bindings::delayed_work> = raw.cast();
        // SAFETY: By the invariant, this function is called for work items of a `Work<T>` only.
        let this = unsafe { kernel::container_of!(opaque, Self, raw) };
        // SAFETY: It lives: dropping it waits for this function.
        let this = unsafe { &*this };
        // Relaxed: as in `suggest`.
        let left = this.left.swap(0, Ordering::Relaxed);
        let suggested = this.due.swap(0, Ordering::Relaxed).saturating_sub(left);
        // Pairs with the Release in `schedule_in`.
        let target = this.target.load(Ordering::Acquire);
        if let Some(target) = NonNull::new(target) {
            // SAFETY: It came from a `&'static T`.
            unsafe { target.as_ref() }.run(suggested);
        }
    }
}

#[pinned_drop]
impl<T: Run> PinnedDrop for Work<T> {
    fn drop(self: Pin<&mut Self>) {
        self.stop();
    }
}
