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
#include <sys/stat.h>
#include <sys/wait.h>

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif

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

/* control.fault of a guest that was told to end. */
#define WAS_TOLD	(-1)

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
	alarm(280);
}

/* Waits until the guest has been in its loop for a while. */
static bool running(struct control *ctl)
{
	uint64_t from;

	if (!await(&ctl->ready))
		return false;
	from = ctl->beats;
	while (ctl->beats < from + 1000 && !ctl->fault)
		;
	return !ctl->fault;
}

/* For a guest that should fault and may go on with its old translation instead. */
static void end_of_guest(struct __test_metadata *_metadata, struct control *ctl, pid_t pid,
			 int fault)
{
	int i, status;

	/* Its CPU may be late, but one that goes on has had its time. */
	for (i = 0; i < 6000 && !ctl->fault && !(i >= 200 && ctl->stale); i++)
		sleep_ms(5);
	if (!ctl->fault)
		kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	EXPECT_EQ(0, ctl->stale);
	EXPECT_EQ(fault, ctl->fault) {
		TH_LOG("the guest went on for %ju beats", (uintmax_t)ctl->stale);
	}
	munmap(ctl, PAGE);
}

/* What a guest does all the time, and what it must not do after the change. */
enum loop {
	LOADS,		/* any load */
	STORES,		/* any store */
	VALUES,		/* a load that finds anything but control.value */
	LATER,		/* the same, but it loads nothing while the change is made */
};

/* A process with an attachment at AT that is busy with the page at OFFSET. */
static pid_t guest(struct control *ctl, int fd, void *at, uint64_t offset, int cpu,
		   enum loop loop)
{
	pid_t pid = fork();
	volatile uint64_t *p;

	if (pid)
		return pid;
	p = mshare_attach(fd, at, 0);
	CHILD_CHECK(p != MAP_FAILED && pin(cpu));
	die_by_fault(ctl);
	p += offset / sizeof(*p);
	*p = 1;
	(void)*p;
	ctl->ready = 1;
	while (!ctl->done) {
		bool after = ctl->go;
		uint64_t value;

		ctl->beats++;
		if (loop == LATER && !after)
			continue;
		value = loop == STORES ? ++*p : *p;
		if (after && (loop < VALUES || value != ctl->value))
			ctl->stale++;
	}
	ctl->fault = WAS_TOLD;
	_exit(0);
}

/* A region with a file, and the page of it that a guest is busy with. */
struct place {
	int fd;
	int file;
	volatile uint64_t *plain;	/* that page, through mmap(2) of the file */
	struct control *ctl;
};

#define FILE_SIZE	(2 * HUGE)
#define BUSY		(5 * PAGE)

typedef int change_fn(struct place *at);

/*
 * The guest on CPU 1 is in its loop, a process that has nothing attached makes
 * the change on CPU 0; when that has returned the guest must not do what LOOP
 * says, and end by FAULT.
 */
static void changed_under_a_guest(struct __test_metadata *_metadata, enum loop loop,
				  change_fn *prepare, change_fn *change, int fault)
{
	int round;

	NEED_CPUS(2);
	for (round = 0; round < 3; round++) {
		struct place at = {
			.fd = region(GIB),
			.file = memfd(FILE_SIZE, 0),
			.ctl = control(),
		};
		char *plain = mmap(NULL, FILE_SIZE, RW, MAP_SHARED, at.file, 0);
		uint64_t value;
		pid_t pid;

		ASSERT_LE(0, at.fd);
		ASSERT_LE(0, at.file);
		ASSERT_NE(MAP_FAILED, plain);
		at.plain = (void *)(plain + BUSY);
		ASSERT_EQ(0, map_file(at.fd, 0, FILE_SIZE, RW, at.file));
		if (prepare)
			ASSERT_OK(prepare(&at));
		pid = guest(at.ctl, at.fd, NULL, BUSY, 1, loop);
		ASSERT_LE(0, pid);
		ASSERT_TRUE(pin(0));
		ASSERT_TRUE(running(at.ctl));
		EXPECT_OK(change(&at));
		if (loop == STORES)
			value = *at.plain;
		at.ctl->go = 1;
		sleep_ms(20);
		if (loop >= VALUES)
			at.ctl->done = 1;
		if (loop == STORES)
			EXPECT_EQ(value, *at.plain);
		end_of_guest(_metadata, at.ctl, pid, fault);
		if (loop == STORES)
			EXPECT_EQ(value, *at.plain);
		munmap(plain, FILE_SIZE);
		close(at.fd);
		close(at.file);
	}
}

