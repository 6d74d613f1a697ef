// SPDX-License-Identifier: GPL-2.0

//! The lists that a size class has its zspages on. Guarded by the class's lock.

#[cfg(CONFIG_COMPACTION)]
use super::migrate::PinnedZspage;
use super::{
    list::List,
    lru::{Coldest, Lru},
    migrate::Migrate,
    tail::{Extension, HeldTail, Tail},
    zspage::{Doomed, Zspage, ZspageBox},
};
use crate::logic::{
    conv::count,
    fullness::{Group, GroupSet, EMPTY, FULL, NR_GROUPS},
    size_class::Geometry,
};
use crate::zpdesc_rs::ZpdescRef;
use core::{cell::Cell, ptr::NonNull};

/// A zspage that is on no list, because it is under reclaim: nothing is allocated in it, objects
/// that are freed stay, and nobody frees it.
#[must_use = "it belongs back on a list: `ZspageLists::restore`"]
pub(crate) struct Isolated<Owner>(NonNull<Zspage<Owner>>);

/// The zspages of a size class, by fullness.
///
/// Full ones are on no list: nobody looks for one, and with many of them their neighbours there
/// would be two cold cache lines for each free.
///
/// # Invariants
///
/// Every zspage is on the list of its `group`, unless that is [`FULL`]: those that are full, or
/// under reclaim, are on none. `filled` has the groups whose lists are not empty. `short` is the
/// one zspage that lacks pages, if there is one; `leaving` is false if there is none.
pub(crate) struct ZspageLists<Owner> {
    /// A list for each group. That of [`FULL`] stays empty.
    lists: [List<Zspage<Owner>>; NR_GROUPS],
    /// Groups whose lists are not empty.
    filled: Cell<GroupSet>,
    /// The zspage that has fewer pages than its class has.
    short: Cell<Option<NonNull<Zspage<Owner>>>>,
    /// Objects of that one are moving to others, in several steps.
    leaving: Cell<bool>,
}

// SAFETY: It owns the zspages on it, and is reached under the owner's lock.
unsafe impl<Owner: Sync> Send for ZspageLists<Owner> {}

impl<Owner: Sync> ZspageLists<Owner> {
    /// No zspages.
    pub(crate) fn new() -> Self {
        Self {
            lists: [const { List::new() }; NR_GROUPS],
            filled: Cell::new(GroupSet::new()),
            short: Cell::new(None),
            leaving: Cell::new(false),
        }
    }

    /// The groups whose lists are not empty.
    #[inline(always)]
    pub(crate) fn filled(&self) -> GroupSet {
        self.filled.get()
    }

    /// No zspage with room is in a fuller group than this one.
    #[inline(always)]
    pub(crate) fn is_fullest(&self, zspage: &Zspage<Owner>) -> bool {
        !self.filled.get().has_fuller(zspage.group().get())
    }

    /// Zspages in a group, other than the full ones, if there are no more than `most`. Looks at
    /// each.
    pub(crate) fn count(&self, group: Group, most: usize) -> Option<usize> {
        let found = count(self.group(group).take(most.saturating_add(1)));
        (found <= most).then_some(found)
    }

    /// The list of a group.
    #[inline(always)]
    fn of_group(&self, group: Group) -> &List<Zspage<Owner>> {
        // SAFETY: There are `NR_GROUPS` lists, and a group's index is below, by its invariant.
        unsafe { self.lists.get_unchecked(group.index()) }
    }

    /// The emptiest zspage with objects and room that is not `other`, after `skip` such.
    pub(crate) fn emptiest_but(
        &self,
        other: &Zspage<Owner>,
        skip: usize,
    ) -> Option<&Zspage<Owner>> {
        let is_other = |zspage: &Zspage<Owner>| core::ptr::eq(zspage, other);
        let groups = self.filled.get().partial();
        let first = self.first(groups.clone().next()?);
        if skip == 0 && !first.is_some_and(is_other) {
            return first;
        }
        let zspages = groups.flat_map(|group| self.group(group));
        zspages.filter(|zspage| !is_other(zspage)).nth(skip)
    }

    /// The zspages of a group, other than the full ones.
    fn group(&self, group: Group) -> impl Iterator<Item = &Zspage<Owner>> {
        self.of_group(group).iter()
    }

