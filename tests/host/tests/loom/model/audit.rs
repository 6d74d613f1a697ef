// SPDX-License-Identifier: GPL-2.0

//! What must be true when all threads are done.

use super::{
    memory::{NONE, PAGE_SHIFT},
    pool::{Class, Handle, Pool, State, Zspage},
    two_classes::Size,
};
use std::collections::BTreeSet;
use zsmalloc_logic_tests::logic::{freelist::Slot, header::Header};

impl Pool {
    /// Checks everything, given the objects that must be left and their contents.
    pub(crate) fn audit(&self, objects: &[(Handle, u64)]) {
        assert_eq!(self.warnings(), 0, "a user was blamed");
        self.audit_state(objects);
    }

    /// [`Self::audit`] where users were blamed with good reason.
    pub(crate) fn audit_state(&self, objects: &[(Handle, u64)]) {
        // First, because a broken map may repair it.
        self.audit_lru();
        for (handle, value) in objects {
            let mapped = self.map(*handle).expect("an object is lost");
            assert_eq!(mapped.read(), *value, "contents are stale");
            mapped.unmap();
        }
        let expected: BTreeSet<Handle> = objects.iter().map(|(handle, _)| *handle).collect();
        self.audit_words(&expected);
        self.audit_zspages(&expected);
        self.audit_frames();
    }

    /// Every word belongs to an object or to a spare, or is free.
    fn audit_words(&self, objects: &BTreeSet<Handle>) {
        let mut spare: Vec<Handle> = self.spare.lock().unwrap().iter().copied().collect();
        for size in self.sizes() {
            spare.extend(&self.lock_class(size).spares);
        }
        let mut all: Vec<Handle> = spare.iter().chain(objects).copied().collect();
        all.sort();
        let theirs: Vec<Handle> = (0..self.words.len()).map(Handle).collect();
        assert_eq!(all, theirs, "words are lost or given back twice");
        for handle in spare {
            assert!(self.load(handle).is_dead(), "a spare word is not dead");
        }
    }

    /// Every object is in the slot its word leads to, every other slot is free.
    fn audit_zspages(&self, objects: &BTreeSet<Handle>) {
        let mut found = BTreeSet::new();
        for size in self.sizes() {
            let class = self.lock_class(size);
            for (_, zspage) in class.zspages.numbered() {
                if zspage.state != State::Gone {
                    found.extend(self.audit_zspage(&class, size, zspage));
                }
            }
        }
        assert_eq!(&found, objects, "slots hold other objects than there are");
    }

    /// A zspage is where it should be, with as many objects as it says. Returns them.
    fn audit_zspage(&self, class: &Class, size: Size, zspage: &Zspage) -> Vec<Handle> {
        assert_eq!(zspage.state, State::Listed, "somebody still has a zspage");
        self.audit_length(zspage);
        let inuse = zspage.slots.inuse();
        assert!(
            inuse != 0 || class.kicked,
            "an empty zspage is left to nobody"
        );
        let mut handles = self.audit_slots(class, zspage);
        assert_eq!(handles.len(), usize::from(inuse), "inuse is wrong");
        let ours = |handle: &Handle| Size::of(self.load(*handle)) == size;
        assert!(handles.iter().all(ours), "a word says another class");
        handles.retain(|handle| !class.spares.contains(handle));
        assert!(
            inuse == 0 || !handles.is_empty(),
            "a zspage is kept for spares alone"
        );
        handles
    }

    /// It has the pages that its slots lie on, and no other.
    fn audit_length(&self, zspage: &Zspage) {
        let (pages, most) = (zspage.frames.len(), self.geometry.nr_pages());
        assert!((1..=most).contains(&pages), "a zspage of {pages} pages");
        let slots = self.geometry.objs - zspage.slots.missing();
        let there = self.geometry.slots_on(PAGE_SHIFT, pages);
        assert_eq!(slots, there, "a zspage has other slots than its pages");
    }

    /// Reads the slots of a zspage: its objects, and spares.
    fn audit_slots(&self, class: &Class, zspage: &Zspage) -> Vec<Handle> {
        let mut free = BTreeSet::new();
        let walk = zspage.slots.clone();
        while let Some(Slot::Recycled(start)) = walk.next() {
            let Header::Free(next) = self.header(zspage, start) else {
                panic!("listed slot {start} is not free");
            };
            assert!(free.insert(start), "slot {start} is listed twice");
            assert!(walk.take_recycled(next), "link {next}");
        }
        let mut handles = Vec::new();
        for start in self.used(zspage).filter(|start| !free.contains(start)) {
            let header = self.header(zspage, start);
            let Header::Allocated(addr) = header else {
                panic!("slot {start} is lost: {header:?}");
            };
            let handle = Handle::from_addr(addr);
            let word = self.load(handle);
            let is_spare = class.spares.contains(&handle);
            assert!(
                !word.is_locked() && word.is_dead() == is_spare,
                "the word of a live object, or of a spare: {word:?}"
            );
            assert_eq!(
                word,
                self.word_at(zspage, start, word),
                "a word leads elsewhere"
            );
            handles.push(handle);
        }
        handles
    }

    /// Every frame belongs to one zspage or is free; links follow the chains.
    fn audit_frames(&self) {
        let mut all = self.buddy.lock().unwrap().clone();
        for frame in &all {
            self.audit_references(*frame, 0);
            assert_eq!(
                self.frames[*frame].zspage.get(),
                NONE,
                "a free page says it is ours"
            );
        }
        for size in self.sizes() {
            for (number, zspage) in self.lock_class(size).zspages.numbered() {
                if zspage.state != State::Gone {
                    self.audit_chain(number, zspage);
                    all.extend(&zspage.frames);
                }
            }
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "a page has two owners");
        assert_eq!(count, self.total_frames, "pages are lost");
    }

    /// The pages of a zspage say that they are its own, and follow each other.
    fn audit_chain(&self, number: usize, zspage: &Zspage) {
        for (place, frame) in zspage.frames.iter().enumerate() {
            self.audit_references(*frame, 1);
            let next = zspage.frames.get(place + 1).copied().unwrap_or(NONE);
            assert_eq!(
                self.frames[*frame].zspage.get(),
                number,
                "a page is another zspage's"
            );
            assert_eq!(self.frames[*frame].next.get(), next, "a link is wrong");
        }
    }

    /// A page has the references that it should.
    fn audit_references(&self, frame: usize, count: usize) {
        let page = &self.frames[frame];
        assert_eq!(page.references.count(), count, "references are lost");
        assert!(!page.is_locked(), "somebody still has a page locked");
    }

    /// On the LRU if and only if listed and not empty.
    fn audit_lru(&self) {
        let belongs = |zspage: &Zspage| {
            self.evictable && zspage.state == State::Listed && zspage.slots.inuse() > 0
        };
        let mut theirs = Vec::new();
        for size in self.sizes() {
            let class = self.lock_class(size);
            let all = class.zspages.numbered();
            theirs.extend(all.filter(|(_, zspage)| belongs(zspage)).map(|all| all.0));
        }
        let mut ours = self.lru().clone();
        ours.sort_unstable();
        assert_eq!(ours, theirs, "the LRU has other zspages than it should");
    }
}
