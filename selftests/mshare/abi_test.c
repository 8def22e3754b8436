// SPDX-License-Identifier: GPL-2.0
/* Numbers, sizes, flags and which error wins. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <stddef.h>
#include <sys/syscall.h>

/* What programs have compiled in can never change. */
#define IS(name, value)	_Static_assert((name) == (value), #name)

IS(__NR_mshare_create, 600);
IS(__NR_mshare_attach, 601);
IS(__NR_mshare_detach, 602);
IS(__NR_mshare_map, 603);
IS(__NR_mshare_unmap, 604);
IS(__NR_mshare_protect, 605);
IS(__NR_mshare_advise, 606);
IS(__NR_mshare_stat, 607);
IS(__NR_mshare_open, 608);

IS(MSHARE_OWNED, 0x1);
IS(MSHARE_QUERY_ABI, 0x2);
IS(MSHARE_CLOEXEC, 0x80000);
IS(MSHARE_CLOEXEC, O_CLOEXEC);
IS(MSHARE_ABI_LEVEL, 2);
IS(MSHARE_NAME_MAX, 248);
IS(MSHARE_ATTACH_RDONLY, 0x1);
IS(MSHARE_ATTACH_EXEC, 0x2);
IS(MSHARE_ATTACH_DONTFORK, 0x4);
IS(MSHARE_ANY_OFFSET, 0xffffffffffffffffULL);
IS(MSHARE_STAT_OWNED, 0x1);
IS(MSHARE_STAT_DEAD, 0x2);
IS(MSHARE_STAT_FILE, 0x4);

IS(MSHARE_MAP_ARGS_SIZE_VER0, 40);
IS(sizeof(struct mshare_map_args), 40);
IS(MSHARE_STAT_SIZE_VER0, 96);
IS(MSHARE_STAT_SIZE_VER1, 112);
IS(sizeof(struct mshare_stat), 112);

/* Where a field is, how large, and that it has that sign. */
#define FIELD(type, name, at, size, is_signed)					\
	IS(offsetof(struct type, name), at);					\
	IS(sizeof(((struct type *)0)->name), size);				\
	IS((typeof(((struct type *)0)->name))-1 < 1, is_signed)

FIELD(mshare_map_args, offset, 0, 8, 0);
FIELD(mshare_map_args, length, 8, 8, 0);
FIELD(mshare_map_args, prot, 16, 4, 0);
FIELD(mshare_map_args, flags, 20, 4, 0);
FIELD(mshare_map_args, fd, 24, 4, 1);
FIELD(mshare_map_args, reserved, 28, 4, 0);
FIELD(mshare_map_args, fd_offset, 32, 8, 0);

FIELD(mshare_stat, id, 0, 8, 0);
FIELD(mshare_stat, size, 8, 8, 0);
FIELD(mshare_stat, align, 16, 8, 0);
FIELD(mshare_stat, base, 24, 8, 0);
FIELD(mshare_stat, attachments, 32, 8, 0);
FIELD(mshare_stat, objects, 40, 8, 0);
FIELD(mshare_stat, mapped, 48, 8, 0);
FIELD(mshare_stat, resident, 56, 8, 0);
FIELD(mshare_stat, swapped, 64, 8, 0);
FIELD(mshare_stat, pgtable_bytes, 72, 8, 0);
FIELD(mshare_stat, faults, 80, 8, 0);
FIELD(mshare_stat, flags, 88, 8, 0);
FIELD(mshare_stat, tables_dropped, 96, 8, 0);
FIELD(mshare_stat, tables_reclaimed, 104, 8, 0);

#define BAD_POINTER	((void *)8UL)

static const struct mshare_map_args good = {
	.length = PAGE, .prot = RW, .flags = MAP_SHARED | MAP_ANONYMOUS, .fd = -1,
};

static int64_t map_with(int fd, struct mshare_map_args args)
{
	return mshare_map(fd, &args, sizeof(args));
}

