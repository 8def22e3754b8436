/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The settings of mshare run, and the messages of the library. */
#ifndef MSHARE_SETTINGS_H
#define MSHARE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

struct settings {
	size_t min;		/* bytes from which on an area is served; 0: none is */
	bool verbose;
	bool quiet;		/* mshare run has already said why nothing is served, or must not */
	bool anywhere;		/* MAP_32BIT is a hint */
	char files[4096];	/* by these paths files are served, as matches() knows them */
	unsigned long filters;	/* so many filters let our calls pass */
	char program[65];	/* its name when it began; it may be of any length later */
};

extern struct settings settings;

/* A line on standard error, with --verbose. */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);
/* A line on standard error, the first time in this process and those that it forks. */
__attribute__((format(printf, 1, 2))) void say_once(const char *format, ...);
/* The name of an error that the kernel returned. */
const char *error_name(long ret);

/* The decimal number that a text begins with. */
static inline unsigned long number(const char *text)
{
	unsigned long n = 0;

	while (*text >= '0' && *text <= '9')
		n = 10 * n + *text++ - '0';
	return n;
}

/*
 * With the lock: may a system call be made that filters may not know, and kill for?
 * False with the reason.
 */
bool filter_allows(const char **why);
/* The program has installed one. */
void filter_added(void);

/* Does the path match the pattern, in which * and ? also match / ? */
bool matches(const char *path, const char *pattern);

/* The C library: finds its functions, before anything of it is called. */
void find_functions(void);
/* From now on, lookups in the C library find our functions. */
void take_over_libc(void);
/* Sets errno of the caller, whose C library may be another one; see answer(). */
long answer(long ret, const void *caller);

#endif /* MSHARE_SETTINGS_H */