/* T1: loads in user mode while another process unmaps. */
static int unmap_page(struct place *at)
{
	return mshare_unmap(at->fd, BUSY, PAGE, 0);
}

TEST(unmap_stops_a_reader_on_another_cpu)
{
	changed_under_a_guest(_metadata, LOADS, NULL, unmap_page, FAULT_MAPERR);
}

static int unmap_tables(struct place *at)
{
	return mshare_unmap(at->fd, 0, FILE_SIZE, 0);
}

TEST(unmap_of_whole_page_tables_stops_a_reader_on_another_cpu)
{
	changed_under_a_guest(_metadata, LOADS, NULL, unmap_tables, FAULT_MAPERR);
}

/* T2: no store may land when protect has returned. */
static int protect_read(struct place *at)
{
	return mshare_protect(at->fd, BUSY, PAGE, PROT_READ, 0);
}

TEST(protect_stops_a_writer_on_another_cpu)
{
	changed_under_a_guest(_metadata, STORES, NULL, protect_read, FAULT_ACCERR);
}

static int protect_none(struct place *at)
{
	return mshare_protect(at->fd, BUSY, PAGE, PROT_NONE, 0);
}

TEST(PROT_NONE_stops_a_reader_on_another_cpu)
{
	changed_under_a_guest(_metadata, LOADS, NULL, protect_none, FAULT_ACCERR);
}

