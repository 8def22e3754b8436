// SPDX-License-Identifier: GPL-2.0
/*
 * Row 8: N unrelated programs open the same file, and each reads or writes a word of
 * every page.  Page tables, page faults and instructions, from open(2) on.
 *
 *	openers PROCESSES SIZE...
 *
 * The numbers of processes are 1, 4, 16 .. up to PROCESSES.  Each process executes this
 * program, and gets nothing but the path of the file.  It does the same with another
 * file first, so that its own pages are there.  The file is in memory, on tmpfs, or on
 * hugetlbfs for huge pages.  "threads" are those of one program, the first of which
 * opens and maps the file.  "read" and "io_uring" read it into 1 MiB of private buffers.
 */
#include "bench.h"
#include "uring.h"

#include <stdbool.h>
#include <sys/mount.h>
#include <sys/stat.h>

enum { READ = WAYS, URING, ALL_WAYS };

#define SMALL_DIR	"/openers"
#define HUGE_DIR	"/openers-huge"

static int way;
static char *of_threads;	/* mapped by the first of them */

static const char *name_of(int w)
{
	return w == READ ? "read" : w == URING ? "io_uring" : way_names[w];
}

static const char *path_of(const char *name)
{
	static char path[64];

	snprintf(path, sizeof(path), "%s/%s", way == HUGETLB ? HUGE_DIR : SMALL_DIR, name);
	return path;
}

