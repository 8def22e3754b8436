// SPDX-License-Identifier: GPL-2.0
/*
 * The conveniences of libmshare on a kernel that has the calls; what they do on
 * others and with broken sockets is in libmshare/host_test.c.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <dirent.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define SYS	"/sys/kernel/mm/mshare/"

/* What a call that fails must leave as it was. */
struct state {
	long long regions;
	long long attachments;
	int fds;
	int maps;
};

static int entries(const char *path)
{
	DIR *dir = opendir(path);
	int count = 0;

	while (dir && readdir(dir))
		count++;
	if (dir)
		closedir(dir);
	return count;
}

static struct state state(void)
{
	struct state s = { .fds = entries("/proc/self/fd") };
	char *text = slurp("/proc/self/maps"), *at;

	for (at = strstr(text, "/mshare:"); at; at = strstr(at + 1, "/mshare:"))
		s.maps++;
	free(text);
	s.regions = sys_mshare("regions");
	s.attachments = sys_mshare("attachments");
	return s;
}

/* Regions take a while to go. */
static bool as_before(const struct state *before)
{
	struct state now;

	if (!sys_mshare_becomes("regions", before->regions) ||
	    !sys_mshare_becomes("attachments", before->attachments))
		return false;
	now = state();
	if (now.fds == before->fds && now.maps == before->maps)
		return true;
	fprintf(stderr, "# %d descriptors and %d attachments, were %d and %d\n", now.fds, now.maps,
		before->fds, before->maps);
	return false;
}

static const struct mshare_region untouched = { 77, 88, (void *)99, 111 };

static bool is_untouched(const struct mshare_region *r)
{
	return r->fd == untouched.fd && r->flags == untouched.flags &&
	       r->addr == untouched.addr && r->size == untouched.size;
}

static bool limit(int what, rlim_t value)
{
	struct rlimit lim = { value, value };

	return !setrlimit(what, &lim);
}

static bool become(uid_t uid)
{
	/* Else /proc/self would stay root's. */
	return !setresgid(uid, uid, uid) && !setresuid(uid, uid, uid) &&
	       !prctl(PR_SET_DUMPABLE, 1);
}

FIXTURE(library) {
	struct state before;
};

FIXTURE_SETUP(library)
{
	ASSERT_EQ(0, settled());
	self->before = state();
}

FIXTURE_TEARDOWN(library)
{
	EXPECT_TRUE(as_before(&self->before));
}

TEST_F(library, abi_version_is_2_and_creates_nothing)
{
	errno = EXDEV;
	EXPECT_EQ(2, mshare_abi_version());
	EXPECT_EQ(EXDEV, errno);
	EXPECT_TRUE(as_before(&self->before));
}

TEST_F(library, abi_version_does_not_care_whether_create_is_enabled)
{
	struct mshare_region r = untouched;

	ASSERT_TRUE(write_number(SYS "enabled", 0));
	EXPECT_EQ(2, mshare_abi_version());
	EXPECT_ERR(EPERM, mshare_region_create(&r, "no", MIB, 0));
	EXPECT_TRUE(is_untouched(&r));
	ASSERT_TRUE(write_number(SYS "enabled", 1));
}

TEST_F(library, abi_version_behind_seccomp)
{
	static const int errnos[] = { ENOSYS, EPERM, 0, EINVAL };
	static const int told[] = { ENOSYS, EPERM, EPROTO, EPROTO };
	int i;

	for (i = 0; i < 4; i++) {
		struct sock_filter code[] = {
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_mshare_create, 0, 1),
			BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | errnos[i]),
			BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		};
		struct sock_fprog prog = { 4, code };

		IN_CHILD({
			CHILD_CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
			CHILD_CHECK(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog));
			errno = 0;
			CHILD_CHECK(mshare_abi_version() == 0);
			CHILD_CHECK(errno == told[i]);
		});
	}
}

