/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The operations of differ: what there is, how they are drawn at random, and
 * how a list of them is written down.
 */
#ifndef DIFFER_H
#define DIFFER_H

#include "random.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORKERS		3
#define PLACES		2		/* attachments that a worker can have */
#define SPAN		(8 * MIB)	/* of a region is used, up to its end */
#define PAGES		(SPAN / PAGE)
#define VEC		64		/* pages that one look takes in */
#define MAX_OPS		400

/* A byte that returns to its caller when it is executed. */
#define RET		0xc3

#ifndef PROT_SEM
#define PROT_SEM	0x8	/* known to mprotect(2), for other machines */
#endif

enum class {
	SETUP,
	ACCESS,		/* one worker, through one attachment */
	CHANGE,		/* one call on the region; with mmap() one call in each process */
	FILES,		/* the objects' files */
	LIFE,		/* attachments and processes */
	LOOK,		/* by the first worker, which is always attached */
};

/* KIND(name, class, weight) */
#define KINDS_OF_OPERATIONS		\
	KIND(config, SETUP, 0)		\
	KIND(load, ACCESS, 40)		\
	KIND(store, ACCESS, 50)		\
	KIND(add, ACCESS, 8)		\
	KIND(exec, ACCESS, 5)		\
	KIND(compare, ACCESS, 8)	\
	KIND(read, ACCESS, 6)		\
	KIND(write, ACCESS, 6)		\
	KIND(direct_read, ACCESS, 3)	\
	KIND(direct_write, ACCESS, 3)	\
	KIND(pipe_read, ACCESS, 3)	\
	KIND(vmsplice, ACCESS, 3)	\
	KIND(vm_read, ACCESS, 6)	\
	KIND(vm_write, ACCESS, 6)	\
	KIND(mem_read, ACCESS, 3)	\
	KIND(mem_write, ACCESS, 3)	\
	KIND(futex, ACCESS, 10)		\
	KIND(mincore, ACCESS, 5)	\
	KIND(pagemap, ACCESS, 5)	\
	KIND(opaque, ACCESS, 3)		\
	KIND(map, CHANGE, 30)		\
	KIND(unmap, CHANGE, 10)		\
	KIND(protect, CHANGE, 14)	\
	KIND(advise, CHANGE, 14)	\
	KIND(truncate, FILES, 4)	\
	KIND(punch, FILES, 4)		\
	KIND(allocate, FILES, 2)	\
	KIND(file_read, FILES, 4)	\
	KIND(file_write, FILES, 4)	\
	KIND(sync, FILES, 1)		\
	KIND(attach, LIFE, 6)		\
	KIND(detach, LIFE, 4)		\
	KIND(replace, LIFE, 2)		\
	KIND(kill, LIFE, 1)		\
	KIND(objects, LOOK, 3)		\
	KIND(stat, LOOK, 2)

enum kind {
#define KIND(name, class, weight) op_##name,
	KINDS_OF_OPERATIONS
#undef KIND
	KINDS
};

static const char *const kind_names[KINDS] = {
#define KIND(name, class, weight) #name,
	KINDS_OF_OPERATIONS
#undef KIND
};

static const enum class classes[KINDS] = {
#define KIND(name, class, weight) class,
	KINDS_OF_OPERATIONS
#undef KIND
};

static const int weights[KINDS] = {
#define KIND(name, class, weight) weight,
	KINDS_OF_OPERATIONS
#undef KIND
};

/* What can be an object, or cannot. */
enum {
	ANON, TMPFS, TMPFS_RDONLY, TMPFS_WRONLY, SEALED, EXT4, HUGETLB, SMALL, A_PIPE, A_DIR,
	NO_FILE, FILES_END
};

/* As op.how: */
enum { WAIT, WAIT_OTHER, WAKE, WAKE_OP, REQUEUE, LOCK_PI, TRYLOCK_PI, UNLOCK_PI, FUTEX_CALLS };
enum {
	PART_MPROTECT, PART_MUNMAP, PART_MMAP, PART_MREMAP, PART_MLOCK, PART_MADVISE, PART_MSYNC,
	PART_MSYNC_ASYNC, PART_REMAP, PART_CALLS
};
enum { BY_DETACH, BY_MUNMAP, BY_MMAP, DETACH_CALLS };

