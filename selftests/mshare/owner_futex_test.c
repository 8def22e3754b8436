// SPDX-License-Identifier: GPL-2.0
/*
 * Futexes of an MSHARE_OWNED region when its owner ends: those that it holds are
 * marked before the region goes, and all sleepers wake up.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <liburing.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#ifndef FUTEX2_SIZE_U32
#define FUTEX2_SIZE_U32	2
#endif
#define OP_FUTEX_WAIT	51	/* of io_uring */

static long futex(const void *addr, int op, uint32_t value, const void *timeout, void *other)
{
	return syscall(SYS_futex, addr, op, value, timeout, other, 0);
}

static bool dies(int fd)
{
	return BECOMES(stat_of(fd).flags & MSHARE_STAT_DEAD);
}

/* Is a child in this state of ps(1)? */
static bool is(char state, pid_t pid)
{
	char path[32], *stat;
	bool ret;

	sprintf(path, "/proc/%d/stat", pid);
	stat = slurp(path);
	ret = strrchr(stat, ')')[2] == state;
	free(stat);
	return ret;
}

/* What the owner holds */

#define MARKED	(FUTEX_OWNER_DIED | FUTEX_WAITERS)

/* A mutex that is held, as the kernel sees it. */
struct entry {
	struct robust_list list;
	volatile uint32_t futex;
};

#define PAGES		16
#define HOLDERS		4
/* As many as the kernel follows, so that it takes a while. */
#define LONG_LIST	2000

/* In ordinary memory, shared by owner and test. */
struct outside {
	/* The last one that each thread holds. */
	struct entry last[HOLDERS];
	volatile int holding, go;
	volatile uint32_t tid;
};

/*
 * The calling thread holds a mutex at the start of each of these pages, and the one
 * in ordinary memory, to which its list leads through all of them.
 */
static void hold(char *addr, unsigned int pages, struct entry *last)
{
	static __thread struct robust_list_head head;
	struct robust_list *link = &head.list;
	unsigned int i;

	for (i = 0; i <= pages; i++) {
		struct entry *entry = i < pages ? (void *)(addr + i * PAGE) : last;

		entry->futex = gettid() | FUTEX_WAITERS;
		link->next = &entry->list;
		link = &entry->list;
	}
	link->next = &head.list;
	head.futex_offset = offsetof(struct entry, futex);
	CHILD_CHECK(!syscall(SYS_set_robust_list, &head, sizeof(head)));
}

/* How the pages are when the owner ends. */
enum pages { MAPPED, DROPPED, SWAPPED };
/* How it ends. */
enum end { KILLED, EXITS, BY_THREAD };

struct holder {
	pthread_t thread;
	struct outside *outside;
	char *addr;
	unsigned int nr, pages;
	bool ends;
};

static void *holds(void *arg)
{
	struct holder *me = arg;

	hold(me->addr, me->pages, &me->outside->last[me->nr]);
	__atomic_add_fetch(&me->outside->holding, 1, __ATOMIC_SEQ_CST);
	while (!me->outside->go)
		usleep(1000);
	/* Each by itself, the last one ends the process. */
	if (me->ends)
		syscall(SYS_exit, 0);
	for (;;)
		pause();
	return NULL;
}

