// SPDX-License-Identifier: GPL-2.0
/*
 * Suite zsrs_reclaim: pools with an evict handler (bugs 1, 2 and 9; the protocol
 * is in Documentation/writeback.rst).
 *
 * The order of reclaim shows in objects of a quarter of a page: four to a
 * zspage, which is one page, filled one after the other.
 */

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/mutex.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include "mapper.h"
#include "mover.h"
#include "suites.h"
#include "support.h"

enum {
	PER_ZSPAGE = 4,
	/* With its header the largest slot below a quarter of a page: 32 and a multiple of this. */
	STEP = PAGE_SIZE / 256,
	QUARTER = (PAGE_SIZE / PER_ZSPAGE - 32) / STEP * STEP + 32 - 8,
	TRIES = 8,
	/* A decision of a case: say that the object was freed, and do not free it. */
	KEEP_SILENTLY = 1,
};

/* A pool whose objects are numbered, and what its handler was asked. */
struct store {
	struct kunit *test;
	struct zsrs_pool *pool;
	struct zsrs_contents *contents;
	struct xarray numbers;	/* by handle */
	unsigned long *handles;	/* by number; 0: freed */
	u32 *sizes;
	unsigned int count;
	/* 0: evict it; an error: refuse. It may free the object itself. */
	int (*decide)(struct store *store, unsigned int number);
	unsigned int *asked;
	unsigned int nr_asked;
	unsigned int bad;
	void *extra;
};

static void forget(struct store *store, unsigned int number)
{
	xa_erase(&store->numbers, store->handles[number]);
	store->handles[number] = 0;
}

static void free_object(struct store *store, unsigned int number)
{
	unsigned long handle = store->handles[number];

	if (handle) {
		forget(store, number);
		zsrs_free(store->pool, handle);
	}
}

static int evict(struct zsrs_pool *pool, unsigned long handle, void *private)
{
	struct store *store = private;
	void *entry = xa_load(&store->numbers, handle);
	unsigned int number = xa_to_value(entry);
	int decision;

	if (!entry || pool != store->pool || store->nr_asked >= 2 * store->count) {
		store->bad++;
		return -EINVAL;
	}
	store->asked[store->nr_asked++] = number;
	decision = store->decide ? store->decide(store, number) : 0;
	if (decision)
		return decision == KEEP_SILENTLY ? 0 : decision;
	if (store->handles[number]) {
		/* "Written away": all of it was there. */
		store->bad += !zsrs_check_object(pool, handle, store->contents, number,
						 store->sizes[number]);
		free_object(store, number);
	}
	return 0;
}

static void allocate(struct store *store, unsigned int number, size_t size)
{
	struct kunit *test = store->test;
	unsigned long handle = zsrs_malloc(store->pool, size, GFP_KERNEL);

	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(handle));
	store->handles[number] = handle;
	store->sizes[number] = size;
	KUNIT_ASSERT_EQ(test, xa_err(xa_store(&store->numbers, handle, xa_mk_value(number),
					      GFP_KERNEL)), 0);
	KUNIT_ASSERT_TRUE(test, zsrs_write_object(store->pool, handle, ZSRS_MM_WO,
						  store->contents, number, size));
}

/* A store for @count objects, without any yet. */
static struct store *need_store(struct kunit *test, unsigned int count)
{
	struct store *store = kunit_kzalloc(test, sizeof(*store), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, store);
	store->test = test;
	store->count = count;
	xa_init(&store->numbers);
	store->contents = zsrs_contents_new(12);
	store->handles = vcalloc(count, sizeof(*store->handles));
	store->sizes = vcalloc(count, sizeof(*store->sizes));
	store->asked = vcalloc(2 * count, sizeof(*store->asked));
	KUNIT_ASSERT_NOT_NULL(test, store->contents);
	KUNIT_ASSERT_NOT_NULL(test, store->handles);
	KUNIT_ASSERT_NOT_NULL(test, store->sizes);
	KUNIT_ASSERT_NOT_NULL(test, store->asked);
	store->pool = zsrs_create_evictable_pool(test->name, evict, store);
	KUNIT_ASSERT_NOT_NULL(test, store->pool);
	return store;
}

/* A store with so many zspages: number n is in zspage n / 4, the coldest is 0. */
static struct store *need_quarters(struct kunit *test, unsigned int zspages)
{
	/* Some numbers are left for objects that a case allocates. */
	struct store *store = need_store(test, (zspages + 6) * PER_ZSPAGE);
	unsigned int i;

	for (i = 0; i < zspages * PER_ZSPAGE; i++)
		allocate(store, i, QUARTER);
	KUNIT_ASSERT_EQ(test, zsrs_get_total_pages(store->pool), (unsigned long)zspages);
	return store;
}

/* What is left has its contents. */
static void expect_whole(struct store *store)
{
	unsigned int i;

	for (i = 0; i < store->count; i++)
		if (store->handles[i])
			store->bad += !zsrs_check_object(store->pool, store->handles[i],
							 store->contents, i, store->sizes[i]);
	KUNIT_EXPECT_EQ_MSG(store->test, store->bad, 0u, "objects came back wrong");
}

