// SPDX-License-Identifier: GPL-2.0
/*
 * Which error wins.  For each call a list of what can be wrong, in the order in
 * which it is checked: of any two that are wrong at a time, the first tells.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define BAD_POINTER	((void *)8UL)
#define SYS		"/sys/kernel/mm/mshare/"

/*
 * The region has small pages in [0, HUGE) and a huge one in [HUGE, 2 * HUGE).
 * The good range of all calls but map is the second page, that of map is free.
 */
#define FREE	(4 * HUGE)

/* Arguments of all calls, and what is around them. */
struct call {
	bool dead, empty;	/* the region */
	bool not_a_region;	/* but a file */
	bool of_a_file;		/* that is the region of one */
	int mode;		/* how its descriptor was opened, O_RDWR if good */
	bool not_open;
	unsigned int flags, prot;
	uint64_t offset, length;
	int advice;
	void *addr;		/* of attach and detach */
	const char *name;
	void *pointer;		/* instead of the structure */
	size_t size;
	bool tail;		/* not 0 after the structure */
	struct mshare_map_args map;
	const char *limit;	/* a file of the kernel */
	long long value;	/* and what stands there during the call */
	bool no_descriptor;	/* is left for the process */
	bool notifier;		/* the process has one */
	bool sealed;		/* is what is at addr */
};

static int file, pipe_end;
static char *busy;		/* something is mapped there */

struct fault {
	int err;
	void (*put)(struct call *c);
};

#define PUT(name, statement) static void name(struct call *c) { statement; }

PUT(bad_flags, c->flags |= 1U << 31)
PUT(size_too_small, c->size = 8)
PUT(size_too_large, c->size = PAGE + 1)
PUT(bad_pointer, c->pointer = BAD_POINTER)
PUT(bad_tail, c->tail = true)
PUT(map_reserved, c->map.reserved = 1)
PUT(map_prot, c->map.prot |= 1 << 20)
PUT(map_flags, c->map.flags |= MAP_LOCKED)
PUT(map_offset, c->map.offset += 1)
PUT(map_length_0, c->map.length = 0)
PUT(map_overflow, c->map.length = ~0ULL)
PUT(not_open, c->not_open = true)
PUT(opened_as_path, c->mode = O_PATH)
PUT(not_a_region, c->not_a_region = true)
PUT(region_of_a_file, c->of_a_file = true)
PUT(past_the_largest_file, c->length = 1ULL << 63)
PUT(past_the_largest_region, c->length = 33 * TIB)
PUT(not_for_writing, c->mode = O_RDONLY)
PUT(not_for_reading, c->mode = O_WRONLY)
PUT(object_not_open, (c->map.flags = MAP_SHARED, c->map.fd = 999))
PUT(object_is_a_pipe, (c->map.flags = MAP_SHARED, c->map.fd = pipe_end))
PUT(map_past_the_size, c->map.length += 2 * GIB)
PUT(map_overlaps, c->map.offset -= FREE)
PUT(map_huge_not_aligned, (c->map.flags |= MAP_HUGETLB, c->map.offset += PAGE))
PUT(map_would_cut, (c->map.flags |= MAP_FIXED, c->map.offset = HUGE + PAGE))
PUT(dead_owner, c->dead = true)
PUT(too_many_objects, (c->limit = "/proc/sys/vm/max_map_count", c->value = 2))
PUT(bad_prot, c->prot |= 1 << 20)
PUT(bad_advice, c->advice = MADV_FREE)
PUT(offset_not_aligned, c->offset += 1)
PUT(length_0, c->length = 0)
PUT(overflow, c->length = ~0ULL)
PUT(past_the_size, c->length += 2 * GIB)
PUT(would_cut, c->offset += HUGE)
PUT(hole, c->offset += FREE)
PUT(addr_not_aligned, c->addr = busy + PAGE)
PUT(addr_taken, c->addr = busy)
PUT(addr_too_high, c->addr = (void *)0xffff800000000000ULL)
PUT(size_is_0, c->empty = true)
PUT(too_many_mappings, (c->limit = "/proc/sys/vm/max_map_count", c->value = 5))
PUT(has_a_notifier, c->notifier = true)
PUT(not_an_attachment, c->addr = busy + PAGE)
PUT(is_sealed, c->sealed = true)
PUT(name_not_readable, c->name = BAD_POINTER)
PUT(name_too_long, c->name = "name of more than 248 bytes: "
	"..................................................................................."
	"..................................................................................."
	"...................................................................................")
