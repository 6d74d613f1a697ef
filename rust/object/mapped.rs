// SPDX-License-Identifier: GPL-2.0

//! A mapped object: exclusive use of its memory.

use super::{bounce::BounceBuffers, handle::Handle};
use crate::kapi::{
    direct_map::phys_to_virt,
    sched::{self, PreemptGuard},
};
use crate::logic::{map_mode::MapMode, word::Word};
use core::ptr::NonNull;

/// Why an object was not mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    /// The handle belongs to no object.
    Dead,
    /// In an interrupt, where the owner of the word or of the buffer may be what was interrupted.
    Interrupt,
    /// Another object that spans pages is mapped on this CPU.
    Busy,
}

/// Keeps the task on its CPU from map to unmap, so that whoever holds a word is running.
///
/// Not on PREEMPT_RT: compressors take sleeping locks there while an object is mapped.
struct Pin(Option<PreemptGuard>);

impl Pin {
    /// Until the value is dropped.
    #[inline(always)]
    fn new() -> Self {
        Self((!cfg!(CONFIG_PREEMPT_RT)).then(PreemptGuard::new))
    }

    /// Until [`Self::end`].
    #[inline(always)]
    fn keep(self) {
        if let Some(guard) = self.0 {
            guard.keep();
        }
    }

    /// Ends what [`Self::keep`] has begun.
    #[inline(always)]
    fn end() {
        if !cfg!(CONFIG_PREEMPT_RT) {
            // SAFETY: Called for an object whose LOCK was held; who unmaps has mapped, and the pin
            // of that is still kept.
            drop(unsafe { PreemptGuard::kept() });
        }
    }
}

/// Maps an object if nothing stands in the way, and returns its address: all that [`map`] does for
/// most objects.
#[inline(always)]
pub(crate) fn try_map(handle: Handle) -> Option<NonNull<u8>> {
    if sched::in_interrupt() {
        return None;
    }
    let pin = Pin::new();
    let word = handle.try_lock_direct()?;
    pin.keep();
    Some(address(word))
}

/// Maps an object and returns its address. `size` gives the slot size in bytes of a class number.
///
/// The word is locked, and preemption off, until [`unmap`].
pub(crate) fn map(
    buffers: &BounceBuffers,
    handle: Handle,
    mode: MapMode,
    size: impl FnOnce(u32) -> usize,
) -> Result<NonNull<u8>, Refused> {
    if sched::in_interrupt() {
        return Err(Refused::Interrupt);
    }
    let pin = Pin::new();
    let word = handle.lock().ok_or(Refused::Dead)?;
    let address = if word.is_split() {
        map_split(buffers, handle, word, mode, size(word.class()))?
    } else {
        address(word)
    };
    pin.keep();
    Ok(address)
}

/// Where the contents of a direct object are.
#[inline(always)]
fn address(word: Word) -> NonNull<u8> {
    // SAFETY: Addresses of memory are not null.
    unsafe { NonNull::new_unchecked(phys_to_virt(word.contents())) }
}

/// [`map`] for an object in two separate pages.
fn map_split(
    buffers: &BounceBuffers,
    handle: Handle,
    word: Word,
    mode: MapMode,
    size: usize,
) -> Result<NonNull<u8>, Refused> {
    let buffer = if buffers.is_busy() {
        None
    } else {
        buffers.get(handle, word, size, mode)
    };
    buffer.ok_or_else(|| {
        handle.unlock(word);
        Refused::Busy
    })
}

/// Ends [`map`] if the object is one that [`try_map`] could have mapped. False if not: nothing was
/// done then.
#[inline(always)]
pub(crate) fn try_unmap(handle: Handle) -> bool {
    let unlocked = handle.load().unlocked_direct();
    if let Some(unlocked) = unlocked {
        handle.unlock(unlocked);
        Pin::end();
    }
    unlocked.is_some()
}

/// Ends [`map`]. False if the object is not mapped, or is in two pages and not in this CPU's
/// buffer: nothing was done then.
pub(crate) fn unmap(
    buffers: &BounceBuffers,
    handle: Handle,
    size: impl FnOnce(u32) -> usize,
) -> bool {
    let word = handle.load();
    if !word.is_locked() {
        return false;
    }
    if word.is_split() && !buffers.put(handle, word.unlocked(), size(word.class())) {
        return false;
    }
    handle.unlock(word.unlocked());
    Pin::end();
    true
}
