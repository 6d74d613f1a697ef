// SPDX-License-Identifier: GPL-2.0

//! Whatever moves objects: page migration, compaction, shortening, promotion.

use super::machine::Pool;
use proptest::sample::Index;
use zsmalloc_logic_tests::logic::{
    header::{Header, HEADER_SIZE},
    span::{first_offset, Overlap},
};

impl Pool {
    /// Moves a page to a frame near another one.
    pub(super) fn migrate(&mut self, old: usize, wish: usize) {
        let new = self.free_frame(wish);
        let page = self.frames[old].take().unwrap();
        let (number, place) = (page.zspage, page.place);
        self.frames[new] = Some(page);
        let zspage = self.zspages.get_mut(&number).unwrap();
        zspage.frames[place] = new;
        if let Some(before) = place.checked_sub(1) {
            self.frames[zspage.frames[before]].as_mut().unwrap().link = new as u64;
        }
        let zspage = &self.zspages[&number];
        let class = self.geometry(zspage.class);
        let first = first_offset(self.shift, &class, place).min((1 << self.shift) - 1);
        let by = (new as u64).wrapping_sub(old as u64) << self.shift;
        let on = Overlap::of(self.shift, &class, place, first);
        let end = on.end.min(zspage.slots.bump().into());
        for start in (on.first..end).step_by(class.step.into()) {
            let start = u16::try_from(start).unwrap();
            if let Some(addr) = self.header(zspage, start).handle() {
                let there = self.word(zspage, start);
                let word = &mut self.words[addr / 8];
                // Those that begin on the page before stay where they are.
                let by = if u32::from(start) < on.begin { 0 } else { by };
                *word = word.moved_by(by).with_split(there.is_split());
                assert_eq!(*word, word.moved(there.phys(), there.is_split()));
            }
        }
    }

    /// The objects of a zspage in the slots from `from` on: slot and handle.
    pub(super) fn objects(&self, number: usize, from: u16) -> Vec<(u16, usize)> {
        let zspage = &self.zspages[&number];
        let starts = (0..zspage.slots.bump()).step_by(self.geometry(zspage.class).step.into());
        let object = |start| Some((start, self.header(zspage, start).handle()? / 8));
        let starts = starts.filter(|start| *start >= from);
        starts.filter_map(object).collect()
    }

    /// Moves an object to a zspage with room, of its own class or one of larger slots. The slot
    /// that it leaves is not freed.
    pub(super) fn move_to(&mut self, handle: usize, to: usize) {
        let size = self.geometry(u16::try_from(self.words[handle].class()).unwrap());
        let header = if self.words[handle].is_huge() {
            0
        } else {
            HEADER_SIZE
        };
        let bytes = self.read(handle, size.size as usize - header);
        let there = self.take_slot(to);
        self.set_header(to, there, Header::Allocated(handle * 8));
        let word = self.word(&self.zspages[&to], there);
        if word.class() == self.words[handle].class() {
            let moved = self.words[handle].moved(word.phys(), word.is_split());
            assert_eq!(moved, word);
        }
        self.words[handle] = word;
        self.write(handle, &bytes);
    }

    /// Moves an object of the emptiest zspage of a class to the fullest with room. False if there
    /// are no such two.
    pub(super) fn compact(&mut self, class: u16) -> bool {
        let room = self.with_room(class);
        let (Some(from), Some(to)) = (room.first().copied(), room.last().copied()) else {
            return false;
        };
        if from == to {
            return false;
        }
        let (start, handle) = self.objects(from, 0)[0];
        self.move_to(handle, to);
        self.give_slot(from, start);
        true
    }

    /// The fullest zspage of a class with room that is not `other`.
    pub(super) fn fullest_but(&self, class: u16, other: usize) -> Option<usize> {
        let mut room = self.with_room(class).into_iter().rev();
        room.find(|number| *number != other)
    }

