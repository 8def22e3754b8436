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
	enum { NO_SUM, SUM, SUM_SIZE } sum;	/* what --total has of it: nothing, a number or bytes */
};

struct table {
	const char *name;	/* of the array in JSON */
	const char *usage;	/* text of --help in front of the options */
	const char *page;
	const struct column *columns;
	size_t ncolumns;
	bool operands;		/* what follows the options means something */
	bool list;		/* no tree: its lines can be sorted and added up */
	/* An option of this command alone, or NULL, and whether it was given. */
	const char *option, *option_help;
	bool chosen;
	int sort;		/* column by which lines are sorted; -1: as they come */

	/* The rest is for table.c. */
	struct libscols_table *scols;
	size_t *shown;
	size_t nshown;		/* with the hidden one */
	size_t hidden;		/* 1 if the last is only there to sort by it */
	bool bytes, json, raw, noheadings, total, default_columns;
	uint64_t *sums;
	char *facts;
};

/* Takes the options; what is left begins at optind. */
void table_options(struct table *t, int argc, char **argv);
/* One more column, unless the user has said which. */
void table_also(struct table *t, size_t column);
/* Begins the table. */
void table_open(struct table *t);
struct libscols_line *table_line(struct table *t, struct libscols_line *parent);
/* Sets a cell, if its column is shown; VALUE is freed, NULL leaves it empty. */
void set_text(struct table *t, struct libscols_line *line, size_t column, char *value);
void set_number(struct table *t, struct libscols_line *line, size_t column, uint64_t value);
void set_size(struct table *t, struct libscols_line *line, size_t column, uint64_t bytes);
void set_address(struct table *t, struct libscols_line *line, size_t column, uint64_t address);
/* What JSON has beside the lines. */
__attribute__((format(printf, 3, 4))) void table_fact(struct table *t, const char *key, const char *format, ...);
/* Prints it; the exit status. */
int table_close(struct table *t);
/* What stands between the elements of an array. */
const char *separator(const struct table *t);

#endif /* MSHARE_TABLE_H */
