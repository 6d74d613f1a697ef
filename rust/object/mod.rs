// SPDX-License-Identifier: GPL-2.0

//! The few unsafe primitives on object memory.
//!
//! Handle words, object headers, copies, mapped objects, and the zspages that hold them. Safe
//! functions here rest on invariants of the types, and on the rules of `Documentation/locking.rst`,
//! some of which no type can state: that a header leads to its object's word, say, or who has a
//! word's LOCK. `rust/pool`, which is all policy, needs no `unsafe` of its own, but has to keep
//! these rules: for memory safety the two are to be read together.

pub(crate) mod bounce;
mod chain;
mod copy;
mod counted;
pub(crate) mod handle;
mod list;
pub(crate) mod lists;
pub(crate) mod lru;
pub(crate) mod magazine;
pub(crate) mod mapped;
#[cfg(CONFIG_COMPACTION)]
pub(crate) mod migrate;
pub(crate) mod objects;
#[cfg(CONFIG_COMPACTION)]
pub(crate) mod on_page;
mod ring;
pub(crate) mod slot;
pub(crate) mod spares;
pub(crate) mod tail;
mod units;
pub(crate) mod words;
pub(crate) mod zspage;

/// In place of page migration, where the kernel has none.
#[cfg(not(CONFIG_COMPACTION))]
mod migrate {
    /// An owner of zspages, whose pages stay where they are: any.
    pub(crate) trait Migrate: Sync {}
    impl<T: Sync> Migrate for T {}
}
