// SPDX-License-Identifier: GPL-2.0

//! Fullness groups against the text of the kernel's documentation, sets of them against a real set.

use crate::{config, shapes};
use proptest::prelude::*;
use std::collections::BTreeSet;
use zsmalloc_logic_tests::logic::{
    fullness::{Group, GroupSet, EMPTY, FULL, NR_GROUPS},
    size_class::Geometry,
};

/// A class of so many slots.
fn class(objs: u16) -> Geometry {
    Geometry::of_shape(32, objs, 1, 0)
}

/// The group as a number: how many tenths are begun; 0 for none, 11 for all.
fn tenths_begun(inuse: u32, objs: u32) -> usize {
    if inuse == 0 {
        0
    } else if inuse >= objs {
        11
    } else {
        (1..=10).find(|tenths| inuse * 10 < *tenths * objs).unwrap() as usize
    }
}

#[test]
fn every_count_of_every_class_is_in_its_group() {
    let sizes: BTreeSet<u16> = shapes().iter().map(|(_, class)| class.objs).collect();
    for objs in sizes {
        for inuse in 0..=objs {
            let group = Group::of(inuse, &class(objs));
            let theirs = tenths_begun(u32::from(inuse), u32::from(objs));
            assert_eq!(group.index(), theirs, "{inuse} of {objs}");
            assert_eq!(group == EMPTY, inuse == 0);
            assert_eq!(group == FULL, inuse == objs);
            assert_eq!(group.is_partial(), inuse != 0 && inuse != objs);
            if group.is_partial() {
                assert_eq!(group, Group::of_partial(inuse, &class(objs)));
            }
        }
    }
}

#[test]
fn a_fuller_zspage_is_never_in_an_emptier_group() {
    for objs in 1..=300 {
        for inuse in 0..objs {
            let [less, more] = [inuse, inuse + 1].map(|inuse| Group::of(inuse, &class(objs)));
            assert!(less <= more);
        }
    }
}

#[test]
fn there_are_twelve_groups_in_order() {
    let all: Vec<Group> = Group::all().collect();
    assert_eq!(all.len(), NR_GROUPS);
    assert_eq!(NR_GROUPS, 12);
    assert!(all
        .iter()
        .enumerate()
        .all(|(index, group)| group.index() == index));
    assert!(all.is_sorted());
    assert_eq!((all.first(), all.last()), (Some(&EMPTY), Some(&FULL)));
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn counts_out_of_range_stay_in_range(inuse: u16, objs: u16) {
        let class = class(objs);
        let groups = [Group::of(inuse, &class), Group::of_partial(inuse, &class)];
        for group in groups {
            prop_assert!(group.index() < NR_GROUPS);
        }
    }

    /// Of all groups but the full one.
    #[test]
    fn a_group_set_is_a_set(steps in prop::collection::vec((any::<bool>(), 0..FULL.index()), 0..60)) {
        let groups: Vec<Group> = Group::all().collect();
        let (mut ours, mut theirs) = (GroupSet::new(), BTreeSet::new());
        for (add, index) in steps {
            if add {
                ours = ours.with(groups[index]);
                theirs.insert(index);
            } else {
                ours = ours.without(groups[index]);
                theirs.remove(&index);
            }
            let partial = || theirs.iter().copied().filter(|index| *index != EMPTY.index());
            prop_assert_eq!(ours.fullest().map(Group::index), theirs.last().copied());
            prop_assert_eq!(ours.partial().next_back().map(Group::index), partial().max());
            prop_assert_eq!(ours.partial().next().map(Group::index), partial().min());
            for group in &groups {
                let fuller = theirs.last().is_some_and(|last| *last > group.index());
                prop_assert_eq!(ours.has_fuller(*group), fuller);
            }
        }
        let again = theirs.iter().fold(GroupSet::default(), |set, index| set.with(groups[*index]));
        prop_assert_eq!(ours, again);
    }
}
