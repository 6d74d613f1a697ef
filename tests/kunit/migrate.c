// SPDX-License-Identifier: GPL-2.0
/*
 * Suite zsrs_migrate: what mm/migrate.c does to a page, step by step, so that
 * the steps of others can come in between (bugs 3, 4, 5 and 16).
 */

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/ktime.h>
#include <linux/page-flags.h>
#include <linux/pagemap.h>
#include <linux/workqueue.h>
#include "mapper.h"
#include "mover.h"
#include "suites.h"
#include "support.h"

enum { MOST_OBJECTS = PAGE_SIZE / 8, MOST_PAGES = 16 };

/* A pool with one full zspage. */
struct zspage {
	struct zsrs_pool *pool;
	struct zsrs_contents *contents;
	size_t size;
	unsigned long handles[MOST_OBJECTS];
	unsigned int count;
	struct page *pages[MOST_PAGES];
	unsigned long nr_pages;
};

/* Each page has an object of its own, for sizes below half a page or of one page. */
static void find_pages(struct kunit *test, struct zspage *zspage)
{
	unsigned long found = 0;
	unsigned int i, j;

	for (i = 0; i < zspage->count; i++) {
		struct page *page = zsrs_page_of(zspage->pool, zspage->handles[i]);

		for (j = 0; j < found && zspage->pages[j] != page; j++)
			;
		if (page && j == found) {
			KUNIT_ASSERT_LT(test, found, (unsigned long)MOST_PAGES);
			zspage->pages[found++] = page;
		}
	}
	KUNIT_ASSERT_EQ(test, found, zspage->nr_pages);
}

static struct zspage *need_zspage(struct kunit *test, size_t size)
{
	struct zspage *zspage = kunit_kzalloc(test, sizeof(*zspage), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, zspage);
	zspage->pool = zsrs_need_pool(test, test->name);
	zspage->contents = zsrs_contents_new(15);
	KUNIT_ASSERT_NOT_NULL(test, zspage->contents);
	zspage->size = size;
	zspage->count = zsrs_fill_zspage(test, zspage->pool, zspage->contents, size,
					 zspage->handles, MOST_OBJECTS);
	zspage->nr_pages = zsrs_get_total_pages(zspage->pool);
	find_pages(test, zspage);
	return zspage;
}

static void expect_contents(struct kunit *test, const struct zspage *zspage)
{
	unsigned int i, bad = 0;

	for (i = 0; i < zspage->count; i++)
		if (zspage->handles[i])
			bad += !zsrs_check_object(zspage->pool, zspage->handles[i],
						  zspage->contents, i, zspage->size);
	KUNIT_EXPECT_EQ_MSG(test, bad, 0u, "objects that moved came back wrong");
}

static void free_all(struct zspage *zspage)
{
	unsigned int i;

	for (i = 0; i < zspage->count; i++) {
		zsrs_free(zspage->pool, zspage->handles[i]);
		zspage->handles[i] = 0;
	}
}

static void drop_zspage(struct kunit *test, struct zspage *zspage)
{
	expect_contents(test, zspage);
	free_all(zspage);
	KUNIT_EXPECT_TRUE(test, zsrs_comes_to_pages(zspage->pool, 0));
	zsrs_destroy_pool(zspage->pool);
	kfree(zspage->contents);
}

static const size_t sizes[] = { 1, 40, 500, PAGE_SIZE / 4 - 8, 1700, PAGE_SIZE };

