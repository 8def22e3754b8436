// SPDX-License-Identifier: GPL-2.0
/* mshare_map(): objects of every kind, and the files that are refused. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <glob.h>
#include <pthread.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#define ANON	(MAP_SHARED | MAP_ANONYMOUS)

FIXTURE(map) {
	int fd;
	char *addr;
};

FIXTURE_SETUP(map)
{
	self->addr = filled_region(&self->fd, 0, 0);
	ASSERT_NE(NULL, self->addr);
}

FIXTURE_TEARDOWN(map)
{
	EXPECT_EQ(1, stat_of(self->fd).attachments);
	EXPECT_OK(mshare_detach(self->addr, 0));
}

/* What both attachments and the descriptor see of a writable object of 64 KiB at MIB. */
static void check_file_object(struct __test_metadata *_metadata, int fd, char *addr, int file)
{
	char buf[64 * KIB];

	ASSERT_EQ(64 * KIB, pwrite(file, memset(buf, 'f', sizeof(buf)), sizeof(buf), 0));
	ASSERT_EQ(MIB, map_file(fd, MIB, 64 * KIB, RW, file));
	EXPECT_EQ('f', addr[MIB]);
	EXPECT_EQ('f', addr[MIB + 64 * KIB - 1]);
	fill(addr + MIB, 64 * KIB, 5);
	ASSERT_EQ(64 * KIB, pread(file, buf, sizeof(buf), 0));
	EXPECT_EQ(0, wrong(buf, sizeof(buf), 5));
	ASSERT_EQ(4, pwrite(file, "file", 4, PAGE));
	EXPECT_EQ(0, memcmp(addr + MIB + PAGE, "file", 4));
	IN_CHILD({
		CHILD_CHECK(!memcmp(addr + MIB + PAGE, "file", 4));
		memcpy(addr + MIB + PAGE, "kids", 4);
	});
	ASSERT_EQ(4, pread(file, buf, 4, PAGE));
	EXPECT_EQ(0, memcmp(buf, "kids", 4));
	/* The object outlives the descriptor. */
	close(file);
	EXPECT_EQ(0, memcmp(addr + MIB + PAGE, "kids", 4));
	EXPECT_OK(mshare_unmap(fd, MIB, 64 * KIB, 0));
	EXPECT_EQ(FAULT_MAPERR, try_load(addr + MIB));
}

TEST_F(map, anonymous_memory_is_zero_and_shared)
{
	uint64_t i;

	ASSERT_EQ(MIB, map_anon(self->fd, MIB, MIB, RW));
	for (i = 0; i < MIB; i += 8)
		ASSERT_EQ(0, *(uint64_t *)(self->addr + MIB + i));
	fill(self->addr + MIB, MIB, 3);
	IN_CHILD({
		CHILD_CHECK(!wrong(self->addr + MIB, MIB, 3));
		fill(self->addr + MIB, MIB, 4);
	});
	EXPECT_EQ(0, wrong(self->addr + MIB, MIB, 4));
	EXPECT_EQ(FAULT_MAPERR, try_load(self->addr + MIB - 1));
	EXPECT_EQ(FAULT_MAPERR, try_load(self->addr + 2 * MIB));
}

TEST_F(map, a_length_is_rounded_up_to_pages)
{
	ASSERT_EQ(0, map_anon(self->fd, 0, 1, RW));
	EXPECT_EQ(PAGE, stat_of(self->fd).mapped);
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + PAGE - 1, 1));
	EXPECT_EQ(FAULT_MAPERR, try_load(self->addr + PAGE));
	ASSERT_EQ(PAGE, map_anon(self->fd, PAGE, PAGE + 1, RW));
	EXPECT_EQ(3 * PAGE, stat_of(self->fd).mapped);
}

TEST_F(map, memfd)
{
	check_file_object(_metadata, self->fd, self->addr, memfd(64 * KIB, 0));
}

TEST_F(map, tmpfs_file)
{
	check_file_object(_metadata, self->fd, self->addr, file_on("tmpfs", 0, 64 * KIB));
}

TEST_F(map, disk_file)
{
	int file = ext4_file(0);

	if (file < 0)
		SKIP(return, NO_DISK);
	check_file_object(_metadata, self->fd, self->addr, file);
}

