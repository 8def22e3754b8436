// SPDX-License-Identifier: GPL-2.0
/*
 * A change of shared page tables interrupts the CPUs that run a guest, at most once
 * per flush, and no others.  Counts, not times; the machine must be quiet.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"
#include "tlb_count.h"

#include <sys/wait.h>
#include <time.h>

#define NEED_CPUS(n) do {							\
	if (cpus() < (n))							\
		SKIP(return, "needs %d CPUs", (n));				\
} while (0)

/* Each round is exact: few of them, on a slow machine, are as good. */
#define ROUNDS	10000
#define SECONDS	10

/* What a process does on its CPU until it is killed. */
enum job {
	SPIN,		/* is no guest and computes */
	GUEST_SPIN,	/* has touched the region and computes */
	GUEST_SLEEP,	/* has touched the region and sleeps */
};

static pid_t start(struct __test_metadata *_metadata, int cpu, enum job job, int fd, uint64_t offset)
{
	volatile int *ready = shared_page();
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		volatile char *p;

		CHILD_CHECK(pin(cpu));
		alarm(280);
		if (job != SPIN) {
			p = mshare_attach(fd, NULL, 0);
			CHILD_CHECK(p != MAP_FAILED);
			p[offset] = 1;
		}
		*ready = 1;
		while (job != GUEST_SLEEP)
			;
		pause();
		_exit(1);
	}
	ASSERT_TRUE(await(ready));
	munmap((void *)ready, PAGE);
	return pid;
}

static void stop(pid_t pid)
{
	kill(pid, SIGKILL);
	wait_for(pid);
}

/* The counts of each CPU, at one time. */
struct counts {
	long long ipis[4], row[4];
};

static struct counts counts(void)
{
	struct counts c;
	int cpu;

	for (cpu = 0; cpu < 4; cpu++) {
		c.ipis[cpu] = tlb_ipis(cpu);
		c.row[cpu] = tlb_row(cpu);
	}
	return c;
}

/*
 * Maps, touches and unmaps the page at OFFSET; returns how often.  FROM and TO
 * are the counts around it.  With other pages next to it, its table stays.
 */
static int rounds(struct __test_metadata *_metadata, int fd, char *at, uint64_t offset,
		  struct counts *from, struct counts *to)
{
	time_t end = time(NULL) + SECONDS;
	int done;

	*from = counts();
	for (done = 0; done < ROUNDS && (done < 20 || time(NULL) < end); done++) {
		ASSERT_EQ(offset, map_anon(fd, offset, PAGE, RW));
		*(volatile char *)(at + offset) = 1;
		ASSERT_OK(mshare_unmap(fd, offset, PAGE, 0));
	}
	*to = counts();
	TH_LOG("%d rounds: IPIs of CPU 1 to 3: %lld %lld %lld; TLB rows: %lld %lld %lld", done,
	       to->ipis[1] - from->ipis[1], to->ipis[2] - from->ipis[2],
	       to->ipis[3] - from->ipis[3], to->row[1] - from->row[1],
	       to->row[2] - from->row[2], to->row[3] - from->row[3]);
	return done;
}

FIXTURE(ipi) {
	int fd;
	char *at;
};

FIXTURE_SETUP(ipi)
{
	NEED_CPUS(4);
	if (access(TLB_TRACE, F_OK))
		SKIP(return, "no " TLB_TRACE);
	ASSERT_TRUE(pin(0));
	self->fd = region(GIB);
	ASSERT_LE(0, self->fd);
	/* Keeps the first page table. */
	ASSERT_EQ(0, map_anon(self->fd, 0, PAGE, RW));
	ASSERT_TRUE(tlb_count_begin());
}

FIXTURE_TEARDOWN(ipi)
{
	tlb_count_end();
}

