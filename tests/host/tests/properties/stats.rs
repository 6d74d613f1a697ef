// SPDX-License-Identifier: GPL-2.0

//! Statistics against the same sums in 128 bits.

use crate::{config, shapes};
use proptest::{prelude::*, sample::Index};
use std::sync::LazyLock;
use zsmalloc_logic_tests::logic::{
    size_class::Geometry,
    stats::{ClassCount, Missing},
};

/// All shapes of classes, with their page shifts.
static CLASSES: LazyLock<Vec<(u32, Geometry)>> = LazyLock::new(shapes);

/// Counts of one class that belong together, in 128 bits.
#[derive(Debug)]
struct Book {
    /// Page size as a shift.
    shift: u32,
    /// The class.
    class: Geometry,
    /// Zspages.
    zspages: u128,
    /// Pages that one of them has.
    kept: u128,
    /// Objects.
    inuse: u128,
}

/// Classes with at most so many zspages are sparse with less.
const FEW_ZSPAGES: u128 = 8;

/// Zspages of more slots keep their pages.
const MOST_SHORTENED: u128 = 1024;

impl Book {
    /// Counts of a class with `zspages` zspages, of which one lacks pages if `lacks` says so, and
    /// `part` thousandths of the slots in use.
    fn new(which: Index, zspages: usize, lacks: Option<Index>, part: u128) -> Self {
        let (shift, class) = *which.get(&CLASSES);
        let kept = match lacks {
            Some(lacks) if zspages != 0 && class.can_shorten() => 1 + lacks.index(class.nr_pages()),
            _ => class.nr_pages(),
        };
        let mut book = Self {
            shift,
            class,
            zspages: zspages as u128,
            kept: kept as u128,
            inuse: 0,
        };
        book.inuse = book.slots() * part / 1000;
        book
    }

    /// Slots of a whole zspage.
    fn objs(&self) -> u128 {
        u128::from(self.class.objs)
    }

    /// Slots that end within so many bytes.
    fn fitting(&self, pages: u128) -> u128 {
        let fitting = (pages << self.shift) / u128::from(self.class.size);
        fitting.min(self.objs())
    }

    /// Slots whose pages are missing.
    fn missing_slots(&self) -> u128 {
        self.objs() - self.fitting(self.kept)
    }

    /// Slots that are there.
    fn slots(&self) -> u128 {
        self.zspages * self.objs() - self.missing_slots()
    }

    /// Pages that a zspage has if it is whole.
    fn whole(&self) -> u128 {
        u128::from(self.class.pages)
    }

    /// Pages that are there.
    fn pages(&self) -> u128 {
        self.zspages * self.whole() - (self.whole() - self.kept)
    }

    /// Pages that the objects need: whole zspages, and the least pages of one more, or all of them
    /// if the class has too many slots to shorten one.
    fn needed(&self) -> u128 {
        let rest = self.inuse % self.objs();
        if self.objs() > MOST_SHORTENED && rest != 0 {
            return (self.inuse / self.objs() + 1) * self.whole();
        }
        let last = (0..=self.whole()).find(|pages| self.fitting(*pages) >= rest);
        self.inuse / self.objs() * self.whole() + last.unwrap()
    }

    /// Free slots that are too many: a zspage and a quarter; or, with few zspages, two pages of
    /// them.
    fn slack(&self) -> u128 {
        let usual = self.objs() + self.objs().div_ceil(4);
        if self.zspages <= FEW_ZSPAGES && self.whole() > 1 && self.objs() <= MOST_SHORTENED {
            usual.min(self.fitting(2))
        } else {
            usual
        }
    }

    /// The counts as the module has them.
    fn count(&self) -> ClassCount {
        let small = |number: u128| usize::try_from(number).unwrap();
        ClassCount {
            zspages: small(self.zspages),
            inuse: small(self.inuse),
            missing: Missing {
                pages: small(self.whole() - self.kept),
                slots: small(self.missing_slots()),
            },
        }
    }
}

/// Numbers of zspages, few and many.
fn zspages() -> impl Strategy<Value = usize> {
    prop_oneof![0usize..=20, 0usize..1 << 32]
}

proptest! {
    #![proptest_config(config())]

    /// Counts that belong together.
    #[test]
    fn compaction_gives_back_what_packing_leaves_over(
        which: Index,
        zspages in zspages(),
        lacks: Option<Index>,
        part in 0u128..=1000,
    ) {
        let book = Book::new(which, zspages, lacks, part);
        let (count, class) = (book.count(), &book.class);
        let free = book.slots() - book.inuse;
        prop_assert_eq!(count.slots(class) as u128, book.slots());
        prop_assert_eq!(count.pages(class) as u128, book.pages());
        prop_assert_eq!(count.free(class) as u128, free);
        prop_assert_eq!(count.free_bytes(class) as u128, free * u128::from(class.size));
        // Never more than is there: the objects lie somewhere now.
        let won = book.pages() - book.needed();
        prop_assert_eq!(count.can_compact(book.shift, class) as u128, won);
    }

    /// Sparse: a tenth of the slots is free, and more than the slack.
    #[test]
    fn a_class_is_sparse_with_a_tenth_of_it_free(
        which: Index,
        zspages in zspages(),
        lacks: Option<Index>,
        part in prop_oneof![0u128..=1000, 800u128..=1000],
    ) {
        let book = Book::new(which, zspages, lacks, part);
        let (slots, slack) = (book.slots(), book.slack());
        let free = slots - book.inuse;
        let sparse = free * 10 > slots && free > slack;
        // Whole tenths are rounded in favour of being sparse.
        let rounded = free * 10 > slots - slots % 10 && free > slack;
        let below = book.count().sparse_below(book.shift, &book.class) as u128;
        prop_assert!(book.inuse < below || !sparse);
        prop_assert_eq!(book.inuse < below, rounded);
    }

    /// Counts read at different moments: any four numbers.
    #[test]
    fn nothing_underflows_or_overflows(
        which: Index,
        zspages in prop_oneof![any::<usize>(), 0usize..20],
        inuse in prop_oneof![any::<usize>(), 0usize..2000],
        pages in prop_oneof![any::<usize>(), 0usize..20],
        slots in prop_oneof![any::<usize>(), 0usize..2000],
    ) {
        let (shift, class) = which.get(&CLASSES);
        let missing = Missing { pages, slots };
        let count = ClassCount { zspages, inuse, missing };
        prop_assert!(count.can_compact(*shift, class) <= count.pages(class));
        prop_assert!(count.sparse_below(*shift, class) <= count.slots(class));
        prop_assert!(count.free(class) <= count.slots(class));
        if inuse >= count.slots(class) {
            prop_assert_eq!((count.free(class), count.free_bytes(class)), (0, 0));
        }
        // Whole zspages at least are needed.
        let whole = (inuse / usize::from(class.objs)).saturating_mul(class.nr_pages());
        if whole >= count.pages(class) {
            prop_assert_eq!(count.can_compact(*shift, class), 0);
        }
    }
}

#[test]
fn a_class_without_zspages_has_nothing() {
    for (shift, class) in CLASSES.iter() {
        let count = ClassCount::default();
        assert_eq!((count.slots(class), count.pages(class)), (0, 0));
        assert_eq!((count.free(class), count.free_bytes(class)), (0, 0));
        assert_eq!(count.can_compact(*shift, class), 0);
        assert_eq!(count.sparse_below(*shift, class), 0);
    }
}
