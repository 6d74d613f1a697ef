// SPDX-License-Identifier: GPL-2.0

//! Size classes: which slot size a request gets, and how many pages its zspages chain.
//!
//! Requests are rounded up to a class. Classes are `PAGE_SIZE / 256` apart, from 32 bytes to
//! `PAGE_SIZE` (255 of them on 4K pages, 257 on 64K). A zspage of a class chains as many pages as
//! leave least waste at its end; neighbouring classes that come to the same number of pages and
//! objects are merged into the largest of them.
//!
//! The geometry is the published one of zsmalloc (`Documentation/mm/zsmalloc.rst` in the kernel
//! tree): users compare the two allocators class by class.

use super::conv::{
    low_u16, low_u32, low_u8, u16_to_u32, u16_to_usize, u32_to_usize, u8_to_u32, usize_to_u64,
};
use super::header::{HEADER_BYTES, HEADER_SIZE};
use super::word::ADDR_SHIFT;

/// Smallest slot in bytes.
pub const MIN_SIZE: u32 = 32;
/// Smallest value of the parameter `chain`, in pages.
pub const MIN_CHAIN: u32 = 4;
/// Largest value of the parameter `chain`, in pages.
pub const MAX_CHAIN: u32 = 16;
/// Most size classes on any supported page size.
pub const MAX_INDEXES: usize = 257;
const _: () = assert!(MAX_INDEXES <= super::word::MAX_CLASSES);

/// The shape of one size class.
///
/// Slots are named by where they start in their zspage: in granules of `1 << ADDR_SHIFT` bytes
/// from the start of its first page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Geometry {
    /// Slot size in bytes, header included.
    pub size: u32,
    /// Tenths of a zspage that an object is, times `1 << TENTHS_SHIFT`, rounded up.
    tenths: u32,
    /// Slot size in granules.
    pub step: u16,
    /// Where the last slot starts.
    pub last: u16,
    /// Slots in a zspage.
    pub objs: u16,
    /// Class index, the largest of those merged into it. What users see.
    pub index: u16,
    /// Pages in a zspage.
    pub pages: u8,
}

/// Fraction bits of [`Geometry::tenths_of`]'s factor. As many as leave room for ten in 32 bits; the
/// result is exact for fewer than `1 << (TENTHS_SHIFT / 2)` slots.
const TENTHS_SHIFT: u32 = 28;

/// Most slots of zspages that may give up their last pages.
const MOST_SHORTENED: u16 = 1024;

impl Geometry {
    /// No class.
    const EMPTY: Self = Self::of_shape(0, 0, 0, 0);

    /// The class of `objs` slots of `size` bytes in `pages` pages.
    pub const fn of_shape(size: u32, objs: u16, pages: u8, index: u16) -> Self {
        let step = low_u16(size.wrapping_shr(ADDR_SHIFT));
        let whole = 10u32.wrapping_shl(TENTHS_SHIFT);
        let tenths = if objs == 0 {
            0
        } else {
            whole.div_ceil(u16_to_u32(objs))
        };
        Self {
            size,
            tenths,
            step,
            // A zspage of 1 MiB, the largest, has 65536 granules.
            last: step.wrapping_mul(objs.saturating_sub(1)),
            objs,
            index,
            pages,
        }
    }

    /// Where the slots end.
    #[inline(always)]
    pub const fn end(&self) -> u16 {
        self.last.wrapping_add(self.step)
    }

    /// Whole tenths of a zspage's slots that `inuse` slots are. `inuse` is below `objs`.
    #[inline(always)]
    pub const fn tenths_of(&self, inuse: u16) -> u32 {
        u16_to_u32(inuse)
            .wrapping_mul(self.tenths)
            .wrapping_shr(TENTHS_SHIFT)
    }

