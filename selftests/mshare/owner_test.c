// SPDX-License-Identifier: GPL-2.0
/* MSHARE_OWNED: a region that dies with its owner. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <pthread.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

FIXTURE(owner) {
	int pair[2];
	pid_t owner;
	int fd;
	char *addr;
};

/* A child owns the region and waits to be ended by a byte; we have it attached. */
static void new_owner(struct __test_metadata *_metadata, FIXTURE_DATA(owner) *self)
{
	char byte;

	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, self->pair));
	self->owner = fork();
	ASSERT_LE(0, self->owner);
	if (!self->owner) {
		int fd = mshare_create("owned", MSHARE_OWNED);
		char *addr;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		CHILD_CHECK(fd >= 0 && !ftruncate(fd, GIB));
		addr = mshare_attach(fd, NULL, 0);
		CHILD_CHECK(addr != MAP_FAILED && map_anon(fd, 0, MIB, RW) == 0);
		fill(addr, MIB, 1);
		send_fd(self->pair[0], fd);
		CHILD_CHECK(read(self->pair[0], &byte, 1) == 1);
		if (byte == 'd') {
			/* Not the descriptors and attachments count, the process does. */
			close(fd);
			CHILD_CHECK(!mshare_detach(addr, 0));
			CHILD_CHECK(read(self->pair[0], &byte, 1) == 1);
		}
		_exit(0);
	}
	self->fd = receive_fd(self->pair[1]);
	ASSERT_LE(0, self->fd);
	self->addr = mshare_attach(self->fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, self->addr);
	ASSERT_EQ(0, wrong(self->addr, MIB, 1));
}

FIXTURE_SETUP(owner)
{
	new_owner(_metadata, self);
}

FIXTURE_TEARDOWN(owner)
{
	kill(self->owner, SIGKILL);
}

static bool dies(int fd)
{
	return BECOMES(stat_of(fd).flags & MSHARE_STAT_DEAD);
}

/* Translations already made go away soon after, not necessarily before. */
static int fault_soon(char *addr)
{
	int fault;

	BECOMES((fault = try_load(addr)) != FAULT_NONE);
	return fault;
}

static void is_dead(struct __test_metadata *_metadata, FIXTURE_DATA(owner) *self)
{
	struct stat st;

	ASSERT_TRUE(dies(self->fd));
	EXPECT_EQ(SIGBUS, fault_soon(self->addr) >> 8);
	EXPECT_EQ(SIGBUS, fault_soon(self->addr + MIB - 1) >> 8);
	EXPECT_EQ(SIGBUS, try_store(self->addr, 1) >> 8);
	/* Where no object was, too. */
	EXPECT_EQ(SIGBUS, try_load(self->addr + 8 * MIB) >> 8);
	EXPECT_EQ(SIGBUS, try_store(self->addr + 2 * GIB, 1) >> 8);
	EXPECT_ERR(EOWNERDEAD, mshare_attach(self->fd, NULL, 0));
	EXPECT_ERR(EOWNERDEAD, map_anon(self->fd, 8 * MIB, PAGE, RW));
	EXPECT_ERR(EOWNERDEAD, mshare_unmap(self->fd, 0, PAGE, 0));
	EXPECT_ERR(EOWNERDEAD, mshare_protect(self->fd, 0, PAGE, PROT_READ, 0));
	EXPECT_ERR(EOWNERDEAD, mshare_advise(self->fd, 0, PAGE, MADV_NORMAL, 0));
	EXPECT_ERR(EOWNERDEAD, ftruncate(self->fd, 2 * GIB));
	EXPECT_EQ(MSHARE_STAT_OWNED | MSHARE_STAT_DEAD, stat_of(self->fd).flags);
	EXPECT_OK(fstat(self->fd, &st));
	EXPECT_EQ(GIB, st.st_size);
	/* Its memory is given back though we hold on to it. */
	EXPECT_TRUE(BECOMES(!stat_of(self->fd).resident));
	IN_CHILD({
		CHILD_CHECK(try_load(self->addr) >> 8 == SIGBUS);
		CHILD_CHECK(!munmap(self->addr, SLOT));
	});
	EXPECT_OK(mshare_detach(self->addr, 0));
	EXPECT_OK(close(self->fd));
}

TEST_F(owner, exit_of_the_owner_ends_it)
{
	EXPECT_EQ(MSHARE_STAT_OWNED, stat_of(self->fd).flags);
	EXPECT_EQ(FAULT_NONE, try_store(self->addr, 1));
	ASSERT_EQ(1, write(self->pair[1], "x", 1));
	EXPECT_EQ(0, wait_for(self->owner));
	is_dead(_metadata, self);
}

