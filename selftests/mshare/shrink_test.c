// SPDX-License-Identifier: GPL-2.0
/* The shrinker frees PTE tables of regions when memory is short. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "crew.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#define SECONDS	10
#define DEBUG	"/sys/kernel/debug/shrinker"
/* The least number of objects that it counts.  They stand for all tables. */
#define ALL	8192
/* One turn in this many also takes tables that are not in use. */
#define TURNS	16

#define TABLES	8
#define SIZE	(TABLES * HUGE)

/* The region is paid for by a cgroup of its own; we are outside. */
FIXTURE(shrink) {
	char dir[64];
	int fd, file;
	char *addr;
	/* Page-table bytes of the region when only its first page has been touched. */
	uint64_t untouched;
};

/* Another table has the first page, so that the PMD table stays. */
#define OBJECT	(4 * HUGE)

FIXTURE_SETUP(shrink)
{
	if (!cgroup_make(self->dir, sizeof(self->dir)))
		SKIP(return, "no cgroup2 with memory: %m");
	self->fd = cgroup_region(self->dir, GIB);
	ASSERT_LE(0, self->fd);
	self->addr = attached(self->fd, 0, PAGE);
	ASSERT_NE(NULL, self->addr);
	self->addr[0] = 1;
	self->untouched = stat_of(self->fd).pgtable_bytes;
	self->file = ext4_file(SIZE);
	if (self->file < 0)
		SKIP(return, NO_DISK);
	ASSERT_EQ(OBJECT, map_file(self->fd, OBJECT, SIZE, RW, self->file));
	fill(self->addr + OBJECT, SIZE, 2);
}

FIXTURE_TEARDOWN(shrink)
{
	EXPECT_OK(mshare_detach(self->addr, 0));
	EXPECT_OK(close(self->fd));
	close(self->file);
	EXPECT_EQ(0, settled());
	EXPECT_TRUE(BECOMES(!rmdir(self->dir)));
}

/* The number of PTE tables; the first one may be gone, too. */
static int64_t tables(const FIXTURE_DATA(shrink) *self)
{
	return (int64_t)(stat_of(self->fd).pgtable_bytes - self->untouched) / (int64_t)PAGE;
}

/* Empties the tables of SIZE bytes but keeps them: no advice covers all of one. */
static bool emptied(int fd, uint64_t at)
{
	int i, err = 0;

	for (i = 0; i < 2 * TABLES; i++)
		err |= mshare_advise(fd, at + i * MIB, MIB, MADV_DONTNEED, 0);
	return !err;
}

/* All shrinkers, of all cgroups. */
static bool shrink_all(void)
{
	return write_text("/proc/sys/vm/drop_caches", "2");
}

/* A file of our shrinker; NULL without CONFIG_SHRINKER_DEBUG. */
static const char *shrinker_file(const char *name)
{
	static char path[300];
	struct dirent *entry;
	DIR *shrinkers;

	shrinkers = opendir(DEBUG);
	if (!shrinkers)
		return NULL;
	*path = 0;
	while (!*path && (entry = readdir(shrinkers)))
		if (!strncmp(entry->d_name, "mshare-", 7))
			snprintf(path, sizeof(path), DEBUG "/%s/%s", entry->d_name, name);
	closedir(shrinkers);
	return *path ? path : NULL;
}

/* One turn through all tables of a cgroup. */
static bool turn(const char *dir)
{
	struct stat st;
	char text[64];

	if (stat(dir, &st))
		return false;
	snprintf(text, sizeof(text), "%llu 0 %d", (unsigned long long)st.st_ino, ALL);
	return write_text(shrinker_file("scan"), text);
}

/* Those of one cgroup.  Without swap space there may be nothing else: that is not an error. */
static bool shrink_cgroup(const char *dir)
{
	return write_text(cgroup_file(dir, "memory.reclaim"), "1M") || errno == EAGAIN;
}

TEST_F(shrink, empty_tables_go)
{
	long long all = sys_mshare("tables_reclaimed");

	ASSERT_TRUE(emptied(self->fd, OBJECT));
	ASSERT_EQ(TABLES, tables(self));
	ASSERT_EQ(0, stat_of(self->fd).tables_reclaimed);
	/* At once, since nothing has to age; the first page of the region has its table. */
	ASSERT_TRUE(shrink_all());
	EXPECT_GE(0, tables(self));
	EXPECT_LE(TABLES, stat_of(self->fd).tables_reclaimed);
	EXPECT_EQ(all + stat_of(self->fd).tables_reclaimed, sys_mshare("tables_reclaimed"));
	EXPECT_EQ(0, stat_of(self->fd).tables_dropped);
	EXPECT_EQ(0, wrong(self->addr + OBJECT, SIZE, 2));
	EXPECT_EQ(1, self->addr[0]);
}

