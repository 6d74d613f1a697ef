// SPDX-License-Identifier: GPL-2.0

//! The module's arithmetic as an ordinary crate, and an oracle to hold it against.
//!
//! [`logic`] is the very source that the kernel module is built from. [`oracle`] works out the same
//! numbers from their published description, in another way. The tests are in `tests/`; what they
//! cover and how to run them is in `README.rst`.

#[path = "../../../rust/logic/mod.rs"]
pub mod logic;
pub mod oracle;

use logic::size_class::{ClassTable, MAX_CHAIN, MIN_CHAIN};

/// Page sizes that Linux has on 64-bit machines, as shifts.
pub const PAGE_SHIFTS: [u32; 3] = [12, 14, 16];

/// The class table of one page size and one longest chain, if they are supported.
pub fn class_table(page_shift: u32, chain: u32) -> Option<ClassTable> {
    let mut table = ClassTable::EMPTY;
    table.set_up(page_shift, chain)?;
    Some(table)
}

/// The class table of every page size and every longest chain.
pub fn tables() -> impl Iterator<Item = (u32, u32, ClassTable)> {
    let shapes = PAGE_SHIFTS
        .into_iter()
        .flat_map(|shift| (MIN_CHAIN..=MAX_CHAIN).map(move |chain| (shift, chain)));
    shapes.map(|(shift, chain)| match class_table(shift, chain) {
        Some(table) => (shift, chain, table),
        None => panic!("no table for page shift {shift} and chain {chain}"),
    })
}
