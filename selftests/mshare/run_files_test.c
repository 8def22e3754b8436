// SPDX-License-Identifier: GPL-2.0
/*
 * Programs under mshare run --files: a shared mapping of a file that is a region means
 * to them what an ordinary one means, which the same cases show on an ordinary one.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"
#include "under_run.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

static void *raw_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	return (void *)raw(SYS_mmap, (long)addr, length, prot, flags, fd, offset);
}

/* What the program that is started once more finds in a file. */
struct answer {
	bool region;
	uint64_t wrong;
	long long pte;		/* KiB of its own page tables that it took to read all */
};

static int answer(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct answer a = {};
	char *addr;

	addr = mmap(NULL, LENGTH, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (addr == MAP_FAILED)
		return 1;
	a.region = is_region(addr);
	a.pte = file_key("/proc/self/status", "VmPTE:");
	a.wrong = wrong(addr, LENGTH, 1);
	a.pte = file_key("/proc/self/status", "VmPTE:") - a.pte;
	if (write(1, &a, sizeof(a)) != sizeof(a) || close(1))
		return 2;
	/* Until nobody waits for more. */
	return read(0, &a, 1);
}

__attribute__((constructor)) static void preloaded(int argc, char **argv)
{
	if (getenv("RUN_FILES_PATH"))
		_exit(answer(getenv("RUN_FILES_PATH")));
	run_again(argc, argv, "--files");
}

/* Another program that reads a file: it ends when HOLD is closed. */
struct program {
	pid_t pid;
	int hold;
	struct answer answer;
};

static bool start(struct program *p, const char *path)
{
	int in[2], out[2];
	bool got;

	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		return false;
	p->pid = fork();
	if (!p->pid) {
		setenv("RUN_FILES_PATH", path, 1);
		dup2(in[0], 0);
		dup2(out[1], 1);
		execl("/proc/self/exe", "run_files_test", NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	p->hold = in[1];
	got = read(out[0], &p->answer, sizeof(p->answer)) == sizeof(p->answer);
	close(out[0]);
	return got;
}

static int end(struct program *p)
{
	close(p->hold);
	return wait_for(p->pid);
}

static char tmpfs[32];

static bool tmpfs_mount(void)
{
	strcpy(tmpfs, "/tmp/mst.XXXXXX");
	return mkdtemp(tmpfs) && !mount("none", tmpfs, "tmpfs", 0, NULL);
}

static void tmpfs_umount(void)
{
	umount2(tmpfs, MNT_DETACH);
	rmdir(tmpfs);
}

FIXTURE(files) {
	char *addr;		/* of LENGTH bytes of the file */
	char path[128];
	int fd;
	int descriptors;
};

FIXTURE_VARIANT(files) {
	bool region;
	bool disk;
};

FIXTURE_VARIANT_ADD(files, tmpfs) { .region = true };
FIXTURE_VARIANT_ADD(files, ext4) { .region = true, .disk = true };
FIXTURE_VARIANT_ADD(files, ordinary_tmpfs) { };
FIXTURE_VARIANT_ADD(files, ordinary_ext4) { .disk = true };

FIXTURE_SETUP(files)
{
	const char *dir = variant->disk ? disk_mount() : tmpfs;

	ASSERT_NE(NULL, dir);
	if (!variant->disk)
		ASSERT_TRUE(tmpfs_mount());
	snprintf(self->path, sizeof(self->path), "%s/run_files.data", dir);
	self->fd = open(self->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	ASSERT_LE(0, self->fd);
	ASSERT_OK(ftruncate(self->fd, LENGTH));
	self->descriptors = descriptors();
	self->addr = (variant->region ? mmap : raw_mmap)(NULL, LENGTH, RW, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, self->addr);
	ASSERT_EQ(variant->region, is_region(self->addr));
	/* Nothing that a program could find. */
	ASSERT_EQ(self->descriptors, descriptors());
	fill(self->addr, LENGTH, 1);
}

/* A child has done something: it must not show here. */
FIXTURE_TEARDOWN(files)
{
	EXPECT_EQ(variant->region, is_region(self->addr));
	EXPECT_EQ(0, wrong(self->addr, LENGTH, 1));
	ASSERT_OK(munmap(self->addr, LENGTH));
	EXPECT_EQ(FAULT_MAPERR, try_load(self->addr));
	EXPECT_EQ(self->descriptors, descriptors());
	EXPECT_EQ(NULL, strstr(slurp("/proc/self/maps"), "run_files.data"));
	unlink(self->path);
	close(self->fd);
	if (!variant->disk)
		tmpfs_umount();
}

TEST_F(files, children_share_it)
{
	char old = *self->addr, byte;

	IN_CHILD({
		CHILD_CHECK(is_region(self->addr) == variant->region);
		CHILD_CHECK(!wrong(self->addr, LENGTH, 1));
		self->addr[0] = old + 1;
	});
	EXPECT_EQ((char)(old + 1), self->addr[0]);
	ASSERT_EQ(1, pread(self->fd, &byte, 1, 0));
	EXPECT_EQ((char)(old + 1), byte);
	self->addr[0] = old;
}

TEST_F(files, other_programs_share_it)
{
	struct program p[3];
	struct mshare_stat st;
	int region, i;

	if (!variant->region)
		return;
	region = mshare_open(self->fd, 0, MSHARE_CLOEXEC);
	ASSERT_LE(0, region);
	st = stat_of(region);
	EXPECT_EQ(1, st.attachments);
	for (i = 0; i < 3; i++) {
		ASSERT_TRUE(start(&p[i], self->path));
		EXPECT_TRUE(p[i].answer.region);
		EXPECT_EQ(0, p[i].answer.wrong);
		/* 16 MiB would take 32. */
		EXPECT_GT(16, p[i].answer.pte);
	}
	EXPECT_EQ(4, stat_of(region).attachments);
	EXPECT_EQ(st.pgtable_bytes, stat_of(region).pgtable_bytes);
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, end(&p[i]));
	close(region);
}

TEST_F(files, munmap_is_for_one_process)
{
	IN_CHILD({
		CHILD_CHECK(!munmap(self->addr, LENGTH));
		CHILD_CHECK(try_load(self->addr) == FAULT_MAPERR);
		CHILD_CHECK(try_load(self->addr + LENGTH - 1) == FAULT_MAPERR);
		CHILD_CHECK(!strstr(slurp("/proc/self/maps"), "run_files.data"));
	});
}

TEST_F(files, munmap_of_a_part)
{
	IN_CHILD({
		CHILD_CHECK(!munmap(self->addr + PART, PART));
		CHILD_CHECK(try_load(self->addr + PART - 1) == FAULT_NONE);
		CHILD_CHECK(try_load(self->addr + PART) == FAULT_MAPERR);
		CHILD_CHECK(try_load(self->addr + 2 * PART - 1) == FAULT_MAPERR);
		CHILD_CHECK(store(self->addr + 2 * PART, 7));
		CHILD_CHECK(!wrong(self->addr, PART, 1));
		CHILD_CHECK(!munmap(self->addr, LENGTH));
		CHILD_CHECK(try_load(self->addr) == FAULT_MAPERR);
	});
}

TEST_F(files, mprotect_is_for_one_process)
{
	mprotect_is_for_one_process(_metadata, self->addr, variant->region);
}

/* As Python's mmap.resize() and SQLite do it. */
TEST_F(files, mremap_grows)
{
	char *addr = self->addr;

	IN_CHILD({
		char *to;

		CHILD_CHECK(!ftruncate(self->fd, LENGTH + PART));
		to = mremap(addr, LENGTH, LENGTH + PART, MREMAP_MAYMOVE);
		CHILD_CHECK(to != MAP_FAILED);
		CHILD_CHECK(!wrong(to, LENGTH, 1));
		CHILD_CHECK(to[LENGTH] == 0 && store(to + LENGTH + PART - 1, 7));
		CHILD_CHECK(mremap(to, LENGTH + PART, PART, 0) == to);
		CHILD_CHECK(try_load(to + PART) == FAULT_MAPERR);
		CHILD_CHECK(!wrong(to, PART, 1));
	});
	EXPECT_OK(ftruncate(self->fd, LENGTH));
}

TEST_F(files, mremap_moves)
{
	char *addr = self->addr;

	IN_CHILD({
		char *to = raw_mmap(NULL, LENGTH, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		CHILD_CHECK(mremap(addr, LENGTH, LENGTH, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
		CHILD_CHECK(try_load(addr) == FAULT_MAPERR);
		CHILD_CHECK(!wrong(to, LENGTH, 1) && store(to, 7));
		addr = mremap(to, 0, LENGTH, MREMAP_MAYMOVE);
		CHILD_CHECK(addr != MAP_FAILED && !wrong(addr, LENGTH, 1));
	});
}

TEST_F(files, mmap_fixed_over_it)
{
	char *addr = self->addr;

	IN_CHILD({
		CHILD_CHECK(mmap(addr + PART, PART, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
			    addr + PART);
		CHILD_CHECK(addr[PART] == 0 && addr[2 * PART - 1] == 0);
		memset(addr + PART, 0, PART);
		CHILD_CHECK(!wrong(addr, PART, 1) && store(addr, 7));
	});
	/* Of the same file, elsewhere in it. */
	IN_CHILD({
		CHILD_CHECK(mmap(addr, LENGTH - PART, PROT_READ, MAP_SHARED | MAP_FIXED, self->fd, PART) == addr);
		CHILD_CHECK(addr[0] == addr[LENGTH - PART] || addr[0] != addr[1]);
		CHILD_CHECK(try_store(addr, 7) == FAULT_ACCERR);
	});
}

static const struct {
	int advice;
	bool stays;		/* in the region */
} keeps[] = {
	{ MADV_NORMAL, true }, { MADV_RANDOM, true }, { MADV_SEQUENTIAL, true }, { MADV_WILLNEED, true },
	{ MADV_DONTNEED, true }, { MADV_COLD, true }, { MADV_PAGEOUT, true }, { MADV_HUGEPAGE, true },
	{ MADV_NOHUGEPAGE, true }, { MADV_DODUMP, true }, { MADV_DONTDUMP, true }, { MADV_DOFORK, true },
	{ MADV_POPULATE_READ, false }, { MADV_POPULATE_WRITE, false },
};

TEST_F(files, advice_that_keeps_the_data)
{
	struct mshare_stat before = {}, after = {};
	int region = variant->region ? mshare_open(self->fd, 0, MSHARE_CLOEXEC) : -1;
	unsigned int i;

	if (variant->region)
		before = stat_of(region);
	for (i = 0; i < sizeof(keeps) / sizeof(keeps[0]); i++)
		IN_CHILD({
			CHILD_CHECK(!madvise(self->addr, PART, keeps[i].advice));
			CHILD_CHECK(is_region(self->addr) == (variant->region && keeps[i].stays));
			CHILD_CHECK(!wrong(self->addr, LENGTH, 1));
		});
	/* The others have what they had, in memory and in tables. */
	if (variant->region) {
		after = stat_of(region);
		EXPECT_EQ(before.objects, after.objects);
		EXPECT_EQ(before.pgtable_bytes, after.pgtable_bytes);
		EXPECT_EQ(before.resident, after.resident);
		close(region);
	}
	EXPECT_OK(posix_madvise(self->addr, LENGTH, POSIX_MADV_DONTNEED));
	EXPECT_EQ(EINVAL, posix_madvise(self->addr + 1, PART, POSIX_MADV_NORMAL));
	EXPECT_ERR(EINVAL, madvise(self->addr, PART, 12345));
	IN_CHILD(CHILD_CHECK(madvise(self->addr, PART, MADV_FREE) && errno == EINVAL));
}

/* It makes a hole in the file. */
TEST_F(files, advice_to_remove_is_for_everyone)
{
	char *addr = self->addr, byte = 1;

	IN_CHILD(CHILD_CHECK(!madvise(addr + PART, PART, MADV_REMOVE)));
	EXPECT_EQ(0, addr[PART]);
	EXPECT_EQ(0, addr[2 * PART - 1]);
	EXPECT_EQ(1, pread(self->fd, &byte, 1, PART));
	EXPECT_EQ(0, byte);
	EXPECT_EQ(variant->region, is_region(addr));
	fill(addr, LENGTH, 1);
}

TEST_F(files, advice_not_to_fork)
{
	advice_not_to_fork(_metadata, self->addr);
}

TEST_F(files, mlock)
{
	char *addr = self->addr;

	EXPECT_OK(munlock(addr, LENGTH));
	IN_CHILD({
		CHILD_CHECK(!mlock(addr + 1, PART - 1));
		CHILD_CHECK(file_key("/proc/self/status", "VmLck:") == PART / KIB);
		CHILD_CHECK(!munlock(addr, PART));
		CHILD_CHECK(file_key("/proc/self/status", "VmLck:") == 0);
		CHILD_CHECK(!wrong(addr, LENGTH, 1));
	});
}

/* Sectors that were written to the disk of a file. */
static long long written(int fd)
{
	long long n[7] = {};
	char path[64], *text;
	struct stat st;

	if (fstat(fd, &st))
		return -1;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/stat", major(st.st_dev), minor(st.st_dev));
	text = slurp(path);
	if (!text || sscanf(text, "%lld %lld %lld %lld %lld %lld %lld", n, n + 1, n + 2, n + 3, n + 4, n + 5,
			    n + 6) != 7)
		return -1;
	return n[6];
}

TEST_F(files, msync)
{
	char *addr = self->addr;
	long long before;

	EXPECT_OK(msync(addr, LENGTH, MS_SYNC));
	before = written(self->fd);
	fill(addr, LENGTH, 1);
	EXPECT_OK(msync(addr, PART, MS_ASYNC));
	EXPECT_OK(msync(addr + PART, LENGTH - PART - 1, MS_SYNC | MS_INVALIDATE));
	/* What was asked for is on the disk, and the system would have waited with it. */
	if (variant->disk)
		EXPECT_LE((LENGTH - PART) / 512, written(self->fd) - before);
	EXPECT_ERR(EINVAL, msync(addr, PART, MS_SYNC | MS_ASYNC));
	EXPECT_ERR(EINVAL, msync(addr + 1, PART, MS_SYNC));
	EXPECT_EQ(variant->region, is_region(addr));
	/* Beyond what is mapped. */
	IN_CHILD(CHILD_CHECK(!variant->region ||
			     (msync(addr, LENGTH + PAGE, MS_SYNC) && errno == ENOMEM)));
	/* Where it has left the region. */
	IN_CHILD({
		CHILD_CHECK(!mprotect(addr, PAGE, PROT_READ));
		CHILD_CHECK(!msync(addr, LENGTH, MS_SYNC));
	});
}

/* Another process sees a lock of ours. */
static bool locked(const char *path)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 1 };
	pid_t pid = fork();
	int fd;

	if (!pid) {
		fd = open(path, O_RDWR);
		_exit(fcntl(fd, F_GETLK, &lock) || lock.l_type != F_WRLCK || lock.l_pid != getppid());
	}
	return !wait_for(pid);
}

/* The kernel drops them when any descriptor of the file is closed. */
TEST_F(files, locks_are_kept)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 1 };
	void *(*map)(void *, size_t, int, int, int, off_t) = variant->region ? mmap : raw_mmap;
	char *addr[3];
	int i;

	EXPECT_FALSE(locked(self->path));
	ASSERT_OK(fcntl(self->fd, F_SETLK, &lock));
	ASSERT_TRUE(locked(self->path));
	for (i = 0; i < 3; i++) {
		addr[i] = map(NULL, LENGTH, i ? RW : PROT_READ, MAP_SHARED | (i ? 0 : MAP_POPULATE), self->fd, 0);
		ASSERT_EQ(variant->region, is_region(addr[i]));
	}
	EXPECT_TRUE(locked(self->path));
	EXPECT_OK(msync(addr[1], PAGE, MS_SYNC));
	EXPECT_OK(madvise(addr[1], PART, MADV_WILLNEED));
	EXPECT_OK(munmap(addr[0], LENGTH));
	EXPECT_TRUE(locked(self->path));
	EXPECT_OK(munmap(addr[1] + PART, PART));
	EXPECT_OK(mprotect(addr[2], LENGTH, PROT_NONE));
	EXPECT_OK(munmap(addr[1], LENGTH));
	EXPECT_OK(munmap(addr[2], LENGTH));
	EXPECT_TRUE(locked(self->path));
	/* This is how. */
	close(open(self->path, O_RDONLY));
	EXPECT_FALSE(locked(self->path));
}

/* Memory beyond the end of the file, which gets longer and shorter. */
TEST_F(files, the_end_of_the_file)
{
	void *(*map)(void *, size_t, int, int, int, off_t) = variant->region ? mmap : raw_mmap;
	char *addr = map(NULL, 4 * LENGTH, RW, MAP_SHARED, self->fd, 0);

	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_EQ(variant->region, is_region(addr));
	EXPECT_EQ(0, wrong(addr, LENGTH, 1));
	EXPECT_EQ(FAULT_BUS, try_load(addr + LENGTH));
	EXPECT_EQ(FAULT_BUS, try_store(addr + 4 * LENGTH - 1, 1));
	/* As LMDB: what is written to the file is there. */
	EXPECT_EQ(1, pwrite(self->fd, "x", 1, 2 * LENGTH));
	EXPECT_EQ('x', addr[2 * LENGTH]);
	EXPECT_EQ(0, addr[2 * LENGTH + PAGE - 1]);
	EXPECT_EQ(FAULT_BUS, try_load(addr + 2 * LENGTH + PAGE));
	EXPECT_OK(ftruncate(self->fd, LENGTH));
	EXPECT_EQ(FAULT_BUS, try_load(addr + 2 * LENGTH));
	EXPECT_EQ(0, wrong(addr, LENGTH, 1));
	EXPECT_OK(munmap(addr, 4 * LENGTH));
}

/* A map that is made anew, and longer, beside that of others; the region is the same. */
TEST_F(files, a_map_that_grows)
{
	void *(*map)(void *, size_t, int, int, int, off_t) = variant->region ? mmap : raw_mmap;
	struct program p;
	char *addr;

	ASSERT_TRUE(start(&p, self->path));
	EXPECT_EQ(0, p.answer.wrong);
	ASSERT_OK(ftruncate(self->fd, 2 * LENGTH));
	addr = map(NULL, 2 * LENGTH, RW, MAP_SHARED, self->fd, 0);
	ASSERT_EQ(variant->region, is_region(addr));
	EXPECT_EQ(0, wrong(addr, LENGTH, 1));
	fill(addr + LENGTH, LENGTH, 2);
	/* The first map ends where it ended for what the program does. */
	EXPECT_OK(munmap(self->addr, LENGTH));
	EXPECT_EQ(0, wrong(addr + LENGTH, LENGTH, 2));
	self->addr = map(NULL, LENGTH, RW, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, self->addr);
	EXPECT_OK(munmap(addr, 2 * LENGTH));
	EXPECT_OK(ftruncate(self->fd, LENGTH));
	EXPECT_EQ(0, end(&p));
}

/* A region that is longer than what the program has of it. */
TEST_F(files, an_offset)
{
	void *(*map)(void *, size_t, int, int, int, off_t) = variant->region ? mmap : raw_mmap;
	char *addr, *all = self->addr;

	ASSERT_OK(ftruncate(self->fd, 3 * LENGTH));
	addr = map(NULL, LENGTH, RW, MAP_SHARED, self->fd, LENGTH);
	ASSERT_EQ(variant->region, is_region(addr));
	fill(addr, LENGTH, 3);
	IN_CHILD({
		char byte;

		CHILD_CHECK(pread(self->fd, &byte, 1, LENGTH + 5) == 1 && byte == addr[5]);
		/* Out of the region: the same part of the file, and nothing around it. */
		CHILD_CHECK(!mprotect(addr, PART, PROT_READ));
		CHILD_CHECK(!is_region(addr));
		CHILD_CHECK(!wrong(addr, LENGTH, 3));
		if (variant->region) {
			CHILD_CHECK(try_load(addr - 1) == FAULT_MAPERR);
			CHILD_CHECK(try_load(addr - LENGTH) == FAULT_MAPERR);
			CHILD_CHECK(try_load(addr + LENGTH) == FAULT_MAPERR);
		}
		CHILD_CHECK(!wrong(all, LENGTH, 1));
	});
	EXPECT_OK(msync(addr, LENGTH, MS_SYNC));
	EXPECT_OK(madvise(addr + PART, PART, MADV_REMOVE));
	IN_CHILD({
		char byte = 1;

		CHILD_CHECK(pread(self->fd, &byte, 1, LENGTH + PART) == 1 && !byte);
		CHILD_CHECK(pread(self->fd, &byte, 1, PART) == 1 && byte == all[PART]);
	});
	EXPECT_OK(munmap(addr, LENGTH));
	EXPECT_EQ(FAULT_MAPERR, try_load(addr));
	/* No page is at such an offset. */
	EXPECT_ERR(EINVAL, map == raw_mmap ? (errno = EINVAL, -1L) :
		   (long)mmap(NULL, LENGTH, RW, MAP_SHARED, self->fd, 1));
	EXPECT_OK(ftruncate(self->fd, LENGTH));
}

/* A user who may only read, and accesses that the library must not give to him. */
TEST_F(files, readers)
{
	void *(*map)(void *, size_t, int, int, int, off_t) = variant->region ? mmap : raw_mmap;
	int fd = open(self->path, O_RDONLY | O_CLOEXEC), wfd = open(self->path, O_WRONLY | O_CLOEXEC);
	char *addr;

	addr = map(NULL, LENGTH, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_EQ(variant->region, is_region(addr));
	EXPECT_EQ(0, wrong(addr, LENGTH, 1));
	EXPECT_EQ(FAULT_ACCERR, try_store(addr, 7));
	self->addr[5]++;
	EXPECT_EQ(self->addr[5], addr[5]);
	self->addr[5]--;
	EXPECT_OK(mprotect(addr, LENGTH, PROT_READ));
	EXPECT_EQ(variant->region, is_region(addr));
	IN_CHILD({
		CHILD_CHECK(mprotect(addr, LENGTH, RW) && errno == EACCES);
		CHILD_CHECK(try_store(addr, 7) == FAULT_ACCERR);
		CHILD_CHECK(!wrong(addr, LENGTH, 1));
		CHILD_CHECK(madvise(addr, PART, MADV_REMOVE) && errno == EACCES);
	});
	EXPECT_OK(msync(addr, LENGTH, MS_SYNC));
	EXPECT_OK(munmap(addr, LENGTH));
	/* If the file is open for both, a mapping for reading can become writable. */
	addr = map(NULL, LENGTH, PROT_READ, MAP_SHARED, self->fd, 0);
	ASSERT_EQ(variant->region, is_region(addr));
	EXPECT_EQ(FAULT_ACCERR, try_store(addr, 7));
	EXPECT_OK(mprotect(addr, LENGTH, RW));
	EXPECT_TRUE(store(addr, 7));
	EXPECT_OK(munmap(addr, LENGTH));
	EXPECT_ERR(EACCES, (long)mmap(NULL, LENGTH, RW, MAP_SHARED, fd, 0));
	EXPECT_ERR(EACCES, (long)mmap(NULL, LENGTH, PROT_READ, MAP_SHARED, wfd, 0));
	EXPECT_ERR(EACCES, (long)mmap(NULL, LENGTH, RW, MAP_SHARED, wfd, 0));
	close(fd);
	close(wfd);
}

/* The descriptor is needed no longer; nor is its number free for us. */
TEST_F(files, the_file_is_closed_and_deleted)
{
	int fd = dup(self->fd);
	char byte;

	ASSERT_LE(0, fd);
	IN_CHILD({
		unlink(self->path);
		close(self->fd);
		CHILD_CHECK(!msync(self->addr, LENGTH, MS_SYNC));
		CHILD_CHECK(!mprotect(self->addr, PART, PROT_READ));
		CHILD_CHECK(!wrong(self->addr, LENGTH, 1));
		self->addr[PART]++;
		CHILD_CHECK(pread(fd, &byte, 1, PART) == 1 && byte == self->addr[PART]);
		self->addr[PART]--;
	});
	close(fd);
}

TEST_F(files, killed_in_the_middle)
{
	volatile uint64_t *count = (uint64_t *)(self->addr + PART);
	uint64_t old = *count, at;
	struct program p;
	int i;

	ASSERT_TRUE(start(&p, self->path));
	for (i = 0; i < 5; i++) {
		pid_t pid;

		*count = 0;
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			for (;;) {
				++*count;
				/* In all of it, and in the library. */
				self->addr[*count * PAGE % LENGTH + 8]++;
				self->addr[*count * PAGE % LENGTH + 8]--;
				if (*count % 100 == 0)
					madvise(self->addr, PART, MADV_WILLNEED);
			}
		EXPECT_TRUE(BECOMES(*count > 10000));
		kill(pid, SIGKILL);
		EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(pid));
		ASSERT_EQ(8, pread(self->fd, &at, 8, PART));
		EXPECT_EQ(at, *count);
	}
	*count = old;
	/* One word each time may have been in the middle of a change. */
	EXPECT_GE(5 * 8, wrong(self->addr, LENGTH, 1));
	fill(self->addr, LENGTH, 1);
	kill(p.pid, SIGKILL);
	EXPECT_EQ(KILLED_BY(SIGKILL), end(&p));
}

static volatile int stop;

static void *sync_all(void *addr)
{
	long failed = 0;

	while (!stop)
		failed += !!msync(addr, LENGTH, MS_SYNC);
	return (void *)failed;
}

/* One thread writes to the disk while another one makes the area leave. */
TEST_F(files, msync_while_it_leaves)
{
	pthread_t thread;
	void *failed;
	int i;

	for (i = 0; i < 10; i++)
		IN_CHILD({
			CHILD_CHECK(!pthread_create(&thread, NULL, sync_all, self->addr));
			sleep_ms(i);
			CHILD_CHECK(!mprotect(self->addr, LENGTH, PROT_READ));
			sleep_ms(1);
			stop = 1;
			CHILD_CHECK(!pthread_join(thread, &failed) && !failed);
		});
}

/* Nothing remains of a writer that has ended: the file system can be unmounted. */
TEST(the_file_system_is_not_busy)
{
	char path[64], *addr;
	int fd;

	ASSERT_TRUE(tmpfs_mount());
	snprintf(path, sizeof(path), "%s/file", tmpfs);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	ASSERT_OK(ftruncate(fd, LENGTH));
	addr = mmap(NULL, LENGTH, RW, MAP_SHARED, fd, 0);
	ASSERT_TRUE(is_region(addr));
	close(fd);
	EXPECT_ERR(EBUSY, umount(tmpfs));
	EXPECT_OK(munmap(addr, LENGTH));
	EXPECT_OK(umount(tmpfs));
	rmdir(tmpfs);
}

/* Like a linker, whose output is run. */
TEST(a_program_that_is_written_and_run)
{
	int fd, from = open("/bin/true", O_RDONLY | O_CLOEXEC);
	char path[64], *addr;
	struct stat st;

	ASSERT_OK(fstat(from, &st));
	ASSERT_TRUE(tmpfs_mount());
	snprintf(path, sizeof(path), "%s/true", tmpfs);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0755);
	ASSERT_OK(ftruncate(fd, LENGTH));
	addr = mmap(NULL, LENGTH, RW, MAP_SHARED, fd, 0);
	ASSERT_TRUE(is_region(addr));
	ASSERT_EQ(st.st_size, read(from, addr, st.st_size));
	close(from);
	ASSERT_OK(munmap(addr, LENGTH));
	ASSERT_OK(close(fd));
	IN_CHILD({
		execl(path, "true", NULL);
		_exit(errno);
	});
	tmpfs_umount();
}

static bool served(int fd, uint64_t length, int prot, int flags, void *hint)
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
	const int shared = MAP_SHARED;
	int fd, other;
	char *hint;

	ASSERT_TRUE(tmpfs_mount());
	fd = open(tmpfs, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	ASSERT_OK(ftruncate(fd, LENGTH));
	hint = raw_mmap(NULL, LENGTH, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_OK(munmap(hint, LENGTH));
	EXPECT_TRUE(served(fd, LENGTH, RW, shared, NULL));
	EXPECT_TRUE(served(fd, LENGTH, PROT_READ, shared, NULL));
	EXPECT_TRUE(served(fd, LENGTH, PROT_READ, MAP_SHARED_VALIDATE, NULL));
	EXPECT_TRUE(served(fd, LENGTH + 1, RW, shared | MAP_NORESERVE | MAP_POPULATE | MAP_NONBLOCK, NULL));
	EXPECT_FALSE(served(fd, LENGTH - 1, RW, shared, NULL));
	EXPECT_FALSE(served(fd, LENGTH, RW, MAP_PRIVATE, NULL));
	EXPECT_FALSE(served(fd, LENGTH, PROT_WRITE, shared, NULL));
	EXPECT_FALSE(served(fd, LENGTH, PROT_NONE, shared, NULL));
	EXPECT_FALSE(served(fd, LENGTH, PROT_READ | PROT_EXEC, shared, NULL));
	EXPECT_FALSE(served(fd, LENGTH, RW, shared, hint));
	EXPECT_FALSE(served(fd, LENGTH, RW, shared | MAP_LOCKED, NULL));
	EXPECT_FALSE(served(fd, LENGTH, RW, shared | MAP_32BIT, NULL));
	EXPECT_ERR(EOPNOTSUPP, (long)mmap(NULL, LENGTH, RW, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0));
	EXPECT_ERR(EOVERFLOW, (long)mmap(NULL, LENGTH, RW, shared, fd, (off_t)(1ULL << 63)));
	EXPECT_ERR(EBADF, (long)mmap(NULL, LENGTH, RW, shared, -1, 0));
	other = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	EXPECT_ERR(EBADF, (long)mmap(NULL, LENGTH, PROT_READ, shared, other, 0));
	close(other);
	/* Memory of its own, not a file's. */
	EXPECT_TRUE(served(-1, LENGTH, RW, shared | MAP_ANONYMOUS, NULL));
	EXPECT_ERR(EINVAL, (long)mmap(NULL, LENGTH, RW, MAP_SHARED_VALIDATE | MAP_ANONYMOUS, -1, 0));
	/* One that others might have to stop writing to. */
	other = memfd(LENGTH, MFD_ALLOW_SEALING);
	EXPECT_FALSE(served(other, LENGTH, RW, shared, NULL));
	EXPECT_OK(fcntl(other, F_ADD_SEALS, F_SEAL_WRITE));
	close(other);
	other = memfd(LENGTH, 0);
	EXPECT_TRUE(served(other, LENGTH, RW, shared, NULL));
	close(other);
	ASSERT_TRUE(huge_pages(HUGE, LENGTH / HUGE));
	other = memfd(LENGTH, MFD_HUGETLB);
	EXPECT_FALSE(served(other, LENGTH, RW, shared, NULL));
	close(other);
	ASSERT_TRUE(write_number("/proc/sys/vm/nr_hugepages", 0));
	close(fd);
	tmpfs_umount();
}

TEST(a_lease)
{
	char path[64];
	int fd, reader;

	ASSERT_TRUE(tmpfs_mount());
	snprintf(path, sizeof(path), "%s/file", tmpfs);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	ASSERT_OK(ftruncate(fd, LENGTH));
	ASSERT_OK(fcntl(fd, F_SETLEASE, F_WRLCK));
	EXPECT_FALSE(served(fd, LENGTH, RW, MAP_SHARED, NULL));
	EXPECT_EQ(F_WRLCK, fcntl(fd, F_GETLEASE));
	ASSERT_OK(fcntl(fd, F_SETLEASE, F_UNLCK));
	EXPECT_TRUE(served(fd, LENGTH, RW, MAP_SHARED, NULL));
	/* It has gone: the file is not open elsewhere. */
	EXPECT_OK(fcntl(fd, F_SETLEASE, F_WRLCK));
	close(fd);
	reader = open(path, O_RDONLY | O_CLOEXEC);
	EXPECT_TRUE(served(reader, LENGTH, PROT_READ, MAP_SHARED, NULL));
	close(reader);
	tmpfs_umount();
}

/* Even for a user who may only read; up to the end of the file, with signals unchanged. */
TEST_F(files, MAP_POPULATE_populates)
{
	void *(*map)(void *, size_t, int, int, int, off_t) = variant->region ? mmap : raw_mmap;
	int fd = open(self->path, O_RDONLY | O_CLOEXEC), region = -1, i;
	struct mshare_stat before, after;
	sigset_t blocked, now;
	char *addr;

	ASSERT_OK(sigprocmask(SIG_SETMASK, NULL, &blocked));
	ASSERT_OK(munmap(self->addr, LENGTH));
	for (i = 0; i < 2; i++) {
		addr = map(NULL, 2 * LENGTH, i ? RW : PROT_READ, MAP_SHARED | MAP_POPULATE, i ? self->fd : fd, 0);
		ASSERT_EQ(variant->region, is_region(addr));
		if (variant->region) {
			region = mshare_open(fd, 0, MSHARE_CLOEXEC);
			before = stat_of(region);
			EXPECT_EQ(LENGTH, before.resident);
		}
		EXPECT_EQ(0, wrong(addr, LENGTH, 1));
		if (variant->region) {
			after = stat_of(region);
			EXPECT_EQ(before.faults, after.faults);
			close(region);
		}
		EXPECT_OK(munmap(addr, 2 * LENGTH));
	}
	ASSERT_OK(sigprocmask(SIG_SETMASK, NULL, &now));
	for (i = 1; i < NSIG; i++)
		EXPECT_EQ(sigismember(&blocked, i), sigismember(&now, i));
	close(fd);
	self->addr = map(NULL, LENGTH, RW, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, self->addr);
}

TEST(another_user_than_who_opened_it)
{
	char *addr;
	int fd;

	ASSERT_TRUE(tmpfs_mount());
	fd = open(tmpfs, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	ASSERT_OK(ftruncate(fd, LENGTH));
	addr = mmap(NULL, LENGTH, RW, MAP_SHARED, fd, 0);
	fill(addr, LENGTH, 1);
	IN_CHILD({
		char *mine;

		CHILD_CHECK(!setresuid(65534, 65534, 65534));
		mine = mmap(NULL, LENGTH, RW, MAP_SHARED, fd, 0);
		CHILD_CHECK(mine != MAP_FAILED);
		CHILD_CHECK(!wrong(mine, LENGTH, 1) && store(mine, 7));
		CHILD_CHECK(!munmap(mine, LENGTH));
	});
	EXPECT_EQ(0, wrong(addr, LENGTH, 1));
	EXPECT_OK(munmap(addr, LENGTH));
	close(fd);
	tmpfs_umount();
}

TEST(more_areas_than_fit)
{
	char *addr[140];
	int i, fd, regions = 0;

	ASSERT_TRUE(tmpfs_mount());
	fd = open(tmpfs, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	ASSERT_OK(ftruncate(fd, LENGTH));
	for (i = 0; i < 140; i++) {
		addr[i] = mmap(NULL, LENGTH, RW, MAP_SHARED, fd, 0);
		ASSERT_NE(MAP_FAILED, addr[i]);
		regions += is_region(addr[i]);
		addr[i][i * PAGE] = i;
	}
	EXPECT_EQ(128, regions);
	for (i = 0; i < 140; i++)
		EXPECT_EQ((char)i, addr[139 - i][i * PAGE]);
	for (i = 0; i < 140; i++)
		EXPECT_OK(munmap(addr[i], LENGTH));
	EXPECT_TRUE(served(fd, LENGTH, RW, MAP_SHARED, NULL));
	close(fd);
	tmpfs_umount();
}

/* Does a program that has this in its environment have the file as a region? */
static bool fits(const char *path, const char *pattern)
{
	struct program p;
	bool region;

	if (pattern)
		setenv("MSHARE_RUN_FILES", pattern, 1);
	else
		unsetenv("MSHARE_RUN_FILES");
	region = start(&p, path) && p.answer.region;
	if (end(&p))
		fprintf(stderr, "# the program failed\n");
	setenv("MSHARE_RUN_FILES", "*", 1);
	return region;
}

TEST(patterns)
{
	char path[64], pattern[64];
	int fd;

	ASSERT_TRUE(tmpfs_mount());
	snprintf(path, sizeof(path), "%s/data[1].mdb", tmpfs);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	ASSERT_OK(ftruncate(fd, LENGTH));
	EXPECT_FALSE(fits(path, NULL));
	EXPECT_TRUE(fits(path, "*"));
	EXPECT_TRUE(fits(path, "*.mdb"));
	EXPECT_TRUE(fits(path, "/tmp/*"));
	EXPECT_TRUE(fits(path, "/*/data?1?.m[a-e]b"));
	EXPECT_TRUE(fits(path, "*[!a]1[]].[^n]*b"));
	EXPECT_TRUE(fits(path, "*\\[1]*"));
	EXPECT_TRUE(fits(path, "*a*a*.mdb*"));
	EXPECT_FALSE(fits(path, "*.md"));
	EXPECT_FALSE(fits(path, "data*"));
	EXPECT_FALSE(fits(path, "*.mdb?"));
	EXPECT_FALSE(fits(path, "*[!d]b"));
	EXPECT_FALSE(fits(path, "*\\*"));
	EXPECT_FALSE(fits(path, "*.m[e-z]b"));
	snprintf(pattern, sizeof(pattern), "%s/data[1].mdb", tmpfs);
	EXPECT_FALSE(fits(path, pattern));
	snprintf(pattern, sizeof(pattern), "%s/data[[]1].mdb", tmpfs);
	EXPECT_TRUE(fits(path, pattern));
	close(fd);
	tmpfs_umount();
}

/* A kernel of level 1, as a program sees it. */
TEST(a_kernel_without_regions_of_files)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_mshare_open, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog prog = { .len = sizeof(code) / sizeof(code[0]), .filter = code };
	char path[64];
	int fd;

	ASSERT_TRUE(tmpfs_mount());
	snprintf(path, sizeof(path), "%s/file", tmpfs);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	ASSERT_OK(ftruncate(fd, LENGTH));
	setenv("MSHARE_RUN_FILTERS", "1", 1);
	EXPECT_TRUE(fits(path, "*"));
	IN_CHILD({
		struct program p;

		CHILD_CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
		CHILD_CHECK(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog));
		CHILD_CHECK(start(&p, path));
		CHILD_CHECK(!p.answer.region);
		CHILD_CHECK(!end(&p));
	});
	unsetenv("MSHARE_RUN_FILTERS");
	close(fd);
	tmpfs_umount();
}

TEST(nothing_is_left_behind)
{
	long long before = settled();
	int i, fd, open_before;
	char *addr;

	ASSERT_TRUE(tmpfs_mount());
	fd = open(tmpfs, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	ASSERT_OK(ftruncate(fd, LENGTH));
	open_before = descriptors();
	for (i = 0; i < 20; i++) {
		addr = mmap(NULL, LENGTH, RW, MAP_SHARED, fd, i % 2 * PART);
		ASSERT_TRUE(is_region(addr));
		/* Detached as a whole, left, or left in a child. */
		if (i % 3 == 1)
			ASSERT_OK(munmap(addr + PART, PART));
		if (i % 3 == 2)
			IN_CHILD(CHILD_CHECK(!mprotect(addr, PART, PROT_NONE)));
		ASSERT_OK(munmap(addr, LENGTH));
	}
	EXPECT_EQ(open_before, descriptors());
	EXPECT_TRUE(sys_mshare_becomes("regions", before));
	EXPECT_EQ(NULL, strstr(slurp("/proc/self/maps"), tmpfs));
	close(fd);
	tmpfs_umount();
}

TEST_HARNESS_MAIN
