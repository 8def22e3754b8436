/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Common to the programs of the benchmark: memory that is shared in one of several
 * ways, and a crowd of processes or threads that have it.
 *
 * Each line of their output is ROW, WHAT, WAY, BYTES, N, VALUE and UNIT, separated
 * by tabs.  Under QEMU's -icount shift=0, with one processor, the TSC counts
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

/* An object of BYTES, and the way in which it is mapped. */
struct memory {
	enum way way;
	uint64_t bytes;
	int file;
	bool own_file;
	int region;
	char *at;	/* THREADS: its address, the same for all */
	int prot;	/* of the mapping */
	long long others;	/* shared memory before it was made, KiB */
};

/* Of new memory, or of FILE if that is not -1. */
void memory_make(struct memory *m, enum way way, uint64_t bytes, int file);
void memory_drop(struct memory *m);
/* Waits until all huge pages are free, and gives them back. */
void no_huge_pages(void);
/* Map or attach it in this process, and undo that. */
char *memory_enter(const struct memory *m);
void memory_leave(const struct memory *m, char *at);

struct answer {
	uint64_t value;		/* of the job */
	uint64_t cycles;	/* of the job */
	long faults;		/* of the job */
};

/* COMMAND is one of the program's own, but not 'e', 'l' or 'q'. */
typedef uint64_t (*job_fn)(char command, char *at, uint64_t bytes);

struct crowd {
	const struct memory *memory;
	job_fn job;
	/*
	 * NULL, or the program that each member executes so that it is unrelated to
	 * the others.  It calls crowd_member().
	 */
	char *const *program;
	int count;
	struct member *members;
};

void crowd_make(struct crowd *c, const struct memory *m, job_fn job);
/* The whole life of a member in its own program, which must not use standard output. */
void crowd_member(const struct memory *m, job_fn job);
/* Starts more until there are COUNT; they have not entered the memory. */
void crowd_grow(struct crowd *c, int count);
/*
 * Lets member I work: 'e' to enter the memory, 'l' to leave it, or a command for
 * the job.
 */
struct answer crowd_ask(struct crowd *c, int i, char command);
/* All at once; returns the cost from the first request to the last answer. */
uint64_t crowd_all(struct crowd *c, char command);
/* The last answer of member I. */
struct answer crowd_last(const struct crowd *c, int i);
void crowd_end(struct crowd *c);

/* Reads a word of each STEP bytes; returns their sum. */
uint64_t read_pages(const char *at, uint64_t bytes, uint64_t step);
/* PageTables, once nothing is being freed any more. */
long long page_tables(void);
/*
 * Moves IMAGE, an ext4 file system that came with the initramfs, to the memory of
 * null_blk and mounts that: a disk without the latency of an emulated one.
 * Returns /mnt/file there, BYTES long, full of PATTERN.
 */
int disk_file(const char *image, uint64_t bytes, const uint64_t *pattern, int words);

#endif /* BENCH_H */