    /// Frees the last pages of the zspage of a class that lacks some, or else of the emptiest: as
    /// `rust/pool/shorten.rs` does it, with a budget of `most` objects that are moved.
    pub(super) fn shorten(&mut self, class: u16, most: usize) {
        if !self.geometry(class).can_shorten() {
            return;
        }
        let emptiest = || self.with_room(class).first().copied();
        let Some(number) = self.short(class).or_else(emptiest) else {
            return;
        };
        let geometry = self.geometry(class);
        let free = |number: &usize| geometry.objs - self.zspages[number].slots.taken();
        let others = self.with_room(class).into_iter();
        let elsewhere: u16 = others
            .filter(|other| *other != number)
            .map(|other| free(&other))
            .sum();
        let stay = self.zspages[&number]
            .slots
            .inuse()
            .saturating_sub(elsewhere);
        if stay == 0 {
            for (start, handle) in self.objects(number, 0).into_iter().take(most) {
                let to = self.fullest_but(class, number).unwrap();
                self.move_to(handle, to);
                self.give_slot(number, start);
            }
            return;
        }
        let kept = geometry.pages_for(self.shift, stay);
        if kept < self.zspages[&number].frames.len() {
            self.shorten_to(number, kept, most);
        }
    }

    /// Frees all pages of a zspage but the first `kept`, unless there are more than `most` objects
    /// on them. There is room for those.
    fn shorten_to(&mut self, number: usize, kept: usize, most: usize) {
        let class = self.zspages[&number].class;
        let geometry = self.geometry(class);
        let slots = geometry.slots_on(self.shift, kept);
        let end = geometry.start_of(slots);
        self.link_free_slots(number, end);
        let going = self.objects(number, end);
        let rest = going.len().saturating_sub(most);
        for (start, handle) in going.into_iter().take(most) {
            let to = self.fullest_but(class, number).unwrap_or(number);
            self.move_to(handle, to);
            let header = self.zspages[&number].slots.release_unlinked();
            self.set_header(number, start, header);
        }
        assert_eq!(self.objects(number, end).len(), rest);
        if rest != 0 {
            self.link_free_slots(number, geometry.end());
            return;
        }
        let zspage = self.zspages.get_mut(&number).unwrap();
        zspage.slots.resize(&geometry, slots);
        for frame in zspage.frames.split_off(kept) {
            self.frames[frame] = None;
        }
        let last = *zspage.frames.last().unwrap();
        self.frames[last].as_mut().unwrap().link = u64::MAX;
    }

    /// Lists the free slots of a zspage that start before `end` and no other.
    pub(super) fn link_free_slots(&mut self, number: usize, end: u16) {
        let zspage = &self.zspages[&number];
        let step = usize::from(self.geometry(zspage.class).step);
        zspage.slots.unlink_all();
        for start in (0..zspage.slots.bump().min(end)).step_by(step).rev() {
            let zspage = &self.zspages[&number];
            if let Header::Free(_) = self.header(zspage, start) {
                let header = zspage.slots.link(start);
                self.set_header(number, start, header);
            }
        }
    }

    /// Moves an object into a free slot of a class with larger ones, if there is one: as
    /// `rust/pool/promote.rs` does it. Its word then is of that class.
    pub(super) fn promote(&mut self, handle: usize, which: Index) {
        let class = u16::try_from(self.words[handle].class()).unwrap();
        let room: Vec<usize> = (0..class)
            .filter_map(|larger| self.with_room(larger).pop())
            .collect();
        if room.is_empty() {
            return;
        }
        let to = *which.get(&room);
        let (from, start) = self.find(handle);
        self.move_to(handle, to);
        assert!(self.words[handle].class() < class.into());
        assert_eq!(self.find(handle).0, to);
        self.give_slot(from, start);
    }

    /// Packs each class until nothing can be won, which must win what the statistics promise.
    pub(super) fn pack(&mut self) {
        for (class, count) in self.counts() {
            let geometry = self.geometry(class);
            let left = count.pages(&geometry) - count.can_compact(self.shift, &geometry);
            let mut pages = count.pages(&geometry);
            // Twice if a zspage that lacked pages is emptied into one that gives up its last pages
            // then.
            while self.counts()[&class].can_compact(self.shift, &geometry) != 0 {
                while self.compact(class) {}
                self.shorten(class, usize::MAX);
                let before = pages;
                pages = self.counts()[&class].pages(&geometry);
                assert!(pages < before, "{geometry:?} {count:?}");
            }
            assert_eq!(pages, left, "{geometry:?} {count:?}");
        }
    }
}
