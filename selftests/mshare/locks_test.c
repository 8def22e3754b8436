// SPDX-License-Identifier: GPL-2.0
/*
 * Locks that a fault in an attachment holds while it waits, and their waiters.  The
 * file in the region is on a network block device.  Its server is a child of this
 * process, which none of these locks can stop: reads wait as long as the test wants.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <endian.h>
#include <linux/fs.h>
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
	int nbd, file, fd, frozen;
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
	if (self->frozen > 0) {
		ioctl(self->frozen, FITHAW, 0);
		close(self->frozen);
	}
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

/* Of the object, and of others. */
static void protect_and_map(struct worker *worker)
{
	worker->result = mshare_protect(worker->fd, 0, FILE_SIZE, PROT_READ, 0) ?:
			 map_anon(worker->fd, MIB, PAGE, RW) != MIB;
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

static bool sleeps_for_good(pid_t pid)
{
	char path[40], *stat, state = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	stat = slurp(path);
	if (stat)
		state = *(strrchr(stat, ')') + 2);
	free(stat);
	return state == 'D';
}

/* Reads the first byte of the region as a debugger does, in a child: WANT or an errno. */
static pid_t debugger(FIXTURE_DATA(locks) *self, char want, int err)
{
	pid_t pid = fork();

	if (!pid) {
		int mem = open("/proc/self/mem", O_RDONLY);
		char byte = 0;
		ssize_t n = pread(mem, &byte, 1, (uintptr_t)self->addr);

		CHILD_CHECK(err ? n == -1 && errno == err : n == 1 && byte == want);
		_exit(0);
	}
	return pid;
}

/* A debugger may not let its victim's lock go, but holds nothing of the region. */
TEST_F(locks, a_debugger_that_waits_does_not_delay_a_change)
{
	int result = -1;
	pid_t pid = debugger(self, 'x', 0);

	ASSERT_LE(0, pid);
	ASSERT_TRUE(await(&control->held));

	struct worker changer = { .fd = self->fd, .work = protect_and_map };

	ASSERT_OK(pthread_create(&changer.thread, NULL, work, &changer));
	EXPECT_TRUE(await(&changer.done)) {
		TH_LOG("it waits for a debugger that waits for a device");
	}
	EXPECT_FALSE(ended(pid, &result));
	control->hold = 0;
	ASSERT_OK(pthread_join(changer.thread, NULL));
	EXPECT_EQ(0, changer.result);
	EXPECT_TRUE(BECOMES(ended(pid, &result)));
	EXPECT_EQ(0, result);
}

/* The object goes while the debugger waits for its page. */
TEST_F(locks, a_debugger_that_waits_survives_an_unmap)
{
	int result = -1;
	pid_t pid = debugger(self, 0, EIO);

	ASSERT_LE(0, pid);
	ASSERT_TRUE(await(&control->held));
	EXPECT_OK(mshare_unmap(self->fd, 0, FILE_SIZE, 0));
	EXPECT_FALSE(ended(pid, &result));
	control->hold = 0;
	EXPECT_TRUE(BECOMES(ended(pid, &result)));
	EXPECT_EQ(0, result);
}

/*
 * A file system that is frozen, as for a backup: a write to a mapping of it waits in
 * page_mkwrite() until the thaw, and cannot be killed.  Normally no other task waits.
 */
#define OTHER		(64 * MIB)

static struct {
	char *file, *other;
	int fd;
} at;

/* What has to do with other objects, or with none; 0 if it works. */
static int touches_a_page(void)
{
	*(volatile char *)at.other = 1;
	return 0;
}

static char *new_page(void)
{
	return at.other + (getpid() % 2000 + 1) * PAGE;
}

static int touches_a_new_page(void)
{
	*(volatile char *)new_page() = 1;
	return 0;
}

static int pins_a_new_page(void)
{
	char byte = 1;
	struct iovec from = { &byte, 1 }, to = { new_page(), 1 };

	return process_vm_writev(getpid(), &from, 1, &to, 1, 0) != 1;
}

static int reads_into_a_new_page(void)
{
	return read(open("/dev/zero", O_RDONLY), new_page(), 1) != 1;
}

static int asks_about_it(void)
{
	struct mshare_stat st;
	char path[40];

	if (mshare_stat(at.fd, &st, sizeof(st), 0) || smaps(at.file, "Rss") < 0)
		return 1;
	sprintf(path, "/proc/self/fdinfo/%d", at.fd);
	return file_key(path, "mshare-objects:\t") < 2;
}

static int attaches_it(void)
{
	void *addr = mshare_attach(at.fd, NULL, 0);

	return addr == MAP_FAILED || mshare_detach(addr, 0);
}

static int changes_it_elsewhere(void)
{
	return map_anon(at.fd, GIB / 2, MIB, PROT_READ) != GIB / 2 ||
	       mshare_protect(at.fd, GIB / 2, MIB, RW, 0) ||
	       mshare_advise(at.fd, GIB / 2, MIB, MADV_RANDOM, 0) ||
	       mshare_advise(at.fd, GIB / 2, MIB, MADV_POPULATE_WRITE, 0) ||
	       map_obj(at.fd, GIB / 2, MIB / 2, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED,
		       -1, 0) != GIB / 2 ||
	       mshare_unmap(at.fd, GIB / 2, MIB, 0);
}

/* The same object, but nothing is written: with no change that waits, it works. */
static int reads_the_file(void)
{
	return mshare_advise(at.fd, 0, FILE_SIZE, MADV_DONTNEED, 0) ||
	       *(volatile char *)(at.file + 2 * PAGE) != 'x';
}

static const struct {
	const char *what;
	int (*run)(void);
} others[] = {
#define OTHER_ONE(f) { #f, f }
	OTHER_ONE(touches_a_page), OTHER_ONE(touches_a_new_page), OTHER_ONE(pins_a_new_page),
	OTHER_ONE(reads_into_a_new_page), OTHER_ONE(asks_about_it), OTHER_ONE(attaches_it),
	OTHER_ONE(changes_it_elsewhere), OTHER_ONE(reads_the_file),
};

/* All but the last COUNT of these go on. */
static void others_go_on(struct __test_metadata *_metadata, const char *when, int count)
{
	for (int i = 0; i < (int)(sizeof(others) / sizeof(others[0])) - count; i++) {
		int result = -1;
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (!pid)
			_exit(others[i].run());
		ASSERT_TRUE(BECOMES(ended(pid, &result))) {
			TH_LOG("%s: it waits who %s", when, others[i].what);
		}
		EXPECT_EQ(0, result) {
			TH_LOG("%s: %s", when, others[i].what);
		}
	}
}

/* The ways to write to the file, each in another page. */
static int stores(void)
{
	at.file[0] = 'y';
	return 0;
}

static int reads_into_it(void)
{
	return read(open("/dev/zero", O_RDONLY), at.file, 1) != 1;
}

static int pins_it(void)
{
	char byte = 'y';
	struct iovec from = { &byte, 1 }, to = { at.file, 1 };

	return process_vm_writev(getpid(), &from, 1, &to, 1, 0) != 1;
}

static int pokes_it(void)
{
	return pwrite(open("/proc/self/mem", O_RDWR), "y", 1, (uintptr_t)at.file) != 1;
}

static int populates_it(void)
{
	return mshare_advise(at.fd, 0, PAGE, MADV_POPULATE_WRITE, 0);
}

/* What changes the file's object, and so waits. */
static int protects_it(void)
{
	return mshare_protect(at.fd, 0, PAGE, RW | PROT_EXEC, 0);
}

static int protects_all(void)
{
	return mshare_protect(at.fd, 0, FILE_SIZE, PROT_READ, 0);
}

static int unmaps_it(void)
{
	return mshare_unmap(at.fd, 8 * PAGE, GIB / 4, 0);
}

static int replaces_it(void)
{
	return map_obj(at.fd, 0, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != 0;
}

static int advises_it(void)
{
	return mshare_advise(at.fd, 0, FILE_SIZE, MADV_SEQUENTIAL, 0);
}

static int (*const changes[])(void) = {
	protects_it, protects_all, unmaps_it, replaces_it, advises_it,
};

static void freeze(struct __test_metadata *_metadata, FIXTURE_DATA(locks) *self)
{
	control->hold = 0;
	ASSERT_OK(ftruncate(self->fd, GIB));
	ASSERT_EQ(OTHER, map_anon(self->fd, OTHER, 16 * MIB, RW));
	at.fd = self->fd;
	at.file = self->addr;
	at.other = self->addr + OTHER;
	at.other[0] = 1;
	/* Mapped, though only for reading. */
	ASSERT_LE(FILE_SIZE / PAGE, sum(at.file, FILE_SIZE));
	self->frozen = open(self->dir, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, self->frozen);
	ASSERT_OK(ioctl(self->frozen, FIFREEZE, 0));
}

static void only_the_file_waits(struct __test_metadata *_metadata, FIXTURE_DATA(locks) *self,
				int (*writes)(void))
{
	int result = -1, i;
	pid_t writer, change;

	freeze(_metadata, self);
	writer = fork();
	ASSERT_LE(0, writer);
	if (!writer)
		_exit(writes());
	ASSERT_TRUE(BECOMES(sleeps_for_good(writer)));
	others_go_on(_metadata, "a process writes to a frozen file", 0);
	for (i = 0; i < (int)(sizeof(changes) / sizeof(changes[0])); i++) {
		change = fork();
		ASSERT_LE(0, change);
		if (!change)
			_exit(changes[i]());
		/* There is nothing to see when it has begun to wait. */
		sleep_ms(200);
		EXPECT_FALSE(ended(change, &result)) {
			TH_LOG("change %d did not wait", i);
		}
		others_go_on(_metadata, "a change of it waits", 1);
		kill(change, SIGKILL);
		ASSERT_TRUE(BECOMES(ended(change, &result))) {
			TH_LOG("change %d cannot be killed", i);
		}
		EXPECT_EQ(KILLED_BY(SIGKILL), result);
	}
	others_go_on(_metadata, "the changes were killed", 0);
	EXPECT_EQ(2, stat_of(at.fd).objects);

	change = fork();
	ASSERT_LE(0, change);
	if (!change)
		_exit(protects_it());
	sleep_ms(200);
	EXPECT_FALSE(ended(writer, &result));
	EXPECT_FALSE(ended(change, &result));
	EXPECT_OK(ioctl(self->frozen, FITHAW, 0));
	EXPECT_TRUE(BECOMES(ended(writer, &result)));
	EXPECT_EQ(0, result);
	EXPECT_TRUE(BECOMES(ended(change, &result)));
	EXPECT_EQ(0, result);
	EXPECT_NE('x', at.file[0]);
	/* It was divided. */
	EXPECT_EQ(3, stat_of(at.fd).objects);
}

TEST_F(locks, a_store_to_a_frozen_file_delays_nobody_else)
{
	only_the_file_waits(_metadata, self, stores);
}

TEST_F(locks, a_kernel_access_to_a_frozen_file_delays_nobody_else)
{
	only_the_file_waits(_metadata, self, reads_into_it);
}

TEST_F(locks, gup_of_a_frozen_file_delays_nobody_else)
{
	only_the_file_waits(_metadata, self, pins_it);
}

TEST_F(locks, a_debugger_that_writes_to_a_frozen_file_delays_nobody_else)
{
	only_the_file_waits(_metadata, self, pokes_it);
}

/* It leaves the page as it is. */
TEST_F(locks, populating_a_frozen_file_delays_nobody_else)
{
	control->hold = 0;
	*(volatile char *)self->addr = 'p';
	ASSERT_OK(fsync(self->file));
	only_the_file_waits(_metadata, self, populates_it);
}

/* The worker that ends the region waits for the writer, and no task waits for the worker. */
TEST_F(locks, the_owners_end_does_not_wait_for_a_frozen_file_with_a_lock)
{
	int pair[2], result = -1;
	pid_t owner, writer;

	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	freeze(_metadata, self);
	owner = fork();
	ASSERT_LE(0, owner);
	if (!owner) {
		int fd = mshare_create("owned", MSHARE_OWNED);

		CHILD_CHECK(fd >= 0 && !ftruncate(fd, GIB));
		CHILD_CHECK(map_file(fd, 0, FILE_SIZE, RW, self->file) == 0);
		CHILD_CHECK(map_anon(fd, OTHER, MIB, RW) == OTHER);
		send_fd(pair[0], fd);
		pause();
	}
	at.fd = receive_fd(pair[1]);
	ASSERT_LE(0, at.fd);
	at.file = mshare_attach(at.fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, at.file);
	at.other = at.file + OTHER;
	writer = fork();
	ASSERT_LE(0, writer);
	if (!writer)
		_exit(stores());
	ASSERT_TRUE(BECOMES(sleeps_for_good(writer)));
	kill(owner, SIGKILL);
	EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(owner));
	EXPECT_TRUE(stat_of(at.fd).flags & MSHARE_STAT_DEAD);
	/* Now the worker waits. */
	sleep_ms(200);
	EXPECT_EQ(FAULT_BUS, try_store(at.other, 1));
	EXPECT_EQ(FAULT_BUS, try_load(at.file + PAGE));
	EXPECT_EQ(FAULT_BUS, try_load(at.file + GIB / 2));
	EXPECT_EQ(0, asks_about_it());
	EXPECT_ERR(EOWNERDEAD, mshare_attach(at.fd, NULL, 0));
	EXPECT_ERR(EOWNERDEAD, mshare_unmap(at.fd, OTHER, PAGE, 0));
	EXPECT_FALSE(ended(writer, &result));
	EXPECT_OK(ioctl(self->frozen, FITHAW, 0));
	/* It stored, or got the signal when it tried again. */
	EXPECT_TRUE(BECOMES(ended(writer, &result)));
	EXPECT_TRUE(result == 0 || result == KILLED_BY(SIGBUS)) {
		TH_LOG("the writer: %d", result);
	}
	ASSERT_OK(mshare_detach(at.file, 0));
	close(at.fd);
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
