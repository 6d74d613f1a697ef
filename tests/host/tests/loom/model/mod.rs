// SPDX-License-Identifier: GPL-2.0

//! A small allocator that keeps the rules of `Documentation/locking.rst`.

pub(crate) mod audit;
pub(crate) mod fault;
pub(crate) mod free;
pub(crate) mod hold;
pub(crate) mod isolate;
pub(crate) mod map;
pub(crate) mod memory;
pub(crate) mod movers;
pub(crate) mod pool;
pub(crate) mod promote;
pub(crate) mod reclaim;
pub(crate) mod shorten;
pub(crate) mod spare;
pub(crate) mod two_classes;
