// SPDX-License-Identifier: GPL-2.0

#include <linux/percpu.h>

unsigned long rust_helper_my_cpu_offset(void)
{
	return (unsigned long)raw_cpu_ptr((char __percpu *)NULL);
}

void *rust_helper_per_cpu_ptr(void __percpu *ptr, int cpu)
{
	return per_cpu_ptr(ptr, cpu);
}