static int replace(struct place *at)
{
	return map_obj(at->fd, BUSY, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
		BUSY ? 0 : -1;
}

TEST(a_new_object_in_its_place_is_seen_on_another_cpu)
{
	changed_under_a_guest(_metadata, VALUES, NULL, replace, WAS_TOLD);
}

static int punch(struct place *at)
{
	at->ctl->value = 0;
	return fallocate(at->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, BUSY, PAGE);
}

TEST(a_hole_in_the_file_is_seen_on_another_cpu)
{
	changed_under_a_guest(_metadata, VALUES, NULL, punch, WAS_TOLD);
}

static int advise_remove(struct place *at)
{
	return mshare_advise(at->fd, BUSY, PAGE, MADV_REMOVE, 0);
}

TEST(MADV_REMOVE_is_seen_on_another_cpu)
{
	changed_under_a_guest(_metadata, VALUES, NULL, advise_remove, WAS_TOLD);
}

static int truncate_file(struct place *at)
{
	return ftruncate(at->file, PAGE);
}

TEST(truncation_of_the_file_stops_a_reader_on_another_cpu)
{
	changed_under_a_guest(_metadata, LOADS, NULL, truncate_file, FAULT_BUS);
}

/*
 * T7: the memory moves; who still uses the old page does not see the new value.
 * A guest that faults meanwhile holds the page, and it stays where it is.
 */
static int migrate(struct place *at)
{
	if (!lru_drain() || madvise((void *)at->plain, PAGE, MADV_SOFT_OFFLINE))
		return -1;
	at->ctl->value = *at->plain = 77;
	return 0;
}

TEST(a_page_that_migrates_is_followed_on_another_cpu)
{
	changed_under_a_guest(_metadata, LATER, NULL, migrate, WAS_TOLD);
}

static int collapse(struct place *at)
{
	*at->plain = 1;
	/* Collapsing wants to find a page table. */
	if (mshare_advise(at->fd, 0, PAGE, MADV_POPULATE_READ, 0) ||
	    mshare_advise(at->fd, 0, HUGE, MADV_COLLAPSE, 0))
		return -1;
	at->ctl->value = *at->plain = 77;
	return 0;
}

TEST(pages_that_become_a_huge_page_are_followed_on_another_cpu)
{
	if (!shmem_thp())
		SKIP(return, NO_THP);
	changed_under_a_guest(_metadata, LATER, NULL, collapse, WAS_TOLD);
}

/*
 * The hole alone would not show: the old page is filled with zeroes.  Nor would
 * the new value, were the old page the first to be used again.
 */
static int punch_and_fill(struct place *at)
{
	if (!lru_drain() || punch(at))
		return -1;
	if (mmap(NULL, MIB, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0) == MAP_FAILED)
		return -1;
	at->ctl->value = *at->plain = 88;
	return 0;
}

TEST(a_hole_in_a_huge_page_is_seen_on_another_cpu)
{
	if (!shmem_thp())
		SKIP(return, NO_THP);
	changed_under_a_guest(_metadata, VALUES, collapse, punch_and_fill, WAS_TOLD);
}

/*
 * T3, C3: a guest with one or two attachments at places of its own, and a second
 * region if REGIONS is 2, has touched PAGES pages; the suspected page is probed
 * first, before a SIGSEGV flushes.  Even pages go through the first attachment
 * and odd ones through the second.  The second region's pages have other numbers.
 */
static void ranges(struct __test_metadata *_metadata, int pages, int attachments, int regions,
		   int first)
{
	const uint64_t other = 64 * PAGE;
	struct control *ctl = control();
	int fd[2], i;
	pid_t pid;

	for (i = 0; i < regions; i++) {
		fd[i] = region(GIB);
		ASSERT_LE(0, fd[i]);
		/* One more: a page table that goes would be a flush of everything. */
		ASSERT_EQ(i * other, map_anon(fd[i], i * other, (pages + 1) * PAGE, RW));
	}
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		volatile char *at[2], *second;

		CHILD_CHECK(pin(1));
		alarm(280);
		at[0] = mshare_attach(fd[0], (void *)(3 * SLOT), 0);
		at[1] = attachments > 1 ? mshare_attach(fd[0], (void *)(8 * SLOT), 0) : at[0];
		second = regions > 1 ? mshare_attach(fd[1], (void *)(5 * SLOT), 0) + other : NULL;
		CHILD_CHECK(at[0] != MAP_FAILED && at[1] != MAP_FAILED);
		CHILD_CHECK(second != MAP_FAILED + other);
		for (i = 0; i <= pages; i++) {
			at[i & 1][i * PAGE] = 1;
			if (second)
				second[i * PAGE] = 1;
		}
		/* Once more: the TLB has them when the first faults are over. */
		for (i = 0; i < pages; i++) {
			ctl->value += at[i & 1][i * PAGE];
			if (second)
				ctl->value += second[i * PAGE];
		}
		/* What the first probe writes to is copied now: that would flush. */
		CHILD_CHECK(try_load(at[0]) == FAULT_NONE);
		ctl->ready = 1;
		while (!ctl->go)
			;
		i = first;
		do {
			if (try_load(at[i & 1] + i * PAGE) != FAULT_MAPERR)
				ctl->stale++;
			if (second && try_load(second + i * PAGE) != FAULT_MAPERR)
				ctl->stale++;
			i = (i + 1) % pages;
		} while (i != first);
		_exit(0);
	}
	ASSERT_TRUE(pin(0));
	ASSERT_TRUE(await(&ctl->ready));
	/* The one that is probed first is the one whose flush came last, or not. */
	for (i = 0; i < regions; i++) {
		int r = first & 1 ? i : regions - 1 - i;

		ASSERT_OK(mshare_unmap(fd[r], r * other, pages * PAGE, 0));
	}
	ctl->go = 1;
	EXPECT_EQ(0, wait_for(pid));
	EXPECT_EQ(pages * regions, ctl->value);
	EXPECT_EQ(0, ctl->stale) {
		TH_LOG("%d pages, %d attachments, %d regions, first page %d: %ju stale", pages,
		       attachments, regions, first, (uintmax_t)ctl->stale);
	}
	for (i = 0; i < regions; i++)
		close(fd[i]);
	munmap(ctl, PAGE);
}

static void all_ranges(struct __test_metadata *_metadata, int pages)
{
	int attachments, regions, first;

	NEED_CPUS(2);
	for (attachments = 1; attachments <= 2; attachments++)
		for (regions = 1; regions <= 2; regions++)
			for (first = 0; first < pages; first += first < 2 ? 1 : 15)
				ranges(_metadata, pages, attachments, regions, first);
}

/* What is flushed page by page, up to 33 in all attachments together, and what is not. */
TEST(every_attachment_of_a_guest_is_flushed_for_1_page)
{
	all_ranges(_metadata, 1);
}

TEST(every_attachment_of_a_guest_is_flushed_for_16_pages)
{
	all_ranges(_metadata, 16);
}

TEST(every_attachment_of_a_guest_is_flushed_for_33_pages)
{
	all_ranges(_metadata, 33);
}

TEST(every_attachment_of_a_guest_is_flushed_for_34_pages)
{
	all_ranges(_metadata, 34);
}

#define FLUSHES		"/sys/kernel/tracing/instances/mst-flush/"

