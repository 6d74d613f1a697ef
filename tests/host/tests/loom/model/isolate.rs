// SPDX-License-Identifier: GPL-2.0

//! The migration core, as far as it concerns us: it finds pages by their numbers, isolates them,
//! and has them moved or puts them back.
//!
//! It gets a reference to a page before it looks at it, and keeps that until it is done. Each time
//! that it has the page's lock it looks whether the page is movable.

use super::{hold::Reference, memory::PageLock, pool::Pool};

/// How a migration ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Migrated {
    /// The page is at another place.
    Moved,
    /// An object is in use.
    Busy,
    /// The page was given up meanwhile, or cannot be moved.
    NotOurs,
    /// The page is free or frozen: there are no references.
    TooLate,
    /// There is no free frame.
    NoMemory,
    /// Somebody has the page locked, who is not waited for.
    Locked,
}

impl Pool {
    /// Moves a page to a free frame, as the core asks for it without waiting for users of objects.
    pub(crate) fn migrate(&self, old: usize) -> Migrated {
        self.migrate_in(1, old)
    }

    /// The same where the core would like us to wait: so many tries, with the page locks held.
    pub(crate) fn migrate_in(&self, tries: usize, old: usize) -> Migrated {
        self.try_migrate(tries, old, |old| Some(old.lock()))
            .unwrap_or_else(|why| why)
    }

    /// [`Self::migrate`] as the core asks for it when it does not wait for the page lock either.
    pub(crate) fn migrate_async(&self, old: usize) -> Migrated {
        self.try_migrate(1, old, Reference::try_lock)
            .unwrap_or_else(|why| why)
    }

    /// Moves a page that `lock` locks. Isolating and moving it are one step here; the core takes
    /// the lock for each.
    fn try_migrate<'p>(
        &'p self,
        tries: usize,
        old: usize,
        lock: impl FnOnce(&Reference<'p>) -> Option<PageLock<'p>>,
    ) -> Result<Migrated, Migrated> {
        let old = self.try_get(old).ok_or(Migrated::TooLate)?;
        let new = self.alloc_page().ok_or(Migrated::NoMemory)?;
        let old_lock = lock(&old).ok_or(Migrated::Locked)?;
        let new_lock = new.lock();
        let moved = if !self.frames[old.frame()].movable.get() {
            Migrated::NotOurs
        } else if self.migrate_page(tries, old.frame(), new.frame()) {
            Migrated::Moved
        } else {
            Migrated::Busy
        };
        drop(new_lock);
        drop(new);
        drop(old_lock);
        Ok(moved)
    }

    /// Isolates a page.
    pub(crate) fn isolate(&self, frame: usize) -> Result<Reference<'_>, Migrated> {
        let page = self.try_get(frame).ok_or(Migrated::TooLate)?;
        let lock = page.try_lock().ok_or(Migrated::Locked)?;
        let movable = self.frames[frame].movable.get();
        drop(lock);
        if movable {
            Ok(page)
        } else {
            Err(Migrated::NotOurs)
        }
    }

    /// Puts back a page that was isolated. True if nobody else has it any more, so that it is free.
    pub(crate) fn put_back(&self, page: Reference<'_>) -> bool {
        let lock = page.lock();
        // Whether it still is movable makes no difference to us, but the core looks.
        self.frames[page.frame()].movable.get();
        drop(lock);
        page.put()
    }
}
