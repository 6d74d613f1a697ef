// SPDX-License-Identifier: GPL-2.0
/*
 * zsrs_misuse_kunit.ko: what callers must not do (bugs 11 and 26). An error or a
 * warning, and no other object is touched.
 *
 * The kernel warns here by design: tests/vm/misuse.sh runs this module, allows
 * those warnings and counts them. Each case says which it provokes.
 */

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/irq_work.h>
#include <linux/mm_types.h>
#include <linux/module.h>
#include <linux/page-flags.h>
#include <linux/smp.h>
#include "mover.h"
#include "support.h"

enum { COUNT = 64, SIZE = 300 };

/* A pool with neighbours, which no misuse may touch. */
struct neighbours {
	struct zsrs_counters before;
	struct zsrs_pool *pool;
	struct zsrs_contents *contents;
	unsigned long handles[COUNT];
	struct zsrs_counters filled;
};

static int misuse_init(struct kunit *test)
{
	struct neighbours *all = kunit_kzalloc(test, sizeof(*all), GFP_KERNEL);
	unsigned int i;

	if (!all)
		return -ENOMEM;
	if (zsrs_read_counters(&all->before))
		return -ENOENT;
	all->pool = zsrs_create_pool(test->name);
	all->contents = zsrs_contents_new(11);
	if (!all->pool || !all->contents)
		return -ENOMEM;
	for (i = 0; i < COUNT; i++) {
		all->handles[i] = zsrs_malloc(all->pool, SIZE, GFP_KERNEL);
		if (IS_ERR_VALUE(all->handles[i]) ||
		    !zsrs_write_object(all->pool, all->handles[i], ZSRS_MM_WO, all->contents, i,
				       SIZE))
			return -ENOMEM;
	}
	test->priv = all;
	return zsrs_read_counters(&all->filled);
}

/* Nothing has changed for the neighbours, and nothing was counted. */
static void expect_unharmed(struct kunit *test)
{
	struct neighbours *all = test->priv;
	unsigned int i, bad = 0;

	for (i = 0; i < COUNT; i++)
		if (all->handles[i])
			bad += !zsrs_check_object(all->pool, all->handles[i], all->contents, i,
						  SIZE);
	KUNIT_EXPECT_EQ_MSG(test, bad, 0u, "neighbours came back wrong");
	zsrs_expect_counters(test, &all->filled);
}

static void misuse_exit(struct kunit *test)
{
	struct neighbours *all = test->priv;
	unsigned int i;

	if (!all)
		return;
	expect_unharmed(test);
	for (i = 0; i < COUNT; i++)
		zsrs_free(all->pool, all->handles[i]);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(all->pool), 0ul);
	zsrs_destroy_pool(all->pool);
	kfree(all->contents);
	zsrs_expect_counters(test, &all->before);
}

/* No warnings: these numbers are no handles, and kfree(NULL) is no bug either. */
static void numbers_that_are_no_handles(struct kunit *test)
{
	struct neighbours *all = test->priv;
	static const unsigned long numbers[] = { 0, (unsigned long)-ENOMEM,
						 (unsigned long)-ENOSPC, (unsigned long)-EINVAL,
						 (unsigned long)-1 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(numbers); i++) {
		zsrs_free(all->pool, numbers[i]);
		KUNIT_EXPECT_NULL(test, zsrs_map_object(all->pool, numbers[i], ZSRS_MM_RO));
		zsrs_unmap_object(all->pool, numbers[i]);
		expect_unharmed(test);
	}
	zsrs_destroy_pool(NULL);
}

/* Three times "a number that is no handle". */
static void misaligned_numbers(struct kunit *test)
{
	struct neighbours *all = test->priv;

	KUNIT_EXPECT_NULL(test, zsrs_map_object(all->pool, all->handles[0] + 4, ZSRS_MM_RO));
	zsrs_unmap_object(all->pool, all->handles[0] + 1);
	zsrs_free(all->pool, all->handles[0] + 4);
	expect_unharmed(test);
}

/* Three times "free of a handle that is not allocated". */
static void double_free(struct kunit *test)
{
	struct neighbours *all = test->priv;
	unsigned long again[200], handle;
	unsigned int i, j, twice = 0;

	handle = zsrs_malloc(all->pool, SIZE, GFP_KERNEL);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(handle));
	zsrs_free(all->pool, handle);
	expect_unharmed(test);
	for (i = 0; i < 3; i++)
		zsrs_free(all->pool, handle);
	expect_unharmed(test);

	/* The handle did not get into stock several times. */
	for (i = 0; i < ARRAY_SIZE(again); i++) {
		again[i] = zsrs_malloc(all->pool, SIZE, GFP_KERNEL);
		for (j = 0; j < i; j++)
			twice += again[i] == again[j];
	}
	KUNIT_EXPECT_EQ(test, twice, 0u);
	for (i = 0; i < ARRAY_SIZE(again); i++)
		zsrs_free(all->pool, again[i]);
}

