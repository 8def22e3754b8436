// SPDX-License-Identifier: GPL-2.0
/*
 * Calls that drop the mmap_lock and look again: what was ordinary memory is a part
 * of an attachment by then.  userfaultfd holds them up in between.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#ifndef MADV_HWPOISON
#define MADV_HWPOISON		100
#endif
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif
#define MADV_DONTNEED_LOCKED_	24

struct advice {
	char *addr;
	uint64_t length;
	int advice;
	long ret;
	int err;
};

static void *advise(void *arg)
{
	struct advice *a = arg;

	a->ret = madvise(a->addr, a->length, a->advice);
	a->err = a->ret ? errno : 0;
	return NULL;
}

/* Memory that userfaultfd follows; -1 and a message if that is not to be had. */
static int followed(void *addr, uint64_t length)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_EVENT_REMOVE };
	struct uffdio_register reg = {
		.range = { (uint64_t)addr, length }, .mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &reg)) {
		fprintf(stderr, "# userfaultfd: %m\n");
		return -1;
	}
	return uffd;
}

/* The next event; the call that it is about goes on if it is no fault. */
static bool next_event(int uffd, struct uffd_msg *msg, bool take)
{
	struct pollfd pfd = { .fd = uffd, .events = POLLIN };

	if (poll(&pfd, 1, 60000) != 1)
		return false;
	return !take || read(uffd, msg, sizeof(*msg)) == sizeof(*msg);
}

FIXTURE(relook) {
	int fd, uffd;
	char *addr;
	struct snap before;
};

FIXTURE_VARIANT(relook) {
	uint64_t length;	/* of what the call is about */
	int advice;
};

FIXTURE_VARIANT_ADD(relook, DONTNEED_of_a_part) {
	.length = MIB, .advice = MADV_DONTNEED,
};

FIXTURE_VARIANT_ADD(relook, DONTNEED_of_all) {
	.length = SLOT, .advice = MADV_DONTNEED,
};

FIXTURE_VARIANT_ADD(relook, DONTNEED_LOCKED_of_a_part) {
	.length = MIB, .advice = MADV_DONTNEED_LOCKED_,
};

FIXTURE_VARIANT_ADD(relook, FREE_of_all) {
	.length = SLOT, .advice = MADV_FREE,
};

FIXTURE_SETUP(relook)
{
	self->addr = (char *)0x300000000000;
	self->fd = region(GIB);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, map_anon(self->fd, 0, MIB, RW));
	ASSERT_EQ(self->addr, mmap(self->addr, variant->length, RW,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
				   MAP_FIXED_NOREPLACE, -1, 0));
	self->uffd = followed(self->addr, variant->length);
	ASSERT_LE(0, self->uffd);
}

FIXTURE_TEARDOWN(relook)
{
	close(self->uffd);
}

/* It waits until the event is read, with no lock. */
TEST_F(relook, madvise_finds_an_attachment_where_memory_was)
{
	struct advice a = {
		.addr = self->addr, .length = variant->length, .advice = variant->advice,
	};
	struct uffd_msg msg;
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, advise, &a));
	ASSERT_TRUE(next_event(self->uffd, &msg, false));
	ASSERT_OK(munmap(self->addr, variant->length));
	ASSERT_EQ(self->addr, mshare_attach(self->fd, self->addr, 0));
	fill(self->addr, MIB, 1);
	self->before = snap_take(self->fd, self->addr, MIB);

	ASSERT_TRUE(next_event(self->uffd, &msg, true));
	EXPECT_EQ(UFFD_EVENT_REMOVE, msg.event);
	pthread_join(thread, NULL);
	EXPECT_EQ(-1, a.ret);
	EXPECT_EQ(EINVAL, a.err);

	struct snap after = snap_take(self->fd, self->addr, MIB);

	EXPECT_TRUE(snap_same(&self->before, &after));
	EXPECT_EQ(0, wrong(self->addr, MIB, 1));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr, self->addr[0]));
	EXPECT_OK(mshare_detach(self->addr, 0));
}

FIXTURE(inject) {
	int none;
};

FIXTURE_VARIANT(inject) {
	int advice;
};

FIXTURE_VARIANT_ADD(inject, HWPOISON) {
	.advice = MADV_HWPOISON,
};

FIXTURE_VARIANT_ADD(inject, SOFT_OFFLINE) {
	.advice = MADV_SOFT_OFFLINE,
};

/* The thread that calls is told of the page that it did lose, its own. */
static void on_sigbus(int sig) {}

FIXTURE_SETUP(inject)
{
	signal(SIGBUS, on_sigbus);
}
FIXTURE_TEARDOWN(inject) {}

/* The call is about two pages and faults the first one in. */
TEST_F(inject, an_error_does_not_hit_a_region_that_came_meanwhile)
{
	char *addr = (char *)0x300000000000;
	struct advice a = {
		.addr = addr - PAGE, .length = 2 * PAGE, .advice = variant->advice,
	};
	uint64_t frame[2];
	struct uffd_msg msg;
	pthread_t thread;
	char *page;
	int fd, uffd;

	fd = region(GIB);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, map_anon(fd, 0, MIB, RW));
	ASSERT_EQ(addr - PAGE, mmap(addr - PAGE, 2 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS |
				    MAP_FIXED_NOREPLACE, -1, 0));
	uffd = followed(addr - PAGE, PAGE);
	ASSERT_LE(0, uffd);

	ASSERT_EQ(0, pthread_create(&thread, NULL, advise, &a));
	ASSERT_TRUE(next_event(uffd, &msg, true));
	ASSERT_EQ(UFFD_EVENT_PAGEFAULT, msg.event);
	ASSERT_OK(munmap(addr, PAGE));
	ASSERT_EQ(addr, mshare_attach(fd, addr, 0));
	fill(addr, MIB, 1);
	ASSERT_TRUE(page_map(addr, &frame[0], 1));

	page = aligned_alloc(PAGE, PAGE);
	ASSERT_NE(NULL, page);
	memset(page, 1, PAGE);
	struct uffdio_copy copy = { .dst = (uint64_t)addr - PAGE, .src = (uint64_t)page, .len = PAGE };
	ASSERT_OK(ioctl(uffd, UFFDIO_COPY, &copy));
	pthread_join(thread, NULL);
	EXPECT_EQ(-1, a.ret);
	EXPECT_EQ(EINVAL, a.err);

	/* Neither lost nor moved. */
	EXPECT_EQ(FAULT_NONE, try_load(addr));
	EXPECT_EQ(0, wrong(addr, MIB, 1));
	ASSERT_TRUE(page_map(addr, &frame[1], 1));
	EXPECT_EQ(frame[0], frame[1]);
	EXPECT_OK(mshare_detach(addr, 0));
	close(uffd);
	free(page);
}

TEST_HARNESS_MAIN
