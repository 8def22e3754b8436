/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Direct system calls: they return a negative errno, do not set errno, and are no
 * cancellation points.  The functions of the C library for the same calls may be
 * replaced by ours.
 */
#ifndef MSHARE_KERNEL_H
#define MSHARE_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>

static inline long kernel_call(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile ("syscall" : "=a" (ret)
			  : "a" (nr), "D" (a), "S" (b), "d" (c), "r" (r10), "r" (r8), "r" (r9)
			  : "rcx", "r11", "memory");
	return ret;
}

/* kernel(SYS_name, argument ..): pointers and integers of any kind. */
#define kernel(...)	KERNEL_CALL(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)
#define KERNEL_CALL(nr, a, b, c, d, e, f, ...) \
	kernel_call(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

static inline bool is_error(long ret)
{
	return (unsigned long)ret >= -4095UL;
}

/* The beginning of a file of /proc, as a string: its length or the error. */
long read_proc(const char *path, char *text, size_t size);

#endif /* MSHARE_KERNEL_H */
