// SPDX-License-Identifier: GPL-2.0

//! The pool: its size class, or two of them, their zspages, the handle words, and malloc.

use super::{
    fault::Fault,
    hold::Reference,
    memory::{Frame, HandleWord, GRANULE, NONE, PAGE_SHIFT},
    two_classes::{Size, Zspages},
};
use loom::sync::{atomic::Ordering, Mutex, MutexGuard};
use std::{
    collections::VecDeque,
    iter::StepBy,
    ops::Range,
    sync::{
        atomic::{AtomicUsize, Ordering as StdOrdering},
        Arc,
    },
};
use zsmalloc_logic_tests::logic::{
    freelist::{Slot, Slots},
    fullness::Group,
    header::Header,
    size_class::Geometry,
    span::{start_at, Span},
    word::Word,
};

/// Shape of the zspages.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// One page with two objects.
    Page,
    /// Two pages with two objects, the second one on both.
    Chain2,
    /// Three pages with four objects, the second and the third one on two pages each.
    Chain3,
}

impl Shape {
    /// The shape in numbers.
    fn geometry(self) -> Geometry {
        let (size, pages, objs) = match self {
            Self::Page => (32, 1, 2),
            Self::Chain2 => (48, 2, 2),
            Self::Chain3 => (48, 3, 4),
        };
        Geometry::of_shape(size, objs, pages, Size::Large.number())
    }
}

/// A handle: the number of a word, made to look like its address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Handle(pub(crate) usize);

impl Handle {
    /// The handle in a header.
    pub(crate) fn from_addr(addr: usize) -> Self {
        Self(addr / 8 - 1)
    }

    /// The handle as a header holds it.
    pub(crate) fn addr(self) -> usize {
        (self.0 + 1) * 8
    }
}

/// Who has a zspage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// It is on a fullness list.
    Listed,
    /// It is under reclaim.
    Reclaimed,
    /// It is on no list: it is being built.
    Held,
    /// Its pages are freed, or about to be.
    Gone,
}

/// A zspage.
pub(crate) struct Zspage {
    /// Its pages; it may lack the last ones.
    pub(crate) frames: Vec<usize>,
    /// Which slots are free.
    pub(crate) slots: Slots,
    /// Who has it.
    pub(crate) state: State,
}

/// What the class lock guards.
pub(crate) struct Class {
    /// All zspages there ever were.
    pub(crate) zspages: Zspages,
    /// The worker was kicked.
    pub(crate) kicked: bool,
    /// Objects that were freed, for the next malloc.
    pub(crate) spares: Vec<Handle>,
}

impl Class {
    /// A class without zspages.
    fn new(size: Size) -> Self {
        Self {
            zspages: Zspages::new(size),
            kicked: false,
            spares: Vec::new(),
        }
    }
}

/// A class lock, held.
pub(crate) type ClassLock<'p> = MutexGuard<'p, Class>;

/// A pool, and the memory of its machine.
pub(crate) struct Pool {
    /// The rule that is broken.
    fault: Option<Fault>,
    /// Shape of the zspages.
    pub(crate) geometry: Geometry,
    /// It has an evict handler.
    pub(crate) evictable: bool,
    /// Most spares of a class.
    pub(crate) most_spares: usize,
    /// All frames.
    pub(crate) frames: Vec<Frame>,
    /// Frames that there are for zspages.
    pub(crate) total_frames: usize,
    /// Frames that are free.
    pub(crate) buddy: Mutex<Vec<usize>>,
    /// All handle words.
    pub(crate) words: Vec<HandleWord>,
    /// Words that are free, the longest free first.
    pub(crate) spare: Mutex<VecDeque<Handle>>,
    /// class.lock of each class.
    classes: Vec<Mutex<Class>>,
    /// Zspages in LRU order, the hottest first. Its lock is the LRU lock.
    pub(crate) lru: Mutex<Vec<usize>>,
    /// Bugs of users that were reported.
    warnings: AtomicUsize,
}

