// SPDX-License-Identifier: GPL-2.0

//! What all pools of the module share: handle words, descriptors of zspages, bounce buffers, the
//! class table, counters.

use crate::kapi::{cpuhp::GoneCpu, cpumask::Cpu, percpu::PerCpu, sched::PreemptGuard};
use crate::logic::{
    conv::usize_to_isize,
    size_class::{ClassTable, MAX_CHAIN, MIN_CHAIN},
};
use crate::object::{bounce::BounceBuffers, words::WordCache, zspage::ZspageCache};
use crate::zpdesc_rs::{PAGE_SHIFT, PAGE_SIZE};
use core::sync::atomic::{AtomicIsize, Ordering};
use kernel::prelude::*;

/// What all pools share.
#[pin_data]
pub(crate) struct Shared {
    /// Sizes to classes.
    classes: KBox<ClassTable>,
    /// Handle words.
    #[pin]
    pub(super) words: WordCache,
    /// Descriptors of zspages.
    #[pin]
    pub(super) zspages: ZspageCache,
    /// Buffers for mapping split objects.
    pub(super) buffers: BounceBuffers,
    /// Counters of each CPU; only their sums mean something.
    counters: PerCpu<Counters>,
}

/// Differences that one CPU has made.
struct Counters {
    /// Pools.
    pools: AtomicIsize,
    /// Pages of zspages.
    pages: AtomicIsize,
    /// Pages allocated physically adjacent to the one before in their zspage.
    adjacent: AtomicIsize,
    /// Pages allocated apart from it.
    apart: AtomicIsize,
}

/// What the module holds, over all pools. Exact while nothing is going on.
pub(crate) struct Usage {
    /// Pools.
    pub(crate) pools: isize,
    /// Zspages.
    pub(crate) zspages: usize,
    /// Pages in which zspages are described.
    pub(crate) zspage_pages: usize,
    /// Pages of zspages.
    pub(crate) pages: isize,
    /// Handle words that belong to objects.
    pub(crate) words: usize,
    /// Pages of handle words.
    pub(crate) word_pages: usize,
    /// Bytes that all of this takes beside the pages of zspages: what zspages and objects are
    /// known by, and what there is for each CPU.
    pub(crate) metadata: usize,
    /// Pages that were allocated physically adjacent to the one before in their zspage, since the
    /// module was loaded: objects over both are mapped in place.
    pub(crate) adjacent: isize,
    /// Pages that were not: objects over both need a buffer.
    pub(crate) apart: isize,
    /// Objects that were mapped through a buffer, since the module was loaded.
    pub(crate) bounced: usize,
}

impl Shared {
    /// Sets up for chains of at most `chain` pages. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `chain` is out of range, `ENOMEM`.
    pub(crate) fn new(chain: u32) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            classes: {
                let mut table = KBox::write(KBox::new_uninit(GFP_KERNEL)?, ClassTable::EMPTY);
                table.set_up(PAGE_SHIFT, chain).ok_or_else(|| {
                    pr_err!(
                        "chain={} is out of range: give {} to {} pages\n",
                        chain,
                        MIN_CHAIN,
                        MAX_CHAIN
                    );
                    EINVAL
                })?;
                table
            },
            words <- WordCache::new(("objects", "handle words")),
            zspages <- ZspageCache::new(("zspages", "their descriptors")),
            buffers: BounceBuffers::new()?,
            counters: PerCpu::new(|| Counters {
                pools: AtomicIsize::new(0),
                pages: AtomicIsize::new(0),
                adjacent: AtomicIsize::new(0),
                apart: AtomicIsize::new(0),
            })?,
        })
    }

    /// The size classes.
    #[inline(always)]
    pub(crate) fn classes(&self) -> &ClassTable {
        &self.classes
    }

    /// Prepares for a CPU that is about to come online. May sleep.
    pub(crate) fn cpu_prepare(&self, cpu: Cpu) -> Result {
        self.buffers.prepare(cpu)
    }

    /// Takes back what a CPU that is gone has left. May sleep.
    pub(crate) fn cpu_dead(&self, cpu: &GoneCpu) {
        self.buffers.dead(cpu);
        self.words.drain(cpu);
        self.zspages.drain(cpu);
    }

    /// Records pools that came or went.
    pub(super) fn pools_changed(&self, pools: isize) {
        let guard = PreemptGuard::new();
        add_on_this_cpu(&self.counters.this_cpu(&guard).pools, pools);
    }

    /// Records pages that came or went.
    pub(super) fn pages_changed(&self, pages: isize) {
        let guard = PreemptGuard::new();
        add_on_this_cpu(&self.counters.this_cpu(&guard).pages, pages);
    }

    /// Records how the pages of a new zspage lie.
    pub(super) fn pages_chained(&self, adjacent: usize, apart: usize) {
        let guard = PreemptGuard::new();
        let counters = self.counters.this_cpu(&guard);
        add_on_this_cpu(&counters.adjacent, usize_to_isize(adjacent));
        add_on_this_cpu(&counters.apart, usize_to_isize(apart));
    }

    /// Adds up what the module holds.
    pub(crate) fn usage(&self) -> Usage {
        let (words, zspages) = (&self.words, &self.zspages);
        let cpu_bytes = words.cpu_bytes().wrapping_add(zspages.cpu_bytes());
        let (words, zspages) = (words.usage(), zspages.usage());
        let pages = words.pages.wrapping_add(zspages.pages);
        Usage {
            pools: self.sum(|counters| &counters.pools),
            zspages: zspages.live,
            zspage_pages: zspages.pages,
            pages: self.sum(|counters| &counters.pages),
            words: words.live,
            word_pages: words.pages,
            metadata: pages
                .wrapping_mul(PAGE_SIZE)
                .wrapping_add(self.buffers.bytes())
                .wrapping_add(cpu_bytes),
            adjacent: self.sum(|counters| &counters.adjacent),
            apart: self.sum(|counters| &counters.apart),
            bounced: self.buffers.used(),
        }
    }

    /// Adds up one counter of all CPUs.
    fn sum(&self, counter: impl Fn(&Counters) -> &AtomicIsize) -> isize {
        let all = self.counters.all();
        all.map(|counters| counter(counters).load(Ordering::Relaxed))
            .fold(0, isize::wrapping_add)
    }
}

/// Adds to a counter that only this CPU changes: no atomic operation is needed.
#[inline(always)]
fn add_on_this_cpu(counter: &AtomicIsize, by: isize) {
    let value = counter.load(Ordering::Relaxed).wrapping_add(by);
    counter.store(value, Ordering::Relaxed);
}
