// SPDX-License-Identifier: GPL-2.0

#include <linux/workqueue.h>

void rust_helper_INIT_WORK(struct work_struct *work, work_func_t func)
{
	INIT_WORK(work, func);
}
