// SPDX-License-Identifier: GPL-2.0

//! Object memory.

use crate::{
    kapi::{self, Handle},
    logic::word::low,
    zpdesc_rs,
};

pub(crate) fn size(page: &zpdesc_rs::Zpdesc, _handle: Handle) -> usize {
    kapi::size(page.first(), low(1))
}
