// SPDX-License-Identifier: GPL-2.0

//! Policy.

#![deny(unsafe_code)]

use crate::object;

pub(crate) fn first(sizes: &[usize]) -> usize {
    sizes.first().copied().map_or(0, object::round)
}
