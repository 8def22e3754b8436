/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every source file of the library includes this header first. */
#ifndef LIBMSHARE_LIB_H
#define LIBMSHARE_LIB_H

#define _GNU_SOURCE

#if !defined(__x86_64__) || defined(__ILP32__)
#error "mshare has system call numbers for 64-bit programs on x86-64 only"
#endif

/* What the header declares is exported, all else is hidden. */
#pragma GCC visibility push(default)
#include <mshare.h>
#pragma GCC visibility pop

#include <errno.h>
#include <unistd.h>

/* Leaves errno for the caller of the function that has failed. */
static inline void close_quietly(int fd)
{
	int err = errno;

	close(fd);
	errno = err;
}

#endif /* LIBMSHARE_LIB_H */
