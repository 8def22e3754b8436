// SPDX-License-Identifier: GPL-2.0
/* mshare_attach() and mshare_detach(). */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE			65
#define PR_MDWE_REFUSE_EXEC_GAIN	1
#endif

static const uint8_t code_ret[] = { 0xc3 };

/* A region of GIB with one writable page at 0. */
static int region_with_page(void)
{
	int fd = region(GIB);

	return fd >= 0 && map_anon(fd, 0, PAGE, RW) == 0 ? fd : -1;
}

static bool limit(int which, unsigned long long value)
{
	return !setrlimit(which, &(struct rlimit){ value, value });
}

TEST(the_first_attachment_is_at_base)
{
	int fd = region_with_page();
	char *addr;

	ASSERT_LE(0, fd);
	addr = mshare_attach(fd, NULL, 0);
	EXPECT_EQ(stat_of(fd).base, (uint64_t)addr);
	EXPECT_EQ(1, stat_of(fd).attachments);
	EXPECT_EQ(FAULT_NONE, try_store(addr, 1));
	ASSERT_OK(mshare_detach(addr, 0));
	IN_CHILD(CHILD_CHECK((uint64_t)mshare_attach(fd, NULL, 0) == stat_of(fd).base));
}

TEST(an_attachment_spans_whole_slots)
{
	int fd = region(2 * SLOT + PAGE);
	unsigned long start, end;
	char *addr, *line;

	ASSERT_LE(0, fd);
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	line = maps_line(addr);
	ASSERT_EQ(2, sscanf(line, "%lx-%lx", &start, &end));
	EXPECT_EQ((unsigned long)addr, start);
	EXPECT_EQ(3 * SLOT, end - start);
	EXPECT_EQ(0, start % SLOT);
	/* All three are usable up to the region's size. */
	ASSERT_EQ(2 * SLOT, map_anon(fd, 2 * SLOT, PAGE, RW));
	ASSERT_EQ(SLOT - PAGE, map_anon(fd, SLOT - PAGE, 2 * PAGE, RW));
	EXPECT_EQ(FAULT_NONE, try_store(addr + 2 * SLOT, 1));
	EXPECT_EQ(FAULT_NONE, try_store(addr + SLOT - 1, 2));
	EXPECT_EQ(FAULT_NONE, try_store(addr + SLOT, 3));
	EXPECT_EQ(FAULT_MAPERR, try_load(addr + 2 * SLOT + PAGE));
	EXPECT_EQ(FAULT_MAPERR, try_load(addr + 3 * SLOT - 1));
}

TEST(several_attachments_in_one_process_are_the_same_memory)
{
	int fd = region_with_page(), i;
	char *addr[8];

	ASSERT_LE(0, fd);
	for (i = 0; i < 8; i++) {
		addr[i] = mshare_attach(fd, NULL, i & 1 ? MSHARE_ATTACH_RDONLY : 0);
		ASSERT_NE(MAP_FAILED, addr[i]);
		EXPECT_LE(WINDOW_START, (uint64_t)addr[i]);
		EXPECT_GE(WINDOW_END, (uint64_t)addr[i] + SLOT);
	}
	EXPECT_EQ(8, stat_of(fd).attachments);
	for (i = 0; i < 8; i += 2) {
		addr[i][0] = i + 1;
		EXPECT_EQ(i + 1, addr[(i + 5) % 8][0]);
		EXPECT_EQ(FAULT_ACCERR, try_store(addr[i + 1], 1));
	}
	ASSERT_OK(mshare_detach(addr[0], 0));
	EXPECT_EQ(FAULT_MAPERR, try_load(addr[0]));
	EXPECT_EQ(7, addr[2][0]);
	EXPECT_EQ(7, stat_of(fd).attachments);
}

