// SPDX-License-Identifier: GPL-2.0

//! Free units on their way: each CPU's magazine, and batches between it and the depot.

use super::units::FreeUnit;
use core::{
    ptr::{null_mut, NonNull},
    sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering},
};

/// Units in a magazine.
const MAGAZINE: usize = 64;
/// Units moved between a magazine and the depot at a time.
const BATCH: usize = MAGAZINE / 2;

/// A few free units on their way to a magazine or the depot.
pub(crate) struct Batch<const WORDS: usize> {
    /// Where the units begin, `len` of them; the rest means nothing.
    units: [Option<NonNull<AtomicU64>>; BATCH],
    /// How many.
    len: usize,
}

impl<const WORDS: usize> Batch<WORDS> {
    /// None.
    pub(crate) fn new() -> Self {
        Self {
            units: [const { None }; BATCH],
            len: 0,
        }
    }

    /// How many units there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// There is none.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// There is no room for more.
    pub(crate) fn is_full(&self) -> bool {
        self.len == BATCH
    }

    /// Adds a unit. The batch is not full.
    #[inline(always)]
    pub(crate) fn push(&mut self, unit: impl Into<FreeUnit<WORDS>>) {
        self.extend(core::iter::once(unit.into()));
    }

    /// Adds units while there is room. Returns how many.
    #[inline(always)]
    pub(super) fn extend(&mut self, units: impl Iterator<Item = FreeUnit<WORDS>>) -> usize {
        let room = self.units.get_mut(self.len..).unwrap_or(&mut []);
        let before = self.len;
        // The places first: no unit is taken for which there is none.
        for (place, unit) in room.iter_mut().zip(units) {
            *place = Some(unit.into_raw());
            self.len = self.len.wrapping_add(1);
        }
        self.len.wrapping_sub(before)
    }

    /// Takes a unit.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<FreeUnit<WORDS>> {
        self.len = self.len.checked_sub(1)?;
        let unit = (*self.units.get(self.len)?)?;
        // SAFETY: It was free when it was put here, and was not taken since.
        Some(unsafe { FreeUnit::from_raw(unit) })
    }

    /// Takes the last units, at most `count`.
    #[inline(always)]
    fn take(&mut self, count: usize) -> &[Option<NonNull<AtomicU64>>] {
        let len = self.len;
        self.len = len.saturating_sub(count);
        self.units.get(self.len..len).unwrap_or(&[])
    }
}

/// A CPU's free units. Changed only by that CPU, with preemption off, or when it is gone;
/// interrupts do not come here. So all accesses are Relaxed: who sees another CPU's only counts,
/// and CPU hotplug orders the rest.
pub(super) struct Magazine<const WORDS: usize> {
    /// How many units there are.
    len: AtomicUsize,
    /// Where they begin, `len` of them.
    units: [AtomicPtr<AtomicU64>; MAGAZINE],
}

impl<const WORDS: usize> Magazine<WORDS> {
    /// An empty magazine.
    pub(super) fn new() -> Self {
        Self {
            len: AtomicUsize::new(0),
            units: [const { AtomicPtr::new(null_mut()) }; MAGAZINE],
        }
    }

    /// How many units there are.
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Takes the unit that came last: its line is likely in the cache.
    #[inline(always)]
    pub(super) fn pop(&self) -> Option<FreeUnit<WORDS>> {
        // Beyond all units if there was none.
        let len = self.len.load(Ordering::Relaxed).wrapping_sub(1);
        let unit = NonNull::new(self.units.get(len)?.load(Ordering::Relaxed))?;
        self.len.store(len, Ordering::Relaxed);
        // SAFETY: Free units are put here by `push` only, and taken once: only one CPU at a time
        // comes here.
        Some(unsafe { FreeUnit::from_raw(unit) })
    }

    /// Puts a unit in; gives it back if there is no room.
    #[inline(always)]
    pub(super) fn push(&self, unit: FreeUnit<WORDS>) -> Result<(), FreeUnit<WORDS>> {
        let len = self.len.load(Ordering::Relaxed);
        let Some(place) = self.units.get(len) else {
            return Err(unit);
        };
        place.store(unit.into_raw().as_ptr(), Ordering::Relaxed);
        self.len.store(len.wrapping_add(1), Ordering::Relaxed);
        Ok(())
    }

    /// Puts in as many units of a batch as there is room for.
    pub(super) fn push_from(&self, batch: &mut Batch<WORDS>) {
        let len = self.len.load(Ordering::Relaxed);
        let room = self.units.get(len..).unwrap_or(&[]);
        let units = batch.take(room.len());
        for (place, unit) in room.iter().zip(units) {
            let unit = unit.map_or(null_mut(), NonNull::as_ptr);
            place.store(unit, Ordering::Relaxed);
        }
        let len = len.wrapping_add(units.len());
        self.len.store(len, Ordering::Relaxed);
    }
}
