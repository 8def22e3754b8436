// SPDX-License-Identifier: GPL-2.0
/* mshare_protect(). */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

FIXTURE(protect) {
	int fd;
	char *addr;
};

FIXTURE_SETUP(protect)
{
	self->addr = filled_region(&self->fd, MSHARE_ATTACH_EXEC, MIB);
	ASSERT_NE(NULL, self->addr);
}

FIXTURE_TEARDOWN(protect)
{
	EXPECT_OK(mshare_detach(self->addr, 0));
}

TEST_F(protect, read_only_none_and_back)
{
	ASSERT_OK(mshare_protect(self->fd, 0, MIB, PROT_READ, 0));
	EXPECT_EQ(FAULT_NONE, try_load(self->addr));
	EXPECT_EQ(FAULT_ACCERR, try_store(self->addr, 1));
	ASSERT_OK(mshare_protect(self->fd, 0, MIB, PROT_NONE, 0));
	EXPECT_EQ(FAULT_ACCERR, try_load(self->addr));
	EXPECT_EQ(FAULT_ACCERR, try_store(self->addr + MIB - 1, 1));
	ASSERT_OK(mshare_protect(self->fd, 0, MIB, RW, 0));
	EXPECT_EQ(0, wrong(self->addr, MIB, 1));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr, 1));
	EXPECT_EQ(MIB, stat_of(self->fd).resident);
}

TEST_F(protect, execution)
{
	self->addr[0] = (char)0xc3;
	EXPECT_EQ(FAULT_ACCERR, try_exec(self->addr));
	ASSERT_OK(mshare_protect(self->fd, 0, PAGE, PROT_READ | PROT_EXEC, 0));
	EXPECT_EQ(FAULT_NONE, try_exec(self->addr));
	EXPECT_EQ(FAULT_ACCERR, try_store(self->addr, 1));
	ASSERT_OK(mshare_protect(self->fd, 0, PAGE, RW, 0));
	EXPECT_EQ(FAULT_ACCERR, try_exec(self->addr));
}

TEST_F(protect, memory_never_touched)
{
	ASSERT_EQ(MIB, map_anon(self->fd, MIB, MIB, RW));
	ASSERT_OK(mshare_protect(self->fd, MIB, MIB, PROT_READ, 0));
	EXPECT_EQ(FAULT_ACCERR, try_store(self->addr + MIB, 1));
	EXPECT_EQ(FAULT_NONE, try_load(self->addr + MIB));
	ASSERT_OK(mshare_protect(self->fd, MIB, MIB, PROT_NONE, 0));
	EXPECT_EQ(FAULT_ACCERR, try_load(self->addr + MIB + PAGE));
}

TEST_F(protect, a_part_splits_and_merges)
{
	ASSERT_OK(mshare_protect(self->fd, 4 * PAGE, PAGE, PROT_READ, 0));
	EXPECT_EQ(3, stat_of(self->fd).objects);
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + 4 * PAGE - 1, 0));
	EXPECT_EQ(FAULT_ACCERR, try_store(self->addr + 4 * PAGE, 0));
	EXPECT_EQ(FAULT_ACCERR, try_store(self->addr + 5 * PAGE - 1, 0));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + 5 * PAGE, 0));
	ASSERT_OK(mshare_protect(self->fd, 0, MIB, RW, 0));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + 4 * PAGE, 0));
	EXPECT_GE(3, stat_of(self->fd).objects);
	EXPECT_EQ(MIB, stat_of(self->fd).mapped);
}

TEST_F(protect, the_length_is_rounded_up)
{
	ASSERT_OK(mshare_protect(self->fd, 0, 1, PROT_READ, 0));
	EXPECT_EQ(FAULT_ACCERR, try_store(self->addr + PAGE - 1, 1));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + PAGE, 1));
}

TEST_F(protect, several_objects_at_once)
{
	int file = memfd(MIB, 0);

	ASSERT_EQ(MIB, map_file(self->fd, MIB, MIB, RW, file));
	ASSERT_EQ(2 * MIB, map_anon(self->fd, 2 * MIB, MIB, PROT_NONE));
	ASSERT_OK(mshare_protect(self->fd, 64 * KIB, 3 * MIB - 128 * KIB, PROT_READ, 0));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + 64 * KIB - 1, 1));
	EXPECT_EQ(FAULT_ACCERR, try_store(self->addr + 64 * KIB, 1));
	EXPECT_EQ(FAULT_ACCERR, try_store(self->addr + MIB, 1));
	EXPECT_EQ(FAULT_NONE, try_load(self->addr + 2 * MIB));
	EXPECT_EQ(FAULT_ACCERR, try_load(self->addr + 3 * MIB - 1));
	EXPECT_EQ(5, stat_of(self->fd).objects);
}

