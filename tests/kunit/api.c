// SPDX-License-Identifier: GPL-2.0
/*
 * Suite zsrs_api: what include/zsmalloc_rs.h promises, one caller at a time.
 */

#include <linux/sort.h>
#include "mover.h"
#include "suites.h"
#include "support.h"

/* The module's longest chain, unless it was loaded with another. */
#define CHAIN		8
#define HEADER		8u
#define MIN_SLOT	32u
#define STEP		((unsigned int)(PAGE_SIZE / 256))
#define LAST_INDEX	DIV_ROUND_UP((unsigned int)PAGE_SIZE - MIN_SLOT, STEP)

/* The shape of a size class, worked out here from the published rules. */
struct shape {
	unsigned int slot;
	unsigned int pages;
	unsigned int objs;
};

static struct shape shape_of(unsigned int index)
{
	struct shape shape = { .pages = 1 };
	unsigned int pages, least;

	shape.slot = min(MIN_SLOT + index * STEP, (unsigned int)PAGE_SIZE);
	least = PAGE_SIZE % shape.slot;
	/* A power of two wastes nothing in one page. */
	for (pages = 2; pages <= CHAIN && least; pages++) {
		unsigned int waste = pages * PAGE_SIZE % shape.slot;

		if (waste < least) {
			least = waste;
			shape.pages = pages;
		}
	}
	shape.objs = shape.pages * PAGE_SIZE / shape.slot;
	return shape;
}

/* The class of objects of @size bytes: rounded up, then merged upwards. */
static unsigned int index_of(unsigned int size)
{
	unsigned int slot = size + HEADER;
	unsigned int index;

	index = slot <= MIN_SLOT ? 0 : DIV_ROUND_UP(slot - MIN_SLOT, STEP);
	index = min(index, LAST_INDEX);
	while (index < LAST_INDEX) {
		struct shape this = shape_of(index), next = shape_of(index + 1);

		if (this.pages != next.pages || this.objs != next.objs)
			break;
		index++;
	}
	return index;
}

static unsigned long must_malloc_gfp(struct kunit *test, struct zsrs_pool *pool, size_t size,
				     gfp_t gfp)
{
	unsigned long handle = zsrs_malloc(pool, size, gfp);

	KUNIT_ASSERT_FALSE_MSG(test, IS_ERR_VALUE(handle), "malloc of %zu bytes: error %ld",
			       size, (long)handle);
	return handle;
}

static unsigned long must_malloc(struct kunit *test, struct zsrs_pool *pool, size_t size)
{
	return must_malloc_gfp(test, pool, size, GFP_KERNEL);
}

/* Objects filled by their numbers are checked and freed. Returns how many are wrong. */
static unsigned int check_and_free(struct zsrs_pool *pool, const unsigned long *handles,
				   unsigned int count, struct zsrs_contents *contents, size_t size)
{
	unsigned int i, bad = 0;

	for (i = 0; i < count; i++) {
		bad += !zsrs_check_object(pool, handles[i], contents, i, size);
		zsrs_free(pool, handles[i]);
	}
	return bad;
}

static void no_name(struct kunit *test)
{
	KUNIT_EXPECT_NULL(test, zsrs_create_pool(NULL));
	KUNIT_EXPECT_NULL(test, zsrs_create_evictable_pool(NULL, NULL, NULL));
}

static void wrong_sizes(struct kunit *test)
{
	struct zsrs_pool *pool = zsrs_need_pool(test, "wrong_sizes");
	static const size_t above[] = { PAGE_SIZE + 1, 2 * PAGE_SIZE, SIZE_MAX / 2, SIZE_MAX };
	int i;

	KUNIT_EXPECT_EQ(test, zsrs_malloc(pool, 0, GFP_KERNEL), (unsigned long)-EINVAL);
	for (i = 0; i < ARRAY_SIZE(above); i++)
		KUNIT_EXPECT_EQ(test, zsrs_malloc(pool, above[i], GFP_KERNEL),
				(unsigned long)-ENOSPC);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(pool), 0ul);
	zsrs_destroy_pool(pool);
}

