// SPDX-License-Identifier: GPL-2.0
/*
 * Suite zsrs_spare: objects that were freed and stay where they are for the next
 * malloc (N1 to N3 in Documentation/locking.rst).
 */

#include "mover.h"
#include "suites.h"
#include "support.h"

/* Spares of a class, at most. */
enum { SPARES = 4 };
enum { SIZE = 300, OTHER_SIZE = 1200, MOST_OBJECTS = PAGE_SIZE / 8 };

/* A pool with full zspages of one class. */
struct full {
	struct zsrs_pool *pool;
	struct zsrs_contents *contents;
	size_t size;
	unsigned long handles[2 * MOST_OBJECTS];
	unsigned int count;
	unsigned long pages;
};

static struct full *need_full(struct kunit *test, struct zsrs_pool *pool, size_t size)
{
	struct full *full = kunit_kzalloc(test, sizeof(*full), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, full);
	KUNIT_ASSERT_NOT_NULL(test, pool);
	full->pool = pool;
	full->contents = zsrs_contents_new(41);
	KUNIT_ASSERT_NOT_NULL(test, full->contents);
	full->size = size;
	full->count = zsrs_fill_zspage(test, pool, full->contents, size, full->handles,
				       MOST_OBJECTS);
	full->pages = zsrs_get_total_pages(pool);
	return full;
}

/* A second zspage, full like the first. */
static void fill_second(struct kunit *test, struct full *full)
{
	unsigned int i, count = full->count;

	for (i = count; i < 2 * count; i++) {
		full->handles[i] = zsrs_malloc(full->pool, full->size, GFP_KERNEL);
		KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(full->handles[i]));
		KUNIT_ASSERT_TRUE(test, zsrs_write_object(full->pool, full->handles[i], ZSRS_MM_WO,
							  full->contents, i, full->size));
	}
	full->count = 2 * count;
	KUNIT_ASSERT_EQ(test, zsrs_get_total_pages(full->pool), 2 * full->pages);
}

static void put(struct full *full, unsigned int i)
{
	zsrs_free(full->pool, full->handles[i]);
	full->handles[i] = 0;
}

static void get(struct kunit *test, struct full *full, unsigned int i)
{
	full->handles[i] = zsrs_malloc(full->pool, full->size, GFP_KERNEL);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(full->handles[i]));
	KUNIT_ASSERT_TRUE(test, zsrs_write_object(full->pool, full->handles[i], ZSRS_MM_WO,
						  full->contents, i, full->size));
}

static void expect_contents(struct kunit *test, struct full *full)
{
	unsigned int i, bad = 0;

	for (i = 0; i < full->count; i++)
		if (full->handles[i])
			bad += !zsrs_check_object(full->pool, full->handles[i], full->contents, i,
						  full->size);
	KUNIT_EXPECT_EQ_MSG(test, bad, 0u, "objects came back wrong");
}

static void drop_full(struct kunit *test, struct full *full)
{
	unsigned int i;

	expect_contents(test, full);
	for (i = 0; i < full->count; i++)
		put(full, i);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(full->pool), 0ul);
	zsrs_destroy_pool(full->pool);
	kfree(full->contents);
}

static long words_live(void)
{
	return zsrs_module_number("words_live");
}

/* It is the next object of its class, and of no other; nothing changes for the rest. */
static void comes_back(struct kunit *test)
{
	struct full *full = need_full(test, zsrs_need_pool(test, test->name), SIZE);
	unsigned long was = full->handles[3], other;

	put(full, 3);
	other = zsrs_malloc(full->pool, OTHER_SIZE, GFP_KERNEL);
	KUNIT_EXPECT_NE(test, other, was);
	get(test, full, 3);
	KUNIT_EXPECT_EQ(test, full->handles[3], was);
	zsrs_free(full->pool, other);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(full->pool), full->pages);
	drop_full(test, full);
}

/* So many are kept, and the one freed last comes first. */
static void last_comes_first(struct kunit *test)
{
	struct full *full = need_full(test, zsrs_need_pool(test, test->name), SIZE);
	unsigned long were[SPARES + 2];
	long words = words_live();
	unsigned int i;

	KUNIT_ASSERT_GT(test, full->count, (unsigned int)SPARES + 3);
	for (i = 0; i < SPARES + 2; i++) {
		were[i] = full->handles[i];
		put(full, i);
		KUNIT_EXPECT_EQ(test, words_live(), words - max_t(int, i + 1 - SPARES, 0));
	}
	for (i = SPARES; i--;) {
		get(test, full, i);
		KUNIT_EXPECT_EQ(test, full->handles[i], were[i]);
		KUNIT_EXPECT_EQ(test, words_live(), words - 2);
	}
	for (i = SPARES; i < SPARES + 2; i++)
		get(test, full, i);
	KUNIT_EXPECT_EQ(test, words_live(), words);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(full->pool), full->pages);
	drop_full(test, full);
}

/* While there is a fuller zspage its room is used first, as without spares. */
static void not_of_an_emptier_zspage(struct kunit *test)
{
	struct full *full = need_full(test, zsrs_need_pool(test, test->name), SIZE);
	unsigned int first = full->count, i;
	long words;

	fill_second(test, full);
	/* In the end one slot of the first zspage is free, and half of the second one's. */
	for (i = 0; i < SPARES + 1; i++)
		put(full, i);
	for (i = 0; i < SPARES; i++)
		get(test, full, i);
	for (i = first; i < first + SPARES + first / 2; i++)
		put(full, i);
	for (i = first; i < first + SPARES; i++)
		get(test, full, i);
	words = words_live();
	put(full, 2 * first - 1);
	KUNIT_EXPECT_EQ(test, words_live(), words - 1);
	put(full, first - 1);
	KUNIT_EXPECT_EQ(test, words_live(), words - 1);
	drop_full(test, full);
}

