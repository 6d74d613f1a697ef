// SPDX-License-Identifier: GPL-2.0
/*
 * zsrs_versus_kunit.ko: the same sequences of operations on zsmalloc_rs and on
 * the kernel's own zsmalloc, side by side. It needs C zsmalloc behind zs_*, not
 * the shim of this project.
 */

#include <linux/module.h>
#include <linux/zsmalloc.h>
#include "support.h"

enum { SLOTS = 30000, EVERY = 1000 };

static unsigned int seed = 10;
module_param(seed, uint, 0444);
MODULE_PARM_DESC(seed, "Of the sequences of operations");

/* The two pools, and the objects that both have. */
struct sides {
	struct zsrs_pool *ours;
	struct zs_pool *theirs;
	unsigned long *our_handles;
	unsigned long *their_handles;
	struct rnd_state rnd;
	unsigned int operations;
	unsigned int compared;
	unsigned int worse;
	long most_above;
	long most_below;
	long sum_above;
	unsigned long sum_theirs;
	unsigned long our_peak;
	unsigned long their_peak;
};

static void need_sides(struct kunit *test, struct sides *sides, unsigned int slots)
{
	memset(sides, 0, sizeof(*sides));
	sides->ours = zsrs_need_pool(test, "versus");
	sides->theirs = zs_create_pool("versus");
	sides->our_handles = vcalloc(slots, sizeof(unsigned long));
	sides->their_handles = vcalloc(slots, sizeof(unsigned long));
	KUNIT_ASSERT_NOT_NULL(test, sides->theirs);
	KUNIT_ASSERT_NOT_NULL(test, sides->our_handles);
	KUNIT_ASSERT_NOT_NULL(test, sides->their_handles);
	prandom_seed_state(&sides->rnd, seed);
}

static void drop_sides(struct kunit *test, struct sides *sides)
{
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(sides->ours), 0ul);
	KUNIT_EXPECT_EQ(test, zs_get_total_pages(sides->theirs), 0ul);
	zsrs_destroy_pool(sides->ours);
	zs_destroy_pool(sides->theirs);
	vfree(sides->our_handles);
	vfree(sides->their_handles);
}

static void compare_pages(struct kunit *test, struct sides *sides)
{
	unsigned long ours = zsrs_get_total_pages(sides->ours);
	unsigned long theirs = zs_get_total_pages(sides->theirs);

	sides->compared++;
	sides->our_peak = max(sides->our_peak, ours);
	sides->their_peak = max(sides->their_peak, theirs);
	sides->most_above = max(sides->most_above, (long)(ours - theirs));
	sides->most_below = max(sides->most_below, (long)(theirs - ours));
	sides->sum_above += ours - theirs;
	sides->sum_theirs += theirs;
	sides->worse += ours > theirs;
	if (ours > theirs && sides->worse == 1)
		kunit_info(test, "after %u operations: %lu pages, C has %lu", sides->operations,
			   ours, theirs);
}

static void count_operation(struct kunit *test, struct sides *sides)
{
	if (++sides->operations % EVERY == 0) {
		compare_pages(test, sides);
		cond_resched();
	}
}

static void both_malloc(struct kunit *test, struct sides *sides, unsigned int i)
{
	size_t size = zsrs_realistic_size(&sides->rnd);

	sides->our_handles[i] = zsrs_malloc(sides->ours, size, GFP_KERNEL);
	sides->their_handles[i] = zs_malloc(sides->theirs, size, GFP_KERNEL);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(sides->our_handles[i]));
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(sides->their_handles[i]));
	count_operation(test, sides);
}

static void both_free(struct kunit *test, struct sides *sides, unsigned int i)
{
	zsrs_free(sides->ours, sides->our_handles[i]);
	zs_free(sides->theirs, sides->their_handles[i]);
	sides->our_handles[i] = 0;
	sides->their_handles[i] = 0;
	count_operation(test, sides);
}

