// SPDX-License-Identifier: GPL-2.0

//! The arithmetic behind the statistics: what compaction could give back.

use super::conv::{low_u16, low_u32, u16_to_usize, u32_to_usize, usize_to_u64};
use super::size_class::Geometry;

/// Classes with at most so many zspages are kept as small as their objects need, page by page.
const FEW_ZSPAGES: usize = 8;

/// What zspages lack that have fewer pages than their class has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Missing {
    /// Pages.
    pub pages: usize,
    /// Slots on those pages.
    pub slots: usize,
}

/// Counts of one size class, taken at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClassCount {
    /// Zspages of the class.
    pub zspages: usize,
    /// Objects allocated from them.
    pub inuse: usize,
    /// What they lack.
    pub missing: Missing,
}

impl ClassCount {
    /// Slots of all zspages, in objects.
    pub const fn slots(&self, class: &Geometry) -> usize {
        let whole = self.zspages.saturating_mul(u16_to_usize(class.objs));
        whole.saturating_sub(self.missing.slots)
    }

    /// Pages of all zspages.
    pub const fn pages(&self, class: &Geometry) -> usize {
        let whole = self.zspages.saturating_mul(class.nr_pages());
        whole.saturating_sub(self.missing.pages)
    }

    /// Slots that hold no object.
    pub const fn free(&self, class: &Geometry) -> usize {
        self.slots(class).saturating_sub(self.inuse)
    }

    /// Pages that would be left over if the objects were packed as tightly as they can be: into
    /// whole zspages, and as many pages of one more as the rest needs, if it can be shortened.
    ///
    /// Never underflows, also when the counts were read at different moments.
    pub const fn can_compact(&self, page_shift: u32, class: &Geometry) -> usize {
        let objs = u16_to_usize(class.objs);
        let needed = match (self.inuse.checked_div(objs), self.inuse.checked_rem(objs)) {
            (Some(zspages), Some(rest)) => {
                // Fewer than `objs`.
                let rest = low_u16(low_u32(usize_to_u64(rest)));
                let rest = if class.can_shorten() || rest == 0 {
                    class.pages_for(page_shift, rest)
                } else {
                    class.nr_pages()
                };
                zspages
                    .saturating_mul(class.nr_pages())
                    .saturating_add(rest)
            }
            _ => 0,
        };
        self.pages(class).saturating_sub(needed)
    }

    /// The class is sparse if it has fewer objects than this: a tenth of its slots is free, and
    /// that is more than one and a quarter zspages have; with few zspages, than two pages have, if
    /// that is less. Then it is worth while to compact it at once, rather than when memory runs
    /// short.
    pub const fn sparse_below(&self, page_shift: u32, class: &Geometry) -> usize {
        let slots = self.slots(class);
        // A quarter more than a zspage, so that the next objects do not open one again.
        let objs = u16_to_usize(class.objs);
        let mut slack = objs.saturating_add(objs.div_ceil(4));
        if self.zspages <= FEW_ZSPAGES && class.can_shorten() {
            let two_pages = u16_to_usize(class.slots_on(page_shift, 2));
            if two_pages < slack {
                slack = two_pages;
            }
        }
        let kept = slots.saturating_sub(slots / 10);
        let left = slots.saturating_sub(slack);
        if left < kept {
            left
        } else {
            kept
        }
    }

    /// Bytes of slots that hold no object.
    pub const fn free_bytes(&self, class: &Geometry) -> usize {
        self.free(class).saturating_mul(u32_to_usize(class.size))
    }
}
