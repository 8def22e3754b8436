// SPDX-License-Identifier: LGPL-2.1-or-later
/* Creates, attaches and closes regions in one call. */
#include "lib.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define ATTACH_FLAGS	(MSHARE_ATTACH_RDONLY | MSHARE_ATTACH_EXEC | MSHARE_ATTACH_DONTFORK)

int mshare_region_create(struct mshare_region *region, const char *name, uint64_t size,
			 unsigned int flags)
{
	struct mshare_map_args args = {
		.length = size,
		.prot = PROT_READ | PROT_WRITE,
		.flags = MAP_SHARED | MAP_ANONYMOUS,
		.fd = -1,
	};
	void *addr;
	int fd;

	/* Else the level of the ABI would pass for a descriptor. */
	if (flags & MSHARE_QUERY_ABI) {
		errno = EINVAL;
		return -1;
	}
	/* Else it would be negative for ftruncate(). */
	if (size > INT64_MAX) {
		errno = EFBIG;
		return -1;
	}
	fd = mshare_create(name, flags);
	if (fd < 0)
		return -1;
	if (ftruncate(fd, size) || mshare_map(fd, &args, sizeof(args)) < 0)
		goto fail;
	addr = mshare_attach(fd, NULL, 0);
	if (addr == MAP_FAILED)
		goto fail;
	*region = (struct mshare_region){ .fd = fd, .addr = addr, .size = size };
	return 0;

fail:
	close_quietly(fd);
	return -1;
}

int mshare_region_attach(struct mshare_region *region, int fd, unsigned int flags)
{
	struct stat before, after;
	void *addr;

	if (fstat(fd, &before))
		return -1;
	addr = mshare_attach(fd, NULL, flags);
	if (addr == MAP_FAILED)
		return -1;
	/*
	 * The attachment has the slots that the region had in between.  If that
	 * has grown or shrunk since, the smaller size is the one to trust.
	 */
	if (fstat(fd, &after))
		after = before;
	*region = (struct mshare_region){
		.fd = fd,
		.flags = flags,
		.addr = addr,
		.size = before.st_size < after.st_size ? before.st_size : after.st_size,
	};
	return 0;
}

int mshare_region_open(struct mshare_region *region, int fd, uint64_t length,
		       unsigned int flags)
{
	int region_fd = mshare_open(fd, length, flags & ~ATTACH_FLAGS);
	int mode;

	if (region_fd < 0)
		return -1;
	flags &= ATTACH_FLAGS;
	mode = fcntl(region_fd, F_GETFL);
	if ((mode & O_ACCMODE) == O_RDONLY)
		flags |= MSHARE_ATTACH_RDONLY;
	/* The region of a file never shrinks. */
	if (mshare_region_attach(region, region_fd, flags)) {
		close_quietly(region_fd);
		return -1;
	}
	return 0;
}

int mshare_region_close(struct mshare_region *region)
{
	if (mshare_detach(region->addr, 0))
		return -1;
	close_quietly(region->fd);
	*region = (struct mshare_region){ .fd = -1 };
	return 0;
}

void *mshare_ptr(const struct mshare_region *region, uint64_t offset)
{
	if (offset >= region->size) {
		errno = EINVAL;
		return NULL;
	}
	return (char *)region->addr + offset;
}

uint64_t mshare_offset(const struct mshare_region *region, const void *ptr)
{
	uint64_t offset = (uintptr_t)ptr - (uintptr_t)region->addr;

	/* What is below the region has wrapped around. */
	if (offset >= region->size) {
		errno = EINVAL;
		return MSHARE_ANY_OFFSET;
	}
	return offset;
}
