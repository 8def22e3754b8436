// SPDX-License-Identifier: GPL-2.0
/* Faults of many at a time, by both locks, with waits for a device. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <pthread.h>
#include <setjmp.h>
#include <sys/resource.h>
#include <sys/swap.h>
#include <sys/uio.h>

#define THREADS	8

struct toucher {
	char *addr;
	uint64_t length;
	volatile int *go;
	uint64_t sum, seed;
	int first;
	bool write;
};

static void *touch(void *arg)
{
	struct toucher *t = arg;
	uint64_t pages = t->length / PAGE, i;

	while (!*t->go)
		;
	for (i = 0; i < pages; i++) {
		volatile uint64_t *word =
			(uint64_t *)(t->addr + (i + t->first) % pages * PAGE) + t->first;

		if (t->write)
			*word = i + t->seed;
		t->sum += *word;
	}
	return NULL;
}

/* All threads over the same pages at once. */
static void storm(struct __test_metadata *_metadata, char *addr, uint64_t length, bool write,
		  uint64_t *sum)
{
	struct toucher t[THREADS];
	pthread_t thread[THREADS];
	volatile int go = 0;
	int i;

	for (i = 0; i < THREADS; i++) {
		t[i] = (struct toucher){ .addr = addr, .length = length, .go = &go, .first = i,
					 .seed = 100 * i, .write = write };
		ASSERT_OK(pthread_create(&thread[i], NULL, touch, &t[i]));
	}
	go = 1;
	*sum = 0;
	for (i = 0; i < THREADS; i++) {
		ASSERT_OK(pthread_join(thread[i], NULL));
		*sum += t[i].sum;
	}
}

static uint64_t storm_sum(uint64_t length)
{
	uint64_t pages = length / PAGE;

	return THREADS * (pages * (pages - 1) / 2) + pages * 100 * (THREADS * (THREADS - 1) / 2);
}

TEST(threads_touch_anonymous_memory_first)
{
	int fd = region(GIB);
	uint64_t got;
	char *addr;

	addr = attached(fd, 0, 16 * MIB);
	ASSERT_NE(NULL, addr);
	storm(_metadata, addr, 16 * MIB, true, &got);
	EXPECT_EQ(storm_sum(16 * MIB), got);
	EXPECT_EQ(16 * MIB, stat_of(fd).resident);
	storm(_metadata, addr, 16 * MIB, false, &got);
	EXPECT_EQ(storm_sum(16 * MIB), got);
}

TEST(threads_touch_huge_pages_first)
{
	int fd = region(GIB);
	uint64_t got;
	char *addr;

	ASSERT_LE(0, fd);
	if (!huge_pages(HUGE, 4))
		SKIP(return, "no huge pages of 2 MiB");
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_EQ(0, map_obj(fd, 0, 4 * HUGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1,
			     0));
	storm(_metadata, addr, 4 * HUGE, true, &got);
	EXPECT_EQ(storm_sum(4 * HUGE), got);
}

TEST(processes_touch_it_first)
{
	int fd = region(GIB), i;
	volatile int *go = shared_page();
	pid_t pid[THREADS];

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, map_anon(fd, 0, 8 * MIB, RW));
	for (i = 0; i < THREADS; i++) {
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (!pid[i]) {
			struct toucher t = { .length = 8 * MIB, .go = go, .first = i, .seed = i,
					     .write = true };
			uint64_t n = 8 * MIB / PAGE;

			t.addr = mshare_attach(fd, (void *)((i + 2) * SLOT), 0);
			CHILD_CHECK(t.addr != MAP_FAILED);
			touch(&t);
			CHILD_CHECK(t.sum == n * (n - 1) / 2 + n * i);
			_exit(0);
		}
	}
	*go = 1;
	for (i = 0; i < THREADS; i++)
		EXPECT_EQ(0, wait_for(pid[i]));
	EXPECT_EQ(8 * MIB, stat_of(fd).resident);
}

