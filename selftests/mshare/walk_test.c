// SPDX-License-Identifier: GPL-2.0
/* Reports about the memory of a process include the pages behind its attachments. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"
#include "pagemap.h"

#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ANON		(MAP_SHARED | MAP_ANONYMOUS)
/* Offset of the second object, behind a gap. */
#define FAR		(8 * MIB)

#define PM_PRESENT	(1ULL << 63)
#define PM_FILE		(1ULL << 61)
#define PM_EXCLUSIVE	(1ULL << 56)
#define PM_FRAME	((1ULL << 55) - 1)

FIXTURE(walk) {
	int fd;
	char *addr;
	uint64_t length;
};

FIXTURE_VARIANT(walk) {
	int flags;
	bool thp;
};

FIXTURE_VARIANT_ADD(walk, small_pages) { };
FIXTURE_VARIANT_ADD(walk, transparent_huge_pages) { .thp = true };
FIXTURE_VARIANT_ADD(walk, huge_pages) { .flags = MAP_HUGETLB };

/* An object of LENGTH bytes that is present, one of a page behind FAR that is not. */
FIXTURE_SETUP(walk)
{
	self->fd = region(GIB);
	ASSERT_LE(0, self->fd);
	if (variant->flags && !huge_pages(HUGE, 2))
		SKIP(return, "no huge pages of 2 MiB");
	if (variant->thp && !shmem_thp())
		SKIP(return, NO_THP);
	self->length = 2 * HUGE;
	ASSERT_EQ(0, map_obj(self->fd, 0, self->length, RW, ANON | variant->flags, -1, 0));
	ASSERT_EQ(FAR, map_anon(self->fd, FAR, PAGE, RW));
	if (variant->thp)
		ASSERT_OK(mshare_advise(self->fd, 0, self->length, MADV_HUGEPAGE, 0));
	self->addr = mshare_attach(self->fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, self->addr);
	fill(self->addr, self->length, 1);
}

FIXTURE_TEARDOWN(walk)
{
	EXPECT_EQ(0, wrong(self->addr, self->length, 1));
	EXPECT_OK(mshare_detach(self->addr, 0));
}

TEST_F(walk, smaps)
{
	const char *shared = variant->flags ? "Shared_Hugetlb" : "Shared_Dirty";
	uint64_t rss = variant->flags ? 0 : self->length;
	char *second;

	EXPECT_EQ(rss, smaps(self->addr, "Rss"));
	EXPECT_EQ(rss, smaps(self->addr, "Pss"));
	EXPECT_EQ(rss, smaps(self->addr, "Referenced"));
	EXPECT_EQ(self->length, smaps(self->addr, shared));
	EXPECT_EQ(0, smaps(self->addr, "Private_Clean"));
	EXPECT_EQ(0, smaps(self->addr, "Private_Dirty"));
	EXPECT_EQ(0, smaps(self->addr, "Private_Hugetlb"));
	EXPECT_EQ(0, smaps(self->addr, "Swap"));
	EXPECT_EQ(variant->thp ? self->length : 0, smaps(self->addr, "ShmemPmdMapped"));

	second = mshare_attach(self->fd, NULL, MSHARE_ATTACH_RDONLY);
	ASSERT_NE(MAP_FAILED, second);
	EXPECT_EQ(rss, smaps(second, "Rss"));
	EXPECT_EQ(rss / 2, smaps(second, "Pss"));
	EXPECT_EQ(rss / 2, smaps(second, "Pss_Dirty"));
	EXPECT_EQ(rss / 2, smaps(self->addr, "Pss"));
	EXPECT_EQ(self->length, smaps(self->addr, shared));
	ASSERT_OK(mshare_detach(second, 0));
	EXPECT_EQ(rss, smaps(self->addr, "Pss"));
}

TEST_F(walk, smaps_rollup)
{
	const char *key = variant->flags ? "Shared_Hugetlb" : "Pss_Shmem";
	long long one = smaps(NULL, key), two;
	char *second = mshare_attach(self->fd, NULL, 0);

	ASSERT_NE(MAP_FAILED, second);
	two = smaps(NULL, key);
	/* Huge pages count twice; other pages are half in the one and half in the other. */
	EXPECT_EQ(one + (variant->flags ? self->length : 0), two);
	ASSERT_OK(mshare_detach(second, 0));
	EXPECT_LE(self->length, one);
}

