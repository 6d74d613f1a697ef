/* SPDX-License-Identifier: GPL-2.0 */
/* What single operations cost on one thread. */
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

/* Maps and unmaps every object once, in random order, without touching it. */
static int measure_map(struct set *set, const char *name, int mode)
{
	struct series series;
	unsigned int i;

	if (series_open(&series, name, set->count))
		return -ENOMEM;
	for (i = 0; i < set->count; i++) {
		unsigned long handle = set->objects[below(&set->rnd, set->count)].handle;

		if (!handle)
			continue;
		MEASURE(&series, ({
			bench_map(set->pool, handle, mode);
			bench_unmap(set->pool, handle);
		}));
		if (i % 1024 == 0)
			cond_resched();
	}
	series_close(&series);
	return 0;
}

/* Maps every object, takes its contents out, unmaps it: a swap-in. */
static int measure_read(struct set *set)
{
	struct series series;
	u8 *buffer = vmalloc(PAGE_SIZE);
	unsigned int i;

	if (!buffer || series_open(&series, "read", set->count)) {
		vfree(buffer);
		return -ENOMEM;
	}
	for (i = 0; i < set->count; i++) {
		struct object *object = &set->objects[below(&set->rnd, set->count)];

		if (!object->handle)
			continue;
		MEASURE(&series, ({
			void *address = bench_map(set->pool, object->handle, BENCH_RO);

			memcpy(buffer, address, object->size);
			bench_unmap(set->pool, object->handle);
		}));
		if (memcmp(buffer, contents + object->tag, object->size))
			set->corrupt = true;
		if (i % 1024 == 0)
			cond_resched();
	}
	series_close(&series);
	vfree(buffer);
	return 0;
}

static int measure_fill(struct set *set)
{
	struct series series;
	unsigned int i;

	if (series_open(&series, "malloc_fill", set->count))
		return -ENOMEM;
	for (i = 0; i < set->count; i++) {
		struct object *object = &set->objects[i];
		int error = 0;

		draw_object(set, object, &set->rnd);
		MEASURE(&series, error = make_object(set, object));
		if (error)
			break;
		write_object(set, object);
		if (i % 1024 == 0)
			cond_resched();
	}
	series_close(&series);
	return i < set->count ? -ENOMEM : 0;
}

/* Replaces random objects in a full pool, the parts timed apart. */
static int measure_churn(struct set *set)
{
	struct series frees, mallocs;
	unsigned int i;
	int error = 0;
	u64 start;

	if (series_open(&frees, "free", set->count))
		return -ENOMEM;
	if (series_open(&mallocs, "malloc_steady", set->count)) {
		series_close(&frees);
		return -ENOMEM;
	}
	start = rdtsc();
	for (i = 0; i < set->count && !error; i++) {
		struct object *object = &set->objects[below(&set->rnd, set->count)];

		MEASURE(&frees, bench_free(set->pool, object->handle));
		draw_object(set, object, &set->rnd);
		MEASURE(&mallocs, error = make_object(set, object));
		if (!error)
			write_object(set, object);
		if (i % 64 == 0)
			cond_resched();
	}
	/* With the writes, what workers did in between, and the loop itself. */
	figure("churn_elapsed", "%llu", rdtsc() - start);
	series_close(&frees);
	series_close(&mallocs);
	return error;
}

/* The same, timed together with the write: what overwriting a zram page costs. */
static int measure_pair(struct set *set)
{
	struct series series;
	unsigned int i;
	int error = 0;

	if (series_open(&series, "pair", set->count))
		return -ENOMEM;
	for (i = 0; i < set->count && !error; i++) {
		struct object *object = &set->objects[below(&set->rnd, set->count)];
		unsigned long old = object->handle;

		draw_object(set, object, &set->rnd);
		MEASURE(&series, ({
			bench_free(set->pool, old);
			error = make_object(set, object);
			if (!error)
				write_object(set, object);
		}));
		if (i % 1024 == 0)
			cond_resched();
	}
	series_close(&series);
	return error;
}

static int measure_drain(struct set *set)
{
	struct series series;
	unsigned int i, j;
	u64 start;

	if (series_open(&series, "free_drain", set->count))
		return -ENOMEM;
	for (i = set->count - 1; i; i--) {
		j = below(&set->rnd, i + 1);
		swap(set->objects[i], set->objects[j]);
	}
	start = rdtsc();
	for (i = 0; i < set->count; i++) {
		if (set->objects[i].handle)
			MEASURE(&series, bench_free(set->pool, set->objects[i].handle));
		set->objects[i].handle = 0;
		if (i % 64 == 0)
			cond_resched();
	}
	/* What is left to a worker now, which it would do in the next tick. */
	if (bench_total_pages(set->pool))
		bench_compact(set->pool);
	/* With that, with what workers did in between, and the loop itself. */
	figure("drain_elapsed", "%llu", rdtsc() - start);
	series_close(&series);
	if (bench_total_pages(set->pool)) {
		/* The last zspages may be a worker's to free. */
		msleep(50);
		figure("pages_after_drain", "%lu", bench_total_pages(set->pool));
	}
	return 0;
}

