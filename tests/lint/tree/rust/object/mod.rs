// SPDX-License-Identifier: GPL-2.0

//! Object memory.

use crate::{
    kapi::{self, low as byte},
    logic::word::low,
    zpdesc_rs,
};

/// A handle, made from its number.
pub(crate) struct Handle(usize);

impl Handle {
    /// Takes a raw handle.
    pub(crate) fn from_raw(raw: usize) -> Self {
        Handle(raw)
    }
}

pub(crate) fn size(page: &zpdesc_rs::Zpdesc, _handle: Handle) -> usize {
    kapi::size(page.first(), low(1))
}
