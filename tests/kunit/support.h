/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the KUnit suites of zsmalloc_rs share: the exact counters of the module,
 * contents that can be checked, and sizes as compressors make them.
 */
#ifndef _ZSRS_KUNIT_SUPPORT_H
#define _ZSRS_KUNIT_SUPPORT_H

#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/prandom.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <linux/unaligned.h>
#include <linux/vmalloc.h>
#include <linux/vmstat.h>
#include <zsmalloc_rs.h>

#define ZSRS_STATS "/sys/kernel/debug/zsmalloc_rs/stats"

/*
 * What the module holds, over all pools: /sys/kernel/debug/zsmalloc_rs/stats,
 * and the kernel's own count of zspage pages.
 */
struct zsrs_counters {
	long pools;
	long zspages_live;
	long zspage_pages;
	long pages_live;
	long words_live;
	long word_pages;
	long nr_zspages;
};

/* NR_ZSPAGES of all zones with the CPUs' parts. */
static inline long zsrs_sum_nr_zspages(void)
{
	long pages = 0;
	int nid, i;

	for_each_online_node(nid)
		for (i = 0; i < MAX_NR_ZONES; i++) {
			struct zone *zone = &NODE_DATA(nid)->node_zones[i];

			if (populated_zone(zone))
				pages += zone_page_state_snapshot(zone, NR_ZSPAGES);
		}
	return pages;
}

/*
 * NR_ZSPAGES of a zone, or of all if that is NULL, exact while nobody allocates. A
 * CPU's part that is folded in while it is summed up is missed: a sum counts if it
 * comes out three times.
 */
static inline long zsrs_nr_zspages_of(struct zone *zone)
{
	long pages = -1, again;
	int same = 0;

	while (same < 3) {
		again = zone ? (long)zone_page_state_snapshot(zone, NR_ZSPAGES) :
			       zsrs_sum_nr_zspages();
		same = again == pages ? same + 1 : 1;
		pages = again;
	}
	return pages;
}

static inline long zsrs_nr_zspages(void)
{
	return zsrs_nr_zspages_of(NULL);
}

/* The number beside @key in "key value" lines; -1 if there is none. */
static inline long zsrs_number(const char *text, const char *key)
{
	size_t len = strlen(key);
	const char *line = text;
	long value;

	while (line && *line) {
		if (!strncmp(line, key, len) && line[len] == ' ' &&
		    sscanf(line + len, "%ld", &value) == 1)
			return value;
		line = strchr(line, '\n');
		if (line)
			line++;
	}
	return -1;
}

/*
 * Reads a file of debugfs as text. seq_read_iter() takes the place of read(),
 * which these files offer for user memory only.
 */
static inline int zsrs_read_text(const char *path, char *text, size_t size)
{
	struct kvec vec = { .iov_base = text, .iov_len = size - 1 };
	struct iov_iter iter;
	struct kiocb kiocb;
	struct file *file;
	ssize_t len;

	file = filp_open(path, O_RDONLY, 0);
	if (IS_ERR(file))
		return PTR_ERR(file);
	init_sync_kiocb(&kiocb, file);
	iov_iter_kvec(&iter, ITER_DEST, &vec, 1, vec.iov_len);
	len = seq_read_iter(&kiocb, &iter);
	filp_close(file, NULL);
	if (len < 0)
		return len;
	text[len] = '\0';
	return 0;
}

/* One number of the statistics of the pool called @name; -1 if there is none. */
static inline long zsrs_pool_number(const char *name, const char *key)
{
	char path[128], text[512];

	snprintf(path, sizeof(path), "/sys/kernel/debug/zsmalloc_rs/%s/stats", name);
	return zsrs_read_text(path, text, sizeof(text)) ? -1 : zsrs_number(text, key);
}

/* The same of the module's. */
static inline long zsrs_module_number(const char *key)
{
	char text[512];

	return zsrs_read_text(ZSRS_STATS, text, sizeof(text)) ? -1 : zsrs_number(text, key);
}

static inline int zsrs_read_counters(struct zsrs_counters *counters)
{
	char text[512];
	int error = zsrs_read_text(ZSRS_STATS, text, sizeof(text));

	if (error)
		return error;
	counters->pools = zsrs_number(text, "pools");
	counters->zspages_live = zsrs_number(text, "zspages_live");
	counters->zspage_pages = zsrs_number(text, "zspage_pages");
	counters->pages_live = zsrs_number(text, "pages_live");
	counters->words_live = zsrs_number(text, "words_live");
	counters->word_pages = zsrs_number(text, "word_pages");
	counters->nr_zspages = zsrs_nr_zspages();
	return counters->pools < 0 || counters->zspages_live < 0 ||
	       counters->pages_live < 0 || counters->words_live < 0 ||
	       counters->word_pages < 0 || counters->zspage_pages < 0 ? -EPROTO : 0;
}

