// SPDX-License-Identifier: GPL-2.0
/* Memory of a region is charged to the cgroup that its creator had. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <sched.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/uio.h>
#include <time.h>

FIXTURE(charge) {
	char dir[64];
	int fd;
	char *addr;
};

static long long charged(FIXTURE_DATA(charge) *self)
{
	return read_number(cgroup_file(self->dir, "memory.current"));
}

/* A child in a cgroup of its own creates the region; we, outside, use it. */
FIXTURE_SETUP(charge)
{
	if (!cgroup_make(self->dir, sizeof(self->dir)))
		SKIP(return, "no cgroup2 with memory: %m");
	self->fd = cgroup_region(self->dir, GIB);
	ASSERT_LE(0, self->fd);
	self->addr = mshare_attach(self->fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, self->addr);
}

FIXTURE_TEARDOWN(charge)
{
	EXPECT_OK(mshare_detach(self->addr, 0));
	close(self->fd);
	/* What it was charged for keeps a cgroup's directory only while it has processes. */
	EXPECT_TRUE(BECOMES(!rmdir(self->dir)));
}

TEST_F(charge, anonymous_memory_that_a_stranger_touches)
{
	long long before = charged(self);

	ASSERT_EQ(0, map_anon(self->fd, 0, 16 * MIB, RW));
	EXPECT_GE(before + (long long)MIB, charged(self));
	fill(self->addr, 16 * MIB, 1);
	EXPECT_LE(before + (long long)(15 * MIB), charged(self));
	EXPECT_GE(before + (long long)(19 * MIB), charged(self));
	ASSERT_OK(mshare_unmap(self->fd, 0, 16 * MIB, 0));
	EXPECT_GE(before + (long long)(3 * MIB), charged(self));
}

TEST_F(charge, reading_holes)
{
	long long before = charged(self);

	ASSERT_EQ(0, map_anon(self->fd, 0, 8 * MIB, RW));
	sum(self->addr, 8 * MIB);
	EXPECT_LE(before + (long long)(7 * MIB), charged(self));
}

TEST_F(charge, populate_by_a_stranger)
{
	long long before = charged(self);

	ASSERT_EQ(0, map_obj(self->fd, 0, 8 * MIB, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE,
			     -1, 0));
	EXPECT_LE(before + (long long)(7 * MIB), charged(self));
	before = charged(self);
	ASSERT_EQ(64 * MIB, map_anon(self->fd, 64 * MIB, 8 * MIB, RW));
	ASSERT_OK(mshare_advise(self->fd, 64 * MIB, 8 * MIB, MADV_POPULATE_WRITE, 0));
	EXPECT_LE(before + (long long)(7 * MIB), charged(self));
}

TEST_F(charge, by_a_system_call_of_a_stranger)
{
	long long before = charged(self);
	int zero = open("/dev/zero", O_RDONLY);

	ASSERT_EQ(0, map_anon(self->fd, 0, 8 * MIB, RW));
	EXPECT_EQ(8 * MIB, read(zero, self->addr, 8 * MIB));
	EXPECT_LE(before + (long long)(7 * MIB), charged(self));
}

/* The kernel's own accesses to pages that are not there: no page fault, but a pin. */
TEST_F(charge, pages_that_process_vm_writev_pins)
{
	struct iovec local = { calloc(1, 8 * MIB), 8 * MIB }, remote = { self->addr, 8 * MIB };
	long long before = charged(self);

	ASSERT_EQ(0, map_anon(self->fd, 0, 8 * MIB, RW));
	EXPECT_EQ(8 * MIB, process_vm_writev(getpid(), &local, 1, &remote, 1, 0));
	EXPECT_LE(before + (long long)(7 * MIB), charged(self));
	EXPECT_LE(8 * MIB, stat_of(self->fd).resident);
}

