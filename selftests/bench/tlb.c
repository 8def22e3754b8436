// SPDX-License-Identifier: GPL-2.0
/*
 * What a change of shared page tables, a fault and a switch of processes cost.
 *
 *	tlb ipis		IPIs for TLB flushes, per unmap of a page (4 CPUs)
 *	tlb instructions	cycles of the TSC per unmap of a page
 *	tlb faults		the same per page fault
 *	tlb switches		the same per round trip of a byte between two processes,
 *				which have no region, one, or N of them
 *
 * Under QEMU's -icount shift=0 the TSC counts instructions.  Each line of output
 * is WHAT, WAY, N and the figure, between tabs; instructions are medians.
 */
#define _GNU_SOURCE
#include "figure.h"
#include "tlb_count.h"

#include <err.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>

#define PAGES	16	/* unmapped, one call each, for each N */

static const int ladder[] = { 1, 4, 16, 64, 256, 1024 };

#define STEPS	(int)(sizeof(ladder) / sizeof(*ladder))
#define LENGTH	(STEPS * PAGES * PAGE)

enum way { MSHARE, THREADS, MMAP, WAYS };
static const char *const names[WAYS] = { "mshare", "threads", "mmap" };

/* The memory, and who else has it. */
static int region_fd, file_fd;
static volatile char *memory;
static volatile int *ready;
static uint64_t gone;		/* bytes at its start that are unmapped */

static void touch(void)
{
	uint64_t i;

	/* One more: the page table stays when the others are gone. */
	for (i = gone; i <= LENGTH; i += PAGE)
		memory[i] = 1;
}

static void *sleeper(void *arg)
{
	(void)arg;
	touch();
	__atomic_add_fetch(ready, 1, __ATOMIC_SEQ_CST);
	for (;;)
		pause();
	return NULL;
}

static void *spinner(void *arg)
{
	(void)arg;
	pin(1);
	touch();
	__atomic_add_fetch(ready, 1, __ATOMIC_SEQ_CST);
	for (;;)
		;
	return NULL;
}

static bool await_change(int before)
{
	time_t end = time(NULL) + 60;

	while (*ready == before && time(NULL) < end)
		sched_yield();
	return *ready != before;
}

/* As a thread, or as a process of its own. */
static void start(enum way way, void *(*job)(void *))
{
	int before = *ready;
	pthread_attr_t attr;
	pthread_t thread;
	pid_t pid;

	if (way == THREADS) {
		pthread_attr_init(&attr);
		pthread_attr_setstacksize(&attr, 64 * KIB);
		if (pthread_create(&thread, &attr, job, NULL))
			err(1, "pthread_create");
	} else {
		pid = fork();
		if (pid < 0)
			err(1, "fork");
		if (!pid)
			job(NULL);
	}
	if (!await_change(before))
		errx(1, "what was started did not come up");
}

static void set_up(enum way way)
{
	region_fd = -1;
	file_fd = -1;
	if (way == MSHARE) {
		region_fd = region(GIB);
		if (region_fd < 0 || map_anon(region_fd, 0, LENGTH + PAGE, RW))
			err(1, "a region");
		memory = mshare_attach(region_fd, NULL, 0);
	} else {
		file_fd = memfd(LENGTH + PAGE, 0);
		memory = mmap(NULL, LENGTH + PAGE, RW, MAP_SHARED, file_fd, 0);
	}
	if (memory == MAP_FAILED)
		err(1, "the memory");
	touch();
}

/* Takes the page away from all that have it. */
static void unmap(enum way way, uint64_t offset)
{
	int failed;

	switch (way) {
	case MSHARE:
		failed = mshare_unmap(region_fd, offset, PAGE, 0);
		break;
	case THREADS:
		failed = munmap((void *)(memory + offset), PAGE);
		break;
	default:
		failed = fallocate(file_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, PAGE);
	}
	if (failed)
		err(1, "unmap");
}

/* The kernel frees what others wait for; let it, so that it is not measured. */
static void settle(void)
{
	sleep_ms(100);
}

static void unmaps(enum way way, bool ipis)
{
	int step, others = 0, cpu, i;

	pin(0);
	set_up(way);
	if (ipis)
		start(way, spinner);
	for (step = 0; step < STEPS; step++) {
		uint64_t cost[PAGES], from, total = 0;

		for (; others < ladder[step]; others++)
			start(way, sleeper);
		settle();
		if (ipis && !tlb_count_begin())
			exit(1);
		for (i = 0; i < PAGES; i++, gone += PAGE) {
			from = __rdtsc();
			unmap(way, gone);
			cost[i] = __rdtsc() - from;
		}
		if (ipis) {
			for (cpu = 0; cpu < cpus(); cpu++)
				total += tlb_ipis(cpu);
			tlb_count_end();
			printf("ipis\t%s\t%d\t%.2f\n", names[way], ladder[step],
			       (double)total / PAGES);
		} else {
			printf("unmap\t%s\t%d\t%ju\n", names[way], ladder[step],
			       (uintmax_t)median(cost, PAGES));
		}
		fflush(stdout);
	}
}

