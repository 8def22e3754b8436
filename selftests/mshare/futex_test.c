// SPDX-License-Identifier: GPL-2.0
/* Futexes and process-shared pthread objects in a region. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <time.h>

static long futex(void *addr, int op, uint32_t value, int timeout_ms)
{
	struct timespec ts = { timeout_ms / 1000, timeout_ms % 1000 * 1000000L };

	return syscall(SYS_futex, addr, op, value, timeout_ms ? &ts : NULL, NULL, 0);
}

/* Repeats a call that wakes until it has done so COUNT times, or for about 60 s. */
#define UNTIL(count, call) ({							\
	long __sum = 0, __ret;							\
	int __i;								\
	for (__i = 0; __i < 12000 && __sum < (count); __i++) {			\
		__ret = (call);							\
		if (__ret < 0)							\
			break;							\
		__sum += __ret;							\
		if (!__ret)							\
			sleep_ms(5);						\
	}									\
	__sum;									\
})

static int giant = -1;	/* a file of one page of 1 GiB, which takes long to clear */

FIXTURE(futex) {
	int fd;
	char *a, *b;	/* the same memory at two places */
};

FIXTURE_VARIANT(futex) {
	uint64_t page;	/* if not the smallest */
	int flags;
	bool file;
};

FIXTURE_VARIANT_ADD(futex, anonymous) { };
FIXTURE_VARIANT_ADD(futex, memfd) { .file = true };
FIXTURE_VARIANT_ADD(futex, transparent_huge_page) { .page = HUGE };
FIXTURE_VARIANT_ADD(futex, hugetlb) { .page = HUGE, .flags = MAP_HUGETLB | MAP_HUGE_2MB };
FIXTURE_VARIANT_ADD(futex, giant_page) { .page = GIB, .flags = MAP_HUGETLB | MAP_HUGE_1GB };

FIXTURE_SETUP(futex)
{
	uint64_t length = variant->page ?: HUGE;

	self->fd = region(GIB);
	ASSERT_LE(0, self->fd);
	if (variant->page == GIB ? giant < 0 : variant->flags && !huge_pages(variant->page, 1))
		SKIP(return, "no huge page of %llu KiB", variant->page / KIB);
	if (variant->page == HUGE && !variant->flags && !shmem_thp())
		SKIP(return, NO_THP);
	if (variant->page == GIB) {
		ASSERT_EQ(0, map_file(self->fd, 0, GIB, RW, giant));
	} else if (variant->file) {
		ASSERT_EQ(0, map_file(self->fd, 0, HUGE, RW, memfd(HUGE, 0)));
	} else {
		ASSERT_EQ(0, map_obj(self->fd, 0, length, RW,
				     MAP_SHARED | MAP_ANONYMOUS | variant->flags, -1, 0));
	}
	self->a = mshare_attach(self->fd, (void *)(3 * SLOT), 0);
	self->b = mshare_attach(self->fd, (void *)(7 * SLOT), 0);
	ASSERT_NE(MAP_FAILED, self->a);
	ASSERT_NE(MAP_FAILED, self->b);
	if (variant->page) {
		if (!variant->flags)
			ASSERT_OK(mshare_advise(self->fd, 0, HUGE, MADV_HUGEPAGE, 0));
		/* Also what a test before has left there. */
		memset(self->a, 0, HUGE);
		ASSERT_EQ(variant->page, stat_of(self->fd).resident);
	}
}

FIXTURE_TEARDOWN(futex)
{
	/* The next one wants the huge page. */
	mshare_detach(self->a, 0);
	mshare_detach(self->b, 0);
	close(self->fd);
	sys_mshare_becomes("regions", 0);
}

TEST_F(futex, wakes_at_another_address_in_another_process)
{
	volatile int *flag = shared_page();
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		CHILD_CHECK(!mshare_detach(self->a, 0));
		*flag = 1;
		CHILD_CHECK(futex(self->b + 64, FUTEX_WAIT, 0, 60000) == 0);
		_exit(0);
	}
	ASSERT_OK(mshare_detach(self->b, 0));
	ASSERT_TRUE(await(flag));
	EXPECT_EQ(1, UNTIL(1, futex(self->a + 64, FUTEX_WAKE, 1, 0)));
	EXPECT_EQ(0, wait_for(pid));
}

