// SPDX-License-Identifier: GPL-2.0

//! Objects that move to a class of larger slots beside page migration and reclaim: P1, P2, R1.

use super::{
    holds, holds_bounded, object_in,
    reclaim::{run, Client},
    rejects, replace, start, Fault, Pool, Seen, Size,
};
use crate::model::pool::{Handle, Shape};
use std::sync::Arc;

/// The page of the class of larger slots.
const THEIRS: usize = 0;
/// The page of the class of smaller slots.
const OWN: usize = 1;

/// Two classes of one page each, a free frame, and two objects: one in the larger slots, which
/// holds 2, and one that may move there, which holds 1. Returns that one first.
fn classes(fault: Option<Fault>) -> (Arc<Pool>, [Handle; 2]) {
    let pool = Pool::new(Shape::Page, &[THEIRS, OWN, 2], 2, fault);
    let pool = pool.with_two_classes().shared();
    let second = object_in(&pool, Size::Large, 2);
    let first = object_in(&pool, Size::Small, 1);
    (pool, [first, second])
}

/// Lets the worker free what others have left to it.
fn work(pool: &Pool, seen: &Seen) {
    while pool.work() {
        seen.note("worker");
    }
}

/// An object is promoted while the core migrates a page.
fn promote_and_migrate(page: usize, fault: Option<Fault>, seen: &Seen) {
    let (pool, [first, second]) = classes(fault);
    let core = start(&pool, move |pool| pool.migrate(page));
    seen.note(pool.promote());
    seen.note(core.join().unwrap());
    work(&pool, seen);
    pool.audit(&[(first, 1), (second, 2)]);
}

/// The page that it lies on, which is empty then.
fn promote_and_migrate_own(fault: Option<Fault>, seen: &Seen) {
    promote_and_migrate(OWN, fault, seen);
}

/// The page that it comes to.
fn promote_and_migrate_theirs(fault: Option<Fault>, seen: &Seen) {
    promote_and_migrate(THEIRS, fault, seen);
}

#[test]
fn a_promoted_object_leaves_a_page_that_moves() {
    let outcomes = ["1", "Moved", "NotOurs", "TooLate", "\"worker\""];
    holds(promote_and_migrate_own, &outcomes);
}

#[test]
fn a_promoted_object_comes_to_a_page_that_moves() {
    holds(promote_and_migrate_theirs, &["1", "Moved"]);
}

rejects! { promote_and_migrate_theirs:
    their_lock_is_held_until_the_object_is_there(PromoteDropsTheirLock) => "Causality violation",
}

/// The object is used, too, while it is promoted and its page migrated.
fn promote_map_and_migrate(fault: Option<Fault>, seen: &Seen) {
    let (pool, [first, second]) = classes(fault);
    let core = start(&pool, |pool| pool.migrate(OWN));
    let mover = start(&pool, Pool::promote);
    replace(&pool, first, 1, 11);
    seen.note((mover.join().unwrap(), core.join().unwrap()));
    work(&pool, seen);
    pool.audit(&[(first, 11), (second, 2)]);
}

#[test]
fn an_object_in_use_stays_for_both_movers() {
    let outcomes = [
        "(0, Busy)",
        "(0, Moved)",
        "(1, Busy)",
        "(1, Moved)",
        "(1, NotOurs)",
    ];
    holds_bounded(promote_map_and_migrate, &outcomes);
}

rejects! { promote_map_and_migrate:
    promotion_beside_migration_locks_the_word(PromoteWithoutLock) => "Causality violation",
}

/// The object is promoted and freed while the core migrates the page that it comes to.
fn promote_free_and_migrate(fault: Option<Fault>, seen: &Seen) {
    let (pool, [first, second]) = classes(fault);
    let core = start(&pool, |pool| pool.migrate(THEIRS));
    let mover = start(&pool, Pool::promote);
    seen.note(pool.free(first));
    seen.note((mover.join().unwrap(), core.join().unwrap()));
    work(&pool, seen);
    pool.audit(&[(second, 2)]);
}

#[test]
fn a_promoted_object_is_freed_from_a_page_that_moves() {
    holds_bounded(
        promote_free_and_migrate,
        &["Free", "(0, Moved)", "(1, Moved)"],
    );
}

rejects! { promote_free_and_migrate:
    a_core_of_the_other_class_is_not_blamed_for(FreeBlamesFirst) => "a user was blamed",
    a_free_beside_migration_looks_again(FreeKeepsClass) => "a user was blamed",
}

/// A client of two classes with an entry in each, one of which has the coldest zspage.
fn client(coldest: Size, fault: Option<Fault>) -> Arc<Client> {
    let pool = Pool::new(Shape::Page, &[0, 1], 2, fault);
    let pool = pool.with_two_classes().with_evict().shared();
    let mut sizes = Size::ALL;
    sizes.sort_by_key(|size| *size != coldest);
    let entries = sizes.map(|size| {
        let value = size.number().into();
        Some((object_in(&pool, size, value), value))
    });
    Client::of(pool, entries.to_vec())
}

/// Objects are promoted while the coldest zspage is reclaimed.
fn promote_and_reclaim(coldest: Size, fault: Option<Fault>, seen: &Seen) {
    let client = client(coldest, fault);
    let mover = run(&client, |client| client.pool.promote());
    let reclaimed = client.reclaim(1);
    seen.note((mover.join().unwrap(), reclaimed));
    work(&client.pool, seen);
    client.audit();
}

/// The same where evict refuses.
fn promote_and_be_refused(coldest: Size, fault: Option<Fault>, seen: &Seen) {
    let client = client(coldest, fault);
    let mover = run(&client, |client| client.pool.promote());
    let reclaimed = client.pool.reclaim(1, |_| false);
    seen.note((mover.join().unwrap(), reclaimed));
    client.audit();
}

/// The coldest zspage is what objects are promoted to.
fn promote_and_reclaim_theirs(fault: Option<Fault>, seen: &Seen) {
    promote_and_reclaim(Size::Large, fault, seen);
}

/// The coldest zspage is what objects are promoted from.
fn promote_and_reclaim_own(fault: Option<Fault>, seen: &Seen) {
    promote_and_reclaim(Size::Small, fault, seen);
}

/// The coldest zspage is what objects are promoted to, and goes back.
fn promote_and_restore_theirs(fault: Option<Fault>, seen: &Seen) {
    promote_and_be_refused(Size::Large, fault, seen);
}

/// The coldest zspage is what objects are promoted from, and goes back.
fn promote_and_restore_own(fault: Option<Fault>, seen: &Seen) {
    promote_and_be_refused(Size::Small, fault, seen);
}

#[test]
fn no_object_is_promoted_to_an_isolated_zspage() {
    holds(promote_and_reclaim_theirs, &["(0, Freed)", "(1, Freed)"]);
    holds(promote_and_restore_theirs, &["(0, Again)", "(1, Again)"]);
}

#[test]
fn no_object_is_promoted_from_an_isolated_zspage() {
    holds(promote_and_reclaim_own, &["(0, Freed)", "(1, Freed)"]);
    holds(promote_and_restore_own, &["(0, Again)", "(1, Again)"]);
}

rejects! { promote_and_reclaim_own:
    promotion_leaves_an_isolated_zspage_alone(PromoteTakesReclaimed) => "Causality violation",
}
