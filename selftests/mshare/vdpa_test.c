// SPDX-License-Identifier: GPL-2.0
/*
 * A device in user space gets the files behind the memory that it is to use, and the
 * file of an attachment is the region.  The device here is the kernel's simulated disk,
 * which takes the same way to its memory.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <linux/genetlink.h>
#include <linux/vdpa.h>
#include <linux/vhost.h>
#include <linux/vhost_types.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define DEVICE	"/dev/vhost-vdpa-0"

/* A message of generic netlink with strings for attributes. */
struct message {
	struct nlmsghdr head;
	struct genlmsghdr genl;
	char attributes[256];
};

static void message_begin(struct message *m, int family, int command)
{
	memset(m, 0, sizeof(*m));
	m->head.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN);
	m->head.nlmsg_type = family;
	m->head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	m->genl.cmd = command;
	m->genl.version = 1;
}

static void message_add(struct message *m, int type, const char *value)
{
	struct nlattr *attr = (void *)((char *)m + m->head.nlmsg_len);

	attr->nla_type = type;
	attr->nla_len = NLA_HDRLEN + strlen(value) + 1;
	strcpy((char *)attr + NLA_HDRLEN, value);
	m->head.nlmsg_len += NLA_ALIGN(attr->nla_len);
}

/* Sends it; the answer is in its place. */
static bool message_send(int sock, struct message *m)
{
	struct nlmsgerr *error = (void *)&m->genl;

	if (send(sock, m, m->head.nlmsg_len, 0) < 0 || recv(sock, m, sizeof(*m), 0) < 0)
		return false;
	if (m->head.nlmsg_type != NLMSG_ERROR)
		return true;
	errno = -error->error;
	return !errno;
}

/* The number of a family, or 0. */
static int family(int sock, const char *name)
{
	struct message m;
	struct nlattr *attr;

	message_begin(&m, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
	m.head.nlmsg_flags = NLM_F_REQUEST;
	message_add(&m, CTRL_ATTR_FAMILY_NAME, name);
	if (!message_send(sock, &m))
		return 0;
	for (attr = (void *)m.attributes; (char *)attr < (char *)&m + m.head.nlmsg_len;
	     attr = (void *)((char *)attr + NLA_ALIGN(attr->nla_len)))
		if (attr->nla_type == CTRL_ATTR_FAMILY_ID)
			return *(uint16_t *)((char *)attr + NLA_HDRLEN);
	return 0;
}

/* Makes the disk, or takes it away. */
static bool disk(int command)
{
	int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	int vdpa = sock < 0 ? 0 : family(sock, VDPA_GENL_NAME);
	struct message m;
	bool done;

	message_begin(&m, vdpa, command);
	if (command == VDPA_CMD_DEV_NEW)
		message_add(&m, VDPA_ATTR_MGMTDEV_DEV_NAME, "vdpasim_blk");
	message_add(&m, VDPA_ATTR_DEV_NAME, "mst");
	done = vdpa && message_send(sock, &m);
	close(sock);
	return done;
}

FIXTURE(vdpa) {
	int device;
};

FIXTURE_SETUP(vdpa)
{
	self->device = -1;
	if (!disk(VDPA_CMD_DEV_NEW))
		SKIP(return, "no simulated device of vDPA: %m");
	ASSERT_TRUE(BECOMES((self->device = open(DEVICE, O_RDWR | O_CLOEXEC)) >= 0));
	ASSERT_OK(ioctl(self->device, VHOST_SET_OWNER));
	ASSERT_OK(ioctl(self->device, VHOST_SET_BACKEND_FEATURES,
			&(uint64_t){ 1ULL << VHOST_BACKEND_F_IOTLB_MSG_V2 }));
}

FIXTURE_TEARDOWN(vdpa)
{
	close(self->device);
	EXPECT_TRUE(disk(VDPA_CMD_DEV_DEL));
}

/* Is the device to have LENGTH bytes at ADDR as its memory at IOVA?  0, or errno. */
static int map_for(int device, uint64_t iova, const void *addr, uint64_t length)
{
	struct vhost_msg_v2 msg = {
		.type = VHOST_IOTLB_MSG_V2,
		.iotlb = {
			.iova = iova, .size = length, .uaddr = (uint64_t)addr,
			.perm = VHOST_ACCESS_RW, .type = VHOST_IOTLB_UPDATE,
		},
	};

	return write(device, &msg, sizeof(msg)) == sizeof(msg) ? 0 : errno;
}

TEST_F(vdpa, an_attachment_is_no_memory_for_a_device_that_takes_its_file)
{
	int fd, file = memfd(2 * PAGE, 0);
	char *plain = mmap(NULL, 2 * PAGE, RW, MAP_SHARED, file, 0), *addr, *before;

	ASSERT_NE(MAP_FAILED, plain);
	addr = file_region(&fd, file, 2 * PAGE);
	ASSERT_NE(NULL, addr);
	/* Else the refusals below would prove nothing. */
	ASSERT_EQ(0, map_for(self->device, MIB, plain, PAGE));
	/* The device says only that it failed. */
	EXPECT_EQ(EFAULT, map_for(self->device, 0, addr, PAGE));
	EXPECT_EQ(EFAULT, map_for(self->device, GIB, addr, PAGE));
	/* What comes before an attachment is not mapped either. */
	before = mmap(addr - PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED_NOREPLACE, file, 0);
	ASSERT_EQ(addr - PAGE, before);
	EXPECT_EQ(EFAULT, map_for(self->device, 2 * GIB, before, 2 * PAGE));
	EXPECT_EQ(0, map_for(self->device, 2 * GIB, before, PAGE));
	/* And what was mapped has stayed. */
	EXPECT_EQ(EFAULT, map_for(self->device, MIB, plain, PAGE));
	ASSERT_OK(mshare_detach(addr, 0));
	EXPECT_EQ(0, map_for(self->device, 0, plain + PAGE, PAGE));
}

TEST_HARNESS_MAIN
