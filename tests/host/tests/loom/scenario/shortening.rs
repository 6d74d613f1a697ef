// SPDX-License-Identifier: GPL-2.0

//! Zspages that give up their last pages, and get them back, against everybody else: S1 to S3 (S4
//! is about steps that others take in between: KUnit).

use super::{fill, holds, holds_bounded, object, rejects, replace, start, Fault, Pool, Seen};
use crate::model::pool::{Handle, Shape};
use std::sync::Arc;

/// A zspage of two pages, which are not adjacent, whose only object, which holds 2, lies on both;
/// and three free frames.
fn crossing(fault: Option<Fault>) -> (Arc<Pool>, Handle) {
    let pool = Pool::new(Shape::Chain2, &[0, 2, 4, 6, 8], 4, fault).shared();
    let (gone, left) = (object(&pool, 1), object(&pool, 2));
    pool.free(gone);
    (pool, left)
}

/// A zspage of three pages with an object in each slot of `left`, which hold 10 and more; and
/// `free` free frames.
fn chain<const N: usize>(
    left: [usize; N],
    free: usize,
    fault: Option<Fault>,
) -> (Arc<Pool>, [Handle; N]) {
    // No two are adjacent.
    let frames: Vec<usize> = (0..3 + free).map(|frame| 2 * frame).collect();
    let pool = Pool::new(Shape::Chain3, &frames, 8, fault).shared();
    let objects = [10, 11, 12, 13].map(|value| object(&pool, value));
    let gone = (0..4).filter(|slot| !left.contains(slot));
    for slot in gone {
        pool.free(objects[slot]);
    }
    (pool, left.map(|slot| objects[slot]))
}

/// Gives a zspage its pages back, as long as there is memory: whatever was done to it holds.
fn fill_up(pool: &Pool, mut objects: Vec<(Handle, u64)>) {
    for value in 90..92 {
        if let Some(handle) = pool.malloc() {
            fill(pool, handle, value);
            objects.push((handle, value));
        }
    }
    pool.audit(&objects);
}

/// A zspage gives up its last page while that is to move, with an object on it and the page before.
fn shorten_and_migrate(fault: Option<Fault>, seen: &Seen) {
    let (pool, left) = crossing(fault);
    let mover = start(&pool, |pool| pool.migrate(2));
    seen.note(pool.shorten());
    seen.note(mover.join().unwrap());
    pool.audit(&[(left, 2)]);
    fill_up(&pool, vec![(left, 2)]);
}

#[test]
fn a_last_page_moves_or_goes() {
    let outcomes = ["0", "1", "Moved", "NotOurs", "TooLate"];
    holds(shorten_and_migrate, &outcomes);
}

rejects! { shorten_and_migrate:
    last_pages_are_freed_by_who_holds_them(ShortenHoldsNoPages) => "Causality violation",
}

/// A zspage gives up its last page while that is isolated and put back.
fn shorten_and_isolate(fault: Option<Fault>, seen: &Seen) {
    let (pool, left) = crossing(fault);
    let core = start(&pool, |pool| {
        let isolated = pool.isolate(2);
        isolated.map(|page| pool.put_back(page))
    });
    seen.note(pool.shorten());
    seen.note(core.join().unwrap());
    fill_up(&pool, vec![(left, 2)]);
}

#[test]
fn a_last_page_goes_though_it_is_isolated() {
    // Ok(true): the core is the last to have the page.
    let outcomes = [
        "0",
        "1",
        "Ok(false)",
        "Ok(true)",
        "Err(NotOurs)",
        "Err(Locked)",
        "Err(TooLate)",
    ];
    holds(shorten_and_isolate, &outcomes);
}

rejects! { shorten_and_isolate:
    an_isolated_last_page_must_not_be_frozen(FreezeAnyway) => "Causality violation",
    a_last_page_becomes_unmovable_first(RetireLetsGoFirst) => "Causality violation",
}

/// A page that stays moves while those after it go.
fn shorten_and_migrate_the_first(fault: Option<Fault>, seen: &Seen) {
    let (pool, left) = crossing(fault);
    let mover = start(&pool, |pool| pool.migrate(0));
    seen.note(pool.shorten());
    seen.note(mover.join().unwrap());
    fill_up(&pool, vec![(left, 2)]);
}

#[test]
fn a_page_that_stays_may_move() {
    // Both always: they wait for each other's class lock, and for nothing else.
    holds(shorten_and_migrate_the_first, &["1", "Moved"]);
}

