// SPDX-License-Identifier: GPL-2.0
/* mshare_stat() and fdinfo. */
#define _GNU_SOURCE
#include "kselftest_harness.h"
#include "mst.h"

#define ANON	(MAP_SHARED | MAP_ANONYMOUS)

static char *fdinfo(int fd)
{
	char path[64];

	sprintf(path, "/proc/self/fdinfo/%d", fd);
	return slurp(path);
}

static long long fdinfo_key(int fd, const char *key)
{
	char path[64], name[64];

	sprintf(path, "/proc/self/fdinfo/%d", fd);
	sprintf(name, "mshare-%s:\t", key);
	return file_key(path, name);
}

TEST(ids_differ)
{
	int a = region(GIB), b;
	uint64_t id;

	ASSERT_LE(0, a);
	id = stat_of(a).id;
	close(a);
	b = region(GIB);
	ASSERT_LE(0, b);
	EXPECT_NE(id, stat_of(b).id);
	EXPECT_NE(stat_of(region(GIB)).id, stat_of(b).id);
}

TEST(attachments_objects_and_mapped_are_counted)
{
	int fd = region(GIB);
	char *a, *b;

	ASSERT_LE(0, fd);
	EXPECT_EQ(GIB, stat_of(fd).size);
	a = mshare_attach(fd, NULL, 0);
	b = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, a);
	ASSERT_NE(MAP_FAILED, b);
	EXPECT_EQ(2, stat_of(fd).attachments);
	IN_CHILD(CHILD_CHECK(stat_of(fd).attachments == 4));
	EXPECT_EQ(2, stat_of(fd).attachments);
	ASSERT_OK(mshare_detach(a, 0));
	EXPECT_EQ(1, stat_of(fd).attachments);
	ASSERT_EQ(0, map_anon(fd, 0, MIB, RW));
	ASSERT_EQ(2 * MIB, map_anon(fd, 2 * MIB, MIB, PROT_READ));
	EXPECT_EQ(2, stat_of(fd).objects);
	EXPECT_EQ(2 * MIB, stat_of(fd).mapped);
	EXPECT_EQ(0, stat_of(fd).resident);
	ASSERT_OK(mshare_unmap(fd, MIB / 2, GIB - MIB / 2, 0));
	EXPECT_EQ(1, stat_of(fd).objects);
	EXPECT_EQ(MIB / 2, stat_of(fd).mapped);
}

TEST(resident_page_tables_and_faults_follow_the_accesses)
{
	int fd = region(GIB), i;
	struct mshare_stat st;
	uint64_t empty;
	char *addr;

	ASSERT_LE(0, fd);
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	empty = stat_of(fd).pgtable_bytes;
	/* The table that every attachment shares is there from the start. */
	EXPECT_LE(PAGE, empty);
	EXPECT_GE(4 * PAGE, empty);
	ASSERT_EQ(0, map_anon(fd, 0, 64 * MIB, RW));
	EXPECT_EQ(empty, stat_of(fd).pgtable_bytes);
	/* One page in each of eight tables. */
	for (i = 0; i < 8; i++) {
		addr[i * 2 * MIB] = 1;
		st = stat_of(fd);
		EXPECT_EQ((i + 1) * PAGE, st.resident);
		EXPECT_EQ(empty + (i + 2) * PAGE, st.pgtable_bytes);
		EXPECT_EQ(i + 1, st.faults);
	}
	/* Another process costs nothing. */
	IN_CHILD({
		struct mshare_stat now;

		for (i = 0; i < 8; i++)
			CHILD_CHECK(addr[i * 2 * MIB] == 1);
		now = stat_of(fd);
		CHILD_CHECK(now.faults == st.faults);
		CHILD_CHECK(now.resident == st.resident);
		CHILD_CHECK(now.pgtable_bytes == st.pgtable_bytes);
	});
	/* Nothing keeps them. */
	ASSERT_OK(mshare_detach(addr, 0));
	EXPECT_EQ(st.resident, stat_of(fd).resident);
	EXPECT_EQ(st.pgtable_bytes, stat_of(fd).pgtable_bytes);
}

TEST(resident_includes_hugetlb)
{
	int fd = region(GIB);
	char *addr;

	ASSERT_LE(0, fd);
	if (!huge_pages(HUGE, 2))
		SKIP(return, "no huge pages of 2 MiB");
	addr = mshare_attach(fd, NULL, 0);
	ASSERT_NE(MAP_FAILED, addr);
	ASSERT_EQ(0, map_obj(fd, 0, 2 * HUGE, RW, ANON | MAP_HUGETLB, -1, 0));
	addr[0] = 1;
	EXPECT_EQ(HUGE, stat_of(fd).resident);
	addr[HUGE] = 1;
	EXPECT_EQ(2 * HUGE, stat_of(fd).resident);
	ASSERT_OK(mshare_unmap(fd, 0, HUGE, 0));
	EXPECT_EQ(HUGE, stat_of(fd).resident);
}

