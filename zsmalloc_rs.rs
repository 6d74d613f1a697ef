// SPDX-License-Identifier: GPL-2.0

//! zsmalloc in Rust: the compressed-memory allocator under zswap and zram.
//!
//! Compressed pages are small objects of odd sizes, and there are many of them. They are packed
//! into *zspages*: chains of pages cut into slots of one size. An object is known by a *handle*,
//! the address of a *handle word* that says where the object is now, so that everything may move.
//!
//! ```text
//!  handle ──> word [ address | class | flags | LOCK ]
//!                      │
//!                      v
//!             slot [ header: handle | contents ]    in a page of a zspage
//!                                                       │ zpdesc (struct page)
//!                                                       v
//!             size class [ lock, zspages by fullness ] <── zspage
//! ```
//!
//! # Layers
//!
//! `logic` (pure) ← `kapi` (the kernel, safe), `zpdesc_rs` (`struct page`) ← `object` (the unsafe
//! primitives) ← `pool` (policy, no `unsafe`) ← `front` (C, zpool, debugfs). `scripts/layers`
//! checks the direction.
//!
//! # Locks
//!
//! There is no lock for a whole pool, except for the order of use that pools with an evict handler
//! keep. In this order:
//!
//! 1. page lock, or frozen references in its place (both are only tried),
//! 2. the size class's spinlock ([`pool::class`]): zspages, lists, headers, and the location part
//!    of the words of their objects. Two are held at once by `rust/pool/promote.rs` only, larger
//!    slots first; nothing is allocated, freed or slept on under it;
//! 3. LOCK in a handle word ([`object::handle`]): exclusive use of one object. Mappers wait for it
//!    with no other lock of ours held but what they have mapped already, movers only try it;
//! 4. the bounce buffer's local lock ([`object::bounce`]), inside a word's LOCK.
//!
//! The LRU's spinlock ([`object::lru`]), of pools with an evict handler, is taken inside a class's
//! lock; nothing is taken inside it.
//!
//! The depots of handle words and of descriptors of zspages (`rust/object/units.rs`) have leaf
//! locks, never taken under a class's lock or the LRU's.
//!
//! A mapper may allocate and free other objects: LOCK and the bounce buffer's lock are then held
//! around a class's lock. That closes no circle, because under a class's lock LOCK is only tried.
//! `Documentation/locking.rst` has the rules and the races they are for.

#[path = "rust/front/mod.rs"]
mod front;
#[path = "rust/kapi/mod.rs"]
mod kapi;
#[allow(unreachable_pub)] // It is tested on the host; `pub` there.
#[cfg_attr(not(CONFIG_COMPACTION), allow(dead_code))] // What page migration needs.
#[path = "rust/logic/mod.rs"]
mod logic;
#[path = "rust/object/mod.rs"]
mod object;
#[path = "rust/pool/mod.rs"]
mod pool;
mod zpdesc_rs;

use front::instance::{Hotplug, State, STATE};
use kapi::{cpuhp, module::Published};
use kernel::{c_str, prelude::*};

module! {
    type: ZsmallocRs,
    name: "zsmalloc_rs",
    author: "The zsmalloc_rs developers",
    description: "zsmalloc compressed-memory allocator",
    license: "GPL",
    alias: ["zpool-zsmalloc_rs"],
}

/// The loaded module. Fields are dropped in order: first the ways in, last what they lead to.
struct ZsmallocRs {
    /// zswap's way in.
    #[cfg(CONFIG_ZPOOL)]
    _zpool: kapi::zpool::Registration<front::zpool::ZsmallocRs>,
    /// CPUs coming and going.
    _hotplug: cpuhp::Registration<Hotplug>,
    /// What pools share.
    _state: Published<State>,
}

impl kernel::Module for ZsmallocRs {
    #[cfg_attr(not(CONFIG_ZPOOL), allow(unused_variables))]
    fn init(module: &'static ThisModule) -> Result<Self> {
        kapi::direct_map::init()?;
        kapi::memmap::init();
        let state = KBox::pin_init(State::new(kapi::module::chain()), GFP_KERNEL)?;
        let state = STATE.publish(state)?;
        let hotplug = cpuhp::Registration::new(c_str!("mm/zsmalloc_rs:prepare"))?;
        let loaded = Self {
            #[cfg(CONFIG_ZPOOL)]
            _zpool: kapi::zpool::Registration::new(module)?,
            _hotplug: hotplug,
            _state: state,
        };
        // Last: a module that cannot be loaded is freed even if a file of it is open.
        if let Some(state) = STATE.get() {
            state.show();
        }
        Ok(loaded)
    }
}