/* The pages of the object are those of thread 0, of the others one each follows. */
static void owns(int sock, int file, struct outside *outside, unsigned int pages,
		 enum pages state, enum end end)
{
	uint64_t size = (pages + HOLDERS) * PAGE;
	struct holder holder[HOLDERS];
	int fd, i;
	char *addr;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = mshare_create("held", MSHARE_OWNED);
	CHILD_CHECK(fd >= 0 && !ftruncate(fd, GIB) && !map_file(fd, 0, size, RW, file));
	addr = mshare_attach(fd, NULL, 0);
	CHILD_CHECK(addr != MAP_FAILED);
	for (i = 0; i < HOLDERS; i++) {
		holder[i] = (struct holder) {
			.outside = outside, .nr = i, .pages = i ? 1 : pages,
			.addr = addr + (i ? pages + i - 1 : 0) * PAGE, .ends = end == BY_THREAD,
		};
		CHILD_CHECK(!pthread_create(&holder[i].thread, NULL, holds, &holder[i]));
	}
	while (outside->holding < HOLDERS)
		usleep(1000);
	if (state == DROPPED)
		CHILD_CHECK(!mshare_advise(fd, 0, size, MADV_DONTNEED, 0));
	if (state == SWAPPED)
		CHILD_CHECK(lru_drain() && !mshare_advise(fd, 0, size, MADV_PAGEOUT, 0) &&
			    stat_of(fd).swapped >= size / 2);
	send_fd(sock, fd);
	if (end == EXITS) {
		while (!outside->go)
			usleep(1000);
		_exit(0);
	}
	if (end == BY_THREAD)
		syscall(SYS_exit, 0);
	pause();
}

static void owner_ends(struct __test_metadata *_metadata, unsigned int pages, enum pages state,
		       enum end end)
{
	uint64_t size = (pages + HOLDERS) * PAGE;
	struct outside *outside = shared_page();
	unsigned int i, marked = 0;
	int pair[2], fd, file;
	pid_t owner;
	char *plain;

	file = memfd(size, 0);
	ASSERT_LE(0, file);
	plain = mmap(NULL, size, PROT_READ, MAP_SHARED, file, 0);
	ASSERT_NE(MAP_FAILED, plain);
	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	owner = fork();
	ASSERT_LE(0, owner);
	if (!owner)
		owns(pair[0], file, outside, pages, state, end);
	close(pair[0]);
	fd = receive_fd(pair[1]);
	ASSERT_LE(0, fd);
	EXPECT_EQ(MSHARE_STAT_OWNED, stat_of(fd).flags);
	if (end == KILLED)
		kill(owner, SIGKILL);
	outside->go = 1;
	EXPECT_EQ(end == KILLED ? KILLED_BY(SIGKILL) : 0, wait_for(owner));
	EXPECT_TRUE(dies(fd));
	for (i = 0; i < pages + HOLDERS - 1; i++)
		marked += ((struct entry *)(plain + i * PAGE))->futex == MARKED;
	EXPECT_EQ(pages + HOLDERS - 1, marked);
	for (i = 0; i < HOLDERS; i++)
		EXPECT_EQ(MARKED, outside->last[i].futex);
	munmap(plain, size);
	close(file);
	close(fd);
	close(pair[1]);
}

TEST(robust_mutexes_are_marked_before_the_end)
{
	enum end end;

	for (end = KILLED; end <= BY_THREAD; end++)
		owner_ends(_metadata, PAGES, MAPPED, end);
}

TEST(robust_mutexes_in_pages_that_are_not_mapped)
{
	enum end end;

	for (end = KILLED; end <= BY_THREAD; end++)
		owner_ends(_metadata, PAGES, DROPPED, end);
}

TEST(robust_mutexes_in_pages_that_are_swapped_out)
{
	char dev[32];
	int loop = loop_device(32 * MIB, dev, sizeof(dev));
	enum end end;

	if (loop < 0 || !swap_on(dev))
		SKIP(return, "no swap (loop device, mkswap)");
	for (end = KILLED; end <= BY_THREAD; end++)
		owner_ends(_metadata, PAGES, SWAPPED, end);
	EXPECT_OK(swapoff(dev));
}

/* One thread has a long way to go when the last one ends. */
TEST(each_thread_has_marked_its_own_before_the_end)
{
	int round;

	for (round = 0; round < 6; round++)
		owner_ends(_metadata, LONG_LIST, DROPPED, round & 1 ? BY_THREAD : KILLED);
}