TEST(the_same_memory_in_processes_at_different_addresses)
{
	int fd = region_with_page();
	char *mine;

	ASSERT_LE(0, fd);
	mine = mshare_attach(fd, (void *)(4 * SLOT), 0);
	ASSERT_EQ((void *)(4 * SLOT), mine);
	mine[0] = 'p';
	ASSERT_OK(mshare_detach(mine, 0));
	IN_CHILD({
		char *addr = mshare_attach(fd, (void *)(9 * SLOT), 0);

		CHILD_CHECK(addr == (void *)(9 * SLOT));
		CHILD_CHECK(addr[0] == 'p');
		addr[1] = 'c';
	});
	mine = mshare_attach(fd, NULL, 0);
	EXPECT_EQ('c', mine[1]);
}

TEST(an_address_is_taken_exactly_or_refused)
{
	int fd = region_with_page();
	char *addr, *other;

	ASSERT_LE(0, fd);
	EXPECT_ERR(EINVAL, mshare_attach(fd, (void *)PAGE, 0));
	EXPECT_ERR(EINVAL, mshare_attach(fd, (void *)(SLOT + PAGE), 0));
	EXPECT_ERR(EINVAL, mshare_attach(fd, (void *)(SLOT / 2), 0));
	EXPECT_ERR(EINVAL, mshare_attach(region(0), (void *)SLOT, 0));
	addr = mshare_attach(fd, (void *)(5 * SLOT), 0);
	EXPECT_EQ((void *)(5 * SLOT), addr);
	EXPECT_ERR(EEXIST, mshare_attach(fd, (void *)(5 * SLOT), 0));
	other = mmap((void *)(7 * SLOT - PAGE), PAGE, RW,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	ASSERT_EQ((void *)(7 * SLOT - PAGE), other);
	EXPECT_ERR(EEXIST, mshare_attach(fd, (void *)(6 * SLOT), 0));
	EXPECT_EQ((void *)(7 * SLOT), mshare_attach(fd, (void *)(7 * SLOT), 0));
	EXPECT_EQ(2, stat_of(fd).attachments);
	EXPECT_ERR(ENOMEM, mshare_attach(fd, (void *)0xffff800000000000ULL, 0));
}

TEST(addresses_above_47_bits_are_as_mmap_has_them)
{
	int fd = region_with_page();
	char *addr = (char *)(1ULL << 48);
	bool can = mmap(addr, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
			-1, 0) == addr;

	ASSERT_LE(0, fd);
	if (!can) {
		EXPECT_ERR(ENOMEM, mshare_attach(fd, addr, 0));
		return;
	}
	EXPECT_ERR(EEXIST, mshare_attach(fd, addr, 0));
	ASSERT_EQ(addr + SLOT, mshare_attach(fd, addr + SLOT, 0));
	EXPECT_EQ(FAULT_NONE, try_store(addr + SLOT, 1));
	EXPECT_OK(mshare_detach(addr + SLOT, 0));
}

TEST(when_the_base_is_taken_another_place_is_found_below_47_bits)
{
	int fd = region_with_page();
	uint64_t base;
	char *addr, *busy;

	ASSERT_LE(0, fd);
	base = stat_of(fd).base;
	busy = mmap((void *)(base + GIB), PAGE, RW,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	ASSERT_EQ((void *)(base + GIB), busy);
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_NE(base, (uint64_t)addr);
	EXPECT_LE(WINDOW_START, (uint64_t)addr);
	EXPECT_GE(WINDOW_END, (uint64_t)addr + SLOT);
	ASSERT_OK(mshare_detach(addr, 0));

	/* And outside of the window when that is full. */
	if (mmap((void *)WINDOW_START, WINDOW_END - WINDOW_START, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		SKIP(return, "cannot reserve 48 TiB");
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_GE(1ULL << 47, (uint64_t)addr + SLOT);
	/* Near what mmap() returns, and not below the program. */
	EXPECT_LE(WINDOW_END, (uint64_t)addr);
	EXPECT_EQ(FAULT_NONE, try_store(addr, 1));
}

TEST(no_room_is_ENOMEM)
{
	int fd = region(32 * TIB), i;

	ASSERT_LE(0, fd);
	for (i = 0; i < 8; i++)
		if (mshare_attach(fd, NULL, 0) == MAP_FAILED)
			break;
	EXPECT_EQ(ENOMEM, errno);
	/* 2^47 is 128 TiB. */
	EXPECT_LE(1, i);
	EXPECT_GE(3, i);
	EXPECT_EQ(i, stat_of(fd).attachments);
}

/* What the address space of this process counts, in bytes. */
static long long vm_size(void)
{
	return file_key("/proc/self/status", "VmSize:") * KIB;
}

TEST(RLIMIT_AS_counts_the_size_of_the_region)
{
	int fd = region(4 * GIB);

	ASSERT_LE(0, fd);
	IN_CHILD({
		long long now = vm_size();
		char *addr;

		CHILD_CHECK(limit(RLIMIT_AS, now + 5 * GIB));
		addr = mshare_attach(fd, NULL, 0);
		CHILD_CHECK(addr != MAP_FAILED);
		CHILD_CHECK(vm_size() - now >= 4 * GIB && vm_size() - now < 4 * GIB + MIB);
		CHILD_CHECK(mshare_attach(fd, NULL, 0) == MAP_FAILED && errno == ENOMEM);
		CHILD_CHECK(!mshare_detach(addr, 0));
		CHILD_CHECK(limit(RLIMIT_AS, now + 4 * GIB - MIB));
		CHILD_CHECK(mshare_attach(fd, NULL, 0) == MAP_FAILED && errno == ENOMEM);
		CHILD_CHECK(stat_of(fd).attachments == 0);
	});
}

/* Is @size what the address space counts?  The C library may have mapped a little. */
#define EXPECT_VM_SIZE(size) do {						\
	EXPECT_LE(0, vm_size() - (long long)(size));				\
	EXPECT_GT(MIB, vm_size() - (long long)(size));				\
} while (0)

TEST(an_attachment_counts_the_size_that_the_region_had)
{
	int fd = region(GIB);
	char *addr, *again, *parents;
	long long start, in_child;

	ASSERT_LE(0, fd);
	start = vm_size();
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_VM_SIZE(start + GIB);
	ASSERT_OK(ftruncate(fd, 3 * GIB));
	EXPECT_VM_SIZE(start + GIB);
	again = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, again);
	EXPECT_VM_SIZE(start + 4 * GIB);
	parents = mshare_attach(fd, NULL, MSHARE_ATTACH_DONTFORK);
	ASSERT_NE(MAP_FAILED, parents);
	EXPECT_VM_SIZE(start + 7 * GIB);
	IN_CHILD({
		in_child = vm_size();
		CHILD_CHECK(in_child >= start + 4 * GIB && in_child < start + 4 * GIB + MIB);
		CHILD_CHECK(!munmap(again, SLOT));
		CHILD_CHECK(in_child - vm_size() == 3 * GIB);
		CHILD_CHECK(!mshare_detach(addr, 0));
		CHILD_CHECK(in_child - vm_size() == 4 * GIB);
	});
	EXPECT_EQ(addr, mmap(addr, SLOT, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED |
			     MAP_NORESERVE, -1, 0));
	EXPECT_VM_SIZE(start + 6 * GIB + SLOT);
	ASSERT_OK(munmap(addr, SLOT));
	ASSERT_OK(mshare_detach(parents, 0));
	ASSERT_OK(munmap(again, SLOT));
	EXPECT_VM_SIZE(start);
}

/* Nothing of an attachment that cannot be had is left in the count. */
TEST(an_attachment_that_fails_counts_nothing)
{
	int fd = region(GIB), i;
	char *addr = mshare_attach(fd, NULL, 0);
	long long start = vm_size();

	ASSERT_NE(MAP_FAILED, addr);
	for (i = 0; i < 4; i++)
		ASSERT_EQ(MAP_FAILED, mshare_attach(fd, addr, 0));
	EXPECT_ERR(EINVAL, munmap(addr, GIB));
	EXPECT_EQ(MAP_FAILED, mmap(addr, GIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
				   -1, 0));
	EXPECT_VM_SIZE(start);
}

TEST(a_process_has_at_most_200_attachments)
{
	int fd = region_with_page(), count = 0, i;
	char *addr[300], *again;

	ASSERT_LE(0, fd);
	while (count < 300 && (addr[count] = mshare_attach(fd, NULL, 0)) != MAP_FAILED)
		count++;
	ASSERT_EQ(ENOMEM, errno);
	EXPECT_EQ(200, count);
	fill(addr[0], PAGE, 1);
	EXPECT_EQ(count, stat_of(fd).attachments);
	/* A child has as many, and it is their number and not the last place. */
	IN_CHILD({
		for (i = 0; i < count; i++)
			CHILD_CHECK(!wrong(addr[i], PAGE, 1));
		CHILD_CHECK(mshare_attach(fd, NULL, 0) == MAP_FAILED && errno == ENOMEM);
	});
	ASSERT_OK(mshare_detach(addr[count / 2], 0));
	again = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, again);
	addr[count / 2] = again;
	for (i = 0; i < count; i++)
		ASSERT_OK(mshare_detach(addr[i], 0));
}

TEST(max_map_count_applies)
{
	static const char path[] = "/proc/sys/vm/max_map_count";
	int fd = region_with_page(), err;
	long long old = read_number(path);
	void *addr;

	ASSERT_LE(0, fd);
	ASSERT_TRUE(write_number(path, 5));
	errno = 0;
	addr = mshare_attach(fd, NULL, 0);
	err = errno;
	ASSERT_TRUE(write_number(path, old));
	EXPECT_EQ(MAP_FAILED, addr);
	EXPECT_EQ(ENOMEM, err);
	EXPECT_NE(MAP_FAILED, mshare_attach(fd, NULL, 0));
}

TEST(mlockall_future_does_not_stop_attach)
{
	int fd = region_with_page();

	ASSERT_LE(0, fd);
	IN_CHILD({
		char *addr;

		CHILD_CHECK(limit(RLIMIT_MEMLOCK, 64 * MIB));
		CHILD_CHECK(!setresuid(1000, 1000, 1000));
		CHILD_CHECK(!mlockall(MCL_FUTURE));
		addr = mshare_attach(fd, NULL, 0);
		CHILD_CHECK(addr != MAP_FAILED);
		/* Nothing was locked or populated. */
		CHILD_CHECK(file_key("/proc/self/status", "VmLck:") < 64 * 1024);
		CHILD_CHECK(stat_of(fd).resident == 0);
		CHILD_CHECK(try_store(addr, 1) == FAULT_NONE);
	});
}

TEST(a_read_only_attachment_refuses_stores)
{
	int fd = region_with_page();
	char *rw, *ro;

	ASSERT_LE(0, fd);
	ro = mshare_attach(fd, NULL, MSHARE_ATTACH_RDONLY);
	rw = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, ro);
	ASSERT_NE(MAP_FAILED, rw);
	/* Before the page exists, when it exists, and after another process wrote to it. */
	EXPECT_EQ(FAULT_ACCERR, try_store(ro, 1));
	EXPECT_EQ(FAULT_NONE, try_load(ro));
	EXPECT_EQ(FAULT_ACCERR, try_store(ro, 1));
	EXPECT_EQ(FAULT_NONE, try_store(rw, 9));
	EXPECT_EQ(FAULT_ACCERR, try_store(ro, 1));
	EXPECT_EQ(9, ro[0]);
}