TEST_F(library, region_create_gives_memory_that_others_share)
{
	struct mshare_region r = untouched, other = untouched;
	struct mshare_stat st;
	char *line;
	int fd;

	ASSERT_OK(mshare_region_create(&r, "a name", 8 * MIB, MSHARE_CLOEXEC));
	st = stat_of(r.fd);
	EXPECT_EQ(8 * MIB, r.size);
	EXPECT_EQ(8 * MIB, st.size);
	EXPECT_EQ(8 * MIB, st.mapped);
	EXPECT_EQ(1, st.objects);
	EXPECT_EQ(1, st.attachments);
	EXPECT_EQ(0, st.flags);
	EXPECT_EQ(0, r.flags);
	EXPECT_EQ((void *)st.base, r.addr);
	EXPECT_EQ(FD_CLOEXEC, fcntl(r.fd, F_GETFD));
	line = maps_line(r.addr);
	EXPECT_TRUE(!!strstr(line, "/mshare:a name")) {
		TH_LOG("maps: %s", line);
	}
	EXPECT_EQ(0, stat_of(r.fd).resident);

	fill(r.addr, r.size, 1);
	fd = dup(r.fd);
	ASSERT_OK(mshare_region_attach(&other, fd, MSHARE_ATTACH_RDONLY));
	EXPECT_EQ(fd, other.fd);
	EXPECT_EQ(MSHARE_ATTACH_RDONLY, other.flags);
	EXPECT_EQ(8 * MIB, other.size);
	EXPECT_NE(r.addr, other.addr);
	EXPECT_EQ(0, wrong(other.addr, other.size, 1));
	EXPECT_EQ(FAULT_ACCERR, try_store(other.addr, 1));
	EXPECT_EQ(FAULT_NONE, try_store(mshare_ptr(&r, r.size - 1), 200));
	EXPECT_EQ(200, *(uint8_t *)mshare_ptr(&other, r.size - 1));
	EXPECT_EQ(FAULT_ACCERR, try_exec(r.addr));
	IN_CHILD(CHILD_CHECK(*(uint8_t *)mshare_ptr(&other, r.size - 1) == 200));

	EXPECT_OK(mshare_region_close(&r));
	EXPECT_EQ(-1, r.fd);
	EXPECT_EQ(NULL, r.addr);
	EXPECT_EQ(0, r.size);
	/* The other one holds it. */
	EXPECT_EQ(200, *(uint8_t *)mshare_ptr(&other, 8 * MIB - 1));
	EXPECT_OK(mshare_region_close(&other));
}

TEST_F(library, create_passes_its_flags_on)
{
	struct mshare_region r;

	ASSERT_OK(mshare_region_create(&r, "owned", PAGE, MSHARE_OWNED));
	EXPECT_EQ(MSHARE_STAT_OWNED, stat_of(r.fd).flags);
	EXPECT_EQ(0, fcntl(r.fd, F_GETFD));
	EXPECT_OK(mshare_region_close(&r));
}

/* A list that the child finds by offsets, at another address, and adds to. */
struct node {
	uint64_t next;
	int value;
};

TEST_F(library, two_processes_over_a_socket)
{
	struct mshare_region r;
	struct node *node;
	uint64_t at;
	int pair[2], i, sum = 0;
	pid_t pid;
	char byte;

	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	fflush(NULL);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct mshare_region mine;
		int fd;

		close(pair[0]);
		fd = mshare_recv_fd(pair[1]);
		CHILD_CHECK(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC);
		/* At the address that the region has elsewhere is something else. */
		CHILD_CHECK(mmap((void *)stat_of(fd).base, PAGE, PROT_READ, MAP_PRIVATE |
				 MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != MAP_FAILED);
		CHILD_CHECK(!mshare_region_attach(&mine, fd, 0));
		CHILD_CHECK(mine.addr != (void *)stat_of(fd).base);
		CHILD_CHECK(mine.size == MIB);
		for (at = 0; ; at = node->next) {
			node = mshare_ptr(&mine, at);
			CHILD_CHECK(node);
			node->value *= 2;
			if (!node->next)
				break;
		}
		node[1] = (struct node){ .value = 1000 };
		node->next = mshare_offset(&mine, node + 1);
		CHILD_CHECK(!mshare_region_close(&mine));
		CHILD_CHECK(write(pair[1], "x", 1) == 1);
		_exit(0);
	}
	close(pair[1]);
	ASSERT_OK(mshare_region_create(&r, "list", MIB, 0));
	for (i = 0; i < 10; i++) {
		node = mshare_ptr(&r, i * 12345 / 8 * 8);
		node->value = i;
		node->next = i < 9 ? (i + 1) * 12345 / 8 * 8 : 0;
	}
	ASSERT_OK(mshare_send_fd(pair[0], r.fd));
	ASSERT_EQ(1, read(pair[0], &byte, 1));
	EXPECT_EQ(0, wait_for(pid));
	for (at = 0, i = 0; i < 11; i++, at = node->next) {
		node = mshare_ptr(&r, at);
		ASSERT_NE(NULL, node);
		EXPECT_EQ(at, mshare_offset(&r, node));
		sum += node->value;
	}
	EXPECT_EQ(90 + 1000, sum);
	EXPECT_EQ(0, at);
	EXPECT_OK(mshare_region_close(&r));
	close(pair[0]);
}

