// SPDX-License-Identifier: GPL-2.0

//! Moving objects: M1 to M5.

use super::{
    fault::Fault,
    memory::{GRANULE, GRANULES, PAGE_SHIFT},
    pool::{Class, Handle, Pool, State, Zspage},
    two_classes::Size,
};
use loom::{sync::atomic::Ordering, thread};
use zsmalloc_logic_tests::logic::{
    header::Header,
    span::{first_offset, Overlap},
    stats::ClassCount,
    word::Word,
};

/// Most objects that compaction moves before it drops the class lock.
const BUDGET: usize = 1;

/// An object whose word a mover has locked.
struct Held {
    /// Its slot.
    start: u16,
    /// Its handle.
    handle: Handle,
    /// Its word as it was, unlocked.
    word: Word,
}

/// A slot that is taken for an object on its way there.
pub(crate) struct Taken {
    /// Frame and granule of each part.
    parts: Vec<(usize, usize)>,
    /// The object's word from then on.
    word: Word,
}

impl Pool {
    /// M3 and M4: moves a page to another frame, in so many tries. The core has both pages locked,
    /// and a reference to each. False if an object is in use.
    pub(crate) fn migrate_page(&self, tries: usize, old: usize, new: usize) -> bool {
        // Ours, beside the core's, before others find the page.
        let early = (!self.breaks(Fault::MoveGetsLate)).then(|| self.get(new));
        let mut moved = self.move_page(old, new);
        for _ in 1..tries {
            if moved.is_some() {
                break;
            }
            thread::yield_now();
            moved = self.move_page(old, new);
        }
        let Some(zspage) = moved else {
            return false;
        };
        early.unwrap_or_else(|| self.get(new)).keep();
        self.frames[old].movable.set(false);
        self.strip(old, zspage);
        assert!(!self.put(old), "the core has lost its reference");
        true
    }

    /// Moves a page, unless an object on it is in use. Returns its zspage.
    fn move_page(&self, old: usize, new: usize) -> Option<usize> {
        // The page lock pins the zspage.
        let number = self.frames[old].zspage.get();
        let mut class = self.class_of(number);
        let zspage = &class.zspages[number];
        let place = zspage
            .frames
            .iter()
            .position(|frame| *frame == old)
            .unwrap();
        let held = self.lock_overlapping(zspage, place)?;
        if !self.breaks(Fault::MoveStoresWordsFirst) {
            self.frames[new].copy_from(&self.frames[old]);
        }
        self.relink(&mut class.zspages[number], place, new);
        self.frames[new].zspage.set(number);
        self.frames[new].movable.set(true);
        let words = self.new_words(&class.zspages[number], &held);
        if self.breaks(Fault::MoveDropsClassLockFirst) {
            drop(class);
            self.store_words(&words);
        } else {
            self.store_words(&words);
            if self.breaks(Fault::MoveStoresWordsFirst) {
                self.frames[new].copy_from(&self.frames[old]);
            }
            drop(class);
        }
        Some(number)
    }

    /// Locks the words of all objects with a byte on a page; none if one of them is in use.
    fn lock_overlapping(&self, zspage: &Zspage, place: usize) -> Option<Vec<Held>> {
        let mut held: Vec<Held> = Vec::new();
        let last_byte = (1 << PAGE_SHIFT) - 1;
        let first = first_offset(PAGE_SHIFT, &self.geometry, place).min(last_byte);
        let on = Overlap::of(PAGE_SHIFT, &self.geometry, place, first);
        let end = on.end.min(zspage.slots.bump().into());
        for start in (on.first..end).step_by(usize::from(self.geometry.step)) {
            if self.breaks(Fault::MoveMissesBegunBefore) && start < on.begin {
                continue;
            }
            let start = u16::try_from(start).unwrap();
            let Some(handle) = self.mover_handle(zspage, start) else {
                continue;
            };
            let Some(word) = self.try_lock(handle) else {
                if self.breaks(Fault::MoveUnlocksAll) {
                    let word = self.load(handle).unlocked();
                    held.push(Held {
                        start,
                        handle,
                        word,
                    });
                }
                let restored = held.iter().map(|held| (held.handle, held.word));
                self.store_words(&restored.collect::<Vec<_>>());
                return None;
            };
            held.push(Held {
                start,
                handle,
                word,
            });
        }
        Some(held)
    }

