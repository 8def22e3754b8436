// SPDX-License-Identifier: GPL-2.0
/*
 * What a fault in an attachment holds while it waits, and what it waits for.  The
 * file in the region is on a network block device whose server is a child of this
 * process, which none of its locks can stop: reads wait as long as the test likes.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <endian.h>
#include <linux/nbd.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define DISK_SIZE	(16 * MIB)
#define FILE_SIZE	(64 * KIB)
#define FAULTS		4096

static char *disk;
/* Shared with the server: reads wait while HOLD is set; HELD says that one does. */
static volatile struct {
	int hold, held;
} *control;

static bool transfer(int fd, void *buffer, size_t length, bool out)
{
	while (length) {
		ssize_t n = out ? write(fd, buffer, length) : read(fd, buffer, length);

		if (n <= 0)
			return false;
		buffer = (char *)buffer + n;
		length -= n;
	}
	return true;
}

static void serve(int fd)
{
	struct nbd_request request;

	while (transfer(fd, &request, sizeof(request), false)) {
		struct nbd_reply reply = { .magic = htobe32(NBD_REPLY_MAGIC) };
		char *data = disk + be64toh(request.from);
		uint32_t length = be32toh(request.len), type = be32toh(request.type) & 0xffff;

		memcpy(reply.handle, request.handle, sizeof(reply.handle));
		if (type == NBD_CMD_WRITE && !transfer(fd, data, length, false))
			break;
		while (type == NBD_CMD_READ && control->hold) {
			control->held = 1;
			sleep_ms(1);
		}
		if (!transfer(fd, &reply, sizeof(reply), true) ||
		    (type == NBD_CMD_READ && !transfer(fd, data, length, true)))
			break;
	}
}

static void *serve_kernel(void *arg)
{
	sigset_t all;

	/* Any signal, such as that of a child, would end it. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	ioctl(*(int *)arg, NBD_DO_IT);
	return NULL;
}

FIXTURE(locks)
{
	char dir[40];
	pthread_t kernel;
	pid_t server;
	int nbd, file, fd;
	char *addr;
};

FIXTURE_SETUP(locks)
{
	char path[64], command[200];
	int pair[2];

	control = shared_page();
	disk = mmap(NULL, DISK_SIZE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, disk);
	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	self->server = fork();
	ASSERT_LE(0, self->server);
	if (!self->server) {
		close(pair[0]);
		serve(pair[1]);
		_exit(0);
	}
	close(pair[1]);
	/* For reading: what is open for writing cannot be mounted. */
	self->nbd = open("/dev/nbd0", O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, self->nbd);
	ASSERT_OK(ioctl(self->nbd, NBD_SET_BLKSIZE, 4096));
	ASSERT_OK(ioctl(self->nbd, NBD_SET_SIZE_BLOCKS, DISK_SIZE / 4096));
	ASSERT_OK(ioctl(self->nbd, NBD_SET_SOCK, pair[0]));
	ASSERT_OK(pthread_create(&self->kernel, NULL, serve_kernel, &self->nbd));

	snprintf(self->dir, sizeof(self->dir), "/tmp/locks.%d", getpid());
	mkdir("/tmp", 0777);
	ASSERT_OK(unshare(CLONE_NEWNS));
	ASSERT_OK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	ASSERT_OK(mkdir(self->dir, 0700));
	snprintf(command, sizeof(command),
		 "{ mkfs.ext4 -qF /dev/nbd0 || busybox mke2fs -F /dev/nbd0; } >/dev/null 2>&1");
	ASSERT_OK(system(command));
	ASSERT_OK(mount("/dev/nbd0", self->dir, "ext4", 0, NULL));

	snprintf(path, sizeof(path), "%s/object", self->dir);
	self->file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ASSERT_LE(0, self->file);
	ASSERT_OK(ftruncate(self->file, FILE_SIZE));
	for (int i = 0; i < (int)(FILE_SIZE / PAGE); i++)
		ASSERT_EQ(1, pwrite(self->file, "x", 1, i * PAGE));
	ASSERT_OK(fsync(self->file));
	ASSERT_OK(posix_fadvise(self->file, 0, 0, POSIX_FADV_DONTNEED));
	/* One page at a time: the others stay on the device. */
	ASSERT_OK(posix_fadvise(self->file, 0, 0, POSIX_FADV_RANDOM));

	self->fd = region(HUGE);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, map_file(self->fd, 0, FILE_SIZE, RW, self->file));
	self->addr = mshare_attach(self->fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, self->addr);
	control->hold = 1;
}