/* One object of every size, each written and read in every mode. */
static void every_size(struct kunit *test)
{
	struct zsrs_pool *pool = zsrs_need_pool(test, "every_size");
	struct zsrs_contents *contents = zsrs_contents_new(1);
	unsigned long *handles = vcalloc(PAGE_SIZE + 1, sizeof(*handles));
	unsigned int size, bad = 0;

	KUNIT_ASSERT_NOT_NULL(test, contents);
	KUNIT_ASSERT_NOT_NULL(test, handles);
	for (size = 1; size <= PAGE_SIZE; size++) {
		unsigned long handle = must_malloc(test, pool, size);
		void *address;

		KUNIT_ASSERT_NE(test, handle, 0ul);
		KUNIT_ASSERT_EQ(test, handle % sizeof(u64), 0ul);
		handles[size] = handle;
		bad += !zsrs_write_object(pool, handle, ZSRS_MM_WO, contents, size, size);
		bad += !zsrs_check_object(pool, handle, contents, size, size);

		/* RW: what was there is seen, and what is written stays. */
		address = zsrs_map_object(pool, handle, ZSRS_MM_RW);
		KUNIT_ASSERT_NOT_NULL(test, address);
		bad += !zsrs_is_filled(contents, size, address, size);
		zsrs_fill(contents, ~size, address, size);
		zsrs_unmap_object(pool, handle);
		bad += !zsrs_check_object(pool, handle, contents, ~size, size);
		KUNIT_ASSERT_EQ_MSG(test, bad, 0, "an object of %u bytes came back wrong", size);
	}
	/* Nothing written later has touched an object written before. */
	for (size = 1; size <= PAGE_SIZE; size++) {
		bad += !zsrs_check_object(pool, handles[size], contents, ~size, size);
		KUNIT_ASSERT_EQ_MSG(test, bad, 0, "the object of %u bytes was overwritten", size);
	}
	for (size = 1; size <= PAGE_SIZE; size++)
		zsrs_free(pool, handles[size]);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(pool), 0ul);
	vfree(handles);
	kfree(contents);
	zsrs_destroy_pool(pool);
}

/* Bug 13: a size goes to the right class, exhaustively. */
static void class_of_every_size(struct kunit *test)
{
	struct zsrs_pool *pool = zsrs_need_pool(test, "class_of_every_size");
	unsigned int size, index, seen = 0, last = UINT_MAX;

	for (size = 1; size <= PAGE_SIZE + 2 * STEP; size++) {
		index = zsrs_lookup_class_index(pool, size);
		KUNIT_ASSERT_EQ_MSG(test, index, index_of(size), "size %u", size);
		seen += index != last;
		last = index;
		if (size <= PAGE_SIZE && shape_of(index).objs > 1)
			KUNIT_ASSERT_GE_MSG(test, shape_of(index).slot, size + HEADER,
					    "class %u is too small for %u bytes", index, size);
	}
	KUNIT_EXPECT_GT(test, seen, 100u);
	KUNIT_EXPECT_EQ(test, last, LAST_INDEX);
	zsrs_destroy_pool(pool);
}

static void huge_class_size(struct kunit *test)
{
	struct zsrs_pool *pool = zsrs_need_pool(test, "huge_class_size");
	size_t huge = zsrs_huge_class_size(pool);
	unsigned int index = LAST_INDEX;
	unsigned long handles[8];
	size_t sizes[] = { huge, huge + 1, (huge + PAGE_SIZE) / 2, PAGE_SIZE - 9, PAGE_SIZE - 8,
			   PAGE_SIZE - 7, PAGE_SIZE - 1, PAGE_SIZE };
	int i;

	/* The largest class whose zspages hold several objects on several pages. */
	while (shape_of(index).objs == 1 || shape_of(index).pages == 1)
		index--;
	KUNIT_EXPECT_EQ(test, huge, (size_t)shape_of(index).slot - HEADER + 1);

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		void *address;

		handles[i] = must_malloc(test, pool, sizes[i]);
		KUNIT_EXPECT_EQ_MSG(test, zsrs_get_total_pages(pool), i + 1ul,
				    "%zu bytes take a page", sizes[i]);
		address = zsrs_map_object(pool, handles[i], ZSRS_MM_RW);
		KUNIT_ASSERT_NOT_NULL(test, address);
		zsrs_unmap_object(pool, handles[i]);
		KUNIT_EXPECT_TRUE_MSG(test, PAGE_ALIGNED(address),
				      "%zu bytes have a page of their own", sizes[i]);
	}
	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		zsrs_free(pool, handles[i]);

	/* One byte less shares. */
	handles[0] = must_malloc(test, pool, huge - 1);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(pool), (unsigned long)shape_of(index).pages);
	zsrs_free(pool, handles[0]);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(pool), 0ul);
	zsrs_destroy_pool(pool);
}

