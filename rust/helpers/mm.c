// SPDX-License-Identifier: GPL-2.0

#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/page_ref.h>
#include <linux/vmstat.h>

unsigned long rust_helper___get_free_pages(gfp_t gfp, unsigned int order)
{
	return __get_free_pages(gfp, order);
}

void *rust_helper_alloc_pages_exact(size_t size, gfp_t gfp)
{
	return alloc_pages_exact(size, gfp);
}

unsigned long rust_helper_alloc_pages_bulk_array(gfp_t gfp, unsigned long nr,
						 struct page **pages)
{
	return alloc_pages_bulk_array(gfp, nr, pages);
}

void rust_helper_page_ref_inc(struct page *page)
{
	page_ref_inc(page);
}

void rust_helper_folio_put(struct folio *folio)
{
	folio_put(folio);
}

unsigned long rust_helper_page_to_pfn(struct page *page)
{
	return page_to_pfn(page);
}

struct page *rust_helper_pfn_to_page(unsigned long pfn)
{
	return pfn_to_page(pfn);
}

struct zone *rust_helper_page_zone(struct page *page)
{
	return page_zone(page);
}

void *rust_helper_phys_to_virt(phys_addr_t addr)
{
	return phys_to_virt(addr);
}

phys_addr_t rust_helper_virt_to_phys(void *addr)
{
	return virt_to_phys(addr);
}

void rust_helper_zsrs_copy_page(void *to, void *from)
{
	copy_page(to, from);
}

void rust_helper_zsrs_mod_zone_page_state(struct zone *zone, enum zone_stat_item item, long delta)
{
	mod_zone_page_state(zone, item, delta);
}
