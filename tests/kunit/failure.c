// SPDX-License-Identifier: GPL-2.0
/*
 * Suite zsrs_failure (bug 23): every allocation that malloc and pool creation
 * make is made to fail in turn, and everything is unwound.
 *
 * current->fail_nth fails the Nth allocation of this task. By default the
 * kernel spares allocations that may sleep, and single pages: the case
 * knobs_are_set says which files in debugfs to write (scripts/lib/kunit_guest
 * does).
 */

#include <linux/sched.h>
#include "suites.h"
#include "support.h"

#if defined(CONFIG_FAILSLAB) && defined(CONFIG_FAIL_PAGE_ALLOC)

static void fail_nth(unsigned int nth)
{
	WRITE_ONCE(current->fail_nth, nth);
}

/* Ends fail_nth(); whether an allocation was made to fail. */
static bool has_failed(void)
{
	bool failed = !READ_ONCE(current->fail_nth);

	WRITE_ONCE(current->fail_nth, 0);
	return failed;
}

static void knobs_are_set(struct kunit *test)
{
	struct page *page;
	void *memory;
	bool failed;

	fail_nth(1);
	page = alloc_page(GFP_KERNEL | __GFP_NOWARN);
	failed = has_failed();
	if (page)
		__free_page(page);
	KUNIT_EXPECT_TRUE_MSG(test, failed && !page,
			      "write N to fail_page_alloc/ignore-gfp-wait and 0 to fail_page_alloc/min-order in debugfs");
	fail_nth(1);
	memory = kmalloc(64, GFP_KERNEL | __GFP_NOWARN);
	failed = has_failed();
	KUNIT_EXPECT_TRUE_MSG(test, failed && !memory,
			      "write N to failslab/ignore-gfp-wait in debugfs");
	kfree(memory);
}

static void expect_same(struct kunit *test, const struct zsrs_counters *before,
			unsigned int step)
{
	struct zsrs_counters now;

	KUNIT_ASSERT_EQ(test, zsrs_read_counters(&now), 0);
	KUNIT_EXPECT_EQ_MSG(test, now.pools, before->pools, "step %u", step);
	KUNIT_EXPECT_EQ_MSG(test, now.zspages_live, before->zspages_live, "step %u", step);
	KUNIT_EXPECT_EQ_MSG(test, now.pages_live, before->pages_live, "step %u", step);
	KUNIT_EXPECT_EQ_MSG(test, now.words_live, before->words_live, "step %u", step);
	KUNIT_EXPECT_EQ_MSG(test, now.nr_zspages, before->nr_zspages, "step %u", step);
}

/*
 * Fails the first, second, third ... allocation of a malloc of @size bytes until
 * it makes no more; returns for how many it was refused. Not each has to be fatal:
 * where a block of pages cannot be had, single ones are taken, and several pages
 * are asked for again.
 */
static unsigned int fail_every_step(struct kunit *test, struct zsrs_pool *pool, size_t size,
				    gfp_t gfp)
{
	const unsigned long pages = zsrs_get_total_pages(pool);
	struct zsrs_counters before;
	unsigned int step, refused = 0;

	KUNIT_ASSERT_EQ(test, zsrs_read_counters(&before), 0);
	for (step = 1;; step++) {
		unsigned long handle;
		bool failed;

		KUNIT_ASSERT_LT_MSG(test, step, 100u, "malloc makes no end of allocations");
		fail_nth(step);
		handle = zsrs_malloc(pool, size, gfp);
		failed = has_failed();
		if (IS_ERR_VALUE(handle)) {
			KUNIT_EXPECT_EQ_MSG(test, handle, (unsigned long)-ENOMEM,
					    "step %u of malloc(%zu)", step, size);
			KUNIT_EXPECT_TRUE_MSG(test, failed, "malloc(%zu) fails by itself", size);
			refused++;
		} else {
			/* It found another way: nothing failed, or a spare one helped. */
			zsrs_free(pool, handle);
		}
		KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(pool), pages);
		expect_same(test, &before, step);
		if (!failed)
			break;
	}
	KUNIT_EXPECT_GE_MSG(test, step, 2u, "malloc(%zu) allocates nothing", size);
	return refused;
}

