// SPDX-License-Identifier: GPL-2.0

//! A pool as the outside sees it, and what the module holds while it is loaded.

use super::{debugfs, evict::Handler};
use crate::kapi::{
    cpuhp,
    cpumask::Cpu,
    debugfs::Dir,
    module::{keep_loaded, Global},
    shrinker,
    warn::warn,
};
use crate::logic::map_mode::MapMode;
use crate::object::{handle::Handle, lru::Lru};
use crate::pool::{reclaim::Evict, shared::Shared, Pool};
use core::ptr::{null_mut, NonNull};
use kernel::{c_str, ffi::c_void, prelude::*, str::CStr, sync::Arc};

/// The module's state, for callbacks and exported functions.
pub(crate) static STATE: Global<State> = Global::new();

/// The module's state.
#[pin_data]
pub(crate) struct State {
    /// `zsmalloc_rs` in debugfs.
    pub(super) debugfs: Dir,
    /// What pools share.
    #[pin]
    pub(super) shared: Shared,
}

impl State {
    /// Sets up for chains of at most `chain` pages. May sleep.
    pub(crate) fn new(chain: u32) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            debugfs: Dir::new(c_str!("zsmalloc_rs")),
            shared <- Shared::new(chain),
        })
    }

    /// Creates the files in debugfs that are not a pool's.
    pub(crate) fn show(&'static self) {
        debugfs::show_module(&self.debugfs, &self.shared);
    }
}

/// The module's hotplug callbacks.
pub(crate) struct Hotplug;

impl cpuhp::Callbacks for Hotplug {
    fn prepare(cpu: Cpu) -> Result {
        STATE.get().ok_or(ENODEV)?.shared.cpu_prepare(cpu)
    }

    fn dead(cpu: &cpuhp::GoneCpu) {
        if let Some(state) = STATE.get() {
            state.shared.cpu_dead(cpu);
        }
    }
}

/// A pool as its users have it: with all that refers to it.
///
/// Fields are dropped in order: last the pool, to which the others refer.
pub(crate) struct Instance {
    /// Its directory in debugfs.
    _debugfs: Dir,
    /// What the kernel asks when it runs short of memory.
    _shrinker: shrinker::Registration<Pool>,
    /// Who evicts its objects.
    handler: Option<Handler>,
    /// The pool.
    pool: OwnedPool,
}

impl Instance {
    /// Creates a pool, which can be reclaimed if it has a handler. May sleep.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the module is not ready, `ENOMEM`.
    pub(crate) fn new(name: &CStr, handler: Option<Handler>) -> Result<KBox<Self>> {
        let state = STATE.get().ok_or(ENODEV)?;
        let lru = match handler {
            Some(_) => Some(Arc::pin_init(Lru::new(), GFP_KERNEL)?),
            None => None,
        };
        let pool = OwnedPool::new(Pool::new(&state.shared, name, lru))?;
        // SAFETY: The shrinker and the files end before the pool does: fields are dropped in order.
        let shared = unsafe { pool.get_static() };
        let shrinker = shrinker::Registration::new(name, shared)?;
        let dir = state.debugfs.dir(name);
        debugfs::show_pool(&dir, shared);
        let instance = Self {
            _debugfs: dir,
            _shrinker: shrinker,
            handler,
            pool,
        };
        Ok(KBox::new(instance, GFP_KERNEL)?)
    }

    /// What evicts the pool's objects, if anything does. C knows the pool as `raw`.
    pub(super) fn handler(&self, raw: *mut c_void) -> Option<impl Evict + '_> {
        Some(self.handler.as_ref()?.of(raw))
    }

    /// [`Pool::map`]; null if that is refused.
    #[inline(always)]
    pub(super) fn map(&self, handle: Handle, mode: MapMode) -> *mut c_void {
        let address = Pool::try_map(handle).or_else(|| self.pool.get().map(handle, mode));
        address.map_or(null_mut(), |address| address.as_ptr().cast())
    }

    /// [`Pool::unmap`], with a warning if the object was not mapped.
    #[inline(always)]
    pub(super) fn unmap(&self, handle: Handle) {
        if !Pool::try_unmap(handle) && !self.pool.get().unmap(handle) {
            warn(c_str!("zsmalloc_rs: unmap of an object that is not mapped"));
        }
    }

    /// The pool. It may keep the reference: what works in the background is waited for when it is
    /// dropped.
    #[inline(always)]
    pub(super) fn pool(&'static self) -> &'static Pool {
        self.pool.get()
    }
}

/// A pool that callbacks can refer to. All of them have ended when it is dropped.
///
/// # Invariants
///
/// The pool came from a pinned `KBox`, and nobody else owns it.
struct OwnedPool(NonNull<Pool>);

impl OwnedPool {
    /// Creates a pool. May sleep.
    fn new(init: impl PinInit<Pool, Error>) -> Result<Self> {
        let pool = KBox::pin_init(init, GFP_KERNEL)?;
        // SAFETY: It is pinned, in effect, by never being moved out of the allocation.
        let pool = KBox::leak(unsafe { Pin::into_inner_unchecked(pool) });
        // INVARIANT: just leaked.
        Ok(Self(pool.into()))
    }

    /// The pool.
    #[inline(always)]
    fn get(&self) -> &Pool {
        // SAFETY: It lives until `self` is dropped, by the invariant.
        unsafe { self.0.as_ref() }
    }

    /// The pool, for what outlives the borrow.
    ///
    /// # Safety
    ///
    /// That must have ended when `self` is dropped.
    unsafe fn get_static(&self) -> &'static Pool {
        // SAFETY: It lives for as long, by the invariant and this function's contract.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for OwnedPool {
    fn drop(&mut self) {
        if !self.get().close() {
            // As it is, with the objects that were never freed: their pages may still be asked to
            // move.
            keep_loaded(&crate::THIS_MODULE);
            return;
        }
        // SAFETY: From a `KBox`, by the invariant. Whoever referred to it has ended: users by
        // contract, the shrinker and debugfs as fields of `Instance`, the worker by `close`.
        drop(unsafe { KBox::from_raw(self.0.as_ptr()) });
    }
}
