// SPDX-License-Identifier: GPL-2.0
/*
 * Reclaim, swap and compaction take the pages of a region while processes use it:
 * words keep their values, and what is in use is spared.
 */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "crew.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/swap.h>

/* A swap device of compressed memory; its number, or -1 if there is none. */
static int zram_swap(uint64_t size)
{
	int nr = read_number("/sys/class/zram-control/hot_add");
	char path[64];

	if (nr < 0)
		return -1;
	sprintf(path, "/sys/block/zram%d/disksize", nr);
	if (!write_number(path, size))
		return -1;
	sprintf(path, "/dev/zram%d", nr);
	return swap_on(path) ? nr : -1;
}

static bool zram_off(int nr)
{
	char path[64];

	sprintf(path, "/dev/zram%d", nr);
	if (swapoff(path))
		return false;
	sprintf(path, "/sys/block/zram%d/reset", nr);
	return write_text(path, "1") && write_number("/sys/class/zram-control/hot_remove", nr);
}

#define LRU_GEN		"/sys/kernel/mm/lru_gen/enabled"

/* Its value before the first test: a test that is killed does not restore it. */
static char *lru_gen_at_start;

__attribute__((constructor)) static void see_lru_gen(void)
{
	lru_gen_at_start = slurp(LRU_GEN);
}

FIXTURE(reclaim) {
	char dir[64];
	int fd, zram;
	char *addr;
};

/* The kernel has two ways to find memory that was not used for a long time. */
FIXTURE_VARIANT(reclaim) {
	const char *lru_gen;
	long long enabled;
};

FIXTURE_VARIANT_ADD(reclaim, generations) { .lru_gen = "y", .enabled = 1 };
FIXTURE_VARIANT_ADD(reclaim, two_lists) { .lru_gen = "n", .enabled = 0 };

/* The region is paid for by a cgroup of its own; we are outside. */
FIXTURE_SETUP(reclaim)
{
	char *text;

	if (!cgroup_make(self->dir, sizeof(self->dir)))
		SKIP(return, "no cgroup2 with memory: %m");
	self->zram = zram_swap(64 * MIB);
	if (self->zram < 0)
		SKIP(return, "no swap (zram, mkswap): %m");
	self->fd = cgroup_region(self->dir, GIB);
	ASSERT_LE(0, self->fd);
	self->addr = mshare_attach(self->fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, self->addr);
	ASSERT_NE(NULL, lru_gen_at_start);
	ASSERT_TRUE(write_text(LRU_GEN, variant->lru_gen));
	/* Only the lowest bit: the others are for additional features. */
	text = slurp(LRU_GEN);
	EXPECT_EQ(variant->enabled, strtoll(text, NULL, 0) & 1);
	free(text);
}

FIXTURE_TEARDOWN(reclaim)
{
	EXPECT_TRUE(write_text(LRU_GEN, lru_gen_at_start));
	/* Everything comes back in. */
	EXPECT_TRUE(write_text(cgroup_file(self->dir, "memory.max"), "max"));
	EXPECT_TRUE(zram_off(self->zram));
	EXPECT_EQ(0, stat_of(self->fd).swapped);
	EXPECT_OK(mshare_detach(self->addr, 0));
	EXPECT_OK(close(self->fd));
	EXPECT_EQ(0, settled());
	EXPECT_OK(rmdir(self->dir));
}

#define SIZE	(4 * MIB)

/*
 * Brings the statistics of the cgroup up to date.  If all pages are on the active one of
 * two lists, reclaim takes some from there only if the statistics say that the inactive
 * one is short.  They are up to two seconds old, or older on an idle CPU.  Until they are
 * new, reclaim only finds an empty list, a hundred times in 0.2 s.  It is the same with any
 * mapping (what_nobody_uses_is_taken).  cpu.stat is always exact.  On Linux 7.3, where it
 * is separate from the statistics of memory, memory.stat is exact after many changes.
 */
static void new_statistics(const char *dir)
{
	free(slurp(cgroup_file(dir, "cpu.stat")));
	free(slurp(cgroup_file(dir, "memory.stat")));
}