static void malloc_at_every_step(struct kunit *test)
{
	static const size_t sizes[] = { 1, 40, 500, 1000, 1700, 2500, 3200, PAGE_SIZE };
	static const gfp_t flags[] = { GFP_KERNEL | __GFP_NOWARN, GFP_NOWAIT | __GFP_NOWARN,
				       __GFP_KSWAPD_RECLAIM | __GFP_NOWARN | __GFP_HIGHMEM |
				       __GFP_MOVABLE };
	struct zsrs_pool *pool = zsrs_need_pool(test, "malloc_at_every_step");
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		unsigned long handle = zsrs_malloc(pool, sizes[i], GFP_KERNEL), pages;

		KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(handle));
		pages = zsrs_get_total_pages(pool);
		zsrs_free(pool, handle);
		for (j = 0; j < ARRAY_SIZE(flags); j++) {
			unsigned int refused = fail_every_step(test, pool, sizes[i], flags[j]);

			if (pages == 1)
				KUNIT_EXPECT_GE_MSG(test, refused, 1u,
						    "malloc(%zu) cannot be made to fail", sizes[i]);
		}
	}
	zsrs_destroy_pool(pool);
}

/* Something that objects need, which comes out of pages of its own. */
struct supply {
	struct zsrs_pool *pool;
	/* Objects of this size use it up. */
	size_t size;
	/* How many there are to a page, about. */
	unsigned int per_page;
	/* Pages of it. */
	size_t pages;
	/* The objects. */
	unsigned long *handles;
	unsigned int count;
	unsigned int limit;
};

static long pages_of(struct kunit *test, const struct supply *supply)
{
	struct zsrs_counters now;

	KUNIT_ASSERT_EQ(test, zsrs_read_counters(&now), 0);
	return *(long *)((char *)&now + supply->pages);
}

static void use_one(struct kunit *test, struct supply *supply)
{
	unsigned long handle = zsrs_malloc(supply->pool, supply->size, GFP_KERNEL);

	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(handle));
	KUNIT_ASSERT_LT(test, supply->count, supply->limit);
	supply->handles[supply->count++] = handle;
}

/*
 * The same while a supply runs out: malloc is refused once for want of a page of
 * it, and once for the object's page.
 */
static void fail_without(struct kunit *test, struct supply *supply)
{
	long pages = pages_of(test, supply);
	unsigned int i, refused = 0;

	supply->limit = (pages + 4) * supply->per_page;
	supply->handles = vcalloc(supply->limit, sizeof(*supply->handles));
	KUNIT_ASSERT_NOT_NULL(test, supply->handles);
	/* Pages that earlier cases have left half empty are used up ... */
	while (pages_of(test, supply) == pages)
		use_one(test, supply);
	/* ... and most of one that is new. */
	for (i = 0; i < supply->per_page * 7 / 8; i++)
		use_one(test, supply);

	pages = pages_of(test, supply);
	/* Not at the first end of it if another CPU has some left, and this task goes there. */
	for (i = 0; i < 2 * supply->per_page; i++) {
		use_one(test, supply);
		/* A class that is empty, one page to a zspage. */
		refused = fail_every_step(test, supply->pool, 2048 - 8, GFP_NOWAIT | __GFP_NOWARN);
		if (refused >= 2 && pages_of(test, supply) > pages)
			break;
	}
	KUNIT_EXPECT_GT_MSG(test, pages_of(test, supply), pages, "no malloc needed a page");
	KUNIT_EXPECT_GE(test, refused, 2u);
	while (supply->count)
		zsrs_free(supply->pool, supply->handles[--supply->count]);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(supply->pool), 0ul);
	vfree(supply->handles);
	zsrs_destroy_pool(supply->pool);
}

