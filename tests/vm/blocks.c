// SPDX-License-Identifier: GPL-2.0
/*
 * blocks: a block device whose every byte is known, for what moves below it.
 *
 *     blocks fill DEVICE     write all blocks
 *     blocks punch DEVICE    discard a random half of them
 *     blocks check DEVICE    compare all of them with what they must hold
 *     blocks storm DEVICE    discard all, then write, read, compare and discard
 *                            at random with several threads, and compare all
 *
 * The content of a block is a function of (seed, block, version): random words
 * and then one word repeated, so that compressed sizes are all there are; or,
 * with --data FILE, a block of that file with its number in the first 8 bytes.
 * A discarded block holds zeros, as does one of version 0. fill writes version
 * 1; --punched tells check that punch came after it.
 *
 * With --ballast, fill takes a page of memory for each block that it writes, and
 * gives them all back when it ends: what the device took lies in between, and the
 * free memory is in pieces.
 *
 * Threads of a storm have blocks of their own, and alternate every two seconds
 * between filling the device and emptying it, so that a compressed pool below it
 * always has holes. A storm ends after --seconds or on SIGTERM.
 *
 * Exit status: 0 all blocks right, 1 some were not, 2 wrong use or an I/O error.
 * --plant damages what one block must hold before the last comparison, to prove
 * that the comparison sees it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "contents.h"

#define BLOCK 4096UL
#define CHUNK 64UL
#define MAX_THREADS 16
#define REPORTED_MISMATCHES 5
#define TIDE_S 2
/* Set in the version of a block that was discarded. */
#define GONE (1U << 31)

static struct {
	const char *device;
	int fd;
	int data_fd;
	unsigned long data_blocks;
	unsigned long blocks;
	unsigned long threads;
	unsigned long seconds;
	uint64_t seed;
	uint32_t *version;
	int punched;
	int ballast;
	int plant;
} o = { .fd = -1, .data_fd = -1, .blocks = 4096, .threads = 2, .seconds = 10, .seed = 1 };

struct thread {
	pthread_t id;
	unsigned long number;
	unsigned long reads, writes, discards;
};

static unsigned long mismatches;

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "blocks: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	exit(2);
}

static uint64_t mix(unsigned long block, uint32_t version)
{
	uint64_t state = o.seed ^ ((uint64_t)block << 32) ^ version;

	return next_random(&state);
}

static void *buffer(size_t bytes)
{
	void *p;

	if (posix_memalign(&p, BLOCK, bytes))
		die("no memory for %zu bytes", bytes);
	return p;
}

/* What @count blocks from @block on must hold. */
static void expect(unsigned long block, unsigned long count, uint64_t *out)
{
	unsigned long i;

	if (o.data_fd >= 0) {
		unsigned long from = block % o.data_blocks;

		if (from + count > o.data_blocks)
			die("--data has %lu blocks, a multiple of %lu is wanted", o.data_blocks, CHUNK);
		if (pread(o.data_fd, out, count * BLOCK, from * BLOCK) != (ssize_t)(count * BLOCK))
			die("cannot read block %lu of the data: %s", from, strerror(errno));
	}
	for (i = 0; i < count; i++) {
		uint64_t *words = out + i * WORDS;

		if (o.version[block + i] == 0 || o.version[block + i] & GONE)
			memset(words, 0, BLOCK);
		else if (o.data_fd < 0)
			random_contents(mix(block + i, o.version[block + i]), 1, words);
		else
			words[0] = mix(block + i, o.version[block + i]);
	}
}

static void write_at(unsigned long block, unsigned long count, const void *from)
{
	if (pwrite(o.fd, from, count * BLOCK, block * BLOCK) != (ssize_t)(count * BLOCK))
		die("cannot write block %lu of %s: %s", block, o.device, strerror(errno));
}

static void write_blocks(unsigned long block, unsigned long count, uint64_t *scratch)
{
	expect(block, count, scratch);
	write_at(block, count, scratch);
}

