// SPDX-License-Identifier: GPL-2.0
/*
 * What an access does, made by the processor and by every way the kernel has
 * to access memory for a process.  The variants are places in attachments, the
 * tests are ways to get there; each asks: may it, and is the memory as it was
 * if it may not?
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <liburing.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#define LEN	(16 * KIB)
#define OLD	7	/* seed of what is there before */

FIXTURE(access) {
	int fd;
	char *rw, *ro;		/* attachments */
	char *at;		/* the place */
	char *seen;		/* the same memory, readable; NULL if there is none */
};

FIXTURE_VARIANT(access) {
	bool read_only_attachment;
	uint64_t offset;
	bool huge;
	bool can_read, can_write;
	bool debugger_can_read;	/* as a private or shared mapping with PROT_NONE */
	int fault;
};

FIXTURE_VARIANT_ADD(access, writable) {
	.can_read = true, .can_write = true,
};

FIXTURE_VARIANT_ADD(access, read_only_attachment) {
	.read_only_attachment = true, .can_read = true, .fault = FAULT_ACCERR,
};

FIXTURE_VARIANT_ADD(access, read_only_object) {
	.offset = MIB, .can_read = true, .fault = FAULT_ACCERR,
};

FIXTURE_VARIANT_ADD(access, read_only_both) {
	.read_only_attachment = true, .offset = MIB, .can_read = true, .fault = FAULT_ACCERR,
};

FIXTURE_VARIANT_ADD(access, object_of_PROT_NONE) {
	.offset = 2 * MIB, .debugger_can_read = true, .fault = FAULT_ACCERR,
};

FIXTURE_VARIANT_ADD(access, hole) {
	.offset = 3 * MIB, .fault = FAULT_MAPERR,
};

FIXTURE_VARIANT_ADD(access, past_the_end_of_the_file) {
	.offset = 4 * MIB + PAGE, .fault = FAULT_BUS,
};

FIXTURE_VARIANT_ADD(access, writable_huge_page) {
	.offset = 16 * MIB, .huge = true, .can_read = true, .can_write = true,
};

FIXTURE_VARIANT_ADD(access, read_only_attachment_of_a_huge_page) {
	.read_only_attachment = true, .offset = 16 * MIB, .huge = true, .can_read = true,
	.fault = FAULT_ACCERR,
};

FIXTURE_SETUP(access)
{
	int file = memfd(PAGE, 0);

	self->fd = region(GIB);
	ASSERT_LE(0, self->fd);
	self->rw = mshare_attach(self->fd, NULL, 0);
	self->ro = mshare_attach(self->fd, NULL, MSHARE_ATTACH_RDONLY);
	ASSERT_NE(MAP_FAILED, self->rw);
	ASSERT_NE(MAP_FAILED, self->ro);
	ASSERT_EQ(0, map_anon(self->fd, 0, LEN, RW));
	ASSERT_EQ(MIB, map_anon(self->fd, MIB, LEN, RW));
	ASSERT_EQ(2 * MIB, map_anon(self->fd, 2 * MIB, LEN, RW));
	ASSERT_EQ(4 * MIB, map_file(self->fd, 4 * MIB, PAGE + LEN, RW, file));
	if (variant->huge) {
		if (!huge_pages(HUGE, 1))
			SKIP(return, "no huge pages of 2 MiB");
		ASSERT_EQ(16 * MIB, map_obj(self->fd, 16 * MIB, HUGE, RW,
					    MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0));
	}
	self->at = (variant->read_only_attachment ? self->ro : self->rw) + variant->offset;
	if (variant->offset <= 2 * MIB || variant->huge) {
		/* The entries are there and writable, as gup_fast wants them. */
		self->seen = self->rw + variant->offset;
		fill(self->seen, LEN, OLD);
		sum(self->at, LEN);
	}
	ASSERT_OK(mshare_protect(self->fd, MIB, LEN, PROT_READ, 0));
	ASSERT_OK(mshare_protect(self->fd, 2 * MIB, LEN, PROT_NONE, 0));
}

