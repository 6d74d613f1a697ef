// SPDX-License-Identifier: GPL-2.0

//! Bounce buffers: where an object in two separate pages is put together while it is mapped.
//!
//! One page-sized buffer per CPU, under that CPU's local lock from map to unmap. Buffers come from
//! `kmalloc`: zswap wants an address in the direct map.

use super::{copy::Pieces, handle::Handle, slot::Slot};
use crate::kapi::{
    cpuhp::GoneCpu,
    cpumask::{possible_cpus, Cpu},
    percpu::PerCpu,
    sched, task,
};
use crate::logic::{conv::count, header::HEADER_SIZE, map_mode::MapMode, word::Word};
use crate::zpdesc_rs::PAGE_SIZE;
use core::{
    mem::MaybeUninit,
    ptr::{null_mut, NonNull},
    sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering},
};
use kernel::prelude::*;

/// What a buffer is, to the slab allocator.
type Buffer = MaybeUninit<[u8; PAGE_SIZE]>;

/// One CPU's buffer. Fields other than `buffer` belong to the holder of the CPU's local lock;
/// others look at `task` only, and only for themselves. So all accesses are Relaxed.
struct Bounce {
    /// `PAGE_SIZE` bytes; null while the CPU is offline.
    buffer: AtomicPtr<u8>,
    /// The handle it is used for; 0 if it is not.
    owner: AtomicUsize,
    /// The task that uses it, 0 if none does. For comparison only.
    task: AtomicUsize,
    /// The object may be written, so it has to be copied back.
    written: AtomicBool,
    /// How often the buffer was used.
    uses: AtomicUsize,
}

/// A CPU's buffer, for the contents of an object in slots of `size` bytes. Its local lock is held.
fn pieces(buffer: NonNull<u8>, size: usize) -> Pieces {
    // SAFETY: A buffer has room for a page, more than any object that spans pages.
    unsafe { Pieces::one(buffer, size.min(PAGE_SIZE).saturating_sub(HEADER_SIZE)) }
}

/// The buffers of all CPUs.
pub(crate) struct BounceBuffers(PerCpu<Bounce>);

impl BounceBuffers {
    /// No buffers yet: [`Self::prepare`] brings a CPU's. May sleep.
    pub(crate) fn new() -> Result<Self> {
        let buffers = PerCpu::new(|| Bounce {
            buffer: AtomicPtr::new(null_mut()),
            owner: AtomicUsize::new(0),
            task: AtomicUsize::new(0),
            written: AtomicBool::new(false),
            uses: AtomicUsize::new(0),
        })?;
        Ok(Self(buffers))
    }

    /// Allocates the buffer of a CPU that is about to come online. May sleep.
    pub(crate) fn prepare(&self, cpu: Cpu) -> Result {
        let bounce = self.0.of_cpu(cpu);
        if bounce.buffer.load(Ordering::Relaxed).is_null() {
            let buffer: *mut Buffer = KBox::into_raw(KBox::new_uninit(GFP_KERNEL)?);
            bounce.buffer.store(buffer.cast(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Frees the buffer of a CPU that is gone. May sleep.
    pub(crate) fn dead(&self, cpu: &GoneCpu) {
        // SAFETY: Nothing of ours runs there.
        unsafe { self.free_buffer(cpu.cpu()) };
    }

    /// Frees a CPU's buffer. May sleep.
    ///
    /// # Safety
    ///
    /// Nobody uses it.
    unsafe fn free_buffer(&self, cpu: Cpu) {
        let buffer = &self.0.of_cpu(cpu).buffer;
        if let Some(buffer) = NonNull::new(buffer.swap(null_mut(), Ordering::Relaxed)) {
            // SAFETY: From `prepare`; nobody uses it, by this function's contract.
            drop(unsafe { KBox::from_raw(buffer.as_ptr().cast::<Buffer>()) });
        }
    }

    /// Puts the object at `word` into this CPU's buffer and returns it. The caller holds the
    /// word's LOCK, and no buffer: [`Self::is_busy`]. `None` if the CPU has no buffer.
    ///
    /// The task stays on its CPU until [`Self::put`]. On PREEMPT_RT it waits for another one that
    /// uses the buffer.
    pub(crate) fn get(
        &self,
        handle: Handle,
        word: Word,
        size: usize,
        mode: MapMode,
    ) -> Option<NonNull<u8>> {
        sched::lock_bounce();
        let bounce = self.0.current_cpu();
        let buffer = NonNull::new(bounce.buffer.load(Ordering::Relaxed));
        let contents = Slot::of_split(word).contents(size);
        let (Some(buffer), Some(contents)) = (buffer, contents) else {
            // SAFETY: This function has taken it and not released it.
            unsafe { sched::unlock_bounce() };
            return None;
        };
        if mode.reads() {
            contents.copy_to(pieces(buffer, size));
        }
        bounce.owner.store(handle.addr(), Ordering::Relaxed);
        bounce.task.store(task::current_task(), Ordering::Relaxed);
        let uses = bounce.uses.load(Ordering::Relaxed).wrapping_add(1);
        bounce.uses.store(uses, Ordering::Relaxed);
        bounce.written.store(mode.writes(), Ordering::Relaxed);
        Some(buffer)
    }

    /// How often objects were mapped through a buffer.
    pub(crate) fn used(&self) -> usize {
        let uses = self
            .0
            .all()
            .map(|bounce| bounce.uses.load(Ordering::Relaxed));
        uses.fold(0, usize::wrapping_add)
    }

    /// Bytes of all buffers.
    pub(crate) fn bytes(&self) -> usize {
        let buffers = self.0.all().map(|bounce| &bounce.buffer);
        let online = buffers.filter(|buffer| !buffer.load(Ordering::Relaxed).is_null());
        count(online).wrapping_mul(PAGE_SIZE)
    }

    /// This task uses its CPU's buffer, so waiting for it would not help. With preemption off, or
    /// on PREEMPT_RT.
    ///
    /// The answer holds: no other task stores this one's address, and a task with a buffer does not
    /// change CPUs.
    pub(crate) fn is_busy(&self) -> bool {
        self.0.current_cpu().task.load(Ordering::Relaxed) == task::current_task()
    }

    /// Ends what [`Self::get`] began: copies back what may have been written. False if this CPU's
    /// buffer is not used for `handle`.
    pub(crate) fn put(&self, handle: Handle, word: Word, size: usize) -> bool {
        let bounce = self.0.current_cpu();
        if bounce.owner.load(Ordering::Relaxed) != handle.addr() {
            return false;
        }
        let buffer = NonNull::new(bounce.buffer.load(Ordering::Relaxed));
        let written = bounce.written.load(Ordering::Relaxed);
        let contents = Slot::of_split(word).contents(size);
        if let (Some(buffer), Some(contents), true) = (buffer, contents, written) {
            pieces(buffer, size).copy_to(contents);
        }
        bounce.owner.store(0, Ordering::Relaxed);
        bounce.task.store(0, Ordering::Relaxed);
        // SAFETY: `get` has taken it: the buffer was in use for `handle`.
        unsafe { sched::unlock_bounce() };
        true
    }
}

impl Drop for BounceBuffers {
    fn drop(&mut self) {
        for cpu in possible_cpus() {
            // SAFETY: Nobody uses what is being dropped.
            unsafe { self.free_buffer(cpu) };
        }
    }
}
