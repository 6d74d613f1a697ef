// SPDX-License-Identifier: GPL-2.0
/*
 * zsrs_shim_kunit.ko: the zs_* interface of this project's zsmalloc.ko, each
 * function beside the zsrs_* one on the same pool. It needs the shim, not the
 * kernel's own zsmalloc.
 */

#include <linux/module.h>
#include <linux/zpool.h>
#include <linux/zsmalloc.h>
#include "mover.h"
#include "support.h"

/* An object of this size in three lies on two pages. */
enum { COUNT = 300, SIZE = PAGE_SIZE * 5 / 12 };

/* A pool by both names, with objects of SIZE. */
struct shimmed {
	struct zs_pool *pool;
	struct zsrs_pool *behind;
	struct zsrs_contents *contents;
	unsigned long handles[COUNT];
};

static struct shimmed *need_shimmed(struct kunit *test)
{
	struct shimmed *all = kunit_kzalloc(test, sizeof(*all), GFP_KERNEL);
	struct zsrs_counters now;
	const struct zsrs_counters *before = test->priv;

	KUNIT_ASSERT_NOT_NULL(test, all);
	all->contents = zsrs_contents_new(21);
	KUNIT_ASSERT_NOT_NULL(test, all->contents);
	all->pool = zs_create_pool(test->name);
	KUNIT_ASSERT_NOT_NULL(test, all->pool);
	KUNIT_ASSERT_EQ(test, zsrs_read_counters(&now), 0);
	KUNIT_ASSERT_EQ_MSG(test, now.pools, before->pools + 1,
			    "zs_* is not the shim: unload the kernel's own zsmalloc.ko");
	all->behind = (struct zsrs_pool *)all->pool;
	return all;
}

static void need_objects(struct kunit *test, struct shimmed *all)
{
	unsigned int i;

	for (i = 0; i < COUNT; i++) {
		all->handles[i] = zs_malloc(all->pool, SIZE, GFP_KERNEL | __GFP_MOVABLE);
		KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(all->handles[i]));
		KUNIT_ASSERT_TRUE(test, zsrs_write_object(all->behind, all->handles[i], ZSRS_MM_WO,
							  all->contents, i, SIZE));
	}
}

static void drop_shimmed(struct kunit *test, struct shimmed *all)
{
	unsigned int i;

	for (i = 0; i < COUNT; i++)
		zs_free(all->pool, all->handles[i]);
	KUNIT_EXPECT_TRUE(test, zsrs_comes_to_pages(all->behind, 0));
	zs_destroy_pool(all->pool);
	kfree(all->contents);
}

static void errors_of_malloc(struct kunit *test)
{
	struct shimmed *all = need_shimmed(test);

	KUNIT_EXPECT_EQ(test, zs_malloc(all->pool, 0, GFP_KERNEL), (unsigned long)-EINVAL);
	KUNIT_EXPECT_EQ(test, zs_malloc(all->pool, PAGE_SIZE + 1, GFP_KERNEL),
			(unsigned long)-ENOSPC);
	/* What zram does with such. */
	zs_free(all->pool, (unsigned long)-ENOMEM);
	zs_free(all->pool, 0);
	drop_shimmed(test, all);
}

/*
 * Each object is written by one interface and read by the other, in each mode.
 * One that lies on two pages far apart is copied as the mode says: a mode that
 * arrives as another shows.
 */
static void maps_in_each_mode(struct kunit *test)
{
	struct shimmed *all = need_shimmed(test);
	unsigned int i, bad = 0;
	long bounced;
	u8 *address;

	need_objects(test, all);
	if (IS_ENABLED(CONFIG_COMPACTION))
		for (i = 0; i < COUNT; i += 2)
			zsrs_move_object(all->behind, all->handles[i]);
	bounced = zsrs_module_number("maps_bounced");
	for (i = 0; i < COUNT; i++) {
		address = zs_map_object(all->pool, all->handles[i], ZS_MM_RO);
		KUNIT_ASSERT_NOT_NULL(test, address);
		bad += !zsrs_is_filled(all->contents, i, address, SIZE);
		zs_unmap_object(all->pool, all->handles[i]);

		/* What is not written stays. */
		address = zs_map_object(all->pool, all->handles[i], ZS_MM_RW);
		KUNIT_ASSERT_NOT_NULL(test, address);
		address[SIZE / 2] ^= 0xff;
		zs_unmap_object(all->pool, all->handles[i]);
		address = zsrs_map_object(all->behind, all->handles[i], ZSRS_MM_RW);
		KUNIT_ASSERT_NOT_NULL(test, address);
		address[SIZE / 2] ^= 0xff;
		bad += !zsrs_is_filled(all->contents, i, address, SIZE);
		zsrs_unmap_object(all->behind, all->handles[i]);

		address = zs_map_object(all->pool, all->handles[i], ZS_MM_WO);
		KUNIT_ASSERT_NOT_NULL(test, address);
		zsrs_fill(all->contents, i + 1, address, SIZE);
		zs_unmap_object(all->pool, all->handles[i]);
		bad += !zsrs_check_object(all->behind, all->handles[i], all->contents, i + 1, SIZE);
	}
	KUNIT_EXPECT_EQ_MSG(test, bad, 0u, "objects came back wrong");
	if (IS_ENABLED(CONFIG_COMPACTION))
		KUNIT_EXPECT_GT_MSG(test, zsrs_module_number("maps_bounced"), bounced,
				    "no object is split: modes were not tested");
	drop_shimmed(test, all);
}

