// SPDX-License-Identifier: GPL-2.0
/*
 * Suite zsrs_compact: zsrs_compact() returns what it says, moves contents whole,
 * and works beside others (bugs 6, 7 and 10).
 */

#include <linux/completion.h>
#include <linux/kthread.h>
#include "mapper.h"
#include "suites.h"
#include "support.h"

enum { OBJECTS = 40000 };

/* Objects of realistic sizes of which a random half was freed. */
struct holes {
	struct zsrs_pool *pool;
	struct zsrs_contents *contents;
	unsigned long *handles;
	u16 *sizes;
	unsigned int count;
};

static void make_holes(struct kunit *test, struct holes *holes, const char *name,
		       unsigned int count, size_t size)
{
	struct rnd_state rnd;
	unsigned int i, refused = 0;

	holes->pool = zsrs_need_pool(test, name);
	holes->contents = zsrs_contents_new(7);
	holes->handles = vcalloc(count, sizeof(*holes->handles));
	holes->sizes = vcalloc(count, sizeof(*holes->sizes));
	holes->count = count;
	KUNIT_ASSERT_NOT_NULL(test, holes->contents);
	KUNIT_ASSERT_NOT_NULL(test, holes->handles);
	KUNIT_ASSERT_NOT_NULL(test, holes->sizes);

	prandom_seed_state(&rnd, 7);
	for (i = 0; i < count; i++) {
		holes->sizes[i] = size ?: zsrs_realistic_size(&rnd);
		holes->handles[i] = zsrs_malloc(holes->pool, holes->sizes[i], GFP_KERNEL);
		KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(holes->handles[i]));
		refused += !zsrs_write_object(holes->pool, holes->handles[i], ZSRS_MM_WO,
					      holes->contents, i, holes->sizes[i]);
	}
	KUNIT_ASSERT_EQ(test, refused, 0u);
	for (i = 0; i < count; i++)
		if (prandom_u32_state(&rnd) & 1) {
			zsrs_free(holes->pool, holes->handles[i]);
			holes->handles[i] = 0;
		}
}

static void expect_contents(struct kunit *test, const struct holes *holes)
{
	unsigned int i, bad = 0;

	for (i = 0; i < holes->count; i++)
		if (holes->handles[i])
			bad += !zsrs_check_object(holes->pool, holes->handles[i],
						  holes->contents, i, holes->sizes[i]);
	KUNIT_EXPECT_EQ_MSG(test, bad, 0u, "objects that moved came back wrong");
}

static void drop_holes(struct kunit *test, struct holes *holes)
{
	unsigned int i;

	expect_contents(test, holes);
	for (i = 0; i < holes->count; i++)
		zsrs_free(holes->pool, holes->handles[i]);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(holes->pool), 0ul);
	zsrs_destroy_pool(holes->pool);
	vfree(holes->sizes);
	vfree(holes->handles);
	kfree(holes->contents);
}

static void nothing_to_compact(struct kunit *test)
{
	struct zsrs_pool *pool = zsrs_need_pool(test, "nothing_to_compact");
	unsigned long handle;

	KUNIT_EXPECT_EQ(test, zsrs_compact(pool), 0ul);
	handle = zsrs_malloc(pool, 100, GFP_KERNEL);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(handle));
	KUNIT_EXPECT_EQ(test, zsrs_compact(pool), 0ul);
	zsrs_free(pool, handle);
	KUNIT_EXPECT_EQ(test, zsrs_pages_compacted(pool), 0ul);
	zsrs_destroy_pool(pool);
}

static void half_freed(struct kunit *test)
{
	struct holes holes;
	unsigned long before, after, returned;

	make_holes(test, &holes, "half_freed", OBJECTS, 0);
	expect_contents(test, &holes);
	before = zsrs_get_total_pages(holes.pool);
	returned = zsrs_compact(holes.pool);
	after = zsrs_get_total_pages(holes.pool);
	kunit_info(test, "%lu of %lu pages returned", returned, before);
	KUNIT_EXPECT_EQ(test, before - after, returned);
	KUNIT_EXPECT_EQ(test, zsrs_pages_compacted(holes.pool), returned);
	KUNIT_EXPECT_GT(test, returned, before / 5);
	expect_contents(test, &holes);

	/* All was won the first time. */
	KUNIT_EXPECT_EQ(test, zsrs_compact(holes.pool), 0ul);
	KUNIT_EXPECT_EQ(test, zsrs_pages_compacted(holes.pool), returned);
	drop_holes(test, &holes);
}

