// SPDX-License-Identifier: GPL-2.0

//! Module parameters. They are defined in `rust/front/module.c`: a Rust module of 6.12 cannot.

use super::bindings;
use core::ptr::addr_of;

/// `chain`: longest chain of pages in a zspage.
pub(crate) fn chain() -> u32 {
    // SAFETY: A C variable that is written before the module's init runs, and never after.
    unsafe { bindings::zsrs_chain }
}

/// `background_compaction`: classes that have become sparse are compacted at once.
#[inline(always)]
pub(crate) fn background_compaction() -> bool {
    // SAFETY: A C variable that may be written at any time: one byte, read as it is.
    unsafe { addr_of!(bindings::zsrs_background_compaction).read_volatile() }
}