/* Shares the memory of the owner, but is a process of its own. */
static int outlives(void *arg)
{
	for (;;)
		pause();
	return 0;
}

TEST(the_thread_id_is_cleared_before_the_end)
{
	struct outside *outside = shared_page();
	int pair[2], fd, file = memfd(PAGE, 0);
	volatile uint32_t *plain;
	pid_t owner;

	ASSERT_LE(0, file);
	plain = mmap(NULL, PAGE, RW, MAP_SHARED, file, 0);
	ASSERT_NE(MAP_FAILED, (void *)plain);
	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	owner = fork();
	ASSERT_LE(0, owner);
	if (!owner) {
		static char stack[64 * KIB];
		char *addr;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fd = mshare_create("thread id", MSHARE_OWNED);
		CHILD_CHECK(fd >= 0 && !ftruncate(fd, GIB) && !map_file(fd, 0, PAGE, RW, file));
		addr = mshare_attach(fd, NULL, 0);
		CHILD_CHECK(addr != MAP_FAILED);
		/* It is cleared only while another task exists that can see it. */
		outside->tid = clone(outlives, stack + sizeof(stack), CLONE_VM, NULL);
		CHILD_CHECK((pid_t)outside->tid > 0);
		*(volatile uint32_t *)addr = syscall(SYS_set_tid_address, addr);
		/* Not in the page table: clearing it takes a fault, which the region must serve. */
		CHILD_CHECK(!mshare_advise(fd, 0, PAGE, MADV_DONTNEED, 0));
		send_fd(pair[0], fd);
		pause();
	}
	fd = receive_fd(pair[1]);
	ASSERT_LE(0, fd);
	EXPECT_EQ(owner, *plain);
	kill(owner, SIGKILL);
	EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(owner));
	EXPECT_TRUE(dies(fd));
	EXPECT_EQ(0, *plain);
	kill(outside->tid, SIGKILL);
}

static void robust_mutex(pthread_mutex_t *mutex, int protocol)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	CHILD_CHECK(!pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED));
	CHILD_CHECK(!pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST));
	CHILD_CHECK(!pthread_mutexattr_setprotocol(&attr, protocol));
	CHILD_CHECK(!pthread_mutex_init(mutex, &attr));
	CHILD_CHECK(!pthread_mutex_lock(mutex));
}

static pid_t locks(pthread_mutex_t *mutex)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	alarm(120);
	/* What the C library has to say when it gives up. */
	dup2(open("/dev/null", O_WRONLY), 2);
	_exit(pthread_mutex_lock(mutex) == EOWNERDEAD ? 42 : 1);
}

static void waiters_of_robust_mutexes(struct __test_metadata *_metadata, int protocol)
{
	pthread_mutex_t *outside = shared_page();
	int pair[2], fd, status;
	pid_t owner, inner, outer;
	char *addr;

	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	owner = fork();
	ASSERT_LE(0, owner);
	if (!owner) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fd = mshare_create("mutex", MSHARE_OWNED);
		CHILD_CHECK(fd >= 0 && !ftruncate(fd, GIB));
		addr = mshare_attach(fd, NULL, 0);
		CHILD_CHECK(addr != MAP_FAILED && !map_anon(fd, 0, PAGE, RW));
		/* The last one that was locked is the first of the list. */
		robust_mutex(outside, protocol);
		robust_mutex((void *)addr, protocol);
		send_fd(pair[0], fd);
		pause();
	}
	fd = receive_fd(pair[1]);
	ASSERT_LE(0, fd);
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	inner = locks((void *)addr);
	outer = locks(outside);
	EXPECT_TRUE(BECOMES(is('S', inner) && is('S', outer)));
	sleep_ms(50);
	kill(owner, SIGKILL);
	EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(owner));
	EXPECT_EQ(42, wait_for(outer));
	/* It may still find the mutex, or no longer; the C library ends it then, too. */
	status = wait_for(inner);
	EXPECT_TRUE(status == 42 || status == KILLED_BY(SIGBUS) ||
		    (protocol == PTHREAD_PRIO_INHERIT && status == KILLED_BY(SIGABRT))) {
		TH_LOG("status %d", status);
	}
}