/* As op.probe: */
#define PROBE_LOAD	1
#define PROBE_STORE	2

/* All of an operation: nothing in it depends on what was done before. */
struct op {
	int64_t kind;
	int64_t worker;		/* who does it */
	int64_t place;		/* through which attachment, or whose if there is a peer */
	int64_t peer;		/* whose memory it is, in another process */
	int64_t at, len;	/* bytes of the part of the region that is used */
	int64_t prot, flags;
	int64_t advice;
	int64_t file, from;	/* an object, where in it */
	int64_t value;		/* what is stored; the size of a file */
	int64_t how;		/* one of several calls */
	int64_t child;		/* a child of the worker does it */
	int64_t probe;		/* what all workers do after a change */
	int64_t spin;		/* 1 + a worker that reads while the change is made */
};

static const struct {
	const char *name;
	size_t offset;
	bool hex;
} op_fields[] = {
#define FIELD(name, hex) { #name, offsetof(struct op, name), hex }
	FIELD(worker, 0), FIELD(place, 0), FIELD(peer, 0), FIELD(at, 1), FIELD(len, 1),
	FIELD(prot, 0), FIELD(flags, 1), FIELD(advice, 0), FIELD(file, 0), FIELD(from, 1),
	FIELD(value, 1), FIELD(how, 0), FIELD(child, 0), FIELD(probe, 0), FIELD(spin, 0),
#undef FIELD
};

static inline int64_t *op_field(struct op *op, int field)
{
	return (int64_t *)((char *)op + op_fields[field].offset);
}

static inline void op_print(const struct op *op, char *text, size_t size)
{
	size_t used = snprintf(text, size, "%s", kind_names[op->kind]);
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(op_fields) && used < size; i++) {
		long long value = *op_field((struct op *)op, i);

		if (value)
			used += snprintf(text + used, size - used,
					 op_fields[i].hex ? " %s=%#llx" : " %s=%lld",
					 op_fields[i].name, value);
	}
}

/* A line as op_print() writes it; false if it is none. */
static inline bool op_parse(char *line, struct op *op)
{
	char *word, *value, *end, *save = NULL;
	unsigned int i;

	memset(op, 0, sizeof(*op));
	word = strtok_r(line, " \t\n", &save);
	while (op->kind < KINDS && strcmp(word ? word : "", kind_names[op->kind]))
		op->kind++;
	if (op->kind == KINDS)
		return false;
	while ((word = strtok_r(NULL, " \t\n", &save))) {
		value = strchr(word, '=');
		if (!value)
			return false;
		*value++ = 0;
		for (i = 0; i < ARRAY_LEN(op_fields); i++)
			if (!strcmp(word, op_fields[i].name))
				break;
		if (i == ARRAY_LEN(op_fields))
			return false;
		*op_field(op, i) = strtoull(value, &end, 0);
		if (end == value || *end)
			return false;
	}
	return op->worker >= 0 && op->worker < WORKERS && op->place >= 0 && op->place < PLACES &&
	       op->peer >= 0 && op->peer < WORKERS && op->file >= 0 && op->file < FILES_END &&
	       op->spin >= 0 && op->spin <= WORKERS && op->at >= 0 && op->len >= 0 &&
	       op->from >= 0;
}

/*
 * Where things happen: few pages, so that operations meet, around the ends and
 * around what page tables end at: 2 MiB, and in the middle whatever the config
 * puts there.
 */
static inline int64_t rnd_page(void)
{
	static const uint64_t zones[] = {
		0, 0, HUGE - 12 * PAGE, SPAN / 2 - 12 * PAGE, SPAN - 24 * PAGE
	};

	return ONE_OF(zones) + rnd(24) * PAGE;
}

static inline void rnd_range(struct op *op, int pages)
{
	op->at = rnd_page();
	op->len = (1 + rnd(pages)) * PAGE;
	if (one_in(16)) {
		op->at = rnd(SPAN / HUGE) * HUGE;
		op->len = (1 + rnd(2)) * HUGE;
	}
	/* What is no multiple of pages, and nothing. */
	switch (rnd(80)) {
	case 0:
		op->at += 1 + rnd(PAGE - 1);
		break;
	case 1:
	case 2:
		op->len -= 1 + rnd(PAGE - 1);
		break;
	case 3:
		op->len = 0;
		break;
	}
}

