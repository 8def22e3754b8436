/* SPDX-License-Identifier: GPL-2.0 */
/* Common code of programs that make random calls: the same calls for the same seed. */
#ifndef RANDOM_H
#define RANDOM_H

#include "mst.h"

#define ARRAY_LEN(a)	(sizeof(a) / sizeof((a)[0]))
#define ONE_OF(a)	((a)[rnd(ARRAY_LEN(a))])

static uint64_t rng = 1;

static inline void rnd_seed(uint64_t seed)
{
	rng = seed * 0x9e3779b97f4a7c15ULL | 1;
}

static inline uint64_t rnd(uint64_t below)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng % below;
}

static inline bool one_in(uint64_t n)
{
	return !rnd(n);
}

/* An index into WEIGHTS, chosen with these weights. */
static inline int rnd_weighted(const int *weights, int n)
{
	int total = 0, dice, i;

	for (i = 0; i < n; i++)
		total += weights[i];
	dice = rnd(total);
	for (i = 0; dice >= weights[i]; i++)
		dice -= weights[i];
	return i;
}

/* A protection; most often one that permits access. */
static inline int rnd_prot(void)
{
	static const int prots[] = { RW, RW, RW, RW, PROT_READ, PROT_NONE };

	return ONE_OF(prots);
}

/* Advice for shared memory that both madvise(2) and mshare_advise(2) accept. */
static inline int rnd_advice(void)
{
	static const int advices[] = {
		MADV_DONTNEED, MADV_DONTNEED, MADV_DONTNEED, MADV_REMOVE, MADV_COLD, MADV_PAGEOUT,
		MADV_PAGEOUT, MADV_WILLNEED, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_COLLAPSE,
		MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_RANDOM, MADV_NORMAL,
	};

	return ONE_OF(advices);
}

#endif /* RANDOM_H */
