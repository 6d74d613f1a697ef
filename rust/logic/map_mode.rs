// SPDX-License-Identifier: GPL-2.0

//! What an object is mapped for.

/// `ZPOOL_MM_RO` and `ZS_MM_RO`.
pub const READ_ONLY: u32 = 1;
/// `ZPOOL_MM_WO` and `ZS_MM_WO`.
pub const WRITE_ONLY: u32 = 2;

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
        self.0 != WRITE_ONLY
    }

    /// The object is written, and has to keep that.
    #[inline(always)]
    pub const fn writes(self) -> bool {
        self.0 != READ_ONLY
    }
}
