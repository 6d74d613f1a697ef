// SPDX-License-Identifier: GPL-2.0

//! A whole pool of the real arithmetic, single-threaded, on bytes: what is stored is read back,
//! whatever was allocated, freed, moved and compacted between.

use proptest::{prelude::*, sample::Index, test_runner::Config};
use std::collections::BTreeMap;
use zsmalloc_logic_tests::class_table;
use zsmalloc_logic_tests::logic::{
    freelist::{Slot, Slots},
    fullness::{Group, EMPTY, FULL},
    header::{Header, HEADER_SIZE},
    size_class::{ClassTable, Geometry},
    span::{first_offset, start_at, Overlap, Span},
    stats::ClassCount,
    word::Word,
};

/// A page frame in use.
struct Page {
    /// Its memory.
    bytes: Vec<u8>,
    /// Its zspage.
    zspage: usize,
    /// Its place in the chain.
    place: usize,
    /// The next frame of the chain, or, for a huge object, the header.
    link: u64,
}

/// A zspage.
struct Zspage {
    /// Number of its class.
    class: u16,
    /// Its frames.
    frames: Vec<usize>,
    /// Which slots are free.
    slots: Slots,
}

/// The pool and its machine.
struct Pool {
    /// Page size, as a shift.
    shift: u32,
    /// Sizes to classes.
    table: ClassTable,
    /// All frames.
    frames: Vec<Option<Page>>,
    /// Zspages by number.
    zspages: BTreeMap<usize, Zspage>,
    /// Handle words.
    words: Vec<Word>,
}

impl Pool {
    /// An empty pool.
    fn new(shift: u32, chain: u32) -> Self {
        Self {
            shift,
            table: class_table(shift, chain).unwrap(),
            frames: (0..4000).map(|_| None).collect(),
            zspages: BTreeMap::new(),
            words: Vec::new(),
        }
    }

    /// Shape of a class.
    fn geometry(&self, class: u16) -> Geometry {
        *self.table.class(class).unwrap()
    }

    /// A free frame, near `wish` so that some are adjacent.
    fn free_frame(&self, wish: usize) -> usize {
        let all = self.frames.len();
        let mut near = (0..all).map(|step| (wish + step) % all);
        near.find(|frame| self.frames[*frame].is_none()).unwrap()
    }

    /// Frame and offset of a slot.
    fn place(&self, zspage: &Zspage, start: u16) -> (usize, Span) {
        let span = Span::of(self.shift, &self.geometry(zspage.class), start);
        (zspage.frames[span.page], span)
    }

    /// The word of an object in a slot.
    fn word(&self, zspage: &Zspage, start: u16) -> Word {
        let (frame, span) = self.place(zspage, start);
        let split = span.crosses && zspage.frames[span.page + 1] != frame + 1;
        let phys = (frame << self.shift) + span.offset;
        Word::live(
            phys as u64,
            zspage.class,
            self.geometry(zspage.class).is_huge(),
            split,
        )
    }

    /// The header of a slot.
    fn header(&self, zspage: &Zspage, start: u16) -> Header {
        let (frame, span) = self.place(zspage, start);
        let page = self.frames[frame].as_ref().unwrap();
        let raw = if self.geometry(zspage.class).is_huge() {
            page.link
        } else {
            u64::from_le_bytes(page.bytes[span.offset..][..HEADER_SIZE].try_into().unwrap())
        };
        Header::from_raw(raw).unwrap()
    }

    /// Writes the header of a slot.
    fn set_header(&mut self, zspage: usize, start: u16, header: Header) {
        let zspage = &self.zspages[&zspage];
        let huge = self.geometry(zspage.class).is_huge();
        let (frame, span) = self.place(zspage, start);
        let page = self.frames[frame].as_mut().unwrap();
        if huge {
            page.link = header.to_raw();
        } else {
            page.bytes[span.offset..][..HEADER_SIZE]
                .copy_from_slice(&header.to_raw().to_le_bytes());
        }
    }

