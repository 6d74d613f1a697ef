// SPDX-License-Identifier: GPL-2.0

//! Pages on their way, and how many each zone has: `NR_ZSPAGES`.
//!
//! A zone is told with one call for a run: pages of it that follow each other.

use crate::zpdesc_rs::Zpdesc;

/// Counts pages that come; the last run when it is dropped.
pub(super) struct Come<'p> {
    /// A page of the latest run.
    page: Option<&'p Zpdesc>,
    /// How many there are.
    pages: isize,
}

impl<'p> Come<'p> {
    /// None yet.
    pub(super) fn new() -> Self {
        Self {
            page: None,
            pages: 0,
        }
    }

    /// Counts a page.
    pub(super) fn add(&mut self, zpdesc: &'p Zpdesc) {
        if !self.page.is_some_and(|page| page.is_in_zone_of(zpdesc)) {
            self.flush();
            self.page = Some(zpdesc);
        }
        self.pages = self.pages.wrapping_add(1);
    }

    /// Tells the zone.
    fn flush(&mut self) {
        let pages = core::mem::take(&mut self.pages);
        if let Some(page) = self.page {
            page.zone().add_zspages(pages);
        }
    }
}

impl Drop for Come<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Pages that are given back, a run together. The last ones are when the value is dropped.
pub(super) struct Gone<'p>(Option<Run<'p>>);

/// Pages that were retired, to be given back.
///
/// # Invariants
///
/// `latest` is linked to `first`, over the other pages. They were frozen when they were retired:
/// who gets a reference since finds pages that cannot be isolated, and leaves their links alone.
struct Run<'p> {
    /// The first page.
    first: &'p Zpdesc,
    /// The latest one.
    latest: &'p Zpdesc,
    /// How many there are.
    pages: isize,
}

impl<'p> Gone<'p> {
    /// None yet.
    pub(super) fn new() -> Self {
        Self(None)
    }

    /// Gives a page back, later.
    ///
    /// # Safety
    ///
    /// It is the caller's, was frozen when it was [retired](Zpdesc::retire), and nobody of ours
    /// uses it.
    #[inline(always)]
    pub(super) unsafe fn add(&mut self, zpdesc: &'p Zpdesc) {
        match &mut self.0 {
            // INVARIANT: linked to the latest one, and the latest one now.
            Some(run) if run.first.is_in_zone_of(zpdesc) => {
                zpdesc.link_to(run.latest);
                run.latest = zpdesc;
                run.pages = run.pages.wrapping_add(1);
            }
            _ => {
                self.flush();
                self.0 = Some(Run {
                    first: zpdesc,
                    latest: zpdesc,
                    pages: 1,
                });
            }
        }
    }

    /// Tells the zone, before the pages are given back: one that has no pages any more may be taken
    /// away.
    fn flush(&mut self) {
        if let Some(run) = self.0.take() {
            run.first.zone().add_zspages(run.pages.wrapping_neg());
            // SAFETY: These pages were given to `add`, once, and are linked, by the invariant.
            unsafe { run.latest.free_to(run.first) };
        }
    }

    /// Gives back one page at once. Somebody else may have a reference to it, and have it on a
    /// list.
    ///
    /// # Safety
    ///
    /// It is the caller's, reset, and nobody of ours uses it any more.
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn put(zpdesc: &Zpdesc) {
        zpdesc.zone().add_zspages(-1);
        // SAFETY: Reset, and nobody of ours uses it any more, as the caller says.
        unsafe { zpdesc.put() };
    }
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}