/* Reads into @scratch, compares with what is expected in its second half. */
static void check_blocks(unsigned long block, unsigned long count, uint64_t *scratch)
{
	const unsigned char *is = (unsigned char *)scratch;
	const unsigned char *want = is + CHUNK * BLOCK;
	size_t at;

	if (pread(o.fd, scratch, count * BLOCK, block * BLOCK) != (ssize_t)(count * BLOCK))
		die("cannot read block %lu of %s: %s", block, o.device, strerror(errno));
	expect(block, count, scratch + CHUNK * WORDS);
	if (memcmp(is, want, count * BLOCK) == 0)
		return;
	for (at = 0; at < count * BLOCK; at += BLOCK) {
		size_t byte = at;

		if (memcmp(is + at, want + at, BLOCK) == 0)
			continue;
		while (is[byte] == want[byte])
			byte++;
		if (__atomic_fetch_add(&mismatches, 1, __ATOMIC_RELAXED) < REPORTED_MISMATCHES)
			fprintf(stderr,
				"blocks: block %lu version %u differs from byte %zu on: is %02x, must be %02x\n",
				block + at / BLOCK, (unsigned int)o.version[block + at / BLOCK],
				byte % BLOCK, is[byte], want[byte]);
	}
}

static void discard(unsigned long block, unsigned long count)
{
	uint64_t range[2] = { block * BLOCK, count * BLOCK };

	if (ioctl(o.fd, BLKDISCARD, range) != 0)
		die("cannot discard block %lu of %s: %s", block, o.device, strerror(errno));
}

/* Whether punch takes this block. */
static int is_punched(unsigned long block)
{
	return mix(block, UINT32_MAX) & 1;
}

static void check_all(void)
{
	uint64_t *scratch = buffer(2 * CHUNK * BLOCK);
	unsigned long block;

	if (o.plant)
		o.version[o.blocks / 2] = (o.version[o.blocks / 2] & ~GONE) + 1;
	for (block = 0; block < o.blocks; block += CHUNK) {
		unsigned long left = o.blocks - block;

		check_blocks(block, left < CHUNK ? left : CHUNK, scratch);
	}
	free(scratch);
}

static void fill(void)
{
	uint64_t *scratch = buffer(CHUNK * BLOCK);
	unsigned long block;

	for (block = 0; block < o.blocks; block += CHUNK) {
		unsigned long left = o.blocks - block;

		write_blocks(block, left < CHUNK ? left : CHUNK, scratch);
	}
	free(scratch);
}

static void fill_with_ballast(void)
{
	uint64_t *scratch = buffer(CHUNK * BLOCK);
	unsigned long block, i;
	char *ballast = mmap(NULL, o.blocks * BLOCK, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (ballast == MAP_FAILED)
		die("no memory for %lu pages of ballast", o.blocks);
	madvise(ballast, o.blocks * BLOCK, MADV_NOHUGEPAGE);
	for (block = 0; block < o.blocks; block += CHUNK) {
		unsigned long left = o.blocks - block;
		unsigned long count = left < CHUNK ? left : CHUNK;

		expect(block, count, scratch);
		for (i = 0; i < count; i++) {
			write_at(block + i, 1, scratch + i * WORDS);
			ballast[(block + i) * BLOCK] = 1;
		}
	}
	free(scratch);
}

static unsigned long punch(void)
{
	unsigned long block, punched = 0;

	for (block = 0; block < o.blocks; block++)
		if (is_punched(block)) {
			discard(block, 1);
			punched++;
		}
	return punched;
}

static void *storm_thread(void *argument)
{
	struct thread *thread = argument;
	uint64_t state = o.seed + 77 * (thread->number + 1);
	uint64_t *scratch = buffer(2 * CHUNK * BLOCK);
	unsigned long mine = o.blocks / o.threads;
	double begin = now();

	while (!stop && now() < begin + (double)o.seconds) {
		unsigned long block = next_random(&state) % mine * o.threads + thread->number;
		uint64_t dice = next_random(&state) % 100;
		int rising = (unsigned long)((now() - begin) / TIDE_S + (double)thread->number) % 2 == 0;

		if (dice < 30) {
			check_blocks(block, 1, scratch);
			thread->reads++;
		} else if (dice < (rising ? 90 : 50)) {
			/* Read before it goes: damage done to it must not go unseen. */
			check_blocks(block, 1, scratch);
			o.version[block] = (o.version[block] & ~GONE) + 1;
			write_blocks(block, 1, scratch);
			thread->writes++;
		} else {
			check_blocks(block, 1, scratch);
			discard(block, 1);
			o.version[block] |= GONE;
			thread->discards++;
		}
	}
	free(scratch);
	return NULL;
}

static void storm(void)
{
	struct thread threads[MAX_THREADS] = { 0 };
	unsigned long i, reads = 0, writes = 0, discards = 0;

	discard(0, o.blocks);
	for (i = 0; i < o.threads; i++) {
		threads[i].number = i;
		if (pthread_create(&threads[i].id, NULL, storm_thread, &threads[i]))
			die("cannot start a thread");
	}
	for (i = 0; i < o.threads; i++) {
		pthread_join(threads[i].id, NULL);
		reads += threads[i].reads;
		writes += threads[i].writes;
		discards += threads[i].discards;
	}
	check_all();
	printf("blocks: reads=%lu writes=%lu discards=%lu mismatches=%lu\n", reads, writes,
	       discards, mismatches);
}

static unsigned long number(const char *option, const char *text)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 0);
	if (errno || end == text || *end)
		die("--%s wants a number, not \"%s\"", option, text);
	return value;
}