TEST_F(map, overlayfs_file)
{
	char dir[] = "/tmp/mst.XXXXXX", path[64], options[200], buf[6];
	static const char *const subs[] = { "lower", "upper", "work", "all" };
	int file, i;

	ASSERT_NE(NULL, mkdtemp(dir));
	ASSERT_OK(mount("none", dir, "tmpfs", 0, NULL));
	for (i = 0; i < 4; i++) {
		sprintf(path, "%s/%s", dir, subs[i]);
		ASSERT_OK(mkdir(path, 0700));
	}
	sprintf(path, "%s/lower/file", dir);
	file = open(path, O_RDWR | O_CREAT, 0600);
	ASSERT_EQ(6, pwrite(file, "below", 6, 0));
	close(file);
	sprintf(path, "%s/all", dir);
	sprintf(options, "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work", dir, dir, dir);
	if (mount("none", path, "overlay", 0, options)) {
		umount2(dir, MNT_DETACH);
		SKIP(return, "no overlayfs: %m");
	}
	/* The file that is mapped in the end is the one of the lower file system. */
	sprintf(path, "%s/all/file", dir);
	file = open(path, O_RDONLY);
	ASSERT_EQ(0, map_file(self->fd, 0, PAGE, PROT_READ, file));
	EXPECT_STREQ("below", self->addr);
	close(file);
	file = open(path, O_RDWR);
	ASSERT_EQ(PAGE, map_file(self->fd, PAGE, PAGE, RW, file));
	memcpy(self->addr + PAGE, "above", 6);
	ASSERT_EQ(6, pread(file, buf, 6, 0));
	EXPECT_STREQ("above", buf);
	EXPECT_STREQ("below", self->addr);
	close(file);
	EXPECT_OK(mshare_unmap(self->fd, 0, 2 * PAGE, 0));
	/* Nothing holds the mount. */
	sprintf(path, "%s/all", dir);
	EXPECT_OK(umount2(path, 0));
	umount2(dir, MNT_DETACH);
	rmdir(dir);
}

TEST_F(map, stores_reach_the_disk)
{
	const char *dir = disk_mount();
	char path[256], *buf;
	int file, direct;

	if (!dir)
		SKIP(return, NO_DISK);
	sprintf(path, "%s/synced", dir);
	file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	direct = open(path, O_RDONLY | O_DIRECT);
	ASSERT_LE(0, file);
	ASSERT_LE(0, direct);
	ASSERT_OK(ftruncate(file, 64 * KIB));
	ASSERT_EQ(0, map_file(self->fd, 0, 64 * KIB, RW, file));
	ASSERT_OK(posix_memalign((void **)&buf, PAGE, 64 * KIB));
	for (int round = 0; round < 5; round++) {
		fill(self->addr, 64 * KIB, round);
		ASSERT_OK(fsync(file));
		ASSERT_EQ(64 * KIB, pread(direct, buf, 64 * KIB, 0));
		EXPECT_EQ(0, wrong(buf, 64 * KIB, round));
	}
}

TEST_F(map, a_file_offset)
{
	int file = memfd(MIB, 0);

	ASSERT_LE(0, file);
	ASSERT_EQ(3, pwrite(file, "xyz", 3, 5 * PAGE));
	ASSERT_EQ(0, map_obj(self->fd, 0, 4 * PAGE, RW, MAP_SHARED, file, 4 * PAGE));
	EXPECT_EQ(0, memcmp(self->addr + PAGE, "xyz", 3));
	/* The same page of the file twice. */
	ASSERT_EQ(MIB, map_obj(self->fd, MIB, PAGE, RW, MAP_SHARED, file, 5 * PAGE));
	/* The compiler thinks that these are two places. */
	*(volatile char *)(self->addr + MIB) = 'X';
	EXPECT_EQ('X', *(volatile char *)(self->addr + PAGE));
	EXPECT_ERR(EINVAL, map_obj(self->fd, 2 * MIB, PAGE, RW, MAP_SHARED, file, 1));
	EXPECT_ERR(EINVAL, map_obj(self->fd, 2 * MIB, PAGE, RW, MAP_SHARED, file, 100));
}

TEST_F(map, past_the_end_of_a_file_is_SIGBUS)
{
	int file = memfd(2 * PAGE, 0);

	ASSERT_LE(0, file);
	ASSERT_EQ(0, map_file(self->fd, 0, 4 * PAGE, RW, file));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + PAGE, 1));
	EXPECT_EQ(FAULT_BUS, try_load(self->addr + 2 * PAGE));
	EXPECT_EQ(FAULT_BUS, try_store(self->addr + 3 * PAGE, 1));
	ASSERT_OK(ftruncate(file, 3 * PAGE));
	EXPECT_EQ(FAULT_NONE, try_load(self->addr + 2 * PAGE));
	/* Taken away from under everyone. */
	ASSERT_OK(ftruncate(file, PAGE));
	EXPECT_EQ(FAULT_BUS, try_load(self->addr + PAGE));
	IN_CHILD(CHILD_CHECK(try_store(self->addr + PAGE, 1) == FAULT_BUS));
	EXPECT_EQ(FAULT_NONE, try_load(self->addr));
}