/* Each page of a zspage is moved, twice: objects follow, also those on two pages. */
static void every_page_moves(struct kunit *test)
{
	unsigned int i, j, k;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct zspage *zspage = need_zspage(test, sizes[i]);
		long nr_zspages = zsrs_nr_zspages();

		for (j = 0; j < 2 * zspage->nr_pages; j++) {
			struct page *old = zspage->pages[j % zspage->nr_pages], *new;

			/* In the second round with free slots. */
			if (j == zspage->nr_pages)
				for (k = 1; k < zspage->count; k += 3) {
					zsrs_free(zspage->pool, zspage->handles[k]);
					zspage->handles[k] = 0;
				}
			get_page(old);
			KUNIT_ASSERT_EQ_MSG(test, zsrs_migrate(old, MIGRATE_ASYNC, &new), 0,
					    "page %u of %lu, objects of %zu bytes", j,
					    zspage->nr_pages, sizes[i]);
			zspage->pages[j % zspage->nr_pages] = new;
			KUNIT_EXPECT_TRUE(test, PageZsmalloc(new));
			KUNIT_EXPECT_NOT_NULL(test, zsrs_operations_of(new));
			/* The old page is nobody's. */
			KUNIT_EXPECT_FALSE(test, PageZsmalloc(old));
			KUNIT_EXPECT_NULL(test, zsrs_operations_of(old));
			KUNIT_EXPECT_FALSE(test, PagePrivate(old));
			KUNIT_EXPECT_EQ(test, page_ref_count(old), 1);
			/* Nor does anything lead there. */
			memset(page_address(old), 0x77, PAGE_SIZE);
			put_page(old);
			expect_contents(test, zspage);
		}
		KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(zspage->pool), zspage->nr_pages);
		KUNIT_EXPECT_EQ(test, zsrs_nr_zspages(), nr_zspages);
		KUNIT_EXPECT_EQ(test, zsrs_pool_number(test->name, "pages_migrated"),
				2 * (long)zspage->nr_pages);
		/* The free slots are where they were. */
		for (k = 1; k < zspage->count; k += 3) {
			zspage->handles[k] = zsrs_malloc(zspage->pool, sizes[i], GFP_KERNEL);
			KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(zspage->handles[k]));
			KUNIT_EXPECT_TRUE(test, zsrs_write_object(zspage->pool, zspage->handles[k],
								  ZSRS_MM_WO, zspage->contents, k,
								  sizes[i]));
		}
		KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(zspage->pool), zspage->nr_pages);
		drop_zspage(test, zspage);
	}
}

/*
 * Bug 16: an object on the page is mapped, for however long. Migration gives up
 * at once, or soon, and leaves all as it was.
 */
static void mapped_page_stays(struct kunit *test)
{
	struct zsrs_mapper mapper = {};
	struct zspage *zspage;
	struct page *page, *new;
	enum { TRIES = 20 };
	int modes[] = { MIGRATE_ASYNC, MIGRATE_SYNC_LIGHT, MIGRATE_SYNC }, i;
	s64 shortest[ARRAY_SIZE(modes)];

	zsrs_need_two_cpus(test);
	zspage = need_zspage(test, 1000);
	mapper.pool = zspage->pool;
	mapper.handle = zspage->handles[2];
	mapper.contents = zspage->contents;
	mapper.number = 2;
	mapper.size = zspage->size;
	page = zsrs_page_of(zspage->pool, zspage->handles[2]);
	KUNIT_ASSERT_NOT_NULL(test, page);

	zsrs_mapper_start(test, &mapper);
	for (i = 0; i < ARRAY_SIZE(modes) * TRIES; i++) {
		int mode = i / TRIES;
		ktime_t start = ktime_get();
		int result = zsrs_migrate(page, modes[mode], &new);
		s64 time = ktime_us_delta(ktime_get(), start);

		shortest[mode] = i % TRIES ? min(shortest[mode], time) : time;
		KUNIT_EXPECT_EQ(test, result, modes[mode] == MIGRATE_SYNC ? -EBUSY : -EAGAIN);
		KUNIT_EXPECT_TRUE(test, PageZsmalloc(page));
		KUNIT_EXPECT_FALSE(test, PageIsolated(page));
	}
	/* It waits for three times 0.5 ms at most (rule M3); timers of an emulated machine are late. */
	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		kunit_info(test, "mode %d: refused after %lld us", modes[i], shortest[i]);
		KUNIT_EXPECT_LT(test, shortest[i], 20000ll);
	}
	KUNIT_EXPECT_TRUE_MSG(test, zsrs_mapper_stop(&mapper),
			      "the object could not be mapped, or was wrong");
	expect_contents(test, zspage);
	KUNIT_EXPECT_GE(test, zsrs_pool_number(test->name, "migrations_refused"), 3l);
	KUNIT_EXPECT_EQ(test, zsrs_migrate(page, MIGRATE_ASYNC, &new), 0);
	drop_zspage(test, zspage);
}