TEST(a_file_that_must_be_read_from_the_disk)
{
	int fd = region(GIB), file = ext4_file(0), i, round;
	char *addr, *buf = malloc(4 * MIB);
	struct rusage before, after;
	uint64_t got, want = 0;

	if (file < 0)
		SKIP(return, NO_DISK);
	fill(buf, 4 * MIB, 3);
	ASSERT_EQ(4 * MIB, pwrite(file, buf, 4 * MIB, 0));
	ASSERT_OK(fsync(file));
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_EQ(0, map_file(fd, 0, 4 * MIB, RW, file));
	/* One page at a time: read-ahead would take most of the waits away. */
	ASSERT_OK(mshare_advise(fd, 0, 4 * MIB, MADV_RANDOM, 0));
	for (i = 0; i < THREADS; i++) {
		uint64_t p;

		for (p = 0; p < 4 * MIB / PAGE; p++)
			want += ((uint64_t *)(buf + p * PAGE))[i];
	}
	for (round = 0; round < 3; round++) {
		ASSERT_OK(mshare_advise(fd, 0, 4 * MIB, MADV_DONTNEED, 0));
		ASSERT_OK(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED));
		getrusage(RUSAGE_SELF, &before);
		storm(_metadata, addr, 4 * MIB, false, &got);
		getrusage(RUSAGE_SELF, &after);
		EXPECT_EQ(want, got);
		/* The waits were real: the way by RETRY was taken. */
		EXPECT_LT(100, after.ru_majflt - before.ru_majflt);
	}
	/* Stores to clean pages: ->page_mkwrite and the way by COMPLETED. */
	ASSERT_OK(fsync(file));
	storm(_metadata, addr, 4 * MIB, true, &got);
	EXPECT_EQ(storm_sum(4 * MIB), got);
}

TEST(pages_that_must_come_from_swap)
{
	char dev[32], *addr;
	int loop = loop_device(64 * MIB, dev, sizeof(dev)), fd = region(GIB), round;
	uint64_t got;

	if (loop < 0 || !swap_on(dev))
		SKIP(return, "no swap (loop device, mkswap)");
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_EQ(0, map_anon(fd, 0, 4 * MIB, RW));
	storm(_metadata, addr, 4 * MIB, true, &got);
	EXPECT_EQ(storm_sum(4 * MIB), got);
	for (round = 0; round < 3; round++) {
		EXPECT_OK(mshare_advise(fd, 0, 4 * MIB, MADV_PAGEOUT, 0));
		EXPECT_LT(MIB, stat_of(fd).swapped);
		storm(_metadata, addr, 4 * MIB, false, &got);
		EXPECT_EQ(storm_sum(4 * MIB), got);
	}
	EXPECT_OK(swapoff(dev));
}

/* Faults by the kernel come with the mmap_lock, those of threads by the VMA's. */
struct copier {
	char *addr;
	volatile int stop;
	uint64_t bad, done;
};

static void *copies(void *arg)
{
	struct copier *c = arg;
	static char buf[64 * KIB];
	unsigned int i = 0;

	while (!c->stop) {
		struct iovec local = { buf, sizeof(buf) };
		struct iovec remote = { c->addr + i++ % 16 * sizeof(buf), sizeof(buf) };

		if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) != sizeof(buf))
			c->bad++;
		c->done++;
	}
	return NULL;
}

TEST(both_locks_at_once_while_translations_are_dropped)
{
	int fd = region(GIB), i;
	struct copier c = {};
	pthread_t thread;

	ASSERT_LE(0, fd);
	c.addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, c.addr);
	ASSERT_EQ(0, map_anon(fd, 0, MIB, RW));
	fill(c.addr, MIB, 1);
	ASSERT_OK(pthread_create(&thread, NULL, copies, &c));
	for (i = 0; i < 200; i++) {
		ASSERT_OK(mshare_advise(fd, 0, MIB, MADV_DONTNEED, 0));
		sum(c.addr, MIB);
	}
	c.stop = 1;
	ASSERT_OK(pthread_join(thread, NULL));
	EXPECT_EQ(0, c.bad);
	EXPECT_LT(0, c.done);
	EXPECT_EQ(0, wrong(c.addr, MIB, 1));
}

/* The guest's own mmap_lock is written to all the time. */
static void *churns(void *arg)
{
	volatile int *stop = arg;

	while (!*stop) {
		char *p = mmap(NULL, 64 * KIB, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		p[0] = 1;
		munmap(p, 64 * KIB);
	}
	return NULL;
}

TEST(while_the_process_changes_its_own_mappings)
{
	int fd = region(GIB), i;
	volatile int stop = 0;
	pthread_t thread;
	uint64_t got;
	char *addr;

	addr = attached(fd, 0, 4 * MIB);
	ASSERT_NE(NULL, addr);
	ASSERT_OK(pthread_create(&thread, NULL, churns, (void *)&stop));
	for (i = 0; i < 5; i++) {
		storm(_metadata, addr, 4 * MIB, true, &got);
		EXPECT_EQ(storm_sum(4 * MIB), got);
		ASSERT_OK(mshare_advise(fd, 0, 4 * MIB, MADV_DONTNEED, 0));
	}
	stop = 1;
	ASSERT_OK(pthread_join(thread, NULL));
}

TEST(while_other_objects_of_the_region_are_mapped_and_unmapped)
{
	int fd = region(GIB), i;
	uint64_t got;
	char *addr;
	pid_t pid;

	addr = attached(fd, 0, 4 * MIB);
	ASSERT_NE(NULL, addr);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		for (i = 0;; i++) {
			uint64_t at = (8 + i % 50) * MIB;

			CHILD_CHECK(map_anon(fd, at, MIB, RW) == (int64_t)at);
			addr[at] = 1;
			CHILD_CHECK(!mshare_protect(fd, at, PAGE, PROT_READ, 0));
			CHILD_CHECK(!mshare_unmap(fd, at, MIB, 0));
		}
	}
	for (i = 0; i < 5; i++) {
		storm(_metadata, addr, 4 * MIB, true, &got);
		EXPECT_EQ(storm_sum(4 * MIB), got);
		ASSERT_OK(mshare_advise(fd, 0, 4 * MIB, MADV_DONTNEED, 0));
	}
	kill(pid, SIGKILL);
	EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(pid));
}

