// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Tests of the library that run on any kernel: without the system calls, behind
 * filters, and with a simulated kernel in a SIGSYS handler, which fails where a
 * real kernel hardly can.  Prints a line for each case and the number of cases.
 * 'host_test valgrind' leaves out the cases that valgrind cannot run.
 */
#define _GNU_SOURCE
#include <mshare.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define PAGE	4096
#define MIB	(1024 * 1024)
#define COUNT(a)	(sizeof(a) / sizeof((a)[0]))

static int failures;

#define CHECK(cond) do {							\
	int __err = errno;							\
	if (!(cond)) {								\
		printf("# %s:%d: %s is false, errno is %s\n", __func__, __LINE__, \
		       #cond, strerror(__err));					\
		failures++;							\
	}									\
} while (0)

/* The call fails in this way. */
#define FAILS(value, error, call) do {						\
	errno = 0;								\
	CHECK((call) == (value));						\
	CHECK(errno == (error));						\
} while (0)

static int fds(void)
{
	int fd, count = 0;

	/* Not by /proc, which some cases hide. */
	for (fd = 0; fd < 1100; fd++)
		count += fcntl(fd, F_GETFD) != -1;
	return count;
}

static int memory_file(uint64_t size, unsigned int flags)
{
	int fd = memfd_create("test", flags);

	CHECK(fd >= 0 && !ftruncate(fd, size));
	return fd;
}

static bool same_file(int a, int b)
{
	struct stat one, two;

	return !fstat(a, &one) && !fstat(b, &two) && one.st_ino == two.st_ino &&
	       one.st_dev == two.st_dev;
}

static int limit_fds(rlim_t most)
{
	struct rlimit lim;

	CHECK(!getrlimit(RLIMIT_NOFILE, &lim));
	lim.rlim_cur = most;
	return setrlimit(RLIMIT_NOFILE, &lim);
}

/* From now on the calls 600 to 608 end in this. */
static void filter(unsigned int action)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 600, 0, 2),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 608, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { COUNT(code), code };

	CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	CHECK(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog));
}

/* The simulated kernel: what each call answers, instead of what it does. */
static struct {
	long answer[9];		/* unless 0 */
	int calls[9];
	bool sealed;		/* regions cannot get a size */
	long size;		/* what another process makes of a region while we attach */
} fake;

static long fake_create(long name, long flags)
{
	int fd;

	if (flags & ~0x80003L)
		return -EINVAL;
	if (flags & MSHARE_QUERY_ABI)
		return name || flags != MSHARE_QUERY_ABI ? -EINVAL : 1;
	fd = memfd_create("fake", MFD_ALLOW_SEALING | (flags & MSHARE_CLOEXEC ? MFD_CLOEXEC : 0));
	if (fake.sealed)
		fcntl(fd, F_ADD_SEALS, F_SEAL_GROW);
	return fd;
}

static long fake_attach(long fd, long flags)
{
	int prot = flags & MSHARE_ATTACH_RDONLY ? PROT_READ : PROT_READ | PROT_WRITE;
	void *addr;

	if (fake.size && ftruncate(fd, fake.size))
		return -EIO;
	addr = mmap(NULL, MIB, prot, MAP_SHARED, fd, 0);
	return addr == MAP_FAILED ? -errno : (long)addr;
}

/* The file passes for its region. */
static long fake_open(long fd, long flags)
{
	long ret;

	if (flags & ~(long)MSHARE_CLOEXEC)
		return -EINVAL;
	ret = fcntl(fd, flags ? F_DUPFD_CLOEXEC : F_DUPFD, 0);
	return ret < 0 ? -errno : ret;
}

static void sigsys(int sig, siginfo_t *info, void *context)
{
	greg_t *reg = ((ucontext_t *)context)->uc_mcontext.gregs;
	int call = info->si_syscall - 600, err = errno;
	long ret = fake.answer[call];

	(void)sig;
	fake.calls[call]++;
	if (!ret && call == 0)
		ret = fake_create(reg[REG_RDI], (unsigned int)reg[REG_RSI]);
	else if (!ret && call == 1)
		ret = fake_attach(reg[REG_RDI], (unsigned int)reg[REG_RDX]);
	else if (!ret && call == 2)
		ret = munmap((void *)reg[REG_RDI], MIB) ? -EINVAL : 0;
	else if (!ret && call == 8)
		ret = fake_open(reg[REG_RDI], (unsigned int)reg[REG_RDX]);
	reg[REG_RAX] = ret;
	errno = err;
}