/* Asks for AMOUNT, whether or not all of it can be reclaimed. */
static void reclaim_by_old_statistics(const char *dir, const char *amount)
{
	if (!write_text(cgroup_file(dir, "memory.reclaim"), amount) && errno != EAGAIN)
		fprintf(stderr, "# memory.reclaim: %m\n");
}

static void reclaim(const char *dir, const char *amount)
{
	new_statistics(dir);
	reclaim_by_old_statistics(dir, amount);
}

/* Reclaims once: from the cgroup DIR or, if DIR is NULL, by advice. */
static void take(int fd, const char *dir)
{
	if (dir)
		reclaim(dir, "1M");
	else
		mshare_advise(fd, 0, SIZE, MADV_PAGEOUT, 0);
}

/*
 * Takes pages of the crew's object away while the crew uses all of them, and then more
 * while it pauses: those have also left the swap cache when they are used again.
 * Returns whether pages were taken each time.
 */
static bool takes(struct crew *crew, int fd, const char *dir)
{
	long long out = file_key("/proc/vmstat", "pswpout ");
	bool some = false, gone = false, paused;
	int i;

	for (i = 0; i < 100 && !some; i++) {
		/* Pages that are used between two looks stay, and a look may take long. */
		crew->rest = 100 + i * 20;
		take(fd, dir);
		some = file_key("/proc/vmstat", "pswpout ") > out + 64;
		if (!some)
			sleep_ms(20);
	}
	crew->rest = 0;
	/* Members that did pause have to go on, too, or crew_ends() waits for them. */
	paused = crew_pauses(crew);
	/* One pass is enough, but for pages that others keep briefly, as a CPU's batch. */
	for (i = 0; i < 10 && paused && !gone; i++) {
		lru_drain();
		take(fd, dir);
		gone = stat_of(fd).swapped >= SIZE / 4;
	}
	crew_continues(crew);
	if (!some || !gone)
		fprintf(stderr, "# taken in use: %d, while nobody worked: %d (paused: %d)\n",
			some, gone, paused);
	return some && gone;
}

/* The crew has done some laps, and pages went out and came in. */
static void swapped_words_are_right(struct __test_metadata *_metadata, FIXTURE_DATA(reclaim) *self,
				    struct crew *crew, long long in)
{
	EXPECT_LT(in + 128, file_key("/proc/vmstat", "pswpin ")) {
		TH_LOG("pages that came in: %lld", file_key("/proc/vmstat", "pswpin ") - in);
	}
	EXPECT_EQ(0, crew_ends(crew, self->addr));
}

TEST_F(reclaim, words_stay_in_a_cgroup_that_is_too_small)
{
	long long in = file_key("/proc/vmstat", "pswpin ");
	struct crew *crew;

	ASSERT_EQ(0, map_anon(self->fd, 0, SIZE, RW));
	crew = crew_start(self->fd, 0, SIZE, 2);
	ASSERT_NE(NULL, crew);
	ASSERT_TRUE(crew_advances(crew, 1));
	/* Pages in constant use cannot be taken, and the cgroup would be out of memory. */
	EXPECT_TRUE(crew_pauses(crew));
	EXPECT_TRUE(write_number(cgroup_file(self->dir, "memory.max"), SIZE / 2));
	crew_continues(crew);
	EXPECT_TRUE(crew_advances(crew, 2));
	EXPECT_LT(0, stat_of(self->fd).swapped);
	swapped_words_are_right(_metadata, self, crew, in);
	EXPECT_GE(SIZE / 2, read_number(cgroup_file(self->dir, "memory.current")));
}

TEST_F(reclaim, words_stay_when_memory_is_reclaimed)
{
	long long in = file_key("/proc/vmstat", "pswpin ");
	struct crew *crew;
	int i;

	ASSERT_EQ(0, map_anon(self->fd, 0, SIZE, RW));
	crew = crew_start(self->fd, 0, SIZE, 2);
	ASSERT_NE(NULL, crew);
	for (i = 0; i < 4; i++) {
		EXPECT_TRUE(takes(crew, self->fd, self->dir));
		EXPECT_TRUE(crew_advances(crew, 1));
	}
	swapped_words_are_right(_metadata, self, crew, in);
}

