// SPDX-License-Identifier: GPL-2.0

//! The handle word against a picture of its bits.

use crate::config;
use proptest::prelude::*;
use zsmalloc_logic_tests::logic::word::{Word, ADDR_ALIGN, MAX_CLASSES, PAYLOAD_BITS, PHYS_BITS};

/// What a word holds, read from its binary digits as drawn in rust/logic/word.rs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Fields {
    /// Bits 63 to 12.
    payload: u64,
    /// Bits 11 to 3.
    class: u64,
    /// Bit 2.
    split: bool,
    /// Bit 1.
    dead: bool,
    /// Bit 0.
    lock: bool,
}

/// Reads a word digit by digit.
fn drawn(word: Word) -> Fields {
    let digits = format!("{:064b}", word.to_raw());
    let number = |from: usize, to: usize| u64::from_str_radix(&digits[from..to], 2).unwrap();
    let flag = |at: usize| &digits[at..=at] == "1";
    Fields {
        payload: number(0, 52),
        class: number(52, 61),
        split: flag(61),
        dead: flag(62),
        lock: flag(63),
    }
}

/// Reads a word through its methods.
fn told(word: Word) -> Fields {
    Fields {
        payload: word.payload(),
        class: u64::from(word.class()),
        split: word.is_split(),
        dead: word.is_dead(),
        lock: word.is_locked(),
    }
}

/// The payload of a live word: where its contents begin, in units of 8 bytes.
fn contents(phys: u64, huge: bool) -> u64 {
    phys / 16 * 2 + u64::from(!huge)
}

/// Physical addresses of slots.
fn phys() -> impl Strategy<Value = u64> {
    let granules = 1u64 << (PHYS_BITS - ADDR_ALIGN.trailing_zeros());
    prop_oneof![0..granules, Just(0), Just(granules - 1)].prop_map(|granule| granule * ADDR_ALIGN)
}

/// Class numbers.
fn class() -> impl Strategy<Value = u16> {
    0..u16::try_from(MAX_CLASSES).unwrap()
}

#[test]
fn widths_add_up() {
    assert_eq!(PAYLOAD_BITS, 52);
    assert_eq!(PHYS_BITS, 55);
    assert_eq!(MAX_CLASSES, 512);
    // Physical addresses of arm64 and x86-64 have at most 52 bits.
    const { assert!(PHYS_BITS >= 52) };
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_word_reads_as_drawn(raw: u64) {
        let word = Word::from_raw(raw);
        prop_assert_eq!(word.to_raw(), raw);
        prop_assert_eq!(told(word), drawn(word));
        let payload = drawn(word).payload;
        prop_assert_eq!(word.contents(), payload * 8);
        prop_assert_eq!(word.phys(), payload / 2 * 16);
        prop_assert_eq!(word.is_huge(), payload % 2 == 0);
        prop_assert_eq!(word.is_direct(), !word.is_dead() && !word.is_split());
        let mapped = word.is_locked() && word.is_direct();
        prop_assert_eq!(word.unlocked_direct(), mapped.then_some(word.unlocked()));
    }

    #[test]
    fn a_live_word_holds_what_it_was_given(phys in phys(), class in class(), huge: bool, split: bool) {
        let word = Word::live(phys, class, huge, split);
        let fields = Fields {
            payload: contents(phys, huge),
            class: u64::from(class),
            split,
            dead: false,
            lock: false,
        };
        prop_assert_eq!(drawn(word), fields);
        prop_assert_eq!(word.phys(), phys);
        prop_assert_eq!(word.contents(), phys + if huge { 0 } else { 8 });
        prop_assert_eq!(word.is_huge(), huge);
    }

    /// By what is drawn, and for random words by the class that they say.
    #[test]
    fn idle_is_neither_dead_nor_locked_and_of_that_class(raw: u64, class in class(), same: bool) {
        let word = Word::from_raw(raw);
        let fields = drawn(word);
        let class = if same { u16::try_from(fields.class).unwrap() } else { class };
        let idle = !fields.dead && !fields.lock && fields.class == u64::from(class);
        let in_class = |word: Word| word.is_idle_in(class.into());
        prop_assert_eq!(in_class(word), idle);
        prop_assert!(!in_class(word.locked()) && !in_class(word.with_dead()));
    }

    #[test]
    fn a_dead_word_holds_its_payload(payload in 0..1u64 << PAYLOAD_BITS) {
        let word = Word::dead(payload);
        let fields = Fields {
            payload,
            class: 0,
            split: false,
            dead: true,
            lock: false,
        };
        prop_assert_eq!(drawn(word), fields);
    }

    /// Too wide an argument loses its own bits and touches no other field.
    #[test]
    fn fields_stay_within_their_width(phys: u64, class: u16, huge: bool, split: bool, payload: u64) {
        let fields = drawn(Word::live(phys, class, huge, split));
        prop_assert_eq!(fields.class, u64::from(class) % 512);
        prop_assert_eq!(fields.payload, contents(phys, huge) % (1 << 52));
        prop_assert_eq!((fields.split, fields.dead, fields.lock), (split, false, false));
        let fields = drawn(Word::dead(payload));
        prop_assert_eq!(fields.payload, payload % (1 << 52));
        prop_assert_eq!((fields.class, fields.dead, fields.lock), (0, true, false));
    }

    #[test]
    fn each_change_changes_one_field(raw: u64) {
        let word = Word::from_raw(raw);
        let before = drawn(word);
        prop_assert_eq!(drawn(word.locked()), Fields { lock: true, ..before });
        prop_assert_eq!(drawn(word.unlocked()), Fields { lock: false, ..before });
        prop_assert_eq!(drawn(word.with_dead()), Fields { dead: true, ..before });
        prop_assert_eq!(drawn(word.revived()), Fields { dead: false, ..before });
        for split in [false, true] {
            prop_assert_eq!(drawn(word.with_split(split)), Fields { split, ..before });
        }
    }

    /// Forwards and backwards, and around the end.
    #[test]
    fn moving_by_some_bytes_is_moving_to_there(raw: u64, by: u64) {
        let word = Word::from_raw(raw);
        let by = by & !15;
        let payload = (word.contents().wrapping_add(by) / 8) % (1 << 52);
        let there = Fields { payload, ..drawn(word) };
        prop_assert_eq!(drawn(word.moved_by(by)), there);
        prop_assert_eq!(word.moved_by(by).moved_by(by.wrapping_neg()), word);
    }

    #[test]
    fn moving_keeps_all_but_the_location(raw: u64, phys in phys(), wide: u64, split: bool) {
        let word = Word::from_raw(raw);
        let before = drawn(word);
        let payload = contents(phys, word.is_huge());
        prop_assert_eq!(drawn(word.moved(phys, split)), Fields { payload, split, ..before });
        let payload = contents(wide, word.is_huge()) % (1 << 52);
        prop_assert_eq!(drawn(word.moved(wide, split)), Fields { payload, split, ..before });
    }
}
