// SPDX-License-Identifier: LGPL-2.1-or-later
/* mshare run - a program whose shared anonymous memory is in regions */
#include "preload.h"
#include "tools.h"

#include <ctype.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_MIN	"16M"

/* All that is not the program's: as env(1) and timeout(1). */
#define OWN_ERROR	125

static void help(void)
{
	puts("Usage:\n mshare run [OPTIONS] [--] PROGRAM [ARGUMENT...]\n\n"
	     "Run a program whose large shared anonymous memory is in regions.\n\n"
	     "Options:\n"
	     " -m, --min SIZE  smallest area that becomes a region (default " DEFAULT_MIN "); K, M, G, T\n"
	     " -a, --anywhere  serve MAP_32BIT, too: at any address\n"
	     " -F, --files[=GLOB]  serve shared mappings of files, too; of paths that fit GLOB\n"
	     " -f, --filtered  try whether a filter (seccomp) allows regions\n"
	     " -r, --require   fail if it is known that there will be no regions\n"
	     " -q, --quiet     do not say so\n"
	     " -v, --verbose   say what becomes a region, what does not and why, on standard error\n"
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
		errx(OWN_ERROR, "'%s' is no size: use a number of bytes, or one with K, M, G or T", arg);
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
		err(OWN_ERROR, "%s", path);
	return path;
}

static void put(const char *name, const char *value)
{
	if (setenv(name, value, 1))
		err(OWN_ERROR, "setenv");
}

static void put_flag(const char *name, bool set)
{
	if (set)
		put(name, "1");
	else
		unsetenv(name);
}

/* A file of /proc or /sys, its beginning; the empty string if it cannot be read. */
static const char *contents(const char *path)
{
	static char text[64];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n, length = 0;

	while (fd >= 0 && (n = read(fd, text + length, sizeof(text) - 1 - length)) > 0)
		length += n;
	if (fd >= 0)
		close(fd);
	text[length] = '\0';
	return text;
}

/* mshare_abi_version(), and errno, in a child: a filter that kills for it kills that. */
static int ask_in_child(void)
{
	const struct rlimit no_core = { 0 };
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return 0;
	if (!pid) {
		setrlimit(RLIMIT_CORE, &no_core);
		_exit(mshare_abi_version() > 0 ? 0 : errno);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 0;
	errno = WIFEXITED(status) ? WEXITSTATUS(status) : EKEYREJECTED;
	return !errno;
}

/* Why there will be no regions, as far as it is known here, or NULL. */
static const char *why_not(unsigned long filters, bool filtered)
{
	if (filters && !filtered)
		return "there is a filter (seccomp) that may kill for its calls; see --filtered";
	if (filters ? !ask_in_child() : mshare_abi_version() <= 0) {
		switch (errno) {
		case EKEYREJECTED:
			return "a filter (seccomp) kills for its calls";
		case EPERM:
			return "a filter (seccomp) does not allow its calls";
		default:
			return filters ? "this kernel, or a filter (seccomp), has no regions" :
					 "this kernel has no regions";
		}
	}
	if (*contents("/sys/kernel/mm/mshare/enabled") == '0')
		return "regions are disabled: /sys/kernel/mm/mshare/enabled is 0";
	if (*contents("/proc/sys/vm/overcommit_memory") == '2')
		return "/proc/sys/vm/overcommit_memory is 2";
	return NULL;
}

static _Noreturn void usage(void)
{
	fputs("Try 'mshare run --help' for more information.\n", stderr);
	exit(OWN_ERROR);
}

int do_run(int argc, char **argv)
{
	static const struct option options[] = {
		{ "anywhere", no_argument, NULL, 'a' },
		{ "files", optional_argument, NULL, 'F' },
		{ "filtered", no_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' },
		{ "min", required_argument, NULL, 'm' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "require", no_argument, NULL, 'r' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 }
	};
	bool anywhere = false, filtered = false, quiet = false, require = false, verbose = false;
	const char *files = NULL, *min = DEFAULT_MIN, *others, *why;
	unsigned long filters;
	char *library, *words;
	int c;

	while ((c = getopt_long(argc, argv, "+aF::fhm:qrvV", options, NULL)) != -1) {
		switch (c) {
		case 'a':
			anywhere = true;
			break;
		case 'F':
			files = optarg ? optarg : "*";
			if (!*files || strlen(files) > PRELOAD_PATTERN)
				errx(OWN_ERROR, "--files: a pattern has 1 to %d bytes", PRELOAD_PATTERN);
			break;
		case 'f':
			filtered = true;
			break;
		case 'h':
			help();
			return EXIT_SUCCESS;
		case 'm':
			min = optarg;
			break;
		case 'q':
			quiet = true;
			break;
		case 'r':
			require = true;
			break;
		case 'v':
			verbose = true;
			break;
		case 'V':
			show_version();
		default:
			usage();
		}
	}
	if (optind == argc) {
		warnx("which program?");
		usage();
	}

	put(PRELOAD_MIN, text("%llu", parse_size(min)));
	put_flag(PRELOAD_VERBOSE, verbose);
	put_flag(PRELOAD_ANYWHERE, anywhere);
	if (files)
		put(PRELOAD_FILES, files);
	else
		unsetenv(PRELOAD_FILES);
	library = find_library();
	/* These characters separate entries there, and cannot be quoted. */
	if (strpbrk(library, " :"))
		errx(OWN_ERROR, "%s: no library can be preloaded from a path with a space or colon", library);
	others = getenv("LD_PRELOAD");
	put("LD_PRELOAD", others && *others ? text("%s:%s", library, others) : library);

	filters = count_filters();
	why = why_not(filters, filtered);
	unsetenv(PRELOAD_FILTERS);
	if (!why && filters)
		put(PRELOAD_FILTERS, text("%lu", filters));
	words = why ? text("all memory remains ordinary: %s", why) : NULL;
	/* What a filter lets through is known for the calls that all kernels with regions have. */
	if (!why && files && !filters && mshare_abi_version() < MSHARE_ABI_LEVEL) {
		why = "this kernel has no regions of files";
		words = text("files remain ordinary: %s", why);
	}
	if (!why) {
		why = why_not_program(argv[optind]);
		words = why ? text("the memory of %s remains ordinary: it %s", argv[optind], why) : NULL;
	}
	if (why && require)
		errx(OWN_ERROR, "%s", words);
	if (why && !quiet)
		warnx("%s", words);
	/* Once is enough. */
	put_flag(PRELOAD_QUIET, quiet || why);

	execvp(argv[optind], argv + optind);
	err(errno == ENOENT ? 127 : 126, "%s", argv[optind]);
}