/* How many pages an unmap of so many flushes here: all of them together, -1 is everything. */
static long pages_flushed(int fd, char *addr, int pages)
{
	char *text, *at, *next;
	long flushed = -2, part;
	int i;

	/* The first flush after something else finds more to do. */
	for (i = 0; i < 2; i++) {
		if (map_anon(fd, 0, pages * PAGE, RW) || !memset(addr, 1, pages * PAGE) ||
		    !write_text(FLUSHES "trace", "\n") ||
		    mshare_unmap(fd, 0, pages * PAGE, 0))
			return flushed;
	}
	/*
	 * What the flushes of regions were here; others are of this process alone.  There are
	 * two if something else wants to run in the middle: zap_pte_range() lets it, and must
	 * have flushed what it has done of dirty pages.
	 */
	text = slurp(FLUSHES "trace");
	for (flushed = 0, next = text;
	     flushed >= 0 && next && (next = strstr(next, " mshare_flush: ")); next++) {
		at = strstr(next, " tlb_flush: pages:");
		part = at ? strtol(at + strlen(" tlb_flush: pages:"), NULL, 10) : -2;
		flushed = part < 0 ? part : flushed + part;
	}
	free(text);
	return flushed;
}

/* From now on the flushes of this process are recorded; false if there is no place for that. */
static bool record_flushes(struct __test_metadata *_metadata)
{
	char filter[32];

	/* Names of tasks would patch the scheduler: see the end of vm/run. */
	write_text("/sys/kernel/tracing/options/record-cmd", "0");
	if (mkdir(FLUSHES, 0700) && errno != EEXIST)
		return false;
	snprintf(filter, sizeof(filter), "common_pid == %d", getpid());
	ASSERT_TRUE(write_text(FLUSHES "events/tlb/tlb_flush/filter", filter));
	ASSERT_TRUE(write_text(FLUSHES "events/mshare/mshare_flush/filter", filter));
	ASSERT_TRUE(write_text(FLUSHES "events/tlb/tlb_flush/enable", "1"));
	ASSERT_TRUE(write_text(FLUSHES "events/mshare/mshare_flush/enable", "1"));
	return true;
}

