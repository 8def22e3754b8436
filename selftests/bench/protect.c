// SPDX-License-Identifier: GPL-2.0
/*
 * Row 4: instructions to make memory read-only for N processes that all have it
 * in their page tables.  That takes one mshare_protect(2) or, for threads, one
 * mprotect(2).  Otherwise it takes a message to each process, its mprotect(2) and
 * its answer.
 *
 *	protect PROCESSES SIZE...
 *
 * The numbers of processes are 1, 4, 16 .. up to PROCESSES.  The sizes are parts of the
 * largest.
 */
#include "bench.h"

#define TIMES	15	/* of small sizes, whose figures a tick of the clock changes */
#define FEW	5

static uint64_t *length;	/* seen by all */

static uint64_t job(char command, char *at, uint64_t bytes)
{
	static char own[2 * PAGE] __attribute__((aligned(PAGE)));

	switch (command) {
	case 'f':
		memset(at, 1, bytes);
		return 0;
	case 'r':
		return read_pages(at, bytes, PAGE);
	case 'p':
		return mprotect(at, *length, PROT_READ);
	case 'u':
		return mprotect(at, *length, RW);
	case 's':
		return try_store(at, 1) | try_store(at + *length - 1, 1);
	default:
		return mprotect(own, PAGE, PROT_READ) | mprotect(own, PAGE, RW) |
		       try_store(own, 1);
	}
}

static uint64_t protect(struct crowd *c, int prot)
{
	const struct memory *m = c->memory;
	uint64_t from = __rdtsc();

	if (has_region(m->way) ? mshare_protect(m->region, 0, *length, prot, 0) :
	    m->way == THREADS && mprotect(m->at, *length, prot))
		err(1, "protecting %ju bytes", (uintmax_t)*length);
	if (!has_region(m->way) && m->way != THREADS)
		crowd_all(c, prot == RW ? 'u' : 'p');
	return __rdtsc() - from;
}

/* Can they write?  A call that does nothing would be fast. */
static void check(struct crowd *c, uint64_t fault)
{
	int i;

	for (i = 0; i < c->count; i++) {
		if (crowd_ask(c, i, 's').value != fault)
			errx(1, "%s: member %d can%s write", way_names[c->memory->way], i,
			    fault ? "" : "not");
	}
}

static void measure(enum way way, int most, const uint64_t *sizes)
{
	const uint64_t *size;
	uint64_t cost[TIMES], largest = 0;
	struct memory m;
	struct crowd c;
	int n, i, times;

	for (size = sizes; *size; size++)
		if (*size > largest)
			largest = *size;
	memory_make(&m, way, largest, -1);
	crowd_make(&c, &m, job);
	for (n = 1; n <= most; n *= 4) {
		i = c.count;
		crowd_grow(&c, n);
		for (; i < n; i++) {
			crowd_ask(&c, i, 'e');
			/* Reading makes writable entries, too, many at a time. */
			crowd_ask(&c, i, i ? 'r' : 'f');
		}
		for (size = sizes; *size; size++) {
			if (is_huge(way) && *size < HUGE)
				continue;
			*length = *size;
			times = *size > HUGE ? FEW : TIMES;
			for (i = 0; i < times; i++) {
				cost[i] = protect(&c, PROT_READ);
				check(&c, FAULT_ACCERR);
				protect(&c, RW);
				check(&c, FAULT_NONE);
			}
			report(4, "protect", way_names[way], *size, n, median(cost, times),
			       "instructions");
		}
	}
	crowd_end(&c);
	memory_drop(&m);
}

int main(int argc, char **argv)
{
	enum way way;

	if (argc < 3) {
		fprintf(stderr, "usage: protect PROCESSES SIZE...\n");
		return 2;
	}
	length = shared_page();
	for (way = 0; way < WAYS; way++)
		measure(way, atoi(argv[1]), ladder(argv + 2));
	return 0;
}