/* The line of numa_maps of a mapping, and its pages on all nodes; from malloc(). */
static char *numa_maps(const char *addr, unsigned long *pages)
{
	char *text = slurp("/proc/self/numa_maps"), want[32], *line, *at;

	snprintf(want, sizeof(want), "%lx ", (unsigned long)addr);
	line = strstr(text, want);
	line = strndup(line ? line : "", line ? strcspn(line, "\n") : 0);
	*pages = 0;
	for (at = strstr(line, " N"); at; at = strstr(at + 1, " N"))
		*pages += strtoul(strchr(at, '=') + 1, NULL, 10);
	free(text);
	return line;
}

TEST_F(walk, numa_maps)
{
	unsigned long pages;
	char *text = numa_maps(self->addr, &pages), *line;

	line = strstr(text, " dirty=");
	ASSERT_NE(NULL, line);
	EXPECT_EQ(self->length / PAGE, strtoul(line + strlen(" dirty="), NULL, 10));
	EXPECT_TRUE(!!strstr(line, " kernelpagesize_kB=4"));
	EXPECT_EQ(self->length / PAGE, pages);
	free(text);
}

TEST_F(walk, pagemap)
{
	uint64_t n = (FAR + 2 * PAGE) / PAGE, *entry = calloc(n, 8), *other = calloc(n, 8);
	uint64_t chunk[2], i;
	int pagemap = open("/proc/self/pagemap", O_RDONLY);
	char *second = mshare_attach(self->fd, NULL, MSHARE_ATTACH_RDONLY);

	ASSERT_NE(MAP_FAILED, second);
	ASSERT_EQ(n * 8, pread(pagemap, entry, n * 8, (uint64_t)self->addr / PAGE * 8));
	ASSERT_EQ(n * 8, pread(pagemap, other, n * 8, (uint64_t)second / PAGE * 8));
	for (i = 0; i + 256 < n; i++) {
		ASSERT_EQ(i < self->length / PAGE ? PM_PRESENT | PM_FILE : 0,
			  entry[i] & (PM_PRESENT | PM_FILE)) {
			TH_LOG("page %llu", (unsigned long long)i);
		}
		ASSERT_EQ(entry[i], other[i]);
		if (i % 512)
			continue;
		/* A chunk that begins and ends anywhere. */
		ASSERT_EQ(16, pread(pagemap, chunk, 16,
				    ((uint64_t)self->addr / PAGE + i + 255) * 8));
		ASSERT_EQ(entry[i + 255], chunk[0]);
		ASSERT_EQ(entry[i + 256], chunk[1]);
	}
	for (i = 1; variant->flags && i < 512; i++)
		ASSERT_EQ((entry[i - 1] & PM_FRAME) + 1, entry[i] & PM_FRAME);
	EXPECT_NE(0, entry[0] & PM_FRAME);
	close(pagemap);
	ASSERT_OK(mshare_detach(second, 0));
}

FIXTURE(frames) {
	uint64_t pages, *entry, *other;
	char *addr;
};

FIXTURE_VARIANT(frames) {
	int flags;
	bool thp;
};

FIXTURE_VARIANT_ADD(frames, small_pages) { };
FIXTURE_VARIANT_ADD(frames, transparent_huge_pages) { .thp = true };
FIXTURE_VARIANT_ADD(frames, huge_pages) { .flags = MFD_HUGETLB };

