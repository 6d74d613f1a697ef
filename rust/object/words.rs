// SPDX-License-Identifier: GPL-2.0

//! Where handle words live: pages of our own, shared by all pools of the module.
//!
//! Each CPU has a magazine of free words, so that allocating and freeing one takes no lock and no
//! atomic operation. Magazines are refilled from and spilled to the depot, a batch at a time. A
//! page all of whose words are back in the depot goes back to the kernel.
//!
//! A word that belongs to no object is DEAD and stays a word, so a stale handle is recognised.
//! Nothing here is called under a class's lock.

use super::{
    handle::Handle,
    list::{List, Listed, Place},
    magazine::{Batch, Magazine},
};
use crate::kapi::{
    conv::{addr_of, ptr_at},
    gfp::Gfp,
    page_alloc,
    percpu::PerCpu,
    sched::PreemptGuard,
    spinlock::{new_spinlock, SpinLock},
};
use crate::logic::{conv::u64_to_usize, conv::usize_to_u64, word::Word};
use crate::zpdesc_rs::PAGE_SIZE;
use core::{
    cell::Cell,
    mem::size_of,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};
use kernel::prelude::*;

/// Words in a page, after its own header.
const WORDS: usize = PAGE_SIZE / size_of::<AtomicU64>() - HEADER_WORDS;
/// Size of a page's header in words.
const HEADER_WORDS: usize = 4;
/// The end of a page's free list.
const END: usize = WORDS;

/// A word that belongs to no object: its owner may make it an object's handle.
///
/// It must be given back to [`WordCache::free`]; dropping it would leak the word.
#[must_use]
pub(crate) struct FreeWord(pub(super) Handle);

impl FreeWord {
    /// Takes a word back from an object that is no more. The caller was the object's only user.
    #[inline(always)]
    pub(crate) fn retire(handle: Handle) -> Self {
        handle.store(Word::dead(0));
        Self(handle)
    }

    /// The handle that the word will be.
    #[inline(always)]
    pub(crate) fn handle(&self) -> Handle {
        self.0
    }

    /// Makes the word an object's, at the place that `word` says.
    #[inline(always)]
    pub(crate) fn publish(self, word: Word) -> Handle {
        self.0.store(word);
        self.0
    }
}

/// A page of words.
///
/// # Invariants
///
/// Free words below `bump` are linked from `head` by index, through their payloads; words at
/// `bump` and above were never used. All fields are guarded by the depot's lock.
#[repr(C)]
struct WordPage {
    /// Its place on the depot's list of pages with free words.
    place: Place<WordPage>,
    /// First free word, [`END`] if there is none below `bump`.
    head: Cell<u32>,
    /// First word that was never used.
    bump: Cell<u32>,
    /// Words that are out: in magazines or objects.
    out: Cell<usize>,
    /// The words.
    words: [AtomicU64; WORDS],
}
const _: () = assert!(size_of::<WordPage>() == PAGE_SIZE);

impl Listed for WordPage {
    fn place(&self) -> &Place<Self> {
        &self.place
    }
}

impl WordPage {
    /// Makes a fresh page a page of words, none of which was ever used.
    fn format(page: NonNull<u8>) -> NonNull<Self> {
        let page = page.cast::<Self>();
        // SAFETY: A page has the size of a `WordPage`; cells and atomics may be all zero.
        unsafe { page.as_ptr().cast::<u8>().write_bytes(0, PAGE_SIZE) };
        // SAFETY: Just initialised, and not shared yet.
        unsafe { page.as_ref() }.head.set(to_u32(END));
        page
    }

    /// The page that a word lies in.
    fn of(handle: &Handle) -> &Self {
        let page = ptr_at::<Self>(handle.addr() & !(PAGE_SIZE - 1));
        // SAFETY: Words lie in pages of words, which live while one of their words is out.
        unsafe { &*page }
    }

