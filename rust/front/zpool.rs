// SPDX-License-Identifier: GPL-2.0

//! The zpool driver "zsmalloc_rs": zswap's way in.

use super::{cabi::handle_from_raw, instance::Instance};
use crate::kapi::{gfp::Gfp, zpool::Driver};
use crate::logic::map_mode::MapMode;
use kernel::{ffi::c_void, prelude::*, str::CStr};

/// The driver.
pub(crate) struct ZsmallocRs;

impl Driver for ZsmallocRs {
    type Pool = KBox<Instance>;
    const TYPE: &'static CStr = kernel::c_str!("zsmalloc_rs");

    fn create(name: &CStr) -> Result<KBox<Instance>> {
        Instance::new(name, None)
    }

    fn malloc(pool: &'static Instance, size: usize, gfp: Gfp) -> Result<usize> {
        Ok(pool.pool().malloc(size, gfp)?.addr())
    }

    unsafe fn free(pool: &'static Instance, handle: usize) {
        // SAFETY: From `malloc`, by this function's contract.
        if let Some(handle) = unsafe { handle_from_raw(handle) } {
            pool.pool().free(handle);
        }
    }

    unsafe fn map(pool: &'static Instance, handle: usize, mode: MapMode) -> *mut c_void {
        // SAFETY: From `malloc` and live, by this function's contract.
        let Some(handle) = (unsafe { handle_from_raw(handle) }) else {
            return core::ptr::null_mut();
        };
        pool.map(handle, mode)
    }

    unsafe fn unmap(pool: &'static Instance, handle: usize) {
        // SAFETY: From `malloc` and mapped, by this function's contract.
        if let Some(handle) = unsafe { handle_from_raw(handle) } {
            pool.unmap(handle);
        }
    }

    fn total_pages(pool: &'static Instance) -> u64 {
        crate::logic::conv::usize_to_u64(pool.pool().total_pages())
    }
}
