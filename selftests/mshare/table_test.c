// SPDX-License-Identifier: GPL-2.0
/* PTE tables that are freed while the region is in use, and made again. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "crew.h"

#include <sys/uio.h>
#include <time.h>

/* A PTE table maps 2 MiB, in 4096 bytes. */
#define TABLES	4
#define SIZE	(TABLES * HUGE)

FIXTURE(table) {
	int fd;
	char *addr;
	/* Page-table bytes of the region before anything at OBJECT has been touched. */
	uint64_t untouched;
};

/* Another table has the first MiB, so that the PMD table stays. */
#define OBJECT	(4 * HUGE)

FIXTURE_SETUP(table)
{
	self->addr = filled_region(&self->fd, 0, MIB);
	ASSERT_NE(NULL, self->addr);
	self->untouched = stat_of(self->fd).pgtable_bytes;
}

FIXTURE_TEARDOWN(table)
{
	EXPECT_EQ(0, wrong(self->addr, MIB, 1));
	EXPECT_OK(mshare_detach(self->addr, 0));
	EXPECT_OK(close(self->fd));
	EXPECT_EQ(0, settled());
}

/* The number of PTE tables that the test has made. */
static uint64_t tables(const FIXTURE_DATA(table) *self)
{
	return (stat_of(self->fd).pgtable_bytes - self->untouched) / PAGE;
}

TEST_F(table, DONTNEED_of_2_MiB_frees_it)
{
	ASSERT_EQ(OBJECT, map_anon(self->fd, OBJECT, SIZE, RW));
	fill(self->addr + OBJECT, SIZE, 2);
	ASSERT_EQ(TABLES, tables(self));

	ASSERT_OK(mshare_advise(self->fd, OBJECT + HUGE, 2 * HUGE, MADV_DONTNEED, 0));
	EXPECT_EQ(TABLES - 2, tables(self));
	EXPECT_EQ(MIB + 2 * HUGE, stat_of(self->fd).resident);
	EXPECT_EQ(0, wrong(self->addr + OBJECT, SIZE, 2));
	EXPECT_EQ(TABLES, tables(self));
	IN_CHILD(CHILD_CHECK(!wrong(self->addr + OBJECT, SIZE, 2)));
	EXPECT_EQ(TABLES, tables(self));
}

TEST_F(table, a_part_of_it_leaves_it)
{
	ASSERT_EQ(OBJECT, map_anon(self->fd, OBJECT, SIZE, RW));
	fill(self->addr + OBJECT, SIZE, 2);

	/* The advice ends inside the first table and begins inside the last one. */
	ASSERT_OK(mshare_advise(self->fd, OBJECT, HUGE - PAGE, MADV_DONTNEED, 0));
	ASSERT_OK(mshare_advise(self->fd, OBJECT + 3 * HUGE + PAGE, HUGE - PAGE, MADV_DONTNEED, 0));
	EXPECT_EQ(TABLES, tables(self));
	/* Nothing is left in the first one, but no advice covered all of it. */
	ASSERT_OK(mshare_advise(self->fd, OBJECT + HUGE - PAGE, PAGE, MADV_DONTNEED, 0));
	EXPECT_EQ(TABLES, tables(self));
	/* Both ends are inside a table, and two tables are in between. */
	ASSERT_OK(mshare_advise(self->fd, OBJECT + PAGE, 3 * HUGE, MADV_DONTNEED, 0));
	EXPECT_EQ(TABLES - 2, tables(self));
	EXPECT_EQ(0, wrong(self->addr + OBJECT, SIZE, 2));
}

TEST_F(table, advice_of_another_kind_leaves_it)
{
	static const int other[] = { MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED,
				     MADV_COLD };
	unsigned int i;

	/* Makes empty tables, which DONTNEED leaves because no call covers all of one. */
	ASSERT_EQ(OBJECT, map_anon(self->fd, OBJECT, SIZE, RW));
	fill(self->addr + OBJECT, SIZE, 2);
	for (i = 0; i < 2 * TABLES; i++)
		ASSERT_OK(mshare_advise(self->fd, OBJECT + i * MIB, MIB, MADV_DONTNEED, 0));
	ASSERT_EQ(TABLES, tables(self));
	for (i = 0; i < sizeof(other) / sizeof(other[0]); i++)
		EXPECT_OK(mshare_advise(self->fd, OBJECT, SIZE, other[i], 0));
	EXPECT_EQ(TABLES, tables(self));
	ASSERT_OK(mshare_advise(self->fd, OBJECT, SIZE, MADV_DONTNEED, 0));
	EXPECT_EQ(0, tables(self));
}

