// SPDX-License-Identifier: GPL-2.0

//! The allocator's policy: which slot an object gets, and when zspages come and go.
//!
//! No `unsafe` here: what needs it is in `rust/object` and `rust/kapi`.

#![deny(unsafe_code)]

pub(crate) mod class;
mod compact;
mod free;
mod malloc;
mod map;
#[cfg(CONFIG_COMPACTION)]
mod migrate;
mod promote;
mod reap;
pub(crate) mod reclaim;
pub(crate) mod shared;
mod shorten;
mod spare;

use crate::kapi::{pinned_slice::PinnedSlice, workqueue::Work};
use crate::logic::conv::{u16_to_usize, usize_to_isize};
use crate::object::{lru::Lru, zspage::ZspageBox};
use crate::zpdesc_rs::PAGE_SHIFT;
use class::SizeClass;
use core::sync::atomic::{AtomicUsize, Ordering};
use kernel::{
    fmt,
    prelude::*,
    str::{CStr, CString},
    sync::Arc,
};
use shared::Shared;

/// A pool: objects of all sizes. It shares with other pools what is in [`Shared`].
///
/// A pool has as many locks as it has size classes, and none for the whole of it but that of the
/// order of use, if it keeps one.
#[pin_data(PinnedDrop)]
pub(crate) struct Pool {
    /// What all pools of the module share.
    shared: &'static Shared,
    /// The size classes, by class number.
    classes: PinnedSlice<SizeClass>,
    /// Pages of all zspages. Changed when pages come or go, never per object.
    pages: AtomicUsize,
    /// Objects, when they were counted last.
    objects_before: AtomicUsize,
    /// Pages that compaction has given back so far, when it was asked for.
    pages_compacted: AtomicUsize,
    /// Pages that the background has given back so far.
    pages_tidied: AtomicUsize,
    /// Objects that compaction has moved to a larger class so far.
    objects_promoted: AtomicUsize,
    /// Pages that reclaim has given back so far.
    pages_reclaimed: AtomicUsize,
    /// Zspages that reclaim has put back, because an object could not go.
    reclaims_refused: AtomicUsize,
    /// Zspages in the order of use, if the pool can be reclaimed.
    lru: Option<Arc<Lru<SizeClass>>>,
    /// Frees zspages that could not be freed at once, and compacts classes that are sparse.
    #[pin]
    keeper: Work<Pool>,
    /// Shown in messages.
    name: CString,
}

