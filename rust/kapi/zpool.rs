// SPDX-License-Identifier: GPL-2.0

//! zpool drivers (`<linux/zpool.h>`): how zswap reaches an allocator.

use super::{bindings, gfp::Gfp};
use crate::logic::map_mode::{MapMode, READ_ONLY, WRITE_ONLY};
use core::marker::PhantomData;
use kernel::{
    c_str,
    error::from_result,
    ffi::{c_char, c_int, c_ulong, c_void},
    prelude::*,
    str::CStr,
    types::ForeignOwnable,
    ThisModule,
};

const _: () = assert!(READ_ONLY == bindings::zpool_mapmode_ZPOOL_MM_RO);
const _: () = assert!(WRITE_ONLY == bindings::zpool_mapmode_ZPOOL_MM_WO);

/// A zpool driver. References to a pool are good until it is destroyed. Handles are opaque here;
/// the implementer gave them out and knows what they are.
pub(crate) trait Driver {
    /// A pool.
    type Pool: ForeignOwnable + 'static;
    /// What `zswap.zpool=` calls it.
    const TYPE: &'static CStr;

    /// Creates a pool. May sleep.
    fn create(name: &CStr) -> Result<Self::Pool>;

    /// Allocates an object of `size` bytes. Returns its handle.
    fn malloc(
        pool: <Self::Pool as ForeignOwnable>::Borrowed<'static>,
        size: usize,
        gfp: Gfp,
    ) -> Result<usize>;