    /// Frame and offset of a byte of an object, by its word and the links alone, as map has it.
    fn byte(&self, word: Word, at: usize) -> (usize, usize) {
        let header = if word.is_huge() { 0 } else { HEADER_SIZE };
        let start = usize::try_from(word.phys()).unwrap();
        let (frame, offset) = (start >> self.shift, start % (1 << self.shift));
        let at = at + header;
        if word.is_split() && offset + at >= 1 << self.shift {
            let next = usize::try_from(self.frames[frame].as_ref().unwrap().link).unwrap();
            return (next, offset + at - (1 << self.shift));
        }
        ((start + at) >> self.shift, (start + at) % (1 << self.shift))
    }

    /// Reads an object.
    fn read(&self, handle: usize, size: usize) -> Vec<u8> {
        let place = |at| self.byte(self.words[handle], at);
        let bytes = (0..size).map(place);
        bytes
            .map(|(frame, offset)| self.frames[frame].as_ref().unwrap().bytes[offset])
            .collect()
    }

    /// Writes an object.
    fn write(&mut self, handle: usize, bytes: &[u8]) {
        for (at, byte) in bytes.iter().enumerate() {
            let (frame, offset) = self.byte(self.words[handle], at);
            self.frames[frame].as_mut().unwrap().bytes[offset] = *byte;
        }
    }

    /// Takes a slot of a zspage with room.
    fn take_slot(&mut self, number: usize) -> u16 {
        let zspage = &self.zspages[&number];
        let class = self.geometry(zspage.class);
        let free = zspage.slots.next(&class).unwrap();
        match free {
            Slot::Fresh(_) => zspage.slots.take_fresh(&class),
            Slot::Recycled(start) => match self.header(zspage, start) {
                Header::Free(next) => assert!(zspage.slots.take_recycled(&class, next)),
                other => panic!("a free slot holds {other:?}"),
            },
        }
        free.start()
    }

    /// Frees a slot, and the zspage with the last one.
    fn give_slot(&mut self, number: usize, start: u16) {
        let link = self.zspages[&number].slots.release(start);
        self.set_header(number, start, link);
        if self.zspages[&number].slots.inuse() == 0 {
            for frame in self.zspages.remove(&number).unwrap().frames {
                self.frames[frame] = None;
            }
        }
    }

    /// The zspages of a class in the groups from `EMPTY` to below `FULL`, emptiest first.
    fn with_room(&self, class: u16) -> Vec<usize> {
        let geometry = self.geometry(class);
        let group = |zspage: &Zspage| Group::of(zspage.slots.inuse(), &geometry);
        let ours = self
            .zspages
            .iter()
            .filter(|(_, zspage)| zspage.class == class);
        let mut some: Vec<_> = ours.filter(|(_, zspage)| group(zspage) < FULL).collect();
        some.sort_by_key(|(_, zspage)| group(zspage));
        assert!(some.iter().all(|(_, zspage)| group(zspage) > EMPTY));
        some.into_iter().map(|(number, _)| *number).collect()
    }

    /// Opens a zspage.
    fn open(&mut self, class: u16, wish: usize) -> usize {
        let number = self.zspages.keys().next_back().map_or(0, |last| last + 1);
        let mut frames: Vec<usize> = Vec::new();
        for place in 0..self.geometry(class).nr_pages() {
            let frame = self.free_frame(wish + place * (1 + wish % 2));
            // A recycled page: what it holds looks like objects.
            let bytes = vec![0b01; 1 << self.shift];
            self.frames[frame] = Some(Page {
                bytes,
                zspage: number,
                place,
                link: u64::MAX,
            });
            if let Some(before) = frames.last() {
                self.frames[*before].as_mut().unwrap().link = frame as u64;
            }
            frames.push(frame);
        }
        let slots = Slots::new();
        self.zspages.insert(
            number,
            Zspage {
                class,
                frames,
                slots,
            },
        );
        number
    }

