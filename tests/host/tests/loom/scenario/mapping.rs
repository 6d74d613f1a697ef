// SPDX-License-Identifier: GPL-2.0

//! Mappers among themselves: W2.

use super::{holds, object, rejects, start, Fault, Pool, Seen};
use crate::model::pool::Shape;

/// Two threads count in one object. None of the counts may be lost.
fn two_mappers(fault: Option<Fault>, seen: &Seen) {
    let pool = Pool::new(Shape::Page, &[0], 1, fault).shared();
    let handle = object(&pool, 0);
    let count = move |pool: &Pool| {
        let mapped = pool.map(handle).expect("an object is lost");
        let value = mapped.read();
        mapped.write(value + 1);
        mapped.unmap();
        value
    };
    let other = start(&pool, count);
    let values = (count(&pool), other.join().unwrap());
    seen.note(values);
    pool.audit(&[(handle, 2)]);
}

#[test]
fn mappers_exclude_each_other() {
    holds(two_mappers, &["(0, 1)", "(1, 0)"]);
}

rejects! { two_mappers:
    map_must_acquire(MapRelaxed) => "Causality violation",
    map_must_look_at_lock(MapWithoutLock) => "Causality violation",
    unmap_must_release(UnmapRelaxed) => "Causality violation",
}
