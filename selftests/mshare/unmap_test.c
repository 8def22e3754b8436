// SPDX-License-Identifier: GPL-2.0
/* mshare_unmap(). */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

FIXTURE(unmap) {
	int fd;
	char *addr;
};

FIXTURE_SETUP(unmap)
{
	self->addr = filled_region(&self->fd, 0, 4 * MIB);
	ASSERT_NE(NULL, self->addr);
}

FIXTURE_TEARDOWN(unmap)
{
	EXPECT_OK(mshare_detach(self->addr, 0));
}

TEST_F(unmap, all_of_an_object)
{
	EXPECT_OK(mshare_unmap(self->fd, 0, 4 * MIB, 0));
	EXPECT_EQ(0, stat_of(self->fd).objects);
	EXPECT_EQ(0, stat_of(self->fd).mapped);
	EXPECT_EQ(0, stat_of(self->fd).resident);
	EXPECT_EQ(FAULT_MAPERR, try_load(self->addr));
	EXPECT_EQ(FAULT_MAPERR, try_store(self->addr + 4 * MIB - 1, 1));
}

TEST_F(unmap, a_part_of_an_object)
{
	EXPECT_OK(mshare_unmap(self->fd, MIB, MIB, 0));
	EXPECT_EQ(2, stat_of(self->fd).objects);
	EXPECT_EQ(3 * MIB, stat_of(self->fd).mapped);
	EXPECT_EQ(3 * MIB, stat_of(self->fd).resident);
	EXPECT_EQ(FAULT_NONE, try_load(self->addr + MIB - 1));
	EXPECT_EQ(FAULT_MAPERR, try_load(self->addr + MIB));
	EXPECT_EQ(FAULT_MAPERR, try_load(self->addr + 2 * MIB - 1));
	EXPECT_EQ(FAULT_NONE, try_load(self->addr + 2 * MIB));
	ASSERT_EQ(MIB, map_anon(self->fd, MIB, MIB, RW));
	EXPECT_EQ(0, self->addr[MIB]);
}

TEST_F(unmap, a_hole_and_twice)
{
	EXPECT_OK(mshare_unmap(self->fd, 8 * MIB, MIB, 0));
	EXPECT_OK(mshare_unmap(self->fd, 0, MIB, 0));
	EXPECT_OK(mshare_unmap(self->fd, 0, MIB, 0));
	/* Objects and holes in one call. */
	ASSERT_EQ(10 * MIB, map_anon(self->fd, 10 * MIB, MIB, PROT_READ));
	EXPECT_OK(mshare_unmap(self->fd, 0, GIB, 0));
	EXPECT_EQ(0, stat_of(self->fd).objects);
}

TEST_F(unmap, the_length_is_rounded_up)
{
	EXPECT_OK(mshare_unmap(self->fd, 0, 1, 0));
	EXPECT_EQ(FAULT_MAPERR, try_load(self->addr + PAGE - 1));
	EXPECT_EQ(FAULT_NONE, try_load(self->addr + PAGE));
	EXPECT_OK(mshare_unmap(self->fd, PAGE, PAGE + 1, 0));
	EXPECT_EQ(FAULT_MAPERR, try_load(self->addr + 2 * PAGE));
	EXPECT_EQ(FAULT_NONE, try_load(self->addr + 3 * PAGE));
}

TEST_F(unmap, errors_change_nothing)
{
	struct snap before = snap_take(self->fd, self->addr, 4 * MIB), after;

	EXPECT_ERR(ENOMEM, mshare_unmap(self->fd, 0, GIB + 1, 0));
	EXPECT_ERR(ENOMEM, mshare_unmap(self->fd, GIB, PAGE, 0));
	EXPECT_ERR(ENOMEM, mshare_unmap(self->fd, MIB, SLOT, 0));
	EXPECT_ERR(EINVAL, mshare_unmap(self->fd, 1, PAGE, 0));
	EXPECT_ERR(EINVAL, mshare_unmap(self->fd, 0, 0, 0));
	EXPECT_ERR(EINVAL, mshare_unmap(self->fd, 0, PAGE, 1));
	after = snap_take(self->fd, self->addr, 4 * MIB);
	EXPECT_TRUE(snap_same(&before, &after));
}

TEST_F(unmap, what_was_split_to_many_objects_goes_in_one_call)
{
	int i;

	for (i = 0; i < 64; i++)
		ASSERT_OK(mshare_protect(self->fd, i * 2 * PAGE, PAGE, PROT_READ, 0));
	EXPECT_EQ(128, stat_of(self->fd).objects);
	EXPECT_OK(mshare_unmap(self->fd, PAGE, 126 * PAGE, 0));
	EXPECT_EQ(FAULT_NONE, try_load(self->addr));
	EXPECT_EQ(FAULT_MAPERR, try_load(self->addr + PAGE));
	EXPECT_EQ(FAULT_MAPERR, try_load(self->addr + 126 * PAGE));
	EXPECT_EQ(FAULT_NONE, try_load(self->addr + 127 * PAGE));
}

