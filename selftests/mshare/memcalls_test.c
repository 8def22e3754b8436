// SPDX-License-Identifier: GPL-2.0
/*
 * Other calls on the addresses of an attachment: the table "The container VMA
 * and the other memory calls" of mshare(7), row by row, on small, huge and
 * giant pages.  The fixture compares the attachment before and after.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

FIXTURE(memcalls) {
	int fd;
	char *addr;
	uint64_t length;
	struct snap before;
	bool gone;	/* the test has detached it */
};

FIXTURE_VARIANT(memcalls) {
	uint64_t page;
	int flags;
};

FIXTURE_VARIANT_ADD(memcalls, small_pages) {
	.page = PAGE,
};

FIXTURE_VARIANT_ADD(memcalls, huge_pages) {
	.page = HUGE, .flags = MAP_HUGETLB | MAP_HUGE_2MB,
};

FIXTURE_VARIANT_ADD(memcalls, giant_pages) {
	.page = GIB, .flags = MAP_HUGETLB | MAP_HUGE_1GB,
};

FIXTURE_SETUP(memcalls)
{
	uint64_t object = variant->page == PAGE ? MIB : variant->page;

	self->fd = region(4 * GIB);
	ASSERT_LE(0, self->fd);
	if (variant->flags && !huge_pages(variant->page, 1))
		SKIP(return, "no huge pages of %llu kB%s", variant->page / KIB,
		     variant->page == GIB ? " (boot with hugepagesz=1G hugepages=1)" : "");
	self->addr = mshare_attach(self->fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, self->addr);
	ASSERT_EQ(0, map_obj(self->fd, 0, object, RW,
			     MAP_SHARED | MAP_ANONYMOUS | variant->flags, -1, 0));
	self->length = MIB;
	fill(self->addr, self->length, 1);
	self->before = snap_take(self->fd, self->addr, self->length);
}

static void unchanged(struct __test_metadata *_metadata, FIXTURE_DATA(memcalls) *self)
{
	struct snap after = snap_take(self->fd, self->addr, self->length);

	EXPECT_TRUE(snap_same(&self->before, &after));
	EXPECT_EQ(0, wrong(self->addr, self->length, 1));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr, self->addr[0]));
}

FIXTURE_TEARDOWN(memcalls)
{
	if (!self->gone)
		unchanged(_metadata, self);
}

/* The places that a call can name: all, the start, the middle, the end, over the borders. */
#define PLACES 8
static void place(FIXTURE_DATA(memcalls) *self, int i, char **at, uint64_t *length)
{
	static const struct { int64_t offset; uint64_t length; } places[PLACES] = {
		{ 0, SLOT }, { 0, PAGE }, { 0, HUGE }, { PAGE, PAGE }, { SLOT / 2, GIB },
		{ SLOT - PAGE, PAGE }, { 0, GIB }, { GIB, SLOT - GIB },
	};

	*at = self->addr + places[i].offset;
	*length = places[i].length;
}

/* A statement for each place, with AT and LENGTH; ONLY_PARTS leaves out all of it. */
#define EACH_PLACE(only_parts, statement) do {					\
	int __i;								\
	for (__i = (only_parts) ? 1 : 0; __i < PLACES; __i++) {			\
		char *at;							\
		uint64_t length;						\
		place(self, __i, &at, &length);					\
		statement;							\
	}									\
} while (0)

TEST_F(memcalls, munmap_of_all_detaches)
{
	self->gone = true;
	ASSERT_OK(munmap(self->addr, SLOT));
	EXPECT_EQ(0, stat_of(self->fd).attachments);
	EXPECT_EQ(FAULT_MAPERR, try_load(self->addr));
	self->addr = mshare_attach(self->fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, self->addr);
	unchanged(_metadata, self);
}

