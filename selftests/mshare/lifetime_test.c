// SPDX-License-Identifier: GPL-2.0
/* A region lives while a descriptor or an attachment refers to it, no longer. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <linux/fs.h>
#include <linux/landlock.h>
#include <sys/epoll.h>
#include <sys/fanotify.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
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
	/* Memory of processes that have just ended may still be freed. */
	full = meminfo("Shmem:");
	EXPECT_LE(tables + 17 * PAGE, sys_mshare("pgtable_bytes"));
	close(fd);
	ASSERT_OK(munmap(addr, SLOT));
	EXPECT_TRUE(sys_mshare_becomes("regions", regions));
	EXPECT_TRUE(sys_mshare_becomes("pgtable_bytes", tables));
	EXPECT_TRUE(BECOMES(meminfo("Shmem:") <= full - 31 * 1024));
}

/*
 * The last user frees the memory before its call returns, or before it is gone: the
 * OOM killer relies on that.
 */
TEST(the_last_one_frees_the_memory)
{
	const long long most = 28 * MIB / KIB;
	int way, fd;

	for (way = 0; way < 4; way++) {
		char *addr = filled_region(&fd, 0, 32 * MIB);
		long long full = meminfo("Shmem:");
		pid_t pid;

		ASSERT_NE(NULL, addr);
		if (way < 2) {
			pid = fork();
			ASSERT_LE(0, pid);
			if (!pid) {
				/* It has it by its attachment, or by its descriptor. */
				mshare_detach(way ? addr : NULL, 0);
				pause();
			}
			ASSERT_OK(close(fd));
			ASSERT_OK(mshare_detach(addr, 0));
			EXPECT_LE(full - most, meminfo("Shmem:"));
			kill(pid, SIGKILL);
			EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(pid));
		} else if (way == 2) {
			ASSERT_OK(mshare_detach(addr, 0));
			EXPECT_LE(full - most, meminfo("Shmem:"));
			ASSERT_OK(close(fd));
		} else {
			ASSERT_OK(close(fd));
			EXPECT_LE(full - most, meminfo("Shmem:"));
			ASSERT_OK(munmap(addr, SLOT));
		}
		EXPECT_GE(full - most, meminfo("Shmem:")) {
			TH_LOG("way %d: Shmem was %lld kB, is %lld", way, full, meminfo("Shmem:"));
		}
	}
	EXPECT_EQ(0, settled());
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

/* A new region with memory in it. */
static int with_memory(void)
{
	int fd = region(GIB);

	if (map_obj(fd, 0, MIB, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0))
		return -1;
	return fd;
}

static char *fd_path(int fd)
{
	static char path[64];

	sprintf(path, "/proc/self/fd/%d", fd);
	return path;
}

/* Opens FD again, closes both, and returns what a watch saw of it. */
static uint32_t watched(int fd)
{
	char buffer[4096] __attribute__((aligned(8)));
	int in = inotify_init1(IN_NONBLOCK);
	struct inotify_event *event;
	ssize_t size, at;
	uint32_t seen = 0;

	if (inotify_add_watch(in, fd_path(fd), IN_ALL_EVENTS) < 0)
		return 0;
	close(open(fd_path(fd), O_RDWR));
	close(fd);
	/* With the watch in place: closing it comes later. */
	BECOMES((size = read(in, buffer, sizeof(buffer))) >= 0);
	for (at = 0; at < size; at += sizeof(*event) + event->len) {
		event = (struct inotify_event *)(buffer + at);
		seen |= event->mask;
	}
	if (settled())
		seen = 0;
	close(in);
	return seen;
}

/* It goes with the last file, and the watch is told, as of a memfd. */
TEST(a_watch_does_not_keep_it)
{
	uint32_t of_memfd = watched(memfd(MIB, 0));
	long long regions = settled();
	int in = inotify_init1(IN_NONBLOCK), fd = with_memory();

	ASSERT_LE(0, fd);
	ASSERT_LE(0, inotify_add_watch(in, fd_path(fd), IN_ALL_EVENTS));
	ASSERT_OK(close(fd));
	EXPECT_TRUE(sys_mshare_becomes("regions", regions));
	close(in);
	EXPECT_EQ(IN_OPEN | IN_CLOSE_WRITE | IN_DELETE_SELF | IN_IGNORED, of_memfd);
	EXPECT_EQ(of_memfd, watched(region(GIB)));
}

/*
 * An event has a file of its own, as one about a memfd.  Since Linux 6.14 only files that
 * were opened by a path cause events, as is true of memfds, too.
 */