TEST_F(map, huge_pages)
{
	int flags = ANON | MAP_HUGETLB;

	if (!huge_pages(HUGE, 4))
		SKIP(return, "no huge pages of 2 MiB");
	EXPECT_ERR(EINVAL, map_obj(self->fd, PAGE, HUGE, RW, flags, -1, 0));
	ASSERT_EQ(HUGE, map_obj(self->fd, HUGE, HUGE + 1, RW, flags, -1, 0));
	EXPECT_EQ(2 * HUGE, stat_of(self->fd).mapped);
	EXPECT_EQ(0, self->addr[HUGE]);
	fill(self->addr + HUGE, 2 * HUGE, 8);
	EXPECT_EQ(2 * HUGE, stat_of(self->fd).resident);
	IN_CHILD({
		CHILD_CHECK(!wrong(self->addr + HUGE, 2 * HUGE, 8));
		self->addr[HUGE + PAGE] = 99;
	});
	EXPECT_EQ(99, self->addr[HUGE + PAGE]);
	ASSERT_EQ(0, map_obj(self->fd, MSHARE_ANY_OFFSET, HUGE, RW, flags | MAP_HUGE_2MB, -1, 0) %
		  HUGE);
	/* Not a part of a huge page. */
	EXPECT_ERR(EINVAL, mshare_unmap(self->fd, HUGE, PAGE, 0));
	EXPECT_ERR(EINVAL, mshare_unmap(self->fd, HUGE + PAGE, HUGE, 0));
	EXPECT_ERR(EINVAL, mshare_protect(self->fd, HUGE, PAGE, PROT_READ, 0));
	EXPECT_ERR(EINVAL, map_obj(self->fd, HUGE + PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0));
	EXPECT_EQ(99, self->addr[HUGE + PAGE]);
	ASSERT_OK(mshare_protect(self->fd, HUGE, HUGE, PROT_READ, 0));
	EXPECT_EQ(FAULT_ACCERR, try_store(self->addr + HUGE, 1));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + 2 * HUGE, 1));
	ASSERT_OK(mshare_unmap(self->fd, HUGE, HUGE, 0));
	EXPECT_EQ(FAULT_MAPERR, try_load(self->addr + HUGE));
	EXPECT_EQ(FAULT_NONE, try_load(self->addr + 2 * HUGE));
}

TEST_F(map, huge_pages_that_are_not_there)
{
	long long nr = read_number("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");

	if (nr < 0)
		SKIP(return, "no hugetlb");
	EXPECT_ERR(ENOMEM, map_obj(self->fd, 0, GIB, RW, ANON | MAP_HUGETLB, -1, 0));
	/* A size that does not exist. */
	EXPECT_ERR(EINVAL, map_obj(self->fd, 0, HUGE, RW, ANON | MAP_HUGETLB | 13 << 26, -1, 0));
	EXPECT_EQ(0, stat_of(self->fd).objects);
}

TEST_F(map, a_hugetlbfs_file)
{
	int file;

	if (!huge_pages(HUGE, 2))
		SKIP(return, "no huge pages of 2 MiB");
	file = memfd(2 * HUGE, MFD_HUGETLB);
	ASSERT_LE(0, file);
	EXPECT_ERR(EINVAL, map_file(self->fd, PAGE, HUGE, RW, file));
	EXPECT_ERR(EINVAL, map_obj(self->fd, 0, HUGE, RW, MAP_SHARED, file, PAGE));
	ASSERT_EQ(2 * HUGE, map_file(self->fd, 2 * HUGE, 2 * HUGE, RW, file));
	fill(self->addr + 2 * HUGE, 2 * HUGE, 1);
	char *plain = mmap(NULL, 2 * HUGE, RW, MAP_SHARED, file, 0);

	ASSERT_NE(MAP_FAILED, plain);
	EXPECT_EQ(0, wrong(plain, 2 * HUGE, 1));
	plain[0] = 'p';
	EXPECT_EQ('p', self->addr[2 * HUGE]);
	ASSERT_OK(ftruncate(file, HUGE));
	EXPECT_EQ(SIGBUS, try_load(self->addr + 3 * HUGE) >> 8);
	EXPECT_EQ('p', self->addr[2 * HUGE]);
}

TEST_F(map, giant_pages)
{
	if (!huge_pages(GIB, 1))
		SKIP(return, "no huge pages of 1 GiB (boot with hugepagesz=1G hugepages=1)");
	ASSERT_OK(ftruncate(self->fd, 4 * GIB));
	EXPECT_ERR(EINVAL, map_obj(self->fd, HUGE, GIB, RW, ANON | MAP_HUGETLB | MAP_HUGE_1GB, -1,
				   0));
	ASSERT_EQ(GIB, map_obj(self->fd, GIB, GIB, RW, ANON | MAP_HUGETLB | MAP_HUGE_1GB, -1, 0));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + GIB, 1));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + 2 * GIB - 1, 2));
	EXPECT_EQ(GIB, stat_of(self->fd).resident);
	IN_CHILD({
		CHILD_CHECK(self->addr[GIB] == 1 && self->addr[2 * GIB - 1] == 2);
		free(slurp("/proc/self/smaps"));
		free(slurp("/proc/self/numa_maps"));
		write_text("/proc/self/clear_refs", "4");
	});
	EXPECT_EQ(1, self->addr[GIB]);
	ASSERT_OK(mshare_unmap(self->fd, GIB, GIB, 0));
	EXPECT_EQ(FAULT_MAPERR, try_load(self->addr + GIB));
}

