// SPDX-License-Identifier: GPL-2.0

//! Page migration against everybody else: W1 to W3, M1 to M4, F1.

use super::{holds, holds_bounded, object, rejects, replace, start, Fault, Pool, Seen};
use crate::model::pool::{Handle, Shape};

/// A zspage of three pages at these frames with four objects that hold 10 to 13, and a free frame
/// to move a page to.
fn chain(
    frames: [usize; 3],
    free: usize,
    fault: Option<Fault>,
) -> (std::sync::Arc<Pool>, [Handle; 4]) {
    let [one, two, three] = frames;
    let pool = Pool::new(Shape::Chain3, &[one, two, three, free], 4, fault).shared();
    let objects = [10, 11, 12, 13].map(|value| object(&pool, value));
    (pool, objects)
}

/// A user of one object against a migration of one page of the chain.
fn map_and_migrate(
    frames: [usize; 3],
    free: usize,
    which: usize,
    page: usize,
    fault: Option<Fault>,
    seen: &Seen,
) {
    let (pool, objects) = chain(frames, free, fault);
    let old = frames[page];
    let mover = start(&pool, move |pool| pool.migrate(old));
    replace(&pool, objects[which], 10 + which as u64, 99);
    seen.note(mover.join().unwrap());
    let mut expected = [0, 1, 2, 3].map(|number| (objects[number], 10 + number as u64));
    expected[which].1 = 99;
    pool.audit(&expected);
}

/// The middle page, an object that begins and ends on it; no two pages are adjacent.
fn middle_page_begun_here(fault: Option<Fault>, seen: &Seen) {
    map_and_migrate([0, 2, 4], 6, 2, 1, fault, seen);
}

/// The same where the core would like us to wait: tried again, with both pages locked meanwhile.
fn migration_waits(fault: Option<Fault>, seen: &Seen) {
    let pool = Pool::new(Shape::Chain2, &[0, 1, 3], 2, fault).shared();
    let (first, second) = (object(&pool, 1), object(&pool, 2));
    let mover = start(&pool, |pool| pool.migrate_in(2, 0));
    replace(&pool, first, 1, 9);
    pool.free(first);
    pool.free(second);
    seen.note(mover.join().unwrap());
    while pool.work() {
        seen.note("worker");
    }
    pool.audit(&[]);
}

/// The middle page and the object begun on the page before.
fn middle_page_begun_before(fault: Option<Fault>, seen: &Seen) {
    map_and_migrate([0, 2, 4], 6, 1, 1, fault, seen);
}

/// Adjacent pages of which the middle one leaves: both its boundary objects become SPLIT.
fn middle_page_leaves(fault: Option<Fault>, seen: &Seen) {
    map_and_migrate([0, 1, 2], 4, 1, 1, fault, seen);
}

/// The middle page comes to lie next to the first and leaves the last.
fn middle_page_comes(fault: Option<Fault>, seen: &Seen) {
    map_and_migrate([0, 2, 3], 1, 1, 1, fault, seen);
}

/// The first page, while a mapper follows the link between the other two.
fn first_page_and_a_link_further_on(fault: Option<Fault>, seen: &Seen) {
    map_and_migrate([0, 2, 4], 6, 2, 0, fault, seen);
}

/// The last page and the object begun on the page before.
fn last_page_begun_before(fault: Option<Fault>, seen: &Seen) {
    map_and_migrate([0, 2, 4], 6, 2, 2, fault, seen);
}

#[test]
fn an_object_on_the_page_is_moved_or_keeps_it_there() {
    holds(middle_page_begun_here, &["Moved", "Busy"]);
}

#[test]
fn a_migration_may_wait_with_its_pages_locked() {
    holds_bounded(migration_waits, &["Moved", "NotOurs", "\"worker\""]);
}

#[test]
fn an_object_begun_before_is_moved_or_keeps_it_there() {
    holds(middle_page_begun_before, &["Moved", "Busy"]);
    holds(last_page_begun_before, &["Moved", "Busy"]);
}

#[test]
fn split_follows_the_pages() {
    holds(middle_page_leaves, &["Moved", "Busy"]);
    holds(middle_page_comes, &["Moved", "Busy"]);
}

#[test]
fn an_object_elsewhere_does_not_disturb() {
    holds(first_page_and_a_link_further_on, &["Moved"]);
}

rejects! { middle_page_begun_here:
    a_mover_must_lock_words(MoveWithoutLock) => "Causality violation",
    a_mover_must_release(MoveRelaxed) => "Causality violation",
    a_mover_must_acquire(TrylockRelaxed) => "Causality violation",
    a_mover_unlocks_only_what_it_locked(MoveUnlocksAll) => "a user was blamed",
    unmap_must_release_to_movers(UnmapRelaxed) => "Causality violation",
    map_must_acquire_from_movers(MapRelaxed) => "Causality violation",
    words_come_after_the_copy(MoveStoresWordsFirst) => "Causality violation",
}

