// SPDX-License-Identifier: GPL-2.0
/*
 * zsrs_store: pages, compressed in memory up to a limit, beyond it on a disk.
 *
 * An example of a pool with an evict handler, see Documentation/writeback.rst:
 * what zswap did from 6.2 to 6.4, for a device instead of for swap.
 *
 *     insmod zsrs_store.ko device=/dev/vdb limit=1024
 *
 * makes /dev/zsrs_store, an array of pages as large as the disk. Page number N
 * is read and written at byte N * PAGE_SIZE, whole pages only; a page that was
 * never written is all zeros. A written page is compressed and stored in the
 * pool. When the pool has `limit` pages, its coldest zspage is reclaimed before
 * anything is stored: its objects are decompressed and written to the disk,
 * page N to block N. Writing zeros drops a page. What was on the disk before is
 * overwritten, and the store ends with the module.
 *
 * /sys/kernel/debug/zsrs_store/stats has counters; a number of pages written to
 * "shrink" there is reclaimed.
 *
 * Locks. A page's slot is guarded by one of NR_LOCKS spinlocks. Under it the
 * handle in the slot is live: whoever takes it out of the slot frees it before
 * the lock is dropped. So the evict handler, which knows a handle only, may map
 * that if the slot still has it, and after its I/O sees by the handle whether
 * the page was overwritten meanwhile. Order: slot lock, then what the allocator
 * and the xarray lock; no two slot locks.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/crc32.h>
#include <linux/crypto.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/wait.h>
#include <linux/xarray.h>
#include <zsmalloc_rs.h>

static char *device;
module_param(device, charp, 0444);
MODULE_PARM_DESC(device, "Block device for evicted pages; its contents are overwritten");

static unsigned int limit = 1024;
module_param(limit, uint, 0444);
MODULE_PARM_DESC(limit, "Pages of memory for compressed pages (default 1024)");

static char *compressor = "lzo-rle";
module_param(compressor, charp, 0444);
MODULE_PARM_DESC(compressor, "Compression algorithm of the kernel (default lzo-rle)");

enum {
	/* Below it, one zspage of each size in use would already be too much. */
	MIN_LIMIT = 64,
	NR_LOCKS = 64,
	/* A compressed page, also one that grew. */
	OBJECT_ORDER = 1,
	/* How many zspages a reclaim tries, and how often a writer has one done. */
	RECLAIM_TRIES = 8,
	FULL_TRIES = 16,
};

/*
 * struct slot - where a page is; all zero if it is nowhere, so full of zeros
 * @handle: its object in the pool, or 0
 * @checksum: of the uncompressed page
 * @version: counts the changes of what is here
 * @size: bytes of the object; PAGE_SIZE if it is not compressed
 * @on_disk: it is on the disk; @handle is 0
 * @writing: an evict handler is writing the disk's block of this page
 */
struct slot {
	unsigned long handle;
	u32 checksum;
	u32 version;
	u32 size;
	bool on_disk;
	bool writing;
};

/*
 * struct stream - what it takes to compress or decompress a page
 * @object: the compressed page
 * @page: the evict handler's, for the page as it goes to the disk
 *
 * A task has one at most and does not wait for other streams while it has it.
 */
struct stream {
	struct list_head list;
	struct crypto_comp *tfm;
	void *object;
	void *page;
};

enum counter {
	/* What is here now. */
	STORED,			/* pages in the pool */
	STORED_BYTES,		/* their bytes, compressed */
	ON_DISK,		/* pages on the disk */
	/* What has happened. */
	EVICTED,		/* pages that went from the pool to the disk */
	EVICTED_BYTES,		/* their bytes, compressed */
	OVERTAKEN,		/* pages that were overwritten while they were evicted */
	READ_FROM_POOL,
	READ_FROM_DISK,
	REFUSED,		/* evictions that failed */
	REJECTED,		/* writes that failed because the pool was full */
	IO_ERRORS,		/* reads and writes that the disk failed */
	CORRUPT,		/* pages that were not what was stored */
	POOL_PAGES_PEAK,	/* most pages that the pool had */
	NR_COUNTERS,
};