TEST(a_mark_does_not_keep_it_but_an_event_does)
{
	long long regions = settled();
	struct fanotify_event_metadata event;
	int notify, fd = with_memory(), made = with_memory(), other;

	ASSERT_LE(0, fd);
	ASSERT_LE(0, made);
	other = open(fd_path(made), O_RDWR);
	ASSERT_LE(0, other);
	ASSERT_OK(close(made));
	notify = fanotify_init(FAN_CLASS_NOTIF | FAN_NONBLOCK, O_RDONLY);
	if (notify < 0)
		SKIP(return, "no fanotify: %m");
	EXPECT_ERR(EINVAL, fanotify_mark(notify, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_OPEN,
					 AT_FDCWD, fd_path(fd)));
	EXPECT_ERR(EINVAL, fanotify_mark(notify, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_OPEN,
					 AT_FDCWD, fd_path(fd)));
	ASSERT_OK(fanotify_mark(notify, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, fd_path(fd)));
	ASSERT_OK(close(fd));
	EXPECT_TRUE(sys_mshare_becomes("regions", regions + 1));

	ASSERT_OK(fanotify_mark(notify, FAN_MARK_ADD, FAN_CLOSE, AT_FDCWD, fd_path(other)));
	ASSERT_OK(close(other));
	sleep_ms(200);
	EXPECT_EQ(regions + 1, sys_mshare("regions"));
	ASSERT_EQ(sizeof(event), read(notify, &event, sizeof(event)));
	EXPECT_EQ(FAN_CLOSE_WRITE, event.mask);
	/* The event has it again; its last close causes no event. */
	EXPECT_EQ(GIB, stat_of(event.fd).size);
	ASSERT_OK(close(event.fd));
	EXPECT_TRUE(sys_mshare_becomes("regions", regions));
	close(notify);
}

TEST(a_lease_or_a_lock_does_not_keep_it)
{
	struct flock lock = { .l_type = F_WRLCK };
	long long regions = settled();
	int fd = with_memory(), reader = open(fd_path(fd), O_RDONLY);

	ASSERT_LE(0, reader);
	EXPECT_OK(flock(fd, LOCK_EX));
	EXPECT_OK(fcntl(fd, F_SETLK, &lock));
	EXPECT_OK(fcntl(reader, F_SETLEASE, F_RDLCK));
	ASSERT_OK(close(fd));
	ASSERT_OK(close(reader));
	EXPECT_TRUE(sys_mshare_becomes("regions", regions));
}

/* What would keep it for longer than a file of it refuses it. */
TEST(others_that_hold_files_refuse_it)
{
	struct { struct file_handle head; char buffer[128]; } handle = {
		.head.handle_bytes = 128,
	};
	struct landlock_ruleset_attr rules = { LANDLOCK_ACCESS_FS_READ_FILE };
	struct landlock_path_beneath_attr rule = { LANDLOCK_ACCESS_FS_READ_FILE };
	struct epoll_event event = { .events = EPOLLIN };
	int fd = with_memory(), ruleset, id;

	ASSERT_LE(0, fd);
	EXPECT_ERR(EPERM, epoll_ctl(epoll_create1(0), EPOLL_CTL_ADD, fd, &event));
	EXPECT_ERR(EOPNOTSUPP, name_to_handle_at(fd, "", &handle.head, &id, AT_EMPTY_PATH));
	ruleset = syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules), 0);
	if (ruleset >= 0) {
		rule.parent_fd = fd;
		EXPECT_ERR(EBADFD, syscall(SYS_landlock_add_rule, ruleset,
					   LANDLOCK_RULE_PATH_BENEATH, &rule, 0));
	}
	if (geteuid())
		SKIP(return, "not root");
	EXPECT_ERR(EOPNOTSUPP, ioctl(fd, FIFREEZE, 0));
	EXPECT_ERR(EINVAL, mount(fd_path(fd), "/dev/null", NULL, MS_BIND, NULL));
	EXPECT_ERR(EINVAL, syscall(SYS_open_tree, fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE));
}

/* A socket that is in flight in itself, with the region, so that it cannot be received. */
TEST(a_cycle_of_sockets_does_not_keep_it)
{
	long long regions = settled();
	int pair[2], other[2], fd = with_memory();

	ASSERT_LE(0, fd);
	ASSERT_OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
	send_fd(pair[0], fd);
	send_fd(pair[0], pair[1]);
	ASSERT_OK(close(fd));
	EXPECT_EQ(regions + 1, sys_mshare("regions"));
	close(pair[0]);
	close(pair[1]);
	/* The end of any socket makes the kernel look for such. */
	ASSERT_OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, other));
	send_fd(other[0], other[0]);
	close(other[0]);
	close(other[1]);
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
