// SPDX-License-Identifier: GPL-2.0
/* mshare_create() and the region's file descriptor. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <grp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

static void fd_path(char *path, int fd)
{
	sprintf(path, "/proc/self/fd/%d", fd);
}

/* Where its descriptor and an attachment are shown, a new region has this name. */
static void is_shown(struct __test_metadata *_metadata, int fd, const char *name)
{
	char want[300], path[64], target[300] = {}, *line, *addr;

	snprintf(want, sizeof(want), "/mshare:%s", name);
	fd_path(path, fd);
	ASSERT_LT(0, readlink(path, target, sizeof(target) - 1));
	EXPECT_STREQ(want, target);
	ASSERT_OK(ftruncate(fd, GIB));
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	line = maps_line(addr);
	ASSERT_LT(strlen(want), strlen(line));
	EXPECT_STREQ(want, line + strlen(line) - strlen(want)) {
		TH_LOG("maps: %s", line);
	}
}

TEST(the_name_is_shown_and_need_not_be_unique)
{
	int a = mshare_create("two of them", 0), b = mshare_create("two of them", 0);

	ASSERT_LE(0, a);
	ASSERT_LE(0, b);
	EXPECT_NE(stat_of(a).id, stat_of(b).id);
	is_shown(_metadata, a, "two of them");
}

TEST(the_name_has_at_most_248_bytes)
{
	char name[256];
	int fd;

	memset(name, 'n', sizeof(name));
	name[248] = 0;
	fd = mshare_create(name, 0);
	ASSERT_LE(0, fd);
	/* And all of them are shown. */
	is_shown(_metadata, fd, name);
	name[248] = 'n';
	name[249] = 0;
	EXPECT_ERR(EINVAL, mshare_create(name, 0));
	EXPECT_LE(0, mshare_create("", 0));
	EXPECT_ERR(EFAULT, mshare_create(NULL, 0));
}

TEST(cloexec_is_by_flag)
{
	int a = mshare_create("a", 0), b = mshare_create("b", MSHARE_CLOEXEC);

	ASSERT_LE(0, a);
	ASSERT_LE(0, b);
	EXPECT_EQ(0, fcntl(a, F_GETFD) & FD_CLOEXEC);
	EXPECT_EQ(FD_CLOEXEC, fcntl(b, F_GETFD) & FD_CLOEXEC);
	EXPECT_EQ(O_RDWR, fcntl(a, F_GETFL) & O_ACCMODE);
}

TEST(a_new_region_is_empty)
{
	int fd = mshare_create("new", 0);
	struct mshare_stat st;

	ASSERT_LE(0, fd);
	st = stat_of(fd);
	EXPECT_EQ(0, st.size);
	EXPECT_EQ(0, st.base);
	EXPECT_EQ(SLOT, st.align);
	EXPECT_EQ(0, st.attachments);
	EXPECT_EQ(0, st.objects);
	EXPECT_EQ(0, st.mapped);
	EXPECT_EQ(0, st.resident);
	EXPECT_EQ(0, st.faults);
	EXPECT_EQ(0, st.flags);
	EXPECT_ERR(EINVAL, mshare_attach(fd, NULL, 0));
	EXPECT_ERR(ENOMEM, map_anon(fd, 0, PAGE, RW));
}

TEST(the_size_is_a_multiple_of_4096_up_to_32_TiB)
{
	int fd = mshare_create("size", 0);

	ASSERT_LE(0, fd);
	EXPECT_ERR(EINVAL, ftruncate(fd, 1));
	EXPECT_ERR(EINVAL, ftruncate(fd, 4095));
	EXPECT_ERR(EINVAL, ftruncate(fd, 4097));
	EXPECT_ERR(EINVAL, ftruncate(fd, -4096));
	EXPECT_ERR(EINVAL, ftruncate(fd, 32 * TIB + 1));
	EXPECT_ERR(EFBIG, ftruncate(fd, 32 * TIB + PAGE));
	EXPECT_ERR(EFBIG, ftruncate(fd, INT64_MAX & ~4095LL));
	EXPECT_EQ(0, stat_of(fd).size);
	EXPECT_EQ(0, stat_of(fd).base);
	EXPECT_OK(ftruncate(fd, PAGE));
	EXPECT_EQ(PAGE, stat_of(fd).size);
	EXPECT_OK(ftruncate(fd, 3 * GIB));
	EXPECT_EQ(3 * GIB, stat_of(fd).size);
	EXPECT_OK(ftruncate(fd, 32 * TIB));
	EXPECT_EQ(32 * TIB, stat_of(fd).size);
	EXPECT_OK(ftruncate(fd, 0));
	EXPECT_EQ(0, stat_of(fd).size);
}

