// SPDX-License-Identifier: GPL-2.0

//! The overlay of struct page.

use crate::kapi::bindings;

const _: () = assert!(core::mem::offset_of!(bindings::page, flags) == 0);

/// The flags of a page.
///
/// # Safety
///
/// `page` must be a page of the caller's.
pub(crate) unsafe fn flags(page: *mut bindings::page) -> usize {
    // SAFETY: By the contract of this function the page is the caller's alone.
    unsafe { (*page).flags }
}

/// The descriptor of a page.
pub(crate) struct Zpdesc {
    /// The number of the page in its zspage.
    index: usize,
}

impl Zpdesc {
    /// True for the page that stands for the zspage.
    pub(crate) fn first(&self) -> bool {
        self.index == 0
    }
}
