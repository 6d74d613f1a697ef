// SPDX-License-Identifier: GPL-2.0

//! The slots of a zspage against a set of those that are allocated, also while it lacks its last
//! pages.

use crate::config;
use proptest::{prelude::*, test_runner::TestCaseResult};
use std::collections::BTreeSet;
use zsmalloc_logic_tests::logic::{
    freelist::{Slot, Slots},
    header::{Header, END},
    size_class::Geometry,
};

/// Slot size of the classes here, in bytes: three granules.
const SIZE: u32 = 48;

/// The same in granules.
const STEP: u16 = 3;

/// A class of so many slots.
fn class(objs: u16) -> Geometry {
    Geometry::of_shape(SIZE, objs, 1, 0)
}

/// A zspage of slots with headers, and which of them are allocated.
struct Zspage {
    /// Its class.
    class: Geometry,
    /// Under test.
    slots: Slots,
    /// The memory of the headers, by granule. `None`: never written, whatever a recycled page held.
    headers: Vec<Option<u64>>,
    /// The naive book.
    allocated: BTreeSet<u16>,
    /// Slots that were ever handed out, since their pages came.
    touched: BTreeSet<u16>,
    /// Slots whose pages are there.
    present: u16,
    /// Free slots were given up, so that the counts may be too large.
    sealed: bool,
}

impl Zspage {
    /// A zspage of `objs` slots, none ever used.
    fn new(objs: u16) -> Self {
        let class = class(objs);
        Self {
            slots: Slots::new(&class),
            class,
            headers: vec![None; usize::from(objs * STEP)],
            allocated: BTreeSet::new(),
            touched: BTreeSet::new(),
            present: objs,
            sealed: false,
        }
    }

    /// What the header of a slot that was used says.
    fn header(&self, start: u16) -> Option<Header> {
        self.headers[usize::from(start)].and_then(Header::from_raw)
    }

    /// Writes the header of a slot.
    fn set_header(&mut self, start: u16, header: Header) {
        self.headers[usize::from(start)] = Some(header.to_raw());
    }

    /// The next free slot that the header of a free slot names.
    fn link(&self, start: u16) -> Result<u16, TestCaseError> {
        match self.header(start) {
            Some(Header::Free(next)) => Ok(next),
            other => Err(TestCaseError::fail(format!(
                "slot {start} is listed and holds {other:?}"
            ))),
        }
    }

    /// No slot is left, by the count that decides in which group the zspage is.
    fn is_full(&self) -> bool {
        self.slots.taken() == self.class.objs
    }

    /// Allocates as the module does.
    fn malloc(&mut self) -> TestCaseResult {
        if self.is_full() {
            prop_assert!(self.sealed || self.slots.next().is_none());
            return Ok(());
        }
        let start = self.take()?;
        prop_assert!(start % STEP == 0 && start < self.present * STEP);
        Ok(())
    }

    /// Takes the next slot, of which there is one, for an object.
    fn take(&mut self) -> Result<u16, TestCaseError> {
        let start = match self.slots.next() {
            Some(Slot::Recycled(start)) => {
                prop_assert!(self.slots.take_recycled(self.link(start)?));
                start
            }
            Some(Slot::Fresh(start)) => {
                prop_assert!(self.touched.insert(start));
                self.slots.take_fresh(&self.class);
                start
            }
            None => return Err(TestCaseError::fail("there is room and no slot")),
        };
        prop_assert!(
            self.allocated.insert(start),
            "slot {} was handed out twice",
            start
        );
        self.set_header(start, Header::Allocated(0x1000));
        Ok(start)
    }

    /// Frees the `choice`th of the allocated slots.
    fn free(&mut self, choice: usize) {
        let nth = choice % self.allocated.len().max(1);
        let Some(start) = self.allocated.iter().copied().nth(nth) else {
            return;
        };
        self.allocated.remove(&start);
        let header = self.slots.release(start);
        self.set_header(start, header);
    }

    /// Frees all slots, as compaction does when their objects have moved. It does not get there if
    /// some were given up.
    fn free_all(&mut self) {
        if self.sealed {
            return;
        }
        self.allocated.clear();
        self.touched.clear();
        self.slots.release_all();
    }

    /// Gives up the free list, as if it was overwritten.
    fn seal(&mut self) {
        self.slots.seal(&self.class);
        self.sealed = true;
    }