static void theirs_is_c(struct kunit *test)
{
	const struct zsrs_counters *before = test->priv;
	struct zs_pool *pool = zs_create_pool("theirs_is_c");
	struct zsrs_counters now;

	KUNIT_ASSERT_NOT_NULL(test, pool);
	KUNIT_ASSERT_EQ(test, zsrs_read_counters(&now), 0);
	KUNIT_EXPECT_EQ_MSG(test, now.pools, before->pools,
			    "zs_* is the shim on zsmalloc_rs: load the kernel's own zsmalloc.ko");
	KUNIT_EXPECT_EQ_MSG(test, CONFIG_ZSMALLOC_CHAIN_SIZE, 8,
			    "C zsmalloc has other chains than ours: nothing can be compared");
	zs_destroy_pool(pool);
}

static void same_classes(struct kunit *test)
{
	struct sides sides;
	unsigned int size;

	need_sides(test, &sides, 1);
	for (size = 1; size <= PAGE_SIZE + 100; size++)
		KUNIT_ASSERT_EQ_MSG(test, zsrs_lookup_class_index(sides.ours, size),
				    zs_lookup_class_index(sides.theirs, size), "size %u", size);
	KUNIT_EXPECT_EQ(test, zsrs_huge_class_size(sides.ours),
			zs_huge_class_size(sides.theirs));
	drop_sides(test, &sides);
}

/* A line of a pool's file "classes" in debugfs. */
struct row {
	unsigned long index, size, groups[11], slots, objects, pages, pages_per_zspage, freeable;
};

enum { CLASSES_SIZE = 64 * 1024, FULL = 10 };

/* The next line that begins with two numbers; false if there is none. */
static bool next_row(char **text, struct row *row)
{
	unsigned long *groups = row->groups;
	char *line;

	while ((line = strsep(text, "\n")))
		if (sscanf(line, " %lu %lu %lu %lu %lu %lu %lu %lu %lu %lu %lu %lu %lu %lu %lu %lu %lu %lu",
			   &row->index, &row->size, &groups[0], &groups[1], &groups[2], &groups[3],
			   &groups[4], &groups[5], &groups[6], &groups[7], &groups[8], &groups[9],
			   &groups[FULL], &row->slots, &row->objects, &row->pages,
			   &row->pages_per_zspage, &row->freeable) == 18)
			return true;
	return false;
}

/* The pages that our file says there are; and how many if no zspage lacked some. */
static unsigned long table_pages(struct kunit *test, char *text, unsigned long *whole)
{
	unsigned long pages = 0;
	struct row row;
	unsigned int i;

	KUNIT_ASSERT_EQ(test, zsrs_read_text("/sys/kernel/debug/zsmalloc_rs/versus/classes", text,
					     CLASSES_SIZE), 0);
	for (*whole = 0; next_row(&text, &row);) {
		pages += row.pages;
		for (i = 0; i <= FULL; i++)
			*whole += row.groups[i] * row.pages_per_zspage;
	}
	return pages;
}

/*
 * The file has C's columns, and says of the same objects what C's says. Of
 * zspages that were shortened it counts the pages that they have.
 */
