// SPDX-License-Identifier: GPL-2.0

//! Properties of the arithmetic, on random input or on all there is.

#![cfg(not(loom))]

mod fullness;
mod header;
mod pool;
mod slots;
mod span;
mod stats;
mod word;

use proptest::test_runner::Config;
use std::collections::BTreeMap;
use zsmalloc_logic_tests::{logic::size_class::Geometry, tables};

/// How properties are run: failing input is printed, nothing is written into the source tree.
fn config() -> Config {
    Config {
        cases: 2000,
        failure_persistence: None,
        ..Config::default()
    }
}

/// Every shape of class that there is, on any page size and with any chain, once; with its page
/// shift.
fn shapes() -> Vec<(u32, Geometry)> {
    let mut shapes = BTreeMap::new();
    for (shift, _, table) in tables() {
        for class in table.classes() {
            shapes.insert((shift, class.size, class.pages), *class);
        }
    }
    shapes
        .into_iter()
        .map(|((shift, ..), class)| (shift, class))
        .collect()
}
