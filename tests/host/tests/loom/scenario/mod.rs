// SPDX-License-Identifier: GPL-2.0

//! Threads let loose on the model, and the means to judge what loom finds.

mod compaction;
mod freeing;
mod mapping;
mod migration;
mod promotion;
mod reclaim;
mod shortening;
mod spares;
mod two_classes;

use super::model::{
    fault::Fault,
    pool::{Handle, Pool},
    two_classes::Size,
};
use loom::{model::Builder, thread};
use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex},
};

/// Preemptions in one run of a scenario that would take too long without a bound, and of broken
/// variants. LOOM_MAX_PREEMPTIONS overrides it.
const PREEMPTIONS: usize = 3;

/// What happened in any of the runs. A scenario that never comes to its point proves nothing.
#[derive(Default)]
struct Seen(Mutex<BTreeMap<String, usize>>);

impl Seen {
    /// Counts an outcome.
    fn note(&self, outcome: impl Debug) {
        let mut seen = self.0.lock().unwrap();
        *seen.entry(format!("{outcome:?}")).or_default() += 1;
    }

    /// All of these must have happened.
    fn expect(&self, outcomes: &[&str]) {
        let seen = self.0.lock().unwrap();
        println!("seen: {seen:?}");
        for outcome in outcomes {
            assert!(seen.contains_key(*outcome), "{outcome} never happened");
        }
    }
}

/// A scenario: builds a pool with a fault or none, runs its threads, audits.
type Scenario = fn(Option<Fault>, &Seen);

/// Explores a scenario with at most so many preemptions in a run. Returns what happened.
fn explore(scenario: Scenario, fault: Option<Fault>, preemptions: Option<usize>) -> Arc<Seen> {
    let seen = Arc::new(Seen::default());
    let mut builder = Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    builder.max_branches = builder.max_branches.max(10_000);
    let runs = seen.clone();
    builder.check(move || scenario(fault, &runs));
    seen
}

/// The scenario must hold in all interleavings, and come to all these outcomes.
fn holds(scenario: Scenario, outcomes: &[&str]) {
    explore(scenario, None, None).expect(outcomes);
}

/// [`holds`] for scenarios with too many interleavings to try them all.
fn holds_bounded(scenario: Scenario, outcomes: &[&str]) {
    explore(scenario, None, Some(PREEMPTIONS)).expect(outcomes);
}

/// Tests that loom rejects broken variants of a scenario, each with what it must find.
macro_rules! rejects {
    ($scenario:ident: $($test:ident($fault:ident) => $finding:literal,)+) => {$(
        #[test]
        #[should_panic(expected = $finding)]
        fn $test() {
            super::explore($scenario, Some(super::Fault::$fault), Some(super::PREEMPTIONS));
        }
    )+};
}
use rejects;

/// Allocates an object and writes its contents.
fn object(pool: &Pool, value: u64) -> Handle {
    object_in(pool, Size::Large, value)
}

/// Allocates an object of a class and writes its contents.
fn object_in(pool: &Pool, size: Size, value: u64) -> Handle {
    let handle = pool.malloc_in(size).expect("the scenario has memory");
    fill(pool, handle, value);
    handle
}

/// Writes the contents of a new object.
fn fill(pool: &Pool, handle: Handle, value: u64) {
    let mapped = pool.map(handle).expect("a new object can be mapped");
    mapped.write(value);
    mapped.unmap();
}

/// Maps an object, checks what it holds and writes something else.
fn replace(pool: &Pool, handle: Handle, old: u64, new: u64) {
    let mapped = pool.map(handle).expect("an object is lost");
    assert_eq!(mapped.read(), old, "contents are stale");
    mapped.write(new);
    mapped.unmap();
}

/// Starts a thread on the pool.
fn start<T: 'static>(
    pool: &Arc<Pool>,
    run: impl FnOnce(&Pool) -> T + 'static,
) -> thread::JoinHandle<T> {
    let pool = pool.clone();
    thread::spawn(move || run(&pool))
}
