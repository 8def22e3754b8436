// SPDX-License-Identifier: GPL-2.0
/*
 * The cost of a change of shared page tables, of a fault and of a switch of processes.
 *
 *	tlb ipis		IPIs for TLB flushes, per unmap of a page (4 CPUs)
 *	tlb instructions	cycles of the TSC per unmap of a page
 *	tlb faults		the same per page fault
 *	tlb regions		cycles per unmap of a page, and flushes of everything, of a
 *				process that has N regions attached
 *	tlb switches		the same per round trip of a byte between two processes.
 *				Neither has a region, or one has N, or both have
 *				the same N, or each has N of its own
 *	tlb			checks all but the IPIs and prints TAP
 *
 * Under QEMU's -icount shift=0 the TSC counts instructions.  Each line of output
 * is WHAT, WAY, N and the figure, separated by tabs; instructions are medians.
 */
#define _GNU_SOURCE
#include "figure.h"
#include "tlb_count.h"

#include <err.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <time.h>

#define PAGES	16	/* unmapped, one call each, for each N */

static const int ladder[] = { 1, 4, 16, 64, 256, 1024 };

#define STEPS	(int)(sizeof(ladder) / sizeof(*ladder))
#define LENGTH	(STEPS * PAGES * PAGE)

enum way { MSHARE, THREADS, MMAP, WAYS };
static const char *const names[WAYS] = { "mshare", "threads", "mmap" };

/* The figures, of this process and of those that it has started. */
struct figures {
	int nr;
	struct {
		const char *what, *way;
		int n;
		double value;
	} at[96];
};

static struct figures *figures;
static bool checking;

/* With DIGITS after the point. */
static void found(const char *what, const char *way, int n, double value, int digits)
{
	int i = figures->nr++;

	if (figures->nr > (int)(sizeof(figures->at) / sizeof(*figures->at)))
		errx(1, "too many figures");
	figures->at[i].what = what;
	figures->at[i].way = way;
	figures->at[i].n = n;
	figures->at[i].value = value;
	if (!checking)
		printf("%s\t%s\t%d\t%.*f\n", what, way, n, digits, value);
	fflush(stdout);
}

/* 0 if there is none. */
static double figure(const char *what, const char *way, int n)
{
	int i;

	for (i = 0; i < figures->nr; i++)
		if (!strcmp(figures->at[i].what, what) && !strcmp(figures->at[i].way, way) &&
		    figures->at[i].n == n)
			return figures->at[i].value;
	return 0;
}

/* The memory, and the others that have it. */
static int region_fd, file_fd;
static volatile char *memory;
static volatile int *ready;
static uint64_t gone;		/* bytes at its start that are unmapped */

static void touch(void)
{
	uint64_t i;

	/* One page more, so that the page table stays when the others are gone. */
	for (i = gone; i <= LENGTH; i += PAGE)
		memory[i] = 1;
}

static void *sleeper(void *arg)
{
	(void)arg;
	touch();
	__atomic_add_fetch(ready, 1, __ATOMIC_SEQ_CST);
	for (;;)
		pause();
	return NULL;
}

static void *spinner(void *arg)
{
	(void)arg;
	pin(1);
	touch();
	__atomic_add_fetch(ready, 1, __ATOMIC_SEQ_CST);
	for (;;)
		;
	return NULL;
}

static bool await_change(int before)
{
	time_t end = time(NULL) + 60;

	while (*ready == before && time(NULL) < end)
		sched_yield();
	return *ready != before;
}

/* As a thread, or as a process of its own. */
static void start(enum way way, void *(*job)(void *))
{
	int before = *ready;
	pthread_attr_t attr;
	pthread_t thread;
	pid_t pid;

	if (way == THREADS) {
		pthread_attr_init(&attr);
		pthread_attr_setstacksize(&attr, 64 * KIB);
		if (pthread_create(&thread, &attr, job, NULL))
			err(1, "pthread_create");
	} else {
		pid = fork();
		if (pid < 0)
			err(1, "fork");
		if (!pid)
			job(NULL);
	}
	if (!await_change(before))
		errx(1, "the process or thread did not come up");
}