    /// The handle of the object in a slot, if there is one.
    pub(crate) fn mover_handle(&self, zspage: &Zspage, start: u16) -> Option<Handle> {
        let header = self.header(zspage, start);
        header.handle().map(Handle::from_addr)
    }

    /// Puts a new page into a chain: writes the links next to it and no other.
    fn relink(&self, zspage: &mut Zspage, place: usize, new: usize) {
        let old = zspage.frames[place];
        zspage.frames[place] = new;
        self.frames[new].next.set(self.frames[old].next.get());
        if let Some(before) = place.checked_sub(1) {
            self.frames[zspage.frames[before]].next.set(new);
        }
        if self.breaks(Fault::MoveRewritesLinks) {
            for pair in zspage.frames.windows(2) {
                self.frames[pair[0]].next.set(pair[1]);
            }
        }
    }

    /// The words of objects that a migration has moved or whose SPLIT it may have changed.
    fn new_words(&self, zspage: &Zspage, held: &[Held]) -> Vec<(Handle, Word)> {
        let word = |held: &Held| {
            let new = self.word_at(zspage, held.start, held.word);
            if self.breaks(Fault::MoveKeepsSplit) {
                new.moved(new.phys(), held.word.is_split())
            } else if self.breaks(Fault::MoveRevives) {
                Size::of(new).blank().moved(new.phys(), new.is_split())
            } else {
                new
            }
        };
        held.iter().map(|held| (held.handle, word(held))).collect()
    }

    /// Stores words that lead to where the objects are now, and so releases them.
    fn store_words(&self, words: &[(Handle, Word)]) {
        let release = self.ordering(Ordering::Release, Fault::MoveRelaxed);
        for (handle, word) in words {
            self.store(*handle, word.unlocked(), release);
        }
    }

    /// M5: packs objects more tightly until nothing can be won. Returns how many were moved.
    pub(crate) fn compact(&self) -> usize {
        let mut moved = 0;
        let mut passed = 0;
        let mut chosen = None;
        loop {
            let mut class = self.class();
            let words = self.spares_to_free(&mut class);
            self.spare.lock().unwrap().extend(words);
            let pair = chosen.or_else(|| self.compactable(&class, &mut passed));
            let Some((from, to)) = pair else {
                return moved;
            };
            assert_eq!(
                class.zspages[from].state,
                State::Listed,
                "compaction goes on in a zspage that is gone"
            );
            match self.compact_step(&class, from, to) {
                0 => passed += 1,
                count => moved += count,
            }
            let is_empty = class.zspages[from].slots.is_empty();
            // The kernel looks at counters, without the lock.
            let is_over = self.to_win(&class) == usize::from(is_empty);
            if is_empty {
                class.zspages[from].slots.release_all();
                self.release(class, from);
            }
            if is_over {
                return moved;
            }
            if self.breaks(Fault::CompactKeepsZspages) {
                chosen = pair;
            }
        }
    }

    /// Zspages that there would be less if the objects were packed.
    fn to_win(&self, class: &Class) -> usize {
        let zspages = class.zspages.numbered().map(|(_, zspage)| zspage);
        let listed = zspages.filter(|zspage| zspage.state == State::Listed);
        let mut count = ClassCount::default();
        for zspage in listed {
            count.zspages += 1;
            count.inuse += usize::from(zspage.slots.inuse());
            count.missing.pages += self.geometry.nr_pages() - zspage.frames.len();
            count.missing.slots += usize::from(zspage.slots.missing());
        }
        count.inuse -= class.spares.len();
        count.can_compact(PAGE_SHIFT, &self.geometry) / self.geometry.nr_pages()
    }