/* A region that is attached and whose first page table stays. */
static char *attach_new(struct __test_metadata *_metadata, int *fd)
{
	char *addr;

	*fd = region(GIB);
	ASSERT_LE(0, *fd);
	ASSERT_EQ(MIB, map_anon(*fd, MIB, PAGE, RW));
	addr = mshare_attach(*fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	addr[MIB] = 1;
	return addr;
}

/*
 * Who attaches a region often makes each flush longer for those who change it, which
 * has an end.
 */
TEST(a_range_in_many_attachments_is_flushed_as_a_whole)
{
	char *addr;
	int fd;

	addr = attach_new(_metadata, &fd);
	ASSERT_TRUE(pin(0));
	if (!record_flushes(_metadata))
		SKIP(return, "no " FLUSHES ": %m");
	EXPECT_EQ(16, pages_flushed(fd, addr, 16));
	EXPECT_EQ(33, pages_flushed(fd, addr, 33));
	ASSERT_NE(MAP_FAILED, mshare_attach(fd, NULL, MSHARE_ATTACH_RDONLY));
	EXPECT_EQ(2 * 16, pages_flushed(fd, addr, 16));
	EXPECT_EQ(-1, pages_flushed(fd, addr, 17));
	ASSERT_NE(MAP_FAILED, mshare_attach(fd, NULL, MSHARE_ATTACH_RDONLY));
	EXPECT_EQ(-1, pages_flushed(fd, addr, 16));
	ASSERT_TRUE(write_text(FLUSHES "events/enable", "0"));
	EXPECT_OK(rmdir(FLUSHES));
}

/* Regions that a process may have before some of them are flushed as a whole. */
#define FOLLOWED	16

/*
 * Other regions, and their attachments, make no range longer: up to FOLLOWED of them.
 * Of more, all but FOLLOWED - 1 are flushed as a whole.
 */
TEST(a_range_in_one_of_many_regions_is_flushed_as_a_range)
{
	int fd[FOLLOWED + 2], i, n, whole;
	char *addr[FOLLOWED + 2];

	ASSERT_TRUE(pin(0));
	if (!record_flushes(_metadata))
		SKIP(return, "no " FLUSHES ": %m");
	for (n = 0; n < FOLLOWED + 2;) {
		addr[n] = attach_new(_metadata, &fd[n]);
		/* Some are there twice. */
		if (n % 8 == 3)
			ASSERT_NE(MAP_FAILED, mshare_attach(fd[n], NULL, MSHARE_ATTACH_RDONLY));
		n++;
		if (n & (n - 1) && n <= FOLLOWED)
			continue;
		for (i = 0, whole = 0; i < n; i++) {
			long flushed = pages_flushed(fd[i], addr[i], 4);

			if (flushed == -1)
				whole++;
			else
				EXPECT_EQ(i % 8 == 3 ? 8 : 4, flushed);
		}
		EXPECT_EQ(n > FOLLOWED ? n - FOLLOWED + 1 : 0, whole);
	}
	ASSERT_TRUE(write_text(FLUSHES "events/enable", "0"));
	EXPECT_OK(rmdir(FLUSHES));
}

/*
 * As many regions as an ASID follows, and more: what is unmapped in each of them is gone on
 * the other CPU, whichever came last.
 */
TEST(pages_of_many_regions_are_flushed)
{
	struct control *ctl = control();
	int fd[FOLLOWED + 2], i;
	pid_t pid;

	NEED_CPUS(2);
	for (i = 0; i < FOLLOWED + 2; i++) {
		fd[i] = region(GIB);
		ASSERT_LE(0, fd[i]);
		ASSERT_EQ(i * PAGE, map_anon(fd[i], i * PAGE, 2 * PAGE, RW));
	}
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		volatile char *at[FOLLOWED + 2];

		CHILD_CHECK(pin(1));
		alarm(280);
		for (i = 0; i < FOLLOWED + 2; i++) {
			at[i] = mshare_attach(fd[i], NULL, 0);
			CHILD_CHECK(at[i] != MAP_FAILED);
			at[i] += i * PAGE;
			at[i][0] = 1;
			at[i][PAGE] = 1;
		}
		CHILD_CHECK(try_load(at[0]) == FAULT_NONE);
		for (i = 0; i < FOLLOWED + 2; i++)
			ctl->value += at[i][0];
		ctl->ready = 1;
		while (!ctl->go)
			;
		for (i = 0; i < FOLLOWED + 2; i++)
			if (try_load(at[i]) != FAULT_MAPERR)
				ctl->stale++;
		_exit(0);
	}
	ASSERT_TRUE(pin(0));
	ASSERT_TRUE(await(&ctl->ready));
	for (i = 0; i < FOLLOWED + 2; i++)
		ASSERT_OK(mshare_unmap(fd[i], i * PAGE, PAGE, 0));
	ctl->go = 1;
	EXPECT_EQ(0, wait_for(pid));
	EXPECT_EQ(FOLLOWED + 2, ctl->value);
	EXPECT_EQ(0, ctl->stale);
	munmap(ctl, PAGE);
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
		pid[i] = guest(ctl[i], fd, (void *)((i + 2) * SLOT), i * PAGE, 1 + i, LOADS);
		ASSERT_LE(0, pid[i]);
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

/*
 * C7: on CPU 1 processes take turns, with the first region, both, the second and
 * none attached; each follows each, itself too.  A new object comes in both
 * regions while a process looks, and another one while it sleeps.
 */
static const int order[] = { 0, 0, 1, 0, 2, 0, 3, 1, 1, 2, 1, 3, 2, 2, 3, 3, 0 };

static void takes_turns(struct control *ctl, const int *fd, int has, int wake)
{
	volatile uint64_t *p[2] = {};
	int r, turn;

	CHILD_CHECK(pin(1));
	alarm(280);
	for (r = 0; r < 2; r++) {
		if (has & 1 << r)
			p[r] = mshare_attach(fd[r], (void *)((3 + 2 * r) * SLOT), 0);
		CHILD_CHECK(p[r] != MAP_FAILED);
	}
	while (read(wake, &turn, sizeof(turn)) == sizeof(turn)) {
		for (r = 0; r < 2; r++)
			if (p[r] && *p[r] != ctl->value)
				ctl->stale++;
		ctl->ready = turn;
		while (ctl->go != turn)
			;
		for (r = 0; r < 2; r++)
			if (p[r] && *p[r] != ctl->value)
				ctl->stale++;
		ctl->done = turn;
	}
	_exit(0);
}

/* Objects whose first word is the number of this one. */
static bool next_objects(struct control *ctl, const int *fd)
{
	uint64_t value = ctl->value + 1;
	int file = memfd(PAGE, 0), r;
	bool ok = pwrite(file, &value, sizeof(value), 0) == sizeof(value);

	for (r = 0; r < 2; r++)
		ok = ok && !map_obj(fd[r], 0, PAGE, RW, MAP_SHARED | MAP_FIXED, file, 0);
	close(file);
	ctl->value = value;
	return ok;
}

static bool is_turn(const volatile int *field, int turn)
{
	int i;

	for (i = 0; i < 60000 && *field != turn; i++)
		sleep_ms(1);
	return *field == turn;
}

TEST(processes_that_take_turns_on_a_cpu)
{
	static const int has[] = { 1, 3, 2, 0 };
	struct control *ctl = control();
	int fd[2] = { region(GIB), region(GIB) }, wake[4][2], i, turn;
	pid_t pid[4];

	NEED_CPUS(2);
	ASSERT_TRUE(next_objects(ctl, fd));
	for (i = 0; i < 4; i++) {
		ASSERT_OK(pipe2(wake[i], O_CLOEXEC));
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (!pid[i]) {
			int j;

			for (j = 0; j <= i; j++)
				close(wake[j][1]);
			takes_turns(ctl, fd, has[i], wake[i][0]);
		}
	}
	ASSERT_TRUE(pin(0));
	for (turn = 1; turn <= ARRAY_SIZE(order); turn++) {
		uint64_t stale = ctl->stale;

		i = order[turn - 1];
		ASSERT_EQ(sizeof(turn), write(wake[i][1], &turn, sizeof(turn)));
		ASSERT_TRUE(is_turn(&ctl->ready, turn));
		ASSERT_TRUE(next_objects(ctl, fd));
		ctl->go = turn;
		ASSERT_TRUE(is_turn(&ctl->done, turn));
		EXPECT_EQ(stale, ctl->stale) {
			TH_LOG("turn %d, process %d after %d", turn, i,
			       turn > 1 ? order[turn - 2] : -1);
		}
		sleep_ms(5);
		ASSERT_TRUE(next_objects(ctl, fd));
	}
	for (i = 0; i < 4; i++)
		close(wake[i][1]);
	for (i = 0; i < 4; i++)
		EXPECT_EQ(0, wait_for(pid[i]));
}

/* T4, C4: the guest sleeps, its CPU is idle and lazily keeps its page tables. */
static void lazy(struct __test_metadata *_metadata, change_fn *change, enum loop loop)
{
	struct place at = {
		.fd = region(4 * GIB),
		.file = memfd(FILE_SIZE, 0),
		.ctl = control(),
	};
	struct control *ctl = at.ctl;
	int wake[2];
	pid_t pid;

	ASSERT_LE(0, at.fd);
	ASSERT_OK(pipe(wake));
	ASSERT_EQ(0, map_file(at.fd, 0, FILE_SIZE, RW, at.file));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		volatile char *p = mshare_attach(at.fd, NULL, 0);
		char byte;

		CHILD_CHECK(p != MAP_FAILED && pin(1));
		die_by_fault(ctl);
		p[BUSY] = 1;
		ctl->ready = 1;
		CHILD_CHECK(read(wake[0], &byte, 1) == 1);
		byte = p[BUSY];
		if (loop != VALUES || byte)
			ctl->stale++;
		ctl->fault = WAS_TOLD;
		_exit(0);
	}
	ASSERT_TRUE(pin(0));
	ASSERT_TRUE(await(&ctl->ready));
	sleep_ms(20);
	ASSERT_OK(change(&at));
	ASSERT_EQ(1, write(wake[1], "x", 1));
	end_of_guest(_metadata, ctl, pid, loop == VALUES ? WAS_TOLD : FAULT_MAPERR);
	close(wake[0]);
	close(wake[1]);
	close(at.fd);
	close(at.file);
}