static void malloc_without_words(struct kunit *test)
{
	struct supply words = {
		.pool = zsrs_need_pool(test, "malloc_without_words"),
		.size = 20,
		.per_page = PAGE_SIZE / sizeof(u64),
		.pages = offsetof(struct zsrs_counters, word_pages),
	};

	fail_without(test, &words);
}

static void malloc_without_descriptors(struct kunit *test)
{
	struct supply descriptors = {
		.pool = zsrs_need_pool(test, "malloc_without_descriptors"),
		.size = PAGE_SIZE,
		.per_page = PAGE_SIZE / 64,
		.pages = offsetof(struct zsrs_counters, zspage_pages),
	};

	fail_without(test, &descriptors);
}

/*
 * A zspage that has given up its last pages gets the next one when its class needs
 * room. If that cannot be had, a zspage is opened; the short one stays as it is.
 */
static void page_of_a_short_zspage(struct kunit *test)
{
	enum { MOST = 64, SIZE = PAGE_SIZE * 5 / 12 };
	struct zsrs_pool *pool = zsrs_need_pool(test, "page_of_a_short_zspage");
	struct zsrs_contents *contents = zsrs_contents_new(9);
	unsigned long handles[MOST], handle, whole, kept;
	unsigned int count, i, bad = 0;
	struct zsrs_counters before;
	bool failed;

	KUNIT_ASSERT_NOT_NULL(test, contents);
	count = zsrs_fill_zspage(test, pool, contents, SIZE, handles, MOST);
	whole = zsrs_get_total_pages(pool);
	for (i = 1; i < count; i++)
		zsrs_free(pool, handles[i]);
	zsrs_compact(pool);
	kept = zsrs_get_total_pages(pool);
	KUNIT_ASSERT_LT_MSG(test, kept, whole, "the zspage keeps all its pages: nothing to test");
	/* All slots that it still has. */
	for (count = 1; zsrs_get_total_pages(pool) == kept; count++) {
		KUNIT_ASSERT_LT(test, count, (unsigned int)MOST);
		handles[count] = zsrs_malloc(pool, SIZE, GFP_KERNEL);
		KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(handles[count]));
		bad += !zsrs_write_object(pool, handles[count], ZSRS_MM_WO, contents, count, SIZE);
	}
	zsrs_free(pool, handles[--count]);
	zsrs_compact(pool);
	KUNIT_ASSERT_EQ(test, zsrs_get_total_pages(pool), kept);

	KUNIT_ASSERT_EQ(test, zsrs_read_counters(&before), 0);
	fail_nth(1);
	handle = zsrs_malloc(pool, SIZE, GFP_KERNEL | __GFP_NOWARN);
	failed = has_failed();
	KUNIT_EXPECT_TRUE_MSG(test, failed, "no page was asked for");
	KUNIT_EXPECT_FALSE(test, IS_ERR_VALUE(handle));
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(pool), kept + whole);
	zsrs_free(pool, handle);
	expect_same(test, &before, 1);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(pool), kept);

	handles[count] = zsrs_malloc(pool, SIZE, GFP_KERNEL | __GFP_NOWARN);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(handles[count]));
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(pool), kept + 1);
	bad += !zsrs_write_object(pool, handles[count], ZSRS_MM_WO, contents, count, SIZE);
	for (i = 0; i <= count; i++) {
		bad += !zsrs_check_object(pool, handles[i], contents, i, SIZE);
		zsrs_free(pool, handles[i]);
	}
	KUNIT_EXPECT_EQ_MSG(test, bad, 0u, "objects came back wrong");
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(pool), 0ul);
	kfree(contents);
	zsrs_destroy_pool(pool);
}