FIXTURE_TEARDOWN(access)
{
	if (self->seen && !variant->can_write) {
		if (!variant->can_read)
			ASSERT_OK(mshare_protect(self->fd, variant->offset, LEN, PROT_READ, 0));
		EXPECT_EQ(0, wrong(self->seen, LEN, OLD));
	}
}

/* A write of the bytes 'n' was tried and gave ERR. */
static void wrote(struct __test_metadata *_metadata, FIXTURE_DATA(access) *self,
		  const FIXTURE_VARIANT(access) *variant, int err, int want, size_t length)
{
	size_t i;

	if (!variant->can_write) {
		EXPECT_EQ(want, err);
		return;
	}
	EXPECT_EQ(0, err);
	for (i = 0; i < length; i++)
		if (self->seen[i] != 'n')
			break;
	EXPECT_EQ(length, i);
}

/* LENGTH bytes were read to BUF, or not. */
static void was_read(struct __test_metadata *_metadata, bool can_read, int err, int want,
		     const char *buf, size_t length)
{
	if (!can_read) {
		EXPECT_EQ(want, err);
		return;
	}
	EXPECT_EQ(0, err);
	EXPECT_EQ(0, wrong(buf, length, OLD));
}

#define WROTE(err, want, length)	wrote(_metadata, self, variant, err, want, length)
#define WAS_READ(err, want, buf, length) \
	was_read(_metadata, variant->can_read, err, want, buf, length)
#define DEBUGGER_READ(err, want, buf, length) \
	was_read(_metadata, variant->can_read || variant->debugger_can_read, err, want, buf, length)

/* 0 if all was done, else errno; a part done is -2. */
static int all_of(ssize_t ret, size_t length)
{
	return ret == -1 ? errno : ret == (ssize_t)length ? 0 : -2;
}

/* A descriptor on LEN bytes of 'n'. */
static int file_of_n(void)
{
	char buf[LEN];
	int file = memfd(LEN, 0);

	memset(buf, 'n', LEN);
	return pwrite(file, buf, LEN, 0) == LEN ? file : -1;
}

TEST_F(access, load)
{
	EXPECT_EQ(variant->can_read ? FAULT_NONE : variant->fault, try_load(self->at));
	EXPECT_EQ(variant->can_read ? FAULT_NONE : variant->fault, try_load(self->at + LEN - 1));
}

TEST_F(access, store)
{
	int i;

	EXPECT_EQ(variant->can_write ? FAULT_NONE : variant->fault, try_store(self->at, 1));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(variant->can_write ? FAULT_NONE : variant->fault,
			  try_store(self->at + LEN - 1, 1));
}

TEST_F(access, read_2_into_it)
{
	WROTE(all_of(pread(file_of_n(), self->at, LEN, 0), LEN), EFAULT, LEN);
}

TEST_F(access, write_2_from_it)
{
	char buf[LEN];
	int file = memfd(LEN, 0);
	int err = all_of(pwrite(file, self->at, LEN, 0), LEN);

	ASSERT_EQ(LEN, pread(file, buf, LEN, 0));
	WAS_READ(err, EFAULT, buf, LEN);
}