static void drop_store(struct store *store)
{
	unsigned int i;

	expect_whole(store);
	for (i = 0; i < store->count; i++)
		free_object(store, i);
	KUNIT_EXPECT_EQ(store->test, zsrs_get_total_pages(store->pool), 0ul);
	zsrs_destroy_pool(store->pool);
	xa_destroy(&store->numbers);
	vfree(store->asked);
	vfree(store->sizes);
	vfree(store->handles);
	kfree(store->contents);
}

/* The handler was asked for these objects since the last time, in this order. */
static void expect_asked(struct store *store, const unsigned int *numbers, unsigned int count)
{
	unsigned int i;

	KUNIT_EXPECT_EQ(store->test, store->nr_asked, count);
	for (i = 0; i < min(count, store->nr_asked); i++)
		KUNIT_EXPECT_EQ_MSG(store->test, store->asked[i], numbers[i], "question %u", i);
	store->nr_asked = 0;
}
#define EXPECT_ASKED(store, ...) do {						\
	static const unsigned int numbers[] = { __VA_ARGS__ };			\
										\
	expect_asked(store, numbers, ARRAY_SIZE(numbers));			\
} while (0)

static void nothing_to_reclaim(struct kunit *test)
{
	struct store *store = need_store(test, 8);
	struct zsrs_pool *plain = zsrs_need_pool(test, "no_handler");
	struct zsrs_pool *null = zsrs_create_evictable_pool("null_handler", NULL, NULL);
	unsigned int reclaimed = 77;
	unsigned long handle;

	KUNIT_EXPECT_EQ(test, zsrs_reclaim(store->pool, TRIES), -EINVAL);
	KUNIT_EXPECT_EQ(test, zsrs_shrink(store->pool, 1, &reclaimed), -EINVAL);
	KUNIT_EXPECT_EQ(test, reclaimed, 0u);
	KUNIT_EXPECT_EQ(test, zsrs_shrink(store->pool, 1, NULL), -EINVAL);
	reclaimed = 77;
	KUNIT_EXPECT_EQ(test, zsrs_shrink(store->pool, 0, &reclaimed), 0);
	KUNIT_EXPECT_EQ(test, reclaimed, 0u);

	allocate(store, 0, QUARTER);
	KUNIT_EXPECT_EQ(test, zsrs_reclaim(store->pool, 0), -EINVAL);
	free_object(store, 0);
	KUNIT_EXPECT_EQ(test, zsrs_reclaim(store->pool, TRIES), -EINVAL);
	KUNIT_EXPECT_EQ(test, store->nr_asked, 0u);

	handle = zsrs_malloc(plain, QUARTER, GFP_KERNEL);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(handle));
	KUNIT_EXPECT_EQ(test, zsrs_reclaim(plain, TRIES), -EINVAL);
	KUNIT_EXPECT_EQ(test, zsrs_shrink(plain, 1, &reclaimed), -EINVAL);
	zsrs_free(plain, handle);
	zsrs_destroy_pool(plain);

	KUNIT_ASSERT_NOT_NULL(test, null);
	handle = zsrs_malloc(null, QUARTER, GFP_KERNEL);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(handle));
	KUNIT_EXPECT_EQ(test, zsrs_reclaim(null, TRIES), -EINVAL);
	zsrs_free(null, handle);
	zsrs_destroy_pool(null);
	drop_store(store);
}

/* The coldest zspage goes first; an allocation warms, a map does not. */
static void coldest_first(struct kunit *test)
{
	struct store *store = need_quarters(test, 3);
	enum { HUGE = 3 * PER_ZSPAGE };

	/* Zspage 0 gets a new object; a zspage of another class is hotter yet. */
	free_object(store, 1);
	allocate(store, 1, QUARTER);
	KUNIT_ASSERT_EQ(test, zsrs_get_total_pages(store->pool), 3ul);
	allocate(store, HUGE, PAGE_SIZE);
	/* Neither reading nor writing warms zspage 1. */
	KUNIT_EXPECT_TRUE(test, zsrs_check_object(store->pool, store->handles[4],
						  store->contents, 4, QUARTER));
	KUNIT_EXPECT_TRUE(test, zsrs_write_object(store->pool, store->handles[5], ZSRS_MM_WO,
						  store->contents, 5, QUARTER));

	KUNIT_EXPECT_EQ(test, zsrs_reclaim(store->pool, 1), 0);
	EXPECT_ASKED(store, 4, 5, 6, 7);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(store->pool), 3ul);
	expect_whole(store);
	KUNIT_EXPECT_EQ(test, zsrs_reclaim(store->pool, 1), 0);
	EXPECT_ASKED(store, 8, 9, 10, 11);
	KUNIT_EXPECT_EQ(test, zsrs_reclaim(store->pool, 1), 0);
	EXPECT_ASKED(store, 0, 1, 2, 3);
	expect_whole(store);
	KUNIT_EXPECT_EQ(test, zsrs_reclaim(store->pool, 1), 0);
	EXPECT_ASKED(store, HUGE);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(store->pool), 0ul);
	KUNIT_EXPECT_EQ(test, zsrs_reclaim(store->pool, 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, zsrs_pool_number(test->name, "pages_reclaimed"), 4l);
	drop_store(store);
}

