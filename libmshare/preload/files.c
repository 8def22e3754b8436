// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Shared mappings of files: mshare_open() returns the region of the file, which is the
 * same for all processes of the user, even if they are not related.
 *
 * The attachment contains the file from its beginning.  The program gets the address in
 * it at the offset that it asked for.  Each of its mappings is a separate attachment,
 * so that they are detached, and leave the region, one by one.
 *
 * The file of the program is never opened, nor its descriptor duplicated and closed: the
 * process would lose its locks on the file (fcntl(2)).  The program's own descriptor maps
 * the shadow during mmap(); all later operations use the shadow.
 */
#define _GNU_SOURCE
#include "files.h"
#include "kernel.h"
#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <mshare.h>
#include <stdio.h>
#include <sys/stat.h>

/* How often other processes may make a region longer while it is attached. */
#define TRIES	4

bool is_regular(int fd)
{
	struct stat st;
	long flags = kernel(SYS_fcntl, fd, F_GETFL);

	return flags >= 0 && !(flags & O_PATH) && !kernel(SYS_fstat, fd, &st) && S_ISREG(st.st_mode);
}

/*
 * The region has the file open, for all processes that map it.  Operations that fail on
 * a file that others have open must not fail because of that.
 */
static const char *why_not_open(int fd)
{
	long seals = kernel(SYS_fcntl, fd, F_GET_SEALS);

	if (seals >= 0 && !(seals & F_SEAL_SEAL))
		return "it is a memfd that may yet be sealed";
	if (kernel(SYS_fcntl, fd, F_GETLEASE) != F_UNLCK)
		return "it has a lease, or the file system does not say";
	return NULL;
}

/* With the lock. */
static const char *why_not_path(int fd)
{
	static char path[4096];
	char link[40];
	long length;

	if (matches("", settings.files))
		return NULL;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = kernel(SYS_readlinkat, AT_FDCWD, link, path, sizeof(path) - 1);
	if (length < 0)
		return "/proc does not tell its path";
	path[length] = '\0';
	return matches(path, settings.files) ? NULL : "--files does not name it";
}

/* The bytes of all slots of a region, that of A; 0 if they are not known. */
static size_t span_of(int region, struct area *a)
{
	struct stat st;

	if (kernel(SYS_fstat, region, &st))
		return 0;
	a->device = st.st_dev;
	a->inode = st.st_ino;
	return ((size_t)st.st_size + SLOT - 1) & -SLOT;
}

/* Attaches a region in exactly A->SPAN bytes; others may make it longer, but not shorter. */
static long attach_exactly(struct area *a, int region, int fd)
{
	unsigned int how = a->prot == RW ? 0 : MSHARE_ATTACH_RDONLY;
	long ret, base;
	int i;

	for (i = 0; i < TRIES; i++) {
		a->span = span_of(region, a);
		ret = map_shadow(a, fd);
		if (ret)
			return ret;
		base = kernel(__NR_mshare_attach, region, NULL, how);
		if (!is_error(base) && span_of(region, a) == a->span)
			return base;
		unmap_shadow(a);
		if (is_error(base))
			return base;
		kernel(__NR_mshare_detach, base, 0);
	}
	return -EAGAIN;
}

/* With the lock. */
static long make(size_t length, int prot, int fd, size_t offset, const char **why)
{
	struct area *a;
	int region;
	long ret;

	*why = why_not_path(fd);
	if (!*why)
		*why = why_not_open(fd);
	if (*why)
		return -EPERM;
	a = new_area(why);
	if (!a)
		return -EPERM;
	*why = NULL;
	a->length = pages(length);
	a->offset = offset;
	a->prot = prot;
	a->file = true;
	region = kernel(__NR_mshare_open, fd, offset + a->length, MSHARE_CLOEXEC);
	if (region == -ENOSYS)
		*why = "the kernel has no regions of files";
	if (region < 0)
		return region;
	ret = attach_exactly(a, region, fd);
	/* The attachment has the region.  A descriptor that another thread put there stays open. */
	a->fd = region;
	if (fd_is_ours(a))
		kernel(SYS_close, region);
	a->fd = -1;
	return is_error(ret) ? ret : (long)add_area(a, ret);
}

/*
 * MAP_POPULATE: writes nothing, and leaves errors to later accesses.  The kernel reads a
 * set of signals from each page.  It returns an error where an access would get SIGBUS.
 * All signals are blocked already, so the set does not matter.
 */
static void populate(uintptr_t addr, size_t length)
{
	unsigned long all = ~0UL, blocked;
	uintptr_t at;

	kernel(SYS_rt_sigprocmask, SIG_BLOCK, &all, &blocked, sizeof(all));
	for (at = addr; at < addr + length; at += PAGE)
		if (kernel(SYS_rt_sigprocmask, SIG_BLOCK, at, NULL, sizeof(all)))
			break;
	kernel(SYS_rt_sigprocmask, SIG_SETMASK, &blocked, NULL, sizeof(all));
}

long serve_file(size_t length, int prot, int flags, int fd, size_t offset, const char **why)
{
	struct before before;
	long ret;

	*why = NULL;
	lock(&before);
	ret = make(length, prot, fd, offset, why);
	unlock(&before);
	if (!is_error(ret) && (flags & MAP_POPULATE))
		populate(ret, pages(length));
	return ret;
}

/*
 * Advice of one process must not affect the others: advice about its way of reading, and
 * about memory that it does not need for a while, does nothing here.
 */
long advise_file(const struct area *a, uintptr_t addr, size_t length, int advice)
{
	switch (advice) {
	case MADV_NORMAL:
	case MADV_RANDOM:
	case MADV_SEQUENTIAL:
	case MADV_DONTNEED:
	case MADV_COLD:
	case MADV_PAGEOUT:
	case MADV_HUGEPAGE:
	case MADV_NOHUGEPAGE:
	case MADV_DODUMP:
	case MADV_DONTDUMP:
	case MADV_DOFORK:
		return 0;
	case MADV_WILLNEED:
	case MADV_REMOVE:
		/* These apply to the file. */
		return kernel(SYS_madvise, in_shadow_of(a, addr), length, advice);
	default:
		return 1;
	}
}

bool sync_file(uintptr_t addr, size_t length, int flags, long *ret)
{
	const struct area *a;
	unsigned long serial = 0;
	struct before before;
	uintptr_t at = 0;
	bool mine;

	/* This takes long, and others want the lock; an area that leaves becomes a mapping. */
	for (;;) {
		lock(&before);
		a = area_of(addr, length);
		mine = a && a->file;
		if (mine && serial != a->serial) {
			serial = a->serial;
			at = in_shadow_of(a, addr);
		} else {
			at = 0;
		}
		unlock(&before);
		if (!mine || !at)
			return mine;
		*ret = kernel(SYS_msync, at, length, flags);
	}
}