TEST(a_read_only_fd_attaches_read_only)
{
	int fd = region_with_page(), ro;
	char path[64];

	ASSERT_LE(0, fd);
	sprintf(path, "/proc/self/fd/%d", fd);
	ro = open(path, O_RDONLY);
	ASSERT_LE(0, ro);
	EXPECT_ERR(EACCES, mshare_attach(ro, NULL, 0));
	EXPECT_ERR(EACCES, mshare_attach(ro, NULL, MSHARE_ATTACH_EXEC));
	EXPECT_NE(MAP_FAILED, mshare_attach(ro, NULL, MSHARE_ATTACH_RDONLY));
	EXPECT_NE(MAP_FAILED, mshare_attach(ro, NULL, MSHARE_ATTACH_RDONLY | MSHARE_ATTACH_EXEC));
}

TEST(only_an_EXEC_attachment_executes)
{
	int fd = region(GIB);
	char *rw, *exec, *data;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, map_anon(fd, 0, PAGE, RW | PROT_EXEC));
	ASSERT_EQ(PAGE, map_anon(fd, PAGE, PAGE, RW));
	rw = mshare_attach(fd, NULL, 0);
	exec = mshare_attach(fd, NULL, MSHARE_ATTACH_EXEC);
	data = mshare_attach(fd, NULL, MSHARE_ATTACH_RDONLY | MSHARE_ATTACH_EXEC);
	ASSERT_NE(MAP_FAILED, rw);
	ASSERT_NE(MAP_FAILED, exec);
	ASSERT_NE(MAP_FAILED, data);
	memcpy(rw, code_ret, sizeof(code_ret));
	memcpy(rw + PAGE, code_ret, sizeof(code_ret));
	EXPECT_EQ(FAULT_ACCERR, try_exec(rw));
	EXPECT_EQ(FAULT_NONE, try_exec(exec));
	EXPECT_EQ(FAULT_NONE, try_exec(data));
	EXPECT_EQ(FAULT_ACCERR, try_exec(rw));
	/* The object must allow it as well. */
	EXPECT_EQ(FAULT_ACCERR, try_exec(exec + PAGE));
	EXPECT_EQ(FAULT_ACCERR, try_store(data, 0));
}