/* Pages stay in the page cache, without an entry, and are written back in the end. */
TEST_F(shrink, tables_that_nobody_uses_go)
{
	EXPECT_TRUE(BECOMES(shrink_all() && tables(self) <= 0));
	ASSERT_OK(fsync(self->file));
	ASSERT_TRUE(write_text("/proc/sys/vm/drop_caches", "1"));
	EXPECT_EQ(0, wrong(self->addr + OBJECT, SIZE, 2));
	EXPECT_EQ(TABLES, tables(self));
}

/* The OOM killer has to know who keeps it: oom_test. */
TEST_F(shrink, memory_without_a_file_on_disk_stays_mapped)
{
	uint64_t resident;
	int file = memfd(SIZE, 0), i;

	ASSERT_EQ(OBJECT + SIZE, map_anon(self->fd, OBJECT + SIZE, SIZE, RW));
	ASSERT_EQ(OBJECT + 2 * SIZE, map_file(self->fd, OBJECT + 2 * SIZE, SIZE, RW, file));
	fill(self->addr + OBJECT + SIZE, 2 * SIZE, 3);
	EXPECT_TRUE(BECOMES(shrink_all() && tables(self) == 2 * TABLES));
	resident = stat_of(self->fd).resident;
	EXPECT_EQ(PAGE + 2 * SIZE, resident);
	for (i = 0; i < 10; i++)
		ASSERT_TRUE(shrink_all());
	EXPECT_EQ(resident, stat_of(self->fd).resident);
	EXPECT_EQ(2 * TABLES, tables(self));
}

/*
 * Processes that have nothing of the first table in their TLBs use it between the turns.
 * It is still there when the others are gone.
 */
TEST_F(shrink, a_table_in_use_stays)
{
	uint64_t entry = 0, resident;
	int turns = 0;

	if (!shrinker_file("scan"))
		SKIP(return, "no CONFIG_SHRINKER_DEBUG");
	EXPECT_EQ(0, wrong(self->addr + OBJECT, SIZE, 2));
	do {
		IN_CHILD(CHILD_CHECK(!wrong(self->addr + OBJECT, HUGE, 2)));
		ASSERT_TRUE(turn(self->dir));
		resident = stat_of(self->fd).resident;
	} while (resident == SIZE + PAGE && ++turns < 3 * TURNS);
	TH_LOG("the others are gone after %d turns", turns);
	EXPECT_LT(TURNS, turns);
	EXPECT_EQ(HUGE + PAGE, resident);
	ASSERT_TRUE(page_map(self->addr + OBJECT + PAGE, &entry, 1));
	EXPECT_NE(0, entry >> 63);
}

/* A cgroup that needs memory frees only tables that it pays for. */
TEST_F(shrink, only_the_cgroup_that_is_short_of_memory_loses_them)
{
	int fd = region(GIB);
	char *addr = attached(fd, 0, SIZE);
	uint64_t bytes;

	ASSERT_NE(NULL, addr);
	fill(addr, SIZE, 3);
	ASSERT_TRUE(emptied(self->fd, OBJECT));
	bytes = stat_of(fd).pgtable_bytes;
	EXPECT_TRUE(BECOMES(shrink_cgroup(self->dir) && tables(self) <= 0));
	EXPECT_EQ(bytes, stat_of(fd).pgtable_bytes);
	EXPECT_EQ(0, stat_of(fd).tables_reclaimed);
	EXPECT_OK(mshare_detach(addr, 0));
	EXPECT_OK(close(fd));
}

/* Regions without a table to take: ten with that of the fixture. */
#define FULL	9

/*
 * All empty tables of a region go in as few calls as if the others, of which nothing can be
 * taken, were not there: each of them is looked at again after 20 ms only.
 */