impl Pool {
    /// A pool of `words` words on a machine whose free frames are handed out in this order.
    pub(crate) fn new(shape: Shape, frames: &[usize], words: usize, fault: Option<Fault>) -> Self {
        let last = frames.iter().max().map_or(0, |last| last + 1);
        Self {
            fault,
            geometry: shape.geometry(),
            evictable: false,
            most_spares: 0,
            frames: (0..last).map(|_| Frame::new()).collect(),
            total_frames: frames.len(),
            buddy: Mutex::new(frames.iter().rev().copied().collect()),
            words: (0..words).map(|_| HandleWord::new()).collect(),
            spare: Mutex::new((0..words).map(Handle).collect()),
            classes: vec![Mutex::new(Class::new(Size::Large))],
            lru: Mutex::new(Vec::new()),
            warnings: AtomicUsize::new(0),
        }
    }

    /// Gives the pool an evict handler, and with it an LRU.
    pub(crate) fn with_evict(mut self) -> Self {
        self.evictable = true;
        self
    }

    /// Lets each class keep up to two spares. Most scenarios are about pools without.
    pub(crate) fn with_spares(mut self) -> Self {
        self.most_spares = 2;
        self
    }

    /// Gives the pool a class of smaller slots, too.
    pub(crate) fn with_two_classes(mut self) -> Self {
        self.classes.push(Mutex::new(Class::new(Size::Small)));
        self
    }

    /// Shares the pool between threads. Not loom's `Arc`: counting is not what is checked here.
    pub(crate) fn shared(self) -> Arc<Self> {
        Arc::new(self)
    }

    /// The model breaks this rule.
    pub(crate) fn breaks(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// The ordering of a rule, or none at all if the model breaks it.
    pub(crate) fn ordering(&self, rule: Ordering, fault: Fault) -> Ordering {
        if self.breaks(fault) {
            Ordering::Relaxed
        } else {
            rule
        }
    }

    /// Reports a user's bug.
    pub(crate) fn warn(&self) {
        self.warnings.fetch_add(1, StdOrdering::Relaxed);
    }

    /// Bugs of users that were reported.
    pub(crate) fn warnings(&self) -> usize {
        self.warnings.load(StdOrdering::Relaxed)
    }

    /// Takes the lock of the only class, or that of the larger slots.
    pub(crate) fn class(&self) -> ClassLock<'_> {
        self.lock_class(Size::Large)
    }

