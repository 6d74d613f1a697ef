// SPDX-License-Identifier: GPL-2.0

//! Reclaim: R1 to R7.

use super::{
    fault::Fault,
    pool::{ClassLock, Handle, Pool, State},
};
use loom::sync::atomic::Ordering;
use zsmalloc_logic_tests::logic::{header::Header, word::Word};

/// How a reclaim ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reclaimed {
    /// A zspage was freed: 0.
    Freed,
    /// None could be: -EAGAIN.
    Again,
    /// There is none: -EINVAL.
    Nothing,
}

impl Pool {
    /// Evicts the coldest zspage, in at most `tries` attempts.
    pub(crate) fn reclaim(&self, tries: usize, evict: impl Fn(Handle) -> bool) -> Reclaimed {
        for attempt in 0..tries {
            let Some((class, number)) = self.pick() else {
                return if attempt == 0 {
                    Reclaimed::Nothing
                } else {
                    Reclaimed::Again
                };
            };
            let class = self.evict_all(class, number, &evict);
            if self.finish(class, number) {
                return Reclaimed::Freed;
            }
        }
        Reclaimed::Again
    }

    /// R1: isolates the coldest zspage.
    fn pick(&self) -> Option<(ClassLock<'_>, usize)> {
        // Bounded: each round that fails saw another tail.
        for _ in 0..4 {
            let number = *self.lru().last()?;
            let mut class = self.class_of(number);
            let mut lru = self.lru();
            if lru.last() != Some(&number) && !self.breaks(Fault::PickUnchecked) {
                continue;
            }
            let zspage = &mut class.zspages[number];
            if !self.breaks(Fault::PickUnchecked) {
                assert_eq!(
                    zspage.state,
                    State::Listed,
                    "the LRU has a zspage that is not listed"
                );
                assert_ne!(zspage.slots.inuse(), 0, "the LRU has an empty zspage");
            }
            lru.retain(|other| *other != number);
            zspage.state = State::Reclaimed;
            drop(lru);
            return Some((class, number));
        }
        None
    }

    /// R2 and R3: evicts object after object, without a lock of ours, until one is refused.
    fn evict_all<'p>(
        &'p self,
        mut class: ClassLock<'p>,
        number: usize,
        evict: &impl Fn(Handle) -> bool,
    ) -> ClassLock<'p> {
        let frames = class.zspages[number].frames.clone();
        let mut start = 0;
        while start < class.zspages[number].slots.bump() {
            let (place, granule) = self.place(&class.zspages[number], start);
            let page = if self.breaks(Fault::ReclaimKeepsPage) {
                frames[0]
            } else {
                place
            };
            let header = self.frames[page].header(granule);
            if let Header::Allocated(addr) = header {
                let handle = Handle::from_addr(addr);
                if self.load(handle).is_locked() {
                    return class;
                }
                drop(class);
                let evicted = evict(handle);
                class = self.class_of(number);
                let left = self.header(&class.zspages[number], start) == header;
                if !evicted || left {
                    return class;
                }
            }
            start += self.geometry.step;
        }
        class
    }

    /// R5 and R6: frees what was deferred, then the zspage, or puts it back. True if it was empty.
    fn finish(&self, mut class: ClassLock<'_>, number: usize) -> bool {
        let mut words = Vec::new();
        for start in self.used(&class.zspages[number]) {
            let zspage = &class.zspages[number];
            if let Header::Deferred(addr) = self.header(zspage, start) {
                let handle = Handle::from_addr(addr);
                self.give_slot(zspage, start);
                self.store(handle, Word::dead(0), Ordering::Release);
                words.push(handle);
            }
        }
        let empty = class.zspages[number].slots.is_empty();
        if empty {
            self.release(class, number);
        } else {
            class.zspages[number].state = State::Listed;
            if self.evictable {
                self.lru().insert(0, number);
            }
            drop(class);
        }
        self.spare.lock().unwrap().extend(words);
        empty
    }
}
