/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Series of measurements. Under QEMU's -icount shift=0 the time stamp counter
 * counts the guest's instructions, so that a cost is exact and repeats. User
 * Mode Linux reads that of the machine, which counts time.
 */
#ifndef CONFIG_UML
#include <asm/tsc.h>
#endif
#include <linux/delay.h>
#include <linux/irqflags.h>
#include <linux/ktime.h>
#include <linux/sort.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#ifdef CONFIG_UML
/* Not before all that comes first has been done. */
static inline u64 rdtsc(void)
{
	u32 low, high;

	asm volatile("lfence; rdtsc; lfence" : "=a"(low), "=d"(high) :: "memory");
	return (u64)high << 32 | low;
}
#endif

/* Costs of one operation, each an instruction count, or in ticks. */
struct series {
	const char *name;
	u32 *costs;
	unsigned int count;
	unsigned int room;
	u64 sum;
};

/* Which series of the next command the profiler shall see; empty for none. */
static char profile[32];
module_param_string(profile, profile, sizeof(profile), 0644);
MODULE_PARM_DESC(profile, "Operation whose instructions are marked for the profiler");

/* What measuring nothing costs. */
static u64 overhead;

/*
 * Instructions that do nothing, known to tests/bench/profile/plugin.c: what runs
 * between begin and end is counted; at next the counts are written to a file and
 * start again.
 */
#define mark(number) \
	asm volatile(".byte 0x0f, 0x1f, 0x84, 0x00, " number ", 0x72, 0x73, 0x7a" ::: "memory")
#define mark_begin() mark("0x01")
#define mark_end() mark("0x02")
#define mark_next() mark("0x03")

static int series_open(struct series *series, const char *name, unsigned int room)
{
	*series = (struct series){ .name = name, .room = room };
	series->costs = vmalloc_array(room, sizeof(*series->costs));
	return series->costs ? 0 : -ENOMEM;
}

static void series_add(struct series *series, u64 cost)
{
	cost = cost > overhead ? cost - overhead : 0;
	if (series->count < series->room)
		series->costs[series->count++] = min_t(u64, cost, U32_MAX);
	series->sum += cost;
}

/* Runs a statement with interrupts off and adds its cost to a series. */
#define MEASURE(series, statement)                                   \
	do {                                                         \
		bool marked_ = !strcmp((series)->name, profile);     \
		unsigned long flags_;                                \
		u64 start_, end_;                                    \
                                                                     \
		local_irq_save(flags_);                              \
		if (marked_)                                         \
			mark_begin();                                \
		start_ = rdtsc();                                    \
		barrier();                                           \
		statement;                                           \
		barrier();                                           \
		end_ = rdtsc();                                      \
		if (marked_)                                         \
			mark_end();                                  \
		local_irq_restore(flags_);                           \
		series_add(series, end_ - start_);                   \
	} while (0)

static int compare_costs(const void *a, const void *b)
{
	u32 first = *(const u32 *)a, second = *(const u32 *)b;

	return first < second ? -1 : first > second;
}

/* Prints a series and ends it. */
static void series_close(struct series *series)
{
	static const unsigned int percent[] = { 0, 10, 25, 50, 75, 90, 99, 100 };
	char quantiles[128];
	int i, length = 0;

	if (series->count) {
		sort(series->costs, series->count, sizeof(u32), compare_costs, NULL);
		for (i = 0; i < ARRAY_SIZE(percent); i++)
			length += scnprintf(quantiles + length, sizeof(quantiles) - length, "%s%u",
					    i ? "," : "",
					    series->costs[(u64)(series->count - 1) * percent[i] / 100]);
		pr_info("BENCH {\"op\":\"%s\",\"count\":%u,\"sum\":%llu,\"quantiles\":[%s]}\n",
			series->name, series->count, series->sum, quantiles);
	}
	vfree(series->costs);
	series->costs = NULL;
}

/* A single figure that is no series. */
#define figure(name, format, ...) \
	pr_info("BENCH {\"figure\":\"%s\",\"value\":" format "}\n", name, ##__VA_ARGS__)

/* How fast the time stamp counter is. */
static void figure_ticks(void)
{
	u64 ticks = rdtsc(), start = ktime_get_ns();

	mdelay(20);
	figure("ticks_per_microsecond", "%llu", (rdtsc() - ticks) * 1000 / (ktime_get_ns() - start));
}

static int calibrate(void)
{
	struct series empty;
	unsigned int i;

	if (series_open(&empty, "empty", 1001))
		return -ENOMEM;
	overhead = 0;
	for (i = 0; i < 1001; i++)
		MEASURE(&empty, barrier());
	sort(empty.costs, empty.count, sizeof(u32), compare_costs, NULL);
	overhead = empty.costs[500];
	figure("overhead", "%llu", overhead);
	if (IS_ENABLED(CONFIG_UML))
		figure_ticks();
	vfree(empty.costs);
	return 0;
}
