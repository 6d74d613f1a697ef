// SPDX-License-Identifier: GPL-2.0

//! The arithmetic behind the statistics: what compaction could give back.

use super::conv::u16_to_usize;
use super::size_class::Geometry;

/// Counts of one size class, taken at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClassCount {
    /// Zspages of the class.
    pub zspages: usize,
    /// Objects allocated from them.
    pub inuse: usize,
}

impl ClassCount {
    /// Slots of all zspages, in objects.
    pub const fn slots(&self, class: &Geometry) -> usize {
        self.zspages.saturating_mul(u16_to_usize(class.objs))
    }

    /// Pages of all zspages.
    pub const fn pages(&self, class: &Geometry) -> usize {
        self.zspages.saturating_mul(class.nr_pages())
    }

    /// Pages that would be left over if the objects were packed as tightly as they can be.
    ///
    /// Never underflows, also when the two counts were read at different moments.
    pub const fn can_compact(&self, class: &Geometry) -> usize {
        let unused = self.slots(class).saturating_sub(self.inuse);
        match unused.checked_div(u16_to_usize(class.objs)) {
            Some(zspages) => zspages.saturating_mul(class.nr_pages()),
            None => 0,
        }
    }

    /// The class is sparse if it has fewer objects than this: a tenth of its slots is free, and so
    /// are more slots than one zspage has. Then it is worth while to compact it at once, rather
    /// than when memory runs short.
    pub const fn sparse_below(&self, class: &Geometry) -> usize {
        let slots = self.slots(class);
        // A quarter more than a zspage, so that the next objects do not open one again.
        let objs = u16_to_usize(class.objs);
        let slack = objs.saturating_add(objs.div_ceil(4));
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
        self.slots(class)
            .saturating_sub(self.inuse)
            .saturating_mul(super::conv::u32_to_usize(class.size))
    }
}
