// SPDX-License-Identifier: GPL-2.0

//! Page migration: the objects on a page follow it to another one.

use super::class::{add, ClassGuard, SizeClass};
use crate::kapi::sched::{usleep, MoverGuard};
use crate::logic::span::overlapping;
use crate::object::{
    migrate::{Migrate, PinnedZspage},
    zspage::Zspage,
};
use crate::zpdesc_rs::{Zpdesc, PAGE_SHIFT};
use kernel::prelude::*;

/// How often to try again when an object is in use and waiting is worth while.
const TRIES: usize = 4;
/// How long to sleep before that, in microseconds: 1.5 ms at most in all.
const PAUSE: usize = 250;

/// An object on the page is in use.
struct InUse;

impl Migrate for SizeClass {
    fn migrate(
        &self,
        zspage: PinnedZspage<'_, Self>,
        old: &Zpdesc,
        new: &Zpdesc,
        may_wait: bool,
    ) -> Result {
        for attempt in 0..TRIES {
            if attempt != 0 {
                // Whoever uses the object may have been preempted, on PREEMPT_RT.
                usleep(PAUSE);
            }
            let guard = self.lock();
            let moved = guard.migrate(guard.lists.pinned(&zspage), old, new);
            drop(guard);
            if moved.is_ok() {
                return Ok(());
            }
            if !may_wait {
                return Err(EAGAIN);
            }
        }
        Err(EBUSY)
    }
}

impl ClassGuard<'_> {
    /// Replaces the page `old` of `zspage` by `new`, unless an object that overlaps it is in use.
    fn migrate(&self, zspage: &Zspage<SizeClass>, old: &Zpdesc, new: &Zpdesc) -> Result<(), InUse> {
        let geometry = self.class.geometry();
        let range = overlapping(PAGE_SHIFT, geometry, old.place());
        let objects = zspage.objects(geometry, range.clone());
        // From the first LOCK to the last release: mappers spin on them.
        let _guard = MoverGuard::new();
        let mut locked: usize = 0;
        for object in objects.clone() {
            if !object.handle.try_lock_to_move() {
                for object in objects.clone().take(locked) {
                    object.handle.unlock(object.handle.load().unlocked());
                }
                add(&self.class.refused, 1);
                return Err(InUse);
            }
            locked = locked.wrapping_add(1);
        }
        zspage.replace(old, new);
        for object in zspage.objects(geometry, range) {
            let word = object.handle.load().unlocked();
            object.handle.unlock(object.slot.word(word));
        }
        add(&self.class.migrated, 1);
        Ok(())
    }
}
