// SPDX-License-Identifier: GPL-2.0

//! Pages on their way, and how many each zone has: `NR_ZSPAGES`.

use crate::zpdesc_rs::{Zone, ZoneBits, Zpdesc};

/// Pages that come or go, which their zones count in `NR_ZSPAGES`: one call for pages of one zone that
/// follow each other, the last when the value is dropped.
pub(super) struct Counted {
    /// The zone of the latest page.
    zone: Option<(Zone, ZoneBits)>,
    /// How many pages of it have come since the last call.
    pages: isize,
}

impl Counted {
    /// None yet.
    pub(super) fn new() -> Self {
        Self {
            zone: None,
            pages: 0,
        }
    }

    /// A page has come, or is about to go if `by` is -1.
    #[inline(always)]
    pub(super) fn add(&mut self, zpdesc: &Zpdesc, by: isize) {
        let bits = zpdesc.zone_bits();
        if !self.zone.is_some_and(|(_, latest)| latest == bits) {
            self.flush();
            self.zone = Some((zpdesc.zone(), bits));
        }
        self.pages = self.pages.wrapping_add(by);
    }

    /// Tells the zone.
    fn flush(&mut self) {
        let pages = core::mem::take(&mut self.pages);
        if let Some((zone, _)) = self.zone.take() {
            zone.add_zspages(pages);
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Pages that are given back, and counted before: a zone that has no pages any more may be taken away. So
/// the latest is kept until its zone was told, or has another.
pub(super) struct Gone<'p> {
    /// All of them.
    counted: Counted,
    /// The latest.
    latest: Option<&'p Zpdesc>,
}

impl<'p> Gone<'p> {
    /// None yet.
    pub(super) fn new() -> Self {
        Self {
            counted: Counted::new(),
            latest: None,
        }
    }

    /// Gives a page back.
    ///
    /// # Safety
    ///
    /// It is the caller's, who does not use it any more, and reset.
    #[inline(always)]
    pub(super) unsafe fn add(&mut self, zpdesc: &'p Zpdesc) {
        self.counted.add(zpdesc, -1);
        self.free_latest();
        self.latest = Some(zpdesc);
    }

    /// Gives the latest page back.
    #[inline(always)]
    fn free_latest(&mut self) {
        if let Some(latest) = self.latest.take() {
            // SAFETY: It was given to `add`, once.
            unsafe { latest.free() };
        }
    }
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.counted.flush();
        self.free_latest();
    }
}