/* Readers of memory that comes and goes, each of which survives its signals. */
#define READERS	3

struct reader {
	const char *addr;
	uint64_t pages;
	volatile int *stop;
	uint64_t good, bad, signals;
};

static __thread sigjmp_buf no_memory;

static void escapes(int sig)
{
	(void)sig;
	siglongjmp(no_memory, 1);
}

/* Each page begins with its number, plus a multiple of 1000 that identifies the object. */
static void *reads(void *arg)
{
	struct reader *r = arg;
	volatile uint64_t i;
	uint64_t word;

	for (i = 0; !*r->stop; i++) {
		uint64_t page = i * 7 % r->pages;

		if (sigsetjmp(no_memory, 1)) {
			r->signals++;
			continue;
		}
		word = *(volatile const uint64_t *)(r->addr + page * PAGE);
		if (word % 1000 == page && word / 1000 >= 1 && word / 1000 <= 2)
			r->good++;
		else
			r->bad++;
	}
	return NULL;
}

static void mark(char *addr, uint64_t pages, uint64_t whose)
{
	uint64_t i;

	for (i = 0; i < pages; i++)
		*(uint64_t *)(addr + i * PAGE) = whose * 1000 + i;
}

static void start_readers(struct __test_metadata *_metadata, pthread_t *thread,
			  struct reader *r, const char *addr, uint64_t pages,
			  volatile int *stop)
{
	struct sigaction action = { .sa_handler = escapes };
	int i;

	ASSERT_OK(sigaction(SIGSEGV, &action, NULL));
	ASSERT_OK(sigaction(SIGBUS, &action, NULL));
	for (i = 0; i < READERS; i++) {
		r[i] = (struct reader){ .addr = addr, .pages = pages, .stop = stop };
		ASSERT_OK(pthread_create(&thread[i], NULL, reads, &r[i]));
	}
}

static void end_readers(struct __test_metadata *_metadata, pthread_t *thread,
			struct reader *r, volatile int *stop)
{
	uint64_t good = 0, signals = 0;
	int i;

	*stop = 1;
	for (i = 0; i < READERS; i++) {
		ASSERT_OK(pthread_join(thread[i], NULL));
		EXPECT_EQ(0, r[i].bad);
		good += r[i].good;
		signals += r[i].signals;
	}
	EXPECT_LT(0, good);
	EXPECT_LT(0, signals);
}

#define MARKED	64	/* pages */

TEST(while_regions_come_and_go_at_its_address)
{
	char *at = (char *)WINDOW_START + 40 * SLOT, *addr;
	long long before = sys_mshare("attachments");
	pthread_t thread[READERS];
	struct reader r[READERS];
	volatile int stop = 0;
	int fd[2], i;

	for (i = 0; i < 2; i++) {
		fd[i] = region(GIB);
		addr = attached(fd[i], 0, MARKED * PAGE);
		ASSERT_NE(NULL, addr);
		mark(addr, MARKED, i + 1);
		ASSERT_OK(mshare_detach(addr, 0));
	}
	start_readers(_metadata, thread, r, at, MARKED, &stop);
	for (i = 0; i < 400; i++) {
		/* What is there has no translations: each read is a fault. */
		ASSERT_OK(mshare_advise(fd[i & 1], 0, MARKED * PAGE, MADV_DONTNEED, 0));
		ASSERT_EQ(at, mshare_attach(fd[i & 1], at, i & 2 ? MSHARE_ATTACH_RDONLY : 0));
		if (i % 3)
			sched_yield();
		ASSERT_OK(mshare_detach(at, 0));
	}
	end_readers(_metadata, thread, r, &stop);
	EXPECT_EQ(before, sys_mshare("attachments"));
}

