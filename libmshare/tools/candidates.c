// SPDX-License-Identifier: LGPL-2.1-or-later
/* mshare candidates - what sharing page tables would save on this machine */
#include "mappings.h"
#include "table.h"

#include <err.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define PAGE	4096ULL
/* The least area that mshare run serves by itself. */
#define RUN_MIN	(16ULL << 20)

enum { SAVES, TABLES, PROCESSES, SIZE, KIND, HOW, COMMAND, NAME, SAVES_MAX, REGION, PIDS, INODE };

#define NUMBER	SCOLS_FL_RIGHT, SCOLS_JSON_NUMBER

static const struct column columns[] = {
	[SAVES] = { "SAVES", "bytes of page tables that a region would save now, at least", true, NUMBER, SUM_SIZE },
	[TABLES] = { "TABLES", "bytes of page tables that lead to this memory alone now", true, NUMBER, SUM_SIZE },
	[PROCESSES] = { "PROCS", "processes that have it mapped", true, NUMBER },
	[SIZE] = { "SIZE", "bytes that a process has mapped, at most", true, NUMBER },
	[KIND] = { "KIND", "anonymous, POSIX, System-V, memfd, file or device", true, 0, SCOLS_JSON_STRING },
	[HOW] = { "HOW", "what would save them, or why nothing would", true, 0, SCOLS_JSON_STRING },
	[COMMAND] = { "COMMAND", "name of the first process", true, 0, SCOLS_JSON_STRING },
	[NAME] = { "NAME", "file, as in /proc/PID/maps", true, 0, SCOLS_JSON_STRING },
	[SAVES_MAX] = { "SAVES-MAX", "the same as SAVES, at most", false, NUMBER, SUM_SIZE },
	[REGION] = { "REGION", "bytes of page tables that a region would have", false, NUMBER, SUM_SIZE },
	[PIDS] = { "PIDS", "these processes", false, SCOLS_FL_TRUNC, SCOLS_JSON_ARRAY_NUMBER },
	[INODE] = { "INODE", "inode, as in /proc/PID/maps", false, NUMBER },
};

static const char * const kinds[] = {
	[ANONYMOUS] = "anonymous",
	[POSIX] = "POSIX",
	[SYSTEM_V] = "System-V",
	[MEMFD] = "memfd",
	[FILE_SYSTEM] = "file",
	[DEVICE] = "device",
};

/* The reason why the file cannot be an object of a region; NULL if none is known. */
static const char *refused(const struct mapping *m)
{
	static const struct { long type; const char *name; } types[] = {
		{ 0x65735546, "none: FUSE" },
		{ 0x7461636f, "none: OCFS2" },
		{ 0x00c36400, "none: Ceph" },
	};
	struct statfs fs;
	struct statx st;
	size_t i;

	/* Ignore a file that has been replaced meanwhile. */
	if (statx(AT_FDCWD, m->name, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, STATX_INO, &st) ||
	    st.stx_ino != m->inode || statfs(m->name, &fs))
		return NULL;
	if (st.stx_attributes & STATX_ATTR_DAX)
		return "none: DAX";
	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (fs.f_type == types[i].type)
			return types[i].name;
	return NULL;
}

static char *how(const struct mapping *m)
{
	const char *files = m->kind == ANONYMOUS ? "" : " --files", *why = NULL;

	if (only_huge(m))
		why = "none: huge pages";
	else if (m->kind == DEVICE)
		why = "none: device";
	else if (m->kind == SYSTEM_V)
		why = "none yet: System V";
	else if (m->bits32)
		why = "none: 32-bit program";
	else if (m->kind == MEMFD)
		why = "mshare_map(2) in the program";
	else if (m->kind != ANONYMOUS)
		why = refused(m);
	else if (m->preloaded && m->size >= RUN_MIN)
		why = "mshare run -v says why not";
	if (!why && m->foreign)
		why = "mshare_map(2): no glibc to preload to";
	if (why)
		return text("%s", why);
	if (m->size >= RUN_MIN)
		return text("mshare run%s", files);
	return text("mshare run%s -m %lluK", files, (unsigned long long)m->size >> 10);
}

static char *pids(const struct mapping *m, const char *between)
{
	char *s = text("%d", m->pids[0]), *t;
	size_t i;

	for (i = 1; i < m->npids; i++) {
		t = text("%s%s%d", s, between, m->pids[i]);
		free(s);
		s = t;
	}
	return s;
}

/* Whether the mapping would save anything. */
static bool add(struct table *t, struct mapping *m)
{
	uint64_t region = region_tables(m), most = m->tables + m->doubtful, saves;
	struct libscols_line *line;

	/* Tables that lead to huge pages are not worth it. */
	saves = m->tables > region && !only_huge(m) ? m->tables - region : 0;
	most = most > region ? most - region : 0;
	if (!saves && !t->chosen)
		return false;
	line = table_line(t, NULL);
	set_size(t, line, SAVES, saves * PAGE);
	set_size(t, line, SAVES_MAX, most * PAGE);
	set_size(t, line, TABLES, m->tables * PAGE);
	set_size(t, line, REGION, region * PAGE);
	set_number(t, line, PROCESSES, m->npids);
	set_size(t, line, SIZE, m->size);
	set_text(t, line, KIND, text("%s", kinds[m->kind]));
	set_text(t, line, HOW, how(m));
	set_text(t, line, COMMAND, command_of(m->pids[0]));
	set_text(t, line, NAME, text("%s", m->name));
	set_text(t, line, PIDS, pids(m, separator(t)));
	set_number(t, line, INODE, m->inode);
	return saves;
}

int do_candidates(int argc, char **argv)
{
	struct table t = {
		.name = "candidates",
		.usage = "Usage:\n mshare candidates [OPTIONS]\n\n"
			 "List the shared mappings of this machine whose page tables take more memory now\n"
			 "than they would in a region.  The kernel need not have regions.\n",
		.page = "mshare-candidates(1)",
		.columns = columns,
		.ncolumns = sizeof(columns) / sizeof(columns[0]),
		.list = true,
		.option = "all",
		.option_help = "also those that would save nothing",
		.sort = SAVES,
	};
	struct mappings ms = { 0 };
	bool found = false;
	size_t i;

	table_options(&t, argc, argv);
	table_open(&t);
	scan_mappings(&ms);
	table_fact(&t, "unreadable", "%lu", ms.unreadable);
	if (ms.unreadable)
		warnx("%lu process%s could not be looked at%s", ms.unreadable, ms.unreadable == 1 ? "" : "es",
		      geteuid() ? ": root can look at all" : "");
	for (i = 0; i < ms.count; i++)
		found |= add(&t, &ms.list[i]);
	if (!found)
		warnx("no shared mapping that was seen has more page tables than a region would have");
	return table_close(&t);
}
