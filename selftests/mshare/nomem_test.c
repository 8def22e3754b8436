// SPDX-License-Identifier: GPL-2.0
/*
 * Every allocation that a call makes fails once, one in each round: the call
 * fails and changes nothing, or does without.  Wants fault injection
 * (/proc/self/fail-nth), which only the debug kernel has; what leaks is seen by
 * kmemleak after the tests.  The kernel prints a call trace when fork gets no stack.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <sys/rseq.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define LEN	(256 * KIB)
#define ROUNDS	5000	/* no call makes that many */
#define EXIT_RETURNED	77	/* not a status of CHILD_CHECK() */

static const char *const faults[] = { "failslab", "fail_page_alloc", "fail_usercopy" };

/* Allocations that may sleep fail too, and no messages are printed. */
static bool injection(void)
{
	static const struct { const char *name, *value; } set[] = {
		{ "verbose", "0" }, { "ignore-gfp-wait", "N" }, { "ignore-gfp-highmem", "N" },
		{ "cache-filter", "N" }, { "min-order", "0" }, { "probability", "0" },
	};
	char path[100];
	unsigned int i, j;

	if (access("/proc/thread-self/fail-nth", W_OK))
		return false;
	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		for (j = 0; j < sizeof(set) / sizeof(set[0]); j++) {
			snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", faults[i],
				 set[j].name);
			if (!access(path, F_OK) && !write_text(path, set[j].value))
				return false;
		}
	}
	return !access("/sys/kernel/debug/failslab/ignore-gfp-wait", F_OK);
}

/*
 * On the way back from a fork that was preempted the kernel writes the number of the
 * CPU into the C library's restartable sequences.  That page has just become one to
 * copy on write: without memory for the copy the kernel sends SIGSEGV.
 */
static bool no_restartable_sequences(void)
{
	char *area = (char *)__builtin_thread_pointer() + __rseq_offset;

	/* Registered with the size of the first version, or of what it has. */
	return !__rseq_size ||
	       !syscall(SYS_rseq, area, __rseq_size < 32 ? 32 : __rseq_size,
			RSEQ_FLAG_UNREGISTER, RSEQ_SIG);
}

FIXTURE(nomem) {
	int fd;
	char *addr;
	int nth;	/* of this thread: /proc/thread-self/fail-nth */
	struct snap before;
	long long regions, attachments;
	bool may_split;	/* objects with equal attributes */
	int also;	/* an errno for no memory that the call has, too */
	int came, failed;	/* rounds in which something did */
};

FIXTURE_SETUP(nomem)
{
	if (!injection())
		SKIP(return, "no fault injection in this kernel");
	ASSERT_TRUE(no_restartable_sequences());
	/* The region of the test before is gone: they are counted. */
	ASSERT_EQ(0, settled());
	self->addr = filled_region(&self->fd, 0, LEN);
	ASSERT_NE(NULL, self->addr);
	self->nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->nth);
}

FIXTURE_TEARDOWN(nomem)
{
}

/* The next allocation but N - 1 fails. */
static void arm(FIXTURE_DATA(nomem) *self, int n)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", n);
	/* The copy of the text may be what fails, once. */
	while (pwrite(self->nth, text, strlen(text), 0) < 0)
		;
}

/* Disarms; did that one come? */
static bool came(FIXTURE_DATA(nomem) *self)
{
	char text[16] = "";
	int err = errno;
	/* If it comes here, it did not come before. */
	bool before = pread(self->nth, text, sizeof(text) - 1, 0) > 0 && !atoi(text);

	arm(self, 0);
	errno = err;
	return before;
}

/* As if there were one object, where a call that fails may split one. */
static struct snap take(FIXTURE_DATA(nomem) *self)
{
	struct snap s = snap_take(self->fd, self->addr, LEN);

	if (self->may_split) {
		s.st.objects = 1;
		*s.fdinfo = 0;
	}
	return s;
}

static void remember(FIXTURE_DATA(nomem) *self)
{
	self->before = take(self);
	self->regions = sys_mshare("regions");
	self->attachments = sys_mshare("attachments");
}

static void forget(struct snap *s)
{
	free(s->smaps);
	free(s->fdinfo);
}

/* What is quick to see, after each round. */
static bool quickly(FIXTURE_DATA(nomem) *self)
{
	struct mshare_stat st = stat_of(self->fd);

	st.faults = 0;
	if (self->may_split)
		st.objects = 1;
	return !memcmp(&st, &self->before.st, sizeof(st));
}

/* All of it. */
static void unchanged(struct __test_metadata *_metadata, FIXTURE_DATA(nomem) *self, int n)
{
	struct snap after = take(self);

	EXPECT_TRUE(snap_same(&self->before, &after)) {
		TH_LOG("allocation %d", n);
	}
	EXPECT_EQ(self->attachments, sys_mshare("attachments"));
	/* What was made in part goes a little later. */
	EXPECT_TRUE(sys_mshare_becomes("regions", self->regions));
	forget(&after);
}