FIXTURE_TEARDOWN(locks)
{
	control->hold = 0;
	mshare_detach(self->addr, 0);
	close(self->fd);
	close(self->file);
	/* Freed by a worker, which is what keeps the file system busy. */
	BECOMES(!umount(self->dir));
	rmdir(self->dir);
	ioctl(self->nbd, NBD_DISCONNECT);
	pthread_join(self->kernel, NULL);
	ioctl(self->nbd, NBD_CLEAR_SOCK);
	close(self->nbd);
	kill(self->server, SIGKILL);
	wait_for(self->server);
	munmap(disk, DISK_SIZE);
}

/* A thread that does one thing and says when. */
struct worker {
	void (*work)(struct worker *worker);
	char *addr;
	int fd;
	volatile int done;
	long result;
	pthread_t thread;
};

static void *work(void *arg)
{
	struct worker *worker = arg;

	worker->work(worker);
	worker->done = 1;
	return NULL;
}

static void load_it(struct worker *worker)
{
	worker->result = try_load(worker->addr);
}

static void copy_it(struct worker *worker)
{
	char byte;
	struct iovec to = { &byte, 1 }, from = { worker->addr, 1 };

	worker->result = process_vm_readv(getpid(), &to, 1, &from, 1, 0) == 1 ? 0 : errno;
}

static void detach_it(struct worker *worker)
{
	worker->result = mshare_detach(worker->addr, 0);
}

static void detach_and_close_it(struct worker *worker)
{
	worker->result = mshare_detach(worker->addr, 0) ?: close(worker->fd);
}

static void map_and_unmap(struct worker *worker)
{
	void *p = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	worker->result = p == MAP_FAILED ? -1 : munmap(p, PAGE);
}

/* ACCESS waits for the device; CHANGE must not wait for it. */
static void not_delayed(struct __test_metadata *_metadata, char *addr, int fd,
			void (*access)(struct worker *), void (*change)(struct worker *),
			struct worker *accessor)
{
	struct worker changer = { .work = change, .addr = addr, .fd = fd };

	*accessor = (struct worker){ .work = access, .addr = addr };
	ASSERT_OK(pthread_create(&accessor->thread, NULL, work, accessor));
	ASSERT_TRUE(await(&control->held));
	ASSERT_OK(pthread_create(&changer.thread, NULL, work, &changer));
	EXPECT_TRUE(await(&changer.done)) {
		TH_LOG("it waits for a fault that waits for a device");
	}
	EXPECT_FALSE(accessor->done);
	control->hold = 0;
	ASSERT_OK(pthread_join(changer.thread, NULL));
	ASSERT_OK(pthread_join(accessor->thread, NULL));
	EXPECT_EQ(0, changer.result);
}

TEST_F(locks, a_fault_that_waits_does_not_delay_a_detach)
{
	struct worker accessor;

	not_delayed(_metadata, self->addr, self->fd, load_it, detach_it, &accessor);
	EXPECT_EQ(FAULT_MAPERR, accessor.result);
}

TEST_F(locks, a_fault_that_waits_survives_the_end_of_its_region)
{
	struct worker accessor;

	not_delayed(_metadata, self->addr, self->fd, load_it, detach_and_close_it, &accessor);
	EXPECT_EQ(FAULT_MAPERR, accessor.result);
	EXPECT_EQ(0, settled());
	self->fd = open("/dev/null", O_RDONLY);
}

TEST_F(locks, a_fault_that_waits_does_not_delay_mmap)
{
	struct worker accessor;

	not_delayed(_metadata, self->addr, self->fd, load_it, map_and_unmap, &accessor);
	EXPECT_EQ(FAULT_NONE, accessor.result);
}

TEST_F(locks, gup_that_waits_does_not_delay_mmap)
{
	struct worker accessor;

	not_delayed(_metadata, self->addr, self->fd, copy_it, map_and_unmap, &accessor);
	EXPECT_EQ(0, accessor.result);
}

TEST_F(locks, gup_that_waits_does_not_delay_a_detach)
{
	struct worker accessor;

	not_delayed(_metadata, self->addr, self->fd, copy_it, detach_it, &accessor);
	EXPECT_EQ(EFAULT, accessor.result);
}