TEST_F(table, REMOVE_of_2_MiB_frees_it)
{
	uint64_t i;

	ASSERT_EQ(OBJECT, map_anon(self->fd, OBJECT, SIZE, RW));
	fill(self->addr + OBJECT, SIZE, 2);
	ASSERT_OK(mshare_advise(self->fd, OBJECT, 3 * HUGE, MADV_REMOVE, 0));
	EXPECT_EQ(TABLES - 3, tables(self));
	for (i = 0; i < 3 * HUGE; i += PAGE)
		ASSERT_EQ(0, self->addr[OBJECT + i + 8]);
	EXPECT_EQ(TABLES, tables(self));
	fill(self->addr + OBJECT, SIZE, 3);
	EXPECT_EQ(0, wrong(self->addr + OBJECT, SIZE, 3));
}

TEST_F(table, PAGEOUT_frees_what_it_empties)
{
	int file = ext4_file(SIZE);
	char *second;

	if (file < 0)
		SKIP(return, NO_DISK);
	ASSERT_EQ(OBJECT, map_file(self->fd, OBJECT, SIZE, RW, file));
	fill(self->addr + OBJECT, SIZE, 2);
	ASSERT_OK(fsync(file));
	/* Two attachments use the pages, and one page table maps them. */
	second = mshare_attach(self->fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, second);
	ASSERT_EQ(0, wrong(second + OBJECT, SIZE, 2));
	ASSERT_TRUE(lru_drain());
	ASSERT_EQ(TABLES, tables(self));

	/* Pages that were written back go; reclaim may have to look twice. */
	EXPECT_TRUE(BECOMES(!mshare_advise(self->fd, OBJECT, 2 * HUGE, MADV_PAGEOUT, 0) &&
			    tables(self) == TABLES - 2)) {
		TH_LOG("%d tables, %lld bytes", (int)tables(self),
		       (long long)stat_of(self->fd).resident);
	}
	EXPECT_EQ(MIB + 2 * HUGE, stat_of(self->fd).resident);
	EXPECT_EQ(0, wrong(self->addr + OBJECT, SIZE, 2));
	ASSERT_OK(mshare_detach(second, 0));
}

/* Advice does not take a page that is also mapped elsewhere. */
TEST_F(table, PAGEOUT_leaves_what_cannot_go)
{
	int file = memfd(SIZE, 0);
	volatile char *own = mmap(NULL, SIZE, RW, MAP_SHARED, file, 0);

	ASSERT_NE(MAP_FAILED, own);
	ASSERT_EQ(OBJECT, map_file(self->fd, OBJECT, SIZE, RW, file));
	own[HUGE] = 2;
	own[2 * HUGE - PAGE] = 3;
	EXPECT_EQ(2, self->addr[OBJECT + HUGE]);
	EXPECT_EQ(3, self->addr[OBJECT + 2 * HUGE - PAGE]);
	ASSERT_TRUE(lru_drain());
	ASSERT_EQ(1, tables(self));
	ASSERT_OK(mshare_advise(self->fd, OBJECT, SIZE, MADV_PAGEOUT, 0));
	EXPECT_EQ(1, tables(self));
	EXPECT_EQ(MIB + 2 * PAGE, stat_of(self->fd).resident);
	EXPECT_EQ(2, self->addr[OBJECT + HUGE]);
	EXPECT_EQ(3, self->addr[OBJECT + 2 * HUGE - PAGE]);
}