/* Fails the test if the module does not hold what it held at @before. */
static inline void zsrs_expect_counters(struct kunit *test,
					const struct zsrs_counters *before)
{
	struct zsrs_counters now;
	/* Free words, or descriptors, that a CPU may keep: 64, each in a page of its own. */
	long kept = 64 * num_possible_cpus();

	KUNIT_ASSERT_EQ(test, zsrs_read_counters(&now), 0);
	KUNIT_EXPECT_EQ(test, now.pools, before->pools);
	KUNIT_EXPECT_EQ(test, now.zspages_live, before->zspages_live);
	KUNIT_EXPECT_EQ(test, now.pages_live, before->pages_live);
	KUNIT_EXPECT_EQ(test, now.words_live, before->words_live);
	KUNIT_EXPECT_EQ(test, now.nr_zspages, before->nr_zspages);
	KUNIT_EXPECT_LE(test, now.word_pages, now.words_live + kept + 1);
	KUNIT_EXPECT_LE(test, now.zspage_pages, now.zspages_live + kept + 1);
}

/* Remembers the counters for zsrs_counters_exit(). */
static inline int zsrs_counters_init(struct kunit *test)
{
	struct zsrs_counters *before = kunit_kzalloc(test, sizeof(*before), GFP_KERNEL);
	int error;

	if (!before)
		return -ENOMEM;
	error = zsrs_read_counters(before);
	if (error)
		kunit_err(test, "cannot read " ZSRS_STATS ": is zsmalloc-rs.ko loaded and debugfs mounted?");
	test->priv = before;
	return error;
}

/* A test must leave behind what it found. Fails it even after an abort. */
static inline void zsrs_counters_exit(struct kunit *test)
{
	if (test->priv)
		zsrs_expect_counters(test, test->priv);
}

/*
 * Contents: a piece of random bytes that begins where the object's number says,
 * with the number itself in the first bytes. A byte too far, an object of
 * somebody else or half of one: all differ.
 */
struct zsrs_contents {
	u8 bytes[2 * PAGE_SIZE];
};

static inline struct zsrs_contents *zsrs_contents_new(u64 seed)
{
	struct zsrs_contents *contents = kmalloc(sizeof(*contents), GFP_KERNEL);
	struct rnd_state rnd;

	if (contents) {
		prandom_seed_state(&rnd, seed);
		prandom_bytes_state(&rnd, contents->bytes, sizeof(contents->bytes));
	}
	return contents;
}

static inline const u8 *zsrs_contents_of(const struct zsrs_contents *contents, u32 number)
{
	return contents->bytes + (number * 2654435761u >> 7) % PAGE_SIZE;
}

/* Bytes at the start of an object of @size bytes that hold its number. */
static inline size_t zsrs_label_len(size_t size)
{
	return min(size, sizeof(u32));
}

static inline void zsrs_fill(const struct zsrs_contents *contents, u32 number,
			     void *address, size_t size)
{
	size_t label = zsrs_label_len(size);
	u8 bytes[sizeof(u32)];

	put_unaligned_le32(number, bytes);
	memcpy(address, bytes, label);
	memcpy(address + label, zsrs_contents_of(contents, number) + label, size - label);
}

/* Whether all @size bytes are those of zsrs_fill(). */
static inline bool zsrs_is_filled(const struct zsrs_contents *contents, u32 number,
				  const void *address, size_t size)
{
	size_t label = zsrs_label_len(size);
	u8 bytes[sizeof(u32)];

	put_unaligned_le32(number, bytes);
	return !memcmp(address, bytes, label) &&
	       !memcmp(address + label, zsrs_contents_of(contents, number) + label,
		       size - label);
}

/* Maps, fills and unmaps an object; false if it could not be mapped. */
static inline bool zsrs_write_object(struct zsrs_pool *pool, unsigned long handle,
				     enum zsrs_mapmode mode,
				     const struct zsrs_contents *contents,
				     u32 number, size_t size)
{
	void *address = zsrs_map_object(pool, handle, mode);

	if (!address)
		return false;
	zsrs_fill(contents, number, address, size);
	zsrs_unmap_object(pool, handle);
	return true;
}

/* Maps an object for reading and compares all its bytes. */
static inline bool zsrs_check_object(struct zsrs_pool *pool, unsigned long handle,
				     const struct zsrs_contents *contents,
				     u32 number, size_t size)
{
	const void *address = zsrs_map_object(pool, handle, ZSRS_MM_RO);
	bool good;

	if (!address)
		return false;
	good = zsrs_is_filled(contents, number, address, size);
	zsrs_unmap_object(pool, handle);
	return good;
}

/* The page that an object lies on; NULL if it is not addressed in place. */
static inline struct page *zsrs_page_of(struct zsrs_pool *pool, unsigned long handle)
{
	void *address = zsrs_map_object(pool, handle, ZSRS_MM_RO);
	struct page *page;

	if (!address)
		return NULL;
	page = virt_to_page(address);
	zsrs_unmap_object(pool, handle);
	return PageZsmalloc(page) ? page : NULL;
}

