// SPDX-License-Identifier: GPL-2.0
/*
 * Row 5: instructions per page to take away pages that N processes have mapped:
 * truncate their file, migrate them to another node, reclaim them.
 *
 *	rmap PROCESSES SIZE IMAGE	on a machine with two nodes
 *
 * The numbers of processes are 1, 4, 16 .. up to PROCESSES.  IMAGE is for disk_file().
 */
#define _GNU_SOURCE
#include "bench.h"

#include <linux/mempolicy.h>
#include <sys/syscall.h>

static uint64_t job(char command, char *at, uint64_t bytes)
{
	static char own[2 * PAGE];

	return command == 'r' ? read_pages(at, bytes, PAGE) : read_pages(own, sizeof(own), PAGE);
}

/* The node of a page of this process; -1 if there is none. */
static int node_of(void *at)
{
	int node = -1;

	if (syscall(__NR_move_pages, 0, 1UL, &at, NULL, &node, 0))
		err(1, "move_pages");
	return node;
}

/* Through an ordinary mapping of the file.  Each way has this one in addition. */
static uint64_t migrate(struct memory *m)
{
	char *at = mmap(NULL, m->bytes, RW, MAP_SHARED, m->file, 0);
	unsigned long nodes;
	uint64_t from;
	int node;

	if (at == MAP_FAILED)
		err(1, "mmap");
	read_pages(at, m->bytes, PAGE);
	node = node_of(at);
	nodes = node ? 1 : 2;
	from = __rdtsc();
	if (syscall(__NR_mbind, at, m->bytes, MPOL_BIND, &nodes, 64UL,
		    MPOL_MF_MOVE_ALL | MPOL_MF_STRICT))
		err(1, "mbind");
	from = __rdtsc() - from;
	if (node < 0 || node_of(at) != !node || node_of(at + m->bytes - PAGE) != !node)
		errx(1, "the pages were not migrated from node %d", node);
	munmap(at, m->bytes);
	return from;
}

static uint64_t truncated(struct memory *m)
{
	uint64_t from = __rdtsc();

	if (ftruncate(m->file, 0))
		err(1, "ftruncate");
	return __rdtsc() - from;
}

static const char *image;
static char group[64];

/* In steps, until little is left: reclaim spares pages that were read lately. */
static uint64_t reclaim(struct memory *m, uint64_t *pages)
{
	const char *stat = "memory.stat";
	uint64_t from, total = 0, before, left;
	int i;

	before = file_key(cgroup_file(group, stat), "file ");
	left = before;
	for (i = 0; i < 64 && left > before / 16; i++) {
		from = __rdtsc();
		write_number(cgroup_file(group, "memory.reclaim"), left);
		total += __rdtsc() - from;
		left = file_key(cgroup_file(group, stat), "file ");
	}
	if (before < m->bytes || left > before / 16)
		errx(1, "of %ju bytes %ju were not reclaimed", (uintmax_t)before, (uintmax_t)left);
	*pages = (before - left) / PAGE;
	return total;
}

enum what { TRUNCATE, MIGRATE, RECLAIM };
static const char *const whats[] = { "truncate", "migrate", "reclaim" };

static void measure(enum what what, enum way way, int n, uint64_t bytes)
{
	uint64_t cost, pages = bytes / PAGE;
	struct memory m;
	struct crowd c;
	static const uint64_t ones[512] = { [0 ... 511] = 1 };
	int file = -1, i;

	/* Pages that can be read again, so that they can be dropped. */
	if (what == RECLAIM)
		file = disk_file(image, bytes, ones, 512);
	memory_make(&m, way, bytes, file);
	crowd_make(&c, &m, job);
	crowd_grow(&c, n);
	for (i = 0; i < n; i++) {
		crowd_ask(&c, i, 'e');
		crowd_ask(&c, i, 'r');
	}
	if (what == TRUNCATE)
		cost = truncated(&m);
	else if (what == MIGRATE)
		cost = migrate(&m);
	else
		cost = reclaim(&m, &pages);
	report(5, whats[what], way_names[way], bytes, n, (double)cost / pages, "instructions");
	crowd_end(&c);
	memory_drop(&m);
	if (file >= 0)
		close(file);
}

int main(int argc, char **argv)
{
	int most = argc == 4 ? atoi(argv[1]) : 0, n;
	enum what what;
	enum way way;

	if (most < 1) {
		fprintf(stderr, "usage: rmap PROCESSES SIZE IMAGE\n");
		return 2;
	}
	image = argv[3];
	if (!cgroup_make(group, sizeof(group)) ||
	    !write_text(cgroup_file(group, "cgroup.procs"), "0"))
		err(1, "a memory cgroup");
	for (what = TRUNCATE; what <= RECLAIM; what++)
		for (way = MSHARE; way < WAYS; way++)
			for (n = 1; n <= most; n *= 4)
				measure(what, way, n, strtoull(argv[2], NULL, 0));
	return 0;
}