/* Three times "map of a handle that is not allocated". */
static void map_after_free(struct kunit *test)
{
	struct neighbours *all = test->priv;
	int before = preempt_count(), mode;
	unsigned long handle = zsrs_malloc(all->pool, SIZE, GFP_KERNEL);

	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(handle));
	zsrs_free(all->pool, handle);
	for (mode = ZSRS_MM_RW; mode <= ZSRS_MM_WO; mode++)
		KUNIT_EXPECT_NULL(test, zsrs_map_object(all->pool, handle, mode));
	KUNIT_EXPECT_EQ(test, preempt_count(), before);
}

/* "unmap of an object that is not mapped" */
static void unmap_of_unmapped(struct kunit *test)
{
	struct neighbours *all = test->priv;
	int before = preempt_count();

	zsrs_unmap_object(all->pool, all->handles[5]);
	KUNIT_EXPECT_EQ(test, preempt_count(), before);
}

/* "free of an object that is mapped" */
static void free_while_mapped(struct kunit *test)
{
	struct neighbours *all = test->priv;
	void *address = zsrs_map_object(all->pool, all->handles[7], ZSRS_MM_RW);

	KUNIT_ASSERT_NOT_NULL(test, address);
	zsrs_free(all->pool, all->handles[7]);
	/* Still the mapper's. */
	zsrs_fill(all->contents, 7, address, SIZE);
	zsrs_unmap_object(all->pool, all->handles[7]);
}

/* "free of a handle of another pool", twice: objects of a class, and huge ones. */
static void free_in_wrong_pool(struct kunit *test)
{
	struct neighbours *all = test->priv;
	struct zsrs_pool *other = zsrs_need_pool(test, "wrong_pool");
	unsigned long handle = zsrs_malloc(other, SIZE, GFP_KERNEL);
	unsigned long huge = zsrs_malloc(other, PAGE_SIZE, GFP_KERNEL);
	unsigned long pages = zsrs_get_total_pages(other);

	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(handle));
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(huge));
	KUNIT_EXPECT_TRUE(test, zsrs_write_object(other, handle, ZSRS_MM_WO, all->contents, 3,
						  SIZE));
	KUNIT_EXPECT_TRUE(test, zsrs_write_object(other, huge, ZSRS_MM_WO, all->contents, 4,
						  PAGE_SIZE));
	zsrs_free(all->pool, handle);
	zsrs_free(all->pool, huge);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(other), pages);
	KUNIT_EXPECT_TRUE(test, zsrs_check_object(other, handle, all->contents, 3, SIZE));
	KUNIT_EXPECT_TRUE(test, zsrs_check_object(other, huge, all->contents, 4, PAGE_SIZE));
	zsrs_free(other, handle);
	zsrs_free(other, huge);
	KUNIT_EXPECT_EQ(test, zsrs_get_total_pages(other), 0ul);
	zsrs_destroy_pool(other);
}

/* What an interrupt got from map. */
struct interrupt {
	struct irq_work work;
	struct tasklet_struct tasklet;
	struct zsrs_pool *pool;
	unsigned long handle;
	void *address;
	bool in_hardirq;
	bool in_softirq;
	struct completion done;
};

static void map_in_interrupt(struct interrupt *interrupt)
{
	interrupt->in_hardirq = in_hardirq();
	interrupt->in_softirq = in_serving_softirq();
	interrupt->address = zsrs_map_object(interrupt->pool, interrupt->handle, ZSRS_MM_RO);
	if (interrupt->address)
		zsrs_unmap_object(interrupt->pool, interrupt->handle);
	complete(&interrupt->done);
}

static void map_in_irq_work(struct irq_work *work)
{
	map_in_interrupt(container_of(work, struct interrupt, work));
}

static void map_in_tasklet(struct tasklet_struct *tasklet)
{
	map_in_interrupt(container_of(tasklet, struct interrupt, tasklet));
}

