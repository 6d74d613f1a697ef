/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The benchmark module, for one of the two allocators. Writing "COMMAND NUMBER"
 * to /sys/module/<name>/parameters/run runs a command; results are lines
 * "BENCH {...}" in the kernel log.
 */
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>

#undef pr_fmt
#define pr_fmt(fmt) "zsrs_bench_" BENCH_SIDE ": " fmt

#include "series.h"
#include "objects.h"
#include "cost.h"
#include "memory.h"
#include "threads.h"

static const struct {
	const char *name;
	int (*run)(unsigned int number);
} commands[] = {
	{ "cost", run_cost },	    /* COUNT objects: every operation on one thread */
	{ "refill", run_refill },   /* COUNT objects: filling once more */
	{ "aged", run_aged },	    /* COUNT objects: maps in a pool with a history */
	{ "fragmented", run_fragmented }, /* the same in the worst case */
	{ "threads", run_threads }, /* COUNT threads */
	{ "static", run_static },   /* COUNT empty pools */
	{ "open", run_open },	    /* room for COUNT objects, then: */
	{ "fill", run_fill },	    /* up to COUNT objects */
	{ "churn", run_churn },	    /* COUNT replacements */
	{ "compact", run_compact },
	{ "drain", run_drain }, /* down to COUNT objects */
	{ "close", run_close },
};

static DEFINE_MUTEX(running);

static int run(const char *text, const struct kernel_param *param)
{
	unsigned int number = 0;
	char name[16];
	int i, error = -EINVAL;

	if (sscanf(text, "%15s %u", name, &number) < 1)
		return -EINVAL;
	mutex_lock(&running);
	for (i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(name, commands[i].name)) {
			error = calibrate();
			error = error ?: commands[i].run(number);
			if (*profile)
				mark_next();
			break;
		}
	mutex_unlock(&running);
	profile[0] = '\0';
	if (error)
		pr_err("command \"%s %u\" failed: %d\n", name, number, error);
	return error;
}

static const struct kernel_param_ops run_ops = { .set = run };
module_param_cb(run, &run_ops, NULL, 0200);
MODULE_PARM_DESC(run, "Runs a command of the benchmark");

static int __init bench_init(void)
{
	return 0;
}
module_init(bench_init);

static void __exit bench_exit(void)
{
	set_close(&memory_set);
}
module_exit(bench_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("The zsmalloc_rs developers");
MODULE_DESCRIPTION("Benchmark of a zsmalloc");
