// SPDX-License-Identifier: GPL-2.0

//! Objects that move to a class of larger slots, against everybody else: P1 and P2.

use super::{holds, holds_bounded, rejects, Fault, Seen};
use crate::model::{
    pool::Handle,
    promote::{Class, Classes},
};
use loom::thread;
use std::sync::Arc;

/// The object that is promoted; it holds 1.
const FIRST: Handle = Handle(0);
/// Another one, which holds 2.
const SECOND: Handle = Handle(1);
/// One that is yet to come.
const THIRD: Handle = Handle(2);

/// Two classes with [`FIRST`] in the smaller slots and [`SECOND`] in those of a class.
fn classes(second: Class, fault: Option<Fault>) -> Arc<Classes> {
    let classes = Classes::new(3, fault);
    assert!(classes.malloc(Class::Small, FIRST, 1));
    assert!(classes.malloc(second, SECOND, 2));
    Arc::new(classes)
}

/// Starts a thread on the classes.
fn start<T: 'static>(
    classes: &Arc<Classes>,
    run: impl FnOnce(&Classes) -> T + 'static,
) -> thread::JoinHandle<T> {
    let classes = classes.clone();
    thread::spawn(move || run(&classes))
}

/// An object is freed while it is promoted.
fn promote_and_free(fault: Option<Fault>, seen: &Seen) {
    let classes = classes(Class::Small, fault);
    let mover = start(&classes, |classes| classes.promote(FIRST));
    seen.note(classes.free(FIRST));
    seen.note(mover.join().unwrap());
    classes.audit(&[(SECOND, 2)]);
}

#[test]
fn a_free_finds_a_promoted_object() {
    holds(promote_and_free, &["Free", "true", "false"]);
}

rejects! { promote_and_free:
    free_looks_again_at_the_class(FreeKeepsClass) => "a user was blamed",
}

/// The object is promoted, and moves within its new class then, while it is freed.
fn promote_move_and_free(fault: Option<Fault>, seen: &Seen) {
    let classes = classes(Class::Small, fault);
    let mover = start(&classes, |classes| {
        (classes.promote(FIRST), classes.compact(FIRST))
    });
    seen.note(classes.free(FIRST));
    seen.note(mover.join().unwrap());
    classes.audit(&[(SECOND, 2)]);
}

#[test]
fn nobody_is_blamed_for_a_mover_of_the_other_class() {
    holds(
        promote_move_and_free,
        &["Free", "(true, true)", "(true, false)", "(false, false)"],
    );
}

rejects! { promote_move_and_free:
    free_looks_at_the_class_before_lock(FreeBlamesFirst) => "a user was blamed",
}

/// An object is used while it is promoted.
fn promote_and_map(fault: Option<Fault>, seen: &Seen) {
    let classes = classes(Class::Large, fault);
    let mover = start(&classes, |classes| classes.promote(FIRST));
    classes.replace(FIRST, Some(1), 11);
    seen.note(mover.join().unwrap());
    classes.audit(&[(FIRST, 11), (SECOND, 2)]);
}

#[test]
fn an_object_in_use_keeps_its_class() {
    holds(promote_and_map, &["true", "false"]);
}

rejects! { promote_and_map:
    promotion_must_lock_the_word(PromoteWithoutLock) => "Causality violation",
}

/// An object is used and freed by one thread, while it is promoted, and moved, by another.
fn promote_map_and_free(fault: Option<Fault>, seen: &Seen) {
    let classes = classes(Class::Small, fault);
    let mover = start(&classes, |classes| {
        (classes.promote(FIRST), classes.compact(FIRST))
    });
    classes.replace(FIRST, Some(1), 11);
    seen.note(classes.free(FIRST));
    seen.note(mover.join().unwrap());
    classes.audit(&[(SECOND, 2)]);
}

#[test]
fn a_used_object_is_freed_wherever_it_is() {
    holds_bounded(promote_map_and_free, &["Free", "(true, true)"]);
}

/// An object is allocated in the class that another comes to.
fn promote_and_malloc(fault: Option<Fault>, seen: &Seen) {
    let classes = classes(Class::Large, fault);
    let mover = start(&classes, |classes| classes.promote(FIRST));
    let more = classes.malloc(Class::Large, THIRD, 3);
    seen.note((mover.join().unwrap(), more));
    let mut left = vec![(FIRST, 1), (SECOND, 2)];
    left.extend(more.then_some((THIRD, 3)));
    classes.audit(&left);
}

#[test]
fn the_last_slot_goes_to_one() {
    holds(promote_and_malloc, &["(true, false)", "(false, true)"]);
}

rejects! { promote_and_malloc:
    promotion_holds_the_lock_of_the_larger_class(PromoteWithoutTheirLock) => "Causality violation",
}

/// An object of the class of larger slots moves while another comes.
fn promote_and_compact(fault: Option<Fault>, seen: &Seen) {
    let classes = classes(Class::Large, fault);
    let mover = start(&classes, |classes| classes.promote(FIRST));
    let moved = classes.compact(SECOND);
    seen.note((mover.join().unwrap(), moved));
    classes.audit(&[(FIRST, 1), (SECOND, 2)]);
}

#[test]
fn movers_of_both_classes_at_once() {
    holds(promote_and_compact, &["(true, true)", "(true, false)"]);
}

rejects! { promote_and_compact:
    two_movers_hold_the_lock_of_the_larger_class(PromoteWithoutTheirLock) => "Causality violation",
}

/// Another object of the smaller slots is freed while one leaves.
fn promote_and_free_another(fault: Option<Fault>, seen: &Seen) {
    let classes = classes(Class::Small, fault);
    let mover = start(&classes, |classes| classes.promote(FIRST));
    seen.note(classes.free(SECOND));
    seen.note(mover.join().unwrap());
    classes.audit(&[(FIRST, 1)]);
}

#[test]
fn a_free_beside_a_promotion() {
    holds(promote_and_free_another, &["Free", "true"]);
}

rejects! { promote_and_free_another:
    promotion_holds_the_lock_of_the_smaller_class(PromoteWithoutOwnLock) => "Causality violation",
}

/// Both objects are promoted, by two threads, and one is freed by a third.
fn two_promotions_and_a_free(fault: Option<Fault>, seen: &Seen) {
    let classes = classes(Class::Small, fault);
    let one = start(&classes, |classes| classes.promote(FIRST));
    let two = start(&classes, |classes| classes.promote(SECOND));
    seen.note(classes.free(FIRST));
    seen.note((one.join().unwrap(), two.join().unwrap()));
    classes.audit(&[(SECOND, 2)]);
}

#[test]
fn promotions_wait_for_each_other() {
    holds_bounded(
        two_promotions_and_a_free,
        &["Free", "(true, true)", "(false, true)"],
    );
}
