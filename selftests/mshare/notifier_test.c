// SPDX-License-Identifier: GPL-2.0
/* Users of mmu notifiers and attachments exclude each other. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

FIXTURE(notifier) {
	int device;
	int fd;
};

/* A device that follows what happens to the memory of a process. */
FIXTURE_VARIANT(notifier) {
	const char *path;
	/* What begins that; 0 if open() does. */
	unsigned long request;
};

FIXTURE_VARIANT_ADD(notifier, kvm) { .path = "/dev/kvm", .request = KVM_CREATE_VM };
/* The kernel's own test of HMM, that is, of interval notifiers. */
FIXTURE_VARIANT_ADD(notifier, hmm) { .path = "/dev/hmm_dmirror0" };

FIXTURE_SETUP(notifier)
{
	self->fd = region(GIB);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, map_anon(self->fd, 0, PAGE, RW));
	if (access(variant->path, R_OK | W_OK))
		SKIP(return, "no %s: %m", variant->path);
	if (variant->request) {
		self->device = open(variant->path, O_RDWR | O_CLOEXEC);
		ASSERT_LE(0, self->device);
	}
}

FIXTURE_TEARDOWN(notifier)
{
}

static int begin(const FIXTURE_DATA(notifier) *self, const FIXTURE_VARIANT(notifier) *variant)
{
	return variant->request ? ioctl(self->device, variant->request, 0) :
				  open(variant->path, O_RDWR | O_CLOEXEC);
}

TEST_F(notifier, without_an_attachment_it_works)
{
	/* Else the refusals below would prove nothing. */
	EXPECT_LE(0, begin(self, variant)) {
		TH_LOG("%s: %m", variant->path);
	}
}

TEST_F(notifier, an_attached_process_is_not_followed)
{
	char *addr = mshare_attach(self->fd, NULL, 0);

	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_ERR(EOPNOTSUPP, begin(self, variant));
	EXPECT_EQ(FAULT_NONE, try_store(addr, 1));
	ASSERT_OK(mshare_detach(addr, 0));
	EXPECT_LE(0, begin(self, variant));
}

TEST_F(notifier, a_child_that_inherited_the_attachment_is_not_followed)
{
	ASSERT_NE(MAP_FAILED, mshare_attach(self->fd, NULL, 0));
	IN_CHILD(CHILD_CHECK(begin(self, variant) == -1 && errno == EOPNOTSUPP));
}

TEST_F(notifier, a_process_that_is_or_was_followed_cannot_attach)
{
	int user = begin(self, variant);

	ASSERT_LE(0, user);
	EXPECT_ERR(EBUSY, mshare_attach(self->fd, NULL, 0));
	EXPECT_ERR(EBUSY, mshare_attach(self->fd, NULL, MSHARE_ATTACH_RDONLY));
	close(user);
	EXPECT_ERR(EBUSY, mshare_attach(self->fd, NULL, 0));
	EXPECT_EQ(0, stat_of(self->fd).attachments);
	/* A child has an address space of its own. */
	IN_CHILD(CHILD_CHECK(mshare_attach(self->fd, NULL, 0) != MAP_FAILED));
}

TEST_HARNESS_MAIN
