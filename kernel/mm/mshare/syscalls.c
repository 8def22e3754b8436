// SPDX-License-Identifier: GPL-2.0
/*
 * mshare - system calls
 *
 * Each call checks its arguments, in the order that the manual documents, and calls
 * one function.  All arguments are copied in before a lock is taken.
 */
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/syscalls.h>
#include <linux/uaccess.h>

#include "mshare.h"

#define MSHARE_CREATE_FLAGS	(MSHARE_OWNED | MSHARE_QUERY_ABI | MSHARE_CLOEXEC)
#define MSHARE_ATTACH_FLAGS	(MSHARE_ATTACH_RDONLY | MSHARE_ATTACH_EXEC | \
				 MSHARE_ATTACH_DONTFORK)
#define MSHARE_PROT_BITS	(PROT_READ | PROT_WRITE | PROT_EXEC)
#define MSHARE_MAP_FLAGS	(MAP_TYPE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE | \
				 MAP_NORESERVE | MAP_FIXED | \
				 (MAP_HUGE_MASK << MAP_HUGE_SHIFT))

/* Checks that @fd is open, with @mode, and refers to a region. */
static int mshare_check_fd(const struct fd fd, fmode_t mode)
{
	if (fd_empty(fd))
		return -EBADF;
	if (!mshare_is_file(fd_file(fd)))
		return -EBADFD;
	if ((fd_file(fd)->f_mode & mode) != mode)
		return -EBADF;
	return 0;
}

/* Checks that @fd is a region whose objects the caller may change. */
static int mshare_check_change(const struct fd fd)
{
	int err = mshare_check_fd(fd, FMODE_WRITE);

	if (!err && mshare_is_sealed(mshare_file_region(fd_file(fd))))
		err = -EPERM;
	return err;
}

/* Checks a range and rounds its length up to whole pages. */
static int mshare_check_args(u64 offset, u64 *length)
{
	u64 aligned = PAGE_ALIGN(*length);

	/* Also if rounding up overflows. */
	if (!PAGE_ALIGNED(offset) || !aligned || offset + aligned < offset)
		return -EINVAL;
	*length = aligned;
	return 0;
}

static int mshare_check_struct_size(size_t size, size_t min)
{
	if (size < min)
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	return 0;
}

/**
 * sys_mshare_create - Make a region.
 * @uname: Its name, for information only; at most MSHARE_NAME_MAX bytes.
 * @flags: MSHARE_OWNED, MSHARE_CLOEXEC; or MSHARE_QUERY_ABI, with no name.
 *
 * Return: A file descriptor, the level of the ABI for MSHARE_QUERY_ABI, or
 *
 * - %-EINVAL: unknown flags, MSHARE_QUERY_ABI with a name or another flag, or
 *   a name that is too long
 * - %-EFAULT: @uname cannot be read
 * - %-EOPNOTSUPP: page tables cannot be shared on this machine
 * - %-EPERM: disabled in /sys/kernel/mm/mshare/enabled
 * - %-EDQUOT: max_regions_per_user reached
 * - %-EMFILE, %-ENFILE: too many open files
 * - %-ENOMEM: no memory
 */
SYSCALL_DEFINE2(mshare_create, const char __user *, uname, unsigned int, flags)
{
	struct file *file;
	char *name;
	int fd;

	if (flags & ~MSHARE_CREATE_FLAGS)
		return -EINVAL;
	if (flags & MSHARE_QUERY_ABI) {
		if (flags != MSHARE_QUERY_ABI || uname)
			return -EINVAL;
		return arch_mshare_supported() ? MSHARE_ABI_LEVEL : -EOPNOTSUPP;
	}
	name = strndup_user(uname, MSHARE_NAME_MAX + 1);
	if (IS_ERR(name))
		return PTR_ERR(name);
	fd = -EOPNOTSUPP;
	if (!arch_mshare_supported())
		goto out_name;
	fd = -EPERM;
	if (!READ_ONCE(mshare_enabled))
		goto out_name;

	fd = get_unused_fd_flags(flags & MSHARE_CLOEXEC);
	if (fd < 0)
		goto out_name;
	file = mshare_create_file(name, flags & ~MSHARE_CLOEXEC);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		fd = PTR_ERR(file);
		goto out_name;
	}
	fd_install(fd, file);
out_name:
	kfree(name);
	return fd;
}