/*
 * Two zspages of every class, filled with the smallest objects that go there:
 * they take as many pages as the class says, and no write goes past the end of
 * an object (bug 8), whatever the page it ends on.
 */
static void every_class_full(struct kunit *test)
{
	struct zsrs_pool *pool = zsrs_need_pool(test, "every_class_full");
	struct zsrs_contents *contents = zsrs_contents_new(2);
	unsigned long *handles = vcalloc(2 * CHAIN * PAGE_SIZE / MIN_SLOT, sizeof(*handles));
	unsigned int size, last = UINT_MAX;

	KUNIT_ASSERT_NOT_NULL(test, contents);
	KUNIT_ASSERT_NOT_NULL(test, handles);
	for (size = 1; size <= PAGE_SIZE; size++) {
		unsigned int index = index_of(size), bad = 0, i;
		struct shape shape = shape_of(index);

		if (index == last)
			continue;
		last = index;
		for (i = 0; i < 2 * shape.objs; i++) {
			unsigned long zspages = i / shape.objs + 1;

			handles[i] = must_malloc(test, pool, size);
			KUNIT_ASSERT_EQ_MSG(test, zsrs_get_total_pages(pool), zspages * shape.pages,
					    "%u objects of %u bytes", i + 1, size);
			bad += !zsrs_write_object(pool, handles[i], ZSRS_MM_WO, contents, i, size);
		}
		/* Backwards, so that what a write spills would be seen here or below. */
		for (i = 2 * shape.objs; i--;)
			bad += !zsrs_write_object(pool, handles[i], ZSRS_MM_RW, contents, i + 1, size);
		for (i = 0; i < 2 * shape.objs; i++)
			bad += !zsrs_check_object(pool, handles[i], contents, i + 1, size);
		KUNIT_ASSERT_EQ_MSG(test, bad, 0, "objects of %u bytes in full zspages", size);

		/* Every second slot is freed, taken again, and leaves the others alone. */
		for (i = 0; i < 2 * shape.objs; i += 2)
			zsrs_free(pool, handles[i]);
		for (i = 0; i < 2 * shape.objs; i += 2) {
			handles[i] = must_malloc(test, pool, size);
			bad += !zsrs_write_object(pool, handles[i], ZSRS_MM_WO, contents, i + 1, size);
		}
		for (i = 0; i < 2 * shape.objs; i++) {
			bad += !zsrs_check_object(pool, handles[i], contents, i + 1, size);
			zsrs_free(pool, handles[i]);
		}
		KUNIT_ASSERT_EQ_MSG(test, bad, 0, "objects of %u bytes in slots used again", size);
		KUNIT_ASSERT_EQ(test, zsrs_get_total_pages(pool), 0ul);
	}
	vfree(handles);
	kfree(contents);
	zsrs_destroy_pool(pool);
}

/* Objects that lie in two pages. */
struct spanning {
	unsigned int in_place;
	unsigned int split;
};

/*
 * Objects in two pages that are not adjacent are put together in a buffer. It
 * is the same for all of them on one CPU: that is how they are told here.
 */