static void set_up(enum way way)
{
	region_fd = -1;
	file_fd = -1;
	if (way == MSHARE) {
		region_fd = region(GIB);
		if (region_fd < 0 || map_anon(region_fd, 0, LENGTH + PAGE, RW))
			err(1, "a region");
		memory = mshare_attach(region_fd, NULL, 0);
	} else {
		file_fd = memfd(LENGTH + PAGE, 0);
		memory = mmap(NULL, LENGTH + PAGE, RW, MAP_SHARED, file_fd, 0);
	}
	if (memory == MAP_FAILED)
		err(1, "the memory");
	touch();
}

/* Takes the page away from all of them. */
static void unmap(enum way way, uint64_t offset)
{
	int failed;

	switch (way) {
	case MSHARE:
		failed = mshare_unmap(region_fd, offset, PAGE, 0);
		break;
	case THREADS:
		failed = munmap((void *)(memory + offset), PAGE);
		break;
	default:
		failed = fallocate(file_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, PAGE);
	}
	if (failed)
		err(1, "unmap");
}

/* The median of the costs of the next PAGES. */
static uint64_t unmap_pages(enum way way)
{
	uint64_t cost[PAGES], from;
	int i;

	for (i = 0; i < PAGES; i++, gone += PAGE) {
		from = __rdtsc();
		unmap(way, gone);
		cost[i] = __rdtsc() - from;
	}
	return median(cost, PAGES);
}

/* Let the kernel free what is pending, so that this is not measured. */
static void settle(void)
{
	sleep_ms(100);
}

static void unmaps(enum way way, bool ipis)
{
	int step, others = 0, cpu;

	pin(0);
	set_up(way);
	if (ipis)
		start(way, spinner);
	for (step = 0; step < STEPS; step++) {
		uint64_t cost, total = 0;

		for (; others < ladder[step]; others++)
			start(way, sleeper);
		settle();
		if (ipis && !tlb_count_begin())
			exit(1);
		cost = unmap_pages(way);
		if (ipis) {
			for (cpu = 0; cpu < cpus(); cpu++)
				total += tlb_ipis(cpu);
			tlb_count_end();
			found("ipis", names[way], ladder[step], (double)total / PAGES, 2);
		} else {
			found("unmap", names[way], ladder[step], cost, 0);
		}
	}
}

/* Numbers of regions of a process whose changes are flushed one by one. */
static const int followed[] = { 1, 2, 4, 8, 16 };

#define FOLLOWED	(int)(sizeof(followed) / sizeof(*followed))

/* Attaches N regions, each TIMES times, and changes each, so that their generations differ. */
static void attach_regions(int n, int times, unsigned int flags)
{
	char *at;
	int i, j, fd;

	for (i = 0; i < n; i++) {
		fd = region(GIB);
		for (j = 0, at = NULL; j < times && at != MAP_FAILED; j++)
			at = mshare_attach(fd, NULL, flags);
		if (at == MAP_FAILED || map_anon(fd, 0, PAGE, RW))
			err(1, "a region");
		*at = 1;
		if (mshare_unmap(fd, 0, PAGE, 0))
			err(1, "unmap");
		close(fd);
	}
}

static void several_regions(int n)
{
	long long fulls;

	pin(0);
	attach_regions(n - 1, 1, 0);
	set_up(MSHARE);
	settle();
	found("unmap-beside", "mshare", n, unmap_pages(MSHARE), 0);
	if (!tlb_full_begin())
		exit(1);
	unmap_pages(MSHARE);
	fulls = tlb_fulls();
	found("full-flushes", "mshare", n, (double)fulls / PAGES, 2);
	/* The counter works: a flush of everything is counted. */
	if (munmap(mmap(NULL, MIB, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0), MIB) ||
	    tlb_fulls() == fulls)
		errx(1, "flushes of everything are not counted");
	tlb_full_end();
}

