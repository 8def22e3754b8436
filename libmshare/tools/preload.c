// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The library that mshare run preloads.  It answers mmap() of large shared
 * anonymous memory with a region, and sees to it that what the program does with
 * that memory later means what it always means.
 *
 * Each area is a region of its own, whose object is a memfd, so that munmap() of
 * an area is detaching, which is private to a process as munmap() is.  Children
 * have the area because fork() copies attachments, and this library's state.
 *
 * What an attachment cannot do for one process alone (mprotect, mlock, munmap of
 * a part ..) is done by leaving the region: in one step an ordinary shared mapping
 * of the memfd takes the place of the attachment, and the call goes to the kernel
 * as it came.  That mapping is made in advance, at another place, so that no
 * descriptor is needed: the shadow.  Nobody touches it, so it has no page tables.
 *
 * Nothing here allocates, and calls may come from signal handlers.
 */
#define _GNU_SOURCE
#include "preload.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <mshare.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT	__attribute__((visibility("default")))

#define PAGE		4096UL
#define SLOT		(512UL << 30)
#define MAX_SIZE	(32UL << 40)
#define RW		(PROT_READ | PROT_WRITE)
#define ANON		(MAP_SHARED | MAP_ANONYMOUS)

/* Where programs seldom are with their descriptors. */
#define FIRST_FD	200

/* Not all headers have them. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL		8U
#endif

struct area {
	_Atomic uintptr_t start;	/* 0: unused */
	size_t length;			/* what the program has */
	size_t span;			/* what the attachment takes */
	char *shadow;			/* SPAN bytes, too */
	int fd;				/* of the region, unless the program closed it */
	dev_t device;
	ino_t inode;
};

/* There are 256 slots, and an area takes two. */
static struct area areas[128];
#define AREAS	(sizeof(areas) / sizeof(areas[0]))
#define END	(areas + AREAS)

/* How many there are: most calls need to know no more. */
static atomic_uint served;
static size_t min_size;
static bool verbose;
/* What the program was called when it began; it may be of any length later. */
static char program[65];

/* Calls of the kernel, for those that are replaced here */

static void *sys_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	return (void *)syscall(SYS_mmap, addr, length, prot, flags, fd, offset);
}

static int sys_munmap(uintptr_t addr, size_t length)
{
	return syscall(SYS_munmap, addr, length);
}

static int sys_mprotect(uintptr_t addr, size_t length, int prot)
{
	return syscall(SYS_mprotect, addr, length, prot);
}

static int sys_madvise(uintptr_t addr, size_t length, int advice)
{
	return syscall(SYS_madvise, addr, length, advice);
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
	int err = errno, n, m;
	char line[256];
	va_list args;

	if (!verbose)
		return;
	n = snprintf(line, sizeof(line), "mshare run: %s[%d]: ", program, getpid());
	va_start(args, format);
	m = vsnprintf(line + n, sizeof(line) - n - 1, format, args);
	va_end(args);
	n += m < (int)sizeof(line) - n - 1 ? m : (int)sizeof(line) - n - 2;
	line[n++] = '\n';
	/* Unlike write() no place where a thread can be cancelled. */
	syscall(SYS_write, STDERR_FILENO, line, n);
	errno = err;
}

/*
 * The lock: areas change under it only.  Signals are blocked meanwhile, since a
 * handler would wait for itself; no thread is cancelled, which would leave with
 * the lock; and fork() waits, so that no child begins in the middle of a change.
 */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* What the thread had before. */
struct before {
	sigset_t blocked;
	int cancel;
};

static struct before before_fork;

static void lock(struct before *before)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before->blocked);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before->cancel);
	pthread_mutex_lock(&mutex);
}

static void unlock(const struct before *before)
{
	pthread_mutex_unlock(&mutex);
	pthread_setcancelstate(before->cancel, NULL);
	pthread_sigmask(SIG_SETMASK, &before->blocked, NULL);
}