/* Reclaim looks at every object of a zspage: none of them is to be a spare. */
static int refuse(struct zsrs_pool *pool, unsigned long handle, void *private)
{
	return -EBUSY;
}

static void not_with_an_evict_handler(struct kunit *test)
{
	struct full *full = need_full(test, zsrs_create_evictable_pool(test->name, refuse, NULL),
				      SIZE);
	long words = words_live();

	put(full, 3);
	KUNIT_EXPECT_EQ(test, words_live(), words - 1);
	drop_full(test, full);
}

static const size_t sizes[] = { 1, 40, SIZE, 1000, 1700, PAGE_SIZE / 2 - 8, 3000, PAGE_SIZE };

/* A zspage goes with its last object, whichever are spares; and with it all of these. */
static void no_zspage_for_spares_alone(struct kunit *test)
{
	enum { ROUNDS = 40 };
	unsigned int i, j, round;
	struct rnd_state rnd;

	prandom_seed_state(&rnd, 42);
	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		for (round = 0; round < ROUNDS; round++) {
			struct full *full;
			unsigned int first;
			long words = words_live();

			full = need_full(test, zsrs_need_pool(test, test->name), sizes[i]);
			first = full->count;
			fill_second(test, full);
			/* The first zspage in any order, with some of the other one in between. */
			for (j = first; j > 1; j--) {
				unsigned int other = zsrs_below(&rnd, j);

				swap(full->handles[j - 1], full->handles[other]);
			}
			for (j = 0; j < first; j++) {
				KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(full->pool),
						2 * full->pages);
				put(full, j);
				if (first > 2 && j % 3 == 0 && round % 2)
					put(full, first + j);
			}
			KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(full->pool), full->pages);
			for (j = first; j < 2 * first; j++)
				put(full, j);
			KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(full->pool), 0ul);
			KUNIT_EXPECT_EQ(test, words_live(), words);
			zsrs_destroy_pool(full->pool);
			kfree(full->contents);
			kunit_kfree(test, full);
		}
}

/* Compaction finds nothing but objects and free slots. */
static void none_after_compaction(struct kunit *test)
{
	struct full *full = need_full(test, zsrs_need_pool(test, test->name), SIZE);
	unsigned int i, half = full->count;
	long words;

	fill_second(test, full);
	words = words_live();
	for (i = 0; i < 2 * half; i += 2)
		put(full, i);
	KUNIT_EXPECT_EQ(test, words_live(), words - half + SPARES);
	KUNIT_EXPECT_EQ(test, zsrs_compact(full->pool), full->pages);
	KUNIT_EXPECT_EQ(test, words_live(), words - half);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(full->pool), full->pages);
	drop_full(test, full);
}

/* Pages that move take spares along, and leave nothing that leads to where they were. */
static void moves_with_its_page(struct kunit *test)
{
	static const unsigned int numbers[] = { 2, 5, 6, 7 };
	struct page *old[16], *new;
	struct full *full;
	unsigned long were[ARRAY_SIZE(numbers)];
	unsigned int i, j, found = 0;

	if (!IS_ENABLED(CONFIG_COMPACTION))
		kunit_skip(test, "this kernel moves no pages: CONFIG_COMPACTION is off");
	full = need_full(test, zsrs_need_pool(test, test->name), 500);
	for (i = 0; i < full->count; i++) {
		struct page *page = zsrs_page_of(full->pool, full->handles[i]);

		for (j = 0; j < found && old[j] != page; j++)
			;
		KUNIT_ASSERT_LT(test, j, (unsigned int)ARRAY_SIZE(old));
		if (j == found)
			old[found++] = page;
	}
	KUNIT_ASSERT_EQ(test, (unsigned long)found, full->pages);
	for (i = 0; i < ARRAY_SIZE(numbers); i++) {
		were[i] = full->handles[numbers[i]];
		put(full, numbers[i]);
	}
	for (i = 0; i < found; i++) {
		get_page(old[i]);
		KUNIT_ASSERT_EQ(test, zsrs_migrate(old[i], MIGRATE_ASYNC, &new), 0);
		memset(page_address(old[i]), 0x77, PAGE_SIZE);
	}
	for (i = ARRAY_SIZE(numbers); i--;) {
		get(test, full, numbers[i]);
		KUNIT_EXPECT_EQ(test, full->handles[numbers[i]], were[i]);
	}
	expect_contents(test, full);
	for (i = 0; i < found; i++) {
		KUNIT_EXPECT_NULL(test, memchr_inv(page_address(old[i]), 0x77, PAGE_SIZE));
		put_page(old[i]);
	}
	drop_full(test, full);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(comes_back),
	KUNIT_CASE(last_comes_first),
	KUNIT_CASE(not_of_an_emptier_zspage),
	KUNIT_CASE(not_with_an_evict_handler),
	KUNIT_CASE(no_zspage_for_spares_alone),
	KUNIT_CASE(none_after_compaction),
	KUNIT_CASE(moves_with_its_page),
	{}
};

struct kunit_suite zsrs_spare_suite = {
	.name = "zsrs_spare",
	.suite_init = zsrs_background_off,
	.suite_exit = zsrs_background_on,
	.init = zsrs_counters_init,
	.exit = zsrs_counters_exit,
	.test_cases = cases,
};