/* Any bytes, often across a page's end. */
static inline void rnd_bytes(struct op *op)
{
	op->at = rnd_page() + (one_in(2) ? rnd(PAGE) : rnd(PAGE / 512) * 512);
	op->len = one_in(3) ? 1 + rnd(64) : 1 + rnd(3 * PAGE);
	if (one_in(3))
		op->at = rnd_page() + PAGE - rnd(64);
}

static inline void rnd_word(struct op *op)
{
	op->at = rnd_page() + rnd(PAGE / 8) * 8;
	if (one_in(24))
		op->at = rnd_page() + PAGE - 1 - rnd(12);
	op->value = rnd(1ULL << 55) << 8 | RET;
}

static inline void rnd_map(struct op *op)
{
	static const int files[] = {
		ANON, ANON, ANON, ANON, ANON, TMPFS, TMPFS, TMPFS, TMPFS_RDONLY, SEALED, EXT4,
		EXT4, HUGETLB, SMALL
	};
	static const int bad[] = { TMPFS_WRONLY, A_PIPE, A_DIR, NO_FILE };
	/* What mmap() would do with them is not what the region does. */
	static const int flags[] = { MAP_LOCKED, MAP_GROWSDOWN, MAP_STACK, MAP_DENYWRITE };

	op->file = ONE_OF(files);
	op->flags = (one_in(4) ? MAP_SHARED_VALIDATE : MAP_SHARED) |
		    (one_in(3) ? 0 : MAP_FIXED) | (one_in(6) ? MAP_POPULATE : 0) |
		    (one_in(8) ? MAP_NORESERVE : 0);
	if (one_in(40))
		op->file = ONE_OF(bad);
	if (op->file == HUGETLB || one_in(30)) {
		op->at = rnd(SPAN / HUGE) * HUGE;
		op->len = (1 + rnd(2)) * HUGE;
		op->from = rnd(2) * HUGE;
		if (op->file == ANON) {
			op->flags |= MAP_HUGETLB;
			op->len = HUGE;
			op->from = 0;
		} else if (one_in(8)) {
			*(one_in(2) ? &op->at : &op->from) += PAGE;
		}
	} else if (op->file != ANON) {
		op->from = rnd(48) * PAGE;
	}
	if (op->file == ANON)
		op->flags |= MAP_ANONYMOUS;
	switch (rnd(60)) {
	case 0:
		op->flags |= ONE_OF(flags);
		break;
	case 1:
		op->flags = (op->flags & ~MAP_TYPE) | MAP_PRIVATE;
		break;
	case 2:
		op->prot |= PROT_GROWSDOWN;
		break;
	case 3:
		if (op->file != ANON)
			op->from = one_in(2) ? op->from + 512 : 1LL << 62;
		break;
	}
}

/*
 * Protections that are rare, too.  Not PROT_EXEC alone: mprotect() takes a protection
 * key for it where there are keys, and an attachment has none.
 */
static inline int rnd_any_prot(void)
{
	static const int rare[] = { PROT_WRITE, PROT_WRITE | PROT_EXEC };

	if (one_in(40))
		return ONE_OF(rare);
	return rnd_prot() | (one_in(5) ? PROT_READ | PROT_EXEC : 0);
}

#define UNKNOWN_ADVICE	999

static inline int rnd_any_advice(void)
{
	/* Not those that a region takes. */
	static const int rare[] = {
		MADV_DONTFORK, MADV_FREE, MADV_DONTDUMP, MADV_WIPEONFORK, UNKNOWN_ADVICE
	};

	return one_in(30) ? ONE_OF(rare) : one_in(20) ? MADV_SEQUENTIAL : rnd_advice();
}