/* An object's place, as both allocators keep it: in the word that a handle points to. */
static u64 place(const struct object *object)
{
	return READ_ONCE(*(u64 *)object->handle);
}

/* Writes to a file of the kernel's, if there is one. */
static bool write_to(const char *path, const char *text)
{
	struct file *file = filp_open(path, O_WRONLY, 0);
	loff_t offset = 0;
	ssize_t written;

	if (IS_ERR(file))
		return false;
	written = kernel_write(file, text, strlen(text), &offset);
	filp_close(file, NULL);
	return written > 0;
}

#define BACKGROUND "/sys/module/zsmalloc_rs/parameters/background_compaction"

/*
 * Takes the free pages that this CPU has at hand: where compaction's pages go,
 * and what that costs, shall not depend on what was freed before.
 */
static void take_pages_at_hand(struct list_head *pages)
{
	enum { MORE_THAN_IT_HAS = SZ_64M / PAGE_SIZE };
	unsigned int i;

	for (i = 0; i < MORE_THAN_IT_HAS; i++) {
		struct page *page = alloc_page(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN);

		if (!page)
			return;
		list_add(&page->lru, pages);
	}
}

static void give_back(struct list_head *pages)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, pages, lru)
		__free_page(page);
}

/* Half of all objects is freed; then the pool is compacted. */
static int measure_compaction(struct set *set, const char *name)
{
	u64 *places = vmalloc_array(set->count, sizeof(u64));
	bool marked = !strcmp(name, profile);
	unsigned long pages, before, returned;
	unsigned int i, moved = 0;
	u64 start, cost, bytes = 0;
	LIST_HEAD(at_hand);

	if (!places)
		return -ENOMEM;
	/* What it would take away is to be counted here. C has none. */
	write_to(BACKGROUND, "N");
	set_thin(set, 50);
	for (i = 0; i < set->count; i++)
		places[i] = set->objects[i].handle ? place(&set->objects[i]) : 0;
	before = bench_total_pages(set->pool);
	take_pages_at_hand(&at_hand);
	if (marked)
		mark_begin();
	start = rdtsc();
	returned = bench_compact(set->pool);
	cost = rdtsc() - start;
	if (marked)
		mark_end();
	give_back(&at_hand);
	write_to(BACKGROUND, "Y");
	pages = bench_total_pages(set->pool);
	for (i = 0; i < set->count; i++)
		if (set->objects[i].handle && place(&set->objects[i]) != places[i]) {
			moved++;
			bytes += set->objects[i].size;
		}
	vfree(places);
	pr_info("BENCH {\"op\":\"%s\",\"count\":%u,\"sum\":%llu}\n", name, moved, cost);
	pr_info("BENCH {\"figure\":\"%s_bytes\",\"value\":%llu}\n", name, bytes);
	pr_info("BENCH {\"figure\":\"%s_pages_before\",\"value\":%lu}\n", name, before);
	pr_info("BENCH {\"figure\":\"%s_pages_after\",\"value\":%lu}\n", name, pages);
	pr_info("BENCH {\"figure\":\"%s_pages_returned\",\"value\":%lu}\n", name, returned);
	return 0;
}

/* The page that an object begins on; NULL if it was mapped through a buffer. */
static struct page *page_of(struct set *set, const struct object *object)
{
	void *address = bench_map(set->pool, object->handle, BENCH_RO);
	struct page *page = virt_addr_valid(address) ? virt_to_page(address) : NULL;

	if (page && !PageZsmalloc(page))
		page = NULL;
	bench_unmap(set->pool, object->handle);
	return page;
}

/* As the migration core does it: both pages locked, the old one isolated. */
static int migrate_one(struct page *old, struct series *series)
{
	struct page *new = alloc_page(GFP_KERNEL);
	const struct movable_operations *ops;
	int result = -EAGAIN;

	if (!new)
		return -ENOMEM;
	get_page(old);
	lock_page(old);
	lock_page(new);
	if (PageZsmalloc(old) && __PageMovable(old)) {
		ops = (void *)((unsigned long)old->mapping & ~PAGE_MAPPING_FLAGS);
		if (ops->isolate_page(old, 0)) {
			SetPageIsolated(old);
			MEASURE(series, result = ops->migrate_page(new, old, MIGRATE_SYNC_LIGHT));
			ClearPageIsolated(old);
			if (result)
				ops->putback_page(old);
		}
	}
	unlock_page(new);
	unlock_page(old);
	put_page(new);
	put_page(old);
	return result;
}