TEST_F(table, several_objects_share_it)
{
	uint64_t half = HUGE / 2, stays = OBJECT + HUGE + half;

	/* The second one ends, and the last one begins, in the middle of a table. */
	ASSERT_EQ(OBJECT, map_anon(self->fd, OBJECT, half, RW));
	ASSERT_EQ(OBJECT + half, map_anon(self->fd, OBJECT + half, HUGE, RW));
	ASSERT_EQ(stays + PAGE, map_anon(self->fd, stays + PAGE, half, RW));
	fill(self->addr + OBJECT, HUGE + half, 2);
	fill(self->addr + stays + PAGE, PAGE, 3);
	ASSERT_EQ(2, tables(self));
	/* Up to the hole: the page behind it stays in the second table. */
	ASSERT_OK(mshare_advise(self->fd, OBJECT, HUGE + half, MADV_DONTNEED, 0));
	EXPECT_EQ(1, tables(self));
	EXPECT_EQ(MIB + PAGE, stat_of(self->fd).resident);
	/* A hole is an error, but the rest is advised. */
	EXPECT_ERR(ENOMEM, mshare_advise(self->fd, OBJECT, 2 * HUGE, MADV_DONTNEED, 0));
	EXPECT_EQ(0, tables(self));
	EXPECT_EQ(0, wrong(self->addr + OBJECT, HUGE + half, 2));
	EXPECT_EQ(0, wrong(self->addr + stays + PAGE, PAGE, 3));
}

TEST_F(table, huge_pages_have_none)
{
	if (!huge_pages(HUGE, 2))
		SKIP(return, "no huge pages of 2 MiB");
	ASSERT_EQ(OBJECT, map_obj(self->fd, OBJECT, 2 * HUGE, RW,
				  MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0));
	ASSERT_EQ(OBJECT + 2 * HUGE, map_anon(self->fd, OBJECT + 2 * HUGE, 2 * HUGE, RW));
	fill(self->addr + OBJECT, SIZE, 2);
	ASSERT_EQ(2, tables(self));
	ASSERT_OK(mshare_advise(self->fd, OBJECT, SIZE, MADV_DONTNEED, 0));
	EXPECT_EQ(0, tables(self));
	EXPECT_EQ(0, wrong(self->addr + OBJECT, SIZE, 2));
}

/* Others attach it at other addresses, and more than a GiB is advised at once. */
TEST(a_large_range_of_a_region_that_many_use)
{
	int fd = region(4 * GIB), i;
	char *addr = attached(fd, 0, 0);
	uint64_t at, before;

	ASSERT_NE(NULL, addr);
	ASSERT_EQ(0, map_obj(fd, 0, 4 * GIB, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			     0));
	before = stat_of(fd).pgtable_bytes;
	for (at = 0; at < 4 * GIB; at += 32 * HUGE)
		addr[at + PAGE] = at / HUGE + 1;
	/* A PMD table for each GiB stays. */
	EXPECT_EQ(before + (4 + 64) * PAGE, stat_of(fd).pgtable_bytes);
	for (i = 0; i < 2; i++)
		IN_CHILD(CHILD_CHECK(mshare_attach(fd, NULL, 0) != MAP_FAILED);
			 CHILD_CHECK(!mshare_advise(fd, PAGE, 4 * GIB - PAGE, MADV_DONTNEED, 0)));
	EXPECT_EQ(before + (4 + 1) * PAGE, stat_of(fd).pgtable_bytes);
	for (at = 0; at < 4 * GIB; at += 32 * HUGE)
		ASSERT_EQ((char)(at / HUGE + 1), addr[at + PAGE]);
	EXPECT_OK(mshare_detach(addr, 0));
	EXPECT_OK(close(fd));
}

/* Reads words of a crew's object as a debugger does: with slow GUP. */
static void peeks(struct crew *crew, pid_t pid, char *object)
{
	uint64_t page, word;

	for (page = 0; !crew->stop; page = (page + 1) % crew->pages) {
		struct iovec to = { &word, 8 };
		struct iovec from = { (void *)crew_word(object, page, 0), 8 };

		if (process_vm_readv(pid, &to, 1, &from, 1, 0) != 8 ||
		    (word && (uint32_t)word != page))
			crew_bad(crew, 0, page, word, page);
	}
}