TEST_F(map, an_overlap_is_EEXIST)
{
	struct snap before, after;

	ASSERT_EQ(MIB, map_anon(self->fd, MIB, MIB, RW));
	fill(self->addr + MIB, MIB, 1);
	before = snap_take(self->fd, self->addr + MIB, MIB);
	EXPECT_ERR(EEXIST, map_anon(self->fd, MIB, MIB, RW));
	EXPECT_ERR(EEXIST, map_anon(self->fd, MIB, PAGE, RW));
	EXPECT_ERR(EEXIST, map_anon(self->fd, 0, MIB + 1, RW));
	EXPECT_ERR(EEXIST, map_anon(self->fd, 2 * MIB - PAGE, MIB, RW));
	EXPECT_ERR(EEXIST, map_anon(self->fd, 0, GIB, RW));
	EXPECT_ERR(EEXIST, map_file(self->fd, MIB, PAGE, RW, memfd(PAGE, 0)));
	after = snap_take(self->fd, self->addr + MIB, MIB);
	EXPECT_TRUE(snap_same(&before, &after));
	/* Neighbours are none. */
	EXPECT_EQ(0, map_anon(self->fd, 0, MIB, RW));
	EXPECT_EQ(2 * MIB, map_anon(self->fd, 2 * MIB, MIB, RW));
	EXPECT_EQ(3 * MIB, stat_of(self->fd).mapped);
}

TEST_F(map, past_the_size_is_ENOMEM)
{
	EXPECT_ERR(ENOMEM, map_anon(self->fd, GIB, PAGE, RW));
	EXPECT_ERR(ENOMEM, map_anon(self->fd, GIB - PAGE, 2 * PAGE, RW));
	EXPECT_ERR(ENOMEM, map_anon(self->fd, GIB - PAGE, PAGE + 1, RW));
	EXPECT_ERR(ENOMEM, map_anon(self->fd, 0, GIB + 1, RW));
	EXPECT_ERR(ENOMEM, map_anon(self->fd, 100 * TIB, PAGE, RW));
	EXPECT_ERR(ENOMEM, map_anon(self->fd, MSHARE_ANY_OFFSET, GIB + PAGE, RW));
	EXPECT_EQ(0, stat_of(self->fd).objects);
	EXPECT_EQ(GIB - PAGE, map_anon(self->fd, GIB - PAGE, PAGE, RW));
}

TEST_F(map, the_kernel_picks_a_free_offset)
{
	int64_t at[8];
	int i, j;

	for (i = 0; i < 8; i++) {
		at[i] = map_anon(self->fd, MSHARE_ANY_OFFSET, 100 * MIB, RW);
		ASSERT_LE(0, at[i]);
		EXPECT_EQ(0, at[i] % PAGE);
		EXPECT_GE(GIB, at[i] + 100 * MIB);
		for (j = 0; j < i; j++)
			EXPECT_TRUE(at[i] + 100 * MIB <= at[j] || at[j] + 100 * MIB <= at[i]);
		EXPECT_EQ(FAULT_NONE, try_store(self->addr + at[i], 1));
	}
	EXPECT_EQ(800 * MIB, stat_of(self->fd).mapped);
	EXPECT_ERR(ENOMEM, map_anon(self->fd, MSHARE_ANY_OFFSET, 300 * MIB, RW));
	/* A gap of just the size is found. */
	ASSERT_OK(mshare_unmap(self->fd, 0, GIB, 0));
	ASSERT_EQ(0, map_anon(self->fd, 0, GIB, RW));
	ASSERT_OK(mshare_unmap(self->fd, 77 * MIB, 3 * PAGE, 0));
	EXPECT_ERR(ENOMEM, map_anon(self->fd, MSHARE_ANY_OFFSET, 4 * PAGE, RW));
	EXPECT_EQ(77 * MIB, map_anon(self->fd, MSHARE_ANY_OFFSET, 3 * PAGE, RW));
	EXPECT_ERR(ENOMEM, map_anon(self->fd, MSHARE_ANY_OFFSET, PAGE, RW));
	EXPECT_ERR(EINVAL, map_obj(self->fd, MSHARE_ANY_OFFSET, PAGE, RW, ANON | MAP_FIXED, -1, 0));
}