TEST(a_sleeper_on_an_idle_cpu_wakes_to_a_fault)
{
	int round;

	NEED_CPUS(2);
	for (round = 0; round < 5; round++)
		lazy(_metadata, unmap_page, LOADS);
}

TEST(a_sleeper_on_an_idle_cpu_wakes_without_page_tables)
{
	int round;

	NEED_CPUS(2);
	for (round = 0; round < 5; round++)
		lazy(_metadata, unmap_tables, LOADS);
}

TEST(a_sleeper_on_an_idle_cpu_wakes_to_a_hole)
{
	int round;

	NEED_CPUS(2);
	for (round = 0; round < 5; round++)
		lazy(_metadata, punch, VALUES);
}

/* T5, C2: the caller is the only one to flush, itself and no other CPU. */
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

/* A file on a disk whose pages reclaim can take, and who takes them. */
struct reclaim {
	int fd, file;
	char cgroup[64];
};

#define RECLAIMED	64

/* Clean pages that are full of VALUE, charged to the cgroup if there is one. */
static void write_file(struct __test_metadata *_metadata, struct reclaim *r, int value)
{
	IN_CHILD({
		char path[96], page[PAGE];
		int i;

		sprintf(path, "%s/cgroup.procs", r->cgroup);
		CHILD_CHECK(!*r->cgroup || write_text(path, "0"));
		memset(page, value, sizeof(page));
		for (i = 0; i < RECLAIMED; i++)
			CHILD_CHECK(pwrite(r->file, page, PAGE, i * PAGE) == PAGE);
		CHILD_CHECK(!fsync(r->file));
	});
}