/* Isolated pages are on a list of the core, whose links nobody else may touch. */
static bool is_alone_on(const struct list_head *list, const struct page *page)
{
	return list->next == &page->lru && list->prev == &page->lru &&
	       page->lru.next == list && page->lru.prev == list;
}

/* Bug 5: all objects are freed while a page is isolated. */
static void freed_while_isolated(struct kunit *test)
{
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		for (j = 0; j < 2; j++) {
			struct zspage *zspage = need_zspage(test, sizes[i]);
			struct page *page = zspage->pages[zspage->nr_pages - 1], *new;
			LIST_HEAD(isolated);

			KUNIT_ASSERT_TRUE(test, zsrs_isolate(page));
			list_add(&page->lru, &isolated);
			free_all(zspage);
			/* No page is locked: all of them go at once. */
			KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(zspage->pool), 0ul);
			KUNIT_EXPECT_FALSE(test, PageZsmalloc(page));
			KUNIT_EXPECT_NULL(test, zsrs_operations_of(page));
			KUNIT_EXPECT_EQ(test, page_ref_count(page), 1);
			KUNIT_EXPECT_TRUE(test, is_alone_on(&isolated, page));
			if (j) {
				zsrs_put_back(page);
			} else {
				lock_page(page);
				KUNIT_EXPECT_EQ(test, zsrs_migrate_locked(page, MIGRATE_SYNC, &new),
						ZSRS_WAS_FREED);
				unlock_page(page);
				put_page(page);
			}
			drop_zspage(test, zspage);
		}
}

/*
 * Bug 3: all objects are freed while migration has a page locked, each page in
 * turn. The zspage is freed later, with the page that has taken its place.
 */
static void freed_while_moving(struct kunit *test)
{
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		for (j = 0;; j++) {
			struct zspage *zspage = need_zspage(test, sizes[i]);
			unsigned long nr_pages = zspage->nr_pages;
			struct page *page = zspage->pages[j], *new;

			KUNIT_ASSERT_TRUE(test, zsrs_isolate(page));
			lock_page(page);
			free_all(zspage);
			KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(zspage->pool), nr_pages);
			/* The worker may be waiting for this page now. */
			msleep(j % 2 * 5);
			KUNIT_EXPECT_EQ(test, zsrs_migrate_locked(page, MIGRATE_ASYNC, &new), 0);
			unlock_page(page);
			put_page(page);
			KUNIT_EXPECT_TRUE_MSG(test, zsrs_comes_to_pages(zspage->pool, 0),
					      "page %u of %lu, objects of %zu bytes", j, nr_pages,
					      sizes[i]);
			drop_zspage(test, zspage);
			if (j + 1 == nr_pages)
				break;
		}
}

/* A zspage that waits to be freed is used again. */
static void used_again_while_locked(struct kunit *test)
{
	struct zspage *zspage = need_zspage(test, 1700);
	struct page *page = zspage->pages[0];
	unsigned int i;

	get_page(page);
	lock_page(page);
	free_all(zspage);
	for (i = 0; i < zspage->count; i++) {
		zspage->handles[i] = zsrs_malloc(zspage->pool, zspage->size, GFP_KERNEL);
		KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(zspage->handles[i]));
		KUNIT_EXPECT_TRUE(test, zsrs_write_object(zspage->pool, zspage->handles[i],
							  ZSRS_MM_WO, zspage->contents, i,
							  zspage->size));
	}
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(zspage->pool), zspage->nr_pages);
	unlock_page(page);
	put_page(page);
	/* The worker has nothing to free. */
	msleep(50);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(zspage->pool), zspage->nr_pages);
	drop_zspage(test, zspage);
}

