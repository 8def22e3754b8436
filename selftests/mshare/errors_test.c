// SPDX-License-Identifier: GPL-2.0
/*
 * The ERRORS of the manual, entry by entry: each is made to happen, and nothing
 * is different afterwards.  A test is named "PAGE ERRNO: cause" and expects the
 * errno that its name says.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <dirent.h>
#include <linux/fs.h>
#include <linux/fuse.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/swap.h>
#include <sys/syscall.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE			65
#define PR_MDWE_REFUSE_EXEC_GAIN	1
#endif

#define ANON		(MAP_SHARED | MAP_ANONYMOUS)
#define LEN		(64 * KIB)
/* Free offsets of the region. */
#define FREE		(4 * MIB)
#define FREE2		(8 * MIB)
#define BAD_POINTER	((void *)8UL)
#define NOT_OPEN	999

/* What a call could change. */
struct state {
	struct snap mine, other;
	long long regions, attachments;
	int fds;
};

struct world {
	struct __test_metadata *metadata;
	int want;	/* the errno */
	char page[32];	/* the call */
	int fd;		/* a region with LEN bytes at 0, attached at addr */
	char *addr;
	int other;	/* another region that must stay the same, or -1 */
};

static int open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static struct state state_of(struct world *w)
{
	struct state s = {
		.mine = snap_take(w->fd, w->addr, LEN),
		.attachments = sys_mshare("attachments"),
		.regions = sys_mshare("regions"),
		.fds = open_fds(),
	};

	if (w->other >= 0)
		s.other = snap_take(w->other, w->addr, 0);
	return s;
}

static void unchanged(struct world *w, const struct state *before)
{
	struct __test_metadata *_metadata = w->metadata;
	struct state after = state_of(w);

	EXPECT_TRUE(snap_same(&before->mine, &after.mine));
	if (w->other >= 0)
		EXPECT_TRUE(snap_same(&before->other, &after.other));
	EXPECT_EQ(before->fds, after.fds);
	EXPECT_EQ(before->attachments, after.attachments);
	/* A region that is given up half-made goes a little later. */
	EXPECT_TRUE(sys_mshare_becomes("regions", before->regions));
}

/* The call fails with the errno that the test is named for, and changes nothing. */
#define FAILS(call) do {							\
	struct __test_metadata *_metadata = w->metadata;			\
	struct state __before = state_of(w);					\
	long long __ret;							\
	int __err;								\
	errno = 0;								\
	__ret = (long long)(call);						\
	__err = errno;								\
	EXPECT_EQ(-1, __ret);							\
	EXPECT_EQ(w->want, __err) {						\
		TH_LOG("%s: %s", #call, strerror(__err));			\
	}									\
	unchanged(w, &__before);						\
} while (0)

/* For the body of an entry. */
#define NEED(cond) do {								\
	struct __test_metadata *_metadata = w->metadata;			\
	ASSERT_TRUE(cond) {							\
		TH_LOG("%s: %m", #cond);					\
	}									\
} while (0)
#define SKIP_ENTRY(why) do {							\
	struct __test_metadata *_metadata = w->metadata;			\
	SKIP(return, why);							\
} while (0)

struct entry {
	struct __test_metadata metadata;
	void (*body)(struct world *w);
};

static void run_entry(struct __test_metadata *_metadata, struct __fixture_variant_metadata *variant)
{
	struct entry *entry = (struct entry *)_metadata;
	struct world w = { .metadata = _metadata, .other = -1 };
	char name[16];

	_metadata->setup_completed = true;
	if (!setjmp(_metadata->env)) {
		ASSERT_EQ(2, sscanf(_metadata->name, "%31s %15[A-Z0-9]:", w.page, name));
		for (w.want = 1; w.want < 134; w.want++)
			if (strerrorname_np(w.want) && !strcmp(strerrorname_np(w.want), name))
				break;
		ASSERT_GT(134, w.want);
		settled();
		w.addr = filled_region(&w.fd, 0, LEN);
		ASSERT_NE(NULL, w.addr);
		entry->body(&w);
	}
	__test_check_assert(_metadata);
}

#define ENTRY__(text, line)							\
	static void body_##line(struct world *w);				\
	static struct entry entry_##line = {					\
		.metadata = { .name = (text), .fn = run_entry,			\
			      .fixture = &_fixture_global, .termsig = -1,	\
			      .timeout = TEST_TIMEOUT_DEFAULT },		\
		.body = body_##line,						\
	};									\
	static void __attribute__((constructor(KSELFTEST_PRIO_TEST))) register_##line(void) \
	{									\
		__register_test(&entry_##line.metadata);			\
	}									\
	static void body_##line(struct world *w)
#define ENTRY_(text, line)	ENTRY__(text, line)
#define ERROR(text)		ENTRY_(text, __LINE__)

/* Descriptors and files */

/* The call of the page with good arguments, on any descriptor. */
static long on(struct world *w, int fd)
{
	struct mshare_stat st;

	if (!strcmp(w->page, "mshare_attach"))
		return (long)mshare_attach(fd, NULL, 0);
	if (!strcmp(w->page, "mshare_map"))
		return map_anon(fd, FREE, PAGE, RW);
	if (!strcmp(w->page, "mshare_unmap"))
		return mshare_unmap(fd, 0, PAGE, 0);
	if (!strcmp(w->page, "mshare_protect"))
		return mshare_protect(fd, 0, PAGE, PROT_READ, 0);
	if (!strcmp(w->page, "mshare_advise"))
		return mshare_advise(fd, 0, PAGE, MADV_DONTNEED, 0);
	if (!strcmp(w->page, "mshare_open"))
		return mshare_open(fd, 0, 0);
	return mshare_stat(fd, &st, sizeof(st), 0);
}

static int reopened(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags);
}

static void fails_reopened(struct world *w, int flags)
{
	int fd = reopened(w->fd, flags);

	NEED(fd >= 0);
	FAILS(on(w, fd));
}

/* A region whose owner is gone, with an object at 0 that a worker has forbidden. */
static int dead_region(void)
{
	char path[64];
	int pair[2], fd;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		return -1;
	pid = fork();
	if (!pid) {
		fd = mshare_create("dead", MSHARE_OWNED);
		if (ftruncate(fd, GIB) || map_anon(fd, 0, LEN, RW))
			_exit(1);
		send_fd(pair[0], fd);
		_exit(0);
	}
	fd = receive_fd(pair[1]);
	close(pair[0]);
	close(pair[1]);
	if (wait_for(pid) || !(stat_of(fd).flags & MSHARE_STAT_DEAD))
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	return BECOMES(strstr(slurp(path), " ---s ")) ? fd : -1;
}

/* The region of a file of a page. */
static int region_of_a_file(void)
{
	return mshare_open(memfd(PAGE, 0), 0, 0);
}

/* A memfd of a page, mapped at FREE, and sealed first. */
static int sealed_object(struct world *w, int seal)
{
	int file = memfd(PAGE, MFD_ALLOW_SEALING);

	return fcntl(file, F_ADD_SEALS, seal) ||
	       map_file(w->fd, FREE, PAGE, PROT_READ, file) != FREE ? -1 : file;
}

static bool set_attribute(int file, int flag)
{
	return !ioctl(file, FS_IOC_SETFLAGS, &flag);
}

/* Two huge pages of 2 MiB at FREE. */
static bool huge_object(struct world *w)
{
	return huge_pages(HUGE, 2) &&
	       map_obj(w->fd, FREE, 2 * HUGE, RW, ANON | MAP_HUGETLB, -1, 0) == FREE;
}

/* A file of 64 KiB on a disk that can be swapped to; its path is left in PATH. */
static int swap_file(char *path, size_t size)
{
	const char *dir = disk_mount();
	char buf[LEN] = {};
	int file;

	if (!dir)
		return -1;
	snprintf(path, size, "%s/swap", dir);
	file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	return pwrite(file, buf, LEN, 0) == LEN && !fsync(file) ? file : -1;
}

