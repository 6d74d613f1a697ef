// SPDX-License-Identifier: GPL-2.0

//! Safe abstractions over the kernel interfaces that the `kernel` crate of 6.12 lacks.
//!
//! One file per C header or concept. What differs between kernel versions stays here, in
//! `rust/helpers` and in `zpdesc_rs.rs`.

pub(crate) mod bindings;
pub(crate) mod conv;
pub(crate) mod cpuhp;
pub(crate) mod cpumask;
pub(crate) mod debugfs;
pub(crate) mod direct_map;
pub(crate) mod gfp;
pub(crate) mod memmap;
pub(crate) mod module;
#[cfg(CONFIG_COMPACTION)]
pub(crate) mod movable;
pub(crate) mod page_alloc;
pub(crate) mod percpu;
pub(crate) mod pinned_slice;
pub(crate) mod sched;
pub(crate) mod shrinker;
pub(crate) mod spinlock;
pub(crate) mod task;
pub(crate) mod warn;
pub(crate) mod workqueue;
#[cfg(CONFIG_ZPOOL)]
pub(crate) mod zpool;