PUT(disabled, (c->limit = SYS "enabled", c->value = 0))
PUT(no_free_descriptor, c->no_descriptor = true)
PUT(too_many_regions, (c->limit = SYS "max_regions_per_user", c->value = 1))

static const struct call good = {
	.mode = O_RDWR, .prot = PROT_READ, .offset = PAGE, .length = PAGE, .advice = MADV_RANDOM,
	.name = "name", .map = {
		.offset = FREE, .length = PAGE, .prot = RW, .flags = MAP_SHARED | MAP_ANONYMOUS,
		.fd = -1,
	},
};

static int regions[2][2];	/* dead, empty */
static int of_a_file;

/* The descriptor that the call is to use. */
static int descriptor(const struct call *c)
{
	char path[64];

	if (c->not_open)
		return 999;
	snprintf(path, sizeof(path), "/proc/self/fd/%d",
		 c->not_a_region ? file :
		 c->of_a_file ? of_a_file : regions[c->dead][c->empty]);
	return open(path, c->mode);
}

static long do_map(const struct call *c, int fd)
{
	static char buf[2 * PAGE];

	memset(buf, 0, sizeof(buf));
	memcpy(buf, &c->map, sizeof(c->map));
	buf[48] = c->tail;
	return mshare_map(fd, c->pointer ?: buf, c->size ?: (c->tail ? 56 : 40));
}

static long do_unmap(const struct call *c, int fd)
{
	return mshare_unmap(fd, c->offset, c->length, c->flags);
}

static long do_protect(const struct call *c, int fd)
{
	return mshare_protect(fd, c->offset, c->length, c->prot, c->flags);
}

static long do_advise(const struct call *c, int fd)
{
	return mshare_advise(fd, c->offset, c->length, c->advice, c->flags);
}

static long do_stat(const struct call *c, int fd)
{
	static char buf[2 * PAGE];

	return mshare_stat(fd, c->pointer ?: buf, c->size ?: 96, c->flags);
}

static long do_attach(const struct call *c, int fd)
{
	return (long)mshare_attach(fd, c->addr, c->flags);
}

static long do_detach(const struct call *c, int fd)
{
	return mshare_detach(c->addr, c->flags);
}

static long do_create(const struct call *c, int fd)
{
	return mshare_create(c->name, c->flags);
}

static long do_open(const struct call *c, int fd)
{
	return mshare_open(fd, c->length, c->flags);
}

/* Makes a VM of KVM, which follows the page tables of this process until it ends. */
static bool make_vm(void)
{
	return ioctl(open("/dev/kvm", O_RDWR), KVM_CREATE_VM, 0) >= 0;
}

/* Makes the call in a child: what is put around it ends with the child. */
static int errno_of(const struct call *c, long (*make)(const struct call *c, int fd))
{
	struct rlimit limit = { 0, 0 };
	int err, *told = shared_page();
	long long old = c->limit ? read_number(c->limit) : 0;
	pid_t pid = fork();

	if (!pid) {
		int fd = descriptor(c);

		CHILD_CHECK(fd >= 0);
		if (c->notifier)
			CHILD_CHECK(make_vm());
		if (c->sealed)
			CHILD_CHECK(!syscall(__NR_mseal, c->addr, SLOT, 0));
		if (c->limit)
			CHILD_CHECK(write_number(c->limit, c->value));
		if (c->no_descriptor)
			CHILD_CHECK(!setrlimit(RLIMIT_NOFILE, &limit));
		errno = 0;
		*told = make(c, fd) == -1 ? errno : 0;
		_exit(0);
	}
	err = wait_for(pid) ? -1 : *told;
	if (c->limit)
		write_number(c->limit, old);
	munmap(told, PAGE);
	return err;
}

/* Do two faults change the same argument?  Then there is no call with both. */
static bool exclude_each_other(const struct call *base, const struct fault *a,
			       const struct fault *b)
{
	struct call ab = *base, ba = *base, only_a = *base, only_b = *base;

	a->put(&ab);
	b->put(&ab);
	b->put(&ba);
	a->put(&ba);
	a->put(&only_a);
	b->put(&only_b);
	return memcmp(&ab, &ba, sizeof(ab)) || !memcmp(&ab, &only_a, sizeof(ab)) ||
	       !memcmp(&ab, &only_b, sizeof(ab));
}