TEST(waiters_of_robust_mutexes_are_woken)
{
	int round;

	for (round = 0; round < 5; round++)
		waiters_of_robust_mutexes(_metadata, PTHREAD_PRIO_NONE);
}

TEST(waiters_of_robust_priority_inheritance_mutexes_are_woken)
{
	int round;

	for (round = 0; round < 5; round++)
		waiters_of_robust_mutexes(_metadata, PTHREAD_PRIO_INHERIT);
}

/* Sleepers */

FIXTURE(asleep) {
	pid_t owner;
	int fd, file;
	char *addr;
	uint32_t *live;		/* futexes in ordinary memory */
};

FIXTURE_VARIANT(asleep) {
	uint64_t page;
	unsigned int flags;	/* of the file that is the object, or it is anonymous */
	bool file;
};

FIXTURE_VARIANT_ADD(asleep, anonymous) { .page = PAGE };
FIXTURE_VARIANT_ADD(asleep, memfd) { .page = PAGE, .file = true };
FIXTURE_VARIANT_ADD(asleep, huge_page) { .page = HUGE, .file = true, .flags = MFD_HUGETLB };

/* A child that owns the region, with one page or these OBJECTS of one page each. */
static void new_owner(struct __test_metadata *_metadata, FIXTURE_DATA(asleep) *self,
		      uint64_t page, int objects)
{
	int pair[2], i;

	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	self->owner = fork();
	ASSERT_LE(0, self->owner);
	if (!self->owner) {
		int fd = mshare_create("asleep", MSHARE_OWNED);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		CHILD_CHECK(fd >= 0 && !ftruncate(fd, GIB));
		if (self->file >= 0)
			CHILD_CHECK(!map_file(fd, 0, page, RW, self->file));
		for (i = 0; self->file < 0 && i < objects; i++)
			CHILD_CHECK(map_anon(fd, i * PAGE, PAGE, RW) == i * PAGE);
		send_fd(pair[0], fd);
		pause();
	}
	close(pair[0]);
	self->fd = receive_fd(pair[1]);
	close(pair[1]);
	ASSERT_LE(0, self->fd);
	self->addr = mshare_attach(self->fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, self->addr);
}

static void owner_is_killed(struct __test_metadata *_metadata, FIXTURE_DATA(asleep) *self)
{
	kill(self->owner, SIGKILL);
	EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(self->owner));
}

FIXTURE_SETUP(asleep)
{
	self->file = -1;
	if (variant->flags && !huge_pages(HUGE, 1))
		SKIP(return, "no huge page");
	if (variant->file) {
		self->file = memfd(variant->page, variant->flags);
		ASSERT_LE(0, self->file);
	}
	self->live = shared_page();
	new_owner(_metadata, self, variant->page, 1);
}

FIXTURE_TEARDOWN(asleep)
{
	mshare_detach(self->addr, 0);
	close(self->fd);
	if (self->file >= 0)
		close(self->file);
	/* The next one wants the huge page. */
	sys_mshare_becomes("regions", 0);
}

/* Each sleeps in a futex of the region and tells what its call said. */
static int waits(char *at, uint32_t *live)
{
	return futex(at, FUTEX_WAIT, 0, NULL, NULL) ? errno : 0;
}

static int waits_private(char *at, uint32_t *live)
{
	return futex(at, FUTEX_WAIT_PRIVATE, 0, NULL, NULL) ? errno : 0;
}

static void *idles(void *nothing)
{
	pause();
	return nothing;
}

/* A process with threads may have a hash of its own for such futexes. */
static int waits_private_with_threads(char *at, uint32_t *live)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, idles, NULL))
		return -1;
	return waits_private(at, live);
}