static const char *const counter_names[NR_COUNTERS] = {
	[STORED] = "stored",
	[STORED_BYTES] = "stored_bytes",
	[ON_DISK] = "on_disk",
	[EVICTED] = "evicted",
	[EVICTED_BYTES] = "evicted_bytes",
	[OVERTAKEN] = "overtaken",
	[READ_FROM_POOL] = "read_from_pool",
	[READ_FROM_DISK] = "read_from_disk",
	[REFUSED] = "refused",
	[REJECTED] = "rejected",
	[IO_ERRORS] = "io_errors",
	[CORRUPT] = "corrupt",
	[POOL_PAGES_PEAK] = "pool_pages_peak",
};

static struct store {
	struct zsrs_pool *pool;
	struct file *disk_file;
	struct block_device *disk;

	struct slot *slots;
	unsigned long nr_slots;
	spinlock_t locks[NR_LOCKS];	/* of the slots, see lock_of() */
	/* From handle_key() to the slot's index; as the slots, under their locks. */
	struct xarray by_handle;

	struct list_head streams;	/* those that nobody has */
	spinlock_t streams_lock;
	wait_queue_head_t streams_wait;

	atomic_long_t counters[NR_COUNTERS];
	struct dentry *debugfs;
} store;

static void count(enum counter counter, long by)
{
	atomic_long_add(by, &store.counters[counter]);
}

/* ---- streams ---- */

static struct stream *try_take_stream(void)
{
	struct stream *stream;

	spin_lock(&store.streams_lock);
	stream = list_first_entry_or_null(&store.streams, struct stream, list);
	if (stream)
		list_del(&stream->list);
	spin_unlock(&store.streams_lock);
	return stream;
}

static struct stream *take_stream(void)
{
	struct stream *stream;

	wait_event(store.streams_wait, (stream = try_take_stream()));
	return stream;
}

static void put_stream(struct stream *stream)
{
	spin_lock(&store.streams_lock);
	list_add(&stream->list, &store.streams);
	spin_unlock(&store.streams_lock);
	wake_up(&store.streams_wait);
}

static void free_stream(struct stream *stream)
{
	if (!IS_ERR_OR_NULL(stream->tfm))
		crypto_free_comp(stream->tfm);
	free_pages((unsigned long)stream->object, OBJECT_ORDER);
	free_page((unsigned long)stream->page);
	kfree(stream);
}

static void free_streams(void)
{
	struct stream *stream;

	while ((stream = try_take_stream()))
		free_stream(stream);
}

static int add_stream(void)
{
	struct stream *stream = kzalloc(sizeof(*stream), GFP_KERNEL);
	int err = -ENOMEM;

	if (!stream)
		return err;
	stream->object = (void *)__get_free_pages(GFP_KERNEL, OBJECT_ORDER);
	stream->page = (void *)__get_free_page(GFP_KERNEL);
	if (!stream->object || !stream->page)
		goto fail;
	stream->tfm = crypto_alloc_comp(compressor, 0, 0);
	if (IS_ERR(stream->tfm)) {
		err = PTR_ERR(stream->tfm);
		goto fail;
	}
	put_stream(stream);
	return 0;
fail:
	free_stream(stream);
	return err;
}

/* Returns the size of stream->object, which is @page itself if that is smaller. */
static unsigned int compress(struct stream *stream, const void *page)
{
	unsigned int size = PAGE_SIZE << OBJECT_ORDER;

	if (crypto_comp_compress(stream->tfm, page, PAGE_SIZE, stream->object, &size) ||
	    size >= zsrs_huge_class_size(store.pool)) {
		memcpy(stream->object, page, PAGE_SIZE);
		size = PAGE_SIZE;
	}
	return size;
}