#define FAULTS	480	/* in one page table */

static uint64_t fault(volatile char *at)
{
	uint64_t cost[FAULTS], from;
	int i;

	for (i = 0; i < FAULTS; i++) {
		from = __rdtsc();
		at[i * PAGE] = 1;
		cost[i] = __rdtsc() - from;
	}
	return median(cost, FAULTS);
}

/* MEMORY is new, or the file's pages are there. */
static void faults_of(enum way way, const char *what, bool present)
{
	uint64_t length = FAULTS * PAGE;
	int file = memfd(length, 0), fd = -1;
	volatile char *at;

	if (present) {
		char *p = mmap(NULL, length, RW, MAP_SHARED | MAP_POPULATE, file, 0);

		if (p == MAP_FAILED || munmap(p, length))
			err(1, "mmap");
	}
	if (way == MSHARE) {
		fd = region(GIB);
		if (fd < 0 || map_file(fd, 0, length, RW, file))
			err(1, "a region");
		at = mshare_attach(fd, NULL, 0);
	} else {
		at = mmap(NULL, length, RW, MAP_SHARED, file, 0);
	}
	if (at == MAP_FAILED)
		err(1, "the memory");
	printf("%s\t%s\t1\t%ju\n", what, names[way], (uintmax_t)fault(at));
	fflush(stdout);
	if (way == MSHARE)
		mshare_detach((void *)at, 0);
	else
		munmap((void *)at, length);
	close(fd);
	close(file);
}

#define TRIPS	100
#define BATCHES	101
#define FEW_BATCHES	11

/* Up to what a process may have. */
static const int region_counts[] = { 1, 50, 100, 200 };

/* How many a process attaches. */
static int regions;

static void attach_regions(unsigned int flags)
{
	int i, fd;

	for (i = 0; i < regions; i++) {
		fd = region(GIB);
		if (fd < 0 || mshare_attach(fd, NULL, flags) == MAP_FAILED)
			err(1, "a region");
		close(fd);
	}
}

static void attach_own(void)
{
	attach_regions(0);
}

/* In a process of its own, whose attachments go with it. */
static void switches(const char *name, int n, int batches, bool own)
{
	uint64_t cost[BATCHES];
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (pid) {
		if (wait_for(pid))
			exit(1);
		return;
	}
	pin(0);
	regions = n;
	attach_regions(own ? MSHARE_ATTACH_DONTFORK : 0);
	if (!ping_pong(cost, batches, TRIPS, own ? attach_own : NULL))
		err(1, "a byte through a pipe");
	printf("switches\t%s\t%d\t%ju\n", name, n, (uintmax_t)median(cost, batches));
	exit(0);
}

/* In a session of its own, that ends with all its processes. */
static void apart(enum way way, bool ipis)
{
	pid_t pid = fork();

	if (pid < 0)
		err(1, "fork");
	if (!pid) {
		setpgid(0, 0);
		*ready = 0;
		unmaps(way, ipis);
		fflush(stdout);
		signal(SIGTERM, SIG_DFL);
		kill(0, SIGKILL);
	}
	if (wait_for(pid) != KILLED_BY(SIGKILL))
		exit(1);
	settle();
}

int main(int argc, char **argv)
{
	const char *what = argc == 2 ? argv[1] : "";
	bool mshare = mshare_create(NULL, MSHARE_QUERY_ABI) >= 0;
	enum way way;
	int i;

	ready = shared_page();
	if (!strcmp(what, "ipis") || !strcmp(what, "instructions")) {
		for (way = MSHARE; way < WAYS; way++)
			apart(way, !strcmp(what, "ipis"));
	} else if (!strcmp(what, "faults")) {
		pin(0);
		for (way = MSHARE; way < WAYS; way++) {
			if (way == THREADS)
				continue;
			/* The first is warm-up. */
			faults_of(way, "warm-up", true);
			faults_of(way, "minor-fault", true);
			faults_of(way, "first-touch", false);
		}
	} else if (!strcmp(what, "switches")) {
		switches("others", 0, BATCHES, false);
		if (mshare)
			switches("guests", 1, BATCHES, false);
		for (i = 0; mshare && i < (int)(sizeof(region_counts) / sizeof(*region_counts)); i++) {
			switches("same", region_counts[i], FEW_BATCHES, false);
			switches("own", region_counts[i], FEW_BATCHES, true);
		}
	} else {
		fprintf(stderr, "usage: tlb ipis|instructions|faults|switches\n");
		return 2;
	}
	return 0;
}