TEST_F(reclaim, words_stay_when_an_object_is_paged_out)
{
	long long in = file_key("/proc/vmstat", "pswpin ");
	struct crew *crew;
	int i;

	ASSERT_EQ(0, map_anon(self->fd, 0, SIZE, RW));
	crew = crew_start(self->fd, 0, SIZE, 2);
	ASSERT_NE(NULL, crew);
	for (i = 0; i < 4; i++) {
		EXPECT_OK(mshare_advise(self->fd, 0, SIZE, MADV_COLD, 0));
		EXPECT_TRUE(takes(crew, self->fd, NULL));
		EXPECT_TRUE(crew_advances(crew, 1));
	}
	swapped_words_are_right(_metadata, self, crew, in);
}

TEST_F(reclaim, words_stay_in_huge_pages_that_are_split_for_swap)
{
	long long in = file_key("/proc/vmstat", "pswpin ");
	struct crew *crew;
	int i;

	if (!shmem_thp())
		SKIP(return, NO_THP);
	ASSERT_EQ(0, map_anon(self->fd, 0, SIZE, RW));
	ASSERT_OK(mshare_advise(self->fd, 0, SIZE, MADV_HUGEPAGE, 0));
	crew = crew_start(self->fd, 0, SIZE, 2);
	ASSERT_NE(NULL, crew);
	for (i = 0; i < 4; i++) {
		EXPECT_TRUE(crew_advances(crew, 1));
		if (!i)
			EXPECT_LT(0, meminfo("ShmemPmdMapped:"));
		EXPECT_TRUE(takes(crew, self->fd, NULL));
	}
	EXPECT_TRUE(crew_advances(crew, 1));
	swapped_words_are_right(_metadata, self, crew, in);
}

/*
 * A file on a disk: its pages are written and dropped while they are changed.  It is not
 * small: if all pages of a cgroup have just been used, it is out of memory.
 */
#define FILE_SIZE	(4 * SIZE)

TEST_F(reclaim, words_stay_in_a_file_that_does_not_fit)
{
	char *zeros = calloc(1, FILE_SIZE);
	int file = ext4_file(0);
	struct crew *crew;
	long long stolen;

	if (file < 0)
		SKIP(return, NO_DISK);
	ASSERT_EQ(FILE_SIZE, pwrite(file, zeros, FILE_SIZE, 0));
	ASSERT_OK(fsync(file));
	ASSERT_OK(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED));
	ASSERT_EQ(0, map_file(self->fd, 0, FILE_SIZE, RW, file));
	stolen = file_key(cgroup_file(self->dir, "memory.stat"), "pgsteal ");
	ASSERT_TRUE(write_number(cgroup_file(self->dir, "memory.max"), FILE_SIZE / 2));
	crew = crew_start(self->fd, 0, FILE_SIZE, 2);
	ASSERT_NE(NULL, crew);
	EXPECT_TRUE(crew_advances(crew, 2));
	EXPECT_LT(stolen + 512, file_key(cgroup_file(self->dir, "memory.stat"), "pgsteal "));
	EXPECT_EQ(0, crew_ends(crew, self->addr));
	ASSERT_OK(mshare_unmap(self->fd, 0, FILE_SIZE, 0));
	ASSERT_OK(close(file));
}

/*
 * All pages of FILE, which is mapped at ADDR, have been used through the mapping.  If there
 * are two lists, they are on the active one.  Then they are not used any more.  Counts how
 * many times 1 MiB has to be reclaimed until half of them are gone, with old statistics (at
 * most 20 times) and with new ones.
 */
