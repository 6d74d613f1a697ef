// SPDX-License-Identifier: GPL-2.0

//! Where slots lie, against zspages drawn byte by byte: all classes that there are, and more.

use zsmalloc_logic_tests::logic::{
    size_class::Geometry,
    span::{first_offset, start_at, Overlap, Span},
};

/// Where a slot was drawn.
#[derive(Clone, Debug, Default)]
struct Drawn {
    /// Page and offset of its first byte.
    start: Option<(usize, usize)>,
    /// Its bytes on that page.
    head: usize,
    /// Its bytes elsewhere.
    tail: usize,
    /// The page of its last byte.
    last_page: usize,
}

/// The shapes of all classes, and others that would be as good: slots that end where a page does,
/// pages on which none begins.
fn all_shapes() -> Vec<(u32, Geometry)> {
    let sizes = (32..=4096u32)
        .step_by(48)
        .chain([512, 1024, 1536, 2048, 4096]);
    let others = sizes.flat_map(|size| (1..=16u8).map(move |pages| (size, pages)));
    let geometry = |(size, pages): (u32, u8)| {
        let objs = u16::try_from(u32::from(pages) * 4096 / size).unwrap();
        Geometry::of_shape(size, objs, pages, 0)
    };
    let others = others.map(|shape| (12, geometry(shape)));
    crate::shapes().into_iter().chain(others).collect()
}

/// Lays the slots of a zspage into its pages, byte after byte.
fn draw(shift: u32, class: &Geometry) -> Vec<Drawn> {
    let (mut page, mut offset) = (0, 0);
    let mut slots = vec![Drawn::default(); usize::from(class.objs)];
    for slot in &mut slots {
        for _ in 0..class.size {
            if offset == 1 << shift {
                (page, offset) = (page + 1, 0);
            }
            let start = *slot.start.get_or_insert((page, offset));
            if start.0 == page {
                slot.head += 1;
            } else {
                slot.tail += 1;
            }
            slot.last_page = page;
            offset += 1;
        }
    }
    assert!(
        page < class.nr_pages(),
        "{class:?} does not fit in its pages"
    );
    slots
}

/// The names of a class's slots, in order.
fn starts(class: &Geometry) -> impl Iterator<Item = u16> {
    (0..=class.last).step_by(usize::from(class.step))
}

#[test]
fn every_class_has_a_start_for_each_slot() {
    for (shift, class) in all_shapes() {
        let what = format!("shift {shift} {class:?}");
        assert_eq!(starts(&class).count(), usize::from(class.objs), "{what}");
        assert_eq!(u32::from(class.step) * 16, class.size, "{what}");
        // It must not wrap, nor be what ends a free list.
        assert!(class.last < class.end() && class.last < u16::MAX, "{what}");
    }
}

#[test]
fn slots_lie_where_they_were_drawn() {
    for (shift, class) in all_shapes() {
        for (slot, start) in draw(shift, &class).iter().zip(starts(&class)) {
            let span = Span::of(shift, &class, start);
            let what = format!("shift {shift} {class:?} slot {start}");
            assert_eq!(Some((span.page, span.offset)), slot.start, "{what}");
            assert_eq!(span.crosses, slot.tail != 0, "{what}");
            assert!(
                slot.last_page <= span.page + 1,
                "{what} lies on three pages"
            );
            // The header, and a handle word's address, must not be cut.
            assert!(slot.head >= 16 && span.offset % 16 == 0, "{what}");
        }
    }
}

#[test]
fn a_place_leads_back_to_its_slot() {
    for (shift, class) in all_shapes() {
        for (slot, start) in draw(shift, &class).iter().zip(starts(&class)) {
            let (page, offset) = slot.start.unwrap();
            assert_eq!(
                start_at(shift, page, offset),
                start,
                "shift {shift} {class:?}"
            );
        }
    }
}

#[test]
fn the_first_slot_of_each_page_is_found() {
    for (shift, class) in all_shapes() {
        let slots = draw(shift, &class);
        for page in 0..class.nr_pages() {
            let first = slots
                .iter()
                .find_map(|slot| slot.start.filter(|start| start.0 == page));
            let ours = first_offset(shift, &class, page);
            match first {
                Some((_, offset)) => {
                    assert_eq!(ours, offset, "shift {shift} {class:?} page {page}")
                }
                None => assert!(
                    ours >= 1 << shift,
                    "shift {shift} {class:?} page {page}: {ours}"
                ),
            }
        }
    }
}

#[test]
fn all_slots_with_a_byte_on_a_page_overlap_it() {
    for (shift, class) in all_shapes() {
        let slots = draw(shift, &class);
        for page in 0..class.nr_pages() {
            let on_page = |slot: &Drawn| {
                slot.start.is_some_and(|start| start.0 == page) || slot.last_page == page
            };
            let begun = slots.iter().zip(starts(&class));
            let theirs: Vec<u16> = begun
                .filter(|(slot, _)| on_page(slot))
                .map(|(_, start)| start)
                .collect();
            // As it is kept in the page: nothing above the last byte.
            let first = first_offset(shift, &class, page).min((1 << shift) - 1);
            let on = Overlap::of(shift, &class, page, first);
            assert_eq!(on.begin as usize * 16, page << shift);
            assert_eq!(on.end as usize * 16, (page + 1) << shift);
            let ours = (on.first..on.end.min(class.end().into())).step_by(class.step.into());
            let ours: Vec<u16> = ours.map(|start| u16::try_from(start).unwrap()).collect();
            assert_eq!(ours, theirs, "shift {shift} {class:?} page {page}");
        }
    }
}
