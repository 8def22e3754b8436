/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libmshare - system calls to share page tables between processes
 *
 * Flags, structures and limits are in <linux/mshare.h>, the manual is
 * libmshare(3) and mshare(7).  Offsets and sizes are in bytes.
 *
 * What fails sets errno, and returns -1 unless stated otherwise.  What is not
 * mentioned as changed has not changed.  No function allocates memory, keeps
 * state of its own or starts a thread.  All of them may be called in signal
 * handlers, and by several threads at a time that do not write to the same
 * struct mshare_region.
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
 * Makes a region of size 0 and returns a file descriptor for it; set the size
 * with ftruncate(2).  NAME is what people see in /proc/PID/maps.
 */
int mshare_create(const char *name, unsigned int flags);

/*
 * Places the region in the calling process, at ADDR or, if that is NULL, where
 * the kernel finds room.  Returns the address, or MAP_FAILED.
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

/*
 * Returns a file descriptor for the region of the file FD, which is the same for
 * all processes of the user in the memory cgroup.  At least LENGTH bytes of the
 * file are in it, or all that there are if LENGTH is 0; offsets are those in the
 * file.  What FD is open for, the region is.  From level 2 of the ABI on, ENOSYS
 * before.
 */
int mshare_open(int fd, uint64_t length, unsigned int flags);

/*
 * Conveniences
 */

/*
 * The level of the kernel's ABI, 1 or more, with errno as it was; or 0 where
 * the calls cannot be used, and then errno says how that was found:
 *
 *	ENOSYS		the kernel has no call at that number
 *	EPERM		a filter such as seccomp(2) refuses it
 *	EOPNOTSUPP	the kernel has the calls, but not on this machine
 *	EPROTO		something else answers at that number
 *
 * Creates nothing.  Level 1 does not promise that mshare_create() is enabled,
 * see /sys/kernel/mm/mshare/enabled.
 */
int mshare_abi_version(void);

/*
 * A region that is attached.  What one of the next three functions has filled in
 * belongs to the caller, until mshare_region_close().
 */
struct mshare_region {
	int fd;
	unsigned int flags;	/* MSHARE_ATTACH_*: how it is attached */
	void *addr;		/* where */
	uint64_t size;		/* how much of it can be reached */
};

/*
 * Makes a region of SIZE bytes, a multiple of 4096, maps read-write anonymous
 * memory in all of it and attaches it, at an address that the kernel picks.
 * NAME and FLAGS are those of mshare_create(), without MSHARE_QUERY_ABI.
 * Memory is allocated when it is accessed, but all of it counts as committed
 * memory, as with mmap(2) (ENOMEM).
 *
 * Returns 0.  If it fails, with an errno of mshare_create(), ftruncate(2),
 * mshare_map() or mshare_attach(), there is no region and *REGION is as it was.
 * EINVAL: FLAGS has MSHARE_QUERY_ABI, or SIZE is 0 or no multiple of 4096.
 * EFBIG: SIZE is above 32 TiB.
 */
int mshare_region_create(struct mshare_region *region, const char *name,
			 uint64_t size, unsigned int flags);

/*
 * Attaches the region of FD, at an address that the kernel picks, with the
 * FLAGS of mshare_attach().  From then on FD is part of *REGION.
 *
 * Returns 0.  If it fails, with an errno of fstat(2) or mshare_attach(), FD
 * stays the caller's and *REGION is as it was.  *REGION does not follow a region
 * that grows later.  Nobody may shrink and grow it again during the call: SIZE
 * could then be larger than what is attached.
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
 * Detaches the region and closes its descriptor; leaves FD -1, ADDR NULL and
 * SIZE 0.  Returns 0.  If it fails, with an errno of mshare_detach(), the
 * region stays as it was.  EINVAL: it is closed already.
 */
int mshare_region_close(struct mshare_region *region);

/*
 * The address of what is at OFFSET; NULL with EINVAL if that is not below SIZE.
 * Offsets are what processes can tell each other about: addresses may differ.
 */
void *mshare_ptr(const struct mshare_region *region, uint64_t offset);

/*
 * The offset of what is at PTR; MSHARE_ANY_OFFSET with EINVAL if PTR does not
 * point into the SIZE bytes of the region.
 */
uint64_t mshare_offset(const struct mshare_region *region, const void *ptr);

/*
 * Sends FD, of a region or anything else, with one byte of data over a
 * connected Unix domain socket.  Returns 0.  If it fails, with an errno of
 * sendmsg(2), nothing was sent; there is no SIGPIPE.
 * EAFNOSUPPORT: SOCKET is no Unix domain socket.
 */
int mshare_send_fd(int socket, int fd);

/*
 * Receives what mshare_send_fd() has sent.  Returns the new file descriptor,
 * with the close-on-exec flag set; it need not be one of a region.
 * Fails with an errno of recvmsg(2), or
 *
 *	ECONNRESET	the other side is closed and nothing is left to read, or
 *			an empty message without a descriptor came
 *	EPROTO		not one byte with one descriptor: the byte, or message,
 *			is consumed, and all descriptors of it are closed
 *	EMFILE		no descriptor is free, or a security module refused to
 *			install it: the message is consumed
 */
int mshare_recv_fd(int socket);

/*
 * Opens the region of FD once more, for reading only and with the
 * close-on-exec flag set: for those who are not to write.  Returns the new file
 * descriptor.  The owner, and others whom the region's mode permits to write, can
 * reopen it for writing.  Fails with an errno of mshare_stat() or open(2);
 * ENOENT: /proc is not mounted.
 */
int mshare_reopen_rdonly(int fd);

#ifdef __cplusplus
}
#endif

#endif /* MSHARE_H */
