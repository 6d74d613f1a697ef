// SPDX-License-Identifier: GPL-2.0

#include <linux/cpumask.h>
#include <linux/topology.h>

int rust_helper_numa_mem_id(void)
{
	return numa_mem_id();
}

unsigned int rust_helper_next_possible_cpu(int cpu)
{
	return cpumask_next(cpu, cpu_possible_mask);
}
