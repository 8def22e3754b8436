// SPDX-License-Identifier: GPL-2.0
/* fork, vfork, clone, exec and exit. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>

FIXTURE(fork) {
	int fd;
	char *addr;
};

FIXTURE_SETUP(fork)
{
	self->addr = filled_region(&self->fd, 0, MIB);
	ASSERT_NE(NULL, self->addr);
}

FIXTURE_TEARDOWN(fork)
{
	EXPECT_EQ(1, stat_of(self->fd).attachments);
}

TEST_F(fork, the_child_has_it_on_the_same_page_tables)
{
	struct mshare_stat before = stat_of(self->fd);

	IN_CHILD({
		struct mshare_stat st;

		CHILD_CHECK(!wrong(self->addr, MIB, 1));
		st = stat_of(self->fd);
		CHILD_CHECK(st.attachments == 2);
		CHILD_CHECK(st.faults == before.faults);
		CHILD_CHECK(st.pgtable_bytes == before.pgtable_bytes);
		fill(self->addr, MIB, 2);
		CHILD_CHECK(stat_of(self->fd).faults == before.faults);
	});
	EXPECT_EQ(0, wrong(self->addr, MIB, 2));
}

TEST_F(fork, the_childs_attachment_has_the_parents_permissions)
{
	char *ro = mshare_attach(self->fd, NULL, MSHARE_ATTACH_RDONLY);

	ASSERT_NE(MAP_FAILED, ro);
	self->addr[0] = 1;
	IN_CHILD({
		CHILD_CHECK(try_store(ro, 9) == FAULT_ACCERR);
		CHILD_CHECK(try_exec(self->addr) == FAULT_ACCERR);
		CHILD_CHECK(try_store(self->addr, 2) == FAULT_NONE);
		CHILD_CHECK(ro[0] == 2);
	});
	ASSERT_OK(mshare_detach(ro, 0));
}

TEST_F(fork, not_with_DONTFORK)
{
	char *addr = mshare_attach(self->fd, NULL, MSHARE_ATTACH_DONTFORK);

	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_EQ(0, wrong(addr, MIB, 1));
	IN_CHILD({
		CHILD_CHECK(try_load(addr) == FAULT_MAPERR);
		CHILD_CHECK(!wrong(self->addr, MIB, 1));
		CHILD_CHECK(stat_of(self->fd).attachments == 3);
		/* The place is free. */
		CHILD_CHECK(mshare_attach(self->fd, addr, 0) == addr);
		CHILD_CHECK(!wrong(addr, MIB, 1));
	});
	EXPECT_EQ(0, wrong(addr, MIB, 1));
	ASSERT_OK(mshare_detach(addr, 0));
}

TEST_F(fork, a_grandchild_has_it_too)
{
	IN_CHILD({
		pid_t pid = fork();

		if (!pid) {
			CHILD_CHECK(!wrong(self->addr, MIB, 1));
			self->addr[0] = 'g';
			_exit(0);
		}
		CHILD_CHECK(wait_for(pid) == 0);
	});
	EXPECT_EQ('g', self->addr[0]);
}

TEST_F(fork, detach_in_the_child_is_not_detach_in_the_parent)
{
	IN_CHILD({
		CHILD_CHECK(!mshare_detach(self->addr, 0));
		CHILD_CHECK(try_load(self->addr) == FAULT_MAPERR);
		CHILD_CHECK(stat_of(self->fd).attachments == 1);
	});
	EXPECT_EQ(0, wrong(self->addr, MIB, 1));
}

TEST_F(fork, detach_in_the_parent_is_not_detach_in_the_child)
{
	int go[2];
	pid_t pid;
	char byte;

	ASSERT_OK(pipe(go));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		CHILD_CHECK(read(go[0], &byte, 1) == 1);
		CHILD_CHECK(!wrong(self->addr, MIB, 1));
		self->addr[5] = 5;
		_exit(0);
	}
	ASSERT_OK(mshare_detach(self->addr, 0));
	ASSERT_EQ(1, write(go[1], "x", 1));
	EXPECT_EQ(0, wait_for(pid));
	self->addr = mshare_attach(self->fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, self->addr);
	EXPECT_EQ(5, self->addr[5]);
}

TEST_F(fork, a_child_killed_in_the_middle)
{
	int round;

	for (round = 0; round < 20; round++) {
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (!pid)
			for (;;)
				fill(self->addr, MIB, 1);
		sleep_ms(round);
		kill(pid, SIGKILL);
		EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(pid));
		EXPECT_EQ(0, wrong(self->addr, MIB, 1));
	}
}

TEST_F(fork, many_children_at_once)
{
	volatile int *go = shared_page();
	pid_t pid[32];
	int i;

	for (i = 0; i < 32; i++) {
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (!pid[i]) {
			while (!*go)
				sched_yield();
			self->addr[i * PAGE] = i;
			_exit(0);
		}
	}
	EXPECT_EQ(33, stat_of(self->fd).attachments);
	*go = 1;
	for (i = 0; i < 32; i++) {
		EXPECT_EQ(0, wait_for(pid[i]));
		EXPECT_EQ(i, self->addr[i * PAGE]);
	}
}

TEST_F(fork, vfork_shares_the_address_space)
{
	volatile char *addr = self->addr;
	pid_t pid = vfork();

	if (!pid) {
		addr[3] = 33;
		_exit(0);
	}
	ASSERT_LT(0, pid);
	EXPECT_EQ(0, wait_for(pid));
	EXPECT_EQ(33, addr[3]);
}