/* A file that is present in a region, and what the page map says of an ordinary mapping. */
FIXTURE_SETUP(frames)
{
	uint64_t size = 2 * HUGE, i;
	int file, fd;
	char *plain;

	if (variant->flags && !huge_pages(HUGE, 2))
		SKIP(return, "no huge pages of 2 MiB");
	if (variant->thp && !shmem_thp())
		SKIP(return, NO_THP);
	file = memfd(size, variant->flags);
	ASSERT_LE(0, file);
	self->addr = file_region(&fd, file, size);
	ASSERT_NE(NULL, self->addr);
	if (variant->thp)
		ASSERT_OK(mshare_advise(fd, 0, size, MADV_HUGEPAGE, 0));
	fill(self->addr, size, 1);
	EXPECT_EQ(variant->thp ? size : 0, smaps(self->addr, "ShmemPmdMapped"));
	plain = mmap(NULL, size, RW, MAP_SHARED, file, 0);
	ASSERT_NE(MAP_FAILED, plain);
	ASSERT_EQ(0, wrong(plain, size, 1));
	self->pages = size / PAGE;
	self->entry = calloc(self->pages, sizeof(*self->entry));
	self->other = calloc(self->pages, sizeof(*self->other));
	ASSERT_TRUE(page_map(plain, self->other, self->pages));
	/* Each is another. */
	for (i = 1; i < self->pages; i++) {
		ASSERT_NE(self->other[i - 1] & PM_FRAME, self->other[i] & PM_FRAME);
	}
}

FIXTURE_TEARDOWN(frames)
{
}

TEST_F(frames, are_those_of_an_ordinary_mapping)
{
	uint64_t i;

	ASSERT_TRUE(page_map(self->addr, self->entry, self->pages));
	for (i = 0; i < self->pages; i++) {
		ASSERT_NE(0, self->entry[i] & PM_FRAME);
		ASSERT_EQ(self->other[i] & PM_FRAME, self->entry[i] & PM_FRAME);
	}
}

TEST_F(frames, are_for_an_administrator_only)
{
	IN_CHILD({
		uint64_t i;

		CHILD_CHECK(!setresgid(65534, 65534, 65534) && !setresuid(65534, 65534, 65534));
		/* So that it may open files of its own in /proc. */
		CHILD_CHECK(!prctl(PR_SET_DUMPABLE, 1));
		CHILD_CHECK(page_map(self->addr, self->entry, self->pages));
		for (i = 0; i < self->pages; i++) {
			CHILD_CHECK((self->entry[i] & (PM_PRESENT | PM_FILE)) ==
				    (PM_PRESENT | PM_FILE));
			CHILD_CHECK(!(self->entry[i] & PM_FRAME));
		}
	});
}

static int scan(char *addr, uint64_t length, uint64_t flags, struct page_region *found,
		uint64_t want, struct pm_scan_arg *arg)
{
	int fd = open("/proc/self/pagemap", O_RDONLY), n;

	*arg = (struct pm_scan_arg) {
		.size = sizeof(*arg), .flags = flags,
		.start = (uint64_t)addr, .end = (uint64_t)addr + length,
		.vec = (uint64_t)found, .vec_len = want,
		.category_mask = PAGE_IS_PRESENT,
		.return_mask = PAGE_IS_PRESENT | PAGE_IS_FILE | PAGE_IS_HUGE,
	};
	n = ioctl(fd, PAGEMAP_SCAN, arg);
	close(fd);
	return n;
}

TEST_F(walk, pagemap_scan)
{
	bool huge = variant->flags || variant->thp;
	uint64_t categories = PAGE_IS_PRESENT | PAGE_IS_FILE | (huge ? PAGE_IS_HUGE : 0);
	struct page_region found[4] = {};
	struct pm_scan_arg arg;
	char *next;

	self->addr[FAR] = 1;
	ASSERT_EQ(2, scan(self->addr, SLOT, 0, found, 4, &arg));
	EXPECT_EQ((uint64_t)self->addr, found[0].start);
	EXPECT_EQ((uint64_t)self->addr + self->length, found[0].end);
	EXPECT_EQ(categories, found[0].categories);
	EXPECT_EQ((uint64_t)self->addr + FAR, found[1].start);
	EXPECT_EQ((uint64_t)self->addr + FAR + PAGE, found[1].end);
	EXPECT_EQ(arg.end, arg.walk_end);

	/* One range at a time: where it stops is an address of the caller. */
	ASSERT_EQ(1, scan(self->addr, SLOT, 0, found, 1, &arg));
	EXPECT_EQ((uint64_t)self->addr + self->length, found[0].end);
	EXPECT_EQ((uint64_t)self->addr + FAR, arg.walk_end);
	next = (char *)arg.walk_end;
	ASSERT_EQ(1, scan(next, SLOT - FAR, 0, found, 1, &arg));
	EXPECT_EQ((uint64_t)next, found[0].start);

	/* What is behind the attachment has its own addresses again. */
	next = mmap(self->addr + SLOT, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
		    -1, 0);
	ASSERT_NE(MAP_FAILED, next);
	*next = 1;
	ASSERT_EQ(3, scan(self->addr, SLOT + PAGE, 0, found, 4, &arg));
	EXPECT_EQ((uint64_t)next, found[2].start);
	munmap(next, PAGE);
}