/* Puts words into a pipe without copying them: with fast GUP. */
static void splices(struct crew *crew, char *object)
{
	uint64_t page, word;
	int ends[2];

	if (pipe(ends))
		crew->bad++;
	for (page = 0; !crew->stop; page = (page + 1) % crew->pages) {
		struct iovec from = { (void *)crew_word(object, page, 0), 8 };

		if (vmsplice(ends[1], &from, 1, 0) != 8 || read(ends[0], &word, 8) != 8 ||
		    (word && (uint32_t)word != page))
			crew_bad(crew, 0, page, word, page);
	}
}

/* Enough on a fast machine.  A slow one goes on until it has done ten rounds. */
#define SECONDS	10

static bool goes_on(int done, time_t end)
{
	return done < 10 || (done < 1000 && time(NULL) < end);
}

static const int kinds[] = { MADV_DONTNEED, MADV_PAGEOUT, MADV_DONTNEED, MADV_COLD };

/*
 * Members write to all pages, two more processes pin them, and one truncates a file that
 * is mapped in the same tables, while the tables are taken away all the time.
 */
TEST_F(table, words_stay_while_it_comes_and_goes)
{
	int file = memfd(HUGE, 0), i;
	time_t end = time(NULL) + SECONDS;
	struct crew *crew;
	pid_t pid[3];

	ASSERT_EQ(OBJECT, map_anon(self->fd, OBJECT, SIZE + MIB, RW));
	ASSERT_EQ(OBJECT + SIZE + MIB, map_file(self->fd, OBJECT + SIZE + MIB, MIB, RW, file));
	crew = crew_start(self->fd, OBJECT, SIZE + MIB, 2);
	ASSERT_NE(NULL, crew);
	for (i = 0; i < 3; i++) {
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (pid[i])
			continue;
		if (i == 0)
			peeks(crew, getppid(), self->addr + OBJECT);
		else if (i == 1)
			splices(crew, self->addr + OBJECT);
		while (!crew->stop) {
			CHILD_CHECK(!ftruncate(file, PAGE));
			CHILD_CHECK(!ftruncate(file, HUGE));
			self->addr[OBJECT + SIZE + MIB] = 1;
		}
		_exit(0);
	}
	for (i = 0; goes_on(i, end); i++)
		ASSERT_OK(mshare_advise(self->fd, OBJECT, SIZE + HUGE, kinds[i % 4], 0));
	TH_LOG("%d times", i);
	EXPECT_TRUE(crew_advances(crew, 2));
	crew->stop = 1;
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, wait_for(pid[i]));
	EXPECT_EQ(0, crew_ends(crew, self->addr + OBJECT));
}

/* They attach, touch, and are killed or exit at any time. */
TEST_F(table, processes_come_and_go_meanwhile)
{
	volatile int *stop = shared_page();
	time_t end = time(NULL) + SECONDS;
	int i, turn;
	pid_t pid[2];

	ASSERT_NE(NULL, stop);
	ASSERT_EQ(OBJECT, map_anon(self->fd, OBJECT, SIZE, RW));
	/* The same in each table. */
	for (i = 0; i < TABLES; i++)
		fill(self->addr + OBJECT + i * HUGE, HUGE, 2);
	for (i = 0; i < 2; i++) {
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (pid[i])
			continue;
		for (turn = 0; !*stop; turn++)
			IN_CHILD({
				char *addr = mshare_attach(self->fd, NULL, 0);

				CHILD_CHECK(addr != MAP_FAILED);
				alarm(10);
				CHILD_CHECK(!wrong(addr + OBJECT + turn % TABLES * HUGE, HUGE, 2));
			});
		_exit(__test_passed(_metadata) ? 0 : 1);
	}
	for (i = 0; goes_on(i, end); i++) {
		ASSERT_OK(mshare_advise(self->fd, OBJECT, SIZE, MADV_DONTNEED, 0));
		if (i % 4 == 0)
			sleep_ms(5);
	}
	TH_LOG("%d times", i);
	*stop = 1;
	for (i = 0; i < 2; i++)
		EXPECT_EQ(0, wait_for(pid[i]));
	for (i = 0; i < TABLES; i++)
		EXPECT_EQ(0, wrong(self->addr + OBJECT + i * HUGE, HUGE, 2));
}

TEST_HARNESS_MAIN
