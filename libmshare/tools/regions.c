// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Finds the regions of the machine, as far as /proc shows them.  A region is
 * identified by its inode number, which its descriptors and attachments share.
 */
#include "tools.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX	"/mshare:"
#define SLOT	(512ULL << 30)

static struct region *find(const struct regions *rs, uint64_t inode)
{
	size_t i;

	for (i = 0; i < rs->count; i++)
		if (rs->list[i].inode == inode)
			return &rs->list[i];
	return NULL;
}

static struct region *get(struct regions *rs, uint64_t inode, const char *name)
{
	struct region *r = find(rs, inode);

	if (r)
		return r;
	rs->list = more(rs->list, rs->count, sizeof(*rs->list));
	r = &rs->list[rs->count++];
	*r = (struct region){ .inode = inode, .name = text("%s", name) };
	return r;
}

/* Takes one line of fdinfo. */
static void take_line(struct region *r, const char *line)
{
	const struct { const char *key; size_t offset; } fields[] = {
		{ "id", offsetof(struct mshare_stat, id) },
		{ "size", offsetof(struct mshare_stat, size) },
		{ "align", offsetof(struct mshare_stat, align) },
		{ "base", offsetof(struct mshare_stat, base) },
		{ "attachments", offsetof(struct mshare_stat, attachments) },
		{ "objects", offsetof(struct mshare_stat, objects) },
		{ "mapped", offsetof(struct mshare_stat, mapped) },
		{ "resident", offsetof(struct mshare_stat, resident) },
		{ "swapped", offsetof(struct mshare_stat, swapped) },
		{ "pgtable_bytes", offsetof(struct mshare_stat, pgtable_bytes) },
		{ "faults", offsetof(struct mshare_stat, faults) },
		{ "flags", offsetof(struct mshare_stat, flags) },
		{ "tables_dropped", offsetof(struct mshare_stat, tables_dropped) },
		{ "tables_reclaimed", offsetof(struct mshare_stat, tables_reclaimed) },
	};
	const char *colon = strchr(line, ':');
	struct object o = { 0 };
	int source = 0;
	size_t i, length;

	if (strncmp(line, "mshare-", 7) || !colon)
		return;
	line += 7;
	length = colon - line;
	for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (strlen(fields[i].key) == length && !strncmp(line, fields[i].key, length))
			*(__u64 *)((char *)&r->st + fields[i].offset) = strtoull(colon + 1, NULL, 0);
	r->known |= !strncmp(line, "id:", 3);
	if (sscanf(line, "object: %" SCNx64 "-%" SCNx64 " %4s %n", &o.start, &o.end, o.perms, &source) < 3)
		return;
	o.source = text("%.*s", (int)strcspn(line + source, "\n"), line + source);
	r->objects = more(r->objects, r->nobjects, sizeof(o));
	r->objects[r->nobjects++] = o;
}

static void free_objects(struct region *r)
{
	while (r->nobjects)
		free(r->objects[--r->nobjects].source);
	free(r->objects);
	r->objects = NULL;
}

/*
 * Takes a file of fdinfo if its descriptor is one of a region, with PERMS set to
 * how it is open.  The name alone proves nothing: a file may be called so.  It is
 * read once, since it is empty when the process has gone.
 */
static bool take_fdinfo(struct region *r, const char *path, char *perms)
{
	static const char modes[4][3] = { "r-", "-w", "rw", "--" };
	unsigned int flags = 0;
	char *line = NULL;
	size_t size = 0;
	FILE *f = fopen(path, "re");

	if (!f)
		return false;
	while (getline(&line, &size, f) > 0) {
		sscanf(line, "flags: %o", &flags);
		take_line(r, line);
	}
	free(line);
	fclose(f);
	strcpy(perms, modes[flags & O_ACCMODE]);
	return r->known;
}

/* Takes what is at PATH, a link to an open file, with INFO about it. */
static struct region *take_file(struct regions *rs, const char *path, const char *info, char *perms)
{
	char name[4096];
	ssize_t length = readlink(path, name, sizeof(name) - 1);
	struct region *r, seen = { 0 };
	struct stat st;

	if (length < (ssize_t)strlen(PREFIX) || strncmp(name, PREFIX, strlen(PREFIX)))
		return NULL;
	name[length] = '\0';
	if (!take_fdinfo(&seen, info, perms) || stat(path, &st)) {
		free_objects(&seen);
		return NULL;
	}
	r = get(rs, st.st_ino, name + strlen(PREFIX));
	if (r->known) {
		free_objects(&seen);
		return r;
	}
	r->known = true;
	r->st = seen.st;
	r->objects = seen.objects;
	r->nobjects = seen.nobjects;
	r->uid = st.st_uid;
	return r;
}

static void scan_descriptors(struct regions *rs, pid_t pid)
{
	char *path = text("/proc/%d/fd", pid), *info;
	struct dirent *entry;
	struct region *r;
	struct holder h;
	DIR *dir = opendir(path);

	free(path);
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		path = text("/proc/%d/fd/%s", pid, entry->d_name);
		info = text("/proc/%d/fdinfo/%s", pid, entry->d_name);
		h = (struct holder){ .pid = pid, .fd = atoi(entry->d_name) };
		r = take_file(rs, path, info, h.perms);
		if (r) {
			r->holders = more(r->holders, r->nholders, sizeof(h));
			r->holders[r->nholders++] = h;
		}
		free(path);
		free(info);
	}
	if (dir)
		closedir(dir);
}