TEST(while_objects_come_and_go_below_it)
{
	int fd = region(GIB), file[2], i;
	pthread_t thread[READERS];
	struct reader r[READERS];
	volatile int stop = 0;
	char *addr, *p;

	ASSERT_LE(0, fd);
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	for (i = 0; i < 2; i++) {
		file[i] = memfd(MARKED * PAGE, 0);
		p = mmap(NULL, MARKED * PAGE, RW, MAP_SHARED, file[i], 0);
		ASSERT_NE(MAP_FAILED, p);
		mark(p, MARKED, i + 1);
		ASSERT_OK(munmap(p, MARKED * PAGE));
	}
	start_readers(_metadata, thread, r, addr, MARKED, &stop);
	for (i = 0; i < 400; i++) {
		/* New, in the place of another, cut in three, whole again, and away. */
		ASSERT_EQ(0, map_obj(fd, 0, MARKED * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED,
				     file[i & 1], 0));
		sched_yield();
		ASSERT_EQ(0, map_obj(fd, 0, MARKED * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED,
				     file[~i & 1], 0));
		sched_yield();
		ASSERT_OK(mshare_protect(fd, 16 * PAGE, 16 * PAGE, PROT_NONE, 0));
		sched_yield();
		ASSERT_OK(mshare_protect(fd, 16 * PAGE, 16 * PAGE, PROT_READ, 0));
		sched_yield();
		ASSERT_OK(mshare_unmap(fd, 0, MARKED * PAGE, 0));
	}
	end_readers(_metadata, thread, r, &stop);
}

static void *reads_for_ever(void *arg)
{
	for (;;)
		sum(arg, MARKED * PAGE);
	return NULL;
}

TEST(while_the_process_ends)
{
	long long before = sys_mshare("attachments");
	int fd = region(GIB), round, i;
	char *addr;
	pid_t pid;

	addr = attached(fd, 0, MARKED * PAGE);
	ASSERT_NE(NULL, addr);
	fill(addr, MARKED * PAGE, 1);
	for (round = 0; round < 30; round++) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			pthread_t thread;

			for (i = 0; i < READERS; i++)
				CHILD_CHECK(!pthread_create(&thread, NULL, reads_for_ever, addr));
			sleep_ms(round % 7);
			if (round % 3 == 0)
				_exit(0);
			if (round % 3 == 1)
				execl("/bin/true", "true", (char *)NULL);
			reads_for_ever(addr);
		}
		for (i = 0; i < 20; i++)
			ASSERT_OK(mshare_advise(fd, 0, MARKED * PAGE, MADV_DONTNEED, 0));
		if (round % 3 == 2)
			kill(pid, SIGKILL);
		EXPECT_EQ(round % 3 == 2 ? KILLED_BY(SIGKILL) : 0, wait_for(pid));
	}
	EXPECT_EQ(0, wrong(addr, MARKED * PAGE, 1));
	EXPECT_EQ(before + 1, sys_mshare("attachments"));
}

TEST(a_fault_that_cannot_succeed_ends)
{
	int fd = region(GIB), file = memfd(PAGE, 0);
	char *addr;

	/* Each of these looped for ever in some prototype; the harness has a time-out. */
	ASSERT_LE(0, fd);
	addr = mshare_attach(fd, NULL, MSHARE_ATTACH_RDONLY);
	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_EQ(FAULT_MAPERR, try_load(addr));
	EXPECT_EQ(FAULT_ACCERR, try_store(addr, 1));
	ASSERT_EQ(0, map_file(fd, 0, MIB, RW, file));
	EXPECT_EQ(FAULT_ACCERR, try_store(addr, 1));
	EXPECT_EQ(FAULT_BUS, try_load(addr + PAGE));
	ASSERT_EQ(MIB, map_anon(fd, MIB, MIB, PROT_NONE));
	EXPECT_EQ(FAULT_ACCERR, try_load(addr + MIB));
	ASSERT_EQ(2 * MIB, map_anon(fd, 2 * MIB, MIB, PROT_READ));
	EXPECT_EQ(FAULT_NONE, try_load(addr + 2 * MIB));
	EXPECT_EQ(FAULT_ACCERR, try_store(addr + 2 * MIB, 1));
	EXPECT_EQ(FAULT_ACCERR, try_exec(addr + 2 * MIB));
}

TEST(faults_are_accounted_to_the_process_once)
{
	int fd = region(GIB);
	struct rusage before, after;
	uint64_t i;
	char *addr;

	addr = attached(fd, 0, 4 * MIB);
	ASSERT_NE(NULL, addr);
	addr[0] = 1;
	getrusage(RUSAGE_SELF, &before);
	for (i = 1; i < 1024; i++)
		addr[i * PAGE] = 1;
	getrusage(RUSAGE_SELF, &after);
	EXPECT_LE(1023, after.ru_minflt - before.ru_minflt);
	EXPECT_GE(1030, after.ru_minflt - before.ru_minflt);
	EXPECT_EQ(1024, stat_of(fd).faults);
}

TEST_HARNESS_MAIN
