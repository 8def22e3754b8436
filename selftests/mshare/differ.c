// SPDX-License-Identifier: GPL-2.0
/*
 * Performs random operations in two worlds: on a region, and on ordinary mappings
 * of similar objects in the same processes.  The results of accesses, calls and
 * inspections must be the same in both, except for the differences that the manual
 * describes: a table below lists them.
 *
 *	differ SECONDS SEED	episodes of operations, until the time is over
 *	differ -n N SEED	the first N episodes
 *	differ -e EPISODE SEED	one of them
 *	differ -l EPISODE SEED	writes down its operations and does none
 *	differ -r FILE		does the operations in a file
 *	-s KIND			operations of that kind do nothing to the region: a
 *				fault that has to be found
 *
 * One process passes the operations to workers one by one, so their order is the
 * same when they are repeated.  If a list ends with a difference, the program
 * shortens it by repeating parts of it in new processes, and prints it.
 */
#define _GNU_SOURCE
#include "differ.h"

#include <limits.h>
#include <linux/futex.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE	0x0010
#endif

enum { REGION, MMAP, WORLDS };
static const char *const world_names[WORLDS] = { "region", "mmap" };

/* Where nothing else is: ordinary mappings, and attachments that want an address. */
#define ORDINARY	0x100000000000ULL
#define WANTED		0x600000000000ULL

#define SCRATCH		(64 * KIB)
#define TMPFS_SIZE	(256 * PAGE)
#define OBJECTS		(MAX_OPS + FILES_END)
/* Without an operation: longer than any takes on a machine that is busy. */
#define HANGS		240

/* The result of an operation in one world. */
struct outcome {
	int64_t ret;
	int err, sig, code;
	int64_t addr;		/* of the signal, from the start of the part that is used */
	int n;
	uint64_t vec[VEC];	/* contents, or what else was seen */
};

struct place {
	bool attached;
	int flags;
	char *attachment;
	char *addr[WORLDS];
};

/* The mapping at a page of the region. */
struct page {
	int object;		/* -1: nothing */
	uint64_t index;		/* of the page in the object's file */
	int prot;
	int advice;		/* about huge pages */
	bool maybe;		/* in the region's page tables */
	bool let_go;		/* of by the region on advice, maybe not by ordinary mappings */
	bool zapped;		/* a fault nearby may bring it in again */
};

struct object {
	int file;		/* ANON, TMPFS, .. */
	int inode;		/* objects with the same number have the same content */
	bool huge;
	int fd[WORLDS];
};

enum command { PERFORM, CHANGE_REGION, CHANGE_MMAP, SPIN, START, END };

/* Shared by the driver, the workers and the process that waits for all. */
static struct shared {
	/* The list, and what came of it. */
	struct op ops[MAX_OPS];
	int n_ops;
	volatile int current;
	volatile bool differs;
	uint64_t what;		/* the same for the same sort of difference */
	char text[4096];
	uint64_t done[KINDS], worked[KINDS];
	uint64_t explained[32];

	/* The operation that is being done. */
	struct op op;
	enum command command[WORKERS];
	volatile uint32_t turn[WORKERS], finished[WORKERS];
	volatile uint32_t spinning, stop_spinning;
	volatile pid_t pid[WORKERS], driver;
	struct outcome out[WORLDS];
	bool ask_mmap;

	/* The state of both worlds. */
	int config, thp;
	struct place places[WORKERS][PLACES];
	struct page pages[PAGES];
	/* As in struct page, of files by their inode: they may be mapped elsewhere, too. */
	bool let_go[FILES_END][PAGES];
	struct object objects[OBJECTS];
	int n_objects;
} *shared;

static int spoiled = -1;
static bool have_thp, have_disk, have_huge;

/* Of an episode; descriptors are common to its processes. */
static int region_fd;
static uint64_t window;		/* where in the region the part that is used begins */
static int scratch[WORLDS], direct[WORLDS];
static int me;			/* the number of the worker that this is */

static const uint64_t windows[] = {
	0,
	GIB - SPAN / 2,		/* the middle is the end of a table of PMDs */
	SLOT - SPAN / 2,	/* or of a slot */
};

/*
 * The differences.
 */

/* Within an object that consists of huge pages of hugetlbfs? */
static bool huge_around(int64_t at)
{
	const struct page *page = &shared->pages[at / PAGE];

	return at >= 0 && at < (int64_t)SPAN && page->object >= 0 &&
	       shared->objects[page->object].huge;
}

static bool huge_in(const struct op *op)
{
	int64_t at;

	for (at = op->at & -PAGE; at < op->at + op->len + (int64_t)PAGE; at += PAGE)
		if (huge_around(at) || huge_around(at - PAGE))
			return true;
	return op->kind == op_map && (op->file == HUGETLB || op->flags & MAP_HUGETLB);
}

static bool aligned(const struct op *op)
{
	return op->at % PAGE == 0;
}

static bool both_fail(const struct outcome *r, const struct outcome *m)
{
	return r->ret == -1 && m->ret == -1 && !r->sig && !m->sig;
}

static int refused_size(const struct op *op)
{
	int64_t unit = op->kind == op_map && huge_in(op) ? HUGE : PAGE;

	if (aligned(op) && op->len && op->at + (op->len + unit - 1) / unit * unit > (int64_t)SPAN)
		return ENOMEM;
	return 0;
}

static int refused_length(const struct op *op)
{
	return (op->kind == op_protect || op->kind == op_advise) && !op->len ? EINVAL : 0;
}

static int refused_prot(const struct op *op)
{
	return (op->kind == op_map || op->kind == op_protect) &&
	       op->prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC) ? EINVAL : 0;
}

static int refused_flags(const struct op *op)
{
	int allowed = MAP_TYPE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE | MAP_NORESERVE |
		      MAP_FIXED;

	return op->kind == op_map && op->flags & ~allowed ? EINVAL : 0;
}

static int refused_private(const struct op *op)
{
	return op->kind == op_map && (op->flags & MAP_TYPE) == MAP_PRIVATE ? EINVAL : 0;
}

/* For mmap() a regular file may have any size. */
static int refused_end(const struct op *op)
{
	return op->kind == op_map && op->file == EXT4 && op->from > 1LL << 60 ? EOVERFLOW : 0;
}

static bool inside_huge(int64_t at)
{
	return at % (int64_t)HUGE && huge_around(at) && huge_around(at - 1);
}

/* mprotect() does not look, where nothing is to change. */
static int refused_cut(const struct op *op)
{
	int64_t end = (op->at + op->len + PAGE - 1) & -PAGE;

	return op->kind == op_protect && aligned(op) &&
	       (inside_huge(op->at) || inside_huge(end)) ? EINVAL : 0;
}

static int refused_advice(const struct op *op)
{
	switch (op->advice) {
	case MADV_DONTFORK:
	case MADV_FREE:
	case MADV_DONTDUMP:
	case MADV_WIPEONFORK:
	case UNKNOWN_ADVICE:
		return op->kind == op_advise ? EINVAL : 0;
	}
	return 0;
}

/* The first of several errors. */
static bool explains_order(const struct op *op, const struct outcome *r, const struct outcome *m)
{
	if (!both_fail(r, m) || op->kind == op_advise || classes[op->kind] != CHANGE)
		return false;
	/* For mmap() that something is there comes first. */
	return huge_in(op) || !aligned(op) || !op->len || op->from % (int64_t)PAGE ||
	       m->err == EEXIST || op->file == A_DIR || op->file == A_PIPE;
}

/* mmap() reports another error for the same reason. */
static bool explains_sum(const struct op *op, const struct outcome *r, const struct outcome *m)
{
	return both_fail(r, m) && op->kind == op_map && op->from > (int64_t)SPAN;
}

/*
 * There are two reasons: the attachment or the object does not allow the access, and
 * there is no mapping, or the access is past the end of the file.
 */
static bool explains_access(const struct op *op, const struct outcome *r, const struct outcome *m)
{
	int flags = shared->places[op->worker][op->place].flags;

	if (r->sig != SIGSEGV || r->code != SEGV_ACCERR || r->addr != m->addr)
		return false;
	if (op->kind == op_exec && m->sig == SIGBUS)
		return true;
	return m->sig == SIGSEGV && m->code == SEGV_MAPERR &&
	       (op->kind == op_exec ? !(flags & MSHARE_ATTACH_EXEC) : flags & MSHARE_ATTACH_RDONLY);
}

/* The rows that are referred to from where the two worlds are compared. */
enum { PROTECT_UNDONE = 10, MAP_UNDONE, TABLES_SHARED, MINCORE_HOLES, NOT_MERGED,
       POPULATE_READS, MAPPED_ONCE };

