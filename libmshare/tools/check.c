// SPDX-License-Identifier: LGPL-2.1-or-later
/* mshare check - can regions be used here, and does mshare run work? */
#include "table.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define SYSFS	"/sys/kernel/mm/mshare/"
#define AREA	(16UL << 20)
#define SLOT	(512ULL << 30)
#define SELF	"/proc/self/exe"
/* An argument that mshare check gives to itself. */
#define TRIAL	"--trial"

enum { CHECK, RESULT, DETAILS };

static const struct column columns[] = {
	[CHECK] = { "CHECK", "what was looked at", true, 0, SCOLS_JSON_STRING },
	[RESULT] = { "RESULT", "ok; no, so that regions cannot be used; unknown; or note", true, 0, SCOLS_JSON_STRING },
	[DETAILS] = { "DETAILS", "what was found", true, 0, SCOLS_JSON_STRING },
};

struct check {
	struct table t;
	bool works;		/* as far as was looked */
};

/* One line; DETAILS is freed. */
static void tell(struct check *c, const char *what, const char *result, char *details)
{
	struct libscols_line *line = table_line(&c->t, NULL);

	if (!strcmp(result, "no") || !strcmp(result, "unknown"))
		c->works = false;
	set_text(&c->t, line, CHECK, text("%s", what));
	set_text(&c->t, line, RESULT, text("%s", result));
	set_text(&c->t, line, DETAILS, details);
}

/* The first line of a small file; NULL if there is none. */
static char *first_line(const char *path)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;

	if (f && getline(&line, &size, f) <= 0) {
		free(line);
		line = NULL;
	}
	if (f)
		fclose(f);
	if (line)
		line[strcspn(line, "\n")] = '\0';
	return line;
}

static bool check_kernel(struct check *c, bool filter)
{
	struct utsname u;
	int level;

	if (uname(&u))
		err(EXIT_FAILURE, "uname");
	if (filter) {
		if (access(SYSFS, F_OK))
			tell(c, "kernel", "unknown", text("Linux %s does not show %s", u.release, SYSFS));
		else
			tell(c, "kernel", "ok", text("Linux %s has regions", u.release));
		return !access(SYSFS, F_OK);
	}
	level = mshare_abi_version();
	if (level)
		tell(c, "kernel", "ok", text("Linux %s has regions: level %d of the interface", u.release, level));
	else if (errno == EOPNOTSUPP)
		tell(c, "kernel", "no", text("Linux %s has regions, but not on this machine (Xen PV)", u.release));
	else
		tell(c, "kernel", "no", text("Linux %s has no regions: boot a kernel with CONFIG_MSHARE", u.release));
	return level;
}

static void check_enabled(struct check *c)
{
	char *value = first_line(SYSFS "enabled");

	if (!value)
		tell(c, "enabled", "unknown", text("cannot read " SYSFS "enabled"));
	else if (!strcmp(value, "0"))
		tell(c, "enabled", "no", text("0 in " SYSFS "enabled: root can write 1"));
	else
		tell(c, "enabled", "ok", text("%s in " SYSFS "enabled", value));
	free(value);
}

static void check_filter(struct check *c, bool filter)
{
	if (filter)
		tell(c, "filter", "unknown", text("seccomp is on: it may refuse the calls %d to %d, or kill for them",
						  __NR_mshare_create, __NR_mshare_open));
	else
		tell(c, "filter", "ok", text("no seccomp filter"));
}

static void check_regions(struct check *c)
{
	char *most = first_line(SYSFS "max_regions_per_user"), *all = first_line(SYSFS "regions");
	unsigned long limit = most ? strtoul(most, NULL, 10) : 0, mine = 0;
	struct regions rs = { 0 };
	uid_t uid = geteuid();
	size_t i;

	scan_all(&rs);
	for (i = 0; i < rs.count; i++)
		mine += rs.list[i].known && rs.list[i].uid == uid;
	if (!most || !all)
		tell(c, "regions", "unknown", text("cannot read " SYSFS "max_regions_per_user"));
	else if (!limit)
		tell(c, "regions", "ok", text("no limit; this user has %lu, all users %s", mine, all));
	else
		tell(c, "regions", mine < limit ? "ok" : "no",
		     text("limit %lu for each user; this one has %lu, all users %s", limit, mine, all));
	free(most);
	free(all);
}

static void check_address_space(struct check *c)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char *line = NULL;
	struct rlimit lim;
	size_t size = 0;
	int levels = 4;

	while (f && getline(&line, &size, f) > 0 && strncmp(line, "flags", 5))
		;
	if (line && strstr(line, " la57"))
		levels = 5;
	free(line);
	if (f)
		fclose(f);
	if (getrlimit(RLIMIT_AS, &lim))
		err(EXIT_FAILURE, "getrlimit");
	if (lim.rlim_cur == RLIM_INFINITY)
		tell(c, "address space", "ok", text("no limit; 256 slots of 512 GiB; %d levels of page tables", levels));
	else
		tell(c, "address space", lim.rlim_cur < SLOT ? "no" : "ok",
		     text("limit %" PRIu64 " MiB (ulimit -v); a region takes 512 GiB of addresses at least",
			  (uint64_t)lim.rlim_cur >> 20));
}

/*
 * Runs a program and collects its output, at most SIZE - 1 bytes of it.  The status
 * as the shell has it; 127 if it could not be run.
 */
