// SPDX-License-Identifier: GPL-2.0

//! Deferred free: zspages without objects that could not be freed at once, because somebody had one
//! of their pages locked. They wait on the list of empty zspages, where malloc may use them again.
//!
//! The worker that sees to them also compacts classes that have become sparse.

use super::{
    class::{ClassGuard, Emptied, SizeClass},
    Pool,
};
use crate::kapi::{module, sched::cond_resched, workqueue::Run};
use crate::logic::fullness::EMPTY;
use crate::object::zspage::Doomed;

impl Pool {
    /// Frees a zspage that has left its class's lists.
    pub(super) fn close_zspage(&self, zspage: Doomed<SizeClass>) {
        self.pages_gone(zspage.pages());
        zspage.free(&self.shared.zspages);
    }

    /// Frees a zspage without objects; or the worker will, unless it is used again, once the page
    /// of it is unlocked that somebody has locked. Returns the pages given back.
    #[cold]
    #[inline(never)]
    pub(super) fn dispose(&'static self, emptied: Emptied) -> usize {
        let pages = emptied.as_ref().map_or(0, Doomed::pages);
        match emptied {
            Ok(zspage) => self.close_zspage(zspage),
            Err(_) => self.keeper.schedule(self),
        }
        pages
    }

    /// Frees all empty zspages of a class. Waits for those who have their pages locked. May sleep.
    fn reap(&self, class: &SizeClass) {
        loop {
            let reaped = class.lock().reap();
            match reaped {
                None => return,
                Some(Ok(zspage)) => self.close_zspage(zspage),
                Some(Err(page)) => page.wait_unlocked(),
            }
            cond_resched();
        }
    }
}

impl Run for Pool {
    fn run(&'static self) {
        for class in self.classes() {
            self.reap(class);
            if module::background_compaction() {
                self.compact_sparse(class);
            }
        }
    }
}

impl ClassGuard<'_> {
    /// Takes an empty zspage off its list, if there is one.
    fn reap(&self) -> Option<Emptied> {
        Some(self.remove(self.lists.first(EMPTY)?))
    }
}