static void prepare_fork(void)
{
	struct before before;

	lock(&before);
	before_fork = before;
}

static void after_fork(void)
{
	struct before before = before_fork;

	unlock(&before);
}

static const char *value_of(char **env, const char *name)
{
	size_t length = strlen(name);

	for (; *env; env++)
		if (!strncmp(*env, name, length) && (*env)[length] == '=')
			return *env + length + 1;
	return NULL;
}

/*
 * The linker is told to have this called before all other libraries begin, so that
 * these take their locks before ours when they fork, as they do when they map, and
 * may map when they are told of the fork.  Not even the C library has begun: it
 * has no environment yet, nor the name of the program.
 */
__attribute__((constructor)) static void start(int argc, char **argv, char **env)
{
	const char *min = value_of(env, PRELOAD_MIN);
	const char *name = argc ? argv[0] : "";
	int err = errno;

	if (strrchr(name, '/'))
		name = strrchr(name, '/') + 1;
	strncpy(program, name, sizeof(program) - 1);
	verbose = value_of(env, PRELOAD_VERBOSE);
	if (min && pthread_atfork(prepare_fork, after_fork, after_fork) == 0)
		min_size = strtoull(min, NULL, 10);
	errno = err;
}

/* Areas */

/* The first area from A on that has some of the range, in its slots; or END. */
static struct area *find(struct area *a, uintptr_t addr, size_t length)
{
	uintptr_t start;

	for (; a < END; a++) {
		start = atomic_load_explicit(&a->start, memory_order_acquire);
		if (start && addr < start + a->span && addr + length > start)
			break;
	}
	return a;
}

#define for_each_area_in(a, addr, length) \
	for ((a) = find(areas, addr, length); (a) < END; (a) = find((a) + 1, addr, length))

static size_t pages(size_t length)
{
	return (length + PAGE - 1) & -PAGE;
}

static bool aligned(const void *addr)
{
	return !((uintptr_t)addr & (PAGE - 1));
}

/* What is not aligned is an error that the kernel reports. */
static bool touches(const void *addr, size_t length)
{
	return atomic_load_explicit(&served, memory_order_acquire) && length && aligned(addr) &&
	       find(areas, (uintptr_t)addr, length) < END;
}

/* The area that has all of the range, or NULL; the others of them are for the kernel. */
static struct area *area_of(const void *addr, size_t length)
{
	uintptr_t start = (uintptr_t)addr;
	struct area *a = find(areas, start, length);

	if (a < END && start >= a->start && pages(length) >= length &&
	    pages(length) <= a->length && start - a->start <= a->length - pages(length))
		return a;
	return NULL;
}

/* The program may have closed the descriptor, and opened another one there. */
static bool fd_is_ours(const struct area *a)
{
	struct stat st;

	return !fstat(a->fd, &st) && st.st_ino == a->inode && st.st_dev == a->device;
}

static void forget(struct area *a)
{
	int err = errno;

	if (fd_is_ours(a))
		close(a->fd);
	atomic_store_explicit(&a->start, 0, memory_order_release);
	atomic_fetch_sub(&served, 1);
	errno = err;
}

/* munmap() of the whole area; a filter that came after it may forbid calls of ours. */
static int drop(struct area *a)
{
	uintptr_t start = a->start;

	if (sys_munmap(start, a->span))
		return -1;
	sys_munmap((uintptr_t)a->shadow, a->span);
	forget(a);
	return 0;
}

/* Puts the shadow in the place of the attachment. */
static int leave(struct area *a, const char *why)
{
	uintptr_t start = a->start;
	int err;

	if (sys_mprotect((uintptr_t)a->shadow, a->span, RW))
		return -1;
	if (syscall(SYS_mremap, a->shadow, a->span, a->span, MREMAP_MAYMOVE | MREMAP_FIXED, start) == -1) {
		err = errno;
		say("%s: cannot leave the region at %#lx: %s", why, start, strerrorname_np(err));
		sys_mprotect((uintptr_t)a->shadow, a->span, PROT_NONE);
		errno = err;
		return -1;
	}
	if (a->span > a->length)
		sys_munmap(start + a->length, a->span - a->length);
	sys_madvise(start, a->length, MADV_DODUMP);
	say("%s: the area at %#lx leaves its region", why, start);
	forget(a);
	return 0;
}