/**
 * sys_mshare_attach - Attach a region to the calling process.
 * @fd: The region.
 * @addr: Where, a multiple of the slot size, or 0 to let the kernel choose.
 * @flags: MSHARE_ATTACH_RDONLY, MSHARE_ATTACH_EXEC, MSHARE_ATTACH_DONTFORK.
 *
 * Return: The address, or
 *
 * - %-EINVAL: unknown flags, @addr unaligned, or a region of size 0
 * - %-EBADF: @fd is not open, or with O_PATH
 * - %-EBADFD: @fd is not a region
 * - %-EACCES: @fd is not open for reading; not open for writing and
 *   MSHARE_ATTACH_RDONLY is missing; or MSHARE_ATTACH_EXEC without it under a
 *   memory-deny-write-execute policy
 * - %-EEXIST: something is mapped at @addr
 * - %-EOWNERDEAD: the owner is gone
 * - %-ENOMEM: no room, too many mappings, RLIMIT_AS, or no memory
 * - %-EBUSY: since it began with execve() or fork() the process has, or had, an
 *   mmu-notifier user such as KVM
 * - %-EINTR: killed
 */
SYSCALL_DEFINE3(mshare_attach, int, fd, unsigned long, addr, unsigned int, flags)
{
	int err;

	if (flags & ~MSHARE_ATTACH_FLAGS)
		return -EINVAL;
	if (!IS_ALIGNED(addr, P4D_SIZE))
		return -EINVAL;

	CLASS(fd, f)(fd);

	err = mshare_check_fd(f, 0);
	if (err)
		return err;
	if (!(fd_file(f)->f_mode & FMODE_READ))
		return -EACCES;
	if (!(fd_file(f)->f_mode & FMODE_WRITE) && !(flags & MSHARE_ATTACH_RDONLY))
		return -EACCES;
	return mshare_attach_file(fd_file(f), addr, flags);
}

/**
 * sys_mshare_detach - Detach a region from the calling process.
 * @addr: The address of the attachment.
 * @flags: Must be 0.
 *
 * Return: 0, or
 *
 * - %-EINVAL: @flags is not 0, or @addr is not the start of an attachment
 * - %-EPERM: it is sealed
 * - %-ENOMEM: no memory
 * - %-EINTR: killed
 */
SYSCALL_DEFINE2(mshare_detach, unsigned long, addr, unsigned int, flags)
{
	if (flags)
		return -EINVAL;
	return mshare_detach_at(addr);
}

/**
 * sys_mshare_map - Map an object in a region.
 * @fd: The region, open for writing.
 * @uargs: The object and its place.
 * @size: sizeof(struct mshare_map_args), as the caller knows it.
 *
 * Return: The offset, or
 *
 * - %-EINVAL: @size too small, a value in @uargs that is not allowed or not
 *   aligned, or an offset that does not fit the object's huge pages
 * - %-E2BIG: @size above a page, or something in @uargs this kernel does not
 *   know
 * - %-EFAULT: @uargs cannot be read
 * - %-EBADF: @fd is not open for writing, or the object's is not open
 * - %-EBADFD: @fd is not a region
 * - %-ENODEV: a file that cannot be an object
 * - %-EACCES: the object is not open for what prot asks, is append-only, or a
 *   memory-deny-write-execute policy forbids it
 * - %-EPERM: @fd is the region of a file; or a noexec mount, or a seal
 * - %-EOVERFLOW: past what the file system can address
 * - %-ETXTBSY: a swap file
 * - %-ENFILE: too many open files in the system, for anonymous memory
 * - %-ENOMEM: past the size of the region, no room in it, too many objects, or
 *   no memory
 * - %-EEXIST: something is mapped there and MAP_FIXED is missing
 * - %-EOWNERDEAD: the owner is gone
 * - %-EINTR: killed
 */
SYSCALL_DEFINE3(mshare_map, int, fd, const struct mshare_map_args __user *, uargs,
		size_t, size)
{
	struct mshare_map_args args;
	u64 offset, length;
	int err;

	err = mshare_check_struct_size(size, MSHARE_MAP_ARGS_SIZE_VER0);
	if (err)
		return err;
	err = copy_struct_from_user(&args, sizeof(args), uargs, size);
	if (err)
		return err;

	if (args.reserved || (args.prot & ~MSHARE_PROT_BITS) ||
	    (args.flags & ~MSHARE_MAP_FLAGS))
		return -EINVAL;
	if ((args.flags & MAP_TYPE) != MAP_SHARED &&
	    (args.flags & MAP_TYPE) != MAP_SHARED_VALIDATE)
		return -EINVAL;
	if (!(args.flags & MAP_HUGETLB) && (args.flags & (MAP_HUGE_MASK << MAP_HUGE_SHIFT)))
		return -EINVAL;
	if ((args.flags & MAP_ANONYMOUS) && (args.fd != -1 || args.fd_offset))
		return -EINVAL;
	if ((args.flags & MAP_FIXED) && args.offset == MSHARE_ANY_OFFSET)
		return -EINVAL;
	length = args.length;
	offset = args.offset == MSHARE_ANY_OFFSET ? 0 : args.offset;
	if (mshare_check_args(offset, &length) || mshare_check_args(args.fd_offset, &length))
		return -EINVAL;

	CLASS(fd, f)(fd);

	err = mshare_check_change(f);
	if (err)
		return err;
	return mshare_map_object(mshare_file_region(fd_file(f)), &args);
}