/* So many that the kernel sees them without adding up what its CPUs counted. */
static bool open_many_files(void)
{
	int i, fd = 0;

	for (i = 0; i < 500 && fd >= 0; i++)
		fd = open("/dev/null", O_RDONLY);
	return fd >= 0;
}

/* As a user who may not have more files than the system allows. */
#define AS_USER_WITHOUT_FILES(call) ({						\
	static const char __path[] = "/proc/sys/fs/file-max";			\
	long long __old = read_number(__path), __ret = -2;			\
	int __err = 0;								\
	if (write_number(__path, 1)) {						\
		if (!seteuid(1000)) {						\
			__ret = (long long)(call);				\
			__err = errno;						\
			seteuid(0);						\
		}								\
		write_number(__path, __old);					\
	}									\
	errno = __err;								\
	__ret;									\
})

/* When the process may not have more descriptors than it has. */
#define WITHOUT_DESCRIPTORS(call) ({						\
	int __next = dup(0), __err;						\
	struct rlimit __old, __none;						\
	long long __ret;							\
	close(__next);								\
	getrlimit(RLIMIT_NOFILE, &__old);					\
	__none = (struct rlimit){ __next, __old.rlim_max };			\
	setrlimit(RLIMIT_NOFILE, &__none);					\
	__ret = (long long)(call);						\
	__err = errno;								\
	setrlimit(RLIMIT_NOFILE, &__old);					\
	errno = __err;								\
	__ret;									\
})

/* With a number in a file of the kernel for the time of the call. */
#define WITH_NUMBER(path, value, call) ({					\
	long long __old = read_number(path), __ret;				\
	int __err;								\
	write_number(path, value);						\
	errno = 0;								\
	__ret = (long long)(call);						\
	__err = errno;								\
	write_number(path, __old);						\
	errno = __err;								\
	__ret;									\
})

#define MAX_MAP_COUNT	"/proc/sys/vm/max_map_count"
#define SYS		"/sys/kernel/mm/mshare/"

static bool deny_write_exec(void)
{
	return !prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0);
}

/* mshare_create(2) */

ERROR("mshare_create EDQUOT: max_regions_per_user")
{
	FAILS(WITH_NUMBER(SYS "max_regions_per_user", 1, mshare_create("name", 0)));
}

ERROR("mshare_create EFAULT: name cannot be read")
{
	FAILS(mshare_create(NULL, 0));
	FAILS(mshare_create(BAD_POINTER, MSHARE_CLOEXEC));
	FAILS(mshare_create((char *)0xffff888000000000ULL, 0));
}

ERROR("mshare_create EINVAL: unknown flag")
{
	FAILS(mshare_create("name", 4));
	FAILS(mshare_create("name", 1U << 31 | MSHARE_CLOEXEC));
}

ERROR("mshare_create EINVAL: MSHARE_QUERY_ABI with another flag")
{
	FAILS(mshare_create(NULL, MSHARE_QUERY_ABI | MSHARE_CLOEXEC));
	FAILS(mshare_create(NULL, MSHARE_QUERY_ABI | MSHARE_OWNED));
}

ERROR("mshare_create EINVAL: MSHARE_QUERY_ABI with a name")
{
	FAILS(mshare_create("name", MSHARE_QUERY_ABI));
	FAILS(mshare_create("", MSHARE_QUERY_ABI));
}

ERROR("mshare_create EINVAL: name longer than 248 bytes")
{
	char name[250];

	memset(name, 'n', sizeof(name));
	name[249] = 0;
	FAILS(mshare_create(name, 0));
}

ERROR("mshare_create EMFILE: RLIMIT_NOFILE")
{
	FAILS(WITHOUT_DESCRIPTORS(mshare_create("name", 0)));
}

ERROR("mshare_create ENFILE: file-max")
{
	NEED(open_many_files());
	FAILS(AS_USER_WITHOUT_FILES(mshare_create("name", 0)));
}

ERROR("mshare_create EPERM: disabled")
{
	FAILS(WITH_NUMBER(SYS "enabled", 0, mshare_create("name", 0)));
}

/* mshare_attach(2) */

ERROR("mshare_attach EACCES: fd not open for reading")
{
	int wo = reopened(w->fd, O_WRONLY);

	FAILS(mshare_attach(wo, NULL, 0));
	FAILS(mshare_attach(wo, NULL, MSHARE_ATTACH_RDONLY));
}

ERROR("mshare_attach EACCES: fd not open for writing and no MSHARE_ATTACH_RDONLY")
{
	int ro = reopened(w->fd, O_RDONLY);

	FAILS(mshare_attach(ro, NULL, 0));
	FAILS(mshare_attach(ro, NULL, MSHARE_ATTACH_EXEC | MSHARE_ATTACH_DONTFORK));
}

ERROR("mshare_attach EACCES: writable and executable under PR_SET_MDWE")
{
	NEED(deny_write_exec());
	FAILS(mshare_attach(w->fd, NULL, MSHARE_ATTACH_EXEC));
}

ERROR("mshare_attach EBADF: fd not open")
{
	FAILS(on(w, NOT_OPEN));
	FAILS(on(w, -1));
}

ERROR("mshare_attach EBADF: O_PATH")
{
	fails_reopened(w, O_PATH);
}

ERROR("mshare_attach EBADFD: not a region")
{
	int file = memfd(PAGE, 0);

	FAILS(on(w, file));
}