/* For a region that nobody has open: opens it, which root may do. */
static void open_attached(struct regions *rs, struct region *r, const struct attachment *a)
{
	char *path = text("/proc/%d/map_files/%" PRIx64 "-%" PRIx64, a->pid, a->start, a->end);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *link, *info, perms[3];
	uint64_t inode = r->inode;
	struct stat st;

	free(path);
	if (fd < 0)
		return;
	/* The process may have put something else there meanwhile. */
	if (!fstat(fd, &st) && st.st_ino == inode) {
		link = text("/proc/self/fd/%d", fd);
		info = text("/proc/self/fdinfo/%d", fd);
		take_file(rs, link, info, perms);
		free(link);
		free(info);
	}
	close(fd);
}

static bool scan_attachments(struct regions *rs, pid_t pid)
{
	char *path = text("/proc/%d/maps", pid), *line = NULL, *name;
	FILE *f = fopen(path, "re");
	unsigned int major;
	struct region *r;
	size_t size = 0;
	uint64_t inode;
	int at;

	free(path);
	if (!f)
		return false;
	while (getline(&line, &size, f) > 0) {
		struct attachment a = { .pid = pid };

		at = 0;
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*x %x:%*x %" SCNu64 " %n", &a.start, &a.end, a.perms,
			   &major, &inode, &at) < 5 || !at)
			continue;
		name = line + at;
		/* Only whole slots, and no file of a disk, are an attachment. */
		if (strncmp(name, PREFIX, strlen(PREFIX)) || major || a.start % SLOT || a.end % SLOT)
			continue;
		name[strcspn(name, "\n")] = '\0';
		r = get(rs, inode, name + strlen(PREFIX));
		r->attachments = more(r->attachments, r->nattachments, sizeof(a));
		r->attachments[r->nattachments++] = a;
	}
	free(line);
	fclose(f);
	return true;
}

static int by_number(const void *a, const void *b)
{
	const struct region *p = a, *q = b;

	if (p->known && q->known)
		return p->st.id < q->st.id ? -1 : p->st.id > q->st.id;
	if (p->known != q->known)
		return p->known ? -1 : 1;
	return p->inode < q->inode ? -1 : p->inode > q->inode;
}

static void complete(struct regions *rs)
{
	size_t i, j;

	for (i = 0; i < rs->count; i++)
		for (j = 0; !rs->list[i].known && j < rs->list[i].nattachments; j++)
			open_attached(rs, &rs->list[i], &rs->list[i].attachments[j]);
	if (rs->count)
		qsort(rs->list, rs->count, sizeof(*rs->list), by_number);
}

void scan_all(struct regions *rs)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	pid_t pid;

	if (!dir)
		err(EXIT_FAILURE, "/proc");
	while ((entry = readdir(dir))) {
		pid = atoi(entry->d_name);
		if (pid <= 0)
			continue;
		scan_descriptors(rs, pid);
		scan_attachments(rs, pid);
	}
	closedir(dir);
	complete(rs);
}

void scan_process(struct regions *rs, pid_t pid)
{
	if (!scan_attachments(rs, pid)) {
		if (errno == ENOENT || errno == ESRCH)
			errx(EXIT_FAILURE, "there is no process %d", pid);
		err(EXIT_FAILURE, "cannot look at process %d", pid);
	}
	scan_descriptors(rs, pid);
	complete(rs);
}

void scan_path(struct regions *rs, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char *link, *info, perms[3];

	if (fd < 0)
		err(EXIT_FAILURE, "%s", path);
	link = text("/proc/self/fd/%d", fd);
	info = text("/proc/self/fdinfo/%d", fd);
	if (!take_file(rs, link, info, perms))
		errx(EXIT_FAILURE, "%s: not a region", path);
	free(link);
	free(info);
	close(fd);
}

void keep_only(struct regions *rs, const struct regions *some)
{
	size_t i, n = 0;

	for (i = 0; i < rs->count; i++)
		if (find(some, rs->list[i].inode))
			rs->list[n++] = rs->list[i];
	rs->count = n;
}

/* Those that come or go meanwhile are no riddle. */
unsigned long hidden_regions(const struct regions *rs)
{
	FILE *f = fopen("/sys/kernel/mm/mshare/regions", "re");
	unsigned long all = 0;

	if (f && fscanf(f, "%lu", &all) != 1)
		all = 0;
	if (f)
		fclose(f);
	return all > rs->count ? all - rs->count : 0;
}

uint64_t saved_max(const struct region *r)
{
	return r->st.attachments ? (r->st.attachments - 1) * r->st.pgtable_bytes : 0;
}

/* A process's attachments follow one another. */
unsigned int processes(const struct region *r)
{
	unsigned int n = 0;
	size_t i;

	for (i = 0; i < r->nattachments; i++)
		n += !i || r->attachments[i].pid != r->attachments[i - 1].pid;
	return n;
}

char *path_of(const struct region *r)
{
	/* All of it is of that file, in however many parts. */
	return r->st.flags & MSHARE_STAT_FILE && r->nobjects ? text("%s", r->objects[0].source) : NULL;
}

char *command_of(pid_t pid)
{
	char *path = text("/proc/%d/comm", pid), *line = NULL;
	FILE *f = fopen(path, "re");
	size_t size = 0;

	free(path);
	if (!f || getline(&line, &size, f) <= 0) {
		free(line);
		line = text("?");
	}
	if (f)
		fclose(f);
	line[strcspn(line, "\n")] = '\0';
	return line;
}