/* Replaces the page of every eighth object by another. */
static int measure_migration(struct set *set, const char *name)
{
	unsigned int i, refused = 0;
	struct series series;

	if (series_open(&series, name, set->count))
		return -ENOMEM;
	for (i = 0; i < set->count; i += 8) {
		struct object *object = &set->objects[i];
		struct page *page = object->handle ? page_of(set, object) : NULL;

		if (page && migrate_one(page, &series))
			refused++;
		if (i % 1024 == 0)
			cond_resched();
	}
	series_close(&series);
	pr_info("BENCH {\"figure\":\"%s_refused\",\"value\":%u}\n", name, refused);
	return 0;
}

/* How many objects are mapped through a buffer rather than in place. */
static void measure_split(struct set *set, const char *name)
{
	unsigned int i, bounced = 0, live = 0;

	for (i = 0; i < set->count; i++)
		if (set->objects[i].handle) {
			live++;
			bounced += !page_of(set, &set->objects[i]);
		}
	pr_info("BENCH {\"figure\":\"%s\",\"value\":%u,\"of\":%u}\n", name, bounced, live);
}

static int measure_create_destroy(void)
{
	enum { ROUNDS = 21 };
	struct series create, destroy;
	unsigned int i;

	if (series_open(&create, "create", ROUNDS))
		return -ENOMEM;
	if (series_open(&destroy, "destroy", ROUNDS)) {
		series_close(&create);
		return -ENOMEM;
	}
	for (i = 0; i < ROUNDS; i++) {
		struct bench_pool *pool;
		u64 start = rdtsc();

		pool = bench_create_pool("bench");
		series_add(&create, rdtsc() - start);
		if (!pool)
			break;
		start = rdtsc();
		bench_destroy_pool(pool);
		series_add(&destroy, rdtsc() - start);
	}
	series_close(&create);
	series_close(&destroy);
	return i < ROUNDS ? -ENOMEM : 0;
}

/* Makes the kernel compact all memory, which migrates pages of the pool. */
static void compact_memory(void)
{
	if (!write_to("/proc/sys/vm/compact_memory", "1"))
		pr_err("cannot write to compact_memory\n");
}

/* Pages that are kept from all others. */
struct hoard {
	struct page **pages;
	unsigned int count;
};

/* Takes pages until there are this many, or this few are free. */
static int hoard_take(struct hoard *hoard, unsigned int room, unsigned long leave)
{
	*hoard = (struct hoard){ .pages = vcalloc(room, sizeof(*hoard->pages)) };
	if (!hoard->pages)
		return -ENOMEM;
	while (hoard->count < room && global_zone_page_state(NR_FREE_PAGES) > leave) {
		struct page *page = alloc_page(GFP_KERNEL | __GFP_NOWARN | __GFP_NORETRY);

		if (!page)
			break;
		hoard->pages[hoard->count++] = page;
	}
	return 0;
}

/* Gives every other page back, so that no two of them are neighbours. */
static void hoard_thin(struct hoard *hoard)
{
	unsigned int i;

	for (i = 0; i < hoard->count; i += 2) {
		__free_page(hoard->pages[i]);
		hoard->pages[i] = NULL;
	}
}

static void hoard_drop(struct hoard *hoard)
{
	unsigned int i;

	for (i = 0; i < hoard->count; i++)
		if (hoard->pages[i])
			__free_page(hoard->pages[i]);
	vfree(hoard->pages);
}

/* Gives objects back their contents: mapping write-only and not writing leaves anything. */
static void rewrite(struct set *set)
{
	unsigned int i;

	for (i = 0; i < set->count; i++)
		if (set->objects[i].handle)
			write_object(set, &set->objects[i]);
}

/* All of it, on a fresh pool. */
#ifdef BENCH_EVICTS
static int evict(struct bench_pool *pool, unsigned long handle, void *private)
{
	unsigned int *evicted = private;

	++*evicted;
	bench_free(pool, handle);
	return 0;
}