TEST_F(library, who_gets_a_read_only_descriptor_cannot_write)
{
	struct mshare_region r;
	int pair[2], ro;
	pid_t pid;

	ASSERT_OK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair));
	fflush(NULL);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct mshare_region mine = untouched;
		int fd;
		char path[64];

		CHILD_CHECK(become(1000));
		fd = mshare_recv_fd(pair[1]);
		CHILD_CHECK(fd >= 0);
		CHILD_CHECK(mshare_region_attach(&mine, fd, 0) == -1 && errno == EACCES);
		CHILD_CHECK(is_untouched(&mine) && fcntl(fd, F_GETFD) != -1);
		CHILD_CHECK(map_anon(fd, 0, PAGE, RW) == -1 && errno == EBADF);
		sprintf(path, "/proc/self/fd/%d", fd);
		CHILD_CHECK(open(path, O_RDWR) == -1 && errno == EACCES);
		/* Nor read it once more: it is another user's. */
		CHILD_CHECK(mshare_reopen_rdonly(fd) == -1 && errno == EACCES);
		CHILD_CHECK(!mshare_region_attach(&mine, fd, MSHARE_ATTACH_RDONLY));
		CHILD_CHECK(!wrong(mine.addr, MIB, 7));
		CHILD_CHECK(try_store(mine.addr, 1) == FAULT_ACCERR);
		CHILD_CHECK(!mshare_region_close(&mine));
		_exit(0);
	}
	ASSERT_OK(mshare_region_create(&r, "data", MIB, 0));
	fill(r.addr, MIB, 7);
	ro = mshare_reopen_rdonly(r.fd);
	ASSERT_LE(0, ro);
	EXPECT_EQ(stat_of(r.fd).id, stat_of(ro).id);
	EXPECT_EQ(O_RDONLY, fcntl(ro, F_GETFL) & O_ACCMODE);
	EXPECT_EQ(FD_CLOEXEC, fcntl(ro, F_GETFD));
	ASSERT_OK(mshare_send_fd(pair[0], ro));
	EXPECT_EQ(0, wait_for(pid));
	EXPECT_OK(close(ro));
	EXPECT_OK(mshare_region_close(&r));
	close(pair[0]);
	close(pair[1]);
}

TEST_F(library, reopen_that_fails_opens_nothing)
{
	int fd = region(MIB), file = memfd(PAGE, 0), path = open("/proc/self/exe", O_PATH);
	struct state before = state();

	ASSERT_LE(0, fd);
	EXPECT_ERR(EBADF, mshare_reopen_rdonly(-1));
	EXPECT_ERR(EBADF, mshare_reopen_rdonly(999));
	EXPECT_ERR(EBADF, mshare_reopen_rdonly(path));
	EXPECT_ERR(EBADFD, mshare_reopen_rdonly(file));
	IN_CHILD({
		CHILD_CHECK(limit(RLIMIT_NOFILE, fd));
		CHILD_CHECK(mshare_reopen_rdonly(fd) == -1 && errno == EMFILE);
	});
	IN_CHILD({
		/* No /proc there. */
		CHILD_CHECK(!chroot("/dev"));
		CHILD_CHECK(mshare_reopen_rdonly(fd) == -1 && errno == ENOENT);
	});
	EXPECT_TRUE(as_before(&before));
	close(fd);
	close(file);
	close(path);
}