/// An object on the last page is used.
fn shorten_and_map(fault: Option<Fault>, seen: &Seen) {
    let (pool, left) = crossing(fault);
    let shortener = start(&pool, Pool::shorten);
    replace(&pool, left, 2, 12);
    seen.note(shortener.join().unwrap());
    fill_up(&pool, vec![(left, 12)]);
}

#[test]
fn an_object_in_use_keeps_the_last_page() {
    holds(shorten_and_map, &["0", "1"]);
}

rejects! { shorten_and_map:
    shortening_must_lock_words(MoveWithoutLock) => "Causality violation",
    shortening_must_acquire(TrylockRelaxed) => "Causality violation",
    shortening_must_release(MoveRelaxed) => "Causality violation",
    shortening_stores_words_after_the_copy(MoveStoresWordsFirst) => "Causality violation",
}

/// The second of two objects on the last pages is used: the first was moved by then.
fn shorten_and_map_the_second(fault: Option<Fault>, seen: &Seen) {
    let (pool, [first, second]) = chain([2, 3], 0, fault);
    let shortener = start(&pool, Pool::shorten);
    replace(&pool, second, 13, 99);
    seen.note(shortener.join().unwrap());
    fill_up(&pool, vec![(first, 12), (second, 99)]);
}

#[test]
fn what_was_moved_in_vain_stays_where_it_is() {
    holds(shorten_and_map_the_second, &["0", "1"]);
}

/// The object on the last page is freed.
fn shorten_and_free(fault: Option<Fault>, seen: &Seen) {
    let (pool, left) = crossing(fault);
    let shortener = start(&pool, Pool::shorten);
    seen.note(pool.free(left));
    seen.note(shortener.join().unwrap());
    assert_eq!(pool.buddy.lock().unwrap().len(), 5, "a page was kept");
    pool.audit(&[]);
}

#[test]
fn a_free_finds_an_object_that_made_room() {
    holds(shorten_and_free, &["0", "1", "Free"]);
}

rejects! { shorten_and_free:
    free_reads_the_word_of_an_object_that_made_room_again(FreeUsesFirstRead) => "the slot is another object's",
}

/// A last page is to move, to go, and to be used.
fn shorten_migrate_and_map(fault: Option<Fault>, seen: &Seen) {
    let (pool, left) = crossing(fault);
    let shortener = start(&pool, Pool::shorten);
    // Not waiting: loom would let it and the mapper wait for ever, in turns.
    let mover = start(&pool, |pool| pool.migrate_async(2));
    replace(&pool, left, 2, 12);
    seen.note((shortener.join().unwrap(), mover.join().unwrap()));
    fill_up(&pool, vec![(left, 12)]);
}

#[test]
fn a_last_page_moves_or_goes_or_is_used() {
    holds_bounded(
        shorten_migrate_and_map,
        &[
            "(0, Moved)",
            "(0, Busy)",
            "(1, Moved)",
            "(1, Busy)",
            "(1, NotOurs)",
            "(1, TooLate)",
        ],
    );
}

rejects! { shorten_migrate_and_map:
    last_pages_are_always_freed_by_who_holds_them(ShortenHoldsNoPages) => "Causality violation",
}

/// Two threads would like a zspage to give up the same page, which a third one needs.
fn two_shorten_and_malloc(fault: Option<Fault>, seen: &Seen) {
    let (pool, left) = crossing(fault);
    let one = start(&pool, Pool::shorten);
    let two = start(&pool, Pool::shorten);
    let (more, most) = (object(&pool, 5), object(&pool, 6));
    seen.note((one.join().unwrap(), two.join().unwrap()));
    pool.audit(&[(left, 2), (more, 5), (most, 6)]);
}

#[test]
fn a_page_is_given_up_once() {
    holds_bounded(two_shorten_and_malloc, &["(0, 0)", "(0, 1)", "(1, 0)"]);
}

/// An object is allocated, for which the zspage needs the page that it is giving up, and one freed.
fn shorten_malloc_and_free(fault: Option<Fault>, seen: &Seen) {
    let (pool, [first, second]) = chain([2, 3], 1, fault);
    let shortener = start(&pool, Pool::shorten);
    let third = object(&pool, 5);
    seen.note(pool.free(first));
    let pages = pool.class().zspages[0].frames.len();
    seen.note((shortener.join().unwrap(), pages));
    pool.audit(&[(second, 13), (third, 5)]);
    fill_up(&pool, vec![(second, 13), (third, 5)]);
}

#[test]
fn malloc_gets_back_a_page_that_was_given_up() {
    holds(
        shorten_malloc_and_free,
        &["Free", "(0, 3)", "(1, 3)", "(1, 2)"],
    );
}

