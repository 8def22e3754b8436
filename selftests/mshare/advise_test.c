// SPDX-License-Identifier: GPL-2.0
/* mshare_advise(). */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <sys/swap.h>
#include <sys/wait.h>

FIXTURE(advise) {
	int fd;
	char *addr;
};

FIXTURE_SETUP(advise)
{
	self->addr = filled_region(&self->fd, 0, MIB);
	ASSERT_NE(NULL, self->addr);
}

FIXTURE_TEARDOWN(advise)
{
	EXPECT_OK(mshare_detach(self->addr, 0));
}

TEST_F(advise, hints_change_nothing_visible)
{
	static const int hints[] = { MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED,
				     MADV_COLD };
	unsigned int i;

	for (i = 0; i < sizeof(hints) / sizeof(hints[0]); i++) {
		EXPECT_OK(mshare_advise(self->fd, 0, MIB, hints[i], 0));
		EXPECT_OK(mshare_advise(self->fd, PAGE, 1, hints[i], 0));
	}
	EXPECT_EQ(0, wrong(self->addr, MIB, 1));
}

TEST_F(advise, others_are_EINVAL)
{
	static const int bad[] = {
		MADV_FREE, MADV_DONTFORK, MADV_DOFORK, MADV_MERGEABLE, MADV_UNMERGEABLE,
		MADV_DONTDUMP, MADV_DODUMP, MADV_WIPEONFORK, MADV_KEEPONFORK, 24, 26, 100, 101,
		102, 103, 5, 6, 7, 1000, -1,
	};
	struct snap before = snap_take(self->fd, self->addr, MIB), after;
	unsigned int i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		EXPECT_ERR(EINVAL, mshare_advise(self->fd, 0, PAGE, bad[i], 0));
	after = snap_take(self->fd, self->addr, MIB);
	EXPECT_TRUE(snap_same(&before, &after));
}

TEST_F(advise, DONTNEED_drops_translations_and_keeps_the_data)
{
	EXPECT_EQ(MIB, stat_of(self->fd).resident);
	ASSERT_OK(mshare_advise(self->fd, 0, MIB, MADV_DONTNEED, 0));
	EXPECT_EQ(0, stat_of(self->fd).resident);
	EXPECT_EQ(0, wrong(self->addr, MIB, 1));
	ASSERT_OK(mshare_advise(self->fd, 0, PAGE, MADV_DONTNEED, 0));
	EXPECT_EQ(MIB - PAGE, stat_of(self->fd).resident);
}

TEST_F(advise, REMOVE_frees_the_data)
{
	long long shmem = meminfo("Shmem:"), now;
	uint64_t i;

	ASSERT_OK(mshare_advise(self->fd, 0, MIB / 2, MADV_REMOVE, 0));
	now = meminfo("Shmem:");
	EXPECT_GE(shmem - 256, now);
	EXPECT_EQ(MIB / 2, stat_of(self->fd).resident);
	for (i = 0; i < MIB / 2; i += 8)
		ASSERT_EQ(0, *(uint64_t *)(self->addr + i));
	EXPECT_EQ(1, stat_of(self->fd).objects);
	/* The other half: position and all as it was. */
	fill(self->addr, MIB / 2, 1);
	EXPECT_EQ(0, wrong(self->addr, MIB, 1));
}

TEST_F(advise, REMOVE_needs_the_right_to_write)
{
	int file = memfd(PAGE, 0), ro;
	char path[64];

	sprintf(path, "/proc/self/fd/%d", file);
	ro = open(path, O_RDONLY);
	ASSERT_LE(0, ro);
	ASSERT_EQ(4, pwrite(file, "keep", 4, 0));
	ASSERT_EQ(MIB, map_file(self->fd, MIB, PAGE, PROT_READ, ro));
	EXPECT_ERR(EACCES, mshare_advise(self->fd, MIB, PAGE, MADV_REMOVE, 0));
	EXPECT_EQ(0, memcmp(self->addr + MIB, "keep", 4));
}