TEST(READ_IMPLIES_EXEC_is_ignored)
{
	int fd = region(GIB);
	char *addr;

	ASSERT_LE(0, fd);
	ASSERT_LE(0, personality(READ_IMPLIES_EXEC));
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_EQ(0, map_anon(fd, 0, PAGE, RW));
	ASSERT_EQ(PAGE, map_anon(fd, PAGE, PAGE, RW | PROT_EXEC));
	memcpy(addr, code_ret, sizeof(code_ret));
	memcpy(addr + PAGE, code_ret, sizeof(code_ret));
	EXPECT_EQ(FAULT_ACCERR, try_exec(addr));
	EXPECT_EQ(FAULT_ACCERR, try_exec(addr + PAGE));
	addr = mshare_attach(fd, NULL, MSHARE_ATTACH_EXEC);
	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_EQ(FAULT_ACCERR, try_exec(addr));
	EXPECT_EQ(FAULT_NONE, try_exec(addr + PAGE));
}

TEST(memory_deny_write_execute_applies)
{
	int fd = region(GIB);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, map_anon(fd, 0, PAGE, RW));
	ASSERT_EQ(PAGE, map_anon(fd, PAGE, PAGE, PROT_READ | PROT_EXEC));
	IN_CHILD({
		CHILD_CHECK(!prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0));
		CHILD_CHECK(mshare_attach(fd, NULL, MSHARE_ATTACH_EXEC) == MAP_FAILED &&
			    errno == EACCES);
		CHILD_CHECK(mshare_attach(fd, NULL, 0) != MAP_FAILED);
		CHILD_CHECK(mshare_attach(fd, NULL, MSHARE_ATTACH_EXEC | MSHARE_ATTACH_RDONLY) !=
			    MAP_FAILED);
		CHILD_CHECK(map_anon(fd, 2 * PAGE, PAGE, RW | PROT_EXEC) == -1 && errno == EACCES);
		CHILD_CHECK(mshare_protect(fd, 0, PAGE, PROT_READ | PROT_EXEC, 0) == -1 &&
			    errno == EACCES);
		CHILD_CHECK(mshare_protect(fd, 0, PAGE, RW | PROT_EXEC, 0) == -1 &&
			    errno == EACCES);
		CHILD_CHECK(!mshare_protect(fd, PAGE, PAGE, PROT_READ | PROT_EXEC, 0));
		CHILD_CHECK(map_anon(fd, 2 * PAGE, PAGE, PROT_READ | PROT_EXEC) == 2 * PAGE);
	});
	/* It is the caller's policy, not the region's. */
	EXPECT_OK(mshare_protect(fd, 0, PAGE, RW | PROT_EXEC, 0));
	EXPECT_NE(MAP_FAILED, mshare_attach(fd, NULL, MSHARE_ATTACH_EXEC));
}

