/* SPDX-License-Identifier: GPL-2.0 */
/* A task that keeps an object mapped on another CPU. */
#ifndef _ZSRS_KUNIT_MAPPER_H
#define _ZSRS_KUNIT_MAPPER_H

#include <linux/completion.h>
#include <linux/cpumask.h>
#include "support.h"

/* Which object, set by the user; the rest is for the two functions. */
struct zsrs_mapper {
	struct zsrs_pool *pool;
	unsigned long handle;
	const struct zsrs_contents *contents;
	u32 number;
	size_t size;

	struct task_struct *task;
	struct completion done;
	bool mapped;
	bool release;
	bool good;
};

/* To be called first: a case that uses a mapper ends here if there is no other CPU. */
static inline void zsrs_need_two_cpus(struct kunit *test)
{
	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");
}

/*
 * Returns when another CPU has the object mapped, and writes to it all the time.
 * The caller stays on its CPU until zsrs_mapper_stop().
 */
void zsrs_mapper_start(struct kunit *test, struct zsrs_mapper *mapper);

/* Unmaps the object, whole again; whether it had been found whole. */
bool zsrs_mapper_stop(struct zsrs_mapper *mapper);

#endif