TEST_F(futex, requeues_from_one_page_to_another)
{
	/* Waiters at one address, moved and woken at the other. */
	char *from = self->a + 64, *to = self->a + HUGE - 64;
	pid_t pid[3];
	int i;

	for (i = 0; i < 3; i++) {
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (!pid[i]) {
			CHILD_CHECK(!mshare_detach(self->a, 0));
			CHILD_CHECK(futex(self->b + 64, FUTEX_WAIT, 0, 100000) == 0);
			_exit(0);
		}
	}
	/* None woken, two moved: both count, in the end. */
	EXPECT_EQ(2, UNTIL(2, syscall(SYS_futex, from, FUTEX_CMP_REQUEUE, 0, 1UL, to, 0)));
	EXPECT_EQ(0, futex(self->b + HUGE - 128, FUTEX_WAKE, 10, 0));
	EXPECT_EQ(2, futex(self->b + HUGE - 64, FUTEX_WAKE, 10, 0));
	EXPECT_EQ(1, UNTIL(1, futex(self->b + 64, FUTEX_WAKE, 10, 0)));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, wait_for(pid[i]));
}

TEST_F(futex, requeues_to_a_priority_inheritance_lock)
{
	uint32_t *lock = (void *)(self->a + HUGE - 64);
	pid_t pid;

	ASSERT_OK(futex(lock, FUTEX_LOCK_PI, 0, 0));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		CHILD_CHECK(!mshare_detach(self->a, 0));
		CHILD_CHECK(!syscall(SYS_futex, self->b + 64, FUTEX_WAIT_REQUEUE_PI, 0, NULL,
				     self->b + HUGE - 64, 0));
		/* Woken as its owner. */
		CHILD_CHECK((*(volatile uint32_t *)(self->b + HUGE - 64) & FUTEX_TID_MASK) ==
			    (uint32_t)getpid());
		CHILD_CHECK(!futex(self->b + HUGE - 64, FUTEX_UNLOCK_PI, 0, 0));
		_exit(0);
	}
	EXPECT_EQ(1, UNTIL(1, syscall(SYS_futex, self->a + 64, FUTEX_CMP_REQUEUE_PI, 1, 0UL,
				      lock, 0)));
	EXPECT_OK(futex(lock, FUTEX_UNLOCK_PI, 0, 0));
	EXPECT_EQ(0, wait_for(pid));
	EXPECT_EQ(0, *lock);
}

TEST_F(futex, waits_for_several)
{
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		struct futex_waitv w[] = {
			{ .uaddr = (uintptr_t)self->b, .flags = FUTEX_32 },
			{ .uaddr = (uintptr_t)self->b + HUGE - 64, .flags = FUTEX_32 },
		};

		CHILD_CHECK(!mshare_detach(self->a, 0));
		CHILD_CHECK(syscall(SYS_futex_waitv, w, 2, 0, NULL, CLOCK_MONOTONIC) == 1);
		_exit(0);
	}
	EXPECT_EQ(1, UNTIL(1, futex(self->a + HUGE - 64, FUTEX_WAKE, 1, 0)));
	EXPECT_EQ(0, wait_for(pid));
}

TEST_F(futex, private_futexes_are_by_address)
{
	pid_t pid = fork();
	int i, woken = 0;

	ASSERT_LE(0, pid);
	if (!pid) {
		CHILD_CHECK(futex(self->a + 128, FUTEX_WAIT_PRIVATE, 0, 300) == -1 &&
			    errno == ETIMEDOUT);
		_exit(0);
	}
	for (i = 0; i < 100; i++) {
		woken += futex(self->a + 128, FUTEX_WAKE_PRIVATE, 1, 0);
		woken += futex(self->b + 128, FUTEX_WAKE, 1, 0);
		sleep_ms(1);
	}
	EXPECT_EQ(0, wait_for(pid));
	EXPECT_EQ(0, woken);
}