static void unused_is_taken(struct __test_metadata *_metadata, FIXTURE_DATA(reclaim) *self,
			    bool two_lists, int file, char *addr, const char *ones, int *with_old,
			    int *with_new)
{
	long long out = file_key("/proc/vmstat", "pswpout ") + SIZE / PAGE / 2;
	int i;

	if (two_lists)
		ASSERT_EQ(SIZE, pwrite(file, ones, SIZE, 0));
	for (i = 0; i < SIZE; i += PAGE)
		((volatile char *)addr)[i] += 1;
	ASSERT_TRUE(lru_drain());
	/* The statistics say that no page is active, for up to two seconds from now. */
	new_statistics(self->dir);
	/* The second store activates the pages.  lru_drain() leaves mapped pages active. */
	if (two_lists)
		ASSERT_EQ(SIZE, pwrite(file, ones, SIZE, 0));
	ASSERT_TRUE(lru_drain());
	for (i = 0; i < 20 && file_key("/proc/vmstat", "pswpout ") < out; i++)
		reclaim_by_old_statistics(self->dir, "1M");
	*with_old = i;
	for (i = 0; i < 20 && file_key("/proc/vmstat", "pswpout ") < out; i++)
		reclaim(self->dir, "1M");
	*with_new = i;
}

/*
 * A reference through a region counts once, like that of a process in the cgroup that pays.
 * The ordinary mapping belongs to such a process.
 */
TEST_F(reclaim, what_nobody_uses_is_taken)
{
	int file[2] = { memfd(SIZE, 0), memfd(SIZE, 0) }, with_old[2], with_new[2], i;
	char *addr[2] = { self->addr, NULL }, *ones = malloc(SIZE);

	/*
	 * Not zeros, which are not written to swap.  The cgroup does not pay for this
	 * memory.
	 */
	ASSERT_NE(NULL, ones);
	memset(ones, 1, SIZE);
	ASSERT_EQ(0, map_file(self->fd, 0, SIZE, RW, file[0]));
	addr[1] = mmap(NULL, SIZE, RW, MAP_SHARED, file[1], 0);
	ASSERT_NE(MAP_FAILED, addr[1]);
	ASSERT_TRUE(write_text(cgroup_file(self->dir, "cgroup.procs"), "0"));
	for (i = 0; i < 2; i++) {
		unused_is_taken(_metadata, self, !variant->enabled, file[i], addr[i], ones,
				&with_old[i], &with_new[i]);
		TH_LOG("%s: half was taken in %d rounds, after %d with old statistics",
		       i ? "mapping" : "region", with_new[i], with_old[i]);
		/* Two, and as many for pages that others keep for a moment. */
		EXPECT_GE(4, with_new[i]);
		ASSERT_OK(ftruncate(file[i], 0));
		ASSERT_OK(close(file[i]));
	}
	EXPECT_TRUE(write_text("/sys/fs/cgroup/cgroup.procs", "0"));
	ASSERT_OK(munmap(addr[1], SIZE));
	free(ones);
}

#define KHUGEPAGED	"/sys/kernel/mm/transparent_hugepage/khugepaged/"

/*
 * A huge page that khugepaged makes of small pages is in no page table, so MADV_PAGEOUT,
 * which relies on the page table, never finds it.  Nor does it find pages that were unmapped
 * and then kept because khugepaged waited for their lock with a reference.  No task holds
 * these pages: they go as soon as they are mapped again.  It is the same without a region.
 */