static struct spanning spanning_objects(struct kunit *test, bool scatter)
{
	enum { COUNT = 1200, SIZE = PAGE_SIZE * 5 / 12 };
	struct zsrs_pool *pool = zsrs_need_pool(test, "spanning_objects");
	struct zsrs_contents *contents = zsrs_contents_new(3);
	unsigned long *handles = vcalloc(COUNT, sizeof(*handles));
	unsigned int i, in_place = 0, spanning = 0, split = 0, bad = 0, nulls = 0;
	unsigned int one, other;
	const void *buffer;
	long bounced;

	KUNIT_ASSERT_NOT_NULL(test, contents);
	KUNIT_ASSERT_NOT_NULL(test, handles);
	for (i = 0; i < COUNT; i++) {
		handles[i] = must_malloc(test, pool, SIZE);
		bad += !zsrs_write_object(pool, handles[i], ZSRS_MM_WO, contents, i, SIZE);
	}
	for (i = 0; i < COUNT && scatter; i += 3)
		zsrs_move_object(pool, handles[i]);
	KUNIT_ASSERT_EQ_MSG(test, bad, 0, "objects could not be mapped");

	migrate_disable();
	buffer = zsrs_find_buffer(pool, handles, COUNT, &one, &other);
	bounced = zsrs_module_number("maps_bounced");
	for (i = 0; i < COUNT; i++) {
		u8 *address = zsrs_map_object(pool, handles[i], ZSRS_MM_RO);

		if (!address) {
			nulls++;
			continue;
		}
		bad += !virt_addr_valid(address);
		bad += !zsrs_is_filled(contents, i, address, SIZE);
		if (address != buffer) {
			in_place++;
			spanning += offset_in_page(address) + SIZE > PAGE_SIZE;
			zsrs_unmap_object(pool, handles[i]);
			continue;
		}
		split++;
		/* RO: what is written to the buffer must not reach the object. */
		memset(address, 0x5a, SIZE);
		zsrs_unmap_object(pool, handles[i]);
		bad += !zsrs_check_object(pool, handles[i], contents, i, SIZE);
		/* RW: a change in the middle reaches it, and the rest stays. */
		address = zsrs_map_object(pool, handles[i], ZSRS_MM_RW);
		bad += !zsrs_is_filled(contents, i, address, SIZE);
		address[SIZE / 2] ^= 0xff;
		zsrs_unmap_object(pool, handles[i]);
		bad += zsrs_check_object(pool, handles[i], contents, i, SIZE);
		/* WO: all of it is replaced. */
		bad += !zsrs_write_object(pool, handles[i], ZSRS_MM_WO, contents, i, SIZE);
		bad += !zsrs_check_object(pool, handles[i], contents, i, SIZE);
	}
	migrate_enable();
	/* Each of these was mapped six times. */
	KUNIT_EXPECT_EQ(test, zsrs_module_number("maps_bounced"), bounced + 6 * split);

	kunit_info(test, "%u in place (%u of them over two adjacent pages), %u split",
		   in_place, spanning, split);
	KUNIT_EXPECT_EQ_MSG(test, nulls, 0u, "objects that could not be mapped");
	bad += check_and_free(pool, handles, COUNT, contents, SIZE);
	KUNIT_EXPECT_EQ_MSG(test, bad, 0u, "objects came back wrong");
	vfree(handles);
	kfree(contents);
	zsrs_destroy_pool(pool);
	return (struct spanning){ .in_place = spanning, .split = split };
}

/* Where pages have moved, those of a zspage are not adjacent. */
static void spanning_in_scattered_memory(struct kunit *test)
{
	if (!IS_ENABLED(CONFIG_COMPACTION))
		kunit_skip(test, "this kernel moves no pages: CONFIG_COMPACTION is off");
	KUNIT_EXPECT_GT_MSG(test, spanning_objects(test, true).split, 1u,
			    "no object is split: this has tested nothing");
}

/* Pages that are adjacent by chance, as most are after boot, need no buffer. */
static void spanning_in_any_memory(struct kunit *test)
{
	struct spanning seen = spanning_objects(test, false);

	if (!IS_ENABLED(CONFIG_KMSAN))
		KUNIT_EXPECT_GT_MSG(test, seen.in_place, 0u,
				    "no object over two pages is mapped in place");
}

