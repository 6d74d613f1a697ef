// SPDX-License-Identifier: GPL-2.0

//! Pages that the kernel may replace (`struct movable_operations`, `<linux/migrate.h>`).
//!
//! Memory compaction, CMA and memory offlining isolate a page, allocate another one, and ask its
//! owner to move what it holds. While the owner is asked both pages are locked.

use super::{bindings, page_alloc::Page};
use core::{marker::PhantomData, ptr::NonNull};
use kernel::{error::from_result, ffi::c_int, prelude::*};

/// What an owner of movable pages does.
pub(crate) trait Operations: 'static {
    /// Moves all that `old` holds to `new`. `may_wait` tells whether waiting a moment for users of
    /// the page is worth while. May sleep.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if the page is in use and it makes sense to try again, `EBUSY` if not. Both pages
    /// are then as they were.
    ///
    /// # Safety
    ///
    /// Both pages must be locked; `old` must be movable with these operations and isolated, `new`
    /// unused.
    unsafe fn migrate(new: NonNull<Page>, old: NonNull<Page>, may_wait: bool) -> Result;
}

/// The C table for an owner `T`.
pub(crate) struct Table<T>(PhantomData<T>);

impl<T: Operations> Table<T> {
    /// One table for each `T`.
    pub(crate) const OPS: &'static bindings::movable_operations = &bindings::movable_operations {
        isolate_page: Some(Self::isolate),
        migrate_page: Some(Self::migrate),
        putback_page: Some(Self::putback),
    };

    /// `isolate_page`: nothing to do. The page's lock keeps its zspage from being freed, and an
    /// isolated page that is freed is the core's to drop.
    ///
    /// # Safety
    ///
    /// None: nothing is accessed.
    unsafe extern "C" fn isolate(_: *mut Page, _: bindings::isolate_mode_t) -> bool {
        true
    }

    /// `migrate_page`.
    ///
    /// # Safety
    ///
    /// Called by the migration core with two locked pages.
    unsafe extern "C" fn migrate(
        new: *mut Page,
        old: *mut Page,
        mode: bindings::migrate_mode,
    ) -> c_int {
        let may_wait = mode == bindings::migrate_mode_MIGRATE_SYNC;
        from_result(|| {
            let new = NonNull::new(new).ok_or(EINVAL)?;
            let old = NonNull::new(old).ok_or(EINVAL)?;
            // SAFETY: The core has locked both pages, and `old` refers to this table.
            unsafe { T::migrate(new, old, may_wait) }?;
            Ok(0)
        })
    }

    /// `putback_page`: nothing to undo.
    ///
    /// # Safety
    ///
    /// None: nothing is accessed.
    unsafe extern "C" fn putback(_: *mut Page) {}
}