    /// Moves free words into `batch`, as many as it has room for.
    fn pop_into(&self, batch: &mut Batch) {
        let before = batch.len();
        let mut head = to_usize(self.head.get());
        while !batch.is_full() {
            let Some(word) = self.words.get(head) else {
                break;
            };
            head = u64_to_usize(Word::from_raw(word.load(Ordering::Relaxed)).payload());
            batch.push(Self::free_word(word));
        }
        self.head.set(to_u32(head));
        let bump = to_usize(self.bump.get());
        let fresh = self.words.get(bump..).unwrap_or(&[]);
        let taken = batch.extend(fresh.iter().map(|word| {
            word.store(Word::dead(0).to_raw(), Ordering::Relaxed);
            Self::free_word(word)
        }));
        self.bump.set(to_u32(bump.wrapping_add(taken)));
        let out = batch.len().wrapping_sub(before);
        self.out.set(self.out.get().wrapping_add(out));
    }

    /// A word of a page, which is free.
    #[inline(always)]
    fn free_word(word: &AtomicU64) -> FreeWord {
        // SAFETY: It lies in a page of words, which lives while the word is out.
        FreeWord(unsafe { Handle::from_ptr(NonNull::from(word)) })
    }

    /// Puts a word of this page back.
    fn push(&self, word: FreeWord) {
        let base: *const AtomicU64 = self.words.as_ptr();
        let index = word.0.addr().wrapping_sub(addr_of(base)) / size_of::<AtomicU64>();
        let link = usize_to_u64(to_usize(self.head.get()));
        word.0.store(Word::dead(link));
        self.head.set(to_u32(index));
        self.out.set(self.out.get().wrapping_sub(1));
    }

    /// All words are out.
    fn is_full(&self) -> bool {
        self.out.get() == WORDS
    }
}