ERROR("mshare_attach EBUSY: mmu notifiers")
{
	int kvm = open("/dev/kvm", O_RDWR), vm;

	if (kvm < 0)
		SKIP_ENTRY("no /dev/kvm: %m");
	/* With an attachment there would be no virtual machine. */
	NEED(!mshare_detach(w->addr, 0));
	w->addr = mmap(NULL, LEN, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	NEED(vm >= 0);
	FAILS(mshare_attach(w->fd, NULL, 0));
	/* Or has ever had. */
	close(vm);
	FAILS(mshare_attach(w->fd, NULL, MSHARE_ATTACH_RDONLY));
}

ERROR("mshare_attach EEXIST: something is mapped there")
{
	char *free = w->addr + 4 * SLOT;
	char *page = mmap(free + SLOT / 2, PAGE, RW,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	NEED(page == free + SLOT / 2);
	FAILS(mshare_attach(w->fd, w->addr, 0));
	FAILS(mshare_attach(w->fd, free, 0));
}

ERROR("mshare_attach EINVAL: unknown flag")
{
	FAILS(mshare_attach(w->fd, NULL, 8));
	FAILS(mshare_attach(w->fd, NULL, MSHARE_CLOEXEC));
}

ERROR("mshare_attach EINVAL: addr not aligned")
{
	FAILS(mshare_attach(w->fd, w->addr + 4 * SLOT + PAGE, 0));
	FAILS(mshare_attach(w->fd, w->addr + 4 * SLOT + SLOT / 2, 0));
}

ERROR("mshare_attach EINVAL: size 0")
{
	w->other = region(0);
	FAILS(mshare_attach(w->other, NULL, 0));
	FAILS(mshare_attach(w->other, w->addr + 4 * SLOT, MSHARE_ATTACH_RDONLY));
}

ERROR("mshare_attach ENOMEM: addr too high")
{
	FAILS(mshare_attach(w->fd, (void *)0xffff800000000000ULL, 0));
}

ERROR("mshare_attach ENOMEM: no free slots")
{
	w->other = region(32 * TIB);
	while (mshare_attach(w->other, NULL, 0) != MAP_FAILED)
		;
	FAILS(mshare_attach(w->other, NULL, 0));
}

ERROR("mshare_attach ENOMEM: 200 attachments")
{
	int i;

	w->other = region(PAGE);
	for (i = 1; i < 200; i++)
		NEED(mshare_attach(w->other, NULL, 0) != MAP_FAILED);
	FAILS(mshare_attach(w->fd, NULL, 0));
	FAILS(mshare_attach(w->other, NULL, 0));
}

ERROR("mshare_attach ENOMEM: max_map_count")
{
	FAILS(WITH_NUMBER(MAX_MAP_COUNT, 5, mshare_attach(w->fd, NULL, 0)));
}

ERROR("mshare_attach ENOMEM: RLIMIT_AS")
{
	unsigned long long now = file_key("/proc/self/status", "VmSize:") * KIB;

	w->other = region(GIB);
	NEED(w->other >= 0);
	NEED(!setrlimit(RLIMIT_AS, &(struct rlimit){ now + GIB - MIB, RLIM_INFINITY }));
	FAILS(mshare_attach(w->other, NULL, 0));
}

ERROR("mshare_attach EOWNERDEAD: owner gone")
{
	w->other = dead_region();
	NEED(w->other >= 0);
	FAILS(on(w, w->other));
}

/* mshare_detach(2) */

ERROR("mshare_detach EINVAL: flags not 0")
{
	unsigned int bit;

	for (bit = 1; bit; bit <<= 1)
		FAILS(mshare_detach(w->addr, bit));
}

ERROR("mshare_detach EINVAL: not the start of an attachment")
{
	char *page = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	FAILS(mshare_detach(w->addr + PAGE, 0));
	FAILS(mshare_detach(w->addr + SLOT, 0));
	FAILS(mshare_detach(w->addr - SLOT, 0));
	FAILS(mshare_detach(NULL, 0));
	FAILS(mshare_detach(page, 0));
	FAILS(mshare_detach((void *)-4096L, 0));
	*page = 1;
}

ERROR("mshare_detach EPERM: sealed")
{
	if (syscall(__NR_mseal, w->addr, SLOT, 0))
		SKIP_ENTRY("no mseal: %m");
	FAILS(mshare_detach(w->addr, 0));
}

/* mshare_map(2) */

static const struct mshare_map_args good = {
	.offset = FREE, .length = PAGE, .prot = RW, .flags = ANON, .fd = -1,
};

/* With one field of the structure changed. */
#define MAP_WITH(field, value) ({						\
	struct mshare_map_args __a = good;					\
	__a.field = (value);							\
	mshare_map(w->fd, &__a, sizeof(__a));					\
})

ERROR("mshare_map E2BIG: size above a page")
{
	static char buf[2 * PAGE];

	memcpy(buf, &good, sizeof(good));
	FAILS(mshare_map(w->fd, (void *)buf, PAGE + 1));
	FAILS(mshare_map(w->fd, (void *)buf, SIZE_MAX));
}

ERROR("mshare_map E2BIG: an unknown field is not 0")
{
	static char buf[PAGE];

	memcpy(buf, &good, sizeof(good));
	buf[sizeof(good)] = 1;
	FAILS(mshare_map(w->fd, (void *)buf, sizeof(good) + 8));
	buf[sizeof(good)] = 0;
	buf[PAGE - 1] = 1;
	FAILS(mshare_map(w->fd, (void *)buf, PAGE));
}

ERROR("mshare_map EACCES: args.fd not open for reading")
{
	int file = memfd(PAGE, 0), wo = reopened(file, O_WRONLY);

	FAILS(map_file(w->fd, FREE, PAGE, PROT_READ, wo));
	FAILS(map_file(w->fd, FREE, PAGE, PROT_WRITE, wo));
	FAILS(map_obj(w->fd, 0, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, wo, 0));
}

ERROR("mshare_map EACCES: PROT_WRITE and args.fd not open for writing")
{
	int file = memfd(PAGE, 0), ro = reopened(file, O_RDONLY);

	FAILS(map_file(w->fd, FREE, PAGE, RW, ro));
	FAILS(map_obj(w->fd, 0, PAGE, PROT_WRITE, MAP_SHARED | MAP_FIXED, ro, 0));
}

ERROR("mshare_map EACCES: append-only file open for writing")
{
	int file = file_on("tmpfs", 0, PAGE);

	NEED(set_attribute(file, FS_APPEND_FL));
	FAILS(map_file(w->fd, FREE, PAGE, PROT_READ, file));
}

ERROR("mshare_map EACCES: writable and executable under PR_SET_MDWE")
{
	NEED(deny_write_exec());
	FAILS(map_anon(w->fd, FREE, PAGE, RW | PROT_EXEC));
}

ERROR("mshare_map EBADF: fd not open")
{
	FAILS(on(w, NOT_OPEN));
}

ERROR("mshare_map EBADF: O_PATH")
{
	fails_reopened(w, O_PATH);
}

ERROR("mshare_map EBADF: fd not open for writing")
{
	fails_reopened(w, O_RDONLY);
}

ERROR("mshare_map EBADF: args.fd not open")
{
	FAILS(map_file(w->fd, FREE, PAGE, RW, NOT_OPEN));
	FAILS(map_file(w->fd, FREE, PAGE, RW, -1));
	FAILS(map_obj(w->fd, 0, PAGE, RW, MAP_SHARED | MAP_FIXED, NOT_OPEN, 0));
}

ERROR("mshare_map EBADF: args.fd with O_PATH")
{
	int file = memfd(PAGE, 0), path = reopened(file, O_PATH);

	NEED(path >= 0);
	FAILS(map_file(w->fd, FREE, PAGE, RW, path));
}

ERROR("mshare_map EBADFD: not a region")
{
	int file = memfd(PAGE, 0);

	FAILS(on(w, file));
}

ERROR("mshare_map EEXIST: overlap")
{
	int file = memfd(PAGE, 0);

	FAILS(map_anon(w->fd, 0, PAGE, RW));
	FAILS(map_anon(w->fd, LEN - PAGE, 2 * PAGE, RW));
	FAILS(map_file(w->fd, 0, GIB, RW, file));
}

ERROR("mshare_map EFAULT: args cannot be read")
{
	char *end = mmap(NULL, 2 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) + PAGE;

	FAILS(mshare_map(w->fd, NULL, 40));
	FAILS(mshare_map(w->fd, BAD_POINTER, 40));
	FAILS(mshare_map(w->fd, (void *)0xffff888000000000ULL, 40));
	/* Also when only the part after the known one cannot be read. */
	NEED(!munmap(end, PAGE));
	memcpy(end - 40, &good, 40);
	FAILS(mshare_map(w->fd, (void *)(end - 40), 48));
}

ERROR("mshare_map EINVAL: size below 40")
{
	FAILS(mshare_map(w->fd, &good, 39));
	FAILS(mshare_map(w->fd, &good, 0));
}

ERROR("mshare_map EINVAL: reserved not 0")
{
	FAILS(MAP_WITH(reserved, 1));
	FAILS(MAP_WITH(reserved, 1U << 31));
}

ERROR("mshare_map EINVAL: unknown bit in prot")
{
	FAILS(MAP_WITH(prot, PROT_READ | 8));
	FAILS(MAP_WITH(prot, PROT_READ | PROT_GROWSDOWN));
}

ERROR("mshare_map EINVAL: flag that is unknown or not allowed")
{
	FAILS(MAP_WITH(flags, ANON | MAP_LOCKED));
	FAILS(MAP_WITH(flags, ANON | MAP_GROWSDOWN));
	FAILS(MAP_WITH(flags, ANON | MAP_FIXED_NOREPLACE));
	FAILS(MAP_WITH(flags, MAP_SHARED_VALIDATE | MAP_ANONYMOUS | MAP_SYNC));
}

ERROR("mshare_map EINVAL: no MAP_SHARED")
{
	FAILS(MAP_WITH(flags, MAP_PRIVATE | MAP_ANONYMOUS));
	FAILS(MAP_WITH(flags, MAP_ANONYMOUS));
	FAILS(MAP_WITH(flags, MAP_ANONYMOUS | 8));
}