static const struct difference {
	const char *page, *says;
	/* The region refuses the operation with this error; mmap()'s world is not asked. */
	int (*refused)(const struct op *op);
	/* Is it what these two outcomes differ in? */
	bool (*explains)(const struct op *op, const struct outcome *r, const struct outcome *m);
} differences[] = {
	{ "mshare_map.2", "contains an unknown bit.", .refused = refused_prot },
	{ "mshare_map.2", "contains a bit that is unknown or not allowed here,",
	  .refused = refused_flags },
	{ "mshare_map.2", "or no type.", .refused = refused_private },
	{ "mshare_advise.2", "is none of those above.", .refused = refused_advice },
	{ "mshare_protect.2", "is 0.", .refused = refused_length },
	{ "mshare_map.2", "The range ends past the size of the region.", .refused = refused_size },
	{ "mshare_protect.2", "The range begins or ends inside a huge page of hugetlbfs.",
	  .refused = refused_cut },
	{ "mshare.7", "Where several errors apply, the first in this order is reported:",
	  .explains = explains_order },
	{ "mshare_map.2", "end past the largest file that the file system can have.",
	  .refused = refused_end, .explains = explains_sum },
	{ "mshare.7", "where the object or the attachment does not allow it;",
	  .explains = explains_access },
	[PROTECT_UNDONE] = { "mshare_protect.2", "no protection has changed." },
	[MAP_UNDONE] = { "mshare_map.2", "nothing has been mapped or replaced." },
	[TABLES_SHARED] = { "mshare.7", "that one of them has taken is taken for all." },
	[MINCORE_HOLES] = { "mshare.7", "tell what is behind the attachment;" },
	/* Neighbours are merged when they become equal, not when they are mapped. */
	[NOT_MERGED] = { "mshare_stat.2", "as it does with the mappings of a process." },
	[POPULATE_READS] = { "mshare_map.2", "does nothing where prot lacks PROT_READ." },
	[MAPPED_ONCE] = { "mshare_advise.2", "act on them, however many processes use them." },
};

#define DIFFERENCE(row)	(shared->explained[row]++)

/*
 * What stops an episode.
 */

static void __attribute__((format(printf, 1, 2), noreturn)) differs(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(shared->text, sizeof(shared->text), format, args);
	va_end(args);
	shared->what += (uint64_t)(uintptr_t)format;
	shared->differs = true;
	_exit(0);
}

/* Not a difference: this program, or the machine, is not as it should be. */
#define NEED(cond) do {								\
	if (!(cond))								\
		differs("%s:%d: %s is false: %m", __FILE__, __LINE__, #cond);	\
} while (0)

/*
 * In the workers.
 */

static sigjmp_buf env;
static siginfo_t fault;

static void faulted(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	fault = *info;
	siglongjmp(env, 1);
}

/* Runs a statement that accesses memory, and stores the signal that it got. */
#define GUARDED(out, base, ...) do {						\
	if (!sigsetjmp(env, 1)) {						\
		__VA_ARGS__;							\
	} else {								\
		(out)->sig = fault.si_signo;					\
		(out)->code = fault.si_code;					\
		(out)->addr = (char *)fault.si_addr - (base);			\
		(out)->ret = -1;						\
	}									\
} while (0)

static void called(struct outcome *out, int64_t ret)
{
	out->ret = ret;
	out->err = ret == -1 ? errno : 0;
}

static uint64_t hash(const void *data, size_t size)
{
	const unsigned char *byte = data;
	uint64_t sum = 0xcbf29ce484222325ULL, word;

	for (; size >= 8; size -= 8, byte += 8) {
		memcpy(&word, byte, 8);
		sum = (sum ^ word) * 0x100000001b3ULL;
		sum ^= sum >> 29;
	}
	for (; size; size--)
		sum = (sum ^ *byte++) * 0x100000001b3ULL;
	return sum;
}

static void pattern(char *buf, size_t size, uint64_t seed)
{
	size_t i;

	for (i = 0; i < size; i++)
		buf[i] = i % 8 ? (seed + i) * 31 >> 3 : RET;
}

/* Executes only code that returns, or memory that cannot be read. */
static void execute(char *addr, char *base, struct outcome *out)
{
	unsigned char byte = RET;

	GUARDED(out, base, byte = *(volatile unsigned char *)addr);
	memset(out, 0, sizeof(*out));
	out->ret = byte;
	if (byte == RET)
		GUARDED(out, base, ((void (*)(void))addr)());
}

static void compare(char *addr, char *base, struct outcome *out, int pages)
{
	static char copy[PAGE];
	int i;

	addr -= (addr - base) % PAGE;
	for (i = 0; i < pages && i < VEC; i++) {
		memset(copy, 0, sizeof(copy));
		out->sig = 0;
		GUARDED(out, base, memcpy(copy, addr + i * PAGE, PAGE));
		out->vec[i] = out->sig ? (uint64_t)out->sig << 8 | out->code : hash(copy, PAGE);
		out->sig = out->code = out->addr = out->ret = 0;
	}
	out->n = i;
}

static void futex(const struct op *op, char *addr, char *base, struct outcome *out)
{
	static const struct timespec zero;
	uint32_t *word = (uint32_t *)addr, seen = 0;

	switch (op->how) {
	case WAIT:
	case REQUEUE:
		GUARDED(out, base, seen = *(volatile uint32_t *)(addr - (addr - base) % 4));
		memset(out, 0, sizeof(*out));
		if (op->how == WAIT)
			called(out, syscall(SYS_futex, word, FUTEX_WAIT, seen, &zero));
		else
			called(out, syscall(SYS_futex, word, FUTEX_CMP_REQUEUE, 1, 1L,
					    word + 1024, seen));
		break;
	case WAIT_OTHER:
		called(out, syscall(SYS_futex, word, FUTEX_WAIT, 0x12345, &zero));
		break;
	case WAKE:
		called(out, syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX));
		break;
	case WAKE_OP:
		called(out, syscall(SYS_futex, word, FUTEX_WAKE_OP, 1, 1L, word,
				    FUTEX_OP(FUTEX_OP_SET, op->value, FUTEX_OP_CMP_EQ, 0)));
		break;
	case LOCK_PI:
		called(out, syscall(SYS_futex, word, FUTEX_LOCK_PI, 0, &zero));
		break;
	case TRYLOCK_PI:
		called(out, syscall(SYS_futex, word, FUTEX_TRYLOCK_PI, 0));
		break;
	case UNLOCK_PI:
		called(out, syscall(SYS_futex, word, FUTEX_UNLOCK_PI, 0));
		break;
	}
}

/* mincore() of mmap()'s world page by page: there it fails at a hole. */
static void core(char *addr, int world, struct outcome *out, int pages)
{
	unsigned char vec[VEC] = {};
	int i;

	if (pages > VEC)
		pages = VEC;
	if (world == REGION) {
		called(out, mincore(addr, pages * PAGE, vec));
	} else {
		for (i = 0; i < pages; i++) {
			called(out, mincore(addr + i * PAGE, PAGE, vec + i));
			if (out->ret == -1 && out->err == ENOMEM) {
				DIFFERENCE(MINCORE_HOLES);
				called(out, 0);
			}
			if (out->ret)
				break;
		}
	}
	for (i = 0; i < pages; i++)
		out->vec[i] = vec[i] & 1;
	out->n = pages;
}

static void look_at_tables(char *addr, struct outcome *out, int pages)
{
	uint64_t entries[VEC];
	int i;

	if (pages > VEC)
		pages = VEC;
	NEED(page_map(addr, entries, pages));
	for (i = 0; i < pages; i++)
		out->vec[i] = entries[i] >> 63;
	out->n = pages;
}

static void proc_mem(pid_t pid, char *addr, char *buf, size_t len, bool write, struct outcome *out)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	NEED(fd >= 0);
	called(out, write ? pwrite(fd, buf, len, (off_t)addr) : pread(fd, buf, len, (off_t)addr));
	close(fd);
}

/* Results that the manual gives for calls on a part of an attachment, without mmap()'s world. */
static void opaque(const struct op *op, struct outcome *out)
{
	const struct place *place = &shared->places[op->worker][op->place];
	char *addr = place->addr[REGION] + op->at;

	switch (op->how) {
	case PART_MPROTECT:
		called(&out[REGION], mprotect(addr, op->len, PROT_READ));
		break;
	case PART_MUNMAP:
		called(&out[REGION], munmap(addr, op->len));
		break;
	case PART_MMAP:
		called(&out[REGION], (int64_t)mmap(addr, op->len, RW, MAP_PRIVATE | MAP_ANONYMOUS |
						   MAP_FIXED, -1, 0));
		break;
	case PART_MREMAP:
		called(&out[REGION], (int64_t)mremap(addr, op->len, 2 * op->len, MREMAP_MAYMOVE));
		break;
	case PART_MLOCK:
		called(&out[REGION], mlock(addr, op->len));
		break;
	case PART_MADVISE:
		called(&out[REGION], madvise(addr, op->len, MADV_DONTNEED));
		break;
	case PART_MSYNC:
		called(&out[REGION], msync(addr, op->len, MS_SYNC));
		break;
	case PART_MSYNC_ASYNC:
		called(&out[REGION], msync(addr, op->len, MS_ASYNC));
		break;
	case PART_REMAP:
		called(&out[REGION], remap_file_pages(addr, op->len, 0, 0, 0));
		break;
	}
	out[MMAP].ret = op->how == PART_MSYNC_ASYNC ? 0 : -1;
	out[MMAP].err = op->how == PART_MSYNC_ASYNC ? 0 : EINVAL;
}

