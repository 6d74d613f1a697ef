// SPDX-License-Identifier: GPL-2.0

//! Freeing objects, by right and by mistake, and the pages of empty zspages: F1 to F4, L1, L2.

use super::{holds, holds_bounded, object, rejects, start, Fault, Pool, Seen};
use crate::model::{
    free::Freed,
    pool::{Handle, Shape},
};
use loom::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// A user's bug: an object is freed while it is mapped, and its slot wanted for another one.
fn free_of_a_mapped_object(fault: Option<Fault>, seen: &Seen) {
    let pool = Pool::new(Shape::Page, &[0, 1], 2, fault).shared();
    let handle = object(&pool, 1);
    let is_mapped = Arc::new(AtomicBool::new(false));
    let flag = is_mapped.clone();
    let mapper = start(&pool, move |pool| {
        let mapped = pool.map(handle).expect("the object is not freed yet");
        flag.store(true, Ordering::Release);
        assert_eq!(mapped.read(), 1);
        mapped.write(2);
        mapped.unmap();
    });
    let mut left = vec![(handle, 2)];
    if is_mapped.load(Ordering::Acquire) {
        let freed = pool.free(handle);
        seen.note(freed);
        if freed == Freed::Free {
            left.clear();
        }
        left.push((object(&pool, 3), 3));
        assert_eq!(pool.warnings(), usize::from(freed == Freed::Refused));
    }
    mapper.join().unwrap();
    pool.audit_state(&left);
}

#[test]
fn a_mapped_object_is_not_freed() {
    holds(free_of_a_mapped_object, &["Refused", "Free"]);
}

rejects! { free_of_a_mapped_object:
    free_must_look_at_lock(FreeIgnoresLock) => "Causality violation",
    free_must_acquire(FreeReadsRelaxed) => "Causality violation",
}

/// A user's bug that is not caught: an object is mapped while it is being freed. The mapper takes
/// LOCK after free has looked at it and before free has stored DEAD.
fn map_during_free(fault: Option<Fault>, _: &Seen) {
    let pool = Pool::new(Shape::Page, &[0, 1], 2, fault).shared();
    let handle = object(&pool, 1);
    let mapper = start(&pool, move |pool| {
        if let Some(mapped) = pool.map(handle) {
            mapped.write(2);
            mapped.unmap();
        }
    });
    pool.free(handle);
    object(&pool, 3);
    mapper.join().unwrap();
}

/// The limit of F1, here so that nobody relies on more: it catches a free while an object is
/// mapped, not a map while it is freed. That would take a compare-exchange in every free.
#[test]
#[should_panic(expected = "Causality violation")]
fn a_map_that_begins_during_a_free_is_not_caught() {
    super::explore(map_during_free, None, None);
}

/// A user's bug: two threads free one object. One of them is told.
fn free_twice(fault: Option<Fault>, seen: &Seen) {
    let pool = Pool::new(Shape::Page, &[0], 2, fault).shared();
    let (kept, freed) = (object(&pool, 1), object(&pool, 2));
    let other = start(&pool, move |pool| pool.free(freed));
    let both = (pool.free(freed), other.join().unwrap());
    seen.note(both);
    assert!(matches!(
        both,
        (Freed::Free, Freed::Refused) | (Freed::Refused, Freed::Free)
    ));
    assert_eq!(pool.warnings(), 1);
    pool.audit_state(&[(kept, 1)]);
}

#[test]
fn an_object_is_freed_once() {
    holds(free_twice, &["(Free, Refused)", "(Refused, Free)"]);
}

rejects! { free_twice:
    free_looks_for_dead_under_the_class_lock(FreeUsesFirstRead) => "the slot is another object's",
}

/// The last object of a zspage goes while its page moves.
fn free_last_and_migrate(fault: Option<Fault>, seen: &Seen) {
    let pool = Pool::new(Shape::Chain2, &[0, 1, 3], 1, fault).shared();
    let handle = object(&pool, 1);
    let mover = start(&pool, |pool| pool.migrate(0));
    pool.free(handle);
    seen.note(mover.join().unwrap());
    pool.audit(&[]);
    while pool.work() {
        seen.note("worker");
    }
    assert_eq!(
        pool.buddy.lock().unwrap().len(),
        3,
        "an empty zspage was kept"
    );
    pool.audit(&[]);
}

#[test]
fn an_empty_zspage_goes_at_once_or_by_the_worker() {
    let outcomes = ["Moved", "NotOurs", "TooLate", "\"worker\""];
    holds(free_last_and_migrate, &outcomes);
}

rejects! { free_last_and_migrate:
    pages_are_freed_by_who_holds_them(FreeHoldsNoPages) => "Causality violation",
    the_worker_must_be_kicked(FreeKicksNobody) => "an empty zspage is left to nobody",
    a_page_that_moves_must_not_be_frozen(FreezeAnyway) => "Causality violation",
    our_reference_comes_before_others_find_the_page(MoveGetsLate) => "somebody has locked",
}

