// SPDX-License-Identifier: GPL-2.0
/*
 * Row 2: page faults and instructions until N processes have read a word of
 * every page, counted in each from the call that maps the object.
 *
 *	readers PROCESSES SIZE...
 *
 * The numbers of processes are 1, 4, 16 .. up to PROCESSES.  "memory" is new, so the
 * first reader makes its pages.  "file" is in memory already.
 */
#include "bench.h"
#include "uring.h"

static int uring_file;

static uint64_t job(char command, char *at, uint64_t bytes)
{
	static char own[2 * PAGE];
	struct uring uring;
	uint64_t sum;

	if (command == 'r')
		return read_pages(at, bytes, PAGE);
	if (command == 'u') {
		uring_start(&uring);
		sum = uring_read(&uring, uring_file, bytes, PAGE);
		uring_stop(&uring);
		return sum;
	}
	return read_pages(own, sizeof(own), PAGE);
}

/* A memfd whose pages are there. */
static int filled_file(uint64_t bytes)
{
	static uint64_t words[128 * KIB / 8];
	int file = memfd(bytes, 0);
	uint64_t done, i;

	for (done = 0; done < bytes; done += sizeof(words)) {
		for (i = 0; i < sizeof(words) / 8; i++)
			words[i] = done + i;
		if (file < 0 || write(file, words, sizeof(words)) != sizeof(words))
			err(1, "a file of memory");
	}
	return file;
}

static void measure(enum way way, bool uring, int file, uint64_t bytes, int most)
{
	const char *name = uring ? "io_uring" : way_names[way];
	uint64_t instructions = 0, faults = 0, sum = 0;
	struct answer enter = {}, read;
	struct memory m;
	struct crowd c;
	char what[32];
	int n, i;

	memory_make(&m, way, bytes, file);
	uring_file = file;
	crowd_make(&c, &m, job);
	for (n = 1; n <= most; n *= 4) {
		i = c.count;
		crowd_grow(&c, n);
		for (; i < n; i++) {
			if (!uring)
				enter = crowd_ask(&c, i, 'e');
			read = crowd_ask(&c, i, uring ? 'u' : 'r');
			instructions += enter.cycles + read.cycles;
			faults += enter.faults + read.faults;
			if (!i)
				sum = read.value;
			if (read.value != sum)
				errx(1, "%s: reader %d has read something else", name, i);
		}
		snprintf(what, sizeof(what), "%s: faults", file < 0 ? "memory" : "file");
		report(2, what, name, bytes, n, faults, "count");
		snprintf(what, sizeof(what), "%s: reading", file < 0 ? "memory" : "file");
		report(2, what, name, bytes, n, instructions, "instructions");
	}
	crowd_end(&c);
	memory_drop(&m);
}

int main(int argc, char **argv)
{
	int most = argc > 2 ? atoi(argv[1]) : 0, file;
	const uint64_t *size;
	enum way way;

	if (most < 1) {
		fprintf(stderr, "usage: readers PROCESSES SIZE...\n");
		return 2;
	}
	for (size = ladder(argv + 2); *size; size++) {
		for (way = 0; way < WAYS; way++)
			measure(way, false, -1, *size, most);
		file = filled_file(*size);
		for (way = MSHARE; way < WAYS; way++)
			measure(way, false, file, *size, most);
		measure(MMAP, true, file, *size, most);
		close(file);
	}
	return 0;
}
