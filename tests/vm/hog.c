// SPDX-License-Identifier: GPL-2.0
/*
 * hog: memory whose every byte is known, to be swapped out and back.
 *
 * Fills N pages with content that is a function of (seed, page, version),
 * touches them at random, rewrites some with the next version, and compares
 * each page it touches, and in the end all of them, with what it must hold.
 * Run it in a memory cgroup smaller than its pages.
 *
 * Contents are a mix: words repeated over the whole page, pages that do not
 * compress, and pages that compress to anything in between, so that all size
 * classes of a compressed pool are used.
 *
 * Ends after --touches, or after --seconds, or on SIGTERM; all three still do
 * the last full comparison. Exit status: 0 all pages right, 1 some were not,
 * 2 wrong use or no memory.
 *
 * --pageout asks the kernel to swap everything out (MADV_PAGEOUT) after the
 * filling and every 1,000 touches: memory pressure without a cgroup.
 *
 * --hold fills, swaps out if --pageout is given too, prints "hog: filled" and
 * touches nothing until SIGTERM: memory that others write back meanwhile.
 *
 * --plant damages one byte before the last comparison, to prove that the
 * comparison sees it.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "contents.h"

#define PAGE 4096UL
#define REPORTED_MISMATCHES 5
#define TOUCHES_PER_PAGEOUT 1000

struct hog {
	unsigned char *pages;
	uint32_t *version;
	unsigned long count;
	uint64_t seed;
	unsigned long checks, rewrites, mismatches;
};

/* What page number @page of @version must hold. */
static void expected_page(const struct hog *h, unsigned long page,
			  uint32_t version, uint64_t *out)
{
	random_contents(h->seed ^ (page << 32) ^ version, 0, out);
}

static void write_page(struct hog *h, unsigned long page)
{
	expected_page(h, page, h->version[page],
		      (uint64_t *)(h->pages + page * PAGE));
}

static void check_page(struct hog *h, unsigned long page)
{
	uint64_t want[WORDS];
	const unsigned char *is = h->pages + page * PAGE;
	size_t at;

	expected_page(h, page, h->version[page], want);
	h->checks++;
	if (memcmp(is, want, PAGE) == 0)
		return;

	for (at = 0; is[at] == ((unsigned char *)want)[at]; at++)
		;
	if (h->mismatches++ < REPORTED_MISMATCHES)
		fprintf(stderr,
			"hog: page %lu version %u differs from byte %zu on: is %02x, must be %02x\n",
			page, (unsigned int)h->version[page], at, is[at],
			((unsigned char *)want)[at]);
}

/*
 * One step: a run of up to 16 neighbours of a random page, as programs touch
 * memory; every third page is rewritten after it was compared.
 */
static unsigned long touch_some(struct hog *h, uint64_t *state)
{
	unsigned long first = next_random(state) % h->count;
	unsigned long length = 1 + next_random(state) % 16;
	unsigned long page;

	for (page = first; page < first + length && page < h->count; page++) {
		check_page(h, page);
		if (next_random(state) % 3)
			continue;
		h->version[page]++;
		h->rewrites++;
		write_page(h, page);
	}
	return page - first;
}

static void page_out(const struct hog *h)
{
	if (madvise(h->pages, h->count * PAGE, MADV_PAGEOUT) == 0)
		return;
	fprintf(stderr, "hog: MADV_PAGEOUT refused: %s\n", strerror(errno));
	exit(2);
}

static void wait_for_signal(void)
{
	sigset_t end_signals, before;

	sigemptyset(&end_signals);
	sigaddset(&end_signals, SIGTERM);
	sigaddset(&end_signals, SIGINT);
	/* Blocked but while waiting, so that none comes between. */
	sigprocmask(SIG_BLOCK, &end_signals, &before);
	while (!stop)
		sigsuspend(&before);
	sigprocmask(SIG_SETMASK, &before, NULL);
}

static unsigned long number(const char *option, const char *text)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 0);
	if (errno || end == text || *end) {
		fprintf(stderr, "hog: --%s wants a number, not \"%s\"\n",
			option, text);
		exit(2);
	}
	return value;
}

static void *anonymous(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		fprintf(stderr, "hog: no memory for %zu bytes: %s\n", bytes,
			strerror(errno));
		exit(2);
	}
	return p;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "pages", required_argument, NULL, 'p' },
		{ "seed", required_argument, NULL, 's' },
		{ "touches", required_argument, NULL, 't' },
		{ "seconds", required_argument, NULL, 'S' },
		{ "pageout", no_argument, NULL, 'o' },
		{ "hold", no_argument, NULL, 'h' },
		{ "plant", no_argument, NULL, 'P' },
		{ NULL, 0, NULL, 0 },
	};
	struct hog h = { .count = 5000, .seed = 1 };
	unsigned long touches = 0, seconds = 0, done = 0, next_pageout = 0, page;
	uint64_t state;
	double end;
	int option, index, pageout = 0, hold = 0, plant = 0;

	while ((option = getopt_long(argc, argv, "", options, &index)) != -1) {
		switch (option) {
		case 'p':
			h.count = number("pages", optarg);
			break;
		case 's':
			h.seed = number("seed", optarg);
			break;
		case 't':
			touches = number("touches", optarg);
			break;
		case 'S':
			seconds = number("seconds", optarg);
			break;
		case 'o':
			pageout = 1;
			break;
		case 'h':
			hold = 1;
			break;
		case 'P':
			plant = 1;
			break;
		default:
			fprintf(stderr,
				"use: hog [--pages N] [--seed N] [--touches N | --seconds N | --hold] [--pageout] [--plant]\n");
			return 2;
		}
	}
	if (optind != argc || h.count == 0) {
		fprintf(stderr, "hog: a page count above 0, and no further arguments\n");
		return 2;
	}

	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	h.seed *= 0xd1342543de82ef95ULL;
	h.pages = anonymous(h.count * PAGE);
	h.version = anonymous(h.count * sizeof(*h.version));
	madvise(h.pages, h.count * PAGE, MADV_NOHUGEPAGE);

	end = now() + (double)seconds;
	for (page = 0; page < h.count; page++)
		write_page(&h, page);

	if (hold) {
		if (pageout)
			page_out(&h);
		printf("hog: filled\n");
		fflush(stdout);
		wait_for_signal();
	}

	state = h.seed + 1;
	while (!hold && !stop && (seconds ? now() < end : done < touches)) {
		if (pageout && done >= next_pageout) {
			page_out(&h);
			next_pageout = done + TOUCHES_PER_PAGEOUT;
		}
		done += touch_some(&h, &state);
	}

	if (plant)
		h.pages[(h.count / 2) * PAGE + 1234] ^= 0x40;
	for (page = 0; page < h.count; page++)
		check_page(&h, page);

	printf("hog: pages=%lu checks=%lu rewrites=%lu mismatches=%lu\n",
	       h.count, h.checks, h.rewrites, h.mismatches);
	return h.mismatches ? 1 : 0;
}
