// SPDX-License-Identifier: GPL-2.0
/* Numbers, sizes, flags and which error wins. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <stddef.h>
#include <sys/syscall.h>

_Static_assert(MSHARE_CLOEXEC == O_CLOEXEC, "MSHARE_CLOEXEC");
_Static_assert(MSHARE_OWNED == 1 && MSHARE_QUERY_ABI == 2, "create flags");
_Static_assert(MSHARE_ATTACH_RDONLY == 1 && MSHARE_ATTACH_EXEC == 2 && MSHARE_ATTACH_DONTFORK == 4,
	       "attach flags");
_Static_assert(MSHARE_ANY_OFFSET == ~0ULL, "MSHARE_ANY_OFFSET");
_Static_assert(MSHARE_STAT_OWNED == 1 && MSHARE_STAT_DEAD == 2, "stat flags");
_Static_assert(MSHARE_MAP_ARGS_SIZE_VER0 == 40 && sizeof(struct mshare_map_args) == 40, "args");
_Static_assert(MSHARE_STAT_SIZE_VER0 == 96 && sizeof(struct mshare_stat) == 96, "stat");
_Static_assert(offsetof(struct mshare_map_args, prot) == 16 &&
	       offsetof(struct mshare_map_args, fd) == 24 &&
	       offsetof(struct mshare_map_args, fd_offset) == 32, "args layout");
_Static_assert(__NR_mshare_create == 600 && __NR_mshare_attach == 601 &&
	       __NR_mshare_detach == 602 && __NR_mshare_map == 603 && __NR_mshare_unmap == 604 &&
	       __NR_mshare_protect == 605 && __NR_mshare_advise == 606 && __NR_mshare_stat == 607,
	       "numbers");

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

TEST(numbers_608_to_615_are_not_there)
{
	int nr;

	for (nr = 608; nr <= 615; nr++)
		EXPECT_ERR(ENOSYS, syscall(nr, 0, 0, 0, 0, 0, 0));
}

TEST(the_numbers_are_not_there_for_x32)
{
	int nr;

	for (nr = 600; nr <= 607; nr++)
		EXPECT_ERR(ENOSYS, syscall(nr | 0x40000000, 0, 0, 0, 0, 0, 0));
}

TEST(the_numbers_are_not_there_for_i386)
{
	long nr;
	int status;
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		for (nr = 600; nr <= 607; nr++) {
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

TEST(query_answers_level_1_and_creates_nothing)
{
	long long regions = settled();

	EXPECT_EQ(1, mshare_create(NULL, MSHARE_QUERY_ABI));
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
		EXPECT_ERR(EINVAL, mshare_detach((void *)SLOT, bit));
		EXPECT_ERR(EINVAL, mshare_unmap(-1, 0, PAGE, bit));
		EXPECT_ERR(EINVAL, mshare_protect(-1, 0, PAGE, PROT_READ, bit));
		EXPECT_ERR(EINVAL, mshare_advise(-1, 0, PAGE, MADV_NORMAL, bit));
		EXPECT_ERR(EINVAL, mshare_stat(-1, &st, sizeof(st), bit));
		EXPECT_ERR(EINVAL, mshare_stat(-1, BAD_POINTER, sizeof(st), bit));
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
	unsigned char buf[8192];
	struct mshare_stat st;
	int fd = region(GIB);
	size_t size, i;

	ASSERT_LE(0, fd);
	for (size = 0; size < MSHARE_STAT_SIZE_VER0; size++)
		EXPECT_ERR(EINVAL, mshare_stat(fd, (void *)buf, size, 0));
	ASSERT_OK(mshare_stat(fd, &st, sizeof(st), 0));
	for (size = 96; size <= PAGE; size += size < 128 ? 1 : 496) {
		memset(buf, 0xaa, sizeof(buf));
		ASSERT_OK(mshare_stat(fd, (void *)buf, size, 0));
		EXPECT_EQ(0, memcmp(buf, &st, sizeof(st)));
		for (i = 96; i < size; i++)
			ASSERT_EQ(0, buf[i]);
		for (; i < sizeof(buf); i++)
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

TEST(bad_pointers_are_EFAULT)
{
	int fd = region(GIB);

	ASSERT_LE(0, fd);
	EXPECT_ERR(EFAULT, mshare_create(NULL, 0));
	EXPECT_ERR(EFAULT, mshare_create(BAD_POINTER, 0));
	EXPECT_ERR(EFAULT, mshare_map(fd, BAD_POINTER, 40));
	EXPECT_ERR(EFAULT, mshare_map(fd, NULL, 40));
	EXPECT_ERR(EFAULT, mshare_stat(fd, BAD_POINTER, 96, 0));
	EXPECT_ERR(EFAULT, mshare_map(fd, (void *)0xffff888000000000ULL, 40));
	EXPECT_ERR(EFAULT, mshare_stat(fd, (void *)0xffff888000000000ULL, 96, 0));
}

TEST(size_wins_over_pointer_and_pointer_over_fd)
{
	EXPECT_ERR(EINVAL, mshare_map(-1, BAD_POINTER, 39));
	EXPECT_ERR(E2BIG, mshare_map(-1, BAD_POINTER, PAGE + 1));
	EXPECT_ERR(EFAULT, mshare_map(-1, BAD_POINTER, 40));
	EXPECT_ERR(EINVAL, mshare_stat(-1, BAD_POINTER, 95, 0));
	EXPECT_ERR(E2BIG, mshare_stat(-1, BAD_POINTER, PAGE + 1, 0));
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

TEST(range_wins_over_the_fd)
{
	EXPECT_ERR(EBADF, mshare_unmap(-1, 0, PAGE, 0));
	EXPECT_ERR(EINVAL, mshare_unmap(-1, 1, PAGE, 0));
	EXPECT_ERR(EINVAL, mshare_unmap(-1, 0, 0, 0));
	EXPECT_ERR(EINVAL, mshare_unmap(-1, ~0ULL << 12, 2 * PAGE, 0));
	EXPECT_ERR(EINVAL, mshare_unmap(-1, 0, ~0ULL, 0));
	EXPECT_ERR(EBADF, mshare_protect(-1, 0, PAGE, PROT_READ, 0));
	EXPECT_ERR(EINVAL, mshare_protect(-1, 1, PAGE, PROT_READ, 0));
	EXPECT_ERR(EINVAL, mshare_protect(-1, 0, 0, PROT_READ, 0));
	EXPECT_ERR(EINVAL, mshare_protect(-1, ~0ULL << 12, 2 * PAGE, PROT_READ, 0));
	EXPECT_ERR(EINVAL, mshare_protect(-1, 0, PAGE, 1U << 20, 0));
	EXPECT_ERR(EBADF, mshare_advise(-1, 0, PAGE, MADV_NORMAL, 0));
	EXPECT_ERR(EINVAL, mshare_advise(-1, 1, PAGE, MADV_NORMAL, 0));
	EXPECT_ERR(EINVAL, mshare_advise(-1, 0, 0, MADV_NORMAL, 0));
	EXPECT_ERR(EINVAL, mshare_advise(-1, ~0ULL << 12, 2 * PAGE, MADV_NORMAL, 0));
	EXPECT_ERR(EINVAL, mshare_attach(-1, (void *)1, 0));
}

TEST(the_fd_is_a_region)
{
	int null = open("/dev/null", O_RDWR), mem = memfd(PAGE, 0), path, fd = region(GIB);
	char link[64];
	struct mshare_stat st;
	int bad[3], want[3] = { EBADF, EBADFD, EBADFD }, i;

	ASSERT_LE(0, fd);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	path = open(link, O_PATH);
	ASSERT_LE(0, path);
	bad[0] = path;
	bad[1] = null;
	bad[2] = mem;
	for (i = 0; i < 3; i++) {
		EXPECT_ERR(want[i], mshare_attach(bad[i], NULL, 0));
		EXPECT_ERR(want[i], map_with(bad[i], good));
		EXPECT_ERR(want[i], mshare_unmap(bad[i], 0, PAGE, 0));
		EXPECT_ERR(want[i], mshare_protect(bad[i], 0, PAGE, PROT_READ, 0));
		EXPECT_ERR(want[i], mshare_advise(bad[i], 0, PAGE, MADV_NORMAL, 0));
		EXPECT_ERR(want[i], mshare_stat(bad[i], &st, sizeof(st), 0));
	}
	EXPECT_ERR(EBADF, mshare_attach(-1, NULL, 0));
	EXPECT_ERR(EBADF, mshare_attach(999, NULL, 0));
	EXPECT_ERR(EBADF, mshare_stat(999, &st, sizeof(st), 0));
}

TEST(access_mode_wins_over_the_object_and_the_object_over_the_region)
{
	int fd = region(GIB), empty = region(0), ro, wo;
	char link[64];
	struct mshare_map_args args = good;

	ASSERT_LE(0, fd);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ro = open(link, O_RDONLY);
	wo = open(link, O_WRONLY);
	ASSERT_LE(0, ro);
	ASSERT_LE(0, wo);
	EXPECT_ERR(EBADF, map_with(ro, good));
	EXPECT_ERR(EBADF, mshare_unmap(ro, 0, PAGE, 0));
	EXPECT_ERR(EBADF, mshare_protect(ro, 0, PAGE, PROT_READ, 0));
	EXPECT_ERR(EBADF, mshare_advise(ro, 0, PAGE, MADV_NORMAL, 0));
	EXPECT_ERR(EACCES, mshare_attach(ro, NULL, 0));
	EXPECT_ERR(EACCES, mshare_attach(wo, NULL, 0));
	EXPECT_ERR(EACCES, mshare_attach(wo, NULL, MSHARE_ATTACH_RDONLY));

	/* A pipe is no object (ENODEV), a region of size 0 has no room (ENOMEM). */
	args.flags = MAP_SHARED;
	args.fd = -1;
	EXPECT_ERR(EBADF, map_with(ro, args));
	EXPECT_ERR(EBADF, map_with(empty, args));
	args.fd = ro;
	EXPECT_ERR(ENODEV, map_with(empty, args));
	EXPECT_ERR(ENOMEM, map_with(empty, good));
	/* The access mode of the region comes before the size of the region. */
	EXPECT_ERR(EBADF, mshare_unmap(ro, TIB, PAGE, 0));
	EXPECT_ERR(ENOMEM, mshare_unmap(fd, TIB, PAGE, 0));
	EXPECT_ERR(EACCES, mshare_attach(ro, (void *)SLOT, 0));
}

TEST(size_wins_over_overlap_and_overlap_over_huge_alignment)
{
	int fd = region(4 * HUGE);

	ASSERT_LE(0, fd);
	if (!huge_pages(HUGE, 4))
		SKIP(return, "no huge pages");
	ASSERT_EQ(3 * HUGE, map_anon(fd, 3 * HUGE, HUGE, RW));
	EXPECT_ERR(ENOMEM, map_anon(fd, 3 * HUGE, 2 * HUGE, RW));
	EXPECT_ERR(EEXIST, map_obj(fd, 3 * HUGE - PAGE, HUGE, RW,
				   MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0));
	EXPECT_ERR(EINVAL, map_obj(fd, HUGE - PAGE, HUGE, RW,
				   MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0));
	EXPECT_EQ(1, stat_of(fd).objects);
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