TEST_F(access, O_DIRECT_read_into_it)
{
	char dev[32], *n = mmap(NULL, LEN, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int loop = loop_device(MIB, dev, sizeof(dev)), direct;

	if (loop < 0)
		SKIP(return, "no loop device: %m");
	direct = open(dev, O_RDWR | O_DIRECT);
	ASSERT_LE(0, direct);
	memset(n, 'n', LEN);
	ASSERT_EQ(LEN, pwrite(direct, n, LEN, 0));
	WROTE(all_of(pread(direct, self->at, LEN, 0), LEN), EFAULT, LEN);
}

TEST_F(access, O_DIRECT_write_from_it)
{
	char dev[32], *buf = mmap(NULL, LEN, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int loop = loop_device(MIB, dev, sizeof(dev)), direct, err;

	if (loop < 0)
		SKIP(return, "no loop device: %m");
	direct = open(dev, O_RDWR | O_DIRECT);
	ASSERT_LE(0, direct);
	err = all_of(pwrite(direct, self->at, LEN, 0), LEN);
	ASSERT_EQ(LEN, pread(direct, buf, LEN, 0));
	WAS_READ(err, EFAULT, buf, LEN);
}

TEST_F(access, AIO_O_DIRECT_read_into_it)
{
	char dev[32], *n = mmap(NULL, LEN, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int loop = loop_device(MIB, dev, sizeof(dev)), direct, err;
	aio_context_t ctx = 0;
	struct iocb cb = {}, *cbs[] = { &cb };
	struct io_event event = {};

	if (loop < 0)
		SKIP(return, "no loop device: %m");
	direct = open(dev, O_RDWR | O_DIRECT);
	ASSERT_LE(0, direct);
	memset(n, 'n', LEN);
	ASSERT_EQ(LEN, pwrite(direct, n, LEN, 0));
	ASSERT_OK(syscall(SYS_io_setup, 1, &ctx));
	cb.aio_fildes = direct;
	cb.aio_lio_opcode = IOCB_CMD_PREAD;
	cb.aio_buf = (uint64_t)self->at;
	cb.aio_nbytes = LEN;
	if (syscall(SYS_io_submit, ctx, 1, cbs) != 1) {
		err = errno;
	} else {
		ASSERT_EQ(1, syscall(SYS_io_getevents, ctx, 1, 1, &event, NULL));
		err = event.res == LEN ? 0 : -event.res;
	}
	WROTE(err, EFAULT, LEN);
	syscall(SYS_io_destroy, ctx);
}

TEST_F(access, process_vm_writev)
{
	char buf[LEN];
	struct iovec local = { buf, LEN }, remote = { self->at, LEN };

	memset(buf, 'n', LEN);
	WROTE(all_of(process_vm_writev(getpid(), &local, 1, &remote, 1, 0), LEN), EFAULT, LEN);
}

TEST_F(access, process_vm_writev_to_another_process)
{
	char buf[LEN];
	struct iovec local = { buf, LEN }, remote = { self->at, LEN };
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		pause();
		_exit(0);
	}
	/* We ourselves have nothing there. */
	if (variant->read_only_attachment)
		ASSERT_OK(mshare_detach(self->ro, 0));
	memset(buf, 'n', LEN);
	WROTE(all_of(process_vm_writev(pid, &local, 1, &remote, 1, 0), LEN), EFAULT, LEN);
	kill(pid, SIGKILL);
	wait_for(pid);
}

TEST_F(access, process_vm_readv)
{
	char buf[LEN];
	struct iovec local = { buf, LEN }, remote = { self->at, LEN };

	WAS_READ(all_of(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), LEN), EFAULT, buf,
		 LEN);
}

TEST_F(access, process_vm_readv_into_it)
{
	char buf[LEN];
	struct iovec local = { self->at, LEN }, remote = { buf, LEN };

	memset(buf, 'n', LEN);
	WROTE(all_of(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), LEN), EFAULT, LEN);
}

TEST_F(access, proc_pid_mem)
{
	char buf[LEN];
	int mem = open("/proc/self/mem", O_RDWR);

	ASSERT_LE(0, mem);
	DEBUGGER_READ(all_of(pread(mem, buf, LEN, (off_t)self->at), LEN), EIO, buf, LEN);
	memset(buf, 'n', LEN);
	WROTE(all_of(pwrite(mem, buf, LEN, (off_t)self->at), LEN), EIO, LEN);
}