TEST_F(charge, pages_that_vmsplice_pins)
{
	long long before = charged(self);
	char *buf = malloc(16 * PAGE);
	uint64_t i;
	int ends[2];

	ASSERT_OK(pipe(ends));
	ASSERT_EQ(0, map_anon(self->fd, 0, 8 * MIB, RW));
	for (i = 0; i < 8 * MIB; i += 16 * PAGE) {
		struct iovec iov = { self->addr + i, 16 * PAGE };

		ASSERT_EQ(16 * PAGE, vmsplice(ends[1], &iov, 1, 0));
		ASSERT_EQ(16 * PAGE, read(ends[0], buf, 16 * PAGE));
	}
	EXPECT_LE(before + (long long)(7 * MIB), charged(self));
	close(ends[0]);
	close(ends[1]);
}

TEST_F(charge, pages_that_a_direct_read_pins)
{
	char *buf = malloc(8 * MIB);
	int file = ext4_file(0);
	long long before;

	if (file < 0)
		SKIP(return, NO_DISK);
	fill(buf, 8 * MIB, 1);
	ASSERT_EQ(8 * MIB, pwrite(file, buf, 8 * MIB, 0));
	ASSERT_OK(fsync(file));
	ASSERT_OK(fcntl(file, F_SETFL, O_DIRECT));
	before = charged(self);
	ASSERT_EQ(0, map_anon(self->fd, 0, 8 * MIB, RW));
	EXPECT_EQ(8 * MIB, pread(file, self->addr, 8 * MIB, 0));
	EXPECT_LE(before + (long long)(7 * MIB), charged(self));
	EXPECT_EQ(0, wrong(self->addr, 8 * MIB, 1));
	close(file);
}

TEST_F(charge, page_tables)
{
	long long before = charged(self);
	int i;

	/*
	 * A page and its table, 256 times.  Of what was charged before, each CPU may
	 * have kept up to 63 pages in advance, and give them back now.
	 */
	ASSERT_EQ(0, map_anon(self->fd, 0, GIB, RW));
	for (i = 0; i < 256; i++)
		self->addr[i * 4 * MIB] = 1;
	EXPECT_LE(before + (long long)(440 * PAGE), charged(self));
}

TEST_F(charge, a_creator_that_moves_on_leaves_it_behind)
{
	IN_CHILD({
		long long before;
		char *addr;
		int fd;

		CHILD_CHECK(write_text(cgroup_file(self->dir, "cgroup.procs"), "0"));
		fd = region(GIB);
		CHILD_CHECK(fd >= 0);
		CHILD_CHECK(write_text("/sys/fs/cgroup/cgroup.procs", "0"));
		before = charged(self);
		CHILD_CHECK(map_anon(fd, 0, 16 * MIB, RW) == 0);
		addr = mshare_attach(fd, NULL, 0);
		CHILD_CHECK(addr != MAP_FAILED);
		fill(addr, 16 * MIB, 1);
		CHILD_CHECK(charged(self) >= before + (long long)(15 * MIB));
	});
}

TEST_F(charge, pages_that_were_there_keep_theirs)
{
	int file = memfd(16 * MIB, 0);
	char *plain = mmap(NULL, 16 * MIB, RW, MAP_SHARED, file, 0);
	long long before;

	ASSERT_NE(MAP_FAILED, plain);
	fill(plain, 16 * MIB, 1);
	before = charged(self);
	ASSERT_EQ(0, map_file(self->fd, 0, 16 * MIB, RW, file));
	EXPECT_EQ(0, wrong(self->addr, 16 * MIB, 1));
	EXPECT_GE(before + (long long)MIB, charged(self));
}

TEST_F(charge, pages_that_write_2_brings_in_are_the_writers)
{
	int file = memfd(16 * MIB, 0);
	char *buf = calloc(1, 8 * MIB);
	long long before = charged(self);

	ASSERT_EQ(0, map_file(self->fd, 0, 16 * MIB, RW, file));
	ASSERT_EQ(8 * MIB, pwrite(file, buf, 8 * MIB, 0));
	EXPECT_EQ(0, self->addr[8 * MIB - 1]);
	EXPECT_GE(before + (long long)MIB, charged(self));
	/* The others are brought in by faults. */
	sum(self->addr + 8 * MIB, 8 * MIB);
	EXPECT_LE(before + (long long)(7 * MIB), charged(self));
}

