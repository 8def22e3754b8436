// SPDX-License-Identifier: LGPL-2.1-or-later
/* mshare ls - the regions of the machine */
#include "table.h"

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME, SIZE, RESIDENT, PGTABLES, ATTACHED, SAVED_MAX, PIDS, PATH,
       PROCESSES, COMMAND, USER, ID, INODE, BASE, OBJECTS, FILES, MAPPED, SWAPPED, FAULTS, STATE };

#define NUMBER	SCOLS_FL_RIGHT, SCOLS_JSON_NUMBER

static const struct column columns[] = {
	[NAME] = { "NAME", "what its creator called it", true, 0, SCOLS_JSON_STRING },
	[SIZE] = { "SIZE", "bytes that can be mapped in", true, NUMBER, SUM_SIZE },
	[RESIDENT] = { "RESIDENT", "bytes that are in memory and in its page tables", true, NUMBER, SUM_SIZE },
	[PGTABLES] = { "PGTABLES", "bytes of its page tables", true, NUMBER, SUM_SIZE },
	[ATTACHED] = { "ATTACHED", "attachments, of all processes", true, NUMBER, SUM },
	[SAVED_MAX] = { "SAVED-MAX", "at most saved: PGTABLES x (ATTACHED - 1)", true, NUMBER, SUM_SIZE },
	[PIDS] = { "PIDS", "processes that have it attached or open", true, SCOLS_FL_TRUNC, SCOLS_JSON_ARRAY_NUMBER },
	[PATH] = { "PATH", "the file whose region it is", true, 0, SCOLS_JSON_STRING },
	[PROCESSES] = { "PROCESSES", "how many have it attached", false, NUMBER },
	[COMMAND] = { "COMMAND", "name of the first of them", false, 0, SCOLS_JSON_STRING },
	[USER] = { "USER", "owner", false, 0, SCOLS_JSON_STRING },
	[ID] = { "ID", "number since boot", false, NUMBER },
	[INODE] = { "INODE", "inode, as in /proc/PID/maps", false, NUMBER },
	[BASE] = { "BASE", "address at which it is normally attached", false, SCOLS_FL_RIGHT, SCOLS_JSON_STRING },
	[OBJECTS] = { "OBJECTS", "mappings in it", false, NUMBER, SUM },
	[FILES] = { "FILES", "the files that are mapped in it", false, 0, SCOLS_JSON_ARRAY_STRING },
	[MAPPED] = { "MAPPED", "bytes of these", false, NUMBER, SUM_SIZE },
	[SWAPPED] = { "SWAPPED", "bytes in swap space", false, NUMBER, SUM_SIZE },
	[FAULTS] = { "FAULTS", "page faults", false, NUMBER, SUM },
	[STATE] = { "STATE", "live, owned (dies with its creator), file or dead", false, 0, SCOLS_JSON_STRING },
};

static int by_pid(const void *a, const void *b)
{
	return *(const pid_t *)a - *(const pid_t *)b;
}

/* Each process once, in order; the first one in *FIRST. */
static char *pids(const struct region *r, const char *between, pid_t *first)
{
	size_t i, n = 0, all = r->nattachments + r->nholders;
	pid_t *list = calloc(all, sizeof(*list));
	char *s, *t;

	if (!list)
		err(EXIT_FAILURE, NULL);
	for (i = 0; i < r->nattachments; i++)
		list[n++] = r->attachments[i].pid;
	for (i = 0; i < r->nholders; i++)
		list[n++] = r->holders[i].pid;
	qsort(list, n, sizeof(*list), by_pid);
	*first = list[0];
	s = text("%d", list[0]);
	for (i = 1; i < n; i++) {
		if (list[i] == list[i - 1])
			continue;
		t = text("%s%s%d", s, between, list[i]);
		free(s);
		s = t;
	}
	free(list);
	return s;
}

static char *user(uid_t uid)
{
	const struct passwd *pw = getpwuid(uid);

	return pw ? text("%s", pw->pw_name) : text("%u", uid);
}

/* The path of each file once, as the kernel writes it; NULL if there is none. */
static char *files(const struct region *r, const char *between)
{
	char *s = NULL, *t;
	size_t i, j;

	for (i = 0; i < r->nobjects; i++) {
		for (j = 0; j < i && strcmp(r->objects[j].source, r->objects[i].source); j++)
			;
		if (j < i || *r->objects[i].source != '/')
			continue;
		t = text("%s%s%s", s ?: "", s ? between : "", r->objects[i].source);
		free(s);
		s = t;
	}
	return s;
}

static void add(struct table *t, const struct region *r)
{
	struct libscols_line *line = table_line(t, NULL);
	pid_t first;

	set_text(t, line, NAME, text("%s", r->name));
	set_text(t, line, PIDS, pids(r, separator(t), &first));
	set_number(t, line, PROCESSES, processes(r));
	set_text(t, line, COMMAND, command_of(first));
	set_number(t, line, INODE, r->inode);
	if (!r->known)
		return;
	set_size(t, line, SIZE, r->st.size);
	set_size(t, line, RESIDENT, r->st.resident);
	set_size(t, line, PGTABLES, r->st.pgtable_bytes);
	set_number(t, line, ATTACHED, r->st.attachments);
	set_size(t, line, SAVED_MAX, saved_max(r));
	set_text(t, line, PATH, path_of(r));
	set_text(t, line, USER, user(r->uid));
	set_number(t, line, ID, r->st.id);
	set_address(t, line, BASE, r->st.base);
	set_number(t, line, OBJECTS, r->st.objects);
	set_text(t, line, FILES, files(r, separator(t)));
	set_size(t, line, MAPPED, r->st.mapped);
	set_size(t, line, SWAPPED, r->st.swapped);
	set_number(t, line, FAULTS, r->st.faults);
	set_text(t, line, STATE, text("%s", r->st.flags & MSHARE_STAT_DEAD ? "dead" :
					    r->st.flags & MSHARE_STAT_OWNED ? "owned" :
					    r->st.flags & MSHARE_STAT_FILE ? "file" : "live"));
}