/* Checks that a page is the one that was stored. */
static int check_page(unsigned long index, const void *page, u32 checksum, const char *from)
{
	if (crc32(~0, page, PAGE_SIZE) == checksum)
		return 0;
	count(CORRUPT, 1);
	pr_err_ratelimited("page %lu is not what was stored, read from %s\n", index, from);
	return -EIO;
}

/* What compress() did, backwards; @size and @checksum are the slot's. */
static int decompress(struct stream *stream, unsigned long index, unsigned int size,
		      u32 checksum, void *page)
{
	unsigned int len = PAGE_SIZE;

	if (size == PAGE_SIZE)
		memcpy(page, stream->object, PAGE_SIZE);
	else if (crypto_comp_decompress(stream->tfm, stream->object, size, page, &len) ||
		 len != PAGE_SIZE)
		memset(page, 0, PAGE_SIZE); /* No page of zeros is stored. */
	return check_page(index, page, checksum, "the pool");
}

/* ---- the disk ---- */

/* Reads or writes block @index, and waits for it. @page is a page of its own. */
static int disk_io(blk_opf_t op, unsigned long index, void *page)
{
	struct bio_vec vec;
	struct bio bio;
	int err;

	bio_init(&bio, store.disk, &vec, 1, op | REQ_SYNC);
	bio.bi_iter.bi_sector = (sector_t)index << (PAGE_SHIFT - SECTOR_SHIFT);
	__bio_add_page(&bio, virt_to_page(page), PAGE_SIZE, 0);
	err = submit_bio_wait(&bio);
	bio_uninit(&bio);
	if (err)
		count(IO_ERRORS, 1);
	return err;
}

/* ---- slots ---- */

static spinlock_t *lock_of(unsigned long index)
{
	return &store.locks[index % NR_LOCKS];
}

/* Handles are multiples of 8. */
static unsigned long handle_key(unsigned long handle)
{
	return handle >> 3;
}

/* Empties a slot, under its lock. */
static void clear_slot(struct slot *slot)
{
	if (slot->handle) {
		xa_erase(&store.by_handle, handle_key(slot->handle));
		zsrs_free(store.pool, slot->handle);
		slot->handle = 0;
		count(STORED, -1);
		count(STORED_BYTES, -(long)slot->size);
	}
	if (slot->on_disk) {
		slot->on_disk = false;
		count(ON_DISK, -1);
	}
	slot->version++;
}

/* Copies a slot's object out of the pool, under its lock. */
static void copy_object(const struct slot *slot, struct stream *stream)
{
	void *object = zsrs_map_object(store.pool, slot->handle, ZSRS_MM_RO);

	memcpy(stream->object, object, slot->size);
	zsrs_unmap_object(store.pool, slot->handle);
}

/*
 * The evict handler: writes an object's page to the disk. Called by whoever
 * reclaims, with no lock held and no stream taken.
 */
static int evict(struct zsrs_pool *pool, unsigned long handle, void *private)
{
	void *entry = xa_load(&store.by_handle, handle_key(handle));
	unsigned long index;
	struct stream *stream;
	struct slot *slot;
	unsigned int size;
	u32 checksum;
	int err = 0;

	/* Gone, or so new that it is in no slot yet: the allocator sees which. */
	if (!entry)
		return 0;
	index = xa_to_value(entry);
	slot = &store.slots[index];

	stream = take_stream();
	spin_lock(lock_of(index));
	if (slot->handle != handle)
		goto unlock;
	/* An older content of this page is on its way to the same block. */
	if (slot->writing) {
		err = -EBUSY;
		goto unlock;
	}
	copy_object(slot, stream);
	size = slot->size;
	checksum = slot->checksum;
	slot->writing = true;
	spin_unlock(lock_of(index));

	err = decompress(stream, index, size, checksum, stream->page);
	if (!err)
		err = disk_io(REQ_OP_WRITE, index, stream->page);

	spin_lock(lock_of(index));
	slot->writing = false;
	if (slot->handle != handle) {
		/* Overwritten or dropped meanwhile, and so freed: that is what counts. */
		count(OVERTAKEN, 1);
		err = 0;
	} else if (!err) {
		clear_slot(slot);
		slot->on_disk = true;
		count(ON_DISK, 1);
		count(EVICTED, 1);
		count(EVICTED_BYTES, size);
	}
unlock:
	spin_unlock(lock_of(index));
	put_stream(stream);
	if (err)
		count(REFUSED, 1);
	return err;
}