    /// The class of slots of `size` bytes with chains of at most `max_chain` pages.
    const fn new(page_shift: u32, max_chain: u32, size: u32, index: u16) -> Self {
        let page_size = 1u32.wrapping_shl(page_shift);
        let pages = chain_size(page_size, max_chain, size);
        let objs = match pages.wrapping_mul(page_size).checked_div(size) {
            Some(objs) => objs,
            None => 0,
        };
        Self::of_shape(size, low_u16(objs), low_u8(pages), index)
    }

    /// One object fills one page, and keeps its handle in the page's descriptor.
    #[inline(always)]
    pub const fn is_huge(&self) -> bool {
        // A longer chain for one object would waste more.
        self.objs == 1
    }

    /// Merging costs nothing: same number of slots in as many pages.
    const fn same_shape(&self, other: &Self) -> bool {
        self.objs == other.objs && self.pages == other.pages
    }

    /// Zspages may give up their last pages. Not those of very many slots: all their headers are
    /// looked at for it under the class's lock.
    pub const fn can_shorten(&self) -> bool {
        self.pages > 1 && self.objs <= MOST_SHORTENED
    }

    /// Pages in a zspage, as a count.
    #[inline(always)]
    pub const fn nr_pages(&self) -> usize {
        u32_to_usize(u8_to_u32(self.pages))
    }

    /// Slots that lie wholly on the first `pages` pages of a zspage.
    pub const fn slots_on(&self, page_shift: u32, pages: usize) -> u16 {
        if pages >= self.nr_pages() {
            return self.objs;
        }
        // At most 16 pages of 64K.
        let bytes = low_u32(usize_to_u64(pages.wrapping_shl(page_shift)));
        match bytes.checked_div(self.size) {
            Some(slots) => low_u16(slots),
            None => 0,
        }
    }

    /// Pages of a zspage that its first `slots` slots lie on.
    pub const fn pages_for(&self, page_shift: u32, slots: u16) -> usize {
        let bytes = u16_to_u32(slots).wrapping_mul(self.size);
        let page = 1u32.wrapping_shl(page_shift);
        u32_to_usize(
            bytes
                .wrapping_add(page.wrapping_sub(1))
                .wrapping_shr(page_shift),
        )
    }

    /// Where slot `number` starts.
    pub const fn start_of(&self, number: u16) -> u16 {
        self.step.wrapping_mul(number)
    }
}

/// Pages to chain so that the least is wasted at the end of the chain; the shorter one of equals.
const fn chain_size(page_size: u32, max_chain: u32, size: u32) -> u32 {
    if size.is_power_of_two() {
        return 1;
    }
    let mut best = 1;
    let mut least = u32::MAX;
    let mut pages = 1u32;
    while pages <= max_chain {
        let waste = match pages.wrapping_mul(page_size).checked_rem(size) {
            Some(waste) => waste,
            None => 0,
        };
        if waste < least {
            least = waste;
            best = pages;
        }
        pages = pages.wrapping_add(1);
    }
    best
}

/// All size classes for one page size and one longest chain.
///
/// Classes are numbered densely after merging: class numbers are what handle words hold, class
/// indexes ([`Geometry::index`]) what users see.
///
/// # Invariants
///
/// `by_index` holds numbers below `nr_classes`, beyond the largest class index 0, and
/// `classes[..nr_classes]` have non-zero `size`, `objs` and `pages`.
pub struct ClassTable {
    /// Classes after merging.
    nr_classes: u16,
    /// Smallest object size in bytes that is stored one to a page.
    huge_class_size: u32,
    /// Class number of each class index, from the second entry on. The first is that of objects so
    /// small that [`Self::lookup`] rounds them down to it.
    by_index: [u16; MAX_INDEXES + 1],
    /// The classes, largest slots first.
    classes: [Geometry; MAX_INDEXES],
}

