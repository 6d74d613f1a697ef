// SPDX-License-Identifier: GPL-2.0

//! Freeing: F1 to F4, and R4, the free of an object under reclaim.

use super::{
    fault::Fault,
    pool::{Class, ClassLock, Handle, Pool, State},
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
    /// It is free as soon as reclaim is done.
    Deferred,
    /// It was mapped or dead: reported, and left as it was.
    Refused,
}

impl Pool {
    /// Frees an object.
    pub(crate) fn free(&self, handle: Handle) -> Freed {
        // F1: for the class only, which never changes.
        let first = self.load(handle);
        if self.breaks(Fault::FreeChecksLockEarly) && first.is_locked() {
            return self.refuse();
        }
        let mut class = self.class();
        let word = if self.breaks(Fault::FreeUsesFirstRead) {
            first.unlocked()
        } else {
            // Acquire: pairs with the Release of unmap. A new user of the slot comes after the old one.
            let acquire = self.ordering(Ordering::Acquire, Fault::FreeReadsRelaxed);
            self.words[handle.0].load(acquire)
        };
        let mapped = word.is_locked() && !self.breaks(Fault::FreeIgnoresLock);
        if word.is_dead() || mapped && !self.breaks(Fault::FreeChecksLockEarly) {
            return self.refuse();
        }
        let (number, start) = self.slot_of(&class, word);
        let zspage = &mut class.zspages[number];
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
        // F2.
        self.give_slot(zspage, start);
        self.store(handle, Word::dead(0), Ordering::Release);
        if zspage.slots.is_empty() {
            self.release(class, number);
        } else {
            drop(class);
        }
        self.spare.lock().unwrap().push_back(handle);
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
        self.lru_remove(number);
        let frames = class.zspages[number].frames.clone();
        let holds = self.hold_pages(&frames, Fault::FreeHoldsNoPages);
        match holds.map_err(|locked| self.get(locked)) {
            Ok(holds) => {
                class.zspages[number].state = State::Gone;
                drop(class);
                self.discard(&frames, number, holds);
            }
            Err(locked) => {
                class.zspages[number].state = State::Listed;
                class.kicked |= !self.breaks(Fault::FreeKicksNobody);
                drop(class);
                drop(locked);
            }
        }
    }

    /// F4: the worker, which frees all empty zspages and waits for those who have a page of one
    /// locked. The zspage stays on its list meanwhile. False if there was nothing to free.
    pub(crate) fn work(&self) -> bool {
        let mut freed = false;
        loop {
            let mut class = self.class();
            class.kicked = false;
            let Some(number) = Self::empty(&class) else {
                return freed;
            };
            let frames = class.zspages[number].frames.clone();
            let holds = self.hold_pages(&frames, Fault::FreeHoldsNoPages);
            match holds.map_err(|locked| self.get(locked)) {
                Ok(holds) => {
                    class.zspages[number].state = State::Gone;
                    drop(class);
                    self.discard(&frames, number, holds);
                    freed = true;
                }
                Err(locked) => {
                    drop(class);
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
        let mut zspages = class.zspages.iter();
        zspages.position(|zspage| zspage.state == State::Listed && zspage.slots.is_empty())
    }
}