TEST_F(owner, kill_of_the_owner_ends_it)
{
	kill(self->owner, SIGKILL);
	EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(self->owner));
	is_dead(_metadata, self);
}

TEST_F(owner, detach_and_close_of_the_owner_do_not)
{
	ASSERT_EQ(1, write(self->pair[1], "d", 1));
	sleep_ms(300);
	EXPECT_EQ(MSHARE_STAT_OWNED, stat_of(self->fd).flags);
	EXPECT_EQ(0, wrong(self->addr, MIB, 1));
	EXPECT_EQ(MIB, map_anon(self->fd, MIB, PAGE, RW));
	ASSERT_EQ(1, write(self->pair[1], "x", 1));
	EXPECT_EQ(0, wait_for(self->owner));
	is_dead(_metadata, self);
}

TEST_F(owner, files_and_huge_pages_end_with_it)
{
	int file = memfd(MIB, 0);
	bool huge = huge_pages(HUGE, 1);

	ASSERT_EQ(2 * MIB, map_file(self->fd, 2 * MIB, MIB, RW, file));
	fill(self->addr + 2 * MIB, MIB, 2);
	if (huge) {
		ASSERT_EQ(4 * MIB, map_obj(self->fd, 4 * MIB, HUGE, RW,
					   MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0));
		self->addr[4 * MIB] = 1;
	}
	ASSERT_EQ(1, write(self->pair[1], "x", 1));
	EXPECT_EQ(0, wait_for(self->owner));
	ASSERT_TRUE(dies(self->fd));
	EXPECT_EQ(SIGBUS, fault_soon(self->addr + 2 * MIB) >> 8);
	if (huge)
		EXPECT_EQ(SIGBUS, fault_soon(self->addr + 4 * MIB) >> 8);
	/* The file is another's and keeps its content. */
	char *plain = mmap(NULL, MIB, PROT_READ, MAP_SHARED, file, 0);

	ASSERT_NE(MAP_FAILED, plain);
	EXPECT_EQ(0, wrong(plain, MIB, 2));
}

TEST_F(owner, a_child_of_the_owner_is_not_the_owner)
{
	/* The harness: we forked the owner; here our own child is a guest. */
	IN_CHILD(CHILD_CHECK(!wrong(self->addr, MIB, 1)));
	EXPECT_EQ(MSHARE_STAT_OWNED, stat_of(self->fd).flags);
	EXPECT_EQ(FAULT_NONE, try_store(self->addr, 1));
}

/* Goes on until the region is dead, and stays attached. */
static pid_t until_dead(FIXTURE_DATA(owner) *self, volatile int *flag, int populate,
			uint64_t offset, uint64_t length)
{
	pid_t pid = fork();
	int i, ret = 0;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (i = 0; !ret; i++) {
		if (populate) {
			mshare_advise(self->fd, offset, length, MADV_DONTNEED, 0);
			ret = mshare_advise(self->fd, offset, length, MADV_POPULATE_WRITE, 0);
			/* Cut off in the middle it may see no rights, which is no end. */
			if (ret && errno != EOWNERDEAD)
				ret = 0;
		} else {
			ret = mshare_protect(self->fd, offset, length, i & 1 ? RW : PROT_READ, 0);
		}
		flag[0] = i + 1;
	}
	flag[1] = errno;
	pause();
	_exit(0);
}

/* Large, so that a call that changes it takes longer than the owner's end. */
#define BIG	(256 * MIB)

TEST_F(owner, the_memory_goes_while_another_process_protects_it)
{
	int round;

	for (round = 0; round < 2; round++) {
		volatile int *flag = shared_page();
		long long shmem;
		pid_t pid;

		if (round) {
			wait_for(self->owner);
			new_owner(_metadata, self);
		}
		shmem = meminfo("Shmem:");
		ASSERT_EQ(64 * MIB, map_obj(self->fd, 64 * MIB, BIG, RW, MAP_SHARED |
					    MAP_ANONYMOUS | MAP_POPULATE, -1, 0));
		EXPECT_LE(shmem + 250 * 1024, meminfo("Shmem:"));
		pid = until_dead(self, flag, 0, 64 * MIB, BIG);
		ASSERT_LE(0, pid);
		ASSERT_TRUE(await(flag));
		sleep_ms(10 + round);
		kill(self->owner, SIGKILL);
		ASSERT_TRUE(dies(self->fd));
		ASSERT_TRUE(await(&flag[1]));
		EXPECT_EQ(EOWNERDEAD, flag[1]);
		/* Though two processes still have it attached. */
		EXPECT_TRUE(BECOMES(meminfo("Shmem:") <= shmem + 2048));
		EXPECT_EQ(SIGBUS, try_load(self->addr + 64 * MIB) >> 8);
		kill(pid, SIGKILL);
		wait_for(pid);
		ASSERT_OK(mshare_detach(self->addr, 0));
		close(self->fd);
		ASSERT_TRUE(sys_mshare_becomes("regions", 0));
	}
}

