// SPDX-License-Identifier: GPL-2.0

//! Safe abstractions.

use crate::logic::word;
use core::sync::atomic::{AtomicU64, Ordering};

/// What may be sent to other threads.
///
/// # Safety
///
/// The implementor has no state that is bound to a thread.
pub(crate) unsafe trait Sendable {}

// SAFETY: A byte is a number; it refers to no thread.
unsafe impl Sendable for u8 {}

/// Locks a word. Pairs with the Release in [`unlock`].
pub(crate) fn lock(cell: &AtomicU64) -> u64 {
    cell.load(Ordering::Acquire)
}

pub(crate) fn unlock(cell: &AtomicU64) {
    // Pairs with the Acquire in `lock`.
    cell.store(0, Ordering::Release);
}

/// The low byte, through a helper.
pub(crate) fn low(cell: &AtomicU64) -> u8 {
    // SAFETY: The helper reads a static table that is never freed.
    // TEST: low_bytes
    let table = unsafe { bindings::table(word::low(cell.load(Ordering::Relaxed))) };
    table
}