TEST(the_base_is_picked_once_in_the_window_and_is_nobody_elses)
{
	uint64_t base[8];
	int i, j;

	for (i = 0; i < 8; i++) {
		int fd = region(SLOT + PAGE);

		ASSERT_LE(0, fd);
		base[i] = stat_of(fd).base;
		EXPECT_LE(WINDOW_START, base[i]);
		EXPECT_GE(WINDOW_END, base[i] + 2 * SLOT);
		EXPECT_EQ(0, base[i] % SLOT);
		for (j = 0; j < i; j++)
			EXPECT_TRUE(base[i] + 2 * SLOT <= base[j] || base[j] + 2 * SLOT <= base[i]);
		EXPECT_OK(ftruncate(fd, GIB));
		EXPECT_OK(ftruncate(fd, 3 * SLOT));
		EXPECT_EQ(base[i], stat_of(fd).base);
	}
}

TEST(when_the_window_is_full_bases_overlap)
{
	int fd[3] = { region(32 * TIB), region(32 * TIB), region(GIB) }, i;
	struct mshare_stat st[3];

	for (i = 0; i < 3; i++) {
		ASSERT_LE(0, fd[i]);
		st[i] = stat_of(fd[i]);
		EXPECT_LE(WINDOW_START, st[i].base);
		EXPECT_GE(WINDOW_END, st[i].base + st[i].size);
		EXPECT_EQ(0, st[i].base % SLOT);
	}
	/* Two times 32 TiB in 48 TiB. */
	EXPECT_TRUE(st[0].base < st[1].base + 32 * TIB && st[1].base < st[0].base + 32 * TIB);
	EXPECT_EQ((void *)st[1].base, mshare_attach(fd[1], NULL, 0));
}

TEST(when_the_window_is_full_bases_are_where_the_fewest_are)
{
	const int slots = (WINDOW_END - WINDOW_START) / SLOT;
	int taken[(WINDOW_END - WINDOW_START) / SLOT] = {}, fd, i;

	ASSERT_EQ(0, settled());
	/* One that takes four, and what makes up two for each. */
	fd = region(4 * SLOT);
	ASSERT_LE(0, fd);
	for (i = 0; i < 4; i++)
		taken[(stat_of(fd).base - WINDOW_START) / SLOT + i]++;
	for (i = 4; i < 2 * slots; i++) {
		fd = region(PAGE);
		ASSERT_LE(0, fd);
		taken[(stat_of(fd).base - WINDOW_START) / SLOT]++;
	}
	for (i = 0; i < slots; i++)
		EXPECT_EQ(2, taken[i]);
	/* A slot that is given back is the one to take. */
	i = stat_of(fd).base / SLOT;
	ASSERT_OK(close(fd));
	ASSERT_TRUE(sys_mshare_becomes("regions", 2 * slots - 4));
	EXPECT_EQ(i, stat_of(region(PAGE)).base / SLOT);
}

#define MANY	4000
#define TIMED	500

/* Microseconds in which TIMED new regions get their size: the best of three times. */
static long long sizes_take(struct __test_metadata *_metadata)
{
	long long time, best = INT64_MAX;
	uint64_t from;
	int fd[TIMED], i, round;

	for (round = 0; round < 3; round++) {
		for (i = 0; i < TIMED; i++) {
			fd[i] = mshare_create("timed", 0);
			ASSERT_LE(0, fd[i]);
		}
		from = now_ns();
		for (i = 0; i < TIMED; i++)
			ASSERT_OK(ftruncate(fd[i], PAGE));
		time = (now_ns() - from) / 1000;
		for (i = 0; i < TIMED; i++)
			close(fd[i]);
		if (time < best)
			best = time;
	}
	return best;
}

