// SPDX-License-Identifier: GPL-2.0

//! Addresses as integers and back.
//!
//! The only module of the kernel side in which `as` is written; plain integer widening is in
//! `rust/logic/conv.rs`.

/// The address of a pointer. The memory behind it stays reachable through [`ptr_at`].
#[inline(always)]
pub(crate) fn addr_of<T>(ptr: *const T) -> usize {
    ptr as usize // CAST: a pointer's address; usize has its width.
}

/// The pointer to an address that [`addr_of`] or the kernel gave out.
#[inline(always)]
pub(crate) fn ptr_at<T>(addr: usize) -> *mut T {
    addr as *mut T // CAST: an address that was a pointer's.
}
