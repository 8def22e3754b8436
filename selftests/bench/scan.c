// SPDX-License-Identifier: GPL-2.0
/*
 * Row 6: N processes read all words of a file on ext4, at the same time.
 *
 *	scan PROCESSES SIZE IMAGE		instructions per MiB, memory
 *	scan --time PROCESSES SIZE IMAGE	the time, as a ratio to that of mmap(2)
 *
 * The numbers of processes are 1, 4, 16 .. up to PROCESSES; with --time, only
 * PROCESSES.  IMAGE is for disk_file().  "fits": the file is in memory already.
 * "too large": memory.max is half its size, so that most reads have to come from the
 * disk.  Instructions are counted while the scheduler has the readers running.
 */
#define _GNU_SOURCE
#include "bench.h"
#include "uring.h"

#include <time.h>

#define ROUNDS	3	/* the figure is their median */
#define TIMES	9	/* the same with --time */
#define URING	WAYS	/* one way more */
#define WORDS	(128 * KIB / sizeof(uint64_t))

static int file, direct_file;
static bool fits;
static char group[64];
static clockid_t own_clock;

/* 'r'ead; read with 'u'ring; 's'top that. */
static uint64_t job(char command, char *at, uint64_t bytes)
{
	uint64_t from = clock_ns(own_clock), sum;
	static char own[2 * PAGE];
	static struct uring uring;

	if (command == 'u')
		uring_start(&uring);
	if (command == 's')
		uring_stop(&uring);
	if (command != 'r' && command != 'u')
		return read_pages(own, sizeof(own), PAGE);
	if (command == 'r')
		sum = read_pages(at, bytes, sizeof(uint64_t));
	else
		sum = uring_read(&uring, fits ? file : direct_file, bytes, sizeof(uint64_t));
	/* Every other word of the file is 1. */
	if (sum != bytes / sizeof(uint64_t) / 2)
		errx(1, "a reader has read a sum of %ju", (uintmax_t)sum);
	return clock_ns(own_clock) - from;
}

static void drop(void)
{
	int i;

	/* A region that is being freed keeps it a little longer. */
	settled();
	for (i = 0; i < 2; i++)
		posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
}

static void bring_in(uint64_t bytes)
{
	static char block[WORDS * sizeof(uint64_t)];
	uint64_t done;

	for (done = 0; done < bytes; done += sizeof(block))
		if (pread(file, block, sizeof(block), done) != sizeof(block))
			err(1, "/mnt/file");
}

/* The file, page tables, and private memory of the processes. */
static long long used(void)
{
	return page_tables() + (meminfo("Cached:") + meminfo("AnonPages:")) * KIB;
}

struct result {
	uint64_t time, instructions;
	long long memory;
};

static struct result measure(int way, int n, uint64_t bytes)
{
	struct result r = {};
	struct memory m;
	struct crowd c;
	int i;

	drop();
	memory_make(&m, way == URING ? MMAP : (enum way)way, bytes, file);
	own_clock = way == THREADS ? CLOCK_THREAD_CPUTIME_ID : CLOCK_PROCESS_CPUTIME_ID;
	crowd_make(&c, &m, job);
	crowd_grow(&c, n);
	r.memory = -used();
	if (fits)
		bring_in(bytes);
	if (way != URING)
		crowd_all(&c, 'e');
	r.time = now_ns();
	crowd_all(&c, way == URING ? 'u' : 'r');
	r.time = now_ns() - r.time;
	r.memory += used();
	for (i = 0; i < n; i++)
		r.instructions += crowd_last(&c, i).value;
	if (way == URING)
		crowd_all(&c, 's');
	crowd_end(&c);
	memory_drop(&m);
	return r;
}

static const char *name_of(int way)
{
	return way == URING ? "io_uring" : way_names[way];
}

static void counts(const char *what, int n, uint64_t bytes)
{
	uint64_t instructions[ROUNDS];
	struct result r;
	char name[48];
	int way, i;

	for (way = MSHARE; way <= URING; way++) {
		/* Reclaim differs from run to run. */
		for (i = 0; i < ROUNDS; i++) {
			r = measure(way, n, bytes);
			instructions[i] = r.instructions;
		}
		snprintf(name, sizeof(name), "%s: a MiB", what);
		report(6, name, name_of(way), bytes, n,
		       (double)median(instructions, ROUNDS) * MIB / n / bytes,
		       "instructions");
		snprintf(name, sizeof(name), "%s: memory used", what);
		/* Else it is memory.max, except for io_uring, which has only buffers. */
		if (fits)
			report(6, name, name_of(way), bytes, n, r.memory, "count");
	}
}

static void times(const char *what, int n, uint64_t bytes)
{
	uint64_t ratio[URING + 1][TIMES], time[URING + 1];
	char name[48];
	int round, way;

	for (round = 0; round < TIMES; round++) {
		for (way = MSHARE; way <= URING; way++)
			time[way] = measure(way, n, bytes).time;
		for (way = MSHARE; way <= URING; way++)
			ratio[way][round] = time[MMAP] * 1000000 / time[way];
	}
	snprintf(name, sizeof(name), "%s: speed", what);
	for (way = MSHARE; way <= URING; way++)
		report(6, name, name_of(way), bytes, n, median(ratio[way], TIMES) / 1e6, "time");
}

int main(int argc, char **argv)
{
	static uint64_t words[WORDS];
	bool time = argc == 5 && !strcmp(argv[1], "--time");
	uint64_t bytes = 0;
	int most = 0, n;

	if (argc == 4 + time) {
		most = atoi(argv[1 + time]);
		bytes = strtoull(argv[2 + time], NULL, 0);
	}
	if (most < 1 || !bytes || bytes % sizeof(words)) {
		fprintf(stderr, "usage: scan [--time] PROCESSES SIZE (a multiple of %zu) IMAGE\n",
			sizeof(words));
		return 2;
	}
	for (n = 0; n < (int)WORDS; n++)
		words[n] = n % 2;
	if (!cgroup_make(group, sizeof(group)) ||
	    !write_text(cgroup_file(group, "cgroup.procs"), "0"))
		err(1, "a memory cgroup");
	file = disk_file(argv[3 + time], bytes, words, WORDS);
	direct_file = open("/mnt/file", O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (direct_file < 0)
		err(1, "/mnt/file");
	for (fits = true;; fits = false) {
		if (!fits) {
			drop();
			if (!write_number(cgroup_file(group, "memory.max"), bytes / 2))
				err(1, "memory.max");
		}
		for (n = time ? most : 1; n <= most; n *= 4)
			(time ? times : counts)(fits ? "fits" : "too large", n, bytes);
		if (!fits)
			return 0;
	}
}