TEST_F(memcalls, munmap_over_the_borders_detaches)
{
	char *low, *high;

	self->gone = true;
	low = mmap(self->addr - PAGE, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
		   -1, 0);
	high = mmap(self->addr + SLOT, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS |
		    MAP_FIXED_NOREPLACE, -1, 0);
	ASSERT_EQ(self->addr - PAGE, low);
	ASSERT_EQ(self->addr + SLOT, high);
	*low = *high = 1;
	ASSERT_OK(munmap(low, SLOT + 2 * PAGE));
	EXPECT_EQ(0, stat_of(self->fd).attachments);
	EXPECT_EQ(FAULT_MAPERR, try_load(low));
	EXPECT_EQ(FAULT_MAPERR, try_load(high));
	EXPECT_EQ(FAULT_MAPERR, try_load(self->addr));
	EXPECT_EQ(1, stat_of(self->fd).objects);
}

TEST_F(memcalls, mmap_MAP_FIXED_over_all_detaches)
{
	char *now;

	self->gone = true;
	now = mmap(self->addr, SLOT, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
		   MAP_FIXED, -1, 0);
	ASSERT_EQ(self->addr, now);
	EXPECT_EQ(0, stat_of(self->fd).attachments);
	EXPECT_EQ(0, now[0]);
	ASSERT_OK(munmap(now, SLOT));
	EXPECT_EQ(self->addr, mshare_attach(self->fd, self->addr, 0));
	unchanged(_metadata, self);
}

TEST_F(memcalls, munmap_of_a_part)
{
	EACH_PLACE(true, EXPECT_ERR(EINVAL, munmap(at, length)));
	EXPECT_ERR(EINVAL, munmap(self->addr - PAGE, 2 * PAGE));
	EXPECT_ERR(EINVAL, munmap(self->addr + SLOT - PAGE, 2 * PAGE));
}

