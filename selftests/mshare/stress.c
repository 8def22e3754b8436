// SPDX-License-Identifier: GPL-2.0
/*
 * Random calls of the family and of the rest of the kernel on two regions, by
 * several processes that are killed at random.
 *
 *	stress SECONDS SEED
 *
 * Every word that is ever stored says to which region and offset it belongs, so
 * that whatever is read is either 0 or known: anything else came from a page
 * that is not there any more.  Files are mapped at the offset that they have in
 * the region, for the same reason.
 */
#define _GNU_SOURCE
#include "mst.h"
#include "random.h"

#include <sched.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORKERS		6
#define REGIONS		2
#define SPAN		(64 * MIB)	/* of a region is used */
#define FILE_SIZE	(16 * MIB)	/* the tag repeats at this distance */

enum op {
	LOAD, STORE, MAP, MAP_FIXED_OBJ, MAP_HUGE, UNMAP, PROTECT, ADVISE, ATTACH, DETACH, FORK, VM_READ,
	VM_WRITE, READ_INTO, VMSPLICE, STAT, WALK, TRUNCATE, OTHER_CALLS,
	FILE_ATTACH, FILE_GROW, FILE_CHANGE, FILE_UNLINK, FILE_CGROUP, SHRINK, OPS
};

static const char *const op_names[OPS] = {
	"load", "store", "map", "map_fixed", "map_huge", "unmap", "protect", "advise", "attach",
	"detach", "fork", "vm_read", "vm_write", "read_into", "vmsplice", "stat", "walk", "truncate",
	"other_calls", "file_attach", "file_grow", "file_change", "file_unlink", "file_cgroup",
	"shrink",
};

/* How often, in relation to each other. */
static const int weights[OPS] = {
	[LOAD] = 60, [STORE] = 40, [MAP] = 15, [MAP_FIXED_OBJ] = 10, [MAP_HUGE] = 2, [UNMAP] = 12,
	[PROTECT] = 12, [ADVISE] = 15, [ATTACH] = 4, [DETACH] = 3, [FORK] = 2, [VM_READ] = 8,
	[VM_WRITE] = 8, [READ_INTO] = 8, [VMSPLICE] = 4, [STAT] = 3, [WALK] = 1, [TRUNCATE] = 2,
	[OTHER_CALLS] = 4, [FILE_ATTACH] = 5, [FILE_GROW] = 3, [FILE_CHANGE] = 2,
	[FILE_UNLINK] = 1, [FILE_CGROUP] = 1, [SHRINK] = 1,
};

static struct shared {
	volatile int stop;
	volatile uint64_t bad;
	volatile uint64_t bad_region, bad_offset, bad_value;
	volatile pid_t pids[WORKERS];
	uint64_t done[OPS], worked[OPS];
} *shared;

static int region_fd[REGIONS], file_fd[REGIONS], reader_fd[REGIONS], huge_fd[REGIONS];

struct attachment {
	char *addr;
	int region;
	bool read_only;
};
static struct attachment attachments[8];
static int n_attachments;

static uint64_t tag(int r, uint64_t offset)
{
	return 0x5a00000000000000ULL | (uint64_t)(r + 1) << 48 | offset % FILE_SIZE;
}

static void check(int r, uint64_t offset, uint64_t value)
{
	if (value && value != tag(r, offset) && !__sync_fetch_and_add(&shared->bad, 1)) {
		shared->bad_region = r;
		shared->bad_offset = offset;
		shared->bad_value = value;
	}
}

static bool step(enum op op);

static sigjmp_buf env;

static void faulted(int sig)
{
	(void)sig;
	siglongjmp(env, 1);
}

/* A random place of a random length, in units that make collisions likely. */
static void place(uint64_t *offset, uint64_t *length)
{
	static const uint64_t units[] = { PAGE, PAGE, 16 * PAGE, HUGE };
	uint64_t unit = ONE_OF(units);

	*offset = rnd(SPAN / unit) * unit;
	*length = (1 + rnd(unit == HUGE ? 4 : 32)) * unit;
	if (*offset + *length > SPAN)
		*length = SPAN - *offset;
}

