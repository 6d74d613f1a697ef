// SPDX-License-Identifier: GPL-2.0

//! The handle word: where an object is, and who may touch it, in 64 bits.
//!
//! A handle is the address of such a word. One load and one compare-exchange on it give the
//! object's physical address, its size class and exclusive use. Rules: `Documentation/locking.rst`.
//!
//! ```text
//! 63                                    13 12        4   3     2     1     0
//! +---------------------------------------+-----------+-----+-----+-----+-----+
//! | physical address >> 4   (51 bits)     | class (9) |HUGE |SPLIT|DEAD |LOCK |
//! +---------------------------------------+-----------+-----+-----+-----+-----+
//! ```
//!
//! A word that belongs to no object is DEAD and carries a 51-bit payload (a free-list link) in
//! place of the address.

use super::conv::{low_u32, u16_to_u32, u32_to_u64};

/// Granule of object addresses in bytes: every class size is a multiple of it.
pub const ADDR_ALIGN: u64 = 1 << ADDR_SHIFT;
/// [`ADDR_ALIGN`] as a shift.
pub const ADDR_SHIFT: u32 = 4;
/// Where the class number lies.
const CLASS_SHIFT: u32 = 4;
/// Bits of class number.
const CLASS_BITS: u32 = 9;
/// Where the address or the payload lies.
const PAYLOAD_SHIFT: u32 = CLASS_SHIFT + CLASS_BITS;
/// Bits of payload: the physical address divided by [`ADDR_ALIGN`].
pub const PAYLOAD_BITS: u32 = u64::BITS - PAYLOAD_SHIFT;
/// Bits of physical address that a word can hold (55).
pub const PHYS_BITS: u32 = PAYLOAD_BITS + ADDR_SHIFT;
/// One past the largest class number.
pub const MAX_CLASSES: usize = 1 << CLASS_BITS;

/// See [`Word::is_locked`].
const LOCK: u64 = 1 << 0;
/// See [`Word::is_dead`].
const DEAD: u64 = 1 << 1;
/// See [`Word::is_split`].
const SPLIT: u64 = 1 << 2;
/// See [`Word::is_huge`].
const HUGE: u64 = 1 << 3;
/// A class number's bits, shifted down.
const CLASS_MASK: u64 = (1 << CLASS_BITS) - 1;

/// A copy of a handle word.
///
/// # Invariants
///
/// The fields never overlap: each setter masks its argument to the field's width.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Word(u64);

impl Word {
    /// The word of a live, unlocked object.
    ///
    /// `phys` is the object's physical address in bytes, a multiple of [`ADDR_ALIGN`] below
    /// `1 << PHYS_BITS`; lower bits are dropped.
    #[inline(always)]
    pub const fn live(phys: u64, class: u16, huge: bool, split: bool) -> Self {
        let class = u32_to_u64(u16_to_u32(class)) & CLASS_MASK;
        Self(
            ((phys >> ADDR_SHIFT) << PAYLOAD_SHIFT)
                | (class << CLASS_SHIFT)
                | if huge { HUGE } else { 0 }
                | if split { SPLIT } else { 0 },
        )
    }

    /// The word of no object, with a payload of [`PAYLOAD_BITS`] bits.
    #[inline(always)]
    pub const fn dead(payload: u64) -> Self {
        Self((payload << PAYLOAD_SHIFT) | DEAD)
    }

    /// The word as it lies in memory.
    #[inline(always)]
    pub const fn to_raw(self) -> u64 {
        self.0
    }

    /// A word as it lay in memory.
    #[inline(always)]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// Physical address of the object in bytes. Meaningless when dead.
    #[inline(always)]
    pub const fn phys(self) -> u64 {
        (self.0 >> PAYLOAD_SHIFT) << ADDR_SHIFT
    }

    /// The payload of a dead word.
    #[inline(always)]
    pub const fn payload(self) -> u64 {
        self.0 >> PAYLOAD_SHIFT
    }

    /// Class number. Changes only under the locks of both classes, and the word's LOCK.
    #[inline(always)]
    pub const fn class(self) -> u32 {
        low_u32((self.0 >> CLASS_SHIFT) & CLASS_MASK)
    }

    /// The object fills a page and has no header. Never changes while the object lives.
    #[inline(always)]
    pub const fn is_huge(self) -> bool {
        self.0 & HUGE != 0
    }

    /// The object lies in two pages that cannot be addressed as one range.
    #[inline(always)]
    pub const fn is_split(self) -> bool {
        self.0 & SPLIT != 0
    }

    /// No object is behind this word, or its free is deferred.
    #[inline(always)]
    pub const fn is_dead(self) -> bool {
        self.0 & DEAD != 0
    }

    /// Somebody has exclusive use of the object.
    #[inline(always)]
    pub const fn is_locked(self) -> bool {
        self.0 & LOCK != 0
    }

    /// Neither dead nor locked, and of the class of `blank`, which is neither: an object of that class
    /// that nobody uses.
    #[inline(always)]
    pub const fn is_idle_as(self, blank: Self) -> bool {
        (self.0 ^ blank.0) & ((CLASS_MASK << CLASS_SHIFT) | DEAD | LOCK) == 0
    }

    /// Neither dead nor split: the object can be addressed where it lies.
    #[inline(always)]
    pub const fn is_direct(self) -> bool {
        self.0 & (DEAD | SPLIT) == 0
    }

    /// The same word, locked.
    #[inline(always)]
    pub const fn locked(self) -> Self {
        Self(self.0 | LOCK)
    }

    /// The same word, unlocked.
    #[inline(always)]
    pub const fn unlocked(self) -> Self {
        Self(self.0 & !LOCK)
    }

    /// The same word, dead, with its location intact (a deferred free).
    #[inline(always)]
    pub const fn with_dead(self) -> Self {
        Self(self.0 | DEAD)
    }

    /// The same object `bytes` further, modulo `1 << PHYS_BITS`; all else stays.
    #[inline(always)]
    pub const fn moved_by(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add((bytes >> ADDR_SHIFT) << PAYLOAD_SHIFT))
    }

    /// The same object, split or not; all else stays.
    #[inline(always)]
    pub const fn with_split(self, split: bool) -> Self {
        Self((self.0 & !SPLIT) | if split { SPLIT } else { 0 })
    }

    /// The same object at another place: class, HUGE, DEAD and LOCK stay.
    #[inline(always)]
    pub const fn moved(self, phys: u64, split: bool) -> Self {
        let keep = (CLASS_MASK << CLASS_SHIFT) | HUGE | DEAD | LOCK;
        Self(
            (self.0 & keep)
                | ((phys >> ADDR_SHIFT) << PAYLOAD_SHIFT)
                | if split { SPLIT } else { 0 },
        )
    }
}
