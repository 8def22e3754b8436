/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table that a subcommand prints, and the options that select its form. */
#ifndef MSHARE_TABLE_H
#define MSHARE_TABLE_H

#include "tools.h"

#include <libsmartcols.h>

struct column {
	const char *name;
	const char *help;
	bool standard;		/* shown if nothing else is asked for */
	int flags;		/* SCOLS_FL_* */
	int json;		/* SCOLS_JSON_* */
};

struct table {
	const char *name;	/* of the array in JSON */
	const char *usage;	/* text of --help in front of the options */
	const char *page;
	const struct column *columns;
	size_t ncolumns;

	/* The rest is for table.c. */
	struct libscols_table *scols;
	size_t *shown;
	size_t nshown;
	bool bytes, json, raw;
};

/* Takes the options; what is left begins at optind. */
void table_open(struct table *t, int argc, char **argv);
struct libscols_line *table_line(struct table *t, struct libscols_line *parent);
/* Sets a cell, if its column is shown; VALUE is freed, NULL leaves it empty. */
void set_text(struct table *t, struct libscols_line *line, size_t column, char *value);
void set_number(struct table *t, struct libscols_line *line, size_t column, uint64_t value);
void set_size(struct table *t, struct libscols_line *line, size_t column, uint64_t bytes);
void set_address(struct table *t, struct libscols_line *line, size_t column, uint64_t address);
/* Prints it; the exit status. */
int table_close(struct table *t);
/* What stands between the elements of an array. */
const char *separator(const struct table *t);

#endif /* MSHARE_TABLE_H */