static bool map_something(int r, int flags)
{
	uint64_t offset, length;

	place(&offset, &length);
	if (rnd(2))
		return map_obj(region_fd[r], offset, length, rnd_prot(), MAP_SHARED | MAP_ANONYMOUS |
			       flags | (one_in(4) ? MAP_POPULATE : 0), -1, 0) >= 0;
	/* At its own place in the file, which repeats. */
	if (length > FILE_SIZE - offset % FILE_SIZE)
		length = FILE_SIZE - offset % FILE_SIZE;
	return map_obj(region_fd[r], offset, length, rnd_prot(),
		       MAP_SHARED | flags | (one_in(4) ? MAP_POPULATE : 0), file_fd[r],
		       offset % FILE_SIZE) >= 0;
}

static bool map_huge(int r)
{
	uint64_t offset = rnd(SPAN / HUGE) * HUGE;

	if (huge_fd[r] < 0)
		return false;
	return map_obj(region_fd[r], offset, HUGE, RW, MAP_SHARED | (rnd(2) ? MAP_FIXED : 0),
		       huge_fd[r], offset % FILE_SIZE) >= 0;
}

static bool attach(int r)
{
	unsigned int flags = (rnd(3) ? 0 : MSHARE_ATTACH_RDONLY) |
			     (rnd(4) ? 0 : MSHARE_ATTACH_EXEC) |
			     (rnd(4) ? 0 : MSHARE_ATTACH_DONTFORK);
	char *addr;

	if (n_attachments == 8)
		return false;
	addr = mshare_attach(region_fd[r], NULL, flags);
	if (addr == MAP_FAILED)
		return false;
	attachments[n_attachments++] =
		(struct attachment){ addr, r, flags & MSHARE_ATTACH_RDONLY };
	return true;
}

static bool detach(void)
{
	int i = rnd(n_attachments);
	char *addr = attachments[i].addr;
	bool ok;

	if (n_attachments < 2)
		return false;
	ok = rnd(2) ? !mshare_detach(addr, 0) : !munmap(addr, SLOT);
	if (ok)
		attachments[i] = attachments[--n_attachments];
	return ok;
}

static bool advise(int r)
{
	uint64_t offset, length;

	place(&offset, &length);
	return !mshare_advise(region_fd[r], offset, length, rnd_advice(), 0);
}

/* The memory of another worker, at an address that is good in our own. */
static bool vm_access(struct attachment *a, bool write)
{
	uint64_t offset = rnd(SPAN / 8) * 8, value = tag(a->region, offset);
	struct iovec local = { &value, 8 }, remote = { a->addr + offset, 8 };
	pid_t pid = rnd(2) ? getpid() : shared->pids[rnd(WORKERS)];

	if (write) {
		/* In another process that address may be of another region. */
		return process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == 8;
	}
	if (process_vm_readv(pid, &local, 1, &remote, 1, 0) != 8)
		return false;
	if (pid == getpid())
		check(a->region, offset, value);
	return true;
}

static bool read_into(struct attachment *a)
{
	static int scratch = -1;
	uint64_t offset = rnd(SPAN / PAGE) * PAGE, words[PAGE / 8];
	unsigned int i;

	if (scratch < 0)
		scratch = memfd(PAGE, 0);
	for (i = 0; i < PAGE / 8; i++)
		words[i] = tag(a->region, offset + i * 8);
	if (pwrite(scratch, words, PAGE, 0) != PAGE)
		return false;
	return pread(scratch, a->addr + offset, PAGE, 0) == PAGE;
}

