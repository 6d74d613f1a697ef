// SPDX-License-Identifier: GPL-2.0

#include <linux/mm.h>

/* A table that is no function: { } and ; in it do not matter. */
static const int zsrs_table[] = { 1, 2 };

void rust_helper_put_page(struct page *page)
{
	put_page(page);
}

unsigned long rust_helper_page_size(void)
{
	return PAGE_SIZE;
}

void *rust_helper_address(struct page *page)
{
#ifdef CONFIG_HIGHMEM
	return (void *)page_address(page);
#else
	return lowmem_page_address(page);
#endif
}
