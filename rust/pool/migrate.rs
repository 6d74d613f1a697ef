// SPDX-License-Identifier: GPL-2.0

//! Page migration: the objects on a page follow it to another one.

use super::class::{add, ClassGuard, SizeClass};
use crate::kapi::sched::{usleep, MoverGuard};
use crate::logic::{
    conv::{u32_to_u64, usize_to_u64},
    size_class::Geometry,
    span::overlapping,
    word::Word,
};
use crate::object::{
    handle::Handle,
    migrate::{Migrate, PinnedZspage},
    zspage::{Found, Zspage},
};
use crate::zpdesc_rs::{are_adjacent, Zpdesc, PAGE_SHIFT, PAGE_SIZE};
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

/// How many objects of a page are remembered while it is replaced; the rest is looked for again.
const FEW: usize = 8;

/// The objects that overlap a page, locked.
struct Locked {
    /// The first of them.
    first: [Option<Handle>; FEW],
    /// How many there are.
    count: usize,
}

impl Locked {
    /// None.
    fn new() -> Self {
        Self {
            first: [None; FEW],
            count: 0,
        }
    }

    /// Adds an object whose LOCK was taken.
    #[inline(always)]
    fn push(&mut self, handle: Handle) {
        if let Some(slot) = self.first.get_mut(self.count) {
            *slot = Some(handle);
        }
        self.count = self.count.wrapping_add(1);
    }

    /// Releases all of them, with the words that `word` makes of theirs. `again` are the same
    /// objects, from the first on.
    #[inline(always)]
    fn release<'g>(self, again: impl Iterator<Item = Found<'g>>, word: impl Fn(Word) -> Word) {
        let release = |handle: Handle| handle.unlock(word(handle.load().unlocked()));
        self.first
            .into_iter()
            .map_while(|handle| handle)
            .for_each(release);
        if self.count > FEW {
            let rest = again.take(self.count).skip(FEW);
            rest.for_each(|object| release(object.handle));
        }
    }
}

/// Where objects are once a page has been replaced.
struct Moved {
    /// Physical address of the page that was replaced.
    from: u64,
    /// Physical address of the page in its place.
    to: u64,
    /// Slot size in bytes.
    size: u64,
    /// An object that begins on the page before is split.
    splits_before: bool,
    /// An object that goes on on the next page is split.
    splits_after: bool,
}

impl Moved {
    /// After `new` was put in the place of a page at the physical address `from`.
    fn new(class: &Geometry, zspage: &Zspage<SizeClass>, from: u64, new: &Zpdesc) -> Self {
        let before = zspage.page_before(new);
        Self {
            from,
            to: new.phys(),
            size: u32_to_u64(class.size),
            splits_before: before.is_some_and(|before| !are_adjacent(before, new)),
            splits_after: !class.is_huge()
                && new.next().is_some_and(|next| !are_adjacent(new, next)),
        }
    }

    /// The new word of an object that overlaps the page.
    #[inline(always)]
    fn word(&self, word: Word) -> Word {
        let page_size = usize_to_u64(PAGE_SIZE);
        let offset = word.phys().wrapping_sub(self.from);
        if offset >= page_size {
            return word.moved(word.phys(), self.splits_before);
        }
        let crosses = offset.wrapping_add(self.size) > page_size;
        word.moved(self.to.wrapping_add(offset), crosses && self.splits_after)
    }
}

impl ClassGuard<'_> {
    /// Replaces the page `old` of `zspage` by `new`, unless an object that overlaps it is in use.
    fn migrate(&self, zspage: &Zspage<SizeClass>, old: &Zpdesc, new: &Zpdesc) -> Result<(), InUse> {
        let geometry = self.class.geometry();
        let range = overlapping(PAGE_SHIFT, geometry, old.place());
        let objects = || zspage.objects(geometry, range.clone());
        // From the first LOCK to the last release: mappers spin on them.
        let _guard = MoverGuard::new();
        let mut locked = Locked::new();
        for object in objects() {
            if object.handle.try_lock_to_move().is_none() {
                locked.release(objects(), |word| word);
                add(&self.class.refused, 1);
                return Err(InUse);
            }
            locked.push(object.handle);
        }
        let from = old.phys();
        zspage.replace(old, new);
        let moved = Moved::new(geometry, zspage, from, new);
        locked.release(objects(), |word| moved.word(word));
        add(&self.class.migrated, 1);
        Ok(())
    }
}
