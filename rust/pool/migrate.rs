// SPDX-License-Identifier: GPL-2.0

//! Page migration: the objects on a page follow it to another one.

use super::class::{add_locked, ClassGuard, SizeClass};
use crate::kapi::sched::{usleep, MoverGuard};
use crate::object::{
    migrate::{Migrate, PinnedZspage},
    on_page::ObjectsOn,
    zspage::Zspage,
};
use crate::zpdesc_rs::Zpdesc;
use kernel::prelude::*;

/// How often to try again when an object is in use and waiting is worth while.
const TRIES: usize = 4;
/// How long to sleep before that, in microseconds: 1.5 ms at most in all.
const PAUSE: usize = 250;

/// An object on the page is in use.
struct InUse;

impl Migrate for SizeClass {
    #[inline(always)]
    fn migrate(
        &self,
        zspage: PinnedZspage<'_, Self>,
        old: &Zpdesc,
        new: &Zpdesc,
        may_wait: bool,
    ) -> Result {
        if self.try_migrate(zspage, old, new).is_ok() {
            return Ok(());
        }
        if may_wait {
            self.retry_migrate(zspage, old, new)
        } else {
            Err(EAGAIN)
        }
    }
}

impl SizeClass {
    /// Replaces a page, unless an object on it is in use.
    #[inline(always)]
    fn try_migrate(
        &self,
        zspage: PinnedZspage<'_, Self>,
        old: &Zpdesc,
        new: &Zpdesc,
    ) -> Result<(), InUse> {
        let guard = self.lock();
        guard.migrate(guard.lists.pinned(&zspage), old, new)
    }

    /// Replaces a page on which an object was in use, if it is not any more after a while.
    #[cold]
    #[inline(never)]
    fn retry_migrate(&self, zspage: PinnedZspage<'_, Self>, old: &Zpdesc, new: &Zpdesc) -> Result {
        for _ in 1..TRIES {
            // Whoever uses the object may have been preempted, on PREEMPT_RT.
            usleep(PAUSE);
            if self.try_migrate(zspage, old, new).is_ok() {
                return Ok(());
            }
        }
        Err(EBUSY)
    }
}

impl ClassGuard<'_> {
    /// Replaces the page `old` of `zspage` by `new`, unless an object with a byte on it is in use.
    #[inline(always)]
    fn migrate(&self, zspage: &Zspage<SizeClass>, old: &Zpdesc, new: &Zpdesc) -> Result<(), InUse> {
        let geometry = self.class.geometry();
        let objects = ObjectsOn::new(zspage, geometry, old);
        // From the first LOCK to the last release: mappers spin on them.
        let _guard = MoverGuard::new();
        let mut locked: usize = 0;
        let all = objects.all(|handle| {
            if !handle.try_lock_to_move() {
                return false;
            }
            locked = locked.wrapping_add(1);
            true
        });
        if !all {
            Self::unlock_first(self.class, objects, locked);
            return Err(InUse);
        }
        objects.replace_page(zspage, old, new);
        add_locked(&self.class.migrated, 1);
        Ok(())
    }

    /// Releases the LOCK of the first `locked` of the objects on a page that stays.
    #[cold]
    #[inline(never)]
    fn unlock_first(class: &SizeClass, objects: ObjectsOn<'_>, mut locked: usize) {
        objects.all(|handle| {
            if locked == 0 {
                return false;
            }
            locked = locked.wrapping_sub(1);
            handle.unlock(handle.load().unlocked());
            true
        });
        add_locked(&class.refused, 1);
    }
}
