// SPDX-License-Identifier: GPL-2.0
/*
 * No CPU uses an old translation when a call has returned.
 *
 * Every test here keeps a task on another CPU (or asleep there) with the
 * translation in its TLB, changes the region, and sets a flag after the return.
 * An access that succeeds after the flag was seen is stale.  What makes such
 * tests blind under emulation, and is avoided: two pages with the same page
 * number in two attachments push each other out of the TLB; the first SIGSEGV
 * flushes; so does a switch of tasks.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>

#define NEED_CPUS(n) do {							\
	if (cpus() < (n))							\
		SKIP(return, "needs %d CPUs", (n));				\
} while (0)

/* Shared by the tester on CPU 0 and the guests. */
struct control {
	volatile int ready;
	volatile int go;
	volatile int fault;
	volatile int done;
	volatile uint64_t beats;
	volatile uint64_t stale;
	volatile uint64_t value;
};

static struct control *control(void)
{
	struct control *ctl = shared_page();

	memset(ctl, 0, sizeof(*ctl));
	return ctl;
}

static struct control *dying;

/* Records how the loop ended, and ends the process. */
static void last_fault(int sig, siginfo_t *info, void *context)
{
	dying->fault = FAULT(sig, info->si_code);
	_exit(0);
}

static void die_by_fault(struct control *ctl)
{
	struct sigaction act = { .sa_sigaction = last_fault, .sa_flags = SA_SIGINFO };

	dying = ctl;
	sigaction(SIGSEGV, &act, NULL);
	sigaction(SIGBUS, &act, NULL);
	alarm(60);
}

/* Waits until the guest has been in its loop for a while. */
static bool running(struct control *ctl)
{
	uint64_t from;

	if (!await(&ctl->ready, 30))
		return false;
	from = ctl->beats;
	while (ctl->beats < from + 1000)
		;
	return true;
}

/* For a guest that should fault and may go on with its old translation instead. */
static void end_of_guest(struct __test_metadata *_metadata, struct control *ctl, pid_t pid,
			 int fault)
{
	int i, status;

	for (i = 0; i < 200 && !ctl->fault; i++)
		sleep_ms(5);
	if (!ctl->fault)
		kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	EXPECT_EQ(0, ctl->stale);
	EXPECT_EQ(fault, ctl->fault) {
		TH_LOG("the guest went on for %ju beats", (uintmax_t)ctl->stale);
	}
}

/* T1: loads in user mode while another process unmaps. */
TEST(unmap_stops_a_reader_on_another_cpu)
{
	int round;

	NEED_CPUS(2);
	for (round = 0; round < 5; round++) {
		struct control *ctl = control();
		int fd = region(GIB);
		pid_t pid;

		ASSERT_LE(0, fd);
		ASSERT_EQ(0, map_anon(fd, 0, PAGE, RW));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			volatile char *p = mshare_attach(fd, NULL, 0);

			CHILD_CHECK(p != MAP_FAILED && pin(1));
			die_by_fault(ctl);
			*p = 1;
			ctl->ready = 1;
			for (;;) {
				bool after = ctl->go;

				(void)*p;
				ctl->beats++;
				if (after)
					ctl->stale++;
			}
		}
		ASSERT_TRUE(pin(0));
		ASSERT_TRUE(running(ctl));
		ASSERT_OK(mshare_unmap(fd, 0, PAGE, 0));
		ctl->go = 1;
		end_of_guest(_metadata, ctl, pid, FAULT_MAPERR);
		close(fd);
	}
}

/* T2: no store may land when protect has returned. */
TEST(protect_stops_a_writer_on_another_cpu)
{
	int round;

	NEED_CPUS(2);
	for (round = 0; round < 5; round++) {
		struct control *ctl = control();
		int fd = region(GIB);
		volatile uint64_t *mine;
		uint64_t value;
		pid_t pid;

		ASSERT_LE(0, fd);
		ASSERT_EQ(0, map_anon(fd, 0, PAGE, RW));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			volatile uint64_t *p = mshare_attach(fd, NULL, 0);

			CHILD_CHECK(p != MAP_FAILED && pin(1));
			die_by_fault(ctl);
			*p = 1;
			ctl->ready = 1;
			for (;;) {
				bool after = ctl->go;

				(*p)++;
				ctl->beats++;
				if (after)
					ctl->stale++;
			}
		}
		mine = mshare_attach(fd, NULL, 0);
		ASSERT_NE(MAP_FAILED, mine);
		ASSERT_TRUE(pin(0));
		ASSERT_TRUE(running(ctl));
		ASSERT_OK(mshare_protect(fd, 0, PAGE, PROT_READ, 0));
		value = *mine;
		ctl->go = 1;
		sleep_ms(20);
		EXPECT_EQ(value, *mine);
		end_of_guest(_metadata, ctl, pid, FAULT_ACCERR);
		EXPECT_EQ(value, *mine);
		close(fd);
	}
}

