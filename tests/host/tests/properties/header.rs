// SPDX-License-Identifier: GPL-2.0

//! Headers: round trips, and that no two states look alike.

use crate::config;
use proptest::prelude::*;
use zsmalloc_logic_tests::logic::header::{Header, END, HEADER_BYTES, HEADER_SIZE};

/// Any header that the allocator writes.
fn header() -> impl Strategy<Value = Header> {
    let handle = || any::<usize>().prop_map(|handle| handle & !7);
    prop_oneof![
        any::<u16>().prop_map(Header::Free),
        Just(Header::Free(END)),
        handle().prop_map(Header::Allocated),
        handle().prop_map(Header::Deferred),
    ]
}

/// The two lowest bits as the table in rust/logic/header.rs has them.
fn tag(header: Header) -> u64 {
    match header {
        Header::Free(_) => 0b00,
        Header::Allocated(_) => 0b01,
        Header::Deferred(_) => 0b11,
    }
}

#[test]
fn a_header_is_one_word() {
    assert_eq!(HEADER_SIZE, size_of::<u64>());
    assert_eq!(HEADER_BYTES as usize, HEADER_SIZE);
}

#[test]
fn every_link_round_trips() {
    for next in 0..=u16::MAX {
        let raw = Header::Free(next).to_raw();
        assert_eq!(Header::from_raw(raw), Some(Header::Free(next)));
        assert_eq!(Header::Free(next).handle(), None);
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn headers_round_trip(header in header()) {
        let raw = header.to_raw();
        prop_assert_eq!(raw % 4, tag(header));
        prop_assert_eq!(Header::from_raw(raw), Some(header));
    }

    #[test]
    fn different_headers_differ(one in header(), other in header()) {
        prop_assert_eq!(one.to_raw() == other.to_raw(), one == other);
    }

    #[test]
    fn the_handle_of_an_object_is_found_by_either_tag(handle: usize) {
        let handle = handle & !7;
        prop_assert_eq!(Header::Allocated(handle).handle(), Some(handle));
        prop_assert_eq!(Header::Deferred(handle).handle(), Some(handle));
        // A free that is deferred changes nothing but the tag.
        let changed = Header::Allocated(handle).to_raw() ^ Header::Deferred(handle).to_raw();
        prop_assert_eq!(changed, 0b10);
    }

    /// A handle that is not aligned cannot forge a tag.
    #[test]
    fn low_bits_of_a_handle_are_dropped(handle: usize) {
        for header in [Header::Allocated(handle), Header::Deferred(handle)] {
            prop_assert_eq!(header.to_raw() % 4, tag(header));
        }
    }

    /// Random words and those that look like links, of which most are longer than a link can be.
    #[test]
    fn what_is_never_written_is_refused(raw in prop_oneof![any::<u64>(), 0u64..1 << 20]) {
        let header = Header::from_raw(raw);
        let never_written = match raw % 4 {
            0b00 => raw / 4 > u64::from(END),
            0b10 => true,
            _ => false,
        };
        prop_assert_eq!(header.is_none(), never_written);
        if let Some(header) = header {
            prop_assert_eq!(tag(header), raw % 4);
        }
    }
}

#[test]
fn the_longest_link_is_the_end() {
    let longest = Header::Free(END).to_raw();
    assert_eq!(Header::from_raw(longest), Some(Header::Free(END)));
    assert_eq!(Header::from_raw(longest + 4), None);
}