TEST_F(advise, POPULATE_leaves_no_fault_to_take)
{
	uint64_t faults;

	ASSERT_EQ(MIB, map_anon(self->fd, MIB, MIB, RW));
	ASSERT_OK(mshare_advise(self->fd, MIB, MIB, MADV_POPULATE_WRITE, 0));
	EXPECT_EQ(2 * MIB, stat_of(self->fd).resident);
	faults = stat_of(self->fd).faults;
	fill(self->addr + MIB, MIB, 1);
	EXPECT_EQ(faults, stat_of(self->fd).faults);

	ASSERT_EQ(2 * MIB, map_anon(self->fd, 2 * MIB, MIB, PROT_READ));
	ASSERT_OK(mshare_advise(self->fd, 2 * MIB, MIB, MADV_POPULATE_READ, 0));
	EXPECT_EQ(3 * MIB, stat_of(self->fd).resident);
	faults = stat_of(self->fd).faults;
	sum(self->addr + 2 * MIB, MIB);
	EXPECT_EQ(faults, stat_of(self->fd).faults);
	/* As madvise(2) has it. */
	EXPECT_EQ(-1, mshare_advise(self->fd, 2 * MIB, MIB, MADV_POPULATE_WRITE, 0));
	EXPECT_TRUE(errno == EINVAL || errno == EFAULT) {
		TH_LOG("errno %d", errno);
	}
}

TEST_F(advise, POPULATE_past_the_end_of_a_file_fails)
{
	int file = memfd(PAGE, 0);

	ASSERT_EQ(MIB, map_file(self->fd, MIB, 4 * PAGE, RW, file));
	EXPECT_ERR(EFAULT, mshare_advise(self->fd, MIB, 4 * PAGE, MADV_POPULATE_READ, 0));
	EXPECT_ERR(EFAULT, mshare_advise(self->fd, MIB, 4 * PAGE, MADV_POPULATE_WRITE, 0));
	EXPECT_OK(mshare_advise(self->fd, MIB, PAGE, MADV_POPULATE_WRITE, 0));
}

TEST_F(advise, POPULATE_is_of_the_region_not_of_the_caller)
{
	/* From a process that has nothing at such addresses. */
	ASSERT_EQ(MIB, map_anon(self->fd, MIB, MIB, RW));
	IN_CHILD({
		CHILD_CHECK(!mshare_detach(self->addr, 0));
		CHILD_CHECK(!mshare_advise(self->fd, MIB, MIB, MADV_POPULATE_WRITE, 0));
		CHILD_CHECK(!mshare_advise(self->fd, 0, MIB, MADV_DONTNEED, 0));
	});
	EXPECT_EQ(MIB, stat_of(self->fd).resident);
	EXPECT_EQ(0, wrong(self->addr, MIB, 1));
}

TEST_F(advise, HUGEPAGE_and_COLLAPSE)
{
	long long huge;

	if (!shmem_thp())
		SKIP(return, NO_THP);
	ASSERT_EQ(4 * HUGE, map_anon(self->fd, 4 * HUGE, 4 * HUGE, RW));
	huge = meminfo("ShmemPmdMapped:");
	ASSERT_OK(mshare_advise(self->fd, 4 * HUGE, 2 * HUGE, MADV_HUGEPAGE, 0));
	fill(self->addr + 4 * HUGE, 2 * HUGE, 2);
	EXPECT_LE(huge + 4 * KIB, meminfo("ShmemPmdMapped:"));
	IN_CHILD(CHILD_CHECK(!wrong(self->addr + 4 * HUGE, 2 * HUGE, 2)));

	ASSERT_OK(mshare_advise(self->fd, 6 * HUGE, 2 * HUGE, MADV_NOHUGEPAGE, 0));
	huge = meminfo("ShmemPmdMapped:");
	fill(self->addr + 6 * HUGE, HUGE, 3);
	EXPECT_EQ(huge, meminfo("ShmemPmdMapped:"));

	ASSERT_EQ(10 * HUGE, map_anon(self->fd, 10 * HUGE, HUGE, RW));
	fill(self->addr + 10 * HUGE, HUGE, 4);
	ASSERT_OK(mshare_advise(self->fd, 10 * HUGE, HUGE, MADV_COLLAPSE, 0));
	EXPECT_EQ(0, wrong(self->addr + 10 * HUGE, HUGE, 4));
	EXPECT_LE(huge + 2 * KIB, meminfo("ShmemPmdMapped:"));
	EXPECT_EQ(0, wrong(self->addr + 4 * HUGE, 2 * HUGE, 2));
}