static void fake_kernel(void)
{
	struct sigaction act = { .sa_sigaction = sigsys, .sa_flags = SA_SIGINFO };

	CHECK(!sigaction(SIGSYS, &act, NULL));
	filter(SECCOMP_RET_TRAP);
}

/* ---- without the system calls */

static const struct mshare_region untouched = { 77, 88, (void *)99, 111 };

static void nothing_works(int error)
{
	struct mshare_region r = untouched;
	struct mshare_map_args args = { .length = PAGE };
	struct mshare_stat st;
	int file = memory_file(PAGE, 0), before = fds();

	FAILS(-1, error, mshare_create("no", 0));
	FAILS(MAP_FAILED, error, mshare_attach(file, NULL, 0));
	FAILS(-1, error, mshare_detach(&st, 0));
	FAILS(-1, error, mshare_map(file, &args, sizeof(args)));
	FAILS(-1, error, mshare_unmap(file, 0, PAGE, 0));
	FAILS(-1, error, mshare_protect(file, 0, PAGE, PROT_READ, 0));
	FAILS(-1, error, mshare_advise(file, 0, PAGE, MADV_NORMAL, 0));
	FAILS(-1, error, mshare_stat(file, &st, sizeof(st), 0));
	FAILS(-1, error, mshare_open(file, 0, 0));
	FAILS(-1, error, mshare_region_open(&r, file, 0, 0));
	FAILS(-1, error, mshare_region_create(&r, "no", PAGE, 0));
	FAILS(-1, error, mshare_region_attach(&r, file, 0));
	FAILS(-1, error, mshare_region_close(&r));
	CHECK(!memcmp(&r, &untouched, sizeof(r)));
	FAILS(-1, error, mshare_reopen_rdonly(file));
	FAILS(0, error, mshare_abi_version());
	CHECK(fds() == before);
}

static void the_running_kernel(void)
{
	long level = syscall(__NR_mshare_create, NULL, MSHARE_QUERY_ABI);
	int error = errno, before = fds();

	if (level == -1)
		return nothing_works(error);
	errno = EXDEV;
	CHECK(mshare_abi_version() == level);
	CHECK(errno == EXDEV);
	CHECK(fds() == before);
}

static void ENOSYS_for_all(void)
{
	filter(SECCOMP_RET_ERRNO | ENOSYS);
	nothing_works(ENOSYS);
}

static void EPERM_for_all(void)
{
	filter(SECCOMP_RET_ERRNO | EPERM);
	nothing_works(EPERM);
}

static void version_of_other_calls(void)
{
	/* 0: it worked, whatever it was. */
	static const int answers[] = { 0, EINVAL, EOPNOTSUPP, EFAULT, EBADF, EACCES, ENOTTY };
	unsigned int i;
	int status;

	for (i = 0; i < COUNT(answers); i++) {
		fflush(stdout);
		if (!fork()) {
			int before = fds();

			filter(SECCOMP_RET_ERRNO | answers[i]);
			FAILS(0, EPROTO, mshare_abi_version());
			CHECK(fds() == before);
			exit(!!failures);
		}
		CHECK(wait(&status) > 0 && !status);
	}
}

static void version_of_a_kernel_that_has_them(void)
{
	int before = fds();

	fake_kernel();
	errno = EXDEV;
	CHECK(mshare_abi_version() == 1);
	CHECK(errno == EXDEV);
	CHECK(fds() == before);
}

/* What answers the query alone; all else is EINVAL as it should be. */
static long query_answer;

static void sigsys_query(int sig, siginfo_t *info, void *context)
{
	greg_t *reg = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)sig;
	(void)info;
	reg[REG_RAX] = !reg[REG_RDI] && reg[REG_RSI] == MSHARE_QUERY_ABI ? query_answer : -EINVAL;
	/* Whoever asks gives away nothing that could be used. */
	CHECK(reg[REG_RDX] == -1 && reg[REG_R10] == -1 && reg[REG_R8] == -1 && reg[REG_R9] == -1);
	CHECK(reg[REG_RDI] == -1 || reg[REG_RSI] == MSHARE_QUERY_ABI);
}

