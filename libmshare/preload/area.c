// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Each area is a separate attachment, so munmap() of it detaches the region.  Like
 * munmap(), this is private to a process.  The object of its region is a memfd, or
 * it is the region of a file (files.c).  Children have the area because fork() copies
 * attachments and the state of this library.
 *
 * For calls that an attachment cannot support for one process alone (mprotect, mlock,
 * munmap of a part and others), the area leaves its region: in one step, an ordinary
 * shared mapping of the memory replaces the attachment, and the call goes to the kernel
 * unchanged.  This needs no descriptor, because there is another mapping of the memory
 * from the start, the shadow.  It is never accessed, so it has no page tables.
 */
#define _GNU_SOURCE
#include "area.h"
#include "kernel.h"
#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <mshare.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* Programs seldom have descriptors above this number. */
#define FIRST_FD	200

/* Not all headers have it. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL	8U
#endif

/* There are 256 slots: an area takes one, and temporarily another one when it leaves. */
static struct area areas[128];
#define AREAS	(sizeof(areas) / sizeof(areas[0]))
#define END	(areas + AREAS)

/* The number of areas: most calls need to know no more. */
static atomic_uint served;

/*
 * The lock.  While it is held, signals are blocked, because a handler would wait for
 * itself; cancellation is disabled, because the thread would end with the lock; and
 * fork() waits, so that no child begins in the middle of a change.
 */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct before before_fork;

void lock(struct before *before)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before->blocked);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before->cancel);
	pthread_mutex_lock(&mutex);
}

void unlock(const struct before *before)
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

/* pthread_atfork() of the GNU C library calls this; other libraries do not have it. */
int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *dso)
	__attribute__((weak));

bool guard_fork(void)
{
	/* Until the end of the program: no library to unload. */
	return __register_atfork && !__register_atfork(prepare_fork, after_fork, after_fork, NULL);
}

/* The first area from A on whose slots overlap the range; or END. */
static struct area *find(struct area *a, uintptr_t addr, size_t length)
{
	uintptr_t start;

	for (; a < END; a++) {
		start = atomic_load_explicit(&a->start, memory_order_acquire);
		if (!start)
			continue;
		start -= a->offset;
		if (addr < start + a->span && addr + length > start)
			break;
	}
	return a;
}

#define for_each_area_in(a, addr, length) \
	for ((a) = find(areas, addr, length); (a) < END; (a) = find((a) + 1, addr, length))

/* The kernel reports an unaligned address as an error. */
bool touches(uintptr_t addr, size_t length)
{
	return atomic_load_explicit(&served, memory_order_acquire) && length && !(addr & (PAGE - 1)) &&
	       find(areas, addr, length) < END;
}

struct area *area_of(uintptr_t addr, size_t length)
{
	struct area *a = find(areas, addr, length);

	if (a < END && addr >= a->start && pages(length) >= length &&
	    pages(length) <= a->length && addr - a->start <= a->length - pages(length))
		return a;
	return NULL;
}

bool fd_is_ours(const struct area *a)
{
	struct stat st;

	return !kernel(SYS_fstat, a->fd, &st) && st.st_ino == a->inode && st.st_dev == a->device;
}

static void forget(struct area *a)
{
	if (fd_is_ours(a))
		kernel(SYS_close, a->fd);
	atomic_store_explicit(&a->start, 0, memory_order_release);
	atomic_fetch_sub(&served, 1);
}

void unmap_shadow(const struct area *a)
{
	kernel(SYS_munmap, a->shadow, a->offset + a->length);
}

/* munmap() of the whole area; a later filter may forbid our calls. */
static long drop(struct area *a)
{
	long ret = kernel(SYS_munmap, base_of(a), a->span);

	if (ret)
		return ret;
	unmap_shadow(a);
	forget(a);
	return 0;
}

/*
 * Replaces the attachment by an ordinary mapping, in one step.  Only a mapping that covers
 * all of an attachment can replace it, so it has the same size until that is done.
 */
static long replace(struct area *a)
{
	uintptr_t base = base_of(a), end = a->start + a->length;
	long new, ret;

	/* With length 0 this makes another mapping of the same memory. */
	new = kernel(SYS_mremap, a->shadow, 0, a->span, MREMAP_MAYMOVE);
	if (is_error(new))
		return new;
	ret = kernel(SYS_mprotect, new, a->span, a->prot);
	if (!ret)
		ret = kernel(SYS_mremap, new, a->span, a->span, MREMAP_MAYMOVE | MREMAP_FIXED, base);
	if (is_error(ret)) {
		kernel(SYS_munmap, new, a->span);
		return ret;
	}
	if (base + a->span > end)
		kernel(SYS_munmap, end, base + a->span - end);
	if (a->offset)
		kernel(SYS_munmap, base, a->offset);
	unmap_shadow(a);
	return 0;
}