static void each_pair(struct __test_metadata *_metadata, const struct call *base,
		      long (*make)(const struct call *c, int fd), const struct fault *faults, int n)
{
	int i, j, pairs = 0;

	for (i = 0; i < n; i++) {
		struct call c = *base;

		faults[i].put(&c);
		EXPECT_EQ(faults[i].err, errno_of(&c, make)) {
			TH_LOG("fault %d alone", i);
		}
		for (j = i + 1; j < n; j++) {
			struct call both = c;

			if (exclude_each_other(base, &faults[i], &faults[j]))
				continue;
			pairs++;
			faults[j].put(&both);
			EXPECT_EQ(faults[i].err, errno_of(&both, make)) {
				TH_LOG("faults %d and %d", i, j);
			}
		}
	}
	EXPECT_LE(n - 1, pairs);
	/* Last, for it changes the region. */
	EXPECT_EQ(0, errno_of(base, make)) {
		TH_LOG("the call with nothing wrong");
	}
}

FIXTURE(order) {
	struct call call;
};

FIXTURE_SETUP(order)
{
	int dead, pair[2];
	pid_t pid;

	ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	ASSERT_TRUE(huge_pages(HUGE, 4));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		send_fd(pair[0], mshare_create("dead", MSHARE_OWNED));
		send_fd(pair[0], mshare_create("dead and empty", MSHARE_OWNED));
		CHILD_CHECK(read(pair[0], &dead, 1) == 1);
		_exit(0);
	}
	regions[0][0] = region(0);
	regions[0][1] = region(0);
	regions[1][0] = receive_fd(pair[1]);
	regions[1][1] = receive_fd(pair[1]);
	for (dead = 0; dead < 2; dead++) {
		ASSERT_OK(ftruncate(regions[dead][0], GIB));
		ASSERT_EQ(0, map_anon(regions[dead][0], 0, HUGE, RW));
		ASSERT_EQ(HUGE, map_obj(regions[dead][0], HUGE, HUGE, RW, MAP_SHARED |
					MAP_ANONYMOUS | MAP_HUGETLB, -1, 0));
	}
	ASSERT_EQ(1, write(pair[1], "x", 1));
	ASSERT_EQ(0, wait_for(pid));
	busy = mmap((void *)(WINDOW_START - 4 * SLOT), PAGE, RW,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	ASSERT_EQ((void *)(WINDOW_START - 4 * SLOT), busy);
	file = memfd(PAGE, 0);
	of_a_file = mshare_open(file, 0, 0);
	ASSERT_LE(0, of_a_file);
	ASSERT_OK(pipe(pair));
	pipe_end = pair[0];
	memcpy(&self->call, &good, sizeof(good));
}

FIXTURE_TEARDOWN(order)
{
}

#define EACH_PAIR(make, ...) do {						\
	static const struct fault faults[] = { __VA_ARGS__ };			\
	each_pair(_metadata, &self->call, make, faults,				\
		  sizeof(faults) / sizeof(faults[0]));				\
} while (0)

TEST_F(order, of_create)
{
	EACH_PAIR(do_create, { EINVAL, bad_flags }, { EFAULT, name_not_readable },
		  { EINVAL, name_too_long }, { EPERM, disabled }, { EMFILE, no_free_descriptor },
		  { EDQUOT, too_many_regions });
}

/*
 * A VM in another process.  The first one of all and the end of the last change the code of
 * the scheduler, which is best not done for each pair: see the end of vm/run.
 */
static pid_t vm_elsewhere(void)
{
	pid_t pid = fork();

	if (!pid) {
		CHILD_CHECK(make_vm());
		pause();
	}
	return pid;
}

TEST_F(order, of_attach)
{
	pid_t vm = vm_elsewhere();

	EACH_PAIR(do_attach, { EINVAL, bad_flags }, { EINVAL, addr_not_aligned },
		  { EBADF, not_open }, { EBADF, opened_as_path }, { EBADFD, not_a_region },
		  { EACCES, not_for_reading }, { EACCES, not_for_writing }, { EINVAL, size_is_0 },
		  { EEXIST, addr_taken }, { ENOMEM, addr_too_high }, { EOWNERDEAD, dead_owner },
		  { ENOMEM, too_many_mappings }, { EBUSY, has_a_notifier });
	kill(vm, SIGKILL);
	waitpid(vm, NULL, 0);
}