#define FAULTS	480	/* in one page table */

static uint64_t fault(volatile char *at)
{
	uint64_t cost[FAULTS], from;
	int i;

	for (i = 0; i < FAULTS; i++) {
		from = __rdtsc();
		at[i * PAGE] = 1;
		cost[i] = __rdtsc() - from;
	}
	return median(cost, FAULTS);
}

/* Faults on pages that are in the page cache, if PRESENT, and else on new ones. */
static void faults_of(enum way way, const char *name, const char *what, bool present)
{
	uint64_t length = FAULTS * PAGE;
	int file = memfd(length, 0), fd = -1;
	volatile char *at;

	if (present) {
		char *p = mmap(NULL, length, RW, MAP_SHARED | MAP_POPULATE, file, 0);

		if (p == MAP_FAILED || munmap(p, length))
			err(1, "mmap");
	}
	if (way == MSHARE) {
		fd = region(GIB);
		if (fd < 0 || map_file(fd, 0, length, RW, file))
			err(1, "a region");
		at = mshare_attach(fd, NULL, 0);
	} else {
		at = mmap(NULL, length, RW, MAP_SHARED, file, 0);
	}
	if (at == MAP_FAILED)
		err(1, "the memory");
	found(what, name, 1, fault(at), 0);
	if (way == MSHARE)
		mshare_detach((void *)at, 0);
	else
		munmap((void *)at, length);
	close(fd);
	close(file);
}

#define TRIPS	100
#define BATCHES	101
#define FEW_BATCHES	11

/* How many times one region is attached. */
#define AGAIN	16

/* Up to the number that a process may have. */
static const int region_counts[] = { 1, 16, 50, 100, 200 };

/* How many a process attaches, and how many times each. */
static int regions, times;

static void attach_own(void)
{
	attach_regions(regions, times, 0);
}

/*
 * With NR regions, each of which is attached AGAIN times.
 * Runs in a process of its own, whose attachments end with it.  The other process
 * inherits them, unless FLAGS say otherwise, and calls PREPARE.
 */
static void switches(const char *name, int nr, int again, int batches, unsigned int flags,
		     void (*prepare)(void))
{
	uint64_t cost[BATCHES];
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (pid) {
		if (wait_for(pid))
			exit(1);
		return;
	}
	pin(0);
	regions = nr;
	times = again;
	attach_regions(regions, times, flags);
	if (!ping_pong(cost, batches, TRIPS, prepare))
		err(1, "a byte through a pipe");
	found("switches", name, nr * again, median(cost, batches), 0);
	exit(0);
}

/* Runs unmaps() or several_regions() in a process group of its own, which ends with it. */
static void apart(enum way way, bool ipis, int nr_regions)
{
	pid_t pid = fork();

	if (pid < 0)
		err(1, "fork");
	if (!pid) {
		setpgid(0, 0);
		*ready = 0;
		if (nr_regions)
			several_regions(nr_regions);
		else
			unmaps(way, ipis);
		fflush(stdout);
		signal(SIGTERM, SIG_DFL);
		kill(0, SIGKILL);
	}
	if (wait_for(pid) != KILLED_BY(SIGKILL))
		exit(1);
	settle();
}

static void all_regions(void)
{
	int i;

	for (i = 0; i < FOLLOWED; i++)
		apart(MSHARE, false, followed[i]);
}

static void faults(void)
{
	void *at;
	int fd;

	pin(0);
	/* The first of each is a warm-up. */
	faults_of(MSHARE, "mshare", "warm-up", true);
	faults_of(MSHARE, "mshare", "minor-fault", true);
	faults_of(MSHARE, "mshare", "first-touch", false);
	faults_of(MMAP, "mmap", "warm-up", true);
	faults_of(MMAP, "mmap", "minor-fault", true);
	faults_of(MMAP, "mmap", "first-touch", false);
	/* In an ordinary mapping, with a region beside it. */
	fd = region(GIB);
	at = mshare_attach(fd, NULL, 0);
	if (at == MAP_FAILED)
		err(1, "a region");
	faults_of(MMAP, "guest", "minor-fault", true);
	mshare_detach(at, 0);
	close(fd);
}

