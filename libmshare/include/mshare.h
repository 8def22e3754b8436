/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libmshare - system calls to share page tables between processes
 *
 * <linux/mshare.h> defines the flags, structures and limits.  The manual is
 * libmshare(3) and mshare(7).  Offsets and sizes are in bytes.
 *
 * A function that fails sets errno and returns -1, unless stated otherwise.
 * Anything that is not mentioned as changed has not changed.  No function
 * allocates memory, keeps state of its own or starts a thread.  All functions
 * may be called in signal handlers.  Several threads may call them at the same
 * time, as long as they do not write to the same struct mshare_region.
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
 * The system calls, each with a page of its own in section 2 of the manual.
 */

/*
 * Creates a region of size 0 and returns a file descriptor for it.  Set the
 * size with ftruncate(2).  NAME is shown in /proc/PID/maps.
 */
int mshare_create(const char *name, unsigned int flags);

/*
 * Attaches the region to the calling process at ADDR or, if that is NULL, where
 * the kernel finds room.  Returns the address, or MAP_FAILED.
 */
void *mshare_attach(int fd, void *addr, unsigned int flags);

/* Removes the attachment that starts at ADDR from the calling process. */
int mshare_detach(void *addr, unsigned int flags);

/*
 * Maps memory or a file in the region, for all processes that have it attached.
 * SIZE is sizeof(struct mshare_map_args).  Returns the offset in the region.
 */
int64_t mshare_map(int fd, const struct mshare_map_args *args, size_t size);

/* Unmaps LENGTH bytes at OFFSET. */
int mshare_unmap(int fd, uint64_t offset, uint64_t length, unsigned int flags);

/* Sets the protection of LENGTH bytes at OFFSET, as mprotect(2) does. */
int mshare_protect(int fd, uint64_t offset, uint64_t length, unsigned int prot,
		   unsigned int flags);

/* Gives advice about LENGTH bytes at OFFSET, as madvise(2) does. */
int mshare_advise(int fd, uint64_t offset, uint64_t length, int advice,
		  unsigned int flags);

/* Stores information about the region in ST, which has SIZE bytes. */
int mshare_stat(int fd, struct mshare_stat *st, size_t size,
		unsigned int flags);

/*
 * Returns a file descriptor for the region of the file FD.  All processes of the
 * user in one memory cgroup get the same region.  It holds at least LENGTH bytes
 * of the file, or the whole file if LENGTH is 0; offsets are those in the file.
 * The descriptor allows what FD allows.  ENOSYS: the kernel has level 1 of the
 * ABI, or none of it.
 */
int mshare_open(int fd, uint64_t length, unsigned int flags);

/*
 * Convenience functions
 */

/*
 * Returns the level of the kernel's ABI, 1 or more, and leaves errno as it was.
 * Returns 0 if the calls cannot be used; errno then says how that was found:
 *
 *	ENOSYS		the kernel has no call at that number
 *	EPERM		a filter such as seccomp(2) refuses it
 *	EOPNOTSUPP	the kernel has the calls, but not on this machine
 *	EPROTO		something else answers at that number
 *
 * Creates nothing.  Level 1 does not guarantee that mshare_create() is enabled;
 * see /sys/kernel/mm/mshare/enabled.
 */
int mshare_abi_version(void);

/*
 * A region that is attached.  The next three functions fill it in.  It then
 * belongs to the caller, until mshare_region_close().
 */
struct mshare_region {
	int fd;
	unsigned int flags;	/* MSHARE_ATTACH_*: how it is attached */
	void *addr;		/* where */
	uint64_t size;		/* how much of it can be reached */
};