TEST_F(futex, a_mutex_counts_right_in_processes_at_different_addresses)
{
	pthread_mutexattr_t attr;
	struct { pthread_mutex_t mutex; volatile long count; } *s;
	pid_t pid[4];
	int i, j;

	s = (void *)self->a;
	pthread_mutexattr_init(&attr);
	ASSERT_OK(pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED));
	ASSERT_OK(pthread_mutex_init(&s->mutex, &attr));
	for (i = 0; i < 4; i++) {
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (!pid[i]) {
			s = (void *)(i & 1 ? self->a : self->b);
			CHILD_CHECK(!mshare_detach(i & 1 ? self->b : self->a, 0));
			for (j = 0; j < 2000; j++) {
				CHILD_CHECK(!pthread_mutex_lock(&s->mutex));
				s->count++;
				CHILD_CHECK(!pthread_mutex_unlock(&s->mutex));
			}
			_exit(0);
		}
	}
	for (i = 0; i < 4; i++)
		EXPECT_EQ(0, wait_for(pid[i]));
	EXPECT_EQ(8000, s->count);
}

/* A robust mutex, whose owner ends as it does. */
static void owner_dies(struct __test_metadata *_metadata, FIXTURE_DATA(futex) *self, int protocol,
		       bool killed)
{
	pthread_mutexattr_t attr;
	pthread_mutex_t *mutex = (void *)self->a;
	volatile int *flag = shared_page();
	pid_t owner, waiter;

	pthread_mutexattr_init(&attr);
	ASSERT_OK(pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED));
	ASSERT_OK(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST));
	ASSERT_OK(pthread_mutexattr_setprotocol(&attr, protocol));
	ASSERT_OK(pthread_mutex_init(mutex, &attr));
	owner = fork();
	ASSERT_LE(0, owner);
	if (!owner) {
		CHILD_CHECK(!mshare_detach(self->a, 0));
		CHILD_CHECK(!pthread_mutex_lock((void *)self->b));
		*flag = 1;
		while (*flag < 2)
			sleep_ms(5);
		if (killed)
			kill(getpid(), SIGKILL);
		_exit(0);
	}
	ASSERT_TRUE(await(flag));
	waiter = fork();
	ASSERT_LE(0, waiter);
	if (!waiter) {
		/* Most likely it sleeps when the owner goes. */
		*flag = 2;
		CHILD_CHECK(pthread_mutex_lock(mutex) == EOWNERDEAD);
		CHILD_CHECK(!pthread_mutex_consistent(mutex));
		CHILD_CHECK(!pthread_mutex_unlock(mutex));
		_exit(0);
	}
	EXPECT_EQ(killed ? KILLED_BY(SIGKILL) : 0, wait_for(owner));
	EXPECT_EQ(0, wait_for(waiter));
	EXPECT_OK(pthread_mutex_lock(mutex));
	EXPECT_OK(pthread_mutex_unlock(mutex));
}

TEST_F(futex, a_robust_mutex_tells_that_its_owner_died)
{
	owner_dies(_metadata, self, PTHREAD_PRIO_NONE, false);
}

TEST_F(futex, a_robust_mutex_tells_that_its_owner_was_killed)
{
	owner_dies(_metadata, self, PTHREAD_PRIO_NONE, true);
}

TEST_F(futex, a_robust_priority_inheritance_mutex_tells_that_its_owner_was_killed)
{
	owner_dies(_metadata, self, PTHREAD_PRIO_INHERIT, true);
}

TEST_F(futex, a_priority_inheritance_mutex)
{
	pthread_mutexattr_t attr;
	pthread_mutex_t *mutex = (void *)(self->a + 512);
	int i;

	pthread_mutexattr_init(&attr);
	ASSERT_OK(pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED));
	ASSERT_OK(pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT));
	ASSERT_OK(pthread_mutex_init(mutex, &attr));
	ASSERT_OK(pthread_mutex_lock(mutex));
	pid_t pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		CHILD_CHECK(!pthread_mutex_lock((void *)(self->b + 512)));
		CHILD_CHECK(!pthread_mutex_unlock((void *)(self->b + 512)));
		_exit(0);
	}
	for (i = 0; i < 20; i++)
		sleep_ms(5);
	ASSERT_OK(pthread_mutex_unlock(mutex));
	EXPECT_EQ(0, wait_for(pid));
}

