// SPDX-License-Identifier: GPL-2.0

//! Page migration: from a page that the kernel wants to replace to the size class that owns it.

use super::zspage::Zspage;
use crate::kapi::{movable, page_alloc::Page};
use crate::zpdesc_rs::Zpdesc;
use core::{marker::PhantomData, ptr::NonNull};
use kernel::prelude::*;

/// An owner of zspages whose pages may be replaced.
pub(crate) trait Migrate: Sync + Sized + 'static {
    /// Moves all that lies on `old`, a page of `zspage`, to the unused page `new`, and puts `new`
    /// in its place. Both pages are locked. May sleep; `may_wait` tells whether to wait a moment
    /// for users of objects there.
    ///
    /// # Errors
    ///
    /// `EAGAIN` or `EBUSY` if an object is in use. Both pages are as they were then.
    fn migrate(
        &self,
        zspage: PinnedZspage<'_, Self>,
        old: &Zpdesc,
        new: &Zpdesc,
        may_wait: bool,
    ) -> Result;
}

/// A zspage that is not freed, because one of its pages is locked. What it holds may be looked at
/// under its owner's lock only: [`ZspageLists::pinned`](super::lists::ZspageLists::pinned).
pub(crate) struct PinnedZspage<'p, Owner>(NonNull<Zspage<Owner>>, PhantomData<&'p Zpdesc>);

impl<Owner> Clone for PinnedZspage<'_, Owner> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Owner> Copy for PinnedZspage<'_, Owner> {}

impl<Owner> PinnedZspage<'_, Owner> {
    /// The zspage.
    pub(super) fn as_ptr(&self) -> NonNull<Zspage<Owner>> {
        self.0
    }
}

/// The movable operations of zspages that belong to an `Owner`.
pub(super) struct Movable<Owner>(PhantomData<Owner>);

impl<Owner: Migrate> movable::Operations for Movable<Owner> {
    unsafe fn migrate(new: NonNull<Page>, old: NonNull<Page>, may_wait: bool) -> Result {
        // SAFETY: The page is movable with these operations, so it is ours, and its lock keeps it.
        let old: &Zpdesc = unsafe { Zpdesc::from_page(old) };
        // SAFETY: The core has it locked for us to use.
        let new: &Zpdesc = unsafe { Zpdesc::from_page(new) };
        let zspage = NonNull::new(old.zspage().cast::<Zspage<Owner>>()).ok_or(EINVAL)?;
        // SAFETY: A page leaves its zspage, alone or with all others, only while who frees it holds
        // it, which the core's lock prevents: the zspage lives.
        let owner = unsafe { Zspage::owner_of(zspage) };
        // Ours, beside the core's, before others find the page: the core has the page locked.
        let reference = new.get();
        owner.migrate(PinnedZspage(zspage, PhantomData), old, new, may_wait)?;
        reference.keep();
        if !old.is_in_zone_of(new) {
            old.zone().add_zspages(-1);
            new.zone().add_zspages(1);
        }
        old.clear_movable();
        old.reset();
        // SAFETY: Reset, and nothing of ours leads there any more. The core has a reference of its
        // own.
        unsafe { old.put() };
        Ok(())
    }
}
