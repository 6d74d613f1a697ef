// SPDX-License-Identifier: GPL-2.0

//! The pool and its machine: frames of bytes, in which objects come and go.

use std::collections::BTreeMap;
use zsmalloc_logic_tests::class_table;
use zsmalloc_logic_tests::logic::{
    freelist::{Slot, Slots},
    fullness::{EMPTY, FULL},
    header::{Header, HEADER_SIZE},
    size_class::{ClassTable, Geometry},
    span::{start_at, Span},
    stats::{ClassCount, Missing},
    word::Word,
};

/// A page frame in use.
pub(super) struct Page {
    /// Its memory.
    pub(super) bytes: Vec<u8>,
    /// Its zspage.
    pub(super) zspage: usize,
    /// Its place in the chain.
    pub(super) place: usize,
    /// The next frame of the chain, or, for a huge object, the header.
    pub(super) link: u64,
}

/// A zspage.
pub(super) struct Zspage {
    /// Number of its class.
    pub(super) class: u16,
    /// Its frames; it may lack the last ones.
    pub(super) frames: Vec<usize>,
    /// Which slots are free.
    pub(super) slots: Slots,
}

/// The pool and its machine.
pub(super) struct Pool {
    /// Page size, as a shift.
    pub(super) shift: u32,
    /// Sizes to classes.
    pub(super) table: ClassTable,
    /// All frames.
    pub(super) frames: Vec<Option<Page>>,
    /// Zspages by number.
    pub(super) zspages: BTreeMap<usize, Zspage>,
    /// Handle words.
    pub(super) words: Vec<Word>,
}

impl Pool {
    /// An empty pool.
    pub(super) fn new(shift: u32, chain: u32) -> Self {
        Self {
            shift,
            table: class_table(shift, chain).unwrap(),
            frames: (0..4000).map(|_| None).collect(),
            zspages: BTreeMap::new(),
            words: Vec::new(),
        }
    }

    /// Shape of a class.
    pub(super) fn geometry(&self, class: u16) -> Geometry {
        *self.table.class(class).unwrap()
    }

    /// A free frame, near `wish` so that some are adjacent.
    pub(super) fn free_frame(&self, wish: usize) -> usize {
        let all = self.frames.len();
        let mut near = (0..all).map(|step| (wish + step) % all);
        near.find(|frame| self.frames[*frame].is_none()).unwrap()
    }

    /// Frame and offset of a slot.
    pub(super) fn place(&self, zspage: &Zspage, start: u16) -> (usize, Span) {
        let span = Span::of(self.shift, &self.geometry(zspage.class), start);
        (zspage.frames[span.page], span)
    }

    /// The word of an object in a slot.
    pub(super) fn word(&self, zspage: &Zspage, start: u16) -> Word {
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
    pub(super) fn header(&self, zspage: &Zspage, start: u16) -> Header {
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
    pub(super) fn set_header(&mut self, zspage: usize, start: u16, header: Header) {
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
    pub(super) fn byte(&self, word: Word, at: usize) -> (usize, usize) {
        let start = usize::try_from(word.contents()).unwrap();
        let (frame, offset) = (start >> self.shift, start % (1 << self.shift));
        if word.is_split() && offset + at >= 1 << self.shift {
            let next = usize::try_from(self.frames[frame].as_ref().unwrap().link).unwrap();
            return (next, offset + at - (1 << self.shift));
        }
        ((start + at) >> self.shift, (start + at) % (1 << self.shift))
    }

    /// Reads an object.
    pub(super) fn read(&self, handle: usize, size: usize) -> Vec<u8> {
        let place = |at| self.byte(self.words[handle], at);
        let bytes = (0..size).map(place);
        bytes
            .map(|(frame, offset)| self.frames[frame].as_ref().unwrap().bytes[offset])
            .collect()
    }

    /// Writes an object.
    pub(super) fn write(&mut self, handle: usize, bytes: &[u8]) {
        for (at, byte) in bytes.iter().enumerate() {
            let (frame, offset) = self.byte(self.words[handle], at);
            self.frames[frame].as_mut().unwrap().bytes[offset] = *byte;
        }
    }

    /// Takes a slot of a zspage with room.
    pub(super) fn take_slot(&mut self, number: usize) -> u16 {
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
    pub(super) fn give_slot(&mut self, number: usize, start: u16) {
        let link = self.zspages[&number].slots.release(start);
        self.set_header(number, start, link);
        if self.zspages[&number].slots.is_empty() {
            for frame in self.zspages.remove(&number).unwrap().frames {
                self.frames[frame] = None;
            }
        }
    }

    /// The zspages of a class in the groups from `EMPTY` to below `FULL`, emptiest first.
    pub(super) fn with_room(&self, class: u16) -> Vec<usize> {
        let geometry = self.geometry(class);
        let group = |zspage: &Zspage| zspage.slots.group(&geometry);
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
    pub(super) fn short(&self, class: u16) -> Option<usize> {
        let whole = self.geometry(class).nr_pages();
        let lacks = |zspage: &Zspage| zspage.class == class && zspage.frames.len() < whole;
        let mut short = self.zspages.iter().filter(|(_, zspage)| lacks(zspage));
        let first = short.next().map(|(number, _)| *number);
        assert_eq!(short.next().map(|(number, _)| *number), None);
        first
    }

    /// Opens a zspage.
    pub(super) fn open(&mut self, class: u16, wish: usize) -> usize {
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
    pub(super) fn append(&mut self, number: usize, wish: usize) {
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
    pub(super) fn lengthen(&mut self, class: u16, wish: usize) -> Option<usize> {
        let number = self.short(class)?;
        self.append(number, wish);
        let zspage = &self.zspages[&number];
        let geometry = self.geometry(class);
        let slots = geometry.slots_on(self.shift, zspage.frames.len());
        zspage.slots.resize(&geometry, slots);
        Some(number)
    }

    /// Allocates an object. Returns its handle.
    pub(super) fn malloc(&mut self, size: usize, wish: usize) -> usize {
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
    pub(super) fn find(&self, handle: usize) -> (usize, u16) {
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

    /// The counts of each class that has zspages.
    pub(super) fn counts(&self) -> BTreeMap<u16, ClassCount> {
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
    pub(super) fn check_pages(&self, objects: usize) {
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
