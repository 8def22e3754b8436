// SPDX-License-Identifier: GPL-2.0
/*
 * Changes of a region get their turn among faults without end, and among calls that look
 * at all of a large region.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"
#include "pagemap.h"

/* Endless faults that take long, because each page is filled with zeroes first. */
#define FAULTERS	6

TEST(a_change_gets_its_turn_among_faults_that_never_end)
{
	volatile unsigned long *counts = shared_page();
	volatile int *done = (void *)(counts + FAULTERS);
	int fd = region(GIB), i, result = -1;
	pid_t pid[FAULTERS], change;
	char *addr;

	ASSERT_LE(0, fd);
	if (!huge_pages(HUGE, FAULTERS))
		SKIP(return, "no huge pages of 2 MiB");
	ASSERT_EQ(0, map_obj(fd, 0, FAULTERS * HUGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB,
			     -1, 0));
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	for (i = 0; i < FAULTERS; i++) {
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (!pid[i]) {
			for (;;) {
				*(volatile char *)(addr + i * HUGE) = 1;
				CHILD_CHECK(!mshare_advise(fd, i * HUGE, HUGE, MADV_REMOVE, 0));
				counts[i]++;
			}
		}
	}
	for (i = 0; i < FAULTERS; i++)
		ASSERT_TRUE(BECOMES(counts[i]));
	change = fork();
	ASSERT_LE(0, change);
	if (!change) {
		for (*done = 0; *done < 20; ++*done) {
			int prot = *done & 1 ? RW : RW | PROT_EXEC;

			CHILD_CHECK(!mshare_protect(fd, 0, FAULTERS * HUGE, prot, 0));
			CHILD_CHECK(!mshare_advise(fd, 0, FAULTERS * HUGE, MADV_RANDOM, 0));
		}
		_exit(0);
	}
	EXPECT_TRUE(BECOMES(ended(change, &result))) {
		TH_LOG("%d of 20 changes are done", *done);
	}
	EXPECT_EQ(0, result);
	/* Nor do the others starve. */
	for (i = 0; i < FAULTERS; i++) {
		unsigned long before = counts[i];

		EXPECT_TRUE(BECOMES(counts[i] > before + 1));
		TH_LOG("process %d: %lu faults", i, counts[i]);
	}
	kill(change, SIGKILL);
	for (i = 0; i < FAULTERS; i++) {
		kill(pid[i], SIGKILL);
		wait_for(pid[i]);
	}
}

/* The same 2 MiB again and again: page tables for a lot, that are quick to make. */
#define COPIES		4096

#define LOOKS		5

/*
 * How long a change, at OFFSET, waits at most for one system call that looks at the
 * region, in percent of the time that this takes.  The median of several calls:
 * processors of a guest may stand still at any time.
 */
static uint64_t longest_wait(struct __test_metadata *_metadata, int fd, uint64_t offset,
			     bool (*look)(int))
{
	volatile struct {
		int stop, changes;
		uint64_t worst;
	} *other = shared_page();
	uint64_t percent[LOOKS], middle, start, took;
	pid_t pid;
	int i;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		while (!other->stop) {
			start = now_ns();
			if (other->changes & 1)
				CHILD_CHECK(!mshare_unmap(fd, offset, PAGE, 0));
			else
				CHILD_CHECK(map_anon(fd, offset, PAGE, RW) == (int64_t)offset);
			took = now_ns() - start;
			if (took > other->worst)
				other->worst = took;
			other->changes++;
		}
		_exit(0);
	}
	for (i = 0; i < LOOKS; i++) {
		int changes = other->changes;

		EXPECT_TRUE(BECOMES(other->changes > changes));
		other->worst = 0;
		start = now_ns();
		EXPECT_TRUE(look(fd)) {
			TH_LOG("%m");
		}
		took = now_ns() - start;
		/* The one that waits has not yet told. */
		changes = other->changes;
		EXPECT_TRUE(BECOMES(other->changes > changes));
		percent[i] = other->worst * 100 / took;
	}
	other->stop = 1;
	EXPECT_EQ(0, wait_for(pid));
	middle = median(percent, LOOKS);
	TH_LOG("a change waits for %lu to %lu percent of a look, the median %lu", percent[0],
	       percent[LOOKS - 1], middle);
	return middle;
}

