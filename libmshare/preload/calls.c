// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The library that mshare run preloads.  For mmap() of large shared anonymous memory,
 * and of files, it returns a region.  It ensures that later operations of the program on
 * that memory keep their usual meaning.  area.c and files.c implement the areas; this
 * file has the functions that programs call.
 *
 * Nothing here allocates, and calls may come from signal handlers.
 *
 * Each function is a system call that returns a negative errno, and one line that
 * converts the result for programs.
 */
#define _GNU_SOURCE
#include "calls.h"
#include "area.h"
#include "files.h"
#include "kernel.h"
#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <mshare.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define EXPORT	__attribute__((visibility("default")))
#define ANSWER(ret)	answer(ret, __builtin_return_address(0))

/* Not all headers have them. */
#ifndef SYS_set_mempolicy_home_node
#define SYS_set_mempolicy_home_node	450
#endif
#ifndef SYS_mseal
#define SYS_mseal	462
#endif

/* mmap() */

/* With MAP_SHARED, this is anonymous memory; the kernel reports uses that it forbids. */
static bool is_zero_device(int fd)
{
	struct stat st;

	return !kernel(SYS_fstat, fd, &st) && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 5) &&
	       (kernel(SYS_fcntl, fd, F_GETFL) & (O_ACCMODE | O_PATH)) == O_RDWR;
}

/*
 * The reason why a large shared mapping is not served, or NULL.  MAP_HUGETLB is not: a
 * GiB of huge pages has one page of page tables, which the kernel shares by itself; and
 * the kernel cannot move such mappings of 2 GiB and more.
 */
static const char *why_not(size_t length, int prot, int flags, int fd, off_t offset, bool file)
{
	int harmless = MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE | MAP_NONBLOCK | MAP_NORESERVE |
		       MAP_STACK | MAP_DENYWRITE | MAP_EXECUTABLE;

	if (file) {
		/* MAP_SHARED_VALIDATE is a type of two bits. */
		harmless |= MAP_TYPE;
	} else if (!(flags & MAP_ANONYMOUS)) {
		if (!is_zero_device(fd))
			return "it is a file";
		if (offset)
			return "it has an offset";
	}
	if (flags & MAP_HUGETLB)
		return "MAP_HUGETLB";
	if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))
		return "MAP_FIXED";
	if (flags & MAP_LOCKED)
		return "MAP_LOCKED";
	if ((flags & MAP_32BIT) && !settings.anywhere)
		return "MAP_32BIT; see --anywhere";
	if (flags & ~(harmless | MAP_32BIT))
		return "unusual flags";
	if (prot != RW && !(file && prot == PROT_READ))
		return file ? "it is neither for reading nor for both" : "it is not for reading and writing";
	if (length > MAX_SIZE || (file && (size_t)offset > MAX_SIZE - length))
		return "it is too large";
	return NULL;
}

static long shared_map(uintptr_t addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	bool file = settings.files[0] && !(flags & MAP_ANONYMOUS) && is_regular(fd);
	const char *why = why_not(length, prot, flags, fd, offset, file);
	long ret = -1;

	if (file && addr && !why)
		why = "it has an address";
	if (!why) {
		if (flags & MAP_NONBLOCK)
			flags &= ~MAP_POPULATE;
		if (file)
			ret = serve_file(length, prot, flags, fd, offset, &why);
		else
			ret = serve(addr, length, flags, &why);
		if (!why)
			why = is_error(ret) ? error_name(ret) : NULL;
	}
	if (is_error(ret))
		say("mmap: %zu bytes remain ordinary memory: %s", length, why);
	else
		say("mmap: %zu bytes at %#lx are a region", length, ret);
	return ret;
}

/* For anonymous memory, the other type is an error. */
static bool is_shared(int flags)
{
	int type = flags & MAP_TYPE;

	return type == MAP_SHARED ||
	       (type == MAP_SHARED_VALIDATE && settings.files[0] && !(flags & MAP_ANONYMOUS));
}

