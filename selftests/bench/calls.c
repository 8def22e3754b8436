// SPDX-License-Identifier: GPL-2.0
/*
 * Row 7: instructions of operations of processes that do not use mshare.
 *
 *	calls KERNEL	KERNEL is the name of the kernel in the output
 */
#define _GNU_SOURCE
#include "bench.h"

#include <sched.h>
#include <sys/wait.h>

#define TIMES	101
#define BYTES	(4 * MIB)
#define PAGES	(BYTES / PAGE)
#define TRIPS	500	/* some milliseconds, to include the scheduler's work at each tick */

static const char *kernel;
static uint64_t cost[TIMES];
static char *self;

static void figure(const char *what)
{
	report(7, what, kernel, 0, 1, median(cost, TIMES), "instructions");
}

/* FLAGS: MAP_PRIVATE | MAP_ANONYMOUS, or MAP_SHARED with a file in memory. */
static void memory(const char *name, int flags, int file)
{
	static uint64_t mmaps[TIMES], faults[TIMES], protects[TIMES], munmaps[TIMES];
	char what[48];
	uint64_t from, j;
	char *at;
	int i;

	for (i = 0; i < TIMES; i++) {
		from = __rdtsc();
		at = mmap(NULL, BYTES, RW, flags, file, 0);
		mmaps[i] = __rdtsc() - from;
		if (at == MAP_FAILED)
			err(1, "mmap");
		/* Writing takes one fault a page. */
		from = __rdtsc();
		for (j = 0; j < PAGES; j++)
			((volatile char *)at)[j * PAGE] = 1;
		faults[i] = (__rdtsc() - from) / PAGES;
		from = __rdtsc();
		if (mprotect(at, BYTES, PROT_READ))
			err(1, "mprotect");
		protects[i] = __rdtsc() - from;
		from = __rdtsc();
		if (munmap(at, BYTES))
			err(1, "munmap");
		munmaps[i] = __rdtsc() - from;
	}
#define FIGURE(of) do {								\
	memcpy(cost, of##s, sizeof(cost));					\
	snprintf(what, sizeof(what), "%s, %s", #of, name);			\
	figure(what);								\
} while (0)
	FIGURE(mmap);
	FIGURE(fault);
	FIGURE(protect);
	FIGURE(munmap);
}

/* Until the child, or the program that it executes, has exited. */
static void children(bool exec)
{
	char *argv[] = { self, NULL };
	pid_t pid;
	int i;

	for (i = 0; i < TIMES; i++) {
		cost[i] = __rdtsc();
		pid = fork();
		if (!pid) {
			if (exec)
				execv("/proc/self/exe", argv);
			_exit(exec);
		}
		if (pid < 0 || wait_for(pid))
			err(1, "a child");
		cost[i] = __rdtsc() - cost[i];
	}
	figure(exec ? "fork, exec, exit, wait" : "fork, exit, wait");
}

static void switches(void)
{
	if (!ping_pong(cost, TIMES, TRIPS, NULL))
		err(1, "a byte through a pipe");
	figure("2 switches and 4 calls");
}

int main(int argc, char **argv)
{
	int file;

	self = argv[0];
	if (argc == 1)
		return 0;	/* the program that the child became */
	kernel = argv[1];
	file = memfd_create("file", 0);
	if (file < 0 || ftruncate(file, BYTES))
		err(1, "memfd_create");
	memory("private", MAP_PRIVATE | MAP_ANONYMOUS, -1);
	memory("shared", MAP_SHARED, file);
	children(false);
	children(true);
	switches();
	return 0;
}
