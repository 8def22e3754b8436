/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The shared mappings of the machine, and the page tables that lead to each. */
#ifndef MSHARE_MAPPINGS_H
#define MSHARE_MAPPINGS_H

#include "tools.h"

/* How the memory of a mapping was made. */
enum kind { ANONYMOUS, POSIX, SYSTEM_V, MEMFD, FILE_SYSTEM, DEVICE };

/*
 * Windows of 2 MiB, of which each has its own table of entries: the numbers of the
 * first and the last of a row, in a file.
 */
struct row {
	uint64_t first, last;
	bool huge;		/* mapped by huge pages, which need no such table */
};

struct rows {
	struct row *list;
	size_t count;
	size_t sorted;		/* how many there were when they were last merged */
};

/*
 * Some shared memory, and how processes have it mapped.  What is in the page tables
 * is counted in tables, of a page each.
 */
struct mapping {
	unsigned int major, minor;
	uint64_t inode;
	uint64_t namespace;	/* of IPC, for System V */
	char *name;		/* as the kernel writes it */
	enum kind kind;
	uint64_t size;		/* bytes that one process maps of it, at most */
	uint64_t tables;	/* that lead to this memory alone, of all processes */
	uint64_t doubtful;	/* that may do so, too: empty ones, and those with neighbours */
	struct rows rows;	/* what some process has in its page tables */
	pid_t *pids;
	size_t npids;
	bool preloaded;		/* some process has the library of mshare run */
	bool bits32;
	bool foreign;		/* some process has no glibc that could be preloaded to */
};

struct mappings {
	struct mapping *list;
	size_t count;
	unsigned long unreadable;	/* processes */
};

void scan_mappings(struct mappings *ms);
/* The tables that a region with all of it would have now. */
uint64_t region_tables(struct mapping *m);
/* Nothing but huge pages was seen. */
bool only_huge(const struct mapping *m);

#endif /* MSHARE_MAPPINGS_H */
