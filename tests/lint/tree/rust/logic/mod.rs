// SPDX-License-Identifier: GPL-2.0

//! Pure arithmetic.

#![forbid(unsafe_code)]

pub mod conv;
pub mod padding;
pub mod word;
