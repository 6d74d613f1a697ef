// SPDX-License-Identifier: GPL-2.0

#include <linux/pagemap.h>

void rust_helper_wait_on_page_locked(struct page *page)
{
	wait_on_page_locked(page);
}
