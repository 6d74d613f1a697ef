// SPDX-License-Identifier: GPL-2.0

//! What debugfs shows: `zsmalloc_rs/stats` and, for each pool, `classes` and `stats`.

use crate::kapi::debugfs::{file_operations, Dir, SeqFile, Show};
use crate::logic::{
    conv::sum,
    fullness::{Group, EMPTY, NR_GROUPS},
    size_class::MAX_INDEXES,
    stats::ClassCount,
};
use crate::pool::{class::SizeClass, shared::Shared, Pool};
use crate::zpdesc_rs::PAGE_SHIFT;
use core::fmt::{self, Write};
use kernel::c_str;

/// Shows the module's counters in `dir`.
pub(super) fn show_module(dir: &Dir, shared: &'static Shared) {
    dir.file(c_str!("stats"), shared);
}

/// Shows a pool in `dir`.
pub(super) fn show_pool(dir: &Dir, pool: &'static Pool) {
    dir.file(c_str!("classes"), Classes::of(pool));
    dir.file(c_str!("stats"), pool);
}

impl Show for Shared {
    file_operations!(Shared);

    fn show(&self, file: &mut SeqFile) -> fmt::Result {
        let usage = self.usage();
        writeln!(file, "pools {}", usage.pools)?;
        writeln!(file, "zspages_live {}", usage.zspages)?;
        writeln!(file, "zspage_pages {}", usage.zspage_pages)?;
        writeln!(file, "pages_live {}", usage.pages)?;
        writeln!(file, "words_live {}", usage.words)?;
        writeln!(file, "word_pages {}", usage.word_pages)?;
        writeln!(file, "metadata_bytes {}", usage.metadata)?;
        writeln!(file, "pages_chained_adjacent {}", usage.adjacent)?;
        writeln!(file, "pages_chained_apart {}", usage.apart)?;
        writeln!(file, "maps_bounced {}", usage.bounced)
    }
}

impl Show for Pool {
    file_operations!(Pool);

    fn show(&self, file: &mut SeqFile) -> fmt::Result {
        let counts = || self.classes().iter().map(|class| (class, class.count()));
        let objects = sum(counts().map(|(_, count)| count.inuse));
        let spares = sum(self.classes().iter().map(SizeClass::spares));
        let free = sum(counts().map(|(class, count)| count.free_bytes(class.geometry())));
        let migrated = sum(self.classes().iter().map(SizeClass::migrated));
        let refused = sum(self.classes().iter().map(SizeClass::refused));
        writeln!(file, "pages {}", self.total_pages())?;
        writeln!(file, "objects {objects}")?;
        writeln!(file, "spares {spares}")?;
        writeln!(file, "free_slot_bytes {free}")?;
        writeln!(file, "compactable_pages {}", self.compactable())?;
        writeln!(file, "pages_compacted {}", self.pages_compacted())?;
        writeln!(file, "pages_compacted_background {}", self.pages_tidied())?;
        writeln!(file, "objects_promoted {}", self.objects_promoted())?;
        writeln!(file, "pages_reclaimed {}", self.pages_reclaimed())?;
        writeln!(file, "reclaims_refused {}", self.reclaims_refused())?;
        writeln!(file, "pages_migrated {migrated}")?;
        writeln!(file, "migrations_refused {refused}")
    }
}

/// A pool, shown class by class in the columns of C zsmalloc.
#[repr(transparent)]
struct Classes(Pool);

impl Classes {
    /// The same pool.
    fn of(pool: &'static Pool) -> &'static Self {
        let pool: *const Pool = pool;
        // SAFETY: `Classes` is a transparent wrapper, so the layouts agree.
        unsafe { &*pool.cast::<Self>() }
    }
}

/// The sums in the last line of `classes`.
struct Totals {
    /// Zspages of each fullness group; `None` if those of a class were not counted.
    groups: Option<[usize; NR_GROUPS]>,
    /// Slots.
    slots: usize,
    /// Objects.
    inuse: usize,
    /// Pages.
    pages: usize,
    /// Pages that compaction could give back.
    freeable: usize,
}

impl Show for Classes {
    file_operations!(Classes);