/* A pool is created whole or not at all; what fails for debugfs is no error. */
static void create_pool_at_every_step(struct kunit *test)
{
	const struct zsrs_counters *before = test->priv;
	unsigned int step, refused = 0;
	bool failed = true;

	for (step = 1; failed; step++) {
		struct zsrs_pool *pool;

		KUNIT_ASSERT_LT_MSG(test, step, 1000u, "creation makes no end of allocations");
		fail_nth(step);
		pool = zsrs_create_pool("create_pool_at_every_step");
		failed = has_failed();
		if (pool) {
			unsigned long handle = zsrs_malloc(pool, 100, GFP_KERNEL);

			KUNIT_EXPECT_FALSE(test, IS_ERR_VALUE(handle));
			zsrs_free(pool, handle);
			zsrs_destroy_pool(pool);
		} else {
			KUNIT_EXPECT_TRUE_MSG(test, failed, "creation fails by itself");
			refused++;
		}
		expect_same(test, before, step);
	}
	kunit_info(test, "%u allocations, %u of them needed", step - 2, refused);
	KUNIT_EXPECT_GE(test, refused, 2u);
}

/* Nothing is lost when a freed class fills again while memory comes and goes. */
static void work_goes_on(struct kunit *test)
{
	enum { COUNT = 300, ROUNDS = 3000 };
	struct zsrs_pool *pool = zsrs_need_pool(test, "work_goes_on");
	struct zsrs_contents *contents = zsrs_contents_new(6);
	unsigned long *handles = vcalloc(COUNT, sizeof(*handles));
	size_t *sizes = vcalloc(COUNT, sizeof(*sizes));
	struct rnd_state rnd;
	unsigned int round, i, bad = 0, refused = 0;

	KUNIT_ASSERT_NOT_NULL(test, contents);
	KUNIT_ASSERT_NOT_NULL(test, handles);
	KUNIT_ASSERT_NOT_NULL(test, sizes);
	prandom_seed_state(&rnd, 6);
	for (round = 0; round < ROUNDS; round++) {
		i = zsrs_below(&rnd, COUNT);
		if (handles[i]) {
			bad += !zsrs_check_object(pool, handles[i], contents, i, sizes[i]);
			zsrs_free(pool, handles[i]);
			handles[i] = 0;
			continue;
		}
		sizes[i] = zsrs_realistic_size(&rnd);
		fail_nth(1 + zsrs_below(&rnd, 12));
		handles[i] = zsrs_malloc(pool, sizes[i], GFP_KERNEL | __GFP_NOWARN);
		has_failed();
		if (IS_ERR_VALUE(handles[i])) {
			handles[i] = 0;
			refused++;
			continue;
		}
		bad += !zsrs_write_object(pool, handles[i], ZSRS_MM_WO, contents, i, sizes[i]);
	}
	for (i = 0; i < COUNT; i++)
		if (handles[i]) {
			bad += !zsrs_check_object(pool, handles[i], contents, i, sizes[i]);
			zsrs_free(pool, handles[i]);
		}
	KUNIT_EXPECT_EQ(test, bad, 0u);
	KUNIT_EXPECT_GT(test, refused, 10u);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(pool), 0ul);
	vfree(sizes);
	vfree(handles);
	kfree(contents);
	zsrs_destroy_pool(pool);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(knobs_are_set),
	KUNIT_CASE(malloc_at_every_step),
	KUNIT_CASE(malloc_without_words),
	KUNIT_CASE(malloc_without_descriptors),
	KUNIT_CASE(page_of_a_short_zspage),
	KUNIT_CASE(create_pool_at_every_step),
	KUNIT_CASE(work_goes_on),
	{}
};

#else

static void malloc_at_every_step(struct kunit *test)
{
	kunit_skip(test, "this kernel cannot inject failures: CONFIG_FAILSLAB and CONFIG_FAIL_PAGE_ALLOC are off");
}

static struct kunit_case cases[] = {
	KUNIT_CASE(malloc_at_every_step),
	{}
};

#endif

struct kunit_suite zsrs_failure_suite = {
	.name = "zsrs_failure",
	.suite_init = zsrs_background_off,
	.suite_exit = zsrs_background_on,
	.init = zsrs_counters_init,
	.exit = zsrs_counters_exit,
	.test_cases = cases,
};
