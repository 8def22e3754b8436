/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The functions of the C library that are replaced. */
#ifndef MSHARE_CALLS_H
#define MSHARE_CALLS_H

#include <stdint.h>

struct replacement {
	const char *name;
	void (*function)(void);
};

/* The end has no name. */
extern const struct replacement replacements[];

/* Called from those that are written in assembler. */
long syscall_looked_at(long nr, long a, long b, long c, long d, long e, long f);
long syscall_failed(long ret);
uintptr_t before_dlsym(void);

#endif /* MSHARE_CALLS_H */
