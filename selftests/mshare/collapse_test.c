// SPDX-License-Identifier: GPL-2.0
/*
 * Small pages become huge ones and huge ones small, while processes use the
 * object: words keep their values.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "crew.h"

#include <linux/falloc.h>

#define SIZE	(2 * HUGE)
#define THP	"/sys/kernel/mm/transparent_hugepage/"
#define SPLIT	"/sys/kernel/debug/split_huge_pages"

FIXTURE(collapse) {
	int fd, file;
	char *addr, *plain;
};

/* Huge pages only where they are asked for. */
FIXTURE_SETUP(collapse)
{
	if (!shmem_thp())
		SKIP(return, NO_THP);
	self->fd = region(GIB);
	ASSERT_LE(0, self->fd);
	self->addr = attached(self->fd, 0, 0);
	ASSERT_NE(NULL, self->addr);
	self->file = memfd(SIZE, 0);
	ASSERT_LE(0, self->file);
	/* Where huge pages of the file would fit, and no region. */
	self->plain = mmap((void *)(20 * SLOT), SIZE, RW, MAP_SHARED | MAP_FIXED_NOREPLACE,
			   self->file, 0);
	ASSERT_NE(MAP_FAILED, self->plain);
	ASSERT_EQ(0, map_file(self->fd, 0, SIZE, RW, self->file));
}

FIXTURE_TEARDOWN(collapse)
{
	write_text(THP "shmem_enabled", "never");
	EXPECT_OK(mshare_detach(self->addr, 0));
	EXPECT_OK(close(self->fd));
	EXPECT_EQ(0, settled());
}

/* How much of the file is huge pages, mapped as such or not. */
static long long huge_memory(void)
{
	return meminfo("ShmemHugePages:") * KIB;
}

static bool split(const void *addr, uint64_t length)
{
	char text[64];

	sprintf(text, "%d,%#lx,%#lx", getpid(), (long)addr, (long)addr + (long)length);
	return write_text(SPLIT, text);
}

TEST_F(collapse, words_stay_when_pages_are_collapsed_and_split)
{
	long long none = huge_memory(), mapped = meminfo("ShmemPmdMapped:");
	int i, tries, done = 0, rounds = 10;
	struct crew *crew;

	crew = crew_start(self->fd, 0, SIZE, 3);
	ASSERT_NE(NULL, crew);
	/* Collapsing wants to find a page table. */
	sum(self->plain, SIZE);
	for (i = 0; i < rounds; i++) {
		bool good = false;

		ASSERT_TRUE(crew_advances(crew, 1));
		/* A page that is in use just now may be in its way: then they rest more. */
		for (tries = 0; tries < 100 && !good; tries++) {
			crew->rest = tries * 10;
			if (i & 1)
				good = !mshare_advise(self->fd, 0, SIZE, MADV_COLLAPSE, 0);
			else
				good = !madvise(self->plain, SIZE, MADV_COLLAPSE);
			if (!good)
				sleep_ms(10);
		}
		if (!good)
			TH_LOG("round %d: %m", i);
		crew->rest = 0;
		done += good;
		ASSERT_TRUE(crew_advances(crew, 1));
		if (i & 1 && huge_memory() == none + SIZE)
			EXPECT_LT(mapped, meminfo("ShmemPmdMapped:"));
		/* So that they are found in our mapping. */
		sum(self->plain, SIZE);
		ASSERT_TRUE(split(self->plain, SIZE));
	}
	EXPECT_LE(rounds / 2, done);
	TH_LOG("%d of %d times all was collapsed", done, rounds);
	EXPECT_EQ(0, crew_ends(crew, self->addr));
}

TEST_F(collapse, a_hole_in_a_huge_page_splits_it)
{
	long long none = huge_memory();
	struct crew *crew;
	uint64_t i;
	int round;

	ASSERT_OK(mshare_advise(self->fd, 0, SIZE, MADV_HUGEPAGE, 0));
	/* On all pages but the last. */
	crew = crew_start(self->fd, 0, SIZE - PAGE, 3);
	ASSERT_NE(NULL, crew);
	for (round = 0; round < 5; round++) {
		char *last = self->addr + SIZE - PAGE;

		ASSERT_TRUE(crew_advances(crew, 1));
		if (!round)
			EXPECT_LT(none, huge_memory());
		fill(last, PAGE, 1);
		if (round & 1)
			ASSERT_OK(mshare_advise(self->fd, SIZE - PAGE, PAGE, MADV_REMOVE, 0));
		else
			ASSERT_OK(fallocate(self->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					    SIZE - PAGE, PAGE));
		for (i = 0; i < PAGE; i += 8)
			ASSERT_EQ(0, *(uint64_t *)(last + i));
		mshare_advise(self->fd, 0, SIZE, MADV_COLLAPSE, 0);
	}
	EXPECT_EQ(0, crew_ends(crew, self->addr));
}

TEST_F(collapse, truncation_in_the_middle_of_a_huge_page)
{
	uint64_t half = HUGE + HUGE / 2;

	ASSERT_OK(mshare_advise(self->fd, 0, SIZE, MADV_HUGEPAGE, 0));
	fill(self->addr, SIZE, 1);
	ASSERT_OK(ftruncate(self->file, half));
	EXPECT_EQ(0, wrong(self->addr, half, 1));
	EXPECT_EQ(FAULT_BUS, try_load(self->addr + half));
	EXPECT_EQ(FAULT_BUS, try_store(self->addr + SIZE - 1, 1));
	ASSERT_OK(ftruncate(self->file, SIZE));
	EXPECT_EQ(0, wrong(self->addr, half, 1));
	EXPECT_EQ(0, self->addr[half]);
	EXPECT_EQ(0, self->addr[SIZE - 1]);
}

/* The daemon finds a region as it finds a process. */
TEST_F(collapse, words_stay_when_khugepaged_collapses)
{
	long long none = huge_memory(), sleeps = read_number(THP "khugepaged/scan_sleep_millisecs");
	struct crew *crew;

	ASSERT_TRUE(write_number(THP "khugepaged/scan_sleep_millisecs", 10));
	ASSERT_TRUE(write_number(THP "khugepaged/alloc_sleep_millisecs", 10));
	crew = crew_start(self->fd, 0, SIZE, 2);
	ASSERT_NE(NULL, crew);
	ASSERT_TRUE(crew_advances(crew, 1));
	EXPECT_EQ(none, huge_memory());
	ASSERT_OK(mshare_advise(self->fd, 0, SIZE, MADV_HUGEPAGE, 0));
	BECOMES(huge_memory() >= none + SIZE);
	EXPECT_EQ(none + SIZE, huge_memory());
	EXPECT_TRUE(crew_advances(crew, 2));
	EXPECT_EQ(0, crew_ends(crew, self->addr));
	write_number(THP "khugepaged/scan_sleep_millisecs", sleeps);
}

TEST_HARNESS_MAIN