static int refuse_third(struct store *store, unsigned int number)
{
	return number % PER_ZSPAGE == 2 ? -EBUSY : 0;
}

static int refuse_all(struct store *store, unsigned int number)
{
	return -EIO;
}

/*
 * One object refused: the zspage stays with what is left of it, its free slots
 * can be used, and the next reclaim tries others first.
 */
static void refused_is_restored(struct kunit *test)
{
	struct store *store = need_quarters(test, 10);
	unsigned int i;

	store->decide = refuse_third;
	KUNIT_EXPECT_EQ(test, zsrs_reclaim(store->pool, TRIES), -EAGAIN);
	EXPECT_ASKED(store, 0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 16, 17, 18, 20, 21, 22,
		     24, 25, 26, 28, 29, 30);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(store->pool), 10ul);
	KUNIT_EXPECT_EQ(test, zsrs_pool_number(test->name, "pages_reclaimed"), 0l);
	KUNIT_EXPECT_EQ(test, zsrs_pool_number(test->name, "reclaims_refused"), (long)TRIES);
	KUNIT_EXPECT_EQ(test, zsrs_pool_number(test->name, "objects"), 10l * 4 - 8 * 2);
	for (i = 0; i < 8 * PER_ZSPAGE; i++)
		KUNIT_EXPECT_EQ_MSG(test, !store->handles[i], i % PER_ZSPAGE < 2, "object %u", i);
	expect_whole(store);

	/* Zspages 8 and 9 were not tried and are colder than those put back. */
	KUNIT_EXPECT_EQ(test, zsrs_reclaim(store->pool, 1), -EAGAIN);
	EXPECT_ASKED(store, 32, 33, 34);

	/* 18 slots are free. */
	for (i = 0; i < 18; i++)
		allocate(store, i < 16 ? i / 2 * PER_ZSPAGE + i % 2 : 32 + i % 2, QUARTER);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(store->pool), 10ul);
	allocate(store, 40, QUARTER);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(store->pool), 11ul);
	expect_whole(store);

	/* And all of it can be reclaimed once nothing is refused. */
	store->decide = NULL;
	for (i = 0; i < 11; i++)
		KUNIT_EXPECT_EQ(test, zsrs_reclaim(store->pool, 1), 0);
	KUNIT_EXPECT_EQ(test, store->nr_asked, 41u);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(store->pool), 0ul);
	drop_store(store);
}

static int keep_silently(struct store *store, unsigned int number)
{
	return KEEP_SILENTLY;
}

/* A handler that says 0 and has not freed the object has refused. */
static void only_zspage_refused(struct kunit *test)
{
	struct store *store = need_quarters(test, 1);
	unsigned int reclaimed = 77;

	store->decide = refuse_all;
	KUNIT_EXPECT_EQ(test, zsrs_reclaim(store->pool, TRIES), -EAGAIN);
	EXPECT_ASKED(store, 0, 0, 0, 0, 0, 0, 0, 0);
	KUNIT_EXPECT_EQ(test, zsrs_shrink(store->pool, 1, &reclaimed), -EAGAIN);
	KUNIT_EXPECT_EQ(test, reclaimed, 0u);
	EXPECT_ASKED(store, 0, 0, 0, 0, 0, 0, 0, 0);
	store->decide = keep_silently;
	KUNIT_EXPECT_EQ(test, zsrs_reclaim(store->pool, TRIES), -EAGAIN);
	EXPECT_ASKED(store, 0, 0, 0, 0, 0, 0, 0, 0);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(store->pool), 1ul);
	expect_whole(store);
	store->decide = NULL;
	KUNIT_EXPECT_EQ(test, zsrs_reclaim(store->pool, TRIES), 0);
	EXPECT_ASKED(store, 0, 1, 2, 3);
	drop_store(store);
}

/* Frees objects from another task, and waits for it. */
struct free_work {
	struct work_struct work;
	struct store *store;
	unsigned int numbers[2];
};

static void free_in_work(struct work_struct *work)
{
	struct free_work *others = container_of(work, struct free_work, work);

	free_object(others->store, others->numbers[0]);
	free_object(others->store, others->numbers[1]);
}

static void free_by_another(struct store *store, unsigned int one, unsigned int two)
{
	struct free_work others = { .store = store, .numbers = { one, two } };

	INIT_WORK_ONSTACK(&others.work, free_in_work);
	schedule_work(&others.work);
	flush_work(&others.work);
	destroy_work_on_stack(&others.work);
}

/* As many as a CPU keeps in stock, and more. */
enum { NEW_ONES = 200 };

/*
 * While object 0 is evicted, another task frees it and object 2, and this one
 * frees object 3. Their handles are not given to anybody before the handler has
 * returned.
 */