/* A region with page tables for 8 GiB. */
static int large_region(struct __test_metadata *_metadata)
{
	int fd = region(16 * GIB), file = memfd(HUGE, 0), i;

	ASSERT_LE(0, fd);
	for (i = 0; i < HUGE; i += PAGE)
		ASSERT_EQ(1, pwrite(file, "x", 1, i));
	for (i = 0; i < COPIES; i++)
		ASSERT_EQ(i * HUGE, map_file(fd, i * HUGE, HUGE, PROT_READ, file));
	ASSERT_OK(mshare_advise(fd, 0, COPIES * HUGE, MADV_POPULATE_READ, 0));
	return fd;
}

static char *scanned;

static bool scan_all(int fd)
{
	static int maps = -1;
	struct pm_scan_arg scan = {
		.size = sizeof(scan), .start = (uintptr_t)scanned,
		.end = (uintptr_t)scanned + SLOT, .category_mask = PAGE_IS_SWAPPED,
		.return_mask = PAGE_IS_SWAPPED,
	};

	(void)fd;
	if (maps < 0)
		maps = open("/proc/self/pagemap", O_RDONLY);
	/* Pages that are swapped: there are none, so it never has enough. */
	return !ioctl(maps, PAGEMAP_SCAN, &scan) && scan.walk_end == scan.end;
}

/* Any process that has it attached, though only for reading, may look at all of it. */
TEST(who_looks_at_all_of_it_lets_changes_in_between)
{
	int fd = large_region(_metadata);

	scanned = mshare_attach(fd, NULL, MSHARE_ATTACH_RDONLY);
	ASSERT_NE(MAP_FAILED, scanned);
	/* There are 8 GiB. */
	EXPECT_GE(50, longest_wait(_metadata, fd, 15 * GIB, scan_all));
}

static bool advise_all(int fd)
{
	return !mshare_advise(fd, 0, COPIES * HUGE, MADV_COLD, 0);
}

TEST(who_advises_on_all_of_it_lets_changes_in_between)
{
	int fd = large_region(_metadata);

	EXPECT_GE(50, longest_wait(_metadata, fd, 15 * GIB, advise_all));
}

/* Or fewer: as many as a slow kernel makes in some seconds. */
#define OBJECTS		50000
#define SECONDS		8
static int objects;

/* Any descriptor will do to list the objects, and to count them. */
static int seen_by;

static bool list_all(int fd)
{
	static char text[64 * KIB];
	char path[40];
	ssize_t n;
	int info;

	(void)fd;
	sprintf(path, "/proc/self/fdinfo/%d", seen_by);
	info = open(path, O_RDONLY);
	/* The first call collects all of it, in larger and larger buffers. */
	n = read(info, text, sizeof(text));
	close(info);
	return n > 0;
}

static bool count_all(int fd)
{
	struct mshare_stat st;

	(void)fd;
	return !mshare_stat(seen_by, &st, sizeof(st), 0) && st.objects >= objects;
}

static int region_of_objects(struct __test_metadata *_metadata)
{
	uint64_t end = now_ns() + SECONDS * 1000000000ULL;
	int fd = region(GIB), file = memfd(MIB, 0), i;

	ASSERT_LE(0, fd);
	for (i = 0; i < OBJECTS && now_ns() < end; i++)
		ASSERT_EQ(i * PAGE, map_file(fd, i * PAGE, PAGE, i & 1 ? RW : PROT_READ, file));
	objects = i;
	seen_by = mshare_reopen_rdonly(fd);
	ASSERT_LE(0, seen_by);
	return fd;
}

TEST(who_lists_the_objects_lets_changes_in_between)
{
	int fd = region_of_objects(_metadata);

	EXPECT_GE(10, longest_wait(_metadata, fd, GIB / 2, list_all));
}

TEST(who_counts_the_objects_lets_changes_in_between)
{
	int fd = region_of_objects(_metadata);

	EXPECT_GE(50, longest_wait(_metadata, fd, GIB / 2, count_all));
}

TEST_HARNESS_MAIN