/*
 * Where free pages lie apart, pages of a zspage are taken as a block that is
 * split. What flags the caller has must not matter.
 */
static void blocks_with_compound_flag(struct kunit *test)
{
	enum { PAGES = 1024, COUNT = 600, SIZE = PAGE_SIZE * 5 / 12 };
	struct zsrs_pool *pool = zsrs_need_pool(test, "compound_flag");
	struct zsrs_contents *contents = zsrs_contents_new(3);
	struct page **pages = kunit_kcalloc(test, PAGES, sizeof(*pages), GFP_KERNEL);
	unsigned long *handles = kunit_kcalloc(test, COUNT, sizeof(*handles), GFP_KERNEL);
	unsigned int i, bad = 0;

	KUNIT_ASSERT_NOT_NULL(test, contents);
	KUNIT_ASSERT_NOT_NULL(test, pages);
	KUNIT_ASSERT_NOT_NULL(test, handles);
	for (i = 0; i < PAGES; i++)
		pages[i] = alloc_page(GFP_KERNEL);
	/* Those that are allocated next: every other one. */
	for (i = 0; i < PAGES; i += 2)
		if (pages[i])
			__free_page(pages[i]);
	for (i = 0; i < COUNT; i++) {
		handles[i] = must_malloc_gfp(test, pool, SIZE, GFP_KERNEL | __GFP_COMP);
		bad += !zsrs_write_object(pool, handles[i], ZSRS_MM_WO, contents, i, SIZE);
	}
	for (i = 1; i < PAGES; i += 2)
		if (pages[i])
			__free_page(pages[i]);
	bad += check_and_free(pool, handles, COUNT, contents, SIZE);
	KUNIT_EXPECT_EQ_MSG(test, bad, 0u, "objects came back wrong");
	kfree(contents);
	zsrs_destroy_pool(pool);
}

static void two_pools(struct kunit *test)
{
	enum { COUNT = 1000 };
	struct zsrs_pool *pools[2] = { zsrs_need_pool(test, "first"),
				       zsrs_need_pool(test, "second") };
	struct zsrs_contents *contents = zsrs_contents_new(4);
	unsigned long *handles = vcalloc(COUNT, sizeof(*handles));
	struct rnd_state rnd;
	unsigned long pages;
	unsigned int i, bad = 0;

	KUNIT_ASSERT_NOT_NULL(test, contents);
	KUNIT_ASSERT_NOT_NULL(test, handles);
	for (i = 0; i < COUNT; i++) {
		size_t size = 100 + 37 * (i / 2);

		size = min(size, PAGE_SIZE);
		handles[i] = must_malloc(test, pools[i % 2], size);
		bad += !zsrs_write_object(pools[i % 2], handles[i], ZSRS_MM_WO, contents, i, size);
	}
	pages = zsrs_get_total_pages(pools[1]);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(pools[0]), pages);
	/* The first pool goes, the second stays as it is. */
	for (i = 0; i < COUNT; i += 2)
		zsrs_free(pools[0], handles[i]);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(pools[0]), 0ul);
	zsrs_destroy_pool(pools[0]);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(pools[1]), pages);
	/* Memory that the first pool gave back is used by others. */
	prandom_seed_state(&rnd, 4);
	for (i = 0; i < 100; i++) {
		size_t size = zsrs_realistic_size(&rnd);
		void *memory = kmalloc(size, GFP_KERNEL);

		if (memory)
			memset(memory, 0xee, size);
		kfree(memory);
	}
	for (i = 1; i < COUNT; i += 2) {
		size_t size = 100 + 37 * (i / 2);

		size = min(size, PAGE_SIZE);
		bad += !zsrs_check_object(pools[1], handles[i], contents, i, size);
		zsrs_free(pools[1], handles[i]);
	}
	KUNIT_EXPECT_EQ(test, bad, 0u);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(pools[1]), 0ul);
	zsrs_destroy_pool(pools[1]);
	vfree(handles);
	kfree(contents);
}