/*
 * For each allocation that CALL makes: it fails with ENOMEM (or EFAULT, copies
 * from and to the caller count as allocations) and nothing has changed, or has
 * done its work all the same.  UNDO takes that back.  With CAN_FAIL there is an
 * allocation that it cannot do without.
 */
#define EACH(can_fail, call, undo) do {						\
	bool __came = true;							\
	int __n;								\
	remember(self);								\
	for (__n = 1; __came && __n < ROUNDS; __n++) {				\
		long long __ret;						\
		int __err;							\
		arm(self, __n);							\
		__ret = (long long)(call);					\
		__err = errno;							\
		__came = came(self);						\
		self->came += __came;						\
		if (__ret != -1) {						\
			undo;							\
		} else {							\
			self->failed++;						\
			EXPECT_TRUE(__came &&					\
				    (__err == ENOMEM || __err == EFAULT ||	\
				     (self->also && __err == self->also))) {	\
				TH_LOG("allocation %d: %s", __n, strerror(__err)); \
			}							\
		}								\
		if (!quickly(self) || !__test_passed(_metadata))		\
			break;							\
	}									\
	unchanged(_metadata, self, __n);					\
	/* There were some, and an end of them. */				\
	TH_LOG("%d allocations, %d failures", self->came, self->failed);	\
	EXPECT_LT(0, self->came);						\
	EXPECT_EQ(can_fail, self->failed > 0);					\
	EXPECT_FALSE(__came);							\
	forget(&self->before);							\
} while (0)

TEST_F(nomem, create)
{
	EACH(true, mshare_create("nomem", 0), close((int)__ret));
}

TEST_F(nomem, ftruncate)
{
	int fd = -1;

	/* The first size: the place is chosen, and each slot gets a table. */
	EACH(true, ({
		int failed;

		if (fd < 0) {
			arm(self, 0);
			fd = region(0);
			arm(self, __n);
		}
		failed = ftruncate(fd, 3 * SLOT);
		if (failed) {
			EXPECT_EQ(0, stat_of(fd).size);
			EXPECT_EQ(0, stat_of(fd).pgtable_bytes);
			EXPECT_EQ(0, stat_of(fd).base);
		}
		failed;
	}), close(fd); fd = -1);
}

TEST_F(nomem, attach)
{
	EACH(true, (long)mshare_attach(self->fd, NULL, 0), mshare_detach((void *)__ret, 0));
}

TEST_F(nomem, attach_at_an_address)
{
	EACH(true, (long)mshare_attach(self->fd, (void *)(9 * SLOT), MSHARE_ATTACH_RDONLY),
	     mshare_detach((void *)__ret, 0));
}

TEST_F(nomem, detach)
{
	char *second = mshare_attach(self->fd, NULL, 0);

	ASSERT_NE(MAP_FAILED, second);
	/* Of those that end well there is a new one, at the same place. */
	EACH(false, mshare_detach(second, 0), mshare_attach(self->fd, second, 0));
}

TEST_F(nomem, map)
{
	EACH(true, map_anon(self->fd, 64 * MIB, LEN, RW), mshare_unmap(self->fd, 64 * MIB, LEN, 0));
}

TEST_F(nomem, map_of_a_file)
{
	int file = memfd(LEN, 0);

	EACH(true, map_file(self->fd, MSHARE_ANY_OFFSET, LEN, RW, file),
	     mshare_unmap(self->fd, __ret, LEN, 0));
}

TEST_F(nomem, map_over_what_is_there)
{
	int file = memfd(LEN, 0);
	char *plain = mmap(NULL, LEN, RW, MAP_SHARED, file, 0);

	ASSERT_NE(MAP_FAILED, plain);
	fill(plain, LEN, 1);
	ASSERT_EQ(0, map_obj(self->fd, 0, LEN, RW, MAP_SHARED | MAP_FIXED, file, 0));
	/* With the same content it looks as it did. */
	EACH(true, map_obj(self->fd, 0, LEN, RW, MAP_SHARED | MAP_FIXED, file, 0),
	     sum(self->addr, LEN));
}

TEST_F(nomem, map_with_populate)
{
	/* Populating is no reason to fail. */
	EACH(true, map_obj(self->fd, 64 * MIB, LEN, RW,
			   MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0),
	     mshare_unmap(self->fd, 64 * MIB, LEN, 0));
}

