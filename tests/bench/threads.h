/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What operations cost when several threads use one pool, each its own objects.
 *
 * The threads start each slice together, and a slice is short: on a host that
 * has other things to do most slices are disturbed, but in the quickest tenth
 * all CPUs of the guest ran at the same time.
 */
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/kthread.h>

enum { MAX_THREADS = 16, SLICES = 160, MAX_ROUNDS = 1000 };

enum kind { MAP, CHURN, ALLOC_FREE };

struct worker {
	struct set set; /* shares pool and table; a random sequence of its own */
	enum kind kind;
	unsigned int rounds; /* of a slice */
	struct object *picks[MAX_ROUNDS];
	/* What takes their place: sizes and tags. */
	struct object drawn[MAX_ROUNDS];
	unsigned int threads;
	int error;
	atomic_t *arrived;
	u32 nanoseconds[SLICES];
	struct completion done;
};

static int map_all(struct worker *worker)
{
	struct bench_pool *pool = worker->set.pool;
	unsigned int i;

	for (i = 0; i < worker->rounds; i++) {
		bench_map(pool, worker->picks[i]->handle, BENCH_RO);
		bench_unmap(pool, worker->picks[i]->handle);
	}
	return 0;
}

static int replace_all(struct worker *worker)
{
	unsigned int i;

	for (i = 0; i < worker->rounds; i++) {
		struct object *object = worker->picks[i];

		bench_free(worker->set.pool, object->handle);
		*object = worker->drawn[i];
		if (make_object(&worker->set, object))
			return -ENOMEM;
		write_object(&worker->set, object);
	}
	return 0;
}

static int alloc_free_all(struct worker *worker)
{
	unsigned int i;

	for (i = 0; i < worker->rounds; i++) {
		struct object other = { .size = worker->picks[i]->size };

		if (make_object(&worker->set, &other))
			return -ENOMEM;
		bench_free(worker->set.pool, other.handle);
	}
	return 0;
}

static void work_slice(struct worker *worker, unsigned int slice)
{
	struct set *set = &worker->set;
	unsigned int i;
	u64 start;

	/* The benchmark's own work is not timed: what it notes of these objects is at hand, too. */
	for (i = 0; i < worker->rounds; i++) {
		worker->picks[i] = &set->objects[below(&set->rnd, set->count)];
		READ_ONCE(worker->picks[i]->handle);
		draw_object(set, &worker->drawn[i], &set->rnd);
	}
	atomic_inc(worker->arrived);
	while (atomic_read(worker->arrived) < worker->threads * (slice + 1))
		cpu_relax();
	start = ktime_get_ns();
	if (worker->error)
		return;
	switch (worker->kind) {
	case MAP:
		worker->error = map_all(worker);
		break;
	case CHURN:
		worker->error = replace_all(worker);
		break;
	case ALLOC_FREE:
		worker->error = alloc_free_all(worker);
		break;
	}
	worker->nanoseconds[slice] = min_t(u64, ktime_get_ns() - start, U32_MAX);
}

static int work(void *data)
{
	struct worker *worker = data;
	unsigned int slice;

	for (slice = 0; slice < SLICES; slice++) {
		work_slice(worker, slice);
		cond_resched();
	}
	complete(&worker->done);
	return 0;
}

/* Prints what a step cost in the slices, each as long as its slowest thread took. */
static void print_slices(const char *name, struct worker *workers, unsigned int threads)
{
	unsigned int slice, i;
	u32 *worst = workers[0].nanoseconds;
	u64 rounds = workers[0].rounds;

	for (slice = 0; slice < SLICES; slice++)
		for (i = 1; i < threads; i++)
			worst[slice] = max(worst[slice], workers[i].nanoseconds[slice]);
	sort(worst, SLICES, sizeof(u32), compare_costs, NULL);
	pr_info("BENCH {\"threads\":%u,\"op\":\"%s\",\"rounds\":%llu,"
		"\"picoseconds\":[%llu,%llu,%llu,%llu]}\n",
		threads, name, rounds, worst[SLICES / 40] * 1000 / rounds,
		worst[SLICES / 20] * 1000 / rounds, worst[SLICES / 10] * 1000 / rounds,
		worst[SLICES / 2] * 1000 / rounds);
}

/* Lets this many threads work, in slices of so many rounds. */
static int measure_threads(struct set *set, const char *name, unsigned int threads,
			   enum kind kind, unsigned int rounds)
{
	struct worker *workers = kvcalloc(threads, sizeof(*workers), GFP_KERNEL);
	atomic_t arrived = ATOMIC_INIT(0);
	unsigned int i, started;
	int error = 0;

	if (!workers)
		return -ENOMEM;
	for (started = 0; started < threads && !error; started++) {
		struct worker *worker = &workers[started];
		struct task_struct *task;

		worker->set = *set;
		worker->set.count = set->count / threads;
		worker->set.objects = set->objects + started * worker->set.count;
		prandom_seed_state(&worker->set.rnd, seed + started);
		worker->kind = kind;
		worker->rounds = rounds;
		worker->arrived = &arrived;
		worker->threads = threads;
		init_completion(&worker->done);
		task = kthread_create(work, worker, "zsrs_bench/%u", started);
		if (IS_ERR(task)) {
			/* Those that run wait for all: let them go. */
			atomic_add(threads * SLICES, &arrived);
			error = PTR_ERR(task);
			break;
		}
		kthread_bind(task, started % num_online_cpus());
		wake_up_process(task);
	}
	for (i = 0; i < started; i++) {
		wait_for_completion(&workers[i].done);
		error = error ?: workers[i].error;
	}
	if (!error)
		print_slices(name, workers, threads);
	kvfree(workers);
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
	error = error ?: measure_threads(&set, "map", threads, MAP, MAX_ROUNDS);
	error = error ?: measure_threads(&set, "churn", threads, CHURN, 50);
	error = error ?: measure_threads(&set, "alloc_free", threads, ALLOC_FREE, 150);
	error = error ?: verify(&set, "threads");
	set_close(&set);
	return error;
}