/* Unlocks a page after a while. */
struct unlocker {
	struct delayed_work work;
	struct page *page;
	bool unlocked;
};

static void unlock_in_work(struct work_struct *work)
{
	struct unlocker *unlocker = container_of(to_delayed_work(work), struct unlocker, work);

	WRITE_ONCE(unlocker->unlocked, true);
	unlock_page(unlocker->page);
}

/* Bug 4: destroying a pool waits for who has a page of it locked. */
static void destroy_waits(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct zspage *zspage = need_zspage(test, sizes[i]);
		struct unlocker *unlocker = kunit_kzalloc(test, sizeof(*unlocker), GFP_KERNEL);
		LIST_HEAD(isolated);

		KUNIT_ASSERT_NOT_NULL(test, unlocker);
		unlocker->page = zspage->pages[zspage->nr_pages / 2];
		INIT_DELAYED_WORK(&unlocker->work, unlock_in_work);
		KUNIT_ASSERT_TRUE(test, zsrs_isolate(unlocker->page));
		list_add(&unlocker->page->lru, &isolated);
		lock_page(unlocker->page);
		free_all(zspage);
		schedule_delayed_work(&unlocker->work, msecs_to_jiffies(30));
		zsrs_destroy_pool(zspage->pool);
		KUNIT_EXPECT_TRUE_MSG(test, READ_ONCE(unlocker->unlocked),
				      "the pool was destroyed around a locked page");
		flush_delayed_work(&unlocker->work);
		KUNIT_EXPECT_FALSE(test, PageZsmalloc(unlocker->page));
		KUNIT_EXPECT_NULL(test, zsrs_operations_of(unlocker->page));
		KUNIT_EXPECT_EQ(test, page_ref_count(unlocker->page), 1);
		KUNIT_EXPECT_TRUE(test, is_alone_on(&isolated, unlocker->page));
		zsrs_put_back(unlocker->page);
		kfree(zspage->contents);
	}
}

/* A page that moves to another zone is counted there, and no longer where it was. */
static void counted_in_its_zone(struct kunit *test)
{
	struct zspage *zspage = need_zspage(test, 1700);
	struct page *far = alloc_page(GFP_DMA), *new;
	struct zone *from = page_zone(zspage->pages[0]), *to = far ? page_zone(far) : from;
	long from_pages = zsrs_nr_zspages_of(from), to_pages = zsrs_nr_zspages_of(to);

	if (far)
		__free_page(far);
	if (from == to) {
		drop_zspage(test, zspage);
		kunit_skip(test, "all memory of this machine is in one zone");
	}
	KUNIT_ASSERT_EQ(test, zsrs_migrate_with(GFP_DMA, zspage->pages[0], MIGRATE_SYNC, &new), 0);
	KUNIT_EXPECT_PTR_EQ(test, page_zone(new), to);
	KUNIT_EXPECT_EQ(test, zsrs_nr_zspages_of(from), from_pages - 1);
	KUNIT_EXPECT_EQ(test, zsrs_nr_zspages_of(to), to_pages + 1);
	/* And when it is given back, there. */
	drop_zspage(test, zspage);
	KUNIT_EXPECT_EQ(test, zsrs_nr_zspages_of(to), to_pages);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(every_page_moves),
	KUNIT_CASE(counted_in_its_zone),
	KUNIT_CASE(mapped_page_stays),
	KUNIT_CASE(freed_while_isolated),
	KUNIT_CASE(freed_while_moving),
	KUNIT_CASE(used_again_while_locked),
	KUNIT_CASE(destroy_waits),
	{}
};

static int init(struct kunit *test)
{
	if (!IS_ENABLED(CONFIG_COMPACTION))
		kunit_skip(test, "this kernel moves no pages: CONFIG_COMPACTION is off");
	return zsrs_counters_init(test);
}

struct kunit_suite zsrs_migrate_suite = {
	.name = "zsrs_migrate",
	.suite_init = zsrs_background_off,
	.suite_exit = zsrs_background_on,
	.init = init,
	.exit = zsrs_counters_exit,
	.test_cases = cases,
};