/**
 * sys_mshare_unmap - Unmap what is in a range of a region.
 * @fd: The region, open for writing.
 * @offset: Start of the range in bytes, a multiple of 4096.
 * @length: Of the range in bytes, rounded up to a multiple of 4096.
 * @flags: Must be 0.
 *
 * Return: 0, or
 *
 * - %-EINVAL: @flags is not 0, @offset unaligned, @length 0, their sum
 *   overflows, or the range cuts a huge page
 * - %-EBADF: @fd is not open for writing
 * - %-EBADFD: @fd is not a region
 * - %-EPERM: @fd is the region of a file
 * - %-ENOMEM: past the size of the region, too many objects, or no memory
 * - %-EOWNERDEAD: the owner is gone
 * - %-EINTR: killed
 */
SYSCALL_DEFINE4(mshare_unmap, int, fd, __u64, offset, __u64, length, unsigned int, flags)
{
	int err;

	if (flags || mshare_check_args(offset, &length))
		return -EINVAL;

	CLASS(fd, f)(fd);

	err = mshare_check_change(f);
	if (err)
		return err;
	return mshare_unmap_range(mshare_file_region(fd_file(f)), offset, length);
}

/**
 * sys_mshare_protect - Change the protection of a range of a region.
 * @fd: The region, open for writing.
 * @offset: Start of the range in bytes, a multiple of 4096.
 * @length: Of the range in bytes, rounded up to a multiple of 4096.
 * @prot: PROT_READ, PROT_WRITE, PROT_EXEC or PROT_NONE.
 * @flags: Must be 0.
 *
 * Return: 0, or
 *
 * - %-EINVAL: @flags is not 0, unknown bits in @prot, @offset unaligned,
 *   @length 0, their sum overflows, or the range cuts a huge page
 * - %-EBADF: @fd is not open for writing
 * - %-EBADFD: @fd is not a region
 * - %-EPERM: @fd is the region of a file
 * - %-EACCES: a file was not open for it, a seal, or a
 *   memory-deny-write-execute policy
 * - %-ENOMEM: past the size of the region, a hole, too many objects, or no
 *   memory
 * - %-EOWNERDEAD: the owner is gone
 * - %-EINTR: killed
 */
SYSCALL_DEFINE5(mshare_protect, int, fd, __u64, offset, __u64, length, unsigned int, prot,
		unsigned int, flags)
{
	int err;

	if (flags || (prot & ~MSHARE_PROT_BITS) || mshare_check_args(offset, &length))
		return -EINVAL;

	CLASS(fd, f)(fd);

	err = mshare_check_change(f);
	if (err)
		return err;
	return mshare_protect_range(mshare_file_region(fd_file(f)), offset, length, prot);
}

/* The advice that makes sense for memory that no process owns. */
static bool mshare_advice_valid(int advice)
{
	switch (advice) {
	case MADV_NORMAL:
	case MADV_RANDOM:
	case MADV_SEQUENTIAL:
	case MADV_WILLNEED:
	case MADV_DONTNEED:
	case MADV_REMOVE:
	case MADV_COLD:
	case MADV_PAGEOUT:
	case MADV_POPULATE_READ:
	case MADV_POPULATE_WRITE:
	case MADV_HUGEPAGE:
	case MADV_NOHUGEPAGE:
	case MADV_COLLAPSE:
		return true;
	default:
		return false;
	}
}

/**
 * sys_mshare_advise - Give advice about a range of a region.
 * @fd: The region, open for writing.
 * @offset: Start of the range in bytes, a multiple of 4096.
 * @length: Of the range in bytes, rounded up to a multiple of 4096.
 * @advice: MADV_*, as in madvise(2).
 * @flags: Must be 0.
 *
 * Return: 0, or
 *
 * - %-EINVAL: @flags is not 0, @advice is none of those above, @offset
 *   unaligned, @length 0, their sum overflows, or the object is not one for
 *   this advice
 * - %-EBADF: @fd is not open for writing
 * - %-EBADFD: @fd is not a region
 * - %-EACCES: MADV_REMOVE of an object that may not be written
 * - %-EPERM, %-ETXTBSY, %-EOPNOTSUPP, %-ENOSPC, %-EDQUOT: MADV_REMOVE, as
 *   fallocate(2)
 * - %-ENOMEM: past the size of the region, a hole, or no memory
 * - %-EOWNERDEAD: the owner is gone
 * - %-EAGAIN, %-EBUSY, %-EFAULT, %-EHWPOISON, %-EIO: as madvise(2)
 * - %-EINTR: killed
 */
