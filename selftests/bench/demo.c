// SPDX-License-Identifier: GPL-2.0
/*
 * The cost of 64 readers of the same memory: processes with mmap(MAP_SHARED),
 * processes with mshare, and threads of one process.
 *
 *	demo FILE [PROCS [MIB [SHA256]]]
 *
 * The readers sum up the file and MIB (256) MiB of anonymous memory, one reader
 * after the other.  Before that, the first one fills the anonymous memory.  The figure
 * for page tables is the growth of PageTables in /proc/meminfo from the moment when
 * all have mapped everything to the moment when all have read everything.  Page
 * faults are those of getrusage(2) around the reading.  One reader of each way
 * passes the memory of the file to sha256sum.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <mshare.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* mshare comes last, because a region is freed some time after its last user. */
enum way { PLAIN, THREADS, MSHARE, WAYS };
static const char *const names[WAYS] = { "mmap, processes", "threads, 1 process",
					 "mshare, processes" };

struct reader {
	pid_t pid;
	pthread_t thread;
	int command[2], answer[2];
};

struct answer {
	uint64_t sum;
	long faults;
	char sha[65];
};

struct result {
	long long table_bytes;
	long first_faults, later_faults;
	uint64_t sum;
	bool sums_equal;
	char sha[65];
};

static const char *file_name;
static size_t file_size, anon_size;
static int file_fd;
static const uint64_t *file_memory;
static uint64_t *anon_memory;

static uint64_t pattern(size_t i)
{
	return (i + 1) * 0x9e3779b97f4a7c15ULL;
}

/* The sum of both, once the first reader has filled the anonymous memory. */
static uint64_t read_all(const uint64_t *file, size_t file_words, uint64_t *anon,
			 size_t anon_words, bool fill)
{
	uint64_t sum = 0;
	size_t i;

	if (fill)
		for (i = 0; i < anon_words; i++)
			anon[i] = pattern(i);
	for (i = 0; i < file_words; i++)
		sum += file[i];
	for (i = 0; i < anon_words; i++)
		sum += anon[i];
	return sum;
}

/* The memory of the mapped file, through sha256sum(1). */
static void hash(char *sha)
{
	static const char path[] = "/tmp/demo.sha256";
	char cmd[64];
	FILE *pipe;

	sprintf(cmd, "sha256sum >%s", path);
	pipe = popen(cmd, "w");
	if (!pipe || fwrite(file_memory, 1, file_size, pipe) != file_size || pclose(pipe))
		err(1, "sha256sum");
	pipe = fopen(path, "r");
	if (!pipe || fscanf(pipe, "%64s", sha) != 1)
		err(1, "%s", path);
	fclose(pipe);
	unlink(path);
}

static void reader(struct reader *r)
{
	uint64_t small[64] = {};
	struct rusage before, after;
	struct answer answer;
	char command;
	/* The compiler may remove a reader whose sum is not used. */
	volatile uint64_t sum;

	/* 'w'arm up, 'f'ill and read, 'r'ead, 's'ha, 'q'uit. */
	while (read(r->command[0], &command, 1) == 1 && command != 'q') {
		memset(&answer, 0, sizeof(answer));
		getrusage(RUSAGE_THREAD, &before);
		if (command == 'w')
			sum = read_all(small, 64, small, 64, true);
		else if (command == 's')
			hash(answer.sha);
		else
			sum = read_all(file_memory, file_size / 8, anon_memory, anon_size / 8,
				       command == 'f');
		getrusage(RUSAGE_THREAD, &after);
		answer.sum = sum;
		answer.faults = after.ru_minflt - before.ru_minflt +
				after.ru_majflt - before.ru_majflt;
		if (write(r->answer[1], &answer, sizeof(answer)) != sizeof(answer))
			err(1, "write to the parent");
	}
}

static void *reader_thread(void *arg)
{
	reader(arg);
	return NULL;
}

static struct answer ask(struct reader *r, char command)
{
	struct answer answer;

	if (write(r->command[1], &command, 1) != 1 ||
	    read(r->answer[0], &answer, sizeof(answer)) != sizeof(answer)) {
		fprintf(stderr, "demo: a reader has died\n");
		exit(1);
	}
	return answer;
}

