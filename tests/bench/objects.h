/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A pool and its objects: sizes drawn from a histogram, contents that are known
 * from a tag, so that each object can be verified.
 */
#include <linux/prandom.h>
#include <linux/vmalloc.h>

/* Shares of sizes 1-64, 65-128 ... in the mix. */
static unsigned int sizes[64];
static int nr_sizes;
module_param_array(sizes, uint, &nr_sizes, 0644);
MODULE_PARM_DESC(sizes, "Histogram of object sizes, a share for each 64 bytes");

static unsigned int seed = 1;
module_param(seed, uint, 0644);
MODULE_PARM_DESC(seed, "Of the sequences of operations");

struct object {
	unsigned long handle;
	u16 size;
	u16 tag;
};

/* The objects of a scenario. */
struct set {
	struct bench_pool *pool;
	struct object *objects;
	unsigned int count;
	unsigned int shares;
	u64 live_bytes;
	struct rnd_state rnd;
	bool corrupt;
};

/* Contents: an object's are those at its tag. */
static u8 contents[3 * PAGE_SIZE];

static u32 below(struct rnd_state *rnd, u32 limit)
{
	return ((u64)prandom_u32_state(rnd) * limit) >> 32;
}

static u16 draw_size(struct set *set, struct rnd_state *rnd)
{
	u32 share = below(rnd, set->shares);
	unsigned int bin = 0;

	while (bin < 63 && share >= sizes[bin])
		share -= sizes[bin++];
	return bin * 64 + 1 + below(rnd, 64);
}

static void write_object(struct set *set, struct object *object)
{
	void *address = bench_map(set->pool, object->handle, BENCH_WO);

	memcpy(address, contents + object->tag, object->size);
	bench_unmap(set->pool, object->handle);
}

/* Gives a free place in the table new contents: a size and a tag. */
static void draw_object(struct set *set, struct object *object, struct rnd_state *rnd)
{
	object->size = draw_size(set, rnd);
	object->tag = below(rnd, 2 * PAGE_SIZE);
}

static int make_object(struct set *set, struct object *object)
{
	object->handle = bench_malloc(set->pool, object->size, GFP_KERNEL);
	if (IS_ERR_VALUE(object->handle)) {
		object->handle = 0;
		return -ENOMEM;
	}
	return 0;
}

static int verify_object(struct set *set, struct object *object)
{
	void *address;
	int difference;

	address = bench_map(set->pool, object->handle, BENCH_RO);
	difference = memcmp(address, contents + object->tag, object->size);
	bench_unmap(set->pool, object->handle);
	return difference ? -EILSEQ : 0;
}

/* Compares the contents of all objects. */
static int verify(struct set *set, const char *when)
{
	unsigned int i, corrupt = 0;

	for (i = 0; i < set->count; i++) {
		if (set->objects[i].handle && verify_object(set, &set->objects[i]))
			corrupt++;
		if (i % 1024 == 0)
			cond_resched();
	}
	if (!corrupt)
		return 0;
	pr_err("BENCH {\"corrupt\":%u,\"when\":\"%s\"}\n", corrupt, when);
	set->corrupt = true;
	return -EILSEQ;
}

static u64 live_bytes(const struct set *set)
{
	u64 bytes = 0;
	unsigned int i;

	for (i = 0; i < set->count; i++)
		if (set->objects[i].handle)
			bytes += set->objects[i].size;
	return bytes;
}

static void set_close(struct set *set)
{
	unsigned int i;

	for (i = 0; set->objects && i < set->count; i++)
		if (set->objects[i].handle)
			bench_free(set->pool, set->objects[i].handle);
	if (set->pool)
		bench_destroy_pool(set->pool);
	vfree(set->objects);
	memset(set, 0, sizeof(*set));
}

/* An empty pool, and room for this many objects. */
static int set_open(struct set *set, unsigned int count)
{
	int i;

	memset(set, 0, sizeof(*set));
	prandom_seed_state(&set->rnd, seed);
	prandom_bytes_state(&set->rnd, contents, sizeof(contents));
	for (i = 0; i < nr_sizes; i++)
		set->shares += sizes[i];
	if (nr_sizes != ARRAY_SIZE(sizes) || !set->shares) {
		pr_err("sizes= needs 64 numbers, the histogram of a size distribution\n");
		return -EINVAL;
	}
	set->count = count;
	set->objects = vcalloc(count, sizeof(*set->objects));
	set->pool = bench_create_pool("bench");
	if (set->objects && set->pool)
		return 0;
	set_close(set);
	return -ENOMEM;
}

/* Allocates and writes all objects that are not there. */
static int set_fill(struct set *set)
{
	unsigned int i;

	for (i = 0; i < set->count; i++) {
		struct object *object = &set->objects[i];

		if (object->handle)
			continue;
		draw_object(set, object, &set->rnd);
		if (make_object(set, object))
			return -ENOMEM;
		write_object(set, object);
		if (i % 1024 == 0)
			cond_resched();
	}
	return 0;
}

/* Frees a random share of all objects, given in percent. */
static void set_thin(struct set *set, unsigned int percent)
{
	unsigned int i;

	for (i = 0; i < set->count; i++) {
		struct object *object = &set->objects[i];

		if (object->handle && below(&set->rnd, 100) < percent) {
			bench_free(set->pool, object->handle);
			object->handle = 0;
		}
		if (i % 1024 == 0)
			cond_resched();
	}
}

/* Replaces random objects by new ones of other sizes. */
static int set_churn(struct set *set, unsigned int rounds)
{
	while (rounds--) {
		struct object *object = &set->objects[below(&set->rnd, set->count)];

		if (object->handle)
			bench_free(set->pool, object->handle);
		draw_object(set, object, &set->rnd);
		if (make_object(set, object))
			return -ENOMEM;
		write_object(set, object);
		if (rounds % 1024 == 0)
			cond_resched();
	}
	return 0;
}
