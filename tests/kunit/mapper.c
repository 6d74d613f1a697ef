// SPDX-License-Identifier: GPL-2.0
/* A task that keeps an object mapped on another CPU. */

#include <linux/cpumask.h>
#include <linux/smp.h>
#include "mapper.h"

static int keep_mapped(void *data)
{
	struct zsrs_mapper *mapper = data;
	u8 *address = zsrs_map_object(mapper->pool, mapper->handle, ZSRS_MM_RW);

	mapper->good = address && zsrs_is_filled(mapper->contents, mapper->number, address,
						 mapper->size);
	/* Whoever sees this sees the object mapped. */
	smp_store_release(&mapper->mapped, true);
	if (address) {
		/* Preemption is off: this CPU is ours until the object is unmapped. */
		while (!READ_ONCE(mapper->release)) {
			memset(address, 0xa5, mapper->size);
			cpu_relax();
		}
		zsrs_fill(mapper->contents, mapper->number, address, mapper->size);
		zsrs_unmap_object(mapper->pool, mapper->handle);
	}
	complete(&mapper->done);
	return zsrs_wait_for_stop();
}

void zsrs_mapper_start(struct kunit *test, struct zsrs_mapper *mapper)
{
	init_completion(&mapper->done);
	migrate_disable();
	mapper->task = kthread_create(keep_mapped, mapper, "zsrs_mapper");
	if (IS_ERR(mapper->task)) {
		migrate_enable();
		KUNIT_FAIL_AND_ABORT(test, "no memory for a kthread");
	}
	kthread_bind(mapper->task, cpumask_any_but(cpu_online_mask, smp_processor_id()));
	wake_up_process(mapper->task);
	/* Pairs with the store in keep_mapped(). */
	while (!smp_load_acquire(&mapper->mapped))
		cond_resched();
}

bool zsrs_mapper_stop(struct zsrs_mapper *mapper)
{
	WRITE_ONCE(mapper->release, true);
	wait_for_completion(&mapper->done);
	kthread_stop(mapper->task);
	migrate_enable();
	return mapper->good;
}