TEST(detach_takes_the_start_of_an_attachment)
{
	int fd = region(2 * SLOT);
	char *addr, *other = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, map_anon(fd, 0, PAGE, RW));
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_ERR(EINVAL, mshare_detach(addr + PAGE, 0));
	EXPECT_ERR(EINVAL, mshare_detach(addr + SLOT, 0));
	EXPECT_ERR(EINVAL, mshare_detach(addr + 1, 0));
	EXPECT_ERR(EINVAL, mshare_detach(addr - SLOT, 0));
	EXPECT_ERR(EINVAL, mshare_detach(NULL, 0));
	EXPECT_ERR(EINVAL, mshare_detach(other, 0));
	EXPECT_ERR(EINVAL, mshare_detach((void *)-4096L, 0));
	EXPECT_EQ(1, stat_of(fd).attachments);
	EXPECT_EQ(FAULT_NONE, try_store(addr, 1));
	EXPECT_EQ(FAULT_NONE, try_store(other, 1));
	EXPECT_OK(mshare_detach(addr, 0));
	EXPECT_EQ(0, stat_of(fd).attachments);
	EXPECT_EQ(FAULT_MAPERR, try_load(addr));
	EXPECT_ERR(EINVAL, mshare_detach(addr, 0));
	EXPECT_STREQ("", maps_line(addr));
}