/* The same with all areas that have some of the range. */
static int leave_all(const void *addr, size_t length, const char *why)
{
	struct before before;
	struct area *a;
	int ret = 0;

	if (!touches(addr, length))
		return 0;
	lock(&before);
	for_each_area_in(a, (uintptr_t)addr, length) {
		ret = leave(a, why);
		if (ret)
			break;
	}
	unlock(&before);
	return ret;
}

/* Making an area */

/* Where the descriptor is out of the way, if that is possible. */
static int move_away(int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FD);

	if (high < 0)
		return fd;
	close(fd);
	return high;
}

/* A region with the memory of MEMORY, attached as A; false with errno. */
static bool attach(struct area *a, int memory, int flags)
{
	struct mshare_map_args object = {
		.length = a->length,
		.prot = RW,
		.flags = MAP_SHARED | (flags & (MAP_POPULATE | MAP_NORESERVE)),
		.fd = memory,
	};
	struct stat st;
	void *addr;

	a->fd = mshare_create(program, MSHARE_CLOEXEC);
	if (a->fd < 0)
		return false;
	a->shadow = sys_mmap(NULL, a->span, PROT_NONE, MAP_SHARED | MAP_NORESERVE, memory, 0);
	if (a->shadow == MAP_FAILED)
		goto close;
	/* The kernel leaves attachments out of core files. */
	sys_madvise((uintptr_t)a->shadow, a->span, MADV_DONTDUMP);
	if (ftruncate(a->fd, a->length) || fstat(a->fd, &st) ||
	    mshare_map(a->fd, &object, sizeof(object)) < 0)
		goto unmap;
	addr = mshare_attach(a->fd, NULL, 0);
	if (addr == MAP_FAILED)
		goto unmap;
	a->fd = move_away(a->fd);
	a->device = st.st_dev;
	a->inode = st.st_ino;
	atomic_store_explicit(&a->start, (uintptr_t)addr, memory_order_release);
	atomic_fetch_add(&served, 1);
	return true;

unmap:
	flags = errno;
	sys_munmap((uintptr_t)a->shadow, a->span);
	errno = flags;
close:
	flags = errno;
	close(a->fd);
	errno = flags;
	return false;
}

/* MAP_FAILED and errno, if it cannot be. */
static void *serve(size_t length, int flags)
{
	void *addr = MAP_FAILED;
	struct area *a = areas;
	struct before before;
	static bool asked;
	struct rlimit limit;
	int memory, err;

	lock(&before);
	/* Not before it is needed: there are filters that kill for an unknown call. */
	if (!asked && mshare_abi_version() < 1)
		goto out;
	asked = true;
	while (a < END && a->start)
		a++;
	if (a == END) {
		errno = ENOMEM;
		goto out;
	}
	/* A file that is too large is a signal, too. */
	if (!getrlimit(RLIMIT_FSIZE, &limit) && limit.rlim_cur < pages(length)) {
		errno = EFBIG;
		goto out;
	}
	memory = memfd_create(program, MFD_CLOEXEC | MFD_NOEXEC_SEAL);
	if (memory < 0)
		goto out;
	a->length = pages(length);
	a->span = (a->length + SLOT - 1) & -SLOT;
	if (!ftruncate(memory, a->length) && attach(a, memory, flags))
		addr = (void *)a->start;
	err = errno;
	close(memory);
	errno = err;
out:
	unlock(&before);
	if (addr == MAP_FAILED)
		say("mmap: %zu bytes remain ordinary memory: %s", length, strerrorname_np(errno));
	else
		say("mmap: %zu bytes at %p are a region", length, addr);
	return addr;
}