static int compare_handles(const void *a, const void *b)
{
	unsigned long left = *(const unsigned long *)a, right = *(const unsigned long *)b;

	return left < right ? -1 : left > right;
}

/* No handle is given out twice, and the counters follow each object. */
static void handles_are_unique(struct kunit *test)
{
	enum { COUNT = 20000 };
	struct zsrs_pool *pool = zsrs_need_pool(test, "handles_are_unique");
	unsigned long *handles = vcalloc(COUNT, sizeof(*handles));
	const struct zsrs_counters *before = test->priv;
	struct zsrs_counters now;
	unsigned int i, twice = 0, odd = 0;

	KUNIT_ASSERT_NOT_NULL(test, handles);
	for (i = 0; i < COUNT; i++)
		handles[i] = must_malloc(test, pool, 1 + i % 200);
	/* Some come back first and are used again. */
	for (i = 0; i < COUNT; i += 3)
		zsrs_free(pool, handles[i]);
	for (i = 0; i < COUNT; i += 3)
		handles[i] = must_malloc(test, pool, 1 + i % 300);

	KUNIT_ASSERT_EQ(test, zsrs_read_counters(&now), 0);
	KUNIT_EXPECT_EQ(test, now.words_live, before->words_live + COUNT);
	KUNIT_EXPECT_EQ(test, now.pools, before->pools + 1);
	KUNIT_EXPECT_EQ(test, now.pages_live,
			before->pages_live + (long)zsrs_get_total_pages(pool));
	KUNIT_EXPECT_EQ(test, now.nr_zspages,
			before->nr_zspages + (long)zsrs_get_total_pages(pool));
	KUNIT_EXPECT_GE(test, now.word_pages, COUNT / (long)(PAGE_SIZE / sizeof(u64)));

	sort(handles, COUNT, sizeof(*handles), compare_handles, NULL);
	for (i = 0; i < COUNT; i++) {
		odd += handles[i] % sizeof(u64) || !handles[i];
		twice += i && handles[i] == handles[i - 1];
	}
	KUNIT_EXPECT_EQ(test, odd, 0u);
	KUNIT_EXPECT_EQ(test, twice, 0u);
	for (i = 0; i < COUNT; i++)
		zsrs_free(pool, handles[i]);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(pool), 0ul);
	vfree(handles);
	zsrs_destroy_pool(pool);
}

