/* SPDX-License-Identifier: GPL-2.0 */
/* What is measured: zsmalloc_rs. The same names as in provider_c.h. */
#include <linux/types.h>
#include "zsmalloc_rs.h"

#define bench_pool zsrs_pool
#define bench_create_pool zsrs_create_pool
#define bench_destroy_pool zsrs_destroy_pool
#define bench_malloc zsrs_malloc
#define bench_free zsrs_free
#define bench_map zsrs_map_object
#define bench_unmap zsrs_unmap_object
#define bench_total_pages zsrs_get_total_pages
#define bench_compact zsrs_compact
#define BENCH_RW ZSRS_MM_RW
#define BENCH_RO ZSRS_MM_RO
#define BENCH_WO ZSRS_MM_WO
/* Only ours can evict. */
#define BENCH_EVICTS
