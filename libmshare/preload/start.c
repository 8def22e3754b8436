// SPDX-License-Identifier: LGPL-2.1-or-later
/* Initialisation: reads the settings that mshare run has put into the environment. */
#define _GNU_SOURCE
#include "../tools/preload.h"
#include "area.h"
#include "kernel.h"
#include "settings.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct settings settings;

/* Others than GNU's library do not have them. */
const char *gnu_get_libc_version(void) __attribute__((weak));
const char *strerrorname_np(int error) __attribute__((weak));

const char *error_name(long ret)
{
	const char *name = strerrorname_np ? strerrorname_np(-ret) : NULL;

	return name ? name : "error";
}

static void write_line(const char *format, va_list args)
{
	int err = errno, n, m;
	char line[256];

	n = snprintf(line, sizeof(line), "mshare run: %s[%d]: ", settings.program, (int)kernel(SYS_getpid));
	m = vsnprintf(line + n, sizeof(line) - n - 1, format, args);
	n += m < (int)sizeof(line) - n - 1 ? m : (int)sizeof(line) - n - 2;
	line[n++] = '\n';
	kernel(SYS_write, STDERR_FILENO, line, n);
	errno = err;
}

void say(const char *format, ...)
{
	va_list args;

	if (!settings.verbose)
		return;
	va_start(args, format);
	write_line(format, args);
	va_end(args);
}

/* What standard error is, or was when the program began. */
static struct stat error_file(void)
{
	struct stat file;

	if (is_error(kernel(SYS_fstat, STDERR_FILENO, &file)))
		memset(&file, 0, sizeof(file));
	return file;
}

static struct stat error_file_then;

/*
 * Not with --verbose, which tells it of each area.  The program may have closed its
 * standard error, and have a file of its own there by now.
 */
void say_once(const char *format, ...)
{
	static atomic_bool said;
	struct stat file;
	va_list args;

	if (settings.verbose || settings.quiet || atomic_exchange(&said, true))
		return;
	file = error_file();
	if (!file.st_ino || file.st_ino != error_file_then.st_ino || file.st_dev != error_file_then.st_dev)
		return;
	va_start(args, format);
	write_line(format, args);
	va_end(args);
}

static const char *value_of(char **env, const char *name)
{
	size_t length = strlen(name);

	for (; *env; env++)
		if (!strncmp(*env, name, length) && (*env)[length] == '=')
			return *env + length + 1;
	return NULL;
}

/*
 * The linker flags have this called before the constructors of all other libraries.  On
 * fork, these therefore take their locks before ours, as they do when they map memory,
 * and may map memory in their fork handlers.  Not even the C library is initialised: it
 * has neither the environment yet nor the name of the program.
 *
 * musl is initialised, and calls this without arguments.  It is not known how its
 * functions work together with ours, so memory remains ordinary.
 */
__attribute__((constructor)) static void start(int argc, char **argv, char **env)
{
	bool gnu = gnu_get_libc_version;
	const char *name, *value;
	int err = errno;

	/* First of all: functions of other libraries called here may begin with dlsym(). */
	if (gnu) {
		find_functions();
		name = argc ? argv[0] : "";
	} else {
		name = program_invocation_short_name;
		env = environ;
	}
	if (strrchr(name, '/'))
		name = strrchr(name, '/') + 1;
	strncpy(settings.program, name, sizeof(settings.program) - 1);
	error_file_then = error_file();
	settings.quiet = value_of(env, PRELOAD_QUIET);
	settings.verbose = value_of(env, PRELOAD_VERBOSE);
	settings.anywhere = value_of(env, PRELOAD_ANYWHERE);
	value = value_of(env, PRELOAD_FILES);
	if (value && strlen(value) < sizeof(settings.files))
		strcpy(settings.files, value);
	value = value_of(env, PRELOAD_FILTERS);
	settings.filters = value ? number(value) : 0;
	value = value_of(env, PRELOAD_MIN);
	if (!gnu) {
		say("all memory remains ordinary: the C library is not GNU's");
	} else if (value && guard_fork()) {
		settings.min = number(value);
		if (settings.min)
			take_over_libc();
	}
	errno = err;
}
