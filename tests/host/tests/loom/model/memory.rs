// SPDX-License-Identifier: GPL-2.0

//! Physical memory: frames of cells that loom watches.

use super::hold::References;
use loom::{
    cell::UnsafeCell,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};
use zsmalloc_logic_tests::logic::{
    header::Header,
    word::{Word, ADDR_ALIGN},
};

/// Page size of the model, as a shift: 64 bytes.
pub(crate) const PAGE_SHIFT: u32 = 6;
/// Unit of memory in bytes: what a handle word can address.
pub(crate) const GRANULE: usize = 16;
const _: () = assert!(GRANULE as u64 == ADDR_ALIGN);
/// Granules in a page.
pub(crate) const GRANULES: usize = (1 << PAGE_SHIFT) / GRANULE;
/// What freed memory holds. No header has this tag.
const POISON: u64 = 0xdead_beef;
/// No frame, no zspage.
pub(crate) const NONE: usize = usize::MAX;

/// Plain memory. Loom fails if two accesses, one of them a write, are not ordered by something.
pub(crate) struct Cell<T>(UnsafeCell<T>);

// SAFETY: Loom runs one thread at a time and stops at accesses that would race.
unsafe impl<T: Copy + Send> Sync for Cell<T> {}

impl<T: Copy> Cell<T> {
    /// Memory with a value.
    fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Reads it.
    #[track_caller]
    pub(crate) fn get(&self) -> T {
        // SAFETY: `with` has checked that no write races with this read.
        self.0.with(|value| unsafe { *value })
    }

    /// Writes it.
    #[track_caller]
    pub(crate) fn set(&self, new: T) {
        // SAFETY: `with_mut` has checked that no access races with this write.
        self.0.with_mut(|value| unsafe { *value = new });
    }
}

/// A handle word.
///
/// Every access takes a turn first. Loom remembers only the last access to an atomic, and so takes
/// a load of one thread for the end of what an earlier load of another one could conflict with: a
/// load and a compare-exchange in one thread hide interleavings with loads in others. Turns are
/// read-modify-writes, which all conflict. They are relaxed: they order nothing.
pub(crate) struct HandleWord {
    /// The word.
    value: AtomicU64,
    /// Counts accesses.
    turn: AtomicU64,
}

impl HandleWord {
    /// The word of no object.
    pub(crate) fn new() -> Self {
        Self {
            value: AtomicU64::new(Word::dead(0).to_raw()),
            turn: AtomicU64::new(0),
        }
    }

    /// Reads it.
    pub(crate) fn load(&self, ordering: Ordering) -> Word {
        self.turn.fetch_add(1, Ordering::Relaxed);
        Word::from_raw(self.value.load(ordering))
    }

    /// Writes it.
    pub(crate) fn store(&self, word: Word, ordering: Ordering) {
        self.turn.fetch_add(1, Ordering::Relaxed);
        self.value.store(word.to_raw(), ordering);
    }

    /// Writes it if it holds what is expected.
    pub(crate) fn replace(&self, expected: Word, word: Word, ordering: Ordering) -> bool {
        self.turn.fetch_add(1, Ordering::Relaxed);
        let (from, to) = (expected.to_raw(), word.to_raw());
        self.value
            .compare_exchange(from, to, ordering, Ordering::Relaxed)
            .is_ok()
    }
}

/// A page frame: its memory, and what `struct page` says about it.
pub(crate) struct Frame {
    /// PG_locked. A bit that is set and cleared by read-modify-writes, as in the kernel. (Loom's
    /// `Mutex::try_lock` reports deadlocks that are none.)
    locked: AtomicBool,
    /// Who has references to it.
    pub(crate) references: References,
    /// The core may move it. Written by who holds the page, read under the page lock.
    pub(crate) movable: Cell<bool>,
    /// The next page of the chain.
    pub(crate) next: Cell<usize>,
    /// The zspage it belongs to.
    pub(crate) zspage: Cell<usize>,
    /// Headers of the slots that begin here. Guarded by the class lock.
    headers: [Cell<u64>; GRANULES],
    /// Contents. Guarded by the word lock of the object there.
    data: [Cell<u64>; GRANULES],
}

/// The lock of a page, held.
#[must_use]
pub(crate) struct PageLock<'m>(&'m AtomicBool);

impl Drop for PageLock<'_> {
    fn drop(&mut self) {
        // A thread that fails must not be switched away from.
        if !std::thread::panicking() {
            self.0.swap(false, Ordering::Release);
        }
    }
}

impl Frame {
    /// A frame that holds poison.
    pub(crate) fn new() -> Self {
        Self {
            locked: AtomicBool::new(false),
            references: References::none(),
            movable: Cell::new(false),
            next: Cell::new(NONE),
            zspage: Cell::new(NONE),
            headers: [(); GRANULES].map(|()| Cell::new(POISON)),
            data: [(); GRANULES].map(|()| Cell::new(POISON)),
        }
    }

    /// Takes the page's lock if nobody has it.
    pub(crate) fn try_lock(&self) -> Option<PageLock<'_>> {
        let was_locked = self.locked.swap(true, Ordering::Acquire);
        (!was_locked).then(|| PageLock(&self.locked))
    }

    /// Waits for the page's lock.
    pub(crate) fn lock(&self) -> PageLock<'_> {
        loop {
            if let Some(lock) = self.try_lock() {
                return lock;
            }
            thread::yield_now();
        }
    }

    /// Waits until nobody has the page's lock, without taking it.
    pub(crate) fn wait_unlocked(&self) {
        while self.is_locked() {
            thread::yield_now();
        }
    }

    /// Somebody has the page's lock. A read-modify-write: see [`HandleWord`].
    pub(crate) fn is_locked(&self) -> bool {
        self.locked.fetch_or(false, Ordering::Acquire)
    }

    /// The header at a granule.
    pub(crate) fn header(&self, granule: usize) -> Header {
        let raw = self.headers[granule].get();
        Header::from_raw(raw).unwrap_or_else(|| panic!("{raw:#x} was never written as a header"))
    }

    /// Writes the header at a granule.
    pub(crate) fn set_header(&self, granule: usize, header: Header) {
        self.headers[granule].set(header.to_raw());
    }

    /// The contents of a granule.
    pub(crate) fn data(&self, granule: usize) -> &Cell<u64> {
        &self.data[granule]
    }

    /// Copies a whole page, as migration does.
    pub(crate) fn copy_from(&self, old: &Self) {
        for granule in 0..GRANULES {
            self.headers[granule].set(old.headers[granule].get());
            self.data[granule].set(old.data[granule].get());
        }
    }

    /// Makes sure that nobody reads the page any more: whoever does, races or finds poison.
    pub(crate) fn poison(&self) {
        self.next.set(NONE);
        for granule in 0..GRANULES {
            self.headers[granule].set(POISON);
            self.data[granule].set(POISON);
        }
    }
}