TEST_F(memcalls, mmap_MAP_FIXED_over_a_part)
{
	int file = memfd(PAGE, 0);

	EACH_PLACE(true, EXPECT_ERR(EINVAL, mmap(at, length, RW, MAP_PRIVATE | MAP_ANONYMOUS |
						 MAP_NORESERVE | MAP_FIXED, -1, 0)));
	EXPECT_ERR(EINVAL, mmap(self->addr + PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, file, 0));
	EACH_PLACE(false, EXPECT_ERR(EEXIST, mmap(at, length, RW, MAP_PRIVATE | MAP_ANONYMOUS |
						  MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0)));
	/* A hint only. */
	char *other = mmap(self->addr, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	EXPECT_NE(MAP_FAILED, other);
	EXPECT_NE(self->addr, other);
}

TEST_F(memcalls, mprotect_and_pkey_mprotect)
{
	static const int prots[] = { PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE };
	unsigned int p;

	for (p = 0; p < 3; p++) {
		EACH_PLACE(false, EXPECT_ERR(EINVAL, mprotect(at, length, prots[p])));
		EACH_PLACE(false, EXPECT_ERR(EINVAL, syscall(SYS_pkey_mprotect, at, length,
							     prots[p], -1)));
	}
	/* It was not attached for execution: an earlier check. */
	EACH_PLACE(false, EXPECT_ERR(EACCES, mprotect(at, length, PROT_READ | PROT_EXEC)));
	EACH_PLACE(false, EXPECT_ERR(EACCES, syscall(SYS_pkey_mprotect, at, length,
						     PROT_READ | PROT_EXEC, -1)));
	EXPECT_OK(mprotect(self->addr, 0, PROT_READ));
	/* Nor would a read-only attachment become one for writing. */
	IN_CHILD({
		char *addr = mshare_attach(self->fd, NULL, MSHARE_ATTACH_RDONLY);

		CHILD_CHECK(addr != MAP_FAILED);
		CHILD_CHECK(mprotect(addr, SLOT, RW) == -1 && errno == EACCES);
		CHILD_CHECK(mprotect(addr, PAGE, RW) == -1 && errno == EACCES);
		CHILD_CHECK(mprotect(addr, SLOT, PROT_READ) == -1 && errno == EINVAL);
	});
}

TEST_F(memcalls, mremap)
{
	char *to = mmap(NULL, 2 * SLOT, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			-1, 0);
	char *slot = (char *)(((uint64_t)to + SLOT - 1) & ~(SLOT - 1));

	ASSERT_NE(MAP_FAILED, to);
	EACH_PLACE(false, EXPECT_ERR(EINVAL, mremap(at, length, length, MREMAP_MAYMOVE |
						    MREMAP_FIXED, slot)));
	EACH_PLACE(false, EXPECT_ERR(EINVAL, mremap(at, length, length + PAGE, MREMAP_MAYMOVE)));
	EACH_PLACE(false, EXPECT_ERR(EINVAL, mremap(at, length, 2 * length, 0)));
	EACH_PLACE(true, EXPECT_ERR(EINVAL, mremap(at, length, length / 2 + PAGE, 0)));
	EXPECT_ERR(EINVAL, mremap(self->addr, SLOT, PAGE, 0));
	EXPECT_ERR(EINVAL, mremap(self->addr, SLOT, SLOT, MREMAP_MAYMOVE | MREMAP_DONTUNMAP));
	EXPECT_ERR(EINVAL, mremap(self->addr, 0, PAGE, MREMAP_MAYMOVE));
	/* Nothing was unmapped at the target before it was refused. */
	EXPECT_STRNE("", maps_line(slot));
	/* And as the target it is a MAP_FIXED over a part. */
	char *page = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*page = 3;
	EXPECT_ERR(EINVAL, mremap(page, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
				  self->addr + PAGE));
	EXPECT_ERR(EINVAL, mremap(page, PAGE, GIB, MREMAP_MAYMOVE | MREMAP_FIXED, self->addr));
	EXPECT_ERR(EINVAL, mremap(page, PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
				  self->addr - PAGE));
	EXPECT_ERR(EINVAL, mremap(page, PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
				  self->addr + SLOT - PAGE));
	EXPECT_EQ(3, *page);
}

TEST_F(memcalls, mremap_onto_all_of_it_detaches)
{
	char *page = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	self->gone = true;
	ASSERT_NE(MAP_FAILED, page);
	*page = 3;
	ASSERT_EQ(self->addr, mremap(page, PAGE, SLOT, MREMAP_MAYMOVE | MREMAP_FIXED, self->addr));
	EXPECT_EQ(0, stat_of(self->fd).attachments);
	EXPECT_EQ(3, self->addr[0]);
	EXPECT_EQ(0, self->addr[PAGE]);
	/* What is written there now is not the region's. */
	memset(self->addr, 4, self->length);
	ASSERT_OK(munmap(self->addr, SLOT));
	ASSERT_EQ(self->addr, mshare_attach(self->fd, self->addr, 0));
	unchanged(_metadata, self);
}

TEST_F(memcalls, mlock_and_munlock)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };

	ASSERT_OK(setrlimit(RLIMIT_MEMLOCK, &all));
	EACH_PLACE(false, EXPECT_ERR(EINVAL, mlock(at, length)));
	EACH_PLACE(false, EXPECT_ERR(EINVAL, mlock2(at, length, MLOCK_ONFAULT)));
	EACH_PLACE(false, EXPECT_ERR(EINVAL, munlock(at, length)));
	EXPECT_OK(mlock(self->addr, 0));
	/* Past the caller's limit: an earlier check. */
	IN_CHILD({
		struct rlimit some = { MIB, MIB };

		CHILD_CHECK(!setrlimit(RLIMIT_MEMLOCK, &some));
		CHILD_CHECK(!setresuid(1000, 1000, 1000));
		CHILD_CHECK(mlock(self->addr, 2 * MIB) == -1 && errno == ENOMEM);
		CHILD_CHECK(mlock(self->addr, PAGE) == -1 && errno == EINVAL);
	});
}