TEST(owned_is_told)
{
	int fd = mshare_create("owned", MSHARE_OWNED);

	ASSERT_LE(0, fd);
	EXPECT_EQ(MSHARE_STAT_OWNED, stat_of(fd).flags);
	EXPECT_EQ(MSHARE_STAT_OWNED, fdinfo_key(fd, "flags"));
}

TEST(fdinfo_says_the_same)
{
	static const char *const keys[] = {
		"id", "size", "align", "base", "attachments", "objects", "mapped", "resident",
		"swapped", "pgtable_bytes", "faults", "flags",
		"tables_dropped", "tables_reclaimed",
	};
	int fd = region(3 * GIB);
	struct mshare_stat st;
	unsigned int i;
	char *addr;

	addr = attached(fd, 0, MIB);
	ASSERT_NE(NULL, addr);
	fill(addr, MIB, 1);
	/* The rest of the range is a hole, but the table goes. */
	EXPECT_ERR(ENOMEM, mshare_advise(fd, 0, HUGE, MADV_DONTNEED, 0));
	fill(addr, MIB, 1);
	st = stat_of(fd);
	EXPECT_EQ(1, st.tables_dropped);
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		EXPECT_EQ((&st.id)[i], fdinfo_key(fd, keys[i])) {
			TH_LOG("key %s of\n%s", keys[i], fdinfo(fd));
		}
	}
}

TEST(fdinfo_has_a_line_an_object)
{
	static const char *const lines[] = {
		"\nmshare-object:\t100000-102000 rw-s [anon]\n",
		"\nmshare-object:\t300000-400000 r--s /memfd:object (deleted)\n",
		"\nmshare-object:\t800000-801000 ---s [anon]\n",
	};
	int fd = region(GIB), file = memfd(MIB, 0), before, after, i;
	char *text, *at;

	ASSERT_LE(0, fd);
	text = fdinfo(fd);
	for (before = 0, at = text; (at = strchr(at, '\n')); at++)
		before++;
	ASSERT_EQ(0x100000, map_anon(fd, 0x100000, 0x2000, RW));
	ASSERT_EQ(0x300000, map_file(fd, 0x300000, MIB, PROT_READ, file));
	ASSERT_EQ(0x800000, map_anon(fd, 0x800000, 0x1000, PROT_NONE));
	text = fdinfo(fd);
	for (after = 0, at = text; (at = strchr(at, '\n')); at++)
		after++;
	EXPECT_EQ(3, after - before);
	/* Ranges in hexadecimal as in maps, permissions, source. */
	for (i = 0; i < 3; i++)
		EXPECT_TRUE(!!strstr(text, lines[i])) {
			TH_LOG("line %d, fdinfo is\n%s", i, text);
		}
}

TEST(a_descriptor_without_write_can_stat)
{
	int fd = region(GIB), ro, wo;
	char path[64];

	ASSERT_LE(0, fd);
	sprintf(path, "/proc/self/fd/%d", fd);
	ro = open(path, O_RDONLY);
	wo = open(path, O_WRONLY);
	EXPECT_EQ(stat_of(fd).id, stat_of(ro).id);
	EXPECT_EQ(stat_of(fd).id, stat_of(wo).id);
}

TEST(stat_while_others_change_the_region)
{
	int fd = region(GIB), i;
	pid_t pid;

	ASSERT_LE(0, fd);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		for (;;) {
			CHILD_CHECK(map_anon(fd, 0, MIB, RW) == 0);
			CHILD_CHECK(!mshare_unmap(fd, 0, MIB, 0));
		}
	}
	for (i = 0; i < 300; i++) {
		struct mshare_stat st = stat_of(fd);

		EXPECT_TRUE((st.objects == 0 && st.mapped == 0) ||
			    (st.objects == 1 && st.mapped == MIB)) {
			TH_LOG("objects %llu mapped %llu", (unsigned long long)st.objects,
			       (unsigned long long)st.mapped);
		}
		free(fdinfo(fd));
	}
	kill(pid, SIGKILL);
	EXPECT_EQ(KILLED_BY(SIGKILL), wait_for(pid));
}

TEST_HARNESS_MAIN