TEST_F(owner, nothing_comes_back_while_another_process_populates_it)
{
	int round, file = ext4_file(16 * MIB);
	uint64_t i;

	if (file < 0)
		SKIP(return, NO_DISK);
	for (round = 0; round < 3; round++) {
		volatile int *flag = shared_page();
		bool alive = false;
		pid_t pid;

		if (round) {
			wait_for(self->owner);
			new_owner(_metadata, self);
		}
		ASSERT_EQ(64 * MIB, map_file(self->fd, 64 * MIB, 16 * MIB, RW, file));
		pid = until_dead(self, flag, 1, 64 * MIB, 16 * MIB);
		ASSERT_LE(0, pid);
		ASSERT_TRUE(await(flag));
		sleep_ms(10 + 7 * round);
		kill(self->owner, SIGKILL);
		ASSERT_TRUE(dies(self->fd));
		ASSERT_TRUE(await(&flag[1]));
		EXPECT_EQ(EOWNERDEAD, flag[1]);
		EXPECT_TRUE(BECOMES(!stat_of(self->fd).resident));
		for (i = 64 * MIB; i < 80 * MIB && !alive; i += PAGE)
			alive = fault_soon(self->addr + i) >> 8 != SIGBUS ||
				try_store(self->addr + i, 1) >> 8 != SIGBUS;
		EXPECT_FALSE(alive);
		EXPECT_EQ(0, stat_of(self->fd).resident);
		kill(pid, SIGKILL);
		wait_for(pid);
		ASSERT_OK(mshare_detach(self->addr, 0));
		close(self->fd);
	}
}

static void *creates(void *arg)
{
	int *fd = arg;

	*fd = mshare_create("by a thread", MSHARE_OWNED);
	return NULL;
}

TEST(the_owner_is_the_process_not_the_thread)
{
	pthread_t thread;
	int fd = -1;
	char *addr;

	ASSERT_OK(pthread_create(&thread, NULL, creates, &fd));
	ASSERT_OK(pthread_join(thread, NULL));
	ASSERT_LE(0, fd);
	ASSERT_OK(ftruncate(fd, GIB));
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_EQ(0, map_anon(fd, 0, PAGE, RW));
	sleep_ms(100);
	EXPECT_EQ(FAULT_NONE, try_store(addr, 1));
	EXPECT_EQ(MSHARE_STAT_OWNED, stat_of(fd).flags);
}

static void *outlives_the_leader(void *arg)
{
	char byte;

	if (read(*(int *)arg, &byte, 1) != 1)
		_exit(1);
	_exit(0);
}

TEST(the_leader_may_exit_before_the_last_thread)
{
	int pair[2], fd;
	char *addr, path[64];
	pid_t pid;

	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		pthread_t thread;

		fd = mshare_create("owned", MSHARE_OWNED);
		CHILD_CHECK(fd >= 0 && !ftruncate(fd, GIB) && !map_anon(fd, 0, PAGE, RW));
		CHILD_CHECK(!pthread_create(&thread, NULL, outlives_the_leader, &pair[0]));
		send_fd(pair[0], fd);
		syscall(SYS_exit, 0);
	}
	fd = receive_fd(pair[1]);
	ASSERT_LE(0, fd);
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	sprintf(path, "/proc/%d/status", pid);
	EXPECT_TRUE(BECOMES(strstr(slurp(path), "Z (zombie)")));
	EXPECT_EQ(MSHARE_STAT_OWNED, stat_of(fd).flags);
	EXPECT_EQ(FAULT_NONE, try_store(addr, 1));
	ASSERT_EQ(1, write(pair[1], "x", 1));
	EXPECT_EQ(0, wait_for(pid));
	EXPECT_TRUE(dies(fd));
	EXPECT_EQ(SIGBUS, fault_soon(addr) >> 8);
}

#define FILE_PAGES	8
#define STORERS		2

struct log {
	volatile uint64_t stored[STORERS];
};

static void on_bus(int sig)
{
	_exit(sig == SIGBUS ? 0 : 1);
}

/* Stores 1, 2, 3.. in a word of each page of the object, until there is none. */
static void stores_until_dead(struct log *log, int fd, int me)
{
	char *addr = mshare_attach(fd, NULL, 0);
	uint64_t n, page;

	CHILD_CHECK(addr != MAP_FAILED);
	alarm(60);
	signal(SIGBUS, on_bus);
	for (n = 1; ; n++) {
		for (page = 0; page < FILE_PAGES; page++)
			((volatile uint64_t *)(addr + page * PAGE))[me] = n;
		log->stored[me] = n;
	}
}