/* Nothing is done for each region there is, at least with a lock that others need. */
TEST(a_new_region_takes_no_longer_when_there_are_many)
{
	const char *limit = "/sys/kernel/mm/mshare/max_regions_per_user";
	long long old = read_number(limit), few, many, beside;
	struct rlimit files = { 2 * MANY, 2 * MANY };
	pid_t reader;
	int i;

	if (geteuid())
		SKIP(return, "not root");
	ASSERT_OK(setrlimit(RLIMIT_NOFILE, &files));
	ASSERT_TRUE(write_number(limit, 0));
	few = sizes_take(_metadata);
	for (i = 0; i < MANY; i++)
		ASSERT_LE(0, region(PAGE));
	many = sizes_take(_metadata);
	reader = fork();
	ASSERT_LE(0, reader);
	while (!reader)
		sys_mshare("pgtable_bytes");
	beside = sizes_take(_metadata);
	kill(reader, SIGKILL);
	EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(reader));
	TH_LOG("%lld us, with many %lld us, and with a reader of pgtable_bytes %lld us", few, many,
	       beside);
	/* The clock may have ticks of 4 ms. */
	EXPECT_GE(3 * few + 20000, many);
	EXPECT_GE(3 * few + 20000, beside);
	EXPECT_TRUE(write_number(limit, old));
}

TEST(a_size_that_is_refused_changes_nothing)
{
	static const uint64_t sizes[] = { 1, GIB + 1, 32 * TIB + PAGE, MIB, 0 };
	struct snap before, after;
	unsigned int i;
	char *addr;
	int fd;

	addr = filled_region(&fd, 0, 2 * MIB);
	ASSERT_NE(NULL, addr);
	before = snap_take(fd, addr, 2 * MIB);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		EXPECT_EQ(-1, ftruncate(fd, sizes[i]));
	after = snap_take(fd, addr, 2 * MIB);
	EXPECT_TRUE(snap_same(&before, &after));
}

TEST(shrinking_below_an_object_is_EBUSY)
{
	int fd = region(GIB);
	struct mshare_stat before;

	ASSERT_LE(0, fd);
	ASSERT_EQ(MIB, map_anon(fd, MIB, MIB, RW));
	before = stat_of(fd);
	EXPECT_ERR(EBUSY, ftruncate(fd, 2 * MIB - PAGE));
	EXPECT_ERR(EBUSY, ftruncate(fd, PAGE));
	EXPECT_ERR(EBUSY, ftruncate(fd, 0));
	EXPECT_EQ(before.size, stat_of(fd).size);
	EXPECT_EQ(1, stat_of(fd).objects);
	EXPECT_OK(ftruncate(fd, 2 * MIB));
	EXPECT_ERR(ENOMEM, map_anon(fd, 2 * MIB, PAGE, RW));
	EXPECT_OK(mshare_unmap(fd, 0, 2 * MIB, 0));
	EXPECT_OK(ftruncate(fd, 0));
}

TEST(shrinking_to_fewer_slots_than_an_attachment_has_is_EBUSY)
{
	int fd = region(2 * SLOT);
	char *addr;

	ASSERT_LE(0, fd);
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_ERR(EBUSY, ftruncate(fd, SLOT));
	EXPECT_ERR(EBUSY, ftruncate(fd, 0));
	EXPECT_EQ(2 * SLOT, stat_of(fd).size);
	EXPECT_OK(ftruncate(fd, SLOT + PAGE));
	ASSERT_OK(mshare_detach(addr, 0));
	EXPECT_OK(ftruncate(fd, SLOT));
}

TEST(growing_within_a_slot_needs_no_new_attach)
{
	int fd = region(PAGE);
	char *addr;

	ASSERT_LE(0, fd);
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_ERR(ENOMEM, map_anon(fd, GIB, PAGE, RW));
	ASSERT_OK(ftruncate(fd, 2 * GIB));
	ASSERT_EQ(GIB, map_anon(fd, GIB, PAGE, RW));
	EXPECT_EQ(FAULT_NONE, try_store(addr + GIB, 7));
	EXPECT_EQ(7, addr[GIB]);
}