static void version_by_what_the_query_answers(void)
{
	static const struct {
		long answer;
		int level, error;
	} cases[] = {
		{ 1, 1, 0 }, { 2, 2, 0 }, { INT_MAX, INT_MAX, 0 },
		{ 0, 0, EPROTO }, { INT_MAX + 1L, 0, EPROTO }, { 0x7f0000000000, 0, EPROTO },
		{ -EOPNOTSUPP, 0, EOPNOTSUPP }, { -EPERM, 0, EPERM }, { -ENOSYS, 0, ENOSYS },
		{ -EINVAL, 0, EPROTO }, { -EFAULT, 0, EPROTO },
	};
	struct sigaction act = { .sa_sigaction = sigsys_query, .sa_flags = SA_SIGINFO };
	unsigned int i;

	CHECK(!sigaction(SIGSYS, &act, NULL));
	filter(SECCOMP_RET_TRAP);
	for (i = 0; i < COUNT(cases); i++) {
		query_answer = cases[i].answer;
		FAILS(cases[i].level, cases[i].error, mshare_abi_version());
	}
}

/* A call that looks at its second argument only, and then does something. */
static void sigsys_foreign(int sig, siginfo_t *info, void *context)
{
	greg_t *reg = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)sig;
	(void)info;
	reg[REG_RAX] = reg[REG_RSI] & ~7LL ? -EINVAL : 3;
	/* And it was not given descriptor 0. */
	CHECK(reg[REG_RDI] == -1);
}

static void version_of_a_call_that_takes_the_flag(void)
{
	struct sigaction act = { .sa_sigaction = sigsys_foreign, .sa_flags = SA_SIGINFO };

	CHECK(!sigaction(SIGSYS, &act, NULL));
	filter(SECCOMP_RET_TRAP);
	FAILS(0, EPROTO, mshare_abi_version());
}

/* ---- regions */

static void a_region_and_back(void)
{
	struct mshare_region r = untouched, s = untouched;
	int before = fds(), copy;
	char *p;

	fake_kernel();
	errno = EXDEV;
	CHECK(!mshare_region_create(&r, "r", MIB, MSHARE_CLOEXEC));
	CHECK(fcntl(r.fd, F_GETFD) == FD_CLOEXEC);
	CHECK(r.flags == 0 && r.size == MIB);
	p = mshare_ptr(&r, MIB - 1);
	CHECK(p == (char *)r.addr + MIB - 1);
	*p = 5;
	copy = dup(r.fd);
	CHECK(!mshare_region_attach(&s, copy, MSHARE_ATTACH_RDONLY));
	CHECK(s.fd == copy && s.flags == MSHARE_ATTACH_RDONLY && s.size == MIB);
	CHECK(s.addr != r.addr && ((char *)s.addr)[MIB - 1] == 5);
	CHECK(mshare_offset(&s, (char *)s.addr + 7) == 7);
	CHECK(!mshare_region_close(&r));
	CHECK(r.fd == -1 && !r.addr && !r.size && !r.flags);
	CHECK(!mshare_region_close(&s));
	CHECK(errno == EXDEV);
	CHECK(fds() == before);
	CHECK(fake.calls[1] == 2 && fake.calls[2] == 2);
}

static void a_region_that_cannot_be_made(void)
{
	struct mshare_region r = untouched;
	int before = fds();

	fake_kernel();
	FAILS(-1, EINVAL, mshare_region_create(&r, NULL, MIB, MSHARE_QUERY_ABI));
	FAILS(-1, EINVAL, mshare_region_create(&r, "r", MIB, MSHARE_QUERY_ABI | MSHARE_CLOEXEC));
	FAILS(-1, EFBIG, mshare_region_create(&r, "r", 1ULL << 63, 0));
	CHECK(!fake.calls[0]);
	fake.answer[0] = -EDQUOT;
	FAILS(-1, EDQUOT, mshare_region_create(&r, "r", MIB, 0));
	CHECK(fds() == before);
	fake.answer[0] = 0;
	fake.answer[1] = -EBUSY;
	FAILS(-1, EBUSY, mshare_region_create(&r, "r", MIB, 0));
	CHECK(fds() == before);
	fake.answer[3] = -ENOMEM;
	FAILS(-1, ENOMEM, mshare_region_create(&r, "r", MIB, 0));
	CHECK(fds() == before);
	fake.sealed = true;
	FAILS(-1, EPERM, mshare_region_create(&r, "r", MIB, 0));
	CHECK(fds() == before);
	CHECK(fake.calls[0] == 4 && fake.calls[3] == 2 && fake.calls[1] == 1);
	CHECK(!memcmp(&r, &untouched, sizeof(r)));
}