impl Pool {
    /// Creates a pool, which can be reclaimed if `lru` is given. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new<'a>(
        shared: &'static Shared,
        name: &'a CStr,
        lru: Option<Arc<Lru<SizeClass>>>,
    ) -> impl PinInit<Self, Error> + 'a {
        try_pin_init!(Self {
            classes: Self::new_classes(shared, lru.as_ref())?,
            pages: AtomicUsize::new(0),
            objects_before: AtomicUsize::new(0),
            pages_compacted: AtomicUsize::new(0),
            pages_tidied: AtomicUsize::new(0),
            objects_promoted: AtomicUsize::new(0),
            pages_reclaimed: AtomicUsize::new(0),
            reclaims_refused: AtomicUsize::new(0),
            lru,
            keeper <- Work::new(),
            name: CString::try_from_fmt(fmt!("{}", name))?,
            // Last: nothing can fail any more.
            shared: {
                shared.pools_changed(1);
                shared
            },
        })
    }

    /// Empty size classes.
    fn new_classes(
        shared: &Shared,
        lru: Option<&Arc<Lru<SizeClass>>>,
    ) -> Result<PinnedSlice<SizeClass>> {
        let table = shared.classes();
        let classes = table.classes().iter().zip(0..u16::MAX);
        let inits =
            classes.map(|(geometry, number)| SizeClass::new(*geometry, number, lru.cloned()));
        PinnedSlice::new(inits, u16_to_usize(table.nr_classes()))
    }

    /// Pages that the pool's objects occupy. Any context.
    #[inline(always)]
    pub(crate) fn total_pages(&self) -> usize {
        self.pages.load(Ordering::Relaxed)
    }

    /// Pages that compaction in the background has given back so far. Any context.
    pub(crate) fn pages_tidied(&self) -> usize {
        self.pages_tidied.load(Ordering::Relaxed)
    }

    /// Objects that compaction has moved to a larger class so far. Any context.
    pub(crate) fn objects_promoted(&self) -> usize {
        self.objects_promoted.load(Ordering::Relaxed)
    }

    /// Pages that compaction has given back so far, when it was asked for. Any context.
    pub(crate) fn pages_compacted(&self) -> usize {
        self.pages_compacted.load(Ordering::Relaxed)
    }

    /// Smallest object in bytes that is stored one to a page.
    pub(crate) fn huge_class_size(&self) -> usize {
        self.shared.classes().huge_class_size()
    }

    /// Class index for objects of `size` bytes, as debugfs shows it.
    pub(crate) fn class_index(&self, size: usize) -> u32 {
        let table = self.shared.classes();
        let class = table.class(table.lookup(PAGE_SHIFT, size));
        u32::from(class.map_or(0, |class| class.index))
    }

    /// The size classes, by class number.
    pub(crate) fn classes(&self) -> &[SizeClass] {
        &self.classes
    }

    /// Records that a zspage of `class` has come.
    fn zspage_opened(&self, class: &SizeClass, zspage: &ZspageBox<SizeClass>) {
        let pages = class.geometry().nr_pages();
        let adjacent = zspage.adjacent_pages();
        let apart = pages.wrapping_sub(1).wrapping_sub(adjacent);
        self.shared.pages_chained(adjacent, apart);
        self.pages_came(pages);
    }

    /// Records pages that have come.
    fn pages_came(&self, pages: usize) {
        // Relaxed: a statistic; nobody infers anything else from it.
        self.pages.fetch_add(pages, Ordering::Relaxed);
        self.shared.pages_changed(usize_to_isize(pages));
    }

    /// Records pages that have gone.
    fn pages_gone(&self, pages: usize) {
        // Relaxed: as in `pages_came`.
        self.pages.fetch_sub(pages, Ordering::Relaxed);
        self.shared
            .pages_changed(usize_to_isize(pages).wrapping_neg());
    }

    /// Gives back what a class still has, unless that is objects that were never freed: those it
    /// reports. Returns whether nothing is left.
    fn drain(&self, class: &SizeClass) -> bool {
        let left = class.count().inuse;
        if left != 0 {
            pr_err!(
                "pool {}: destroyed with {} objects of class {} ({} bytes) still allocated; \
                 they stay where they are. Free every handle before the pool\n",
                &*self.name,
                left,
                class.geometry().index,
                class.geometry().size
            );
            return false;
        }
        if class.has_spares() {
            // Only beside memory that was overwritten.
            self.without_spares(class, |_| ());
        }
        loop {
            let taken = class.lock().take_any();
            match taken {
                None => return class.count().zspages == 0,
                Some(Ok(zspage)) => self.close_zspage(zspage),
                // The page is being moved, or was about to be.
                Some(Err(page)) => page.wait_unlocked(),
            }
        }
    }

    /// Ends what goes on by itself, and gives back all zspages. May sleep. The pool's users are
    /// gone.
    ///
    /// Returns whether the pool may be dropped: its pages refer to it.
    pub(crate) fn close(&self) -> bool {
        self.keeper.stop();
        let mut empty = true;
        for class in self.classes() {
            empty &= self.drain(class);
        }
        if !empty {
            pr_err!(
                "pool {}: {} pages stay allocated, and the module loaded, until the next boot\n",
                &*self.name,
                self.total_pages()
            );
        }
        empty
    }
}

#[pinned_drop]
impl PinnedDrop for Pool {
    fn drop(self: Pin<&mut Self>) {
        self.shared.pools_changed(-1);
    }
}