static long do_mmap(uintptr_t addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	long ret;

	if (settings.min && length >= settings.min && is_shared(flags) && !(offset & (PAGE - 1))) {
		ret = shared_map(addr, length, prot, flags, fd, offset);
		if (!is_error(ret))
			return ret;
	}
	if (flags & MAP_FIXED) {
		ret = leave_all(addr, length, "mmap");
		if (ret)
			return ret;
	}
	return kernel(SYS_mmap, addr, length, prot, flags, fd, offset);
}

EXPORT void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	return (void *)ANSWER(do_mmap((uintptr_t)addr, length, prot, flags, fd, offset));
}

EXPORT void *mmap64(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
	__attribute__((alias("mmap")));

/* Shared memory of System V is handled only for --verbose and SHM_REMAP. */
static long do_shmat(int id, uintptr_t addr, int flags)
{
	struct shmid_ds segment = { 0 };
	long ret;

	if (!settings.min || kernel(SYS_shmctl, id, IPC_STAT, &segment))
		return kernel(SYS_shmat, id, addr, flags);
	if (segment.shm_segsz >= settings.min)
		say("shmat: %zu bytes remain ordinary memory: System V", segment.shm_segsz);
	if (flags & SHM_REMAP) {
		ret = leave_all(addr, segment.shm_segsz, "shmat");
		if (ret)
			return ret;
	}
	return kernel(SYS_shmat, id, addr, flags);
}

EXPORT void *shmat(int id, const void *addr, int flags)
{
	return (void *)ANSWER(do_shmat(id, (uintptr_t)addr, flags));
}

/* Calls that change mappings */

static long do_munmap(uintptr_t addr, size_t length)
{
	struct before before;
	long ret;

	if (!touches(addr, length) || pages(length) < length)
		return kernel(SYS_munmap, addr, length);
	lock(&before);
	ret = unmap(addr, pages(length));
	unlock(&before);
	return ret;
}

EXPORT int munmap(void *addr, size_t length)
{
	return ANSWER(do_munmap((uintptr_t)addr, length));
}

static long do_mprotect(uintptr_t addr, size_t length, int prot)
{
	const struct area *a;
	long ret;

	if (touches(addr, length)) {
		a = area_of(addr, length);
		if (a && prot == a->prot)
			return 0;
		ret = leave_all(addr, length, "mprotect");
		if (ret)
			return ret;
	}
	return kernel(SYS_mprotect, addr, length, prot);
}

EXPORT int mprotect(void *addr, size_t length, int prot)
{
	return ANSWER(do_mprotect((uintptr_t)addr, length, prot));
}

static long do_pkey_mprotect(uintptr_t addr, size_t length, int prot, int pkey)
{
	long ret;

	/* As glibc does: kernels without keys know mprotect(). */
	if (pkey == -1)
		return do_mprotect(addr, length, prot);
	ret = leave_all(addr, length, "pkey_mprotect");
	return ret ? ret : kernel(SYS_pkey_mprotect, addr, length, prot, pkey);
}

EXPORT int pkey_mprotect(void *addr, size_t length, int prot, int pkey)
{
	return ANSWER(do_pkey_mprotect((uintptr_t)addr, length, prot, pkey));
}

static long do_mremap(uintptr_t addr, size_t length, size_t new_length, int flags, uintptr_t new_addr)
{
	/* With length 0, it makes another mapping. */
	long ret = leave_all(addr, length ? length : 1, "mremap");

	if (!ret && (flags & MREMAP_FIXED))
		ret = leave_all(new_addr, new_length, "mremap");
	return ret ? ret : kernel(SYS_mremap, addr, length, new_length, flags, new_addr);
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
	return (void *)ANSWER(do_mremap((uintptr_t)addr, length, new_length, flags, (uintptr_t)new_addr));
}

static long do_remap_file_pages(uintptr_t addr, size_t size, int prot, size_t offset, int flags)
{
	long ret = leave_all(addr, size, "remap_file_pages");

	return ret ? ret : kernel(SYS_remap_file_pages, addr, size, prot, offset, flags);
}

EXPORT int remap_file_pages(void *addr, size_t size, int prot, size_t offset, int flags)
{
	return ANSWER(do_remap_file_pages((uintptr_t)addr, size, prot, offset, flags));
}

static long do_mseal(uintptr_t addr, size_t length, unsigned long flags)
{
	long ret = leave_all(addr, length, "mseal");

	return ret ? ret : kernel(SYS_mseal, addr, length, flags);
}

/* Advice, locks and the like */

/*
 * Advice about one area: 1 if it must leave its region for this advice.  Advice that is
 * only about the page tables of one process has no effect here and succeeds.
 */
static long advise(struct area *a, uintptr_t addr, size_t length, int advice)
{
	const char *why;
	long ret;

	if (a->file)
		return advise_file(a, addr, length, advice);
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
		if (!fd_is_ours(a) || !filter_allows(&why))
			return 1;
		ret = kernel(__NR_mshare_advise, a->fd, addr - base_of(a), pages(length), advice, 0);
		return ret == -EINVAL || ret == -EPERM || ret == -ENOSYS ? 1 : ret;
	default:
		return 1;
	}
}