    /// The fullest zspage with objects and room that is not `other`: where compaction moves to. Not
    /// one that objects are [leaving](Self::set_leaving).
    #[inline(never)]
    pub(crate) fn fullest_but(&self, other: &Zspage<Owner>) -> Option<&Zspage<Owner>> {
        self.fullest_that(|zspage| !core::ptr::eq(zspage, other))
    }

    /// The fullest zspage with objects and room. Not one that objects are
    /// [leaving](Self::set_leaving).
    pub(crate) fn fullest(&self) -> Option<&Zspage<Owner>> {
        self.fullest_that(|_| true)
    }

    /// The fullest zspage with objects and room that suits, if objects are not leaving it.
    #[inline(always)]
    fn fullest_that(&self, suits: impl Fn(&Zspage<Owner>) -> bool) -> Option<&Zspage<Owner>> {
        let may = |zspage: &&Zspage<Owner>| suits(zspage) && !self.is_leaving(zspage);
        let groups = self.filled.get().partial();
        let first = self.first(groups.clone().next_back()?);
        if first.as_ref().is_some_and(may) {
            return first;
        }
        let mut zspages = groups.rev().flat_map(|group| self.group(group));
        zspages.find(may)
    }

    /// Objects are leaving this zspage.
    #[inline(always)]
    fn is_leaving(&self, zspage: &Zspage<Owner>) -> bool {
        self.leaving.get() && self.short.get() == Some(NonNull::from(zspage))
    }

    /// Whether objects of the zspage that lacks pages are moving to others, in several steps: then
    /// none move there in between. It counts as fuller than it is, so others would be emptied into
    /// it.
    pub(crate) fn set_leaving(&self, leaving: bool) {
        // INVARIANT: never if there is none.
        self.leaving.set(leaving && self.short.get().is_some());
    }

    /// The first zspage of a group.
    #[inline(always)]
    pub(crate) fn first(&self, group: Group) -> Option<&Zspage<Owner>> {
        self.of_group(group).first()
    }

    /// Puts a zspage on the list of those without objects.
    pub(crate) fn insert(&self, zspage: ZspageBox<Owner>) -> &Zspage<Owner> {
        let zspage = self.get(zspage.zspage);
        self.add(zspage, EMPTY);
        zspage
    }

    /// The zspage that lacks pages, unless it is under reclaim.
    pub(crate) fn short(&self) -> Option<&Zspage<Owner>> {
        let short = self.get(self.short.get()?);
        (!short.is_under_reclaim()).then_some(short)
    }

    /// Pages and slots that the zspages lack.
    pub(crate) fn missing(&self, class: &Geometry) -> (u8, u16) {
        let Some(short) = self.short.get() else {
            return (0, 0);
        };
        let short = self.get(short);
        let pages = class.nr_pages().saturating_sub(short.pages());
        // At most 16.
        (u8::try_from(pages).unwrap_or(0), short.slots().missing())
    }

    /// The zspage that may give up its last pages: the one that has already, or else the emptiest
    /// with objects and room.
    pub(crate) fn shrinkable(&self) -> Option<&Zspage<Owner>> {
        if self.short.get().is_some() {
            // An empty one is only waiting to be freed.
            return self.short().filter(|short| !short.slots().is_empty());
        }
        self.first(self.filled.get().partial().next()?)
    }

    /// Takes its last pages from a zspage, unless there is an object on them, or another zspage
    /// lacks pages.
    pub(crate) fn cut(&self, tail: HeldTail<'_, Owner>, class: &Geometry) -> Option<Tail> {
        let zspage = tail.zspage();
        let raw = NonNull::from(zspage);
        if self.short.get().is_some_and(|short| short != raw) {
            return None;
        }
        let cut = tail.cut(class)?;
        // INVARIANT: it lacks pages.
        self.short.set(Some(raw));
        self.relist(zspage, class);
        Some(cut)
    }

    /// Adds pages to the zspage that lacks them. Returns that.
    ///
    /// # Errors
    ///
    /// The pages, if there is no zspage that lacks just these.
    pub(crate) fn extend(
        &self,
        more: Extension,
        class: &Geometry,
    ) -> Result<&Zspage<Owner>, Extension>
    where
        Owner: Migrate,
    {
        let Some(zspage) = self.short() else {
            return Err(more);
        };
        zspage.extend(class, more)?;
        // Its room is needed.
        self.set_leaving(false);
        if zspage.pages() == class.nr_pages() {
            // INVARIANT: it lacks none any more.
            self.short.set(None);
        }
        self.relist(zspage, class);
        Ok(zspage)
    }

