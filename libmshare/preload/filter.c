// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Filters of system calls (seccomp).  Many kill a program for a call that they do not
 * know, and nothing tells what a filter does but the call itself.  So our calls are
 * made where there is no filter, or as many as the user of mshare run answers for:
 * a process inherits those of its parent and may add some, but gets rid of none.
 */
#include "kernel.h"
#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>

/* By this program, as far as it is seen: these may forbid to look. */
static atomic_ulong added;

void filter_added(void)
{
	atomic_fetch_add(&added, 1);
}

long read_proc(const char *path, char *text, size_t size)
{
	size_t length = 0;
	long fd, n;

	fd = kernel(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	if (is_error(fd))
		return fd;
	do {
		n = kernel(SYS_read, fd, text + length, size - 1 - length);
		if (n > 0)
			length += n;
	} while (n > 0 || n == -EINTR);
	kernel(SYS_close, fd);
	text[length] = '\0';
	return n < 0 ? n : (long)length;
}

static bool read_filters(const char *path, unsigned long *count)
{
	static const char mode_line[] = "\nSeccomp:\t", count_line[] = "\nSeccomp_filters:\t";
	/* The caller has the lock; the stack of a signal handler may be small. */
	static char text[4096];
	const size_t longest = sizeof(count_line) + 10;
	unsigned long mode = 0, filters = 1;
	const char *line;
	size_t kept = 0;
	long fd, n;

	fd = kernel(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	if (is_error(fd))
		return false;
	/* As a whole: the line of the groups may be long. */
	while ((n = kernel(SYS_read, fd, text + kept, sizeof(text) - 1 - kept)) > 0 || n == -EINTR) {
		if (n < 0)
			continue;
		kept += n;
		text[kept] = '\0';
		line = strstr(text, mode_line);
		if (line)
			mode = number(line + sizeof(mode_line) - 1);
		line = strstr(text, count_line);
		if (line)
			filters = number(line + sizeof(count_line) - 1);
		/* The last line may not be there as a whole. */
		if (kept > longest) {
			memmove(text, text + kept - longest, longest);
			kept = longest;
		}
	}
	kernel(SYS_close, fd);
	/* A kernel that has no filters does not tell of them, an older one not of their number. */
	*count = mode ? filters : 0;
	return !n;
}

/* Of this thread, or of the first one where that is all that may be read. */
static bool count_filters(unsigned long *count)
{
	return read_filters("/proc/thread-self/status", count) || read_filters("/proc/self/status", count);
}

bool filter_allows(const char **why)
{
	unsigned long count = atomic_load(&added);

	*why = "the program has a filter (seccomp) that may kill it; see --filtered";
	if (count > settings.filters)
		return false;
	if (!count_filters(&count)) {
		*why = "/proc/self/status does not tell whether there is a filter (seccomp)";
		return false;
	}
	return count <= settings.filters;
}