TEST_F(walk, pagemap_scan_does_not_write_protect)
{
	struct page_region found[4] = {};
	struct pm_scan_arg arg;

	EXPECT_EQ(0, scan(self->addr, SLOT, PM_SCAN_WP_MATCHING, found, 4, &arg));
	EXPECT_ERR(EPERM, scan(self->addr, SLOT, PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
			       found, 4, &arg));
	EXPECT_EQ(FAULT_NONE, try_store(self->addr + FAR, 1));
}

TEST_F(walk, mincore)
{
	uint64_t n = (FAR + 2 * PAGE) / PAGE, i;
	unsigned char *vec = malloc(n);

	memset(vec, 0xff, n);
	ASSERT_OK(mincore(self->addr, n * PAGE, vec));
	for (i = 0; i < n; i++)
		ASSERT_EQ(i < self->length / PAGE, vec[i]) {
			TH_LOG("page %llu", (unsigned long long)i);
		}
	self->addr[FAR] = 1;
	ASSERT_OK(mincore(self->addr + FAR - PAGE, 3 * PAGE, vec));
	EXPECT_EQ(0, vec[0]);
	EXPECT_EQ(1, vec[1]);
	EXPECT_EQ(0, vec[2]);
	free(vec);
}

TEST_F(walk, status_of_move_pages)
{
	void *pages[] = { self->addr, self->addr + self->length - PAGE, self->addr + FAR,
			  self->addr + FAR / 2 + HUGE, (void *)&pages };
	int status[5] = { 99, 99, 99, 99, 99 };

	ASSERT_OK(syscall(SYS_move_pages, 0, 5, pages, NULL, status, 0));
	EXPECT_LE(0, status[0]);
	EXPECT_GE(63, status[0]);
	EXPECT_EQ(status[0], status[1]);
	/* An object without the page, no object, and an ordinary page after it. */
	EXPECT_EQ(-ENOENT, status[2]);
	EXPECT_EQ(-ENOENT, status[3]);
	EXPECT_LE(0, status[4]);
	EXPECT_GE(63, status[4]);
}

TEST(mincore_tells_of_a_file_what_its_own_permissions_allow)
{
	int file = file_on("tmpfs", 0, 4 * PAGE), fd = region(GIB);
	unsigned char vec[8];
	char *addr;

	ASSERT_LE(0, file);
	ASSERT_LE(0, fd);
	ASSERT_OK(fchmod(file, 0644));
	/* The second page is in the page cache, and no page is mapped. */
	ASSERT_EQ(1, pwrite(file, "x", 1, PAGE));
	ASSERT_EQ(0, map_file(fd, 0, 4 * PAGE, PROT_READ, file));
	ASSERT_EQ(4 * PAGE, map_anon(fd, 4 * PAGE, 4 * PAGE, RW));
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_OK(mincore(addr, 8 * PAGE, vec));
	EXPECT_EQ(0, memcmp(vec, "\0\1\0\0\0\0\0\0", 8));
	IN_CHILD({
		CHILD_CHECK(!setresgid(65534, 65534, 65534) && !setresuid(65534, 65534, 65534));
		CHILD_CHECK(!mincore(addr, 8 * PAGE, vec));
		/* As for an ordinary mapping of the file: nothing is told. */
		CHILD_CHECK(!memcmp(vec, "\1\1\1\1\0\0\0\0", 8));
	});
	ASSERT_OK(fchmod(file, 0666));
	IN_CHILD({
		CHILD_CHECK(!setresgid(65534, 65534, 65534) && !setresuid(65534, 65534, 65534));
		CHILD_CHECK(!mincore(addr, 8 * PAGE, vec));
		CHILD_CHECK(!memcmp(vec, "\0\1\0\0\0\0\0\0", 8));
	});
	ASSERT_OK(mshare_detach(addr, 0));
}