    /// Moves objects from one zspage to another. Returns how many: 0 if the first is in use.
    fn compact_step(&self, class: &Class, from: usize, to: usize) -> usize {
        let mut moved = 0;
        for start in self.used(&class.zspages[from]) {
            let room = class.zspages[to].slots.taken() < self.geometry.objs;
            if !room || moved == BUDGET {
                break;
            }
            let Some(handle) = self.mover_handle(&class.zspages[from], start) else {
                continue;
            };
            let release = |zspage: &Zspage| zspage.slots.release(start);
            let (from, to) = (&class.zspages[from], &class.zspages[to]);
            if !self.move_object(from, start, to, handle, release) {
                break;
            }
            moved += 1;
        }
        moved
    }

    /// Source and destination of a compaction, if anything can be won: the emptiest zspage with no
    /// object in use, and the fullest one with room. Counts those it passes over.
    fn compactable(&self, class: &Class, passed: &mut usize) -> Option<(usize, usize)> {
        if self.to_win(class) == 0 {
            return None;
        }
        let listed = |number: &usize| class.zspages[*number].state == State::Listed;
        let group = |number: &usize| self.group(&class.zspages[*number]);
        let mut partial: Vec<usize> = class.zspages.numbers().filter(listed).collect();
        partial.retain(|number| group(number).is_partial());
        partial.sort_by_key(group);
        let (to, others) = partial.split_last()?;
        for from in others.iter().skip(*passed) {
            if self.is_busy(&class.zspages[*from]) {
                *passed += 1;
                if self.breaks(Fault::CompactGivesUp) {
                    return None;
                }
                continue;
            }
            return Some((*from, *to));
        }
        None
    }

    /// An object of the zspage is mapped.
    fn is_busy(&self, zspage: &Zspage) -> bool {
        let mut handles = self
            .used(zspage)
            .filter_map(|start| self.mover_handle(zspage, start));
        handles.any(|handle| self.load(handle).is_locked())
    }

    /// Moves one object within its class. False if it is mapped. `release` frees its slot and
    /// returns the header for that.
    pub(crate) fn move_object(
        &self,
        from: &Zspage,
        start: u16,
        to: &Zspage,
        handle: Handle,
        release: impl FnOnce(&Zspage) -> Header,
    ) -> bool {
        let Some(word) = self.try_lock(handle) else {
            return false;
        };
        let taken = self.take_place(to, word);
        self.move_there(from, start, &taken, handle, release);
        true
    }

    /// Takes a slot of a zspage for an object that moves there, whose word is `old` but for the
    /// place.
    pub(crate) fn take_place(&self, to: &Zspage, old: Word) -> Taken {
        let start = self.take_slot(to);
        Taken {
            parts: self.slot_parts(to, start),
            word: self.word_at(to, start, old),
        }
    }

    /// Moves an object whose word is locked to a slot that is taken for it.
    pub(crate) fn move_there(
        &self,
        from: &Zspage,
        start: u16,
        to: &Taken,
        handle: Handle,
        release: impl FnOnce(&Zspage) -> Header,
    ) {
        if self.breaks(Fault::MoveStoresWordsFirst) {
            self.store_words(&[(handle, to.word)]);
        }
        let source = self.slot_parts(from, start);
        for ((old_frame, old_granule), (frame, granule)) in source.into_iter().zip(&to.parts) {
            let value = self.frames[old_frame].data(old_granule).get();
            self.frames[*frame].data(*granule).set(value);
        }
        let (frame, granule) = to.parts[0];
        self.frames[frame].set_header(granule, Header::Allocated(handle.addr()));
        let free = release(from);
        self.set_header(from, start, free);
        self.store_words(&[(handle, to.word)]);
    }

    /// Frame and granule of each part of a slot. Under the class lock.
    fn slot_parts(&self, zspage: &Zspage, start: u16) -> Vec<(usize, usize)> {
        let (frame, granule) = self.place(zspage, start);
        let first = zspage
            .frames
            .iter()
            .position(|page| *page == frame)
            .unwrap()
            * GRANULES
            + granule;
        let count = self.geometry.size as usize / GRANULE;
        let part = |at: usize| (zspage.frames[at / GRANULES], at % GRANULES);
        (first..first + count).map(part).collect()
    }
}
