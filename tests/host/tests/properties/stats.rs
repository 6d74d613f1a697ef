// SPDX-License-Identifier: GPL-2.0

//! Statistics against the same sums in 128 bits.

use crate::{config, shapes};
use proptest::{prelude::*, sample::Index};
use std::sync::LazyLock;
use zsmalloc_logic_tests::logic::{size_class::Geometry, stats::ClassCount};

/// All shapes of classes.
static CLASSES: LazyLock<Vec<Geometry>> =
    LazyLock::new(|| shapes().into_iter().map(|(_, class)| class).collect());

proptest! {
    #![proptest_config(config())]

    /// Counts that belong together.
    #[test]
    fn compaction_gives_back_what_packing_leaves_over(
        which: Index,
        zspages in 0usize..1 << 32,
        part in 0u128..=1000,
    ) {
        let class = which.get(&CLASSES);
        let (objs, pages) = (u128::from(class.objs), u128::from(class.pages));
        let slots = zspages as u128 * objs;
        let inuse = slots * part / 1000;
        let count = ClassCount { zspages, inuse: usize::try_from(inuse).unwrap() };
        prop_assert_eq!(count.slots(class) as u128, slots);
        prop_assert_eq!(count.pages(class) as u128, zspages as u128 * pages);
        let packed = inuse.div_ceil(objs);
        prop_assert_eq!(count.can_compact(class) as u128, (zspages as u128 - packed) * pages);
        prop_assert_eq!(count.free_bytes(class) as u128, (slots - inuse) * u128::from(class.size));
    }

    /// Sparse: a tenth of the slots is free, and a quarter more than a zspage has.
    #[test]
    fn a_class_is_sparse_with_a_tenth_of_it_free(
        which: Index,
        zspages in 0usize..1 << 32,
        part in 800u128..=1000,
    ) {
        let class = which.get(&CLASSES);
        let objs = u128::from(class.objs);
        let slots = zspages as u128 * objs;
        let inuse = slots * part / 1000;
        let free = slots - inuse;
        let sparse = free * 10 > slots && free > objs + objs.div_ceil(4);
        let count = ClassCount { zspages, inuse: usize::try_from(inuse).unwrap() };
        // Whole tenths are rounded in favour of being sparse.
        let rounded = free * 10 > slots - slots % 10 && free > objs + objs.div_ceil(4);
        prop_assert!(count.inuse < count.sparse_below(class) || !sparse);
        prop_assert_eq!(count.inuse < count.sparse_below(class), rounded);
    }

    /// Counts read at different moments: any two numbers.
    #[test]
    fn nothing_underflows_or_overflows(which: Index, zspages: usize, inuse: usize) {
        let class = which.get(&CLASSES);
        let count = ClassCount { zspages, inuse };
        prop_assert!(count.can_compact(class) <= count.pages(class));
        if inuse >= count.slots(class) {
            prop_assert_eq!(count.can_compact(class), 0);
            prop_assert_eq!(count.free_bytes(class), 0);
        }
    }
}

#[test]
fn a_class_without_zspages_has_nothing() {
    for class in CLASSES.iter() {
        let count = ClassCount::default();
        assert_eq!((count.slots(class), count.pages(class)), (0, 0));
        assert_eq!((count.can_compact(class), count.free_bytes(class)), (0, 0));
    }
}
