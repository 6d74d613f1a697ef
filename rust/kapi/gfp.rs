// SPDX-License-Identifier: GPL-2.0

//! Allocation flags that come from a caller (`<linux/gfp_types.h>`).
//!
//! The kernel crate's `alloc::Flags` cannot be built from a `gfp_t`, and callers of `zs_malloc`
//! pass one.

use super::bindings;

/// A `gfp_t`.
#[derive(Clone, Copy)]
pub(crate) struct Gfp(bindings::gfp_t);

impl Gfp {
    /// May sleep and do I/O.
    pub(crate) const KERNEL: Self = Self(bindings::GFP_KERNEL);

    /// Takes over what a C caller passed.
    #[inline(always)]
    pub(crate) const fn from_raw(gfp: bindings::gfp_t) -> Self {
        Self(gfp)
    }

    /// The `gfp_t` for a C callee.
    #[inline(always)]
    pub(crate) const fn as_raw(self) -> bindings::gfp_t {
        self.0
    }

    /// The same for memory that is addressed all the time and cannot move: handle words,
    /// descriptors of zspages.
    #[inline(always)]
    pub(crate) const fn for_metadata(self) -> Self {
        Self(self.0 & !(bindings::__GFP_HIGHMEM | bindings::__GFP_MOVABLE))
    }

    /// The same for a block of pages that is nice to have: takes what is free, and wakes nobody.
    /// The block can be split.
    #[inline(always)]
    pub(crate) const fn if_free(self) -> Self {
        Self((self.0 & !(bindings::GFP_EAGER | bindings::__GFP_COMP)) | bindings::GFP_MEEK)
    }

    /// The same for what can be had in another way: tries once, and says nothing if it fails.
    pub(crate) const fn without_effort(self) -> Self {
        Self(self.0 | bindings::GFP_MEEK)
    }

    /// The same for pages of objects.
    #[inline(always)]
    pub(crate) const fn for_objects(self) -> Self {
        if cfg!(CONFIG_COMPACTION) {
            self
        } else {
            // Nothing can move them.
            Self(self.0 & !bindings::__GFP_MOVABLE)
        }
    }
}