TEST(a_process_sees_as_far_as_its_attachment)
{
	int fd = region(SLOT);
	char *small, *large;

	ASSERT_LE(0, fd);
	small = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, small);
	ASSERT_OK(ftruncate(fd, 2 * SLOT));
	/* One half of the object is in reach. */
	ASSERT_EQ(SLOT - MIB, map_anon(fd, SLOT - MIB, 2 * MIB, RW));
	large = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, large);
	fill(large + SLOT - MIB, 2 * MIB, 1);
	EXPECT_EQ(2 * MIB, smaps(large, "Rss"));
	EXPECT_EQ(MIB, smaps(small, "Rss"));
	EXPECT_EQ(MIB / 2, smaps(small, "Pss"));
	ASSERT_OK(mshare_detach(large, 0));
	ASSERT_OK(mshare_detach(small, 0));
}

TEST(pages_that_others_have_mapped_too_count_in_part)
{
	int fd = region(GIB), file = memfd(MIB, 0);
	char *plain = mmap(NULL, MIB, RW, MAP_SHARED, file, 0), *addr, *second;

	ASSERT_LE(0, fd);
	ASSERT_NE(MAP_FAILED, plain);
	ASSERT_EQ(0, map_file(fd, 0, MIB, RW, file));
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	fill(addr, MIB, 1);
	EXPECT_EQ(MIB, smaps(addr, "Pss"));
	ASSERT_EQ(0, wrong(plain, MIB, 1));
	EXPECT_EQ(MIB, smaps(addr, "Rss"));
	EXPECT_EQ(MIB / 2, smaps(addr, "Pss"));
	EXPECT_EQ(MIB / 2, smaps(plain, "Pss"));
	second = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, second);
	EXPECT_EQ(MIB / 4, smaps(second, "Pss"));
	EXPECT_EQ(MIB / 2, smaps(plain, "Pss"));
	ASSERT_OK(mshare_detach(second, 0));
	ASSERT_OK(mshare_detach(addr, 0));
	ASSERT_OK(munmap(plain, MIB));
}

TEST(an_empty_attachment_is_looked_through_at_once)
{
	static const char *const files[] = { "smaps", "smaps_rollup", "numa_maps" };
	int fd = region(SLOT), i;
	uint64_t some = 4 * GIB / PAGE;
	unsigned char *vec = malloc(some);
	struct page_region found[1];
	struct pm_scan_arg arg;
	char *addr, path[64];
	time_t start;

	ASSERT_LE(0, fd);
	/* One object over all of it, and one page of that. */
	ASSERT_EQ(0, map_obj(fd, 0, SLOT, RW, ANON | MAP_NORESERVE, -1, 0));
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	addr[SLOT - 1] = 1;
	start = time(NULL);
	for (i = 0; i < 3; i++) {
		sprintf(path, "/proc/self/%s", files[i]);
		free(slurp(path));
	}
	EXPECT_EQ(PAGE, smaps(addr, "Rss"));
	EXPECT_EQ(1, scan(addr, SLOT, 0, found, 1, &arg));
	EXPECT_EQ((uint64_t)addr + SLOT - PAGE, found[0].start);
	/* mincore() asks the file for each page: here only for some. */
	ASSERT_OK(mincore(addr + SLOT - some * PAGE, some * PAGE, vec));
	EXPECT_EQ(vec + some - 1, memchr(vec, 1, some));
	free(vec);
	/* Page by page it would be 134 million times five. */
	EXPECT_GE(30, time(NULL) - start);
	ASSERT_OK(mshare_detach(addr, 0));
}

