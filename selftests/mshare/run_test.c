// SPDX-License-Identifier: GPL-2.0
/*
 * Programs under mshare run: shared memory that is a region means to them what
 * ordinary memory means, which the same cases show on ordinary memory.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"
#include "under_run.h"

#include <dlfcn.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/mempolicy.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/time.h>

#define ANON	(MAP_SHARED | MAP_ANONYMOUS)

__attribute__((constructor)) static void preloaded(int argc, char **argv)
{
	run_again(argc, argv, "--");
}

static void *ordinary(uint64_t length)
{
	return (void *)raw(SYS_mmap, 0, length, RW, ANON, -1, 0);
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
	mprotect_is_for_one_process(_metadata, self->addr, variant->region);
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
	advice_not_to_fork(_metadata, self->addr);
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

/* The first node of the policy at an address, or -1; a policy of another mode is -2. */
static int bound_to(const void *addr, bool seen)
{
	unsigned long nodes[16] = { 0 };
	int mode = -1, i;

	if (seen ? syscall(SYS_get_mempolicy, &mode, nodes, 8 * sizeof(nodes), addr, MPOL_F_ADDR) :
		   raw(SYS_get_mempolicy, (long)&mode, (long)nodes, 8 * sizeof(nodes), (long)addr, MPOL_F_ADDR, 0))
		return -3;
	if (mode == MPOL_DEFAULT)
		return -1;
	for (i = 0; mode == MPOL_BIND && i < 8 * sizeof(nodes); i++)
		if (nodes[i / 64] & 1UL << i % 64)
			return i;
	return -2;
}

TEST_F(run, policies_are_for_everyone)
{
	const unsigned long nodes[16] = { 1 };
	char *addr = self->addr;

	EXPECT_EQ(-1, bound_to(addr, true));
	IN_CHILD({
		CHILD_CHECK(!syscall(SYS_mbind, addr + PART, PART, MPOL_BIND, nodes, 8 * sizeof(nodes), 0));
		CHILD_CHECK(!syscall(__NR_set_mempolicy_home_node, addr + PART, PART, 0, 0));
		CHILD_CHECK(is_region(addr) == variant->region);
		CHILD_CHECK(bound_to(addr + PART, true) == 0 && bound_to(addr + 2 * PART - 1, true) == 0);
		CHILD_CHECK(bound_to(addr + PART - 1, true) == -1 && bound_to(addr + 2 * PART, true) == -1);
	});
	EXPECT_EQ(0, bound_to(addr + PART, true));
	EXPECT_EQ(-1, bound_to(addr, true));
	EXPECT_EQ(-1, syscall(SYS_mbind, addr + 1, PART, MPOL_BIND, nodes, 8 * sizeof(nodes), 0));
	EXPECT_ERR(EINVAL, syscall(SYS_mbind, addr, PART, 1234, nodes, 8 * sizeof(nodes), 0));
	/* They go along, whether the mappings of the shadow are one or several. */
	IN_CHILD({
		CHILD_CHECK(!syscall(SYS_mbind, addr + 2 * PART, PART, MPOL_BIND, nodes, 8 * sizeof(nodes), 0));
		CHILD_CHECK(!mprotect(addr, PAGE, PROT_READ));
		CHILD_CHECK(!is_region(addr) && !wrong(addr, LENGTH, 1));
		CHILD_CHECK(bound_to(addr + PART, false) == 0 && bound_to(addr + 2 * PART, false) == 0);
		CHILD_CHECK(bound_to(addr, false) == -1 && bound_to(addr + 3 * PART, false) == -1);
		CHILD_CHECK(!munmap(addr, LENGTH));
		CHILD_CHECK(!strstr(slurp("/proc/self/maps"), "memfd:"));
	});
	/* Of two that it takes for the same the kernel sets none. */
	EXPECT_OK(syscall(SYS_mbind, addr, LENGTH, MPOL_BIND, nodes, 8 * sizeof(nodes), 0));
	EXPECT_OK(syscall(SYS_mbind, addr, LENGTH, MPOL_DEFAULT, NULL, 0, 0));
	EXPECT_EQ(-1, bound_to(addr + PART, true));
	/* A range that goes beyond. */
	IN_CHILD({
		if (variant->region) {
			CHILD_CHECK(syscall(SYS_mbind, addr, LENGTH + PAGE, MPOL_BIND, nodes, 8 * sizeof(nodes), 0) == -1);
			CHILD_CHECK(errno == EFAULT);
		}
	});
}

