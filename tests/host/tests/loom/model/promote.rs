// SPDX-License-Identifier: GPL-2.0

//! Two size classes, and objects that move from one to the other: a model of its own, with one page
//! for each class.
//!
//! P1: an object changes its class under both class locks, that of the larger slots taken first,
//! and with its LOCK.
//! P2: free reads the class without a lock, takes that lock and looks again: if it is another
//! class, it begins again, whatever else the word says; only then LOCK is a mapper's.

use super::{
    fault::Fault,
    free::Freed,
    memory::{Frame, HandleWord, GRANULE, PAGE_SHIFT},
    pool::Handle,
};
use loom::{
    cell::UnsafeCell,
    sync::{atomic::Ordering, Mutex, MutexGuard},
    thread,
};
use std::sync::atomic::{AtomicUsize, Ordering as StdOrdering};
use zsmalloc_logic_tests::logic::{
    freelist::{Slot, Slots},
    header::Header,
    size_class::Geometry,
    word::Word,
};

/// The number of a class, which is that of its page frame too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Class {
    /// Two slots of two granules.
    Large,
    /// The same, with objects of one granule: a class of its own by its number alone.
    Small,
}

/// Slots of each class in bytes: a granule for the header, and one for the contents.
const SIZE: u32 = 32;

impl Class {
    /// The class that a word says.
    fn of(word: Word) -> Self {
        if word.class() == 0 {
            Self::Large
        } else {
            Self::Small
        }
    }

    /// Its number.
    fn number(self) -> u16 {
        match self {
            Self::Large => 0,
            Self::Small => 1,
        }
    }

    /// Its shape.
    fn geometry(self) -> Geometry {
        Geometry::of_shape(SIZE, 2, 1, self.number())
    }
}

/// What a class lock guards. Not within the lock, so that a variant may forget to take it.
struct Guarded(UnsafeCell<Slots>);

// SAFETY: Loom runs one thread at a time and stops at accesses that would race.
unsafe impl Sync for Guarded {}

impl Guarded {
    /// Uses the slots, as somebody who changes them.
    #[track_caller]
    fn with<T>(&self, run: impl FnOnce(&Slots) -> T) -> T {
        // SAFETY: `with_mut` has checked that no access races with this one.
        self.0.with_mut(|slots| run(unsafe { &*slots }))
    }
}

/// Two size classes of one page each.
pub(crate) struct Classes {
    /// The rule that is broken.
    fault: Option<Fault>,
    /// The class locks.
    locks: [Mutex<()>; 2],
    /// The slots of each class.
    slots: [Guarded; 2],
    /// The page of each class.
    frames: [Frame; 2],
    /// All handle words.
    words: Vec<HandleWord>,
    /// Bugs of users that were reported.
    warnings: AtomicUsize,
}

impl Classes {
    /// Two classes without objects, and so many handle words.
    pub(crate) fn new(words: usize, fault: Option<Fault>) -> Self {
        let slots = |class: Class| Guarded(UnsafeCell::new(Slots::new(&class.geometry())));
        Self {
            fault,
            locks: [(); 2].map(Mutex::new),
            slots: [Class::Large, Class::Small].map(slots),
            frames: [(); 2].map(|()| Frame::new()),
            words: (0..words).map(|_| HandleWord::new()).collect(),
            warnings: AtomicUsize::new(0),
        }
    }

    /// The model breaks this rule.
    fn breaks(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Takes the lock of a class, unless it is broken that it has to be.
    fn lock_unless(&self, fault: Fault, class: Class) -> Option<MutexGuard<'_, ()>> {
        (!self.breaks(fault)).then(|| self.lock(class))
    }

