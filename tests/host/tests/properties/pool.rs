// SPDX-License-Identifier: GPL-2.0

//! A whole pool of the real arithmetic, single-threaded, on bytes: what is stored is read back,
//! whatever was allocated, freed, moved, compacted, shortened and promoted between.

use proptest::{prelude::*, sample::Index, test_runner::Config};
use std::{collections::BTreeMap, fmt::Debug};
use zsmalloc_logic_tests::class_table;
use zsmalloc_logic_tests::logic::{
    freelist::{Slot, Slots},
    fullness::{Group, EMPTY, FULL},
    header::{Header, HEADER_SIZE},
    size_class::{ClassTable, Geometry},
    span::{first_offset, start_at, Overlap, Span},
    stats::{ClassCount, Missing},
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
    /// Its frames; it may lack the last ones.
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
        let free = zspage.slots.next().unwrap();
        match free {
            Slot::Fresh(_) => zspage.slots.take_fresh(&class),
            Slot::Recycled(start) => match self.header(zspage, start) {
                Header::Free(next) => assert!(zspage.slots.take_recycled(next)),
                other => panic!("a free slot holds {other:?}"),
            },
        }
        free.start()
    }

    /// Frees a slot, and the zspage with the last one.
    fn give_slot(&mut self, number: usize, start: u16) {
        let link = self.zspages[&number].slots.release(start);
        self.set_header(number, start, link);
        if self.zspages[&number].slots.is_empty() {
            for frame in self.zspages.remove(&number).unwrap().frames {
                self.frames[frame] = None;
            }
        }
    }

    /// The zspages of a class in the groups from `EMPTY` to below `FULL`, emptiest first.
    fn with_room(&self, class: u16) -> Vec<usize> {
        let geometry = self.geometry(class);
        let group = |zspage: &Zspage| Group::of(zspage.slots.taken(), &geometry);
        let ours = self
            .zspages
            .iter()
            .filter(|(_, zspage)| zspage.class == class);
        let mut some: Vec<_> = ours.filter(|(_, zspage)| group(zspage) < FULL).collect();
        some.sort_by_key(|(_, zspage)| group(zspage));
        assert!(some.iter().all(|(_, zspage)| group(zspage) > EMPTY));
        some.into_iter().map(|(number, _)| *number).collect()
    }

    /// The zspage of a class that lacks pages; there is one at most.
    fn short(&self, class: u16) -> Option<usize> {
        let whole = self.geometry(class).nr_pages();
        let lacks = |zspage: &Zspage| zspage.class == class && zspage.frames.len() < whole;
        let mut short = self.zspages.iter().filter(|(_, zspage)| lacks(zspage));
        let first = short.next().map(|(number, _)| *number);
        assert_eq!(short.next().map(|(number, _)| *number), None);
        first
    }

    /// Opens a zspage.
    fn open(&mut self, class: u16, wish: usize) -> usize {
        let number = self.zspages.keys().next_back().map_or(0, |last| last + 1);
        let geometry = self.geometry(class);
        let zspage = Zspage {
            class,
            frames: Vec::new(),
            slots: Slots::new(&geometry),
        };
        self.zspages.insert(number, zspage);
        for _ in 0..geometry.nr_pages() {
            self.append(number, wish);
        }
        number
    }

    /// Appends a page to the chain of a zspage.
    fn append(&mut self, number: usize, wish: usize) {
        let place = self.zspages[&number].frames.len();
        let frame = self.free_frame(wish + place * (1 + wish % 2));
        // A recycled page: what it holds looks like objects.
        self.frames[frame] = Some(Page {
            bytes: vec![0b01; 1 << self.shift],
            zspage: number,
            place,
            link: u64::MAX,
        });
        let frames = &mut self.zspages.get_mut(&number).unwrap().frames;
        if let Some(before) = frames.last() {
            self.frames[*before].as_mut().unwrap().link = frame as u64;
        }
        frames.push(frame);
    }

    /// Gives the zspage of a class that lacks pages one of them back, if there is such a zspage.
    fn lengthen(&mut self, class: u16, wish: usize) -> Option<usize> {
        let number = self.short(class)?;
        self.append(number, wish);
        let zspage = &self.zspages[&number];
        let geometry = self.geometry(class);
        let slots = geometry.slots_on(self.shift, zspage.frames.len());
        zspage.slots.resize(&geometry, slots);
        Some(number)
    }

    /// Allocates an object. Returns its handle.
    fn malloc(&mut self, size: usize, wish: usize) -> usize {
        let class = self.table.lookup(self.shift, size);
        let room = self.with_room(class).pop();
        let room = room.or_else(|| self.lengthen(class, wish));
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

    /// The objects of a zspage in the slots from `from` on: slot and handle.
    fn objects(&self, number: usize, from: u16) -> Vec<(u16, usize)> {
        let zspage = &self.zspages[&number];
        let starts = (0..zspage.slots.bump()).step_by(self.geometry(zspage.class).step.into());
        let object = |start| Some((start, self.header(zspage, start).handle()? / 8));
        let starts = starts.filter(|start| *start >= from);
        starts.filter_map(object).collect()
    }

    /// Moves an object to a zspage with room, of its own class or one of larger slots. The slot that it
    /// leaves is not freed.
    fn move_to(&mut self, handle: usize, to: usize) {
        let size = self.geometry(u16::try_from(self.words[handle].class()).unwrap());
        let header = if self.words[handle].is_huge() {
            0
        } else {
            HEADER_SIZE
        };
        let bytes = self.read(handle, size.size as usize - header);
        let there = self.take_slot(to);
        self.set_header(to, there, Header::Allocated(handle * 8));
        let word = self.word(&self.zspages[&to], there);
        if word.class() == self.words[handle].class() {
            let moved = self.words[handle].moved(word.phys(), word.is_split());
            assert_eq!(moved, word);
        }
        self.words[handle] = word;
        self.write(handle, &bytes);
    }

    /// Moves an object of the emptiest zspage of a class to the fullest with room. False if there are
    /// no such two.
    fn compact(&mut self, class: u16) -> bool {
        let room = self.with_room(class);
        let (Some(from), Some(to)) = (room.first().copied(), room.last().copied()) else {
            return false;
        };
        if from == to {
            return false;
        }
        let (start, handle) = self.objects(from, 0)[0];
        self.move_to(handle, to);
        self.give_slot(from, start);
        true
    }

    /// The fullest zspage of a class with room that is not `other`.
    fn fullest_but(&self, class: u16, other: usize) -> Option<usize> {
        let mut room = self.with_room(class).into_iter().rev();
        room.find(|number| *number != other)
    }

    /// Frees the last pages of the zspage of a class that lacks some, or else of the emptiest: as
    /// `rust/pool/shorten.rs` does it.
    fn shorten(&mut self, class: u16) {
        let emptiest = || self.with_room(class).first().copied();
        let Some(number) = self.short(class).or_else(emptiest) else {
            return;
        };
        let geometry = self.geometry(class);
        let free = |number: &usize| geometry.objs - self.zspages[number].slots.taken();
        let others = self.with_room(class).into_iter();
        let elsewhere: u16 = others
            .filter(|other| *other != number)
            .map(|other| free(&other))
            .sum();
        let stay = self.zspages[&number]
            .slots
            .inuse()
            .saturating_sub(elsewhere);
        if stay == 0 {
            for (start, handle) in self.objects(number, 0) {
                let to = self.fullest_but(class, number).unwrap();
                self.move_to(handle, to);
                self.give_slot(number, start);
            }
            return;
        }
        let kept = geometry.pages_for(self.shift, stay);
        if kept < self.zspages[&number].frames.len() {
            self.shorten_to(number, kept);
        }
    }

    /// Frees all pages of a zspage but the first `kept`. There is room for the objects on them.
    fn shorten_to(&mut self, number: usize, kept: usize) {
        let class = self.zspages[&number].class;
        let geometry = self.geometry(class);
        let slots = geometry.slots_on(self.shift, kept);
        let end = geometry.start_of(slots);
        self.link_free_slots(number, end);
        for (start, handle) in self.objects(number, end) {
            let to = self.fullest_but(class, number).unwrap_or(number);
            self.move_to(handle, to);
            let header = self.zspages[&number].slots.release_unlinked();
            self.set_header(number, start, header);
        }
        assert_eq!(self.objects(number, end), []);
        let zspage = self.zspages.get_mut(&number).unwrap();
        zspage.slots.resize(&geometry, slots);
        for frame in zspage.frames.split_off(kept) {
            self.frames[frame] = None;
        }
        let last = *zspage.frames.last().unwrap();
        self.frames[last].as_mut().unwrap().link = u64::MAX;
    }

    /// Lists the free slots of a zspage that start before `end` and no other.
    fn link_free_slots(&mut self, number: usize, end: u16) {
        let zspage = &self.zspages[&number];
        let step = usize::from(self.geometry(zspage.class).step);
        zspage.slots.unlink_all();
        for start in (0..zspage.slots.bump().min(end)).step_by(step).rev() {
            let zspage = &self.zspages[&number];
            if let Header::Free(_) = self.header(zspage, start) {
                let header = zspage.slots.link(start);
                self.set_header(number, start, header);
            }
        }
    }

    /// Moves an object into a free slot of a class with larger ones, if there is one: as
    /// `rust/pool/promote.rs` does it. Its word then is of that class.
    fn promote(&mut self, handle: usize, which: Index) {
        let class = u16::try_from(self.words[handle].class()).unwrap();
        let room: Vec<usize> = (0..class)
            .filter_map(|larger| self.with_room(larger).pop())
            .collect();
        if room.is_empty() {
            return;
        }
        let to = *which.get(&room);
        let (from, start) = self.find(handle);
        self.move_to(handle, to);
        assert!(self.words[handle].class() < class.into());
        assert_eq!(self.find(handle).0, to);
        self.give_slot(from, start);
    }

    /// Packs each class until nothing can be won, which must win what the statistics promise.
    fn pack(&mut self) {
        for (class, count) in self.counts() {
            let geometry = self.geometry(class);
            let left = count.pages(&geometry) - count.can_compact(self.shift, &geometry);
            while self.compact(class) {}
            self.shorten(class);
            let count = self.counts()[&class];
            assert_eq!(count.pages(&geometry), left, "{geometry:?} {count:?}");
            assert_eq!(count.can_compact(self.shift, &geometry), 0);
        }
    }

    /// The counts of each class that has zspages.
    fn counts(&self) -> BTreeMap<u16, ClassCount> {
        let mut counts: BTreeMap<u16, ClassCount> = BTreeMap::new();
        for zspage in self.zspages.values() {
            let geometry = self.geometry(zspage.class);
            let count = counts.entry(zspage.class).or_default();
            count.zspages += 1;
            count.inuse += usize::from(zspage.slots.inuse());
            let lacks = Missing {
                pages: geometry.nr_pages() - zspage.frames.len(),
                slots: usize::from(zspage.slots.missing()),
            };
            let there = geometry.slots_on(self.shift, zspage.frames.len());
            assert_eq!(zspage.slots.missing(), geometry.objs - there);
            if lacks.pages != 0 {
                assert_eq!(count.missing, Missing::default(), "two are short");
                count.missing = lacks;
            }
        }
        counts
    }

    /// Pages held, by what is there and by what the statistics say.
    fn check_pages(&self, objects: usize) {
        let there = self.frames.iter().flatten().count();
        let counts = self.counts();
        let inuse = counts.values().map(|count| count.inuse);
        assert_eq!(inuse.sum::<usize>(), objects);
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
    /// Give up the last pages of a zspage of an object's class.
    Shorten(Index),
    /// Move an object to one of the classes of larger slots.
    Promote(Index, Index),
}

/// A few sizes, so that classes have several zspages; in 65536ths of a page. Half of them are near to
/// each other, so that objects find room in classes of larger slots.
fn sizes() -> impl Strategy<Value = Vec<usize>> {
    let any = || prop_oneof![1usize..=65536, 1usize..4000, Just(65536)];
    let near = (any(), 500usize..3000).prop_map(|(size, more)| {
        (0..4)
            .map(|times| (size + times * more).min(65536))
            .collect()
    });
    prop_oneof![prop::collection::vec(any(), 1..4), near]
}

/// Up to `most` steps, more or less of them allocations.
fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    (3u32..15).prop_flat_map(move |mallocs| prop::collection::vec(step(mallocs), 1..most))
}

