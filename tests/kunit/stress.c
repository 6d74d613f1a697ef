// SPDX-License-Identifier: GPL-2.0
/*
 * Suite zsrs_stress: two CPUs allocate, map, exchange and free objects of all
 * sizes, checking every byte, while a third task compacts.
 */

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include "mover.h"
#include "suites.h"
#include "support.h"

enum {
	WORKERS = 2,
	PARTS = 4,		/* each in 300 s, after which KUnit ends a case */
	OPERATIONS = 250000,	/* at least, in each part */
	SLOTS = 4000,		/* objects of one worker */
	EXCHANGE = 64,		/* places where workers exchange objects */
	LONGEST_S = 240,
};

/* One object: a handle and how to check it. */
struct object {
	unsigned long handle;
	u32 number;
	u32 size;
};

struct worker {
	struct storm *storm;
	struct task_struct *task;
	struct completion done;
	struct object **slots;
	u64 operations;
	u64 errors;
	u64 refused;
	u32 seed;
};

struct storm {
	struct zsrs_pool *pool;
	struct zsrs_contents *contents;
	struct object *exchange[EXCHANGE];
	struct worker workers[WORKERS];
	unsigned long until;
	u64 share;
	u64 compactions;
	unsigned long returned;
	struct completion compactor_done;
	bool over;
};

static struct object *allocate(struct worker *worker, struct rnd_state *rnd)
{
	struct storm *storm = worker->storm;
	struct object *object = kmalloc(sizeof(*object), GFP_KERNEL);
	/* Some callers cannot wait. */
	gfp_t gfp = zsrs_below(rnd, 4) ? GFP_KERNEL : GFP_NOWAIT | __GFP_NOWARN;

	if (!object)
		return NULL;
	object->number = prandom_u32_state(rnd);
	object->size = zsrs_any_size(rnd);
	object->handle = zsrs_malloc(storm->pool, object->size, gfp);
	worker->operations++;
	if (IS_ERR_VALUE(object->handle)) {
		worker->refused++;
		kfree(object);
		return NULL;
	}
	worker->errors += !zsrs_write_object(storm->pool, object->handle, ZSRS_MM_WO,
					     storm->contents, object->number, object->size);
	worker->operations++;
	return object;
}

static void check(struct worker *worker, const struct object *object)
{
	struct storm *storm = worker->storm;

	worker->errors += !zsrs_check_object(storm->pool, object->handle, storm->contents,
					     object->number, object->size);
	worker->operations++;
}

static void rewrite(struct worker *worker, struct object *object, struct rnd_state *rnd)
{
	struct storm *storm = worker->storm;
	void *address = zsrs_map_object(storm->pool, object->handle, ZSRS_MM_RW);

	worker->operations++;
	if (!address) {
		worker->errors++;
		return;
	}
	worker->errors += !zsrs_is_filled(storm->contents, object->number, address, object->size);
	object->number = prandom_u32_state(rnd);
	zsrs_fill(storm->contents, object->number, address, object->size);
	zsrs_unmap_object(storm->pool, object->handle);
}

static void release(struct worker *worker, struct object *object)
{
	check(worker, object);
	zsrs_free(worker->storm->pool, object->handle);
	worker->operations++;
	kfree(object);
}

static void one_step(struct worker *worker, struct rnd_state *rnd)
{
	struct object **slot = &worker->slots[zsrs_below(rnd, SLOTS)];
	u32 dice = zsrs_below(rnd, 100);

	if (!*slot) {
		*slot = allocate(worker, rnd);
	} else if (dice < 30) {
		check(worker, *slot);
	} else if (dice < 50) {
		rewrite(worker, *slot, rnd);
	} else if (dice < 65) {
		/* The other worker will check it and free it, on its CPU. */
		*slot = xchg(&worker->storm->exchange[zsrs_below(rnd, EXCHANGE)], *slot);
	} else {
		release(worker, *slot);
		*slot = NULL;
	}
}