static void a_region_that_cannot_be_attached(void)
{
	struct mshare_region r = untouched;
	int file = memory_file(MIB, 0), before = fds();

	fake_kernel();
	fake.answer[1] = -EBADFD;
	FAILS(-1, EBADFD, mshare_region_attach(&r, file, 0));
	FAILS(-1, EBADF, mshare_region_attach(&r, -1, 0));
	FAILS(-1, EBADF, mshare_region_attach(&r, 1099, 0));
	CHECK(fake.calls[1] == 1);
	CHECK(!memcmp(&r, &untouched, sizeof(r)));
	CHECK(fds() == before);
}

static void a_file_is_attached_for_what_it_is_open_for(void)
{
	int file = memory_file(MIB, 0), reader, before;
	struct mshare_region r = untouched;
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	reader = open(path, O_RDONLY);
	before = fds();
	fake_kernel();
	errno = EXDEV;
	CHECK(!mshare_region_open(&r, file, 0, 0));
	CHECK(r.fd != file && !fcntl(r.fd, F_GETFD) && !r.flags && r.size == MIB);
	*(char *)r.addr = 1;
	CHECK(!mshare_region_close(&r));
	CHECK(!mshare_region_open(&r, reader, MIB, MSHARE_CLOEXEC | MSHARE_ATTACH_DONTFORK));
	CHECK(fcntl(r.fd, F_GETFD) == FD_CLOEXEC);
	CHECK(r.flags == (MSHARE_ATTACH_RDONLY | MSHARE_ATTACH_DONTFORK));
	CHECK(!mshare_region_close(&r));
	CHECK(!mshare_region_open(&r, file, MIB, MSHARE_ATTACH_RDONLY));
	CHECK(r.flags == MSHARE_ATTACH_RDONLY);
	CHECK(!mshare_region_close(&r));
	CHECK(errno == EXDEV);
	CHECK(fds() == before);
}

static void a_file_that_cannot_be_opened_or_attached(void)
{
	struct mshare_region r = untouched;
	int file = memory_file(MIB, 0), before = fds();

	fake_kernel();
	FAILS(-1, EINVAL, mshare_region_open(&r, file, 0, 8));
	fake.answer[1] = -EBUSY;
	FAILS(-1, EBUSY, mshare_region_open(&r, file, 0, 0));
	fake.answer[8] = -ENODEV;
	FAILS(-1, ENODEV, mshare_region_open(&r, file, 0, 0));
	CHECK(fake.calls[1] == 1 && fake.calls[8] == 3);
	CHECK(!memcmp(&r, &untouched, sizeof(r)));
	CHECK(fds() == before);
}

static void the_smaller_size_counts_if_it_changes_during_attach(void)
{
	struct mshare_region r;
	int file = memory_file(MIB, 0);

	fake_kernel();
	fake.size = 2 * MIB;
	CHECK(!mshare_region_attach(&r, file, 0));
	CHECK(r.size == MIB);
	CHECK(!mshare_detach(r.addr, 0));
	fake.size = PAGE;
	CHECK(!mshare_region_attach(&r, file, 0));
	CHECK(r.size == PAGE);
	CHECK(!mshare_region_close(&r));
}

static void a_region_that_cannot_be_closed(void)
{
	struct mshare_region r, as_it_was;

	fake_kernel();
	CHECK(!mshare_region_create(&r, "r", MIB, 0));
	as_it_was = r;
	fake.answer[2] = -EPERM;
	FAILS(-1, EPERM, mshare_region_close(&r));
	CHECK(!memcmp(&r, &as_it_was, sizeof(r)));
	CHECK(fcntl(r.fd, F_GETFD) == 0);
}