static long long page_tables(void)
{
	char line[128];
	long long kib = -1;
	FILE *f;

	/* The counters are per CPU; this adds them up. */
	f = fopen("/proc/sys/vm/stat_refresh", "r");
	if (f) {
		while (fgets(line, sizeof(line), f))
			;
		fclose(f);
	}
	f = fopen("/proc/meminfo", "r");
	if (!f)
		err(1, "/proc/meminfo");
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "PageTables: %lld", &kib) == 1)
			break;
	fclose(f);
	return kib * 1024;
}

static void map_plain(void)
{
	file_memory = mmap(NULL, file_size, PROT_READ, MAP_SHARED, file_fd, 0);
	anon_memory = mmap(NULL, anon_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			   -1, 0);
	if (file_memory == MAP_FAILED || anon_memory == MAP_FAILED)
		err(1, "mmap");
}

/* A region with the same two objects. */
static int make_region(int64_t *file_offset, int64_t *anon_offset)
{
	struct mshare_map_args file = {
		.offset = MSHARE_ANY_OFFSET,
		.length = file_size,
		.prot = PROT_READ,
		.flags = MAP_SHARED,
		.fd = file_fd,
	};
	struct mshare_map_args anon = {
		.offset = MSHARE_ANY_OFFSET,
		.length = anon_size,
		.prot = PROT_READ | PROT_WRITE,
		.flags = MAP_SHARED | MAP_ANONYMOUS,
		.fd = -1,
	};
	const size_t gib = 1UL << 30;
	int fd = mshare_create("demo", MSHARE_CLOEXEC);

	if (fd < 0)
		err(1, "mshare_create");
	/* The size is address space, not memory: leave some room. */
	if (ftruncate(fd, (file_size + anon_size) / gib * gib + 2 * gib))
		err(1, "ftruncate");
	*file_offset = mshare_map(fd, &file, sizeof(file));
	*anon_offset = mshare_map(fd, &anon, sizeof(anon));
	if (*file_offset < 0 || *anon_offset < 0)
		err(1, "mshare_map");
	return fd;
}

static void attach(int fd, int64_t file_offset, int64_t anon_offset)
{
	char *region = mshare_attach(fd, NULL, 0);

	if (region == MAP_FAILED)
		err(1, "mshare_attach");
	file_memory = (uint64_t *)(region + file_offset);
	anon_memory = (uint64_t *)(region + anon_offset);
}

static struct result measure(enum way way, int count)
{
	struct reader *readers = calloc(count, sizeof(*readers));
	struct result result = { .sums_equal = true };
	int64_t file_offset = 0, anon_offset = 0;
	struct answer answer;
	pthread_attr_t attr;
	int region = -1, i;

	if (way == MSHARE)
		region = make_region(&file_offset, &anon_offset);
	else
		map_plain();
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 * 1024);
	for (i = 0; i < count; i++) {
		if (pipe2(readers[i].command, O_CLOEXEC) || pipe2(readers[i].answer, O_CLOEXEC))
			err(1, "pipe2");
		if (way == THREADS) {
			errno = pthread_create(&readers[i].thread, &attr, reader_thread,
					       &readers[i]);
			if (errno)
				err(1, "pthread_create");
			continue;
		}
		readers[i].pid = fork();
		if (readers[i].pid < 0)
			err(1, "fork");
		if (!readers[i].pid) {
			/* Each attaches the region by itself, as unrelated programs do. */
			if (way == MSHARE)
				attach(region, file_offset, anon_offset);
			reader(&readers[i]);
			_exit(0);
		}
	}
	for (i = 0; i < count; i++)
		ask(&readers[i], 'w');

	result.table_bytes = -page_tables();
	for (i = 0; i < count; i++) {
		answer = ask(&readers[i], i ? 'r' : 'f');
		if (!i) {
			result.sum = answer.sum;
			result.first_faults = answer.faults;
		} else {
			result.later_faults += answer.faults;
		}
		result.sums_equal &= answer.sum == result.sum;
	}
	result.table_bytes += page_tables();

	answer = ask(&readers[count - 1], 's');
	memcpy(result.sha, answer.sha, sizeof(result.sha));
	for (i = 0; i < count; i++) {
		if (write(readers[i].command[1], "q", 1) != 1)
			err(1, "write to a reader");
		if (way == THREADS)
			pthread_join(readers[i].thread, NULL);
		else
			waitpid(readers[i].pid, NULL, 0);
		close(readers[i].command[0]);
		close(readers[i].command[1]);
		close(readers[i].answer[0]);
		close(readers[i].answer[1]);
	}
	if (way == MSHARE) {
		close(region);
	} else {
		munmap((void *)file_memory, file_size);
		munmap(anon_memory, anon_size);
	}
	free(readers);
	return result;
}