/*
 * Not MAP_HUGETLB: a GiB of huge pages has one page of page tables, which the
 * kernel shares by itself; and the kernel cannot move mappings of 2 GiB and more.
 */
static bool servable(const void *addr, size_t length, int prot, int flags, off_t offset)
{
	const int harmless = MAP_POPULATE | MAP_NORESERVE | MAP_STACK | MAP_DENYWRITE | MAP_EXECUTABLE;

	return min_size && length >= min_size && length <= MAX_SIZE && !addr && prot == RW && !offset &&
	       (flags & ~harmless) == ANON;
}

/* What programs call */

EXPORT void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	int err = errno;
	void *area;

	if (servable(addr, length, prot, flags, offset)) {
		area = serve(length, flags);
		errno = err;
		if (area != MAP_FAILED)
			return area;
	}
	if ((flags & MAP_FIXED) && leave_all(addr, length, "mmap"))
		return MAP_FAILED;
	return sys_mmap(addr, length, prot, flags, fd, offset);
}

EXPORT void *mmap64(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
	__attribute__((alias("mmap")));

static bool covers(uintptr_t addr, size_t length, const struct area *a)
{
	return a->start >= addr && a->start + a->length <= addr + length;
}

/* The lowest area that is in the range as a whole, or NULL. */
static struct area *lowest_in(uintptr_t addr, size_t length)
{
	struct area *a, *lowest = NULL;

	for_each_area_in(a, addr, length)
		if (covers(addr, length, a) && (!lowest || a->start < lowest->start))
			lowest = a;
	return lowest;
}

/* With the lock: areas that are in the range go as a whole, the others leave. */
static int unmap(uintptr_t addr, size_t length)
{
	struct area *a;
	size_t before;

	for_each_area_in(a, addr, length)
		if (!covers(addr, length, a) && leave(a, "munmap"))
			return -1;
	/* Around them: other threads may map what has just been detached. */
	while ((a = lowest_in(addr, length))) {
		before = a->start - addr;
		if (before && sys_munmap(addr, before))
			return -1;
		addr += before + a->length;
		length -= before + a->length;
		if (drop(a))
			return -1;
	}
	return length ? sys_munmap(addr, length) : 0;
}

EXPORT int munmap(void *addr, size_t length)
{
	struct before before;
	int ret;

	if (!touches(addr, length) || pages(length) < length)
		return sys_munmap((uintptr_t)addr, length);
	lock(&before);
	ret = unmap((uintptr_t)addr, pages(length));
	unlock(&before);
	return ret;
}

EXPORT int mprotect(void *addr, size_t length, int prot)
{
	if (touches(addr, length)) {
		if (prot == RW && area_of(addr, length))
			return 0;
		if (leave_all(addr, length, "mprotect"))
			return -1;
	}
	return sys_mprotect((uintptr_t)addr, length, prot);
}

EXPORT int pkey_mprotect(void *addr, size_t length, int prot, int pkey)
{
	/* glibc says so, too: kernels without keys know mprotect(). */
	if (pkey == -1)
		return mprotect(addr, length, prot);
	if (leave_all(addr, length, "pkey_mprotect"))
		return -1;
	return syscall(SYS_pkey_mprotect, addr, length, prot, pkey);
}

EXPORT void *mremap(void *addr, size_t length, size_t new_length, int flags, ...)
{
	void *new_addr = NULL;
	va_list args;

	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
		va_start(args, flags);
		new_addr = va_arg(args, void *);
		va_end(args);
	}
	/* With length 0 it makes another mapping. */
	if (leave_all(addr, length ?: 1, "mremap") ||
	    ((flags & MREMAP_FIXED) && leave_all(new_addr, new_length, "mremap")))
		return MAP_FAILED;
	return (void *)syscall(SYS_mremap, addr, length, new_length, flags, new_addr);
}

