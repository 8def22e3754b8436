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

FIXTURE(futex) {
	int fd;
	char *a, *b;	/* the same memory at two places */
};

FIXTURE_VARIANT(futex) {
	int flags;
	bool file;
};

FIXTURE_VARIANT_ADD(futex, anonymous) { };
FIXTURE_VARIANT_ADD(futex, memfd) { .file = true };
FIXTURE_VARIANT_ADD(futex, hugetlb) { .flags = MAP_HUGETLB };

FIXTURE_SETUP(futex)
{
	self->fd = region(GIB);
	ASSERT_LE(0, self->fd);
	if (variant->flags && !huge_pages(HUGE, 1))
		SKIP(return, "no huge pages of 2 MiB");
	if (variant->file) {
		ASSERT_EQ(0, map_file(self->fd, 0, HUGE, RW, memfd(HUGE, 0)));
	} else {
		ASSERT_EQ(0, map_obj(self->fd, 0, HUGE, RW,
				     MAP_SHARED | MAP_ANONYMOUS | variant->flags, -1, 0));
	}
	self->a = mshare_attach(self->fd, (void *)(3 * SLOT), 0);
	self->b = mshare_attach(self->fd, (void *)(7 * SLOT), 0);
	ASSERT_NE(MAP_FAILED, self->a);
	ASSERT_NE(MAP_FAILED, self->b);
}

FIXTURE_TEARDOWN(futex)
{
}

TEST_F(futex, wakes_at_another_address_in_another_process)
{
	volatile int *flag = shared_page();
	int i, woken = 0;
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		CHILD_CHECK(!mshare_detach(self->a, 0));
		*flag = 1;
		CHILD_CHECK(futex(self->b + 64, FUTEX_WAIT, 0, 60000) == 0);
		_exit(0);
	}
	ASSERT_OK(mshare_detach(self->b, 0));
	ASSERT_TRUE(await(flag, 30));
	for (i = 0; i < 10000 && !woken; i++) {
		woken = futex(self->a + 64, FUTEX_WAKE, 1, 0);
		if (!woken)
			sleep_ms(1);
	}
	EXPECT_EQ(1, woken);
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

TEST_F(futex, a_robust_mutex_tells_that_its_owner_died)
{
	pthread_mutexattr_t attr;
	pthread_mutex_t *mutex = (void *)self->a;

	pthread_mutexattr_init(&attr);
	ASSERT_OK(pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED));
	ASSERT_OK(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST));
	ASSERT_OK(pthread_mutex_init(mutex, &attr));
	IN_CHILD(CHILD_CHECK(!pthread_mutex_lock((void *)self->b)));
	EXPECT_EQ(EOWNERDEAD, pthread_mutex_lock(mutex));
	EXPECT_OK(pthread_mutex_consistent(mutex));
	EXPECT_OK(pthread_mutex_unlock(mutex));
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

TEST_HARNESS_MAIN
