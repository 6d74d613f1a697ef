// SPDX-License-Identifier: GPL-2.0

#include <linux/preempt.h>

void rust_helper_preempt_disable(void)
{
	preempt_disable();
}

void rust_helper_preempt_enable(void)
{
	preempt_enable();
}

unsigned int rust_helper_zsrs_preempt_count(void)
{
	return preempt_count();
}

bool rust_helper_zsrs_in_interrupt(void)
{
	return in_interrupt();
}