/// A pool with a zspage of two pages that is left to the worker, and a free frame.
fn left_to_the_worker(fault: Option<Fault>) -> Arc<Pool> {
    let pool = Pool::new(Shape::Chain2, &[0, 1, 3], 2, fault).shared();
    let handle = object(&pool, 1);
    let other = pool.try_get(1).expect("the page is not held");
    let lock = other.lock();
    pool.free(handle);
    drop(lock);
    drop(other);
    pool.audit(&[]);
    pool
}

/// The worker waits for a page that moves.
fn work_and_migrate(fault: Option<Fault>, seen: &Seen) {
    let pool = left_to_the_worker(fault);
    let mover = start(&pool, |pool| pool.migrate(1));
    assert!(pool.work());
    seen.note(mover.join().unwrap());
    assert_eq!(
        pool.buddy.lock().unwrap().len(),
        3,
        "an empty zspage was kept"
    );
    pool.audit(&[]);
}

#[test]
fn the_worker_frees_what_the_page_became() {
    holds(work_and_migrate, &["Moved", "NotOurs", "TooLate"]);
}

rejects! { work_and_migrate:
    the_worker_looks_again(WorkerKeepsPages) => "a page is freed that is not the zspage's",
}

/// The worker against an allocation that would like the empty zspage, and a migration.
fn work_and_malloc(fault: Option<Fault>, seen: &Seen) {
    let pool = left_to_the_worker(fault);
    let worker = start(&pool, Pool::work);
    let mover = start(&pool, |pool| pool.migrate(0));
    // No memory if it comes while neither the zspage nor its pages are there to be had.
    let handle: Option<Handle> = pool.malloc();
    if let Some(handle) = handle {
        super::fill(&pool, handle, 7);
    }
    seen.note((handle.is_some(), worker.join().unwrap()));
    seen.note(mover.join().unwrap());
    pool.audit(
        &handle
            .map(|handle| (handle, 7))
            .into_iter()
            .collect::<Vec<_>>(),
    );
}

#[test]
fn malloc_may_have_what_the_worker_has_not() {
    holds_bounded(
        work_and_malloc,
        &[
            "(true, false)",
            "(true, true)",
            "(false, true)",
            "Moved",
            "NotOurs",
        ],
    );
}

/// A page is freed and used again while the core looks whether it can move it.
fn reuse_and_migrate(fault: Option<Fault>, seen: &Seen) {
    // One for the core, and one for the new object while the core has the old page, too.
    let pool = Pool::new(Shape::Page, &[0, 1, 2], 1, fault).shared();
    let old = object(&pool, 1);
    let mover = start(&pool, |pool| pool.migrate(0));
    pool.free(old);
    let new = object(&pool, 2);
    seen.note(mover.join().unwrap());
    while pool.work() {}
    pool.audit(&[(new, 2)]);
}

#[test]
fn a_page_may_come_back_at_once() {
    holds_bounded(reuse_and_migrate, &["Moved", "Busy", "NotOurs", "TooLate"]);
}

rejects! { reuse_and_migrate:
    pages_become_movable_by_who_holds_them(NewPagesNotHeld) => "Causality violation",
}

/// The last object of a zspage goes while the core isolates its page and puts it back.
fn free_last_and_isolate(fault: Option<Fault>, seen: &Seen) {
    let pool = Pool::new(Shape::Page, &[0], 1, fault).shared();
    let handle = object(&pool, 1);
    let core = start(&pool, |pool| {
        let isolated = pool.isolate(0);
        isolated.map(|page| pool.put_back(page))
    });
    pool.free(handle);
    seen.note(core.join().unwrap());
    while pool.work() {
        seen.note("worker");
    }
    pool.audit(&[]);
}

#[test]
fn the_core_has_a_page_or_comes_too_late() {
    // Ok(true): the core is the last to have the page.
    let outcomes = [
        "Ok(false)",
        "Ok(true)",
        "Err(NotOurs)",
        "Err(Locked)",
        "Err(TooLate)",
        "\"worker\"",
    ];
    holds(free_last_and_isolate, &outcomes);
}

rejects! { free_last_and_isolate:
    freezing_must_acquire(FreezeRelaxed) => "Causality violation",
    a_page_is_given_up_with_release(UnfreezeRelaxed) => "Causality violation",
    a_frozen_page_becomes_unmovable_first(RetireLetsGoFirst) => "Causality violation",
}

/// The last object of a zspage goes while its page is isolated: there is no freezing it.
fn free_what_is_isolated(fault: Option<Fault>, seen: &Seen) {
    let pool = Pool::new(Shape::Page, &[0], 1, fault).shared();
    let handle = object(&pool, 1);
    let page = pool.isolate(0).expect("the page is not held");
    let freer = start(&pool, move |pool| pool.free(handle));
    seen.note(pool.put_back(page));
    seen.note(freer.join().unwrap());
    while pool.work() {
        seen.note("worker");
    }
    pool.audit(&[]);
}

#[test]
fn an_isolated_page_is_freed_under_its_lock() {
    // True: the core is the last to have the page.
    holds(
        free_what_is_isolated,
        &["true", "false", "Free", "\"worker\""],
    );
}

rejects! { free_what_is_isolated:
    an_isolated_page_must_not_be_frozen(FreezeAnyway) => "Causality violation",
    a_locked_page_becomes_unmovable_first(RetireLetsGoFirst) => "Causality violation",
}
