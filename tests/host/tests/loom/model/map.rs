// SPDX-License-Identifier: GPL-2.0

//! Mapping: W1 to W3.

use super::{
    fault::Fault,
    memory::{GRANULE, GRANULES},
    pool::{Handle, Pool},
};
use loom::{sync::atomic::Ordering, thread};
use zsmalloc_logic_tests::logic::word::Word;

/// A mapped object.
#[must_use]
pub(crate) struct Mapped<'p> {
    /// Its pool.
    pool: &'p Pool,
    /// Its handle.
    handle: Handle,
    /// Frame and granule of each part of its contents.
    parts: Vec<(usize, usize)>,
}

impl Pool {
    /// Maps an object. `None` if its handle is dead.
    pub(crate) fn map(&self, handle: Handle) -> Option<Mapped<'_>> {
        let word = self.lock_word(handle)?;
        if self.breaks(Fault::MapTouchesLru) {
            let frame = usize::try_from(word.phys()).unwrap() / (GRANULE * GRANULES);
            let zspage = self.frames[frame].zspage.get();
            self.lru_touch(zspage);
        }
        let parts = self.parts(word);
        Some(Mapped {
            pool: self,
            handle,
            parts,
        })
    }

    /// W2: takes LOCK, waiting for whoever has it.
    fn lock_word(&self, handle: Handle) -> Option<Word> {
        let acquire = self.ordering(Ordering::Acquire, Fault::MapRelaxed);
        loop {
            let word = self.load(handle).unlocked();
            if word.is_dead() {
                return None;
            }
            if self.breaks(Fault::MapWithoutLock) {
                return Some(word);
            }
            if self.words[handle.0].replace(word, word.locked(), acquire) {
                return Some(word);
            }
            thread::yield_now();
        }
    }

    /// W3: where the contents are, going by SPLIT alone.
    fn parts(&self, word: Word) -> Vec<(usize, usize)> {
        let start = usize::try_from(word.phys()).unwrap() / GRANULE;
        let count = self.geometry.size as usize / GRANULE;
        let direct = |granule: usize| (granule / GRANULES, granule % GRANULES);
        if !word.is_split() {
            return (start..start + count).map(direct).collect();
        }
        let (frame, first) = direct(start);
        let next = self.frames[frame].next.get();
        let head = (first..GRANULES).map(|granule| (frame, granule));
        let tail = (0..count + first - GRANULES).map(|granule| (next, granule));
        head.chain(tail).collect()
    }
}

impl Mapped<'_> {
    /// The contents: the same number in all parts, unless they are torn.
    pub(crate) fn read(&self) -> u64 {
        let read =
            |(frame, granule): &(usize, usize)| self.pool.frames[*frame].data(*granule).get();
        let values: Vec<u64> = self.parts.iter().map(read).collect();
        assert!(
            values.iter().all(|value| *value == values[0]),
            "contents are torn: {values:?}"
        );
        values[0]
    }

    /// Writes the contents.
    pub(crate) fn write(&self, value: u64) {
        for (frame, granule) in &self.parts {
            self.pool.frames[*frame].data(*granule).set(value);
        }
    }

    /// W2: ends the mapping by one store.
    pub(crate) fn unmap(self) {
        let word = self.pool.load(self.handle);
        if !word.is_locked() {
            self.pool.warn();
            return;
        }
        let release = self.pool.ordering(Ordering::Release, Fault::UnmapRelaxed);
        self.pool.store(self.handle, word.unlocked(), release);
    }
}