/* Pages are where they were asked to be, as far as there are nodes. */
TEST_F(run, pages_are_where_a_policy_wants_them)
{
	const int n = PART / PAGE, nodes = !access("/sys/devices/system/node/node1", F_OK) ? 2 : 1;
	const unsigned long mask[16] = { nodes == 2 ? 3 : 1 };
	int *status = calloc(n, sizeof(int)), on[2] = { 0 }, i, node;
	void **page = calloc(n, sizeof(void *));
	char *addr = variant->region ? mmap(NULL, LENGTH, RW, ANON, -1, 0) : ordinary(LENGTH);

	ASSERT_EQ(variant->region, is_region(addr));
	ASSERT_OK(syscall(SYS_mbind, addr, PART, MPOL_INTERLEAVE, mask, 8 * sizeof(mask), 0));
	fill(addr, PART, 1);
	for (i = 0; i < n; i++)
		page[i] = addr + i * PAGE;
	ASSERT_OK(syscall(SYS_move_pages, 0, n, page, NULL, status, 0));
	for (i = 0; i < n; i++) {
		ASSERT_TRUE(status[i] == 0 || status[i] == 1);
		on[status[i]]++;
	}
	EXPECT_EQ(n / nodes, on[0]);
	EXPECT_EQ(n - n / nodes, on[1]);
	ASSERT_OK(syscall(SYS_get_mempolicy, &node, NULL, 0, addr + PAGE, MPOL_F_NODE | MPOL_F_ADDR));
	EXPECT_EQ(status[1], node);
	EXPECT_OK(munmap(addr, LENGTH));
	free(status);
	free(page);
}

TEST_F(run, shmat_over_it)
{
	int id = shmget(IPC_PRIVATE, PART, 0600 | IPC_CREAT);
	char *addr = self->addr;

	ASSERT_LE(0, id);
	IN_CHILD({
		CHILD_CHECK(shmat(id, addr + PART, SHM_REMAP) == addr + PART);
		CHILD_CHECK(addr[PART] == 0 && addr[2 * PART - 1] == 0 && store(addr, 7));
	});
	EXPECT_OK(shmctl(id, IPC_RMID, NULL));
	EXPECT_ERR(EINVAL, shmat(id, NULL, 0));
}

TEST_F(run, remap_file_pages)
{
	IN_CHILD({
		CHILD_CHECK(!remap_file_pages(self->addr, PAGE, 0, PART / PAGE, 0));
		CHILD_CHECK(!memcmp(self->addr, self->addr + PART, PAGE));
	});
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

static bool served(uint64_t length, int prot, int flags, int fd, void *hint);

/* In each way that there is to install one; the last is not seen. */
static bool filter_that_kills(int way)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 500, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog prog = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return false;
	switch (way) {
	case 0:
		return !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
	case 1:
		return !syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog);
	case 2:
		return !syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0);
	default:
		return !raw(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, (long)&prog, 0, 0, 0);
	}
}

TEST(a_filter_that_kills)
{
	int way;

	for (way = 0; way < 4; way++)
		IN_CHILD({
			CHILD_CHECK(filter_that_kills(way));
			CHILD_CHECK(!served(LENGTH, RW, ANON, -1, NULL));
		});
	/* Of a program that inherits it, too. */
	IN_CHILD({
		CHILD_CHECK(filter_that_kills(3));
		CHILD_CHECK(freopen("/dev/null", "w", stdout));
		execl("/proc/self/exe", "run_test", "-t", "memory_can_be_had", NULL);
		_exit(1);
	});
}

/* What the one before runs under its filter. */
TEST(memory_can_be_had)
{
	char *addr = mmap(NULL, LENGTH, RW, ANON, -1, 0);

	ASSERT_NE(MAP_FAILED, addr);
	fill(addr, LENGTH, 1);
	EXPECT_OK(munmap(addr, LENGTH));
}

