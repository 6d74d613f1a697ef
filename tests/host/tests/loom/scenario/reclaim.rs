// SPDX-License-Identifier: GPL-2.0

//! Reclaim against free, malloc, map and migration: R1 to R7.

use super::{fill, holds, holds_bounded, rejects, start, Fault, Pool, Seen};
use crate::model::{
    free::Freed,
    pool::{Handle, Shape},
    reclaim::Reclaimed,
};
use loom::sync::Mutex;
use std::sync::Arc;

/// A user of the pool who can do without its objects, as zswap can: it has them in a table.
pub(super) struct Client {
    /// Where its objects are.
    pub(super) pool: Arc<Pool>,
    /// Handle and contents of each entry that is in the pool.
    table: Mutex<Vec<Option<(Handle, u64)>>>,
}

impl Client {
    /// A client with one entry for each value.
    fn new(pool: Pool, values: &[u64]) -> Arc<Self> {
        let pool = pool.with_evict().shared();
        let entries = values
            .iter()
            .map(|value| Some((super::object(&pool, *value), *value)));
        let entries = entries.collect();
        Self::of(pool, entries)
    }

    /// A client of a pool with these entries.
    pub(super) fn of(pool: Arc<Pool>, entries: Vec<Option<(Handle, u64)>>) -> Arc<Self> {
        let table = Mutex::new(entries);
        Arc::new(Self { pool, table })
    }

    /// R3: writes an object elsewhere and frees it, if it still is in the table.
    fn evict(&self, handle: Handle) -> bool {
        let mut table = self.table.lock().unwrap();
        let entry = table
            .iter_mut()
            .find(|entry| entry.is_some_and(|(other, _)| other == handle));
        if let Some(entry) = entry {
            let (_, value) = entry.take().unwrap();
            let mapped = self.pool.map(handle).expect("an object is lost");
            assert_eq!(mapped.read(), value, "another object is evicted");
            mapped.unmap();
            let freed = self.pool.free(handle);
            assert_eq!(freed, Freed::Deferred, "free from inside evict");
        }
        true
    }

    /// Drops an entry, as a page fault does.
    pub(super) fn invalidate(&self, number: usize) -> Option<Freed> {
        let entry = self.table.lock().unwrap()[number].take();
        let (handle, _) = entry?;
        Some(self.pool.free(handle))
    }

    /// Stores another entry if there is memory.
    fn store(&self, value: u64) {
        if let Some(handle) = self.pool.malloc() {
            fill(&self.pool, handle, value);
            self.table.lock().unwrap().push(Some((handle, value)));
        }
    }

    /// Reclaims, evicting by [`Self::evict`].
    pub(super) fn reclaim(&self, tries: usize) -> Reclaimed {
        self.pool.reclaim(tries, |handle| self.evict(handle))
    }

    /// Audits: what is left is what the table has.
    pub(super) fn audit(&self) {
        let table = self.table.lock().unwrap().clone();
        self.pool
            .audit(&table.into_iter().flatten().collect::<Vec<_>>());
    }
}

/// Starts a thread on the client.
pub(super) fn run<T: 'static>(
    client: &Arc<Client>,
    run: impl FnOnce(&Client) -> T + 'static,
) -> loom::thread::JoinHandle<T> {
    let with = client.clone();
    start(&client.pool, move |_| run(&with))
}

/// One task alone: the coldest goes first, and the three ways it ends.
fn reclaim_alone(fault: Option<Fault>, seen: &Seen) {
    let client = Client::new(Pool::new(Shape::Page, &[0, 1], 4, fault), &[1, 2, 3]);
    assert_eq!(client.pool.reclaim(2, |_| false), Reclaimed::Again);
    client.audit();
    // Both were put back at the front: zspage 0 is the coldest again.
    assert_eq!(client.reclaim(1), Reclaimed::Freed);
    client.audit();
    let left: Vec<u64> = client
        .table
        .lock()
        .unwrap()
        .iter()
        .flatten()
        .map(|entry| entry.1)
        .collect();
    assert_eq!(left, [3]);
    assert_eq!(client.reclaim(1), Reclaimed::Freed);
    seen.note(client.reclaim(1));
    client.audit();
}

#[test]
fn the_coldest_goes_first() {
    holds(reclaim_alone, &["Nothing"]);
}

/// An entry is dropped while its zspage is reclaimed.
fn reclaim_and_free(fault: Option<Fault>, seen: &Seen) {
    let client = Client::new(Pool::new(Shape::Page, &[0], 2, fault), &[1, 2]);
    let user = run(&client, |client| client.invalidate(1));
    seen.note(client.reclaim(1));
    seen.note(user.join().unwrap());
    while client.pool.work() {}
    client.audit();
}