/* P1: guests on CPUs 0 and 1, another process on 2, none on 3. */
static void only_cpus_of_guests(struct __test_metadata *_metadata, FIXTURE_DATA(ipi) *self,
				uint64_t offset, int flushes)
{
	pid_t other = start(_metadata, 2, SPIN, -1, 0);
	pid_t guest = start(_metadata, 1, GUEST_SPIN, self->fd, 0);
	struct counts from, to;
	int done, cpu;

	self->at = mshare_attach(self->fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, self->at);
	*self->at = 1;
	done = rounds(_metadata, self->fd, self->at, offset, &from, &to);
	/*
	 * A page table that goes is a flush of its own.  One that meets CPU 1 in
	 * a kernel thread need not interrupt it.
	 */
	EXPECT_GE(done * flushes, to.ipis[1] - from.ipis[1]);
	EXPECT_LE(done * flushes * 9 / 10, to.ipis[1] - from.ipis[1]);
	for (cpu = 2; cpu < 4; cpu++) {
		EXPECT_EQ(0, to.ipis[cpu] - from.ipis[cpu]) {
			TH_LOG("CPU %d runs no guest", cpu);
		}
		EXPECT_EQ(0, to.row[cpu] - from.row[cpu]) {
			TH_LOG("CPU %d runs no guest", cpu);
		}
	}
	stop(guest);
	stop(other);
}

TEST_F(ipi, an_unmap_interrupts_only_cpus_that_run_a_guest)
{
	only_cpus_of_guests(_metadata, self, PAGE, 1);
}

TEST_F(ipi, an_unmap_with_its_page_table_interrupts_only_cpus_that_run_a_guest)
{
	only_cpus_of_guests(_metadata, self, 4 * HUGE, 2);
}

#define TURNS		50

static bool sleeps(pid_t pid)
{
	char path[64], *text, *end;
	bool is;

	sprintf(path, "/proc/%d/stat", pid);
	text = slurp(path);
	end = text ? strrchr(text, ')') : NULL;
	is = end && !strncmp(end, ") S", 3);
	free(text);
	return is;
}

/* Attach and detach concern only the calling process. */
TEST_F(ipi, attach_and_detach_interrupt_nobody_else)
{
	pid_t other = start(_metadata, 2, SPIN, -1, 0);
	pid_t guest = start(_metadata, 1, GUEST_SPIN, self->fd, 0);
	struct counts from = counts(), to;
	int i, cpu;

	for (i = 0; i < 200; i++) {
		volatile char *p = mshare_attach(self->fd, NULL, 0);

		ASSERT_NE(MAP_FAILED, p);
		*p = 1;
		ASSERT_OK(mshare_detach((void *)p, 0));
	}
	to = counts();
	for (cpu = 1; cpu < 4; cpu++) {
		EXPECT_EQ(0, to.ipis[cpu] - from.ipis[cpu]) {
			TH_LOG("CPU %d has nothing to do with it", cpu);
		}
	}
	stop(guest);
	stop(other);
}

/* Does unmapping a page at OFFSET interrupt CPUs 1 to 3? */
static bool interrupts(int fd, char *at, uint64_t offset)
{
	struct counts from = counts(), to;
	bool any = false;
	int cpu;

	map_anon(fd, offset, PAGE, RW);
	*(volatile char *)(at + offset) = 1;
	mshare_unmap(fd, offset, PAGE, 0);
	to = counts();
	for (cpu = 1; cpu < 4; cpu++)
		any |= to.ipis[cpu] != from.ipis[cpu] || to.row[cpu] != from.row[cpu];
	return any;
}

