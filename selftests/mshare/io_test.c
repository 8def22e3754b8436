// SPDX-License-Identifier: GPL-2.0
/*
 * Reads and writes that the kernel makes for a process, by what is behind the
 * memory and by where its pages are at that moment.  Each way to read or write is
 * tried through a read-only attachment and then through a writable one; after
 * that the memory is looked at through both, through a third attachment and
 * through an ordinary mapping of the object.  What a place permits, whatever is
 * behind it, is in access_test.c.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <arpa/inet.h>
#include <liburing.h>
#include <linux/errqueue.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/mount.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#ifndef SO_EE_ORIGIN_ZEROCOPY
#define SO_EE_ORIGIN_ZEROCOPY	5
#endif

/* For tests that want the disk. */
#define NEED_DISK() do {								\
	if (!*disk)								\
		SKIP(return, "no ext4 on null_blk");				\
} while (0)

#define OBJECT	GIB			/* its offset in the region */
#define LEN	(64 * KIB)		/* what is read or written */
#define MARGIN	(32 * KIB)		/* what must not change, on both sides */
#define WINDOW	(LEN + 2 * MARGIN)
#define OLD	7			/* seeds of the content */
#define NEW	8
#define LATER	9

#define ZRAM	"/dev/zram0"
#define NULLB	"/sys/kernel/config/nullb/mst"

static char disk[64];	/* a directory on ext4 on null_blk, or "" */
static int giant = -1;	/* a file of one page of 1 GiB, the same for all tests */

enum pages {
	PRESENT,	/* entries are there, writable */
	UNMAPPED,	/* pages without entries */
	UNTOUCHED,	/* no pages */
	SWAPPED,
};

FIXTURE(io) {
	int fd, file;
	char *rw, *ro, *two;	/* the object in our attachments */
	char *new;		/* LEN bytes to be written */
	char *buf;		/* LEN bytes for what is read */
	/* Windows in the object: the one that is written, the one that must not be. */
	uint64_t at[2];
	char *expect[2];
	/* Another process that has the region somewhere else. */
	pid_t peer;
	char *peer_rw, *peer_ro;
};

FIXTURE_VARIANT(io) {
	unsigned int memfd;
	uint64_t size, page;
	enum pages pages;
};

