// SPDX-License-Identifier: GPL-2.0
/*
 * Row 1: bytes of page tables, for N processes that have read all of an object.
 *
 *	tables PROCESSES SIZE...
 *
 * The numbers of processes are 1, 2, 4 .. up to PROCESSES.  One page of each 2 MiB is
 * read, which makes the same page tables as reading every page.  The object thus needs
 * only a 512th of its size in memory (huge pages: all of it).  The figure is the growth
 * of PageTables in /proc/meminfo since before the object was made.  The processes are
 * there, and warm, before they map it, so their own page tables do not count.
 */
#include "bench.h"

static uint64_t job(char command, char *at, uint64_t bytes)
{
	static char own[2 * PAGE];

	return command == 'r' ? read_pages(at, bytes, HUGE) : read_pages(own, sizeof(own), PAGE);
}

static void measure(enum way way, uint64_t bytes, int most)
{
	long long total, before;
	struct memory m;
	struct crowd c;
	int n, i;

	before = page_tables();
	memory_make(&m, way, bytes, -1);
	total = page_tables() - before;
	crowd_make(&c, &m, job);
	for (n = 1; n <= most; n *= 2) {
		i = c.count;
		crowd_grow(&c, n);
		before = page_tables();
		for (; i < n; i++) {
			crowd_ask(&c, i, 'e');
			crowd_ask(&c, i, 'r');
		}
		total += page_tables() - before;
		report(1, "page tables", way_names[way], bytes, n, total, "count");
	}
	crowd_end(&c);
	memory_drop(&m);
}

int main(int argc, char **argv)
{
	const uint64_t *size;
	enum way way;

	if (argc < 3) {
		fprintf(stderr, "usage: tables PROCESSES SIZE...\n");
		return 2;
	}
	for (way = 0; way < WAYS; way++)
		for (size = ladder(argv + 2); *size; size++)
			measure(way, *size, atoi(argv[1]));
	return 0;
}