static void *thread_writes(void *arg)
{
	*(volatile char *)arg = 44;
	return NULL;
}

TEST_F(fork, threads_share_it)
{
	pthread_t thread;

	ASSERT_OK(pthread_create(&thread, NULL, thread_writes, self->addr + 4));
	ASSERT_OK(pthread_join(thread, NULL));
	EXPECT_EQ(44, self->addr[4]);
	EXPECT_EQ(1, stat_of(self->fd).attachments);
}

static void *forks(void *arg)
{
	FIXTURE_DATA(fork) *self = arg;
	uintptr_t bad = 0;
	int i;

	for (i = 0; i < 30; i++) {
		pid_t pid = fork();

		if (!pid)
			_exit(wrong(self->addr + 64 * PAGE, 64 * PAGE, 9) ? 1 : 0);
		bad += pid < 0 || wait_for(pid);
	}
	return (void *)bad;
}

TEST_F(fork, forks_while_threads_attach_and_detach)
{
	pthread_t thread;
	void *bad;
	int i;

	/* The content is by position in the checked part. */
	fill(self->addr + 64 * PAGE, 64 * PAGE, 9);
	ASSERT_OK(pthread_create(&thread, NULL, forks, self));
	for (i = 0; i < 200; i++) {
		char *addr = mshare_attach(self->fd, NULL, i & 1 ? MSHARE_ATTACH_RDONLY : 0);

		ASSERT_NE(MAP_FAILED, addr);
		ASSERT_EQ(0, wrong(addr + 64 * PAGE, PAGE, 9));
		ASSERT_OK(mshare_detach(addr, 0));
	}
	ASSERT_OK(pthread_join(thread, &bad));
	EXPECT_EQ(NULL, bad);
}

TEST_F(fork, exec_drops_it_and_a_descriptor_follows_its_flag)
{
	int keep = mshare_create("keep", 0), drop = mshare_create("drop", MSHARE_CLOEXEC);
	int ran[2], status;
	char cmd[200];
	pid_t pid;

	ASSERT_LE(0, keep);
	ASSERT_LE(0, drop);
	ASSERT_OK(pipe(ran));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		/* Read by a program that is there in any root: this one. */
		sprintf(cmd, "%d", keep);
		setenv("MST_KEEP", cmd, 1);
		sprintf(cmd, "%d", drop);
		setenv("MST_DROP", cmd, 1);
		sprintf(cmd, "%d", ran[1]);
		setenv("MST_RAN", cmd, 1);
		/* Its TAP is not ours. */
		dup2(open("/dev/null", O_WRONLY), 1);
		execl("/proc/self/exe", "fork_test", "-r", "global.is_the_exec_of_a_test", NULL);
		_exit(127);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	/* A filter that fits no test ends well, too. */
	ASSERT_OK(close(ran[1]));
	EXPECT_EQ(1, read(ran[0], cmd, 1));
	EXPECT_EQ(1, stat_of(self->fd).attachments);
}

TEST(is_the_exec_of_a_test)
{
	struct mshare_stat st;
	char *maps;

	if (!getenv("MST_KEEP"))
		return;
	maps = slurp("/proc/self/maps");
	EXPECT_EQ(NULL, strstr(maps, "/mshare:"));
	EXPECT_OK(mshare_stat(atoi(getenv("MST_KEEP")), &st, sizeof(st), 0));
	EXPECT_ERR(EBADF, mshare_stat(atoi(getenv("MST_DROP")), &st, sizeof(st), 0));
	EXPECT_EQ(1, write(atoi(getenv("MST_RAN")), "x", 1));
}

TEST(fork_of_an_attachment_of_three_slots_and_with_several_regions)
{
	int fd[4], i;
	char *addr[4];

	for (i = 0; i < 4; i++) {
		fd[i] = region(i == 3 ? 3 * SLOT : GIB);
		ASSERT_LE(0, fd[i]);
		ASSERT_EQ(0, map_anon(fd[i], 0, MIB, RW));
		addr[i] = mshare_attach(fd[i], NULL, 0);
		ASSERT_NE(MAP_FAILED, addr[i]);
		addr[i][0] = i + 1;
	}
	ASSERT_EQ(2 * SLOT, map_anon(fd[3], 2 * SLOT, PAGE, RW));
	addr[3][2 * SLOT] = 33;
	IN_CHILD({
		for (i = 0; i < 4; i++)
			CHILD_CHECK(addr[i][0] == i + 1);
		CHILD_CHECK(addr[3][2 * SLOT] == 33);
		addr[3][2 * SLOT] = 34;
		CHILD_CHECK(!mshare_detach(addr[1], 0));
		CHILD_CHECK(addr[2][0] == 3);
	});
	EXPECT_EQ(34, addr[3][2 * SLOT]);
	for (i = 0; i < 4; i++)
		EXPECT_EQ(1, stat_of(fd[i]).attachments);
}

TEST(fork_and_exit_of_a_process_with_nothing_touched)
{
	int fd = region(GIB), i;

	ASSERT_LE(0, fd);
	ASSERT_NE(MAP_FAILED, mshare_attach(fd, NULL, 0));
	for (i = 0; i < 50; i++)
		IN_CHILD({});
	EXPECT_EQ(1, stat_of(fd).attachments);
	EXPECT_EQ(0, stat_of(fd).faults);
}

TEST_HARNESS_MAIN