/*
 * Advice about one area: 1 if it has to leave its region for it.  Page tables of
 * one process have no meaning here, so what is about them alone is done.
 */
static int advise(struct area *a, const void *addr, size_t length, int advice)
{
	switch (advice) {
	case MADV_NORMAL:
	case MADV_RANDOM:
	case MADV_SEQUENTIAL:
	case MADV_DONTNEED:
	case MADV_DODUMP:
	case MADV_DONTDUMP:
	case MADV_DOFORK:
		return 0;
	case MADV_WILLNEED:
	case MADV_COLD:
	case MADV_PAGEOUT:
	case MADV_HUGEPAGE:
	case MADV_NOHUGEPAGE:
	case MADV_COLLAPSE:
	case MADV_REMOVE:
	case MADV_POPULATE_READ:
	case MADV_POPULATE_WRITE:
		if (!fd_is_ours(a))
			return 1;
		if (!mshare_advise(a->fd, (uintptr_t)addr - a->start, pages(length), advice, 0))
			return 0;
		return errno == EINVAL || errno == EPERM || errno == ENOSYS ? 1 : -1;
	default:
		return 1;
	}
}

EXPORT int madvise(void *addr, size_t length, int advice)
{
	int ret = 1, err = errno;
	struct before before;
	struct area *a;

	if (touches(addr, length)) {
		/* The kernel looks whether it knows the advice, even for nothing. */
		if (sys_madvise((uintptr_t)addr, 0, advice))
			return -1;
		lock(&before);
		a = area_of(addr, length);
		if (a)
			ret = advise(a, addr, length, advice);
		unlock(&before);
		if (ret <= 0)
			return ret;
		errno = err;
		if (leave_all(addr, length, "madvise"))
			return -1;
	}
	return sys_madvise((uintptr_t)addr, length, advice);
}

/* Returns what others leave in errno. */
EXPORT int posix_madvise(void *addr, size_t length, int advice)
{
	int err = errno, ret = 0;

	/* For Linux that is no advice, as it would lose private memory. */
	if (advice == POSIX_MADV_DONTNEED)
		return 0;
	if (madvise(addr, length, advice))
		ret = errno;
	errno = err;
	return ret;
}

/* These three take any address, and do whole pages. */
static void *page_of(const void *addr)
{
	return (void *)((uintptr_t)addr & -PAGE);
}

static size_t rest_of(const void *addr, size_t length)
{
	return length ? length + ((uintptr_t)addr & (PAGE - 1)) : 0;
}

EXPORT int mlock(const void *addr, size_t length)
{
	if (leave_all(page_of(addr), rest_of(addr, length), "mlock"))
		return -1;
	return syscall(SYS_mlock, addr, length);
}

EXPORT int mlock2(const void *addr, size_t length, unsigned int flags)
{
	if (leave_all(page_of(addr), rest_of(addr, length), "mlock2"))
		return -1;
	return syscall(SYS_mlock2, addr, length, flags);
}

EXPORT int munlock(const void *addr, size_t length)
{
	/* It would have left if it had been locked. */
	if (touches(page_of(addr), rest_of(addr, length)) && area_of(page_of(addr), rest_of(addr, length)))
		return 0;
	if (leave_all(page_of(addr), rest_of(addr, length), "munlock"))
		return -1;
	return syscall(SYS_munlock, addr, length);
}

EXPORT int msync(void *addr, size_t length, int flags)
{
	/* There is no file behind it; the kernel still checks the rest. */
	if ((flags & (MS_SYNC | MS_ASYNC)) == MS_SYNC && touches(addr, length)) {
		if (area_of(addr, length))
			flags ^= MS_SYNC | MS_ASYNC;
		else if (leave_all(addr, length, "msync"))
			return -1;
	}
	return syscall(SYS_msync, addr, length, flags);
}
