// SPDX-License-Identifier: GPL-2.0

//! The slots of a zspage against a set of those that are allocated.

use crate::config;
use proptest::{prelude::*, test_runner::TestCaseResult};
use std::collections::BTreeSet;
use zsmalloc_logic_tests::logic::{
    freelist::{Slot, Slots},
    header::{Header, END},
};

/// A zspage of slots with headers, and which of them are allocated.
struct Zspage {
    /// Under test.
    slots: Slots,
    /// The memory of the headers. `None`: never written, whatever a recycled page held.
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
            slots: Slots::new(),
            headers: vec![None; usize::from(objs)],
            allocated: BTreeSet::new(),
            touched: BTreeSet::new(),
        }
    }

    /// Slots that there are.
    fn objs(&self) -> u16 {
        u16::try_from(self.headers.len()).unwrap()
    }

    /// The next free slot that the header of a free slot names.
    fn link(&self, index: u16) -> Result<u16, TestCaseError> {
        match self.headers[usize::from(index)].and_then(Header::from_raw) {
            Some(Header::Free(next)) => Ok(next),
            other => Err(TestCaseError::fail(format!(
                "slot {index} is listed and holds {other:?}"
            ))),
        }
    }

    /// Allocates as the module does.
    fn malloc(&mut self) -> TestCaseResult {
        let full = self.allocated.len() == self.headers.len();
        let index = match self.slots.next(self.objs()) {
            Some(Slot::Recycled(index)) => {
                self.slots = self.slots.take_recycled(self.link(index)?);
                index
            }
            Some(Slot::Fresh(index)) => {
                // No page is touched for the first time while a slot is listed.
                prop_assert_eq!(self.allocated.len(), self.touched.len());
                prop_assert!(self.touched.insert(index));
                self.slots = self.slots.take_fresh();
                index
            }
            None => {
                prop_assert!(full);
                return Ok(());
            }
        };
        prop_assert!(!full);
        prop_assert!(index < self.objs());
        prop_assert!(
            self.allocated.insert(index),
            "slot {} was handed out twice",
            index
        );
        self.headers[usize::from(index)] = Some(Header::Allocated(0x1000).to_raw());
        Ok(())
    }

    /// Frees the `choice`th of the allocated slots.
    fn free(&mut self, choice: usize) {
        let Some(index) = self
            .allocated
            .iter()
            .copied()
            .nth(choice % self.allocated.len().max(1))
        else {
            return;
        };
        self.allocated.remove(&index);
        let (slots, header) = self.slots.release(index);
        self.slots = slots;
        self.headers[usize::from(index)] = Some(header.to_raw());
    }

    /// Walks the free list by taking from a copy, and compares it with the book.
    fn check(&self) -> TestCaseResult {
        prop_assert_eq!(usize::from(self.slots.inuse()), self.allocated.len());
        prop_assert_eq!(usize::from(self.slots.bump()), self.touched.len());
        let mut walk = self.slots;
        let mut listed = BTreeSet::new();
        while let Some(Slot::Recycled(index)) = walk.next(self.objs()) {
            prop_assert!(listed.insert(index), "slot {} is listed twice", index);
            walk = walk.take_recycled(self.link(index)?);
        }
        let free: BTreeSet<u16> = self.touched.difference(&self.allocated).copied().collect();
        prop_assert_eq!(listed, free);
        Ok(())
    }
}

#[test]
fn a_new_zspage_hands_out_its_slots_in_order() {
    let mut slots = Slots::default();
    for index in 0..1000 {
        assert_eq!(slots.next(1000), Some(Slot::Fresh(index)));
        slots = slots.take_fresh();
    }
    assert_eq!(slots.next(1000), None);
}

#[test]
fn the_first_freed_slot_ends_the_list() {
    let slots = Slots::new().take_fresh();
    let (slots, header) = slots.release(0);
    assert_eq!(header, Header::Free(END));
    assert_eq!(slots.next(1), Some(Slot::Recycled(0)));
    assert_eq!((slots.inuse(), slots.bump()), (0, 1));
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
