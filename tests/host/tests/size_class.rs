// SPDX-License-Identifier: GPL-2.0

//! Size classes against the oracle and against the numbers printed in the kernel's documentation.

#![cfg(not(loom))]

use zsmalloc_logic_tests::{
    class_table,
    logic::size_class::{ClassTable, Geometry, MAX_CHAIN, MAX_INDEXES, MIN_CHAIN, MIN_SIZE},
    logic::word::{ADDR_ALIGN, MAX_CLASSES},
    oracle::{self, Class, Rule},
    tables,
};

/// Our class in the oracle's terms.
fn as_oracle(class: &Geometry) -> Class {
    Class {
        index: usize::from(class.index),
        size: u128::from(class.size),
        pages: u128::from(class.pages),
        objs: u128::from(class.objs),
    }
}

/// The table for 4K pages.
fn table_4k(chain: u32) -> ClassTable {
    class_table(12, chain).expect("4K pages and this chain are supported")
}

#[test]
fn every_size_gets_the_class_of_the_oracle() {
    for (shift, chain, table) in tables() {
        let page_size = 1u128 << shift;
        let unmerged = oracle::unmerged(page_size, u128::from(chain), Rule::LeastWaste);
        let merged = oracle::merged(&unmerged);
        let largest = table.classes()[0].index;
        assert_eq!(usize::from(largest) + 1, unmerged.len());
        for size in 0..=(2usize << shift) {
            let ours = table.class(table.lookup(shift, size)).map(as_oracle);
            let theirs = oracle::class_for(&unmerged, &merged, size as u128);
            assert_eq!(
                ours.as_ref(),
                theirs,
                "shift {shift} chain {chain} size {size}"
            );
        }
        for size in [
            usize::MAX,
            usize::MAX - 7,
            usize::MAX - 8,
            1 << 32,
            u32::MAX as usize,
        ] {
            let ours = table.class(table.lookup(shift, size)).map(as_oracle);
            assert_eq!(
                ours.as_ref(),
                merged.last(),
                "shift {shift} chain {chain} size {size}"
            );
        }
    }
}

#[test]
fn huge_class_size_is_where_objects_stop_sharing_pages() {
    for (shift, chain, table) in tables() {
        let page_size = 1u128 << shift;
        let unmerged = oracle::unmerged(page_size, u128::from(chain), Rule::LeastWaste);
        let merged = oracle::merged(&unmerged);
        let theirs = oracle::huge_class_size(&unmerged, &merged, page_size);
        assert_eq!(
            table.huge_class_size() as u128,
            theirs,
            "shift {shift} chain {chain}"
        );
        // What zram relies on: at this size an object is huge, one byte below it is not.
        let huge = |size| {
            table
                .class(table.lookup(shift, size))
                .is_some_and(Geometry::is_huge)
        };
        assert!(huge(table.huge_class_size()));
        assert!(!huge(table.huge_class_size() - 1));
    }
}

#[test]
fn classes_are_the_merged_ones_largest_first() {
    for (shift, chain, table) in tables() {
        let mut theirs = oracle::merged(&oracle::unmerged(
            1 << shift,
            u128::from(chain),
            Rule::LeastWaste,
        ));
        theirs.dedup();
        theirs.reverse();
        let ours: Vec<Class> = table.classes().iter().map(as_oracle).collect();
        assert_eq!(ours, theirs, "shift {shift} chain {chain}");
        assert_eq!(usize::from(table.nr_classes()), theirs.len());
    }
}

/// Clusters and largest size that shares pages, for 4K pages.
fn summary(chain: u32, rule: Rule) -> (usize, u128) {
    let mut classes = oracle::merged(&oracle::unmerged(4096, u128::from(chain), rule));
    classes.dedup();
    let mut shared = classes.iter().filter(|class| class.objs > 1);
    (
        classes.len(),
        shared.next_back().map_or(0, |class| class.size),
    )
}

