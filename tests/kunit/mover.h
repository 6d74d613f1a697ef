/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The steps of page migration. Those of mm/migrate.c are not exported: here the
 * operations of a page are called as they call them.
 */
#ifndef _ZSRS_KUNIT_MOVER_H
#define _ZSRS_KUNIT_MOVER_H

#include <linux/gfp.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/page-flags.h>
#include <linux/pagemap.h>
#include "support.h"

/* What zsrs_migrate() returns if the page is nobody's any more. */
#define ZSRS_WAS_FREED 1

/* NULL if the page is not movable (any more). */
static inline const struct movable_operations *zsrs_operations_of(struct page *page)
{
	unsigned long mapping = (unsigned long)READ_ONCE(page->mapping);

	if ((mapping & PAGE_MAPPING_FLAGS) != PAGE_MAPPING_MOVABLE)
		return NULL;
	return (const struct movable_operations *)(mapping & ~PAGE_MAPPING_FLAGS);
}

/* isolate_movable_page(): takes a reference. */
static inline bool zsrs_isolate(struct page *page)
{
	const struct movable_operations *operations;
	bool isolated = false;

	if (!get_page_unless_zero(page))
		return false;
	if (!zsrs_operations_of(page)) {
		/* What others lock of it may be something else. */
		put_page(page);
		return false;
	}
	lock_page(page);
	operations = zsrs_operations_of(page);
	if (operations && !PageIsolated(page))
		isolated = operations->isolate_page(page, 0);
	if (isolated)
		SetPageIsolated(page);
	unlock_page(page);
	if (!isolated)
		put_page(page);
	return isolated;
}

/* Ends zsrs_isolate() for a page that was not moved. */
static inline void zsrs_put_back(struct page *page)
{
	const struct movable_operations *operations;

	lock_page(page);
	operations = zsrs_operations_of(page);
	if (operations)
		operations->putback_page(page);
	ClearPageIsolated(page);
	unlock_page(page);
	put_page(page);
}

/* migrate_folio_move() of an isolated page that is locked already, to a page of one's own. */
static inline int zsrs_migrate_locked_to(struct page *new, struct page *old,
					 enum migrate_mode mode, struct page **moved_to)
{
	const struct movable_operations *operations = zsrs_operations_of(old);
	int result = ZSRS_WAS_FREED;

	if (!new)
		return -ENOMEM;
	lock_page(new);
	if (operations)
		result = operations->migrate_page(new, old, mode);
	if (result >= 0)
		ClearPageIsolated(old);
	unlock_page(new);
	/* Its new owner has taken a reference of its own. */
	put_page(new);
	if (!result)
		*moved_to = new;
	return result;
}

static inline int zsrs_migrate_locked(struct page *old, enum migrate_mode mode,
				      struct page **moved_to)
{
	struct page *new = alloc_page(GFP_KERNEL | __GFP_MOVABLE);

	return zsrs_migrate_locked_to(new, old, mode, moved_to);
}

/* Isolates a page and moves it to one that has these flags; on failure it is put back. */
static inline int zsrs_migrate_with(gfp_t gfp, struct page *old, enum migrate_mode mode,
				    struct page **moved_to)
{
	int result;

	if (!zsrs_isolate(old))
		return -ENOENT;
	lock_page(old);
	result = zsrs_migrate_locked_to(alloc_page(gfp), old, mode, moved_to);
	unlock_page(old);
	if (result < 0)
		zsrs_put_back(old);
	else
		put_page(old);
	return result;
}

static inline int zsrs_migrate(struct page *old, enum migrate_mode mode, struct page **moved_to)
{
	return zsrs_migrate_with(GFP_KERNEL | __GFP_MOVABLE, old, mode, moved_to);
}

/*
 * Moves the page of an object that is addressed in place, so that objects on two
 * pages are no longer on adjacent ones.
 */
static inline void zsrs_move_object(struct zsrs_pool *pool, unsigned long handle)
{
	struct page *page = zsrs_page_of(pool, handle), *new;

	if (page)
		zsrs_migrate(page, MIGRATE_ASYNC, &new);
}

#endif