TEST(pages_of_a_file_on_disk_are_shared_among_attachments)
{
	uint64_t size = 8 * MIB;
	int fd = region(GIB), file = ext4_file(size);
	long long before, one, two;
	char *addr, *second;

	ASSERT_LE(0, fd);
	if (file < 0)
		SKIP(return, NO_DISK);
	ASSERT_EQ(0, map_file(fd, 0, size, RW, file));
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	before = smaps(NULL, "Pss_File");
	fill(addr, size, 1);
	one = smaps(NULL, "Pss_File");
	EXPECT_EQ(size, smaps(addr, "Pss"));
	second = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, second);
	two = smaps(NULL, "Pss_File");
	EXPECT_EQ(size / 2, smaps(addr, "Pss"));
	EXPECT_EQ(size / 2, smaps(second, "Pss"));
	/* Half in the one and half in the other, and our program has some. */
	EXPECT_LE(before + 7 * MIB, one);
	EXPECT_GE(before + 9 * MIB, one);
	EXPECT_LE(before + 7 * MIB, two);
	EXPECT_GE(before + 9 * MIB, two);
	ASSERT_OK(mshare_detach(second, 0));
	ASSERT_OK(mshare_detach(addr, 0));
}

TEST(a_giant_page_is_seen)
{
	uint64_t n = GIB / PAGE + 1, *entry = calloc(n, sizeof(*entry)), i;
	uint64_t categories = PAGE_IS_PRESENT | PAGE_IS_FILE | PAGE_IS_HUGE;
	struct page_region found[2] = {};
	struct pm_scan_arg arg;
	unsigned char *vec = malloc(n);
	int fd = region(2 * GIB);
	char *addr, *second;
	unsigned long pages;

	ASSERT_LE(0, fd);
	if (!huge_pages(GIB, 1))
		SKIP(return, "no huge page of 1 GiB (boot with hugepagesz=1G hugepages=1)");
	ASSERT_EQ(0, map_obj(fd, 0, GIB, RW, ANON | MAP_HUGETLB | MAP_HUGE_1GB, -1, 0));
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	addr[GIB - 1] = 1;

	EXPECT_EQ(GIB, smaps(addr, "Shared_Hugetlb"));
	EXPECT_EQ(0, smaps(addr, "Private_Hugetlb"));
	EXPECT_EQ(0, smaps(addr, "Rss"));
	second = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, second);
	EXPECT_EQ(GIB, smaps(second, "Shared_Hugetlb"));
	ASSERT_OK(mshare_detach(second, 0));
	free(numa_maps(addr, &pages));
	EXPECT_EQ(GIB / PAGE, pages);

	ASSERT_TRUE(page_map(addr, entry, n));
	EXPECT_NE(0, entry[0] & PM_FRAME);
	EXPECT_EQ(0, (entry[0] & PM_FRAME) % (GIB / PAGE));
	for (i = 0; i < n; i++) {
		ASSERT_EQ(i < GIB / PAGE ? PM_PRESENT | PM_FILE : 0,
			  entry[i] & (PM_PRESENT | PM_FILE));
		ASSERT_EQ(i < GIB / PAGE ? (entry[0] & PM_FRAME) + i : 0, entry[i] & PM_FRAME);
	}

	ASSERT_EQ(1, scan(addr, SLOT, 0, found, 2, &arg));
	EXPECT_EQ((uint64_t)addr, found[0].start);
	EXPECT_EQ((uint64_t)addr + GIB, found[0].end);
	EXPECT_EQ(categories, found[0].categories);
	/* From its middle to its middle. */
	ASSERT_EQ(1, scan(addr + 3 * PAGE, HUGE, 0, found, 2, &arg));
	EXPECT_EQ((uint64_t)addr + 3 * PAGE, found[0].start);
	EXPECT_EQ((uint64_t)addr + 3 * PAGE + HUGE, found[0].end);

	memset(vec, 0xff, n);
	ASSERT_OK(mincore(addr, n * PAGE, vec));
	EXPECT_EQ(NULL, memchr(vec, 0, GIB / PAGE));
	EXPECT_EQ(0, vec[GIB / PAGE]);
	free(vec);
	free(entry);
	ASSERT_OK(mshare_detach(addr, 0));
}