TEST_F(charge, hugetlb_pages_are_not_memory_of_the_cgroup)
{
	long long before = charged(self);

	if (!huge_pages(HUGE, 2))
		SKIP(return, "no huge pages of 2 MiB");
	ASSERT_EQ(0, map_obj(self->fd, 0, 2 * HUGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB,
			     -1, 0));
	fill(self->addr, 2 * HUGE, 1);
	EXPECT_GE(before + (long long)MIB, charged(self));
}

TEST_F(charge, page_cache_that_a_stranger_brings_in)
{
	char *buf = calloc(1, 8 * MIB);
	int file = ext4_file(0);
	long long before;

	if (file < 0)
		SKIP(return, NO_DISK);
	ASSERT_EQ(8 * MIB, pwrite(file, buf, 8 * MIB, 0));
	ASSERT_OK(fsync(file));
	ASSERT_OK(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED));
	before = charged(self);
	ASSERT_EQ(0, map_file(self->fd, 0, 8 * MIB, PROT_READ, file));
	sum(self->addr, 8 * MIB);
	EXPECT_LE(before + (long long)(7 * MIB), charged(self));
}

TEST_F(charge, the_limit_reclaims_page_cache_and_goes_on)
{
	int file = ext4_file(0), i;
	char *buf;

	if (file < 0)
		SKIP(return, NO_DISK);
	buf = malloc(16 * MIB);
	fill(buf, 16 * MIB, 1);
	ASSERT_EQ(16 * MIB, pwrite(file, buf, 16 * MIB, 0));
	ASSERT_OK(fsync(file));
	ASSERT_OK(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED));
	ASSERT_TRUE(write_number(cgroup_file(self->dir, "memory.max"), 8 * MIB));
	ASSERT_EQ(0, map_file(self->fd, 0, 16 * MIB, PROT_READ, file));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, wrong(self->addr, 16 * MIB, 1));
	EXPECT_GE(8 * MIB, charged(self));
}

#define THP	"/sys/kernel/mm/transparent_hugepage/"

TEST_F(charge, huge_pages_that_khugepaged_makes)
{
	long long sleeps = read_number(THP "khugepaged/scan_sleep_millisecs"), huge;
	char path[128];

	if (!shmem_thp())
		SKIP(return, NO_THP);
	strcpy(path, cgroup_file(self->dir, "memory.stat"));
	ASSERT_EQ(0, map_anon(self->fd, 0, 2 * HUGE, RW));
	fill(self->addr, 2 * HUGE, 1);
	EXPECT_EQ(0, file_key(path, "shmem_thp "));
	ASSERT_TRUE(write_number(THP "khugepaged/scan_sleep_millisecs", 10));
	ASSERT_TRUE(write_number(THP "khugepaged/alloc_sleep_millisecs", 10));
	ASSERT_OK(mshare_advise(self->fd, 0, 2 * HUGE, MADV_HUGEPAGE, 0));
	BECOMES(file_key(path, "shmem_thp ") >= (long long)(2 * HUGE));
	huge = file_key(path, "shmem_thp ");
	EXPECT_EQ(2 * HUGE, huge);
	EXPECT_EQ(0, wrong(self->addr, 2 * HUGE, 1));
	write_number(THP "khugepaged/scan_sleep_millisecs", sleeps);
	write_text(THP "shmem_enabled", "never");
}