static bool is_over(const struct worker *worker)
{
	return worker->operations >= worker->storm->share &&
	       time_after(jiffies, worker->storm->until);
}

static int work(void *data)
{
	struct worker *worker = data;
	struct rnd_state rnd;
	unsigned int i;

	prandom_seed_state(&rnd, worker->seed);
	while (!is_over(worker)) {
		for (i = 0; i < 64; i++)
			one_step(worker, &rnd);
		cond_resched();
	}
	for (i = 0; i < SLOTS; i++)
		if (worker->slots[i])
			release(worker, worker->slots[i]);
	complete(&worker->done);
	return zsrs_wait_for_stop();
}

static int compact_always(void *data)
{
	struct storm *storm = data;

	while (!READ_ONCE(storm->over)) {
		storm->returned += zsrs_compact(storm->pool);
		storm->compactions++;
		usleep_range(2000, 5000);
	}
	complete(&storm->compactor_done);
	return zsrs_wait_for_stop();
}

static const int parts[PARTS] = { 0, 1, 2, 3 };

static void describe_part(const int *part, char *text)
{
	snprintf(text, KUNIT_PARAM_DESC_SIZE, "seed %d", *part);
}
KUNIT_ARRAY_PARAM(part, parts, describe_part);

/* A million operations in all parts. */
static void storm(struct kunit *test)
{
	const int *part = test->param_value;
	unsigned int seconds = min(zsrs_storm_s / PARTS, (unsigned int)LONGEST_S);
	unsigned long started = jiffies;
	u64 operations = 0, errors = 0, refused = 0;
	struct task_struct *compactor;
	struct storm *storm;
	int i;

	if (seconds < zsrs_storm_s / PARTS)
		kunit_info(test, "storm_s=%u is cut to %u: KUnit ends longer tests", zsrs_storm_s,
			   seconds * PARTS);
	storm = kunit_kzalloc(test, sizeof(*storm), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, storm);
	storm->pool = zsrs_need_pool(test, "storm");
	storm->contents = zsrs_contents_new(9);
	KUNIT_ASSERT_NOT_NULL(test, storm->contents);
	storm->share = OPERATIONS / WORKERS;
	storm->until = started + seconds * HZ;
	init_completion(&storm->compactor_done);

	for (i = 0; i < WORKERS; i++) {
		struct worker *worker = &storm->workers[i];

		worker->storm = storm;
		worker->seed = 100 + *part * WORKERS + i;
		init_completion(&worker->done);
		worker->slots = vcalloc(SLOTS, sizeof(*worker->slots));
		KUNIT_ASSERT_NOT_NULL(test, worker->slots);
		worker->task = kthread_create(work, worker, "zsrs_storm/%d", i);
		KUNIT_ASSERT_FALSE(test, IS_ERR(worker->task));
		kthread_bind(worker->task, i % num_online_cpus());
	}
	compactor = kthread_create(compact_always, storm, "zsrs_compactor");
	KUNIT_ASSERT_FALSE(test, IS_ERR(compactor));
	for (i = 0; i < WORKERS; i++)
		wake_up_process(storm->workers[i].task);
	wake_up_process(compactor);

	for (i = 0; i < WORKERS; i++) {
		wait_for_completion(&storm->workers[i].done);
		kthread_stop(storm->workers[i].task);
		vfree(storm->workers[i].slots);
	}
	WRITE_ONCE(storm->over, true);
	wait_for_completion(&storm->compactor_done);
	kthread_stop(compactor);

	for (i = 0; i < EXCHANGE; i++)
		if (storm->exchange[i])
			release(&storm->workers[0], storm->exchange[i]);
	for (i = 0; i < WORKERS; i++) {
		operations += storm->workers[i].operations;
		errors += storm->workers[i].errors;
		refused += storm->workers[i].refused;
	}
	kunit_info(test, "%llu operations in %u ms, %llu compactions returned %lu pages, %llu refused",
		   operations, jiffies_to_msecs(jiffies - started), storm->compactions,
		   storm->returned, refused);
	KUNIT_EXPECT_GE(test, operations, (u64)OPERATIONS);
	KUNIT_EXPECT_EQ_MSG(test, errors, 0ull, "objects came back wrong or could not be mapped");
	KUNIT_EXPECT_LT(test, refused, operations / 100);
	KUNIT_EXPECT_GT(test, storm->compactions, 10ull);
	KUNIT_EXPECT_EQ(test, zsrs_pages_compacted(storm->pool), storm->returned);
	KUNIT_EXPECT_TRUE(test, zsrs_comes_to_pages(storm->pool, 0));
	zsrs_destroy_pool(storm->pool);
	kfree(storm->contents);
}