TEST(growing_into_more_slots_needs_a_new_attach)
{
	int fd = region(SLOT);
	char *old, *new;

	old = attached(fd, 0, PAGE);
	ASSERT_NE(NULL, old);
	ASSERT_OK(ftruncate(fd, 2 * SLOT));
	ASSERT_EQ(SLOT, map_anon(fd, SLOT, PAGE, RW));
	EXPECT_EQ(FAULT_NONE, try_store(old, 1));
	EXPECT_NE(FAULT_NONE, try_load(old + SLOT));
	new = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, new);
	EXPECT_EQ(1, new[0]);
	EXPECT_EQ(FAULT_NONE, try_store(new + SLOT, 2));
}

TEST(O_TRUNC_follows_the_rules_of_ftruncate)
{
	int fd = region(GIB), again;
	char path[64];

	ASSERT_LE(0, fd);
	fd_path(path, fd);
	ASSERT_EQ(0, map_anon(fd, 0, PAGE, RW));
	EXPECT_ERR(EBUSY, open(path, O_RDWR | O_TRUNC));
	EXPECT_EQ(GIB, stat_of(fd).size);
	ASSERT_OK(mshare_unmap(fd, 0, PAGE, 0));
	again = open(path, O_RDWR | O_TRUNC);
	EXPECT_LE(0, again);
	EXPECT_EQ(0, stat_of(fd).size);
}

TEST(RLIMIT_FSIZE_applies)
{
	int fd = region(PAGE);

	ASSERT_LE(0, fd);
	IN_CHILD({
		struct rlimit lim = { MIB, MIB };

		signal(SIGXFSZ, SIG_IGN);
		CHILD_CHECK(!setrlimit(RLIMIT_FSIZE, &lim));
		CHILD_CHECK(!ftruncate(fd, MIB));
		CHILD_CHECK(ftruncate(fd, MIB + PAGE) == -1 && errno == EFBIG);
	});
	EXPECT_EQ(MIB, stat_of(fd).size);
}

TEST(fstat_tells_size_owner_and_mode)
{
	int fd = region(5 * MIB);
	struct stat st;

	ASSERT_LE(0, fd);
	ASSERT_OK(fstat(fd, &st));
	EXPECT_EQ(5 * MIB, st.st_size);
	EXPECT_EQ(S_IFREG | 0600, st.st_mode);
	EXPECT_EQ(geteuid(), st.st_uid);
	EXPECT_EQ(getegid(), st.st_gid);
	EXPECT_OK(fchmod(fd, 0640));
	EXPECT_OK(fchown(fd, 12, 34));
	ASSERT_OK(fstat(fd, &st));
	EXPECT_EQ(S_IFREG | 0640, st.st_mode);
	EXPECT_EQ(12, st.st_uid);
	EXPECT_EQ(34, st.st_gid);
	EXPECT_EQ(5 * MIB, st.st_size);
}

TEST(read_write_and_mmap_of_the_fd_are_refused)
{
	int fd = region(GIB);
	char buf[16] = "";
	struct iovec iov = { buf, sizeof(buf) };

	ASSERT_LE(0, fd);
	EXPECT_ERR(EINVAL, read(fd, buf, sizeof(buf)));
	EXPECT_ERR(EINVAL, write(fd, buf, sizeof(buf)));
	EXPECT_ERR(EINVAL, pread(fd, buf, sizeof(buf), 0));
	EXPECT_ERR(EINVAL, pwrite(fd, buf, sizeof(buf), 0));
	EXPECT_ERR(EINVAL, readv(fd, &iov, 1));
	EXPECT_ERR(ENODEV, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0));
	EXPECT_ERR(ENODEV, mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0));
	EXPECT_ERR(ENODEV, mmap(NULL, SLOT, PROT_READ, MAP_SHARED, fd, 0));
}