TEST_F(nomem, unmap)
{
	int file = memfd(LEN, 0);

	ASSERT_EQ(64 * MIB, map_file(self->fd, 64 * MIB, LEN, RW, file));
	self->may_split = true;
	EACH(true, mshare_unmap(self->fd, 64 * MIB + PAGE, PAGE, 0),
	     mshare_unmap(self->fd, 64 * MIB, LEN, 0);
	     map_file(self->fd, 64 * MIB, LEN, RW, file));
}

TEST_F(nomem, protect)
{
	/* In the middle: a split. */
	self->may_split = true;
	EACH(true, mshare_protect(self->fd, 64 * KIB, 64 * KIB, PROT_READ, 0),
	     mshare_protect(self->fd, 64 * KIB, 64 * KIB, RW, 0));
}

TEST_F(nomem, advise)
{
	self->may_split = true;
	/* As from madvise(2). */
	self->also = EAGAIN;
	EACH(true, mshare_advise(self->fd, 64 * KIB, 64 * KIB, MADV_RANDOM, 0),
	     mshare_advise(self->fd, 64 * KIB, 64 * KIB, MADV_NORMAL, 0));
}

TEST_F(nomem, stat)
{
	struct mshare_stat st;

	EACH(true, mshare_stat(self->fd, &st, sizeof(st), 0), (void)0);
}

TEST_F_TIMEOUT(nomem, fork, 600)
{
	/* Three regions: the second or third link may be what fails. */
	int fd[2], i;
	char *addr[2];

	for (i = 0; i < 2; i++) {
		addr[i] = filled_region(&fd[i], 0, MIB);
		ASSERT_NE(NULL, addr[i]);
	}
	EACH(true, ({
		pid_t pid = fork();

		if (!pid) {
			CHILD_CHECK(!wrong(self->addr, LEN, 1) && !wrong(addr[0], PAGE, 1) &&
				    !wrong(addr[1], PAGE, 1));
			_exit(0);
		}
		pid;
	}), EXPECT_EQ(0, wait_for(__ret)));
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(1, stat_of(fd[i]).attachments);
		EXPECT_EQ(0, wrong(addr[i], MIB, 1));
	}
}

/*
 * A process that owns a region and has ours, too, ends in the way of END, which
 * returns only if it fails.  This is done once for each allocation that it makes
 * from END on.  Afterwards the owned region is dead, and ours is as it was.
 */
static void ends(struct __test_metadata *_metadata, FIXTURE_DATA(nomem) *self, void (*end)(void))
{
	bool again = true;
	int n, fd, pair[2], status, returned = 0, killed = 0;
	char path[64], byte, *addr;
	long long left;
	siginfo_t info;
	pid_t pid;

	remember(self);
	for (n = 1; again && n < ROUNDS && __test_passed(_metadata); n++) {
		ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			fd = mshare_create("owned", MSHARE_OWNED);
			CHILD_CHECK(fd >= 0 && !ftruncate(fd, GIB));
			addr = mshare_attach(fd, NULL, 0);
			CHILD_CHECK(addr != MAP_FAILED && map_anon(fd, 0, LEN, RW) == 0);
			fill(addr, LEN, 2);
			send_fd(pair[0], fd);
			CHILD_CHECK(read(pair[0], &byte, 1) == 1);
			self->nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
			CHILD_CHECK(self->nth >= 0);
			arm(self, n);
			end();
			/* No page for the arguments, no memory for the program headers. */
			CHILD_CHECK(came(self) && (errno == ENOMEM || errno == EFAULT ||
						   errno == E2BIG || errno == ENOEXEC));
			CHILD_CHECK(!wrong(self->addr, LEN, 1) && !wrong(addr, LEN, 2));
			CHILD_CHECK(!(stat_of(fd).flags & MSHARE_STAT_DEAD));
			_exit(EXIT_RETURNED);
		}
		fd = receive_fd(pair[1]);
		ASSERT_LE(0, fd);
		addr = mshare_attach(fd, NULL, 0);
		ASSERT_NE(MAP_FAILED, addr);
		EXPECT_EQ(0, wrong(addr, LEN, 2));
		ASSERT_EQ(1, write(pair[1], "", 1));
		close(pair[0]);
		close(pair[1]);
		/* What is left to fail can be read until the process is waited for. */
		ASSERT_OK(waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
		snprintf(path, sizeof(path), "/proc/%d/fail-nth", pid);
		left = read_number(path);
		ASSERT_LE(0, left);
		again = !left;
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		returned += WIFEXITED(status) && WEXITSTATUS(status) == EXIT_RETURNED;
		killed += WIFSIGNALED(status);
		/* After the point of no return, a failure of exec kills; then the program may fail. */
		EXPECT_TRUE(!status || (again && (WIFEXITED(status) ?
						  WEXITSTATUS(status) == EXIT_RETURNED ||
						  WEXITSTATUS(status) == 127 :
						  WTERMSIG(status) == SIGKILL ||
						  WTERMSIG(status) == SIGSEGV))) {
			TH_LOG("allocation %d: status %#x", n, status);
		}
		EXPECT_TRUE(BECOMES(stat_of(fd).flags & MSHARE_STAT_DEAD));
		EXPECT_TRUE(BECOMES(!stat_of(fd).resident));
		EXPECT_TRUE(BECOMES(try_load(addr) >> 8 == SIGBUS));
		EXPECT_OK(mshare_detach(addr, 0));
		EXPECT_OK(close(fd));
	}
	TH_LOG("%d allocations, exec failed %d times, and killed %d times", n - 2, returned, killed);
	EXPECT_LT(2, n);
	EXPECT_FALSE(again);
	unchanged(_metadata, self, n);
	forget(&self->before);
}