TEST_F(locks, gup_that_waits_survives_the_end_of_its_region)
{
	struct worker accessor;

	not_delayed(_metadata, self->addr, self->fd, copy_it, detach_and_close_it, &accessor);
	EXPECT_EQ(EFAULT, accessor.result);
	EXPECT_EQ(0, settled());
	self->fd = open("/dev/null", O_RDONLY);
}

TEST_F(locks, a_process_that_waits_can_be_killed)
{
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		try_load(self->addr);
		_exit(1);
	}
	ASSERT_TRUE(await(&control->held));
	ASSERT_OK(kill(pid, SIGKILL));
	EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(pid));
	EXPECT_TRUE(control->hold);
	control->hold = 0;
	/* Nor has it left anything locked. */
	EXPECT_EQ(FAULT_NONE, try_load(self->addr));
}

/* Faults take the locks of the VMAs and nothing else, whatever else goes on in the region. */
TEST(faults_take_vma_locks_only)
{
	int fd = region(GIB), file = memfd(FAULTS * 16 * PAGE, 0);
	char *addr;

	ASSERT_LE(0, fd);
	/* Pages in the page cache, and one fault each: no faulting around. */
	for (int i = 0; i < FAULTS * 16; i += 16)
		ASSERT_EQ(1, pwrite(file, "x", 1, i * PAGE));
	ASSERT_EQ(0, map_file(fd, 0, FAULTS * 16 * PAGE, RW, file));
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);

	int *rounds = shared_page();
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		for (;;) {
			CHILD_CHECK(map_anon(fd, 512 * MIB, 4 * MIB, RW) == 512 * (int64_t)MIB);
			CHILD_CHECK(!mshare_unmap(fd, 512 * MIB, 4 * MIB, 0));
			++*(volatile int *)rounds;
		}
	}
	ASSERT_TRUE(await(rounds));

	long long success = file_key("/proc/vmstat", "vma_lock_success");
	long long retry = file_key("/proc/vmstat", "vma_lock_retry");
	int before = *(volatile int *)rounds;

	ASSERT_LT(0, success);
	for (int i = 0; i < FAULTS; i++)
		ASSERT_EQ('x', *(volatile char *)(addr + i * 16 * PAGE));
	success = file_key("/proc/vmstat", "vma_lock_success") - success;
	retry = file_key("/proc/vmstat", "vma_lock_retry") - retry;
	before = *(volatile int *)rounds - before;
	ASSERT_OK(kill(pid, SIGKILL));
	wait_for(pid);

	TH_LOG("%d faults: %lld by VMA locks, %lld tried again, %d rounds of another process",
	       FAULTS, success, retry, before);
	EXPECT_LE(FAULTS, success);
	/* Of the whole machine, so not 0. */
	EXPECT_GT(FAULTS / 50, retry);
	EXPECT_LT(0, before);
}

/* The same 2 MiB again and again: page tables for a lot, that are quick to make. */
#define COPIES		4096

struct page_scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#ifndef PAGEMAP_SCAN
#define PAGEMAP_SCAN	_IOWR('f', 16, struct page_scan)
#endif

/* Any process that has it attached, though only for reading, may look at all of it. */
TEST(who_looks_at_all_of_it_lets_changes_in_between)
{
	int fd = region(16 * GIB), file = memfd(HUGE, 0), maps, i;
	volatile int *flags = shared_page();
	long changes = 0, walks;
	char *addr;
	pid_t pid;

	ASSERT_LE(0, fd);
	for (i = 0; i < HUGE; i += PAGE)
		ASSERT_EQ(1, pwrite(file, "x", 1, i));
	for (i = 0; i < COPIES; i++)
		ASSERT_EQ(i * HUGE, map_file(fd, i * HUGE, HUGE, PROT_READ, file));
	ASSERT_OK(mshare_advise(fd, 0, COPIES * HUGE, MADV_POPULATE_READ, 0));
	addr = mshare_attach(fd, NULL, MSHARE_ATTACH_RDONLY);
	ASSERT_NE(MAP_FAILED, addr);
	maps = open("/proc/self/pagemap", O_RDONLY);
	ASSERT_LE(0, maps);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		while (!flags[1]) {
			flags[0]++;
			CHILD_CHECK(map_anon(fd, 15 * GIB, PAGE, RW) == 15 * (int64_t)GIB);
			CHILD_CHECK(!mshare_unmap(fd, 15 * GIB, PAGE, 0));
		}
		_exit(0);
	}
	ASSERT_TRUE(await(flags));
	for (walks = 0; walks < 4; walks++) {
		struct page_scan scan = {
			.size = sizeof(scan), .start = (uintptr_t)addr,
			.end = (uintptr_t)addr + SLOT, .category_mask = 1 << 4, .return_mask = 1 << 4,
		};

		changes -= flags[0];
		/* Pages that are swapped: there are none, so it never has enough. */
		EXPECT_EQ(0, ioctl(maps, PAGEMAP_SCAN, &scan)) {
			TH_LOG("%m");
		}
		EXPECT_EQ(scan.end, scan.walk_end);
		changes += flags[0];
	}
	flags[1] = 1;
	EXPECT_EQ(0, wait_for(pid));
	TH_LOG("%ld changes in %ld walks", changes, walks);
	/* There are 8 GiB, and a change takes the lock twice; else there is one a walk. */
	EXPECT_LE(walks * 2, changes);
}

