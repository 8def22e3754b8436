// SPDX-License-Identifier: GPL-2.0
/*
 * Objects lose their pages to truncation and hole punching while processes read
 * and write them.  What is read is of the content since the last cut, or zeros, or
 * SIGBUS where the file has ended; and what has become another file's is neither
 * read nor written.
 *
 * Environment: ROUNDS (12), how often each object is cut.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <linux/falloc.h>
#include <sched.h>
#include <setjmp.h>
#include <sys/prctl.h>

#define MOST_PAGES	64
#define READERS		2
#define WRITERS		2
/* The first word of a page says which content it is; the others' words follow. */
#define FOREIGN		0x5eed5eed5eed5eedULL
#define WRITTEN		0x00c0ffee00c0ffeeULL

/* In memory that all share. */
struct cut {
	/* No older content than this may be read in a page. */
	volatile uint64_t least[MOST_PAGES];
	volatile int stop;
	volatile uint64_t stale, foreign;
	volatile uint64_t loads, stores, signals;
};

enum how { TRUNCATE, PUNCH, ADVISE };

FIXTURE(cut) {
	struct cut *cut;
	int fd, file;
	char *addr, *plain;
	pid_t pid[READERS + WRITERS];
};

FIXTURE_VARIANT(cut) {
	enum how how;
	bool disk, huge, thp;
	uint64_t page;
	unsigned int pages;
};

#define CUT(name, ...) FIXTURE_VARIANT_ADD(cut, name) { __VA_ARGS__ }
CUT(memory_is_truncated, .how = TRUNCATE, .page = PAGE, .pages = MOST_PAGES);
CUT(memory_is_punched, .how = PUNCH, .page = PAGE, .pages = MOST_PAGES);
CUT(memory_is_removed_by_advice, .how = ADVISE, .page = PAGE, .pages = MOST_PAGES);
CUT(a_file_is_truncated, .how = TRUNCATE, .page = PAGE, .pages = MOST_PAGES, .disk = true);
CUT(a_file_is_punched, .how = PUNCH, .page = PAGE, .pages = MOST_PAGES, .disk = true);
CUT(huge_pages_are_truncated, .how = TRUNCATE, .page = HUGE, .pages = 4, .huge = true);
CUT(huge_pages_are_punched, .how = PUNCH, .page = HUGE, .pages = 4, .huge = true);
CUT(transparent_huge_pages_are_truncated, .how = TRUNCATE, .page = HUGE, .pages = 4, .thp = true);
CUT(transparent_huge_pages_are_punched, .how = PUNCH, .page = HUGE, .pages = 4, .thp = true);

static sigjmp_buf bus_env;

static void on_bus(int sig)
{
	(void)sig;
	siglongjmp(bus_env, 1);
}

static void begin(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGBUS, on_bus);
}

static void reader(FIXTURE_DATA(cut) *self, uint64_t page, unsigned int pages)
{
	struct cut *cut = self->cut;
	volatile unsigned int i = 0;

	begin();
	while (!cut->stop) {
		uint64_t least, value;

		i = (i + 1) % pages;
		least = cut->least[i];
		if (sigsetjmp(bus_env, 1)) {
			__atomic_add_fetch(&cut->signals, 1, __ATOMIC_RELAXED);
			continue;
		}
		value = *(volatile uint64_t *)(self->addr + i * page);
		if (value == FOREIGN)
			__atomic_add_fetch(&cut->foreign, 1, __ATOMIC_RELAXED);
		else if (value && value < least)
			__atomic_add_fetch(&cut->stale, 1, __ATOMIC_RELAXED);
		cut->loads++;
	}
	_exit(0);
}

static void writer(FIXTURE_DATA(cut) *self, uint64_t page, unsigned int pages, int me)
{
	struct cut *cut = self->cut;
	volatile unsigned int i = 0;

	begin();
	while (!cut->stop) {
		i = (i + 1) % pages;
		if (sigsetjmp(bus_env, 1)) {
			__atomic_add_fetch(&cut->signals, 1, __ATOMIC_RELAXED);
			continue;
		}
		((volatile uint64_t *)(self->addr + i * page))[8 + me] = WRITTEN;
		cut->stores++;
	}
	_exit(0);
}

