/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A pool that is grown, churned, compacted and drained step by step, while the
 * caller reads what else it costs (slabs, debugfs) in between.
 */

static struct set memory_set;

static void report_memory(const char *step)
{
	unsigned int i, live = 0;

	for (i = 0; i < memory_set.count; i++)
		live += !!memory_set.objects[i].handle;
	pr_info("BENCH {\"memory\":\"%s\",\"objects\":%u,\"live_bytes\":%llu,\"pages\":%lu}\n", step,
		live, live_bytes(&memory_set), bench_total_pages(memory_set.pool));
}

static int need_memory_set(void)
{
	if (memory_set.pool)
		return 0;
	pr_err("no pool is open: write \"open COUNT\" first\n");
	return -EINVAL;
}

static int run_open(unsigned int count)
{
	int error;

	if (memory_set.pool)
		return -EBUSY;
	error = set_open(&memory_set, count);
	return error;
}

/* Fills the pool up to this many objects. */
static int run_fill(unsigned int count)
{
	unsigned int room = memory_set.count;
	int error = need_memory_set();

	if (error)
		return error;
	memory_set.count = min(count, room);
	error = set_fill(&memory_set);
	memory_set.count = room;
	if (!error)
		report_memory("fill");
	return error;
}

static int run_churn(unsigned int rounds)
{
	int error = need_memory_set();

	error = error ?: set_churn(&memory_set, rounds);
	if (error)
		return error;
	report_memory("churning");
	/* As after draining: for what is done in the background. */
	msleep(50);
	report_memory("churn");
	return 0;
}

static int run_compact(unsigned int unused)
{
	int error = need_memory_set();

	if (error)
		return error;
	bench_compact(memory_set.pool);
	report_memory("compact");
	return 0;
}

/* Frees random objects until this many are left. */
static int run_drain(unsigned int left)
{
	unsigned int i, live = 0;
	int error = need_memory_set();

	if (error)
		return error;
	for (i = 0; i < memory_set.count; i++)
		live += !!memory_set.objects[i].handle;
	while (live > left) {
		struct object *object =
			&memory_set.objects[below(&memory_set.rnd, memory_set.count)];

		if (!object->handle)
			continue;
		bench_free(memory_set.pool, object->handle);
		object->handle = 0;
		if (--live % 1024 == 0)
			cond_resched();
	}
	msleep(50);
	report_memory("drain");
	return 0;
}

static int run_close(unsigned int unused)
{
	int error = need_memory_set();

	if (error)
		return error;
	error = verify(&memory_set, "close");
	set_close(&memory_set);
	return error;
}

/* Free pages of the machine, with those that CPUs keep for themselves. */
static unsigned long all_free_pages(void)
{
	unsigned long pages = 0;
	int nid, i, cpu;

	for_each_online_node(nid)
		for (i = 0; i < MAX_NR_ZONES; i++) {
			struct zone *zone = &NODE_DATA(nid)->node_zones[i];

			if (!populated_zone(zone))
				continue;
			pages += zone_page_state_snapshot(zone, NR_FREE_PAGES);
			for_each_online_cpu(cpu)
				pages += per_cpu_ptr(zone->per_cpu_pageset, cpu)->count;
		}
	return pages;
}

/* What an empty pool holds, as the free memory that many of them take. */
static int run_static(unsigned int count)
{
	struct bench_pool **pools = kcalloc(count, sizeof(*pools), GFP_KERNEL);
	unsigned long before, after;
	unsigned int i;
	int error = 0;

	if (!pools)
		return -ENOMEM;
	/* The first one pays for caches that all share. */
	bench_destroy_pool(bench_create_pool("bench_static"));
	before = all_free_pages();
	for (i = 0; i < count; i++) {
		char name[32];

		snprintf(name, sizeof(name), "bench_static_%u", i);
		pools[i] = bench_create_pool(name);
		if (!pools[i])
			error = -ENOMEM;
	}
	after = all_free_pages();
	for (i = 0; i < count; i++)
		if (pools[i])
			bench_destroy_pool(pools[i]);
	kfree(pools);
	figure("bytes_of_empty_pool", "%lu", (before - after) * PAGE_SIZE / count);
	return error;
}