/* "map in an interrupt", three times. */
static void map_from_interrupts(struct kunit *test)
{
	struct neighbours *all = test->priv;
	struct interrupt *interrupt = kunit_kzalloc(test, sizeof(*interrupt), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, interrupt);
	interrupt->pool = all->pool;
	interrupt->handle = all->handles[9];

	interrupt->address = ERR_PTR(-EINVAL);
	interrupt->work = IRQ_WORK_INIT_HARD(map_in_irq_work);
	init_completion(&interrupt->done);
	KUNIT_ASSERT_TRUE(test, irq_work_queue(&interrupt->work));
	wait_for_completion(&interrupt->done);
	irq_work_sync(&interrupt->work);
	KUNIT_EXPECT_TRUE_MSG(test, interrupt->in_hardirq, "this tested no hard interrupt");
	KUNIT_EXPECT_NULL(test, interrupt->address);

	interrupt->address = ERR_PTR(-EINVAL);
	tasklet_setup(&interrupt->tasklet, map_in_tasklet);
	reinit_completion(&interrupt->done);
	tasklet_schedule(&interrupt->tasklet);
	wait_for_completion(&interrupt->done);
	tasklet_kill(&interrupt->tasklet);
	KUNIT_EXPECT_TRUE_MSG(test, interrupt->in_softirq, "this tested no soft interrupt");
	KUNIT_EXPECT_NULL(test, interrupt->address);

	/* A task that keeps soft interrupts off cannot be told from one. */
	local_bh_disable();
	interrupt->address = zsrs_map_object(all->pool, all->handles[9], ZSRS_MM_RO);
	local_bh_enable();
	KUNIT_EXPECT_NULL(test, interrupt->address);
}

enum { SPLIT_OBJECTS = 400, SPLIT_BYTES = 1700 };

/* Objects of which some are split. */
static unsigned long *need_split(struct kunit *test, struct zsrs_pool *pool)
{
	unsigned long *handles = kunit_kcalloc(test, SPLIT_OBJECTS, sizeof(*handles), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, handles);
	for (i = 0; i < SPLIT_OBJECTS; i++)
		handles[i] = zsrs_malloc(pool, SPLIT_BYTES, GFP_KERNEL);
	for (i = 0; i < SPLIT_OBJECTS; i += 3)
		zsrs_move_object(pool, handles[i]);
	return handles;
}

static void free_split(struct zsrs_pool *pool, const unsigned long *handles)
{
	unsigned int i;

	for (i = 0; i < SPLIT_OBJECTS; i++)
		zsrs_free(pool, handles[i]);
}

/* An object that another CPU is to unmap. */
struct remote {
	struct zsrs_pool *pool;
	unsigned long handle;
};

static void unmap_here(void *arg)
{
	struct remote *remote = arg;

	zsrs_unmap_object(remote->pool, remote->handle);
}

/*
 * "unmap of an object that is not mapped": a split one is in the buffer of the CPU
 * that has mapped it, and another must not end that.
 */
static void unmap_on_another_cpu(struct kunit *test)
{
	struct neighbours *all = test->priv;
	unsigned long *handles = need_split(test, all->pool);
	struct remote remote = { .pool = all->pool };
	unsigned int one, other, cpu;
	int error = -ENOENT;
	void *address;

	migrate_disable();
	if (zsrs_find_buffer(all->pool, handles, SPLIT_OBJECTS, &one, &other)) {
		remote.handle = handles[one];
		address = zsrs_map_object(all->pool, handles[one], ZSRS_MM_WO);
		cpu = cpumask_any_but(cpu_online_mask, raw_smp_processor_id());
		error = smp_call_function_single(cpu, unmap_here, &remote, 1);
		/* It is mapped still: what is written now is in the object. */
		zsrs_fill(all->contents, one, address, SPLIT_BYTES);
		zsrs_unmap_object(all->pool, handles[one]);
	}
	migrate_enable();
	KUNIT_EXPECT_EQ_MSG(test, error, 0, "no object is split, or there is one CPU only");
	KUNIT_EXPECT_TRUE(test, zsrs_check_object(all->pool, handles[one], all->contents, one,
						  SPLIT_BYTES));
	free_split(all->pool, handles);
}

/*
 * "map of a second object that spans pages on one CPU": refused while the first
 * is mapped, which stays as it is.
 */