/* A hole punched into the file behind, by a process that has nothing attached. */
TEST(a_hole_in_the_file_stops_a_reader_on_another_cpu)
{
	int round;

	NEED_CPUS(2);
	for (round = 0; round < 5; round++) {
		struct control *ctl = control();
		int fd = region(GIB), file = memfd(4 * PAGE, 0);
		pid_t pid;

		ASSERT_LE(0, fd);
		ASSERT_EQ(0, map_file(fd, 0, 4 * PAGE, RW, file));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			volatile char *p = mshare_attach(fd, NULL, 0);

			CHILD_CHECK(p != MAP_FAILED && pin(1));
			die_by_fault(ctl);
			*p = 1;
			ctl->ready = 1;
			while (!ctl->done) {
				bool after = ctl->go;
				char c = *p;

				ctl->beats++;
				if (after && c)
					ctl->stale++;
			}
			ctl->fault = -1;
			_exit(0);
		}
		ASSERT_TRUE(pin(0));
		ASSERT_TRUE(running(ctl));
		ASSERT_OK(fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE));
		ctl->go = 1;
		sleep_ms(20);
		ctl->done = 1;
		end_of_guest(_metadata, ctl, pid, -1);
		close(fd);
		close(file);
	}
}

/*
 * T3: a guest with one or two attachments at places of its own has touched
 * PAGES pages; the suspected page is probed first, before a SIGSEGV flushes.
 * Even pages go through the first attachment and odd ones through the second.
 */
static void ranges(struct __test_metadata *_metadata, int pages, int attachments, int first)
{
	struct control *ctl = control();
	int fd = region(GIB), i;
	pid_t pid;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, map_anon(fd, 0, pages * PAGE, RW));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		volatile char *at[2];

		CHILD_CHECK(pin(1));
		alarm(60);
		at[0] = mshare_attach(fd, (void *)(3 * SLOT), 0);
		at[1] = attachments > 1 ? mshare_attach(fd, (void *)(8 * SLOT), 0) : at[0];
		CHILD_CHECK(at[0] != MAP_FAILED && at[1] != MAP_FAILED);
		for (i = 0; i < pages; i++)
			at[i & 1][i * PAGE] = 1;
		/* Once more: the TLB has them when the first faults are over. */
		for (i = 0; i < pages; i++)
			ctl->value += at[i & 1][i * PAGE];
		ctl->ready = 1;
		while (!ctl->go)
			;
		i = first;
		do {
			if (try_load(at[i & 1] + i * PAGE) != FAULT_MAPERR)
				ctl->stale++;
			i = (i + 1) % pages;
		} while (i != first);
		_exit(0);
	}
	ASSERT_TRUE(pin(0));
	ASSERT_TRUE(await(&ctl->ready, 30));
	ASSERT_OK(mshare_unmap(fd, 0, pages * PAGE, 0));
	ctl->go = 1;
	EXPECT_EQ(0, wait_for(pid));
	EXPECT_EQ(pages, ctl->value);
	EXPECT_EQ(0, ctl->stale) {
		TH_LOG("%d pages, %d attachments, first page %d: %ju stale", pages, attachments,
		       first, (uintmax_t)ctl->stale);
	}
	close(fd);
	munmap(ctl, PAGE);
}

TEST(every_attachment_of_a_guest_is_flushed_for_1_33_and_34_pages)
{
	static const int pages[] = { 1, 33, 34 };
	unsigned int i;
	int attachments, first;

	NEED_CPUS(2);
	for (i = 0; i < 3; i++)
		for (attachments = 1; attachments <= 2; attachments++)
			for (first = 0; first < pages[i]; first += first < 4 ? 1 : 5)
				ranges(_metadata, pages[i], attachments, first);
}

