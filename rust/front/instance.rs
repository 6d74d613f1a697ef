// SPDX-License-Identifier: GPL-2.0

//! A pool as the outside sees it, and what the module holds while it is loaded.

use super::debugfs;
use crate::kapi::{cpuhp, cpumask::Cpu, debugfs::Dir, global::Global};
use crate::pool::{shared::Shared, Pool};
use kernel::{c_str, prelude::*, str::CStr};

/// The module's state, for callbacks and exported functions.
pub(crate) static STATE: Global<State> = Global::new();

/// The module's state.
#[pin_data]
pub(crate) struct State {
    /// `zsmalloc_rs` in debugfs.
    pub(super) debugfs: Dir,
    /// What pools share.
    #[pin]
    pub(super) shared: Shared,
}

impl State {
    /// Sets up for chains of at most `chain` pages. May sleep.
    pub(crate) fn new(chain: u32) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            debugfs: Dir::new(c_str!("zsmalloc_rs")),
            shared <- Shared::new(chain),
        })
    }

    /// Creates the files in debugfs that are not a pool's.
    pub(crate) fn show(&'static self) {
        debugfs::show_module(&self.debugfs, &self.shared);
    }
}

/// The module's hotplug callbacks.
pub(crate) struct Hotplug;

impl cpuhp::Callbacks for Hotplug {
    fn prepare(cpu: Cpu) -> Result {
        STATE.get().ok_or(ENODEV)?.shared.cpu_prepare(cpu)
    }

    fn dead(cpu: Cpu) {
        if let Some(state) = STATE.get() {
            state.shared.cpu_dead(cpu);
        }
    }
}

/// A pool with its directory in debugfs.
pub(crate) struct Instance {
    /// Dropped first: its files show the pool.
    _debugfs: Dir,
    /// The pool. In a box, so that debugfs can point to it.
    pool: KBox<Pool>,
}

impl Instance {
    /// Creates a pool. May sleep.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the module is not ready, `ENOMEM`.
    pub(crate) fn new(name: &CStr) -> Result<KBox<Self>> {
        let state = STATE.get().ok_or(ENODEV)?;
        let pool = KBox::new(Pool::new(&state.shared, name)?, GFP_KERNEL)?;
        let dir = state.debugfs.dir(pool.name());
        debugfs::show_pool(&dir, &pool);
        let instance = Self {
            _debugfs: dir,
            pool,
        };
        Ok(KBox::new(instance, GFP_KERNEL)?)
    }

    /// The pool.
    #[inline(always)]
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }
}