    /// Moves a zspage to the list that its number of objects now belongs to, if it is not full.
    pub(crate) fn relist(&self, zspage: &Zspage<Owner>, class: &Geometry) {
        let group = zspage.slots().group(class);
        if group == FULL {
            self.unlist(zspage);
        } else {
            self.move_to(group, zspage);
        }
    }

    /// Moves a zspage to `group`, which its number of objects now belongs to, and which is not
    /// [`FULL`].
    #[inline(always)]
    pub(crate) fn move_to(&self, group: Group, zspage: &Zspage<Owner>) {
        if group != zspage.group().get() {
            self.del(zspage);
            self.add(zspage, group);
        }
    }

    /// Takes a zspage off its list, because it is full, or nothing is to be allocated in it.
    #[inline(always)]
    pub(crate) fn unlist(&self, zspage: &Zspage<Owner>) {
        self.del(zspage);
        // INVARIANT: it is on no list.
        zspage.group().set(FULL);
    }

    /// Takes a zspage off, if all its pages can be held; else it stays where it is, and the page
    /// that somebody has locked is returned.
    pub(crate) fn remove(&self, zspage: &Zspage<Owner>) -> Result<Doomed<Owner>, ZpdescRef> {
        // SAFETY: It is used no more once it is off its list.
        let doomed = unsafe { Doomed::try_new(zspage) }?;
        self.del(zspage);
        if self.short.get() == Some(NonNull::from(zspage)) {
            // INVARIANT: it is none of these any more.
            self.short.set(None);
            self.leaving.set(false);
        }
        Ok(doomed)
    }

    /// Takes the coldest zspage off its list and off `lru`, for reclaim, if it is still the
    /// coldest. It must have belonged to this class.
    pub(crate) fn isolate(
        &self,
        lru: &Lru<Owner>,
        coldest: &Coldest<Owner>,
    ) -> Option<Isolated<Owner>> {
        let raw = lru.take(coldest)?;
        let zspage = self.get(raw);
        self.unlist(zspage);
        zspage.set_under_reclaim(true);
        Some(Isolated(raw))
    }

    /// A zspage of this class that is under reclaim.
    pub(crate) fn isolated(&self, isolated: &Isolated<Owner>) -> &Zspage<Owner> {
        self.get(isolated.0)
    }

    /// Ends reclaim: the zspage is an ordinary one again.
    pub(crate) fn restore(&self, isolated: Isolated<Owner>, class: &Geometry) -> &Zspage<Owner> {
        let zspage = self.get(isolated.0);
        zspage.set_under_reclaim(false);
        self.relist(zspage, class);
        zspage
    }

    /// The zspage that one of its pages was asked to move for.
    #[cfg(CONFIG_COMPACTION)]
    pub(crate) fn pinned<'g>(&'g self, zspage: &PinnedZspage<'g, Owner>) -> &'g Zspage<Owner> {
        self.get(zspage.as_ptr())
    }

    /// A zspage of this class, by a value that stands for it.
    #[inline(always)]
    fn get(&self, zspage: NonNull<Zspage<Owner>>) -> &Zspage<Owner> {
        // SAFETY: Boxed, isolated and pinned zspages live, and so does `short`, by the invariant.
        // The class's lock is held.
        unsafe { zspage.as_ref() }
    }

    /// Links a zspage that is not full.
    #[inline(always)]
    fn add(&self, zspage: &Zspage<Owner>, group: Group) {
        // INVARIANT: list, group and set change together.
        zspage.group().set(group);
        self.of_group(group).push_front(zspage);
        self.filled.set(self.filled.get().with(group));
    }

    /// Unlinks a zspage, unless it was full.
    #[inline(always)]
    fn del(&self, zspage: &Zspage<Owner>) {
        let group = zspage.group().get();
        if group == FULL {
            return;
        }
        let list = self.of_group(group);
        list.remove(zspage);
        // INVARIANT: list and set change together.
        if list.first().is_none() {
            self.filled.set(self.filled.get().without(group));
        }
    }
}