TEST_F(reclaim, what_khugepaged_replaced_goes_when_it_is_mapped_again)
{
	long long sleeps = read_number(KHUGEPAGED "scan_sleep_millisecs");
	char *huge, *zeros = calloc(1, HUGE);
	int file, i, tries;
	uint64_t k;

	if (!shmem_thp())
		SKIP(return, NO_THP);
	ASSERT_TRUE(write_number(KHUGEPAGED "scan_sleep_millisecs", 10));
	huge = mmap(NULL, 2 * HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, huge);
	huge = (char *)(((uintptr_t)huge + HUGE - 1) / HUGE * HUGE);
	for (i = 0; i < 2; i++) {
		char *addr = i ? huge : self->addr;
		unsigned char in[HUGE / PAGE];
		uint64_t frame[HUGE / PAGE];
		bool gone;

		/* Small pages: there is no advice yet. */
		file = memfd(HUGE, 0);
		ASSERT_EQ(HUGE, pwrite(file, zeros, HUGE, 0));
		if (i) {
			ASSERT_EQ(huge, mmap(huge, HUGE, RW, MAP_SHARED | MAP_FIXED, file, 0));
		} else {
			ASSERT_EQ(0, map_file(self->fd, 0, HUGE, RW, file));
		}
		fill(addr, HUGE, 1);
		ASSERT_OK(i ? madvise(huge, HUGE, MADV_HUGEPAGE) :
			      mshare_advise(self->fd, 0, HUGE, MADV_HUGEPAGE, 0));
		EXPECT_TRUE(BECOMES(page_map(addr, frame, 1) && !(frame[0] >> 63)));
		write_number(KHUGEPAGED "scan_sleep_millisecs", 1000000000);
		for (tries = 0; tries < 3; tries++) {
			lru_drain();
			i ? madvise(huge, HUGE, MADV_PAGEOUT) :
			    mshare_advise(self->fd, 0, HUGE, MADV_PAGEOUT, 0);
		}
		ASSERT_OK(mincore(addr, HUGE, in));
		TH_LOG("%s: %s after %d calls", i ? "mapping" : "region",
		       in[0] & 1 ? "all is there" : "gone", tries);
		gone = BECOMES(({
			volatile char *at = addr;

			for (k = 0; k < HUGE; k += PAGE)
				at[k] += 0;
			lru_drain();
			i ? madvise(huge, HUGE, MADV_PAGEOUT) :
			    mshare_advise(self->fd, 0, HUGE, MADV_PAGEOUT, 0);
			page_map(addr, frame, HUGE / PAGE);
			ASSERT_OK(mincore(addr, HUGE, in));
			/* A split huge page may stay in part: unmapped, and then in use. */
			for (k = 0; k < HUGE / PAGE && !(frame[k] >> 63) && !(in[k] & 1); k++)
				;
			k == HUGE / PAGE;
		}));
		EXPECT_TRUE(gone);
		if (!i)
			EXPECT_EQ(HUGE, stat_of(self->fd).swapped);
		EXPECT_EQ(0, wrong(addr, HUGE, 1));
		ASSERT_TRUE(write_number(KHUGEPAGED "scan_sleep_millisecs", 10));
		ASSERT_OK(ftruncate(file, 0));
		ASSERT_OK(close(file));
	}
	write_number(KHUGEPAGED "scan_sleep_millisecs", sleeps);
	free(zeros);
}

/* The faults of a store into each page: those of the region, or ours if FD is -1. */
static long faults_of(int fd, char *addr, uint64_t length)
{
	struct rusage before, after;
	uint64_t faults = fd < 0 ? 0 : stat_of(fd).faults, i;

	getrusage(RUSAGE_SELF, &before);
	for (i = 0; i < length; i += PAGE)
		((volatile char *)addr)[i] = 1;
	getrusage(RUSAGE_SELF, &after);
	if (fd >= 0)
		return stat_of(fd).faults - faults;
	return after.ru_minflt - before.ru_minflt + after.ru_majflt - before.ru_majflt;
}

#define HALF	(4 * MIB)

/*
 * All pages were made old.  Those of the first half, which is the first to go, are used
 * again.  Faults then tell which pages are taken away.
 */
static void use_and_reclaim(struct __test_metadata *_metadata, FIXTURE_DATA(reclaim) *self,
			    int fd, char *addr, long *used, long *unused)
{
	EXPECT_GE(8, faults_of(fd, addr, HALF));
	reclaim(self->dir, "2M");
	*used = faults_of(fd, addr, HALF);
	*unused = faults_of(fd, addr + HALF, HALF);
	TH_LOG("pages taken: %ld of those in use, %ld of the others", *used, *unused);
	/* It did take some. */
	EXPECT_LE((long)(MIB / PAGE), *used + *unused);
}