static long do_madvise(uintptr_t addr, size_t length, int advice)
{
	struct before before;
	struct area *a;
	long ret;

	if (touches(addr, length)) {
		/* The kernel looks whether it knows the advice, even for nothing. */
		ret = kernel(SYS_madvise, addr, 0, advice);
		if (ret)
			return ret;
		lock(&before);
		a = area_of(addr, length);
		ret = a ? advise(a, addr, length, advice) : 1;
		unlock(&before);
		if (ret <= 0)
			return ret;
		ret = leave_all(addr, length, "madvise");
		if (ret)
			return ret;
	}
	return kernel(SYS_madvise, addr, length, advice);
}

EXPORT int madvise(void *addr, size_t length, int advice)
{
	return ANSWER(do_madvise((uintptr_t)addr, length, advice));
}

/* Returns the error number, instead of setting errno. */
EXPORT int posix_madvise(void *addr, size_t length, int advice)
{
	/* On Linux this is no advice, because it would lose private memory. */
	if (advice == POSIX_MADV_DONTNEED)
		return 0;
	return -do_madvise((uintptr_t)addr, length, advice);
}

/* These three accept any address, and apply to whole pages. */
static uintptr_t page_of(uintptr_t addr)
{
	return addr & -PAGE;
}

static size_t rest_of(uintptr_t addr, size_t length)
{
	return length ? length + (addr & (PAGE - 1)) : 0;
}

static long do_mlock(uintptr_t addr, size_t length)
{
	long ret = leave_all(page_of(addr), rest_of(addr, length), "mlock");

	return ret ? ret : kernel(SYS_mlock, addr, length);
}

EXPORT int mlock(const void *addr, size_t length)
{
	return ANSWER(do_mlock((uintptr_t)addr, length));
}

static long do_mlock2(uintptr_t addr, size_t length, unsigned int flags)
{
	long ret = leave_all(page_of(addr), rest_of(addr, length), "mlock2");

	return ret ? ret : kernel(SYS_mlock2, addr, length, flags);
}

EXPORT int mlock2(const void *addr, size_t length, unsigned int flags)
{
	return ANSWER(do_mlock2((uintptr_t)addr, length, flags));
}

static long do_munlock(uintptr_t addr, size_t length)
{
	uintptr_t first = page_of(addr);
	size_t all = rest_of(addr, length);
	long ret;

	/* It would have left its region if it had been locked. */
	if (touches(first, all) && area_of(first, all))
		return 0;
	ret = leave_all(first, all, "munlock");
	return ret ? ret : kernel(SYS_munlock, addr, length);
}

EXPORT int munlock(const void *addr, size_t length)
{
	return ANSWER(do_munlock((uintptr_t)addr, length));
}

