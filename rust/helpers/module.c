// SPDX-License-Identifier: GPL-2.0

#include <linux/module.h>

void rust_helper_zsrs_module_get(struct module *module)
{
	__module_get(module);
}
