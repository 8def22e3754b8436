// SPDX-License-Identifier: GPL-2.0
/*
 * The cgroup that pays for a region is full and has nothing to reclaim.  The
 * kernel prints a call trace for each of these: run it by itself.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <time.h>

FIXTURE(oom) {
	char dir[64];
	int fd;
	char *addr;
};

FIXTURE_SETUP(oom)
{
	if (!cgroup_make(self->dir, sizeof(self->dir)))
		SKIP(return, "no cgroup2 with memory: %m");
	self->fd = cgroup_region(self->dir, GIB);
	ASSERT_LE(0, self->fd);
	self->addr = mshare_attach(self->fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, self->addr);
	ASSERT_TRUE(write_text(cgroup_file(self->dir, "memory.swap.max"), "0"));
	ASSERT_TRUE(write_number(cgroup_file(self->dir, "memory.max"), 8 * MIB));
}

FIXTURE_TEARDOWN(oom)
{
	/* With room again it goes on. */
	EXPECT_TRUE(write_text(cgroup_file(self->dir, "memory.max"), "max"));
	fill(self->addr, 16 * MIB, 1);
	EXPECT_EQ(0, wrong(self->addr, 16 * MIB, 1));
	EXPECT_OK(mshare_detach(self->addr, 0));
}

TEST_F(oom, an_access_from_outside_gets_SIGBUS)
{
	time_t start = time(NULL);
	uint64_t i;
	int fault = 0;

	ASSERT_EQ(0, map_anon(self->fd, 0, 16 * MIB, RW));
	for (i = 0; i < 16 * MIB && !fault; i += PAGE)
		fault = try_store(self->addr + i, 1);
	EXPECT_EQ(SIGBUS, fault >> 8);
	EXPECT_LT(4 * MIB, i);
	/* It never spins. */
	EXPECT_GE(60, time(NULL) - start);
	/* And again, but for what a CPU had charged in advance. */
	for (fault = 0; i < 16 * MIB && !fault; i += PAGE)
		fault = try_store(self->addr + i, 1);
	EXPECT_EQ(SIGBUS, fault >> 8);
}

TEST_F(oom, the_kernel_gets_EFAULT_and_populate_ENOMEM)
{
	int zero = open("/dev/zero", O_RDONLY);
	ssize_t done;

	ASSERT_EQ(0, map_anon(self->fd, 0, 16 * MIB, RW));
	done = read(zero, self->addr, 16 * MIB);
	EXPECT_GT(16 * MIB, done);
	EXPECT_ERR(EFAULT, read(zero, self->addr + 15 * MIB, MIB));
	EXPECT_ERR(ENOMEM, mshare_advise(self->fd, 0, 16 * MIB, MADV_POPULATE_WRITE, 0));
	/* MAP_POPULATE fails in silence. */
	EXPECT_EQ(32 * MIB, map_obj(self->fd, 32 * MIB, 16 * MIB, RW,
				    MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0));
}

TEST_HARNESS_MAIN
