// SPDX-License-Identifier: GPL-2.0

//! What an object is mapped for.

/// How a mapped object will be used. The values of `enum zpool_mapmode` and `enum zs_mapmode`.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct MapMode(u32);

impl MapMode {
    /// The mode of a C caller. Unknown ones are read-write, which is always right.
    #[inline(always)]
    pub const fn from_raw(mode: u32) -> Self {
        Self(mode)
    }

    /// What is in the object is read, so it has to be there.
    #[inline(always)]
    pub const fn reads(self) -> bool {
        self.0 != 2
    }

    /// The object is written, and has to keep that.
    #[inline(always)]
    pub const fn writes(self) -> bool {
        self.0 != 1
    }
}
