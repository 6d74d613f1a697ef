// SPDX-License-Identifier: GPL-2.0

//! Where handle words and descriptors of zspages live: pages of our own, shared by all pools of the
//! module, cut into units of so many words.
//!
//! Each CPU has a magazine of free units, so that allocating and freeing one takes no lock and no
//! atomic operation. Magazines are refilled from and spilled to the depot, a batch at a time. A
//! page all of whose units are back in the depot goes back to the kernel.
//!
//! The first word of a unit in the depot is DEAD, or 0 if it was never used. Nothing here is called
//! under a class's lock.

use super::{
    list::{List, Listed, Place},
    magazine::{Batch, Magazine},
};
use crate::kapi::{
    conv::{addr_of, ptr_at},
    cpuhp::GoneCpu,
    cpumask::{possible_cpus, Cpu},
    gfp::Gfp,
    page_alloc,
    percpu::PerCpu,
    sched::PreemptGuard,
    spinlock::{new_spinlock, SpinLock},
};
use crate::logic::{
    conv::{count, sum, u32_to_usize, u64_to_usize, usize_to_u64},
    word::Word,
};
use crate::zpdesc_rs::PAGE_SIZE;
use core::{
    cell::Cell,
    mem::size_of,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};
use kernel::prelude::*;

/// A unit of `WORDS` words that is free: its owner may use its memory.
///
/// It must be given back to [`UnitCache::free`]; dropping it would leak the unit.
///
/// # Invariants
///
/// It lies in a [`UnitPage`] of `WORDS` words to a unit, and nobody else has it.
#[must_use]
pub(crate) struct FreeUnit<const WORDS: usize>(NonNull<AtomicU64>);

impl<const WORDS: usize> FreeUnit<WORDS> {
    /// Its first word.
    #[inline(always)]
    pub(super) fn into_raw(self) -> NonNull<AtomicU64> {
        self.0
    }

    /// The unit that begins with a word.
    ///
    /// # Safety
    ///
    /// The word must come from [`Self::into_raw`], of a unit of that size that is not used any
    /// more.
    #[inline(always)]
    pub(super) unsafe fn from_raw(first: NonNull<AtomicU64>) -> Self {
        // INVARIANT: the caller's promise.
        Self(first)
    }

    /// Overwrites it.
    pub(super) fn poison(&self) {
        let memory = self.0.cast::<u8>().as_ptr();
        // SAFETY: The unit is ours, by the invariant, and has so many words.
        unsafe { memory.write_bytes(0x6b, WORDS * size_of::<AtomicU64>()) };
    }

    /// Its first word.
    #[inline(always)]
    fn first(&self) -> &AtomicU64 {
        // SAFETY: The page lives while the unit is out, and its memory is ours, by the invariant.
        unsafe { self.0.as_ref() }
    }

    /// The payload of its first word.
    #[inline(always)]
    fn link(&self) -> usize {
        u64_to_usize(Word::from_raw(self.first().load(Ordering::Relaxed)).payload())
    }

    /// Makes its first word DEAD, with `link` as the payload.
    #[inline(always)]
    fn set_link(&self, link: usize) {
        let dead = Word::dead(usize_to_u64(link)).to_raw();
        // Relaxed: whoever reads it as a handle's word may be late, and sees that it is DEAD.
        self.first().store(dead, Ordering::Relaxed);
    }
}

/// Words in a page.
const PAGE_WORDS: usize = PAGE_SIZE / size_of::<AtomicU64>();
/// Size of a page's header in words.
const HEADER_WORDS: usize = 4;

