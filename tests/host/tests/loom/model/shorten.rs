// SPDX-License-Identifier: GPL-2.0

//! Zspages that give up their last pages, and get them back.
//!
//! S1: under the class lock the last pages are held, and the LOCK of each object there taken, which
//! moves. The pages leave the chain under the lock and are freed without it.
//! S2: malloc allocates the page that comes next without the lock, and looks again under the lock
//! whether it is the one.
//! S3: a page that comes is movable from then on, as the pages of a new zspage are (L3).

use super::{
    fault::Fault,
    memory::{NONE, PAGE_SHIFT},
    pool::{Class, Handle, Pool, State, Zspage},
};
use zsmalloc_logic_tests::logic::header::Header;

impl Pool {
    /// S1: moves the objects on the last pages of a zspage to where there is room before them, and
    /// frees these pages. Returns how many: none if one is in use, or somebody has a page locked.
    pub(crate) fn shorten(&self) -> usize {
        let mut class = self.class();
        let Some(number) = self.shrinkable(&class) else {
            return 0;
        };
        let kept = self.pages_to_keep(&class, number);
        let tail = match class.zspages[number].frames.get(kept..) {
            Some(tail) if kept != 0 && !tail.is_empty() => tail.to_vec(),
            _ => return 0,
        };
        let Ok(holds) = self.hold_pages(&tail, Fault::ShortenHoldsNoPages) else {
            return 0;
        };
        let slots = self.geometry.slots_on(PAGE_SHIFT, kept);
        let end = self.geometry.start_of(slots);
        if !self.move_down(&class, number, end) {
            let all = self.geometry.end();
            self.link_free_slots(&class.zspages[number], all);
            return 0;
        }
        let zspage = &mut class.zspages[number];
        zspage.frames.truncate(kept);
        self.frames[zspage.frames[kept - 1]].next.set(NONE);
        zspage.slots.resize(&self.geometry, slots);
        drop(class);
        self.discard(&tail, number, holds);
        tail.len()
    }

    /// The zspage that lacks pages, whoever has it.
    fn short(&self, class: &Class) -> Option<usize> {
        let lacks = |zspage: &Zspage| {
            zspage.state != State::Gone && zspage.frames.len() < self.geometry.nr_pages()
        };
        let mut all = class.zspages.numbered();
        all.find_map(|(number, zspage)| lacks(zspage).then_some(number))
    }

    /// The zspage that may give up pages: the one that has already, or else the emptiest.
    fn shrinkable(&self, class: &Class) -> Option<usize> {
        let listed = |number: &usize| class.zspages[*number].state == State::Listed;
        if let Some(short) = self.short(class) {
            return Some(short).filter(listed);
        }
        let group = |number: &usize| self.group(&class.zspages[*number]);
        let all = class.zspages.numbers().filter(listed);
        all.filter(|number| group(number).is_partial())
            .min_by_key(group)
    }

    /// Pages that the objects of a zspage need that have no room in others.
    fn pages_to_keep(&self, class: &Class, number: usize) -> usize {
        let others = class.zspages.numbered();
        let listed = others.filter(|(other, zspage)| {
            *other != number && zspage.state == State::Listed && self.group(zspage).is_partial()
        });
        let room = listed.map(|(_, zspage)| self.geometry.objs - zspage.slots.taken());
        let elsewhere = room.sum::<u16>();
        let stay = class.zspages[number].slots.inuse();
        self.geometry
            .pages_for(PAGE_SHIFT, stay.saturating_sub(elsewhere))
    }

    /// Moves the objects in slots from `end` on. False if one is in use.
    fn move_down(&self, class: &Class, number: usize, end: u16) -> bool {
        // From now on only slots that stay are handed out.
        self.link_free_slots(&class.zspages[number], end);
        let going = self.used(&class.zspages[number]);
        for start in going.filter(|start| *start >= end) {
            let header = self.header(&class.zspages[number], start);
            let Some(handle) = header.handle().map(Handle::from_addr) else {
                continue;
            };
            let to = self.room_but(class, number).unwrap_or(number);
            let release = |zspage: &Zspage| zspage.slots.release_unlinked();
            let to = &class.zspages[to];
            if !self.move_object(&class.zspages[number], start, to, handle, release) {
                return false;
            }
        }
        true
    }

    /// The fullest zspage with objects and room that is not `other`.
    fn room_but(&self, class: &Class, other: usize) -> Option<usize> {
        let group = |number: &usize| self.group(&class.zspages[*number]);
        let listed = |number: &usize| class.zspages[*number].state == State::Listed;
        let others = class.zspages.numbers().filter(|number| *number != other);
        others
            .filter(|number| listed(number) && group(number).is_partial())
            .max_by_key(group)
    }

    /// Lists the free slots of a zspage that start before `end` and no other.
    fn link_free_slots(&self, zspage: &Zspage, end: u16) {
        zspage.slots.unlink_all();
        let used: Vec<u16> = self.used(zspage).filter(|start| *start < end).collect();
        for start in used.into_iter().rev() {
            if let Header::Free(_) = self.header(zspage, start) {
                self.set_header(zspage, start, zspage.slots.link(start));
            }
        }
    }

    /// How many pages a zspage has that lacks some and is not under reclaim; and which it is.
    pub(crate) fn longer(&self, class: &Class) -> Option<(usize, usize)> {
        let short = self.short(class)?;
        let zspage = &class.zspages[short];
        (zspage.state == State::Listed).then_some((short, zspage.frames.len()))
    }

    /// S2: allocates an object in the zspage that lacks pages, and gets one for the next place.
    /// `was` says which zspage and place that was when the class lock was dropped. False if there
    /// is no page, or no zspage that lacks just this.
    pub(crate) fn malloc_longer(&self, was: (usize, usize), handle: Handle) -> bool {
        let Some(page) = self.alloc_page() else {
            return false;
        };
        self.frames[page.frame()].next.set(NONE);
        let mut class = self.class_of(was.0);
        let now = if self.breaks(Fault::LengthenUnchecked) {
            Some(was)
        } else {
            self.longer(&class).filter(|(_, place)| *place == was.1)
        };
        let Some((number, place)) = now else {
            drop(class);
            return false;
        };
        self.append(&mut class.zspages[number], number, page.frame());
        page.keep();
        let slots = self.geometry.slots_on(PAGE_SHIFT, place + 1);
        class.zspages[number].slots.resize(&self.geometry, slots);
        self.alloc_in(&class, number, handle);
        true
    }

    /// S3: makes a page the last one of a zspage, and movable then.
    fn append(&self, zspage: &mut Zspage, number: usize, frame: usize) {
        self.frames[frame].zspage.set(number);
        let last = zspage.frames.last().expect("a zspage has a page");
        self.frames[*last].next.set(frame);
        zspage.frames.push(frame);
        self.set_movable(frame);
    }
}