static int collect(const char * const *argv, char *out, size_t size, bool errors)
{
	posix_spawn_file_actions_t files;
	int pipes[2], status = 127 << 8;
	size_t n = 0;
	ssize_t got;
	pid_t pid;
	int ret;

	if (pipe(pipes) || posix_spawn_file_actions_init(&files) ||
	    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0) ||
	    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0) ||
	    posix_spawn_file_actions_adddup2(&files, pipes[1], STDOUT_FILENO) ||
	    (errors && posix_spawn_file_actions_adddup2(&files, pipes[1], STDERR_FILENO)) ||
	    posix_spawn_file_actions_addclose(&files, pipes[0]) ||
	    posix_spawn_file_actions_addclose(&files, pipes[1]))
		err(EXIT_FAILURE, "%s", argv[0]);
	ret = posix_spawnp(&pid, argv[0], &files, NULL, (char * const *)argv, environ);
	close(pipes[1]);
	while (!ret && n < size - 1 && (got = read(pipes[0], out + n, size - 1 - n)) > 0)
		n += got;
	out[n] = '\0';
	close(pipes[0]);
	if (!ret && waitpid(pid, &status, 0) != pid)
		err(EXIT_FAILURE, "wait");
	posix_spawn_file_actions_destroy(&files);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* In the process that mshare run has started: what became of shared memory? */
static int trial(void)
{
	char *area = mmap(NULL, AREA, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	FILE *f = fopen("/proc/self/maps", "re");
	char *line = NULL, *name;
	bool region = false;
	size_t size = 0;
	void *start;

	if (area == MAP_FAILED || !f)
		return EXIT_FAILURE;
	*area = 1;
	while (getline(&line, &size, f) > 0) {
		name = strchr(line, '/');
		if (name && strstr(name, "/mshare-run.so") && !strstr(line, "(deleted)")) {
			printf("library %s", name);
			/* It has several parts. */
			while (getline(&line, &size, f) > 0 && strstr(line, "/mshare-run.so"))
				;
			name = strchr(line, '/');
		}
		if (sscanf(line, "%p-", &start) == 1 && start == area && name)
			region = !strncmp(name, "/mshare:", 8);
	}
	free(line);
	fclose(f);
	puts(region ? "region" : "ordinary");
	return EXIT_SUCCESS;
}

/* The part of a text from WORD to the end of the line, or NULL. */
static char *after(char *out, const char *word)
{
	char *s = strstr(out, word);

	return s ? text("%.*s", (int)strcspn(s + strlen(word), "\n"), s + strlen(word)) : NULL;
}

/* The only way to know is to do it. */
static void check_run(struct check *c)
{
	static const char * const argv[] = { SELF, "run", "-v", SELF, "check", TRIAL, NULL };
	char *library, out[4096];
	int status = collect(argv, out, sizeof(out), true);

	library = after(out, "library ");
	if (library)
		tell(c, "library", "ok", library);
	else
		tell(c, "library", "no", text("%.*s", (int)strcspn(out, "\n"), status ? out : "it was not loaded"));
	if (!status && strstr(out, "\nregion\n"))
		tell(c, "mshare run", "ok", text("16 MiB of shared memory became a region"));
	else if (!status)
		tell(c, "mshare run", "no", after(out, "]: ") ?: text("16 MiB of shared memory remained ordinary"));
	else
		tell(c, "mshare run", "no", text("a program that was started by it failed (%d)", status));
}

static void check_manual(struct check *c)
{
	static const char * const argv[] = { "man", "-w", "7", "mshare", NULL };
	char out[4096];
	int status = collect(argv, out, sizeof(out), false);

	if (!status && *out)
		tell(c, "manual", "ok", text("%.*s", (int)strcspn(out, "\n"), out));
	else if (status == 127)
		tell(c, "manual", "note", text("man(1) is not installed"));
	else
		tell(c, "manual", "note", text("man(1) does not find mshare(7)"));
}

int do_check(int argc, char **argv)
{
	struct check c = {
		.t = {
			.name = "checks",
			.usage = "Usage:\n mshare check [OPTIONS]\n\n"
				 "Say whether processes that are started as this one can use regions, whether\n"
				 "mshare run works for them, and if not, why.\n",
			.page = "mshare-check(1)",
			.columns = columns,
			.ncolumns = sizeof(columns) / sizeof(columns[0]),
			.sort = -1,
		},
		.works = true,
	};
	bool filter, kernel;

	if (argc == 2 && !strcmp(argv[1], TRIAL))
		return trial();
	table_options(&c.t, argc, argv);
	table_open(&c.t);
	filter = count_filters() > 0;
	kernel = check_kernel(&c, filter);
	check_filter(&c, filter);
	if (kernel) {
		check_enabled(&c);
		check_regions(&c);
	}
	check_address_space(&c);
	/* Where it would be killed, nothing is tried. */
	if (kernel && !filter)
		check_run(&c);
	check_manual(&c);
	table_fact(&c.t, "works", "%s", c.works ? "true" : "false");
	table_close(&c.t);
	if (!c.t.json && !c.t.raw)
		puts(c.works ? "\nRegions can be used here, and mshare run works." :
			       "\nRegions cannot be used here, or that is not known: see what is not ok above.");
	return c.works ? EXIT_SUCCESS : 2;
}
