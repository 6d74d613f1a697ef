/* SPDX-License-Identifier: GPL-2.0 */
/*
 * zsmalloc_rs: compressed-memory allocator, the C interface.
 *
 * What <linux/zsmalloc.h> has, too, has the same name (zs_*), arguments and
 * contexts there; what differs is said here.
 */
#ifndef _ZSMALLOC_RS_H
#define _ZSMALLOC_RS_H

#include <linux/types.h>

struct zsrs_pool;

/**
 * enum zsrs_mapmode - how a mapped object will be used
 * @ZSRS_MM_RW: read and written
 * @ZSRS_MM_RO: read only; nothing is copied back when it is unmapped
 * @ZSRS_MM_WO: written whole; its old contents are not copied in
 *
 * Same values as enum zs_mapmode and enum zpool_mapmode.
 */
enum zsrs_mapmode {
	ZSRS_MM_RW,
	ZSRS_MM_RO,
	ZSRS_MM_WO,
};

/**
 * zsrs_create_pool() - create a pool
 * @name: shown in debugfs and messages; copied
 *
 * Context: process context, may sleep.
 * Return: the pool, or NULL if there is no memory, or no name.
 */
struct zsrs_pool *zsrs_create_pool(const char *name);

/**
 * typedef zsrs_evict_fn - gets rid of an object, so that its memory can be reclaimed
 * @pool: the pool
 * @handle: the object's handle
 * @private: what was given to zsrs_create_evictable_pool()
 *
 * Writes the object away and frees it with zsrs_free(). The object may have
 * been freed by somebody else already, or be at any moment: find out under a
 * lock of your own before it is mapped. @handle is not used for another object
 * before this function returns, so handles can be compared.
 *
 * Context: process context, no lock of the allocator held. May sleep, and
 * allocate, free, map and unmap objects of the pool; must not reclaim.
 * Return: 0 if the object was freed, by whomever; a negative error number if it
 * has to stay. Then all objects of its zspage stay, but those already freed.
 */
typedef int (*zsrs_evict_fn)(struct zsrs_pool *pool, unsigned long handle, void *private);

/**
 * zsrs_create_evictable_pool() - create a pool whose memory can be reclaimed
 * @name: shown in debugfs and messages; copied
 * @evict: called for each object to be evicted, from several tasks at once; if
 * NULL, the pool is as from zsrs_create_pool()
 * @private: given to @evict
 *
 * The pool keeps its zspages in the order in which objects were last allocated
 * in them.
 *
 * Context: process context, may sleep.
 * Return: the pool, or NULL if there is no memory, or no name.
 */
struct zsrs_pool *zsrs_create_evictable_pool(const char *name, zsrs_evict_fn evict,
					     void *private);

/**
 * zsrs_reclaim() - evict the objects of a zspage: that in which none was
 * allocated for the longest time
 * @pool: the pool, not to be destroyed before this returns
 * @tries: how many zspages are tried, if objects have to stay
 *
 * Context: process context, may sleep; not from the evict handler.
 * Return: 0 if a zspage was given back to the kernel, or will be, unless it is
 * used again, once a page of it is unlocked that somebody has locked; -EAGAIN if all tries
 * failed; -EINVAL if there is nothing to reclaim, if @tries is 0, or if the
 * pool has no handler.
 */
int zsrs_reclaim(struct zsrs_pool *pool, unsigned int tries);

/**
 * zsrs_shrink() - reclaim a number of pages
 * @pool: the pool, not to be destroyed before this returns
 * @pages: how many pages; may be exceeded by those of one zspage
 * @reclaimed: if not NULL, how many it were, also in case of an error
 *
 * Context: process context, may sleep; not from the evict handler.
 * Return: 0 if at least @pages pages were given back; else as zsrs_reclaim()
 * with 8 tries.
 */
int zsrs_shrink(struct zsrs_pool *pool, unsigned int pages, unsigned int *reclaimed);

