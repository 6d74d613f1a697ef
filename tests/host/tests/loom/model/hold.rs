// SPDX-License-Identifier: GPL-2.0

//! References to pages, and pages that are held: L1 and L2.
//!
//! Each page of ours has one reference of ours. Whoever else finds a page gets a reference first,
//! unless there are none, then its lock, and then looks whether it is movable. We hold a page by
//! freezing its references, from 1 to 0, or by its lock if others have references too. Whoever puts
//! the last one frees the page.

use super::{
    fault::Fault,
    memory::{PageLock, NONE},
    pool::Pool,
};
use loom::sync::atomic::{AtomicUsize, Ordering};

/// How many references a page has: `_refcount`. Changed and read by read-modify-writes only: see
/// [`HandleWord`](super::memory::HandleWord).
pub(crate) struct References(AtomicUsize);

impl References {
    /// Those of a free page.
    pub(crate) fn none() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.fetch_or(0, Ordering::Relaxed)
    }

    /// Makes the first one, of whoever allocates the page.
    fn begin(&self) {
        // Relaxed: who gets another sees what was done before the last was put, and no more.
        let was = self.0.swap(1, Ordering::Relaxed);
        assert_eq!(was, 0, "a page is allocated that is in use");
    }

    /// Gets another one, unless there are none.
    fn try_get(&self) -> bool {
        let mut count = 1;
        loop {
            let (got, not) = (Ordering::AcqRel, Ordering::Relaxed);
            match self.0.compare_exchange(count, count + 1, got, not) {
                Ok(_) => return true,
                Err(0) => return false,
                Err(now) => count = now,
            }
        }
    }

    /// Gets another one.
    fn get(&self) {
        let was = self.0.fetch_add(1, Ordering::Relaxed);
        assert_ne!(was, 0, "a reference to a page that has none");
    }

    /// Puts one. True if it was the last.
    fn put(&self) -> bool {
        let was = self.0.fetch_sub(1, Ordering::AcqRel);
        assert_ne!(was, 0, "a reference is put that was lost");
        was == 1
    }

    /// There are none: the page is free, or frozen by who holds it.
    fn is_frozen(&self) -> bool {
        self.count() == 0
    }

    /// Freezes ours, if it is the only one.
    fn freeze(&self, pool: &Pool) -> bool {
        let acquire = pool.ordering(Ordering::Acquire, Fault::FreezeRelaxed);
        let frozen = if pool.breaks(Fault::FreezeAnyway) {
            Ok(self.0.swap(0, acquire))
        } else {
            self.0.compare_exchange(1, 0, acquire, Ordering::Relaxed)
        };
        let (Ok(was) | Err(was)) = frozen;
        assert_ne!(was, 0, "a page is held that has no references");
        frozen.is_ok()
    }

    /// Makes ours one again.
    fn unfreeze(&self, pool: &Pool) {
        let release = pool.ordering(Ordering::Release, Fault::UnfreezeRelaxed);
        let was = self.0.swap(1, release);
        assert_eq!(was, 0, "a frozen page has references");
    }
}

/// A reference to a page. Dropping it puts it.
#[must_use]
pub(crate) struct Reference<'p> {
    /// Where the page is.
    pool: &'p Pool,
    /// Which it is.
    frame: usize,
}

impl<'p> Reference<'p> {
    /// The page's number.
    pub(crate) fn frame(&self) -> usize {
        self.frame
    }

    /// Waits for the page's lock.
    pub(crate) fn lock(&self) -> PageLock<'p> {
        self.pool.frames[self.frame].lock()
    }

    /// Takes the page's lock if nobody has it.
    pub(crate) fn try_lock(&self) -> Option<PageLock<'p>> {
        self.pool.frames[self.frame].try_lock()
    }

    /// Waits until nobody has the page's lock, without taking it.
    pub(crate) fn wait_unlocked(&self) {
        self.pool.frames[self.frame].wait_unlocked();
    }

    /// Leaves the reference to whom the page now belongs.
    pub(crate) fn keep(self) {
        std::mem::forget(self);
    }

    /// Puts the reference. True if it was the last: the page is free.
    pub(crate) fn put(self) -> bool {
        let last = self.pool.put(self.frame);
        self.keep();
        last
    }
}

impl Drop for Reference<'_> {
    fn drop(&mut self) {
        // A thread that fails must not be switched away from.
        if !std::thread::panicking() {
            self.pool.put(self.frame);
        }
    }
}