FIXTURE_SETUP(cut)
{
	uint64_t size = variant->page * variant->pages;
	int i;

	self->cut = shared_page();
	if (variant->disk) {
		self->file = ext4_file(size);
		if (self->file < 0)
			SKIP(return, NO_DISK);
	} else {
		/* Some that other files can have in between. */
		if (variant->huge && !huge_pages(HUGE, 3 * variant->pages))
			SKIP(return, "no huge pages of 2 MiB");
		if (variant->thp && !shmem_thp())
			SKIP(return, NO_THP);
		self->file = memfd(size, variant->huge ? MFD_HUGETLB : 0);
		ASSERT_LE(0, self->file);
	}
	self->addr = file_region(&self->fd, self->file, size);
	ASSERT_NE(NULL, self->addr);
	self->plain = mmap(NULL, size, RW, MAP_SHARED, self->file, 0);
	ASSERT_NE(MAP_FAILED, self->plain);
	if (variant->thp) {
		ASSERT_OK(mshare_advise(self->fd, 0, size, MADV_HUGEPAGE, 0));
		ASSERT_OK(madvise(self->plain, size, MADV_HUGEPAGE));
	}
	for (i = 0; i < READERS + WRITERS; i++) {
		self->pid[i] = fork();
		ASSERT_LE(0, self->pid[i]);
		if (self->pid[i])
			continue;
		if (i < READERS)
			reader(self, variant->page, variant->pages);
		else
			writer(self, variant->page, variant->pages, i);
	}
}

FIXTURE_TEARDOWN(cut)
{
	ASSERT_OK(mshare_detach(self->addr, 0));
	if (variant->thp)
		write_text("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "never");
}

/*
 * Another file gets pages, most likely those that were just freed, and finds
 * nothing in them that it has not put there.
 */
static uint64_t foreigner(uint64_t page, unsigned int pages, bool huge, bool thp)
{
	int file = memfd(page * pages, huge ? MFD_HUGETLB : 0);
	uint64_t i, j, bad = 0, size = page * pages;
	volatile uint64_t *at;

	at = mmap(NULL, size, RW, MAP_SHARED, file, 0);
	if (file < 0 || at == MAP_FAILED || (thp && madvise((void *)at, size, MADV_HUGEPAGE)))
		return 1;
	for (i = 0; i < size / 8; i += page / 8)
		for (j = 0; j < 64; j++)
			at[i + j] = FOREIGN;
	sched_yield();
	for (i = 0; i < size / 8; i += page / 8)
		for (j = 0; j < 64; j++)
			bad += at[i + j] != FOREIGN;
	munmap((void *)at, size);
	close(file);
	return bad;
}

TEST_F(cut, leaves_nothing_behind)
{
	uint64_t size = variant->page * variant->pages, content, written = 0, loads, stores, split;
	const char *rounds = getenv("ROUNDS");
	int i, count = rounds ? atoi(rounds) : 12, whole = 0;
	struct cut *cut = self->cut;

	ASSERT_LT(0, count);
	for (content = 1; content <= (uint64_t)count; content++) {
		uint64_t from = 0, length = size;

		for (i = 0; i < variant->pages; i++)
			*(volatile uint64_t *)(self->plain + i * variant->page) = content;
		/* Each has been there once more. */
		loads = cut->loads + 4 * variant->pages;
		stores = cut->stores + 4 * variant->pages;
		for (i = 0; i < 60000 && (cut->loads < loads || cut->stores < stores); i++)
			sleep_ms(1);
		ASSERT_GT(60000, i);
		for (i = 0; i < variant->pages; i++)
			ASSERT_EQ(content, *(volatile uint64_t *)(self->plain + i * variant->page));
		whole += variant->thp && meminfo("ShmemHugePages:") > 0;
		split = 0;
		switch (variant->how) {
		case TRUNCATE:
			ASSERT_OK(ftruncate(self->file, 0));
			break;
		case PUNCH:
			/* Often only the middle, all of it else. */
			if (content % 4) {
				from = variant->page;
				length = size - 2 * variant->page;
				/* The last bytes of the huge page before, too. */
				split = variant->thp ? PAGE : 0;
			}
			ASSERT_OK(fallocate(self->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					    from - split, length + split));
			break;
		case ADVISE:
			ASSERT_OK(mshare_advise(self->fd, 0, size, MADV_REMOVE, 0));
			break;
		}
		for (i = from / variant->page; i < (from + length) / variant->page; i++)
			cut->least[i] = content + 1;
		written += foreigner(variant->page, variant->pages, variant->huge,
				     variant->thp);
		if (variant->how == TRUNCATE)
			ASSERT_OK(ftruncate(self->file, size));
		for (i = from / variant->page; i < (from + length) / variant->page; i++)
			EXPECT_EQ(0, *(volatile uint64_t *)(self->plain + i * variant->page));
	}
	cut->stop = 1;
	for (i = 0; i < READERS + WRITERS; i++)
		EXPECT_EQ(0, wait_for(self->pid[i]));
	EXPECT_EQ(0, cut->stale);
	EXPECT_EQ(0, cut->foreign);
	EXPECT_EQ(0, written);
	if (variant->thp)
		EXPECT_LT(count / 2, whole);
	/* The end of the file was met, and else no process had a signal. */
	if (variant->how != TRUNCATE) {
		EXPECT_EQ(0, cut->signals);
	} else {
		EXPECT_LT(0, cut->signals);
	}
}

TEST_HARNESS_MAIN