static void two_split_objects(struct kunit *test)
{
	struct neighbours *all = test->priv;
	unsigned long *handles = need_split(test, all->pool);
	unsigned int one, other;
	void *buffer;

	migrate_disable();
	buffer = zsrs_find_buffer(all->pool, handles, SPLIT_OBJECTS, &one, &other);
	if (buffer) {
		void *first, *second;

		first = zsrs_map_object(all->pool, handles[one], ZSRS_MM_WO);
		zsrs_fill(all->contents, one, first, SPLIT_BYTES);
		second = zsrs_map_object(all->pool, handles[other], ZSRS_MM_RW);
		zsrs_unmap_object(all->pool, handles[one]);
		migrate_enable();
		KUNIT_EXPECT_NULL(test, second);
		KUNIT_EXPECT_TRUE(test, zsrs_check_object(all->pool, handles[one], all->contents,
							  one, SPLIT_BYTES));
		/* The one refused can be mapped now. */
		KUNIT_EXPECT_TRUE(test, zsrs_write_object(all->pool, handles[other], ZSRS_MM_WO,
							  all->contents, other, SPLIT_BYTES));
		KUNIT_EXPECT_TRUE(test, zsrs_check_object(all->pool, handles[other],
							  all->contents, other, SPLIT_BYTES));
	} else {
		migrate_enable();
		KUNIT_FAIL(test, "no two objects are split: this test has tested nothing");
	}
	free_split(all->pool, handles);
}

/*
 * Destroying a pool with objects: an error line for each class that has some. The
 * pool stays as it is, and so do its pages, which may still move: must be the last
 * case, since the module stays, too. The huge object's zspage is full, so that it is
 * on no list.
 */
static void destroy_with_objects(struct kunit *test)
{
	enum { SMALL = 5 };
	struct neighbours *all = test->priv;
	struct zsrs_pool *pool = zsrs_need_pool(test, "with_objects");
	struct zsrs_counters with;
	struct page *pages[2], *moved;
	unsigned int i;

	for (i = 0; i < SMALL + 1; i++) {
		size_t size = i < SMALL ? 48 : PAGE_SIZE;
		unsigned long handle = zsrs_malloc(pool, size, GFP_KERNEL);

		KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(handle));
		KUNIT_ASSERT_TRUE(test, zsrs_write_object(pool, handle, ZSRS_MM_WO, all->contents,
							  i, size));
		pages[i / SMALL] = zsrs_page_of(pool, handle);
		KUNIT_ASSERT_NOT_NULL(test, pages[i / SMALL]);
	}
	KUNIT_ASSERT_EQ(test, zsrs_read_counters(&with), 0);
	KUNIT_EXPECT_EQ(test, with.zspages_live, all->filled.zspages_live + 2);
	zsrs_destroy_pool(pool);
	zsrs_expect_counters(test, &with);
	for (i = 0; i < 2; i++) {
		KUNIT_ASSERT_EQ(test, zsrs_migrate(pages[i], MIGRATE_ASYNC, &moved), 0);
		KUNIT_EXPECT_TRUE(test, PageZsmalloc(moved));
	}
	/* The huge object is all that is on its page. */
	KUNIT_EXPECT_TRUE(test, zsrs_is_filled(all->contents, SMALL, page_address(moved),
					     PAGE_SIZE));
	all->before.pools++;
	all->before.zspages_live += 2;
	all->before.pages_live += with.pages_live - all->filled.pages_live;
	all->before.words_live += SMALL + 1;
	all->before.nr_zspages += with.nr_zspages - all->filled.nr_zspages;
	all->filled = with;
}

/* Three neighbouring objects of a new pool, and how far apart they are. */
static size_t make_three(struct kunit *test, struct zsrs_pool *pool, unsigned long *handles)
{
	struct neighbours *all = test->priv;
	void *addresses[2] = {};
	unsigned int i;

	for (i = 0; i < 3; i++) {
		handles[i] = zsrs_malloc(pool, SIZE, GFP_KERNEL);
		KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(handles[i]));
		KUNIT_ASSERT_TRUE(test, zsrs_write_object(pool, handles[i], ZSRS_MM_WO,
							  all->contents, i, SIZE));
	}
	for (i = 0; i < 2; i++) {
		addresses[i] = zsrs_map_object(pool, handles[i], ZSRS_MM_RO);
		zsrs_unmap_object(pool, handles[i]);
	}
	KUNIT_ASSERT_NOT_NULL(test, addresses[0]);
	return addresses[1] - addresses[0];
}

static int refuse(struct zsrs_pool *pool, unsigned long handle, void *private)
{
	return -EBUSY;
}

/*
 * Three times "memory of a free object was written to, or beyond an object's
 * end": the header of the free slot after an object is overwritten. malloc finds
 * out, and compaction when it wants to free the pages after it. In the first two
 * rounds the slot is a spare's, which pools with an evict handler do not have;
 * malloc does not look there, and its object is safe until it is freed.
 */