static long do_msync(uintptr_t addr, size_t length, int flags)
{
	long ret;

	if (touches(addr, length) && sync_file(addr, length, flags, &ret))
		return ret;
	/* The other areas have no file behind them; the kernel still checks the rest. */
	if ((flags & (MS_SYNC | MS_ASYNC)) == MS_SYNC && touches(addr, length)) {
		if (area_of(addr, length)) {
			flags ^= MS_SYNC | MS_ASYNC;
		} else {
			ret = leave_all(addr, length, "msync");
			if (ret)
				return ret;
		}
	}
	return kernel(SYS_msync, addr, length, flags);
}

EXPORT int msync(void *addr, size_t length, int flags)
{
	return ANSWER(do_msync((uintptr_t)addr, length, flags));
}

/*
 * NUMA policies belong to the memory.  They are set and read through another mapping of
 * it, the shadow, which may be split into several mappings by that.  libnuma makes these
 * calls by syscall().
 */

/* With the lock: the address of ADDR in the shadow; ADDR itself if it is in no area. */
static uintptr_t in_shadow(uintptr_t addr, size_t length, bool sets)
{
	struct area *a = area_of(addr, length);

	if (!a)
		return addr;
	a->policies |= sets;
	return in_shadow_of(a, addr);
}

/* A call that sets one: if the range reaches beyond an area, the area leaves first. */
static long set_policy(long nr, uintptr_t addr, size_t length, long a, long b, long c, long d, const char *name)
{
	struct before before;
	long ret;

	if (!touches(addr, length))
		return kernel(nr, addr, length, a, b, c, d);
	ret = area_of(addr, length) ? 0 : leave_all(addr, length, name);
	if (ret)
		return ret;
	lock(&before);
	ret = kernel(nr, in_shadow(addr, length, true), length, a, b, c, d);
	unlock(&before);
	return ret;
}

/* The kernel finds the node of a page at the address itself. */
static long do_get_mempolicy(long mode, long nodes, long count, uintptr_t addr, unsigned long flags)
{
	struct before before;
	long ret;

	if (flags != MPOL_F_ADDR || !touches(page_of(addr), 1))
		return kernel(SYS_get_mempolicy, mode, nodes, count, addr, flags);
	lock(&before);
	ret = kernel(SYS_get_mempolicy, mode, nodes, count, in_shadow(page_of(addr), 1, false), flags);
	unlock(&before);
	return ret;
}

/* Filters of system calls are noticed, and installed unchanged */

static long do_prctl(int option, long a, long b, long c, long d)
{
	long ret = kernel(SYS_prctl, option, a, b, c, d);

	if (option == PR_SET_SECCOMP && !ret)
		filter_added();
	return ret;
}

EXPORT int prctl(int option, ...)
{
	va_list args;
	long a, b, c, d;

	va_start(args, option);
	a = va_arg(args, long);
	b = va_arg(args, long);
	c = va_arg(args, long);
	d = va_arg(args, long);
	va_end(args);
	return ANSWER(do_prctl(option, a, b, c, d));
}

static long do_seccomp(unsigned int operation, unsigned int flags, long arg)
{
	long ret = kernel(SYS_seccomp, operation, flags, arg);

	/* 0 and 1 set a mode; the result may be a descriptor. */
	if (operation <= 1 && ret >= 0)
		filter_added();
	return ret;
}

/* syscall() */

/* The calls that are intercepted; the table is for the code below. */
#define LAST_CALL	SYS_mseal
__attribute__((used)) const bool looked_at[LAST_CALL + 1] = {
	[SYS_mmap] = true, [SYS_munmap] = true, [SYS_mprotect] = true, [SYS_pkey_mprotect] = true,
	[SYS_mremap] = true, [SYS_remap_file_pages] = true, [SYS_mseal] = true, [SYS_shmat] = true,
	[SYS_madvise] = true, [SYS_mlock] = true, [SYS_mlock2] = true, [SYS_munlock] = true,
	[SYS_msync] = true, [SYS_mbind] = true, [SYS_set_mempolicy_home_node] = true,
	[SYS_get_mempolicy] = true, [SYS_prctl] = true, [SYS_seccomp] = true,
};