TEST_F(memcalls, remap_file_pages)
{
	EACH_PLACE(false, EXPECT_ERR(EINVAL, syscall(SYS_remap_file_pages, at, length, 0, 1, 0)));
}

TEST_F(memcalls, userfaultfd)
{
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	struct uffdio_api api = { .api = UFFD_API };

	if (uffd < 0)
		SKIP(return, "no userfaultfd: %m");
	ASSERT_OK(ioctl(uffd, UFFDIO_API, &api));
	EACH_PLACE(false, ({
		struct uffdio_register reg = {
			.range = { (uint64_t)at, length },
			.mode = UFFDIO_REGISTER_MODE_MISSING,
		};
		EXPECT_ERR(EINVAL, ioctl(uffd, UFFDIO_REGISTER, &reg));
		reg.mode = UFFDIO_REGISTER_MODE_WP;
		EXPECT_ERR(EINVAL, ioctl(uffd, UFFDIO_REGISTER, &reg));
		reg.mode = UFFDIO_REGISTER_MODE_MINOR;
		EXPECT_ERR(EINVAL, ioctl(uffd, UFFDIO_REGISTER, &reg));
	}));
	close(uffd);
}

/* The asynchronous write protection takes any mapping, of the ordinary ones. */
TEST_F(memcalls, userfaultfd_WP_ASYNC)
{
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC), ret;
	struct uffdio_api api = { .api = UFFD_API, .features = 1 << 15 /* WP_ASYNC */ };

	if (uffd < 0)
		SKIP(return, "no userfaultfd: %m");
	ret = ioctl(uffd, UFFDIO_API, &api);
	if (ret && errno == EINVAL)
		SKIP(return, "no WP_ASYNC (CONFIG_PTE_MARKER_UFFD_WP)");
	ASSERT_EQ(0, ret);
	EACH_PLACE(false, ({
		struct uffdio_register reg = {
			.range = { (uint64_t)at, length },
			.mode = UFFDIO_REGISTER_MODE_WP,
		};
		EXPECT_ERR(EINVAL, ioctl(uffd, UFFDIO_REGISTER, &reg));
	}));
	close(uffd);
}

TEST_F(memcalls, madvise)
{
	static const int advices[] = {
		MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED, MADV_FREE,
		MADV_REMOVE, MADV_DONTFORK, MADV_DOFORK, MADV_MERGEABLE, MADV_UNMERGEABLE,
		MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_DONTDUMP, MADV_DODUMP, MADV_WIPEONFORK,
		MADV_KEEPONFORK, MADV_COLD, MADV_PAGEOUT, MADV_POPULATE_READ, MADV_POPULATE_WRITE,
		24 /* DONTNEED_LOCKED */, MADV_COLLAPSE, MADV_HWPOISON, 101 /* SOFT_OFFLINE */,
	};
	unsigned int a;

	for (a = 0; a < sizeof(advices) / sizeof(advices[0]); a++) {
		EACH_PLACE(false, ({
			errno = 0;
			EXPECT_EQ(-1, madvise(at, length, advices[a])) {
				TH_LOG("advice %d on %#llx bytes", advices[a],
				       (unsigned long long)length);
			}
			EXPECT_EQ(EINVAL, errno) {
				TH_LOG("advice %d on %#llx bytes: %m", advices[a],
				       (unsigned long long)length);
			}
		}));
	}
	EXPECT_OK(madvise(self->addr, 0, MADV_NORMAL));
}

TEST_F(memcalls, only_root_is_told_that_errors_cannot_be_injected)
{
	/* What the kernel says of ordinary memory, with memory errors or without. */
	IN_CHILD({
		char *plain = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		int err;

		CHILD_CHECK(plain != MAP_FAILED && (geteuid() || !setuid(1000)));
		CHILD_CHECK(madvise(plain, PAGE, MADV_HWPOISON) == -1);
		err = errno;
		CHILD_CHECK(madvise(self->addr, PAGE, MADV_HWPOISON) == -1 && errno == err);
	});
}

