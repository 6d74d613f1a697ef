// SPDX-License-Identifier: GPL-2.0

#include <linux/local_lock.h>
#include <linux/percpu.h>

/* One lock per CPU: it guards that CPU's bounce buffer. */
static DEFINE_PER_CPU(local_lock_t, zsrs_bounce_lock) =
	INIT_LOCAL_LOCK(zsrs_bounce_lock);

void rust_helper_local_lock_bounce(void)
{
	local_lock(&zsrs_bounce_lock);
}

void rust_helper_local_unlock_bounce(void)
{
	local_unlock(&zsrs_bounce_lock);
}