/* Reclaims until the pool has fewer pages than its limit. */
static int make_room(void)
{
	unsigned int failures = 0;

	while (zsrs_get_total_pages(store.pool) >= limit) {
		if (fatal_signal_pending(current))
			return -EINTR;
		if (!zsrs_reclaim(store.pool, RECLAIM_TRIES))
			continue;
		if (++failures == FULL_TRIES) {
			count(REJECTED, 1);
			return -ENOSPC;
		}
		/* What is in use now, or being written by others, soon is not. */
		usleep_range(1000, 3000);
	}
	return 0;
}

static void note_peak(void)
{
	atomic_long_t *peak = &store.counters[POOL_PAGES_PEAK];
	long pages = zsrs_get_total_pages(store.pool);
	long old = atomic_long_read(peak);

	while (pages > old && !atomic_long_try_cmpxchg(peak, &old, pages))
		;
}

/* Compresses a page into a new object, which is in no slot yet. */
static unsigned long new_object(const void *page, unsigned int *size)
{
	struct stream *stream = take_stream();
	unsigned long handle;
	void *object;
	int err;

	*size = compress(stream, page);
	handle = zsrs_malloc(store.pool, *size, GFP_KERNEL);
	if (!IS_ERR_VALUE(handle)) {
		object = zsrs_map_object(store.pool, handle, ZSRS_MM_WO);
		memcpy(object, stream->object, *size);
		zsrs_unmap_object(store.pool, handle);
	}
	put_stream(stream);
	if (IS_ERR_VALUE(handle))
		return handle;
	note_peak();

	/* Nothing can be allocated under the slot's lock. */
	err = xa_reserve(&store.by_handle, handle_key(handle), GFP_KERNEL);
	if (err) {
		zsrs_free(store.pool, handle);
		return err;
	}
	return handle;
}

/* Stores a page in place of what was there. If that fails, the old one stays. */
static int write_page(unsigned long index, const void *page)
{
	struct slot *slot = &store.slots[index];
	unsigned long handle = 0;
	unsigned int size = 0;
	u32 checksum = 0;
	int err;

	if (memchr_inv(page, 0, PAGE_SIZE)) {
		err = make_room();
		if (err)
			return err;
		handle = new_object(page, &size);
		if (IS_ERR_VALUE(handle))
			return (long)handle;
		checksum = crc32(~0, page, PAGE_SIZE);
	}

	spin_lock(lock_of(index));
	clear_slot(slot);
	if (handle) {
		/* Cannot fail: reserved. */
		xa_store(&store.by_handle, handle_key(handle), xa_mk_value(index), GFP_ATOMIC);
		slot->handle = handle;
		slot->size = size;
		slot->checksum = checksum;
		count(STORED, 1);
		count(STORED_BYTES, size);
	}
	spin_unlock(lock_of(index));
	return 0;
}

static int read_from_disk(unsigned long index, u32 version, u32 checksum, void *page)
{
	struct slot *slot = &store.slots[index];
	int err = disk_io(REQ_OP_READ, index, page);
	bool changed;

	spin_lock(lock_of(index));
	changed = slot->version != version;
	spin_unlock(lock_of(index));
	/* Another page may have been written to this block while it was read. */
	if (changed)
		return -EAGAIN;
	count(READ_FROM_DISK, 1);
	return err ?: check_page(index, page, checksum, "the disk");
}