/*
 * Makes a new mapping of our own.  The cgroup pays for its pages, and we enter the cgroup
 * if MEMBER.  Returns true if pages that were used again were spared.
 */
static bool mapping_is_spared(struct __test_metadata *_metadata, FIXTURE_DATA(reclaim) *self,
			      bool member)
{
	int file = memfd(2 * HALF, 0);
	long used, unused;
	char *plain;

	IN_CHILD({
		char *zeros = calloc(1, 2 * HALF);

		CHILD_CHECK(write_text(cgroup_file(self->dir, "cgroup.procs"), "0"));
		CHILD_CHECK(pwrite(file, zeros, 2 * HALF, 0) == 2 * HALF);
	});
	if (member)
		ASSERT_TRUE(write_text(cgroup_file(self->dir, "cgroup.procs"), "0"));
	plain = mmap(NULL, 2 * HALF, RW, MAP_SHARED, file, 0);
	ASSERT_NE(MAP_FAILED, plain);
	faults_of(-1, plain, 2 * HALF);
	ASSERT_OK(madvise(plain, 2 * HALF, MADV_COLD));
	use_and_reclaim(_metadata, self, -1, plain, &used, &unused);
	ASSERT_OK(munmap(plain, 2 * HALF));
	ASSERT_OK(close(file));
	if (member)
		ASSERT_TRUE(write_text("/sys/fs/cgroup/cgroup.procs", "0"));
	return unused > 8 * used;
}

/*
 * Like pages that a process of the cgroup uses in a mapping of its own.  With several
 * generations, Linux 6.12 spares them, and 7.3 only marks those that it finds in use once.
 */
TEST_F(reclaim, what_is_used_through_the_region_is_spared)
{
	bool spared = mapping_is_spared(_metadata, self, true);
	long used, unused;

	ASSERT_EQ(0, map_anon(self->fd, 0, 2 * HALF, RW));
	faults_of(self->fd, self->addr, 2 * HALF);
	ASSERT_OK(mshare_advise(self->fd, 0, 2 * HALF, MADV_COLD, 0));
	use_and_reclaim(_metadata, self, self->fd, self->addr, &used, &unused);
	EXPECT_EQ(spared, unused > 8 * used);
	if (!variant->enabled)
		EXPECT_TRUE(spared);
}

/*
 * This does not hold for a mapping of our own, as we are not in the cgroup that pays.
 * Without a region, the last test would end like this.
 */
TEST_F(reclaim, what_is_used_by_strangers_in_other_mappings_is_not_spared)
{
	EXPECT_FALSE(mapping_is_spared(_metadata, self, false));
}

TEST_F(reclaim, who_brings_pages_back_from_swap_does_not_pay)
{
	char others[80];
	long long full;
	int i;

	ASSERT_EQ(0, map_anon(self->fd, 0, 2 * HALF, RW));
	fill(self->addr, 2 * HALF, 1);
	full = read_number(cgroup_file(self->dir, "memory.current"));
	for (i = 0; i < 10 && stat_of(self->fd).swapped < HALF; i++)
		ASSERT_OK(mshare_advise(self->fd, 0, 2 * HALF, MADV_PAGEOUT, 0));
	EXPECT_GE(full - (long long)(HALF / 2),
		  read_number(cgroup_file(self->dir, "memory.current")));
	/* A process that is in a cgroup of its own. */
	snprintf(others, sizeof(others), "%s.others", self->dir);
	ASSERT_OK(mkdir(others, 0755));
	IN_CHILD({
		long long before;

		CHILD_CHECK(write_text(cgroup_file(others, "cgroup.procs"), "0"));
		before = read_number(cgroup_file(others, "memory.current"));
		CHILD_CHECK(!wrong(self->addr, 2 * HALF, 1));
		CHILD_CHECK(read_number(cgroup_file(others, "memory.current")) < before + MIB);
	});
	EXPECT_EQ(0, stat_of(self->fd).swapped);
	EXPECT_LE(full - (long long)MIB, read_number(cgroup_file(self->dir, "memory.current")));
	EXPECT_OK(rmdir(others));
}

