// SPDX-License-Identifier: LGPL-2.1-or-later
/* mshare ls - the regions of the machine */
#include "table.h"

#include <err.h>
#include <getopt.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

enum { NAME, SIZE, RESIDENT, PGTABLES, ATTACHED, SAVED, PIDS,
       COMMAND, USER, ID, INODE, BASE, OBJECTS, MAPPED, SWAPPED, FAULTS, STATE };

#define NUMBER	SCOLS_FL_RIGHT, SCOLS_JSON_NUMBER

static const struct column columns[] = {
	[NAME] = { "NAME", "what its creator called it", true, 0, SCOLS_JSON_STRING },
	[SIZE] = { "SIZE", "bytes that can be mapped in", true, NUMBER },
	[RESIDENT] = { "RESIDENT", "bytes that are in memory and in its page tables", true, NUMBER },
	[PGTABLES] = { "PGTABLES", "bytes of its page tables", true, NUMBER },
	[ATTACHED] = { "ATTACHED", "attachments, of all processes", true, NUMBER },
	[SAVED] = { "SAVED", "PGTABLES x (ATTACHED - 1)", true, NUMBER },
	[PIDS] = { "PIDS", "processes that have it attached or open", true, SCOLS_FL_TRUNC, SCOLS_JSON_ARRAY_NUMBER },
	[COMMAND] = { "COMMAND", "name of the first of them", false, 0, SCOLS_JSON_STRING },
	[USER] = { "USER", "owner", false, 0, SCOLS_JSON_STRING },
	[ID] = { "ID", "number since boot", false, NUMBER },
	[INODE] = { "INODE", "inode, as in /proc/PID/maps", false, NUMBER },
	[BASE] = { "BASE", "address at which it is normally attached", false, SCOLS_FL_RIGHT, SCOLS_JSON_STRING },
	[OBJECTS] = { "OBJECTS", "mappings in it", false, NUMBER },
	[MAPPED] = { "MAPPED", "bytes of these", false, NUMBER },
	[SWAPPED] = { "SWAPPED", "bytes in swap space", false, NUMBER },
	[FAULTS] = { "FAULTS", "page faults", false, NUMBER },
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

static void add(struct table *t, const struct region *r)
{
	struct libscols_line *line = table_line(t, NULL);
	pid_t first;

	set_text(t, line, NAME, text("%s", r->name));
	set_text(t, line, PIDS, pids(r, separator(t), &first));
	set_text(t, line, COMMAND, command_of(first));
	set_number(t, line, INODE, r->inode);
	if (!r->known)
		return;
	set_size(t, line, SIZE, r->st.size);
	set_size(t, line, RESIDENT, r->st.resident);
	set_size(t, line, PGTABLES, r->st.pgtable_bytes);
	set_number(t, line, ATTACHED, r->st.attachments);
	set_size(t, line, SAVED, saved(r));
	set_text(t, line, USER, user(r->uid));
	set_number(t, line, ID, r->st.id);
	set_address(t, line, BASE, r->st.base);
	set_number(t, line, OBJECTS, r->st.objects);
	set_size(t, line, MAPPED, r->st.mapped);
	set_size(t, line, SWAPPED, r->st.swapped);
	set_number(t, line, FAULTS, r->st.faults);
	set_text(t, line, STATE, text("%s", r->st.flags & MSHARE_STAT_DEAD ? "dead" :
					    r->st.flags & MSHARE_STAT_OWNED ? "owned" :
					    r->st.flags & MSHARE_STAT_FILE ? "file" : "live"));
}

int do_ls(int argc, char **argv)
{
	struct table t = {
		.name = "regions",
		.usage = "Usage:\n mshare ls [OPTIONS]\n\nList the regions that processes have open or attached.\n",
		.page = "mshare-ls(1)",
		.columns = columns,
		.ncolumns = sizeof(columns) / sizeof(columns[0]),
	};
	struct regions rs = { 0 };
	size_t i;

	table_open(&t, argc, argv);
	if (optind < argc) {
		warnx("'%s' is one argument too many", argv[optind]);
		try_help("ls");
	}
	need_kernel();
	scan_all(&rs);
	for (i = 0; i < rs.count; i++)
		add(&t, &rs.list[i]);
	return table_close(&t);
}