static void pointers_and_offsets(void)
{
	static char place[64];
	struct mshare_region r = { -1, 0, place + 8, 48 }, closed = { -1, 0, NULL, 0 };

	errno = EXDEV;
	CHECK(mshare_ptr(&r, 0) == place + 8);
	CHECK(mshare_ptr(&r, 47) == place + 55);
	CHECK(mshare_offset(&r, place + 8) == 0);
	CHECK(mshare_offset(&r, place + 55) == 47);
	CHECK(errno == EXDEV);
	FAILS(NULL, EINVAL, mshare_ptr(&r, 48));
	FAILS(NULL, EINVAL, mshare_ptr(&r, MSHARE_ANY_OFFSET));
	FAILS(NULL, EINVAL, mshare_ptr(&closed, 0));
	FAILS(MSHARE_ANY_OFFSET, EINVAL, mshare_offset(&r, place + 7));
	FAILS(MSHARE_ANY_OFFSET, EINVAL, mshare_offset(&r, place + 56));
	FAILS(MSHARE_ANY_OFFSET, EINVAL, mshare_offset(&r, NULL));
	FAILS(MSHARE_ANY_OFFSET, EINVAL, mshare_offset(&closed, NULL));
	FAILS(MSHARE_ANY_OFFSET, EINVAL, mshare_offset(&closed, place));
}

/* ---- reopen */

static void reopened(int fd)
{
	int new = mshare_reopen_rdonly(fd);

	CHECK(new >= 0 && new != fd);
	CHECK(same_file(fd, new));
	CHECK((fcntl(new, F_GETFL) & O_ACCMODE) == O_RDONLY);
	CHECK(fcntl(new, F_GETFD) == FD_CLOEXEC);
	CHECK(!close(new));
}

static void *in_a_thread(void *arg)
{
	int fd;

	(void)arg;
	CHECK(!unshare(CLONE_FILES));
	fd = memory_file(PAGE, 0);
	reopened(fd);
	close(fd);
	return NULL;
}

static void reopening(void)
{
	int file = memory_file(PAGE, 0), before, saved;
	pthread_t thread;

	CHECK(dup2(file, 1000) == 1000);
	saved = fcntl(0, F_DUPFD_CLOEXEC, 3);
	CHECK(!dup2(file, 0));
	before = fds();
	fake_kernel();
	reopened(file);
	reopened(1000);
	reopened(0);
	/* The thread's descriptors are not those of the others. */
	CHECK(!pthread_create(&thread, NULL, in_a_thread, NULL));
	CHECK(!pthread_join(thread, NULL));
	fake.answer[7] = -EBADFD;
	FAILS(-1, EBADFD, mshare_reopen_rdonly(file));
	fake.answer[7] = -EBADF;
	FAILS(-1, EBADF, mshare_reopen_rdonly(-1));
	CHECK(fds() == before);
	dup2(saved, 0);
}

static void reopening_what_may_not_be_read(void)
{
	int file = memory_file(PAGE, 0), before = fds();

	fake_kernel();
	CHECK(!fchmod(file, 0200));
	CHECK(!setresuid(1000, 1000, 1000));
	/* Else its /proc/self belongs to root. */
	CHECK(!prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
	FAILS(-1, EACCES, mshare_reopen_rdonly(file));
	CHECK(fds() == before);
}

static void reopening_without_proc(void)
{
	char dir[] = "/tmp/mshare-host_test-XXXXXX";
	int file = memory_file(PAGE, 0), before = fds();

	fake_kernel();
	/* Into a directory that is gone already: nothing is left of it. */
	CHECK(mkdtemp(dir) && !chdir(dir) && !rmdir(dir) && !chroot("."));
	FAILS(-1, ENOENT, mshare_reopen_rdonly(file));
	CHECK(fds() == before);
	/* The leak sanitizer reads /proc when a program ends. */
	fflush(stdout);
	_exit(!!failures);
}

/* ---- sockets */

static void send_raw(int sock, size_t bytes, const int *list, unsigned int count)
{
	char data[64] = "", room[CMSG_SPACE(253 * sizeof(int))] __attribute__((aligned(8))) = "";
	struct iovec iov = { data, bytes };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c = (void *)room;

	if (count) {
		msg.msg_control = room;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(c), list, count * sizeof(int));
	}
	CHECK(sendmsg(sock, &msg, 0) == (ssize_t)bytes);
}

static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM };

