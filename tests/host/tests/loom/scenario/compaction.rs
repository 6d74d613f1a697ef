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
    holds(map_and_compact, &["0", "1"]);
}

rejects! { map_and_compact:
    compaction_must_lock_words(MoveWithoutLock) => "Causality violation",
    compaction_must_acquire(TrylockRelaxed) => "Causality violation",
    compaction_must_release(MoveRelaxed) => "Causality violation",
    compaction_stores_words_after_the_copy(MoveStoresWordsFirst) => "Causality violation",
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
        &["0", "1", "Moved", "Busy", "NotOurs", "\"worker\""],
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