/* Reads a page, wherever it is. @page is a page of its own. */
static int read_page(unsigned long index, void *page)
{
	struct slot *slot = &store.slots[index];
	struct stream *stream;
	struct slot seen;
	int err;

	do {
		stream = take_stream();
		spin_lock(lock_of(index));
		seen = *slot;
		if (seen.handle)
			copy_object(slot, stream);
		spin_unlock(lock_of(index));

		err = 0;
		if (seen.handle) {
			count(READ_FROM_POOL, 1);
			err = decompress(stream, index, seen.size, seen.checksum, page);
		}
		put_stream(stream);

		if (seen.on_disk)
			err = read_from_disk(index, seen.version, seen.checksum, page);
		else if (!seen.handle)
			memset(page, 0, PAGE_SIZE);
	} while (err == -EAGAIN);
	return err;
}

/* ---- the device ---- */

/*
 * Reads or writes whole pages, until one fails. Returns the bytes that were done,
 * or the error if it was the first page's.
 */
static ssize_t transfer(char __user *to, const char __user *from, size_t bytes, loff_t *pos)
{
	unsigned long index = *pos >> PAGE_SHIFT;
	size_t done = 0;
	int err = 0;
	void *page;

	if (*pos < 0 || offset_in_page(*pos) || offset_in_page(bytes))
		return -EINVAL;
	page = (void *)__get_free_page(GFP_KERNEL);
	if (!page)
		return -ENOMEM;
	for (; done < bytes; done += PAGE_SIZE, index++) {
		if (index >= store.nr_slots) {
			err = to ? 0 : -ENOSPC;
			break;
		}
		if (to) {
			err = read_page(index, page);
			if (!err && copy_to_user(to + done, page, PAGE_SIZE))
				err = -EFAULT;
		} else if (copy_from_user(page, from + done, PAGE_SIZE)) {
			err = -EFAULT;
		} else {
			err = write_page(index, page);
		}
		if (err)
			break;
		cond_resched();
	}
	free_page((unsigned long)page);
	*pos += done;
	return done ?: err;
}

static ssize_t store_read(struct file *file, char __user *to, size_t bytes, loff_t *pos)
{
	return transfer(to, NULL, bytes, pos);
}

static ssize_t store_write(struct file *file, const char __user *from, size_t bytes, loff_t *pos)
{
	return transfer(NULL, from, bytes, pos);
}

static loff_t store_llseek(struct file *file, loff_t offset, int whence)
{
	return fixed_size_llseek(file, offset, whence, (loff_t)store.nr_slots << PAGE_SHIFT);
}

static const struct file_operations store_fops = {
	.owner = THIS_MODULE,
	.read = store_read,
	.write = store_write,
	.llseek = store_llseek,
};

static struct miscdevice store_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "zsrs_store",
	.fops = &store_fops,
	.mode = 0600,
};