    /// Frees an object.
    ///
    /// # Safety
    ///
    /// `handle` must come from [`Driver::malloc`] of the same pool, and not be freed since.
    unsafe fn free(pool: <Self::Pool as ForeignOwnable>::Borrowed<'static>, handle: usize);

    /// Makes an object addressable; null if that is refused.
    ///
    /// # Safety
    ///
    /// As for [`Driver::free`].
    unsafe fn map(
        pool: <Self::Pool as ForeignOwnable>::Borrowed<'static>,
        handle: usize,
        mode: MapMode,
    ) -> *mut c_void;

    /// Ends [`Driver::map`].
    ///
    /// # Safety
    ///
    /// The object must be mapped by the caller.
    unsafe fn unmap(pool: <Self::Pool as ForeignOwnable>::Borrowed<'static>, handle: usize);

    /// Pages that the pool's objects occupy.
    fn total_pages(pool: <Self::Pool as ForeignOwnable>::Borrowed<'static>) -> u64;
}

/// Keeps a driver registered.
///
/// # Invariants
///
/// `driver` is on the zpool core's list of drivers. The core changes its `refcount` and `list`, so
/// it is reached through a raw pointer only.
pub(crate) struct Registration<D: Driver> {
    /// The C object.
    driver: *mut bindings::zpool_driver,
    /// Whose callbacks they are.
    _driver: PhantomData<D>,
}

// SAFETY: The zpool core does its own locking; the pointer is used by `Drop` only.
unsafe impl<D: Driver> Send for Registration<D> {}
// SAFETY: As for `Send`: nothing is reached through a shared reference without the C side.
unsafe impl<D: Driver> Sync for Registration<D> {}

impl<D: Driver> Registration<D> {
    /// Registers the driver. May sleep.
    ///
    /// While a pool lives the zpool core holds a reference to `module`.
    pub(crate) fn new(module: &'static ThisModule) -> Result<Self> {
        let driver = KBox::new(
            bindings::zpool_driver {
                type_: D::TYPE.as_char_ptr().cast_mut(),
                owner: module.as_ptr(),
                create: Some(Self::create),
                destroy: Some(Self::destroy),
                malloc_support_movable: true,
                malloc: Some(Self::malloc),
                free: Some(Self::free),
                sleep_mapped: false,
                map: Some(Self::map),
                unmap: Some(Self::unmap),
                total_pages: Some(Self::total_pages),
                ..Default::default()
            },
            GFP_KERNEL,
        )?;
        let driver = KBox::into_raw(driver);
        // SAFETY: `driver` stays where it is until `drop` unregisters it.
        unsafe { bindings::zpool_register_driver(driver) };
        // INVARIANT: just registered.
        Ok(Self {
            driver,
            _driver: PhantomData,
        })
    }

    /// `zpool_driver::create`. The flags are for the pool's own structures, which may sleep.
    ///
    /// # Safety
    ///
    /// Called by the zpool core with a NUL-terminated name.
    unsafe extern "C" fn create(name: *const c_char, _gfp: bindings::gfp_t) -> *mut c_void {
        // SAFETY: The zpool core passes a NUL-terminated name.
        let name = unsafe { CStr::from_char_ptr(name) };
        match D::create(name) {
            Ok(pool) => pool.into_foreign().cast_mut(),
            Err(_) => core::ptr::null_mut(),
        }
    }

    /// `zpool_driver::destroy`.
    ///
    /// # Safety
    ///
    /// Called by the zpool core with a pool of [`Self::create`], for the last time.
    unsafe extern "C" fn destroy(pool: *mut c_void) {
        // SAFETY: `pool` comes from `create` and is not used after this.
        drop(unsafe { D::Pool::from_foreign(pool) });
    }

    /// `zpool_driver::malloc`.
    ///
    /// # Safety
    ///
    /// Called by the zpool core with a live pool of [`Self::create`].
    unsafe extern "C" fn malloc(
        pool: *mut c_void,
        size: usize,
        gfp: bindings::gfp_t,
        handle: *mut c_ulong,
    ) -> c_int {
        // SAFETY: `pool` comes from `create` and is live.
        let pool = unsafe { D::Pool::borrow(pool) };
        from_result(|| {
            let new = D::malloc(pool, size, Gfp::from_raw(gfp))?;
            // SAFETY: The zpool core passes a place for the handle.
            unsafe { handle.write(new) };
            Ok(0)
        })
    }

    /// `zpool_driver::free`.
    ///
    /// # Safety
    ///
    /// Called by the zpool core with a live pool of [`Self::create`].
    unsafe extern "C" fn free(pool: *mut c_void, handle: c_ulong) {
        // SAFETY: `pool` comes from `create` and is live.
        let pool = unsafe { D::Pool::borrow(pool) };
        // SAFETY: zpool users free what they allocated.
        unsafe { D::free(pool, handle) };
    }

    /// `zpool_driver::map`.
    ///
    /// # Safety
    ///
    /// Called by the zpool core with a live pool of [`Self::create`].
    unsafe extern "C" fn map(
        pool: *mut c_void,
        handle: c_ulong,
        mode: bindings::zpool_mapmode,
    ) -> *mut c_void {
        // SAFETY: `pool` comes from `create` and is live.
        let pool = unsafe { D::Pool::borrow(pool) };
        // SAFETY: zpool users map live objects.
        unsafe { D::map(pool, handle, MapMode::from_raw(mode)) }
    }

    /// `zpool_driver::unmap`.
    ///
    /// # Safety
    ///
    /// Called by the zpool core with a live pool of [`Self::create`].
    unsafe extern "C" fn unmap(pool: *mut c_void, handle: c_ulong) {
        // SAFETY: `pool` comes from `create` and is live.
        let pool = unsafe { D::Pool::borrow(pool) };
        // SAFETY: zpool users unmap what they mapped.
        unsafe { D::unmap(pool, handle) };
    }

    /// `zpool_driver::total_pages`.
    ///
    /// # Safety
    ///
    /// Called by the zpool core with a live pool of [`Self::create`].
    unsafe extern "C" fn total_pages(pool: *mut c_void) -> u64 {
        // SAFETY: `pool` comes from `create` and is live.
        D::total_pages(unsafe { D::Pool::borrow(pool) })
    }
}

impl<D: Driver> Drop for Registration<D> {
    fn drop(&mut self) {
        // SAFETY: Registered by `new`. It cannot be busy: pools hold a reference to the module.
        let busy = unsafe { bindings::zpool_unregister_driver(self.driver) };
        if busy != 0 {
            // Freeing it would leave the zpool core a dangling pointer.
            super::warn::warn(c_str!(
                "zsmalloc_rs: a zpool outlives the module that serves it"
            ));
            return;
        }
        // SAFETY: It came from a `KBox`, and the core forgot it.
        drop(unsafe { KBox::from_raw(self.driver) });
    }
}
