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

    /// Bytes of slots that hold no object.
    pub const fn free_bytes(&self, class: &Geometry) -> usize {
        self.slots(class)
            .saturating_sub(self.inuse)
            .saturating_mul(super::conv::u32_to_usize(class.size))
    }
}