/* An access, in one of the worlds. */
static void access_world(const struct op *op, int world, struct outcome *out)
{
	bool remote = op->kind == op_vm_read || op->kind == op_vm_write ||
		      op->kind == op_mem_read || op->kind == op_mem_write;
	int whose = remote ? op->peer : op->worker;
	char *base = shared->places[whose][op->place].addr[world], *addr = base + op->at;
	pid_t pid = op->child && whose == me ? (pid_t)syscall(SYS_getpid) : shared->pid[whose];
	static char buf[SCRATCH];
	size_t len = op->len < (int64_t)SCRATCH ? op->len : SCRATCH;
	struct iovec local = { buf, len }, remote_iov = { addr, len };
	int pipes[2];

	memset(out, 0, sizeof(*out));
	memset(buf, 0, len);
	switch (op->kind) {
	case op_load:
		GUARDED(out, base, out->ret = *(volatile int64_t *)addr);
		break;
	case op_store:
		GUARDED(out, base, *(volatile int64_t *)addr = op->value);
		break;
	case op_add:
		addr -= op->at % 8;
		GUARDED(out, base,
			out->ret = __sync_fetch_and_add((int64_t *)addr, op->value << 8));
		break;
	case op_exec:
		execute(addr, base, out);
		break;
	case op_compare:
		compare(addr, base, out, op->len / PAGE);
		break;
	case op_read:
		called(out, pread(scratch[world], addr, len, op->from));
		break;
	case op_write:
	case op_direct_write:
		called(out, pwrite(op->kind == op_write ? scratch[world] : direct[world], addr,
				   len, op->from));
		if (out->ret > 0)
			NEED(pread(scratch[world], buf, out->ret, op->from) == out->ret ||
			     op->kind == op_direct_write);
		out->vec[0] = hash(buf, sizeof(buf));
		out->n = 1;
		break;
	case op_direct_read:
		called(out, pread(direct[world], addr, len, op->from));
		break;
	case op_pipe_read:
		NEED(!pipe2(pipes, O_NONBLOCK | O_CLOEXEC));
		pattern(buf, len, op->value);
		NEED(write(pipes[1], buf, len) == (ssize_t)len);
		called(out, read(pipes[0], addr, len));
		/* How much of it is gone. */
		out->vec[0] = read(pipes[0], buf, sizeof(buf));
		out->n = 1;
		close(pipes[0]);
		close(pipes[1]);
		break;
	case op_vmsplice:
		NEED(!pipe2(pipes, O_NONBLOCK | O_CLOEXEC));
		called(out, vmsplice(pipes[1], &remote_iov, 1, SPLICE_F_NONBLOCK));
		if (out->ret > 0) {
			NEED(read(pipes[0], buf, out->ret) == out->ret);
			out->vec[0] = hash(buf, out->ret);
		}
		out->n = 1;
		close(pipes[0]);
		close(pipes[1]);
		break;
	case op_vm_read:
		called(out, process_vm_readv(pid, &local, 1, &remote_iov, 1, 0));
		out->vec[0] = hash(buf, len);
		out->n = 1;
		break;
	case op_vm_write:
		pattern(buf, len, op->value);
		called(out, process_vm_writev(pid, &local, 1, &remote_iov, 1, 0));
		break;
	case op_mem_read:
	case op_mem_write:
		pattern(buf, len, op->value);
		proc_mem(pid, addr, buf, len, op->kind == op_mem_write, out);
		out->vec[0] = hash(buf, len);
		out->n = 1;
		break;
	case op_futex:
		futex(op, addr, base, out);
		break;
	case op_mincore:
		core(addr - op->at % PAGE, world, out, op->len / PAGE);
		break;
	case op_pagemap:
		look_at_tables(addr - op->at % PAGE, out, op->len / PAGE);
		break;
	}
}

static void file_access(const struct op *op, int world, struct outcome *out)
{
	static char buf[SCRATCH];
	size_t len = op->len < (int64_t)SCRATCH ? op->len : SCRATCH;
	int fd = shared->objects[op->file].fd[world];
	struct stat st;

	switch (op->kind) {
	case op_truncate:
		called(out, ftruncate(fd, op->value));
		break;
	case op_punch:
		called(out, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, op->from,
				      op->len));
		break;
	case op_allocate:
		called(out, fallocate(fd, 0, op->from, op->len));
		break;
	case op_file_read:
		memset(buf, 0, sizeof(buf));
		called(out, pread(fd, buf, len, op->from));
		out->vec[0] = hash(buf, sizeof(buf));
		break;
	case op_file_write:
		pattern(buf, len, op->value);
		called(out, pwrite(fd, buf, len, op->from));
		break;
	case op_sync:
		called(out, fsync(fd));
		break;
	}
	NEED(!fstat(fd, &st));
	out->vec[1] = st.st_size;
	out->n = 2;
}

/* The part of a line of fdinfo or maps that both have in common. */
static uint64_t kind_of_mapping(const char *perms, const char *name)
{
	char text[256];
	size_t len;

	if (!strncmp(name, "/memfd:", 7))
		name += 7;
	if (strstr(name, "/mst."))
		name = "a file on a disk";
	if (strstr(name, "/small"))
		name = "a file on tmpfs";
	len = strcspn(name, " \n");
	snprintf(text, sizeof(text), "%.4s %.*s", perms, (int)len, name);
	return hash(text, strlen(text));
}

/*
 * What is mapped where, in one of the worlds.  Returns the number of lines; MERGED
 * is how many they would be if the same things side by side were one line.
 */
static int list_mappings(int world, uint64_t *kinds, int *merged)
{
	char *base = shared->places[0][0].addr[MMAP], *text, *line, *next, perms[8], name[200];
	unsigned long start, end, last = 0;
	uint64_t kind = 0;
	int lines = 0, i;

	if (world == REGION) {
		snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", region_fd);
		text = slurp(name);
	} else {
		text = slurp("/proc/self/maps");
	}
	memset(kinds, 0, PAGES * sizeof(*kinds));
	*merged = 0;
	for (line = text; line && *line; line = next) {
		next = line + strcspn(line, "\n");
		next += !!*next;
		*name = 0;
		if (world == REGION) {
			if (sscanf(line, "mshare-object: %lx-%lx %4s %199[^\n]", &start, &end,
				   perms, name) != 4)
				continue;
			start -= window;
			end -= window;
		} else {
			if (sscanf(line, "%lx-%lx %4s %*s %*s %*s %199[^\n]", &start, &end, perms,
				   name) < 3 ||
			    start < (unsigned long)base || end > (unsigned long)base + SPAN)
				continue;
			start -= (unsigned long)base;
			end -= (unsigned long)base;
		}
		NEED(start < end && end <= SPAN);
		*merged += !lines++ || start != last || kind != kind_of_mapping(perms, name);
		kind = kind_of_mapping(perms, name);
		last = end;
		for (i = start / PAGE; i < (int)(end / PAGE); i++)
			kinds[i] = kind;
	}
	free(text);
	return lines;
}

static void objects(struct outcome *out)
{
	static uint64_t kinds[WORLDS][PAGES];
	int lines[WORLDS], merged[WORLDS], i;

	for (i = 0; i < WORLDS; i++)
		lines[i] = list_mappings(i, kinds[i], &merged[i]);
	for (i = 0; i < (int)PAGES; i++)
		if (kinds[REGION][i] != kinds[MMAP][i])
			break;
	out[REGION].n = out[MMAP].n = 3;
	out[REGION].vec[0] = merged[REGION];
	out[MMAP].vec[0] = merged[MMAP];
	if (i < (int)PAGES) {
		out[REGION].vec[1] = kinds[REGION][i];
		out[MMAP].vec[1] = kinds[MMAP][i];
		out[REGION].vec[2] = out[MMAP].vec[2] = i;
	}
	if (lines[REGION] != lines[MMAP])
		DIFFERENCE(NOT_MERGED);
	for (i = 0; i < (int)PAGES; i++)
		if ((shared->pages[i].object >= 0) != !!kinds[REGION][i])
			out[REGION].vec[1] = i + 1;
}

/* Compares the numbers of mshare_stat() with other sources of the same numbers. */
static void numbers(struct outcome *out)
{
	static uint64_t entries[PAGES], kinds[PAGES];
	struct outcome *is = &out[REGION], *should = &out[MMAP];
	char *addr = shared->places[0][0].addr[REGION];
	struct mshare_stat st = stat_of(region_fd);
	long long seen = 0, mapped = 0;
	int w, p, merged, i;

	NEED(page_map(addr, entries, PAGES));
	for (i = 0; i < (int)PAGES; i++) {
		seen += entries[i] >> 63;
		mapped += shared->pages[i].object >= 0;
	}
	is->n = should->n = 6;
	is->vec[0] = st.size;
	should->vec[0] = window + SPAN;
	is->vec[1] = st.mapped;
	should->vec[1] = mapped * PAGE;
	is->vec[2] = st.resident;
	should->vec[2] = seen * PAGE;
	is->vec[3] = st.attachments;
	for (w = 0; w < WORKERS; w++)
		for (p = 0; p < PLACES; p++)
			should->vec[3] += shared->places[w][p].attached;
	is->vec[4] = st.objects;
	should->vec[4] = list_mappings(REGION, kinds, &merged);
	addr = shared->places[0][0].attachment;
	is->vec[5] = smaps(addr, "Rss") + smaps(addr, "Shared_Hugetlb");
	should->vec[5] = seen * PAGE;
}

/*
 * What a mapping may be accessed for in a process that has the region with these
 * flags.  The processor reads whatever can be accessed at all.
 */
static int allowed(int flags, int prot)
{
	int may = PROT_READ | (flags & MSHARE_ATTACH_RDONLY ? 0 : PROT_WRITE) |
		  (flags & MSHARE_ATTACH_EXEC ? PROT_EXEC : 0);

	return prot & ~may ? (prot & may) | PROT_READ : prot;
}

