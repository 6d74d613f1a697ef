// SPDX-License-Identifier: GPL-2.0

//! Pages on their way, and how many each zone has: `NR_ZSPAGES`.

use crate::zpdesc_rs::Zpdesc;

/// Pages of one zone that follow each other, to be counted together.
struct Run<'p> {
    /// The first of them.
    first: &'p Zpdesc,
    /// How many.
    pages: isize,
}

impl<'p> Run<'p> {
    /// One page.
    fn new(first: &'p Zpdesc) -> Self {
        Self { first, pages: 1 }
    }

    /// Adds a page, if it is of the same zone. False if it is not.
    #[inline(always)]
    fn takes(&mut self, zpdesc: &Zpdesc) -> bool {
        let same = self.first.zone_bits() == zpdesc.zone_bits();
        if same {
            self.pages = self.pages.wrapping_add(1);
        }
        same
    }
}

/// Pages that come. Their zones are told with one call for pages that follow each other, the last when the
/// value is dropped.
pub(super) struct Come<'p>(Option<Run<'p>>);

impl<'p> Come<'p> {
    /// None yet.
    pub(super) fn new() -> Self {
        Self(None)
    }

    /// Counts a page.
    #[inline(always)]
    pub(super) fn add(&mut self, zpdesc: &'p Zpdesc) {
        if !self.0.as_mut().is_some_and(|run| run.takes(zpdesc)) {
            self.flush();
            self.0 = Some(Run::new(zpdesc));
        }
    }

    /// Tells the zone.
    fn flush(&mut self) {
        if let Some(run) = self.0.take() {
            run.first.zone().add_zspages(run.pages);
        }
    }
}

impl Drop for Come<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Pages that are given back, as [`Come`]. The first of a run stays until its zone was told: a zone that has
/// no pages any more may be taken away.
pub(super) struct Gone<'p>(Option<Run<'p>>);

impl<'p> Gone<'p> {
    /// None yet.
    pub(super) fn new() -> Self {
        Self(None)
    }

    /// Gives a page back, at once or later.
    ///
    /// # Safety
    ///
    /// It is the caller's, who does not use it any more, and reset.
    #[inline(always)]
    pub(super) unsafe fn add(&mut self, zpdesc: &'p Zpdesc) {
        if self.0.as_mut().is_some_and(|run| run.takes(zpdesc)) {
            // SAFETY: Reset, and nobody of ours uses it, as the caller says.
            unsafe { zpdesc.free() };
        } else {
            self.flush();
            self.0 = Some(Run::new(zpdesc));
        }
    }

    /// Tells the zone, and gives the first page back.
    fn flush(&mut self) {
        if let Some(run) = self.0.take() {
            run.first.zone().add_zspages(run.pages.wrapping_neg());
            // SAFETY: It was given to `add`, once.
            unsafe { run.first.free() };
        }
    }
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}
