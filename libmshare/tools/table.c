// SPDX-License-Identifier: LGPL-2.1-or-later
#include "table.h"

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int find_column(const char *name, size_t length, void *table)
{
	const struct table *t = table;
	size_t i;

	for (i = 0; i < t->ncolumns; i++)
		if (!strncasecmp(t->columns[i].name, name, length) && !t->columns[i].name[length])
			return i;
	return -1;
}

static void show_column(struct table *t, size_t column)
{
	t->shown = more(t->shown, t->nshown, sizeof(*t->shown));
	t->shown[t->nshown++] = column;
}

static void show_standard(struct table *t, bool all)
{
	size_t i;

	t->nshown = 0;
	for (i = 0; i < t->ncolumns; i++)
		if (all || t->columns[i].standard)
			show_column(t, i);
}

/* A list of names; with + in front, beside the standard ones. */
static void choose_columns(struct table *t, const char *list)
{
	const char *name = list + (*list == '+');
	size_t length;
	int column;

	t->nshown = 0;
	if (*list == '+')
		show_standard(t, false);
	for (;; name += length + 1) {
		length = strcspn(name, ",");
		column = find_column(name, length, t);
		if (column < 0) {
			warnx("there is no column '%.*s'", (int)length, name);
			try_help(program_invocation_name + strlen("mshare "));
		}
		show_column(t, column);
		if (!name[length])
			return;
	}
}

static void help(const struct table *t)
{
	size_t i;

	fputs(t->usage, stdout);
	puts("\nOptions:\n"
	     " -b, --bytes          sizes in bytes, not in K, M, G\n"
	     " -J, --json           JSON, with sizes in bytes\n"
	     " -n, --noheadings     no line of headings\n"
	     " -o, --output LIST    columns to show; +LIST for more than usual\n"
	     "     --output-all     all columns\n"
	     " -r, --raw            for scripts: one space between columns\n"
	     " -h, --help           display this help\n"
	     " -V, --version        display version\n"
	     "\nColumns:");
	for (i = 0; i < t->ncolumns; i++)
		printf(" %12s  %s\n", t->columns[i].name, t->columns[i].help);
	printf("\nFor more details see %s.\n", t->page);
}

static void make_column(struct table *t, size_t i)
{
	const struct column *c = &t->columns[t->shown[i]];
	struct libscols_column *column;
	int flags = c->flags;

	/* An array has an element a line, which a line of text cannot have. */
	if (c->json == SCOLS_JSON_ARRAY_NUMBER && t->json)
		flags |= SCOLS_FL_WRAP;
	/* Nor has what a script reads branches. */
	if (t->raw)
		flags &= ~SCOLS_FL_TREE;
	column = scols_table_new_column(t->scols, c->name, 0, flags);
	if (!column)
		err(EXIT_FAILURE, NULL);
	scols_column_set_json_type(column, c->json);
	if (flags & SCOLS_FL_WRAP)
		scols_column_set_wrapfunc(column, scols_wrapnl_chunksize, scols_wrapnl_nextchunk, NULL);
}

void table_open(struct table *t, int argc, char **argv)
{
	static const struct option options[] = {
		{ "bytes", no_argument, NULL, 'b' },
		{ "help", no_argument, NULL, 'h' },
		{ "json", no_argument, NULL, 'J' },
		{ "noheadings", no_argument, NULL, 'n' },
		{ "output", required_argument, NULL, 'o' },
		{ "output-all", no_argument, NULL, 'A' },
		{ "raw", no_argument, NULL, 'r' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 }
	};
	bool headings = true;
	size_t i;
	int c;

	show_standard(t, false);
	while ((c = getopt_long(argc, argv, "bhJno:rV", options, NULL)) != -1) {
		switch (c) {
		case 'b':
			t->bytes = true;
			break;
		case 'h':
			help(t);
			exit(EXIT_SUCCESS);
		case 'J':
			t->bytes = t->json = true;
			break;
		case 'n':
			headings = false;
			break;
		case 'o':
			choose_columns(t, optarg);
			break;
		case 'A':
			show_standard(t, true);
			break;
		case 'r':
			t->raw = true;
			break;
		case 'V':
			show_version();
		default:
			try_help(argv[0] + strlen("mshare "));
		}
	}
	if (t->raw && t->json) {
		warnx("--raw and --json exclude each other");
		try_help(argv[0] + strlen("mshare "));
	}

	scols_init_debug(0);
	t->scols = scols_new_table();
	if (!t->scols)
		err(EXIT_FAILURE, NULL);
	scols_table_set_name(t->scols, t->name);
	scols_table_enable_json(t->scols, t->json);
	scols_table_enable_raw(t->scols, t->raw);
	scols_table_enable_noheadings(t->scols, !headings);
	for (i = 0; i < t->nshown; i++)
		make_column(t, i);
}