static void same_table(struct kunit *test)
{
	enum { COUNT = 5000 };
	unsigned long pages = 0, their_pages = 0, freeable = 0, whole;
	char *text = kvzalloc(CLASSES_SIZE, GFP_KERNEL);
	char *their_text = kvzalloc(CLASSES_SIZE, GFP_KERNEL);
	char *rest = text, *their_rest = their_text;
	unsigned int i, j, rows = 0;
	struct row ours, theirs;
	struct sides sides;

	need_sides(test, &sides, COUNT);
	KUNIT_ASSERT_NOT_NULL(test, text);
	KUNIT_ASSERT_NOT_NULL(test, their_text);
	for (i = 0; i < COUNT; i++)
		both_malloc(test, &sides, i);
	KUNIT_ASSERT_EQ(test, zsrs_read_text("/sys/kernel/debug/zsmalloc_rs/versus/classes", text,
					     CLASSES_SIZE), 0);
	if (zsrs_read_text("/sys/kernel/debug/zsmalloc/versus/classes", their_text, CLASSES_SIZE))
		KUNIT_FAIL(test, "C has no such file: build the kernel with CONFIG_ZSMALLOC_STAT");
	for (; next_row(&their_rest, &theirs); rows++) {
		unsigned long zspages = 0;

		KUNIT_ASSERT_TRUE(test, next_row(&rest, &ours));
		KUNIT_EXPECT_EQ(test, ours.index, theirs.index);
		KUNIT_EXPECT_EQ(test, ours.size, theirs.size);
		KUNIT_EXPECT_EQ(test, ours.objects, theirs.objects);
		KUNIT_EXPECT_EQ(test, ours.pages_per_zspage, theirs.pages_per_zspage);
		KUNIT_EXPECT_LE(test, ours.objects, ours.slots);
		KUNIT_EXPECT_LE(test, ours.slots, theirs.slots);
		KUNIT_EXPECT_LE(test, ours.pages, theirs.pages);
		/* One zspage that lacks pages may be full without them. */
		KUNIT_EXPECT_GE(test, ours.groups[FULL], theirs.groups[FULL]);
		KUNIT_EXPECT_LE(test, ours.groups[FULL], theirs.groups[FULL] + 1);
		for (j = 0; j <= FULL; j++)
			zspages += ours.groups[j];
		KUNIT_EXPECT_LE(test, ours.pages, zspages * ours.pages_per_zspage);
		KUNIT_EXPECT_GE(test, ours.pages + ours.pages_per_zspage,
				zspages * ours.pages_per_zspage + !!zspages);
		pages += ours.pages;
		their_pages += theirs.pages;
		freeable += ours.freeable;
	}
	KUNIT_EXPECT_FALSE(test, next_row(&rest, &ours));
	KUNIT_EXPECT_GT(test, rows, 100u);
	KUNIT_EXPECT_EQ(test, pages, zsrs_get_total_pages(sides.ours));
	KUNIT_EXPECT_EQ(test, their_pages, zs_get_total_pages(sides.theirs));
	KUNIT_EXPECT_EQ(test, (long)freeable, zsrs_pool_number("versus", "compactable_pages"));
	for (i = 0; i < COUNT; i += 2)
		both_free(test, &sides, i);
	zsrs_compact(sides.ours);
	pages = table_pages(test, text, &whole);
	KUNIT_EXPECT_EQ(test, pages, zsrs_get_total_pages(sides.ours));
	KUNIT_EXPECT_LT(test, pages, whole);
	for (i = 1; i < COUNT; i += 2)
		both_free(test, &sides, i);
	kvfree(text);
	kvfree(their_text);
	drop_sides(test, &sides);
}

/*
 * Growing: never more pages than C. Churning, shrinking: ours keeps spares, so
 * that the two come to differ in which objects share a zspage; a few pages more
 * at one moment and less at another, and in the mean nothing.
 */
