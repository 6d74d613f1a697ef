// SPDX-License-Identifier: GPL-2.0
/*
 * zsmalloc.ko on zsmalloc_rs: the zs_* interface of 6.12 for an unmodified
 * zram.ko, and the zpool type "zsmalloc".
 *
 * struct zs_pool is never defined here: a pool of this interface is a pool of
 * zsmalloc_rs under another name.
 */

#include <linux/export.h>
#include <linux/module.h>
#include <linux/zpool.h>
#include <linux/zsmalloc.h>
#include <zsmalloc_rs.h>

static_assert((int)ZS_MM_RW == (int)ZSRS_MM_RW);
static_assert((int)ZS_MM_RO == (int)ZSRS_MM_RO);
static_assert((int)ZS_MM_WO == (int)ZSRS_MM_WO);

static struct zsrs_pool *inner(struct zs_pool *pool)
{
	return (struct zsrs_pool *)pool;
}

struct zs_pool *zs_create_pool(const char *name)
{
	return (struct zs_pool *)zsrs_create_pool(name);
}
EXPORT_SYMBOL_GPL(zs_create_pool);

void zs_destroy_pool(struct zs_pool *pool)
{
	zsrs_destroy_pool(inner(pool));
}
EXPORT_SYMBOL_GPL(zs_destroy_pool);

unsigned long zs_malloc(struct zs_pool *pool, size_t size, gfp_t gfp)
{
	return zsrs_malloc(inner(pool), size, gfp);
}
EXPORT_SYMBOL_GPL(zs_malloc);

void zs_free(struct zs_pool *pool, unsigned long handle)
{
	zsrs_free(inner(pool), handle);
}
EXPORT_SYMBOL_GPL(zs_free);

void *zs_map_object(struct zs_pool *pool, unsigned long handle,
		    enum zs_mapmode mode)
{
	return zsrs_map_object(inner(pool), handle, (enum zsrs_mapmode)mode);
}
EXPORT_SYMBOL_GPL(zs_map_object);

void zs_unmap_object(struct zs_pool *pool, unsigned long handle)
{
	zsrs_unmap_object(inner(pool), handle);
}
EXPORT_SYMBOL_GPL(zs_unmap_object);

unsigned long zs_get_total_pages(struct zs_pool *pool)
{
	return zsrs_get_total_pages(inner(pool));
}
EXPORT_SYMBOL_GPL(zs_get_total_pages);

size_t zs_huge_class_size(struct zs_pool *pool)
{
	return zsrs_huge_class_size(inner(pool));
}
EXPORT_SYMBOL_GPL(zs_huge_class_size);

unsigned int zs_lookup_class_index(struct zs_pool *pool, unsigned int size)
{
	return zsrs_lookup_class_index(inner(pool), size);
}
EXPORT_SYMBOL_GPL(zs_lookup_class_index);

unsigned long zs_compact(struct zs_pool *pool)
{
	return zsrs_compact(inner(pool));
}
EXPORT_SYMBOL_GPL(zs_compact);

void zs_pool_stats(struct zs_pool *pool, struct zs_pool_stats *stats)
{
	atomic_long_set(&stats->pages_compacted,
			zsrs_pages_compacted(inner(pool)));
}
EXPORT_SYMBOL_GPL(zs_pool_stats);

#ifdef CONFIG_ZPOOL
static void *shim_create(const char *name, gfp_t gfp)
{
	/* The flags are for the pool itself, which may always sleep. */
	return zs_create_pool(name);
}

static void shim_destroy(void *pool)
{
	zs_destroy_pool(pool);
}

static int shim_malloc(void *pool, size_t size, gfp_t gfp,
		       unsigned long *handle)
{
	unsigned long new = zs_malloc(pool, size, gfp);

	if (IS_ERR_VALUE(new))
		return PTR_ERR((void *)new);
	*handle = new;
	return 0;
}

static void shim_free(void *pool, unsigned long handle)
{
	zs_free(pool, handle);
}

static void *shim_map(void *pool, unsigned long handle,
		      enum zpool_mapmode mode)
{
	static_assert((int)ZPOOL_MM_RW == (int)ZSRS_MM_RW);
	static_assert((int)ZPOOL_MM_RO == (int)ZSRS_MM_RO);
	static_assert((int)ZPOOL_MM_WO == (int)ZSRS_MM_WO);

	return zs_map_object(pool, handle, (enum zs_mapmode)mode);
}

static void shim_unmap(void *pool, unsigned long handle)
{
	zs_unmap_object(pool, handle);
}

static u64 shim_total_pages(void *pool)
{
	return zs_get_total_pages(pool);
}

static struct zpool_driver shim_driver = {
	.type = "zsmalloc",
	.owner = THIS_MODULE,
	.create = shim_create,
	.destroy = shim_destroy,
	.malloc_support_movable = true,
	.malloc = shim_malloc,
	.free = shim_free,
	.map = shim_map,
	.unmap = shim_unmap,
	.total_pages = shim_total_pages,
};

static int __init shim_init(void)
{
	zpool_register_driver(&shim_driver);
	return 0;
}

static void __exit shim_exit(void)
{
	/* Pools hold a reference to this module, so there is none left. */
	zpool_unregister_driver(&shim_driver);
}

module_init(shim_init);
module_exit(shim_exit);
MODULE_ALIAS("zpool-zsmalloc");
#endif

MODULE_LICENSE("GPL");
MODULE_AUTHOR("The zsmalloc_rs developers");
MODULE_DESCRIPTION("zsmalloc interface of zsmalloc_rs, for zram");