    /// Allocates an object. Returns its handle.
    fn malloc(&mut self, size: usize, wish: usize) -> usize {
        let class = self.table.lookup(self.shift, size);
        let room = self.with_room(class).pop();
        let number = room.unwrap_or_else(|| self.open(class, wish));
        let start = self.take_slot(number);
        let handle = self.words.len();
        self.set_header(number, start, Header::Allocated(handle * 8));
        self.words.push(self.word(&self.zspages[&number], start));
        handle
    }

    /// Zspage and slot of an object, found as free finds them.
    fn find(&self, handle: usize) -> (usize, u16) {
        let word = self.words[handle];
        let phys = usize::try_from(word.phys()).unwrap();
        let page = self.frames[phys >> self.shift].as_ref().unwrap();
        let start = start_at(self.shift, page.place, phys % (1 << self.shift));
        assert_eq!(
            self.header(&self.zspages[&page.zspage], start),
            Header::Allocated(handle * 8)
        );
        (page.zspage, start)
    }

    /// Moves a page to a frame near another one.
    fn migrate(&mut self, old: usize, wish: usize) {
        let new = self.free_frame(wish);
        let page = self.frames[old].take().unwrap();
        let (number, place) = (page.zspage, page.place);
        self.frames[new] = Some(page);
        let zspage = self.zspages.get_mut(&number).unwrap();
        zspage.frames[place] = new;
        if let Some(before) = place.checked_sub(1) {
            self.frames[zspage.frames[before]].as_mut().unwrap().link = new as u64;
        }
        let zspage = &self.zspages[&number];
        let class = self.geometry(zspage.class);
        let first = first_offset(self.shift, &class, place).min((1 << self.shift) - 1);
        let by = (new as u64).wrapping_sub(old as u64) << self.shift;
        let on = Overlap::of(self.shift, &class, place, first);
        let end = on.end.min(zspage.slots.bump().into());
        for start in (on.first..end).step_by(class.step.into()) {
            let start = u16::try_from(start).unwrap();
            if let Some(addr) = self.header(zspage, start).handle() {
                let there = self.word(zspage, start);
                let word = &mut self.words[addr / 8];
                // Those that begin on the page before stay where they are.
                let by = if u32::from(start) < on.begin { 0 } else { by };
                *word = word.moved_by(by).with_split(there.is_split());
                assert_eq!(*word, word.moved(there.phys(), there.is_split()));
            }
        }
    }

    /// Moves an object of the emptiest zspage of a class to the fullest with room.
    fn compact(&mut self, class: u16) {
        let room = self.with_room(class);
        let (Some(from), Some(to)) = (room.first().copied(), room.last().copied()) else {
            return;
        };
        let bump = self.zspages[&from].slots.bump();
        let header = |start: &u16| self.header(&self.zspages[&from], *start).handle().is_some();
        let mut starts = (0..bump).step_by(usize::from(self.geometry(class).step));
        let Some(start) = starts.find(header).filter(|_| from != to) else {
            return;
        };
        let handle = self.header(&self.zspages[&from], start).handle().unwrap() / 8;
        let bytes = self.read(handle, self.geometry(class).size as usize - HEADER_SIZE);
        let there = self.take_slot(to);
        self.set_header(to, there, Header::Allocated(handle * 8));
        let word = self.word(&self.zspages[&to], there);
        self.words[handle] = self.words[handle].moved(word.phys(), word.is_split());
        self.write(handle, &bytes);
        self.give_slot(from, start);
    }

    /// Pages held, by what is there and by what the statistics say.
    fn check_pages(&self) {
        let there = self.frames.iter().flatten().count();
        let mut counts: BTreeMap<u16, ClassCount> = BTreeMap::new();
        for zspage in self.zspages.values() {
            let count = counts.entry(zspage.class).or_default();
            count.zspages += 1;
            count.inuse += usize::from(zspage.slots.inuse());
        }
        let pages = counts
            .iter()
            .map(|(class, count)| count.pages(&self.geometry(*class)));
        assert_eq!(pages.sum::<usize>(), there);
    }
}