static void written_beyond_the_end(struct kunit *test)
{
	struct neighbours *all = test->priv;
	unsigned int round;

	for (round = 0; round < 4; round++) {
		struct zsrs_pool *pool = round < 2 ? zsrs_need_pool(test, "written_beyond") :
			zsrs_create_evictable_pool("written_beyond", refuse, NULL);
		unsigned long handles[3], pages, handle = 0;
		size_t apart;
		u64 *header;

		KUNIT_ASSERT_NOT_NULL(test, pool);
		apart = make_three(test, pool, handles);

		zsrs_free(pool, handles[1]);
		header = zsrs_map_object(pool, handles[0], ZSRS_MM_RW) + apart - sizeof(*header);
		/* Neither a link nor a handle. */
		*header = ~3ULL;
		zsrs_unmap_object(pool, handles[0]);
		pages = zsrs_get_total_pages(pool);
		if (round % 2 == 0) {
			handle = zsrs_malloc(pool, SIZE, GFP_KERNEL);
			KUNIT_EXPECT_FALSE(test, IS_ERR_VALUE(handle));
			KUNIT_EXPECT_TRUE(test, zsrs_write_object(pool, handle, ZSRS_MM_WO,
								  all->contents, 9, SIZE));
		}
		/* A spare's slot stays as it is; otherwise all that is left of that zspage. */
		zsrs_compact(pool);
		if (round >= 2)
			KUNIT_EXPECT_GE(test, zsrs_get_total_pages(pool), pages);
		KUNIT_EXPECT_TRUE(test, zsrs_check_object(pool, handles[0], all->contents, 0, SIZE));
		KUNIT_EXPECT_TRUE(test, zsrs_check_object(pool, handles[2], all->contents, 2, SIZE));
		if (handle)
			KUNIT_EXPECT_TRUE(test, zsrs_check_object(pool, handle, all->contents, 9,
								  SIZE));
		zsrs_free(pool, handles[0]);
		zsrs_free(pool, handles[2]);
		if (handle)
			zsrs_free(pool, handle);
		zsrs_destroy_pool(pool);
	}
}

/*
 * "memory of a free object was written to": migration does not know a spare whose
 * header was overwritten, and leaves its word as it is. It then leads to a page that
 * somebody else has, whose fields are no longer ours to believe.
 */
static void overwritten_and_moved(struct kunit *test)
{
	struct neighbours *all = test->priv;
	struct zsrs_pool *pool = zsrs_need_pool(test, "overwritten_and_moved");
	unsigned long handles[3];
	struct page *old, *new;
	size_t apart = make_three(test, pool, handles);
	u64 *header;

	zsrs_free(pool, handles[1]);
	header = zsrs_map_object(pool, handles[0], ZSRS_MM_RW) + apart - sizeof(*header);
	*header = ~3ULL;
	zsrs_unmap_object(pool, handles[0]);
	old = zsrs_page_of(pool, handles[0]);
	KUNIT_ASSERT_NOT_NULL(test, old);
	get_page(old);
	KUNIT_EXPECT_EQ(test, zsrs_migrate(old, MIGRATE_ASYNC, &new), 0);
	set_page_private(old, 0x18);
	zsrs_compact(pool);
	set_page_private(old, 0);
	put_page(old);
	KUNIT_EXPECT_TRUE(test, zsrs_check_object(pool, handles[0], all->contents, 0, SIZE));
	KUNIT_EXPECT_TRUE(test, zsrs_check_object(pool, handles[2], all->contents, 2, SIZE));
	zsrs_free(pool, handles[0]);
	zsrs_free(pool, handles[2]);
	zsrs_destroy_pool(pool);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(numbers_that_are_no_handles),
	KUNIT_CASE(misaligned_numbers),
	KUNIT_CASE(written_beyond_the_end),
	KUNIT_CASE(overwritten_and_moved),
	KUNIT_CASE(double_free),
	KUNIT_CASE(map_after_free),
	KUNIT_CASE(unmap_of_unmapped),
	KUNIT_CASE(free_while_mapped),
	KUNIT_CASE(free_in_wrong_pool),
	KUNIT_CASE(map_from_interrupts),
	KUNIT_CASE(unmap_on_another_cpu),
	KUNIT_CASE(two_split_objects),
	KUNIT_CASE(destroy_with_objects),
	{}
};

static struct kunit_suite zsrs_misuse_suite = {
	.name = "zsrs_misuse",
	.suite_init = zsrs_background_off,
	.suite_exit = zsrs_background_on,
	.init = misuse_init,
	.exit = misuse_exit,
	.test_cases = cases,
};
kunit_test_suite(zsrs_misuse_suite);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("The zsmalloc_rs developers");
MODULE_DESCRIPTION("KUnit tests of misuse of zsmalloc_rs");