TEST_F(shrink, regions_without_a_table_to_take_are_passed_over)
{
	const int empty = 1024, a_call = 64;
	int full[FULL], fd, calls = 0, i;
	char *addr[FULL], *memory;
	uint64_t from;
	long long ms;

	if (!shrinker_file("scan"))
		SKIP(return, "no CONFIG_SHRINKER_DEBUG");
	for (i = 0; i < FULL; i++) {
		full[i] = cgroup_region(self->dir, GIB);
		ASSERT_LE(0, full[i]);
		addr[i] = attached(full[i], 0, PAGE);
		ASSERT_NE(NULL, addr[i]);
		addr[i][0] = 1;
	}
	/* The one of the fixture first gives what nobody uses. */
	for (i = 0; i < 10 * 10 * TURNS; i++)
		ASSERT_TRUE(turn(self->dir));
	EXPECT_GE(0, tables(self));

	fd = cgroup_region(self->dir, 2 * GIB);
	ASSERT_LE(0, fd);
	memory = attached(fd, 0, empty * HUGE);
	ASSERT_NE(NULL, memory);
	for (i = 0; i < empty; i++) {
		memory[i * HUGE] = 1;
		ASSERT_OK(mshare_advise(fd, i * HUGE, PAGE, MADV_DONTNEED, 0));
	}
	from = now_ns();
	while (stat_of(fd).tables_reclaimed < (uint64_t)empty && ++calls < 100 * empty)
		ASSERT_TRUE(turn(self->dir));
	ms = (now_ns() - from) / 1000000;
	TH_LOG("%d calls in %lld ms", calls, ms);
	EXPECT_LE(empty / a_call, calls);
	EXPECT_GE(empty / a_call + 4 + 10 * (ms / 20 + 2), calls);

	EXPECT_OK(mshare_detach(memory, 0));
	EXPECT_OK(close(fd));
	for (i = 0; i < FULL; i++) {
		EXPECT_EQ(0, stat_of(full[i]).tables_reclaimed);
		EXPECT_OK(mshare_detach(addr[i], 0));
		EXPECT_OK(close(full[i]));
	}
}

/* How long some turns take, in us: the best of three. */
static long long turns_take(struct __test_metadata *_metadata, const char *dir)
{
	long long time, best = INT64_MAX;
	uint64_t from;
	int i, round;

	for (round = 0; round < 3; round++) {
		from = now_ns();
		for (i = 0; i < 300; i++)
			ASSERT_TRUE(turn(dir));
		time = (now_ns() - from) / 1000;
		if (time < best)
			best = time;
	}
	return best;
}

/* Strangers with many regions do not delay a cgroup that is short of memory. */
TEST_F(shrink, it_takes_no_longer_when_others_have_many_regions)
{
	const char *limit = "/sys/kernel/mm/mshare/max_regions_per_user";
	const int regions = 10000;
	struct rlimit files = { 2 * regions, 2 * regions };
	long long old = read_number(limit), few, many;
	int i;

	if (!shrinker_file("scan"))
		SKIP(return, "no CONFIG_SHRINKER_DEBUG");
	ASSERT_OK(setrlimit(RLIMIT_NOFILE, &files));
	few = turns_take(_metadata, self->dir);
	ASSERT_TRUE(write_number(limit, 0));
	/* Nothing ends the test before the limit is what it was. */
	for (i = 0; i < regions && region(PAGE) >= 0; i++)
		;
	EXPECT_TRUE(write_number(limit, old));
	ASSERT_EQ(regions, i);
	many = turns_take(_metadata, self->dir);
	TH_LOG("%lld us, with many %lld us", few, many);
	/* The clock may have ticks of 4 ms. */
	EXPECT_GE(3 * few + 20000, many);
	close_range(self->file + 1, ~0U, 0);
}

TEST_F(shrink, when_its_cgroup_was_removed_the_nearest_above_frees_them)
{
	char outer[96], inner[112], *addr;
	uint64_t bytes;
	int fd;

	snprintf(outer, sizeof(outer), "%s.outer", self->dir);
	ASSERT_TRUE(cgroup_make_pair(outer, inner, sizeof(inner)));
	fd = cgroup_region(inner, GIB);
	ASSERT_LE(0, fd);
	addr = attached(fd, 0, SIZE);
	ASSERT_NE(NULL, addr);
	fill(addr, SIZE, 3);
	ASSERT_TRUE(BECOMES(!rmdir(inner)));
	bytes = stat_of(fd).pgtable_bytes;
	ASSERT_TRUE(emptied(fd, 0));
	ASSERT_EQ(bytes, stat_of(fd).pgtable_bytes);
	EXPECT_TRUE(BECOMES(shrink_cgroup(outer) &&
			    stat_of(fd).pgtable_bytes <= bytes - SIZE / HUGE * PAGE));
	EXPECT_EQ(0, wrong(addr, SIZE, 3));
	EXPECT_OK(mshare_detach(addr, 0));
	EXPECT_OK(close(fd));
	EXPECT_TRUE(BECOMES(!rmdir(outer)));
}

/* Does the shrinker know of a region of that cgroup? */
static bool counted(const char *dir)
{
	struct stat st;
	char key[32];

	if (stat(dir, &st))
		return false;
	snprintf(key, sizeof(key), "%llu ", (unsigned long long)st.st_ino);
	return file_key(shrinker_file("count"), key) > 0;
}