static long do_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	switch (nr) {
	case SYS_mmap:
		return do_mmap(a, b, c, d, e, f);
	case SYS_munmap:
		return do_munmap(a, b);
	case SYS_mprotect:
		return do_mprotect(a, b, c);
	case SYS_pkey_mprotect:
		return do_pkey_mprotect(a, b, c, d);
	case SYS_mremap:
		return do_mremap(a, b, c, d, e);
	case SYS_remap_file_pages:
		return do_remap_file_pages(a, b, c, d, e);
	case SYS_mseal:
		return do_mseal(a, b, c);
	case SYS_shmat:
		return do_shmat(a, b, c);
	case SYS_madvise:
		return do_madvise(a, b, c);
	case SYS_mlock:
		return do_mlock(a, b);
	case SYS_mlock2:
		return do_mlock2(a, b, c);
	case SYS_munlock:
		return do_munlock(a, b);
	case SYS_msync:
		return do_msync(a, b, c);
	case SYS_mbind:
		return set_policy(nr, a, b, c, d, e, f, "mbind");
	case SYS_set_mempolicy_home_node:
		return set_policy(nr, a, b, c, d, 0, 0, "set_mempolicy_home_node");
	case SYS_get_mempolicy:
		return do_get_mempolicy(a, b, c, d, e);
	case SYS_prctl:
		return do_prctl(a, b, c, d, e);
	case SYS_seccomp:
		return do_seccomp(a, b, c);
	}
	return -ENOSYS;
}

/* Called with the registers and the return address of syscall(). */
__attribute__((used)) long syscall_looked_at(long nr, long a, long b, long c, long d, long e, long f)
{
	return ANSWER(do_syscall(nr, a, b, c, d, e, f));
}

__attribute__((used)) long syscall_failed(long ret)
{
	return ANSWER(ret);
}

/*
 * All other calls pass unchanged.  A call that creates a process may return on another
 * stack, so there is no frame.
 */
#define STRING(x)	#x
#define NUMBER(x)	STRING(x)
__asm__(".pushsection .text\n"
	"	.globl	syscall\n"
	"	.type	syscall, @function\n"
	"syscall:\n"
	"	.cfi_startproc\n"
	"	endbr64\n"
	"	cmp	$" NUMBER(LAST_CALL) ", %rdi\n"
	"	ja	1f\n"
	"	lea	looked_at(%rip), %rax\n"
	"	cmpb	$0, (%rax, %rdi)\n"
	"	jne	syscall_looked_at\n"
	"1:	mov	%rdi, %rax\n"
	"	mov	%rsi, %rdi\n"
	"	mov	%rdx, %rsi\n"
	"	mov	%rcx, %rdx\n"
	"	mov	%r8, %r10\n"
	"	mov	%r9, %r8\n"
	"	mov	8(%rsp), %r9\n"
	"	syscall\n"
	"	mov	%rax, %rdi\n"
	"	cmp	$-4095, %rax\n"
	"	jae	syscall_failed\n"
	"	ret\n"
	"	.cfi_endproc\n"
	"	.size	syscall, . - syscall\n"
	".popsection");

/* Also for the table of the C library; these two are defined above and in libc.c. */
long syscall(long nr, ...);
void *dlsym(void *handle, const char *name);

#define REPLACE(name)	{ #name, (void (*)(void))name }
const struct replacement replacements[] = {
	REPLACE(mmap), REPLACE(mmap64), REPLACE(munmap), REPLACE(mprotect), REPLACE(pkey_mprotect),
	REPLACE(mremap), REPLACE(remap_file_pages), REPLACE(shmat), REPLACE(madvise),
	REPLACE(posix_madvise), REPLACE(mlock), REPLACE(mlock2), REPLACE(munlock), REPLACE(msync),
	REPLACE(prctl), REPLACE(syscall), REPLACE(dlsym), { NULL, NULL }
};