TEST(swap_is_seen)
{
	int fd = region(GIB), file = ext4_file(MIB), loop, i;
	char *addr, *second, dev[32];

	ASSERT_LE(0, fd);
	if (file < 0)
		SKIP(return, NO_DISK);
	loop = loop_device(32 * MIB, dev, sizeof(dev));
	if (loop < 0 || !swap_on(dev))
		SKIP(return, "no swap (loop device, mkswap)");
	addr = attached(fd, 0, MIB);
	ASSERT_NE(NULL, addr);
	ASSERT_EQ(MIB, map_file(fd, MIB, MIB, RW, file));
	fill(addr, 2 * MIB, 1);
	ASSERT_OK(fsync(file));
	EXPECT_EQ(2 * MIB, smaps(addr, "Rss"));
	for (i = 0; i < 20 && smaps(addr, "Rss"); i++) {
		lru_drain();
		ASSERT_OK(mshare_advise(fd, 0, 2 * MIB, MADV_PAGEOUT, 0));
	}
	/* What reclaim leaves of the file in the page cache is no swap. */
	EXPECT_EQ(0, smaps(addr, "Rss"));
	EXPECT_EQ(MIB, smaps(addr, "Swap"));
	EXPECT_EQ(stat_of(fd).swapped, smaps(addr, "Swap"));
	/* As for any shared memory: it is not known which process uses a part. */
	EXPECT_EQ(0, smaps(addr, "SwapPss"));
	second = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, second);
	EXPECT_EQ(MIB, smaps(addr, "Swap"));
	EXPECT_EQ(MIB, smaps(second, "Swap"));
	EXPECT_EQ(0, smaps(second, "SwapPss"));
	ASSERT_OK(mshare_detach(second, 0));
	EXPECT_EQ(0, wrong(addr, 2 * MIB, 1));
	EXPECT_EQ(0, smaps(addr, "Swap"));
	ASSERT_OK(mshare_detach(addr, 0));
	EXPECT_OK(swapoff(dev));
}

/* It is shared, however many have it attached: smaps say so, too. */
TEST(no_page_of_a_region_is_exclusive)
{
	uint64_t entries[16];
	char *addr, *own;
	int fd, i;

	addr = filled_region(&fd, 0, 16 * PAGE);
	ASSERT_NE(NULL, addr);
	ASSERT_TRUE(page_map(addr, entries, 16));
	for (i = 0; i < 16; i++)
		EXPECT_EQ(PM_PRESENT, entries[i] & (PM_PRESENT | PM_EXCLUSIVE));
	own = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, own);
	*own = 1;
	ASSERT_TRUE(page_map(own, entries, 1));
	EXPECT_EQ(PM_PRESENT | PM_EXCLUSIVE, entries[0] & (PM_PRESENT | PM_EXCLUSIVE));
}

/* Lines of a dump that begin in the range and show what is mapped for user space. */
static int dumped(const char *dump, const char *addr, uint64_t length)
{
	const char *line = dump, *end;
	int count = 0;

	for (; line && (end = strchr(line, '\n')); line = end + 1) {
		uint64_t start = strtoull(line, NULL, 16);
		const char *user = strstr(line, " USR ");

		if (start - (uintptr_t)addr < length && user && user < end)
			count++;
	}
	return count;
}

/* Its tables may be freed while the locks of the process are held. */
TEST(a_dump_of_page_tables_ends_at_an_attachment)
{
	char *addr, *own, *dump;
	int fd;

	addr = filled_region(&fd, 0, 16 * PAGE);
	ASSERT_NE(NULL, addr);
	own = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, own);
	*own = 1;
	dump = slurp("/sys/kernel/debug/page_tables/current_kernel");
	if (!dump)
		SKIP(return, "page tables cannot be dumped");
	EXPECT_LT(0, dumped(dump, (char *)((uintptr_t)own & -HUGE), HUGE));
	EXPECT_EQ(0, dumped(dump, addr, SLOT));
	free(dump);
	EXPECT_EQ(0, wrong(addr, 16 * PAGE, 1));
}

TEST_HARNESS_MAIN
