// SPDX-License-Identifier: GPL-2.0
/*
 * Suite zsrs_compact: zsrs_compact() returns what it says, moves contents whole,
 * and works beside others (bugs 6, 7 and 10).
 */

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/pagemap.h>
#include "mapper.h"
#include "mover.h"
#include "suites.h"
#include "support.h"

enum { OBJECTS = 40000 };

/* Objects of realistic sizes of which a random half was freed. */
struct holes {
	struct zsrs_pool *pool;
	struct zsrs_contents *contents;
	unsigned long *handles;
	u32 *sizes;
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
	unsigned long handle, returned;

	KUNIT_EXPECT_EQ(test, zsrs_compact(pool), 0ul);
	handle = zsrs_malloc(pool, 100, GFP_KERNEL);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(handle));
	/* One object needs one page of its zspage. */
	returned = zsrs_get_total_pages(pool) - 1;
	KUNIT_EXPECT_EQ(test, zsrs_compact(pool), returned);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(pool), 1ul);
	KUNIT_EXPECT_EQ(test, zsrs_compact(pool), 0ul);
	zsrs_free(pool, handle);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(pool), 0ul);
	KUNIT_EXPECT_EQ(test, zsrs_pages_compacted(pool), returned);
	zsrs_destroy_pool(pool);
}

/* Sizes of classes with several pages in a zspage, for any size of pages. */
static const size_t chained[] = {
	PAGE_SIZE / 40, PAGE_SIZE / 7, PAGE_SIZE / 5, PAGE_SIZE * 2 / 7, PAGE_SIZE * 2 / 5,
	PAGE_SIZE * 5 / 8, PAGE_SIZE * 5 / 7, PAGE_SIZE * 4 / 5,
};

/* Objects of one size, allocated and freed one by one. */
struct row {
	struct zsrs_pool *pool;
	struct zsrs_contents *contents;
	unsigned long *handles;
	unsigned int count;
	size_t size;
};

static void make_row(struct kunit *test, struct row *row, const char *name, size_t size,
		     unsigned int count)
{
	row->pool = zsrs_need_pool(test, name);
	row->contents = zsrs_contents_new(17);
	row->handles = kunit_kcalloc(test, count, sizeof(*row->handles), GFP_KERNEL);
	row->count = count;
	row->size = size;
	KUNIT_ASSERT_NOT_NULL(test, row->contents);
	KUNIT_ASSERT_NOT_NULL(test, row->handles);
}

static void row_add(struct kunit *test, struct row *row, unsigned int i)
{
	row->handles[i] = zsrs_malloc(row->pool, row->size, GFP_KERNEL);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(row->handles[i]));
	KUNIT_ASSERT_TRUE(test, zsrs_write_object(row->pool, row->handles[i], ZSRS_MM_WO,
						  row->contents, i, row->size));
}

static void row_check(struct kunit *test, const struct row *row)
{
	unsigned int i, bad = 0;

	for (i = 0; i < row->count; i++)
		if (row->handles[i])
			bad += !zsrs_check_object(row->pool, row->handles[i], row->contents, i,
						  row->size);
	KUNIT_EXPECT_EQ_MSG(test, bad, 0u, "objects of %zu bytes came back wrong", row->size);
}

static void row_remove(struct row *row, unsigned int i)
{
	zsrs_free(row->pool, row->handles[i]);
	row->handles[i] = 0;
}

static void drop_row(struct kunit *test, struct row *row)
{
	unsigned int i;

	row_check(test, row);
	for (i = 0; i < row->count; i++)
		if (row->handles[i])
			row_remove(row, i);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(row->pool), 0ul);
	zsrs_destroy_pool(row->pool);
	kfree(row->contents);
}

/* The most pages that @count objects of this size need: slots are up to an eighth larger. */
static unsigned long pages_for(const struct row *row, unsigned int count)
{
	size_t slot = (row->size + 8) * 9 / 8 + PAGE_SIZE / 256;

	return DIV_ROUND_UP(count * slot, PAGE_SIZE);
}