TEST_F(access, ptrace)
{
	int status;
	long word, n;
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFSTOPPED(status));
	errno = 0;
	word = ptrace(PTRACE_PEEKDATA, pid, self->at, NULL);
	DEBUGGER_READ(errno, EIO, (char *)&word, sizeof(word));
	memset(&n, 'n', sizeof(n));
	WROTE(ptrace(PTRACE_POKEDATA, pid, self->at, n) ? errno : 0, EIO, sizeof(n));
	kill(pid, SIGKILL);
	wait_for(pid);
}

static bool ring_open(struct io_uring *ring)
{
	errno = -io_uring_queue_init(4, ring, 0);
	return !errno;
}

/* One request at a time; buffers that are registered are the first. */
static int ring_do(struct io_uring *ring, int op, int file, void *addr, uint32_t length)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct io_uring_cqe *cqe;
	int res;

	io_uring_prep_rw(op, sqe, file, addr, length, 0);
	res = io_uring_submit_and_wait(ring, 1);
	if (res != 1)
		return res < 0 ? res : -EIO;
	res = io_uring_wait_cqe(ring, &cqe);
	if (res)
		return res;
	res = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return res;
}

TEST_F(access, io_uring_read_into_it)
{
	struct io_uring ring;
	int res;

	if (!ring_open(&ring))
		SKIP(return, "no io_uring: %m");
	res = ring_do(&ring, IORING_OP_READ, file_of_n(), self->at, LEN);
	WROTE(res < 0 ? -res : res == LEN ? 0 : -2, EFAULT, LEN);
}

TEST_F(access, io_uring_fixed_buffer)
{
	struct iovec iov = { self->at, LEN };
	struct io_uring ring;
	int file = file_of_n(), err;

	if (!ring_open(&ring))
		SKIP(return, "no io_uring: %m");
	/* Pinned for writing: a read-only place cannot be registered at all. */
	err = -io_uring_register_buffers(&ring, &iov, 1);
	if (!variant->can_write) {
		EXPECT_EQ(EFAULT, err);
		return;
	}
	ASSERT_EQ(0, err);
	EXPECT_EQ(LEN, ring_do(&ring, IORING_OP_READ_FIXED, file, self->at, LEN));
	WROTE(0, 0, LEN);
	/* The pin holds when the object is gone, and the memory is not another's. */
	if (!variant->huge) {
		ASSERT_OK(mshare_unmap(self->fd, variant->offset, LEN, 0));
		EXPECT_EQ(LEN, ring_do(&ring, IORING_OP_WRITE_FIXED, file, self->at, LEN));
		EXPECT_EQ(FAULT_MAPERR, try_load(self->at));
	}
}

TEST_F(access, vmsplice_from_it)
{
	struct iovec iov = { self->at, LEN };
	int pair[2], err;
	char buf[LEN];

	ASSERT_OK(pipe(pair));
	err = all_of(vmsplice(pair[1], &iov, 1, 0), LEN);
	if (!err)
		ASSERT_EQ(LEN, read(pair[0], buf, LEN));
	WAS_READ(err, EFAULT, buf, LEN);
}

TEST_F(access, futex)
{
	struct timespec now = {};
	uint32_t mine = 0;
	int err;

	/* Another value: EAGAIN says that it was read. */
	err = syscall(SYS_futex, self->at, FUTEX_WAIT, 12345, &now, NULL, 0) ? errno : 0;
	EXPECT_EQ(variant->can_read ? EAGAIN : EFAULT, err);
	err = syscall(SYS_futex, &mine, FUTEX_WAKE_OP, 1, (void *)1, self->at,
		      FUTEX_OP(FUTEX_OP_SET, 0x66, FUTEX_OP_CMP_EQ, 1)) < 0 ? errno : 0;
	EXPECT_EQ(variant->can_write ? 0 : EFAULT, err);
	if (variant->can_write)
		EXPECT_EQ(0x66, *(uint32_t *)self->seen);
	/* Priority inheritance locks by the kernel itself. */
	err = syscall(SYS_futex, self->at, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0) ? errno : 0;
	if (!variant->can_write)
		EXPECT_TRUE(err == EFAULT || (variant->can_read && err)) {
			TH_LOG("FUTEX_TRYLOCK_PI: %s", strerror(err));
		}
}

