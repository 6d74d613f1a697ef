// SPDX-License-Identifier: GPL-2.0

#include <linux/pagemap.h>

void rust_helper_folio_wait_locked(struct folio *folio)
{
	folio_wait_locked(folio);
}