    /// Takes the lock of a class.
    fn lock(&self, class: Class) -> MutexGuard<'_, ()> {
        self.locks[usize::from(class.number())].lock().unwrap()
    }

    /// The slots of a class.
    fn slots(&self, class: Class) -> &Guarded {
        &self.slots[usize::from(class.number())]
    }

    /// The page of a class.
    fn frame(&self, class: Class) -> &Frame {
        &self.frames[usize::from(class.number())]
    }

    /// The word of an object in the slot at `start`.
    fn word_at(class: Class, start: u16) -> Word {
        let frame = usize::from(class.number());
        let phys = (frame << PAGE_SHIFT) + usize::from(start) * GRANULE;
        Word::live(phys as u64, class.number(), false, false)
    }

    /// Where the slot of a word starts.
    fn start_of(word: Word) -> u16 {
        let offset = word.phys() % (1 << PAGE_SHIFT);
        u16::try_from(offset / GRANULE as u64).unwrap()
    }

    /// Takes a free slot for an object. None if there is none. Under the class's lock.
    fn take_slot(&self, class: Class) -> Option<u16> {
        self.slots(class).with(|slots| {
            let free = slots.next()?;
            match free {
                Slot::Fresh(_) => slots.take_fresh(&class.geometry()),
                Slot::Recycled(start) => {
                    let header = self.frame(class).header(usize::from(start));
                    let Header::Free(next) = header else {
                        panic!("free slot {start} holds {header:?}");
                    };
                    assert!(slots.take_recycled(next));
                }
            }
            Some(free.start())
        })
    }

    /// Frees a slot. Under the class's lock.
    fn give_slot(&self, class: Class, start: u16) {
        let link = self.slots(class).with(|slots| slots.release(start));
        self.frame(class).set_header(usize::from(start), link);
    }

    /// Allocates an object with these contents, by the word of a number. False if there is no room.
    pub(crate) fn malloc(&self, class: Class, handle: Handle, value: u64) -> bool {
        let lock = self.lock(class);
        let Some(start) = self.take_slot(class) else {
            return false;
        };
        let header = Header::Allocated(handle.addr());
        self.frame(class).set_header(usize::from(start), header);
        self.words[handle.0].store(Self::word_at(class, start), Ordering::Release);
        drop(lock);
        self.replace(handle, None, value);
        true
    }

    /// Maps an object, compares what it holds, and writes something else.
    pub(crate) fn replace(&self, handle: Handle, old: Option<u64>, new: u64) {
        let word = &self.words[handle.0];
        let unlocked = loop {
            let unlocked = word.load(Ordering::Relaxed).unlocked();
            assert!(!unlocked.is_dead(), "an object is lost");
            if word.replace(unlocked, unlocked.locked(), Ordering::Acquire) {
                break unlocked;
            }
            thread::yield_now();
        };
        let contents = usize::from(Self::start_of(unlocked)) + 1;
        let frame = self.frame(Class::of(unlocked));
        if let Some(old) = old {
            assert_eq!(frame.data(contents).get(), old, "contents are stale");
        }
        frame.data(contents).set(new);
        word.store(unlocked, Ordering::Release);
    }

    /// P1: moves an object to the class of larger slots. False if it is not of the smaller ones, is
    /// in use, or if there is no room.
    pub(crate) fn promote(&self, handle: Handle) -> bool {
        let _their_lock = self.lock_unless(Fault::PromoteWithoutTheirLock, Class::Large);
        let _own_lock = self.lock_unless(Fault::PromoteWithoutOwnLock, Class::Small);
        self.relocate(handle, Class::Small, Class::Large)
    }

    /// Moves an object within the class of larger slots, as compaction does. Under that class's
    /// lock.
    pub(crate) fn compact(&self, handle: Handle) -> bool {
        let _lock = self.lock(Class::Large);
        self.relocate(handle, Class::Large, Class::Large)
    }

    /// Moves an object of a class to a slot of the same or another one, both locked.
    fn relocate(&self, handle: Handle, from: Class, to: Class) -> bool {
        let Some(start) = self.find(from, handle) else {
            return false;
        };
        let word = &self.words[handle.0];
        let was = word.load(Ordering::Relaxed);
        if !self.breaks(Fault::PromoteWithoutLock) {
            let free = !was.is_locked();
            if !free || !word.replace(was, was.locked(), Ordering::Acquire) {
                return false;
            }
        }
        let Some(there) = self.take_slot(to) else {
            word.store(was.unlocked(), Ordering::Release);
            return false;
        };
        let contents = self.frame(from).data(usize::from(start) + 1).get();
        self.frame(to).data(usize::from(there) + 1).set(contents);
        let header = Header::Allocated(handle.addr());
        self.frame(to).set_header(usize::from(there), header);
        self.give_slot(from, start);
        word.store(Self::word_at(to, there), Ordering::Release);
        true
    }

    /// The slot of an object in a class. Under the class's lock.
    fn find(&self, class: Class, handle: Handle) -> Option<u16> {
        let bump = self.slots(class).with(|slots| slots.bump());
        let mut starts = (0..bump).step_by(usize::from(class.geometry().step));
        let header = |start: u16| self.frame(class).header(usize::from(start));
        starts.find(|start| header(*start).handle() == Some(handle.addr()))
    }

    /// P2: frees an object.
    pub(crate) fn free(&self, handle: Handle) -> Freed {
        let word = &self.words[handle.0];
        loop {
            let class = Class::of(word.load(Ordering::Relaxed));
            let _lock = self.lock(class);
            let now = word.load(Ordering::Acquire);
            let blamed = now.is_locked() && self.breaks(Fault::FreeBlamesFirst);
            if now.is_dead() || blamed {
                return self.refuse();
            }
            if Class::of(now) != class {
                if self.breaks(Fault::FreeKeepsClass) {
                    // The page is not of this class: a handle of another pool, it seems.
                    return self.refuse();
                }
                continue;
            }
            if now.is_locked() {
                return self.refuse();
            }
            let start = Self::start_of(now);
            let header = self.frame(class).header(usize::from(start));
            let ours = Header::Allocated(handle.addr());
            assert_eq!(header, ours, "the slot is another object's");
            self.give_slot(class, start);
            word.store(Word::dead(0), Ordering::Release);
            return Freed::Free;
        }
    }

    /// Reports a user's bug.
    fn refuse(&self) -> Freed {
        self.warnings.fetch_add(1, StdOrdering::Relaxed);
        Freed::Refused
    }

    /// Checks everything, given the objects that must be left and their contents.
    pub(crate) fn audit(&self, objects: &[(Handle, u64)]) {
        let warnings = self.warnings.load(StdOrdering::Relaxed);
        assert_eq!(warnings, 0, "a user was blamed");
        let mut inuse = 0;
        for class in [Class::Large, Class::Small] {
            let _lock = self.lock(class);
            inuse += usize::from(self.slots(class).with(Slots::inuse));
        }
        assert_eq!(inuse, objects.len(), "slots are lost");
        for (handle, value) in objects {
            let word = self.words[handle.0].load(Ordering::Relaxed);
            let class = Class::of(word);
            let lock = self.lock(class);
            let start = self.find(class, *handle).expect("an object has no slot");
            assert_eq!(word, Self::word_at(class, start), "a word leads elsewhere");
            drop(lock);
            self.replace(*handle, Some(*value), *value);
        }
    }
}
