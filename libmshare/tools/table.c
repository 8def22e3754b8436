// SPDX-License-Identifier: LGPL-2.1-or-later
#include "table.h"

#include <ctype.h>
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t find_column(const char *name, size_t length, const struct table *t)
{
	size_t i;

	for (i = 0; i < t->ncolumns; i++)
		if (!strncasecmp(t->columns[i].name, name, length) && !t->columns[i].name[length])
			return i;
	warnx("there is no column '%.*s'", (int)length, name);
	try_help(program_invocation_name + strlen("mshare "));
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

	t->nshown = 0;
	t->default_columns = false;
	if (*list == '+')
		show_standard(t, false);
	for (;; name += length + 1) {
		length = strcspn(name, ",");
		show_column(t, find_column(name, length, t));
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
	     " -r, --raw            for scripts: one space between columns");
	if (t->list)
		puts("     --sort COLUMN    numbers: the largest first; text: in alphabetical order\n"
		     "     --total          a last line with sums");
	if (t->option)
		printf("     --%-15s%s\n", t->option, t->option_help);
	puts(" -h, --help           display this help\n"
	     " -V, --version        display version\n"
	     "\nColumns:");
	for (i = 0; i < t->ncolumns; i++)
		printf(" %12s  %s\n", t->columns[i].name, t->columns[i].help);
	printf("\nFor more details see %s.\n", t->page);
}

/* Cells without text come last. */
static int by_text(struct libscols_cell *a, struct libscols_cell *b, void *data)
{
	const char *s = scols_cell_get_data(a), *t = scols_cell_get_data(b);

	(void)data;
	return s && t ? strverscmp(s, t) : !s - !t;
}

static int by_size(struct libscols_cell *a, struct libscols_cell *b, void *data)
{
	uintptr_t m = (uintptr_t)scols_cell_get_userdata(a), n = (uintptr_t)scols_cell_get_userdata(b);

	(void)data;
	if (!scols_cell_get_data(a) || !scols_cell_get_data(b))
		return by_text(a, b, NULL);
	return m > n ? -1 : m < n;
}

static void make_column(struct table *t, size_t i)
{
	const struct column *c = &t->columns[t->shown[i]];
	struct libscols_column *column;
	int flags = c->flags;

	/* An array has an element a line, which a line of text cannot have. */
	if ((c->json == SCOLS_JSON_ARRAY_NUMBER || c->json == SCOLS_JSON_ARRAY_STRING) && t->json)
		flags |= SCOLS_FL_WRAP;
	/* Nor has what a script reads branches. */
	if (t->raw)
		flags &= ~SCOLS_FL_TREE;
	if (i >= t->nshown - t->hidden)
		flags |= SCOLS_FL_HIDDEN;
	column = scols_table_new_column(t->scols, c->name, 0, flags);
	if (!column)
		err(EXIT_FAILURE, NULL);
	scols_column_set_json_type(column, c->json);
	scols_column_set_cmpfunc(column, c->json == SCOLS_JSON_NUMBER ? by_size : by_text, NULL);
	if (flags & SCOLS_FL_WRAP)
		scols_column_set_wrapfunc(column, scols_wrapnl_chunksize, scols_wrapnl_nextchunk, NULL);
}

enum { OUTPUT_ALL = 256, SORT, TOTAL, OPTION };

void table_options(struct table *t, int argc, char **argv)
{
	struct option options[] = {
		{ "bytes", no_argument, NULL, 'b' },
		{ "help", no_argument, NULL, 'h' },
		{ "json", no_argument, NULL, 'J' },
		{ "noheadings", no_argument, NULL, 'n' },
		{ "output", required_argument, NULL, 'o' },
		{ "output-all", no_argument, NULL, OUTPUT_ALL },
		{ "raw", no_argument, NULL, 'r' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },	/* for those that not all tables have */
		{ NULL, 0, NULL, 0 },
		{ NULL, 0, NULL, 0 },
		{ NULL, 0, NULL, 0 }
	}, *o = options;
	int c;

	while (o->name)
		o++;
	if (t->list) {
		*o++ = (struct option){ "sort", required_argument, NULL, SORT };
		*o++ = (struct option){ "total", no_argument, NULL, TOTAL };
	}
	if (t->option)
		*o = (struct option){ t->option, no_argument, NULL, OPTION };

	show_standard(t, false);
	t->default_columns = true;
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
			t->noheadings = true;
			break;
		case 'o':
			choose_columns(t, optarg);
			break;
		case OUTPUT_ALL:
			t->default_columns = false;
			show_standard(t, true);
			break;
		case 'r':
			t->raw = true;
			break;
		case SORT:
			t->sort = find_column(optarg, strlen(optarg), t);
			break;
		case TOTAL:
			t->total = true;
			break;
		case OPTION:
			t->chosen = true;
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
	if (!t->operands && optind < argc) {
		warnx("'%s' is one argument too many", argv[optind]);
		try_help(argv[0] + strlen("mshare "));
	}
}

void table_also(struct table *t, size_t column)
{
	if (t->default_columns)
		show_column(t, column);
}

/* Where the column is among those that are shown, or how many these are. */
static size_t place(const struct table *t, size_t column)
{
	size_t i = 0;

	while (i < t->nshown && t->shown[i] != column)
		i++;
	return i;
}