/* Only since 2.32. */
extern char __libc_single_threaded __attribute__((weak));

/*
 * The same without address space for another mapping, for example under a later limit:
 * moves the shadow itself, in two steps.  Between them nothing is mapped, so there must be
 * no other thread, and the second step must not fail.
 */
static long replace_by_shadow(struct area *a)
{
	uintptr_t base = base_of(a);
	size_t length = a->offset + a->length;
	long ret;

	if (a->policies || !&__libc_single_threaded || !__libc_single_threaded)
		return -ENOMEM;
	ret = kernel(SYS_mprotect, a->shadow, length, a->prot);
	if (ret)
		return ret;
	/* A part of an attachment cannot be replaced: expect that error, and no other. */
	ret = kernel(SYS_mremap, a->shadow, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, base);
	if (ret == -EINVAL && !kernel(SYS_munmap, base, a->span))
		ret = kernel(SYS_mremap, a->shadow, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, base);
	if (is_error(ret)) {
		kernel(SYS_mprotect, a->shadow, length, PROT_NONE);
		return ret;
	}
	if (a->offset)
		kernel(SYS_munmap, base, a->offset);
	return 0;
}

static long leave(struct area *a, const char *why)
{
	uintptr_t start = a->start;
	long ret;

	ret = replace(a);
	if (ret == -ENOMEM)
		ret = replace_by_shadow(a);
	if (ret) {
		say("%s: cannot leave the region at %#lx: %s", why, start, error_name(ret));
		return ret;
	}
	/* The shadow is not in core files; this memory is again. */
	kernel(SYS_madvise, start, a->length, MADV_DODUMP);
	say("%s: the area at %#lx leaves its region", why, start);
	forget(a);
	return 0;
}

long leave_all(uintptr_t addr, size_t length, const char *why)
{
	struct before before;
	struct area *a;
	long ret = 0;

	if (!touches(addr, length))
		return 0;
	lock(&before);
	for_each_area_in(a, addr, length) {
		ret = leave(a, why);
		if (ret)
			break;
	}
	unlock(&before);
	return ret;
}

static bool covers(uintptr_t addr, size_t length, const struct area *a)
{
	return a->start >= addr && a->start + a->length <= addr + length;
}

/* The lowest area that lies completely in the range, or NULL. */
static struct area *lowest_in(uintptr_t addr, size_t length)
{
	struct area *a, *lowest = NULL;

	for_each_area_in(a, addr, length)
		if (covers(addr, length, a) && (!lowest || a->start < lowest->start))
			lowest = a;
	return lowest;
}

/* Areas completely in the range are detached, the others leave. */
long unmap(uintptr_t addr, size_t length)
{
	struct area *a;
	size_t before;
	long ret;

	for_each_area_in(a, addr, length) {
		ret = covers(addr, length, a) ? 0 : leave(a, "munmap");
		if (ret)
			return ret;
	}
	/* Around them: other threads may map memory where an area has just been detached. */
	while ((a = lowest_in(addr, length))) {
		before = a->start - addr;
		ret = before ? kernel(SYS_munmap, addr, before) : 0;
		if (ret)
			return ret;
		addr += before + a->length;
		length -= before + a->length;
		ret = drop(a);
		if (ret)
			return ret;
	}
	return length ? kernel(SYS_munmap, addr, length) : 0;
}

/* Making an area */

/* Moves the descriptor to a high number, if possible. */
static int move_away(int fd)
{
	long high = kernel(SYS_fcntl, fd, F_DUPFD_CLOEXEC, FIRST_FD);

	if (is_error(high))
		return fd;
	kernel(SYS_close, fd);
	return high;
}

long map_shadow(struct area *a, int memory)
{
	size_t length = a->offset + a->length;
	long shadow, room;

	shadow = kernel(SYS_mmap, NULL, length, PROT_NONE, MAP_SHARED | MAP_NORESERVE, memory, 0);
	if (is_error(shadow))
		return shadow;
	/* As large as needed for leaving: this is the time to find that there is no room. */
	room = kernel(SYS_mremap, shadow, 0, a->span, MREMAP_MAYMOVE);
	if (is_error(room)) {
		kernel(SYS_munmap, shadow, length);
		return room;
	}
	kernel(SYS_munmap, room, a->span);
	/* The kernel leaves attachments out of core files. */
	kernel(SYS_madvise, shadow, length, MADV_DONTDUMP);
	a->shadow = shadow;
	return 0;
}