#define BACKED_BY(name, ...) \
FIXTURE_VARIANT_ADD(io, name##_present) { .pages = PRESENT, __VA_ARGS__ }; \
FIXTURE_VARIANT_ADD(io, name##_unmapped) { .pages = UNMAPPED, __VA_ARGS__ }; \
FIXTURE_VARIANT_ADD(io, name##_untouched) { .pages = UNTOUCHED, __VA_ARGS__ }

BACKED_BY(small_pages, .size = 8 * MIB, .page = PAGE);
FIXTURE_VARIANT_ADD(io, small_pages_swapped) {
	.size = 8 * MIB, .page = PAGE, .pages = SWAPPED,
};

BACKED_BY(transparent_huge_pages, .size = 4 * HUGE, .page = HUGE);
FIXTURE_VARIANT_ADD(io, transparent_huge_pages_swapped) {
	.size = 4 * HUGE, .page = HUGE, .pages = SWAPPED,
};

BACKED_BY(huge_pages, .size = 4 * HUGE, .page = HUGE, .memfd = MFD_HUGETLB | MAP_HUGE_2MB);
/* Untouched ones are in a test of their own: it takes long to clear one. */
FIXTURE_VARIANT_ADD(io, giant_pages_present) {
	.size = GIB, .page = GIB, .memfd = MFD_HUGETLB | MAP_HUGE_1GB, .pages = PRESENT,
};

FIXTURE_VARIANT_ADD(io, giant_pages_unmapped) {
	.size = GIB, .page = GIB, .memfd = MFD_HUGETLB | MAP_HUGE_1GB, .pages = UNMAPPED,
};

typedef FIXTURE_DATA(io) io_t;

/*
 * Advice goes by the page table, so what is there without an entry has to get one: what
 * khugepaged has made of the small pages that came back, or what it held in its hands
 * when it was to go (reclaim.what_khugepaged_replaced_goes_when_it_is_mapped_again).
 */
static bool swap_out(io_t *io, uint64_t size)
{
	unsigned char *in = malloc(size / PAGE);
	char *plain = mmap(NULL, size, PROT_READ, MAP_SHARED, io->file, 0);
	bool gone, all;
	uint64_t i;

	gone = in && plain != MAP_FAILED && BECOMES(({
		lru_drain();
		mshare_advise(io->fd, OBJECT, size, MADV_PAGEOUT, 0);
		all = stat_of(io->fd).swapped == size;
		if (!all && !mincore(plain, size, in)) {
			for (i = 0; i < size / PAGE; i++) {
				if (in[i] & 1)
					(void)((volatile char *)io->rw)[i * PAGE];
			}
		}
		all;
	}));
	munmap(plain, size);
	free(in);
	if (!gone)
		fprintf(stderr, "# %llu of %llu bytes were swapped out\n",
			(unsigned long long)stat_of(io->fd).swapped, (unsigned long long)size);
	return gone;
}

/* Puts the pages of the object where the variant wants them, whatever was done to them. */
static bool pages_go(io_t *io, enum pages pages, uint64_t size, uint64_t page)
{
	uint64_t i;

	switch (pages) {
	case PRESENT:
		for (i = 0; i < size; i += page)
			((volatile char *)io->rw)[i] += 0;
		/* With one access a page, this says how large they are. */
		return stat_of(io->fd).resident == size;
	case UNMAPPED:
		return !mshare_advise(io->fd, OBJECT, size, MADV_DONTNEED, 0) &&
		       !stat_of(io->fd).resident;
	case UNTOUCHED:
		return true;
	case SWAPPED:
		for (i = 0; i < size; i += PAGE)
			((volatile char *)io->rw)[i] += 0;
		return swap_out(io, size);
	}
	return false;
}

FIXTURE_SETUP(io)
{
	bool thp = variant->page == HUGE && !variant->memfd;
	char *peer;
	int b;

	if (variant->page == GIB ? giant < 0 :
	    variant->memfd && !huge_pages(variant->page, variant->size / variant->page))
		SKIP(return, "no huge pages of %llu KiB", variant->page / KIB);
	if (thp && !shmem_thp())
		SKIP(return, NO_THP);
	self->fd = region(4 * GIB);
	self->file = variant->page == GIB ? dup(giant) : memfd(variant->size, variant->memfd);
	ASSERT_LE(0, self->fd);
	ASSERT_LE(0, self->file);
	ASSERT_EQ(OBJECT, map_file(self->fd, OBJECT, variant->size, RW, self->file));
	if (thp)
		ASSERT_OK(mshare_advise(self->fd, OBJECT, variant->size, MADV_HUGEPAGE, 0));
	self->rw = mshare_attach(self->fd, NULL, 0);
	self->ro = mshare_attach(self->fd, NULL, MSHARE_ATTACH_RDONLY);
	self->two = mshare_attach(self->fd, (void *)(3 * SLOT), 0);
	ASSERT_NE(MAP_FAILED, self->rw);
	ASSERT_NE(MAP_FAILED, self->ro);
	ASSERT_NE(MAP_FAILED, self->two);
	self->rw += OBJECT;
	self->ro += OBJECT;
	self->two += OBJECT;
	self->new = mmap(NULL, 2 * LEN, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->new);
	self->buf = self->new + LEN;
	fill(self->new, LEN, NEW);
	memset(self->buf, 0x55, LEN);

	for (b = 0; b < 2; b++) {
		/* Across the border of two pages of 2 MiB, where there are such. */
		self->at[b] = variant->size / 4 * (2 * b + 1) - WINDOW / 2;
		self->expect[b] = calloc(1, WINDOW);
		ASSERT_NE(NULL, self->expect[b]);
		if (variant->pages == UNTOUCHED)
			continue;
		fill(self->expect[b], WINDOW, OLD + b);
		memcpy(self->rw + self->at[b], self->expect[b], WINDOW);
	}
	ASSERT_TRUE(pages_go(self, variant->pages, variant->size, variant->page));
	if (variant->pages == UNTOUCHED)
		ASSERT_EQ(0, stat_of(self->fd).resident);

	self->peer_rw = (char *)(11 * SLOT + OBJECT);
	self->peer_ro = (char *)(13 * SLOT + OBJECT);
	volatile int *ready = shared_page();

	self->peer = fork();
	ASSERT_LE(0, self->peer);
	if (!self->peer) {
		CHILD_CHECK(!mshare_detach(self->rw - OBJECT, 0));
		CHILD_CHECK(!mshare_detach(self->ro - OBJECT, 0));
		CHILD_CHECK(!mshare_detach(self->two - OBJECT, 0));
		peer = mshare_attach(self->fd, self->peer_rw - OBJECT, 0);
		CHILD_CHECK(peer != MAP_FAILED);
		peer = mshare_attach(self->fd, self->peer_ro - OBJECT, MSHARE_ATTACH_RDONLY);
		CHILD_CHECK(peer != MAP_FAILED);
		*ready = 1;
		for (;;)
			pause();
	}
	ASSERT_TRUE(await(ready));
}

/* The content of both windows, through everything that shows it. */
static void look(struct __test_metadata *_metadata, io_t *io, uint64_t size)
{
	char *plain = mmap(NULL, size, PROT_READ, MAP_SHARED, io->file, 0);
	int b;

	ASSERT_NE(MAP_FAILED, plain);
	for (b = 0; b < 2; b++) {
		EXPECT_EQ(0, memcmp(io->expect[b], io->rw + io->at[b], WINDOW));
		EXPECT_EQ(0, memcmp(io->expect[b], io->ro + io->at[b], WINDOW));
		EXPECT_EQ(0, memcmp(io->expect[b], io->two + io->at[b], WINDOW));
		EXPECT_EQ(0, memcmp(io->expect[b], plain + io->at[b], WINDOW)) {
			TH_LOG("%s window", b ? "the read-only" : "the written");
		}
	}
	munmap(plain, size);
}

FIXTURE_TEARDOWN(io)
{
	kill(self->peer, SIGKILL);
	wait_for(self->peer);
	look(_metadata, self, variant->size);
	/* The next one wants the huge pages. */
	mshare_detach(self->rw - OBJECT, 0);
	mshare_detach(self->ro - OBJECT, 0);
	mshare_detach(self->two - OBJECT, 0);
	close(self->fd);
	close(self->file);
	settled();
}

/*
 * A way to write LEN bytes of NEW to AT, which another process has at PEER, or to
 * read them to BUF.  It returns 0, an errno, or -2 if only a part was done.
 */
typedef int way_t(io_t *io, char *at, char *peer);

static int all_of(ssize_t ret)
{
	return ret == -1 ? errno : ret == LEN ? 0 : -2;
}

static void writes(struct __test_metadata *_metadata, io_t *io, int refused, way_t *way)
{
	uint64_t a = io->at[0] + MARGIN, b = io->at[1] + MARGIN;

	EXPECT_EQ(refused, way(io, io->ro + b, io->peer_ro + b));
	EXPECT_EQ(0, way(io, io->rw + a, io->peer_rw + a));
	memcpy(io->expect[0] + MARGIN, io->new, LEN);
	/* The rest is seen when the test ends. */
}

static void reads(struct __test_metadata *_metadata, io_t *io, way_t *way)
{
	uint64_t a = io->at[0] + MARGIN, b = io->at[1] + MARGIN;

	EXPECT_EQ(0, way(io, io->ro + b, io->peer_ro + b));
	EXPECT_EQ(0, memcmp(io->expect[1] + MARGIN, io->buf, LEN));
	memset(io->buf, 0x55, LEN);
	EXPECT_EQ(0, way(io, io->rw + a, io->peer_rw + a));
	EXPECT_EQ(0, memcmp(io->expect[0] + MARGIN, io->buf, LEN));
}

/* Files to read from and write to */

static int file_with(const char *content)
{
	int file = memfd(LEN, 0);

	return !content || pwrite(file, content, LEN, 0) == LEN ? file : -1;
}

static int read_2(io_t *io, char *at, char *peer)
{
	int file = file_with(io->new), err = all_of(pread(file, at, LEN, 0));

	close(file);
	return err;
}

static int write_2(io_t *io, char *at, char *peer)
{
	int file = file_with(NULL), err = all_of(pwrite(file, at, LEN, 0));

	if (!err)
		err = all_of(pread(file, io->buf, LEN, 0));
	close(file);
	return err;
}

TEST_F(io, read_and_write)
{
	reads(_metadata, self, write_2);
	writes(_metadata, self, EFAULT, read_2);
}

/* A file of LEN bytes on the disk, which has the content. */
static int direct_file(const char *content)
{
	char path[100];
	int file;

	snprintf(path, sizeof(path), "%s/direct.%d", disk, getpid());
	file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0600);
	if (file < 0)
		return -1;
	unlink(path);
	if (pwrite(file, content, LEN, 0) != LEN) {
		fprintf(stderr, "# cannot fill a file on %s: %m\n", disk);
		close(file);
		return -1;
	}
	return file;
}

static int direct_read(io_t *io, char *at, char *peer)
{
	int file = direct_file(io->new), err = all_of(pread(file, at, LEN, 0));

	close(file);
	return err;
}

static int direct_write(io_t *io, char *at, char *peer)
{
	int file = direct_file(io->new), err = all_of(pwrite(file, at, LEN, 0));

	if (!err)
		err = all_of(pread(file, io->buf, LEN, 0));
	close(file);
	return err;
}

TEST_F(io, direct_io)
{
	NEED_DISK();
	reads(_metadata, self, direct_write);
	writes(_metadata, self, EFAULT, direct_read);
}

/* io_uring */

static int uring(io_t *io, char *at, bool write, bool fixed, unsigned int flags)
{
	int file = direct_file(io->new), err;
	struct iovec iov = { at, LEN };
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	struct io_uring ring;

	err = -io_uring_queue_init(4, &ring, 0);
	if (err)
		return err;
	if (fixed)
		err = -io_uring_register_buffers(&ring, &iov, 1);
	if (!err) {
		sqe = io_uring_get_sqe(&ring);
		if (fixed && write)
			io_uring_prep_write_fixed(sqe, file, at, LEN, 0, 0);
		else if (fixed)
			io_uring_prep_read_fixed(sqe, file, at, LEN, 0, 0);
		else if (write)
			io_uring_prep_write(sqe, file, at, LEN, 0);
		else
			io_uring_prep_read(sqe, file, at, LEN, 0);
		io_uring_sqe_set_flags(sqe, flags);
		err = io_uring_submit_and_wait(&ring, 1) == 1 ? 0 : EIO;
	}
	if (!err)
		err = -io_uring_wait_cqe(&ring, &cqe);
	if (!err)
		err = cqe->res < 0 ? -cqe->res : cqe->res == LEN ? 0 : -2;
	io_uring_queue_exit(&ring);
	if (!err && write)
		err = all_of(pread(file, io->buf, LEN, 0));
	close(file);
	return err;
}

static int uring_read(io_t *io, char *at, char *peer)
{
	return uring(io, at, false, false, 0);
}

static int uring_write(io_t *io, char *at, char *peer)
{
	return uring(io, at, true, false, 0);
}

TEST_F(io, io_uring)
{
	NEED_DISK();
	reads(_metadata, self, uring_write);
	writes(_metadata, self, EFAULT, uring_read);
}

static int uring_read_by_worker(io_t *io, char *at, char *peer)
{
	return uring(io, at, false, false, IOSQE_ASYNC);
}

static int uring_write_by_worker(io_t *io, char *at, char *peer)
{
	return uring(io, at, true, false, IOSQE_ASYNC);
}

TEST_F(io, io_uring_by_a_worker)
{
	NEED_DISK();
	reads(_metadata, self, uring_write_by_worker);
	writes(_metadata, self, EFAULT, uring_read_by_worker);
}

static int uring_read_fixed(io_t *io, char *at, char *peer)
{
	return uring(io, at, false, true, 0);
}

static int uring_write_fixed(io_t *io, char *at, char *peer)
{
	return uring(io, at, true, true, 0);
}

TEST_F(io, io_uring_fixed_buffers)
{
	uint64_t a = self->at[0] + MARGIN, b = self->at[1] + MARGIN;

	NEED_DISK();
	/* Pinned for writing, whatever they are used for. */
	EXPECT_EQ(EFAULT, uring_write_fixed(self, self->ro + b, NULL));
	EXPECT_EQ(0, uring_write_fixed(self, self->rw + a, NULL));
	EXPECT_EQ(0, memcmp(self->expect[0] + MARGIN, self->buf, LEN));
	writes(_metadata, self, EFAULT, uring_read_fixed);
}

/* Other processes */

static int vm_writev(io_t *io, char *at, char *peer)
{
	struct iovec local = { io->new, LEN }, remote = { peer, LEN };

	return all_of(process_vm_writev(io->peer, &local, 1, &remote, 1, 0));
}

static int vm_readv_into(io_t *io, char *at, char *peer)
{
	struct iovec local = { at, LEN }, remote = { io->new, LEN };

	return all_of(process_vm_readv(io->peer, &local, 1, &remote, 1, 0));
}

static int vm_readv(io_t *io, char *at, char *peer)
{
	struct iovec local = { io->buf, LEN }, remote = { peer, LEN };

	return all_of(process_vm_readv(io->peer, &local, 1, &remote, 1, 0));
}

static int vm_writev_from(io_t *io, char *at, char *peer)
{
	struct iovec local = { at, LEN }, remote = { io->buf, LEN };
	int err = all_of(process_vm_writev(io->peer, &local, 1, &remote, 1, 0));

	local.iov_base = io->buf;
	return err ?: all_of(process_vm_readv(io->peer, &local, 1, &remote, 1, 0));
}

TEST_F(io, process_vm_of_the_other_process)
{
	reads(_metadata, self, vm_readv);
	writes(_metadata, self, EFAULT, vm_writev);
}

TEST_F(io, process_vm_of_the_caller)
{
	reads(_metadata, self, vm_writev_from);
	writes(_metadata, self, EFAULT, vm_readv_into);
}

static int mem_of(pid_t pid)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	return open(path, O_RDWR | O_CLOEXEC);
}

static int mem_write(io_t *io, char *at, char *peer)
{
	int mem = mem_of(io->peer), err = all_of(pwrite(mem, io->new, LEN, (off_t)peer));

	close(mem);
	return err;
}

static int mem_read(io_t *io, char *at, char *peer)
{
	int mem = mem_of(io->peer), err = all_of(pread(mem, io->buf, LEN, (off_t)peer));

	close(mem);
	return err;
}

static int mem_read_into(io_t *io, char *at, char *peer)
{
	int mem = mem_of(io->peer), err = all_of(pread(mem, at, LEN, (off_t)io->new));

	close(mem);
	return err;
}

static int mem_write_from(io_t *io, char *at, char *peer)
{
	int mem = mem_of(io->peer), err = all_of(pwrite(mem, at, LEN, (off_t)io->buf));

	if (!err)
		err = all_of(pread(mem, io->buf, LEN, (off_t)io->buf));
	close(mem);
	return err;
}

TEST_F(io, proc_pid_mem_of_the_other_process)
{
	reads(_metadata, self, mem_read);
	writes(_metadata, self, EIO, mem_write);
}

TEST_F(io, proc_pid_mem_of_the_caller)
{
	reads(_metadata, self, mem_write_from);
	writes(_metadata, self, EFAULT, mem_read_into);
}

TEST_F(io, ptrace)
{
	/* The second is on both sides of the border of two pages. */
	static const uint64_t at[] = { 0, LEN / 2 - 3, LEN - sizeof(long) };
	uint64_t off[2] = { self->at[0] + MARGIN, self->at[1] + MARGIN };
	long word, want, new;
	unsigned int i;
	int status;

	ASSERT_OK(ptrace(PTRACE_SEIZE, self->peer, NULL, NULL));
	ASSERT_OK(ptrace(PTRACE_INTERRUPT, self->peer, NULL, NULL));
	ASSERT_EQ(self->peer, waitpid(self->peer, &status, 0));
	for (i = 0; i < 3; i++) {
		memcpy(&new, self->new + at[i], sizeof(new));
		EXPECT_ERR(EIO, ptrace(PTRACE_POKEDATA, self->peer,
				       self->peer_ro + off[1] + at[i], new));
		errno = 0;
		word = ptrace(PTRACE_PEEKDATA, self->peer, self->peer_ro + off[1] + at[i], NULL);
		EXPECT_EQ(0, errno);
		memcpy(&want, self->expect[1] + MARGIN + at[i], sizeof(want));
		EXPECT_EQ(want, word);
		errno = 0;
		word = ptrace(PTRACE_PEEKDATA, self->peer, self->peer_rw + off[0] + at[i], NULL);
		EXPECT_EQ(0, errno);
		memcpy(&want, self->expect[0] + MARGIN + at[i], sizeof(want));
		EXPECT_EQ(want, word);
		EXPECT_OK(ptrace(PTRACE_POKEDATA, self->peer, self->peer_rw + off[0] + at[i],
				 new));
		memcpy(self->expect[0] + MARGIN + at[i], &new, sizeof(new));
	}
	EXPECT_OK(ptrace(PTRACE_DETACH, self->peer, NULL, NULL));
}

TEST_F(io, futex)
{
	uint64_t a = self->at[0] + MARGIN, b = self->at[1] + MARGIN;
	uint32_t mine = 0, is, set = 0x66;
	int op = FUTEX_OP(FUTEX_OP_SET, set, FUTEX_OP_CMP_EQ, 1), i, woken = 0;
	struct timespec now = {};
	pid_t pid;

	memcpy(&is, self->expect[1] + MARGIN, sizeof(is));
	EXPECT_ERR(EAGAIN, syscall(SYS_futex, self->ro + b, FUTEX_WAIT, is + 1, &now, NULL, 0));
	EXPECT_ERR(ETIMEDOUT, syscall(SYS_futex, self->ro + b, FUTEX_WAIT, is, &now, NULL, 0));
	EXPECT_ERR(EFAULT, syscall(SYS_futex, &mine, FUTEX_WAKE_OP, 1, 1UL, self->ro + b, op));
	EXPECT_EQ(0, syscall(SYS_futex, &mine, FUTEX_WAKE_OP, 1, 1UL, self->rw + a, op));
	memcpy(self->expect[0] + MARGIN, &set, sizeof(set));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		CHILD_CHECK(!syscall(SYS_futex, self->two + a, FUTEX_WAIT, set, NULL, NULL, 0));
		_exit(0);
	}
	/* The waiter is found although the page is elsewhere by then. */
	if (variant->pages == SWAPPED)
		EXPECT_TRUE(swap_out(self, variant->size));
	for (i = 0; i < 6000 && !woken; i++) {
		woken = syscall(SYS_futex, self->rw + a, FUTEX_WAKE, 1, NULL, NULL, 0);
		sleep_ms(woken ? 0 : 5);
	}
	EXPECT_EQ(1, woken);
	if (woken != 1)
		kill(pid, SIGKILL);
	EXPECT_EQ(0, wait_for(pid));
}