/* A zspage that has given up its last pages gets them back one by one, before another is opened. */
static void pages_come_back_one_by_one(struct kunit *test)
{
	enum { COUNT = 200 };
	unsigned int which, i;

	for (which = 0; which < ARRAY_SIZE(chained); which++) {
		unsigned long before, after;
		struct row row;

		make_row(test, &row, "pages_come_back", chained[which], COUNT);
		row_add(test, &row, 0);
		zsrs_compact(row.pool);
		for (i = 1; i < COUNT; i++) {
			before = zsrs_get_total_pages(row.pool);
			row_add(test, &row, i);
			after = zsrs_get_total_pages(row.pool);
			/* Its zspage has one of several pages. */
			if (before == 1)
				KUNIT_EXPECT_LE(test, after, 2ul);
			zsrs_compact(row.pool);
			KUNIT_EXPECT_LE_MSG(test, zsrs_get_total_pages(row.pool),
					    pages_for(&row, i + 1), "%u objects of %zu bytes",
					    i + 1, row.size);
		}
		row_check(test, &row);
		/* In an order that leaves holes everywhere. */
		for (i = 0; i < COUNT - 1; i++) {
			row_remove(&row, i * 77 % COUNT);
			zsrs_compact(row.pool);
			KUNIT_EXPECT_LE_MSG(test, zsrs_get_total_pages(row.pool),
					    pages_for(&row, COUNT - 1 - i),
					    "%u objects of %zu bytes", COUNT - 1 - i, row.size);
			if (i % 16 == 0)
				row_check(test, &row);
		}
		drop_row(test, &row);
	}
}

/* Objects do not move there and back between a zspage that lacks pages and a whole one. */
static void compaction_ends(struct kunit *test)
{
	static const size_t sizes[] = { 40, 72, 88, 104, 136, 152, 216 };
	enum { COUNT = 600 };
	unsigned int which, i, kept, freed;

	for (which = 0; which < ARRAY_SIZE(sizes); which++) {
		struct row row;

		make_row(test, &row, "compaction_ends", sizes[which] * (PAGE_SIZE / SZ_4K), COUNT);
		for (kept = 260; kept < COUNT; kept += 20) {
			for (i = 0; i < kept; i++)
				row_add(test, &row, i);
			zsrs_compact(row.pool);
			for (freed = 0; freed < kept; freed += 40) {
				for (i = freed; i < min(freed + 40, kept); i++)
					row_remove(&row, i);
				zsrs_compact(row.pool);
			}
			KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(row.pool), 0ul);
		}
		drop_row(test, &row);
	}
}

/*
 * Of two zspages one is full on its first pages, where the others are gone, and of
 * the other some objects are freed. More of the first have to leave its last pages
 * than move at a time: they do not come back in between.
 */
static void shortening_ends(struct kunit *test)
{
	static const size_t sizes[] = { 72, 100, 136 };
	enum { MOST = 2 * PAGE_SIZE / 16 };
	unsigned int which, page, eighths, i;

	for (which = 0; which < ARRAY_SIZE(sizes); which++) {
		unsigned int whole, kept;
		unsigned long pages;
		struct row row;

		make_row(test, &row, "shortening_ends", sizes[which] * (PAGE_SIZE / SZ_4K), MOST);
		whole = zsrs_fill_zspage(test, row.pool, row.contents, row.size, row.handles, MOST / 2);
		pages = zsrs_get_total_pages(row.pool);
		for (i = 0; i < whole; i++)
			row_remove(&row, i);
		for (page = 1; page < pages; page++) {
			kept = whole + whole * page / pages;
			for (eighths = 1; eighths < 8; eighths++) {
				for (i = 0; i < kept; i++)
					row_add(test, &row, i);
				zsrs_compact(row.pool);
				for (i = 0; i < whole * eighths / 8; i++)
					row_remove(&row, i);
				zsrs_compact(row.pool);
				for (; i < kept; i++)
					row_remove(&row, i);
			}
		}
		drop_row(test, &row);
	}
}

