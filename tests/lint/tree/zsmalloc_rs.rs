// SPDX-License-Identifier: GPL-2.0

//! A small tree that keeps every rule: `tests/lint/run` plants faults in copies of it.

mod bindings;
#[path = "rust/front/mod.rs"]
mod front;
#[path = "rust/kapi/mod.rs"]
mod kapi;
#[path = "rust/logic/mod.rs"]
mod logic;
#[path = "rust/object/mod.rs"]
mod object;
#[path = "rust/pool/mod.rs"]
mod pool;
mod zpdesc_rs;

fn start() -> usize {
    crate::pool::first(&[1, 2])
}