static int waits_for_several(char *at, uint32_t *live)
{
	struct futex_waitv several[] = {
		{ .uaddr = (uintptr_t)live, .flags = FUTEX_32 },
		{ .uaddr = (uintptr_t)at, .flags = FUTEX_32 },
	};
	long ret = syscall(SYS_futex_waitv, several, 2, 0, NULL, 0);

	return ret < 0 ? errno : ret != 1;
}

static int waits_by_io_uring(char *at, uint32_t *live)
{
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;
	struct io_uring ring;

	if (io_uring_queue_init(4, &ring, 0))
		return errno;
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_rw(OP_FUTEX_WAIT, sqe, FUTEX2_SIZE_U32, at, 0, 0);
	sqe->addr3 = FUTEX_BITSET_MATCH_ANY;
	if (io_uring_submit_and_wait(&ring, 1) != 1 || io_uring_wait_cqe(&ring, &cqe))
		return errno;
	return -cqe->res;
}

/* The test has these locked, and lives on. */
static int locks_with_priority(char *at, uint32_t *live)
{
	return futex(at + 64, FUTEX_LOCK_PI, 0, NULL, NULL) ? errno : 0;
}

static int waits_for_a_requeue(char *at, uint32_t *live)
{
	return futex(at + 128, FUTEX_WAIT_REQUEUE_PI, 0, NULL, at + 64) ? errno : 0;
}

static int waits_elsewhere_for_a_requeue(char *at, uint32_t *live)
{
	return futex(live + 1, FUTEX_WAIT_REQUEUE_PI, 0, NULL, at + 64) ? errno : 0;
}

static int waits_after_a_requeue(char *at, uint32_t *live)
{
	return futex(live + 2, FUTEX_WAIT_REQUEUE_PI, 0, NULL, at + 64) ? errno : 0;
}

/* What a thread does that knows nothing of all this. */
static int waits_and_looks(char *at, uint32_t *live)
{
	while (!*(volatile uint32_t *)at)
		futex(at, FUTEX_WAIT, 0, NULL, NULL);
	return 1;
}

static const struct {
	int (*call)(char *at, uint32_t *live);
	int status;
} sleepers[] = {
	{ waits, 0 },
	{ waits_private, 0 },
	{ waits_private_with_threads, 0 },
	{ waits_for_several, 0 },
	{ waits_by_io_uring, 0 },
	{ locks_with_priority, EFAULT },
	{ waits_for_a_requeue, EFAULT },
	{ waits_elsewhere_for_a_requeue, EFAULT },
	{ waits_after_a_requeue, EAGAIN },
	{ waits_and_looks, KILLED_BY(SIGBUS) },
};

#define SLEEPERS	(sizeof(sleepers) / sizeof(*sleepers))

static pid_t sleeps(int (*call)(char *at, uint32_t *live), char *at, uint32_t *live)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* SIGALRM reports a process that sleeps for ever. */
	alarm(120);
	_exit(call(at, live));
}