ERROR("mshare_map EINVAL: huge page size without MAP_HUGETLB")
{
	FAILS(MAP_WITH(flags, ANON | MAP_HUGE_2MB));
}

ERROR("mshare_map EINVAL: MAP_ANONYMOUS and fd not -1")
{
	FAILS(MAP_WITH(fd, 0));
	FAILS(MAP_WITH(fd, -2));
}

ERROR("mshare_map EINVAL: MAP_ANONYMOUS and fd_offset not 0")
{
	FAILS(MAP_WITH(fd_offset, PAGE));
}

ERROR("mshare_map EINVAL: MAP_FIXED and MSHARE_ANY_OFFSET")
{
	FAILS(map_obj(w->fd, MSHARE_ANY_OFFSET, PAGE, RW, ANON | MAP_FIXED, -1, 0));
}

ERROR("mshare_map EINVAL: offset not aligned")
{
	FAILS(MAP_WITH(offset, FREE + 1));
	FAILS(MAP_WITH(offset, FREE + 2048));
}

ERROR("mshare_map EINVAL: length 0")
{
	FAILS(MAP_WITH(length, 0));
	FAILS(map_obj(w->fd, 0, 0, RW, ANON | MAP_FIXED, -1, 0));
}

ERROR("mshare_map EINVAL: offset and length overflow")
{
	FAILS(MAP_WITH(length, ~0ULL));
	FAILS(MAP_WITH(length, ~0ULL << 12));
	FAILS(MAP_WITH(offset, ~0ULL << 12));
}

ERROR("mshare_map EINVAL: fd_offset not aligned")
{
	int file = memfd(2 * PAGE, 0);

	FAILS(map_obj(w->fd, FREE, PAGE, RW, MAP_SHARED, file, 1));
	FAILS(map_obj(w->fd, FREE, PAGE, RW, MAP_SHARED, file, PAGE + 512));
}

ERROR("mshare_map EINVAL: fd_offset and length overflow")
{
	int file = memfd(2 * PAGE, 0);

	FAILS(map_obj(w->fd, FREE, PAGE, RW, MAP_SHARED, file, ~0ULL << 12));
}

ERROR("mshare_map EINVAL: MAP_HUGETLB and not a hugetlbfs file")
{
	int file = memfd(HUGE, 0);

	FAILS(map_obj(w->fd, FREE, HUGE, RW, MAP_SHARED | MAP_HUGETLB, file, 0));
}

ERROR("mshare_map EINVAL: no huge pages of that size")
{
	FAILS(map_obj(w->fd, FREE, HUGE, RW, ANON | MAP_HUGETLB | 13 << 26, -1, 0));
}

ERROR("mshare_map EINVAL: offset not a multiple of the huge page size")
{
	int file = memfd(HUGE, MFD_HUGETLB);

	NEED(huge_pages(HUGE, 2));
	FAILS(map_obj(w->fd, FREE + PAGE, HUGE, RW, ANON | MAP_HUGETLB, -1, 0));
	FAILS(map_file(w->fd, FREE + PAGE, HUGE, RW, file));
}

ERROR("mshare_map EINVAL: fd_offset not a multiple of the huge page size")
{
	int file = memfd(2 * HUGE, MFD_HUGETLB);

	NEED(huge_pages(HUGE, 2));
	FAILS(map_obj(w->fd, FREE, HUGE, RW, MAP_SHARED, file, PAGE));
}

ERROR("mshare_map EINVAL: MAP_FIXED would cut a huge page")
{
	NEED(huge_object(w));
	FAILS(map_obj(w->fd, FREE + PAGE, HUGE - PAGE, RW, ANON | MAP_FIXED, -1, 0));
	FAILS(map_obj(w->fd, FREE, PAGE, RW, ANON | MAP_FIXED, -1, 0));
	FAILS(map_obj(w->fd, FREE - PAGE, 2 * PAGE, RW, ANON | MAP_FIXED, -1, 0));
}

ERROR("mshare_map ENFILE: file-max")
{
	NEED(open_many_files());
	FAILS(AS_USER_WITHOUT_FILES(map_anon(w->fd, FREE, PAGE, RW)));
}

ERROR("mshare_map ENODEV: not a regular file")
{
	int zero = open("/dev/zero", O_RDWR), dir = open("/", O_RDONLY), pair[2];

	NEED(!pipe(pair));
	FAILS(map_file(w->fd, FREE, PAGE, RW, zero));
	FAILS(map_file(w->fd, FREE, PAGE, PROT_READ, dir));
	FAILS(map_file(w->fd, FREE, PAGE, PROT_READ, pair[0]));
	FAILS(map_obj(w->fd, 0, PAGE, RW, MAP_SHARED | MAP_FIXED, zero, 0));
}

ERROR("mshare_map ENODEV: a region")
{
	w->other = region(GIB);
	FAILS(map_file(w->fd, FREE, PAGE, RW, w->other));
	FAILS(map_file(w->fd, FREE, PAGE, RW, w->fd));
}

/* A file system that knows one file, its root, and answers nothing else. */
static void *serve_fuse(void *arg)
{
	int dev = *(int *)arg;
	static char buf[64 * KIB];
	struct fuse_in_header *in = (void *)buf;

	while (read(dev, buf, sizeof(buf)) > 0) {
		struct {
			struct fuse_out_header header;
			struct fuse_init_out init;
		} out = { .header = { .unique = in->unique, .error = -ENOSYS } };

		out.header.len = sizeof(out.header);
		if (in->opcode == FUSE_INIT) {
			out.header.error = 0;
			out.header.len = sizeof(out);
			out.init.major = FUSE_KERNEL_VERSION;
			out.init.minor = FUSE_KERNEL_MINOR_VERSION;
			out.init.max_write = PAGE;
		}
		if (in->opcode != FUSE_FORGET)
			(void)!write(dev, &out, out.header.len);
	}
	return NULL;
}

/* What the call does to a file of FUSE. */
static void with_fuse(struct world *w, void (*fails)(struct world *w, int file))
{
	char path[] = "/tmp/mst.XXXXXX", options[100];
	int dev = open("/dev/fuse", O_RDWR), mountpoint = mkstemp(path), file;
	pthread_t thread;

	if (dev < 0)
		SKIP_ENTRY("no /dev/fuse: %m");
	NEED(mountpoint >= 0);
	sprintf(options, "fd=%d,rootmode=100644,user_id=0,group_id=0", dev);
	NEED(!mount("none", path, "fuse", 0, options));
	NEED(!pthread_create(&thread, NULL, serve_fuse, &dev));
	file = open(path, O_RDWR);
	if (file >= 0)
		fails(w, file);
	close(file);
	umount2(path, MNT_DETACH);
	unlink(path);
	NEED(file >= 0);
}

static void map_fails(struct world *w, int file)
{
	FAILS(map_file(w->fd, FREE, PAGE, PROT_READ, file));
	FAILS(map_file(w->fd, FREE, PAGE, RW, file));
}

ERROR("mshare_map ENODEV: a file of FUSE")
{
	with_fuse(w, map_fails);
}

ERROR("mshare_map ENODEV: a pseudo file")
{
	int proc = open("/proc/self/maps", O_RDONLY), sys = open(SYS "align", O_RDONLY);

	FAILS(map_file(w->fd, FREE, PAGE, PROT_READ, proc));
	FAILS(map_file(w->fd, FREE, PAGE, PROT_READ, sys));
}

ERROR("mshare_map ENODEV: memfd_secret")
{
	int secret = syscall(SYS_memfd_secret, 0);

	if (secret < 0)
		SKIP_ENTRY("no memfd_secret: %m");
	NEED(!ftruncate(secret, PAGE));
	FAILS(map_file(w->fd, FREE, PAGE, RW, secret));
}