/* A pool with objects of the same sizes is reclaimed; the handler but frees. */
static int measure_reclaim(struct set *set)
{
	unsigned int evicted = 0, live = 0, reclaimed, i;
	struct bench_pool *pool = zsrs_create_evictable_pool("bench", evict, &evicted);
	unsigned long handle, pages;
	u64 start, cost;
	int error = 0;

	if (!pool)
		return -ENOMEM;
	for (i = 0; i < set->count && !error; i++) {
		if (!set->objects[i].handle)
			continue;
		handle = bench_malloc(pool, set->objects[i].size, GFP_KERNEL);
		if (IS_ERR_VALUE(handle))
			error = -ENOMEM;
		else
			live++;
	}
	pages = bench_total_pages(pool);
	start = rdtsc();
	error = error ?: zsrs_shrink(pool, pages, &reclaimed);
	cost = rdtsc() - start;
	if (!error && (evicted != live || bench_total_pages(pool)))
		error = -EILSEQ;
	zsrs_shrink(pool, UINT_MAX, NULL);
	bench_destroy_pool(pool);
	if (!error) {
		figure("reclaim_object", "%llu", cost / live);
		figure("reclaim_page", "%llu", cost / pages);
	}
	return error;
}
#else
static int measure_reclaim(struct set *set)
{
	return 0;
}
#endif

static int run_cost(unsigned int count)
{
	struct set set;
	int error;

	error = measure_create_destroy();
	error = error ?: set_open(&set, count);
	if (error)
		return error;
	error = measure_fill(&set);
	figure("live_bytes_after_fill", "%llu", live_bytes(&set));
	figure("pages_after_fill", "%lu", bench_total_pages(set.pool));
	measure_split(&set, "split_fresh");
	error = error ?: measure_map(&set, "map_ro", BENCH_RO);
	error = error ?: measure_map(&set, "map_rw", BENCH_RW);
	error = error ?: verify(&set, "map");
	error = error ?: measure_map(&set, "map_wo", BENCH_WO);
	rewrite(&set);
	error = error ?: measure_read(&set);
	error = error ?: measure_churn(&set);
	error = error ?: verify(&set, "churn");
	error = error ?: measure_pair(&set);
	error = error ?: verify(&set, "pair");
	error = error ?: measure_compaction(&set, "compact_object");
	error = error ?: verify(&set, "compaction");
	error = error ?: set_fill(&set);
	error = error ?: measure_migration(&set, "migrate_page");
	error = error ?: verify(&set, "migration");
	error = error ?: measure_drain(&set);
	/* Pages come from where those of the drain went: no longer in a row. */
	error = error ?: set_fill(&set);
	measure_split(&set, "split_refilled");
	error = error ?: measure_map(&set, "map_refilled_ro", BENCH_RO);
	error = error ?: measure_map(&set, "map_refilled_rw", BENCH_RW);
	error = error ?: verify(&set, "refill");
	/* And a third of them is replaced by others: few zspages have theirs in a row. */
	error = error ?: measure_migration(&set, "migrate_refilled");
	error = error ?: measure_compaction(&set, "compact_refilled");
	error = error ?: verify(&set, "compaction");
	/* Last: C has none, and all before is to find the same memory on both sides. */
	error = error ?: measure_reclaim(&set);
	if (set.corrupt)
		error = -EILSEQ;
	set_close(&set);
	return error;
}

/* A pool on a machine that has had others. */
static int run_refill(unsigned int count)
{
	struct set set;
	int error;

	error = set_open(&set, count);
	if (error)
		return error;
	error = measure_fill(&set);
	error = error ?: verify(&set, "refill");
	set_close(&set);
	return error;
}

/* Frees, allocations and a compaction of all memory; then maps. */
static int measure_aged(struct set *set, const char *split, const char *ro, const char *rw)
{
	int error;

	error = set_fill(set);
	error = error ?: set_churn(set, 4 * set->count);
	set_thin(set, 30);
	compact_memory();
	error = error ?: set_fill(set);
	measure_split(set, split);
	error = error ?: measure_map(set, ro, BENCH_RO);
	error = error ?: measure_map(set, rw, BENCH_RW);
	return error ?: verify(set, split);
}

/* The same where this many pages of the memory are free, no two of them neighbours if `thin`. */
static int measure_scarce(unsigned int count, unsigned long leave, bool thin, const char *split,
			  const char *ro, const char *rw)
{
	struct hoard hoard;
	struct set set;
	int error;

	error = set_open(&set, count);
	if (error)
		return error;
	error = hoard_take(&hoard, totalram_pages(), leave);
	if (thin)
		hoard_thin(&hoard);
	error = error ?: measure_aged(&set, split, ro, rw);
	set_close(&set);
	hoard_drop(&hoard);
	return error;
}

/* A pool that has lived on a machine with little free memory. */
static int run_aged(unsigned int count)
{
	/* A mean object takes less than half a page. */
	return measure_scarce(count, count, false, "split_aged", "map_aged_ro", "map_aged_rw");
}

/* The worst case: no two pages of a zspage are neighbours. */
static int run_fragmented(unsigned int count)
{
	return measure_scarce(count, 8192, true, "split_fragmented", "map_fragmented_ro",
			      "map_fragmented_rw");
}