TEST_F(asleep, whoever_sleeps_in_it_wakes_up)
{
	pid_t pid[SLEEPERS];
	unsigned int i;

	ASSERT_OK(futex(self->addr + 64, FUTEX_LOCK_PI, 0, NULL, NULL));
	for (i = 0; i < SLEEPERS; i++) {
		pid[i] = sleeps(sleepers[i].call, self->addr, self->live);
		ASSERT_LE(0, pid[i]);
		EXPECT_TRUE(BECOMES(is('S', pid[i])));
	}
	EXPECT_TRUE(BECOMES(futex(self->live + 2, FUTEX_CMP_REQUEUE_PI, 1, (void *)1,
				  self->addr + 64) == 1));
	sleep_ms(50);
	for (i = 0; i < SLEEPERS; i++)
		EXPECT_EQ(0, waitpid(pid[i], NULL, WNOHANG));
	owner_is_killed(_metadata, self);
	for (i = 0; i < SLEEPERS; i++) {
		int status = wait_for(pid[i]);

		EXPECT_EQ(sleepers[i].status, status) {
			TH_LOG("sleeper %d", i);
		}
	}
	/* Now it is as with memory that was never there. */
	EXPECT_ERR(EFAULT, futex(self->addr, FUTEX_WAIT, 0, NULL, NULL));
	EXPECT_ERR(EFAULT, futex(self->addr, FUTEX_WAIT_PRIVATE, 0, NULL, NULL));
	EXPECT_ERR(EFAULT, futex(self->addr, FUTEX_WAKE, 1, NULL, NULL));
	EXPECT_ERR(EFAULT, futex(self->addr + 64, FUTEX_UNLOCK_PI, 0, NULL, NULL));
	EXPECT_ERR(EFAULT, futex(self->addr + 64, FUTEX_LOCK_PI, 0, NULL, NULL));
}

static int waits_outside(char *at, uint32_t *live)
{
	return futex(live + 3, FUTEX_WAIT, 0, NULL, NULL) ? errno : 0;
}

static int waits_outside_private(char *at, uint32_t *live)
{
	return futex(live + 3, FUTEX_WAIT_PRIVATE, 0, NULL, NULL) ? errno : 0;
}

static int locks_outside(char *at, uint32_t *live)
{
	return futex(live + 4, FUTEX_LOCK_PI, 0, NULL, NULL) ? errno : 0;
}

TEST_F(asleep, whoever_sleeps_elsewhere_sleeps_on)
{
	uint32_t *live = self->live, *plain = NULL;
	pid_t pid[4];
	int i, nr = 0;

	ASSERT_OK(futex(live + 4, FUTEX_LOCK_PI, 0, NULL, NULL));
	pid[nr++] = sleeps(waits_outside, self->addr, live);
	pid[nr++] = sleeps(waits_outside_private, self->addr, live);
	pid[nr++] = sleeps(locks_outside, self->addr, live);
	if (variant->file) {
		/* The same file, in an ordinary mapping: a waiter for a lock sleeps on. */
		plain = mmap(NULL, variant->page, RW, MAP_SHARED, self->file, 0);
		ASSERT_NE(MAP_FAILED, (void *)plain);
		ASSERT_OK(futex(plain + 4, FUTEX_LOCK_PI, 0, NULL, NULL));
		pid[nr++] = sleeps(locks_outside, self->addr, plain);
	}
	for (i = 0; i < nr; i++)
		EXPECT_TRUE(BECOMES(is('S', pid[i])));
	sleep_ms(50);
	owner_is_killed(_metadata, self);
	EXPECT_TRUE(dies(self->fd));
	EXPECT_TRUE(BECOMES(!stat_of(self->fd).resident));
	sleep_ms(100);
	for (i = 0; i < nr; i++) {
		EXPECT_EQ(0, waitpid(pid[i], NULL, WNOHANG));
		EXPECT_TRUE(is('S', pid[i]));
	}
	EXPECT_EQ(1, futex(live + 3, FUTEX_WAKE, 1, NULL, NULL));
	EXPECT_EQ(0, wait_for(pid[0]));
	kill(pid[1], SIGKILL);
	EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(pid[1]));
	EXPECT_OK(futex(live + 4, FUTEX_UNLOCK_PI, 0, NULL, NULL));
	EXPECT_EQ(0, wait_for(pid[2]));
	if (plain) {
		EXPECT_OK(futex(plain + 4, FUTEX_UNLOCK_PI, 0, NULL, NULL));
		EXPECT_EQ(0, wait_for(pid[3]));
	}
}

/* More than are looked for at a time. */
#define OBJECTS		200

