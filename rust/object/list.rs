// SPDX-License-Identifier: GPL-2.0

//! Lists: doubly linked through the values themselves, reached from the front.
//!
//! As the kernel's `hlist`: a value refers to the link that leads to it, be it the list's own or
//! one in the value before, so taking it off is the same wherever it is.

use core::{cell::Cell, ptr::NonNull};

/// What leads to a value: in a list, or in the value before.
type Link<T> = Cell<Option<NonNull<T>>>;

/// The place of a value on a list. Means nothing while it is on none.
pub(super) struct Place<T> {
    /// The next value.
    next: Link<T>,
    /// What leads to this one.
    link: Cell<Option<NonNull<Link<T>>>>,
}

impl<T> Place<T> {
    /// Of a value that is on no list.
    pub(super) const fn new() -> Self {
        Self {
            next: Cell::new(None),
            link: Cell::new(None),
        }
    }
}

/// A value that can be on a list.
pub(super) trait Listed: Sized {
    /// Its place there.
    fn place(&self) -> &Place<Self>;
}

/// A list.
///
/// # Invariants
///
/// The values on it live until they are taken off. While there is one the list is not moved, and
/// reached through shared references only: values lead to it too. Whoever has it holds the lock
/// that guards the places of its values.
pub(super) struct List<T>(Link<T>);

// SAFETY: It is reached under the lock that guards it, and so are the places of its values.
unsafe impl<T: Send> Send for List<T> {}

impl<T: Listed> List<T> {
    /// An empty list.
    pub(super) const fn new() -> Self {
        Self(Cell::new(None))
    }

    /// The first value.
    #[inline(always)]
    pub(super) fn first(&self) -> Option<&T> {
        Self::follow(&self.0)
    }

    /// All values, from the first on.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        core::iter::successors(self.first(), |value| Self::follow(&value.place().next))
    }

    /// What a link leads to.
    #[inline(always)]
    fn follow<'l>(link: &Link<T>) -> Option<&'l T> {
        Self::at(link.get())
    }

    /// The value that was read out of a link.
    #[inline(always)]
    fn at<'l>(value: Option<NonNull<T>>) -> Option<&'l T> {
        // SAFETY: Values on a list live until they are taken off, which needs its lock.
        value.map(|value| unsafe { value.as_ref() })
    }

    /// Puts a value at the front. It is on no list.
    #[inline(always)]
    pub(super) fn push_front(&self, value: &T) {
        let place = value.place();
        let first = self.0.get();
        if let Some(first) = Self::at(first) {
            first.place().link.set(Some(NonNull::from(&place.next)));
        }
        place.next.set(first);
        place.link.set(Some(NonNull::from(&self.0)));
        self.0.set(Some(NonNull::from(value)));
    }

    /// Takes a value of this list off. It has a link, then: nothing is done about a value that was
    /// never on a list.
    #[inline(always)]
    pub(super) fn remove(&self, value: &T) {
        let place = value.place();
        let Some(link) = place.link.get() else {
            return;
        };
        let next = place.next.get();
        if let Some(next) = Self::at(next) {
            next.place().link.set(Some(link));
        }
        // SAFETY: What leads to a value on the list is the list's own link, or in a value on it.
        unsafe { link.as_ref() }.set(next);
    }

    /// Takes the first value off.
    pub(super) fn pop_front(&self) -> Option<NonNull<T>> {
        let first = self.first()?;
        self.remove(first);
        Some(NonNull::from(first))
    }
}

/// Values that are on no list, one linked to the next; the one that was pushed last comes first.
///
/// # Invariants
///
/// It owns the values from the first on.
pub(super) struct Stack<T>(Option<NonNull<T>>);

impl<T: Listed> Stack<T> {
    /// No values.
    pub(super) const fn new() -> Self {
        Self(None)
    }

    /// Adds a value.
    ///
    /// # Safety
    ///
    /// The value must be the caller's, and live until it is popped.
    #[inline(always)]
    pub(super) unsafe fn push(&mut self, value: NonNull<T>) {
        // SAFETY: It lives, as the caller says.
        unsafe { value.as_ref() }.place().next.set(self.0);
        // INVARIANT: the value is the stack's now.
        self.0 = Some(value);
    }

    /// Takes the value that was added last.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<NonNull<T>> {
        let value = self.0?;
        // SAFETY: It lives until it is popped, as who pushed it said.
        self.0 = unsafe { value.as_ref() }.place().next.get();
        Some(value)
    }
}