static void pages_beside_c(struct kunit *test)
{
	struct sides sides;
	unsigned int i, round;

	need_sides(test, &sides, SLOTS);
	for (i = 0; i < SLOTS; i++)
		both_malloc(test, &sides, i);
	KUNIT_EXPECT_GT(test, sides.compared, 15u);
	KUNIT_EXPECT_EQ_MSG(test, sides.worse, 0u, "comparisons in which C had fewer pages");
	/* Steady: one goes, one comes. */
	for (round = 0; round < SLOTS; round++) {
		i = zsrs_below(&sides.rnd, SLOTS);
		both_free(test, &sides, i);
		both_malloc(test, &sides, i);
	}
	/* Up and down by a third. */
	for (round = 0; round < SLOTS; round++) {
		i = zsrs_below(&sides.rnd, SLOTS);
		if (sides.our_handles[i] && (round / 5000) % 2 == 0)
			both_free(test, &sides, i);
		else if (!sides.our_handles[i] && (round / 5000) % 2)
			both_malloc(test, &sides, i);
	}
	/* Drained in random order, then the rest. */
	for (round = 0; round < 2 * SLOTS; round++) {
		i = zsrs_below(&sides.rnd, SLOTS);
		if (sides.our_handles[i])
			both_free(test, &sides, i);
	}
	for (i = 0; i < SLOTS; i++)
		if (sides.our_handles[i])
			both_free(test, &sides, i);
	compare_pages(test, &sides);
	kunit_info(test, "%u operations, compared %u times; at the peak %lu pages, C %lu",
		   sides.operations, sides.compared, sides.our_peak, sides.their_peak);
	KUNIT_EXPECT_GE(test, sides.operations, 60000u);
	KUNIT_EXPECT_GT(test, sides.compared, 60u);
	kunit_info(test, "at most %ld pages above C, %ld below; summed up %ld beside C's %lu",
		   sides.most_above, sides.most_below, sides.sum_above, sides.sum_theirs);
	KUNIT_EXPECT_LT(test, sides.most_above, (long)(sides.their_peak / 40));
	KUNIT_EXPECT_LT(test, sides.sum_above, (long)(sides.sum_theirs / 300));
	drop_sides(test, &sides);
}

/* 40,000 objects, half of them freed: compaction returns at least what C's does. */
static void compaction_returns_no_less(struct kunit *test)
{
	enum { COUNT = 40000 };
	struct sides sides;
	unsigned long before, ours, theirs;
	unsigned int i;

	need_sides(test, &sides, COUNT);
	for (i = 0; i < COUNT; i++)
		both_malloc(test, &sides, i);
	for (i = 0; i < COUNT; i++)
		if (prandom_u32_state(&sides.rnd) & 1)
			both_free(test, &sides, i);
	before = zs_get_total_pages(sides.theirs);
	ours = zsrs_compact(sides.ours);
	theirs = zs_compact(sides.theirs);
	kunit_info(test, "of %lu pages ours returned %lu, C %lu", before, ours, theirs);
	KUNIT_EXPECT_GT(test, theirs, 0ul);
	KUNIT_EXPECT_GE(test, ours, theirs);
	compare_pages(test, &sides);
	KUNIT_EXPECT_EQ_MSG(test, sides.worse, 0u, "comparisons in which C had fewer pages");
	/*
	 * From here on the two differ in which objects share a zspage, and that
	 * decides when a page comes free: a few pages more at one moment and less
	 * at another, depending on the order. In the mean it must come to nothing.
	 */
	sides.sum_above = 0;
	sides.sum_theirs = 0;
	sides.most_above = 0;
	sides.most_below = 0;
	for (i = 0; i < COUNT; i++)
		if (sides.our_handles[i])
			both_free(test, &sides, i);
	kunit_info(test, "drained after that: at most %ld pages above C, %ld below; summed up %ld beside C's %lu",
		   sides.most_above, sides.most_below, sides.sum_above, sides.sum_theirs);
	KUNIT_EXPECT_LT(test, sides.sum_above, (long)(sides.sum_theirs / 1000));
	drop_sides(test, &sides);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(theirs_is_c),
	KUNIT_CASE(same_classes),
	KUNIT_CASE(same_table),
	KUNIT_CASE(pages_beside_c),
	KUNIT_CASE(compaction_returns_no_less),
	{}
};

static struct kunit_suite zsrs_versus_suite = {
	.name = "zsrs_versus",
	.suite_init = zsrs_background_off,
	.suite_exit = zsrs_background_on,
	.init = zsrs_counters_init,
	.exit = zsrs_counters_exit,
	.test_cases = cases,
};
kunit_test_suite(zsrs_versus_suite);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("The zsmalloc_rs developers");
MODULE_DESCRIPTION("KUnit comparison of zsmalloc_rs with zsmalloc");
