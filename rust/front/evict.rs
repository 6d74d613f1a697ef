// SPDX-License-Identifier: GPL-2.0

//! Evict handlers that are written in C.

use crate::object::handle::Handle;
use crate::pool::reclaim::Evict;
use kernel::{
    error::to_result,
    ffi::{c_int, c_ulong, c_void},
    prelude::*,
};

/// `zsrs_evict_fn` of `include/zsmalloc_rs.h`.
pub(super) type EvictFn =
    unsafe extern "C" fn(pool: *mut c_void, handle: c_ulong, private: *mut c_void) -> c_int;

/// A handler and what it wants to be told.
///
/// # Invariants
///
/// `evict` may be called with `private`, from any task, until the pool is destroyed.
pub(crate) struct Handler {
    /// The function.
    evict: EvictFn,
    /// Its last argument.
    private: *mut c_void,
}

// SAFETY: `evict` may be called from any task, by the invariant.
unsafe impl Send for Handler {}
// SAFETY: `evict` may be called from several tasks at once, by the invariant.
unsafe impl Sync for Handler {}

impl Handler {
    /// A handler.
    ///
    /// # Safety
    ///
    /// `evict` must be a function that may be called with `private`, from several tasks at once,
    /// until the pool that it is made for is destroyed.
    pub(super) unsafe fn new(evict: EvictFn, private: *mut c_void) -> Self {
        // INVARIANT: the caller's promise.
        Self { evict, private }
    }

    /// The handler for a pool, which its users know by the number `pool`.
    pub(super) fn of(&self, pool: *mut c_void) -> impl Evict + '_ {
        Call {
            handler: self,
            pool,
        }
    }
}

/// A handler called for a pool.
struct Call<'h> {
    /// The handler.
    handler: &'h Handler,
    /// The pool, as its users know it.
    pool: *mut c_void,
}

impl Evict for Call<'_> {
    fn evict(&self, handle: Handle) -> Result {
        let Handler { evict, private } = *self.handler;
        // SAFETY: The pool lives while it is reclaimed; the rest is the handler's invariant.
        to_result(unsafe { evict(self.pool, handle.addr(), private) })
    }
}