static void open_data(const char *path)
{
	off_t bytes;

	o.data_fd = open(path, O_RDONLY);
	if (o.data_fd < 0)
		die("cannot open %s: %s", path, strerror(errno));
	bytes = lseek(o.data_fd, 0, SEEK_END);
	o.data_blocks = (unsigned long)bytes / BLOCK / CHUNK * CHUNK;
	if (o.data_blocks == 0)
		die("%s is shorter than %lu bytes", path, CHUNK * BLOCK);
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "blocks", required_argument, NULL, 'b' },
		{ "data", required_argument, NULL, 'd' },
		{ "threads", required_argument, NULL, 't' },
		{ "seconds", required_argument, NULL, 's' },
		{ "seed", required_argument, NULL, 'S' },
		{ "punched", no_argument, NULL, 'p' },
		{ "ballast", no_argument, NULL, 'B' },
		{ "plant", no_argument, NULL, 'P' },
		{ NULL, 0, NULL, 0 },
	};
	int option, index = 0;

	while ((option = getopt_long(argc, argv, "", options, &index)) != -1) {
		switch (option) {
		case 'b':
			o.blocks = number("blocks", optarg);
			break;
		case 'd':
			open_data(optarg);
			break;
		case 't':
			o.threads = number("threads", optarg);
			break;
		case 's':
			o.seconds = number("seconds", optarg);
			break;
		case 'S':
			o.seed = number("seed", optarg);
			break;
		case 'p':
			o.punched = 1;
			break;
		case 'B':
			o.ballast = 1;
			break;
		case 'P':
			o.plant = 1;
			break;
		default:
			die("see the head of blocks.c for its options");
		}
	}
	if (optind + 2 != argc)
		die("a verb and a device are wanted: blocks fill|punch|check|storm DEVICE");
	if (o.threads == 0 || o.threads > MAX_THREADS || o.blocks < o.threads)
		die("1 to %d threads, and a block for each, are wanted", MAX_THREADS);
}

int main(int argc, char **argv)
{
	const char *verb;
	unsigned long block;

	parse(argc, argv);
	verb = argv[optind];
	o.device = argv[optind + 1];
	o.seed *= 0xd1342543de82ef95ULL;
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	o.fd = open(o.device, O_RDWR | O_DIRECT);
	if (o.fd < 0)
		die("cannot open %s: %s", o.device, strerror(errno));
	o.version = calloc(o.blocks, sizeof(*o.version));
	if (!o.version)
		die("no memory for %lu versions", o.blocks);

	if (!strcmp(verb, "storm")) {
		storm();
		return mismatches ? 1 : 0;
	}
	for (block = 0; block < o.blocks; block++)
		o.version[block] = o.punched && is_punched(block) ? GONE | 1 : 1;
	if (!strcmp(verb, "fill")) {
		if (o.ballast)
			fill_with_ballast();
		else
			fill();
		printf("blocks: %lu blocks written\n", o.blocks);
	} else if (!strcmp(verb, "punch")) {
		printf("blocks: %lu of %lu blocks discarded\n", punch(), o.blocks);
	} else if (!strcmp(verb, "check")) {
		check_all();
		printf("blocks: %lu blocks checked, mismatches=%lu\n", o.blocks, mismatches);
	} else {
		die("\"%s\" is none of fill, punch, check, storm", verb);
	}
	return mismatches ? 1 : 0;
}