#[test]
fn a_free_during_reclaim_is_not_lost() {
    holds(
        reclaim_and_free,
        &["Freed", "Again", "None", "Some(Free)", "Some(Deferred)"],
    );
}

rejects! { reclaim_and_free:
    free_must_notice_reclaim(FreeIgnoresReclaim) => "free from inside evict",
    the_header_keeps_its_handle(DeferOverwritesHandle) => "words are lost",
}

/// Evict is refused, so that what was freed meanwhile must be found among what was not.
fn refused_and_free(fault: Option<Fault>, seen: &Seen) {
    let client = Client::new(Pool::new(Shape::Page, &[0], 2, fault), &[1, 2]);
    let user = run(&client, |client| client.invalidate(0));
    seen.note(client.pool.reclaim(1, |_| false));
    seen.note(user.join().unwrap());
    client.audit();
}

#[test]
fn a_refused_zspage_goes_back_with_what_is_left() {
    holds(refused_and_free, &["Again", "Some(Free)", "Some(Deferred)"]);
}

rejects! { refused_and_free:
    a_deferred_free_keeps_the_handle(DeferOverwritesHandle) => "words are lost",
}

/// The only object of a zspage is dropped while reclaim has it, and evict refused.
fn refused_and_free_last(fault: Option<Fault>, seen: &Seen) {
    let client = Client::new(Pool::new(Shape::Page, &[0], 1, fault), &[1]);
    let user = run(&client, |client| client.invalidate(0));
    seen.note(client.pool.reclaim(1, |_| false));
    seen.note(user.join().unwrap());
    client.audit();
}

#[test]
fn an_isolated_zspage_is_freed_by_reclaim_alone() {
    holds(
        refused_and_free_last,
        &["Freed", "Again", "Nothing", "Some(Free)", "Some(Deferred)"],
    );
}

rejects! { refused_and_free_last:
    free_must_not_touch_an_isolated_zspage(FreeIgnoresReclaim) => "Causality violation",
}

/// An entry is dropped and another one stored, in one word if that is given back too soon.
fn reclaim_and_replace(fault: Option<Fault>, seen: &Seen) {
    let client = Client::new(Pool::new(Shape::Page, &[0, 1], 2, fault), &[1, 2]);
    let user = run(&client, |client| {
        let freed = client.invalidate(0);
        client.store(3);
        freed
    });
    seen.note(client.reclaim(1));
    seen.note(user.join().unwrap());
    while client.pool.work() {}
    client.audit();
}

#[test]
fn a_new_object_is_not_taken_for_the_old_one() {
    holds(
        reclaim_and_replace,
        &["Freed", "Again", "None", "Some(Free)", "Some(Deferred)"],
    );
}

rejects! { reclaim_and_replace:
    a_word_waits_for_the_end_of_reclaim(DeferReturnsWord) => "words are lost",
}

/// An entry is stored while the only zspage with room is under reclaim.
fn reclaim_and_malloc(fault: Option<Fault>, seen: &Seen) {
    let client = Client::new(Pool::new(Shape::Page, &[0, 1], 3, fault), &[1]);
    let user = run(&client, |client| client.store(2));
    seen.note(client.reclaim(1));
    user.join().unwrap();
    client.audit();
    seen.note(client.table.lock().unwrap().iter().flatten().count());
}

#[test]
fn malloc_leaves_an_isolated_zspage_alone() {
    holds(reclaim_and_malloc, &["Freed", "Again", "0", "1"]);
}

rejects! { reclaim_and_malloc:
    malloc_must_not_use_an_isolated_zspage(MallocTakesReclaimed) => "the LRU has other",
}

/// A page moves while its zspage is reclaimed and one of its objects dropped.
fn reclaim_and_migrate(fault: Option<Fault>, seen: &Seen) {
    let client = Client::new(Pool::new(Shape::Page, &[0, 1], 2, fault), &[1, 2]);
    let user = run(&client, |client| client.invalidate(1));
    let mover = run(&client, |client| client.pool.migrate(0));
    seen.note(client.reclaim(1));
    seen.note(user.join().unwrap());
    seen.note(mover.join().unwrap());
    while client.pool.work() {
        seen.note("worker");
    }
    client.audit();
}

#[test]
fn pages_of_an_isolated_zspage_may_move() {
    let outcomes = [
        "Freed",
        "Again",
        "Some(Deferred)",
        "Moved",
        "Busy",
        "NotOurs",
        "\"worker\"",
    ];
    holds_bounded(reclaim_and_migrate, &outcomes);
}

rejects! { reclaim_and_migrate:
    reclaim_finds_the_page_again(ReclaimKeepsPage) => "Causality violation",
}