static void sizes_and_classes(struct kunit *test)
{
	struct shimmed *all = need_shimmed(test);
	unsigned int size;

	KUNIT_EXPECT_EQ(test, zs_huge_class_size(all->pool), zsrs_huge_class_size(all->behind));
	KUNIT_EXPECT_GT(test, zs_huge_class_size(all->pool), (size_t)PAGE_SIZE / 2);
	for (size = 1; size <= PAGE_SIZE + 100; size++)
		KUNIT_ASSERT_EQ_MSG(test, zs_lookup_class_index(all->pool, size),
				    zsrs_lookup_class_index(all->behind, size), "size %u", size);
	KUNIT_EXPECT_NE(test, zs_lookup_class_index(all->pool, 100),
			zs_lookup_class_index(all->pool, 1000));
	drop_shimmed(test, all);
}

/* zs_compact() returns what goes; zs_pool_stats() what went in all. */
static void pages_that_go(struct kunit *test)
{
	struct shimmed *all = need_shimmed(test);
	struct zs_pool_stats stats;
	unsigned long before, won;
	unsigned int i, bad = 0;

	need_objects(test, all);
	for (i = 0; i < COUNT; i++)
		if (i % 3) {
			zs_free(all->pool, all->handles[i]);
			all->handles[i] = 0;
		}
	/* Nothing is added up: whatever is there is overwritten. */
	atomic_long_set(&stats.pages_compacted, 77);
	zs_pool_stats(all->pool, &stats);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&stats.pages_compacted), 0l);
	before = zs_get_total_pages(all->pool);
	KUNIT_EXPECT_GT(test, before, 0ul);
	KUNIT_EXPECT_EQ(test, before, zsrs_get_total_pages(all->behind));
	won = zs_compact(all->pool);
	KUNIT_EXPECT_GT(test, won, 0ul);
	KUNIT_EXPECT_EQ(test, zs_get_total_pages(all->pool), before - won);
	zs_pool_stats(all->pool, &stats);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&stats.pages_compacted), (long)won);
	KUNIT_EXPECT_EQ(test, zsrs_pages_compacted(all->behind), won);
	for (i = 0; i < COUNT; i += 3)
		bad += !zsrs_check_object(all->behind, all->handles[i], all->contents, i, SIZE);
	KUNIT_EXPECT_EQ_MSG(test, bad, 0u, "objects came back wrong");
	drop_shimmed(test, all);
}

/* The zpool type that zswap takes for C zsmalloc's. */
static void zpool_type(struct kunit *test)
{
	char type[] = "zsmalloc";

	if (IS_ENABLED(CONFIG_ZPOOL))
		KUNIT_EXPECT_TRUE(test, zpool_has_pool(type));
	else
		kunit_skip(test, "this kernel has no zpool: CONFIG_ZPOOL is off");
}

static struct kunit_case cases[] = {
	KUNIT_CASE(errors_of_malloc),
	KUNIT_CASE(maps_in_each_mode),
	KUNIT_CASE(sizes_and_classes),
	KUNIT_CASE(pages_that_go),
	KUNIT_CASE(zpool_type),
	{}
};

static struct kunit_suite zsrs_shim_suite = {
	.name = "zsrs_shim",
	.suite_init = zsrs_background_off,
	.suite_exit = zsrs_background_on,
	.init = zsrs_counters_init,
	.exit = zsrs_counters_exit,
	.test_cases = cases,
};
kunit_test_suite(zsrs_shim_suite);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("The zsmalloc_rs developers");
MODULE_DESCRIPTION("KUnit tests of the zsmalloc interface of zsmalloc_rs");