/* Each huge page takes the place of a small one, and of holes that cost nothing. */
TEST_F(charge, huge_pages_that_a_stranger_collapses)
{
	long long before;

	if (!shmem_thp())
		SKIP(return, NO_THP);
	ASSERT_EQ(0, map_anon(self->fd, 0, 8 * HUGE, RW));
	before = charged(self);
	for (int i = 0; i < 8; i++)
		fill(self->addr + i * HUGE, PAGE, i);
	EXPECT_GE(before + (long long)MIB, charged(self));
	ASSERT_TRUE(lru_drain());
	EXPECT_TRUE(BECOMES(!mshare_advise(self->fd, 0, 8 * HUGE, MADV_COLLAPSE, 0)));
	EXPECT_LE(before + (long long)(15 * MIB), charged(self));
	EXPECT_TRUE(BECOMES(file_key(cgroup_file(self->dir, "memory.stat"), "shmem_thp ") ==
			    (long long)(8 * HUGE)));
	for (int i = 0; i < 8; i++)
		EXPECT_EQ(0, wrong(self->addr + i * HUGE, PAGE, i));
	write_text(THP "shmem_enabled", "never");
}

/*
 * The other half of memory.stat: faults are events of the task that takes them, as
 * everywhere, whichever cgroup pays.  The numbers of each kind in a cgroup.
 */
struct events {
	long long faults, major;
};

/* A timer that is overdue on a CPU that was idle runs with the next tick. */
static void wake_each_cpu(void)
{
	cpu_set_t before;
	clock_t end;
	int cpu;

	sched_getaffinity(0, sizeof(before), &before);
	for (cpu = 0; cpu < cpus(); cpu++) {
		pin(cpu);
		for (end = clock() + CLOCKS_PER_SEC / 20; clock() < end;)
			;
	}
	sched_setaffinity(0, sizeof(before), &before);
}

static struct events events_of(const char *dir)
{
	char path[128];

	/*
	 * Few events do not renew the file.  A work does every 2 s, by a timer that does not
	 * wake an idle CPU.
	 */
	sleep_ms(2500);
	wake_each_cpu();
	sleep_ms(100);
	strcpy(path, cgroup_file(dir, "memory.stat"));
	return (struct events){ file_key(path, "pgfault "), file_key(path, "pgmajfault ") };
}

/* Memory that is in a region, or in an ordinary mapping. */
struct memory {
	int fd;			/* of the region, or -1 */
	char *addr;
};

enum access { NOTHING, STORES, PINS, POPULATES, LOADS };

#define NEW_PAGES	1024

/* In a cgroup that so far has nothing to do with the memory. */
static void access_memory(const char *dir, struct memory m, enum access how, int pages,
			  uint64_t step)
{
	struct iovec local = { NULL, PAGE }, remote = { NULL, PAGE };
	int i;

	CHILD_CHECK(write_text(cgroup_file(dir, "cgroup.procs"), "0"));
	local.iov_base = calloc(1, PAGE);
	for (i = 0; i < pages; i++, m.addr += step) {
		switch (how) {
		case NOTHING:
			break;
		case STORES:
			*(volatile char *)m.addr = 1;
			break;
		case PINS:
			remote.iov_base = m.addr;
			CHILD_CHECK(process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == PAGE);
			break;
		case POPULATES:
			CHILD_CHECK(m.fd >= 0 ?
				!mshare_advise(m.fd, 2 * NEW_PAGES * PAGE, NEW_PAGES * PAGE,
					       MADV_POPULATE_WRITE, 0) :
				!madvise(m.addr, NEW_PAGES * PAGE, MADV_POPULATE_WRITE));
			return;
		case LOADS:
			(void)*(volatile char *)m.addr;
			break;
		}
	}
}

/* What that makes of the events, beside what the process itself costs. */
static struct events events_by(struct __test_metadata *_metadata, const char *dir,
			       struct memory m, enum access how, int pages, uint64_t step)
{
	struct events from, own, to;

	from = events_of(dir);
	IN_CHILD(access_memory(dir, m, NOTHING, pages, step));
	own = events_of(dir);
	IN_CHILD(access_memory(dir, m, how, pages, step));
	to = events_of(dir);
	return (struct events){
		to.faults - own.faults - (own.faults - from.faults),
		to.major - own.major - (own.major - from.major),
	};
}

