// SPDX-License-Identifier: GPL-2.0

#include <linux/bug.h>

void rust_helper_warn(const char *message)
{
	WARN(1, "%s", message);
}
