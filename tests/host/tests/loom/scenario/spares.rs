// SPDX-License-Identifier: GPL-2.0

//! Spares: objects that were freed, and wait for the next malloc. N1 to N3.

use super::{holds, holds_bounded, object, rejects, replace, start, Fault, Pool, Seen};
use crate::model::{
    free::Freed,
    pool::{Handle, Shape},
};
use std::sync::Arc;

/// A zspage of one page with two objects, which hold 1 and 2, and a free page.
fn pair(fault: Option<Fault>) -> (Arc<Pool>, Handle, Handle) {
    let pool = Pool::new(Shape::Page, &[0, 1], 3, fault);
    let pool = pool.with_spares().shared();
    let (first, second) = (object(&pool, 1), object(&pool, 2));
    (pool, first, second)
}

/// A spare becomes an object again while its page moves.
fn reuse_and_migrate(fault: Option<Fault>, seen: &Seen) {
    let (pool, first, second) = pair(fault);
    assert_eq!(pool.free(first), Freed::Kept);
    assert!(pool.map(first).is_none(), "a spare can be mapped");
    let mover = start(&pool, |pool| pool.migrate(0));
    let again = object(&pool, 3);
    assert_eq!(again, first, "the spare was not used");
    seen.note(mover.join().unwrap());
    pool.audit(&[(again, 3), (second, 2)]);
}

#[test]
fn a_spare_moves_with_its_page() {
    holds(reuse_and_migrate, &["Moved", "Busy"]);
}

rejects! { reuse_and_migrate:
    spares_are_taken_under_the_class_lock(SpareTakenLate) => "Causality violation",
}

/// An object becomes a spare while its page moves.
fn keep_and_migrate(fault: Option<Fault>, seen: &Seen) {
    let (pool, first, second) = pair(fault);
    let mover = start(&pool, |pool| pool.migrate(0));
    assert_eq!(pool.free(first), Freed::Kept);
    seen.note(mover.join().unwrap());
    pool.audit(&[(second, 2)]);
}

#[test]
fn a_free_beside_migration_leaves_a_spare() {
    holds(keep_and_migrate, &["Moved"]);
}

rejects! { keep_and_migrate:
    migration_keeps_spares_dead(MoveRevives) => "a spare word is not dead",
}

/// Two threads free the two objects of a zspage.
fn free_both(fault: Option<Fault>, seen: &Seen) {
    let (pool, first, second) = pair(fault);
    let other = start(&pool, move |pool| pool.free(second));
    let both = (pool.free(first), other.join().unwrap());
    seen.note(both);
    pool.audit(&[]);
    let pages = pool.buddy.lock().unwrap().len();
    assert_eq!(pages, 2, "a zspage is kept for spares alone");
}

#[test]
fn the_second_one_takes_the_spare_along() {
    holds(free_both, &["(Kept, Free)", "(Free, Kept)"]);
}

rejects! { free_both:
    zspages_are_not_for_spares_alone(SparesAlone) => "a zspage is kept for spares alone",
}

/// One thread frees the other object, while another wants one.
fn free_last_and_malloc(fault: Option<Fault>, seen: &Seen) {
    let (pool, first, second) = pair(fault);
    assert_eq!(pool.free(first), Freed::Kept);
    let other = start(&pool, |pool| object(pool, 3));
    seen.note(pool.free(second));
    let third = other.join().unwrap();
    seen.note(third == first);
    pool.audit(&[(third, 3)]);
}

#[test]
fn a_spare_is_used_or_freed() {
    holds(free_last_and_malloc, &["Free", "Kept", "true", "false"]);
}

/// Two threads want an object, when there is one spare.
fn malloc_twice(fault: Option<Fault>, seen: &Seen) {
    let (pool, first, second) = pair(fault);
    assert_eq!(pool.free(first), Freed::Kept);
    let other = start(&pool, |pool| object(pool, 3));
    let (fourth, third) = (object(&pool, 4), other.join().unwrap());
    seen.note((third == first, fourth == first));
    pool.audit(&[(second, 2), (third, 3), (fourth, 4)]);
}

#[test]
fn a_spare_is_used_once() {
    holds(malloc_twice, &["(true, false)", "(false, true)"]);
}

/// A user's bug: a spare is freed again, while malloc makes it an object, perhaps.
fn free_again(fault: Option<Fault>, seen: &Seen) {
    let (pool, first, second) = pair(fault);
    let other = start(&pool, move |pool| pool.free(first));
    let both = (pool.free(first), other.join().unwrap());
    seen.note(both);
    assert_eq!(pool.warnings(), 1);
    pool.audit_state(&[(second, 2)]);
}

#[test]
fn a_spare_is_not_freed_again() {
    holds(free_again, &["(Kept, Refused)", "(Refused, Kept)"]);
}

/// Two zspages of four slots: with one object and two spares, and with three objects.
fn sparse(fault: Option<Fault>) -> (Arc<Pool>, Vec<Handle>, Vec<(Handle, u64)>) {
    let frames = [0, 1, 2, 4, 5, 6, 8, 9, 10];
    let pool = Pool::new(Shape::Chain3, &frames, 8, fault);
    let pool = pool.with_spares().shared();
    let objects = [1, 2, 3, 4, 5, 6, 7, 8].map(|value| object(&pool, value));
    let freed = [1, 2, 3, 7].map(|gone: usize| pool.free(objects[gone]));
    let expected = [Freed::Kept, Freed::Kept, Freed::Free, Freed::Free];
    assert_eq!(freed, expected);
    let left = [0, 4, 5, 6].map(|number| (objects[number], number as u64 + 1));
    (pool, objects[1..3].to_vec(), left.to_vec())
}

/// One zspage is compacted away, while another object is wanted.
fn malloc_and_compact(fault: Option<Fault>, seen: &Seen) {
    let (pool, spares, mut left) = sparse(fault);
    let mover = start(&pool, Pool::compact);
    left.push((object(&pool, 9), 9));
    seen.note(spares.contains(&left[4].0));
    seen.note(mover.join().unwrap());
    pool.audit(&left);
}

#[test]
fn compaction_frees_spares_first() {
    holds_bounded(malloc_and_compact, &["true", "false", "0", "1"]);
}

/// The same while the object beside the spares is used.
fn map_and_compact(fault: Option<Fault>, seen: &Seen) {
    let (pool, _, mut left) = sparse(fault);
    let mover = start(&pool, Pool::compact);
    replace(&pool, left[0].0, 1, 11);
    left[0].1 = 11;
    seen.note(mover.join().unwrap());
    pool.audit(&left);
}

#[test]
fn spares_go_with_the_last_object() {
    holds_bounded(map_and_compact, &["0", "1"]);
}

rejects! { map_and_compact:
    nothing_moves_beside_spares(MoveBesideSpares) => "a zspage is kept for spares alone",
}