/*
 * Creates a region of SIZE bytes, a multiple of 4096.  Maps anonymous memory in
 * all of it, for reading and writing, and attaches it at an address that the
 * kernel picks.  NAME and FLAGS are those of mshare_create(), without
 * MSHARE_QUERY_ABI.  Memory is allocated when it is accessed, but all of it
 * counts as committed memory, as with mmap(2) (ENOMEM).
 *
 * Returns 0.  If it fails, with an errno of mshare_create(), ftruncate(2),
 * mshare_map() or mshare_attach(), there is no region and *REGION is unchanged.
 * EINVAL: FLAGS has MSHARE_QUERY_ABI, or SIZE is 0 or not a multiple of 4096.
 * EFBIG: SIZE exceeds 32 TiB.
 */
int mshare_region_create(struct mshare_region *region, const char *name,
			 uint64_t size, unsigned int flags);

/*
 * Attaches the region of FD at an address that the kernel picks, with the
 * FLAGS of mshare_attach().  From then on, FD belongs to *REGION.
 *
 * Returns 0.  If it fails, with an errno of fstat(2) or mshare_attach(), FD
 * stays with the caller and *REGION is unchanged.  *REGION is not updated if
 * the region grows later.  No process may shrink the region and grow it again
 * during the call: SIZE could then exceed what is attached.
 */
int mshare_region_attach(struct mshare_region *region, int fd,
			 unsigned int flags);

/*
 * Opens the region of the file FD with mshare_open() and attaches it, at an address
 * that the kernel picks; for reading only if FD is.  FLAGS: MSHARE_CLOEXEC and the
 * flags of mshare_attach().  FD stays the caller's, who may close it.
 *
 * Returns 0, and REGION->size is LENGTH rounded up to pages, or more.  If it fails,
 * with an errno of mshare_open() or mshare_attach(), *REGION is as it was.
 * ENOSYS: the kernel has level 1 of the ABI, or none of it.
 */
int mshare_region_open(struct mshare_region *region, int fd, uint64_t length,
		       unsigned int flags);

/*
 * Detaches the region and closes its descriptor.  Sets FD to -1, ADDR to NULL
 * and SIZE to 0.  Returns 0.  If it fails, with an errno of mshare_detach(), the
 * region is unchanged.  EINVAL: it is already closed.
 */
int mshare_region_close(struct mshare_region *region);

/*
 * Returns the address of the byte at OFFSET, or NULL with EINVAL if OFFSET is
 * not below SIZE.  Processes should exchange offsets: addresses may differ.
 */
void *mshare_ptr(const struct mshare_region *region, uint64_t offset);

/*
 * Returns the offset of the byte at PTR, or MSHARE_ANY_OFFSET with EINVAL if PTR
 * does not point into the SIZE bytes of the region.
 */
uint64_t mshare_offset(const struct mshare_region *region, const void *ptr);

/*
 * Sends FD, which can refer to a region or anything else, with one byte of data
 * over a connected Unix domain socket.  Returns 0.  If it fails, with an errno
 * of sendmsg(2), nothing was sent; SIGPIPE is never sent.
 * EAFNOSUPPORT: SOCKET is not a Unix domain socket.
 */
int mshare_send_fd(int socket, int fd);

/*
 * Receives a file descriptor sent by mshare_send_fd().  Returns the new file
 * descriptor, with the close-on-exec flag set.  It need not refer to a region.
 * Fails with an errno of recvmsg(2), or
 *
 *	ECONNRESET	the other side is closed and nothing is left to read, or
 *			an empty message without a descriptor arrived
 *	EPROTO		not one byte with one descriptor: the byte, or message,
 *			is consumed, and all its descriptors are closed
 *	EMFILE		no descriptor is free, or a security module refused to
 *			install it: the message is consumed
 */
int mshare_recv_fd(int socket);

/*
 * Opens the region of FD again, for reading only and with the close-on-exec
 * flag set: for processes that should not write.  Returns the new file
 * descriptor.  The owner, and others whom the region's mode permits to write,
 * can reopen it for writing.  Fails with an errno of mshare_stat() or open(2).
 * ENOENT: /proc is not mounted.
 */
int mshare_reopen_rdonly(int fd);

#ifdef __cplusplus
}
#endif

#endif /* MSHARE_H */