TEST_F(access, a_structure_of_a_system_call)
{
	int err = syscall(SYS_clock_getres, CLOCK_MONOTONIC, self->at) ? errno : 0;
	EXPECT_EQ(variant->can_write ? 0 : EFAULT, err);
	/* Our own calls on the same region: no deadlock, EFAULT. */
	err = mshare_stat(self->fd, (void *)self->at, 96, 0) ? errno : 0;
	EXPECT_EQ(variant->can_write ? 0 : EFAULT, err);
	if (variant->can_write)
		EXPECT_EQ(stat_of(self->fd).id, ((struct mshare_stat *)self->seen)->id);
	err = mshare_map(self->fd, (void *)self->at, 40) < 0 ? errno : 0;
	EXPECT_EQ(variant->can_read ? EINVAL : EFAULT, err);
}

TEST(a_region_as_source_and_target_of_its_own_file)
{
	/* read(2) of a mapped file into its own mapping, both ways round. */
	int fd = region(GIB), file = memfd(LEN, 0);
	char *addr;

	ASSERT_LE(0, fd);
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_EQ(0, map_file(fd, 0, LEN, RW, file));
	EXPECT_EQ(PAGE, pwrite(file, addr, PAGE, PAGE));
	EXPECT_EQ(PAGE, pread(file, addr, PAGE, 0));
	fill(addr, LEN, 1);
	EXPECT_EQ(LEN, pread(file, addr, LEN, 0));
	EXPECT_EQ(LEN, pwrite(file, addr, LEN, 0));
	EXPECT_EQ(0, wrong(addr, LEN, 1));
}

TEST(a_page_that_was_never_touched)
{
	/* The first access is made by the kernel. */
	int fd = region(GIB), mem = open("/proc/self/mem", O_RDWR);
	char *addr, *ro, buf[LEN];
	struct iovec local = { buf, LEN }, remote;
	struct io_uring ring;

	ASSERT_LE(0, fd);
	addr = mshare_attach(fd, NULL, 0);
	ro = mshare_attach(fd, NULL, MSHARE_ATTACH_RDONLY);
	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_NE(MAP_FAILED, ro);
	ASSERT_EQ(0, map_anon(fd, 0, GIB, RW));
	memset(buf, 'n', LEN);
	EXPECT_EQ(LEN, pread(file_of_n(), addr, LEN, 0));
	EXPECT_EQ('n', addr[LEN - 1]);
	remote = (struct iovec){ addr + MIB, LEN };
	EXPECT_EQ(LEN, process_vm_writev(getpid(), &local, 1, &remote, 1, 0));
	EXPECT_EQ('n', addr[MIB + LEN - 1]);
	EXPECT_EQ(LEN, pwrite(mem, buf, LEN, (off_t)(addr + 2 * MIB)));
	EXPECT_EQ('n', addr[2 * MIB + LEN - 1]);
	if (ring_open(&ring)) {
		struct iovec iov = { addr + 3 * MIB, LEN };

		EXPECT_EQ(0, io_uring_register_buffers(&ring, &iov, 1));
		EXPECT_EQ(LEN, ring_do(&ring, IORING_OP_READ_FIXED, file_of_n(), addr + 3 * MIB,
				       LEN));
		EXPECT_EQ('n', addr[3 * MIB + LEN - 1]);
	}
	/* Through the read-only attachment nothing is made to write to. */
	remote = (struct iovec){ ro + 4 * MIB, LEN };
	EXPECT_ERR(EFAULT, process_vm_writev(getpid(), &local, 1, &remote, 1, 0));
	EXPECT_ERR(EFAULT, pread(file_of_n(), ro + 5 * MIB, LEN, 0));
	EXPECT_EQ(LEN, pread(mem, buf, LEN, (off_t)(ro + 6 * MIB)));
	EXPECT_EQ(0, buf[0]);
	EXPECT_EQ(0, addr[4 * MIB]);
	EXPECT_EQ(0, addr[5 * MIB]);
}