/* Frees of any pattern, over a few zspages. */
static void any_pattern_ends(struct kunit *test)
{
	enum { TIMES = 600 };
	struct rnd_state rnd;
	unsigned int which, i;

	prandom_seed_state(&rnd, 4711);
	for (which = 0; which < TIMES; which++) {
		size_t size = 24 + zsrs_below(&rnd, which % 3 ? PAGE_SIZE / 20 : PAGE_SIZE / 2);
		unsigned int count = 1 + zsrs_below(&rnd, 24 * PAGE_SIZE / size);
		unsigned int rounds = 1 + zsrs_below(&rnd, 5);
		struct row row;

		make_row(test, &row, "any_pattern_ends", size, count);
		for (i = 0; i < count; i++)
			row_add(test, &row, i);
		while (rounds--) {
			unsigned int percent = zsrs_below(&rnd, 100);
			unsigned int from = zsrs_below(&rnd, count);
			unsigned int to = from + zsrs_below(&rnd, count - from + 1);

			for (i = 0; i < count; i++) {
				bool goes = rounds & 1 ? zsrs_below(&rnd, 100) < percent :
							 i >= from && i < to;

				if (goes && row.handles[i])
					row_remove(&row, i);
				else if (!row.handles[i] && zsrs_below(&rnd, 5) == 0)
					row_add(test, &row, i);
			}
			zsrs_compact(row.pool);
		}
		drop_row(test, &row);
	}
}

/* An object in use keeps the pages it lies on, and the others keep what they hold. */
static void last_page_in_use(struct kunit *test)
{
	enum { COUNT = 40 };
	struct zsrs_mapper mapper = { .number = COUNT - 1 };
	unsigned long busy, idle;
	unsigned int which, i;

	zsrs_need_two_cpus(test);
	for (which = 0; which < ARRAY_SIZE(chained); which++) {
		struct row row;

		make_row(test, &row, "last_page_in_use", chained[which], COUNT);
		for (i = 0; i < COUNT; i++)
			row_add(test, &row, i);
		for (i = 0; i < COUNT - 2; i++)
			row_remove(&row, i);
		mapper.pool = row.pool;
		mapper.handle = row.handles[COUNT - 1];
		mapper.contents = row.contents;
		mapper.size = row.size;
		zsrs_mapper_start(test, &mapper);
		zsrs_compact(row.pool);
		busy = zsrs_get_total_pages(row.pool);
		/* Free slots are still good ones. */
		for (i = 0; i < COUNT - 2; i++)
			row_add(test, &row, i);
		for (i = 0; i < COUNT - 2; i++)
			row_remove(&row, i);
		KUNIT_EXPECT_TRUE_MSG(test, zsrs_mapper_stop(&mapper),
				      "the object could not be mapped, or was wrong");
		zsrs_compact(row.pool);
		idle = zsrs_get_total_pages(row.pool);
		KUNIT_EXPECT_LE(test, idle, busy);
		KUNIT_EXPECT_LE(test, idle, pages_for(&row, 2));
		drop_row(test, &row);
	}
}

/* A page that somebody else has locked stays, and stays locked. */
static void last_page_locked(struct kunit *test)
{
	enum { COUNT = 200 };
	unsigned int which, i, last;

	for (which = 0; which < ARRAY_SIZE(chained); which++) {
		struct page *page = NULL;
		struct row row;

		make_row(test, &row, "last_page_locked", chained[which], COUNT);
		/* Up to an object on a page after the first. */
		for (last = 0; last < COUNT; last++) {
			row_add(test, &row, last);
			page = zsrs_page_of(row.pool, row.handles[last]);
			if (page && page != zsrs_page_of(row.pool, row.handles[0]))
				break;
		}
		KUNIT_ASSERT_LT(test, last, (unsigned int)COUNT);
		get_page(page);
		KUNIT_ASSERT_TRUE(test, trylock_page(page));
		for (i = 1; i < last; i++)
			row_remove(&row, i);
		zsrs_compact(row.pool);
		KUNIT_EXPECT_TRUE_MSG(test, PageLocked(page), "%zu bytes: somebody unlocked it",
				      row.size);
		KUNIT_EXPECT_GE(test, zsrs_get_total_pages(row.pool), 2ul);
		row_check(test, &row);
		if (PageLocked(page))
			unlock_page(page);
		/* Somebody has a reference still. */
		zsrs_compact(row.pool);
		put_page(page);
		KUNIT_EXPECT_LE(test, zsrs_get_total_pages(row.pool), pages_for(&row, 2));
		drop_row(test, &row);
	}
}

