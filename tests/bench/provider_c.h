/* SPDX-License-Identifier: GPL-2.0 */
/* What is measured: the kernel's own zsmalloc. The same names as in provider_ours.h. */
#include <linux/atomic.h>
#include <linux/types.h>
#include <linux/zsmalloc.h>

#define bench_pool zs_pool
#define bench_create_pool zs_create_pool
#define bench_destroy_pool zs_destroy_pool
#define bench_malloc zs_malloc
#define bench_free zs_free
#define bench_map zs_map_object
#define bench_unmap zs_unmap_object
#define bench_total_pages zs_get_total_pages
#define bench_compact zs_compact
#define BENCH_RW ZS_MM_RW
#define BENCH_RO ZS_MM_RO
#define BENCH_WO ZS_MM_WO