/*
 * What a call reads and writes may lie in an attachment of the region that it
 * changes, on pages that are not there yet: it copies before it takes a lock.
 */
TEST(arguments_may_lie_in_the_region_itself)
{
	int fd = region(GIB), file = memfd(MIB, 0);
	struct mshare_map_args *args;
	struct mshare_stat *st;
	char *addr, *name;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, map_anon(fd, 0, 16 * PAGE, RW));
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	name = addr;
	strcpy(name, "inside");
	args = (void *)(addr + 2 * PAGE - 8);
	*args = (struct mshare_map_args){
		.offset = MIB, .length = MIB, .prot = RW, .flags = MAP_SHARED | MAP_POPULATE,
		.fd = file,
	};
	st = (void *)(addr + 4 * PAGE - 8);
	/* They are read and written by faults of the calls. */
	ASSERT_OK(mshare_advise(fd, 0, 16 * PAGE, MADV_DONTNEED, 0));
	EXPECT_OK(close(mshare_create(name, 0)));
	ASSERT_OK(mshare_advise(fd, 0, 16 * PAGE, MADV_DONTNEED, 0));
	EXPECT_EQ(MIB, mshare_map(fd, args, sizeof(*args)));
	ASSERT_OK(mshare_advise(fd, 0, 16 * PAGE, MADV_DONTNEED, 0));
	EXPECT_OK(mshare_stat(fd, st, sizeof(*st), 0));
	EXPECT_EQ(2, st->objects);
	/* Replaces the object that the arguments are in. */
	args->offset = 0;
	args->flags |= MAP_FIXED;
	EXPECT_EQ(0, mshare_map(fd, args, sizeof(*args)));
	EXPECT_EQ(0, sum(addr, 16 * PAGE));
	/* With a hole at the end of the arguments nothing happens. */
	args = (void *)(addr + MIB + MIB - 8);
	EXPECT_ERR(EFAULT, mshare_map(fd, args, sizeof(*args)));
	EXPECT_ERR(EFAULT, mshare_stat(fd, (void *)args, sizeof(*st), 0));
}

/* A file into and out of its own mapping, with pages that are not there. */
TEST(a_file_is_read_and_written_through_itself)
{
	int fd = region(GIB), file = memfd(MIB, 0);
	char *addr;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, map_file(fd, 0, MIB, RW, file));
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	fill(addr, MIB / 2, 3);
	ASSERT_OK(mshare_advise(fd, 0, MIB, MADV_DONTNEED, 0));
	EXPECT_EQ(MIB / 2, pread(file, addr + MIB / 2, MIB / 2, 0));
	EXPECT_EQ(0, wrong(addr + MIB / 2, MIB / 2, 3));
	/* The same bytes. */
	ASSERT_OK(mshare_advise(fd, 0, MIB, MADV_DONTNEED, 0));
	EXPECT_EQ(MIB / 2, pwrite(file, addr, MIB / 2, 0));
	EXPECT_EQ(0, wrong(addr, MIB / 2, 3));
	ASSERT_OK(mshare_advise(fd, 0, MIB, MADV_DONTNEED, 0));
	EXPECT_EQ(MIB / 2, pread(file, addr, MIB / 2, 0));
	EXPECT_EQ(0, wrong(addr, MIB / 2, 3));
}

TEST_HARNESS_MAIN