/* Reads it through a buffer of 1 MiB, as io_uring does. */
static uint64_t read_file(int file, uint64_t bytes)
{
	uint64_t sum = 0, at;
	char *buffer;

	buffer = mmap(NULL, MIB, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (buffer == MAP_FAILED)
		err(1, "mmap");
	for (at = 0; at < bytes; at += MIB) {
		if (read(file, buffer, MIB) != MIB)
			err(1, "read");
		sum += read_pages(buffer, MIB, PAGE);
	}
	munmap(buffer, MIB);
	return sum;
}

/* Adds 1 to a word of each page, which later tells the number of writers. */
static void store_pages(char *at, uint64_t bytes)
{
	uint64_t first = *(volatile uint64_t *)at + 1, i;

	for (i = 0; i < bytes / PAGE; i++)
		*(volatile uint64_t *)(at + i * PAGE) = first + i;
}

/* With KEEP the mapping stays. */
static uint64_t use_mapped(int file, uint64_t bytes, bool store, bool keep)
{
	const struct memory m = { .way = way == THREADS ? MMAP : way, .bytes = bytes,
				  .file = file, .prot = store ? RW : PROT_READ };
	struct mshare_region region;
	uint64_t sum = 0;
	char *at;

	if (way == MSHARE) {
		if (mshare_region_open(&region, file, 0, 0))
			err(1, "mshare_region_open");
		at = region.addr;
	} else if (way == THREADS && keep) {
		if (!of_threads)
			of_threads = memory_enter(&m);
		at = of_threads;
	} else {
		at = memory_enter(&m);
	}
	if (store)
		store_pages(at, bytes);
	else
		sum = read_pages(at, bytes, PAGE);
	if (keep)
		return sum;
	if (way == MSHARE ? mshare_region_close(&region) : munmap(at, bytes))
		err(1, "leaving the memory");
	return sum;
}

static uint64_t use(const char *name, uint64_t bytes, bool store, bool keep)
{
	int file = open(path_of(name), store ? O_RDWR : O_RDONLY);
	struct uring uring;
	uint64_t sum;

	if (file < 0)
		err(1, "%s", path_of(name));
	if (way == READ) {
		sum = read_file(file, bytes);
	} else if (way == URING) {
		uring_start(&uring);
		sum = uring_read(&uring, file, bytes, PAGE);
		uring_stop(&uring);
	} else {
		sum = use_mapped(file, bytes, store, keep);
	}
	close(file);
	return sum;
}

static uint64_t job(char command, char *at, uint64_t bytes)
{
	if (command != 'w')
		return use("file", bytes, command == 's', true);
	if (way < READ)
		use("warm", HUGE, true, false);
	return use("warm", HUGE, false, false);
}

/* A word of each page is that page's number. */
static void make_file(const char *name, uint64_t bytes)
{
	int file = open(path_of(name), O_RDWR | O_CREAT | O_EXCL, 0600);
	static uint64_t words[MIB / sizeof(uint64_t)];
	uint64_t at, i;
	char *mapped;

	if (file < 0 || ftruncate(file, bytes))
		err(1, "%s", path_of(name));
	/* hugetlbfs has no write(2). */
	if (way == HUGETLB) {
		mapped = mmap(NULL, bytes, RW, MAP_SHARED, file, 0);
		if (mapped == MAP_FAILED)
			err(1, "%s", path_of(name));
		for (at = 0; at < bytes; at += PAGE)
			*(uint64_t *)(mapped + at) = at / PAGE;
		munmap(mapped, bytes);
	}
	for (at = 0; way != HUGETLB && at < bytes; at += MIB) {
		for (i = 0; i < MIB; i += PAGE)
			words[i / sizeof(uint64_t)] = (at + i) / PAGE;
		if (write(file, words, MIB) != MIB)
			err(1, "%s", path_of(name));
	}
	close(file);
}

/* Have STORED writers stored into all pages? */
static void check_file(uint64_t bytes, int stored)
{
	int file = open(path_of("file"), O_RDONLY);
	const struct memory m = { .way = MMAP, .bytes = bytes, .file = file, .prot = PROT_READ };
	const char *at;
	uint64_t i;

	if (file < 0)
		err(1, "%s", path_of("file"));
	at = memory_enter(&m);
	for (i = 0; i < bytes; i += PAGE)
		if (*(const uint64_t *)(at + i) != i / PAGE + stored)
			errx(1, "%s: page %ju has %ju", name_of(way), (uintmax_t)(i / PAGE),
			     (uintmax_t)*(const uint64_t *)(at + i));
	munmap((char *)at, bytes);
	close(file);
}

static void measure(bool store, uint64_t bytes, int most)
{
	const struct memory m = { .way = way == THREADS ? THREADS : MMAP, .bytes = bytes };
	const uint64_t pages = bytes / PAGE;
	uint64_t instructions = 0, faults = 0;
	const char *who = store ? "writers" : "readers";
	long long tables = 0, before;
	char number[16], size[32], what[32];
	char *program[] = { "/proc/self/exe", "member", number, size, NULL };
	struct answer a;
	struct crowd c;
	int n, i;

	if (way == HUGETLB && !huge_pages(HUGE, bytes / HUGE + 1))
		err(1, "there are no %ju free huge pages", (uintmax_t)(bytes / HUGE + 1));
	make_file("warm", HUGE);
	make_file("file", bytes);
	snprintf(number, sizeof(number), "%d", way);
	snprintf(size, sizeof(size), "%ju", (uintmax_t)bytes);
	crowd_make(&c, &m, job);
	if (way != THREADS)
		c.program = program;
	for (n = 1; n <= most; n *= 4) {
		i = c.count;
		crowd_grow(&c, n);
		before = page_tables();
		for (; i < n; i++) {
			a = crowd_ask(&c, i, store ? 's' : 'r');
			instructions += a.cycles;
			faults += a.faults;
			if (!store && a.value != pages * (pages - 1) / 2)
				errx(1, "%s: reader %d has read something else", name_of(way), i);
		}
		tables += page_tables() - before;
		snprintf(what, sizeof(what), "%s: page tables", who);
		report(8, what, name_of(way), bytes, n, tables, "count");
		snprintf(what, sizeof(what), "%s: faults", who);
		report(8, what, name_of(way), bytes, n, faults, "count");
		snprintf(what, sizeof(what), "%s: %s", who, store ? "writing" : "reading");
		report(8, what, name_of(way), bytes, n, instructions, "instructions");
	}
	check_file(bytes, store ? c.count : 0);
	crowd_end(&c);
	if (of_threads)
		munmap(of_threads, bytes);
	of_threads = NULL;
	unlink(path_of("file"));
	unlink(path_of("warm"));
	settled();
	if (way == HUGETLB)
		no_huge_pages();
}

int main(int argc, char **argv)
{
	static const int ways[] = { HUGETLB, MSHARE, MMAP, THREADS, READ, URING };
	const uint64_t *size;
	unsigned int i;

	if (argc == 4 && !strcmp(argv[1], "member")) {
		const struct memory m = { .bytes = strtoull(argv[3], NULL, 0) };

		way = atoi(argv[2]);
		crowd_member(&m, job);
		return 0;
	}
	if (argc < 3) {
		fprintf(stderr, "usage: openers PROCESSES SIZE...\n");
		return 2;
	}
	if (mkdir(SMALL_DIR, 0755) || mount("none", SMALL_DIR, "tmpfs", 0, "size=90%") ||
	    mkdir(HUGE_DIR, 0755) || mount("none", HUGE_DIR, "hugetlbfs", 0, "pagesize=2M"))
		err(1, "a file system");
	for (i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		way = ways[i];
		for (size = ladder(argv + 2); *size; size++) {
			measure(false, *size, atoi(argv[1]));
			if (way < READ)
				measure(true, *size, atoi(argv[1]));
		}
	}
	return 0;
}