/// How a page is held.
enum How<'p> {
    /// Its references are frozen.
    Frozen,
    /// It is locked.
    Locked { _lock: PageLock<'p> },
    /// Not at all: any more, or in a model that is broken.
    Not,
}

/// A page of ours, held. Dropping it lets go of the page.
#[must_use]
pub(crate) struct Hold<'p> {
    /// Where the page is.
    pool: &'p Pool,
    /// Which it is.
    frame: usize,
    /// How it is held.
    how: How<'p>,
}

impl Hold<'_> {
    /// L2: makes the page unmovable for good. A lock is released; a frozen page stays frozen.
    fn retire(mut self) {
        if self.pool.breaks(Fault::RetireLetsGoFirst) {
            self.let_go();
        }
        self.pool.frames[self.frame].movable.set(false);
        if self.is_frozen() {
            self.how = How::Not;
        }
    }

    /// Lets go of the page.
    fn let_go(&mut self) {
        if self.is_frozen() {
            self.pool.frames[self.frame].references.unfreeze(self.pool);
        }
        self.how = How::Not;
    }

    /// The page is held without its lock. The module does not remember that, but looks at the
    /// references.
    fn is_frozen(&self) -> bool {
        if matches!(self.how, How::Locked { .. }) {
            let references = &self.pool.frames[self.frame].references;
            assert!(!references.is_frozen(), "a locked page is frozen");
        }
        matches!(self.how, How::Frozen)
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        // A thread that fails must not be switched away from.
        if !std::thread::panicking() {
            self.let_go();
        }
    }
}

impl Pool {
    /// Gets a reference to a page, whosever it is, unless it is free or frozen.
    pub(crate) fn try_get(&self, frame: usize) -> Option<Reference<'_>> {
        let got = self.frames[frame].references.try_get();
        // Not a value that is dropped where there is none.
        got.then(|| Reference { pool: self, frame })
    }

    /// The first reference to a page that was free.
    pub(crate) fn first(&self, frame: usize) -> Reference<'_> {
        self.frames[frame].references.begin();
        Reference { pool: self, frame }
    }

    /// Gets another reference to a page that has one.
    pub(crate) fn get(&self, frame: usize) -> Reference<'_> {
        self.frames[frame].references.get();
        Reference { pool: self, frame }
    }

    /// Puts a reference, and frees the page if it was the last. True if it was.
    pub(crate) fn put(&self, frame: usize) -> bool {
        let page = &self.frames[frame];
        let last = page.references.put();
        if last {
            assert!(
                !page.is_locked(),
                "a page is freed that somebody has locked"
            );
            let stripped = !page.movable.get() && page.zspage.get() == NONE;
            assert!(stripped, "a page is freed that says it is ours");
            page.poison();
            self.buddy.lock().unwrap().push(frame);
        }
        last
    }

    /// Holds a page of ours, unless somebody has it locked. A model with the fault `unless` does
    /// not hold it.
    pub(crate) fn try_hold(&self, frame: usize, unless: Fault) -> Option<Hold<'_>> {
        let page = &self.frames[frame];
        let how = if self.breaks(unless) {
            How::Not
        } else if page.references.freeze(self) {
            How::Frozen
        } else {
            How::Locked {
                _lock: page.try_lock()?,
            }
        };
        Some(Hold {
            pool: self,
            frame,
            how,
        })
    }

    /// Holds all pages, or none: then the number of the first one that somebody has locked is
    /// returned.
    pub(crate) fn hold_pages(
        &self,
        frames: &[usize],
        unless: Fault,
    ) -> Result<Vec<Hold<'_>>, usize> {
        let hold = |frame: &usize| self.try_hold(*frame, unless).ok_or(*frame);
        frames.iter().map(hold).collect()
    }

    /// L2: gives up pages of a zspage, which are held: retires and frees one after the other.
    pub(crate) fn discard(&self, frames: &[usize], zspage: usize, holds: Vec<Hold<'_>>) {
        assert_eq!(frames.len(), holds.len());
        for (frame, hold) in frames.iter().zip(holds) {
            hold.retire();
            self.strip(*frame, zspage);
            let references = &self.frames[*frame].references;
            if references.is_frozen() {
                references.unfreeze(self);
            }
            self.put(*frame);
        }
    }

    /// Resets a page that was a zspage's and is unmovable.
    pub(crate) fn strip(&self, frame: usize, zspage: usize) {
        let was = self.frames[frame].zspage.get();
        assert_eq!(was, zspage, "a page is freed that is not the zspage's");
        self.frames[frame].zspage.set(NONE);
    }
}