/* How the owner ends: killed, or by its last thread, which is not the first. */
static void owns_a_file(int sock, int file, bool by_thread)
{
	int fd = mshare_create("owned", MSHARE_OWNED);
	pthread_t thread;

	CHILD_CHECK(fd >= 0 && !ftruncate(fd, GIB));
	CHILD_CHECK(map_file(fd, 0, FILE_PAGES * PAGE, RW, file) == 0);
	if (by_thread)
		CHILD_CHECK(!pthread_create(&thread, NULL, outlives_the_leader, &sock));
	send_fd(sock, fd);
	if (by_thread)
		syscall(SYS_exit, 0);
	pause();
}

TEST(what_was_stored_before_the_end_is_in_the_file)
{
	static uint64_t words[FILE_PAGES * PAGE / 8];
	const char *dir = disk_mount();
	int round, file, i, page;
	struct log *log;
	char path[256];

	if (!dir)
		SKIP(return, NO_DISK);
	sprintf(path, "%s/stored", dir);
	for (round = 0; round < 8; round++) {
		pid_t owner, storer[STORERS];
		int pair[2], fd;

		file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
		ASSERT_LE(0, file);
		ASSERT_OK(ftruncate(file, FILE_PAGES * PAGE));
		log = shared_page();
		ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
		owner = fork();
		ASSERT_LE(0, owner);
		if (!owner)
			owns_a_file(pair[0], file, round & 1);
		fd = receive_fd(pair[1]);
		ASSERT_LE(0, fd);
		for (i = 0; i < STORERS; i++) {
			storer[i] = fork();
			ASSERT_LE(0, storer[i]);
			if (!storer[i])
				stores_until_dead(log, fd, i);
		}
		BECOMES(log->stored[0] && log->stored[1]);
		/* So that it ends in the middle of pages that are read-only, and others. */
		ASSERT_OK(sync_file_range(file, 0, 0, SYNC_FILE_RANGE_WRITE));
		sleep_ms(round);
		if (round & 1) {
			ASSERT_EQ(1, write(pair[1], "x", 1));
		} else {
			kill(owner, SIGKILL);
		}
		EXPECT_EQ(round & 1 ? 0 : KILLED_BY(SIGKILL), wait_for(owner));
		for (i = 0; i < STORERS; i++)
			EXPECT_EQ(0, wait_for(storer[i]));
		EXPECT_TRUE(dies(fd));
		/* What the disk has. */
		ASSERT_OK(fsync(file));
		ASSERT_OK(close(fd));
		EXPECT_EQ(0, settled());
		ASSERT_OK(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED));
		ASSERT_EQ(sizeof(words), pread(file, words, sizeof(words), 0));
		for (i = 0; i < STORERS; i++) {
			EXPECT_LT(0, log->stored[i]);
			for (page = 0; page < FILE_PAGES; page++)
				EXPECT_LE(log->stored[i], words[page * PAGE / 8 + i]);
		}
		close(file);
		close(pair[0]);
		close(pair[1]);
	}
}

TEST(exec_of_the_owner_is_not_the_end)
{
	int pair[2], fd;
	char *addr, number[16];
	pid_t pid;

	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		fd = mshare_create("owned", MSHARE_OWNED | MSHARE_CLOEXEC);
		CHILD_CHECK(fd >= 0 && !ftruncate(fd, GIB));
		CHILD_CHECK(map_anon(fd, 0, PAGE, RW) == 0);
		send_fd(pair[0], fd);
		sprintf(number, "%d", pair[0]);
		setenv("MST_PAIR", number, 1);
		dup2(open("/dev/null", O_WRONLY), 1);
		execl("/proc/self/exe", "owner_test", "-r", "global.is_the_exec_of_a_test", NULL);
		_exit(127);
	}
	fd = receive_fd(pair[1]);
	ASSERT_LE(0, fd);
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	/* The new program has started. */
	ASSERT_EQ(1, read(pair[1], number, 1));
	EXPECT_EQ(MSHARE_STAT_OWNED, stat_of(fd).flags);
	EXPECT_EQ(FAULT_NONE, try_store(addr, 1));
	ASSERT_EQ(1, write(pair[1], "x", 1));
	wait_for(pid);
	EXPECT_TRUE(dies(fd));
	EXPECT_EQ(SIGBUS, fault_soon(addr) >> 8);
}

TEST(is_the_exec_of_a_test)
{
	char byte;

	if (!getenv("MST_PAIR"))
		return;
	ASSERT_EQ(1, write(atoi(getenv("MST_PAIR")), "x", 1));
	ASSERT_EQ(1, read(atoi(getenv("MST_PAIR")), &byte, 1));
}

TEST_HARNESS_MAIN