/* Two CPUs map the same objects: each has them alone. */
enum { SHARED = 4, ROUNDS = 40000 };

/* Objects of which some are in two pages, and the size of each. */
enum { SCATTERED = 400, SCATTERED_SIZE = PAGE_SIZE * 5 / 12 };

/* Pools that one task creates, and what each holds. */
enum { POOLS = 200, OBJECTS_OF_POOL = 50 };

struct contender {
	struct zsrs_pool *pool;
	const unsigned long *handles;
	unsigned int shared; /* objects */
	struct task_struct *task;
	struct completion done;
	char name[32];
	u64 refused;
	/* Of the present pool, or an earlier one. */
	struct page *pages[OBJECTS_OF_POOL];
};

/*
 * Allocates objects, and finds two that are mapped through the CPU's buffer. False
 * if there are none, which without migration may be.
 */
static bool scatter(struct kunit *test, struct zsrs_pool *pool, unsigned long *handles,
		    unsigned int *one, unsigned int *other)
{
	const void *buffer;
	int i;

	for (i = 0; i < SCATTERED; i++) {
		handles[i] = zsrs_malloc(pool, SCATTERED_SIZE, GFP_KERNEL);
		KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(handles[i]));
	}
	for (i = 0; i < SCATTERED; i += 3)
		zsrs_move_object(pool, handles[i]);
	migrate_disable();
	buffer = zsrs_find_buffer(pool, handles, SCATTERED, one, other);
	migrate_enable();
	if (IS_ENABLED(CONFIG_COMPACTION))
		KUNIT_ASSERT_NOT_NULL(test, buffer);
	return buffer;
}

static int count_up(void *data)
{
	struct contender *contender = data;
	unsigned int i;

	for (i = 0; i < ROUNDS; i++) {
		unsigned long handle = contender->handles[i % contender->shared];
		u64 *number = zsrs_map_object(contender->pool, handle, ZSRS_MM_RW);

		if (!number) {
			contender->refused++;
			continue;
		}
		/* Not atomic: a second mapper would lose counts. */
		WRITE_ONCE(*number, READ_ONCE(*number) + 1);
		zsrs_unmap_object(contender->pool, handle);
		if (i % 64 == 0)
			cond_resched();
	}
	complete(&contender->done);
	return zsrs_wait_for_stop();
}

/* Has all contenders work at once, on so many CPUs, and waits for them. */
static void contend(struct kunit *test, struct contender *contenders,
		    int (*work)(void *contender), const char *name, unsigned int cpus)
{
	int i;

	for (i = 0; i < WORKERS; i++) {
		init_completion(&contenders[i].done);
		contenders[i].task = kthread_create(work, &contenders[i], "%s/%d", name, i);
		KUNIT_ASSERT_FALSE(test, IS_ERR(contenders[i].task));
		kthread_bind(contenders[i].task, i % cpus);
	}
	for (i = 0; i < WORKERS; i++)
		wake_up_process(contenders[i].task);
	for (i = 0; i < WORKERS; i++) {
		wait_for_completion(&contenders[i].done);
		kthread_stop(contenders[i].task);
		KUNIT_EXPECT_EQ(test, contenders[i].refused, 0ull);
	}
}