/// A zspage of three pages that is left with its first, and that is full.
fn short(fault: Option<Fault>) -> (Arc<Pool>, Handle) {
    let (pool, [left]) = chain([3], 3, fault);
    assert_eq!(pool.shorten(), 2);
    (pool, left)
}

/// Two threads would like to give a zspage its next page. One comes too late, and opens another.
fn two_lengthen(fault: Option<Fault>, seen: &Seen) {
    let (pool, left) = short(fault);
    let other = start(&pool, |pool| object(pool, 5));
    let second = object(&pool, 6);
    let first = other.join().unwrap();
    let class = pool.class();
    let lengths: Vec<usize> = class
        .zspages
        .numbered()
        .map(|(_, zspage)| zspage)
        .map(|zspage| zspage.frames.len())
        .collect();
    drop(class);
    seen.note(lengths);
    pool.audit(&[(left, 13), (first, 5), (second, 6)]);
}

#[test]
fn a_zspage_gets_each_page_once() {
    holds_bounded(two_lengthen, &["[3]", "[2, 3]"]);
}

rejects! { two_lengthen:
    malloc_looks_again_at_the_length(LengthenUnchecked) => "no room in a zspage",
}

/// A zspage is shortened further while a page is allocated for it.
fn lengthen_and_shorten(fault: Option<Fault>, seen: &Seen) {
    let (pool, [first, second]) = chain([0, 1], 3, fault);
    assert_eq!(pool.shorten(), 1);
    let other = start(&pool, |pool| object(pool, 5));
    pool.free(first);
    seen.note(pool.shorten());
    let third = other.join().unwrap();
    seen.note(format!("{} zspages", pool.class().zspages.numbers().len()));
    pool.audit(&[(second, 11), (third, 5)]);
}

#[test]
fn a_page_is_for_one_place_only() {
    holds(
        lengthen_and_shorten,
        &["0", "1", "\"1 zspages\"", "\"2 zspages\""],
    );
}

rejects! { lengthen_and_shorten:
    malloc_looks_whether_pages_went(LengthenUnchecked) => "a zspage has other slots than its pages",
}

/// The page that a zspage gets is asked to move at once.
fn lengthen_and_migrate(fault: Option<Fault>, seen: &Seen) {
    let (pool, left) = crossing(fault);
    assert_eq!(pool.shorten(), 1);
    let next = *pool.buddy.lock().unwrap().last().unwrap();
    let mover = start(&pool, move |pool| pool.migrate(next));
    let more = object(&pool, 5);
    seen.note(mover.join().unwrap());
    pool.audit(&[(left, 2), (more, 5)]);
}

#[test]
fn a_page_that_comes_may_move_at_once() {
    let outcomes = ["Moved", "Busy", "NotOurs", "TooLate"];
    holds(lengthen_and_migrate, &outcomes);
}

rejects! { lengthen_and_migrate:
    pages_that_come_become_movable_by_who_holds_them(NewPagesNotHeld) => "Causality violation",
    pages_that_come_are_let_go_with_release(UnfreezeRelaxed) => "Causality violation",
}

/// The last object of a zspage that lacks pages is freed while a page is allocated for it.
fn lengthen_and_free_last(fault: Option<Fault>, seen: &Seen) {
    let (pool, left) = short(fault);
    let other = start(&pool, |pool| object(pool, 5));
    seen.note(pool.free(left));
    let more = other.join().unwrap();
    seen.note(format!("{} zspages", pool.class().zspages.numbers().len()));
    pool.audit(&[(more, 5)]);
}

#[test]
fn a_zspage_may_go_while_a_page_comes() {
    holds(
        lengthen_and_free_last,
        &["Free", "\"1 zspages\"", "\"2 zspages\""],
    );
}

/// A zspage with objects and room, of two pages, gives its last up while compaction empties another
/// into it.
fn shorten_and_compact(fault: Option<Fault>, seen: &Seen) {
    let pool = Pool::new(Shape::Chain2, &[0, 2, 4, 6], 4, fault).shared();
    let objects = [1, 2, 3, 4].map(|value| object(&pool, value));
    pool.free(objects[0]);
    pool.free(objects[2]);
    let shortener = start(&pool, Pool::shorten);
    seen.note(format!("moved {}", pool.compact()));
    seen.note(shortener.join().unwrap());
    pool.audit(&[(objects[1], 2), (objects[3], 4)]);
}

#[test]
fn compaction_and_shortening_at_once() {
    holds_bounded(shorten_and_compact, &["0", "\"moved 1\""]);
}