TEST(whoever_sleeps_in_one_of_many_objects_wakes_up)
{
	FIXTURE_DATA(asleep) self = { .file = -1 };
	pid_t pid[OBJECTS];
	int i;

	new_owner(_metadata, &self, PAGE, OBJECTS);
	for (i = 0; i < OBJECTS; i++)
		ASSERT_OK(futex(self.addr + i * PAGE, FUTEX_WAKE, 1, NULL, NULL));
	for (i = 0; i < OBJECTS; i += 9)
		pid[i] = sleeps(waits, self.addr + i * PAGE, NULL);
	for (i = 0; i < OBJECTS; i += 9)
		EXPECT_TRUE(BECOMES(is('S', pid[i])));
	sleep_ms(50);
	owner_is_killed(_metadata, &self);
	for (i = 0; i < OBJECTS; i += 9)
		EXPECT_EQ(0, wait_for(pid[i]));
}

/* Tasks that fall asleep, are woken and requeued all the time, until the region ends. */

static int waits_again(char *at, uint32_t *live)
{
	while (!futex(at, FUTEX_WAIT, 0, NULL, NULL))
		;
	return errno;
}

static int wakes_again(char *at, uint32_t *live)
{
	while (futex(at, FUTEX_WAKE, 100, NULL, NULL) >= 0)
		;
	return errno;
}

/* In ordinary memory, from where it may be moved. */
static int is_moved(char *at, uint32_t *live)
{
	while (!live[6])
		futex(live + 5, FUTEX_WAIT, 0, NULL, NULL);
	return 0;
}

static int moves_again(char *at, uint32_t *live)
{
	while (futex(live + 5, FUTEX_REQUEUE, 0, (void *)100, at) >= 0)
		;
	return errno;
}

/* Is given the lock each time that it waits for it, in ordinary memory. */
static int waits_for_a_lock(char *at, uint32_t *live)
{
	while (!futex(live + 7, FUTEX_WAIT_REQUEUE_PI, 0, NULL, at + 64) || errno == EAGAIN)
		futex(at + 64, FUTEX_UNLOCK_PI, 0, NULL, NULL);
	return errno;
}

static int gives_locks(char *at, uint32_t *live)
{
	while (futex(live + 7, FUTEX_CMP_REQUEUE_PI, 1, NULL, at + 64) >= 0)
		;
	return errno;
}

static const struct {
	int (*call)(char *at, uint32_t *live);
	int status;
} restless[] = {
	{ waits_again, EFAULT }, { waits_again, EFAULT },
	{ wakes_again, EFAULT },
	{ is_moved, 0 }, { is_moved, 0 },
	{ moves_again, EFAULT },
	{ waits_for_a_lock, EFAULT }, { gives_locks, EFAULT },
};

#define RESTLESS	(sizeof(restless) / sizeof(*restless))

TEST(whoever_is_about_to_sleep_when_it_ends_does_not)
{
	FIXTURE_DATA(asleep) self = { .file = -1, .live = shared_page() };
	pid_t pid[RESTLESS];
	int i, round;

	for (round = 0; round < 30; round++) {
		self.live[6] = 0;
		new_owner(_metadata, &self, PAGE, 1);
		for (i = 0; i < RESTLESS; i++)
			pid[i] = sleeps(restless[i].call, self.addr, self.live);
		sleep_ms(20 + round);
		owner_is_killed(_metadata, &self);
		for (i = 0; i < RESTLESS; i++) {
			if (restless[i].call == is_moved) {
				self.live[6] = 1;
				BECOMES(futex(self.live + 5, FUTEX_WAKE, 100, NULL, NULL) >= 0 &&
					is('Z', pid[i]));
			}
			ASSERT_EQ(restless[i].status, wait_for(pid[i])) {
				TH_LOG("%d in round %d", i, round);
			}
		}
		ASSERT_OK(mshare_detach(self.addr, 0));
		close(self.fd);
	}
}

TEST_HARNESS_MAIN