static void map_is_exclusive(struct kunit *test)
{
	static const size_t sizes[SHARED] = { 8, 2000, PAGE_SIZE, SCATTERED_SIZE };
	struct zsrs_pool *pool = zsrs_need_pool(test, "map_is_exclusive");
	struct contender *contenders = kunit_kcalloc(test, WORKERS, sizeof(*contenders), GFP_KERNEL);
	unsigned long *many = kunit_kcalloc(test, SCATTERED, sizeof(*many), GFP_KERNEL);
	unsigned long handles[SHARED];
	unsigned int shared = SHARED, one, other;
	u64 sum = 0;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, contenders);
	KUNIT_ASSERT_NOT_NULL(test, many);
	/* The last one is put together in a buffer. */
	if (scatter(test, pool, many, &one, &other))
		handles[SHARED - 1] = many[one];
	else
		shared--;
	for (i = 0; i < shared; i++) {
		void *address;

		if (i < SHARED - 1)
			handles[i] = zsrs_malloc(pool, sizes[i], GFP_KERNEL);
		KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(handles[i]));
		address = zsrs_map_object(pool, handles[i], ZSRS_MM_WO);
		KUNIT_ASSERT_NOT_NULL(test, address);
		memset(address, 0, sizes[i]);
		zsrs_unmap_object(pool, handles[i]);
	}
	for (i = 0; i < WORKERS; i++) {
		contenders[i].pool = pool;
		contenders[i].handles = handles;
		contenders[i].shared = shared;
	}
	contend(test, contenders, count_up, "zsrs_count", num_online_cpus());
	for (i = 0; i < shared; i++) {
		u64 *number = zsrs_map_object(pool, handles[i], ZSRS_MM_RO);

		sum += *number;
		zsrs_unmap_object(pool, handles[i]);
		zsrs_free(pool, handles[i]);
	}
	KUNIT_EXPECT_EQ(test, sum, (u64)WORKERS * ROUNDS);
	for (i = 0; i < SCATTERED; i++)
		if (shared < SHARED || i != one)
			zsrs_free(pool, many[i]);
	zsrs_destroy_pool(pool);
}

/*
 * Two tasks on one CPU map an object each that goes through the CPU's buffer. On
 * PREEMPT_RT one is preempted while it has the buffer, and the other waits for it
 * (rule W5); elsewhere neither meets the other.
 */
enum { TURNS = IS_ENABLED(CONFIG_PREEMPT_RT) ? 60 : 2000 };

static int take_turns(void *data)
{
	struct contender *contender = data;
	unsigned int i;

	for (i = 0; i < TURNS; i++) {
		u64 *number = zsrs_map_object(contender->pool, *contender->handles, ZSRS_MM_RW);

		if (!number) {
			contender->refused++;
			continue;
		}
		if (IS_ENABLED(CONFIG_PREEMPT_RT)) {
			unsigned long until = jiffies + msecs_to_jiffies(10);

			/* Long enough that the scheduler lets the other one run. */
			while (time_before(jiffies, until))
				cpu_relax();
		}
		WRITE_ONCE(*number, READ_ONCE(*number) + 1);
		zsrs_unmap_object(contender->pool, *contender->handles);
		cond_resched();
	}
	complete(&contender->done);
	return zsrs_wait_for_stop();
}

static void one_buffer_for_two(struct kunit *test)
{
	struct zsrs_pool *pool = zsrs_need_pool(test, "one_buffer_for_two");
	struct contender *contenders = kunit_kcalloc(test, WORKERS, sizeof(*contenders), GFP_KERNEL);
	unsigned long *handles = kunit_kcalloc(test, SCATTERED, sizeof(*handles), GFP_KERNEL);
	unsigned int chosen[WORKERS];
	bool found;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, contenders);
	KUNIT_ASSERT_NOT_NULL(test, handles);
	found = scatter(test, pool, handles, &chosen[0], &chosen[1]);
	for (i = 0; found && i < WORKERS; i++) {
		u64 *number = zsrs_map_object(pool, handles[chosen[i]], ZSRS_MM_WO);

		KUNIT_ASSERT_NOT_NULL(test, number);
		*number = 0;
		zsrs_unmap_object(pool, handles[chosen[i]]);
		contenders[i].pool = pool;
		contenders[i].handles = &handles[chosen[i]];
	}
	if (found)
		contend(test, contenders, take_turns, "zsrs_turns", 1);
	for (i = 0; found && i < WORKERS; i++) {
		u64 *number = zsrs_map_object(pool, handles[chosen[i]], ZSRS_MM_RO);

		KUNIT_EXPECT_EQ(test, *number, (u64)TURNS);
		zsrs_unmap_object(pool, handles[chosen[i]]);
	}
	for (i = 0; i < SCATTERED; i++)
		zsrs_free(pool, handles[i]);
	zsrs_destroy_pool(pool);
}

