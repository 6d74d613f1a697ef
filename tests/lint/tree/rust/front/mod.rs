// SPDX-License-Identifier: GPL-2.0

//! The outside.

use crate::{object::Handle, pool};
use kernel::bindings;

/// Frees an object.
///
/// # Safety
///
/// `raw` is a handle that `zs_malloc` returned and nobody freed.
#[no_mangle]
pub unsafe extern "C" fn zsrs_free(raw: usize, gfp: bindings::gfp_t) {
    pool::free(Handle::from_raw(raw), gfp);
}
