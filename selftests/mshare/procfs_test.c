// SPDX-License-Identifier: GPL-2.0
/* What /proc shows of an attachment. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#include <linux/perf_event.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#define ANON	(MAP_SHARED | MAP_ANONYMOUS)

FIXTURE(procfs) {
	int fd;
	char *addr;
	uint64_t length;
};

FIXTURE_VARIANT(procfs) {
	int flags;
	bool thp;
};

FIXTURE_VARIANT_ADD(procfs, small_pages) { };
FIXTURE_VARIANT_ADD(procfs, transparent_huge_pages) { .thp = true };
FIXTURE_VARIANT_ADD(procfs, huge_pages) { .flags = MAP_HUGETLB };

FIXTURE_SETUP(procfs)
{
	self->fd = mshare_create("shown", 0);
	ASSERT_LE(0, self->fd);
	ASSERT_OK(ftruncate(self->fd, GIB));
	if (variant->flags && !huge_pages(HUGE, 2))
		SKIP(return, "no huge pages of 2 MiB");
	if (variant->thp && !shmem_thp())
		SKIP(return, NO_THP);
	self->length = 2 * HUGE;
	ASSERT_EQ(0, map_obj(self->fd, 0, self->length, RW, ANON | variant->flags, -1, 0));
	if (variant->thp)
		ASSERT_OK(mshare_advise(self->fd, 0, self->length, MADV_HUGEPAGE, 0));
	self->addr = mshare_attach(self->fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, self->addr);
	fill(self->addr, self->length, 1);
}

FIXTURE_TEARDOWN(procfs)
{
	EXPECT_EQ(0, wrong(self->addr, self->length, 1));
	EXPECT_EQ(self->length, stat_of(self->fd).resident);
	IN_CHILD(CHILD_CHECK(!wrong(self->addr, self->length, 1)));
	EXPECT_OK(mshare_detach(self->addr, 0));
}

TEST_F(procfs, maps_shows_permissions_and_name)
{
	struct { unsigned int flags; const char *perms; } const ways[] = {
		{ 0, " rw-s " }, { MSHARE_ATTACH_RDONLY, " r--s " },
		{ MSHARE_ATTACH_EXEC, " rwxs " },
		{ MSHARE_ATTACH_RDONLY | MSHARE_ATTACH_EXEC, " r-xs " },
	};
	int i;

	for (i = 0; i < 4; i++) {
		char *addr = mshare_attach(self->fd, NULL, ways[i].flags);
		char *line;

		ASSERT_NE(MAP_FAILED, addr);
		line = maps_line(addr);
		EXPECT_TRUE(strstr(line, ways[i].perms) && strstr(line, "/mshare:shown")) {
			TH_LOG("flags %u: %s", ways[i].flags, line);
		}
		ASSERT_OK(mshare_detach(addr, 0));
	}
}

TEST_F(procfs, smaps_has_the_flag_pt)
{
	char *flags = strstr(smaps_block(self->addr), "VmFlags:");

	ASSERT_NE(NULL, flags);
	EXPECT_TRUE(strstr(flags, " pt ") || strstr(flags, " pt\n")) {
		TH_LOG("%s", flags);
	}
	EXPECT_TRUE(!!strstr(flags, " sh"));
	EXPECT_TRUE(!!strstr(flags, " dd"));
}

TEST_F(procfs, reading_everything_does_no_harm)
{
	static const char *const files[] = { "smaps", "smaps_rollup", "numa_maps", "maps", "status",
					     "statm", "stat" };
	uint64_t entries[1024];
	unsigned char vec[1024];
	char path[64];
	unsigned int i;
	int fd;

	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		sprintf(path, "/proc/self/%s", files[i]);
		free(slurp(path));
	}
	fd = open("/proc/self/pagemap", O_RDONLY);
	ASSERT_LE(0, fd);
	EXPECT_EQ(sizeof(entries), pread(fd, entries, sizeof(entries),
					 (uint64_t)self->addr / PAGE * 8));
	EXPECT_OK(mincore(self->addr, self->length, vec));
}

TEST_F(procfs, clear_refs_does_no_harm)
{
	static const char *const ways[] = { "1", "2", "3", "4", "5" };
	int i;

	for (i = 0; i < 5; i++) {
		EXPECT_TRUE(write_text("/proc/self/clear_refs", ways[i]));
		EXPECT_EQ(0, wrong(self->addr, self->length, 1));
		fill(self->addr, self->length, 1);
	}
}

TEST_F(procfs, map_files_names_it)
{
	char path[128], target[256] = {};

	sprintf(path, "/proc/self/map_files/%lx-%lx", (unsigned long)self->addr,
		(unsigned long)(self->addr + SLOT));
	if (readlink(path, target, sizeof(target) - 1) < 0)
		SKIP(return, "no map_files: %m");
	EXPECT_EQ(0, strncmp(target, "/mshare:shown", strlen("/mshare:shown"))) {
		TH_LOG("%s", target);
	}
}

TEST_F(procfs, another_process_can_be_looked_at)
{
	char path[64];
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		pause();
		_exit(0);
	}
	sprintf(path, "/proc/%d/smaps", pid);
	EXPECT_TRUE(!!strstr(slurp(path), "/mshare:shown"));
	sprintf(path, "/proc/%d/numa_maps", pid);
	free(slurp(path));
	sprintf(path, "/proc/%d/clear_refs", pid);
	EXPECT_TRUE(write_text(path, "1"));
	kill(pid, SIGKILL);
	wait_for(pid);
}

TEST(perf_sees_no_mmap_events_of_objects)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE, .size = sizeof(attr), .config = PERF_COUNT_SW_DUMMY,
		.mmap = 1, .mmap_data = 1,
	};
	int event = syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0), fd = region(GIB);
	struct perf_event_mmap_page *ring;
	uint64_t head;

	if (event < 0)
		SKIP(return, "no perf events: %m");
	ASSERT_LE(0, fd);
	ring = mmap(NULL, 9 * PAGE, RW, MAP_SHARED, event, 0);
	ASSERT_NE(MAP_FAILED, ring);
	head = ring->data_head;
	/* An ordinary mapping is seen. */
	ASSERT_NE(MAP_FAILED, mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	EXPECT_LT(head, ring->data_head);
	ASSERT_NE(MAP_FAILED, mshare_attach(fd, NULL, 0));
	head = ring->data_head;
	ASSERT_EQ(0, map_anon(fd, 0, MIB, RW | PROT_EXEC));
	ASSERT_EQ(MIB, map_file(fd, MIB, MIB, PROT_READ, memfd(MIB, 0)));
	EXPECT_EQ(head, ring->data_head);
}

