// SPDX-License-Identifier: LGPL-2.1-or-later
/* mshare - inspects regions, and runs programs with their shared memory in regions */
#include "tools.h"

#include <err.h>
#include <errno.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *what;
} commands[] = {
	{ "ls", do_ls, "list the regions of the machine" },
	{ "show", do_show, "show what is in a region and who uses it" },
	{ "run", do_run, "run a program, with its shared memory in regions" },
	{ "candidates", do_candidates, "list the shared mappings whose page tables would be saved" },
	{ "check", do_check, "say whether regions can be used here, and why not" },
};

#define COMMANDS	(sizeof(commands) / sizeof(commands[0]))

void *more(void *array, size_t count, size_t size)
{
	/* Grown at each power of two. */
	if (!(count & (count - 1))) {
		array = reallocarray(array, count ? 2 * count : 1, size);
		if (!array)
			err(EXIT_FAILURE, NULL);
	}
	return array;
}

char *text(const char *format, ...)
{
	va_list args;
	char *s;

	va_start(args, format);
	if (vasprintf(&s, format, args) < 0)
		err(EXIT_FAILURE, NULL);
	va_end(args);
	return s;
}

void need_kernel(void)
{
	if (mshare_abi_version() > 0)
		return;
	if (errno == EPERM)
		errx(EXIT_FAILURE, "a filter (seccomp) does not let this program use mshare");
	errx(EXIT_FAILURE, "this kernel has no mshare");
}

void show_version(void)
{
	printf("mshare from libmshare %s\n", VERSION);
	exit(EXIT_SUCCESS);
}

void try_help(const char *command)
{
	fprintf(stderr, "Try 'mshare%s%s --help' for more information.\n", *command ? " " : "", command);
	exit(EXIT_FAILURE);
}

static void help(void)
{
	size_t i;

	puts("Usage:\n mshare COMMAND [OPTIONS]\n\nRegions of memory that share page tables.\n\nCommands:");
	for (i = 0; i < COMMANDS; i++)
		printf(" %-12s%s\n", commands[i].name, commands[i].what);
	puts("\nOptions:\n -h, --help     display this help\n -V, --version  display version\n\n"
	     "For more details see mshare(1).");
}

/* A failed write is an error, as in all programs whose output is used. */
static void close_output(void)
{
	if (ferror(stdout) | fclose(stdout)) {
		warn("cannot write");
		_exit(EXIT_FAILURE);
	}
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";
	size_t i;

	setlocale(LC_ALL, "");
	if (atexit(close_output))
		errx(EXIT_FAILURE, "atexit");
	for (i = 0; i < COMMANDS; i++)
		if (!strcmp(name, commands[i].name)) {
			/* getopt_long() and err() then name both words. */
			argv[1] = program_invocation_name = text("mshare %s", name);
			program_invocation_short_name = program_invocation_name;
			return commands[i].run(argc - 1, argv + 1);
		}
	if (!strcmp(name, "-h") || !strcmp(name, "--help")) {
		help();
		return EXIT_SUCCESS;
	}
	if (!strcmp(name, "-V") || !strcmp(name, "--version"))
		show_version();
	if (!*name)
		warnx("no command");
	else
		warnx("%s: there is no such %s", name, *name == '-' ? "option" : "command");
	try_help("");
}