TEST_F(memcalls, process_madvise)
{
	static const int advices[] = { MADV_COLD, MADV_PAGEOUT, MADV_WILLNEED, MADV_COLLAPSE };
	int pidfd = syscall(SYS_pidfd_open, getpid(), 0);
	unsigned int a;

	ASSERT_LE(0, pidfd);
	for (a = 0; a < 4; a++) {
		EACH_PLACE(false, ({
			struct iovec iov = { at, length };

			EXPECT_ERR(EINVAL, syscall(SYS_process_madvise, pidfd, &iov, 1, advices[a],
						   0));
		}));
	}
}

static long long private_of(pid_t pid)
{
	char path[64];

	sprintf(path, "/proc/%d/status", pid);
	return file_key(path, "RssAnon:") * KIB;
}

TEST_F(memcalls, process_mrelease)
{
	volatile int *ready = shared_page();
	int pidfd, status = 0;
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		char *own = mmap(NULL, 4 * MIB, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		CHILD_CHECK(own != MAP_FAILED && !wrong(self->addr, self->length, 1));
		fill(own, 4 * MIB, 2);
		*ready = 1;
		for (;;)
			pause();
	}
	ASSERT_TRUE(await(ready));
	pidfd = syscall(SYS_pidfd_open, pid, 0);
	ASSERT_LE(0, pidfd);
	EXPECT_ERR(EINVAL, syscall(__NR_process_mrelease, pidfd, 0));
	/* It stops on its way out, with all it has. */
	ASSERT_OK(ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_TRACEEXIT));
	ASSERT_OK(kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(SIGTRAP | PTRACE_EVENT_EXIT << 8, status >> 8);
	EXPECT_LE(4 * MIB, private_of(pid));
	EXPECT_OK(syscall(__NR_process_mrelease, pidfd, 0));
	EXPECT_GT(MIB, private_of(pid));
	EXPECT_EQ(2, stat_of(self->fd).attachments);
	EXPECT_EQ(self->before.st.resident, stat_of(self->fd).resident);
	EXPECT_EQ(0, wrong(self->addr, self->length, 1));
	ASSERT_OK(ptrace(PTRACE_CONT, pid, NULL, NULL));
	EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(pid));
	close(pidfd);
}

TEST_F(memcalls, mbind)
{
	unsigned long node0 = 1;

	if (syscall(SYS_mbind, mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), PAGE,
		    MPOL_BIND, &node0, 64, 0))
		SKIP(return, "no mbind: %m");
	EACH_PLACE(false, EXPECT_ERR(EINVAL, syscall(SYS_mbind, at, length, MPOL_BIND, &node0, 64,
						     0)));
	EACH_PLACE(false, EXPECT_ERR(EINVAL, syscall(SYS_mbind, at, length, MPOL_INTERLEAVE,
						     &node0, 64, MPOL_MF_MOVE)));
	EACH_PLACE(false, EXPECT_EQ(-1, syscall(SYS_mbind, at, length, MPOL_PREFERRED, &node0, 64,
						MPOL_MF_MOVE | MPOL_MF_STRICT)));
	EACH_PLACE(false, EXPECT_OK(syscall(SYS_mbind, at, length, MPOL_DEFAULT, NULL, 0, 0)));
}

