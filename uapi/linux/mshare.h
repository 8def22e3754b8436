/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * mshare - page tables shared between processes
 *
 * A region has page tables of its own.  Processes attach the region and use
 * these tables together.  All offsets and lengths here are in bytes.
 */
#ifndef _UAPI_LINUX_MSHARE_H
#define _UAPI_LINUX_MSHARE_H

#include <linux/types.h>

/*
 * System call numbers, where the headers of the kernel have none.  They are those
 * of x86-64 only (ABI column "64"): elsewhere, other calls may have these numbers.
 */
#if defined(__x86_64__) && !defined(__ILP32__) && !defined(__NR_mshare_create)
#define __NR_mshare_create	600
#define __NR_mshare_attach	601
#define __NR_mshare_detach	602
#define __NR_mshare_map		603
#define __NR_mshare_unmap	604
#define __NR_mshare_protect	605
#define __NR_mshare_advise	606
#define __NR_mshare_stat	607
#define __NR_mshare_open	608
#endif

/**
 * DOC: Flags of mshare_create(), of which mshare_open() has MSHARE_CLOEXEC
 *
 * MSHARE_OWNED
 *	The region ends with the process that creates it.
 * MSHARE_QUERY_ABI
 *	Return the level of this ABI and create nothing.  The name must be
 *	NULL, and no other flag may be set.
 * MSHARE_CLOEXEC
 *	Set the close-on-exec flag on the new file descriptor.
 */
#define MSHARE_OWNED			0x00000001U
#define MSHARE_QUERY_ABI		0x00000002U
/* O_CLOEXEC; its header and that of the C library cannot be used together */
#define MSHARE_CLOEXEC			0x00080000U

/* The level that MSHARE_QUERY_ABI returns; 1 without mshare_open(). */
#define MSHARE_ABI_LEVEL		2

/* The maximum length of a region's name in bytes, without the final NUL. */
#define MSHARE_NAME_MAX			248

/**
 * DOC: Flags of mshare_attach()
 *
 * MSHARE_ATTACH_RDONLY
 *	Neither the process nor the kernel on its behalf can write through this
 *	attachment.
 * MSHARE_ATTACH_EXEC
 *	Instructions can be fetched through this attachment.
 * MSHARE_ATTACH_DONTFORK
 *	Children do not inherit this attachment.
 */
#define MSHARE_ATTACH_RDONLY		0x00000001U
#define MSHARE_ATTACH_EXEC		0x00000002U
#define MSHARE_ATTACH_DONTFORK		0x00000004U

/* Value of &mshare_map_args.offset: the kernel chooses a free offset. */
#define MSHARE_ANY_OFFSET		(~0ULL)

/* Size of the first published struct mshare_map_args. */
#define MSHARE_MAP_ARGS_SIZE_VER0	40

/**
 * struct mshare_map_args - The object that mshare_map() maps.
 *
 * @offset: Offset in the region, a multiple of 4096 (of the huge page size for
 *	huge pages), or %MSHARE_ANY_OFFSET.
 * @length: Length in bytes, not 0; rounded up to a multiple of 4096 (of the
 *	huge page size for huge pages).
 * @prot: PROT_READ, PROT_WRITE, PROT_EXEC or PROT_NONE, as for mmap(2).
 * @flags: MAP_SHARED or MAP_SHARED_VALIDATE, with any of MAP_ANONYMOUS,
 *	MAP_HUGETLB (and a size as for mmap(2)), MAP_POPULATE, MAP_NORESERVE and
 *	MAP_FIXED.
 * @fd: The file to map, -1 with MAP_ANONYMOUS.
 * @reserved: Must be 0.
 * @fd_offset: Offset in the file, a multiple of 4096 (of the huge page size
 *	for huge pages); 0 with MAP_ANONYMOUS.
 *
 * This structure can grow in future levels of the ABI.
 */
struct mshare_map_args {
	__u64 offset;
	__u64 length;
	__u32 prot;
	__u32 flags;
	__s32 fd;
	__u32 reserved;
	__u64 fd_offset;
};

/* Sizes of the published versions of struct mshare_stat: of level 1, of level 2. */
#define MSHARE_STAT_SIZE_VER0		96
#define MSHARE_STAT_SIZE_VER1		112

/**
 * DOC: Bits of &mshare_stat.flags
 *
 * MSHARE_STAT_OWNED
 *	Created with MSHARE_OWNED.
 * MSHARE_STAT_DEAD
 *	The owner is gone: accesses get SIGBUS.
 * MSHARE_STAT_FILE
 *	The region of a file, which mshare_open() returned.
 */
#define MSHARE_STAT_OWNED		0x1ULL
#define MSHARE_STAT_DEAD		0x2ULL
#define MSHARE_STAT_FILE		0x4ULL

/**
 * struct mshare_stat - The information that mshare_stat() returns.
 *
 * @id: Number of the region, not used again until the next boot.
 * @size: Size of the region in bytes, as set by ftruncate(2); for the region of a
 *	file, the largest length that was asked for.
 * @align: Bytes of one slot: attachments start at multiples of it and span
 *	multiples of it.
 * @base: Address that an attach without an address tries first; 0 until the
 *	size is set for the first time.
 * @attachments: Number of attachments in all processes.
 * @objects: Number of objects (VMAs of the region).
 * @mapped: Bytes that the objects span.
 * @resident: Bytes of memory mapped in the region's page tables, huge pages
 *	included.
 * @swapped: Bytes of swap used by the shared memory behind the objects.
 * @pgtable_bytes: Bytes of the region's page tables.
 * @faults: Page faults in attachments that have been served; populating and
 *	the kernel's own accesses without a page fault do not count.
 * @flags: %MSHARE_STAT_OWNED, %MSHARE_STAT_DEAD, %MSHARE_STAT_FILE.
 * @tables_dropped: Number of page tables that mshare_advise() has freed.
 * @tables_reclaimed: Number of page tables that the kernel has freed because memory
 *	was short.
 *
 * This structure can grow in future levels of the ABI.
 */
struct mshare_stat {
	__u64 id;
	__u64 size;
	__u64 align;
	__u64 base;
	__u64 attachments;
	__u64 objects;
	__u64 mapped;
	__u64 resident;
	__u64 swapped;
	__u64 pgtable_bytes;
	__u64 faults;
	__u64 flags;
	__u64 tables_dropped;
	__u64 tables_reclaimed;
};

#endif /* _UAPI_LINUX_MSHARE_H */