/* An access to a page that is not there is one fault of that kind, at its address. */
static void perf_sees_a_fault(struct __test_metadata *_metadata, uint64_t kind, char *addr)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE, .size = sizeof(attr), .config = kind,
		.sample_period = 1, .sample_type = PERF_SAMPLE_ADDR,
	};
	int event = syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
	struct { struct perf_event_header header; uint64_t addr; } *sample;
	struct perf_event_mmap_page *ring;
	uint64_t head;

	if (event < 0)
		SKIP(return, "no perf events: %m");
	ring = mmap(NULL, 9 * PAGE, RW, MAP_SHARED, event, 0);
	ASSERT_NE(MAP_FAILED, ring);
	head = ring->data_head;
	addr[5 * PAGE + 1] = 1;
	ASSERT_EQ(head + sizeof(*sample), ring->data_head);
	sample = (void *)((char *)ring + ring->data_offset + head);
	EXPECT_EQ(PERF_RECORD_SAMPLE, sample->header.type);
	EXPECT_EQ((uintptr_t)(addr + 5 * PAGE + 1), sample->addr);
	ASSERT_OK(munmap(ring, 9 * PAGE));
	close(event);
}

TEST(perf_sees_faults_at_the_addresses_of_the_guest)
{
	int fd = region(GIB);
	char *addr = attached(fd, 0, MIB);

	ASSERT_NE(NULL, addr);
	perf_sees_a_fault(_metadata, PERF_COUNT_SW_PAGE_FAULTS_MIN, addr);
	ASSERT_OK(mshare_detach(addr, 0));
	close(fd);
}

