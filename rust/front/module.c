// SPDX-License-Identifier: GPL-2.0
/*
 * What a Rust module of 6.12 cannot say itself: module parameters, and exports
 * of functions that are written in Rust (rust/front/cabi.rs).
 */

#include <linux/export.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <zsmalloc_rs.h>

unsigned int zsrs_chain = 8;
module_param_named(chain, zsrs_chain, uint, 0444);
MODULE_PARM_DESC(chain, "Longest chain of pages in a zspage, 4 to 16 (default 8)");

bool zsrs_background_compaction = true;
module_param_named(background_compaction, zsrs_background_compaction, bool, 0644);
MODULE_PARM_DESC(background_compaction,
		 "Compact a size class in the background when a tenth of it is free (default Y)");

EXPORT_SYMBOL_GPL(zsrs_create_pool);
EXPORT_SYMBOL_GPL(zsrs_destroy_pool);
EXPORT_SYMBOL_GPL(zsrs_malloc);
EXPORT_SYMBOL_GPL(zsrs_free);
EXPORT_SYMBOL_GPL(zsrs_map_object);
EXPORT_SYMBOL_GPL(zsrs_unmap_object);
EXPORT_SYMBOL_GPL(zsrs_get_total_pages);
EXPORT_SYMBOL_GPL(zsrs_huge_class_size);
EXPORT_SYMBOL_GPL(zsrs_lookup_class_index);
EXPORT_SYMBOL_GPL(zsrs_compact);
EXPORT_SYMBOL_GPL(zsrs_pages_compacted);
EXPORT_SYMBOL_GPL(zsrs_create_evictable_pool);
EXPORT_SYMBOL_GPL(zsrs_reclaim);
EXPORT_SYMBOL_GPL(zsrs_shrink);