/* False if there is nothing to do it with, and the test has been skipped. */
static bool reclaim_setup(struct __test_metadata *_metadata, struct reclaim *r, bool cgroup)
{
	const char *dir = disk_mount();
	char path[256];

	memset(r, 0, sizeof(*r));
	if (!dir)
		SKIP(return false, NO_DISK);
	if (cgroup) {
		if (!cgroup_make(r->cgroup, sizeof(r->cgroup)) ||
		    access(cgroup_file(r->cgroup, "memory.reclaim"), F_OK))
			SKIP(return false, "no cgroup2 with memory at /sys/fs/cgroup: %m");
	}
	sprintf(path, "%s/reclaim", dir);
	r->file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	ASSERT_LE(0, r->file);
	write_file(_metadata, r, 1);
	r->fd = region(GIB);
	ASSERT_LE(0, r->fd);
	ASSERT_EQ(0, map_file(r->fd, 0, RECLAIMED * PAGE, RW, r->file));
	return true;
}

/*
 * Until no page is left in the region's tables.  Advice cannot take the pages that
 * the CPU of their writer still keeps from the LRU; they are drained only if there
 * are some, since that switches tasks on the guest's CPU.
 */
static bool reclaim_all(struct reclaim *r)
{
	char path[96];
	int i;

	sprintf(path, "%s/memory.reclaim", r->cgroup);
	for (i = 0; i < 100 && stat_of(r->fd).resident; i++) {
		if (*r->cgroup) {
			write_text(path, "1M");
			continue;
		}
		if (i)
			lru_drain();
		mshare_advise(r->fd, 0, RECLAIMED * PAGE, MADV_PAGEOUT, 0);
	}
	return !stat_of(r->fd).resident;
}

static void reclaim_end(struct reclaim *r)
{
	close(r->fd);
	close(r->file);
	if (*r->cgroup)
		rmdir(r->cgroup);
}

/*
 * C5: pages that a guest on CPU 1 has in its TLB are reclaimed, with a batched
 * flush; then the file gets new ones.  The guest only spins meanwhile.
 */
static void reclaimed(struct __test_metadata *_metadata, bool cgroup)
{
	struct control *ctl = control();
	struct reclaim r;
	int round, i;
	pid_t pid;

	NEED_CPUS(2);
	if (!reclaim_setup(_metadata, &r, cgroup))
		return;
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		volatile uint8_t *p = mshare_attach(r.fd, NULL, MSHARE_ATTACH_RDONLY);

		CHILD_CHECK(p != MAP_FAILED && pin(1));
		die_by_fault(ctl);
		while (!ctl->done) {
			int turn = ctl->go;

			if (turn == ctl->ready)
				continue;
			for (i = 0; i < RECLAIMED; i++)
				if (p[i * PAGE] != turn)
					ctl->stale++;
			/* Once more: the TLB has them all. */
			for (i = 0; i < RECLAIMED; i++)
				(void)p[i * PAGE];
			ctl->ready = turn;
		}
		ctl->fault = WAS_TOLD;
		_exit(0);
	}
	ASSERT_TRUE(pin(0));
	for (round = 1; round <= 10; round++) {
		ctl->go = round;
		ASSERT_TRUE(is_turn(&ctl->ready, round));
		EXPECT_EQ(RECLAIMED * PAGE, stat_of(r.fd).resident);
		ASSERT_TRUE(reclaim_all(&r));
		write_file(_metadata, &r, round + 1);
	}
	ctl->done = 1;
	end_of_guest(_metadata, ctl, pid, WAS_TOLD);
	reclaim_end(&r);
}

TEST(pages_taken_by_MADV_PAGEOUT_are_not_seen_again)
{
	reclaimed(_metadata, false);
}

TEST(pages_taken_by_memory_reclaim_are_not_seen_again)
{
	reclaimed(_metadata, true);
}