static int object_of(const struct op *op)
{
	return op->file == ANON ? shared->n_objects : op->file;
}

static void dontfork(const struct place *place, char *addr, uint64_t len)
{
	if (place->flags & MSHARE_ATTACH_DONTFORK)
		NEED(!madvise(addr, len, MADV_DONTFORK));
}

/*
 * A new page waits in a batch of its CPU, from where reclaim does not take it.  Advice empties
 * that of the CPU it is given on: those of more CPUs, if it is given by each of the processes
 * that use an ordinary mapping.  Before the kernel moves pages, here none, it empties all.
 */
static void empty_batches(void)
{
	static char nothing[PAGE] __attribute__((aligned(PAGE)));

	NEED(!syscall(SYS_mbind, nothing, PAGE, MPOL_DEFAULT, NULL, 0, MPOL_MF_MOVE));
}

/* A change, with the calls on the region. */
static void change_region(const struct op *op, struct outcome *out)
{
	struct mshare_map_args args = {
		.offset = window + op->at,
		.length = op->len,
		.prot = op->prot,
		.flags = op->flags,
		.fd = op->file == ANON ? -1 : shared->objects[op->file].fd[REGION],
		.fd_offset = op->from,
	};
	int64_t ret = 0;

	if (op->kind == spoiled) {
		out->ret = op->kind == op_map ? op->at : 0;
		return;
	}
	switch (op->kind) {
	case op_map:
		ret = mshare_map(region_fd, &args, sizeof(args));
		called(out, ret == -1 ? -1 : ret - (int64_t)window);
		break;
	case op_unmap:
		called(out, mshare_unmap(region_fd, window + op->at, op->len, 0));
		break;
	case op_protect:
		called(out, mshare_protect(region_fd, window + op->at, op->len, op->prot, 0));
		break;
	case op_advise:
		if (op->advice == MADV_PAGEOUT)
			empty_batches();
		called(out, mshare_advise(region_fd, window + op->at, op->len, op->advice, 0));
		break;
	}
}

/* Runs of pages that were mapped together, from page I on. */
static int run_of(int i, int end)
{
	const struct page *first = &shared->pages[i], *page;
	int n;

	for (n = 1; i + n < end; n++) {
		page = first + n;
		if (page->object != first->object || page->prot != first->prot ||
		    page->advice != first->advice || page->index != first->index + n)
			break;
	}
	return n;
}

/* Maps such a run in mmap()'s world. */
static bool map_run(const struct place *place, int i, int n, int flags)
{
	const struct page *page = &shared->pages[i];
	const struct object *object = &shared->objects[page->object];
	uint64_t unit = object->huge ? HUGE : PAGE, len = (n * PAGE + unit - 1) / unit * unit;
	char *at = place->addr[MMAP] + i * PAGE;
	struct stat before, after;
	int fd = object->fd[MMAP];

	/* Of a huge page, also the part past the run: madvise() does not cut it. */
	NEED(!fstat(fd, &before));
	if (mmap(at, len, allowed(place->flags, page->prot), MAP_SHARED | flags, fd,
		 page->index * PAGE) != at)
		return false;
	/* A file of hugetlbfs that was truncated has grown again. */
	NEED(!fstat(fd, &after));
	if (after.st_size != before.st_size)
		NEED(!ftruncate(fd, before.st_size));
	if (page->advice)
		madvise(at, len, page->advice);
	dontfork(place, at, len);
	return true;
}

/* Undoes what mmap() and mprotect() do before they fail. */
static void as_before(const struct op *op, const struct place *place)
{
	int i, n, end = (op->at + op->len + PAGE - 1) / PAGE;

	if (end > (int)PAGES)
		end = PAGES;
	for (i = op->at / PAGE; i < end; i += n) {
		n = run_of(i, end);
		if (shared->pages[i].object < 0)
			n = 1;
		/* Huge pages were changed as a whole, or not at all. */
		else if (op->kind == op_protect)
			mprotect(place->addr[MMAP] + i * PAGE, n * PAGE,
				 allowed(place->flags, shared->pages[i].prot));
		else
			map_run(place, i, n, MAP_FIXED);
	}
}

/* The same, by the ordinary calls, in the place of one process. */
static void change_place(const struct op *op, const struct place *place, struct outcome *out)
{
	char *base = place->addr[MMAP], *addr = base + op->at;
	int flags = op->flags & ~(MAP_ANONYMOUS | MAP_HUGETLB);
	int prot = allowed(place->flags, op->prot);
	bool first = place == &shared->places[0][0];
	char *ret;

	switch (op->kind) {
	case op_map:
		/* MAP_SHARED_VALIDATE does not know MAP_FIXED_NOREPLACE. */
		if ((flags & MAP_TYPE) == MAP_SHARED_VALIDATE)
			flags = (flags & ~MAP_TYPE) | MAP_SHARED;
		if (!(flags & MAP_FIXED))
			flags |= MAP_FIXED_NOREPLACE;
		if (flags & MAP_POPULATE && !(op->prot & PROT_READ)) {
			flags &= ~MAP_POPULATE;
			DIFFERENCE(POPULATE_READS);
		}
		ret = mmap(addr, op->len, prot, flags, shared->objects[object_of(op)].fd[MMAP],
			   op->from);
		called(out, ret == MAP_FAILED ? -1 : ret - base);
		if (ret != MAP_FAILED)
			dontfork(place, addr, op->len);
		else if (first && flags & MAP_FIXED && aligned(op)) {
			as_before(op, place);
			DIFFERENCE(MAP_UNDONE);
		}
		break;
	case op_unmap:
		called(out, munmap(addr, op->len));
		break;
	case op_protect:
		called(out, mprotect(addr, op->len, prot));
		if (out->ret && first && aligned(op)) {
			as_before(op, place);
			DIFFERENCE(PROTECT_UNDONE);
		}
		break;
	case op_advise:
		/* What changes the memory, not the mapping, once. */
		if (first || (op->advice != MADV_REMOVE && op->advice != MADV_COLLAPSE))
			called(out, madvise(addr, op->len, op->advice));
		break;
	}
}

/* Where this worker reads while another makes a change. */
static const struct place *spin_place(void)
{
	const struct place *place = NULL;
	int p;

	for (p = 0; p < PLACES; p++)
		if (shared->places[me][p].attached)
			place = &shared->places[me][p];
	return place;
}

static void look_once(const struct op *op, const struct place *place, int world)
{
	struct outcome out;

	GUARDED(&out, place->addr[world], (void)*(volatile char *)(place->addr[world] + op->at));
}

/*
 * Reads in the region until it is told to stop.  What it was before and is after the
 * change is read in both worlds: a read fault allocates.
 */
static void spin(const struct op *op)
{
	const struct place *place = spin_place();
	int w;

	for (w = 0; w < WORLDS && place; w++)
		look_once(op, place, w);
	shared->spinning = 1;
	while (place && !shared->stop_spinning)
		look_once(op, place, REGION);
	if (place)
		look_once(op, place, REGION);
}

static void probe(const struct op *op);

static void change_mmap(const struct op *op)
{
	struct outcome *out = &shared->out[MMAP], other;
	int p;

	for (p = 0; p < PLACES; p++) {
		const struct place *place = &shared->places[me][p];

		if (!place->attached || !shared->ask_mmap)
			continue;
		if (!me && !p) {
			change_place(op, place, out);
			continue;
		}
		/* What failed has changed nothing. */
		if (out->ret == -1 && op->kind != op_advise)
			continue;
		memset(&other, 0, sizeof(other));
		change_place(op, place, &other);
		if (other.ret == -1 && op->kind != op_advise)
			differs("mmap's world is not the same in worker %d, place %d: %s", me, p,
				strerror(other.err));
	}
	if (op->spin == me + 1 && op->worker != me && spin_place())
		look_once(op, spin_place(), MMAP);
	probe(op);
}

/* After a change, all workers access both ends of the range. */
static void probe(const struct op *op)
{
	struct outcome out[WORLDS];
	struct op look = { .worker = me };
	char text[256];
	int p, i, w;

	for (p = 0; p < PLACES; p++) {
		if (!shared->places[me][p].attached)
			continue;
		look.place = p;
		for (i = 0; i < 4; i++) {
			look.kind = i & 1 ? op_store : op_load;
			if (!(op->probe & (i & 1 ? PROBE_STORE : PROBE_LOAD)))
				continue;
			look.at = i & 2 ? op->at + op->len - 8 : op->at;
			if (look.at < 0 || (i & 2 && op->len < 16))
				continue;
			look.value = (uint64_t)(shared->current * 8 + i) << 8 | RET;
			for (w = 0; w < WORLDS; w++)
				access_world(&look, w, &out[w]);
			if (out[0].ret == out[1].ret && out[0].sig == out[1].sig &&
			    out[0].code == out[1].code && out[0].addr == out[1].addr)
				continue;
			for (w = 0; w < (int)ARRAY_LEN(differences); w++)
				if (differences[w].explains &&
				    differences[w].explains(&look, &out[REGION], &out[MMAP]))
					break;
			if (w < (int)ARRAY_LEN(differences)) {
				DIFFERENCE(w);
				continue;
			}
			op_print(&look, text, sizeof(text));
			differs("probe, %s: region %#llx signal %d code %d at %#llx, "
				"mmap %#llx signal %d code %d at %#llx", text,
				(long long)out[0].ret, out[0].sig, out[0].code,
				(long long)out[0].addr, (long long)out[1].ret, out[1].sig,
				out[1].code, (long long)out[1].addr);
		}
	}
}