TEST(guests_on_several_cpus_lose_it_together)
{
	struct control *ctl[2] = { control(), control() };
	int fd = region(GIB), i;
	pid_t pid[2];

	NEED_CPUS(3);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, map_anon(fd, 0, 8 * PAGE, RW));
	for (i = 0; i < 2; i++) {
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (!pid[i]) {
			volatile char *p = mshare_attach(fd, (void *)((i + 2) * SLOT), 0);

			CHILD_CHECK(p != MAP_FAILED && pin(1 + i));
			die_by_fault(ctl[i]);
			p[i * PAGE] = 1;
			ctl[i]->ready = 1;
			for (;;) {
				bool after = ctl[i]->go;

				(void)p[i * PAGE];
				ctl[i]->beats++;
				if (after)
					ctl[i]->stale++;
			}
		}
	}
	ASSERT_TRUE(pin(0));
	ASSERT_TRUE(running(ctl[0]));
	ASSERT_TRUE(running(ctl[1]));
	ASSERT_OK(mshare_unmap(fd, 0, 8 * PAGE, 0));
	ctl[0]->go = 1;
	ctl[1]->go = 1;
	end_of_guest(_metadata, ctl[0], pid[0], FAULT_MAPERR);
	end_of_guest(_metadata, ctl[1], pid[1], FAULT_MAPERR);
}

/* T4: the guest sleeps, its CPU is idle and lazily keeps its page tables. */
static void lazy(struct __test_metadata *_metadata, uint64_t length)
{
	struct control *ctl = control();
	int fd = region(4 * GIB), wake[2];
	pid_t pid;

	ASSERT_LE(0, fd);
	ASSERT_OK(pipe(wake));
	ASSERT_EQ(0, map_anon(fd, 0, 2 * HUGE, RW));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		volatile char *p = mshare_attach(fd, NULL, 0);
		char byte;

		CHILD_CHECK(p != MAP_FAILED && pin(1));
		die_by_fault(ctl);
		p[5 * PAGE] = 1;
		ctl->ready = 1;
		CHILD_CHECK(read(wake[0], &byte, 1) == 1);
		(void)p[5 * PAGE];
		ctl->stale++;
		ctl->fault = -1;
		_exit(0);
	}
	ASSERT_TRUE(pin(0));
	ASSERT_TRUE(await(&ctl->ready, 30));
	sleep_ms(20);
	ASSERT_OK(mshare_unmap(fd, 0, length, 0));
	ASSERT_EQ(1, write(wake[1], "x", 1));
	end_of_guest(_metadata, ctl, pid, FAULT_MAPERR);
	close(wake[0]);
	close(wake[1]);
	close(fd);
}

TEST(a_sleeper_on_an_idle_cpu_wakes_to_a_fault)
{
	int round;

	NEED_CPUS(2);
	for (round = 0; round < 10; round++) {
		lazy(_metadata, 8 * PAGE);
		lazy(_metadata, 2 * HUGE);
	}
}