TEST_F(library, a_create_that_fails_leaves_nothing)
{
	struct mshare_region r = untouched;
	long long users = read_number(SYS "max_regions_per_user");
	char name[300];

	memset(name, 'n', sizeof(name));
	name[MSHARE_NAME_MAX + 1] = 0;
	EXPECT_ERR(EFAULT, mshare_region_create(&r, NULL, MIB, 0));
	EXPECT_ERR(EINVAL, mshare_region_create(&r, name, MIB, 0));
	EXPECT_ERR(EINVAL, mshare_region_create(&r, "r", MIB, 0x80000000));
	EXPECT_ERR(EINVAL, mshare_region_create(&r, "r", MIB, MSHARE_QUERY_ABI));
	EXPECT_ERR(EINVAL, mshare_region_create(&r, NULL, MIB, MSHARE_QUERY_ABI));
	EXPECT_ERR(EINVAL, mshare_region_create(&r, "r", 0, 0));
	EXPECT_ERR(EINVAL, mshare_region_create(&r, "r", MIB + 1, 0));
	EXPECT_ERR(EFBIG, mshare_region_create(&r, "r", 32 * TIB + PAGE, 0));
	EXPECT_ERR(EFBIG, mshare_region_create(&r, "r", 1ULL << 63, 0));
	EXPECT_ERR(EFBIG, mshare_region_create(&r, "r", ~4095ULL, 0));
	/* More than the system commits itself to. */
	EXPECT_ERR(ENOMEM, mshare_region_create(&r, "r", 16 * TIB, 0));
	EXPECT_TRUE(as_before(&self->before));
	EXPECT_TRUE(is_untouched(&r));
	ASSERT_TRUE(write_number(SYS "max_regions_per_user", 1));
	IN_CHILD({
		CHILD_CHECK(become(1000));
		CHILD_CHECK(mshare_create("the only one", 0) >= 0);
		CHILD_CHECK(mshare_region_create(&r, "r", MIB, 0) == -1 && errno == EDQUOT);
		CHILD_CHECK(is_untouched(&r));
	});
	ASSERT_TRUE(write_number(SYS "max_regions_per_user", users));
	ASSERT_EQ(0, settled());
	IN_CHILD({
		struct state before = state();

		CHILD_CHECK(limit(RLIMIT_FSIZE, MIB));
		signal(SIGXFSZ, SIG_IGN);
		CHILD_CHECK(mshare_region_create(&r, "r", 2 * MIB, 0) == -1 && errno == EFBIG);
		CHILD_CHECK(limit(RLIMIT_AS, MIB));
		CHILD_CHECK(mshare_region_create(&r, "r", MIB, 0) == -1 && errno == ENOMEM);
		CHILD_CHECK(limit(RLIMIT_AS, RLIM_INFINITY));
		CHILD_CHECK(as_before(&before));
		CHILD_CHECK(limit(RLIMIT_NOFILE, 3));
		CHILD_CHECK(mshare_region_create(&r, "r", MIB, 0) == -1 && errno == EMFILE);
		CHILD_CHECK(is_untouched(&r));
	});
}

TEST_F(library, an_attach_that_fails_leaves_the_descriptor)
{
	struct mshare_region r = untouched;
	int fd = region(MIB), empty = region(0), file = memfd(PAGE, 0), ro, dead;
	int path = open("/proc/self/exe", O_PATH), pair[2];
	struct state before;
	pid_t pid;

	ASSERT_LE(0, fd);
	ro = mshare_reopen_rdonly(fd);
	ASSERT_LE(0, ro);
	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	fflush(NULL);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		dead = mshare_create("owned", MSHARE_OWNED);
		CHILD_CHECK(dead >= 0 && !ftruncate(dead, MIB) && !mshare_send_fd(pair[0], dead));
		_exit(0);
	}
	dead = mshare_recv_fd(pair[1]);
	ASSERT_LE(0, dead);
	EXPECT_EQ(0, wait_for(pid));

	before = state();
	EXPECT_ERR(EBADF, mshare_region_attach(&r, -1, 0));
	EXPECT_ERR(EBADF, mshare_region_attach(&r, path, 0));
	EXPECT_ERR(EBADFD, mshare_region_attach(&r, file, 0));
	EXPECT_ERR(EINVAL, mshare_region_attach(&r, fd, 0x80000000));
	EXPECT_ERR(EINVAL, mshare_region_attach(&r, empty, 0));
	EXPECT_ERR(EACCES, mshare_region_attach(&r, ro, 0));
	EXPECT_ERR(EOWNERDEAD, mshare_region_attach(&r, dead, 0));
	EXPECT_TRUE(is_untouched(&r));
	EXPECT_TRUE(as_before(&before));
	IN_CHILD({
		CHILD_CHECK(limit(RLIMIT_AS, MIB));
		CHILD_CHECK(mshare_region_attach(&r, fd, 0) == -1 && errno == ENOMEM);
		CHILD_CHECK(is_untouched(&r) && fcntl(fd, F_GETFD) != -1);
	});
	close(fd);
	close(empty);
	close(file);
	close(ro);
	close(dead);
	close(path);
	close(pair[0]);
	close(pair[1]);
}