/// Narrows an index of a word.
fn to_u32(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// Widens an index of a word.
fn to_usize(index: u32) -> usize {
    crate::logic::conv::u32_to_usize(index)
}

/// The words that are in no magazine.
struct Depot {
    /// Pages with free words; the one that a word came back to last is first.
    partial: List<WordPage>,
    /// All pages of words.
    pages: Cell<usize>,
    /// Words that are out of the depot: in magazines or objects.
    out: Cell<usize>,
}

// SAFETY: The pages on its list are its own.
unsafe impl Send for Depot {}

impl Depot {
    /// Moves words into `batch` until it is full.
    fn fill(&self, batch: &mut Batch) {
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
    fn add(&self, page: NonNull<WordPage>) {
        // SAFETY: The caller has just formatted it.
        self.partial.push_front(unsafe { page.as_ref() });
        self.pages.set(self.pages.get().wrapping_add(1));
    }

    /// Takes words back; pages that are free now go to `empty`.
    fn take_back(&self, batch: &mut Batch, empty: &List<WordPage>) {
        while let Some(word) = batch.pop() {
            let handle = word.handle();
            let page = WordPage::of(&handle);
            if page.is_full() {
                self.partial.push_front(page);
            }
            page.push(word);
            self.out.set(self.out.get().wrapping_sub(1));
            if page.out.get() == 0 {
                self.partial.remove(page);
                empty.push_front(page);
                self.pages.set(self.pages.get().wrapping_sub(1));
            }
        }
    }
}

/// All handle words of the module.
#[pin_data(PinnedDrop)]
pub(crate) struct WordCache {
    /// Free words of each CPU.
    magazines: PerCpu<Magazine>,
    /// The rest.
    #[pin]
    depot: SpinLock<Depot>,
}

impl WordCache {
    /// No words yet. May sleep.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            magazines: PerCpu::new(Magazine::new)?,
            depot <- new_spinlock!(
                Depot { partial: List::new(), pages: Cell::new(0), out: Cell::new(0) },
                "zsmalloc_rs::depot"
            ),
        })
    }

    /// Allocates a word. Sleeps only if `gfp` allows it.
    #[inline(always)]
    pub(crate) fn alloc(&self, gfp: Gfp) -> Option<FreeWord> {
        let guard = PreemptGuard::new();
        let word = self.magazines.this_cpu(&guard).pop();
        drop(guard);
        match word {
            Some(word) => Some(word),
            None => self.refill(gfp),
        }
    }

    /// Frees a word. Does not sleep.
    #[inline(always)]
    pub(crate) fn free(&self, word: FreeWord) {
        let guard = PreemptGuard::new();
        let pushed = self.magazines.this_cpu(&guard).push(word);
        drop(guard);
        if let Err(word) = pushed {
            self.spill(word);
        }
    }

    /// Gets a batch of words from the depot, one for the caller.
    #[cold]
    fn refill(&self, gfp: Gfp) -> Option<FreeWord> {
        let mut batch = Batch::new();
        self.depot.lock().fill(&mut batch);
        if batch.is_empty() {
            let page = WordPage::format(page_alloc::get(gfp)?);
            let depot = self.depot.lock();
            depot.add(page);
            depot.fill(&mut batch);
        }
        let word = batch.pop();
        self.stock(&mut batch);
        word
    }

    /// Puts a batch into this CPU's magazine, and what does not fit back into the depot. Does not
    /// sleep.
    pub(crate) fn stock(&self, batch: &mut Batch) {
        let guard = PreemptGuard::new();
        self.magazines.this_cpu(&guard).push_from(batch);
        drop(guard);
        // Another task may have filled the magazine meanwhile.
        self.take_back(batch);
    }

    /// Makes room in this CPU's magazine by giving a batch, `word` among it, to the depot.
    #[cold]
    fn spill(&self, word: FreeWord) {
        let mut batch = Batch::new();
        batch.push(word);
        let guard = PreemptGuard::new();
        let magazine = self.magazines.this_cpu(&guard);
        while !batch.is_full() {
            let Some(word) = magazine.pop() else {
                break;
            };
            batch.push(word);
        }
        drop(guard);
        self.take_back(&mut batch);
    }

    /// Gives words to the depot and free pages to the kernel.
    fn take_back(&self, batch: &mut Batch) {
        if batch.is_empty() {
            return;
        }
        let empty = List::new();
        self.depot.lock().take_back(batch, &empty);
        while let Some(page) = empty.pop_front() {
            // SAFETY: From `page_alloc::get`, and none of its words is out.
            unsafe { page_alloc::put(page.cast()) };
        }
    }

    /// Empties the magazine of a CPU that is gone, or of any CPU when nobody uses the cache.
    pub(crate) fn drain(&self, cpu: crate::kapi::cpumask::Cpu) {
        let magazine = self.magazines.of_cpu(cpu);
        let mut batch = Batch::new();
        while let Some(word) = magazine.pop() {
            batch.push(word);
            if batch.is_full() {
                self.take_back(&mut batch);
            }
        }
        self.take_back(&mut batch);
    }

    /// Bytes of all CPUs' magazines.
    pub(crate) fn cpu_bytes(&self) -> usize {
        self.magazines.all().map(|_| size_of::<Magazine>()).sum()
    }

    /// Words that belong to objects, and pages of words. Exact while nobody allocates or frees.
    pub(crate) fn usage(&self) -> WordUsage {
        let depot = self.depot.lock();
        let (out, pages) = (depot.out.get(), depot.pages.get());
        drop(depot);
        let idle: usize = self.magazines.all().map(Magazine::len).sum();
        WordUsage {
            live: out.saturating_sub(idle),
            pages,
        }
    }
}

/// What [`WordCache::usage`] counts.
pub(crate) struct WordUsage {
    /// Words that belong to objects.
    pub(crate) live: usize,
    /// Pages of words.
    pub(crate) pages: usize,
}

#[pinned_drop]
impl PinnedDrop for WordCache {
    fn drop(self: Pin<&mut Self>) {
        for cpu in crate::kapi::cpumask::possible_cpus() {
            self.drain(cpu);
        }
        let usage = self.usage();
        if usage.live != 0 {
            // Their owners could still write through them: the pages stay allocated.
            pr_err!(
                "{} objects were never freed; {} pages of handle words are leaked\n",
                usage.live,
                usage.pages
            );
        }
    }
}