/* A file for which regions are wanted. */
struct wanted {
	const char *path;
	bool gone;		/* has no path any more */
	bool mount;		/* any file of the file system */
	dev_t device;
	ino_t inode;
};

static struct wanted want(const char *path)
{
	struct wanted w = { .path = path };
	struct stat st, up;
	char *above;

	if (stat(path, &st)) {
		if (errno != ENOENT)
			err(EXIT_FAILURE, "%s", path);
		w.gone = true;
		return w;
	}
	w.device = st.st_dev;
	w.inode = st.st_ino;
	if (!S_ISDIR(st.st_mode))
		return w;
	above = text("%s/..", path);
	if (stat(above, &up))
		err(EXIT_FAILURE, "%s", above);
	free(above);
	w.mount = up.st_dev != st.st_dev || up.st_ino == st.st_ino;
	if (!w.mount)
		errx(EXIT_FAILURE, "%s: neither a file nor the root of a file system", path);
	return w;
}

/* The kernel writes a line feed in a path as \012.  A path may also contain just that. */
static char *decode(const char *path)
{
	char *s = text("%s", path), *to = s;

	for (; *path; path++) {
		if (strncmp(path, "\\012", 4)) {
			*to++ = *path;
			continue;
		}
		*to++ = '\n';
		path += 3;
	}
	*to = '\0';
	return s;
}

static bool same_file(const struct wanted *w, const char *path)
{
	struct stat st;

	return !stat(path, &st) && st.st_dev == w->device && (w->mount || st.st_ino == w->inode);
}

static bool is_file(const struct wanted *w, const char *source)
{
	char *path = decode(source), *deleted;
	bool is;

	if (w->gone) {
		deleted = text("%s (deleted)", w->path);
		is = !strcmp(path, deleted) || !strcmp(source, deleted);
		free(deleted);
	} else {
		is = same_file(w, path) || same_file(w, source);
	}
	free(path);
	return is;
}

static bool has_file(const struct region *r, const struct wanted *w)
{
	size_t i;

	for (i = 0; i < r->nobjects; i++)
		if (*r->objects[i].source == '/' && is_file(w, r->objects[i].source))
			return true;
	return false;
}

/* Leaves out the regions that have none of the files.  Each path has to mean something. */
static void keep_files(struct regions *rs, char **paths, size_t npaths)
{
	bool *keep = calloc(rs->count + 1, sizeof(*keep)), found;
	size_t i, j, n = 0;
	struct wanted w;

	if (!keep)
		err(EXIT_FAILURE, NULL);
	for (j = 0; j < npaths; j++) {
		w = want(paths[j]);
		found = false;
		for (i = 0; i < rs->count; i++)
			if (has_file(&rs->list[i], &w))
				keep[i] = found = true;
		if (w.gone && !found)
			errx(EXIT_FAILURE, "%s: there is no such file, nor a region with one that was called so", w.path);
	}
	for (i = 0; i < rs->count; i++)
		if (keep[i])
			rs->list[n++] = rs->list[i];
	rs->count = n;
	free(keep);
}

/* What is missing is said, so that nobody takes a part for the whole. */
static void tell_hidden(struct table *t, const struct regions *rs)
{
	unsigned long hidden = hidden_regions(rs), unknown = 0;
	const char *why = geteuid() ? "this user may not look at" : "no process has attached or open";
	size_t i;

	for (i = 0; i < rs->count; i++)
		unknown += !rs->list[i].known;
	table_fact(t, "hidden", "%lu", hidden);
	if (hidden)
		warnx("%lu more region%s not listed, which %s", hidden, hidden == 1 ? " is" : "s are", why);
	if (unknown)
		warnx("of %lu listed here only root can see the numbers", unknown);
}

int do_ls(int argc, char **argv)
{
	struct table t = {
		.name = "regions",
		.usage = "Usage:\n mshare ls [OPTIONS] [FILE...]\n\n"
			 "List the regions that processes have open or attached, or of these the ones\n"
			 "that contain a FILE, or any file of the file system that is mounted there.\n",
		.page = "mshare-ls(1)",
		.columns = columns,
		.ncolumns = sizeof(columns) / sizeof(columns[0]),
		.operands = true,
		.list = true,
		.sort = -1,
	};
	struct regions rs = { 0 };
	size_t i;

	table_options(&t, argc, argv);
	if (optind < argc)
		table_also(&t, FILES);
	table_open(&t);
	need_kernel();
	scan_all(&rs);
	tell_hidden(&t, &rs);
	if (optind < argc)
		keep_files(&rs, argv + optind, argc - optind);
	for (i = 0; i < rs.count; i++)
		add(&t, &rs.list[i]);
	return table_close(&t);
}
