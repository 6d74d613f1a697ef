// SPDX-License-Identifier: GPL-2.0

//! The C interface of `include/zsmalloc_rs.h`, which says what each function does.
//!
//! The only place that turns numbers from outside into pools and handles. `rust/front/module.c`
//! exports the symbols.

use super::{
    evict::{EvictFn, Handler},
    instance::Instance,
};
use crate::kapi::{bindings, conv::ptr_at, gfp::Gfp, warn::warn};
use crate::logic::{
    conv::{u32_to_usize, usize_to_isize},
    map_mode::MapMode,
};
use crate::object::handle::Handle;
use crate::pool::Pool;
use core::ptr::{null_mut, NonNull};
use kernel::{
    c_str,
    ffi::{c_char, c_int, c_uint, c_ulong, c_void},
    prelude::*,
    str::CStr,
};

/// As signed numbers, kernel addresses are at most this; errors (`MAX_ERRNO` is 4095), 0 and user
/// addresses are greater.
const LAST_ADDRESS: isize = -4096;

/// The handle behind a number; `None` for 0, error pointers and, with a warning, for what cannot be
/// a handle.
///
/// # Safety
///
/// Any other number must be a handle that was given out and whose object is not freed.
#[inline(always)]
pub(super) unsafe fn handle_from_raw(raw: usize) -> Option<Handle> {
    let outside = if cfg!(CONFIG_UML) {
        // The kernel is a process there, and its addresses are a user's.
        usize_to_isize(raw) <= 0
    } else {
        usize_to_isize(raw) > LAST_ADDRESS
    };
    if outside {
        return None;
    }
    if raw % 8 != 0 {
        misaligned();
        return None;
    }
    // SAFETY: A live object's handle points to its word, by this function's contract.
    NonNull::new(ptr_at(raw)).map(|word| unsafe { Handle::from_ptr(word) })
}

/// Reports a caller's bug.
#[cold]
#[inline(never)]
fn misaligned() {
    warn(c_str!(
        "zsmalloc_rs: a number that is no handle: not a multiple of 8"
    ));
}

/// What is behind a pointer to a pool.
///
/// # Safety
///
/// `pool` must come from [`zsrs_create_pool`] or [`zsrs_create_evictable_pool`], and not be
/// destroyed while the result is used.
#[inline(always)]
unsafe fn instance_from_raw(pool: *mut c_void) -> &'static Instance {
    // SAFETY: A live `Instance`, by this function's contract.
    unsafe { &*pool.cast::<Instance>() }
}

/// The pool behind a pointer.
///
/// # Safety
///
/// As for [`instance_from_raw`].
#[inline(always)]
unsafe fn pool_from_raw(pool: *mut c_void) -> &'static Pool {
    // SAFETY: Live, by this function's contract.
    unsafe { instance_from_raw(pool) }.pool()
}

/// See `include/zsmalloc_rs.h`.
///
/// # Safety
///
/// `name` must be NUL-terminated, or null.
#[no_mangle]
pub(crate) unsafe extern "C" fn zsrs_create_pool(name: *const c_char) -> *mut c_void {
    // SAFETY: NUL-terminated or null, by this function's contract.
    unsafe { create_pool(name, None) }
}

/// Creates a pool for C callers; null if there is no memory, or no name.
///
/// # Safety
///
/// As for [`zsrs_create_pool`].
unsafe fn create_pool(name: *const c_char, handler: Option<Handler>) -> *mut c_void {
    if name.is_null() {
        return null_mut();
    }
    // SAFETY: NUL-terminated, by this function's contract.
    let name = unsafe { CStr::from_char_ptr(name) };
    let instance = Instance::new(name, handler);
    instance.map_or(null_mut(), |instance| KBox::into_raw(instance).cast())
}

/// See `include/zsmalloc_rs.h`.
///
/// # Safety
///
/// `name` must be NUL-terminated, or null. `evict` must be null, or a function that may be called
/// with `private` until the pool is destroyed, from several tasks at once.
#[no_mangle]
pub(crate) unsafe extern "C" fn zsrs_create_evictable_pool(
    name: *const c_char,
    evict: Option<EvictFn>,
    private: *mut c_void,
) -> *mut c_void {
    // SAFETY: It may be called with `private`, by this function's contract.
    let handler = evict.map(|evict| unsafe { Handler::new(evict, private) });
    // SAFETY: NUL-terminated or null, by this function's contract.
    unsafe { create_pool(name, handler) }
}

/// See `include/zsmalloc_rs.h`.
///
/// # Safety
///
/// `pool` must be live, and stay so until this returns.
#[no_mangle]
pub(crate) unsafe extern "C" fn zsrs_reclaim(pool: *mut c_void, tries: c_uint) -> c_int {
    // SAFETY: Live, by this function's contract.
    let instance = unsafe { instance_from_raw(pool) };
    let reclaimed = match instance.handler(pool) {
        Some(handler) => instance.pool().reclaim(&handler, tries),
        None => Err(EINVAL),
    };
    reclaimed.map_or_else(Error::to_errno, |_| 0)
}

/// See `include/zsmalloc_rs.h`.
///
/// # Safety
///
/// `pool` must be live, and stay so until this returns; `reclaimed` null, or valid for writing.
#[no_mangle]
pub(crate) unsafe extern "C" fn zsrs_shrink(
    pool: *mut c_void,
    pages: c_uint,
    reclaimed: *mut c_uint,
) -> c_int {
    // SAFETY: Live, by this function's contract.
    let instance = unsafe { instance_from_raw(pool) };
    let mut done = 0;
    let result = match instance.handler(pool) {
        Some(handler) => {
            let pages = u32_to_usize(pages);
            instance.pool().shrink(&handler, pages, &mut done)
        }
        None => Err(EINVAL),
    };
    if let Some(reclaimed) = NonNull::new(reclaimed) {
        let done = u32::try_from(done).unwrap_or(u32::MAX);
        // SAFETY: Valid for writing, by this function's contract.
        unsafe { reclaimed.as_ptr().write(done) };
    }
    result.map_or_else(Error::to_errno, |()| 0)
}

