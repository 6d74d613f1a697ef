// SPDX-License-Identifier: GPL-2.0

//! Zspages in the order in which objects were last allocated in them: what reclaim goes by.
//!
//! Only pools that can be reclaimed have one. Its lock is taken inside the locks of the classes,
//! so a zspage is put on or taken off under both.

use super::{ring::Ring, zspage::Zspage};
use crate::kapi::spinlock::{new_spinlock, SpinLock};
use core::ptr::NonNull;
use kernel::prelude::*;

/// The zspages of a pool that have objects and are not under reclaim, the hottest first.
#[pin_data]
pub(crate) struct Lru<Owner> {
    /// The zspages.
    #[pin]
    zspages: SpinLock<Ring<Zspage<Owner>>>,
}

/// The zspage that was the coldest a moment ago. It may be gone: to be compared, not followed.
pub(crate) struct Coldest<Owner> {
    /// The zspage.
    zspage: NonNull<Zspage<Owner>>,
    /// Its owner.
    owner: NonNull<Owner>,
}

impl<Owner> Coldest<Owner> {
    /// `owner` was its owner.
    pub(crate) fn belonged_to(&self, owner: &Owner) -> bool {
        self.owner == NonNull::from(owner)
    }
}

impl<Owner: Sync> Lru<Owner> {
    /// No zspages.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            zspages <- new_spinlock!(Ring::new(), "zsmalloc_rs::lru"),
        })
    }

    /// Makes a zspage the hottest. Under its owner's lock.
    #[inline(always)]
    pub(crate) fn touch(&self, zspage: &Zspage<Owner>) {
        let zspages = self.zspages.lock();
        if zspage.has_age() {
            zspages.remove(zspage);
        }
        zspages.push_front(zspage);
    }

    /// Takes a zspage off, if it is here. Under its owner's lock.
    pub(crate) fn forget(&self, zspage: &Zspage<Owner>) {
        let zspages = self.zspages.lock();
        if zspage.has_age() {
            zspages.remove(zspage);
        }
    }

    /// The coldest zspage.
    pub(crate) fn coldest(&self) -> Option<Coldest<Owner>> {
        let zspages = self.zspages.lock();
        let zspage = zspages.last()?;
        Some(Coldest {
            zspage: NonNull::from(zspage),
            owner: zspage.owner(),
        })
    }

    /// Takes the coldest zspage off, if it still is what it was. Under its owner's lock.
    pub(super) fn take(&self, coldest: &Coldest<Owner>) -> Option<NonNull<Zspage<Owner>>> {
        let zspages = self.zspages.lock();
        let zspage = zspages.last()?;
        let same = NonNull::from(zspage) == coldest.zspage && zspage.owner() == coldest.owner;
        same.then(|| {
            zspages.remove(zspage);
            coldest.zspage
        })
    }
}