/* T5: the caller is the only one to flush, itself and no other CPU. */
TEST(the_caller_itself_loses_it)
{
	int round, i;

	ASSERT_TRUE(pin(0));
	for (round = 0; round < 100; round++) {
		int fd = region(GIB);
		volatile char *p;

		ASSERT_LE(0, fd);
		ASSERT_EQ(0, map_anon(fd, 0, 100 * PAGE, RW));
		p = mshare_attach(fd, NULL, 0);
		ASSERT_NE(MAP_FAILED, p);
		for (i = 0; i < 100; i++)
			p[i * PAGE] = 1;
		(void)p[round * PAGE];
		/* Half of the time by replacement: every page can be checked. */
		if (round & 1) {
			ASSERT_OK(mshare_unmap(fd, 0, 100 * PAGE, 0));
			EXPECT_EQ(FAULT_MAPERR, try_load(p + round * PAGE));
		} else {
			ASSERT_EQ(0, map_obj(fd, 0, 100 * PAGE, RW,
					     MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
			for (i = 0; i < 100; i++)
				EXPECT_EQ(0, p[(i + round) % 100 * PAGE]);
		}
		ASSERT_OK(mshare_detach((void *)p, 0));
		close(fd);
	}
}

/* T5: the memory is taken by reclaim, with its batched flush. */
TEST(reclaimed_pages_are_not_seen_again)
{
	struct control *ctl = control();
	const char *dir = disk_mount();
	int fd = region(GIB), file, round, i;
	char path[256], page[PAGE];
	pid_t pid;

	NEED_CPUS(2);
	if (!dir)
		SKIP(return, "no ext4 file system (loop device, mke2fs; or set MST_DISK)");
	sprintf(path, "%s/reclaim", dir);
	file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	ASSERT_LE(0, file);
	memset(page, 1, sizeof(page));
	for (i = 0; i < 64; i++)
		ASSERT_EQ(PAGE, pwrite(file, page, PAGE, i * PAGE));
	ASSERT_OK(fsync(file));
	ASSERT_EQ(0, map_file(fd, 0, 64 * PAGE, PROT_READ, file));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		volatile uint8_t *p = mshare_attach(fd, NULL, MSHARE_ATTACH_RDONLY);

		CHILD_CHECK(p != MAP_FAILED && pin(1));
		die_by_fault(ctl);
		ctl->ready = 1;
		while (!ctl->done) {
			/* Written before the loads: what is seen must not be older. */
			uint64_t least = ctl->value;

			for (i = 0; i < 64; i++)
				if (p[i * PAGE] < least)
					ctl->stale++;
			ctl->beats++;
		}
		ctl->fault = -1;
		_exit(0);
	}
	ASSERT_TRUE(pin(0));
	ASSERT_TRUE(await(&ctl->ready, 30));
	for (round = 2; round < 40; round++) {
		uint64_t beats;

		/* Reclaim drops the clean pages; then the file gets new ones. */
		EXPECT_OK(mshare_advise(fd, 0, 64 * PAGE, MADV_PAGEOUT, 0));
		memset(page, round, sizeof(page));
		for (i = 0; i < 64; i++)
			ASSERT_EQ(PAGE, pwrite(file, page, PAGE, i * PAGE));
		ctl->value = round;
		ASSERT_OK(fsync(file));
		beats = ctl->beats;
		for (i = 0; i < 1000 && ctl->beats < beats + 2; i++)
			sleep_ms(1);
	}
	ctl->done = 1;
	end_of_guest(_metadata, ctl, pid, -1);
	/* Reclaim did take pages from the reader. */
	EXPECT_LT(38 * 4, stat_of(fd).faults);
}

/*
 * T12: what comes to the addresses after a detach must read as zero on every
 * page.  No page is accessed between: a SIGSEGV would flush.
 */
static void replaced(struct __test_metadata *_metadata, int how)
{
	int fd = region(GIB), i, old = 0;
	volatile char *p;
	char *now = MAP_FAILED;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, map_anon(fd, 0, 100 * PAGE, RW));
	p = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, p);
	for (i = 0; i < 100; i++)
		p[i * PAGE] = 1;
	for (i = 0; i < 100; i++)
		(void)p[i * PAGE];
	switch (how) {
	case 0:
		ASSERT_OK(mshare_detach((void *)p, 0));
		break;
	case 1:
		ASSERT_OK(munmap((void *)p, SLOT));
		break;
	case 2:
		now = mmap((void *)p, SLOT, RW,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	}
	if (how != 2)
		now = mmap((void *)p, 100 * PAGE, RW,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	ASSERT_EQ((void *)p, now);
	for (i = 99; i >= 0; i--)
		old += p[i * PAGE];
	EXPECT_EQ(0, old) {
		TH_LOG("way %d: %d of 100 pages show the old memory", how, old);
	}
	munmap((void *)p, how == 2 ? SLOT : 100 * PAGE);
	close(fd);
}

TEST(after_detach_the_caller_sees_only_what_is_there_now)
{
	int how, round;

	ASSERT_TRUE(pin(0));
	for (how = 0; how < 3; how++)
		for (round = 0; round < 10; round++)
			replaced(_metadata, how);
}

TEST(after_detach_each_page_faults)
{
	int i;

	ASSERT_TRUE(pin(0));
	/* One probe an attachment: the first SIGSEGV flushes. */
	for (i = 0; i < 100; i += 7) {
		int fd = region(GIB), j;
		volatile char *p;

		ASSERT_LE(0, fd);
		ASSERT_EQ(0, map_anon(fd, 0, 100 * PAGE, RW));
		p = mshare_attach(fd, NULL, 0);
		ASSERT_NE(MAP_FAILED, p);
		for (j = 0; j < 100; j++)
			p[j * PAGE] = 1;
		(void)p[i * PAGE];
		if (i & 1)
			ASSERT_OK(mshare_detach((void *)p, 0));
		else
			ASSERT_OK(munmap((void *)p, SLOT));
		EXPECT_EQ(FAULT_MAPERR, try_load(p + i * PAGE));
		close(fd);
	}
}

struct sibling {
	volatile char *p;
	volatile int ready, go;
	int old;
};

static void *sibling(void *arg)
{
	struct sibling *s = arg;
	int i;

	if (!pin(1))
		return NULL;
	for (i = 0; i < 100; i++)
		(void)s->p[i * PAGE];
	s->ready = 1;
	while (!s->go)
		;
	for (i = 99; i >= 0; i--)
		s->old += s->p[i * PAGE];
	return s;
}

TEST(after_detach_a_thread_on_another_cpu_sees_only_what_is_there_now)
{
	int round, i;

	NEED_CPUS(2);
	for (round = 0; round < 20; round++) {
		int fd = region(GIB);
		struct sibling s = {};
		pthread_t thread;
		void *ret;

		ASSERT_LE(0, fd);
		ASSERT_EQ(0, map_anon(fd, 0, 100 * PAGE, RW));
		s.p = mshare_attach(fd, NULL, 0);
		ASSERT_NE(MAP_FAILED, s.p);
		for (i = 0; i < 100; i++)
			s.p[i * PAGE] = 1;
		ASSERT_OK(pthread_create(&thread, NULL, sibling, &s));
		ASSERT_TRUE(pin(0));
		ASSERT_TRUE(await(&s.ready, 30));
		if (round & 1)
			ASSERT_OK(mshare_detach((void *)s.p, 0));
		else
			ASSERT_OK(munmap((void *)s.p, SLOT));
		ASSERT_EQ((void *)s.p, mmap((void *)s.p, 100 * PAGE, RW, MAP_PRIVATE |
					    MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
		s.go = 1;
		ASSERT_OK(pthread_join(thread, &ret));
		EXPECT_EQ(&s, ret);
		EXPECT_EQ(0, s.old) {
			TH_LOG("round %d: %d of 100 pages show the old memory", round, s.old);
		}
		munmap((void *)s.p, 100 * PAGE);
		close(fd);
	}
}

/* The attachment is new while a sibling already runs on another CPU. */
static void *late_reader(void *arg)
{
	struct control *ctl = arg;
	volatile char *p;

	if (!pin(1))
		return NULL;
	ctl->ready = 1;
	while (!(p = (volatile char *)ctl->value))
		;
	while (!ctl->done) {
		bool after = ctl->go;
		char c = *p;

		ctl->beats++;
		if (after && c)
			ctl->stale++;
	}
	return NULL;
}

TEST(an_attachment_made_while_a_sibling_runs_is_flushed_there_too)
{
	int round;

	NEED_CPUS(2);
	for (round = 0; round < 10; round++) {
		struct control *ctl = control();
		int fd = region(GIB);
		pthread_t thread;
		char *p;

		ASSERT_LE(0, fd);
		ASSERT_EQ(0, map_anon(fd, 0, PAGE, RW));
		ASSERT_OK(pthread_create(&thread, NULL, late_reader, ctl));
		ASSERT_TRUE(pin(0));
		ASSERT_TRUE(await(&ctl->ready, 30));
		p = mshare_attach(fd, NULL, 0);
		ASSERT_NE(MAP_FAILED, p);
		*p = 1;
		ctl->value = (uint64_t)p;
		while (ctl->beats < 1000)
			;
		/* From a process that is no guest at all. */
		IN_CHILD({
			CHILD_CHECK(!mshare_detach(p, 0));
			CHILD_CHECK(map_obj(fd, 0, PAGE, RW,
					    MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == 0);
			ctl->go = 1;
		});
		sleep_ms(10);
		ctl->done = 1;
		ASSERT_OK(pthread_join(thread, NULL));
		EXPECT_EQ(0, ctl->stale);
		ASSERT_OK(mshare_detach(p, 0));
		close(fd);
	}
}

TEST_HARNESS_MAIN
