/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Headers that `bindgen` reads for rust/kapi/bindings.rs. Only the names in
 * bindgen_parameters are taken from them; the rest is the kernel crate's.
 *
 * Sorted alphabetically.
 */

#include <linux/gfp.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mm_types.h>
#include <linux/mmzone.h>
#include <linux/pagemap.h>
#include <linux/preempt.h>
#include <linux/zpool.h>

/* Expressions that bindgen cannot evaluate by itself. */
#if defined(CONFIG_X86_64) && !defined(CONFIG_UML)
const size_t RUST_CONST_HELPER_PCPU_HOT_PREEMPT_COUNT = offsetof(struct pcpu_hot, preempt_count);
#endif
const u32 RUST_CONST_HELPER_INTERRUPT_BITS = NMI_MASK | HARDIRQ_MASK | SOFTIRQ_MASK;
const size_t RUST_CONST_HELPER_ZPDESC_FIRST = BIT(PG_private);
const size_t RUST_CONST_HELPER_ZPDESC_LOCKED = BIT(PG_locked);
const size_t RUST_CONST_HELPER_ZPDESC_MAPPING_MOVABLE = PAGE_MAPPING_MOVABLE;
const gfp_t RUST_CONST_HELPER___GFP_MOVABLE = __GFP_MOVABLE;
const gfp_t RUST_CONST_HELPER___GFP_COMP = __GFP_COMP;
const gfp_t RUST_CONST_HELPER_GFP_EAGER = __GFP_RECLAIM | __GFP_NOFAIL | __GFP_RETRY_MAYFAIL;
const gfp_t RUST_CONST_HELPER_GFP_MEEK = __GFP_NOWARN | __GFP_NORETRY | __GFP_NOMEMALLOC;
const u32 RUST_CONST_HELPER_ZPDESC_PAGE_SHIFT = PAGE_SHIFT;
const u32 RUST_CONST_HELPER_ZPDESC_TYPE = (u32)PGTY_zsmalloc << 24;
/*
 * Bits of the widest physical address; 0 if there is no limit. On x86
 * MAX_PHYSMEM_BITS depends on the CPU.
 */
#if defined(MAX_POSSIBLE_PHYSMEM_BITS)
const u32 RUST_CONST_HELPER_ZPDESC_PHYS_BITS = MAX_POSSIBLE_PHYSMEM_BITS;
#elif defined(CONFIG_X86_64) && !defined(CONFIG_UML)
const u32 RUST_CONST_HELPER_ZPDESC_PHYS_BITS = __PHYSICAL_MASK_SHIFT;
#elif defined(MAX_PHYSMEM_BITS)
const u32 RUST_CONST_HELPER_ZPDESC_PHYS_BITS = MAX_PHYSMEM_BITS;
#else
const u32 RUST_CONST_HELPER_ZPDESC_PHYS_BITS = 0;
#endif
const size_t RUST_CONST_HELPER_ZPDESC_ZONE_MASK = ZONEID_MASK;
const u32 RUST_CONST_HELPER_ZPDESC_ZONE_SHIFT = ZONEID_PGSHIFT;

/* Where struct page keeps what zpdesc overlays: zpdesc_rs.rs asserts on these. */
const size_t RUST_CONST_HELPER_ZPDESC_FLAGS = offsetof(struct page, flags);
const size_t RUST_CONST_HELPER_ZPDESC_LRU = offsetof(struct page, lru);
const size_t RUST_CONST_HELPER_ZPDESC_MAPPING = offsetof(struct page, mapping);
const size_t RUST_CONST_HELPER_ZPDESC_INDEX = offsetof(struct page, index);
const size_t RUST_CONST_HELPER_ZPDESC_PRIVATE = offsetof(struct page, private);
const size_t RUST_CONST_HELPER_ZPDESC_PAGE_TYPE = offsetof(struct page, page_type);
const size_t RUST_CONST_HELPER_ZPDESC_REFCOUNT = offsetof(struct page, _refcount);
#ifdef CONFIG_MEMCG
const size_t RUST_CONST_HELPER_ZPDESC_END = offsetof(struct page, memcg_data);
#else
const size_t RUST_CONST_HELPER_ZPDESC_END = sizeof(struct page);
#endif

/* Module parameters: rust/front/module.c. */
extern bool zsrs_background_compaction;
extern unsigned int zsrs_chain;