/// A page of units. Where the first ones would lie is its header.
///
/// # Invariants
///
/// Free units below `bump` are linked from `head` by index, through the payloads of their first
/// words; units at `bump` and above were never used. All fields are guarded by the depot's lock.
#[repr(C)]
struct UnitPage<const WORDS: usize> {
    /// Its place on the depot's list of pages with free units.
    place: Place<Self>,
    /// First free unit, [`END`](Self::END) if there is none below `bump`.
    head: Cell<u32>,
    /// First unit that was never used.
    bump: Cell<u32>,
    /// Units that are out: in magazines, or in use.
    out: Cell<usize>,
    /// The units.
    words: [AtomicU64; PAGE_WORDS - HEADER_WORDS],
}
const _: () = assert!(size_of::<UnitPage<1>>() == PAGE_SIZE);

impl<const WORDS: usize> Listed for UnitPage<WORDS> {
    fn place(&self) -> &Place<Self> {
        &self.place
    }
}

impl<const WORDS: usize> UnitPage<WORDS> {
    /// The first unit.
    const FIRST: usize = HEADER_WORDS.div_ceil(WORDS);
    /// After the last unit: the end of a page's free list.
    const END: usize = PAGE_WORDS / WORDS;

    /// Makes a fresh page a page of units, none of which was ever used.
    fn format(page: NonNull<u8>) -> NonNull<Self> {
        let page = page.cast::<Self>();
        // SAFETY: A page has the size of a `UnitPage`; cells and atomics may be all zero.
        unsafe { page.as_ptr().cast::<u8>().write_bytes(0, PAGE_SIZE) };
        // SAFETY: Just initialised, and not shared yet.
        let this = unsafe { page.as_ref() };
        this.head.set(to_u32(Self::END));
        this.bump.set(to_u32(Self::FIRST));
        page
    }

    /// The page that a unit lies in, by its first word.
    fn of(first: &NonNull<AtomicU64>) -> &Self {
        let page = ptr_at::<Self>(addr_of(first.as_ptr()) & !(PAGE_SIZE - 1));
        // SAFETY: Units lie in pages of units, which live while one of their units is out.
        unsafe { &*page }
    }

    /// The words of a unit, and of each after it.
    #[inline(always)]
    fn units(&self, unit: usize) -> impl Iterator<Item = &[AtomicU64]> {
        const { assert!(PAGE_WORDS % WORDS == 0, "no unit ends beyond the page") };
        let word = unit.wrapping_mul(WORDS).wrapping_sub(HEADER_WORDS);
        let words = self.words.get(word..).unwrap_or(&[]);
        words.chunks_exact(WORDS)
    }

    /// The unit that has these words of this page, which is free.
    #[inline(always)]
    fn take(words: &[AtomicU64]) -> FreeUnit<WORDS> {
        // SAFETY: It is free, and not on the list any more, so nobody else has it.
        unsafe { FreeUnit::from_raw(NonNull::from(words).cast()) }
    }

    /// Moves free units into `batch`, as many as it has room for.
    fn pop_into(&self, batch: &mut Batch<WORDS>) {
        let before = batch.len();
        let mut head = u32_to_usize(self.head.get());
        while !batch.is_full() {
            let Some(words) = self.units(head).next() else {
                break;
            };
            let unit = Self::take(words);
            head = unit.link();
            batch.push(unit);
        }
        self.head.set(to_u32(head));
        let bump = u32_to_usize(self.bump.get());
        let taken = batch.extend(self.units(bump).map(|words| {
            let unit = Self::take(words);
            unit.set_link(0);
            unit
        }));
        self.bump.set(to_u32(bump.wrapping_add(taken)));
        let out = batch.len().wrapping_sub(before);
        self.out.set(self.out.get().wrapping_add(out));
    }

    /// Puts a unit of this page back.
    fn push(&self, unit: FreeUnit<WORDS>) {
        let offset = addr_of(unit.0.as_ptr()) & (PAGE_SIZE - 1);
        unit.set_link(u32_to_usize(self.head.get()));
        let index = offset / (WORDS * size_of::<AtomicU64>());
        self.head.set(to_u32(index));
        self.out.set(self.out.get().wrapping_sub(1));
    }

    /// All units are out.
    fn is_full(&self) -> bool {
        self.out.get() == Self::END - Self::FIRST
    }
}

