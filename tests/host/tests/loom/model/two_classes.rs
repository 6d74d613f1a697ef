// SPDX-License-Identifier: GPL-2.0

//! A pool with two size classes, whose objects move from one to the other beside page migration and
//! reclaim: P1. [`promote`](super::promote) has P1 and P2 by themselves, with less around them.
//!
//! The classes have slots of the same shape; they differ in their numbers, lists and locks.

use super::{
    fault::Fault,
    pool::{Class, Handle, Pool, State, Zspage},
};
use std::ops::{Index, IndexMut, Range};
use zsmalloc_logic_tests::logic::word::Word;

/// Most zspages that a scenario builds in a class.
const MOST: usize = 16;

/// Which size class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Size {
    /// That of larger slots, or the only one.
    Large,
    /// That of smaller slots, if there are two.
    Small,
}

impl Size {
    /// Both, in the order of their locks.
    pub(crate) const ALL: [Self; 2] = [Self::Large, Self::Small];

    /// Its place among a pool's classes.
    pub(crate) fn index(self) -> usize {
        usize::from(self == Self::Small)
    }

    /// Its number.
    pub(crate) const fn number(self) -> u16 {
        match self {
            Self::Large => 7,
            Self::Small => 8,
        }
    }

    /// The class that a word says.
    pub(crate) fn of(word: Word) -> Self {
        if word.class() == u32::from(Self::Small.number()) {
            Self::Small
        } else {
            Self::Large
        }
    }

    /// The class of a zspage.
    pub(crate) fn of_zspage(number: usize) -> Self {
        Self::ALL[number / MOST]
    }

    /// The word of an object that is nowhere.
    pub(crate) fn blank(self) -> Word {
        Word::live(0, self.number(), false, false)
    }
}

/// The zspages of a class. No two of a pool have the same number, whatever their class is.
pub(crate) struct Zspages {
    /// The number of the first one.
    first: usize,
    /// The zspages.
    list: Vec<Zspage>,
}

impl Zspages {
    /// None.
    pub(crate) fn new(size: Size) -> Self {
        let first = size.index() * MOST;
        let list = Vec::new();
        Self { first, list }
    }

    /// Adds one. Returns its number.
    pub(crate) fn push(&mut self, zspage: Zspage) -> usize {
        let number = self.numbers().end;
        assert!(self.list.len() < MOST, "a scenario of many zspages");
        self.list.push(zspage);
        number
    }

    /// Their numbers.
    pub(crate) fn numbers(&self) -> Range<usize> {
        self.first..self.first + self.list.len()
    }

    /// All of them, with their numbers.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (usize, &Zspage)> {
        self.numbers().zip(&self.list)
    }
}

impl Index<usize> for Zspages {
    type Output = Zspage;

    fn index(&self, number: usize) -> &Zspage {
        &self.list[number - self.first]
    }
}

impl IndexMut<usize> for Zspages {
    fn index_mut(&mut self, number: usize) -> &mut Zspage {
        &mut self.list[number - self.first]
    }
}

impl Pool {
    /// P1: moves the objects of the emptiest zspage of smaller slots to the fullest of larger ones,
    /// until one is in use or there is no room. Returns how many.
    pub(crate) fn promote(&self) -> usize {
        let mut theirs = Some(self.lock_class(Size::Large));
        let mut own = self.lock_class(Size::Small);
        let words = self.spares_to_free(&mut own);
        self.spare.lock().unwrap().extend(words);
        let Some(from) = self.source(&own) else {
            return 0;
        };
        let mut moved = 0;
        for start in self.used(&own.zspages[from]) {
            let Some(handle) = self.mover_handle(&own.zspages[from], start) else {
                continue;
            };
            let Some(room) = theirs.as_ref().and_then(|theirs| self.room(theirs)) else {
                break;
            };
            if !self.lock_to_promote(handle) {
                break;
            }
            let taken = self.take_place(room, Size::Large.blank());
            if self.breaks(Fault::PromoteDropsTheirLock) {
                theirs = None;
            }
            let release = |zspage: &Zspage| zspage.slots.release(start);
            self.move_there(&own.zspages[from], start, &taken, handle, release);
            moved += 1;
        }
        let empty = own.zspages[from].slots.is_empty();
        let removed = empty.then(|| self.remove(&mut own, from));
        drop(own);
        drop(theirs);
        if let Some(removed) = removed {
            self.dispose(from, removed);
        }
        moved
    }

    /// Takes LOCK of an object. False if it is in use.
    fn lock_to_promote(&self, handle: Handle) -> bool {
        self.breaks(Fault::PromoteWithoutLock) || self.try_lock(handle).is_some()
    }

    /// The emptiest zspage with objects and room: what promotion takes them from.
    fn source(&self, own: &Class) -> Option<usize> {
        let reclaimed = self.breaks(Fault::PromoteTakesReclaimed);
        let can = |zspage: &Zspage| {
            zspage.state == State::Listed || reclaimed && zspage.state == State::Reclaimed
        };
        let all = own.zspages.numbered();
        let partial = all.filter(|(_, zspage)| can(zspage) && self.group(zspage).is_partial());
        let emptiest = partial.min_by_key(|(_, zspage)| self.group(zspage));
        emptiest.map(|(number, _)| number)
    }

    /// The fullest zspage with objects and room: what promotion moves them to.
    fn room<'g>(&self, theirs: &'g Class) -> Option<&'g Zspage> {
        let all = theirs.zspages.numbered().map(|(_, zspage)| zspage);
        let listed = all.filter(|zspage| zspage.state == State::Listed);
        let partial = listed.filter(|zspage| self.group(zspage).is_partial());
        partial.max_by_key(|zspage| self.group(zspage))
    }
}