/* The good arguments with one field changed. */
#define WITH(field, value) ({ struct mshare_map_args __a = good; __a.field = (value); __a; })

TEST(numbers_609_to_615_are_not_there)
{
	int nr;

	for (nr = 609; nr <= 615; nr++)
		EXPECT_ERR(ENOSYS, syscall(nr, 0, 0, 0, 0, 0, 0));
}

TEST(the_numbers_are_not_there_for_x32)
{
	int nr;

	for (nr = 600; nr <= 608; nr++)
		EXPECT_ERR(ENOSYS, syscall(nr | 0x40000000, 0, 0, 0, 0, 0, 0));
}

TEST(the_numbers_are_not_there_for_i386)
{
	long nr;
	int status;
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		for (nr = 600; nr <= 615; nr++) {
			long ret = nr;

			asm volatile("int $0x80" : "+a"(ret)
				     : "b"(0L), "c"(0L), "d"(0L), "S"(0L), "D"(0L)
				     : "memory", "r8", "r9", "r10", "r11");
			if ((int)ret != -ENOSYS)
				_exit(1);
		}
		_exit(0);
	}
	status = wait_for(pid);
	if (status == KILLED_BY(SIGSEGV))
		SKIP(return, "the kernel has no int 0x80");
	EXPECT_EQ(0, status);
}

TEST(query_answers_level_2_and_creates_nothing)
{
	long long regions = settled();

	EXPECT_EQ(2, mshare_create(NULL, MSHARE_QUERY_ABI));
	EXPECT_EQ(MSHARE_ABI_LEVEL, mshare_create(NULL, MSHARE_QUERY_ABI));
	EXPECT_EQ(regions, sys_mshare("regions"));
}

TEST(query_takes_no_name_and_no_other_flag)
{
	EXPECT_ERR(EINVAL, mshare_create("name", MSHARE_QUERY_ABI));
	EXPECT_ERR(EINVAL, mshare_create(NULL, MSHARE_QUERY_ABI | MSHARE_CLOEXEC));
	EXPECT_ERR(EINVAL, mshare_create(NULL, MSHARE_QUERY_ABI | MSHARE_OWNED));
}

TEST(unknown_flags_are_refused_before_anything_else)
{
	struct mshare_stat st;
	unsigned int bit;

	for (bit = 1; bit; bit <<= 1) {
		if (!(bit & (MSHARE_CLOEXEC | MSHARE_OWNED | MSHARE_QUERY_ABI))) {
			EXPECT_ERR(EINVAL, mshare_create("name", bit));
			EXPECT_ERR(EINVAL, mshare_create(BAD_POINTER, bit));
		}
		if (!(bit & (MSHARE_ATTACH_RDONLY | MSHARE_ATTACH_EXEC | MSHARE_ATTACH_DONTFORK)))
			EXPECT_ERR(EINVAL, mshare_attach(-1, NULL, bit));
		if (!(bit & MSHARE_CLOEXEC))
			EXPECT_ERR(EINVAL, mshare_open(-1, PAGE, bit));
		EXPECT_ERR(EINVAL, mshare_detach((void *)SLOT, bit));
		EXPECT_ERR(EINVAL, mshare_unmap(-1, 0, PAGE, bit));
		EXPECT_ERR(EINVAL, mshare_protect(-1, 0, PAGE, PROT_READ, bit));
		EXPECT_ERR(EINVAL, mshare_advise(-1, 0, PAGE, MADV_NORMAL, bit));
		EXPECT_ERR(EINVAL, mshare_stat(-1, &st, sizeof(st), bit));
		EXPECT_ERR(EINVAL, mshare_stat(-1, BAD_POINTER, sizeof(st), bit));
	}
}

