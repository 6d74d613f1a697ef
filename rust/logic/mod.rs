// SPDX-License-Identifier: GPL-2.0

//! The arithmetic of the allocator: pure, safe, `core` only.
//!
//! Nothing here knows the kernel. The same files are compiled by the module and, as an ordinary
//! Cargo crate, by `tests/host`, where property tests hold them against an independent oracle.
//! The page size and the longest chain are arguments, so that one host run covers 4K, 16K and 64K
//! pages.

#![forbid(unsafe_code)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing
)]

pub mod conv;
pub mod freelist;
pub mod fullness;
pub mod header;
pub mod map_mode;
pub mod size_class;
pub mod span;
pub mod stats;
pub mod word;
