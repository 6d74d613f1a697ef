// SPDX-License-Identifier: GPL-2.0

//! Mapping objects.

use super::Pool;
use crate::kapi::warn::warn;
use crate::logic::{conv::u32_to_usize, map_mode::MapMode};
use crate::object::{
    handle::Handle,
    mapped::{self, Refused},
};
use core::ptr::NonNull;
use kernel::c_str;

impl Pool {
    /// [`Pool::map`], if it takes no more than a LOCK: that needs nothing of the pool.
    #[inline(always)]
    pub(crate) fn try_map(handle: Handle) -> Option<NonNull<u8>> {
        mapped::try_map(handle)
    }

    /// Maps an object: nobody else can map, move or free it until [`Pool::unmap`].
    ///
    /// Process context; preemption is off until then (not on PREEMPT_RT), and the caller must not
    /// sleep. The address is in the direct map, and good for the object's size in bytes. `None`,
    /// with a warning, if it is refused.
    #[cold]
    #[inline(never)]
    pub(crate) fn map(&self, handle: Handle, mode: MapMode) -> Option<NonNull<u8>> {
        let size = |class| self.slot_size(class);
        match mapped::map(&self.shared.buffers, handle, mode, size) {
            Ok(address) => Some(address),
            Err(refused) => {
                Self::refused(refused);
                None
            }
        }
    }

    /// [`Pool::unmap`] for what [`Pool::try_map`] may have mapped. False if it may not: nothing was
    /// done then.
    #[inline(always)]
    pub(crate) fn try_unmap(handle: Handle) -> bool {
        mapped::try_unmap(handle)
    }

    /// Ends [`Pool::map`]: what was written is in the object, and it may move again. False if it
    /// was not mapped, which is a bug of the caller: nothing was done then.
    #[cold]
    #[inline(never)]
    pub(crate) fn unmap(&self, handle: Handle) -> bool {
        mapped::unmap(&self.shared.buffers, handle, |class| self.slot_size(class))
    }

    /// Slot size of a class, in bytes.
    fn slot_size(&self, number: u32) -> usize {
        let class = self.classes.get(u32_to_usize(number));
        class.map_or(0, |class| u32_to_usize(class.geometry().size))
    }

    /// Reports a caller's bug.
    fn refused(refused: Refused) {
        warn(match refused {
            Refused::Dead => c_str!("zsmalloc_rs: map of a handle that is not allocated"),
            Refused::Interrupt => c_str!("zsmalloc_rs: map in an interrupt"),
            Refused::Busy => {
                c_str!("zsmalloc_rs: map of a second object that spans pages on one CPU")
            }
        });
    }
}
