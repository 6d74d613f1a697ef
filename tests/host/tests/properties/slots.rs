// SPDX-License-Identifier: GPL-2.0

//! The slots of a zspage against a set of those that are allocated.

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
    /// Slots that were ever handed out.
    touched: BTreeSet<u16>,
}

impl Zspage {
    /// A zspage of `objs` slots, none ever used.
    fn new(objs: u16) -> Self {
        Self {
            class: class(objs),
            slots: Slots::new(),
            headers: vec![None; usize::from(objs * STEP)],
            allocated: BTreeSet::new(),
            touched: BTreeSet::new(),
        }
    }

    /// The next free slot that the header of a free slot names.
    fn link(&self, start: u16) -> Result<u16, TestCaseError> {
        match self.headers[usize::from(start)].and_then(Header::from_raw) {
            Some(Header::Free(next)) => Ok(next),
            other => Err(TestCaseError::fail(format!(
                "slot {start} is listed and holds {other:?}"
            ))),
        }
    }

    /// Allocates as the module does.
    fn malloc(&mut self) -> TestCaseResult {
        let full = self.allocated.len() == usize::from(self.class.objs);
        let start = match self.slots.next(&self.class) {
            Some(Slot::Recycled(start)) => {
                prop_assert!(self.slots.take_recycled(&self.class, self.link(start)?));
                start
            }
            Some(Slot::Fresh(start)) => {
                // No page is touched for the first time while a slot is listed.
                prop_assert_eq!(self.allocated.len(), self.touched.len());
                prop_assert!(self.touched.insert(start));
                self.slots.take_fresh(&self.class);
                start
            }
            None => {
                prop_assert!(full);
                return Ok(());
            }
        };
        prop_assert!(!full);
        prop_assert!(start % STEP == 0 && start <= self.class.last);
        prop_assert!(
            self.allocated.insert(start),
            "slot {} was handed out twice",
            start
        );
        self.headers[usize::from(start)] = Some(Header::Allocated(0x1000).to_raw());
        Ok(())
    }

    /// Frees the `choice`th of the allocated slots.
    fn free(&mut self, choice: usize) {
        let Some(start) = self
            .allocated
            .iter()
            .copied()
            .nth(choice % self.allocated.len().max(1))
        else {
            return;
        };
        self.allocated.remove(&start);
        let header = self.slots.release(start);
        self.headers[usize::from(start)] = Some(header.to_raw());
    }

    /// Walks the free list by taking from a copy, and compares it with the book.
    fn check(&self) -> TestCaseResult {
        prop_assert_eq!(usize::from(self.slots.inuse()), self.allocated.len());
        let bump = usize::from(self.slots.bump());
        prop_assert_eq!(bump, self.touched.len() * usize::from(STEP));
        let walk = self.slots.clone();
        let mut listed = BTreeSet::new();
        while let Some(Slot::Recycled(start)) = walk.next(&self.class) {
            prop_assert!(listed.insert(start), "slot {} is listed twice", start);
            prop_assert!(walk.take_recycled(&self.class, self.link(start)?));
        }
        let free: BTreeSet<u16> = self.touched.difference(&self.allocated).copied().collect();
        prop_assert_eq!(listed, free);
        Ok(())
    }
}

#[test]
fn a_new_zspage_hands_out_its_slots_in_order() {
    let (class, slots) = (class(1000), Slots::default());
    for index in 0..1000 {
        assert_eq!(slots.next(&class), Some(Slot::Fresh(index * STEP)));
        slots.take_fresh(&class);
    }
    assert_eq!(slots.next(&class), None);
}

#[test]
fn the_first_freed_slot_ends_the_list() {
    let (class, slots) = (class(1), Slots::new());
    slots.take_fresh(&class);
    assert_eq!(slots.release(0), Header::Free(END));
    assert_eq!(slots.next(&class), Some(Slot::Recycled(0)));
    assert_eq!((slots.inuse(), slots.bump()), (0, STEP));
}

#[test]
fn a_link_beyond_the_last_slot_is_refused() {
    let (class, slots) = (class(10), Slots::new());
    slots.take_fresh(&class);
    slots.release(0);
    for link in [class.last + 1, class.end(), END - 1] {
        let before = slots.clone();
        assert!(!slots.take_recycled(&class, link), "link {link}");
        assert_eq!(slots, before);
    }
    assert!(slots.take_recycled(&class, class.last));
}

#[test]
fn a_sealed_zspage_is_full_until_objects_are_freed_and_never_empty() {
    let (class, slots) = (class(3), Slots::new());
    (0..3).for_each(|_| slots.take_fresh(&class));
    slots.release(STEP);
    slots.seal(class.objs);
    assert_eq!((slots.next(&class), slots.inuse()), (None, class.objs));
    for start in [0, 2 * STEP] {
        slots.release(start);
        assert_eq!(slots.next(&class), Some(Slot::Recycled(start)));
    }
    assert_eq!(slots.inuse(), 1);
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
}