/// The tables of Documentation/mm/zsmalloc.rst are of the rule C had when they were written. That
/// the oracle has every number of them by that rule shows that the rest of it is right.
#[test]
fn the_oracle_has_the_numbers_of_the_kernel_documentation() {
    // Chain, clusters, huge size class watermark.
    let published = [
        (4, 69, 3264),
        (5, 86, 3408),
        (6, 93, 3504),
        (7, 112, 3584),
        (8, 123, 3632),
        (9, 140, 3680),
        (10, 143, 3712),
        (11, 159, 3744),
        (12, 164, 3776),
        (13, 180, 3792),
        (14, 183, 3808),
        (15, 188, 3840),
        (16, 191, 3840),
    ];
    for (chain, clusters, watermark) in published {
        assert_eq!(
            summary(chain, Rule::MostPercent),
            (clusters, watermark),
            "chain {chain}"
        );
        // The watermark is the same by both rules.
        assert_eq!(
            summary(chain, Rule::LeastWaste).1,
            watermark,
            "chain {chain}"
        );
        let ours = table_4k(chain).huge_class_size() as u128;
        assert_eq!(ours, watermark - 8 + 1, "chain {chain}");
    }
}

/// The largest classes as printed for chains of 16, by the rule of that time.
#[test]
fn the_oracle_has_the_rows_of_the_kernel_documentation() {
    // Class, size, pages per zspage.
    let printed = [
        (202, 3264, 4),
        (206, 3328, 13),
        (207, 3344, 9),
        (208, 3360, 14),
        (211, 3408, 5),
        (212, 3424, 16),
        (214, 3456, 11),
        (217, 3504, 6),
        (219, 3536, 13),
        (222, 3584, 7),
        (223, 3600, 15),
        (225, 3632, 8),
        (228, 3680, 9),
        (230, 3712, 10),
        (232, 3744, 11),
        (234, 3776, 12),
        (235, 3792, 13),
        (236, 3808, 14),
        (238, 3840, 15),
        (254, 4096, 1),
    ];
    let mut classes = oracle::merged(&oracle::unmerged(4096, 16, Rule::MostPercent));
    classes.dedup();
    let rows = classes
        .iter()
        .map(|class| (class.index, class.size, class.pages));
    assert_eq!(
        rows.filter(|row| row.1 >= 3264).collect::<Vec<_>>(),
        printed
    );
}

/// What the documentation tells in words, and the short printed tables: the same by both rules.
#[test]
fn rows_of_the_kernel_documentation() {
    let rows = |chain| {
        let table = table_4k(chain);
        let rows = table.classes().iter().map(|c| (c.index, c.size, c.pages));
        rows.rev().collect::<Vec<_>>()
    };
    let largest = |chain| {
        rows(chain)
            .into_iter()
            .filter(|row| row.1 >= 3264)
            .collect::<Vec<_>>()
    };
    assert_eq!(largest(4), [(202, 3264, 4), (254, 4096, 1)]);
    let chain_8 = [
        (202, 3264, 4),
        (211, 3408, 5),
        (217, 3504, 6),
        (222, 3584, 7),
        (225, 3632, 8),
        (254, 4096, 1),
    ];
    assert_eq!(largest(8), chain_8);
    // "Size classes #95-99 are merged with size class #100", and #94 is not.
    let near = rows(4)
        .into_iter()
        .filter(|row| (94..=100).contains(&row.0));
    assert_eq!(near.collect::<Vec<_>>(), [(94, 1536, 3), (100, 1632, 2)]);
    // "An object of size, say, 1568 bytes" (with its handle) is of class 100, not 96.
    let table = table_4k(4);
    assert_eq!(
        table.class(table.lookup(12, 1568 - 8)).map(|c| c.index),
        Some(100)
    );
    // With a longer chain: five pages hold 13 of them.
    let table = table_4k(8);
    let class = table
        .class(table.lookup(12, 1568 - 8))
        .map(|c| (c.size, c.pages, c.objs));
    assert_eq!(class, Some((1568, 5, 13)));
}

#[test]
fn the_smallest_slot_is_what_c_has() {
    // MAX_POSSIBLE_PHYSMEM_BITS: x86-64 with five levels 52, arm64 48 or 52.
    for (shift, chain, _) in tables() {
        for bits in [46, 48, 52] {
            let c = oracle::smallest_slot_of_c(1 << shift, u128::from(chain), bits);
            assert_eq!(
                c,
                u128::from(MIN_SIZE),
                "shift {shift} chain {chain} {bits} bits"
            );
        }
    }
}

