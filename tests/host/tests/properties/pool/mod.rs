// SPDX-License-Identifier: GPL-2.0

//! A whole pool of the real arithmetic, single-threaded, on bytes: what is stored is read back,
//! whatever was allocated, freed, moved, compacted, shortened and promoted between.

mod machine;
mod movers;

use machine::Pool;
use proptest::{prelude::*, sample::Index, test_runner::Config};
use std::fmt::Debug;
use zsmalloc_logic_tests::logic::word::Word;

/// One thing that is done.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Allocate and fill an object of one of the sizes.
    Malloc(Index, usize),
    /// Free an object.
    Free(Index),
    /// Write an object again.
    Write(Index, u8),
    /// Move the page an object begins on.
    Migrate(Index, usize),
    /// Compact the class of an object.
    Compact(Index),
    /// Give up the last pages of a zspage of an object's class, if no more objects have to move for
    /// it.
    Shorten(Index, usize),
    /// Move an object to one of the classes of larger slots.
    Promote(Index, Index),
}

/// A few sizes, so that classes have several zspages; in 65536ths of a page. Half of them are near
/// to each other, so that objects find room in classes of larger slots.
fn sizes() -> impl Strategy<Value = Vec<usize>> {
    let any = || prop_oneof![1usize..=65536, 1usize..4000, Just(65536)];
    let near = (any(), 500usize..3000).prop_map(|(size, more)| {
        (0..4)
            .map(|times| (size + times * more).min(65536))
            .collect()
    });
    prop_oneof![prop::collection::vec(any(), 1..4), near]
}

/// Up to `most` steps, more or less of them allocations.
fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    (3u32..15).prop_flat_map(move |mallocs| prop::collection::vec(step(mallocs), 1..most))
}

/// A step, which is an allocation as often as `mallocs` says.
fn step(mallocs: u32) -> impl Strategy<Value = Step> {
    prop_oneof![
        mallocs => (any::<Index>(), 0usize..4000).prop_map(|(size, wish)| Step::Malloc(size, wish)),
        3 => any::<Index>().prop_map(Step::Free),
        1 => any::<(Index, u8)>().prop_map(|(which, seed)| Step::Write(which, seed)),
        3 => (any::<Index>(), 0usize..4000).prop_map(|(which, wish)| Step::Migrate(which, wish)),
        2 => any::<Index>().prop_map(Step::Compact),
        2 => (any::<Index>(), 0usize..4).prop_map(|(which, most)| Step::Shorten(which, most)),
        2 => any::<(Index, Index)>().prop_map(|(which, to)| Step::Promote(which, to)),
    ]
}

/// Contents of an object.
fn contents(size: usize, seed: usize) -> Vec<u8> {
    (0..size)
        .map(|at| ((at * 7 + at / 256 + seed * 31) % 251).to_le_bytes()[0])
        .collect()
}

/// Compares what is stored with what should be.
fn check(pool: &Pool, objects: &[(usize, Vec<u8>)], after: &dyn Debug) {
    for (handle, bytes) in objects {
        assert!(
            pool.read(*handle, bytes.len()) == *bytes,
            "object {handle} after {after:?}"
        );
        pool.find(*handle);
    }
    pool.check_pages(objects.len());
}

/// Runs the steps, and compares everything after each.
fn run(shift: u32, chain: u32, sizes: &[usize], steps: Vec<Step>) {
    let mut pool = Pool::new(shift, chain);
    let mut objects: Vec<(usize, Vec<u8>)> = Vec::new();
    for step in steps {
        match step {
            Step::Malloc(which, wish) => {
                let size = (which.get(sizes) << shift >> 16).max(1);
                let handle = pool.malloc(size, wish);
                let bytes = contents(size, handle);
                pool.write(handle, &bytes);
                objects.push((handle, bytes));
            }
            _ if objects.is_empty() => {}
            Step::Free(which) => {
                let (handle, _) = objects.swap_remove(which.index(objects.len()));
                let (zspage, start) = pool.find(handle);
                pool.words[handle] = Word::dead(0);
                pool.give_slot(zspage, start);
            }
            Step::Write(which, seed) => {
                let which = which.index(objects.len());
                let (handle, bytes) = &mut objects[which];
                *bytes = contents(bytes.len(), usize::from(seed));
                pool.write(*handle, bytes);
            }
            Step::Migrate(which, wish) => {
                let word = pool.words[objects[which.index(objects.len())].0];
                pool.migrate(usize::try_from(word.phys()).unwrap() >> shift, wish);
            }
            Step::Compact(which) => {
                let word = pool.words[objects[which.index(objects.len())].0];
                pool.compact(u16::try_from(word.class()).unwrap());
            }
            Step::Shorten(which, most) => {
                let word = pool.words[objects[which.index(objects.len())].0];
                pool.shorten(u16::try_from(word.class()).unwrap(), most);
            }
            Step::Promote(which, to) => {
                pool.promote(objects[which.index(objects.len())].0, to);
            }
        }
        check(&pool, &objects, &step);
    }
    pool.pack();
    check(&pool, &objects, &"packing");
    for (handle, _) in objects {
        let (zspage, start) = pool.find(handle);
        pool.give_slot(zspage, start);
    }
    assert!(pool.zspages.is_empty() && pool.frames.iter().all(Option::is_none));
}

proptest! {
    #![proptest_config(Config { cases: 100, ..crate::config() })]

    #[test]
    fn what_is_stored_is_read_back_4k(
        chain in 4u32..=16,
        sizes in sizes(),
        steps in steps(250),
    ) {
        run(12, chain, &sizes, steps);
    }

    #[test]
    fn what_is_stored_is_read_back_16k(
        chain in 4u32..=16,
        sizes in sizes(),
        steps in steps(120),
    ) {
        run(14, chain, &sizes, steps);
    }

    #[test]
    fn what_is_stored_is_read_back_64k(
        chain in 4u32..=16,
        sizes in sizes(),
        steps in steps(60),
    ) {
        run(16, chain, &sizes, steps);
    }
}
