/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The steps of page migration. Those of mm/migrate.c are not exported: here the
 * operations of a page are called as they call them.
 */
#ifndef _ZSRS_KUNIT_MOVER_H
#define _ZSRS_KUNIT_MOVER_H

#include <linux/migrate.h>

/* What zsrs_migrate() returns if the page is nobody's any more. */
#define ZSRS_WAS_FREED 1

/* NULL if the page is not movable (any more). */
const struct movable_operations *zsrs_operations_of(struct page *page);

/* isolate_movable_page(): takes a reference. */
bool zsrs_isolate(struct page *page);

/* Ends zsrs_isolate() for a page that was not moved. */
void zsrs_put_back(struct page *page);

/* migrate_folio_move() of an isolated page that is locked already. */
int zsrs_migrate_locked(struct page *old, enum migrate_mode mode, struct page **moved_to);

/* Isolates a page and moves it; on failure it is put back. */
int zsrs_migrate(struct page *old, enum migrate_mode mode, struct page **moved_to);

#endif