static void other_cgroup(struct __test_metadata *_metadata, FIXTURE_DATA(charge) *self,
			 char *dir, size_t size)
{
	snprintf(dir, size, "%s.other", self->dir);
	ASSERT_OK(mkdir(dir, 0755));
}

TEST_F(charge, a_fault_is_an_event_of_who_takes_it)
{
	static const enum access ways[] = { STORES, PINS, POPULATES };
	const uint64_t length = NEW_PAGES * PAGE;
	struct memory m[2] = { { -1 }, { self->fd, self->addr } };
	struct events creator = events_of(self->dir), seen;
	char other[80];
	int i, way;

	other_cgroup(_metadata, self, other, sizeof(other));
	m[0].addr = mmap(NULL, 3 * length, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, m[0].addr);
	ASSERT_EQ(0, map_anon(self->fd, 0, 3 * length, RW));
	for (way = 0; way < 3; way++) {
		for (i = 0; i < 2; i++) {
			seen = events_by(_metadata, other, m[i], ways[way], NEW_PAGES, PAGE);
			TH_LOG("%s, way %d: pgfault +%lld, pgmajfault +%lld",
			       i ? "region" : "mmap", way, seen.faults, seen.major);
			/* The process has some of its own, not always as many. */
			EXPECT_LE(NEW_PAGES - 8, seen.faults);
			EXPECT_GE(NEW_PAGES + 8, seen.faults);
			EXPECT_EQ(0, seen.major);
			m[i].addr += length;
		}
	}
	seen = events_of(self->dir);
	EXPECT_EQ(creator.faults, seen.faults);
	EXPECT_TRUE(BECOMES(!rmdir(other)));
}

/* Further apart than what is read at a time. */
#define READS		16
#define READ_STEP	(256 * KIB)

static void all_are_major(struct __test_metadata *_metadata, struct events seen, bool region)
{
	TH_LOG("%s: pgfault +%lld, pgmajfault +%lld", region ? "region" : "mmap", seen.faults,
	       seen.major);
	EXPECT_LE(READS - 8, seen.faults);
	EXPECT_GE(READS + 8, seen.faults);
	EXPECT_EQ(READS, seen.major);
}

TEST_F(charge, a_fault_that_reads_from_disk_is_a_major_one)
{
	struct memory m[2] = { { -1 }, { self->fd, self->addr } };
	int file = ext4_file(READS * READ_STEP), i;
	char other[80], *buf = malloc(READ_STEP);
	struct events seen;

	if (file < 0)
		SKIP(return, NO_DISK);
	other_cgroup(_metadata, self, other, sizeof(other));
	memset(buf, 1, READ_STEP);
	for (i = 0; i < READS; i++)
		ASSERT_EQ(READ_STEP, pwrite(file, buf, READ_STEP, i * READ_STEP));
	ASSERT_OK(fsync(file));
	m[0].addr = mmap(NULL, READS * READ_STEP, RW, MAP_SHARED, file, 0);
	ASSERT_NE(MAP_FAILED, m[0].addr);
	ASSERT_EQ(0, map_file(self->fd, 0, READS * READ_STEP, RW, file));
	for (i = 0; i < 2; i++) {
		ASSERT_OK(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED));
		seen = events_by(_metadata, other, m[i], LOADS, READS, READ_STEP);
		/* It has waited and come again, and is counted once. */
		all_are_major(_metadata, seen, i);
		if (!i)
			ASSERT_OK(munmap(m[i].addr, READS * READ_STEP));
	}
	EXPECT_TRUE(BECOMES(!rmdir(other)));
}

#define ZRAM	"/dev/zram0"

