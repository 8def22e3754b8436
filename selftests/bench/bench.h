/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the programs of the benchmark share: memory that is shared in one of
 * several ways, and a crowd of processes, or threads, that have it.
 *
 * Each line of their output is ROW, WHAT, WAY, BYTES, N, VALUE and UNIT, between
 * tabs.  Under QEMU's -icount shift=0, with one processor, the TSC counts
 * instructions.
 */
#ifndef BENCH_H
#define BENCH_H

#include "figure.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum way {
	HUGETLB,	/* first: huge pages are easiest to get early */
	MSHARE_HUGE,	/* huge pages in a region */
	MSHARE,		/* from here on pages of 4 KiB */
	MMAP,
	THREADS,
	WAYS
};

extern const char *const way_names[WAYS];

static inline bool has_region(enum way way)
{
	return way == MSHARE || way == MSHARE_HUGE;
}

static inline bool is_huge(enum way way)
{
	return way < MSHARE;
}

void report(int row, const char *what, const char *way, uint64_t bytes, int n, double value,
	    const char *unit);
/* The arguments after the first as numbers, 0 at the end. */
const uint64_t *ladder(char **argv);

/* An object of BYTES, and what makes it visible. */
struct memory {
	enum way way;
	uint64_t bytes;
	int file;
	bool own_file;
	int region;
	char *at;	/* THREADS: where all have it */
	int prot;	/* of what is mapped */
	long long others;	/* shared memory that there was before, KiB */
};

/* Of new memory, or of FILE if that is not -1. */
void memory_make(struct memory *m, enum way way, uint64_t bytes, int file);
void memory_drop(struct memory *m);
/* Gives back huge pages, when the last one is free. */
void no_huge_pages(void);
/* In the process that wants it: maps or attaches it, and takes it away again. */
char *memory_enter(const struct memory *m);
void memory_leave(const struct memory *m, char *at);

struct answer {
	uint64_t value;		/* of the job */
	uint64_t cycles;	/* of the job */
	long faults;		/* of the job */
};

/* COMMAND is one of the program's own, but not 'e', 'l' and 'q'. */
typedef uint64_t (*job_fn)(char command, char *at, uint64_t bytes);

struct crowd {
	const struct memory *memory;
	job_fn job;
	/*
	 * What members run that are no relatives, or NULL: a program, which calls
	 * crowd_member().
	 */
	char *const *program;
	int count;
	struct member *members;
};

void crowd_make(struct crowd *c, const struct memory *m, job_fn job);
/* The whole life of a member in its own program; standard output is not for others then. */
void crowd_member(const struct memory *m, job_fn job);
/* Starts more until there are COUNT; they have not entered the memory. */
void crowd_grow(struct crowd *c, int count);
/*
 * Lets member I work: 'e' to enter the memory, 'l' to leave it, or a command for
 * the job.
 */
struct answer crowd_ask(struct crowd *c, int i, char command);
/* All at once; returns what it took from the first request to the last answer. */
uint64_t crowd_all(struct crowd *c, char command);
/* What member I has answered last. */
struct answer crowd_last(const struct crowd *c, int i);
void crowd_end(struct crowd *c);

/* Reads a word of each page of STEP; their sum. */
uint64_t read_pages(const char *at, uint64_t bytes, uint64_t step);
/* PageTables, when nothing is being freed any more. */
long long page_tables(void);
/*
 * Moves IMAGE, an ext4 file system that came with the initramfs, to the memory of
 * null_blk and mounts that: a disk on which nobody waits for another machine.
 * Returns /mnt/file there, BYTES long, full of PATTERN.
 */
int disk_file(const char *image, uint64_t bytes, const uint64_t *pattern, int words);

#endif /* BENCH_H */