rejects! { middle_page_begun_before:
    the_object_begun_before_must_be_locked(MoveMissesBegunBefore) => "Causality violation",
}

rejects! { middle_page_leaves:
    split_must_be_recomputed(MoveKeepsSplit) => "contents are torn",
}

rejects! { first_page_and_a_link_further_on:
    no_link_further_on_is_written(MoveRewritesLinks) => "Causality violation",
}

/// A mapper, a free and a migration, all on one page.
fn map_free_migrate(fault: Option<Fault>, seen: &Seen) {
    let pool = Pool::new(Shape::Page, &[0, 1], 2, fault).shared();
    let (kept, freed) = (object(&pool, 1), object(&pool, 2));
    let mover = start(&pool, |pool| pool.migrate(0));
    let freer = start(&pool, move |pool| pool.free(freed));
    replace(&pool, kept, 1, 3);
    seen.note(mover.join().unwrap());
    seen.note(freer.join().unwrap());
    pool.audit(&[(kept, 3)]);
}

#[test]
fn a_free_takes_no_notice_of_movers() {
    holds_bounded(map_free_migrate, &["Moved", "Busy", "Free"]);
}

rejects! { map_free_migrate:
    free_looks_at_lock_under_the_class_lock(FreeChecksLockEarly) => "a user was blamed",
    words_are_released_before_the_class_lock(MoveDropsClassLockFirst) => "a user was blamed",
}

/// A free and a migration of its page, alone.
fn free_and_migrate(fault: Option<Fault>, seen: &Seen) {
    let pool = Pool::new(Shape::Chain2, &[0, 1, 3], 2, fault).shared();
    let (kept, freed) = (object(&pool, 1), object(&pool, 2));
    let mover = start(&pool, |pool| pool.migrate(0));
    seen.note(pool.free(freed));
    seen.note(mover.join().unwrap());
    pool.audit(&[(kept, 1)]);
}

#[test]
fn a_free_finds_a_moved_object() {
    holds(free_and_migrate, &["Moved", "Free"]);
}

rejects! { free_and_migrate:
    free_reads_the_word_again(FreeUsesFirstRead) => "Causality violation",
}

/// An allocation into a page that moves.
fn malloc_and_migrate(fault: Option<Fault>, seen: &Seen) {
    let pool = Pool::new(Shape::Chain2, &[0, 1, 3], 3, fault).shared();
    let (first, gone) = (object(&pool, 1), object(&pool, 2));
    pool.free(gone);
    let mover = start(&pool, |pool| pool.migrate(0));
    let second = object(&pool, 5);
    seen.note(mover.join().unwrap());
    pool.audit(&[(first, 1), (second, 5)]);
}

#[test]
fn a_new_object_may_move_at_once() {
    holds(malloc_and_migrate, &["Moved", "Busy"]);
}

/// Two neighbouring pages move at the same time, with an object on both that is in use.
fn two_migrations(fault: Option<Fault>, seen: &Seen) {
    let pool = Pool::new(Shape::Chain2, &[0, 1, 3, 5], 2, fault).shared();
    let (first, second) = (object(&pool, 1), object(&pool, 2));
    let one = start(&pool, |pool| pool.migrate(0));
    let two = start(&pool, |pool| pool.migrate(1));
    replace(&pool, second, 2, 4);
    seen.note((one.join().unwrap(), two.join().unwrap()));
    pool.audit(&[(first, 1), (second, 4)]);
}

#[test]
fn neighbouring_pages_may_move_at_once() {
    holds_bounded(
        two_migrations,
        &[
            "(Moved, Moved)",
            "(Moved, Busy)",
            "(Busy, Moved)",
            "(Busy, Busy)",
        ],
    );
}

rejects! { two_migrations:
    each_of_two_movers_must_lock_words(MoveWithoutLock) => "Causality violation",
}

/// A page moves, and the one that it becomes is asked to move on, while its only object is freed.
fn move_on(fault: Option<Fault>, seen: &Seen) {
    let pool = Pool::new(Shape::Page, &[0, 1, 2], 1, fault).shared();
    let handle = object(&pool, 1);
    let one = start(&pool, |pool| pool.migrate(0));
    let two = start(&pool, |pool| pool.migrate_async(1));
    pool.free(handle);
    seen.note((one.join().unwrap(), two.join().unwrap()));
    while pool.work() {}
    pool.audit(&[]);
}

#[test]
fn a_page_that_moved_may_move_on() {
    holds_bounded(
        move_on,
        &[
            "(Moved, Moved)",
            "(Moved, Locked)",
            "(Moved, NotOurs)",
            "(Moved, TooLate)",
            "(NotOurs, NotOurs)",
            "(TooLate, TooLate)",
        ],
    );
}

rejects! { move_on:
    a_page_that_moved_has_our_reference(MoveGetsLate) => "somebody has locked",
}