#[test]
fn classes_satisfy_what_the_allocator_relies_on() {
    for (shift, chain, table) in tables() {
        assert!(usize::from(table.classes()[0].index) < MAX_INDEXES);
        assert!(usize::from(table.nr_classes()) <= MAX_CLASSES);
        for class in table.classes() {
            let what = format!("shift {shift} chain {chain} class {class:?}");
            assert!(class.size >= MIN_SIZE && class.size <= 1 << shift, "{what}");
            assert_eq!(u64::from(class.size) % ADDR_ALIGN, 0, "{what}");
            assert!(
                class.pages >= 1 && u32::from(class.pages) <= chain,
                "{what}"
            );
            assert!(class.objs >= 1 && class.objs < 1 << 15, "{what}");
            assert!(
                class.nr_pages() << shift >= usize::from(class.objs) * class.size as usize,
                "{what}"
            );
            assert_eq!(class.is_huge(), class.size == 1 << shift, "{what}");
        }
        // A class number leads to its class, and sizes grow downwards.
        let mut last = u32::MAX;
        for number in 0..table.nr_classes() {
            let class = table
                .class(number)
                .expect("numbers below nr_classes have a class");
            assert!(class.size < last);
            last = class.size;
            if !class.is_huge() {
                assert_eq!(table.lookup(shift, class.size as usize - 8), number);
            }
        }
        assert_eq!(table.class(table.nr_classes()), None);
    }
}

/// For each number of pages, the slots that end on them: by laying one after the other.
fn slots_by_pages(shift: u32, class: &Geometry) -> Vec<u16> {
    let mut slots = vec![0; class.nr_pages() + 1];
    for number in 1..=class.objs {
        let end = u64::from(number) * u64::from(class.size);
        let fitting = (0..slots.len()).filter(|pages| (*pages as u64) << shift >= end);
        fitting.for_each(|pages| slots[pages] = number);
    }
    slots
}

#[test]
fn slots_on_pages_and_pages_for_slots_are_what_counting_says() {
    for (shift, chain, table) in tables() {
        for class in table.classes() {
            let what = format!("shift {shift} chain {chain} class {class:?}");
            let by_pages = slots_by_pages(shift, class);
            for (pages, slots) in by_pages.iter().enumerate() {
                assert_eq!(class.slots_on(shift, pages), *slots, "{pages} of {what}");
            }
            // More pages than it has do not count.
            for pages in [class.nr_pages() + 1, 1 << 20, usize::MAX] {
                assert_eq!(class.slots_on(shift, pages), class.objs, "{what}");
            }
            // Each page more has room for a slot more.
            assert!(by_pages.is_sorted_by(|less, more| less < more), "{what}");
            for slots in 0..=class.objs {
                let least = by_pages.iter().position(|there| *there >= slots);
                let pages = class.pages_for(shift, slots);
                assert_eq!(Some(pages), least, "{slots} slots of {what}");
            }
        }
    }
}

#[test]
fn slots_start_one_after_the_other() {
    for (_, _, table) in tables() {
        for class in table.classes() {
            let starts = (0..class.objs).map(|number| class.start_of(number));
            let steps = (0..class.objs).map(|number| number * class.step);
            assert!(starts.eq(steps));
            assert_eq!(class.start_of(class.objs - 1), class.last);
            assert_eq!(class.start_of(class.objs), class.end());
        }
    }
}

#[test]
fn unsupported_configurations_are_refused() {
    for shift in 0..=64 {
        for chain in 0..=70 {
            let supported = (12..=16).contains(&shift) && (MIN_CHAIN..=MAX_CHAIN).contains(&chain);
            assert_eq!(
                class_table(shift, chain).is_some(),
                supported,
                "{shift} {chain}"
            );
        }
    }
    assert!(class_table(u32::MAX, 8).is_none());
    assert!(class_table(12, u32::MAX).is_none());
}