static void attach(const struct op *op, struct place *place, struct outcome *out)
{
	uint64_t nr = op->worker * PLACES + op->place;
	void *want = op->how ? (void *)(WANTED + nr * 2 * SLOT) : NULL;
	char *addr = mshare_attach(region_fd, want, op->flags);
	int i, n;

	called(&out[REGION], addr == MAP_FAILED ? -1 : 0);
	if (addr == MAP_FAILED)
		return;
	if (want && addr != want)
		differs("attached at %p, not at %p", addr, want);
	place->attachment = addr;
	place->flags = op->flags;
	place->addr[REGION] = addr + window;
	place->addr[MMAP] = (char *)ORDINARY + op->place * 2 * SLOT + window;
	place->attached = true;
	for (i = 0; i < (int)PAGES; i += n) {
		n = shared->pages[i].object < 0 ? 1 : run_of(i, PAGES);
		NEED(shared->pages[i].object < 0 || map_run(place, i, n, MAP_FIXED_NOREPLACE));
	}
}

static void detach(const struct op *op, struct place *place, struct outcome *out)
{
	struct op look = { .kind = op_load, .worker = op->worker, .place = op->place };
	uint64_t slots = (window + SPAN + SLOT - 1) / SLOT * SLOT;
	void *addr;
	int w;

	switch (op->how) {
	case BY_DETACH:
		called(&out[REGION], mshare_detach(place->attachment, 0));
		break;
	case BY_MUNMAP:
		called(&out[REGION], munmap(place->attachment, slots));
		break;
	case BY_MMAP:
		addr = mmap(place->attachment, slots, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
		called(&out[REGION], addr == place->attachment && !munmap(addr, slots) ? 0 : -1);
		break;
	}
	called(&out[MMAP], munmap(place->addr[MMAP], SPAN));
	place->attached = false;
	if (out[REGION].ret || out[MMAP].ret)
		return;
	/* Nothing is left where it was. */
	for (w = 0; w < WORLDS; w++) {
		struct outcome seen;

		access_world(&look, w, &seen);
		out[w].vec[0] = seen.sig << 8 | seen.code;
		out[w].n = 1;
		NEED(seen.sig);
	}
}

static void serve(void);

/* The child goes on as the worker. */
static void replace(void)
{
	pid_t pid = syscall(SYS_clone, CLONE_FILES | CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);

	NEED(pid >= 0);
	if (pid) {
		shared->pid[me] = pid;
		_exit(0);
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* All that one worker does in both worlds. */
static void perform(const struct op *op)
{
	struct outcome *out = shared->out;
	struct place *place = &shared->places[op->worker][op->place];
	pid_t pid = 0;
	int w;

	if (op->child) {
		pid = fork();
		NEED(pid >= 0);
		if (pid) {
			w = wait_for(pid);
			if (w)
				differs("the child of worker %d ended with status %d", me, w);
			return;
		}
	}
	for (w = 0; w < WORLDS; w++) {
		if (classes[op->kind] == ACCESS && op->kind != op_opaque)
			access_world(op, w, &out[w]);
		else if (classes[op->kind] == FILES)
			file_access(op, w, &out[w]);
	}
	switch (op->kind) {
	case op_opaque:
		opaque(op, out);
		break;
	case op_attach:
		attach(op, place, out);
		break;
	case op_detach:
		detach(op, place, out);
		break;
	case op_replace:
		replace();
		break;
	case op_objects:
		objects(out);
		break;
	case op_stat:
		numbers(out);
		break;
	}
	if (op->child)
		_exit(0);
}

static void futex_wait(volatile uint32_t *word, uint32_t value)
{
	struct timespec second = { .tv_sec = 1 };

	syscall(SYS_futex, word, FUTEX_WAIT, value, &second);
}

static void futex_wake(volatile uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, 1);
}

/* A worker: what it is told, until it is told to end. */
static void serve(void)
{
	for (;;) {
		const struct op *op = &shared->op;

		while (shared->turn[me] == shared->finished[me])
			futex_wait(&shared->turn[me], shared->finished[me]);
		switch (shared->command[me]) {
		case PERFORM:
			perform(op);
			break;
		case CHANGE_REGION:
			change_region(op, &shared->out[REGION]);
			break;
		case CHANGE_MMAP:
			change_mmap(op);
			break;
		case SPIN:
			spin(op);
			break;
		case START:
			break;
		case END:
			_exit(0);
		}
		__atomic_store_n(&shared->finished[me], shared->turn[me], __ATOMIC_SEQ_CST);
		futex_wake(&shared->finished[me]);
	}
}

/*
 * In the driver.
 */

static void dead(int w)
{
	int status = -1;

	waitpid(shared->pid[w], &status, WNOHANG);
	if (!shared->differs)
		differs("worker %d ended with status %#x", w, status);
	_exit(0);
}

static void tell(int w, enum command command)
{
	shared->command[w] = command;
	__atomic_add_fetch(&shared->turn[w], 1, __ATOMIC_SEQ_CST);
	futex_wake(&shared->turn[w]);
}

static void await_worker(int w)
{
	uint32_t finished;
	siginfo_t info;
	pid_t pid;

	while ((finished = shared->finished[w]) != shared->turn[w]) {
		futex_wait(&shared->finished[w], finished);
		if (shared->differs)
			_exit(0);
		info.si_pid = 0;
		pid = shared->pid[w];
		/* The worker may be another process by now. */
		if (shared->finished[w] != shared->turn[w] &&
		    !waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) &&
		    info.si_pid == pid && shared->pid[w] == pid)
			dead(w);
	}
	if (shared->differs)
		_exit(0);
}

static void command(int w, enum command command)
{
	tell(w, command);
	await_worker(w);
}

static void start_worker(int w)
{
	/* Descriptors are common: objects come and go. */
	pid_t pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	struct sigaction act = { .sa_sigaction = faulted, .sa_flags = SA_SIGINFO };

	NEED(pid >= 0);
	if (!pid) {
		me = w;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sigaction(SIGSEGV, &act, NULL);
		sigaction(SIGBUS, &act, NULL);
		pin(w % cpus());
		serve();
	}
	shared->pid[w] = pid;
	command(w, START);
}

static void say_outcome(char *text, size_t size, const struct outcome *out)
{
	size_t used = snprintf(text, size, "%#llx", (long long)out->ret);
	int i;

	if (out->err)
		used += snprintf(text + used, size - used, " %s", strerrorname_np(out->err));
	if (out->sig)
		used += snprintf(text + used, size - used, " SIG%s code %d at %#llx",
				 sigabbrev_np(out->sig), out->code, (long long)out->addr);
	for (i = 0; i < out->n && used < size; i++)
		used += snprintf(text + used, size - used, "%s%llx", i ? " " : " [",
				 (long long)out->vec[i]);
	if (out->n && used < size)
		snprintf(text + used, size - used, "]");
}

/* A GUP that reads what the object does not let be read: see allowed(). */
static bool odd_prot(const struct op *op)
{
	int64_t at;
	bool odd = false;

	for (at = op->at & -PAGE; at <= op->at + op->len && at < (int64_t)SPAN; at += PAGE) {
		int prot = shared->pages[at / PAGE].prot;

		odd |= shared->pages[at / PAGE].object >= 0 && prot && !(prot & PROT_READ);
	}
	switch (op->kind) {
	case op_vm_read:
	case op_mem_read:
	case op_vmsplice:
	case op_direct_write:
	case op_futex:
		return odd;
	}
	return false;
}

static bool same(const struct outcome *a, const struct outcome *b)
{
	return a->ret == b->ret && a->err == b->err && a->sig == b->sig && a->code == b->code &&
	       a->addr == b->addr && a->n == b->n &&
	       !memcmp(a->vec, b->vec, a->n * sizeof(*a->vec));
}

static void must_be_same(const struct op *op)
{
	struct outcome *out = shared->out;
	char text[WORLDS][1500];
	unsigned int i;

	if (same(&out[REGION], &out[MMAP]) || odd_prot(op))
		return;
	for (i = 0; i < ARRAY_LEN(differences); i++) {
		if (differences[i].explains &&
		    differences[i].explains(op, &out[REGION], &out[MMAP])) {
			DIFFERENCE(i);
			return;
		}
	}
	for (i = 0; i < WORLDS; i++) {
		say_outcome(text[i], sizeof(text[i]), &out[i]);
		shared->what = shared->what * 31 + (out[i].ret == -1) + out[i].err * 7 +
			       out[i].sig * 11 + out[i].code * 13;
	}
	differs("%s %s, %s %s", world_names[0], text[0], world_names[1], text[1]);
}

/* Whether a page of a file was let go of, by whichever mapping; or NULL. */
static bool *file_let_go(const struct page *page)
{
	if (page->object < 0 || page->object >= FILES_END || page->index >= PAGES)
		return NULL;
	return &shared->let_go[shared->objects[page->object].inode][page->index];
}

/*
 * Pages that may now be in the ordinary page tables only.  A huge page that is to go in part
 * is split, which takes all of it from the page tables.
 */
static void let_go(const struct op *op)
{
	int64_t unit = shared->thp ? HUGE : PAGE, i;
	int64_t end = (op->at + op->len + unit - 1) / unit * unit / (int64_t)PAGE;

	for (i = op->at / unit * unit / (int64_t)PAGE; i < end && i < (int64_t)PAGES; i++) {
		bool *of_file = file_let_go(&shared->pages[i]);

		shared->pages[i].let_go = true;
		if (of_file)
			*of_file = true;
	}
}

/*
 * Pages of a range that may now be in the page tables: a fault brings in as many neighbours,
 * from a multiple of their number on, or from where the mapping begins.
 */
static void touched(int64_t at, int64_t len)
{
	int64_t i, end = at + (len ? len : 8) - 1;

	for (i = at / PAGE; i <= end / (int64_t)PAGE && i < (int64_t)PAGES; i++) {
		int64_t around = shared->thp || huge_around(i * PAGE) ? HUGE / PAGE : 16, j;

		for (j = i - i % around; j < i + around && j < (int64_t)PAGES; j++)
			shared->pages[j].maybe = true;
	}
}

/* Marks pages that are in no page tables now. */
static void gone(const struct op *op)
{
	int64_t i;

	for (i = op->at / PAGE; i < (op->at + op->len + (int64_t)PAGE - 1) / (int64_t)PAGE &&
	     i < (int64_t)PAGES; i++) {
		shared->pages[i].maybe = false;
		shared->pages[i].zapped = true;
	}
}

/* The same for bytes of a file, whole pages. */
static void gone_from_file(int file, uint64_t from, uint64_t to)
{
	unsigned int i;

	for (i = 0; i < PAGES; i++) {
		struct page *page = &shared->pages[i];

		if (page->object >= 0 &&
		    shared->objects[page->object].inode == shared->objects[file].inode &&
		    page->index * PAGE >= from && (page->index + 1) * PAGE <= to) {
			page->maybe = false;
			page->zapped = true;
		}
	}
}

static void compare_tables(const struct op *op)
{
	struct outcome *out = shared->out;
	int i;

	for (i = 0; i < out[REGION].n; i++) {
		int64_t nr = op->at / PAGE + i;
		bool maybe = nr < (int64_t)PAGES && shared->pages[nr].maybe;

		if (out[REGION].vec[i] && !maybe)
			differs("page %lld is still in the region's page tables", (long long)nr);
		if (out[MMAP].vec[i] && !out[REGION].vec[i]) {
			/*
			 * A fault brings in neighbours of the same mapping: of files there may
			 * be more, as mmap() merges what is side by side.
			 */
			if (shared->pages[nr].object < FILES_END)
				DIFFERENCE(NOT_MERGED);
			else if (shared->pages[nr].let_go)
				DIFFERENCE(MAPPED_ONCE);
			/* Where a process has a fault, the region may have had it before. */
			else if (!shared->pages[nr].zapped)
				differs("page %lld is in the ordinary page tables only",
					(long long)nr);
		}
		if (out[REGION].vec[i] != out[MMAP].vec[i])
			DIFFERENCE(TABLES_SHARED);
	}
}

static void compare_core(int64_t nr, uint64_t *region, uint64_t *ordinary)
{
	const struct page *page = &shared->pages[nr];
	bool *of_file;

	if (nr >= (int64_t)PAGES || page->object < 0)
		return;
	of_file = file_let_go(page);
	if ((page->let_go || (of_file && *of_file)) && !*region && *ordinary) {
		*ordinary = *region;
		DIFFERENCE(MAPPED_ONCE);
	}
	/* Of huge pages it tells what is in the page tables. */
	if (shared->objects[page->object].huge && *region && !*ordinary) {
		*ordinary = *region;
		DIFFERENCE(TABLES_SHARED);
	}
	/* What is read ahead, or is a huge page, depends on how often it is faulted in. */
	if (shared->thp || shared->objects[page->object].file == EXT4)
		*region = *ordinary;
}

static void access_step(const struct op *op)
{
	struct outcome *out = shared->out;
	bool remote = op->kind == op_vm_read || op->kind == op_vm_write ||
		      op->kind == op_mem_read || op->kind == op_mem_write;
	const struct place *place = &shared->places[remote ? op->peer : op->worker][op->place];
	int i;

	if (!place->attached)
		return;
	/* Without a child that inherits it there is nothing to look at. */
	if (op->child && place->flags & MSHARE_ATTACH_DONTFORK &&
	    (op->kind == op_pagemap || op->kind == op_mincore))
		return;
	if ((op->kind == op_direct_read || op->kind == op_direct_write) && direct[0] < 0)
		return;
	shared->done[op->kind]++;
	command(op->worker, PERFORM);
	if (op->kind != op_mincore && op->kind != op_pagemap && op->kind != op_opaque)
		touched(op->at, op->len);
	shared->worked[op->kind] += out[REGION].ret != -1 || op->kind == op_opaque;
	if (op->kind == op_pagemap) {
		compare_tables(op);
		return;
	}
	for (i = 0; op->kind == op_mincore && i < out[REGION].n; i++)
		compare_core(op->at / PAGE + i, &out[REGION].vec[i], &out[MMAP].vec[i]);
	must_be_same(op);
}

static long long spare_huge_pages(void)
{
#define POOL	"/sys/kernel/mm/hugepages/hugepages-2048kB/"
	return read_number(POOL "free_hugepages") - read_number(POOL "resv_hugepages");
}

/* A file or memory for mmap()'s world, in place of an anonymous object of the region. */
static bool new_object(const struct op *op)
{
	bool huge = op->flags & MAP_HUGETLB;
	uint64_t unit = huge ? HUGE : PAGE, size = (op->len + unit - 1) / unit * unit;
	struct object *object = &shared->objects[shared->n_objects];

	/* Both worlds take them from one pool, to which they come back a little later. */
	if (huge && (!have_huge || !BECOMES(spare_huge_pages() >= 2 * (long long)(size / HUGE))))
		return false;
	NEED(shared->n_objects < OBJECTS);
	*object = (struct object){
		.file = ANON, .inode = shared->n_objects, .huge = huge, .fd = { -1, -1 },
	};
	object->fd[MMAP] = memfd_create(huge ? "[anon_hugepage]" : "[anon]",
					MFD_CLOEXEC | (huge ? MFD_HUGETLB : 0));
	NEED(object->fd[MMAP] >= 0 && !ftruncate(object->fd[MMAP], size));
	return true;
}

/* Those of anonymous memory that is mapped nowhere. */
static void drop_objects(void)
{
	bool used[OBJECTS] = {};
	int i;

	for (i = 0; i < (int)PAGES; i++)
		if (shared->pages[i].object >= 0)
			used[shared->pages[i].object] = true;
	for (i = FILES_END; i < shared->n_objects; i++) {
		if (!used[i] && shared->objects[i].fd[MMAP] >= 0) {
			close(shared->objects[i].fd[MMAP]);
			shared->objects[i].fd[MMAP] = -1;
		}
	}
}

/* What a change that worked has made of the region. */
static void remember(const struct op *op)
{
	bool huge = op->kind == op_map && shared->objects[object_of(op)].huge;
	uint64_t unit = huge ? HUGE : PAGE, i;
	uint64_t end = op->at / PAGE + (op->len + unit - 1) / unit * unit / PAGE;
	int64_t at = op->at & -PAGE;

	for (i = at / PAGE; i < end && i < PAGES; i++) {
		struct page *page = &shared->pages[i];

		switch (op->kind) {
		case op_map:
			*page = (struct page){
				.object = object_of(op),
				.index = op->from / PAGE + i - op->at / PAGE,
				.prot = op->prot,
			};
			break;
		case op_unmap:
			*page = (struct page){ .object = -1 };
			break;
		case op_protect:
			page->prot = op->prot;
			break;
		case op_advise:
			/*
			 * Of hugetlbfs, too: to give the same advice again to a part of a
			 * huge page is no error.
			 */
			if ((op->advice == MADV_HUGEPAGE || op->advice == MADV_NOHUGEPAGE) &&
			    page->object >= 0)
				page->advice = op->advice;
			break;
		}
	}
	if (op->kind == op_map && op->file == ANON)
		shared->n_objects++;
	if (op->kind == op_map && op->flags & MAP_POPULATE && op->prot & PROT_READ)
		touched(op->at, op->len);
}

static void remember_advice(const struct op *op, const struct outcome *out)
{
	bool most = !out->ret || (out->err == ENOMEM && !refused_size(op));

	/* As much of it as there is. */
	if (most)
		remember(op);
	switch (op->advice) {
	case MADV_DONTNEED:
	case MADV_REMOVE:
		if (most && !huge_in(op))
			gone(op);
		break;
	case MADV_COLD:
	case MADV_PAGEOUT:
		if (most && (op->advice == MADV_PAGEOUT || shared->thp))
			let_go(op);
		break;
	case MADV_POPULATE_READ:
	case MADV_POPULATE_WRITE:
	case MADV_WILLNEED:
	case MADV_COLLAPSE:
		touched(op->at, op->len);
		break;
	}
}

/* What only the region refuses: 0, or an errno. */
static int refused(const struct op *op)
{
	unsigned int i;
	int err;

	for (i = 0; i < ARRAY_LEN(differences); i++) {
		err = differences[i].refused ? differences[i].refused(op) : 0;
		if (err) {
			DIFFERENCE(i);
			return err;
		}
	}
	return 0;
}

/*
 * Would this make room in the small file system?  Pages that were never written go with
 * their space, and may go in the region only: later operations would end differently.
 */
static bool makes_room(const struct op *op)
{
	int64_t i;

	if (op->kind != op_advise || op->advice != MADV_PAGEOUT || op->at < 0)
		return false;
	for (i = op->at / PAGE; i < (int64_t)PAGES && i * (int64_t)PAGE < op->at + op->len; i++)
		if (shared->pages[i].object == SMALL)
			return true;
	return false;
}

static void change_step(const struct op *op)
{
	struct outcome *out = shared->out;
	int err = refused(op), w, spinner = op->spin - 1;

	if (makes_room(op))
		return;
	if (op->kind == op_map) {
		if ((op->file == EXT4 && !have_disk) || (op->file == HUGETLB && !have_huge))
			return;
		if (op->file == ANON && !new_object(op))
			return;
	}
	if (spinner == op->worker)
		spinner = -1;
	shared->done[op->kind]++;
	if (spinner >= 0) {
		shared->spinning = shared->stop_spinning = 0;
		tell(spinner, SPIN);
		while (!shared->spinning && !shared->differs)
			sched_yield();
	}
	command(op->worker, CHANGE_REGION);
	if (spinner >= 0) {
		shared->stop_spinning = 1;
		await_worker(spinner);
	}
	shared->ask_mmap = !err;
	if (err)
		called(&out[MMAP], -1), out[MMAP].err = err;
	/* There may be another error that comes first. */
	if ((op->kind == op_map ? err == ENOMEM || err == EOVERFLOW :
				  err == EINVAL && op->kind == op_protect) &&
	    out[REGION].ret == -1)
		out[MMAP].err = out[REGION].err;
	command(0, CHANGE_MMAP);
	must_be_same(op);
	for (w = 1; w < WORKERS; w++)
		command(w, CHANGE_MMAP);
	if (op->kind == op_advise)
		remember_advice(op, &out[REGION]);
	else if (out[REGION].ret != -1)
		remember(op);
	/* It has looked once more after the change. */
	if (spinner >= 0)
		touched(op->at, 1);
	if (op->probe) {
		touched(op->at, 8);
		if (op->len >= 16)
			touched(op->at + op->len - 8, 8);
	}
	shared->worked[op->kind] += out[REGION].ret != -1;
	if (op->kind == op_map && op->file == ANON && out[REGION].ret == -1)
		close(shared->objects[shared->n_objects].fd[MMAP]);
	drop_objects();
}

static void file_step(const struct op *op)
{
	struct outcome *out = shared->out;

	if (shared->objects[op->file].fd[REGION] < 0)
		return;
	shared->done[op->kind]++;
	command(op->worker, PERFORM);
	must_be_same(op);
	shared->worked[op->kind] += out[REGION].ret != -1;
	if (out[REGION].ret)
		return;
	if (op->kind == op_truncate)
		gone_from_file(op->file, op->value, -1ULL >> 1);
	else if (op->kind == op_punch && !shared->objects[op->file].huge)
		gone_from_file(op->file, op->from, op->from + op->len);
}

static void life_step(const struct op *op)
{
	struct place *places = shared->places[op->worker];
	bool first = !op->worker && !op->place;
	pid_t pid = shared->pid[op->worker];
	int p;

	switch (op->kind) {
	case op_attach:
		if (places[op->place].attached)
			return;
		break;
	case op_detach:
		if (!places[op->place].attached || first)
			return;
		break;
	case op_kill:
		if (!op->worker)
			return;
		kill(pid, SIGKILL);
		NEED(waitpid(pid, NULL, 0) == pid);
		shared->turn[op->worker] = shared->finished[op->worker] = 0;
		memset(places, 0, sizeof(shared->places[0]));
		start_worker(op->worker);
		break;
	}
	shared->done[op->kind]++;
	if (op->kind != op_kill)
		command(op->worker, PERFORM);
	if (op->kind == op_replace) {
		NEED(waitpid(pid, NULL, 0) == pid);
		for (p = 0; p < PLACES; p++)
			if (places[p].flags & MSHARE_ATTACH_DONTFORK)
				places[p].attached = false;
	}
	must_be_same(op);
	shared->worked[op->kind] += shared->out[REGION].ret != -1;
}

/* tmpfs with little space, where nothing can be executed. */
static int small_file(void)
{
	char dir[] = "/tmp/mst.XXXXXX", path[64];
	int fd = -1;

	if (!mkdtemp(dir))
		return -1;
	if (!mount("none", dir, "tmpfs", MS_NOEXEC, "size=96k,huge=never")) {
		snprintf(path, sizeof(path), "%s/small", dir);
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (fd >= 0 && ftruncate(fd, TMPFS_SIZE)) {
			close(fd);
			fd = -1;
		}
		umount2(dir, MNT_DETACH);
	}
	rmdir(dir);
	return fd;
}

static int reopen(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags | O_CLOEXEC);
}