/// A handle that is freed, but not yet given back, must stay unusable when its page moves.
fn deferred_and_migrate(fault: Option<Fault>, seen: &Seen) {
    let client = Client::new(Pool::new(Shape::Page, &[0, 1], 2, fault), &[1, 2]);
    let handle = client.table.lock().unwrap()[0].unwrap().0;
    let mover = run(&client, |client| client.pool.migrate(0));
    let reclaimed = client.pool.reclaim(1, |evicted| {
        client.evict(evicted);
        assert!(
            client.pool.map(handle).is_none(),
            "a freed object can be mapped"
        );
        true
    });
    seen.note(reclaimed);
    seen.note(mover.join().unwrap());
    while client.pool.work() {}
    client.audit();
}

#[test]
fn a_deferred_free_outlives_a_migration() {
    holds_bounded(deferred_and_migrate, &["Freed", "Moved", "Busy"]);
}

rejects! { deferred_and_migrate:
    movers_keep_dead(MoveRevives) => "a freed object can be mapped",
}

/// An object is mapped while its zspage is reclaimed.
fn reclaim_and_map(fault: Option<Fault>, seen: &Seen) {
    let client = Client::new(Pool::new(Shape::Page, &[0], 1, fault), &[1]);
    let user = run(&client, |client| {
        let table = client.table.lock().unwrap();
        let Some((handle, value)) = table[0] else {
            return false;
        };
        let mapped = client.pool.map(handle).expect("an object is lost");
        assert_eq!(mapped.read(), value);
        mapped.unmap();
        true
    });
    seen.note(client.reclaim(1));
    seen.note(user.join().unwrap());
    client.audit();
}

#[test]
fn an_object_in_use_is_hot() {
    holds(reclaim_and_map, &["Freed", "Again", "true", "false"]);
}

rejects! { reclaim_and_map:
    map_must_not_touch_the_lru(MapTouchesLru) => "the LRU has other",
}

/// A client whose only entry, which holds 2, lies on both pages of a zspage.
fn crossing(fault: Option<Fault>) -> Arc<Client> {
    let client = Client::new(Pool::new(Shape::Chain2, &[0, 2, 4], 3, fault), &[1, 2]);
    assert_eq!(client.invalidate(0), Some(Freed::Free));
    client
}

/// A zspage is to give up its last page while it is reclaimed.
fn reclaim_and_shorten(fault: Option<Fault>, seen: &Seen) {
    let client = crossing(fault);
    let user = run(&client, |client| client.pool.shorten());
    seen.note(client.reclaim(1));
    seen.note(user.join().unwrap());
    while client.pool.work() {}
    client.audit();
}

#[test]
fn an_isolated_zspage_keeps_its_pages() {
    holds(reclaim_and_shorten, &["Freed", "0", "1"]);
}

/// An entry is stored while the zspage that lacks a page is reclaimed.
fn reclaim_and_lengthen(fault: Option<Fault>, seen: &Seen) {
    let client = crossing(fault);
    assert_eq!(client.pool.shorten(), 1);
    let user = run(&client, |client| client.store(3));
    seen.note(client.reclaim(1));
    user.join().unwrap();
    while client.pool.work() {}
    client.audit();
    seen.note(client.table.lock().unwrap().iter().flatten().count());
}

#[test]
fn an_isolated_zspage_gets_no_pages() {
    holds(reclaim_and_lengthen, &["Freed", "Again", "1"]);
}

/// Two reclaimers and two zspages.
fn two_reclaimers(fault: Option<Fault>, seen: &Seen) {
    let client = Client::new(Pool::new(Shape::Page, &[0, 1], 3, fault), &[1, 2, 3]);
    let other = run(&client, |client| client.reclaim(1));
    seen.note((client.reclaim(1), other.join().unwrap()));
    while client.pool.work() {}
    client.audit();
}

#[test]
fn reclaimers_do_not_get_in_each_others_way() {
    holds(two_reclaimers, &["(Freed, Freed)"]);
}

rejects! { two_reclaimers:
    reclaim_looks_again_at_what_it_picked(PickUnchecked) => "Causality violation",
}

/// The zspage that reclaim has picked is freed before it has the class lock.
fn pick_and_free(fault: Option<Fault>, seen: &Seen) {
    let client = Client::new(Pool::new(Shape::Page, &[0], 1, fault), &[1]);
    let user = run(&client, |client| client.invalidate(0));
    seen.note(client.reclaim(1));
    seen.note(user.join().unwrap());
    client.audit();
}

#[test]
fn a_pick_may_be_gone() {
    holds(
        pick_and_free,
        &[
            "Freed",
            "Again",
            "Nothing",
            "None",
            "Some(Free)",
            "Some(Deferred)",
        ],
    );
}

rejects! { pick_and_free:
    reclaim_looks_whether_it_is_still_there(PickUnchecked) => "Causality violation",
}