TEST(perf_sees_faults_that_read_from_disk_there_too)
{
	int file = ext4_file(MIB), fd;
	char *addr;

	if (file < 0)
		SKIP(return, NO_DISK);
	/* On the disk, and no longer in the page cache. */
	ASSERT_EQ(1, pwrite(file, "x", 1, 5 * PAGE));
	ASSERT_OK(fsync(file));
	ASSERT_OK(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED));
	addr = file_region(&fd, file, MIB);
	ASSERT_NE(NULL, addr);
	perf_sees_a_fault(_metadata, PERF_COUNT_SW_PAGE_FAULTS_MAJ, addr);
	EXPECT_EQ('x', addr[5 * PAGE]);
	ASSERT_OK(mshare_detach(addr, 0));
	close(fd);
}

static long long page_count(uint64_t pfn)
{
	int file = open("/proc/kpagecount", O_RDONLY);
	uint64_t count = -1;

	if (file < 0 || pread(file, &count, sizeof(count), pfn * sizeof(count)) != sizeof(count))
		perror("/proc/kpagecount");
	close(file);
	return count;
}

/* It tells in how many page tables a page is, and those of a region are one. */
TEST(kpagecount_is_1_for_any_number_of_processes)
{
	int file = memfd(PAGE, 0), fd, i, pair[2];
	volatile int *loaded = shared_page();
	uint64_t entry, pfn;
	char *addr, *plain;
	pid_t pid[3];

	addr = file_region(&fd, file, PAGE);
	ASSERT_NE(NULL, addr);
	addr[0] = 1;
	ASSERT_OK(pipe(pair));
	for (i = 0; i < 3; i++) {
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (pid[i])
			continue;
		__atomic_add_fetch(loaded, addr[0], __ATOMIC_SEQ_CST);
		close(pair[1]);
		_exit(read(pair[0], &entry, 1));
	}
	ASSERT_TRUE(BECOMES(*loaded == 3));
	ASSERT_TRUE(page_map(addr, &entry, 1));
	pfn = entry & ((1ULL << 55) - 1);
	ASSERT_NE(0, pfn);
	EXPECT_EQ(4, stat_of(fd).attachments);
	EXPECT_EQ(1, page_count(pfn));
	plain = mmap(NULL, PAGE, RW, MAP_SHARED, file, 0);
	ASSERT_NE(MAP_FAILED, plain);
	EXPECT_EQ(1, plain[0]);
	EXPECT_EQ(2, page_count(pfn));
	ASSERT_OK(munmap(plain, PAGE));
	ASSERT_OK(mshare_unmap(fd, 0, PAGE, 0));
	EXPECT_EQ(0, page_count(pfn));
	close(pair[1]);
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, wait_for(pid[i]));
}

/* Is the path that of an object of the region behind this descriptor? */
static bool has_object(int fd, const char *path)
{
	char info[64], *text;
	bool has;

	sprintf(info, "/proc/self/fdinfo/%d", fd);
	text = slurp(info);
	has = text && strstr(text, path);
	free(text);
	return has;
}

/*
 * fuser(1) and lsof(8) inspect descriptors and mappings.  The process that keeps this
 * file system busy has neither on it; root can open the region and find the file.
 */