/* Words outside of the windows, at the start of the object: they begin as 0. */
#define WORD(addr, n)	((volatile uint32_t *)((addr) + (n) * PAGE))

TEST_F(io, a_lock_that_the_kernel_takes)
{
	volatile uint32_t *lock = WORD(self->two, 0), *forbidden = WORD(self->ro, 1);

	EXPECT_ERR(EFAULT, syscall(SYS_futex, forbidden, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
	ASSERT_OK(syscall(SYS_futex, lock, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
	EXPECT_EQ(getpid(), *WORD(self->rw, 0));
	EXPECT_OK(syscall(SYS_futex, lock, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
	EXPECT_EQ(0, *lock);
	EXPECT_EQ(0, *forbidden);
}

/* Of two processes, the second of which tells the kernel of words it may only read. */
struct deaths {
	int ready, go;
};

static volatile struct deaths *deaths;

static void *ends_with_a_word(void *tid)
{
	syscall(SYS_set_tid_address, tid);
	__atomic_add_fetch(&deaths->ready, 1, __ATOMIC_SEQ_CST);
	while (!deaths->go)
		sleep_ms(1);
	syscall(SYS_exit, 0);
	return NULL;
}

static void dies_with_a_lock(io_t *io, char *at, int n)
{
	struct robust_list_head head = {
		.list.next = &head.list,
		.list_op_pending = (struct robust_list *)WORD(at, n),
	};
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	*WORD(io->rw, n) = getpid();
	*WORD(io->rw, n + 1) = 1;
	CHILD_CHECK(!syscall(SYS_set_robust_list, &head, sizeof(head)));
	CHILD_CHECK(!pthread_create(&thread, NULL, ends_with_a_word, (void *)WORD(at, n + 1)));
	for (;;)
		pause();
}

static nlink_t threads(pid_t pid)
{
	struct stat st = {};
	char path[64];

	sprintf(path, "/proc/%d/task", pid);
	return stat(path, &st) ? 0 : st.st_nlink - 2;
}

TEST_F(io, what_the_kernel_writes_when_a_task_ends)
{
	char *at[2] = { self->rw, self->ro };
	pid_t pid[2];
	int i;

	deaths = shared_page();
	for (i = 0; i < 2; i++) {
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (!pid[i])
			dies_with_a_lock(self, at[i], 2 + 2 * i);
	}
	ASSERT_TRUE(BECOMES(deaths->ready == 2));
	/* A thread: its word becomes 0. */
	ASSERT_TRUE(pages_go(self, variant->pages, variant->size, variant->page));
	deaths->go = 1;
	for (i = 0; i < 2; i++)
		EXPECT_TRUE(BECOMES(threads(pid[i]) == 1));
	EXPECT_EQ(0, *WORD(self->two, 3));
	EXPECT_EQ(1, *WORD(self->two, 5));
	/* A process: the waiter for its lock learns that it is dead. */
	ASSERT_TRUE(pages_go(self, variant->pages, variant->size, variant->page));
	for (i = 0; i < 2; i++) {
		kill(pid[i], SIGKILL);
		EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(pid[i]));
	}
	EXPECT_EQ(FUTEX_OWNER_DIED, *WORD(self->two, 2));
	EXPECT_EQ(pid[1], *WORD(self->two, 4));
	/* A giant page is there for others, too. */
	for (i = 2; i < 6; i++)
		*WORD(self->rw, i) = 0;
}

/* Pipes and sockets */

static bool pipe_open(int *pair)
{
	return !pipe2(pair, O_CLOEXEC) && fcntl(pair[1], F_SETPIPE_SZ, (int)MIB) >= (int)MIB;
}

static void pair_close(int *pair)
{
	close(pair[0]);
	close(pair[1]);
}

static int vmsplice_from(io_t *io, char *at, char *peer)
{
	struct iovec iov = { at, LEN };
	int pair[2], err = EIO;

	if (pipe_open(pair))
		err = all_of(vmsplice(pair[1], &iov, 1, 0));
	if (!err)
		err = all_of(read(pair[0], io->buf, LEN));
	pair_close(pair);
	return err;
}

static int vmsplice_to(io_t *io, char *at, char *peer)
{
	struct iovec iov = { at, LEN };
	int pair[2], err = EIO;

	if (pipe_open(pair) && write(pair[1], io->new, LEN) == LEN)
		err = all_of(vmsplice(pair[0], &iov, 1, 0));
	pair_close(pair);
	return err;
}

TEST_F(io, vmsplice)
{
	reads(_metadata, self, vmsplice_from);
	writes(_metadata, self, EFAULT, vmsplice_to);
}

TEST_F(io, vmsplice_lends_the_pages_themselves)
{
	uint64_t a = self->at[0] + MARGIN;
	struct iovec iov = { self->rw + a, LEN };
	int pair[2];

	ASSERT_TRUE(pipe_open(pair));
	ASSERT_EQ(LEN, vmsplice(pair[1], &iov, 1, 0));
	memcpy(self->two + a, self->new, LEN);
	memcpy(self->expect[0] + MARGIN, self->new, LEN);
	EXPECT_EQ(LEN, read(pair[0], self->buf, LEN));
	EXPECT_EQ(0, memcmp(self->new, self->buf, LEN));
}

/* Given away they go to a file, and are not the file's afterwards. */
static int vmsplice_gift(io_t *io, char *at, char *peer)
{
	int file = file_with(io->new), pair[2], err = EIO;
	struct iovec iov = { at, LEN };
	loff_t to = 0;

	if (pipe_open(pair))
		err = all_of(vmsplice(pair[1], &iov, 1, SPLICE_F_GIFT));
	if (!err)
		err = all_of(splice(pair[0], NULL, file, &to, LEN, SPLICE_F_MOVE));
	if (!err)
		err = all_of(pread(file, io->buf, LEN, 0));
	/* Not seen in the memory, when the test ends. */
	if (!err)
		err = all_of(pwrite(file, io->new, LEN, 0));
	pair_close(pair);
	close(file);
	return err;
}

TEST_F(io, vmsplice_with_GIFT)
{
	reads(_metadata, self, vmsplice_gift);
}

/* A TCP connection of this machine to itself. */
static bool tcp_pair(int *pair)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), size = 256 * KIB;
	socklen_t len = sizeof(addr);

	pair[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(l, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (bind(l, (void *)&addr, len) || listen(l, 1) || getsockname(l, (void *)&addr, &len) ||
	    connect(pair[1], (void *)&addr, len)) {
		fprintf(stderr, "# no TCP to 127.0.0.1: %m\n");
		return false;
	}
	pair[0] = accept(l, NULL, NULL);
	close(l);
	return pair[0] >= 0;
}

static int zerocopy(io_t *io, char *at, char *peer)
{
	char control[256];
	struct msghdr msg = { .msg_control = control, .msg_controllen = sizeof(control) };
	struct sock_extended_err *ee;
	struct pollfd told = { .events = 0 };
	int pair[2], err = EIO, one = 1;

	if (!tcp_pair(pair))
		return EIO;
	told.fd = pair[1];
	if (!setsockopt(pair[1], SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)))
		err = all_of(send(pair[1], at, LEN, MSG_ZEROCOPY));
	if (!err)
		err = all_of(recv(pair[0], io->buf, LEN, MSG_WAITALL));
	/* The pages are ours again when that is told. */
	if (!err && (poll(&told, 1, 60000) != 1 || recvmsg(pair[1], &msg, MSG_ERRQUEUE) < 0 ||
		     !CMSG_FIRSTHDR(&msg))) {
		err = EPROTO;
	} else if (!err) {
		ee = (void *)CMSG_DATA(CMSG_FIRSTHDR(&msg));
		if (ee->ee_origin != SO_EE_ORIGIN_ZEROCOPY || ee->ee_errno)
			err = EPROTO;
	}
	pair_close(pair);
	return err;
}

static int tcp_receive(io_t *io, char *at, char *peer)
{
	int pair[2], err = EIO;

	if (!tcp_pair(pair))
		return EIO;
	if (send(pair[1], io->new, LEN, 0) == LEN)
		err = all_of(recv(pair[0], at, LEN, MSG_WAITALL));
	pair_close(pair);
	return err;
}

TEST_F(io, MSG_ZEROCOPY_over_TCP)
{
	reads(_metadata, self, zerocopy);
	writes(_metadata, self, EFAULT, tcp_receive);
}

TEST_F(io, splice_and_sendfile_of_the_object)
{
	uint64_t a = self->at[0] + MARGIN;
	loff_t off = a, to = self->at[1] + MARGIN;
	int pair[2], tcp[2], source;

	ASSERT_TRUE(pipe_open(pair));
	ASSERT_TRUE(tcp_pair(tcp));
	/* What the attachment wrote last is what the file has. */
	memcpy(self->rw + a, self->new, LEN);
	memcpy(self->expect[0] + MARGIN, self->new, LEN);
	if (variant->memfd) {
		/* hugetlbfs has neither, and its files are not written to. */
		EXPECT_ERR(EINVAL, splice(self->file, &off, pair[1], NULL, LEN, 0));
		EXPECT_ERR(EINVAL, sendfile(tcp[1], self->file, &off, LEN));
		return;
	}
	ASSERT_EQ(LEN, splice(self->file, &off, pair[1], NULL, LEN, 0));
	EXPECT_EQ(LEN, read(pair[0], self->buf, LEN));
	EXPECT_EQ(0, memcmp(self->new, self->buf, LEN));
	off = a;
	ASSERT_EQ(LEN, sendfile(tcp[1], self->file, &off, LEN));
	EXPECT_EQ(LEN, recv(tcp[0], self->buf, LEN, MSG_WAITALL));
	EXPECT_EQ(0, memcmp(self->new, self->buf, LEN));

	/* The other direction: to the file, and seen in the attachments. */
	fill(self->new, LEN, LATER);
	source = file_with(self->new);
	ASSERT_EQ(LEN, write(pair[1], self->new, LEN));
	EXPECT_EQ(LEN, splice(pair[0], NULL, self->file, &to, LEN, 0));
	memcpy(self->expect[1] + MARGIN, self->new, LEN);
	off = 0;
	ASSERT_EQ(a, lseek(self->file, a, SEEK_SET));
	EXPECT_EQ(LEN, sendfile(self->file, source, &off, LEN));
	memcpy(self->expect[0] + MARGIN, self->new, LEN);
}

TEST(a_giant_page_that_was_never_touched)
{
	int fd = region(GIB), mem = open("/proc/self/mem", O_RDWR);
	char *rw, *ro, *buf = mmap(NULL, 2 * LEN, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int file;

	if (giant < 0)
		SKIP(return, "no huge pages of 1 GiB");
	NEED_DISK();
	ASSERT_NE(MAP_FAILED, buf);
	fill(buf, LEN, NEW);
	file = direct_file(buf);
	ASSERT_LE(0, file);
	rw = mshare_attach(fd, NULL, 0);
	ro = mshare_attach(fd, NULL, MSHARE_ATTACH_RDONLY);
	ASSERT_NE(MAP_FAILED, rw);
	ASSERT_NE(MAP_FAILED, ro);
	ASSERT_EQ(0, map_file(fd, 0, GIB, RW, giant));
	/* There may have been something in the tests before. */
	ASSERT_OK(mshare_advise(fd, 0, GIB, MADV_REMOVE, 0));
	ASSERT_EQ(0, stat_of(fd).resident);
	EXPECT_ERR(EFAULT, pread(file, ro, LEN, 0));
	EXPECT_EQ(0, stat_of(fd).resident);
	EXPECT_EQ(LEN, pread(file, rw + MIB, LEN, 0));
	EXPECT_EQ(0, memcmp(buf, ro + MIB, LEN));
	EXPECT_EQ(GIB, stat_of(fd).resident);

	ASSERT_OK(mshare_advise(fd, 0, GIB, MADV_REMOVE, 0));
	ASSERT_EQ(0, stat_of(fd).resident);
	EXPECT_EQ(LEN, pread(mem, buf, LEN, (off_t)(ro + MIB)));
	EXPECT_EQ(0, memcmp(buf + LEN, buf, LEN));
	EXPECT_EQ(GIB, stat_of(fd).resident);
}

/*
 * Pages of a file on a disk are written back, and may not be pinned for writing for
 * long: their file system would not hear of it.  Through an attachment neither.
 */
static int register_buffer(char *addr)
{
	struct iovec iov = { addr, LEN };
	struct io_uring ring;
	int err = -io_uring_queue_init(4, &ring, 0);

	if (err)
		return err;
	err = -io_uring_register_buffers(&ring, &iov, 1);
	io_uring_queue_exit(&ring);
	return err;
}

TEST(a_file_on_a_disk_is_what_it_is_in_an_ordinary_mapping)
{
	char path[96], *addr, *plain, *on_disk = aligned_alloc(PAGE, LEN);
	int file, source, round, fd;

	NEED_DISK();
	sprintf(path, "%s/object", disk);
	file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0600);
	sprintf(path, "%s/source", disk);
	source = open(path, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0600);
	ASSERT_LE(0, file);
	ASSERT_LE(0, source);
	fill(on_disk, LEN, NEW);
	ASSERT_EQ(LEN, pwrite(source, on_disk, LEN, 0));
	fill(on_disk, LEN, OLD);
	ASSERT_EQ(LEN, pwrite(file, on_disk, LEN, 0));
	addr = file_region(&fd, file, LEN);
	ASSERT_NE(NULL, addr);
	plain = mmap(NULL, LEN, RW, MAP_SHARED, file, 0);
	ASSERT_NE(MAP_FAILED, plain);
	/* Entries that are not there, that are, and that are writable. */
	for (round = 0; round < 3; round++) {
		int err = register_buffer(plain);

		EXPECT_NE(0, err);
		EXPECT_EQ(err, register_buffer(addr)) {
			TH_LOG("in round %d", round);
		}
		EXPECT_EQ(0, wrong(addr, LEN, OLD));
		EXPECT_EQ(0, wrong(plain, LEN, OLD));
		if (round == 1)
			fill(addr, LEN, OLD);
	}
	/* For a moment it is allowed, and what was read is on the disk after a sync. */
	for (round = 0; round < 2; round++) {
		ASSERT_OK(mshare_advise(fd, 0, LEN, MADV_DONTNEED, 0));
		ASSERT_EQ(LEN, pread(source, round ? addr : plain, LEN, 0));
		EXPECT_EQ(0, wrong(addr, LEN, NEW));
		EXPECT_EQ(0, wrong(plain, LEN, NEW));
		ASSERT_OK(fsync(file));
		ASSERT_EQ(LEN, pread(file, on_disk, LEN, 0));
		EXPECT_EQ(0, wrong(on_disk, LEN, NEW));
		fill(addr, LEN, OLD);
		ASSERT_OK(fsync(file));
		ASSERT_EQ(LEN, pread(file, on_disk, LEN, 0));
		EXPECT_EQ(0, wrong(on_disk, LEN, OLD));
	}
	ASSERT_OK(mshare_detach(addr, 0));
	ASSERT_OK(close(fd));
	ASSERT_OK(munmap(plain, LEN));
	EXPECT_EQ(0, settled());
	close(file);
	close(source);
}

/* What is slow to make, once for all. */
static bool disk_make(void)
{
	static const char dir[] = "/tmp/mst-io.XXXXXX";

	strcpy(disk, dir);
	mount("none", "/sys/kernel/config", "configfs", 0, NULL);
	if (mkdir(NULLB, 0755) || !write_number(NULLB "/size", 64) ||
	    !write_number(NULLB "/memory_backed", 1) || !write_number(NULLB "/power", 1))
		return false;
	if (system("{ mkfs.ext4 -qF /dev/mst || busybox mke2fs -F /dev/mst; } >/dev/null 2>&1"))
		return false;
	return mkdtemp(disk) && !mount("/dev/mst", disk, "ext4", 0, NULL);
}

static bool zram_swap(void)
{
	write_number("/sys/block/zram0/reset", 1);
	return write_number("/sys/block/zram0/disksize", 64 * MIB) && swap_on(ZRAM);
}

static void clean_up(void)
{
	swapoff(ZRAM);
	write_number("/sys/block/zram0/reset", 1);
	umount(disk);
	rmdir(disk);
	rmdir(NULLB);
}

int main(int argc, char **argv)
{
	/* Nothing is touched where the tests cannot run. */
	if (mshare_abi_version() < 1)
		return test_harness_run(argc, argv);
	atexit(clean_up);
	if (!disk_make()) {
		fprintf(stderr, "# no ext4 on null_blk: %m\n");
		*disk = 0;
	}
	if (!zram_swap())
		fprintf(stderr, "# no swap on zram: %m\n");
	if (huge_pages(GIB, 1))
		giant = memfd(GIB, MFD_HUGETLB | MAP_HUGE_1GB);
	return test_harness_run(argc, argv);
}
