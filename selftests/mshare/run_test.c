// SPDX-License-Identifier: GPL-2.0
/*
 * Programs under mshare run: shared memory that is a region means to them what
 * ordinary memory means, which the same cases show on ordinary memory.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <libgen.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>

#define ANON	(MAP_SHARED | MAP_ANONYMOUS)
#define LENGTH	(16 * MIB)
#define PART	(4 * MIB)

/* Starts once more, under the command beside which it was built. */
__attribute__((constructor)) static void preloaded(int argc, char **argv)
{
	char self[4096] = "", command[4200], *args[argc + 5];
	int i;

	if (getenv("MSHARE_RUN_MIN"))
		return;
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		exit(KSFT_FAIL);
	args[0] = "mshare";
	args[1] = "run";
	args[2] = "--min=16M";
	args[3] = strdup(self);
	for (i = 1; i <= argc; i++)
		args[3 + i] = argv[i];
	snprintf(command, sizeof(command), "%s/../libmshare/mshare", dirname(self));
	execv(command, args);
	perror(command);
	exit(KSFT_FAIL);
}

static bool is_region(const void *addr)
{
	return strstr(maps_line(addr), "/mshare:");
}

static int descriptors(void)
{
	int fd, n = 0;

	for (fd = 0; fd < 1000; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void *ordinary(uint64_t length)
{
	return (void *)syscall(SYS_mmap, NULL, length, RW, ANON, -1, 0);
}

FIXTURE(run) {
	char *addr;
	int descriptors;
};

FIXTURE_VARIANT(run) {
	bool region;
	bool closed;		/* the program closes what it does not know */
};

FIXTURE_VARIANT_ADD(run, region) { .region = true };
FIXTURE_VARIANT_ADD(run, closed) { .region = true, .closed = true };
FIXTURE_VARIANT_ADD(run, ordinary) { };

FIXTURE_SETUP(run)
{
	self->descriptors = descriptors();
	if (variant->region)
		self->addr = mmap(NULL, LENGTH, RW, ANON, -1, 0);
	else
		self->addr = ordinary(LENGTH);
	ASSERT_NE(MAP_FAILED, self->addr);
	ASSERT_EQ(variant->region, is_region(self->addr));
	if (variant->closed)
		ASSERT_OK(close_range(3, ~0U, 0));
	fill(self->addr, LENGTH, 1);
}

/* A child has done something: it must not show here. */
FIXTURE_TEARDOWN(run)
{
	EXPECT_EQ(variant->region, is_region(self->addr));
	EXPECT_EQ(0, wrong(self->addr, LENGTH, 1));
	ASSERT_OK(munmap(self->addr, LENGTH));
	EXPECT_EQ(FAULT_MAPERR, try_load(self->addr));
	if (!variant->closed)
		EXPECT_EQ(self->descriptors, descriptors());
}

/* Leaves no trace of itself. */
static bool store(char *addr, uint8_t value)
{
	uint8_t old = *addr;
	int ret = try_store(addr, value);

	*addr = old;
	return ret == FAULT_NONE;
}

TEST_F(run, children_share_it)
{
	char old = *self->addr;

	IN_CHILD({
		CHILD_CHECK(is_region(self->addr) == variant->region);
		CHILD_CHECK(!wrong(self->addr, LENGTH, 1));
		self->addr[0] = old + 1;
	});
	EXPECT_EQ((char)(old + 1), self->addr[0]);
	self->addr[0] = old;
}

TEST_F(run, munmap_is_for_one_process)
{
	IN_CHILD({
		CHILD_CHECK(!munmap(self->addr, LENGTH));
		CHILD_CHECK(try_load(self->addr) == FAULT_MAPERR);
		CHILD_CHECK(try_load(self->addr + LENGTH - 1) == FAULT_MAPERR);
	});
}

TEST_F(run, munmap_of_a_part)
{
	IN_CHILD({
		CHILD_CHECK(!munmap(self->addr + PART, PART));
		CHILD_CHECK(try_load(self->addr + PART - 1) == FAULT_NONE);
		CHILD_CHECK(try_load(self->addr + PART) == FAULT_MAPERR);
		CHILD_CHECK(try_load(self->addr + 2 * PART - 1) == FAULT_MAPERR);
		CHILD_CHECK(store(self->addr + 2 * PART, 7));
		CHILD_CHECK(!variant->region || try_load(self->addr + LENGTH) == FAULT_MAPERR);
		IN_CHILD(CHILD_CHECK(try_load(self->addr + PART) == FAULT_MAPERR));
		CHILD_CHECK(!munmap(self->addr, LENGTH));
		CHILD_CHECK(try_load(self->addr) == FAULT_MAPERR);
	});
}

TEST_F(run, munmap_of_more)
{
	char *other = mmap(NULL, LENGTH, RW, ANON, -1, 0);

	ASSERT_NE(MAP_FAILED, other);
	ASSERT_TRUE(is_region(other));
	IN_CHILD({
		char *low = other < self->addr ? other : self->addr;
		char *high = other < self->addr ? self->addr : other;

		/* What is between ordinary memory and a region is not ours. */
		if (variant->region)
			CHILD_CHECK(!munmap(low, high - low + LENGTH));
		CHILD_CHECK(!variant->region || try_load(self->addr) == FAULT_MAPERR);
		CHILD_CHECK(!variant->region || try_load(other) == FAULT_MAPERR);
	});
	EXPECT_TRUE(is_region(other));
	EXPECT_OK(munmap(other, LENGTH));
}

TEST_F(run, mprotect_is_for_one_process)
{
	char *addr = self->addr;

	IN_CHILD({
		CHILD_CHECK(!mprotect(addr + PART, PART, PROT_READ));
		CHILD_CHECK(try_store(addr + PART, 7) == FAULT_ACCERR);
		CHILD_CHECK(!wrong(addr, LENGTH, 1));
		CHILD_CHECK(store(addr, 7) && store(addr + 2 * PART, 7));
		CHILD_CHECK(!mprotect(addr, LENGTH, PROT_NONE));
		CHILD_CHECK(try_load(addr) == FAULT_ACCERR);
		CHILD_CHECK(!mprotect(addr, LENGTH, RW));
		CHILD_CHECK(store(addr + PART, 7));
	});
	EXPECT_TRUE(store(addr + PART, 7));
	/* Nothing changes, so nothing is lost. */
	EXPECT_OK(mprotect(addr + PART, PART, RW));
	EXPECT_EQ(variant->region, is_region(addr));
	EXPECT_ERR(EINVAL, mprotect(addr + 1, PART, RW));
}

TEST_F(run, pkey_mprotect_is_for_one_process)
{
	int key = pkey_alloc(0, PKEY_DISABLE_WRITE);
	char *addr = self->addr;

	IN_CHILD({
		CHILD_CHECK(!pkey_mprotect(addr, LENGTH, RW, -1));
		CHILD_CHECK(is_region(addr) == variant->region);
		CHILD_CHECK(!pkey_mprotect(addr, PART, PROT_READ, -1));
		CHILD_CHECK(try_store(addr, 7) == FAULT_ACCERR);
		CHILD_CHECK(store(addr + PART, 7));
		CHILD_CHECK(!wrong(addr, LENGTH, 1));
	});
	if (key < 0)
		return;
	IN_CHILD({
		CHILD_CHECK(!pkey_mprotect(addr, PART, RW, key));
		CHILD_CHECK(try_store(addr, 7) == FAULT(SIGSEGV, SEGV_PKUERR));
		/* Handlers of signals have no right to any key, and this one jumps. */
		CHILD_CHECK(!pkey_set(key, 0));
		CHILD_CHECK(!wrong(addr, LENGTH, 1));
	});
	EXPECT_OK(pkey_free(key));
}

TEST_F(run, memory_is_still_shared_after_that)
{
	char *addr = self->addr;
	int ready[2], done[2], i;
	char byte;
	pid_t child;

	ASSERT_OK(pipe(ready));
	ASSERT_OK(pipe(done));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		CHILD_CHECK(!mprotect(addr, PART, PROT_READ));
		addr[PART]++;
		CHILD_CHECK(write(ready[1], "", 1) == 1);
		CHILD_CHECK(read(done[0], &byte, 1) == 1);
		CHILD_CHECK(addr[0] == 'p');
		_exit(0);
	}
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	EXPECT_LT(0, wrong(addr, LENGTH, 1));
	byte = addr[0];
	addr[0] = 'p';
	ASSERT_EQ(1, write(done[1], "", 1));
	EXPECT_EQ(0, wait_for(child));
	addr[0] = byte;
	addr[PART]--;
	for (i = 0; i < 2; i++) {
		close(ready[i]);
		close(done[i]);
	}
}

TEST_F(run, mremap_moves)
{
	char *addr = self->addr;

	IN_CHILD({
		char *to = mmap(NULL, LENGTH + HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		to = (char *)(((uintptr_t)to + HUGE - 1) & -HUGE);
		CHILD_CHECK(mremap(addr, LENGTH, LENGTH, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
		CHILD_CHECK(try_load(addr) == FAULT_MAPERR);
		CHILD_CHECK(!wrong(to, LENGTH, 1));
		CHILD_CHECK(store(to, 7));
		CHILD_CHECK(mremap(to, LENGTH, LENGTH - PART, 0) == to);
		CHILD_CHECK(try_load(to + LENGTH - PART) == FAULT_MAPERR);
	});
}

TEST_F(run, mremap_leaves_the_old_mapping)
{
	char *addr = self->addr;

	IN_CHILD({
		char *to = mremap(addr, LENGTH, LENGTH, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);

		CHILD_CHECK(to != MAP_FAILED && to != addr);
		CHILD_CHECK(!wrong(to, LENGTH, 1) && !wrong(addr, LENGTH, 1));
		CHILD_CHECK(store(to, 7) && store(addr, 7));
		CHILD_CHECK(!munmap(addr, LENGTH));
		CHILD_CHECK(!wrong(to, LENGTH, 1));
	});
}

TEST_F(run, mmap_fixed_over_a_part)
{
	char *addr = self->addr;

	IN_CHILD({
		CHILD_CHECK(mmap(addr + PART, PART, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == addr + PART);
		CHILD_CHECK(addr[PART] == 0 && addr[2 * PART - 1] == 0);
		CHILD_CHECK(store(addr, 7));
		memset(addr + PART, 0, PART);
		CHILD_CHECK(!variant->region || try_load(addr + LENGTH) == FAULT_MAPERR);
	});
}

TEST_F(run, mmap_fixed_over_all)
{
	char *addr = self->addr;

	IN_CHILD({
		CHILD_CHECK(mmap(addr, LENGTH, RW, ANON | MAP_FIXED, -1, 0) == addr);
		CHILD_CHECK(addr[0] == 0 && addr[LENGTH - 1] == 0);
		memset(addr, 7, LENGTH);
	});
}

TEST_F(run, mmap_fixed_behind_it)
{
	char *addr = self->addr;

	/* It is only here that the address is known to be free. */
	if (variant->region)
		IN_CHILD({
			CHILD_CHECK(mmap(addr + LENGTH, PART, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
				    addr + LENGTH);
			addr[LENGTH] = 7;
			CHILD_CHECK(!wrong(addr, LENGTH, 1));
		});
}

TEST_F(run, advice_that_keeps_the_data)
{
	static const int advice[] = {
		MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_DONTNEED, MADV_DODUMP, MADV_DONTDUMP,
		MADV_DOFORK,
		/* These are for a descriptor, which may be closed. */
		MADV_WILLNEED, MADV_COLD, MADV_PAGEOUT, MADV_POPULATE_READ, MADV_POPULATE_WRITE,
	};
	unsigned int i;

	for (i = 0; i < sizeof(advice) / sizeof(advice[0]); i++)
		IN_CHILD({
			CHILD_CHECK(!madvise(self->addr, PART, advice[i]));
			CHILD_CHECK(!wrong(self->addr, LENGTH, 1));
			CHILD_CHECK(is_region(self->addr) == (variant->region && (!variant->closed || i < 7)));
		});
	IN_CHILD({
		/* Ordinary memory may be at an address where that cannot be. */
		CHILD_CHECK(!madvise(self->addr, PART, MADV_COLLAPSE) || !is_region(self->addr));
		CHILD_CHECK(!wrong(self->addr, LENGTH, 1));
	});
	EXPECT_OK(posix_madvise(self->addr, LENGTH, POSIX_MADV_DONTNEED));
	EXPECT_EQ(EINVAL, posix_madvise(self->addr + 1, PART, POSIX_MADV_NORMAL));
	EXPECT_ERR(EINVAL, madvise(self->addr, PART, 12345));
}

TEST_F(run, advice_to_remove_is_for_everyone)
{
	char *addr = self->addr;

	IN_CHILD(CHILD_CHECK(!madvise(addr + PART, PART, MADV_REMOVE)));
	EXPECT_EQ(0, addr[PART]);
	EXPECT_EQ(0, addr[2 * PART - 1]);
	fill(addr, LENGTH, 1);
}

TEST_F(run, advice_not_to_fork)
{
	char *addr = self->addr;

	IN_CHILD({
		CHILD_CHECK(!madvise(addr, LENGTH, MADV_DONTFORK));
		CHILD_CHECK(!wrong(addr, LENGTH, 1));
		IN_CHILD(CHILD_CHECK(try_load(addr) == FAULT_MAPERR));
	});
}

TEST_F(run, mlock)
{
	char *addr = self->addr;

	EXPECT_OK(munlock(addr, LENGTH));
	EXPECT_OK(munlock(addr + 1, PART));
	IN_CHILD({
		CHILD_CHECK(!mlock(addr + 1, PART - 1));
		CHILD_CHECK(file_key("/proc/self/status", "VmLck:") == PART / KIB);
		CHILD_CHECK(!munlock(addr, PART));
		CHILD_CHECK(file_key("/proc/self/status", "VmLck:") == 0);
	});
	IN_CHILD({
		CHILD_CHECK(!mlock2(addr + 1, PART - 1, MLOCK_ONFAULT));
		CHILD_CHECK(file_key("/proc/self/status", "VmLck:") == PART / KIB);
		CHILD_CHECK(!wrong(addr, LENGTH, 1));
	});
	EXPECT_ERR(EINVAL, mlock2(addr + LENGTH - 1, 0, ~0U));
}

TEST_F(run, msync)
{
	EXPECT_OK(msync(self->addr, LENGTH, MS_SYNC));
	EXPECT_OK(msync(self->addr, PART, MS_ASYNC));
	EXPECT_ERR(EINVAL, msync(self->addr, PART, MS_SYNC | MS_ASYNC));
	EXPECT_ERR(EINVAL, msync(self->addr + 1, PART, MS_SYNC));
}

/* What becomes of our system calls from now on. */
static bool filter(unsigned int answer)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, __NR_mshare_create, 0, 2),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, __NR_mshare_create + 7, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, answer),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog prog = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

TEST_F(run, a_filter_that_comes_later)
{
	char *addr = self->addr;

	IN_CHILD({
		int open = descriptors();

		CHILD_CHECK(filter(SECCOMP_RET_ERRNO | EPERM));
		CHILD_CHECK(!munmap(addr, LENGTH));
		CHILD_CHECK(try_load(addr) == FAULT_MAPERR);
		CHILD_CHECK(descriptors() == open - (variant->region && !variant->closed));
		CHILD_CHECK(!strstr(slurp("/proc/self/maps"), "memfd:"));
	});
	IN_CHILD({
		CHILD_CHECK(filter(SECCOMP_RET_ERRNO | EPERM));
		CHILD_CHECK(!madvise(addr, PART, MADV_WILLNEED));
		CHILD_CHECK(!madvise(addr, PART, MADV_POPULATE_WRITE));
		CHILD_CHECK(!mprotect(addr, PART, PROT_READ));
		CHILD_CHECK(!wrong(addr, LENGTH, 1));
	});
}

TEST(a_filter_that_kills)
{
	/* Programs that have no such memory do not notice. */
	IN_CHILD({
		CHILD_CHECK(filter(SECCOMP_RET_KILL_PROCESS));
		execl("/bin/true", "true", NULL);
		_exit(1);
	});
}

/* Fails if there is something of ours. */
static char *const looker[] = { "sh", "-c", "! grep -e /mshare: -e memfd: /proc/self/maps >&2", NULL };

TEST_F(run, exec_drops_it)
{
	IN_CHILD({
		execv("/bin/sh", looker);
		_exit(1);
	});
}

/* Here no handler of fork() is called. */
TEST_F(run, programs_that_are_spawned)
{
	pid_t pid;

	ASSERT_EQ(0, posix_spawn(&pid, "/bin/sh", NULL, NULL, looker, environ));
	EXPECT_EQ(0, wait_for(pid));
	pid = vfork();
	ASSERT_LE(0, pid);
	if (!pid) {
		execv("/bin/sh", looker);
		_exit(1);
	}
	EXPECT_EQ(0, wait_for(pid));
}

static bool served(uint64_t length, int prot, int flags, int fd, void *hint)
{
	char *addr = mmap(hint, length, prot, flags, fd, 0);
	bool region;

	if (addr == MAP_FAILED)
		return false;
	region = is_region(addr);
	munmap(addr, length);
	return region;
}

TEST(what_is_served)
{
	int fd = memfd(LENGTH, 0);
	char *hint = ordinary(LENGTH);

	ASSERT_OK(munmap(hint, LENGTH));
	EXPECT_TRUE(served(LENGTH, RW, ANON, -1, NULL));
	EXPECT_TRUE(served(LENGTH + 1, RW, ANON | MAP_NORESERVE | MAP_POPULATE, -1, NULL));
	EXPECT_FALSE(served(LENGTH - 1, RW, ANON, -1, NULL));
	EXPECT_FALSE(served(LENGTH, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, NULL));
	EXPECT_FALSE(served(LENGTH, RW, MAP_SHARED, fd, NULL));
	EXPECT_FALSE(served(LENGTH, PROT_READ, ANON, -1, NULL));
	EXPECT_FALSE(served(LENGTH, PROT_NONE, ANON, -1, NULL));
	EXPECT_FALSE(served(LENGTH, RW | PROT_EXEC, ANON, -1, NULL));
	EXPECT_FALSE(served(LENGTH, RW, ANON, -1, hint));
	EXPECT_FALSE(served(LENGTH, RW, ANON | MAP_LOCKED, -1, NULL));
	EXPECT_FALSE(served(LENGTH, RW, ANON | MAP_32BIT, -1, NULL));
	ASSERT_TRUE(huge_pages(HUGE, LENGTH / HUGE));
	EXPECT_FALSE(served(LENGTH, RW, ANON | MAP_HUGETLB, -1, NULL));
	ASSERT_TRUE(write_number("/proc/sys/vm/nr_hugepages", 0));
}

TEST(the_name_is_the_one_at_the_start)
{
	char title[300], *addr, *old = program_invocation_short_name;

	memset(title, 'x', sizeof(title) - 1);
	title[sizeof(title) - 1] = '\0';
	program_invocation_short_name = title;
	addr = mmap(NULL, LENGTH, RW, ANON, -1, 0);
	program_invocation_short_name = old;
	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_TRUE(is_region(addr));
	EXPECT_STREQ("/mshare:run_test", strstr(maps_line(addr), "/mshare:"));
	EXPECT_OK(munmap(addr, LENGTH));
}

TEST(mmap64_is_served)
{
	char *addr = mmap64(NULL, LENGTH, RW, ANON, -1, 0);

	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_TRUE(is_region(addr));
	EXPECT_OK(munmap(addr, LENGTH));
}

TEST(a_length_that_is_no_multiple_of_a_page)
{
	char *addr = mmap(NULL, LENGTH + 1, RW, ANON, -1, 0);

	ASSERT_TRUE(addr != MAP_FAILED && is_region(addr));
	addr[LENGTH + PAGE - 1] = 7;
	EXPECT_EQ(FAULT_MAPERR, try_load(addr + LENGTH + PAGE));
	EXPECT_OK(munmap(addr, LENGTH + 1));
	EXPECT_EQ(FAULT_MAPERR, try_load(addr));
}

TEST(errno_is_left_alone)
{
	char *addr;

	errno = 1234;
	addr = mmap(NULL, LENGTH, RW, ANON, -1, 0);
	EXPECT_EQ(1234, errno);
	EXPECT_EQ(0, munmap(addr + PART, PART));
	EXPECT_EQ(0, munmap(addr, LENGTH));
	EXPECT_EQ(1234, errno);
}

TEST(memory_is_ordinary_while_regions_are_disabled)
{
	ASSERT_TRUE(write_number("/sys/kernel/mm/mshare/enabled", 0));
	errno = 1234;
	EXPECT_FALSE(served(LENGTH, RW, ANON, -1, NULL));
	EXPECT_EQ(1234, errno);
	ASSERT_TRUE(write_number("/sys/kernel/mm/mshare/enabled", 1));
	EXPECT_TRUE(served(LENGTH, RW, ANON, -1, NULL));
}

/* What mmap() gives under a limit: ordinary memory, or a region. */
static bool served_with_limit(int resource, rlim_t value)
{
	struct rlimit old, limit;
	char *addr;
	bool region;

	if (getrlimit(resource, &old))
		return true;
	limit = old;
	limit.rlim_cur = value;
	if (setrlimit(resource, &limit))
		return true;
	addr = mmap(NULL, LENGTH, RW, ANON, -1, 0);
	setrlimit(resource, &old);
	if (addr == MAP_FAILED)
		return true;
	region = is_region(addr);
	fill(addr, LENGTH, 1);
	munmap(addr, LENGTH);
	return region;
}

TEST(memory_is_ordinary_where_limits_are_too_low)
{
	EXPECT_FALSE(served_with_limit(RLIMIT_FSIZE, LENGTH - 1));
	EXPECT_TRUE(served_with_limit(RLIMIT_FSIZE, LENGTH));
	EXPECT_FALSE(served_with_limit(RLIMIT_NOFILE, 0));
	EXPECT_FALSE(served_with_limit(RLIMIT_AS, file_key("/proc/self/status", "VmSize:") * KIB + 2 * LENGTH));
}

TEST(nothing_is_left_behind)
{
	long long before = settled();
	int open = descriptors(), i;

	for (i = 0; i < 20; i++) {
		char *addr = mmap(NULL, LENGTH, RW, ANON, -1, 0);

		ASSERT_TRUE(is_region(addr));
		/* Detached as a whole, left, or left in a child. */
		if (i % 3 == 1)
			ASSERT_OK(munmap(addr + PART, PART));
		if (i % 3 == 2)
			IN_CHILD(CHILD_CHECK(!mprotect(addr, PART, PROT_NONE)));
		ASSERT_OK(munmap(addr, LENGTH));
	}
	EXPECT_EQ(open, descriptors());
	EXPECT_TRUE(sys_mshare_becomes("regions", before));
	EXPECT_EQ(NULL, strstr(slurp("/proc/self/maps"), "memfd:"));
}

TEST(a_descriptor_of_the_program_stays_open)
{
	char *addr = mmap(NULL, LENGTH, RW, ANON, -1, 0);
	char link[100], path[64];
	int fd, other;

	ASSERT_TRUE(is_region(addr));
	for (fd = 3; fd < 1000; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		memset(link, 0, sizeof(link));
		if (readlink(path, link, sizeof(link) - 1) > 0 && strstr(link, "/mshare:"))
			break;
	}
	ASSERT_GT(1000, fd);
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
	other = mshare_create("other", 0);
	ASSERT_LE(0, other);
	ASSERT_EQ(fd, dup2(other, fd));
	EXPECT_OK(madvise(addr, PART, MADV_REMOVE));
	EXPECT_OK(munmap(addr, LENGTH));
	EXPECT_LE(0, fcntl(fd, F_GETFD));
}

TEST(more_areas_than_fit)
{
	char *addr[140];
	int i, regions = 0;

	for (i = 0; i < 140; i++) {
		addr[i] = mmap(NULL, LENGTH, RW, ANON, -1, 0);
		ASSERT_NE(MAP_FAILED, addr[i]);
		regions += is_region(addr[i]);
		addr[i][PART] = i;
	}
	EXPECT_LE(100, regions);
	EXPECT_GT(140, regions);
	for (i = 0; i < 140; i++) {
		EXPECT_EQ((char)i, addr[i][PART]);
		EXPECT_OK(munmap(addr[i], LENGTH));
	}
	EXPECT_TRUE(served(LENGTH, RW, ANON, -1, NULL));
}

/* Threads that map and unmap while children are made, which do so too. */
static void map_and_unmap(unsigned int i)
{
	char *addr = mmap(NULL, LENGTH, RW, ANON, -1, 0);

	addr[0] = 1;
	if (i % 2)
		munmap(addr + PART, PART);
	munmap(addr, LENGTH);
}

/* Threads of programs may be cancelled; these calls are no place for it. */
static void *cancelled(void *arg)
{
	pthread_cancel(pthread_self());
	map_and_unmap(0);
	map_and_unmap(1);
	return arg;
}

TEST(a_thread_that_is_to_be_cancelled)
{
	pthread_t thread;
	void *ret;

	ASSERT_OK(pthread_create(&thread, NULL, cancelled, NULL));
	ASSERT_OK(pthread_join(thread, &ret));
	ASSERT_NE(PTHREAD_CANCELED, ret);
	EXPECT_TRUE(served(LENGTH, RW, ANON, -1, NULL));
}

static volatile int stop;

/*
 * The handlers of a library that is initialised before all others: those that the
 * program is linked with are, before the one that is preloaded.
 */
static pthread_mutex_t library_lock = PTHREAD_MUTEX_INITIALIZER;
static bool library_locks, library_maps;

static void library_prepare(void)
{
	if (library_locks)
		pthread_mutex_lock(&library_lock);
}

static void library_parent(void)
{
	if (library_locks)
		pthread_mutex_unlock(&library_lock);
}

static void library_child(void)
{
	library_parent();
	if (library_maps)
		map_and_unmap(0);
}

static void library_starts(void)
{
	pthread_atfork(library_prepare, library_parent, library_child);
}

__attribute__((section(".preinit_array"), used)) static void (*library[])(void) = { library_starts };

/* What wait_for() says of a child that may hang. */
static int end_of(pid_t pid)
{
	siginfo_t info = { 0 };

	if (!BECOMES(!waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) && info.si_pid))
		kill(pid, SIGKILL);
	return wait_for(pid);
}

static void *map_with_lock(void *arg)
{
	while (!stop) {
		pthread_mutex_lock(&library_lock);
		map_and_unmap(0);
		pthread_mutex_unlock(&library_lock);
	}
	return arg;
}

TEST(a_library_that_forks_with_its_lock)
{
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		pthread_t thread;
		int i;

		library_locks = true;
		CHILD_CHECK(!pthread_create(&thread, NULL, map_with_lock, NULL));
		for (i = 0; i < 20; i++) {
			pid = fork();
			CHILD_CHECK(pid >= 0);
			if (!pid)
				_exit(0);
			CHILD_CHECK(!wait_for(pid));
		}
		stop = 1;
		CHILD_CHECK(!pthread_join(thread, NULL));
		_exit(0);
	}
	EXPECT_EQ(0, end_of(pid));
}

TEST(a_library_that_maps_in_the_child)
{
	pid_t pid;

	library_maps = true;
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(0);
	EXPECT_EQ(0, end_of(pid));
}

static void *storm(void *arg)
{
	unsigned int i;

	for (i = 0; !stop; i++)
		map_and_unmap(i);
	return arg;
}

static void on_signal(int sig)
{
	map_and_unmap(0);
}

TEST(threads_signals_and_children)
{
	pthread_t threads[2];
	int i;

	ASSERT_NE(SIG_ERR, signal(SIGALRM, on_signal));
	for (i = 0; i < 2; i++)
		ASSERT_OK(pthread_create(&threads[i], NULL, storm, NULL));
	for (i = 0; i < 20; i++) {
		/* One signal each, sooner and later: of many a slow fork would never end. */
		const struct itimerval soon = { .it_value.tv_usec = 500 * (i + 1) };
		pid_t child;

		ASSERT_OK(setitimer(ITIMER_REAL, &soon, NULL));
		child = fork();
		ASSERT_LE(0, child);
		if (!child) {
			map_and_unmap(0);
			map_and_unmap(1);
			_exit(0);
		}
		EXPECT_EQ(0, wait_for(child));
	}
	stop = 1;
	for (i = 0; i < 2; i++)
		ASSERT_OK(pthread_join(threads[i], NULL));
	EXPECT_EQ(NULL, strstr(slurp("/proc/self/maps"), "/mshare:"));
}

TEST_HARNESS_MAIN