static int freed_meanwhile(struct store *store, unsigned int number)
{
	unsigned long old[PER_ZSPAGE], handles[NEW_ONES];
	unsigned int i, j;

	if (number)
		return 0;
	memcpy(old, store->handles, sizeof(old));
	free_by_another(store, 0, 2);
	free_object(store, 3);
	for (i = 0; i < NEW_ONES; i++) {
		handles[i] = zsrs_malloc(store->pool, i % 2 ? 30 : QUARTER, GFP_KERNEL);
		for (j = 0; j < PER_ZSPAGE; j++)
			store->bad += handles[i] == old[j];
	}
	for (i = 0; i < NEW_ONES; i++)
		zsrs_free(store->pool, handles[i]);
	return 0;
}

/* Bug 2: frees during reclaim, from the handler and from others, are not lost. */
static void freed_during_reclaim(struct kunit *test)
{
	struct store *store = need_quarters(test, 2);

	store->decide = freed_meanwhile;
	KUNIT_EXPECT_EQ(test, zsrs_reclaim(store->pool, 1), 0);
	EXPECT_ASKED(store, 0, 1);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(store->pool), 1ul);
	expect_whole(store);
	drop_store(store);
}

static int freed_meanwhile_and_refused(struct store *store, unsigned int number)
{
	if (number != 1)
		return 0;
	free_by_another(store, 3, 3);
	return -EBUSY;
}

/* Bug 2: a refused zspage has free slots where others were freed meanwhile. */
static void freed_during_refused_reclaim(struct kunit *test)
{
	struct store *store = need_quarters(test, 1);

	store->decide = freed_meanwhile_and_refused;
	KUNIT_EXPECT_EQ(test, zsrs_reclaim(store->pool, 1), -EAGAIN);
	EXPECT_ASKED(store, 0, 1);
	KUNIT_EXPECT_EQ(test, zsrs_pool_number(test->name, "objects"), 2l);
	expect_whole(store);
	/* Slots 0 and 3, and no other. */
	allocate(store, 0, QUARTER);
	allocate(store, 3, QUARTER);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(store->pool), 1ul);
	allocate(store, 4, QUARTER);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(store->pool), 2ul);
	drop_store(store);
}

/* Bug 1: a zspage under reclaim is not allocated from, though it has room. */
static int sleep_map_and_allocate(struct store *store, unsigned int number)
{
	unsigned int fresh = 2 * PER_ZSPAGE + number;
	void *old, *new;

	msleep(2);
	/* It can be changed until it is evicted: this is seen by evict(). */
	old = zsrs_map_object(store->pool, store->handles[number], ZSRS_MM_RW);
	store->bad += !old || !zsrs_is_filled(store->contents, number, old, QUARTER);
	if (old) {
		memset(old, 0x11, QUARTER);
		zsrs_fill(store->contents, number, old, QUARTER);
		zsrs_unmap_object(store->pool, store->handles[number]);
	}
	allocate(store, fresh, QUARTER);
	new = zsrs_map_object(store->pool, store->handles[fresh], ZSRS_MM_RO);
	zsrs_unmap_object(store->pool, store->handles[fresh]);
	store->bad += PAGE_ALIGN_DOWN((unsigned long)new) == PAGE_ALIGN_DOWN((unsigned long)old);
	/* Compaction leaves it alone, too. */
	zsrs_compact(store->pool);
	return 0;
}

static void handler_sleeps_and_allocates(struct kunit *test)
{
	struct store *store = need_quarters(test, 2);

	/* Room in the zspage that will be reclaimed, and in the other. */
	free_object(store, 1);
	free_object(store, 5);
	store->decide = sleep_map_and_allocate;
	KUNIT_EXPECT_EQ(test, zsrs_reclaim(store->pool, 1), 0);
	EXPECT_ASKED(store, 0, 2, 3);
	/* One of the three took the free slot of zspage 1. */
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(store->pool), 2ul);
	expect_whole(store);
	drop_store(store);
}

/*
 * Another task frees object 2, and then the page moves. Its objects are found
 * there, also the one that is freed already and waits for the end of reclaim.
 */
static int free_and_move(struct store *store)
{
	struct page *old = zsrs_page_of(store->pool, store->handles[0]), *new;

	free_by_another(store, 2, 2);
	if (!old)
		return -EIO;
	get_page(old);
	if (zsrs_migrate(old, MIGRATE_ASYNC, &new)) {
		store->bad++;
	} else {
		/* Nothing leads to the old page. */
		memset(page_address(old), 0x77, PAGE_SIZE);
	}
	put_page(old);
	return 0;
}

static int move_before_first(struct store *store, unsigned int number)
{
	return number == 0 ? free_and_move(store) : 0;
}

static int move_and_refuse_first(struct store *store, unsigned int number)
{
	return number == 0 ? free_and_move(store) ?: -EBUSY : 0;
}

static void page_moves_during_reclaim(struct kunit *test)
{
	struct store *store;

	if (!IS_ENABLED(CONFIG_COMPACTION))
		kunit_skip(test, "this kernel moves no pages: CONFIG_COMPACTION is off");
	store = need_quarters(test, 2);
	store->decide = move_before_first;
	KUNIT_EXPECT_EQ(test, zsrs_reclaim(store->pool, 1), 0);
	EXPECT_ASKED(store, 0, 1, 3);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(store->pool), 1ul);
	KUNIT_EXPECT_EQ(test, zsrs_pool_number(test->name, "pages_migrated"), 1l);
	drop_store(store);
}