void table_open(struct table *t)
{
	size_t i;

	if (t->sort >= 0 && place(t, t->sort) == t->nshown) {
		show_column(t, t->sort);
		t->hidden = 1;
	}
	scols_init_debug(0);
	t->scols = scols_new_table();
	t->sums = calloc(t->ncolumns, sizeof(*t->sums));
	if (!t->scols || !t->sums)
		err(EXIT_FAILURE, NULL);
	scols_table_set_name(t->scols, t->name);
	scols_table_enable_json(t->scols, t->json);
	scols_table_enable_raw(t->scols, t->raw);
	scols_table_enable_noheadings(t->scols, t->noheadings);
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

/* NUMBER is what the column is sorted by, if its cells are numbers. */
static void set_cell(struct table *t, struct libscols_line *line, size_t column, char *value, uint64_t number)
{
	struct libscols_cell *cell;
	size_t i;

	if (value && t->json)
		value = json_text(value);

	/* A column can be asked for twice. */
	for (i = 0; value && i < t->nshown; i++) {
		if (t->shown[i] != column)
			continue;
		cell = scols_line_get_cell(line, i);
		if (!cell || scols_cell_set_data(cell, value) ||
		    scols_cell_set_userdata(cell, (void *)(uintptr_t)number))
			err(EXIT_FAILURE, NULL);
	}
	free(value);
}

void set_text(struct table *t, struct libscols_line *line, size_t column, char *value)
{
	set_cell(t, line, column, value, 0);
}

void set_number(struct table *t, struct libscols_line *line, size_t column, uint64_t value)
{
	t->sums[column] += value;
	set_cell(t, line, column, text("%" PRIu64, value), value);
}

/* With the unit that makes it short. */
static char *human(uint64_t bytes)
{
	static const char units[] = "BKMGTPE";
	uint64_t tenths;
	int unit = 0;

	while (unit < 6 && bytes >> 10 * unit >= 1024)
		unit++;
	tenths = (bytes >> 10 * unit) * 10;
	if (unit)
		tenths += ((bytes >> 10 * (unit - 1)) & 1023) * 10 / 1024;
	if (tenths % 10)
		return text("%" PRIu64 ".%" PRIu64 "%c", tenths / 10, tenths % 10, units[unit]);
	return text("%" PRIu64 "%c", tenths / 10, units[unit]);
}

void set_size(struct table *t, struct libscols_line *line, size_t column, uint64_t bytes)
{
	t->sums[column] += bytes;
	set_cell(t, line, column, t->bytes ? text("%" PRIu64, bytes) : human(bytes), bytes);
}

void set_address(struct table *t, struct libscols_line *line, size_t column, uint64_t address)
{
	set_text(t, line, column, text("0x%" PRIx64, address));
}

const char *separator(const struct table *t)
{
	return t->json ? "\n" : ",";
}

void table_fact(struct table *t, const char *key, const char *format, ...)
{
	char *value, *facts;
	va_list args;

	va_start(args, format);
	if (vasprintf(&value, format, args) < 0)
		err(EXIT_FAILURE, NULL);
	va_end(args);
	facts = text("%s\n   \"%s\": %s,", t->facts ?: "", key, value);
	free(value);
	free(t->facts);
	t->facts = facts;
}

/* As libsmartcols makes keys of the names of columns. */
static char *key_of(const char *name)
{
	char *key = text("%s", name), *c;

	for (c = key; *c; c++)
		*c = tolower((unsigned char)*c);
	return key;
}

/* JSON has the sums apart, where they are no line like the others. */
static void add_total(struct table *t)
{
	struct libscols_line *line = t->json ? NULL : table_line(t, NULL);
	char *sums = text("%s", ""), *old, *key;
	uint64_t sum;
	size_t i, c;

	for (i = 0; i < t->nshown - t->hidden; i++) {
		c = t->shown[i];
		sum = t->sums[c];
		if (!t->columns[c].sum || place(t, c) != i)
			continue;
		if (line) {
			set_cell(t, line, c, t->bytes || t->columns[c].sum == SUM ? text("%" PRIu64, sum) : human(sum), sum);
			continue;
		}
		old = sums;
		key = key_of(t->columns[c].name);
		sums = text("%s%s\"%s\": %" PRIu64, old, *old ? ", " : " ", key, sum);
		free(old);
		free(key);
	}
	if (t->json)
		table_fact(t, "total", "{%s }", sums);
	/* The word stands where there is room for it. */
	for (i = 0; line && i < t->nshown - t->hidden; i++)
		if (t->columns[t->shown[i]].json == SCOLS_JSON_STRING) {
			set_text(t, line, t->shown[i], text("total"));
			break;
		}
	free(sums);
}

int table_close(struct table *t)
{
	char *out = NULL;
	int ret;

	if (t->sort >= 0)
		scols_sort_table(t->scols, scols_table_get_column(t->scols, place(t, t->sort)));
	if (t->total)
		add_total(t);
	ret = scols_print_table_to_string(t->scols, &out);
	if (ret)
		errx(EXIT_FAILURE, "cannot print the table: %s", strerror(-ret));
	/* What is said beside the lines comes first in the object. */
	if (t->facts && *out == '{')
		printf("{%s%s\n", t->facts, out + 1);
	else if (*out)
		puts(out);
	free(out);
	free(t->facts);
	free(t->sums);
	scols_unref_table(t->scols);
	return EXIT_SUCCESS;
}