/*
 * A zspage whose objects have moved waits for who has a page of it locked. It is
 * used again, from its first slot on, and its objects move again.
 */
static void emptied_while_locked(struct kunit *test)
{
	enum { MOST = 1000, ROUNDS = 3 };
	unsigned int which, round, whole, i;

	for (which = 0; which < ARRAY_SIZE(chained); which++) {
		unsigned long pages;
		struct page *page;
		struct row row;

		make_row(test, &row, "emptied_locked", chained[which], MOST);
		whole = zsrs_fill_zspage(test, row.pool, row.contents, row.size, row.handles,
					 MOST / 2);
		pages = zsrs_get_total_pages(row.pool);
		for (i = whole; i < 2 * whole; i++)
			row_add(test, &row, i);
		page = zsrs_page_of(row.pool, row.handles[0]);
		KUNIT_ASSERT_NOT_NULL(test, page);
		get_page(page);
		KUNIT_ASSERT_TRUE(test, trylock_page(page));
		for (round = 0; round < ROUNDS; round++) {
			KUNIT_EXPECT_PTR_EQ(test, zsrs_page_of(row.pool, row.handles[0]), page);
			/* Room for the one that is left there, which goes then. */
			row_remove(&row, 2 * whole - 1);
			for (i = 1; i < whole; i++)
				row_remove(&row, i);
			zsrs_compact(row.pool);
			KUNIT_EXPECT_PTR_NE(test, zsrs_page_of(row.pool, row.handles[0]), page);
			row_check(test, &row);
			/* All slots but one are there, where the object was. */
			row_remove(&row, 0);
			row_add(test, &row, 2 * whole - 1);
			for (i = 0; i < whole; i++)
				row_add(test, &row, i);
			KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(row.pool), 2 * pages);
			row_check(test, &row);
		}
		for (i = 0; i < whole; i++)
			row_remove(&row, i);
		unlock_page(page);
		put_page(page);
		KUNIT_EXPECT_TRUE(test, zsrs_comes_to_pages(row.pool, pages));
		drop_row(test, &row);
	}
}

/* Two objects of neighbouring classes, which have a page each, share one when that is enough. */
static void neighbours_share_a_page(struct kunit *test)
{
	struct row small, large;
	long objects;

	make_row(test, &small, "neighbours", PAGE_SIZE * 25 / 100, 1);
	large = small;
	large.size = PAGE_SIZE * 27 / 100;
	large.handles = kunit_kcalloc(test, 1, sizeof(*large.handles), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, large.handles);
	row_add(test, &small, 0);
	row_add(test, &large, 0);
	KUNIT_EXPECT_GE(test, zsrs_get_total_pages(small.pool), 2ul);
	zsrs_compact(small.pool);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(small.pool), 1ul);
	objects = zsrs_pool_number("neighbours", "objects");
	KUNIT_EXPECT_EQ(test, objects, 2l);
	KUNIT_EXPECT_EQ(test, zsrs_pool_number("neighbours", "objects_promoted"), 1l);
	row_check(test, &small);
	row_check(test, &large);
	/* It is written and freed where it is now. */
	KUNIT_EXPECT_TRUE(test, zsrs_write_object(small.pool, small.handles[0], ZSRS_MM_RW,
						  small.contents, 0, small.size));
	row_check(test, &small);
	row_remove(&small, 0);
	KUNIT_EXPECT_EQ(test, zsrs_pool_number("neighbours", "objects"), 1l);
	row_check(test, &large);
	drop_row(test, &large);
}

/* Fills a zspage, whose pages are not adjacent then. */
static void fill_scattered(struct kunit *test, struct row *row)
{
	unsigned int i;

	row->count = zsrs_fill_zspage(test, row->pool, row->contents, row->size, row->handles,
				      row->count);
	for (i = 0; i < row->count; i++)
		zsrs_move_object(row->pool, row->handles[i]);
}