TEST_F(order, of_detach)
{
	self->call.addr = mshare_attach(regions[0][0], NULL, 0);
	ASSERT_NE(MAP_FAILED, self->call.addr);
	EACH_PAIR(do_detach, { EINVAL, bad_flags }, { EPERM, is_sealed });
	EACH_PAIR(do_detach, { EINVAL, bad_flags }, { EINVAL, not_an_attachment });
}

TEST_F(order, of_map)
{
	EACH_PAIR(do_map, { EINVAL, size_too_small }, { E2BIG, size_too_large },
		  { EFAULT, bad_pointer }, { E2BIG, bad_tail }, { EINVAL, map_reserved },
		  { EINVAL, map_prot }, { EINVAL, map_flags }, { EINVAL, map_offset },
		  { EINVAL, map_length_0 }, { EINVAL, map_overflow }, { EBADF, not_open },
		  { EBADF, opened_as_path }, { EBADFD, not_a_region }, { EBADF, not_for_writing },
		  { EPERM, region_of_a_file }, { EBADF, object_not_open }, { ENODEV, object_is_a_pipe },
		  { ENOMEM, map_past_the_size }, { EEXIST, map_overlaps },
		  { EINVAL, map_huge_not_aligned }, { EINVAL, map_would_cut },
		  { EOWNERDEAD, dead_owner }, { ENOMEM, too_many_objects });
}

TEST_F(order, of_unmap)
{
	EACH_PAIR(do_unmap, { EINVAL, bad_flags }, { EINVAL, offset_not_aligned },
		  { EINVAL, length_0 }, { EINVAL, overflow }, { EBADF, not_open },
		  { EBADF, opened_as_path }, { EBADFD, not_a_region }, { EBADF, not_for_writing },
		  { EPERM, region_of_a_file },
		  { ENOMEM, past_the_size }, { EINVAL, would_cut }, { EOWNERDEAD, dead_owner },
		  { ENOMEM, too_many_objects });
}

TEST_F(order, of_protect)
{
	EACH_PAIR(do_protect, { EINVAL, bad_flags }, { EINVAL, bad_prot },
		  { EINVAL, offset_not_aligned }, { EINVAL, length_0 }, { EINVAL, overflow },
		  { EBADF, not_open }, { EBADF, opened_as_path }, { EBADFD, not_a_region },
		  { EBADF, not_for_writing }, { EPERM, region_of_a_file },
		  { ENOMEM, past_the_size }, { ENOMEM, hole },
		  { EINVAL, would_cut }, { EOWNERDEAD, dead_owner }, { ENOMEM, too_many_objects });
}

TEST_F(order, of_advise)
{
	EACH_PAIR(do_advise, { EINVAL, bad_flags }, { EINVAL, bad_advice },
		  { EINVAL, offset_not_aligned }, { EINVAL, length_0 }, { EINVAL, overflow },
		  { EBADF, not_open }, { EBADF, opened_as_path }, { EBADFD, not_a_region },
		  { EBADF, not_for_writing }, { ENOMEM, past_the_size }, { EOWNERDEAD, dead_owner },
		  { ENOMEM, hole }, { EAGAIN, too_many_objects });
}

TEST_F(order, of_stat)
{
	EACH_PAIR(do_stat, { EINVAL, bad_flags }, { EINVAL, size_too_small },
		  { E2BIG, size_too_large }, { EFAULT, bad_pointer }, { EBADF, not_open },
		  { EBADF, opened_as_path }, { EBADFD, not_a_region });
}

TEST_F(order, of_open)
{
	self->call.not_a_region = true;
	/* Of another file than the one that has a region: that would be refused nothing. */
	file = memfd(PAGE, 0);
	EACH_PAIR(do_open, { EINVAL, bad_flags }, { EINVAL, overflow }, { EPERM, disabled },
		  { EBADF, not_open }, { EBADF, opened_as_path }, { EMFILE, no_free_descriptor },
		  { EACCES, not_for_reading }, { EOVERFLOW, past_the_largest_file },
		  { EFBIG, past_the_largest_region }, { EDQUOT, too_many_regions });
}

TEST_HARNESS_MAIN
