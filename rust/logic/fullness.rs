// SPDX-License-Identifier: GPL-2.0

//! Fullness groups: how full a zspage is, in twelve steps.
//!
//! Group 0 is empty, 11 is full, 1 to 10 are the tenths between. The allocator fills the fullest
//! zspage that has room, compaction empties the emptiest. Same steps as C zsmalloc, whose debugfs
//! columns users know.

use super::conv::u32_to_usize;
use super::size_class::Geometry;

/// Number of fullness groups.
pub const NR_GROUPS: usize = 12;
/// The group of zspages without objects.
pub const EMPTY: Group = Group(0);
/// The group of zspages without room.
pub const FULL: Group = Group(11);

/// A fullness group.
///
/// # Invariants
///
/// The value is below [`NR_GROUPS`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Group(u32);

impl Group {
    /// The group of a zspage of `class` with `taken` slots that are not free.
    #[inline(always)]
    pub const fn of(taken: u16, class: &Geometry) -> Self {
        if taken == 0 {
            EMPTY
        } else if taken >= class.objs {
            FULL
        } else {
            Self::of_partial(taken, class)
        }
    }

    /// The group of a zspage of `class` with objects and room, `taken` slots of which are not free.
    #[inline(always)]
    pub const fn of_partial(taken: u16, class: &Geometry) -> Self {
        // INVARIANT: 0 < taken < objs, so there are 0 to 9 whole tenths; never more in any case.
        let tenths = class.tenths_of(taken);
        Self(if tenths > 9 {
            10
        } else {
            tenths.wrapping_add(1)
        })
    }

    /// The group as an array index, below [`NR_GROUPS`].
    #[inline(always)]
    pub const fn index(self) -> usize {
        u32_to_usize(self.0)
    }

    /// All groups, emptiest first.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        (EMPTY.0..=FULL.0).map(Self)
    }

    /// Zspages of this group have at least one object and room for one more. For tests.
    #[allow(dead_code)] // The module has no use for it.
    pub const fn is_partial(self) -> bool {
        self.0 != EMPTY.0 && self.0 != FULL.0
    }
}

/// The set of groups whose lists are not empty: saves walking the empty ones. Full zspages are on
/// no list, so [`FULL`] is never in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GroupSet(u32);

impl GroupSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self(0)
    }

    /// The set with `group`.
    #[inline(always)]
    pub const fn with(self, group: Group) -> Self {
        Self(self.0 | Self::bit(group))
    }

    /// The set without `group`.
    #[inline(always)]
    pub const fn without(self, group: Group) -> Self {
        Self(self.0 & !Self::bit(group))
    }

    /// The fullest group in the set: where objects are allocated.
    #[inline(always)]
    pub const fn fullest(self) -> Option<Group> {
        Self::highest(self.0)
    }

    /// There is a group in the set that is fuller than `group`.
    #[inline(always)]
    pub const fn has_fuller(self, group: Group) -> bool {
        let up_to = Self::bit(group).wrapping_shl(1).wrapping_sub(1);
        self.0 > up_to
    }

    /// The groups in the set with both objects and room, emptiest first: compaction moves from the
    /// first and to the last.
    #[inline(always)]
    pub const fn partial(self) -> Groups {
        Groups(self.0 & !Self::bit(EMPTY))
    }

    /// The set of one group.
    #[inline(always)]
    const fn bit(group: Group) -> u32 {
        // `wrapping_shl` because the shift is below 12 by the invariant of `Group`.
        1u32.wrapping_shl(group.0)
    }

    /// The fullest group of a set of bits.
    #[inline(always)]
    const fn highest(set: u32) -> Option<Group> {
        match set.checked_ilog2() {
            // INVARIANT: only bits of groups are ever set.
            Some(bit) => Some(Group(bit)),
            None => None,
        }
    }

    /// The emptiest group of a set of bits.
    #[inline(always)]
    const fn lowest(set: u32) -> Option<Group> {
        if set == 0 {
            None
        } else {
            // INVARIANT: only bits of groups are ever set.
            Some(Group(set.trailing_zeros()))
        }
    }
}

/// Some groups, emptiest first: bits as in [`GroupSet`].
#[derive(Clone)]
pub struct Groups(u32);

impl Groups {
    /// Leaves a group out.
    #[inline(always)]
    fn take(&mut self, group: Option<Group>) -> Option<Group> {
        self.0 &= !GroupSet::bit(group?);
        group
    }
}

impl Iterator for Groups {
    type Item = Group;

    #[inline(always)]
    fn next(&mut self) -> Option<Group> {
        let emptiest = GroupSet::lowest(self.0);
        self.take(emptiest)
    }
}

impl DoubleEndedIterator for Groups {
    #[inline(always)]
    fn next_back(&mut self) -> Option<Group> {
        let fullest = GroupSet::highest(self.0);
        self.take(fullest)
    }
}