/* What is freed and allocated after a compaction finds its place. */
static void again_and_again(struct kunit *test)
{
	struct holes holes;
	struct rnd_state rnd;
	unsigned int round, i;
	unsigned long returned = 0, before;

	make_holes(test, &holes, "again_and_again", 6000, 0);
	prandom_seed_state(&rnd, 8);
	for (round = 0; round < 8; round++) {
		before = zsrs_get_total_pages(holes.pool);
		returned = zsrs_compact(holes.pool);
		KUNIT_EXPECT_EQ(test, before - zsrs_get_total_pages(holes.pool), returned);
		for (i = 0; i < holes.count; i++) {
			u32 dice = zsrs_below(&rnd, 10);

			if (holes.handles[i] && dice < 4) {
				zsrs_free(holes.pool, holes.handles[i]);
				holes.handles[i] = 0;
			} else if (!holes.handles[i] && dice < 4) {
				holes.sizes[i] = 1 + zsrs_below(&rnd, PAGE_SIZE);
				holes.handles[i] = zsrs_malloc(holes.pool, holes.sizes[i],
							       GFP_KERNEL);
				KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(holes.handles[i]));
				KUNIT_ASSERT_TRUE(test,
						  zsrs_write_object(holes.pool, holes.handles[i],
								    ZSRS_MM_WO, holes.contents, i,
								    holes.sizes[i]));
			}
		}
	}
	drop_holes(test, &holes);
}

/* A kthread on a CPU of its own that compacts once. */
struct compactor {
	struct zsrs_pool *pool;
	unsigned long returned;
	struct completion *start;
	struct completion done;
};

static int compact_once(void *data)
{
	struct compactor *compactor = data;

	wait_for_completion(compactor->start);
	compactor->returned = zsrs_compact(compactor->pool);
	complete(&compactor->done);
	return zsrs_wait_for_stop();
}

/* Bug 6: who compacts at the same time shares the work, and every page counts once. */
static void two_compact(struct kunit *test)
{
	enum { TASKS = 2 };
	DECLARE_COMPLETION_ONSTACK(start);
	struct compactor compactors[TASKS];
	struct task_struct *tasks[TASKS];
	struct holes holes;
	unsigned long before, after, returned = 0;
	int i;

	make_holes(test, &holes, "two_compact", OBJECTS, 0);
	before = zsrs_get_total_pages(holes.pool);
	for (i = 0; i < TASKS; i++) {
		compactors[i].pool = holes.pool;
		compactors[i].returned = 0;
		compactors[i].start = &start;
		init_completion(&compactors[i].done);
		tasks[i] = kthread_create(compact_once, &compactors[i], "zsrs_compact/%d", i);
		KUNIT_ASSERT_FALSE(test, IS_ERR(tasks[i]));
		kthread_bind(tasks[i], i % num_online_cpus());
		wake_up_process(tasks[i]);
	}
	complete_all(&start);
	for (i = 0; i < TASKS; i++) {
		wait_for_completion(&compactors[i].done);
		kthread_stop(tasks[i]);
		returned += compactors[i].returned;
	}
	after = zsrs_get_total_pages(holes.pool);
	kunit_info(test, "%lu + %lu of %lu pages returned", compactors[0].returned,
		   compactors[1].returned, before);
	KUNIT_EXPECT_EQ(test, before - after, returned);
	KUNIT_EXPECT_EQ(test, zsrs_pages_compacted(holes.pool), returned);
	KUNIT_EXPECT_GT(test, returned, before / 5);
	/* Nothing that could be won was left between the two. */
	KUNIT_EXPECT_EQ(test, zsrs_compact(holes.pool), 0ul);
	drop_holes(test, &holes);
}

/*
 * An object that another CPU has mapped stays where it is, its zspage is passed
 * over, and all others of the class are compacted.
 */
static void compact_beside_mapper(struct kunit *test)
{
	enum { COUNT = 3000, SIZE = 600, PAGES_MAX = 8 };
	struct zsrs_mapper mapper = { .size = SIZE };
	struct holes holes;
	unsigned long before, busy, idle;

	zsrs_need_two_cpus(test);
	make_holes(test, &holes, "compact_beside_mapper", COUNT, SIZE);
	while (!holes.handles[mapper.number])
		mapper.number++;
	mapper.pool = holes.pool;
	mapper.handle = holes.handles[mapper.number];
	mapper.contents = holes.contents;

	zsrs_mapper_start(test, &mapper);
	before = zsrs_get_total_pages(holes.pool);
	busy = zsrs_compact(holes.pool);
	KUNIT_EXPECT_EQ(test, before - zsrs_get_total_pages(holes.pool), busy);
	KUNIT_EXPECT_TRUE_MSG(test, zsrs_mapper_stop(&mapper),
			      "the object could not be mapped, or was wrong");
	idle = zsrs_compact(holes.pool);
	kunit_info(test, "of %lu pages %lu returned beside the mapper, %lu later", before, busy,
		   idle);
	/* A random half is free: about that much is won, less one zspage. */
	KUNIT_EXPECT_GT(test, busy, before / 3);
	KUNIT_EXPECT_LE(test, idle, (unsigned long)PAGES_MAX);
	drop_holes(test, &holes);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(nothing_to_compact),
	KUNIT_CASE(half_freed),
	KUNIT_CASE(again_and_again),
	KUNIT_CASE(two_compact),
	KUNIT_CASE(compact_beside_mapper),
	{}
};

struct kunit_suite zsrs_compact_suite = {
	.name = "zsrs_compact",
	.suite_init = zsrs_background_off,
	.suite_exit = zsrs_background_on,
	.init = zsrs_counters_init,
	.exit = zsrs_counters_exit,
	.test_cases = cases,
};