static void page_moves_during_refused_reclaim(struct kunit *test)
{
	struct store *store;

	if (!IS_ENABLED(CONFIG_COMPACTION))
		kunit_skip(test, "this kernel moves no pages: CONFIG_COMPACTION is off");
	store = need_quarters(test, 1);
	store->decide = move_and_refuse_first;
	KUNIT_EXPECT_EQ(test, zsrs_reclaim(store->pool, 1), -EAGAIN);
	EXPECT_ASKED(store, 0);
	KUNIT_EXPECT_EQ(test, zsrs_pool_number(test->name, "objects"), 3l);
	expect_whole(store);
	/* The slot of object 2 is free. */
	allocate(store, 2, QUARTER);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(store->pool), 1ul);
	drop_store(store);
}

/* Locks the page of an object of a quarter of it, as somebody who looks at pages may. */
static struct page *lock_page_of(struct kunit *test, struct store *store, unsigned int number)
{
	struct page *page = zsrs_page_of(store->pool, store->handles[number]);

	KUNIT_ASSERT_NOT_NULL(test, page);
	get_page(page);
	lock_page(page);
	return page;
}

/* A zspage whose page somebody has locked is emptied, and freed when the page is unlocked. */
static void page_locked_at_its_end(struct kunit *test)
{
	struct store *store = need_quarters(test, 2);
	struct page *page = lock_page_of(test, store, 0);

	KUNIT_EXPECT_EQ(test, zsrs_reclaim(store->pool, 1), 0);
	EXPECT_ASKED(store, 0, 1, 2, 3);
	if (IS_ENABLED(CONFIG_COMPACTION)) {
		KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(store->pool), 2ul);
		KUNIT_EXPECT_EQ(test, zsrs_pool_number(test->name, "pages_reclaimed"), 0l);
	}
	unlock_page(page);
	put_page(page);
	KUNIT_EXPECT_TRUE(test, zsrs_comes_to_pages(store->pool, 1));
	expect_whole(store);
	drop_store(store);
}

/* Such a page does not count: the next zspage has to go, too. */
static void shrink_beside_locked_page(struct kunit *test)
{
	struct store *store;
	unsigned int reclaimed = 99;
	struct page *page;

	if (!IS_ENABLED(CONFIG_COMPACTION))
		kunit_skip(test, "nobody locks pages of this kernel: CONFIG_COMPACTION is off");
	store = need_quarters(test, 3);
	page = lock_page_of(test, store, 0);
	KUNIT_EXPECT_EQ(test, zsrs_shrink(store->pool, 1, &reclaimed), 0);
	KUNIT_EXPECT_EQ(test, reclaimed, 1u);
	EXPECT_ASKED(store, 0, 1, 2, 3, 4, 5, 6, 7);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(store->pool), 2ul);
	unlock_page(page);
	put_page(page);
	KUNIT_EXPECT_TRUE(test, zsrs_comes_to_pages(store->pool, 1));
	expect_whole(store);
	drop_store(store);
}

/* An object that is mapped is in use: its zspage is put back at once. */
static void mapped_is_hot(struct kunit *test)
{
	struct zsrs_mapper mapper = { .number = 1, .size = QUARTER };
	struct store *store;

	zsrs_need_two_cpus(test);
	store = need_quarters(test, 2);
	mapper.pool = store->pool;
	mapper.handle = store->handles[mapper.number];
	mapper.contents = store->contents;
	zsrs_mapper_start(test, &mapper);
	KUNIT_EXPECT_EQ(test, zsrs_reclaim(store->pool, 1), -EAGAIN);
	EXPECT_ASKED(store, 0);
	KUNIT_EXPECT_EQ(test, zsrs_reclaim(store->pool, 1), 0);
	EXPECT_ASKED(store, 4, 5, 6, 7);
	KUNIT_EXPECT_EQ(test, zsrs_reclaim(store->pool, TRIES), -EAGAIN);
	KUNIT_EXPECT_EQ(test, store->nr_asked, 0u);
	KUNIT_EXPECT_TRUE_MSG(test, zsrs_mapper_stop(&mapper),
			      "the object could not be mapped, or was wrong");
	expect_whole(store);
	KUNIT_EXPECT_EQ(test, zsrs_reclaim(store->pool, 1), 0);
	EXPECT_ASKED(store, 1, 2, 3);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(store->pool), 0ul);
	drop_store(store);
}

static void shrink_counts(struct kunit *test)
{
	struct store *store = need_quarters(test, 20);
	unsigned int reclaimed = 77;

	KUNIT_EXPECT_EQ(test, zsrs_shrink(store->pool, 7, &reclaimed), 0);
	KUNIT_EXPECT_EQ(test, reclaimed, 7u);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(store->pool), 13ul);
	KUNIT_EXPECT_EQ(test, zsrs_shrink(store->pool, 2, NULL), 0);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(store->pool), 11ul);
	/* More than there is: all of it, and an error. */
	KUNIT_EXPECT_EQ(test, zsrs_shrink(store->pool, 100, &reclaimed), -EINVAL);
	KUNIT_EXPECT_EQ(test, reclaimed, 11u);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(store->pool), 0ul);
	KUNIT_EXPECT_EQ(test, store->nr_asked, 20u * PER_ZSPAGE);
	drop_store(store);
}

