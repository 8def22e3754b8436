// SPDX-License-Identifier: GPL-2.0
/*
 * T8, T11: the objects of two regions are replaced all the time, while guests
 * read them, attach, detach, fork, execute, exit and are killed, and while a CPU
 * goes and comes.  The first word of an object is its number: once a number is
 * announced, none that is smaller may be read.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <pthread.h>
#include <sys/wait.h>
#include <time.h>

#define NEED_CPUS(n) do {							\
	if (cpus() < (n))							\
		SKIP(return, "needs %d CPUs", (n));				\
} while (0)

#define SECONDS		5
#define QUICK_EXIT	"MST_QUICK_EXIT"

/* Page numbers of their own: the emulator's TLB has one place for each. */
static const uint64_t page_of[2] = { 3 * PAGE, 70 * PAGE };

struct storm {
	volatile uint64_t announced;
	volatile uint64_t loads, stale;
	volatile uint64_t attached, forked, executed, cycles;
	volatile int cpu_busy;
	int fd[2];
};

/* This program, executed again by a child of the storm. */
static void __attribute__((constructor)) exit_at_once(void)
{
	if (getenv(QUICK_EXIT))
		_exit(0);
}

static void look(struct storm *s, volatile char *at, int r)
{
	uint64_t least = s->announced;

	if (*(volatile uint64_t *)(at + page_of[r]) < least)
		__atomic_add_fetch(&s->stale, 1, __ATOMIC_RELAXED);
}

struct reader {
	struct storm *s;
	volatile char *at[2];
	int cpu;
};

static void *reads(void *arg)
{
	struct reader *r = arg;

	pin(r->cpu % cpus());
	for (;;) {
		look(r->s, r->at[0], 0);
		look(r->s, r->at[1], 1);
		r->s->loads += 2;
	}
	return NULL;
}

/* A guest with two threads that read, and one that does all the rest. */
static void guest(struct storm *s)
{
	struct reader reader[2];
	pthread_t thread;
	int i, n;

	alarm(60);
	for (i = 0; i < 2; i++) {
		reader[i].s = s;
		reader[i].cpu = i + 1;
		reader[i].at[0] = mshare_attach(s->fd[0], NULL, 0);
		reader[i].at[1] = mshare_attach(s->fd[1], NULL, 0);
		CHILD_CHECK(reader[i].at[0] != MAP_FAILED && reader[i].at[1] != MAP_FAILED);
		CHILD_CHECK(!pthread_create(&thread, NULL, reads, &reader[i]));
	}
	for (n = 0;; n++) {
		volatile char *more;
		pid_t pid;

		more = mshare_attach(s->fd[n & 1], NULL, 0);
		CHILD_CHECK(more != MAP_FAILED);
		for (i = 0; i < 10; i++)
			look(s, more, n & 1);
		s->attached++;
		if (n % 4 == 0) {
			pid = fork();
			CHILD_CHECK(pid >= 0);
			if (!pid) {
				look(s, more, n & 1);
				look(s, reader[0].at[0], 0);
				/* Attachments go by exit, by execve, by hand and by SIGKILL. */
				if (n % 16 == 0) {
					setenv(QUICK_EXIT, "1", 1);
					execl("/proc/self/exe", "storm", NULL);
				}
				if (n % 16 == 4)
					raise(SIGKILL);
				if (n % 16 == 8)
					mshare_detach((void *)more, 0);
				_exit(0);
			}
			s->forked++;
			waitpid(pid, &i, 0);
			if (n % 16 == 0) {
				CHILD_CHECK(WIFEXITED(i) && !WEXITSTATUS(i));
				s->executed++;
			}
		}
		CHILD_CHECK(!mshare_detach((void *)more, 0));
	}
}

static bool replace(struct storm *s)
{
	uint64_t next = s->announced + 1;
	int file = memfd(PAGE, 0), r;
	bool ok = pwrite(file, &next, sizeof(next), 0) == sizeof(next);

	for (r = 0; ok && r < 2; r++)
		ok = map_obj(s->fd[r], page_of[r], PAGE, RW, MAP_SHARED | MAP_FIXED, file, 0) ==
			page_of[r];
	close(file);
	s->announced = next;
	return ok;
}

static void *hotplug(void *arg)
{
	static const char path[] = "/sys/devices/system/cpu/cpu2/online";
	struct storm *s = arg;

	while (s->cpu_busy) {
		if (!write_text(path, "0"))
			break;
		sleep_ms(20);
		if (!write_text(path, "1"))
			break;
		sleep_ms(20);
		s->cycles++;
	}
	return NULL;
}

/* Has everything happened, for what did not to mean something? */
static bool enough(const struct storm *s, bool plug)
{
	return s->announced > 10 && s->loads && s->attached && s->forked && (s->cycles || !plug);
}

static void storm(struct __test_metadata *_metadata, bool plug)
{
	struct storm *s = shared_page();
	int kills = 0, i;
	pthread_t thread;
	time_t end, last;

	for (i = 0; i < 2; i++) {
		s->fd[i] = region(GIB);
		ASSERT_LE(0, s->fd[i]);
	}
	ASSERT_TRUE(replace(s));
	s->cpu_busy = 1;
	if (plug)
		ASSERT_OK(pthread_create(&thread, NULL, hotplug, s));
	end = time(NULL) + SECONDS;
	last = end + 20 * SECONDS;
	while (time(NULL) < end || (!enough(s, plug) && time(NULL) < last)) {
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (!pid)
			guest(s);
		pin(0);
		for (i = 0; i < 50; i++)
			ASSERT_TRUE(replace(s));
		/* At any place. */
		kill(pid, SIGKILL);
		EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(pid));
		kills++;
	}
	s->cpu_busy = 0;
	TH_LOG("%ju objects, %ju loads, %ju attachments, %ju forks, %ju execve, %d kills",
	       (uintmax_t)s->announced, (uintmax_t)s->loads, (uintmax_t)s->attached,
	       (uintmax_t)s->forked, (uintmax_t)s->executed, kills);
	if (plug) {
		ASSERT_OK(pthread_join(thread, NULL));
		TH_LOG("CPU 2 went and came %ju times", (uintmax_t)s->cycles);
		EXPECT_EQ(1, read_number("/sys/devices/system/cpu/cpu2/online"));
	}
	EXPECT_EQ(0, s->stale);
	EXPECT_TRUE(enough(s, plug));
	/* The children of a guest that was killed end by themselves. */
	EXPECT_TRUE(BECOMES(!stat_of(s->fd[0]).attachments && !stat_of(s->fd[1]).attachments));
	close(s->fd[0]);
	close(s->fd[1]);
	EXPECT_EQ(0, settled());
}

TEST(guests_come_and_go_while_objects_are_replaced)
{
	NEED_CPUS(2);
	storm(_metadata, false);
}

TEST(a_CPU_of_guests_goes_and_comes_while_objects_are_replaced)
{
	NEED_CPUS(3);
	if (access("/sys/devices/system/cpu/cpu2/online", W_OK))
		SKIP(return, "CPU 2 cannot be taken offline");
	storm(_metadata, true);
}

TEST_HARNESS_MAIN
