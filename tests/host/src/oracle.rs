// SPDX-License-Identifier: GPL-2.0

//! The geometry of zsmalloc, worked out by searching.
//!
//! Written from the kernel's `Documentation/mm/zsmalloc.rst` and from the constants of the C
//! allocator, not from `rust/logic`: every question is answered by trying all candidates, in
//! 128 bits.

/// Bytes of the handle that every object is stored with.
pub const HANDLE: u128 = 8;
/// The smallest slot in bytes.
///
/// C has the larger of 32 and `chain * PAGE_SIZE >> OBJ_INDEX_BITS`, so that a slot's index fits
/// beside its page frame number. See [`smallest_slot_of_c`].
pub const SMALLEST: u128 = 32;
/// Steps that a page is divided into.
const STEPS: u128 = 256;

/// What C's `ZS_MIN_ALLOC_SIZE` comes to with physical addresses of `phys_bits` bits.
pub fn smallest_slot_of_c(page_size: u128, max_chain: u128, phys_bits: u32) -> u128 {
    // A page frame number takes phys_bits less those of the offset; the rest of 64 is the index.
    let frames = 2u128.pow(phys_bits) / page_size;
    let indexes = 2u128.pow(64) / frames;
    SMALLEST.max(max_chain * page_size / indexes)
}

/// Which of the chains is best.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// The one that wastes least bytes at its end: C 6.12, and ours.
    LeastWaste,
    /// The one of which most is used, in whole percent: C in former times. The tables printed in
    /// `Documentation/mm/zsmalloc.rst` still are of that time.
    MostPercent,
}

/// One class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Class {
    /// Index before merging: the largest of those merged.
    pub index: usize,
    /// Slot size in bytes.
    pub size: u128,
    /// Pages chained.
    pub pages: u128,
    /// Slots in those pages.
    pub objs: u128,
}

impl Class {
    /// Classes of one shape are merged.
    fn shape(&self) -> (u128, u128) {
        (self.pages, self.objs)
    }
}

/// How many slots fit: one is laid after the other until the next would stick out.
fn fitting(bytes: u128, slot: u128) -> u128 {
    let mut end = slot;
    let mut count = 0;
    while end <= bytes {
        count += 1;
        end += slot;
    }
    count
}

/// Chain and number of slots for slots of one size, the shortest chain of equals.
///
/// Sizes that fill a page without waste (the powers of two) come out with one page this way, as C
/// has them by a rule of its own.
fn best_shape(page_size: u128, max_chain: u128, slot: u128, rule: Rule) -> (u128, u128) {
    let candidates = (1..=max_chain).map(|pages| {
        let bytes = pages * page_size;
        let objs = fitting(bytes, slot);
        let cost = match rule {
            Rule::LeastWaste => bytes - objs * slot,
            Rule::MostPercent => 100 - objs * slot * 100 / bytes,
        };
        (cost, pages, objs)
    });
    match candidates.min() {
        Some((_, pages, objs)) => (pages, objs),
        None => (0, 0),
    }
}

/// All classes of a configuration before merging, smallest first.
pub fn unmerged(page_size: u128, max_chain: u128, rule: Rule) -> Vec<Class> {
    let mut classes = Vec::new();
    let mut slot = SMALLEST;
    loop {
        let size = slot.min(page_size);
        let (pages, objs) = best_shape(page_size, max_chain, size, rule);
        classes.push(Class {
            index: classes.len(),
            size,
            pages,
            objs,
        });
        if slot >= page_size {
            return classes;
        }
        slot += page_size / STEPS;
    }
}

/// For each index, the class it is merged into: the last of the run of equal shapes it is in.
pub fn merged(classes: &[Class]) -> Vec<Class> {
    let end_of_run = |class: &Class| {
        let run = classes.iter().skip(class.index);
        let same = run.take_while(|other| other.shape() == class.shape());
        *same.last().unwrap_or(class)
    };
    classes.iter().map(end_of_run).collect()
}

/// The class for an object of `size` bytes: the first whose slots hold it with its handle; the
/// largest if none does.
pub fn class_for<'a>(unmerged: &[Class], merged: &'a [Class], size: u128) -> Option<&'a Class> {
    let fits = unmerged.iter().position(|slot| slot.size >= size + HANDLE);
    fits.map_or_else(|| merged.last(), |index| merged.get(index))
}

/// Smallest object such that it and all larger ones get a page each.
pub fn huge_class_size(unmerged: &[Class], merged: &[Class], page_size: u128) -> u128 {
    let is_alone = |size: &u128| {
        class_for(unmerged, merged, *size).is_some_and(|class| class.objs == 1 && class.pages == 1)
    };
    (1..=page_size)
        .rev()
        .take_while(is_alone)
        .last()
        .unwrap_or(page_size + 1)
}