TEST(unknown_bits_of_prot_flags_and_reserved_are_refused)
{
	/* Those of the size of huge pages mean something with MAP_HUGETLB only. */
	unsigned int known = MAP_SHARED_VALIDATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE |
			     MAP_NORESERVE | MAP_FIXED | 0x3fU << 26;
	int fd = region(GIB);
	unsigned int bit;

	ASSERT_LE(0, fd);
	for (bit = 1; bit; bit <<= 1) {
		if (bit & ~(PROT_READ | PROT_WRITE | PROT_EXEC)) {
			EXPECT_ERR(EINVAL, map_with(fd, WITH(prot, RW | bit)));
			EXPECT_ERR(EINVAL, mshare_protect(fd, 0, PAGE, PROT_READ | bit, 0));
		}
		if (bit & ~known) {
			EXPECT_ERR(EINVAL, map_with(fd, WITH(flags, good.flags | bit)));
			EXPECT_ERR(EINVAL, map_with(fd, WITH(flags, MAP_SHARED_VALIDATE |
							     MAP_ANONYMOUS | bit)));
		}
		EXPECT_ERR(EINVAL, map_with(fd, WITH(reserved, bit)));
	}
	EXPECT_EQ(0, stat_of(fd).objects);
	EXPECT_EQ(0, map_with(fd, good));
}

TEST(advice_is_one_of_those_that_make_sense_for_shared_memory)
{
	static const int known[] = {
		MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED,
		MADV_REMOVE, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_COLD, MADV_PAGEOUT,
		MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_COLLAPSE,
	};
	unsigned int i;
	int advice;

	for (advice = -2; advice < 300; advice++) {
		for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			if (advice == known[i])
				break;
		/* With a descriptor that is not open: past the check of the advice. */
		EXPECT_ERR(i < sizeof(known) / sizeof(known[0]) ? EBADF : EINVAL,
			   mshare_advise(-1, 0, PAGE, advice, 0));
	}
}

TEST(map_takes_sizes_from_40_to_a_page_and_zeroes_in_the_tail)
{
	char buf[8192] = {};
	struct mshare_map_args args = good;
	int fd = region(GIB);
	size_t size;

	ASSERT_LE(0, fd);
	memcpy(buf, &args, sizeof(args));
	for (size = 0; size < MSHARE_MAP_ARGS_SIZE_VER0; size++)
		EXPECT_ERR(EINVAL, mshare_map(fd, (void *)buf, size));
	for (size = 40; size <= PAGE; size += size < 64 ? 1 : 8) {
		EXPECT_EQ(0, mshare_map(fd, (void *)buf, size));
		EXPECT_OK(mshare_unmap(fd, 0, PAGE, 0));
	}
	EXPECT_ERR(E2BIG, mshare_map(fd, (void *)buf, PAGE + 1));
	EXPECT_ERR(E2BIG, mshare_map(fd, (void *)buf, SIZE_MAX));
	buf[40] = 1;
	EXPECT_EQ(0, mshare_map(fd, (void *)buf, 40));
	EXPECT_OK(mshare_unmap(fd, 0, PAGE, 0));
	EXPECT_ERR(E2BIG, mshare_map(fd, (void *)buf, 41));
	buf[40] = 0;
	buf[4095] = 1;
	EXPECT_EQ(0, mshare_map(fd, (void *)buf, 4095));
	EXPECT_OK(mshare_unmap(fd, 0, PAGE, 0));
	EXPECT_ERR(E2BIG, mshare_map(fd, (void *)buf, PAGE));
	EXPECT_EQ(0, stat_of(fd).objects);
}

