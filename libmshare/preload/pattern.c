// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Patterns of paths.  The C library's function for them may allocate, and goes by
 * the program's language.
 */
#include "settings.h"

#include <string.h>

/* Is C in the set after [ ?  END is what follows the set, or NULL if it does not end. */
static bool in_set(unsigned char c, const char *set, const char **end)
{
	bool not = *set == '!' || *set == '^', in = false;
	const char *first = set + not, *s = first;
	unsigned char from, to;

	while (*s && (*s != ']' || s == first)) {
		from = to = *s++;
		if (*s == '-' && s[1] && s[1] != ']') {
			to = s[1];
			s += 2;
		}
		in |= c >= from && c <= to;
	}
	*end = *s ? s + 1 : NULL;
	return in != not;
}

/* Does the first byte of PATH fit what the pattern begins with?  REST is what follows. */
static bool fits(const char *path, const char *pattern, const char **rest)
{
	bool fit;

	*rest = pattern + 1;
	switch (*pattern) {
	case '?':
		return *path;
	case '[':
		fit = in_set(*path, pattern + 1, rest);
		if (*rest)
			return *path && fit;
		/* A bracket, then. */
		*rest = pattern + 1;
		break;
	case '\\':
		if (pattern[1]) {
			*rest = pattern + 2;
			return *path == pattern[1];
		}
	}
	return *path && *path == *pattern;
}

bool matches(const char *path, const char *pattern)
{
	const char *star = NULL, *from = NULL, *rest;

	while (*path || *pattern) {
		if (*pattern == '*') {
			star = ++pattern;
			from = path;
		} else if (*pattern && fits(path, pattern, &rest)) {
			pattern = rest;
			path++;
		} else if (star && *from) {
			/* The last star takes one more; the others have what they need. */
			pattern = star;
			path = ++from;
		} else {
			return false;
		}
	}
	return true;
}