struct libscols_line *table_line(struct table *t, struct libscols_line *parent)
{
	struct libscols_line *line = scols_table_new_line(t->scols, parent);

	if (!line)
		err(EXIT_FAILURE, NULL);
	return line;
}

/* How long the character of UTF-8 at S is; 0 if there is none. */
static size_t character(const char *s)
{
	static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };
	unsigned char c = *s;
	size_t i, rest = c < 0x80 ? 0 : c < 0xc0 ? 4 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : c < 0xf8 ? 3 : 4;
	uint32_t code = rest ? c & (0x3f >> rest) : c;

	if (rest > 3)
		return 0;
	for (i = 1; i <= rest; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (s[i] & 0x3f);
	}
	return code < least[rest] || code >> 11 == 0x1b || code > 0x10ffff ? 0 : rest + 1;
}

/* JSON is UTF-8, but names may be anything: the rest as in other tables. */
static char *json_text(char *value)
{
	char *new = calloc(4, strlen(value) + 1), *to = new;
	const char *s = value;
	size_t length;

	if (!new)
		err(EXIT_FAILURE, NULL);
	while (*s) {
		length = character(s);
		if (length)
			to = mempcpy(to, s, length);
		else
			to += sprintf(to, "\\x%02x", (unsigned char)*s);
		s += length ?: 1;
	}
	free(value);
	return new;
}

void set_text(struct table *t, struct libscols_line *line, size_t column, char *value)
{
	size_t i;

	if (value && t->json)
		value = json_text(value);

	/* A column can be asked for twice. */
	for (i = 0; value && i < t->nshown; i++)
		if (t->shown[i] == column && scols_line_set_data(line, i, value))
			err(EXIT_FAILURE, NULL);
	free(value);
}

void set_number(struct table *t, struct libscols_line *line, size_t column, uint64_t value)
{
	set_text(t, line, column, text("%" PRIu64, value));
}

void set_size(struct table *t, struct libscols_line *line, size_t column, uint64_t bytes)
{
	static const char units[] = "BKMGTPE";
	uint64_t tenths;
	int unit = 0;

	if (t->bytes) {
		set_number(t, line, column, bytes);
		return;
	}
	while (unit < 6 && bytes >> 10 * unit >= 1024)
		unit++;
	tenths = (bytes >> 10 * unit) * 10;
	if (unit)
		tenths += ((bytes >> 10 * (unit - 1)) & 1023) * 10 / 1024;
	if (tenths % 10)
		set_text(t, line, column, text("%" PRIu64 ".%" PRIu64 "%c", tenths / 10, tenths % 10, units[unit]));
	else
		set_text(t, line, column, text("%" PRIu64 "%c", tenths / 10, units[unit]));
}

void set_address(struct table *t, struct libscols_line *line, size_t column, uint64_t address)
{
	set_text(t, line, column, text("0x%" PRIx64, address));
}

const char *separator(const struct table *t)
{
	return t->json ? "\n" : ",";
}

int table_close(struct table *t)
{
	int ret = scols_print_table(t->scols);

	scols_unref_table(t->scols);
	if (ret)
		errx(EXIT_FAILURE, "cannot print the table: %s", strerror(-ret));
	return EXIT_SUCCESS;
}