static int stats_show(struct seq_file *file, void *unused)
{
	int i;

	seq_printf(file, "limit %u\n", limit);
	seq_printf(file, "pool_pages %lu\n", zsrs_get_total_pages(store.pool));
	for (i = 0; i < NR_COUNTERS; i++)
		seq_printf(file, "%s %ld\n", counter_names[i],
			   atomic_long_read(&store.counters[i]));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(stats);

static int shrink_set(void *unused, u64 pages)
{
	return zsrs_shrink(store.pool, min_t(u64, pages, UINT_MAX), NULL);
}
DEFINE_DEBUGFS_ATTRIBUTE(shrink_fops, NULL, shrink_set, "%llu\n");

/* ---- set-up ---- */

static int check_parameters(void)
{
	if (!device || !*device) {
		pr_err("no device for evicted pages; give one: device=/dev/...\n");
		return -EINVAL;
	}
	if (limit < MIN_LIMIT) {
		pr_err("limit=%u is too small; give %u pages or more\n", limit, MIN_LIMIT);
		return -EINVAL;
	}
	if (!crypto_has_comp(compressor, 0, 0)) {
		pr_err("this kernel has no compressor \"%s\"; /proc/crypto lists those it has\n",
		       compressor);
		return -EINVAL;
	}
	return 0;
}

static int open_disk(void)
{
	store.disk_file = bdev_file_open_by_path(device, BLK_OPEN_READ | BLK_OPEN_WRITE, &store,
						 NULL);
	if (IS_ERR(store.disk_file)) {
		int err = PTR_ERR(store.disk_file);

		pr_err("cannot open the block device %s: error %d%s\n", device, err,
		       err == -EBUSY ? "; something else uses it" : "");
		return err;
	}
	store.disk = file_bdev(store.disk_file);
	store.nr_slots = bdev_nr_bytes(store.disk) >> PAGE_SHIFT;
	if (!store.nr_slots || bdev_logical_block_size(store.disk) > PAGE_SIZE) {
		pr_err("%s has no room for a page, or blocks larger than one\n", device);
		bdev_fput(store.disk_file);
		return -EINVAL;
	}
	return 0;
}

static int __init store_init(void)
{
	unsigned int i;
	int err;

	err = check_parameters();
	if (err)
		return err;
	for (i = 0; i < NR_LOCKS; i++)
		spin_lock_init(&store.locks[i]);
	xa_init(&store.by_handle);
	INIT_LIST_HEAD(&store.streams);
	spin_lock_init(&store.streams_lock);
	init_waitqueue_head(&store.streams_wait);

	err = open_disk();
	if (err)
		return err;
	store.slots = vcalloc(store.nr_slots, sizeof(*store.slots));
	if (!store.slots) {
		pr_err("no memory for a table of the %lu pages of %s; give a smaller device\n",
		       store.nr_slots, device);
		err = -ENOMEM;
		goto close_disk;
	}
	/* Evictions wait for the disk: let others compress meanwhile. */
	for (i = 0; i < 2 * num_possible_cpus(); i++) {
		err = add_stream();
		if (err)
			goto free_streams;
	}
	store.pool = zsrs_create_evictable_pool("zsrs_store", evict, NULL);
	if (!store.pool) {
		err = -ENOMEM;
		goto free_streams;
	}
	store.debugfs = debugfs_create_dir("zsrs_store", NULL);
	debugfs_create_file("stats", 0444, store.debugfs, NULL, &stats_fops);
	debugfs_create_file_unsafe("shrink", 0200, store.debugfs, NULL, &shrink_fops);
	err = misc_register(&store_device);
	if (err)
		goto destroy_pool;
	pr_info("%lu pages, %u pages of memory, then %s\n", store.nr_slots, limit, device);
	return 0;

destroy_pool:
	debugfs_remove(store.debugfs);
	zsrs_destroy_pool(store.pool);
free_streams:
	free_streams();
	vfree(store.slots);
close_disk:
	bdev_fput(store.disk_file);
	return err;
}

static void __exit store_exit(void)
{
	unsigned long i;

	/* Nobody has the device open; this waits for those who use debugfs. */
	misc_deregister(&store_device);
	debugfs_remove(store.debugfs);

	for (i = 0; i < store.nr_slots; i++) {
		clear_slot(&store.slots[i]);
		cond_resched();
	}
	xa_destroy(&store.by_handle);
	zsrs_destroy_pool(store.pool);
	free_streams();
	vfree(store.slots);
	bdev_fput(store.disk_file);
}

module_init(store_init);
module_exit(store_exit);

MODULE_DESCRIPTION("Example of a zsmalloc_rs pool with writeback: a store of pages");
MODULE_LICENSE("GPL");