    /// Takes the lock of a class.
    pub(crate) fn lock_class(&self, size: Size) -> ClassLock<'_> {
        self.classes[size.index()].lock().unwrap()
    }

    /// Takes the lock of the class that a zspage belongs to.
    pub(crate) fn class_of(&self, zspage: usize) -> ClassLock<'_> {
        self.lock_class(Size::of_zspage(zspage))
    }

    /// The classes that there are.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = Size> {
        Size::ALL.into_iter().take(self.classes.len())
    }

    /// Takes the LRU lock.
    pub(crate) fn lru(&self) -> MutexGuard<'_, Vec<usize>> {
        self.lru.lock().unwrap()
    }

    /// Reads a word, without order.
    pub(crate) fn load(&self, handle: Handle) -> Word {
        self.words[handle.0].load(Ordering::Relaxed)
    }

    /// Writes a word that nobody else writes now.
    pub(crate) fn store(&self, handle: Handle, word: Word, ordering: Ordering) {
        self.words[handle.0].store(word, ordering);
    }

    /// Takes LOCK for a mover if nobody has it. Returns the word as it was.
    ///
    /// The module sets the bit whether or not it is set. Loom would take that for progress of
    /// those who wait, and for one more state to go on from; the outcomes are the same.
    pub(crate) fn try_lock(&self, handle: Handle) -> Option<Word> {
        let word = self.load(handle);
        if self.breaks(Fault::MoveWithoutLock) {
            return Some(word.unlocked());
        }
        let acquire = self.ordering(Ordering::Acquire, Fault::TrylockRelaxed);
        let taken = || self.words[handle.0].replace(word, word.locked(), acquire);
        (!word.is_locked() && taken()).then_some(word)
    }

    /// Frame and granule of a slot's first byte.
    pub(crate) fn place(&self, zspage: &Zspage, start: u16) -> (usize, usize) {
        let span = Span::of(PAGE_SHIFT, &self.geometry, start);
        (zspage.frames[span.page], span.offset / GRANULE)
    }

    /// The word of the object in a slot: `old` moved there.
    pub(crate) fn word_at(&self, zspage: &Zspage, start: u16, old: Word) -> Word {
        let span = Span::of(PAGE_SHIFT, &self.geometry, start);
        let frame = zspage.frames[span.page];
        let phys = (frame << PAGE_SHIFT) + span.offset;
        let split = span.crosses && zspage.frames[span.page + 1] != frame + 1;
        old.moved(phys as u64, split)
    }

    /// What the header of a slot says.
    pub(crate) fn header(&self, zspage: &Zspage, start: u16) -> Header {
        let (frame, granule) = self.place(zspage, start);
        self.frames[frame].header(granule)
    }

    /// Writes the header of a slot.
    pub(crate) fn set_header(&self, zspage: &Zspage, start: u16, header: Header) {
        let (frame, granule) = self.place(zspage, start);
        self.frames[frame].set_header(granule, header);
    }

    /// Zspage and slot that a word leads to. Under the class lock.
    pub(crate) fn slot_of(&self, class: &Class, word: Word) -> (usize, u16) {
        let phys = usize::try_from(word.phys()).unwrap();
        let (frame, offset) = (phys >> PAGE_SHIFT, phys % (1 << PAGE_SHIFT));
        let zspage = self.frames[frame].zspage.get();
        assert_ne!(zspage, NONE, "a word leads to a page that is not ours");
        let place = class.zspages[zspage]
            .frames
            .iter()
            .position(|page| *page == frame);
        let place = place.expect("a page belongs to a zspage that does not have it");
        (zspage, start_at(PAGE_SHIFT, place, offset))
    }

    /// Allocates an object. `None` if there is no memory.
    pub(crate) fn malloc(&self) -> Option<Handle> {
        self.malloc_in(Size::Large)
    }

    /// Allocates an object of a class. `None` if there is no memory.
    pub(crate) fn malloc_in(&self, size: Size) -> Option<Handle> {
        if let Some(handle) = self.take_spare(size) {
            return Some(handle);
        }
        let handle = self.spare.lock().unwrap().pop_front()?;
        let class = self.lock_class(size);
        if let Some(zspage) = self.with_room(&class) {
            self.alloc_in(&class, zspage, handle);
            return Some(handle);
        }
        let longer = self.longer(&class);
        drop(class);
        if longer.is_some_and(|longer| self.malloc_longer(longer, handle)) {
            return Some(handle);
        }
        let Some(frames) = self.alloc_pages() else {
            self.spare.lock().unwrap().push_back(handle);
            return None;
        };
        let number = self.new_zspage(size, frames);
        let mut class = self.lock_class(size);
        class.zspages[number].state = State::Listed;
        self.alloc_in(&class, number, handle);
        Some(handle)
    }

    /// L3: builds a zspage, then sets its pages movable. It is on no list yet.
    fn new_zspage(&self, size: Size, frames: Vec<usize>) -> usize {
        let mut class = self.lock_class(size);
        let number = class.zspages.push(Zspage {
            frames: frames.clone(),
            slots: Slots::new(&self.geometry),
            state: State::Held,
        });
        drop(class);
        for frame in &frames {
            self.frames[*frame].zspage.set(number);
        }
        for frame in frames {
            self.set_movable(frame);
        }
        number
    }

    /// L3: holds a page of ours and sets it movable. A page whose lock somebody has for reasons of
    /// his own stays where it is.
    pub(crate) fn set_movable(&self, frame: usize) {
        let hold = self.try_hold(frame, Fault::NewPagesNotHeld);
        if hold.is_some() {
            self.frames[frame].movable.set(true);
        }
    }

    /// The fullest zspage that has room.
    fn with_room(&self, class: &Class) -> Option<usize> {
        let usable = |zspage: &Zspage| {
            let listed = zspage.state == State::Listed;
            let reclaimed =
                self.breaks(Fault::MallocTakesReclaimed) && zspage.state == State::Reclaimed;
            (listed || reclaimed) && zspage.slots.taken() < self.geometry.objs
        };
        let all = class
            .zspages
            .numbered()
            .filter(|(_, zspage)| usable(zspage));
        let fullest = all.max_by_key(|(_, zspage)| self.group(zspage));
        fullest.map(|(number, _)| number)
    }

    /// Fullness group of a zspage.
    pub(crate) fn group(&self, zspage: &Zspage) -> Group {
        zspage.slots.group(&self.geometry)
    }

    /// Takes the pages of a zspage from the buddy, linked.
    fn alloc_pages(&self) -> Option<Vec<usize>> {
        let mut buddy = self.buddy.lock().unwrap();
        let left = buddy.len().checked_sub(self.geometry.nr_pages())?;
        let frames: Vec<usize> = buddy.split_off(left).into_iter().rev().collect();
        drop(buddy);
        for (place, frame) in frames.iter().enumerate() {
            let page = &self.frames[*frame];
            self.first(*frame).keep();
            page.next
                .set(frames.get(place + 1).copied().unwrap_or(NONE));
        }
        Some(frames)
    }

    /// Takes a page from the buddy.
    pub(crate) fn alloc_page(&self) -> Option<Reference<'_>> {
        let frame = self.buddy.lock().unwrap().pop()?;
        Some(self.first(frame))
    }

    /// Allocates an object in a zspage that has room.
    pub(crate) fn alloc_in(&self, class: &Class, number: usize, handle: Handle) {
        let zspage = &class.zspages[number];
        let start = self.take_slot(zspage);
        self.set_header(zspage, start, Header::Allocated(handle.addr()));
        let word = self.word_at(zspage, start, Size::of_zspage(number).blank());
        self.store(handle, word, Ordering::Release);
        self.lru_touch(number);
    }

    /// The slots of a zspage that were ever used, by their starts.
    pub(crate) fn used(&self, zspage: &Zspage) -> StepBy<Range<u16>> {
        (0..zspage.slots.bump()).step_by(usize::from(self.geometry.step))
    }

    /// Takes the next free slot of a zspage that has room.
    pub(crate) fn take_slot(&self, zspage: &Zspage) -> u16 {
        match zspage.slots.next() {
            Some(Slot::Fresh(start)) => {
                zspage.slots.take_fresh(&self.geometry);
                start
            }
            Some(Slot::Recycled(start)) => {
                let header = self.header(zspage, start);
                let Header::Free(next) = header else {
                    panic!("free slot {start} holds {header:?}");
                };
                assert!(zspage.slots.take_recycled(next));
                start
            }
            None => panic!("no room in a zspage that was said to have some"),
        }
    }

    /// Frees a slot.
    pub(crate) fn give_slot(&self, zspage: &Zspage, start: u16) {
        let link = zspage.slots.release(start);
        self.set_header(zspage, start, link);
    }

    /// Moves a zspage to the front of the LRU. Under the class lock.
    pub(crate) fn lru_touch(&self, number: usize) {
        if self.evictable {
            let mut lru = self.lru();
            lru.retain(|other| *other != number);
            lru.insert(0, number);
        }
    }

    /// Takes a zspage off the LRU. Under the class lock.
    pub(crate) fn lru_remove(&self, number: usize) {
        if self.evictable {
            self.lru().retain(|other| *other != number);
        }
    }
}
