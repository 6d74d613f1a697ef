// SPDX-License-Identifier: GPL-2.0

#include <linux/kmsan.h>

void rust_helper_kmsan_copy_page_meta(struct page *dst, struct page *src)
{
	kmsan_copy_page_meta(dst, src);
}