/// See `include/zsmalloc_rs.h`.
///
/// # Safety
///
/// `pool` must be null, or come from [`zsrs_create_pool`] or [`zsrs_create_evictable_pool`] and not
/// be used any more.
#[no_mangle]
pub(crate) unsafe extern "C" fn zsrs_destroy_pool(pool: *mut c_void) {
    if !pool.is_null() {
        // SAFETY: It came from a `KBox` in `zsrs_create_pool`, and is used no more.
        drop(unsafe { KBox::from_raw(pool.cast::<Instance>()) });
    }
}

/// See `include/zsmalloc_rs.h`.
///
/// # Safety
///
/// `pool` must be live.
#[no_mangle]
pub(crate) unsafe extern "C" fn zsrs_malloc(
    pool: *mut c_void,
    size: usize,
    gfp: bindings::gfp_t,
) -> c_ulong {
    // SAFETY: Live, by this function's contract.
    let pool = unsafe { pool_from_raw(pool) };
    match pool.malloc(size, Gfp::from_raw(gfp)) {
        Ok(handle) => handle.addr(),
        Err(error) => error_value(error),
    }
}

/// An error as the number that C callers expect: `(unsigned long)ERR_PTR(error)`.
#[cold]
fn error_value(error: Error) -> c_ulong {
    let positive = usize::try_from(error.to_errno().wrapping_neg()).unwrap_or(0);
    positive.wrapping_neg()
}

/// See `include/zsmalloc_rs.h`.
///
/// # Safety
///
/// `pool` must be live; `handle` 0, an error, or from [`zsrs_malloc`] of that pool, and not freed
/// since.
#[no_mangle]
pub(crate) unsafe extern "C" fn zsrs_free(pool: *mut c_void, handle: c_ulong) {
    // SAFETY: A live object's handle or none, by this function's contract.
    if let Some(handle) = unsafe { handle_from_raw(handle) } {
        // SAFETY: Live, by this function's contract.
        unsafe { pool_from_raw(pool) }.free(handle);
    }
}

/// See `include/zsmalloc_rs.h`.
///
/// # Safety
///
/// `pool` must be live; `handle` 0, an error, or from [`zsrs_malloc`] of that pool, and not freed
/// since.
#[no_mangle]
pub(crate) unsafe extern "C" fn zsrs_map_object(
    pool: *mut c_void,
    handle: c_ulong,
    mode: c_uint,
) -> *mut c_void {
    // SAFETY: A live object's handle or none, by this function's contract.
    let Some(handle) = (unsafe { handle_from_raw(handle) }) else {
        return null_mut();
    };
    // SAFETY: Live, by this function's contract.
    let instance = unsafe { instance_from_raw(pool) };
    instance.map(handle, MapMode::from_raw(mode))
}

/// See `include/zsmalloc_rs.h`.
///
/// # Safety
///
/// `pool` must be live; `handle` 0, an error, or from [`zsrs_malloc`] of that pool, and not freed
/// since. The caller has mapped it.
#[no_mangle]
pub(crate) unsafe extern "C" fn zsrs_unmap_object(pool: *mut c_void, handle: c_ulong) {
    // SAFETY: A live object's handle or none, by this function's contract.
    if let Some(handle) = unsafe { handle_from_raw(handle) } {
        // SAFETY: Live, by this function's contract.
        unsafe { instance_from_raw(pool) }.unmap(handle);
    }
}

/// See `include/zsmalloc_rs.h`.
///
/// # Safety
///
/// `pool` must be live.
#[no_mangle]
pub(crate) unsafe extern "C" fn zsrs_get_total_pages(pool: *mut c_void) -> c_ulong {
    // SAFETY: Live, by this function's contract.
    unsafe { pool_from_raw(pool) }.total_pages()
}

/// See `include/zsmalloc_rs.h`.
///
/// # Safety
///
/// `pool` must be live.
#[no_mangle]
pub(crate) unsafe extern "C" fn zsrs_compact(pool: *mut c_void) -> c_ulong {
    // SAFETY: Live, by this function's contract.
    unsafe { pool_from_raw(pool) }.compact(usize::MAX)
}

/// See `include/zsmalloc_rs.h`.
///
/// # Safety
///
/// `pool` must be live.
#[no_mangle]
pub(crate) unsafe extern "C" fn zsrs_pages_compacted(pool: *mut c_void) -> c_ulong {
    // SAFETY: Live, by this function's contract.
    unsafe { pool_from_raw(pool) }.pages_compacted()
}

/// See `include/zsmalloc_rs.h`.
///
/// # Safety
///
/// `pool` must be live.
#[no_mangle]
pub(crate) unsafe extern "C" fn zsrs_huge_class_size(pool: *mut c_void) -> usize {
    // SAFETY: Live, by this function's contract.
    unsafe { pool_from_raw(pool) }.huge_class_size()
}

/// See `include/zsmalloc_rs.h`.
///
/// # Safety
///
/// `pool` must be live.
#[no_mangle]
pub(crate) unsafe extern "C" fn zsrs_lookup_class_index(pool: *mut c_void, size: c_uint) -> c_uint {
    // SAFETY: Live, by this function's contract.
    unsafe { pool_from_raw(pool) }.class_index(u32_to_usize(size))
}
