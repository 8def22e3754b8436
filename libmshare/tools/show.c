// SPDX-License-Identifier: LGPL-2.1-or-later
/* mshare show - a region, its contents and its users */
#include "table.h"

#include <ctype.h>
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { NAME, TYPE, START, SIZE, PERM, PID, FD, RESIDENT, PGTABLES, SAVED_MAX, SWAPPED, FAULTS, ATTACHED,
       PROCESSES, PATH, ID };

#define NUMBER	SCOLS_FL_RIGHT, SCOLS_JSON_NUMBER

static const struct column columns[] = {
	[NAME] = { "NAME", "name of the region, object or process", true, SCOLS_FL_TREE, SCOLS_JSON_STRING },
	[TYPE] = { "TYPE", "region, object, attachment or descriptor", true, 0, SCOLS_JSON_STRING },
	[START] = { "START", "usual address, offset in the region, or address", true, SCOLS_FL_RIGHT,
		    SCOLS_JSON_STRING },
	[SIZE] = { "SIZE", "bytes", true, NUMBER },
	[PERM] = { "PERM", "what it allows", true, 0, SCOLS_JSON_STRING },
	[PID] = { "PID", "process of an attachment or a descriptor", true, NUMBER },
	[FD] = { "FD", "descriptor", true, NUMBER },
	[RESIDENT] = { "RESIDENT", "bytes that are in memory and in its page tables", true, NUMBER },
	[PGTABLES] = { "PGTABLES", "bytes of its page tables", true, NUMBER },
	[SAVED_MAX] = { "SAVED-MAX", "at most saved: PGTABLES x (ATTACHED - 1)", true, NUMBER },
	[SWAPPED] = { "SWAPPED", "bytes in swap space", false, NUMBER },
	[FAULTS] = { "FAULTS", "page faults", false, NUMBER },
	[ATTACHED] = { "ATTACHED", "attachments, of all processes", false, NUMBER },
	[PROCESSES] = { "PROCESSES", "how many have the region attached", false, NUMBER },
	[PATH] = { "PATH", "the file whose region it is", false, 0, SCOLS_JSON_STRING },
	[ID] = { "ID", "number since boot", false, NUMBER },
};

static void add_object(struct table *t, struct libscols_line *parent, const struct object *o)
{
	struct libscols_line *line = table_line(t, parent);

	set_text(t, line, NAME, text("%s", o->source));
	set_text(t, line, TYPE, text("object"));
	set_address(t, line, START, o->start);
	set_size(t, line, SIZE, o->end - o->start);
	set_text(t, line, PERM, text("%s", o->perms));
}

static void add_attachment(struct table *t, struct libscols_line *parent, const struct attachment *a)
{
	struct libscols_line *line = table_line(t, parent);

	set_text(t, line, NAME, command_of(a->pid));
	set_text(t, line, TYPE, text("attachment"));
	set_address(t, line, START, a->start);
	set_size(t, line, SIZE, a->end - a->start);
	set_text(t, line, PERM, text("%s", a->perms));
	set_number(t, line, PID, a->pid);
}

static void add_holder(struct table *t, struct libscols_line *parent, const struct holder *h)
{
	struct libscols_line *line = table_line(t, parent);

	set_text(t, line, NAME, command_of(h->pid));
	set_text(t, line, TYPE, text("descriptor"));
	set_text(t, line, PERM, text("%s", h->perms));
	set_number(t, line, PID, h->pid);
	set_number(t, line, FD, h->fd);
}

static void add(struct table *t, const struct region *r)
{
	struct libscols_line *line = table_line(t, NULL);
	size_t i;

	set_text(t, line, NAME, text("%s", r->name));
	set_text(t, line, TYPE, text("region"));
	set_number(t, line, PROCESSES, processes(r));
	if (r->known) {
		set_address(t, line, START, r->st.base);
		set_size(t, line, SIZE, r->st.size);
		set_size(t, line, RESIDENT, r->st.resident);
		set_size(t, line, PGTABLES, r->st.pgtable_bytes);
		set_size(t, line, SAVED_MAX, saved_max(r));
		set_size(t, line, SWAPPED, r->st.swapped);
		set_number(t, line, FAULTS, r->st.faults);
		set_number(t, line, ATTACHED, r->st.attachments);
		set_text(t, line, PATH, path_of(r));
		set_number(t, line, ID, r->st.id);
	}
	for (i = 0; i < r->nobjects; i++)
		add_object(t, line, &r->objects[i]);
	for (i = 0; i < r->nattachments; i++)
		add_attachment(t, line, &r->attachments[i]);
	for (i = 0; i < r->nholders; i++)
		add_holder(t, line, &r->holders[i]);
}

/* A process or the path of a descriptor. */
static void scan_argument(struct regions *rs, const char *arg)
{
	const char *c = arg;
	long pid;

	while (isdigit((unsigned char)*c))
		c++;
	if (*c || c == arg) {
		scan_path(rs, arg);
		return;
	}
	errno = 0;
	pid = strtol(arg, NULL, 10);
	if (errno || pid < 1 || pid > INT_MAX)
		errx(EXIT_FAILURE, "there is no process %s", arg);
	scan_process(rs, pid);
}

int do_show(int argc, char **argv)
{
	struct table t = {
		.name = "regions",
		.usage = "Usage:\n mshare show [OPTIONS] PID|FD...\n\n"
			 "Show the regions of processes, or of descriptors such as /proc/PID/fd/N.\n",
		.page = "mshare-show(1)",
		.columns = columns,
		.ncolumns = sizeof(columns) / sizeof(columns[0]),
		.operands = true,
		.sort = -1,
	};
	struct regions rs = { 0 }, wanted = { 0 };
	size_t i;

	table_options(&t, argc, argv);
	table_open(&t);
	if (optind == argc) {
		warnx("of which process or descriptor?");
		try_help("show");
	}
	need_kernel();
	for (; optind < argc; optind++)
		scan_argument(&wanted, argv[optind]);
	scan_all(&rs);
	keep_only(&rs, &wanted);
	for (i = 0; i < rs.count; i++)
		add(&t, &rs.list[i]);
	return table_close(&t);
}