/*
 * An object moves to each slot of a zspage of larger slots, also to those that end
 * on another page: where the object ends may be on the one or the other.
 */
static void neighbours_across_pages(struct kunit *test)
{
	enum { SIZES = 256, OBJECTS_IN_ZSPAGE = 64 };
	const char *name = "across_pages";
	unsigned int split = 0, i, k;

	for (i = SIZES / 4; i < SIZES * 3 / 4; i++) {
		struct row small, large;
		long before, after;

		make_row(test, &large, name, PAGE_SIZE * i / SIZES, OBJECTS_IN_ZSPAGE);
		fill_scattered(test, &large);
		small = large;
		small.size = large.size - PAGE_SIZE / 64;
		small.count = 1;
		small.handles = kunit_kcalloc(test, 1, sizeof(*small.handles), GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, small.handles);
		for (k = 0; k < large.count; k++) {
			row_remove(&large, k);
			row_add(test, &small, 0);
			before = zsrs_pool_number(name, "objects_promoted");
			zsrs_compact(small.pool);
			after = zsrs_pool_number(name, "objects_promoted");
			split += after > before && !zsrs_page_of(small.pool, small.handles[0]);
			row_check(test, &small);
			row_remove(&small, 0);
			row_add(test, &large, k);
		}
		drop_row(test, &large);
	}
	kunit_info(test, "%u objects moved to slots on two pages", split);
	KUNIT_EXPECT_GE(test, split, 50u);
}

/* Pages that come back by themselves where frees leave holes; waits for the first. */
static long pages_tidied(struct kunit *test, bool on, unsigned int wait_ms)
{
	const char *name = "in_the_background";
	struct holes holes;
	unsigned int waited;
	long pages;

	KUNIT_ASSERT_EQ(test, zsrs_background_compaction(on), 0);
	make_holes(test, &holes, name, 4000, 0);
	pages = zsrs_pool_number(name, "pages_compacted_background");
	for (waited = 0; !pages && waited < wait_ms; waited += 10) {
		msleep(10);
		pages = zsrs_pool_number(name, "pages_compacted_background");
	}
	KUNIT_EXPECT_EQ(test, zsrs_background_compaction(false), 0);
	drop_holes(test, &holes);
	return pages;
}

static void in_the_background(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, pages_tidied(test, false, 200), 0l);
	KUNIT_EXPECT_GT(test, pages_tidied(test, true, 10000), 0l);
}

/* debugfs does not hold a class's lock while it counts very many zspages. */
static void too_many_to_count(struct kunit *test)
{
	enum { COUNTED = 4096, TEXT = SZ_128K };
	char line[64], *text;
	struct row row;
	unsigned int i;

	if (PAGE_SIZE > SZ_4K)
		kunit_skip(test, "with pages of this size no class has two objects to a page");
	text = kvmalloc(TEXT, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, text);
	/* Two to a page, of which one is freed. The first one that is stays as a spare. */
	make_row(test, &row, "too_many", PAGE_SIZE / 2 - 8, 2 * (COUNTED + 2));
	for (i = 0; i < row.count; i++)
		row_add(test, &row, i);
	for (i = 0; i < row.count; i += 2)
		row_remove(&row, i);
	for (i = 3; i < 6; i += 2) {
		/* One too many first; then none is less than a tenth full. */
		const char *first = i == 3 ? "-" : "0";

		KUNIT_ASSERT_EQ(test, zsrs_read_text("/sys/kernel/debug/zsmalloc_rs/too_many/classes",
						     text, TEXT), 0);
		snprintf(line, sizeof(line), "\n %5u %5lu %9s ",
			 zsrs_lookup_class_index(row.pool, row.size), PAGE_SIZE / 2, first);
		KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(text, line), "no line with%s", line);
		snprintf(line, sizeof(line), "\n %5s %5s %9s ", "Total", "", first);
		KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(text, line), "no line with%s", line);
		row_remove(&row, i);
	}
	drop_row(test, &row);
	kvfree(text);
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

