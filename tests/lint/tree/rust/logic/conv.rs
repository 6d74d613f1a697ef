// SPDX-License-Identifier: GPL-2.0

//! The one module in which `as` is written.

#![allow(clippy::as_conversions)]

/// Widens.
pub const fn widen(v: u16) -> usize {
    v as usize
}
