// SPDX-License-Identifier: LGPL-2.1-or-later
/* Filters of system calls (seccomp) that this process has */
#include "tools.h"

#include <stdio.h>
#include <stdlib.h>

/*
 * Asked of /proc, since any call may be the one that a filter kills for.  A kernel that
 * has no filters does not tell of them, and one before Linux 5.9 not of their number.
 */
unsigned long count_filters(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	unsigned long mode = 0, count = 1;
	char *line = NULL;
	size_t size = 0;

	if (!f)
		return 1;
	/* The line of the groups may be long. */
	while (getline(&line, &size, f) > 0) {
		sscanf(line, "Seccomp: %lu", &mode);
		sscanf(line, "Seccomp_filters: %lu", &count);
	}
	free(line);
	fclose(f);
	return mode ? count : 0;
}
