// SPDX-License-Identifier: GPL-2.0

//! The rules that a broken variant of the model does not keep.

/// A fault: one rule of `Documentation/locking.rst` that is broken on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// W2: unmap stores without Release.
    UnmapRelaxed,
    /// W2: map compares and exchanges without Acquire.
    MapRelaxed,
    /// W2: map does not look at LOCK.
    MapWithoutLock,
    /// Pairs: a mover's trylock without Acquire.
    TrylockRelaxed,
    /// Pairs: a mover stores the new word without Release.
    MoveRelaxed,
    /// M1: a mover does not lock the words.
    MoveWithoutLock,
    /// M1: a mover stores the new words before it has copied.
    MoveStoresWordsFirst,
    /// M1: a mover drops the class lock while it still has words locked.
    MoveDropsClassLockFirst,
    /// M3: migration overlooks the object begun on the page before.
    MoveMissesBegunBefore,
    /// M3: after a trylock that failed, migration unlocks that word as well.
    MoveUnlocksAll,
    /// M4: migration does not recompute SPLIT.
    MoveKeepsSplit,
    /// M4: migration writes every link of the chain, as C does.
    MoveRewritesLinks,
    /// M5: compaction does not pass over zspages with objects in use, but gives up.
    CompactGivesUp,
    /// M5: compaction goes on with the zspages it had before it dropped the class lock.
    CompactKeepsZspages,
    /// M4, L1: our reference to the new page is taken once others find the page.
    MoveGetsLate,
    /// S1: shortening does not hold the pages that it cuts off.
    ShortenHoldsNoPages,
    /// S2: malloc appends its page without a look at how long the zspage is by now.
    LengthenUnchecked,
    /// P1: promotion takes the slot without the lock of the class of larger slots.
    PromoteWithoutTheirLock,
    /// P1: promotion takes the object without the lock of its own class.
    PromoteWithoutOwnLock,
    /// P1: promotion does not lock the word.
    PromoteWithoutLock,
    /// P1: promotion drops the lock of the class of larger slots as soon as it has a slot there.
    PromoteDropsTheirLock,
    /// P1: promotion takes objects of a zspage under reclaim.
    PromoteTakesReclaimed,
    /// P2: free does not look whether the object is in another class by now.
    FreeKeepsClass,
    /// P2: free looks at LOCK before it looks whether the object is in another class by now.
    FreeBlamesFirst,
    /// R4, N1: a mover writes a live word for a spare, or where the free was deferred.
    MoveRevives,
    /// N1: malloc makes a spare an object without the class lock.
    SpareTakenLate,
    /// N2: free leaves zspages to spares alone.
    SparesAlone,
    /// N3: objects leave a zspage while there are spares.
    MoveBesideSpares,
    /// F1: free goes by what it read before it had the class lock.
    FreeUsesFirstRead,
    /// F1: free does not Acquire what it reads under the class lock.
    FreeReadsRelaxed,
    /// F1: free looks at LOCK before it has the class lock.
    FreeChecksLockEarly,
    /// F1: free does not look at LOCK.
    FreeIgnoresLock,
    /// F3: the pages of an empty zspage are freed by somebody who does not hold them.
    FreeHoldsNoPages,
    /// F3: an empty zspage whose pages cannot be held is left to nobody.
    FreeKicksNobody,
    /// F4: the worker waits for a page and does not look again which pages the zspage has.
    WorkerKeepsPages,
    /// L1: a page is frozen whatever references others have.
    FreezeAnyway,
    /// Pairs: a page is frozen without Acquire.
    FreezeRelaxed,
    /// Pairs: a frozen page gets our reference back without Release.
    UnfreezeRelaxed,
    /// L2: a page is let go of before it is unmovable.
    RetireLetsGoFirst,
    /// L3: pages are set movable by somebody who does not hold them.
    NewPagesNotHeld,
    /// R1: reclaim does not look again at what it picked without the class lock.
    PickUnchecked,
    /// R1: malloc uses a zspage under reclaim.
    MallocTakesReclaimed,
    /// R2: reclaim goes on where a page was when it dropped the class lock.
    ReclaimKeepsPage,
    /// R4: free does not look whether the zspage is under reclaim.
    FreeIgnoresReclaim,
    /// R4: a deferred free overwrites the handle in the header by a link.
    DeferOverwritesHandle,
    /// R4: a deferred free gives the word back at once.
    DeferReturnsWord,
    /// R7: map moves the zspage to the front of the LRU (CVE-2023-54165).
    MapTouchesLru,
}