    /// Lists the free slots that start before `end` and no other. Returns how many are not free.
    fn link_free_slots(&mut self, end: u16) -> u16 {
        self.slots.unlink_all();
        let mut objects = 0;
        let used = (0..self.slots.bump().min(end)).step_by(usize::from(STEP));
        for start in used.rev() {
            if let Some(Header::Free(_)) = self.header(start) {
                let header = self.slots.link(start);
                self.set_header(start, header);
            } else {
                objects += 1;
            }
        }
        objects
    }

    /// Gives up all slots but the first `kept`, if their objects have room before them; at most
    /// `most` are moved. As `rust/pool/shorten.rs` does it.
    fn shorten(&mut self, kept: u16, most: usize) -> TestCaseResult {
        let end = self.class.start_of(kept);
        let staying = usize::from(self.link_free_slots(end));
        let going: Vec<u16> = self.allocated.range(end..).copied().collect();
        prop_assert_eq!(staying + going.len(), self.allocated.len());
        let sound = self.allocated.len() == usize::from(self.slots.inuse());
        prop_assert!(sound || self.sealed);
        let lowest = (0..end).step_by(usize::from(STEP));
        let lowest = lowest.filter(|start| !self.allocated.contains(start)).min();
        if lowest.is_some_and(|start| self.touched.contains(&start)) {
            prop_assert_eq!(self.slots.next().map(Slot::start), lowest);
        }
        if sound && self.move_down(&going, end, most)? {
            self.touched.retain(|start| *start < end);
            self.resize(kept);
            return Ok(());
        }
        self.link_free_slots(self.class.end());
        if !sound {
            self.seal();
        }
        Ok(())
    }

    /// Moves objects to slots before `end`. False if there are more than `most`, or no room.
    fn move_down(&mut self, going: &[u16], end: u16, most: usize) -> Result<bool, TestCaseError> {
        for (moved, from) in going.iter().enumerate() {
            let room = self.slots.next().is_some_and(|slot| slot.start() < end);
            if !room || moved == most {
                return Ok(false);
            }
            self.take()?;
            self.allocated.remove(from);
            let header = self.slots.release_unlinked();
            self.set_header(*from, header);
        }
        Ok(true)
    }

    /// Pages went or came: `kept` slots are there.
    fn resize(&mut self, kept: u16) {
        self.slots.resize(&self.class, kept);
        self.present = kept;
        // What new pages hold is anything.
        self.headers[usize::from(kept * STEP)..].fill(None);
    }

    /// Shortens or lengthens it to so many slots.
    fn change(&mut self, kept: u16, most: usize) -> TestCaseResult {
        if kept < self.present {
            return self.shorten(kept, most);
        }
        self.resize(kept);
        Ok(())
    }

    /// Compares the counts and the free list with the book.
    fn check(&self) -> TestCaseResult {
        let missing = self.class.objs - self.present;
        let inuse = u16::try_from(self.allocated.len()).unwrap();
        let slots = &self.slots;
        prop_assert_eq!(slots.missing(), missing);
        prop_assert_eq!(usize::from(slots.bump()), self.touched.len() * 3);
        prop_assert_eq!(slots.inuse(), slots.taken() - missing);
        prop_assert_eq!(slots.is_empty(), slots.inuse() == 0);
        prop_assert!(slots.inuse() >= inuse && slots.taken() <= self.class.objs);
        let free: BTreeSet<u16> = self.touched.difference(&self.allocated).copied().collect();
        let listed = self.listed()?;
        if self.sealed {
            prop_assert!(listed.is_subset(&free));
            return Ok(());
        }
        prop_assert_eq!(slots.inuse(), inuse);
        // A slot that was never used is handed out only if none is listed.
        let next = match free.is_empty() {
            false => slots.next().filter(|slot| free.contains(&slot.start())),
            true => Some(Slot::Fresh(slots.bump())).filter(|_| inuse < self.present),
        };
        prop_assert_eq!(slots.next(), next);
        prop_assert_eq!(listed, free);
        Ok(())
    }

    /// Walks the free list by taking from a copy.
    fn listed(&self) -> Result<BTreeSet<u16>, TestCaseError> {
        let walk = self.slots.clone();
        let mut listed = BTreeSet::new();
        while let Some(Slot::Recycled(start)) = walk.next() {
            prop_assert!(listed.insert(start), "slot {} is listed twice", start);
            prop_assert!(walk.take_recycled(self.link(start)?));
        }
        Ok(listed)
    }
}