TEST_F(protect, a_hole_is_ENOMEM_and_nothing_changed)
{
	struct snap before, after;

	ASSERT_EQ(2 * MIB, map_anon(self->fd, 2 * MIB, MIB, RW));
	before = snap_take(self->fd, self->addr, MIB);
	EXPECT_ERR(ENOMEM, mshare_protect(self->fd, 0, 3 * MIB, PROT_READ, 0));
	EXPECT_ERR(ENOMEM, mshare_protect(self->fd, 0, MIB + PAGE, PROT_READ, 0));
	EXPECT_ERR(ENOMEM, mshare_protect(self->fd, MIB, PAGE, PROT_READ, 0));
	EXPECT_ERR(ENOMEM, mshare_protect(self->fd, 2 * MIB - PAGE, 2 * PAGE, PROT_READ, 0));
	EXPECT_ERR(ENOMEM, mshare_protect(self->fd, 8 * MIB, PAGE, PROT_READ, 0));
	EXPECT_ERR(ENOMEM, mshare_protect(self->fd, GIB, PAGE, PROT_READ, 0));
	EXPECT_ERR(ENOMEM, mshare_protect(self->fd, 0, 2 * GIB, PROT_READ, 0));
	after = snap_take(self->fd, self->addr, MIB);
	EXPECT_TRUE(snap_same(&before, &after));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr, 1));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + 2 * MIB, 1));
}

TEST_F(protect, an_object_that_does_not_allow_it_stops_the_call_before_anything_changed)
{
	struct snap before, after;
	char path[64];
	int file = memfd(MIB, 0), ro;

	sprintf(path, "/proc/self/fd/%d", file);
	ro = open(path, O_RDONLY);
	ASSERT_LE(0, ro);
	ASSERT_OK(mshare_protect(self->fd, 0, MIB, PROT_READ, 0));
	ASSERT_EQ(MIB, map_file(self->fd, MIB, MIB, PROT_READ, ro));
	before = snap_take(self->fd, self->addr, 2 * MIB);
	EXPECT_ERR(EACCES, mshare_protect(self->fd, 0, 2 * MIB, RW, 0));
	after = snap_take(self->fd, self->addr, 2 * MIB);
	EXPECT_TRUE(snap_same(&before, &after));
	EXPECT_EQ(FAULT_ACCERR, try_store(self->addr, 1));
}

TEST_F(protect, unknown_prot_is_EINVAL)
{
	unsigned int bit;

	for (bit = 16; bit; bit <<= 1)
		EXPECT_ERR(EINVAL, mshare_protect(self->fd, 0, PAGE, PROT_READ | bit, 0));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr, 1));
}

TEST_F(protect, is_in_force_in_every_process)
{
	volatile int *flag = shared_page();
	pid_t pid;

	ASSERT_NE(NULL, (void *)flag);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		char *second = mshare_attach(self->fd, NULL, 0);

		CHILD_CHECK(second != MAP_FAILED);
		self->addr[0] = 1;
		second[PAGE] = 1;
		flag[0] = 1;
		CHILD_CHECK(await(&flag[1]));
		CHILD_CHECK(try_store(second + PAGE, 1) == FAULT_ACCERR);
		CHILD_CHECK(try_store(self->addr, 1) == FAULT_ACCERR);
		_exit(0);
	}
	ASSERT_TRUE(await(&flag[0]));
	ASSERT_OK(mshare_protect(self->fd, 0, MIB, PROT_READ, 0));
	flag[1] = 1;
	EXPECT_EQ(0, wait_for(pid));
}

TEST_F(protect, a_transparent_huge_page_is_split)
{
	if (!shmem_thp())
		SKIP(return, NO_THP);
	ASSERT_EQ(2 * HUGE, map_anon(self->fd, 2 * HUGE, 2 * HUGE, RW));
	ASSERT_OK(mshare_advise(self->fd, 2 * HUGE, 2 * HUGE, MADV_HUGEPAGE, 0));
	fill(self->addr + 2 * HUGE, 2 * HUGE, 3);
	ASSERT_OK(mshare_protect(self->fd, 2 * HUGE + 5 * PAGE, PAGE, PROT_READ, 0));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + 2 * HUGE + 4 * PAGE, 1));
	EXPECT_EQ(FAULT_ACCERR, try_store(self->addr + 2 * HUGE + 5 * PAGE, 1));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + 2 * HUGE + 6 * PAGE, 1));
	fill(self->addr + 2 * HUGE, 5 * PAGE, 3);
	ASSERT_OK(mshare_unmap(self->fd, 2 * HUGE, HUGE + PAGE, 0));
	EXPECT_EQ(FAULT_MAPERR, try_load(self->addr + 3 * HUGE));
	EXPECT_EQ(FAULT_NONE, try_load(self->addr + 3 * HUGE + PAGE));
}

TEST_HARNESS_MAIN