TEST(stat_takes_sizes_from_96_to_a_page_and_zeroes_the_tail)
{
	unsigned char buf[8192], *at = buf + 1000;
	struct mshare_stat st;
	int fd = region(GIB);
	size_t size, i;

	ASSERT_LE(0, fd);
	for (size = 0; size < MSHARE_STAT_SIZE_VER0; size++)
		EXPECT_ERR(EINVAL, mshare_stat(fd, (void *)buf, size, 0));
	ASSERT_OK(mshare_stat(fd, &st, sizeof(st), 0));
	for (size = 96; size <= PAGE; size += size < 128 ? 1 : 496) {
		memset(buf, 0xaa, sizeof(buf));
		ASSERT_OK(mshare_stat(fd, (void *)at, size, 0));
		EXPECT_EQ(0, memcmp(at, &st, size < sizeof(st) ? size : sizeof(st)));
		i = size < sizeof(st) ? size : sizeof(st);
		for (; i < size; i++)
			ASSERT_EQ(0, at[i]);
		/* Nothing else is written, on either side. */
		for (; at + i < buf + sizeof(buf); i++)
			ASSERT_EQ(0xaa, at[i]);
		for (i = 0; buf + i < at; i++)
			ASSERT_EQ(0xaa, buf[i]);
	}
	EXPECT_ERR(E2BIG, mshare_stat(fd, (void *)buf, PAGE + 1, 0));
}

TEST(stat_never_reads_the_buffer)
{
	int fd = region(GIB);
	char *page = mmap(NULL, 2 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_LE(0, fd);
	ASSERT_NE(MAP_FAILED, page);
	memset(page, 0xff, 2 * PAGE);
	EXPECT_OK(mshare_stat(fd, (void *)page, PAGE, 0));
	/* Ends at a page that is not there. */
	ASSERT_OK(munmap(page + PAGE, PAGE));
	EXPECT_OK(mshare_stat(fd, (void *)(page + PAGE - 96), 96, 0));
	EXPECT_ERR(EFAULT, mshare_stat(fd, (void *)(page + PAGE - 96), 97, 0));
}

TEST(stat_that_fails_leaves_the_buffer_alone)
{
	unsigned char buf[2 * PAGE], same[2 * PAGE];
	int null = open("/dev/null", O_RDWR);

	memset(buf, 0xaa, sizeof(buf));
	memset(same, 0xaa, sizeof(same));
	EXPECT_ERR(EBADF, mshare_stat(-1, (void *)buf, 96, 0));
	EXPECT_ERR(EBADFD, mshare_stat(null, (void *)buf, 96, 0));
	EXPECT_ERR(EBADFD, mshare_stat(null, (void *)(buf + PAGE / 2), PAGE, 0));
	EXPECT_EQ(0, memcmp(buf, same, sizeof(buf)));
}

TEST(fields_of_the_struct_win_over_the_fd)
{
	EXPECT_ERR(EBADF, map_with(-1, good));
	EXPECT_ERR(EINVAL, map_with(-1, WITH(reserved, 1)));
	EXPECT_ERR(EINVAL, map_with(-1, WITH(offset, 1)));
	EXPECT_ERR(EINVAL, map_with(-1, WITH(length, 0)));
	EXPECT_ERR(EINVAL, map_with(-1, WITH(length, ~0ULL)));
	EXPECT_ERR(EINVAL, map_with(-1, WITH(offset, ~0ULL << 12)));
	EXPECT_ERR(EINVAL, map_with(-1, WITH(prot, 1U << 20)));
	EXPECT_ERR(EINVAL, map_with(-1, WITH(flags, 0)));
	EXPECT_ERR(EINVAL, map_with(-1, WITH(flags, MAP_PRIVATE | MAP_ANONYMOUS)));
	EXPECT_ERR(EINVAL, map_with(-1, WITH(fd, 0)));
	EXPECT_ERR(EINVAL, map_with(-1, WITH(fd_offset, PAGE)));
}

TEST(a_failed_call_leaves_no_fd_and_no_region)
{
	long long regions = settled();
	int next = open("/dev/null", O_RDONLY);
	char name[300];

	close(next);
	memset(name, 'x', sizeof(name));
	name[249] = 0;
	EXPECT_ERR(EINVAL, mshare_create(name, 0));
	EXPECT_ERR(EFAULT, mshare_create(BAD_POINTER, 0));
	EXPECT_EQ(next, open("/dev/null", O_RDONLY));
	EXPECT_EQ(regions, sys_mshare("regions"));
}

TEST_HARNESS_MAIN