static void descriptors_are_handed_over(void)
{
	unsigned int i;

	for (i = 0; i < COUNT(types); i++) {
		int pair[2], before = fds(), a = memory_file(PAGE, 0), b = memory_file(PAGE, 0);
		int c, d;

		CHECK(!socketpair(AF_UNIX, types[i], 0, pair));
		CHECK(!mshare_send_fd(pair[0], a));
		CHECK(!mshare_send_fd(pair[0], b));
		c = mshare_recv_fd(pair[1]);
		d = mshare_recv_fd(pair[1]);
		CHECK(same_file(a, c) && same_file(b, d) && !same_file(c, d));
		CHECK(fcntl(c, F_GETFD) == FD_CLOEXEC && fcntl(d, F_GETFD) == FD_CLOEXEC);
		CHECK(!close(a) && !close(b) && !close(c) && !close(d));
		FAILS(-1, EAGAIN, (fcntl(pair[1], F_SETFL, O_NONBLOCK), mshare_recv_fd(pair[1])));
		CHECK(!close(pair[0]) && !close(pair[1]));
		CHECK(fds() == before);
	}
}

static void the_other_side_is_closed(void)
{
	unsigned int i;

	for (i = 0; i < 2; i++) {
		int pair[2], before = fds(), got;

		/* SIGPIPE would end this. */
		CHECK(!socketpair(AF_UNIX, types[i], 0, pair));
		CHECK(!mshare_send_fd(pair[0], 1));
		CHECK(!close(pair[0]));
		got = mshare_recv_fd(pair[1]);
		CHECK(got >= 0 && !close(got));
		FAILS(-1, ECONNRESET, mshare_recv_fd(pair[1]));
		FAILS(-1, EPIPE, mshare_send_fd(pair[1], 1));
		CHECK(!close(pair[1]));
		CHECK(fds() == before);
	}
}

static void what_cannot_be_sent(void)
{
	int pair[2], inet = socket(AF_INET, SOCK_STREAM, 0), file = memory_file(PAGE, 0), before;

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair));
	before = fds();
	FAILS(-1, EBADF, mshare_send_fd(pair[0], -1));
	FAILS(-1, EBADF, mshare_send_fd(pair[0], 1099));
	FAILS(-1, EBADF, mshare_send_fd(-1, file));
	FAILS(-1, EBADF, mshare_recv_fd(-1));
	FAILS(-1, ENOTSOCK, mshare_send_fd(file, file));
	FAILS(-1, ENOTSOCK, mshare_recv_fd(file));
	CHECK(inet >= 0);
	FAILS(-1, EAFNOSUPPORT, mshare_send_fd(inet, file));
	FAILS(-1, EAGAIN, mshare_recv_fd(pair[1]));
	CHECK(fds() == before);
}

/* Without the check it would arrive as a byte without a descriptor. */
static void other_sockets_send_nothing(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t size = sizeof(addr);
	int listener = socket(AF_INET, SOCK_STREAM, 0), out = socket(AF_INET, SOCK_STREAM, 0), in;
	char byte;

	CHECK(!bind(listener, (void *)&addr, size) && !listen(listener, 1));
	CHECK(!getsockname(listener, (void *)&addr, &size));
	CHECK(!connect(out, (void *)&addr, size));
	in = accept(listener, NULL, NULL);
	CHECK(in >= 0);
	FAILS(-1, EAFNOSUPPORT, mshare_send_fd(out, 1));
	CHECK(!shutdown(out, SHUT_WR));
	CHECK(recv(in, &byte, 1, 0) == 0);
	/* And what comes from there is no message of ours. */
	CHECK(send(in, "x", 1, 0) == 1);
	FAILS(-1, EPROTO, mshare_recv_fd(out));
}

static void messages_of_another_kind(void)
{
	int list[253], pair[2], before, got;
	unsigned int i, n;

	for (i = 0; i < COUNT(list); i++)
		list[i] = 1;
	for (i = 0; i < COUNT(types); i++) {
		CHECK(!socketpair(AF_UNIX, types[i], 0, pair));
		before = fds();
		send_raw(pair[0], 1, NULL, 0);
		FAILS(-1, EPROTO, mshare_recv_fd(pair[1]));
		for (n = 2; n <= 253; n = n < 8 ? n + 1 : n + 35) {
			send_raw(pair[0], 1, list, n);
			FAILS(-1, EPROTO, mshare_recv_fd(pair[1]));
			CHECK(fds() == before);
		}
		if (types[i] != SOCK_STREAM) {
			send_raw(pair[0], 2, list, 1);
			FAILS(-1, EPROTO, mshare_recv_fd(pair[1]));
			send_raw(pair[0], 64, NULL, 0);
			FAILS(-1, EPROTO, mshare_recv_fd(pair[1]));
			send_raw(pair[0], 0, list, 1);
			FAILS(-1, EPROTO, mshare_recv_fd(pair[1]));
			CHECK(fds() == before);
		}
		/* They are consumed. */
		CHECK(!mshare_send_fd(pair[0], 1));
		got = mshare_recv_fd(pair[1]);
		CHECK(got >= 0 && !close(got));
		CHECK(fds() == before);
		CHECK(!close(pair[0]) && !close(pair[1]));
	}
}