static void make_files(int world)
{
	int fd[FILES_END], pipes[2], i;

	for (i = 0; i < FILES_END; i++)
		fd[i] = -1;
	fd[TMPFS] = memfd(TMPFS_SIZE, 0);
	fd[TMPFS_RDONLY] = reopen(fd[TMPFS], O_RDONLY);
	fd[TMPFS_WRONLY] = reopen(fd[TMPFS], O_WRONLY);
	fd[SEALED] = memfd(TMPFS_SIZE, MFD_ALLOW_SEALING);
	NEED(fd[TMPFS_RDONLY] >= 0 && fd[TMPFS_WRONLY] >= 0 && fd[SEALED] >= 0);
	NEED(write(fd[SEALED], "sealed", 6) == 6);
	NEED(!fcntl(fd[SEALED], F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
	if (have_disk) {
		fd[EXT4] = ext4_file(TMPFS_SIZE);
		NEED(fd[EXT4] >= 0);
	}
	if (have_huge) {
		fd[HUGETLB] = memfd(2 * HUGE, MFD_HUGETLB);
		NEED(fd[HUGETLB] >= 0);
	}
	fd[SMALL] = small_file();
	NEED(!pipe(pipes));
	fd[A_PIPE] = pipes[0];
	fd[A_DIR] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (i = 0; i < FILES_END; i++) {
		shared->objects[i].file = i;
		shared->objects[i].inode = i == TMPFS_RDONLY || i == TMPFS_WRONLY ? TMPFS : i;
		shared->objects[i].huge = i == HUGETLB;
		shared->objects[i].fd[world] = fd[i];
	}
	shared->n_objects = FILES_END;
	scratch[world] = memfd(SCRATCH, 0);
	direct[world] = -1;
	if (have_disk) {
		fd[ANON] = ext4_file(SCRATCH);
		direct[world] = reopen(fd[ANON], O_RDWR | O_DIRECT);
		NEED(fd[ANON] >= 0 && direct[world] >= 0);
	}
}

static void setup(const struct op *config)
{
	struct op first = { .kind = op_attach, .flags = MSHARE_ATTACH_EXEC };
	static char text[SCRATCH];
	int i, w;

	window = windows[config->how % 3];
	shared->thp = have_thp && config->flags & 1;
	write_text("/sys/kernel/mm/transparent_hugepage/shmem_enabled",
		   shared->thp ? "advise" : "never");
	region_fd = region(window + SPAN);
	NEED(region_fd >= 0);
	pattern(text, sizeof(text), 1);
	for (i = 0; i < (int)PAGES; i++)
		shared->pages[i].object = -1;
	for (w = 0; w < WORLDS; w++) {
		make_files(w);
		NEED(pwrite(scratch[w], text, SCRATCH, 0) == SCRATCH);
		if (direct[w] >= 0)
			NEED(pwrite(direct[w], text, SCRATCH, 0) == SCRATCH || errno == EINVAL);
	}
	for (w = 0; w < WORKERS; w++)
		start_worker(w);
	shared->op = first;
	command(0, PERFORM);
	NEED(!shared->out[REGION].ret);
}

static void __attribute__((noreturn)) drive(void)
{
	static const struct op no_config = { .kind = op_config };
	int i, w;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setup(shared->ops->kind == op_config ? shared->ops : &no_config);
	for (i = 0; i < shared->n_ops; i++) {
		shared->current = i;
		shared->op = shared->ops[i];
		memset(shared->out, 0, sizeof(shared->out));
		switch (classes[shared->op.kind]) {
		case SETUP:
			break;
		case ACCESS:
			access_step(&shared->op);
			break;
		case CHANGE:
			change_step(&shared->op);
			break;
		case FILES:
			file_step(&shared->op);
			break;
		case LIFE:
			life_step(&shared->op);
			break;
		case LOOK:
			shared->done[shared->op.kind]++;
			command(0, PERFORM);
			must_be_same(&shared->op);
			shared->worked[shared->op.kind]++;
			break;
		}
	}
	for (w = 0; w < WORKERS; w++)
		tell(w, END);
	for (w = 0; w < WORKERS; w++)
		if (wait_for(shared->pid[w]))
			differs("worker %d does not end well", w);
	_exit(0);
}

/*
 * In the process that waits for all of it.
 */

/* Does a list of operations in new processes; true if the worlds differ. */
static bool episode(const struct op *ops, int n)
{
	static int watched;
	int status, i, quiet = 0;
	struct timespec tick = { .tv_nsec = 20 * 1000 * 1000 };
	sigset_t child;
	pid_t pid;

	memcpy(shared->ops, ops, n * sizeof(*ops));
	shared->n_ops = n;
	shared->current = 0;
	shared->differs = false;
	shared->what = 0;
	*shared->text = 0;
	memset((void *)shared->turn, 0, sizeof(shared->turn));
	memset((void *)shared->finished, 0, sizeof(shared->finished));
	memset((void *)shared->pid, 0, sizeof(shared->pid));
	memset(shared->places, 0, sizeof(shared->places));
	memset(shared->pages, 0, sizeof(shared->pages));
	memset(shared->let_go, 0, sizeof(shared->let_go));
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		perror("# fork");
		exit(1);
	}
	if (!pid) {
		sigprocmask(SIG_UNBLOCK, &child, NULL);
		drive();
	}
	watched = -1;
	while (!waitpid(pid, &status, WNOHANG)) {
		sigtimedwait(&child, NULL, &tick);
		if (watched != shared->current)
			quiet = 0;
		watched = shared->current;
		if (++quiet > HANGS * 50) {
			snprintf(shared->text, sizeof(shared->text), "it hangs");
			shared->differs = true;
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			break;
		}
	}
	for (i = 0; i < WORKERS; i++)
		if (shared->pid[i])
			kill(shared->pid[i], SIGKILL);
	if (!shared->differs && status) {
		snprintf(shared->text, sizeof(shared->text), "the driver ended with status %#x",
			 status);
		shared->differs = true;
	}
	/* It is freed a little later, also if an operation failed. */
	if (!sys_mshare_becomes("regions", 0) && !shared->differs) {
		snprintf(shared->text, sizeof(shared->text), "the region is not freed");
		shared->differs = true;
	}
	return shared->differs;
}

static int tries_left;

/* The same again: the same sort of operation differs, in the same way. */
static bool still(const struct op *ops, int n, enum kind kind, uint64_t what)
{
	if (tries_left-- <= 0)
		return false;
	return episode(ops, n) && shared->ops[shared->current].kind == kind &&
	       shared->what == what;
}

/* Leaves out what is not needed. */
static int shorten(struct op *ops, int n)
{
	enum kind kind = ops[shared->current].kind;
	uint64_t what = shared->what;
	struct op *fewer = malloc(MAX_OPS * sizeof(*ops));
	static const char *const plain[] = { "child", "probe", "spin", "how", "flags", "from" };
	int size, at, i, keep;
	unsigned int f, p;

	n = shared->current + 1;
	tries_left = strcmp(shared->text, "it hangs") ? 800 : 12;
	for (i = 0; i < 3 && !still(ops, n, kind, what); i++)
		;
	if (i == 3) {
		printf("# not again in three runs: this is all of the list\n");
		free(fewer);
		return n;
	}
	for (size = n / 2; size; size /= 2) {
		/* The first may be the config, the last is what differs. */
		for (at = ops->kind == op_config; at < n - 1;) {
			keep = at + size < n - 1 ? n - at - size : 1;
			memcpy(fewer, ops, at * sizeof(*ops));
			memcpy(fewer + at, ops + n - keep, keep * sizeof(*ops));
			if (still(fewer, at + keep, kind, what)) {
				n = at + keep;
				memcpy(ops, fewer, n * sizeof(*ops));
			} else {
				at += size;
			}
		}
	}
	/* Simpler operations. */
	for (i = 0; i < n; i++) {
		for (f = 0; f < ARRAY_LEN(op_fields); f++) {
			int64_t *field = op_field(&ops[i], f), was = *field;

			for (p = 0; p < ARRAY_LEN(plain); p++)
				if (was && !strcmp(op_fields[f].name, plain[p]))
					break;
			if (p == ARRAY_LEN(plain))
				continue;
			*field = 0;
			if (!still(ops, n, kind, what))
				*field = was;
		}
	}
	free(fewer);
	return n;
}

static void print_list(const struct op *ops, int n, const char *before)
{
	char text[512];
	int i;

	for (i = 0; i < n; i++) {
		op_print(&ops[i], text, sizeof(text));
		printf("%s%s\n", before, text);
	}
}

static void report(struct op *ops, int n)
{
	char text[512];

	op_print(&ops[shared->current], text, sizeof(text));
	printf("# %d operations, the last is %s: %s\n", shared->current + 1, text, shared->text);
	fflush(stdout);
	n = shorten(ops, n);
	/* Once more, for what it says now. */
	episode(ops, n);
	printf("# %d operations are enough: %s\n", n, shared->text);
	print_list(ops, n, "#   ");
	fflush(stdout);
}

static void to_log(uint64_t seed, uint64_t nr)
{
	char text[100];

	/* If the machine dies, this is the last line. */
	snprintf(text, sizeof(text), "differ: seed %llu episode %llu\n", (unsigned long long)seed,
		 (unsigned long long)nr);
	write_text("/dev/kmsg", text);
}

static int read_list(const char *path, struct op *ops)
{
	FILE *file = fopen(path, "r");
	char line[512], *text;
	int n = 0, nr = 0;

	if (!file) {
		perror(path);
		return -1;
	}
	while (fgets(line, sizeof(line), file)) {
		nr++;
		/* As they are printed, or without the sign of a comment. */
		text = line + strspn(line, "# \t\n");
		if (!*text)
			continue;
		if (n == MAX_OPS || !op_parse(text, &ops[n])) {
			fprintf(stderr, "%s:%d: %s\n", path, nr,
				n == MAX_OPS ? "too many operations" : "no operation");
			return -1;
		}
		n++;
	}
	fclose(file);
	return n;
}

/* What the episodes need, and what may be missing on a machine. */
static bool prepare(void)
{
	static const char enabled[] = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

	shared = mmap(NULL, sizeof(*shared), RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED || sys_mshare("regions") < 0) {
		fprintf(stderr, "# no regions in this kernel\n");
		return false;
	}
	have_disk = disk_mount();
	have_huge = huge_pages(HUGE, 24);
	have_thp = !access(enabled, W_OK);
	/* What it does when it likes is not the same twice. */
	write_number("/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs",
		     1000000000);
	fprintf(stderr, "# disk: %s, huge pages: %s, transparent ones: %s\n",
		have_disk ? "yes" : "no", have_huge ? "yes" : "no", have_thp ? "yes" : "no");
	return true;
}

static void statistics(uint64_t *done)
{
	unsigned int i;

	for (i = 0; i < KINDS; i++) {
		*done += shared->done[i];
		if (i != op_config)
			fprintf(stderr, "# %-12s %8llu of %8llu\n", kind_names[i],
				(unsigned long long)shared->worked[i],
				(unsigned long long)shared->done[i]);
	}
	for (i = 0; i < ARRAY_LEN(differences); i++)
		fprintf(stderr, "# %8llu times, %s: %s\n",
			(unsigned long long)shared->explained[i], differences[i].page,
			differences[i].says);
}

static int usage(void)
{
	fprintf(stderr, "usage: differ [-s KIND] SECONDS SEED | -n N SEED | -e EPISODE SEED | "
			"-l EPISODE SEED | -r FILE\n");
	return 2;
}

int main(int argc, char **argv)
{
	uint64_t seed = 0, nr = 0, first = 0, limit = -1ULL, done = 0;
	const char *file = NULL;
	static struct op ops[MAX_OPS];
	bool list = false, bad = false;
	time_t end = 0;
	int opt, n;

	while ((opt = getopt(argc, argv, "n:e:l:r:s:")) != -1) {
		switch (opt) {
		case 'n':
			limit = strtoull(optarg, NULL, 0);
			break;
		case 'l':
			list = true;
			/* fallthrough */
		case 'e':
			first = strtoull(optarg, NULL, 0);
			limit = first + 1;
			break;
		case 'r':
			file = optarg;
			break;
		case 's':
			for (spoiled = 0; spoiled < KINDS; spoiled++)
				if (!strcmp(optarg, kind_names[spoiled]) &&
				    classes[spoiled] == CHANGE)
					break;
			if (spoiled == KINDS)
				return usage();
			break;
		default:
			return usage();
		}
	}
	if (argc - optind != (file ? 0 : limit == -1ULL ? 2 : 1))
		return usage();
	if (!file)
		seed = strtoull(argv[argc - 1], NULL, 0);
	if (list) {
		print_list(ops, rnd_list(seed, first, true, ops), "");
		return 0;
	}
	printf("TAP version 13\n1..1\n");
	fflush(stdout);
	if (!prepare()) {
		printf("not ok 1 differ\n");
		return 1;
	}
	if (file) {
		n = read_list(file, ops);
		if (n < 0)
			return 2;
		bad = episode(ops, n);
		if (bad)
			printf("# operation %d: %s\n", shared->current + 1, shared->text);
		printf("%sok 1 differ %s\n", bad ? "not " : "", file);
		return bad;
	}
	if (limit == -1ULL)
		end = time(NULL) + atoi(argv[optind]);
	for (nr = first; nr < limit && (!end || time(NULL) < end) && !bad; nr++) {
		to_log(seed, nr);
		n = rnd_list(seed, nr, true, ops);
		bad = episode(ops, n);
		if (bad) {
			printf("# seed %llu, episode %llu\n", (unsigned long long)seed,
			       (unsigned long long)nr);
			report(ops, n);
		}
	}
	statistics(&done);
	printf("%sok 1 differ seed %llu: %llu operations in %llu episodes\n", bad ? "not " : "",
	       (unsigned long long)seed, (unsigned long long)done,
	       (unsigned long long)(nr - first));
	return bad;
}