SYSCALL_DEFINE5(mshare_advise, int, fd, __u64, offset, __u64, length, int, advice,
		unsigned int, flags)
{
	int err;

	if (flags || !mshare_advice_valid(advice) || mshare_check_args(offset, &length))
		return -EINVAL;

	CLASS(fd, f)(fd);

	err = mshare_check_fd(f, FMODE_WRITE);
	if (err)
		return err;
	return mshare_advise_range(mshare_file_region(fd_file(f)), offset, length, advice);
}

/**
 * sys_mshare_stat - Get the numbers of a region.
 * @fd: The region.
 * @ust: The destination.
 * @size: sizeof(struct mshare_stat), as the caller knows it.
 * @flags: Must be 0.
 *
 * A smaller structure gets the first @size bytes; the tail of a larger one is set to 0.
 *
 * Return: 0, or
 *
 * - %-EINVAL: @flags is not 0, or @size is too small
 * - %-E2BIG: @size is above a page
 * - %-EFAULT: @ust cannot be written
 * - %-EBADF: @fd is not open
 * - %-EBADFD: @fd is not a region
 * - %-EINTR: killed
 */
SYSCALL_DEFINE4(mshare_stat, int, fd, struct mshare_stat __user *, ust, size_t, size,
		unsigned int, flags)
{
	struct mshare_stat st = {};
	int err;

	if (flags)
		return -EINVAL;
	err = mshare_check_struct_size(size, MSHARE_STAT_SIZE_VER0);
	if (err)
		return err;
	/* Before @fd is checked, to keep the order of errors. */
	if (fault_in_safe_writeable((char __user *)ust, size))
		return -EFAULT;

	CLASS(fd, f)(fd);

	err = mshare_check_fd(f, 0);
	if (err)
		return err;
	err = mshare_fill_stat(mshare_file_region(fd_file(f)), &st);
	if (err)
		return err;
	if (copy_to_user(ust, &st, min(size, sizeof(st))))
		return -EFAULT;
	if (size > sizeof(st) && clear_user((char __user *)ust + sizeof(st), size - sizeof(st)))
		return -EFAULT;
	return 0;
}

/**
 * sys_mshare_open - Open the region of a file.
 * @fd: The file, open for reading, or for reading and writing.
 * @length: The minimum number of its bytes in the region, or 0 for its size.
 * @flags: MSHARE_CLOEXEC.
 *
 * Return: A file descriptor, or
 *
 * - %-EINVAL: unknown flags, @length 0 for a file of size 0, or it overflows
 * - %-EOPNOTSUPP: page tables cannot be shared on this machine
 * - %-EPERM: disabled in /sys/kernel/mm/mshare/enabled, or a seal of a memfd
 * - %-EBADF: @fd is not open, or with O_PATH
 * - %-EMFILE, %-ENFILE: too many open files
 * - %-ENODEV: a file that cannot be in a region, such as one of huge pages
 * - %-EACCES: @fd is not open for reading, or for writing too and append-only
 * - %-EOVERFLOW: past what the file system can address
 * - %-EFBIG: more than the largest region
 * - %-ETXTBSY: a swap file, open for writing
 * - %-EDQUOT: max_regions_per_user reached
 * - %-ENOMEM: too many mappings in the region, or no memory
 * - %-EINTR: killed
 * - the errors of open(2) of the file, because the region opens it once more
 */
SYSCALL_DEFINE3(mshare_open, int, fd, __u64, length, unsigned int, flags)
{
	struct file *file;
	int region_fd;

	if ((flags & ~MSHARE_CLOEXEC) || (length && !PAGE_ALIGN(length)))
		return -EINVAL;
	if (!arch_mshare_supported())
		return -EOPNOTSUPP;
	if (!READ_ONCE(mshare_enabled))
		return -EPERM;

	CLASS(fd, f)(fd);

	if (fd_empty(f))
		return -EBADF;
	region_fd = get_unused_fd_flags(flags & MSHARE_CLOEXEC);
	if (region_fd < 0)
		return region_fd;
	file = mshare_open_file(fd_file(f), length);
	if (IS_ERR(file)) {
		put_unused_fd(region_fd);
		return PTR_ERR(file);
	}
	fd_install(region_fd, file);
	return region_fd;
}
