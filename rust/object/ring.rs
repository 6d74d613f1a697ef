// SPDX-License-Identifier: GPL-2.0

//! Rings: doubly linked through the values themselves, reached from both ends.

use core::{
    cell::Cell,
    ptr::{null, NonNull},
};

/// The neighbours of a value on a ring; null if it is on none.
pub(super) struct Links<T> {
    /// The next value; the value itself if it is alone.
    next: Cell<*const T>,
    /// The one before; the last if this is the first.
    prev: Cell<*const T>,
}

impl<T> Links<T> {
    /// Of a value that is on no ring.
    pub(super) const fn new() -> Self {
        Self {
            next: Cell::new(null()),
            prev: Cell::new(null()),
        }
    }

    /// The value is on a ring.
    #[inline(always)]
    pub(super) fn are_set(&self) -> bool {
        !self.next.get().is_null()
    }
}

/// A value that can be on a ring.
pub(super) trait Linked: Sized {
    /// Its neighbours there.
    fn links(&self) -> &Links<Self>;
}

/// A ring, reached through its first value.
///
/// # Invariants
///
/// The values on it live until they are taken off. Whoever has it holds the lock that guards the
/// links of its values.
pub(super) struct Ring<T>(Cell<Option<NonNull<T>>>);

// SAFETY: It is reached under the lock that guards it, and so are the links of its values.
unsafe impl<T: Send> Send for Ring<T> {}

impl<T: Linked> Ring<T> {
    /// An empty ring.
    pub(super) const fn new() -> Self {
        Self(Cell::new(None))
    }

    /// The first value.
    #[inline(always)]
    pub(super) fn first(&self) -> Option<&T> {
        self.0.get().map(|first| Self::follow(first.as_ptr()))
    }

    /// The last value.
    pub(super) fn last(&self) -> Option<&T> {
        Some(Self::follow(self.first()?.links().prev.get()))
    }

    /// A value on a ring.
    #[inline(always)]
    fn follow<'g>(value: *const T) -> &'g T {
        // SAFETY: Values on a ring live until they are taken off, which needs its lock; and those
        // have neighbours.
        unsafe { &*value }
    }

    /// Puts a value at the front. It is on no ring.
    #[inline(always)]
    pub(super) fn push_front(&self, value: &T) {
        let (next, prev) = match self.first() {
            Some(first) => (first, Self::follow(first.links().prev.get())),
            None => (value, value),
        };
        value.links().next.set(next);
        value.links().prev.set(prev);
        next.links().prev.set(value);
        prev.links().next.set(value);
        self.0.set(Some(NonNull::from(value)));
    }

    /// Takes a value of this ring off.
    #[inline(always)]
    pub(super) fn remove(&self, value: &T) {
        let this = NonNull::from(value);
        let next = Self::follow(value.links().next.replace(null()));
        let prev = Self::follow(value.links().prev.replace(null()));
        let alone = NonNull::from(next) == this;
        if !alone {
            prev.links().next.set(next);
            next.links().prev.set(prev);
        }
        if self.0.get() == Some(this) {
            self.0.set((!alone).then(|| NonNull::from(next)));
        }
    }
}