/// Narrows an index of a unit.
fn to_u32(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// The units that are in no magazine.
struct Depot<const WORDS: usize> {
    /// Pages with free units; the one that a unit came back to last is first.
    partial: List<UnitPage<WORDS>>,
    /// All pages.
    pages: Cell<usize>,
    /// Units that are out of the depot: in magazines, or in use.
    out: Cell<usize>,
}

// SAFETY: The pages on its list are its own.
unsafe impl<const WORDS: usize> Send for Depot<WORDS> {}

impl<const WORDS: usize> Depot<WORDS> {
    /// Moves units into `batch` until it is full.
    fn fill(&self, batch: &mut Batch<WORDS>) {
        let before = batch.len();
        while !batch.is_full() {
            let Some(page) = self.partial.first() else {
                break;
            };
            page.pop_into(batch);
            if page.is_full() {
                self.partial.remove(page);
            }
        }
        let out = batch.len().wrapping_sub(before);
        self.out.set(self.out.get().wrapping_add(out));
    }

    /// Adds a page.
    fn add(&self, page: NonNull<UnitPage<WORDS>>) {
        // SAFETY: The caller has just formatted it.
        self.partial.push_front(unsafe { page.as_ref() });
        self.pages.set(self.pages.get().wrapping_add(1));
    }

    /// Takes units back; pages that are free now go to `empty`.
    fn take_back(&self, batch: &mut Batch<WORDS>, empty: &List<UnitPage<WORDS>>) {
        self.out.set(self.out.get().wrapping_sub(batch.len()));
        while let Some(unit) = batch.pop() {
            let first = unit.0;
            let page = UnitPage::<WORDS>::of(&first);
            if page.is_full() {
                self.partial.push_front(page);
            }
            page.push(unit);
            if page.out.get() == 0 {
                self.partial.remove(page);
                empty.push_front(page);
                self.pages.set(self.pages.get().wrapping_sub(1));
            }
        }
    }
}

/// All units of a size.
#[pin_data(PinnedDrop)]
pub(crate) struct UnitCache<const WORDS: usize> {
    /// Who owns a unit each, and what units are called: "objects" and "handle words". For messages.
    names: (&'static str, &'static str),
    /// Free units of each CPU.
    magazines: PerCpu<Magazine<WORDS>>,
    /// The rest.
    #[pin]
    depot: SpinLock<Depot<WORDS>>,
}

impl<const WORDS: usize> UnitCache<WORDS> {
    /// No units yet. `names` are who will own a unit each, and what units are called. May sleep.
    pub(crate) fn new(names: (&'static str, &'static str)) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            names,
            magazines: PerCpu::new(Magazine::new)?,
            depot <- new_spinlock!(
                Depot { partial: List::new(), pages: Cell::new(0), out: Cell::new(0) },
                "zsmalloc_rs::depot"
            ),
        })
    }

    /// Allocates a unit. Sleeps only if `gfp` allows it.
    #[inline(always)]
    pub(crate) fn alloc(&self, gfp: Gfp) -> Option<FreeUnit<WORDS>> {
        let guard = PreemptGuard::new();
        let unit = self.magazines.this_cpu(&guard).pop();
        drop(guard);
        match unit {
            Some(unit) => Some(unit),
            None => self.refill(gfp),
        }
    }

    /// Frees a unit. Does not sleep.
    #[inline(always)]
    pub(crate) fn free(&self, unit: impl Into<FreeUnit<WORDS>>) {
        let guard = PreemptGuard::new();
        let pushed = self.magazines.this_cpu(&guard).push(unit.into());
        drop(guard);
        if let Err(unit) = pushed {
            self.spill(unit);
        }
    }

    /// Gets a batch of units from the depot, one for the caller.
    #[cold]
    fn refill(&self, gfp: Gfp) -> Option<FreeUnit<WORDS>> {
        let mut batch = Batch::new();
        self.depot.lock().fill(&mut batch);
        if batch.is_empty() {
            let page = UnitPage::format(page_alloc::get(gfp)?);
            let depot = self.depot.lock();
            depot.add(page);
            depot.fill(&mut batch);
        }
        let unit = batch.pop();
        self.stock(&mut batch);
        unit
    }

    /// Puts a batch into this CPU's magazine, and what does not fit back into the depot. Does not
    /// sleep.
    pub(crate) fn stock(&self, batch: &mut Batch<WORDS>) {
        let guard = PreemptGuard::new();
        self.magazines.this_cpu(&guard).push_from(batch);
        drop(guard);
        // Another task may have filled the magazine meanwhile.
        self.take_back(batch);
    }

    /// Makes room in this CPU's magazine by giving a batch, `unit` among it, to the depot.
    #[cold]
    fn spill(&self, unit: FreeUnit<WORDS>) {
        let mut batch = Batch::new();
        batch.push(unit);
        let guard = PreemptGuard::new();
        let magazine = self.magazines.this_cpu(&guard);
        while !batch.is_full() {
            let Some(unit) = magazine.pop() else {
                break;
            };
            batch.push(unit);
        }
        drop(guard);
        self.take_back(&mut batch);
    }

    /// Gives units to the depot and free pages to the kernel. Does not sleep.
    pub(crate) fn take_back(&self, batch: &mut Batch<WORDS>) {
        if batch.is_empty() {
            return;
        }
        let empty = List::new();
        self.depot.lock().take_back(batch, &empty);
        while let Some(page) = empty.pop_front() {
            // SAFETY: From `page_alloc::get`, and none of its units is out.
            unsafe { page_alloc::put(page.cast()) };
        }
    }

    /// Empties the magazine of a CPU that is gone.
    pub(crate) fn drain(&self, cpu: &GoneCpu) {
        // SAFETY: Nothing of ours runs there.
        unsafe { self.empty(cpu.cpu()) };
    }

    /// Empties a CPU's magazine.
    ///
    /// # Safety
    ///
    /// Nobody else uses it.
    unsafe fn empty(&self, cpu: Cpu) {
        let magazine = self.magazines.of_cpu(cpu);
        let mut batch = Batch::new();
        while let Some(unit) = magazine.pop() {
            batch.push(unit);
            if batch.is_full() {
                self.take_back(&mut batch);
            }
        }
        self.take_back(&mut batch);
    }

    /// Bytes of all CPUs' magazines.
    pub(crate) fn cpu_bytes(&self) -> usize {
        let magazines = self.magazines.all();
        count(magazines).wrapping_mul(size_of::<Magazine<WORDS>>())
    }

    /// Units in use, and pages of units. Exact while nobody allocates or frees.
    pub(crate) fn usage(&self) -> UnitUsage {
        let depot = self.depot.lock();
        let (out, pages) = (depot.out.get(), depot.pages.get());
        drop(depot);
        let idle = sum(self.magazines.all().map(Magazine::len));
        UnitUsage {
            live: out.saturating_sub(idle),
            pages,
        }
    }
}

/// What [`UnitCache::usage`] counts.
pub(crate) struct UnitUsage {
    /// Units in use.
    pub(crate) live: usize,
    /// Pages of units.
    pub(crate) pages: usize,
}

#[pinned_drop]
impl<const WORDS: usize> PinnedDrop for UnitCache<WORDS> {
    fn drop(self: Pin<&mut Self>) {
        for cpu in possible_cpus() {
            // SAFETY: Nobody uses what is being dropped.
            unsafe { self.empty(cpu) };
        }
        let (usage, (owners, units)) = (self.usage(), self.names);
        if usage.live != 0 {
            // Their owners could still access them: the pages stay allocated.
            pr_err!(
                "{} {owners} were never freed; {} pages of {units} are leaked\n",
                usage.live,
                usage.pages
            );
        }
    }
}