/* The kernel finds lists by an ID of the cgroup, which is free again after its removal. */
TEST_F(shrink, a_region_of_a_removed_cgroup_leaves_those_of_later_ones_alone)
{
	enum { CGROUPS = 8 };
	char base[96], dir[CGROUPS][112];
	int fd[CGROUPS], later[CGROUPS], i;

	if (!shrinker_file("count"))
		SKIP(return, "no CONFIG_SHRINKER_DEBUG");
	snprintf(base, sizeof(base), "%s.base", self->dir);
	ASSERT_OK(mkdir(base, 0755));
	ASSERT_TRUE(write_text(cgroup_file(base, "cgroup.subtree_control"), "+memory"));
	for (i = 0; i < CGROUPS; i++) {
		snprintf(dir[i], sizeof(dir[i]), "%s/%d", base, i);
		ASSERT_OK(mkdir(dir[i], 0755));
		fd[i] = cgroup_region(dir[i], GIB);
		ASSERT_LE(0, fd[i]);
		EXPECT_TRUE(counted(dir[i]));
	}
	EXPECT_FALSE(counted(base));
	for (i = 0; i < CGROUPS; i++)
		ASSERT_TRUE(BECOMES(!rmdir(dir[i])));
	/* The first is offline.  The others are so soon. */
	ASSERT_TRUE(BECOMES(counted(base)));
	sleep_ms(500);
	for (i = 0; i < CGROUPS; i++) {
		ASSERT_OK(mkdir(dir[i], 0755));
		later[i] = cgroup_region(dir[i], GIB);
		ASSERT_LE(0, later[i]);
		EXPECT_TRUE(counted(dir[i]));
	}
	for (i = 0; i < CGROUPS; i++)
		EXPECT_OK(close(fd[i]));
	EXPECT_TRUE(BECOMES(!counted(base)));
	for (i = 0; i < CGROUPS; i++) {
		EXPECT_TRUE(counted(dir[i]));
		EXPECT_OK(close(later[i]));
		EXPECT_TRUE(BECOMES(!counted(dir[i])));
		EXPECT_TRUE(BECOMES(!rmdir(dir[i])));
	}
	EXPECT_TRUE(BECOMES(!rmdir(base)));
}

TEST_F(shrink, words_stay_while_tables_come_and_go)
{
	time_t end = time(NULL) + SECONDS;
	int i, file = ext4_file(SIZE);
	uint64_t at = OBJECT + SIZE;
	struct crew *crew;

	ASSERT_LE(0, file);
	ASSERT_EQ(at, map_file(self->fd, at, SIZE, RW, file));
	crew = crew_start(self->fd, at, SIZE, 3);
	ASSERT_NE(NULL, crew);
	for (i = 0; i < 10 || (i < 500 && (time(NULL) < end ||
					   stat_of(self->fd).tables_reclaimed <= TABLES)); i++)
		ASSERT_TRUE(i & 1 ? shrink_all() : shrink_cgroup(self->dir));
	EXPECT_TRUE(crew_advances(crew, 2));
	EXPECT_EQ(0, crew_ends(crew, self->addr + at));
	EXPECT_LT(TABLES, stat_of(self->fd).tables_reclaimed);
	EXPECT_EQ(0, wrong(self->addr + OBJECT, SIZE, 2));
}

/* Regions are made, looked at, changed and let go while the shrinker looks at them. */
TEST_F(shrink, regions_come_and_go_meanwhile)
{
	volatile int *stop = shared_page();
	time_t end = time(NULL) + SECONDS;
	pid_t pid[2];
	int i;

	ASSERT_NE(NULL, stop);
	for (i = 0; i < 2; i++) {
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (pid[i])
			continue;
		while (!*stop) {
			int fd = region(GIB);
			char *addr = attached(fd, 0, 2 * HUGE);

			CHILD_CHECK(addr);
			fill(addr, 2 * HUGE, 4);
			CHILD_CHECK(smaps(addr, "Rss") >= 0);
			CHILD_CHECK(!wrong(addr, 2 * HUGE, 4));
			CHILD_CHECK(!mshare_unmap(fd, HUGE, HUGE, 0));
			CHILD_CHECK(!close(fd) && !mshare_detach(addr, 0));
		}
		_exit(0);
	}
	for (i = 0; i < 10 || (i < 500 && time(NULL) < end); i++)
		ASSERT_TRUE(shrink_all());
	*stop = 1;
	for (i = 0; i < 2; i++)
		EXPECT_EQ(0, wait_for(pid[i]));
	EXPECT_EQ(0, wrong(self->addr + OBJECT, SIZE, 2));
}

TEST_HARNESS_MAIN
