// SPDX-License-Identifier: GPL-2.0
/* Users of mmu notifiers (here KVM) and attachments exclude each other. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>

FIXTURE(kvm) {
	int kvm;
	int fd;
};

FIXTURE_SETUP(kvm)
{
	self->fd = region(GIB);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, map_anon(self->fd, 0, PAGE, RW));
	self->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (self->kvm < 0)
		SKIP(return, "no /dev/kvm: %m");
}

FIXTURE_TEARDOWN(kvm)
{
}

TEST_F(kvm, without_an_attachment_it_works)
{
	/* Else the refusals below would prove nothing. */
	EXPECT_LE(0, ioctl(self->kvm, KVM_CREATE_VM, 0)) {
		TH_LOG("KVM_CREATE_VM: %m");
	}
}

TEST_F(kvm, an_attached_process_gets_no_virtual_machine)
{
	char *addr = mshare_attach(self->fd, NULL, 0);

	ASSERT_NE(MAP_FAILED, addr);
	EXPECT_ERR(EOPNOTSUPP, ioctl(self->kvm, KVM_CREATE_VM, 0));
	EXPECT_EQ(FAULT_NONE, try_store(addr, 1));
	ASSERT_OK(mshare_detach(addr, 0));
	EXPECT_LE(0, ioctl(self->kvm, KVM_CREATE_VM, 0));
}

TEST_F(kvm, a_child_that_inherited_the_attachment_gets_none)
{
	ASSERT_NE(MAP_FAILED, mshare_attach(self->fd, NULL, 0));
	IN_CHILD(CHILD_CHECK(ioctl(self->kvm, KVM_CREATE_VM, 0) == -1 && errno == EOPNOTSUPP));
}

TEST_F(kvm, a_process_that_has_or_had_a_virtual_machine_cannot_attach)
{
	int vm = ioctl(self->kvm, KVM_CREATE_VM, 0);

	ASSERT_LE(0, vm);
	EXPECT_ERR(EBUSY, mshare_attach(self->fd, NULL, 0));
	EXPECT_ERR(EBUSY, mshare_attach(self->fd, NULL, MSHARE_ATTACH_RDONLY));
	close(vm);
	EXPECT_ERR(EBUSY, mshare_attach(self->fd, NULL, 0));
	EXPECT_EQ(0, stat_of(self->fd).attachments);
	/* A child has an address space of its own. */
	IN_CHILD(CHILD_CHECK(mshare_attach(self->fd, NULL, 0) != MAP_FAILED));
}

TEST_HARNESS_MAIN
