// SPDX-License-Identifier: GPL-2.0
/* A region lives while a descriptor or an attachment refers to it, no longer. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <sys/socket.h>
#include <sys/wait.h>

TEST(an_attachment_keeps_it)
{
	long long regions = settled();
	int fd = region(GIB);
	char *addr;

	ASSERT_LE(0, regions);
	addr = attached(fd, 0, MIB);
	ASSERT_NE(NULL, addr);
	ASSERT_OK(close(fd));
	EXPECT_EQ(regions + 1, sys_mshare("regions"));
	fill(addr, MIB, 1);
	IN_CHILD(CHILD_CHECK(!wrong(addr, MIB, 1)));
	EXPECT_EQ(0, wrong(addr, MIB, 1));
	ASSERT_OK(mshare_detach(addr, 0));
	EXPECT_TRUE(sys_mshare_becomes("regions", regions));
}

TEST(a_descriptor_keeps_it)
{
	long long regions = settled();
	int fd = region(GIB), i;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, map_anon(fd, 0, MIB, RW));
	for (i = 0; i < 3; i++) {
		char *addr = mshare_attach(fd, NULL, 0);

		ASSERT_NE(MAP_FAILED, addr);
		EXPECT_EQ(i, addr[0]);
		addr[0]++;
		ASSERT_OK(mshare_detach(addr, 0));
	}
	EXPECT_EQ(regions + 1, sys_mshare("regions"));
	close(fd);
	EXPECT_TRUE(sys_mshare_becomes("regions", regions));
}

TEST(the_creator_may_exit)
{
	long long regions = settled();
	int pair[2], fd;
	pid_t pid;
	char *addr;

	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		fd = region(GIB);
		addr = mshare_attach(fd, NULL, 0);
		CHILD_CHECK(addr != MAP_FAILED && map_anon(fd, 0, MIB, RW) == 0);
		fill(addr, MIB, 6);
		send_fd(pair[0], fd);
		_exit(0);
	}
	fd = receive_fd(pair[1]);
	ASSERT_EQ(0, wait_for(pid));
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, stat_of(fd).attachments);
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_EQ(0, wrong(addr, MIB, 6));
	/* Faults, changes and reclaim go on without it. */
	ASSERT_EQ(MIB, map_anon(fd, MIB, MIB, RW));
	fill(addr + MIB, MIB, 7);
	EXPECT_OK(mshare_protect(fd, 0, MIB, PROT_READ, 0));
	EXPECT_OK(mshare_advise(fd, 0, 2 * MIB, MADV_PAGEOUT, 0));
	EXPECT_OK(mshare_advise(fd, 0, 2 * MIB, MADV_DONTNEED, 0));
	EXPECT_EQ(0, wrong(addr + MIB, MIB, 7));
	EXPECT_EQ(0, wrong(addr, MIB, 6));
	ASSERT_OK(mshare_detach(addr, 0));
	close(fd);
	EXPECT_TRUE(sys_mshare_becomes("regions", regions));
}

TEST(the_memory_is_freed_after_the_last_one)
{
	long long regions = settled(), tables = sys_mshare("pgtable_bytes");
	int fd = region(GIB);
	long long full;
	char *addr;

	addr = attached(fd, 0, 32 * MIB);
	ASSERT_NE(NULL, addr);
	fill(addr, 32 * MIB, 1);
	EXPECT_EQ(32 * MIB, stat_of(fd).resident);
	/* Of others, who have just ended, some may still go. */
	full = meminfo("Shmem:");
	EXPECT_LE(tables + 17 * PAGE, sys_mshare("pgtable_bytes"));
	close(fd);
	ASSERT_OK(munmap(addr, SLOT));
	EXPECT_TRUE(sys_mshare_becomes("regions", regions));
	EXPECT_TRUE(sys_mshare_becomes("pgtable_bytes", tables));
	EXPECT_TRUE(BECOMES(meminfo("Shmem:") <= full - 31 * 1024));
}

TEST(huge_pages_come_back)
{
	static const char path[] = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
	long long before;
	int fd = region(GIB);
	char *addr;

	ASSERT_LE(0, fd);
	if (!huge_pages(HUGE, 4))
		SKIP(return, "no huge pages of 2 MiB");
	before = read_number(path);
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_EQ(0, map_obj(fd, 0, 3 * HUGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1,
			     0));
	fill(addr, 3 * HUGE, 1);
	EXPECT_EQ(before - 3, read_number(path));
	close(fd);
	ASSERT_OK(mshare_detach(addr, 0));
	EXPECT_TRUE(BECOMES(read_number(path) == before));
}