TEST_F(unmap, the_memory_is_given_back)
{
	uint64_t before = stat_of(self->fd).resident;
	long long with;

	ASSERT_EQ(64 * MIB, map_anon(self->fd, 64 * MIB, 32 * MIB, RW));
	fill(self->addr + 64 * MIB, 32 * MIB, 1);
	EXPECT_EQ(before + 32 * MIB, stat_of(self->fd).resident);
	/* What others leave may go meanwhile: only that it becomes less is sure. */
	with = meminfo("Shmem:");
	ASSERT_OK(mshare_unmap(self->fd, 64 * MIB, 32 * MIB, 0));
	EXPECT_EQ(before, stat_of(self->fd).resident);
	EXPECT_GE(with - 30 * (long long)KIB, meminfo("Shmem:"));
}

TEST_F(unmap, the_page_tables_are_given_back)
{
	uint64_t empty, full;

	ASSERT_OK(mshare_unmap(self->fd, 0, GIB, 0));
	empty = stat_of(self->fd).pgtable_bytes;
	ASSERT_EQ(0, map_anon(self->fd, 0, 16 * MIB, RW));
	fill(self->addr, 16 * MIB, 1);
	full = stat_of(self->fd).pgtable_bytes;
	EXPECT_LE(empty + 8 * PAGE, full);
	ASSERT_OK(mshare_unmap(self->fd, 0, GIB, 0));
	EXPECT_GE(empty + PAGE, stat_of(self->fd).pgtable_bytes);
}

TEST_F(unmap, the_slot_stays_usable_after_its_last_object_went)
{
	int i;

	/* The top table of the region must survive this, or the guests lose it. */
	for (i = 0; i < 50; i++) {
		ASSERT_OK(mshare_unmap(self->fd, 0, GIB, 0));
		EXPECT_EQ(FAULT_MAPERR, try_load(self->addr));
		ASSERT_EQ(0, map_anon(self->fd, 0, MIB, RW));
		EXPECT_EQ(0, self->addr[0]);
		self->addr[0] = i;
		IN_CHILD(CHILD_CHECK(self->addr[0] == (char)i));
	}
}

TEST_F(unmap, others_lose_it_too)
{
	volatile int *flag = shared_page();
	pid_t pid;

	ASSERT_NE(NULL, (void *)flag);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		CHILD_CHECK(!wrong(self->addr, 4 * MIB, 1));
		flag[0] = 1;
		CHILD_CHECK(await(&flag[1]));
		CHILD_CHECK(try_load(self->addr + MIB) == FAULT_MAPERR);
		CHILD_CHECK(try_store(self->addr + MIB, 1) == FAULT_MAPERR);
		CHILD_CHECK(!wrong(self->addr, MIB, 1));
		_exit(0);
	}
	ASSERT_TRUE(await(&flag[0]));
	ASSERT_OK(mshare_unmap(self->fd, MIB, MIB, 0));
	flag[1] = 1;
	EXPECT_EQ(0, wait_for(pid));
}

TEST_F(unmap, across_slots)
{
	int fd = region(3 * SLOT);
	char *addr;

	ASSERT_LE(0, fd);
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_EQ(SLOT - MIB, map_obj(fd, SLOT - MIB, SLOT + 2 * MIB, RW, MAP_SHARED |
				      MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
	EXPECT_EQ(FAULT_NONE, try_store(addr + SLOT - MIB, 1));
	EXPECT_EQ(FAULT_NONE, try_store(addr + SLOT + GIB, 2));
	EXPECT_EQ(FAULT_NONE, try_store(addr + 2 * SLOT, 3));
	ASSERT_OK(mshare_unmap(fd, SLOT, SLOT, 0));
	EXPECT_EQ(1, addr[SLOT - MIB]);
	EXPECT_EQ(FAULT_MAPERR, try_load(addr + SLOT + GIB));
	EXPECT_EQ(3, addr[2 * SLOT]);
	EXPECT_EQ(2, stat_of(fd).objects);
	EXPECT_EQ(2 * MIB, stat_of(fd).mapped);
	ASSERT_OK(mshare_unmap(fd, 0, 3 * SLOT, 0));
	EXPECT_EQ(0, stat_of(fd).objects);
}

TEST_HARNESS_MAIN
