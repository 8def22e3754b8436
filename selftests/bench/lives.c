// SPDX-License-Identifier: GPL-2.0
/*
 * Row 3: instructions of the steps in the life of a process with memory: map and
 * unmap it, fork, exec, exit.
 *
 *	lives SIZE
 *
 * "private" is memory that is not shared: fork copies its page tables.  For
 * threads, creating one stands for fork, and its end stands for exit.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <pthread.h>
#include <sched.h>

#define TIMES	5
#define MAPS	11

/* The time of each step of the child; the last one is written after exec. */
struct stamps {
	uint64_t read, done, end, ran;
};

static struct stamps *stamps;
static int stamps_fd;

static void maps(const struct memory *m, bool read)
{
	uint64_t cost[MAPS + 1];
	char *at;
	int i;

	/* The first is warm-up. */
	for (i = 0; i <= MAPS; i++) {
		cost[i] = __rdtsc();
		at = memory_enter(m);
		if (read)
			read_pages(at, m->bytes, PAGE);
		memory_leave(m, at);
		cost[i] = __rdtsc() - cost[i];
	}
	report(3, read ? "map, read all, unmap" : "map and unmap", way_names[m->way], m->bytes, 1,
	       median(cost + 1, MAPS), "instructions");
}

static void child(int go, const char *at, uint64_t bytes, bool exec)
{
	char fd[16], byte, *argv[] = { "lives", "ran", fd, NULL };

	/* Not before the parent has looked at the clock. */
	if (read(go, &byte, 1) != 1)
		_exit(1);
	stamps->read = __rdtsc();
	read_pages(at, bytes, PAGE);
	stamps->done = __rdtsc();
	if (exec) {
		snprintf(fd, sizeof(fd), "%d", stamps_fd);
		stamps->end = __rdtsc();
		execv("/proc/self/exe", argv);
	}
	stamps->end = __rdtsc();
	_exit(exec);
}

/* Children of this process, which has the memory in its page tables. */
static void lives(const char *way, const char *at, uint64_t bytes, bool exec)
{
	uint64_t forked[TIMES + 1], read[TIMES + 1], ended[TIMES + 1];
	int i, go[2];
	pid_t pid;

	for (i = 0; i <= TIMES; i++) {
		if (pipe(go))
			err(1, "pipe");
		stamps->ran = 0;
		/* Pages that the last one has left, such as its stack, are there for the next. */
		sleep_ms(50);
		forked[i] = __rdtsc();
		pid = fork();
		if (!pid)
			child(go[0], at, bytes, exec);
		forked[i] = __rdtsc() - forked[i];
		if (pid < 0 || write(go[1], "", 1) != 1 || wait_for(pid))
			errx(1, "%s: a child that reads and ends", way);
		ended[i] = (exec ? stamps->ran : __rdtsc()) - stamps->end;
		read[i] = stamps->done - stamps->read;
		if (exec && !stamps->ran)
			errx(1, "%s: the new program did not run", way);
		close(go[0]);
		close(go[1]);
	}
	report(3, exec ? "exec" : "exit", way, bytes, 1, median(ended + 1, TIMES),
	       "instructions");
	if (exec)
		return;
	report(3, "fork", way, bytes, 1, median(forked + 1, TIMES), "instructions");
	report(3, "fork: the child reads all", way, bytes, 1, median(read + 1, TIMES),
	       "instructions");
}

struct reader {
	const char *at;
	uint64_t bytes;
	int go;
};

static void *reader(void *arg)
{
	struct reader *r = arg;
	char byte;

	if (read(r->go, &byte, 1) != 1)
		err(1, "read");
	stamps->read = __rdtsc();
	read_pages(r->at, r->bytes, PAGE);
	stamps->done = __rdtsc();
	stamps->end = __rdtsc();
	return NULL;
}

static void thread_lives(const char *at, uint64_t bytes)
{
	uint64_t forked[TIMES + 1], read[TIMES + 1], ended[TIMES + 1];
	struct reader r = { at, bytes, -1 };
	pthread_t thread;
	int i, go[2];

	for (i = 0; i <= TIMES; i++) {
		if (pipe(go))
			err(1, "pipe");
		r.go = go[0];
		sleep_ms(50);
		forked[i] = __rdtsc();
		errno = pthread_create(&thread, NULL, reader, &r);
		forked[i] = __rdtsc() - forked[i];
		if (errno || write(go[1], "", 1) != 1 || pthread_join(thread, NULL))
			err(1, "a thread");
		ended[i] = __rdtsc() - stamps->end;
		read[i] = stamps->done - stamps->read;
		close(go[0]);
		close(go[1]);
	}
	report(3, "exit", "threads", bytes, 1, median(ended + 1, TIMES), "instructions");
	report(3, "fork", "threads", bytes, 1, median(forked + 1, TIMES), "instructions");
	report(3, "fork: the child reads all", "threads", bytes, 1, median(read + 1, TIMES),
	       "instructions");
}

static void private_lives(uint64_t bytes)
{
	char *at = mmap(NULL, bytes, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t i;

	if (at == MAP_FAILED)
		err(1, "mmap");
	for (i = 0; i < bytes; i += PAGE)
		((volatile char *)at)[i] = 1;
	lives("private", at, bytes, false);
	lives("private", at, bytes, true);
	munmap(at, bytes);
}

int main(int argc, char **argv)
{
	const struct sched_param first = { .sched_priority = 1 };
	uint64_t now = __rdtsc(), bytes;
	struct memory m;
	enum way way;
	char *at;

	if (argc == 3 && !strcmp(argv[1], "ran"))
		return pwrite(atoi(argv[2]), &now, sizeof(now),
			      offsetof(struct stamps, ran)) != sizeof(now);
	bytes = argc == 2 ? strtoull(argv[1], NULL, 0) : 0;
	if (!bytes) {
		fprintf(stderr, "usage: lives SIZE\n");
		return 2;
	}
	/* A child that ran before fork returned would count as part of its cost. */
	if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &first))
		err(1, "sched_setscheduler");
	stamps_fd = memfd_create("stamps", 0);
	if (stamps_fd < 0 || ftruncate(stamps_fd, PAGE))
		err(1, "memfd_create");
	stamps = mmap(NULL, PAGE, RW, MAP_SHARED, stamps_fd, 0);
	if (stamps == MAP_FAILED)
		err(1, "mmap");
	for (way = 0; way < WAYS; way++) {
		memory_make(&m, way, bytes, -1);
		at = memory_enter(&m);
		read_pages(at, bytes, PAGE);
		if (way == THREADS) {
			thread_lives(at, bytes);
		} else {
			lives(way_names[way], at, bytes, false);
			lives(way_names[way], at, bytes, true);
			memory_leave(&m, at);
			maps(&m, false);
			maps(&m, true);
		}
		memory_drop(&m);
	}
	private_lives(bytes);
	return 0;
}
