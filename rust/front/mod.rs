// SPDX-License-Identifier: GPL-2.0

//! The ways in: the C interface, the zpool driver, debugfs. The only place with raw handles.

pub(crate) mod cabi;
pub(crate) mod debugfs;
mod evict;
pub(crate) mod instance;
#[cfg(CONFIG_ZPOOL)]
pub(crate) mod zpool;

/// Longest chain in pages, as the user asked for it: module parameter `chain`.
pub(crate) fn chain() -> u32 {
    // SAFETY: A C variable that is written before the module's init runs, and never after.
    unsafe { crate::kapi::bindings::zsrs_chain }
}