/**
 * zsrs_destroy_pool() - destroy a pool
 * @pool: the pool; nobody may use it any more. NULL is ignored
 *
 * Objects still allocated are a bug of the caller: they are reported with
 * their class. The pool's memory then stays allocated, rather than being handed
 * out again, and the module loaded.
 *
 * Context: process context, may sleep.
 */
void zsrs_destroy_pool(struct zsrs_pool *pool);

/**
 * zsrs_malloc() - allocate an object
 * @pool: the pool
 * @size: 1 to PAGE_SIZE bytes
 * @gfp: how pages and handle words are allocated if there are none left
 *
 * Context: any but interrupts; sleeps only if @gfp allows it.
 * Return: a handle, or an error pointer cast to unsigned long: -EINVAL if @size
 * is 0, -ENOSPC if it is above PAGE_SIZE, -ENOMEM.
 */
unsigned long zsrs_malloc(struct zsrs_pool *pool, size_t size, gfp_t gfp);

/**
 * zsrs_free() - free an object
 * @pool: the pool it was allocated from
 * @handle: the handle; 0 and error pointers are ignored
 *
 * A handle that is not live, or that is mapped, is warned about and left alone.
 *
 * Context: any but interrupts, does not sleep.
 */
void zsrs_free(struct zsrs_pool *pool, unsigned long handle);

/**
 * zsrs_map_object() - make an object addressable
 * @pool: the pool it was allocated from
 * @handle: its handle
 * @mode: what will be done with it
 *
 * The object cannot move or be mapped by anybody else until
 * zsrs_unmap_object(). Nothing may sleep in between; preemption is off (not on
 * PREEMPT_RT). Objects that cannot be addressed in place share one buffer per
 * CPU, so only one of them can be mapped at a time on a CPU. Who maps an object
 * that is mapped waits; a task that has mapped it itself waits for ever.
 * Nobody may take a reference to a page of the object meanwhile (get_page()).
 *
 * Context: process context, not from interrupts.
 * Return: address of the object, in the direct map; NULL for 0 and error
 * pointers; NULL with a warning if the handle is not live, the context is wrong,
 * or another object that cannot be addressed in place is mapped on this CPU.
 */
void *zsrs_map_object(struct zsrs_pool *pool, unsigned long handle,
		      enum zsrs_mapmode mode);

/**
 * zsrs_unmap_object() - end what zsrs_map_object() began
 * @pool: the pool
 * @handle: the handle; its address must not be used any more. 0 and error
 * pointers are ignored
 *
 * Context: the task that mapped it, on the same CPU.
 */
void zsrs_unmap_object(struct zsrs_pool *pool, unsigned long handle);

/**
 * zsrs_get_total_pages() - pages that the pool's objects occupy
 * @pool: the pool
 *
 * Context: any.
 */
unsigned long zsrs_get_total_pages(struct zsrs_pool *pool);

/**
 * zsrs_huge_class_size() - smallest object that is stored one to a page
 * @pool: the pool
 *
 * Context: any.
 * Return: bytes; the same for all pools.
 */
size_t zsrs_huge_class_size(struct zsrs_pool *pool);

/**
 * zsrs_lookup_class_index() - which size class an object would go to
 * @pool: the pool
 * @size: bytes
 *
 * Context: any.
 */
unsigned int zsrs_lookup_class_index(struct zsrs_pool *pool, unsigned int size);

/**
 * zsrs_compact() - pack objects more tightly and give back the pages won
 * @pool: the pool
 *
 * Context: process context, may sleep.
 * Return: pages given back.
 */
unsigned long zsrs_compact(struct zsrs_pool *pool);

/**
 * zsrs_pages_compacted() - pages that compaction has given back so far
 * @pool: the pool
 *
 * When it was asked for, or memory ran short; not in the background.
 *
 * Context: any.
 */
unsigned long zsrs_pages_compacted(struct zsrs_pool *pool);

#endif