static int refuse_from_zspage_3(struct store *store, unsigned int number)
{
	return number >= 3 * PER_ZSPAGE ? -EBUSY : 0;
}

/* Pages that were reclaimed before the error are reported with it. */
static void shrink_counts_before_error(struct kunit *test)
{
	struct store *store = need_quarters(test, 20);
	unsigned int reclaimed = 77;

	store->decide = refuse_from_zspage_3;
	KUNIT_EXPECT_EQ(test, zsrs_shrink(store->pool, 5, &reclaimed), -EAGAIN);
	KUNIT_EXPECT_EQ(test, reclaimed, 3u);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(store->pool), 17ul);
	KUNIT_EXPECT_EQ(test, store->nr_asked, 3u * PER_ZSPAGE + TRIES);
	drop_store(store);
}

/*
 * After allocating, freeing and compacting, the LRU has all zspages and each
 * once: reclaim evicts every object that is left, and no other, down to nothing.
 */
static void nothing_is_left(struct kunit *test)
{
	enum { COUNT = 5000 };
	struct store *store = need_store(test, COUNT);
	unsigned int i, left = 0, reclaims = 0;
	unsigned long pages;
	struct rnd_state rnd;

	prandom_seed_state(&rnd, 13);
	for (i = 0; i < COUNT; i++)
		/* Many small ones: zspages of up to 256 objects. */
		allocate(store, i, i % 3 ? zsrs_any_size(&rnd) : 1 + zsrs_below(&rnd, 60));
	for (i = 0; i < COUNT; i++)
		if (zsrs_below(&rnd, 3) == 0)
			free_object(store, i);
	KUNIT_EXPECT_GT(test, zsrs_compact(store->pool), 0ul);
	for (i = 0; i < COUNT; i++)
		if (!store->handles[i] && zsrs_below(&rnd, 3) == 0)
			allocate(store, i, zsrs_any_size(&rnd));
	for (i = 0; i < COUNT; i++)
		left += store->handles[i] != 0;
	expect_whole(store);

	pages = zsrs_get_total_pages(store->pool);
	while (zsrs_reclaim(store->pool, 1) == 0) {
		unsigned long now = zsrs_get_total_pages(store->pool);

		KUNIT_ASSERT_LT(test, now, pages);
		pages = now;
		reclaims++;
		cond_resched();
	}
	KUNIT_EXPECT_EQ(test, pages, 0ul);
	KUNIT_EXPECT_EQ_MSG(test, store->nr_asked, left, "objects asked for and objects there");
	KUNIT_EXPECT_EQ(test, zsrs_reclaim(store->pool, 1), -EINVAL);
	kunit_info(test, "%u objects evicted in %u reclaims", left, reclaims);
	drop_store(store);
}

/*
 * Two tasks allocate, map and free, two reclaim, one compacts and has the kernel
 * move pages. Who needs an object that was evicted stores it anew.
 */
enum {
	WORKERS = 2,
	RECLAIMERS = 2,
	STORM_OBJECTS = 3000,	/* of both workers together */
	STEPS = 100000,		/* at least, in all */
	LONGEST_S = 240,	/* KUnit ends a case after 300 s */
};

/* Where an object is: in the pool, or evicted, and then its contents are known. */
struct entry {
	struct mutex lock;
	unsigned long handle;
	u32 number;
	u32 size;
	bool evicted;
};

struct storm {
	struct zsrs_pool *pool;
	struct zsrs_contents *contents;
	struct xarray entries;	/* by handle */
	struct entry *all;
	unsigned long until;
	bool over;
	atomic64_t evictions;
	atomic64_t refusals;
	atomic64_t strangers;
	atomic64_t bad;
};

struct storm_task {
	struct storm *storm;
	struct task_struct *task;
	struct completion done;
	u32 seed;
	u64 steps;
	u64 returned;
	u64 pages;
};

/* As Documentation/writeback.rst says that handlers must do. */
static int evict_in_storm(struct zsrs_pool *pool, unsigned long handle, void *private)
{
	struct storm *storm = private;
	struct entry *entry = xa_load(&storm->entries, handle);
	u64 nth;

	if (!entry) {
		/* Freed, or allocated just now and not known yet. */
		atomic64_inc(&storm->strangers);
		return 0;
	}
	mutex_lock(&entry->lock);
	if (entry->handle != handle) {
		mutex_unlock(&entry->lock);
		atomic64_inc(&storm->strangers);
		return 0;
	}
	if (!zsrs_check_object(pool, handle, storm->contents, entry->number, entry->size))
		atomic64_inc(&storm->bad);
	nth = atomic64_inc_return(&storm->evictions);
	if (nth % 64 == 0)
		usleep_range(100, 1000);
	if (nth % 50 == 0) {
		mutex_unlock(&entry->lock);
		atomic64_inc(&storm->refusals);
		return -EBUSY;
	}
	xa_erase(&storm->entries, handle);
	entry->handle = 0;
	entry->evicted = true;
	/* The free may come late, from this task or another. */
	if (nth % 3)
		zsrs_free(pool, handle);
	mutex_unlock(&entry->lock);
	if (nth % 3 == 0)
		zsrs_free(pool, handle);
	return 0;
}

