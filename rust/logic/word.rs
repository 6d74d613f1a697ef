// SPDX-License-Identifier: GPL-2.0

//! The handle word: where an object is, and who may touch it, in 64 bits.
//!
//! A handle is the address of such a word. One load and one compare-exchange on it give the
//! object's physical address, its size class and exclusive use. Rules: `Documentation/locking.rst`.
//!
//! ```text
//! 63                                          12 11        3   2     1     0
//! +---------------------------------------------+-----------+-----+-----+-----+
//! | physical address of contents >> 3 (52 bits) | class (9) |SPLIT|DEAD |LOCK |
//! +---------------------------------------------+-----------+-----+-----+-----+
//! ```
//!
//! Slots begin at multiples of 16. The contents of an object begin 8 bytes later, after its header,
//! but those of a huge one, which has none, where its slot does: bit 12 tells them apart.
//!
//! A word that belongs to no object is DEAD and carries a 52-bit payload (a free-list link) in
//! place of the address.

use super::conv::{low_u32, u16_to_u32, u32_to_u64};
use super::header::HEADER_BYTES;

/// Granule of slots' addresses in bytes: every class size is a multiple of it. For tests.
#[allow(dead_code)] // The module has no use for it.
pub const ADDR_ALIGN: u64 = 1 << ADDR_SHIFT;
/// [`ADDR_ALIGN`] as a shift.
pub const ADDR_SHIFT: u32 = 4;
/// Where the class number lies.
const CLASS_SHIFT: u32 = 3;
/// Bits of class number.
const CLASS_BITS: u32 = 9;
/// Where the address or the payload lies.
const PAYLOAD_SHIFT: u32 = CLASS_SHIFT + CLASS_BITS;
/// Bits of payload: the physical address of an object's contents divided by the size of a header.
pub const PAYLOAD_BITS: u32 = u64::BITS - PAYLOAD_SHIFT;
/// The size of a header, which is the granule of contents' addresses, as a shift.
const CONTENTS_SHIFT: u32 = HEADER_BYTES.ilog2();
/// Bits of physical address that a word can hold (55).
pub const PHYS_BITS: u32 = PAYLOAD_BITS + CONTENTS_SHIFT;
/// One past the largest class number.
pub const MAX_CLASSES: usize = 1 << CLASS_BITS;

/// See [`Word::is_locked`].
const LOCK: u64 = 1 << 0;
/// See [`Word::is_dead`].
const DEAD: u64 = 1 << 1;
/// See [`Word::is_split`].
const SPLIT: u64 = 1 << 2;
/// Clear in the word of an object that is [huge](Word::is_huge): the others' contents begin after a
/// header. A bit of the address.
const HEADER: u64 = 1 << PAYLOAD_SHIFT;
const _: () = assert!(CONTENTS_SHIFT + 1 == ADDR_SHIFT);
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
    /// `phys` is its slot's physical address in bytes, a multiple of [`ADDR_ALIGN`] below
    /// `1 << PHYS_BITS`; other bits are dropped.
    #[inline(always)]
    pub const fn live(phys: u64, class: u16, huge: bool, split: bool) -> Self {
        let class = u32_to_u64(u16_to_u32(class)) & CLASS_MASK;
        Self(
            Self::at(phys)
                | (class << CLASS_SHIFT)
                | if huge { 0 } else { HEADER }
                | if split { SPLIT } else { 0 },
        )
    }

    /// Where a word says that its slot begins at the physical address `phys`.
    #[inline(always)]
    const fn at(phys: u64) -> u64 {
        (phys >> ADDR_SHIFT) << (PAYLOAD_SHIFT + 1)
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

    /// Physical address of the object's slot in bytes. Meaningless when dead.
    #[inline(always)]
    pub const fn phys(self) -> u64 {
        (self.0 >> (PAYLOAD_SHIFT + 1)) << ADDR_SHIFT
    }

    /// Physical address of the object's contents in bytes. Meaningless when dead.
    #[inline(always)]
    pub const fn contents(self) -> u64 {
        (self.0 >> PAYLOAD_SHIFT) << CONTENTS_SHIFT
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

    /// The object fills a page and has no header. Never changes while the object lives; meaningless
    /// when dead.
    #[inline(always)]
    pub const fn is_huge(self) -> bool {
        self.0 & HEADER == 0
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

    /// Neither dead nor locked, and of class number `class`: an object of that class that nobody
    /// uses.
    #[inline(always)]
    pub const fn is_idle_in(self, class: u32) -> bool {
        let idle = u32_to_u64(class) << CLASS_SHIFT;
        (self.0 ^ idle) & ((CLASS_MASK << CLASS_SHIFT) | DEAD | LOCK) == 0
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

    /// The same word, unlocked, if it is locked and neither dead nor split.
    #[inline(always)]
    pub const fn unlocked_direct(self) -> Option<Self> {
        let unlocked = self.0 ^ LOCK;
        if unlocked & (LOCK | DEAD | SPLIT) == 0 {
            Some(Self(unlocked))
        } else {
            None
        }
    }

    /// The same word, dead, with its location intact (a spare, or a deferred free).
    #[inline(always)]
    pub const fn with_dead(self) -> Self {
        Self(self.0 | DEAD)
    }

    /// The same word, alive again.
    #[inline(always)]
    pub const fn revived(self) -> Self {
        Self(self.0 & !DEAD)
    }

    /// The same object `bytes` further, modulo `1 << PHYS_BITS`; all else stays.
    #[inline(always)]
    pub const fn moved_by(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add(Self::at(bytes)))
    }

    /// The same object, split or not; all else stays.
    #[inline(always)]
    pub const fn with_split(self, split: bool) -> Self {
        Self((self.0 & !SPLIT) | if split { SPLIT } else { 0 })
    }

    /// The same object in a slot at another place: all but that and SPLIT stays.
    #[inline(always)]
    pub const fn moved(self, phys: u64, split: bool) -> Self {
        let keep = HEADER | (CLASS_MASK << CLASS_SHIFT) | DEAD | LOCK;
        Self((self.0 & keep) | Self::at(phys) | if split { SPLIT } else { 0 })
    }
}
