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

/* Of this thread, or of the first one where that is all that may be read. */
static bool count_filters(unsigned long *count)
{
	static const char *const paths[] = { "/proc/thread-self/status", "/proc/self/status" };
	/* The caller has the lock; the stack of a signal handler may be small. */
	static char text[8192];
	const char *line;
	unsigned int i;

	for (i = 0; i < 2; i++)
		if (read_proc(paths[i], text, sizeof(text)) > 0)
			break;
	line = i < 2 ? strstr(text, "\nSeccomp:\t") : NULL;
	if (!line)
		return false;
	*count = line[strlen("\nSeccomp:\t")] != '0';
	line = strstr(line, "\nSeccomp_filters:\t");
	if (*count && line)
		*count = number(line + strlen("\nSeccomp_filters:\t"));
	return true;
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
