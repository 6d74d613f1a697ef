// SPDX-License-Identifier: GPL-2.0
/*
 * Suite zsrs_drain: pools whose objects are freed one after the other, with
 * compaction in the background (D1 to D3 in Documentation/locking.rst).
 */

#include <linux/delay.h>

#include "suites.h"
#include "support.h"

enum { OBJECTS = 6000, SIZES = 8, ROUNDS = 6 };

static const char name[] = "drained";

struct full {
	struct zsrs_pool *pool;
	struct zsrs_contents *contents;
	struct rnd_state rnd;
	unsigned long *handles;
	/* Which object it is, with what contents: object i has size number i % SIZES. */
	unsigned int *numbers;
	unsigned int count;
	unsigned long pages;
};

static size_t size_of(unsigned int number)
{
	return (1 + number % SIZES) * (PAGE_SIZE / 13);
}

static struct full *need_full(struct kunit *test)
{
	struct full *full = kunit_kzalloc(test, sizeof(*full), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, full);
	full->handles = kunit_kcalloc(test, OBJECTS, sizeof(*full->handles), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, full->handles);
	full->numbers = kunit_kcalloc(test, OBJECTS, sizeof(*full->numbers), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, full->numbers);
	full->contents = zsrs_contents_new(61);
	KUNIT_ASSERT_NOT_NULL(test, full->contents);
	prandom_seed_state(&full->rnd, 62);
	full->pool = zsrs_need_pool(test, name);
	return full;
}

static void fill(struct kunit *test, struct full *full)
{
	for (; full->count < OBJECTS; full->count++) {
		unsigned int i = full->count;

		full->numbers[i] = i;
		full->handles[i] = zsrs_malloc(full->pool, size_of(i), GFP_KERNEL);
		KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(full->handles[i]));
		KUNIT_ASSERT_TRUE(test, zsrs_write_object(full->pool, full->handles[i], ZSRS_MM_WO,
							  full->contents, i, size_of(i)));
	}
	full->pages = zsrs_get_total_pages(full->pool);
}

/*
 * Frees random objects until @left are left: so slowly that the worker gets to
 * see it many times, and so fast that it sees a pool that is drained.
 */
static void drain(struct full *full, unsigned int left)
{
	while (full->count > left) {
		unsigned int i = zsrs_below(&full->rnd, full->count);

		zsrs_free(full->pool, full->handles[i]);
		full->count--;
		full->handles[i] = full->handles[full->count];
		full->numbers[i] = full->numbers[full->count];
		if (full->count % 4 == 0) {
			udelay(50);
			cond_resched();
		}
	}
}

static void expect_contents(struct kunit *test, struct full *full)
{
	unsigned int i, bad = 0;

	for (i = 0; i < full->count; i++)
		bad += !zsrs_check_object(full->pool, full->handles[i], full->contents,
					  full->numbers[i], size_of(full->numbers[i]));
	KUNIT_EXPECT_EQ_MSG(test, bad, 0u, "objects came back wrong");
}

static void drop(struct full *full)
{
	zsrs_destroy_pool(full->pool);
	kfree(full->contents);
}

/* Next to nothing moves, and all pages go back, by the worker at last. */
static void all_objects(struct kunit *test)
{
	struct full *full = need_full(test);
	unsigned long moved, least = ULONG_MAX;
	unsigned int i;

	for (i = 0; i < ROUNDS; i++) {
		long before = zsrs_pool_number(name, "pages_compacted_background");

		fill(test, full);
		drain(full, 0);
		KUNIT_ASSERT_TRUE(test, zsrs_comes_to_pages(full->pool, 0));
		moved = zsrs_pool_number(name, "pages_compacted_background") - before;
		least = min(least, moved);
	}
	kunit_info(test, "%lu of %lu pages compacted", least, full->pages);
	/* The worker may find that the drain has just begun, or is held up. */
	KUNIT_EXPECT_LT(test, least, full->pages / 3);
	drop(full);
}

/* What is left of a pool is compacted when nothing is freed any more. */
static void most_objects(struct kunit *test)
{
	struct full *full = need_full(test);
	unsigned long pages;
	unsigned int i;

	fill(test, full);
	drain(full, OBJECTS / 8);
	for (i = 0; i < 1000 && zsrs_get_total_pages(full->pool) > full->pages / 5; i++)
		msleep(10);
	pages = zsrs_get_total_pages(full->pool);
	kunit_info(test, "%lu pages left of %lu", pages, full->pages);
	KUNIT_EXPECT_LE(test, pages, full->pages / 5);
	expect_contents(test, full);
	drain(full, 0);
	KUNIT_EXPECT_TRUE(test, zsrs_comes_to_pages(full->pool, 0));
	drop(full);
}

/* Compaction frees zspages that are left to the worker, and does not wait for it. */
static void compacted_meanwhile(struct kunit *test)
{
	struct full *full = need_full(test);
	unsigned int i, at_once = 0;

	for (i = 0; i < ROUNDS; i++) {
		fill(test, full);
		drain(full, 0);
		zsrs_compact(full->pool);
		/* Unless the worker has some in its hands. */
		at_once += !zsrs_get_total_pages(full->pool);
		KUNIT_ASSERT_TRUE(test, zsrs_comes_to_pages(full->pool, 0));
	}
	kunit_info(test, "%u of %u times", at_once, i);
	KUNIT_EXPECT_GE(test, at_once, i / 2);
	drop(full);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(all_objects),
	KUNIT_CASE(most_objects),
	KUNIT_CASE(compacted_meanwhile),
	{}
};

struct kunit_suite zsrs_drain_suite = {
	.name = "zsrs_drain",
	.init = zsrs_counters_init,
	.exit = zsrs_counters_exit,
	.test_cases = cases,
};