TEST_F(advise, PAGEOUT_and_back)
{
	char dev[32];
	int loop = loop_device(32 * MIB, dev, sizeof(dev));
	uint64_t swapped, resident;

	/* A swap area in memory is enough to see pages leave and come. */
	if (loop < 0 || !swap_on(dev))
		SKIP(return, "no swap (loop device, mkswap)");
	EXPECT_OK(mshare_advise(self->fd, 0, MIB, MADV_PAGEOUT, 0));
	swapped = stat_of(self->fd).swapped;
	resident = stat_of(self->fd).resident;
	EXPECT_LT(0, swapped);
	EXPECT_GT(MIB, resident);
	EXPECT_EQ(0, wrong(self->addr, MIB, 1));
	EXPECT_EQ(MIB, stat_of(self->fd).resident);
	fill(self->addr, MIB, 2);
	EXPECT_OK(mshare_advise(self->fd, 0, MIB, MADV_PAGEOUT, 0));
	IN_CHILD(CHILD_CHECK(!wrong(self->addr, MIB, 2)));
	EXPECT_OK(swapoff(dev));
	EXPECT_EQ(0, stat_of(self->fd).swapped);
	EXPECT_EQ(0, wrong(self->addr, MIB, 2));
}

TEST_F(advise, a_hole_is_ENOMEM_and_the_rest_is_advised)
{
	ASSERT_EQ(2 * MIB, map_anon(self->fd, 2 * MIB, MIB, RW));
	fill(self->addr + 2 * MIB, MIB, 1);
	EXPECT_ERR(ENOMEM, mshare_advise(self->fd, 0, 3 * MIB, MADV_DONTNEED, 0));
	EXPECT_EQ(0, stat_of(self->fd).resident);
	EXPECT_EQ(0, wrong(self->addr, MIB, 1));
	EXPECT_EQ(0, wrong(self->addr + 2 * MIB, MIB, 1));
	EXPECT_ERR(ENOMEM, mshare_advise(self->fd, 8 * MIB, MIB, MADV_NORMAL, 0));
	EXPECT_ERR(ENOMEM, mshare_advise(self->fd, GIB, PAGE, MADV_NORMAL, 0));
	EXPECT_ERR(ENOMEM, mshare_advise(self->fd, 0, 2 * GIB, MADV_NORMAL, 0));
}

TEST_F(advise, hugetlb_objects)
{
	if (!huge_pages(HUGE, 2))
		SKIP(return, "no huge pages of 2 MiB");
	ASSERT_EQ(2 * HUGE, map_obj(self->fd, 2 * HUGE, 2 * HUGE, RW,
				    MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0));
	ASSERT_OK(mshare_advise(self->fd, 2 * HUGE, 2 * HUGE, MADV_POPULATE_WRITE, 0));
	EXPECT_EQ(2 * HUGE + MIB, stat_of(self->fd).resident);
	fill(self->addr + 2 * HUGE, 2 * HUGE, 6);
	ASSERT_OK(mshare_advise(self->fd, 2 * HUGE, HUGE, MADV_DONTNEED, 0));
	EXPECT_EQ(0, wrong(self->addr + 2 * HUGE, 2 * HUGE, 6));
	ASSERT_OK(mshare_advise(self->fd, 2 * HUGE, HUGE, MADV_REMOVE, 0));
	EXPECT_EQ(0, self->addr[2 * HUGE + 8]);
}

TEST_HARNESS_MAIN