TEST_F(run, a_filter_that_kills_later)
{
	char *addr = self->addr;

	IN_CHILD({
		CHILD_CHECK(filter_that_kills(3));
		CHILD_CHECK(!madvise(addr, PART, MADV_WILLNEED));
		CHILD_CHECK(!madvise(addr, PART, MADV_POPULATE_WRITE));
		CHILD_CHECK(!wrong(addr, LENGTH, 1));
	});
	IN_CHILD({
		CHILD_CHECK(filter_that_kills(0));
		CHILD_CHECK(!munmap(addr, LENGTH));
		CHILD_CHECK(try_load(addr) == FAULT_MAPERR);
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
	EXPECT_TRUE(served(LENGTH, RW, ANON, -1, hint));
	EXPECT_FALSE(served(LENGTH, RW, ANON | MAP_FIXED, -1, hint));
	EXPECT_FALSE(served(LENGTH, RW, ANON | MAP_FIXED_NOREPLACE, -1, hint));
	EXPECT_FALSE(served(LENGTH, RW, ANON | MAP_LOCKED, -1, NULL));
	EXPECT_FALSE(served(LENGTH, RW, ANON | MAP_32BIT, -1, NULL));
	ASSERT_TRUE(huge_pages(HUGE, LENGTH / HUGE));
	EXPECT_FALSE(served(LENGTH, RW, ANON | MAP_HUGETLB, -1, NULL));
	ASSERT_TRUE(write_number("/proc/sys/vm/nr_hugepages", 0));
}

TEST(an_address_is_a_hint)
{
	char *hint = (char *)0x600000000000, *addr, *other;

	addr = mmap(hint, LENGTH, RW, ANON, -1, 0);
	ASSERT_EQ(hint, addr);
	EXPECT_TRUE(is_region(addr));
	/* Neither where something is, nor in the middle of a slot. */
	other = mmap(hint, LENGTH, RW, ANON, -1, 0);
	EXPECT_TRUE(other != MAP_FAILED && other != hint && is_region(other));
	EXPECT_OK(munmap(other, LENGTH));
	EXPECT_OK(munmap(addr, LENGTH));
	addr = mmap(hint + PART, LENGTH, RW, ANON, -1, 0);
	EXPECT_TRUE(addr != MAP_FAILED && is_region(addr));
	EXPECT_OK(munmap(addr, LENGTH));
}

TEST(the_offset_of_no_file_means_nothing)
{
	char *addr = mmap(NULL, LENGTH, RW, ANON, -1, PAGE);

	ASSERT_TRUE(addr != MAP_FAILED && is_region(addr));
	EXPECT_OK(munmap(addr, LENGTH));
	EXPECT_ERR(EINVAL, mmap(NULL, LENGTH, RW, ANON, -1, 1));
}

TEST(dev_zero_is_anonymous_memory)
{
	int fd = open("/dev/zero", O_RDWR), rdonly = open("/dev/zero", O_RDONLY), null = open("/dev/null", O_RDWR);
	char *addr;

	ASSERT_TRUE(fd >= 0 && rdonly >= 0 && null >= 0);
	addr = mmap(NULL, LENGTH, RW, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_TRUE(is_region(addr));
	IN_CHILD(addr[0] = 7);
	EXPECT_EQ(7, addr[0]);
	EXPECT_OK(munmap(addr, LENGTH));
	EXPECT_FALSE(served(LENGTH, RW, MAP_PRIVATE, fd, NULL));
	EXPECT_ERR(EACCES, mmap(NULL, LENGTH, RW, MAP_SHARED, rdonly, 0));
	EXPECT_ERR(ENODEV, mmap(NULL, LENGTH, RW, MAP_SHARED, null, 0));
	EXPECT_ERR(EBADF, mmap(NULL, LENGTH, RW, MAP_SHARED, -1, 0));
	close(fd);
	close(rdonly);
	close(null);
}

TEST(syscall_is_seen)
{
	int file = memfd(3 * PAGE, 0);
	char *addr, *small;

	addr = (char *)syscall(SYS_mmap, NULL, LENGTH, RW, ANON, -1, 0);
	ASSERT_TRUE(addr != MAP_FAILED && is_region(addr));
	IN_CHILD({
		CHILD_CHECK(!syscall(SYS_mprotect, addr, PAGE, PROT_READ));
		CHILD_CHECK(!is_region(addr) && try_store(addr, 1) == FAULT_ACCERR);
	});
	IN_CHILD({
		CHILD_CHECK(!syscall(SYS_madvise, addr, LENGTH, MADV_DONTDUMP) && is_region(addr));
		CHILD_CHECK(!syscall(SYS_mlock, addr, PAGE) && !is_region(addr));
	});
	EXPECT_OK(syscall(SYS_munmap, addr, LENGTH));
	EXPECT_EQ(FAULT_MAPERR, try_load(addr));
	/* What is not ours passes with all of its arguments, and errors are errors. */
	ASSERT_EQ(1, pwrite(file, "2", 1, 2 * PAGE));
	small = (char *)syscall(SYS_mmap, NULL, PAGE, PROT_READ, MAP_SHARED, file, 2 * PAGE);
	ASSERT_NE(MAP_FAILED, small);
	EXPECT_EQ('2', *small);
	EXPECT_OK(munmap(small, PAGE));
	EXPECT_EQ(1, syscall(SYS_pwrite64, file, "3", 1, PAGE));
	EXPECT_ERR(EBADF, syscall(SYS_close, -1));
	EXPECT_ERR(ENOSYS, syscall(-1));
	EXPECT_ERR(ENOSYS, syscall(100000));
	EXPECT_EQ(getpid(), syscall(SYS_getpid));
	close(file);
}

/* A library that finds the functions of the C library in the ways that there are. */
FIXTURE(plugin) {
	void *handle;
	char *addr;
	void *(*map)(size_t length);
	int (*protect)(void *addr, size_t length, int prot);
	int (*last_error)(void);
};

FIXTURE_VARIANT(plugin) {
	bool space;
	int flags;
};

FIXTURE_VARIANT_ADD(plugin, as_usual) { .flags = RTLD_NOW };
FIXTURE_VARIANT_ADD(plugin, RTLD_DEEPBIND) { .flags = RTLD_NOW | RTLD_DEEPBIND };
FIXTURE_VARIANT_ADD(plugin, lazy_RTLD_DEEPBIND) { .flags = RTLD_LAZY | RTLD_DEEPBIND };
FIXTURE_VARIANT_ADD(plugin, dlmopen) { .space = true, .flags = RTLD_NOW };
FIXTURE_VARIANT_ADD(plugin, lazy_dlmopen) { .space = true, .flags = RTLD_LAZY };

FIXTURE_SETUP(plugin)
{
	char path[4096] = "";

	ASSERT_LT(0, readlink("/proc/self/exe", path, sizeof(path) - 20));
	strcat(dirname(path), "/run_plugin.so");
	self->handle = variant->space ? dlmopen(LM_ID_NEWLM, path, variant->flags) : dlopen(path, variant->flags);
	ASSERT_NE(NULL, self->handle) {
		TH_LOG("%s", dlerror());
	}
	self->map = dlsym(self->handle, "plugin_map");
	self->protect = dlsym(self->handle, "plugin_protect");
	self->last_error = dlsym(self->handle, "plugin_errno");
	ASSERT_TRUE(self->map && self->protect && self->last_error);
	self->addr = mmap(NULL, LENGTH, RW, ANON, -1, 0);
	ASSERT_TRUE(self->addr != MAP_FAILED && is_region(self->addr));
}

FIXTURE_TEARDOWN(plugin)
{
	EXPECT_OK(munmap(self->addr, LENGTH));
	EXPECT_EQ(0, dlclose(self->handle));
}

TEST_F(plugin, what_it_maps_is_served)
{
	char *addr = self->map(LENGTH);

	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_TRUE(is_region(addr));
	EXPECT_OK(munmap(addr, LENGTH));
}

TEST_F(plugin, what_it_does_to_the_programs_memory_is_seen)
{
	IN_CHILD({
		CHILD_CHECK(!self->protect(self->addr, PART, PROT_READ));
		CHILD_CHECK(try_store(self->addr, 1) == FAULT_ACCERR && store(self->addr + PART, 1));
	});
}

TEST_F(plugin, errors_are_its_own)
{
	errno = 1234;
	EXPECT_EQ(-1, self->protect(self->addr + 1, PART, PROT_READ));
	EXPECT_EQ(EINVAL, self->last_error());
	EXPECT_EQ(variant->space ? 1234 : EINVAL, errno);
}

/* The C library may go away with its namespace. */
TEST(errors_after_dlclose)
{
	char path[4096] = "";
	void *handle;

	ASSERT_LT(0, readlink("/proc/self/exe", path, sizeof(path) - 20));
	strcat(dirname(path), "/run_plugin.so");
	handle = dlmopen(LM_ID_NEWLM, path, RTLD_NOW);
	ASSERT_NE(NULL, handle);
	ASSERT_NE(NULL, dlsym(handle, "plugin_map"));
	ASSERT_EQ(0, dlclose(handle));
	EXPECT_ERR(EINVAL, mprotect((void *)1, PAGE, PROT_READ));
}

TEST(the_linker_finds_one_function)
{
	void *libc = dlopen("libc.so.6", RTLD_LAZY);

	ASSERT_NE(NULL, libc);
	EXPECT_EQ((void *)mmap, dlsym(RTLD_NEXT, "mmap"));
	EXPECT_EQ((void *)mmap, dlsym(RTLD_DEFAULT, "mmap"));
	EXPECT_EQ((void *)mmap, dlsym(libc, "mmap"));
	EXPECT_EQ((void *)mmap64, dlvsym(libc, "mmap64", "GLIBC_2.2.5"));
	EXPECT_EQ((void *)munmap, dlsym(libc, "munmap"));
	EXPECT_EQ((void *)syscall, dlsym(libc, "syscall"));
	EXPECT_EQ(NULL, dlsym(libc, "no_such_function"));
	/* Next to the caller, which is here and not in the library. */
	EXPECT_EQ((void *)getpid, dlsym(RTLD_NEXT, "getpid"));
	/* The table can only be read, as before. */
	EXPECT_EQ(NULL, strstr(slurp("/proc/self/maps"), "rwxp"));
	dlclose(libc);
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
	EXPECT_FALSE(served_with_limit(RLIMIT_AS, file_key("/proc/self/status", "VmSize:") * KIB + LENGTH + LENGTH / 2));
}

/* The shadow takes what the area takes. */
TEST(address_space)
{
	char *addr = mmap(NULL, LENGTH, RW, ANON, -1, 0), *maps, *line;
	unsigned long start, end;

	ASSERT_TRUE(addr != MAP_FAILED && is_region(addr));
	maps = slurp("/proc/self/maps");
	line = strstr(maps, "/memfd:");
	ASSERT_NE(NULL, line);
	while (line > maps && line[-1] != '\n')
		line--;
	ASSERT_EQ(2, sscanf(line, "%lx-%lx", &start, &end));
	EXPECT_EQ(LENGTH, end - start);
	EXPECT_OK(munmap(addr, LENGTH));
}

static void *pauses(void *arg)
{
	pause();
	return arg;
}

/* A limit of address space that came after the memory. */
TEST(a_limit_that_comes_later)
{
	const struct rlimit limit = { 64 * MIB, RLIM_INFINITY }, none = { RLIM_INFINITY, RLIM_INFINITY };
	char *addr = mmap(NULL, LENGTH, RW, ANON, -1, 0);

	ASSERT_TRUE(addr != MAP_FAILED && is_region(addr));
	fill(addr, LENGTH, 1);
	IN_CHILD({
		CHILD_CHECK(!setrlimit(RLIMIT_AS, &limit));
		CHILD_CHECK(!mprotect(addr + PART, PART, PROT_READ));
		CHILD_CHECK(try_store(addr + PART, 7) == FAULT_ACCERR);
		CHILD_CHECK(store(addr, 7) && store(addr + 2 * PART, 7));
		CHILD_CHECK(!wrong(addr, LENGTH, 1));
		CHILD_CHECK(try_load(addr + LENGTH) == FAULT_MAPERR);
		CHILD_CHECK(!munmap(addr, LENGTH));
	});
	/* Threads would notice: an error, and all is as it was. */
	IN_CHILD({
		pthread_t thread;

		CHILD_CHECK(!pthread_create(&thread, NULL, pauses, NULL));
		CHILD_CHECK(!setrlimit(RLIMIT_AS, &limit));
		CHILD_CHECK(mprotect(addr + PART, PART, PROT_READ) == -1 && errno == ENOMEM);
		CHILD_CHECK(!setrlimit(RLIMIT_AS, &none));
		CHILD_CHECK(is_region(addr) && store(addr + PART, 7));
		CHILD_CHECK(!wrong(addr, LENGTH, 1));
		CHILD_CHECK(!munmap(addr, LENGTH));
	});
	EXPECT_TRUE(is_region(addr));
	EXPECT_EQ(0, wrong(addr, LENGTH, 1));
	EXPECT_OK(munmap(addr, LENGTH));
}

TEST(memory_that_cannot_be_had_is_refused)
{
	const uint64_t all = (file_key("/proc/meminfo", "MemTotal:") + file_key("/proc/meminfo", "SwapTotal:")) * KIB;

	EXPECT_ERR(ENOMEM, mmap(NULL, all + GIB, RW, ANON, -1, 0));
	EXPECT_TRUE(served(all + GIB, RW, ANON | MAP_NORESERVE, -1, NULL));
	ASSERT_TRUE(write_number("/proc/sys/vm/overcommit_memory", 2));
	EXPECT_FALSE(served(LENGTH, RW, ANON, -1, NULL));
	EXPECT_ERR(ENOMEM, mmap(NULL, all + GIB, RW, ANON, -1, 0));
	ASSERT_TRUE(write_number("/proc/sys/vm/overcommit_memory", 0));
	EXPECT_TRUE(served(LENGTH, RW, ANON, -1, NULL));
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
