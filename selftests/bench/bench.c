// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include "bench.h"

#include <pthread.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

const char *const way_names[WAYS] = {
	[HUGETLB] = "hugetlb", [MSHARE_HUGE] = "mshare-huge", [MSHARE] = "mshare",
	[MMAP] = "mmap", [THREADS] = "threads",
};

void report(int row, const char *what, const char *way, uint64_t bytes, int n, double value,
	    const char *unit)
{
	printf("%d\t%s\t%s\t%ju\t%d\t%.15g\t%s\n", row, what, way, (uintmax_t)bytes, n, value,
	       unit);
	fflush(stdout);
}

const uint64_t *ladder(char **argv)
{
	static uint64_t values[32];
	unsigned int i;

	for (i = 0; argv[i] && i < 31; i++)
		values[i] = strtoull(argv[i], NULL, 0);
	values[i] = 0;
	return values;
}

static char *map(const struct memory *m)
{
	char *at, *room = NULL;

	if (m->way == HUGETLB) {
		/* The kernel shares page tables of hugetlb only for 1 GiB of addresses. */
		room = mmap(NULL, m->bytes + GIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (room == MAP_FAILED || munmap(room, m->bytes + GIB))
			err(1, "room");
		room = (char *)(((uintptr_t)room + GIB - 1) & -GIB);
	}
	at = mmap(room, m->bytes, m->prot, MAP_SHARED | (room ? MAP_FIXED_NOREPLACE : 0), m->file,
		  0);
	if (at == MAP_FAILED)
		err(1, "mmap");
	return at;
}

void memory_make(struct memory *m, enum way way, uint64_t bytes, int file)
{
	*m = (struct memory){ .way = way, .bytes = bytes, .file = file, .own_file = file < 0,
			      .region = -1, .prot = RW, .others = meminfo("Shmem:") };
	if (m->own_file) {
		if (is_huge(way) && !huge_pages(HUGE, bytes / HUGE))
			err(1, "there are no %ju free huge pages", (uintmax_t)(bytes / HUGE));
		m->file = memfd(bytes, is_huge(way) ? MFD_HUGETLB | (21 << 26) : 0);
		if (m->file < 0)
			err(1, "memfd_create");
	}
	if (has_region(way)) {
		m->region = region((bytes + GIB - 1) / GIB * GIB);
		if (m->region < 0 || map_file(m->region, 0, bytes, RW, m->file))
			err(1, "a region");
	} else if (way == THREADS) {
		m->at = map(m);
	}
}

void no_huge_pages(void)
{
	static const char all[] = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
	static const char unused[] = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
	int i;

	/* Pages in use would become surplus pages instead. */
	for (i = 0; read_number(unused) != read_number(all); i++) {
		if (i == 1000)
			errx(1, "huge pages are not freed");
		sleep_ms(10);
	}
	if (!write_text(all, "0") || read_number(all))
		errx(1, "huge pages are not given back");
}

void memory_drop(struct memory *m)
{
	/* The program may have touched a page of its own, too. */
	const long long slack = m->bytes / KIB / 64;
	int i;

	if (m->way == THREADS)
		munmap(m->at, m->bytes);
	if (m->own_file)
		close(m->file);
	if (has_region(m->way)) {
		close(m->region);
		settled();
	}
	/* A region is freed later: wait, so that it does not disturb the next figure. */
	for (i = 0; m->own_file && meminfo("Shmem:") > m->others + slack; i++) {
		if (i == 1000)
			errx(1, "memory of %s is not freed", way_names[m->way]);
		sleep_ms(10);
	}
	if (is_huge(m->way))
		no_huge_pages();
}

char *memory_enter(const struct memory *m)
{
	char *at;

	switch (m->way) {
	case MSHARE:
	case MSHARE_HUGE:
		at = mshare_attach(m->region, NULL, 0);
		if (at == MAP_FAILED)
			err(1, "mshare_attach");
		return at;
	case THREADS:
		return m->at;
	default:
		return map(m);
	}
}

void memory_leave(const struct memory *m, char *at)
{
	if (has_region(m->way) ? mshare_detach(at, 0) : m->way != THREADS && munmap(at, m->bytes))
		err(1, "leaving the memory");
}

struct member {
	const struct crowd *crowd;
	int command[2], answer[2];
	struct answer last;
	pid_t pid;
	pthread_t thread;
};

static void member_main(struct member *self)
{
	const struct memory *m = self->crowd->memory;
	struct rusage before, after;
	struct answer a;
	char *at = NULL;
	char command;

	while (read(self->command[0], &command, 1) == 1 && command != 'q') {
		a.value = 0;
		getrusage(RUSAGE_THREAD, &before);
		a.cycles = __rdtsc();
		if (command == 'e')
			at = memory_enter(m);
		else if (command == 'l')
			memory_leave(m, at);
		else
			a.value = self->crowd->job(command, at, m->bytes);
		a.cycles = __rdtsc() - a.cycles;
		getrusage(RUSAGE_THREAD, &after);
		a.faults = after.ru_minflt - before.ru_minflt + after.ru_majflt - before.ru_majflt;
		if (write(self->answer[1], &a, sizeof(a)) != sizeof(a))
			err(1, "an answer");
	}
}

void crowd_member(const struct memory *m, job_fn job)
{
	const struct crowd c = { .memory = m, .job = job };
	struct member self = { .crowd = &c, .command = { STDIN_FILENO, -1 },
			       .answer = { -1, STDOUT_FILENO } };

	member_main(&self);
}

static void *member_thread(void *arg)
{
	member_main(arg);
	return NULL;
}

static _Noreturn void become(char *const *program, const struct member *m)
{
	dup2(m->command[0], STDIN_FILENO);
	dup2(m->answer[1], STDOUT_FILENO);
	execv(program[0], program);
	err(1, "%s", program[0]);
}

#define MEMBERS	1024

void crowd_make(struct crowd *c, const struct memory *m, job_fn job)
{
	const struct rlimit files = { 8192, 8192 };

	*c = (struct crowd){ .memory = m, .job = job };
	/* It must not move later, as threads have pointers into it. */
	c->members = calloc(MEMBERS, sizeof(*c->members));
	if (!c->members || setrlimit(RLIMIT_NOFILE, &files))
		err(1, "room for a crowd");
}

void crowd_grow(struct crowd *c, int count)
{
	pthread_attr_t attr;
	struct member *new;
	int i;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 * KIB);
	for (; c->count < count; c->count++) {
		new = &c->members[c->count];
		new->crowd = c;
		if (c->count == MEMBERS || pipe2(new->command, O_CLOEXEC) ||
		    pipe2(new->answer, O_CLOEXEC))
			err(1, "member %d", c->count);
		if (c->memory->way == THREADS) {
			new->pid = getpid();
			errno = pthread_create(&new->thread, &attr, member_thread, new);
			if (errno)
				err(1, "pthread_create");
		} else {
			fflush(NULL);
			new->pid = fork();
			if (new->pid < 0)
				err(1, "fork");
			if (!new->pid) {
				prctl(PR_SET_PDEATHSIG, SIGKILL);
				if (c->program)
					become(c->program, new);
				member_main(new);
				_exit(0);
			}
		}
		/* Warm up the stack, the code and the pipes. */
		for (i = 0; i < 2; i++)
			crowd_ask(c, c->count, 'w');
	}
	pthread_attr_destroy(&attr);
}

