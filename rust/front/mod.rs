// SPDX-License-Identifier: GPL-2.0

//! The ways in: the C interface, the zpool driver, debugfs. The only place with raw handles.

mod cabi;
mod debugfs;
mod evict;
pub(crate) mod instance;
#[cfg(CONFIG_ZPOOL)]
pub(crate) mod zpool;
