// SPDX-License-Identifier: GPL-2.0

#include <linux/percpu.h>

void __percpu *rust_helper___alloc_percpu_gfp(size_t size, size_t align, gfp_t gfp)
{
	return __alloc_percpu_gfp(size, align, gfp);
}

unsigned long rust_helper_my_cpu_offset(void)
{
	return (unsigned long)raw_cpu_ptr((char __percpu *)NULL);
}

void *rust_helper_per_cpu_ptr(void __percpu *ptr, int cpu)
{
	return per_cpu_ptr(ptr, cpu);
}