/// A step, which is an allocation as often as `mallocs` says.
fn step(mallocs: u32) -> impl Strategy<Value = Step> {
    prop_oneof![
        mallocs => (any::<Index>(), 0usize..4000).prop_map(|(size, wish)| Step::Malloc(size, wish)),
        3 => any::<Index>().prop_map(Step::Free),
        1 => any::<(Index, u8)>().prop_map(|(which, seed)| Step::Write(which, seed)),
        3 => (any::<Index>(), 0usize..4000).prop_map(|(which, wish)| Step::Migrate(which, wish)),
        2 => any::<Index>().prop_map(Step::Compact),
        2 => any::<Index>().prop_map(Step::Shorten),
        2 => any::<(Index, Index)>().prop_map(|(which, to)| Step::Promote(which, to)),
    ]
}

/// Contents of an object.
fn contents(size: usize, seed: usize) -> Vec<u8> {
    (0..size)
        .map(|at| ((at * 7 + at / 256 + seed * 31) % 251).to_le_bytes()[0])
        .collect()
}

/// Compares what is stored with what should be.
fn check(pool: &Pool, objects: &[(usize, Vec<u8>)], after: &dyn Debug) {
    for (handle, bytes) in objects {
        assert!(
            pool.read(*handle, bytes.len()) == *bytes,
            "object {handle} after {after:?}"
        );
        pool.find(*handle);
    }
    pool.check_pages(objects.len());
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
            Step::Shorten(which) => {
                let word = pool.words[objects[which.index(objects.len())].0];
                pool.shorten(u16::try_from(word.class()).unwrap());
            }
            Step::Promote(which, to) => {
                pool.promote(objects[which.index(objects.len())].0, to);
            }
        }
        check(&pool, &objects, &step);
    }
    pool.pack();
    check(&pool, &objects, &"packing");
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
        steps in steps(250),
    ) {
        run(12, chain, &sizes, steps);
    }

    #[test]
    fn what_is_stored_is_read_back_16k(
        chain in 4u32..=16,
        sizes in sizes(),
        steps in steps(120),
    ) {
        run(14, chain, &sizes, steps);
    }

    #[test]
    fn what_is_stored_is_read_back_64k(
        chain in 4u32..=16,
        sizes in sizes(),
        steps in steps(60),
    ) {
        run(16, chain, &sizes, steps);
    }
}
