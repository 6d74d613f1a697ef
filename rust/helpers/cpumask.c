// SPDX-License-Identifier: GPL-2.0

#include <linux/cpumask.h>

unsigned int rust_helper_next_possible_cpu(int cpu)
{
	return cpumask_next(cpu, cpu_possible_mask);
}

unsigned int rust_helper_zsrs_nr_cpu_ids(void)
{
	return nr_cpu_ids;
}