TEST_F(map, MAP_FIXED_replaces)
{
	int file = memfd(4 * PAGE, 0);

	ASSERT_LE(0, file);
	ASSERT_EQ(6, pwrite(file, "inside", 6, 0));
	ASSERT_EQ(0, map_anon(self->fd, 0, MIB, RW));
	fill(self->addr, MIB, 1);
	ASSERT_EQ(16 * PAGE, map_obj(self->fd, 16 * PAGE, 4 * PAGE, RW, MAP_SHARED | MAP_FIXED,
				     file, 0));
	EXPECT_EQ(3, stat_of(self->fd).objects);
	EXPECT_EQ(MIB, stat_of(self->fd).mapped);
	EXPECT_STREQ("inside", self->addr + 16 * PAGE);
	EXPECT_EQ(0, memcmp(self->addr + 16 * PAGE, "inside", 6));
	ASSERT_EQ(0, map_obj(self->fd, 0, 64 * PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0));
	EXPECT_EQ(0, self->addr[16 * PAGE]);
	EXPECT_EQ(0, self->addr[0]);
	EXPECT_EQ(FAULT_ACCERR, try_store(self->addr, 1));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + 64 * PAGE, 1));
	/* Also where nothing is, and over a border. */
	ASSERT_EQ(MIB - PAGE, map_obj(self->fd, MIB - PAGE, 2 * PAGE, RW, ANON | MAP_FIXED, -1, 0));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + MIB, 1));
}

static volatile int replacing;

static void *reader_of_replaced(void *arg)
{
	volatile char *at = arg;
	uintptr_t bad = 0;
	char c;

	while (replacing) {
		c = *at;
		bad += c != 'a' && c != 'b';
	}
	return (void *)bad;
}

TEST_F(map, MAP_FIXED_is_atomic_for_those_who_access_it)
{
	int file[2] = { memfd(PAGE, 0), memfd(PAGE, 0) }, i;
	pthread_t thread[2];
	void *bad;

	ASSERT_LE(0, file[0]);
	ASSERT_LE(0, file[1]);
	ASSERT_EQ(1, pwrite(file[0], "a", 1, 0));
	ASSERT_EQ(1, pwrite(file[1], "b", 1, 0));
	ASSERT_EQ(0, map_file(self->fd, 0, PAGE, RW, file[0]));
	replacing = 1;
	for (i = 0; i < 2; i++)
		ASSERT_OK(pthread_create(&thread[i], NULL, reader_of_replaced, self->addr));
	/* A hole in time is a SIGSEGV, which ends the test. */
	for (i = 0; i < 2000; i++) {
		int ret = map_obj(self->fd, 0, PAGE, RW, MAP_SHARED | MAP_FIXED, file[i & 1], 0);

		if (ret || self->addr[0] != (i & 1 ? 'b' : 'a'))
			break;
	}
	replacing = 0;
	EXPECT_EQ(2000, i);
	for (i = 0; i < 2; i++) {
		ASSERT_OK(pthread_join(thread[i], &bad));
		EXPECT_EQ(NULL, bad);
	}
}

TEST_F(map, a_MAP_FIXED_that_fails_leaves_what_was_there)
{
	struct snap before, after;
	int ro = open("/proc/self/exe", O_RDONLY);

	ASSERT_LE(0, ro);
	ASSERT_EQ(0, map_anon(self->fd, 0, MIB, RW));
	fill(self->addr, MIB, 2);
	before = snap_take(self->fd, self->addr, MIB);
	EXPECT_ERR(EACCES, map_obj(self->fd, 0, PAGE, RW, MAP_SHARED | MAP_FIXED, ro, 0));
	EXPECT_ERR(EBADF, map_obj(self->fd, 0, PAGE, RW, MAP_SHARED | MAP_FIXED, 999, 0));
	EXPECT_ERR(ENODEV, map_obj(self->fd, 0, PAGE, RW, MAP_SHARED | MAP_FIXED, self->fd, 0));
	EXPECT_ERR(ENOMEM, map_obj(self->fd, 0, GIB + 1, RW, ANON | MAP_FIXED, -1, 0));
	EXPECT_ERR(ENOMEM, map_obj(self->fd, 0, GIB, RW, ANON | MAP_HUGETLB | MAP_FIXED, -1, 0));
	after = snap_take(self->fd, self->addr, MIB);
	EXPECT_TRUE(snap_same(&before, &after));
}