static void exits(void)
{
	syscall(SYS_exit_group, 0);
}

/* A static program, in memory: the file system that has it may not bear what fails. */
static int program;

static void executes(void)
{
	char *argv[] = { "true", NULL };

	syscall(SYS_execveat, program, "", argv, argv + 1, AT_EMPTY_PATH);
}

TEST_F_TIMEOUT(nomem, exit_of_an_owner, 600)
{
	ends(_metadata, self, exits);
}

TEST_F_TIMEOUT(nomem, exec_of_an_owner, 1200)
{
	int busybox = open("/bin/busybox", O_RDONLY | O_CLOEXEC);
	struct stat st;

	ASSERT_OK(fstat(busybox, &st));
	program = memfd(0, 0);
	ASSERT_EQ(st.st_size, sendfile(program, busybox, NULL, st.st_size));
	ends(_metadata, self, executes);
}

TEST_F(nomem, a_page_fault)
{
	bool again = true;
	int n, faults = 0;

	/* It is tried again: no signal, no zeroes where there was something. */
	ASSERT_EQ(64 * MIB, map_anon(self->fd, 64 * MIB, PAGE, RW));
	for (n = 1; again && n < ROUNDS; n++) {
		char *at = self->addr + 64 * MIB;

		arm(self, n);
		*(volatile char *)at = n;
		again = came(self);
		faults += again;
		EXPECT_EQ((char)n, *(volatile char *)at);
		ASSERT_OK(mshare_advise(self->fd, 64 * MIB, PAGE, MADV_REMOVE, 0));
		EXPECT_EQ(0, *(volatile char *)at);
		ASSERT_OK(mshare_unmap(self->fd, 64 * MIB, PAGE, 0));
		ASSERT_EQ(64 * MIB, map_anon(self->fd, 64 * MIB, PAGE, RW));
	}
	EXPECT_LT(0, faults);
	EXPECT_FALSE(again);
}

TEST_F(nomem, open)
{
	int file = memfd(LEN, 0);

	EACH(true, mshare_open(file, 0, 0), close((int)__ret));
}

TEST_F(nomem, open_that_finds_it)
{
	int file = memfd(LEN, 0), first = mshare_open(file, 0, 0);

	ASSERT_LE(0, first);
	EACH(true, mshare_open(file, 0, 0), close((int)__ret));
}

TEST_F(nomem, open_that_grows)
{
	int file = memfd(LEN, 0), first = mshare_open(file, 0, 0);
	uint64_t size = LEN, tables;

	ASSERT_LE(0, first);
	/* Each time by a slot, which wants a table. */
	EACH(true, ({
		int fd;

		arm(self, 0);
		tables = stat_of(first).pgtable_bytes;
		arm(self, __n);
		fd = mshare_open(file, size + SLOT, 0);
		if (fd < 0) {
			int err = errno;

			EXPECT_EQ(size, stat_of(first).size);
			EXPECT_EQ(size, stat_of(first).mapped);
			EXPECT_EQ(tables, stat_of(first).pgtable_bytes);
			errno = err;
		}
		fd;
	}), close((int)__ret); size += SLOT);
	EXPECT_EQ(size, stat_of(first).mapped);
}

TEST_F(nomem, open_that_makes_it_writable)
{
	int file = memfd(LEN, 0), reader, first = -1;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	reader = open(path, O_RDONLY);
	EACH(true, ({
		int fd;

		if (first < 0) {
			arm(self, 0);
			first = mshare_open(reader, 0, 0);
			arm(self, __n);
		}
		/* Larger, too: either both, or none. */
		fd = mshare_open(file, 2 * LEN, 0);
		if (fd < 0) {
			int err = errno;
			char *text;

			snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", first);
			text = slurp(path);
			EXPECT_NE(NULL, strstr(text, " r--s "));
			EXPECT_EQ(LEN, stat_of(first).size);
			free(text);
			errno = err;
		}
		fd;
	}), close((int)__ret); close(first); first = -1);
}

TEST_HARNESS_MAIN