/* One page at a time, and no longer in the swap cache: that disk does not make wait. */
TEST_F(charge, a_fault_that_reads_from_swap_space_is_a_major_one)
{
	struct memory m[2] = { { -1 }, { self->fd, self->addr } };
	long long cluster = read_number("/proc/sys/vm/page-cluster");
	uint64_t length = READS * PAGE;
	unsigned char in[READS];
	int i, page, there, try;
	struct events seen;
	char other[80];

	if (!write_number("/sys/block/zram0/disksize", 64 * MIB) || !swap_on(ZRAM))
		SKIP(return, "no swap space on " ZRAM ": %m");
	other_cgroup(_metadata, self, other, sizeof(other));
	m[0].addr = mmap(NULL, length, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, m[0].addr);
	ASSERT_EQ(0, map_anon(self->fd, 0, length, RW));
	EXPECT_TRUE(write_number("/proc/sys/vm/page-cluster", 0));
	for (i = 0; i < 2; i++) {
		/*
		 * A page that somebody had a reference to stays in the swap cache, where no
		 * advice finds it: it is in use once more, and then goes.
		 */
		for (try = 0, there = READS; try < 20 && there; try++) {
			memset(m[i].addr, 1, length);
			lru_drain();
			if (i)
				ASSERT_OK(mshare_advise(self->fd, 0, length, MADV_PAGEOUT, 0));
			else
				ASSERT_OK(madvise(m[i].addr, length, MADV_PAGEOUT));
			ASSERT_OK(mincore(m[i].addr, length, in));
			for (page = 0, there = 0; page < READS; page++)
				there += in[page] & 1;
		}
		EXPECT_EQ(0, there);
		EXPECT_EQ(length, smaps(m[i].addr, "Swap"));
		seen = events_by(_metadata, other, m[i], LOADS, READS, PAGE);
		all_are_major(_metadata, seen, i);
	}
	EXPECT_TRUE(write_number("/proc/sys/vm/page-cluster", cluster));
	EXPECT_OK(swapoff(ZRAM));
	write_number("/sys/block/zram0/reset", 1);
	EXPECT_TRUE(BECOMES(!rmdir(other)));
}

static long long dying(const char *dir)
{
	return file_key(cgroup_file(dir, "cgroup.stat"), "nr_dying_descendants ");
}

/*
 * Each CPU keeps some charge of the cgroup that it charged last, and so the cgroup:
 * makes that another one.
 */
