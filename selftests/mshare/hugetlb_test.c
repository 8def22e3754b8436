// SPDX-License-Identifier: GPL-2.0
/* Huge pages that there are not, and who may have them. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <sys/stat.h>

#define POOL	"/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define HUGETLB	(MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB)

FIXTURE(hugetlb) {
	int fd;
	long long pool;
	/* Pages that others have, such as those that hwpoison_test took out of use. */
	long long others;
	char *addr;
};

/* A pool with two pages that nobody has. */
FIXTURE_SETUP(hugetlb)
{
	/* What other tests had is given back a little later. */
	ASSERT_EQ(0, settled());
	ASSERT_TRUE(BECOMES(read_number(POOL "resv_hugepages") == 0));
	self->pool = read_number(POOL "nr_hugepages");
	if (!huge_pages(HUGE, 2))
		SKIP(return, "no huge pages of 2 MiB");
	self->others = read_number(POOL "nr_hugepages") - read_number(POOL "free_hugepages");
	ASSERT_TRUE(write_number(POOL "nr_hugepages", self->others + 2));
	ASSERT_EQ(2, read_number(POOL "free_hugepages"));
	self->fd = region(GIB);
	ASSERT_LE(0, self->fd);
	self->addr = attached(self->fd, 0, PAGE);
	ASSERT_NE(NULL, self->addr);
}

FIXTURE_TEARDOWN(hugetlb)
{
	ASSERT_OK(mshare_detach(self->addr, 0));
	ASSERT_OK(close(self->fd));
	EXPECT_EQ(0, settled());
	/* All were given back. */
	EXPECT_EQ(self->others,
		  read_number(POOL "nr_hugepages") - read_number(POOL "free_hugepages"));
	EXPECT_EQ(0, read_number(POOL "resv_hugepages"));
	write_number(POOL "nr_hugepages", self->pool);
}

TEST_F(hugetlb, more_than_there_are_is_ENOMEM)
{
	struct snap before = snap_take(self->fd, self->addr, PAGE), after;

	EXPECT_ERR(ENOMEM, map_obj(self->fd, HUGE, 3 * HUGE, RW, HUGETLB, -1, 0));
	after = snap_take(self->fd, self->addr, PAGE);
	EXPECT_TRUE(snap_same(&before, &after));
	EXPECT_EQ(0, read_number(POOL "resv_hugepages"));
	ASSERT_EQ(HUGE, map_obj(self->fd, HUGE, 2 * HUGE, RW, HUGETLB, -1, 0));
	EXPECT_EQ(2, read_number(POOL "resv_hugepages"));
	/* What is reserved is there. */
	IN_CHILD(fill(self->addr + HUGE, 2 * HUGE, 1));
	EXPECT_EQ(0, wrong(self->addr + HUGE, 2 * HUGE, 1));
	ASSERT_OK(mshare_unmap(self->fd, HUGE, 2 * HUGE, 0));
}

TEST_F(hugetlb, without_a_reservation_an_access_may_get_SIGBUS)
{
	int zero = open("/dev/zero", O_RDONLY);
	long long count = read_number(POOL "nr_hugepages");

	ASSERT_EQ(HUGE, map_obj(self->fd, HUGE, 4 * HUGE, RW, HUGETLB | MAP_NORESERVE, -1, 0));
	EXPECT_EQ(0, read_number(POOL "resv_hugepages"));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + HUGE, 1));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + 2 * HUGE, 2));
	EXPECT_EQ(FAULT_BUS, try_store(self->addr + 3 * HUGE, 3));
	EXPECT_EQ(FAULT_BUS, try_load(self->addr + 3 * HUGE));
	IN_CHILD(CHILD_CHECK(try_store(self->addr + 4 * HUGE, 3) == FAULT_BUS));
	EXPECT_ERR(EFAULT, read(zero, self->addr + 3 * HUGE, 8));
	EXPECT_ERR(EFAULT, mshare_advise(self->fd, 3 * HUGE, HUGE, MADV_POPULATE_WRITE, 0));
	EXPECT_EQ(2 * HUGE, stat_of(self->fd).resident & ~(HUGE - 1));
	/* One more, and it goes on. */
	ASSERT_TRUE(write_number(POOL "nr_hugepages", count + 1));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + 3 * HUGE, 3));
	EXPECT_EQ(1, self->addr[HUGE]);
	EXPECT_EQ(2, self->addr[2 * HUGE]);
	/* And one that was given back. */
	ASSERT_OK(mshare_advise(self->fd, HUGE, HUGE, MADV_REMOVE, 0));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + 4 * HUGE, 4));
	EXPECT_EQ(FAULT_BUS, try_load(self->addr + HUGE));
	close(zero);
}

/* The cgroup of who faults has a limit; the region's creator does not matter. */
TEST_F(hugetlb, the_cgroup_of_who_faults_pays)
{
	char dir[64];

	snprintf(dir, sizeof(dir), "/sys/fs/cgroup/mst.%d", getpid());
	write_text("/sys/fs/cgroup/cgroup.subtree_control", "+hugetlb");
	if (mkdir(dir, 0755) || !write_number(cgroup_file(dir, "hugetlb.2MB.max"), HUGE))
		SKIP(return, "no cgroup2 with hugetlb: %m");
	ASSERT_EQ(HUGE, map_obj(self->fd, HUGE, 2 * HUGE, RW, HUGETLB, -1, 0));
	IN_CHILD({
		CHILD_CHECK(write_text(cgroup_file(dir, "cgroup.procs"), "0"));
		CHILD_CHECK(try_store(self->addr + HUGE, 1) == FAULT_NONE);
		CHILD_CHECK(try_store(self->addr + 2 * HUGE, 2) == FAULT_BUS);
	});
	EXPECT_EQ(HUGE, read_number(cgroup_file(dir, "hugetlb.2MB.current")));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + 2 * HUGE, 2));
	EXPECT_EQ(1, self->addr[HUGE]);
	EXPECT_EQ(HUGE, read_number(cgroup_file(dir, "hugetlb.2MB.current")));
	ASSERT_OK(mshare_unmap(self->fd, HUGE, 2 * HUGE, 0));
	EXPECT_EQ(0, read_number(cgroup_file(dir, "hugetlb.2MB.current")));
	EXPECT_OK(rmdir(dir));
}

TEST_HARNESS_MAIN