static int failures;

static void must(bool ok, const char *what)
{
	if (!ok) {
		printf("FAILED: %s\n", what);
		failures++;
	}
}

int main(int argc, char **argv)
{
	struct result r[WAYS];
	uint64_t expected = 0, word;
	const char *sha = argc > 4 ? argv[4] : "";
	int count = argc > 2 ? atoi(argv[2]) : 64;
	struct stat st;
	size_t i;
	int way;

	anon_size = (argc > 3 ? atoi(argv[3]) : 256) * 1024UL * 1024;
	if (argc < 2 || argc > 5 || count < 2 || !anon_size) {
		fprintf(stderr, "usage: demo FILE [PROCS [MIB [SHA256]]] (at least 2 PROCS)\n");
		return 2;
	}
	if (mshare_create(NULL, MSHARE_QUERY_ABI) < 0)
		err(1, errno == ENOSYS ? "this kernel has no mshare" : "mshare is not available");
	file_name = argv[1];
	file_fd = open(file_name, O_RDONLY | O_CLOEXEC);
	if (file_fd < 0 || fstat(file_fd, &st))
		err(1, "%s", file_name);
	file_size = st.st_size;

	/* What the sum must be, without any mapping. */
	for (i = 0; i < file_size / 8; i++) {
		static uint64_t buf[8192];

		if (i % 8192 == 0 && pread(file_fd, buf, sizeof(buf), i * 8) <= 0)
			err(1, "%s", file_name);
		word = buf[i % 8192];
		expected += word;
	}
	for (i = 0; i < anon_size / 8; i++)
		expected += pattern(i);

	printf("%d readers of %s (%zu MiB) and of %zu MiB of anonymous memory\n", count, file_name,
	       file_size >> 20, anon_size >> 20);
	for (way = 0; way < WAYS; way++) {
		fprintf(stderr, "demo: %s ...\n", names[way]);
		r[way] = measure(way, count);
	}

	printf("\n%-20s %20s %20s %20s\n", "", "page-table bytes", "faults, 1st reader",
	       "faults, all others");
	for (way = 0; way < WAYS; way++)
		printf("%-20s %20lld %20ld %20ld\n", names[way], r[way].table_bytes,
		       r[way].first_faults, r[way].later_faults);
	printf("\nWith mshare %d processes used %lld KiB of page tables instead of %lld KiB, and all but the first took %ld page faults instead of %ld.\n",
	       count, r[MSHARE].table_bytes / 1024, r[PLAIN].table_bytes / 1024,
	       r[MSHARE].later_faults, r[PLAIN].later_faults);
	printf("sum %016llx, SHA-256 of the file %s\n", (unsigned long long)r[MSHARE].sum,
	       r[MSHARE].sha);

	for (way = 0; way < WAYS; way++) {
		must(r[way].sums_equal, "all readers of one way form the same sum");
		must(r[way].sum == expected, "the sum is that of the file and the pattern");
		must(!strcmp(r[way].sha, r[PLAIN].sha), "the SHA-256 is the same in all ways");
		must(!*sha || !strcmp(r[way].sha, sha), "the SHA-256 is that of the host");
	}
	/* Page tables that did not grow were not measured. */
	must(r[THREADS].table_bytes > 0 && r[THREADS].first_faults > 0,
	     "the threads have used page tables and taken faults");
	must(r[MSHARE].table_bytes <= r[THREADS].table_bytes + 16 * 4096,
	     "mshare's page tables are those of one process plus 16 pages at most");
	must(r[MSHARE].later_faults <= 64, "the later readers take at most 64 faults together");
	must(labs(r[MSHARE].first_faults - r[THREADS].first_faults) * 20 <= r[THREADS].first_faults,
	     "the first reader's faults are within 5 % of the threads'");
	return failures ? 1 : 0;
}