ERROR("mshare_map ENOMEM: past the size of the region")
{
	FAILS(map_anon(w->fd, GIB, PAGE, RW));
	FAILS(map_anon(w->fd, GIB - PAGE, PAGE + 1, RW));
	FAILS(map_obj(w->fd, 0, GIB + PAGE, RW, ANON | MAP_FIXED, -1, 0));
}

ERROR("mshare_map ENOMEM: no free place")
{
	NEED(map_anon(w->fd, 512 * MIB, PAGE, RW) == 512 * MIB);
	FAILS(map_anon(w->fd, MSHARE_ANY_OFFSET, 512 * MIB, RW));
}

ERROR("mshare_map ENOMEM: max_map_count")
{
	NEED(map_anon(w->fd, FREE2, PAGE, RW) == FREE2);
	FAILS(WITH_NUMBER(MAX_MAP_COUNT, 2, map_anon(w->fd, FREE, PAGE, RW)));
}

ERROR("mshare_map ENOMEM: overcommit")
{
	/* More than there can be by the heuristics of mode 0. */
	w->other = region(2 * TIB);
	FAILS(WITH_NUMBER("/proc/sys/vm/overcommit_memory", 0,
			  map_anon(w->other, 0, TIB, RW)));
}

ERROR("mshare_map ENOMEM: not enough huge pages to reserve")
{
	w->other = region(GIB);
	FAILS(map_obj(w->other, 0, GIB, RW, ANON | MAP_HUGETLB | MAP_HUGE_2MB, -1, 0));
}

ERROR("mshare_map EOVERFLOW: past the largest file")
{
	int file = memfd(PAGE, 0);

	FAILS(map_obj(w->fd, FREE, 2 * PAGE, RW, MAP_SHARED, file, INT64_MAX & ~(PAGE - 1)));
}

ERROR("mshare_map EOWNERDEAD: owner gone")
{
	w->other = dead_region();
	NEED(w->other >= 0);
	FAILS(on(w, w->other));
}

ERROR("mshare_map EPERM: PROT_EXEC on a noexec mount")
{
	int file = file_on("tmpfs", MS_NOEXEC, PAGE);

	NEED(file >= 0);
	FAILS(map_file(w->fd, FREE, PAGE, PROT_READ | PROT_EXEC, file));
}

ERROR("mshare_map EPERM: the region of a file")
{
	w->other = region_of_a_file();
	NEED(w->other >= 0);
	FAILS(on(w, w->other));
}