static void no_descriptor_is_free(void)
{
	int pair[2], before, got;
	struct rlimit lim;

	CHECK(!getrlimit(RLIMIT_NOFILE, &lim));
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair));
	before = fds();
	CHECK(!mshare_send_fd(pair[0], 1));
	CHECK(!limit_fds(3));
	FAILS(-1, EMFILE, mshare_recv_fd(pair[1]));
	CHECK(!limit_fds(lim.rlim_cur));
	FAILS(-1, EAGAIN, mshare_recv_fd(pair[1]));
	CHECK(fds() == before);
	CHECK(!mshare_send_fd(pair[0], 1));
	got = mshare_recv_fd(pair[1]);
	CHECK(got >= 0 && !close(got));
}

/* A socket can be set to tell more about the sender. */
static void messages_with_more_about_the_sender(void)
{
	/* 76 is SO_PASSPIDFD. */
	static const int options[] = { SO_PASSCRED, SO_TIMESTAMP, SO_PASSSEC, 76 };
	int pair[2], before, got, one = 1;
	unsigned int i;

	CHECK(!socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
	before = fds();
	for (i = 0; i < COUNT(options); i++) {
		/* Not every kernel has all of them. */
		setsockopt(pair[1], SOL_SOCKET, options[i], &one, sizeof(one));
		CHECK(!mshare_send_fd(pair[0], 1));
		got = mshare_recv_fd(pair[1]);
		CHECK(got >= 0 && same_file(got, 1));
		CHECK(!close(got));
		CHECK(fds() == before);
	}
}

static const struct {
	const char *name;
	void (*run)(void);
	bool native;	/* valgrind answers ENOSYS itself, and has its own RLIMIT_NOFILE */
} cases[] = {
#define CASE(name, native)	{ #name, name, native }
	CASE(the_running_kernel, false),
	CASE(ENOSYS_for_all, false),
	CASE(EPERM_for_all, true),
	CASE(version_of_other_calls, true),
	CASE(version_of_a_kernel_that_has_them, true),
	CASE(version_by_what_the_query_answers, true),
	CASE(version_of_a_call_that_takes_the_flag, true),
	CASE(a_region_and_back, true),
	CASE(a_region_that_cannot_be_made, true),
	CASE(a_region_that_cannot_be_attached, true),
	CASE(a_file_is_attached_for_what_it_is_open_for, true),
	CASE(a_file_that_cannot_be_opened_or_attached, true),
	CASE(the_smaller_size_counts_if_it_changes_during_attach, true),
	CASE(a_region_that_cannot_be_closed, true),
	CASE(pointers_and_offsets, false),
	CASE(reopening, true),
	CASE(reopening_what_may_not_be_read, true),
	CASE(reopening_without_proc, true),
	CASE(descriptors_are_handed_over, false),
	CASE(the_other_side_is_closed, false),
	CASE(what_cannot_be_sent, false),
	CASE(other_sockets_send_nothing, false),
	CASE(messages_of_another_kind, false),
	CASE(no_descriptor_is_free, true),
	CASE(messages_with_more_about_the_sender, false),
};

int main(int argc, char **argv)
{
	bool valgrind = argc > 1 && !strcmp(argv[1], "valgrind");
	int bad = 0, ran = 0, status;
	unsigned int i;
	pid_t pid;

	for (i = 0; i < COUNT(cases); i++) {
		if (valgrind && cases[i].native)
			continue;
		fflush(stdout);
		/* A process of its own: filters stay. */
		pid = fork();
		if (!pid) {
			alarm(60);
			cases[i].run();
			exit(!!failures);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			status = -1;
		ran++;
		bad += !!status;
		if (WIFSIGNALED(status))
			printf("# ended by signal %d\n", WTERMSIG(status));
		printf("%s %s\n", status ? "not ok" : "ok", cases[i].name);
	}
	printf("1..%d\n", ran);
	return !!bad;
}