TEST_F(futex, a_rwlock_keeps_writers_from_readers)
{
	struct shared {
		pthread_rwlock_t lock;
		volatile long left, right;
	} *s = (void *)self->a;
	pthread_rwlockattr_t attr;
	pid_t pid[4];
	int i, j;

	pthread_rwlockattr_init(&attr);
	ASSERT_OK(pthread_rwlockattr_setpshared(&attr, PTHREAD_PROCESS_SHARED));
	ASSERT_OK(pthread_rwlock_init(&s->lock, &attr));
	for (i = 0; i < 4; i++) {
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (!pid[i]) {
			s = (void *)(i & 1 ? self->a : self->b);
			CHILD_CHECK(!mshare_detach(i & 1 ? self->b : self->a, 0));
			for (j = 0; j < 1000; j++) {
				if (i < 2) {
					CHILD_CHECK(!pthread_rwlock_wrlock(&s->lock));
					s->left++;
					s->right++;
				} else {
					CHILD_CHECK(!pthread_rwlock_rdlock(&s->lock));
					CHILD_CHECK(s->left == s->right);
				}
				CHILD_CHECK(!pthread_rwlock_unlock(&s->lock));
			}
			_exit(0);
		}
	}
	for (i = 0; i < 4; i++)
		EXPECT_EQ(0, wait_for(pid[i]));
	EXPECT_EQ(2000, s->left);
	EXPECT_EQ(2000, s->right);
}

TEST_F(futex, condition_barrier_and_semaphore)
{
	struct shared {
		pthread_mutex_t mutex;
		pthread_cond_t cond;
		pthread_barrier_t barrier;
		sem_t sem;
		int value;
	} *s = (void *)self->a, *t = (void *)self->b;
	pthread_mutexattr_t ma;
	pthread_condattr_t ca;
	pthread_barrierattr_t ba;
	int ret;
	pid_t pid;

	pthread_mutexattr_init(&ma);
	pthread_condattr_init(&ca);
	pthread_barrierattr_init(&ba);
	ASSERT_OK(pthread_mutexattr_setpshared(&ma, PTHREAD_PROCESS_SHARED));
	ASSERT_OK(pthread_condattr_setpshared(&ca, PTHREAD_PROCESS_SHARED));
	ASSERT_OK(pthread_barrierattr_setpshared(&ba, PTHREAD_PROCESS_SHARED));
	ASSERT_OK(pthread_mutex_init(&s->mutex, &ma));
	ASSERT_OK(pthread_cond_init(&s->cond, &ca));
	ASSERT_OK(pthread_barrier_init(&s->barrier, &ba, 2));
	ASSERT_OK(sem_init(&s->sem, 1, 0));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		CHILD_CHECK(!mshare_detach(self->a, 0));
		pthread_mutex_lock(&t->mutex);
		while (!t->value)
			pthread_cond_wait(&t->cond, &t->mutex);
		pthread_mutex_unlock(&t->mutex);
		CHILD_CHECK(!sem_post(&t->sem));
		pthread_barrier_wait(&t->barrier);
		_exit(0);
	}
	sleep_ms(20);
	pthread_mutex_lock(&s->mutex);
	s->value = 1;
	pthread_cond_signal(&s->cond);
	pthread_mutex_unlock(&s->mutex);
	EXPECT_OK(sem_wait(&s->sem));
	ret = pthread_barrier_wait(&s->barrier);
	EXPECT_TRUE(ret == 0 || ret == PTHREAD_BARRIER_SERIAL_THREAD);
	EXPECT_EQ(0, wait_for(pid));
}

int main(int argc, char **argv)
{
	if (mshare_abi_version() >= 1 && huge_pages(GIB, 1))
		giant = memfd(GIB, MFD_HUGETLB | MAP_HUGE_1GB);
	return test_harness_run(argc, argv);
}