TEST_F(library, a_close_that_fails_leaves_the_region)
{
	struct mshare_region r, closed;

	ASSERT_OK(mshare_region_create(&r, "r", MIB, 0));
	IN_CHILD({
		struct mshare_region as_it_was = r;
		struct state before = state();

		CHILD_CHECK(!syscall(__NR_mseal, r.addr, SLOT, 0));
		CHILD_CHECK(mshare_region_close(&r) == -1 && errno == EPERM);
		CHILD_CHECK(!memcmp(&r, &as_it_was, sizeof(r)));
		CHILD_CHECK(as_before(&before));
		CHILD_CHECK(try_store(r.addr, 1) == FAULT_NONE);
	});
	EXPECT_OK(mshare_region_close(&r));
	closed = r;
	EXPECT_ERR(EINVAL, mshare_region_close(&r));
	EXPECT_EQ(0, memcmp(&r, &closed, sizeof(r)));
}

TEST_F(library, offsets_end_where_the_region_does)
{
	struct mshare_region r;
	uint8_t *start;

	ASSERT_OK(mshare_region_create(&r, "r", 3 * PAGE, 0));
	start = r.addr;
	errno = 0;
	EXPECT_EQ(start, mshare_ptr(&r, 0));
	EXPECT_EQ(start + 3 * PAGE - 1, mshare_ptr(&r, 3 * PAGE - 1));
	EXPECT_EQ(3 * PAGE - 1, mshare_offset(&r, start + 3 * PAGE - 1));
	EXPECT_EQ(0, errno);
	EXPECT_EQ(NULL, mshare_ptr(&r, 3 * PAGE));
	EXPECT_EQ(EINVAL, errno);
	/* In the attachment, but not in the region. */
	EXPECT_EQ(MSHARE_ANY_OFFSET, mshare_offset(&r, start + 3 * PAGE));
	EXPECT_EQ(MSHARE_ANY_OFFSET, mshare_offset(&r, start - 1));
	EXPECT_EQ(MSHARE_ANY_OFFSET, mshare_offset(&r, &r));
	EXPECT_OK(mshare_region_close(&r));
	EXPECT_EQ(NULL, mshare_ptr(&r, 0));
	EXPECT_EQ(MSHARE_ANY_OFFSET, mshare_offset(&r, start));
}

TEST_F(library, a_region_that_grows_is_attached_anew)
{
	struct mshare_region r, larger;

	ASSERT_OK(mshare_region_create(&r, "r", MIB, 0));
	ASSERT_OK(ftruncate(r.fd, SLOT + MIB));
	EXPECT_EQ(MIB, r.size);
	EXPECT_EQ(NULL, mshare_ptr(&r, SLOT));
	ASSERT_EQ(SLOT, map_anon(r.fd, SLOT, MIB, RW));
	ASSERT_OK(mshare_region_attach(&larger, dup(r.fd), 0));
	EXPECT_EQ(SLOT + MIB, larger.size);
	EXPECT_EQ(FAULT_NONE, try_store(mshare_ptr(&larger, SLOT + MIB - 1), 1));
	EXPECT_OK(mshare_region_close(&r));
	EXPECT_OK(mshare_region_close(&larger));
}

static void *makes_regions(void *arg)
{
	struct mshare_region r, other;
	long bad = 0;
	int i;

	for (i = 0; i < 20; i++) {
		if (mshare_region_create(&r, "r", 16 * PAGE, 0)) {
			bad++;
			continue;
		}
		*(long *)mshare_ptr(&r, 15 * PAGE) = (long)arg + i;
		if (mshare_region_attach(&other, dup(r.fd), MSHARE_ATTACH_RDONLY)) {
			bad++;
		} else {
			bad += *(long *)mshare_ptr(&other, 15 * PAGE) != (long)arg + i;
			bad += !!mshare_region_close(&other);
		}
		bad += !!mshare_region_close(&r);
	}
	return (void *)bad;
}

TEST_F(library, threads_make_regions_side_by_side)
{
	pthread_t threads[4];
	void *bad;
	int i;

	for (i = 0; i < 4; i++)
		ASSERT_OK(pthread_create(&threads[i], NULL, makes_regions, (void *)(i * 1000L)));
	for (i = 0; i < 4; i++) {
		ASSERT_OK(pthread_join(threads[i], &bad));
		EXPECT_EQ(NULL, bad);
	}
}

TEST_HARNESS_MAIN