static void request(struct crowd *c, int i, char command)
{
	if (write(c->members[i].command[1], &command, 1) != 1)
		err(1, "a request");
}

static void answer(struct crowd *c, int i)
{
	struct member *m = &c->members[i];

	if (read(m->answer[0], &m->last, sizeof(m->last)) != sizeof(m->last))
		errx(1, "member %d gave no answer", i);
}

struct answer crowd_ask(struct crowd *c, int i, char command)
{
	request(c, i, command);
	answer(c, i);
	return crowd_last(c, i);
}

uint64_t crowd_all(struct crowd *c, char command)
{
	uint64_t from = __rdtsc();
	int i;

	for (i = 0; i < c->count; i++)
		request(c, i, command);
	for (i = 0; i < c->count; i++)
		answer(c, i);
	return __rdtsc() - from;
}

struct answer crowd_last(const struct crowd *c, int i)
{
	return c->members[i].last;
}

void crowd_end(struct crowd *c)
{
	int i;

	for (i = 0; i < c->count; i++) {
		request(c, i, 'q');
		if (c->memory->way == THREADS)
			pthread_join(c->members[i].thread, NULL);
		else if (wait_for(c->members[i].pid))
			errx(1, "member %d did not end well", i);
		close(c->members[i].command[0]);
		close(c->members[i].command[1]);
		close(c->members[i].answer[0]);
		close(c->members[i].answer[1]);
	}
	free(c->members);
	c->count = 0;
}

uint64_t read_pages(const char *at, uint64_t bytes, uint64_t step)
{
	uint64_t sum = 0, i;

	for (i = 0; i < bytes; i += step)
		sum += *(volatile const uint64_t *)(at + i);
	return sum;
}

long long page_tables(void)
{
	long long before, now = meminfo("PageTables:") * KIB;
	int i;

	/* Tables are freed after a grace period. */
	for (i = 0; i < 100; i++) {
		before = now;
		sleep_ms(10);
		now = meminfo("PageTables:") * KIB;
		if (now == before)
			break;
	}
	return now;
}

static void copy_disk(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CLOEXEC);
	static char block[64 * KIB], zero[sizeof(block)];
	uint64_t at = 0;
	ssize_t got;

	if (in < 0 || out < 0)
		err(1, "%s or %s", from, to);
	for (; (got = read(in, block, sizeof(block))) > 0; at += got)
		if (memcmp(block, zero, got) && pwrite(out, block, got, at) != got)
			err(1, "%s", to);
	if (got < 0 || fsync(out))
		err(1, "%s", from);
	close(in);
	close(out);
}

int disk_file(const char *image, uint64_t bytes, const uint64_t *pattern, int words)
{
	static const char path[] = "/mnt/file";
	ssize_t size = words * sizeof(*pattern);
	uint64_t done;
	int file;

	/* An earlier program may have done it. */
	if (!access(image, F_OK)) {
		mkdir("/mnt", 0755);
		copy_disk(image, "/dev/nullb0");
		if (mount("/dev/nullb0", "/mnt", "ext4", 0, NULL) || unlink(image))
			err(1, "%s", image);
	}
	file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	for (done = 0; done < bytes; done += size)
		if (file < 0 || write(file, pattern, size) != size)
			err(1, "%s", path);
	if (fsync(file))
		err(1, "%s", path);
	return file;
}