static void store_entry(struct storm_task *worker, struct entry *entry, struct rnd_state *rnd)
{
	struct storm *storm = worker->storm;
	unsigned long handle;

	if (!entry->evicted) {
		entry->number = prandom_u32_state(rnd);
		entry->size = zsrs_any_size(rnd);
	}
	handle = zsrs_malloc(storm->pool, entry->size, GFP_KERNEL);
	if (IS_ERR_VALUE(handle))
		return;
	worker->returned += entry->evicted;
	entry->evicted = false;
	/* Bug 1: reclaim may have the zspage already when the object is written. */
	if (!zsrs_write_object(storm->pool, handle, ZSRS_MM_WO, storm->contents, entry->number,
			       entry->size))
		atomic64_inc(&storm->bad);
	if (xa_err(xa_store(&storm->entries, handle, entry, GFP_KERNEL))) {
		zsrs_free(storm->pool, handle);
		return;
	}
	entry->handle = handle;
}

static void check_entry(struct storm *storm, struct entry *entry)
{
	if (!zsrs_check_object(storm->pool, entry->handle, storm->contents, entry->number,
			       entry->size))
		atomic64_inc(&storm->bad);
}

static void free_entry(struct storm *storm, struct entry *entry)
{
	if (entry->handle) {
		xa_erase(&storm->entries, entry->handle);
		zsrs_free(storm->pool, entry->handle);
	}
	entry->handle = 0;
	entry->evicted = false;
}

static int work(void *data)
{
	struct storm_task *worker = data;
	struct storm *storm = worker->storm;
	struct rnd_state rnd;

	prandom_seed_state(&rnd, worker->seed);
	while (worker->steps < STEPS / WORKERS || time_before(jiffies, storm->until)) {
		struct entry *entry = &storm->all[zsrs_below(&rnd, STORM_OBJECTS)];
		u32 dice = zsrs_below(&rnd, 100);

		mutex_lock(&entry->lock);
		if (!entry->handle)
			store_entry(worker, entry, &rnd);
		else if (dice < 60)
			check_entry(storm, entry);
		else
			free_entry(storm, entry);
		mutex_unlock(&entry->lock);
		if (++worker->steps % 64 == 0)
			cond_resched();
	}
	complete(&worker->done);
	return zsrs_wait_for_stop();
}

/* Keeps the pool at half of what the objects need. */
static int reclaim_always(void *data)
{
	struct storm_task *reclaimer = data;
	struct storm *storm = reclaimer->storm;
	const unsigned long limit = STORM_OBJECTS * 2048ul / 2 / PAGE_SIZE / 2;

	while (!READ_ONCE(storm->over)) {
		unsigned int reclaimed = 0;

		if (zsrs_get_total_pages(storm->pool) <= limit) {
			usleep_range(50, 200);
			continue;
		}
		zsrs_shrink(storm->pool, 8, &reclaimed);
		reclaimer->pages += reclaimed;
		reclaimer->steps++;
		cond_resched();
	}
	complete(&reclaimer->done);
	return zsrs_wait_for_stop();
}

static void move_entry(struct storm *storm, struct entry *entry)
{
	struct page *page, *new;

	mutex_lock(&entry->lock);
	page = entry->handle ? zsrs_page_of(storm->pool, entry->handle) : NULL;
	if (page)
		zsrs_migrate(page, MIGRATE_ASYNC, &new);
	mutex_unlock(&entry->lock);
}

static int move_always(void *data)
{
	enum { MOVES = 16 };
	struct storm_task *mover = data;
	struct storm *storm = mover->storm;
	struct rnd_state rnd;
	int i;

	prandom_seed_state(&rnd, mover->seed);
	while (!READ_ONCE(storm->over)) {
		mover->pages += zsrs_compact(storm->pool);
		for (i = 0; i < MOVES; i++)
			move_entry(storm, &storm->all[zsrs_below(&rnd, STORM_OBJECTS)]);
		usleep_range(5000, 10000);
	}
	complete(&mover->done);
	return zsrs_wait_for_stop();
}