static void all_switches(void)
{
	bool mshare = mshare_create(NULL, MSHARE_QUERY_ABI) >= 0;
	int i;

	switches("others", 0, 1, BATCHES, 0, NULL);
	for (i = 0; mshare && i < (int)(sizeof(region_counts) / sizeof(*region_counts)); i++) {
		int n = region_counts[i], batches = n > 16 ? FEW_BATCHES : BATCHES;

		switches("same", n, 1, batches, 0, NULL);
		switches("own", n, 1, batches, MSHARE_ATTACH_DONTFORK, attach_own);
		switches("one", n, 1, batches, MSHARE_ATTACH_DONTFORK, NULL);
	}
	if (mshare) {
		switches("same-again", 1, AGAIN, BATCHES, 0, NULL);
		switches("own-again", 1, AGAIN, BATCHES, MSHARE_ATTACH_DONTFORK, attach_own);
		switches("one-again", 1, AGAIN, BATCHES, MSHARE_ATTACH_DONTFORK, NULL);
	}
}

/* Checks */

/*
 * Bounds.  Two runs of one kernel differ by some instructions.  Another compiler moves
 * each figure by a few per cent, on both sides of a comparison.
 */
#define MINOR_FAULT	1.06	/* times mmap */
#define FIRST_TOUCH	1.03	/* times mmap */
#define BESIDE		1.02	/* times mmap, for mmap in a process with a region */
#define UNMAP		1.13	/* times threads, with one of each */
#define FLAT		1.05	/* the largest figure of all N, times the smallest */
#define BESIDE_OTHERS	1.10	/* times one region, for up to 16 */
#define SAME		1.02	/* times two processes without a region */
#define OWN		1.045
#define ONE		1.03
#define OWN_AGAIN	1.05	/* the same, with 16 attachments of each */
#define ONE_AGAIN	1.05
#define LINEAR		4.5	/* 200 regions, times 50, for 4 times as many */

static const char *const checks[] = {
	"the_clock_counts_instructions", "minor_fault", "first_touch",
	"minor_fault_beside_a_region", "unmap",
	"unmap_is_the_same_for_every_N", "unmap_with_other_regions",
	"unmap_with_other_regions_flushes_a_range", "switch_between_guests_of_a_region",
	"switch_between_guests_of_two", "switch_between_a_guest_and_another",
	"switch_with_16_attachments_of_a_region", "switch_with_16_attachments_of_two",
	"switch_with_16_attachments_and_another",
	"switch_with_many_regions_is_linear", "switch_with_many_of_its_own_is_linear",
};

/* The result of the next of these. */
__attribute__((format(printf, 2, 3)))
static void check(bool good, const char *format, ...)
{
	static unsigned int done;
	va_list ap;

	va_start(ap, format);
	printf("# ");
	vprintf(format, ap);
	va_end(ap);
	printf("\n%s %u %s\n", good ? "ok" : "not ok", done + 1, checks[done]);
	fflush(stdout);
	done++;
}

/* The least of some tries: a timer tick may come in between. */
__attribute__((noinline))
static uint64_t turns(int count)
{
	uint64_t least = UINT64_MAX, from;
	int try, i;

	for (try = 0; try < 5; try++) {
		from = __rdtsc();
		for (i = 0; i < count; i++)
			asm volatile("");
		from = __rdtsc() - from;
		least = from < least ? from : least;
	}
	return least;
}

static void check_ratio(const char *name, double a, const char *other, double b, double most)
{
	check(a > 0 && b > 0 && a <= b * most, "%s %.0f, %s %.0f: %.3f times, at most %.3f",
	      name, a, other, b, a / b, most);
}