TEST(a_reopened_fd_is_the_same_region)
{
	int fd = region(GIB), rw, ro;
	char path[64], *addr;

	ASSERT_LE(0, fd);
	fd_path(path, fd);
	rw = open(path, O_RDWR);
	ro = open(path, O_RDONLY);
	ASSERT_LE(0, rw);
	ASSERT_LE(0, ro);
	EXPECT_EQ(stat_of(fd).id, stat_of(rw).id);
	EXPECT_EQ(stat_of(fd).id, stat_of(ro).id);
	ASSERT_EQ(0, map_anon(rw, 0, PAGE, RW));
	close(fd);
	close(rw);
	EXPECT_ERR(EACCES, mshare_attach(ro, NULL, 0));
	addr = mshare_attach(ro, NULL, MSHARE_ATTACH_RDONLY);
	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_EQ(FAULT_NONE, try_load(addr));
	EXPECT_EQ(FAULT_ACCERR, try_store(addr, 1));
	/* The owner can reopen it for writing. */
	fd_path(path, ro);
	EXPECT_LE(0, open(path, O_RDWR));
}

/* Without a group of root's: the mode may allow less to that than to others. */
static bool become_stranger(void)
{
	return !setgroups(0, NULL) && !setresgid(1000, 1000, 1000) &&
	       !setresuid(1000, 1000, 1000);
}

TEST(opening_a_fd_of_proc_checks_owner_and_mode)
{
	int fd = region(GIB);
	char path[64];

	ASSERT_LE(0, fd);
	if (geteuid())
		SKIP(return, "not root");
	fd_path(path, fd);
	IN_CHILD({
		CHILD_CHECK(become_stranger());
		CHILD_CHECK(!prctl(PR_SET_DUMPABLE, 1));
		CHILD_CHECK(open(path, O_RDONLY) == -1 && errno == EACCES);
		CHILD_CHECK(open(path, O_RDWR) == -1 && errno == EACCES);
	});
	ASSERT_OK(fchmod(fd, 0604));
	IN_CHILD({
		int ro;

		CHILD_CHECK(become_stranger());
		CHILD_CHECK(!prctl(PR_SET_DUMPABLE, 1));
		CHILD_CHECK(open(path, O_RDWR) == -1 && errno == EACCES);
		ro = open(path, O_RDONLY);
		CHILD_CHECK(ro >= 0);
		/* And what it got cannot be made more of. */
		fd_path(path, ro);
		CHILD_CHECK(open(path, O_RDWR) == -1 && errno == EACCES);
		CHILD_CHECK(mshare_attach(ro, NULL, 0) == MAP_FAILED && errno == EACCES);
		CHILD_CHECK(mshare_attach(ro, NULL, MSHARE_ATTACH_RDONLY) != MAP_FAILED);
	});
}

TEST(SCM_RIGHTS_hands_it_over)
{
	int pair[2];

	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid_t pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		int fd = region(GIB);
		char *addr = mshare_attach(fd, NULL, 0);

		CHILD_CHECK(addr != MAP_FAILED && map_anon(fd, 0, PAGE, RW) == 0);
		memcpy(addr, "handed over", 12);
		send_fd(pair[0], fd);
		_exit(0);
	}
	int fd = receive_fd(pair[1]);
	EXPECT_EQ(0, wait_for(pid));
	ASSERT_LE(0, fd);
	char *addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_STREQ("handed over", addr);
}

TEST(pidfd_getfd_hands_it_over)
{
	int pair[2], pidfd, theirs = 0, fd;
	char *addr;

	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid_t pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		fd = region(GIB);
		addr = mshare_attach(fd, NULL, 0);
		CHILD_CHECK(addr != MAP_FAILED && map_anon(fd, 0, PAGE, RW) == 0);
		*addr = 42;
		CHILD_CHECK(write(pair[0], &fd, sizeof(fd)) == sizeof(fd));
		pause();
	}
	ASSERT_EQ(sizeof(theirs), read(pair[1], &theirs, sizeof(theirs)));
	pidfd = syscall(SYS_pidfd_open, pid, 0);
	ASSERT_LE(0, pidfd);
	fd = syscall(SYS_pidfd_getfd, pidfd, theirs, 0);
	ASSERT_LE(0, fd);
	kill(pid, SIGKILL);
	EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(pid));
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_EQ(42, *addr);
}

TEST(fallocate_and_seals_are_refused)
{
	int fd = region(GIB);

	ASSERT_LE(0, fd);
	EXPECT_EQ(-1, fallocate(fd, 0, 0, PAGE));
	EXPECT_ERR(EINVAL, fcntl(fd, F_ADD_SEALS, 8));
	EXPECT_EQ(GIB, stat_of(fd).size);
}

TEST_HARNESS_MAIN