TEST(a_file_is_released)
{
	int fd = region(GIB), file = memfd(MIB, MFD_ALLOW_SEALING);
	char *addr;

	ASSERT_LE(0, fd);
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_EQ(0, map_file(fd, 0, MIB, RW, file));
	fill(addr, MIB, 1);
	/* A writable mapping stops the seal. */
	EXPECT_ERR(EBUSY, fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
	ASSERT_OK(mshare_detach(addr, 0));
	EXPECT_ERR(EBUSY, fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
	close(fd);
	EXPECT_TRUE(BECOMES(!fcntl(file, F_ADD_SEALS, F_SEAL_WRITE)));
}

TEST(a_descriptor_in_flight_keeps_it)
{
	long long regions = settled();
	int pair[2], fd = region(GIB);
	char *addr;

	ASSERT_LE(0, fd);
	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	ASSERT_EQ(0, map_anon(fd, 0, PAGE, RW));
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	addr[0] = 5;
	ASSERT_OK(mshare_detach(addr, 0));
	send_fd(pair[0], fd);
	close(fd);
	EXPECT_EQ(regions + 1, sys_mshare("regions"));
	fd = receive_fd(pair[1]);
	ASSERT_LE(0, fd);
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_EQ(5, addr[0]);
	close(fd);
	ASSERT_OK(mshare_detach(addr, 0));
	EXPECT_TRUE(sys_mshare_becomes("regions", regions));
}

TEST(exits_in_any_order)
{
	long long regions = settled();
	int round, i;

	for (round = 0; round < 12; round++) {
		int fd = region(GIB);
		pid_t pid[4];
		char *addr;

		ASSERT_LE(0, fd);
		addr = mshare_attach(fd, NULL, 0);
		ASSERT_NE(MAP_FAILED, addr);
		ASSERT_EQ(0, map_anon(fd, 0, MIB, RW));
		for (i = 0; i < 4; i++) {
			pid[i] = fork();
			ASSERT_LE(0, pid[i]);
			if (!pid[i]) {
				if (i & 1)
					close(fd);
				for (;;)
					fill(addr, MIB, 1);
			}
		}
		if (round & 1)
			close(fd);
		if (round & 2)
			ASSERT_OK(mshare_detach(addr, 0));
		for (i = 0; i < 4; i++) {
			int j = (i * 3 + round) % 4;

			sleep_ms(3);
			kill(pid[j], SIGKILL);
			EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(pid[j]));
		}
		if (!(round & 1))
			close(fd);
		if (!(round & 2))
			ASSERT_OK(mshare_detach(addr, 0));
	}
	EXPECT_TRUE(sys_mshare_becomes("regions", regions));
	EXPECT_TRUE(sys_mshare_becomes("attachments", 0));
}

TEST(a_call_that_is_killed_is_done_or_not)
{
	struct mshare_stat st;
	int fd, round, i, fault;
	pid_t busy, pid;
	char *addr;

	addr = filled_region(&fd, 0, 16 * MIB);
	ASSERT_NE(NULL, addr);
	/* Has the lock of the region most of the time. */
	busy = fork();
	ASSERT_LE(0, busy);
	for (i = 0; !busy; i++)
		CHILD_CHECK(!mshare_protect(fd, 0, 16 * MIB, i & 1 ? RW : PROT_READ, 0));
	for (round = 0; round < 20; round++) {
		pid = fork();
		ASSERT_LE(0, pid);
		while (!pid) {
			CHILD_CHECK(map_anon(fd, 64 * MIB, 16 * PAGE, RW) == 64 * MIB);
			CHILD_CHECK(!mshare_protect(fd, 64 * MIB, 16 * PAGE, PROT_READ, 0));
			CHILD_CHECK(!mshare_unmap(fd, 64 * MIB, 16 * PAGE, 0));
		}
		sleep_ms(5 + round);
		kill(pid, SIGKILL);
		EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(pid));
		st = stat_of(fd);
		EXPECT_TRUE(st.mapped == 16 * MIB || st.mapped == 16 * MIB + 16 * PAGE);
		fault = try_store(addr + 64 * MIB, 1);
		EXPECT_EQ(st.mapped == 16 * MIB, fault == FAULT_MAPERR);
		for (i = 1; i < 16; i++)
			EXPECT_EQ(fault, try_store(addr + 64 * MIB + i * PAGE, 1));
		EXPECT_OK(mshare_unmap(fd, 64 * MIB, 16 * PAGE, 0));
	}
	kill(busy, SIGKILL);
	EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(busy));
	EXPECT_EQ(0, wrong(addr, 16 * MIB, 1));
	fault = try_store(addr, *(volatile uint8_t *)addr);
	for (i = 0; i < 16; i++)
		EXPECT_EQ(fault, try_store(addr + i * MIB, addr[i * MIB]));
}

TEST(many_regions_come_and_go)
{
	long long regions = settled(), tables = sys_mshare("pgtable_bytes");
	int i, j;

	for (i = 0; i < 10; i++) {
		int fd[20];

		for (j = 0; j < 20; j++) {
			char *addr;

			fd[j] = region((j % 3) * SLOT + PAGE);
			ASSERT_LE(0, fd[j]);
			addr = mshare_attach(fd[j], NULL, 0);
			ASSERT_NE(MAP_FAILED, addr);
			ASSERT_EQ(0, map_anon(fd[j], 0, PAGE, RW));
			EXPECT_EQ(0, addr[0]);
			addr[0] = j;
			if (j & 1)
				ASSERT_OK(mshare_detach(addr, 0));
			else
				ASSERT_OK(munmap(addr, (j % 3 + 1) * SLOT));
		}
		for (j = 0; j < 20; j++)
			close(fd[j]);
	}
	EXPECT_TRUE(sys_mshare_becomes("regions", regions));
	EXPECT_TRUE(sys_mshare_becomes("pgtable_bytes", tables));
}

TEST_HARNESS_MAIN