ERROR("mshare_map EPERM: PROT_WRITE and a seal")
{
	int file = memfd(PAGE, MFD_ALLOW_SEALING), future = memfd(PAGE, MFD_ALLOW_SEALING);

	NEED(!fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
	NEED(!fcntl(future, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
	FAILS(map_file(w->fd, FREE, PAGE, RW, file));
	FAILS(map_file(w->fd, FREE, PAGE, RW, future));
}

ERROR("mshare_map ETXTBSY: PROT_WRITE and a swap file")
{
	char path[128];
	int file = swap_file(path, sizeof(path));

	if (file < 0)
		SKIP_ENTRY(NO_DISK);
	NEED(swap_on(path));
	FAILS(map_file(w->fd, FREE, PAGE, RW, file));
	NEED(!swapoff(path));
}

/* mshare_unmap(2) */

ERROR("mshare_unmap EBADF: fd not open")
{
	FAILS(on(w, NOT_OPEN));
}

ERROR("mshare_unmap EBADF: O_PATH")
{
	fails_reopened(w, O_PATH);
}

ERROR("mshare_unmap EBADF: fd not open for writing")
{
	fails_reopened(w, O_RDONLY);
}

ERROR("mshare_unmap EBADFD: not a region")
{
	int file = memfd(PAGE, 0);

	FAILS(on(w, file));
}

ERROR("mshare_unmap EINVAL: flags not 0")
{
	FAILS(mshare_unmap(w->fd, 0, PAGE, 1));
	FAILS(mshare_unmap(w->fd, 0, PAGE, 1U << 31));
}

ERROR("mshare_unmap EINVAL: offset not aligned")
{
	FAILS(mshare_unmap(w->fd, 1, PAGE, 0));
	FAILS(mshare_unmap(w->fd, PAGE + 2048, PAGE, 0));
}

ERROR("mshare_unmap EINVAL: length 0")
{
	FAILS(mshare_unmap(w->fd, 0, 0, 0));
}

ERROR("mshare_unmap EINVAL: offset and length overflow")
{
	FAILS(mshare_unmap(w->fd, PAGE, ~0ULL << 12, 0));
	FAILS(mshare_unmap(w->fd, 0, ~0ULL, 0));
}

ERROR("mshare_unmap EINVAL: the range cuts a huge page")
{
	NEED(huge_object(w));
	FAILS(mshare_unmap(w->fd, FREE, PAGE, 0));
	FAILS(mshare_unmap(w->fd, FREE + PAGE, 2 * HUGE - PAGE, 0));
	/* With an object before it that could be unmapped. */
	FAILS(mshare_unmap(w->fd, 0, FREE + PAGE, 0));
}

ERROR("mshare_unmap ENOMEM: past the size of the region")
{
	FAILS(mshare_unmap(w->fd, 0, GIB + PAGE, 0));
	FAILS(mshare_unmap(w->fd, GIB, PAGE, 0));
}

ERROR("mshare_unmap ENOMEM: max_map_count")
{
	FAILS(WITH_NUMBER(MAX_MAP_COUNT, 1, mshare_unmap(w->fd, PAGE, PAGE, 0)));
}

ERROR("mshare_unmap EOWNERDEAD: owner gone")
{
	w->other = dead_region();
	NEED(w->other >= 0);
	FAILS(on(w, w->other));
}

ERROR("mshare_unmap EPERM: the region of a file")
{
	w->other = region_of_a_file();
	NEED(w->other >= 0);
	FAILS(on(w, w->other));
}

/* mshare_protect(2) */

ERROR("mshare_protect EACCES: PROT_WRITE and a file that was not open for writing")
{
	int file = memfd(PAGE, 0), ro = reopened(file, O_RDONLY);

	NEED(map_file(w->fd, FREE, PAGE, PROT_READ, ro) == FREE);
	NEED(map_anon(w->fd, FREE - PAGE, PAGE, PROT_READ) == FREE - PAGE);
	FAILS(mshare_protect(w->fd, FREE, PAGE, RW, 0));
	/* With an object before it that would allow it. */
	FAILS(mshare_protect(w->fd, FREE - PAGE, 2 * PAGE, RW, 0));
}

ERROR("mshare_protect EACCES: PROT_WRITE and a file that was sealed")
{
	NEED(sealed_object(w, F_SEAL_WRITE) >= 0);
	FAILS(mshare_protect(w->fd, FREE, PAGE, RW, 0));
}

ERROR("mshare_protect EACCES: PROT_EXEC and a noexec mount")
{
	int file = file_on("tmpfs", MS_NOEXEC, PAGE);

	NEED(map_file(w->fd, FREE, PAGE, PROT_READ, file) == FREE);
	FAILS(mshare_protect(w->fd, FREE, PAGE, PROT_READ | PROT_EXEC, 0));
}

ERROR("mshare_protect EACCES: writable and executable under PR_SET_MDWE")
{
	NEED(map_anon(w->fd, FREE, PAGE, RW | PROT_EXEC) == FREE);
	NEED(deny_write_exec());
	FAILS(mshare_protect(w->fd, 0, PAGE, RW | PROT_EXEC, 0));
	FAILS(mshare_protect(w->fd, FREE, PAGE, RW | PROT_EXEC, 0));
}

ERROR("mshare_protect EACCES: executable from now on under PR_SET_MDWE")
{
	NEED(deny_write_exec());
	FAILS(mshare_protect(w->fd, 0, PAGE, PROT_READ | PROT_EXEC, 0));
}

ERROR("mshare_protect EBADF: fd not open")
{
	FAILS(on(w, NOT_OPEN));
}

ERROR("mshare_protect EBADF: O_PATH")
{
	fails_reopened(w, O_PATH);
}

ERROR("mshare_protect EBADF: fd not open for writing")
{
	fails_reopened(w, O_RDONLY);
}

ERROR("mshare_protect EBADFD: not a region")
{
	int file = memfd(PAGE, 0);

	FAILS(on(w, file));
}

ERROR("mshare_protect EINVAL: flags not 0")
{
	FAILS(mshare_protect(w->fd, 0, PAGE, PROT_READ, 1));
	FAILS(mshare_protect(w->fd, 0, PAGE, PROT_READ, 1U << 31));
}

ERROR("mshare_protect EINVAL: unknown bit in prot")
{
	FAILS(mshare_protect(w->fd, 0, PAGE, PROT_READ | 8, 0));
	FAILS(mshare_protect(w->fd, 0, PAGE, PROT_READ | PROT_GROWSUP, 0));
}

ERROR("mshare_protect EINVAL: offset not aligned")
{
	FAILS(mshare_protect(w->fd, 1, PAGE, PROT_READ, 0));
	FAILS(mshare_protect(w->fd, PAGE + 2048, PAGE, PROT_READ, 0));
}

ERROR("mshare_protect EINVAL: length 0")
{
	FAILS(mshare_protect(w->fd, 0, 0, PROT_READ, 0));
}

ERROR("mshare_protect EINVAL: offset and length overflow")
{
	FAILS(mshare_protect(w->fd, PAGE, ~0ULL << 12, PROT_READ, 0));
	FAILS(mshare_protect(w->fd, 0, ~0ULL, PROT_READ, 0));
}

ERROR("mshare_protect EINVAL: the range cuts a huge page")
{
	NEED(huge_object(w));
	FAILS(mshare_protect(w->fd, FREE, PAGE, PROT_READ, 0));
	FAILS(mshare_protect(w->fd, FREE + PAGE, 2 * HUGE - PAGE, PROT_READ, 0));
}

ERROR("mshare_protect ENOMEM: past the size of the region")
{
	FAILS(mshare_protect(w->fd, 0, GIB + PAGE, PROT_READ, 0));
	FAILS(mshare_protect(w->fd, GIB, PAGE, PROT_READ, 0));
}

ERROR("mshare_protect ENOMEM: a hole")
{
	NEED(map_anon(w->fd, FREE, PAGE, RW) == FREE);
	FAILS(mshare_protect(w->fd, LEN, PAGE, PROT_READ, 0));
	FAILS(mshare_protect(w->fd, LEN - PAGE, 2 * PAGE, PROT_READ, 0));
	FAILS(mshare_protect(w->fd, 0, FREE + PAGE, PROT_READ, 0));
}

ERROR("mshare_protect ENOMEM: max_map_count")
{
	FAILS(WITH_NUMBER(MAX_MAP_COUNT, 1, mshare_protect(w->fd, 0, PAGE, PROT_READ, 0)));
}

ERROR("mshare_protect EOWNERDEAD: owner gone")
{
	w->other = dead_region();
	NEED(w->other >= 0);
	FAILS(on(w, w->other));
}

ERROR("mshare_protect EPERM: the region of a file")
{
	w->other = region_of_a_file();
	NEED(w->other >= 0);
	FAILS(on(w, w->other));
}

/* mshare_advise(2) */

ERROR("mshare_advise EACCES: MADV_REMOVE and a file that was not open for writing")
{
	int file = memfd(PAGE, 0), ro = reopened(file, O_RDONLY);

	NEED(map_file(w->fd, FREE, PAGE, PROT_READ, ro) == FREE);
	FAILS(mshare_advise(w->fd, FREE, PAGE, MADV_REMOVE, 0));
}

ERROR("mshare_advise EACCES: MADV_REMOVE and a file that was sealed")
{
	NEED(sealed_object(w, F_SEAL_WRITE) >= 0);
	FAILS(mshare_advise(w->fd, FREE, PAGE, MADV_REMOVE, 0));
}

ERROR("mshare_advise EAGAIN: max_map_count")
{
	static const int advices[] = { MADV_RANDOM, MADV_SEQUENTIAL, MADV_NOHUGEPAGE };
	unsigned int i;

	for (i = 0; i < sizeof(advices) / sizeof(advices[0]); i++)
		FAILS(WITH_NUMBER(MAX_MAP_COUNT, 1,
				  mshare_advise(w->fd, PAGE, PAGE, advices[i], 0)));
}

ERROR("mshare_advise EBADF: fd not open")
{
	FAILS(on(w, NOT_OPEN));
}

ERROR("mshare_advise EBADF: O_PATH")
{
	fails_reopened(w, O_PATH);
}

ERROR("mshare_advise EBADF: fd not open for writing")
{
	fails_reopened(w, O_RDONLY);
}

ERROR("mshare_advise EBADFD: not a region")
{
	int file = memfd(PAGE, 0);

	FAILS(on(w, file));
}

/* A region of LENGTH bytes whose creator's cgroup has no room for much more. */
static int full_cgroup_region(char *dir, size_t size, uint64_t length)
{
	long long room;
	char *addr;
	int fd;

	if (!cgroup_make(dir, size))
		return -1;
	fd = cgroup_region(dir, GIB);
	addr = attached(fd, 0, length);
	if (!addr)
		return -1;
	fill(addr, length, 1);
	write_text(cgroup_file(dir, "memory.swap.max"), "0");
	/* Never below what it has, which would start the OOM killer. */
	room = read_number(cgroup_file(dir, "memory.current")) + LEN;
	return mshare_detach(addr, 0) || !write_number(cgroup_file(dir, "memory.max"), room) ?
	       -1 : fd;
}

ERROR("mshare_advise EBUSY: MADV_COLLAPSE and a cgroup without room")
{
	char dir[64];

	w->other = full_cgroup_region(dir, sizeof(dir), HUGE);
	if (w->other < 0)
		SKIP_ENTRY("no cgroup2 with memory: %m");
	FAILS(mshare_advise(w->other, 0, HUGE, MADV_COLLAPSE, 0));
}

ERROR("mshare_advise EFAULT: populate past the end of a file")
{
	int file = memfd(0, 0);

	NEED(map_file(w->fd, FREE, PAGE, RW, file) == FREE);
	FAILS(mshare_advise(w->fd, FREE, PAGE, MADV_POPULATE_READ, 0));
	FAILS(mshare_advise(w->fd, FREE, PAGE, MADV_POPULATE_WRITE, 0));
}

ERROR("mshare_advise EFAULT: populate without a huge page")
{
	long long all;

	/* One more than there are. */
	NEED(huge_pages(HUGE, 1));
	all = HUGE * read_number("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
	NEED(map_obj(w->fd, FREE, all + HUGE, RW, ANON | MAP_HUGETLB | MAP_NORESERVE, -1, 0) ==
	     FREE);
	NEED(!mshare_advise(w->fd, FREE, all, MADV_POPULATE_WRITE, 0));
	FAILS(mshare_advise(w->fd, FREE + all, HUGE, MADV_POPULATE_READ, 0));
	FAILS(mshare_advise(w->fd, FREE + all, HUGE, MADV_POPULATE_WRITE, 0));
}

ERROR("mshare_advise EHWPOISON: populate of a poisoned page")
{
	int file = memfd(PAGE, 0), status;
	pid_t pid;

	/* Where a page table is already. */
	NEED(map_file(w->fd, MIB, PAGE, RW, file) == MIB);
	pid = fork();
	if (!pid) {
		char *plain = mmap(NULL, PAGE, RW, MAP_SHARED, file, 0);

		CHILD_CHECK(plain != MAP_FAILED);
		*plain = 1;
		/* Kills the caller, as if it had hit the page itself. */
		_exit(madvise(plain, PAGE, MADV_HWPOISON) ? 77 : 0);
	}
	status = wait_for(pid);
	if (status == 77)
		SKIP_ENTRY("no MADV_HWPOISON");
	NEED(status == 0 || status == KILLED_BY(SIGBUS));
	FAILS(mshare_advise(w->fd, MIB, PAGE, MADV_POPULATE_READ, 0));
	FAILS(mshare_advise(w->fd, MIB, PAGE, MADV_POPULATE_WRITE, 0));
}

ERROR("mshare_advise EINVAL: flags not 0")
{
	FAILS(mshare_advise(w->fd, 0, PAGE, MADV_DONTNEED, 1));
	FAILS(mshare_advise(w->fd, 0, PAGE, MADV_DONTNEED, 1U << 31));
}

ERROR("mshare_advise EINVAL: unknown advice")
{
	FAILS(mshare_advise(w->fd, 0, PAGE, -1, 0));
	FAILS(mshare_advise(w->fd, 0, PAGE, MADV_FREE, 0));
	FAILS(mshare_advise(w->fd, 0, PAGE, MADV_HWPOISON, 0));
	FAILS(mshare_advise(w->fd, 0, PAGE, MADV_DONTFORK, 0));
}

ERROR("mshare_advise EINVAL: offset not aligned")
{
	FAILS(mshare_advise(w->fd, 1, PAGE, MADV_DONTNEED, 0));
	FAILS(mshare_advise(w->fd, PAGE + 2048, PAGE, MADV_DONTNEED, 0));
}

ERROR("mshare_advise EINVAL: length 0")
{
	FAILS(mshare_advise(w->fd, 0, 0, MADV_DONTNEED, 0));
}

ERROR("mshare_advise EINVAL: offset and length overflow")
{
	FAILS(mshare_advise(w->fd, PAGE, ~0ULL << 12, MADV_DONTNEED, 0));
	FAILS(mshare_advise(w->fd, 0, ~0ULL, MADV_DONTNEED, 0));
}

ERROR("mshare_advise EINVAL: MADV_POPULATE_READ and PROT_NONE")
{
	NEED(map_anon(w->fd, FREE, PAGE, PROT_NONE) == FREE);
	FAILS(mshare_advise(w->fd, FREE, PAGE, MADV_POPULATE_READ, 0));
}

ERROR("mshare_advise EINVAL: MADV_POPULATE_WRITE without PROT_WRITE")
{
	NEED(map_anon(w->fd, FREE, PAGE, PROT_READ) == FREE);
	FAILS(mshare_advise(w->fd, FREE, PAGE, MADV_POPULATE_WRITE, 0));
}

ERROR("mshare_advise EINVAL: MADV_COLD or MADV_PAGEOUT of hugetlbfs")
{
	NEED(huge_object(w));
	FAILS(mshare_advise(w->fd, FREE, HUGE, MADV_COLD, 0));
	FAILS(mshare_advise(w->fd, FREE, HUGE, MADV_PAGEOUT, 0));
}

ERROR("mshare_advise EINVAL: MADV_DONTNEED begins in a huge page")
{
	NEED(huge_object(w));
	FAILS(mshare_advise(w->fd, FREE + PAGE, HUGE - PAGE, MADV_DONTNEED, 0));
}

ERROR("mshare_advise EINVAL: an advice for the object cuts a huge page")
{
	NEED(huge_object(w));
	FAILS(mshare_advise(w->fd, FREE + PAGE, HUGE - PAGE, MADV_RANDOM, 0));
	FAILS(mshare_advise(w->fd, FREE, PAGE, MADV_SEQUENTIAL, 0));
}

ERROR("mshare_advise EINVAL: MADV_COLLAPSE of what cannot have huge pages")
{
	NEED(huge_object(w));
	FAILS(mshare_advise(w->fd, FREE, HUGE, MADV_COLLAPSE, 0));
	NEED(map_anon(w->fd, 8 * HUGE, HUGE, RW) == 8 * HUGE);
	NEED(!mshare_advise(w->fd, 8 * HUGE, HUGE, MADV_NOHUGEPAGE, 0));
	FAILS(mshare_advise(w->fd, 8 * HUGE, HUGE, MADV_COLLAPSE, 0));
}

ERROR("mshare_advise ENOMEM: past the size of the region")
{
	FAILS(mshare_advise(w->fd, 0, GIB + PAGE, MADV_DONTNEED, 0));
	FAILS(mshare_advise(w->fd, GIB, PAGE, MADV_DONTNEED, 0));
}

ERROR("mshare_advise ENOMEM: a hole")
{
	FAILS(mshare_advise(w->fd, LEN, PAGE, MADV_DONTNEED, 0));
	FAILS(mshare_advise(w->fd, LEN, PAGE, MADV_POPULATE_WRITE, 0));
	FAILS(mshare_advise(w->fd, LEN, 2 * PAGE, MADV_RANDOM, 0));
}

ERROR("mshare_advise ENOMEM: populate and a full cgroup")
{
	char dir[64], *old = slurp("/proc/sys/kernel/printk");

	w->other = full_cgroup_region(dir, sizeof(dir), 4 * MIB);
	if (w->other < 0)
		SKIP_ENTRY("no cgroup2 with memory: %m");
	NEED(map_anon(w->other, 16 * MIB, 4 * MIB, RW) == 16 * MIB);
	/* The report of the OOM killer is no failure here: oom_test shows it. */
	write_text("/proc/sys/kernel/printk", "1");
	populate_what_can_be_had(w->other, 16 * MIB, 4 * MIB);
	FAILS(mshare_advise(w->other, 16 * MIB, 4 * MIB, MADV_POPULATE_WRITE, 0));
	write_text("/proc/sys/kernel/printk", old);
}

ERROR("mshare_advise EOPNOTSUPP: MADV_REMOVE and a file system without holes")
{
	int file = file_on("ramfs", 0, PAGE);

	NEED(map_file(w->fd, FREE, PAGE, RW, file) == FREE);
	FAILS(mshare_advise(w->fd, FREE, PAGE, MADV_REMOVE, 0));
}

ERROR("mshare_advise EOWNERDEAD: owner gone")
{
	w->other = dead_region();
	NEED(w->other >= 0);
	FAILS(on(w, w->other));
}

ERROR("mshare_advise EPERM: MADV_REMOVE and F_SEAL_FUTURE_WRITE since")
{
	int file = memfd(PAGE, MFD_ALLOW_SEALING);

	NEED(map_file(w->fd, FREE, PAGE, RW, file) == FREE);
	NEED(!fcntl(file, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
	FAILS(mshare_advise(w->fd, FREE, PAGE, MADV_REMOVE, 0));
}

ERROR("mshare_advise EPERM: MADV_REMOVE and immutable since")
{
	int file = file_on("tmpfs", 0, PAGE);

	NEED(map_file(w->fd, FREE, PAGE, RW, file) == FREE);
	NEED(set_attribute(file, FS_IMMUTABLE_FL));
	FAILS(mshare_advise(w->fd, FREE, PAGE, MADV_REMOVE, 0));
}

ERROR("mshare_advise EPERM: MADV_REMOVE and append-only since")
{
	int file = file_on("tmpfs", 0, PAGE);

	NEED(map_file(w->fd, FREE, PAGE, RW, file) == FREE);
	NEED(set_attribute(file, FS_APPEND_FL));
	FAILS(mshare_advise(w->fd, FREE, PAGE, MADV_REMOVE, 0));
}

ERROR("mshare_advise ETXTBSY: MADV_REMOVE and a swap file")
{
	char path[128];
	int file = swap_file(path, sizeof(path));

	if (file < 0)
		SKIP_ENTRY(NO_DISK);
	NEED(map_file(w->fd, FREE, PAGE, RW, file) == FREE);
	NEED(swap_on(path));
	FAILS(mshare_advise(w->fd, FREE, PAGE, MADV_REMOVE, 0));
	NEED(!swapoff(path));
}

/* mshare_stat(2) */

ERROR("mshare_stat E2BIG: size above a page")
{
	static char buf[2 * PAGE];

	FAILS(mshare_stat(w->fd, (void *)buf, PAGE + 1, 0));
	FAILS(mshare_stat(w->fd, (void *)buf, SIZE_MAX, 0));
}

ERROR("mshare_stat EBADF: fd not open")
{
	FAILS(on(w, NOT_OPEN));
}

ERROR("mshare_stat EBADF: O_PATH")
{
	fails_reopened(w, O_PATH);
}

ERROR("mshare_stat EBADFD: not a region")
{
	int file = memfd(PAGE, 0);

	FAILS(on(w, file));
}

ERROR("mshare_stat EFAULT: st cannot be written")
{
	char *page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	FAILS(mshare_stat(w->fd, NULL, 96, 0));
	FAILS(mshare_stat(w->fd, BAD_POINTER, 96, 0));
	FAILS(mshare_stat(w->fd, (void *)page, 96, 0));
	FAILS(mshare_stat(w->fd, (void *)0xffff888000000000ULL, 96, 0));
}

ERROR("mshare_stat EINVAL: flags not 0")
{
	struct mshare_stat st;
	unsigned int bit;

	for (bit = 1; bit; bit <<= 1)
		FAILS(mshare_stat(w->fd, &st, sizeof(st), bit));
}

ERROR("mshare_stat EINVAL: size below 96")
{
	struct mshare_stat st;

	FAILS(mshare_stat(w->fd, &st, 95, 0));
	FAILS(mshare_stat(w->fd, &st, 0, 0));
}

/* mshare_open(2) */

ERROR("mshare_open EACCES: fd not open for reading")
{
	int file = reopened(memfd(PAGE, 0), O_WRONLY);

	NEED(file >= 0);
	FAILS(on(w, file));
}

ERROR("mshare_open EACCES: append-only file open for writing")
{
	int file = file_on("tmpfs", 0, PAGE);

	NEED(set_attribute(file, FS_APPEND_FL));
	FAILS(on(w, file));
}

ERROR("mshare_open EBADF: fd not open")
{
	FAILS(on(w, NOT_OPEN));
}

ERROR("mshare_open EBADF: O_PATH")
{
	int file = reopened(memfd(PAGE, 0), O_PATH);

	NEED(file >= 0);
	FAILS(on(w, file));
}

ERROR("mshare_open EDQUOT: max_regions_per_user")
{
	int file = memfd(PAGE, 0);

	FAILS(WITH_NUMBER(SYS "max_regions_per_user", 1, on(w, file)));
}

ERROR("mshare_open EFBIG: larger than a region can be")
{
	int file = memfd(PAGE, 0);

	FAILS(mshare_open(file, 32 * TIB + 1, 0));
	NEED(!ftruncate(file, 33 * TIB));
	FAILS(on(w, file));
}

ERROR("mshare_open EINVAL: unknown flag")
{
	int file = memfd(PAGE, 0);

	FAILS(mshare_open(file, 0, 1));
	FAILS(mshare_open(file, PAGE, 1U << 31 | MSHARE_CLOEXEC));
}

ERROR("mshare_open EINVAL: length overflows")
{
	int file = memfd(PAGE, 0);

	FAILS(mshare_open(file, ~0ULL, 0));
	FAILS(mshare_open(file, ~0ULL - PAGE + 2, 0));
}

ERROR("mshare_open EINVAL: length 0 and an empty file")
{
	int file = memfd(0, 0);

	FAILS(on(w, file));
}

ERROR("mshare_open EMFILE: RLIMIT_NOFILE")
{
	int file = memfd(PAGE, 0);

	FAILS(WITHOUT_DESCRIPTORS(on(w, file)));
}

ERROR("mshare_open ENFILE: file-max")
{
	int file = memfd(PAGE, 0);

	NEED(open_many_files());
	FAILS(AS_USER_WITHOUT_FILES(on(w, file)));
}

ERROR("mshare_open ENODEV: not a regular file")
{
	int zero = open("/dev/zero", O_RDWR), dir = open("/", O_RDONLY), pair[2];

	NEED(!pipe(pair));
	FAILS(on(w, zero));
	FAILS(on(w, dir));
	FAILS(on(w, pair[0]));
	FAILS(mshare_open(pair[0], PAGE, 0));
}

ERROR("mshare_open ENODEV: a region")
{
	w->other = region_of_a_file();
	FAILS(on(w, w->other));
	FAILS(on(w, w->fd));
}

ERROR("mshare_open ENODEV: a file of huge pages")
{
	int file = memfd(HUGE, MFD_HUGETLB);

	NEED(file >= 0);
	FAILS(on(w, file));
	FAILS(mshare_open(file, HUGE, 0));
}

static void open_fails(struct world *w, int file)
{
	FAILS(mshare_open(file, PAGE, 0));
}

ERROR("mshare_open ENODEV: a file of FUSE")
{
	with_fuse(w, open_fails);
}

ERROR("mshare_open ENODEV: a pseudo file")
{
	int proc = open("/proc/self/maps", O_RDONLY), sys = open(SYS "align", O_RDONLY);

	FAILS(mshare_open(proc, PAGE, 0));
	FAILS(on(w, sys));
}

ERROR("mshare_open ENODEV: memfd_secret")
{
	int secret = syscall(SYS_memfd_secret, 0);

	if (secret < 0)
		SKIP_ENTRY("no memfd_secret: %m");
	NEED(!ftruncate(secret, PAGE));
	FAILS(on(w, secret));
}

ERROR("mshare_open ENOMEM: max_map_count")
{
	int file = memfd(PAGE, 0);

	FAILS(WITH_NUMBER(MAX_MAP_COUNT, 0, on(w, file)));
	/* Nor does one grow whose advice has taken all of them. */
	w->other = on(w, file);
	NEED(w->other >= 0);
	FAILS(WITH_NUMBER(MAX_MAP_COUNT, 1, mshare_open(file, 2 * PAGE, 0)));
}

ERROR("mshare_open EOVERFLOW: past the largest file")
{
	int file = memfd(PAGE, 0);

	FAILS(mshare_open(file, 1ULL << 63, 0));
}

ERROR("mshare_open EPERM: disabled")
{
	int file = memfd(PAGE, 0);

	FAILS(WITH_NUMBER(SYS "enabled", 0, on(w, file)));
	/* Also if there is one. */
	w->other = on(w, file);
	NEED(w->other >= 0);
	FAILS(WITH_NUMBER(SYS "enabled", 0, on(w, file)));
}

ERROR("mshare_open EPERM: open for writing and a seal")
{
	int file = memfd(PAGE, MFD_ALLOW_SEALING), future = memfd(PAGE, MFD_ALLOW_SEALING);

	NEED(!fcntl(file, F_ADD_SEALS, F_SEAL_WRITE));
	NEED(!fcntl(future, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
	FAILS(on(w, file));
	FAILS(on(w, future));
	/* Nor becomes one writable that readers have. */
	w->other = on(w, reopened(file, O_RDONLY));
	NEED(w->other >= 0);
	FAILS(on(w, file));
}

ERROR("mshare_open ETXTBSY: a swap file open for writing")
{
	char path[128];
	int file = swap_file(path, sizeof(path));

	if (file < 0)
		SKIP_ENTRY(NO_DISK);
	NEED(swap_on(path));
	FAILS(on(w, file));
	NEED(!swapoff(path));
}

TEST_HARNESS_MAIN