#[test]
fn a_new_zspage_hands_out_its_slots_in_order() {
    let class = class(1000);
    let slots = Slots::new(&class);
    for index in 0..1000 {
        assert_eq!(slots.next(), Some(Slot::Fresh(index * STEP)));
        slots.take_fresh(&class);
    }
    assert_eq!(slots.next(), None);
}

#[test]
fn the_first_freed_slot_ends_the_list() {
    let class = class(1);
    let slots = Slots::new(&class);
    slots.take_fresh(&class);
    assert_eq!(slots.release(0), Header::Free(END));
    assert_eq!(slots.next(), Some(Slot::Recycled(0)));
    assert_eq!((slots.inuse(), slots.bump()), (0, STEP));
}

/// Whether all of its pages are there or only those of some slots.
#[test]
fn a_link_beyond_the_last_slot_is_refused() {
    let class = class(10);
    for kept in 1..=10 {
        let slots = Slots::new(&class);
        slots.take_fresh(&class);
        slots.release(0);
        slots.resize(&class, kept);
        let last = class.start_of(kept - 1);
        for link in [last + 1, last + STEP, class.end(), END - 1] {
            let before = slots.clone();
            assert!(!slots.take_recycled(link), "link {link} of {kept} slots");
            assert_eq!(slots, before);
        }
        assert!(slots.take_recycled(last));
    }
}

#[test]
fn a_sealed_zspage_is_full_until_objects_are_freed_and_never_empty() {
    let class = class(3);
    let slots = Slots::new(&class);
    (0..3).for_each(|_| slots.take_fresh(&class));
    slots.release(STEP);
    slots.seal(&class);
    assert_eq!((slots.next(), slots.taken()), (None, class.objs));
    for start in [0, 2 * STEP] {
        slots.release(start);
        assert_eq!(slots.next(), Some(Slot::Recycled(start)));
    }
    assert_eq!((slots.inuse(), slots.is_empty()), (1, false));
}

/// A sealed zspage that lacks pages: what comes with a page can be used.
#[test]
fn a_sealed_zspage_has_room_on_the_pages_that_come() {
    let class = class(3);
    let slots = Slots::new(&class);
    slots.take_fresh(&class);
    slots.release(0);
    slots.resize(&class, 1);
    slots.seal(&class);
    assert_eq!((slots.next(), slots.taken(), slots.inuse()), (None, 3, 1));
    slots.resize(&class, 3);
    assert_eq!((slots.next(), slots.taken()), (Some(Slot::Fresh(STEP)), 1));
}

#[test]
fn a_short_zspage_is_full_and_empty_by_what_it_has() {
    let class = class(5);
    let slots = Slots::new(&class);
    slots.resize(&class, 2);
    assert_eq!((slots.missing(), slots.taken(), slots.inuse()), (3, 3, 0));
    assert!(slots.is_empty());
    (0..2).for_each(|_| slots.take_fresh(&class));
    assert_eq!((slots.next(), slots.taken(), slots.inuse()), (None, 5, 2));
    slots.resize(&class, 3);
    let next = Some(Slot::Fresh(2 * STEP));
    assert_eq!((slots.next(), slots.taken(), slots.inuse()), (next, 4, 2));
    assert!(!slots.is_empty());
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn slots_are_handed_out_once(
        objs in prop_oneof![1u16..20, 1u16..600],
        steps in prop::collection::vec((0u8..10, any::<usize>()), 0..400),
        frees in 2u8..8,
    ) {
        let mut zspage = Zspage::new(objs);
        for (step, choice) in steps {
            if step < frees {
                zspage.free(choice);
            } else {
                zspage.malloc()?;
            }
            zspage.check()?;
        }
    }

    #[test]
    fn slots_come_and_go_with_their_pages(
        objs in prop_oneof![1u16..20, 1u16..200],
        steps in prop::collection::vec((0u8..20, any::<(u16, usize)>()), 0..300),
        frees in 4u8..14,
        seal in any::<bool>(),
    ) {
        let mut zspage = Zspage::new(objs);
        for (step, (kept, choice)) in steps {
            match step {
                // One slot at least has its pages.
                0 => zspage.change(1 + kept % objs, choice % 64)?,
                1 if seal && kept % 8 == 0 => zspage.seal(),
                2 if choice % 4 == 0 => zspage.free_all(),
                _ if step < frees => zspage.free(choice),
                _ => zspage.malloc()?,
            }
            zspage.check()?;
        }
    }
}