TEST(a_file_that_only_an_attachment_keeps_busy_can_be_found)
{
	char dir[] = "/tmp/mst.XXXXXX", path[64], *addr;
	int file, fd, pair[2], found;
	pid_t pid;

	ASSERT_NE(NULL, mkdtemp(dir));
	if (mount("mst", dir, "tmpfs", 0, "size=16m"))
		SKIP(return, "no tmpfs: %m");
	sprintf(path, "%s/busy", dir);
	file = open(path, O_RDWR | O_CREAT, 0600);
	ASSERT_LE(0, file);
	ASSERT_OK(ftruncate(file, PAGE));
	addr = file_region(&fd, file, PAGE);
	ASSERT_NE(NULL, addr);
	ASSERT_OK(pipe(pair));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(fd);
		close(file);
		close(pair[1]);
		_exit(read(pair[0], path, 1));
	}
	ASSERT_OK(mshare_detach(addr, 0));
	close(fd);
	close(file);
	close(pair[0]);
	EXPECT_ERR(EBUSY, umount(dir));
	sprintf(path, "/proc/%d/map_files/%lx-%lx", pid, (unsigned long)addr,
		(unsigned long)(addr + SLOT));
	found = open(path, O_RDONLY);
	EXPECT_LE(0, found) {
		TH_LOG("%s: %m", path);
	}
	sprintf(path, "%s/busy", dir);
	EXPECT_TRUE(has_object(found, path));
	close(found);
	close(pair[1]);
	EXPECT_EQ(0, wait_for(pid));
	EXPECT_TRUE(BECOMES(!umount(dir)));
	EXPECT_OK(rmdir(dir));
}

/* The score is in thousandths of the memory of the machine, two thirds of them. */
static long long oom_score(void)
{
	return read_number("/proc/self/oom_score");
}

static void fill_region(struct __test_metadata *_metadata, int fd, uint64_t length)
{
	ASSERT_LE(0, fd);
	ASSERT_OK(ftruncate(fd, GIB));
	ASSERT_EQ(0, map_anon(fd, 0, length, RW));
	ASSERT_OK(mshare_advise(fd, 0, length, MADV_POPULATE_WRITE, 0));
}

TEST(who_is_attached_has_all_of_the_region_in_the_oom_score)
{
	uint64_t length = meminfo("MemTotal:") * KIB / 16;
	int fd = mshare_create("shared", 0), low, other = region(GIB);
	char *addr[2];

	length -= length % PAGE;
	fill_region(_metadata, fd, length);
	/* A descriptor alone is no reason to be killed. */
	low = oom_score();
	addr[0] = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr[0]);
	/* 1000 / 16 * 2 / 3 */
	EXPECT_LE(low + 38, oom_score());
	EXPECT_GE(low + 46, oom_score());
	/*
	 * Twice in the process, and others between that, once in the score; and each
	 * process has all of it.
	 */
	ASSERT_NE(MAP_FAILED, mshare_attach(other, NULL, 0));
	addr[1] = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr[1]);
	ASSERT_NE(MAP_FAILED, mshare_attach(other, NULL, 0));
	EXPECT_GE(low + 46, oom_score());
	IN_CHILD(CHILD_CHECK(oom_score() >= low + 38));
	ASSERT_OK(mshare_detach(addr[0], 0));
	EXPECT_LE(low + 38, oom_score());
	ASSERT_OK(mshare_detach(addr[1], 0));
	EXPECT_GE(low + 2, oom_score());
}

TEST(page_tables_of_a_region_count_in_the_oom_score)
{
	/* A page and its table, so many times. */
	uint64_t pages = meminfo("MemTotal:") * KIB / 32 / PAGE, i;
	int fd = region(SLOT), low = oom_score();
	char *addr;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, map_obj(fd, 0, pages * 2 * MIB, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE,
			     -1, 0));
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	for (i = 0; i < pages; i++)
		addr[i * 2 * MIB] = 1;
	EXPECT_EQ(pages * PAGE, stat_of(fd).resident);
	/* 1000 / 16 * 2 / 3 */
	EXPECT_LE(low + 38, oom_score());
	EXPECT_GE(low + 46, oom_score());
	ASSERT_OK(mshare_detach(addr, 0));
	ASSERT_OK(close(fd));
}

TEST(an_owner_has_all_of_its_region_in_the_oom_score_and_nobody_else)
{
	uint64_t length = meminfo("MemTotal:") * KIB / 16;
	int low = oom_score(), fd = mshare_create("owned", MSHARE_OWNED);

	length -= length % PAGE;
	fill_region(_metadata, fd, length);
	EXPECT_LE(low + 38, oom_score());
	ASSERT_NE(MAP_FAILED, mshare_attach(fd, NULL, 0));
	EXPECT_GE(low + 46, oom_score());
	IN_CHILD(CHILD_CHECK(oom_score() <= low + 2));
}

TEST_HARNESS_MAIN