/* P5: guests sleep on CPUs 1 to 3, which lazily keep their page tables. */
TEST_F(ipi, an_unmap_interrupts_no_idle_cpu_of_a_sleeping_guest)
{
	struct counts from, to;
	pid_t guest[4];
	int cpu, try;

	self->at = mshare_attach(self->fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, self->at);
	*self->at = 1;
	/*
	 * One that has not gone to sleep yet is interrupted, and has to be.  Then all
	 * begin anew: an idle CPU that was interrupted has left the guest for good.
	 */
	for (try = 0; try < 20; try++) {
		for (cpu = 1; cpu < 4; cpu++)
			guest[cpu] = start(_metadata, cpu, GUEST_SLEEP, self->fd, 0);
		sleep_ms(100);
		if (!interrupts(self->fd, self->at, PAGE))
			break;
		for (cpu = 1; cpu < 4; cpu++)
			stop(guest[cpu]);
	}
	ASSERT_GT(20, try);
	rounds(_metadata, self->fd, self->at, PAGE, &from, &to);
	for (cpu = 1; cpu < 4; cpu++) {
		EXPECT_EQ(0, to.ipis[cpu] - from.ipis[cpu]);
		EXPECT_EQ(0, to.row[cpu] - from.row[cpu]);
	}
	/* A table that goes is worth one: then they have left the guest for good. */
	rounds(_metadata, self->fd, self->at, 4 * HUGE, &from, &to);
	for (cpu = 1; cpu < 4; cpu++) {
		EXPECT_GE(1, to.ipis[cpu] - from.ipis[cpu]);
		EXPECT_GE(1, to.row[cpu] - from.row[cpu]);
	}
	for (cpu = 1; cpu < 4; cpu++)
		stop(guest[cpu]);
}

/*
 * A table that advice frees is worth an IPI to each CPU that has a guest loaded, also to
 * idle ones: they might walk it.  Nothing is left in it that needs another flush.
 */
TEST_F(ipi, a_table_that_advice_frees_interrupts_also_idle_cpus_of_sleeping_guests)
{
	const uint64_t offset = 4 * HUGE;
	struct counts from, to;
	pid_t guest[4];
	int cpu, try;

	self->at = mshare_attach(self->fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, self->at);
	*self->at = 1;
	ASSERT_EQ(offset, map_anon(self->fd, offset, HUGE, RW));
	/* Another process may have driven a sleeping guest from its CPU. */
	for (try = 0; try < 20; try++) {
		*(volatile char *)(self->at + offset) = 1;
		/* A half is no reason to free the table. */
		ASSERT_OK(mshare_advise(self->fd, offset, MIB, MADV_DONTNEED, 0));
		for (cpu = 1; cpu < 4; cpu++)
			guest[cpu] = start(_metadata, cpu, cpu == 1 ? GUEST_SPIN : GUEST_SLEEP,
					   self->fd, 0);
		sleep_ms(100);
		from = counts();
		ASSERT_OK(mshare_advise(self->fd, offset, HUGE, MADV_DONTNEED, 0));
		to = counts();
		for (cpu = 1; cpu < 4; cpu++)
			stop(guest[cpu]);
		if (to.ipis[2] - from.ipis[2] == 1 && to.ipis[3] - from.ipis[3] == 1)
			break;
	}
	EXPECT_GT(20, try);
	EXPECT_EQ(1, to.ipis[1] - from.ipis[1]);
}

/*
 * A guest on CPU 1 wakes now and then, between times another process computes there,
 * with OTHERS regions of its own.
 */
static void interrupts_no_cpu_that_was_left(struct __test_metadata *_metadata,
					    FIXTURE_DATA(ipi) *self, int others)
{
	volatile int *laps = shared_page(), *turns = shared_page();
	struct counts from, to;
	pid_t guest, other;
	int pair[2], i, was;

	self->at = mshare_attach(self->fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, self->at);
	*self->at = 1;
	ASSERT_OK(pipe(pair));
	guest = fork();
	ASSERT_LE(0, guest);
	if (!guest) {
		char byte;

		CHILD_CHECK(pin(1));
		alarm(280);
		for (;;) {
			(*(volatile char *)self->at)++;
			++*turns;
			CHILD_CHECK(read(pair[0], &byte, 1) == 1);
		}
	}
	other = fork();
	ASSERT_LE(0, other);
	if (!other) {
		CHILD_CHECK(!mshare_detach(self->at, 0) && pin(1));
		for (i = 0; i < others; i++)
			CHILD_CHECK(mshare_attach(region(GIB), NULL, 0) != MAP_FAILED);
		alarm(280);
		for (;;)
			++*laps;
	}
	ASSERT_TRUE(await(turns));
	from = counts();
	for (i = 0; i < TURNS; i++) {
		was = *turns;
		ASSERT_EQ(1, write(pair[1], "", 1));
		ASSERT_TRUE(BECOMES(*turns > was && sleeps(guest)));
		/* The other one has the CPU, so it has left the guest. */
		was = *laps;
		ASSERT_TRUE(BECOMES(*laps != was));
		ASSERT_EQ(PAGE, map_anon(self->fd, PAGE, PAGE, RW));
		*(volatile char *)(self->at + PAGE) = 1;
		ASSERT_OK(mshare_unmap(self->fd, PAGE, PAGE, 0));
	}
	to = counts();
	TH_LOG("%d turns: %lld IPIs", TURNS, to.ipis[1] - from.ipis[1]);
	EXPECT_EQ(0, to.ipis[1] - from.ipis[1]);
	stop(guest);
	stop(other);
}

