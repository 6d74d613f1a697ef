/* SPDX-License-Identifier: GPL-2.0 */
/* What operations cost when several threads use one pool, each its own objects. */
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/kthread.h>
#include <linux/sched/clock.h>

enum { MAX_THREADS = 16 };

struct worker {
	struct set set; /* shares pool and table; a random sequence of its own */
	int (*step)(struct worker *worker, struct object *object);
	unsigned int rounds;
	int error;
	u64 nanoseconds;
	atomic_t *ready;
	unsigned int threads;
	struct completion done;
};

static int step_map(struct worker *worker, struct object *object)
{
	bench_map(worker->set.pool, object->handle, BENCH_RO);
	bench_unmap(worker->set.pool, object->handle);
	return 0;
}

static int step_churn(struct worker *worker, struct object *object)
{
	bench_free(worker->set.pool, object->handle);
	draw_object(&worker->set, object, &worker->set.rnd);
	if (make_object(&worker->set, object))
		return -ENOMEM;
	write_object(&worker->set, object);
	return 0;
}

static int step_alloc_free(struct worker *worker, struct object *object)
{
	struct object other = { .size = object->size };

	if (make_object(&worker->set, &other))
		return -ENOMEM;
	bench_free(worker->set.pool, other.handle);
	return 0;
}

static int work(void *data)
{
	struct worker *worker = data;
	unsigned int round;
	u64 start;

	atomic_inc(worker->ready);
	while (atomic_read(worker->ready) < worker->threads)
		cpu_relax();
	start = ktime_get_ns();
	for (round = 0; round < worker->rounds && !worker->error; round++)
		worker->error = worker->step(
			worker,
			&worker->set.objects[below(&worker->set.rnd, worker->set.count)]);
	worker->nanoseconds = ktime_get_ns() - start;
	complete(&worker->done);
	return 0;
}

/* Lets this many threads work, and prints the mean cost of a step in ns. */
static int measure_threads(struct set *set, const char *name, unsigned int threads,
			   int (*step)(struct worker *, struct object *), unsigned int rounds)
{
	struct worker *workers = kcalloc(threads, sizeof(*workers), GFP_KERNEL);
	atomic_t ready = ATOMIC_INIT(0);
	unsigned int i;
	u64 sum = 0;
	int error = 0;

	if (!workers)
		return -ENOMEM;
	for (i = 0; i < threads; i++) {
		struct worker *worker = &workers[i];
		struct task_struct *task;

		worker->set = *set;
		worker->set.count = set->count / threads;
		worker->set.objects = set->objects + i * worker->set.count;
		prandom_seed_state(&worker->set.rnd, seed + i);
		worker->step = step;
		worker->rounds = rounds;
		worker->ready = &ready;
		worker->threads = threads;
		init_completion(&worker->done);
		task = kthread_create(work, worker, "zsrs_bench/%u", i);
		if (IS_ERR(task)) {
			/* Those that run wait for all: let them go. */
			atomic_add(threads, &ready);
			error = PTR_ERR(task);
			threads = i;
			break;
		}
		kthread_bind(task, i % num_online_cpus());
		wake_up_process(task);
	}
	for (i = 0; i < threads; i++) {
		wait_for_completion(&workers[i].done);
		error = error ?: workers[i].error;
		sum += workers[i].nanoseconds;
	}
	if (!error)
		pr_info("BENCH {\"threads\":%u,\"op\":\"%s\",\"rounds\":%u,\"picoseconds\":%llu}\n",
			threads, name, rounds, sum * 1000 / threads / rounds);
	kfree(workers);
	return error;
}

static int run_threads(unsigned int threads)
{
	struct set set;
	int error;

	if (!threads || threads > MAX_THREADS)
		return -EINVAL;
	error = set_open(&set, 20000);
	if (error)
		return error;
	error = set_fill(&set);
	error = error ?: measure_threads(&set, "map", threads, step_map, 200000);
	error = error ?: measure_threads(&set, "churn", threads, step_churn, 20000);
	error = error ?: measure_threads(&set, "alloc_free", threads, step_alloc_free, 50000);
	error = error ?: verify(&set, "threads");
	set_close(&set);
	return error;
}