    // A line for each class, a heading and the sums.
    const BYTES: usize = (MAX_INDEXES + 4) * 256;

    fn show(&self, file: &mut SeqFile) -> fmt::Result {
        write!(file, " {:>5} {:>5}", "class", "size")?;
        for column in [
            "10%", "20%", "30%", "40%", "50%", "60%", "70%", "80%", "90%", "99%", "100%",
        ] {
            write!(file, " {column:>9}")?;
        }
        writeln!(
            file,
            " {:>13} {:>10} {:>10} {:>16} {:>8}",
            "obj_allocated", "obj_used", "pages_used", "pages_per_zspage", "freeable"
        )?;
        let mut totals = Totals {
            groups: Some([0; NR_GROUPS]),
            slots: 0,
            inuse: 0,
            pages: 0,
            freeable: 0,
        };
        // Class numbers fall as sizes grow.
        for class in self.0.classes().iter().rev() {
            totals.show_class(class, file)?;
        }
        totals.show(file)
    }
}

impl Totals {
    /// Shows one class and adds it up.
    fn show_class(&mut self, class: &SizeClass, file: &mut SeqFile) -> fmt::Result {
        let geometry = class.geometry();
        let (zspages, count) = {
            let guard = class.lock();
            (guard.zspages_by_group(), class.count())
        };
        write!(file, " {:>5} {:>5}", geometry.index, geometry.size)?;
        show_groups(zspages.as_ref(), file)?;
        self.groups = self.groups.zip(zspages).map(|(mut groups, zspages)| {
            for (total, number) in groups.iter_mut().zip(zspages) {
                *total = total.wrapping_add(number);
            }
            groups
        });
        let row = Row::new(class, &count);
        self.slots = self.slots.wrapping_add(row.slots);
        self.inuse = self.inuse.wrapping_add(count.inuse);
        self.pages = self.pages.wrapping_add(row.pages);
        self.freeable = self.freeable.wrapping_add(row.freeable);
        writeln!(
            file,
            " {:>13} {:>10} {:>10} {:>16} {:>8}",
            row.slots, count.inuse, row.pages, geometry.pages, row.freeable
        )
    }

    /// Shows the sums.
    fn show(&self, file: &mut SeqFile) -> fmt::Result {
        write!(file, "\n {:>5} {:>5}", "Total", "")?;
        show_groups(self.groups.as_ref(), file)?;
        writeln!(
            file,
            " {:>13} {:>10} {:>10} {:>16} {:>8}",
            self.slots, self.inuse, self.pages, "", self.freeable
        )
    }
}

/// Shows how many zspages there are in each group but that of empty ones.
fn show_groups(zspages: Option<&[usize; NR_GROUPS]>, file: &mut SeqFile) -> fmt::Result {
    for (group, place) in Group::all().zip(0..NR_GROUPS) {
        if group != EMPTY {
            match zspages.and_then(|zspages| zspages.get(place)) {
                Some(number) => write!(file, " {number:>9}")?,
                None => write!(file, " {:>9}", "-")?,
            }
        }
    }
    Ok(())
}

/// The figures of one class that are worked out.
struct Row {
    /// Slots of its zspages.
    slots: usize,
    /// Their pages.
    pages: usize,
    /// Pages that compaction could give back.
    freeable: usize,
}

impl Row {
    /// Works them out.
    fn new(class: &SizeClass, count: &ClassCount) -> Self {
        let geometry = class.geometry();
        Self {
            slots: count.slots(geometry),
            pages: count.pages(geometry),
            freeable: count.can_compact(PAGE_SHIFT, geometry),
        }
    }
}