TEST(detached_and_attached_again_the_content_is_there)
{
	int fd = region(GIB), i;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, map_anon(fd, 0, MIB, RW));
	for (i = 0; i < 20; i++) {
		char *addr = mshare_attach(fd, NULL, 0);

		ASSERT_NE(MAP_FAILED, addr);
		if (i)
			EXPECT_EQ(0, wrong(addr, MIB, i - 1));
		fill(addr, MIB, i);
		ASSERT_OK(mshare_detach(addr, 0));
	}
	EXPECT_EQ(MIB, stat_of(fd).resident);
}

TEST(after_detach_the_addresses_are_free_for_others)
{
	int fd = region_with_page();
	char *addr, *other;

	ASSERT_LE(0, fd);
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	addr[0] = 1;
	ASSERT_OK(mshare_detach(addr, 0));
	other = mmap(addr, MIB, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	ASSERT_EQ(addr, other);
	EXPECT_EQ(0, other[0]);
	fill(other, MIB, 1);
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_EQ(1, addr[0]);
	ASSERT_OK(munmap(other, MIB));
}

/* Pages that the process has in memory. */
static long long statm_resident(void)
{
	char *text = slurp("/proc/self/statm");
	long long pages = atoll(strchr(text, ' '));

	free(text);
	return pages;
}

TEST(the_attachment_counts_in_VmSize_but_not_in_VmRSS)
{
	int fd = region(GIB);
	long long size, rss, pages;
	char *addr;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, map_anon(fd, 0, 16 * MIB, RW));
	size = vm_size();
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_EQ(GIB, vm_size() - size);
	rss = file_key("/proc/self/status", "VmRSS:");
	pages = statm_resident();
	EXPECT_LT(0, pages);
	fill(addr, 16 * MIB, 1);
	EXPECT_GT(1024, file_key("/proc/self/status", "VmRSS:") - rss);
	EXPECT_GT(MIB / PAGE, statm_resident() - pages);
	EXPECT_EQ(16 * MIB, stat_of(fd).resident);
	ASSERT_OK(mshare_detach(addr, 0));
	EXPECT_GT(MIB, vm_size() - size);
}

TEST(the_protection_key_is_0)
{
	int fd = region_with_page();
	char *addr, *key;

	if (!cpu_has("ospke"))
		SKIP(return, "no protection keys");
	ASSERT_LE(0, fd);
	/* Of the caller's keys none is for attachments. */
	ASSERT_LE(1, pkey_alloc(0, 0));
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	key = strstr(smaps_block(addr), "ProtectionKey:");
	ASSERT_NE(NULL, key);
	EXPECT_EQ(0, strtol(key + strlen("ProtectionKey:"), NULL, 10));
	EXPECT_EQ(FAULT_NONE, try_store(addr, 1));
}

TEST_HARNESS_MAIN