static void check_linear(const char *way)
{
	double a = figure("switches", way, 1), b = figure("switches", way, 50),
	       c = figure("switches", way, 200);

	check(a > 0 && b > a && c > b && c - a <= LINEAR * (b - a),
	      "1 region %.0f, 50 %.0f, 200 %.0f", a, b, c);
}

static void check_all(void)
{
	double least, most = 0, fulls, n;
	uint64_t one;
	int i;

	checking = true;
	printf("TAP version 13\n1..%zu\n", sizeof(checks) / sizeof(*checks));
	one = turns(20000) - turns(10000);
	check(one >= 10000 && turns(30000) - turns(20000) == one, "%ju for 10000 turns",
	      (uintmax_t)one);
	faults();
	check_ratio("mshare", figure("minor-fault", "mshare", 1),
		    "mmap", figure("minor-fault", "mmap", 1), MINOR_FAULT);
	check_ratio("mshare", figure("first-touch", "mshare", 1),
		    "mmap", figure("first-touch", "mmap", 1), FIRST_TOUCH);
	check_ratio("mmap beside it", figure("minor-fault", "guest", 1),
		    "mmap", figure("minor-fault", "mmap", 1), BESIDE);

	apart(MSHARE, false, 0);
	apart(THREADS, false, 0);
	check_ratio("mshare", figure("unmap", "mshare", 1),
		    "threads", figure("unmap", "threads", 1), UNMAP);
	least = figure("unmap", "mshare", 1);
	for (i = 0; i < STEPS; i++) {
		n = figure("unmap", "mshare", ladder[i]);
		least = n < least ? n : least;
		most = n > most ? n : most;
	}
	check(least > 0 && most <= least * FLAT, "from %.0f to %.0f", least, most);

	all_regions();
	least = figure("unmap-beside", "mshare", 1);
	for (i = 0, most = 0, fulls = 0; i < FOLLOWED; i++) {
		n = figure("unmap-beside", "mshare", followed[i]);
		most = n > most ? n : most;
		fulls += figure("full-flushes", "mshare", followed[i]);
	}
	check_ratio("up to 16 regions", most, "one", least, BESIDE_OTHERS);
	check(most > 0 && !fulls, "%.2f flushes of everything", fulls);

	all_switches();
	n = figure("switches", "others", 0);
	check_ratio("guests", figure("switches", "same", 1), "others", n, SAME);
	check_ratio("guests", figure("switches", "own", 1), "others", n, OWN);
	check_ratio("a guest", figure("switches", "one", 1), "others", n, ONE);
	check_ratio("guests", figure("switches", "same-again", AGAIN), "others", n, SAME);
	check_ratio("guests", figure("switches", "own-again", AGAIN), "others", n, OWN_AGAIN);
	check_ratio("a guest", figure("switches", "one-again", AGAIN), "others", n, ONE_AGAIN);
	check_linear("same");
	check_linear("own");
}

int main(int argc, char **argv)
{
	const char *what = argc == 2 ? argv[1] : "";
	enum way way;
	unsigned int i;

	ready = shared_page();
	figures = (void *)shared_page();
	if (argc == 1) {
		check_all();
	} else if (!strcmp(what, "-l")) {
		for (i = 0; i < sizeof(checks) / sizeof(*checks); i++)
			printf("%s\n", checks[i]);
	} else if (!strcmp(what, "ipis") || !strcmp(what, "instructions")) {
		for (way = MSHARE; way < WAYS; way++)
			apart(way, !strcmp(what, "ipis"), 0);
	} else if (!strcmp(what, "regions")) {
		all_regions();
	} else if (!strcmp(what, "faults")) {
		faults();
	} else if (!strcmp(what, "switches")) {
		all_switches();
	} else {
		fprintf(stderr, "usage: tlb [ipis|instructions|faults|regions|switches]\n");
		return 2;
	}
	return 0;
}