/*
 * Pools come and go on two CPUs while the kernel moves their pages (bug 4). A
 * zspage that has a page locked is freed late: at the latest with its pool.
 */
static int create_and_destroy(void *data)
{
	struct contender *contender = data;
	unsigned int i, j;

	for (i = 0; i < POOLS; i++) {
		struct zsrs_pool *pool = zsrs_create_pool(contender->name);
		unsigned long handles[OBJECTS_OF_POOL];

		if (!pool) {
			contender->refused++;
			continue;
		}
		for (j = 0; j < OBJECTS_OF_POOL; j++) {
			handles[j] = zsrs_malloc(pool, 1 + (i * 97 + j * 331) % PAGE_SIZE,
						 GFP_KERNEL);
			if (IS_ERR_VALUE(handles[j]))
				contender->refused++;
			else
				WRITE_ONCE(contender->pages[j], zsrs_page_of(pool, handles[j]));
		}
		zsrs_compact(pool);
		/* Where there is only one CPU, the mover finds pages now and then. */
		if (i % 32 == 0)
			schedule_timeout_uninterruptible(1);
		cond_resched();
		for (j = 0; j < OBJECTS_OF_POOL; j++)
			zsrs_free(pool, handles[j]);
		zsrs_destroy_pool(pool);
		cond_resched();
	}
	complete(&contender->done);
	return zsrs_wait_for_stop();
}

struct pages_mover {
	struct contender *contenders;
	u64 moved;
};

static int move_always(void *data)
{
	struct pages_mover *mover = data;

	while (!kthread_should_stop()) {
		int i, j;

		for (i = 0; i < WORKERS; i++) {
			for (j = 0; j < OBJECTS_OF_POOL; j++) {
				struct page *page = READ_ONCE(mover->contenders[i].pages[j]), *new;

				if (page && !zsrs_migrate(page, MIGRATE_ASYNC, &new))
					mover->moved++;
			}
			cond_resched();
		}
	}
	return 0;
}

static void pools_come_and_go(struct kunit *test)
{
	struct contender *contenders = kunit_kcalloc(test, WORKERS, sizeof(*contenders), GFP_KERNEL);
	struct pages_mover mover = { .contenders = contenders };
	struct task_struct *task;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, contenders);
	for (i = 0; i < WORKERS; i++)
		snprintf(contenders[i].name, sizeof(contenders[i].name), "comes_and_goes-%d", i);
	task = kthread_run(move_always, &mover, "zsrs_mover");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	contend(test, contenders, create_and_destroy, "zsrs_pools", num_online_cpus());
	kthread_stop(task);
	kunit_info(test, "%llu pages moved of %d pools", mover.moved, WORKERS * POOLS);
	if (IS_ENABLED(CONFIG_COMPACTION))
		KUNIT_EXPECT_GT(test, mover.moved, 0ull);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(map_is_exclusive),
	KUNIT_CASE(one_buffer_for_two),
	KUNIT_CASE_SLOW(pools_come_and_go),
	KUNIT_CASE_PARAM_ATTR(storm, part_gen_params, { .speed = KUNIT_SPEED_SLOW }),
	{}
};

struct kunit_suite zsrs_stress_suite = {
	.name = "zsrs_stress",
	.init = zsrs_counters_init,
	.exit = zsrs_counters_exit,
	.test_cases = cases,
};