static void charge_elsewhere(const char *dir)
{
	int cpu, i;

	CHILD_CHECK(write_text(cgroup_file(dir, "cgroup.procs"), "0"));
	for (cpu = 0; cpu < cpus(); cpu++) {
		char *memory = mmap(NULL, MIB, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		pin(cpu);
		memset(memory, 1, MIB);
		for (i = 0; i < 16; i++)
			close(open("/dev/null", O_RDONLY));
	}
}

/* In a cgroup of its own, where those of other tests are not counted. */
TEST_F(charge, a_cgroup_that_was_removed_goes_with_the_region)
{
	char base[80], inner[96], *addr;
	int fd, i;

	snprintf(base, sizeof(base), "%s.base", self->dir);
	ASSERT_TRUE(cgroup_make_pair(base, inner, sizeof(inner)));
	fd = cgroup_region(inner, GIB);
	ASSERT_LE(0, fd);
	addr = attached(fd, 0, 8 * MIB);
	ASSERT_NE(NULL, addr);
	fill(addr, 4 * MIB, 1);
	EXPECT_EQ(0, dying(base));
	ASSERT_TRUE(BECOMES(!rmdir(inner)));
	/* It goes on. */
	EXPECT_EQ(1, dying(base));
	fill(addr, 8 * MIB, 1);
	EXPECT_EQ(0, wrong(addr, 8 * MIB, 1));
	EXPECT_EQ(1, dying(base));
	ASSERT_OK(mshare_detach(addr, 0));
	ASSERT_OK(close(fd));
	EXPECT_TRUE(sys_mshare_becomes("regions", 1));
	for (i = 0; i < 1200 && dying(base); i++) {
		IN_CHILD(charge_elsewhere(self->dir));
		sleep_ms(50);
	}
	EXPECT_EQ(0, dying(base));
	EXPECT_OK(rmdir(base));
}

/* Stores into each page from FROM to TO; the first offset where that faults. */
static uint64_t filled_to(char *addr, uint64_t from, uint64_t to)
{
	while (from < to && !try_store(addr + from, 1))
		from += PAGE;
	return from;
}

/* A limit that can no longer be seen or raised does not count. */
TEST_F(charge, when_its_cgroup_was_removed_the_nearest_above_pays)
{
	char outer[96], inner[112], *addr;
	uint64_t i;
	int fd;

	snprintf(outer, sizeof(outer), "%s.outer", self->dir);
	ASSERT_TRUE(cgroup_make_pair(outer, inner, sizeof(inner)));
	ASSERT_TRUE(write_text(cgroup_file(outer, "memory.swap.max"), "0"));
	fd = cgroup_region(inner, 4 * GIB);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, map_obj(fd, 0, 4 * GIB, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			     0));
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_TRUE(write_number(cgroup_file(inner, "memory.max"), 2 * MIB));
	ASSERT_TRUE(write_number(cgroup_file(outer, "memory.max"), 24 * MIB));
	ASSERT_TRUE(BECOMES(!rmdir(inner)));

	/* Page tables: 4 MiB of them, with 4 MiB of memory. */
	for (i = 0; i < 1024; i++)
		ASSERT_EQ(FAULT_NONE, try_store(addr + i * 2 * MIB, 1));
	EXPECT_LE((long long)(7 * MIB), read_number(cgroup_file(outer, "memory.current")));
	/* And memory, by a fault, a pin and populating. */
	ASSERT_EQ(2 * GIB + 4 * MIB, filled_to(addr, 2 * GIB, 2 * GIB + 4 * MIB));
	i = open("/dev/zero", O_RDONLY);
	EXPECT_EQ(4 * MIB, read(i, addr + 2 * GIB + 4 * MIB, 4 * MIB));
	close(i);
	EXPECT_OK(mshare_advise(fd, 2 * GIB + 8 * MIB, 2 * MIB, MADV_POPULATE_WRITE, 0));
	EXPECT_LE((long long)(17 * MIB), read_number(cgroup_file(outer, "memory.current")));
	/* The limit above does count, until that is gone as well. */
	EXPECT_GT(3 * GIB + 24 * MIB, filled_to(addr, 3 * GIB, 3 * GIB + 24 * MIB));
	EXPECT_TRUE(BECOMES(!rmdir(outer)));
	EXPECT_EQ(3 * GIB + 24 * MIB, filled_to(addr, 3 * GIB, 3 * GIB + 24 * MIB));
	ASSERT_OK(mshare_detach(addr, 0));
	ASSERT_OK(close(fd));
}

/* The core lets a task above a limit reclaim from its own cgroup: that is another one. */
TEST(memory_high_of_the_creator_makes_strangers_reclaim)
{
	const uint64_t size = 64 * MIB, high = 16 * MIB;
	int fd, file = ext4_file(size);
	char dir[64], *addr;
	uint64_t at;

	if (file < 0)
		SKIP(return, NO_DISK);
	if (!cgroup_make(dir, sizeof(dir)))
		SKIP(return, "no cgroup2 with memory: %m");
	fd = cgroup_region(dir, GIB);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, map_file(fd, 0, size, PROT_READ, file));
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_TRUE(write_number(cgroup_file(dir, "memory.high"), high));
	for (at = 0; at < size; at += PAGE)
		ASSERT_EQ(0, *(volatile char *)(addr + at));
	/* By a worker, so a little later. */
	EXPECT_TRUE(BECOMES(read_number(cgroup_file(dir, "memory.current")) < 2 * high)) {
		TH_LOG("%lld bytes", read_number(cgroup_file(dir, "memory.current")));
	}
	EXPECT_LT(0, file_key(cgroup_file(dir, "memory.events"), "high "));
	ASSERT_OK(mshare_detach(addr, 0));
	close(fd);
	close(file);
	EXPECT_EQ(0, settled());
	EXPECT_OK(rmdir(dir));
}

TEST_HARNESS_MAIN