TEST(what_is_in_swap_counts_in_the_oom_score)
{
	uint64_t length = meminfo("MemTotal:") * KIB / 32 / MIB * MIB;
	int zram = zram_swap(2 * length), fd = region(GIB), i;
	long long low, score;
	char *addr;

	if (zram < 0)
		SKIP(return, "no swap (zram, mkswap): %m");
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, map_anon(fd, 0, length, RW));
	low = read_number("/proc/self/oom_score");
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	fill(addr, length, 1);
	score = read_number("/proc/self/oom_score");
	/* 1000 / 32 * 2 / 3, less what the swap space adds to all memory. */
	EXPECT_LE(low + 16, score);
	for (i = 0; i < 10 && stat_of(fd).swapped < length / 4 * 3; i++)
		ASSERT_OK(mshare_advise(fd, 0, length, MADV_PAGEOUT, 0));
	EXPECT_LE(length / 4 * 3, stat_of(fd).swapped);
	EXPECT_LE(score - 2, read_number("/proc/self/oom_score"));
	EXPECT_GE(score + 2, read_number("/proc/self/oom_score"));
	ASSERT_OK(mshare_unmap(fd, 0, length, 0));
	EXPECT_GE(low + 2, read_number("/proc/self/oom_score"));
	ASSERT_OK(mshare_detach(addr, 0));
	ASSERT_OK(close(fd));
	EXPECT_TRUE(zram_off(zram));
}

/*
 * Reads the entries of the pages in our page map.  Returns false if a page is not there.
 * A page that is just being moved is waited for.
 */
static bool frames_of(const char *addr, uint64_t *frame, uint64_t pages)
{
	uint64_t i = 0;
	int tries;

	for (tries = 0; tries < 100 && i < pages; tries++) {
		if (!page_map(addr, frame, pages))
			break;
		for (i = 0; i < pages && frame[i] >> 63; i++)
			;
		if (i < pages)
			sleep_ms(10);
	}
	return i == pages;
}

/*
 * Compaction goes from the start of memory to its end and fills the end.  Our pages are
 * spread over more than half of memory, and the pages between them have been given back:
 * wherever ours lay, most of them have to move.
 */
TEST(words_stay_when_memory_is_compacted)
{
	const uint64_t pages = SIZE / PAGE;
	uint64_t step = meminfo("MemFree:") * 1024 / 5 * 3 / pages / PAGE * PAGE;
	int file = memfd(SIZE, 0), filler = memfd(step * pages, 0), fd = region(GIB);
	static uint64_t before[SIZE / PAGE], after[SIZE / PAGE];
	uint64_t i, moved = 0;
	struct crew *crew;
	char *addr;

	ASSERT_LT(0, step);
	for (i = 0; i < pages; i++) {
		ASSERT_OK(fallocate(filler, 0, i * step, step));
		ASSERT_OK(fallocate(file, 0, i * PAGE, PAGE));
	}
	ASSERT_OK(close(filler));
	ASSERT_EQ(0, map_file(fd, 0, SIZE, RW, file));
	ASSERT_OK(close(file));
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	crew = crew_start(fd, 0, SIZE, 2);
	ASSERT_NE(NULL, crew);
	ASSERT_TRUE(crew_advances(crew, 1));
	ASSERT_TRUE(frames_of(addr, before, pages));
	ASSERT_TRUE(write_text("/proc/sys/vm/compact_memory", "1"));
	EXPECT_TRUE(crew_advances(crew, 1));
	ASSERT_TRUE(frames_of(addr, after, pages));
	for (i = 0; i < pages; i++)
		moved += before[i] != after[i];
	TH_LOG("of %llu pages %llu moved", (unsigned long long)pages, (unsigned long long)moved);
	EXPECT_LT(pages / 2, moved);
	EXPECT_EQ(0, crew_ends(crew, addr));
	ASSERT_OK(mshare_detach(addr, 0));
	ASSERT_OK(close(fd));
}

TEST_HARNESS_MAIN
