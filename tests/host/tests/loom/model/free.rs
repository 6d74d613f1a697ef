// SPDX-License-Identifier: GPL-2.0

//! Freeing: F1 to F4, P2, and R4, the free of an object under reclaim.

use super::{
    fault::Fault,
    hold::{Hold, Reference},
    pool::{Class, ClassLock, Handle, Pool, State, Zspage},
    two_classes::Size,
};
use loom::sync::atomic::Ordering;
use zsmalloc_logic_tests::logic::{
    header::{Header, END},
    word::Word,
};

/// What happened to an object that was to be freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Freed {
    /// It is free.
    Free,
    /// It is free, and kept as a spare.
    Kept,
    /// It is free as soon as reclaim is done.
    Deferred,
    /// It was mapped or dead: reported, and left as it was.
    Refused,
}

/// An empty zspage: its pages, held; or the page that somebody has locked.
pub(crate) type Removed<'p> = Result<(Vec<usize>, Vec<Hold<'p>>), Reference<'p>>;

impl Pool {
    /// Frees an object.
    pub(crate) fn free(&self, handle: Handle) -> Freed {
        loop {
            // F1: for the class only.
            let first = self.load(handle);
            if self.breaks(Fault::FreeChecksLockEarly) && first.is_locked() {
                return self.refuse();
            }
            let class = self.lock_class(Size::of(first));
            let word = if self.breaks(Fault::FreeUsesFirstRead) {
                first.unlocked()
            } else {
                // Acquire: pairs with the Release of unmap. A new user of the slot comes after the
                // old one.
                let acquire = self.ordering(Ordering::Acquire, Fault::FreeReadsRelaxed);
                self.words[handle.0].load(acquire)
            };
            // P2: look again in the other class.
            let moved = word.class() != first.class() && !word.is_dead();
            if moved && !(word.is_locked() && self.breaks(Fault::FreeBlamesFirst)) {
                if self.breaks(Fault::FreeKeepsClass) {
                    // The page is not of this class: a handle of another pool, it seems.
                    return self.refuse();
                }
                continue;
            }
            return self.free_locked(class, handle, word);
        }
    }

    /// Frees an object whose class is locked.
    fn free_locked(&self, mut class: ClassLock<'_>, handle: Handle, word: Word) -> Freed {
        let mapped = word.is_locked() && !self.breaks(Fault::FreeIgnoresLock);
        if word.is_dead() || mapped && !self.breaks(Fault::FreeChecksLockEarly) {
            return self.refuse();
        }
        let (number, start) = self.slot_of(&class, word);
        let zspage = &class.zspages[number];
        let header = self.header(zspage, start);
        assert_eq!(
            header,
            Header::Allocated(handle.addr()),
            "the slot is another object's"
        );
        if zspage.state == State::Reclaimed && !self.breaks(Fault::FreeIgnoresReclaim) {
            self.defer(&class, number, start, handle, word);
            return Freed::Deferred;
        }
        if self.may_keep(&class, number) {
            self.store(handle, word.with_dead(), Ordering::Release);
            class.spares.push(handle);
            return Freed::Kept;
        }
        // F2.
        self.give_slot(zspage, start);
        self.store(handle, Word::dead(0), Ordering::Release);
        let mut words = vec![handle];
        if self.has_only_spares(&class, number) && !self.breaks(Fault::SparesAlone) {
            words.extend(self.free_spares(&mut class));
        }
        if class.zspages[number].slots.is_empty() {
            self.release(class, number);
        } else {
            drop(class);
        }
        self.spare.lock().unwrap().extend(words);
        Freed::Free
    }

    /// Reports a user's bug.
    fn refuse(&self) -> Freed {
        self.warn();
        Freed::Refused
    }

    /// R4: leaves the free to reclaim, which may be anywhere with the handle in its hands.
    fn defer(&self, class: &Class, number: usize, start: u16, handle: Handle, word: Word) {
        let zspage = &class.zspages[number];
        let header = if self.breaks(Fault::DeferOverwritesHandle) {
            Header::Free(END)
        } else {
            Header::Deferred(handle.addr())
        };
        self.set_header(zspage, start, header);
        self.store(handle, word.with_dead(), Ordering::Release);
        if self.breaks(Fault::DeferReturnsWord) {
            self.spare.lock().unwrap().push_back(handle);
        }
    }

    /// F3: frees the pages of an empty zspage, or leaves it to the worker.
    pub(crate) fn release(&self, mut class: ClassLock<'_>, number: usize) {
        let removed = self.remove(&mut class, number);
        drop(class);
        self.dispose(number, removed);
    }

    /// F3: takes an empty zspage off its list if its pages can be held, else leaves it to the
    /// worker.
    pub(crate) fn remove(&self, class: &mut Class, number: usize) -> Removed<'_> {
        self.lru_remove(number);
        let frames = class.zspages[number].frames.clone();
        let holds = self.hold_pages(&frames, Fault::FreeHoldsNoPages);
        match holds.map_err(|locked| self.get(locked)) {
            Ok(holds) => {
                class.zspages[number].state = State::Gone;
                Ok((frames, holds))
            }
            Err(locked) => {
                class.zspages[number].state = State::Listed;
                class.kicked |= !self.breaks(Fault::FreeKicksNobody);
                Err(locked)
            }
        }
    }

    /// Frees the pages of a zspage that is on no list. Without a class lock.
    pub(crate) fn dispose(&self, number: usize, removed: Removed<'_>) {
        match removed {
            Ok((frames, holds)) => self.discard(&frames, number, holds),
            Err(locked) => drop(locked),
        }
    }

    /// F4: the worker, which frees all empty zspages and waits for those who have a page of one
    /// locked. The zspage stays on its list meanwhile. False if there was nothing to free.
    pub(crate) fn work(&self) -> bool {
        let freed: Vec<bool> = self.sizes().map(|size| self.work_in(size)).collect();
        freed.contains(&true)
    }

    /// [`Self::work`] in a class.
    fn work_in(&self, size: Size) -> bool {
        let mut freed = false;
        loop {
            let mut class = self.lock_class(size);
            class.kicked = false;
            let Some(number) = Self::empty(&class) else {
                return freed;
            };
            let frames = class.zspages[number].frames.clone();
            let removed = self.remove(&mut class, number);
            drop(class);
            match removed {
                Ok((frames, holds)) => {
                    self.discard(&frames, number, holds);
                    freed = true;
                }
                Err(locked) => {
                    locked.wait_unlocked();
                    if self.breaks(Fault::WorkerKeepsPages) {
                        let holds = self.hold_pages(&frames, Fault::FreeHoldsNoPages);
                        self.discard(&frames, number, holds.unwrap_or_default());
                        return true;
                    }
                }
            }
        }
    }

    /// An empty zspage.
    fn empty(class: &Class) -> Option<usize> {
        let empty = |zspage: &Zspage| zspage.state == State::Listed && zspage.slots.is_empty();
        let mut all = class.zspages.numbered();
        all.find_map(|(number, zspage)| empty(zspage).then_some(number))
    }
}