TEST_F(ipi, an_unmap_interrupts_no_cpu_that_a_guest_has_left)
{
	interrupts_no_cpu_that_was_left(_metadata, self, 0);
}

TEST_F(ipi, an_unmap_interrupts_no_cpu_that_has_gone_to_a_guest_of_other_regions)
{
	interrupts_no_cpu_that_was_left(_metadata, self, 3);
}

TEST_F(ipi, an_unmap_interrupts_no_cpu_that_has_gone_to_a_guest_of_another_region)
{
	interrupts_no_cpu_that_was_left(_metadata, self, 1);
}

/* P3: 64 MiB of a file, clean, mapped, and a guest that runs on CPU 1. */
#define RECLAIMED	(64 * MIB)

TEST_F(ipi, reclaim_flushes_for_many_pages_at_once)
{
	const char *dir = disk_mount();
	char cgroup[64], name[128], buf[64 * KIB];
	struct counts from, to;
	uint64_t left;
	time_t end;
	int file, i;
	pid_t guest;

	if (!dir)
		SKIP(return, NO_DISK);
	if (!cgroup_make(cgroup, sizeof(cgroup)))
		SKIP(return, "no cgroup2 with memory at /sys/fs/cgroup: %m");
	/* The pages are charged to that group, and nothing else is. */
	snprintf(name, sizeof(name), "%s/many", dir);
	file = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	ASSERT_LE(0, file);
	memset(buf, 1, sizeof(buf));
	IN_CHILD({
		CHILD_CHECK(write_text(cgroup_file(cgroup, "cgroup.procs"), "0"));
		for (i = 0; i < RECLAIMED / sizeof(buf); i++)
			CHILD_CHECK(write(file, buf, sizeof(buf)) == sizeof(buf));
		CHILD_CHECK(!fsync(file));
	});
	ASSERT_EQ(GIB / 2, map_file(self->fd, GIB / 2, RECLAIMED, PROT_READ, file));
	ASSERT_OK(mshare_advise(self->fd, GIB / 2, RECLAIMED, MADV_POPULATE_READ, 0));
	left = stat_of(self->fd).resident;
	ASSERT_LE(RECLAIMED, left);
	guest = start(_metadata, 1, GUEST_SPIN, self->fd, 0);

	from = counts();
	end = time(NULL) + 150;
	while (stat_of(self->fd).resident > RECLAIMED / 4 && time(NULL) < end)
		write_text(cgroup_file(cgroup, "memory.reclaim"), "1M");
	to = counts();
	left -= stat_of(self->fd).resident;
	TH_LOG("%lld flushes for %ju pages", to.ipis[1] - from.ipis[1], (uintmax_t)(left / PAGE));
	EXPECT_LE(RECLAIMED / 2, left);
	/* Some there must be. */
	EXPECT_LT(0, to.ipis[1] - from.ipis[1]);
	EXPECT_GE(left / PAGE / 16, to.ipis[1] - from.ipis[1]);
	stop(guest);
	close(file);
	unlink(name);
	rmdir(cgroup);
}

TEST_HARNESS_MAIN