TEST_F(memcalls, mlockall_and_munlockall)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	uint64_t hole = GIB + 5 * PAGE;

	ASSERT_OK(setrlimit(RLIMIT_MEMLOCK, &all));
	/* An untouched object must not be populated either. */
	ASSERT_EQ(hole, map_anon(self->fd, hole, MIB, RW));
	self->before = snap_take(self->fd, self->addr, self->length);
	EXPECT_OK(mlockall(MCL_CURRENT));
	unchanged(_metadata, self);
	EXPECT_OK(mlockall(MCL_CURRENT | MCL_FUTURE));
	unchanged(_metadata, self);
	EXPECT_OK(mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT));
	EXPECT_EQ(NULL, strstr(smaps_block(self->addr), " lo "));
	EXPECT_OK(munlockall());
}

TEST_F(memcalls, mlockall_as_a_user_with_a_limit)
{
	IN_CHILD({
		struct rlimit some = { 64 * MIB, 64 * MIB };

		CHILD_CHECK(!setrlimit(RLIMIT_MEMLOCK, &some));
		CHILD_CHECK(!setresuid(1000, 1000, 1000));
		CHILD_CHECK(!mlockall(MCL_CURRENT));
		CHILD_CHECK(!mlockall(MCL_CURRENT | MCL_FUTURE));
	});
}

TEST_F(memcalls, set_mempolicy)
{
	unsigned long node0 = 1;

	if (syscall(SYS_set_mempolicy, MPOL_BIND, &node0, 64))
		SKIP(return, "no set_mempolicy: %m");
	EXPECT_EQ(0, wrong(self->addr, self->length, 1));
	EXPECT_OK(syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0));
	syscall(SYS_migrate_pages, 0, 64, &node0, &node0);
}

