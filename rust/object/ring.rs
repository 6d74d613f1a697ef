// SPDX-License-Identifier: GPL-2.0

//! Rings: doubly linked lists through the values themselves, which may be on one of each kind.

use core::{cell::Cell, marker::PhantomData, ptr::NonNull};

/// The neighbours of a value on a ring; none if it is on no ring of that kind.
pub(super) struct Links<T> {
    /// The next value; the value itself if it is alone.
    next: Cell<Option<NonNull<T>>>,
    /// The one before; the last if this is the first.
    prev: Cell<Option<NonNull<T>>>,
}

impl<T> Links<T> {
    /// Of a value that is on no ring.
    pub(super) const fn new() -> Self {
        Self {
            next: Cell::new(None),
            prev: Cell::new(None),
        }
    }

    /// The value is on a ring.
    #[inline(always)]
    pub(super) fn are_set(&self) -> bool {
        self.next.get().is_some()
    }
}

/// A value that can be on a ring of kind `Kind`.
pub(super) trait Linked<Kind>: Sized {
    /// Its neighbours there.
    fn links(&self) -> &Links<Self>;
}

/// A ring, reached through its first value.
///
/// # Invariants
///
/// The values on it live until they are taken off. Whoever has it holds the lock that guards the
/// links of its kind.
pub(super) struct Ring<T, Kind>(Cell<Option<NonNull<T>>>, PhantomData<Kind>);

// SAFETY: It is reached under the lock that guards it, and so are the links of its values.
unsafe impl<T: Send, Kind> Send for Ring<T, Kind> {}

impl<T: Linked<Kind>, Kind> Ring<T, Kind> {
    /// An empty ring.
    pub(super) const fn new() -> Self {
        Self(Cell::new(None), PhantomData)
    }

    /// The first value.
    #[inline(always)]
    pub(super) fn first(&self) -> Option<&T> {
        self.0.get().map(Self::follow)
    }

    /// The last value.
    pub(super) fn last(&self) -> Option<&T> {
        self.first()?.links().prev.get().map(Self::follow)
    }

    /// All values from the first on, again and again.
    pub(super) fn cycle(&self) -> impl Iterator<Item = &T> {
        let after = |value: &&T| value.links().next.get().map(Self::follow);
        core::iter::successors(self.first(), after)
    }

    /// A value on a ring.
    #[inline(always)]
    fn follow<'g>(value: NonNull<T>) -> &'g T {
        // SAFETY: Values on a ring live until they are taken off, which needs its lock.
        unsafe { value.as_ref() }
    }

    /// Puts a value at the front. It is on no ring of this kind.
    #[inline(always)]
    pub(super) fn push_front(&self, value: &T) {
        let this = NonNull::from(value);
        let (next, prev) = match self.first() {
            Some(first) => (
                NonNull::from(first),
                first.links().prev.get().unwrap_or(this),
            ),
            None => (this, this),
        };
        value.links().next.set(Some(next));
        value.links().prev.set(Some(prev));
        Self::follow(next).links().prev.set(Some(this));
        Self::follow(prev).links().next.set(Some(this));
        self.0.set(Some(this));
    }

    /// Takes a value of this ring off.
    #[inline(always)]
    pub(super) fn remove(&self, value: &T) {
        let this = NonNull::from(value);
        let links = value.links();
        let next = links.next.take().unwrap_or(this);
        let prev = links.prev.take().unwrap_or(this);
        if next == this {
            self.0.set(None);
            return;
        }
        Self::follow(prev).links().next.set(Some(next));
        Self::follow(next).links().prev.set(Some(prev));
        if self.0.get() == Some(this) {
            self.0.set(Some(next));
        }
    }
}