enum { TASKS = 2 };

/* Two tasks compact one pool. Returns whether both have won pages. */
static bool compact_together(struct kunit *test)
{
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
	return compactors[0].returned && compactors[1].returned;
}

/* Bug 6: who compacts at the same time shares the work, and every page counts once. */
static void two_compact(struct kunit *test)
{
	enum { TRIES = 20 };
	int tries = 1;

	/* One may be done before the other begins. */
	while (!compact_together(test) && tries < TRIES)
		tries++;
	KUNIT_EXPECT_LT_MSG(test, tries, TRIES, "they never shared: this has tested nothing");
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

/* Compacts until it is told to stop. */
static int compact_on(void *data)
{
	struct zsrs_pool *pool = data;

	while (!kthread_should_stop()) {
		zsrs_compact(pool);
		cond_resched();
	}
	return 0;
}

/* Objects are mapped and freed on one CPU while they change their class on another. */
static void freed_while_promoted(struct kunit *test)
{
	enum { ROWS = 8, PROMOTIONS = 500, LONGEST_S = 10 };
	unsigned long until = jiffies + LONGEST_S * HZ;
	struct row *rows = kunit_kcalloc(test, ROWS, sizeof(*rows), GFP_KERNEL);
	unsigned int i, rounds = 0, bad = 0;
	struct task_struct *compactor;
	long promoted = 0;

	zsrs_need_two_cpus(test);
	KUNIT_ASSERT_NOT_NULL(test, rows);
	make_row(test, &rows[0], "freed_while_promoted", PAGE_SIZE * 20 / 100, ROWS);
	for (i = 1; i < ROWS; i++) {
		rows[i] = rows[0];
		rows[i].size = PAGE_SIZE * (20 + 2 * i) / 100;
	}
	compactor = kthread_create(compact_on, rows[0].pool, "zsrs_compactor");
	KUNIT_ASSERT_FALSE(test, IS_ERR(compactor));
	migrate_disable();
	kthread_bind(compactor, cpumask_any_but(cpu_online_mask, smp_processor_id()));
	wake_up_process(compactor);
	while (promoted < PROMOTIONS && time_before(jiffies, until)) {
		for (i = 0; i < ROWS; i++)
			row_add(test, &rows[i], i);
		for (i = 0; i < ROWS; i++) {
			bad += !zsrs_check_object(rows[i].pool, rows[i].handles[i],
						  rows[i].contents, i, rows[i].size);
			row_remove(&rows[i], i);
		}
		if (rounds++ % 256 == 0) {
			promoted = zsrs_pool_number("freed_while_promoted", "objects_promoted");
			cond_resched();
		}
	}
	migrate_enable();
	kthread_stop(compactor);
	promoted = zsrs_pool_number("freed_while_promoted", "objects_promoted");
	kunit_info(test, "%ld of %u objects promoted", promoted, rounds * ROWS);
	KUNIT_EXPECT_EQ_MSG(test, bad, 0u, "objects came back wrong");
	KUNIT_EXPECT_GE(test, promoted, 10l);
	KUNIT_EXPECT_EQ(test, zsrs_pool_number("freed_while_promoted", "objects"), 0l);
	drop_row(test, &rows[0]);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(nothing_to_compact),
	KUNIT_CASE(pages_come_back_one_by_one),
	KUNIT_CASE(compaction_ends),
	KUNIT_CASE(shortening_ends),
	KUNIT_CASE(any_pattern_ends),
	KUNIT_CASE(last_page_in_use),
	KUNIT_CASE(last_page_locked),
	KUNIT_CASE(emptied_while_locked),
	KUNIT_CASE(neighbours_share_a_page),
	KUNIT_CASE(neighbours_across_pages),
	KUNIT_CASE(in_the_background),
	KUNIT_CASE(too_many_to_count),
	KUNIT_CASE(half_freed),
	KUNIT_CASE(again_and_again),
	KUNIT_CASE(two_compact),
	KUNIT_CASE(compact_beside_mapper),
	KUNIT_CASE_SLOW(freed_while_promoted),
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