TEST_F(memcalls, set_mempolicy_home_node)
{
	char *low = mmap(self->addr - PAGE, PAGE, RW,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	unsigned long node0 = 1;

	ASSERT_EQ(self->addr - PAGE, low);
	if (syscall(SYS_mbind, low, PAGE, MPOL_BIND, &node0, 64, 0))
		SKIP(return, "no mbind: %m");
	/* It is for mappings with a policy of their own. */
	EACH_PLACE(false, EXPECT_ERR(ENOENT, syscall(__NR_set_mempolicy_home_node, at, length, 0,
						     0)));
	/* One before it has that. */
	EXPECT_OK(syscall(__NR_set_mempolicy_home_node, low, PAGE + SLOT, 0, 0));
	ASSERT_OK(munmap(low, PAGE));
}

TEST_F(memcalls, KSM_of_the_whole_process)
{
	if (prctl(67 /* PR_SET_MEMORY_MERGE */, 1, 0, 0, 0))
		SKIP(return, "no KSM for a process: %m");
	write_number("/sys/kernel/mm/ksm/run", 1);
	sleep_ms(100);
	EXPECT_EQ(NULL, strstr(smaps_block(self->addr), " mg "));
	EXPECT_OK(prctl(67, 0, 0, 0, 0));
	write_number("/sys/kernel/mm/ksm/run", 2);
}

TEST_F(memcalls, clear_refs)
{
	static const char *const ways[] = { "1", "2", "3", "4", "5" };
	int i;

	for (i = 0; i < 5; i++)
		EXPECT_TRUE(write_text("/proc/self/clear_refs", ways[i]));
}

TEST_F(memcalls, mseal_of_a_part)
{
	if (syscall(__NR_mseal, self->addr, 0, 0) && errno == ENOSYS)
		SKIP(return, "no mseal");
	EACH_PLACE(true, EXPECT_ERR(EINVAL, syscall(__NR_mseal, at, length, 0)));
}

TEST_F(memcalls, mseal_of_all_keeps_it)
{
	if (syscall(__NR_mseal, self->addr, 0, 0) && errno == ENOSYS)
		SKIP(return, "no mseal");
	IN_CHILD({
		CHILD_CHECK(!syscall(__NR_mseal, self->addr, SLOT, 0));
		CHILD_CHECK(mshare_detach(self->addr, 0) == -1 && errno == EPERM);
		CHILD_CHECK(munmap(self->addr, SLOT) == -1 && errno == EPERM);
		CHILD_CHECK(mmap(self->addr, SLOT, RW, MAP_PRIVATE | MAP_ANONYMOUS |
				 MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED && errno == EPERM);
		CHILD_CHECK(!wrong(self->addr, self->length, 1));
		CHILD_CHECK(stat_of(self->fd).attachments == 2);
	});
}

TEST_F(memcalls, msync)
{
	EACH_PLACE(false, EXPECT_ERR(EINVAL, msync(at, length, MS_SYNC)));
	EACH_PLACE(false, EXPECT_ERR(EINVAL, msync(at, length, MS_SYNC | MS_INVALIDATE)));
	EACH_PLACE(false, EXPECT_OK(msync(at, length, MS_ASYNC)));
	EXPECT_OK(msync(self->addr, 0, MS_SYNC));
}

TEST_F(memcalls, move_pages)
{
	void *pages[2] = { self->addr, self->addr + PAGE };
	int nodes[2] = { 0, 0 }, status[2] = { 99, 99 };

	if (syscall(SYS_move_pages, 0, 2, pages, nodes, status, 0) && errno == ENOSYS)
		SKIP(return, "no move_pages");
	EXPECT_EQ(-ENOENT, status[0]);
	EXPECT_EQ(-ENOENT, status[1]);
}

TEST_F(memcalls, brk_and_stack_do_not_care)
{
	char *top = sbrk(0);

	EXPECT_NE((void *)-1, sbrk(PAGE));
	EXPECT_EQ(top + PAGE, sbrk(0));
}

TEST_F(memcalls, core_dump)
{
	char dir[] = "/tmp/mst.XXXXXX", pattern[100], *old = slurp("/proc/sys/kernel/core_pattern");
	struct stat st = {};
	time_t start;
	int status;
	pid_t pid;

	ASSERT_NE(NULL, mkdtemp(dir));
	sprintf(pattern, "%s/core", dir);
	ASSERT_TRUE(write_text("/proc/sys/kernel/core_pattern", pattern));
	start = time(NULL);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };

		setrlimit(RLIMIT_CORE, &all);
		/* Even when everything is asked for. */
		write_text("/proc/self/coredump_filter", "0x1ff");
		abort();
	}
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	write_text("/proc/sys/kernel/core_pattern", old);
	EXPECT_TRUE(WIFSIGNALED(status) && WCOREDUMP(status));
	EXPECT_GE(20, time(NULL) - start);
	EXPECT_OK(stat(pattern, &st));
	EXPECT_LT(0, st.st_size);
	EXPECT_GT(16 * MIB, st.st_size);
	unlink(pattern);
	rmdir(dir);
}

TEST_F(memcalls, prctl_names)
{
	/* PR_SET_VMA_ANON_NAME is for anonymous memory. */
	EXPECT_NE(0, prctl(0x53564d41, 0, self->addr, SLOT, "name"));
	EXPECT_NE(0, prctl(0x53564d41, 0, self->addr, PAGE, "name"));
}

TEST_F(memcalls, neighbours_do_not_grow_into_it)
{
	char *low = mmap(self->addr - PAGE, PAGE, RW,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	ASSERT_EQ(self->addr - PAGE, low);
	*low = 1;
	EXPECT_ERR(ENOMEM, mremap(low, PAGE, 2 * PAGE, 0));
	ASSERT_OK(munmap(low, PAGE));
}

TEST(mlockall_populates_nothing_of_an_attachment)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	int fd = region(GIB);

	ASSERT_OK(setrlimit(RLIMIT_MEMLOCK, &all));
	/* From the first address on: populating ends at the first hole. */
	ASSERT_NE(NULL, attached(fd, 0, MIB));
	EXPECT_OK(mlockall(MCL_CURRENT));
	EXPECT_EQ(0, stat_of(fd).resident);
	EXPECT_OK(munlockall());
}

TEST_HARNESS_MAIN