/* T5: the only guest takes them itself, on its own CPU. */
TEST(pages_that_the_reader_itself_reclaims_are_not_seen_again)
{
	volatile uint8_t *p;
	struct reclaim r;
	int round, i, old = 0;

	if (!reclaim_setup(_metadata, &r, false))
		return;
	ASSERT_TRUE(pin(0));
	p = mshare_attach(r.fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, p);
	for (round = 2; round <= 10; round++) {
		char page[PAGE];

		for (i = 0; i < RECLAIMED; i++)
			(void)p[i * PAGE];
		EXPECT_EQ(RECLAIMED * PAGE, stat_of(r.fd).resident);
		ASSERT_TRUE(reclaim_all(&r));
		memset(page, round, sizeof(page));
		for (i = 0; i < RECLAIMED; i++)
			ASSERT_EQ(PAGE, pwrite(r.file, page, PAGE, i * PAGE));
		for (i = 0; i < RECLAIMED; i++)
			old += p[i * PAGE] != round;
		/* Not before: it waits, and the TLB of who comes back is empty. */
		ASSERT_OK(fsync(r.file));
	}
	EXPECT_EQ(0, old);
	ASSERT_OK(mshare_detach((void *)p, 0));
	reclaim_end(&r);
}

/*
 * T6: write-back makes pages clean and read-only.  A store through an old
 * translation would not make its page dirty again, and be lost with the page.
 */
TEST(stores_after_a_write_back_are_not_lost)
{
	struct control *ctl = control();
	struct reclaim r;
	int round, lost = 0;
	pid_t pid;

	NEED_CPUS(2);
	if (!reclaim_setup(_metadata, &r, false))
		return;
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		volatile uint64_t *p = mshare_attach(r.fd, NULL, 0);

		CHILD_CHECK(p != MAP_FAILED && pin(1));
		die_by_fault(ctl);
		while (!ctl->done) {
			int turn = ctl->go;

			if (turn == ctl->ready)
				continue;
			*p = turn;
			ctl->ready = turn;
		}
		ctl->fault = WAS_TOLD;
		_exit(0);
	}
	ASSERT_TRUE(pin(0));
	for (round = 1; round <= 20; round += 2) {
		uint64_t value;

		ctl->go = round;
		ASSERT_TRUE(is_turn(&ctl->ready, round));
		ASSERT_OK(fsync(r.file));
		ctl->go = round + 1;
		ASSERT_TRUE(is_turn(&ctl->ready, round + 1));
		ASSERT_TRUE(reclaim_all(&r));
		ASSERT_EQ(sizeof(value), pread(r.file, &value, sizeof(value), 0));
		lost += value != round + 1;
	}
	EXPECT_EQ(0, lost);
	ctl->done = 1;
	end_of_guest(_metadata, ctl, pid, WAS_TOLD);
	reclaim_end(&r);
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
		for (round = 0; round < 5; round++)
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
	for (round = 0; round < 10; round++) {
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
		ASSERT_TRUE(await(&s.ready));
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

/* C1: the attachment is new while a sibling already runs on another CPU. */
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
	for (round = 0; round < 6; round++) {
		struct control *ctl = control();
		struct place at = { .fd = region(GIB) };
		pthread_t thread;
		char *p;

		ASSERT_LE(0, at.fd);
		ASSERT_EQ(BUSY, map_anon(at.fd, BUSY, PAGE, RW));
		ASSERT_OK(pthread_create(&thread, NULL, late_reader, ctl));
		ASSERT_TRUE(pin(0));
		ASSERT_TRUE(await(&ctl->ready));
		p = mshare_attach(at.fd, NULL, 0);
		ASSERT_NE(MAP_FAILED, p);
		p[BUSY] = 1;
		ctl->value = (uint64_t)p + BUSY;
		while (ctl->beats < 1000)
			;
		if (round & 1) {
			EXPECT_OK(replace(&at));
		} else {
			/* From a process that is no guest at all. */
			IN_CHILD({
				CHILD_CHECK(!mshare_detach(p, 0));
				CHILD_CHECK(!replace(&at));
			});
		}
		ctl->go = 1;
		sleep_ms(10);
		ctl->done = 1;
		ASSERT_OK(pthread_join(thread, NULL));
		EXPECT_EQ(0, ctl->stale);
		ASSERT_OK(mshare_detach(p, 0));
		close(at.fd);
		munmap(ctl, PAGE);
	}
}

TEST_HARNESS_MAIN
