/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Declarations that the parts of the mshare command share. */
#ifndef MSHARE_TOOLS_H
#define MSHARE_TOOLS_H

#define _GNU_SOURCE

#include <mshare.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A file descriptor of a region, in a process. */
struct holder {
	pid_t pid;
	int fd;
	char perms[3];
};

/* A place where a process has a region. */
struct attachment {
	pid_t pid;
	uint64_t start, end;
	char perms[5];
};

/* Something that is mapped in a region, by offsets. */
struct object {
	uint64_t start, end;
	char perms[5];
	char *source;
};

struct region {
	uint64_t inode;
	char *name;
	bool known;		/* the rest up to UID: what the kernel told */
	struct mshare_stat st;
	struct object *objects;
	size_t nobjects;
	uid_t uid;
	struct attachment *attachments;
	size_t nattachments;
	struct holder *holders;
	size_t nholders;
};

struct regions {
	struct region *list;
	size_t count;
};

/* The regions of all processes that can be looked at, sorted by number. */
void scan_all(struct regions *rs);
/* Those of one process; ends the program if it cannot be looked at. */
void scan_process(struct regions *rs, pid_t pid);
/* The region of a path such as /proc/PID/fd/N; ends the program if it is none. */
void scan_path(struct regions *rs, const char *path);
/* Leaves out the regions that are not in SOME. */
void keep_only(struct regions *rs, const struct regions *some);

/* How many regions there are in the system beside these. */
unsigned long hidden_regions(const struct regions *rs);
/*
 * At most so many bytes of private page tables does the region make unnecessary:
 * what each process would have accessed itself, nobody knows.
 */
uint64_t saved_max(const struct region *r);
/* How many processes have the region attached, of those that were looked at. */
unsigned int processes(const struct region *r);
/* The path of the file whose region it is, as the kernel writes it; NULL if there is none. */
char *path_of(const struct region *r);
/* What a process is called, or "?"; to be freed. */
char *command_of(pid_t pid);

/* Memory or the end. */
void *more(void *array, size_t count, size_t size);
__attribute__((format(printf, 1, 2))) char *text(const char *format, ...);

/* Ends the program unless the kernel has mshare. */
void need_kernel(void);
/* Why no library can be preloaded into that program, as the end of a sentence, or NULL. */
const char *why_not_program(const char *name);

/* How many filters of system calls this process has, or 1 if that is not known. */
unsigned long count_filters(void);

/* The options that each subcommand has; they do not return. */
_Noreturn void show_version(void);
_Noreturn void try_help(const char *command);

int do_ls(int argc, char **argv);
int do_show(int argc, char **argv);
int do_run(int argc, char **argv);
int do_candidates(int argc, char **argv);
int do_check(int argc, char **argv);

#endif /* MSHARE_TOOLS_H */