/* What the module's and the pool's statistics say of objects of one size, in a pool of its own. */
static void statistics(struct kunit *test)
{
	/* Words for several pages. A slot is larger by a header and a step or two of the classes. */
	enum { COUNT = PAGE_SIZE, FREED = 10, SIZE = 400, SLOT_MAX = SIZE + 8 + PAGE_SIZE / 128 };
	struct zsrs_pool *pool = zsrs_need_pool(test, "statistics");
	unsigned long *handles = vcalloc(COUNT, sizeof(*handles));
	long chained = zsrs_module_number("pages_chained_adjacent") +
		       zsrs_module_number("pages_chained_apart");
	const struct zsrs_counters *before = test->priv;
	long metadata = zsrs_module_number("metadata_bytes");
	long metadata_pages = before->word_pages + before->zspage_pages;
	struct zsrs_counters now;
	long pages, free_bytes, rest;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, handles);
	for (i = 0; i < COUNT; i++)
		handles[i] = must_malloc(test, pool, SIZE);
	KUNIT_ASSERT_EQ(test, zsrs_read_counters(&now), 0);
	pages = now.pages_live - before->pages_live;
	KUNIT_EXPECT_EQ(test, zsrs_pool_number("statistics", "pages"), pages);
	KUNIT_EXPECT_EQ(test, zsrs_pool_number("statistics", "objects"), (long)COUNT);
	/* All pages but the first of each zspage follow another. */
	KUNIT_EXPECT_EQ(test,
			zsrs_module_number("pages_chained_adjacent") +
				zsrs_module_number("pages_chained_apart") - chained,
			pages - (now.zspages_live - before->zspages_live));
	/* Words and descriptors lie in pages; the rest, buffers and magazines, does not grow. */
	rest = metadata - metadata_pages * (long)PAGE_SIZE;
	KUNIT_EXPECT_GE(test, rest, (long)(num_online_cpus() * PAGE_SIZE));
	KUNIT_EXPECT_LT(test, rest, (long)(num_possible_cpus() * 2 * PAGE_SIZE));
	KUNIT_EXPECT_GT(test, now.word_pages + now.zspage_pages, metadata_pages);
	metadata_pages = now.word_pages + now.zspage_pages;
	KUNIT_EXPECT_EQ(test, zsrs_module_number("metadata_bytes"),
			rest + metadata_pages * (long)PAGE_SIZE);

	/* So far apart that none of them empties a zspage. */
	free_bytes = zsrs_pool_number("statistics", "free_slot_bytes");
	for (i = 0; i < FREED; i++) {
		zsrs_free(pool, handles[i * 100]);
		handles[i * 100] = 0;
	}
	KUNIT_EXPECT_EQ(test, zsrs_pool_number("statistics", "pages"), pages);
	free_bytes = zsrs_pool_number("statistics", "free_slot_bytes") - free_bytes;
	KUNIT_EXPECT_EQ(test, free_bytes % FREED, 0l);
	KUNIT_EXPECT_GE(test, free_bytes / FREED, (long)SIZE);
	KUNIT_EXPECT_LE(test, free_bytes / FREED, (long)SLOT_MAX);

	for (i = 0; i < COUNT; i++)
		if (handles[i])
			zsrs_free(pool, handles[i]);
	KUNIT_EXPECT_EQ(test, zsrs_pool_number("statistics", "free_slot_bytes"), 0l);
	vfree(handles);
	zsrs_destroy_pool(pool);
}

/* Bug 15: from map to unmap the task cannot be preempted, and after it can. */
static void map_keeps_the_cpu(struct kunit *test)
{
	struct zsrs_pool *pool = zsrs_need_pool(test, "map_keeps_the_cpu");
	unsigned long handles[3] = { must_malloc(test, pool, 40), must_malloc(test, pool, 1700),
				     must_malloc(test, pool, PAGE_SIZE) };
	int i;

	for (i = 0; i < ARRAY_SIZE(handles); i++) {
		int before = preempt_count(), during;
		void *address = zsrs_map_object(pool, handles[i], ZSRS_MM_RO);

		during = preempt_count();
		zsrs_unmap_object(pool, handles[i]);
		KUNIT_EXPECT_NOT_NULL(test, address);
		if (IS_ENABLED(CONFIG_PREEMPT_COUNT) && !IS_ENABLED(CONFIG_PREEMPT_RT))
			KUNIT_EXPECT_GT(test, during, before);
		KUNIT_EXPECT_EQ(test, preempt_count(), before);
	}
	for (i = 0; i < ARRAY_SIZE(handles); i++)
		zsrs_free(pool, handles[i]);
	zsrs_destroy_pool(pool);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(no_name),
	KUNIT_CASE(wrong_sizes),
	KUNIT_CASE(every_size),
	KUNIT_CASE(class_of_every_size),
	KUNIT_CASE(huge_class_size),
	KUNIT_CASE(every_class_full),
	KUNIT_CASE(spanning_in_any_memory),
	KUNIT_CASE(blocks_with_compound_flag),
	KUNIT_CASE(spanning_in_scattered_memory),
	KUNIT_CASE(two_pools),
	KUNIT_CASE(handles_are_unique),
	KUNIT_CASE(statistics),
	KUNIT_CASE(map_keeps_the_cpu),
	{}
};

struct kunit_suite zsrs_api_suite = {
	.name = "zsrs_api",
	.suite_init = zsrs_background_off,
	.suite_exit = zsrs_background_on,
	.init = zsrs_counters_init,
	.exit = zsrs_counters_exit,
	.test_cases = cases,
};