TEST_F(map, other_kinds_of_files_are_ENODEV)
{
	char dir[] = "/tmp/mst.XXXXXX";
	int fds[10], n = 0, i, pair[2], other = region(GIB), secret;

	fds[n++] = open("/dev/zero", O_RDWR);
	fds[n++] = open("/dev/null", O_RDWR);
	fds[n++] = open("/proc/self/maps", O_RDONLY);
	ASSERT_NE(NULL, mkdtemp(dir));
	fds[n++] = open(dir, O_RDONLY | O_DIRECTORY);
	rmdir(dir);
	ASSERT_OK(pipe(pair));
	fds[n++] = pair[0];
	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	fds[n++] = pair[0];
	fds[n++] = other;
	fds[n++] = self->fd;
	for (i = 0; i < n; i++) {
		ASSERT_LE(0, fds[i]);
		EXPECT_ERR(ENODEV, map_file(self->fd, 0, PAGE, PROT_READ, fds[i]));
	}
	secret = syscall(SYS_memfd_secret, 0);
	if (secret >= 0) {
		ASSERT_OK(ftruncate(secret, PAGE));
		EXPECT_ERR(ENODEV, map_file(self->fd, 0, PAGE, RW, secret));
	} else {
		/* Off unless booted with secretmem.enable=1 on some kernels. */
		TH_LOG("memfd_secret: %m");
	}
	EXPECT_EQ(0, stat_of(self->fd).objects);
	EXPECT_EQ(0, stat_of(other).objects);
}

TEST_F(map, files_that_fill_page_tables_themselves_are_ENODEV)
{
	static const char *const patterns[] = {
		"/sys/bus/pci/devices/*/resource[0-9]", "/proc/bus/pci/*/*.*",
		"/sys/kernel/tracing/per_cpu/cpu0/trace_pipe_raw", "/proc/vmcore",
		"/sys/kernel/debug/kcov", "/sys/fs/selinux/status",
	};
	struct snap before, after;
	glob_t found = {};
	unsigned int i;
	int tried = 0;

	ASSERT_EQ(0, map_anon(self->fd, 0, MIB, RW));
	fill(self->addr, MIB, 1);
	before = snap_take(self->fd, self->addr, MIB);
	for (i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
		glob(patterns[i], i ? GLOB_APPEND : 0, NULL, &found);
	for (i = 0; i < found.gl_pathc; i++) {
		int file = open(found.gl_pathv[i], O_RDWR | O_NONBLOCK);

		if (file < 0)
			file = open(found.gl_pathv[i], O_RDONLY | O_NONBLOCK);
		if (file < 0)
			continue;
		tried++;
		EXPECT_ERR(ENODEV, map_file(self->fd, 2 * MIB, PAGE, PROT_READ, file));
		EXPECT_ERR(ENODEV, map_obj(self->fd, 0, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED,
					   file, 0));
		close(file);
	}
	after = snap_take(self->fd, self->addr, MIB);
	EXPECT_TRUE(snap_same(&before, &after));
	/* No translation without an object was left. */
	EXPECT_EQ(FAULT_MAPERR, try_load(self->addr + 2 * MIB));
	EXPECT_EQ(2 * MIB, map_anon(self->fd, 2 * MIB, PAGE, RW));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + 2 * MIB, 1));
	globfree(&found);
	if (!tried)
		SKIP(return, "no such file here");
}

TEST_F(map, a_MAP_FIXED_that_would_cut_a_giant_page_leaves_the_new_file_alone)
{
	static const char resv[] = "/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages";
	int file = memfd(0, MFD_HUGETLB);
	long long reserved;
	struct stat st;

	if (!huge_pages(HUGE, 2) || !huge_pages(GIB, 1))
		SKIP(return, "no huge pages of 1 GiB (boot with hugepagesz=1G hugepages=1)");
	ASSERT_LE(0, file);
	ASSERT_EQ(0, map_obj(self->fd, 0, GIB, RW, ANON | MAP_HUGETLB | MAP_HUGE_1GB, -1, 0));
	self->addr[0] = 1;
	reserved = read_number(resv);
	EXPECT_ERR(EINVAL, map_obj(self->fd, 10 * HUGE, HUGE, RW, MAP_SHARED | MAP_FIXED, file, 0));
	EXPECT_ERR(EINVAL, map_obj(self->fd, 0, HUGE, RW, MAP_SHARED | MAP_FIXED, file, 0));
	ASSERT_OK(fstat(file, &st));
	EXPECT_EQ(0, st.st_size);
	EXPECT_EQ(reserved, read_number(resv));
	EXPECT_EQ(1, self->addr[0]);
	EXPECT_EQ(1, stat_of(self->fd).objects);
}