TEST(an_access_across_the_border_of_an_attachment)
{
	int fd = region(SLOT);
	char *addr, *after, buf[2 * PAGE];

	ASSERT_LE(0, fd);
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_EQ(SLOT - PAGE, map_anon(fd, SLOT - PAGE, PAGE, RW));
	after = mmap(addr + SLOT, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
		     -1, 0);
	ASSERT_EQ(addr + SLOT, after);
	memset(buf, 'n', sizeof(buf));
	struct iovec local = { buf, 2 * PAGE }, remote = { after - PAGE, 2 * PAGE };

	EXPECT_EQ(2 * PAGE, process_vm_writev(getpid(), &local, 1, &remote, 1, 0));
	EXPECT_EQ('n', after[-PAGE]);
	EXPECT_EQ('n', after[PAGE - 1]);
	ASSERT_OK(mshare_unmap(fd, SLOT - PAGE, PAGE, 0));
	EXPECT_EQ(FAULT_MAPERR, try_load(after - 1));
	EXPECT_EQ('n', after[0]);
}

TEST(a_debugger_at_any_address_of_the_last_page)
{
	int fd = region(SLOT), mem = open("/proc/self/mem", O_RDWR), status, hole;
	char *addr, *last, byte;
	pid_t pid;
	long word;

	ASSERT_LE(0, fd);
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	last = addr + SLOT - 100;
	for (hole = 1; hole >= 0; hole--) {
		if (!hole) {
			ASSERT_EQ(SLOT - PAGE, map_anon(fd, SLOT - PAGE, PAGE, RW));
			memset(last, 'l', 100);
		}
		if (hole) {
			EXPECT_ERR(EIO, pread(mem, &byte, 1, (off_t)last));
			EXPECT_ERR(EIO, pread(mem, &byte, 1, (off_t)(addr + SLOT - 1)));
			EXPECT_ERR(EIO, pwrite(mem, "w", 1, (off_t)last));
		} else {
			EXPECT_EQ(1, pread(mem, &byte, 1, (off_t)last));
			EXPECT_EQ('l', byte);
			EXPECT_EQ(1, pread(mem, &byte, 1, (off_t)(addr + SLOT - 1)));
			EXPECT_EQ(1, pwrite(mem, "w", 1, (off_t)(last + 50)));
			EXPECT_EQ('w', *(volatile char *)(last + 50));
		}
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			ptrace(PTRACE_TRACEME, 0, NULL, NULL);
			raise(SIGSTOP);
			_exit(0);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		errno = 0;
		word = ptrace(PTRACE_PEEKDATA, pid, last + 3, NULL);
		EXPECT_EQ(hole ? EIO : 0, errno);
		if (!hole)
			EXPECT_EQ(0x6c6c6c6c6c6c6c6cL, word);
		kill(pid, SIGKILL);
		wait_for(pid);
	}
}

TEST(a_debugger_reads_PROT_NONE_as_it_does_in_ordinary_memory)
{
	int fd = region(GIB), mem = open("/proc/self/mem", O_RDWR);
	char *at[2], buf[8];
	int i;

	ASSERT_LE(0, fd);
	at[0] = mmap(NULL, PAGE, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	at[1] = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, at[0]);
	ASSERT_NE(MAP_FAILED, at[1]);
	ASSERT_EQ(0, map_anon(fd, 0, PAGE, PROT_NONE));
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(8, pread(mem, buf, 8, (off_t)at[i]));
		EXPECT_ERR(EIO, pwrite(mem, buf, 8, (off_t)at[i]));
	}
}