/// One thing that is done.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Allocate and fill an object of one of the sizes.
    Malloc(Index, usize),
    /// Free an object.
    Free(Index),
    /// Write an object again.
    Write(Index, u8),
    /// Move the page an object begins on.
    Migrate(Index, usize),
    /// Compact the class of an object.
    Compact(Index),
}

/// A few sizes, so that classes have several zspages; in 65536ths of a page.
fn sizes() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![1usize..=65536, 1usize..4000, Just(65536)];
    prop::collection::vec(size, 1..4)
}

/// Steps.
fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<Index>(), 0usize..4000).prop_map(|(size, wish)| Step::Malloc(size, wish)),
        3 => any::<Index>().prop_map(Step::Free),
        1 => any::<(Index, u8)>().prop_map(|(which, seed)| Step::Write(which, seed)),
        3 => (any::<Index>(), 0usize..4000).prop_map(|(which, wish)| Step::Migrate(which, wish)),
        2 => any::<Index>().prop_map(Step::Compact),
    ]
}

/// Contents of an object.
fn contents(size: usize, seed: usize) -> Vec<u8> {
    (0..size)
        .map(|at| ((at * 7 + at / 256 + seed * 31) % 251).to_le_bytes()[0])
        .collect()
}

/// Runs the steps, and compares everything after each.
fn run(shift: u32, chain: u32, sizes: &[usize], steps: Vec<Step>) {
    let mut pool = Pool::new(shift, chain);
    let mut objects: Vec<(usize, Vec<u8>)> = Vec::new();
    for step in steps {
        match step {
            Step::Malloc(which, wish) => {
                let size = (which.get(sizes) << shift >> 16).max(1);
                let handle = pool.malloc(size, wish);
                let bytes = contents(size, handle);
                pool.write(handle, &bytes);
                objects.push((handle, bytes));
            }
            _ if objects.is_empty() => {}
            Step::Free(which) => {
                let (handle, _) = objects.swap_remove(which.index(objects.len()));
                let (zspage, start) = pool.find(handle);
                pool.words[handle] = Word::dead(0);
                pool.give_slot(zspage, start);
            }
            Step::Write(which, seed) => {
                let which = which.index(objects.len());
                let (handle, bytes) = &mut objects[which];
                *bytes = contents(bytes.len(), usize::from(seed));
                pool.write(*handle, bytes);
            }
            Step::Migrate(which, wish) => {
                let word = pool.words[objects[which.index(objects.len())].0];
                pool.migrate(usize::try_from(word.phys()).unwrap() >> shift, wish);
            }
            Step::Compact(which) => {
                let word = pool.words[objects[which.index(objects.len())].0];
                pool.compact(u16::try_from(word.class()).unwrap());
            }
        }
        for (handle, bytes) in &objects {
            assert!(
                pool.read(*handle, bytes.len()) == *bytes,
                "object {handle} after {step:?}"
            );
            pool.find(*handle);
        }
        pool.check_pages();
    }
    for (handle, _) in objects {
        let (zspage, start) = pool.find(handle);
        pool.give_slot(zspage, start);
    }
    assert!(pool.zspages.is_empty() && pool.frames.iter().all(Option::is_none));
}

proptest! {
    #![proptest_config(Config { cases: 100, ..crate::config() })]

    #[test]
    fn what_is_stored_is_read_back_4k(
        chain in 4u32..=16,
        sizes in sizes(),
        steps in prop::collection::vec(step(), 1..150),
    ) {
        run(12, chain, &sizes, steps);
    }

    #[test]
    fn what_is_stored_is_read_back_16k(
        chain in 4u32..=16,
        sizes in sizes(),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        run(14, chain, &sizes, steps);
    }

    #[test]
    fn what_is_stored_is_read_back_64k(
        chain in 4u32..=16,
        sizes in sizes(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        run(16, chain, &sizes, steps);
    }
}
