// SPDX-License-Identifier: GPL-2.0

#include <linux/page-flags.h>

void rust_helper_SetPagePrivate(struct page *page)
{
	SetPagePrivate(page);
}

void rust_helper_ClearPagePrivate(struct page *page)
{
	ClearPagePrivate(page);
}
