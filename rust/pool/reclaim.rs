// SPDX-License-Identifier: GPL-2.0

//! Reclaim: the objects of the zspage in which none was allocated for the longest time are evicted,
//! and its pages go back to the kernel.
//!
//! While the handler evicts them, one by one and with no lock of ours held, the zspage is on no
//! list: nothing is allocated in it, compaction does not see it, and nobody frees it. Its pages may
//! still migrate. Objects of it that are freed meanwhile, by the handler or by anybody, stay where
//! they are, DEAD and with the header [`Deferred`](Header::Deferred), until reclaim has ended: so
//! their handles are not used again while the handler may still be asked to evict them.
//! `Documentation/writeback.rst` has the whole protocol.

use super::{
    class::{ClassGuard, Emptied, SizeClass},
    Pool,
};
use crate::kapi::sched::cond_resched;
use crate::logic::{header::Header, word::Word};
use crate::object::{
    handle::Handle,
    lists::Isolated,
    lru::{Coldest, Lru},
    magazine::Batch,
    slot::SlotHeader,
    zspage::Zspage,
};
use core::sync::atomic::Ordering;
use kernel::prelude::*;

/// Most slots that are looked at before the class's lock is dropped, when reclaim ends.
const BUDGET: u16 = 256;

/// How often [`Pool::shrink`] tries to reclaim a zspage.
const TRIES: u32 = 8;

/// What a pool's user does to get rid of an object.
pub(crate) trait Evict {
    /// Writes the object away and frees `handle`. Called with no lock held; may sleep, and
    /// allocate, free and map objects, but not reclaim.
    ///
    /// Somebody else may free the handle before or meanwhile. It is not used for another object
    /// before this returns, so the handler can find out under a lock of its own.
    ///
    /// # Errors
    ///
    /// Any, if the object must stay: then its zspage stays too.
    fn evict(&self, handle: Handle) -> Result;
}

/// How the end of reclaim goes on.
enum Settled {
    /// There are slots left to look at, from this one on.
    Partly(Isolated<SizeClass>, u16),
    /// All objects that were freed are gone, and the zspage is an ordinary one again; or it has
    /// no objects any more.
    Wholly(Option<Emptied>),
}

impl Pool {
    /// Evicts the objects of the coldest zspage, and gives its pages back. If one must stay, the
    /// next coldest is tried, `tries` in all. Returns the pages given back. May sleep, and be
    /// called by several tasks at once.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is nothing to reclaim, because the pool is empty, all of it is under
    /// reclaim already, or it has no handler, or if `tries` is 0; `EAGAIN` if no try succeeded.
    pub(crate) fn reclaim(&'static self, handler: &impl Evict, tries: u32) -> Result<usize> {
        let lru = self.lru.as_deref().ok_or(EINVAL)?;
        for attempt in 0..tries {
            let Some(coldest) = lru.coldest() else {
                return Err(if attempt == 0 { EINVAL } else { EAGAIN });
            };
            if let Some(pages) = self.reclaim_one(lru, &coldest, handler) {
                // Relaxed: a statistic.
                self.pages_reclaimed.fetch_add(pages, Ordering::Relaxed);
                return Ok(pages);
            }
            cond_resched();
        }
        Err(if tries == 0 { EINVAL } else { EAGAIN })
    }

    /// Reclaims until `pages` pages were given back, or nothing can be. Adds the pages to
    /// `reclaimed`. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Pool::reclaim`], if it did not come to `pages`.
    pub(crate) fn shrink(
        &'static self,
        handler: &impl Evict,
        pages: usize,
        reclaimed: &mut usize,
    ) -> Result {
        while *reclaimed < pages {
            let won = self.reclaim(handler, TRIES)?;
            *reclaimed = reclaimed.wrapping_add(won);
        }
        Ok(())
    }

    /// Pages that reclaim has given back so far. Any context.
    pub(crate) fn pages_reclaimed(&self) -> usize {
        self.pages_reclaimed.load(Ordering::Relaxed)
    }

    /// Zspages that reclaim has put back so far. Any context.
    pub(crate) fn reclaims_refused(&self) -> usize {
        self.reclaims_refused.load(Ordering::Relaxed)
    }