TEST_F(map, the_descriptor_of_the_object_allows_what_is_asked)
{
	char path[64];
	int file = memfd(PAGE, 0), ro, wo, opath;

	sprintf(path, "/proc/self/fd/%d", file);
	ro = open(path, O_RDONLY);
	wo = open(path, O_WRONLY);
	opath = open(path, O_PATH);
	ASSERT_LE(0, ro);
	ASSERT_LE(0, wo);
	ASSERT_LE(0, opath);
	EXPECT_ERR(EACCES, map_file(self->fd, 0, PAGE, RW, ro));
	EXPECT_ERR(EACCES, map_file(self->fd, 0, PAGE, PROT_WRITE, ro));
	EXPECT_ERR(EACCES, map_file(self->fd, 0, PAGE, PROT_READ, wo));
	EXPECT_ERR(EACCES, map_file(self->fd, 0, PAGE, RW, wo));
	EXPECT_ERR(EBADF, map_file(self->fd, 0, PAGE, PROT_READ, opath));
	EXPECT_ERR(EBADF, map_file(self->fd, 0, PAGE, PROT_READ, -1));
	ASSERT_EQ(0, map_file(self->fd, 0, PAGE, PROT_READ, ro));
	EXPECT_EQ(FAULT_NONE, try_load(self->addr));
	EXPECT_EQ(FAULT_ACCERR, try_store(self->addr, 1));
	/* And protect cannot give more. */
	EXPECT_ERR(EACCES, mshare_protect(self->fd, 0, PAGE, RW, 0));
	EXPECT_EQ(FAULT_ACCERR, try_store(self->addr, 1));
}

