// SPDX-License-Identifier: GPL-2.0

//! Compaction against everybody else: M1, M5.

use super::{holds, holds_bounded, object, rejects, replace, start, Fault, Pool, Seen};
use crate::model::pool::{Handle, Shape};
use std::sync::Arc;

/// Two zspages of two slots with one object each, which hold 1 and 2.
fn sparse(fault: Option<Fault>) -> (Arc<Pool>, Handle, Handle) {
    let pool = Pool::new(Shape::Page, &[0, 1, 2], 4, fault).shared();
    let objects = [1, 0, 2, 0].map(|value| object(&pool, value));
    pool.free(objects[1]);
    pool.free(objects[3]);
    (pool, objects[0], objects[2])
}

/// A user of both objects against a compaction.
fn map_and_compact(fault: Option<Fault>, seen: &Seen) {
    let (pool, first, second) = sparse(fault);
    let mover = start(&pool, Pool::compact);
    replace(&pool, first, 1, 11);
    replace(&pool, second, 2, 12);
    seen.note(mover.join().unwrap());
    pool.audit(&[(first, 11), (second, 12)]);
}

#[test]
fn mapped_objects_stay_where_they_are() {
    holds_bounded(map_and_compact, &["0", "1"]);
}

rejects! { map_and_compact:
    compaction_must_lock_words(MoveWithoutLock) => "Causality violation",
    compaction_must_acquire(TrylockRelaxed) => "Causality violation",
    compaction_must_release(MoveRelaxed) => "Causality violation",
    compaction_stores_words_after_the_copy(MoveStoresWordsFirst) => "Causality violation",
}

/// Three zspages of two slots with one object each, of which the one that compaction would empty
/// first is in use for a while: the others are packed nevertheless.
fn pass_over_and_compact(fault: Option<Fault>, seen: &Seen) {
    let pool = Pool::new(Shape::Page, &[0, 1, 2, 3], 6, fault).shared();
    let objects = [1, 0, 2, 0, 3, 0].map(|value| object(&pool, value));
    for gone in [objects[1], objects[3], objects[5]] {
        pool.free(gone);
    }
    let mapped = pool.map(objects[0]).expect("an object is lost");
    let mover = start(&pool, Pool::compact);
    let moved = mover.join().unwrap();
    assert_ne!(moved, 0, "compaction gave up");
    seen.note(moved);
    mapped.unmap();
    pool.audit(&[(objects[0], 1), (objects[2], 2), (objects[4], 3)]);
}

#[test]
fn a_zspage_in_use_is_passed_over() {
    // Not 0: that would be to give up.
    holds_bounded(pass_over_and_compact, &["1"]);
}

rejects! { pass_over_and_compact:
    compaction_must_not_give_up(CompactGivesUp) => "compaction gave up",
}

/// Two zspages of three pages with two objects each: compaction takes two steps, with the class's
/// lock free in between, and meanwhile the object that is left to be moved is freed.
fn free_between_steps(fault: Option<Fault>, seen: &Seen) {
    let pool = Pool::new(Shape::Chain3, &[0, 1, 2, 4, 5, 6], 8, fault).shared();
    let objects = [1, 2, 3, 4, 5, 6, 7, 8].map(|value| object(&pool, value));
    for gone in [0, 2, 5, 7] {
        pool.free(objects[gone]);
    }
    let mover = start(&pool, Pool::compact);
    pool.free(objects[3]);
    seen.note(mover.join().unwrap());
    pool.audit(&[(objects[1], 2), (objects[4], 5), (objects[6], 7)]);
}

#[test]
fn compaction_looks_again_after_each_step() {
    holds_bounded(free_between_steps, &["1", "2"]);
}

rejects! { free_between_steps:
    compaction_must_look_again(CompactKeepsZspages) => "compaction goes on in a zspage that is gone",
}

/// An object is freed while compaction moves it, or the one it is to lie beside.
fn free_and_compact(fault: Option<Fault>, seen: &Seen) {
    let (pool, first, second) = sparse(fault);
    let mover = start(&pool, Pool::compact);
    seen.note(pool.free(first));
    seen.note(mover.join().unwrap());
    pool.audit(&[(second, 2)]);
}

#[test]
fn a_free_finds_a_compacted_object() {
    holds(free_and_compact, &["Free", "0", "1"]);
}

rejects! { free_and_compact:
    free_reads_a_compacted_word_again(FreeUsesFirstRead) => "Causality violation",
}

/// Compaction and a migration of the page it empties, with a mapper.
fn compact_and_migrate(fault: Option<Fault>, seen: &Seen) {
    let (pool, first, second) = sparse(fault);
    let compacter = start(&pool, Pool::compact);
    let mover = start(&pool, |pool| pool.migrate(0));
    replace(&pool, first, 1, 11);
    seen.note(compacter.join().unwrap());
    seen.note(mover.join().unwrap());
    while pool.work() {
        seen.note("worker");
    }
    pool.audit(&[(first, 11), (second, 2)]);
}

#[test]
fn both_movers_at_once() {
    holds_bounded(
        compact_and_migrate,
        &["1", "Moved", "Busy", "NotOurs", "\"worker\""],
    );
}

/// Compaction and an allocation into one of its zspages.
fn compact_and_malloc(fault: Option<Fault>, seen: &Seen) {
    let (pool, first, second) = sparse(fault);
    let mover = start(&pool, Pool::compact);
    let third = object(&pool, 3);
    seen.note(mover.join().unwrap());
    pool.audit(&[(first, 1), (second, 2), (third, 3)]);
}

#[test]
fn malloc_finds_room_beside_compaction() {
    holds(compact_and_malloc, &["0", "1"]);
}