    /// Evicts all objects of a zspage. Returns the pages given back, or nothing if it has to stay.
    fn reclaim_one(
        &'static self,
        lru: &Lru<SizeClass>,
        coldest: &Coldest<SizeClass>,
        handler: &impl Evict,
    ) -> Option<usize> {
        let mut classes = self.classes().iter();
        let class = classes.find(|class| coldest.belonged_to(class))?;
        let isolated = class.lock().lists.isolate(lru, coldest)?;
        Self::evict_objects(class, &isolated, handler);
        match self.settle(class, isolated) {
            Some(emptied) => Some(self.dispose(emptied)),
            None => {
                // Relaxed: a statistic.
                self.reclaims_refused.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    /// Asks the handler to evict one object after the other, until one has to stay.
    fn evict_objects(class: &SizeClass, isolated: &Isolated<SizeClass>, handler: &impl Evict) {
        let mut last = None;
        loop {
            last = class.lock().next_to_evict(isolated, last);
            match last {
                Some((_, handle)) if handler.evict(handle).is_ok() => (),
                _ => return,
            }
        }
    }

    /// Ends reclaim of a zspage: frees the objects whose free was deferred. Returns the zspage if
    /// none is left.
    fn settle(&self, class: &SizeClass, isolated: Isolated<SizeClass>) -> Option<Emptied> {
        let mut rest = (isolated, 0);
        loop {
            let mut words = Batch::new();
            let settled = class.lock().settle(rest.0, rest.1, &mut words);
            self.shared.words.stock(&mut words);
            match settled {
                Settled::Partly(isolated, from) => rest = (isolated, from),
                Settled::Wholly(emptied) => return emptied,
            }
            cond_resched();
        }
    }
}

impl ClassGuard<'_> {
    /// Notes that an object of a zspage under reclaim is freed. Its header keeps its handle: the
    /// object may have to be found through it, by page migration and by [`Self::settle`].
    #[cold]
    pub(super) fn defer_free(
        zspage: &Zspage<SizeClass>,
        header: SlotHeader<'_>,
        handle: Handle,
        word: Word,
    ) {
        header.set(Header::Deferred(handle.addr()));
        handle.store(word.with_dead());
        zspage.note_freed();
    }

    /// The first object after `last`, the one that the handler has just evicted, with where its
    /// slot starts. None if nothing is left, or has to stay: an object is in use, or was not freed
    /// although the handler said so.
    fn next_to_evict(
        &self,
        isolated: &Isolated<SizeClass>,
        last: Option<(u16, Handle)>,
    ) -> Option<(u16, Handle)> {
        let geometry = self.class.geometry();
        let zspage = self.lists.isolated(isolated);
        let mut from = 0;
        if let Some((start, handle)) = last {
            let slot = zspage.slot(geometry, start);
            if slot.header().is(Header::Allocated(handle.addr())) {
                return None;
            }
            from = start.wrapping_add(geometry.step);
        }
        let mut objects = zspage.objects(geometry, from..geometry.end());
        let object = objects.find(|object| !object.is_deferred())?;
        (!object.handle.is_locked()).then_some((object.start, object.handle))
    }

    /// Frees the objects whose free was deferred, from slot `from` on, at most as many as there is
    /// room for in `words`. Puts the zspage back when none is left.
    fn settle(&self, isolated: Isolated<SizeClass>, from: u16, words: &mut Batch<1>) -> Settled {
        let geometry = self.class.geometry();
        let zspage = self.lists.isolated(&isolated);
        if from == 0 {
            // What was marked until now will be met.
            zspage.take_freed();
        }
        let some = BUDGET.saturating_mul(geometry.step);
        let mut end = from.saturating_add(some).min(geometry.end());
        for object in zspage.objects(geometry, from..end) {
            if words.is_full() {
                end = object.start;
                break;
            }
            if object.is_deferred() {
                let word = self.release(zspage, object.header, object.start, object.handle);
                words.push(word);
            }
        }
        if end < geometry.end() {
            return Settled::Partly(isolated, end);
        }
        if zspage.take_freed() {
            return Settled::Partly(isolated, 0);
        }
        let zspage = self.lists.restore(isolated, geometry);
        if zspage.slots().is_empty() {
            return Settled::Wholly(Some(self.remove(zspage)));
        }
        if let Some(lru) = &self.class.lru {
            lru.touch(zspage);
        }
        Settled::Wholly(None)
    }
}