static bool splice_out(struct attachment *a)
{
	uint64_t offset = rnd(SPAN / PAGE) * PAGE, words[PAGE / 8];
	struct iovec iov = { a->addr + offset, PAGE };
	int pair[2];
	unsigned int i;
	bool ok;

	if (pipe(pair))
		return false;
	ok = vmsplice(pair[1], &iov, 1, SPLICE_F_NONBLOCK) == PAGE;
	/* Pinned: what others do meanwhile must not matter. */
	if (ok && rnd(2))
		mshare_unmap(region_fd[a->region], offset, PAGE, 0);
	if (ok && read(pair[0], words, PAGE) == PAGE)
		for (i = 0; i < PAGE / 8; i++)
			check(a->region, offset + i * 8, words[i]);
	close(pair[0]);
	close(pair[1]);
	return ok;
}

static bool other_calls(struct attachment *a)
{
	uint64_t offset = rnd(SPAN / PAGE) * PAGE;
	unsigned char vec[16];
	char *p;

	switch (rnd(6)) {
	case 0:
		return mprotect(a->addr + offset, PAGE, PROT_NONE) == -1;
	case 1:
		return madvise(a->addr + offset, 16 * PAGE, MADV_DONTNEED) == -1;
	case 2:
		return !mincore(a->addr + offset, 16 * PAGE, vec);
	case 3:
		return munmap(a->addr + offset, PAGE) == -1;
	case 4:
		/* Our own page tables next to the shared ones. */
		p = mmap(NULL, 64 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			return false;
		memset(p, 1, 64 * PAGE);
		return !munmap(p, 64 * PAGE);
	default:
		return mremap(a->addr + offset, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED;
	}
}

/* The region of a file, as a reader or as a writer. */
static int open_file(int r, bool read_only)
{
	uint64_t length = rnd(3) ? 0 : rnd(2 * FILE_SIZE);

	/* Writers are rare, so that there are readers when one comes. */
	return mshare_open(read_only ? reader_fd[r] : file_fd[r], length, 0);
}

/* The words of a file are where they are in the region where it is an object. */
static bool file_attach(int r)
{
	bool read_only = rnd(4);
	int fd = open_file(r, read_only);
	char *addr;

	if (fd < 0)
		return false;
	addr = n_attachments == 8 ? MAP_FAILED :
	       mshare_attach(fd, NULL, read_only ? MSHARE_ATTACH_RDONLY : 0);
	close(fd);
	if (addr == MAP_FAILED)
		return false;
	attachments[n_attachments++] = (struct attachment){ addr, r, read_only };
	return true;
}

/* Calls that are always refused, and advice. */
static bool file_change(int r)
{
	int fd = open_file(r, false);
	uint64_t offset, length;
	bool ok;

	if (fd < 0)
		return false;
	place(&offset, &length);
	switch (rnd(4)) {
	case 0:
		ok = mshare_unmap(fd, offset, length, 0) == -1;
		break;
	case 1:
		ok = ftruncate(fd, offset) == -1;
		break;
	case 2:
		ok = map_anon(fd, offset, length, RW) == -1;
		break;
	default:
		ok = !mshare_advise(fd, offset, length, rnd_advice(), 0);
	}
	close(fd);
	return ok;
}

/* A file that is gone while its region is there. */
static bool file_unlink(int r)
{
	struct mshare_region region;
	char path[] = "/tmp/stress.XXXXXX";
	int file = mkstemp(path);
	bool ok;

	if (file < 0)
		return false;
	ok = !ftruncate(file, FILE_SIZE) && !mshare_region_open(&region, file, 0, 0);
	unlink(path);
	close(file);
	if (!ok)
		return false;
	if (!sigsetjmp(env, 1)) {
		volatile uint64_t *word = (uint64_t *)region.addr + rnd(FILE_SIZE / 8);
		uint64_t offset = (char *)word - (char *)region.addr;

		check(r, offset, *word);
		*word = tag(r, offset);
		check(r, offset, *word);
		if (!*word)
			__sync_fetch_and_add(&shared->bad, 1);
	}
	return !mshare_region_close(&region);
}

/* A region whose cgroup is removed while it is in use. */
static bool file_cgroup(int r)
{
	char dir[64];
	pid_t pid = fork();
	int status, i;

	if (pid < 0)
		return false;
	if (!pid) {
		bool ok = cgroup_make(dir, sizeof(dir)) &&
			  write_text(cgroup_file(dir, "cgroup.procs"), "0");

		n_attachments = 0;
		ok = ok && file_attach(r);
		/* Also if it failed: nothing may be left. */
		write_text("/sys/fs/cgroup/cgroup.procs", "0");
		rmdir(dir);
		for (i = 0; ok && i < 20; i++)
			step(rnd(STORE + 1));
		_exit(!ok);
	}
	return waitpid(pid, &status, 0) == pid && !status;
}

static bool fork_child(void)
{
	pid_t pid = fork();
	int i;

	if (pid < 0)
		return false;
	if (!pid) {
		rng ^= 0x1234567;
		for (i = rnd(50); i > 0; i--)
			step(rnd(STORE + 1));
		if (!rnd(4))
			kill(getpid(), SIGKILL);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	return true;
}

static bool step(enum op op)
{
	int r = rnd(REGIONS);
	struct attachment *a = &attachments[rnd(n_attachments)];
	uint64_t offset, length;
	volatile uint64_t *word;
	struct mshare_stat st;
	char path[64];

	switch (op) {
	case LOAD:
	case STORE:
		offset = rnd(SPAN / 8) * 8;
		word = (uint64_t *)(a->addr + offset);
		if (sigsetjmp(env, 1))
			return false;
		if (op == STORE) {
			*word = tag(a->region, offset);
			/* A store through a read-only attachment has not succeeded. */
			if (a->read_only)
				__sync_fetch_and_add(&shared->bad, 1);
		} else {
			check(a->region, offset, *word);
		}
		return true;
	case MAP:
		return map_something(r, 0);
	case MAP_FIXED_OBJ:
		return map_something(r, MAP_FIXED);
	case MAP_HUGE:
		return map_huge(r);
	case UNMAP:
		place(&offset, &length);
		return !mshare_unmap(region_fd[r], offset, length, 0);
	case PROTECT:
		place(&offset, &length);
		return !mshare_protect(region_fd[r], offset, length, rnd_prot(), 0);
	case ADVISE:
		return advise(r);
	case ATTACH:
		return attach(r);
	case DETACH:
		return detach();
	case FORK:
		return fork_child();
	case VM_READ:
	case VM_WRITE:
		return vm_access(a, op == VM_WRITE);
	case READ_INTO:
		return read_into(a);
	case VMSPLICE:
		return splice_out(a);
	case STAT:
		sprintf(path, "/proc/self/fdinfo/%d", region_fd[r]);
		free(slurp(path));
		return !mshare_stat(region_fd[r], &st, sizeof(st), 0);
	case WALK:
		free(slurp("/proc/self/smaps"));
		free(slurp("/proc/self/numa_maps"));
		return write_text("/proc/self/clear_refs", "1");
	case TRUNCATE:
		if (rnd(2))
			return !fallocate(file_fd[r], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					  rnd(FILE_SIZE / PAGE) * PAGE, (1 + rnd(64)) * PAGE);
		return !ftruncate(file_fd[r], rnd(FILE_SIZE / PAGE) * PAGE) &&
		       !ftruncate(file_fd[r], FILE_SIZE);
	case FILE_ATTACH:
		return file_attach(r);
	case FILE_GROW: {
		int fd = mshare_open(rnd(2) ? reader_fd[r] : file_fd[r], rnd(SPAN), 0);

		if (fd >= 0)
			close(fd);
		return fd >= 0;
	}
	case FILE_CHANGE:
		return file_change(r);
	case FILE_UNLINK:
		return file_unlink(r);
	case FILE_CGROUP:
		return file_cgroup(r);
	case SHRINK:
		return write_text("/proc/sys/vm/drop_caches", "2");
	default:
		return other_calls(a);
	}
}

static void worker(int nr, uint64_t seed)
{
	struct sigaction act = { .sa_handler = faulted };
	int i;

	rnd_seed(seed + 1);
	sigaction(SIGSEGV, &act, NULL);
	sigaction(SIGBUS, &act, NULL);
	if (!pin(nr % cpus()) || !attach(nr % REGIONS))
		_exit(1);
	while (!shared->stop && !shared->bad) {
		i = rnd_weighted(weights, OPS);
		__sync_fetch_and_add(&shared->worked[i], step(i));
		__sync_fetch_and_add(&shared->done[i], 1);
	}
	_exit(0);
}

static pid_t start(int nr, uint64_t seed)
{
	pid_t pid = fork();

	if (pid < 0) {
		perror("# fork");
		exit(1);
	}
	if (!pid)
		worker(nr, seed);
	shared->pids[nr] = pid;
	return pid;
}

int main(int argc, char **argv)
{
	uint64_t seed, generation = WORKERS, kills = 0, done = 0;
	int i, status, died = 0, never = 0;
	time_t end;

	if (argc != 3) {
		fprintf(stderr, "usage: stress SECONDS SEED\n");
		return 2;
	}
	end = time(NULL) + atoi(argv[1]);
	seed = strtoull(argv[2], NULL, 0);
	rnd_seed(seed);
	printf("TAP version 13\n1..1\n");
	fflush(stdout);
	shared = mmap(NULL, sizeof(*shared), RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	write_text("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "advise");
	mkdir("/tmp", 0777);
	for (i = 0; i < REGIONS; i++) {
		char path[64];

		region_fd[i] = region(GIB);
		file_fd[i] = memfd(FILE_SIZE, 0);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", file_fd[i]);
		reader_fd[i] = open(path, O_RDONLY | O_CLOEXEC);
		huge_fd[i] = huge_pages(HUGE, (i + 1) * 8) ? memfd(FILE_SIZE, MFD_HUGETLB) : -1;
		if (region_fd[i] < 0 || file_fd[i] < 0 || reader_fd[i] < 0) {
			printf("not ok 1 stress # cannot make the regions\n");
			return 1;
		}
	}
	for (i = 0; i < WORKERS; i++)
		start(i, seed * 1000 + i);

	while (time(NULL) < end && !shared->bad && !died) {
		sleep_ms(20 + rnd(100));
		i = rnd(WORKERS);
		if (rnd(3)) {
			kill(shared->pids[i], SIGKILL);
			kills++;
		}
		/* Only a kill ends a worker. */
		if (waitpid(shared->pids[i], &status, WNOHANG) == shared->pids[i]) {
			if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
				died = status;
				fprintf(stderr, "# worker %d ended with status %#x\n", i, status);
			}
			start(i, seed * 1000 + generation++);
		}
	}
	shared->stop = 1;
	for (i = 0; i < WORKERS; i++) {
		kill(shared->pids[i], SIGKILL);
		waitpid(shared->pids[i], NULL, 0);
	}
	for (i = 0; i < OPS; i++) {
		done += shared->done[i];
		/* An operation that never worked was not tested. */
		if (!shared->worked[i] && (i != MAP_HUGE || huge_fd[0] >= 0))
			never++;
		fprintf(stderr, "# %-12s %8llu of %8llu\n", op_names[i],
			(unsigned long long)shared->worked[i], (unsigned long long)shared->done[i]);
	}
	for (i = 0; i < REGIONS; i++)
		close(region_fd[i]);
	if (shared->bad)
		fprintf(stderr, "# %llu wrong values; first: region %llu offset %#llx value %#llx\n",
			(unsigned long long)shared->bad, (unsigned long long)shared->bad_region,
			(unsigned long long)shared->bad_offset,
			(unsigned long long)shared->bad_value);
	if (never)
		fprintf(stderr, "# %d kinds of operations never worked\n", never);
	if (shared->bad || died || never || !sys_mshare_becomes("regions", 0)) {
		printf("not ok 1 stress seed %s\n", argv[2]);
		return 1;
	}
	printf("ok 1 stress seed %s: %llu operations, %llu kills\n", argv[2],
	       (unsigned long long)done, (unsigned long long)kills);
	return 0;
}
