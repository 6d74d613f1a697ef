// SPDX-License-Identifier: GPL-2.0

//! `WARN()` of `<asm-generic/bug.h>`: a caller's bug that we survive.

use super::bindings;
use kernel::str::CStr;

/// Reports a bug of a caller: one message and a stack trace in the log.
///
/// Any context; do not call it under a spinlock if that can be avoided, the console may be slow.
#[cold]
#[inline(never)]
pub(crate) fn warn(message: &'static CStr) {
    // SAFETY: `message` is NUL-terminated and lives for ever.
    unsafe { bindings::warn(message.as_char_ptr()) };
}
