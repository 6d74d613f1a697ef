/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What hog.c and blocks.c share: random contents that compress to all sizes,
 * the time, and the signal that ends a run.
 */
#ifndef _ZSRS_CONTENTS_H
#define _ZSRS_CONTENTS_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* Words in the contents of a page or block. */
#define WORDS (4096UL / sizeof(uint64_t))

static volatile sig_atomic_t stop;

static inline void on_signal(int signo)
{
	(void)signo;
	stop = 1;
}

/* A full-period 64-bit step and a mix of its state (splitmix64). */
static inline uint64_t next_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/*
 * Random words and then one word repeated: @least of the former in one of 16
 * contents, nothing else in another, any number in the rest.
 */
static inline void random_contents(uint64_t state, size_t least, uint64_t *out)
{
	uint64_t kind = next_random(&state) % 16;
	uint64_t filler = next_random(&state) | 1;
	size_t random_words, i;

	if (kind == 0)
		random_words = least;
	else if (kind == 1)
		random_words = WORDS;
	else
		random_words = next_random(&state) % (WORDS - 40);

	for (i = 0; i < random_words; i++)
		out[i] = next_random(&state);
	for (; i < WORDS; i++)
		out[i] = filler;
}

/* Seconds, of a clock that only goes forward. */
static inline double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

#endif