/* As of a read-only file behind an ordinary mapping: the mapping is asked first. */
TEST(what_the_attachment_forbids_is_ACCERR_also_where_nothing_is_mapped)
{
	int fd = region(GIB), file = memfd(PAGE, 0);
	char *ro, *exec, *plain;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, map_file(fd, 0, 2 * PAGE, RW | PROT_EXEC, file));
	ro = mshare_attach(fd, NULL, MSHARE_ATTACH_RDONLY);
	exec = mshare_attach(fd, NULL, MSHARE_ATTACH_EXEC);
	plain = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, file, 0);
	ASSERT_NE(MAP_FAILED, ro);
	ASSERT_NE(MAP_FAILED, exec);
	ASSERT_NE(MAP_FAILED, plain);
	/* A hole. */
	EXPECT_EQ(FAULT_MAPERR, try_load(ro + MIB));
	EXPECT_EQ(FAULT_ACCERR, try_store(ro + MIB, 1));
	EXPECT_EQ(FAULT_ACCERR, try_exec(ro + MIB));
	EXPECT_EQ(FAULT_MAPERR, try_exec(exec + MIB));
	/* Past the end of the region, and of a file. */
	EXPECT_EQ(FAULT_ACCERR, try_store(ro + GIB, 1));
	EXPECT_EQ(FAULT_ACCERR, try_store(ro + PAGE, 1));
	EXPECT_EQ(FAULT_BUS, try_load(ro + PAGE));
	EXPECT_EQ(FAULT_ACCERR, try_store(plain + PAGE, 1));
	EXPECT_EQ(FAULT_BUS, try_load(plain + PAGE));
	/* The kernel makes no difference. */
	EXPECT_ERR(EFAULT, pread(file_of_n(), ro + MIB, PAGE, 0));
	EXPECT_ERR(EFAULT, pread(file_of_n(), exec + MIB, PAGE, 0));
}

#ifndef BUS_MCEERR_AR
#define BUS_MCEERR_AR	4
#endif

TEST(a_poisoned_page_is_SIGBUS)
{
	int fd = region(GIB), file = memfd(4 * PAGE, 0), status;
	char *addr;
	pid_t pid;

	ASSERT_LE(0, fd);
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_EQ(0, map_file(fd, 0, 4 * PAGE, RW, file));
	memset(addr, 1, 4 * PAGE);
	/* To be told before an access works for mappings of one's own only. */
	ASSERT_OK(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		char *plain = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, file, 0);

		CHILD_CHECK(plain != MAP_FAILED && plain[PAGE] == 1);
		/* Kills the caller, as if it had hit the page itself. */
		if (madvise(plain + PAGE, PAGE, MADV_HWPOISON))
			_exit(errno == EINVAL || errno == EPERM ? 77 : 1);
		_exit(0);
	}
	status = wait_for(pid);
	if (status == 77)
		SKIP(return, "no MADV_HWPOISON");
	EXPECT_TRUE(status == 0 || status == KILLED_BY(SIGBUS)) {
		TH_LOG("status %d", status);
	}
	EXPECT_EQ(FAULT(SIGBUS, BUS_MCEERR_AR), try_load(addr + PAGE));
	EXPECT_EQ(FAULT(SIGBUS, BUS_MCEERR_AR), try_store(addr + PAGE, 1));
	IN_CHILD(CHILD_CHECK(try_load(addr + PAGE) == FAULT(SIGBUS, BUS_MCEERR_AR)));
	EXPECT_ERR(EFAULT, pwrite(memfd(PAGE, 0), addr + PAGE, PAGE, 0));
	EXPECT_EQ(1, addr[0]);
	EXPECT_EQ(1, addr[2 * PAGE]);
}

TEST_HARNESS_MAIN