impl ClassTable {
    /// No classes. A constant because a table is too large for the stack of a kernel: it is written
    /// to where it will be, and set up there.
    pub const EMPTY: Self = Self {
        nr_classes: 0,
        huge_class_size: 0,
        by_index: [0; MAX_INDEXES + 1],
        classes: [Geometry::EMPTY; MAX_INDEXES],
    };

    /// Works out the classes of an empty table. `None` if the page size or the chain is not
    /// supported (4K to 64K pages, chains of [`MIN_CHAIN`] to [`MAX_CHAIN`]).
    pub fn set_up(&mut self, page_shift: u32, max_chain: u32) -> Option<()> {
        if !(12..=16).contains(&page_shift) || !(MIN_CHAIN..=MAX_CHAIN).contains(&max_chain) {
            return None;
        }
        let page_size = 1u32.wrapping_shl(page_shift);
        let delta = page_size.wrapping_shr(8);
        let nr_indexes = page_size
            .wrapping_sub(MIN_SIZE)
            .div_ceil(delta)
            .wrapping_add(1);
        // Largest first, so that a merged class keeps the largest size.
        for index in (0..low_u16(nr_indexes)).rev() {
            let size = MIN_SIZE
                .wrapping_add(u16_to_u32(index).wrapping_mul(delta))
                .min(page_size);
            self.add(Geometry::new(page_shift, max_chain, size, index))?;
        }
        Some(())
    }

    /// Adds the class of the next smaller index, or merges it into the last one.
    fn add(&mut self, class: Geometry) -> Option<()> {
        if class.pages != 1 && class.objs != 1 && self.huge_class_size == 0 {
            // The first size that is stored with others: one byte more, with its header, is huge.
            self.huge_class_size = class.size.wrapping_sub(HEADER_BYTES).wrapping_add(1);
        }
        let last = self.nr_classes.wrapping_sub(1);
        let merges = self
            .classes
            .get(u16_to_usize(last))
            .is_some_and(|last| last.same_shape(&class));
        let number = if merges { last } else { self.nr_classes };
        if !merges {
            *self.classes.get_mut(u16_to_usize(number))? = class;
            self.nr_classes = self.nr_classes.wrapping_add(1);
        }
        // The smallest comes last, and gets the first entry too.
        let entry = u16_to_usize(class.index);
        self.by_index
            .get_mut(entry..entry.wrapping_add(2))?
            .fill(number);
        Some(())
    }

    /// Number of classes after merging.
    #[inline(always)]
    pub const fn nr_classes(&self) -> u16 {
        self.nr_classes
    }

    /// The classes by class number, largest slots first.
    pub fn classes(&self) -> &[Geometry] {
        self.classes
            .get(..u16_to_usize(self.nr_classes))
            .unwrap_or(&[])
    }

    /// The class of a number from [`Self::lookup`].
    pub fn class(&self, number: u16) -> Option<&Geometry> {
        self.classes().get(u16_to_usize(number))
    }

    /// The class number for an object of `size` bytes (header not included). `page_shift` is the
    /// one that the table was made for, which callers know when they are compiled.
    ///
    /// Sizes above the page size get the largest class, as `zs_lookup_class_index` has it.
    #[inline(always)]
    pub fn lookup(&self, page_shift: u32, size: usize) -> u16 {
        let shift = page_shift.wrapping_sub(8);
        // Up to the next step, and one more for the first entry. Positive: a step is 16 or more.
        let round = 2usize.wrapping_shl(shift).wrapping_sub(1);
        let round = round.wrapping_sub(u32_to_usize(MIN_SIZE).wrapping_sub(HEADER_SIZE));
        let entry = size.saturating_add(round).wrapping_shr(shift);
        // 0, the class of the largest slots, also for entries above all that were set.
        match self.by_index.get(entry) {
            Some(number) => *number,
            None => 0,
        }
    }

    /// Smallest object size in bytes that is stored one to a page.
    pub const fn huge_class_size(&self) -> usize {
        u32_to_usize(self.huge_class_size)
    }
}