/*
 * This CPU's bounce buffer: the address that two objects near each other have,
 * @one and @other of @handles. NULL if there are no such. Migration is disabled.
 */
static inline void *zsrs_find_buffer(struct zsrs_pool *pool, const unsigned long *handles,
				     unsigned int count, unsigned int *one, unsigned int *other)
{
	for (*one = 0; *one < count; ++*one) {
		void *first = zsrs_map_object(pool, handles[*one], ZSRS_MM_RO);

		zsrs_unmap_object(pool, handles[*one]);
		for (*other = *one + 1; *other < min(*one + 12, count); ++*other) {
			void *second = zsrs_map_object(pool, handles[*other], ZSRS_MM_RO);

			zsrs_unmap_object(pool, handles[*other]);
			if (second && second == first)
				return first;
		}
	}
	return NULL;
}

/* A number below @end. */
static inline u32 zsrs_below(struct rnd_state *rnd, u32 end)
{
	return ((u64)prandom_u32_state(rnd) * end) >> 32;
}

/*
 * A size as compressors make them of memory pages: a few nearly empty pages,
 * most at a third to a half, some that hardly compress, some not at all. The
 * mean is about 1.5 KB of 4 KB.
 */
static inline size_t zsrs_realistic_size(struct rnd_state *rnd)
{
	u32 kind = zsrs_below(rnd, 100);
	size_t k = PAGE_SIZE / 64;

	if (kind < 15)
		return 20 + zsrs_below(rnd, 6 * k);
	if (kind < 55)
		return 6 * k + zsrs_below(rnd, 18 * k);
	if (kind < 85)
		return 20 * k + zsrs_below(rnd, 20 * k);
	if (kind < 97)
		return 36 * k + zsrs_below(rnd, 26 * k);
	return PAGE_SIZE;
}

/* Every other size realistic, the rest all over the range. */
static inline size_t zsrs_any_size(struct rnd_state *rnd)
{
	if (prandom_u32_state(rnd) & 1)
		return zsrs_realistic_size(rnd);
	return 1 + zsrs_below(rnd, PAGE_SIZE);
}

/* How a kthread ends: kthread_stop() needs it to be there still. */
static inline int zsrs_wait_for_stop(void)
{
	while (!kthread_should_stop()) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (!kthread_should_stop())
			schedule();
		__set_current_state(TASK_RUNNING);
	}
	return 0;
}

/* An allocated pool, or the test ends. */
static inline struct zsrs_pool *zsrs_need_pool(struct kunit *test, const char *name)
{
	struct zsrs_pool *pool = zsrs_create_pool(name);

	KUNIT_ASSERT_NOT_NULL_MSG(test, pool, "no memory for pool %s", name);
	return pool;
}

/* Whether a pool comes to so many pages when the worker frees what waits for it, in ten seconds. */
static inline bool zsrs_comes_to_pages(struct zsrs_pool *pool, unsigned long pages)
{
	int i;

	for (i = 0; i < 1000 && zsrs_get_total_pages(pool) != pages; i++)
		msleep(10);
	return zsrs_get_total_pages(pool) == pages;
}

/*
 * Fills a zspage with objects 0, 1, ... of @size bytes, and returns how many fit.
 * The one more that opens a second zspage is freed again.
 */
static inline unsigned int zsrs_fill_zspage(struct kunit *test, struct zsrs_pool *pool,
					    const struct zsrs_contents *contents, size_t size,
					    unsigned long *handles, unsigned int most)
{
	unsigned long pages = 0;
	unsigned int count = 0;

	for (;;) {
		unsigned long handle = zsrs_malloc(pool, size, GFP_KERNEL);

		KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(handle));
		if (count && zsrs_get_total_pages(pool) != pages) {
			zsrs_free(pool, handle);
			KUNIT_ASSERT_EQ(test, zsrs_get_total_pages(pool), pages);
			return count;
		}
		KUNIT_ASSERT_LT(test, count, most);
		KUNIT_ASSERT_TRUE(test, zsrs_write_object(pool, handle, ZSRS_MM_WO, contents,
							  count, size));
		pages = zsrs_get_total_pages(pool);
		handles[count++] = handle;
	}
}

#define ZSRS_BACKGROUND "/sys/module/zsmalloc_rs/parameters/background_compaction"

/* Turns compaction in the background on or off, for suites that count pages. */
static inline int zsrs_background_compaction(bool on)
{
	struct file *file = filp_open(ZSRS_BACKGROUND, O_WRONLY, 0);
	loff_t position = 0;
	ssize_t written;

	if (IS_ERR(file))
		return PTR_ERR(file);
	written = kernel_write(file, on ? "Y" : "N", 1, &position);
	filp_close(file, NULL);
	return written == 1 ? 0 : -EIO;
}

/* .suite_init and .suite_exit of such suites. */
static inline int zsrs_background_off(struct kunit_suite *suite)
{
	return zsrs_background_compaction(false);
}

static inline void zsrs_background_on(struct kunit_suite *suite)
{
	zsrs_background_compaction(true);
}

#endif
