// SPDX-License-Identifier: GPL-2.0

#include <linux/workqueue.h>

void rust_helper_INIT_DELAYED_WORK(struct delayed_work *work, work_func_t func)
{
	INIT_DELAYED_WORK(work, func);
}
