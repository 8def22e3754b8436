/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libmshare - system calls to share page tables between processes
 *
 * Flags, structures and limits are in <linux/mshare.h>, the manual is
 * mshare(7).  Every call returns -1 and sets errno when it fails, except
 * mshare_attach(), which returns MAP_FAILED.
 */
#ifndef MSHARE_H
#define MSHARE_H

#include <linux/mshare.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Makes a region of size 0 and returns a file descriptor for it; set the size
 * with ftruncate(2).  NAME is what people see in /proc/PID/maps.
 * mshare_create(NULL, MSHARE_QUERY_ABI) returns the level of the kernel's ABI.
 */
int mshare_create(const char *name, unsigned int flags);

/*
 * Places the region in the calling process, at ADDR or, if that is NULL, where
 * the kernel finds room.  Returns the address.
 */
void *mshare_attach(int fd, void *addr, unsigned int flags);

/* Takes the attachment that starts at ADDR out of the calling process. */
int mshare_detach(void *addr, unsigned int flags);

/*
 * Maps memory or a file in the region, for all who have it attached.  SIZE is
 * sizeof(struct mshare_map_args).  Returns the offset in the region.
 */
int64_t mshare_map(int fd, const struct mshare_map_args *args, size_t size);

/* Removes what is mapped in LENGTH bytes at OFFSET. */
int mshare_unmap(int fd, uint64_t offset, uint64_t length, unsigned int flags);

/* Sets what may be done with LENGTH bytes at OFFSET, as mprotect(2) does. */
int mshare_protect(int fd, uint64_t offset, uint64_t length, unsigned int prot,
		   unsigned int flags);

/* Gives advice about LENGTH bytes at OFFSET, as madvise(2) does. */
int mshare_advise(int fd, uint64_t offset, uint64_t length, int advice,
		  unsigned int flags);

/* Fills ST, of SIZE bytes, with what the kernel knows about the region. */
int mshare_stat(int fd, struct mshare_stat *st, size_t size,
		unsigned int flags);

#ifdef __cplusplus
}
#endif

#endif /* MSHARE_H */