TEST_F(map, seals_apply)
{
	int sealed = memfd(PAGE, MFD_ALLOW_SEALING), future = memfd(PAGE, MFD_ALLOW_SEALING);

	ASSERT_OK(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_ERR(EPERM, map_file(self->fd, 0, PAGE, RW, sealed));
	ASSERT_EQ(0, map_file(self->fd, 0, PAGE, PROT_READ, sealed));
	EXPECT_EQ(FAULT_ACCERR, try_store(self->addr, 1));
	EXPECT_ERR(EACCES, mshare_protect(self->fd, 0, PAGE, RW, 0));

	/* What was mapped before the seal goes on. */
	ASSERT_EQ(PAGE, map_file(self->fd, PAGE, PAGE, RW, future));
	EXPECT_ERR(EBUSY, fcntl(future, F_ADD_SEALS, F_SEAL_WRITE));
	ASSERT_OK(fcntl(future, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + PAGE, 1));
	EXPECT_ERR(EPERM, map_file(self->fd, 2 * PAGE, PAGE, RW, future));
	ASSERT_EQ(2 * PAGE, map_file(self->fd, 2 * PAGE, PAGE, PROT_READ, future));
	EXPECT_ERR(EACCES, mshare_protect(self->fd, 2 * PAGE, PAGE, RW, 0));
	/* With the writable object gone the seal can be set. */
	ASSERT_OK(mshare_unmap(self->fd, PAGE, PAGE, 0));
	EXPECT_OK(fcntl(future, F_ADD_SEALS, F_SEAL_WRITE));
}

TEST_F(map, noexec_mounts_apply)
{
	int file = file_on("tmpfs", MS_NOEXEC, PAGE);

	ASSERT_LE(0, file);
	EXPECT_ERR(EPERM, map_file(self->fd, 0, PAGE, PROT_READ | PROT_EXEC, file));
	ASSERT_EQ(0, map_file(self->fd, 0, PAGE, PROT_READ, file));
	EXPECT_ERR(EACCES, mshare_protect(self->fd, 0, PAGE, PROT_READ | PROT_EXEC, 0));
}

TEST_F(map, flags_of_mmap)
{
	static const int bad[] = {
		MAP_PRIVATE | MAP_ANONYMOUS, MAP_ANONYMOUS, MAP_SHARED_VALIDATE | MAP_ANONYMOUS | 4,
		ANON | MAP_LOCKED, ANON | MAP_GROWSDOWN, ANON | MAP_DENYWRITE, ANON | MAP_NONBLOCK,
		ANON | MAP_STACK, ANON | MAP_SYNC, ANON | MAP_FIXED_NOREPLACE, ANON | 1 << 30,
		MAP_SHARED_VALIDATE | MAP_ANONYMOUS | MAP_SYNC, ANON | MAP_HUGE_2MB,
	};
	unsigned int i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		EXPECT_ERR(EINVAL, map_obj(self->fd, 0, PAGE, RW, bad[i], -1, 0));
	EXPECT_ERR(EINVAL, map_obj(self->fd, 0, PAGE, RW, ANON, 0, 0));
	EXPECT_ERR(EINVAL, map_obj(self->fd, 0, PAGE, RW, ANON, -2, 0));
	EXPECT_ERR(EINVAL, map_obj(self->fd, 0, PAGE, RW, ANON, -1, PAGE));
	EXPECT_EQ(0, stat_of(self->fd).objects);
	EXPECT_EQ(0, map_obj(self->fd, 0, PAGE, RW, MAP_SHARED_VALIDATE | MAP_ANONYMOUS, -1, 0));
	EXPECT_EQ(MIB, map_obj(self->fd, MIB, PAGE, RW, ANON | MAP_NORESERVE, -1, 0));
	EXPECT_EQ(2 * MIB, map_obj(self->fd, 2 * MIB, PAGE, PROT_NONE, ANON, -1, 0));
	EXPECT_EQ(FAULT_ACCERR, try_load(self->addr + 2 * MIB));
}

TEST_F(map, NORESERVE_is_not_limited_by_overcommit)
{
	static const char mode[] = "/proc/sys/vm/overcommit_memory";
	long long old = read_number(mode);
	int fd = region(2 * TIB);

	ASSERT_LE(0, fd);
	ASSERT_TRUE(write_number(mode, 0));
	EXPECT_ERR(ENOMEM, map_anon(fd, 0, TIB, RW));
	EXPECT_EQ(0, map_obj(fd, 0, TIB, RW, ANON | MAP_NORESERVE, -1, 0));
	/* Unless the system never overcommits. */
	ASSERT_TRUE(write_number(mode, 2));
	EXPECT_ERR(ENOMEM, map_obj(fd, TIB, 512 * GIB, RW, ANON | MAP_NORESERVE, -1, 0));
	ASSERT_TRUE(write_number(mode, old));
	EXPECT_EQ(1, stat_of(fd).objects);
}

TEST_F(map, populate_leaves_no_fault_to_take)
{
	struct rusage a, b;
	uint64_t faults;

	ASSERT_EQ(0, map_obj(self->fd, 0, 4 * MIB, RW, ANON | MAP_POPULATE, -1, 0));
	EXPECT_EQ(4 * MIB, stat_of(self->fd).resident);
	sum(self->addr, PAGE);
	faults = stat_of(self->fd).faults;
	getrusage(RUSAGE_SELF, &a);
	fill(self->addr, 4 * MIB, 1);
	getrusage(RUSAGE_SELF, &b);
	EXPECT_GE(4, b.ru_minflt - a.ru_minflt);
	EXPECT_GE(faults + 4, stat_of(self->fd).faults);
	EXPECT_EQ(0, wrong(self->addr, 4 * MIB, 1));
}

TEST_F(map, populate_never_makes_map_fail)
{
	int file = memfd(PAGE, 0);

	/* Most of it is past the end of the file. */
	EXPECT_EQ(0, map_obj(self->fd, 0, MIB, RW, MAP_SHARED | MAP_POPULATE, file, 0));
	EXPECT_EQ(PAGE, stat_of(self->fd).resident);
	EXPECT_EQ(MIB, map_obj(self->fd, MIB, MIB, PROT_NONE, ANON | MAP_POPULATE, -1, 0));
	EXPECT_EQ(2 * MIB, map_obj(self->fd, 2 * MIB, MIB, PROT_READ, ANON | MAP_POPULATE, -1, 0));
	EXPECT_EQ(3, stat_of(self->fd).objects);
}

TEST_F(map, objects_are_limited_by_max_map_count)
{
	static const char path[] = "/proc/sys/vm/max_map_count";
	long long old = read_number(path);
	int i, err = 0;

	ASSERT_LT(0, old);
	ASSERT_TRUE(write_number(path, 100));
	/* With gaps, so that they cannot be one object. */
	for (i = 0; i < 200 && !err; i++)
		if (map_anon(self->fd, i * 2 * PAGE, PAGE, RW) < 0)
			err = errno;
	ASSERT_TRUE(write_number(path, old));
	EXPECT_EQ(ENOMEM, err);
	EXPECT_LE(99, i);
	EXPECT_GE(102, i);
	EXPECT_EQ(i - 1, stat_of(self->fd).objects);
	EXPECT_EQ((i - 1) * 2 * PAGE, map_anon(self->fd, (i - 1) * 2 * PAGE, PAGE, RW));
}

TEST_F(map, mapping_is_visible_at_once_in_attached_processes)
{
	volatile int *flag = shared_page();
	pid_t pid;

	ASSERT_NE(NULL, (void *)flag);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		CHILD_CHECK(try_load(self->addr) == FAULT_MAPERR);
		flag[0] = 1;
		CHILD_CHECK(await(&flag[1]));
		CHILD_CHECK(self->addr[0] == 0);
		self->addr[0] = 7;
		_exit(0);
	}
	ASSERT_TRUE(await(&flag[0]));
	ASSERT_EQ(0, map_anon(self->fd, 0, PAGE, RW));
	flag[1] = 1;
	EXPECT_EQ(0, wait_for(pid));
	EXPECT_EQ(7, self->addr[0]);
}

TEST_F(map, a_process_without_an_attachment_can_map)
{
	ASSERT_EQ(0, map_anon(self->fd, 0, PAGE, RW));
	IN_CHILD({
		CHILD_CHECK(!mshare_detach(self->addr, 0));
		CHILD_CHECK(map_anon(self->fd, MIB, MIB, RW) == MIB);
		CHILD_CHECK(!mshare_protect(self->fd, 0, PAGE, PROT_READ, 0));
	});
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + MIB, 1));
	EXPECT_EQ(FAULT_ACCERR, try_store(self->addr, 1));
}

TEST_HARNESS_MAIN
