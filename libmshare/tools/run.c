// SPDX-License-Identifier: LGPL-2.1-or-later
/* mshare run - a program whose shared anonymous memory is in regions */
#include "preload.h"
#include "tools.h"

#include <ctype.h>
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_MIN	"16M"

static void help(void)
{
	puts("Usage:\n mshare run [OPTIONS] [--] PROGRAM [ARGUMENT...]\n\n"
	     "Run a program whose large shared anonymous memory is in regions.\n\n"
	     "Options:\n"
	     " -m, --min SIZE  smallest area that becomes a region (default " DEFAULT_MIN "); K, M, G, T\n"
	     " -v, --verbose   say which areas become regions, on standard error\n"
	     " -h, --help      display this help\n"
	     " -V, --version   display version\n\n"
	     "For more details see mshare-run(1).");
}

/* SIZE in bytes, or with a suffix as util-linux has them; the end if it is none. */
static unsigned long long parse_size(const char *arg)
{
	static const char units[] = "KMGT";
	unsigned long long size;
	const char *unit;
	char *end;
	int shift = 0;

	errno = 0;
	size = strtoull(arg, &end, 10);
	unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
	if (unit) {
		shift = 10 * (unit - units + 1);
		end++;
		if (!strcmp(end, "iB"))
			end += 2;
	}
	if (!isdigit((unsigned char)*arg) || errno || *end || size > ~0ULL >> shift || !size)
		errx(EXIT_FAILURE, "'%s' is no size: use a number of bytes, or one with K, M, G or T", arg);
	return size << shift;
}

/* Beside the program, as in the folder where it is built, or where it is installed. */
static char *find_library(void)
{
	char self[4096];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash, *path;

	if (length > 0) {
		self[length] = '\0';
		slash = strrchr(self, '/');
		path = text("%.*s/" PRELOAD_FILE, (int)(slash - self), self);
		if (!access(path, R_OK))
			return path;
		free(path);
	}
	path = text("%s/mshare/" PRELOAD_FILE, LIBDIR);
	if (access(path, R_OK))
		err(EXIT_FAILURE, "%s", path);
	return path;
}

static void put(const char *name, const char *value)
{
	if (setenv(name, value, 1))
		err(EXIT_FAILURE, "setenv");
}

int do_run(int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "min", required_argument, NULL, 'm' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 }
	};
	const char *min = DEFAULT_MIN, *others;
	bool verbose = false;
	char *library;
	int c;

	while ((c = getopt_long(argc, argv, "+hm:vV", options, NULL)) != -1) {
		switch (c) {
		case 'h':
			help();
			return EXIT_SUCCESS;
		case 'm':
			min = optarg;
			break;
		case 'v':
			verbose = true;
			break;
		case 'V':
			show_version();
		default:
			try_help("run");
		}
	}
	if (optind == argc) {
		warnx("which program?");
		try_help("run");
	}

	put(PRELOAD_MIN, text("%llu", parse_size(min)));
	if (verbose)
		put(PRELOAD_VERBOSE, "1");
	else
		unsetenv(PRELOAD_VERBOSE);
	library = find_library();
	/* These characters separate entries there, and cannot be quoted. */
	if (strpbrk(library, " :"))
		errx(EXIT_FAILURE, "%s: no library can be preloaded from a path with a space or colon", library);
	others = getenv("LD_PRELOAD");
	put("LD_PRELOAD", others && *others ? text("%s:%s", library, others) : library);

	execvp(argv[optind], argv + optind);
	err(errno == ENOENT ? 127 : 126, "%s", argv[optind]);
}