static inline void rnd_op(struct op *op)
{
	static const int files[] = {
		TMPFS, TMPFS, TMPFS, EXT4, EXT4, SEALED, SMALL, TMPFS_RDONLY, HUGETLB
	};

	memset(op, 0, sizeof(*op));
	op->kind = rnd_weighted(weights, KINDS);
	op->worker = rnd(WORKERS);
	op->place = one_in(3);
	switch (classes[op->kind]) {
	case ACCESS:
		op->child = one_in(12);
		rnd_bytes(op);
		break;
	case CHANGE:
		op->probe = rnd(4);
		op->spin = one_in(4) ? 1 + rnd(WORKERS) : 0;
		op->place = 0;
		rnd_range(op, 16);
		break;
	case FILES:
		op->file = ONE_OF(files);
		op->from = rnd(64) * PAGE;
		op->len = (1 + rnd(16)) * PAGE;
		op->place = 0;
		if (one_in(3)) {
			op->from += rnd(PAGE);
			op->len -= rnd(PAGE);
		}
		break;
	default:
		break;
	}

	switch (op->kind) {
	case op_load:
	case op_store:
	case op_add:
		rnd_word(op);
		op->len = 0;
		break;
	case op_exec:
		rnd_word(op);
		op->at &= ~7ULL;
		op->value = op->len = 0;
		break;
	case op_compare:
	case op_mincore:
	case op_pagemap:
		op->at = rnd_page();
		op->len = (1 + rnd(VEC / 2)) * PAGE;
		break;
	case op_read:
	case op_write:
	case op_pipe_read:
		op->from = rnd(8) * 512;
		op->value = rnd(1 << 20);
		break;
	case op_direct_read:
	case op_direct_write:
		op->at = one_in(16) ? op->at : rnd_page() + rnd(8) * 512;
		op->len = (1 + rnd(3 * PAGE / 512)) * 512;
		op->from = rnd(8) * 512;
		break;
	case op_vm_read:
	case op_vm_write:
	case op_mem_read:
	case op_mem_write:
		op->peer = rnd(WORKERS);
		op->value = rnd(1 << 20);
		break;
	case op_futex:
		op->at = rnd_page() + rnd(PAGE / 4) * 4 + (one_in(40) ? 1 : 0);
		op->len = 0;
		op->how = rnd(FUTEX_CALLS);
		op->value = rnd(1 << 12);
		break;
	case op_opaque:
		op->at = rnd_page();
		op->len = PAGE;
		op->how = rnd(PART_CALLS);
		op->child = 0;
		break;
	case op_map:
		op->prot = rnd_any_prot();
		rnd_map(op);
		break;
	case op_unmap:
		if (one_in(2))
			op->len = PAGE * !!op->len;
		break;
	case op_protect:
		op->prot = one_in(80) ? PROT_READ | PROT_SEM : rnd_any_prot();
		break;
	case op_advise:
		op->advice = rnd_any_advice();
		break;
	case op_truncate:
		op->value = op->from;
		if (op->file == HUGETLB)
			op->value = rnd(3) * HUGE;
		op->from = op->len = 0;
		break;
	case op_punch:
	case op_allocate:
		if (op->file == HUGETLB) {
			op->from = rnd(2) * HUGE + (one_in(4) ? PAGE : 0);
			op->len = HUGE;
		}
		break;
	case op_file_write:
		op->value = rnd(1 << 20);
		break;
	case op_sync:
		op->from = op->len = 0;
		break;
	case op_attach:
		op->flags = rnd(8);
		op->how = one_in(3);
		break;
	case op_detach:
		op->how = rnd(DETACH_CALLS);
		break;
	case op_replace:
		op->place = 0;
		break;
	case op_kill:
		op->place = 0;
		op->worker = 1 + rnd(WORKERS - 1);
		break;
	case op_objects:
	case op_stat:
		op->worker = op->place = 0;
		break;
	}
}

/* The operations of an episode of a seed. */
static inline int rnd_list(uint64_t seed, uint64_t episode, bool thp, struct op *ops)
{
	int n = 0, w;

	rnd_seed(seed * 1000003 + episode);
	/* Where the part that is used begins, and whether there are THPs. */
	ops[n++] = (struct op){ .kind = op_config, .how = rnd(3), .flags = thp && one_in(4) };
	for (w = 0; w < WORKERS; w++)
		ops[n++] = (struct op){ .kind = op_attach, .worker = w, .place = !w,
					.flags = rnd(8), .how = one_in(3) };
	while (n < MAX_OPS - 1)
		rnd_op(&ops[n++]);
	ops[n++] = (struct op){ .kind = op_objects };
	return n;
}

#endif /* DIFFER_H */
