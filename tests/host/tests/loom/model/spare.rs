// SPDX-License-Identifier: GPL-2.0

//! Spares: N1 to N3.

use super::{
    fault::Fault,
    pool::{Class, Handle, Pool},
    two_classes::Size,
};
use loom::sync::atomic::Ordering;
use zsmalloc_logic_tests::logic::word::Word;

impl Pool {
    /// N1: makes a spare an object again.
    pub(crate) fn take_spare(&self, size: Size) -> Option<Handle> {
        if self.most_spares == 0 {
            return None;
        }
        let mut class = self.lock_class(size);
        let handle = class.spares.pop()?;
        let word = self.load(handle);
        if self.breaks(Fault::SpareTakenLate) {
            drop(class);
        }
        self.store(handle, word.revived(), Ordering::Release);
        Some(handle)
    }

    /// N2: an object of a zspage that is freed may be a spare. That the zspage is to be the fullest
    /// changes nothing here.
    pub(crate) fn may_keep(&self, class: &Class, number: usize) -> bool {
        let inuse = usize::from(class.zspages[number].slots.inuse());
        let spares = class.spares.len();
        let alone = inuse <= spares + 1 && !self.breaks(Fault::SparesAlone);
        spares < self.most_spares && !alone
    }

    /// All objects of a zspage that has some are spares.
    pub(crate) fn has_only_spares(&self, class: &Class, number: usize) -> bool {
        let inuse = usize::from(class.zspages[number].slots.inuse());
        let here = |handle: &&Handle| self.slot_of(class, self.load(**handle)).0 == number;
        inuse != 0 && class.spares.iter().filter(here).count() == inuse
    }

    /// Frees the slots of all spares. Returns their words.
    pub(crate) fn free_spares(&self, class: &mut Class) -> Vec<Handle> {
        let spares = std::mem::take(&mut class.spares);
        for handle in &spares {
            let (number, start) = self.slot_of(class, self.load(*handle));
            self.give_slot(&class.zspages[number], start);
            self.store(*handle, Word::dead(0), Ordering::Release);
        }
        spares
    }

    /// N3: the same, by who moves objects out of zspages.
    pub(crate) fn spares_to_free(&self, class: &mut Class) -> Vec<Handle> {
        if self.breaks(Fault::MoveBesideSpares) {
            return Vec::new();
        }
        self.free_spares(class)
    }
}