uintptr_t add_area(struct area *a, uintptr_t base)
{
	static unsigned long serial;
	uintptr_t start = base + a->offset;

	a->policies = false;
	a->serial = ++serial;
	atomic_store_explicit(&a->start, start, memory_order_release);
	atomic_fetch_add(&served, 1);
	return start;
}

/* Creates a region with the memory of MEMORY, and attaches it as A. */
static long attach(struct area *a, int memory, uintptr_t hint, int flags)
{
	struct mshare_map_args object = {
		.length = a->length,
		.prot = RW,
		.flags = MAP_SHARED | (flags & (MAP_POPULATE | MAP_NORESERVE)),
		.fd = memory,
	};
	struct stat st;
	long ret;

	a->fd = kernel(__NR_mshare_create, settings.program, MSHARE_CLOEXEC);
	if (a->fd < 0)
		return a->fd;
	ret = map_shadow(a, memory);
	if (ret)
		goto close;
	ret = kernel(SYS_ftruncate, a->fd, a->length);
	if (!ret)
		ret = kernel(SYS_fstat, a->fd, &st);
	if (!ret)
		ret = kernel(__NR_mshare_map, a->fd, &object, sizeof(object));
	if (is_error(ret))
		goto unmap;
	/* Follow the hint if possible. */
	ret = hint && !(hint & (SLOT - 1)) ? kernel(__NR_mshare_attach, a->fd, hint, 0) : -EINVAL;
	if (is_error(ret))
		ret = kernel(__NR_mshare_attach, a->fd, NULL, 0);
	if (is_error(ret))
		goto unmap;
	a->fd = move_away(a->fd);
	a->device = st.st_dev;
	a->inode = st.st_ino;
	return add_area(a, ret);

unmap:
	unmap_shadow(a);
close:
	kernel(SYS_close, a->fd);
	return ret;
}

/* Would the kernel give that much ordinary memory?  Otherwise fail, too. */
static long try_ordinary(size_t length, int flags)
{
	/* Nothing is populated that cannot be accessed, even after mlockall(). */
	long addr = kernel(SYS_mmap, NULL, length, PROT_NONE, ANON | (flags & MAP_NORESERVE), -1, 0);

	if (is_error(addr))
		return addr;
	kernel(SYS_munmap, addr, length);
	return 0;
}

/* Memory of a memfd is committed only when it is accessed. */
static bool commits_late(const char **why)
{
	char mode[8];
	long ret = read_proc("/proc/sys/vm/overcommit_memory", mode, sizeof(mode));

	*why = ret > 0 ? "vm.overcommit_memory is 2" : "vm.overcommit_memory cannot be read";
	return ret > 0 && mode[0] != '2';
}

static bool kernel_has_regions(void)
{
	static bool has;
	int err = errno;

	has = has || mshare_abi_version() > 0;
	errno = err;
	return has;
}

struct area *new_area(const char **why)
{
	struct area *a = areas;

	if (!filter_allows(why))
		return NULL;
	*why = "the kernel has no regions";
	if (!kernel_has_regions()) {
		/* A service may have the settings of another kernel that was booted before. */
		say_once("shared memory remains ordinary: %s", *why);
		return NULL;
	}
	while (a < END && a->start)
		a++;
	*why = "the process has 128 areas";
	return a < END ? a : NULL;
}

/* With the lock. */
static long make(uintptr_t hint, size_t length, int flags, const char **why)
{
	struct rlimit limit;
	struct area *a;
	long memory, ret;

	ret = try_ordinary(length, flags);
	if (ret)
		return ret;
	/* A file that is too large is a signal, too. */
	*why = "RLIMIT_FSIZE";
	if (!kernel(SYS_getrlimit, RLIMIT_FSIZE, &limit) && limit.rlim_cur < pages(length))
		return -EFBIG;
	a = new_area(why);
	if (!a || !commits_late(why))
		return -EPERM;
	*why = NULL;
	memory = kernel(SYS_memfd_create, settings.program, MFD_CLOEXEC | MFD_NOEXEC_SEAL);
	if (is_error(memory))
		return memory;
	a->length = pages(length);
	a->offset = 0;
	a->span = (a->length + SLOT - 1) & -SLOT;
	a->prot = RW;
	a->file = false;
	ret = kernel(SYS_ftruncate, memory, a->length);
	if (!ret)
		ret = attach(a, memory, hint, flags);
	kernel(SYS_close, memory);
	return ret;
}

long serve(uintptr_t hint, size_t length, int flags, const char **why)
{
	struct before before;
	long ret;

	*why = NULL;
	lock(&before);
	ret = make(hint, length, flags, why);
	unlock(&before);
	return ret;
}