static void reclaim_storm(struct kunit *test)
{
	unsigned int seconds = min(zsrs_storm_s / 4, (unsigned int)LONGEST_S);
	struct storm_task *tasks = kunit_kcalloc(test, WORKERS + RECLAIMERS + 1, sizeof(*tasks),
						 GFP_KERNEL);
	struct storm *storm = kunit_kzalloc(test, sizeof(*storm), GFP_KERNEL);
	struct storm_task *mover = &tasks[WORKERS + RECLAIMERS];
	u64 steps = 0, returned = 0, pages = 0;
	long moved;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, tasks);
	KUNIT_ASSERT_NOT_NULL(test, storm);
	xa_init(&storm->entries);
	storm->contents = zsrs_contents_new(14);
	storm->all = vcalloc(STORM_OBJECTS, sizeof(*storm->all));
	storm->pool = zsrs_create_evictable_pool(test->name, evict_in_storm, storm);
	KUNIT_ASSERT_NOT_NULL(test, storm->contents);
	KUNIT_ASSERT_NOT_NULL(test, storm->all);
	KUNIT_ASSERT_NOT_NULL(test, storm->pool);
	for (i = 0; i < STORM_OBJECTS; i++)
		mutex_init(&storm->all[i].lock);
	storm->until = jiffies + seconds * HZ;

	for (i = 0; i <= WORKERS + RECLAIMERS; i++) {
		int (*job)(void *data) = i < WORKERS ? work : &tasks[i] == mover ? move_always :
					 reclaim_always;

		tasks[i].storm = storm;
		tasks[i].seed = 200 + i;
		init_completion(&tasks[i].done);
		tasks[i].task = kthread_create(job, &tasks[i], "zsrs_reclaim/%d", i);
		KUNIT_ASSERT_FALSE(test, IS_ERR(tasks[i].task));
		if (&tasks[i] != mover)
			kthread_bind(tasks[i].task, i % num_online_cpus());
	}
	for (i = 0; i <= WORKERS + RECLAIMERS; i++)
		wake_up_process(tasks[i].task);
	for (i = 0; i <= WORKERS + RECLAIMERS; i++) {
		if (i == WORKERS)
			WRITE_ONCE(storm->over, true);
		wait_for_completion(&tasks[i].done);
		kthread_stop(tasks[i].task);
	}
	for (i = 0; i < WORKERS; i++) {
		steps += tasks[i].steps;
		returned += tasks[i].returned;
	}
	for (i = WORKERS; i < WORKERS + RECLAIMERS; i++)
		pages += tasks[i].pages;

	kunit_info(test, "%llu steps, %lld evictions, %lld refused, %lld of freed or new objects, %llu stored again",
		   steps, atomic64_read(&storm->evictions), atomic64_read(&storm->refusals),
		   atomic64_read(&storm->strangers), returned);
	moved = zsrs_pool_number(test->name, "pages_migrated");
	kunit_info(test, "%llu pages reclaimed, %llu compacted, %ld moved, %ld zspages put back", pages,
		   mover->pages, moved, zsrs_pool_number(test->name, "reclaims_refused"));
	if (IS_ENABLED(CONFIG_COMPACTION))
		KUNIT_EXPECT_GT(test, moved, 0l);
	KUNIT_EXPECT_GE(test, steps, (u64)STEPS);
	KUNIT_EXPECT_EQ_MSG(test, atomic64_read(&storm->bad), 0ll, "objects came back wrong");
	KUNIT_EXPECT_GT(test, atomic64_read(&storm->refusals), 0ll);
	KUNIT_EXPECT_GT(test, returned, 1000ull);
	KUNIT_EXPECT_EQ(test, zsrs_pool_number(test->name, "pages_reclaimed"), (long)pages);
	KUNIT_EXPECT_EQ(test, zsrs_pages_compacted(storm->pool), (unsigned long)mover->pages);

	for (i = 0; i < STORM_OBJECTS; i++) {
		if (storm->all[i].handle)
			check_entry(storm, &storm->all[i]);
		free_entry(storm, &storm->all[i]);
	}
	KUNIT_EXPECT_EQ_MSG(test, atomic64_read(&storm->bad), 0ll, "objects came back wrong");
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(storm->pool), 0ul);
	KUNIT_EXPECT_TRUE(test, xa_empty(&storm->entries));
	zsrs_destroy_pool(storm->pool);
	xa_destroy(&storm->entries);
	vfree(storm->all);
	kfree(storm->contents);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(nothing_to_reclaim),
	KUNIT_CASE(coldest_first),
	KUNIT_CASE(refused_is_restored),
	KUNIT_CASE(only_zspage_refused),
	KUNIT_CASE(freed_during_reclaim),
	KUNIT_CASE(freed_during_refused_reclaim),
	KUNIT_CASE(handler_sleeps_and_allocates),
	KUNIT_CASE(page_moves_during_reclaim),
	KUNIT_CASE(page_moves_during_refused_reclaim),
	KUNIT_CASE(page_locked_at_its_end),
	KUNIT_CASE(shrink_beside_locked_page),
	KUNIT_CASE(mapped_is_hot),
	KUNIT_CASE(shrink_counts),
	KUNIT_CASE(shrink_counts_before_error),
	KUNIT_CASE(nothing_is_left),
	KUNIT_CASE_SLOW(reclaim_storm),
	{}
};

struct kunit_suite zsrs_reclaim_suite = {
	.name = "zsrs_reclaim",
	.suite_init = zsrs_background_off,
	.suite_exit = zsrs_background_on,
	.init = zsrs_counters_init,
	.exit = zsrs_counters_exit,
	.test_cases = cases,
};
